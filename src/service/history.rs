//! What things were at a moment: folded from their streams as far as these went then.
//!
//! A stream ends at a moment before its first event that is later. Clocks may go back between two events; what stands
//! before an event in its stream is never left out while the event counts.

use keyledger_projections::{IdentityState, KeyState, OrganizationState, WorkspaceState};
use keyledger_schema::{Envelope, IdentityId, KeyId, OrganizationId, Stream, Timestamp, WorkspaceId};

use super::Service;
use super::writer::read_failed;
use crate::error::{Error, Result};
use crate::store::Direction;

/// How many events of a stream are read at once.
const PAGE: usize = 500;

impl Service {
    /// A key as it was; none before it was issued.
    pub async fn key_at(&self, id: KeyId, at: Timestamp) -> Result<Option<KeyState>> {
        let mut state = self.folded(Stream::Key(id), at, KeyState::fold).await?;
        if let Some(state) = state.as_mut().filter(|state| state.erased_at.is_none()) {
            // What was erased since cannot be read of earlier moments either, and is told apart from what never was.
            let now = self.read_model.key(id).await.map_err(|error| super::keys::query_failed(&error))?;
            state.erased_at = now.and_then(|row| row.state.erased_at);
        }
        Ok(state)
    }

    /// An organization as it was.
    pub async fn organization_at(
        &self,
        id: OrganizationId,
        at: Timestamp,
    ) -> Result<Option<OrganizationState>> {
        self.folded(Stream::Organization(id), at, OrganizationState::fold).await
    }

    /// A workspace as it was.
    pub async fn workspace_at(&self, id: WorkspaceId, at: Timestamp) -> Result<Option<WorkspaceState>> {
        self.folded(Stream::Workspace(id), at, WorkspaceState::fold).await
    }

    /// An identity as it was.
    pub async fn identity_at(&self, id: IdentityId, at: Timestamp) -> Result<Option<IdentityState>> {
        self.folded(Stream::Identity(id), at, IdentityState::fold).await
    }

    async fn folded<S>(
        &self,
        stream: Stream,
        at: Timestamp,
        fold: fn(Option<S>, &Envelope) -> Option<S>,
    ) -> Result<Option<S>> {
        let stream = stream.to_string();
        let (mut state, mut from) = (None, 0);
        loop {
            let events = self.store.read_stream(&stream, Some(from), Direction::Forward, PAGE).await;
            let events = events.map_err(|error| read_failed(&error))?;
            for event in &events {
                let envelope = self.open(event)?;
                if envelope.at > at {
                    return Ok(state);
                }
                state = fold(state, &envelope);
            }
            match events.last() {
                Some(last) if events.len() == PAGE => {
                    from = last.revision.checked_add(1).ok_or_else(Error::internal)?;
                }
                _ => return Ok(state),
            }
        }
    }
}
