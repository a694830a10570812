//! The event vocabulary: immutable facts, past tense.
//!
//! A type name and a version, once written, stay for ever. To change what an event holds, add a
//! version: give the payload its new form here, add an upcaster in [`crate::codec`], and add a golden
//! file. Fields are never added to an existing version, see the codec for why.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::grant::Grant;
use crate::id::{KeyId, OrganizationId};
use crate::metadata::Metadata;
use crate::personal::Personal;
use crate::scope::Scope;
use crate::secret::SecretRecord;
use crate::timestamp::Timestamp;
use crate::usage::{UsageGapDeclared, UsageRecorded};

/// Data of `organization.created`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationCreated {
    /// Shown to people.
    pub name: Box<str>,
    /// Part of its keys' addresses: lower-case letters, digits and inner hyphens.
    pub slug: Box<str>,
}

/// Data of `organization.bootstrapped`: from now on it can issue keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationBootstrapped {
    /// 1 for the first signing key of the organization.
    pub signing_key_generation: u32,
    /// Its Ed25519 public key (RFC 8032), 32 bytes as hexadecimal. The private key is derived from the
    /// master key when it is needed and stored nowhere.
    pub signing_public_key: Hex32,
}

/// 32 bytes that are no secret, as lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hex32(pub [u8; 32]);

impl Serialize for Hex32 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            crate::chain::hex_encode(&self.0, |text| serializer.serialize_str(text))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Hex32 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            crate::chain::hex_decode(deserializer).map(Self)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

/// Data of `workspace.created`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceCreated {
    /// Where it belongs.
    pub organization: OrganizationId,
    /// Shown to people.
    pub name: Box<str>,
}

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
    /// with another request is noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_fingerprint: Option<Hex32>,
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

/// Data of `key.disabled` and `key.enabled`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySwitched {
    /// Why, in the actor's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Personal<Box<str>>>,
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

/// Data of `command.refused`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandRefused {
    /// What was asked for: the name of the GraphQL field.
    pub command: Box<str>,
    /// The id it was asked for, if what was given is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Personal<Box<str>>>,
    /// The key it was asked for, where it is one of the actor's own organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The error's stable code.
    pub code: Box<str>,
}

/// How a node was stopped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreviousStop {
    /// There was no earlier run.
    None,
    /// It said so in the log.
    Clean,
    /// Its last words are missing: killed, crashed, or the power went.
    Unclean,
}

/// How verifications are recorded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageMode {
    /// Durable before the answer.
    Strict,
    /// Durable within a second after the answer.
    Relaxed,
}

/// Data of `node.started`: recording begins (PCI DSS 10.2.1.6).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeStarted {
    /// Of Keyledger.
    pub version: Box<str>,
    /// How verifications are recorded from now on.
    pub usage: UsageMode,
    /// How the run before ended.
    pub previous_stop: PreviousStop,
}

/// Data of `node.stopped`: recording ends.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeStopped {}

/// Why a payload cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// No event has this name.
    #[error("unknown event type")]
    UnknownType,
    /// The event exists, this version of it does not.
    #[error("unknown version {0} of this event type")]
    UnknownVersion(u16),
    /// A field is missing, unknown or of the wrong form.
    #[error("{0}")]
    Data(String),
}

macro_rules! vocabulary {
    ($($(#[$doc:meta])* $variant:ident($payload:ty) = $name:literal v $version:literal;)+) => {
        /// Every event there is, in its newest version.
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[allow(clippy::large_enum_variant, reason = "events live briefly and one at a time")]
        pub enum Event {
            $($(#[$doc])* $variant($payload),)+
        }

        impl Event {
            /// Type names and newest versions.
            pub const TYPES: &'static [(&'static str, u16)] = &[$(($name, $version)),+];

            /// The stored type name.
            pub const fn type_name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)+ }
            }

            /// The version that is written.
            pub const fn version(&self) -> u16 {
                match self { $(Self::$variant(_) => $version,)+ }
            }

            /// The payload as compact JSON, appended to `out`.
            pub(crate) fn write_data(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
                match self { $(Self::$variant(payload) => serde_json::to_writer(out, payload),)+ }
            }

            /// Reads a payload of the newest version.
            pub(crate) fn read_data(type_name: &str, version: u16, data: &str) -> Result<Self, Error> {
                match type_name {
                    $($name if version == $version => serde_json::from_str(data)
                        .map(Self::$variant)
                        .map_err(|error| Error::Data(error.to_string())),)+
                    $($name => Err(Error::UnknownVersion(version)),)+
                    _ => Err(Error::UnknownType),
                }
            }
        }
    };
}

vocabulary! {
    /// A tenant exists.
    OrganizationCreated(OrganizationCreated) = "organization.created" v 1;
    /// A tenant can issue keys.
    OrganizationBootstrapped(OrganizationBootstrapped) = "organization.bootstrapped" v 1;
    /// A workspace exists.
    WorkspaceCreated(WorkspaceCreated) = "workspace.created" v 1;
    /// A key exists.
    KeyIssued(KeyIssued) = "key.issued" v 1;
    /// Its owner has copied the secret.
    KeySecretAcknowledged(KeySecretAcknowledged) = "key.secret_acknowledged" v 1;
    /// Some of its fields changed.
    KeyUpdated(KeyUpdated) = "key.updated" v 1;
    /// It has a new secret.
    KeySecretRotated(KeySecretRotated) = "key.secret_rotated" v 1;
    /// The secret before the current one is no longer valid.
    KeySecretOverlapEnded(KeySecretOverlapEnded) = "key.secret_overlap_ended" v 1;
    /// It is switched off.
    KeyDisabled(KeySwitched) = "key.disabled" v 1;
    /// It is switched on again.
    KeyEnabled(KeySwitched) = "key.enabled" v 1;
    /// Its expiry date has passed.
    KeyExpired(KeyExpired) = "key.expired" v 1;
    /// It is out of use for good.
    KeyRevoked(KeyRevoked) = "key.revoked" v 1;
    /// It is gone from lists.
    KeyDeleted(KeyDeleted) = "key.deleted" v 1;
    /// Somebody was told no.
    CommandRefused(CommandRefused) = "command.refused" v 1;
    /// Verifications were answered.
    UsageRecorded(UsageRecorded) = "usage.recorded" v 1;
    /// Verifications may be missing.
    UsageGapDeclared(UsageGapDeclared) = "usage.gap_declared" v 1;
    /// A node serves.
    NodeStarted(NodeStarted) = "node.started" v 1;
    /// A node serves no more.
    NodeStopped(NodeStopped) = "node.stopped" v 1;
}

/// Whether an address is inside one of the networks. No network at all allows every address; IPv4
/// networks say nothing about IPv6 and the other way round.
pub fn address_allowed(networks: &[IpNet], address: Option<IpAddr>) -> bool {
    if networks.is_empty() {
        return true;
    }
    // An IPv4 client on a dual-stack socket is an IPv4 client (RFC 4291 §2.5.5.2).
    address.is_some_and(|address| {
        let address = address.to_canonical();
        networks.iter().any(|network| network.contains(&address))
    })
}
