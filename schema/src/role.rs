//! Roles: named sets of scopes of an organization.

use serde::{Deserialize, Serialize};

use crate::scope::Scope;

/// A scope of a role and how people call it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleScope {
    /// What it allows.
    pub scope: Scope,
    /// Such as "Customer Read".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Box<str>>,
}

/// What a role is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleDefinition {
    /// Unique within the organization, without regard to case.
    pub name: Box<str>,
    /// How people call it; the name when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Box<str>>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Box<str>>,
    /// Sorted by scope, each scope once.
    pub scopes: Vec<RoleScope>,
}
