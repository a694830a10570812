//! What the SQLite store does when its files, its disk or its neighbours misbehave.

#![allow(clippy::unwrap_used, reason = "a test may stop where it is surprised")]

#[path = "store_sqlite/damage.rs"]
mod damage;
#[path = "store_sqlite/faults.rs"]
mod faults;
#[path = "store_sqlite/model.rs"]
mod model;
#[path = "store_sqlite/opening.rs"]
mod opening;

use std::path::{Path, PathBuf};
use std::time::Duration;

use keyledger::store::sqlite::{OpenError, Options, SqliteStore};
use keyledger::store::{AppendError, Appended, EventStore, Expected, Filter, NewEvent, Recorded};
use uuid::Uuid;

/// Waits on this thread, and no longer than a minute, so that a lost answer is a failure.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_mins(1), future).await.unwrap() })
}

fn event(id: u64) -> NewEvent {
    let bytes = format!("payload of event {id:016} ").repeat(20);
    NewEvent {
        id: Uuid::from_u128(id.into()),
        event_type: "thing.happened".into(),
        bytes: bytes.into_bytes().into(),
    }
}

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(directory, Options::default()).unwrap()
}

/// Why the log is not opened.
fn refusal(directory: &Path) -> OpenError {
    match SqliteStore::open(directory, Options::default()) {
        Ok(_) => panic!("the log was opened"),
        Err(error) => error,
    }
}

fn append(
    store: &SqliteStore,
    stream: &str,
    expected: Expected,
    ids: &[u64],
) -> Result<Appended, AppendError> {
    wait(store.append(stream, expected, ids.iter().copied().map(event).collect()))
}

fn everything(store: &SqliteStore) -> Vec<Recorded> {
    wait(store.read_all(None, Filter::All, usize::MAX)).unwrap()
}

/// A log with events 0 to `count`, one commit each, in three streams by turns.
fn filled(directory: &Path, count: u64) -> SqliteStore {
    let store = open(directory);
    for id in 0..count {
        let expected = Expected::after((id / 3).checked_sub(1));
        append(&store, &format!("stream-{}", id % 3), expected, &[id]).unwrap();
    }
    store
}

fn log(directory: &Path) -> PathBuf {
    directory.join("events.db")
}

/// Copies the files of a log that is in use: what a crash would leave.
fn crashed(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in ["events.db", "events.db-wal"] {
        std::fs::copy(directory.join(file), copy.path().join(file)).unwrap();
    }
    copy
}
