//! The catalog: of every key what lists filter, search and sort by, in memory, so that a list of a million
//! keys takes some tens of milliseconds whatever is asked.
//!
//! Each organization has a catalog of its own. One query sees one of them only, and what the others have
//! in theirs costs it nothing. Keys stand in the order in which they were issued, in blocks of
//! [`block::ROWS`] with a lock each: a query goes through them one by one, and a change never waits for
//! longer than a block takes.
//!
//! It is filled from the tables when the read model is opened and then kept by the projector, which tells
//! it of every change after the transaction that wrote it and before its position counts as applied. The
//! usage projector likewise tells of last uses. So what the catalog names stands in the tables, and a
//! query that follows a mutation finds it.
//!
//! Invariant: keys of an organization are added in the order of their numbers, so a key's place among them is its
//! ordinal, and all blocks but the last are full.

mod attributes;
mod block;
mod filter;
mod marks;
mod selection;
mod shared;
mod texts;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use keyledger_schema::{IdentityId, OrganizationId, RoleId, Timestamp};

use self::block::{Block, Shared};
use self::filter::Filter;
use self::selection::Selection;
use self::shared::Known;
use super::cursor::Cursor;
use super::keys::{KeyQuery, KeySort};
use super::page::Sequence;

#[allow(unused_imports, reason = "named in signatures")]
pub(super) use self::attributes::{Attributes, Names};
pub(super) use self::block::Facts;

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// A block and the number of its first key.
#[derive(Clone)]
struct Stretch {
    first: i64,
    block: Arc<RwLock<Block>>,
}

/// The keys of one organization.
#[derive(Default)]
struct Keys {
    stretches: RwLock<Vec<Stretch>>,
    known: RwLock<Known>,
}

impl Keys {
    /// The block that a key is in, if it was issued.
    fn block(&self, seq: i64) -> Option<Arc<RwLock<Block>>> {
        let stretches = read(&self.stretches);
        let after = stretches.partition_point(|stretch| stretch.first <= seq);
        Some(Arc::clone(&stretches.get(after.checked_sub(1)?)?.block))
    }

    fn keep(&self, facts: &Facts) {
        let roles = if facts.roles.is_empty() { 0 } else { self.roles(&facts.roles) };
        let identity = facts.identity.map_or(0, |id| self.identity(id));
        let block = self.block(facts.seq);
        if block.as_ref().is_some_and(|block| write(block).change(facts, roles, identity)) {
            return;
        }
        let shared = {
            let mut known = write(&self.known);
            Shared {
                workspace: known.workspaces.number(&facts.workspace),
                created_by: facts.created_by.map_or(0, |key| known.creators.number(&key)),
                domain: known.domains.number(&facts.domain),
                roles,
                identity,
            }
        };
        // Its number is the highest, so the block that it would be in is the last one.
        match block {
            Some(block) if !read(&block).is_full() => write(&block).push(facts, shared),
            _ => {
                let mut block = Block::default();
                block.push(facts, shared);
                let block = Arc::new(RwLock::new(block));
                write(&self.stretches).push(Stretch { first: facts.seq, block });
            }
        }
    }

    /// The number of a set of roles. Few keys bring one that is not known yet.
    #[allow(clippy::borrowed_box, reason = "that is what the table is looked up by")]
    fn roles(&self, roles: &Box<[RoleId]>) -> u32 {
        let known = read(&self.known).roles.find(roles);
        known.unwrap_or_else(|| write(&self.known).roles.number(roles))
    }

    /// The number of an identity.
    fn identity(&self, id: IdentityId) -> u32 {
        let known = read(&self.known).identities.find(&id);
        known.unwrap_or_else(|| write(&self.known).identities.number(&id))
    }

    fn find(&self, query: &KeyQuery, want: Want) -> Found {
        let stretches = read(&self.stretches).clone();
        let Some(filter) = Filter::new(query, want.searched, &read(&self.known)) else {
            return Found::nothing();
        };
        let by_creation = query.order.by == KeySort::CreatedAt;
        let order = match &want.after {
            _ if !by_creation => spread(stretches.len()),
            Some(after) if !want.count => beyond(&stretches, after.number, want.scan),
            _ => in_order(0..stretches.len(), want.scan),
        };
        let mut selection = Selection::new(want.scan, want.after, want.wanted);
        let mut total = 0;
        for n in order {
            read(&stretches[n].block).each(&filter, query.order.by, |rank| {
                total += 1;
                selection.offer(rank);
            });
            if by_creation && !want.count && selection.is_full() {
                break;
            }
        }
        Found { places: selection.finish(), total }
    }
}

fn in_order(blocks: Range<usize>, scan: Sequence) -> Vec<usize> {
    match scan {
        Sequence::Ascending => blocks.collect(),
        Sequence::Descending => blocks.rev().collect(),
    }
}

/// The blocks that have keys beyond one of this number.
fn beyond(stretches: &[Stretch], seq: i64, scan: Sequence) -> Vec<usize> {
    let after = stretches.partition_point(|stretch| stretch.first <= seq);
    match scan {
        Sequence::Ascending => in_order(after.saturating_sub(1)..stretches.len(), scan),
        Sequence::Descending => in_order(0..after, scan),
    }
}

/// All blocks, each far from the one before. Names and dates often rise or fall with the order of creation,
/// and then a walk in that order would meet better keys all the time and keep each of them for a moment.
fn spread(blocks: usize) -> Vec<usize> {
    let bits = blocks.next_power_of_two().trailing_zeros();
    let turned = |n: usize| n.reverse_bits().checked_shr(usize::BITS - bits).unwrap_or(0);
    (0..blocks.next_power_of_two()).map(turned).filter(|n| *n < blocks).collect()
}

/// Which stretch of a list.
pub(super) struct Want {
    /// In which direction rows follow each other.
    pub(super) scan: Sequence,
    /// Only rows beyond this place.
    pub(super) after: Option<Cursor>,
    /// At most so many.
    pub(super) wanted: usize,
    /// Whether the number of all keys that match is asked for.
    pub(super) count: bool,
    /// The number of the key whose id is searched for.
    pub(super) searched: Option<i64>,
}

/// What was found.
pub(super) struct Found {
    /// In the direction that was wanted.
    pub(super) places: Vec<Cursor>,
    /// How many keys match, if that was asked for.
    pub(super) total: u64,
}

impl Found {
    const fn nothing() -> Self {
        Self { places: Vec::new(), total: 0 }
    }
}

#[derive(Default)]
pub(super) struct Catalog {
    organizations: RwLock<HashMap<OrganizationId, Arc<Keys>>>,
}

impl Catalog {
    fn keys(&self, organization: OrganizationId) -> Option<Arc<Keys>> {
        read(&self.organizations).get(&organization).cloned()
    }

    /// Adds a key, or changes it to what it is now.
    pub(super) fn keep(&self, facts: &Facts) {
        let keys = self
            .keys(facts.organization)
            .unwrap_or_else(|| Arc::clone(write(&self.organizations).entry(facts.organization).or_default()));
        keys.keep(facts);
    }

    /// A key was last used then.
    pub(super) fn used(&self, organization: OrganizationId, seq: i64, at: Timestamp) {
        if let Some(block) = self.keys(organization).and_then(|keys| keys.block(seq)) {
            write(&block).used(seq, at.micros());
        }
    }

    /// The keys that match a query, without regard to its window. Each is judged at some moment while this
    /// goes on.
    pub(super) fn find(&self, query: &KeyQuery, want: Want) -> Found {
        self.keys(query.organization).map_or_else(Found::nothing, |keys| keys.find(query, want))
    }

    /// Memory that is held for keys, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let organizations: Vec<_> = read(&self.organizations).values().cloned().collect();
        let of = |keys: &Arc<Keys>| {
            let stretches = read(&keys.stretches);
            let blocks: usize = stretches
                .iter()
                .map(|stretch| read(&stretch.block).heap_bytes() + size_of::<RwLock<Block>>())
                .sum();
            blocks + stretches.capacity() * size_of::<Stretch>() + read(&keys.known).heap_bytes()
        };
        organizations.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreading_visits_every_block_once() {
        for blocks in 0..300 {
            let mut visited = spread(blocks);
            visited.sort_unstable();
            assert!(visited.into_iter().eq(0..blocks), "{blocks}");
        }
        assert_eq!(spread(8), [0, 4, 2, 6, 1, 5, 3, 7]);
    }
}
