//! The one thread that writes recorded verifications to the log.
//!
//! It takes a lane's batch, seals it into events, appends them at once, and settles the batch. While the
//! append is in flight the next batch fills: group commit without a timer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyledger_projections::PoolId;
use keyledger_schema::codec::{self, Outcome};
use keyledger_schema::{Actor, Envelope, Event, EventId, NodeId, Sealer, Source, Stream, sealing};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::events::{self, Draft};
use super::lane::{Lane, Taken};
use super::pending::{MAX_RECORDS, Pending};
use super::{Figures, Shared, UNKNOWN_INTERVAL};
use crate::edge::Edge;
use crate::store::{AppendError, EventStore, NewEvent};
use crate::stream_head::StreamHead;

/// How long a relaxed lane fills at most.
const RELAXED_INTERVAL: Duration = Duration::from_secs(1);
/// Between two attempts to write what was already answered.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// Attempts when the node is stopping: five seconds.
const LAST_ATTEMPTS: u32 = 20;
/// The most events in one append: 15 MiB.
const EVENTS_PER_APPEND: usize = 256;

/// Why an append did not happen.
enum Failure {
    /// Nothing was written; it may be tried again.
    NotNow,
    /// Nothing can be written any more by this recorder.
    Fatal(&'static str),
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Arc<dyn EventStore>,
    pub(super) edge: Edge,
    pub(super) sealer: Arc<dyn Sealer>,
    pub(super) node: NodeId,
    pub(super) head: StreamHead,
    pub(super) next_seq: u64,
    pub(super) strict: bool,
    pub(super) event_type: Arc<str>,
    pub(super) stream_name: String,
}

/// However the thread ends, nobody waits for it any more.
struct Ended(Arc<Shared>, watch::Sender<bool>);

impl Drop for Ended {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lost.store(true, Ordering::Release);
        }
        self.0.stop("the recorder has ended");
        drop((self.0.known.take(), self.0.unknown.take()));
        self.1.send_replace(true);
    }
}

impl Writer {
    pub(super) async fn run(mut self, ended: watch::Sender<bool>) {
        let shared = Arc::clone(&self.shared);
        let ended = Ended(Arc::clone(&shared), ended);
        let start = Instant::now();
        let interval = if self.strict { Duration::ZERO } else { RELAXED_INTERVAL };
        let mut known = Turn { lane: &shared.known, interval, not_before: start };
        let interval = interval.max(UNKNOWN_INTERVAL);
        let mut unknown = Turn { lane: &shared.unknown, interval, not_before: start };
        loop {
            let closing = shared.closing.load(Ordering::Acquire);
            let now = Instant::now();
            // Each lane has its turn even when the other is never empty.
            let mut idle = true;
            for turn in [&mut known, &mut unknown] {
                if let Some(taken) = turn.take(now, closing) {
                    idle = false;
                    self.write(taken).await;
                }
            }
            if !idle {
                continue;
            }
            if closing {
                break;
            }
            match known.wake_at().into_iter().chain(unknown.wake_at()).min() {
                // Woken or not, the loop looks again.
                Some(at) => drop(timeout_at(at, shared.wake.notified()).await),
                None => shared.wake.notified().await,
            }
        }
        drop(ended);
    }

    /// Writes a batch and tells those who wait for it.
    async fn write(&mut self, mut taken: Taken) {
        let written = self.write_all(std::mem::take(&mut taken.pending)).await;
        if let Err(failure) = &written {
            // Whoever waits is told. What was answered before is lost, and so is certainty.
            if !self.strict || matches!(failure, Failure::Fatal(_)) {
                self.shared.lost.store(true, Ordering::Release);
            }
            if let Failure::Fatal(reason) = failure {
                self.shared.stop(reason);
            }
        }
        taken.batch.settle(written.is_ok());
    }

    async fn write_all(&mut self, pending: Pending) -> Result<(), Failure> {
        if self.shared.stopped.get().is_some() {
            return Err(Failure::Fatal("the recorder was stopped"));
        }
        let mut drafts = events::draft(pending.into_records(), self.next_seq).into_iter();
        loop {
            let some: Vec<Draft> = drafts.by_ref().take(EVENTS_PER_APPEND).collect();
            if some.is_empty() {
                return Ok(());
            }
            let spent = spent(&some);
            if let Err(failure) = self.append(some).await {
                if matches!(failure, Failure::NotNow) {
                    for (pool, credits) in spent.into_iter().chain(self::spent(drafts.as_slice())) {
                        (self.shared.give_back)(pool, credits);
                    }
                }
                return Err(failure);
            }
        }
    }

    /// Appends events and takes note of them.
    async fn append(&mut self, drafts: Vec<Draft>) -> Result<(), Failure> {
        let figures = Figures::of(&drafts);
        let (sealed, head) = self.seal(drafts)?;
        let expected = self.head.expected();
        let mut attempts = 0;
        loop {
            match self.store.append(&self.stream_name, expected, sealed.clone()).await {
                Ok(_) => break,
                Err(error) => self.failed(&error)?,
            }
            // Nothing was written. A strict request is told so; what a relaxed one was answered has to
            // be written, and until then memory fills up to its bound and requests wait.
            attempts += 1;
            let closing = self.shared.closing.load(Ordering::Acquire);
            if self.strict || (closing && attempts >= LAST_ATTEMPTS) {
                return Err(Failure::NotNow);
            }
            sleep(RETRY_INTERVAL).await;
        }
        self.head = head;
        self.next_seq += figures.events;
        self.shared.counters.add(figures);
        Ok(())
    }

    /// `Ok` where nothing was written and trying again may help.
    fn failed(&self, error: &AppendError) -> Result<(), Failure> {
        tracing::error!(%error, "recorded verifications were not written");
        match error {
            AppendError::Unavailable(_) if self.store.stopped().is_none() => Ok(()),
            AppendError::Unavailable(_) => Err(Failure::Fatal("the event store takes no writes any more")),
            AppendError::OutcomeUnknown(_) => {
                Err(Failure::Fatal("it is unknown whether the last recorded verifications are in the log"))
            }
            AppendError::Conflict { .. } => {
                Err(Failure::Fatal("another process writes to the usage stream of this node"))
            }
            AppendError::TooLarge { .. } | AppendError::Invalid(_) => {
                Err(Failure::Fatal("the event store does not accept recorded verifications"))
            }
        }
    }

    fn seal(&self, drafts: Vec<Draft>) -> Result<(Vec<NewEvent>, StreamHead), Failure> {
        let at = self.edge.now();
        let mut head = self.head;
        let mut sealed = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let id = self.edge.uuid();
            let revision = head.next_revision();
            let sealed_event = Envelope {
                id: EventId::from_uuid(id),
                stream: Stream::Usage(self.node),
                revision,
                at,
                organization: draft.organization,
                workspace: None,
                actor: Actor::node(self.node),
                source: Source::default(),
                request: None,
                cause: None,
                outcome: Outcome::Success,
                prev: head.prev(),
                event: Event::UsageRecorded(draft.data),
            }
            .seal(&*self.sealer)
            .map_err(|error| {
                tracing::error!(%error, "recorded verifications cannot be sealed");
                match error {
                    // Sealing without them would leave out of the log what belongs into it.
                    codec::Error::Personal(sealing::Error::Unreadable(_)) => Failure::NotNow,
                    _ => Failure::Fatal("recorded verifications cannot be sealed"),
                }
            })?;
            let bytes = sealed_event.bytes;
            head = StreamHead::at(revision, &bytes);
            sealed.push(NewEvent { id, event_type: Arc::clone(&self.event_type), bytes: bytes.into() });
        }
        Ok((sealed, head))
    }
}

/// The credits that records tell of.
fn spent(drafts: &[Draft]) -> Vec<(PoolId, u64)> {
    let records = drafts.iter().flat_map(|draft| &draft.data.groups).flat_map(|group| &group.records);
    let spent = records.filter_map(|record| Some((record.key?, &record.spent)));
    spent
        .flat_map(|(key, all)| all.iter().map(move |spent| (PoolId::of(key, spent), spent.credits)))
        .collect()
}

/// When a lane is written next.
struct Turn<'a> {
    lane: &'a Lane,
    interval: Duration,
    not_before: Instant,
}

impl Turn<'_> {
    /// What is due.
    fn take(&mut self, now: Instant, closing: bool) -> Option<Taken> {
        if !closing && now < self.not_before && !self.lane.eager() {
            return None;
        }
        let taken = self.lane.take()?;
        self.not_before = now + self.interval;
        Some(taken)
    }

    /// When to look again; none while it is empty.
    fn wake_at(&self) -> Option<Instant> {
        (self.lane.len() > 0).then_some(self.not_before)
    }
}

const _: () = assert!(super::EAGER_RECORDS < MAX_RECORDS);
