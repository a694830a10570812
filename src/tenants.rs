//! Organizations and workspaces in memory, kept by the feed. There are few of them and nearly every
//! command asks for them.
//!
//! Invariant: what a tenant is given by the organizations above it (rights of their administrators,
//! rules of their policies) is worked out when one of them changes, and never when it is asked for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use keyledger_projections::permissions::{self, ScopeNames};
use keyledger_projections::{Acknowledgement, KeyState, OrganizationState, WorkspaceState};
use keyledger_schema::grant::{Holder, Place, Right};
use keyledger_schema::{GrantRole, GrantTarget, KeyId, OrganizationId, Policy, Timestamp, WorkspaceId};

/// An organization with what holds in it.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The organization.
    pub state: Arc<OrganizationState>,
    /// The organizations above it, the nearest first.
    pub above: Arc<[OrganizationId]>,
    /// The rules that hold: its own and those above it.
    pub policy: Arc<Policy>,
    /// The rules that hold above it.
    pub inherited: Arc<Policy>,
    /// How its roles call scopes.
    pub scope_names: Arc<ScopeNames>,
    /// Within which time secrets must be acknowledged, for each organization up the way that says so.
    pub acknowledgement: Arc<[Acknowledgement]>,
}

impl Tenant {
    /// An organization with nobody above it.
    pub fn alone(state: OrganizationState) -> Self {
        Self {
            above: Arc::default(),
            policy: Arc::new(state.policy.clone()),
            inherited: Arc::default(),
            acknowledgement: Arc::default(),
            scope_names: Arc::new(permissions::scope_names(&state.roles)),
            state: Arc::new(state),
        }
    }
}

#[derive(Default)]
struct All {
    tenants: HashMap<OrganizationId, Arc<Tenant>>,
    below: HashMap<OrganizationId, BTreeSet<OrganizationId>>,
    workspaces: HashMap<WorkspaceId, Arc<WorkspaceState>>,
    workspaces_of: HashMap<OrganizationId, BTreeSet<WorkspaceId>>,
    /// For each organization the keys that administer it and are not out of use, and when they expire.
    administrators: HashMap<OrganizationId, HashMap<KeyId, Administrator>>,
}

/// A key that administers an organization.
#[derive(Clone, Copy)]
struct Administrator {
    /// Where the key lives.
    home: OrganizationId,
    expires_at: Option<Timestamp>,
}

/// An administrator who expires within this time is not one to rely on.
const LASTING: Duration = Duration::from_hours(24);

/// The organizations that a key administers as long as it has not expired.
fn administers(state: &KeyState) -> impl Iterator<Item = OrganizationId> {
    let usable = state.takes_a_place() && !state.disabled;
    state.grants.iter().filter(move |_| usable).filter_map(|grant| match (grant.role, grant.on) {
        (GrantRole::OrganizationAdministrator, GrantTarget::Organization(id)) => Some(id),
        _ => None,
    })
}

/// What the log says of tenants, as far as it was applied.
#[derive(Default)]
pub struct Tenants(RwLock<All>);

impl All {
    /// An organization and all below it, the upper ones first.
    fn family(&self, id: OrganizationId) -> Vec<OrganizationId> {
        let mut family = vec![id];
        // Two nodes could move two organizations below each other in the same moment.
        let mut seen = HashSet::from([id]);
        let mut next = 0;
        while let Some(id) = family.get(next) {
            next += 1;
            for &below in self.below.get(id).into_iter().flatten() {
                if seen.insert(below) {
                    family.push(below);
                }
            }
        }
        family
    }

    fn tenant(&self, state: Arc<OrganizationState>) -> Tenant {
        let mut above: Vec<OrganizationId> = Vec::new();
        let mut inherited = Policy::default();
        let mut acknowledgement = state.acknowledgement.clone();
        // What was made before it stood where it stands is not held to the rules above.
        let mut joined = state.joined_at;
        let mut next = state.parent;
        while let Some(id) = next.filter(|id| *id != state.id && !above.contains(id)) {
            above.push(id);
            let Some(parent) = self.tenants.get(&id).map(|parent| &parent.state) else { break };
            inherited = inherited.under(&parent.policy);
            let of_parent = parent.acknowledgement.iter();
            acknowledgement
                .extend(of_parent.map(|rule| Acknowledgement { from: rule.from.max(joined), ..*rule }));
            joined = joined.max(parent.joined_at);
            next = parent.parent;
        }
        Tenant {
            policy: Arc::new(state.policy.under(&inherited)),
            inherited: Arc::new(inherited),
            above: above.into(),
            acknowledgement: acknowledgement.into(),
            scope_names: Arc::new(permissions::scope_names(&state.roles)),
            state,
        }
    }
}

impl Tenants {
    fn read(&self) -> RwLockReadGuard<'_, All> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over a newer state and returns every tenant for which something is different now.
    pub fn organization_changed(&self, state: &OrganizationState) -> Vec<Arc<Tenant>> {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let all = &mut *all;
        let before = all.tenants.get(&state.id).map(|tenant| Arc::clone(&tenant.state));
        let parent_before = before.as_ref().and_then(|before| before.parent);
        let changed = Arc::new(all.tenant(Arc::new(state.clone())));
        all.tenants.insert(state.id, Arc::clone(&changed));
        if parent_before != state.parent {
            if let Some(siblings) = parent_before.and_then(|parent| all.below.get_mut(&parent)) {
                siblings.remove(&state.id);
            }
            if let Some(parent) = state.parent {
                all.below.entry(parent).or_default().insert(state.id);
            }
        }
        let mut affected = vec![changed];
        // Most changes, of names and of roles, matter to nobody below.
        let same = before.as_ref().is_some_and(|before| {
            before.parent == state.parent
                && before.policy == state.policy
                && before.acknowledgement == state.acknowledgement
        });
        if same {
            return affected;
        }
        for id in all.family(state.id).into_iter().skip(1) {
            let Some(known) = all.tenants.get(&id).map(|tenant| Arc::clone(&tenant.state)) else { continue };
            let tenant = Arc::new(all.tenant(known));
            all.tenants.insert(id, Arc::clone(&tenant));
            affected.push(tenant);
        }
        affected
    }

    /// Takes over a newer state.
    pub fn workspace_changed(&self, state: &WorkspaceState) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.workspaces_of.entry(state.organization).or_default().insert(state.id);
        all.workspaces.insert(state.id, Arc::new(state.clone()));
    }

    /// Takes over a newer state of a key, as far as it matters here. None before it says that the key is
    /// told for the first time.
    pub fn key_changed(&self, before: Option<&KeyState>, after: &KeyState) {
        // Nearly all keys have no grants, and most changes of a key do not change what it administers.
        if after.grants.is_empty() && before.is_none_or(|before| before.grants.is_empty()) {
            return;
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for organization in before.into_iter().flat_map(administers) {
            if let Some(keys) = all.administrators.get_mut(&organization) {
                keys.remove(&after.id);
            }
        }
        for organization in administers(after) {
            all.administrators
                .entry(organization)
                .or_default()
                .insert(after.id, Administrator { home: after.organization, expires_at: after.expires_at });
        }
    }

    /// Whether an organization, or one above it, has an active administrator besides a key who stays so for a
    /// day at least.
    pub fn has_administrator_besides(&self, id: OrganizationId, leaving: KeyId, now: Timestamp) -> bool {
        let all = self.read();
        let above = all.tenants.get(&id).map(|tenant| Arc::clone(&tenant.above)).unwrap_or_default();
        let lasts = |expires: Option<Timestamp>| expires.is_none_or(|at| at > now.plus(LASTING));
        std::iter::once(&id).chain(above.iter()).enumerate().any(|(level, organization)| {
            // A key acts in its own organization and below: after a move its grant may lie elsewhere.
            let reaches = |home: &OrganizationId| home == organization || above[level..].contains(home);
            all.administrators.get(organization).is_some_and(|keys| {
                keys.iter().any(|(key, of)| *key != leaving && lasts(of.expires_at) && reaches(&of.home))
            })
        })
    }

    /// An organization and what holds in it.
    pub fn tenant(&self, id: OrganizationId) -> Option<Arc<Tenant>> {
        self.read().tenants.get(&id).cloned()
    }

    /// An organization.
    pub fn organization(&self, id: OrganizationId) -> Option<Arc<OrganizationState>> {
        self.read().tenants.get(&id).map(|tenant| Arc::clone(&tenant.state))
    }

    /// Every tenant.
    pub fn all(&self) -> Vec<Arc<Tenant>> {
        self.read().tenants.values().cloned().collect()
    }

    /// Every organization, in the order of their ids.
    pub fn organizations(&self) -> Vec<Arc<OrganizationState>> {
        let mut all: Vec<_> = self.read().tenants.values().map(|tenant| Arc::clone(&tenant.state)).collect();
        all.sort_unstable_by_key(|organization| organization.id);
        all
    }

    /// Whether an organization has this part of addresses.
    pub fn slug_is_taken(&self, slug: &str) -> bool {
        self.read().tenants.values().any(|tenant| *tenant.state.slug == *slug)
    }

    /// How many organizations there are in an organization's family, itself among them, and over how many
    /// levels.
    pub fn size_of_family(&self, id: OrganizationId) -> (usize, usize) {
        let all = self.read();
        let family = all.family(id);
        let level = |id: &OrganizationId| all.tenants.get(id).map_or(0, |tenant| tenant.above.len());
        let deepest = family.iter().map(level).max().unwrap_or(0);
        (family.len(), deepest + 1 - level(&id).min(deepest))
    }

    /// An organization and all below it, in the order of their ids.
    pub fn family(&self, id: OrganizationId) -> Vec<Arc<Tenant>> {
        let all = self.read();
        let mut family: Vec<_> =
            all.family(id).iter().filter_map(|id| all.tenants.get(id).cloned()).collect();
        family.sort_unstable_by_key(|tenant| tenant.state.id);
        family
    }

    /// A workspace of whatever organization: whoever asks for another has to look.
    pub fn workspace(&self, id: WorkspaceId) -> Option<Arc<WorkspaceState>> {
        self.read().workspaces.get(&id).cloned()
    }

    /// The workspaces of an organization, in the order of their ids.
    pub fn workspaces(&self, organization: OrganizationId) -> Vec<Arc<WorkspaceState>> {
        let all = self.read();
        let ids = all.workspaces_of.get(&organization).into_iter().flatten();
        ids.filter_map(|id| all.workspaces.get(id).cloned()).collect()
    }

    /// Whether a holder of grants has a right at a place. Nobody has one where there is no organization.
    pub fn may(&self, holder: Holder<'_>, right: Right, place: Place) -> bool {
        self.tenant(place.organization).is_some_and(|tenant| holder.may(right, place, &tenant.above))
    }
}

impl Tenants {
    /// Whether a holder of grants may know that a place exists: it has any right there but to verify.
    pub fn sees(&self, holder: Holder<'_>, place: Place) -> bool {
        let Some(tenant) = self.tenant(place.organization) else { return false };
        Right::ALL.iter().any(|&right| right != Right::Verify && holder.may(right, place, &tenant.above))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn organization(n: u128) -> OrganizationId {
        OrganizationId::from_uuid(Uuid::from_u128(n))
    }

    fn state(n: u128, parent: Option<u128>, policy: Policy) -> OrganizationState {
        OrganizationState {
            id: organization(n),
            name: "a".into(),
            slug: "a".into(),
            parent: parent.map(organization),
            created_at: Timestamp::from_micros(0),
            signing_keys: Vec::new(),
            policy,
            acknowledgement: Vec::new(),
            joined_at: Timestamp::from_micros(0),
            roles: std::collections::BTreeMap::new(),
            open_revocations: Vec::new(),
            revision: 0,
        }
    }

    fn off() -> Policy {
        Policy { api_keys_enabled: Some(false), ..Policy::default() }
    }

    fn enabled(tenants: &Tenants, n: u128) -> bool {
        tenants.tenant(organization(n)).unwrap().policy.keys_enabled()
    }

    #[test]
    fn a_change_reaches_everybody_below_and_nobody_else() {
        let tenants = Tenants::default();
        for (n, parent) in [(1, None), (2, Some(1)), (3, Some(2)), (4, Some(1)), (5, None)] {
            tenants.organization_changed(&state(n, parent, Policy::default()));
        }
        let affected = tenants.organization_changed(&state(2, Some(1), off()));
        let ids: Vec<_> = affected.iter().map(|tenant| tenant.state.id).collect();
        assert_eq!(ids, [organization(2), organization(3)]);
        assert!(enabled(&tenants, 1) && !enabled(&tenants, 2) && !enabled(&tenants, 3));
        assert!(enabled(&tenants, 4) && enabled(&tenants, 5));
        // Moved away, the third no longer follows the second.
        tenants.organization_changed(&state(3, Some(4), Policy::default()));
        assert!(enabled(&tenants, 3));
        assert_eq!(&*tenants.tenant(organization(3)).unwrap().above, [organization(4), organization(1)]);
        assert_eq!(tenants.family(organization(2)).len(), 1);
    }

    #[test]
    fn organizations_may_come_in_any_order() {
        let tenants = Tenants::default();
        tenants.organization_changed(&state(3, Some(2), Policy::default()));
        tenants.organization_changed(&state(1, None, off()));
        tenants.organization_changed(&state(2, Some(1), Policy::default()));
        assert!(!enabled(&tenants, 3));
        assert_eq!(&*tenants.tenant(organization(3)).unwrap().above, [organization(2), organization(1)]);
    }

    #[test]
    fn a_loop_ends() {
        let tenants = Tenants::default();
        tenants.organization_changed(&state(1, Some(2), off()));
        tenants.organization_changed(&state(2, Some(1), Policy::default()));
        assert!(!enabled(&tenants, 1) && !enabled(&tenants, 2));
        assert_eq!(tenants.family(organization(1)).len(), 2);
    }
}
