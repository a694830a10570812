//! Lists of keys: filtered, searched, sorted, in pages.
//!
//! Invariant: every statement built here begins with the organization. Search text is matched as it is,
//! by `instr` and not by patterns, so no character in it has a meaning.

use keyledger_projections::{KeyState, KeyStatus, KeyUsage};
use keyledger_schema::{Environment, KeyId, OrganizationId, Timestamp, WorkspaceId};
use rusqlite::types::Value as Param;
use rusqlite::{Connection, Row, params_from_iter};

use super::cursor::{Cursor, List, Value};
use super::page::{Condition, Item, Page, Sequence, Window};
use super::pool::Failure;
use super::{rows, snapshot};

/// A key as lists show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRow {
    /// Log index of the event that issued it: the order of creation.
    pub seq: u64,
    /// The key.
    pub state: KeyState,
    /// Its use, as far as it has been counted; none before the first.
    pub usage: Option<KeyUsage>,
}

impl KeyRow {
    /// From the columns `seq`, `state` and `usage`.
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let used = row.get_ref(2)? != rusqlite::types::ValueRef::Null;
        Ok(Self {
            seq: row.get::<_, i64>(0)?.cast_unsigned(),
            state: snapshot::column(row, 1)?,
            usage: if used { Some(snapshot::column(row, 2)?) } else { None },
        })
    }
}

/// What a list of keys is sorted by. Ties are settled by the order of creation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeySort {
    /// Their place in the log, which is the order in which they were issued.
    CreatedAt,
    /// Their name without regard to case, by Unicode code points.
    Name,
    /// Their expiry date; those that never expire are the latest.
    ExpiresAt,
}

/// The order of a list of keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct KeyOrder {
    /// By what.
    pub by: KeySort,
    /// Which end first.
    pub sequence: Sequence,
}

/// Which keys. All conditions must hold.
#[derive(Clone, Debug)]
pub struct KeyQuery {
    /// Of this organization.
    pub organization: OrganizationId,
    /// The workspaces that the caller may see; none means all of the organization's.
    pub workspaces: Option<Vec<WorkspaceId>>,
    /// In this workspace.
    pub workspace: Option<WorkspaceId>,
    /// With one of these statuses at `now`; active keys when empty.
    pub statuses: Vec<KeyStatus>,
    /// For this environment.
    pub environment: Option<Environment>,
    /// With this in the name or the address, without regard to case; or with this id; or with a secret
    /// that is shown as starting with this.
    pub search: Option<String>,
    /// With this in the name, without regard to case.
    pub name_contains: Option<String>,
    /// Issued by this key.
    pub created_by: Option<KeyId>,
    /// With an expiry date before this moment.
    pub expires_before: Option<Timestamp>,
    /// Last used before this moment, or never.
    pub unused_since: Option<Timestamp>,
    /// Whether nobody has said that the present secret was copied.
    pub unacknowledged: Option<bool>,
    /// In this order.
    pub order: KeyOrder,
    /// This stretch of them.
    pub window: Window,
    /// Whether to count them all, which looks at every one.
    pub count: bool,
    /// The moment at which status is told.
    pub now: Timestamp,
}

impl KeyQuery {
    /// The newest fifty active keys of an organization.
    pub fn new(organization: OrganizationId, now: Timestamp) -> Self {
        Self {
            organization,
            workspaces: None,
            workspace: None,
            statuses: vec![KeyStatus::Active],
            environment: None,
            search: None,
            name_contains: None,
            created_by: None,
            expires_before: None,
            unused_since: None,
            unacknowledged: None,
            order: KeyOrder { by: KeySort::CreatedAt, sequence: Sequence::Descending },
            window: Window::first(50),
            count: false,
            now,
        }
    }

    /// The workspaces whose keys can be in the answer; none means all.
    fn reach(&self) -> Option<Vec<WorkspaceId>> {
        match (self.workspace, &self.workspaces) {
            (None, None) => None,
            (None, Some(seen)) => Some(seen.clone()),
            (Some(one), None) => Some(vec![one]),
            (Some(one), Some(seen)) => Some(seen.iter().filter(|seen| **seen == one).copied().collect()),
        }
    }

    fn condition(&self, reach: Option<&[WorkspaceId]>) -> Condition {
        let mut condition = Condition::default();
        let organization = condition.bind(rows::blob(self.organization.uuid()));
        condition.and(&format!("k.org = {organization}"));
        if let Some(reach) = reach {
            let workspaces = condition.bind_all(reach.iter().map(|id| rows::blob(id.uuid())));
            condition.and(&format!("k.workspace IN ({workspaces})"));
        }

        let statuses = if self.statuses.is_empty() { &[KeyStatus::Active][..] } else { &self.statuses };
        // A value that no parameter stands for would be refused.
        let timeless = |status: &KeyStatus| matches!(status, KeyStatus::Revoked | KeyStatus::Deleted);
        let now =
            if statuses.iter().all(timeless) { String::new() } else { condition.bind(self.now.micros()) };
        let statuses: Vec<_> = statuses.iter().map(|&status| rows::status_condition(status, &now)).collect();
        condition.and(&format!("({})", statuses.join(" OR ")));

        if let Some(environment) = self.environment {
            let environment = condition.bind(rows::environment(environment));
            condition.and(&format!("k.environment = {environment}"));
        }
        if let Some(text) = &self.search {
            search(&mut condition, text);
        }
        if let Some(text) = &self.name_contains {
            let text = condition.bind(rows::folded(text));
            condition.and(&format!("instr(k.name, {text}) > 0"));
        }
        if let Some(id) = self.created_by {
            let id = condition.bind(rows::blob(id.uuid()));
            condition.and(&format!("k.created_by = {id}"));
        }
        if let Some(moment) = self.expires_before {
            let moment = condition.bind(moment.micros());
            condition.and(&format!("k.expires_at < {moment}"));
        }
        if let Some(moment) = self.unused_since {
            let moment = condition.bind(moment.micros());
            condition.and(&format!("(u.last_at IS NULL OR u.last_at < {moment})"));
        }
        if let Some(unacknowledged) = self.unacknowledged {
            let acknowledged = condition.bind(i64::from(!unacknowledged));
            condition.and(&format!("k.acknowledged = {acknowledged}"));
        }
        condition
    }
}

fn search(condition: &mut Condition, text: &str) {
    let folded = condition.bind(rows::folded(text));
    let exact = condition.bind(text.to_owned());
    let id = text.parse::<KeyId>().ok().map(|id| condition.bind(rows::blob(id.uuid())));
    let id = id.map_or_else(String::new, |id| format!(" OR k.id = {id}"));
    condition.and(&format!(
        "(instr(k.name, {folded}) > 0 OR instr(k.email, {folded}) > 0 \
         OR instr(k.hint, {exact}) = 1 OR instr(k.previous_hint, {exact}) = 1{id})"
    ));
}

const FROM: &str = "FROM keys k";
const JOIN: &str = "LEFT JOIN key_usage u ON u.key = k.id";

/// Workspaces with fewer keys than this, all together, are read whole and sorted. Larger ones are picked
/// from the organization's keys in the order asked for.
const FEW: i64 = 5_000;

fn few(connection: &Connection, reach: &[WorkspaceId]) -> rusqlite::Result<bool> {
    let mut condition = Condition::default();
    let workspaces = condition.bind_all(reach.iter().map(|id| rows::blob(id.uuid())));
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM keys INDEXED BY keys_workspace \
         WHERE workspace IN ({workspaces}) LIMIT {FEW})"
    );
    let count: i64 =
        connection.prepare_cached(&sql)?.query_row(params_from_iter(condition.params), |row| row.get(0))?;
    Ok(count < FEW)
}

/// The index to read from. SQLite has no figures to choose by, as they would age with every event.
fn index(
    connection: &Connection,
    query: &KeyQuery,
    reach: Option<&[WorkspaceId]>,
) -> rusqlite::Result<&'static str> {
    if let Some(reach) = reach {
        let in_order = reach.len() == 1 && query.order.by == KeySort::CreatedAt;
        if in_order || few(connection, reach)? {
            return Ok("keys_workspace");
        }
    }
    Ok(match query.order.by {
        KeySort::CreatedAt => "keys_org",
        KeySort::Name => "keys_name",
        KeySort::ExpiresAt => "keys_expiry",
    })
}

/// A page of keys.
pub(super) fn page(connection: &Connection, query: &KeyQuery) -> Result<Page<KeyRow>, Failure> {
    let (list, column) = match query.order.by {
        KeySort::CreatedAt => (List::KeysByCreation, None),
        KeySort::Name => (List::KeysByName, Some("k.name")),
        KeySort::ExpiresAt => (List::KeysByExpiry, Some("k.expires_at")),
    };
    let place = query.window.place(list)?;
    let reach = query.reach();
    if reach.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Page::empty(query.count));
    }
    let index = index(connection, query, reach.as_deref())?;
    let mut condition = query.condition(reach.as_deref());

    let total = if query.count {
        let join = if query.unused_since.is_some() { JOIN } else { "" };
        let sql = format!("SELECT count(*) {FROM} INDEXED BY {index} {join} WHERE {}", condition.sql);
        let mut statement = connection.prepare_cached(&sql)?;
        let total: i64 = statement.query_row(params_from_iter(&condition.params), |row| row.get(0))?;
        Some(total.cast_unsigned())
    } else {
        None
    };

    let scan = query.window.scan(query.order.sequence);
    if let Some(Cursor { value, number }) = place {
        let value: Option<Param> = match value {
            Value::Nothing => None,
            Value::Number(number) => Some(number.into()),
            Value::Text(text) => Some(text.into()),
        };
        let value = value.map(|value| condition.bind(value));
        let number = condition.bind(number);
        let beyond = scan.beyond();
        condition.and(&match (column, value) {
            (Some(column), Some(value)) => format!("({column}, k.seq) {beyond} ({value}, {number})"),
            _ => format!("k.seq {beyond} {number}"),
        });
    }
    let way = scan.keyword();
    let by = column.map_or_else(String::new, |column| format!("{column} {way}, "));
    let limit = query.window.count() + 1;
    let sql = format!(
        "SELECT k.seq, k.state, u.usage, {} {FROM} INDEXED BY {index} {JOIN} WHERE {} \
         ORDER BY {by}k.seq {way} LIMIT {limit}",
        column.unwrap_or("NULL"),
        condition.sql,
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let items = statement.query_map(params_from_iter(condition.params), |row| {
        let node = KeyRow::of(row)?;
        let value = match query.order.by {
            KeySort::CreatedAt => Value::Nothing,
            KeySort::Name => Value::Text(row.get(3)?),
            KeySort::ExpiresAt => Value::Number(row.get(3)?),
        };
        let number = node.seq.cast_signed();
        Ok(Item { cursor: Cursor { value, number }.write(list), node })
    })?;
    Ok(Page::of(items.collect::<rusqlite::Result<_>>()?, &query.window, total))
}
