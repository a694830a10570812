//! Where requests leave their records and wait for them to be written.
//!
//! A lane has one batch that is filling. The writer takes it whole and puts an empty one in its place, so
//! the lock is held for a hash table's insert and never for I/O.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use keyledger_schema::Timestamp;

use super::pending::{Added, Pending};
use super::{Shared, Use};
use crate::error::Error;

/// The most requests that wait for one batch, or for room. Clients that give up and come again while the
/// store stalls would otherwise fill memory.
const MAX_WAITING: usize = 65_536;

const FILLING: u8 = 0;
const WRITTEN: u8 = 1;
const FAILED: u8 = 2;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the requests of one batch wait for together.
#[derive(Default)]
pub(super) struct Batch {
    outcome: AtomicU8,
    waiting: Mutex<Vec<Waker>>,
}

impl Batch {
    pub(super) fn settle(&self, written: bool) {
        self.outcome.store(if written { WRITTEN } else { FAILED }, Ordering::Release);
        for waker in std::mem::take(&mut *lock(&self.waiting)) {
            waker.wake();
        }
    }

    fn answer(&self) -> Option<Result<(), Error>> {
        match self.outcome.load(Ordering::Acquire) {
            FILLING => None,
            WRITTEN => Some(Ok(())),
            _ => Some(Err(unavailable())),
        }
    }

    /// Waits from now on; gives the place in the queue, unless too many wait.
    fn join(&self, context: &Context<'_>) -> Option<usize> {
        let mut waiting = lock(&self.waiting);
        (waiting.len() < MAX_WAITING).then(|| {
            waiting.push(context.waker().clone());
            waiting.len() - 1
        })
    }

    /// Waits on, maybe as another task.
    fn wait(&self, place: usize, context: &Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(answer) = self.answer() {
            return Poll::Ready(answer);
        }
        let mut waiting = lock(&self.waiting);
        // Settled in between: the outcome is stored before the queue is emptied.
        if let Some(answer) = self.answer() {
            return Poll::Ready(answer);
        }
        if let Some(waker) = waiting.get_mut(place) {
            waker.clone_from(context.waker());
        }
        Poll::Pending
    }
}

/// A batch that the writer has taken. Dropped without an outcome, it fails, so nobody waits for ever.
pub(super) struct Taken {
    pub(super) pending: Pending,
    pub(super) batch: Arc<Batch>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.batch.answer().is_none() {
            self.batch.settle(false);
        }
    }
}

pub(super) fn unavailable() -> Error {
    Error::unavailable(
        "the use of the key could not be recorded, so it was not verified; repeat the request in a moment",
    )
}

#[derive(Default)]
struct Filling {
    pending: Pending,
    batch: Arc<Batch>,
    /// Requests that found no room.
    blocked: Vec<Waker>,
    closed: bool,
}

/// See the head of this module.
pub(super) struct Lane {
    filling: Mutex<Filling>,
    /// Whether a verifier's addresses are capped.
    capped: bool,
    /// Whether requests wait until their batch is written.
    durable: bool,
    /// The writer is told when so many records wait.
    eager_at: usize,
}

impl Lane {
    pub(super) fn new(capped: bool, durable: bool, eager_at: usize) -> Self {
        Self { filling: Mutex::default(), capped, durable, eager_at }
    }

    /// How many records wait.
    pub(super) fn len(&self) -> usize {
        lock(&self.filling).pending.len()
    }

    /// Whether enough records wait to be written before their time.
    pub(super) fn eager(&self) -> bool {
        self.len() >= self.eager_at
    }

    /// Takes what waits, if anything does.
    pub(super) fn take(&self) -> Option<Taken> {
        let (taken, blocked) = {
            let mut filling = lock(&self.filling);
            if filling.pending.is_empty() {
                return None;
            }
            // The next batch is likely as large as this one.
            let next = Pending::with_capacity(filling.pending.len());
            let pending = std::mem::replace(&mut filling.pending, next);
            let batch = std::mem::take(&mut filling.batch);
            (Taken { pending, batch }, std::mem::take(&mut filling.blocked))
        };
        blocked.into_iter().for_each(Waker::wake);
        Some(taken)
    }

    /// Takes no further records. What waits can still be taken.
    pub(super) fn close(&self) {
        let blocked = {
            let mut filling = lock(&self.filling);
            filling.closed = true;
            std::mem::take(&mut filling.blocked)
        };
        blocked.into_iter().for_each(Waker::wake);
    }
}

enum Step {
    New,
    Waiting { batch: Arc<Batch>, place: usize },
}

/// A use that is being recorded: ready when its answer may be given.
#[must_use = "nothing is recorded until this is awaited"]
pub struct Recording<'a> {
    pub(super) shared: &'a Shared,
    /// Until it waits to be written.
    pub(super) used: Option<Use>,
    pub(super) at: Timestamp,
    step: Step,
}

impl<'a> Recording<'a> {
    pub(super) fn new(shared: &'a Shared, used: Use, at: Timestamp) -> Self {
        Self { shared, used: Some(used), at, step: Step::New }
    }
}

impl Future for Recording<'_> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Step::Waiting { batch, place } = &this.step {
            return batch.wait(*place, context);
        }
        let Some(used) = this.used.take() else { return Poll::Ready(Err(unavailable())) };
        let lane = this.shared.lane(&used);
        let records = {
            let mut filling = lock(&lane.filling);
            if filling.closed {
                this.used = Some(used);
                return Poll::Ready(Err(unavailable()));
            }
            let before = filling.pending.len();
            let records = match filling.pending.add(used, this.at, lane.capped) {
                Added::Waits(records) => records,
                Added::NoRoom(used) => {
                    this.used = Some(used);
                    if filling.blocked.len() >= MAX_WAITING {
                        return Poll::Ready(Err(unavailable()));
                    }
                    filling.blocked.push(context.waker().clone());
                    return Poll::Pending;
                }
            };
            if lane.durable {
                let Some(place) = filling.batch.join(context) else {
                    return Poll::Ready(Err(unavailable()));
                };
                this.step = Step::Waiting { batch: Arc::clone(&filling.batch), place };
            }
            if records == before { 0 } else { records }
        };
        if records == 1 || records == lane.eager_at {
            this.shared.wake.notify_one();
        }
        if lane.durable { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl Drop for Recording<'_> {
    /// What nobody will write was not spent either.
    fn drop(&mut self) {
        if let Some(used) = &self.used {
            used.spent().for_each(|(pool, credits)| (self.shared.give_back)(pool, credits));
        }
    }
}
