//! Organizations and workspaces in memory, kept by the feed. There are few of them and nearly every
//! command asks for them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use keyledger_projections::{OrganizationState, WorkspaceState};
use keyledger_schema::{OrganizationId, WorkspaceId};

/// What the log says of tenants, as far as it was applied.
#[derive(Default)]
pub struct Tenants {
    organizations: RwLock<HashMap<OrganizationId, Arc<OrganizationState>>>,
    workspaces: RwLock<HashMap<WorkspaceId, Arc<WorkspaceState>>>,
}

impl Tenants {
    /// Takes over a newer state.
    pub fn organization_changed(&self, state: &OrganizationState) {
        let mut all = self.organizations.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(state.id, Arc::new(state.clone()));
    }

    /// Takes over a newer state.
    pub fn workspace_changed(&self, state: &WorkspaceState) {
        let mut all = self.workspaces.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(state.id, Arc::new(state.clone()));
    }

    /// An organization.
    pub fn organization(&self, id: OrganizationId) -> Option<Arc<OrganizationState>> {
        self.organizations.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Every organization, in the order of their ids.
    pub fn organizations(&self) -> Vec<Arc<OrganizationState>> {
        let all = self.organizations.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = all.values().cloned().collect();
        all.sort_by_key(|organization| organization.id);
        all
    }

    /// A workspace of an organization; none when it belongs to another one.
    pub fn workspace(&self, organization: OrganizationId, id: WorkspaceId) -> Option<Arc<WorkspaceState>> {
        let all = self.workspaces.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&id).filter(|workspace| workspace.organization == organization).cloned()
    }

    /// The workspaces of an organization, in the order of their ids.
    pub fn workspaces(&self, organization: OrganizationId) -> Vec<Arc<WorkspaceState>> {
        let all = self.workspaces.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> =
            all.values().filter(|workspace| workspace.organization == organization).cloned().collect();
        all.sort_by_key(|workspace| workspace.id);
        all
    }
}
