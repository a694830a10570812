//! Slices that many keys share: most keys of an installation have one of a few sets of scopes.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of one `Arc`'s two counters.
pub(super) const ARC_BYTES: usize = 16;
/// What an allocator adds to an allocation, on average.
pub(super) const ALLOCATION_BYTES: usize = 8;
/// Unused slices are looked for when the table has grown to twice what was in use the last time, and
/// not below this.
const FIRST_SWEEP: usize = 1_024;

/// Keeps one copy of each slice for as long as somebody uses it.
pub(super) struct Interned<T>(Mutex<Table<T>>);

struct Table<T> {
    slices: HashSet<Arc<[T]>>,
    sweep_at: usize,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self(Mutex::new(Table { slices: HashSet::new(), sweep_at: FIRST_SWEEP }))
    }
}

impl<T: Eq + Hash + Clone> Interned<T> {
    /// The shared copy of a slice.
    pub(super) fn share(&self, slice: &[T]) -> Arc<[T]> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.slices.get(slice) {
            return Arc::clone(known);
        }
        if table.slices.len() >= table.sweep_at {
            table.slices.retain(|slice| Arc::strong_count(slice) > 1);
            table.sweep_at = (table.slices.len() * 2).max(FIRST_SWEEP);
        }
        let shared: Arc<[T]> = slice.into();
        table.slices.insert(Arc::clone(&shared));
        shared
    }

    /// Bytes held: the table, the slices, and what `heap` says each element holds besides.
    pub(super) fn bytes(&self, heap: impl Fn(&T) -> usize) -> usize {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = table.slices.capacity() * 8 / 7 * (size_of::<Arc<[T]>>() + 1);
        let slices: usize = table
            .slices
            .iter()
            .map(|slice| ARC_BYTES + size_of_val::<[T]>(slice) + slice.iter().map(&heap).sum::<usize>())
            .sum();
        slots + slices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_slices_are_one_and_unused_ones_are_swept() {
        let interned = Interned::<u32>::default();
        let kept = interned.share(&[1, 2]);
        assert!(Arc::ptr_eq(&kept, &interned.share(&[1, 2])));
        for n in 0..5_000 {
            interned.share(&[n]);
        }
        assert!(interned.0.lock().unwrap().slices.len() <= FIRST_SWEEP + 1);
        assert!(Arc::ptr_eq(&kept, &interned.share(&[1, 2])));
    }
}
