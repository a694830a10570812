//! Mutations: each takes one `input` and answers the object, the events written and warnings.

mod bulk;
mod erasure;
mod identities;
mod import;
mod keys;
mod organizations;
mod roles;
mod signing_keys;

use async_graphql::{Json, MergedObject, SimpleObject};
use keyledger_projections::{OrganizationState, RoleState};

use super::event::EventNode;
use super::identity::IdentityNode;
use super::key::KeyNode;
use super::role::RoleNode;
use super::scalar::Long;
use super::tenant::{OrganizationNode, WorkspaceNode};
use crate::decisions::{self, policy::Violation};
use crate::secret::Secret;
use crate::service::compliance::Violators;
use crate::service::credits::Credited;
use crate::service::{IdentityWritten, KeyWritten, OrganizationWritten, Service, Written};

/// Everything that changes something.
#[derive(MergedObject, Default)]
pub(crate) struct Mutation(
    keys::KeyMutation,
    bulk::BulkMutation,
    import::ImportMutation,
    organizations::OrganizationMutation,
    roles::RoleMutation,
    identities::IdentityMutation,
    erasure::ErasureMutation,
    signing_keys::SigningKeyMutation,
);

/// What was done, but may not be what was meant.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct Warning {
    /// Stable.
    code: String,
    /// For people.
    message: String,
}

fn warnings(warnings: Vec<decisions::Warning>) -> Vec<Warning> {
    warnings
        .into_iter()
        .map(|warning| Warning { code: warning.code.to_owned(), message: warning.message.into_owned() })
        .collect()
}

/// A key after a mutation.
#[derive(SimpleObject)]
pub(crate) struct KeyPayload {
    /// As it is now.
    key: KeyNode,
    /// The events that the mutation wrote; none when what it asked for was true already.
    events: Vec<EventNode>,
    /// What the caller should know.
    warnings: Vec<Warning>,
}

/// A key after a mutation that may have made a secret.
#[derive(SimpleObject)]
pub(crate) struct KeySecretPayload {
    /// As it is now.
    key: KeyNode,
    /// Shown this once and never again. Null when an idempotency key was repeated.
    secret: Option<String>,
    /// The events that the mutation wrote.
    events: Vec<EventNode>,
    /// What the caller should know.
    warnings: Vec<Warning>,
}

/// A workspace after a mutation.
#[derive(SimpleObject)]
pub(crate) struct WorkspacePayload {
    /// As it is now.
    workspace: WorkspaceNode,
    /// The events that the mutation wrote.
    events: Vec<EventNode>,
    /// What the caller should know.
    warnings: Vec<Warning>,
}

/// An organization after a mutation.
#[derive(SimpleObject)]
pub(crate) struct OrganizationPayload {
    /// As it is now.
    organization: OrganizationNode,
    /// The events that the mutation wrote; none when what it asked for was true already.
    events: Vec<EventNode>,
    /// What the caller should know.
    warnings: Vec<Warning>,
}

/// A rule that a key breaks.
#[derive(SimpleObject)]
pub(crate) struct PolicyViolation {
    /// The rule, as in `Policy`.
    rule: String,
    /// What it allows.
    bound: Json<serde_json::Value>,
    /// What breaks it.
    value: Json<serde_json::Value>,
}

/// A key that breaks rules. It stays as it is.
#[derive(SimpleObject)]
pub(crate) struct ViolatingKey {
    /// The key.
    key: KeyNode,
    /// What it breaks.
    violations: Vec<PolicyViolation>,
}

/// Existing keys that break rules.
#[derive(SimpleObject)]
pub(crate) struct PolicyViolations {
    /// How many keys.
    count: Long,
    /// The first of them in the order of their creation, at most 100.
    keys: Vec<ViolatingKey>,
}

/// An organization after a change of its policy.
#[derive(SimpleObject)]
pub(crate) struct PolicyPayload {
    /// As it is now.
    organization: OrganizationNode,
    /// The usable keys, in it and below it, that break the rules that hold now, or as a rehearsal would hold.
    violations: PolicyViolations,
    /// The events that the mutation wrote; none when what it asked for was true already.
    events: Vec<EventNode>,
    /// What the caller should know.
    warnings: Vec<Warning>,
}

impl From<Violators> for PolicyViolations {
    fn from(found: Violators) -> Self {
        let violation = |violation: &Violation| PolicyViolation {
            rule: violation.rule.as_str().to_owned(),
            bound: Json(violation.bound.clone()),
            value: Json(violation.value.clone()),
        };
        let keys = found.keys.into_iter().map(|(state, broken)| ViolatingKey {
            key: KeyNode::new(state),
            violations: broken.iter().map(violation).collect(),
        });
        Self { keys: keys.collect(), count: Long(found.count) }
    }
}

/// A role after a mutation.
#[derive(SimpleObject)]
pub(crate) struct RolePayload {
    /// As it is now.
    role: RoleNode,
    /// The events that the mutation wrote; none when what it asked for was true already.
    events: Vec<EventNode>,
    /// What the caller should know.
    warnings: Vec<Warning>,
}

/// An identity after a mutation.
#[derive(SimpleObject)]
pub(crate) struct IdentityPayload {
    /// As it is now.
    identity: IdentityNode,
    /// The events that the mutation wrote; none when what it asked for was true already.
    events: Vec<EventNode>,
    /// What the caller should know.
    warnings: Vec<Warning>,
}

/// A key or an identity after a change of its credits.
#[derive(SimpleObject)]
pub(crate) struct CreditsPayload {
    /// The key as it is now; null when they are those of an identity.
    key: Option<KeyNode>,
    /// The identity as it is now; null when they are those of a key.
    identity: Option<IdentityNode>,
    /// The events that the mutation wrote; none when what it asked for was true already.
    events: Vec<EventNode>,
    /// What the caller should know.
    warnings: Vec<Warning>,
}

impl IdentityPayload {
    fn new(written: IdentityWritten) -> Self {
        Self {
            identity: IdentityNode::now(written.state),
            events: EventNode::written(written.events),
            warnings: warnings(written.warnings),
        }
    }
}

impl CreditsPayload {
    fn new(written: Written<Credited>) -> Self {
        let (key, identity) = match written.state {
            Credited::Key(state) => (Some(KeyNode::new(*state)), None),
            Credited::Identity(state) => (None, Some(IdentityNode::now(*state))),
        };
        let events = EventNode::written(written.events);
        Self { key, identity, events, warnings: warnings(written.warnings) }
    }
}

impl OrganizationPayload {
    fn new(service: &Service, written: OrganizationWritten) -> Self {
        Self {
            organization: OrganizationNode::of(service, written.state),
            events: EventNode::written(written.events),
            warnings: warnings(written.warnings),
        }
    }
}

impl RolePayload {
    fn new(written: Written<(OrganizationState, RoleState)>) -> Self {
        let (organization, state) = written.state;
        Self {
            role: RoleNode { organization: organization.id, state },
            events: EventNode::written(written.events),
            warnings: warnings(written.warnings),
        }
    }
}

impl KeyPayload {
    fn new(written: KeyWritten) -> Self {
        let events = EventNode::written(written.events);
        Self { key: KeyNode::new(written.state), events, warnings: warnings(written.warnings) }
    }
}

impl KeySecretPayload {
    fn new(written: KeyWritten, secret: Option<&Secret>) -> Self {
        let KeyPayload { key, events, warnings } = KeyPayload::new(written);
        Self { key, secret: secret.map(|secret| secret.expose().to_owned()), events, warnings }
    }
}
