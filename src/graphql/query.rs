//! Queries.

mod identities;
mod keys;
mod log;
mod reports;
mod tenants;
mod trail;
mod usage;

use async_graphql::{Context, ID, MergedObject, Object};
use keyledger_schema::OrganizationId;

use super::answer::{has_code, parties, recorded};
use super::node::Node;
use super::trail::event;
use super::{QUERY_COST, input};
use crate::caller::Caller;
use crate::error::{Code, Error, Result};
use crate::service::Service;

pub(super) use keys::{key, keys, own_key};
pub(super) use tenants::{roles, workspaces};

/// Everything that can be asked.
#[derive(MergedObject, Default)]
pub(crate) struct Query(
    tenants::TenantQuery,
    keys::KeysQuery,
    identities::IdentitiesQuery,
    trail::TrailQuery,
    usage::UsageQuery,
    log::LogQuery,
    reports::ReportQuery,
    NodeQuery,
);

/// The service and the caller, with errors of the domain.
pub(super) fn asked<'a>(context: &Context<'a>) -> Result<(&'a Service, &'a Caller)> {
    parties(context).map_err(|_| Error::internal())
}

/// An organization that the caller may know of; its own when none is named.
pub(super) fn organization_id(
    context: &Context<'_>,
    id: Option<&ID>,
    field: &'static str,
) -> Result<OrganizationId> {
    let (service, caller) = asked(context)?;
    let id = id.map(|id| input::id(field, id)).transpose()?;
    service.organization_in_sight(caller, id, field)
}

async fn node(context: &Context<'_>, id: &str) -> Result<Node> {
    let (kind, _) = id.split_once('_').unwrap_or_default();
    match kind {
        "key" => key(context, id).await.map(Node::Key),
        "idn" => identities::identity_of(context, input::id("id", id)?, "id").await.map(Node::Identity),
        "evt" => event(context, id).await.map(Node::Event),
        "ws" => tenants::workspace(context, id).map(Node::Workspace),
        "role" => tenants::role(context, id).map(Node::Role),
        "org" => input::id("id", id)
            .and_then(|id| tenants::organization(context, Some(id)))
            .map(Node::Organization),
        _ => {
            let message = "an id starts with what it names: key_, idn_, evt_, role_, ws_ or org_";
            Err(Error::invalid("id", message))
        }
    }
}

/// Whatever has an id.
#[derive(Default)]
pub(crate) struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Whatever has this id; null when there is no such thing here, as Relay's specification has it.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn node(&self, context: &Context<'_>, id: ID) -> async_graphql::Result<Option<Node>> {
        match recorded(context, Some(&id), node(context, &id)).await {
            Err(error) if has_code(&error, Code::NotFound) => Ok(None),
            found => found.map(Some),
        }
    }
}
