//! Arbitrary events in arbitrary envelopes. Shared with the laws of the projections.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::net::IpAddr;

use keyledger_schema::actor::ActorKind;
use keyledger_schema::codec::Outcome;
use keyledger_schema::credits::Base;
use keyledger_schema::event::{
    AuditExported, AuditRead, CommandRefused, CreditsChanged, ErasureReason, Event, ExportFormat, Exported,
    HeadsCommitted, Hex32, IdentityCreated, IdentityDeleted, IdentityUpdated, KeyAddressFirstUsed,
    KeyDeleted, KeyDisabled, KeyEnabled, KeyExpired, KeyIssued, KeyLeakReported, KeyRevoked,
    KeySecretAcknowledged, KeySecretOverlapEnded, KeySecretRotated, KeySelection, KeyTokenRevoked,
    KeyTokensRevoked, KeyUpdated, LogKeyAdded, LogKeyRetired, NodeStarted, NodeStopped,
    OrganizationBootstrapped, OrganizationCreated, OrganizationMoved, OrganizationPolicySet,
    OrganizationRenamed, PreviousStop, Repeated, RevocationFinished, RevocationReason, RevocationStarted,
    RoleCreated, RoleDeleted, RoleUpdated, SigningKeyAdded, SigningKeyRetired, SigningKeyRevoked,
    SubjectErased, TrailPart, UsageMode, WorkspaceCreated, WorkspaceKeysReserved, WorkspaceQuotaSet,
    WorkspaceRenamed,
};
use keyledger_schema::usage::{UsageGapDeclared, UsageGroup, UsageRecord, UsageRecorded};
use keyledger_schema::{
    Action, Actor, ChainHash, Envelope, Environment, EventId, Grant, GrantRole, GrantTarget, IdentityId,
    KeyId, LogId, Means, Metadata, NodeId, OrganizationId, Personal, Policy, Rate, RateLimit, Refill,
    RequestId, RoleDefinition, RoleId, RoleScope, Rule, Scope, SecretHash, SecretRecord, SecretScheme,
    Source, Spent, Stream, Timestamp, TokenId, VerificationCode, WorkspaceId,
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
    identity_id IdentityId;
    key_id KeyId;
    node_id NodeId;
    organization_id OrganizationId;
    request_id RequestId;
    role_id RoleId;
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

fn rate() -> impl Strategy<Value = Rate> {
    (any::<u64>(), any::<u32>()).prop_map(|(limit, window_seconds)| Rate { limit, window_seconds })
}

fn rate_limits() -> impl Strategy<Value = Vec<RateLimit>> {
    let limit = (text(), rate()).prop_map(|(name, rate)| RateLimit {
        name,
        limit: rate.limit,
        window_seconds: rate.window_seconds,
    });
    vec(limit, 0..3)
}

pub fn policy() -> impl Strategy<Value = Policy> {
    let switches = (of(any::<bool>()), of(any::<bool>()), of(any::<bool>()));
    let times = (of(any::<u64>()), of(any::<u64>()), of(any::<u32>()), of(any::<u32>()));
    let environments = prop::sample::subsequence(Environment::ALL.to_vec(), 0..=3);
    (switches, times, of(rate()), of(environments)).prop_map(
        |(switches, times, max_rate_limit, allowed_environments)| Policy {
            api_keys_enabled: switches.0,
            expiry_required: switches.1,
            default_ttl_seconds: times.0,
            max_ttl_seconds: times.1,
            require_allowed_cidrs: switches.2,
            max_rate_limit,
            secret_acknowledgement_minutes: times.2,
            allowed_environments,
            token_lifetime_seconds: times.3,
        },
    )
}

fn definition() -> impl Strategy<Value = RoleDefinition> {
    let scope = (scope(), of(text())).prop_map(|(scope, display_name)| RoleScope { scope, display_name });
    (text(), of(text()), of(text()), vec(scope, 0..4)).prop_map(
        |(name, display_name, description, scopes)| RoleDefinition {
            name,
            display_name,
            description,
            scopes,
        },
    )
}

fn selection() -> impl Strategy<Value = KeySelection> {
    let who = (vec(key_id(), 0..3), of(workspace_id()), of(environment()), of(key_id()), of(role_id()));
    let when = (of(moment()), of(moment()), of(moment()), of(moment()));
    (who, comment(), comment(), when).prop_map(|(who, search, name_contains, when)| KeySelection {
        ids: who.0,
        workspace: who.1,
        environment: who.2,
        search,
        name_contains,
        created_by: who.3,
        role: who.4,
        created_from: when.0,
        created_before: when.1,
        expires_before: when.2,
        unused_since: when.3,
    })
}

/// What can happen to an organization that was created. Few roles, so that something happens to them.
pub fn organization_event() -> impl Strategy<Value = Event> {
    let role = || (0..4_u128).prop_map(|bits| RoleId::from_uuid(Uuid::from_u128(bits)));
    prop_oneof![
        (any::<u32>(), hex32()).prop_map(|(signing_key_generation, signing_public_key)| {
            Event::OrganizationBootstrapped(OrganizationBootstrapped {
                signing_key_generation,
                signing_public_key,
            })
        }),
        text().prop_map(|name| Event::OrganizationRenamed(OrganizationRenamed { name })),
        organization_id().prop_map(|parent| Event::OrganizationMoved(OrganizationMoved { parent })),
        (any::<u32>(), hex32(), moment()).prop_map(|(generation, public_key, signs_from)| {
            Event::SigningKeyAdded(SigningKeyAdded { generation, public_key, signs_from })
        }),
        any::<u32>().prop_map(|generation| Event::SigningKeyRetired(SigningKeyRetired { generation })),
        (any::<u32>(), comment()).prop_map(|(generation, comment)| {
            Event::SigningKeyRevoked(SigningKeyRevoked { generation, comment })
        }),
        policy().prop_map(|policy| Event::OrganizationPolicySet(OrganizationPolicySet { policy })),
        (role(), definition())
            .prop_map(|(role, definition)| Event::RoleCreated(RoleCreated { role, definition })),
        (role(), definition())
            .prop_map(|(role, definition)| Event::RoleUpdated(RoleUpdated { role, definition })),
        role().prop_map(|role| Event::RoleDeleted(RoleDeleted { role })),
        (selection(), comment(), any::<u64>()).prop_map(|(selection, comment, matched)| {
            let reason = RevocationReason::Compromised;
            Event::RevocationStarted(RevocationStarted { selection, reason, comment, matched })
        }),
        (event_id(), any::<u64>(), any::<u64>()).prop_map(|(started, revoked, skipped)| {
            Event::RevocationFinished(RevocationFinished { started, revoked, skipped })
        }),
    ]
}

/// What can happen to a workspace that was created.
pub fn workspace_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        text().prop_map(|name| Event::WorkspaceRenamed(WorkspaceRenamed { name })),
        of(any::<u64>()).prop_map(|max_keys| Event::WorkspaceQuotaSet(WorkspaceQuotaSet { max_keys })),
        vec(key_id(), 0..4).prop_map(|keys| Event::WorkspaceKeysReserved(WorkspaceKeysReserved { keys })),
    ]
}

pub fn issued() -> impl Strategy<Value = KeyIssued> {
    let first = (personal(), personal(), environment(), text(), secret_record(Just(1)), vec(scope(), 0..4));
    let second = (vec(grant(), 0..3), networks(), of(moment()), metadata(), of(key_id()), of(hex32()));
    let scheme = of(prop::sample::select(SecretScheme::ALL.to_vec()));
    let third = (vec(role_id(), 0..3), rate_limits(), scheme, of(identity_id()));
    (first, second, third).prop_map(|((name, email, environment, prefix, secret, scopes), rest, newer)| {
        let (roles, rate_limits, imported, identity) = newer;
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
            request_fingerprint: request_fingerprint.map(Personal),
            roles,
            rate_limits,
            imported,
            identity,
        }
    })
}

/// What can happen to a key that was issued.
pub fn key_event() -> impl Strategy<Value = Event> {
    let version = || 1..6_u32;
    let newer = (of(vec(role_id(), 0..3)), of(vec(grant(), 0..3)), of(rate_limits()), of(of(identity_id())));
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
        (updated, newer).prop_map(
            |((name, scopes, allowed_cidrs, metadata), (roles, grants, rate_limits, identity))| {
                Event::KeyUpdated(KeyUpdated {
                    name,
                    scopes,
                    allowed_cidrs,
                    metadata: metadata.map(Personal),
                    roles,
                    grants,
                    rate_limits,
                    identity,
                })
            }
        ),
        (secret_record(version()), of(moment())).prop_map(|(secret, previous_valid_until)| {
            Event::KeySecretRotated(KeySecretRotated { secret, previous_valid_until })
        }),
        (version(), moment()).prop_map(|(secret_version, ended_at)| {
            Event::KeySecretOverlapEnded(KeySecretOverlapEnded { secret_version, ended_at })
        }),
        (comment(), of(prop::sample::select(Rule::ALL.to_vec())))
            .prop_map(|(comment, rule)| Event::KeyDisabled(KeyDisabled { comment, rule })),
        comment().prop_map(|comment| Event::KeyEnabled(KeyEnabled { comment })),
        (version(), comment()).prop_map(|(secret_version, comment)| {
            Event::KeyLeakReported(KeyLeakReported { secret_version, comment })
        }),
        (of(any::<IpAddr>()), moment(), any::<bool>()).prop_map(|(address, used_at, last)| {
            Event::KeyAddressFirstUsed(KeyAddressFirstUsed { address: address.map(Personal), used_at, last })
        }),
        credits_changed().prop_map(Event::KeyCreditsChanged),
        moment().prop_map(|expired_at| Event::KeyExpired(KeyExpired { expired_at })),
        (reason, comment()).prop_map(|(reason, comment)| Event::KeyRevoked(KeyRevoked { reason, comment })),
        (any::<u128>(), moment()).prop_map(|(token, expires_at)| {
            let token = TokenId::from_uuid(Uuid::from_u128(token));
            Event::KeyTokenRevoked(KeyTokenRevoked { token, expires_at })
        }),
        (moment(), comment())
            .prop_map(|(until, comment)| { Event::KeyTokensRevoked(KeyTokensRevoked { until, comment }) }),
        comment().prop_map(|comment| Event::KeyDeleted(KeyDeleted { comment })),
        erased().prop_map(Event::KeyErased),
    ]
}

fn erased() -> impl Strategy<Value = SubjectErased> {
    prop::sample::select(vec![ErasureReason::Request, ErasureReason::Retention, ErasureReason::Other])
        .prop_map(|reason| SubjectErased { reason })
}

/// What happens to a log, and to its trail.
fn log_event() -> impl Strategy<Value = Event> {
    let part = prop::sample::select(vec![
        TrailPart::Events,
        TrailPart::Verifications,
        TrailPart::KeyAsOf,
        TrailPart::Consequences,
        TrailPart::Feed,
        TrailPart::Report,
    ]);
    prop_oneof![
        (part, of(key_id()), of(identity_id()), personal(), of(any::<u64>())).prop_map(
            |(what, key, identity, filter, shown)| {
                Event::AuditRead(AuditRead { what, key, identity, filter, shown })
            }
        ),
        (any::<u32>(), text(), text()).prop_map(|(generation, origin, verifier_key)| {
            Event::LogKeyAdded(LogKeyAdded { generation, origin, verifier_key })
        }),
        any::<u32>().prop_map(|generation| Event::LogKeyRetired(LogKeyRetired { generation })),
        (any::<u64>(), any::<u64>(), hex32()).prop_map(|(tree_size, streams, root)| {
            Event::HeadsCommitted(HeadsCommitted { tree_size, streams, root })
        }),
    ]
}

fn refill() -> impl Strategy<Value = Refill> {
    (any::<u64>(), any::<u32>(), moment()).prop_map(|(amount, interval_seconds, from)| Refill {
        amount,
        interval_seconds,
        from,
    })
}

fn credits_changed() -> impl Strategy<Value = CreditsChanged> {
    let amounts = (any::<u32>(), any::<u64>(), of(any::<i64>()), of(refill()));
    (amounts, of(any::<i64>()), comment()).prop_map(|(amounts, adjusted_by, reason)| {
        let (n, counted, remaining, refill) = amounts;
        CreditsChanged { n, counted, remaining, refill, adjusted_by, reason }
    })
}

/// The beginning of an identity.
pub fn identity_created() -> impl Strategy<Value = IdentityCreated> {
    (personal(), comment(), rate_limits(), metadata()).prop_map(
        |(external_id, name, rate_limits, metadata)| {
            let metadata = Personal(metadata);
            IdentityCreated { external_id, name, rate_limits, metadata }
        },
    )
}

/// What can happen to an identity that was created.
pub fn identity_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (comment(), of(rate_limits()), of(metadata())).prop_map(|(name, rate_limits, metadata)| {
            let metadata = metadata.map(Personal);
            Event::IdentityUpdated(IdentityUpdated { name, rate_limits, metadata })
        }),
        credits_changed().prop_map(Event::IdentityCreditsChanged),
        comment().prop_map(|comment| Event::IdentityDeleted(IdentityDeleted { comment })),
        erased().prop_map(Event::IdentityErased),
    ]
}

fn spent() -> impl Strategy<Value = Spent> {
    let base = (any::<u32>(), moment(), any::<i64>(), any::<u64>())
        .prop_map(|(n, at, remaining, counted)| Base { n, at, remaining, counted });
    (of(identity_id()), any::<u64>(), of(base)).prop_map(|(identity, credits, refilled)| Spent {
        identity,
        credits,
        refilled,
    })
}

fn usage_record() -> impl Strategy<Value = UsageRecord> {
    let code = prop::sample::select(VerificationCode::ALL.to_vec());
    let action = of(prop::sample::select(Action::ALL.to_vec()));
    let ip = of(any::<IpAddr>().prop_map(Personal));
    let means = of(prop::sample::select(Means::ALL.to_vec()));
    let who = (of(key_id()), of(any::<u32>()), code, means);
    let what = (action, comment(), vec(text(), 0..3), ip);
    let how_often = (any::<u64>(), of(any::<u32>()), any::<u32>(), of(any::<u64>()));
    let charge = (of(any::<u32>()), vec(spent(), 0..3));
    (who, what, how_often, charge).prop_map(|(who, what, how_often, (cost, spent))| UsageRecord {
        key: who.0,
        secret: who.1,
        code: who.2,
        means: who.3,
        action: what.0,
        resource: what.1,
        tags: what.2,
        ip: what.3,
        count: how_often.0,
        first_ms: how_often.1,
        last_ms: how_often.2,
        merged: how_often.3,
        cost,
        spent,
    })
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
    let exported = prop::sample::select(vec![
        Exported::Usage,
        Exported::Verifications,
        Exported::Events,
        Exported::Bundle,
        Exported::KeyActivity,
        Exported::AccessReview,
        Exported::PolicyViolations,
    ]);
    let format = prop::sample::select(vec![
        ExportFormat::Csv,
        ExportFormat::Jsonl,
        ExportFormat::Parquet,
        ExportFormat::Ocsf,
        ExportFormat::Cef,
        ExportFormat::Cloudevents,
        ExportFormat::Tar,
        ExportFormat::Html,
    ]);
    let stop = prop::sample::select(vec![PreviousStop::None, PreviousStop::Clean, PreviousStop::Unclean]);
    prop_oneof![
        1 => (text(), text(), of(organization_id())).prop_map(|(name, slug, parent)| {
            Event::OrganizationCreated(OrganizationCreated { name, slug, parent })
        }),
        4 => organization_event(),
        2 => workspace_event(),
        1 => (organization_id(), text())
            .prop_map(|(organization, name)| Event::WorkspaceCreated(WorkspaceCreated { organization, name })),
        1 => identity_created().prop_map(Event::IdentityCreated),
        2 => identity_event(),
        3 => issued().prop_map(Event::KeyIssued),
        6 => key_event(),
        2 => log_event(),
        1 => (text(), comment(), of(key_id()), text(), of((any::<u64>(), moment(), moment()))).prop_map(
            |(command, target, key, code, repeated)| {
                let repeated = repeated.map(|(count, first_at, last_at)| Repeated { count, first_at, last_at });
                Event::CommandRefused(CommandRefused { command, target, key, code, repeated })
            },
        ),
        1 => (exported, format, personal())
            .prop_map(|(what, format, filter)| Event::AuditExported(AuditExported { what, format, filter })),
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
        identity_id().prop_map(Stream::Identity),
        node_id().prop_map(Stream::Usage),
        node_id().prop_map(Stream::Node),
        organization_id().prop_map(Stream::Audit),
        any::<u128>().prop_map(|bits| Stream::Log(LogId::from_uuid(Uuid::from_u128(bits)))),
    ]
}

pub fn actor() -> impl Strategy<Value = Actor> {
    let kind = prop::sample::select(vec![ActorKind::Key, ActorKind::Node, ActorKind::Operator]);
    (kind, of(text()), comment(), of(prop::sample::select(GrantRole::ALL.to_vec())))
        .prop_map(|(kind, id, email, role)| Actor { kind, id, email, role })
}

pub fn source() -> impl Strategy<Value = Source> {
    let token = of(any::<u128>().prop_map(|bits| TokenId::from_uuid(Uuid::from_u128(bits))));
    (of(any::<IpAddr>().prop_map(Personal)), comment(), token).prop_map(|(ip, user_agent, token)| Source {
        ip,
        user_agent,
        token,
    })
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
