//! Folds usage events into everything that is counted: the use of each key, roll-ups, the verification log,
//! the addresses of keys and what was spent.
//!
//! Usage is by far the largest part of a log, and nobody waits for these numbers: this thread rests nine
//! times as long as it works, and merges many events into one write for each row. So that tens of thousands of
//! verifications a second of as many keys cost some microseconds each, rows hold many keys: see [`rollup`]
//! and [`log`].
//!
//! A round reads events ([`gather`]), gives numbers to values that occur for the first time ([`values`]),
//! makes a list of steps ([`round`]), and writes these in several short transactions with a pause after each,
//! so that the feed is never kept waiting for the writer's connection. The first transaction notes where the
//! round ends (`ahead`), each how many steps are written (`done`), and the last one moves the position there.
//! When the process ends in between, the next one repeats the round over the very same events and leaves out
//! the steps that are done. In between, readers may see a part of a round in counts, but never in the
//! verification log, of which they read the slices of whole rounds only.
//!
//! Then what is kept for a time only is deleted, a few rows at a time ([`rollup`], [`search`]). How old
//! something is, the newest usage event tells that the log has, not a clock: what is too old then is not even
//! written when much of the log is counted again.
//!
//! While a lag is worked off and no usage comes in, nobody verifies who could be slowed down, and there is no
//! need to rest.
//!
//! Invariants: so each event is folded into each row exactly once; only events that the tables show are.
//! The catalog is told of a last use after the transaction that wrote it. An event that cannot be read stops
//! the read model, as in the feed.

pub(in crate::readmodel) mod addresses;
mod bytes;
pub(in crate::readmodel) mod cells;
pub(in crate::readmodel) mod erasure;
mod gather;
mod log;
pub(in crate::readmodel) mod ordinals;
pub(in crate::readmodel) mod rollup;
mod round;
pub(in crate::readmodel) mod search;
pub(in crate::readmodel) mod tallies;
#[cfg(test)]
mod tests;
pub(in crate::readmodel) mod values;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use keyledger_schema::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use self::erasure::Erasure;
use self::gather::Gathered;
use self::round::{Step, Written};
use self::values::Numbers;
use super::fact::USAGE;
use super::projector::Failure;
use super::{Shared, UsageStanding, feed, schema};
use crate::edge::Stopwatch;
use crate::store::{Filter, Position};

/// Events per read of the log: at most 4 MiB.
const READ_EVENTS: usize = 64;
/// How long a transaction works before it ends.
const TRANSACTION: Duration = Duration::from_millis(4);
/// Who verifies is recorded at least so often.
const QUIET: Duration = Duration::from_secs(3);
/// How long a transaction works while no usage comes in.
const QUIET_TRANSACTION: Duration = Duration::from_millis(16);
/// Records per round, at which it ends. Rows are written once in a round, however many records go into them:
/// the more, the cheaper each of them, and the more memory.
const ROUND_RECORDS: usize = 100_000;
/// How long old rows are deleted for after a round.
const PRUNING: Duration = Duration::from_millis(200);
/// The shortest rest.
const REST: Duration = Duration::from_millis(100);
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

/// Finishes the round that an earlier process began, if there is one. To be called before [`run`], and before
/// anybody is told of what the tables sum up.
pub(super) async fn finish_begun(shared: &Shared) -> Result<(), Arc<str>> {
    if shared.usage.borrow().ahead.is_some() {
        Folder::new(shared)?.round().await?;
    }
    Ok(())
}

async fn follow(shared: &Shared) -> Result<(), Arc<str>> {
    let mut folder = Folder::new(shared)?;
    let mut stop = shared.stop.subscribe();
    let mut seen = shared.usage_seen.subscribe();
    let mut erasures = shared.erasures.subscribe();
    // What an earlier process left to be deleted is.
    let mut stale = true;
    let mut arrivals = Arrivals { seen: *seen.borrow(), last: None };
    loop {
        let events = shared.usage.borrow().events;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            _ = seen.wait_for(|seen| *seen > events), if !stale => {}
            _ = erasures.changed(), if !stale => {}
            () = std::future::ready(()), if stale => {}
        }
        let mut worked = Duration::ZERO;
        let known = *seen.borrow();
        folder.limits.transaction = if arrivals.are_over(known) { QUIET_TRANSACTION } else { TRANSACTION };
        if known > events {
            worked += folder.round().await?;
            stale = true;
        }
        worked += folder.erase().await?;
        let pruning = Stopwatch::start();
        while stale && pruning.elapsed() < PRUNING && !*stop.borrow() {
            let watch = Stopwatch::start();
            stale = folder.prune().map_err(|failure| feed::reason(&failure))?;
            worked += watch.elapsed();
            tokio::time::sleep(GIVE_WAY).await;
        }
        let quiet = arrivals.are_over(*seen.borrow());
        let rest = if quiet { Duration::ZERO } else { worked * shared.settings.usage_rest };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            () = tokio::time::sleep(rest.max(REST)) => {}
        }
    }
}

/// Whether usage comes in, so that somebody verifies.
struct Arrivals {
    /// Usage events seen.
    seen: u64,
    /// Since the last of these came; none if none did since the start.
    last: Option<Stopwatch>,
}

impl Arrivals {
    fn are_over(&mut self, seen: u64) -> bool {
        if seen != self.seen {
            *self = Self { seen, last: Some(Stopwatch::start()) };
        }
        self.last.as_ref().is_none_or(|last| last.elapsed() >= QUIET)
    }
}

/// Where rounds and transactions end.
#[derive(Clone, Copy)]
struct Limits {
    records: usize,
    transaction: Duration,
}

/// What the thread keeps from round to round.
struct Folder<'a> {
    shared: &'a Shared,
    limits: Limits,
    /// Reads, so that the writer's connection is free meanwhile.
    reading: Connection,
    numbers: Numbers,
    pruning: rollup::Pruning,
}

impl<'a> Folder<'a> {
    fn new(shared: &'a Shared) -> Result<Self, Arc<str>> {
        let reading = schema::reading(&shared.path).map_err(|error| feed::reason(&error.into()))?;
        let limits = Limits { records: ROUND_RECORDS, transaction: TRANSACTION };
        let pruning = rollup::Pruning::default();
        Ok(Self { shared, limits, reading, numbers: Numbers::default(), pruning })
    }

    /// Reads, counts, writes. Returns how long that took, without the pauses.
    async fn round(&mut self) -> Result<Duration, Arc<str>> {
        let mut worked = Duration::ZERO;
        let Some(mut round) = self.prepare(&mut worked).await? else { return Ok(worked) };
        loop {
            if *self.shared.stop.borrow() {
                return Ok(worked);
            }
            let watch = Stopwatch::start();
            let finished = self.write(&mut round).map_err(|failure| feed::reason(&failure))?;
            worked += watch.elapsed();
            if finished {
                return Ok(worked);
            }
            tokio::time::sleep(GIVE_WAY).await;
        }
    }

    /// Reads and counts; nothing if there is nothing to write.
    async fn prepare(&mut self, worked: &mut Duration) -> Result<Option<Round>, Arc<str>> {
        let watch = Stopwatch::start();
        let mut gathered = self.gather().await?;
        let Some(end) = gathered.end else { return Ok(None) };
        *worked += watch.elapsed();

        self.numbers.forget_some();
        let mut items = gathered.items.iter_mut();
        while items.len() > 0 {
            if *self.shared.stop.borrow() {
                return Ok(None);
            }
            let watch = Stopwatch::start();
            self.give_numbers(&mut items).map_err(|failure| feed::reason(&failure))?;
            *worked += watch.elapsed();
            tokio::time::sleep(GIVE_WAY).await;
        }

        let watch = Stopwatch::start();
        let (steps, slices) = round::steps(&gathered);
        let before = gathered.standing;
        let standing = UsageStanding {
            position: Some(end),
            ahead: None,
            done: 0,
            slices: before.slices + slices.len() as u64,
            horizon: self.shared.settings.horizon(before.horizon.max(before.newest)),
            ..before
        };
        let round = Round {
            next: usize::try_from(before.done).unwrap_or(usize::MAX).min(steps.len()),
            steps,
            end,
            slices,
            horizon: before.horizon,
            oldest: self.shared.settings.oldest_verification(standing.horizon),
            standing,
        };
        *worked += watch.elapsed();
        Ok(Some(round))
    }

    /// The events of a round; those of the round before, if it was not finished.
    async fn gather(&self) -> Result<Gathered, Arc<str>> {
        let shared = self.shared;
        let standing = *shared.usage.borrow();
        let newest = shared.standing.borrow().newest_usage;
        let mut gathered = Gathered::new(standing, newest);
        if standing.ahead.is_none() {
            gathered.standing.horizon = shared.settings.horizon(gathered.standing.horizon);
        }
        while !*shared.stop.borrow() {
            let within = match standing.ahead {
                Some(ahead) => gathered.end < Some(ahead),
                None => {
                    gathered.items.len() < self.limits.records
                        && gathered.standing.events < *shared.usage_seen.borrow()
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
            let end = standing.ahead.map_or(applied, |ahead| applied.min(Some(ahead)));
            let within = events.partition_point(|event| Some(event.position) <= end);
            gathered
                .add(&self.reading, &events[..within], &*shared.settings.data_keys)
                .map_err(|failure| feed::reason(&failure))?;
            if within < events.len() {
                return Ok(gathered);
            }
        }
        // Stopped: part of a round is no round.
        gathered.end = None;
        Ok(gathered)
    }

    /// Gives numbers to the values of some records, in one transaction that ends after a while.
    fn give_numbers(&mut self, items: &mut std::slice::IterMut<'_, gather::Item>) -> Result<(), Failure> {
        let mut connection = self.shared.writer();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let watch = Stopwatch::start();
        for item in items.by_ref() {
            round::give_numbers(item, &mut self.numbers, &transaction)?;
            if watch.elapsed() >= self.limits.transaction {
                break;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Writes steps of a round for a while, in one transaction; with the last of them, that it is finished, and
    /// tells so.
    fn write(&self, round: &mut Round) -> Result<bool, Failure> {
        let mut written = Vec::new();
        {
            let mut connection = self.shared.writer();
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let watch = Stopwatch::start();
            while let Some(step) = round.steps.get(round.next) {
                written.extend(step.write(&transaction, &self.shared.catalog, round.oldest)?);
                round.next += 1;
                if watch.elapsed() >= self.limits.transaction {
                    break;
                }
            }
            round.note(&transaction)?;
            transaction.commit()?;
        }
        for Written { organization, seq, last_at } in written {
            self.shared.catalog.used(organization, seq, last_at);
        }
        if round.is_finished() {
            self.shared.usage.send_replace(round.standing);
        }
        Ok(round.is_finished())
    }

    /// Removes what was copied of keys whose personal data was erased. Between two rounds, so that nothing of it
    /// is on its way into the tables. Returns how long that took, without the pauses.
    async fn erase(&mut self) -> Result<Duration, Arc<str>> {
        let mut worked = Duration::ZERO;
        let failed = |error: rusqlite::Error| feed::reason(&error.into());
        while let Some(noted) = erasure::next(&self.reading).map_err(failed)? {
            let mut erasure = Erasure::of(noted);
            while let Some(erasure) = &mut erasure {
                if *self.shared.stop.borrow() {
                    return Ok(worked);
                }
                let watch = Stopwatch::start();
                let done = {
                    let mut connection = self.shared.writer();
                    erasure.go_on(&mut connection, &self.reading, self.limits.transaction)
                };
                worked += watch.elapsed();
                if done.map_err(|failure| feed::reason(&failure))? {
                    break;
                }
                tokio::time::sleep(GIVE_WAY).await;
            }
            // Numbers of values may have been given up.
            self.numbers = Numbers::default();
            if !erasure::finish(&self.shared.writer(), noted).map_err(failed)? {
                return Ok(worked);
            }
        }
        Ok(worked)
    }

    /// Deletes a little of what is kept no longer. Tells whether there may be more.
    fn prune(&mut self) -> Result<bool, Failure> {
        let standing = *self.shared.usage.borrow();
        let Some(horizon) = standing.horizon else { return Ok(false) };
        let oldest = self.shared.settings.oldest_verification(standing.horizon);
        let mut connection = self.shared.writer();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let time = self.limits.transaction;
        let more = self.pruning.go_on(&transaction, horizon, time)? | search::prune(&transaction, oldest)?;
        transaction.commit()?;
        Ok(more)
    }
}

/// What a round writes.
struct Round {
    steps: Vec<Step>,
    /// The first of these that is not written.
    next: usize,
    /// Position of its last event.
    end: Position,
    slices: Vec<round::Slice>,
    /// What was known when it began.
    horizon: Option<Timestamp>,
    /// The first moment that the verification log keeps.
    oldest: Timestamp,
    /// After it.
    standing: UsageStanding,
}

impl Round {
    fn is_finished(&self) -> bool {
        self.next >= self.steps.len()
    }

    /// Notes how far it is written.
    fn note(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        if !self.is_finished() {
            let done = i64::try_from(self.next).unwrap_or(i64::MAX);
            transaction
                .prepare_cached("UPDATE usage_meta SET ahead = ?1, done = ?2, horizon = ?3")?
                .execute(params![self.end.raw().cast_signed(), done, self.horizon.map(Timestamp::micros)])?;
            return Ok(());
        }
        let UsageStanding { events, slices, newest, horizon, .. } = self.standing;
        transaction
            .prepare_cached(
                "UPDATE usage_meta SET position = ?1, ahead = NULL, done = 0, events = ?2, slices = ?3, \
                 newest = ?4, horizon = ?5",
            )?
            .execute(params![
                self.end.raw().cast_signed(),
                events.cast_signed(),
                slices.cast_signed(),
                newest.map(Timestamp::micros),
                horizon.map(Timestamp::micros),
            ])?;
        for slice in &self.slices {
            transaction
                .prepare_cached("UPDATE usage_slices SET floor = ?1 WHERE floor > ?1")?
                .execute([slice.floor.micros()])?;
            transaction
                .prepare_cached(
                    "INSERT INTO usage_slices (slice, log_index, floor, newest) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    slice.number.cast_signed(),
                    slice.log_index.cast_signed(),
                    slice.floor.micros(),
                    slice.newest.micros(),
                ])?;
        }
        Ok(())
    }
}
