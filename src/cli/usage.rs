//! `keyledger usage`: how often keys were verified, and each verification.

use serde_json::{Map, Value, json};

use super::client::Client;
use super::output::clean;
use super::role::{self, Place};
use super::table::{fields, list, moment, table, text, word};
use super::usage_args::{ConditionArgs, LogArgs, ShowArgs, UsageCommand};
use super::value::set;
use super::{Failure, Output, export, pages, queries, simulate};
use crate::edge::Edge;

/// Runs a command about usage.
pub fn run(
    command: &UsageCommand,
    client: &Client,
    edge: &Edge,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        UsageCommand::Show(args) => show(args, client, edge, out),
        UsageCommand::Log(args) => log(args, client, edge, out),
        UsageCommand::Export(args) => export::run(args, client, edge, out),
        UsageCommand::Simulate(args) => simulate::run(args, client, edge, out),
    }
}

/// The id of the role that is meant.
pub fn role(args: &ConditionArgs, client: &Client) -> Result<Option<Value>, Failure> {
    let Some(role) = &args.role else { return Ok(None) };
    let place = match args.workspace {
        Some(workspace) if args.organization.is_none() => Place::OfWorkspace(workspace),
        _ => Place::Organization(args.organization),
    };
    Ok(Some(json!(role::id(client, role, place)?)))
}

fn upper(value: impl std::fmt::Debug) -> String {
    format!("{value:?}").to_uppercase()
}

fn filter(args: &ConditionArgs, client: &Client) -> Result<Value, Failure> {
    let mut filter = Value::Object(Map::new());
    set(&mut filter, "workspaceId", args.workspace);
    set(&mut filter, "environment", args.environment.map(|it| it.as_str().to_uppercase()));
    set(&mut filter, "identityId", args.identity);
    set(&mut filter, "roleId", role(args, client)?);
    set(&mut filter, "outcomes", (!args.outcomes.is_empty()).then_some(&args.outcomes));
    set(&mut filter, "action", args.action.map(upper));
    set(&mut filter, "means", args.means.map(upper));
    set(&mut filter, "tag", args.tag.as_ref());
    set(&mut filter, "address", args.address);
    Ok(filter)
}

fn show(args: &ShowArgs, client: &Client, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    let now = edge.now();
    let mut filter = filter(&args.conditions, client)?;
    set(&mut filter, "keyIds", (!args.frame.keys.is_empty()).then_some(&args.frame.keys));
    let variables = json!({
        "organizationId": args.conditions.organization,
        "includeBelow": args.frame.include_below,
        "filter": filter,
        "from": args.from.before(now),
        "to": args.to.map_or(now, |to| to.before(now)),
        "granularity": upper(args.frame.granularity),
        "groupBy": args.frame.by.iter().map(upper).collect::<Vec<_>>(),
        "top": args.top,
        "timeZone": args.frame.time_zone,
        "series": args.series,
    });
    let data = client.call(queries::USAGE, &variables)?;
    if out.is_json() {
        return out.json(&data);
    }
    let usage = &data["usage"];
    out.line(clean(&format!(
        "{} to {}, {}",
        moment(&usage["from"]),
        moment(&usage["to"]),
        text(&usage["timeZone"]).unwrap_or_default()
    )))?;
    out.line("")?;
    let count = |name: &'static str| (name, list(&json!([usage["totals"][name]]), text));
    out.line(fields(&["verifications", "valid", "refused", "credits"].map(count)))?;
    let headers: Vec<String> = args.frame.by.iter().map(upper).collect();
    if !headers.is_empty() {
        out.line("")?;
        out.line(groups(usage, headers))?;
    }
    if args.series {
        out.line("")?;
        out.line(series(usage))?;
    }
    for gap in usage["incomplete"].as_array().into_iter().flatten() {
        out.note(format_args!(
            "verifications from {} to {} may be missing: a node stopped without warning",
            moment(&gap["from"]),
            moment(&gap["to"])
        ));
    }
    Ok(())
}

const COUNTS: [&str; 4] = ["verifications", "valid", "refused", "credits"];

fn counts(counts: &Value) -> impl Iterator<Item = Vec<String>> {
    COUNTS.map(|name| text(&counts[name]).into_iter().collect()).into_iter()
}

fn groups(usage: &Value, mut headers: Vec<String>) -> String {
    let dimensions = headers.len();
    headers.extend(COUNTS.map(str::to_uppercase));
    let mut rows: Vec<Vec<Vec<String>>> = Vec::new();
    for group in usage["groups"].as_array().into_iter().flatten() {
        let values = group["values"].as_array().into_iter().flatten().map(value);
        rows.push(values.chain(counts(&group["totals"])).collect());
    }
    if usage["otherGroups"].as_u64().is_some_and(|others| others > 0) {
        let mut row = vec![vec![format!("{} others", usage["otherGroups"])]];
        row.resize(dimensions, vec![]);
        row.extend(counts(&usage["others"]));
        rows.push(row);
    }
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    table(&headers, rows, &[])
}

/// A value with its name on a line of its own, so that the id can be copied.
fn value(value: &Value) -> Vec<String> {
    let word_of = |value: &Value| match value["dimension"].as_str() {
        Some("ENVIRONMENT" | "ACTION" | "MEANS" | "OUTCOME") => Some(word(&value["value"])),
        _ => text(&value["value"]),
    };
    let id = text(&value["id"]);
    match (text(&value["name"]), id) {
        (Some(name), Some(id)) => vec![name, id],
        (None, Some(id)) => vec![id],
        _ if value["value"].is_null() => vec!["-".into()],
        _ => word_of(value).into_iter().collect(),
    }
}

fn series(usage: &Value) -> String {
    let buckets = usage["buckets"].as_array().into_iter().flatten();
    let counted = usage["series"].as_array().into_iter().flatten();
    let rows =
        buckets.zip(counted).map(|(at, all)| std::iter::once(vec![moment(at)]).chain(counts(all)).collect());
    let headers = ["FROM", "VERIFICATIONS", "VALID", "REFUSED", "CREDITS"];
    table(&headers, rows.collect(), &[0])
}

fn log(args: &LogArgs, client: &Client, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    let now = edge.now();
    let mut filter = filter(&args.conditions, client)?;
    set(&mut filter, "resourcePrefix", args.resource_prefix.as_ref());
    set(&mut filter, "from", args.from.map(|from| from.before(now)));
    set(&mut filter, "to", args.to.map(|to| to.before(now)));
    let direction = if args.oldest_first { "ASC" } else { "DESC" };
    let mut variables = json!({ "filter": filter, "direction": direction });
    let (query, list) = if let Some(id) = args.id {
        variables["id"] = json!(id);
        (queries::verifications_of_key(), "/key/verifications")
    } else {
        set(&mut variables, "organizationId", args.conditions.organization);
        (queries::verifications(), "/verifications")
    };
    let data = pages::collect(|page| client.call(&query, page), variables, list, args.limit)?;
    if out.is_json() {
        return out.json(&data);
    }
    if let Some(id) = args.id {
        out.line(clean(&format!("{id} \"{}\"", text(&data["key"]["name"]).unwrap_or_default())))?;
        out.line("")?;
    }
    let list = data.pointer(list).unwrap_or(&Value::Null);
    let shown = list["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let mut headers =
        vec!["LAST", "TIMES", "OUTCOME", "ACTION", "RESOURCE", "SOURCE", "TAGS", "SECRET", "MEANS"];
    let mut rows: Vec<_> = shown.iter().map(row).collect();
    let mut whole = vec![0];
    if args.id.is_none() {
        // Whose they are has to be said then, so that it can be copied.
        headers.insert(1, "KEY");
        whole.push(1);
        for (row, one) in rows.iter_mut().zip(shown) {
            row.insert(1, cell(&one["keyId"]));
        }
    }
    out.line(table(&headers, rows, &whole))?;
    if list["pageInfo"]["hasNextPage"] == json!(true) {
        out.note(format_args!("{} records shown, there are more; --limit 0 shows all", shown.len()));
    }
    Ok(())
}

fn cell(value: &Value) -> Vec<String> {
    vec![text(value).unwrap_or_else(|| "-".into())]
}

fn row(one: &Value) -> Vec<Vec<String>> {
    let tags = list(&one["tags"], text);
    vec![
        vec![moment(&one["lastAt"])],
        cell(&one["count"]),
        vec![word(&one["code"])],
        vec![if one["action"].is_null() { "-".into() } else { word(&one["action"]) }],
        cell(&one["resource"]),
        cell(&one["ip"]),
        if tags.is_empty() { vec!["-".into()] } else { tags },
        cell(&one["secretVersion"]),
        vec![if one["means"].is_null() { "-".into() } else { word(&one["means"]) }],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_told_by_names_and_ids_and_the_rest_is_summed_up() {
        let counts = json!({ "verifications": 3, "valid": 2, "refused": 1, "credits": 0 });
        let usage = json!({
            "groups": [
                { "values": [
                    { "dimension": "KEY", "id": "key_1", "name": "a\u{1b}b", "value": null },
                    { "dimension": "OUTCOME", "id": null, "name": null, "value": "RATE_LIMITED" },
                ], "totals": counts },
                { "values": [
                    { "dimension": "KEY", "id": null, "name": null, "value": null },
                    { "dimension": "OUTCOME", "id": null, "name": null, "value": "NOT_FOUND" },
                ], "totals": counts },
            ],
            "otherGroups": 7, "others": counts,
        });
        let shown = groups(&usage, vec!["KEY".into(), "OUTCOME".into()]);
        let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        let expected: [&[&str]; 5] = [
            &["KEY", "OUTCOME", "VERIFICATIONS", "VALID", "REFUSED", "CREDITS"],
            &["a\u{fffd}b", "rate-limited", "3", "2", "1", "0"],
            &["key_1"],
            &["-", "not-found", "3", "2", "1", "0"],
            &["7", "others", "3", "2", "1", "0"],
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_record_tells_when_how_often_and_what() {
        let one = json!({ "lastAt": "2026-11-21T09:14:14.252913Z", "count": 3, "code": "VALID",
            "action": "READ", "resource": "customers/42", "ip": null, "tags": ["eu", "pro"], "secretVersion": 2,
            "means": "TOKEN" });
        let expected: Vec<Vec<&str>> = vec![
            vec!["2026-11-21 09:14:14Z"],
            vec!["3"],
            vec!["valid"],
            vec!["read"],
            vec!["customers/42"],
            vec!["-"],
            vec!["eu", "pro"],
            vec!["2"],
            vec!["token"],
        ];
        assert_eq!(row(&one), expected);
    }
}
