//! Keys for the unit tests of this module.

use keyledger_projections::KeyState;
use keyledger_projections::key::{PreviousSecret, SecretState};
use keyledger_schema::{
    Actor, Environment, EventId, KeyId, OrganizationId, Personal, SecretHash, SecretRecord, Timestamp,
    WorkspaceId,
};
use uuid::Uuid;

pub(super) const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

pub(super) fn organization(n: u128) -> OrganizationId {
    OrganizationId::from_uuid(Uuid::from_u128(n))
}

pub(super) fn key(n: u128) -> KeyId {
    KeyId::from_uuid(Uuid::from_u128(n))
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
    KeyState {
        id: key(n),
        organization: organization(1),
        workspace: WorkspaceId::from_uuid(Uuid::from_u128(1)),
        revision: 0,
        name: Personal("billing".into()),
        email: Personal("billing.1@keys.example".into()),
        environment: Environment::Production,
        prefix: "kl".into(),
        scopes: vec!["read:*".parse().unwrap()],
        grants: Vec::new(),
        allowed_cidrs: Personal::default(),
        metadata: Personal::default(),
        expires_at: None,
        cloned_from: None,
        request_fingerprint: None,
        created_at: NOW,
        created_by: Actor::operator(),
        created_event: EventId::from_uuid(Uuid::from_u128(1)),
        updated_at: NOW,
        secret: SecretState { record: record(n, 1), issued_at: NOW, acknowledged_at: None },
        previous_secret: None,
        disabled: false,
        expiry_recorded: false,
        revoked: None,
        deleted_at: None,
    }
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
    after.previous_secret = overlap.map(|valid_until| PreviousSecret { record: old.record, valid_until });
    after
}
