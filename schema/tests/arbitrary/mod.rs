//! Arbitrary events in arbitrary envelopes. Shared with the laws of the projections.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::net::IpAddr;

use keyledger_schema::actor::ActorKind;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{
    CommandRefused, Event, Hex32, KeyDeleted, KeyExpired, KeyIssued, KeyRevoked, KeySecretAcknowledged,
    KeySecretOverlapEnded, KeySecretRotated, KeySwitched, KeyUpdated, NodeStarted, NodeStopped,
    OrganizationBootstrapped, OrganizationCreated, PreviousStop, RevocationReason, UsageMode,
    WorkspaceCreated,
};
use keyledger_schema::usage::{UsageGapDeclared, UsageGroup, UsageRecord, UsageRecorded};
use keyledger_schema::{
    Action, Actor, ChainHash, Envelope, Environment, EventId, Grant, GrantRole, GrantTarget, KeyId, Metadata,
    NodeId, OrganizationId, Personal, RequestId, Scope, SecretHash, SecretRecord, Source, Stream, Timestamp,
    VerificationCode, WorkspaceId,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

macro_rules! ids {
    ($($name:ident $id:ident;)+) => {$(
        pub fn $name() -> impl Strategy<Value = $id> {
            any::<u128>().prop_map(|bits| $id::from_uuid(Uuid::from_u128(bits)))
        }
    )+};
}

ids! {
    event_id EventId;
    key_id KeyId;
    node_id NodeId;
    organization_id OrganizationId;
    request_id RequestId;
    workspace_id WorkspaceId;
}

pub fn text() -> impl Strategy<Value = Box<str>> {
    any::<String>().prop_map(Box::from)
}

fn personal() -> impl Strategy<Value = Personal<Box<str>>> {
    text().prop_map(Personal)
}

pub fn comment() -> impl Strategy<Value = Option<Personal<Box<str>>>> {
    of(personal())
}

pub fn moment() -> impl Strategy<Value = Timestamp> {
    (0..=Timestamp::MAX.micros()).prop_map(Timestamp::from_micros)
}

fn hex32() -> impl Strategy<Value = Hex32> {
    any::<[u8; 32]>().prop_map(Hex32)
}

pub fn environment() -> impl Strategy<Value = Environment> {
    prop::sample::select(Environment::ALL.to_vec())
}

pub fn secret_record(version: impl Strategy<Value = u32>) -> impl Strategy<Value = SecretRecord> {
    (version, any::<[u8; 32]>(), text()).prop_map(|(version, hash, hint)| SecretRecord {
        version,
        hash: SecretHash(hash),
        hint,
    })
}

pub fn scope() -> impl Strategy<Value = Scope> {
    let resource = prop_oneof![
        Just(String::new()),
        Just("*".to_owned()),
        "[a-z0-9:~!$]{1,8}(/([a-zA-Z0-9%.-]{3,8}|\\*)){0,4}(/\\*\\*)?".prop_map(String::from),
    ];
    (prop::sample::select(vec!["read", "write", "admin", "*"]), resource)
        .prop_map(|(action, resource)| format!("{action}:{resource}").parse().unwrap())
}

pub fn grant() -> impl Strategy<Value = Grant> {
    let on = prop_oneof![
        organization_id().prop_map(GrantTarget::Organization),
        workspace_id().prop_map(GrantTarget::Workspace),
    ];
    (prop::sample::select(GrantRole::ALL.to_vec()), on).prop_map(|(role, on)| Grant { role, on })
}

pub fn network() -> impl Strategy<Value = ipnet::IpNet> {
    (any::<IpAddr>(), any::<u8>()).prop_map(|(address, length)| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        ipnet::IpNet::new(address, length % (most + 1)).unwrap()
    })
}

pub fn metadata() -> impl Strategy<Value = Metadata> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    let fields = prop::collection::hash_map(any::<String>(), value, 0..3);
    fields.prop_filter_map("metadata has a limit", |fields| {
        Metadata::from_value(Value::Object(fields.into_iter().collect())).ok()
    })
}

fn networks() -> impl Strategy<Value = Personal<Vec<ipnet::IpNet>>> {
    vec(network(), 0..4).prop_map(Personal)
}

pub fn issued() -> impl Strategy<Value = KeyIssued> {
    let first = (personal(), personal(), environment(), text(), secret_record(Just(1)), vec(scope(), 0..4));
    let second = (vec(grant(), 0..3), networks(), of(moment()), metadata(), of(key_id()), of(hex32()));
    (first, second).prop_map(|((name, email, environment, prefix, secret, scopes), rest)| {
        let (grants, allowed_cidrs, expires_at, metadata, cloned_from, request_fingerprint) = rest;
        KeyIssued {
            name,
            email,
            environment,
            prefix,
            secret,
            scopes,
            grants,
            allowed_cidrs,
            expires_at,
            metadata: Personal(metadata),
            cloned_from,
            request_fingerprint,
        }
    })
}

/// What can happen to a key that was issued.
pub fn key_event() -> impl Strategy<Value = Event> {
    let version = || 1..6_u32;
    let updated = (of(personal()), of(vec(scope(), 0..3)), of(networks()), of(metadata()));
    let reason = prop::sample::select(vec![
        RevocationReason::Compromised,
        RevocationReason::Superseded,
        RevocationReason::Unused,
        RevocationReason::Policy,
        RevocationReason::Other,
    ]);
    prop_oneof![
        version().prop_map(|secret_version| Event::KeySecretAcknowledged(KeySecretAcknowledged {
            secret_version
        })),
        updated.prop_map(|(name, scopes, allowed_cidrs, metadata)| Event::KeyUpdated(KeyUpdated {
            name,
            scopes,
            allowed_cidrs,
            metadata: metadata.map(Personal)
        })),
        (secret_record(version()), of(moment())).prop_map(|(secret, previous_valid_until)| {
            Event::KeySecretRotated(KeySecretRotated { secret, previous_valid_until })
        }),
        (version(), moment()).prop_map(|(secret_version, ended_at)| {
            Event::KeySecretOverlapEnded(KeySecretOverlapEnded { secret_version, ended_at })
        }),
        comment().prop_map(|comment| Event::KeyDisabled(KeySwitched { comment })),
        comment().prop_map(|comment| Event::KeyEnabled(KeySwitched { comment })),
        moment().prop_map(|expired_at| Event::KeyExpired(KeyExpired { expired_at })),
        (reason, comment()).prop_map(|(reason, comment)| Event::KeyRevoked(KeyRevoked { reason, comment })),
        comment().prop_map(|comment| Event::KeyDeleted(KeyDeleted { comment })),
    ]
}

fn usage_record() -> impl Strategy<Value = UsageRecord> {
    let code = prop::sample::select(VerificationCode::ALL.to_vec());
    let action = of(prop::sample::select(Action::ALL.to_vec()));
    let ip = of(any::<IpAddr>().prop_map(Personal));
    (of(key_id()), of(any::<u32>()), code, action, ip, any::<u64>(), any::<u32>(), of(any::<u64>())).prop_map(
        |(key, secret, code, action, ip, count, last_ms, merged)| UsageRecord {
            key,
            secret,
            code,
            action,
            ip,
            count,
            last_ms,
            merged,
        },
    )
}

pub fn usage() -> impl Strategy<Value = UsageRecorded> {
    let group =
        (of(key_id()), vec(usage_record(), 0..4)).prop_map(|(by, records)| UsageGroup { by, records });
    (any::<u64>(), moment(), moment(), vec(group, 0..3)).prop_map(|(seq, from, to, groups)| UsageRecorded {
        seq,
        from,
        to,
        groups,
    })
}

/// Any event at all.
pub fn event() -> impl Strategy<Value = Event> {
    let mode = prop::sample::select(vec![UsageMode::Strict, UsageMode::Relaxed]);
    let stop = prop::sample::select(vec![PreviousStop::None, PreviousStop::Clean, PreviousStop::Unclean]);
    prop_oneof![
        1 => (text(), text()).prop_map(|(name, slug)| Event::OrganizationCreated(OrganizationCreated { name, slug })),
        1 => (any::<u32>(), hex32()).prop_map(|(signing_key_generation, signing_public_key)| {
            Event::OrganizationBootstrapped(OrganizationBootstrapped { signing_key_generation, signing_public_key })
        }),
        1 => (organization_id(), text())
            .prop_map(|(organization, name)| Event::WorkspaceCreated(WorkspaceCreated { organization, name })),
        3 => issued().prop_map(Event::KeyIssued),
        6 => key_event(),
        1 => (text(), comment(), of(key_id()), text()).prop_map(|(command, target, key, code)| {
            Event::CommandRefused(CommandRefused { command, target, key, code })
        }),
        2 => usage().prop_map(Event::UsageRecorded),
        1 => (of(any::<u64>()), moment(), moment()).prop_map(|(after_seq, from, to)| {
            Event::UsageGapDeclared(UsageGapDeclared { after_seq, from, to })
        }),
        1 => (text(), mode, stop).prop_map(|(version, usage, previous_stop)| {
            Event::NodeStarted(NodeStarted { version, usage, previous_stop })
        }),
        1 => Just(Event::NodeStopped(NodeStopped {})),
    ]
}

pub fn stream() -> impl Strategy<Value = Stream> {
    prop_oneof![
        organization_id().prop_map(Stream::Organization),
        workspace_id().prop_map(Stream::Workspace),
        key_id().prop_map(Stream::Key),
        node_id().prop_map(Stream::Usage),
        node_id().prop_map(Stream::Node),
        organization_id().prop_map(Stream::Audit),
    ]
}

pub fn actor() -> impl Strategy<Value = Actor> {
    let kind = prop::sample::select(vec![ActorKind::Key, ActorKind::Node, ActorKind::Operator]);
    (kind, of(text()), comment(), of(prop::sample::select(GrantRole::ALL.to_vec())))
        .prop_map(|(kind, id, email, role)| Actor { kind, id, email, role })
}

pub fn source() -> impl Strategy<Value = Source> {
    (of(any::<IpAddr>().prop_map(Personal)), comment()).prop_map(|(ip, user_agent)| Source { ip, user_agent })
}

/// Any event in any envelope, whether it makes sense there or not.
pub fn envelope() -> impl Strategy<Value = Envelope> {
    let place = (event_id(), stream(), any::<u64>(), moment(), of(organization_id()), of(workspace_id()));
    let origin = (actor(), source(), of(request_id()), of(event_id()));
    let outcome = prop::sample::select(vec![Outcome::Success, Outcome::Refused]);
    let prev = of(any::<[u8; 32]>().prop_map(ChainHash));
    (place, origin, outcome, prev, event()).prop_map(|(place, origin, outcome, prev, event)| {
        let (id, stream, revision, at, organization, workspace) = place;
        let (actor, source, request, cause) = origin;
        Envelope {
            id,
            stream,
            revision,
            at,
            organization,
            workspace,
            actor,
            source,
            request,
            cause,
            outcome,
            prev,
            event,
        }
    })
}
