//! The one thread that writes the vault. While a commit is under way the next requests gather.

use std::sync::mpsc;

use keyledger_schema::Subject;
use tokio::sync::oneshot;

use super::{Error, Shared, file};

/// The most requests in one commit.
const REQUESTS_PER_COMMIT: usize = 1_024;

/// What is asked of the thread.
pub(super) enum Request {
    /// Data keys for these subjects, where they have none.
    Make { subjects: Vec<Subject>, done: oneshot::Sender<Result<(), Error>> },
    /// No data key for this subject any more.
    Erase { subject: Subject, done: mpsc::SyncSender<Result<(), Error>> },
}

impl Request {
    fn subjects(&self) -> &[Subject] {
        match self {
            Self::Make { subjects, .. } => subjects,
            Self::Erase { subject, .. } => std::slice::from_ref(subject),
        }
    }

    fn answer(self, result: Result<(), Error>) {
        // Whoever asked may be gone.
        match self {
            Self::Make { done, .. } => drop(done.send(result)),
            Self::Erase { done, .. } => drop(done.send(result)),
        }
    }
}

/// Runs until the vault is dropped.
pub(super) fn run(shared: &Shared, requests: &mpsc::Receiver<Request>) {
    while let Ok(first) = requests.recv() {
        let mut batch = vec![first];
        batch.extend(requests.try_iter().take(REQUESTS_PER_COMMIT - 1));
        let written = write(shared, &batch).map_err(|error| {
            tracing::error!(%error, "the vault cannot be written");
            Error(error.to_string().into())
        });
        for request in batch {
            request.answer(written.clone());
        }
    }
}

fn write(shared: &Shared, batch: &[Request]) -> rusqlite::Result<()> {
    let mut connection = shared.connection();
    let transaction = connection.transaction()?;
    let mut erased = false;
    for request in batch {
        match request {
            Request::Make { subjects, .. } => {
                for subject in subjects {
                    file::make(&transaction, &shared.wrapping, &shared.edge, *subject)?;
                }
            }
            Request::Erase { subject, .. } => {
                file::erase(&transaction, *subject)?;
                erased = true;
            }
        }
    }
    transaction.commit()?;
    for subject in batch.iter().flat_map(Request::subjects) {
        if let Some(known) = file::read(&connection, &shared.wrapping, *subject)? {
            shared.remember(*subject, known);
        }
    }
    if erased {
        file::empty_wal(&connection)?;
    }
    Ok(())
}
