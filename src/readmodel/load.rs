//! Tells an observer of every stored state when the read model is opened: organizations, workspaces,
//! then keys, with several threads that take stretches of rows from a common counter.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use keyledger_projections::{KeyState, OrganizationState, WorkspaceState};
use rusqlite::{Connection, Result};
use serde::de::DeserializeOwned;

use super::{Observer, schema, snapshot};

/// Stretches of rows; enough that no thread waits long for the last one.
const STRETCHES: i64 = 128;

/// Tells of everything, and returns how many keys there are.
pub(super) fn all(path: &Path, observer: &dyn Observer) -> Result<u64> {
    let connection = schema::reading(path)?;
    each(&connection, "SELECT state FROM organizations ORDER BY seq", [], |state: OrganizationState| {
        observer.organization(&state);
    })?;
    each(&connection, "SELECT state FROM workspaces ORDER BY seq", [], |state: WorkspaceState| {
        observer.workspace(&state);
    })?;
    let (first, last): (i64, i64) = connection.query_row(
        "SELECT coalesce(min(seq), 0), coalesce(max(seq), -1) FROM keys",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;

    let stretch = (last - first) / STRETCHES + 1;
    let next = AtomicI64::new(first);
    let told = AtomicU64::new(0);
    let work = || -> Result<()> {
        let connection = schema::reading(path)?;
        loop {
            let from = next.fetch_add(stretch, Ordering::Relaxed);
            if from > last {
                return Ok(());
            }
            let sql = "SELECT state FROM keys WHERE seq >= ?1 AND seq < ?2";
            let count = each(&connection, sql, [from, from + stretch], |state: KeyState| {
                observer.key(None, &state);
            })?;
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

fn each<T: DeserializeOwned>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    mut tell: impl FnMut(T),
) -> Result<u64> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        tell(snapshot::column(row, 0)?);
        count += 1;
    }
    Ok(count)
}
