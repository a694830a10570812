//! Tiles (C2SP tlog-tiles): the tree and the entries in pieces of 256, under paths that never change their content.

use std::fmt;
use std::str::FromStr;

use super::text::{self, MAX_NUMBER};
use super::tree::{HASH_BYTES, Hash, Nodes, node_hash};

/// How many hashes or entries a full tile has.
pub const FULL: u16 = 256;
/// How many levels of the tree a tile spans.
pub const HEIGHT: u8 = 8;
/// The highest level that a path can name.
pub const MAX_LEVEL: u8 = 63;
/// The longest entry: its length stands in 16 bits.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;
/// The longest path that is looked at, in bytes.
const MAX_PATH_BYTES: usize = 64;

/// What stands in a tile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Hashes at this level of tiles; those at level 0 are of entries, each of those at the next one is the root of
    /// a full tile.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

/// Which tile: `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tile {
    /// What is in it.
    pub kind: Kind,
    /// Its place within the level.
    pub index: u64,
    /// How many hashes or entries: 1 to 255 in a partial tile, 256 in a full one.
    pub width: u16,
}

/// Why a text is not the path of a tile.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "expected tile/<level>/<index>, the index in groups of three digits, such as tile/0/x001/x234/067.p/9"
)]
pub struct PathError;

impl Tile {
    /// Its path without the kind: `x001/x234/067.p/8`.
    pub fn place(&self) -> String {
        let mut groups = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups = format!("x{:03}/{groups}", rest % 1000);
            rest /= 1000;
        }
        if self.width < FULL { format!("{groups}.p/{}", self.width) } else { groups }
    }

    /// Reads such a path of tiles of a kind. Every tile has one path.
    pub fn parse_place(kind: Kind, place: &str) -> Result<Self, PathError> {
        if place.len() > MAX_PATH_BYTES {
            return Err(PathError);
        }
        let (groups, width) = match place.split_once(".p/") {
            Some((groups, width)) => (groups, text::number(width).ok_or(PathError)?),
            None => (place, u64::from(FULL)),
        };
        let width = u16::try_from(width).ok().filter(|width| (1..=FULL).contains(width)).ok_or(PathError)?;
        let mut index: u64 = 0;
        for group in groups.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(PathError);
            }
            let value: u64 = digits.parse().map_err(|_| PathError)?;
            index = index.checked_mul(1000).and_then(|n| n.checked_add(value)).ok_or(PathError)?;
        }
        let tile = Self { kind, index, width };
        // What is written otherwise (leading groups of zeros, a missing x, `.p/256`) is no path.
        if index <= MAX_NUMBER && tile.place() == place { Ok(tile) } else { Err(PathError) }
    }

    /// Where its first and the end of its last entry stand in the log, if a log can be so long.
    pub fn entries(&self) -> Option<std::ops::Range<u64>> {
        let level = match self.kind {
            Kind::Hashes(level) => level,
            Kind::Entries => 0,
        };
        let each = 1u64.checked_shl(u32::from(HEIGHT) * u32::from(level))?;
        let start = self.index.checked_mul(u64::from(FULL))?.checked_mul(each)?;
        let end = start.checked_add(each.checked_mul(u64::from(self.width))?)?;
        Some(start..end)
    }

    /// Whether the tree of `size` entries has it, at least so wide.
    pub fn is_within(&self, size: u64) -> bool {
        self.entries().is_some_and(|entries| entries.end <= size)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Hashes(level) => write!(f, "tile/{level}/{}", self.place()),
            Kind::Entries => write!(f, "tile/entries/{}", self.place()),
        }
    }
}

impl FromStr for Tile {
    type Err = PathError;
    fn from_str(path: &str) -> Result<Self, PathError> {
        let (kind, place) =
            path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or(PathError)?;
        let kind = if kind == "entries" {
            Kind::Entries
        } else {
            let level = text::number(kind).and_then(|level| u8::try_from(level).ok());
            Kind::Hashes(level.filter(|level| *level <= MAX_LEVEL).ok_or(PathError)?)
        };
        Self::parse_place(kind, place)
    }
}

/// How many hashes there are at a level of tiles in a tree of `size` entries.
pub fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(HEIGHT) * u32::from(level)).unwrap_or(0)
}

/// All tiles of hashes of a tree of `size` entries, by level, the partial ones at the ends as wide as they are.
pub fn tiles(size: u64) -> impl Iterator<Item = Tile> {
    (0..=MAX_LEVEL)
        .map(move |level| (Kind::Hashes(level), hashes_at(level, size)))
        .take_while(|(_, hashes)| *hashes > 0)
        .flat_map(|(kind, hashes)| row(kind, hashes))
}

/// All bundles of entries of a log of `size` entries.
pub fn bundles(size: u64) -> impl Iterator<Item = Tile> {
    row(Kind::Entries, size)
}

fn row(kind: Kind, items: u64) -> impl Iterator<Item = Tile> {
    let full = u64::from(FULL);
    (0..items.div_ceil(full)).map(move |index| {
        let width = u16::try_from((items - index * full).min(full)).unwrap_or(FULL);
        Tile { kind, index, width }
    })
}

/// The hashes in the bytes of a tile.
pub fn parse_hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    let whole = rest.is_empty() && (1..=usize::from(FULL)).contains(&hashes.len());
    whole.then(|| hashes.to_vec())
}

/// The bytes of a tile.
pub fn write_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// Why bytes are not a bundle of entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BundleError {
    /// The bytes end within an entry.
    #[error("the bundle ends within an entry")]
    Cut,
    /// None at all, or more than a bundle holds.
    #[error("the bundle has not 1 to 256 entries")]
    Count,
    /// An entry is longer than its length can say.
    #[error("an entry is longer than {MAX_ENTRY_BYTES} bytes")]
    TooLong,
}

/// The entries in a bundle, in order.
pub fn parse_bundle(mut bytes: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (entry, rest) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(BundleError::Cut)?;
        if entries.len() == usize::from(FULL) {
            return Err(BundleError::Count);
        }
        entries.push(entry);
        bytes = rest;
    }
    match (bytes, entries.is_empty()) {
        ([], false) => Ok(entries),
        ([], true) => Err(BundleError::Count),
        _ => Err(BundleError::Cut),
    }
}

/// The bundle of some entries: 1 to 256 of them.
pub fn write_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, BundleError> {
    if !(1..=usize::from(FULL)).contains(&entries.len()) {
        return Err(BundleError::Count);
    }
    let mut bundle = Vec::with_capacity(entries.iter().map(|entry| 2 + entry.as_ref().len()).sum());
    for entry in entries {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).map_err(|_| BundleError::TooLong)?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Ok(bundle)
}

/// The root of some hashes of a tile, whose number is a power of two.
pub fn combine(mut hashes: Vec<Hash>) -> Option<Hash> {
    if !hashes.len().is_power_of_two() {
        return None;
    }
    while hashes.len() > 1 {
        hashes = hashes.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    hashes.pop()
}

/// Where tiles of hashes come from.
pub trait Tiles {
    /// Why a tile cannot be had.
    type Error;

    /// The hashes at a level of tiles from `start` to before `end`, all of the same tile and all in the tree: exactly
    /// `end - start` of them.
    fn hashes(&self, level: u8, start: u64, end: u64) -> Result<Vec<Hash>, Self::Error>;
}

impl<T: Tiles + ?Sized> Tiles for &T {
    type Error = T::Error;
    fn hashes(&self, level: u8, start: u64, end: u64) -> Result<Vec<Hash>, T::Error> {
        (**self).hashes(level, start, end)
    }
}

/// The nodes of a tree that is kept in tiles: the levels between are hashed again.
#[derive(Clone, Copy, Debug)]
pub struct TileNodes<T>(pub T);

impl<T: Tiles> Nodes for TileNodes<T> {
    type Error = T::Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash, T::Error> {
        let (tiles, within) = (level / HEIGHT, level % HEIGHT);
        let start = index << within;
        let hashes = self.0.hashes(tiles, start, start + (1 << within))?;
        // A source that keeps its word gives as many hashes as it is asked for; what another one gives leads to no
        // known root.
        Ok(combine(hashes).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
