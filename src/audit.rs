//! What an outsider checks the log with: the Merkle tree of RFC 6962 and RFC 9162, and the C2SP formats around it
//! (signed-note, tlog-checkpoint, tlog-tiles, tlog-proof).
//!
//! [`tree`] hashes and proves, [`proof`] verifies, [`note`] signs and opens, [`checkpoint`] is what is signed,
//! [`tile`] is how the tree is stored and served, and [`tlog_proof`] is a proof in a file.
//!
//! Architecture invariant: nothing in here reads a file, a clock or the network, and nothing knows the store, the
//! read model or the service. The same code proves on a server and verifies offline, so what it takes from outside
//! (a note, a proof, a path, a bundle) it takes from a stranger: everything is parsed strictly, has a limit, and has
//! one spelling.

pub mod bundle;
pub mod checkpoint;
pub mod earlier;
pub mod event;
pub mod heads;
pub mod log;
pub mod note;
pub mod proof;
pub mod streams;
mod text;
pub mod tile;
pub mod tlog_proof;
pub mod tree;
pub mod verdict;
