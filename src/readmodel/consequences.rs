//! What somebody did and what came of it: their own events, those of the keys that they issued and that these issued
//! in turn, and events that name one of them as their cause.
//!
//! First the keys are followed, generation by generation; only those that ever did something count, so it does not
//! matter how many keys were issued that merely hold scopes. Then each of them is a sorted list of its own in an
//! index, and a page is merged from these: it costs a few seeks for each key, wherever it stands.
//!
//! Invariants: keys are followed, and events are shown, only as far as the query may see. A place in the list is a
//! place in the log, so pages stay where they are when more happens.

use std::collections::{BTreeMap, HashMap};

use keyledger_schema::{EventId, KeyId, OrganizationId, WorkspaceId};
use rusqlite::types::Value as Param;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use uuid::Uuid;

use super::cursor::List;
use super::entries::{self, COLUMNS, Entry};
use super::page::{Condition, Item, Page, Sequence, Window};
use super::pool::Failure;
use super::{QueryError, ReadModel, rows};

/// The most keys that are followed.
pub const MAX_FOLLOWED: usize = 1_000;
/// The most issued keys that are looked at.
const MAX_ISSUED: usize = 200_000;
/// The most generations of keys.
pub const MAX_DEPTH: u32 = 16;

/// Where it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Root {
    /// With all that a key did.
    Actor(KeyId),
    /// With what came of one event; with the key that it issued, if it issued one.
    Event(EventId, Option<KeyId>),
}

/// Which consequences.
#[derive(Clone, Debug)]
pub struct ConsequenceQuery {
    /// Of what.
    pub root: Root,
    /// Organizations of which all may be seen.
    pub organizations: Vec<OrganizationId>,
    /// Workspaces of others that may be seen.
    pub workspaces: Vec<WorkspaceId>,
    /// How many generations of keys are followed, at most [`MAX_DEPTH`].
    pub depth: u32,
    /// This stretch of them, oldest first.
    pub window: Window,
}

/// How an event follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// The key itself did it.
    Direct,
    /// A key did it that was issued by it, directly or indirectly.
    Issued(KeyId),
    /// An event of one of them led to it.
    Caused,
}

/// An event that follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Consequence {
    /// The event.
    pub entry: Entry,
    /// How it follows.
    pub via: Via,
    /// Over how many steps.
    pub depth: u32,
}

/// There are too many keys to follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMany;

impl ReadModel {
    /// A page of what came of something, in log order.
    pub async fn consequences(
        &self,
        query: ConsequenceQuery,
    ) -> Result<Result<Page<Consequence>, TooMany>, QueryError> {
        let _turn = match query.organizations.first() {
            Some(organization) => self.turn(*organization).await,
            None => None,
        };
        self.figures.read(move |connection| page(connection, &query)).await
    }
}

/// The keys that are followed: each with its generation.
type Followed = HashMap<Uuid, u32>;

impl ConsequenceQuery {
    /// Binds what may be seen.
    fn visible(&self, condition: &mut Condition) {
        let organizations = condition.bind_all(self.organizations.iter().map(|id| rows::blob(id.uuid())));
        let workspaces = condition.bind_all(self.workspaces.iter().map(|id| rows::blob(id.uuid())));
        condition.and(&format!("(org IN ({organizations}) OR workspace IN ({workspaces}))"));
    }

    fn followed(&self, connection: &Connection) -> rusqlite::Result<Result<Followed, TooMany>> {
        let mut followed = Followed::new();
        let mut generation: Vec<Uuid> = Vec::new();
        match self.root {
            Root::Actor(key) => {
                followed.insert(key.uuid(), 0);
                generation.push(key.uuid());
            }
            Root::Event(_, issued) => {
                if let Some(key) = issued.filter(|_| self.depth > 0) {
                    followed.insert(key.uuid(), 1);
                    generation.push(key.uuid());
                }
            }
        }
        let mut looked_at = 0;
        let mut depth = followed.values().copied().max().unwrap_or(0);
        while depth < self.depth.min(MAX_DEPTH) && !generation.is_empty() {
            depth += 1;
            let mut next = Vec::new();
            for actor in std::mem::take(&mut generation) {
                let mut condition = Condition::default();
                let actor = condition.bind(rows::blob(actor));
                condition.and(&format!("type = 'key.issued' AND actor = {actor}"));
                self.visible(&mut condition);
                let sql = format!(
                    "SELECT key FROM entries INDEXED BY entries_issued WHERE {} ORDER BY log_index",
                    condition.sql
                );
                let mut issued = connection.prepare_cached(&sql)?;
                let mut acted = connection.prepare_cached(
                    "SELECT 1 FROM entries INDEXED BY entries_actor \
                     WHERE actor = ?1 AND type <> 'usage.recorded' LIMIT 1",
                )?;
                let mut found = issued.query(params_from_iter(condition.params))?;
                while let Some(row) = found.next()? {
                    looked_at += 1;
                    if looked_at > MAX_ISSUED {
                        return Ok(Err(TooMany));
                    }
                    let Some(key) = rows::optional_id(row, 0)? else { continue };
                    let acts = acted.query_row([key.into_bytes()], |_| Ok(())).optional()?.is_some();
                    if acts && !followed.contains_key(&key) {
                        followed.insert(key, depth);
                        next.push(key);
                    }
                }
                if followed.len() > MAX_FOLLOWED {
                    return Ok(Err(TooMany));
                }
            }
            generation = next;
        }
        Ok(Ok(followed))
    }
}

/// A page that is being merged from sorted lists.
struct Merge<'a> {
    connection: &'a Connection,
    query: &'a ConsequenceQuery,
    scan: Sequence,
    place: Option<i64>,
    /// One more than the page has, to tell that there are more.
    wanted: usize,
    found: BTreeMap<i64, Consequence>,
}

impl Merge<'_> {
    /// Adds what one list has that may still be in the page.
    fn add(
        &mut self,
        index: &str,
        column: &str,
        value: Uuid,
        as_what: impl Fn(Entry) -> Consequence,
    ) -> rusqlite::Result<()> {
        let mut condition = Condition::default();
        let value = condition.bind(rows::blob(value));
        condition.and(&format!("{column} = {value}"));
        if column == "actor" {
            condition.and("type <> 'usage.recorded'");
        }
        self.query.visible(&mut condition);
        if let Some(place) = self.place {
            let place = condition.bind(Param::Integer(place));
            condition.and(&format!("log_index {} {place}", self.scan.beyond()));
        }
        if let Some(bound) = self.bound() {
            let bound = condition.bind(Param::Integer(bound));
            let within = if self.scan == Sequence::Ascending { "<=" } else { ">=" };
            condition.and(&format!("log_index {within} {bound}"));
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM entries INDEXED BY {index} WHERE {} ORDER BY log_index {} LIMIT {}",
            condition.sql,
            self.scan.keyword(),
            self.wanted
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let entries = statement.query_map(params_from_iter(condition.params), entries::entry)?;
        for entry in entries {
            let one = as_what(entry?);
            // Lists of causes come last: that an event led to another says more than who wrote the other one.
            self.found.insert(one.entry.log_index.cast_signed(), one);
        }
        while self.found.len() > self.wanted {
            match self.scan {
                Sequence::Ascending => self.found.pop_last(),
                Sequence::Descending => self.found.pop_first(),
            };
        }
        Ok(())
    }

    /// Beyond this nothing belongs to the page.
    fn bound(&self) -> Option<i64> {
        let furthest = match self.scan {
            Sequence::Ascending => self.found.last_key_value(),
            Sequence::Descending => self.found.first_key_value(),
        };
        furthest.filter(|_| self.found.len() >= self.wanted).map(|(number, _)| *number)
    }
}

fn page(
    connection: &Connection,
    query: &ConsequenceQuery,
) -> Result<Result<Page<Consequence>, TooMany>, Failure> {
    let place = query.window.place(List::Entries)?.map(|place| place.number);
    let followed = match query.followed(connection)? {
        Ok(followed) => followed,
        Err(too_many) => return Ok(Err(too_many)),
    };
    let mut merge = Merge {
        connection,
        query,
        scan: query.window.scan(Sequence::Ascending),
        place,
        wanted: query.window.count() + 1,
        found: BTreeMap::new(),
    };
    for (&key, &depth) in &followed {
        let by = KeyId::from_uuid(key);
        let via = if query.root == Root::Actor(by) { Via::Direct } else { Via::Issued(by) };
        merge.add("entries_actor", "actor", key, |entry| Consequence { entry, via, depth })?;
    }
    for (&key, &depth) in &followed {
        let caused = |entry| Consequence { entry, via: Via::Caused, depth: depth + 1 };
        merge.add("entries_cause_actor", "cause_actor", key, caused)?;
    }
    if let Root::Event(event, _) = query.root {
        let caused = |entry| Consequence { entry, via: Via::Caused, depth: 1 };
        merge.add("entries_cause", "cause", event.uuid(), caused)?;
    }
    let item = |one: Consequence| Item { cursor: entries::cursor(one.entry.log_index), node: one };
    let scan = merge.scan;
    let mut items: Vec<Item<Consequence>> = merge.found.into_values().map(item).collect();
    if scan == Sequence::Descending {
        items.reverse();
    }
    Ok(Ok(Page::of(items, &query.window, None)))
}
