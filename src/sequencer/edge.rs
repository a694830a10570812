//! The right edge of a tree in tiles: at each level the tile that is not full yet.
//!
//! Invariant: a hash goes into a tile above only when the tile below is full (C2SP tlog-tiles), so each is computed
//! once, and memory is at most one tile for each level that the tree has.

use crate::audit::tile::{FULL, HEIGHT, combine, hashes_at};
use crate::audit::tree::Hash;
use crate::store::Position;

/// A tile as it is written.
pub(super) struct Row {
    pub(super) level: u8,
    pub(super) index: u64,
    pub(super) hashes: Vec<Hash>,
    /// That of its last entry, for tiles of entries' hashes.
    pub(super) position: Option<Position>,
}

/// The edge, and what has become full since it was last written.
#[derive(Default)]
pub(super) struct Edge {
    size: u64,
    position: Option<Position>,
    /// By level; each has fewer hashes than a full tile.
    levels: Vec<Vec<Hash>>,
    full: Vec<Row>,
    /// How many levels have changed since it was last written.
    touched: usize,
    unwritten: u64,
}

impl Edge {
    /// The edge of a tree that was written.
    pub(super) fn new(size: u64, position: Option<Position>, levels: Vec<Vec<Hash>>) -> Self {
        Self { size, position, levels, ..Self::default() }
    }

    /// How many entries the tree has.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// The position of its last entry.
    pub(super) const fn position(&self) -> Option<Position> {
        self.position
    }

    /// How many entries were added since it was last written.
    pub(super) const fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// Adds an entry.
    pub(super) fn push(&mut self, leaf: Hash, position: Position) {
        self.size += 1;
        self.unwritten += 1;
        self.position = Some(position);
        let mut hash = leaf;
        for level in 0_u8.. {
            let at = usize::from(level);
            if self.levels.len() == at {
                self.levels.push(Vec::with_capacity(usize::from(FULL)));
            }
            self.touched = self.touched.max(at + 1);
            self.levels[at].push(hash);
            if self.levels[at].len() < usize::from(FULL) {
                return;
            }
            let hashes = std::mem::replace(&mut self.levels[at], Vec::with_capacity(usize::from(FULL)));
            let root = combine(hashes.clone());
            let index = (hashes_at(level, self.size) >> HEIGHT) - 1;
            self.full.push(Row { level, index, hashes, position: (level == 0).then_some(position) });
            // A full tile has as many hashes as a power of two.
            hash = root.unwrap_or_default();
        }
    }

    /// The tiles that have changed since this was last asked.
    pub(super) fn take(&mut self) -> Vec<Row> {
        let mut rows = std::mem::take(&mut self.full);
        for (level, hashes) in (0_u8..).zip(&self.levels).take(self.touched) {
            if !hashes.is_empty() {
                rows.push(Row {
                    level,
                    index: hashes_at(level, self.size) >> HEIGHT,
                    hashes: hashes.clone(),
                    position: if level == 0 { self.position } else { None },
                });
            }
        }
        self.touched = 0;
        self.unwritten = 0;
        rows
    }
}
