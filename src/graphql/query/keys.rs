//! Keys, one of them or those that a filter lets through.

use async_graphql::{Context, ID, Object};
use keyledger_projections::KeyStatus;
use keyledger_schema::KeyId;
use keyledger_schema::grant::Right;

use super::asked;
use crate::asof;
use crate::decisions::limits;
use crate::error::{Error, Result};
use crate::graphql::QUERY_COST;
use crate::graphql::answer::{page_failed, parties, query_failed, recorded};
use crate::graphql::connection::{self, KeyConnection, Slice};
use crate::graphql::input::{self, KeyFilter, KeyOrder};
use crate::graphql::key::KeyNode;
use crate::graphql::scalar::{DateTime, KeyOrderField, OrderDirection};
use crate::readmodel::{KeyQuery, KeySort, Sequence};
use crate::secret::WellFormed;
use crate::service::keys::place_of;

/// A key that the caller may read; every other key does not exist.
pub(in crate::graphql) async fn key(context: &Context<'_>, text: &str) -> Result<KeyNode> {
    let (service, caller) = asked(context)?;
    let id: KeyId = input::id("id", text)?;
    let row = service.read_model().key(id).await.map_err(|error| query_failed(&error))?;
    row.filter(|row| service.may(caller, Right::ReadKeys, place_of(&row.state)))
        .map(KeyNode::from)
        .ok_or_else(|| Error::not_found("id", "key"))
}

/// The caller's own key, if it may read keys.
pub(in crate::graphql) async fn own_key(context: &Context<'_>) -> async_graphql::Result<Option<KeyNode>> {
    let (_, caller) = parties(context)?;
    Ok(key(context, &caller.key.to_string()).await.ok())
}

pub(in crate::graphql) async fn keys(
    context: &Context<'_>,
    filter: KeyFilter,
    order: Option<KeyOrder>,
    slice: Slice,
) -> Result<KeyConnection> {
    let (service, caller) = asked(context)?;
    let statuses = filter.statuses.map_or_else(
        || vec![KeyStatus::Active],
        |statuses| statuses.into_iter().map(KeyStatus::from).collect(),
    );
    let text = |field: &'static str, text: Option<String>| {
        let text = text.filter(|text| !text.trim().is_empty());
        text.map(|text| limits::name(field, &text).map(String::from)).transpose()
    };
    let sequence = |direction| match direction {
        OrderDirection::Asc => Sequence::Ascending,
        OrderDirection::Desc => Sequence::Descending,
    };
    let order = order.map_or(
        crate::readmodel::KeyOrder { by: KeySort::CreatedAt, sequence: Sequence::Descending },
        |order| crate::readmodel::KeyOrder {
            by: match order.field {
                KeyOrderField::CreatedAt => KeySort::CreatedAt,
                KeyOrderField::Name => KeySort::Name,
                KeyOrderField::ExpiresAt => KeySort::ExpiresAt,
                KeyOrderField::LastUsedAt => KeySort::LastUsedAt,
            },
            sequence: sequence(order.direction),
        },
    );
    let workspace = filter.workspace_id.map(|id| input::id("filter.workspaceId", &id)).transpose()?;
    let named = filter.organization_id.map(|id| input::id("filter.organizationId", &id)).transpose()?;
    let fields = ("filter.organizationId", "filter.workspaceId");
    let organization = service.organization_of_list(caller, named, workspace, fields)?;
    let query = KeyQuery {
        organization,
        workspaces: service.sight(caller, Right::ReadKeys, organization)?,
        workspace,
        statuses,
        environment: filter.environment.map(Into::into),
        search: text("filter.search", filter.search)?.map(shown_of_secret),
        name_contains: text("filter.nameContains", filter.name_contains)?,
        created_by: filter.created_by.map(|id| input::id("filter.createdBy", &id)).transpose()?,
        created_before: filter.created_before.map(|at| at.0),
        role: filter.role_id.map(|id| input::id("filter.roleId", &id)).transpose()?,
        identity: filter.identity_id.map(|id| input::id("filter.identityId", &id)).transpose()?,
        secret_issued: None,
        created_after: filter.created_after.map(|at| at.0),
        expires_before: filter.expires_before.map(|at| at.0),
        unused_since: filter.unused_since.map(|at| at.0),
        unacknowledged: filter.secret_acknowledged.map(|acknowledged| !acknowledged),
        order,
        window: slice.window()?,
        now: service.now(),
        count: context.look_ahead().field("totalCount").exists(),
    };
    let backward = query.window.is_backward();
    let page = service.read_model().keys(query).await.map_err(|error| page_failed(&error, backward))?;
    Ok(KeyConnection::new(page, KeyNode::from))
}

/// A whole secret is searched for by what lists show of it: it must not be kept, and its hash is not searched.
fn shown_of_secret(text: String) -> String {
    WellFormed::parse(&text).map(|secret| secret.hint().to_owned()).unwrap_or(text)
}

/// See the head of this module.
#[derive(Default)]
pub(crate) struct KeysQuery;

#[Object]
impl KeysQuery {
    /// A key; as it was at a moment that has passed, for those who may read trails. Null when it did not exist yet.
    #[graphql(complexity = "if as_of.is_some() { 10 } else { 1 } * QUERY_COST + child_complexity")]
    async fn key(
        &self,
        context: &Context<'_>,
        id: ID,
        #[graphql(
            desc = "With all that it depended on then, such as its roles and its organization's policy."
        )]
        as_of: Option<DateTime>,
    ) -> async_graphql::Result<Option<KeyNode>> {
        let run = async {
            let Some(moment) = as_of else { return key(context, &id).await.map(Some) };
            let (service, caller) = asked(context)?;
            let then = asof::key(service, caller, input::id("id", &id)?, moment.0).await?;
            Ok(then.map(KeyNode::of_then))
        };
        recorded(context, Some(&id), run).await
    }

    /// The keys that the caller may see: active ones, newest first, unless asked otherwise.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "Relay's arguments")]
    async fn keys(
        &self,
        context: &Context<'_>,
        filter: Option<KeyFilter>,
        order_by: Option<KeyOrder>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<KeyConnection> {
        let slice = Slice { first, after, last, before };
        recorded(context, None, keys(context, filter.unwrap_or_default(), order_by, slice)).await
    }
}
