//! Given events, when a command, then events or a refusal.

use std::time::Duration;

use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{KeyIssued, KeyRevoked, RevocationReason};
use keyledger_schema::{
    Actor, Envelope, Environment, EventId, KeyId, Metadata, OrganizationId, Personal, SecretHash,
    SecretRecord, Source, Stream, WorkspaceId,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000).plus(Duration::from_millis(millis))
}

fn id() -> KeyId {
    KeyId::from_uuid(Uuid::from_u128(7))
}

/// Token `n`, whose id says that it was made at this moment.
fn token(n: u64, made: Timestamp) -> TokenId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    let millis = u64::try_from(made.millis()).unwrap();
    TokenId::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}

fn fold(state: Option<KeyState>, event: Event, now: Timestamp, actor: Actor) -> KeyState {
    let envelope = Envelope {
        id: EventId::from_uuid(Uuid::nil()),
        stream: Stream::Key(id()),
        revision: state.as_ref().map_or(0, |state| state.revision + 1),
        at: now,
        organization: Some(OrganizationId::from_uuid(Uuid::nil())),
        workspace: Some(WorkspaceId::from_uuid(Uuid::nil())),
        actor,
        source: Source::default(),
        request: None,
        cause: None,
        outcome: Outcome::Success,
        prev: None,
        event,
    };
    KeyState::fold(state, &envelope).unwrap()
}

fn key() -> KeyState {
    let secret = SecretRecord { version: 1, hash: SecretHash([1; 32]), hint: "kl_prod_abcd".into() };
    let issued = KeyIssued {
        name: Personal("a".into()),
        email: Personal("a@b".into()),
        environment: Environment::Production,
        prefix: "kl".into(),
        secret,
        scopes: Vec::new(),
        grants: Vec::new(),
        allowed_cidrs: Personal(Vec::new()),
        expires_at: None,
        metadata: Personal(Metadata::default()),
        cloned_from: None,
        request_fingerprint: None,
        roles: Vec::new(),
        rate_limits: Vec::new(),
        imported: None,
        identity: None,
    };
    fold(None, Event::KeyIssued(issued), at(0), Actor::operator())
}

/// Revokes a token that would have lived for ten minutes, and folds what came of it: how many events.
fn revoke_now(state: &mut KeyState, token: TokenId, now: Timestamp, by_holder: bool) -> Result<usize> {
    let expires_at = now.plus(Duration::from_mins(10));
    let decision = revoke(state, RevokeToken { token, epoch: 0, expires_at, by_holder }, now)?;
    let actor = if by_holder { Actor::key(id(), "a@b", None) } else { Actor::operator() };
    let count = decision.events.len();
    for event in decision.events {
        *state = fold(Some(state.clone()), event, now, actor.clone());
    }
    Ok(count)
}

#[test]
fn a_key_revokes_so_many_of_its_tokens_a_minute() {
    let mut state = key();
    let bound = u64::from(MAX_OWN_REVOCATIONS);
    let tokens: Vec<_> = (0..=bound).map(|n| token(n, at(0))).collect();
    for (n, token) in (0..).zip(&tokens[..tokens.len() - 1]) {
        assert_eq!(revoke_now(&mut state, *token, at(n * 100), true), Ok(1));
    }
    let last = *tokens.last().unwrap();
    let refused = revoke_now(&mut state, last, at(59_999), true).unwrap_err();
    assert_eq!((refused.code, refused.retry_after_seconds()), (Code::TooManyRequests, Some(1)));
    assert!(refused.message.contains("at most 100") && refused.message.contains("revokeTokens"));
    let early = revoke_now(&mut state, last, at(29_500), true).unwrap_err();
    assert_eq!(early.retry_after_seconds(), Some(31));
    // What is revoked already costs nothing, and somebody who may manage the key is not held up.
    assert_eq!(revoke_now(&mut state, tokens[3], at(59_999), true), Ok(0));
    assert_eq!(revoke_now(&mut state.clone(), last, at(59_999), false), Ok(1));
    assert_eq!(revoke_now(&mut state, last, at(60_000), true), Ok(1), "another minute");
    assert_eq!(state.revoked_tokens.own.map(|own| (own.since, own.count)), Some((at(60_000), 1)));
}

#[test]
fn what_others_revoke_is_not_counted() {
    let mut state = key();
    for n in 0..500 {
        assert_eq!(revoke_now(&mut state, token(n, at(0)), at(n), false), Ok(1));
    }
    assert_eq!(state.revoked_tokens.own, None);
    assert_eq!(revoke_now(&mut state, token(900, at(0)), at(900), true), Ok(1));
}

#[test]
fn a_clock_that_is_set_back_begins_another_minute() {
    let mut state = key();
    for n in 0..u64::from(MAX_OWN_REVOCATIONS) {
        revoke_now(&mut state, token(n, at(0)), at(3_600_000), true).unwrap();
    }
    assert!(revoke_now(&mut state.clone(), token(900, at(0)), at(3_600_001), true).is_err());
    assert_eq!(revoke_now(&mut state, token(900, at(0)), at(5), true), Ok(1));
}

#[test]
fn beyond_so_many_all_so_far_are_revoked() {
    let mut state = key();
    let bound = MAX_REVOKED_TOKENS as u64;
    for n in 0..bound {
        assert_eq!(revoke_now(&mut state, token(n, at(0)), at(n), false), Ok(1));
    }
    assert_eq!((state.revoked_tokens.single.len(), state.revoked_tokens.until), (MAX_REVOKED_TOKENS, None));
    assert_eq!(revoke_now(&mut state, token(bound, at(0)), at(bound), false), Ok(1));
    assert!(state.revoked_tokens.single.is_empty() && state.revoked_tokens.until.is_some());
    // Those so far are over; one that was made since is not.
    assert_eq!(revoke_now(&mut state, token(9_999, at(0)), at(bound), false), Ok(0));
    assert!(!state.revoked_tokens.contains(token(9_999, at(0)), state.revoked_tokens.epoch));
}

#[test]
fn what_is_over_already_is_not_revoked() {
    let mut state = key();
    let over = RevokeToken { token: token(1, at(0)), epoch: 0, expires_at: at(5), by_holder: true };
    assert_eq!(revoke(&state, over, at(5)), Ok(Decision::nothing()));
    let reason = RevocationReason::Unused;
    let gone = Event::KeyRevoked(KeyRevoked { reason, comment: None });
    state = fold(Some(state), gone, at(6), Actor::operator());
    assert_eq!(revoke_now(&mut state, token(2, at(0)), at(7), true), Ok(0));
    assert_eq!(revoke_all(&state, None, at(7)), Decision::nothing());
}

proptest! {
    /// Whatever clocks say, and however far whoever made a token was behind the log: it is good as long as nothing that
    /// its maker had not seen revoked all tokens.
    #[test]
    fn a_revocation_of_all_means_exactly_those_that_did_not_know_of_it(
        steps in prop::collection::vec((any::<bool>(), 0_u64..1_000_000, 0_usize..3), 1..60)
    ) {
        let mut log = vec![key()];
        let mut made = Vec::new();
        for (n, (revokes, clock, behind)) in (0..).zip(steps) {
            let state = log.last().unwrap();
            if revokes {
                let decision = revoke_all(state, None, at(clock));
                prop_assert_eq!(decision.events.len(), 1);
                let event = decision.events.into_iter().next().unwrap();
                log.push(fold(Some(state.clone()), event, at(clock), Actor::operator()));
            } else {
                let seen = (log.len() - 1).saturating_sub(behind);
                made.push((token(n, at(clock)), log[seen].revoked_tokens.epoch, seen));
            }
        }
        let newest = log.len() - 1;
        for (token, epoch, seen) in made {
            prop_assert_eq!(log[newest].revoked_tokens.contains(token, epoch), seen < newest);
        }
    }

    /// Whatever the clock does, a key writes no more than so many events within any minute of it, and revoking again
    /// writes none.
    #[test]
    fn no_minute_has_more(steps in prop::collection::vec((0_u64..3_000, any::<bool>()), 1..400)) {
        let (mut state, mut now, mut window) = (key(), 0, (None, 0));
        for (n, (step, again)) in (0..).zip(steps) {
            now += step;
            let token = token(if again { n / 2 } else { n }, at(0));
            let known = state.revoked_tokens.contains(token, 0);
            let written = revoke_now(&mut state, token, at(now), true).unwrap_or(0);
            prop_assert!(!known || written == 0);
            if written == 1 {
                let (since, count) = &mut window;
                match since {
                    Some(since) if now - *since < 60_000 => *count += 1,
                    _ => (*since, *count) = (Some(now), 1),
                }
                prop_assert!(*count <= MAX_OWN_REVOCATIONS);
            }
        }
    }
}
