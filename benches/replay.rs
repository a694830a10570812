//! What it costs to read the log again: decoding and folding alone, reading a log and rebuilding a read model from it
//! with data keys from a vault, rebuilding with data keys that cost nothing, loading a stored read model, and following
//! a log that grows.
//!
//! `REPLAY_KEYS` is the number of keys in the log of all but the first; 100,000 unless set.

#![allow(missing_docs, reason = "criterion's macros")]
#![allow(clippy::unwrap_used, reason = "a benchmark may stop")]

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use keyledger::edge::Edge;
use keyledger::readmodel::{KeyOrder, KeyQuery, KeySort, Observer, Progress, ReadModel, Sequence, Settings};
use keyledger::secret::MasterKey;
use keyledger::store::memory::MemoryStore;
use keyledger::store::{EventStore, Expected, Filter, NewEvent, Position};
use keyledger::vault::Vault;
use keyledger_projections::{KeyState, OrganizationState, WorkspaceState};
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{
    KeyDisabled, KeyEnabled, KeyIssued, KeyRevoked, KeySecretAcknowledged, KeySecretRotated, KeyUpdated,
    RevocationReason,
};
use keyledger_schema::{
    Actor, ChainHash, DataKeys, Envelope, Environment, Event, EventId, GrantRole, KeyId, Metadata,
    OrganizationId, Personal, RequestId, Sealer, SecretHash, SecretRecord, Source, Stream, Subject,
    Timestamp, WorkspaceId,
};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

#[path = "../schema/tests/keys/mod.rs"]
mod keys;
use keys::Keys;

const ORGANIZATION: OrganizationId = OrganizationId::from_uuid(Uuid::from_u128(0x0190_0000_0001));
const ROOT: KeyId = KeyId::from_uuid(Uuid::from_u128(7));
const WORKSPACES: u64 = 10;
/// Event `n` happens so many microseconds after the one before.
const STEP: i64 = 1_000;

/// As random as real ids and hashes: SplitMix64.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn moment(n: u64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + i64::try_from(n).unwrap() * STEP)
}

/// A UUIDv7 of its moment.
fn uuid(n: u64, salt: u64) -> Uuid {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&mix(n ^ salt << 40).to_le_bytes());
    let millis = u64::try_from(moment(n).millis()).unwrap();
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

fn secret(n: u64, version: u32) -> SecretRecord {
    let mut hash = [0; 32];
    for (part, bytes) in (0..).zip(hash.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&mix(n * 4 + part).to_le_bytes());
    }
    SecretRecord { version, hash: SecretHash(hash), hint: format!("kl_prod_{:04x}", mix(n) & 0xffff).into() }
}

fn issued(n: u64) -> KeyIssued {
    KeyIssued {
        name: Personal(
            format!(
                "{} worker {n}",
                ["Billing", "Search", "Import", "Mobile"][usize::try_from(mix(n) % 4).unwrap()]
            )
            .into(),
        ),
        email: Personal(format!("billing-worker-{n}.{:08x}@keys.acme", mix(n) >> 32).into()),
        environment: Environment::Production,
        prefix: "kl".into(),
        secret: secret(n, 1),
        scopes: vec!["read:customers/*/invoices/**".parse().unwrap(), "write:invoices/**".parse().unwrap()],
        grants: Vec::new(),
        allowed_cidrs: Personal(vec!["10.20.0.0/16".parse().unwrap()]),
        expires_at: (mix(n) & 1 == 0).then(|| moment(n + 1_000_000_000)),
        metadata: Personal(
            Metadata::from_value(serde_json::json!({ "team": "billing", "ticket": n })).unwrap(),
        ),
        cloned_from: None,
        request_fingerprint: None,
        roles: Vec::new(),
        rate_limits: Vec::new(),
        imported: None,
        identity: None,
    }
}

/// The key that is issued after so many others.
fn key_id(number: u64) -> KeyId {
    KeyId::from_uuid(uuid(number, 3))
}

/// Writes the events of keys as the service does.
struct Scribe {
    written: u64,
    issued: u64,
    ends: HashMap<KeyId, (u64, ChainHash)>,
    sealer: Arc<dyn Sealer>,
}

struct Line {
    key: KeyId,
    after: Option<u64>,
    event: NewEvent,
}

impl Scribe {
    fn new(sealer: Arc<dyn Sealer>) -> Self {
        Self { written: 0, issued: 0, ends: HashMap::new(), sealer }
    }

    fn write(&mut self, key: KeyId, event: Event) -> Line {
        let n = self.written;
        self.written += 1;
        let before = self.ends.get(&key).copied();
        let id = EventId::from_uuid(uuid(n, 1));
        let envelope = Envelope {
            id,
            stream: Stream::Key(key),
            revision: before.map_or(0, |(revision, _)| revision + 1),
            at: moment(n),
            organization: Some(ORGANIZATION),
            workspace: Some(WorkspaceId::from_uuid(Uuid::from_u128(u128::from(
                0x77 + mix(key.uuid().as_u64_pair().1) % WORKSPACES,
            )))),
            actor: Actor::key(ROOT, "root.00000007@keys.acme", Some(GrantRole::OrganizationAdministrator)),
            source: Source {
                ip: Some(Personal("203.0.113.7".parse().unwrap())),
                user_agent: Some(Personal("keyledger-cli/0.1".into())),
                token: None,
            },
            request: Some(RequestId::from_uuid(uuid(n, 2))),
            cause: None,
            outcome: Outcome::Success,
            prev: before.map(|(_, hash)| hash),
            event,
        };
        let bytes = envelope.seal(&*self.sealer).unwrap().bytes;
        self.ends.insert(key, (envelope.revision, ChainHash::of(&bytes)));
        let event_type = envelope.event.type_name().into();
        let event = NewEvent { id: id.uuid(), event_type, bytes: bytes.into() };
        Line { key, after: before.map(|(revision, _)| revision), event }
    }

    fn issue(&mut self) -> Line {
        let (n, key) = (self.written, key_id(self.issued));
        self.issued += 1;
        self.write(key, Event::KeyIssued(issued(n)))
    }

    /// What follows in a key's life.
    fn live(&mut self, key: KeyId) -> Vec<Line> {
        let n = self.written;
        let mut events = vec![Event::KeySecretAcknowledged(KeySecretAcknowledged { secret_version: 1 })];
        if n.is_multiple_of(2) {
            let scopes = Some(vec!["read:customers/**".parse().unwrap()]);
            events.push(Event::KeyUpdated(KeyUpdated { scopes, ..KeyUpdated::default() }));
        }
        if n.is_multiple_of(3) {
            let previous_valid_until = Some(moment(n + 3_600_000));
            events.push(Event::KeySecretRotated(KeySecretRotated {
                secret: secret(n, 2),
                previous_valid_until,
            }));
        }
        if n.is_multiple_of(5) {
            events.push(Event::KeyDisabled(KeyDisabled::default()));
            events.push(Event::KeyEnabled(KeyEnabled::default()));
        }
        if n.is_multiple_of(7) {
            let comment = Some(Personal("no longer needed".into()));
            events.push(Event::KeyRevoked(KeyRevoked { reason: RevocationReason::Unused, comment }));
        }
        events.into_iter().map(|event| self.write(key, event)).collect()
    }
}

fn append(store: &MemoryStore, line: Line) -> Position {
    let stream = Stream::Key(line.key).to_string();
    let appended = store.append(&stream, Expected::after(line.after), vec![line.event]);
    appended.now_or_never().unwrap().unwrap().position
}

/// Keys that are issued a while before the rest of their life follows.
fn log(keys: u64, sealer: Arc<dyn Sealer>) -> (Arc<MemoryStore>, Scribe) {
    let (store, mut scribe) = (MemoryStore::new(), Scribe::new(sealer));
    let mut waiting = std::collections::VecDeque::new();
    for _ in 0..keys {
        let line = scribe.issue();
        waiting.push_back(line.key);
        append(&store, line);
        if waiting.len() > 2_000 {
            let key = waiting.pop_front().unwrap();
            for line in scribe.live(key) {
                append(&store, line);
            }
            scribe.ends.remove(&key);
        }
    }
    (Arc::new(store), scribe)
}

fn decode_and_fold(criterion: &mut Criterion) {
    let mut scribe = Scribe::new(Arc::new(Keys::default()));
    let mut lives = Vec::new();
    for _ in 0..1_000 {
        let first = scribe.issue();
        let key = first.key;
        let rest = scribe.live(key);
        lives.push(std::iter::once(first).chain(rest).map(|line| line.event.bytes).collect::<Vec<_>>());
    }
    let events: usize = lives.iter().map(Vec::len).sum();
    let bytes: usize = lives.iter().flatten().map(|bytes| bytes.len()).sum();
    println!("{events} events, {} bytes each on average", bytes / events);

    let keys = Keys::default();
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(events as u64));
    group.bench_function("open and fold", |bencher| {
        bencher.iter(|| {
            for life in &lives {
                let mut state = None;
                for bytes in life {
                    state = KeyState::fold(state, &Envelope::open_with(bytes, &keys).unwrap());
                }
                black_box(state);
            }
        });
    });
    group.bench_function("open", |bencher| {
        bencher.iter(|| {
            for bytes in lives.iter().flatten() {
                black_box(Envelope::open_with(bytes, &keys).unwrap());
            }
        });
    });
    group.finish();
}

#[derive(Default)]
struct Count(AtomicU64);

impl Observer for Count {
    fn key(&self, _: Option<&KeyState>, _: &KeyState) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn organization(&self, _: &OrganizationState) {}
    fn workspace(&self, _: &WorkspaceState) {}
}

fn open(store: &Arc<MemoryStore>, directory: &Path) -> Arc<ReadModel> {
    open_with(store, directory, Arc::new(Keys::default()))
}

fn open_with(store: &Arc<MemoryStore>, directory: &Path, data_keys: Arc<dyn DataKeys>) -> Arc<ReadModel> {
    let store = Arc::clone(store) as Arc<dyn EventStore>;
    let settings = Settings { data_keys, ..Settings::default() };
    ReadModel::open(directory, store, Arc::new(Count::default()), Progress::Lines, settings).unwrap()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn keys() -> u64 {
    // Otherwise it is only shown that it works.
    let measured = std::env::args().any(|argument| argument == "--bench");
    let usual = if measured { 100_000 } else { 2_000 };
    std::env::var("REPLAY_KEYS").ok().map_or(usual, |keys| keys.parse().unwrap())
}

/// The same log read and nothing done with it, and a rebuild of the read model from it by a process that has just
/// started: every data key comes from the vault.
fn sealed(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let master = MasterKey::new([7; 32]);
    let vault = || Vault::open_in(directory.path(), &master, Edge::default()).unwrap();
    let (runtime, made) = (runtime(), Arc::new(vault()));
    let subjects = (0..keys()).map(key_id).chain([ROOT]).map(Subject::Key);
    runtime.block_on(made.prepare(subjects)).unwrap();
    let (store, scribe) = log(keys(), made as Arc<dyn Sealer>);
    let events = scribe.written;
    drop(scribe);

    let mut group = criterion.benchmark_group("sealed log");
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_secs(10));
    group.throughput(Throughput::Elements(events));
    group.bench_function("read only", |bencher| {
        bencher.iter(|| {
            let (mut after, mut read) = (None, 0);
            loop {
                let page = runtime.block_on(store.read_all(after, Filter::All, 2_048)).unwrap();
                let Some(last) = page.last() else { break };
                after = Some(last.position);
                read += page.len() as u64;
            }
            assert_eq!(read, events);
        });
    });
    group.bench_function("rebuild with a vault, cold", |bencher| {
        bencher.iter_batched(
            || (tempfile::tempdir().unwrap(), Arc::new(vault())),
            |(directory, vault)| {
                drop(open_with(&store, directory.path(), Arc::clone(&vault) as Arc<dyn DataKeys>));
                (directory, vault)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn read_model(criterion: &mut Criterion) {
    let (store, mut scribe) = log(keys(), Arc::new(Keys::default()));
    let mut group = criterion.benchmark_group("read model");
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_secs(10));

    group.throughput(Throughput::Elements(scribe.written));
    group.bench_function("rebuild", |bencher| {
        bencher.iter_batched(
            || tempfile::tempdir().unwrap(),
            |directory| {
                drop(open(&store, directory.path()));
                directory
            },
            BatchSize::PerIteration,
        );
    });

    let directory = tempfile::tempdir().unwrap();
    drop(open(&store, directory.path()));
    let size = std::fs::metadata(directory.path().join(keyledger::readmodel::FILE_NAME)).unwrap().len();
    println!("{} events of {} keys take {} MiB", scribe.written, keys(), size >> 20);
    group.throughput(Throughput::Elements(keys()));
    group.bench_function("load", |bencher| bencher.iter(|| open(&store, directory.path())));

    let model = open(&store, directory.path());
    let runtime = runtime();
    let (burst, long) = (10_000, Duration::from_mins(1));
    group.throughput(Throughput::Elements(burst));
    group.bench_function("follow issued keys", |bencher| {
        bencher.iter_batched(
            || (0..burst).map(|_| scribe.issue()).collect::<Vec<_>>(),
            |lines| {
                let last = lines.into_iter().map(|line| append(&store, line)).last().unwrap();
                runtime.block_on(model.wait_applied(last, long)).unwrap();
            },
            BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("follow one key, append to applied", |bencher| {
        bencher.iter_batched(
            || scribe.issue(),
            |line| {
                let last = append(&store, line);
                runtime.block_on(model.wait_applied(last, long)).unwrap();
            },
            BatchSize::PerIteration,
        );
    });

    let base = KeyQuery::new(ORGANIZATION, moment(0));
    let order = |by| KeyOrder { by, sequence: Sequence::Ascending };
    let workspace = Some(WorkspaceId::from_uuid(Uuid::from_u128(0x77)));
    for (name, query) in [
        ("page by creation", base.clone()),
        ("page by name", KeyQuery { order: order(KeySort::Name), ..base.clone() }),
        ("page by expiry", KeyQuery { order: order(KeySort::ExpiresAt), ..base.clone() }),
        ("page by name in a workspace", KeyQuery { workspace, order: order(KeySort::Name), ..base.clone() }),
        ("page unused", KeyQuery { unused_since: Some(moment(0)), ..base.clone() }),
        ("search without a match", KeyQuery { search: Some("nothing like it".into()), ..base.clone() }),
        ("count", KeyQuery { count: true, ..base }),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(runtime.block_on(model.keys(query.clone())).unwrap()));
        });
    }
    group.finish();
}

criterion_group!(benches, decode_and_fold, sealed, read_model);
criterion_main!(benches);
