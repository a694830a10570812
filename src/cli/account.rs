//! `keyledger whoami` and `keyledger workspace …`.

use serde_json::{Value, json};

use super::client::Client;
use super::output::clean;
use super::table::{fields, grants, line, moment, named, table, text, word};
use super::{Failure, Output, WorkspaceCommand, key as keys, pages, queries};

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

/// Lists or creates workspaces.
pub fn workspace(command: &WorkspaceCommand, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        WorkspaceCommand::List { limit } => {
            let data = pages::collect(
                |page| client.call(queries::WORKSPACES, page),
                json!({}),
                "/workspaces",
                *limit,
            )?;
            if out.is_json() {
                return out.json(&data);
            }
            let found = data["workspaces"]["nodes"].as_array().map_or(&[][..], Vec::as_slice);
            let row = |it: &Value| vec![line(&it["id"]), line(&it["name"]), vec![moment(&it["createdAt"])]];
            out.line(table(&["ID", "NAME", "CREATED"], found.iter().map(row).collect(), &[0]))?;
            if data["workspaces"]["pageInfo"]["hasNextPage"] == json!(true) {
                out.note(format_args!("{} shown, there are more; --limit 0 shows all", found.len()));
            }
            Ok(())
        }
        WorkspaceCommand::Create { name } => {
            let input = json!({ "input": { "name": name } });
            let data = client.call(queries::CREATE_WORKSPACE, &input)?;
            if out.is_json() {
                return out.json(&data);
            }
            let payload = &data["createWorkspace"];
            let made = &payload["workspace"];
            let shown = format!(
                "created {} \"{}\"",
                text(&made["id"]).unwrap_or_default(),
                text(&made["name"]).unwrap_or_default()
            );
            out.line(clean(&shown))?;
            keys::warn(payload, out);
            Ok(())
        }
    }
}
