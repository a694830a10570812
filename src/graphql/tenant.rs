//! Organizations, workspaces and the viewer.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};
use keyledger_projections::{OrganizationState, WorkspaceState};
use keyledger_schema::{Grant, GrantTarget};

use super::answer::{parties, recorded};
use super::connection::{self, Slice, WorkspaceConnection};
use super::key::KeyNode;
use super::scalar::{DateTime, GrantRole};
use super::{QUERY_COST, query};

/// The tenant.
#[derive(Clone)]
pub(crate) struct OrganizationNode(pub(super) Arc<OrganizationState>);

/// The tenant: holds workspaces and a signing key.
#[Object(name = "Organization")]
impl OrganizationNode {
    /// Its id.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// Its name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The part of its keys' addresses that names it.
    async fn slug(&self) -> &str {
        &self.0.slug
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// Whether it can issue keys.
    async fn bootstrapped(&self) -> bool {
        self.0.signing_key.is_some()
    }

    /// Its Ed25519 public key in hexadecimal; null before the bootstrap.
    async fn signing_public_key(&self) -> Option<String> {
        let key = self.0.signing_key.as_ref()?;
        Some(blake3::Hash::from_bytes(key.public_key.0).to_hex().to_string())
    }

    /// Its workspaces that the caller may see.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    async fn workspaces(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<WorkspaceConnection> {
        recorded(context, None, query::workspaces(context, Slice { first, after, last, before })).await
    }
}

/// A workspace.
#[derive(Clone)]
pub(crate) struct WorkspaceNode(Arc<WorkspaceState>);

impl WorkspaceNode {
    pub(super) fn new(state: Arc<WorkspaceState>) -> Self {
        Self(state)
    }
}

/// A part of an organization; keys live in it.
#[Object(name = "Workspace")]
impl WorkspaceNode {
    /// Its id.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// Its name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// Where it belongs.
    async fn organization(&self, context: &Context<'_>) -> async_graphql::Result<Option<OrganizationNode>> {
        let (service, _) = parties(context)?;
        Ok(service.tenants().organization(self.0.organization).map(OrganizationNode))
    }
}

/// A role on an organization or a workspace.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "Grant")]
pub(crate) struct GrantNode {
    /// Which rights.
    role: GrantRole,
    /// On the whole organization.
    organization_id: Option<ID>,
    /// On one workspace.
    workspace_id: Option<ID>,
}

impl From<&Grant> for GrantNode {
    fn from(grant: &Grant) -> Self {
        let (organization_id, workspace_id) = match grant.on {
            GrantTarget::Organization(id) => (Some(id.to_string().into()), None),
            GrantTarget::Workspace(id) => (None, Some(id.to_string().into())),
        };
        Self { role: grant.role.into(), organization_id, workspace_id }
    }
}

/// Who asks.
pub(crate) struct Viewer;

/// The caller: the key that this request was made with.
#[Object]
impl Viewer {
    /// The id of the caller's key.
    async fn key_id(&self, context: &Context<'_>) -> async_graphql::Result<ID> {
        Ok(parties(context)?.1.key.to_string().into())
    }

    /// The caller's key; null when it may not read keys.
    async fn key(&self, context: &Context<'_>) -> async_graphql::Result<Option<KeyNode>> {
        query::own_key(context).await
    }

    /// The caller's address in trails.
    async fn email(&self, context: &Context<'_>) -> async_graphql::Result<String> {
        Ok(parties(context)?.1.email.to_string())
    }

    /// What the caller may do here.
    async fn grants(&self, context: &Context<'_>) -> async_graphql::Result<Vec<GrantNode>> {
        Ok(parties(context)?.1.grants.iter().map(GrantNode::from).collect())
    }

    /// The caller's organization.
    async fn organization(&self, context: &Context<'_>) -> async_graphql::Result<Option<OrganizationNode>> {
        let (service, caller) = parties(context)?;
        Ok(service.tenants().organization(caller.organization).map(OrganizationNode))
    }
}
