//! Relay's global object identification.

use async_graphql::{ID, Interface};

use super::event::EventNode;
use super::identity::IdentityNode;
use super::key::KeyNode;
use super::role::RoleNode;
use super::tenant::{OrganizationNode, WorkspaceNode};

/// Anything with an id.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Its id."))]
#[allow(clippy::large_enum_variant, reason = "one at a time")]
pub(crate) enum Node {
    /// A key.
    Key(KeyNode),
    /// An identity.
    Identity(IdentityNode),
    /// An event.
    Event(EventNode),
    /// A role.
    Role(RoleNode),
    /// A workspace.
    Workspace(WorkspaceNode),
    /// An organization.
    Organization(OrganizationNode),
}
