//! Why the read model is not opened, a query not answered, a position not waited for.

use std::path::PathBuf;
use std::sync::Arc;

use crate::store::ReadError;

/// Why the read model cannot be opened. For the operator's terminal only: it names paths.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refuses.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What it says.
        source: std::io::Error,
    },
    /// SQLite refuses, and not because the file is damaged: damage leads to a rebuild.
    #[error("{path}: {source}", path = path.display())]
    Engine {
        /// Which file.
        path: PathBuf,
        /// What it says.
        source: rusqlite::Error,
    },
    /// The tables know of events that the log does not have: it was put back to an earlier state, or replaced.
    /// Going on would hide that what was answered is gone.
    #[error(
        "{path} {what}: the log was put back to an earlier state or replaced, and changes that were answered are \
         missing. Restore the newer log; or, if an older one was put there on purpose, delete {path} and start again",
        path = path.display()
    )]
    LogChanged {
        /// The read model.
        path: PathBuf,
        /// How it differs.
        what: &'static str,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// An event of the log cannot be projected.
    #[error("{0}")]
    Stopped(Arc<str>),
    /// A thread died; its panic message stands on stderr.
    #[error("a thread of the read model ended while it was opened")]
    Thread,
}

/// Why a query has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QueryError {
    /// The cursor was not made by this list in this order.
    #[error("the cursor does not belong to this list and order; take one from its last answer, or none")]
    Cursor,
    /// Too many queries are waiting. Trying again later helps.
    #[error("too many queries are waiting; try again")]
    Busy,
    /// A fault of ours, which is logged; or the read model is being closed.
    #[error("the read model gives no answer")]
    Failed,
}

/// Why a position is not known to be applied.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WaitError {
    /// Not within the time given. It may be a moment later.
    #[error("the read model has not applied this position in time")]
    TimedOut,
    /// The projection has stopped for good.
    #[error("the read model is stopped: {0}")]
    Stopped(Arc<str>),
}
