//! Verification of proofs, by the algorithms of RFC 9162 §2.1.3.2 and §2.1.4.2.

use super::tree::{Hash, empty_root, node_hash};

/// Why a proof proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// The entry cannot be in a tree of this size.
    #[error("the index is not below the size of the tree")]
    Index,
    /// The later tree is smaller than the earlier one.
    #[error("the tree became smaller")]
    Shrunk,
    /// A proof for these sizes has another number of hashes.
    #[error("the proof has another length than these sizes ask for")]
    Length,
    /// The hashes do not lead to the root.
    #[error("the proof does not lead to the root of the tree")]
    Root,
    /// The hashes do not lead to the root of the earlier tree.
    #[error("the proof does not lead to the root of the earlier tree")]
    OldRoot,
}

/// Checks that the entry with the hash `leaf` stands at `index` in the tree of `size` entries whose root is `root`
/// (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), Refused> {
    if index >= size {
        return Err(Refused::Index);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return Err(Refused::Length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(Refused::Length);
    }
    if hash == *root { Ok(()) } else { Err(Refused::Root) }
}

/// Checks that the tree with `old_root` is what the first `old` entries of the tree with `new_root` are
/// (RFC 9162 §2.1.4.2). Where nothing can have changed, nothing may be in the proof: trees of the same size have the
/// same root, and the tree without entries is the start of every tree.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    path: &[Hash],
) -> Result<(), Refused> {
    if old > new {
        return Err(Refused::Shrunk);
    }
    if old == 0 || old == new {
        if !path.is_empty() {
            return Err(Refused::Length);
        }
        if old == 0 && *old_root != empty_root() {
            return Err(Refused::OldRoot);
        }
        if old == new && old_root != new_root {
            return Err(Refused::Root);
        }
        return Ok(());
    }
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    // Where the old tree is perfect, it is the node that the way up starts from.
    let (start, rest) = if old.is_power_of_two() {
        (old_root, path)
    } else {
        let (first, rest) = path.split_first().ok_or(Refused::Length)?;
        (first, rest)
    };
    let (mut before, mut after) = (*start, *start);
    for sibling in rest {
        if last == 0 {
            return Err(Refused::Length);
        }
        if node & 1 == 1 || node == last {
            before = node_hash(sibling, &before);
            after = node_hash(sibling, &after);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            after = node_hash(&after, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(Refused::Length);
    }
    if before != *old_root {
        return Err(Refused::OldRoot);
    }
    if after == *new_root { Ok(()) } else { Err(Refused::Root) }
}

#[cfg(test)]
mod tests;
