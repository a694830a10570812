//! What can go wrong when a log is opened, in words for the operator's terminal, and what SQLite's
//! errors mean.
//!
//! Invariant: no message contains a statement. [`OpenError`] names files and is never sent to a client;
//! [`describe`] gives the only text about an engine error that may travel further.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why a log was not opened. Each message says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the data directory.
    #[error(
        "the data directory {} is in use by another process{}; stop that process, or choose another directory",
        directory.display(),
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// Who holds it, when it said so.
        pid: Option<u32>,
    },
    /// A file or the directory cannot be read or written.
    #[error("cannot open {}: {source}; check that the path is right and that this user may read and write it", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another version of Keyledger wrote the log.
    #[error(
        "{} has format {found}, this program reads format {supported}; run the version of Keyledger that wrote it",
        path.display()
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format that is known here.
        supported: u32,
    },
    /// The file is something else.
    #[error("{} is not a Keyledger log; move it away or choose another directory", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// The log was changed or lost bytes since it was written. It is never repaired silently.
    #[error("the log {} is damaged: {what}; keep a copy of the directory and restore the log from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit, and at which position where that is known.
        what: String,
    },
    /// The newest events stand in the write-ahead log only, and it cannot be read here.
    #[error(
        "the newest events of {} stand in its write-ahead log, which cannot be read where nothing can be written: copy the \
         whole directory to where this user may write, or start and stop the server on it once, and repeat this",
        path.display()
    )]
    Unmerged {
        /// The file of the log.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("no space left to open {}; free some space on that disk", path.display())]
    NoSpace {
        /// The file or directory.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot open {}: {what}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What happened.
        what: String,
    },
}

impl OpenError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path },
            _ => Self::Unreadable { path, source },
        }
    }

    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    pub(super) fn engine(path: &Path, error: &rusqlite::Error) -> Self {
        let what = describe(error);
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::NoSpace { path },
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                Self::Unreadable { path, source: io::Error::other(what) }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::InUse { directory: path.parent().unwrap_or(&path).to_owned(), pid: None }
            }
            // No code: a value of another kind than was written.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => Self::Damaged { path, what },
            _ => Self::Failed { path, what },
        }
    }
}

/// An engine error in words, without the statement that met it.
pub(super) fn describe(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            let meaning = rusqlite::ffi::code_to_str(failure.extended_code);
            format!("{meaning} (SQLite code {})", failure.extended_code)
        }
        _ => "the log has a value of an unexpected kind".to_owned(),
    }
}
