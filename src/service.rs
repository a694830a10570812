//! Commands: load, decide, seal, append, wait until applied, answer.
//!
//! Architecture invariant: every change of anything goes through [`Service`], and the only effect that it
//! has is an append to the log. It answers after the events are durable and after this node applied
//! them, so that no verification and no query on this node sees the state before. A refused command is
//! an event too; when that event cannot be written, the caller is told that instead.

pub mod founding;
pub mod keys;
pub mod node;
mod refusals;
mod timer;
mod writer;

use std::sync::Arc;

use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{Actor, Envelope, EventId, NodeId, RequestId, Source, Stream, Timestamp, WorkspaceId};

use crate::caller::Caller;
use crate::decisions::Warning;
use crate::edge::Edge;
use crate::error::{Code, Error, Result};
use crate::readmodel::ReadModel;
use crate::secret::{Idempotency, MasterKey, SecretHasher};
use crate::store::{EventStore, Position};
use crate::tenants::Tenants;

pub use keys::{KeyWritten, NewKey, NewSecret};

/// Everything a command needs.
pub struct Service {
    store: Arc<dyn EventStore>,
    read_model: Arc<ReadModel>,
    tenants: Arc<Tenants>,
    edge: Edge,
    master: MasterKey,
    hasher: SecretHasher,
    idempotency: Idempotency,
    node: NodeId,
    refusals: refusals::Heads,
    queues: keys::Queues,
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
    pub fn new(
        store: Arc<dyn EventStore>,
        read_model: Arc<ReadModel>,
        tenants: Arc<Tenants>,
        edge: Edge,
        master: MasterKey,
        node: NodeId,
    ) -> Self {
        let (hasher, idempotency) = (master.secret_hasher(), master.idempotency());
        let (refusals, queues) = (refusals::Heads::default(), keys::Queues::default());
        Self { store, read_model, tenants, edge, master, hasher, idempotency, node, refusals, queues }
    }

    /// The log.
    pub fn store(&self) -> &Arc<dyn EventStore> {
        &self.store
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

    /// Refuses a caller who lacks a right. Somebody who may not even see the place is told that it does
    /// not exist.
    pub fn require(&self, caller: &Caller, right: Right, place: Place) -> Result<()> {
        if caller.may(right, place) {
            return Ok(());
        }
        Err(Error::new(
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
        ))
    }

    /// The workspaces that a caller has a right on: none for all of the organization.
    pub fn sight(&self, caller: &Caller, right: Right) -> Result<Option<Vec<WorkspaceId>>> {
        let organization = Place { organization: caller.organization, workspace: None };
        if caller.may(right, organization) {
            return Ok(None);
        }
        let seen: Vec<WorkspaceId> = self
            .tenants
            .workspaces(caller.organization)
            .iter()
            .map(|workspace| workspace.id)
            .filter(|&id| caller.may(right, Place { workspace: Some(id), ..organization }))
            .collect();
        if seen.is_empty() {
            self.require(caller, right, organization)?;
        }
        Ok(Some(seen))
    }
}

/// The name of a stream that a place's refusals go to.
fn audit_stream(caller: &Caller) -> Stream {
    Stream::Audit(caller.organization)
}
