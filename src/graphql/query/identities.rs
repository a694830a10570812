//! Identities, by their own ids or by external ones.

use async_graphql::{Context, ID, Object};
use keyledger_schema::grant::Right;
use keyledger_schema::{IdentityId, OrganizationId};

use super::{asked, organization_id};
use crate::decisions::limits;
use crate::error::{Error, Result};
use crate::graphql::QUERY_COST;
use crate::graphql::answer::{page_failed, query_failed, recorded};
use crate::graphql::connection::{self, IdentityConnection, Slice};
use crate::graphql::identity::IdentityNode;
use crate::graphql::input;
use crate::readmodel::IdentityQuery;

/// An identity of an organization in which the caller may read keys; every other identity does not exist.
pub(super) async fn identity_of(
    context: &Context<'_>,
    id: IdentityId,
    field: &'static str,
) -> Result<IdentityNode> {
    let (service, caller) = asked(context)?;
    let state = service.read_model().identity(id).await.map_err(|error| query_failed(&error))?;
    state
        .filter(|state| service.sight(caller, Right::ReadKeys, state.organization).is_ok())
        .map(IdentityNode::now)
        .ok_or_else(|| Error::not_found(field, "identity"))
}

pub(super) async fn identity(
    context: &Context<'_>,
    id: Option<&ID>,
    external_id: Option<&str>,
    organization: Option<&ID>,
) -> Result<IdentityNode> {
    match (id, external_id) {
        (Some(id), None) if organization.is_none() => identity_of(context, input::id("id", id)?, "id").await,
        (Some(_), None) => {
            Err(Error::invalid("organizationId", "an id says enough; leave the organization out"))
        }
        (None, Some(external_id)) => {
            let organization = organization_id(context, organization, "organizationId")?;
            let external_id = limits::external_id("externalId", external_id)?;
            let id = asked(context)?.0.identity_id(organization, &external_id);
            let found = identity_of(context, id, "externalId").await?;
            // Nothing leads from the external id to the one who had it.
            if found.is_erased() {
                return Err(Error::not_found("externalId", "identity"));
            }
            Ok(found)
        }
        _ => Err(Error::invalid("id", "name exactly one of id and externalId")),
    }
}

/// The identities of an organization, for those who may read keys anywhere in it.
pub(super) async fn identities(
    context: &Context<'_>,
    organization: OrganizationId,
    search: Option<String>,
    slice: Slice,
) -> Result<IdentityConnection> {
    let (service, caller) = asked(context)?;
    service.sight(caller, Right::ReadKeys, organization)?;
    let search = search.filter(|text| !text.is_empty());
    let query = IdentityQuery {
        organization,
        search: search
            .map(|text| limits::external_id("search", text.trim()).map(String::from))
            .transpose()?,
        window: slice.window()?,
        count: context.look_ahead().field("totalCount").exists(),
    };
    let backward = query.window.is_backward();
    let page = service.read_model().identities(query).await.map_err(|error| page_failed(&error, backward))?;
    Ok(IdentityConnection::new(page, IdentityNode::now))
}

/// See the head of this module.
#[derive(Default)]
pub(crate) struct IdentitiesQuery;

#[Object]
impl IdentitiesQuery {
    /// An identity: by its id, or by its external id in an organization, the caller's own when none is named.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn identity(
        &self,
        context: &Context<'_>,
        id: Option<ID>,
        external_id: Option<String>,
        organization_id: Option<ID>,
    ) -> async_graphql::Result<IdentityNode> {
        let run = identity(context, id.as_ref(), external_id.as_deref(), organization_id.as_ref());
        recorded(context, id.as_deref().map(String::as_str), run).await
    }

    /// The identities of an organization by their external ids: of the caller's own when none is named. Those that were
    /// deleted are not among them.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "Relay's arguments")]
    async fn identities(
        &self,
        context: &Context<'_>,
        organization_id: Option<ID>,
        #[graphql(desc = "The start of the external id, or of the name without regard to case.")]
        search: Option<String>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<IdentityConnection> {
        let run = async {
            let id = super::organization_id(context, organization_id.as_ref(), "organizationId")?;
            identities(context, id, search, Slice { first, after, last, before }).await
        };
        recorded(context, organization_id.as_deref().map(String::as_str), run).await
    }
}
