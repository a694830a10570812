//! The file format: creating a log, recognizing one, and opening connections to it.
//!
//! Invariants: a log appears under its name complete or not at all, so an empty or headless `events.db`
//! is never mistaken for a new log. Whether a file is a log is decided from its first bytes, before
//! SQLite is allowed to touch it. Formats only ever get a new version number, never a new meaning.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};
use uuid::Uuid;

use super::{OpenError, wal};

/// `KeyL`; in the SQLite header at byte 68.
const APPLICATION_ID: u32 = 0x4b65_794c;
/// The format; in the SQLite header at byte 60.
const VERSION: u32 = 2;
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Each append rewrites a page of events and one of the index. Twice this size was measured to be no faster
/// for many appenders and slower for one.
const PAGE_BYTES: u32 = 4_096;

const TABLES: &str = "
    CREATE TABLE events (
        position INTEGER PRIMARY KEY,
        stream TEXT NOT NULL,
        revision INTEGER NOT NULL,
        id BLOB NOT NULL,
        type TEXT NOT NULL,
        sum BLOB NOT NULL,
        bytes BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX events_by_stream ON events (stream, revision);
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

/// Where the log is in a data directory.
pub(super) fn log_file(directory: &Path) -> PathBuf {
    directory.join("events.db")
}

/// Creates the log when there is none; refuses what is not an undamaged log of a known format.
pub(super) fn prepare(directory: &Path) -> Result<(), OpenError> {
    let path = log_file(directory);
    let wal = directory.join("events.db-wal");
    let header = match header(&path) {
        Ok(header) => header,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if wal.exists() {
                return Err(OpenError::damaged(&path, "it is missing, though its write-ahead log is there"));
            }
            return create(directory, &path);
        }
        Err(error) => return Err(OpenError::io(&path, error)),
    };
    let Some(header) = header else {
        return Err(OpenError::damaged(&path, "it is cut off before the end of its header"));
    };
    if header[..16] != *SQLITE_MAGIC || number(&header, 68) != APPLICATION_ID {
        return Err(OpenError::NotALog { path });
    }
    let found = number(&header, 60);
    if found != VERSION {
        return Err(OpenError::OtherVersion { path, found, supported: VERSION });
    }
    match wal::damage(&wal) {
        Ok(None) => Ok(()),
        Ok(Some(what)) => Err(OpenError::damaged(&path, what)),
        Err(error) => Err(OpenError::io(&wal, error)),
    }
}

/// The first hundred bytes; `None` when the file is shorter.
fn header(path: &Path) -> io::Result<Option<[u8; 100]>> {
    let mut header = [0; 100];
    match File::open(path)?.read_exact(&mut header) {
        Ok(()) => Ok(Some(header)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn number(header: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&header[at..at + 4]);
    u32::from_be_bytes(number)
}

fn create(directory: &Path, path: &Path) -> Result<(), OpenError> {
    let draft = directory.join("events.db.new");
    let io = |error| OpenError::io(&draft, error);
    for leftover in ["events.db.new", "events.db.new-journal", "events.db.new-wal", "events.db.new-shm"] {
        match fs::remove_file(directory.join(leftover)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    // SQLite gives its other files the mode of this one.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(io)?;
    fill(&draft).map_err(|error| OpenError::engine(&draft, &error))?;
    File::open(&draft).and_then(|file| file.sync_all()).map_err(io)?;
    fs::rename(&draft, path).map_err(io)?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)
}

fn fill(draft: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open_with_flags(draft, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    connection.execute_batch(TABLES)?;
    let random: [u8; 16] = connection.query_row("SELECT randomblob(16)", [], |row| row.get(0))?;
    let log_id = uuid::Builder::from_random_bytes(random).into_uuid();
    connection.execute("INSERT INTO meta (key, value) VALUES ('log_id', ?1)", params![log_id.as_bytes()])?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.close().map_err(|(_, error)| error)
}

/// The one connection that writes, with the write-ahead log emptied.
pub(super) fn writing(path: &Path, max_pages: Option<u32>) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    // No frame is written ahead of a commit; the check of the write-ahead log relies on it.
    connection.pragma_update(None, "cache_spill", false)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| match row.get(0)? {
        0 => Ok(()),
        _ => Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None)),
    })?;
    // The writer checkpoints by itself, after it has answered.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    if let Some(pages) = max_pages {
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(connection)
}

/// A connection that cannot write. Pages are read, not mapped: a mapped page that cannot be read kills
/// the process instead of failing the read.
pub(super) fn reading(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    Ok(connection)
}

/// A connection to a file that nobody writes to, whose write-ahead log is empty: SQLite looks for no other file, and makes
/// none (<https://www.sqlite.org/uri.html>, `immutable`).
pub(super) fn reading_alone(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/.-_".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str("?immutable=1");
    let flags = flags(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI);
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    Ok(connection)
}

fn connect(path: &Path, mode: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags(mode))?;
    // Only a person with a database shell can be in the way.
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

fn flags(mode: OpenFlags) -> OpenFlags {
    mode | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// The id that the log was given when it was created.
pub(super) fn log_id(connection: &Connection) -> rusqlite::Result<Uuid> {
    let id: [u8; 16] =
        connection.query_row("SELECT value FROM meta WHERE key = 'log_id'", [], |row| row.get(0))?;
    Ok(Uuid::from_bytes(id))
}
