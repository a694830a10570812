//! Organizations, workspaces and the viewer.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};
use keyledger_projections::{OrganizationState, WorkspaceState};
use keyledger_schema::{Grant, GrantTarget};

use super::answer::{parties, recorded, refusal};
use super::connection::{self, Slice, WorkspaceConnection};
use super::key::KeyNode;
use super::policy::PolicyNode;
use super::role::RoleNode;
use super::scalar::{DateTime, GrantRole, Long};
use super::signing_key::SigningKeyNode;
use super::{QUERY_COST, query};
use crate::decisions::limits;
use crate::service::Service;
use crate::tenants::Tenant;

/// How many signing keys an organization has for what a query costs; few ever have more.
const SIGNING_KEYS: usize = 8;

/// The tenant.
#[derive(Clone)]
pub(crate) struct OrganizationNode(pub(super) Arc<Tenant>);

impl OrganizationNode {
    /// An organization that was just written, and what is known to hold in it.
    pub(super) fn of(service: &Service, state: OrganizationState) -> Self {
        let known = service.tenants().tenant(state.id);
        let tenant = known.filter(|known| known.state.revision >= state.revision);
        Self(tenant.unwrap_or_else(|| Arc::new(Tenant::alone(state))))
    }
}

/// The tenant: holds workspaces and a signing key.
#[Object(name = "Organization")]
impl OrganizationNode {
    /// Its id.
    pub(super) async fn id(&self) -> ID {
        self.0.state.id.to_string().into()
    }

    /// Its name.
    async fn name(&self) -> &str {
        &self.0.state.name
    }

    /// The part of its keys' addresses that names it.
    async fn slug(&self) -> &str {
        &self.0.state.slug
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.state.created_at)
    }

    /// Revision of its last event.
    async fn revision(&self) -> u64 {
        self.0.state.revision
    }

    /// The organization above it; null for a tenant of its own, and for whoever may not know of it.
    async fn parent(&self, context: &Context<'_>) -> async_graphql::Result<Option<Self>> {
        let (service, caller) = parties(context)?;
        let Some(parent) = self.0.state.parent else { return Ok(None) };
        let seen = service.organization_in_sight(caller, Some(parent), "id").ok();
        Ok(seen.and_then(|id| service.tenants().tenant(id)).map(Self))
    }

    /// Its own rules.
    async fn policy(&self) -> PolicyNode {
        PolicyNode::from(&self.0.state.policy)
    }

    /// The rules that hold in it: its own and those of the organizations above it, the strictest of each.
    async fn effective_policy(&self) -> PolicyNode {
        PolicyNode::from(&*self.0.policy)
    }

    /// Whether its keys work: neither it nor an organization above it has switched them off.
    async fn api_keys_enabled(&self) -> bool {
        self.0.policy.keys_enabled()
    }

    /// Its roles, by name.
    #[graphql(complexity = "QUERY_COST + limits::MAX_ROLES * child_complexity")]
    async fn roles(&self, context: &Context<'_>) -> async_graphql::Result<Vec<RoleNode>> {
        recorded(context, None, async { query::roles(context, self.0.state.id) }).await
    }

    /// Whether it can issue keys.
    async fn bootstrapped(&self) -> bool {
        self.0.state.is_bootstrapped()
    }

    /// The Ed25519 public key that it signs tokens with, in hexadecimal; null before the bootstrap.
    async fn signing_public_key(&self, context: &Context<'_>) -> async_graphql::Result<Option<String>> {
        let (service, _) = parties(context)?;
        let key = self.0.state.signing_key(service.now());
        Ok(key.map(|key| blake3::Hash::from_bytes(key.public_key.0).to_hex().to_string()))
    }

    /// The keys that its tokens are signed with, or were, by generation. Of those that are out of use the newest.
    #[graphql(complexity = "SIGNING_KEYS * child_complexity")]
    async fn signing_keys(&self, context: &Context<'_>) -> async_graphql::Result<Vec<SigningKeyNode>> {
        let (service, _) = parties(context)?;
        Ok(SigningKeyNode::all(&self.0.state, service.now()))
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
        let id = self.0.state.id;
        recorded(context, None, query::workspaces(context, id, Slice { first, after, last, before })).await
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

    /// Revision of its last event, reservations of places included.
    async fn revision(&self) -> u64 {
        self.0.revision
    }

    /// How many keys it may have that are neither revoked nor deleted nor expired; null for any number.
    async fn quota(&self) -> Option<Long> {
        self.0.max_keys.map(Long)
    }

    /// How many it has, places that are kept for keys to come included.
    async fn key_count(&self, context: &Context<'_>) -> async_graphql::Result<Long> {
        let (service, _) = parties(context)?;
        let taken = service.quota_taken(self.0.id).await.map_err(|error| refusal(&error))?;
        Ok(Long(taken))
    }

    /// Where it belongs.
    async fn organization(&self, context: &Context<'_>) -> async_graphql::Result<Option<OrganizationNode>> {
        let (service, _) = parties(context)?;
        Ok(service.tenants().tenant(self.0.organization).map(OrganizationNode))
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
        Ok(service.tenants().tenant(caller.organization).map(OrganizationNode))
    }
}
