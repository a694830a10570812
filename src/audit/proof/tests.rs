//! Proofs that were tampered with. Another implementation judges the same ones.

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use proptest::prelude::*;
use sha2::Sha256;

use super::super::tree::{MemoryTree, consistency, inclusion, leaf_hash, root};
use super::*;

fn entry(n: u64) -> [u8; 8] {
    n.to_be_bytes()
}

fn tree(size: u64) -> MemoryTree {
    (0..size).map(|n| leaf_hash(&entry(n))).collect()
}

fn root_of(tree: &MemoryTree, size: u64) -> Hash {
    let Ok(root) = root(tree, size);
    root
}

/// A proof with one thing wrong.
#[derive(Clone, Debug)]
enum Fault {
    Bit { hash: prop::sample::Index, bit: u8 },
    Swapped(prop::sample::Index, prop::sample::Index),
    CutFirst,
    CutLast,
    Repeated(prop::sample::Index),
    Padded(Hash),
    Before(Hash),
    Reversed,
}

fn fault() -> impl Strategy<Value = Fault> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(hash, bit)| Fault::Bit { hash, bit }),
        (index(), index()).prop_map(|(a, b)| Fault::Swapped(a, b)),
        Just(Fault::CutFirst),
        Just(Fault::CutLast),
        index().prop_map(Fault::Repeated),
        any::<Hash>().prop_map(Fault::Padded),
        any::<Hash>().prop_map(Fault::Before),
        Just(Fault::Reversed),
    ]
}

fn spoil(path: &[Hash], fault: &Fault) -> Vec<Hash> {
    let mut path = path.to_vec();
    let some = !path.is_empty();
    match fault {
        Fault::Bit { hash, bit } if some => {
            let at = hash.index(path.len());
            path[at][usize::from(bit / 8)] ^= 1 << (bit % 8);
        }
        Fault::Swapped(a, b) if some => {
            let (a, b) = (a.index(path.len()), b.index(path.len()));
            path.swap(a, b);
        }
        Fault::CutFirst if some => drop(path.remove(0)),
        Fault::CutLast => drop(path.pop()),
        Fault::Repeated(hash) if some => {
            let at = hash.index(path.len());
            path.insert(at, path[at]);
        }
        Fault::Padded(hash) => path.push(*hash),
        Fault::Before(hash) => path.insert(0, *hash),
        Fault::Reversed => path.reverse(),
        _ => {}
    }
    path
}

/// What ct-merkle says. It knows no proof from a tree without entries.
fn they_accept_inclusion(index: u64, at: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    let root = RootHash::<Sha256>::new((*root).into(), size);
    let Ok(proof) = InclusionProof::try_from_bytes(path.concat()) else { return false };
    root.verify_inclusion(&entry(index), at, &proof).is_ok()
}

fn they_accept_consistency(old: u64, old_root: &Hash, new: u64, new_root: &Hash, path: &[Hash]) -> bool {
    let old = RootHash::<Sha256>::new((*old_root).into(), old);
    let new = RootHash::<Sha256>::new((*new_root).into(), new);
    let Ok(proof) = ConsistencyProof::try_from_bytes(path.concat()) else { return false };
    new.verify_consistency(&old, &proof).is_ok()
}

#[test]
fn what_needs_no_proof_takes_none() {
    let (empty, one) = (empty_root(), leaf_hash(b"a"));
    assert_eq!(verify_inclusion(&one, 0, 1, &[], &one), Ok(()));
    assert_eq!(verify_inclusion(&one, 0, 1, &[one], &one), Err(Refused::Length));
    assert_eq!(verify_inclusion(&one, 1, 1, &[], &one), Err(Refused::Index));
    assert_eq!(verify_inclusion(&one, 0, 0, &[], &one), Err(Refused::Index));
    assert_eq!(verify_inclusion(&one, u64::MAX, u64::MAX, &[], &one), Err(Refused::Index));
    assert_eq!(verify_consistency(0, &empty, 0, &empty, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &empty, 1, &one, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &one, 1, &one, &[]), Err(Refused::OldRoot));
    assert_eq!(verify_consistency(0, &empty, 1, &one, &[one]), Err(Refused::Length));
    assert_eq!(verify_consistency(1, &one, 1, &one, &[]), Ok(()));
    assert_eq!(verify_consistency(1, &one, 1, &empty, &[]), Err(Refused::Root));
    assert_eq!(verify_consistency(1, &one, 1, &one, &[one]), Err(Refused::Length));
    assert_eq!(verify_consistency(2, &one, 1, &one, &[]), Err(Refused::Shrunk));
    assert_eq!(verify_consistency(1, &one, 2, &one, &[]), Err(Refused::Length));
    assert_eq!(verify_consistency(3, &one, 5, &one, &[]), Err(Refused::Length));
    assert_eq!(verify_consistency(u64::MAX - 1, &one, u64::MAX, &one, &[one]), Err(Refused::Length));
}

#[test]
fn every_flipped_bit_is_found() {
    let (tree, size, index, old) = (tree(13), 13, 6, 6);
    let (root, old_root) = (root_of(&tree, size), root_of(&tree, old));
    let leaf = leaf_hash(&entry(index));
    let Ok(path) = inclusion(&tree, index, size);
    let Ok(steps) = consistency(&tree, old, size);
    assert_eq!(verify_inclusion(&leaf, index, size, &path, &root), Ok(()));
    assert_eq!(verify_consistency(old, &old_root, size, &root, &steps), Ok(()));
    for bit in 0..256 {
        let flip = |hash: &Hash| {
            let mut hash = *hash;
            hash[bit / 8] ^= 1 << (bit % 8);
            hash
        };
        assert_eq!(verify_inclusion(&flip(&leaf), index, size, &path, &root), Err(Refused::Root));
        assert_eq!(verify_inclusion(&leaf, index, size, &path, &flip(&root)), Err(Refused::Root));
        for at in 0..path.len() {
            let mut path = path.clone();
            path[at] = flip(&path[at]);
            assert_eq!(verify_inclusion(&leaf, index, size, &path, &root), Err(Refused::Root));
        }
        assert!(verify_consistency(old, &flip(&old_root), size, &root, &steps).is_err());
        assert!(verify_consistency(old, &old_root, size, &flip(&root), &steps).is_err());
        for at in 0..steps.len() {
            let mut steps = steps.clone();
            steps[at] = flip(&steps[at]);
            assert!(verify_consistency(old, &old_root, size, &root, &steps).is_err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn an_entry_is_proved_where_it_is_and_nowhere_else(
        size in 1u64..400,
        at in any::<prop::sample::Index>(),
        elsewhere in 0u64..400,
        fault in fault(),
        claimed in 0u64..500,
    ) {
        let index = at.index(usize::try_from(size).unwrap()) as u64;
        let tree = tree(size);
        let root = root_of(&tree, size);
        let leaf = leaf_hash(&entry(index));
        let Ok(path) = inclusion(&tree, index, size);
        prop_assert_eq!(verify_inclusion(&leaf, index, size, &path, &root), Ok(()));
        if elsewhere != index {
            prop_assert!(verify_inclusion(&leaf, elsewhere, size, &path, &root).is_err());
            prop_assert!(verify_inclusion(&leaf_hash(&entry(elsewhere)), index, size, &path, &root).is_err());
        }
        let spoiled = spoil(&path, &fault);
        if spoiled != path {
            prop_assert!(verify_inclusion(&leaf, index, size, &spoiled, &root).is_err());
        }
        // The size is not under the root: what another size means, another implementation says as well.
        let ours = verify_inclusion(&leaf, index, claimed, &path, &root).is_ok();
        prop_assert_eq!(ours, they_accept_inclusion(index, index, claimed, &path, &root));
        let ours = verify_inclusion(&leaf, elsewhere, claimed, &spoiled, &root).is_ok();
        prop_assert_eq!(ours, they_accept_inclusion(index, elsewhere, claimed, &spoiled, &root));
    }

    #[test]
    fn a_tree_is_proved_to_be_the_start_of_those_that_grew_from_it(
        size in 1u64..400,
        at in any::<prop::sample::Index>(),
        fault in fault(),
        claimed in (1u64..500, 1u64..500),
    ) {
        let old = at.index(usize::try_from(size).unwrap()) as u64 + 1;
        let tree = tree(size);
        let (root, old_root) = (root_of(&tree, size), root_of(&tree, old));
        let Ok(path) = consistency(&tree, old, size);
        prop_assert_eq!(verify_consistency(old, &old_root, size, &root, &path), Ok(()));
        let spoiled = spoil(&path, &fault);
        if spoiled != path {
            prop_assert!(verify_consistency(old, &old_root, size, &root, &spoiled).is_err());
        }
        if old < size {
            prop_assert!(verify_consistency(size, &root, old, &old_root, &path).is_err());
            prop_assert!(verify_consistency(old, &root, size, &old_root, &path).is_err());
        }
        let (from, to) = claimed;
        // At the same size the other implementation takes the roots as they are, and so do we.
        for path in [&path, &spoiled] {
            let ours = verify_consistency(from, &old_root, to, &root, path).is_ok();
            prop_assert_eq!(ours, they_accept_consistency(from, &old_root, to, &root, path));
        }
    }
}
