//! What a durable append costs, alone and in company, against the bare engine; and how fast the log is
//! read again. The directory is a temporary one: point `TMPDIR` at the disk in question.

#![allow(missing_docs, reason = "criterion's macros")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and may stop"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use keyledger::store::sqlite::{Options, SqliteStore};
use keyledger::store::{Direction, EventStore, Expected, Filter, NewEvent};
use rusqlite::{Connection, params};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

const EVENT_BYTES: usize = 1_024;
const REPLAYED: u64 = 200_000;

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

fn event(id: u128) -> NewEvent {
    NewEvent { id: Uuid::from_u128(id), event_type: "bench.event".into(), bytes: vec![7; EVENT_BYTES].into() }
}

/// A name like a key's, different in each run.
fn stream(run: Uuid, number: u64) -> String {
    format!("key-key_{run}-{number}")
}

fn run_id(started: Instant) -> Uuid {
    let salt = u128::from(std::process::id()) << 64;
    Uuid::from_u128(salt | started.elapsed().as_nanos())
}

/// Appends `each` events one after the other to each of `appenders` streams, on two threads.
fn append_concurrently(store: &Arc<SqliteStore>, run: Uuid, appenders: u64, each: u64) {
    let threads = appenders.min(2);
    thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let tasks = (0..appenders).filter(|number| number % threads == thread).map(|number| {
                    let stream = stream(run, number);
                    async move {
                        let mut last = None;
                        for n in 0..each {
                            let id = u128::from(number) << 64 | u128::from(n);
                            let appended =
                                store.append(&stream, Expected::after(last), vec![event(id)]).await.unwrap();
                            last = Some(appended.revision);
                        }
                    }
                });
                runtime().block_on(join_all(tasks));
            });
        }
    });
}

fn durable_appends(c: &mut Criterion) {
    let started = Instant::now();
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(directory.path(), Options::default()).unwrap());
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    group.measurement_time(Duration::from_secs(8)).sample_size(10);
    for appenders in [1, 8, 64, 256] {
        group.bench_function(format!("{appenders} appenders"), |b| {
            b.iter_custom(|events| {
                let each = events.div_ceil(appenders);
                let clock = Instant::now();
                append_concurrently(&store, run_id(started), appenders, each);
                clock.elapsed() / u32::try_from(each * appenders).unwrap() * u32::try_from(events).unwrap()
            });
        });
    }
    let bare = bare(&directory.path().join("bare.db"));
    let mut position = 0_i64;
    group.bench_function("bare insert and commit", |b| {
        b.iter(|| {
            position += 1;
            let insert = "INSERT INTO events VALUES (?1, 'stream', ?1, x'00', 'type', x'00', ?2)";
            bare.prepare_cached(insert).unwrap().execute(params![position, [7_u8; EVENT_BYTES]]).unwrap();
        });
    });
    group.finish();
}

fn bare(path: &Path) -> Connection {
    let bare = Connection::open(path).unwrap();
    bare.pragma_update(None, "journal_mode", "wal").unwrap();
    bare.pragma_update(None, "synchronous", "full").unwrap();
    let table = "CREATE TABLE events (position INTEGER PRIMARY KEY, stream TEXT, revision INTEGER, id BLOB, type TEXT,
        sum BLOB, bytes BLOB, UNIQUE (stream, revision))";
    bare.execute_batch(table).unwrap();
    bare
}

fn reads(c: &mut Criterion) {
    let started = Instant::now();
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(directory.path(), Options::default()).unwrap());
    let run = run_id(started);
    append_concurrently(&store, run, 2_000, REPLAYED / 2_000);
    drop(store);

    let mut group = c.benchmark_group("read");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(REPLAYED));
    group.bench_function("open and check everything", |b| {
        b.iter(|| SqliteStore::open(directory.path(), Options::default()).unwrap());
    });
    let store = SqliteStore::open(directory.path(), Options::default()).unwrap();
    group.throughput(Throughput::Bytes(REPLAYED * EVENT_BYTES as u64));
    group.bench_function("replay everything", |b| {
        b.iter(|| {
            runtime().block_on(async {
                let mut after = None;
                loop {
                    let events = store.read_all(after, Filter::All, 2_048).await.unwrap();
                    let Some(last) = events.last() else { break };
                    after = Some(last.position);
                    black_box(&events);
                }
            });
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("three events of a stream", |b| {
        let runtime = runtime();
        let mut number = 0;
        b.iter(|| {
            number = (number + 1) % 2_000;
            runtime
                .block_on(store.read_stream(&stream(run, number), Some(40), Direction::Forward, 3))
                .unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, durable_appends, reads);
criterion_main!(benches);
