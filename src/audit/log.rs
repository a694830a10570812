//! The check of a whole log as it is stored: its tree, its chains, and what it committed to.
//!
//! Two threads share the work: one reads and makes the tree ([`Leaves`]), the other follows the streams
//! ([`Followed`]).

use std::collections::BTreeMap;

use keyledger_schema::event::{Event, HeadsCommitted};
use keyledger_schema::{ChainHash, NoDataKeys, Stream};

use super::checkpoint::Checkpoint;
use super::event::Seen;
use super::heads::{Head, Map};
use super::note::{Note, VerifierKey};
use super::streams::{Sight, Streams};
use super::tree::{Frontier, Hash, leaf_hash};
use super::verdict::{Check, Fault, Report};

/// Makes the tree, and keeps its root at the sizes that are of interest.
#[derive(Default)]
pub struct Leaves {
    frontier: Frontier,
    wanted: Vec<u64>,
    roots: BTreeMap<u64, Hash>,
}

impl Leaves {
    /// With these sizes of interest.
    pub fn new(wanted: Vec<u64>) -> Self {
        let mut leaves = Self { frontier: Frontier::default(), wanted, roots: BTreeMap::new() };
        leaves.keep();
        leaves
    }

    fn keep(&mut self) {
        if self.wanted.contains(&self.frontier.size()) {
            self.roots.insert(self.frontier.size(), self.frontier.root());
        }
    }

    /// The next entry.
    pub fn push(&mut self, bytes: &[u8]) {
        self.frontier.push(leaf_hash(bytes));
        self.keep();
    }

    /// How many entries there are.
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root when the tree had a size of interest.
    pub fn root(&self, size: u64) -> Option<&Hash> {
        self.roots.get(&size)
    }
}

/// Follows all streams of a log.
pub struct Followed {
    streams: Streams,
    commitment: Option<HeadsCommitted>,
    keys: BTreeMap<u32, (Box<str>, Box<str>)>,
    /// Generations, and the log indexes of the events that took them out of use.
    retired: Vec<(u32, u64)>,
}

impl Followed {
    /// Of a log whose last commitment to the ends of streams is this one.
    pub fn new(commitment: Option<HeadsCommitted>) -> Self {
        let at = commitment.as_ref().map_or(0, |commitment| commitment.tree_size);
        Self { streams: Streams::new(at), commitment, keys: BTreeMap::new(), retired: Vec::new() }
    }

    /// The next event: its log index, the stream and revision that it is stored under, and its bytes.
    pub fn follow(&mut self, index: u64, stored: (&str, u64), bytes: &[u8]) -> Result<(), Fault> {
        let seen = Seen::read(bytes, &NoDataKeys);
        let seen =
            seen.map_err(|what| Fault::new(Check::Event, format!("entry {index} cannot be read: {what}")))?;
        if seen.stream.to_string() != stored.0 || seen.revision != stored.1 {
            let what = format!("entry {index} is stored under another stream or revision than it says");
            return Err(Fault::new(Check::Event, what));
        }
        self.streams.follow(index, &seen, ChainHash::of(bytes), Sight::Whole)?;
        if let (Stream::Log(_), Some(whole)) = (seen.stream, seen.whole) {
            match whole.event {
                Event::LogKeyAdded(data) => {
                    self.keys.insert(data.generation, (data.verifier_key, data.origin));
                }
                Event::LogKeyRetired(data) => self.retired.push((data.generation, index)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The verifier keys that the log introduced and had not retired when it had so many entries.
    pub fn keys_in_use(&self, size: u64) -> Vec<VerifierKey> {
        let retired = |generation| self.retired.iter().any(|(of, at)| *of == generation && *at < size);
        let in_use = self.keys.iter().filter(|(generation, _)| !retired(**generation));
        in_use.filter_map(|(_, (key, _))| key.parse().ok()).collect()
    }

    /// Refuses a checkpoint that only keys signed that the log had retired by then.
    pub fn signed_in_use(&self, note: &Note, checkpoint: &Checkpoint) -> Result<(), Fault> {
        let signed = note.verify(&self.keys_in_use(checkpoint.size)).map(drop);
        let what = "the checkpoint is not signed with a key that the log had in use";
        signed.map_err(|_| Fault::new(Check::LogKeys, what))
    }

    /// All verifier keys that the log introduced.
    pub fn keys(&self) -> Vec<VerifierKey> {
        self.keys.values().filter_map(|(key, _)| key.parse().ok()).collect()
    }

    /// After the last event.
    pub fn finish(&mut self, report: &mut Report) -> Result<(), Fault> {
        self.streams.each_id_once()?;
        let streams = self.streams.ends().len();
        let what = format!("links between events in {streams} streams; no revision missing, no id twice");
        report.proves(Check::Chain, self.streams.links(), what);
        report.proves(Check::Event, self.streams.events(), "entries are events");
        let Some(commitment) = &self.commitment else {
            report.leaves_open(
                "That no event was taken from the end of a stream: no end was committed to yet.",
            );
            return Ok(());
        };
        let ends = self.streams.ends().iter();
        let ends: Vec<(String, Head)> =
            ends.filter_map(|(stream, end)| Some((stream.to_string(), end.committed?))).collect();
        let mut map = Map::default();
        for (stream, head) in &ends {
            map.set(stream, head);
        }
        if map.root() != commitment.root.0 || ends.len() as u64 != commitment.streams {
            return Err(Fault::new(Check::Completeness, "the streams do not end where the log committed to"));
        }
        let what = format!("streams ended where the log committed to at {} entries", commitment.tree_size);
        report.proves(Check::Completeness, ends.len() as u64, what);
        Ok(())
    }
}

/// Compares what was stored with what was signed.
pub fn compare(checkpoint: &Checkpoint, leaves: &Leaves, report: &mut Report) -> Result<(), Fault> {
    if checkpoint.size > leaves.size() {
        let what = format!(
            "the log has {} entries, and its checkpoint was signed for {}: the end of it is gone",
            leaves.size(),
            checkpoint.size
        );
        return Err(Fault::new(Check::Tree, what));
    }
    if leaves.root(checkpoint.size) != Some(&checkpoint.root) {
        return Err(Fault::new(Check::Tree, "the entries do not make the root of the checkpoint"));
    }
    report.proves(Check::Tree, checkpoint.size, "entries make the root that the checkpoint was signed for");
    if checkpoint.size < leaves.size() {
        report.leaves_open(format!(
            "That the {} entries after the checkpoint are what they were: they were not signed for yet.",
            leaves.size() - checkpoint.size
        ));
    }
    Ok(())
}
