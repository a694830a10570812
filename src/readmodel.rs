//! The read model: SQLite tables that projections fill from the log, in `readmodel.db`.
//!
//! It answers what the log cannot answer quickly: lists, searches, a key by its id, an event by its id,
//! what is due. It holds nothing that the log does not hold: delete the file, and it is rebuilt when it
//! is opened again. A file of another layout or with damage in it is discarded likewise. One that knows of
//! events that the log does not have is the witness that the log lost them: opening is refused.
//!
//! One thread ([`feed`]) follows the log. It takes what the subscription delivers as one transaction: fold,
//! write rows and the position, commit; then the [`catalog`], which lists of keys are answered from, and
//! the [`Observer`] are told of each new state, and only then the position counts as applied. Whoever waits
//! with [`ReadModel::wait_applied`] therefore finds tables, catalog and observer up to date. Usage is
//! folded by a second thread ([`usage`]) that takes a small share of the machine and may lag. Readers have
//! connections and threads of their own ([`pool`]); nothing here blocks an async worker.
//!
//! Invariants: rows and position are committed together, so an event is folded exactly once however
//! often the process is killed. An event that cannot be read or written stops the projection for good;
//! none is ever skipped. Every query of an organization's things names the organization and filters by
//! it.
//!
//! It must not: append to the log, decide anything, read a clock but to bound what is kept ([`Settings::clock`]),
//! or be backed up.

pub mod analytics;
mod cache;
mod catalog;
mod checkpoint;
mod consequences;
mod cursor;
mod entries;
mod error;
mod fact;
mod feed;
mod files;
mod following;
mod identities;
mod keys;
mod load;
mod lookups;
mod observer;
mod page;
mod places;
mod pool;
mod progress;
mod projector;
mod queries;
mod replay;
mod rows;
mod schema;
mod settings;
mod snapshot;
mod stretches;
mod usage;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use keyledger_schema::{OrganizationId, Timestamp};
use rusqlite::Connection;
use tokio::sync::{Semaphore, watch};

use self::catalog::Catalog;
use self::pool::Pool;
use crate::store::{EventStore, Position};

pub use consequences::{Consequence, ConsequenceQuery, MAX_DEPTH, MAX_FOLLOWED, Root, TooMany, Via};
pub use entries::{Entry, EntryQuery};
pub use error::{OpenError, QueryError, WaitError};
pub use following::{Followed, Mark, cursor_of};
pub use identities::IdentityQuery;
pub use keys::{KeyOrder, KeyQuery, KeyRow, KeySort};
pub use observer::{NoObserver, Observer};
pub use page::{Item, MAX_BULK_PAGE, MAX_PAGE, Page, Sequence, Window};
pub use progress::Progress;
pub use settings::Settings;
pub use stretches::{Found, Stretch, StretchQuery};
pub use usage::addresses::MAX_ADDRESSES;

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "readmodel.db";

/// How far the tables are.
#[derive(Clone, Debug, Default)]
struct Standing {
    position: Option<Position>,
    /// Events seen: the log index of the next one.
    entries: u64,
    /// Keys ever issued.
    keys: u64,
    /// Events of type `usage.recorded` among the entries.
    usage_events: u64,
    /// When the newest of these was recorded.
    newest_usage: Option<Timestamp>,
    stopped: Option<Arc<str>>,
}

/// How far the usage of keys is.
#[derive(Clone, Copy, Debug, Default)]
struct UsageStanding {
    position: Option<Position>,
    /// The end of a round that was begun and, if the process ended in it, not finished.
    ahead: Option<Position>,
    /// How many steps of that round are written.
    done: u64,
    /// Events folded.
    events: u64,
    /// Slices of the verification log written.
    slices: u64,
    /// The end of the newest event folded.
    newest: Option<Timestamp>,
    /// What is kept for a time only is counted back from here: the newest verification that the log was known
    /// to have when the latest round began, folded or not.
    horizon: Option<Timestamp>,
}

/// What the threads share.
struct Shared {
    settings: Settings,
    path: PathBuf,
    store: Arc<dyn EventStore>,
    observer: Arc<dyn Observer>,
    /// What lists of keys are answered from.
    catalog: Arc<Catalog>,
    /// The one connection that writes. Held for one transaction at a time.
    writer: Mutex<Connection>,
    standing: watch::Sender<Standing>,
    newest: following::Newest,
    usage: watch::Sender<UsageStanding>,
    /// How many usage events the tables have seen. Changes only when there are more, so that the usage
    /// thread is not woken by every commit.
    usage_seen: watch::Sender<u64>,
    /// How many erasures the tables have seen since they were opened.
    erasures: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

impl Shared {
    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops everything for good. The first reason stays.
    fn fail(&self, reason: Arc<str>) {
        tracing::error!(%reason, "the read model has stopped");
        self.observer.stopped();
        self.standing.send_modify(|standing| {
            standing.stopped.get_or_insert(reason);
        });
        self.stop.send_replace(true);
    }
}

/// The read model, open. Dropping it stops its threads.
pub struct ReadModel {
    shared: Arc<Shared>,
    /// Answers that take microseconds never wait behind a long list.
    quick: Pool,
    lists: Pool,
    /// Figures and whole logs, which may take long: no list waits behind them.
    figures: Pool,
    turns: Mutex<HashMap<OrganizationId, Arc<Semaphore>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for ReadModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadModel").field("applied", &self.applied()).finish_non_exhaustive()
    }
}

impl ReadModel {
    /// Opens `readmodel.db` in a data directory that exists, rebuilding it where needed, and returns when
    /// it has caught up with what is the head of the log now. Blocks; may be called from anywhere.
    pub fn open(
        data_dir: &Path,
        store: Arc<dyn EventStore>,
        observer: Arc<dyn Observer>,
        progress: Progress,
        settings: Settings,
    ) -> Result<Arc<Self>, OpenError> {
        let path = data_dir.join(FILE_NAME);
        let (opened, answer) = mpsc::sync_channel(1);
        let mut threads = Vec::with_capacity(3);
        {
            let path = path.clone();
            threads.push(spawn("readmodel", &path.clone(), move || {
                feed::run(path, store, observer, progress, settings, &opened);
            })?);
        }
        let shared = answer.recv().map_err(|_| OpenError::Thread)??;
        // From here on dropping the model stops what was started.
        let model = Self {
            quick: Pool::open("readmodel-key", 1, &path)?,
            lists: Pool::open("readmodel-list", 2, &path)?,
            figures: Pool::open("readmodel-count", 2, &path)?,
            turns: Mutex::default(),
            threads: Mutex::new(threads),
            shared,
        };
        let shared = Arc::clone(&model.shared);
        model.keep(spawn("readmodel-usage", &path, move || usage::run(&shared))?);
        let shared = Arc::clone(&model.shared);
        model.keep(spawn("readmodel-wal", &path, move || checkpoint::run(&shared))?);
        Ok(Arc::new(model))
    }

    fn keep(&self, thread: JoinHandle<()>) {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    /// Stops following the log and waits until the threads have ended: milliseconds, since at most one
    /// transaction each is under way. Waiters are told; queries go on until the model is dropped.
    pub fn close(&self) {
        self.shared.stop.send_replace(true);
        self.shared.standing.send_modify(|standing| {
            standing.stopped.get_or_insert_with(|| "it was closed".into());
        });
        for thread in std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner)) {
            // A panic has been recorded by the thread itself.
            let _ = thread.join();
        }
    }

    /// Position of the last event that tables and observer show; none before the first event.
    pub fn applied(&self) -> Option<Position> {
        self.shared.standing.borrow().position
    }

    /// Why the projection has stopped for good, if it has.
    pub fn stopped(&self) -> Option<Arc<str>> {
        self.shared.standing.borrow().stopped.clone()
    }

    /// Waits until the event at a position, and all before it, show in tables and observer.
    pub async fn wait_applied(&self, position: Position, timeout: Duration) -> Result<(), WaitError> {
        let applied = |standing: &Standing| standing.position >= Some(position);
        if applied(&self.shared.standing.borrow()) {
            return Ok(());
        }
        let mut standing = self.shared.standing.subscribe();
        let settled = standing.wait_for(|standing| applied(standing) || standing.stopped.is_some());
        match tokio::time::timeout(timeout, settled).await {
            Err(_) => Err(WaitError::TimedOut),
            Ok(Err(_)) => Err(WaitError::Stopped("it was closed".into())),
            Ok(Ok(standing)) if applied(&standing) => Ok(()),
            Ok(Ok(standing)) => Err(WaitError::Stopped(standing.stopped.clone().unwrap_or_default())),
        }
    }

    /// Position of the last usage event that is in the keys' usage.
    pub fn usage_position(&self) -> Option<Position> {
        self.shared.usage.borrow().position
    }

    /// How many usage events the keys' usage is behind the tables.
    pub fn usage_lag(&self) -> u64 {
        let seen = self.shared.standing.borrow().usage_events;
        seen.saturating_sub(self.shared.usage.borrow().events)
    }

    /// The end of the newest usage event that is counted; none before the first.
    pub fn usage_through(&self) -> Option<Timestamp> {
        self.shared.usage.borrow().newest
    }

    /// Keys ever issued, of all organizations, whatever became of them.
    pub fn keys_count(&self) -> u64 {
        self.shared.standing.borrow().keys
    }

    /// Events applied: the log index of the next one.
    pub fn entries_count(&self) -> u64 {
        self.shared.standing.borrow().entries
    }
}

impl Drop for ReadModel {
    fn drop(&mut self) {
        self.close();
    }
}

fn spawn(name: &str, path: &Path, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|source| OpenError::File { path: path.into(), source })
}
