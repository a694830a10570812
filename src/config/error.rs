//! Why the settings cannot be used: which source, which setting, which bound, what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::environment;
use super::layer::Origin;

/// Why the settings cannot be used. Never shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is named but cannot be read.
    #[error("the configuration file {} cannot be read: {reason}; check the path and its permissions", .file.display())]
    Unreadable {
        /// Its path.
        file: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The file is not TOML, or has a key that nobody knows, or a value of another type.
    #[error("the configuration file {}, line {line}: {problem}", .file.display())]
    File {
        /// Its path.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A variable that nobody knows.
    #[error(
        "unknown environment variable {name}; a misspelled setting would silently be the default, so \
         correct or unset it. Known: {}",
        environment::known_names()
    )]
    UnknownVariable {
        /// Its name.
        name: String,
    },
    /// A variable that is not UTF-8, or empty.
    #[error("the environment variable {name} is {problem}; give it a value or unset it")]
    UnusableVariable {
        /// Its name.
        name: String,
        /// Empty, or not UTF-8.
        problem: &'static str,
    },
    /// A value out of its bounds.
    #[error("{origin} is {shown}: {expected}")]
    Value {
        /// Where it came from.
        origin: Origin,
        /// The value, as it may be shown.
        shown: String,
        /// The bound, and what to do.
        expected: &'static str,
    },
    /// The master key's variable holds something else. It is not shown.
    #[error(
        "the environment variable KEYLEDGER_MASTER_KEY does not hold a master key: expected 64 hexadecimal \
         digits, such as `openssl rand -hex 32` prints"
    )]
    MasterKeyVariable,
    /// Two variables name a master key each.
    #[error(
        "KEYLEDGER_MASTER_KEY and KEYLEDGER_MASTER_KEY_FILE are both set: unset one of them, so that it is \
         clear which master key is meant"
    )]
    TwoMasterKeys,
    /// The master key's file cannot be read or made.
    #[error("the master key's file {} cannot be {action}: {reason}; check the path and its permissions", .file.display())]
    MasterKeyAccess {
        /// Its path.
        file: PathBuf,
        /// Read or written.
        action: &'static str,
        /// Why.
        reason: io::Error,
    },
    /// The master key's file holds something else. It is not shown.
    #[error(
        "the master key's file {} does not hold a master key: expected 64 hexadecimal digits and nothing \
         else; restore it from your backup",
        .file.display()
    )]
    MasterKeyFile {
        /// Its path.
        file: PathBuf,
    },
    /// The open listener would take the place of the other.
    #[error("--listen and --open-listen are both {0}: give them different ports")]
    SameListener(SocketAddr),
}
