//! Folds usage events into the use of each key.
//!
//! Usage is by far the largest part of a log, and nobody waits for these numbers: this thread rests nine
//! times as long as it works, and merges many events into one write for each key.
//!
//! A round reads events, sums them up by key, and writes the sums in the order of the keys, so that
//! neighbours share a page. It is written in several short transactions with a pause after each, so that
//! the feed is never kept waiting for the writer's connection. The first transaction notes where the
//! round ends (`ahead`), each row notes up to where it is summed (`through`), and the last transaction
//! moves the position there. When the process ends in between, the next one repeats the round over the
//! very same events and leaves out the rows that have them already.
//!
//! Invariants: so each event is folded into each row exactly once; only events that the tables show are.
//! The catalog is told of a last use after the transaction that wrote it. An event that cannot be read stops
//! the read model, as in the feed.

mod bytes;
pub(in crate::readmodel) mod cells;
pub(in crate::readmodel) mod rollup;
pub(in crate::readmodel) mod values;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use keyledger_projections::KeyUsage;
use keyledger_schema::{Envelope, Event, KeyId, OrganizationId, Timestamp};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::fact::{USAGE, Unreadable};
use super::projector::Failure;
use super::{Shared, UsageStanding, feed, rows, snapshot};
use crate::edge::Stopwatch;
use crate::store::{Filter, Position, Recorded};

/// Events per read of the log: at most 4 MiB.
const READ_EVENTS: usize = 64;
/// Keys per transaction.
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

async fn follow(shared: &Shared) -> Result<(), Arc<str>> {
    let mut stop = shared.stop.subscribe();
    let mut seen = shared.usage_seen.subscribe();
    loop {
        let standing = *shared.usage.borrow();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            _ = seen.wait_for(|seen| *seen > standing.events) => {}
        }
        let worked = round(shared, standing).await?;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            () = tokio::time::sleep((worked * REST_RATIO).max(REST)) => {}
        }
    }
}

/// Reads, sums, writes. Returns how long that took, without the pauses.
async fn round(shared: &Shared, standing: UsageStanding) -> Result<Duration, Arc<str>> {
    let watch = Stopwatch::start();
    let gathered = gather(shared, standing).await?;
    let Some(Round { end, sums, standing }) = gathered.finish() else { return Ok(watch.elapsed()) };
    let mut worked = watch.elapsed();

    let mut chunks = sums.chunks(TRANSACTION_KEYS).peekable();
    loop {
        let watch = Stopwatch::start();
        let chunk = chunks.next().unwrap_or_default();
        let last = chunks.peek().is_none();
        let written = write(&mut shared.writer(), chunk, end, last.then_some(standing))
            .map_err(|failure| feed::reason(&failure))?;
        for Written { organization, seq, last_at } in written {
            shared.catalog.used(organization, seq, last_at);
        }
        worked += watch.elapsed();
        if last {
            shared.usage.send_replace(standing);
            return Ok(worked);
        }
        if *shared.stop.borrow() {
            return Ok(worked);
        }
        tokio::time::sleep(GIVE_WAY).await;
    }
}

/// The events of a round; those of the round before, if it was not finished.
async fn gather(shared: &Shared, standing: UsageStanding) -> Result<Gathered, Arc<str>> {
    let mut gathered = Gathered { sums: HashMap::new(), records: 0, end: None, standing };
    while !*shared.stop.borrow() {
        let within = match standing.ahead {
            Some(ahead) => gathered.end < Some(ahead),
            None => {
                gathered.records < ROUND_RECORDS && gathered.standing.events < *shared.usage_seen.borrow()
            }
        };
        if !within {
            return Ok(gathered);
        }
        let after = gathered.end.or(standing.position);
        let filter = Filter::Types(vec![USAGE.into()]);
        let events = shared.store.read_all(after, filter, READ_EVENTS).await;
        let events = events.map_err(|error| error.to_string())?;
        if events.is_empty() {
            return Ok(gathered);
        }
        // What the tables do not show yet may tell of keys that are not in them.
        let applied = shared.standing.borrow().position;
        for event in &events {
            if standing.ahead.is_some_and(|ahead| event.position > ahead) || Some(event.position) > applied {
                return Ok(gathered);
            }
            gathered.add(event).map_err(|error| error.to_string())?;
        }
    }
    // Stopped: part of a round is no round.
    gathered.end = None;
    Ok(gathered)
}

/// What a round has read.
struct Gathered {
    sums: HashMap<KeyId, Option<KeyUsage>>,
    records: usize,
    end: Option<Position>,
    standing: UsageStanding,
}

impl Gathered {
    fn add(&mut self, event: &Recorded) -> Result<(), Unreadable> {
        let envelope =
            Envelope::open(&event.bytes).map_err(|error| Unreadable::new(event.position, &error))?;
        if let Event::UsageRecorded(recorded) = &envelope.event {
            for (key, usage) in KeyUsage::in_event(recorded) {
                self.records += 1;
                let sum = self.sums.entry(key).or_default();
                *sum = Some(match sum.take() {
                    Some(sum) => sum.and(usage),
                    None => usage,
                });
            }
        }
        self.end = Some(event.position);
        self.standing.events += 1;
        Ok(())
    }

    /// What is to be written; nothing if there was no event.
    fn finish(self) -> Option<Round> {
        let end = self.end?;
        let mut sums: Vec<_> = self.sums.into_iter().filter_map(|(key, sum)| Some((key, sum?))).collect();
        sums.sort_unstable_by_key(|(key, _)| *key);
        let standing = UsageStanding { position: Some(end), ahead: None, events: self.standing.events };
        Some(Round { end, sums, standing })
    }
}

/// What a round writes.
struct Round {
    /// Position of its last event.
    end: Position,
    /// In the order of rows.
    sums: Vec<(KeyId, KeyUsage)>,
    /// After it.
    standing: UsageStanding,
}

/// A key's last use as the tables have it now.
struct Written {
    organization: OrganizationId,
    seq: i64,
    last_at: Timestamp,
}

/// Writes sums of a round that ends at `end`, in one transaction; with a standing, the last of them.
fn write(
    connection: &mut Connection,
    sums: &[(KeyId, KeyUsage)],
    end: Position,
    finished: Option<UsageStanding>,
) -> Result<Vec<Written>, Failure> {
    let end = end.raw().cast_signed();
    let mut written = Vec::with_capacity(sums.len());
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut find = transaction.prepare_cached("SELECT seq, org FROM keys WHERE id = ?1")?;
        let mut before = transaction.prepare_cached("SELECT through, usage FROM key_usage WHERE seq = ?1")?;
        let mut write = transaction
            .prepare_cached("INSERT OR REPLACE INTO key_usage (seq, through, usage) VALUES (?1, ?2, ?3)")?;
        for (key, usage) in sums {
            let place = find.query_row([key.uuid().into_bytes()], |row| {
                Ok((row.get::<_, i64>(0)?, OrganizationId::from_uuid(rows::id(row, 1)?)))
            });
            // Nothing would ever show the use of a key that was not issued.
            let Some((seq, organization)) = place.optional()? else { continue };
            let before =
                before.query_row([seq], |row| Ok((row.get::<_, i64>(0)?, snapshot::column(row, 1)?)));
            let usage = match before.optional()? {
                Some((through, _)) if through == end => continue,
                Some((_, before)) => KeyUsage::and(before, usage.clone()),
                None => usage.clone(),
            };
            write.execute(params![seq, end, snapshot::write(&usage)?])?;
            written.push(Written { organization, seq, last_at: usage.last_at });
        }
        match finished {
            Some(standing) => transaction
                .prepare_cached("UPDATE usage_meta SET position = ?1, ahead = NULL, events = ?2")?
                .execute([end, standing.events.cast_signed()])?,
            None => transaction.prepare_cached("UPDATE usage_meta SET ahead = ?1")?.execute([end])?,
        };
    }
    transaction.commit()?;
    Ok(written)
}
