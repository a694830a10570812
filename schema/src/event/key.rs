//! What happens to keys.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::grant::Grant;
use crate::hex32::Hex32;
use crate::id::{IdentityId, KeyId, RoleId, TokenId};
use crate::metadata::Metadata;
use crate::personal::Personal;
use crate::policy::{RateLimit, Rule};
use crate::scope::Scope;
use crate::secret::{SecretRecord, SecretScheme};
use crate::timestamp::Timestamp;

/// Data of `key.issued`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyIssued {
    /// Shown to people.
    pub name: Personal<Box<str>>,
    /// The key's address in trails: `<name-slug>.<short id>@keys.<organization slug>`.
    pub email: Personal<Box<str>>,
    /// Fixed.
    pub environment: Environment,
    /// The start of its secrets.
    pub prefix: Box<str>,
    /// Its first secret.
    pub secret: SecretRecord,
    /// What its holder may do.
    pub scopes: Vec<Scope>,
    /// What it may do in Keyledger itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// Addresses it may be used from; everywhere when empty.
    #[serde(default, skip_serializing_if = "no_networks")]
    pub allowed_cidrs: Personal<Vec<IpNet>>,
    /// From this moment on it is expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The user's own.
    #[serde(default, skip_serializing_if = "no_metadata")]
    pub metadata: Personal<Metadata>,
    /// The key it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloned_from: Option<KeyId>,
    /// Keyed hash of the request that an idempotency key stands for, so that the same idempotency key
    /// with another request is noticed. It would let whoever has the master key try what the request may have said, so
    /// it goes with an erasure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_fingerprint: Option<Personal<Hex32>>,
    /// Roles of its organization that it holds. Sorted, without repetitions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleId>,
    /// How often it may be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    /// Set when its first secret was not made here: what of it was brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<SecretScheme>,
    /// The identity whose limits and credits it shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityId>,
}

impl KeyIssued {
    /// A key that may do nothing, from everywhere and for ever: what others are described by.
    pub fn bare(name: &str, environment: Environment, secret: SecretRecord) -> Self {
        Self {
            name: Personal(name.into()),
            email: Personal(format!("{name}@keys.example").into()),
            environment,
            prefix: "kl".into(),
            secret,
            scopes: Vec::new(),
            grants: Vec::new(),
            allowed_cidrs: Personal::default(),
            expires_at: None,
            metadata: Personal::default(),
            cloned_from: None,
            request_fingerprint: None,
            roles: Vec::new(),
            rate_limits: Vec::new(),
            imported: None,
            identity: None,
        }
    }
}

fn no_networks(networks: &Personal<Vec<IpNet>>) -> bool {
    networks.is_empty()
}

fn no_metadata(metadata: &Personal<Metadata>) -> bool {
    metadata.is_empty()
}

/// Data of `key.secret_acknowledged`: its owner has copied the secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySecretAcknowledged {
    /// Which secret.
    pub secret_version: u32,
}

/// Data of `key.updated`: the new value of each field that changed, and no others.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyUpdated {
    /// New name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Personal<Box<str>>>,
    /// New scopes, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
    /// New allowed addresses, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_cidrs: Option<Personal<Vec<IpNet>>>,
    /// New metadata, whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Personal<Metadata>>,
    /// New roles, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<RoleId>>,
    /// New grants, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<Grant>>,
    /// New rate limits, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limits: Option<Vec<RateLimit>>,
    /// New identity, or none from now on.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "identity_or_none")]
    pub identity: Option<Option<IdentityId>>,
}

/// Left out where it does not change, `null` where there is none from now on.
mod identity_or_none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::id::IdentityId;

    #[allow(clippy::ref_option, clippy::option_option, reason = "the form that serde asks for")]
    pub(super) fn serialize<S: Serializer>(
        identity: &Option<Option<IdentityId>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        identity.unwrap_or_default().serialize(serializer)
    }

    #[allow(clippy::option_option, reason = "the form that serde asks for")]
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<IdentityId>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

impl KeyUpdated {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Data of `key.secret_rotated`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySecretRotated {
    /// The new secret.
    pub secret: SecretRecord,
    /// Until when the secret before it stays valid too; none when it stopped at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_valid_until: Option<Timestamp>,
}

/// Data of `key.secret_overlap_ended`: the secret before the current one is no longer valid.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySecretOverlapEnded {
    /// The secret that ended.
    pub secret_version: u32,
    /// When it stopped being valid; the event may be recorded a moment later.
    pub ended_at: Timestamp,
}

/// Data of `key.disabled`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyDisabled {
    /// Why, in the actor's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Personal<Box<str>>>,
    /// The rule of the organization that switched it off, when nobody else did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
}

/// Data of `key.enabled`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEnabled {
    /// Why, in the actor's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Personal<Box<str>>>,
}

/// Data of `key.leak_reported`: somebody showed the secret to find out whose it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyLeakReported {
    /// Which of its secrets.
    pub secret_version: u32,
    /// Where it was found, in the actor's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Personal<Box<str>>>,
}

/// Data of `key.address_first_used`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAddressFirstUsed {
    /// The address; none once it is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Personal<IpAddr>>,
    /// When the key was first used from it; the event may be recorded a moment later.
    pub used_at: Timestamp,
    /// Set when the key was used from so many addresses that no further ones are told.
    #[serde(default, skip_serializing_if = "is_false")]
    pub last: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Data of `key.expired`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyExpired {
    /// When it expired; the event may be recorded a moment later.
    pub expired_at: Timestamp,
}

/// Why a key is revoked. Four of the codes are reasons of RFC 5280 §5.3.1 in plain words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RevocationReason {
    /// Somebody else has, or may have, the secret.
    Compromised,
    /// Another key took its place.
    Superseded,
    /// Nobody needs it any more.
    Unused,
    /// A rule of the organization demands it.
    Policy,
    /// See the comment.
    Other,
}

/// Data of `key.revoked`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRevoked {
    /// Why.
    pub reason: RevocationReason,
    /// Why, in the actor's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Personal<Box<str>>>,
}

/// Data of `key.deleted`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyDeleted {
    /// Why, in the actor's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Personal<Box<str>>>,
}

/// Data of `key.token_revoked`: one of its tokens is no longer good (RFC 7009).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyTokenRevoked {
    /// Which one.
    pub token: TokenId,
    /// From this moment on it would not have been good anyway.
    pub expires_at: Timestamp,
}

/// Data of `key.tokens_revoked`: none of the tokens that it was exchanged for so far is good any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyTokensRevoked {
    /// When it was decided. Which tokens it means is told by the order of the log: those that say that there were
    /// fewer of these events before them.
    pub until: Timestamp,
    /// Why, in the actor's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Personal<Box<str>>>,
}
