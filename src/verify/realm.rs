//! What the keys of one organization share: whether they work at all, who stands above, and the roles
//! that they hold.
//!
//! Entries point here, so a change of an organization or of a role takes effect on all its keys at once,
//! however many there are: one store of a few words, and no entry is touched.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use keyledger_projections::OrganizationState;
use keyledger_projections::organization::{SigningKey, signing_key};
use keyledger_schema::resource::Resource;
use keyledger_schema::{Action, OrganizationId, Policy, RoleId, Scope, Timestamp};

/// The scopes of a role, as they are now; none once it is deleted.
pub struct RoleScopes {
    id: RoleId,
    scopes: RwLock<Arc<[Scope]>>,
}

impl PartialEq for RoleScopes {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for RoleScopes {}

impl Hash for RoleScopes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl RoleScopes {
    fn new(id: RoleId) -> Self {
        Self { id, scopes: RwLock::new(Arc::default()) }
    }

    /// Whether one of the role's scopes covers this.
    pub fn covers(&self, action: Action, resource: Resource<'_>) -> bool {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        scopes.iter().any(|scope| scope.covers(action, resource))
    }

    /// All of them.
    pub fn scopes(&self) -> Arc<[Scope]> {
        Arc::clone(&self.scopes.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, scopes: Arc<[Scope]>) {
        *self.scopes.write().unwrap_or_else(PoisonError::into_inner) = scopes;
    }
}

/// What an organization's keys are exchanged for tokens by.
#[derive(Clone, Default)]
struct Tokens {
    lifetime_seconds: u32,
    keys: Arc<[SigningKey]>,
}

/// One organization.
pub struct Realm {
    /// Which one.
    pub organization: OrganizationId,
    keys_enabled: AtomicBool,
    above: RwLock<Arc<[OrganizationId]>>,
    roles: RwLock<HashMap<RoleId, Arc<RoleScopes>>>,
    tokens: RwLock<Tokens>,
}

impl Realm {
    fn new(organization: OrganizationId) -> Self {
        Self {
            organization,
            keys_enabled: AtomicBool::new(true),
            above: RwLock::default(),
            roles: RwLock::default(),
            tokens: RwLock::default(),
        }
    }

    /// Whether its keys work at all: neither it nor an organization above it has switched them off.
    pub fn keys_enabled(&self) -> bool {
        self.keys_enabled.load(Ordering::Acquire)
    }

    /// The organizations above it.
    pub fn above(&self) -> Arc<[OrganizationId]> {
        Arc::clone(&self.above.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many seconds its tokens live at most, and which of its keys signs them now; none while it has no key whose
    /// signatures count.
    pub fn signs(&self, now: Timestamp) -> Option<(u32, u32)> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        signing_key(&tokens.keys, now).map(|key| (tokens.lifetime_seconds, key.generation))
    }

    /// A role of it. One that is not known yet has no scopes until it is.
    pub(super) fn role(&self, id: RoleId) -> Arc<RoleScopes> {
        let known = self.roles.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        known.unwrap_or_else(|| {
            let mut roles = self.roles.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(roles.entry(id).or_insert_with(|| Arc::new(RoleScopes::new(id))))
        })
    }

    /// Takes over what an organization is now, and the rules that hold in it.
    pub(super) fn set(&self, state: &OrganizationState, above: &[OrganizationId], policy: &Policy) {
        for (&id, role) in &state.roles {
            self.role(id).set(role.definition.scopes.iter().map(|scope| scope.scope.clone()).collect());
        }
        let roles = self.roles.read().unwrap_or_else(PoisonError::into_inner);
        for (_, gone) in roles.iter().filter(|(id, _)| !state.roles.contains_key(id)) {
            gone.set(Arc::default());
        }
        *self.above.write().unwrap_or_else(PoisonError::into_inner) = above.into();
        let tokens =
            Tokens { lifetime_seconds: policy.token_lifetime(), keys: state.signing_keys.as_slice().into() };
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
        self.keys_enabled.store(policy.keys_enabled(), Ordering::Release);
    }
}

/// Every organization that is known.
#[derive(Default)]
pub(super) struct Realms(RwLock<HashMap<OrganizationId, Arc<Realm>>>);

impl Realms {
    /// An organization; one that is not known yet has nobody above it and its keys work.
    pub(super) fn of(&self, organization: OrganizationId) -> Arc<Realm> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&organization).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(organization).or_insert_with(|| Arc::new(Realm::new(organization))))
        })
    }
}
