//! Lists of identities: searched, by their external ids, in pages.
//!
//! Invariant: every list names the organization.

use keyledger_projections::IdentityState;
use keyledger_schema::{IdentityId, OrganizationId};
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::cursor::{Cursor, List, Value};
use super::page::{Condition, Item, Page, Sequence, Window};
use super::pool::Failure;
use super::{rows, snapshot};

/// Which identities. Deleted ones are in no list.
#[derive(Clone, Debug)]
pub struct IdentityQuery {
    /// Of this organization.
    pub organization: OrganizationId,
    /// With an external id that starts with this, or with a name that does, without regard to case.
    pub search: Option<String>,
    /// This stretch of them.
    pub window: Window,
    /// Whether to count them all, which looks at every one.
    pub count: bool,
}

/// Those of many identities that there are.
pub(super) fn by_id(connection: &Connection, ids: &[IdentityId]) -> rusqlite::Result<Vec<IdentityState>> {
    let mut find = connection.prepare_cached("SELECT state FROM identities WHERE id = ?1")?;
    ids.iter()
        .filter_map(|id| {
            find.query_row([id.uuid().into_bytes()], |row| snapshot::column(row, 0)).optional().transpose()
        })
        .collect()
}

fn condition(query: &IdentityQuery) -> Condition {
    let mut condition = Condition::default();
    let organization = condition.bind(rows::blob(query.organization.uuid()));
    condition.and(&format!("org = {organization} AND listed = 1"));
    if let Some(search) = &query.search {
        let exact = condition.bind(search.clone());
        let folded = condition.bind(search.to_lowercase());
        condition.and(&format!(
            "(substr(external, 1, length({exact})) = {exact} OR substr(name, 1, length({folded})) = {folded})"
        ));
    }
    condition
}

/// A page of identities.
pub(super) fn page(connection: &Connection, query: &IdentityQuery) -> Result<Page<IdentityState>, Failure> {
    let place = query.window.place(List::Identities)?;
    let mut condition = condition(query);
    let total = if query.count {
        let sql =
            format!("SELECT count(*) FROM identities INDEXED BY identities_org WHERE {}", condition.sql);
        let mut statement = connection.prepare_cached(&sql)?;
        let total: i64 = statement.query_row(params_from_iter(&condition.params), |row| row.get(0))?;
        Some(total.cast_unsigned())
    } else {
        None
    };
    let scan = query.window.scan(Sequence::Ascending);
    // An external id is unique in its organization, so it alone tells the place.
    if let Some(Cursor { value: Value::Text(external), .. }) = place {
        let external = condition.bind(external);
        condition.and(&format!("external {} {external}", scan.beyond()));
    }
    let sql = format!(
        "SELECT seq, external, state FROM identities INDEXED BY identities_org WHERE {} \
         ORDER BY external {} LIMIT {}",
        condition.sql,
        scan.keyword(),
        query.window.count() + 1,
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let items = statement.query_map(params_from_iter(condition.params), |row| {
        let place = Cursor { value: Value::Text(row.get(1)?), number: row.get(0)? };
        Ok(Item { cursor: place.write(List::Identities), node: snapshot::column(row, 2)? })
    })?;
    Ok(Page::of(items.collect::<rusqlite::Result<_>>()?, &query.window, total))
}
