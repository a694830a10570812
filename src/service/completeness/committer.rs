//! The thread that follows the log and commits.
//!
//! Invariant: it commits only what it has looked at, in log order, and only when something other than a commitment
//! happened since the last one, so commitments do not beget commitments.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keyledger_schema::{Event, Stream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Sleep, sleep, timeout};

use super::ledger::Ledger;
use super::{Proven, Service};
use crate::edge::Stopwatch;
use crate::error::{Error, Result};
use crate::service::WrittenEvent;
use crate::store::{Delivery, Filter, Position};

/// How long a proof is waited for. After a start the whole log is looked at first.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many may ask at once before others wait.
const ASKING: usize = 256;

struct Ask {
    streams: Vec<Stream>,
    answer: oneshot::Sender<Result<Proven>>,
}

/// A handle on the thread.
pub(super) struct Committer {
    asks: mpsc::Sender<Ask>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    pub(super) fn start(service: Arc<Service>, every: Duration) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let (asks, asked) = mpsc::channel(ASKING);
        let stop = watch::Sender::new(false);
        let stopped = stop.subscribe();
        let follow = move || runtime.block_on(Follower::new(service, every).follow(asked, stopped));
        let thread = thread::Builder::new().name("heads".into()).spawn(follow)?;
        Ok(Self { asks, stop, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread and waits for it.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that commits the ends of streams panicked");
        }
    }

    /// Proofs about streams, under one commitment that covers everything that is in the log now.
    pub(super) async fn prove(&self, streams: Vec<Stream>) -> Result<Proven> {
        let (answer, answered) = oneshot::channel();
        let gone = || {
            Error::unavailable("the ends of streams are not committed any more; the node must be restarted")
        };
        self.asks.send(Ask { streams, answer }).await.map_err(|_| gone())?;
        let late =
            |_| Error::unavailable("the node has not looked at the whole log yet; try again in a while");
        timeout(PATIENCE, answered).await.map_err(late)?.map_err(|_| gone())?
    }
}

struct Follower {
    service: Arc<Service>,
    every: Duration,
    ledger: Ledger,
    newest: Option<(WrittenEvent, keyledger_schema::event::HeadsCommitted, Option<Position>)>,
    /// Who asked, and how far the log must have been looked at.
    waiting: Vec<(Option<Position>, Ask)>,
    /// When to commit; none while there is nothing new.
    due: Option<Pin<Box<Sleep>>>,
    /// Whether the end of the log was reached once: before that there is no use in committing.
    caught_up: bool,
}

impl Follower {
    fn new(service: Arc<Service>, every: Duration) -> Self {
        Self {
            service,
            every,
            ledger: Ledger::default(),
            newest: None,
            waiting: Vec::new(),
            due: None,
            caught_up: false,
        }
    }

    async fn follow(mut self, mut asks: mpsc::Receiver<Ask>, mut stop: watch::Receiver<bool>) {
        let watch = Stopwatch::start();
        let mut subscription = self.service.store.subscribe_all(None, Filter::All);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                ask = asks.recv() => match ask {
                    Some(ask) => self.take(ask).await,
                    None => return,
                },
                () = over(&mut self.due) => {
                    self.due = None;
                    if let Err(error) = self.commit().await {
                        tracing::warn!(%error, "the ends of streams cannot be committed now; trying again");
                    }
                }
                delivery = subscription.next() => match delivery {
                    Ok(Delivery::Events(events)) => self.ledger.look_at(&events),
                    Ok(Delivery::CaughtUp) => {
                        self.caught_up = true;
                        let (streams, bytes) = self.ledger.size();
                        let seconds = watch.elapsed().as_secs_f64();
                        tracing::info!(streams, bytes, seconds, "the ends of all streams are known");
                    }
                    Err(error) => {
                        tracing::error!(%error, "the ends of streams are not followed any more");
                        return;
                    }
                },
            }
            if self.caught_up && self.due.is_none() && self.ledger.has_news() {
                self.due = Some(Box::pin(sleep(self.every)));
            }
            self.answer().await;
        }
    }

    async fn take(&mut self, ask: Ask) {
        match self.service.store.head().await {
            Ok(head) => self.waiting.push((head, ask)),
            Err(error) => drop(ask.answer.send(Err(super::read_failed(&error)))),
        }
    }

    /// Commits for those who asked, once for all of them, and answers them.
    async fn answer(&mut self) {
        let here = self.ledger.position();
        let (ready, rest) = std::mem::take(&mut self.waiting).into_iter().partition(|(to, _)| *to <= here);
        self.waiting = rest;
        let ready: Vec<(Option<Position>, Ask)> = ready;
        if ready.is_empty() {
            return;
        }
        if (!self.ledger.is_held() || self.ledger.has_news())
            && let Err(error) = self.commit().await
        {
            for (_, ask) in ready {
                // Whoever gave up does not hear it.
                drop(ask.answer.send(Err(error.clone())));
            }
            return;
        }
        let Some((written, committed, covered)) = self.newest.clone() else { return };
        for (_, Ask { streams, answer }) in ready {
            let excerpt = self.ledger.excerpt(&streams);
            let (written, committed) = (written.clone(), committed.clone());
            drop(answer.send(Ok(Proven { written, committed, covered, excerpt })));
        }
    }

    async fn commit(&mut self) -> Result<()> {
        self.newest = None;
        let committed = self.ledger.commit();
        let written = self.service.append_to_own_log(Event::HeadsCommitted(committed.clone())).await?;
        self.ledger.committed(&committed);
        self.newest = Some((written, committed, self.ledger.position()));
        self.due = None;
        Ok(())
    }
}

/// Ready when it is time; never while nothing is due.
async fn over(due: &mut Option<Pin<Box<Sleep>>>) {
    match due {
        Some(due) => due.await,
        None => pending().await,
    }
}
