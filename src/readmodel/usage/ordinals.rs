//! Keys by their ordinals, and the other way round.

use keyledger_schema::{KeyId, OrganizationId, WorkspaceId};
use rusqlite::{Connection, OptionalExtension, Result, params};

use super::super::rows;

/// The ordinal of a key, if the organization has it.
pub(in crate::readmodel) fn of(
    connection: &Connection,
    organization: OrganizationId,
    key: KeyId,
) -> Result<Option<u32>> {
    connection
        .prepare_cached("SELECT ord FROM keys WHERE id = ?1 AND org = ?2")?
        .query_row(params![key.uuid().into_bytes(), organization.uuid().into_bytes()], |row| row.get(0))
        .optional()
}

/// The key that an organization has under an ordinal, and where it lives.
pub(in crate::readmodel) fn key(
    connection: &Connection,
    organization: OrganizationId,
    ord: u32,
) -> Result<Option<(KeyId, WorkspaceId)>> {
    connection
        .prepare_cached("SELECT id, workspace FROM keys WHERE org = ?1 AND ord = ?2")?
        .query_row(params![organization.uuid().into_bytes(), ord], |row| {
            Ok((KeyId::from_uuid(rows::id(row, 0)?), WorkspaceId::from_uuid(rows::id(row, 1)?)))
        })
        .optional()
}
