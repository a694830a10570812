//! One row of the log: the checksum written with it, and reading it back.
//!
//! Invariant: no row leaves this module without its checksum having been compared. SQLite does not
//! notice a bit that flips inside a value; this does.

use std::sync::Arc;

use rusqlite::types::ValueRef;
use twox_hash::XxHash3_64;
use uuid::Uuid;

use crate::store::{Position, ReadError, Recorded};

/// The columns that [`Row::read`] expects, in this order.
pub(super) const COLUMNS: &str = "position, stream, revision, id, type, sum, bytes";

/// Computes the checksum of rows: XXH3 with 64 bits, little-endian, over the payload. Its seed is the same over the
/// little-endian length and the bytes of the stream's name, revision, id, length and bytes of the type.
///
/// It is against accidents. Against people there are the chain of the stream and the tree, which take longer.
pub(super) struct Checksum {
    head: Vec<u8>,
}

impl Checksum {
    pub(super) fn new() -> Self {
        Self { head: Vec::with_capacity(512) }
    }

    pub(super) fn of(
        &mut self,
        stream: &str,
        revision: u64,
        id: Uuid,
        event_type: &str,
        bytes: &[u8],
    ) -> [u8; 8] {
        self.head.clear();
        self.head.extend_from_slice(&(stream.len() as u64).to_le_bytes());
        self.head.extend_from_slice(stream.as_bytes());
        self.head.extend_from_slice(&revision.to_le_bytes());
        self.head.extend_from_slice(id.as_bytes());
        self.head.extend_from_slice(&(event_type.len() as u64).to_le_bytes());
        self.head.extend_from_slice(event_type.as_bytes());
        XxHash3_64::oneshot_with_seed(XxHash3_64::oneshot(&self.head), bytes).to_le_bytes()
    }
}

/// A row whose checksum fits, borrowed from the database's page.
pub(super) struct Row<'a> {
    pub(super) position: u64,
    pub(super) stream: &'a str,
    pub(super) revision: u64,
    pub(super) id: Uuid,
    pub(super) event_type: &'a str,
    pub(super) bytes: &'a [u8],
}

/// What does not fit, and where.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) position: u64,
    pub(super) what: String,
}

impl Damage {
    pub(super) fn missing(position: u64) -> Self {
        Self { position, what: "the event is missing".to_owned() }
    }
}

impl From<Damage> for ReadError {
    fn from(damage: Damage) -> Self {
        Self::Damaged { position: Position::from_raw(damage.position), what: damage.what.into() }
    }
}

impl<'a> Row<'a> {
    pub(super) fn read(row: &'a rusqlite::Row<'_>, checksum: &mut Checksum) -> Result<Self, Damage> {
        let position = integer(row, 0).unwrap_or(0);
        let (Some(stream), Some(revision), Some(id), Some(event_type), Some(sum), Some(bytes)) = (
            text(row, 1),
            integer(row, 2),
            blob(row, 3).and_then(|bytes| Uuid::from_slice(bytes).ok()),
            text(row, 4),
            blob(row, 5),
            blob(row, 6),
        ) else {
            return Err(Damage { position, what: "the event's fields cannot be read".to_owned() });
        };
        if sum != checksum.of(stream, revision, id, event_type, bytes) {
            let what = format!("stream {stream}, revision {revision}: the event does not match its checksum");
            return Err(Damage { position, what });
        }
        Ok(Self { position, stream, revision, id, event_type, bytes })
    }

    /// Copies the row out. The names are given as they are shared with other events.
    pub(super) fn record(&self, stream: Arc<str>, event_type: Arc<str>) -> Recorded {
        Recorded {
            position: Position::from_raw(self.position),
            stream,
            revision: self.revision,
            id: self.id,
            event_type,
            bytes: Arc::from(self.bytes),
        }
    }
}

pub(super) fn integer(row: &rusqlite::Row<'_>, column: usize) -> Option<u64> {
    match row.get_ref(column) {
        Ok(ValueRef::Integer(value)) => u64::try_from(value).ok(),
        _ => None,
    }
}

pub(super) fn text<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> Option<&'a str> {
    match row.get_ref(column) {
        Ok(ValueRef::Text(bytes)) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

pub(super) fn blob<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> Option<&'a [u8]> {
    match row.get_ref(column) {
        Ok(ValueRef::Blob(bytes)) => Some(bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_tells_every_field_apart_and_never_changes() {
        let mut checksum = Checksum::new();
        let id = Uuid::from_u128(1);
        let sum = checksum.of("ab", 1, id, "c", b"d");
        assert_eq!(sum, checksum.of("ab", 1, id, "c", b"d"));
        assert_ne!(sum, checksum.of("a", 1, id, "bc", b"d"));
        assert_ne!(sum, checksum.of("ab", 2, id, "c", b"d"));
        assert_ne!(sum, checksum.of("ab", 1, Uuid::from_u128(2), "c", b"d"));
        assert_ne!(sum, checksum.of("ab", 1, id, "", b"cd"));
        assert_ne!(sum, checksum.of("ab", 1, id, "c", b""));
        assert_eq!(sum, [235, 75, 248, 233, 101, 103, 101, 204], "it never changes");
    }
}
