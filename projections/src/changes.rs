//! What an event changed, field by field, as an auditor reads it.

use keyledger_schema::{Policy, Rate, Rule};
use serde_json::{Value, json};

use crate::credits::CreditsState;
use crate::identity::IdentityState;
use crate::key::KeyState;
use crate::organization::OrganizationState;
use crate::workspace::WorkspaceState;

/// One field before and after.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// The field's name in the API.
    pub field: &'static str,
    /// What it was; null when there was nothing.
    pub before: Value,
    /// What it is now.
    pub after: Value,
}

/// The fields in which two states of a key differ, in a fixed order. `before` is none for the event
/// that issued the key.
pub fn of_key(before: Option<&KeyState>, after: &KeyState) -> Vec<Change> {
    let fields = |state: &KeyState| -> [(&'static str, Value); 22] {
        [
            ("name", json!(state.name)),
            ("email", json!(state.email)),
            ("environment", json!(state.environment)),
            ("prefix", json!(state.prefix)),
            ("scopes", json!(state.scopes)),
            ("roles", json!(state.roles)),
            ("grants", json!(state.grants)),
            ("rateLimits", json!(state.rate_limits)),
            ("identity", json!(state.identity)),
            ("credits", credits(state.credits.as_ref(), after.credits.as_ref())),
            ("allowedCidrs", json!(state.allowed_cidrs)),
            ("metadata", json!(state.metadata)),
            ("expiresAt", json!(state.expires_at)),
            ("secretVersion", json!(state.secret.record.version)),
            ("secretAcknowledged", json!(state.secret.acknowledged_at.is_some())),
            ("previousSecretValidUntil", json!(state.previous_secret.as_ref().map(|p| p.valid_until))),
            ("imported", json!(state.imported)),
            ("status", json!(status_without_time(state))),
            ("disabledBy", json!(state.disabled_by.map(keyledger_schema::Rule::as_str))),
            ("leakReportedAt", json!(state.leak_reported_at)),
            ("revocationReason", json!(state.revoked.as_ref().map(|revoked| revoked.reason))),
            ("revocationComment", json!(state.revoked.as_ref().and_then(|revoked| revoked.comment.clone()))),
        ]
    };
    between(before.map(&fields), fields(after))
}

/// The fields in which two states of an identity differ.
pub fn of_identity(before: Option<&IdentityState>, after: &IdentityState) -> Vec<Change> {
    let fields = |state: &IdentityState| {
        [
            ("externalId", json!(state.external_id)),
            ("name", json!(state.name)),
            ("rateLimits", json!(state.rate_limits)),
            ("credits", credits(state.credits.as_ref(), after.credits.as_ref())),
            ("metadata", json!(state.metadata)),
            ("deleted", json!(state.deleted_at.is_some())),
        ]
    };
    between(before.map(&fields), fields(after))
}

/// What was left when `later` was decided, or what it left itself; null for unlimited.
fn credits(state: Option<&CreditsState>, later: Option<&CreditsState>) -> Value {
    let Some((state, remaining)) = state.and_then(|state| Some((state, state.remaining?))) else {
        return Value::Null;
    };
    let remaining = match later {
        Some(later) if later.n != state.n => state.left_before(later),
        _ => Some(remaining),
    };
    json!({
        "remaining": remaining,
        "refillAmount": state.refill.map(|refill| refill.amount),
        "refillIntervalSeconds": state.refill.map(|refill| refill.interval_seconds),
    })
}

/// The fields in which two states of an organization differ.
pub fn of_organization(before: Option<&OrganizationState>, after: &OrganizationState) -> Vec<Change> {
    let fields = |state: &OrganizationState| {
        [
            ("name", json!(state.name)),
            ("slug", json!(state.slug)),
            ("parent", json!(state.parent)),
            ("bootstrapped", json!(state.signing_key.is_some())),
            ("policy", policy(&state.policy)),
        ]
    };
    let mut changes = between(before.map(&fields), fields(after));
    let role = |state: Option<&OrganizationState>, id| {
        state
            .and_then(|state| state.roles.get(id))
            .map(|role| json!({ "id": id, "definition": role.definition }))
    };
    let mut ids: Vec<_> =
        after.roles.keys().chain(before.iter().flat_map(|state| state.roles.keys())).collect();
    ids.sort_unstable();
    ids.dedup();
    changes.extend(ids.into_iter().filter_map(|id| {
        let (before, after) = (role(before, id), role(Some(after), id));
        (before != after).then(|| Change {
            field: "role",
            before: before.unwrap_or_default(),
            after: after.unwrap_or_default(),
        })
    }));
    changes
}

/// A policy's rules that are set, by the names that the API has for them.
fn policy(policy: &Policy) -> Value {
    let rate = |rate: Rate| json!({ "limit": rate.limit, "windowSeconds": rate.window_seconds });
    let rules = [
        (Rule::ApiKeysEnabled, policy.api_keys_enabled.map(Value::from)),
        (Rule::ExpiryRequired, policy.expiry_required.map(Value::from)),
        (Rule::DefaultTtl, policy.default_ttl_seconds.map(Value::from)),
        (Rule::MaxTtl, policy.max_ttl_seconds.map(Value::from)),
        (Rule::RequireAllowedCidrs, policy.require_allowed_cidrs.map(Value::from)),
        (Rule::MaxRateLimit, policy.max_rate_limit.map(rate)),
        (Rule::SecretAcknowledgementRequired, policy.secret_acknowledgement_minutes.map(Value::from)),
        (Rule::AllowedEnvironments, policy.allowed_environments.as_ref().map(|all| json!(all))),
    ];
    let set = rules.into_iter().filter_map(|(rule, value)| Some((rule.as_str().to_owned(), value?)));
    Value::Object(set.collect())
}

/// The fields in which two states of a workspace differ.
pub fn of_workspace(before: Option<&WorkspaceState>, after: &WorkspaceState) -> Vec<Change> {
    let fields = |state: &WorkspaceState| [("name", json!(state.name)), ("maxKeys", json!(state.max_keys))];
    between(before.map(&fields), fields(after))
}

/// The fields that differ. With nothing before, those that hold something.
fn between<const N: usize>(
    before: Option<[(&'static str, Value); N]>,
    after: [(&'static str, Value); N],
) -> Vec<Change> {
    let nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        _ => false,
    };
    match before {
        None => after
            .into_iter()
            .filter(|(_, value)| !nothing(value))
            .map(|(field, after)| Change { field, before: Value::Null, after })
            .collect(),
        Some(before) => before
            .into_iter()
            .zip(after)
            .filter(|((_, before), (_, after))| before != after)
            .map(|((field, before), (_, after))| Change { field, before, after })
            .collect(),
    }
}

/// The status as the events alone tell it.
fn status_without_time(state: &KeyState) -> &'static str {
    if state.deleted_at.is_some() {
        "DELETED"
    } else if state.revoked.is_some() {
        "REVOKED"
    } else if state.expiry_recorded {
        "EXPIRED"
    } else if state.disabled {
        "INACTIVE"
    } else {
        "ACTIVE"
    }
}
