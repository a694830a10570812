//! Numbers for what many keys of an organization have in common.

use std::collections::HashMap;
use std::hash::Hash;

use keyledger_schema::{IdentityId, KeyId, RoleId, WorkspaceId};

/// Gives each value a number, from 1 on. A number is never given up.
pub(super) struct Interned<T> {
    numbers: HashMap<T, u32>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Interned<T> {
    /// The number of a value, a new one if it has none.
    #[allow(clippy::cast_possible_truncation, reason = "an organization has fewer than 2^32 of anything")]
    pub(super) fn number(&mut self, value: &T) -> u32 {
        if let Some(number) = self.find(value) {
            return number;
        }
        let number = self.numbers.len() as u32 + 1;
        self.numbers.insert(value.clone(), number);
        number
    }

    pub(super) fn find(&self, value: &T) -> Option<u32> {
        self.numbers.get(value).copied()
    }

    /// The numbers of the values that are so.
    pub(super) fn numbers(&self, is: impl Fn(&T) -> bool) -> Numbers {
        let mut numbers = Numbers { set: vec![false; self.numbers.len() + 1], any: false };
        for (value, number) in &self.numbers {
            if is(value) {
                numbers.set[*number as usize] = true;
                numbers.any = true;
            }
        }
        numbers
    }

    /// The values by their numbers, with nothing for 0.
    pub(super) fn values(&self) -> Vec<Option<T>> {
        let mut values = vec![None; self.numbers.len() + 1];
        for (value, number) in &self.numbers {
            values[*number as usize] = Some(value.clone());
        }
        values
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.numbers.capacity() * (size_of::<(T, u32)>() + 1)
    }
}

/// A set of numbers.
pub(super) struct Numbers {
    set: Vec<bool>,
    any: bool,
}

impl Numbers {
    pub(super) const fn any(&self) -> bool {
        self.any
    }

    /// A number that was given after the set was made is not in it.
    pub(super) fn has(&self, number: u32) -> bool {
        self.set.get(number as usize).is_some_and(|has| *has)
    }
}

/// What the keys of an organization share.
#[derive(Default)]
pub(super) struct Known {
    pub(super) workspaces: Interned<WorkspaceId>,
    /// Keys that issued others.
    pub(super) creators: Interned<KeyId>,
    /// Addresses from their `@` on.
    pub(super) domains: Interned<Box<str>>,
    /// Sets of roles.
    pub(super) roles: Interned<Box<[RoleId]>>,
    pub(super) identities: Interned<IdentityId>,
}

impl Known {
    pub(super) fn heap_bytes(&self) -> usize {
        self.workspaces.heap_bytes()
            + self.creators.heap_bytes()
            + self.domains.heap_bytes()
            + self.roles.heap_bytes()
            + self.identities.heap_bytes()
    }
}
