//! What recorded verifications spent of each pool of credits.
//!
//! The table has what was folded. When the read model is opened, the rest of the log is added to what an
//! observer is told: nothing twice, since it begins where the table ends.

use std::collections::BTreeMap;

use keyledger_projections::{PoolId, Tally};
use keyledger_schema::usage::UsageRecord;
use keyledger_schema::{Envelope, Event, IdentityId, KeyId};
use memchr::memmem::Finder;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::super::fact::{USAGE, Unreadable};
use super::super::projector::Failure;
use super::super::{Observer, replay, snapshot};
use crate::store::{EventStore, Filter, Position};

/// Stands in every event that tells of credits, since events are written without spaces.
const SPENT: &[u8] = br#""spent":["#;
/// Events per read of the log.
const READ_EVENTS: usize = 2_048;

fn bytes(pool: PoolId) -> [u8; 17] {
    let (kind, id) = match pool {
        PoolId::Key(id) => (0, id.uuid()),
        PoolId::Identity(id) => (1, id.uuid()),
    };
    let mut bytes = [kind; 17];
    bytes[1..].copy_from_slice(id.as_bytes());
    bytes
}

fn pool(bytes: [u8; 17]) -> Option<PoolId> {
    let [kind, id @ ..] = bytes;
    let id = Uuid::from_bytes(id);
    match kind {
        0 => Some(PoolId::Key(KeyId::from_uuid(id))),
        1 => Some(PoolId::Identity(IdentityId::from_uuid(id))),
        _ => None,
    }
}

/// What some records spent, in log order.
#[derive(Default)]
pub(super) struct Tallies(BTreeMap<PoolId, Tally>);

impl Tallies {
    pub(super) fn add(&mut self, record: &UsageRecord) {
        let Some(key) = record.key else { return };
        for spent in &record.spent {
            self.0.entry(PoolId::of(key, spent)).or_default().add(spent);
        }
    }

    pub(super) fn into_sorted(self) -> impl Iterator<Item = (PoolId, Tally)> {
        self.0.into_iter()
    }
}

/// Adds to what the table has.
pub(super) fn join(connection: &Connection, id: PoolId, new: &Tally) -> Result<(), Failure> {
    let known: Option<Tally> = connection
        .prepare_cached("SELECT tally FROM tallies WHERE pool = ?1")?
        .query_row([bytes(id)], |row| snapshot::column(row, 0))
        .optional()?;
    let mut tally = known.unwrap_or_default();
    tally.join(new);
    connection
        .prepare_cached("INSERT OR REPLACE INTO tallies (pool, tally) VALUES (?1, ?2)")?
        .execute(params![bytes(id), snapshot::write(&tally)?])?;
    Ok(())
}

/// Tells an observer of all that the log has up to `applied`. The table has it up to `folded`, and no round is
/// half written.
pub(in crate::readmodel) async fn tell(
    connection: &Connection,
    store: &dyn EventStore,
    (folded, applied): (Option<Position>, Option<Position>),
    observer: &dyn Observer,
) -> Result<(), replay::Error> {
    let mut tallies = Tallies(table(connection).map_err(Failure::from)?);
    let finder = Finder::new(SPENT);
    let mut after = folded;
    while after < applied {
        let events = store.read_all(after, Filter::Types(vec![USAGE.into()]), READ_EVENTS).await?;
        let Some(last) = events.last() else { break };
        after = Some(last.position);
        for event in events {
            if Some(event.position) > applied || finder.find(&event.bytes).is_none() {
                continue;
            }
            let envelope = Envelope::open(&event.bytes)
                .map_err(|error| Failure::from(Unreadable::new(event.position, &error)))?;
            if let Event::UsageRecorded(recorded) = envelope.event {
                recorded
                    .groups
                    .iter()
                    .flat_map(|group| &group.records)
                    .for_each(|record| tallies.add(record));
            }
        }
    }
    for (pool, tally) in tallies.into_sorted() {
        observer.spent(pool, &tally);
    }
    Ok(())
}

fn table(connection: &Connection) -> rusqlite::Result<BTreeMap<PoolId, Tally>> {
    let mut statement = connection.prepare_cached("SELECT pool, tally FROM tallies")?;
    let tallies = statement.query_map([], |row| {
        let pool = pool(row.get(0)?).ok_or_else(|| snapshot::damaged(0, snapshot::Error))?;
        Ok((pool, snapshot::column(row, 1)?))
    })?;
    tallies.collect()
}
