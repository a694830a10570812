//! The state of a workspace.

use keyledger_schema::event::Event;
use keyledger_schema::{Envelope, OrganizationId, Stream, Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};

/// A workspace as its events made it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkspaceState {
    /// The workspace.
    pub id: WorkspaceId,
    /// Where it belongs.
    pub organization: OrganizationId,
    /// Shown to people.
    pub name: Box<str>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Revision of the last event folded.
    pub revision: u64,
}

impl WorkspaceState {
    /// The state after one more event.
    #[must_use]
    pub fn fold(state: Option<Self>, envelope: &Envelope) -> Option<Self> {
        let Stream::Workspace(id) = envelope.stream else { return state };
        match (&envelope.event, state) {
            (Event::WorkspaceCreated(created), None) => Some(Self {
                id,
                organization: created.organization,
                name: created.name.clone(),
                created_at: envelope.at,
                revision: envelope.revision,
            }),
            (_, state) => state,
        }
    }
}
