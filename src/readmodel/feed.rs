//! The thread that opens the read model and then follows the log.
//!
//! Invariants: catalog and observer are told after the commit and before the position is published; the
//! thread never sleeps and never polls while an answer waits for it; recorded verifications, for which none
//! does, are applied in batches. Whatever goes wrong while it follows is recorded and final.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::Sleep;

use super::projector::{self, Failure, Projector};
use super::{
    Catalog, Observer, OpenError, Progress, Settings, Shared, fact, files, following, load, replay, schema,
    usage,
};
use crate::edge::Stopwatch;
use crate::store::{Delivery, EventStore, Filter, Recorded};

/// How long recorded verifications wait for company.
const USAGE_PATIENCE: Duration = Duration::from_millis(50);
/// How much of them waits at most, in bytes.
const USAGE_BYTES: usize = 4 * 1024 * 1024;

/// What blocks a thread of ours on a future of the store.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_time().build()
}

/// Opens, answers, follows.
pub(super) fn run(
    path: PathBuf,
    store: Arc<dyn EventStore>,
    observer: Arc<dyn Observer>,
    progress: Progress,
    settings: Settings,
    opened: &SyncSender<Result<Arc<Shared>, OpenError>>,
) {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(source) => return drop(opened.send(Err(OpenError::File { path, source }))),
    };
    let (shared, projector) = match open(path, store, observer, progress, settings, &runtime) {
        Ok(ready) => ready,
        Err(error) => return drop(opened.send(Err(error))),
    };
    if opened.send(Ok(Arc::clone(&shared))).is_err() {
        return;
    }
    let followed = catch_unwind(AssertUnwindSafe(|| runtime.block_on(follow(&shared, projector))));
    if followed.is_err() {
        shared.fail("its projector panicked".into());
    }
}

pub(super) fn open(
    path: PathBuf,
    store: Arc<dyn EventStore>,
    observer: Arc<dyn Observer>,
    progress: Progress,
    settings: Settings,
    runtime: &Runtime,
) -> Result<(Arc<Shared>, Projector), OpenError> {
    let head = runtime.block_on(store.head())?;
    let mut open = files::open(&path, &*store, runtime)?;
    let mut projector = Projector::new(open.standing.clone());
    let mut catalog = Arc::new(Catalog::default());
    let mut ready = load(&path, &open, &catalog, &*observer);
    loop {
        if let (Ok(()), Some(head)) = (&ready, head) {
            let watchers = (&*catalog, &*observer);
            let log = (&*store, &*settings.data_keys);
            ready = replay::catch_up(log, watchers, &mut open.connection, &mut projector, head, progress);
        }
        match ready {
            Ok(()) => break,
            // Damage that shows only now. A second time it would not be the file's fault.
            Err(error) if open.fresh.is_none() && is_damage(&error) => {
                tracing::debug!(%error, "the read model is damaged");
                drop(open);
                open = files::fresh(&path, &*store, "it is damaged")?;
                projector = Projector::new(open.standing.clone());
                catalog = Arc::default();
                ready = Ok(());
            }
            Err(error) => return Err(open_error(&path, error)),
        }
    }
    let shared = Shared {
        settings,
        path,
        store,
        observer,
        catalog,
        writer: Mutex::new(open.connection),
        usage_seen: watch::Sender::new(projector.standing.usage_events),
        standing: watch::Sender::new(projector.standing.clone()),
        erasures: watch::Sender::new(0),
        newest: following::Newest::default(),
        usage: watch::Sender::new(open.usage),
        stop: watch::Sender::new(false),
    };
    runtime.block_on(tell_spent(&shared))?;
    Ok((Arc::new(shared), projector))
}

/// Tells the observer of what was spent: what is folded, and what the log has beyond.
async fn tell_spent(shared: &Shared) -> Result<(), OpenError> {
    usage::finish_begun(shared).await.map_err(OpenError::Stopped)?;
    let (folded, applied) = (shared.usage.borrow().position, shared.standing.borrow().position);
    let connection = schema::reading(&shared.path)
        .map_err(|source| OpenError::Engine { path: shared.path.clone(), source })?;
    usage::tallies::tell(&connection, &*shared.store, (folded, applied), &*shared.observer)
        .await
        .map_err(|error| open_error(&shared.path, error))
}

/// Tells the catalog and the observer of what a kept file holds.
fn load(
    path: &Path,
    open: &files::Open,
    catalog: &Catalog,
    observer: &dyn Observer,
) -> Result<(), replay::Error> {
    if open.fresh.is_some() {
        return Ok(());
    }
    let watch = Stopwatch::start();
    let keys = load::all(path, catalog, observer).map_err(Failure::from)?;
    if keys != open.standing.keys {
        return Err(Failure::from(super::snapshot::Error).into());
    }
    let seconds = watch.elapsed().as_secs_f64();
    tracing::info!(keys, seconds, "the read model is loaded");
    Ok(())
}

fn is_damage(error: &replay::Error) -> bool {
    match error {
        replay::Error::Projector(Failure::Engine(error)) => files::is_damage(error),
        replay::Error::Projector(Failure::Snapshot(_)) => true,
        replay::Error::Projector(Failure::Unreadable(_))
        | replay::Error::Log(_)
        | replay::Error::Runtime(_) => false,
    }
}

fn open_error(path: &Path, error: replay::Error) -> OpenError {
    match error {
        replay::Error::Log(error) => error.into(),
        replay::Error::Runtime(source) => OpenError::File { path: path.into(), source },
        replay::Error::Projector(Failure::Engine(source)) => OpenError::Engine { path: path.into(), source },
        replay::Error::Projector(error) => OpenError::Stopped(error.to_string().into()),
    }
}

async fn follow(shared: &Shared, mut projector: Projector) {
    let mut subscription = shared.store.subscribe_all(projector.standing.position, Filter::All);
    let mut stop = shared.stop.subscribe();
    let mut waiting = Waiting::default();
    loop {
        let delivery = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = waiting.over() => None,
            delivery = subscription.next() => Some(delivery),
        };
        let due = match delivery {
            None => true,
            Some(Ok(Delivery::Events(events))) => waiting.add(events),
            Some(Ok(Delivery::CaughtUp)) => false,
            Some(Err(error)) => return shared.fail(error.to_string().into()),
        };
        if due && let Err(failure) = apply(shared, &mut projector, &waiting.take()) {
            return shared.fail(reason(&failure));
        }
    }
}

/// Events that are not applied yet. Nobody waits for recorded verifications, of which there may be thousands
/// of events a second: they are applied together, after a moment or with the next event of another kind.
#[derive(Default)]
struct Waiting {
    events: Vec<Recorded>,
    bytes: usize,
    patience: Option<Pin<Box<Sleep>>>,
}

impl Waiting {
    /// Adds events; tells whether all must be applied now.
    fn add(&mut self, events: Vec<Recorded>) -> bool {
        let urgent = events.iter().any(|event| !fact::is_usage(event));
        self.bytes += events.iter().map(|event| event.bytes.len()).sum::<usize>();
        self.events.extend(events);
        self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(USAGE_PATIENCE)));
        urgent || self.bytes >= USAGE_BYTES
    }

    /// Ready when what waits has waited long enough; never while nothing waits.
    async fn over(&mut self) {
        match &mut self.patience {
            Some(patience) => patience.await,
            None => std::future::pending().await,
        }
    }

    fn take(&mut self) -> Vec<Recorded> {
        std::mem::take(self).events
    }
}

fn apply(shared: &Shared, projector: &mut Projector, events: &[Recorded]) -> Result<(), Failure> {
    let (facts, unreadable) = fact::read_until_unreadable(events, &*shared.settings.data_keys);
    if !facts.is_empty() {
        let erased = facts.iter().any(|fact| fact.event_type.ends_with(".erased"));
        let first = projector.standing.entries;
        let news = projector.apply(&mut shared.writer(), &facts)?;
        projector::tell(&shared.catalog, &*shared.observer, &news);
        shared.newest.note(first, &facts);
        shared.standing.send_modify(|standing| {
            let stopped = standing.stopped.take();
            standing.clone_from(&projector.standing);
            standing.stopped = stopped;
        });
        if erased {
            shared.erasures.send_modify(|count| *count += 1);
        }
        let seen = projector.standing.usage_events;
        shared.usage_seen.send_if_modified(|before| std::mem::replace(before, seen) != seen);
    }
    unreadable.map_or(Ok(()), |unreadable| Err(unreadable.into()))
}

/// For people, without what SQLite says, which goes to the log.
pub(super) fn reason(failure: &Failure) -> Arc<str> {
    match failure {
        Failure::Engine(error) => {
            tracing::error!(%error, "the read model cannot be written");
            "its file cannot be written or read".into()
        }
        Failure::Snapshot(error) => error.to_string().into(),
        Failure::Unreadable(error) => error.to_string().into(),
    }
}
