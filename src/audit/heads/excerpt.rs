//! What some streams need of a map, kept while the map changes.
//!
//! The paths of these streams, and of what stands beside them the hashes only. Of n streams it takes about 150 bytes
//! each, and 72 for each further step of a path, whatever the size of the map.

use keyledger_schema::Hex32;

use super::{Absence, Hash, Inclusion, Proof, Step, bit_of, leaf, path};

/// What stands at a place.
#[derive(Debug)]
pub(super) enum Part {
    /// Something that no path of these streams leads to.
    Beside(Hash),
    /// The end of a path.
    Leaf { path: Hash, value: Hash },
    /// Where paths part; the children are indexes of parts.
    Node { hash: Hash, bit: u8, children: [usize; 2] },
}

impl Part {
    fn hash(&self) -> Hash {
        match self {
            Self::Beside(hash) | Self::Node { hash, .. } => *hash,
            Self::Leaf { path, value } => leaf(path, value),
        }
    }
}

/// Proofs about some streams, all under one root.
#[derive(Debug)]
pub struct Excerpt {
    /// Children before what they are below; the last is the top. None if the map has no stream.
    parts: Vec<Part>,
}

impl Excerpt {
    pub(super) const fn new(parts: Vec<Part>) -> Self {
        Self { parts }
    }

    /// What the map says about one of the streams; none about others.
    pub fn prove(&self, stream: &str) -> Option<Proof> {
        let path = path(stream);
        let Some(mut part) = self.parts.last() else { return Some(Proof::Absent(Absence::Empty {})) };
        let mut steps = Vec::new();
        loop {
            match part {
                Part::Beside(_) => return None,
                Part::Node { bit, children, .. } => {
                    let side = bit_of(&path, *bit);
                    let sibling = Hex32(self.parts[children[1 - side]].hash());
                    steps.push(Step { bit: *bit, sibling });
                    part = &self.parts[children[side]];
                }
                Part::Leaf { path: found, value } => {
                    steps.reverse();
                    return Some(if *found == path {
                        Proof::Included(Inclusion { steps })
                    } else {
                        Proof::Absent(Absence::Other { path: Hex32(*found), value: Hex32(*value), steps })
                    });
                }
            }
        }
    }
}
