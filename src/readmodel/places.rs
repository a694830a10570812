//! How many places of its quota each workspace has given away: to keys, and to keys that are about to be
//! issued.
//!
//! Counted as events come, so that a decision need not count keys. A reservation counts until its key is
//! issued; one whose key never came stops counting by its age, see the reader's `since`.

use std::collections::HashMap;

use keyledger_projections::KeyState;
use keyledger_schema::event::Event;
use keyledger_schema::{Envelope, KeyId, Stream, Timestamp, WorkspaceId};
use rusqlite::{Connection, OptionalExtension, Result, Transaction, params};

/// Reservations older than this say nothing any more, whatever the reader's clock.
const FORGOTTEN: std::time::Duration = std::time::Duration::from_mins(10);

/// What a batch changes.
#[derive(Default)]
pub(super) struct Changes {
    keys: HashMap<WorkspaceId, i64>,
    issued: Vec<KeyId>,
    reserved: Vec<(WorkspaceId, Timestamp, Vec<KeyId>)>,
}

impl Changes {
    /// A key changed.
    pub(super) fn key(&mut self, before: Option<&KeyState>, after: &KeyState) {
        let took = before.is_some_and(KeyState::takes_a_place);
        let takes = after.takes_a_place();
        if took != takes {
            *self.keys.entry(after.workspace).or_default() += i64::from(takes) - i64::from(took);
        }
        if before.is_none() {
            self.issued.push(after.id);
        }
    }

    /// Something happened in a workspace.
    pub(super) fn workspace(&mut self, envelope: &Envelope) {
        if let (Stream::Workspace(id), Event::WorkspaceKeysReserved(reserved)) =
            (envelope.stream, &envelope.event)
        {
            self.reserved.push((id, envelope.at, reserved.keys.clone()));
        }
    }

    /// Writes all of it. `pending` tells whether any reservation may be there, so that keys of workspaces
    /// without a quota cost nothing.
    pub(super) fn write(self, transaction: &Transaction<'_>, pending: &mut bool) -> Result<()> {
        for (workspace, change) in self.keys.into_iter().filter(|(_, change)| *change != 0) {
            transaction
                .prepare_cached(
                    "INSERT INTO places (workspace, keys) VALUES (?1, ?2) \
                     ON CONFLICT (workspace) DO UPDATE SET keys = keys + excluded.keys",
                )?
                .execute(params![workspace.uuid().into_bytes(), change])?;
        }
        for (workspace, at, keys) in self.reserved {
            *pending = true;
            transaction
                .prepare_cached("DELETE FROM reservations WHERE at < ?1")?
                .execute([at.minus(FORGOTTEN).micros()])?;
            let mut insert = transaction.prepare_cached(
                // Of a place that was reserved again the later moment counts.
                "INSERT OR REPLACE INTO reservations (key, workspace, at) \
                 SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM keys WHERE id = ?1)",
            )?;
            for key in keys {
                insert.execute(params![
                    key.uuid().into_bytes(),
                    workspace.uuid().into_bytes(),
                    at.micros()
                ])?;
            }
        }
        if *pending {
            let mut delete = transaction.prepare_cached("DELETE FROM reservations WHERE key = ?1")?;
            for key in self.issued {
                delete.execute([key.uuid().into_bytes()])?;
            }
        }
        Ok(())
    }
}

/// Whether there may be reservations.
pub(super) fn any_pending(connection: &Connection) -> Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM reservations)", [], |row| row.get(0))
}

/// Places of a workspace that are given away: keys, and reservations made after a moment.
pub(super) fn taken(connection: &Connection, workspace: WorkspaceId, since: Timestamp) -> Result<u64> {
    let id = workspace.uuid().into_bytes();
    let keys: Option<i64> = connection
        .prepare_cached("SELECT keys FROM places WHERE workspace = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let reserved: i64 = connection
        .prepare_cached("SELECT count(*) FROM reservations WHERE workspace = ?1 AND at > ?2")?
        .query_row(params![id, since.micros()], |row| row.get(0))?;
    Ok((keys.unwrap_or(0).max(0) + reserved).cast_unsigned())
}

/// The keys among these that have a place: since when it is reserved, or none when they are issued.
pub(super) fn held(
    connection: &Connection,
    workspace: WorkspaceId,
    since: Timestamp,
    keys: &[KeyId],
) -> Result<Vec<(KeyId, Option<Timestamp>)>> {
    let workspace = workspace.uuid().into_bytes();
    let mut reserved = connection
        .prepare_cached("SELECT at FROM reservations WHERE key = ?1 AND workspace = ?2 AND at > ?3")?;
    let mut issued = connection.prepare_cached("SELECT 1 FROM keys WHERE id = ?1")?;
    let mut held = Vec::new();
    for &key in keys {
        let id = key.uuid().into_bytes();
        if issued.exists([id])? {
            held.push((key, None));
        } else if let Some(at) =
            reserved.query_row(params![id, workspace, since.micros()], |row| row.get(0)).optional()?
        {
            held.push((key, Some(Timestamp::from_micros(at))));
        }
    }
    Ok(held)
}
