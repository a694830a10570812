//! Given events, when a command, then events, warnings or a refusal.

use std::time::Duration;

use keyledger_projections::KeyState;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{
    Event, KeyDeleted, KeyDisabled, KeyEnabled, KeyExpired, KeyRevoked, KeySecretAcknowledged,
    KeySecretOverlapEnded, KeySecretRotated, KeyUpdated, RevocationReason,
};
use keyledger_schema::{
    Actor, Envelope, Environment, EventId, KeyId, Metadata, OrganizationId, Personal, Policy, SecretHash,
    SecretRecord, Source, Stream, Timestamp, WorkspaceId,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::key::{self, Command, Ground, Issue, Update};
use super::{Decision, Warning};
use crate::error::{Code, Result};

/// Decides where no policy demands anything.
fn decide(state: Option<&KeyState>, command: Command, now: Timestamp) -> Result<Decision> {
    key::decide(state, command, Ground { now, policy: &Policy::default(), acknowledgement: &[] })
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000).plus(Duration::from_secs(seconds))
}

fn secret(version: u32) -> SecretRecord {
    SecretRecord {
        version,
        hash: SecretHash([u8::try_from(version).unwrap(); 32]),
        hint: "kl_prod_abcd".into(),
    }
}

fn issue() -> Issue {
    Issue {
        name: "billing".into(),
        email: "billing.1@keys.acme".into(),
        environment: Environment::Production,
        prefix: "kl".into(),
        secret: secret(1),
        scopes: vec!["read:a/**".parse().unwrap()],
        roles: Vec::new(),
        grants: Vec::new(),
        allowed_cidrs: Vec::new(),
        rate_limits: Vec::new(),
        expires_at: Some(at(1_000)),
        metadata: Metadata::default(),
        cloned_from: None,
        request_fingerprint: None,
        imported: None,
        identity: None,
        credits: None,
    }
}

/// Folds events, a second apart.
fn fold(mut state: Option<KeyState>, events: Vec<Event>, now: Timestamp) -> Option<KeyState> {
    for event in events {
        let envelope = Envelope {
            id: EventId::from_uuid(Uuid::nil()),
            stream: Stream::Key(KeyId::from_uuid(Uuid::nil())),
            revision: state.as_ref().map_or(0, |state| state.revision + 1),
            at: now,
            organization: Some(OrganizationId::from_uuid(Uuid::nil())),
            workspace: Some(WorkspaceId::from_uuid(Uuid::nil())),
            actor: Actor::operator(),
            source: Source::default(),
            request: None,
            cause: None,
            outcome: Outcome::Success,
            prev: None,
            event,
        };
        state = KeyState::fold(state, &envelope);
    }
    state
}

/// A key issued at second 0, then these commands, one a second.
fn given(commands: impl IntoIterator<Item = Command>) -> Story {
    let issued = decide(None, Command::Issue(Box::new(issue())), at(0)).unwrap();
    let mut story = Story { state: fold(None, issued.events, at(0)), now: at(1) };
    for command in commands {
        let decision = decide(story.state.as_ref(), command, story.now).unwrap();
        story.state = fold(story.state, decision.events, story.now);
        story.now = story.now.plus(Duration::from_secs(1));
    }
    story
}

struct Story {
    state: Option<KeyState>,
    now: Timestamp,
}

impl Story {
    fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }
    fn when(&self, command: Command) -> Result<Decision> {
        decide(self.state.as_ref(), command, self.now)
    }
}

fn then(result: Result<Decision>) -> Vec<Event> {
    result.unwrap().events
}

fn codes(warnings: &[Warning]) -> Vec<&'static str> {
    warnings.iter().map(|warning| warning.code).collect()
}

fn rotate(overlap: u64) -> Command {
    Command::Rotate { secret: secret(99), overlap: Duration::from_secs(overlap) }
}

fn revoke() -> Command {
    Command::Revoke(RevocationReason::Compromised, None)
}

#[test]
fn a_key_is_issued_once() {
    let issued = then(decide(None, Command::Issue(Box::new(issue())), at(0)));
    assert!(matches!(&issued[..], [Event::KeyIssued(_)]));
    assert_eq!(given([]).when(Command::Issue(Box::new(issue()))).unwrap_err().code, Code::Conflict);
}

#[test]
fn an_expiry_date_in_the_past_is_refused() {
    let error = decide(None, Command::Issue(Box::new(issue())), at(1_000)).unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (Code::InvalidInput, Some("input.expiresAt")));
}

#[test]
fn networks_that_are_everything_draw_a_warning() {
    for network in ["0.0.0.0/0", "::/0"] {
        let command = Issue { allowed_cidrs: vec![network.parse().unwrap()], ..issue() };
        let decision = decide(None, Command::Issue(Box::new(command)), at(0)).unwrap();
        assert_eq!(codes(&decision.warnings), ["OPEN_NETWORK"]);
    }
}

#[test]
fn a_secret_is_acknowledged_once_for_each_rotation() {
    let acknowledged =
        |secret_version| Event::KeySecretAcknowledged(KeySecretAcknowledged { secret_version });
    assert_eq!(then(given([]).when(Command::Acknowledge)), [acknowledged(1)]);
    assert_eq!(then(given([Command::Acknowledge]).when(Command::Acknowledge)), []);
    assert_eq!(then(given([Command::Acknowledge, rotate(0)]).when(Command::Acknowledge)), [acknowledged(2)]);
}

#[test]
fn an_update_records_only_what_changes() {
    let update = Update {
        name: Some("billing".into()),
        scopes: Some(vec!["write:*".parse().unwrap()]),
        ..Update::default()
    };
    let decision = given([]).when(Command::Update(update.clone())).unwrap();
    let changed = KeyUpdated { scopes: update.scopes.clone(), ..KeyUpdated::default() };
    assert_eq!(decision.events, [Event::KeyUpdated(changed)]);
    assert_eq!(codes(&decision.warnings), ["SCOPE_REMOVED"]);
    assert_eq!(then(given([Command::Update(update.clone())]).when(Command::Update(update))), []);
}

#[test]
fn narrowing_addresses_draws_a_warning_and_widening_does_not() {
    let networks = |texts: &[&str]| Update {
        allowed_cidrs: Some(texts.iter().map(|text| text.parse().unwrap()).collect()),
        ..Update::default()
    };
    let warned = |before: &[&str], after: &[&str]| {
        let story = given([Command::Update(networks(before))]);
        codes(&story.when(Command::Update(networks(after))).unwrap().warnings)
    };
    assert_eq!(warned(&[], &["10.0.0.0/8"]), ["ADDRESS_REMOVED"]);
    assert_eq!(warned(&["10.0.0.0/8"], &["10.1.0.0/16"]), ["ADDRESS_REMOVED"]);
    assert!(warned(&["10.1.0.0/16"], &["10.0.0.0/8"]).is_empty());
    assert!(warned(&["10.1.0.0/16"], &[]).is_empty());
}

#[test]
fn a_rotation_replaces_the_secret_at_once_or_overlaps() {
    let rotated = |previous_valid_until| {
        Event::KeySecretRotated(KeySecretRotated {
            secret: SecretRecord { version: 2, ..secret(99) },
            previous_valid_until,
        })
    };
    assert_eq!(then(given([]).when(rotate(0))), [rotated(None)]);
    assert_eq!(then(given([]).when(rotate(60))), [rotated(Some(at(61)))]);
    let after = given([rotate(60)]);
    assert_eq!(after.state.unwrap().previous_secret.unwrap().record.version, 1);
}

#[test]
fn a_rotation_during_an_overlap_ends_the_older_secret() {
    let decision = given([rotate(60)]).when(rotate(60)).unwrap();
    assert_eq!(
        decision.events[0],
        Event::KeySecretOverlapEnded(KeySecretOverlapEnded { secret_version: 1, ended_at: at(2) })
    );
    assert!(matches!(&decision.events[1], Event::KeySecretRotated(data) if data.secret.version == 3));
    assert_eq!(codes(&decision.warnings), ["OVERLAP_CUT_SHORT"]);
}

#[test]
fn the_end_of_an_overlap_is_recorded_when_it_has_passed() {
    let story = given([rotate(60)]);
    assert_eq!(then(story.at(at(60)).when(Command::RecordPassedTime)), []);
    let ended = Event::KeySecretOverlapEnded(KeySecretOverlapEnded { secret_version: 1, ended_at: at(61) });
    assert_eq!(then(given([rotate(60)]).at(at(70)).when(Command::RecordPassedTime)), [ended]);
}

#[test]
fn expiry_is_recorded_once() {
    let expired = Event::KeyExpired(KeyExpired { expired_at: at(1_000) });
    assert_eq!(then(given([]).at(at(999)).when(Command::RecordPassedTime)), []);
    assert_eq!(then(given([]).at(at(1_000)).when(Command::RecordPassedTime)), std::slice::from_ref(&expired));
    let story = given([]);
    let recorded = Story { state: fold(story.state, vec![expired], at(1_001)), now: at(1_002) };
    assert_eq!(then(recorded.when(Command::RecordPassedTime)), []);
}

#[test]
fn a_key_is_switched_off_and_on_and_saying_it_twice_changes_nothing() {
    let off = || Command::Disable(None);
    let on = || Command::Enable(None);
    assert_eq!(then(given([]).when(off())), [Event::KeyDisabled(KeyDisabled::default())]);
    assert_eq!(then(given([off()]).when(off())), []);
    assert_eq!(then(given([off()]).when(on())), [Event::KeyEnabled(KeyEnabled::default())]);
    assert_eq!(then(given([]).when(on())), []);
}

#[test]
fn a_revocation_is_for_good_and_its_first_reason_stands() {
    let revoked = Event::KeyRevoked(KeyRevoked { reason: RevocationReason::Compromised, comment: None });
    assert_eq!(then(given([]).when(revoke())), [revoked]);
    let again = given([revoke()]).when(Command::Revoke(RevocationReason::Unused, None)).unwrap();
    assert_eq!((again.events.len(), codes(&again.warnings)), (0, vec!["ALREADY_REVOKED"]));
    let refused = given([revoke()]).when(Command::Enable(None)).unwrap_err();
    assert_eq!(refused.code, Code::IllegalTransition);
}

#[test]
fn the_reason_other_needs_a_comment() {
    let error = given([]).when(Command::Revoke(RevocationReason::Other, None)).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("input.comment"));
    let comment = Some(Personal("moved".into()));
    assert_eq!(then(given([]).when(Command::Revoke(RevocationReason::Other, comment))).len(), 1);
}

#[test]
fn deleting_is_possible_from_every_state_and_once() {
    let deleted = Event::KeyDeleted(KeyDeleted { comment: None });
    for before in [vec![], vec![Command::Disable(None)], vec![revoke()]] {
        assert_eq!(then(given(before).when(Command::Delete(None))), std::slice::from_ref(&deleted));
    }
    assert_eq!(then(given([]).at(at(2_000)).when(Command::Delete(None))), [deleted]);
    assert_eq!(then(given([Command::Delete(None)]).when(Command::Delete(None))), []);
}

#[test]
fn what_cannot_follow_is_refused() {
    let expired = || given([]).at(at(5_000));
    let revoked = || given([revoke()]);
    let deleted = || given([Command::Delete(None)]);
    for story in [expired(), revoked(), deleted()] {
        for command in [
            Command::Acknowledge,
            Command::Update(Update::default()),
            rotate(0),
            Command::Disable(None),
            Command::Enable(None),
        ] {
            let error = story.when(command).unwrap_err();
            assert_eq!(error.code, Code::IllegalTransition);
        }
    }
    assert!(expired().when(revoke()).is_ok());
    assert_eq!(deleted().when(revoke()).unwrap_err().code, Code::IllegalTransition);
}

#[test]
fn what_does_not_exist_is_not_found() {
    assert_eq!(decide(None, revoke(), at(0)).unwrap_err().code, Code::NotFound);
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(Command::Acknowledge),
        Just(Command::Update(Update { name: Some("n".into()), ..Update::default() })),
        (0u64..20).prop_map(rotate),
        Just(Command::Disable(None)),
        Just(Command::Enable(None)),
        Just(revoke()),
        Just(Command::Delete(None)),
        Just(Command::RecordPassedTime),
    ]
}

proptest! {
    #[test]
    fn repeating_any_command_but_a_rotation_yields_nothing(
        story in prop::collection::vec(any_command(), 0..12),
        last in any_command(),
    ) {
        prop_assume!(!matches!(last, Command::Rotate { .. }));
        let mut state = fold(None, decide(None, Command::Issue(Box::new(issue())), at(0)).unwrap().events, at(0));
        let mut now = at(1);
        for command in story {
            if let Ok(decision) = decide(state.as_ref(), command, now) {
                state = fold(state, decision.events, now);
            }
            now = now.plus(Duration::from_secs(1));
        }
        if let Ok(first) = decide(state.as_ref(), last.clone(), now) {
            state = fold(state, first.events, now);
            prop_assert_eq!(decide(state.as_ref(), last, now).unwrap().events, vec![]);
        }
    }

    #[test]
    fn a_revoked_key_never_becomes_usable(story in prop::collection::vec(any_command(), 0..20)) {
        let mut state = given([revoke()]).state;
        let mut now = at(2);
        for command in story {
            if let Ok(decision) = decide(state.as_ref(), command, now) {
                state = fold(state, decision.events, now);
            }
            now = now.plus(Duration::from_secs(1));
            prop_assert!(state.as_ref().unwrap().revoked.is_some());
        }
    }
}
