//! The ledger over events that nobody has to write to a disk.

use std::sync::Arc;

use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{Event, NodeStopped};
use keyledger_schema::{Actor, ChainHash, Envelope, EventId, LogId, NodeId, Source, Stream, Timestamp};
use uuid::Uuid;

use super::{Ledger, Position, Recorded};
use crate::audit::heads::{Head, Map, Proof};
use crate::test_keys::Keys;

/// A log of two streams.
#[derive(Default)]
struct Log {
    events: Vec<Recorded>,
}

impl Log {
    fn add(&mut self, stream: Stream, event: Event) {
        let revision = self.events.iter().filter(|known| *known.stream == *stream.to_string()).count() as u64;
        let number = self.events.len() as u64 + 1;
        let id = Uuid::from_u128(number.into());
        let event_type = event.type_name();
        let envelope = Envelope {
            id: EventId::from_uuid(id),
            stream,
            revision,
            at: Timestamp::from_micros(1_000_000),
            organization: None,
            workspace: None,
            actor: Actor::node(NodeId::from_uuid(Uuid::from_u128(1))),
            source: Source::default(),
            request: None,
            cause: None,
            outcome: Outcome::Success,
            prev: (revision > 0).then_some(ChainHash([1; 32])),
            event,
        };
        self.events.push(Recorded {
            position: Position::from_raw(number),
            stream: stream.to_string().into(),
            revision,
            id,
            event_type: event_type.into(),
            bytes: envelope.seal(&Keys::default()).unwrap().bytes.into(),
        });
    }

    fn node(&mut self, node: u128) {
        self.add(Stream::Node(NodeId::from_uuid(Uuid::from_u128(node))), Event::NodeStopped(NodeStopped {}));
    }

    fn commitment(&mut self, committed: &super::HeadsCommitted) {
        let log = Stream::Log(LogId::from_uuid(Uuid::from_u128(9)));
        self.add(log, Event::HeadsCommitted(committed.clone()));
    }

    fn root(&self, size: usize) -> [u8; 32] {
        let mut map = Map::default();
        for event in &self.events[..size] {
            map.set(&event.stream, &Head::of(event.revision, &event.bytes));
        }
        map.root()
    }
}

#[test]
fn a_commitment_covers_what_was_looked_at_and_proofs_stay_under_it() {
    let (mut log, mut ledger) = (Log::default(), Ledger::default());
    log.node(1);
    log.node(2);
    ledger.look_at(&log.events);
    assert!(ledger.has_news() && !ledger.is_held());
    let first = ledger.commit();
    assert_eq!((first.tree_size, first.streams, first.root.0), (2, 2, log.root(2)));
    ledger.committed(&first);
    assert!(!ledger.has_news() && ledger.is_held());
    // What comes later changes no proof under the first.
    log.node(1);
    log.commitment(&first);
    ledger.look_at(&log.events[2..]);
    assert!(ledger.has_news());
    let name: Arc<str> = Arc::clone(&log.events[0].stream);
    let excerpt = ledger.excerpt(&[name.parse().unwrap()]);
    let Some(Proof::Included(proof)) = excerpt.prove(&name) else { panic!() };
    let head = Head::of(0, &log.events[0].bytes);
    assert_eq!(proof.verify(&first.root.0, &name, &head), Ok(()));
    let second = ledger.commit();
    assert_eq!((second.tree_size, second.streams, second.root.0), (4, 3, log.root(4)));
}

#[test]
fn a_commitment_alone_is_no_news_but_what_came_between_is() {
    let (mut log, mut ledger) = (Log::default(), Ledger::default());
    log.node(1);
    ledger.look_at(&log.events);
    let first = ledger.commit();
    ledger.committed(&first);
    log.commitment(&first);
    ledger.look_at(&log.events[1..]);
    assert!(!ledger.has_news());
    // The commitment of another run or node, with an event before it that it does not cover.
    let mut again = Ledger::default();
    again.look_at(&log.events);
    assert!(!again.has_news() && !again.is_held());
    let mut other = Log::default();
    other.node(1);
    other.node(1);
    other.commitment(&first);
    let mut behind = Ledger::default();
    behind.look_at(&other.events);
    assert!(behind.has_news());
}

#[test]
fn a_commitment_that_was_not_written_is_made_anew() {
    let (mut log, mut ledger) = (Log::default(), Ledger::default());
    log.node(1);
    ledger.look_at(&log.events);
    ledger.commit();
    assert!(ledger.has_news() && !ledger.is_held());
    log.node(2);
    ledger.look_at(&log.events[1..]);
    assert_eq!(ledger.commit().root.0, log.root(2));
}
