//! Lists of audit entries: which events there are and where they stand. The events themselves are read
//! from the log.
//!
//! Invariant: every list filters by organization; events of no organization, such as a node's own, are
//! in none.

use keyledger_schema::codec::Outcome;
use keyledger_schema::{EventId, IdentityId, KeyId, OrganizationId, Stream, Timestamp, WorkspaceId};
use rusqlite::types::Value as Param;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use uuid::Uuid;

use super::cursor::{Cursor, List, Value};
use super::page::{Condition, Item, Page, Sequence, Window};
use super::pool::Failure;
use super::rows;
use crate::store::Position;

/// An event's place and what it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The number of events before it in the log.
    pub log_index: u64,
    /// Its place in the store.
    pub position: Position,
    /// The event.
    pub id: EventId,
    /// The type's name.
    pub event_type: String,
    /// The stream it is in.
    pub stream: Stream,
    /// Its place in the stream.
    pub revision: u64,
    /// The tenant; none for a node's own events.
    pub organization: Option<OrganizationId>,
    /// The workspace, where there is one.
    pub workspace: Option<WorkspaceId>,
    /// The key whose trail it belongs to: that of its stream, or the one that a refused command of the
    /// key's own organization was about.
    pub key: Option<KeyId>,
    /// Who did it: the 128 bits of a key's or a node's id.
    pub actor: Option<Uuid>,
    /// When it was decided.
    pub at: Timestamp,
    /// Whether what was asked for happened.
    pub outcome: Outcome,
}

/// Which entries. All conditions must hold.
#[derive(Clone, Debug)]
pub struct EntryQuery {
    /// Of this organization.
    pub organization: OrganizationId,
    /// Of one of these workspaces: what the caller may see. None means the whole organization, including
    /// what belongs to no workspace.
    pub workspaces: Option<Vec<WorkspaceId>>,
    /// In the trail of this key.
    pub key: Option<KeyId>,
    /// In the trail of this identity.
    pub identity: Option<IdentityId>,
    /// Of one of these types; any when empty.
    pub types: Vec<String>,
    /// By this actor: the 128 bits of a key's or a node's id.
    pub actor: Option<Uuid>,
    /// Not before this moment.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub to: Option<Timestamp>,
    /// Which end of the log first.
    pub sequence: Sequence,
    /// This stretch of them.
    pub window: Window,
    /// Whether to count them all, which looks at every one.
    pub count: bool,
}

impl EntryQuery {
    /// The newest fifty entries of an organization.
    pub fn new(organization: OrganizationId) -> Self {
        Self {
            organization,
            workspaces: None,
            key: None,
            identity: None,
            types: Vec::new(),
            actor: None,
            from: None,
            to: None,
            sequence: Sequence::Descending,
            window: Window::first(50),
            count: false,
        }
    }

    /// The index that finds them in log order.
    pub(super) fn index(&self) -> &'static str {
        match (self.key, self.identity) {
            (_, Some(_)) => "entries_identity",
            (Some(_), None) => "entries_key",
            (None, None) => "entries_org",
        }
    }

    pub(super) fn condition(&self) -> Condition {
        let mut condition = Condition::default();
        let organization = condition.bind(rows::blob(self.organization.uuid()));
        condition.and(&format!("org = {organization}"));
        if let Some(key) = self.key {
            let key = condition.bind(rows::blob(key.uuid()));
            condition.and(&format!("key = {key}"));
        }
        if let Some(identity) = self.identity {
            let stream = rows::stream(Stream::Identity(identity)).to_vec();
            let stream = condition.bind(Param::Blob(stream));
            condition.and(&format!("{IS_OF_IDENTITY} AND stream = {stream}"));
        }
        if let Some(workspaces) = &self.workspaces {
            let workspaces = condition.bind_all(workspaces.iter().map(|id| rows::blob(id.uuid())));
            condition.and(&format!("workspace IN ({workspaces})"));
        }
        if !self.types.is_empty() {
            let types = condition.bind_all(self.types.iter().map(|name| Param::Text(name.clone())));
            condition.and(&format!("type IN ({types})"));
        }
        if let Some(actor) = self.actor {
            let actor = condition.bind(rows::blob(actor));
            condition.and(&format!("actor = {actor}"));
        }
        if let Some(from) = self.from {
            let from = condition.bind(from.micros());
            condition.and(&format!("at >= {from}"));
        }
        if let Some(to) = self.to {
            let to = condition.bind(to.micros());
            condition.and(&format!("at < {to}"));
        }
        condition
    }
}

/// What the index of identities' entries is about, in its own words.
const IS_OF_IDENTITY: &str = "substr(stream, 1, 1) = x'06'";

pub(super) const COLUMNS: &str =
    "log_index, position, id, type, stream, revision, org, workspace, key, at, outcome, actor";

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        log_index: row.get::<_, i64>(0)?.cast_unsigned(),
        position: Position::from_raw(row.get::<_, i64>(1)?.cast_unsigned()),
        id: EventId::from_uuid(rows::id(row, 2)?),
        event_type: row.get(3)?,
        stream: rows::stream_of(row.get(4)?)?,
        revision: row.get::<_, i64>(5)?.cast_unsigned(),
        organization: rows::optional_id(row, 6)?.map(OrganizationId::from_uuid),
        workspace: rows::optional_id(row, 7)?.map(WorkspaceId::from_uuid),
        key: rows::optional_id(row, 8)?.map(KeyId::from_uuid),
        at: Timestamp::from_micros(row.get(9)?),
        outcome: rows::outcome_of(row.get(10)?),
        actor: rows::optional_id(row, 11)?,
    })
}

/// The place of an entry in every list of entries, in log order.
pub(super) fn cursor(log_index: u64) -> String {
    Cursor { value: Value::Nothing, number: log_index.cast_signed() }.write(List::Entries)
}

/// The entry of an event.
pub(super) fn one(connection: &Connection, id: EventId) -> rusqlite::Result<Option<Entry>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE id = ?1"))?
        .query_row([id.uuid().into_bytes()], entry)
        .optional()
}

/// A page of entries.
pub(super) fn page(connection: &Connection, query: &EntryQuery) -> Result<Page<Entry>, Failure> {
    let place = query.window.place(List::Entries)?;
    if query.workspaces.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Page::empty(query.count));
    }
    let index = query.index();
    let mut condition = query.condition();
    let total = if query.count {
        let sql = format!("SELECT count(*) FROM entries INDEXED BY {index} WHERE {}", condition.sql);
        let mut statement = connection.prepare_cached(&sql)?;
        let total: i64 = statement.query_row(params_from_iter(&condition.params), |row| row.get(0))?;
        Some(total.cast_unsigned())
    } else {
        None
    };
    let scan = query.window.scan(query.sequence);
    if let Some(place) = place {
        let number = condition.bind(place.number);
        condition.and(&format!("log_index {} {number}", scan.beyond()));
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM entries INDEXED BY {index} WHERE {} ORDER BY log_index {} LIMIT {}",
        condition.sql,
        scan.keyword(),
        query.window.count() + 1,
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let items = statement.query_map(params_from_iter(condition.params), |row| {
        let node = entry(row)?;
        Ok(Item { cursor: cursor(node.log_index), node })
    })?;
    Ok(Page::of(items.collect::<rusqlite::Result<_>>()?, &query.window, total))
}
