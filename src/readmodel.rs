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
mod fact;
mod feed;
mod files;
mod following;
mod identities;
mod keys;
mod load;
mod lookups;
mod page;
mod places;
mod pool;
mod progress;
mod projector;
mod replay;
mod rows;
mod schema;
mod snapshot;
mod stretches;
mod usage;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use keyledger_projections::{IdentityState, KeyState, OrganizationState, PoolId, Tally, WorkspaceState};
use keyledger_schema::{
    DataKeys, EventId, IdentityId, KeyId, NoDataKeys, OrganizationId, Timestamp, WorkspaceId,
};
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use self::analytics::{Incomplete, UsageAnswer, UsageError, UsageQuery, Verification, VerificationQuery};
use self::catalog::Catalog;
use self::pool::Pool;
use crate::edge::Edge;
use crate::store::{EventStore, Position, ReadError};

pub use consequences::{Consequence, ConsequenceQuery, MAX_DEPTH, MAX_FOLLOWED, Root, TooMany, Via};
pub use entries::{Entry, EntryQuery};
pub use following::{Followed, Mark, cursor_of};
pub use identities::IdentityQuery;
pub use keys::{KeyOrder, KeyQuery, KeyRow, KeySort};
pub use page::{Item, MAX_BULK_PAGE, MAX_PAGE, Page, Sequence, Window};
pub use progress::Progress;
pub use stretches::{Found, Stretch, StretchQuery};
pub use usage::addresses::MAX_ADDRESSES;

/// With so many organizations, those that wait for no turn are forgotten.
const TURNS_KEPT: usize = 1_024;

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "readmodel.db";

/// Is told of every state, in log order, before the position of its event counts as applied.
///
/// While the read model is opened it is first told of every stored state, with no state before it: organizations, in
/// the order in which they came into the log, then workspaces and identities, then keys. **Of keys it is told from
/// several threads at once**, in no particular order, each thing once. What the log
/// has beyond follows from one thread, in log order. When the tables turn out to be damaged while they
/// are loaded, everything is told again from the first event on: a key that is told with no state before
/// it replaces whatever was known of it.
///
/// A call delays the answers to mutations, so it must be quick and must not wait for the read model.
pub trait Observer: Send + Sync + 'static {
    /// A key was issued or changed.
    fn key(&self, before: Option<&KeyState>, after: &KeyState);
    /// An organization was created or changed.
    fn organization(&self, state: &OrganizationState);
    /// A workspace was created or changed.
    fn workspace(&self, state: &WorkspaceState);
    /// An identity was created or changed.
    fn identity(&self, _before: Option<&IdentityState>, _after: &IdentityState) {}
    /// What recorded verifications spent of some credits. Told while the read model is opened, after all
    /// states, of every pool that was ever spent from, with all that the log has; not after that, since
    /// whoever spends knows it before the log does.
    fn spent(&self, _pool: PoolId, _tally: &Tally) {}
    /// Nothing will be told any more, since the projection has stopped for good: what was told last may
    /// be out of date from now on.
    fn stopped(&self) {}
}

/// For a read model that nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn key(&self, _: Option<&KeyState>, _: &KeyState) {}
    fn organization(&self, _: &OrganizationState) {}
    fn workspace(&self, _: &WorkspaceState) {}
}

/// Why the read model cannot be opened. For the operator's terminal only: it names paths.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refuses.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What it says.
        source: std::io::Error,
    },
    /// SQLite refuses, and not because the file is damaged: damage leads to a rebuild.
    #[error("{path}: {source}", path = path.display())]
    Engine {
        /// Which file.
        path: PathBuf,
        /// What it says.
        source: rusqlite::Error,
    },
    /// The tables know of events that the log does not have: it was put back to an earlier state, or replaced.
    /// Going on would hide that what was answered is gone.
    #[error(
        "{path} {what}: the log was put back to an earlier state or replaced, and changes that were answered are \
         missing. Restore the newer log; or, if an older one was put there on purpose, delete {path} and start again",
        path = path.display()
    )]
    LogChanged {
        /// The read model.
        path: PathBuf,
        /// How it differs.
        what: &'static str,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// An event of the log cannot be projected.
    #[error("{0}")]
    Stopped(Arc<str>),
    /// A thread died; its panic message stands on stderr.
    #[error("a thread of the read model ended while it was opened")]
    Thread,
}

/// Why a query has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QueryError {
    /// The cursor was not made by this list in this order.
    #[error("the cursor does not belong to this list and order; take one from its last answer, or none")]
    Cursor,
    /// Too many queries are waiting. Trying again later helps.
    #[error("too many queries are waiting; try again")]
    Busy,
    /// A fault of ours, which is logged; or the read model is being closed.
    #[error("the read model gives no answer")]
    Failed,
}

/// Why a position is not known to be applied.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WaitError {
    /// Not within the time given. It may be a moment later.
    #[error("the read model has not applied this position in time")]
    TimedOut,
    /// The projection has stopped for good.
    #[error("the read model is stopped: {0}")]
    Stopped(Arc<str>),
}

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

/// How far a verification's moment may be ahead of this node's clock, since nodes' clocks differ.
const CLOCK_AHEAD: Duration = Duration::from_hours(1);

/// What can be chosen.
#[derive(Clone)]
pub struct Settings {
    /// How long the verification log is kept, counted back from the newest verification.
    pub verification_log: Duration,
    /// How many times as long as it works the thread rests that counts usage.
    pub usage_rest: u32,
    /// Bounds from when it is counted back what is kept for a time only: a verification that was recorded while a
    /// clock was ahead must not hide what came before it, once the clock is right again. Nothing else asks it.
    pub clock: Option<Edge>,
    /// What personal data is read with. Without any, none of it can be read.
    pub data_keys: Arc<dyn DataKeys>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            verification_log: Duration::from_hours(90 * 24),
            usage_rest: 9,
            clock: None,
            data_keys: Arc::new(NoDataKeys),
        }
    }
}

impl Settings {
    /// The first moment that the verification log keeps.
    fn oldest_verification(&self, newest: Option<Timestamp>) -> Timestamp {
        newest.unwrap_or_default().minus(self.verification_log)
    }

    /// A moment from which it is counted back.
    fn horizon(&self, newest: Option<Timestamp>) -> Option<Timestamp> {
        let latest = self.clock.as_ref().map_or(Timestamp::MAX, |clock| clock.now().plus(CLOCK_AHEAD));
        newest.map(|newest| newest.min(latest))
    }
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

    /// A key of whatever organization: the caller compares it with its own.
    pub async fn key(&self, id: KeyId) -> Result<Option<KeyRow>, QueryError> {
        self.quick.read(move |connection| lookups::key(connection, id)).await
    }

    /// Those of many keys that there are, of whatever organization, in no particular order.
    pub async fn keys_by_id(&self, ids: Vec<KeyId>) -> Result<Vec<KeyState>, QueryError> {
        self.quick.read(move |connection| lookups::keys(connection, &ids)).await
    }

    /// An organization.
    pub async fn organization(&self, id: OrganizationId) -> Result<Option<OrganizationState>, QueryError> {
        self.quick.read(move |connection| lookups::organization(connection, id)).await
    }

    /// A workspace of whatever organization: the caller compares it with its own.
    pub async fn workspace(&self, id: WorkspaceId) -> Result<Option<WorkspaceState>, QueryError> {
        self.quick.read(move |connection| lookups::workspace(connection, id)).await
    }

    /// An identity of whatever organization: the caller compares it with its own.
    pub async fn identity(&self, id: IdentityId) -> Result<Option<IdentityState>, QueryError> {
        self.quick.read(move |connection| lookups::identity(connection, id)).await
    }

    /// Those of many identities that there are, of whatever organization, in no particular order.
    pub async fn identities_by_id(&self, ids: Vec<IdentityId>) -> Result<Vec<IdentityState>, QueryError> {
        self.quick.read(move |connection| identities::by_id(connection, &ids)).await
    }

    /// Whether copies of erased personal data are still being removed.
    pub async fn is_erasing(&self) -> Result<bool, QueryError> {
        self.quick.read(usage::erasure::is_pending).await
    }

    /// A page of an organization's identities.
    pub async fn identities(&self, query: IdentityQuery) -> Result<Page<IdentityState>, QueryError> {
        self.lists.read(move |connection| identities::page(connection, &query)).await
    }

    /// The workspaces of an organization in the order in which they were created.
    pub async fn workspaces(&self, organization: OrganizationId) -> Result<Vec<WorkspaceState>, QueryError> {
        self.quick.read(move |connection| lookups::workspaces(connection, organization)).await
    }

    /// A page of an organization's keys.
    pub async fn keys(&self, query: KeyQuery) -> Result<Page<KeyRow>, QueryError> {
        let searched = self.searched(&query).await?;
        let catalog = Arc::clone(&self.shared.catalog);
        self.lists.read(move |connection| keys::page(connection, &catalog, &query, searched)).await
    }

    /// The keys that match a query, in its order, without regard to its window: at most `max`, and one
    /// more to tell that there are more.
    pub async fn matching(&self, query: KeyQuery, max: usize) -> Result<Vec<KeyId>, QueryError> {
        let searched = self.searched(&query).await?;
        let catalog = Arc::clone(&self.shared.catalog);
        let wanted = max.saturating_add(1);
        self.lists.read(move |connection| keys::ids(connection, &catalog, &query, searched, wanted)).await
    }

    /// The number of the key whose id a query searches for, whosever it is.
    async fn searched(&self, query: &KeyQuery) -> Result<Option<i64>, QueryError> {
        match query.searched_id() {
            Some(id) => self.quick.read(move |connection| lookups::seq(connection, id)).await,
            None => Ok(None),
        }
    }

    /// Memory held for lists of keys, in bytes.
    pub fn catalog_bytes(&self) -> usize {
        self.shared.catalog.bytes()
    }

    /// A page of an organization's audit entries.
    pub async fn entries(&self, query: EntryQuery) -> Result<Page<Entry>, QueryError> {
        self.lists.read(move |connection| entries::page(connection, &query)).await
    }

    /// Where in the log entries stand, from some place on. For whoever has to read all of them.
    pub async fn stretches(&self, query: StretchQuery) -> Result<Found, QueryError> {
        self.lists.read(move |connection| stretches::find(connection, &query)).await
    }

    /// How often was verified what a query asks for, by bucket and group. While usage is written, some of it may
    /// be in one part of the answer and not yet in another.
    pub async fn usage(&self, mut query: UsageQuery) -> Result<UsageAnswer, UsageError> {
        query.organizations = analytics::each_once(query.organizations);
        // Asked first: what is counted meanwhile is in the answer beyond it.
        let through = self.usage_through();
        let catalog = Arc::clone(&self.shared.catalog);
        let _turn = match query.organizations.first() {
            Some(organization) => self.turn(*organization).await,
            None => None,
        };
        let answered =
            self.figures.read(move |connection| match analytics::answer(connection, &catalog, &query) {
                Ok(answer) => Ok(Ok(answer)),
                Err(analytics::Failure::Usage(error)) => Ok(Err(error)),
                Err(analytics::Failure::Engine(error)) => Err(error),
            });
        let answer = answered.await??;
        let incomplete = self.usage_gaps(answer.from, answer.to).await?;
        Ok(UsageAnswer { incomplete, through, ..answer })
    }

    /// Where an event stands, of whatever organization or none: the caller compares it with its own.
    pub async fn entry(&self, id: EventId) -> Result<Option<Entry>, QueryError> {
        self.quick.read(move |connection| entries::one(connection, id)).await
    }

    /// The states of an organization's keys in the order of their creation, at most `max` of them after a
    /// key's number, each with its own number. For whoever has to look at all of them.
    pub async fn states(
        &self,
        organization: OrganizationId,
        after: Option<u64>,
        max: usize,
    ) -> Result<Vec<(u64, KeyState)>, QueryError> {
        let catalog = Arc::clone(&self.shared.catalog);
        self.lists.read(move |connection| keys::states(connection, &catalog, organization, after, max)).await
    }

    /// Places of a workspace's quota that are given away: keys that are neither revoked nor deleted nor
    /// recorded as expired, and reservations made after `since` whose key was not issued yet.
    pub async fn places(&self, workspace: WorkspaceId, since: Timestamp) -> Result<u64, QueryError> {
        self.quick.read(move |connection| places::taken(connection, workspace, since)).await
    }

    /// Of these keys those that have a place of the workspace's quota: since when it is reserved, or none when
    /// they are issued.
    pub async fn places_of(
        &self,
        workspace: WorkspaceId,
        since: Timestamp,
        keys: Vec<KeyId>,
    ) -> Result<Vec<(KeyId, Option<Timestamp>)>, QueryError> {
        self.quick.read(move |connection| places::held(connection, workspace, since, &keys)).await
    }

    /// Up to `max` keys, of all organizations, for which the passing of time alone asks for an event by
    /// `now`, the longest due first. See [`KeyState::due_at`].
    pub async fn due(&self, now: Timestamp, max: usize) -> Result<Vec<KeyId>, QueryError> {
        self.quick.read(move |connection| lookups::due(connection, now, max)).await
    }

    /// A page of an organization's verification log, the records of which are there once they are counted.
    ///
    /// A search for something rare may end before the page is full, or even with an empty one, though there is
    /// more: then `has_next` and `end_cursor`, or `has_previous` and `start_cursor`, tell from where to go on.
    pub async fn verifications(&self, query: VerificationQuery) -> Result<Page<Verification>, QueryError> {
        let count = query.window.count();
        self.verification_page(query, count).await
    }

    /// The first moment of which the verification log keeps records; none before the first one.
    pub fn verifications_since(&self) -> Option<Timestamp> {
        let horizon = self.shared.usage.borrow().horizon;
        horizon.map(|_| self.shared.settings.oldest_verification(horizon))
    }

    /// The same in pages of up to [`MAX_BULK_PAGE`], for whoever has to look at all of them.
    pub async fn verifications_in_bulk(
        &self,
        query: VerificationQuery,
    ) -> Result<Page<Verification>, QueryError> {
        let count = query.window.count_up_to(MAX_BULK_PAGE);
        self.verification_page(query, count).await
    }

    /// Waits for an organization's turn at figures: each keeps at most one thread busy, so that another one finds a
    /// thread however much the first asks for.
    async fn turn(&self, organization: OrganizationId) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut all = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= TURNS_KEPT {
                all.retain(|_, turns| Arc::strong_count(turns) > 1);
            }
            Arc::clone(all.entry(organization).or_insert_with(|| Arc::new(Semaphore::new(1))))
        };
        turns.acquire_owned().await.ok()
    }

    async fn verification_page(
        &self,
        query: VerificationQuery,
        count: usize,
    ) -> Result<Page<Verification>, QueryError> {
        let shared = Arc::clone(&self.shared);
        let oldest = move |newest| shared.settings.oldest_verification(newest);
        let catalog = Arc::clone(&self.shared.catalog);
        let _turn = self.turn(query.organization).await;
        self.figures
            .read(move |connection| usage::search::page(connection, &catalog, &query, count, oldest))
            .await
    }

    /// Stretches of time that overlap with this one and of which verifications may be missing, whosever, the
    /// earliest first: at most a thousand.
    pub async fn usage_gaps(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Incomplete>, QueryError> {
        self.quick.read(move |connection| lookups::gaps(connection, from, to)).await
    }

    /// Up to `max` addresses, of keys of all organizations, that the trail of their key does not name although
    /// it was used from there, with the first such use, the oldest first. The first address of a key is not
    /// among them, and no more than [`MAX_ADDRESSES`] are known of a key.
    pub async fn new_addresses(&self, max: usize) -> Result<Vec<(KeyId, IpAddr, Timestamp)>, QueryError> {
        self.quick.read(move |connection| usage::addresses::untold(connection, max)).await
    }

    /// Of these addresses of a key those that its trail does not name yet.
    pub async fn addresses_to_tell(
        &self,
        key: KeyId,
        addresses: Vec<IpAddr>,
    ) -> Result<Vec<IpAddr>, QueryError> {
        self.quick.read(move |connection| usage::addresses::still_untold(connection, key, &addresses)).await
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
