//! The thread that follows the log, writes tiles and signs checkpoints.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyledger_schema::Stream;
use rusqlite::{Connection, ErrorCode};

use super::file::{self, TreeWriter, Unread};
use super::keys::{self, Keys};
use super::{OpenError, Shared, Signed, last};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::tile::TileNodes;
use crate::audit::tree::{self, leaf_hash};
use crate::edge::Stopwatch;
use crate::store::{Delivery, Filter, Position, ReadError, Recorded, Subscription};

/// How long new events wait for company, while nobody waits for them.
const COMPANY: Duration = Duration::from_millis(50);
/// The most events in one transaction.
const BATCH: u64 = 8_192;
/// Between two checkpoints that nobody waits for.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two checkpoints at all.
const SPACING: Duration = Duration::from_millis(50);
/// A catch-up of so many positions is told of.
const WORTH_TELLING: u64 = 100_000;

/// Why the tree is not followed any more.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the log cannot be read")]
    Log(#[from] ReadError),
    #[error("its file cannot be written or read")]
    File(#[from] Unread),
    #[error(transparent)]
    Keys(#[from] keys::Error),
    #[error(transparent)]
    Last(#[from] last::Error),
    #[error("a checkpoint cannot be signed")]
    Signing,
    #[error(
        "the log has {now} events, and a checkpoint over {then} was signed: events are gone, since the log was put \
         back to an earlier state or replaced. Restore the newer log"
    )]
    Shrunk { now: u64, then: u64 },
    #[error(
        "the first {then} events of the log are others than those that a signed checkpoint stands for: the log was \
         changed or replaced. Restore the log that the checkpoint was made from"
    )]
    Changed { then: u64 },
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::File(error.into())
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_time().build()
}

/// Opens the file, or makes it anew.
pub(super) fn open(shared: &Shared) -> Result<TreeWriter, OpenError> {
    let path = shared.file();
    let engine = |source| OpenError::Engine { path: path.clone(), source };
    let runtime = runtime().map_err(|source| OpenError::File { path: path.clone(), source })?;
    if path.exists() {
        match kept(&path, shared, &runtime) {
            Ok(Ok(writer)) => return Ok(writer),
            Ok(Err(reason)) => tracing::info!(reason, "the tree is made anew from the log"),
            Err(source) => return Err(engine(source)),
        }
    }
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let file = PathBuf::from(name);
        match std::fs::remove_file(&file) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(OpenError::File { path: file, source });
            }
            _ => {}
        }
    }
    TreeWriter::create(&shared.data_dir, shared.store.log_id()).map_err(engine)
}

/// The file that is there, or why it is not kept. Only what the operating system refuses is an error.
fn kept(
    path: &Path,
    shared: &Shared,
    runtime: &tokio::runtime::Runtime,
) -> rusqlite::Result<Result<TreeWriter, &'static str>> {
    let load = || -> Result<Result<TreeWriter, &'static str>, Unread> {
        let connection: Connection = file::writing(path)?;
        if file::is_empty(&connection)? {
            return Ok(Err("it is empty"));
        }
        let edge = match file::load(&connection, shared.store.log_id())? {
            Ok(edge) => edge,
            Err(reason) => return Ok(Err(reason)),
        };
        let writer = TreeWriter::of(connection, edge);
        let Some((position, leaf)) = writer.position().zip(writer.last_leaf()?) else {
            return Ok(Ok(writer));
        };
        // Positions are opaque: the event at one is the first after the one before it.
        let before = position.raw().checked_sub(1).map(Position::from_raw);
        let found = runtime.block_on(shared.store.read_all(before, Filter::All, 1)).unwrap_or_default();
        let stands =
            found.first().is_some_and(|event| event.position == position && leaf_hash(&event.bytes) == leaf);
        Ok(if stands { Ok(writer) } else { Err("it does not fit the log") })
    };
    match load() {
        Ok(kept) => Ok(kept),
        Err(Unread::Engine(error)) if is_refused(&error) => Err(error),
        Err(error) => {
            tracing::debug!(%error, "the tree cannot be read");
            Ok(Err("it is damaged"))
        }
    }
}

/// Whether the file cannot be reached, rather than being another than it should be.
fn is_refused(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
        )
    )
}

/// Follows the log until it is told to stop, or cannot go on.
pub(super) fn run(shared: &Shared, writer: TreeWriter) {
    let followed = catch_unwind(AssertUnwindSafe(|| match runtime() {
        Ok(runtime) => runtime.block_on(Follower::run(shared, writer)),
        Err(error) => {
            tracing::error!(%error, "the tree's thread has no runtime");
            shared.fail("its thread cannot run");
        }
    }));
    if followed.is_err() {
        shared.fail("its thread panicked");
    }
}

struct Follower<'a> {
    shared: &'a Shared,
    writer: TreeWriter,
    subscription: Box<dyn Subscription>,
    stream: String,
    keys: Keys,
    last: Option<Arc<Signed>>,
    /// Since the last checkpoint was made.
    since: Option<Stopwatch>,
}

impl Follower<'_> {
    async fn run(shared: &Shared, writer: TreeWriter) {
        let mut stop = shared.stop.subscribe();
        let follow = async {
            let keys = Keys::read(&*shared.store, shared.log, &shared.private_keys).await?;
            let subscription = shared.store.subscribe_all(writer.position(), Filter::All);
            let stream = Stream::Log(shared.log).to_string();
            let follower = Follower { shared, writer, subscription, stream, keys, last: None, since: None };
            follower.follow().await
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            result = follow => if let Err(failure) = result {
                if let Failure::File(error) = &failure {
                    tracing::error!(%error, "the tree's file cannot be used");
                }
                if let Failure::Log(error) | Failure::Keys(keys::Error::Log(error)) = &failure {
                    tracing::error!(%error, "the log cannot be read");
                }
                if let Failure::Last(last::Error::File(error)) = &failure {
                    tracing::error!(%error, "the last signed checkpoint cannot be read or written");
                }
                shared.fail(&failure.to_string());
            }
        }
    }

    async fn follow(mut self) -> Result<(), Failure> {
        self.catch_up().await?;
        self.recall()?;
        loop {
            self.sign_if_due()?;
            self.rest().await?;
            self.catch_up().await?;
        }
    }

    /// Takes what the log has now, and publishes how far the tree is.
    async fn catch_up(&mut self) -> Result<(), Failure> {
        let head = self.shared.store.head().await?;
        let mut told = Told::new(self.writer.position(), head);
        while self.writer.position() < head {
            if let Delivery::Events(events) = self.subscription.next().await? {
                self.add(&events)?;
            }
            if self.writer.unwritten() >= BATCH {
                self.writer.flush()?;
                told.reached(self.writer.position());
            }
        }
        self.writer.flush()?;
        told.done();
        let (size, position) = (self.writer.size(), self.writer.position());
        self.shared.standing.send_if_modified(|standing| {
            let news = standing.size != size || standing.keys != self.keys.state;
            (standing.size, standing.position) = (size, position);
            standing.keys.clone_from(&self.keys.state);
            news
        });
        Ok(())
    }

    fn add(&mut self, events: &[Recorded]) -> Result<(), Failure> {
        if let Some(keys) = self.keys.after(&self.stream, events, &self.shared.private_keys)? {
            self.keys = keys;
        }
        for event in events {
            self.writer.push(leaf_hash(&event.bytes), event.position);
        }
        Ok(())
    }

    /// Takes up the last signed checkpoint of an earlier run, if the log still is what it says.
    fn recall(&mut self) -> Result<(), Failure> {
        let Some(note) = last::read(&self.shared.data_dir)? else { return Ok(()) };
        let origin = self.keys.state.origin.as_deref().unwrap_or_default();
        let signed = last::open(&note, origin, &self.keys.verifiers)?;
        self.stands_by(&signed.checkpoint)?;
        let signed = Arc::new(signed);
        self.last = Some(Arc::clone(&signed));
        self.shared.standing.send_modify(|standing| standing.signed = Some(signed));
        Ok(())
    }

    /// Whether the log still begins as a signed checkpoint says.
    fn stands_by(&self, then: &Checkpoint) -> Result<(), Failure> {
        if then.size > self.writer.size() {
            return Err(Failure::Shrunk { now: self.writer.size(), then: then.size });
        }
        let stored = self.writer.stored();
        if tree::root(&TileNodes(&stored), then.size)? == then.root {
            Ok(())
        } else {
            Err(Failure::Changed { then: then.size })
        }
    }

    fn has_news(&self) -> bool {
        let size = self.writer.size();
        let signed = self.last.as_ref().map_or(0, |signed| signed.checkpoint.size);
        size > signed && !self.keys.signers.is_empty()
    }

    /// How long it is until the next checkpoint may be made.
    fn due_in(&self) -> Duration {
        let between = if self.shared.waiting.load(Ordering::Relaxed) > 0 { SPACING } else { INTERVAL };
        self.since.map_or(Duration::ZERO, |since| between.saturating_sub(since.elapsed()))
    }

    fn sign_if_due(&mut self) -> Result<(), Failure> {
        if !self.has_news() || !self.due_in().is_zero() {
            return Ok(());
        }
        if let Some(last) = &self.last {
            self.stands_by(&last.checkpoint)?;
        }
        let size = self.writer.size();
        let stored = self.writer.stored();
        let root = tree::root(&TileNodes(&stored), size)?;
        let origin = self.keys.state.origin.as_deref().unwrap_or_default();
        let checkpoint = Checkpoint::new(origin, size, root);
        let signers: Vec<_> = self.keys.signers.iter().collect();
        let note: Box<str> =
            checkpoint.sign(&signers).map_err(|_| Failure::Signing)?.to_string().into_boxed_str();
        last::write(&self.shared.data_dir, &note)?;
        let signed = Arc::new(Signed { checkpoint, note });
        self.last = Some(Arc::clone(&signed));
        self.since = Some(Stopwatch::start());
        self.shared.standing.send_modify(|standing| standing.signed = Some(signed));
        Ok(())
    }

    /// Waits until there is something to do. New events gather for a moment; somebody who waits for them cuts that
    /// short.
    async fn rest(&mut self) -> Result<(), Failure> {
        let asked = self.shared.asked.notified();
        let waited_for = self.shared.waiting.load(Ordering::Relaxed) > 0;
        if self.has_news() {
            let due = self.due_in();
            let pause = if waited_for { due } else { due.max(COMPANY) };
            tokio::select! {
                () = asked => {}
                () = tokio::time::sleep(pause) => {}
            }
            return Ok(());
        }
        let delivery = tokio::select! {
            biased;
            delivery = self.subscription.next() => delivery?,
            () = asked => return Ok(()),
        };
        if let Delivery::Events(events) = delivery {
            self.add(&events)?;
        }
        if self.shared.waiting.load(Ordering::Relaxed) == 0 {
            tokio::select! {
                () = self.shared.asked.notified() => {}
                () = tokio::time::sleep(COMPANY) => {}
            }
        }
        Ok(())
    }
}

/// How the operator hears of a long catch-up.
struct Told {
    start: u64,
    total: u64,
    tenths: u64,
    watch: Stopwatch,
}

impl Told {
    /// Positions are opaque, but their distance is a fair measure of what is left.
    fn new(from: Option<Position>, head: Option<Position>) -> Self {
        let start = from.map_or(0, Position::raw);
        let total = head.map_or(0, Position::raw).saturating_sub(start);
        Self { start, total, tenths: 0, watch: Stopwatch::start() }
    }

    fn reached(&mut self, position: Option<Position>) {
        let done = position.map_or(0, Position::raw).saturating_sub(self.start);
        let tenths = (done * 10).checked_div(self.total).unwrap_or(10);
        if self.total >= WORTH_TELLING && tenths > self.tenths {
            self.tenths = tenths;
            tracing::info!(percent = tenths * 10, "the tree catches up with the log");
        }
    }

    fn done(self) {
        if self.total >= WORTH_TELLING {
            let seconds = self.watch.elapsed().as_secs_f64();
            tracing::info!(events = self.total, seconds, "the tree has caught up with the log");
        }
    }
}
