//! Writes a bundle, piece by piece into memory, from which somebody takes what is ready.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use keyledger_projections::KeyState;
use keyledger_schema::event::Event;
use keyledger_schema::{ChainHash, DataKeys, Envelope, KeyId, Stream, codec};
use sha2::{Digest, Sha256};

use super::super::event::Seen;
use super::super::heads::{self, Head, Inclusion};
use super::super::note::{self, Note};
use super::super::streams::Sight;
use super::super::tile::{FULL, Kind, Tile, write_bundle, write_hashes};
use super::super::tree::Hash;
use super::super::verdict::Fault;
use super::description::{Description, Scope};
use super::disclosure::Disclosed;
use super::view::{self, Trail};
use super::{archive, manifest, readme};

/// How large a part of the trail or of the keys becomes, about.
const PART: usize = 256 * 1024;

/// An entry of the log.
#[derive(Clone, Debug)]
pub struct Entry<B> {
    /// Its log index.
    pub index: u64,
    /// Its exact bytes.
    pub bytes: B,
}

/// Why a bundle cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakerError {
    /// An entry cannot be read.
    #[error("entry {index} cannot be read: {what}")]
    Unreadable {
        /// Its log index.
        index: u64,
        /// What is wrong with it.
        what: String,
    },
    /// What was given does not belong together: a fault of whoever makes the bundle.
    #[error("{0}")]
    Unfit(String),
    /// The manifest cannot be signed.
    #[error(transparent)]
    Sign(#[from] note::Error),
}

impl From<Fault> for MakerError {
    fn from(fault: Fault) -> Self {
        Self::Unfit(fault.what)
    }
}

/// Writes a bundle. What is given comes in the order of the files: tiles of level 0 by index, each followed by its
/// entries; tiles of the levels above; keys by id.
pub struct Maker {
    description: Description,
    data_keys: Arc<dyn DataKeys>,
    disclosed: Disclosed,
    out: Vec<u8>,
    manifest: String,
    files: u64,
    trail: Trail,
    /// Keys that were issued in here, and their last revision.
    issued: BTreeMap<KeyId, u64>,
    keys: Vec<u8>,
    parts_of_keys: u32,
    /// Streams whose ends have to be proved, and their last events that the commitment covers.
    streams: HashMap<Stream, Head>,
    /// The commitment's root.
    root: Option<heads::Hash>,
    heads: Vec<u8>,
    parts_of_heads: u32,
}

impl Maker {
    /// Begins a bundle with the signed checkpoint of its tree, an earlier one that the tree goes on from, the log's
    /// verifier keys by their generations, and the data keys that may be disclosed.
    pub fn new(
        description: Description,
        checkpoint: &str,
        previous: Option<&str>,
        keys: &BTreeMap<u32, String>,
        data_keys: Arc<dyn DataKeys>,
    ) -> Result<Self, MakerError> {
        let trail = Trail::new().map_err(|failed| MakerError::Unfit(failed.to_string()))?;
        let mut maker = Self {
            description,
            data_keys,
            disclosed: Disclosed::default(),
            out: Vec::new(),
            manifest: String::new(),
            files: 0,
            trail,
            issued: BTreeMap::new(),
            keys: Vec::new(),
            parts_of_keys: 0,
            streams: HashMap::new(),
            root: None,
            heads: Vec::new(),
            parts_of_heads: 0,
        };
        maker.file("README.txt", readme::text(&maker.description).as_bytes());
        maker.file("bundle.json", &maker.description.write());
        maker.file("checkpoint", checkpoint.as_bytes());
        if let Some(previous) = previous {
            maker.file("previous-checkpoint", previous.as_bytes());
        }
        for (generation, key) in keys {
            maker.file(&format!("keys/{generation}"), format!("{key}\n").as_bytes());
        }
        Ok(maker)
    }

    fn file(&mut self, name: &str, contents: &[u8]) {
        manifest::line(&mut self.manifest, &Sha256::digest(contents).into(), name);
        archive::write(name, contents, &mut self.out);
        self.files += 1;
    }

    /// A tile of hashes.
    pub fn tile(&mut self, tile: Tile, hashes: &[Hash]) {
        if !matches!(tile.kind, Kind::Hashes(0)) {
            self.end_of_trail();
        }
        self.file(&tile.to_string(), &write_hashes(hashes));
    }

    /// Those entries of a tile of level 0 that are in scope; all of them where that is the whole log.
    pub fn entries<B: AsRef<[u8]>>(&mut self, tile: Tile, entries: &[Entry<B>]) -> Result<(), MakerError> {
        let tile = Tile { kind: Kind::Entries, ..tile };
        let part = self.disclosed.next_part();
        let bytes = entries.iter().map(|entry| entry.bytes.as_ref());
        let lines = self.disclosed.add(bytes, &*self.data_keys);
        let lines = lines.map_err(|error| MakerError::Unfit(error.to_string()))?;
        if !lines.is_empty() {
            self.file(&format!("data-keys/{part:06}.jsonl"), &lines);
        }
        if self.description.scope == Scope::Log {
            let bytes: Vec<&[u8]> = entries.iter().map(|entry| entry.bytes.as_ref()).collect();
            let bundle = write_bundle(&bytes).map_err(|error| MakerError::Unfit(error.to_string()))?;
            self.file(&tile.to_string(), &bundle);
        } else if !entries.is_empty() {
            let mut contents = Vec::new();
            for Entry { index, bytes } in entries {
                let bytes = bytes.as_ref();
                let length = u16::try_from(bytes.len());
                let length = length.map_err(|_| MakerError::Unfit(format!("entry {index} is too long")))?;
                contents.extend_from_slice(&index.to_be_bytes());
                contents.extend_from_slice(&length.to_be_bytes());
                contents.extend_from_slice(bytes);
            }
            self.file(&name_of_entries(tile), &contents);
        }
        for Entry { index, bytes } in entries {
            self.show(*index, bytes.as_ref())?;
        }
        if self.trail.waiting() >= PART {
            self.end_of_trail();
        }
        Ok(())
    }

    fn show(&mut self, index: u64, bytes: &[u8]) -> Result<(), MakerError> {
        let event = Seen::read(bytes, &self.disclosed);
        let event = event.map_err(|what| MakerError::Unreadable { index, what })?;
        if !self.description.holds(index, &event) {
            return Err(MakerError::Unfit(format!("entry {index} does not belong into the bundle")));
        }
        let hash = ChainHash::of(bytes);
        self.trail.add(index, &event, hash).map_err(|failed| MakerError::Unfit(failed.to_string()))?;
        let committed = self.description.heads_size.is_some_and(|size| index < size);
        let some = self.description.sight(&event.stream) == Sight::Some;
        if committed && !some && self.description.scope != Scope::Log {
            self.streams.insert(event.stream, Head { revision: event.revision, hash });
        }
        if let Some(Event::HeadsCommitted(data)) = event.whole.as_ref().map(|whole| &whole.event)
            && Some(data.tree_size) == self.description.heads_size
        {
            self.root = Some(data.root.0);
        }
        let Stream::Key(key) = event.stream else { return Ok(()) };
        match (self.issued.get_mut(&key), event.whole.map(|whole| whole.event)) {
            (Some(revision), _) => *revision = event.revision,
            (None, Some(Event::KeyIssued(_))) => {
                self.issued.insert(key, event.revision);
            }
            _ => {}
        }
        Ok(())
    }

    fn end_of_trail(&mut self) {
        if self.trail.waiting() > 0 {
            let name = format!("views/trail-{:06}.csv", self.trail.next_part());
            let part = self.trail.take();
            self.file(&name, &part);
        }
    }

    /// The keys to be shown, each with the revision up to which, in the order in which to show them.
    pub fn keys_to_show(&mut self) -> BTreeMap<KeyId, u64> {
        std::mem::take(&mut self.issued)
    }

    /// Reads an entry as those do who have the bundle only.
    pub fn open(&self, bytes: &[u8]) -> Result<Envelope, codec::Error> {
        Envelope::open_with(bytes, &self.disclosed)
    }

    /// The next of these keys as its events made it.
    pub fn key(&mut self, state: &KeyState) {
        self.end_of_trail();
        self.keys.extend(view::key(state));
        if self.keys.len() >= PART {
            self.end_of_keys();
        }
    }

    fn end_of_keys(&mut self) {
        if !self.keys.is_empty() {
            self.parts_of_keys += 1;
            let part = std::mem::take(&mut self.keys);
            self.file(&format!("views/keys-{:06}.jsonl", self.parts_of_keys), &part);
        }
    }

    /// The streams whose committed ends have to be proved, in the order in which to do so, with these ends. In a bundle
    /// of the whole log none have to, since it has all streams.
    pub fn heads_to_prove(&mut self) -> Vec<(Stream, Head)> {
        let mut streams: Vec<_> = std::mem::take(&mut self.streams).into_iter().collect();
        streams.sort_by_cached_key(|(stream, _)| stream.to_string());
        streams
    }

    /// The proof of where the next of these streams ends. One that does not hold is refused.
    pub fn head(&mut self, stream: &str, head: &Head, proof: &Inclusion) -> Result<(), MakerError> {
        let root =
            self.root.ok_or_else(|| MakerError::Unfit("nothing commits to the ends of streams".into()))?;
        let holds = proof.verify(&root, stream, head);
        holds.map_err(|error| MakerError::Unfit(format!("the proof of where {stream} ends: {error}")))?;
        self.end_of_trail();
        self.end_of_keys();
        self.heads.extend(view::head(stream, proof).map_err(|error| MakerError::Unfit(error.to_string()))?);
        if self.heads.len() >= PART {
            self.end_of_heads();
        }
        Ok(())
    }

    fn end_of_heads(&mut self) {
        if !self.heads.is_empty() {
            self.parts_of_heads += 1;
            let part = std::mem::take(&mut self.heads);
            self.file(&format!("heads/{:06}.jsonl", self.parts_of_heads), &part);
        }
    }

    /// Ends the bundle with the signed manifest.
    pub fn finish(&mut self, sign: impl FnOnce(&str) -> Result<Note, note::Error>) -> Result<(), MakerError> {
        self.end_of_trail();
        self.end_of_keys();
        self.end_of_heads();
        let list = std::mem::take(&mut self.manifest);
        let text = manifest::text(&self.description.origin, self.files, &Sha256::digest(&list).into());
        let note = sign(&text)?.to_string();
        archive::write(manifest::LIST, list.as_bytes(), &mut self.out);
        archive::write(manifest::NOTE, note.as_bytes(), &mut self.out);
        archive::end(&mut self.out);
        Ok(())
    }

    /// Bytes of the archive that are ready.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// How many these are.
    pub const fn ready(&self) -> usize {
        self.out.len()
    }
}

/// The file of those entries of a tile that are in scope. How wide the tile is does not matter.
pub(super) fn name_of_entries(tile: Tile) -> String {
    format!("entries/{}", Tile { width: FULL, ..tile }.place())
}
