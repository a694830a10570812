//! Signs the tokens of all organizations.
//!
//! An organization's private keys are derived from the master key. That costs more than a signature does, so those
//! in use are kept: in this process only, few of them, and wiped when they go.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use keyledger_schema::OrganizationId;

use crate::error::Error;
use crate::secret::MasterKey;
use crate::token::biscuit;
use crate::token::jwt::Minter;
use crate::token::{Claims, Keyring};

/// So many keys are kept. With more in use at once, some are derived again and again.
const MAX_KEPT: usize = 4_096;

type Name = (OrganizationId, u32);

/// See the head of this module.
pub struct Mint {
    /// Who issues tokens here, and the public keys that they are checked with.
    pub keyring: Arc<Keyring>,
    master: MasterKey,
    kept: RwLock<HashMap<Name, Arc<Minter>>>,
}

impl Mint {
    /// With the master key that private keys are derived from.
    pub fn new(master: MasterKey, keyring: Arc<Keyring>) -> Self {
        Self { keyring, master, kept: RwLock::default() }
    }

    fn minter(&self, name: Name) -> Arc<Minter> {
        let known = self.kept.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        known.unwrap_or_else(|| {
            let minter = Arc::new(Minter::new(self.master.signing_key(name.0, name.1)));
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= MAX_KEPT {
                kept.clear();
            }
            kept.insert(name, Arc::clone(&minter));
            minter
        })
    }

    /// A token with these claims, signed with this key of their organization.
    pub(super) fn sign(&self, claims: &Claims, generation: u32) -> Result<String, Error> {
        self.minter((claims.org, generation)).mint(claims).map_err(|error| {
            tracing::error!(%error, "a token cannot be written");
            Error::internal()
        })
    }

    /// The same as a token that its holders can narrow, see [`biscuit`]. `next` are fresh random bytes.
    pub(super) fn sign_biscuit(
        &self,
        claims: &Claims,
        generation: u32,
        next: &[u8; 32],
    ) -> Result<String, Error> {
        biscuit::mint(claims, self.minter((claims.org, generation)).key(), next).map_err(|error| {
            tracing::error!(%error, "a biscuit cannot be written");
            Error::internal()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn each_organization_and_generation_has_a_key_and_not_all_are_kept() {
        let master = MasterKey::new([3; 32]);
        let mint = Mint::new(master.clone(), Arc::new(Keyring::new("http://here")));
        let organization = |n: usize| OrganizationId::from_uuid(Uuid::from_u128(n as u128));
        for n in 0..=MAX_KEPT {
            mint.minter((organization(n), 1));
        }
        assert!(mint.kept.read().unwrap().len() <= MAX_KEPT);
        for (n, generation) in [(1, 1), (1, 2), (2, 1), (2, 1)] {
            let expected = Minter::new(master.signing_key(organization(n), generation));
            assert_eq!(mint.minter((organization(n), generation)).kid(), expected.kid());
        }
    }
}
