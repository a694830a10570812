//! The keys that organizations sign tokens with.

use async_graphql::{Enum, ID, InputObject, SimpleObject};
use keyledger_projections::{OrganizationState, SigningKey};
use keyledger_schema::Timestamp;

use super::scalar::DateTime;
use crate::decisions::signing_keys::{Standing, standing};
use crate::token::jwk;

/// What a signing key is good for.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "Standing")]
pub(crate) enum SigningKeyStatus {
    /// Shown to everybody who checks tokens, and does not sign yet.
    Next,
    /// Signs.
    Signing,
    /// Signs no more; tokens that it signed can still be good.
    Verifying,
    /// No token that it signed is left.
    Retired,
    /// All tokens that it signed were revoked.
    Revoked,
}

/// A key that an organization signs tokens with, or did.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "SigningKey")]
pub(crate) struct SigningKeyNode {
    /// 1 for the first key of the organization.
    generation: u32,
    /// Its name in the headers of tokens and in the JWK set: its thumbprint (RFC 7638).
    kid: String,
    /// The Ed25519 public key in hexadecimal.
    public_key: String,
    /// What it is good for now.
    status: SigningKeyStatus,
    /// Since when it is known.
    added_at: DateTime,
    /// Since when it signs, or will.
    signs_from: DateTime,
    /// When it had no tokens left.
    retired_at: Option<DateTime>,
    /// When its tokens were all revoked.
    revoked_at: Option<DateTime>,
}

impl SigningKeyNode {
    /// Those of an organization, by generation.
    pub(super) fn all(state: &OrganizationState, now: Timestamp) -> Vec<Self> {
        let node = |key: &SigningKey| Self {
            generation: key.generation,
            kid: jwk::thumbprint(&key.public_key.0),
            public_key: blake3::Hash::from_bytes(key.public_key.0).to_hex().to_string(),
            status: standing(state, key, now).into(),
            added_at: DateTime(key.added_at),
            signs_from: DateTime(key.signs_from),
            retired_at: key.retired_at.map(DateTime),
            revoked_at: key.revoked_at.map(DateTime),
        };
        state.signing_keys.iter().map(node).collect()
    }
}

/// Another signing key for an organization.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct RotateSigningKeyInput {
    /// Your own organization when left out.
    pub(super) organization_id: Option<ID>,
    /// See `updateKey`.
    pub(super) expected_revision: Option<u64>,
}

/// The end of all tokens of a signing key.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct RevokeSigningKeyInput {
    /// Your own organization when left out.
    pub(super) organization_id: Option<ID>,
    /// Which one, as `Organization.signingKeys` shows it.
    pub(super) generation: u32,
    /// For the trail; at most 500 characters.
    pub(super) comment: Option<String>,
    /// See `updateKey`.
    pub(super) expected_revision: Option<u64>,
}
