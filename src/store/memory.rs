//! The event store in memory, for tests: the contract without a disk.
//!
//! It forgets everything when it is dropped and must never stand behind a service.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::watch;
use uuid::Uuid;

use super::feed::{self, Feed, Page, Pages};
use super::{
    AppendError, Appended, Capabilities, Direction, EventStore, Expected, Filter, NewEvent, Position,
    ReadError, Recorded, Subscription, request,
};

/// A log in memory.
pub struct MemoryStore {
    log: Arc<Log>,
    head: watch::Sender<u64>,
    log_id: Uuid,
}

#[derive(Default)]
struct Log(Mutex<Contents>);

#[derive(Default)]
struct Contents {
    /// The event at position `n` is at index `n - 1`.
    events: Vec<Recorded>,
    /// Each stream's events, by their index.
    streams: HashMap<Arc<str>, Vec<usize>>,
}

impl MemoryStore {
    /// An empty log.
    pub fn new() -> Self {
        let random = RandomState::new();
        let id = u128::from(random.hash_one(0)) << 64 | u128::from(random.hash_one(1));
        Self {
            log: Arc::default(),
            head: watch::Sender::new(0),
            log_id: uuid::Builder::from_random_bytes(id.to_be_bytes()).into_uuid(),
        }
    }

    fn append_now(
        &self,
        stream: &str,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        request::check(stream, &events)?;
        let mut contents = self.log.contents();
        let appended = contents.append(stream, expected, events)?;
        // Announced under the lock, so heads are announced in order.
        self.head.send_replace(contents.events.len() as u64);
        Ok(appended)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Log {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn append(
        &mut self,
        stream: &str,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        let indices = self.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let current = (indices.len() as u64).checked_sub(1);
        if Expected::after(current) != expected {
            return self.retried(indices, expected, &events).ok_or(AppendError::Conflict { current });
        }
        let name =
            indices.first().map_or_else(|| Arc::from(stream), |first| self.events[*first].stream.clone());
        let indices = self.streams.entry(Arc::clone(&name)).or_default();
        for event in events {
            let index = self.events.len();
            self.events.push(Recorded {
                position: Position::from_raw(index as u64 + 1),
                stream: Arc::clone(&name),
                revision: indices.len() as u64,
                id: event.id,
                event_type: event.event_type,
                bytes: event.bytes,
            });
            indices.push(index);
        }
        Ok(Appended {
            revision: indices.len() as u64 - 1,
            position: Position::from_raw(self.events.len() as u64),
        })
    }

    /// The first answer, if these very events already stand after the expected revision.
    fn retried(&self, indices: &[usize], expected: Expected, events: &[NewEvent]) -> Option<Appended> {
        let first = match expected {
            Expected::NoStream => 0,
            Expected::Exact(revision) => usize::try_from(revision).ok()?.checked_add(1)?,
        };
        let found = indices.get(first..first.checked_add(events.len())?)?;
        let same = found.iter().zip(events).all(|(index, event)| self.events[*index].id == event.id);
        let last = &self.events[*found.last()?];
        same.then_some(Appended { revision: last.revision, position: last.position })
    }

    fn stream(&self, stream: &str, from: Option<u64>, direction: Direction, max: usize) -> Vec<Recorded> {
        let indices = self.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let from = from.map(|revision| usize::try_from(revision).unwrap_or(usize::MAX));
        let event = |index: &usize| self.events[*index].clone();
        match direction {
            Direction::Forward => indices.iter().skip(from.unwrap_or(0)).take(max).map(event).collect(),
            Direction::Backward => {
                let end = from.map_or(indices.len(), |from| from.saturating_add(1).min(indices.len()));
                indices[..end].iter().rev().take(max).map(event).collect()
            }
        }
    }
}

impl Pages for Log {
    fn page(
        &self,
        after: u64,
        head: u64,
        filter: &Arc<Filter>,
        max: usize,
    ) -> BoxFuture<'static, Result<Page, ReadError>> {
        let contents = self.contents();
        let start = usize::try_from(after).unwrap_or(usize::MAX);
        let end = usize::try_from(head).unwrap_or(usize::MAX);
        let mut page = Page { events: Vec::new(), through: head };
        for event in contents.events[start..end].iter().filter(|event| filter.passes(&event.event_type)) {
            page.events.push(event.clone());
            if page.events.len() == max {
                page.through = event.position.raw();
                break;
            }
        }
        ready(Ok(page)).boxed()
    }
}

impl EventStore for MemoryStore {
    fn append(
        &self,
        stream: &str,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> BoxFuture<'static, Result<Appended, AppendError>> {
        ready(self.append_now(stream, expected, events)).boxed()
    }

    fn read_stream(
        &self,
        stream: &str,
        from: Option<u64>,
        direction: Direction,
        max: usize,
    ) -> BoxFuture<'static, Result<Vec<Recorded>, ReadError>> {
        ready(Ok(self.log.contents().stream(stream, from, direction, max))).boxed()
    }

    fn read_all(
        &self,
        after: Option<Position>,
        filter: Filter,
        max: usize,
    ) -> BoxFuture<'static, Result<Vec<Recorded>, ReadError>> {
        let head = *self.head.borrow();
        feed::read_all(Arc::clone(&self.log), after.map_or(0, Position::raw), head, filter, max).boxed()
    }

    fn subscribe_all(&self, after: Option<Position>, filter: Filter) -> Box<dyn Subscription> {
        let after = after.map_or(0, Position::raw);
        Box::new(Feed::new(Arc::clone(&self.log), self.head.subscribe(), after, filter))
    }

    fn head(&self) -> BoxFuture<'static, Result<Option<Position>, ReadError>> {
        let head = *self.head.borrow();
        ready(Ok((head > 0).then(|| Position::from_raw(head)))).boxed()
    }

    fn log_id(&self) -> Uuid {
        self.log_id
    }

    fn stopped(&self) -> Option<Arc<str>> {
        None
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "memory", durable: false, shared: false }
    }
}
