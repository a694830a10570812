//! What tests of both forms of tokens say in them.

use ed25519_dalek::SigningKey;
use keyledger_schema::{Environment, KeyId, OrganizationId, TokenId, WorkspaceId};
use uuid::Uuid;

use super::claims::{Audience, Claims};

pub(super) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

pub(super) fn claims() -> Claims {
    let key = KeyId::from_uuid(Uuid::from_u128(3));
    Claims {
        iss: "https://keys.example".into(),
        sub: key,
        aud: Audience::new(vec!["https://keys.example".into()]),
        exp: 1_800_000_600,
        nbf: 1_800_000_000,
        iat: 1_800_000_000,
        jti: TokenId::from_uuid(Uuid::from_u128(9)),
        client_id: key,
        scope: "read:customers/* write:invoices/**".into(),
        org: OrganizationId::from_uuid(Uuid::from_u128(1)),
        workspace: WorkspaceId::from_uuid(Uuid::from_u128(2)),
        env: Environment::Production,
        secret: 1,
        epoch: 0,
        grants: true,
    }
}
