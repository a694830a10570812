//! A look at the vault of a data directory, whether a server runs or not. Nothing is written or repaired.

use std::fmt::Write as _;
use std::path::Path;

use keyledger_schema::Subject;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};

use super::file::{self, FILE_NAME, OpenError, Wrapping};
use crate::secret::MasterKey;

/// So many subjects are named.
const NAMED: usize = 10;

/// In what condition a vault is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Condition {
    /// Data keys that are whole.
    pub whole: u64,
    /// Subjects that were erased.
    pub erased: u64,
    /// Data keys that were lost with their rows: those that are damaged, and those that were replaced since.
    pub lost: u64,
    /// Whose they are, as far as that can be read, and not of too many.
    pub subjects: Vec<String>,
    /// Whether each was opened with the master key. Otherwise only their form is known.
    pub opened: bool,
    /// What SQLite says of the file, if there is something wrong.
    pub file: Option<String>,
}

impl Condition {
    /// Whether all data keys can be read.
    pub const fn is_whole(&self) -> bool {
        self.lost == 0 && self.file.is_none()
    }

    fn lose(&mut self, subject: &[u8]) {
        self.lost += 1;
        if self.subjects.len() < NAMED {
            let subject = Subject::from_bytes(subject);
            self.subjects
                .push(subject.map_or_else(|| "somebody unknown".into(), |subject| subject.to_string()));
        }
    }
}

/// Looks at the vault of a data directory; none if it has none. Without the right master key only the form of rows is
/// looked at.
pub fn examine(data_dir: &Path, master: Option<&MasterKey>) -> Result<Option<Condition>, OpenError> {
    let path = data_dir.join(FILE_NAME);
    if !path.is_file() {
        return Ok(None);
    }
    let look = || {
        let connection = reading(&path)?;
        look(&connection, master.map(Wrapping::of).as_ref())
    };
    look().map(Some).map_err(|source| OpenError::Engine { path: path.clone(), source })
}

fn look(connection: &Connection, wrapping: Option<&Wrapping>) -> rusqlite::Result<Condition> {
    let mut condition = Condition { file: file::flaw(connection)?, ..Condition::default() };
    let wrapping = wrapping.filter(|wrapping| file::is_of(connection, wrapping).unwrap_or(false));
    condition.opened = wrapping.is_some();
    if let Err(error) = count(connection, wrapping, &mut condition) {
        condition.file.get_or_insert(error.to_string());
    }
    Ok(condition)
}

/// Counts rows, as far as they can be read.
fn count(
    connection: &Connection,
    wrapping: Option<&Wrapping>,
    condition: &mut Condition,
) -> rusqlite::Result<()> {
    let mut all = connection.prepare("SELECT subject, wrapped FROM data_keys")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let subject = label(row)?;
        match file::condition(wrapping, subject, row.get_ref(1)?) {
            _ if Subject::from_bytes(subject).is_none() => condition.lose(subject),
            file::Condition::Key => condition.whole += 1,
            file::Condition::Mark => condition.erased += 1,
            file::Condition::Damaged => condition.lose(subject),
        }
    }
    let set_aside: i64 = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'damaged'",
        [],
        |row| row.get(0),
    )?;
    if set_aside > 0 {
        let mut all = connection.prepare("SELECT subject FROM damaged")?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            condition.lose(label(row)?);
        }
    }
    Ok(())
}

/// The subject of a row; nothing where something else stands.
fn label<'a>(row: &'a Row<'_>) -> rusqlite::Result<&'a [u8]> {
    Ok(match row.get_ref(0)? {
        ValueRef::Blob(subject) => subject,
        _ => &[],
    })
}

/// Where nothing waits to be merged into the file it is read by itself, so that a copy on read-only storage can be
/// (<https://www.sqlite.org/uri.html>, `immutable`).
fn reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let unmerged = path.with_extension("db-wal");
    if std::fs::metadata(unmerged).is_ok_and(|wal| wal.len() > 0) {
        return Connection::open_with_flags(path, flags);
    }
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
    Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
}
