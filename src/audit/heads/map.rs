//! The map itself, in memory.
//!
//! A binary trie without nodes that have one child: n streams have n leaves and n - 1 nodes. A change marks the nodes
//! above it; their hashes are computed when the root or a proof is asked for, so many changes at once cost each node
//! once.

use super::excerpt::{Excerpt, Part};
use super::{Hash, Head, Proof, bit_of, empty, leaf, node, path};

/// Where something stands: a leaf where the highest bit is set, else a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place(u32);

const IS_LEAF: u32 = 1 << 31;

enum At {
    Leaf(usize),
    Node(usize),
}

impl Place {
    fn new(index: usize, mark: u32) -> Self {
        let index = u32::try_from(index).ok().filter(|index| index & IS_LEAF == 0);
        Self(index.expect("a map of fewer than 2^31 streams") | mark)
    }

    fn at(self) -> At {
        let index = (self.0 & !IS_LEAF) as usize;
        if self.0 & IS_LEAF == 0 { At::Node(index) } else { At::Leaf(index) }
    }
}

struct Leaf {
    path: Hash,
    value: Hash,
}

struct Node {
    hash: Hash,
    children: [Place; 2],
    bit: u8,
    /// Whether something below it changed since its hash was computed.
    stale: bool,
}

/// A map from streams to their heads.
#[derive(Default)]
pub struct Map {
    leaves: Vec<Leaf>,
    nodes: Vec<Node>,
    top: Option<Place>,
}

impl Map {
    /// How many streams it has.
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// The memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.leaves.capacity() * size_of::<Leaf>() + self.nodes.capacity() * size_of::<Node>()
    }

    /// Makes room for so many more streams.
    pub fn reserve(&mut self, streams: usize) {
        self.leaves.reserve_exact(streams);
        self.nodes.reserve_exact(streams);
    }

    /// Puts a stream's head in place of the one before, if it had one.
    ///
    /// # Panics
    ///
    /// With 2^31 streams.
    pub fn set(&mut self, stream: &str, head: &Head) {
        let (path, value) = (path(stream), head.value());
        let Some(top) = self.top else {
            self.leaves.push(Leaf { path, value });
            self.top = Some(Place::new(0, IS_LEAF));
            return;
        };
        let nearest = self.nearest(top, &path);
        let Some(bit) = first_difference(&self.leaves[nearest].path, &path) else {
            self.leaves[nearest].value = value;
            self.descend(top, &path, None);
            return;
        };
        let new = Place::new(self.leaves.len(), IS_LEAF);
        self.leaves.push(Leaf { path, value });
        let joint = Place::new(self.nodes.len(), 0);
        let (above, below) = self.descend(top, &path, Some(bit));
        let mut children = [below; 2];
        children[bit_of(&path, bit)] = new;
        self.nodes.push(Node { hash: Hash::default(), children, bit, stale: true });
        match above {
            Some((node, side)) => self.nodes[node].children[side] = joint,
            None => self.top = Some(joint),
        }
    }

    /// The root.
    pub fn root(&mut self) -> Hash {
        self.settle();
        self.top.map_or_else(empty, |top| self.hash(top))
    }

    /// That a stream has the head that was set, or that it was never set.
    ///
    /// # Panics
    ///
    /// Never: an excerpt has the streams that it was made of.
    pub fn prove(&mut self, stream: &str) -> Proof {
        self.excerpt([stream]).prove(stream).expect("the stream that was asked for")
    }

    /// What proofs about these streams need, as it is now.
    pub fn excerpt<S: AsRef<str>>(&mut self, streams: impl IntoIterator<Item = S>) -> Excerpt {
        self.settle();
        // Below a node the paths of streams that exist are in order already.
        let mut paths: Vec<Hash> = streams.into_iter().map(|stream| path(stream.as_ref())).collect();
        paths.sort_unstable();
        let mut parts = Vec::new();
        if let Some(top) = self.top {
            self.copy(top, &mut paths, &mut parts);
        }
        Excerpt::new(parts)
    }

    /// Copies what stands at a place, as far as paths lead there; answers its index. At most 256 calls deep.
    fn copy(&self, place: Place, paths: &mut [Hash], parts: &mut Vec<Part>) -> usize {
        let part = match place.at() {
            _ if paths.is_empty() => Part::Beside(self.hash(place)),
            At::Leaf(index) => {
                let Leaf { path, value } = self.leaves[index];
                Part::Leaf { path, value }
            }
            At::Node(index) => {
                let Node { hash, children: [left, right], bit, .. } = self.nodes[index];
                paths.sort_unstable_by_key(|path| bit_of(path, bit));
                let (zeros, ones) = paths.split_at_mut(paths.partition_point(|path| bit_of(path, bit) == 0));
                let children = [self.copy(left, zeros, parts), self.copy(right, ones, parts)];
                Part::Node { hash, bit, children }
            }
        };
        parts.push(part);
        parts.len() - 1
    }

    fn hash(&self, place: Place) -> Hash {
        match place.at() {
            At::Leaf(index) => leaf(&self.leaves[index].path, &self.leaves[index].value),
            At::Node(index) => self.nodes[index].hash,
        }
    }

    /// The leaf that a path leads to; it may be another path's.
    fn nearest(&self, top: Place, path: &Hash) -> usize {
        let mut place = top;
        loop {
            match place.at() {
                At::Leaf(index) => return index,
                At::Node(index) => {
                    let node = &self.nodes[index];
                    place = node.children[bit_of(path, node.bit)];
                }
            }
        }
    }

    /// Goes along a path, to its leaf or to where `until` decides, and marks the nodes that it passes. Answers the last
    /// of them with the side that was taken, and what stands there.
    fn descend(&mut self, top: Place, path: &Hash, until: Option<u8>) -> (Option<(usize, usize)>, Place) {
        let (mut above, mut place) = (None, top);
        while let At::Node(index) = place.at() {
            let node = &mut self.nodes[index];
            if until.is_some_and(|bit| bit < node.bit) {
                break;
            }
            node.stale = true;
            let side = bit_of(path, node.bit);
            above = Some((index, side));
            place = node.children[side];
        }
        (above, place)
    }

    /// Computes the hashes that changed.
    fn settle(&mut self) {
        if let Some(At::Node(top)) = self.top.map(Place::at) {
            self.settle_node(top);
        }
    }

    /// At most 256 calls deep, since bits grow from the root.
    fn settle_node(&mut self, index: usize) {
        if !self.nodes[index].stale {
            return;
        }
        let children = self.nodes[index].children;
        for child in children {
            if let At::Node(child) = child.at() {
                self.settle_node(child);
            }
        }
        let [left, right] = children.map(|child| self.hash(child));
        let changed = &mut self.nodes[index];
        changed.hash = node(changed.bit, &left, &right);
        changed.stale = false;
    }
}

/// The first bit in which two paths differ.
fn first_difference(one: &Hash, other: &Hash) -> Option<u8> {
    let at = one.iter().zip(other).position(|(one, other)| one != other)?;
    let within = (one[at] ^ other[at]).leading_zeros();
    u8::try_from(at * 8).ok()?.checked_add(u8::try_from(within).ok()?)
}

#[cfg(test)]
mod tests;
