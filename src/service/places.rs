//! Places of a workspace's quota.
//!
//! A rule that spans streams is kept in the stream that owns it: where a workspace has a quota, a key is
//! issued only after its place was reserved by an event in the workspace's stream. The count that a
//! reservation is decided on is of one moment of the read model that is at least as new as the stream's
//! end, and the append expects that end, so two reservations never count past each other, on however
//! many nodes. A place is taken by the key that it was reserved for, or free again after a minute.
//!
//! Creates that wait for places of one workspace are served together: whoever comes first reserves for
//! all who wait, in one event.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use keyledger_schema::codec::Outcome;
use keyledger_schema::{KeyId, Stream, Timestamp, WorkspaceId};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Mutex as Turn, oneshot};

use super::Service;
use super::writer::Failure;
use crate::decisions::workspace::{ISSUE_WITHIN, RESERVATION, no_place, reserve};
use crate::error::{Code, Error, Result};

/// How often a reservation is tried while other nodes reserve in the same workspace.
const ATTEMPTS: usize = 32;
/// Keys of one reservation, so that its event stays well below the largest.
const BATCH: usize = 1_000;

struct Waiting {
    key: KeyId,
    answer: oneshot::Sender<Result<Timestamp>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Vec<Waiting>>,
    turn: Turn<()>,
}

impl Queue {
    fn enter(&self, key: KeyId) -> oneshot::Receiver<Result<Timestamp>> {
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Waiting { key, answer });
        answered
    }

    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let now = waiting.len().min(BATCH);
        let rest = waiting.split_off(now);
        std::mem::replace(&mut *waiting, rest)
    }
}

/// Who waits for places, by workspace.
#[derive(Default)]
pub(super) struct Queues(Mutex<HashMap<WorkspaceId, Arc<Queue>>>);

/// A place that is kept for a key for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved(Option<Timestamp>);

impl Reserved {
    /// For a key that needs no place.
    pub(super) const NOT_NEEDED: Self = Self(None);
}

impl Service {
    /// Keeps a place for a key, if its workspace has a quota.
    pub(super) async fn reserve_place(&self, workspace: WorkspaceId, key: KeyId) -> Result<Reserved> {
        if self.tenants.workspace(workspace).is_none_or(|workspace| workspace.max_keys.is_none()) {
            return Ok(Reserved::NOT_NEEDED);
        }
        // Boxed, so that those who need no place do not carry around what waiting for one takes.
        Box::pin(self.queue_for_place(workspace, key)).await
    }

    async fn queue_for_place(&self, workspace: WorkspaceId, key: KeyId) -> Result<Reserved> {
        let queue = {
            let mut queues = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(queues.entry(workspace).or_default())
        };
        let mut answered = queue.enter(key);
        let _turn = queue.turn.lock().await;
        loop {
            match answered.try_recv() {
                Ok(reserved) => return reserved.map(Some).map(Reserved),
                // Whoever was about to reserve for all was cut off in the middle.
                Err(TryRecvError::Closed) => answered = queue.enter(key),
                // More may wait than one event holds, so this may not be the last round.
                Err(TryRecvError::Empty) => {
                    let waiting = queue.take();
                    let keys: Vec<KeyId> = waiting.iter().map(|waiting| waiting.key).collect();
                    let reserved = self.reserve_places(workspace, &keys).await;
                    for waiting in waiting {
                        let answer = match &reserved {
                            Ok((granted, refusal)) => {
                                granted.get(&waiting.key).copied().ok_or_else(|| refusal.clone())
                            }
                            Err(error) => Err(error.clone()),
                        };
                        // Whoever gave up leaves a place that is free again in a minute.
                        let _ = waiting.answer.send(answer);
                    }
                }
            }
        }
    }

    /// Reserves for those that come first; says since when each of them has its place, and what the others are
    /// told. A key that has its place already, because its request was repeated, takes no other.
    async fn reserve_places(
        &self,
        workspace: WorkspaceId,
        keys: &[KeyId],
    ) -> Result<(HashMap<KeyId, Timestamp>, Error)> {
        for _ in 0..ATTEMPTS {
            let loaded = self.load_workspace(workspace).await?.ok_or_else(Error::internal)?;
            self.applied_to(loaded.position).await?;
            let context = self.own_context();
            let taken = self.places_taken(workspace, context.at).await?;
            let Some(max_keys) = loaded.state.max_keys else {
                return Ok((keys.iter().map(|key| (*key, context.at)).collect(), Error::internal()));
            };
            let since = context.at.minus(RESERVATION);
            let held = self.read_model.places_of(workspace, since, keys.to_vec()).await;
            let held = held.map_err(|error| super::keys::query_failed(&error))?;
            let mut granted: HashMap<KeyId, Timestamp> =
                held.into_iter().map(|(key, at)| (key, at.unwrap_or(context.at))).collect();
            let mut seen: HashSet<KeyId> = granted.keys().copied().collect();
            let wanted: Vec<KeyId> = keys.iter().copied().filter(|key| seen.insert(*key)).collect();
            let (more, event) = reserve(max_keys, taken, &wanted);
            granted.extend(wanted[..more].iter().map(|key| (*key, context.at)));
            let refusal = no_place(max_keys, taken + more as u64);
            let Some(event) = event else { return Ok((granted, refusal)) };
            let place = Some(super::aggregate::Aggregate::place(&loaded.state));
            let stream = Stream::Workspace(workspace);
            let appended =
                self.append(&context, stream, loaded.head, place, vec![event], Outcome::Success).await;
            match appended {
                Ok(events) => {
                    self.applied(&events).await?;
                    return Ok((granted, refusal));
                }
                Err(Failure::Conflict) => {}
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        Err(Error::new(Code::Conflict, "many others are creating keys in this workspace; try again"))
    }

    /// Keys that take a place, and places kept for keys to come.
    pub(super) async fn places_taken(&self, workspace: WorkspaceId, now: Timestamp) -> Result<u64> {
        let since = now.minus(RESERVATION);
        self.read_model.places(workspace, since).await.map_err(|error| super::keys::query_failed(&error))
    }

    /// The same, now.
    pub async fn quota_taken(&self, workspace: WorkspaceId) -> Result<u64> {
        self.places_taken(workspace, self.edge.now()).await
    }

    /// Refuses to issue a key so long after its place was reserved that the place may be given away.
    pub(super) fn still_reserved(&self, reserved: Reserved) -> Result<()> {
        match reserved.0 {
            Some(at) if self.edge.now() > at.plus(ISSUE_WITHIN) => Err(Error::unavailable(
                "the key's place in the quota was kept too long while the log was busy; nothing was created, try again",
            )),
            _ => Ok(()),
        }
    }
}
