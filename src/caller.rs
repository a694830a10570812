//! Who calls: a management key whose secret was checked, from where, in which request.

use std::sync::Arc;

use keyledger_schema::grant::{self, Place, Right};
use keyledger_schema::{
    Actor, Grant, GrantRole, KeyId, OrganizationId, RequestId, SecretHash, Source, WorkspaceId,
};

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Hash of the secret that was presented.
    pub credential: SecretHash,
    /// The key whose secret was presented.
    pub key: KeyId,
    /// Its organization: the only one that exists for this caller.
    pub organization: OrganizationId,
    /// Where the key lives.
    pub workspace: WorkspaceId,
    /// What it may do here.
    pub grants: Arc<[Grant]>,
    /// Its address in trails.
    pub email: Arc<str>,
    /// From where it calls.
    pub source: Source,
    /// The request it calls in.
    pub request: RequestId,
}

impl Caller {
    /// Whether the caller has a right at a place of its own organization.
    pub fn may(&self, right: Right, place: Place) -> bool {
        place.organization == self.organization && grant::any_gives(&self.grants, right, place)
    }

    /// The widest role held: the first in the order of [`GrantRole::ALL`].
    pub fn widest_role(&self) -> Option<GrantRole> {
        self.grants.iter().map(|grant| grant.role).min()
    }

    /// As it stands in events.
    pub fn actor(&self) -> Actor {
        Actor::key(self.key, &self.email, self.widest_role())
    }
}
