//! `keyledger key identify` and `keyledger key self-revoke`: what to do with a secret that was found.

use serde_json::{Value, json};

use super::client::{Client, error_beside};
use super::key::reason;
use super::key_args::{IdentifyArgs, SelfRevokeArgs};
use super::output::clean;
use super::table::{actor, fields, line, moment, named, text, word};
use super::value::set;
use super::{Exit, Failure, Output, confirm, secret_input};

const IRREVERSIBLE: &str = "Revoking cannot be undone";

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
            let key = named(&answer["key"]).concat();
            confirm::ask(&clean(&format!("{IRREVERSIBLE}: {key}. Go on?")))?;
        }
        body["revoke"] = json!({ "reason": reason(why) });
        set(&mut body["revoke"], "comment", args.comment.as_ref());
    }
    let answer = client.post("/v1/identify", &body, true)?;
    show(&answer, out)
}

fn is_found(answer: &Value) -> bool {
    answer["found"] == json!(true)
}

fn show(answer: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    if out.is_json() {
        out.json(answer)?;
    } else if is_found(answer) {
        out.line(described(answer))?;
    } else {
        out.line("no key that you may read has this secret")?;
    }
    if !is_found(answer) {
        return Err(Failure::told(Exit::NotFound));
    }
    // It was found and reported, but could not be revoked.
    error_beside(answer).map_or(Ok(()), Err)
}

fn described(answer: &Value) -> String {
    let key = &answer["key"];
    let at = |value: &Value| if value.is_null() { vec![] } else { vec![moment(value)] };
    let revoked = answer["revoked"].as_bool().map(|now| if now { "yes" } else { "no" }.to_owned());
    fields(&[
        ("key", named(key)),
        ("status", vec![word(&key["status"])]),
        ("environment", vec![word(&key["environment"])]),
        ("workspace", line(&key["workspaceId"])),
        ("organization", line(&key["organizationId"])),
        ("email", line(&key["email"])),
        ("secret version", line(&key["secretVersion"])),
        ("created", at(&key["createdAt"])),
        ("created by", actor(&key["createdBy"]).into_iter().collect()),
        ("expires", at(&key["expiresAt"])),
        ("reported", line(&answer["event"])),
        ("revoked", revoked.into_iter().collect()),
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
    set(&mut body, "reason", args.reason.map(reason));
    set(&mut body, "comment", args.comment.as_ref());
    let answer = client.post("/v1/self-revoke", &body, true)?;
    if out.is_json() {
        return out.json(&answer);
    }
    let id = text(&answer["keyId"]).unwrap_or_default();
    // No event was written where there was nothing left to do.
    let line = match answer["event"] {
        Value::Null => format!("unchanged {id}: nothing was left to do"),
        _ => format!("revoked {id}"),
    };
    out.line(clean(&line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_found_key_is_described_and_its_names_are_cleaned() {
        let answer = json!({ "found": true, "revoked": true, "event": "evt_1", "key": {
            "id": "key_1", "name": "a\u{1b}b", "status": "REVOKED", "environment": "production",
            "workspaceId": "ws_1", "organizationId": "org_1",
        } });
        let expected = "\
key           a\u{fffd}b (key_1)
status        revoked
environment   production
workspace     ws_1
organization  org_1
reported      evt_1
revoked       yes";
        assert_eq!(described(&answer), expected);
    }
    #[test]
    fn an_answer_that_says_no_makes_the_command_fail() {
        let shown = |answer: Value| {
            let mut bytes = Vec::new();
            show(&answer, &mut Output::new(&mut bytes, false)).map_err(|failure| (failure.exit, failure.code))
        };
        assert_eq!(shown(json!({ "found": true, "key": {} })), Ok(()));
        assert_eq!(shown(json!({ "found": false })), Err((Exit::NotFound, String::new())));
        let refused = json!({ "found": true, "key": {}, "revoked": false,
            "error": { "code": "FORBIDDEN", "message": "no" } });
        assert_eq!(shown(refused), Err((Exit::NotAllowed, "FORBIDDEN".into())));
    }
}
