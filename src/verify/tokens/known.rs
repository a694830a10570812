//! Remembers tokens whose signature was good, by the hash of their text, up to a bound in bytes.
//!
//! What was used lately stays: each shard has two generations, what is used moves to the young one, and when that is
//! full it becomes the old one, and the old one is forgotten.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use super::Signed;

/// The hash of a token's text.
type Name = [u8; 32];

/// A power of two.
const SHARDS: usize = 64;
/// The most of a generation in a shard: 64 MiB in all, which are some 65,000 tokens of the usual size.
const GENERATION_BYTES: usize = 512 * 1024;

#[derive(Default)]
struct Generation {
    tokens: HashMap<Name, Arc<Signed>>,
    bytes: usize,
}

#[derive(Default)]
struct Shard {
    /// Of the signing keys that all of it was checked with.
    edition: u64,
    young: Generation,
    old: Generation,
}

impl Shard {
    /// Whether it can be used with this edition. It forgets what was checked before the last change; whoever
    /// began before that change neither finds nor leaves anything.
    fn is_of(&mut self, edition: u64) -> bool {
        if self.edition < edition {
            *self = Self { edition, ..Self::default() };
        }
        self.edition == edition
    }

    fn find(&mut self, name: &Name) -> Option<Arc<Signed>> {
        if let Some(found) = self.young.tokens.get(name) {
            return Some(Arc::clone(found));
        }
        let found = self.old.tokens.remove(name)?;
        self.put(*name, &found);
        Some(found)
    }

    fn put(&mut self, name: Name, token: &Arc<Signed>) {
        let bytes = size_of::<(Name, Arc<Signed>)>() + token.bytes();
        if self.young.bytes + bytes > GENERATION_BYTES {
            self.old = std::mem::take(&mut self.young);
        }
        if self.young.tokens.insert(name, Arc::clone(token)).is_none() {
            self.young.bytes += bytes;
        }
    }
}

/// See the head of this module.
pub(super) struct Cache(Box<[Mutex<Shard>]>);

impl Default for Cache {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Cache {
    fn shard(&self, name: &Name) -> MutexGuard<'_, Shard> {
        self.0[usize::from(name[0]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token that was checked with this edition of the signing keys.
    pub(super) fn find(&self, name: &Name, edition: u64) -> Option<Arc<Signed>> {
        let mut shard = self.shard(name);
        if shard.is_of(edition) { shard.find(name) } else { None }
    }

    /// Remembers a token that was checked with this edition.
    pub(super) fn put(&self, name: Name, token: &Arc<Signed>, edition: u64) {
        let mut shard = self.shard(&name);
        if shard.is_of(edition) {
            shard.put(name, token);
        }
    }

    /// How many it knows, and the bytes that they take.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let shards = self.0.iter().map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let all = [&shard.young, &shard.old];
            (all.map(|one| one.tokens.len()).iter().sum(), all.map(|one| one.bytes).iter().sum())
        });
        shards.fold((0, 0), |(tokens, bytes), (more, taken): (usize, usize)| (tokens + more, bytes + taken))
    }
}
