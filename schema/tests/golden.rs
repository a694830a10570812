//! Every event version that was ever written can be read, and means what it meant.

#![allow(clippy::unwrap_used, reason = "a test may stop")]
#![allow(
    clippy::unnecessary_wraps,
    clippy::too_many_lines,
    reason = "it is one table, in the form of the events"
)]

mod keys;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use keyledger_schema::codec::Outcome;
use keyledger_schema::credits::Base;
use keyledger_schema::event::{
    AuditExported, AuditRead, CommandRefused, CreditsChanged, ErasureReason, ExportFormat, Exported,
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
use keyledger_schema::usage::{Means, UsageGapDeclared, UsageGroup, UsageRecord, UsageRecorded};
use keyledger_schema::{
    Action, Actor, ChainHash, Envelope, Environment, Event, Grant, GrantRole, GrantTarget, Metadata,
    Personal, Policy, Rate, RateLimit, Refill, RoleDefinition, RoleScope, Rule, SecretHash, SecretRecord,
    SecretScheme, Source, Spent, Stream, Timestamp, VerificationCode,
};
use serde_json::json;

use keys::Keys;

fn at(second: u8) -> Timestamp {
    format!("2026-11-21T09:14:{second:02}.252913Z").parse().unwrap()
}

fn id<T: std::str::FromStr>(kind: &str, last: char) -> T {
    let text = format!("{kind}_01jd8xqnfsfe7vb5y3j2m0k7h{last}");
    text.parse().unwrap_or_else(|_| panic!("{text} is an id"))
}

fn secret(version: u32) -> SecretRecord {
    SecretRecord { version, hash: SecretHash([0xa5; 32]), hint: "kl_prod_4fGh".into() }
}

fn comment() -> Option<Personal<Box<str>>> {
    Some(Personal("left the team,\n\"for good\" — ☂".into()))
}

fn metadata() -> Metadata {
    Metadata::from_value(
        json!({ "team": "billing", "cost": [0.1, 1e300, -7, null, true], "ü": { "\u{0}": "\\\"" } }),
    )
    .unwrap()
}

/// In the stream of a key, by another key.
fn of_key(revision: u64, event: Event) -> Envelope {
    Envelope {
        id: id("evt", '0'),
        stream: Stream::Key(id("key", 'a')),
        revision,
        at: at(14),
        organization: Some(id("org", 'a')),
        workspace: Some(id("ws", 'a')),
        actor: Actor::key(
            id("key", 'b'),
            "root.b2m0k7hb@keys.acme",
            Some(GrantRole::OrganizationAdministrator),
        ),
        source: Source {
            ip: Some(Personal("2001:db8::7".parse().unwrap())),
            user_agent: Some(Personal("curl/8.15.0".into())),
            token: None,
        },
        request: Some(id("req", 'a')),
        cause: Some(id("evt", 'c')),
        outcome: Outcome::Success,
        prev: (revision > 0).then_some(ChainHash([0x0f; 32])),
        event,
    }
}

/// By whoever has the machine.
fn by_operator(stream: Stream, event: Event) -> Envelope {
    let actor = Actor::operator();
    Envelope { stream, actor, source: Source::default(), request: None, cause: None, ..of_key(0, event) }
}

/// In a stream of a node, by the node.
fn by_node(stream: Stream, event: Event) -> Envelope {
    let actor = Actor::node(id("node", 'a'));
    Envelope { actor, organization: None, workspace: None, ..by_operator(stream, event) }
}

/// The event of a type and version, as it was when its file was written.
fn expected(name: &str, version: u16) -> Option<Envelope> {
    let organization = Stream::Organization(id("org", 'a'));
    let (node, usage) = (Stream::Node(id("node", 'a')), Stream::Usage(id("node", 'a')));
    Some(match (name, version) {
        ("organization.created", 1) => Envelope {
            workspace: None,
            ..by_operator(
                organization,
                Event::OrganizationCreated(OrganizationCreated {
                    name: "Acme Ltd".into(),
                    slug: "acme-ltd".into(),
                    parent: None,
                }),
            )
        },
        ("organization.created", 2) => of_organization(
            0,
            Event::OrganizationCreated(OrganizationCreated {
                name: "Acme Ltd".into(),
                slug: "acme-ltd".into(),
                parent: Some(id("org", 'b')),
            }),
        ),
        ("organization.renamed", 1) => {
            of_organization(2, Event::OrganizationRenamed(OrganizationRenamed { name: "Acme AG".into() }))
        }
        ("organization.moved", 1) => {
            of_organization(3, Event::OrganizationMoved(OrganizationMoved { parent: id("org", 'c') }))
        }
        ("organization.signing_key_added", 1) => of_organization(
            2,
            Event::SigningKeyAdded(SigningKeyAdded {
                generation: 2,
                public_key: Hex32([0x5a; 32]),
                signs_from: at(7),
            }),
        ),
        ("organization.signing_key_retired", 1) => {
            of_organization(3, Event::SigningKeyRetired(SigningKeyRetired { generation: 1 }))
        }
        ("organization.signing_key_revoked", 1) => of_organization(
            3,
            Event::SigningKeyRevoked(SigningKeyRevoked {
                generation: 2,
                comment: Some(Personal("the backup was stolen".into())),
            }),
        ),
        ("organization.policy_set", version @ 1..=2) => of_organization(
            4,
            Event::OrganizationPolicySet(OrganizationPolicySet {
                policy: Policy {
                    api_keys_enabled: Some(false),
                    expiry_required: Some(true),
                    default_ttl_seconds: Some(2_592_000),
                    max_ttl_seconds: Some(7_776_000),
                    require_allowed_cidrs: Some(true),
                    max_rate_limit: Some(Rate { limit: 1_000, window_seconds: 60 }),
                    secret_acknowledgement_minutes: Some(30),
                    allowed_environments: Some(vec![Environment::Production, Environment::Development]),
                    token_lifetime_seconds: (version > 1).then_some(900),
                },
            }),
        ),
        ("role.created", 1) => of_organization(
            5,
            Event::RoleCreated(RoleCreated { role: id("role", 'a'), definition: definition() }),
        ),
        ("role.updated", 1) => of_organization(
            6,
            Event::RoleUpdated(RoleUpdated { role: id("role", 'a'), definition: definition() }),
        ),
        ("role.deleted", 1) => of_organization(7, Event::RoleDeleted(RoleDeleted { role: id("role", 'a') })),
        ("organization.revocation_started", 1) => of_organization(
            8,
            Event::RevocationStarted(RevocationStarted {
                selection: KeySelection {
                    ids: vec![id("key", 'a')],
                    workspace: Some(id("ws", 'a')),
                    environment: Some(Environment::Staging),
                    search: Some(Personal("kl_prod_4f".into())),
                    name_contains: Some(Personal("Übung".into())),
                    created_by: Some(id("key", 'b')),
                    role: Some(id("role", 'a')),
                    created_from: Some(at(1)),
                    created_before: Some(at(2)),
                    expires_before: Some(at(3)),
                    unused_since: Some(at(4)),
                },
                reason: RevocationReason::Compromised,
                comment: comment(),
                matched: 10_000,
            }),
        ),
        ("organization.revocation_finished", 1) => of_organization(
            9,
            Event::RevocationFinished(RevocationFinished {
                started: id("evt", 'a'),
                revoked: 9_998,
                skipped: 2,
            }),
        ),
        ("workspace.renamed", 1) => Envelope {
            stream: Stream::Workspace(id("ws", 'a')),
            ..of_key(1, Event::WorkspaceRenamed(WorkspaceRenamed { name: "payments".into() }))
        },
        ("workspace.quota_set", 1) => Envelope {
            stream: Stream::Workspace(id("ws", 'a')),
            ..of_key(2, Event::WorkspaceQuotaSet(WorkspaceQuotaSet { max_keys: Some(100) }))
        },
        ("workspace.keys_reserved", 1) => Envelope {
            stream: Stream::Workspace(id("ws", 'a')),
            ..of_key(
                3,
                Event::WorkspaceKeysReserved(WorkspaceKeysReserved {
                    keys: vec![id("key", 'a'), id("key", 'b')],
                }),
            )
        },
        ("organization.bootstrapped", 1) => Envelope {
            workspace: None,
            revision: 1,
            prev: Some(ChainHash([0x0f; 32])),
            ..by_operator(
                organization,
                Event::OrganizationBootstrapped(OrganizationBootstrapped {
                    signing_key_generation: 1,
                    signing_public_key: Hex32([0x3c; 32]),
                }),
            )
        },
        ("workspace.created", 1) => by_operator(
            Stream::Workspace(id("ws", 'a')),
            Event::WorkspaceCreated(WorkspaceCreated {
                organization: id("org", 'a'),
                name: "default".into(),
            }),
        ),
        ("key.issued", 1) => of_key(
            0,
            Event::KeyIssued(KeyIssued {
                roles: vec![id("role", 'a'), id("role", 'b')],
                rate_limits: vec![limit()],
                imported: Some(SecretScheme::Sha256),
                identity: Some(id("idn", 'a')),
                ..issued()
            }),
        ),
        ("key.address_first_used", 1) => of_key(
            4,
            Event::KeyAddressFirstUsed(KeyAddressFirstUsed {
                address: Some(Personal("203.0.113.7".parse().unwrap())),
                used_at: at(3),
                last: true,
            }),
        ),
        ("key.credits_changed", 1) => of_key(5, Event::KeyCreditsChanged(credits())),
        ("identity.credits_changed", 1) => of_identity(2, Event::IdentityCreditsChanged(credits())),
        ("identity.created", 1) => of_identity(
            0,
            Event::IdentityCreated(IdentityCreated {
                external_id: Personal("customer 42".into()),
                name: Some(Personal("Ada Lovelace".into())),
                rate_limits: vec![limit()],
                metadata: Personal(metadata()),
            }),
        ),
        ("identity.updated", 1) => of_identity(
            1,
            Event::IdentityUpdated(IdentityUpdated {
                name: Some(Personal("Ada King".into())),
                rate_limits: Some(vec![limit()]),
                metadata: Some(Personal(metadata())),
            }),
        ),
        ("identity.deleted", 1) => {
            of_identity(3, Event::IdentityDeleted(IdentityDeleted { comment: comment() }))
        }
        ("key.secret_acknowledged", 1) => {
            of_key(1, Event::KeySecretAcknowledged(KeySecretAcknowledged { secret_version: 1 }))
        }
        ("key.updated", 1) => of_key(
            2,
            Event::KeyUpdated(KeyUpdated {
                roles: Some(vec![id("role", 'a')]),
                grants: Some(issued().grants),
                rate_limits: Some(vec![limit()]),
                identity: Some(Some(id("idn", 'a'))),
                ..updated()
            }),
        ),
        ("key.secret_rotated", 1) => of_key(
            3,
            Event::KeySecretRotated(KeySecretRotated {
                secret: secret(2),
                previous_valid_until: Some(at(59)),
            }),
        ),
        ("key.secret_overlap_ended", 1) => Envelope {
            actor: Actor::node(id("node", 'a')),
            source: Source::default(),
            request: None,
            ..of_key(
                4,
                Event::KeySecretOverlapEnded(KeySecretOverlapEnded { secret_version: 1, ended_at: at(59) }),
            )
        },
        ("key.disabled", 1) => of_key(
            5,
            Event::KeyDisabled(KeyDisabled {
                comment: comment(),
                rule: Some(Rule::SecretAcknowledgementRequired),
            }),
        ),
        ("key.enabled", 1) => of_key(6, Event::KeyEnabled(KeyEnabled { comment: comment() })),
        ("key.leak_reported", 1) => {
            of_key(6, Event::KeyLeakReported(KeyLeakReported { secret_version: 2, comment: comment() }))
        }
        ("key.expired", 1) => of_key(7, Event::KeyExpired(KeyExpired { expired_at: at(13) })),
        ("key.revoked", 1) => of_key(
            8,
            Event::KeyRevoked(KeyRevoked { reason: RevocationReason::Compromised, comment: comment() }),
        ),
        ("key.token_revoked", 1) => {
            of_key(8, Event::KeyTokenRevoked(KeyTokenRevoked { token: id("tok", 'a'), expires_at: at(9) }))
        }
        ("key.tokens_revoked", 1) => {
            of_key(8, Event::KeyTokensRevoked(KeyTokensRevoked { until: at(8), comment: None }))
        }
        ("key.deleted", 1) => of_key(9, Event::KeyDeleted(KeyDeleted { comment: comment() })),
        ("command.refused", 1) => Envelope {
            stream: Stream::Audit(id("org", 'a')),
            outcome: Outcome::Refused,
            ..of_key(
                10,
                Event::CommandRefused(CommandRefused {
                    command: "rotateKey".into(),
                    target: Some(Personal("key_01jd8xqnfsfe7vb5y3j2m0k7ha".into())),
                    key: Some(id("key", 'a')),
                    code: "FORBIDDEN".into(),
                    repeated: None,
                }),
            )
        },
        ("command.refused", 2) => Envelope {
            stream: Stream::Audit(id("org", 'a')),
            outcome: Outcome::Refused,
            ..of_key(
                10,
                Event::CommandRefused(CommandRefused {
                    command: "rotateKey".into(),
                    target: Some(Personal("key_01jd8xqnfsfe7vb5y3j2m0k7ha".into())),
                    key: Some(id("key", 'a')),
                    code: "FORBIDDEN".into(),
                    repeated: Some(Repeated { count: 119, first_at: at(14), last_at: at(15) }),
                }),
            )
        },
        ("audit.exported", 1) => Envelope {
            stream: Stream::Audit(id("org", 'a')),
            ..of_key(
                11,
                Event::AuditExported(AuditExported {
                    what: Exported::Verifications,
                    format: ExportFormat::Jsonl,
                    filter: Personal("keyId=key_01jd8xqnfsfe7vb5y3j2m0k7ha&tag=plan%3Apro".into()),
                }),
            )
        },
        ("audit.read", 1) => Envelope {
            stream: Stream::Audit(id("org", 'a')),
            ..of_key(
                12,
                Event::AuditRead(AuditRead {
                    what: TrailPart::Events,
                    key: Some(id("key", 'a')),
                    identity: Some(id("idn", 'a')),
                    filter: Personal("types=key.revoked".into()),
                    shown: Some(17),
                }),
            )
        },
        ("key.erased", 1) => of_key(13, Event::KeyErased(SubjectErased { reason: ErasureReason::Request })),
        ("identity.erased", 1) => {
            of_identity(4, Event::IdentityErased(SubjectErased { reason: ErasureReason::Retention }))
        }
        ("log.key_added", 1) => by_node(
            Stream::Log(id("log", 'a')),
            Event::LogKeyAdded(LogKeyAdded {
                generation: 2,
                origin: "keys.acme.example/log".into(),
                verifier_key: "keys.acme.example/log+2d4c1f0a+AdU7q0u2w0l6n3b5r1Jt8c9pX4yZ6vE2kQmH7sGfLdOa"
                    .into(),
            }),
        ),
        ("log.key_retired", 1) => {
            by_node(Stream::Log(id("log", 'a')), Event::LogKeyRetired(LogKeyRetired { generation: 1 }))
        }
        ("log.heads_committed", 1) => by_node(
            Stream::Log(id("log", 'a')),
            Event::HeadsCommitted(HeadsCommitted {
                tree_size: 18_446_744_073_709_551_615,
                streams: 4_711,
                root: Hex32([0x3c; 32]),
            }),
        ),
        ("usage.recorded", 1) => {
            let mut data = recorded();
            let base = Base { n: 3, at: at(1), remaining: -7, counted: 18_446_744_073_709_551_615 };
            data.groups[0].records[0] = UsageRecord {
                means: Some(Means::Token),
                resource: Some(Personal("customers/42".into())),
                tags: vec!["eu".into(), "plan:pro".into()],
                first_ms: Some(3),
                cost: Some(5),
                spent: vec![
                    Spent { identity: None, credits: 5, refilled: Some(base) },
                    Spent { identity: Some(id("idn", 'a')), credits: 5, refilled: None },
                ],
                ..data.groups[0].records[0].clone()
            };
            Envelope { organization: Some(id("org", 'a')), ..by_node(usage, Event::UsageRecorded(data)) }
        }
        ("usage.gap_declared", 1) => by_node(
            usage,
            Event::UsageGapDeclared(UsageGapDeclared { after_seq: Some(41), from: at(1), to: at(2) }),
        ),
        ("node.started", 1) => by_node(
            node,
            Event::NodeStarted(NodeStarted {
                version: "0.1.0".into(),
                usage: UsageMode::Strict,
                previous_stop: PreviousStop::Unclean,
            }),
        ),
        ("node.stopped", 1) => by_node(node, Event::NodeStopped(NodeStopped {})),
        _ => return None,
    })
}

/// In the stream of an organization, by a key.
fn of_organization(revision: u64, event: Event) -> Envelope {
    Envelope { stream: Stream::Organization(id("org", 'a')), workspace: None, ..of_key(revision, event) }
}

/// In the stream of an identity, by a key.
fn of_identity(revision: u64, event: Event) -> Envelope {
    Envelope { stream: Stream::Identity(id("idn", 'a')), workspace: None, ..of_key(revision, event) }
}

fn credits() -> CreditsChanged {
    CreditsChanged {
        n: 2,
        counted: 958,
        remaining: Some(1_000),
        refill: Some(Refill { amount: 1_000, interval_seconds: 86_400, from: at(0) }),
        adjusted_by: Some(-42),
        reason: comment(),
    }
}

fn definition() -> RoleDefinition {
    let scope = |text: &str, display_name: Option<&str>| RoleScope {
        scope: text.parse().unwrap(),
        display_name: display_name.map(Box::from),
    };
    RoleDefinition {
        name: "support".into(),
        display_name: Some("Support desk".into()),
        description: Some("First line".into()),
        scopes: vec![scope("read:customers/**", Some("Customer Read")), scope("write:tickets", None)],
    }
}

fn limit() -> RateLimit {
    RateLimit { name: "minute".into(), limit: 600, window_seconds: 60 }
}

fn updated() -> KeyUpdated {
    KeyUpdated {
        name: Some(Personal("Billing 2".into())),
        scopes: Some(vec!["*:*".parse().unwrap()]),
        allowed_cidrs: Some(Personal(vec!["::/0".parse().unwrap()])),
        metadata: Some(Personal(metadata())),
        ..KeyUpdated::default()
    }
}

fn issued() -> KeyIssued {
    KeyIssued {
        name: Personal("Billing (EU)".into()),
        email: Personal("billing-eu.b2m0k7ha@keys.acme".into()),
        environment: Environment::Production,
        prefix: "kl".into(),
        secret: secret(1),
        scopes: vec!["read:customers/42/**".parse().unwrap(), "write:invoices/*".parse().unwrap()],
        grants: vec![
            Grant { role: GrantRole::WorkspaceManager, on: GrantTarget::Workspace(id("ws", 'a')) },
            Grant { role: GrantRole::Auditor, on: GrantTarget::Organization(id("org", 'a')) },
        ],
        allowed_cidrs: Personal(vec!["203.0.113.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()]),
        expires_at: Some(at(13)),
        metadata: Personal(metadata()),
        cloned_from: Some(id("key", 'c')),
        request_fingerprint: Some(Personal(Hex32([0x77; 32]))),
        roles: Vec::new(),
        rate_limits: Vec::new(),
        imported: None,
        identity: None,
    }
}

fn recorded() -> UsageRecorded {
    let record = UsageRecord {
        secret: Some(2),
        action: Some(Action::Read),
        ip: Some(Personal("203.0.113.7".parse().unwrap())),
        last_ms: 812,
        ..UsageRecord::bare(Some(id("key", 'a')), VerificationCode::Valid, u64::MAX)
    };
    let unknown = UsageRecord { merged: Some(3), ..UsageRecord::bare(None, VerificationCode::NotFound, 3) };
    UsageRecorded {
        seq: 42,
        from: at(1),
        to: at(2),
        groups: vec![
            UsageGroup { by: Some(id("key", 'b')), records: vec![record] },
            UsageGroup { by: None, records: vec![unknown] },
        ],
    }
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Files by type and version.
fn files() -> BTreeMap<(String, u16), Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "README.md" {
            continue;
        }
        let stem = name.strip_suffix(".json").unwrap_or_else(|| panic!("{name} is no golden event"));
        let (event, version) = stem.rsplit_once(".v").unwrap_or_else(|| panic!("{name} names no version"));
        found.insert((event.to_owned(), version.parse().unwrap()), fs::read(&path).unwrap());
    }
    found
}

fn sealed(envelope: &Envelope) -> Vec<u8> {
    envelope.seal(&Keys::default()).unwrap().bytes
}

fn write_missing() {
    for (name, version) in Event::TYPES {
        let path = directory().join(format!("{name}.v{version}.json"));
        if !path.exists() {
            fs::write(path, sealed(&expected(name, *version).unwrap())).unwrap();
        }
    }
}

#[test]
fn every_stored_version_opens_to_what_it_meant_and_seals_to_the_same_bytes() {
    if std::env::var_os("KEYLEDGER_TEST_WRITE_GOLDEN").is_some() {
        write_missing();
    }
    let files = files();
    for (name, version) in Event::TYPES {
        assert!(
            files.contains_key(&((*name).to_owned(), *version)),
            "{name} version {version} has no file in golden/; see its README"
        );
    }
    for ((name, version), bytes) in files {
        let what = format!("{name} version {version}");
        let expected = expected(&name, version).unwrap_or_else(|| panic!("nobody knows {what}"));
        let opened =
            Envelope::open_with(&bytes, &Keys::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(opened, expected, "{what} means something else now");
        assert_eq!(opened.event.type_name(), name);
        let newest = Event::TYPES.iter().any(|(known, newest)| *known == name && *newest == version);
        if newest {
            let sealed = String::from_utf8(sealed(&opened)).unwrap();
            assert_eq!(sealed, String::from_utf8(bytes.clone()).unwrap(), "{what} is written otherwise now");
        }
        assert!(!bytes.contains(&b'\n'), "{what} is one line");
    }
}

#[test]
fn every_optional_field_is_in_the_files() {
    for ((name, version), bytes) in files() {
        let text = String::from_utf8(bytes).unwrap();
        let fields: &[&str] = match (name.as_str(), version) {
            ("organization.created", 2) => &["parent"],
            ("organization.policy_set", 1) => &[
                "api_keys_enabled",
                "expiry_required",
                "default_ttl_seconds",
                "max_ttl_seconds",
                "require_allowed_cidrs",
                "max_rate_limit",
                "secret_acknowledgement_minutes",
                "allowed_environments",
            ],
            ("organization.policy_set", 2) => &[
                "api_keys_enabled",
                "expiry_required",
                "default_ttl_seconds",
                "max_ttl_seconds",
                "require_allowed_cidrs",
                "max_rate_limit",
                "secret_acknowledgement_minutes",
                "allowed_environments",
                "token_lifetime_seconds",
            ],
            ("organization.signing_key_revoked", 1) => &["comment"],
            ("role.created" | "role.updated", 1) => &["display_name", "description"],
            ("organization.revocation_started", 1) => &[
                "ids",
                "workspace",
                "environment",
                "search",
                "name_contains",
                "created_by",
                "role",
                "created_from",
                "created_before",
                "expires_before",
                "unused_since",
                "comment",
            ],
            ("workspace.quota_set", 1) => &["max_keys"],
            ("key.address_first_used", 1) => &["address", "last"],
            ("key.credits_changed" | "identity.credits_changed", 1) => {
                &["remaining", "refill", "adjusted_by", "reason"]
            }
            ("identity.created" | "identity.updated", 1) => &["name", "rate_limits", "metadata"],
            ("audit.read", 1) => &["key", "identity", "shown"],
            ("key.issued", 1) => &[
                "grants",
                "allowed_cidrs",
                "expires_at",
                "metadata",
                "cloned_from",
                "request_fingerprint",
                "roles",
                "rate_limits",
                "imported",
                "identity",
            ],
            ("key.updated", 1) => &[
                "name",
                "scopes",
                "allowed_cidrs",
                "metadata",
                "roles",
                "grants",
                "rate_limits",
                "identity",
                "prev",
                "cause",
            ],
            ("key.secret_rotated", 1) => &["previous_valid_until"],
            ("key.disabled", 1) => &["comment", "rule"],
            ("key.enabled" | "key.deleted" | "key.revoked" | "key.leak_reported" | "identity.deleted", 1) => {
                &["comment"]
            }
            ("command.refused", 1) => &["target", "key"],
            ("command.refused", 2) => &["target", "key", "repeated"],
            ("usage.recorded", 1) => &[
                "by", "key", "secret", "means", "action", "ip", "merged", "resource", "tags", "first_ms",
                "cost", "spent", "refilled", "identity", "credits",
            ],
            ("usage.gap_declared", 1) => &["after_seq"],
            _ => &[],
        };
        for field in fields {
            assert!(text.contains(&format!("\"{field}\":")), "{field} of {name} version {version}");
        }
    }
}
