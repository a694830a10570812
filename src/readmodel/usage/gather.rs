//! What a round reads: the records of some events, each with what the tables know of its key.

use std::collections::HashMap;

use keyledger_schema::usage::UsageRecord;
use keyledger_schema::{
    DataKeys, Envelope, Environment, Event, KeyId, OrganizationId, Timestamp, WorkspaceId,
};
use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::super::fact::Unreadable;
use super::super::projector::Failure;
use super::super::{UsageStanding, rows, snapshot};
use super::rollup::owner;
use crate::store::{Position, Recorded};

/// What does not change about a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct KeyPlace {
    pub(super) seq: i64,
    pub(super) organization: OrganizationId,
    pub(super) ord: u32,
    pub(super) workspace: WorkspaceId,
    pub(super) environment: Environment,
}

/// A record and where it stands.
pub(super) struct Item {
    /// The event's place in the log.
    pub(super) log_index: u64,
    /// The record's place in the event.
    pub(super) place: u32,
    /// Whose it is: the key's organization, or the event's where no key is known.
    pub(super) owner: [u8; 16],
    /// The key that it names, if there was one at this point of the log.
    pub(super) key: Option<KeyPlace>,
    /// Who asked.
    pub(super) by: Option<KeyId>,
    /// Start of the event.
    pub(super) from: Timestamp,
    pub(super) record: UsageRecord,
    /// Of the dictionary; given once all of the round is read.
    pub(super) numbers: Numbered,
}

/// The numbers of a record's values; 0 for none.
#[derive(Default)]
pub(super) struct Numbered {
    pub(super) place: u32,
    pub(super) address: u32,
    pub(super) tags: Box<[u32]>,
}

impl Item {
    pub(super) fn ord(&self) -> u32 {
        self.key.map_or(0, |key| key.ord)
    }
}

/// What a round has read, in log order.
pub(super) struct Gathered {
    pub(super) items: Vec<Item>,
    /// Position of the last event.
    pub(super) end: Option<Position>,
    /// As of then, but for what finishing the round changes.
    pub(super) standing: UsageStanding,
    /// The newest moment of the rounds before.
    pub(super) before: Timestamp,
    keys: HashMap<KeyId, Option<KeyPlace>>,
}

impl Gathered {
    /// `newest` is when the newest usage event was recorded that the tables show.
    pub(super) fn new(mut standing: UsageStanding, newest: Option<Timestamp>) -> Self {
        // A round that is done again leaves out what it left out before.
        if standing.ahead.is_none() {
            standing.horizon = standing.horizon.max(standing.newest).max(newest);
        }
        let before = standing.newest.unwrap_or_default();
        Self { items: Vec::new(), end: None, standing, before, keys: HashMap::new() }
    }

    /// Adds events that the tables show, read by one connection in one transaction.
    pub(super) fn add(
        &mut self,
        connection: &Connection,
        events: &[Recorded],
        keys: &dyn DataKeys,
    ) -> Result<(), Failure> {
        let _snapshot = connection.unchecked_transaction()?;
        let mut envelopes = Vec::with_capacity(events.len());
        for event in events {
            let envelope = Envelope::open_with(&event.bytes, keys)
                .map_err(|error| Unreadable::new(event.position, &error))?;
            envelopes.push(envelope);
        }
        self.find_keys(connection, &envelopes)?;
        for (event, envelope) in events.iter().zip(envelopes) {
            self.add_one(connection, event, envelope)?;
        }
        Ok(())
    }

    /// Looks for all keys that are not known yet, in the order of their rows, so that neighbours share a page.
    fn find_keys(&mut self, connection: &Connection, envelopes: &[Envelope]) -> Result<(), Failure> {
        let mut unknown: Vec<KeyId> = envelopes
            .iter()
            .filter_map(|envelope| match &envelope.event {
                Event::UsageRecorded(recorded) => Some(&recorded.groups),
                _ => None,
            })
            .flatten()
            .flat_map(|group| &group.records)
            .filter_map(|record| record.key)
            .filter(|id| !self.keys.contains_key(id))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        for id in unknown {
            self.keys.insert(id, key_place(connection, id)?);
        }
        Ok(())
    }

    fn add_one(
        &mut self,
        connection: &Connection,
        event: &Recorded,
        envelope: Envelope,
    ) -> Result<(), Failure> {
        if let Event::UsageRecorded(recorded) = envelope.event {
            let log_index = log_index(connection, event.id)?;
            let mut place = 0;
            let mut newest = recorded.to;
            for group in recorded.groups {
                for record in group.records {
                    newest = newest.max(record.last_at(recorded.from));
                    let key = record.key.and_then(|id| self.keys.get(&id).copied().flatten());
                    // What is read must not depend on how far the tables are beyond this event.
                    let key = key.filter(|key| key.seq.cast_unsigned() < log_index);
                    let organization = key.map(|key| key.organization).or(envelope.organization);
                    self.items.push(Item {
                        log_index,
                        place,
                        owner: owner(organization),
                        key,
                        by: group.by,
                        from: recorded.from,
                        record,
                        numbers: Numbered::default(),
                    });
                    place += 1;
                }
            }
            self.standing.newest = self.standing.newest.max(Some(newest));
        }
        self.end = Some(event.position);
        self.standing.events += 1;
        Ok(())
    }
}

fn log_index(connection: &Connection, event: Uuid) -> Result<u64, Failure> {
    let found = connection
        .prepare_cached("SELECT log_index FROM entries WHERE id = ?1")?
        .query_row([event.into_bytes()], |row| row.get::<_, i64>(0))
        .optional()?;
    // The tables show the event, so its entry is there unless the file is damaged.
    Ok(found.ok_or(snapshot::Error)?.cast_unsigned())
}

fn key_place(connection: &Connection, id: KeyId) -> rusqlite::Result<Option<KeyPlace>> {
    connection
        .prepare_cached("SELECT seq, org, ord, workspace, environment FROM keys WHERE id = ?1")?
        .query_row([id.uuid().into_bytes()], |row| {
            let environment = Environment::ALL.get(usize::from(row.get::<_, u8>(4)?)).copied();
            Ok(KeyPlace {
                seq: row.get(0)?,
                organization: OrganizationId::from_uuid(rows::id(row, 1)?),
                ord: row.get(2)?,
                workspace: WorkspaceId::from_uuid(rows::id(row, 3)?),
                environment: environment.ok_or_else(|| snapshot::damaged(4, snapshot::Error))?,
            })
        })
        .optional()
}
