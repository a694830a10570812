//! Events, what came of them, and whether a stream of them is whole.

use async_graphql::{Context, ID, Object};

use crate::graphql::QUERY_COST;
use crate::graphql::answer::recorded;
use crate::graphql::completeness::{self, CompletenessProof};
use crate::graphql::connection::{self, ConsequenceConnection, EventConnection, Slice};
use crate::graphql::consequence::consequences;
use crate::graphql::event::EventNode;
use crate::graphql::input::EventFilter;
use crate::graphql::scalar::OrderDirection;
use crate::graphql::trail::{event, events};

/// See the head of this module.
#[derive(Default)]
pub(crate) struct TrailQuery;

#[Object]
impl TrailQuery {
    /// An event that the caller may see.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn event(&self, context: &Context<'_>, id: ID) -> async_graphql::Result<EventNode> {
        recorded(context, Some(&id), event(context, &id)).await
    }

    /// The events that the caller may see, oldest first unless asked otherwise.
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
        let slice = Slice { first, after, last, before };
        recorded(context, None, events(context, filter.unwrap_or_default(), direction, slice)).await
    }

    /// Where a stream ended, proved under a commitment that is in the log: whoever holds its events up to that one
    /// holds all of them. Commits the ends of all streams first. For those who may read that trail.
    #[graphql(complexity = "QUERY_COST + completeness::COST + child_complexity")]
    async fn completeness_proof(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The stream's name, as events show it.")] stream: Option<String>,
        #[graphql(desc = "Or the key whose stream is meant.")] key_id: Option<ID>,
    ) -> async_graphql::Result<CompletenessProof> {
        let run = async {
            let named = completeness::stream(stream.as_deref(), key_id.as_ref())?;
            completeness::proved(context, named, key_id.is_some()).await
        };
        recorded(context, key_id.as_deref().map(String::as_str), run).await
    }

    /// All that a key did and that came of it, or that came of one event, oldest first: what the key itself did, what the
    /// keys did that it issued, directly or through others, and what an event of one of them led to. Only
    /// what the caller may see.
    #[graphql(complexity = "10 * QUERY_COST + connection::cost(first, last, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "Relay's arguments")]
    async fn consequences(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Of this key. Name this or eventId.")] actor_id: Option<ID>,
        #[graphql(desc = "Of this event; of the key that it issued, too, if it issued one.")]
        event_id: Option<ID>,
        #[graphql(desc = "Over how many generations keys are followed: 0 to 16, all 16 when left out.")]
        depth: Option<i32>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<ConsequenceConnection> {
        let slice = Slice { first, after, last, before };
        let run = consequences(context, actor_id.as_ref(), event_id.as_ref(), depth, slice);
        let target = actor_id.as_deref().or(event_id.as_deref());
        recorded(context, target.map(String::as_str), run).await
    }
}
