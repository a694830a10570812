//! What an event changed, field by field, as an auditor reads it.

use keyledger_schema::{Policy, Rate, Rule};
use serde_json::{Value, json};

use crate::credits::CreditsState;
use crate::identity::IdentityState;
use crate::key::KeyState;
use crate::organization::{OrganizationState, SigningKey};
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
    let fields = |state: &KeyState| -> [(&'static str, Value); 23] {
        [
            ("name", json!(state.name.0)),
            ("email", json!(state.email.0)),
            ("environment", json!(state.environment)),
            ("prefix", json!(state.prefix)),
            ("scopes", json!(state.scopes)),
            ("roles", json!(state.roles)),
            ("grants", json!(state.grants)),
            ("rateLimits", json!(state.rate_limits)),
            ("identity", json!(state.identity)),
            ("credits", state.credits.as_ref().map(credits).unwrap_or_default()),
            ("allowedCidrs", json!(state.allowed_cidrs.0)),
            ("metadata", json!(state.metadata.0)),
            ("expiresAt", json!(state.expires_at)),
            ("secretVersion", json!(state.secret.record.version)),
            ("secretAcknowledged", json!(state.secret.acknowledged_at.is_some())),
            ("previousSecretValidUntil", json!(state.previous_secret.as_ref().map(|p| p.valid_until))),
            ("imported", json!(state.imported)),
            ("status", json!(status_without_time(state))),
            ("disabledBy", json!(state.disabled_by.map(keyledger_schema::Rule::as_str))),
            ("leakReportedAt", json!(state.leak_reported_at)),
            ("tokensRevokedUntil", json!(state.revoked_tokens.until)),
            ("revocationReason", json!(state.revoked.as_ref().map(|revoked| revoked.reason))),
            (
                "revocationComment",
                json!(state.revoked.as_ref().and_then(|revoked| revoked.comment.as_deref())),
            ),
        ]
    };
    let mut changes = between(before.map(&fields), fields(after));
    changed_credits(&mut changes, before.and_then(|state| state.credits.as_ref()), after.credits.as_ref());
    changes
}

/// The fields in which two states of an identity differ.
pub fn of_identity(before: Option<&IdentityState>, after: &IdentityState) -> Vec<Change> {
    let fields = |state: &IdentityState| {
        [
            ("externalId", json!(state.external_id.0)),
            ("name", json!(state.name.as_deref())),
            ("rateLimits", json!(state.rate_limits)),
            ("credits", state.credits.as_ref().map(credits).unwrap_or_default()),
            ("metadata", json!(state.metadata.0)),
            ("deleted", json!(state.deleted_at.is_some())),
        ]
    };
    let mut changes = between(before.map(&fields), fields(after));
    changed_credits(&mut changes, before.and_then(|state| state.credits.as_ref()), after.credits.as_ref());
    changes
}

/// Says of a change of credits what was left right before it: states alone tell what the change before that left.
fn changed_credits(changes: &mut Vec<Change>, before: Option<&CreditsState>, after: Option<&CreditsState>) {
    let (Some(before), Some(after)) = (before, after) else { return };
    if before.n == after.n {
        return;
    }
    let spent = i64::try_from(after.counted.saturating_sub(before.counted)).unwrap_or(i64::MAX);
    let left = before.remaining.map(|remaining| {
        // Each balance has the next number: one between the two comes from a refill, and no event of this stream
        // tells what that brought.
        let known = after.n == before.n.saturating_add(1);
        known.then(|| remaining.saturating_sub(spent).max(0))
    });
    let change = Change {
        field: "credits",
        before: left.map(|left| shown(left, before)).unwrap_or_default(),
        after: credits(after),
    };
    changes.retain(|known| known.field != change.field);
    if change.before != change.after {
        changes.push(change);
    }
}

/// What a change left; null for unlimited.
fn credits(state: &CreditsState) -> Value {
    state.remaining.map(|remaining| shown(Some(remaining), state)).unwrap_or_default()
}

/// So many credits, if it is known how many, and how they come back.
fn shown(remaining: Option<i64>, state: &CreditsState) -> Value {
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
            ("bootstrapped", json!(state.is_bootstrapped())),
            ("policy", policy(&state.policy)),
        ]
    };
    let mut changes = between(before.map(&fields), fields(after));
    changes.extend(signing_keys(before, after));
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

/// The signing keys that came, retired or were revoked, each as it was and as it is.
fn signing_keys<'a>(
    before: Option<&'a OrganizationState>,
    after: &'a OrganizationState,
) -> impl Iterator<Item = Change> + 'a {
    let shown = |key: &SigningKey| {
        json!({
            "generation": key.generation,
            "publicKey": key.public_key,
            "signsFrom": key.signs_from,
            "retiredAt": key.retired_at,
            "revokedAt": key.revoked_at,
        })
    };
    after.signing_keys.iter().filter_map(move |key| {
        let known = before.iter().flat_map(|state| &state.signing_keys);
        let known = known.into_iter().find(|known| known.generation == key.generation);
        let before = known.map(shown).unwrap_or_default();
        (known != Some(key)).then(|| Change { field: "signingKey", before, after: shown(key) })
    })
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
        (Rule::TokenLifetime, policy.token_lifetime_seconds.map(Value::from)),
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

#[cfg(test)]
mod tests {
    use keyledger_schema::Timestamp;

    use super::*;

    #[test]
    fn what_was_left_before_a_change_of_credits_is_told_where_it_is_known() {
        let balance = |n, counted, remaining| {
            let at = Timestamp::from_micros(1_700_000_000_000_000);
            CreditsState { n, at, counted, remaining, refill: None, adjusted_by: None }
        };
        let told = |before, after| {
            let mut changes = Vec::new();
            changed_credits(&mut changes, Some(&before), Some(&after));
            changes
                .pop()
                .map(|change| (change.before["remaining"].clone(), change.after["remaining"].clone()))
        };
        let of = |before, after| Some((before, after));
        let first = balance(1, 0, Some(10));
        assert_eq!(told(first, first), None);
        assert_eq!(told(first, balance(2, 4, Some(6))), None);
        assert_eq!(told(first, balance(2, 4, Some(10))), of(json!(6), json!(10)));
        assert_eq!(told(first, balance(2, 40, Some(1))), of(json!(0), json!(1)));
        // A refill has a number of its own.
        assert_eq!(told(first, balance(3, 4, Some(10))), of(Value::Null, json!(10)));
        assert_eq!(told(first, balance(2, 4, None)), of(json!(6), Value::Null));
        assert_eq!(told(balance(1, 4, None), balance(2, 4, Some(3))), of(Value::Null, json!(3)));
    }
}
