use std::collections::BTreeMap;

use super::super::note::{Note, Signer};
use super::super::verdict::{Check, Report};
use super::archive::{self, MAX_FILE, Reader};
use super::fixture::{ORIGIN, World, key, organization, signer, verified, workspace};
use super::{Scope, manifest, verify};

const KEY: fn() -> Scope = || Scope::Key { organization_id: organization(1), key_id: key(11) };
const WORKSPACE: fn() -> Scope =
    || Scope::Workspace { organization_id: organization(1), workspace_id: workspace(1) };
const ORGANIZATION: fn() -> Scope = || Scope::Organization { organization_id: organization(1) };

/// Where an earlier checkpoint is given.
const ELSEWHERE: [Check; 3] = [Check::Consistency, Check::Comparison, Check::Vault];

fn scopes() -> [Scope; 4] {
    [KEY(), WORKSPACE(), ORGANIZATION(), Scope::Log]
}

/// The first thing that does not hold.
fn found(report: &Report) -> Option<Check> {
    report.fault().map(|fault| fault.check)
}

/// The files of an archive.
fn files(bundle: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut reader = Reader::new(bundle);
    let mut files = Vec::new();
    while let Some((name, _)) = reader.next_file().unwrap() {
        let mut contents = Vec::new();
        reader.contents(MAX_FILE, &mut contents).unwrap();
        files.push((name, contents));
    }
    files
}

/// An archive of these files with a manifest that fits; signed anew where the attacker has a key.
fn forged(files: &[(String, Vec<u8>)], key: Option<&Signer>) -> Vec<u8> {
    forged_by(files, &key.into_iter().collect::<Vec<_>>())
}

/// The same, by whoever has these keys.
fn forged_by(files: &[(String, Vec<u8>)], keys: &[&Signer]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let (mut out, mut list, mut count) = (Vec::new(), String::new(), 0);
    let mut note = Vec::new();
    for (name, contents) in files {
        match name.as_str() {
            manifest::LIST => {}
            manifest::NOTE => note = contents.clone(),
            _ => {
                manifest::line(&mut list, &Sha256::digest(contents).into(), name);
                archive::write(name, contents, &mut out);
                count += 1;
            }
        }
    }
    if !keys.is_empty() {
        let text = manifest::text(ORIGIN, count, &Sha256::digest(&list).into());
        note = Note::sign(&text, keys).unwrap().to_string().into_bytes();
    }
    archive::write(manifest::LIST, list.as_bytes(), &mut out);
    archive::write(manifest::NOTE, &note, &mut out);
    archive::end(&mut out);
    out
}

#[test]
fn honest_bundles_of_every_scope_hold() {
    let world = World::new();
    let key = world.signer.verifier().clone();
    for scope in scopes() {
        let bundle = world.bundle(scope);
        let report = verified(&bundle, std::slice::from_ref(&key), None);
        assert_eq!(report.faults, vec![], "{scope:?}");
        assert!(report.warnings.is_empty() && !report.unproved.is_empty());
        for check in Check::ALL.into_iter().filter(|check| !ELSEWHERE.contains(check)) {
            assert!(report.proved.iter().any(|finding| finding.check == check), "{scope:?}: {check:?}");
        }
        let untrusting = verified(&bundle, &[], None);
        assert!(untrusting.faults.is_empty() && untrusting.warnings.len() == 1);
    }
}

#[test]
fn a_bundle_is_a_function_of_what_it_is_of() {
    let world = World::new();
    assert_eq!(world.bundle(KEY()), world.bundle(KEY()));
}

#[test]
fn no_entry_of_another_tenant_is_in_a_bundle() {
    let world = World::new();
    for scope in [KEY(), WORKSPACE(), ORGANIZATION()] {
        let bundle = String::from_utf8_lossy(&world.bundle(scope)).into_owned();
        for foreign in [organization(2).to_string(), workspace(2).to_string(), key(21).to_string()] {
            assert!(!bundle.contains(&foreign), "{scope:?} holds {foreign}");
        }
    }
    let of_key = String::from_utf8_lossy(&world.bundle(KEY())).into_owned();
    assert!(of_key.contains("rotateKey") && !of_key.contains(&key(12).to_string()));
}

/// Every byte in turn: another bit of each, and now and then all bits, with a key that is trusted.
fn every_changed_byte_is_found(scope: Scope, step: usize) {
    let world = World::new();
    let good = world.bundle(scope);
    let mut bad = good.clone();
    for at in (0..good.len()).step_by(step) {
        bad[at] ^= 1 << (at % 8);
        assert!(verified(&bad, &[], None).fault().is_some(), "{scope:?}: a bit of byte {at}");
        if at % 16 == 0 {
            bad[at] = !good[at];
            let report = verified(&bad, std::slice::from_ref(world.signer.verifier()), None);
            assert!(report.fault().is_some(), "{scope:?}: byte {at}");
        }
        bad[at] = good[at];
    }
}

#[test]
fn every_changed_byte_of_a_bundle_of_a_key_is_found() {
    every_changed_byte_is_found(KEY(), 1);
}

#[test]
fn changed_bytes_of_a_bundle_of_the_log_are_found() {
    every_changed_byte_is_found(Scope::Log, 7);
}

#[test]
fn a_bundle_cut_off_anywhere_is_refused() {
    let world = World::new();
    let good = world.bundle(KEY());
    for length in (0..good.len()).step_by(97) {
        assert_eq!(found(&verified(&good[..length], &[], None)), Some(Check::Archive), "{length}");
    }
}

/// What somebody without a key makes of the files, and what a verification says of it.
fn outsider(scope: Scope, change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> Option<Check> {
    let world = World::new();
    let mut all = files(&world.bundle(scope));
    change(&mut all);
    found(&verified(&forged(&all, None), &[], None))
}

#[test]
fn whoever_makes_the_manifest_anew_without_a_key_is_found() {
    let contents = |all: &mut Vec<(String, Vec<u8>)>| all[0].1[0] ^= 1;
    assert_eq!(outsider(KEY(), contents), Some(Check::Manifest));
    assert_eq!(outsider(KEY(), |all| drop(all.remove(0))), Some(Check::Manifest));
    assert_eq!(outsider(Scope::Log, |all| all.swap(0, 1)), Some(Check::Archive));
    // With a note that tells of the new manifest, and an old signature.
    let world = World::new();
    let mut all = files(&world.bundle(KEY()));
    all[0].1[0] ^= 1;
    let own = files(&forged(&all, Some(&signer(9))));
    let text = Note::parse(&own.last().unwrap().1).unwrap().text().to_owned();
    let note = &mut all.last_mut().unwrap().1;
    let signed = String::from_utf8(note.clone()).unwrap();
    *note = format!("{text}\n{}", signed.split_once("\n\n").unwrap().1).into_bytes();
    assert_eq!(found(&verified(&forged(&all, None), &[], None)), Some(Check::Signature));
}

#[test]
fn whoever_has_a_log_of_their_own_is_refused_by_the_key() {
    let honest = World::new();
    let mut forger = World::empty(66);
    forger.issue(1, 11);
    forger.commit();
    let bundle = forger.bundle(KEY());
    assert!(verified(&bundle, &[], None).faults.is_empty(), "it fits together");
    let report = verified(&bundle, std::slice::from_ref(honest.signer.verifier()), None);
    assert_eq!(found(&report), Some(Check::Signature));
    assert!(report.fault().unwrap().what.contains("--key"));
}

/// What an insider, who has the log's key, makes of the files of a bundle with an honest checkpoint.
fn insider(scope: Scope, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> Report {
    let world = World::new();
    let bundle = files(&world.bundle(scope));
    let mut changed: BTreeMap<String, Vec<u8>> = bundle.iter().cloned().collect();
    change(&mut changed);
    let all: Vec<_> = bundle
        .into_iter()
        .filter_map(|(name, _)| changed.remove(&name).map(|contents| (name, contents)))
        .collect();
    verified(&forged(&all, Some(&world.signer)), std::slice::from_ref(world.signer.verifier()), None)
}

type Entries = Vec<(u64, Vec<u8>)>;

/// The same, of the entries of a bundle of a key.
fn insider_of_entries(change: impl FnOnce(&mut Entries)) -> Option<Check> {
    let report = insider(KEY(), |all| {
        let file = all.get_mut("entries/000").unwrap();
        let mut entries: Entries = super::scoped_entries(file)
            .unwrap()
            .into_iter()
            .map(|(index, bytes)| (index, bytes.to_vec()))
            .collect();
        change(&mut entries);
        *file = entries
            .iter()
            .flat_map(|(index, bytes)| {
                let length = u16::try_from(bytes.len()).unwrap();
                [&index.to_be_bytes()[..], &length.to_be_bytes(), bytes].concat()
            })
            .collect();
    });
    found(&report)
}

#[test]
fn entries_that_were_changed_removed_swapped_or_repeated_are_found() {
    // 0 is the log's key, 3 to 11 are the key's.
    assert_eq!(insider_of_entries(|_| {}), None);
    assert_eq!(insider_of_entries(|entries| entries[1].1[20] ^= 1), Some(Check::Tree));
    assert_eq!(insider_of_entries(|entries| drop(entries.remove(2))), Some(Check::Chain));
    assert_eq!(insider_of_entries(|entries| drop(entries.remove(1))), Some(Check::Chain));
    assert_eq!(insider_of_entries(|entries| entries.swap(1, 2)), Some(Check::Chain));
    assert_eq!(insider_of_entries(|entries| entries.swap(0, 1)), Some(Check::Tree));
    assert_eq!(
        insider_of_entries(|entries| {
            let (first, second) = (entries[1].0, entries[2].0);
            (entries[1].0, entries[2].0) = (second, first);
            entries.swap(1, 2);
        }),
        Some(Check::Tree)
    );
    assert_eq!(insider_of_entries(|entries| entries.insert(2, entries[1].clone())), Some(Check::Tree));
    assert_eq!(insider_of_entries(|entries| entries[1].0 += 1), Some(Check::Tree));
    assert_eq!(insider_of_entries(|entries| entries[1].0 = u64::MAX), Some(Check::Tree));
    // The last event of the key, and with it that it was revoked: only the commitment tells.
    let last = |entries: &mut Entries| {
        let at =
            entries.iter().rposition(|(_, bytes)| String::from_utf8_lossy(bytes).contains("key.revoked"));
        entries.remove(at.unwrap());
    };
    assert!(matches!(insider_of_entries(last), Some(Check::Completeness | Check::View)));
    assert_eq!(insider_of_entries(|entries| drop(entries.remove(0))), Some(Check::View));
    assert_eq!(
        insider_of_entries(|entries| {
            let world = World::new();
            let foreign = world
                .entries
                .iter()
                .position(|entry| String::from_utf8_lossy(entry).contains(&key(21).to_string()));
            let index = foreign.unwrap();
            let at = entries.iter().position(|(other, _)| *other > index as u64).unwrap();
            entries.insert(at, (index as u64, world.entries[index].clone()));
        }),
        Some(Check::Event)
    );
}

/// With views made to fit what is left of the entries.
#[test]
fn a_last_event_that_is_left_out_everywhere_is_told_by_the_commitment() {
    let world = World::new();
    let mut shorter = world.clone();
    // As if the key had not been revoked, in a bundle of the honest tree.
    let revoked =
        shorter.entries.iter().rposition(|entry| String::from_utf8_lossy(entry).contains("key.revoked"));
    shorter.entries.remove(revoked.unwrap());
    // No proof holds of a stream that ends elsewhere, so the views come from a bundle without any.
    let mut unproved = shorter.describe(KEY());
    unproved.heads_size = None;
    let (honest, lie) = (files(&world.bundle(KEY())), files(&shorter.bundle_of(&unproved, None)));
    let of = |files: &[(String, Vec<u8>)], name: &str| {
        files.iter().find(|(other, _)| other == name).map(|(_, contents)| contents.clone()).unwrap()
    };
    let mut all = honest.clone();
    for (name, contents) in &mut all {
        match name.as_str() {
            "entries/000" => {
                let entries = super::scoped_entries(contents).unwrap();
                let kept = entries
                    .into_iter()
                    .filter(|(_, bytes)| !String::from_utf8_lossy(bytes).contains("key.revoked"));
                *contents = kept
                    .flat_map(|(index, bytes)| {
                        let length = u16::try_from(bytes.len()).unwrap();
                        [&index.to_be_bytes()[..], &length.to_be_bytes(), bytes].concat()
                    })
                    .collect();
            }
            "views/trail-000001.csv" => {
                let text = String::from_utf8(contents.clone()).unwrap();
                let kept: Vec<&str> =
                    text.split_inclusive("\r\n").filter(|line| !line.contains("key.revoked")).collect();
                *contents = kept.concat().into_bytes();
            }
            "views/keys-000001.jsonl" => *contents = of(&lie, name),
            _ => {}
        }
    }
    let bundle = forged(&all, Some(&world.signer));
    let report = verified(&bundle, &[], None);
    assert_eq!(found(&report), Some(Check::Completeness), "{:?}", report.faults);
}

#[test]
fn each_part_that_lies_is_told_by_its_check() {
    let told = |scope, name: &str, change: fn(&mut Vec<u8>)| {
        found(&insider(scope, |all| change(all.get_mut(name).unwrap())))
    };
    assert_eq!(told(KEY(), "tile/0/000.p/14", |tile| tile[0] ^= 1), Some(Check::Tree));
    assert_eq!(told(KEY(), "tile/0/000.p/14", |tile| tile.truncate(32)), Some(Check::Tree));
    assert_eq!(told(KEY(), "views/trail-000001.csv", |csv| csv[300] ^= 1), Some(Check::View));
    assert_eq!(told(KEY(), "views/keys-000001.jsonl", |keys| keys[30] ^= 1), Some(Check::View));
    assert_eq!(told(KEY(), "heads/000001.jsonl", |heads| heads[80] ^= 1), Some(Check::Completeness));
    assert_eq!(told(KEY(), "heads/000001.jsonl", Vec::clear), Some(Check::Completeness));
    assert_eq!(
        told(KEY(), "keys/1", |key| *key = format!("{}\n", signer(9).verifier()).into()),
        Some(Check::Signature)
    );
    let scope = |json: &mut Vec<u8>| {
        let text = String::from_utf8(json.clone()).unwrap();
        *json = text.replace(&key(11).to_string(), &key(12).to_string()).into_bytes();
    };
    assert_eq!(told(KEY(), "bundle.json", scope), Some(Check::Event));
    let missing = |name: &str| found(&insider(KEY(), |all| drop(all.remove(name))));
    assert_eq!(missing("README.txt"), None, "nothing depends on it, and it is not in the manifest");
    assert_eq!(missing("bundle.json"), Some(Check::Archive));
    assert_eq!(missing("checkpoint"), Some(Check::Archive));
    assert_eq!(missing("keys/1"), Some(Check::Signature));
    assert_eq!(missing("tile/0/000.p/14"), Some(Check::Archive));
    assert_eq!(missing("entries/000"), Some(Check::View));
    assert_eq!(missing("views/trail-000001.csv"), Some(Check::View));
    assert_eq!(missing("views/keys-000001.jsonl"), Some(Check::View));
    assert_eq!(missing("heads/000001.jsonl"), Some(Check::Completeness));
}

#[test]
fn a_rewritten_log_is_told_by_an_earlier_checkpoint() {
    let world = World::new();
    let kept = world.signed(5);
    let mut grown = world.clone();
    grown.usage(1);
    grown.commit();
    for scope in [Scope::Log, KEY()] {
        let bundle = grown.bundle_of(&grown.describe(scope), Some(5));
        let report = verified(&bundle, &[], Some(&kept));
        assert_eq!(report.faults, vec![], "{scope:?}");
        assert!(
            report.proved.iter().any(|finding| finding.check == Check::Consistency && finding.count == 5)
        );
        // Another history, of the same operator.
        let mut other = World::empty(1);
        (0..8).for_each(|_| other.usage(2));
        let report = verified(&bundle, &[], Some(&other.signed(5)));
        assert_eq!(found(&report), Some(Check::Consistency));
        // A later one than the bundle's, and one of another log.
        assert_eq!(
            found(&verified(&world.bundle(scope), &[], Some(&grown.signed(16)))),
            Some(Check::Consistency)
        );
        let stranger = World { signer: signer(9), ..world.clone() }.signed(5);
        assert_eq!(found(&verified(&bundle, &[], Some(&stranger))), Some(Check::Consistency));
    }
}

#[test]
fn what_lacks_the_tiles_to_compare_says_so_and_nothing_against_the_log() {
    let mut world = World::new();
    // The earlier tree ends in the second tile, in which there is nothing of the key, and the later one in the third.
    (0..300).for_each(|_| world.usage(2));
    let kept = world.signed(300);
    (0..300).for_each(|_| world.usage(2));
    world.commit();
    let report = verified(&world.bundle(KEY()), &[], Some(&kept));
    assert_eq!(found(&report), Some(Check::Comparison));
    let what = &report.fault().unwrap().what;
    assert!(what.contains("--since 300") && what.contains("says nothing about the log"), "{what}");
    assert_eq!(
        verified(&world.bundle_of(&world.describe(KEY()), Some(300)), &[], Some(&kept)).faults,
        vec![]
    );
}

#[test]
fn a_log_that_changed_its_keys_has_bundles_that_hold() {
    let mut world = World::new();
    let first = world.signer.verifier().clone();
    world.rotate(2);
    let second = world.later[0].verifier().clone();
    world.issue(1, 13);
    world.commit();
    for scope in scopes() {
        let bundle = world.bundle(scope);
        for trusted in
            [vec![], vec![first.clone()], vec![second.clone()], vec![first.clone(), second.clone()]]
        {
            assert_eq!(verified(&bundle, &trusted, None).faults, vec![], "{scope:?}, both sign");
        }
        let stranger = verified(&bundle, &[signer(9).verifier().clone()], None);
        assert_eq!(found(&stranger), Some(Check::Signature));
    }
    let kept = world.signed(5);
    world.retire(1);
    world.commit();
    for scope in scopes() {
        let bundle = world.bundle_of(&world.describe(scope), Some(5));
        for trusted in [vec![], vec![second.clone()]] {
            // What the retired key signed while it was in use still counts.
            let report = verified(&bundle, &trusted, Some(&kept));
            assert_eq!(report.faults, vec![], "{scope:?}, the second signs");
        }
        let report = verified(&bundle, std::slice::from_ref(&first), None);
        assert_eq!(found(&report), Some(Check::Signature), "{scope:?}");
        assert!(report.fault().unwrap().what.contains("retired"));
    }
}

#[test]
fn nobody_lies_about_the_keys_of_a_log() {
    let mut world = World::new();
    world.rotate(2);
    world.retire(1);
    world.issue(1, 13);
    world.commit();
    let second = world.later[0].clone();
    let told = |scope, signers: &[&Signer], change: fn(&mut BTreeMap<String, Vec<u8>>)| {
        let honest = files(&world.bundle(scope));
        let mut changed: BTreeMap<String, Vec<u8>> = honest.iter().cloned().collect();
        change(&mut changed);
        let all: Vec<_> =
            honest.iter().filter_map(|(name, _)| Some((name.clone(), changed.remove(name)?))).collect();
        let forged = forged_by(&all, signers);
        let trusting = verified(&forged, std::slice::from_ref(second.verifier()), None);
        [found(&verified(&forged, &[], None)), found(&trusting)]
    };
    let (both, stolen) = ([&world.signer, &second], [&world.signer]);
    for scope in scopes() {
        assert_eq!(told(scope, &[&second], |_| {}), [None; 2]);
        // A key that the log introduced is left out, changed, swapped with another one, or added.
        assert_eq!(told(scope, &both[1..], |all| drop(all.remove("keys/1"))), [Some(Check::LogKeys); 2]);
        let other = |all: &mut BTreeMap<String, Vec<u8>>| {
            all.insert("keys/1".into(), format!("{}\n", signer(9).verifier()).into());
        };
        assert_eq!(told(scope, &both[1..], other), [Some(Check::LogKeys); 2]);
        let swapped = |all: &mut BTreeMap<String, Vec<u8>>| {
            let one = all.remove("keys/1").unwrap();
            let two = all.insert("keys/2".into(), one).unwrap();
            all.insert("keys/1".into(), two);
        };
        assert_eq!(told(scope, &both[1..], swapped), [Some(Check::LogKeys); 2]);
        // Whoever stole the retired key signs anew what is in here. The checkpoint is honest, and only the manifest is
        // theirs.
        assert_eq!(told(scope, &stolen, |_| {})[1], Some(Check::Signature));
    }
    // With a checkpoint of the thief's own as well, over the honest tree.
    for scope in scopes() {
        let mut all = files(&world.bundle(scope));
        let checkpoint = world.checkpoint(world.size()).sign(&stolen).unwrap().to_string();
        all.iter_mut().find(|(name, _)| name == "checkpoint").unwrap().1 = checkpoint.into_bytes();
        let forged = forged_by(&all, &stolen);
        assert_eq!(found(&verified(&forged, &[], None)), Some(Check::LogKeys), "{scope:?}");
        assert_eq!(
            found(&verified(&forged, std::slice::from_ref(second.verifier()), None)),
            Some(Check::Signature)
        );
        assert_eq!(
            found(&verified(&forged, std::slice::from_ref(world.signer.verifier()), None)),
            Some(Check::LogKeys)
        );
    }
}

#[test]
fn changed_bytes_of_a_bundle_with_two_signers_are_found() {
    let mut world = World::new();
    world.rotate(2);
    world.commit();
    let good = world.bundle(KEY());
    let mut bad = good.clone();
    for at in (0..good.len()).step_by(5) {
        bad[at] ^= 1 << (at % 8);
        assert!(verified(&bad, &[], None).fault().is_some(), "a bit of byte {at}");
        bad[at] = good[at];
    }
}

#[test]
fn a_period_begins_and_ends_within_streams() {
    let world = World::new();
    let mut description = world.describe(KEY());
    (description.first_index, description.end_index, description.heads_size) = (5, 10, None);
    let bundle = world.bundle_of(&description, None);
    let report = verified(&bundle, &[], None);
    assert_eq!(report.faults, vec![]);
    assert!(report.unproved.iter().any(|open| open.contains("before log index 5 and from 10 on")));
    assert!(!files(&bundle).iter().any(|(name, _)| name.starts_with("views/keys")), "no key begins in it");
}

#[test]
fn large_bundles_are_in_parts() {
    let mut world = World::empty(1);
    world.workspace(1);
    for number in 0..100 {
        world.issue(1, 1_000 + number);
        world.usage(2);
        world.issue(2, 5_000 + number);
    }
    world.commit();
    for scope in [WORKSPACE(), Scope::Log] {
        let bundle = world.bundle(scope);
        assert_eq!(verified(&bundle, &[], None).faults, vec![], "{scope:?}");
        let names: Vec<String> = files(&bundle).into_iter().map(|(name, _)| name).collect();
        assert!(names.iter().any(|name| name == "tile/1/000.p/1"), "{names:?}");
    }
}

#[test]
fn a_reader_that_fails_says_nothing_about_the_bundle() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    assert!(verify(Broken, Broken, &[], None, &mut |_| {}).is_err());
}

mod hostile {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_makes_a_verification_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            prop_assert!(verified(&bytes, &[], None).fault().is_some());
        }

        #[test]
        fn no_file_does_either(which in 0_usize..12, contents in prop::collection::vec(any::<u8>(), 0..300)) {
            let world = World::new();
            let mut all = files(&world.bundle(KEY()));
            let at = which % all.len();
            // The readme may say anything that its manifest names.
            if all[at].1 != contents && all[at].0 != "README.txt" {
                let is_manifest = [manifest::LIST, manifest::NOTE].contains(&all[at].0.as_str());
                all[at].1 = contents;
                let report = verified(&forged(&all, Some(&world.signer)), &[], None);
                prop_assert!(is_manifest || report.fault().is_some());
            }
        }

        #[test]
        fn no_name_does_either(which in 0_usize..12, name in "(tile/[0-9]{1,2}/|entries/|keys/|views/|heads/)[x0-9./p]{1,12}") {
            let world = World::new();
            let mut all = files(&world.bundle(KEY()));
            let at = which % (all.len() - 2);
            if name.split('/').all(|part| !part.is_empty() && !part.starts_with('.')) && all[at].0 != name {
                all[at].0 = name;
                prop_assert!(verified(&forged(&all, Some(&world.signer)), &[], None).fault().is_some());
            }
        }
    }
}
