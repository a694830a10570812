//! What happens to nodes, what they refuse, and what they hand out.

use serde::{Deserialize, Serialize};

use crate::id::KeyId;
use crate::personal::Personal;

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
}

/// What was handed out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exported {
    /// How often keys were verified.
    Usage,
    /// Verifications one by one.
    Verifications,
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

/// How a node was stopped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreviousStop {
    /// There was no earlier run.
    None,
    /// It said so in the log.
    Clean,
    /// Its last words are missing: killed, crashed, or the power went.
    Unclean,
}

/// How verifications are recorded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageMode {
    /// Durable before the answer.
    Strict,
    /// Durable within a second after the answer.
    Relaxed,
}

/// Data of `node.started`: recording begins (PCI DSS 10.2.1.6).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeStarted {
    /// Of Keyledger.
    pub version: Box<str>,
    /// How verifications are recorded from now on.
    pub usage: UsageMode,
    /// How the run before ended.
    pub previous_stop: PreviousStop,
}

/// Data of `node.stopped`: recording ends.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeStopped {}
