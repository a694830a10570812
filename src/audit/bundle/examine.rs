//! What is in a bundle, checked file by file in the order of the archive.
//!
//! Memory: two hundred bytes for each stream, eight for each entry, the last state of each key, 32 bytes for each 256
//! entries, and the largest file.

mod compare;
mod conclude;

use std::collections::BTreeMap;
use std::io::Read;

use keyledger_projections::KeyState;
use keyledger_schema::event::{Event, HeadsCommitted};
use keyledger_schema::{ChainHash, KeyId, Stream, Timestamp};

use super::super::checkpoint::Checkpoint;
use super::super::earlier::Earlier;
use super::super::event::Seen;
use super::super::heads::Head;
use super::super::note::{Note, VerifierKey};
use super::super::streams::Streams;
use super::super::tile::{self, FULL, Kind, Tile, parse_hashes};
use super::super::tree::{Hash, leaf_hash};
use super::super::verdict::{Check, Fault, Report};
use super::archive::{MAX_FILE, Reader, Stopped};
use super::description::{Description, Scope};
use super::disclosure::Disclosed;
use super::hashes::Forest;
use super::make::name_of_entries;
use super::view::Trail;
use super::{MAX_SMALL, manifest};

/// Entries with their log indexes, as they stand in a file of a bundle that is not of the whole log.
pub fn scoped_entries(mut bytes: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (index, rest) = bytes.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push((u64::from_be_bytes(*index), entry));
        bytes = rest;
    }
    Some(entries)
}

/// How far the files are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    Start,
    Readme,
    Description,
    Checkpoint,
    Previous,
    Key(u32),
    /// Level, index, and whether the entries were there.
    Tile(u8, u64, bool),
    Views,
    Heads,
    Manifest,
    Note,
}

/// The log's keys as its events and the files tell them.
#[derive(Default)]
struct LogKeys {
    files: BTreeMap<u32, VerifierKey>,
    added: BTreeMap<u32, (Box<str>, Box<str>)>,
    retired: Vec<u32>,
}

/// What is known once the first files were read.
struct Inside {
    description: Description,
    checkpoint: Checkpoint,
    note: Note,
    previous: Option<Earlier>,
    forest: Forest,
}

/// Checks the files of a bundle.
pub struct Examiner<'a> {
    disclosed: Disclosed,
    since: Option<&'a Earlier>,
    trusted: &'a [VerifierKey],
    report: Report,
    place: Place,
    description: Option<Description>,
    checkpoint: Option<(Note, Checkpoint)>,
    inside: Option<Inside>,
    /// The tile of level 0 whose entries may follow.
    tile: Option<(Tile, Vec<Hash>)>,
    last: Option<u64>,
    streams: Streams,
    trail: Trail,
    states: BTreeMap<KeyId, Vec<u8>>,
    shown: u64,
    parts_of_keys: u32,
    log_keys: LogKeys,
    /// The last commitment to the ends of all streams, and the one that the bundle goes by.
    last_commitment: Option<HeadsCommitted>,
    commitment: Option<(HeadsCommitted, Timestamp)>,
    /// Ends that are still to be proved.
    heads: Option<BTreeMap<String, Head>>,
    proved_heads: u64,
    parts_of_heads: u32,
}

fn fault(check: Check, what: impl Into<String>) -> Fault {
    Fault::new(check, what)
}

fn misplaced(name: &str) -> Fault {
    fault(Check::Archive, format!("{name} is no file of a bundle, or does not belong where it stands"))
}

impl<'a> Examiner<'a> {
    /// With an earlier checkpoint that the tree has to go on from, and keys that are trusted.
    pub fn new(since: Option<&'a Earlier>, trusted: &'a [VerifierKey]) -> Result<Self, Fault> {
        let trail = Trail::new().map_err(|failed| fault(Check::View, failed.to_string()))?;
        Ok(Self {
            disclosed: Disclosed::default(),
            since,
            trusted,
            report: Report::default(),
            place: Place::Start,
            description: None,
            checkpoint: None,
            inside: None,
            tile: None,
            last: None,
            streams: Streams::default(),
            trail,
            states: BTreeMap::new(),
            shown: 0,
            parts_of_keys: 0,
            log_keys: LogKeys::default(),
            last_commitment: None,
            commitment: None,
            heads: None,
            proved_heads: 0,
            parts_of_heads: 0,
        })
    }

    /// Checks all of an archive. `progress` is told how many bytes were read.
    pub fn examine<R: Read>(mut self, input: R, progress: &mut dyn FnMut(u64)) -> Result<Report, Stopped> {
        let examined = self.files(input, progress).and_then(|()| Ok(self.finish()?));
        match examined {
            Ok(()) => Ok(self.report),
            Err(Stopped::Fault(fault)) => {
                // What was proved up to there is no use to anybody.
                Ok(Report { faults: vec![fault], ..Report::default() })
            }
            Err(stopped) => Err(stopped),
        }
    }

    fn files<R: Read>(&mut self, input: R, progress: &mut dyn FnMut(u64)) -> Result<(), Stopped> {
        let mut reader = Reader::new(input);
        let mut contents = Vec::new();
        while let Some((name, _)) = reader.next_file()? {
            // The manifest grows with the bundle, and is compared elsewhere.
            if name != manifest::LIST {
                reader.contents(MAX_FILE, &mut contents)?;
            }
            self.file(&name, &contents)?;
            progress(reader.position());
        }
        if self.place != Place::Note {
            return Err(fault(Check::Archive, "the archive ends before the manifest is signed").into());
        }
        Ok(())
    }

    fn advance(&mut self, name: &str, to: Place) -> Result<(), Fault> {
        if to <= self.place {
            return Err(misplaced(name));
        }
        self.place = to;
        Ok(())
    }

    fn file(&mut self, name: &str, contents: &[u8]) -> Result<(), Fault> {
        let small = contents.len() as u64 <= MAX_SMALL;
        match name {
            "README.txt" => self.advance(name, Place::Readme),
            "bundle.json" if small => {
                self.advance(name, Place::Description)?;
                let read = Description::read(contents);
                let read = read.map_err(|what| fault(Check::Archive, format!("bundle.json: {what}")))?;
                self.description = Some(read);
                Ok(())
            }
            "checkpoint" if small => {
                self.advance(name, Place::Checkpoint)?;
                let wrong = |what: String| fault(Check::Signature, format!("checkpoint: {what}"));
                let note = Note::parse(contents).map_err(|error| wrong(error.to_string()))?;
                let read = Checkpoint::parse(note.text()).map_err(|error| wrong(error.to_string()))?;
                self.checkpoint = Some((note, read));
                self.begin(None)
            }
            "previous-checkpoint" if small => {
                self.advance(name, Place::Previous)?;
                let read = Earlier::read(contents);
                self.begin(Some(read.map_err(|what| fault(Check::Consistency, format!("{name}: {what}")))?))
            }
            manifest::LIST => {
                self.end_of_entries()?;
                self.advance(name, Place::Manifest)
            }
            manifest::NOTE if self.place == Place::Manifest => self.advance(name, Place::Note),
            _ => self.numbered(name, contents),
        }
    }

    fn numbered(&mut self, name: &str, contents: &[u8]) -> Result<(), Fault> {
        let number = |prefix: &str, suffix: &str| -> Option<u32> {
            let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
            digits.parse().ok().filter(|number| format!("{prefix}{number:06}{suffix}") == name)
        };
        if let Some(generation) = name.strip_prefix("keys/") {
            let parsed: Option<u32> =
                generation.parse().ok().filter(|parsed: &u32| parsed.to_string() == generation);
            let generation = parsed.ok_or_else(|| misplaced(name))?;
            self.advance(name, Place::Key(generation))?;
            let key = manifest::key(contents);
            let key = key.ok_or_else(|| fault(Check::LogKeys, format!("{name} is no verifier key")))?;
            self.log_keys.files.insert(generation, key);
            Ok(())
        } else if let Some(part) = number("views/trail-", ".csv") {
            if !matches!(self.place, Place::Tile(0, ..)) || part != self.trail.next_part() {
                return Err(misplaced(name));
            }
            if self.trail.take() != contents {
                return Err(fault(
                    Check::View,
                    format!("{name} does not say what the entries before it say"),
                ));
            }
            Ok(())
        } else if let Some(part) = number("views/keys-", ".jsonl") {
            self.end_of_entries()?;
            if part != self.parts_of_keys + 1 || !matches!(self.place, Place::Tile(..) | Place::Views) {
                return Err(misplaced(name));
            }
            (self.place, self.parts_of_keys) = (Place::Views, part);
            self.keys(name, contents)
        } else if let Some(part) = number("data-keys/", ".jsonl") {
            // Right before the entries that need them.
            if self.tile.is_none() || part != self.disclosed.next_part() {
                return Err(misplaced(name));
            }
            let read = self.disclosed.read(contents);
            read.ok_or_else(|| fault(Check::Archive, format!("{name} is not lines of data keys")))
        } else if let Some(part) = number("heads/", ".jsonl") {
            self.end_of_entries()?;
            let behind = matches!(self.place, Place::Tile(..) | Place::Views | Place::Heads);
            if part != self.parts_of_heads + 1 || !behind {
                return Err(misplaced(name));
            }
            (self.place, self.parts_of_heads) = (Place::Heads, part);
            self.prove_heads(name, contents)
        } else if name.starts_with("entries/") {
            self.scoped(name, contents)
        } else {
            let tile: Tile = name.parse().map_err(|_| misplaced(name))?;
            match tile.kind {
                Kind::Hashes(_) => self.hashes(name, tile, contents),
                Kind::Entries => self.whole(name, tile, contents),
            }
        }
    }

    /// Once it is known of which tree it is.
    fn begin(&mut self, previous: Option<Earlier>) -> Result<(), Fault> {
        let missing = || fault(Check::Archive, "bundle.json or the checkpoint is missing");
        let description = self.description.clone().ok_or_else(missing)?;
        let (note, checkpoint) = self.checkpoint.clone().ok_or_else(missing)?;
        if description.origin != checkpoint.origin || description.tree_size != checkpoint.size {
            return Err(fault(Check::Archive, "bundle.json is about another tree than the checkpoint"));
        }
        let whole = (0, checkpoint.size);
        if description.scope == Scope::Log && (description.first_index, description.end_index) != whole {
            return Err(fault(Check::Archive, "bundle.json: a bundle of the whole log has all entries"));
        }
        let earlier = || [previous.as_ref(), self.since].into_iter().flatten();
        earlier().try_for_each(|earlier| earlier.precedes(&checkpoint))?;
        let sizes = earlier().map(|earlier| earlier.checkpoint().size).collect();
        let forest = Forest::new(checkpoint.size, sizes);
        self.streams = Streams::new(description.heads_size.unwrap_or(0));
        self.inside = Some(Inside { description, checkpoint, note, previous, forest });
        Ok(())
    }

    fn hashes(&mut self, name: &str, tile: Tile, contents: &[u8]) -> Result<(), Fault> {
        let Kind::Hashes(level) = tile.kind else { return Err(misplaced(name)) };
        self.advance(name, Place::Tile(level, tile.index, false))?;
        if level > 0 {
            self.end_of_entries()?;
        }
        let wrong = || fault(Check::Tree, format!("{name} has not {} hashes", tile.width));
        let hashes = parse_hashes(contents).ok_or_else(wrong)?;
        self.inside.as_mut().ok_or_else(|| misplaced(name))?.forest.take(tile, &hashes)?;
        self.tile = (level == 0).then_some((tile, hashes));
        Ok(())
    }

    fn scoped(&mut self, name: &str, contents: &[u8]) -> Result<(), Fault> {
        let (tile, hashes) = self.tile.take().ok_or_else(|| misplaced(name))?;
        let whole = self.inside.as_ref().is_none_or(|inside| inside.description.scope == Scope::Log);
        if whole || name != name_of_entries(tile) {
            return Err(misplaced(name));
        }
        self.advance(name, Place::Tile(0, tile.index, true))?;
        let entries = scoped_entries(contents).filter(|entries| !entries.is_empty());
        let entries =
            entries.ok_or_else(|| fault(Check::Archive, format!("{name} is not a run of entries")))?;
        for (index, bytes) in entries {
            let at = index.checked_sub(tile.index.saturating_mul(u64::from(FULL)));
            let hash = at.and_then(|at| hashes.get(usize::try_from(at).ok()?));
            let hash =
                hash.ok_or_else(|| fault(Check::Tree, format!("{name}: entry {index} is of another tile")))?;
            self.entry(index, bytes, hash)?;
        }
        Ok(())
    }

    fn whole(&mut self, name: &str, tile: Tile, contents: &[u8]) -> Result<(), Fault> {
        let (of, hashes) = self.tile.take().ok_or_else(|| misplaced(name))?;
        let whole = self.inside.as_ref().is_some_and(|inside| inside.description.scope == Scope::Log);
        if !whole || (tile.index, tile.width) != (of.index, of.width) {
            return Err(misplaced(name));
        }
        self.advance(name, Place::Tile(0, tile.index, true))?;
        let entries = tile::parse_bundle(contents);
        let entries = entries.map_err(|error| fault(Check::Archive, format!("{name}: {error}")))?;
        if entries.len() != hashes.len() {
            return Err(fault(Check::Tree, format!("{name} has not {} entries", hashes.len())));
        }
        let first = tile.index * u64::from(FULL);
        for ((bytes, hash), index) in entries.into_iter().zip(&hashes).zip(first..) {
            self.entry(index, bytes, hash)?;
        }
        Ok(())
    }

    fn entry(&mut self, index: u64, bytes: &[u8], hash: &Hash) -> Result<(), Fault> {
        let inside = self.inside.as_ref().ok_or_else(|| misplaced("entries"))?;
        if self.last.is_some_and(|last| index <= last) {
            return Err(fault(Check::Tree, format!("entry {index} is out of order")));
        }
        self.last = Some(index);
        if leaf_hash(bytes) != *hash {
            return Err(fault(Check::Tree, format!("entry {index} is not the one that the log has there")));
        }
        let event = Seen::read(bytes, &self.disclosed);
        let event =
            event.map_err(|what| fault(Check::Event, format!("entry {index} cannot be read: {what}")))?;
        if !inside.description.holds(index, &event) {
            return Err(fault(Check::Event, format!("entry {index} does not belong into this bundle")));
        }
        let chain = ChainHash::of(bytes);
        self.streams.follow(index, &event, chain, inside.description.sight(&event.stream))?;
        let unfit = |failed: crate::export::Failed| fault(Check::View, failed.to_string());
        self.trail.add(index, &event, chain).map_err(unfit)?;
        if self.trail.waiting() as u64 > MAX_FILE {
            return Err(fault(Check::View, "a part of the trail is missing under views/"));
        }
        self.remember(index, event)
    }

    /// What later files are compared with.
    fn remember(&mut self, index: u64, event: Seen) -> Result<(), Fault> {
        let Some(whole) = event.whole else { return Ok(()) };
        match (event.stream, &whole.event) {
            (Stream::Log(_), Event::LogKeyAdded(data)) => {
                let key = (data.verifier_key.clone(), data.origin.clone());
                self.log_keys.added.insert(data.generation, key);
            }
            (Stream::Log(_), Event::LogKeyRetired(data)) => self.log_keys.retired.push(data.generation),
            (Stream::Log(_), Event::HeadsCommitted(data)) => {
                let wanted = self.inside.as_ref().and_then(|inside| inside.description.heads_size);
                if wanted == Some(data.tree_size) && data.tree_size <= index {
                    self.commitment = Some((data.clone(), whole.at));
                }
                self.last_commitment = Some(data.clone());
            }
            (Stream::Key(key), _) => {
                let unfit = |what: String| fault(Check::View, format!("entry {index}: {what}"));
                let before = match self.states.get(&key) {
                    None => None,
                    Some(bytes) => {
                        Some(postcard::from_bytes(bytes).map_err(|error| unfit(error.to_string()))?)
                    }
                };
                if let Some(state) = KeyState::fold(before, &whole) {
                    let bytes = postcard::to_stdvec(&state).map_err(|error| unfit(error.to_string()))?;
                    self.states.insert(key, bytes);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end_of_entries(&mut self) -> Result<(), Fault> {
        self.tile = None;
        if self.trail.waiting() > 0 {
            return Err(fault(Check::View, "a part of the trail is missing under views/"));
        }
        Ok(())
    }
}
