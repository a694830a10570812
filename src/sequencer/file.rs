//! `tree.db`: tiles in an SQLite file. It can be deleted; it is made again from the log.
//!
//! A tile is one row, rewritten until it is full. A checksum with each tells damage from a tree of another log, which
//! no root of a tree could tell apart.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use uuid::Uuid;

use super::edge::{Edge, Row};
use crate::audit::tile::{FULL, HEIGHT, MAX_LEVEL, Tiles, hashes_at, parse_hashes, write_hashes};
use crate::audit::tree::Hash;
use crate::store::Position;

/// In `PRAGMA user_version`.
const VERSION: i32 = 1;
/// In `PRAGMA application_id`: "KLMT".
const APPLICATION: i32 = 0x4b4c_4d54;

// place is the level of tiles, shifted, and the index of the tile; position that of the last entry in tiles of
// entries' hashes.
const TABLES: &str = "
CREATE TABLE meta (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    log BLOB NOT NULL,
    size INTEGER NOT NULL,
    position INTEGER
) STRICT;
CREATE TABLE tiles (
    place INTEGER PRIMARY KEY,
    position INTEGER,
    sum INTEGER NOT NULL,
    hashes BLOB NOT NULL
) STRICT;
";

/// Where the level stands in `place`: no log of 2^56 tiles fits a disk.
const LEVEL_SHIFT: u32 = 56;

/// Why a tile cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    /// SQLite fails.
    #[error(transparent)]
    Engine(#[from] rusqlite::Error),
    /// A tile is missing or is not what was written.
    #[error("a tile of the tree is damaged")]
    Damaged,
}

fn place(level: u8, index: u64) -> i64 {
    (u64::from(level) << LEVEL_SHIFT | index).cast_signed()
}

fn sum(place: i64, position: Option<i64>, bytes: &[u8]) -> i64 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&place.to_be_bytes());
    sum.update(&position.unwrap_or(-1).to_be_bytes());
    sum.update(bytes);
    i64::from(sum.finalize())
}

fn position(raw: Option<i64>) -> Option<Position> {
    raw.map(|raw| Position::from_raw(raw.cast_unsigned()))
}

/// The connection that writes. Makes the file when absent, for its owner only.
pub(super) fn writing(path: &Path) -> rusqlite::Result<Connection> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    // What goes wrong here, SQLite reports.
    drop(options.open(path));
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // The file is disposable: a commit need not survive a loss of power, only leave the file whole.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)?;
    Ok(connection)
}

/// A connection that reads.
pub(super) fn reading(path: &Path) -> rusqlite::Result<Connection> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "cache_size", -4 * 1024)?;
    Ok(connection)
}

/// Makes the tables in an empty file.
pub(super) fn create(connection: &mut Connection, log: Uuid) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.execute("INSERT INTO meta VALUES (1, ?1, 0, NULL)", [log.into_bytes()])?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Reads the edge of the tree in a file; the reason why the file cannot be kept, if it cannot.
pub(super) fn load(connection: &Connection, log: Uuid) -> Result<Result<Edge, &'static str>, Unread> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    if pragma("application_id")? != APPLICATION {
        return Ok(Err("it is another file"));
    }
    if pragma("user_version")? != VERSION {
        return Ok(Err("it has another layout"));
    }
    let (of, size, last) =
        connection.query_row("SELECT log, size, position FROM meta WHERE only = 1", [], |row| {
            Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?))
        })?;
    if of != log.into_bytes() {
        return Ok(Err("it is of another log"));
    }
    let size = size.cast_unsigned();
    check(connection, size)?;
    let stored = Stored(connection);
    let mut levels = Vec::new();
    for level in 0..=MAX_LEVEL {
        let hashes = hashes_at(level, size);
        if hashes == 0 {
            break;
        }
        let start = hashes >> HEIGHT << HEIGHT;
        levels.push(if hashes > start { stored.hashes(level, start, hashes)? } else { Vec::new() });
    }
    Ok(Ok(Edge::new(size, position(last), levels)))
}

/// Whether every tile is there and as it was written.
fn check(connection: &Connection, size: u64) -> Result<(), Unread> {
    let mut tiles = connection.prepare("SELECT place, position, sum, hashes FROM tiles ORDER BY place")?;
    let mut rows = tiles.query([])?;
    let mut expected = crate::audit::tile::tiles(size).map(|tile| match tile.kind {
        crate::audit::tile::Kind::Hashes(level) => (place(level, tile.index), usize::from(tile.width)),
        crate::audit::tile::Kind::Entries => (0, 0),
    });
    while let Some(row) = rows.next()? {
        let place: i64 = row.get(0)?;
        let hashes = whole(row, 1)?;
        if expected.next() != Some((place, hashes.len())) {
            return Err(Unread::Damaged);
        }
    }
    if expected.next().is_some() { Err(Unread::Damaged) } else { Ok(()) }
}

/// The hashes in a row, whose columns are the place, the position at `at`, the sum and the hashes.
fn whole(row: &rusqlite::Row<'_>, at: usize) -> Result<Vec<Hash>, Unread> {
    let place: i64 = row.get(0)?;
    let (position, expected): (Option<i64>, i64) = (row.get(at)?, row.get(at + 1)?);
    let bytes = row.get_ref(at + 2)?.as_blob().map_err(|_| Unread::Damaged)?;
    if sum(place, position, bytes) != expected {
        return Err(Unread::Damaged);
    }
    parse_hashes(bytes).ok_or(Unread::Damaged)
}

/// Tiles as they stand in the file.
pub(super) struct Stored<'a>(pub(super) &'a Connection);

impl Stored<'_> {
    fn row(&self, level: u8, index: u64) -> Result<(Vec<Hash>, Option<Position>), Unread> {
        let mut find =
            self.0.prepare_cached("SELECT place, position, sum, hashes FROM tiles WHERE place = ?1")?;
        let mut rows = find.query([place(level, index)])?;
        let row = rows.next()?.ok_or(Unread::Damaged)?;
        Ok((whole(row, 1)?, position(row.get(1)?)))
    }

    /// The position of the last entry of a full tile of entries' hashes.
    pub(super) fn end_of(&self, index: u64) -> Result<Position, Unread> {
        match self.row(0, index)? {
            (hashes, Some(position)) if hashes.len() == usize::from(FULL) => Ok(position),
            _ => Err(Unread::Damaged),
        }
    }
}

impl Tiles for Stored<'_> {
    type Error = Unread;

    fn hashes(&self, level: u8, start: u64, end: u64) -> Result<Vec<Hash>, Unread> {
        let index = start >> HEIGHT;
        let (mut hashes, _) = self.row(level, index)?;
        let within = |number: u64| usize::try_from(number - (index << HEIGHT)).unwrap_or(usize::MAX);
        let (start, end) = (within(start), within(end));
        if end > hashes.len() {
            return Err(Unread::Damaged);
        }
        hashes.truncate(end);
        hashes.drain(..start);
        Ok(hashes)
    }
}

/// Writes the tree as entries are added to it. Public so that a benchmark can make a large tree without a log.
pub struct TreeWriter {
    connection: Connection,
    edge: Edge,
}

impl TreeWriter {
    pub(super) const fn of(connection: Connection, edge: Edge) -> Self {
        Self { connection, edge }
    }

    /// A new tree in an empty directory.
    pub fn create(data_dir: &Path, log: Uuid) -> rusqlite::Result<Self> {
        let mut connection = writing(&data_dir.join(super::FILE_NAME))?;
        create(&mut connection, log)?;
        Ok(Self::of(connection, Edge::default()))
    }

    /// Adds an entry. It is in the file after [`TreeWriter::flush`].
    pub fn push(&mut self, leaf: Hash, position: Position) {
        self.edge.push(leaf, position);
    }

    /// How many entries the tree has, those that are not written included.
    pub const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The position of the last entry.
    pub const fn position(&self) -> Option<Position> {
        self.edge.position()
    }

    /// How many entries are not written yet.
    pub const fn unwritten(&self) -> u64 {
        self.edge.unwritten()
    }

    /// Writes what was added, in one transaction.
    pub fn flush(&mut self) -> rusqlite::Result<()> {
        if self.edge.unwritten() == 0 {
            return Ok(());
        }
        let rows = self.edge.take();
        let transaction = self.connection.transaction()?;
        {
            let mut put =
                transaction.prepare_cached("INSERT OR REPLACE INTO tiles VALUES (?1, ?2, ?3, ?4)")?;
            for Row { level, index, hashes, position } in rows {
                let (place, bytes) = (place(level, index), write_hashes(&hashes));
                let position = position.map(|position| position.raw().cast_signed());
                put.execute(params![place, position, sum(place, position, &bytes), bytes])?;
            }
            let last = self.edge.position().map(|position| position.raw().cast_signed());
            transaction
                .prepare_cached("UPDATE meta SET size = ?1, position = ?2 WHERE only = 1")?
                .execute(params![self.edge.size().cast_signed(), last])?;
        }
        transaction.commit()
    }

    /// The tiles, as far as they are written.
    pub(super) const fn stored(&self) -> Stored<'_> {
        Stored(&self.connection)
    }

    /// The hash of the last entry that is written.
    pub(super) fn last_leaf(&self) -> Result<Option<Hash>, Unread> {
        let Some(last) = self.edge.size().checked_sub(1) else { return Ok(None) };
        Ok(self.stored().hashes(0, last, last + 1)?.pop())
    }
}

/// Whether there is a table at all: SQLite makes an empty file of whatever is missing.
pub(super) fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let any = connection.query_row("SELECT 1 FROM sqlite_schema", [], |_| Ok(())).optional()?;
    Ok(any.is_none())
}
