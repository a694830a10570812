use std::collections::BTreeMap;

use keyledger_schema::codec::Outcome;
use keyledger_schema::event::OrganizationBootstrapped;
use keyledger_schema::{Actor, Envelope, EventId, OrganizationId, Policy, Source, Stream};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const DAY: Duration = Duration::from_hours(24);

fn public_key_of(generation: u32) -> Hex32 {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&generation.to_be_bytes());
    Hex32(key)
}

fn founded() -> OrganizationState {
    OrganizationState {
        id: OrganizationId::from_uuid(Uuid::from_u128(1)),
        name: "a".into(),
        slug: "a".into(),
        parent: None,
        created_at: NOW,
        signing_keys: Vec::new(),
        policy: Policy::default(),
        acknowledgement: Vec::new(),
        joined_at: NOW,
        roles: BTreeMap::new(),
        open_revocations: Vec::new(),
        revision: 0,
    }
}

fn after(state: OrganizationState, at: Timestamp, events: Vec<Event>) -> OrganizationState {
    events.into_iter().fold(state, |state, event| {
        let envelope = Envelope {
            id: EventId::from_uuid(Uuid::from_u128(u128::from(state.revision))),
            stream: Stream::Organization(state.id),
            revision: state.revision + 1,
            at,
            organization: Some(state.id),
            workspace: None,
            actor: Actor::operator(),
            source: Source::default(),
            request: None,
            cause: None,
            outcome: Outcome::Success,
            prev: None,
            event,
        };
        let state = OrganizationState::fold(Some(state), &envelope).unwrap();
        assert_eq!(signing(&state, at).len(), 1, "between two events of one decision");
        state
    })
}

fn bootstrapped() -> OrganizationState {
    let event = Event::OrganizationBootstrapped(OrganizationBootstrapped {
        signing_key_generation: 1,
        signing_public_key: public_key_of(1),
    });
    after(founded(), NOW, vec![event])
}

fn signing(state: &OrganizationState, now: Timestamp) -> Vec<u32> {
    let of = |key: &&SigningKey| standing(state, key, now) == Standing::Signing;
    state.signing_keys.iter().filter(of).map(|key| key.generation).collect()
}

fn standings(state: &OrganizationState, now: Timestamp) -> Vec<Standing> {
    state.signing_keys.iter().map(|key| standing(state, key, now)).collect()
}

fn rotated(state: OrganizationState, now: Timestamp) -> OrganizationState {
    let events = rotate(&state, now, &public_key_of).unwrap().events;
    after(state, now, events)
}

fn revoked(state: OrganizationState, generation: u32, now: Timestamp) -> OrganizationState {
    let events = revoke(&state, generation, None, now, &public_key_of).unwrap().events;
    after(state, now, events)
}

#[test]
fn a_new_key_signs_after_notice_and_the_one_before_is_kept_while_its_tokens_can_be_good() {
    use Standing::{Next, Retired, Signing, Verifying};
    let state = rotated(bootstrapped(), NOW);
    assert_eq!(state.signing_keys[1].public_key, public_key_of(2));
    let takes_over = NOW.plus(NOTICE);
    assert_eq!(standings(&state, NOW), [Signing, Next]);
    assert_eq!(standings(&state, takes_over.minus(Duration::from_micros(1))), [Signing, Next]);
    assert_eq!(standings(&state, takes_over), [Verifying, Signing]);
    // A token that was signed in the last moment lives for a day.
    let done = takes_over.plus(DAY).plus(Duration::from_mins(5));
    assert_eq!(retire(&state, done.minus(Duration::from_micros(1))), Decision::nothing());
    assert!(!any_is_done(&state, takes_over.plus(DAY)) && any_is_done(&state, done));
    let events = retire(&state, done).events;
    assert_eq!(events, [Event::SigningKeyRetired(SigningKeyRetired { generation: 1 })]);
    let state = after(state, done, events);
    assert_eq!(standings(&state, done), [Retired, Signing]);
    assert_eq!(retire(&state, done.plus(400 * DAY)), Decision::nothing());
}

#[test]
fn so_many_keys_count_at_once_and_no_more() {
    let mut state = bootstrapped();
    for _ in 1..MAX_COUNTING {
        state = rotated(state, NOW);
    }
    let refused = rotate(&state, NOW, &public_key_of).unwrap_err();
    assert_eq!(refused.code, Code::IllegalTransition);
    assert!(refused.message.contains("revoke one"), "{refused}");
    // A revoked one makes room, and so does one that retires.
    let room = revoked(state.clone(), 4, NOW);
    assert!(rotate(&room, NOW, &public_key_of).is_ok());
    let later = NOW.plus(NOTICE).plus(kept_for());
    let events = retire(&state, later).events;
    assert_eq!(events.len(), 3);
    assert!(rotate(&after(state, later, events), later, &public_key_of).is_ok());
    let refused = rotate(&founded(), NOW, &public_key_of).unwrap_err();
    assert_eq!(refused.code, Code::NotBootstrapped);
}

#[test]
fn revoking_the_key_that_signs_brings_one_that_signs_at_once() {
    use Standing::{Next, Retired, Revoked, Signing};
    let state = revoked(bootstrapped(), 1, NOW);
    assert_eq!(standings(&state, NOW), [Revoked, Signing]);
    assert_eq!(revoke(&state, 1, None, NOW, &public_key_of), Ok(Decision::nothing()));
    // One that only waits is not needed.
    let state = rotated(state, NOW);
    assert_eq!(standings(&state, NOW), [Revoked, Signing, Next]);
    let waiting = revoke(&state, 3, None, NOW, &public_key_of).unwrap().events;
    assert_eq!(waiting, [Event::SigningKeyRevoked(SigningKeyRevoked { generation: 3, comment: None })]);
    // The newest signs, and what was waiting takes nobody's place: it never signed.
    let state = revoked(state, 2, NOW);
    assert_eq!(standings(&state, NOW), [Revoked, Revoked, Retired, Signing]);
    assert_eq!(standings(&state, NOW.plus(NOTICE)), [Revoked, Revoked, Retired, Signing]);
    let unknown = revoke(&state, 9, None, NOW, &public_key_of).unwrap_err();
    assert_eq!((unknown.code, unknown.field.as_deref()), (Code::NotFound, Some("input.generation")));
}

#[test]
fn a_retired_key_has_no_tokens_that_could_be_revoked() {
    let state = rotated(bootstrapped(), NOW);
    let later = NOW.plus(NOTICE).plus(kept_for());
    let events = retire(&state, later).events;
    let state = after(state, later, events);
    assert_eq!(revoke(&state, 1, None, later, &public_key_of), Ok(Decision::nothing()));
}

#[derive(Clone, Debug)]
enum Step {
    Rotate,
    Revoke(u32),
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Rotate),
        2 => (1_u32..12).prop_map(Step::Revoke),
        5 => prop_oneof![0_u32..1_200, 0_u32..200_000].prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever is decided in whatever order: one key signs, no more than four count, generations are never used
    /// twice, and a token that was signed stays good for as long as it can live unless its key was revoked.
    #[test]
    fn there_is_always_one_key_that_signs(steps in prop::collection::vec(step(), 0..60)) {
        let mut state = bootstrapped();
        let mut now = NOW;
        let mut signed: Vec<(u32, Timestamp)> = Vec::new();
        let mut revoked = Vec::new();
        for step in steps {
            let decision = match step {
                Step::Rotate => rotate(&state, now, &public_key_of).unwrap_or_default(),
                Step::Revoke(generation) => {
                    let decided = revoke(&state, generation, None, now, &public_key_of);
                    if decided.as_ref().is_ok_and(|decision| !decision.events.is_empty()) {
                        revoked.push(generation);
                    }
                    decided.unwrap_or_default()
                }
                Step::Wait(seconds) => {
                    now = now.plus(Duration::from_secs(seconds.into()));
                    retire(&state, now)
                }
            };
            state = after(state, now, decision.events);
            let signs = signing(&state, now);
            prop_assert_eq!(signs.len(), 1);
            prop_assert!(state.signing_keys.iter().filter(|key| key.counts()).count() <= MAX_COUNTING);
            prop_assert!(state.signing_keys.windows(2).all(|pair| pair[0].generation < pair[1].generation));
            signed.push((signs[0], now));
            for (generation, at) in &signed {
                let key = state.signing_keys.iter().find(|key| key.generation == *generation);
                if now <= at.plus(DAY) && !revoked.contains(generation) {
                    prop_assert!(key.is_some_and(SigningKey::counts), "{} of {} at {}", generation, at, now);
                }
            }
            for generation in &revoked {
                let key = state.signing_keys.iter().find(|key| key.generation == *generation);
                prop_assert!(key.is_none_or(|key| !key.counts()));
            }
        }
    }
}
