//! Folds usage events into the use of each key.
//!
//! Usage is by far the largest part of a log, and nobody waits for these numbers: this thread rests nine
//! times as long as it works, and merges many events into one write for each key. The writer's connection
//! is held for one short transaction at a time, with a pause after it, so that the feed is never kept
//! waiting for long.
//!
//! Invariant: a transaction holds whole events and the position of the last of them, so each is folded
//! exactly once. An event that cannot be read stops the read model, as in the feed.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use keyledger_projections::KeyUsage;
use keyledger_schema::{Envelope, Event, KeyId};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::fact::{USAGE, Unreadable};
use super::projector::Failure;
use super::{Shared, UsageStanding, feed, snapshot};
use crate::edge::Stopwatch;
use crate::store::{Filter, Recorded};

/// Events per read of the log: at most 4 MiB.
const READ_EVENTS: usize = 64;
/// Keys per transaction, at which it is committed.
const TRANSACTION_KEYS: usize = 1_000;
/// Records per round, at which it ends.
const ROUND_RECORDS: usize = 50_000;
/// The shortest rest.
const REST: Duration = Duration::from_millis(100);
/// How many times the work the rest lasts.
const REST_RATIO: u32 = 9;
/// Between two transactions of a round: gives way to the feed.
const GIVE_WAY: Duration = Duration::from_millis(1);

/// Runs until the read model stops.
pub(super) fn run(shared: &Shared) {
    let followed = catch_unwind(AssertUnwindSafe(|| match feed::runtime() {
        Ok(runtime) => runtime.block_on(follow(shared)),
        Err(_) => Err("its usage thread has no runtime".into()),
    }));
    match followed {
        Ok(Ok(())) => {}
        Ok(Err(reason)) => shared.fail(reason),
        Err(_) => shared.fail("its usage projector panicked".into()),
    }
}

async fn follow(shared: &Shared) -> Result<(), std::sync::Arc<str>> {
    let mut stop = shared.stop.subscribe();
    let mut seen = shared.usage_seen.subscribe();
    let mut standing = *shared.usage.borrow();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            _ = seen.wait_for(|seen| *seen > standing.events) => {}
        }
        let watch = Stopwatch::start();
        round(shared, &mut standing).await?;
        let rest = (watch.elapsed() * REST_RATIO).max(REST);
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            () = tokio::time::sleep(rest) => {}
        }
    }
}

async fn round(shared: &Shared, standing: &mut UsageStanding) -> Result<(), std::sync::Arc<str>> {
    let mut pending = Pending { sums: BTreeMap::new(), records: 0, standing: *standing };
    let mut records = 0;
    while records < ROUND_RECORDS
        && pending.standing.events < *shared.usage_seen.borrow()
        && !*shared.stop.borrow()
    {
        let filter = Filter::Types(vec![USAGE.into()]);
        let events = shared.store.read_all(pending.standing.position, filter, READ_EVENTS).await;
        let events = events.map_err(|error| error.to_string())?;
        if events.is_empty() {
            break;
        }
        for event in &events {
            pending.add(event).map_err(|error| error.to_string())?;
            if pending.sums.len() >= TRANSACTION_KEYS {
                records += pending.records;
                commit(shared, &mut pending, standing)?;
                tokio::time::sleep(GIVE_WAY).await;
            }
        }
        records += std::mem::take(&mut pending.records);
    }
    if pending.standing.events > standing.events {
        commit(shared, &mut pending, standing)?;
    }
    Ok(())
}

fn commit(
    shared: &Shared,
    pending: &mut Pending,
    standing: &mut UsageStanding,
) -> Result<(), std::sync::Arc<str>> {
    pending.write(&mut shared.writer()).map_err(|failure| feed::reason(&failure))?;
    pending.sums.clear();
    pending.records = 0;
    *standing = pending.standing;
    shared.usage.send_replace(*standing);
    Ok(())
}

/// What is folded and not yet written, in the order of the rows.
struct Pending {
    sums: BTreeMap<KeyId, KeyUsage>,
    records: usize,
    standing: UsageStanding,
}

impl Pending {
    fn add(&mut self, event: &Recorded) -> Result<(), Unreadable> {
        let envelope =
            Envelope::open(&event.bytes).map_err(|error| Unreadable::new(event.position, &error))?;
        if let Event::UsageRecorded(recorded) = &envelope.event {
            for (key, usage) in KeyUsage::in_event(recorded) {
                self.records += 1;
                let sum = match self.sums.remove(&key) {
                    Some(sum) => sum.and(usage),
                    None => usage,
                };
                self.sums.insert(key, sum);
            }
        }
        self.standing = UsageStanding { position: Some(event.position), events: self.standing.events + 1 };
        Ok(())
    }

    fn write(&self, connection: &mut Connection) -> Result<(), Failure> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut find = transaction.prepare_cached("SELECT usage FROM key_usage WHERE key = ?1")?;
            let mut write = transaction.prepare_cached(
                "INSERT OR REPLACE INTO key_usage (key, last_at, usage) VALUES (?1, ?2, ?3)",
            )?;
            for (key, usage) in &self.sums {
                let key = key.uuid().into_bytes();
                let before: Option<KeyUsage> =
                    find.query_row([key], |row| snapshot::column(row, 0)).optional()?;
                let usage = match before {
                    Some(before) => before.and(usage.clone()),
                    None => usage.clone(),
                };
                write.execute(params![key, usage.last_at.micros(), snapshot::write(&usage)?])?;
            }
            transaction.prepare_cached("UPDATE usage_meta SET position = ?1, events = ?2")?.execute(
                params![
                    self.standing.position.map(|position| position.raw().cast_signed()),
                    self.standing.events.cast_signed(),
                ],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }
}
