//! Paths of the specification, and a tree in tiles against the same tree in memory.

use std::cell::Cell;
use std::convert::Infallible;

use proptest::prelude::*;

use super::super::tree::{MemoryTree, consistency, inclusion, leaf_hash, root};
use super::*;

fn hashes(level: u8, index: u64, width: u16) -> Tile {
    Tile { kind: Kind::Hashes(level), index, width }
}

#[test]
fn paths_are_those_of_the_specification() {
    for (tile, path) in [
        (hashes(0, 1_234_067, 256), "tile/0/x001/x234/067"),
        (hashes(0, 0, 256), "tile/0/000"),
        (hashes(63, 999, 1), "tile/63/999.p/1"),
        (hashes(1, 1_000, 255), "tile/1/x001/000.p/255"),
        (Tile { kind: Kind::Entries, index: 1_234_067, width: 8 }, "tile/entries/x001/x234/067.p/8"),
    ] {
        assert_eq!(tile.to_string(), path);
        assert_eq!(path.parse(), Ok(tile));
    }
}

#[test]
fn a_tile_has_one_path() {
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/001",
        "tile/0/001/067",
        "tile/0/x001/x067",
        "tile/0/x01/067",
        "tile/0/x001//067",
        "tile/0/x001/067/",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/0/+00",
        "tile/0/ 00",
        "tile/0/00\u{661}",
        "tile/data/000",
        "tile/entries",
        "/tile/0/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/x009/x223/x372/x036/x854/x775/808",
    ] {
        assert_eq!(path.parse::<Tile>(), Err(PathError), "{path}");
    }
    assert!("tile/0/x009/x223/x372/x036/x854/x775/807".parse::<Tile>().is_ok());
}

#[test]
fn the_tiles_of_a_tree_are_those_of_the_specification() {
    // The example of the specification: 273 full ones and one of 112, one full and one of 17, one of 1.
    let of_70_000: Vec<Tile> = tiles(70_000).collect();
    assert_eq!(of_70_000.len(), 274 + 2 + 1);
    assert!(of_70_000[..273].iter().all(|tile| tile.width == FULL));
    assert_eq!(of_70_000[273..], [hashes(0, 273, 112), hashes(1, 0, 256), hashes(1, 1, 17), hashes(2, 0, 1)]);
    assert_eq!(tiles(256).collect::<Vec<_>>(), [hashes(0, 0, 256), hashes(1, 0, 1)]);
    assert_eq!(tiles(0).count() + bundles(0).count(), 0);
    assert_eq!(bundles(257).map(|tile| tile.width).collect::<Vec<_>>(), [256, 1]);
    assert!(hashes(1, 1, 17).is_within(70_000) && !hashes(1, 1, 18).is_within(70_000));
    assert!(!hashes(63, 0, 1).is_within(u64::MAX) && !hashes(7, 999, 1).is_within(u64::MAX));
    assert_eq!(hashes_at(8, u64::MAX), 0);
}

#[test]
fn bundles_are_read_as_strictly_as_they_are_written() {
    let longest = vec![7; MAX_ENTRY_BYTES];
    let entries: [&[u8]; 3] = [b"one", b"", &longest];
    let bundle = write_bundle(&entries).unwrap();
    assert_eq!(bundle[..7], [0, 3, b'o', b'n', b'e', 0, 0]);
    assert_eq!(parse_bundle(&bundle).unwrap(), entries);
    assert_eq!(parse_bundle(&bundle[..bundle.len() - 1]), Err(BundleError::Cut));
    assert_eq!(parse_bundle(&[&bundle[..], &[0]].concat()), Err(BundleError::Cut));
    assert_eq!(parse_bundle(b""), Err(BundleError::Count));
    assert_eq!(parse_bundle(&[0; 2 * 257]), Err(BundleError::Count));
    assert_eq!(parse_bundle(&[0; 2 * 256]).unwrap().len(), 256);
    assert_eq!(write_bundle::<&[u8]>(&[]), Err(BundleError::Count));
    assert_eq!(write_bundle(&[b""; 257]), Err(BundleError::Count));
    assert_eq!(write_bundle(&[vec![7; MAX_ENTRY_BYTES + 1]]), Err(BundleError::TooLong));
}

#[test]
fn hashes_are_read_as_strictly_as_they_are_written() {
    let written = write_hashes(&[[1; 32], [2; 32]]);
    assert_eq!(parse_hashes(&written), Some(vec![[1; 32], [2; 32]]));
    for bad in [0, 31, 33, 63, 257 * 32] {
        assert_eq!(parse_hashes(&vec![0; bad]), None, "{bad}");
    }
}

/// Tiles in memory, which count how often they are asked.
struct Stored {
    levels: Vec<Vec<Hash>>,
    asked: Cell<usize>,
}

fn stored(size: u64) -> Stored {
    let mut levels = vec![(0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect::<Vec<Hash>>()];
    while levels[levels.len() - 1].len() >= 256 {
        let (full, _) = levels[levels.len() - 1].as_chunks::<256>();
        levels.push(full.iter().map(|tile| combine(tile.to_vec()).unwrap()).collect());
    }
    Stored { levels, asked: Cell::new(0) }
}

impl Tiles for Stored {
    type Error = Infallible;
    fn hashes(&self, level: u8, start: u64, end: u64) -> Result<Vec<Hash>, Infallible> {
        self.asked.set(self.asked.get() + 1);
        assert!(start / 256 == (end - 1) / 256, "one tile at a time");
        let (start, end) = (usize::try_from(start).unwrap(), usize::try_from(end).unwrap());
        Ok(self.levels[usize::from(level)][start..end].to_vec())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_tree_in_tiles_is_the_same_tree(
        size in 1u64..70_000,
        index in any::<prop::sample::Index>(),
        old in any::<prop::sample::Index>(),
    ) {
        let tiles = TileNodes(stored(size));
        let tree: MemoryTree = tiles.0.levels[0].iter().copied().collect();
        let all = usize::try_from(size).unwrap();
        let (index, old) = (index.index(all) as u64, old.index(all) as u64 + 1);
        prop_assert_eq!(root(&tiles, size), root(&tree, size));
        prop_assert_eq!(inclusion(&tiles, index, size), inclusion(&tree, index, size));
        prop_assert_eq!(consistency(&tiles, old, size), consistency(&tree, old, size));
    }

    #[test]
    fn every_path_leads_back(level in 0u8..=63, index in 0..=MAX_NUMBER, width in 1u16..=256, entries: bool) {
        let kind = if entries { Kind::Entries } else { Kind::Hashes(level) };
        let tile = Tile { kind, index, width };
        prop_assert_eq!(tile.to_string().parse(), Ok(tile));
    }

    #[test]
    fn parsing_never_panics(path in "tile/[0-9a-z]{0,4}/[x0-9/.p]{0,30}", bytes in any::<Vec<u8>>()) {
        if let Ok(tile) = path.parse::<Tile>() {
            prop_assert_eq!(tile.to_string(), path);
        }
        if let Ok(entries) = parse_bundle(&bytes) {
            prop_assert_eq!(write_bundle(&entries).unwrap(), bytes);
        }
    }
}
