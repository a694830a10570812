//! Identities as the API shows and takes them.

use async_graphql::{Context, ID, InputObject, Json, Object};
use keyledger_projections::{IdentityState, PoolId};
use keyledger_schema::{Metadata, OrganizationId, Timestamp};

use super::answer::{parties, recorded};
use super::connection::{self, EventConnection, KeyConnection, Slice};
use super::credits::CreditsNode;
use super::input::{self, EventFilter, KeyFilter, KeyOrder};
use super::key::not_then;
use super::policy::{RateLimitInput, RateLimitNode, rate_limits};
use super::scalar::{DateTime, OrderDirection};
use super::tenant::OrganizationNode;
use super::{QUERY_COST, query, trail};
use crate::decisions::identity::{NewIdentity, Update};
use crate::decisions::limits;
use crate::error::{Error, Result};

/// Somebody of the user's own.
#[derive(Clone)]
pub(crate) struct IdentityNode(pub(super) IdentityState, Option<Timestamp>);

impl IdentityNode {
    /// As it is now.
    pub(super) fn now(state: IdentityState) -> Self {
        Self(state, None)
    }

    /// Whether its personal data was erased.
    pub(super) fn is_erased(&self) -> bool {
        self.0.erased_at.is_some()
    }

    /// As it was at a moment.
    pub(super) fn at(state: IdentityState, moment: Timestamp) -> Self {
        Self(state, Some(moment))
    }
}

/// Somebody of your own who holds keys, such as a customer. Its rate limits and its credits are shared by all its keys.
#[Object(name = "Identity")]
impl IdentityNode {
    /// Its id.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// What you call it. Unique within the organization, fixed.
    async fn external_id(&self) -> &str {
        &self.0.external_id
    }

    /// Shown to people.
    async fn name(&self) -> Option<&str> {
        self.0.name.as_ref().map(|name| &***name)
    }

    /// How often its keys may be used, together.
    async fn rate_limits(&self) -> Vec<RateLimitNode> {
        self.0.rate_limits.iter().map(RateLimitNode::from).collect()
    }

    /// The credits that its keys share; null while they are unlimited. Refused for an identity as of a moment.
    async fn credits(&self, context: &Context<'_>) -> async_graphql::Result<Option<CreditsNode>> {
        not_then(self.1, "credits")?;
        let (service, _) = parties(context)?;
        Ok(CreditsNode::of(service.balance(PoolId::Identity(self.0.id)), service.now()))
    }

    /// Your own.
    #[graphql(name = "metadata")]
    async fn metadata(&self) -> Json<serde_json::Value> {
        Json(self.0.metadata.to_value())
    }

    /// Whose it is.
    async fn organization(&self, context: &Context<'_>) -> async_graphql::Result<Option<OrganizationNode>> {
        Ok(parties(context)?.0.tenants().tenant(self.0.organization).map(OrganizationNode))
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When something about it was last changed.
    async fn updated_at(&self) -> DateTime {
        DateTime(self.0.updated_at)
    }

    /// When it was deleted.
    async fn deleted_at(&self) -> Option<DateTime> {
        self.0.deleted_at.map(DateTime)
    }

    /// When its personal data was erased.
    async fn erased_at(&self) -> Option<DateTime> {
        self.0.erased_at.map(DateTime)
    }

    /// Revision of its last event.
    async fn revision(&self) -> u64 {
        self.0.revision
    }

    /// The keys that hold it and that the caller may see: active ones, newest first, unless asked otherwise.
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
        let id = self.0.id.to_string();
        let slice = Slice { first, after, last, before };
        let run = async {
            let mut filter = filter.unwrap_or_default();
            for (field, named, own) in [
                ("filter.identityId", &mut filter.identity_id, id.clone()),
                ("filter.organizationId", &mut filter.organization_id, self.0.organization.to_string()),
            ] {
                if named.as_ref().is_some_and(|named| named.as_str() != own) {
                    return Err(Error::invalid(field, "these are the keys of one identity; leave this out"));
                }
                *named = Some(own.into());
            }
            query::keys(context, filter, order_by, slice).await
        };
        recorded(context, Some(&id), run).await
    }

    /// Its trail: every event of it, oldest first unless asked otherwise. What was refused stands in the trail of the
    /// organization.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "Relay's arguments")]
    async fn events(
        &self,
        context: &Context<'_>,
        filter: Option<EventFilter>,
        #[graphql(default)] direction: OrderDirection,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<EventConnection> {
        let id = self.0.id.to_string();
        let slice = Slice { first, after, last, before };
        let filter = filter.unwrap_or_default().until(self.1);
        let run = trail::identity_trail(context, &self.0, filter, direction, slice);
        recorded(context, Some(&id), run).await
    }
}

/// A new identity. Creating the same one again changes nothing and answers the same.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct CreateIdentityInput {
    /// Your own organization when left out.
    organization_id: Option<ID>,
    /// What you call it: 1 to 255 characters, unique within the organization, fixed for good.
    external_id: String,
    /// 1 to 128 characters.
    name: Option<String>,
    /// How often its keys may be used, together; at most 8.
    #[graphql(default)]
    rate_limits: Vec<RateLimitInput>,
    /// A JSON object of your own, at most 4 KiB.
    metadata: Option<Json<serde_json::Value>>,
}

/// New values; what is left out stays.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct UpdateIdentityInput {
    pub(super) id: ID,
    /// 1 to 128 characters.
    name: Option<String>,
    /// All rate limits that it has from now on, at most 8.
    rate_limits: Option<Vec<RateLimitInput>>,
    /// The whole new metadata.
    metadata: Option<Json<serde_json::Value>>,
    /// See `updateKey`; the identity's `revision`.
    pub(super) expected_revision: Option<u64>,
}

/// The end of an identity that no key holds. Its external id stays taken.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct DeleteIdentityInput {
    pub(super) id: ID,
    /// For the trail; at most 500 characters.
    pub(super) comment: Option<String>,
    /// See `updateKey`; the identity's `revision`.
    pub(super) expected_revision: Option<u64>,
}

impl CreateIdentityInput {
    pub(super) fn check(self) -> Result<(Option<OrganizationId>, NewIdentity)> {
        let organization =
            self.organization_id.as_deref().map(|id| input::id("input.organizationId", id)).transpose()?;
        let new = NewIdentity {
            external_id: external_id(&self.external_id)?,
            name: self.name.as_deref().map(name).transpose()?,
            rate_limits: rate_limits(self.rate_limits)?,
            metadata: self
                .metadata
                .map_or_else(|| Ok(Metadata::default()), |json| input::metadata(json.0))?,
        };
        Ok((organization, new))
    }
}

impl UpdateIdentityInput {
    pub(super) fn check(self) -> Result<Update> {
        Ok(Update {
            name: self.name.as_deref().map(name).transpose()?,
            rate_limits: self.rate_limits.map(rate_limits).transpose()?,
            metadata: self.metadata.map(|json| input::metadata(json.0)).transpose()?,
        })
    }
}

fn external_id(text: &str) -> Result<Box<str>> {
    input::no_secret("input.externalId", text)?;
    limits::external_id("input.externalId", text)
}

fn name(text: &str) -> Result<Box<str>> {
    input::name(text)
}
