//! Lists of keys of one large organization, asked for one after another: `cargo bench --bench search`.
//!
//!     cargo bench --bench search -- --keys 1000000 --queries 300
//!
//! Builds a read model from a log in memory, without HTTP, and shows how long each kind of question takes.
//! Without `--bench`, as `cargo test --benches` starts it, it does so with 1,000 keys and proves that it
//! works.

#![allow(clippy::unwrap_used, reason = "a benchmark may stop")]

#[path = "load/histogram.rs"]
mod histogram;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use futures_util::FutureExt;
use keyledger::decisions::slug;
use keyledger::edge::Stopwatch;
use keyledger::readmodel::{
    FILE_NAME, KeyOrder, KeyQuery, KeySort, NoObserver, Progress, ReadModel, Sequence, Settings, Window,
};
use keyledger::store::memory::MemoryStore;
use keyledger::store::{EventStore, Expected, NewEvent};
use keyledger_projections::KeyStatus;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{KeyIssued, KeyRevoked, RevocationReason};
use keyledger_schema::usage::{UsageGroup, UsageRecord, UsageRecorded};
use keyledger_schema::{
    Actor, ChainHash, Envelope, Environment, Event, EventId, GrantRole, KeyId, Metadata, NodeId,
    OrganizationId, Personal, SecretHash, SecretRecord, Source, Stream, Timestamp, VerificationCode,
    WorkspaceId,
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
/// Keys that were used, of so many one.
const USED: u64 = 10;
const RECORDS: usize = 200;

#[derive(Parser)]
struct Options {
    /// Keys of the organization.
    #[arg(long, env = "KEYLEDGER_BENCH_KEYS", default_value_t = 1_000_000)]
    keys: u64,
    /// How often each question is asked.
    #[arg(long, default_value_t = 300)]
    queries: usize,
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

/// A millisecond for each key.
fn moment(n: u64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + i64::try_from(n).unwrap() * 1_000)
}

/// A UUIDv7 of its moment.
fn uuid(n: u64, salt: u64) -> Uuid {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&mix(n ^ salt << 40).to_le_bytes());
    let millis = u64::try_from(moment(n).millis()).unwrap();
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

fn key(n: u64) -> KeyId {
    KeyId::from_uuid(uuid(n, 3))
}

fn pick<T: Copy>(from: &[T], n: u64) -> T {
    from[usize::try_from(n % from.len() as u64).unwrap()]
}

fn issued(n: u64) -> KeyIssued {
    let kind = pick(&["Billing", "Search", "Import", "Mobile", "Customer", "CI"], mix(n));
    let name = format!("{kind} worker {n:07}");
    let email = slug::key_email(&name, key(n), "acme");
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&mix(n).to_le_bytes());
    let hint = format!("kl_prod_{:04x}", mix(n) & 0xffff).into();
    KeyIssued {
        name: Personal(name.into()),
        email: Personal(email.into()),
        environment: pick(&Environment::ALL, mix(n) >> 8),
        prefix: "kl".into(),
        secret: SecretRecord { version: 1, hash: SecretHash(hash), hint },
        scopes: vec!["read:customers/*/invoices/**".parse().unwrap(), "write:invoices/**".parse().unwrap()],
        grants: Vec::new(),
        allowed_cidrs: Vec::new().into(),
        expires_at: (mix(n) & 1 == 0).then(|| moment(mix(n) % 100_000_000_000)),
        metadata: Metadata::default().into(),
        cloned_from: None,
        request_fingerprint: None,
        roles: Vec::new(),
        rate_limits: Vec::new(),
        imported: None,
        identity: None,
    }
}

fn append(
    store: &MemoryStore,
    stream: Stream,
    id: u64,
    prev: Option<(u64, ChainHash)>,
    event: Event,
) -> Box<[u8]> {
    let of_key = matches!(stream, Stream::Key(_));
    let root = KeyId::from_uuid(Uuid::from_u128(7));
    let envelope = Envelope {
        id: EventId::from_uuid(uuid(id, 1 + u64::from(prev.is_some()))),
        stream,
        revision: prev.map_or(0, |(revision, _)| revision + 1),
        at: moment(id),
        organization: of_key.then_some(ORGANIZATION),
        workspace: of_key
            .then(|| WorkspaceId::from_uuid(Uuid::from_u128(u128::from(0x77 + mix(id) % WORKSPACES)))),
        actor: if of_key {
            Actor::key(root, "root.00000007@keys.acme", Some(GrantRole::OrganizationAdministrator))
        } else {
            Actor::node(NODE)
        },
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

/// Keys of which every twentieth was revoked and some were used.
fn log(keys: u64) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    for n in 0..keys {
        let stream = Stream::Key(key(n));
        let bytes = append(&store, stream, n, None, Event::KeyIssued(issued(n)));
        if n % 20 == 19 {
            let revoked = KeyRevoked { reason: RevocationReason::Unused, comment: None };
            append(&store, stream, n, Some((0, ChainHash::of(&bytes))), Event::KeyRevoked(revoked));
        }
    }
    let used: Vec<_> = (0..keys).filter(|n| mix(*n) >> 20 & 0xff < 256 / USED).collect();
    let mut prev = None;
    for (seq, used) in used.chunks(RECORDS).enumerate() {
        let seq = seq as u64;
        let record = |n: &u64| UsageRecord {
            secret: Some(1),
            last_ms: u32::try_from(mix(*n) % 1_000_000).unwrap(),
            ..UsageRecord::bare(Some(key(*n)), VerificationCode::Valid, 1)
        };
        let groups = vec![UsageGroup { by: None, records: used.iter().map(record).collect() }];
        let recorded = UsageRecorded { seq, from: moment(keys), to: moment(keys), groups };
        let bytes = append(&store, Stream::Usage(NODE), keys + seq, prev, Event::UsageRecorded(recorded));
        prev = Some((seq, ChainHash::of(&bytes)));
    }
    Arc::new(store)
}

fn open(store: &Arc<MemoryStore>, directory: &Path) -> (Arc<ReadModel>, Duration) {
    let watch = Stopwatch::start();
    let store = Arc::clone(store) as Arc<dyn EventStore>;
    let settings = Settings { data_keys: Arc::new(Keys::default()), ..Settings::default() };
    let model = ReadModel::open(directory, store, Arc::new(NoObserver), Progress::Lines, settings).unwrap();
    (model, watch.elapsed())
}

/// What is asked.
fn questions(keys: u64) -> Vec<(&'static str, KeyQuery)> {
    let all = KeyQuery {
        statuses: KeyStatus::ALL.to_vec(),
        count: true,
        ..KeyQuery::new(ORGANIZATION, moment(keys))
    };
    let text = |text: &str| Some(text.to_owned());
    let by = |by| KeyOrder { by, sequence: Sequence::Ascending };
    let falling = |by| KeyOrder { by, sequence: Sequence::Descending };
    let few = Some(format!("worker {:07}", keys / 2));
    let some = all.clone();
    vec![
        ("search, one match", KeyQuery { search: few, ..some.clone() }),
        ("search, no match", KeyQuery { search: text("nothing like it"), ..some.clone() }),
        ("search, some match", KeyQuery { search: text("mobile"), ..some.clone() }),
        ("search, all match", KeyQuery { search: text("Worker"), ..some.clone() }),
        ("search, all match, one letter", KeyQuery { search: text("e"), ..some.clone() }),
        ("search, all addresses match", KeyQuery { search: text("@keys.acme"), ..some.clone() }),
        ("search, start of a secret", KeyQuery { search: text("kl_prod_00"), ..some.clone() }),
        ("search, whole id", KeyQuery { search: Some(key(keys / 2).to_string()), ..some.clone() }),
        (
            "search, all match, by name, last 200",
            KeyQuery {
                search: text("worker"),
                order: by(KeySort::Name),
                window: Window::Last { count: 200, before: None },
                ..some.clone()
            },
        ),
        ("all", some.clone()),
        ("all, by name", KeyQuery { order: by(KeySort::Name), ..some.clone() }),
        ("all, by name, falling", KeyQuery { order: falling(KeySort::Name), ..some.clone() }),
        ("all, by expiry", KeyQuery { order: by(KeySort::ExpiresAt), ..some.clone() }),
        ("all, by last use", KeyQuery { order: by(KeySort::LastUsedAt), ..some.clone() }),
        ("all, by last use, falling", KeyQuery { order: falling(KeySort::LastUsedAt), ..some.clone() }),
        ("unused since", KeyQuery { unused_since: Some(moment(keys / 2)), ..some.clone() }),
        ("staging", KeyQuery { environment: Some(Environment::Staging), ..some.clone() }),
        (
            "everything at once",
            KeyQuery {
                statuses: vec![KeyStatus::Active],
                environment: Some(Environment::Staging),
                workspace: Some(WorkspaceId::from_uuid(Uuid::from_u128(0x77))),
                search: text("worker"),
                name_contains: text("billing"),
                unused_since: Some(moment(keys)),
                created_after: Some(moment(0)),
                unacknowledged: Some(true),
                order: by(KeySort::Name),
                ..some.clone()
            },
        ),
        ("newest 50, no total", KeyQuery { count: false, ..some }),
    ]
}

fn ask(runtime: &Runtime, model: &ReadModel, query: &KeyQuery) -> (Duration, Option<u64>) {
    let watch = Stopwatch::start();
    let page = runtime.block_on(model.keys(query.clone())).unwrap();
    (watch.elapsed(), page.total)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn main() {
    let mut options = Options::parse();
    if !options.bench {
        options = Options { keys: 1_000, queries: 3, ..options };
    }
    let store = log(options.keys);
    let directory = tempfile::tempdir().unwrap();
    let (model, built) = open(&store, directory.path());
    while model.usage_lag() > 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(model);
    let (model, opened) = open(&store, directory.path());
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();

    println!("{} keys of one organization, {} times each, with a total", options.keys, options.queries);
    println!("{:40} {:>10} {:>9} {:>9} {:>9}", "", "matches", "p50 ms", "p99 ms", "max ms");
    for (name, query) in questions(options.keys) {
        let mut histogram = Histogram::new();
        let (_, total) = ask(&runtime, &model, &query);
        for _ in 0..options.queries {
            histogram.record(ask(&runtime, &model, &query).0);
        }
        assert_eq!(histogram.total(), options.queries as u64);
        println!(
            "{name:40} {:>10} {:>9.2} {:>9.2} {:>9.2}",
            total.map_or_else(|| "-".into(), |total| total.to_string()),
            millis(histogram.quantile(0.5)),
            millis(histogram.quantile(0.99)),
            millis(histogram.max()),
        );
    }
    let every = KeyQuery { statuses: KeyStatus::ALL.to_vec(), ..KeyQuery::new(ORGANIZATION, moment(0)) };
    let watch = Stopwatch::start();
    let ids = runtime.block_on(model.matching(every, 100_000)).unwrap();
    println!("ids of {} keys for a bulk command          {:.2} s", ids.len(), watch.elapsed().as_secs_f64());
    println!("read model built from the log              {:.2} s", built.as_secs_f64());
    println!("read model opened again                    {:.2} s", opened.as_secs_f64());
    println!(
        "catalog                                    {} bytes a key",
        model.catalog_bytes() as u64 / options.keys
    );
    let size = std::fs::metadata(directory.path().join(FILE_NAME)).unwrap().len();
    println!("file                                       {} bytes a key", size / options.keys);
}
