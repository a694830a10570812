//! Usage of one large organization, asked for one question after another: `cargo bench --bench usage`.
//!
//!     cargo bench --bench usage -- --keys 100000 --days 30 --queries 100
//!
//! Builds a read model from a log in memory, without HTTP, and shows how long each kind of question takes, how
//! much a key's day takes on disk, and how fast usage is projected. One key of a hundred is used every hour,
//! nine are used six times a day, the others every other day. Without `--bench`, as `cargo test --benches`
//! starts it, it does so with few keys and proves that it works.

#![allow(clippy::unwrap_used, reason = "a benchmark may stop")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures to look at"
)]

#[path = "load/histogram.rs"]
mod histogram;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use clap::Parser;
use futures_util::FutureExt;
use keyledger::edge::Stopwatch;
use keyledger::readmodel::analytics::{Dimension, Granularity, UsageFilter, UsageQuery, VerificationQuery};
use keyledger::readmodel::{FILE_NAME, NoObserver, Progress, ReadModel, Sequence, Settings, Window};
use keyledger::store::memory::MemoryStore;
use keyledger::store::{EventStore, Expected, NewEvent};
use keyledger_projections::KeyUsage;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::KeyIssued;
use keyledger_schema::usage::{UsageGroup, UsageRecord, UsageRecorded};
use keyledger_schema::{
    Action, Actor, ChainHash, Envelope, Environment, Event, EventId, KeyId, NodeId, OrganizationId, Personal,
    RoleId, SecretHash, SecretRecord, Source, Stream, Timestamp, VerificationCode, WorkspaceId,
};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::histogram::Histogram;

#[path = "../schema/tests/keys/mod.rs"]
mod keys;
use keys::Keys;

const ORGANIZATION: OrganizationId = OrganizationId::from_uuid(Uuid::from_u128(0x0190_0000_0001));
const NODE: NodeId = NodeId::from_uuid(Uuid::from_u128(0xe0de));
const WORKSPACES: u64 = 10;
const ROLES: u64 = 20;
const TAGS: u64 = 200;
const ADDRESSES: u64 = 5_000;
const RECORDS: usize = 200;
const HOUR: i64 = 3_600_000_000;
/// 2027-01-10T00:00:00Z.
const START: i64 = 1_799_539_200_000_000;

#[derive(Parser, Clone)]
struct Options {
    /// Keys of the organization.
    #[arg(long, env = "KEYLEDGER_BENCH_KEYS", default_value_t = 100_000)]
    keys: u64,
    /// Days in which they were used.
    #[arg(long, default_value_t = 30)]
    days: i64,
    /// How often each question is asked.
    #[arg(long, default_value_t = 100)]
    queries: usize,
    /// Of a hundred keys, those that are used every hour.
    #[arg(long, default_value_t = 1)]
    busy: u64,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// As random as real ids and hashes: SplitMix64.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn moment(micros: i64) -> Timestamp {
    Timestamp::from_micros(START + micros)
}

fn key(n: u64) -> KeyId {
    KeyId::from_uuid(Uuid::from_u128(u128::from(mix(n ^ 3 << 40)) << 64 | u128::from(n)))
}

fn pick<T: Copy>(from: &[T], n: u64) -> T {
    from[usize::try_from(n % from.len() as u64).unwrap()]
}

fn issued(n: u64) -> KeyIssued {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&mix(n).to_le_bytes());
    let secret = SecretRecord { version: 1, hash: SecretHash(hash), hint: "kl_prod_0007".into() };
    let role = RoleId::from_uuid(Uuid::from_u128(0x0d00 + u128::from(mix(n ^ 0x77) % ROLES)));
    KeyIssued {
        roles: vec![role],
        ..KeyIssued::bare(&format!("worker {n}"), pick(&Environment::ALL, mix(n) >> 8), secret)
    }
}

fn is_busy(options: &Options, n: u64) -> bool {
    mix(n ^ 5 << 32) % 100 < options.busy
}

/// In an hour, out of 48, in which a key was used.
fn is_used(options: &Options, n: u64, hour: u64) -> bool {
    let kind = mix(n ^ 5 << 32) % 100;
    let once_in = match kind {
        kind if kind < options.busy => 1,
        kind if kind < options.busy + 9 => 4,
        _ => 48,
    };
    mix(n << 20 ^ hour).is_multiple_of(once_in)
}

fn record(options: &Options, n: u64, hour: u64) -> UsageRecord {
    let random = mix(n << 24 ^ hour ^ 9 << 60);
    let code = if random.is_multiple_of(20) {
        pick(&[VerificationCode::RateLimited, VerificationCode::InsufficientScope], random >> 8)
    } else {
        VerificationCode::Valid
    };
    let tag = || format!("tag-{:03}", (random >> 20) % TAGS).into();
    let tags = if (random >> 16).is_multiple_of(4) { vec![tag()] } else { Vec::new() };
    let address = (mix(n ^ 0x11) + (random >> 30) % 2) % ADDRESSES;
    let address = IpAddr::from([10, 0, (address >> 8) as u8, address as u8]);
    let count = if is_busy(options, n) { 1 + (random >> 40) % 1_000 } else { 1 + (random >> 40) % 10 };
    UsageRecord {
        secret: Some(1),
        action: (mix(n) & 1 == 0).then_some(Action::Read),
        tags,
        ip: Some(Personal(address)),
        last_ms: u32::try_from((random >> 12) % 3_600_000).unwrap(),
        ..UsageRecord::bare(Some(key(n)), code, count)
    }
}

fn append(
    store: &MemoryStore,
    stream: Stream,
    id: u128,
    prev: Option<(u64, ChainHash)>,
    (at, event): (Timestamp, Event),
) -> Box<[u8]> {
    let of_key = matches!(stream, Stream::Key(_));
    let place = WorkspaceId::from_uuid(Uuid::from_u128(0x77 + id % u128::from(WORKSPACES)));
    let envelope = Envelope {
        id: EventId::from_uuid(Uuid::from_u128(id)),
        stream,
        revision: prev.map_or(0, |(revision, _)| revision + 1),
        at,
        organization: of_key.then_some(ORGANIZATION),
        workspace: of_key.then_some(place),
        actor: Actor::node(NODE),
        source: Source::default(),
        request: None,
        cause: None,
        outcome: Outcome::Success,
        prev: prev.map(|(_, hash)| hash),
        event,
    };
    let bytes: Box<[u8]> = envelope.seal(&Keys::default()).unwrap().bytes.into();
    let event_type = envelope.event.type_name().into();
    let event = NewEvent { id: envelope.id.uuid(), event_type, bytes: bytes.to_vec().into() };
    let after = Expected::after(prev.map(|(revision, _)| revision));
    store.append(&stream.to_string(), after, vec![event]).now_or_never().unwrap().unwrap();
    bytes
}

/// The log, and how many records are in it.
fn log(options: &Options) -> (Arc<MemoryStore>, u64) {
    let store = MemoryStore::new();
    for n in 0..options.keys {
        append(&store, Stream::Key(key(n)), n.into(), None, (moment(0), Event::KeyIssued(issued(n))));
    }
    let (mut prev, mut seq, mut records) = (None, 0, 0);
    for hour in 0..options.days * 24 {
        let used: Vec<_> = (0..options.keys)
            .filter(|n| is_used(options, *n, hour.unsigned_abs()))
            .map(|n| record(options, n, hour.unsigned_abs()))
            .collect();
        records += used.len() as u64;
        // Most of an hour's events have all of its keys, as those of a busy verifier do.
        let events = used.len().div_ceil(RECORDS);
        for n in 0..events {
            let records = used.iter().skip(n).step_by(events).cloned().collect();
            let from = moment(hour * HOUR);
            let to = moment((hour + 1) * HOUR - 1);
            let groups = vec![UsageGroup { by: None, records }];
            let recorded = Event::UsageRecorded(UsageRecorded { seq, from, to, groups });
            let bytes = append(&store, Stream::Usage(NODE), 1 << 64 | u128::from(seq), prev, (to, recorded));
            prev = Some((seq, ChainHash::of(&bytes)));
            seq += 1;
        }
    }
    (Arc::new(store), records)
}

/// How long it takes to read the records and count them by key, with nothing written.
fn folded(store: &MemoryStore) -> Duration {
    let watch = Stopwatch::start();
    let mut uses: HashMap<KeyId, KeyUsage> = HashMap::new();
    let mut after = None;
    loop {
        let filter = keyledger::store::Filter::Types(vec!["usage.recorded".into()]);
        let events = store.read_all(after, filter, 64).now_or_never().unwrap().unwrap();
        let Some(last) = events.last() else { return watch.elapsed() };
        after = Some(last.position);
        for event in &events {
            if let Event::UsageRecorded(recorded) =
                Envelope::open_with(&event.bytes, &Keys::default()).unwrap().event
            {
                for (key, usage) in KeyUsage::in_event(&recorded) {
                    let before = uses.remove(&key);
                    uses.insert(
                        key,
                        before.map_or_else(|| usage.clone(), |before| before.and(usage.clone())),
                    );
                }
            }
        }
    }
}

fn open(store: &Arc<MemoryStore>, directory: &Path) -> Arc<ReadModel> {
    let store = Arc::clone(store) as Arc<dyn EventStore>;
    // Nobody is waited for here, and rests would take most of the time.
    let settings = Settings { usage_rest: 0, data_keys: Arc::new(Keys::default()), ..Settings::default() };
    ReadModel::open(directory, store, Arc::new(NoObserver), Progress::Lines, settings).unwrap()
}

type Question = Box<dyn Fn(u64) -> UsageQuery>;

/// What is asked, each with another key or moment the next time.
fn questions(options: &Options) -> Vec<(&'static str, Question)> {
    let days = options.days;
    let all = UsageQuery {
        organizations: vec![ORGANIZATION],
        filter: UsageFilter::default(),
        from: moment(0),
        to: moment(days * 24 * HOUR),
        granularity: Granularity::Day,
        zone: Tz::UTC,
        group_by: Vec::new(),
        top: 10,
        series: false,
    };
    let busy: Vec<_> = (0..options.keys).filter(|n| is_busy(options, *n)).collect();
    let busy = if busy.is_empty() { vec![0] } else { busy };
    let of_key = |n: u64| UsageFilter { keys: vec![key(pick(&busy, mix(n)))], ..UsageFilter::default() };
    let grouped = |dimension: Dimension| UsageQuery { group_by: vec![dimension], ..all.clone() };
    let fixed = |query: UsageQuery| -> Question { Box::new(move |_| query.clone()) };
    let hours = UsageQuery { granularity: Granularity::Hour, series: true, ..all.clone() };
    let (one, outcomes) = (hours.clone(), UsageQuery { group_by: vec![Dimension::Outcome], ..hours.clone() });
    let (first, second) = (of_key, of_key);
    let (first, second): (Vec<_>, Vec<_>) = ((0..64).map(first).collect(), (0..64).map(second).collect());
    vec![
        (
            "a key, hourly",
            Box::new(move |n| UsageQuery { filter: first[n as usize % 64].clone(), ..one.clone() }),
        ),
        (
            "a key, hourly, by outcome",
            Box::new(move |n| UsageQuery { filter: second[n as usize % 64].clone(), ..outcomes.clone() }),
        ),
        ("top 10 keys", fixed(grouped(Dimension::Key))),
        ("top 10 keys, daily", fixed(UsageQuery { series: true, ..grouped(Dimension::Key) })),
        ("top 10 keys, hourly", fixed(UsageQuery { group_by: vec![Dimension::Key], ..hours.clone() })),
        ("outcomes, daily", fixed(UsageQuery { series: true, ..grouped(Dimension::Outcome) })),
        (
            "workspaces and outcomes, hourly",
            fixed(UsageQuery { group_by: vec![Dimension::Workspace, Dimension::Outcome], ..hours.clone() }),
        ),
        ("top 10 addresses", fixed(grouped(Dimension::Address))),
        ("top 10 tags", fixed(grouped(Dimension::Tag))),
        ("top 10 roles", fixed(grouped(Dimension::Role))),
        (
            "top 10 keys and outcomes",
            fixed(UsageQuery { group_by: vec![Dimension::Key, Dimension::Outcome], ..all.clone() }),
        ),
        (
            "a month in Berlin, daily",
            fixed(UsageQuery {
                zone: Tz::Europe__Berlin,
                from: moment(0),
                to: moment((days - 1).max(1) * 24 * HOUR),
                series: true,
                ..all.clone()
            }),
        ),
        (
            "a month in Berlin, top 10 keys",
            fixed(UsageQuery {
                zone: Tz::Europe__Berlin,
                granularity: Granularity::Month,
                group_by: vec![Dimension::Key],
                ..all
            }),
        ),
    ]
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn measure(name: &str, queries: usize, mut ask: impl FnMut(u64) -> u64) {
    let mut histogram = Histogram::new();
    let found = ask(0);
    for n in 0..queries as u64 {
        let watch = Stopwatch::start();
        ask(n);
        histogram.record(watch.elapsed());
    }
    assert_eq!(histogram.total(), queries as u64);
    println!(
        "{name:40} {found:>10} {:>9.2} {:>9.2} {:>9.2}",
        millis(histogram.quantile(0.5)),
        millis(histogram.quantile(0.99)),
        millis(histogram.max()),
    );
}

fn ask_all(options: &Options, runtime: &Runtime, model: &ReadModel) {
    println!("{} keys in {} days, {} times each", options.keys, options.days, options.queries);
    println!("{:40} {:>10} {:>9} {:>9} {:>9}", "", "counted", "p50 ms", "p99 ms", "max ms");
    for (name, question) in questions(options) {
        measure(name, options.queries, |n| {
            let answer = runtime.block_on(model.usage(question(n))).unwrap();
            answer.totals.verifications
        });
    }
    measure("a page of a key's verification log", options.queries, |n| {
        let query = VerificationQuery {
            organization: ORGANIZATION,
            filter: UsageFilter { keys: vec![key(mix(n) % options.keys)], ..UsageFilter::default() },
            resource_prefix: None,
            from: None,
            to: None,
            sequence: Sequence::Descending,
            window: Window::first(50),
        };
        runtime.block_on(model.verifications(query)).unwrap().items.len() as u64
    });
}

/// Reads the verification log from its start on, as exports do.
fn read_in_bulk(runtime: &Runtime, model: &ReadModel) {
    const PAGE: usize = 5_000;
    let watch = Stopwatch::start();
    let (mut read, mut after) = (0, None);
    while read < 40 * PAGE {
        let query = VerificationQuery {
            organization: ORGANIZATION,
            filter: UsageFilter::default(),
            resource_prefix: None,
            from: None,
            to: None,
            sequence: Sequence::Ascending,
            window: Window::First { count: PAGE, after },
        };
        let page = runtime.block_on(model.verifications_in_bulk(query)).unwrap();
        read += page.items.len();
        after = page.end_cursor.or_else(|| page.items.last().map(|item| item.cursor.clone()));
        if !page.has_next {
            break;
        }
    }
    let rate = read as f64 / watch.elapsed().as_secs_f64();
    println!("the verification log in pages of {PAGE}     {read:>10} records, {rate:.0} records/s");
}

/// What the tables take, by name, the largest first.
fn show_sizes(options: &Options, directory: &Path) {
    let connection = rusqlite::Connection::open(directory.join(FILE_NAME)).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let key_days = (options.keys * options.days.unsigned_abs()) as f64;
    let of_cells = "SELECT 'usage_cells of facet ' || facet || ', granularity ' || granularity, \
                    sum(length(cells)) FROM usage_cells GROUP BY 1 ORDER BY 2 DESC";
    for sql in ["SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 12", of_cells] {
        let mut statement = connection.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let (name, bytes): (String, i64) = (row.get(0).unwrap(), row.get(1).unwrap());
            println!("{name:40} {:>10.2} bytes a key and day", bytes as f64 / key_days);
        }
    }
    let size = std::fs::metadata(directory.join(FILE_NAME)).unwrap().len();
    println!("{:40} {:>10.2} bytes a key and day", "the file", size as f64 / key_days);
}

fn main() {
    let mut options = Options::parse();
    if !options.bench {
        options = Options { keys: 500, days: 3, queries: 2, ..options };
    }
    let watch = Stopwatch::start();
    let (store, records) = log(&options);
    println!("{records} records in the log, after {:.1} s", watch.elapsed().as_secs_f64());
    let folded = folded(&store);
    let rate = |duration: Duration| records as f64 / duration.as_secs_f64().max(1e-9);
    println!("read and counted by key, without tables   {:>10.0} records/s", rate(folded));

    let directory = tempfile::tempdir().unwrap();
    let model = open(&store, directory.path());
    let watch = Stopwatch::start();
    let processor = processor_time();
    while model.usage_lag() > 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let worked = processor_time().saturating_sub(processor);
    println!("projected without rests                   {:>10.0} records/s", rate(watch.elapsed()));
    println!("projected, by the processor's time        {:>10.0} records/s", rate(worked));

    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    ask_all(&options, &runtime, &model);
    read_in_bulk(&runtime, &model);
    drop(model);
    show_sizes(&options, directory.path());
}

/// Of the whole process, from its start on.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}
