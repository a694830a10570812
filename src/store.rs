//! The event store: the one thing that is true.
//!
//! This module is the contract. `memory` and `sqlite` implement it and one conformance suite in
//! `tests/store_conformance.rs` runs on each of them. The store moves bytes: it knows streams,
//! revisions and positions, never what an event means.
//!
//! # Contract
//!
//! - **Durable on return.** [`EventStore::append`] answers `Ok` only when the events are on stable
//!   storage. Nothing is visible to any reader or subscription before that.
//! - **Compare and swap.** The events are written if and only if the stream is at the expected
//!   revision; otherwise nothing is written and the answer is [`AppendError::Conflict`] with the
//!   revision found. An append is whole: all its events or none.
//! - **Retry.** Event ids are the caller's. An append whose ids already stand in the stream right
//!   after the expected revision is a retry and answers as the first time did, with the first
//!   positions, and writes nothing. A retry of only some of those ids, from the first one on, is
//!   answered likewise. The same first ids followed by new ones is a conflict.
//! - **Dense revisions.** The first event of a stream has revision 0, each next one more.
//! - **Ordered positions.** A position is opaque to callers; it grows in log order. Across streams the
//!   order of positions is the order in which readers and subscriptions see the events.
//! - **`after` is exclusive** everywhere. `None` means from the very beginning.
//! - **Unknown outcomes are fatal.** When a commit fails in a way that may or may not have reached the
//!   disk, every append in it answers [`AppendError::OutcomeUnknown`] and the store takes no further
//!   append until it is opened again ([`AppendError::Unavailable`]).
//!
//! Architecture invariant: nothing but `service` and `verify::recorder` calls `append`.

mod feed;
pub mod memory;
mod request;
pub mod sqlite;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use uuid::Uuid;

/// The largest payload of one event, in bytes (60 KiB). Source: an entry of a C2SP tlog-tiles bundle
/// has a 16-bit length, and 4 KiB are kept for framing.
pub const MAX_EVENT_BYTES: usize = 60 * 1024;
/// The most events in one append.
pub const MAX_EVENTS_PER_APPEND: usize = 1_024;
/// The longest stream name, in bytes.
pub const MAX_STREAM_NAME_BYTES: usize = 200;
/// The longest name of an event type, in bytes.
pub const MAX_EVENT_TYPE_BYTES: usize = 100;

/// Where an event stands in the whole log. Opaque: only order and equality mean anything outside the
/// store that gave it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Position(u64);

impl Position {
    /// For stores and for read models that keep a position they were given.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
    /// For stores and for read models that keep a position they were given.
    pub const fn raw(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What the writer believes about a stream before the append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// The stream has no event yet.
    NoStream,
    /// The last event of the stream has this revision.
    Exact(u64),
}

impl Expected {
    /// The expectation of a writer who has seen a stream up to `last`.
    pub fn after(last: Option<u64>) -> Self {
        last.map_or(Self::NoStream, Self::Exact)
    }
    /// The revision that the first appended event gets.
    pub const fn first_revision(self) -> u64 {
        match self {
            Self::NoStream => 0,
            Self::Exact(n) => n + 1,
        }
    }
}

/// An event to append.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEvent {
    /// Chosen by the caller, unique.
    pub id: Uuid,
    /// The type's name, such as `key.issued`; what filters match. At most
    /// [`MAX_EVENT_TYPE_BYTES`], not empty.
    pub event_type: Arc<str>,
    /// The exact bytes to store, at most [`MAX_EVENT_BYTES`]. Any bytes; none at all is allowed too.
    pub bytes: Arc<[u8]>,
}

/// An event as it stands in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// Its place in the log.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: Arc<str>,
    /// Its place in the stream.
    pub revision: u64,
    /// The id its writer chose.
    pub id: Uuid,
    /// The type's name.
    pub event_type: Arc<str>,
    /// The stored bytes, unchanged.
    pub bytes: Arc<[u8]>,
}

/// The answer to an append that is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Revision of the last event written (or, on a retry, found).
    pub revision: u64,
    /// Position of that event.
    pub position: Position,
}

/// Why an append wrote nothing, or may have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendError {
    /// The stream is not where the writer thought. Nothing was written.
    #[error("the stream is at another revision than expected")]
    Conflict {
        /// The revision of its last event; `None` when it has none.
        current: Option<u64>,
    },
    /// An event, a name or the append as a whole exceeds a limit. Nothing was written.
    #[error("{what} is {actual}, the limit is {limit}")]
    TooLarge {
        /// What exceeds: `event bytes`, `event type bytes`, `events in one append`,
        /// `stream name bytes`.
        what: &'static str,
        /// Its size.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// The append asked for nothing or is malformed. Nothing was written.
    #[error("{0}")]
    Invalid(&'static str),
    /// The store takes no appends now (closed, disk full, stopped after a fatal error). Nothing was
    /// written.
    #[error("the event store takes no writes: {0}")]
    Unavailable(Arc<str>),
    /// The commit failed in a way that does not tell whether the events are on disk. Opening the store
    /// again and retrying with the same ids settles it.
    #[error("it is unknown whether the events were written: {0}")]
    OutcomeUnknown(Arc<str>),
}

/// Why a read failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// The store cannot be read now.
    #[error("the event store cannot be read: {0}")]
    Unavailable(Arc<str>),
    /// An event's stored bytes do not match the checksum written with them.
    #[error("the log is damaged at position {position}: {what}")]
    Damaged {
        /// Where.
        position: Position,
        /// What does not fit.
        what: Arc<str>,
    },
}

/// The order of a stream read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Rising revisions.
    Forward,
    /// Falling revisions.
    Backward,
}

/// Which events a read of the whole log delivers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Filter {
    /// Every event.
    #[default]
    All,
    /// Events of one of these types.
    Types(Vec<Arc<str>>),
    /// Events of every type but these.
    NotTypes(Vec<Arc<str>>),
}

impl Filter {
    /// Whether an event of this type passes.
    pub fn passes(&self, event_type: &str) -> bool {
        match self {
            Self::All => true,
            Self::Types(types) => types.iter().any(|t| &**t == event_type),
            Self::NotTypes(types) => types.iter().all(|t| &**t != event_type),
        }
    }
}

/// What a subscription delivers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Events in log order, at least one, each exactly once.
    Events(Vec<Recorded>),
    /// Everything durable when the subscription looked has been delivered; what follows is live. Sent
    /// once, the first time the end of the log is reached.
    CaughtUp,
}

/// A subscription to the log. It reads the log at its own pace: a slow consumer costs no memory in the
/// store and slows no writer.
pub trait Subscription: Send {
    /// Waits for the next delivery. After an error the subscription can be asked again and goes on
    /// after the last event delivered.
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery, ReadError>>;
}

/// What a store can and cannot do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Name for logs and messages: `sqlite`, `memory`.
    pub name: &'static str,
    /// Whether events outlive the process.
    pub durable: bool,
    /// Whether other processes may append to the same log.
    pub shared: bool,
}

/// See the contract at the top of this module.
pub trait EventStore: Send + Sync + 'static {
    /// Appends events to one stream if it stands where expected. The append is under way when this
    /// returns; dropping the future gives up the answer, not the append.
    fn append(
        &self,
        stream: &str,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> BoxFuture<'static, Result<Appended, AppendError>>;

    /// Up to `max` events of a stream. Forward: from revision `from` (default 0) on. Backward: from
    /// `from` (default the last) down. `from` is inclusive. An unknown stream is empty.
    fn read_stream(
        &self,
        stream: &str,
        from: Option<u64>,
        direction: Direction,
        max: usize,
    ) -> BoxFuture<'static, Result<Vec<Recorded>, ReadError>>;

    /// Up to `max` events that pass the filter, in log order, strictly after `after`.
    fn read_all(
        &self,
        after: Option<Position>,
        filter: Filter,
        max: usize,
    ) -> BoxFuture<'static, Result<Vec<Recorded>, ReadError>>;

    /// Every event that passes the filter, from history into live, strictly after `after`.
    fn subscribe_all(&self, after: Option<Position>, filter: Filter) -> Box<dyn Subscription>;

    /// Position of the newest durable event; `None` in an empty log.
    fn head(&self) -> BoxFuture<'static, Result<Option<Position>, ReadError>>;

    /// A random id given to the log when it was created. A read model made from another log is
    /// recognized by it.
    fn log_id(&self) -> Uuid;

    /// Why the store takes no appends any more, if so.
    fn stopped(&self) -> Option<Arc<str>>;

    /// What this store can do.
    fn capabilities(&self) -> Capabilities;
}
