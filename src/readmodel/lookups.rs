//! Answers that take one row, or a few.

use keyledger_projections::{IdentityState, KeyState, OrganizationState, WorkspaceState};
use keyledger_schema::{IdentityId, KeyId, OrganizationId, Timestamp, WorkspaceId};
use rusqlite::{Connection, OptionalExtension, Result};

use super::analytics::Incomplete;
use super::keys::KeyRow;
use super::{rows, snapshot};

pub(super) fn key(connection: &Connection, id: KeyId) -> Result<Option<KeyRow>> {
    connection
        .prepare_cached(
            "SELECT k.seq, k.state, u.usage FROM keys k LEFT JOIN key_usage u ON u.seq = k.seq WHERE k.id = ?1",
        )?
        .query_row([id.uuid().into_bytes()], KeyRow::of)
        .optional()
}

/// The number of a key.
pub(super) fn seq(connection: &Connection, id: KeyId) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT seq FROM keys WHERE id = ?1")?
        .query_row([id.uuid().into_bytes()], |row| row.get(0))
        .optional()
}

pub(super) fn keys(connection: &Connection, ids: &[KeyId]) -> Result<Vec<KeyState>> {
    let mut find = connection.prepare_cached("SELECT state FROM keys WHERE id = ?1")?;
    ids.iter()
        .filter_map(|id| {
            find.query_row([id.uuid().into_bytes()], |row| snapshot::column(row, 0)).optional().transpose()
        })
        .collect()
}

pub(super) fn organization(connection: &Connection, id: OrganizationId) -> Result<Option<OrganizationState>> {
    connection
        .prepare_cached("SELECT state FROM organizations WHERE id = ?1")?
        .query_row([id.uuid().into_bytes()], |row| snapshot::column(row, 0))
        .optional()
}

pub(super) fn workspace(connection: &Connection, id: WorkspaceId) -> Result<Option<WorkspaceState>> {
    connection
        .prepare_cached("SELECT state FROM workspaces WHERE id = ?1")?
        .query_row([id.uuid().into_bytes()], |row| snapshot::column(row, 0))
        .optional()
}

pub(super) fn identity(connection: &Connection, id: IdentityId) -> Result<Option<IdentityState>> {
    connection
        .prepare_cached("SELECT state FROM identities WHERE id = ?1")?
        .query_row([id.uuid().into_bytes()], |row| snapshot::column(row, 0))
        .optional()
}

pub(super) fn workspaces(
    connection: &Connection,
    organization: OrganizationId,
) -> Result<Vec<WorkspaceState>> {
    connection
        .prepare_cached("SELECT state FROM workspaces WHERE org = ?1 ORDER BY seq")?
        .query_map([organization.uuid().into_bytes()], |row| snapshot::column(row, 0))?
        .collect()
}

pub(super) fn due(connection: &Connection, now: Timestamp, max: usize) -> Result<Vec<KeyId>> {
    connection
        .prepare_cached(
            "SELECT id FROM keys WHERE due_at IS NOT NULL AND due_at <= ?1 ORDER BY due_at LIMIT ?2",
        )?
        .query_map((now.micros(), i64::try_from(max).unwrap_or(i64::MAX)), |row| rows::id(row, 0))?
        .map(|id| id.map(KeyId::from_uuid))
        .collect()
}

pub(super) fn gaps(connection: &Connection, from: Timestamp, to: Timestamp) -> Result<Vec<Incomplete>> {
    connection
        .prepare_cached(
            "SELECT since, until FROM usage_gaps WHERE since < ?2 AND until > ?1 ORDER BY since LIMIT 1000",
        )?
        .query_map([from.micros(), to.micros()], |row| {
            Ok(Incomplete {
                from: Timestamp::from_micros(row.get(0)?),
                to: Timestamp::from_micros(row.get(1)?),
            })
        })?
        .collect()
}
