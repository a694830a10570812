//! What the directory knows of one secret.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use keyledger_projections::{KeyState, RevokedTokens};
use keyledger_schema::grant::{Holder, Place, Right};
use keyledger_schema::resource::Resource;
use keyledger_schema::{
    Action, Environment, Grant, KeyId, OrganizationId, Scope, SecretHash, SecretRecord, Timestamp, TokenId,
    WorkspaceId,
};

use super::meter::{Identity, Meter};
use super::realm::{Realm, RoleScopes};

/// Stands for "never". Later than any moment that can be written.
const NEVER: i64 = i64::MAX;

/// What only management keys have.
#[derive(Clone, Debug)]
pub struct Management {
    /// What the key may do in Keyledger. Never empty.
    pub grants: Arc<[Grant]>,
    /// Its address in trails.
    pub email: Arc<str>,
}

impl Management {
    pub(super) fn of(state: &KeyState) -> Option<Self> {
        (!state.grants.is_empty())
            .then(|| Self { grants: state.grants.as_slice().into(), email: (&**state.email).into() })
    }
}

/// What the entries of a key share with each other and with other keys.
pub(super) struct Shared {
    pub(super) realm: Arc<Realm>,
    pub(super) scopes: Arc<[Scope]>,
    pub(super) roles: Option<Arc<[Arc<RoleScopes>]>>,
    pub(super) networks: Option<Arc<[IpNet]>>,
    pub(super) management: Option<Arc<Management>>,
    pub(super) meter: Option<Arc<Meter>>,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) revoked_tokens: Option<Arc<RevokedTokens>>,
}

/// One secret of a key: immutable, replaced whole when the key changes.
pub struct Entry {
    pub(super) hash: SecretHash,
    /// The key.
    pub key: KeyId,
    /// Its tenant, shared with all keys of it.
    pub(super) realm: Arc<Realm>,
    /// Where it lives.
    pub workspace: WorkspaceId,
    /// Revision of the key's stream that this state is of.
    pub revision: u64,
    /// Shared with other keys.
    pub scopes: Arc<[Scope]>,
    roles: Option<Arc<[Arc<RoleScopes>]>>,
    networks: Option<Arc<[IpNet]>>,
    management: Option<Arc<Management>>,
    meter: Option<Arc<Meter>>,
    identity: Option<Arc<Identity>>,
    revoked_tokens: Option<Arc<RevokedTokens>>,
    expires_micros: i64,
    valid_until_micros: i64,
    /// Which of the key's secrets this is.
    pub secret_version: u32,
    /// Where the key may be used.
    pub environment: Environment,
    /// Its expiry stands in the log: no clock undoes it.
    pub expiry_recorded: bool,
    /// Switched off.
    pub disabled: bool,
    /// Out of use for good.
    pub revoked: bool,
}

/// Shows which key and which secret, not what identifies the secret.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("secret_version", &self.secret_version)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

fn moment(micros: i64) -> Option<Timestamp> {
    (micros != NEVER).then(|| Timestamp::from_micros(micros))
}

impl Entry {
    /// The entries of a key: its current secret, and the one before while a rotation overlaps.
    pub(super) fn all_of(state: &KeyState, shared: &Shared) -> impl Iterator<Item = Self> {
        let entry = |record: &SecretRecord, valid_until: Option<Timestamp>| Self {
            hash: record.hash,
            key: state.id,
            realm: Arc::clone(&shared.realm),
            workspace: state.workspace,
            revision: state.revision,
            scopes: Arc::clone(&shared.scopes),
            roles: shared.roles.clone(),
            networks: shared.networks.clone(),
            management: shared.management.clone(),
            meter: shared.meter.clone(),
            identity: shared.identity.clone(),
            revoked_tokens: shared.revoked_tokens.clone(),
            expires_micros: state.expires_at.map_or(NEVER, Timestamp::micros),
            valid_until_micros: valid_until.map_or(NEVER, Timestamp::micros),
            secret_version: record.version,
            environment: state.environment,
            expiry_recorded: state.expiry_recorded,
            disabled: state.disabled,
            revoked: state.revoked.is_some(),
        };
        let current = entry(&state.secret.record, None);
        let previous = state
            .previous_secret
            .as_ref()
            .map(|previous| entry(&previous.record, Some(previous.valid_until)));
        std::iter::once(current).chain(previous)
    }

    /// Its tenant.
    pub fn organization(&self) -> OrganizationId {
        self.realm.organization
    }

    /// What all keys of its tenant share.
    pub fn realm(&self) -> &Realm {
        &self.realm
    }

    /// Whether one of its scopes, or of those that its roles have now, covers this.
    pub fn covers(&self, action: Action, resource: Resource<'_>) -> bool {
        self.scopes.iter().any(|scope| scope.covers(action, resource))
            || self.roles.iter().flat_map(|roles| roles.iter()).any(|role| role.covers(action, resource))
    }

    /// Whether one of its scopes, or of those that its roles have now, allows all that another scope allows.
    pub fn includes(&self, scope: &Scope) -> bool {
        let of_roles = |role: &Arc<RoleScopes>| role.scopes().iter().any(|own| own.includes(scope));
        self.scopes.iter().any(|own| own.includes(scope))
            || self.roles.iter().flat_map(|roles| roles.iter()).any(of_roles)
    }

    /// Its scopes and those that its roles have now, sorted and without repetitions.
    pub fn all_scopes(&self) -> Vec<Scope> {
        let roles = self.roles.iter().flat_map(|roles| roles.iter());
        let of_roles = roles.flat_map(|role| role.scopes().to_vec());
        let mut all: Vec<Scope> = self.scopes.iter().cloned().chain(of_roles).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// From this moment on the key is expired.
    pub fn expires_at(&self) -> Option<Timestamp> {
        moment(self.expires_micros)
    }

    /// Whether the key is past its expiry date.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expiry_recorded || self.expires_micros <= now.micros()
    }

    /// From this moment on this secret is no longer one of the key's. None for the current secret.
    pub fn secret_expires_at(&self) -> Option<Timestamp> {
        moment(self.valid_until_micros)
    }

    /// Whether the overlap that kept this secret valid is over.
    pub fn secret_ended(&self, now: Timestamp) -> bool {
        self.valid_until_micros <= now.micros()
    }

    /// Where the key may be used from; everywhere when empty.
    pub fn networks(&self) -> &[IpNet] {
        self.networks.as_deref().unwrap_or_default()
    }

    /// What a management key has; none for any other key.
    pub fn management(&self) -> Option<&Management> {
        self.management.as_deref()
    }

    /// What the key may do in Keyledger.
    pub fn grants(&self) -> &[Grant] {
        self.management.as_ref().map_or(&[], |management| &management.grants)
    }

    /// As somebody who holds grants.
    pub fn holder(&self) -> Holder<'_> {
        Holder { organization: self.organization(), grants: self.grants() }
    }

    /// Whether it has a right on another key.
    pub fn may(&self, right: Right, other: &Self) -> bool {
        let holder = self.holder();
        let place = other.place();
        // Nearly always both are of one organization, and nobody above it matters.
        holder.may(right, place, &[])
            || self.organization() != other.organization() && holder.may(right, place, &other.realm.above())
    }

    /// Where the key lives.
    pub fn place(&self) -> Place {
        Place { organization: self.organization(), workspace: Some(self.workspace) }
    }

    /// What it spends; none for a key that has neither rate limits nor credits.
    pub fn meter(&self) -> Option<&Arc<Meter>> {
        self.meter.as_ref()
    }

    /// The identity that it belongs to.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// Whether a token of the key was revoked that was made in this epoch.
    pub fn has_revoked(&self, token: TokenId, epoch: u32) -> bool {
        self.revoked_tokens.as_ref().is_some_and(|revoked| revoked.contains(token, epoch))
    }

    /// How often all tokens of the key were revoked: what tokens say that are made now.
    pub fn epoch(&self) -> u32 {
        self.revoked_tokens.as_ref().map_or(0, |revoked| revoked.epoch)
    }

    /// Memory of the parts that only some keys have, in bytes. What two entries of a key share counts twice.
    pub(super) fn rare_bytes(&self) -> usize {
        let management = self.management.as_ref().map_or(0, |management| {
            size_of::<Management>()
                + size_of_val::<[Grant]>(&management.grants)
                + management.email.len()
                + 3 * 24
        });
        let revoked = self
            .revoked_tokens
            .as_ref()
            .map_or(0, |revoked| size_of::<RevokedTokens>() + size_of_val::<[_]>(&revoked.single) + 24);
        management + revoked + self.meter.as_ref().map_or(0, |meter| meter.bytes())
    }
}
