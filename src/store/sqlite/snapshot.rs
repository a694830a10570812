//! The log as it is at one moment, read in place: for checks of it, whether a server runs or not.
//!
//! Invariants: nothing is written or repaired, and nothing that is appended meanwhile is seen. Checksums of rows are not
//! compared: whoever reads here compares hashes that an attacker cannot make.
//!
//! Where no server has the directory and the write-ahead log is empty, the file is read by itself, and SQLite makes no
//! other file beside it: a copy on read-only storage can be read so. Nobody is kept from writing, so whoever read tells
//! afterwards whether the file is [what it was](LogSnapshot::is_unchanged).

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::row::{integer, text};
use super::{OpenError, schema};

/// An event in the log.
#[derive(Clone, Copy, Debug)]
pub struct StoredEvent<'a> {
    /// The number of events before it.
    pub index: u64,
    /// The stream that it is stored under.
    pub stream: &'a str,
    /// The revision that it is stored under.
    pub revision: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What tells whether a file was written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp(u64, SystemTime);

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let about = std::fs::metadata(path).ok()?;
        Some(Self(about.len(), about.modified().ok()?))
    }
}

/// The log at one moment.
pub struct LogSnapshot {
    connection: Connection,
    path: PathBuf,
    /// What the file was when it was opened, where it is read by itself.
    alone: Option<Stamp>,
    log_id: Uuid,
    size: u64,
}

impl LogSnapshot {
    /// Of the log in a data directory.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = schema::log_file(directory);
        if !path.is_file() {
            return Err(OpenError::io(&path, std::io::ErrorKind::NotFound.into()));
        }
        let in_use = super::directory::is_in_use(directory);
        let unmerged = std::fs::metadata(directory.join("events.db-wal")).is_ok_and(|wal| wal.len() > 0);
        let failed = |error: rusqlite::Error| match OpenError::engine(&path, &error) {
            OpenError::Unreadable { .. } if unmerged && !in_use => OpenError::Unmerged { path: path.clone() },
            error => error,
        };
        let alone = if in_use || unmerged { None } else { Stamp::of(&path) };
        let connection = if alone.is_some() { schema::reading_alone(&path) } else { schema::reading(&path) };
        let connection = connection.map_err(failed)?;
        // What is read first fixes the moment.
        connection.execute_batch("BEGIN").map_err(failed)?;
        let log_id = schema::log_id(&connection).map_err(failed)?;
        let size: Option<i64> =
            connection.query_row("SELECT max(position) FROM events", [], |row| row.get(0)).map_err(failed)?;
        let size = size.map_or(0, i64::cast_unsigned);
        Ok(Self { connection, path, alone, log_id, size })
    }

    /// Whether what was read is the log of one moment. It is not when a server was started meanwhile on a directory that
    /// none had.
    pub fn is_unchanged(&self) -> bool {
        self.alone.is_none() || self.alone == Stamp::of(&self.path)
    }

    /// The random id of the log.
    pub const fn log_id(&self) -> Uuid {
        self.log_id
    }

    /// How many events there are.
    pub const fn size(&self) -> u64 {
        self.size
    }

    fn failed(&self, error: &rusqlite::Error) -> OpenError {
        OpenError::engine(&self.path, error)
    }

    /// Hands over all events in log order, until told to stop.
    pub fn events(&self, mut take: impl FnMut(StoredEvent<'_>) -> bool) -> Result<(), OpenError> {
        let failed = |error: rusqlite::Error| self.failed(&error);
        let sql = "SELECT position, stream, revision, bytes FROM events ORDER BY position";
        let mut statement = self.connection.prepare(sql).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut index = 0;
        while let Some(row) = rows.next().map_err(failed)? {
            let fields = (integer(row, 0), text(row, 1), integer(row, 2), super::row::blob(row, 3));
            let (Some(position), Some(stream), Some(revision), Some(bytes)) = fields else {
                return Err(OpenError::damaged(
                    &self.path,
                    format!("the event after position {index} cannot be read"),
                ));
            };
            if position != index + 1 {
                return Err(OpenError::damaged(
                    &self.path,
                    format!("position {}: the event is missing", index + 1),
                ));
            }
            if !take(StoredEvent { index, stream, revision, bytes }) {
                return Ok(());
            }
            index += 1;
        }
        Ok(())
    }

    /// The events of a stream up to a revision, in order.
    pub fn stream(&self, stream: &str, last: u64) -> Result<Vec<Vec<u8>>, OpenError> {
        let failed = |error: rusqlite::Error| self.failed(&error);
        let sql = "SELECT bytes FROM events WHERE stream = ?1 AND revision <= ?2 ORDER BY revision";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let events = statement
            .query_map(params![stream, last.cast_signed()], |row| row.get(0))
            .and_then(Iterator::collect);
        events.map_err(failed)
    }

    /// The events of a stream whose types begin so, in order.
    pub fn of_types(&self, stream: &str, beginning: &str) -> Result<Vec<Vec<u8>>, OpenError> {
        let failed = |error: rusqlite::Error| self.failed(&error);
        let sql = "SELECT bytes FROM events WHERE stream = ?1 AND substr(type, 1, length(?2)) = ?2 ORDER BY revision";
        let mut statement = self.connection.prepare(sql).map_err(failed)?;
        let events =
            statement.query_map(params![stream, beginning], |row| row.get(0)).and_then(Iterator::collect);
        events.map_err(failed)
    }

    /// The last event of a type in a stream, of those before a log index.
    pub fn last_of(&self, stream: &str, event_type: &str, before: u64) -> Result<Option<Vec<u8>>, OpenError> {
        let sql = "SELECT bytes FROM events WHERE stream = ?1 AND type = ?2 AND position <= ?3 \
                   ORDER BY revision DESC LIMIT 1";
        let bytes = self
            .connection
            .query_row(sql, params![stream, event_type, before.cast_signed()], |row| row.get(0))
            .optional();
        bytes.map_err(|error| self.failed(&error))
    }
}
