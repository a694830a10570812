use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use keyledger_schema::credits::Base;
use keyledger_schema::usage::UsageRecorded;
use keyledger_schema::{ChainHash, IdentityId};
use keyledger_schema::{Envelope, Event};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::store::memory::MemoryStore;
use crate::store::{
    AppendError, Appended, Capabilities, Direction, Expected, Filter, MAX_EVENT_BYTES, NewEvent, Position,
    ReadError, Recorded, Subscription,
};
use crate::verify::fixture::{NOW, key, organization};

use crate::test_keys::Keys;

fn node() -> NodeId {
    NodeId::from_uuid(uuid::Uuid::from_u128(9))
}

fn used(of: Option<u128>, code: VerificationCode) -> Use {
    Use {
        organization: Some(organization(of.map_or(1, |n| 1 + n % 2))),
        by: Some(key(100)),
        key: of.map(key),
        secret: of.map(|_| 1),
        means: None,
        code,
        action: None,
        ip: None,
        detail: None,
    }
}

fn detail(resource: &str, tags: &[&'static str], cost: u32, spent: [Option<Spent>; 2]) -> Box<Detail> {
    let tags: Vec<_> = tags.iter().map(|tag| (*tag).into()).collect();
    let resource = Some(resource.into());
    Box::new(Detail { resource, tags: Tags::new(&tags).unwrap(), cost, spent })
}

/// What was given back.
type Given = Arc<Mutex<BTreeMap<PoolId, u64>>>;

fn giving_back(store: &Arc<dyn EventStore>, mode: UsageMode, given: &Given) -> Recorder {
    let given = Arc::clone(given);
    let give_back: GiveBack =
        Arc::new(move |pool, credits| *given.lock().unwrap().entry(pool).or_default() += credits);
    let (edge, head, keys) = (Edge::default(), StreamHead::default(), Arc::new(Keys::default()));
    Recorder::start(Arc::clone(store), edge, node(), head, 0, mode, give_back, keys).unwrap()
}

fn start(store: &Arc<dyn EventStore>, mode: UsageMode) -> Recorder {
    giving_back(store, mode, &Given::default())
}

fn memory() -> Arc<dyn EventStore> {
    Arc::new(MemoryStore::new())
}

fn block<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// The log as auditors read it: chain, sequence, size and tenancy of every event are checked on the way.
async fn log(store: &Arc<dyn EventStore>) -> Vec<(Option<OrganizationId>, UsageRecorded)> {
    let stream = Stream::Usage(node()).to_string();
    let events = store.read_stream(&stream, None, Direction::Forward, 100_000).await.unwrap();
    let mut prev = None;
    let mut out = Vec::new();
    for (n, event) in events.iter().enumerate() {
        assert!(event.bytes.len() <= MAX_EVENT_BYTES);
        assert_eq!(&*event.event_type, "usage.recorded");
        let envelope = Envelope::open_with(&event.bytes, &Keys::default()).unwrap();
        assert_eq!((envelope.prev, envelope.revision, envelope.id.uuid()), (prev, n as u64, event.id));
        prev = Some(ChainHash::of(&event.bytes));
        let Event::UsageRecorded(data) = envelope.event else { panic!("{:?}", envelope.event) };
        assert_eq!(data.seq, n as u64);
        out.push((envelope.organization, data));
    }
    out
}

type Counts = BTreeMap<(Option<KeyId>, VerificationCode), u64>;

fn counts(log: &[(Option<OrganizationId>, UsageRecorded)]) -> Counts {
    let mut counts = Counts::new();
    for record in log.iter().flat_map(|(_, data)| &data.groups).flat_map(|group| &group.records) {
        *counts.entry((record.key, record.code)).or_default() += record.count;
    }
    counts
}

#[test]
fn a_strict_record_is_in_the_log_before_its_answer() {
    block(async {
        let store = memory();
        let recorder = start(&store, UsageMode::Strict);
        for n in 1..=3 {
            recorder.record(used(Some(1), VerificationCode::Valid), NOW).await.unwrap();
            assert_eq!(counts(&log(&store).await).values().sum::<u64>(), n);
        }
        recorder.shutdown().await.unwrap();
        recorder.record(used(Some(1), VerificationCode::Valid), NOW).await.unwrap_err();
    });
}

#[test]
fn an_event_tells_of_one_organization_only() {
    block(async {
        let store = memory();
        let recorder = start(&store, UsageMode::Relaxed);
        for n in 0..40 {
            recorder.record(used(Some(n), VerificationCode::Valid), NOW).await.unwrap();
        }
        recorder.shutdown().await.unwrap();
        for (organization, data) in log(&store).await {
            for record in data.groups.iter().flat_map(|group| &group.records) {
                assert_eq!(
                    organization,
                    used(record.key.map(|key| key.uuid().as_u128()), record.code).organization
                );
            }
        }
        assert_eq!(recorder.figures().recorded, 40);
    });
}

#[test]
fn many_records_become_several_events_none_too_large() {
    block(async {
        let store = memory();
        let recorder = start(&store, UsageMode::Relaxed);
        let most = Spent {
            identity: Some(IdentityId::from_uuid(Uuid::max())),
            credits: u64::MAX,
            refilled: Some(Base { n: u32::MAX, at: Timestamp::MAX, remaining: i64::MIN, counted: u64::MAX }),
        };
        for n in 0..3_000u128 {
            let mut used = used(Some(u128::MAX - n), VerificationCode::InsufficientScope);
            if n % 3 == 0 {
                let tag = "t".repeat(crate::verify::tags::MAX_TAG_BYTES - 1);
                let tags: Vec<_> = (0..8).map(|n| format!("{tag}{n}").into()).collect();
                used.detail = Some(Box::new(Detail {
                    resource: Some("r".repeat(keyledger_schema::resource::MAX_BYTES).into()),
                    tags: Tags::new(&tags).unwrap(),
                    cost: u32::MAX,
                    spent: [Some(most); 2],
                }));
            }
            used.ip = Some(std::net::Ipv6Addr::from_bits(u128::MAX - n).into());
            used.secret = Some(u32::MAX);
            used.action = Some(Action::Write);
            recorder.record(used, NOW).await.unwrap();
        }
        recorder.shutdown().await.unwrap();
        let log = log(&store).await;
        assert!(log.len() > 8, "{}", log.len());
        assert_eq!(counts(&log).values().sum::<u64>(), 3_000);
    });
}

#[test]
fn a_flood_of_unknown_keys_adds_a_bounded_number_of_small_events() {
    block(async {
        let store = memory();
        let recorder = start(&store, UsageMode::Strict);
        let begun = tokio::time::Instant::now();
        for round in 0..4u32 {
            join_all((0..1_000u32).map(|n| {
                let mut used = used(None, VerificationCode::NotFound);
                used.ip = Some(std::net::Ipv4Addr::from_bits(round << 16 | n).into());
                recorder.record(used, NOW)
            }))
            .await
            .into_iter()
            .for_each(|recorded| recorded.unwrap());
        }
        let windows = begun.elapsed().as_millis() / UNKNOWN_INTERVAL.as_millis() + 2;
        recorder.shutdown().await.unwrap();
        let log = log(&store).await;
        assert!(log.len() as u128 <= windows, "{} events in {windows} windows", log.len());
        for (_, data) in &log {
            assert!(data.groups[0].records.len() <= 65);
            let merged: Vec<_> =
                data.groups[0].records.iter().filter(|record| record.merged.is_some()).collect();
            assert!(merged.len() <= 1 && merged.iter().all(|record| record.ip.is_none()));
        }
        assert_eq!(counts(&log).values().sum::<u64>(), 4_000);
        assert!(recorder.figures().merged > 3_000);
    });
}

#[test]
fn a_single_unknown_key_is_not_kept_waiting() {
    block(async {
        // Whoever is kept waiting is so each time; the machine alone is so slow at times.
        for attempt in 0.. {
            let store = memory();
            let recorder = start(&store, UsageMode::Strict);
            let begun = tokio::time::Instant::now();
            recorder.record(used(None, VerificationCode::Malformed), NOW).await.unwrap();
            let took = begun.elapsed();
            if took < UNKNOWN_INTERVAL {
                break;
            }
            assert!(attempt < 20, "{took:?}");
        }
    });
}

/// Fails as it is told to, which a real store does only when its disk does.
struct Failing {
    inner: MemoryStore,
    failures: Mutex<Vec<AppendError>>,
    stopped: OnceLock<Arc<str>>,
    appends: AtomicUsize,
}

impl Failing {
    fn with(failures: Vec<AppendError>) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(),
            failures: Mutex::new(failures),
            stopped: OnceLock::new(),
            appends: AtomicUsize::new(0),
        })
    }
}

impl EventStore for Failing {
    fn append(
        &self,
        stream: &str,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> BoxFuture<'static, Result<Appended, AppendError>> {
        self.appends.fetch_add(1, Ordering::Relaxed);
        let failure = self.failures.lock().unwrap().pop();
        if let Some(AppendError::OutcomeUnknown(reason)) = &failure {
            let _ = self.stopped.set(Arc::clone(reason));
        }
        failure.map_or_else(
            || self.inner.append(stream, expected, events),
            |error| std::future::ready(Err(error)).boxed(),
        )
    }
    fn read_stream(
        &self,
        stream: &str,
        from: Option<u64>,
        direction: Direction,
        max: usize,
    ) -> BoxFuture<'static, Result<Vec<Recorded>, ReadError>> {
        self.inner.read_stream(stream, from, direction, max)
    }
    fn read_all(
        &self,
        after: Option<Position>,
        filter: Filter,
        max: usize,
    ) -> BoxFuture<'static, Result<Vec<Recorded>, ReadError>> {
        self.inner.read_all(after, filter, max)
    }
    fn subscribe_all(&self, after: Option<Position>, filter: Filter) -> Box<dyn Subscription> {
        self.inner.subscribe_all(after, filter)
    }
    fn head(&self) -> BoxFuture<'static, Result<Option<Position>, ReadError>> {
        self.inner.head()
    }
    fn log_id(&self) -> uuid::Uuid {
        self.inner.log_id()
    }
    fn stopped(&self) -> Option<Arc<str>> {
        self.stopped.get().cloned()
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

#[test]
fn after_an_unknown_outcome_nothing_is_answered_any_more() {
    for mode in [UsageMode::Strict, UsageMode::Relaxed] {
        block(async {
            let failing = Failing::with(vec![AppendError::OutcomeUnknown("no power".into())]);
            let store: Arc<dyn EventStore> = failing;
            let recorder = start(&store, mode);
            let first = recorder.record(used(Some(1), VerificationCode::Valid), NOW).await;
            assert_eq!(first.is_err(), mode == UsageMode::Strict);
            while recorder.stopped().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let error = recorder.record(used(Some(1), VerificationCode::Valid), NOW).await.unwrap_err();
            assert_eq!(error.code, crate::error::Code::Unavailable);
            assert!(recorder.shutdown().await.is_err());
            assert!(log(&store).await.is_empty());
        });
    }
}

#[test]
fn a_store_that_is_full_for_a_moment_fails_strict_requests_and_delays_relaxed_records() {
    block(async {
        let store: Arc<dyn EventStore> = Failing::with(vec![AppendError::Unavailable("full".into())]);
        let recorder = start(&store, UsageMode::Strict);
        recorder.record(used(Some(1), VerificationCode::Valid), NOW).await.unwrap_err();
        recorder.record(used(Some(1), VerificationCode::Valid), NOW).await.unwrap();
        recorder.shutdown().await.unwrap();
        assert_eq!(counts(&log(&store).await).values().sum::<u64>(), 1);

        let store: Arc<dyn EventStore> = Failing::with(vec![AppendError::Unavailable("full".into()); 2]);
        let recorder = start(&store, UsageMode::Relaxed);
        recorder.record(used(Some(1), VerificationCode::Valid), NOW).await.unwrap();
        recorder.shutdown().await.unwrap();
        assert_eq!(counts(&log(&store).await).values().sum::<u64>(), 1);
    });
}

#[test]
fn when_the_store_stalls_requests_wait_and_memory_does_not_grow() {
    block(async {
        let store: Arc<dyn EventStore> = Failing::with(vec![AppendError::Unavailable("full".into()); 3]);
        let recorder = start(&store, UsageMode::Relaxed);
        recorder.record(used(Some(0), VerificationCode::Valid), NOW).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let records = pending::MAX_RECORDS as u64 + 500;
        let answered = AtomicUsize::new(0);
        let all = join_all((0..records).map(|n| {
            let recording = recorder.record(used(Some(u128::from(n) + 1), VerificationCode::Valid), NOW);
            let answered = &answered;
            async move {
                recording.await.unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }));
        let mut all = Box::pin(all);
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut all).await.is_err());
        assert_eq!(answered.load(Ordering::Relaxed), pending::MAX_RECORDS);
        all.await;
        recorder.shutdown().await.unwrap();
        assert_eq!(recorder.figures().recorded, records + 1);
    });
}

#[test]
fn what_a_record_says_beyond_the_rest_keeps_it_apart() {
    block(async {
        let store = memory();
        let recorder = start(&store, UsageMode::Relaxed);
        let spent = Some(Spent { identity: None, credits: 2, refilled: None });
        let details = [
            None,
            Some(detail("a", &[], 1, [None; 2])),
            Some(detail("a", &["x"], 1, [None; 2])),
            Some(detail("a", &["x"], 2, [spent, None])),
        ];
        for n in 0..12_usize {
            let used = Use { detail: details[n % 4].clone(), ..used(Some(1), VerificationCode::Valid) };
            recorder.record(used, NOW).await.unwrap();
        }
        recorder.shutdown().await.unwrap();
        let log = log(&store).await;
        let mut told = BTreeMap::new();
        for record in log.iter().flat_map(|(_, data)| &data.groups).flat_map(|group| &group.records) {
            let resource = record.resource.as_ref().map(|resource| resource.0.clone());
            let spent = record.spent.iter().map(|spent| spent.credits).sum::<u64>();
            let (count, credits) = told.entry((resource, record.tags.clone(), record.cost)).or_insert((0, 0));
            (*count, *credits) = (*count + record.count, *credits + spent);
        }
        let (a, x) = (|| Some("a".into()), || vec!["x".into()]);
        let expected = [
            ((None, vec![], None), (3, 0)),
            ((a(), vec![], None), (3, 0)),
            ((a(), x(), None), (3, 0)),
            ((a(), x(), Some(2)), (3, 6)),
        ];
        assert_eq!(told, BTreeMap::from(expected));
    });
}

#[test]
fn credits_of_what_was_not_recorded_are_given_back_once() {
    block(async {
        let identity = IdentityId::from_uuid(Uuid::from_u128(9));
        let spent = |credits| {
            let own = Spent { identity: None, credits, refilled: None };
            [Some(own), Some(Spent { identity: Some(identity), ..own })]
        };
        let with = |credits| Use {
            detail: Some(detail("a", &[], 1, spent(credits))),
            ..used(Some(1), VerificationCode::Valid)
        };
        let given = Given::default();
        let store: Arc<dyn EventStore> = Failing::with(vec![AppendError::Unavailable("full".into())]);
        let recorder = giving_back(&store, UsageMode::Strict, &given);
        let all = join_all([recorder.record(with(3), NOW), recorder.record(with(3), NOW)]).await;
        assert!(all.iter().all(Result::is_err));
        let expected = BTreeMap::from([(PoolId::Key(key(1)), 6), (PoolId::Identity(identity), 6)]);
        assert_eq!(*given.lock().unwrap(), expected);
        // Recorded: nothing comes back, and neither when somebody does not wait for the answer.
        recorder.record(with(5), NOW).await.unwrap();
        drop(std::pin::pin!(recorder.record(with(5), NOW)).as_mut().now_or_never());
        assert_eq!(*given.lock().unwrap(), expected);
        recorder.shutdown().await.unwrap();
        assert_eq!(counts(&log(&store).await).values().sum::<u64>(), 2);
        // Never begun, or too late.
        drop(recorder.record(with(1), NOW));
        recorder.record(with(1), NOW).await.unwrap_err();
        assert_eq!(given.lock().unwrap()[&PoolId::Identity(identity)], 8);
    });
}

fn any_use() -> impl Strategy<Value = Use> {
    (0u128..6, prop::sample::select(VerificationCode::ALL.to_vec()), prop::option::of(0u32..80), 0u128..3)
        .prop_map(|(n, code, ip, by)| {
            let of = (n > 0 && !matches!(code, VerificationCode::NotFound | VerificationCode::Malformed))
                .then_some(n);
            let detail = match n {
                2 => Some(detail("customers", &["a"], 1, [None; 2])),
                3 => Some(detail("customers", &["a", "b"], 2, [None; 2])),
                _ => None,
            };
            Use {
                detail: detail.filter(|_| of.is_some()),
                by: (by > 0).then(|| key(100 + by)),
                ip: ip.map(|bits| std::net::Ipv4Addr::from_bits(bits).into()),
                ..used(of, code)
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_log_counts_what_was_answered(
        uses in prop::collection::vec(any_use(), 1..400),
        strict: bool,
        waves in 1usize..4,
    ) {
        block(async {
            let store = memory();
            let recorder = start(&store, if strict { UsageMode::Strict } else { UsageMode::Relaxed });
            let mut expected = Counts::new();
            for wave in uses.chunks(uses.len().div_ceil(waves)) {
                let answers = join_all(wave.iter().map(|used| recorder.record(used.clone(), NOW))).await;
                for (used, answer) in wave.iter().zip(answers) {
                    answer.unwrap();
                    *expected.entry((used.key, used.code)).or_default() += 1;
                }
            }
            recorder.shutdown().await.unwrap();
            assert_eq!(counts(&log(&store).await), expected);
            assert_eq!(recorder.figures().recorded, uses.len() as u64);
        });
    }
}
