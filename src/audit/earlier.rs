//! A checkpoint that somebody kept, which the log has to go on from.

use super::checkpoint::Checkpoint;
use super::note::{Note, VerifierKey};
use super::verdict::{Check, Fault};

/// An earlier checkpoint, as it was kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Earlier {
    note: Note,
    checkpoint: Checkpoint,
}

fn wrong(what: impl Into<String>) -> Fault {
    Fault::new(Check::Consistency, what)
}

impl Earlier {
    /// Reads a signed checkpoint. Says nothing about its signatures.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let note = Note::parse(bytes).map_err(|error| error.to_string())?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|error| error.to_string())?;
        Ok(Self { note, checkpoint })
    }

    /// What it states.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Whether it can be an earlier checkpoint of this one's log.
    pub fn precedes(&self, later: &Checkpoint) -> Result<(), Fault> {
        if self.checkpoint.origin != later.origin {
            return Err(wrong("the earlier checkpoint is of another log"));
        }
        if self.checkpoint.size > later.size {
            return Err(wrong(format!(
                "the earlier checkpoint is of {} entries and this one of {}: the log became smaller, or this one is \
                 not later",
                self.checkpoint.size, later.size
            )));
        }
        Ok(())
    }

    /// Whether one of the log's keys signed it, and the tree of its size has its root.
    pub fn agrees(&self, keys: &[VerifierKey], root: &super::tree::Hash) -> Result<(), Fault> {
        let signed = self.note.verify(keys);
        signed.map_err(|error| wrong(format!("the earlier checkpoint is not this log's: {error}")))?;
        if self.checkpoint.root != *root {
            return Err(wrong(format!(
                "the first {} entries are not those of the earlier checkpoint: the log was rewritten, or forked",
                self.checkpoint.size
            )));
        }
        Ok(())
    }
}
