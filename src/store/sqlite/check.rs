//! The check of the whole log when it is opened.
//!
//! What it establishes: positions are 1, 2, 3 … without a gap; every event matches its checksum; the
//! index of streams holds exactly the events of the table; the revisions of each stream are 0, 1, 2 …
//! without a gap. It reads everything once, on two threads, and repairs nothing.

use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rusqlite::{Connection, params};

use super::row::{COLUMNS, Checksum, Damage, Row, integer, text};
use super::{OpenError, Progress, failure, schema};

const THREADS: usize = 2;
/// Events in one piece of work.
const PIECE: u64 = 16_384;

/// Checks the log and gives the position of its last event; 0 when it is empty.
pub(super) fn check(path: &Path, progress: Option<&Progress>) -> Result<u64, OpenError> {
    let connection = schema::reading(path).map_err(|error| OpenError::engine(path, &error))?;
    let head = head(&connection).map_err(|flaw| flaw.into_error(path))?;
    drop(connection);
    let check = Check {
        path,
        head,
        progress,
        next_piece: AtomicU64::new(0),
        failed: AtomicBool::new(false),
        done: Mutex::new(0),
    };
    let sums = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| check.work())).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<_>, _>>()
    });
    let sums = sums.map_err(|flaw| flaw.into_error(path))?;
    let table = sums.iter().fold(0_u64, |sum, each| sum.wrapping_add(each.table));
    let index = sums.iter().fold(0_u64, |sum, each| sum.wrapping_add(each.index));
    if table != index {
        return Err(OpenError::damaged(path, "the index of streams does not match the events"));
    }
    Ok(head)
}

enum Flaw {
    Engine(rusqlite::Error),
    Event(Damage),
    Other(String),
}

impl From<rusqlite::Error> for Flaw {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<Damage> for Flaw {
    fn from(damage: Damage) -> Self {
        Self::Event(damage)
    }
}

impl Flaw {
    fn into_error(self, path: &Path) -> OpenError {
        match self {
            Self::Engine(error) => OpenError::engine(path, &error),
            Self::Event(Damage { position, what }) => {
                OpenError::damaged(path, format!("position {position}: {what}"))
            }
            Self::Other(what) => OpenError::damaged(path, what),
        }
    }
}

/// Position of the last row.
fn head(connection: &Connection) -> Result<u64, Flaw> {
    let bounds = "SELECT (SELECT min(position) FROM events), (SELECT max(position) FROM events)";
    let (first, last): (Option<i64>, Option<i64>) =
        connection.query_row(bounds, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    match (first, last) {
        (None, None) => Ok(0),
        (Some(1), Some(last)) if last > 0 => Ok(last.cast_unsigned()),
        (Some(first), _) if first <= 0 => Err(Flaw::Other("there is an event before position 1".to_owned())),
        _ => Err(Damage::missing(1).into()),
    }
}

struct Check<'a> {
    path: &'a Path,
    head: u64,
    progress: Option<&'a Progress>,
    /// Piece 0 is the index of streams; each other one is a range of positions.
    next_piece: AtomicU64,
    failed: AtomicBool,
    done: Mutex<u64>,
}

/// Sums over (stream, revision, position) of what one thread saw, equal for equal sets.
#[derive(Default)]
struct Sums {
    table: u64,
    index: u64,
}

impl Check<'_> {
    fn work(&self) -> Result<Sums, Flaw> {
        let result = self.pieces();
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    fn pieces(&self) -> Result<Sums, Flaw> {
        let connection = schema::reading(self.path)?;
        let mut checksum = Checksum::new();
        let mut sums = Sums::default();
        while !self.failed.load(Ordering::Relaxed) {
            let piece = self.next_piece.fetch_add(1, Ordering::Relaxed);
            let Some(number) = piece.checked_sub(1) else {
                sums.index = index(&connection)?;
                continue;
            };
            let first = number * PIECE + 1;
            if first > self.head {
                break;
            }
            let last = self.head.min(first + PIECE - 1);
            sums.table = sums.table.wrapping_add(table(&connection, &mut checksum, first, last)?);
            self.report(last - first + 1);
        }
        Ok(sums)
    }

    fn report(&self, checked: u64) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done += checked;
        if let Some(progress) = self.progress {
            progress(*done, self.head);
        }
    }
}

/// Checks the events from position `first` to `last`.
fn table(connection: &Connection, checksum: &mut Checksum, first: u64, last: u64) -> Result<u64, Flaw> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE position BETWEEN ?1 AND ?2 ORDER BY position");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![first.cast_signed(), last.cast_signed()])?;
    let mut expected = first;
    let mut sum = 0_u64;
    while let Some(row) = rows.next().map_err(|error| near(error, expected))? {
        let row = Row::read(row, checksum)?;
        if row.position != expected {
            return Err(Damage::missing(expected).into());
        }
        sum = sum.wrapping_add(place(row.stream, row.revision, row.position));
        expected += 1;
    }
    if expected <= last {
        return Err(Damage::missing(expected).into());
    }
    Ok(sum)
}

/// Checks that each stream's revisions are dense.
fn index(connection: &Connection) -> Result<u64, Flaw> {
    let sql =
        "SELECT stream, revision, position FROM events INDEXED BY events_by_stream ORDER BY stream, revision";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut stream = String::new();
    let mut expected = 0_u64;
    let mut sum = 0_u64;
    while let Some(row) = rows.next()? {
        let (Some(name), Some(revision), Some(position)) = (text(row, 0), integer(row, 1), integer(row, 2))
        else {
            return Err(Flaw::Other("the index of streams cannot be read".to_owned()));
        };
        if name != stream {
            name.clone_into(&mut stream);
            expected = 0;
        }
        if revision != expected {
            return Err(Flaw::Other(format!("stream {stream}: revision {expected} is missing")));
        }
        sum = sum.wrapping_add(place(name, revision, position));
        expected += 1;
    }
    Ok(sum)
}

fn place(stream: &str, revision: u64, position: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(stream.as_bytes());
    hasher.write_u64(revision);
    hasher.write_u64(position);
    hasher.finish()
}

/// Says where, when the database itself is malformed.
fn near(error: rusqlite::Error, position: u64) -> Flaw {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
            Damage { position, what: failure::describe(&error) }.into()
        }
        _ => error.into(),
    }
}
