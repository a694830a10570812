//! `keyledger key identify` and `keyledger key self-revoke`: what to do with a secret that was found.

use serde_json::{Value, json};

use super::client::Client;
use super::key::reason;
use super::key_args::{IdentifyArgs, ReasonArgument, SelfRevokeArgs};
use super::output::clean;
use super::table::{fields, grants, line, moment, named, text, word};
use super::value::set;
use super::{Exit, Failure, Output, confirm, secret_input};

const IRREVERSIBLE: &str = "Revoking cannot be undone";

/// As the REST interface writes it.
fn reason_over_rest(why: ReasonArgument) -> String {
    reason(why).to_lowercase()
}

/// Tells which key a secret belongs to, and revokes it if that is wanted.
pub fn identify(args: &IdentifyArgs, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    if args.revoke.is_some() {
        confirm::require(args.yes, IRREVERSIBLE)?;
    }
    let secret = secret_input::read(&args.secret)?;
    let mut body = json!({ "key": *secret });
    set(&mut body, "comment", args.comment.as_ref());
    if let Some(why) = args.revoke {
        if !args.yes {
            let answer = client.post("/v1/identify", &body, true)?;
            if !is_found(&answer) {
                return show(&answer, out);
            }
            let key = named(key(&answer)).concat();
            confirm::ask(&clean(&format!("{IRREVERSIBLE}: {key}. Go on?")))?;
        }
        body["revoke"] = json!({ "reason": reason_over_rest(why) });
        set(&mut body["revoke"], "comment", args.comment.as_ref());
    }
    let answer = client.post("/v1/identify", &body, true)?;
    show(&answer, out)
}

fn is_found(answer: &Value) -> bool {
    answer["found"] == json!(true)
}

/// The key of an answer.
fn key(answer: &Value) -> &Value {
    &answer["key"]
}

fn show(answer: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    if out.is_json() {
        out.json(answer)?;
    } else if is_found(answer) {
        out.line(described(answer))?;
    } else {
        out.line("no key that you may see has this secret")?;
    }
    if is_found(answer) { Ok(()) } else { Err(Failure::told(Exit::NotFound)) }
}

fn described(answer: &Value) -> String {
    let key = key(answer);
    // An object where there is one, else the id alone.
    let place = |name: &str| {
        let object = named(&key[name]);
        if object.is_empty() { line(&key[format!("{name}Id")]) } else { object }
    };
    let at = |value: &Value| if value.is_null() { vec![] } else { vec![moment(value)] };
    let worded = |value: &Value| if value.is_null() { vec![] } else { vec![word(value)] };
    let revoked = match &answer["revoked"] {
        Value::Null => vec![],
        Value::Bool(now) => vec![if *now { "yes, now" } else { "no" }.into()],
        _ => vec!["yes".into()],
    };
    fields(&[
        ("key", named(key)),
        ("status", worded(&key["status"])),
        ("environment", worded(&key["environment"])),
        ("workspace", place("workspace")),
        ("organization", place("organization")),
        ("email", line(&key["email"])),
        ("grants", grants(&key["grants"])),
        ("secret version", line(&key["secretVersion"])),
        ("created", at(&key["createdAt"])),
        ("expires", at(&key["expiresAt"])),
        ("last used", at(&key["lastUsedAt"])),
        ("revoked", revoked),
    ])
}

/// Revokes a key by its own secret.
pub fn self_revoke(args: &SelfRevokeArgs, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    confirm::require(args.yes, IRREVERSIBLE)?;
    let secret = secret_input::read(&args.secret)?;
    if !args.yes {
        confirm::ask(&format!("{IRREVERSIBLE}: the key of this secret. Go on?"))?;
    }
    let mut body = json!({ "key": *secret });
    set(&mut body, "reason", args.reason.map(reason_over_rest));
    set(&mut body, "comment", args.comment.as_ref());
    let answer = client.post("/v1/self-revoke", &body, true)?;
    if out.is_json() {
        return out.json(&answer);
    }
    let id = ["/keyId", "/key/id", "/id"].into_iter().find_map(|place| text(answer.pointer(place)?));
    out.line(clean(&format!("revoked {}", id.unwrap_or_else(|| "the key of this secret".into()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_found_key_is_described_and_its_names_are_cleaned() {
        let answer = json!({ "found": true, "revoked": true, "key": {
            "id": "key_1", "name": "a\u{1b}b", "status": "revoked", "environment": "production",
            "workspaceId": "ws_1", "organization": { "id": "org_1", "name": "Acme" },
        } });
        let expected = "\
key           a\u{fffd}b (key_1)
status        revoked
environment   production
workspace     ws_1
organization  Acme (org_1)
revoked       yes, now";
        assert_eq!(described(&answer), expected);
    }
}
