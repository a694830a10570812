//! What happens to the log itself.

use serde::{Deserialize, Serialize};

use crate::hex32::Hex32;

/// Data of `log.key_added`: from now on checkpoints are signed with this key too. The first of them is the first
/// event of its stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogKeyAdded {
    /// 1 for the first key of the log.
    pub generation: u32,
    /// The log's name in checkpoints (C2SP tlog-checkpoint), the same for all its keys.
    pub origin: Box<str>,
    /// `<name>+<key id>+<base64>` (C2SP signed-note).
    pub verifier_key: Box<str>,
}

/// Data of `log.key_retired`: no checkpoint after this one is signed with the key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogKeyRetired {
    /// Which one.
    pub generation: u32,
}

/// Data of `log.heads_committed`: where every stream ended when the log had so many events. The root of a Merkle
/// map from stream names to the revision and the hash of their last events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadsCommitted {
    /// The number of events that were looked at: all whose log index is below it.
    pub tree_size: u64,
    /// How many streams there were.
    pub streams: u64,
    /// The root of the map.
    pub root: Hex32,
}
