//! The log itself, read with the library while no server runs, and what must hold in every log.

use std::collections::{HashMap, HashSet};

use keyledger::store::sqlite::{Options, SqliteStore};
use keyledger::store::{EventStore, Filter, Recorded};
use keyledger_projections::{KeyState, PoolId, Tally};
use keyledger_schema::event::{PreviousStop, UsageMode};
use keyledger_schema::usage::UsageGapDeclared;
use keyledger_schema::{ChainHash, Envelope, Event, KeyId, NodeId, Stream};

use crate::support::Home;

/// What a log holds.
#[derive(Default)]
pub struct Log {
    /// Ids of all events, as the API writes them.
    pub ids: HashSet<String>,
    /// Ids of the events of keys.
    pub key_event_ids: HashSet<String>,
    /// Keys as their events made them.
    pub keys: HashMap<KeyId, KeyState>,
    /// Recorded verifications by key and code; no key where none matched.
    pub usage: HashMap<(Option<KeyId>, String), u64>,
    /// What verifications spent of credits.
    pub spent: HashMap<PoolId, Tally>,
    /// Declared gaps.
    pub gaps: Vec<UsageGapDeclared>,
    /// How each run found the one before it.
    pub previous_stops: Vec<PreviousStop>,
    next_seq: HashMap<NodeId, u64>,
    /// How a node records, and whether a gap was declared since it said so.
    runs: HashMap<NodeId, (UsageMode, bool)>,
    streams: HashMap<Stream, Vec<u8>>,
}

impl Log {
    /// Reads all of it. Opening it already checks the store's own checksums.
    pub fn read(home: &Home) -> Self {
        let store = SqliteStore::open(&home.data_dir(), Options::default()).expect("the log is whole");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let events = runtime.block_on(store.read_all(None, Filter::All, usize::MAX)).unwrap();
        let positions: Vec<_> = events.iter().map(|event| event.position).collect();
        assert!(positions.is_sorted_by(|a, b| a < b), "positions do not rise");
        let vault = home.vault();
        let mut log = Self::default();
        let mut revisions = HashMap::new();
        for recorded in &events {
            let envelope =
                vault.open(&recorded.bytes).unwrap_or_else(|error| panic!("{error}: {recorded:?}"));
            let revision = revisions.entry(envelope.stream).or_insert(0);
            assert_same(recorded, &envelope, *revision);
            *revision += 1;
            let previous = log.streams.insert(envelope.stream, recorded.bytes.to_vec());
            let expected = previous.as_deref().map(ChainHash::of);
            assert_eq!(
                envelope.prev, expected,
                "the chain breaks at {} of {}",
                envelope.revision, envelope.stream
            );
            log.take(&envelope);
        }
        log
    }

    fn take(&mut self, envelope: &Envelope) {
        let id = envelope.id.to_string();
        assert!(self.ids.insert(id.clone()), "{id} stands in the log twice");
        if let Stream::Key(key) = envelope.stream {
            self.key_event_ids.insert(id);
            let state = KeyState::fold(self.keys.remove(&key), envelope);
            self.keys.insert(key, state.expect("a key's first event issues it"));
        }
        match (&envelope.event, envelope.stream) {
            (Event::UsageRecorded(recorded), Stream::Usage(node)) => {
                let next = self.next_seq.entry(node).or_insert(0);
                assert_eq!(recorded.seq, *next, "the sequence of {node} is not dense");
                *next += 1;
                for record in recorded.groups.iter().flat_map(|group| &group.records) {
                    let code = record.code.as_str().to_owned();
                    *self.usage.entry((record.key, code)).or_insert(0) += record.count;
                    for spent in &record.spent {
                        let key = record.key.expect("only keys spend");
                        self.spent.entry(PoolId::of(key, spent)).or_default().add(spent);
                    }
                }
            }
            (Event::UsageGapDeclared(gap), Stream::Usage(node)) => {
                let last = self.next_seq.get(&node).and_then(|next| next.checked_sub(1));
                assert_eq!(gap.after_seq, last, "the gap does not begin where the record ends");
                self.gaps.push(gap.clone());
                if let Some((_, declared)) = self.runs.get_mut(&node) {
                    *declared = true;
                }
            }
            (Event::NodeStarted(started), Stream::Node(node)) => {
                self.previous_stops.push(started.previous_stop);
                let before = self.runs.insert(node, (started.usage, false));
                // Otherwise a kill right after this event would hide the gap for ever.
                let hidden = before == Some((UsageMode::Relaxed, false));
                assert!(
                    !hidden || started.previous_stop == PreviousStop::Clean,
                    "the gap of the run before is not declared when a new run begins"
                );
            }
            (Event::UsageRecorded(_) | Event::UsageGapDeclared(_) | Event::NodeStarted(_), stream) => {
                panic!("{} in {stream}", envelope.event.type_name())
            }
            _ => {}
        }
    }
}

/// What the store says of an event is what the event says of itself.
fn assert_same(recorded: &Recorded, envelope: &Envelope, revision: u64) {
    assert_eq!(envelope.stream.to_string(), *recorded.stream);
    assert_eq!(
        (envelope.revision, recorded.revision),
        (revision, revision),
        "revisions of {}",
        envelope.stream
    );
    assert_eq!(envelope.id.uuid(), recorded.id);
    assert_eq!(envelope.event.type_name(), &*recorded.event_type);
}
