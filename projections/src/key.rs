//! The state of a key.

use ipnet::IpNet;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{Event, Hex32, KeyIssued, KeyUpdated, RevocationReason};
use keyledger_schema::{
    Actor, Envelope, Environment, EventId, Grant, IdentityId, KeyId, Metadata, OrganizationId, Personal,
    RateLimit, RoleId, Rule, Scope, SecretRecord, SecretScheme, Source, Stream, Timestamp, WorkspaceId,
};
use serde::{Deserialize, Serialize};

use crate::credits::CreditsState;
use crate::tokens::RevokedTokens;

/// What lists show and decisions ask for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum KeyStatus {
    /// Usable.
    Active,
    /// Switched off.
    Inactive,
    /// Past its expiry date.
    Expired,
    /// Out of use for good.
    Revoked,
    /// Gone from lists.
    Deleted,
}

impl KeyStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Active, Self::Inactive, Self::Expired, Self::Revoked, Self::Deleted];
}

/// One of a key's secrets and what happened to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SecretState {
    /// Version, hash and hint.
    pub record: SecretRecord,
    /// When it was minted.
    pub issued_at: Timestamp,
    /// When its owner said that it was copied.
    pub acknowledged_at: Option<Timestamp>,
}

/// The secret before the current one while a rotation overlaps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// Version, hash and hint.
    pub record: SecretRecord,
    /// From this moment on it is no longer valid, recorded or not.
    pub valid_until: Timestamp,
    /// What of it was brought, if it was not made here.
    pub imported: Option<SecretScheme>,
}

/// How and why a key was revoked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// The reason code.
    pub reason: RevocationReason,
    /// In the actor's words.
    pub comment: Option<Personal<Box<str>>>,
}

/// A key as its events made it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyState {
    /// The key.
    pub id: KeyId,
    /// Its tenant.
    pub organization: OrganizationId,
    /// Where it lives.
    pub workspace: WorkspaceId,
    /// Revision of the last event folded.
    pub revision: u64,
    /// See `KeyIssued`.
    pub name: Personal<Box<str>>,
    /// See `KeyIssued`.
    pub email: Personal<Box<str>>,
    /// See `KeyIssued`.
    pub environment: Environment,
    /// See `KeyIssued`.
    pub prefix: Box<str>,
    /// See `KeyIssued`.
    pub scopes: Vec<Scope>,
    /// See `KeyIssued`.
    pub roles: Vec<RoleId>,
    /// See `KeyIssued`.
    pub grants: Vec<Grant>,
    /// See `KeyIssued`.
    pub rate_limits: Vec<RateLimit>,
    /// See `KeyIssued`.
    pub identity: Option<IdentityId>,
    /// The last change of its credits; none if it never had any of its own.
    pub credits: Option<CreditsState>,
    /// How many addresses its trail names as new.
    pub new_addresses: u32,
    /// See `KeyIssued`.
    pub allowed_cidrs: Personal<Vec<IpNet>>,
    /// See `KeyIssued`.
    pub metadata: Personal<Metadata>,
    /// See `KeyIssued`.
    pub expires_at: Option<Timestamp>,
    /// See `KeyIssued`.
    pub cloned_from: Option<KeyId>,
    /// See `KeyIssued`.
    pub request_fingerprint: Option<Personal<Hex32>>,
    /// When it was issued.
    pub created_at: Timestamp,
    /// By whom.
    #[serde(with = "crate::as_json")]
    pub created_by: Actor,
    /// The event that issued it.
    pub created_event: EventId,
    /// When its last event was.
    pub updated_at: Timestamp,
    /// What of the current secret was brought, if it was not made here.
    pub imported: Option<SecretScheme>,
    /// The current secret.
    pub secret: SecretState,
    /// The one before, while a rotation overlaps.
    pub previous_secret: Option<PreviousSecret>,
    /// Whether it is switched off.
    pub disabled: bool,
    /// The rule of the organization that switched it off, if one did.
    pub disabled_by: Option<Rule>,
    /// When somebody last reported that its secret was found.
    pub leak_reported_at: Option<Timestamp>,
    /// Whether its expiry stands in the log.
    pub expiry_recorded: bool,
    /// Set once it is revoked.
    pub revoked: Option<Revocation>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// When its personal data was erased.
    pub erased_at: Option<Timestamp>,
    /// Which of its tokens were revoked.
    pub revoked_tokens: RevokedTokens,
}

impl KeyState {
    /// What the key is at a moment. Expiry needs no event to take effect.
    pub fn status(&self, now: Timestamp) -> KeyStatus {
        if self.deleted_at.is_some() {
            KeyStatus::Deleted
        } else if self.revoked.is_some() {
            KeyStatus::Revoked
        // A clock that goes back does not undo what stands in the log.
        } else if self.expiry_recorded || self.expires_at.is_some_and(|at| at <= now) {
            KeyStatus::Expired
        } else if self.disabled {
            KeyStatus::Inactive
        } else {
            KeyStatus::Active
        }
    }

    /// Whether it takes a place of its workspace's quota, as the events alone tell it: its expiry counts
    /// once it is recorded.
    pub fn takes_a_place(&self) -> bool {
        self.deleted_at.is_none() && self.revoked.is_none() && !self.expiry_recorded
    }

    /// The next moment at which the passing of time alone asks for an event: the end of an overlap or
    /// the expiry date. None for a key that is out of use.
    pub fn due_at(&self) -> Option<Timestamp> {
        if self.deleted_at.is_some() || self.revoked.is_some() {
            return None;
        }
        let overlap = self.previous_secret.as_ref().map(|previous| previous.valid_until);
        let expiry = self.expires_at.filter(|_| !self.expiry_recorded);
        match (overlap, expiry) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The state after one more event. `None` stays `None` until the key is issued; events of other
    /// streams change nothing, and neither does an event that was folded before: a feed may deliver one
    /// twice.
    #[must_use]
    pub fn fold(state: Option<Self>, envelope: &Envelope) -> Option<Self> {
        let Stream::Key(id) = envelope.stream else { return state };
        match state {
            None => Self::issued(id, envelope),
            Some(mut state) => {
                if state.id == id && envelope.revision > state.revision {
                    state.apply(envelope);
                }
                Some(state)
            }
        }
    }

    /// A key right after the operator issued it at a moment, without a log: for tests and benchmarks.
    pub fn of_issued(
        id: KeyId,
        organization: OrganizationId,
        workspace: WorkspaceId,
        at: Timestamp,
        issued: &KeyIssued,
    ) -> Self {
        let envelope = Envelope {
            id: EventId::from_uuid(id.uuid()),
            stream: Stream::Key(id),
            revision: 0,
            at,
            organization: Some(organization),
            workspace: Some(workspace),
            actor: Actor::operator(),
            source: Source::default(),
            request: None,
            cause: None,
            outcome: Outcome::Success,
            prev: None,
            event: Event::KeyIssued(issued.clone()),
        };
        Self::of(id, organization, workspace, issued, &envelope)
    }

    fn issued(id: KeyId, envelope: &Envelope) -> Option<Self> {
        let Event::KeyIssued(issued) = &envelope.event else { return None };
        Some(Self::of(id, envelope.organization?, envelope.workspace?, issued, envelope))
    }

    fn of(
        id: KeyId,
        organization: OrganizationId,
        workspace: WorkspaceId,
        issued: &KeyIssued,
        envelope: &Envelope,
    ) -> Self {
        Self {
            id,
            organization,
            workspace,
            revision: envelope.revision,
            name: issued.name.clone(),
            email: issued.email.clone(),
            environment: issued.environment,
            prefix: issued.prefix.clone(),
            scopes: issued.scopes.clone(),
            roles: issued.roles.clone(),
            grants: issued.grants.clone(),
            rate_limits: issued.rate_limits.clone(),
            identity: issued.identity,
            credits: None,
            new_addresses: 0,
            allowed_cidrs: issued.allowed_cidrs.clone(),
            metadata: issued.metadata.clone(),
            expires_at: issued.expires_at,
            cloned_from: issued.cloned_from,
            request_fingerprint: issued.request_fingerprint.clone(),
            created_at: envelope.at,
            // Its address is the actor's own personal data, which goes when the actor's does.
            created_by: Actor { email: None, ..envelope.actor.clone() },
            created_event: envelope.id,
            updated_at: envelope.at,
            imported: issued.imported,
            secret: SecretState {
                record: issued.secret.clone(),
                issued_at: envelope.at,
                // Whoever brought a secret has it.
                acknowledged_at: issued.imported.map(|_| envelope.at),
            },
            previous_secret: None,
            disabled: false,
            disabled_by: None,
            leak_reported_at: None,
            expiry_recorded: false,
            revoked: None,
            deleted_at: None,
            erased_at: None,
            revoked_tokens: RevokedTokens::default(),
        }
    }

    /// What is left is what is read when the data key is gone, so that a state that saw the erasure and one that
    /// was folded after it are the same.
    fn erase(&mut self, at: Timestamp) {
        self.erased_at = Some(at);
        self.name = Personal::erased();
        self.email = Personal::erased();
        self.allowed_cidrs = Personal::erased();
        self.metadata = Personal::erased();
        self.request_fingerprint = None;
        if let Some(revoked) = &mut self.revoked {
            revoked.comment = None;
        }
    }

    fn update(&mut self, data: &KeyUpdated) {
        if let Some(name) = &data.name {
            self.name = name.clone();
        }
        if let Some(scopes) = &data.scopes {
            self.scopes.clone_from(scopes);
        }
        if let Some(allowed_cidrs) = &data.allowed_cidrs {
            self.allowed_cidrs = allowed_cidrs.clone();
        }
        if let Some(metadata) = &data.metadata {
            self.metadata = metadata.clone();
        }
        if let Some(roles) = &data.roles {
            self.roles.clone_from(roles);
        }
        if let Some(grants) = &data.grants {
            self.grants.clone_from(grants);
        }
        if let Some(rate_limits) = &data.rate_limits {
            self.rate_limits.clone_from(rate_limits);
        }
        if let Some(identity) = data.identity {
            self.identity = identity;
        }
    }

    fn apply(&mut self, envelope: &Envelope) {
        self.revision = envelope.revision;
        self.updated_at = envelope.at;
        match &envelope.event {
            Event::KeySecretAcknowledged(data) => {
                if data.secret_version == self.secret.record.version {
                    self.secret.acknowledged_at = Some(envelope.at);
                }
            }
            Event::KeyUpdated(data) => self.update(data),
            Event::KeyAddressFirstUsed(_) => self.new_addresses = self.new_addresses.saturating_add(1),
            Event::KeyCreditsChanged(data) => self.credits = Some(CreditsState::of(data, envelope.at)),
            Event::KeySecretRotated(data) => {
                let secret = SecretState {
                    record: data.secret.clone(),
                    issued_at: envelope.at,
                    acknowledged_at: None,
                };
                let before = std::mem::replace(&mut self.secret, secret);
                let imported = self.imported.take();
                self.previous_secret = data.previous_valid_until.map(|valid_until| PreviousSecret {
                    record: before.record,
                    valid_until,
                    imported,
                });
            }
            Event::KeySecretOverlapEnded(data) => {
                self.previous_secret.take_if(|previous| previous.record.version == data.secret_version);
            }
            Event::KeyDisabled(data) => {
                self.disabled = true;
                self.disabled_by = data.rule;
            }
            Event::KeyEnabled(_) => {
                self.disabled = false;
                self.disabled_by = None;
            }
            Event::KeyLeakReported(_) => self.leak_reported_at = Some(envelope.at),
            Event::KeyExpired(_) => self.expiry_recorded = true,
            Event::KeyRevoked(data) => {
                self.revoked =
                    Some(Revocation { at: envelope.at, reason: data.reason, comment: data.comment.clone() });
            }
            Event::KeyTokenRevoked(data) => {
                let by_holder = envelope.actor.key_id() == Some(self.id);
                self.revoked_tokens.revoke(data.token, data.expires_at, envelope.at, by_holder);
            }
            Event::KeyTokensRevoked(data) => self.revoked_tokens.revoke_all(data.until),
            Event::KeyDeleted(_) => self.deleted_at = Some(envelope.at),
            Event::KeyErased(_) => self.erase(envelope.at),
            // Named one by one, so that a new event cannot be forgotten here.
            Event::KeyIssued(_)
            | Event::OrganizationCreated(_)
            | Event::OrganizationBootstrapped(_)
            | Event::SigningKeyAdded(_)
            | Event::SigningKeyRetired(_)
            | Event::SigningKeyRevoked(_)
            | Event::OrganizationRenamed(_)
            | Event::OrganizationMoved(_)
            | Event::OrganizationPolicySet(_)
            | Event::RoleCreated(_)
            | Event::RoleUpdated(_)
            | Event::RoleDeleted(_)
            | Event::RevocationStarted(_)
            | Event::RevocationFinished(_)
            | Event::WorkspaceCreated(_)
            | Event::WorkspaceRenamed(_)
            | Event::WorkspaceQuotaSet(_)
            | Event::WorkspaceKeysReserved(_)
            | Event::IdentityCreated(_)
            | Event::IdentityUpdated(_)
            | Event::IdentityCreditsChanged(_)
            | Event::IdentityDeleted(_)
            | Event::IdentityErased(_)
            | Event::CommandRefused(_)
            | Event::AuditExported(_)
            | Event::AuditRead(_)
            | Event::LogKeyAdded(_)
            | Event::LogKeyRetired(_)
            | Event::HeadsCommitted(_)
            | Event::UsageRecorded(_)
            | Event::UsageGapDeclared(_)
            | Event::NodeStarted(_)
            | Event::NodeStopped(_) => {}
        }
    }
}
