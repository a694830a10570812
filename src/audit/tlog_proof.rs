//! Proofs in files (C2SP tlog-proof v1): the index of an entry, the way to the root, and the signed checkpoint.

use std::fmt;

use super::checkpoint::{self, Checkpoint};
use super::note::{MAX_NOTE_BYTES, VerifierKey};
use super::proof::{self, verify_inclusion};
use super::text;
use super::tree::{Hash, leaf_hash};

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// No tree is higher.
pub const MAX_HASHES: usize = 63;
/// The longest extra data that is looked at, in bytes.
pub const MAX_EXTRA_BYTES: usize = 64 * 1024;
/// The longest file that is looked at, in bytes.
pub const MAX_PROOF_BYTES: usize = MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES + 64 * MAX_HASHES;

/// Why a proof file proves nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("this is not a proof of inclusion ({HEADER}): {0}")]
    Malformed(&'static str),
    /// The checkpoint in it.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The hashes in it.
    #[error(transparent)]
    Proof(#[from] proof::Refused),
}

/// What stands in a proof file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlogProof {
    /// Whatever the application adds; nothing vouches for it.
    pub extra: Option<Vec<u8>>,
    /// Where the entry stands in the log.
    pub index: u64,
    /// The way to the root, from the leaf's sibling upwards.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint as the log gave it.
    pub checkpoint: Box<str>,
}

impl TlogProof {
    /// Reads a file. Says nothing about what it proves.
    pub fn parse(file: &[u8]) -> Result<Self, Error> {
        if file.len() > MAX_PROOF_BYTES {
            return Err(Error::Malformed("it is too long"));
        }
        let file = std::str::from_utf8(file).map_err(|_| Error::Malformed("it is not UTF-8"))?;
        let (head, checkpoint) =
            file.split_once("\n\n").ok_or(Error::Malformed("no empty line stands before the checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(Error::Malformed("its first line is another"));
        }
        let extra = lines.next_if(|line| line.starts_with("extra ")).map(|line| {
            text::bytes(&line["extra ".len()..])
                .filter(|extra| extra.len() <= MAX_EXTRA_BYTES)
                .ok_or(Error::Malformed("its extra data is too long or not base64"))
        });
        let extra = extra.transpose()?;
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(text::number);
        let index = index.ok_or(Error::Malformed("no index stands where it must"))?;
        let hashes =
            lines.map(|line| text::hash(line).ok_or(Error::Malformed("a hash is not 32 bytes in base64")));
        let hashes = hashes.collect::<Result<Vec<_>, _>>()?;
        if hashes.len() > MAX_HASHES {
            return Err(Error::Malformed("it has more hashes than a tree is high"));
        }
        Ok(Self { extra, index, hashes, checkpoint: checkpoint.into() })
    }

    /// Checks that the log `origin`, whose keys are known, holds this entry, and where. Answers with the checkpoint
    /// that says so.
    pub fn verify(&self, entry: &[u8], origin: &str, known: &[VerifierKey]) -> Result<Checkpoint, Error> {
        let checkpoint = Checkpoint::open(self.checkpoint.as_bytes(), origin, known)?;
        verify_inclusion(&leaf_hash(entry), self.index, checkpoint.size, &self.hashes, &checkpoint.root)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", text::base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{}", text::base64(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests;
