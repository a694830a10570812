//! What happens to organizations and to their roles.

use serde::{Deserialize, Serialize};

use super::RevocationReason;
use crate::environment::Environment;
use crate::hex32::Hex32;
use crate::id::{EventId, KeyId, OrganizationId, RoleId, WorkspaceId};
use crate::personal::Personal;
use crate::policy::Policy;
use crate::role::RoleDefinition;
use crate::timestamp::Timestamp;

/// Data of `organization.created`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationCreated {
    /// Shown to people.
    pub name: Box<str>,
    /// Part of its keys' addresses: lower-case letters, digits and inner hyphens.
    pub slug: Box<str>,
    /// The organization above it; none for a tenant of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<OrganizationId>,
}

/// Data of `organization.bootstrapped`: from now on it can issue keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationBootstrapped {
    /// 1 for the first signing key of the organization.
    pub signing_key_generation: u32,
    /// Its Ed25519 public key (RFC 8032), 32 bytes as hexadecimal. The private key is derived from the
    /// master key when it is needed and stored nowhere.
    pub signing_public_key: Hex32,
}

/// Data of `organization.signing_key_added`: another key that its tokens are signed with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKeyAdded {
    /// One more than the newest before.
    pub generation: u32,
    /// As in `organization.bootstrapped`.
    pub public_key: Hex32,
    /// It signs from this moment on, when everybody who keeps a copy of the public keys has fetched it; the key
    /// before it signs until then.
    pub signs_from: Timestamp,
}

/// Data of `organization.signing_key_retired`: a later key signs for so long that no token of this one is left.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKeyRetired {
    /// Which one.
    pub generation: u32,
}

/// Data of `organization.signing_key_revoked`: no token that is signed with it is good any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKeyRevoked {
    /// Which one.
    pub generation: u32,
    /// Why, in the actor's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Personal<Box<str>>>,
}

/// Data of `organization.renamed`. Its keys keep their addresses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationRenamed {
    /// The new name.
    pub name: Box<str>,
}

/// Data of `organization.moved`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationMoved {
    /// The organization that is above it from now on.
    pub parent: OrganizationId,
}

/// Data of `organization.policy_set`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationPolicySet {
    /// Its own rules from now on, all of them.
    pub policy: Policy,
}

/// Data of `role.created`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleCreated {
    /// The new role.
    pub role: RoleId,
    /// What it is.
    pub definition: RoleDefinition,
}

/// Data of `role.updated`. All keys that hold it follow at once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleUpdated {
    /// Which one.
    pub role: RoleId,
    /// What it is from now on, whole.
    pub definition: RoleDefinition,
}

/// Data of `role.deleted`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleDeleted {
    /// Which one.
    pub role: RoleId,
}

/// Which keys a bulk revocation is about. All conditions must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySelection {
    /// These keys only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<KeyId>,
    /// In this workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceId>,
    /// For this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// With this in the name, the address, the id or the start of the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Personal<Box<str>>>,
    /// With this in the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_contains: Option<Personal<Box<str>>>,
    /// Issued by this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<KeyId>,
    /// Holding this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleId>,
    /// Issued at this moment or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_from: Option<Timestamp>,
    /// Issued before this moment. Always set in an event: keys issued later are not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_before: Option<Timestamp>,
    /// With an expiry date before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_before: Option<Timestamp>,
    /// Not used since this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_since: Option<Timestamp>,
}

/// Data of `organization.revocation_started`: many keys are revoked one by one, each by an event of its
/// own that names this one as its cause.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationStarted {
    /// Which keys.
    pub selection: KeySelection,
    /// Why.
    pub reason: RevocationReason,
    /// Why, in the actor's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Personal<Box<str>>>,
    /// How many keys matched.
    pub matched: u64,
}

/// Data of `organization.revocation_finished`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationFinished {
    /// The event that started it.
    pub started: EventId,
    /// Keys that are revoked now because of it.
    pub revoked: u64,
    /// Keys that matched and were left as they are: out of the actor's reach, or the last administrator.
    pub skipped: u64,
}
