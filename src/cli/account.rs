//! `keyledger whoami`.

use serde_json::json;

use super::client::Client;
use super::table::{fields, grants, line, moment, named, word};
use super::{Failure, Output, queries};

/// Shows who the caller is.
pub fn whoami(client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let data = client.call(queries::VIEWER, &json!({}))?;
    if out.is_json() {
        return out.json(&data);
    }
    let viewer = &data["viewer"];
    // A key that may not read keys does not see itself.
    let key = &viewer["key"];
    let seen = |values: Vec<String>| if key.is_null() { vec![] } else { values };
    let expires = if key["expiresAt"].is_null() { "never".into() } else { moment(&key["expiresAt"]) };
    out.line(fields(&[
        ("key", if key.is_null() { line(&viewer["keyId"]) } else { named(key) }),
        ("email", line(&viewer["email"])),
        ("status", seen(vec![word(&key["status"])])),
        ("environment", seen(vec![word(&key["environment"])])),
        ("organization", named(&viewer["organization"])),
        ("workspace", named(&key["workspace"])),
        ("grants", grants(&viewer["grants"])),
        ("expires", seen(vec![expires])),
    ]))
}
