//! The event store in one SQLite file: the default, embedded one.
//!
//! One thread writes and commits whatever is waiting as one transaction ([`writer`]); two threads read
//! ([`reader`]); live subscribers are served from memory ([`tail`]). When a log is opened, everything in
//! it is checked: first the write-ahead log ([`wal`]), then each event ([`check`]).
//!
//! Invariants: an append is answered after its commit was synced, never before. Readers see nothing that
//! was not announced by the writer after such a commit. Damage is reported where it is met and never
//! repaired here. One process uses a data directory at a time ([`DataDirectory`]).

mod check;
mod directory;
mod failure;
mod queue;
mod reader;
mod row;
mod schema;
mod snapshot;
mod tail;
mod wal;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

pub use directory::DataDirectory;
pub use failure::OpenError;
pub use snapshot::{LogSnapshot, StoredEvent};

use self::queue::Queue;
use self::reader::Log;
use self::row::Checksum;
use self::writer::{Append, Asked, Writer};
use super::feed::{self, Feed};
use super::{
    AppendError, Appended, Capabilities, Direction, EventStore, Expected, Filter, NewEvent, Position,
    ReadError, Recorded, Subscription, request,
};

/// Told how many events have been checked, and of how many.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// How a log is opened.
#[derive(Clone)]
pub struct Options {
    /// Called now and then while the log is checked.
    pub progress: Option<Progress>,
    /// Appends are refused while the disk has less free space than this, in bytes. The default is
    /// 64 MiB: room for the largest transaction, its copy into the database, and the read model.
    pub min_free_bytes: u64,
    /// The most pages the file may have; beyond, SQLite reports a full disk. For tests and quotas.
    pub max_pages: Option<u32>,
    /// Fault injection: while true, every commit fails inside SQLite.
    #[doc(hidden)]
    pub refuse_commits: Option<Arc<AtomicBool>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { progress: None, min_free_bytes: 64 * 1024 * 1024, max_pages: None, refuse_commits: None }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("min_free_bytes", &self.min_free_bytes)
            .field("max_pages", &self.max_pages)
            .finish_non_exhaustive()
    }
}

/// A log in a SQLite file. Dropping it writes what is waiting, answers it, and closes the file.
pub struct SqliteStore {
    log: Arc<Log>,
    appends: Arc<Queue<Append>>,
    head: watch::Receiver<u64>,
    stopped: Arc<OnceLock<Arc<str>>>,
    commits: Arc<AtomicU64>,
    log_id: Uuid,
    writer: Option<JoinHandle<Connection>>,
    readers: Vec<JoinHandle<()>>,
    // Unlocked last, when no thread uses the files any more.
    directory: DataDirectory,
}

impl SqliteStore {
    /// Locks a data directory and opens its log; creates both when absent.
    pub fn open(data_dir: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_in(DataDirectory::lock(data_dir)?, options)
    }

    /// Opens the log of a data directory that this process has locked; creates it when absent. Checks
    /// all of it first, which reads the whole file.
    pub fn open_in(directory: DataDirectory, options: Options) -> Result<Self, OpenError> {
        schema::prepare(directory.path())?;
        let path = schema::log_file(directory.path());
        let engine = |error| OpenError::engine(&path, &error);
        let mut connection = schema::writing(&path, options.max_pages).map_err(engine)?;
        let log_id = schema::log_id(&connection).map_err(engine)?;
        let head = check::check(&path, options.progress.as_ref())?;

        let wal_pages = Arc::new(AtomicI32::new(0));
        watch_connection(&mut connection, &wal_pages, options.refuse_commits).map_err(engine)?;
        let log = Arc::new(Log::new());
        let (announced, head) = watch::channel(head);
        let mut store = Self {
            log: Arc::clone(&log),
            appends: Arc::new(Queue::new()),
            head,
            stopped: Arc::default(),
            commits: Arc::default(),
            log_id,
            writer: None,
            readers: Vec::new(),
            directory,
        };
        let writer = Writer {
            connection,
            directory: store.directory.path().to_owned(),
            min_free_bytes: options.min_free_bytes,
            log,
            head: announced,
            stopped: Arc::clone(&store.stopped),
            commits: Arc::clone(&store.commits),
            wal_pages,
            wal_pages_checkpointed: 0,
            checksum: Checksum::new(),
            heads: HashMap::new(),
        };
        let appends = Arc::clone(&store.appends);
        store.readers = store.log.start(&path)?;
        let work = move || writer.run(&appends);
        let thread = thread::Builder::new().name("log writer".to_owned()).spawn(work);
        store.writer = Some(thread.map_err(|error| OpenError::io(&path, error))?);
        Ok(store)
    }

    /// The data directory.
    pub fn directory(&self) -> &DataDirectory {
        &self.directory
    }

    /// How many transactions have been committed since the log was opened; for metrics.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}

fn watch_connection(
    connection: &mut Connection,
    wal_pages: &Arc<AtomicI32>,
    refuse_commits: Option<Arc<AtomicBool>>,
) -> rusqlite::Result<()> {
    let wal_pages = Arc::clone(wal_pages);
    connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
        wal_pages.store(pages, Ordering::Relaxed);
        Ok(())
    }))?;
    if let Some(refuse) = refuse_commits {
        connection.commit_hook(Some(move || refuse.load(Ordering::Relaxed)))?;
    }
    Ok(())
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // The writer first: it drains what is waiting. Its connection closes last, as the last one
        // copies the write-ahead log into the database and removes it.
        self.appends.close();
        let connection = self.writer.take().and_then(|writer| writer.join().ok());
        self.log.close();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        drop(connection);
    }
}

impl EventStore for SqliteStore {
    fn append(
        &self,
        stream: &str,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> BoxFuture<'static, Result<Appended, AppendError>> {
        if let Err(refusal) = request::check(stream, &events) {
            return ready(Err(refusal)).boxed();
        }
        if let Some(why) = self.stopped() {
            return ready(Err(AppendError::Unavailable(why))).boxed();
        }
        let (answer, answered) = oneshot::channel();
        let append = Append { asked: Asked { stream: Arc::from(stream), expected, events }, answer };
        if self.appends.push(append).is_err() {
            let why = "its writer has ended unexpectedly; restart to check the log and go on";
            return ready(Err(AppendError::Unavailable(why.into()))).boxed();
        }
        async move {
            let unanswered =
                |_| Err(AppendError::OutcomeUnknown("the writer ended without an answer".into()));
            answered.await.unwrap_or_else(unanswered)
        }
        .boxed()
    }

    fn read_stream(
        &self,
        stream: &str,
        from: Option<u64>,
        direction: Direction,
        max: usize,
    ) -> BoxFuture<'static, Result<Vec<Recorded>, ReadError>> {
        self.log.stream(Arc::from(stream), from, direction, max, *self.head.borrow())
    }

    fn read_all(
        &self,
        after: Option<Position>,
        filter: Filter,
        max: usize,
    ) -> BoxFuture<'static, Result<Vec<Recorded>, ReadError>> {
        let head = *self.head.borrow();
        feed::read_all(Arc::clone(&self.log), after.map_or(0, Position::raw), head, filter, max).boxed()
    }

    fn subscribe_all(&self, after: Option<Position>, filter: Filter) -> Box<dyn Subscription> {
        let after = after.map_or(0, Position::raw);
        Box::new(Feed::new(Arc::clone(&self.log), self.head.clone(), after, filter))
    }

    fn head(&self) -> BoxFuture<'static, Result<Option<Position>, ReadError>> {
        let head = *self.head.borrow();
        ready(Ok((head > 0).then(|| Position::from_raw(head)))).boxed()
    }

    fn log_id(&self) -> Uuid {
        self.log_id
    }

    fn stopped(&self) -> Option<Arc<str>> {
        self.stopped.get().cloned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "sqlite", durable: true, shared: false }
    }
}
