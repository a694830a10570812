//! That a trail is whole: where every stream ended, committed to the log, and proofs of it.
//!
//! Every [`EVERY`] seconds in which something happened, and whenever a proof is asked for, the root of the map of
//! [`crate::audit::heads`] becomes an event. Proofs are given under a commitment that is in the log, never under what
//! is only in memory, and none leaves before the verifier that outsiders use has accepted it.

mod committer;
mod ledger;

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{Event, HeadsCommitted};
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{Envelope, LogId, Stream};

use self::committer::Committer;
use super::writer::{Failure, read_failed};
use super::{Service, WrittenEvent};
use crate::audit::heads::{self, Excerpt, Head, Proof};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::readmodel::Entry;
use crate::store::{Direction, Position};

/// How long after an event the ends of all streams are committed at the latest, while the log works.
pub const EVERY: Duration = Duration::from_secs(10);
/// How often an append to the log's own stream is tried.
const ATTEMPTS: usize = 8;
/// How many events of a stream are read at once.
const PAGE: usize = 100;

/// A commitment in the log.
#[derive(Clone, Debug)]
pub struct Commitment {
    /// The event.
    pub envelope: Envelope,
    /// Its stored bytes.
    pub bytes: Arc<[u8]>,
    /// Its number in the log.
    pub log_index: u64,
    /// What it says.
    pub committed: HeadsCommitted,
    /// That it is in the log of a signed checkpoint (C2SP tlog-proof); none on a node that keeps no tree.
    pub tlog_proof: Option<String>,
}

/// Where a stream ended, and why that can be believed.
#[derive(Clone, Debug)]
pub struct Completeness {
    /// The stream.
    pub stream: Stream,
    /// Its last event at that time; none if it had no event.
    pub head: Option<Head>,
    /// The commitment.
    pub commitment: Commitment,
    /// From the head, or from its absence, to the commitment's root.
    pub proof: Proof,
}

/// Some streams under one commitment, as the committer knows them.
#[derive(Debug)]
struct Proven {
    written: WrittenEvent,
    committed: HeadsCommitted,
    /// Events after this place are not covered.
    covered: Option<Position>,
    excerpt: Excerpt,
}

/// What follows the log and commits. It runs while a server does.
#[derive(Default)]
pub(super) struct Running(OnceLock<Committer>);

impl Service {
    /// Begins to commit the ends of streams.
    pub fn start_committing(self: &Arc<Self>, every: Duration) -> io::Result<()> {
        let committer = Committer::start(Arc::clone(self), every)?;
        if let Err(second) = self.committing.0.set(committer) {
            second.stop();
        }
        Ok(())
    }

    /// Ends it. Nothing is committed any more.
    pub fn stop_committing(&self) {
        if let Some(committer) = self.committing.0.get() {
            committer.stop();
        }
    }

    /// Where a stream ends, for whoever may read that trail.
    pub async fn completeness(
        &self,
        caller: &Caller,
        stream: Stream,
        field: &'static str,
    ) -> Result<Completeness> {
        let place = self.place_of_stream(stream, field).await?;
        // What somebody may not see does not exist.
        if !self.sees(caller, place) {
            return Err(Error::not_found(field, "stream"));
        }
        self.require(caller, Right::ReadTrail, place)?;
        let (proven, entry) = self.proven(vec![stream]).await?;
        let WrittenEvent { envelope, bytes, .. } = proven.written;
        let tlog_proof = match self.tree() {
            Ok(_) => self.inclusion_of(&entry, None).await?.file(),
            Err(_) => None,
        };
        let commitment = Commitment {
            log_index: entry.log_index,
            tlog_proof,
            committed: proven.committed,
            envelope,
            bytes,
        };
        let name = stream.to_string();
        let proof = proven.excerpt.prove(&name).ok_or_else(Error::internal)?;
        let head = self.head_at(&name, proven.covered).await?;
        let root = &commitment.committed.root.0;
        let accepted = match (&proof, &head) {
            (Proof::Included(proof), Some(head)) => proof.verify(root, &name, head),
            (Proof::Absent(proof), None) => proof.verify(root, &name),
            _ => Err(heads::Error::Misplaced),
        };
        accepted.map_err(|error| {
            tracing::error!(%error, %stream, "a proof of completeness does not hold");
            Error::internal()
        })?;
        Ok(Completeness { stream, head, commitment, proof })
    }

    /// Where some streams ended, however many, for whoever proves it later: all under one commitment, its log index and
    /// the size of the log that it is about. Asks nobody's rights.
    pub(super) async fn ends_of(&self, streams: Vec<Stream>) -> Result<(u64, u64, Excerpt)> {
        let (proven, entry) = self.proven(streams).await?;
        Ok((entry.log_index, proven.committed.tree_size, proven.excerpt))
    }

    /// Streams under a commitment of now, and its entry.
    async fn proven(&self, streams: Vec<Stream>) -> Result<(Proven, Entry)> {
        let committer = self.committing.0.get().ok_or_else(|| {
            Error::unavailable("this node does not commit the ends of streams yet; try again in a moment")
        })?;
        let proven = committer.prove(streams).await?;
        self.applied_to(proven.written.position.ok_or_else(Error::internal)?).await?;
        let entry = self.read_model.entry(proven.written.envelope.id).await;
        let entry = entry.map_err(|error| super::keys::query_failed(&error))?;
        Ok((proven, entry.ok_or_else(Error::internal)?))
    }

    /// The last event of a stream that is not after a place of the log.
    async fn head_at(&self, stream: &str, covered: Option<Position>) -> Result<Option<Head>> {
        let mut from = None;
        loop {
            let events = self.store.read_stream(stream, from, Direction::Backward, PAGE).await;
            let events = events.map_err(|error| read_failed(&error))?;
            if let Some(last) = events.iter().find(|event| Some(event.position) <= covered) {
                return Ok(Some(Head::of(last.revision, &last.bytes)));
            }
            match events.last().map(|event| event.revision) {
                None | Some(0) => return Ok(None),
                Some(revision) => from = Some(revision - 1),
            }
        }
    }

    /// Whose trail a stream is. Those of nodes are nobody's in particular.
    async fn place_of_stream(&self, stream: Stream, field: &'static str) -> Result<Place> {
        let missing = || Error::not_found(field, "stream");
        let failed = |error| super::keys::query_failed(&error);
        match stream {
            Stream::Key(id) => {
                let row = self.read_model.key(id).await.map_err(failed)?;
                row.map(|row| super::keys::place_of(&row.state)).ok_or_else(missing)
            }
            Stream::Identity(id) => {
                let state = self.read_model.identity(id).await.map_err(failed)?;
                state.as_ref().map(super::identities::place_of).ok_or_else(missing)
            }
            Stream::Workspace(id) => {
                let known = self.tenants.workspace(id).ok_or_else(missing)?;
                Ok(Place { organization: known.organization, workspace: Some(id) })
            }
            Stream::Organization(id) | Stream::Audit(id) => {
                let known = self.tenants.organization(id).ok_or_else(missing)?;
                Ok(Place { organization: known.id, workspace: None })
            }
            Stream::Usage(_) | Stream::Node(_) | Stream::Log(_) => Err(missing()),
        }
    }

    /// Writes an event to the log's own stream, which other nodes and other parts of this one write to as well.
    async fn append_to_own_log(&self, event: Event) -> Result<WrittenEvent> {
        let stream = Stream::Log(LogId::from_uuid(self.store.log_id()));
        let context = self.own_context();
        for _ in 0..ATTEMPTS {
            let head = self.head(stream).await?;
            let events = vec![event.clone()];
            match self.append(&context, stream, head, None, events, Outcome::Success).await {
                Ok(mut written) => return written.pop().ok_or_else(Error::internal),
                Err(Failure::Conflict) => {}
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        Err(Error::unavailable("too many others write to the log's own stream; try again"))
    }
}
