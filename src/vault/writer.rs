//! The one thread that writes the vault. While a commit is under way the next requests gather.

use std::sync::mpsc;

use keyledger_schema::Subject;

use super::{Error, Shared, file};

/// The most requests in one commit.
const REQUESTS_PER_COMMIT: usize = 1_024;

/// What is to be done.
pub(super) enum Change {
    /// Data keys for these subjects, where they have none.
    Make(Vec<Subject>),
    /// No data key for this subject any more.
    Erase(Subject),
}

/// What is asked of the thread.
pub(super) struct Request {
    pub(super) change: Change,
    /// Takes the answer. It is dropped if there is none.
    pub(super) done: Box<dyn FnOnce(Result<(), Error>) + Send>,
}

/// Runs until the vault is dropped.
pub(super) fn run(shared: &Shared, requests: &mpsc::Receiver<Request>) {
    while let Ok(first) = requests.recv() {
        let mut batch = vec![first];
        batch.extend(requests.try_iter().take(REQUESTS_PER_COMMIT - 1));
        let together = write(shared, batch.iter().map(|request| &request.change));
        // What one of them cannot have, because its part of the file is damaged, the others can.
        let one_by_one = together.is_err() && batch.len() > 1;
        for Request { change, done } in batch {
            let written = if one_by_one { write(shared, std::iter::once(&change)) } else { together.clone() };
            done(written);
        }
    }
}

fn write<'a>(shared: &Shared, changes: impl Iterator<Item = &'a Change> + Clone) -> Result<(), Error> {
    write_all(shared, changes).map_err(|error| {
        tracing::error!(%error, "the vault cannot be written");
        Error(error.to_string().into())
    })
}

fn write_all<'a>(shared: &Shared, changes: impl Iterator<Item = &'a Change> + Clone) -> rusqlite::Result<()> {
    let mut connection = shared.connection();
    let transaction = connection.transaction()?;
    let mut erased = false;
    for change in changes.clone() {
        match change {
            Change::Make(subjects) => {
                for subject in subjects {
                    file::make(&transaction, &shared.wrapping, &shared.edge, *subject)?;
                }
            }
            Change::Erase(subject) => {
                file::erase(&transaction, &shared.wrapping, &shared.edge, *subject)?;
                erased = true;
            }
        }
    }
    transaction.commit()?;
    let subjects = changes.flat_map(|change| match change {
        Change::Make(subjects) => subjects.as_slice(),
        Change::Erase(subject) => std::slice::from_ref(subject),
    });
    for subject in subjects {
        if let Some(known) = file::read(&connection, &shared.wrapping, *subject)? {
            shared.remember(*subject, known);
        }
    }
    if erased {
        file::empty_wal(&connection)?;
    }
    Ok(())
}
