//! What a verification proved, what did not hold, and what nobody can prove this way.

use std::fmt;

/// What is checked, in the order in which it is reported. The first one that does not hold decides the exit code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Check {
    /// The archive is byte for byte what its files make it.
    Archive,
    /// The manifest names every file with its size and hash.
    Manifest,
    /// The log's key signed the checkpoint, and the manifest of a bundle.
    Signature,
    /// Every entry is in the tree that the checkpoint states.
    Tree,
    /// The tree goes on where an earlier checkpoint ended.
    Consistency,
    /// Streams have no gap, and each event names the hash of the one before it.
    Chain,
    /// Streams end where the log committed to.
    Completeness,
    /// What is shown is what the entries say.
    View,
    /// Every entry is an event that this version can read, and belongs here.
    Event,
    /// The keys are those that the log introduced.
    LogKeys,
    /// There is what is needed to compare the tree with an earlier checkpoint. Where it lacks, nothing is wrong with the
    /// log, as far as this tells.
    Comparison,
    /// The data keys of a data directory can be read. Where some cannot, nothing is wrong with the log.
    Vault,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 12] = [
        Self::Archive,
        Self::Manifest,
        Self::Signature,
        Self::Tree,
        Self::Consistency,
        Self::Chain,
        Self::Completeness,
        Self::View,
        Self::Event,
        Self::LogKeys,
        Self::Comparison,
        Self::Vault,
    ];

    /// As it is told to programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Archive => "ARCHIVE",
            Self::Manifest => "MANIFEST",
            Self::Signature => "SIGNATURE",
            Self::Tree => "TREE",
            Self::Consistency => "CONSISTENCY",
            Self::Chain => "CHAIN",
            Self::Completeness => "COMPLETENESS",
            Self::View => "VIEW",
            Self::Event => "EVENT",
            Self::LogKeys => "LOG_KEYS",
            Self::Comparison => "COMPARISON",
            Self::Vault => "VAULT",
        }
    }

    /// What the shell is told when it does not hold.
    pub const fn exit_code(self) -> u8 {
        10 + self as u8
    }
}

/// Something that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which check found it.
    pub check: Check,
    /// Where, and what was found.
    pub what: String,
}

impl Fault {
    /// What a check found.
    pub fn new(check: Check, what: impl Into<String>) -> Self {
        Self { check, what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Something that holds, or that was not checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Which check it is of.
    pub check: Check,
    /// How many things were looked at.
    pub count: u64,
    /// What holds.
    pub what: String,
}

/// What a verification came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// What is proved.
    pub proved: Vec<Finding>,
    /// What cannot be proved this way, in whole sentences.
    pub unproved: Vec<String>,
    /// What the reader must know before relying on it.
    pub warnings: Vec<String>,
    /// What does not hold, in the order of the checks.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Notes what holds.
    pub fn proves(&mut self, check: Check, count: u64, what: impl Into<String>) {
        self.proved.push(Finding { check, count, what: what.into() });
    }

    /// Notes what cannot be proved.
    pub fn leaves_open(&mut self, what: impl Into<String>) {
        self.unproved.push(what.into());
    }

    /// Adds what another part of the same verification found.
    pub fn merge(&mut self, other: Self) {
        self.proved.extend(other.proved);
        self.unproved.extend(other.unproved);
        self.warnings.extend(other.warnings);
        self.faults.extend(other.faults);
        self.proved.sort_by_key(|finding| finding.check);
        self.faults.sort_by_key(|fault| fault.check);
        // Both readers of an archive stumble over the same byte.
        self.faults.dedup();
    }

    /// The first thing that does not hold.
    pub fn fault(&self) -> Option<&Fault> {
        self.faults.first()
    }
}
