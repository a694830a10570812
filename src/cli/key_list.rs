//! `keyledger key list` and `keyledger key unused`, and the conditions of all lists of keys.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::client::Client;
use super::key_args::{FilterArgs, ListArgs, SortArgument, StatusArgument, UnusedArgs};
use super::output::clean;
use super::role::{self, Place};
use super::table::{actor, line, list, moment, table, text, word};
use super::value::{Moment, set};
use super::{Failure, Output, identity, pages, queries};
use crate::edge::Edge;

/// Where the names in a filter are looked up.
fn place(args: &FilterArgs) -> Place {
    match args.workspace {
        Some(workspace) if args.organization.is_none() => Place::OfWorkspace(workspace),
        _ => Place::Organization(args.organization),
    }
}

/// The conditions as GraphQL wants them. What was not typed is not sent.
pub fn filter_input(args: &FilterArgs, client: &Client, edge: &Edge) -> Result<Value, Failure> {
    let now = edge.now();
    let mut filter = Value::Object(Map::new());
    set(&mut filter, "organizationId", args.organization);
    set(&mut filter, "workspaceId", args.workspace);
    set(&mut filter, "environment", args.environment.map(|it| it.as_str().to_uppercase()));
    set(&mut filter, "search", args.search.as_ref());
    set(&mut filter, "nameContains", args.name_contains.as_ref());
    set(&mut filter, "createdBy", args.created_by);
    if let Some(role) = &args.role {
        filter["roleId"] = json!(role::id(client, role, place(args))?);
    }
    set(&mut filter, "createdAfter", args.created_after.map(|when| when.before(now)));
    set(&mut filter, "createdBefore", args.created_before.map(|when| when.before(now)));
    set(&mut filter, "expiresBefore", args.expires_before.map(|when| when.ahead_of(now)));
    set(&mut filter, "unusedSince", args.unused_since.map(|when| when.before(now)));
    Ok(filter)
}

fn variables(args: &ListArgs, client: &Client, edge: &Edge) -> Result<Value, Failure> {
    let mut filter = filter_input(&args.filter, client, edge)?;
    let every = [
        StatusArgument::Active,
        StatusArgument::Inactive,
        StatusArgument::Expired,
        StatusArgument::Revoked,
        StatusArgument::Deleted,
    ];
    let statuses = match args.statuses.as_slice() {
        [] => &[StatusArgument::Active],
        some if some.contains(&StatusArgument::All) => every.as_slice(),
        some => some,
    };
    filter["statuses"] = statuses.iter().map(|status| format!("{status:?}").to_uppercase()).collect();
    set(&mut filter, "secretAcknowledged", args.unacknowledged.then_some(false));
    if let Some(identity) = &args.identity {
        filter["identityId"] = json!(identity::id(client, identity, place(&args.filter))?);
    }
    let (field, descending) = match args.sort {
        SortArgument::Created => ("CREATED_AT", true),
        SortArgument::Name => ("NAME", false),
        SortArgument::Expires => ("EXPIRES_AT", false),
        SortArgument::LastUsed => ("LAST_USED_AT", false),
    };
    let direction = if descending == args.reverse { "ASC" } else { "DESC" };
    Ok(json!({ "filter": filter, "orderBy": { "field": field, "direction": direction } }))
}

/// Lists keys.
pub fn show(args: &ListArgs, client: &Client, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    let variables = variables(args, client, edge)?;
    let data = pages::collect(|page| client.call(&queries::keys(), page), variables, "/keys", args.limit)?;
    if out.is_json() {
        return out.json(&data);
    }
    let row = |key: &Value| {
        let granted = list(&key["grants"], |grant| Some(word(&grant["role"])));
        vec![
            line(&key["id"]),
            line(&key["name"]),
            vec![word(&key["status"])],
            vec![word(&key["environment"])],
            [list(&key["permissionSummary"], text), granted].concat(),
            vec![moment(&key["expiresAt"])],
            vec![moment(&key["lastUsedAt"])],
            line(&key["secretHint"]),
        ]
    };
    let headers =
        ["ID", "NAME", "STATUS", "ENVIRONMENT", "PERMISSIONS, GRANTS", "EXPIRES", "LAST USED", "SECRET"];
    show_table(&data, &headers, row, 0, out)
}

/// Shows the keys of an answer, and whether there are more. The column `whole` is not broken.
fn show_table(
    data: &Value,
    headers: &[&str],
    row: impl Fn(&Value) -> Vec<Vec<String>>,
    whole: usize,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let keys = data["keys"]["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    if keys.is_empty() {
        out.note("no keys match");
        return Ok(());
    }
    out.line(table(headers, keys.iter().map(row).collect(), &[whole]))?;
    if data["keys"]["pageInfo"]["hasNextPage"] == json!(true) {
        let total = text(&data["keys"]["totalCount"]).unwrap_or_else(|| "more".into());
        out.note(clean(&format!("{} of {total} shown; --limit 0 shows all", keys.len())));
    }
    Ok(())
}

fn unused_variables(args: &UnusedArgs, edge: &Edge) -> Value {
    let since = Moment::Away(Duration::from_hours(u64::from(args.days) * 24)).before(edge.now());
    let mut filter = json!({ "statuses": ["ACTIVE"], "unusedSince": since });
    set(&mut filter, "organizationId", args.organization);
    set(&mut filter, "workspaceId", args.workspace);
    json!({ "filter": filter, "orderBy": { "field": "LAST_USED_AT", "direction": "ASC" } })
}

/// Reports the keys that nobody has used for long.
pub fn unused(args: &UnusedArgs, client: &Client, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    let variables = unused_variables(args, edge);
    let data = pages::collect(|page| client.call(queries::UNUSED, page), variables, "/keys", args.limit)?;
    if out.is_json() {
        return out.json(&data);
    }
    let row = |key: &Value| {
        let used = &key["lastUsedAt"];
        vec![
            line(&key["name"]),
            line(&key["id"]),
            vec![moment(&key["createdAt"])],
            vec![if used.is_null() { "never".into() } else { moment(used) }],
            actor(&key["createdBy"]).into_iter().collect(),
        ]
    };
    show_table(&data, &["NAME", "ID", "CREATED", "LAST USED", "CREATED BY"], row, 1, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::key::tests::{WS, client, command};
    use crate::cli::key_args::KeyCommand;

    #[test]
    fn a_list_shows_active_keys_unless_told_otherwise() {
        let variables = |arguments: &[&str]| match command(&[&["list"], arguments].concat()) {
            KeyCommand::List(args) => variables(&args, &client(), &Edge::default()).unwrap(),
            other => panic!("{other:?}"),
        };
        let plain = json!({
            "filter": { "statuses": ["ACTIVE"] },
            "orderBy": { "field": "CREATED_AT", "direction": "DESC" },
        });
        assert_eq!(variables(&[]), plain);
        let all = variables(&["--status", "all", "--sort", "name", "--reverse", "--unacknowledged"]);
        assert_eq!(all["filter"]["statuses"], json!(["ACTIVE", "INACTIVE", "EXPIRED", "REVOKED", "DELETED"]));
        assert_eq!(all["filter"]["secretAcknowledged"], json!(false));
        assert_eq!(all["orderBy"], json!({ "field": "NAME", "direction": "DESC" }));
        let role = "role_01h455vb4pex5vsknk084sn02q";
        let held = variables(&["--role", role, "--workspace", WS, "--sort", "last-used"]);
        assert_eq!((&held["filter"]["roleId"], &held["filter"]["workspaceId"]), (&json!(role), &json!(WS)));
        assert_eq!(held["orderBy"], json!({ "field": "LAST_USED_AT", "direction": "ASC" }));
    }

    #[test]
    fn a_report_has_active_keys_and_begins_with_those_used_longest_ago() {
        let KeyCommand::Unused(args) = command(&["unused", "--days", "30", "--workspace", WS]) else {
            panic!()
        };
        let variables = unused_variables(&args, &Edge::default());
        assert_eq!(variables["filter"]["statuses"], json!(["ACTIVE"]));
        assert_eq!(variables["filter"]["workspaceId"], json!(WS));
        assert!(variables["filter"]["unusedSince"].is_string());
        assert_eq!(variables["orderBy"]["field"], json!("LAST_USED_AT"));
    }
}
