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
//! A row that is damaged, or gone, loses what was sealed with it and nothing else: that reads as unreadable, never as
//! erased, and what comes after it is sealed with another data key. The damaged row is set aside.
//!
//! It must not: know events, or decide who may be erased.

mod cache;
mod check;
mod file;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;

use keyledger_schema::codec::{self, Envelope};
use keyledger_schema::sealing::{Held, NONCE_BYTES, Unreadable};
use keyledger_schema::{DataKey, DataKeys, Sealer, Subject};
use rusqlite::Connection;
use tokio::sync::oneshot;

use self::cache::{Ahead, Cache};
use self::file::Wrapping;
use self::writer::{Change, Request};
use crate::edge::Edge;
use crate::secret::MasterKey;

pub use check::{Condition, examine};
pub use file::{FILE_NAME, OpenError};

/// So many data keys are kept in memory at most: about 80 MB. With more, those that are needed again are read again.
const CACHED: usize = 1 << 20;

/// So many absent data keys are named in the server's log; where a whole vault was lost there may be millions.
const NAMED: u64 = 100;

/// Why a data key cannot be read, made or erased now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the vault cannot be read or written: {0}")]
pub struct Error(Arc<str>);

/// What is known of a subject.
#[derive(Clone, Debug)]
enum Known {
    Key(DataKey),
    Erased,
    /// There was a data key, since something is sealed with it. Its row is damaged, or gone.
    Lost,
}

/// What the thread and its users share.
struct Shared {
    connection: Mutex<Connection>,
    ahead: Mutex<Ahead>,
    known: RwLock<Cache>,
    wrapping: Wrapping,
    edge: Edge,
    /// How many lost data keys were come across.
    lost: AtomicU64,
    /// Whether each row is found where it is looked for. Where that is not so, a data key could be deleted in one row
    /// and stay in another.
    is_sound: bool,
}

impl Shared {
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, subject: Subject, known: Known) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(subject, known);
    }

    /// What is in memory.
    fn recall(&self, subject: Subject) -> Option<Known> {
        let all = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let (known, is_older) = all.get(subject)?;
        let known = known.clone();
        drop(all);
        if is_older {
            let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
            // It may have been erased meanwhile.
            if let Some((known, true)) = all.get(subject) {
                let known = known.clone();
                all.insert(subject, known);
            }
        }
        Some(known)
    }

    /// What is known of a subject; nothing if it has no data key, which is a loss where something is `sealed` with it.
    /// That the file cannot be read is an error: what is there would read as lost, wherever it is copied to.
    fn look_up(&self, subject: Subject, sealed: bool) -> Result<Option<Known>, Error> {
        if let Some(known) = self.recall(subject) {
            return Ok(Some(known));
        }
        // Held until it is remembered: what is erased meanwhile is remembered after it.
        let connection = self.connection();
        if sealed {
            self.read_ahead(&connection, subject);
            if let Some(known) = self.recall(subject) {
                return Ok(Some(known));
            }
        }
        match file::read(&connection, &self.wrapping, subject) {
            Ok(None) if !sealed => Ok(None),
            Ok(found) => {
                let found = found.unwrap_or(Known::Lost);
                if matches!(found, Known::Lost) {
                    self.tell_lost(subject);
                }
                self.remember(subject, found.clone());
                Ok(Some(found))
            }
            Err(error) => {
                tracing::error!(%error, "a data key cannot be read from the vault");
                Err(Error(error.to_string().into()))
            }
        }
    }
}

impl Shared {
    /// Reads the row of a subject and, where somebody reads in order, some of those that follow. Damaged rows and
    /// whatever else goes wrong are left to whoever asks for them.
    fn read_ahead(&self, connection: &Connection, subject: Subject) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = ahead.rows_from(subject);
        let is_known =
            |subject| self.known.read().unwrap_or_else(PoisonError::into_inner).get(subject).is_some();
        let Ok((found, next)) = file::read_from(connection, &self.wrapping, subject, rows, is_known) else {
            return;
        };
        if let Some(next) = next {
            ahead.stopped_before(next, rows);
        }
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (subject, known) in found {
            all.insert(subject, known);
        }
    }

    fn tell_lost(&self, subject: Subject) {
        let before = self.lost.fetch_add(1, Ordering::Relaxed);
        if before < NAMED {
            tracing::error!(
                %subject,
                "the row of a data key in the vault is damaged or missing: what was sealed with it reads as [unreadable]. \
                 Restore vault.db from its backup and delete readmodel.db"
            );
        } else if before == NAMED {
            tracing::error!("more rows of the vault are damaged or missing, which are not named");
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
        let flaw = file::flaw(&connection).unwrap_or_else(|error| Some(error.to_string()));
        if let Some(flaw) = &flaw {
            tracing::error!(
                flaw,
                "vault.db is damaged: personal data may read as [unreadable], and nobody can be erased. Restore it from its \
                 backup"
            );
        }
        let shared = Arc::new(Shared {
            connection: Mutex::new(connection),
            ahead: Mutex::default(),
            known: RwLock::new(Cache::new(CACHED)),
            wrapping,
            edge,
            lost: AtomicU64::new(0),
            is_sound: flaw.is_none(),
        });
        let (requests, taken) = mpsc::channel();
        let thread = {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name("vault".into());
            thread.spawn(move || writer::run(&shared, &taken)).map_err(OpenError::Thread)?
        };
        Ok(Self { shared, requests: Some(requests), thread: Some(thread) })
    }

    /// Makes the data keys that these subjects lack, or that are lost. They are durable on return; subjects whose data key was
    /// erased get none.
    pub async fn prepare(&self, subjects: impl IntoIterator<Item = Subject>) -> Result<(), Error> {
        let mut missing = Vec::new();
        for subject in subjects {
            if matches!(self.shared.look_up(subject, false)?, None | Some(Known::Lost)) {
                missing.push(subject);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        // Whoever asked may be gone.
        self.send(Change::Make(missing), move |written| drop(done.send(written)));
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Deletes the data key of a subject for good. It is gone from the file on return. Blocks for as long as a
    /// write to the disk takes. Fails where rows of the file are not found where they should be.
    pub fn erase(&self, subject: Subject) -> Result<(), Error> {
        if !self.shared.is_sound {
            return Err(Error("it is damaged; restore it from its backup".into()));
        }
        self.wait_for(Change::Erase(subject))
    }

    /// Whether the data key of a subject was erased.
    pub fn is_erased(&self, subject: Subject) -> Result<bool, Error> {
        Ok(matches!(self.shared.look_up(subject, false)?, Some(Known::Erased)))
    }

    /// Reads stored bytes.
    pub fn open(&self, bytes: &[u8]) -> Result<Envelope, codec::Error> {
        Envelope::open_with(bytes, self)
    }

    fn wait_for(&self, change: Change) -> Result<(), Error> {
        let (done, answer) = mpsc::sync_channel(1);
        self.send(change, move |written| drop(done.send(written)));
        answer.recv().unwrap_or_else(|_| Err(ended()))
    }

    fn send(&self, change: Change, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        // When nobody takes it, its answer's sender is dropped, which tells.
        let request = Request { change, done: Box::new(done) };
        let _ = self.requests.as_ref().map(|requests| requests.send(request));
    }
}

fn ended() -> Error {
    Error("it is closed".into())
}

impl DataKeys for Vault {
    fn data_key(&self, subject: Subject) -> Result<Held, Unreadable> {
        Ok(match self.shared.look_up(subject, true).map_err(|_| Unreadable)? {
            Some(Known::Key(key)) => Held::Key(key),
            Some(Known::Erased) => Held::Erased,
            Some(Known::Lost) | None => Held::Absent,
        })
    }
}

impl Sealer for Vault {
    fn nonce(&self) -> [u8; NONCE_BYTES] {
        self.shared.edge.nonce()
    }

    /// Blocks for as long as a write to the disk takes where there is none: whoever writes to the log has called
    /// [`Vault::prepare`], and the recorder finds the data keys of keys that were issued, unless they were lost.
    fn key_to_seal(&self, subject: Subject) -> Result<Option<DataKey>, Unreadable> {
        let look_up = || self.shared.look_up(subject, false).map_err(|_| Unreadable);
        if matches!(look_up()?, None | Some(Known::Lost)) {
            self.wait_for(Change::Make(vec![subject])).map_err(|_| Unreadable)?;
        }
        match look_up()? {
            Some(Known::Key(key)) => Ok(Some(key)),
            Some(Known::Erased) => Ok(None),
            Some(Known::Lost) | None => Err(Unreadable),
        }
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
