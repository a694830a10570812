//! Lists of keys: filtered, searched, sorted, in pages.
//!
//! Which keys there are and in which order is told by the catalog; what each of them is, by the tables. A
//! key that changes in between is shown as it is by then.
//!
//! Invariant: every statement names the organization, and so does every question to the catalog.

use keyledger_projections::{KeyState, KeyStatus, KeyUsage};
use keyledger_schema::{Environment, IdentityId, KeyId, OrganizationId, RoleId, Timestamp, WorkspaceId};
use rusqlite::{Connection, Row};

use super::catalog::{Catalog, Want};
use super::cursor::{Cursor, List, Value};
use super::page::{Item, Page, Sequence, Window};
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
    /// Their last use as far as it has been counted; those that were never used are the earliest.
    LastUsedAt,
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
    /// Holding this role.
    pub role: Option<RoleId>,
    /// With this identity.
    pub identity: Option<IdentityId>,
    /// Issued before this moment.
    pub created_before: Option<Timestamp>,
    /// Issued at this moment or later.
    pub created_after: Option<Timestamp>,
    /// With an expiry date before this moment.
    pub expires_before: Option<Timestamp>,
    /// Last used before this moment, or never although issued before it.
    pub unused_since: Option<Timestamp>,
    /// Whether nobody has said that the present secret was copied.
    pub unacknowledged: Option<bool>,
    /// With a present secret that was made at the first moment or later, and before the second.
    pub secret_issued: Option<(Timestamp, Timestamp)>,
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
            role: None,
            identity: None,
            created_before: None,
            created_after: None,
            expires_before: None,
            unused_since: None,
            unacknowledged: None,
            secret_issued: None,
            order: KeyOrder { by: KeySort::CreatedAt, sequence: Sequence::Descending },
            window: Window::first(50),
            count: false,
            now,
        }
    }

    /// The workspaces whose keys can be in the answer; none means all.
    pub(super) fn reach(&self) -> Option<Vec<WorkspaceId>> {
        match (self.workspace, &self.workspaces) {
            (None, None) => None,
            (None, Some(seen)) => Some(seen.clone()),
            (Some(one), None) => Some(vec![one]),
            (Some(one), Some(seen)) => Some(seen.iter().filter(|seen| **seen == one).copied().collect()),
        }
    }

    /// The key that the search may mean by its id.
    pub(super) fn searched_id(&self) -> Option<KeyId> {
        self.search.as_ref()?.parse().ok()
    }
}

const fn list(by: KeySort) -> List {
    match by {
        KeySort::CreatedAt => List::KeysByCreation,
        KeySort::Name => List::KeysByName,
        KeySort::ExpiresAt => List::KeysByExpiry,
        KeySort::LastUsedAt => List::KeysByLastUse,
    }
}

/// A page of keys. `searched` is the number of the key whose id is searched for.
///
/// The catalog is asked first: what it names is in the tables, but not always in what a statement saw of
/// them before.
pub(super) fn page(
    connection: &Connection,
    catalog: &Catalog,
    query: &KeyQuery,
    searched: Option<i64>,
) -> Result<Page<KeyRow>, Failure> {
    let list = list(query.order.by);
    let found = catalog.find(
        query,
        Want {
            scan: query.window.scan(query.order.sequence),
            after: query.window.place(list)?,
            wanted: query.window.count() + 1,
            count: query.count,
            searched,
        },
    );
    let mut statement = connection.prepare_cached(
        "SELECT k.seq, k.state, u.usage FROM keys k LEFT JOIN key_usage u ON u.seq = k.seq \
         WHERE k.seq = ?1 AND k.org = ?2",
    )?;
    let organization = query.organization.uuid().into_bytes();
    let items = found.places.into_iter().map(|place| {
        let node = statement.query_row((place.number, organization), KeyRow::of)?;
        Ok(Item { cursor: place.write(list), node })
    });
    let items = items.collect::<rusqlite::Result<_>>()?;
    Ok(Page::of(items, &query.window, query.count.then_some(found.total)))
}

/// The keys that match a query in its order, at most so many, without regard to its window.
pub(super) fn ids(
    connection: &Connection,
    catalog: &Catalog,
    query: &KeyQuery,
    searched: Option<i64>,
    wanted: usize,
) -> Result<Vec<KeyId>, Failure> {
    let want = Want { scan: query.order.sequence, after: None, wanted, count: false, searched };
    let found = catalog.find(query, want);
    let mut statement = connection.prepare_cached("SELECT id FROM keys WHERE seq = ?1 AND org = ?2")?;
    let organization = query.organization.uuid().into_bytes();
    let ids = found.places.iter().map(|place| {
        statement.query_row((place.number, organization), |row| rows::id(row, 0)).map(KeyId::from_uuid)
    });
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

/// The states of an organization's keys in the order of their creation, after a key's number.
pub(super) fn states(
    connection: &Connection,
    catalog: &Catalog,
    organization: OrganizationId,
    after: Option<u64>,
    wanted: usize,
) -> Result<Vec<(u64, KeyState)>, Failure> {
    let query = KeyQuery {
        statuses: KeyStatus::ALL.to_vec(),
        order: KeyOrder { by: KeySort::CreatedAt, sequence: Sequence::Ascending },
        ..KeyQuery::new(organization, Timestamp::from_micros(0))
    };
    let after = after.map(|number| Cursor { value: Value::Nothing, number: number.cast_signed() });
    let want = Want { scan: Sequence::Ascending, after, wanted, count: false, searched: None };
    let found = catalog.find(&query, want);
    let mut statement = connection.prepare_cached("SELECT state FROM keys WHERE seq = ?1 AND org = ?2")?;
    let organization = organization.uuid().into_bytes();
    let states = found.places.iter().map(|place| {
        let state = statement.query_row((place.number, organization), |row| snapshot::column(row, 0))?;
        Ok((place.number.cast_unsigned(), state))
    });
    Ok(states.collect::<rusqlite::Result<_>>()?)
}
