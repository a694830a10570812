//! Subscriptions.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, ID, InputObject, Subscription as Subscriptions};
use futures_util::Stream;
use futures_util::stream::unfold;
use keyledger_schema::KeyId;

use super::QUERY_COST;
use super::answer::{recorded, refusal};
use super::connection::EventEdge;
use super::event::EventNode;
use super::input;
use super::query::asked;
use super::trail::{actor, known_types};
use crate::error::{Error, Result};
use crate::feed::{FeedFilter, Feeds, Follower, From, Spelling};
use crate::readmodel::{Entry, cursor_of};
use crate::service::Service;

/// So many places of events are read at once; the events themselves one by one, as they are taken.
const PAGE: usize = 100;
/// A subscription waits for as long as it takes.
const PATIENCE: Duration = Duration::from_hours(24);

/// Which events. Conditions add up.
#[derive(InputObject, Clone, Debug, Default)]
pub(crate) struct EventFeedFilter {
    /// Of this organization; your own when left out.
    organization_id: Option<ID>,
    /// Of this key, and refusals of what was asked of it.
    key_id: Option<ID>,
    /// Of this identity; refusals of what was asked of it are not among them.
    identity_id: Option<ID>,
    /// Of one of these types, such as `key.revoked`.
    types: Option<Vec<String>>,
    /// By this key or node.
    actor_id: Option<ID>,
}

impl EventFeedFilter {
    fn check(self) -> Result<FeedFilter> {
        let named = |id: ID| actor(&id).map(|bits| (id.to_string(), bits));
        Ok(FeedFilter {
            organization: self
                .organization_id
                .map(|id| input::id("filter.organizationId", &id))
                .transpose()?,
            key: self.key_id.map(|id| input::id::<KeyId>("filter.keyId", &id)).transpose()?,
            identity: self.identity_id.map(|id| input::id("filter.identityId", &id)).transpose()?,
            types: known_types(self.types)?,
            actor: self.actor_id.map(named).transpose()?,
        })
    }
}

/// Everything that can be followed.
#[derive(Default)]
pub(crate) struct Subscription;

#[Subscriptions]
impl Subscription {
    /// Events as they come, in log order, each once: from now on, or after a cursor of any list or feed of events.
    /// Ends with an error when the caller may not read them any more.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn events(
        &self,
        context: &Context<'_>,
        filter: Option<EventFeedFilter>,
        #[graphql(
            desc = "Only what comes after the event with this cursor. Go on after the last one that you have seen."
        )]
        after: Option<String>,
        #[graphql(desc = "From the first event on.")] from_start: Option<bool>,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<EventEdge>> + use<>> {
        let (_, caller) = asked(context).map_err(|error| refusal(&error))?;
        let feeds = context.data::<Feeds>().map_err(|_| refusal(&Error::internal()))?;
        let run = async {
            let from = match (after, from_start.unwrap_or_default()) {
                (None, false) => From::Now,
                (None, true) => From::Start,
                (Some(after), false) => From::After(after),
                (Some(_), true) => {
                    return Err(Error::invalid(
                        "fromStart",
                        "after says where to start; leave one of them out",
                    ));
                }
            };
            let filter = filter.unwrap_or_default().check()?;
            feeds.begin(caller, filter, from, Spelling { prefix: "filter." }).await
        };
        let follower = recorded(context, None, run).await?;
        let service = context.data::<Arc<Service>>().map_err(|_| refusal(&Error::internal()))?;
        let service = Arc::clone(service);
        Ok(unfold(Some(Taking { service, follower, waiting: Vec::new() }), taken))
    }
}

/// A subscription between two events.
struct Taking {
    service: Arc<Service>,
    follower: Follower,
    /// The last comes first.
    waiting: Vec<Entry>,
}

impl Taking {
    async fn next(&mut self) -> Result<EventEdge> {
        while self.waiting.is_empty() {
            self.waiting = self.follower.next(PAGE, PATIENCE).await?.entries;
            self.waiting.reverse();
        }
        // The reader may have taken its time since the page was read.
        self.follower.may_go_on()?;
        let entry = self.waiting.pop().ok_or_else(Error::internal)?;
        let mut events = EventNode::of_entries(&self.service, &[&entry]).await?;
        let node = events.pop().ok_or_else(Error::internal)?;
        Ok(EventEdge::new(cursor_of(&entry), node))
    }
}

/// The next event; after an error nothing follows.
async fn taken(taking: Option<Taking>) -> Option<(async_graphql::Result<EventEdge>, Option<Taking>)> {
    let mut taking = taking?;
    match taking.next().await {
        Ok(edge) => Some((Ok(edge), Some(taking))),
        Err(error) => Some((Err(refusal(&error)), None)),
    }
}
