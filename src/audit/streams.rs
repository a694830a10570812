//! The chains of streams: revisions without a gap, each event naming the hash of the one before it, no id twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use keyledger_schema::{ChainHash, Stream};

use super::event::Seen;
use super::heads::Head;
use super::verdict::{Check, Fault};

/// Where a stream ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// The first revision that was seen.
    pub first: u64,
    /// The last one.
    pub revision: u64,
    /// The hash of that event.
    pub hash: ChainHash,
    /// Where it ended when the ends of all streams were committed to, if it was there.
    pub committed: Option<Head>,
}

/// How much of a stream is there to be seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    /// All of it, from its first event on.
    Whole,
    /// All of a stretch of it, wherever that begins.
    Stretch,
    /// Some of its events.
    Some,
}

/// Follows the streams of a log, event by event in log order. Takes some hundred bytes for each stream and eight for
/// each event.
#[derive(Default)]
pub struct Streams {
    ends: HashMap<Stream, End>,
    /// Each id, folded to 64 bits: 62 of them are random (RFC 9562 §5.7).
    ids: Vec<u64>,
    links: u64,
    /// The ends of all streams were committed to when the log had so many entries.
    committed_at: u64,
}

impl Streams {
    /// Follows streams whose ends were committed to when the log had so many entries; 0 if they were not.
    pub fn new(committed_at: u64) -> Self {
        Self { committed_at, ..Self::default() }
    }

    /// The next event in log order, with the hash of its bytes.
    pub fn follow(&mut self, index: u64, event: &Seen, hash: ChainHash, sight: Sight) -> Result<(), Fault> {
        let (stream, revision) = (event.stream, event.revision);
        let wrong = |what: String| {
            Err(Fault::new(Check::Chain, format!("entry {index}, {stream} revision {revision}: {what}")))
        };
        let (high, low) = event.id.uuid().as_u64_pair();
        self.ids.push(high ^ low);
        if event.prev.is_none() != (revision == 0) {
            return wrong("an event names the one before it unless it is the first".into());
        }
        let committed = (index < self.committed_at).then_some(Head { revision, hash });
        match self.ends.entry(stream) {
            Entry::Vacant(vacant) => {
                if sight == Sight::Whole && revision != 0 {
                    return wrong("the stream does not begin with revision 0".into());
                }
                vacant.insert(End { first: revision, revision, hash, committed });
            }
            Entry::Occupied(mut occupied) => {
                let end = occupied.get_mut();
                let follows = end.revision.checked_add(1) == Some(revision);
                if !follows && (sight != Sight::Some || revision <= end.revision) {
                    return wrong(format!("it stands behind revision {}", end.revision));
                }
                if follows {
                    if event.prev != Some(end.hash) {
                        return wrong("the hash that it names is not that of the event before it".into());
                    }
                    self.links += 1;
                }
                (end.revision, end.hash) = (revision, hash);
                end.committed = committed.or(end.committed);
            }
        }
        Ok(())
    }

    /// Looks for ids that are there twice.
    pub fn each_id_once(&mut self) -> Result<(), Fault> {
        self.ids.sort_unstable();
        if self.ids.array_windows().any(|[a, b]| a == b) {
            return Err(Fault::new(Check::Chain, "two entries have the same id"));
        }
        Ok(())
    }

    /// Where the streams end.
    pub const fn ends(&self) -> &HashMap<Stream, End> {
        &self.ends
    }

    /// How many events were compared with the hash that the next one names.
    pub const fn links(&self) -> u64 {
        self.links
    }

    /// How many events were seen.
    pub fn events(&self) -> u64 {
        self.ids.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use keyledger_schema::{EventId, KeyId};
    use uuid::Uuid;

    use super::*;

    fn event(id: u128, revision: u64, prev: Option<u8>) -> Seen {
        Seen {
            id: EventId::from_uuid(Uuid::from_u128(id)),
            stream: Stream::Key(KeyId::from_uuid(Uuid::from_u128(7))),
            revision,
            organization: None,
            workspace: None,
            prev: prev.map(|byte| ChainHash([byte; 32])),
            whole: None,
        }
    }

    /// Whether the events (id, revision, what they name, their hash) are a chain.
    fn holds(sight: Sight, events: &[(u128, u64, Option<u8>, u8)]) -> bool {
        let mut streams = Streams::default();
        let followed = events.iter().zip(0..).all(|((id, revision, prev, hash), index)| {
            streams.follow(index, &event(*id, *revision, *prev), ChainHash([*hash; 32]), sight).is_ok()
        });
        followed && streams.each_id_once().is_ok()
    }

    #[test]
    fn a_whole_stream_is_dense_and_linked() {
        let good = [(1, 0, None, 10), (2, 1, Some(10), 11), (3, 2, Some(11), 12)];
        assert!(holds(Sight::Whole, &good));
        assert!(!holds(Sight::Whole, &good[1..]));
        assert!(!holds(Sight::Whole, &[good[0], good[2]]));
        assert!(!holds(Sight::Whole, &[good[0], good[2], good[1]]));
        assert!(!holds(Sight::Whole, &[good[0], good[1], good[1]]));
        assert!(!holds(Sight::Whole, &[good[0], (2, 1, Some(9), 11)]));
        assert!(!holds(Sight::Whole, &[good[0], (2, 1, None, 11)]));
        assert!(!holds(Sight::Whole, &[(1, 0, Some(1), 10)]));
        assert!(!holds(Sight::Whole, &[good[0], (1, 1, Some(10), 11)]));
    }

    #[test]
    fn a_stretch_may_begin_anywhere_and_some_events_may_have_gaps() {
        let stretch = [(1, 5, Some(4), 10), (2, 6, Some(10), 11)];
        assert!(holds(Sight::Stretch, &stretch));
        assert!(!holds(Sight::Stretch, &[stretch[0], (2, 7, Some(10), 11)]));
        assert!(holds(Sight::Some, &[stretch[0], (2, 7, Some(1), 11)]));
        assert!(!holds(Sight::Some, &[stretch[0], (2, 6, Some(1), 11)]));
        assert!(!holds(Sight::Some, &[stretch[0], (2, 4, Some(1), 11)]));
    }
}
