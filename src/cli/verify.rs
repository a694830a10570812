//! `keyledger verify`: asks what a service would ask.

use clap::ValueEnum;
use serde_json::{Value, json};

use super::client::Client;
use super::table::{fields, length, line, list, moment, text, word};
use super::value::set;
use super::{Exit, Failure, Output, VerifyArgs, secret_input};

/// Asks, and says by the exit code too whether the key is valid.
pub fn run(args: &VerifyArgs, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let secret = secret_input::read(&args.secret)?;
    let mut body = json!({ "key": *secret });
    let action = args.action.and_then(|action| action.to_possible_value());
    set(&mut body, "action", action.map(|action| action.get_name().to_owned()));
    set(&mut body, "resource", args.resource.as_ref());
    set(&mut body, "environment", args.environment.map(|environment| environment.as_str().to_owned()));
    set(&mut body, "ip", args.ip);
    set(&mut body, "cost", args.cost);
    let some = |texts: &[String]| (!texts.is_empty()).then(|| texts.to_vec());
    set(&mut body, "tags", some(&args.tags));
    set(&mut body, "limits", some(&args.limits));
    let answer = client.post("/v1/verify", &body, false)?;
    if out.is_json() {
        out.json(&answer)?;
    } else {
        out.line(described(&answer))?;
    }
    if answer["valid"] == json!(true) { Ok(()) } else { Err(Failure::told(Exit::Failed)) }
}

fn described(answer: &Value) -> String {
    let at = |value: &Value| if value.is_null() { vec![] } else { vec![moment(value)] };
    let environment = answer["environment"].as_str().map(|_| word(&answer["environment"]));
    let external = text(&answer["externalId"]).map(|id| format!(" \"{id}\"")).unwrap_or_default();
    let identity = text(&answer["identityId"]).map(|id| format!("{id}{external}"));
    fields(&[
        ("valid", vec![if answer["valid"] == json!(true) { "yes" } else { "no" }.into()]),
        ("code", line(&answer["code"])),
        ("why", line(&answer["message"])),
        ("key", line(&answer["keyId"])),
        ("environment", environment.into_iter().collect()),
        ("workspace", line(&answer["workspaceId"])),
        ("organization", line(&answer["organizationId"])),
        ("expires", at(&answer["expiresAt"])),
        ("secret version", line(&answer["secretVersion"])),
        ("secret until", at(&answer["secretExpiresAt"])),
        ("identity", identity.into_iter().collect()),
        ("rate limits", list(&answer["rateLimits"], limit)),
        ("credits", credits(&answer["credits"]).into_iter().collect()),
        ("try again", seconds(&answer["retryAfterSeconds"]).into_iter().collect()),
    ])
}

/// After how long: `in 90m`.
fn seconds(value: &Value) -> Option<String> {
    value.as_u64().map(|seconds| format!("in {}", length(seconds)))
}

/// Where a limit stands: `api: 7 of 10 left, all of them in 30s, shared by the identity`.
fn limit(limit: &Value) -> Option<String> {
    let (name, left) = (text(&limit["name"])?, text(&limit["remaining"])?);
    let all = text(&limit["limit"]).unwrap_or_default();
    let reset = seconds(&limit["resetSeconds"]).map(|after| format!(", all of them {after}"));
    let shared = if limit["shared"] == json!(true) { ", shared by the identity" } else { "" };
    Some(format!("{name}: {left} of {all} left{}{shared}", reset.unwrap_or_default()))
}

/// `5 left, refilled in 2h`.
fn credits(credits: &Value) -> Option<String> {
    let left = text(&credits["remaining"])?;
    let refill = seconds(&credits["refillSeconds"]).map(|after| format!(", refilled {after}"));
    Some(format!("{left} left{}", refill.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_and_why() {
        let refused = described(&json!({ "valid": false, "code": "EXPIRED", "message": "it \u{1b}expired" }));
        assert_eq!(refused, "valid  no\ncode   EXPIRED\nwhy    it \u{fffd}expired");
        let valid = json!({ "valid": true, "code": "VALID", "keyId": "key_1", "secretVersion": 2 });
        assert!(described(&valid).contains("\nsecret version  2"));
        let counted = described(&json!({
            "valid": false, "code": "RATE_LIMITED", "retryAfterSeconds": 90,
            "rateLimits": [
                { "name": "api", "limit": 10, "remaining": 0, "resetSeconds": 900 },
                { "name": "all", "limit": 99, "remaining": 7, "resetSeconds": 1, "shared": true },
            ],
            "credits": { "remaining": 5, "refillSeconds": 7200 },
        }));
        for line in [
            "rate limits  api: 0 of 10 left, all of them in 15m",
            "             all: 7 of 99 left, all of them in 1s, shared by the identity",
            "credits      5 left, refilled in 2h",
            "try again    in 90s",
        ] {
            assert!(counted.lines().any(|shown| shown == line), "{line:?} is missing in\n{counted}");
        }
    }
}
