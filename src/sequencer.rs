//! The sequencer: follows the log into the Merkle tree over it, kept in tiles in `tree.db`, and signs checkpoints.
//!
//! The leaf of an event is the bytes that are stored, and its index is the number of events before it. One thread
//! ([`follow`]) takes what the log has at a leisurely pace, many events in one transaction ([`mod@file`]), so that it
//! takes next to nothing from those who append. Events are hashed once; what it keeps in memory is the right edge of
//! the tree ([`edge`]), whatever the size of the log.
//!
//! `tree.db` is disposable: delete it, and it is made again from the log. The last signed checkpoint is not, and has
//! a file of its own ([`last`]).
//!
//! Invariants: tiles and the position they stand for are committed together. A checkpoint is on stable storage
//! before anybody sees it. Before one is signed, the last signed one is compared with the tree as it is now; when the
//! log no longer begins as it did then, nothing is signed and nothing is proved any more until a person has looked
//! (C2SP tlog-checkpoint: no log signs two checkpoints that are not consistent).
//!
//! It must not: append to the log, open events but those about its own keys, or keep anybody waiting who appends.

mod edge;
mod file;
mod follow;
mod keys;
mod last;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use keyledger_projections::LogState;
use keyledger_schema::LogId;
use rusqlite::Connection;
use tokio::sync::{Notify, Semaphore, watch};

use crate::audit::checkpoint::Checkpoint;
use crate::audit::proof;
use crate::audit::tile::{FULL, Kind, Tile, TileNodes, Tiles};
use crate::audit::tree::{self, Hash, leaf_hash};
use crate::store::{EventStore, Filter, Position};

pub use file::TreeWriter;
pub use keys::state_of;

/// Name of the file with the tiles, in the data directory.
pub const FILE_NAME: &str = "tree.db";
/// Name of the file with the last signed checkpoint, in the data directory.
pub const CHECKPOINT_FILE_NAME: &str = "checkpoint";

/// How long somebody waits for a checkpoint that covers what they ask about.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many answers are read from the tiles at once.
const READERS: usize = 2;
/// How many may wait for that.
const WAITING: usize = 1_024;

/// Gives the private key of a generation.
pub type PrivateKeys = Arc<dyn Fn(u32) -> SigningKey + Send + Sync>;

/// Why the sequencer cannot be started. For the operator's terminal: it names paths.
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
    /// The thread died; its panic message stands on stderr.
    #[error("the tree's thread ended while it was opened")]
    Thread,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unanswered {
    /// The sequencer has stopped for good.
    #[error("the tree is stopped: {0}")]
    Stopped(Arc<str>),
    /// The tree is still being brought up to date with the log, or the log has no key yet.
    #[error("the tree has not caught up with the log yet")]
    Behind,
    /// Too many others wait.
    #[error("too many questions about the tree are waiting")]
    Busy,
    /// The tree is smaller than what is asked for.
    #[error("the tree is not as large as that")]
    Beyond,
    /// A fault of ours, which is logged.
    #[error("the tree gives no answer")]
    Failed,
}

/// A checkpoint and the note that it was signed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The note, as it is shown to everybody.
    pub note: Box<str>,
}

/// How far the tree is.
#[derive(Clone, Debug, Default)]
struct Standing {
    size: u64,
    position: Option<Position>,
    keys: LogState,
    signed: Option<Arc<Signed>>,
    stopped: Option<Arc<str>>,
}

/// What the threads share.
struct Shared {
    data_dir: PathBuf,
    log: LogId,
    store: Arc<dyn EventStore>,
    private_keys: PrivateKeys,
    standing: watch::Sender<Standing>,
    /// How many wait for a checkpoint, and what wakes whoever makes it.
    waiting: AtomicUsize,
    asked: Notify,
    stop: watch::Sender<bool>,
}

impl Shared {
    fn file(&self) -> PathBuf {
        self.data_dir.join(FILE_NAME)
    }

    /// Stops for good. The first reason stays.
    fn fail(&self, reason: &str) {
        tracing::error!(
            reason,
            "the tree has stopped: no checkpoint is signed and nothing is proved any more"
        );
        self.standing.send_modify(|standing| {
            standing.stopped.get_or_insert_with(|| reason.into());
        });
    }
}

/// Somebody who waits for a checkpoint.
struct Waiter<'a>(&'a Shared);

impl<'a> Waiter<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        shared.asked.notify_one();
        Self(shared)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The tree over the log. Dropping it stops its thread.
pub struct TreeLog {
    shared: Arc<Shared>,
    readers: Arc<Mutex<Vec<Connection>>>,
    places: Semaphore,
    queue: Semaphore,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for TreeLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeLog").field("size", &self.shared.standing.borrow().size).finish_non_exhaustive()
    }
}

impl TreeLog {
    /// Opens `tree.db` in a data directory that exists, making it anew where needed, and begins to follow the log.
    /// Does not wait until the tree has caught up.
    pub fn open(
        data_dir: &Path,
        store: Arc<dyn EventStore>,
        private_keys: PrivateKeys,
    ) -> Result<Arc<Self>, OpenError> {
        let shared = Arc::new(Shared {
            data_dir: data_dir.to_owned(),
            log: LogId::from_uuid(store.log_id()),
            store,
            private_keys,
            standing: watch::Sender::new(Standing::default()),
            waiting: AtomicUsize::new(0),
            asked: Notify::new(),
            stop: watch::Sender::new(false),
        });
        let path = shared.file();
        let (answer, opened) = mpsc::sync_channel(1);
        let follower = Arc::clone(&shared);
        // On its own thread, since whoever opens may be within a runtime.
        let open_and_follow = move || match follow::open(&follower) {
            Ok(writer) => {
                if answer.send(Ok(())).is_ok() {
                    follow::run(&follower, writer);
                }
            }
            Err(error) => drop(answer.send(Err(error))),
        };
        let thread = std::thread::Builder::new().name("tree".into()).spawn(open_and_follow);
        let thread = thread.map_err(|source| OpenError::File { path: path.clone(), source })?;
        opened.recv().map_err(|_| OpenError::Thread)??;
        let readers = (0..READERS).map(|_| file::reading(&path)).collect::<rusqlite::Result<Vec<_>>>();
        let readers = readers.map_err(|source| {
            shared.stop.send_replace(true);
            OpenError::Engine { path, source }
        })?;
        Ok(Arc::new(Self {
            shared,
            readers: Arc::new(Mutex::new(readers)),
            places: Semaphore::new(READERS),
            queue: Semaphore::new(WAITING),
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Stops following the log and waits until the thread has ended.
    pub fn close(&self) {
        self.shared.stop.send_replace(true);
        self.shared.asked.notify_one();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic has been recorded by the thread itself.
            let _ = thread.join();
        }
    }

    /// Why nothing is signed and proved any more, if so.
    pub fn stopped(&self) -> Option<Arc<str>> {
        self.shared.standing.borrow().stopped.clone()
    }

    /// The log's name and keys, as far as the tree has heard of them.
    pub fn keys(&self) -> LogState {
        self.shared.standing.borrow().keys.clone()
    }

    /// The newest signed checkpoint, if there is one already.
    pub fn newest(&self) -> Option<Arc<Signed>> {
        self.shared.standing.borrow().signed.clone()
    }

    /// A signed checkpoint of a tree of at least so many entries; one is made if the newest is smaller. With 0 it is
    /// the newest there is.
    pub async fn checkpoint(&self, at_least: u64) -> Result<Arc<Signed>, Unanswered> {
        let covers = |standing: &Standing| {
            standing.signed.as_ref().is_some_and(|signed| signed.checkpoint.size >= at_least)
        };
        self.settled(covers).await?.signed.ok_or(Unanswered::Behind)
    }

    /// A signed checkpoint that covers every event that was durable when it was asked for.
    pub async fn current(&self) -> Result<Arc<Signed>, Unanswered> {
        let head = self.shared.store.head().await.map_err(|error| {
            tracing::error!(%error, "the log cannot be read");
            Unanswered::Failed
        })?;
        let at_least = self.settled(|standing| standing.position >= head).await?.size;
        self.checkpoint(at_least).await
    }

    /// Waits until the tree stands as wanted.
    async fn settled(&self, wanted: impl Fn(&Standing) -> bool) -> Result<Standing, Unanswered> {
        let mut standing = self.shared.standing.subscribe();
        let decided = |standing: &Standing| standing.stopped.is_some() || wanted(standing);
        if !decided(&standing.borrow()) {
            let _waiter = Waiter::new(&self.shared);
            let end = tokio::time::timeout(PATIENCE, standing.wait_for(decided)).await;
            end.map_err(|_| Unanswered::Behind)?.map_err(|_| Unanswered::Failed)?;
        }
        let standing = standing.borrow().clone();
        match standing.stopped {
            Some(reason) => Err(Unanswered::Stopped(reason)),
            None => Ok(standing),
        }
    }

    /// The size up to which proofs and tiles are given: that of the newest signed checkpoint.
    async fn shown(&self) -> Result<u64, Unanswered> {
        Ok(self.checkpoint(0).await?.checkpoint.size)
    }

    /// The hashes of a tile; none where the signed tree has no such tile.
    pub async fn tile(&self, tile: Tile) -> Result<Option<Vec<Hash>>, Unanswered> {
        let Kind::Hashes(level) = tile.kind else { return Ok(None) };
        if !tile.is_within(self.shown().await?) {
            return Ok(None);
        }
        let start = tile.index * u64::from(FULL);
        let end = start + u64::from(tile.width);
        self.read(move |tiles| tiles.hashes(level, start, end)).await.map(Some)
    }

    /// The stored bytes of the entries of a bundle; none where the signed tree has no such bundle.
    pub async fn entries(&self, tile: Tile) -> Result<Option<Vec<Arc<[u8]>>>, Unanswered> {
        if tile.kind != Kind::Entries || !tile.is_within(self.shown().await?) {
            return Ok(None);
        }
        let after = match tile.index.checked_sub(1) {
            Some(before) => Some(self.read(move |tiles| tiles.end_of(before)).await?),
            None => None,
        };
        let events = self.shared.store.read_all(after, Filter::All, usize::from(tile.width)).await;
        let events = events.map_err(|error| {
            tracing::error!(%error, "the log cannot be read");
            Unanswered::Failed
        })?;
        if events.len() < usize::from(tile.width) {
            tracing::error!(tile = %tile, "the log has fewer events than the tree");
            return Err(Unanswered::Failed);
        }
        Ok(Some(events.into_iter().map(|event| event.bytes).collect()))
    }

    /// The root of the tree of the first `size` entries, which the signed tree must have.
    pub async fn root(&self, size: u64) -> Result<Hash, Unanswered> {
        if size > self.shown().await? {
            return Err(Unanswered::Beyond);
        }
        self.read(move |tiles| tree::root(&TileNodes(tiles), size)).await
    }

    /// The proof that the entry with these bytes stands at `index` of the tree of `size` entries, which the signed
    /// tree must have. A proof that proves nothing is never given.
    pub async fn inclusion(&self, entry: &[u8], index: u64, size: u64) -> Result<Vec<Hash>, Unanswered> {
        if index >= size || size > self.shown().await? {
            return Err(Unanswered::Beyond);
        }
        let leaf = leaf_hash(entry);
        self.read(move |tiles| {
            let nodes = TileNodes(tiles);
            let (path, root) = (tree::inclusion(&nodes, index, size)?, tree::root(&nodes, size)?);
            proof::verify_inclusion(&leaf, index, size, &path, &root).map_err(|_| file::Unread::Damaged)?;
            Ok(path)
        })
        .await
    }

    /// The proof that the tree of `old` entries is the start of that of `new` entries, which the signed tree must
    /// have.
    pub async fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Unanswered> {
        if old > new || new > self.shown().await? {
            return Err(Unanswered::Beyond);
        }
        self.read(move |tiles| tree::consistency(&TileNodes(tiles), old, new)).await
    }

    /// Reads tiles on a thread that may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&file::Stored<'_>) -> Result<T, file::Unread> + Send + 'static,
    ) -> Result<T, Unanswered> {
        let _queued = self.queue.try_acquire().map_err(|_| Unanswered::Busy)?;
        let _place = self.places.acquire().await.map_err(|_| Unanswered::Failed)?;
        let readers = Arc::clone(&self.readers);
        let answer = tokio::task::spawn_blocking(move || {
            let lock = || readers.lock().unwrap_or_else(PoisonError::into_inner);
            // There are as many connections as places; one is missing only after a panic in here.
            let connection = lock().pop().ok_or(file::Unread::Damaged)?;
            let answer = read(&file::Stored(&connection));
            lock().push(connection);
            answer
        });
        match answer.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::error!(%error, "the tree cannot be read; it is made anew when the server is started again");
                Err(Unanswered::Failed)
            }
            Err(_) => Err(Unanswered::Failed),
        }
    }
}

impl Drop for TreeLog {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
