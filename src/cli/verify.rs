//! `keyledger verify`: asks what a service would ask.

use clap::ValueEnum;
use serde_json::{Value, json};

use super::client::Client;
use super::table::{fields, line, moment, word};
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
    ])
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
    }
}
