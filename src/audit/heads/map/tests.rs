//! The map against the definition, written down a second time and as plainly as it reads.

use std::collections::BTreeMap;

use keyledger_schema::{ChainHash, Hex32};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::super::{Absence, Error, Head, Inclusion, Proof, Step};
use super::Map;

type Hash = [u8; 32];

fn sha(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// The bits of a path, first to last.
fn bits(path: &Hash) -> Vec<bool> {
    path.iter().flat_map(|byte| (0..8).map(move |at| byte & (0x80 >> at) != 0)).collect()
}

/// The root as the definition has it, by sorting and splitting.
fn naive(streams: &BTreeMap<String, (u64, Hash)>) -> Hash {
    let leaves: Vec<(Vec<bool>, Hash)> = streams
        .iter()
        .map(|(name, (revision, chain))| {
            let path = sha(name.as_bytes());
            let value = sha(&[&[0x12][..], &revision.to_be_bytes(), chain].concat());
            (bits(&path), sha(&[&[0x10][..], &path, &value].concat()))
        })
        .collect();
    split(&leaves)
}

fn split(leaves: &[(Vec<bool>, Hash)]) -> Hash {
    match leaves {
        [] => sha(&[0x13]),
        [(_, leaf)] => *leaf,
        [(first, _), ..] => {
            let parts = |bit: &usize| leaves.iter().any(|(path, _)| path[*bit] != first[*bit]);
            let bit = (0..256).find(parts).unwrap();
            let side = |one: bool| -> Vec<_> {
                leaves.iter().filter(|(path, _)| path[bit] == one).cloned().collect()
            };
            let (left, right) = (split(&side(false)), split(&side(true)));
            sha(&[&[0x11, u8::try_from(bit).unwrap()][..], &left, &right].concat())
        }
    }
}

fn head((revision, chain): &(u64, Hash)) -> Head {
    Head { revision: *revision, hash: ChainHash(*chain) }
}

fn streams() -> impl Strategy<Value = BTreeMap<String, (u64, Hash)>> {
    proptest::collection::btree_map("[a-z]{1,12}", (any::<u64>(), any::<Hash>()), 0..20)
}

/// Streams, and their names in another order.
fn shuffled() -> impl Strategy<Value = (BTreeMap<String, (u64, Hash)>, Vec<String>)> {
    streams().prop_flat_map(|streams| {
        let names: Vec<String> = streams.keys().cloned().collect();
        (Just(streams), Just(names).prop_shuffle())
    })
}

/// What can be changed in a proof without changing what it is about.
fn damaged(steps: &[Step]) -> Vec<Vec<Step>> {
    let mut all = vec![];
    for at in 0..steps.len() {
        let mut one = steps.to_vec();
        one.remove(at);
        all.push(one);
        let mut one = steps.to_vec();
        one.insert(at, steps[at]);
        all.push(one);
        for byte in [0, 31] {
            let mut one = steps.to_vec();
            one[at].sibling.0[byte] ^= 1;
            all.push(one);
        }
        for bit in 0..8 {
            let mut one = steps.to_vec();
            one[at].bit ^= 1 << bit;
            all.push(one);
        }
        if at > 0 {
            let mut one = steps.to_vec();
            one.swap(at - 1, at);
            all.push(one);
        }
    }
    for bit in [0, 7, 255] {
        for end in [0, steps.len()] {
            let mut one = steps.to_vec();
            one.insert(end, Step { bit, sibling: Hex32([0; 32]) });
            all.push(one);
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_root_is_the_definitions_whatever_the_order_and_however_often_it_is_asked_for(
        (wanted, order) in shuffled(),
        ask in any::<u64>(),
    ) {
        let mut map = Map::default();
        let mut known = BTreeMap::new();
        for (round, name) in order.into_iter().enumerate() {
            // An earlier head that is replaced must leave no trace.
            map.set(&name, &Head { revision: 0, hash: ChainHash([7; 32]) });
            if ask >> (round % 64) & 1 == 1 {
                map.root();
            }
            map.set(&name, &head(&wanted[&name]));
            known.insert(name.clone(), wanted[&name]);
            if ask >> (round % 64) & 2 == 2 {
                prop_assert_eq!(map.root(), naive(&known));
            }
        }
        prop_assert_eq!(map.root(), naive(&wanted));
        prop_assert_eq!(map.len(), wanted.len());
    }

    #[test]
    fn every_head_is_proved_and_nothing_else_passes(wanted in streams(), other in any::<(u64, Hash)>()) {
        let mut map = Map::default();
        for (name, one) in &wanted {
            map.set(name, &head(one));
        }
        let root = map.root();
        for (name, one) in &wanted {
            let Proof::Included(proof) = map.prove(name) else { panic!("{name} is in it") };
            prop_assert_eq!(proof.verify(&root, name, &head(one)), Ok(()));
            let told = serde_json::to_string(&proof).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Inclusion>(&told).unwrap(), &proof);
            for wrong in [other, (one.0 ^ 1, one.1), (one.0, [0; 32])] {
                if wrong != *one {
                    prop_assert_eq!(proof.verify(&root, name, &head(&wrong)), Err(Error::Root));
                }
            }
            for stranger in wanted.keys().chain([&"key-9".to_owned()]).filter(|other| *other != name) {
                prop_assert!(proof.verify(&root, stranger, &head(one)).is_err());
            }
            for steps in damaged(&proof.steps) {
                let result = Inclusion { steps }.verify(&root, name, &head(one));
                prop_assert!(result.is_err());
            }
            let absent = Absence::Other {
                path: Hex32(sha(name.as_bytes())), value: Hex32(head(one).value()), steps: proof.steps.clone(),
            };
            prop_assert_eq!(absent.verify(&root, name), Err(Error::Misplaced));
            let none = Absence::Empty {};
            prop_assert!(none.verify(&root, name).is_err());
        }
    }

    #[test]
    fn what_is_not_there_is_proved_and_no_proof_of_absence_serves_a_stream_that_is(
        wanted in streams(), missing in "[A-Z]{1,12}",
    ) {
        let mut map = Map::default();
        for (name, one) in &wanted {
            map.set(name, &head(one));
        }
        let root = map.root();
        let Proof::Absent(proof) = map.prove(&missing) else { panic!("{missing} is not in it") };
        prop_assert_eq!(proof.verify(&root, &missing), Ok(()));
        let told = serde_json::to_string(&proof).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Absence>(&told).unwrap(), &proof);
        for name in wanted.keys() {
            prop_assert!(proof.verify(&root, name).is_err());
        }
        if let Absence::Other { path, value, steps } = proof {
            for steps in damaged(&steps) {
                let wrong = Absence::Other { path, value, steps };
                prop_assert!(wrong.verify(&root, &missing).is_err());
            }
            for byte in [0, 31] {
                let (mut wrong_path, mut wrong_value) = (path, value);
                wrong_path.0[byte] ^= 1;
                wrong_value.0[byte] ^= 1;
                for (path, value) in [(wrong_path, value), (path, wrong_value)] {
                    let wrong = Absence::Other { path, value, steps: steps.clone() };
                    prop_assert!(wrong.verify(&root, &missing).is_err());
                }
            }
            map.set(&missing, &head(&(0, [1; 32])));
            prop_assert_ne!(map.root(), root);
            let now = map.root();
            let stale = Absence::Other { path, value, steps };
            prop_assert_eq!(stale.verify(&now, &missing), Err(Error::Root));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_excerpt_proves_its_own_streams_and_nothing_else_and_stays_as_it_was(
        wanted in streams(), chosen in any::<u32>(), missing in "[A-Z]{1,12}",
    ) {
        let mut map = Map::default();
        for (name, one) in &wanted {
            map.set(name, &head(one));
        }
        let root = map.root();
        let all: Vec<&String> = wanted.keys().chain([&missing]).collect();
        let of: Vec<&String> =
            all.iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1).map(|(_, name)| *name).collect();
        let expected: Vec<Proof> = all.iter().map(|name| map.prove(name)).collect();
        let excerpt = map.excerpt(&of);
        for name in wanted.keys() {
            map.set(name, &head(&(1, [9; 32])));
        }
        map.set("key-later", &head(&(1, [9; 32])));
        for (name, expected) in all.into_iter().zip(expected) {
            match excerpt.prove(name) {
                Some(proof) => prop_assert_eq!(proof, expected),
                // Others are told of only where a chosen one's path leads to the same leaf.
                None => prop_assert!(!of.contains(&name)),
            }
        }
        for name in of {
            let holds = match excerpt.prove(name).unwrap() {
                Proof::Included(proof) => proof.verify(&root, name, &head(&wanted[name])),
                Proof::Absent(proof) => proof.verify(&root, name),
            };
            prop_assert_eq!(holds, Ok(()));
        }
    }
}

#[test]
fn a_map_that_somebody_put_together_wrongly_still_gives_one_answer() {
    // Two leaves of one stream, one of them where its path does not lead: only the other can be proved.
    let name = "key-a";
    let path = super::path(name);
    let (one, two) = (head(&(1, [1; 32])), head(&(2, [2; 32])));
    let leaves = [one, two].map(|head| super::leaf(&path, &head.value()));
    let right = super::bit_of(&path, 0);
    let (left_leaf, right_leaf) = if right == 1 { (leaves[0], leaves[1]) } else { (leaves[1], leaves[0]) };
    let root = super::node(0, &left_leaf, &right_leaf);
    let proof = |sibling| Inclusion { steps: vec![Step { bit: 0, sibling: Hex32(sibling) }] };
    assert_eq!(proof(leaves[0]).verify(&root, name, &two), Ok(()));
    assert_eq!(proof(leaves[1]).verify(&root, name, &one), Err(Error::Root));
    // A stream whose path leads to a leaf that does not belong there is not proved absent by it.
    let stranger = (0..100)
        .map(|at| format!("key-{at}"))
        .find(|name| super::bit_of(&super::path(name), 0) != right)
        .unwrap();
    let absent = Absence::Other {
        path: Hex32(path),
        value: Hex32(one.value()),
        steps: vec![Step { bit: 0, sibling: Hex32(leaves[1]) }],
    };
    assert_eq!(absent.verify(&root, &stranger), Err(Error::Misplaced));
}

#[test]
fn paths_that_differ_in_any_bit_part_there() {
    let zero = [0; 32];
    assert_eq!(super::first_difference(&zero, &zero), None);
    for bit in 0..=255_u8 {
        let mut other = zero;
        other[usize::from(bit / 8)] = 0x80 >> (bit % 8);
        assert_eq!(super::first_difference(&zero, &other), Some(bit));
        assert_eq!(super::bit_of(&other, bit), 1);
    }
}

/// Computed apart from this program, with Python's hashlib.
#[test]
fn the_hashes_are_those_of_the_documentation() {
    let hex = |hash: Hash| ChainHash(hash).to_string();
    let hash = ChainHash::of(b"{}");
    assert_eq!(hash.to_string(), "96af60262a9e03e8d0cc5761e00da6f5c7432c188680d1ac7bee914bc1a96751");
    let mut map = Map::default();
    assert_eq!(hex(map.root()), "ab897fbdedfa502b2d839b6a56100887dccdc507555c282e59589e06300a62e2");
    for (name, revision, root) in [
        ("key-a", 0, "9b90f0ebe139c750a218a7853e1319f8b45fce4312e73edc15a4d6c3600b978e"),
        ("key-b", 7, "620e617839b494f9e7fc5ed9b3a8f75e416b1448e60b311fef29a27a9d1a75c8"),
        ("key-c", 1, "c102aa496f123193fb2ced32d4e20ecc631c0c313dbc5582fd7ed27a18fdcc73"),
    ] {
        map.set(name, &Head { revision, hash });
        assert_eq!(hex(map.root()), root, "{name}");
    }
}
