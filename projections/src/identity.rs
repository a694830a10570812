//! The state of an identity.

use keyledger_schema::event::Event;
use keyledger_schema::{
    Envelope, IdentityId, Metadata, OrganizationId, Personal, RateLimit, Stream, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::credits::CreditsState;

/// An identity as its events made it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IdentityState {
    /// The identity.
    pub id: IdentityId,
    /// Its tenant.
    pub organization: OrganizationId,
    /// Revision of the last event folded.
    pub revision: u64,
    /// See `IdentityCreated`.
    pub external_id: Personal<Box<str>>,
    /// See `IdentityCreated`.
    pub name: Option<Personal<Box<str>>>,
    /// See `IdentityCreated`.
    pub rate_limits: Vec<RateLimit>,
    /// See `IdentityCreated`.
    pub metadata: Personal<Metadata>,
    /// The last change of its credits; none if it never had any.
    pub credits: Option<CreditsState>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its last event was.
    pub updated_at: Timestamp,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// When its personal data was erased.
    pub erased_at: Option<Timestamp>,
}

impl IdentityState {
    /// The state after one more event.
    #[must_use]
    pub fn fold(state: Option<Self>, envelope: &Envelope) -> Option<Self> {
        let Stream::Identity(id) = envelope.stream else { return state };
        match state {
            None => {
                let Event::IdentityCreated(created) = &envelope.event else { return None };
                Some(Self {
                    id,
                    organization: envelope.organization?,
                    revision: envelope.revision,
                    external_id: created.external_id.clone(),
                    name: created.name.clone(),
                    rate_limits: created.rate_limits.clone(),
                    metadata: created.metadata.clone(),
                    credits: None,
                    created_at: envelope.at,
                    updated_at: envelope.at,
                    deleted_at: None,
                    erased_at: None,
                })
            }
            Some(mut state) => {
                if state.id == id && envelope.revision > state.revision {
                    state.apply(envelope);
                }
                Some(state)
            }
        }
    }

    fn apply(&mut self, envelope: &Envelope) {
        self.revision = envelope.revision;
        self.updated_at = envelope.at;
        match &envelope.event {
            Event::IdentityUpdated(data) => {
                if let Some(name) = &data.name {
                    self.name = Some(name.clone());
                }
                if let Some(rate_limits) = &data.rate_limits {
                    self.rate_limits.clone_from(rate_limits);
                }
                if let Some(metadata) = &data.metadata {
                    self.metadata = metadata.clone();
                }
            }
            Event::IdentityCreditsChanged(data) => self.credits = Some(CreditsState::of(data, envelope.at)),
            Event::IdentityDeleted(_) => self.deleted_at = Some(envelope.at),
            Event::IdentityErased(_) => {
                self.erased_at = Some(envelope.at);
                self.external_id = Personal::erased();
                self.name = None;
                self.metadata = Personal::erased();
            }
            _ => {}
        }
    }
}
