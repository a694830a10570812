//! The states of keys that changed lately, so that the next change need not decode a row.
//!
//! Two generations: what is used moves to the young one; when that is full, the old one is forgotten and
//! the young one grows old. So the most recently used half always stays, at the cost of one map access.
//!
//! Invariant: holds exactly what the rows hold, or nothing.

use std::collections::HashMap;
use std::sync::Arc;

use keyledger_projections::KeyState;
use keyledger_schema::KeyId;

/// Keys per generation; about 1 KiB each.
const GENERATION: usize = 16_384;

/// A key and the number of its row.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) seq: i64,
    pub(super) state: Arc<KeyState>,
}

#[derive(Default)]
pub(super) struct Cache {
    young: HashMap<KeyId, Known>,
    old: HashMap<KeyId, Known>,
}

impl Cache {
    pub(super) fn find(&mut self, id: KeyId) -> Option<Known> {
        if let Some(known) = self.young.get(&id) {
            return Some(known.clone());
        }
        let known = self.old.remove(&id)?;
        self.keep(id, known.clone());
        Some(known)
    }

    pub(super) fn keep(&mut self, id: KeyId, known: Known) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, known);
    }
}
