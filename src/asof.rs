//! A key as it was at a moment, with all that it depended on then: the roles that it held, the rules of its organization
//! and of those above, its workspace and its identity. Folded from the log; nothing is kept for it.
//!
//! What a call would have been answered then is decided by the code that decides it now, over a directory that knows
//! this one key and what it stood in. Rate limits and credits are left out: how much of them was left at a
//! moment depends on every call before it, on all nodes.

use std::collections::HashSet;
use std::sync::Arc;

use keyledger_projections::{IdentityState, KeyState};
use keyledger_schema::event::TrailPart;
use keyledger_schema::grant::Right;
use keyledger_schema::{KeyId, Timestamp, VerificationCode, WorkspaceId};

use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::service::Service;
use crate::service::keys::place_of;
use crate::service::reads::Look;
use crate::service::told::Told;
use crate::tenants::{Tenant, Tenants};
use crate::verify::decision::{Request, decide};
use crate::verify::directory::Directory;

/// What a key stood in at a moment.
pub struct Then {
    /// The moment.
    pub at: Timestamp,
    /// The key.
    pub key: Arc<KeyState>,
    /// The identity that it belonged to, if any.
    pub identity: Option<IdentityState>,
    tenants: Tenants,
}

impl Then {
    /// The key's organization, and what held in it.
    pub fn tenant(&self) -> Option<Arc<Tenant>> {
        self.tenants.tenant(self.key.organization)
    }

    /// The key's workspace.
    pub fn workspace(&self) -> Option<Arc<keyledger_projections::WorkspaceState>> {
        let id: WorkspaceId = self.key.workspace;
        self.tenants.workspace(id)
    }

    /// What a call with the key's secret of then would have been answered, rate limits and credits apart.
    pub fn answer(&self, request: &Request<'_>) -> VerificationCode {
        let directory = Directory::default();
        if let Some(identity) = &self.identity {
            directory.identity_changed(identity);
        }
        for tenant in self.tenants.all() {
            directory.organization_changed(&tenant.state, &tenant.above, &tenant.policy);
        }
        directory.apply(None, &self.key);
        match directory.find(&self.key.secret.record.hash) {
            Some(entry) => decide(&entry, None, request, self.at),
            // A deleted key is nobody's.
            None => VerificationCode::NotFound,
        }
    }
}

/// A key as it was, for whoever may read it and its trail; none if there was no such key yet. That it was looked at is
/// in the trail before.
pub async fn key(service: &Service, caller: &Caller, id: KeyId, at: Timestamp) -> Result<Option<Then>> {
    let row = service.read_model().key(id).await.map_err(|error| {
        tracing::error!(%error, "a key cannot be read");
        Error::unavailable(
            "the key cannot be read on this node; try again, and tell the operator if it lasts",
        )
    })?;
    let row = row.filter(|row| service.may(caller, Right::ReadKeys, place_of(&row.state)));
    let known = row.ok_or_else(|| Error::not_found("id", "key"))?.state;
    let place = place_of(&known);
    service.require(caller, Right::ReadTrail, place)?;
    if at > service.now() {
        return Err(Error::invalid(
            "asOf",
            "the moment is yet to come; name one that has passed, or none for now",
        ));
    }
    let then = as_of(service, id, at).await?;
    let mut filter = Told::default();
    filter.tell("asOf", Some(at));
    let look = Look { key: Some(id), filter, ..Look::at(TrailPart::KeyAsOf, place) };
    service.looked(caller, look).await?;
    Ok(then)
}

async fn as_of(service: &Service, id: KeyId, at: Timestamp) -> Result<Option<Then>> {
    let Some(key) = service.key_at(id, at).await? else { return Ok(None) };
    let tenants = Tenants::default();
    let (mut next, mut seen) = (Some(key.organization), HashSet::new());
    while let Some(organization) = next.filter(|organization| seen.insert(*organization)) {
        let Some(state) = service.organization_at(organization, at).await? else { break };
        next = state.parent;
        tenants.organization_changed(&state);
    }
    if let Some(workspace) = service.workspace_at(key.workspace, at).await? {
        tenants.workspace_changed(&workspace);
    }
    let identity = match key.identity {
        Some(identity) => service.identity_at(identity, at).await?,
        None => None,
    };
    let identity = identity.filter(|identity| identity.organization == key.organization);
    Ok(Some(Then { at, key: Arc::new(key), identity, tenants }))
}
