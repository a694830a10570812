//! Laws of the folds.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

#[path = "../../schema/tests/arbitrary/mod.rs"]
mod arbitrary;

use keyledger_projections::key::KeyState;
use keyledger_projections::{
    IdentityState, KeyStatus, KeyUsage, NodeState, OrganizationState, WorkspaceState, changes, permissions,
};
use keyledger_schema::event::{Event, OrganizationCreated};
use keyledger_schema::usage::UsageGapDeclared;
use keyledger_schema::{Envelope, IdentityId, KeyId, Personal, Stream, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

fn key(number: u128) -> KeyId {
    KeyId::from_uuid(Uuid::from_u128(number))
}

/// The life of a key: it is issued, then anything happens to it. Revisions are dense and time goes on.
fn life() -> impl Strategy<Value = Vec<Envelope>> {
    let envelopes = vec((arbitrary::envelope(), arbitrary::key_event()), 1..12);
    (envelopes, arbitrary::issued(), arbitrary::organization_id(), arbitrary::workspace_id()).prop_map(
        |(envelopes, issued, organization, workspace)| {
            let mut events: Vec<Envelope> = envelopes
                .into_iter()
                .zip(0..)
                .map(|((envelope, event), revision)| Envelope {
                    stream: Stream::Key(key(1)),
                    revision,
                    at: Timestamp::from_micros(1_000_000 * i64::try_from(revision).unwrap()),
                    organization: Some(organization),
                    workspace: Some(workspace),
                    event,
                    ..envelope
                })
                .collect();
            events[0].event = Event::KeyIssued(issued);
            events
        },
    )
}

fn fold(state: Option<KeyState>, events: &[Envelope]) -> Option<KeyState> {
    events.iter().fold(state, KeyState::fold)
}

/// The life of an identity: it is created, then anything happens to it.
fn identity_life() -> impl Strategy<Value = Vec<Envelope>> {
    let events = vec((arbitrary::envelope(), arbitrary::identity_event()), 1..12);
    (events, arbitrary::identity_created(), arbitrary::organization_id()).prop_map(
        |(events, created, organization)| {
            let mut life: Vec<Envelope> = events
                .into_iter()
                .zip(0..)
                .map(|((envelope, event), revision)| Envelope {
                    stream: Stream::Identity(IdentityId::from_uuid(Uuid::from_u128(1))),
                    revision,
                    at: Timestamp::from_micros(1_000_000 * i64::try_from(revision).unwrap()),
                    organization: Some(organization),
                    event,
                    ..envelope
                })
                .collect();
            life[0].event = Event::IdentityCreated(created);
            life
        },
    )
}

proptest! {
    #[test]
    fn a_fold_in_two_parts_is_the_fold_of_the_whole(life in life(), at: prop::sample::Index) {
        let (first, second) = life.split_at(at.index(life.len()));
        prop_assert_eq!(fold(fold(None, first), second), fold(None, &life));
    }

    #[test]
    fn the_state_of_a_key_tells_its_last_revision_and_time(life in life()) {
        let state = fold(None, &life).unwrap();
        let last = life.last().unwrap();
        prop_assert_eq!((state.revision, state.updated_at), (last.revision, last.at));
        prop_assert_eq!((state.created_at, state.created_event), (life[0].at, life[0].id));
    }

    #[test]
    fn an_event_that_is_delivered_again_changes_nothing(
        life in life(),
        again in vec(any::<prop::sample::Index>(), 1..8),
    ) {
        let whole = fold(None, &life);
        // All at the end, in any order …
        let late = again.iter().fold(whole.clone(), |state, index| KeyState::fold(state, index.get(&life)));
        prop_assert_eq!(&late, &whole);
        // … or as a feed that starts again somewhere before.
        let from = again[0].index(life.len());
        let up_to = again[again.len() - 1].index(life.len()).max(from);
        let state = fold(None, &life[..=up_to]);
        prop_assert_eq!(fold(state, &life[from..]), whole);
    }

    #[test]
    fn events_of_others_change_nothing(life in life(), others in vec(arbitrary::envelope(), 0..6), next in life()) {
        let state = fold(None, &life);
        let of_others = |mut envelope: Envelope| {
            if envelope.stream == Stream::Key(key(1)) {
                envelope.stream = Stream::Key(key(2));
            }
            envelope
        };
        let others: Vec<_> = others.into_iter().map(of_others).collect();
        prop_assert_eq!(fold(state.clone(), &others), state.clone());
        let next: Vec<_> =
            next.into_iter().map(|envelope| Envelope { stream: Stream::Key(key(2)), revision: envelope.revision + 100, ..envelope }).collect();
        prop_assert_eq!(fold(state.clone(), &next), state);
    }

    #[test]
    fn nothing_is_a_key_before_it_is_issued(events in vec(arbitrary::key_event(), 0..4), envelope in arbitrary::envelope()) {
        let events: Vec<_> = events
            .into_iter()
            .map(|event| Envelope { stream: Stream::Key(key(1)), event, ..envelope.clone() })
            .collect();
        prop_assert_eq!(fold(None, &events), None);
    }

    #[test]
    fn what_is_over_stays_over(life in life(), micros in 0_i64..20_000_000) {
        let rank = |status| match status {
            KeyStatus::Active | KeyStatus::Inactive | KeyStatus::Expired => 0,
            KeyStatus::Revoked => 1,
            KeyStatus::Deleted => 2,
        };
        let now = Timestamp::from_micros(micros);
        let mut state = None;
        let mut before = 0;
        for envelope in &life {
            state = KeyState::fold(state, envelope);
            let after = rank(state.as_ref().unwrap().status(now));
            prop_assert!(after >= before, "a key came back by {}", envelope.event.type_name());
            before = after;
        }
        let state = state.unwrap();
        // Once it has expired it is never active again, as time goes on.
        if state.status(now) == KeyStatus::Expired {
            prop_assert_eq!(state.status(Timestamp::MAX), KeyStatus::Expired);
        }
    }

    #[test]
    fn what_time_did_is_due_no_earlier_than_it_happens(life in life()) {
        let state = fold(None, &life).unwrap();
        if let Some(due) = state.due_at() {
            prop_assert!(state.revoked.is_none() && state.deleted_at.is_none());
            let overlap = state.previous_secret.as_ref().map(|previous| previous.valid_until);
            prop_assert!(Some(due) == overlap || Some(due) == state.expires_at);
        }
    }

    #[test]
    fn changes_are_told_exactly_when_there_are_some(life in life()) {
        let mut state = None;
        for envelope in &life {
            let after = KeyState::fold(state.clone(), envelope).unwrap();
            let told = changes::of_key(state.as_ref(), &after);
            prop_assert!(told.iter().all(|change| change.before != change.after));
            let mut names: Vec<_> = told.iter().map(|change| change.field).collect();
            names.dedup();
            prop_assert_eq!(names.len(), told.len());
            prop_assert!(changes::of_key(Some(&after), &after).is_empty());
            if state.is_none() {
                prop_assert!(told.iter().any(|change| change.field == "name"));
            }
            state = Some(after);
        }
    }

    #[test]
    fn an_identity_in_two_parts_is_that_of_the_whole(life in identity_life(), at: prop::sample::Index) {
        let fold = |state, events: &[Envelope]| events.iter().fold(state, IdentityState::fold);
        let whole = fold(None, &life).unwrap();
        let (first, second) = life.split_at(at.index(life.len()));
        prop_assert_eq!(fold(fold(None, first), second), Some(whole.clone()));
        prop_assert_eq!(fold(Some(whole.clone()), &life), Some(whole.clone()));
        let last = life.last().unwrap();
        prop_assert_eq!((whole.revision, whole.updated_at, whole.created_at), (last.revision, last.at, life[0].at));
    }

    #[test]
    fn an_identity_keeps_what_is_fixed_and_what_is_over(life in identity_life(), others in vec(arbitrary::envelope(), 0..6)) {
        let Event::IdentityCreated(created) = &life[0].event else { unreachable!() };
        let mut state: Option<IdentityState> = None;
        for envelope in &life {
            let after = IdentityState::fold(state.clone(), envelope).unwrap();
            let told = changes::of_identity(state.as_ref(), &after);
            prop_assert!(told.iter().all(|change| change.before != change.after));
            prop_assert!(changes::of_identity(Some(&after), &after).is_empty());
            let external_id = match after.erased_at {
                None => created.external_id.clone(),
                Some(_) => Personal::erased(),
            };
            prop_assert_eq!(&after.external_id, &external_id);
            if let Some(before) = &state {
                prop_assert!(before.deleted_at.is_none() || after.deleted_at.is_some());
            }
            if let Event::IdentityCreditsChanged(data) = &envelope.event {
                let credits = after.credits.unwrap();
                prop_assert_eq!((credits.n, credits.remaining, credits.at), (data.n, data.remaining, envelope.at));
            }
            state = Some(after);
        }
        // Events of other streams change nothing, and nothing is an identity before it is created.
        let elsewhere = |mut envelope: Envelope| {
            envelope.stream = Stream::Identity(IdentityId::from_uuid(Uuid::from_u128(2)));
            envelope.revision += 100;
            envelope
        };
        let others: Vec<_> = others.into_iter().map(elsewhere).collect();
        prop_assert_eq!(others.iter().fold(state.clone(), IdentityState::fold), state);
        let rest = life[1..].iter().filter(|envelope| !matches!(envelope.event, Event::IdentityCreated(_)));
        prop_assert!(rest.fold(None, IdentityState::fold).is_none());
    }

    #[test]
    fn organizations_and_workspaces_take_every_event_once(events in vec(arbitrary::envelope(), 0..8)) {
        let Some(first) = events.first() else { return Ok(()) };
        let organization = first.organization.unwrap_or(keyledger_schema::OrganizationId::from_uuid(Uuid::nil()));
        let workspace = keyledger_schema::WorkspaceId::from_uuid(Uuid::nil());
        for stream in [Stream::Organization(organization), Stream::Workspace(workspace)] {
            let events: Vec<Envelope> = events
                .iter()
                .zip(0..)
                .map(|(envelope, revision)| Envelope { stream, revision, ..envelope.clone() })
                .collect();
            let organizations = events.iter().fold(None, OrganizationState::fold);
            let again = events.iter().fold(organizations.clone(), OrganizationState::fold);
            prop_assert_eq!(again, organizations);
            let workspaces = events.iter().fold(None, WorkspaceState::fold);
            let again = events.iter().fold(workspaces.clone(), WorkspaceState::fold);
            prop_assert_eq!(again, workspaces);
        }
    }

    #[test]
    fn an_organization_in_two_parts_is_that_of_the_whole(
        events in vec((arbitrary::envelope(), arbitrary::organization_event()), 1..20),
        at: prop::sample::Index,
    ) {
        let id = keyledger_schema::OrganizationId::from_uuid(Uuid::from_u128(1));
        let mut life: Vec<Envelope> = events
            .into_iter()
            .zip(0..)
            .map(|((envelope, event), revision)| Envelope { stream: Stream::Organization(id), revision, event, ..envelope })
            .collect();
        life[0].event = Event::OrganizationCreated(OrganizationCreated { name: "a".into(), slug: "a".into(), parent: None });
        let fold = |state, events: &[Envelope]| events.iter().fold(state, OrganizationState::fold);
        let whole = fold(None, &life).unwrap();
        let (first, second) = life.split_at(at.index(life.len()));
        prop_assert_eq!(fold(fold(None, first), second), Some(whole.clone()));
        prop_assert_eq!(fold(Some(whole.clone()), &life), Some(whole.clone()));
        prop_assert_eq!(whole.revision, life.len() as u64 - 1);
        for (id, role) in &whole.roles {
            prop_assert_eq!(*id, role.id);
            prop_assert!(role.updated_at == life[usize::try_from(role.revision).unwrap()].at);
        }
        // What is told of the differences leads from nothing to the end.
        let mut state = None;
        for envelope in &life {
            let after = OrganizationState::fold(state.clone(), envelope).unwrap();
            let told = changes::of_organization(state.as_ref(), &after);
            prop_assert!(told.iter().all(|change| change.before != change.after));
            state = Some(after);
        }
    }

    #[test]
    fn what_a_key_may_do_is_its_own_and_that_of_its_roles(
        life in life(),
        events in vec((arbitrary::envelope(), arbitrary::organization_event()), 1..12),
    ) {
        let id = keyledger_schema::OrganizationId::from_uuid(Uuid::from_u128(1));
        let created = OrganizationCreated { name: "a".into(), slug: "a".into(), parent: None };
        let mut organization = None;
        for (revision, (envelope, event)) in (0..).zip(events) {
            let event = if revision == 0 { Event::OrganizationCreated(created.clone()) } else { event };
            let envelope = Envelope { stream: Stream::Organization(id), revision, event, ..envelope };
            organization = OrganizationState::fold(organization, &envelope);
        }
        let organization = organization.unwrap();
        let mut state = fold(None, &life).unwrap();
        state.roles = organization.roles.keys().copied().collect();
        let found = permissions::effective(&state, &organization.roles, &permissions::scope_names(&organization.roles));
        let mut expected: Vec<_> = state.scopes.clone();
        expected.extend(organization.roles.values().flat_map(|role| role.definition.scopes.iter().map(|it| it.scope.clone())));
        expected.sort();
        expected.dedup();
        prop_assert_eq!(found.iter().map(|it| it.scope.clone()).collect::<Vec<_>>(), expected);
        prop_assert!(found.iter().all(|it| it.own == state.scopes.contains(&it.scope)));
        prop_assert!(found.iter().all(|it| it.own || !it.by_roles.is_empty()));
    }

    #[test]
    fn use_adds_up_in_any_grouping(recorded in vec(arbitrary::usage(), 1..8)) {
        let all: Vec<KeyUsage> =
            recorded.iter().flat_map(|recorded| KeyUsage::in_event(recorded).map(|(_, usage)| usage)).collect();
        let Some(whole) = all.iter().cloned().reduce(KeyUsage::and) else { return Ok(()) };
        for at in 1..all.len() {
            let (first, second) = all.split_at(at);
            let sum = |part: &[KeyUsage]| part.iter().cloned().reduce(KeyUsage::and).unwrap();
            prop_assert_eq!(&sum(first).and(sum(second)), &whole);
        }
        prop_assert_eq!(Some(whole.last_at), all.iter().map(|usage| usage.last_at).max());
    }

    #[test]
    fn a_declared_gap_tells_where_the_sequence_goes_on(
        usage in arbitrary::envelope(),
        recorded in arbitrary::usage(),
        gaps in 1_usize..4,
    ) {
        let seq = recorded.seq;
        let last = Envelope { event: Event::UsageRecorded(recorded), ..usage.clone() };
        let before = NodeState::default().fold(&last);
        let to = usage.at;
        let gap = Event::UsageGapDeclared(UsageGapDeclared { after_seq: before.last_seq, from: to, to });
        // A node that starts reads the last events only, which may all be gaps.
        let state = (0..gaps).fold(NodeState::default(), |state, _| state.fold(&Envelope { event: gap.clone(), ..usage.clone() }));
        prop_assert_eq!((state.last_seq, state.recorded_to), (Some(seq), Some(to)));
    }

    #[test]
    fn a_node_is_stopped_only_by_its_own_last_words(events in vec(arbitrary::envelope(), 0..10)) {
        let state = events.iter().fold(NodeState::default(), NodeState::fold);
        let words = events.iter().rev().find(|envelope| {
            matches!(envelope.event, Event::NodeStarted(_) | Event::NodeStopped(_))
        });
        let stopped = words.is_some_and(|envelope| matches!(envelope.event, Event::NodeStopped(_)));
        prop_assert_eq!(state.stopped, stopped);
    }
}
