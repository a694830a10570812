//! The state of a workspace.

use keyledger_schema::event::Event;
use keyledger_schema::{Envelope, OrganizationId, Stream, Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};

/// A workspace as its events made it. Reservations of places for keys are not in it: each lives for a
/// minute, and they are counted together with the keys that they became.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkspaceState {
    /// The workspace.
    pub id: WorkspaceId,
    /// Where it belongs.
    pub organization: OrganizationId,
    /// Shown to people.
    pub name: Box<str>,
    /// How many keys it may have that are neither revoked nor deleted nor expired.
    pub max_keys: Option<u64>,
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
        match state {
            None => {
                let Event::WorkspaceCreated(created) = &envelope.event else { return None };
                Some(Self {
                    id,
                    organization: created.organization,
                    name: created.name.clone(),
                    max_keys: None,
                    created_at: envelope.at,
                    revision: envelope.revision,
                })
            }
            Some(mut state) => {
                if state.id == id && envelope.revision > state.revision {
                    state.revision = envelope.revision;
                    match &envelope.event {
                        Event::WorkspaceRenamed(renamed) => state.name.clone_from(&renamed.name),
                        Event::WorkspaceQuotaSet(set) => state.max_keys = set.max_keys,
                        _ => {}
                    }
                }
                Some(state)
            }
        }
    }
}
