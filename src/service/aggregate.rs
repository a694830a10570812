//! What commands are about: something whose state is the fold of one stream.

use keyledger_projections::{IdentityState, KeyState, OrganizationState, WorkspaceState};
use keyledger_schema::codec::Outcome;
use keyledger_schema::grant::Place;
use keyledger_schema::{Envelope, Event, IdentityId, KeyId, OrganizationId, Stream, WorkspaceId};

use super::writer::{Failure, read_failed, unopened};
use super::{Context, Service, Written};
use crate::decisions::Decision;
use crate::error::{Code, Error, Result};
use crate::store::{Direction, Position, Recorded};
use crate::stream_head::StreamHead;

/// How often a decision is made anew when others write to the same stream.
const ATTEMPTS: usize = 16;
/// How many events of a stream are read at once.
const PAGE: usize = 500;

/// A state and its stream.
pub(super) trait Aggregate: Clone + Send + Sync {
    fn stream(&self) -> Stream;
    fn revision(&self) -> u64;
    fn place(&self) -> Place;
    fn fold(state: Option<Self>, envelope: &Envelope) -> Option<Self>;
}

impl Aggregate for KeyState {
    fn stream(&self) -> Stream {
        Stream::Key(self.id)
    }
    fn revision(&self) -> u64 {
        self.revision
    }
    fn place(&self) -> Place {
        super::keys::place_of(self)
    }
    fn fold(state: Option<Self>, envelope: &Envelope) -> Option<Self> {
        Self::fold(state, envelope)
    }
}

impl Aggregate for OrganizationState {
    fn stream(&self) -> Stream {
        Stream::Organization(self.id)
    }
    fn revision(&self) -> u64 {
        self.revision
    }
    fn place(&self) -> Place {
        Place { organization: self.id, workspace: None }
    }
    fn fold(state: Option<Self>, envelope: &Envelope) -> Option<Self> {
        Self::fold(state, envelope)
    }
}

impl Aggregate for WorkspaceState {
    fn stream(&self) -> Stream {
        Stream::Workspace(self.id)
    }
    fn revision(&self) -> u64 {
        self.revision
    }
    fn place(&self) -> Place {
        Place { organization: self.organization, workspace: Some(self.id) }
    }
    fn fold(state: Option<Self>, envelope: &Envelope) -> Option<Self> {
        Self::fold(state, envelope)
    }
}

impl Aggregate for IdentityState {
    fn stream(&self) -> Stream {
        Stream::Identity(self.id)
    }
    fn revision(&self) -> u64 {
        self.revision
    }
    fn place(&self) -> Place {
        super::identities::place_of(self)
    }
    fn fold(state: Option<Self>, envelope: &Envelope) -> Option<Self> {
        Self::fold(state, envelope)
    }
}

/// A state and where its stream ends.
pub(super) struct Loaded<A> {
    pub(super) state: A,
    pub(super) head: StreamHead,
    /// Where the last event stands in the log.
    pub(super) position: Position,
}

/// The revision that somebody looked at before they edited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen(pub u64);

/// Whether an event takes the ground from under an edit.
pub(super) type Clashes<'a> = dyn Fn(&Event) -> bool + Sync + 'a;

impl Service {
    /// A key: the folded state that the read model keeps, and whatever the log has after it. The
    /// expected revision of an append decides whether that was all.
    pub(super) async fn load_key(&self, id: KeyId) -> Result<Option<Loaded<KeyState>>> {
        let row = self.read_model.key(id).await.map_err(|error| super::keys::query_failed(&error))?;
        self.load(Stream::Key(id), row.map(|row| row.state)).await
    }

    pub(super) async fn load_organization(
        &self,
        id: OrganizationId,
    ) -> Result<Option<Loaded<OrganizationState>>> {
        let known = self.tenants.organization(id).map(|state| (*state).clone());
        self.load(Stream::Organization(id), known).await
    }

    pub(super) async fn load_workspace(&self, id: WorkspaceId) -> Result<Option<Loaded<WorkspaceState>>> {
        let known = self.tenants.workspace(id).map(|state| (*state).clone());
        self.load(Stream::Workspace(id), known).await
    }

    pub(super) async fn load_identity(&self, id: IdentityId) -> Result<Option<Loaded<IdentityState>>> {
        let known = self.read_model.identity(id).await.map_err(|error| super::keys::query_failed(&error))?;
        self.load(Stream::Identity(id), known).await
    }

    /// Folds what the log has beyond a known state.
    async fn load<A: Aggregate>(&self, stream: Stream, known: Option<A>) -> Result<Option<Loaded<A>>> {
        let mut state = known;
        let mut head = StreamHead::default();
        let mut position = None;
        let stream = stream.to_string();
        // The last folded event is read again for its hash.
        let mut from = state.as_ref().map_or(0, A::revision);
        loop {
            let events = self
                .store
                .read_stream(&stream, Some(from), Direction::Forward, PAGE)
                .await
                .map_err(|error| read_failed(&error))?;
            for event in &events {
                head = StreamHead::at(event.revision, &event.bytes);
                position = Some(event.position);
                if state.as_ref().is_some_and(|state| state.revision() >= event.revision) {
                    continue;
                }
                state = A::fold(state, &self.open(event)?);
            }
            match events.last() {
                Some(last) if events.len() == PAGE => from = last.revision + 1,
                _ => break,
            }
        }
        Ok(state.zip(position).map(|(state, position)| Loaded { state, head, position }))
    }

    /// Decides on what is known, and anew on what the log says when somebody else was faster. With the
    /// revision that the author saw, an edit that clashes with what came after it is refused.
    pub(super) async fn decide_and_append<A: Aggregate>(
        &self,
        context: &Context,
        mut loaded: Loaded<A>,
        seen: Option<(Seen, &Clashes<'_>)>,
        decide: impl Fn(&A) -> Result<Decision>,
    ) -> Result<Written<A>> {
        for _ in 0..ATTEMPTS {
            let decided = decide(&loaded.state);
            // An edit that is true already is repeated rather than late.
            let repeated = decided.as_ref().is_ok_and(|decision| decision.events.is_empty());
            if let Some((seen, clashes)) = seen.filter(|_| !repeated) {
                self.refuse_clash(&loaded, seen, clashes).await?;
            }
            let decision = decided?;
            if decision.events.is_empty() {
                // Somebody else made it true, maybe a moment ago: this node must know it before it is said.
                self.applied_to(loaded.position).await?;
                return Ok(Written { state: loaded.state, events: Vec::new(), warnings: decision.warnings });
            }
            let (stream, place) = (loaded.state.stream(), Some(loaded.state.place()));
            let appended =
                self.append(context, stream, loaded.head, place, decision.events, Outcome::Success).await;
            match appended {
                Ok(events) => {
                    let mut state = Some(loaded.state);
                    for event in &events {
                        state = A::fold(state, &event.envelope);
                    }
                    let state = state.ok_or_else(Error::internal)?;
                    return Ok(Written { state, events, warnings: decision.warnings });
                }
                Err(Failure::Conflict) => {
                    loaded = self.load(stream, Some(loaded.state)).await?.ok_or_else(Error::internal)?;
                }
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        Err(Error::new(Code::Conflict, "many others are changing this; look at it again and repeat"))
    }

    async fn refuse_clash<A: Aggregate>(
        &self,
        loaded: &Loaded<A>,
        Seen(seen): Seen,
        clashes: &Clashes<'_>,
    ) -> Result<()> {
        let current = loaded.state.revision();
        let conflict = |message| {
            let error = Error::new(Code::Conflict, message).about("input.expectedRevision");
            Err(error.with("currentRevision", current))
        };
        if seen > current {
            return conflict("there is no such revision yet; name the one that you looked at");
        }
        let stream = loaded.state.stream().to_string();
        let mut from = seen + 1;
        while from <= current {
            let events = self
                .store
                .read_stream(&stream, Some(from), Direction::Forward, PAGE)
                .await
                .map_err(|error| read_failed(&error))?;
            let Some(last) = events.last() else { break };
            from = last.revision + 1;
            for event in &events {
                if clashes(&self.open(event)?.event) {
                    return conflict(
                        "somebody else changed the same thing since you looked; look again and repeat what is still wanted",
                    );
                }
            }
        }
        Ok(())
    }

    /// Reads an event.
    pub(super) fn open(&self, event: &Recorded) -> Result<Envelope> {
        self.vault.open(&event.bytes).map_err(|error| unopened(&error))
    }
}
