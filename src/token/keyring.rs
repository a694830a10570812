//! The public keys of all organizations, by name: what tokens are checked with.
//!
//! Kept by the feed. A change gets a new edition, by which whoever remembers that a signature was good knows that
//! it has to look again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use ed25519_dalek::VerifyingKey;
use keyledger_projections::OrganizationState;
use keyledger_schema::OrganizationId;

use super::issuer::Issuers;
use super::jwk;

/// A public key of an organization.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey {
    /// Whose it is.
    pub organization: OrganizationId,
    /// Which of its keys.
    pub generation: u32,
    /// The key.
    pub key: VerifyingKey,
    /// Whether its tokens were revoked. Then it is known only so that their holders are told.
    pub revoked: bool,
}

#[derive(Default)]
struct All {
    by_kid: HashMap<String, Arc<PublicKey>>,
    /// The names of those with a number, see [`jwk::number`].
    by_number: HashMap<u32, Vec<String>>,
    of: HashMap<OrganizationId, Vec<String>>,
}

/// See the head of this module.
pub struct Keyring {
    /// Who issues tokens here.
    pub issuers: Issuers,
    all: RwLock<All>,
    edition: AtomicU64,
}

impl Keyring {
    /// An empty one of a server with this public URL, see [`Issuers::new`].
    pub fn new(base: &str) -> Self {
        Self { issuers: Issuers::new(base), all: RwLock::default(), edition: AtomicU64::new(0) }
    }

    fn read(&self) -> RwLockReadGuard<'_, All> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of this name. A retired one has none.
    pub fn find(&self, kid: &str) -> Option<Arc<PublicKey>> {
        self.read().by_kid.get(kid).cloned()
    }

    /// The keys with this number, see [`jwk::number`]: one, hardly ever more.
    pub fn numbered(&self, number: u32) -> Vec<(String, Arc<PublicKey>)> {
        let all = self.read();
        let kids = all.by_number.get(&number).into_iter().flatten();
        kids.filter_map(|kid| all.by_kid.get(kid).map(|key| (kid.clone(), Arc::clone(key)))).collect()
    }

    /// Whether an organization has any keys here.
    pub fn has(&self, organization: OrganizationId) -> bool {
        self.read().of.get(&organization).is_some_and(|kids| !kids.is_empty())
    }

    /// The keys of an organization whose signatures count, the oldest first.
    pub fn of(&self, organization: OrganizationId) -> Vec<Arc<PublicKey>> {
        let all = self.read();
        let kids = all.of.get(&organization).into_iter().flatten();
        kids.filter_map(|kid| all.by_kid.get(kid)).filter(|key| !key.revoked).cloned().collect()
    }

    /// Changes with every change of any key, after the change can be seen.
    pub fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// Takes over the keys that an organization has now. The first time it is told of each is in the order of the log,
    /// see [`Issuers::organization_known`].
    pub fn organization_changed(&self, state: &OrganizationState) {
        self.issuers.organization_known(state.id);
        let mut now = Vec::new();
        for known in state.signing_keys.iter().filter(|key| key.retired_at.is_none()) {
            let Ok(key) = VerifyingKey::from_bytes(&known.public_key.0) else { continue };
            let revoked = known.revoked_at.is_some();
            let key = PublicKey { organization: state.id, generation: known.generation, key, revoked };
            now.push((jwk::thumbprint(&known.public_key.0), key));
        }
        let same = {
            let all = self.read();
            // Nearly all changes of organizations are about something else.
            all.of.get(&state.id).map_or(0, Vec::len) == now.len()
                && now.iter().all(|(kid, key)| all.by_kid.get(kid).is_some_and(|known| **known == *key))
        };
        if same {
            return;
        }
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        for gone in all.of.remove(&state.id).unwrap_or_default() {
            if let Some(gone_key) = all.by_kid.remove(&gone) {
                let number = jwk::number(gone_key.key.as_bytes());
                if let Entry::Occupied(mut kids) = all.by_number.entry(number) {
                    kids.get_mut().retain(|kid| *kid != gone);
                    if kids.get().is_empty() {
                        kids.remove();
                    }
                }
            }
        }
        for (kid, key) in &now {
            all.by_number.entry(jwk::number(key.key.as_bytes())).or_default().push(kid.clone());
        }
        let kids = now.iter().map(|(kid, _)| kid.clone()).collect();
        all.by_kid.extend(now.into_iter().map(|(kid, key)| (kid, Arc::new(key))));
        all.of.insert(state.id, kids);
        drop(all);
        self.edition.fetch_add(1, Ordering::Release);
    }
}
