//! The directory: from the hash of a secret to what a verification needs, and nothing more.
//!
//! It is in memory, filled at start from the read model and then kept by the projector in log order.
//! Reads are concurrent: a shard of the table is locked for the time of one probe, and what is found is
//! handed out as a shared, immutable [`Entry`]. The cost of a lookup does not grow with the keys.
//!
//! Invariants:
//! - An entry exists for the current secret of each key that is not deleted, and for the one before it
//!   while a rotation overlaps. A secret that was rotated away at once has none.
//! - Revoked, expired and disabled keys keep their entries, so that their holders are told.
//! - Entries are replaced whole, never changed in place: a reader sees one state of a key. Only what a key
//!   spends is outside of them, in a meter that all entries of the key share.
//! - A scheme of which there ever was an imported secret stays marked: only for those is it worth while to
//!   hash a text that is not one of ours.
//!
//! Architecture invariant: nothing here writes to the log, reads a clock or knows names, metadata and
//! hints of keys. No plain text of a secret ever gets here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;
use ipnet::IpNet;
use keyledger_projections::{IdentityState, KeyState, OrganizationState, Pool, PoolId, Tally};
use keyledger_schema::{
    IdentityId, KeyId, OrganizationId, Policy, RateLimit, Scope, SecretHash, SecretScheme,
};
use subtle::ConstantTimeEq;

use super::entry::Shared;
pub use super::entry::{Entry, Management};
use super::intern::{ALLOCATION_BYTES, ARC_BYTES, Interned};
use super::meter::{Identity, Meter};
use super::realm::{Realms, RoleScopes};

/// A power of two. Enough that two cores rarely meet and that growing one shard takes well below a
/// millisecond with a million keys.
const SHARDS: usize = 256;

type Shard = RwLock<HashTable<Arc<Entry>>>;

/// Finds entries by key and version of its secret: tokens name these, and not the secret's hash.
struct ByKey(Box<[Shard]>);

impl ByKey {
    fn with_share(share: usize) -> Self {
        Self((0..SHARDS).map(|_| RwLock::new(HashTable::with_capacity(share))).collect())
    }

    /// The end of a key's id is random, or a hash.
    fn probe(key: KeyId) -> u64 {
        let (_, end) = key.uuid().as_u64_pair();
        end.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn shard(&self, key: KeyId) -> &Shard {
        &self.0[usize::from(key.uuid().as_bytes()[15]) % SHARDS]
    }

    fn find(&self, key: KeyId, version: u32) -> Option<Arc<Entry>> {
        let is = |entry: &Arc<Entry>| entry.key == key && entry.secret_version == version;
        read(self.shard(key)).find(Self::probe(key), is).cloned()
    }

    fn put(&self, entry: &Arc<Entry>) {
        let mut shard = write(self.shard(entry.key));
        let is = |known: &Arc<Entry>| known.key == entry.key && known.secret_version == entry.secret_version;
        match shard.entry(Self::probe(entry.key), is, |known| Self::probe(known.key)) {
            // Redelivered.
            Slot::Occupied(slot) if slot.get().revision > entry.revision => {}
            Slot::Occupied(mut slot) => *slot.get_mut() = Arc::clone(entry),
            Slot::Vacant(slot) => {
                slot.insert(Arc::clone(entry));
            }
        }
    }

    fn remove(&self, key: KeyId, hash: &SecretHash) {
        let mut shard = write(self.shard(key));
        let is = |entry: &Arc<Entry>| entry.key == key && same(&entry.hash, hash);
        if let Ok(slot) = shard.find_entry(Self::probe(key), is) {
            slot.remove();
        }
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|shard| size_of::<Shard>() + read(shard).allocation_size()).sum()
    }
}

/// See the head of this module.
pub struct Directory {
    shards: Box<[Shard]>,
    by_key: ByKey,
    scopes: Interned<Scope>,
    networks: Interned<IpNet>,
    roles: Interned<Arc<RoleScopes>>,
    rate_limits: Interned<RateLimit>,
    realms: Realms,
    identities: RwLock<HashMap<IdentityId, Arc<Identity>>>,
    /// The meters of keys that ever had credits.
    with_credits: RwLock<HashMap<KeyId, Arc<Meter>>>,
    rare_bytes: AtomicUsize,
    out_of_date: AtomicBool,
    imported: [AtomicBool; SecretScheme::ALL.len()],
}

impl Default for Directory {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

/// The hash is a keyed BLAKE3: every bit of it is uniform and out of a client's control, so it is not
/// hashed again. The table takes these 64 bits, the shard another byte.
fn probe(hash: &SecretHash) -> u64 {
    hash.0.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// Constant in time, although timing could only tell bits of a keyed hash, which say nothing about the
/// secret to anybody without the master key.
fn same(a: &SecretHash, b: &SecretHash) -> bool {
    a.0.ct_eq(&b.0).into()
}

fn read(shard: &Shard) -> RwLockReadGuard<'_, HashTable<Arc<Entry>>> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &Shard) -> RwLockWriteGuard<'_, HashTable<Arc<Entry>>> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

/// The hashes that have an entry while the key is in this state.
fn hashes(state: &KeyState) -> impl Iterator<Item = &SecretHash> {
    let previous = state.previous_secret.as_ref().map(|previous| &previous.record.hash);
    std::iter::once(&state.secret.record.hash).chain(previous)
}

impl Directory {
    /// An empty directory with room for this many secrets.
    pub fn with_capacity(secrets: usize) -> Self {
        // Shares are not exactly even: a sixteenth more avoids growing the fullest shards at load.
        let share = if secrets == 0 { 0 } else { (secrets + secrets / 16).div_ceil(SHARDS) };
        Self {
            shards: (0..SHARDS).map(|_| RwLock::new(HashTable::with_capacity(share))).collect(),
            by_key: ByKey::with_share(share),
            scopes: Interned::default(),
            networks: Interned::default(),
            roles: Interned::default(),
            rate_limits: Interned::default(),
            realms: Realms::default(),
            identities: RwLock::default(),
            with_credits: RwLock::default(),
            rare_bytes: AtomicUsize::new(0),
            out_of_date: AtomicBool::new(false),
            imported: Default::default(),
        }
    }

    fn shard(&self, hash: &SecretHash) -> &Shard {
        &self.shards[usize::from(hash.0[31]) % SHARDS]
    }

    /// What a secret with this hash stands for.
    pub fn find(&self, hash: &SecretHash) -> Option<Arc<Entry>> {
        read(self.shard(hash)).find(probe(hash), |entry| same(&entry.hash, hash)).cloned()
    }

    /// What a version of a key's secret stands for; nothing once it was rotated away or the key deleted.
    pub fn of_key(&self, key: KeyId, secret_version: u32) -> Option<Arc<Entry>> {
        self.by_key.find(key, secret_version)
    }

    /// Takes over a key's new state. `before` is the state that the directory was given last; none for
    /// a key that is new to it. One thread calls this for a key, in log order; during the first load
    /// several threads may call it for different keys.
    ///
    /// When it returns, every verification that begins sees the new state.
    pub fn apply(&self, before: Option<&KeyState>, after: &KeyState) {
        if after.deleted_at.is_none() {
            self.mark_imported(after);
            for entry in Entry::all_of(after, &self.shared(before, after)) {
                self.put(entry);
            }
        } else {
            hashes(after).for_each(|hash| self.remove(hash, after));
            if after.credits.is_some() {
                self.with_credits.write().unwrap_or_else(PoisonError::into_inner).remove(&after.id);
            }
        }
        for gone in before.into_iter().flat_map(hashes) {
            if !hashes(after).any(|kept| kept == gone) {
                self.remove(gone, after);
            }
        }
    }

    /// Before the secrets can be found, so that nobody looks for them in vain.
    fn mark_imported(&self, state: &KeyState) {
        let previous = state.previous_secret.as_ref().and_then(|previous| previous.imported);
        for scheme in state.imported.into_iter().chain(previous) {
            self.imported[scheme as usize].store(true, Ordering::Release);
        }
    }

    /// Whether there is, or was since the start, an imported secret of a scheme.
    pub fn has_imported(&self, scheme: SecretScheme) -> bool {
        self.imported[scheme as usize].load(Ordering::Acquire)
    }

    fn shared(&self, before: Option<&KeyState>, state: &KeyState) -> Shared {
        let realm = self.realms.of(state.organization);
        let roles = (!state.roles.is_empty()).then(|| {
            let roles: Vec<_> = state.roles.iter().map(|&id| realm.role(id)).collect();
            self.roles.share(&roles)
        });
        Shared {
            scopes: self.scopes.share(&state.scopes),
            roles,
            networks: (!state.allowed_cidrs.is_empty()).then(|| self.networks.share(&state.allowed_cidrs)),
            management: Management::of(state).map(Arc::new),
            meter: self.meter(before, state),
            identity: state.identity.map(|id| self.identity(id)),
            revoked_tokens: (!state.revoked_tokens.is_empty())
                .then(|| Arc::new(state.revoked_tokens.clone())),
            realm,
        }
    }

    /// The meter of a key, with what was spent before.
    fn meter(&self, before: Option<&KeyState>, after: &KeyState) -> Option<Arc<Meter>> {
        if after.rate_limits.is_empty() && after.credits.is_none() {
            return None;
        }
        let rules = self.rate_limits.share(&after.rate_limits);
        let known = before.into_iter().chain([after]).flat_map(hashes).find_map(|hash| {
            let entry = self.find(hash).filter(|entry| entry.key == after.id)?;
            entry.meter().cloned().map(|meter| (entry.revision, meter))
        });
        let meter = match known {
            None => Arc::new(Meter::new(rules, after.credits.as_ref())),
            // Redelivered, as in `put`.
            Some((revision, meter)) if revision > after.revision => meter,
            Some((_, meter)) => {
                meter.change(rules, after.credits.as_ref());
                meter
            }
        };
        if after.credits.is_some() {
            let mut all = self.with_credits.write().unwrap_or_else(PoisonError::into_inner);
            all.insert(after.id, Arc::clone(&meter));
        }
        Some(meter)
    }

    /// An identity. One that is not known yet limits nothing until it is.
    fn identity(&self, id: IdentityId) -> Arc<Identity> {
        let known = self.known_identity(id);
        known.unwrap_or_else(|| {
            let mut all = self.identities.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(id).or_insert_with(|| Arc::new(Identity::new(id))))
        })
    }

    fn known_identity(&self, id: IdentityId) -> Option<Arc<Identity>> {
        self.identities.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Takes over what an identity is now, for all its keys at once.
    pub fn identity_changed(&self, state: &IdentityState) {
        let rules = self.rate_limits.share(&state.rate_limits);
        self.identity(state.id).change(state, rules);
    }

    /// Takes over what the log says was spent of some credits. Only before anything is spent here.
    pub fn spent(&self, pool: PoolId, tally: &Tally) {
        self.with_meter(pool, |meter| meter.told(tally));
    }

    /// Gives back credits that a verification spent which was neither answered nor recorded.
    pub fn give_back(&self, pool: PoolId, credits: u64) {
        self.with_meter(pool, |meter| meter.give_back(credits));
    }

    /// Looks at some credits as they are now; nothing where there never were any.
    pub fn credits<T>(&self, pool: PoolId, look: impl FnOnce(&mut Pool) -> T) -> Option<T> {
        self.with_meter(pool, |meter| meter.credits(look)).flatten()
    }

    fn with_meter<T>(&self, pool: PoolId, run: impl FnOnce(&Meter) -> T) -> Option<T> {
        match pool {
            PoolId::Key(id) => {
                let all = self.with_credits.read().unwrap_or_else(PoisonError::into_inner);
                let meter = all.get(&id).cloned();
                drop(all);
                meter.map(|meter| run(&meter))
            }
            PoolId::Identity(id) => self.known_identity(id).map(|identity| run(identity.meter())),
        }
    }

    /// Takes over what an organization is now, on all its keys at once. `policy` is what holds in it: its own
    /// rules and those of the organizations above it.
    pub fn organization_changed(&self, state: &OrganizationState, above: &[OrganizationId], policy: &Policy) {
        self.realms.of(state.id).set(state, above, policy);
    }

    fn put(&self, entry: Entry) {
        let hash = entry.hash;
        let added = entry.rare_bytes();
        let entry = Arc::new(entry);
        self.by_key.put(&entry);
        let replaced = {
            let mut shard = write(self.shard(&hash));
            match shard.entry(probe(&hash), |known| same(&known.hash, &hash), |known| probe(&known.hash)) {
                // Redelivered: what is there is as new or newer.
                Slot::Occupied(slot)
                    if slot.get().revision > entry.revision && slot.get().key == entry.key =>
                {
                    return;
                }
                Slot::Occupied(mut slot) => Some(std::mem::replace(slot.get_mut(), entry)),
                Slot::Vacant(slot) => {
                    slot.insert(entry);
                    None
                }
            }
        };
        self.rare_bytes.fetch_add(added, Ordering::Relaxed);
        if let Some(replaced) = replaced {
            self.rare_bytes.fetch_sub(replaced.rare_bytes(), Ordering::Relaxed);
        }
    }

    fn remove(&self, hash: &SecretHash, state: &KeyState) {
        self.by_key.remove(state.id, hash);
        let mut shard = write(self.shard(hash));
        let known = |entry: &Arc<Entry>| same(&entry.hash, hash) && entry.key == state.id;
        if let Ok(slot) = shard.find_entry(probe(hash), known) {
            let (removed, _) = slot.remove();
            self.rare_bytes.fetch_sub(removed.rare_bytes(), Ordering::Relaxed);
        }
    }

    /// From now on nobody keeps it: a revocation may be in the log and not here.
    pub fn abandon(&self) {
        self.out_of_date.store(true, Ordering::Release);
    }

    /// Whether it may be behind the log for good, so that nothing must be answered from it.
    pub fn abandoned(&self) -> bool {
        self.out_of_date.load(Ordering::Acquire)
    }

    /// How many secrets it knows.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory of what finds meters without a secret.
    fn meters_bytes(&self) -> usize {
        let keys = self.with_credits.read().unwrap_or_else(PoisonError::into_inner).capacity();
        let identities = self.identities.read().unwrap_or_else(PoisonError::into_inner).len();
        keys * (size_of::<(KeyId, Arc<Meter>)>() + 1)
            + identities * (size_of::<(IdentityId, Arc<Identity>)>() + size_of::<Identity>() + ARC_BYTES)
    }

    /// Memory held, in bytes: tables as allocated, entries, and what entries share. An estimate only in
    /// what the allocator adds.
    pub fn bytes(&self) -> usize {
        let tables: usize =
            self.shards.iter().map(|shard| size_of::<Shard>() + read(shard).allocation_size()).sum();
        let entries = self.len() * (size_of::<Entry>() + ARC_BYTES + ALLOCATION_BYTES);
        let scopes = self.scopes.bytes(|scope| scope.resource.as_str().len() + ALLOCATION_BYTES);
        tables
            + self.by_key.bytes()
            + entries
            + scopes
            + self.networks.bytes(|_| 0)
            + self.roles.bytes(|_| 0)
            + self.rate_limits.bytes(|limit| limit.name.len() + ALLOCATION_BYTES)
            + self.meters_bytes()
            + self.rare_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
