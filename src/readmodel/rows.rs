//! How values stand in columns. Numbers given here are part of the layout, see [`super::schema`].

use keyledger_schema::codec::Outcome;
use keyledger_schema::{IdentityId, KeyId, LogId, NodeId, OrganizationId, Stream, WorkspaceId};
use rusqlite::types::{FromSqlError, Value};
use uuid::Uuid;

pub(super) fn outcome(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::Success => 0,
        Outcome::Refused => 1,
    }
}

pub(super) fn outcome_of(number: i64) -> Outcome {
    if number == 0 { Outcome::Success } else { Outcome::Refused }
}

/// A stream as its category and the 16 bytes of its id.
pub(super) fn stream(stream: Stream) -> [u8; 17] {
    let (category, id) = match stream {
        Stream::Organization(id) => (0, id.uuid()),
        Stream::Workspace(id) => (1, id.uuid()),
        Stream::Key(id) => (2, id.uuid()),
        Stream::Usage(id) => (3, id.uuid()),
        Stream::Node(id) => (4, id.uuid()),
        Stream::Audit(id) => (5, id.uuid()),
        Stream::Identity(id) => (6, id.uuid()),
        Stream::Log(id) => (7, id.uuid()),
    };
    let mut bytes = [category; 17];
    bytes[1..].copy_from_slice(id.as_bytes());
    bytes
}

/// The stream of these bytes.
pub(super) fn stream_of(bytes: [u8; 17]) -> Result<Stream, FromSqlError> {
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[1..]);
    let id = Uuid::from_bytes(id);
    Ok(match bytes[0] {
        0 => Stream::Organization(OrganizationId::from_uuid(id)),
        1 => Stream::Workspace(WorkspaceId::from_uuid(id)),
        2 => Stream::Key(KeyId::from_uuid(id)),
        3 => Stream::Usage(NodeId::from_uuid(id)),
        4 => Stream::Node(NodeId::from_uuid(id)),
        5 => Stream::Audit(OrganizationId::from_uuid(id)),
        6 => Stream::Identity(IdentityId::from_uuid(id)),
        7 => Stream::Log(LogId::from_uuid(id)),
        other => return Err(FromSqlError::OutOfRange(other.into())),
    })
}

/// An id as a bound value.
pub(super) fn blob(id: Uuid) -> Value {
    Value::Blob(id.as_bytes().to_vec())
}

/// The 128 bits of a column.
pub(super) fn id(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Uuid> {
    row.get::<_, [u8; 16]>(index).map(Uuid::from_bytes)
}

/// The 128 bits of a column that may be empty.
pub(super) fn optional_id(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Option<Uuid>> {
    Ok(row.get::<_, Option<[u8; 16]>>(index)?.map(Uuid::from_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_one_to_one_with_its_bytes() {
        let id = Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        for expected in [
            Stream::Organization(OrganizationId::from_uuid(id)),
            Stream::Workspace(WorkspaceId::from_uuid(id)),
            Stream::Key(KeyId::from_uuid(id)),
            Stream::Usage(NodeId::from_uuid(id)),
            Stream::Node(NodeId::from_uuid(id)),
            Stream::Audit(OrganizationId::from_uuid(id)),
            Stream::Identity(IdentityId::from_uuid(id)),
            Stream::Log(LogId::from_uuid(id)),
        ] {
            assert_eq!(stream_of(stream(expected)).unwrap(), expected);
        }
        assert!(stream_of([9; 17]).is_err());
    }
}
