//! Trails: events of an organization, a key or an identity, and one by its id. Each look at one is in the trail
//! before it is answered.

use async_graphql::Context;
use keyledger_projections::{IdentityState, KeyState};
use keyledger_schema::event::TrailPart;
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{EventId, IdentityId, KeyId, NodeId, OrganizationId};
use uuid::Uuid;

use super::answer::{page_failed, query_failed};
use super::connection::{EventConnection, Slice};
use super::event::EventNode;
use super::input::{self, EventFilter};
use super::query::{asked, organization_id};
use super::scalar::OrderDirection;
use crate::decisions::limits;
use crate::error::{Error, Result};
use crate::readmodel::{EntryQuery, Item, Page, Sequence};
use crate::service::identities;
use crate::service::keys::place_of;
use crate::service::reads::Look;
use crate::service::told::Told;

/// An event that the caller may see.
pub(super) async fn event(context: &Context<'_>, text: &str) -> Result<EventNode> {
    let (service, caller) = asked(context)?;
    let id: EventId = input::id("id", text)?;
    let entry = service.read_model().entry(id).await.map_err(|error| query_failed(&error))?;
    let place =
        |organization| Place { organization, workspace: entry.as_ref().and_then(|entry| entry.workspace) };
    let place = entry.as_ref().and_then(|entry| entry.organization).map(place);
    let seen = place.filter(|place| service.may(caller, Right::ReadTrail, *place));
    let (Some(entry), Some(place)) = (&entry, seen) else { return Err(Error::not_found("id", "event")) };
    let mut events = EventNode::of_entries(service, &[entry]).await?;
    let mut filter = Told::default();
    filter.tell("id", Some(id));
    let look = Look { key: entry.key, filter, shown: Some(1), ..Look::at(TrailPart::Events, place) };
    service.looked(caller, look).await?;
    events.pop().ok_or_else(Error::internal)
}

/// Event types that there are.
pub(super) fn known_types(types: Option<Vec<String>>) -> Result<Vec<String>> {
    let types = types.unwrap_or_default();
    limits::at_most("filter.types", "types", types.len(), keyledger_schema::Event::TYPES.len())?;
    let known = keyledger_schema::Event::TYPES.iter().map(|(name, _)| *name);
    if let Some(unknown) = types.iter().find(|name| !known.clone().any(|known| known == **name)) {
        let known: Vec<&str> = known.collect();
        let unknown: String = unknown.chars().take(64).collect();
        let message = format!("there is no event type {unknown:?}; the types are {}", known.join(", "));
        return Err(Error::invalid("filter.types", message));
    }
    Ok(types)
}

/// Whose trail is read.
struct Whose {
    place: Place,
    key: Option<KeyId>,
    identity: Option<IdentityId>,
    sight: Option<Vec<keyledger_schema::WorkspaceId>>,
}

async fn events_of(
    context: &Context<'_>,
    whose: Whose,
    filter: EventFilter,
    direction: OrderDirection,
    slice: Slice,
) -> Result<EventConnection> {
    let (service, caller) = asked(context)?;
    let types = known_types(filter.types)?;
    let query = EntryQuery {
        organization: whose.place.organization,
        workspaces: whose.sight,
        key: whose.key,
        identity: whose.identity,
        types,
        actor: filter.actor_id.as_ref().map(|id| actor(id)).transpose()?,
        from: filter.from.map(|at| at.0),
        to: filter.to.map(|at| at.0),
        sequence: match direction {
            OrderDirection::Asc => Sequence::Ascending,
            OrderDirection::Desc => Sequence::Descending,
        },
        window: slice.window()?,
        count: context.look_ahead().field("totalCount").exists(),
    };
    let backward = query.window.is_backward();
    let (mut told, mut place) = (Told::default(), Told::default());
    told.tell("keyId", filter.key_id.filter(|_| query.key.is_some()).map(|id| id.to_string()));
    told.tell("identityId", query.identity);
    told.list("types", query.types.iter().cloned());
    told.tell("actorId", filter.actor_id.map(|id| id.to_string()));
    told.tell("from", query.from);
    told.tell("to", query.to);
    told.tell("direction", (direction == OrderDirection::Desc).then_some("desc"));
    place.window(&query.window);
    // Only a key of the organization is named as one; any other id may stand in the filter.
    let key = match query.key {
        Some(id) => {
            let row = service.read_model().key(id).await.map_err(|error| query_failed(&error))?;
            row.filter(|row| row.state.organization == query.organization)
        }
        None => None,
    };
    let identity = query.identity;
    let page = service.read_model().entries(query).await.map_err(|error| page_failed(&error, backward))?;
    let entries: Vec<_> = page.items.iter().map(|item| &item.node).collect();
    let events = EventNode::of_entries(service, &entries).await?;
    let look = Look {
        key: key.as_ref().map(|row| row.state.id),
        identity,
        filter: told,
        page: place,
        shown: Some(entries.len() as u64),
        nothing_new: entries
            .iter()
            .all(|entry| entry.event_type == "audit.read" && entry.actor == Some(caller.key.uuid())),
        ..Look::at(
            TrailPart::Events,
            Place {
                workspace: key.as_ref().map_or(whose.place.workspace, |row| Some(row.state.workspace)),
                ..whose.place
            },
        )
    };
    service.looked(caller, look).await?;
    let items = page.items.iter().map(|item| item.cursor.clone()).zip(events);
    let page = Page {
        start_cursor: page.start_cursor,
        end_cursor: page.end_cursor,
        items: items.map(|(cursor, node)| Item { cursor, node }).collect(),
        has_next: page.has_next,
        has_previous: page.has_previous,
        total: page.total,
    };
    Ok(EventConnection::new(page, |node| node))
}

/// The bits of the id of a key or a node.
pub(super) fn actor(text: &str) -> Result<Uuid> {
    match text.parse::<NodeId>() {
        Ok(node) => Ok(node.uuid()),
        Err(_) => input::id("filter.actorId", text).map(KeyId::uuid),
    }
}

/// The trail of one key.
pub(super) async fn trail(
    context: &Context<'_>,
    state: &KeyState,
    filter: EventFilter,
    direction: OrderDirection,
    slice: Slice,
) -> Result<EventConnection> {
    let (service, caller) = asked(context)?;
    service.require(caller, Right::ReadTrail, place_of(state))?;
    if filter.key_id.as_ref().is_some_and(|id| id.as_str() != state.id.to_string()) {
        return Err(Error::invalid("filter.keyId", "this is the trail of another key; leave keyId out"));
    }
    // Refusals stand in the organization's stream; who may read this key's trail may read those too.
    if filter.identity_id.is_some() {
        return Err(Error::invalid("filter.identityId", "this is the trail of a key; leave identityId out"));
    }
    let whose = Whose { place: place_of(state), key: Some(state.id), identity: None, sight: None };
    events_of(context, whose, EventFilter { key_id: None, ..filter }, direction, slice).await
}

/// The trail of one identity.
pub(super) async fn identity_trail(
    context: &Context<'_>,
    state: &IdentityState,
    filter: EventFilter,
    direction: OrderDirection,
    slice: Slice,
) -> Result<EventConnection> {
    let (service, caller) = asked(context)?;
    let place = identities::place_of(state);
    service.require(caller, Right::ReadTrail, place)?;
    if filter.key_id.is_some() {
        return Err(Error::invalid("filter.keyId", "this is the trail of an identity; leave keyId out"));
    }
    if filter.identity_id.as_ref().is_some_and(|id| id.as_str() != state.id.to_string()) {
        let message = "this is the trail of another identity; leave identityId out";
        return Err(Error::invalid("filter.identityId", message));
    }
    let whose = Whose { place, key: None, identity: Some(state.id), sight: None };
    events_of(context, whose, filter, direction, slice).await
}

/// The events that the caller may see.
pub(super) async fn events(
    context: &Context<'_>,
    filter: EventFilter,
    direction: OrderDirection,
    slice: Slice,
) -> Result<EventConnection> {
    let (service, caller) = asked(context)?;
    let organization: OrganizationId =
        organization_id(context, filter.organization_id.as_ref(), "filter.organizationId")?;
    let sight = service.sight(caller, Right::ReadTrail, organization)?;
    let key = filter.key_id.as_ref().map(|id| input::id::<KeyId>("filter.keyId", id)).transpose()?;
    let identity = filter.identity_id.as_ref().map(|id| input::id("filter.identityId", id)).transpose()?;
    if key.is_some() && identity.is_some() {
        return Err(Error::invalid("filter.identityId", "name a key or an identity, not both"));
    }
    // Those who may read the trail of one workspace see who reads it.
    let workspace = match sight.as_deref() {
        Some([workspace]) => Some(*workspace),
        _ => None,
    };
    let whose = Whose { place: Place { organization, workspace }, key, identity, sight };
    events_of(context, whose, filter, direction, slice).await
}
