//! Catching up in bulk, when the read model is opened: one thread reads and decodes while this one
//! writes large transactions.
//!
//! Invariant: it applies exactly what the live feed would apply, through the same projector; only the
//! size of the batches differs.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use keyledger_schema::DataKeys;
use rusqlite::Connection;

use super::catalog::Catalog;
use super::fact::{self, Fact};
use super::progress::{Progress, Report};
use super::projector::{self, Failure, Projector};
use super::{Observer, feed};
use crate::store::{EventStore, Filter, Position, ReadError};

/// Events per read of the log.
const READ_EVENTS: usize = 2_048;
/// Events per transaction, at least; less only at the end.
const TRANSACTION_EVENTS: usize = 8_192;
/// Reads that wait for the writer.
const AHEAD: usize = 8;

/// Why a catch-up ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Projector(#[from] Failure),
    #[error("no runtime: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Applies everything up to `head` and tells the catalog and the observer.
pub(super) fn catch_up(
    (store, keys): (&dyn EventStore, &dyn DataKeys),
    watchers: (&Catalog, &dyn Observer),
    connection: &mut Connection,
    projector: &mut Projector,
    head: Position,
    progress: Progress,
) -> Result<(), Error> {
    let start = projector.standing.position;
    if start >= Some(head) {
        return Ok(());
    }
    let before = projector.standing.entries;
    let mut report = Report::new(progress, start, head);
    set_cache(connection, 256)?;
    let (sender, chunks) = sync_channel(AHEAD);
    thread::scope(|scope| {
        // When this closure fails, `chunks` is gone, and so the reader ends.
        scope.spawn(move || read((store, keys), start, head, &sender));
        write(connection, projector, watchers, chunks, &mut report)
    })?;
    set_cache(connection, 64)?;
    report.done(projector.standing.entries - before);
    Ok(())
}

/// Mebibytes of pages that the writer keeps.
fn set_cache(connection: &Connection, mebibytes: i64) -> Result<(), Failure> {
    Ok(connection.pragma_update(None, "cache_size", -1024 * mebibytes)?)
}

type Chunk = Result<Vec<Fact>, Error>;

fn read(
    (store, keys): (&dyn EventStore, &dyn DataKeys),
    start: Option<Position>,
    head: Position,
    chunks: &SyncSender<Chunk>,
) {
    let runtime = match feed::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return drop(chunks.send(Err(error.into()))),
    };
    let mut after = start;
    while after < Some(head) {
        let events = match runtime.block_on(store.read_all(after, Filter::All, READ_EVENTS)) {
            Ok(events) => events,
            Err(error) => return drop(chunks.send(Err(error.into()))),
        };
        let Some(last) = events.last() else { return };
        after = Some(last.position);
        let (facts, unreadable) = fact::read_until_unreadable(&events, keys);
        if !facts.is_empty() && chunks.send(Ok(facts)).is_err() {
            return;
        }
        if let Some(unreadable) = unreadable {
            return drop(chunks.send(Err(Failure::from(unreadable).into())));
        }
    }
}

fn write(
    connection: &mut Connection,
    projector: &mut Projector,
    watchers: (&Catalog, &dyn Observer),
    chunks: Receiver<Chunk>,
    report: &mut Report,
) -> Result<(), Error> {
    let mut pending = Vec::with_capacity(TRANSACTION_EVENTS + READ_EVENTS);
    let mut failure = None;
    for chunk in chunks {
        match chunk {
            Ok(facts) => pending.extend(facts),
            Err(error) => failure = Some(error),
        }
        if pending.len() >= TRANSACTION_EVENTS {
            flush(connection, projector, watchers, &mut pending, report)?;
        }
    }
    flush(connection, projector, watchers, &mut pending, report)?;
    failure.map_or(Ok(()), Err)
}

fn flush(
    connection: &mut Connection,
    projector: &mut Projector,
    (catalog, observer): (&Catalog, &dyn Observer),
    pending: &mut Vec<Fact>,
    report: &mut Report,
) -> Result<(), Error> {
    let Some(last) = pending.last() else { return Ok(()) };
    let position = last.position;
    let news = projector.apply(connection, pending)?;
    projector::tell(catalog, observer, &news);
    report.reached(position);
    pending.clear();
    Ok(())
}
