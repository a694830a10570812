//! Against ct-merkle, which we did not write, and the vectors of RFC 6962.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;

fn entry(n: u64) -> [u8; 8] {
    n.to_be_bytes()
}

fn ours(size: u64) -> MemoryTree {
    (0..size).map(|n| leaf_hash(&entry(n))).collect()
}

fn theirs(size: u64) -> MemoryBackedTree<Sha256, [u8; 8]> {
    let mut tree = MemoryBackedTree::new();
    (0..size).for_each(|n| tree.push(entry(n)));
    tree
}

fn hex(text: &str) -> Hash {
    *blake3::Hash::from_hex(text).unwrap().as_bytes()
}

fn root_of(tree: &MemoryTree, size: u64) -> Hash {
    let Ok(root) = root(tree, size);
    root
}

/// The eight inputs of the tests of the reference implementation of Certificate Transparency.
const INPUTS: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn the_published_roots_come_out() {
    assert_eq!(empty_root(), hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    let abc: MemoryTree = [b"a", b"b", b"c"].map(|entry| leaf_hash(entry)).into_iter().collect();
    assert_eq!(STANDARD.encode(root_of(&abc, 3)), "NmQuc8JUCrEh46a/lUWwokmCzYMOsT080Z3jzmwCHsE=");
    let tree: MemoryTree = INPUTS.iter().map(|input| leaf_hash(input)).collect();
    let mut frontier = Frontier::default();
    assert_eq!(frontier.root(), empty_root());
    for (size, expected) in (1..).zip(ROOTS) {
        frontier.push(leaf_hash(INPUTS[usize::try_from(size).unwrap() - 1]));
        assert_eq!(root_of(&tree, size), hex(expected));
        assert_eq!(frontier.root(), hex(expected));
    }
}

#[test]
fn the_published_proofs_come_out() {
    let tree: MemoryTree = INPUTS.iter().map(|input| leaf_hash(input)).collect();
    let Ok(path) = inclusion(&tree, 5, 8);
    assert_eq!(
        path,
        [
            hex("bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"),
            hex("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
            hex("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
        ]
    );
    let Ok(path) = consistency(&tree, 6, 8);
    assert_eq!(
        path,
        [
            hex("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"),
            hex("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
            hex("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
        ]
    );
}

#[test]
fn every_small_tree_and_proof_is_that_of_another_implementation() {
    let tree = ours(66);
    for size in 1..=66 {
        let other = theirs(size);
        assert_eq!(root_of(&tree, size)[..], other.root().as_bytes()[..], "root of {size}");
        for index in 0..size {
            let Ok(path) = inclusion(&tree, index, size);
            let expected = other.prove_inclusion(usize::try_from(index).unwrap());
            assert_eq!(path.concat(), expected.as_bytes(), "entry {index} of {size}");
        }
        for old in 1..=size {
            let Ok(path) = consistency(&tree, old, size);
            let expected = other.prove_consistency(usize::try_from(size - old).unwrap());
            assert_eq!(path.concat(), expected.as_bytes(), "from {old} to {size}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn large_trees_and_their_proofs_are_those_of_another_implementation(
        size in 1u64..3_000,
        index in any::<prop::sample::Index>(),
        old in any::<prop::sample::Index>(),
    ) {
        let (tree, other) = (ours(size), theirs(size));
        let expected: Hash = (*other.root().as_bytes()).into();
        prop_assert_eq!(root_of(&tree, size), expected);
        let all = usize::try_from(size).unwrap();
        let (index, old) = (index.index(all), old.index(all) + 1);
        let Ok(path) = inclusion(&tree, index as u64, size);
        let expected = other.prove_inclusion(index);
        prop_assert_eq!(path.concat(), expected.as_bytes());
        let Ok(path) = consistency(&tree, old as u64, size);
        let expected = other.prove_consistency(all - old);
        prop_assert_eq!(path.concat(), expected.as_bytes());
    }

    #[test]
    fn a_frontier_grows_as_the_tree_does(size in 0u64..600, more in 0u64..600) {
        let tree = ours(size + more);
        let Ok(mut frontier) = Frontier::of(&tree, size);
        prop_assert_eq!(frontier.root(), root_of(&tree, size));
        (size..size + more).for_each(|n| frontier.push(leaf_hash(&entry(n))));
        let Ok(whole) = Frontier::of(&tree, size + more);
        prop_assert_eq!(frontier.size(), size + more);
        prop_assert_eq!(&frontier, &whole);
        prop_assert_eq!(frontier.root(), root_of(&tree, size + more));
    }
}
