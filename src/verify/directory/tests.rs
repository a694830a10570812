use std::collections::HashMap;

use keyledger_projections::CreditsState;
use keyledger_schema::{Grant, GrantRole, GrantTarget, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::verify::fixture::{NOW, hash, key, organization, rotated, state};
use crate::verify::limits::Charge;
use crate::verify::meter::charge as charge_at;

fn versions(directory: &Directory, n: u128) -> Vec<u32> {
    (1..=4).filter(|version| directory.find(&hash(n, *version)).is_some()).collect()
}

#[test]
fn a_key_is_found_by_its_secret_and_by_no_other() {
    let directory = Directory::default();
    directory.apply(None, &state(7));
    let entry = directory.find(&hash(7, 1)).unwrap();
    assert_eq!((entry.key, entry.secret_version), (state(7).id, 1));
    assert!(directory.find(&hash(8, 1)).is_none());
    // Equal in every bit that the table looks at, and another hash all the same.
    let mut near = hash(7, 1);
    near.0[20] ^= 1;
    assert!(directory.find(&near).is_none());
}

#[test]
fn a_rotated_secret_vanishes_at_once_or_stays_for_the_overlap() {
    let directory = Directory::default();
    let first = state(7);
    directory.apply(None, &first);
    let second = rotated(&first, 7, Some(NOW));
    directory.apply(Some(&first), &second);
    assert_eq!(versions(&directory, 7), [1, 2]);
    assert_eq!(directory.find(&hash(7, 1)).unwrap().secret_expires_at(), Some(NOW));
    assert_eq!(directory.find(&hash(7, 2)).unwrap().secret_expires_at(), None);
    let third = rotated(&second, 7, None);
    directory.apply(Some(&second), &third);
    assert_eq!(versions(&directory, 7), [3]);
}

#[test]
fn a_revoked_key_stays_and_a_deleted_one_is_gone() {
    let directory = Directory::default();
    let first = rotated(&state(7), 7, Some(NOW));
    directory.apply(None, &first);
    let mut revoked = first.clone();
    revoked.revision += 1;
    revoked.revoked = Some(keyledger_projections::key::Revocation {
        at: NOW,
        reason: keyledger_schema::event::RevocationReason::Unused,
        comment: None,
    });
    directory.apply(Some(&first), &revoked);
    assert!(directory.find(&hash(7, 1)).unwrap().revoked && directory.find(&hash(7, 2)).unwrap().revoked);
    let mut deleted = revoked.clone();
    deleted.deleted_at = Some(NOW);
    directory.apply(Some(&revoked), &deleted);
    assert!(directory.is_empty());
}

#[test]
fn an_older_state_does_not_replace_a_newer_one() {
    let directory = Directory::default();
    let mut newer = state(7);
    newer.revision = 5;
    newer.disabled = true;
    directory.apply(None, &newer);
    directory.apply(None, &state(7));
    assert!(directory.find(&hash(7, 1)).unwrap().disabled);
}

#[test]
fn only_keys_with_grants_carry_what_management_needs() {
    let directory = Directory::default();
    directory.apply(None, &state(7));
    assert!(directory.find(&hash(7, 1)).unwrap().management().is_none());
    let empty = directory.bytes();
    let mut manager = state(8);
    manager.grants = vec![Grant { role: GrantRole::Viewer, on: GrantTarget::Organization(organization(1)) }];
    directory.apply(None, &manager);
    assert_eq!(directory.find(&hash(8, 1)).unwrap().grants(), &manager.grants);
    assert!(directory.bytes() > empty);
    let mut deleted = manager.clone();
    deleted.deleted_at = Some(NOW);
    directory.apply(Some(&manager), &deleted);
    assert_eq!(directory.rare_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn a_key_takes_at_most_250_bytes_when_scopes_are_shared() {
    let directory = Directory::with_capacity(100_000);
    std::thread::scope(|scope| {
        for part in 0..4 {
            let directory = &directory;
            scope.spawn(move || {
                (part * 25_000..(part + 1) * 25_000).for_each(|n| directory.apply(None, &state(n)));
            });
        }
    });
    assert_eq!(directory.len(), 100_000);
    let each = directory.bytes() / directory.len();
    assert!(each <= 250, "{each} bytes a key");
    assert_eq!(Arc::strong_count(&directory.find(&hash(1, 1)).unwrap().scopes), 100_001);
}

fn limited(n: u128, limit: u64) -> KeyState {
    let rule = |name: &str, limit, window_seconds| RateLimit { name: name.into(), limit, window_seconds };
    KeyState { rate_limits: vec![rule("minute", limit, 60), rule("day", 1_000_000, 86_400)], ..state(n) }
}

#[test]
fn the_entries_of_a_key_share_its_limits_and_a_change_keeps_what_was_spent() {
    let directory = Directory::default();
    let meter = |version| Arc::clone(directory.find(&hash(7, version)).unwrap().meter().unwrap());
    let spend = |version, cost| {
        let charge = Charge { cost, only: None };
        let checked = charge_at(Some(&meter(version)), None, &charge, 1).unwrap().unwrap();
        checked.limits().next().unwrap().2.remaining
    };
    let remaining = |version| spend(version, 0);
    let first = limited(7, 100);
    directory.apply(None, &first);
    spend(1, 40);
    let second = rotated(&first, 7, Some(NOW));
    directory.apply(Some(&first), &second);
    assert!(Arc::ptr_eq(&meter(1), &meter(2)));
    assert_eq!((remaining(1), remaining(2)), (60, 60));
    // At once, and so by the new secret only.
    let third = rotated(&second, 7, None);
    directory.apply(Some(&second), &third);
    assert_eq!(remaining(3), 60);
    let fourth = KeyState { revision: 3, rate_limits: limited(7, 10).rate_limits, ..third.clone() };
    directory.apply(Some(&third), &fourth);
    assert_eq!(remaining(3), 6);
    // Redelivered, and an older state: nothing changes.
    directory.apply(None, &fourth);
    directory.apply(None, &third);
    assert_eq!(remaining(3), 6);
    let without = KeyState { revision: 4, rate_limits: Vec::new(), ..fourth.clone() };
    directory.apply(Some(&fourth), &without);
    assert!(directory.find(&hash(7, 3)).unwrap().meter().is_none());
    assert_eq!(directory.rare_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn credits_are_found_by_key_and_stay_with_it() {
    let directory = Directory::default();
    let pool = PoolId::Key(key(7));
    let credits = |n, counted, remaining| CreditsState {
        n,
        at: NOW,
        counted,
        remaining: Some(remaining),
        refill: None,
        adjusted_by: None,
    };
    let left = || directory.credits(pool, |pool| pool.remaining(NOW)).flatten();
    let first = KeyState { credits: Some(credits(1, 0, 100)), ..state(7) };
    directory.apply(None, &first);
    directory.spent(pool, &Tally { spent: 30, refilled: None });
    assert_eq!(left(), Some(70));
    let spend = |version| {
        let entry = directory.find(&hash(7, version)).unwrap();
        charge_at(entry.meter().map(Arc::as_ref), None, &Charge::default(), 1).unwrap().unwrap();
    };
    spend(1);
    let second = rotated(&first, 7, Some(NOW));
    directory.apply(Some(&first), &second);
    spend(1);
    spend(2);
    assert_eq!(left(), Some(67));
    directory.give_back(pool, 2);
    assert_eq!(left(), Some(69));
    let (n, counted) = directory.credits(pool, |pool| pool.next()).unwrap();
    let third = KeyState { revision: 2, credits: Some(credits(n, counted, 5)), ..second.clone() };
    directory.apply(Some(&second), &third);
    assert_eq!(left(), Some(5));
    // Told again: nothing changes.
    spend(2);
    directory.apply(None, &third);
    assert_eq!(left(), Some(4));
    directory.apply(Some(&third), &KeyState { revision: 3, deleted_at: Some(NOW), ..third.clone() });
    assert_eq!(left(), None);
}

#[test]
fn a_key_takes_at_most_200_bytes_more_for_its_limits() {
    let bytes = |make: fn(u128) -> KeyState| {
        let directory = Directory::with_capacity(10_000);
        (0..10_000).for_each(|n| directory.apply(None, &make(n)));
        directory.bytes() / directory.len()
    };
    let (without, with) = (bytes(state), bytes(|n| limited(n, 100)));
    println!("{without} bytes a key without rate limits, {with} with two");
    assert!(with - without <= 200, "{without} {with}");
}

#[test]
fn entries_show_no_hash() {
    let directory = Directory::default();
    directory.apply(None, &state(7));
    let shown = format!("{:?}", directory.find(&hash(7, 1)).unwrap());
    assert!(shown.starts_with("Entry { key: key_") && !shown.contains("hash"), "{shown}");
}

#[derive(Clone, Debug)]
enum Step {
    Rotate(Option<i64>),
    Disable,
    Revoke,
    Delete,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::option::of(0i64..100).prop_map(Step::Rotate),
        Just(Step::Disable),
        Just(Step::Revoke),
        Just(Step::Delete),
    ]
}

#[test]
fn a_scheme_is_marked_once_a_secret_of_it_was_imported() {
    let directory = Directory::default();
    let marked =
        || SecretScheme::ALL.into_iter().filter(|&scheme| directory.has_imported(scheme)).collect::<Vec<_>>();
    directory.apply(None, &state(1));
    assert_eq!(marked(), []);
    let first = KeyState { imported: Some(SecretScheme::Sha256), ..state(2) };
    directory.apply(None, &first);
    assert_eq!(marked(), [SecretScheme::Sha256]);
    // Rotated, the old secret is still looked for; and nothing unmarks it.
    let second = rotated(&first, 2, Some(NOW));
    let fresh = Directory::default();
    fresh.apply(None, &second);
    assert!(second.imported.is_none() && fresh.has_imported(SecretScheme::Sha256));
    directory.apply(Some(&first), &KeyState { deleted_at: Some(NOW), ..first.clone() });
    assert_eq!(marked(), [SecretScheme::Sha256]);
}

proptest! {
    #[test]
    fn it_always_holds_exactly_the_secrets_of_the_states_it_was_given(
        steps in prop::collection::vec((0u128..4, step()), 0..40),
    ) {
        let directory = Directory::default();
        let mut states: HashMap<u128, KeyState> = HashMap::new();
        for (n, step) in steps {
            let before = states.get(&n).cloned();
            let current = before.clone().unwrap_or_else(|| state(n));
            let mut after = match step {
                Step::Rotate(overlap) => rotated(&current, n, overlap.map(Timestamp::from_micros)),
                Step::Disable => KeyState { disabled: true, ..current },
                Step::Revoke => KeyState {
                    revoked: Some(keyledger_projections::key::Revocation {
                        at: NOW, reason: keyledger_schema::event::RevocationReason::Other, comment: None,
                    }),
                    ..current
                },
                Step::Delete => KeyState { deleted_at: Some(NOW), ..current },
            };
            if before.as_ref().is_some_and(|before| before.deleted_at.is_some()) {
                after.deleted_at = Some(NOW);
            }
            directory.apply(before.as_ref(), &after);
            states.insert(n, after);
        }
        let mut expected = 0;
        for (n, state) in &states {
            if state.deleted_at.is_some() {
                prop_assert!(versions(&directory, *n).is_empty());
                continue;
            }
            for hash in hashes(state) {
                expected += 1;
                let entry = directory.find(hash).unwrap();
                prop_assert_eq!(entry.revision, state.revision);
                prop_assert_eq!(entry.disabled, state.disabled);
                prop_assert_eq!(entry.revoked, state.revoked.is_some());
            }
        }
        prop_assert_eq!(directory.len(), expected);
    }
}
