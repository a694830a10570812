//! What somebody tries who has the log's key, and would rather show less than there is.

use ed25519_dalek::SigningKey;
use keyledger_schema::event::{Event, KeyRevoked, RevocationReason};
use keyledger_schema::{Stream, Timestamp};

use super::super::checkpoint::Checkpoint;
use super::super::log::Followed;
use super::super::note::{MAX_SIGNATURES, Note, Signer};
use super::super::verdict::{Check, Report};
use super::fixture::{ORIGIN, World, key, organization, signer, verified, workspace};
use super::{Description, Scope};

const KEY: fn() -> Scope = || Scope::Key { organization_id: organization(1), key_id: key(11) };

fn found(report: &Report) -> Option<Check> {
    report.fault().map(|fault| fault.check)
}

fn warned(report: &Report, of: &str) -> bool {
    report.warnings.iter().any(|warning| warning.contains(of))
}

fn open(report: &Report, of: &str) -> bool {
    report.unproved.iter().any(|open| open.contains(of))
}

/// The bundle of the first key, with a description of one's own.
fn described(world: &World, change: impl FnOnce(&mut Description)) -> Report {
    let mut description = world.describe(KEY());
    change(&mut description);
    let bundle = world.bundle_of(&description, None);
    verified(&bundle, std::slice::from_ref(world.signer.verifier()), None)
}

#[test]
fn the_stream_that_a_bundle_is_about_cannot_be_left_out_of_it() {
    // As if the first key, its workspace and its organization had never been.
    let mut world = World::empty(1);
    world.issue(1, 12);
    world.usage(1);
    world.commit();
    for scope in [
        KEY(),
        Scope::Workspace { organization_id: organization(1), workspace_id: workspace(1) },
        Scope::Organization { organization_id: organization(1) },
    ] {
        let report = verified(&world.bundle(scope), &[], None);
        assert_eq!(found(&report), Some(Check::Completeness), "{scope:?}");
    }
    // In a period there may be none, which is said aloud.
    let mut part = world.describe(KEY());
    (part.end_index, part.heads_size) = (2, None);
    let report = verified(&world.bundle_of(&part, None), &[], None);
    assert!(found(&report).is_none() && warned(&report, "NO EVENT OF key-"), "{report:?}");
}

#[test]
fn a_further_stream_that_is_left_out_whole_is_told_to_be_unproved() {
    let world = World::new();
    let report = described(&world, |_| {});
    assert!(found(&report).is_none() && open(&report, "no further stream"));
    let whole = verified(&world.bundle(Scope::Log), &[], None);
    assert!(!open(&whole, "no further stream"), "the whole log has all of them");
}

#[test]
fn an_older_commitment_than_there_is_proves_no_more_than_it_says() {
    let mut world = World::empty(1);
    world.workspace(1);
    world.commit();
    let before_it_was_issued = world.commitments[0].0;
    world.issue(1, 11);
    world.commit();
    let issued = world.commitments[1].0;
    let revoked = KeyRevoked { reason: RevocationReason::Compromised, comment: None };
    world.act(1, 11, Event::KeyRevoked(revoked));
    world.commit();
    let honest = described(&world, |_| {});
    assert!(found(&honest).is_none() && honest.warnings.is_empty(), "{honest:?}");
    assert!(!open(&honest, "Where 1 streams end"), "{honest:?}");
    for older in [before_it_was_issued, issued] {
        let report = described(&world, |description| description.heads_size = Some(older));
        assert!(found(&report).is_none() && open(&report, "Where 1 streams end"), "{report:?}");
        assert!(open(&report, &format!("from log index {older} on, and that the log committed to no later")));
    }
    // Whether or not the later events are shown, it is told of which moment the ends are.
    let late = |description: &mut Description| {
        description.heads_size = Some(issued);
        description.made_at = Timestamp::from_micros(1_800_000_000_000_000 + 61_000_000);
    };
    let report = described(&world, late);
    assert!(warned(&report, "THE ENDS OF STREAMS ARE PROVED ONLY FOR 2027-01-15"), "{report:?}");
    let proved = report.proved.iter().find(|finding| finding.check == Check::Completeness);
    assert!(proved.unwrap().what.contains(", at 2027-01-15"), "{report:?}");
}

#[test]
fn a_period_is_no_more_than_the_indexes_that_the_bundle_names() {
    let world = World::new();
    let report = described(&world, |description| {
        description.first_index = 8;
        description.from = Some(Timestamp::from_micros(0));
    });
    assert!(found(&report).is_none(), "{report:?}");
    assert!(open(&report, "before log index 8 and from 14 on"), "{report:?}");
    assert!(open(&report, "that these are all of the period 1970-01-01"), "{report:?}");
}

#[test]
fn keys_of_other_logs_and_too_many_signatures_do_not_count() {
    let world = World::new();
    let other = Signer::new("other.example/log", SigningKey::from_bytes(&[1; 32])).unwrap();
    let bundle = world.bundle(KEY());
    // The same key pair, in the name of another log.
    let report = verified(&bundle, std::slice::from_ref(other.verifier()), None);
    assert_eq!(found(&report), Some(Check::Signature), "{report:?}");
    // A checkpoint with as many signatures as can be, of which one is known.
    let signers: Vec<Signer> =
        (1..=17).map(|seed| Signer::new(ORIGIN, SigningKey::from_bytes(&[seed; 32])).unwrap()).collect();
    let all: Vec<&Signer> = signers.iter().collect();
    let checkpoint = world.checkpoint(5);
    let note = checkpoint.sign(&all[..MAX_SIGNATURES]).unwrap();
    assert_eq!(note.verify(std::slice::from_ref(signer(1).verifier())).unwrap().len(), 1);
    assert!(checkpoint.sign(&all).is_err(), "nobody could read it");
    // An origin that looks like the log's, or hides lines, is another one.
    for origin in [
        "keyledger.example/log ",
        "keyledger.example/log\u{2028}5",
        "Keyledger.example/log",
        "keyledger.example/\u{442}og",
    ] {
        let strange = Checkpoint::new(origin, 5, world.checkpoint(5).root).to_string();
        let note = Note::sign(&strange, &[&world.signer]).unwrap();
        let opened = Checkpoint::open(
            note.to_string().as_bytes(),
            ORIGIN,
            std::slice::from_ref(world.signer.verifier()),
        );
        assert!(opened.is_err(), "{origin:?}");
    }
}

#[test]
fn a_key_that_the_log_retired_signs_no_checkpoint_of_what_came_after() {
    let mut world = World::new();
    world.rotate(2);
    let before = world.size();
    world.retire(1);
    world.commit();
    let mut followed = Followed::new(None);
    let mut revision = 0;
    for (index, bytes) in (0..).zip(&world.entries) {
        let seen = super::super::event::Seen::read(bytes, &keyledger_schema::NoDataKeys).unwrap();
        if matches!(seen.stream, Stream::Log(_)) {
            assert_eq!(seen.revision, revision);
            revision += 1;
        }
        followed.follow(index, (&seen.stream.to_string(), seen.revision), bytes).unwrap();
    }
    let signed = |size, signers: &[&Signer]| {
        let checkpoint = world.checkpoint(size);
        let note = checkpoint.sign(signers).unwrap();
        followed.signed_in_use(&note, &checkpoint).map_err(|fault| fault.check)
    };
    let (first, second) = (&world.signer, &world.later[0]);
    assert_eq!(signed(before, &[first]), Ok(()), "it was in use then");
    assert_eq!(signed(world.size(), &[first]), Err(Check::LogKeys));
    assert_eq!(signed(world.size(), &[second]), Ok(()));
    assert_eq!(signed(world.size(), &[first, second]), Ok(()));
    assert_eq!(signed(world.size(), &[&signer(9)]), Err(Check::LogKeys));
}
