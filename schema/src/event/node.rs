//! What happens to nodes.

use serde::{Deserialize, Serialize};

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
