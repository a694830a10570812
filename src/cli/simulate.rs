//! `keyledger usage simulate`: what a change would have refused.

use serde_json::{Map, Value, json};

use super::client::Client;
use super::output::clean;
use super::role::{self, Place};
use super::simulate_args::{CallerArgs, ProposalArgs, SimulateArgs};
use super::table::{fields, line, list, moment, table, text, word};
use super::value::{RateLimitArgument, scope_input, set};
use super::{Failure, Output, policy, queries};
use crate::edge::Edge;

/// The id of the role that would be another one.
fn role(args: &SimulateArgs, client: &Client) -> Result<Option<Value>, Failure> {
    let Some(role) = &args.change.role else { return Ok(None) };
    let callers = &args.callers;
    let place = match callers.workspace {
        Some(workspace) if callers.organization.is_none() => Place::OfWorkspace(workspace),
        _ => Place::Organization(callers.organization),
    };
    Ok(Some(json!(role::id(client, role, place)?)))
}

fn change(args: &ProposalArgs, role: Option<Value>) -> Value {
    let mut change = json!({});
    if !args.rate_limits.is_empty() {
        change["rateLimits"] = args.rate_limits.iter().map(RateLimitArgument::to_input).collect();
    }
    if args.no_scopes || !args.scopes.is_empty() {
        change["scopes"] = args.scopes.iter().map(scope_input).collect();
    }
    set(&mut change, "roleId", role);
    set(&mut change, "allowedCidrs", (!args.cidrs.is_empty()).then_some(&args.cidrs));
    let mut rules = json!({});
    set(&mut rules, "apiKeysEnabled", args.api_keys.as_ref());
    set(&mut rules, "expiryRequired", args.expiry_required.as_ref());
    set(&mut rules, "maxTtl", args.max_ttl.as_ref());
    set(&mut rules, "requireAllowedCidrs", args.require_cidrs.as_ref());
    set(&mut rules, "maxRateLimit", args.max_rate.as_ref());
    set(&mut rules, "allowedEnvironments", args.environments.as_ref());
    set(&mut change, "policy", (rules != json!({})).then_some(rules));
    change
}

fn filter(args: &CallerArgs) -> Value {
    let mut filter = Value::Object(Map::new());
    set(&mut filter, "workspaceId", args.workspace);
    set(&mut filter, "environment", args.environment.map(|it| it.as_str().to_uppercase()));
    set(&mut filter, "keyIds", (!args.keys.is_empty()).then_some(&args.keys));
    set(&mut filter, "identityId", args.identity);
    set(&mut filter, "action", args.action.map(|it| format!("{it:?}").to_uppercase()));
    set(&mut filter, "tag", args.tag.as_ref());
    set(&mut filter, "address", args.address);
    filter
}

/// Shows what a change would have refused.
pub fn run(args: &SimulateArgs, client: &Client, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    let now = edge.now();
    let (from, to) = (args.from.before(now), args.to.map_or(now, |to| to.before(now)));
    let variables = json!({
        "organizationId": args.callers.organization,
        "filter": filter(&args.callers),
        "change": change(&args.change, role(args, client)?),
        "from": from,
        "to": to,
    });
    let data = client.call(queries::SIMULATE, &variables)?;
    if out.is_json() {
        return out.json(&data);
    }
    let told = &data["simulate"];
    out.line(clean(&format!("valid calls, {} to {}", moment(&json!(from)), moment(&json!(to)))))?;
    out.line("")?;
    let count = |label: &'static str, field: &str| (label, line(&told[field]));
    out.line(fields(&[
        count("calls", "calls"),
        count("would be refused", "refused"),
        count("keys", "keys"),
        count("keys affected", "affectedKeys"),
    ]))?;
    if told["refused"].as_u64().is_some_and(|refused| refused > 0) {
        out.line("")?;
        out.line(affected(told, args.top))?;
    }
    if !told["until"].is_null() {
        out.note(format_args!(
            "there are more calls than one simulation looks at; only those until {} were judged",
            moment(&told["until"])
        ));
    }
    Ok(())
}

/// The keys with the most refused calls, and why these would be refused.
fn affected(told: &Value, top: usize) -> String {
    let most = told["mostAffected"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |one: &Value| {
        vec![
            line(&one["key"]["name"]).into_iter().chain(line(&one["key"]["id"])).collect(),
            line(&one["calls"]),
            line(&one["refused"]),
            list(&one["refusals"], refusal),
            vec![moment(&one["firstRefusedAt"])],
            vec![moment(&one["lastRefusedAt"])],
        ]
    };
    let mut rows: Vec<_> = most.iter().take(top).map(row).collect();
    let others = told["affectedKeys"].as_u64().unwrap_or(0).saturating_sub(rows.len() as u64);
    let shown: u64 = most.iter().take(top).filter_map(|one| one["refused"].as_u64()).sum();
    if others > 0 {
        let refused = told["refused"].as_u64().unwrap_or(0).saturating_sub(shown);
        let cells = [format!("{others} others"), String::new(), refused.to_string()];
        rows.push(cells.into_iter().map(|cell| vec![cell]).chain([vec![], vec![], vec![]]).collect());
    }
    let all = vec![
        vec!["all".to_owned()],
        line(&told["calls"]),
        line(&told["refused"]),
        list(&told["refusals"], refusal),
        vec![],
        vec![],
    ];
    rows.push(all);
    table(&["KEY", "CALLS", "REFUSED", "WHY", "FIRST", "LAST"], rows, &[0])
}

/// Why calls would be refused, and how many: `8 insufficient-scope`, or `3 expired by max-ttl`.
fn refusal(refusal: &Value) -> Option<String> {
    let why = format!("{} {}", text(&refusal["calls"])?, word(&refusal["code"]));
    Some(match text(&refusal["rule"]) {
        Some(rule) => format!("{why} by {}", policy::flag(&rule)),
        None => why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::usage_args::UsageCommand;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn typed(arguments: &[&str]) -> Result<Box<SimulateArgs>, clap::Error> {
        let cli = Cli::try_parse_from([&["keyledger", "usage", "simulate"], arguments].concat())?;
        let Command::Usage(args) = cli.command else { panic!("another command") };
        let UsageCommand::Simulate(args) = args.command else { panic!("another command") };
        Ok(args)
    }

    fn asked(arguments: &[&str]) -> Value {
        change(&typed(arguments).unwrap().change, None)
    }

    #[test]
    fn only_what_was_typed_would_change() {
        assert_eq!(
            asked(&["--rate-limit", "api=600/60s"]),
            json!({ "rateLimits": [{ "name": "api", "limit": 600, "windowSeconds": 60 }] })
        );
        assert_eq!(asked(&["--no-scopes"]), json!({ "scopes": [] }));
        assert_eq!(
            asked(&["--scope", "read:a/*", "--cidr", "203.0.113.0/24"]),
            json!({ "scopes": [{ "action": "READ", "resource": "a/*" }], "allowedCidrs": ["203.0.113.0/24"] })
        );
        assert_eq!(
            asked(&[
                "--api-keys",
                "off",
                "--max-ttl",
                "unset",
                "--max-rate",
                "5/1s",
                "--environments",
                "staging"
            ]),
            json!({ "policy": { "apiKeysEnabled": false, "maxTtl": null,
                "maxRateLimit": { "limit": 5, "windowSeconds": 1 }, "allowedEnvironments": ["STAGING"] } })
        );
    }

    #[test]
    fn a_change_is_needed_and_a_role_needs_scopes() {
        for arguments in [
            &[][..],
            &["--environment", "staging"],
            &["--role", "support"],
            &["--role", "support", "--rate-limit", "api=1/1s"],
            &["--scope", "read:*", "--no-scopes"],
        ] {
            assert!(typed(arguments).is_err(), "{arguments:?}");
        }
        assert!(typed(&["--role", "support", "--no-scopes"]).is_ok());
        assert!(typed(&["--scope", "read:*", "--scope", "write:*", "--max-ttl", "1d"]).is_ok());
    }

    #[test]
    fn keys_are_told_with_the_reasons_and_the_rest_is_summed_up() {
        let key = |id: &str, refused: u64| {
            json!({ "key": { "id": id, "name": "a\u{1b}b" }, "calls": 9, "refused": refused,
                "refusals": [{ "code": "EXPIRED", "rule": "maxTtl", "calls": refused }],
                "firstRefusedAt": "2026-11-21T09:14:14.252913Z", "lastRefusedAt": "2026-11-21T09:14:15Z" })
        };
        let told = json!({
            "calls": 30, "refused": 12, "keys": 4, "affectedKeys": 3,
            "refusals": [
                { "code": "EXPIRED", "rule": "maxTtl", "calls": 11 },
                { "code": "INSUFFICIENT_SCOPE", "rule": null, "calls": 1 },
            ],
            "mostAffected": [key("key_1", 8), key("key_2", 3), key("key_3", 1)],
        });
        let shown = affected(&told, 1);
        for part in
            ["a\u{fffd}b", "key_1", "8 expired by max-ttl", "2026-11-21 09:14:14Z", "2 others", "11 expired"]
        {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
        assert!(shown.contains("1 insufficient-scope") && !shown.contains("key_2"), "{shown}");
        let others: Vec<&str> =
            shown.lines().find(|line| line.starts_with("2 others")).unwrap().split_whitespace().collect();
        assert_eq!(others, ["2", "others", "4"]);
        assert!(!affected(&told, 10).contains("others"));
    }
}
