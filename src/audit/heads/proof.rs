//! Proofs about one stream under a root, and their verification.

use keyledger_schema::Hex32;
use serde::{Deserialize, Serialize};

use super::{Hash, Head, bit_of, empty, leaf, node, path};

/// The most steps that a proof can have: one for each bit of a path.
pub const MAX_STEPS: usize = 256;

/// One node on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The bit that decides at this node.
    pub bit: u8,
    /// The hash of the side that the path does not take.
    pub sibling: Hex32,
}

/// That a stream has a certain head.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inclusion {
    /// From the leaf to the root; bits fall.
    pub steps: Vec<Step>,
}

/// That a stream does not exist.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case", deny_unknown_fields)]
pub enum Absence {
    /// There is no stream at all.
    Empty {},
    /// Its path leads to the leaf of another one.
    Other {
        /// The path of the other one.
        path: Hex32,
        /// Its value.
        value: Hex32,
        /// From the leaf to the root; bits fall.
        steps: Vec<Step>,
    },
}

/// What a map says about a stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// It has the head that the map was given.
    Included(Inclusion),
    /// The map has no such stream.
    Absent(Absence),
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The bits do not fall from each step to the next.
    #[error("the bits of the steps must fall from the leaf to the root; the proof was put together wrongly")]
    Order,
    /// The leaf at the end is not where its own path leads, or is the stream's own.
    #[error("the leaf at the end of the path is not one that can stand there")]
    Misplaced,
    /// Another root comes out.
    #[error("the proof leads to another root")]
    Root,
}

impl Inclusion {
    /// Whether `stream` has `head` under `root`.
    pub fn verify(&self, root: &Hash, stream: &str, head: &Head) -> Result<(), Error> {
        let path = path(stream);
        check(root, climb(&path, leaf(&path, &head.value()), &self.steps)?)
    }
}

impl Absence {
    /// Whether there is no `stream` under `root`.
    pub fn verify(&self, root: &Hash, stream: &str) -> Result<(), Error> {
        match self {
            Self::Empty {} => check(root, empty()),
            Self::Other { path: found, value, steps } => {
                let wanted = path(stream);
                let agree = steps.iter().all(|step| bit_of(&wanted, step.bit) == bit_of(&found.0, step.bit));
                if found.0 == wanted || !agree {
                    return Err(Error::Misplaced);
                }
                check(root, climb(&wanted, leaf(&found.0, &value.0), steps)?)
            }
        }
    }
}

/// The root above a leaf.
fn climb(path: &Hash, leaf: Hash, steps: &[Step]) -> Result<Hash, Error> {
    let falls = steps.windows(2).all(|pair| pair[0].bit > pair[1].bit);
    if !falls || steps.len() > MAX_STEPS {
        return Err(Error::Order);
    }
    Ok(steps.iter().fold(leaf, |below, step| {
        if bit_of(path, step.bit) == 0 {
            node(step.bit, &below, &step.sibling.0)
        } else {
            node(step.bit, &step.sibling.0, &below)
        }
    }))
}

fn check(root: &Hash, computed: Hash) -> Result<(), Error> {
    if *root == computed { Ok(()) } else { Err(Error::Root) }
}
