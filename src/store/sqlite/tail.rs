//! The newest events, kept in memory so that live subscribers need not ask the database.
//!
//! Invariants: it holds a gapless run of durable events that ends at the head; its size is bounded,
//! whoever reads how slowly. Whoever is behind its first event reads the database instead.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::feed::Page;
use crate::store::{Filter, Recorded};

const MAX_EVENTS: usize = 4_096;
const MAX_BYTES: usize = 8 * 1024 * 1024;

#[derive(Default)]
pub(super) struct Tail(Mutex<Events>);

#[derive(Default)]
struct Events {
    events: VecDeque<Recorded>,
    bytes: usize,
}

impl Tail {
    /// Adds events that have just become durable and come right after those already here.
    pub(super) fn push(&self, events: Vec<Recorded>) {
        let mut tail = self.events();
        tail.bytes += events.iter().map(|event| event.bytes.len()).sum::<usize>();
        tail.events.extend(events);
        while tail.events.len() > MAX_EVENTS || tail.bytes > MAX_BYTES {
            let Some(oldest) = tail.events.pop_front() else { break };
            tail.bytes -= oldest.bytes.len();
        }
    }

    /// Events after `after` and not beyond `head`, at most `max`; `None` when they are not all here.
    pub(super) fn page(&self, after: u64, head: u64, filter: &Filter, max: usize) -> Option<Page> {
        let tail = self.events();
        let first = tail.events.front()?.position.raw();
        let start = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        let end = usize::try_from((head + 1).checked_sub(first)?).ok()?;
        if end > tail.events.len() {
            return None;
        }
        let mut page = Page { events: Vec::new(), through: head };
        for event in tail.events.range(start..end).filter(|event| filter.passes(&event.event_type)) {
            page.events.push(event.clone());
            if page.events.len() == max {
                page.through = event.position.raw();
                break;
            }
        }
        Some(page)
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
