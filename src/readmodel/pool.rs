//! Threads with read-only connections that answer queries, so that async workers never block.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{OpenError, QueryError, schema};

/// Queries that may wait; beyond, new ones are refused at once.
const WAITING: usize = 4_096;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Engine(#[from] rusqlite::Error),
    #[error(transparent)]
    Cursor(#[from] super::cursor::Error),
}

type Query = Box<dyn FnOnce(&Connection) + Send>;

#[derive(Default)]
struct Waiting {
    queries: VecDeque<Query>,
    closed: bool,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Query> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some(query) = waiting.queries.pop_front() {
                return Some(query);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A few reading threads. Dropping it ends them after the query each is at; the others fail.
pub(super) struct Pool {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(super) fn open(name: &str, threads: usize, path: &Path) -> Result<Self, OpenError> {
        let mut pool = Self { queue: Arc::default(), threads: Vec::with_capacity(threads) };
        for _ in 0..threads {
            let connection =
                schema::reading(path).map_err(|source| OpenError::Engine { path: path.into(), source })?;
            let queue = Arc::clone(&pool.queue);
            pool.threads.push(super::spawn(name, path, move || {
                while let Some(query) = queue.next() {
                    // Whoever asked sees a failure; the next query is another one's.
                    let _ = catch_unwind(AssertUnwindSafe(|| query(&connection)));
                }
            })?);
        }
        Ok(pool)
    }

    /// Runs a query in one read transaction, so that all it reads is of one moment.
    pub(super) async fn read<T, E>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, QueryError>
    where
        T: Send + 'static,
        Failure: From<E>,
    {
        let (answer, answered) = oneshot::channel();
        let query: Query = Box::new(move |connection| {
            // Nobody waits for the answer any more.
            if answer.is_closed() {
                return;
            }
            let run = || -> Result<T, Failure> {
                let _snapshot = connection.unchecked_transaction()?;
                Ok(query(connection)?)
            };
            let result = run().map_err(|failure| match failure {
                Failure::Cursor(_) => QueryError::Cursor,
                Failure::Engine(error) => {
                    tracing::error!(%error, "a query of the read model failed");
                    QueryError::Failed
                }
            });
            let _ = answer.send(result);
        });
        {
            let mut waiting = self.queue.lock();
            if waiting.queries.len() >= WAITING {
                return Err(QueryError::Busy);
            }
            waiting.queries.push_back(query);
        }
        self.queue.changed.notify_one();
        answered.await.map_err(|_| QueryError::Failed)?
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let mut waiting = self.queue.lock();
            waiting.closed = true;
            waiting.queries.clear();
        }
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
