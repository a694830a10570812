//! The recorder: every verification is written to the log, refusals and unknown keys too.
//!
//! Verifications that come together and agree in all that is recorded, times aside, are merged into one record,
//! and records become `usage.recorded` events of the node's usage stream. Each event is of one organization,
//! since its raw bytes are shown to that organization's auditors.
//!
//! - **Strict**: [`Recorder::record`] is ready when the record is durable. Requests that arrive while an
//!   append is in flight form the next batch; a single request waits for nobody.
//! - **Relaxed**: it is ready at once, and what waits is written within a second, or when it fills an
//!   event. When the store stalls, what waits is kept up to a bound; then requests wait.
//!
//! Verifications that name no key, because the secret is unknown, malformed or another tenant's, have a
//! lane of their own: anybody can send random keys. It is written at most ten times a second (once a second
//! in relaxed mode), and a verifier's records beyond 64 addresses are merged into one without an
//! address. An organization's event in it holds at most 64 + 12 records of some 200 bytes for each verifier
//! that asked: a flood adds at most 200 kB a second to the log for each verifier, whatever its rate,
//! and typically 20 kB when it comes from one address. A record's `merged` counts verifications, which
//! is the most records that it can stand for.
//!
//! When a write fails so that its outcome is unknown, the recorder stops, and from then on every
//! verification is refused with `UNAVAILABLE`: nothing is answered that is not recorded. Credits that were spent
//! for verifications which were certainly not recorded are given back.
//!
//! Architecture invariant: this module and `service` are the only ones that append.

mod events;
mod lane;
mod pending;
mod writer;

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use keyledger_projections::PoolId;
use keyledger_schema::event::UsageMode;
use keyledger_schema::{
    Action, KeyId, Means, NodeId, OrganizationId, Sealer, Spent, Stream, Timestamp, VerificationCode,
};
use tokio::sync::{Notify, watch};

use self::events::Draft;
use self::lane::Lane;
pub use self::lane::Recording;
use self::writer::Writer;
use super::tags::Tags;
use crate::edge::Edge;
use crate::error::Error;
use crate::store::EventStore;
use crate::stream_head::StreamHead;

/// The least time between two writes of verifications that name no key.
pub const UNKNOWN_INTERVAL: Duration = Duration::from_millis(100);
/// In relaxed mode so many waiting records are written before their second is over: about one event.
const EAGER_RECORDS: usize = 512;
/// The name of what is written.
const EVENT_TYPE: &str = "usage.recorded";

/// Gives back credits that verifications spent which could not be recorded.
pub type GiveBack = Arc<dyn Fn(PoolId, u64) + Send + Sync>;

/// What is recorded of some verifications only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Detail {
    /// On which resource.
    pub resource: Option<Box<str>>,
    /// What it is filed under.
    pub tags: Tags,
    /// How many calls it counts as.
    pub cost: u32,
    /// What it spent of credits.
    pub spent: [Option<Spent>; 2],
}

impl Detail {
    /// Whether it says nothing that does not go without saying.
    pub fn is_plain(&self) -> bool {
        self.resource.is_none() && self.tags.is_empty() && self.cost == 1 && self.spent == [None; 2]
    }
}

/// One verification, as it is counted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Use {
    /// Whose event it stands in: the key's organization, or the verifier's where no key is named.
    pub organization: Option<OrganizationId>,
    /// The key that asked; none for an open listener.
    pub by: Option<KeyId>,
    /// The key whose secret matched; none where the asker may not know of one.
    pub key: Option<KeyId>,
    /// Which of its secrets.
    pub secret: Option<u32>,
    /// How the key was used, if not by its secret.
    pub means: Option<Means>,
    /// What is answered.
    pub code: VerificationCode,
    /// What the holder wants to do.
    pub action: Option<Action>,
    /// The holder's address.
    pub ip: Option<IpAddr>,
    /// What goes beyond that.
    pub detail: Option<Box<Detail>>,
}

impl Use {
    /// The credits that it spent, and whose they were.
    fn spent(&self) -> impl Iterator<Item = (PoolId, u64)> + '_ {
        let spent = self.detail.iter().flat_map(|detail| detail.spent.iter().flatten());
        spent.filter_map(|spent| Some((PoolId::of(self.key?, spent), spent.credits)))
    }
}

/// What was written since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Verifications.
    pub recorded: u64,
    /// Events.
    pub events: u64,
    /// Verifications that were merged into a record without their address.
    pub merged: u64,
}

#[derive(Default)]
struct Counters {
    recorded: AtomicU64,
    events: AtomicU64,
    merged: AtomicU64,
}

impl Figures {
    fn of(drafts: &[Draft]) -> Self {
        let records = || drafts.iter().flat_map(|draft| &draft.data.groups).flat_map(|group| &group.records);
        Self {
            recorded: records().map(|record| record.count).sum(),
            events: drafts.len() as u64,
            merged: records().filter_map(|record| record.merged).sum(),
        }
    }
}

impl Counters {
    fn add(&self, figures: Figures) {
        self.recorded.fetch_add(figures.recorded, Ordering::Relaxed);
        self.merged.fetch_add(figures.merged, Ordering::Relaxed);
        self.events.fetch_add(figures.events, Ordering::Relaxed);
    }
}

struct Shared {
    known: Lane,
    unknown: Lane,
    wake: Notify,
    closing: AtomicBool,
    stopped: OnceLock<Arc<str>>,
    /// Something that was answered is not in the log, or may not be.
    lost: AtomicBool,
    counters: Counters,
    give_back: GiveBack,
}

impl Shared {
    fn lane(&self, used: &Use) -> &Lane {
        if used.key.is_some() { &self.known } else { &self.unknown }
    }

    fn close(&self) {
        self.known.close();
        self.unknown.close();
        self.closing.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn stop(&self, reason: &str) {
        let _ = self.stopped.set(reason.into());
        self.close();
    }
}

/// See the head of this module.
pub struct Recorder {
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
}

impl Recorder {
    /// Starts recording to the usage stream of `node`, which stands at `head`. `next_seq` is the sequence
    /// number of the next event: one more than the last recorded, 0 in an empty stream. What belongs to a
    /// subject that `sealer` has no data key of is left out of what is recorded.
    #[allow(clippy::too_many_arguments, reason = "each part is another")]
    pub fn start(
        store: Arc<dyn EventStore>,
        edge: Edge,
        node: NodeId,
        head: StreamHead,
        next_seq: u64,
        mode: UsageMode,
        give_back: GiveBack,
        sealer: Arc<dyn Sealer>,
    ) -> io::Result<Self> {
        let strict = mode == UsageMode::Strict;
        let shared = Arc::new(Shared {
            known: Lane::new(false, strict, if strict { usize::MAX } else { EAGER_RECORDS }),
            unknown: Lane::new(true, strict, usize::MAX),
            wake: Notify::new(),
            closing: AtomicBool::new(false),
            stopped: OnceLock::new(),
            lost: AtomicBool::new(false),
            counters: Counters::default(),
            give_back,
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            store,
            edge,
            sealer,
            node,
            head,
            next_seq,
            strict,
            event_type: EVENT_TYPE.into(),
            stream_name: Stream::Usage(node).to_string(),
        };
        let (send_ended, ended) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || runtime.block_on(writer.run(send_ended)))?;
        Ok(Self { shared, ended })
    }

    /// Records a verification that is about to be answered. Ready when the answer may be given.
    pub fn record(&self, used: Use, at: Timestamp) -> Recording<'_> {
        Recording::new(&self.shared, used, at)
    }

    /// Why nothing is recorded any more, if so. Every verification is refused then.
    pub fn stopped(&self) -> Option<Arc<str>> {
        self.shared.stopped.get().cloned()
    }

    /// What was written since the start.
    pub fn figures(&self) -> Figures {
        let counters = &self.shared.counters;
        Figures {
            recorded: counters.recorded.load(Ordering::Relaxed),
            events: counters.events.load(Ordering::Relaxed),
            merged: counters.merged.load(Ordering::Relaxed),
        }
    }

    /// Takes no further records, writes what waits, and returns when it is durable. Fails with
    /// `UNAVAILABLE` when some of it could not be written.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.shared.close();
        let mut ended = self.ended.clone();
        let ended = ended.wait_for(|ended| *ended).await.is_ok();
        if ended && !self.shared.lost.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(Error::unavailable("not all verifications could be recorded before the end"))
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.close();
    }
}

#[cfg(test)]
mod tests;
