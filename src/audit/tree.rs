//! The Merkle tree of RFC 6962 §2.1 (the same as RFC 9162 §2.1) with SHA-256: hashes, roots and proofs.
//!
//! Wherever the tree is kept, it is asked through [`Nodes`] for the hashes of its perfect subtrees; everything else
//! follows from these. A tree that is only read through once needs no more than its [`Frontier`].

use std::convert::Infallible;

use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; HASH_BYTES];
/// The length of a hash.
pub const HASH_BYTES: usize = 32;

/// The hash of an entry: a zero byte tells it from an inner node (RFC 9162 §2.1.1).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// The hash of an inner node.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of the tree without entries.
pub fn empty_root() -> Hash {
    Sha256::digest(b"").into()
}

/// Where a tree's hashes come from: tiles, an archive, memory.
pub trait Nodes {
    /// Why a hash cannot be had.
    type Error;

    /// The root of the perfect subtree over the entries from `index * 2^level` to before `(index + 1) * 2^level`.
    /// Level 0 holds the hashes of the entries. Only asked for subtrees whose entries all exist.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

impl<N: Nodes + ?Sized> Nodes for &N {
    type Error = N::Error;
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        (**self).node(level, index)
    }
}

/// Where a tree of more than one entry is split: the largest power of two below its size.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// `MTH(D[start:end])`. `start` is where some subtree of the whole starts, so perfect parts stand aligned.
fn subtree<N: Nodes>(nodes: &N, start: u64, end: u64) -> Result<Hash, N::Error> {
    let size = end - start;
    if size.is_power_of_two() {
        let level = size.trailing_zeros();
        // A shift of 64-bit numbers is below 64.
        return nodes.node(u8::try_from(level).unwrap_or(u8::MAX), start >> level);
    }
    let middle = start + split(size);
    Ok(node_hash(&subtree(nodes, start, middle)?, &subtree(nodes, middle, end)?))
}

/// The root of the tree of the first `size` entries.
pub fn root<N: Nodes>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    if size == 0 { Ok(empty_root()) } else { subtree(nodes, 0, size) }
}

/// `PATH(index, D[0:size])` of RFC 9162 §2.1.3.1: what turns the hash of the entry into the root, from the leaf's
/// sibling upwards. `index` is below `size`.
pub fn inclusion<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(subtree(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(subtree(nodes, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// `PROOF(old, D[0:new])` of RFC 9162 §2.1.4.1: what shows that the first `old` entries are still what they were.
/// Nothing is needed where either tree tells all: an empty old one, or two of the same size. `old` is at most `new`.
pub fn consistency<N: Nodes>(nodes: &N, old: u64, new: u64) -> Result<Vec<Hash>, N::Error> {
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let (mut start, mut end) = (0, new);
    let mut path = Vec::new();
    // SUBPROOF: go down to the subtree in which the old tree ends, and note what is left beside.
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(subtree(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(subtree(nodes, start, middle)?);
            start = middle;
        }
    }
    // A whole old tree is known to whoever verifies; a part of it is not.
    if start > 0 {
        path.push(subtree(nodes, start, end)?);
    }
    path.reverse();
    Ok(path)
}

/// The right edge of a tree: the roots of its perfect subtrees, largest first. It grows by entries and knows its
/// root, in memory that does not depend on its size.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frontier {
    size: u64,
    hashes: Vec<Hash>,
}

impl Frontier {
    /// The edge of a tree that is kept elsewhere.
    pub fn of<N: Nodes>(nodes: &N, size: u64) -> Result<Self, N::Error> {
        let mut hashes = Vec::new();
        let mut start = 0;
        while start < size {
            let level = u64::BITS - 1 - (size - start).leading_zeros();
            hashes.push(subtree(nodes, start, start + (1 << level))?);
            start += 1 << level;
        }
        Ok(Self { size, hashes })
    }

    /// How many entries the tree has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds an entry by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.hashes.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// The root.
    pub fn root(&self) -> Hash {
        let mut hashes = self.hashes.iter().rev();
        let Some(last) = hashes.next() else { return empty_root() };
        hashes.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// A whole small tree in memory: every level, each as far as its subtrees are perfect.
#[derive(Clone, Debug, Default)]
pub struct MemoryTree {
    levels: Vec<Vec<Hash>>,
}

impl MemoryTree {
    /// How many entries it has.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Adds an entry by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let hashes = &mut self.levels[level];
            hashes.push(hash);
            match hashes.as_slice() {
                [.., left, right] if hashes.len().is_multiple_of(2) => hash = node_hash(left, right),
                _ => break,
            }
        }
    }
}

impl FromIterator<Hash> for MemoryTree {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut tree = Self::default();
        leaves.into_iter().for_each(|leaf| tree.push(leaf));
        tree
    }
}

impl Nodes for MemoryTree {
    type Error = Infallible;

    /// # Panics
    /// When the subtree is not in the tree.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        Ok(self.levels[usize::from(level)][index])
    }
}

#[cfg(test)]
mod tests;
