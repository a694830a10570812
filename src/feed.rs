//! The feed: events of an organization as they come, from any place in the log on, for as long as somebody may read
//! them.
//!
//! A follower has a place in the log and nothing else: it reads the next events when it is asked for them, so one
//! that is not asked costs nothing, however much happens. When there is nothing, it waits until this node applied
//! something of its organization. What it may see is looked at again before each answer and at least
//! every [`LOOK_AFTER`] while it waits.
//!
//! Invariants: events come in log order, each once, and none before this node applied it. Nothing is delivered once the
//! key is revoked, disabled or expired, or holds other grants than when it began. That somebody follows is in
//! the trail before the first event is handed out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keyledger_schema::event::TrailPart;
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{IdentityId, KeyId, OrganizationId};
use tokio::sync::watch;
use uuid::Uuid;

use crate::caller::Caller;
use crate::edge::Stopwatch;
use crate::error::{Code, Error, Result};
use crate::readmodel::{Entry, EntryQuery, Mark, QueryError};
use crate::service::Service;
use crate::service::reads::Look;
use crate::service::told::Told;
use crate::verify::Verifier;

pub use crate::readmodel::cursor_of;

/// The most followers of one key, of each kind.
pub const MAX_OF_KEY: usize = 32;
/// The most followers of one organization's keys, of each kind.
pub const MAX_OF_ORGANIZATION: usize = 256;
/// The most followers of a node, of each kind.
pub const MAX_OF_NODE: usize = 4_096;
/// The most WebSockets of one key, whether they carry feeds or not.
pub const MAX_SOCKETS: usize = 20;
/// How often a follower that waits looks whether it still may.
const LOOK_AFTER: Duration = Duration::from_millis(500);
/// After it found nothing that passes its filter, a follower rests, so that a busy log does not keep it busy.
const REST: Duration = Duration::from_millis(20);

/// Which events. All conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct FeedFilter {
    /// Of this organization; of the caller's own when none is named.
    pub organization: Option<OrganizationId>,
    /// In the trail of this key.
    pub key: Option<KeyId>,
    /// In the trail of this identity.
    pub identity: Option<IdentityId>,
    /// Of one of these types; any when empty.
    pub types: Vec<String>,
    /// By this actor: the id of a key or a node as it was given, and its 128 bits.
    pub actor: Option<(String, Uuid)>,
}

/// From where on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum From {
    /// What comes from now on.
    Now,
    /// From the first event on.
    Start,
    /// What comes after this cursor.
    After(String),
}

/// How names of fields are written in refusals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spelling {
    /// Before the fields of the filter.
    pub prefix: &'static str,
}

impl Spelling {
    fn field(self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// Who follows now.
#[derive(Default)]
struct Running {
    all: usize,
    organizations: HashMap<OrganizationId, usize>,
    keys: HashMap<KeyId, usize>,
    sockets: HashMap<KeyId, usize>,
}

/// All followers of a node. Cheap to clone.
#[derive(Clone)]
pub struct Feeds(Arc<Parts>);

struct Parts {
    service: Arc<Service>,
    verifier: Arc<Verifier>,
    running: Mutex<Running>,
    stopping: watch::Sender<bool>,
}

/// A follower's place among others; it is given back when this is dropped.
struct Turn {
    feeds: Feeds,
    organization: OrganizationId,
    key: KeyId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut running = self.feeds.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.all = running.all.saturating_sub(1);
        let Running { organizations, keys, .. } = &mut *running;
        leave(organizations, &self.organization);
        leave(keys, &self.key);
    }
}

/// A key's WebSocket; its place is given back when this is dropped.
pub struct Socket {
    feeds: Feeds,
    key: KeyId,
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut running = self.feeds.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        leave(&mut running.sockets, &self.key);
    }
}

fn leave<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Feeds {
    /// Over a service. The verifier tells whether callers are still who they were.
    pub fn new(service: Arc<Service>, verifier: Arc<Verifier>) -> Self {
        let stopping = watch::Sender::new(false);
        Self(Arc::new(Parts { service, verifier, running: Mutex::default(), stopping }))
    }

    /// Ends all followers, since the node stops.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Ready when the node stops.
    pub async fn stopping(&self) {
        // The sender lives as long as this does.
        let _ = self.0.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Whether a caller may still do what it could when it began.
    pub fn still_stands(&self, caller: &Caller) -> Result<()> {
        if *self.0.stopping.borrow() {
            return Err(Error::unavailable(
                "the node stops; go on after the last cursor at another one, or later",
            ));
        }
        self.0.verifier.still_stands(caller)
    }

    /// A place for a WebSocket of a key; none if it has too many.
    pub fn socket(&self, key: KeyId) -> Option<Socket> {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        let open = running.sockets.entry(key).or_default();
        if *open >= MAX_SOCKETS {
            return None;
        }
        *open += 1;
        Some(Socket { feeds: self.clone(), key })
    }

    fn turn(&self, caller: &Caller) -> Result<Turn> {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        let of_key = running.keys.get(&caller.key).copied().unwrap_or_default();
        let of_organization = running.organizations.get(&caller.organization).copied().unwrap_or_default();
        let full = [
            (of_key, MAX_OF_KEY, "your key follows"),
            (of_organization, MAX_OF_ORGANIZATION, "keys of your organization follow"),
            (running.all, MAX_OF_NODE, "this node has followers of"),
        ];
        if let Some((_, most, whose)) = full.iter().find(|(now, most, _)| now >= most) {
            let message =
                format!("{whose} {most} feeds at once, which is the most; end one, or try again later");
            return Err(Error::new(Code::TooManyRequests, message));
        }
        running.all += 1;
        *running.keys.entry(caller.key).or_default() += 1;
        *running.organizations.entry(caller.organization).or_default() += 1;
        Ok(Turn { feeds: self.clone(), organization: caller.organization, key: caller.key })
    }

    /// Begins to follow: checks what is asked, and writes down that somebody follows.
    pub async fn begin(
        &self,
        caller: &Caller,
        filter: FeedFilter,
        from: From,
        spelling: Spelling,
    ) -> Result<Follower> {
        let service = &self.0.service;
        let turn = self.turn(caller)?;
        let organization = service
            .organization_in_sight(caller, filter.organization, "organizationId")
            .map_err(|error| error.about(spelling.field("organizationId")))?;
        let sight = service.sight(caller, Right::ReadTrail, organization)?;
        if filter.key.is_some() && filter.identity.is_some() {
            let message = "name a key or an identity, not both";
            return Err(Error::invalid(spelling.field("identityId"), message));
        }
        let workspace = service.trail_in_sight(caller, organization, filter.key, filter.identity).await;
        let workspace = workspace.map_err(|error| match error.field.clone() {
            Some(field) => error.about(spelling.field(&field)),
            None => error,
        })?;
        let model = service.read_model();
        let mark = match &from {
            From::Now => model.now(),
            From::Start => Mark::START,
            From::After(cursor) => model.mark(cursor).map_err(|error| query_failed(&error))?,
        };
        let mut told = Told::default();
        told.tell("keyId", filter.key);
        told.tell("identityId", filter.identity);
        told.list("types", filter.types.iter().cloned());
        told.tell("actorId", filter.actor.as_ref().map(|(text, _)| text));
        let mut page = Told::default();
        match mark.cursor() {
            Some(cursor) => page.tell("after", Some(cursor)),
            None => page.tell("fromStart", Some(true)),
        }
        let workspace = match (workspace, sight.as_deref()) {
            (None, Some([workspace])) => Some(*workspace),
            (workspace, _) => workspace,
        };
        let look = Look {
            key: filter.key,
            identity: filter.identity,
            filter: told,
            page,
            from: mark,
            ..Look::at(TrailPart::Feed, Place { organization, workspace })
        };
        service.looked(caller, look).await?;
        let query = EntryQuery {
            workspaces: sight,
            key: filter.key,
            identity: filter.identity,
            types: filter.types,
            actor: filter.actor.map(|(_, bits)| bits),
            ..EntryQuery::new(organization)
        };
        Ok(Follower { feeds: self.clone(), caller: caller.clone(), query, mark, _turn: turn })
    }
}

/// Somebody who follows. Dropping it ends it.
pub struct Follower {
    feeds: Feeds,
    caller: Caller,
    query: EntryQuery,
    mark: Mark,
    _turn: Turn,
}

/// What a follower is handed.
#[derive(Clone, Debug)]
pub struct News {
    /// In log order; none if nothing came in time.
    pub entries: Vec<Entry>,
    /// Whether there is more already.
    pub more: bool,
}

impl Follower {
    /// Where it stands, as a cursor; none at the very start.
    pub fn cursor(&self) -> Option<String> {
        self.mark.cursor()
    }

    /// The next events, at most so many; waits until there are some, at most so long.
    pub async fn next(&mut self, max: usize, patience: Duration) -> Result<News> {
        let waiting = Stopwatch::start();
        let feeds = self.feeds.clone();
        let model = feeds.0.service.read_model();
        loop {
            self.may_go_on()?;
            let followed = model.follow(self.query.clone(), self.mark, max).await;
            let followed = followed.map_err(|error| query_failed(&error))?;
            // What was revoked while the tables were read is not shown any more.
            self.may_go_on()?;
            self.mark = followed.mark;
            if !followed.entries.is_empty() {
                return Ok(News { entries: followed.entries, more: !followed.at_end });
            }
            if !followed.at_end {
                continue;
            }
            let left = patience.saturating_sub(waiting.elapsed());
            if left.is_zero() {
                return Ok(News { entries: Vec::new(), more: false });
            }
            if model.stopped().is_some() {
                return Err(Error::unavailable(
                    "this node no longer follows the log; the operator has to restart it",
                ));
            }
            tokio::time::sleep(REST.min(left)).await;
            let wait = model.wait_for_entries(self.query.organization, self.mark, LOOK_AFTER.min(left));
            tokio::select! {
                () = wait => {}
                () = feeds.stopping() => {}
            }
        }
    }

    /// Refuses whoever may not read any more, and takes over what it may read now.
    pub fn may_go_on(&mut self) -> Result<()> {
        self.feeds.still_stands(&self.caller)?;
        let service = &self.feeds.0.service;
        self.query.workspaces = service.sight(&self.caller, Right::ReadTrail, self.query.organization)?;
        Ok(())
    }
}

fn query_failed(error: &QueryError) -> Error {
    match error {
        QueryError::Cursor => Error::invalid(
            "after",
            "the cursor is not one of events; use one that a list or a feed of events answered",
        ),
        QueryError::Busy => {
            Error::unavailable("too many queries are waiting on this node; try again in a moment")
        }
        QueryError::Failed => {
            tracing::error!(%error, "the feed cannot be read");
            Error::unavailable(
                "the feed cannot be read on this node; try again, and tell the operator if it lasts",
            )
        }
    }
}
