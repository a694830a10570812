//! Bundles for auditors, made as they are read.
//!
//! Invariants: the event that tells of a bundle is durable before its first byte is handed out. Only entries that the
//! caller may read are asked for, and each is checked again against the scope before it is written. What is held is
//! one tile of entries and some three hundred bytes for each stream, however much follows.

mod making;
mod within;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{AuditExported, Event, ExportFormat, Exported};
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{
    EventId, KeyId, LogId, OrganizationId, Personal, Stream, Subject, Timestamp, WorkspaceId,
};

use self::within::Within;
use super::Service;
use super::exports::Turn;
use super::keys::query_failed;
use super::told::Told;
use crate::audit::bundle::{Description, FORMAT, Maker, MakerError, Scope, needed};
use crate::audit::heads::{Excerpt, Head};
use crate::audit::note::{self, Signer};
use crate::audit::tile::{Kind, Tile};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::readmodel::{EntryQuery, MAX_PAGE, Sequence, Window};
use crate::sequencer::{Signed, TreeLog};
use crate::store::Direction;

/// How often it is tried to prove the ends of all streams at once while new ones begin.
const ATTEMPTS: u32 = 8;
/// How many events of a stream are read at once.
const PAGE: usize = 500;
/// What the streams begin with that are whole in a bundle, but for the one `audit-` stream of an organization, which
/// begins with whatever comes first.
const BEGINNINGS: [&str; 4] = ["organization.created", "workspace.created", "identity.created", "key.issued"];

/// What is to be bundled: exactly one of a key, a workspace and an organization.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BundleAsked {
    /// The trail of this key.
    pub key: Option<KeyId>,
    /// What happened in this workspace.
    pub workspace: Option<WorkspaceId>,
    /// What happened in this organization.
    pub organization: Option<OrganizationId>,
    /// What was recorded from this moment on.
    pub from: Option<Timestamp>,
    /// What was recorded before this moment.
    pub to: Option<Timestamp>,
    /// The size of an earlier tree whose consistency shall be shown.
    pub since: Option<u64>,
    /// Whether names, addresses and comments may be read.
    pub personal_data: bool,
}

impl BundleAsked {
    fn told(&self) -> String {
        let mut told = Told::default();
        told.tell("keyId", self.key);
        told.tell("workspaceId", self.workspace);
        told.tell("organizationId", self.organization);
        told.tell("from", self.from);
        told.tell("to", self.to);
        told.tell("since", self.since);
        told.tell("personalData", (!self.personal_data).then_some(false));
        told.text()
    }
}

/// What the log remembers of its own keys, as far as its stream was read.
#[derive(Default)]
pub(super) struct KeyEvents {
    next: u64,
    found: Vec<(EventId, Arc<[u8]>)>,
}

/// What is written next.
enum Step {
    Entries(Box<EntryQuery>),
    Above(VecDeque<Tile>),
    Keys(Box<std::collections::btree_map::IntoIter<KeyId, u64>>),
    Heads(std::vec::IntoIter<(Stream, Head)>),
    Done,
}

/// A bundle that has begun.
pub struct Bundle {
    service: Arc<Service>,
    tree: Arc<TreeLog>,
    maker: Maker,
    description: Description,
    since: Option<u64>,
    signers: Vec<Signer>,
    step: Step,
    /// Entries of the log itself that are still to come, by their log indexes.
    own: VecDeque<u64>,
    /// Tiles of level 0 at the edges that are still to come.
    edges: VecDeque<u64>,
    /// Entries of the tile that is being collected.
    waiting: BTreeSet<u64>,
    tiles: Vec<u64>,
    ends: Option<Excerpt>,
    within: Arc<Within>,
    /// Subjects whose data keys were thought of.
    considered: HashSet<Subject>,
    personal_data: bool,
    _turn: Turn,
}

/// What goes wrong between here and the log, told to whoever reads the server's log.
fn broken(error: &dyn std::fmt::Display) -> Error {
    tracing::error!(%error, "a bundle cannot be made");
    Error::unavailable("the log cannot be read now; try again, and tell the operator if it lasts")
}

#[allow(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn unmade(error: MakerError) -> Error {
    broken(&error)
}

impl Service {
    /// The scope that is asked for, if the caller may read all of it.
    async fn scope_of_bundle(&self, caller: &Caller, asked: &BundleAsked) -> Result<(Scope, Place)> {
        let BundleAsked { key, workspace, organization, .. } = *asked;
        let (scope, place) = match (key, workspace, organization) {
            (Some(key_id), None, None) => {
                let row = self.read_model.key(key_id).await.map_err(|error| query_failed(&error))?;
                let place = row.map(|row| super::keys::place_of(&row.state));
                let place = place.filter(|place| self.sees(caller, *place));
                let place = place.ok_or_else(|| Error::not_found("keyId", "key"))?;
                (Scope::Key { organization_id: place.organization, key_id }, place)
            }
            (None, Some(workspace_id), None) => {
                let known = self.tenants.workspace(workspace_id);
                let place = known
                    .map(|known| Place { organization: known.organization, workspace: Some(workspace_id) });
                let place = place.filter(|place| self.sees(caller, *place));
                let place = place.ok_or_else(|| Error::not_found("workspaceId", "workspace"))?;
                (Scope::Workspace { organization_id: place.organization, workspace_id }, place)
            }
            (None, None, Some(organization)) => {
                let organization =
                    self.organization_in_sight(caller, Some(organization), "organizationId")?;
                let place = Place { organization, workspace: None };
                (Scope::Organization { organization_id: organization }, place)
            }
            _ => {
                return Err(Error::invalid(
                    "keyId",
                    "name exactly one of keyId, workspaceId and organizationId",
                ));
            }
        };
        self.require(caller, Right::ReadTrail, place)?;
        Ok((scope, place))
    }

    /// Begins a bundle: checks what is asked, and writes down that it begins.
    pub async fn bundle(self: &Arc<Self>, caller: &Caller, asked: BundleAsked) -> Result<Bundle> {
        if asked.from.zip(asked.to).is_some_and(|(from, to)| from >= to) {
            return Err(Error::invalid("to", "the end is not after the beginning; give a later one"));
        }
        let (scope, place) = self.scope_of_bundle(caller, &asked).await?;
        let turn = self.exports.begin(place.organization, caller.key)?;
        let tree = Arc::clone(self.tree()?);
        // Committed first, so that the tree has the commitment.
        let ends = if asked.to.is_some() { None } else { self.heads_of(&scope).await? };
        let signed = self.checkpoint(caller).await?;
        let size = signed.checkpoint.size;
        if asked.since.is_some_and(|since| since > size) {
            let message = format!("the tree has {size} entries; give the size of an earlier checkpoint");
            return Err(Error::invalid("since", message));
        }
        let query = query_of(&scope);
        let first = match asked.from {
            Some(from) => self.index_at(&query, from).await?.map_or(size, |index| index.min(size)),
            None => 0,
        };
        let end = match asked.to {
            Some(to) => self.index_at(&query, to).await?.map_or(size, |index| index.min(size)),
            None => size,
        };
        let mut own: BTreeSet<u64> = self.key_events(size).await?.into_iter().collect();
        let (heads_size, ends) = match ends {
            Some((index, heads_size, ends)) if index < size => {
                own.insert(index);
                (Some(heads_size), Some(ends))
            }
            _ => (None, None),
        };
        let description = Description {
            format: FORMAT.into(),
            origin: signed.checkpoint.origin.clone(),
            tree_size: size,
            made_at: self.now(),
            scope,
            first_index: first,
            end_index: end.max(first),
            heads_size,
            from: asked.from,
            to: asked.to,
        };
        let within = Arc::new(Within::new(Arc::clone(&self.vault)));
        let (maker, signers) = self.maker(&description, &tree, &signed, Arc::clone(&within))?;
        let event = Event::AuditExported(AuditExported {
            what: Exported::Bundle,
            format: ExportFormat::Tar,
            filter: Personal(asked.told().into()),
        });
        self.note(&self.context(caller), place, event, Outcome::Success).await?;
        let at_level_0 = |tile: &Tile| (tile.kind == Kind::Hashes(0)).then_some(tile.index);
        Ok(Bundle {
            service: Arc::clone(self),
            tree,
            maker,
            since: asked.since,
            signers,
            step: Step::Entries(Box::new(query)),
            own: own.into_iter().collect(),
            edges: needed(size, asked.since, []).iter().filter_map(at_level_0).collect(),
            waiting: BTreeSet::new(),
            tiles: Vec::new(),
            ends,
            description,
            within,
            considered: HashSet::new(),
            personal_data: asked.personal_data,
            _turn: turn,
        })
    }

    fn maker(
        &self,
        description: &Description,
        tree: &TreeLog,
        signed: &Signed,
        within: Arc<Within>,
    ) -> Result<(Maker, Vec<Signer>)> {
        let state = tree.keys();
        let keys: BTreeMap<u32, String> =
            state.keys.iter().map(|key| (key.generation, key.verifier_key.to_string())).collect();
        let log = LogId::from_uuid(self.store.log_id());
        let signers: std::result::Result<Vec<Signer>, note::Error> = state
            .active()
            .map(|key| Signer::new(&description.origin, self.master.log_key(log, key.generation)))
            .collect();
        let signers = signers.map_err(|error| broken(&error))?;
        let maker = Maker::new(description.clone(), &signed.note, None, &keys, within).map_err(unmade)?;
        Ok((maker, signers))
    }

    /// The log index of the first entry that was recorded at a moment or later.
    async fn index_at(&self, query: &EntryQuery, at: Timestamp) -> Result<Option<u64>> {
        let query = EntryQuery { from: Some(at), window: Window::first(1), ..query.clone() };
        let page = self.read_model.entries(query).await.map_err(|error| query_failed(&error))?;
        Ok(page.items.first().map(|item| item.node.log_index))
    }

    /// Where the events about the log's keys stand in a tree of a size.
    async fn key_events(&self, size: u64) -> Result<Vec<u64>> {
        let stream = Stream::Log(LogId::from_uuid(self.store.log_id())).to_string();
        let mut known = self.key_events.lock().await;
        loop {
            let events = self.store.read_stream(&stream, Some(known.next), Direction::Forward, PAGE).await;
            let events = events.map_err(|error| broken(&error))?;
            let Some(last) = events.last() else { break };
            known.next = last.revision + 1;
            let about_keys = events.iter().filter(|event| event.event_type.starts_with("log.key_"));
            known
                .found
                .extend(about_keys.map(|event| (EventId::from_uuid(event.id), Arc::clone(&event.bytes))));
        }
        let mut found = Vec::new();
        for (id, _) in &known.found {
            let entry = self.read_model.entry(*id).await.map_err(|error| query_failed(&error))?;
            found.extend(entry.map(|entry| entry.log_index).filter(|index| *index < size));
        }
        Ok(found)
    }

    /// Where the streams of a scope end: the log index of the commitment, the size of the log that it is about, and what
    /// proves it. None if nothing begins in the scope.
    async fn heads_of(&self, scope: &Scope) -> Result<Option<(u64, u64, Excerpt)>> {
        let mut query = EntryQuery { types: BEGINNINGS.map(str::to_owned).into(), ..query_of(scope) };
        let mut streams: Vec<Stream> =
            self.begun(scope, &mut query).await?.into_iter().map(|(stream, _)| stream).collect();
        if let Scope::Organization { organization_id } = *scope {
            streams.push(Stream::Audit(organization_id));
        }
        if streams.is_empty() {
            return Ok(None);
        }
        for _ in 0..ATTEMPTS {
            let (index, size, ends) = self.ends_of(streams.clone()).await?;
            // A stream may have begun after they were listed and before their ends were committed to.
            let more = self.begun(scope, &mut query).await?;
            if more.iter().all(|(_, begun)| *begun >= size) {
                return Ok(Some((index, size, ends)));
            }
            streams.extend(more.into_iter().map(|(stream, _)| stream));
        }
        Err(Error::unavailable(
            "streams begin faster than their ends can be proved now; try again at a quieter time, or ask for a bundle up \
             to an earlier moment with to",
        ))
    }

    /// The streams of a scope that are whole in a bundle and begin where a query begins, with the log indexes of their
    /// first events. Leaves the query behind the last of them.
    async fn begun(&self, scope: &Scope, query: &mut EntryQuery) -> Result<Vec<(Stream, u64)>> {
        let mut streams = Vec::new();
        loop {
            let page = self.read_model.entries(query.clone()).await.map_err(|error| query_failed(&error))?;
            let entries =
                page.items.iter().map(|item| &item.node).filter(|entry| scope.is_whole(&entry.stream));
            streams.extend(entries.map(|entry| (entry.stream, entry.log_index)));
            if let Some(last) = page.items.last() {
                query.window = Window::First { count: MAX_PAGE, after: Some(last.cursor.clone()) };
            }
            if !page.has_next {
                return Ok(streams);
            }
        }
    }
}

/// The entries of a scope in log order.
fn query_of(scope: &Scope) -> EntryQuery {
    let (organization, workspaces, key) = match *scope {
        Scope::Key { organization_id, key_id } => (organization_id, None, Some(key_id)),
        Scope::Workspace { organization_id, workspace_id } => {
            (organization_id, Some(vec![workspace_id]), None)
        }
        Scope::Organization { organization_id } => (organization_id, None, None),
        // Nobody asks a server for the whole log.
        Scope::Log => (OrganizationId::from_uuid(uuid::Uuid::nil()), Some(Vec::new()), None),
    };
    EntryQuery {
        workspaces,
        key,
        sequence: Sequence::Ascending,
        window: Window::First { count: MAX_PAGE, after: None },
        ..EntryQuery::new(organization)
    }
}
