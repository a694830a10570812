//! Which tiles prove some entries, and that they do.
//!
//! A full tile is proved by the one above it, which holds its root; a partial one stands at the right edge, and the
//! edge makes the root of the tree. So the tiles above some entries, and those of the edge, prove these entries; and
//! the tiles in which an earlier tree ended prove that this one goes on from there, since that tree's edge is the
//! beginning of them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::tile::{FULL, HEIGHT, Kind, MAX_LEVEL, Tile, combine, hashes_at};
use super::super::tree::{Hash, node_hash};
use super::super::verdict::{Check, Fault};

/// The tile at a place, as wide as it is in a tree of `size` entries.
pub(super) fn tile_at(level: u8, index: u64, size: u64) -> Option<Tile> {
    let hashes = hashes_at(level, size).checked_sub(index.checked_mul(u64::from(FULL))?)?;
    let width = u16::try_from(hashes.min(u64::from(FULL))).unwrap_or(FULL);
    (width > 0).then_some(Tile { kind: Kind::Hashes(level), index, width })
}

/// Where the tree of `size` entries ends: level and index of each tile of its edge, and how many of the tile's
/// hashes are of the edge.
fn edge(size: u64) -> impl Iterator<Item = (u8, u64, usize)> {
    (0..=MAX_LEVEL)
        .map_while(move |level| Some((level, hashes_at(level, size))).filter(|(_, all)| *all > 0))
        .filter_map(|(level, all)| {
            let over = usize::try_from(all % u64::from(FULL)).unwrap_or(0);
            (over > 0).then_some((level, all / u64::from(FULL), over))
        })
}

/// The tiles that prove what is in some tiles of level 0, by level and index, with those of the edges of the tree and
/// of an earlier one.
pub fn needed(size: u64, earlier: Option<u64>, tiles: impl IntoIterator<Item = u64>) -> Vec<Tile> {
    let mut row: BTreeSet<u64> = tiles.into_iter().collect();
    let mut needed = Vec::new();
    for level in 0..=MAX_LEVEL {
        if hashes_at(level, size) == 0 {
            break;
        }
        for edge in [Some(size), earlier].into_iter().flatten().flat_map(edge) {
            if edge.0 == level {
                row.insert(edge.1);
            }
        }
        needed.extend(row.iter().filter_map(|index| tile_at(level, *index, size)));
        // Those above full tiles; partial ones have none above.
        let full = hashes_at(level + 1, size);
        row = row.into_iter().filter(|index| *index < full).map(|index| index >> HEIGHT).collect();
    }
    needed
}

/// The root of a tree of perfect subtrees of one size, and a smaller rest of it.
fn root_of(hashes: &[Hash], rest: Option<Hash>) -> Option<Hash> {
    // The largest first: of the subtrees that the number is made of, in binary.
    let mut peaks = Vec::new();
    let mut hashes = hashes;
    while !hashes.is_empty() {
        let (first, others) = hashes.split_at(1 << (usize::BITS - 1 - hashes.len().leading_zeros()));
        peaks.push(combine(first.to_vec())?);
        hashes = others;
    }
    peaks.extend(rest);
    peaks.into_iter().rev().reduce(|right, left| node_hash(&left, &right))
}

/// Takes the tiles of a tree, level by level, and proves them.
pub(super) struct Forest {
    size: u64,
    earlier: Vec<u64>,
    level: u8,
    /// Full tiles of the level below, by their indexes, that wait for the tile above them.
    below: Vec<(u64, Hash)>,
    proved: usize,
    /// Full tiles of this level.
    row: Vec<(u64, Hash)>,
    last: Option<u64>,
    edges: BTreeMap<(u8, u64), Vec<Hash>>,
    tiles: u64,
}

fn wrong(what: impl Into<String>) -> Fault {
    Fault::new(Check::Tree, what)
}

impl Forest {
    /// Of a tree with so many entries, and earlier ones of interest.
    pub(super) const fn new(size: u64, earlier: Vec<u64>) -> Self {
        Self {
            size,
            earlier,
            level: 0,
            below: Vec::new(),
            proved: 0,
            row: Vec::new(),
            last: None,
            edges: BTreeMap::new(),
            tiles: 0,
        }
    }

    /// How many tiles were taken.
    pub(super) const fn tiles(&self) -> u64 {
        self.tiles
    }

    /// The next tile: levels from below, and from left to right.
    pub(super) fn take(&mut self, tile: Tile, hashes: &[Hash]) -> Result<(), Fault> {
        let Kind::Hashes(level) = tile.kind else {
            return Err(wrong(format!("{tile} is no tile of hashes")));
        };
        if tile_at(level, tile.index, self.size) != Some(tile) || hashes.len() != usize::from(tile.width) {
            return Err(wrong(format!("{tile} is not a tile of a tree of {} entries", self.size)));
        }
        if level < self.level {
            return Err(wrong(format!("{tile} stands behind level {}", self.level)));
        }
        // A level may have no tile at all: all of its hashes are in full ones, and none of these is needed.
        while self.level < level {
            self.rise()?;
        }
        if self.last.is_some_and(|last| tile.index <= last) {
            return Err(wrong(format!("{tile} is out of order")));
        }
        self.last = Some(tile.index);
        self.tiles += 1;
        while let Some((index, root)) =
            self.below.get(self.proved).filter(|(index, _)| index >> HEIGHT <= tile.index)
        {
            let at = usize::try_from(index % u64::from(FULL)).unwrap_or(0);
            if index >> HEIGHT != tile.index || hashes.get(at) != Some(root) {
                return Err(wrong(format!(
                    "the tile above tile {index} of level {} is not there, or does not hold its root",
                    level - 1
                )));
            }
            self.proved += 1;
        }
        let at_an_edge = |size| edge(size).any(|(at, index, _)| (at, index) == (level, tile.index));
        if at_an_edge(self.size) || self.earlier.iter().copied().any(at_an_edge) {
            self.edges.insert((level, tile.index), hashes.to_vec());
        }
        if tile.width == FULL
            && let Some(root) = combine(hashes.to_vec())
        {
            self.row.push((tile.index, root));
        }
        Ok(())
    }

    fn rise(&mut self) -> Result<(), Fault> {
        if let Some((index, _)) = self.below.get(self.proved) {
            return Err(wrong(format!(
                "no tile stands above tile {index} of level {}",
                self.level.saturating_sub(1)
            )));
        }
        self.below = std::mem::take(&mut self.row);
        (self.proved, self.last) = (0, None);
        self.level += 1;
        Ok(())
    }

    /// After the last tile: proves that all of them are of the tree with this root.
    pub(super) fn prove(&mut self, root: &Hash) -> Result<(), Fault> {
        self.rise()?;
        if let Some((index, _)) = self.below.first() {
            return Err(wrong(format!("no tile stands above tile {index} of level {}", self.level - 1)));
        }
        match self.root(self.size) {
            Some(found) if found == *root => Ok(()),
            Some(_) => Err(wrong("the tiles do not make the root of the checkpoint")),
            None => Err(wrong("tiles at the end of the tree are missing")),
        }
    }

    /// The root of the tree, or of the earlier one; none if a tile of its edge is missing.
    pub(super) fn root(&self, size: u64) -> Option<Hash> {
        if size == 0 {
            return Some(super::super::tree::empty_root());
        }
        edge(size).try_fold(None, |rest, (level, index, over)| {
            let hashes = self.edges.get(&(level, index))?.get(..over)?;
            Some(root_of(hashes, rest))
        })?
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tree::{Frontier, leaf_hash};
    use super::*;

    /// The tiles of a tree by level and index.
    fn tiles(size: u64) -> BTreeMap<(u8, u64), Vec<Hash>> {
        let mut all = BTreeMap::new();
        let mut row: Vec<Hash> = (0..size).map(|index| leaf_hash(&index.to_be_bytes())).collect();
        let mut level = 0;
        while !row.is_empty() {
            let chunks: Vec<Vec<Hash>> = row.chunks(256).map(<[Hash]>::to_vec).collect();
            row = chunks
                .iter()
                .filter(|chunk| chunk.len() == 256)
                .filter_map(|chunk| combine(chunk.clone()))
                .collect();
            all.extend(chunks.into_iter().enumerate().map(|(index, chunk)| ((level, index as u64), chunk)));
            level += 1;
        }
        all
    }

    fn root(size: u64) -> Hash {
        let mut frontier = Frontier::default();
        (0..size).for_each(|index| frontier.push(leaf_hash(&index.to_be_bytes())));
        frontier.root()
    }

    fn taken(size: u64, earlier: Option<u64>, needed: &[Tile]) -> Result<Forest, Fault> {
        let all = tiles(size);
        let mut forest = Forest::new(size, earlier.into_iter().collect());
        for tile in needed {
            let Kind::Hashes(level) = tile.kind else { unreachable!() };
            forest.take(*tile, &all[&(level, tile.index)])?;
        }
        Ok(forest)
    }

    const SIZES: [u64; 13] = [1, 2, 3, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537, 66_049];

    #[test]
    fn the_tiles_needed_prove_what_they_are_needed_for() {
        for size in SIZES {
            for entries in
                [vec![], vec![0], vec![(size - 1) / 256], (0..=(size - 1) / 256).collect::<Vec<_>>()]
            {
                let needed = needed(size, None, entries.clone());
                let mut forest = taken(size, None, &needed).unwrap();
                forest.prove(&root(size)).unwrap();
                for index in entries {
                    assert!(needed.iter().any(|tile| (tile.kind, tile.index) == (Kind::Hashes(0), index)));
                }
            }
        }
    }

    #[test]
    fn the_tiles_needed_tell_the_root_of_an_earlier_tree() {
        for size in SIZES {
            for earlier in SIZES.into_iter().filter(|earlier| *earlier <= size) {
                let needed = needed(size, Some(earlier), []);
                let mut forest = taken(size, Some(earlier), &needed).unwrap();
                forest.prove(&root(size)).unwrap();
                assert_eq!(forest.root(earlier), Some(root(earlier)), "{earlier} of {size}");
            }
        }
    }

    #[test]
    fn none_of_the_tiles_needed_can_be_left_out_or_changed() {
        for size in [3, 257, 1000, 66_049] {
            let needed = needed(size, None, [0, (size - 1) / 512]);
            for without in 0..needed.len() {
                let mut fewer = needed.clone();
                let left_out = fewer.remove(without);
                let proved = taken(size, None, &fewer).and_then(|mut forest| forest.prove(&root(size)));
                // A tile that only proves itself may be left out: what is in its entries is then refused.
                let leaf = left_out.kind == Kind::Hashes(0) && left_out.width == FULL;
                assert!(leaf || proved.is_err(), "{left_out} of {size}");
            }
            let all = tiles(size);
            for changed in 0..needed.len() {
                let mut forest = Forest::new(size, Vec::new());
                let proved = needed.iter().enumerate().try_for_each(|(at, tile)| {
                    let Kind::Hashes(level) = tile.kind else { unreachable!() };
                    let mut hashes = all[&(level, tile.index)].clone();
                    hashes[0][0] ^= u8::from(at == changed);
                    forest.take(*tile, &hashes)
                });
                assert!(proved.and_then(|()| forest.prove(&root(size))).is_err(), "{}", needed[changed]);
            }
        }
    }
}
