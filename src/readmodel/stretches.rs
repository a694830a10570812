//! Where in the log the entries of a query stand, for whoever reads all of them: stretches of the log that are worth
//! reading at once, rather than entries one by one.
//!
//! Invariant: one call looks at a bounded part of the log, however few entries it finds.

use std::collections::VecDeque;

use keyledger_schema::codec::Outcome;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::entries::EntryQuery;
use super::pool::Failure;
use super::rows;
use crate::store::Position;

/// The most entries that one call finds.
const MAX_FOUND: usize = 8_192;
/// The most places of the log that one call looks at.
const MAX_LOOKED_AT: u64 = 131_072;
/// Entries with fewer events between them are read together: these cost less than another read.
const MAX_GAP: u64 = 32;

/// Which entries, and where to look for them. Of the entries' query, window, sequence and count mean nothing.
#[derive(Clone, Debug)]
pub struct StretchQuery {
    /// Which ones.
    pub entries: EntryQuery,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// From this log index on.
    pub from: u64,
    /// Before this log index.
    pub end: u64,
}

/// A part of the log that holds some of the entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// The event right before it; none at the start of the log.
    pub after: Option<Position>,
    /// The log index of its first event.
    pub first: u64,
    /// How many events it has.
    pub count: u64,
    /// The log indexes of the entries in it, rising.
    pub wanted: VecDeque<u64>,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// In log order.
    pub stretches: VecDeque<Stretch>,
    /// What comes before this log index was looked at.
    pub through: u64,
}

/// Looks for entries.
pub(super) fn find(connection: &Connection, query: &StretchQuery) -> Result<Found, Failure> {
    let window = query.end.min(query.from.saturating_add(MAX_LOOKED_AT));
    if query.from >= window || query.entries.workspaces.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Found { stretches: VecDeque::new(), through: query.end });
    }
    let (index, mut condition) = (query.entries.index(), query.entries.condition());
    if let Some(outcome) = query.outcome {
        let outcome = condition.bind(rows::outcome(outcome));
        condition.and(&format!("outcome = {outcome}"));
    }
    let (from, to) = (condition.bind(query.from.cast_signed()), condition.bind(window.cast_signed()));
    condition.and(&format!("log_index >= {from} AND log_index < {to}"));
    // Without further conditions the index alone answers this: no row is looked up.
    let sql = format!(
        "SELECT log_index FROM entries INDEXED BY {index} WHERE {} ORDER BY log_index LIMIT {MAX_FOUND}",
        condition.sql,
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(condition.params))?;
    let mut stretches: VecDeque<Stretch> = VecDeque::new();
    let mut count = 0;
    let mut last = 0;
    while let Some(row) = found.next()? {
        let number = row.get::<_, i64>(0)?.cast_unsigned();
        match stretches.back_mut() {
            Some(stretch) if number - last <= MAX_GAP => {
                stretch.count = number - stretch.first + 1;
                stretch.wanted.push_back(number);
            }
            _ => stretches.push_back(Stretch {
                after: before(connection, number)?,
                first: number,
                count: 1,
                wanted: VecDeque::from([number]),
            }),
        }
        last = number;
        count += 1;
    }
    let through = if count == MAX_FOUND { last + 1 } else { window };
    Ok(Found { stretches, through })
}

/// The position of the event right before a log index.
fn before(connection: &Connection, log_index: u64) -> Result<Option<Position>, Failure> {
    let Some(index) = log_index.checked_sub(1) else { return Ok(None) };
    let position: Option<i64> = connection
        .prepare_cached("SELECT position FROM entries WHERE log_index = ?1")?
        .query_row([index.cast_signed()], |row| row.get(0))
        .optional()?;
    // Log indexes have no gaps.
    let position = position.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    Ok(Some(Position::from_raw(position.cast_unsigned())))
}
