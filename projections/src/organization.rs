//! The state of an organization.

use std::collections::BTreeMap;

use keyledger_schema::event::{Event, Hex32, RevocationStarted};
use keyledger_schema::{
    Actor, Envelope, EventId, OrganizationId, Policy, RoleDefinition, RoleId, Stream, Timestamp,
};
use serde::{Deserialize, Serialize};

/// A key that an organization signs tokens with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SigningKey {
    /// 1 for the first.
    pub generation: u32,
    /// Ed25519 public key.
    pub public_key: Hex32,
    /// When it was added.
    pub added_at: Timestamp,
    /// It signs from this moment on.
    pub signs_from: Timestamp,
    /// When it had no tokens left.
    pub retired_at: Option<Timestamp>,
    /// When its tokens were all revoked.
    pub revoked_at: Option<Timestamp>,
}

impl SigningKey {
    fn new(generation: u32, public_key: Hex32, added_at: Timestamp, signs_from: Timestamp) -> Self {
        Self { generation, public_key, added_at, signs_from, retired_at: None, revoked_at: None }
    }

    /// Whether its signatures count.
    pub fn counts(&self) -> bool {
        self.retired_at.is_none() && self.revoked_at.is_none()
    }
}

/// The one of an organization's keys that signs at a moment: the newest whose time has come, or, if none's has, the
/// oldest.
pub fn signing_key(keys: &[SigningKey], now: Timestamp) -> Option<&SigningKey> {
    let counting = || keys.iter().filter(|key| key.counts());
    counting().rfind(|key| key.signs_from <= now).or_else(|| counting().next())
}

/// How many signing keys that are out of use are remembered.
const OLD_SIGNING_KEYS_KEPT: usize = 32;

/// A role as its events made it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RoleState {
    /// The role.
    pub id: RoleId,
    /// What it is.
    #[serde(with = "crate::as_json")]
    pub definition: RoleDefinition,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Revision of the organization's stream at which it was last changed.
    pub revision: u64,
}

/// A bulk revocation that is on its way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenRevocation {
    /// The event that started it.
    pub event: EventId,
    /// In whose name.
    #[serde(with = "crate::as_json")]
    pub actor: Actor,
    /// What it is.
    #[serde(with = "crate::as_json")]
    pub started: RevocationStarted,
}

/// Within how many minutes a secret must be acknowledged that was made in a stretch of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The rule.
    pub minutes: u32,
    /// Secrets made at this moment or later …
    pub from: Timestamp,
    /// … and before this one, if the rule is another one since.
    pub until: Option<Timestamp>,
}

/// How many earlier forms of the rule on acknowledgements are kept.
const RULES_KEPT: usize = 16;

/// An organization as its events made it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrganizationState {
    /// The organization.
    pub id: OrganizationId,
    /// Shown to people.
    pub name: Box<str>,
    /// Part of its keys' addresses.
    pub slug: Box<str>,
    /// The organization above it; none for a tenant of its own.
    pub parent: Option<OrganizationId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The first one comes with the bootstrap; before it the organization issues no key. By generation.
    pub signing_keys: Vec<SigningKey>,
    /// Its own rules. Those of the organizations above it hold besides.
    #[serde(with = "crate::as_json")]
    pub policy: Policy,
    /// Its own rule on acknowledgements as it was over time: a secret is held to the one that held when it was
    /// made. Empty while there is none.
    pub acknowledgement: Vec<Acknowledgement>,
    /// Since when it stands where it stands: rules of those above hold for what was made since.
    pub joined_at: Timestamp,
    /// Its roles.
    pub roles: BTreeMap<RoleId, RoleState>,
    /// Bulk revocations that are not finished, oldest first.
    pub open_revocations: Vec<OpenRevocation>,
    /// Revision of the last event folded.
    pub revision: u64,
}

impl OrganizationState {
    /// The state after one more event. Events of other streams change nothing, and neither does an event
    /// that was folded before.
    #[must_use]
    pub fn fold(state: Option<Self>, envelope: &Envelope) -> Option<Self> {
        let Stream::Organization(id) = envelope.stream else { return state };
        match state {
            None => {
                let Event::OrganizationCreated(created) = &envelope.event else { return None };
                Some(Self {
                    id,
                    name: created.name.clone(),
                    slug: created.slug.clone(),
                    parent: created.parent,
                    created_at: envelope.at,
                    signing_keys: Vec::new(),
                    policy: Policy::default(),
                    acknowledgement: Vec::new(),
                    joined_at: envelope.at,
                    roles: BTreeMap::new(),
                    open_revocations: Vec::new(),
                    revision: envelope.revision,
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

    /// Whether it can issue keys.
    pub fn is_bootstrapped(&self) -> bool {
        !self.signing_keys.is_empty()
    }

    /// The key that it signs with at a moment, see [`signing_key`].
    pub fn signing_key(&self, now: Timestamp) -> Option<&SigningKey> {
        signing_key(&self.signing_keys, now)
    }

    fn signing_key_mut(&mut self, generation: u32) -> Option<&mut SigningKey> {
        self.signing_keys.iter_mut().find(|key| key.generation == generation)
    }

    fn add_signing_key(&mut self, key: SigningKey) {
        let old = self.signing_keys.iter().filter(|key| !key.counts()).count();
        if old > OLD_SIGNING_KEYS_KEPT
            && let Some(oldest) = self.signing_keys.iter().position(|key| !key.counts())
        {
            self.signing_keys.remove(oldest);
        }
        self.signing_keys.push(key);
    }

    fn acknowledge_within(&mut self, minutes: Option<u32>, at: Timestamp) {
        let Some(minutes) = minutes else { return self.acknowledgement.clear() };
        if let Some(last) = self.acknowledgement.last_mut() {
            last.until = Some(at);
        }
        if self.acknowledgement.len() >= RULES_KEPT {
            self.acknowledgement.remove(0);
        }
        self.acknowledgement.push(Acknowledgement { minutes, from: at, until: None });
    }

    fn apply(&mut self, envelope: &Envelope) {
        self.revision = envelope.revision;
        match &envelope.event {
            Event::OrganizationBootstrapped(bootstrapped) => {
                let generation = bootstrapped.signing_key_generation;
                let public_key = bootstrapped.signing_public_key;
                self.add_signing_key(SigningKey::new(generation, public_key, envelope.at, envelope.at));
            }
            Event::SigningKeyAdded(added) => {
                let key = SigningKey::new(added.generation, added.public_key, envelope.at, added.signs_from);
                self.add_signing_key(key);
            }
            Event::SigningKeyRetired(retired) => {
                if let Some(key) = self.signing_key_mut(retired.generation) {
                    key.retired_at.get_or_insert(envelope.at);
                }
            }
            Event::SigningKeyRevoked(revoked) => {
                if let Some(key) = self.signing_key_mut(revoked.generation) {
                    key.revoked_at.get_or_insert(envelope.at);
                }
            }
            Event::OrganizationRenamed(renamed) => self.name.clone_from(&renamed.name),
            Event::OrganizationMoved(moved) => {
                self.parent = Some(moved.parent);
                self.joined_at = envelope.at;
            }
            Event::OrganizationPolicySet(set) => {
                let minutes = set.policy.secret_acknowledgement_minutes;
                if minutes != self.policy.secret_acknowledgement_minutes {
                    self.acknowledge_within(minutes, envelope.at);
                }
                self.policy = set.policy.clone();
            }
            Event::RoleCreated(created) => {
                let state = RoleState {
                    id: created.role,
                    definition: created.definition.clone(),
                    created_at: envelope.at,
                    updated_at: envelope.at,
                    revision: envelope.revision,
                };
                self.roles.insert(created.role, state);
            }
            Event::RoleUpdated(updated) => {
                if let Some(role) = self.roles.get_mut(&updated.role) {
                    role.definition = updated.definition.clone();
                    role.updated_at = envelope.at;
                    role.revision = envelope.revision;
                }
            }
            Event::RoleDeleted(deleted) => {
                self.roles.remove(&deleted.role);
            }
            Event::RevocationStarted(started) => self.open_revocations.push(OpenRevocation {
                event: envelope.id,
                actor: envelope.actor.clone(),
                started: started.clone(),
            }),
            Event::RevocationFinished(finished) => {
                self.open_revocations.retain(|open| open.event != finished.started);
            }
            _ => {}
        }
    }
}
