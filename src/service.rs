//! Commands: load, decide, seal, append, wait until applied, answer.
//!
//! Architecture invariant: every change of anything goes through [`Service`], and the only effect that it
//! has is an append to the log. It answers after the events are durable and after this node applied
//! them, so that no verification and no query on this node sees the state before. A refused command is
//! an event too; when that event cannot be written, the caller is told that instead.

mod addresses;
mod aggregate;
pub mod analytics;
pub mod bundles;
pub mod completeness;
pub mod compliance;
pub mod credits;
pub mod erasure;
pub mod exports;
pub mod founding;
mod history;
pub mod holders;
pub mod identities;
pub mod import;
pub mod keys;
pub mod log_keys;
pub mod node;
pub mod organizations;
mod places;
pub mod reads;
mod refusals;
pub mod repetitions;
pub mod reports;
pub mod revocations;
mod signing_keys;
mod timer;
mod tokens;
pub mod told;
pub mod transparency;
mod workspaces;
mod writer;

use std::sync::Arc;

use keyledger_schema::grant::{Holder, Place, Right};
use keyledger_schema::{
    Actor, Envelope, EventId, IdentityId, KeyId, NodeId, OrganizationId, RequestId, SecretHash, Source,
    Timestamp, WorkspaceId,
};
use tokio::sync::{Mutex, RwLock, Semaphore};

use crate::caller::Caller;
use crate::decisions::Warning;
use crate::edge::Edge;
use crate::error::{Code, Error, Result};
use crate::readmodel::ReadModel;
use crate::secret::{Idempotency, MasterKey, SecretHasher};
use crate::sequencer::TreeLog;
use crate::store::{EventStore, Position};
use crate::tenants::Tenants;
use crate::vault::Vault;

pub use aggregate::Seen;
pub use credits::Balances;
pub use identities::IdentityWritten;
pub use keys::{KeyWritten, NewKey, NewSecret};
pub use organizations::OrganizationWritten;
pub use revocations::Revocation;
pub(crate) use writer::unopened;

/// Tells which key has a secret with a hash, as far as this node applied the log.
pub type KeyOf = Arc<dyn Fn(&SecretHash) -> Option<KeyId> + Send + Sync>;

/// How many bundles of entries are read at once.
const ENTRY_BUNDLES: usize = 4;

/// Everything a command needs.
pub struct Service {
    store: Arc<dyn EventStore>,
    read_model: Arc<ReadModel>,
    tenants: Arc<Tenants>,
    key_of: KeyOf,
    balances: Arc<dyn Balances>,
    edge: Edge,
    vault: Arc<Vault>,
    master: MasterKey,
    hasher: SecretHasher,
    idempotency: Idempotency,
    node: NodeId,
    refusals: refusals::Heads,
    repetitions: repetitions::Repetitions,
    reads: reads::Lately,
    queues: keys::Queues,
    places: places::Queues,
    running: revocations::Running,
    exports: exports::Running,
    key_events: Mutex<bundles::KeyEvents>,
    committing: completeness::Running,
    /// Whoever takes away an administrator holds this until that is applied.
    administrators: Mutex<()>,
    /// Whoever gives a key a role or an identity holds this shared, and whoever deletes one alone.
    holding_gate: RwLock<()>,
    /// Whoever changes how organizations stand to each other holds this.
    organization_turn: Mutex<()>,
    tree: Option<Arc<TreeLog>>,
    /// Bundles of entries that are read at once, of up to 15 MiB each.
    entry_bundles: Semaphore,
}

/// In whose name and in which request events are written.
#[derive(Clone, Debug)]
pub struct Context {
    /// Who.
    pub actor: Actor,
    /// From where.
    pub source: Source,
    /// In which request.
    pub request: Option<RequestId>,
    /// Because of which event.
    pub cause: Option<EventId>,
    /// When.
    pub at: Timestamp,
}

/// An event that was just written.
#[derive(Clone, Debug)]
pub struct WrittenEvent {
    /// The event.
    pub envelope: Envelope,
    /// The stored bytes.
    pub bytes: Arc<[u8]>,
    /// Where it stands in the log; only known for the last event of an append.
    pub position: Option<Position>,
}

/// Keys as an answer shows them.
pub type WrittenKeys = Vec<keyledger_projections::KeyState>;

/// The answer to a command.
#[derive(Clone, Debug)]
pub struct Written<T> {
    /// What the command was about, as it is now.
    pub state: T,
    /// The events it wrote.
    pub events: Vec<WrittenEvent>,
    /// What the caller should know.
    pub warnings: Vec<Warning>,
}

impl Service {
    /// Ties the parts together.
    #[allow(clippy::too_many_arguments, reason = "each part is another")]
    pub fn new(
        store: Arc<dyn EventStore>,
        read_model: Arc<ReadModel>,
        tenants: Arc<Tenants>,
        key_of: KeyOf,
        balances: Arc<dyn Balances>,
        (edge, vault, master): (Edge, Arc<Vault>, MasterKey),
        node: NodeId,
    ) -> Self {
        let (hasher, idempotency) = (master.secret_hasher(), master.idempotency());
        Self {
            store,
            read_model,
            tenants,
            key_of,
            balances,
            edge,
            vault,
            master,
            hasher,
            idempotency,
            node,
            refusals: refusals::Heads::default(),
            repetitions: repetitions::Repetitions::default(),
            reads: reads::Lately::default(),
            queues: keys::Queues::default(),
            places: places::Queues::default(),
            running: revocations::Running::default(),
            exports: exports::Running::default(),
            key_events: Mutex::default(),
            committing: completeness::Running::default(),
            administrators: Mutex::default(),
            holding_gate: RwLock::default(),
            organization_turn: Mutex::default(),
            tree: None,
            entry_bundles: Semaphore::new(ENTRY_BUNDLES),
        }
    }

    /// The same with a tree over the log.
    #[must_use]
    pub fn with_tree(self, tree: Arc<TreeLog>) -> Self {
        Self { tree: Some(tree), ..self }
    }

    /// The log.
    pub fn store(&self) -> &Arc<dyn EventStore> {
        &self.store
    }

    /// The data keys that personal data is read with.
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// What queries read.
    pub fn read_model(&self) -> &Arc<ReadModel> {
        &self.read_model
    }

    /// Organizations and workspaces.
    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.edge.now()
    }

    fn context(&self, caller: &Caller) -> Context {
        Context {
            actor: caller.actor(),
            source: caller.source.clone(),
            request: Some(caller.request),
            cause: None,
            at: self.edge.now(),
        }
    }

    fn own_context(&self) -> Context {
        Context {
            actor: Actor::node(self.node),
            source: Source::default(),
            request: None,
            cause: None,
            at: self.edge.now(),
        }
    }

    /// Whether a caller has a right at a place.
    pub fn may(&self, caller: &Caller, right: Right, place: Place) -> bool {
        self.tenants.may(caller.holder(), right, place)
    }

    /// Whether a caller may know that a place exists: it has any right there but to verify.
    pub fn sees(&self, caller: &Caller, place: Place) -> bool {
        self.tenants.sees(caller.holder(), place)
    }

    /// Refuses a caller who lacks a right. Somebody who may not even see the place is told that it does
    /// not exist.
    pub fn require(&self, caller: &Caller, right: Right, place: Place) -> Result<()> {
        if self.may(caller, right, place) { Ok(()) } else { Err(lacking(right)) }
    }

    /// The workspaces of an organization that a caller has a right on: none for all of them.
    pub fn sight(
        &self,
        caller: &Caller,
        right: Right,
        organization: OrganizationId,
    ) -> Result<Option<Vec<WorkspaceId>>> {
        self.sight_of(caller.holder(), right, organization)
    }

    fn sight_of(
        &self,
        holder: Holder<'_>,
        right: Right,
        organization: OrganizationId,
    ) -> Result<Option<Vec<WorkspaceId>>> {
        let whole = Place { organization, workspace: None };
        if self.tenants.may(holder, right, whole) {
            return Ok(None);
        }
        let seen: Vec<WorkspaceId> = self
            .tenants
            .workspaces(organization)
            .iter()
            .map(|workspace| workspace.id)
            .filter(|&id| self.tenants.may(holder, right, Place { workspace: Some(id), ..whole }))
            .collect();
        if seen.is_empty() {
            return Err(lacking(right));
        }
        Ok(Some(seen))
    }

    /// The organization that a list is about: the one that is named, else that of the workspace that is named,
    /// else the caller's own.
    pub fn organization_of_list(
        &self,
        caller: &Caller,
        organization: Option<OrganizationId>,
        workspace: Option<WorkspaceId>,
        fields: (&'static str, &'static str),
    ) -> Result<OrganizationId> {
        let Some(workspace) = workspace else {
            return self.organization_in_sight(caller, organization, fields.0);
        };
        let place = self
            .tenants
            .workspace(workspace)
            .map(|known| Place { organization: known.organization, workspace: Some(workspace) })
            .filter(|place| self.sees(caller, *place))
            .filter(|place| organization.is_none_or(|named| named == place.organization));
        place.map(|place| place.organization).ok_or_else(|| Error::not_found(fields.1, "workspace"))
    }

    /// An organization that a query is about: the caller's own if none is named, and none that the caller
    /// may not know of.
    pub fn organization_in_sight(
        &self,
        caller: &Caller,
        wanted: Option<OrganizationId>,
        field: &'static str,
    ) -> Result<OrganizationId> {
        let organization = wanted.unwrap_or(caller.organization);
        let known =
            organization == caller.organization
                || self.sees(caller, Place { organization, workspace: None })
                || self.tenants.workspaces(organization).iter().any(|workspace| {
                    self.sees(caller, Place { organization, workspace: Some(workspace.id) })
                });
        if known { Ok(organization) } else { Err(Error::not_found(field, "organization")) }
    }

    /// Refuses a key or an identity whose trail somebody wants to read, if there is none in this organization or none
    /// that the caller may know of; whoever asks cannot tell the two apart. Gives the workspace of the key.
    pub async fn trail_in_sight(
        &self,
        caller: &Caller,
        organization: OrganizationId,
        key: Option<KeyId>,
        identity: Option<IdentityId>,
    ) -> Result<Option<WorkspaceId>> {
        let failed = |error| keys::query_failed(&error);
        if let Some(id) = identity {
            let state = self.read_model.identity(id).await.map_err(failed)?;
            // Whoever may read anything of an organization may know of its identities.
            let known = state.is_some_and(|state| state.organization == organization);
            return if known { Ok(None) } else { Err(Error::not_found("identityId", "identity")) };
        }
        let Some(id) = key else { return Ok(None) };
        let row = self.read_model.key(id).await.map_err(failed)?;
        let place = row.map(|row| keys::place_of(&row.state));
        let place = place.filter(|place| place.organization == organization && self.sees(caller, *place));
        let place = place.ok_or_else(|| Error::not_found("keyId", "key"))?;
        self.require(caller, Right::ReadTrail, place)?;
        Ok(place.workspace)
    }
}

/// What whoever lacks a right is told.
fn lacking(right: Right) -> Error {
    Error::new(
        Code::Forbidden,
        match right {
            Right::ManageOrganization => "this needs a grant as organization administrator",
            Right::ManageKeys => {
                "this needs a grant as organization administrator, workspace owner or workspace manager"
            }
            Right::ReadKeys => "this needs a grant that allows reading keys, such as viewer",
            Right::ReadTrail => "this needs a grant that allows reading trails, such as auditor",
            Right::Verify => "this needs a grant as verifier",
        },
    )
}
