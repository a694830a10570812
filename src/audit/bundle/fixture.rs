//! A small log with two tenants, and bundles of it, for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use keyledger_projections::KeyState;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{
    CommandRefused, Event, HeadsCommitted, KeyDisabled, KeyEnabled, KeyIssued, KeyRevoked, LogKeyAdded,
    LogKeyRetired, OrganizationCreated, RevocationReason, WorkspaceCreated,
};
use keyledger_schema::sealing::{Held, Unreadable};
use keyledger_schema::usage::UsageRecorded;
use keyledger_schema::{
    Actor, ChainHash, DataKey, DataKeys, Envelope, Environment, EventId, Hex32, KeyId, LogId, NoDataKeys,
    NodeId, OrganizationId, Personal, Sealer, SecretHash, SecretRecord, Source, Stream, Subject, Timestamp,
    WorkspaceId,
};
use uuid::Uuid;

use super::super::checkpoint::Checkpoint;
use super::super::earlier::Earlier;
use super::super::heads::{Head, Map, Proof};
use super::super::note::{Signer, VerifierKey};
use super::super::tile::{Kind, Tile, combine};
use super::super::tree::{Frontier, Hash, leaf_hash};
use super::super::verdict::Report;
use super::{Description, Entry, FORMAT, Maker, Scope, needed, verify};

pub(super) const ORIGIN: &str = "keyledger.example/log";

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0000 + number)
}

pub(super) fn organization(number: u128) -> OrganizationId {
    OrganizationId::from_uuid(uuid(number))
}

pub(super) fn workspace(number: u128) -> WorkspaceId {
    WorkspaceId::from_uuid(uuid(number))
}

pub(super) fn key(number: u128) -> KeyId {
    KeyId::from_uuid(uuid(number))
}

pub(super) fn signer(seed: u8) -> Signer {
    Signer::new(ORIGIN, SigningKey::from_bytes(&[seed; 32])).unwrap()
}

fn comment() -> Personal<Box<str>> {
    Personal("=cmd, \"quoted\"".into())
}

/// Data keys that anybody can derive; those of one key were erased.
struct Keys;

impl DataKeys for Keys {
    fn data_key(&self, subject: Subject) -> Result<Held, Unreadable> {
        if subject == Subject::Key(key(12)) {
            return Ok(Held::Erased);
        }
        Ok(Held::Key(DataKey::new(blake3::derive_key("data keys of a test", &subject.to_bytes()))))
    }
}

impl Sealer for Keys {
    fn nonce(&self) -> [u8; keyledger_schema::sealing::NONCE_BYTES] {
        [5; 24]
    }

    fn key_to_seal(&self, subject: Subject) -> Result<Option<DataKey>, Unreadable> {
        let Held::Key(key) = self.data_key(subject)? else { return Ok(None) };
        Ok(Some(key))
    }
}

/// A log in memory.
#[derive(Clone)]
pub(super) struct World {
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) ends: BTreeMap<String, Head>,
    pub(super) commitments: Vec<(u64, BTreeMap<String, Head>)>,
    pub(super) signer: Signer,
    /// Those of later generations.
    pub(super) later: Vec<Signer>,
    /// Generations that sign no more.
    pub(super) retired: Vec<u32>,
}

impl World {
    /// With a signing key, and nothing else.
    pub(super) fn empty(seed: u8) -> Self {
        let mut world = Self {
            entries: Vec::new(),
            ends: BTreeMap::new(),
            commitments: Vec::new(),
            signer: signer(seed),
            later: Vec::new(),
            retired: Vec::new(),
        };
        let verifier_key = world.signer.verifier().to_string().into();
        let added = Event::LogKeyAdded(LogKeyAdded { generation: 1, origin: ORIGIN.into(), verifier_key });
        world.add(Self::log(), None, added);
        world
    }

    /// Two organizations with a workspace each: the first has two keys, of which one is refused something, and
    /// the second has one key.
    pub(super) fn new() -> Self {
        let mut world = Self::empty(1);
        world.workspace(1);
        world.workspace(2);
        world.issue(1, 11);
        world.issue(2, 21);
        world.issue(1, 12);
        world.act(1, 11, Event::KeyDisabled(KeyDisabled { comment: Some(comment()), rule: None }));
        world.act(2, 21, Event::KeyDisabled(KeyDisabled { comment: None, rule: None }));
        world.usage(1);
        world.act(1, 11, Event::KeyEnabled(KeyEnabled::default()));
        let refused = Event::CommandRefused(CommandRefused {
            command: "rotateKey".into(),
            target: None,
            key: Some(key(11)),
            code: "FORBIDDEN".into(),
            repeated: None,
        });
        let place = Some((organization(1), Some(workspace(1))));
        world.add(Stream::Audit(organization(1)), place, refused);
        world.act(
            1,
            11,
            Event::KeyRevoked(KeyRevoked { reason: RevocationReason::Compromised, comment: Some(comment()) }),
        );
        let created = OrganizationCreated { name: "Acme".into(), slug: "acme".into(), parent: None };
        let place = Some((organization(1), None));
        world.add(Stream::Organization(organization(1)), place, Event::OrganizationCreated(created));
        world.commit();
        world
    }

    pub(super) fn workspace(&mut self, number: u128) {
        let place = Some((organization(number), Some(workspace(number))));
        let created = WorkspaceCreated { organization: organization(number), name: "keys".into() };
        self.add(Stream::Workspace(workspace(number)), place, Event::WorkspaceCreated(created));
    }

    /// Adds another signing key of the log.
    pub(super) fn rotate(&mut self, seed: u8) {
        let signer = signer(seed);
        let verifier_key = signer.verifier().to_string().into();
        self.later.push(signer);
        let generation = u32::try_from(self.later.len()).unwrap() + 1;
        let added = Event::LogKeyAdded(LogKeyAdded { generation, origin: ORIGIN.into(), verifier_key });
        self.add(Self::log(), None, added);
    }

    /// Takes one of them out of use.
    pub(super) fn retire(&mut self, generation: u32) {
        self.retired.push(generation);
        self.add(Self::log(), None, Event::LogKeyRetired(LogKeyRetired { generation }));
    }

    /// All signing keys by their generations.
    fn signers(&self) -> impl Iterator<Item = (u32, &Signer)> {
        (1..).zip(std::iter::once(&self.signer).chain(&self.later))
    }

    /// Those that sign.
    pub(super) fn active(&self) -> Vec<&Signer> {
        let in_use = self.signers().filter(|(generation, _)| !self.retired.contains(generation));
        in_use.map(|(_, signer)| signer).collect()
    }

    fn log() -> Stream {
        Stream::Log(LogId::from_uuid(uuid(99)))
    }

    pub(super) fn issue(&mut self, tenant: u128, number: u128) {
        let secret = SecretRecord { version: 1, hash: SecretHash([7; 32]), hint: "kl_prod_4fGh".into() };
        let issued = KeyIssued::bare(&format!("key {number}"), Environment::Production, secret);
        self.act(tenant, number, Event::KeyIssued(issued));
    }

    pub(super) fn act(&mut self, tenant: u128, number: u128, event: Event) {
        let place = Some((organization(tenant), Some(workspace(tenant))));
        self.add(Stream::Key(key(number)), place, event);
    }

    pub(super) fn usage(&mut self, tenant: u128) {
        let at = Timestamp::from_micros(1_800_000_000_000_000);
        let recorded = UsageRecorded { seq: 0, from: at, to: at, groups: Vec::new() };
        let stream = Stream::Usage(NodeId::from_uuid(uuid(98)));
        self.add(stream, Some((organization(tenant), None)), Event::UsageRecorded(recorded));
    }

    /// Commits to the ends of all streams.
    pub(super) fn commit(&mut self) {
        let size = self.entries.len() as u64;
        let mut map = Map::default();
        for (stream, head) in &self.ends {
            map.set(stream, head);
        }
        let committed =
            HeadsCommitted { tree_size: size, streams: map.len() as u64, root: Hex32(map.root()) };
        self.commitments.push((size, self.ends.clone()));
        self.add(Self::log(), None, Event::HeadsCommitted(committed));
    }

    pub(super) fn add(
        &mut self,
        stream: Stream,
        place: Option<(OrganizationId, Option<WorkspaceId>)>,
        event: Event,
    ) {
        let number = self.entries.len() as u128;
        let end = self.ends.get(&stream.to_string());
        let envelope = Envelope {
            id: EventId::from_uuid(uuid(1_000 + number)),
            stream,
            revision: end.map_or(0, |end| end.revision + 1),
            at: Timestamp::from_micros(1_800_000_000_000_000 + i64::try_from(number).unwrap()),
            organization: place.map(|place| place.0),
            workspace: place.and_then(|place| place.1),
            actor: Actor::operator(),
            source: Source {
                ip: Some(Personal("2001:db8::7".parse().unwrap())),
                user_agent: None,
                token: None,
            },
            request: None,
            cause: None,
            outcome: Outcome::Success,
            prev: end.map(|end| end.hash),
            event,
        };
        self.push(&envelope);
    }

    /// Adds an event whatever it says.
    pub(super) fn push(&mut self, envelope: &Envelope) {
        let bytes = envelope.seal(&Keys).unwrap().bytes;
        let head = Head { revision: envelope.revision, hash: ChainHash::of(&bytes) };
        self.ends.insert(envelope.stream.to_string(), head);
        self.entries.push(bytes);
    }

    pub(super) fn checkpoint(&self, size: u64) -> Checkpoint {
        let mut frontier = Frontier::default();
        self.entries[..usize::try_from(size).unwrap()]
            .iter()
            .for_each(|entry| frontier.push(leaf_hash(entry)));
        Checkpoint::new(ORIGIN, size, frontier.root())
    }

    pub(super) fn signed(&self, size: u64) -> String {
        self.checkpoint(size).sign(&self.active()).unwrap().to_string()
    }

    fn tiles(&self) -> BTreeMap<(u8, u64), Vec<Hash>> {
        let mut all = BTreeMap::new();
        let mut row: Vec<Hash> = self.entries.iter().map(|entry| leaf_hash(entry)).collect();
        let mut level = 0;
        while !row.is_empty() {
            let chunks: Vec<Vec<Hash>> = row.chunks(256).map(<[Hash]>::to_vec).collect();
            row = chunks
                .iter()
                .filter(|chunk| chunk.len() == 256)
                .map(|chunk| combine(chunk.clone()).unwrap())
                .collect();
            all.extend(chunks.into_iter().enumerate().map(|(index, chunk)| ((level, index as u64), chunk)));
            level += 1;
        }
        all
    }

    pub(super) fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn describe(&self, scope: Scope) -> Description {
        Description {
            format: FORMAT.into(),
            origin: ORIGIN.into(),
            tree_size: self.size(),
            made_at: Timestamp::from_micros(1_800_000_000_000_000),
            scope,
            first_index: 0,
            end_index: self.size(),
            heads_size: self.commitments.last().map(|(size, _)| *size),
            from: None,
            to: None,
        }
    }

    pub(super) fn bundle(&self, scope: Scope) -> Vec<u8> {
        self.bundle_of(&self.describe(scope), None)
    }

    /// The bundle that an honest server makes, since an earlier checkpoint.
    pub(super) fn bundle_of(&self, description: &Description, since: Option<u64>) -> Vec<u8> {
        let opened: Vec<Envelope> = self.entries.iter().map(|entry| Envelope::open(entry).unwrap()).collect();
        let seen = |bytes: &[u8]| super::super::event::Seen::read(bytes, &NoDataKeys).unwrap();
        let commitment = description.heads_size;
        let wanted = |index: usize| {
            let other = match &opened[index].event {
                Event::HeadsCommitted(data) => {
                    description.scope != Scope::Log && Some(data.tree_size) != commitment
                }
                _ => false,
            };
            !other && description.holds(index as u64, &seen(&self.entries[index]))
        };
        let mut rows: BTreeMap<u64, Vec<Entry<&[u8]>>> = BTreeMap::new();
        for index in (0..self.entries.len()).filter(|index| wanted(*index)) {
            let entry = Entry { index: index as u64, bytes: self.entries[index].as_slice() };
            rows.entry(index as u64 / 256).or_default().push(entry);
        }
        let keys =
            self.signers().map(|(generation, signer)| (generation, signer.verifier().to_string())).collect();
        let previous = since.map(|since| self.signed(since));
        let signed = self.signed(self.size());
        let mut maker =
            Maker::new(description.clone(), &signed, previous.as_deref(), &keys, Arc::new(Keys)).unwrap();
        let tiles = self.tiles();
        for tile in needed(self.size(), since, rows.keys().copied()) {
            let Tile { kind: Kind::Hashes(level), index, .. } = tile else { unreachable!() };
            maker.tile(tile, &tiles[&(level, index)]);
            if let Some(entries) = rows.get(&index).filter(|_| level == 0) {
                maker.entries(tile, entries).unwrap();
            }
        }
        for (id, revision) in maker.keys_to_show() {
            let events =
                opened.iter().filter(|event| event.stream == Stream::Key(id) && event.revision <= revision);
            let revisions = events.map(|event| (event.stream, event.revision)).collect::<Vec<_>>();
            let state = self.entries.iter().map(|bytes| maker.open(bytes).unwrap());
            let state = state.filter(|event| revisions.contains(&(event.stream, event.revision)));
            let state = state.fold(None, |state, event| KeyState::fold(state, &event));
            maker.key(&state.unwrap());
        }
        let mut map = Map::default();
        if let Some((_, ends)) = self.commitments.iter().find(|(size, _)| Some(*size) == commitment) {
            for (stream, head) in ends {
                map.set(stream, head);
            }
        }
        for (stream, head) in maker.heads_to_prove() {
            let stream = stream.to_string();
            let Proof::Included(proof) = map.prove(&stream) else { panic!("{stream} is not in the map") };
            maker.head(&stream, &head, &proof).unwrap();
        }
        maker.finish(|text| super::super::note::Note::sign(text, &self.active())).unwrap();
        maker.take()
    }
}

/// What a verification comes to.
pub(super) fn verified(bundle: &[u8], trusted: &[VerifierKey], since: Option<&str>) -> Report {
    let since = since.map(|since| Earlier::read(since.as_bytes()).unwrap());
    verify(bundle, bundle, trusted, since.as_ref(), &mut |_| {}).unwrap()
}
