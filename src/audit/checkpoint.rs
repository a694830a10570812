//! Checkpoints (C2SP tlog-checkpoint v1.0): what a log's tree is, in a signed note.

use std::fmt;

use super::note::{self, Note, Signer, VerifierKey};
use super::text;
use super::tree::Hash;

/// The longest origin, in bytes: it names the log's keys too.
pub const MAX_ORIGIN_BYTES: usize = note::MAX_NAME_BYTES;

/// Why a note is not a checkpoint of the log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The note.
    #[error(transparent)]
    Note(#[from] note::Error),
    /// Its text.
    #[error("this is not a checkpoint: {0}")]
    Malformed(&'static str),
    /// It is of another log.
    #[error("the checkpoint is of another log: {0}")]
    Origin(Box<str>),
}

/// How many entries a log has, and the root of their tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: Box<str>,
    /// How many entries.
    pub size: u64,
    /// The root.
    pub root: Hash,
    /// Lines that the specification leaves to others. We write none and keep what we read.
    pub extensions: Vec<Box<str>>,
}

impl Checkpoint {
    /// A checkpoint of our own.
    pub fn new(origin: &str, size: u64, root: Hash) -> Self {
        Self { origin: origin.into(), size, root, extensions: Vec::new() }
    }

    /// Reads the text of a note.
    pub fn parse(written: &str) -> Result<Self, Error> {
        let lines = written.strip_suffix('\n').ok_or(Error::Malformed("it does not end in a newline"))?;
        let mut lines = lines.split('\n');
        let origin = lines.next().filter(|line| (1..=MAX_ORIGIN_BYTES).contains(&line.len()));
        let origin = origin.ok_or(Error::Malformed("its origin is empty or too long"))?;
        let size = lines.next().and_then(text::number);
        let size = size.ok_or(Error::Malformed("its tree size is not a decimal number"))?;
        let root = lines.next().and_then(text::hash);
        let root = root.ok_or(Error::Malformed("its root is not 32 bytes in base64"))?;
        let extensions: Vec<Box<str>> = lines.map(Into::into).collect();
        if extensions.iter().any(|line| line.is_empty()) {
            return Err(Error::Malformed("an extension line is empty"));
        }
        Ok(Self { origin: origin.into(), size, root, extensions })
    }

    /// Signs it.
    pub fn sign(&self, signers: &[&Signer]) -> Result<Note, Error> {
        let written = self.to_string();
        // An origin with a newline would be signed as something else.
        if Self::parse(&written)? != *self {
            return Err(Error::Malformed("a line holds a newline"));
        }
        Ok(Note::sign(&written, signers)?)
    }

    /// Reads a signed checkpoint of the log `origin`, signed with at least one of these keys.
    pub fn open(signed: &[u8], origin: &str, known: &[VerifierKey]) -> Result<Self, Error> {
        let note = Note::parse(signed)?;
        note.verify(known)?;
        let checkpoint = Self::parse(note.text())?;
        if *checkpoint.origin == *origin { Ok(checkpoint) } else { Err(Error::Origin(checkpoint.origin)) }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, text::base64(&self.root))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests;
