//! What happens to workspaces.

use serde::{Deserialize, Serialize};

use crate::id::{KeyId, OrganizationId};

/// Data of `workspace.created`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceCreated {
    /// Where it belongs.
    pub organization: OrganizationId,
    /// Shown to people.
    pub name: Box<str>,
}

/// Data of `workspace.renamed`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceRenamed {
    /// The new name.
    pub name: Box<str>,
}

/// Data of `workspace.quota_set`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceQuotaSet {
    /// How many keys it may have that are neither revoked nor deleted nor expired; any number when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_keys: Option<u64>,
}

/// Data of `workspace.keys_reserved`: places of the quota are kept for keys that are about to be issued.
/// A place is taken by its key's `key.issued`, or free again a minute after this event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceKeysReserved {
    /// The keys.
    pub keys: Vec<KeyId>,
}
