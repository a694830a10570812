//! Where every stream ends, as one hash: a Merkle map from stream names to heads.
//!
//! A head is the revision of a stream's last event and the chain hash of its bytes. The root of the map is an event
//! of the log (`log.heads_committed`), so whoever holds a stream's events up to its committed head holds all of
//! them: an event in between would break the chain, and one at the end would give another head.
//!
//! # Definition
//!
//! H is SHA-256, `‖` joins bytes, `u64` is 8 bytes with the most significant first.
//!
//! | | |
//! |---|---|
//! | path of a stream | H(name), the name in UTF-8; bit 0 is the most significant bit of the first byte |
//! | value | H(0x12 ‖ u64 revision ‖ 32 bytes chain hash) |
//! | leaf | H(0x10 ‖ path ‖ value) |
//! | node | H(0x11 ‖ one byte bit ‖ left ‖ right) |
//! | root of no stream | H(0x13) |
//! | root of one stream | its leaf |
//! | root of several | a node: `bit` is the first bit in which their paths are not all the same; left is the root of those in which it is 0, right of those in which it is 1 |
//!
//! The first bytes differ from those of RFC 6962 §2.1, so no hash of the map is one of the log's tree.
//!
//! # Why nothing can be moved
//!
//! From the root a path leads one way: each node names the bit that decides, and the bits only grow. So under one
//! root a path ends at one leaf, whoever computed the hashes and however: either the leaf names that path, and its
//! value is the stream's head, or it names another one, and the stream does not exist. No root has proofs of two
//! heads of a stream, or of a head and of its absence.
//!
//! Invariant: [`map`], [`excerpt`] and [`proof`] know no store, no service, no clock and no file, so that proofs are verified
//! offline.

pub mod excerpt;
pub mod map;
pub mod proof;

use keyledger_schema::ChainHash;
use sha2::{Digest, Sha256};

pub use excerpt::Excerpt;
pub use map::Map;
pub use proof::{Absence, Error, Inclusion, Proof, Step};

/// SHA-256.
pub type Hash = [u8; 32];

const LEAF: u8 = 0x10;
const NODE: u8 = 0x11;
const VALUE: u8 = 0x12;
const EMPTY: u8 = 0x13;

/// The last event of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Head {
    /// Its revision.
    pub revision: u64,
    /// The hash of its stored bytes.
    pub hash: ChainHash,
}

impl Head {
    /// The head of a stream that ends with this event.
    pub fn of(revision: u64, bytes: &[u8]) -> Self {
        Self { revision, hash: ChainHash::of(bytes) }
    }

    /// What stands for it in the map.
    pub fn value(&self) -> Hash {
        digest(&[&[VALUE], &self.revision.to_be_bytes(), &self.hash.0])
    }
}

/// Where a stream belongs in the map.
pub fn path(stream: &str) -> Hash {
    digest(&[stream.as_bytes()])
}

/// The root of a map of no stream.
pub fn empty() -> Hash {
    digest(&[&[EMPTY]])
}

/// What stands at the end of a path.
pub fn leaf(path: &Hash, value: &Hash) -> Hash {
    digest(&[&[LEAF], path, value])
}

/// What stands where paths part.
pub fn node(bit: u8, left: &Hash, right: &Hash) -> Hash {
    digest(&[&[NODE, bit], left, right])
}

/// One bit of a path.
pub(crate) fn bit_of(path: &Hash, bit: u8) -> usize {
    usize::from(path[usize::from(bit / 8)] >> (7 - bit % 8) & 1)
}

fn digest(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}
