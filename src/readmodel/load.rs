//! Tells the catalog and an observer of every stored state when the read model is opened: organizations,
//! workspaces, identities, then keys, with several threads that take stretches of rows from a common counter. The
//! observer is told at once, the catalog in the order of rows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use keyledger_projections::{IdentityState, OrganizationState, WorkspaceState};
use rusqlite::{Connection, Result};
use serde::de::DeserializeOwned;

use super::catalog::{Catalog, Facts};
use super::keys::KeyRow;
use super::{Observer, schema, snapshot};

/// Stretches of rows; enough that no thread waits long for the last one.
const STRETCHES: i64 = 128;

/// Tells of everything, and returns how many keys there are.
pub(super) fn all(path: &Path, catalog: &Catalog, observer: &dyn Observer) -> Result<u64> {
    let connection = schema::reading(path)?;
    each(&connection, "SELECT state FROM organizations ORDER BY seq", |state: OrganizationState| {
        observer.organization(&state);
    })?;
    each(&connection, "SELECT state FROM workspaces ORDER BY seq", |state: WorkspaceState| {
        observer.workspace(&state);
    })?;
    each(&connection, "SELECT state FROM identities ORDER BY seq", |state: IdentityState| {
        observer.identity(None, &state);
    })?;
    let (first, last): (i64, i64) = connection.query_row(
        "SELECT coalesce(min(seq), 0), coalesce(max(seq), -1) FROM keys",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;

    let stretch = (last - first) / STRETCHES + 1;
    let next = AtomicI64::new(first);
    let told = AtomicU64::new(0);
    let in_order = InOrder { catalog, stretch, waiting: Mutex::new((first, BTreeMap::new())) };
    let work = || -> Result<()> {
        let connection = schema::reading(path)?;
        loop {
            let from = next.fetch_add(stretch, Ordering::Relaxed);
            if from > last {
                return Ok(());
            }
            let facts = keys(&connection, from, from + stretch, observer)?;
            let count = facts.len() as u64;
            in_order.add(from, facts);
            told.fetch_add(count, Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    Ok(told.into_inner())
}

/// Tells the observer of a stretch of keys.
fn keys(connection: &Connection, from: i64, to: i64, observer: &dyn Observer) -> Result<Vec<Facts>> {
    let mut statement = connection.prepare_cached(
        "SELECT k.seq, k.state, u.usage FROM keys k LEFT JOIN key_usage u ON u.seq = k.seq \
         WHERE k.seq >= ?1 AND k.seq < ?2 ORDER BY k.seq",
    )?;
    let facts = statement.query_map([from, to], |row| {
        let KeyRow { seq, state, usage } = KeyRow::of(row)?;
        observer.key(None, &state);
        Ok(Facts::of(seq.cast_signed(), &state, usage.map(|usage| usage.last_at)))
    })?;
    facts.collect()
}

/// Adds stretches to the catalog in their order, whichever is ready first.
struct InOrder<'a> {
    catalog: &'a Catalog,
    stretch: i64,
    /// The stretch that is next, and those beyond that are ready.
    waiting: Mutex<(i64, BTreeMap<i64, Vec<Facts>>)>,
}

impl InOrder<'_> {
    fn add(&self, from: i64, facts: Vec<Facts>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, ready) = &mut *waiting;
        ready.insert(from, facts);
        while let Some(facts) = ready.remove(next) {
            for facts in &facts {
                self.catalog.keep(facts);
            }
            *next += self.stretch;
        }
    }
}

fn each<T: DeserializeOwned>(connection: &Connection, sql: &str, mut tell: impl FnMut(T)) -> Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        tell(snapshot::column(row, 0)?);
    }
    Ok(())
}
