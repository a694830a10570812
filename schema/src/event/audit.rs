//! What organizations refuse, hand out and show.

use serde::{Deserialize, Serialize};

use crate::id::{IdentityId, KeyId};
use crate::personal::Personal;
use crate::timestamp::Timestamp;

/// Data of `command.refused`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandRefused {
    /// What was asked for: the name of the GraphQL field.
    pub command: Box<str>,
    /// The id it was asked for, if what was given is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Personal<Box<str>>>,
    /// The key it was asked for, where it is one of the actor's own organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The error's stable code.
    pub code: Box<str>,
    /// That the same was refused again and again shortly after it was told; none where it is told by itself, as the first
    /// one always is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeated: Option<Repeated>,
}

/// How often the same happened again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeated {
    /// How often, without the one that was told before.
    pub count: u64,
    /// When for the first time.
    pub first_at: Timestamp,
    /// When for the last time.
    pub last_at: Timestamp,
}

/// What was handed out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exported {
    /// How often keys were verified.
    Usage,
    /// Verifications one by one.
    Verifications,
    /// Events.
    Events,
    /// An archive that can be verified offline.
    Bundle,
    /// A report of what keys were issued, changed and revoked.
    KeyActivity,
    /// A report of who holds which rights.
    AccessReview,
    /// A report of keys that violate the policy.
    PolicyViolations,
}

/// In which form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// Comma-separated values.
    Csv,
    /// A JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// Open Cybersecurity Schema Framework, a JSON object a line.
    Ocsf,
    /// Common Event Format.
    Cef,
    /// CloudEvents 1.0, a JSON object a line.
    Cloudevents,
    /// A tar archive.
    Tar,
    /// A page for people.
    Html,
}

/// Data of `audit.exported`: an export began.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditExported {
    /// What.
    pub what: Exported,
    /// In which form.
    pub format: ExportFormat,
    /// Which part of it, as the query of a URL: `from=2026-11-01T00:00:00.000000Z&groupBy=key`.
    pub filter: Personal<Box<str>>,
}

/// What somebody looked at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrailPart {
    /// Events: of the organization, or of one key or identity.
    Events,
    /// The verification log.
    Verifications,
    /// A key as it was at a moment.
    KeyAsOf,
    /// What somebody did, and what came of it.
    Consequences,
    /// Events as they come, from some place on.
    Feed,
    /// A report.
    Report,
}

/// Data of `audit.read`: somebody looked at a trail (PCI DSS 10.2.1.3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRead {
    /// What.
    pub what: TrailPart,
    /// The key whose trail it was, where it was one key's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The identity whose trail it was, where it was one identity's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityId>,
    /// Which part of it, as the query of a URL: `from=2026-11-01T00:00:00.000000Z&types=key.revoked`.
    pub filter: Personal<Box<str>>,
    /// How many events or records were shown; none where they are shown as they come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<u64>,
}

/// Why personal data is erased.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureReason {
    /// The person asked for it (GDPR Art. 17).
    Request,
    /// It has been kept for as long as it may be.
    Retention,
    /// Something else.
    Other,
}

/// Data of `key.erased` and `identity.erased`: the data key that its personal data was sealed with is deleted, so
/// nobody can read them any more. The events stand as they were stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectErased {
    /// Why.
    pub reason: ErasureReason,
}
