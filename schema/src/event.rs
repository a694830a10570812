//! The event vocabulary: immutable facts, past tense.
//!
//! A type name and a version, once written, stay for ever. To change what an event holds, add a
//! version: give the payload its new form here, add an upcaster in [`crate::codec`], and add a golden
//! file. Fields are never added to an existing version, see the codec for why.

mod audit;
mod identity;
mod key;
mod log;
mod node;
mod organization;
mod workspace;

use std::net::IpAddr;

use ipnet::IpNet;

pub use self::audit::{
    AuditExported, AuditRead, CommandRefused, ErasureReason, ExportFormat, Exported, Repeated, SubjectErased,
    TrailPart,
};
pub use self::identity::{CreditsChanged, IdentityCreated, IdentityDeleted, IdentityUpdated};
pub use self::key::{
    KeyAddressFirstUsed, KeyDeleted, KeyDisabled, KeyEnabled, KeyExpired, KeyIssued, KeyLeakReported,
    KeyRevoked, KeySecretAcknowledged, KeySecretOverlapEnded, KeySecretRotated, KeyTokenRevoked,
    KeyTokensRevoked, KeyUpdated, RevocationReason,
};
pub use self::log::{HeadsCommitted, LogKeyAdded, LogKeyRetired};
pub use self::node::{NodeStarted, NodeStopped, PreviousStop, UsageMode};
pub use self::organization::{
    KeySelection, OrganizationBootstrapped, OrganizationCreated, OrganizationMoved, OrganizationPolicySet,
    OrganizationRenamed, RevocationFinished, RevocationStarted, RoleCreated, RoleDeleted, RoleUpdated,
    SigningKeyAdded, SigningKeyRetired, SigningKeyRevoked,
};
pub use self::workspace::{WorkspaceCreated, WorkspaceKeysReserved, WorkspaceQuotaSet, WorkspaceRenamed};
pub use crate::hex32::Hex32;
use crate::usage::{UsageGapDeclared, UsageRecorded};

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
    OrganizationCreated(OrganizationCreated) = "organization.created" v 2;
    /// A tenant can issue keys.
    OrganizationBootstrapped(OrganizationBootstrapped) = "organization.bootstrapped" v 1;
    /// A tenant has another key to sign tokens with.
    SigningKeyAdded(SigningKeyAdded) = "organization.signing_key_added" v 1;
    /// A signing key has no tokens left.
    SigningKeyRetired(SigningKeyRetired) = "organization.signing_key_retired" v 1;
    /// No token of a signing key is good any more.
    SigningKeyRevoked(SigningKeyRevoked) = "organization.signing_key_revoked" v 1;
    /// A tenant is called otherwise.
    OrganizationRenamed(OrganizationRenamed) = "organization.renamed" v 1;
    /// A tenant stands below another one.
    OrganizationMoved(OrganizationMoved) = "organization.moved" v 1;
    /// A tenant demands something else of its keys.
    OrganizationPolicySet(OrganizationPolicySet) = "organization.policy_set" v 2;
    /// A role exists.
    RoleCreated(RoleCreated) = "role.created" v 1;
    /// A role is another one, for all who hold it.
    RoleUpdated(RoleUpdated) = "role.updated" v 1;
    /// A role is gone.
    RoleDeleted(RoleDeleted) = "role.deleted" v 1;
    /// Many keys are being revoked.
    RevocationStarted(RevocationStarted) = "organization.revocation_started" v 1;
    /// They are revoked.
    RevocationFinished(RevocationFinished) = "organization.revocation_finished" v 1;
    /// A workspace exists.
    WorkspaceCreated(WorkspaceCreated) = "workspace.created" v 1;
    /// A workspace is called otherwise.
    WorkspaceRenamed(WorkspaceRenamed) = "workspace.renamed" v 1;
    /// A workspace may have so many keys.
    WorkspaceQuotaSet(WorkspaceQuotaSet) = "workspace.quota_set" v 1;
    /// Places are kept for keys that are about to be issued.
    WorkspaceKeysReserved(WorkspaceKeysReserved) = "workspace.keys_reserved" v 1;
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
    KeyDisabled(KeyDisabled) = "key.disabled" v 1;
    /// It is switched on again.
    KeyEnabled(KeyEnabled) = "key.enabled" v 1;
    /// Somebody found its secret where it should not be.
    KeyLeakReported(KeyLeakReported) = "key.leak_reported" v 1;
    /// Its expiry date has passed.
    KeyExpired(KeyExpired) = "key.expired" v 1;
    /// It was used from an address that it was never used from.
    KeyAddressFirstUsed(KeyAddressFirstUsed) = "key.address_first_used" v 1;
    /// It has other credits.
    KeyCreditsChanged(CreditsChanged) = "key.credits_changed" v 1;
    /// One of its tokens is no longer good.
    KeyTokenRevoked(KeyTokenRevoked) = "key.token_revoked" v 1;
    /// None of its tokens so far is good any more.
    KeyTokensRevoked(KeyTokensRevoked) = "key.tokens_revoked" v 1;
    /// It is out of use for good.
    KeyRevoked(KeyRevoked) = "key.revoked" v 1;
    /// It is gone from lists.
    KeyDeleted(KeyDeleted) = "key.deleted" v 1;
    /// Its personal data cannot be read any more.
    KeyErased(SubjectErased) = "key.erased" v 1;
    /// An identity exists.
    IdentityCreated(IdentityCreated) = "identity.created" v 1;
    /// Some of its fields changed.
    IdentityUpdated(IdentityUpdated) = "identity.updated" v 1;
    /// It has other credits.
    IdentityCreditsChanged(CreditsChanged) = "identity.credits_changed" v 1;
    /// It is gone.
    IdentityDeleted(IdentityDeleted) = "identity.deleted" v 1;
    /// Its personal data cannot be read any more.
    IdentityErased(SubjectErased) = "identity.erased" v 1;
    /// Somebody was told no.
    CommandRefused(CommandRefused) = "command.refused" v 2;
    /// Events, figures, records or a report were handed out.
    AuditExported(AuditExported) = "audit.exported" v 1;
    /// Somebody looked at a trail.
    AuditRead(AuditRead) = "audit.read" v 1;
    /// The log has another signing key.
    LogKeyAdded(LogKeyAdded) = "log.key_added" v 1;
    /// One of the log's signing keys is out of use.
    LogKeyRetired(LogKeyRetired) = "log.key_retired" v 1;
    /// The ends of all streams were committed to.
    HeadsCommitted(HeadsCommitted) = "log.heads_committed" v 1;
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
