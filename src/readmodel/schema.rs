//! The tables, and connections to them.
//!
//! Ids are their 16 bytes, moments are microseconds since 1970, enumerations are small numbers named in
//! [`super::rows`]. `state` holds a snapshot, see [`super::snapshot`]; columns beside it exist only to
//! be filtered or sorted by, or to be read without the state. Any change of a table, a snapshot's type or the meaning of a column needs a
//! new [`VERSION`]: older files are then rebuilt, there are no migrations.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Result};
use uuid::Uuid;

/// In `PRAGMA user_version`.
pub(super) const VERSION: i32 = 16;
/// In `PRAGMA application_id`: "KLRM".
pub(super) const APPLICATION: i32 = 0x4b4c_524d;

const TABLES: &str = "
CREATE TABLE meta (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    log BLOB NOT NULL,
    position INTEGER,
    entries INTEGER NOT NULL,
    keys INTEGER NOT NULL,
    usage_events INTEGER NOT NULL,
    newest_usage INTEGER
) STRICT;

-- ahead is the end of a round that is being written and done how many of its steps are, see the usage
-- projector; newest is the moment of the newest verification in the rounds before, horizon the moment that
-- is counted back from to tell what is kept.
CREATE TABLE usage_meta (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    position INTEGER,
    ahead INTEGER,
    done INTEGER NOT NULL,
    events INTEGER NOT NULL,
    slices INTEGER NOT NULL,
    newest INTEGER,
    horizon INTEGER
) STRICT;

CREATE TABLE organizations (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    state BLOB NOT NULL
) STRICT;

CREATE TABLE workspaces (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    org BLOB NOT NULL,
    state BLOB NOT NULL
) STRICT;
CREATE INDEX workspaces_org ON workspaces (org);

-- Deleted ones stay, since keys may still name them, but they are not listed. name is without regard to case.
CREATE TABLE identities (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    org BLOB NOT NULL,
    external TEXT NOT NULL,
    name TEXT NOT NULL,
    listed INTEGER NOT NULL,
    state BLOB NOT NULL
) STRICT;
CREATE INDEX identities_org ON identities (org, external);

-- seq is the log index of the event that issued the key, ord its number among those of its organization: 1, 2,
-- 3 ... in log order. What lists filter and sort by is in the catalog.
CREATE TABLE keys (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    org BLOB NOT NULL,
    ord INTEGER NOT NULL,
    workspace BLOB NOT NULL,
    environment INTEGER NOT NULL,
    due_at INTEGER,
    state BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX keys_ord ON keys (org, ord);
CREATE INDEX keys_due ON keys (due_at) WHERE due_at IS NOT NULL;

-- Keys of each workspace that take a place of its quota.
CREATE TABLE places (
    workspace BLOB PRIMARY KEY,
    keys INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Places that are kept for keys that are not issued yet.
CREATE TABLE reservations (
    key BLOB PRIMARY KEY,
    workspace BLOB NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX reservations_workspace ON reservations (workspace, at);
CREATE INDEX reservations_at ON reservations (at);

-- cause_actor is who did what led to it, however many events lie between.
CREATE TABLE entries (
    log_index INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    id BLOB NOT NULL UNIQUE,
    type TEXT NOT NULL,
    stream BLOB NOT NULL,
    revision INTEGER NOT NULL,
    org BLOB,
    workspace BLOB,
    key BLOB,
    actor BLOB,
    at INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    cause BLOB,
    cause_actor BLOB
) STRICT;
CREATE INDEX entries_org ON entries (org) WHERE org IS NOT NULL;
CREATE INDEX entries_key ON entries (key) WHERE key IS NOT NULL;
-- What each actor did, see consequences.rs. Nobody asks who recorded verifications, which are most of the log.
CREATE INDEX entries_actor ON entries (actor, log_index)
    WHERE actor IS NOT NULL AND type <> 'usage.recorded';
-- The keys that each actor issued.
CREATE INDEX entries_issued ON entries (actor, log_index) WHERE type = 'key.issued';
-- What followed from an event, and from those of an actor.
CREATE INDEX entries_cause ON entries (cause, log_index) WHERE cause IS NOT NULL;
CREATE INDEX entries_cause_actor ON entries (cause_actor, log_index) WHERE cause_actor IS NOT NULL;
-- Those of identities, see rows.
CREATE INDEX entries_identity ON entries (stream, log_index) WHERE substr(stream, 1, 1) = x'06';

-- A key's own numbers. seq is that of the key.
CREATE TABLE key_usage (
    seq INTEGER PRIMARY KEY,
    usage BLOB NOT NULL
) STRICT;

-- Roll-ups, see usage/rollup.rs. org is all zero for verifications of no organization.
CREATE TABLE usage_cells (
    org BLOB NOT NULL,
    facet INTEGER NOT NULL,
    granularity INTEGER NOT NULL,
    chunk INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    cells BLOB NOT NULL,
    PRIMARY KEY (org, facet, granularity, chunk, bucket)
) STRICT, WITHOUT ROWID;

-- What the numbers in cells stand for, see usage/values.rs.
CREATE TABLE usage_values (
    org BLOB NOT NULL,
    kind INTEGER NOT NULL,
    number INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (org, kind, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX usage_values_value ON usage_values (org, kind, value);

-- The verification log, see usage/log.rs. id is the number of the slice, shifted, and a number within it; the
-- moments are those of the first and last of the records' last verifications.
CREATE TABLE verifications (
    id INTEGER PRIMARY KEY,
    org BLOB NOT NULL,
    chunk INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    records BLOB NOT NULL
) STRICT;
CREATE INDEX verifications_chunk ON verifications (org, chunk, id);
CREATE INDEX verifications_org ON verifications (org, id);

-- Where the slices of the verification log begin in the log, and which moments they can have: floor is not
-- after any moment of this or a later slice, newest not before any of this or an earlier one. Both rise.
CREATE TABLE usage_slices (
    slice INTEGER PRIMARY KEY,
    log_index INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    newest INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_slices_log_index ON usage_slices (log_index);
CREATE INDEX usage_slices_floor ON usage_slices (floor, slice);
CREATE INDEX usage_slices_newest ON usage_slices (newest, slice);

-- Addresses that keys were used from, as 4 or 16 bytes. told is set once the key's trail names the address, or
-- if it needs not; counted once a use from there was folded.
CREATE TABLE key_addresses (
    seq INTEGER NOT NULL,
    address BLOB NOT NULL,
    first_at INTEGER NOT NULL,
    told INTEGER NOT NULL,
    counted INTEGER NOT NULL,
    PRIMARY KEY (seq, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX key_addresses_untold ON key_addresses (first_at) WHERE told = 0;

-- Keys and identities whose personal data was erased and of which copies may be left, see usage/erasure.rs.
CREATE TABLE erasures (
    number INTEGER PRIMARY KEY
) STRICT;

-- What recorded verifications spent. A pool is a byte for its kind and the id.
CREATE TABLE tallies (
    pool BLOB PRIMARY KEY,
    tally BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Stretches of time of which verifications may be missing.
CREATE TABLE usage_gaps (
    log_index INTEGER PRIMARY KEY,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT;
";

/// Pages of the write-ahead log (4 KiB each) at which a commit moves them to the file itself. A thread
/// of its own does that earlier, so that commits need not; this bounds the log when it cannot keep up.
const WAL_PAGES: u32 = 16_384;

/// The connection that writes. Creates the file when absent.
pub(super) fn writing(path: &Path) -> Result<Connection> {
    create_private(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = open(path, flags)?;
    // What is deleted may be personal data that was erased.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // The file is disposable: a commit need not survive a loss of power, only leave the file whole.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.pragma_update(None, "cache_size", -64 * 1024)?;
    Ok(connection)
}

/// Makes the file for its owner only; SQLite gives the files beside it the same mode. What goes wrong here,
/// SQLite reports when it opens the file.
fn create_private(path: &Path) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    drop(options.open(path));
}

/// A connection that reads.
pub(super) fn reading(path: &Path) -> Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    Ok(connection)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    // One plan for each statement, whatever is bound: without it SQLite prepares them again and again.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

/// Makes the tables in an empty file.
pub(super) fn create(connection: &mut Connection, log: Uuid) -> Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.execute("INSERT INTO meta VALUES (1, ?1, NULL, 0, 0, 0, NULL)", [log.into_bytes()])?;
    transaction.execute("INSERT INTO usage_meta VALUES (1, NULL, NULL, 0, 0, 0, NULL, NULL)", [])?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
