//! What a change did: one line on it, and the warnings beside it.

use serde_json::{Value, json};

use super::client::Client;
use super::output::clean;
use super::queries::Mutation;
use super::table::{text, word};
use super::{Exit, Failure, Output};

/// Sends a mutation and tells what it did.
pub fn change(
    client: &Client,
    out: &mut Output<'_>,
    mutation: Mutation,
    input: &Value,
    done: &str,
) -> Result<(), Failure> {
    change_and(client, out, mutation, input, done, |_, _| Ok(()))
}

/// The same, with more to show of the payload before its warnings.
pub fn change_and(
    client: &Client,
    out: &mut Output<'_>,
    mutation: Mutation,
    input: &Value,
    done: &str,
    more: impl FnOnce(&Value, &mut Output<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let data = client.call(&mutation.document(), &json!({ "input": input }))?;
    if out.is_json() {
        return out.json(&data);
    }
    let payload = &data[mutation.field];
    let object = &payload[mutation.object];
    if object["id"].is_null() {
        let message = format!("the server's answer names no {}", mutation.object);
        return Err(Failure::new(Exit::Failed, "UNEXPECTED_ANSWER", message));
    }
    out.line(told(object, payload, done))?;
    more(payload, out)?;
    warn(payload, out);
    Ok(())
}

/// One line: what was done, to what, and whether there was anything to do.
pub fn told(object: &Value, payload: &Value, done: &str) -> String {
    let nothing = payload["events"].as_array().is_some_and(Vec::is_empty);
    let id = text(&object["id"]).unwrap_or_default();
    let name = text(&object["name"]).or_else(|| text(&object["externalId"])).unwrap_or_default();
    let rest = match object["status"].as_str() {
        Some(_) => format!(" ({}, {})", word(&object["environment"]), word(&object["status"])),
        None => String::new(),
    };
    let line = if nothing {
        format!("unchanged {id} \"{name}\"{rest}: nothing was left to do")
    } else {
        format!("{done} {id} \"{name}\"{rest}")
    };
    clean(&line).into_owned()
}

/// Tells an answer's warnings.
pub fn warn(payload: &Value, out: &Output<'_>) {
    for warning in payload["warnings"].as_array().into_iter().flatten() {
        let message = text(&warning["message"]).unwrap_or_default();
        let code = text(&warning["code"]).unwrap_or_default();
        out.note(clean(&format!("warning: {message} ({code})")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_and_what_was_not_too() {
        let key =
            json!({ "id": "key_1", "name": "a\u{1b}b", "environment": "PRODUCTION", "status": "REVOKED" });
        assert_eq!(
            told(&key, &json!({ "events": [{}] }), "revoked"),
            "revoked key_1 \"a\u{fffd}b\" (production, revoked)"
        );
        assert!(told(&key, &json!({ "events": [] }), "revoked").starts_with("unchanged key_1"));
        let role = json!({ "id": "role_1", "name": "support" });
        assert_eq!(told(&role, &json!({ "events": [{}] }), "created"), "created role_1 \"support\"");
    }
}
