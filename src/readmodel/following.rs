//! Entries as they come: what each follower has not seen yet, and when there is something to look for.
//!
//! The thread that follows the log notes for each organization where its newest entry stands. A follower compares
//! that with its own place, in memory, and reads the tables only where there is something new: a busy tenant does
//! not wake the followers of a quiet one, and nobody scans the log.
//!
//! Invariants: a follower is handed entries in log order, each once, and none before it is applied. Its place moves
//! over what it was shown and what its filter leaves out, never over what was not looked at.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use keyledger_schema::OrganizationId;
use rusqlite::{Connection, params_from_iter};

use super::cursor::Cursor;
use super::entries::{self, COLUMNS, Entry, EntryQuery};
use super::fact::Fact;
use super::pool::Failure;
use super::{QueryError, ReadModel, page};

/// So much of the log is looked at in one query at most: a rare type in a long log takes several.
const STRETCH: u64 = 65_536;

/// Where the newest entry of each organization stands that has one since the start.
#[derive(Default)]
pub(super) struct Newest(RwLock<HashMap<OrganizationId, u64>>);

impl Newest {
    /// Takes over entries that are applied; the first of them has this number.
    pub(super) fn note(&self, first: u64, facts: &[Fact]) {
        let mut newest = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (number, fact) in (first..).zip(facts) {
            if let Some(organization) = fact.organization {
                newest.insert(organization, number);
            }
        }
    }

    fn of(&self, organization: OrganizationId) -> Option<u64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&organization).copied()
    }
}

/// Where a follower stands: every entry whose number is below this one was shown to it, or left out by its filter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mark(u64);

impl Mark {
    /// Before the first entry.
    pub const START: Self = Self(0);

    /// As a cursor of lists of entries: what follows on it is what the follower has not seen. None at the very
    /// start, which no cursor names.
    pub fn cursor(self) -> Option<String> {
        self.0.checked_sub(1).map(entries::cursor)
    }

    /// Right after an entry.
    pub const fn after(entry: &Entry) -> Self {
        Self(entry.log_index + 1)
    }
}

/// What a follower is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Followed {
    /// In log order, at most as many as were asked for.
    pub entries: Vec<Entry>,
    /// From here it goes on.
    pub mark: Mark,
    /// Whether that is the end of what is applied: there is nothing more for now.
    pub at_end: bool,
}

/// The cursor of an entry, as lists of entries have it.
pub fn cursor_of(entry: &Entry) -> String {
    entries::cursor(entry.log_index)
}

impl ReadModel {
    /// Right after the newest entry that is applied.
    pub fn now(&self) -> Mark {
        Mark(self.entries_count())
    }

    /// The place right after the entry that a cursor of a list of entries names.
    pub fn mark(&self, cursor: &str) -> Result<Mark, QueryError> {
        let place = Cursor::read(cursor, super::cursor::List::Entries).map_err(|_| QueryError::Cursor)?;
        let number = u64::try_from(place.number).map_err(|_| QueryError::Cursor)?;
        number.checked_add(1).map(Mark).ok_or(QueryError::Cursor)
    }

    /// The next entries that pass a query, whose own sequence and window do not count here.
    pub async fn follow(&self, query: EntryQuery, from: Mark, max: usize) -> Result<Followed, QueryError> {
        let end = self.entries_count();
        let newest = self.shared.newest.of(query.organization);
        // A place beyond the end was given out before the log was put back to an earlier state: wait for what comes.
        if from.0 >= end || newest.is_some_and(|newest| newest < from.0) {
            return Ok(Followed { entries: Vec::new(), mark: Mark(from.0.max(end)), at_end: true });
        }
        let to = end.min(from.0.saturating_add(STRETCH));
        let max = max.min(page::MAX_PAGE);
        let found = self.lists.read(move |connection| stretch(connection, &query, from.0, to, max)).await?;
        let mark = if found.len() == max { found.last().map_or(Mark(to), Mark::after) } else { Mark(to) };
        Ok(Followed { entries: found, mark, at_end: mark.0 >= end })
    }

    /// Waits until an organization may have entries from a place on, or the projection stopped; at most so long.
    pub async fn wait_for_entries(&self, organization: OrganizationId, from: Mark, patience: Duration) {
        let news = || self.shared.newest.of(organization).is_some_and(|newest| newest >= from.0);
        if news() {
            return;
        }
        let mut standing = self.shared.standing.subscribe();
        let settled = standing.wait_for(|standing| news() || standing.stopped.is_some());
        let _ = tokio::time::timeout(patience, settled).await;
    }
}

/// The first entries of a stretch of the log that pass a query.
fn stretch(
    connection: &Connection,
    query: &EntryQuery,
    from: u64,
    to: u64,
    max: usize,
) -> Result<Vec<Entry>, Failure> {
    if query.workspaces.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let index = query.index();
    let mut condition = query.condition();
    let (from, to) = (condition.bind(from.cast_signed()), condition.bind(to.cast_signed()));
    condition.and(&format!("log_index >= {from} AND log_index < {to}"));
    let sql = format!(
        "SELECT {COLUMNS} FROM entries INDEXED BY {index} WHERE {} ORDER BY log_index LIMIT {max}",
        condition.sql
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(params_from_iter(condition.params), entries::entry)?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}
