//! The vault: the data keys that personal data in the log is sealed with, in `vault.db`.
//!
//! It stands beside the log and not in it, because it must be able to forget: the log keeps every byte for ever,
//! and what a person's data was sealed with has to go when the data has to go. So it has its own backup, with a
//! retention of its own, and losing it loses the personal data of the log and nothing else.
//!
//! A data key is made for a subject when the first event is sealed that tells something of it, and is durable
//! before that event is. One thread ([`writer`]) makes and erases them, many with one commit. Each is stored
//! encrypted under a key derived from the master key.
//!
//! Invariants: a subject has at most one data key, ever: where one was erased, a mark stays, and nothing is
//! sealed of it any more. An erased data key is gone from the file before [`Vault::erase`] returns: SQLite
//! overwrites what it deletes, and the write-ahead log is emptied.
//!
//! It must not: know events, or decide who may be erased.

mod file;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;

use keyledger_schema::codec::{self, Envelope};
use keyledger_schema::sealing::{NONCE_BYTES, Unreadable};
use keyledger_schema::{DataKey, DataKeys, Sealer, Subject};
use rusqlite::Connection;
use tokio::sync::oneshot;

use self::file::Wrapping;
use self::writer::Request;
use crate::edge::Edge;
use crate::secret::MasterKey;

pub use file::{FILE_NAME, OpenError};

/// So many data keys are kept in memory: about 80 MB. With more, those that are needed again are read again.
const CACHED: usize = 1 << 20;

/// Why a data key cannot be read, made or erased now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the vault cannot be read or written: {0}")]
pub struct Error(Arc<str>);

/// What is known of a subject.
#[derive(Clone, Debug)]
enum Known {
    Key(DataKey),
    Erased,
}

impl Known {
    fn key(&self) -> Option<DataKey> {
        match self {
            Self::Key(key) => Some(key.clone()),
            Self::Erased => None,
        }
    }
}

/// What the thread and its users share.
struct Shared {
    connection: Mutex<Connection>,
    known: RwLock<HashMap<Subject, Known>>,
    wrapping: Wrapping,
    edge: Edge,
}

impl Shared {
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, subject: Subject, known: Known) {
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= CACHED {
            all.clear();
        }
        all.insert(subject, known);
    }

    /// What is known of a subject; nothing if it never had a data key. That it cannot be read is an error and never
    /// nothing: what is there would read as erased for ever, wherever it is copied to.
    fn look_up(&self, subject: Subject) -> Result<Option<Known>, Error> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&subject).cloned();
        if known.is_some() {
            return Ok(known);
        }
        // Held until it is remembered: what is erased meanwhile is remembered after it.
        let connection = self.connection();
        match file::read(&connection, &self.wrapping, subject) {
            Ok(Some(found)) => {
                self.remember(subject, found.clone());
                Ok(Some(found))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                tracing::error!(%error, "a data key cannot be read from the vault");
                Err(Error(error.to_string().into()))
            }
        }
    }
}

/// The vault, open. Dropping it stops its thread.
pub struct Vault {
    shared: Arc<Shared>,
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(…)")
    }
}

impl Vault {
    /// Opens the vault of a data directory, or makes one where there is none.
    pub fn open_in(data_dir: &Path, master: &MasterKey, edge: Edge) -> Result<Self, OpenError> {
        let wrapping = Wrapping::of(master);
        let connection = file::open(&data_dir.join(FILE_NAME), &wrapping, &edge)?;
        Self::start(connection, wrapping, edge)
    }

    /// A vault that is gone with the process.
    pub fn in_memory(master: &MasterKey, edge: Edge) -> Result<Self, OpenError> {
        let wrapping = Wrapping::of(master);
        let connection = file::in_memory(&wrapping, &edge)?;
        Self::start(connection, wrapping, edge)
    }

    fn start(connection: Connection, wrapping: Wrapping, edge: Edge) -> Result<Self, OpenError> {
        let shared =
            Arc::new(Shared { connection: Mutex::new(connection), known: RwLock::default(), wrapping, edge });
        let (requests, taken) = mpsc::channel();
        let thread = {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name("vault".into());
            thread.spawn(move || writer::run(&shared, &taken)).map_err(OpenError::Thread)?
        };
        Ok(Self { shared, requests: Some(requests), thread: Some(thread) })
    }

    /// Makes the data keys that these subjects lack. They are durable on return; subjects whose data key was
    /// erased get none.
    pub async fn prepare(&self, subjects: impl IntoIterator<Item = Subject>) -> Result<(), Error> {
        let mut missing = Vec::new();
        for subject in subjects {
            if self.shared.look_up(subject)?.is_none() {
                missing.push(subject);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        self.send(Request::Make { subjects: missing, done });
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Deletes the data key of a subject for good. It is gone from the file on return. Blocks for as long as a
    /// write to the disk takes.
    pub fn erase(&self, subject: Subject) -> Result<(), Error> {
        let (done, answer) = mpsc::sync_channel(1);
        self.send(Request::Erase { subject, done });
        answer.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Whether the data key of a subject was erased.
    pub fn is_erased(&self, subject: Subject) -> Result<bool, Error> {
        Ok(matches!(self.shared.look_up(subject)?, Some(Known::Erased)))
    }

    /// Reads stored bytes.
    pub fn open(&self, bytes: &[u8]) -> Result<Envelope, codec::Error> {
        Envelope::open_with(bytes, self)
    }

    fn send(&self, request: Request) {
        // When nobody takes it, its answer's sender is dropped, which tells.
        let _ = self.requests.as_ref().map(|requests| requests.send(request));
    }
}

fn ended() -> Error {
    Error("it is closed".into())
}

impl DataKeys for Vault {
    fn data_key(&self, subject: Subject) -> Result<Option<DataKey>, Unreadable> {
        let known = self.shared.look_up(subject).map_err(|_| Unreadable)?;
        Ok(known.and_then(|known| known.key()))
    }
}

impl Sealer for Vault {
    fn nonce(&self) -> [u8; NONCE_BYTES] {
        self.shared.edge.nonce()
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
