//! Organizations with their workspaces and roles.

use async_graphql::{Context, ID, Object};
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{OrganizationId, RoleId, WorkspaceId};

use super::asked;
use crate::decisions::limits;
use crate::error::{Error, Result};
use crate::graphql::QUERY_COST;
use crate::graphql::answer::recorded;
use crate::graphql::connection::{self, OrganizationConnection, Slice, WorkspaceConnection};
use crate::graphql::input;
use crate::graphql::role::RoleNode;
use crate::graphql::tenant::{OrganizationNode, Viewer, WorkspaceNode};
use crate::readmodel::Item;

pub(super) fn workspace(context: &Context<'_>, text: &str) -> Result<WorkspaceNode> {
    let (service, caller) = asked(context)?;
    let id: WorkspaceId = input::id("id", text)?;
    service
        .tenants()
        .workspace(id)
        .filter(|workspace| {
            let place = Place { organization: workspace.organization, workspace: Some(id) };
            service.may(caller, Right::ReadKeys, place)
        })
        .map(WorkspaceNode::new)
        .ok_or_else(|| Error::not_found("id", "workspace"))
}

pub(super) fn organization(context: &Context<'_>, id: Option<OrganizationId>) -> Result<OrganizationNode> {
    let (service, caller) = asked(context)?;
    let id = service.organization_in_sight(caller, id, "id")?;
    service.tenants().tenant(id).map(OrganizationNode).ok_or_else(|| Error::not_found("id", "organization"))
}

/// The organizations that the caller may see: its own and those below it, in the order of their creation.
pub(super) fn organizations(context: &Context<'_>, slice: Slice) -> Result<OrganizationConnection> {
    let (service, caller) = asked(context)?;
    let family = service.tenants().family(caller.organization).into_iter();
    let seen =
        family.filter(|tenant| service.organization_in_sight(caller, Some(tenant.state.id), "id").is_ok());
    let items = seen.map(|tenant| Item { cursor: tenant.state.id.to_string(), node: tenant }).collect();
    Ok(OrganizationConnection::new(connection::cut(items, &slice.window()?)?, OrganizationNode))
}

/// The roles of an organization, by name, for those who may read keys anywhere in it.
pub(in crate::graphql) fn roles(
    context: &Context<'_>,
    organization: OrganizationId,
) -> Result<Vec<RoleNode>> {
    let (service, caller) = asked(context)?;
    service.sight(caller, Right::ReadKeys, organization)?;
    let state = service.tenants().organization(organization).ok_or_else(Error::internal)?;
    let mut roles: Vec<RoleNode> =
        state.roles.values().map(|role| RoleNode { organization, state: role.clone() }).collect();
    roles.sort_by_cached_key(|role| role.state.definition.name.to_lowercase());
    Ok(roles)
}

pub(super) fn role(context: &Context<'_>, text: &str) -> Result<RoleNode> {
    let (service, caller) = asked(context)?;
    let id: RoleId = input::id("id", text)?;
    let family = service.tenants().family(caller.organization);
    let found = family.iter().find_map(|tenant| Some((tenant.state.id, tenant.state.roles.get(&id)?)));
    found
        .filter(|(organization, _)| service.sight(caller, Right::ReadKeys, *organization).is_ok())
        .map(|(organization, state)| RoleNode { organization, state: state.clone() })
        .ok_or_else(|| Error::not_found("id", "role"))
}

/// The workspaces of an organization that the caller may see, in the order of their creation.
pub(in crate::graphql) async fn workspaces(
    context: &Context<'_>,
    organization: OrganizationId,
    slice: Slice,
) -> Result<WorkspaceConnection> {
    let (service, caller) = asked(context)?;
    let sight = service.sight(caller, Right::ReadKeys, organization)?;
    let all = service.tenants().workspaces(organization);
    let seen =
        all.into_iter().filter(|workspace| sight.as_ref().is_none_or(|ids| ids.contains(&workspace.id)));
    let items = seen.map(|workspace| Item { cursor: workspace.id.to_string(), node: workspace }).collect();
    Ok(WorkspaceConnection::new(connection::cut(items, &slice.window()?)?, WorkspaceNode::new))
}

/// See the head of this module.
#[derive(Default)]
pub(crate) struct TenantQuery;

#[Object]
impl TenantQuery {
    /// The caller.
    async fn viewer(&self) -> Viewer {
        Viewer
    }

    /// An organization that the caller may see; its own when none is named.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn organization(
        &self,
        context: &Context<'_>,
        id: Option<ID>,
    ) -> async_graphql::Result<OrganizationNode> {
        let run = async {
            let id = id.as_deref().map(|id| input::id("id", id)).transpose()?;
            organization(context, id)
        };
        recorded(context, id.as_deref().map(String::as_str), run).await
    }

    /// The caller's organization and those below it.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    async fn organizations(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<OrganizationConnection> {
        recorded(context, None, async { organizations(context, Slice { first, after, last, before }) }).await
    }

    /// A role.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn role(&self, context: &Context<'_>, id: ID) -> async_graphql::Result<RoleNode> {
        recorded(context, Some(&id), async { role(context, &id) }).await
    }

    /// The roles of an organization, by name: of the caller's own when none is named.
    #[graphql(complexity = "QUERY_COST + limits::MAX_ROLES * child_complexity")]
    async fn roles(
        &self,
        context: &Context<'_>,
        organization_id: Option<ID>,
    ) -> async_graphql::Result<Vec<RoleNode>> {
        let run = async {
            let id = super::organization_id(context, organization_id.as_ref(), "organizationId")?;
            roles(context, id)
        };
        recorded(context, organization_id.as_deref().map(String::as_str), run).await
    }

    /// A workspace that the caller may see.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn workspace(&self, context: &Context<'_>, id: ID) -> async_graphql::Result<WorkspaceNode> {
        recorded(context, Some(&id), async { workspace(context, &id) }).await
    }

    /// The workspaces of an organization that the caller may see: of its own when none is named.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    async fn workspaces(
        &self,
        context: &Context<'_>,
        organization_id: Option<ID>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<WorkspaceConnection> {
        let run = async {
            let id = super::organization_id(context, organization_id.as_ref(), "organizationId")?;
            workspaces(context, id, Slice { first, after, last, before }).await
        };
        recorded(context, organization_id.as_deref().map(String::as_str), run).await
    }
}
