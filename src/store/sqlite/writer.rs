//! The one thread that writes: it commits whatever is waiting as one transaction and answers all of it
//! after the commit.
//!
//! Invariants: no answer and no event leaves before the commit has returned. An append that conflicts
//! costs the others in its transaction nothing. When a commit fails, all in it are told that the outcome
//! is unknown, and nothing is written until the log is opened again. After a rollback the cached heads
//! of streams are forgotten.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use tokio::sync::{oneshot, watch};

use super::failure::describe;
use super::queue::{AbandonOnPanic, Queue};
use super::reader::Log;
use super::row::{COLUMNS, Checksum, Damage, Row};
use crate::store::{AppendError, Appended, Expected, NewEvent, Position, Recorded};

/// A transaction takes no more appends when it has this many …
const MAX_BATCH_APPENDS: usize = 1_024;
/// … or when their payloads exceed this many bytes.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The cache of stream heads is emptied when it has this many.
const MAX_HEADS: usize = 100_000;
/// The write-ahead log is copied into the database each time it has grown by this many pages.
const CHECKPOINT_PAGES: i32 = 4_096;

pub(super) type Answer = Result<Appended, AppendError>;

/// An append on its way to the writer.
pub(super) struct Append {
    pub(super) asked: Asked,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What an append asks for; its limits have been checked.
pub(super) struct Asked {
    pub(super) stream: Arc<str>,
    pub(super) expected: Expected,
    pub(super) events: Vec<NewEvent>,
}

impl Asked {
    fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.bytes.len()).sum()
    }
}

/// What the writer thread owns.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) directory: PathBuf,
    pub(super) min_free_bytes: u64,
    pub(super) log: Arc<Log>,
    pub(super) head: watch::Sender<u64>,
    pub(super) stopped: Arc<OnceLock<Arc<str>>>,
    pub(super) commits: Arc<AtomicU64>,
    /// Pages in the write-ahead log, as SQLite reports after each commit.
    pub(super) wal_pages: Arc<AtomicI32>,
    pub(super) wal_pages_checkpointed: i32,
    pub(super) checksum: Checksum,
    /// The last revision of streams written lately.
    pub(super) heads: HashMap<Arc<str>, u64>,
}

/// What stands between the events of a transaction and its commit.
enum Failure {
    Engine(rusqlite::Error),
    Damaged(Damage),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

impl Writer {
    /// Works until the queue is closed and empty, then gives the connection back.
    pub(super) fn run(mut self, queue: &Queue<Append>) -> Connection {
        let _guard = AbandonOnPanic(queue);
        let mut batch = Vec::new();
        loop {
            let mut bytes = 0;
            let mut appends = 0;
            queue.pop_while(&mut batch, |append| {
                bytes += append.asked.bytes();
                appends += 1;
                bytes <= MAX_BATCH_BYTES && appends <= MAX_BATCH_APPENDS
            });
            if batch.is_empty() {
                return self.connection;
            }
            self.serve(&mut batch);
        }
    }

    fn serve(&mut self, batch: &mut Vec<Append>) {
        let (asked, askers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|append| (append.asked, append.answer)).unzip();
        let answers = match self.refusal() {
            Some(refusal) => Err(refusal),
            None => self.commit(asked),
        };
        match answers {
            Ok(answers) => {
                for (asker, answer) in askers.into_iter().zip(answers) {
                    let _ = asker.send(answer);
                }
            }
            Err(error) => {
                for asker in askers {
                    let _ = asker.send(Err(error.clone()));
                }
            }
        }
        self.checkpoint_when_due();
    }

    /// Why nothing is written now, if so.
    fn refusal(&self) -> Option<AppendError> {
        if let Some(why) = self.stopped.get() {
            return Some(AppendError::Unavailable(Arc::clone(why)));
        }
        // When the system cannot tell, the write itself will.
        let disk = rustix::fs::statvfs(&self.directory).ok()?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        (free < self.min_free_bytes).then(|| {
            let why = format!(
                "the disk of the data directory has {} MiB of free space left and {} MiB are kept in reserve; \
                 free some space, writing then goes on by itself",
                free >> 20,
                self.min_free_bytes >> 20
            );
            AppendError::Unavailable(why.into())
        })
    }

    /// Writes the appends in one transaction. An error is the answer to all of them.
    fn commit(&mut self, batch: Vec<Asked>) -> Result<Vec<Answer>, AppendError> {
        if self.heads.len() > MAX_HEADS {
            self.heads.clear();
        }
        let mut recorded = Vec::with_capacity(batch.len());
        let answers = match self.write(batch, &mut recorded) {
            Ok(answers) => answers,
            Err(failure) => return Err(self.give_up(&failure)),
        };
        if recorded.is_empty() {
            self.roll_back()?;
            return Ok(answers);
        }
        if let Err(error) = self.execute("COMMIT") {
            let why: Arc<str> = format!("the commit failed: {}", describe(&error)).into();
            self.heads.clear();
            self.stop(&why);
            return Err(AppendError::OutcomeUnknown(why));
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        let head = *self.head.borrow() + recorded.len() as u64;
        self.log.tail.push(recorded);
        self.head.send_replace(head);
        Ok(answers)
    }

    fn write(&mut self, batch: Vec<Asked>, recorded: &mut Vec<Recorded>) -> Result<Vec<Answer>, Failure> {
        let mut answers = Vec::with_capacity(batch.len());
        self.execute("BEGIN IMMEDIATE")?;
        let Self { connection, heads, checksum, head, .. } = self;
        let mut position = *head.borrow();
        let mut insert = connection.prepare_cached(
            "INSERT INTO events (position, stream, revision, id, type, sum, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        for Asked { stream, expected, events } in batch {
            let current = last_revision(connection, heads, &stream)?;
            if Expected::after(current) != expected {
                let found = retried(connection, checksum, &stream, current, expected, &events)?;
                answers.push(found.ok_or(AppendError::Conflict { current }));
                continue;
            }
            let mut revision = expected.first_revision();
            for NewEvent { id, event_type, bytes } in events {
                position += 1;
                let sum = checksum.of(&stream, revision, id, &event_type, &bytes);
                insert.execute(params![
                    position.cast_signed(),
                    &*stream,
                    revision.cast_signed(),
                    id.as_bytes(),
                    &*event_type,
                    sum,
                    &*bytes,
                ])?;
                let position = Position::from_raw(position);
                recorded.push(Recorded {
                    position,
                    stream: Arc::clone(&stream),
                    revision,
                    id,
                    event_type,
                    bytes,
                });
                revision += 1;
            }
            let revision = revision - 1;
            answers.push(Ok(Appended { revision, position: Position::from_raw(position) }));
            heads.insert(stream, revision);
        }
        Ok(answers)
    }

    /// Undoes a transaction that cannot be committed. A full disk passes; anything else stops the writer.
    fn give_up(&mut self, failure: &Failure) -> AppendError {
        self.heads.clear();
        if let Err(error) = self.roll_back() {
            return error;
        }
        let why: Arc<str> = match failure {
            Failure::Engine(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => {
                    let why = "the disk is full; free some space, writing then goes on by itself";
                    return AppendError::Unavailable(why.into());
                }
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    let why = "another program has locked the log; close it, writing then goes on by itself";
                    return AppendError::Unavailable(why.into());
                }
                _ => format!("writing failed: {}", describe(error)).into(),
            },
            Failure::Damaged(Damage { position, what }) => {
                format!("the log is damaged at position {position}: {what}").into()
            }
        };
        self.stop(&why);
        AppendError::Unavailable(why)
    }

    fn roll_back(&self) -> Result<(), AppendError> {
        // SQLite has rolled back by itself after some errors.
        if !self.connection.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            let why: Arc<str> = format!("undoing a failed write failed: {}", describe(&error)).into();
            self.stop(&why);
            return Err(AppendError::Unavailable(why));
        }
        Ok(())
    }

    /// Ends all writing until the log is opened again, and leaves its files as they are.
    fn stop(&self, why: &Arc<str>) {
        tracing::error!(%why, "the event store has stopped taking appends; restart to check the log and go on");
        let _ = self.stopped.set(Arc::clone(why));
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    fn checkpoint_when_due(&mut self) {
        let pages = self.wal_pages.load(Ordering::Relaxed);
        if pages < self.wal_pages_checkpointed {
            // It has been started over.
            self.wal_pages_checkpointed = 0;
        }
        if self.stopped.get().is_some() || pages - self.wal_pages_checkpointed < CHECKPOINT_PAGES {
            return;
        }
        self.wal_pages_checkpointed = pages;
        match self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            Ok(()) => {}
            // Nothing is lost: the write-ahead log keeps what could not be copied.
            Err(error)
                if matches!(
                    error.sqlite_error_code(),
                    Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy)
                ) =>
            {
                tracing::warn!(
                    why = describe(&error),
                    "the write-ahead log could not be copied into the database"
                );
            }
            // After a failed sync nobody knows what is on the disk.
            Err(error) => {
                self.stop(&format!("copying the write-ahead log failed: {}", describe(&error)).into());
            }
        }
    }

    fn execute(&self, statement: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(statement)?.execute([]).map(|_| ())
    }
}

fn last_revision(
    connection: &Connection,
    heads: &mut HashMap<Arc<str>, u64>,
    stream: &Arc<str>,
) -> Result<Option<u64>, Failure> {
    if let Some(revision) = heads.get(stream) {
        return Ok(Some(*revision));
    }
    let sql = "SELECT revision FROM events WHERE stream = ?1 ORDER BY revision DESC LIMIT 1";
    let found: Option<i64> =
        connection.prepare_cached(sql)?.query_row([&**stream], |row| row.get(0)).optional()?;
    let found = found.map(i64::cast_unsigned);
    if let Some(revision) = found {
        heads.insert(Arc::clone(stream), revision);
    }
    Ok(found)
}

/// The first answer, if these very events already stand after the expected revision.
fn retried(
    connection: &Connection,
    checksum: &mut Checksum,
    stream: &str,
    current: Option<u64>,
    expected: Expected,
    events: &[NewEvent],
) -> Result<Option<Appended>, Failure> {
    let Some(current) = current else { return Ok(None) };
    if matches!(expected, Expected::Exact(revision) if revision >= current) {
        return Ok(None);
    }
    let first = expected.first_revision();
    let last = first + events.len() as u64 - 1;
    if last > current {
        return Ok(None);
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE stream = ?1 AND revision BETWEEN ?2 AND ?3 ORDER BY revision"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![stream, first.cast_signed(), last.cast_signed()])?;
    let mut found = None;
    for event in events {
        let Some(row) = rows.next()? else { return Ok(None) };
        let row = Row::read(row, checksum).map_err(Failure::Damaged)?;
        if row.id != event.id {
            return Ok(None);
        }
        found = Some(Appended { revision: row.revision, position: Position::from_raw(row.position) });
    }
    Ok(found)
}
