//! Reading the log, over connections that cannot write: two threads for whatever may take long, and
//! one connection at hand for the few events of a stream that a command needs. Those come from the page
//! cache in less time than it takes to wake another thread, so the asking thread reads them itself.
//!
//! Invariants: nothing beyond the announced head is delivered, so no reader is ahead of durability;
//! every row's checksum is compared, also of those that a filter leaves out; a missing position or
//! revision is damage, never a shorter answer. A reader never waits for the writer.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use rusqlite::{Connection, ErrorCode, params};
use tokio::sync::oneshot;

use super::failure::describe;
use super::queue::{AbandonOnPanic, Queue};
use super::row::{COLUMNS, Checksum, Damage, Row};
use super::tail::Tail;
use super::{OpenError, schema};
use crate::store::feed::{PAGE_BYTES, PAGE_EVENTS, Page, Pages};
use crate::store::{Direction, Filter, Position, ReadError, Recorded};

const THREADS: usize = 2;
/// How many events the asking thread reads by itself.
const AT_ONCE: usize = 64;
/// How many names of types each thread shares among the events it reads.
const SHARED_NAMES: usize = 512;

type Job = Box<dyn FnOnce(&mut Session) + Send>;

/// The log as readers and subscriptions see it.
pub(super) struct Log {
    pub(super) tail: Tail,
    jobs: Queue<Job>,
    at_hand: Mutex<Option<Session>>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { tail: Tail::default(), jobs: Queue::new(), at_hand: Mutex::default() }
    }

    /// Opens the connections and starts the threads, which end after [`Log::close`].
    pub(super) fn start(self: &Arc<Self>, path: &Path) -> Result<Vec<JoinHandle<()>>, OpenError> {
        *self.at_hand.lock().unwrap_or_else(PoisonError::into_inner) = Some(Session::open(path)?);
        (0..THREADS)
            .map(|number| {
                let mut session = Session::open(path)?;
                let log = Arc::clone(self);
                let work = move || {
                    let _guard = AbandonOnPanic(&log.jobs);
                    while let Some(job) = log.jobs.pop() {
                        job(&mut session);
                    }
                };
                thread::Builder::new()
                    .name(format!("log reader {number}"))
                    .spawn(work)
                    .map_err(|error| OpenError::io(path, error))
            })
            .collect()
    }

    pub(super) fn close(&self) {
        self.jobs.close();
        *self.at_hand.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Up to `max` events of a stream, none beyond `head`.
    pub(super) fn stream(
        &self,
        stream: Arc<str>,
        from: Option<u64>,
        direction: Direction,
        max: usize,
        head: u64,
    ) -> BoxFuture<'static, Result<Vec<Recorded>, ReadError>> {
        let Ok(mut at_hand) = self.at_hand.try_lock() else {
            return self.ask(move |session| session.stream(&stream, from, direction, max, head));
        };
        let Some(session) = at_hand.as_mut() else {
            return ready(Err(closed())).boxed();
        };
        let read = session.stream(&stream, from, direction, max.min(AT_ONCE), head);
        drop(at_hand);
        let next = match &read {
            Ok(events) if events.len() == AT_ONCE && max > AT_ONCE => {
                events.last().and_then(|last| match direction {
                    Direction::Forward => last.revision.checked_add(1),
                    Direction::Backward => last.revision.checked_sub(1),
                })
            }
            _ => None,
        };
        let Some(next) = next else {
            return ready(read).boxed();
        };
        let rest =
            self.ask(move |session| session.stream(&stream, Some(next), direction, max - AT_ONCE, head));
        async move {
            let mut events = read?;
            events.append(&mut rest.await?);
            Ok(events)
        }
        .boxed()
    }

    fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Session) -> Result<T, ReadError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, ReadError>> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            // Nobody waits any more for an answer that was given up.
            if !answer.is_closed() {
                let _ = answer.send(read(session));
            }
        });
        let accepted = self.jobs.push(job).is_ok();
        async move {
            if !accepted {
                return Err(closed());
            }
            answered.await.unwrap_or_else(|_| Err(closed()))
        }
        .boxed()
    }
}

impl Pages for Log {
    fn page(
        &self,
        after: u64,
        head: u64,
        filter: &Arc<Filter>,
        max: usize,
    ) -> BoxFuture<'static, Result<Page, ReadError>> {
        if let Some(page) = self.tail.page(after, head, filter, max) {
            return ready(Ok(page)).boxed();
        }
        let filter = Arc::clone(filter);
        self.ask(move |session| session.page(after, head, &filter, max))
    }
}

fn closed() -> ReadError {
    ReadError::Unavailable("the store is closed".into())
}

/// A connection, and what helps reading over it.
struct Session {
    connection: Connection,
    checksum: Checksum,
    types: HashSet<Arc<str>>,
}

impl Session {
    fn open(path: &Path) -> Result<Self, OpenError> {
        let connection = schema::reading(path).map_err(|error| OpenError::engine(path, &error))?;
        Ok(Self { connection, checksum: Checksum::new(), types: HashSet::new() })
    }

    fn page(&mut self, after: u64, head: u64, filter: &Filter, max: usize) -> Result<Page, ReadError> {
        let last = head.min(after.saturating_add(PAGE_EVENTS as u64));
        let mut page = Page { events: Vec::new(), through: after };
        match self.fill(&mut page, last, filter, max) {
            // What comes before the damage is delivered; asking again meets the damage.
            Err(_) if page.through > after => Ok(page),
            Err(error) => Err(error),
            Ok(()) => Ok(page),
        }
    }

    fn fill(&mut self, page: &mut Page, last: u64, filter: &Filter, max: usize) -> Result<(), ReadError> {
        let sql = format!("SELECT {COLUMNS} FROM events WHERE position BETWEEN ?1 AND ?2 ORDER BY position");
        let Self { connection, checksum, types } = self;
        let next = page.through + 1;
        let engine = |error: &rusqlite::Error, position| engine_error(error, Some(position));
        let mut statement = connection.prepare_cached(&sql).map_err(|error| engine(&error, next))?;
        let range = params![next.cast_signed(), last.cast_signed()];
        let mut rows = statement.query(range).map_err(|error| engine(&error, next))?;
        let mut bytes = 0;
        while page.through < last && page.events.len() < max && bytes < PAGE_BYTES {
            let expected = page.through + 1;
            let Some(row) = rows.next().map_err(|error| engine(&error, expected))? else {
                return Err(Damage::missing(expected).into());
            };
            let row = Row::read(row, checksum)?;
            if row.position != expected {
                return Err(Damage::missing(expected).into());
            }
            if filter.passes(row.event_type) {
                bytes += row.bytes.len();
                let stream = match page.events.last() {
                    Some(previous) if *previous.stream == *row.stream => Arc::clone(&previous.stream),
                    _ => Arc::from(row.stream),
                };
                page.events.push(row.record(stream, shared(types, row.event_type)));
            }
            page.through = expected;
        }
        Ok(())
    }

    fn stream(
        &mut self,
        stream: &Arc<str>,
        from: Option<u64>,
        direction: Direction,
        max: usize,
        head: u64,
    ) -> Result<Vec<Recorded>, ReadError> {
        // The plus keeps the planner from walking the log by position.
        let sql = match direction {
            Direction::Forward => format!(
                "SELECT {COLUMNS} FROM events INDEXED BY events_by_stream
                 WHERE stream = ?1 AND revision >= ?2 AND +position <= ?3 ORDER BY revision LIMIT ?4"
            ),
            Direction::Backward => format!(
                "SELECT {COLUMNS} FROM events INDEXED BY events_by_stream
                 WHERE stream = ?1 AND revision <= ?2 AND +position <= ?3 ORDER BY revision DESC LIMIT ?4"
            ),
        };
        let from = match direction {
            Direction::Forward => from.unwrap_or(0),
            Direction::Backward => from.unwrap_or(u64::MAX),
        };
        let Self { connection, checksum, types } = self;
        let engine = |error| engine_error(&error, None);
        let mut statement = connection.prepare_cached(&sql).map_err(engine)?;
        let limit = i64::try_from(max).unwrap_or(i64::MAX);
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let mut rows =
            statement.query(params![&**stream, from, head.cast_signed(), limit]).map_err(engine)?;
        let mut events: Vec<Recorded> = Vec::new();
        while let Some(row) = rows.next().map_err(engine)? {
            let row = Row::read(row, checksum)?;
            let previous = events.last().map(|event| event.revision);
            if *row.stream != **stream
                || previous.is_some_and(|previous| previous.abs_diff(row.revision) != 1)
            {
                let what = format!("stream {stream}: an event next to revision {} is missing", row.revision);
                return Err(Damage { position: row.position, what }.into());
            }
            events.push(row.record(Arc::clone(stream), shared(types, row.event_type)));
        }
        Ok(events)
    }
}

/// One copy of each type's name.
fn shared(types: &mut HashSet<Arc<str>>, name: &str) -> Arc<str> {
    if let Some(known) = types.get(name) {
        return Arc::clone(known);
    }
    if types.len() >= SHARED_NAMES {
        types.clear();
    }
    let name: Arc<str> = Arc::from(name);
    types.insert(Arc::clone(&name));
    name
}

fn engine_error(error: &rusqlite::Error, position: Option<u64>) -> ReadError {
    let what = describe(error).into();
    match (error.sqlite_error_code(), position) {
        (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), Some(position)) => {
            ReadError::Damaged { position: Position::from_raw(position), what }
        }
        _ => ReadError::Unavailable(what),
    }
}
