//! What somebody did and what came of it.

use async_graphql::{Context, Enum, ID, Object};
use keyledger_schema::event::TrailPart;
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{EventId, KeyId, OrganizationId, Stream, WorkspaceId};

use super::answer::{page_failed, query_failed};
use super::connection::{ConsequenceConnection, Slice};
use super::event::EventNode;
use super::input;
use super::query::asked;
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::readmodel::{ConsequenceQuery, Item, MAX_DEPTH, MAX_FOLLOWED, Page, Root, Via};
use crate::service::Service;
use crate::service::keys::place_of;
use crate::service::reads::Look;
use crate::service::told::Told;

/// How an event follows.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(name = "ConsequenceVia")]
pub(crate) enum ConsequenceVia {
    /// The key itself did it.
    Direct,
    /// A key did it that was issued by it, directly or through others.
    ByKeyItIssued,
    /// Another event led to it, as to the revocations of a bulk revocation.
    CausedBy,
}

/// An event, and how it follows.
#[derive(Clone)]
pub(crate) struct ConsequenceNode {
    event: EventNode,
    via: Via,
    depth: u32,
}

/// An event that follows from what was asked for.
#[Object(name = "Consequence")]
impl ConsequenceNode {
    /// The event.
    async fn event(&self) -> &EventNode {
        &self.event
    }

    /// How it follows.
    async fn via(&self) -> ConsequenceVia {
        match self.via {
            Via::Direct => ConsequenceVia::Direct,
            Via::Issued(_) => ConsequenceVia::ByKeyItIssued,
            Via::Caused => ConsequenceVia::CausedBy,
        }
    }

    /// Over how many steps: 0 for what the key itself did, 1 for what the keys that it issued did, and so on; one more
    /// for what an event led to.
    async fn depth(&self) -> u32 {
        self.depth
    }

    /// The key that did it, where it is one that was issued.
    async fn through(&self) -> Option<ID> {
        match self.via {
            Via::Issued(key) => Some(key.to_string().into()),
            Via::Direct | Via::Caused => None,
        }
    }
}

/// Where to begin, and whose trail that is.
async fn root(
    service: &Service,
    caller: &Caller,
    actor: Option<&ID>,
    event: Option<&ID>,
) -> Result<(Root, Place, Option<KeyId>)> {
    match (actor, event) {
        (Some(actor), None) => {
            let id: KeyId = input::id("actorId", actor)?;
            let row = service.read_model().key(id).await.map_err(|error| query_failed(&error))?;
            let place = row.map(|row| place_of(&row.state)).filter(|place| service.sees(caller, *place));
            let place = place.ok_or_else(|| Error::not_found("actorId", "key"))?;
            service.require(caller, Right::ReadTrail, place)?;
            Ok((Root::Actor(id), place, Some(id)))
        }
        (None, Some(event)) => {
            let id: EventId = input::id("eventId", event)?;
            let entry = service.read_model().entry(id).await.map_err(|error| query_failed(&error))?;
            let found = entry.and_then(|entry| {
                let place = Place { organization: entry.organization?, workspace: entry.workspace };
                service.may(caller, Right::ReadTrail, place).then_some((entry, place))
            });
            let (entry, place) = found.ok_or_else(|| Error::not_found("eventId", "event"))?;
            let issued = match entry.stream {
                Stream::Key(key) if entry.event_type == "key.issued" => Some(key),
                _ => None,
            };
            Ok((Root::Event(id, issued), place, entry.key))
        }
        _ => Err(Error::invalid("actorId", "name exactly one of actorId and eventId")),
    }
}

/// Where the caller may read trails: whole organizations, and workspaces of others.
fn sight(service: &Service, caller: &Caller) -> (Vec<OrganizationId>, Vec<WorkspaceId>) {
    let (mut organizations, mut workspaces) = (Vec::new(), Vec::new());
    for tenant in service.tenants().family(caller.organization) {
        match service.sight(caller, Right::ReadTrail, tenant.state.id) {
            Ok(None) => organizations.push(tenant.state.id),
            Ok(Some(some)) => workspaces.extend(some),
            Err(_) => {}
        }
    }
    (organizations, workspaces)
}

pub(super) async fn consequences(
    context: &Context<'_>,
    actor: Option<&ID>,
    event: Option<&ID>,
    depth: Option<i32>,
    slice: Slice,
) -> Result<ConsequenceConnection> {
    let (service, caller) = asked(context)?;
    let depth = depth.map_or(Ok(MAX_DEPTH), u32::try_from).ok().filter(|depth| *depth <= MAX_DEPTH);
    let depth = depth.ok_or_else(|| {
        Error::invalid("depth", format!("keys are followed over 0 to {MAX_DEPTH} generations"))
    })?;
    let (root, place, key) = root(service, caller, actor, event).await?;
    let (organizations, workspaces) = sight(service, caller);
    let query = ConsequenceQuery { root, organizations, workspaces, depth, window: slice.window()? };
    let mut filter = Told::default();
    filter.tell("actorId", actor.map(|id| id.to_string()));
    filter.tell("eventId", event.map(|id| id.to_string()));
    filter.tell("depth", Some(depth));
    let mut window = Told::default();
    window.window(&query.window);
    let backward = query.window.is_backward();
    let page = service.read_model().consequences(query).await;
    let page = page.map_err(|error| page_failed(&error, backward))?.map_err(|_| {
        let message = format!(
            "more than {MAX_FOLLOWED} keys did something that were issued on the way; follow fewer generations, or \
             begin with one of these keys"
        );
        Error::invalid("depth", message)
    })?;
    let entries: Vec<_> = page.items.iter().map(|item| &item.node.entry).collect();
    let events = EventNode::of_entries(service, &entries).await?;
    let look = Look {
        key,
        filter,
        page: window,
        shown: Some(entries.len() as u64),
        nothing_new: entries
            .iter()
            .all(|entry| entry.event_type == "audit.read" && entry.actor == Some(caller.key.uuid())),
        ..Look::at(TrailPart::Consequences, place)
    };
    service.looked(caller, look).await?;
    let nodes = page.items.iter().zip(events).map(|(item, event)| Item {
        cursor: item.cursor.clone(),
        node: ConsequenceNode { event, via: item.node.via, depth: item.node.depth },
    });
    let page = Page {
        items: nodes.collect(),
        has_next: page.has_next,
        has_previous: page.has_previous,
        total: page.total,
        start_cursor: page.start_cursor.clone(),
        end_cursor: page.end_cursor.clone(),
    };
    Ok(ConsequenceConnection::new(page, |node| node))
}
