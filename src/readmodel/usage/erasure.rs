//! Removes what the tables of usage have copied of a key's personal data: the addresses that it was used from
//! and the resources that it was used on. What was counted stays; it counts as coming from no known address.
//!
//! The feed notes the erasure in the table `erasures` with the transaction that applies the erasure, and events that
//! are folded after it have no personal data of the key any more. So what is left are the rows that were written
//! before, of the key's chunk only. An address that no other key of the organization was used from then goes
//! from the dictionary too: months are kept for ever and complete, so their rows tell.
//!
//! Each step may be repeated, and is, when the process ends before the note is taken back. Bytes that were
//! deleted are overwritten ([`schema`](super::super::schema)), and at the end the write-ahead log is emptied.

use std::collections::BTreeSet;
use std::time::Duration;

use keyledger_projections::KeyUsage;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::super::projector::Failure;
use super::super::snapshot;
use super::cells::{self, Cell};
use super::log;
use super::rollup::{Facet, Grain, blob};
use super::values::ValueKind;
use crate::edge::Stopwatch;

/// How often it is tried to empty the write-ahead log while somebody reads.
const ATTEMPTS: u32 = 200;
const RETRY: Duration = Duration::from_millis(10);

/// A key whose copies are removed.
#[derive(Clone, Copy, Debug)]
struct Key {
    seq: i64,
    owner: [u8; 16],
    ord: u32,
}

/// What is noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted {
    number: i64,
    /// None for an identity, of which nothing is copied but into what the feed has rewritten.
    key: Option<Key>,
}

/// Notes an erasure: a key's by its number, an identity's by one below zero.
pub(in crate::readmodel) fn note(connection: &Connection, number: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT OR IGNORE INTO erasures (number) VALUES (?1)")?.execute([number])?;
    Ok(())
}

/// Whether anything is still being removed.
pub(in crate::readmodel) fn is_pending(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM erasures LIMIT 1")?.exists([])
}

/// The first that is noted.
pub(super) fn next(connection: &Connection) -> rusqlite::Result<Option<Noted>> {
    connection
        .prepare_cached(
            "SELECT e.number, k.org, k.ord FROM erasures e LEFT JOIN keys k ON k.seq = e.number \
             ORDER BY e.number LIMIT 1",
        )?
        .query_row([], |row| {
            let number = row.get(0)?;
            let owner: Option<[u8; 16]> = row.get(1)?;
            let key = match owner {
                Some(owner) => Some(Key { seq: number, owner, ord: row.get(2)? }),
                None => None,
            };
            Ok(Noted { number, key })
        })
        .optional()
}

/// Empties the write-ahead log and takes the note back, which is no secret. Tells whether that was possible: while
/// somebody reads for very long it is not, and the note stays.
pub(super) fn finish(connection: &Connection, noted: Noted) -> rusqlite::Result<bool> {
    for _ in 0..ATTEMPTS {
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy == 0 {
            connection.execute("DELETE FROM erasures WHERE number = ?1", [noted.number])?;
            return Ok(true);
        }
        std::thread::sleep(RETRY);
    }
    Ok(false)
}

/// What is done next.
enum Stage {
    /// The verification log from this row on.
    Log(i64),
    /// The rows of addresses from this bucket of this granularity on.
    Cells(usize, u32),
    /// The key's own numbers, and the dictionary.
    Rest,
}

/// The removal of a key's copies, in short transactions.
pub(super) struct Erasure {
    key: Key,
    stage: Stage,
}

impl Erasure {
    /// None where there is nothing to remove.
    pub(super) fn of(noted: Noted) -> Option<Self> {
        noted.key.map(|key| Self { key, stage: Stage::Log(0) })
    }

    /// Goes on for a while. Tells whether it is done.
    pub(super) fn go_on(
        &mut self,
        connection: &mut Connection,
        reading: &Connection,
        time: Duration,
    ) -> Result<bool, Failure> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let watch = Stopwatch::start();
        let mut done = false;
        while !done && watch.elapsed() < time {
            match self.stage {
                Stage::Log(from) => self.log(&transaction, from)?,
                Stage::Cells(grain, bucket) => self.cells(&transaction, grain, bucket)?,
                Stage::Rest => {
                    self.own(&transaction)?;
                    self.dictionary(&transaction, reading)?;
                    done = true;
                }
            }
        }
        transaction.commit()?;
        Ok(done)
    }

    /// One row of the verification log.
    fn log(&mut self, connection: &Connection, from: i64) -> Result<(), Failure> {
        let chunk = self.key.ord / log::CHUNK;
        let found: Option<(i64, Vec<u8>)> = connection
            .prepare_cached(
                "SELECT id, records FROM verifications WHERE org = ?1 AND chunk = ?2 AND id >= ?3 ORDER BY id LIMIT 1",
            )?
            .query_row(params![self.key.owner, chunk, from], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((id, records)) = found else {
            self.stage = Stage::Cells(0, 0);
            return Ok(());
        };
        #[allow(clippy::cast_possible_truncation, reason = "a chunk has 64")]
        let ord = (self.key.ord % log::CHUNK) as u8;
        let (mut writer, mut changed) = (log::Writer::default(), false);
        log::read(&records, |record| {
            changed |= record.ord == ord && (record.ip.is_some() || record.resource.is_some());
            writer.add_without(record, ord)
        })?;
        if changed {
            connection
                .prepare_cached("UPDATE verifications SET records = ?2 WHERE id = ?1")?
                .execute(params![id, writer.finish()])?;
        }
        self.stage = Stage::Log(id + 1);
        Ok(())
    }

    /// One row of addresses.
    fn cells(&mut self, connection: &Connection, grain: usize, bucket: u32) -> Result<(), Failure> {
        let Some(granularity) = Grain::ALL.get(grain) else {
            self.stage = Stage::Rest;
            return Ok(());
        };
        let Key { owner, ord, .. } = self.key;
        let row =
            params![owner, Facet::Addresses as u8, *granularity as u8, ord / granularity.chunk(), bucket];
        let found: Option<(u32, Vec<u8>)> = connection
            .prepare_cached(
                "SELECT bucket, cells FROM usage_cells WHERE org = ?1 AND facet = ?2 AND granularity = ?3 AND chunk = ?4 \
                 AND bucket >= ?5 ORDER BY bucket LIMIT 1",
            )?
            .query_row(row, |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((bucket, blob)) = found else {
            self.stage = Stage::Cells(grain + 1, 0);
            return Ok(());
        };
        let (mut all, mut changed) = (Vec::new(), false);
        cells::decode(&blob, |mut cell: Cell| {
            if cell.place.ord == ord && cell.place.value != 0 {
                cell.place.value = 0;
                changed = true;
            }
            all.push(cell);
        })?;
        if changed {
            cells::sum(&mut all);
            let row = params![
                owner,
                Facet::Addresses as u8,
                *granularity as u8,
                ord / granularity.chunk(),
                bucket,
                cells::encode(&all)
            ];
            connection
                .prepare_cached(
                    "UPDATE usage_cells SET cells = ?6 WHERE org = ?1 AND facet = ?2 AND granularity = ?3 \
                     AND chunk = ?4 AND bucket = ?5",
                )?
                .execute(row)?;
        }
        self.stage = match bucket.checked_add(1) {
            Some(next) => Stage::Cells(grain, next),
            None => Stage::Cells(grain + 1, 0),
        };
        Ok(())
    }

    /// The key's own numbers, and the addresses that it is known to have been used from.
    fn own(&self, connection: &Connection) -> Result<(), Failure> {
        let usage: Option<KeyUsage> = connection
            .prepare_cached("SELECT usage FROM key_usage WHERE seq = ?1")?
            .query_row([self.key.seq], |row| snapshot::column(row, 0))
            .optional()?;
        if let Some(usage) = usage {
            let usage = KeyUsage { last_ip: None, ..usage };
            connection
                .prepare_cached("UPDATE key_usage SET usage = ?2 WHERE seq = ?1")?
                .execute(params![self.key.seq, snapshot::write(&usage)?])?;
        }
        connection.prepare_cached("DELETE FROM key_addresses WHERE seq = ?1")?.execute([self.key.seq])?;
        Ok(())
    }

    /// Addresses that no key was used from, as far as the tables say: those of this key alone, and of a key of
    /// which that was interrupted.
    fn dictionary(&self, connection: &Connection, reading: &Connection) -> Result<(), Failure> {
        let kind = ValueKind::Address as u8;
        let mut unused: BTreeSet<u32> = reading
            .prepare_cached("SELECT number FROM usage_values WHERE org = ?1 AND kind = ?2")?
            .query_map(params![self.key.owner, kind], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let mut rows = connection.prepare_cached(
            "SELECT cells FROM usage_cells WHERE org = ?1 AND facet = ?2 AND granularity = ?3",
        )?;
        let mut rows = rows.query(params![self.key.owner, Facet::Addresses as u8, Grain::Month as u8])?;
        while let Some(row) = rows.next()? {
            cells::decode(blob(row.get_ref(0)?)?, |cell| {
                unused.remove(&cell.place.value);
            })?;
        }
        let mut delete = connection
            .prepare_cached("DELETE FROM usage_values WHERE org = ?1 AND kind = ?2 AND number = ?3")?;
        for number in unused {
            delete.execute(params![self.key.owner, kind, number])?;
        }
        Ok(())
    }
}
