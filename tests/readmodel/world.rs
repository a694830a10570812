//! A log that tests write by hand, and what a read model says about it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use keyledger::readmodel::{
    Entry, EntryQuery, KeyOrder, KeyQuery, KeyRow, KeySort, Observer, Page, Progress, ReadModel, Sequence,
    Settings, Window,
};
use keyledger::store::memory::MemoryStore;
use keyledger::store::{EventStore, Expected, NewEvent, Position};
use keyledger_projections::{KeyState, KeyStatus, OrganizationState, WorkspaceState};
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{
    CommandRefused, Hex32, KeyDeleted, KeyDisabled, KeyEnabled, KeyExpired, KeyIssued, KeyRevoked,
    KeySecretAcknowledged, KeySecretOverlapEnded, KeySecretRotated, KeyUpdated, NodeStarted,
    OrganizationBootstrapped, OrganizationCreated, PreviousStop, RevocationReason, UsageMode,
    WorkspaceCreated,
};
use keyledger_schema::usage::{UsageGroup, UsageRecord, UsageRecorded};
use keyledger_schema::{
    Actor, ChainHash, Envelope, Environment, Event, EventId, KeyId, Metadata, NodeId, OrganizationId,
    Personal, SecretHash, SecretRecord, Source, Stream, Timestamp, VerificationCode, WorkspaceId,
};
use proptest::prelude::*;
use uuid::Uuid;

#[path = "../../schema/tests/keys/mod.rs"]
pub(crate) mod keys;
use keys::Keys;

pub(crate) const NODE: NodeId = NodeId::from_uuid(Uuid::from_u128(0xe0de));

/// Two organizations with two workspaces each.
pub(crate) fn organization(n: u8) -> OrganizationId {
    OrganizationId::from_uuid(Uuid::from_u128(0x0a00 + u128::from(n % 2)))
}

pub(crate) fn workspace(organization: u8, n: u8) -> WorkspaceId {
    WorkspaceId::from_uuid(Uuid::from_u128(0x0b00 + 16 * u128::from(organization % 2) + u128::from(n % 2)))
}

pub(crate) fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + micros)
}

/// What a test issues a key with.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) organization: u8,
    pub(crate) workspace: u8,
    pub(crate) name: String,
    pub(crate) environment: Environment,
    pub(crate) expires_at: Option<i64>,
    pub(crate) created_by: Option<KeyId>,
}

impl Wish {
    pub(crate) fn named(name: &str) -> Self {
        Self {
            organization: 0,
            workspace: 0,
            name: name.into(),
            environment: Environment::Production,
            expires_at: None,
            created_by: None,
        }
    }
}

/// One event of a generated history; keys are named by how many were issued before them.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Issue(Wish),
    Acknowledge(usize),
    Rename(usize, String),
    Rotate(usize, Option<i64>),
    EndOverlap(usize),
    Disable(usize),
    Enable(usize),
    Expire(usize),
    Revoke(usize),
    Delete(usize),
    Refuse(u8, usize),
    Use(Vec<(usize, u64, bool)>),
}

pub(crate) fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,2}", "[A-C%_]{1,3}", Just("Åse 50%".to_owned()), Just("åse_50".to_owned())]
}

pub(crate) fn wish() -> impl Strategy<Value = Wish> {
    let environment = prop::sample::select(&Environment::ALL[..]);
    (0u8..2, 0u8..2, name(), environment, prop::option::of(1i64..6)).prop_map(
        |(organization, workspace, name, environment, expires)| Wish {
            organization,
            workspace,
            name,
            environment,
            expires_at: expires.map(|expires| expires * 10_000),
            created_by: None,
        },
    )
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let key = 0usize..20;
    prop_oneof![
        4 => wish().prop_map(Step::Issue),
        1 => key.clone().prop_map(Step::Acknowledge),
        2 => (key.clone(), name()).prop_map(|(key, name)| Step::Rename(key, name)),
        2 => (key.clone(), prop::option::of(0i64..60_000)).prop_map(|(key, until)| Step::Rotate(key, until)),
        1 => key.clone().prop_map(Step::EndOverlap),
        1 => key.clone().prop_map(Step::Disable),
        1 => key.clone().prop_map(Step::Enable),
        1 => key.clone().prop_map(Step::Expire),
        1 => key.clone().prop_map(Step::Revoke),
        1 => key.clone().prop_map(Step::Delete),
        2 => (0u8..2, key.clone()).prop_map(|(organization, key)| Step::Refuse(organization, key)),
        2 => prop::collection::vec((key, 1u64..9, any::<bool>()), 1..4).prop_map(Step::Use),
    ]
}

/// A log in memory and the ends of its streams.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    ends: HashMap<Stream, (u64, ChainHash)>,
    pub(crate) keys: Vec<(KeyId, u8, u8)>,
    pub(crate) events: Vec<EventId>,
    pub(crate) last: Position,
}

impl World {
    /// With both organizations and their workspaces, and no key.
    pub(crate) fn new() -> Self {
        let mut world = Self {
            store: Arc::new(MemoryStore::new()),
            ends: HashMap::new(),
            keys: Vec::new(),
            events: Vec::new(),
            last: Position::from_raw(0),
        };
        let started =
            NodeStarted { version: "1".into(), usage: UsageMode::Strict, previous_stop: PreviousStop::None };
        world.append(Stream::Node(NODE), None, Event::NodeStarted(started));
        for n in 0..2 {
            let id = organization(n);
            let slug: Box<str> = format!("o{n}").into();
            let created = OrganizationCreated { name: slug.clone(), slug, parent: None };
            world.append(Stream::Organization(id), Some((n, None)), Event::OrganizationCreated(created));
            let bootstrapped =
                OrganizationBootstrapped { signing_key_generation: 1, signing_public_key: Hex32([n; 32]) };
            world.append(
                Stream::Organization(id),
                Some((n, None)),
                Event::OrganizationBootstrapped(bootstrapped),
            );
            for w in 0..2 {
                let created = WorkspaceCreated { organization: id, name: format!("w{w}").into() };
                let stream = Stream::Workspace(workspace(n, w));
                world.append(stream, Some((n, Some(w))), Event::WorkspaceCreated(created));
            }
        }
        world
    }

    pub(crate) fn append(
        &mut self,
        stream: Stream,
        place: Option<(u8, Option<u8>)>,
        event: Event,
    ) -> Position {
        let by = Actor::node(NODE);
        self.append_by(stream, place, event, by)
    }

    fn append_by(
        &mut self,
        stream: Stream,
        place: Option<(u8, Option<u8>)>,
        event: Event,
        actor: Actor,
    ) -> Position {
        let before = self.ends.get(&stream).copied();
        let serial = self.events.len();
        let id = EventId::from_uuid(Uuid::from_u128(0xe_0000 + serial as u128));
        let refused = matches!(event, Event::CommandRefused(_));
        let envelope = Envelope {
            id,
            stream,
            revision: before.map_or(0, |(revision, _)| revision + 1),
            at: at(i64::try_from(serial).unwrap() * 100),
            organization: place.map(|(n, _)| organization(n)),
            workspace: place.and_then(|(n, w)| Some(workspace(n, w?))),
            actor,
            source: Source::default(),
            request: None,
            cause: None,
            outcome: if refused { Outcome::Refused } else { Outcome::Success },
            prev: before.map(|(_, hash)| hash),
            event,
        };
        let bytes = envelope.seal(&Keys::default()).unwrap().bytes;
        self.ends.insert(stream, (envelope.revision, ChainHash::of(&bytes)));
        let event_type = envelope.event.type_name().into();
        self.append_bytes(stream, before.map(|(revision, _)| revision), id, event_type, &bytes)
    }

    pub(crate) fn append_bytes(
        &mut self,
        stream: Stream,
        after: Option<u64>,
        id: EventId,
        event_type: Arc<str>,
        bytes: &[u8],
    ) -> Position {
        let event = NewEvent { id: id.uuid(), event_type, bytes: bytes.into() };
        let appended = self.store.append(&stream.to_string(), Expected::after(after), vec![event]);
        self.events.push(id);
        self.last = appended.now_or_never().unwrap().unwrap().position;
        self.last
    }

    fn secret(&self, version: u32) -> SecretRecord {
        let n = self.events.len();
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.to_le_bytes());
        SecretRecord { version, hash: SecretHash(hash), hint: format!("kl_prod_{n:04}").into() }
    }

    pub(crate) fn issue(&mut self, wish: Wish) -> KeyId {
        let n = self.keys.len();
        let id = KeyId::from_uuid(Uuid::from_u128(0x0c00_0000 + n as u128));
        let issued = KeyIssued {
            name: Personal(wish.name.into()),
            email: Personal(format!("key.{n:03}@keys.o{}", wish.organization).into()),
            environment: wish.environment,
            prefix: "kl".into(),
            secret: self.secret(1),
            scopes: vec!["read:customers/42/**".parse().unwrap()],
            grants: Vec::new(),
            allowed_cidrs: Personal(vec!["10.0.0.0/8".parse().unwrap(), "::/0".parse().unwrap()]),
            expires_at: wish.expires_at.map(at),
            metadata: Personal(Metadata::from_value(serde_json::json!({ "n": n })).unwrap()),
            cloned_from: None,
            request_fingerprint: None,
            roles: Vec::new(),
            rate_limits: Vec::new(),
            imported: None,
            identity: None,
        };
        let actor = wish.created_by.map_or_else(Actor::operator, |id| Actor::key(id, "a@b", None));
        let place = (wish.organization, Some(wish.workspace));
        self.keys.push((id, wish.organization, wish.workspace));
        self.append_by(Stream::Key(id), Some(place), Event::KeyIssued(issued), actor);
        id
    }

    /// An event of a key that was issued; nothing if there is none yet.
    pub(crate) fn on_key(&mut self, n: usize, event: impl FnOnce(&Self) -> Event) {
        if self.keys.is_empty() {
            return;
        }
        let (id, organization, workspace) = self.keys[n % self.keys.len()];
        let event = event(self);
        self.append(Stream::Key(id), Some((organization, Some(workspace))), event);
    }

    pub(crate) fn step(&mut self, step: Step) {
        let moment = at(i64::try_from(self.events.len()).unwrap() * 100);
        match step {
            Step::Issue(wish) => {
                self.issue(wish);
            }
            Step::Acknowledge(n) => {
                self.on_key(n, |_| Event::KeySecretAcknowledged(KeySecretAcknowledged { secret_version: 1 }));
            }
            Step::Rename(n, name) => self.on_key(n, |_| {
                let name = Some(Personal(name.into()));
                Event::KeyUpdated(KeyUpdated { name, ..KeyUpdated::default() })
            }),
            Step::Rotate(n, until) => self.on_key(n, |world| {
                let secret = world.secret(2);
                Event::KeySecretRotated(KeySecretRotated { secret, previous_valid_until: until.map(at) })
            }),
            Step::EndOverlap(n) => self.on_key(n, |_| {
                Event::KeySecretOverlapEnded(KeySecretOverlapEnded { secret_version: 1, ended_at: moment })
            }),
            Step::Disable(n) => self.on_key(n, |_| Event::KeyDisabled(KeyDisabled::default())),
            Step::Enable(n) => self.on_key(n, |_| Event::KeyEnabled(KeyEnabled::default())),
            Step::Expire(n) => self.on_key(n, |_| Event::KeyExpired(KeyExpired { expired_at: moment })),
            Step::Revoke(n) => self.on_key(n, |_| {
                let reason = RevocationReason::Compromised;
                Event::KeyRevoked(KeyRevoked { reason, comment: Some(Personal("lost".into())) })
            }),
            Step::Delete(n) => self.on_key(n, |_| Event::KeyDeleted(KeyDeleted::default())),
            Step::Refuse(n, key) => {
                let key = (!self.keys.is_empty()).then(|| self.keys[key % self.keys.len()].0);
                self.refuse(n, key);
            }
            Step::Use(records) => self.used(&records),
        }
    }

    pub(crate) fn refuse(&mut self, n: u8, key: Option<KeyId>) {
        let refused = CommandRefused {
            command: "revokeKey".into(),
            target: None,
            key,
            code: "FORBIDDEN".into(),
            repeated: None,
        };
        self.append(Stream::Audit(organization(n)), Some((n, None)), Event::CommandRefused(refused));
    }

    pub(crate) fn used(&mut self, records: &[(usize, u64, bool)]) {
        let from = at(i64::try_from(self.events.len()).unwrap() * 100);
        let record = |&(n, count, valid): &(usize, u64, bool)| UsageRecord {
            secret: Some(1),
            ip: Some(Personal("203.0.113.7".parse().unwrap())),
            last_ms: u32::try_from(count).unwrap(),
            ..UsageRecord::bare(
                (!self.keys.is_empty()).then(|| self.keys[n % self.keys.len()].0),
                if valid { VerificationCode::Valid } else { VerificationCode::Disabled },
                count,
            )
        };
        let records = records.iter().map(record).collect();
        let groups = vec![UsageGroup { by: None, records }];
        let seq = self.ends.get(&Stream::Usage(NODE)).map_or(0, |(revision, _)| revision + 1);
        self.append(
            Stream::Usage(NODE),
            None,
            Event::UsageRecorded(UsageRecorded { seq, from, to: from, groups }),
        );
    }

    pub(crate) fn open(&self, directory: &Path) -> Arc<ReadModel> {
        self.open_watched(directory, Arc::new(Seen::default()))
    }

    pub(crate) fn open_watched(&self, directory: &Path, seen: Arc<Seen>) -> Arc<ReadModel> {
        let store = Arc::clone(&self.store) as _;
        ReadModel::open(directory, store, seen, Progress::Silent, settings()).unwrap()
    }
}

/// Settings under which personal data can be read.
pub(crate) fn settings() -> Settings {
    Settings { data_keys: Arc::new(Keys::default()), ..Settings::default() }
}

/// An observer that remembers.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) keys: Mutex<HashMap<KeyId, KeyState>>,
    pub(crate) organizations: Mutex<HashMap<OrganizationId, OrganizationState>>,
    pub(crate) workspaces: Mutex<HashMap<WorkspaceId, WorkspaceState>>,
}

impl Observer for Seen {
    fn key(&self, before: Option<&KeyState>, after: &KeyState) {
        let known = self.keys.lock().unwrap().insert(after.id, after.clone());
        if before.is_some() {
            assert_eq!(known.as_ref(), before, "what was before is what was told before");
        }
    }
    fn organization(&self, state: &OrganizationState) {
        self.organizations.lock().unwrap().insert(state.id, state.clone());
    }
    fn workspace(&self, state: &WorkspaceState) {
        self.workspaces.lock().unwrap().insert(state.id, state.clone());
    }
}

/// Waits until tables and usage show the whole log.
pub(crate) async fn settle(model: &ReadModel, world: &World) {
    model.wait_applied(world.last, Duration::from_mins(1)).await.unwrap();
    for _ in 0..12_000 {
        if model.usage_lag() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("usage was not counted in time");
}

pub(crate) const STATUSES: [KeyStatus; 5] =
    [KeyStatus::Active, KeyStatus::Inactive, KeyStatus::Expired, KeyStatus::Revoked, KeyStatus::Deleted];

/// Every order there is.
pub(crate) fn orders() -> Vec<KeyOrder> {
    let mut orders = Vec::new();
    for by in [KeySort::CreatedAt, KeySort::Name, KeySort::ExpiresAt, KeySort::LastUsedAt] {
        for sequence in [Sequence::Ascending, Sequence::Descending] {
            orders.push(KeyOrder { by, sequence });
        }
    }
    orders
}

/// Everything that a read model says.
#[derive(PartialEq, Debug)]
pub(crate) struct Everything {
    keys: Vec<Page<KeyRow>>,
    entries: Vec<Page<Entry>>,
    single: Vec<(Option<Entry>, Option<KeyRow>)>,
    places: Vec<(Option<OrganizationState>, Vec<WorkspaceState>, Option<WorkspaceState>)>,
    due: Vec<KeyId>,
    counts: (u64, u64),
}

pub(crate) async fn everything(model: &ReadModel, world: &World) -> Everything {
    let now = at(25_000);
    let (mut keys, mut entries, mut single, mut places) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for n in 0..2 {
        for order in orders() {
            let all = KeyQuery {
                statuses: STATUSES.to_vec(),
                order,
                window: Window::first(1_000),
                count: true,
                ..KeyQuery::new(organization(n), now)
            };
            for query in [
                all.clone(),
                KeyQuery { statuses: Vec::new(), ..all.clone() },
                KeyQuery { workspace: Some(workspace(n, 1)), ..all.clone() },
                KeyQuery { unused_since: Some(at(2_000)), ..all.clone() },
                KeyQuery { unacknowledged: Some(true), expires_before: Some(at(30_000)), ..all.clone() },
                KeyQuery { search: Some("a".into()), environment: Some(Environment::Staging), ..all },
            ] {
                keys.push(model.keys(query).await.unwrap());
            }
        }
        let all =
            EntryQuery { count: true, window: Window::first(1_000), ..EntryQuery::new(organization(n)) };
        entries.push(model.entries(all.clone()).await.unwrap());
        for &(key, ..) in &world.keys {
            entries.push(model.entries(EntryQuery { key: Some(key), ..all.clone() }).await.unwrap());
        }
        let id = workspace(n, 0);
        places.push((
            model.organization(organization(n)).await.unwrap(),
            model.workspaces(organization(n)).await.unwrap(),
            model.workspace(id).await.unwrap(),
        ));
    }
    for id in &world.events {
        single.push((model.entry(*id).await.unwrap(), None));
    }
    for (id, ..) in &world.keys {
        single.push((None, model.key(*id).await.unwrap()));
    }
    let due = model.due(now, 100).await.unwrap();
    let counts = (model.keys_count(), model.entries_count());
    Everything { keys, entries, single, places, due, counts }
}
