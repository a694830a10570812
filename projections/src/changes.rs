//! What an event changed, field by field, as an auditor reads it.

use serde_json::{Value, json};

use crate::key::KeyState;

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
    let fields = |state: &KeyState| -> [(&'static str, Value); 15] {
        [
            ("name", json!(state.name)),
            ("email", json!(state.email)),
            ("environment", json!(state.environment)),
            ("prefix", json!(state.prefix)),
            ("scopes", json!(state.scopes)),
            ("grants", json!(state.grants)),
            ("allowedCidrs", json!(state.allowed_cidrs)),
            ("metadata", json!(state.metadata)),
            ("expiresAt", json!(state.expires_at)),
            ("secretVersion", json!(state.secret.record.version)),
            ("secretAcknowledged", json!(state.secret.acknowledged_at.is_some())),
            ("previousSecretValidUntil", json!(state.previous_secret.as_ref().map(|p| p.valid_until))),
            ("status", json!(status_without_time(state))),
            ("revocationReason", json!(state.revoked.as_ref().map(|revoked| revoked.reason))),
            ("revocationComment", json!(state.revoked.as_ref().and_then(|revoked| revoked.comment.clone()))),
        ]
    };
    let after = fields(after);
    let nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        _ => false,
    };
    match before.map(fields) {
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
