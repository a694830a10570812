//! The file: its tables, and how a data key stands in a row.
//!
//! A row holds the subject's 17 bytes, a nonce of 24 bytes, and the data key encrypted with XChaCha20-Poly1305 under a
//! key derived from the master key; the subject is authenticated with it, so rows cannot be exchanged. The row of a
//! subject that was erased has a mark in place of the data key: nothing, encrypted in the same way, so that no damage
//! to a row is ever taken for an erasure. Damaged rows of subjects that have another data key since are kept apart,
//! until the subject is erased.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyledger_schema::sealing::NONCE_BYTES;
use keyledger_schema::{DataKey, Subject};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use zeroize::Zeroizing;

use super::Known;
use crate::edge::Edge;
use crate::secret::MasterKey;

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "vault.db";
/// `KeyV`.
const APPLICATION: i32 = 0x4b65_7956;
const VERSION: i32 = 2;
/// What stands in the row that tells the right master key.
const CHECK: &[u8; 32] = b"keyledger vault, right master ky";
/// Bytes that encryption adds.
const AROUND: usize = NONCE_BYTES + 16;
/// Stands behind the subject where a mark is encrypted.
const ERASED: &[u8] = b" erased";

/// Why the vault cannot be opened. For the operator's terminal: it names the file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system or SQLite refuses, or the file is damaged.
    #[error("{path}: {source}. Restore it from its backup if it is damaged", path = path.display())]
    Engine {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The operating system refuses.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What it says.
        source: std::io::Error,
    },
    /// Another file, or one of a newer version.
    #[error("{path} is no vault that this version knows: restore it from its backup, or use the newer version", path = path.display())]
    Unknown {
        /// Which file.
        path: PathBuf,
    },
    /// Another master key.
    #[error("the master key is not the one that {path} was made with. Use the right one, from your backup", path = path.display())]
    MasterKeyWrong {
        /// Which file.
        path: PathBuf,
    },
    /// No thread.
    #[error("the vault has no thread: {0}")]
    Thread(std::io::Error),
}

/// Encrypts data keys.
pub(super) struct Wrapping(DataKey);

impl Wrapping {
    pub(super) fn of(master: &MasterKey) -> Self {
        Self(DataKey::new(*master.vault_key()))
    }

    fn wrap(&self, edge: &Edge, label: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE_BYTES] = edge.nonce();
        let mut out = nonce.to_vec();
        out.extend(self.0.encrypt(&nonce, plain, label)?);
        Some(out)
    }

    fn mark(&self, edge: &Edge, label: &[u8]) -> Option<Vec<u8>> {
        self.wrap(edge, &[label, ERASED].concat(), &[])
    }

    fn is_mark(&self, label: &[u8], wrapped: &[u8]) -> bool {
        let opens = |(nonce, tag): (&[u8; NONCE_BYTES], &[u8])| {
            self.0.decrypt(nonce, &mut tag.to_vec(), &[label, ERASED].concat()).is_some()
        };
        wrapped.len() == AROUND && wrapped.split_first_chunk().is_some_and(opens)
    }

    /// What a row tells. Whatever stands there that was not written is a loss.
    fn known(&self, label: &[u8], value: ValueRef<'_>) -> Known {
        match value {
            ValueRef::Blob(mark) if self.is_mark(label, mark) => Known::Erased,
            ValueRef::Blob(wrapped) => {
                self.unwrap(label, wrapped).map_or(Known::Lost, |bits| Known::Key(DataKey::new(*bits)))
            }
            _ => Known::Lost,
        }
    }

    fn unwrap(&self, label: &[u8], wrapped: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_BYTES>()?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let plain = self.0.decrypt(nonce, &mut bytes, label)?;
        <[u8; 32]>::try_from(&*plain).ok().map(Zeroizing::new)
    }
}

/// Opens the file, or makes it.
pub(super) fn open(path: &Path, wrapping: &Wrapping, edge: &Edge) -> Result<Connection, OpenError> {
    // SQLite gives its other files the mode of this one.
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    file.map_err(|source| OpenError::File { path: path.into(), source })?;
    let engine = |source| OpenError::Engine { path: path.into(), source };
    let connection = Connection::open(path).map_err(engine)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(engine)?;
    prepare(connection, wrapping, edge).map_err(|refusal| match refusal {
        Refusal::Engine(source) => OpenError::Engine { path: path.into(), source },
        Refusal::Unknown => OpenError::Unknown { path: path.into() },
        Refusal::MasterKey => OpenError::MasterKeyWrong { path: path.into() },
    })
}

/// A vault without a file.
pub(super) fn in_memory(wrapping: &Wrapping, edge: &Edge) -> Result<Connection, OpenError> {
    let path = PathBuf::from(":memory:");
    let engine = |source| OpenError::Engine { path: path.clone(), source };
    let connection = Connection::open_in_memory().map_err(engine)?;
    prepare(connection, wrapping, edge).map_err(|_| OpenError::Unknown { path: path.clone() })
}

enum Refusal {
    Engine(rusqlite::Error),
    Unknown,
    MasterKey,
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

fn prepare(mut connection: Connection, wrapping: &Wrapping, edge: &Edge) -> Result<Connection, Refusal> {
    let pragma =
        |connection: &Connection, name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, version) =
        (pragma(&connection, "application_id")?, pragma(&connection, "user_version")?);
    if !matches!((application, version), (0, 0) | (APPLICATION, VERSION)) {
        return Err(Refusal::Unknown);
    }
    // What is deleted is overwritten.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    if application == 0 {
        let transaction = connection.transaction()?;
        transaction.execute_batch(
            "CREATE TABLE data_keys (subject BLOB PRIMARY KEY, wrapped BLOB NOT NULL) STRICT, WITHOUT ROWID;
             CREATE TABLE master (wrapped BLOB NOT NULL) STRICT;",
        )?;
        let check = wrapping.wrap(edge, b"check", CHECK).ok_or(Refusal::MasterKey)?;
        transaction.execute("INSERT INTO master (wrapped) VALUES (?1)", [check])?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS damaged (subject BLOB NOT NULL, wrapped BLOB) STRICT;
         CREATE INDEX IF NOT EXISTS damaged_subject ON damaged (subject);",
    )?;
    if is_checked(&connection, wrapping) {
        return Ok(connection);
    }
    // Either another master key, which opens no row, or that one row is damaged.
    if !opens_any(&connection, wrapping)? {
        return Err(Refusal::MasterKey);
    }
    tracing::error!("the row of the vault that tells the right master key was damaged; it is made anew");
    let check = wrapping.wrap(edge, b"check", CHECK).ok_or(Refusal::MasterKey)?;
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM master", [])?;
    transaction.execute("INSERT INTO master (wrapped) VALUES (?1)", [check])?;
    transaction.commit()?;
    Ok(connection)
}

/// Whether the row that tells the right master key tells this one.
fn is_checked(connection: &Connection, wrapping: &Wrapping) -> bool {
    // One that cannot be read is as good as none: the rows of data keys tell as well.
    let check = connection.query_row("SELECT wrapped FROM master", [], |row| row.get::<_, Vec<u8>>(0));
    let check = check.ok().and_then(|check| wrapping.unwrap(b"check", &check));
    check.is_some_and(|found| *found == *CHECK)
}

/// Whether the vault was made with this master key.
pub(super) fn is_of(connection: &Connection, wrapping: &Wrapping) -> rusqlite::Result<bool> {
    Ok(is_checked(connection, wrapping) || opens_any(connection, wrapping)?)
}

/// What a row is.
pub(super) enum Condition {
    Key,
    Mark,
    Damaged,
}

/// What a row is; without the key that it is encrypted with, what it could be.
pub(super) fn condition(wrapping: Option<&Wrapping>, label: &[u8], value: ValueRef<'_>) -> Condition {
    match (wrapping.map(|wrapping| wrapping.known(label, value)), value) {
        (Some(Known::Key(_)), _) => Condition::Key,
        (Some(Known::Erased), _) => Condition::Mark,
        (None, ValueRef::Blob(wrapped)) if wrapped.len() == AROUND + 32 => Condition::Key,
        (None, ValueRef::Blob(wrapped)) if wrapped.len() == AROUND => Condition::Mark,
        _ => Condition::Damaged,
    }
}

/// Whether a data key can be read. Only some are tried.
fn opens_any(connection: &Connection, wrapping: &Wrapping) -> rusqlite::Result<bool> {
    let mut some = connection.prepare("SELECT subject, wrapped FROM data_keys LIMIT 64")?;
    let mut rows = some.query([])?;
    while let Some(row) = rows.next()? {
        let ValueRef::Blob(label) = row.get_ref(0)? else { continue };
        if !matches!(wrapping.known(label, row.get_ref(1)?), Known::Lost) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is known of a subject: nothing where it has no row.
pub(super) fn read(
    connection: &Connection,
    wrapping: &Wrapping,
    subject: Subject,
) -> rusqlite::Result<Option<Known>> {
    let label = subject.to_bytes();
    let row = connection
        .prepare_cached("SELECT wrapped FROM data_keys WHERE subject = ?1")?
        .query_row([label], |row| Ok(wrapping.known(&label, row.get_ref(0)?)))
        .optional();
    Ok(match row {
        Ok(known) => known,
        // The page that it stands on is damaged. It does not become better by asking again.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => Some(Known::Lost),
        Err(error) => return Err(error),
    })
}

/// What some rows in order tell, and the subject of the row behind them.
type Run = (Vec<(Subject, Known)>, Option<Subject>);

/// What is known of a subject and of those in the rows behind it, so many altogether, but for those that are known
/// already or damaged; and the subject of the next row. Nothing at all where the subject has no row.
pub(super) fn read_from(
    connection: &Connection,
    wrapping: &Wrapping,
    subject: Subject,
    rows: usize,
    is_known: impl Fn(Subject) -> bool,
) -> rusqlite::Result<Run> {
    let mut found = Vec::with_capacity(rows);
    let mut some = connection.prepare_cached(
        "SELECT subject, wrapped FROM data_keys WHERE subject >= ?1 ORDER BY subject LIMIT ?2",
    )?;
    let limit = i64::try_from(rows + 1).unwrap_or(i64::MAX);
    let mut all = some.query(params![subject.to_bytes(), limit])?;
    let mut read = 0;
    while let Some(row) = all.next()? {
        let ValueRef::Blob(label) = row.get_ref(0)? else { continue };
        let Some(at) = Subject::from_bytes(label) else { continue };
        if read == 0 && at != subject {
            break;
        }
        if read == rows {
            return Ok((found, Some(at)));
        }
        read += 1;
        if is_known(at) {
            continue;
        }
        let known = wrapping.known(label, row.get_ref(1)?);
        if !matches!(known, Known::Lost) {
            found.push((at, known));
        }
    }
    Ok((found, None))
}

/// Writes a new data key of a subject that has none and was not erased. A damaged one is set aside.
pub(super) fn make(
    connection: &Connection,
    wrapping: &Wrapping,
    edge: &Edge,
    subject: Subject,
) -> rusqlite::Result<()> {
    let label = subject.to_bytes();
    if matches!(read(connection, wrapping, subject)?, Some(Known::Lost)) {
        connection
            .prepare_cached(
                "INSERT INTO damaged SELECT subject, CAST(wrapped AS BLOB) FROM data_keys WHERE subject = ?1",
            )?
            .execute([label])?;
        connection.prepare_cached("DELETE FROM data_keys WHERE subject = ?1")?.execute([label])?;
    }
    let bits = Zeroizing::new(edge.random());
    let wrapped = wrapping.wrap(edge, &label, &*bits).ok_or(rusqlite::Error::InvalidQuery)?;
    connection
        .prepare_cached("INSERT OR IGNORE INTO data_keys (subject, wrapped) VALUES (?1, ?2)")?
        .execute(params![label, wrapped])?;
    Ok(())
}

/// Deletes a data key and leaves the mark.
pub(super) fn erase(
    connection: &Connection,
    wrapping: &Wrapping,
    edge: &Edge,
    subject: Subject,
) -> rusqlite::Result<()> {
    let label = subject.to_bytes();
    connection.prepare_cached("DELETE FROM damaged WHERE subject = ?1")?.execute([label])?;
    // Another mark for one that is erased would be a write for nothing.
    if matches!(read(connection, wrapping, subject)?, Some(Known::Erased)) {
        return Ok(());
    }
    let mark = wrapping.mark(edge, &label).ok_or(rusqlite::Error::InvalidQuery)?;
    connection
        .prepare_cached(
            "INSERT INTO data_keys (subject, wrapped) VALUES (?1, ?2)
             ON CONFLICT (subject) DO UPDATE SET wrapped = excluded.wrapped",
        )?
        .execute(params![label, mark])?;
    Ok(())
}

/// What SQLite finds wrong with the order of rows and pages. It reads the whole file.
pub(super) fn flaw(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let said: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok((said != "ok").then_some(said))
}

/// Empties the write-ahead log, where deleted data keys may still stand.
pub(super) fn empty_wal(connection: &Connection) -> rusqlite::Result<()> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    // Nobody else has the file open.
    if busy == 0 { Ok(()) } else { Err(rusqlite::Error::InvalidQuery) }
}
