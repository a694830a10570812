//! Honest accounting: whatever is recorded is counted exactly once, wherever rounds end and whenever the process
//! does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use keyledger_projections::{KeyState, KeyUsage, OrganizationState, PoolId, Tally, WorkspaceState};
use keyledger_schema::codec::Outcome;
use keyledger_schema::credits::{Base, Spent};
use keyledger_schema::event::{KeyAddressFirstUsed, KeyDeleted, KeyIssued};
use keyledger_schema::usage::{UsageGapDeclared, UsageGroup, UsageRecord, UsageRecorded};
use keyledger_schema::{
    Action, Actor, ChainHash, Envelope, Environment, Event, EventId, IdentityId, KeyId, Means, Metadata,
    NodeId, OrganizationId, Personal, SecretHash, SecretRecord, Source, Stream, Timestamp, VerificationCode,
    WorkspaceId,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::cells::{self, Kind};
use super::rollup::{self, Facet, Grain};
use super::values::{self, ValueKind};
use super::{Folder, Limits, addresses, search};
use crate::readmodel::analytics::{UsageFilter, Verification, VerificationQuery};
use crate::readmodel::catalog::Catalog;
use crate::readmodel::page::{Sequence, Window};
use crate::readmodel::{FILE_NAME, Observer, Progress, Settings, Shared, feed, lookups, schema};
use crate::store::memory::MemoryStore;
use crate::store::{EventStore, Expected, NewEvent, Position};

use crate::test_keys::Keys;

const NODE: NodeId = NodeId::from_uuid(Uuid::from_u128(0xe0de));
/// Keys that the first organization has before all others, so that there is more than one chunk.
const SILENT: usize = 127;
const DAY: i64 = 24 * 3_600;

fn organization(n: usize) -> OrganizationId {
    OrganizationId::from_uuid(Uuid::from_u128(0xa00 + n as u128))
}

fn workspace(n: usize) -> WorkspaceId {
    WorkspaceId::from_uuid(Uuid::from_u128(0xb00 + n as u128))
}

fn key(n: usize) -> KeyId {
    KeyId::from_uuid(Uuid::from_u128(0xc00_0000 + n as u128))
}

fn identity(n: u8) -> IdentityId {
    IdentityId::from_uuid(Uuid::from_u128(0xd00 + u128::from(n)))
}

/// A key as the tests know it.
#[derive(Clone, Debug)]
struct Known {
    organization: usize,
    workspace: usize,
    environment: Environment,
    identity: Option<u8>,
    ord: u32,
}

/// A record as it is generated; keys are named by number.
#[derive(Clone, Debug)]
struct Wish {
    key: Option<usize>,
    means: Option<Means>,
    code: VerificationCode,
    action: Option<Action>,
    tags: BTreeSet<u8>,
    address: Option<u8>,
    resource: Option<u8>,
    count: u64,
    first_ms: Option<u32>,
    last_ms: u32,
    cost: Option<u32>,
    spent: Vec<(Option<u8>, u64, Option<u32>)>,
    secret: Option<u32>,
}

#[derive(Clone, Debug)]
enum Step {
    Issue {
        organization: usize,
        workspace: usize,
        environment: Environment,
        identity: Option<u8>,
    },
    Use {
        organization: Option<usize>,
        after: i64,
        by: Vec<(Option<usize>, Vec<Wish>)>,
    },
    Delete(usize),
    /// The service tells of new addresses.
    Tell,
    /// Rounds of so many records; the last one ends after so many transactions of one step each, and the process
    /// with it.
    Kill {
        records: usize,
        rounds: usize,
        transactions: usize,
    },
}

fn wish() -> impl Strategy<Value = Wish> {
    let spent = (prop::option::of(0u8..2), 0u64..5, prop::option::of(0u32..4));
    let what = (
        prop::option::weighted(0.8, 0usize..8),
        prop::option::weighted(0.3, prop::sample::select(&Means::ALL[..])),
        prop::sample::select(&VerificationCode::ALL[..4]),
        prop::option::of(prop::sample::select(&Action::ALL[..])),
        prop::collection::btree_set(0u8..4, 0..3),
        prop::option::weighted(0.8, 0u8..6),
        prop::option::of(0u8..3),
    );
    let how = (
        1u64..300,
        prop::option::of(0u32..5_000),
        prop_oneof![0u32..5_000, Just(0)],
        prop::option::of(0u32..4),
        prop::collection::vec(spent, 0..2),
        prop::option::of(1u32..3),
    );
    (what, how).prop_map(
        |(
            (key, means, code, action, tags, address, resource),
            (count, first_ms, last_ms, cost, spent, secret),
        )| {
            let first_ms = first_ms.filter(|first| *first < last_ms);
            Wish {
                key,
                means,
                code,
                action,
                tags,
                address,
                resource,
                count,
                first_ms,
                last_ms,
                cost,
                spent,
                secret,
            }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let environment = prop::sample::select(&Environment::ALL[..]);
    // Mostly seconds, at times minutes to months; at times a clock that is behind.
    let after = prop_oneof![
        6 => 0i64..90,
        3 => -20i64..4_000,
        1 => 0i64..2 * DAY,
        1 => 0i64..500 * DAY,
    ];
    let groups =
        prop::collection::vec((prop::option::of(0usize..4), prop::collection::vec(wish(), 0..6)), 0..3);
    prop_oneof![
        2 => (0usize..2, 0usize..2, environment, prop::option::of(0u8..2)).prop_map(
            |(organization, workspace, environment, identity)| Step::Issue {
                organization, workspace, environment, identity
            }
        ),
        8 => (prop::option::weighted(0.8, 0usize..2), after, groups)
            .prop_map(|(organization, after, by)| Step::Use { organization, after, by }),
        1 => (0usize..8).prop_map(Step::Delete),
        1 => Just(Step::Tell),
        3 => (1usize..12, 0usize..4, 0usize..40)
            .prop_map(|(records, rounds, transactions)| Step::Kill { records, rounds, transactions }),
    ]
}

/// A record with its event's log index and place, whose it is, who asked, and the start of the event.
type Recorded = (usize, u32, Option<usize>, Option<KeyId>, Timestamp, UsageRecord);

/// A log, and all that should be known of it.
struct World {
    store: Arc<MemoryStore>,
    ends: HashMap<Stream, (u64, ChainHash)>,
    events: usize,
    last: Option<Position>,
    now: i64,
    keys: Vec<Known>,
    dead: BTreeSet<usize>,
    records: Vec<Recorded>,
    newest: Option<Timestamp>,
    tallies: BTreeMap<PoolId, Tally>,
    /// Of each key its addresses in log order.
    addresses: BTreeMap<usize, Vec<IpAddr>>,
    told: BTreeSet<(usize, IpAddr)>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            store: Arc::new(MemoryStore::new()),
            ends: HashMap::new(),
            events: 0,
            last: None,
            now: 1_800_000_000,
            keys: Vec::new(),
            dead: BTreeSet::new(),
            records: Vec::new(),
            newest: None,
            tallies: BTreeMap::new(),
            addresses: BTreeMap::new(),
            told: BTreeSet::new(),
        };
        for _ in 0..SILENT {
            world.issue(0, 0, Environment::Production, None);
        }
        world
    }

    fn append(&mut self, stream: Stream, organization: Option<OrganizationId>, event: Event) {
        let before = self.ends.get(&stream).copied();
        let of_key = matches!(stream, Stream::Key(_));
        let envelope = Envelope {
            id: EventId::from_uuid(Uuid::from_u128(0xe_0000 + self.events as u128)),
            stream,
            revision: before.map_or(0, |(revision, _)| revision + 1),
            at: Timestamp::from_micros(self.now * 1_000_000),
            organization,
            workspace: of_key.then(|| match &event {
                Event::KeyIssued(issued) => workspace(usize::from(issued.prefix.as_bytes()[0] - b'0')),
                _ => workspace(0),
            }),
            actor: Actor::node(NODE),
            source: Source::default(),
            request: None,
            cause: None,
            outcome: Outcome::Success,
            prev: before.map(|(_, hash)| hash),
            event,
        };
        let bytes = envelope.seal(&Keys::default()).unwrap().bytes;
        self.ends.insert(stream, (envelope.revision, ChainHash::of(&bytes)));
        let event_type = envelope.event.type_name().into();
        let event = NewEvent { id: envelope.id.uuid(), event_type, bytes: bytes.into() };
        let after = before.map(|(revision, _)| revision);
        let appended = self.store.append(&stream.to_string(), Expected::after(after), vec![event]);
        self.last = Some(appended.now_or_never().unwrap().unwrap().position);
        self.events += 1;
    }

    fn issue(&mut self, of: usize, place: usize, environment: Environment, held: Option<u8>) {
        let n = self.keys.len();
        let ord = 1 + self.keys.iter().filter(|key| key.organization == of).count();
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.to_le_bytes());
        let issued = KeyIssued {
            name: Personal("k".into()),
            email: Personal("k@o".into()),
            environment,
            prefix: format!("{place}").into(),
            secret: SecretRecord { version: 1, hash: SecretHash(hash), hint: "h".into() },
            scopes: Vec::new(),
            grants: Vec::new(),
            allowed_cidrs: Personal(Vec::new()),
            expires_at: None,
            metadata: Personal(Metadata::default()),
            cloned_from: None,
            request_fingerprint: None,
            roles: Vec::new(),
            rate_limits: Vec::new(),
            imported: None,
            identity: held.map(identity),
        };
        self.append(Stream::Key(key(n)), Some(organization(of)), Event::KeyIssued(issued));
        let ord = u32::try_from(ord).unwrap();
        self.keys.push(Known { organization: of, workspace: place, environment, identity: held, ord });
    }

    /// The keys that tests use: those after the silent ones, and one of these.
    fn used_key(&self, n: usize) -> Option<usize> {
        if n == 0 { Some(5) } else { Some(SILENT + n - 1).filter(|n| *n < self.keys.len()) }
    }

    fn record(&self, wish: &Wish) -> UsageRecord {
        let n = wish.key.and_then(|n| self.used_key(n));
        let spent = wish.spent.iter().map(|&(of, credits, refilled)| Spent {
            identity: of.map(identity),
            credits,
            refilled: refilled.map(|n| Base {
                n,
                at: Timestamp::from_micros(self.now),
                remaining: i64::try_from(self.events).unwrap(),
                counted: 3,
            }),
        });
        let address = |n: u8| match n {
            0..3 => IpAddr::from([203, 0, 113, n]),
            _ => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(n)]),
        };
        UsageRecord {
            secret: wish.secret,
            means: wish.means,
            action: wish.action,
            resource: wish.resource.map(|n| Personal(format!("r/{n}").into())),
            tags: wish.tags.iter().map(|n| format!("tag{n}").into()).collect(),
            ip: wish.address.map(|n| Personal(address(n))),
            first_ms: wish.first_ms,
            last_ms: wish.last_ms,
            cost: wish.cost,
            spent: spent.collect(),
            ..UsageRecord::bare(n.map(key), wish.code, wish.count)
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Issue { organization, workspace, environment, identity } => {
                self.issue(*organization, *workspace, *environment, *identity);
            }
            Step::Delete(n) => {
                let Some(n) = self.used_key(*n).filter(|n| self.dead.insert(*n)) else { return };
                let of = organization(self.keys[n].organization);
                self.append(Stream::Key(key(n)), Some(of), Event::KeyDeleted(KeyDeleted::default()));
            }
            Step::Use { organization: of, after, by } => {
                self.now += after;
                let from = Timestamp::from_micros(self.now * 1_000_000 + 123_456);
                let mut groups = Vec::new();
                let mut place = 0;
                for (by, wishes) in by {
                    let by = by.map(key);
                    let records: Vec<_> = wishes.iter().map(|wish| self.record(wish)).collect();
                    for record in &records {
                        let n = record.key.map(|id| {
                            self.keys.len().min(usize::try_from(id.uuid().as_u128() - 0xc00_0000).unwrap())
                        });
                        let owner = n.map(|n| self.keys[n].organization).or(*of);
                        self.records.push((self.events, place, owner, by, from, record.clone()));
                        place += 1;
                        for spent in &record.spent {
                            if let Some(id) = record.key {
                                self.tallies.entry(PoolId::of(id, spent)).or_default().add(spent);
                            }
                        }
                        if let (Some(n), Some(ip), true) = (n, &record.ip, record.is_use()) {
                            let known = self.addresses.entry(n).or_default();
                            if !known.contains(ip) {
                                known.push(**ip);
                            }
                        }
                    }
                    groups.push(UsageGroup { by, records });
                }
                let to = from.plus(Duration::from_secs(5));
                self.newest = self.newest.max(Some(to));
                let seq = self.ends.get(&Stream::Usage(NODE)).map_or(0, |(revision, _)| revision + 1);
                let recorded = UsageRecorded { seq, from, to, groups };
                self.append(Stream::Usage(NODE), of.map(organization), Event::UsageRecorded(recorded));
            }
            Step::Tell | Step::Kill { .. } => {}
        }
    }

    fn open(&self, directory: &Path, told: &Arc<Told>) -> Arc<Shared> {
        let runtime = feed::runtime().unwrap();
        *told.0.lock().unwrap() = BTreeMap::new();
        let (store, observer) = (Arc::clone(&self.store) as _, Arc::clone(told) as _);
        let path = directory.join(FILE_NAME);
        let settings = Settings { data_keys: Arc::new(Keys::default()), ..Settings::default() };
        let (shared, _) = feed::open(path, store, observer, Progress::Silent, settings, &runtime).unwrap();
        shared
    }
}

/// What an observer was told of credits.
#[derive(Default)]
struct Told(Mutex<BTreeMap<PoolId, Tally>>);

impl Observer for Told {
    fn key(&self, _: Option<&KeyState>, _: &KeyState) {}
    fn organization(&self, _: &OrganizationState) {}
    fn workspace(&self, _: &WorkspaceState) {}
    fn spent(&self, pool: PoolId, tally: &Tally) {
        assert_eq!(self.0.lock().unwrap().insert(pool, *tally), None, "each pool is told of once");
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    feed::runtime().unwrap().block_on(future)
}

/// Folds some rounds and a part of one more.
fn fold(shared: &Shared, records: usize, rounds: usize, transactions: usize) {
    let mut folder = Folder::new(shared).unwrap();
    folder.limits.records = records;
    let seen = *shared.usage_seen.borrow();
    for _ in 0..rounds {
        if shared.usage.borrow().events < seen {
            block_on(folder.round()).unwrap();
        }
    }
    // One step a transaction.
    folder.limits = Limits { records, transaction: Duration::ZERO };
    let mut worked = Duration::ZERO;
    if shared.usage.borrow().events < seen
        && let Some(mut round) = block_on(folder.prepare(&mut worked)).unwrap()
    {
        for _ in 0..transactions {
            if folder.write(&mut round).unwrap() {
                break;
            }
        }
    }
}

fn fold_all(shared: &Shared) {
    let mut folder = Folder::new(shared).unwrap();
    while shared.usage.borrow().events < *shared.usage_seen.borrow() {
        block_on(folder.round()).unwrap();
    }
    while folder.prune().unwrap() {}
}

/// A cell with its value spelled out: organization, facet, granularity, bucket, ordinal, value, kind.
type CellName = (Option<usize>, Facet, Grain, u32, u32, Vec<u8>, Kind);

fn naive_cells(world: &World) -> BTreeMap<CellName, (u64, u64)> {
    let mut cells: BTreeMap<CellName, (u64, u64)> = BTreeMap::new();
    for (_, _, owner, _, from, record) in world.records.iter().filter(|(.., record)| record.is_use()) {
        let n = record.key.map(|id| usize::try_from(id.uuid().as_u128() - 0xc00_0000).unwrap());
        let known = n.map(|n| &world.keys[n]);
        let ord = known.map_or(0, |key| key.ord);
        let place = known.map(|key| values::place_bytes(workspace(key.workspace), key.environment).to_vec());
        let address = record.ip.as_ref().map(|ip| values::address_bytes(**ip));
        let mut tags: Vec<Vec<u8>> = record.tags.iter().map(|tag| tag.as_bytes().to_vec()).collect();
        if tags.is_empty() {
            tags.push(Vec::new());
        }
        let mut all = vec![
            (Facet::Places, 0, place.unwrap_or_default()),
            (Facet::Keys, ord, Vec::new()),
            (Facet::Addresses, ord, address.unwrap_or_default()),
        ];
        all.extend(tags.into_iter().map(|tag| (Facet::Tags, ord, tag)));
        let at = record.last_at(*from);
        for (facet, ord, value) in all {
            for grain in Grain::ALL {
                let bucket = grain.bucket(at);
                if bucket < grain.first_kept(world.newest.unwrap()) {
                    continue;
                }
                let quarter = match grain {
                    Grain::Hour => u8::try_from(at.micros() / 900_000_000 % 4).unwrap(),
                    _ => 0,
                };
                let kind = Kind::new(quarter, record.code, record.action, record.means);
                let name = (*owner, facet, grain, bucket, ord, value.clone(), kind);
                let sum = cells.entry(name).or_default();
                sum.0 += record.count;
                sum.1 += record.credits();
            }
        }
    }
    cells
}

fn stored_cells(shared: &Shared) -> BTreeMap<CellName, (u64, u64)> {
    let connection = schema::reading(&shared.path).unwrap();
    let mut cells = BTreeMap::new();
    for owner in [None, Some(0), Some(1)] {
        let id = owner.map(organization);
        for facet in Facet::ALL {
            let kind = match facet {
                Facet::Places => ValueKind::Place,
                Facet::Addresses => ValueKind::Address,
                Facet::Keys | Facet::Tags => ValueKind::Tag,
            };
            for grain in Grain::ALL {
                rollup::read(&connection, id, (facet, grain), 0..=3, 0..u32::MAX, |bucket, blob| {
                    cells::decode(blob, |cell| {
                        let value = match cell.place.value {
                            0 => Vec::new(),
                            number => {
                                let value = values::value(&connection, id, kind, number).unwrap().unwrap();
                                assert_eq!(
                                    values::number(&connection, id, kind, &value).unwrap(),
                                    Some(number)
                                );
                                value
                            }
                        };
                        let name = (owner, facet, grain, bucket, cell.place.ord, value, cell.place.kind);
                        assert_eq!(cells.insert(name, (cell.count, cell.credits)), None);
                    })
                })
                .unwrap();
            }
        }
    }
    cells
}

fn naive_log(world: &World, of: usize) -> Vec<Verification> {
    let oldest = Settings::default().oldest_verification(world.newest);
    let of_organization = world.records.iter().filter(|(_, _, owner, ..)| *owner == Some(of));
    of_organization
        .map(|(event, place, _, by, from, record)| Verification {
            event: EventId::from_uuid(Uuid::from_u128(0xe_0000 + *event as u128)),
            place: *place,
            first_at: record.first_at(*from),
            last_at: record.last_at(*from),
            count: record.count,
            key: record.key,
            secret_version: record.secret,
            means: record.means,
            workspace: record.key.map(|id| {
                let n = usize::try_from(id.uuid().as_u128() - 0xc00_0000).unwrap();
                workspace(world.keys[n].workspace)
            }),
            code: record.code,
            action: record.action,
            resource: record.resource.as_ref().map(|resource| (**resource).clone()),
            tags: record.tags.clone(),
            ip: record.ip.as_ref().map(|ip| **ip),
            by: *by,
            cost: record.cost.unwrap_or(1),
            credits: record.credits(),
        })
        .filter(|verification| verification.last_at >= oldest)
        .collect()
}

/// Goes through all pages, forward or backward, and checks what they say of their neighbours.
fn paged(shared: &Shared, query: &VerificationQuery, count: usize, scan_bytes: usize) -> Vec<Verification> {
    let connection = schema::reading(&shared.path).unwrap();
    let _snapshot = connection.unchecked_transaction().unwrap();
    let backward = query.window.is_backward();
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let window = if backward {
            Window::Last { count, before: cursor.clone() }
        } else {
            Window::First { count, after: cursor.clone() }
        };
        let query = VerificationQuery { window, ..query.clone() };
        let oldest = |newest| shared.settings.oldest_verification(newest);
        let page =
            search::page_within(&connection, &shared.catalog, &query, count, oldest, scan_bytes).unwrap();
        assert!(page.items.len() <= count);
        let (more, came) =
            if backward { (page.has_previous, page.has_next) } else { (page.has_next, page.has_previous) };
        assert_eq!(came, cursor.is_some());
        let end = if backward {
            page.start_cursor.or_else(|| page.items.first().map(|item| item.cursor.clone()))
        } else {
            page.end_cursor.or_else(|| page.items.last().map(|item| item.cursor.clone()))
        };
        let mut nodes: Vec<_> = page.items.into_iter().map(|item| item.node).collect();
        if backward {
            nodes.reverse();
        }
        all.extend(nodes);
        if !more {
            break;
        }
        cursor = Some(end.unwrap());
    }
    if backward {
        all.reverse();
    }
    all
}

fn everything(of: usize) -> VerificationQuery {
    VerificationQuery {
        organization: organization(of),
        filter: UsageFilter::default(),
        resource_prefix: None,
        from: None,
        to: None,
        sequence: Sequence::Ascending,
        window: Window::first(1_000),
    }
}

type LetsThrough<'a> = Box<dyn Fn(&Verification) -> bool + 'a>;

/// Some filters, and what they let through.
fn filters(world: &World, of: usize) -> Vec<(VerificationQuery, LetsThrough<'_>)> {
    let number = |id: KeyId| usize::try_from(id.uuid().as_u128() - 0xc00_0000).unwrap();
    let all = everything(of);
    let with = |filter: UsageFilter| VerificationQuery { filter, ..all.clone() };
    let middle = world.records.get(world.records.len() / 2).map_or(Timestamp::default(), |record| record.4);
    vec![
        (all.clone(), Box::new(|_| true)),
        (
            with(UsageFilter { keys: vec![key(SILENT)], ..UsageFilter::default() }),
            Box::new(|one| one.key == Some(key(SILENT))),
        ),
        (
            with(UsageFilter { keys: vec![key(5), key(SILENT + 1)], ..UsageFilter::default() }),
            Box::new(|one| [Some(key(5)), Some(key(SILENT + 1))].contains(&one.key)),
        ),
        (
            with(UsageFilter { sight: Some(vec![workspace(1)]), ..UsageFilter::default() }),
            Box::new(|one| one.workspace == Some(workspace(1))),
        ),
        (
            with(UsageFilter {
                environment: Some(Environment::Staging),
                identity: Some(identity(1)),
                ..UsageFilter::default()
            }),
            Box::new(move |one| {
                one.key.is_some_and(|id| {
                    let key = &world.keys[number(id)];
                    key.environment == Environment::Staging && key.identity == Some(1)
                })
            }),
        ),
        (
            VerificationQuery {
                filter: UsageFilter {
                    outcomes: vec![VerificationCode::Valid, VerificationCode::Malformed],
                    action: Some(Action::Write),
                    ..UsageFilter::default()
                },
                sequence: Sequence::Descending,
                ..all.clone()
            },
            Box::new(|one| {
                [VerificationCode::Valid, VerificationCode::Malformed].contains(&one.code)
                    && one.action == Some(Action::Write)
            }),
        ),
        (
            VerificationQuery {
                filter: UsageFilter { means: Some(Means::Token), ..UsageFilter::default() },
                ..all.clone()
            },
            Box::new(|one| one.means == Some(Means::Token)),
        ),
        (
            VerificationQuery {
                filter: UsageFilter {
                    tag: Some("tag1".into()),
                    address: Some(IpAddr::from([203, 0, 113, 1])),
                    ..UsageFilter::default()
                },
                from: Some(middle),
                ..all.clone()
            },
            Box::new(move |one| {
                one.tags.iter().any(|tag| &**tag == "tag1")
                    && one.ip == Some(IpAddr::from([203, 0, 113, 1]))
                    && one.last_at >= middle
            }),
        ),
        (
            VerificationQuery {
                resource_prefix: Some("r/1".into()),
                to: Some(middle),
                sequence: Sequence::Descending,
                ..all
            },
            Box::new(move |one| {
                one.resource.as_ref().is_some_and(|resource| resource.starts_with("r/1"))
                    && one.last_at < middle
            }),
        ),
    ]
}

fn check_log(world: &World, shared: &Shared, count: usize) {
    for of in 0..2 {
        let log = naive_log(world, of);
        for (query, lets_through) in filters(world, of) {
            let mut expected: Vec<_> = log.iter().filter(|one| lets_through(one)).cloned().collect();
            if query.sequence == Sequence::Descending {
                expected.reverse();
            }
            // Searches that end at each round, and those that never do.
            for scan_bytes in [0, usize::MAX] {
                assert_eq!(paged(shared, &query, count, scan_bytes), expected, "{query:?}");
                let backward =
                    VerificationQuery { window: Window::Last { count, before: None }, ..query.clone() };
                assert_eq!(paged(shared, &backward, count, scan_bytes), expected, "{backward:?}");
            }
        }
    }
}

fn check_keys(world: &World, shared: &Shared) {
    let connection = schema::reading(&shared.path).unwrap();
    let mut naive: BTreeMap<KeyId, KeyUsage> = BTreeMap::new();
    for (_, _, _, _, from, record) in world.records.iter().filter(|(.., record)| record.is_use()) {
        let Some(id) = record.key else { continue };
        let usage = KeyUsage::of(record, *from);
        let sum = match naive.remove(&id) {
            Some(before) => before.and(usage),
            None => usage,
        };
        naive.insert(id, sum);
    }
    for n in 0..world.keys.len() {
        let row = lookups::key(&connection, key(n)).unwrap().unwrap();
        assert_eq!(row.usage, naive.get(&key(n)).cloned(), "key {n}");
        let ord = super::ordinals::of(&connection, organization(world.keys[n].organization), key(n)).unwrap();
        assert_eq!(ord, Some(world.keys[n].ord));
    }
    check_catalog(world, &shared.catalog);
}

fn check_catalog(world: &World, catalog: &Catalog) {
    for of in 0..2 {
        let keys: Vec<_> = world.keys.iter().filter(|key| key.organization == of).collect();
        assert_eq!(catalog.count(organization(of)) as usize, keys.len());
        let mut seen = 0;
        catalog.attributes(organization(of), 0..u32::MAX, |ord, attributes| {
            let names = catalog.names(organization(of));
            let key = keys[ord as usize - 1];
            assert_eq!(names.workspaces[attributes.workspace as usize], Some(workspace(key.workspace)));
            assert_eq!(names.identities[attributes.identity as usize], key.identity.map(identity));
            assert_eq!(attributes.environment, key.environment);
            seen += 1;
        });
        assert_eq!(seen, keys.len());
    }
}

fn check_addresses(world: &World, shared: &Shared) {
    let connection = schema::reading(&shared.path).unwrap();
    let untold = addresses::untold(&connection, 1_000).unwrap();
    let untold: BTreeSet<_> = untold.into_iter().map(|(key, address, _)| (key, address)).collect();
    let mut expected = BTreeSet::new();
    for (n, known) in &world.addresses {
        for address in known.iter().skip(1) {
            if !world.told.contains(&(*n, *address)) && !world.dead.contains(n) {
                expected.insert((key(*n), *address));
            }
        }
    }
    assert_eq!(untold, expected);
}

fn check(world: &World, shared: &Shared, count: usize) {
    assert_eq!(stored_cells(shared), naive_cells(world));
    assert_eq!(shared.usage.borrow().newest, world.newest);
    check_log(world, shared, count);
    check_keys(world, shared);
    check_addresses(world, shared);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn all_is_counted_exactly_once(steps in prop::collection::vec(step(), 1..60), count in 1usize..8) {
        let mut world = World::new();
        let directory = tempfile::tempdir().unwrap();
        let told = Arc::new(Told::default());
        for step in &steps {
            match step {
                Step::Kill { records, rounds, transactions } => {
                    let shared = world.open(directory.path(), &told);
                    prop_assert_eq!(&*told.0.lock().unwrap(), &world.tallies);
                    fold(&shared, *records, *rounds, *transactions);
                }
                Step::Tell => {
                    let shared = world.open(directory.path(), &told);
                    let connection = schema::reading(&shared.path).unwrap();
                    for (id, address, used_at) in addresses::untold(&connection, 100).unwrap() {
                        let n = usize::try_from(id.uuid().as_u128() - 0xc00_0000).unwrap();
                        prop_assert!(world.told.insert((n, address)), "told twice");
                        let of = organization(world.keys[n].organization);
                        let used = KeyAddressFirstUsed { address: Some(Personal(address)), used_at, last: false };
                        world.append(Stream::Key(id), Some(of), Event::KeyAddressFirstUsed(used));
                    }
                }
                step => world.step(step),
            }
        }
        if world.newest.is_some() {
            let shared = world.open(directory.path(), &told);
            prop_assert_eq!(&*told.0.lock().unwrap(), &world.tallies);
            fold_all(&shared);
            check(&world, &shared, count);
            drop(shared);
            let shared = world.open(directory.path(), &told);
            prop_assert_eq!(&*told.0.lock().unwrap(), &world.tallies);
            drop(shared);

            let rebuilt = tempfile::tempdir().unwrap();
            let shared = world.open(rebuilt.path(), &told);
            prop_assert_eq!(&*told.0.lock().unwrap(), &world.tallies);
            fold_all(&shared);
            check(&world, &shared, 1_000);
        }
    }
}

#[test]
fn no_more_than_a_hundred_addresses_of_a_key_are_known() {
    let mut world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let told = Arc::new(Told::default());
    let used = |address: [u8; 4]| UsageRecord {
        ip: Some(Personal(IpAddr::from(address))),
        ..UsageRecord::bare(Some(key(0)), VerificationCode::Valid, 1)
    };
    let records: Vec<_> = (0..150).map(|n| used([10, 0, 0, n])).collect();
    let (from, groups) = (Timestamp::from_micros(5), vec![UsageGroup { by: None, records }]);
    let recorded = UsageRecorded { seq: 0, from, to: from, groups };
    world.append(Stream::Usage(NODE), Some(organization(0)), Event::UsageRecorded(recorded));
    let shared = world.open(directory.path(), &told);
    fold_all(&shared);
    let connection = schema::reading(&shared.path).unwrap();
    let untold = addresses::untold(&connection, 1_000).unwrap();
    assert_eq!(untold.len(), addresses::MAX_ADDRESSES as usize - 1, "the first one is not news");
    let asked = [IpAddr::from([10, 0, 0, 0]), IpAddr::from([10, 0, 0, 7]), IpAddr::from([10, 0, 0, 149])];
    let still = addresses::still_untold(&connection, key(0), &asked).unwrap();
    assert_eq!(still, asked[1..2]);
}

#[test]
fn gaps_are_found_by_the_time_that_they_overlap_with() {
    let mut world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let at = Timestamp::from_micros;
    for (from, to) in [(10, 20), (30, 40)] {
        let gap = UsageGapDeclared { after_seq: None, from: at(from), to: at(to) };
        world.append(Stream::Usage(NODE), None, Event::UsageGapDeclared(gap));
    }
    let shared = world.open(directory.path(), &Arc::new(Told::default()));
    fold_all(&shared);
    let connection = schema::reading(&shared.path).unwrap();
    let found = |from, to| {
        let gaps = lookups::gaps(&connection, at(from), at(to)).unwrap();
        gaps.into_iter().map(|gap| (gap.from.micros(), gap.to.micros())).collect::<Vec<_>>()
    };
    assert_eq!(found(0, 100), [(10, 20), (30, 40)]);
    assert_eq!(found(19, 30), [(10, 20)]);
    assert_eq!(found(20, 30), []);
    assert_eq!(found(39, 39), [(30, 40)]);
}
