//! What is known of the ends of streams: under the newest commitment, and since.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use keyledger_schema::event::{Event, HeadsCommitted};
use keyledger_schema::{Envelope, Hex32, Stream};

use crate::audit::heads::{Excerpt, Head, Map};
use crate::store::{Position, Recorded};

/// The type of commitments.
const COMMITTED: &str = "log.heads_committed";

/// Follows the log in order, from its first event on.
#[derive(Default)]
pub(super) struct Ledger {
    map: Map,
    /// Whether `map` is what the newest commitment of ours says. Then it must stay so, and heads wait.
    held: bool,
    waiting: HashMap<Arc<str>, Head>,
    /// How many events were looked at.
    looked_at: u64,
    position: Option<Position>,
    /// The number of events up to the last one that is no commitment.
    news_to: u64,
    /// The largest size that a commitment in the log covers.
    committed_to: u64,
}

impl Ledger {
    /// Looks at the next events.
    pub(super) fn look_at(&mut self, events: &[Recorded]) {
        let mut last: HashMap<&Arc<str>, &Recorded> = HashMap::new();
        for event in events {
            self.looked_at += 1;
            if &*event.event_type == COMMITTED {
                self.committed_to = self.committed_to.max(size_of(event));
            } else {
                self.news_to = self.looked_at;
            }
            last.insert(&event.stream, event);
        }
        self.position = events.last().map(|event| event.position).or(self.position);
        for (stream, event) in last {
            let head = Head::of(event.revision, &event.bytes);
            if self.held {
                self.waiting.insert(Arc::clone(stream), head);
            } else {
                self.map.set(stream, &head);
            }
        }
    }

    /// Where it is.
    pub(super) fn position(&self) -> Option<Position> {
        self.position
    }

    /// Whether something happened that no commitment covers, other than commitments.
    pub(super) fn has_news(&self) -> bool {
        self.news_to > self.committed_to
    }

    /// Whether proofs can be given as it is.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// What a commitment to everything looked at says. Until it is [`Self::committed`] no proof can be given.
    pub(super) fn commit(&mut self) -> HeadsCommitted {
        self.held = false;
        for (stream, head) in mem::take(&mut self.waiting) {
            self.map.set(&stream, &head);
        }
        HeadsCommitted {
            tree_size: self.looked_at,
            streams: self.map.len() as u64,
            root: Hex32(self.map.root()),
        }
    }

    /// The commitment is in the log.
    pub(super) fn committed(&mut self, committed: &HeadsCommitted) {
        self.held = true;
        self.committed_to = self.committed_to.max(committed.tree_size);
    }

    /// Under the newest commitment.
    pub(super) fn excerpt(&mut self, streams: &[Stream]) -> Excerpt {
        self.map.excerpt(streams.iter().map(ToString::to_string))
    }

    /// Streams, and the memory of the map in bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.map.len(), self.map.bytes())
    }
}

/// How many events a commitment covers. One that cannot be read covers none.
fn size_of(event: &Recorded) -> u64 {
    match Envelope::open(&event.bytes).map(|envelope| envelope.event) {
        Ok(Event::HeadsCommitted(committed)) => committed.tree_size,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
