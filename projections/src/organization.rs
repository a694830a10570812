//! The state of an organization.

use keyledger_schema::event::{Event, Hex32};
use keyledger_schema::{Envelope, OrganizationId, Stream, Timestamp};
use serde::{Deserialize, Serialize};

/// The key that an organization signs with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SigningKey {
    /// 1 for the first.
    pub generation: u32,
    /// Ed25519 public key.
    pub public_key: Hex32,
}

/// An organization as its events made it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrganizationState {
    /// The organization.
    pub id: OrganizationId,
    /// Shown to people.
    pub name: Box<str>,
    /// Part of its keys' addresses.
    pub slug: Box<str>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Set by the bootstrap; before it the organization issues no key.
    pub signing_key: Option<SigningKey>,
    /// Revision of the last event folded.
    pub revision: u64,
}

impl OrganizationState {
    /// The state after one more event.
    #[must_use]
    pub fn fold(state: Option<Self>, envelope: &Envelope) -> Option<Self> {
        let Stream::Organization(id) = envelope.stream else { return state };
        match (&envelope.event, state) {
            (Event::OrganizationCreated(created), None) => Some(Self {
                id,
                name: created.name.clone(),
                slug: created.slug.clone(),
                created_at: envelope.at,
                signing_key: None,
                revision: envelope.revision,
            }),
            (Event::OrganizationBootstrapped(bootstrapped), Some(state))
                if state.id == id && envelope.revision > state.revision =>
            {
                Some(Self {
                    signing_key: Some(SigningKey {
                        generation: bootstrapped.signing_key_generation,
                        public_key: bootstrapped.signing_public_key,
                    }),
                    revision: envelope.revision,
                    ..state
                })
            }
            (_, state) => state,
        }
    }
}
