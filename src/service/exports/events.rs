//! Exports of the audit trail: which events are asked for, who may have them, and reading them in log order.
//!
//! Invariants: an event is handed out only if the read model lists it for the organization and its own bytes name that
//! organization. The end of an export is fixed when it begins, so it ends however much is recorded meanwhile, and its
//! own event is not in it. Memory is bounded by two batches here, whatever is
//! exported.

use std::collections::VecDeque;
use std::sync::Arc;

use keyledger_schema::codec::{self, Outcome};
use keyledger_schema::event::Event;
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{IdentityId, KeyId, NodeId, OrganizationId, Timestamp, WorkspaceId};
use memchr::memmem;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::export::{Failed, Logged, Open};
use crate::readmodel::{EntryQuery, Stretch, StretchQuery};
use crate::service::Service;
use crate::service::keys::query_failed;
use crate::service::told::Told;
use crate::store::Filter;

/// Stored bytes at which a batch ends.
const BATCH_BYTES: usize = 1024 * 1024;
/// Events at which a batch ends.
const BATCH_EVENTS: usize = 4_096;
/// Events that are read from the log at once: a few hundred of the largest size are not too many.
const READ_AT_ONCE: u64 = 256;
/// Where in stored bytes the organization stands at the latest: only fields of bounded length come before it.
const HEAD_BYTES: usize = 512;

/// A key or a node, as it was named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActorId {
    text: Box<str>,
    bits: Uuid,
}

impl ActorId {
    /// The actor of this id.
    pub fn parse(field: &'static str, text: &str) -> Result<Self> {
        let key = || text.parse::<KeyId>().map(KeyId::uuid);
        let bits = text.parse::<NodeId>().map(NodeId::uuid).or_else(|_| key());
        let bits = bits.map_err(|error| Error::invalid(field, error.to_string()))?;
        Ok(Self { text: text.into(), bits })
    }
}

/// Which events are asked for. All conditions must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventsAsked {
    /// Of this organization; that of the workspace, or else the caller's own, when none is named.
    pub organization: Option<OrganizationId>,
    /// In this workspace.
    pub workspace: Option<WorkspaceId>,
    /// In the trail of this key.
    pub key: Option<KeyId>,
    /// In the trail of this identity.
    pub identity: Option<IdentityId>,
    /// Of one of these types; of any when empty.
    pub types: Vec<&'static str>,
    /// By this actor.
    pub actor: Option<ActorId>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// Not before this moment.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub to: Option<Timestamp>,
    /// After this log index.
    pub after: Option<u64>,
    /// With their stored bytes.
    pub raw: bool,
}

/// Outcomes as they are written over REST and in trails.
pub const OUTCOMES: [(&str, Outcome); 2] = [("success", Outcome::Success), ("refused", Outcome::Refused)];

/// An event type by its name, or all of a kind: `key.*`.
pub fn types(text: &str) -> std::result::Result<Vec<&'static str>, String> {
    let names = || Event::TYPES.iter().map(|(name, _)| *name);
    let found: Vec<&str> = match text.strip_suffix('*').filter(|prefix| prefix.ends_with('.')) {
        Some(prefix) => names().filter(|name| name.starts_with(prefix)).collect(),
        None => names().filter(|name| *name == text).collect(),
    };
    if found.is_empty() {
        let known: Vec<&str> = names().collect();
        // What was given is not told: it may be anything, such as a secret in the wrong place.
        return Err(format!("there is a type that is not known; the types are {}", known.join(", ")));
    }
    Ok(found)
}

impl EventsAsked {
    /// The parameters that select it, as they stand in trails and in the query of a URL.
    pub(super) fn tell(&self, told: &mut Told) {
        told.tell("organizationId", self.organization);
        told.tell("workspaceId", self.workspace);
        told.tell("keyId", self.key);
        told.tell("identityId", self.identity);
        told.list("types", self.types.iter().map(ToString::to_string));
        told.tell("actorId", self.actor.as_ref().map(|actor| &actor.text));
        let outcome = self.outcome.as_ref().and_then(|outcome| super::name_in(&OUTCOMES, outcome));
        told.tell("outcome", outcome);
        told.tell("from", self.from);
        told.tell("to", self.to);
        told.tell("after", self.after);
        told.tell("raw", self.raw.then_some(true));
    }
}

impl Service {
    /// The organization whose events are asked for, and the query that finds them; a refusal if the caller may not
    /// have them. Exactly what `events` of the GraphQL API shows to the same caller.
    pub(super) async fn events_query(
        &self,
        caller: &Caller,
        asked: &EventsAsked,
    ) -> Result<(OrganizationId, EntryQuery)> {
        let fields = ("organizationId", "workspaceId");
        let organization = self.organization_of_list(caller, asked.organization, asked.workspace, fields)?;
        if asked.key.is_some() && asked.identity.is_some() {
            return Err(Error::invalid("identityId", "name a key or an identity, not both"));
        }
        let workspaces = match asked.workspace {
            Some(workspace) => {
                let place = Place { organization, workspace: Some(workspace) };
                self.require(caller, Right::ReadTrail, place)?;
                Some(vec![workspace])
            }
            None => self.sight(caller, Right::ReadTrail, organization)?,
        };
        self.trail_in_sight(caller, organization, asked.key, asked.identity).await?;
        let query = EntryQuery {
            workspaces,
            key: asked.key,
            identity: asked.identity,
            types: asked.types.iter().map(ToString::to_string).collect(),
            actor: asked.actor.as_ref().map(|actor| actor.bits),
            from: asked.from,
            to: asked.to,
            ..EntryQuery::new(organization)
        };
        Ok((organization, query))
    }
}

/// What makes the text of stored bytes that is handed out. What was erased reads as null.
pub(super) fn opener(service: &Service) -> Arc<Open> {
    let vault = Arc::clone(service.vault());
    Arc::new(move |bytes: &[u8]| {
        codec::opened(bytes, &*vault).map_err(|error| Failed::new(error.to_string()))
    })
}

fn unreadable(error: &dyn std::fmt::Display) -> Error {
    tracing::error!(%error, "the log cannot be read for an export");
    Error::unavailable("the log cannot be read now; try again, and tell the operator if it lasts")
}

/// Reads events in log order, a batch ahead of whoever takes them.
pub(super) struct Reader {
    place: Option<Box<Reading>>,
    ahead: Option<JoinHandle<Ahead>>,
}

/// Where the export is then, and what was read.
type Ahead = (Box<Reading>, Result<Vec<Logged>>);

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(ahead) = &self.ahead {
            ahead.abort();
        }
    }
}

/// How far an export is.
struct Reading {
    service: Arc<Service>,
    query: StretchQuery,
    stretches: VecDeque<Stretch>,
    /// What stands in the bytes of every event of the organization.
    own: memmem::Finder<'static>,
}

impl Reader {
    pub(super) fn new(service: Arc<Service>, entries: EntryQuery, asked: &EventsAsked) -> Self {
        let own = format!(",\"org\":\"{}\"", entries.organization);
        let query = StretchQuery {
            entries,
            outcome: asked.outcome,
            from: asked.after.map_or(0, |after| after.saturating_add(1)),
            end: service.read_model.entries_count(),
        };
        let own = memmem::Finder::new(&own).into_owned();
        let reading = Reading { service, query, stretches: VecDeque::new(), own };
        Self { place: Some(Box::new(reading)), ahead: None }
    }

    /// The first events, before anything is read ahead.
    pub(super) async fn first(&mut self) -> Result<Vec<Logged>> {
        match &mut self.place {
            Some(place) => place.batch().await,
            None => Ok(Vec::new()),
        }
    }

    /// Some more events; none when there are no more. What follows them is read meanwhile.
    pub(super) async fn next(&mut self) -> Result<Vec<Logged>> {
        if self.ahead.is_none() {
            self.read_ahead();
        }
        let Some(ahead) = &mut self.ahead else { return Ok(Vec::new()) };
        let read = ahead.await;
        self.ahead = None;
        let (place, events) = read.map_err(|_| Error::internal())?;
        let events = events?;
        if !events.is_empty() {
            self.place = Some(place);
            self.read_ahead();
        }
        Ok(events)
    }

    fn read_ahead(&mut self) {
        let Some(mut place) = self.place.take() else { return };
        self.ahead = Some(tokio::spawn(async move {
            let events = place.batch().await;
            (place, events)
        }));
    }
}

impl Reading {
    async fn batch(&mut self) -> Result<Vec<Logged>> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES && events.len() < BATCH_EVENTS {
            if self.stretches.is_empty() {
                if self.query.from >= self.query.end {
                    break;
                }
                let found = self.service.read_model.stretches(self.query.clone()).await;
                let found = found.map_err(|error| query_failed(&error))?;
                self.query.from = found.through;
                self.stretches = found.stretches;
            } else {
                bytes += self.read(&mut events).await?;
            }
        }
        Ok(events)
    }

    /// Reads a part of the first stretch, and gives how many bytes of it are wanted.
    async fn read(&mut self, events: &mut Vec<Logged>) -> Result<usize> {
        let Some(stretch) = self.stretches.front_mut() else { return Ok(0) };
        let count = stretch.count.min(READ_AT_ONCE);
        let max = usize::try_from(count).map_err(|_| Error::internal())?;
        let read = self.service.store.read_all(stretch.after, Filter::All, max).await;
        let read = read.map_err(|error| unreadable(&error))?;
        if read.len() != max {
            return Err(unreadable(&"an event is in the read model and not in the log"));
        }
        let mut bytes = 0;
        for (log_index, recorded) in (stretch.first..).zip(read) {
            stretch.after = Some(recorded.position);
            if stretch.wanted.front() != Some(&log_index) {
                continue;
            }
            stretch.wanted.pop_front();
            let head = &recorded.bytes[..recorded.bytes.len().min(HEAD_BYTES)];
            if self.own.find(head).is_none() {
                return Err(unreadable(&"an event belongs to another organization than the read model says"));
            }
            bytes += recorded.bytes.len();
            events.push(Logged { log_index, position: recorded.position.raw(), bytes: recorded.bytes });
        }
        stretch.first += count;
        stretch.count -= count;
        if stretch.count == 0 {
            self.stretches.pop_front();
        }
        Ok(bytes)
    }
}
