//! What the tree over the log costs: those who append, those who ask for a proof, and a rebuild. The directory is a
//! temporary one: point `TMPDIR` at the disk in question. Prints figures.
//!
//! Without `--bench`, as `cargo test --benches` starts it, it does little of it and proves that it works.

#![allow(missing_docs, reason = "a benchmark")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a benchmark reads the clock and may stop"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use futures_util::future::join_all;
use keyledger::audit::note::Signer;
use keyledger::audit::tree::leaf_hash;
use keyledger::sequencer::{TreeLog, TreeWriter};
use keyledger::store::sqlite::{Options, SqliteStore};
use keyledger::store::{EventStore, Expected, Filter, NewEvent, Position};
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{Event, LogKeyAdded};
use keyledger_schema::{Actor, Envelope, EventId, LogId, NodeId, Source, Stream, Timestamp};
use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

#[path = "../schema/tests/keys/mod.rs"]
mod keys;

use keys::Keys;

const EVENT_BYTES: usize = 700;
const APPENDERS: u64 = 64;

/// How much is done.
struct Scale {
    entries: u64,
    proofs: u64,
    rebuilt: u64,
    rounds: usize,
    round: Duration,
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn private(generation: u32) -> SigningKey {
    SigningKey::from_bytes(&[u8::try_from(generation).unwrap(); 32])
}

async fn add_key(store: &dyn EventStore) {
    let stream = Stream::Log(LogId::from_uuid(store.log_id()));
    let signer = Signer::new("log.example", private(1)).unwrap();
    let event = Event::LogKeyAdded(LogKeyAdded {
        generation: 1,
        origin: "log.example".into(),
        verifier_key: signer.verifier().to_string().into(),
    });
    let envelope = Envelope {
        id: EventId::from_uuid(Uuid::from_u128(1)),
        stream,
        revision: 0,
        at: Timestamp::from_micros(0),
        organization: None,
        workspace: None,
        actor: Actor::node(NodeId::from_uuid(Uuid::from_u128(1))),
        source: Source::default(),
        request: None,
        cause: None,
        outcome: Outcome::Success,
        prev: None,
        event,
    };
    let new = NewEvent {
        id: envelope.id.uuid(),
        event_type: envelope.event.type_name().into(),
        bytes: envelope.seal(&Keys::default()).unwrap().bytes.into(),
    };
    store.append(&stream.to_string(), Expected::NoStream, vec![new]).await.unwrap();
}

/// Durable appends a second, each of one event to a stream of its own.
fn append_for(store: &Arc<SqliteStore>, time: Duration, next: &AtomicU64) -> f64 {
    let clock = Instant::now();
    let count = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let tasks = (0..APPENDERS / 2).map(|_| async {
                    while clock.elapsed() < time {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let event = NewEvent {
                            id: Uuid::from_u128(u128::from(number) + 1_000),
                            event_type: "bench.event".into(),
                            bytes: vec![7; EVENT_BYTES].into(),
                        };
                        let stream = format!("bench-{number}");
                        store.append(&stream, Expected::NoStream, vec![event]).await.unwrap();
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
                runtime().block_on(join_all(tasks));
            });
        }
    });
    count.load(Ordering::Relaxed) as f64 / clock.elapsed().as_secs_f64()
}

fn appends(scale: &Scale) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(directory.path(), Options::default()).unwrap());
    runtime().block_on(add_key(&*store));
    let next = AtomicU64::new(0);
    append_for(&store, scale.round / 2, &next);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..2 * scale.rounds {
        // a b b a a b b a: neither is always the one that finds the larger log.
        if matches!(round % 4, 0 | 3) {
            without.push(append_for(&store, scale.round, &next));
        } else {
            let log: Arc<dyn EventStore> = Arc::clone(&store) as _;
            let tree = TreeLog::open(directory.path(), log, Arc::new(private)).unwrap();
            runtime().block_on(tree.current()).unwrap();
            with.push(append_for(&store, scale.round, &next));
            tree.close();
        }
    }
    let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
    println!("durable appends/s, {APPENDERS} appenders, {EVENT_BYTES} bytes");
    println!("  without the sequencer  {:>9.0}  {without:.0?}", mean(&without));
    println!("  with it                {:>9.0}  {with:.0?}", mean(&with));
    println!("  it adds                {:>8.1} %", (mean(&without) / mean(&with) - 1.0) * 100.0);
}

fn rebuild(scale: &Scale) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(directory.path(), Options::default()).unwrap());
    runtime().block_on(add_key(&*store));
    let events = scale.rebuilt;
    runtime().block_on(async {
        for block in 0..events / 1_000 {
            let new = (0..1_000).map(|n| NewEvent {
                id: Uuid::from_u128(u128::from(block * 1_000 + n) + 1_000),
                event_type: "bench.event".into(),
                bytes: vec![u8::try_from(n % 251).unwrap(); EVENT_BYTES].into(),
            });
            store.append(&format!("bench-{block}"), Expected::NoStream, new.collect()).await.unwrap();
        }
    });
    let entry = vec![7; EVENT_BYTES];
    let clock = Instant::now();
    for _ in 0..events {
        std::hint::black_box(Sha256::digest(&entry));
    }
    let bare = clock.elapsed();
    let clock = Instant::now();
    runtime().block_on(async {
        let mut after = None;
        loop {
            let read = store.read_all(after, Filter::All, 2_048).await.unwrap();
            let Some(last) = read.last() else { break };
            after = Some(last.position);
        }
    });
    let read = clock.elapsed();
    let log: Arc<dyn EventStore> = Arc::clone(&store) as _;
    let clock = Instant::now();
    let tree = TreeLog::open(directory.path(), log, Arc::new(private)).unwrap();
    runtime().block_on(tree.current()).unwrap();
    let whole = clock.elapsed();
    let rate = |time: Duration| events as f64 / time.as_secs_f64();
    println!("rebuild, {events} events of {EVENT_BYTES} bytes, events/s");
    println!("  SHA-256 of the same bytes  {:>9.0}", rate(bare));
    println!("  reading the log alone      {:>9.0}", rate(read));
    println!("  the whole rebuild          {:>9.0}", rate(whole));
}

fn proofs(scale: &Scale) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(directory.path(), Options::default()).unwrap());
    runtime().block_on(add_key(&*store));
    // The tree of the file is larger than the log: its last entry is the log's one, so it is kept.
    let events = runtime().block_on(store.read_all(None, Filter::All, 1)).unwrap();
    let mut writer = TreeWriter::create(directory.path(), store.log_id()).unwrap();
    let clock = Instant::now();
    for number in 1..scale.entries {
        writer.push(leaf_hash(&number.to_be_bytes()), Position::from_raw(1));
        if writer.unwritten() == 65_536 {
            writer.flush().unwrap();
        }
    }
    writer.push(leaf_hash(&events[0].bytes), events[0].position);
    writer.flush().unwrap();
    drop(writer);
    let filled = clock.elapsed().as_secs_f64();
    let log: Arc<dyn EventStore> = Arc::clone(&store) as _;
    let tree = TreeLog::open(directory.path(), log, Arc::new(private)).unwrap();
    let runtime = runtime();
    let size = runtime.block_on(tree.current()).unwrap().checkpoint.size;
    assert_eq!(size, scale.entries);
    let mut times: Vec<Duration> = (0..scale.proofs)
        .map(|n| {
            // Far apart, so that hardly two of them share a tile.
            let index = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (scale.entries - 1);
            let entry = (index + 1).to_be_bytes();
            let clock = Instant::now();
            runtime.block_on(tree.inclusion(&entry, index, size)).unwrap();
            clock.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |share: f64| times[(share * times.len() as f64) as usize];
    println!("proofs of inclusion among {size} entries (made in {filled:.1} s)");
    println!("  p50 {:?}  p99 {:?}  most {:?}", at(0.5), at(0.99), times[times.len() - 1]);
}

fn main() {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let scale = if whole {
        Scale {
            entries: 10_000_000,
            proofs: 5_000,
            rebuilt: 400_000,
            rounds: 4,
            round: Duration::from_secs(5),
        }
    } else {
        Scale { entries: 1_000, proofs: 10, rebuilt: 1_000, rounds: 2, round: Duration::from_millis(20) }
    };
    proofs(&scale);
    rebuild(&scale);
    appends(&scale);
}
