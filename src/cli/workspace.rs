//! `keyledger workspace …`.

use serde_json::{Value, json};

use super::client::Client;
use super::table::{line, moment, named, table, text};
use super::value::set;
use super::workspace_args::WorkspaceCommand;
use super::{Failure, Output, pages, queries, told};

/// Does it.
pub fn run(command: &WorkspaceCommand, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        WorkspaceCommand::List { organization, limit } => {
            let variables = json!({ "organizationId": organization });
            show_list(variables, *limit, client, out)
        }
        WorkspaceCommand::Create { name, organization } => {
            let mut input = json!({ "name": name });
            set(&mut input, "organizationId", *organization);
            told::change(client, out, queries::CREATE_WORKSPACE, &input, "created")
        }
        WorkspaceCommand::Rename { id, name } => {
            let input = json!({ "id": id, "name": name });
            told::change(client, out, queries::RENAME_WORKSPACE, &input, "renamed")
        }
        WorkspaceCommand::Quota { id, max_keys } => {
            let input = json!({ "id": id, "maxKeys": max_keys });
            told::change_and(client, out, queries::SET_QUOTA, &input, "set the quota of", |payload, out| {
                let workspace = &payload["workspace"];
                let count = text(&workspace["keyCount"]).unwrap_or_default();
                out.line(format_args!("{count} keys of {}", quota(workspace)))
            })
        }
    }
}

fn quota(workspace: &Value) -> String {
    text(&workspace["quota"]).unwrap_or_else(|| "unlimited".into())
}

fn show_list(variables: Value, limit: usize, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let ask = |page: &Value| client.call(&queries::workspaces(), page);
    let data = pages::collect(ask, variables, "/workspaces", limit)?;
    if out.is_json() {
        return out.json(&data);
    }
    let found = data["workspaces"]["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |it: &Value| {
        vec![
            line(&it["id"]),
            line(&it["name"]),
            named(&it["organization"]),
            line(&it["keyCount"]),
            vec![quota(it)],
            vec![moment(&it["createdAt"])],
        ]
    };
    let headers = ["ID", "NAME", "ORGANIZATION", "KEYS", "QUOTA", "CREATED"];
    out.line(table(&headers, found.iter().map(row).collect(), &[0]))?;
    if data["workspaces"]["pageInfo"]["hasNextPage"] == json!(true) {
        out.note(format_args!("{} shown, there are more; --limit 0 shows all", found.len()));
    }
    Ok(())
}
