//! Keys for the unit tests of this module.

use keyledger_projections::KeyState;
use keyledger_projections::key::{PreviousSecret, SecretState};
use keyledger_schema::event::KeyIssued;
use keyledger_schema::{
    Environment, KeyId, OrganizationId, SecretHash, SecretRecord, Timestamp, TokenId, WorkspaceId,
};
use uuid::Uuid;

use crate::token::Claims;
use crate::token::claims::Audience;

pub(super) const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

pub(super) fn organization(n: u128) -> OrganizationId {
    OrganizationId::from_uuid(Uuid::from_u128(n))
}

pub(super) fn key(n: u128) -> KeyId {
    KeyId::from_uuid(Uuid::from_u128(n))
}

/// What a token of key `n` of organization 1 says, without scopes.
pub(super) fn claims(n: u128, issuer: &str) -> Claims {
    let seconds = NOW.micros() / 1_000_000;
    Claims {
        iss: issuer.into(),
        sub: key(n),
        aud: Audience::One(issuer.into()),
        exp: seconds + 600,
        nbf: seconds,
        iat: seconds,
        jti: TokenId::from_uuid(Uuid::from_u128(9)),
        client_id: key(n),
        scope: "".into(),
        org: organization(1),
        workspace: WorkspaceId::from_uuid(Uuid::from_u128(1)),
        env: Environment::Production,
        secret: 1,
        epoch: 0,
        grants: true,
    }
}

/// Stands for the keyed hash of a secret.
pub(super) fn hash(n: u128, version: u32) -> SecretHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&n.to_le_bytes()).update(&version.to_le_bytes());
    SecretHash(*hasher.finalize().as_bytes())
}

pub(super) fn record(n: u128, version: u32) -> SecretRecord {
    SecretRecord { version, hash: hash(n, version), hint: "kl_prod_0000".into() }
}

/// An active key without restrictions that may read everything.
pub(super) fn state(n: u128) -> KeyState {
    let issued = KeyIssued {
        scopes: vec!["read:*".parse().unwrap()],
        ..KeyIssued::bare("billing", Environment::Production, record(n, 1))
    };
    let workspace = WorkspaceId::from_uuid(Uuid::from_u128(1));
    KeyState::of_issued(key(n), organization(1), workspace, NOW, &issued)
}

/// The key after a rotation; its old secret stays valid until `overlap`, if at all.
pub(super) fn rotated(before: &KeyState, n: u128, overlap: Option<Timestamp>) -> KeyState {
    let version = before.secret.record.version + 1;
    let mut after = before.clone();
    after.revision += 1;
    let old = std::mem::replace(
        &mut after.secret,
        SecretState { record: record(n, version), issued_at: NOW, acknowledged_at: None },
    );
    let imported = after.imported.take();
    after.previous_secret =
        overlap.map(|valid_until| PreviousSecret { record: old.record, valid_until, imported });
    after
}
