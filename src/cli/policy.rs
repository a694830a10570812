//! `keyledger organization policy …`: what an organization demands of its keys.

use keyledger_schema::OrganizationId;
use serde_json::{Value, json};

use super::client::Client;
use super::organization_args::PolicyArgs;
use super::output::clean;
use super::table::{length, line, list, moment, named, rate, table, text, word};
use super::{Failure, Output, confirm, queries, told, value};

/// The rules: the API's field, and the flag that sets it.
const RULES: [(&str, &str); 9] = [
    ("apiKeysEnabled", "api-keys"),
    ("expiryRequired", "expiry-required"),
    ("defaultTtl", "default-ttl"),
    ("maxTtl", "max-ttl"),
    ("requireAllowedCidrs", "require-cidrs"),
    ("maxRateLimit", "max-rate"),
    ("secretAcknowledgementRequired", "acknowledge-within"),
    ("allowedEnvironments", "environments"),
    ("tokenLifetime", "token-lifetime"),
];
/// How many keys that break the rules are shown.
const SHOWN: usize = 20;

/// Shows the rules.
pub fn show(id: Option<OrganizationId>, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let data = client.call(&queries::organization(), &json!({ "id": id }))?;
    if out.is_json() {
        return out.json(&data);
    }
    out.line(clean(&named(&data["organization"]).concat()))?;
    out.line("")?;
    out.line(rules(&data["organization"]))
}

/// The own rules of an organization and those that hold in it.
pub fn rules(organization: &Value) -> String {
    let row = |(field, flag): &(&str, &str)| {
        let shown = |policy: &Value| vec![shown(field, &policy[*field])];
        vec![
            vec![(*flag).to_owned()],
            shown(&organization["policy"]),
            shown(&organization["effectivePolicy"]),
        ]
    };
    table(&["RULE", "OWN", "EFFECTIVE"], RULES.iter().map(row).collect(), &[0])
}

/// `on` or `off`.
pub fn switch(value: &Value) -> String {
    shown("apiKeysEnabled", value)
}

/// The value of a rule as it is typed; a dash where it is not set.
fn shown(field: &str, value: &Value) -> String {
    match (field, value) {
        (_, Value::Null) => "-".into(),
        ("apiKeysEnabled", Value::Bool(on)) => if *on { "on" } else { "off" }.into(),
        (_, Value::Bool(demanded)) => if *demanded { "yes" } else { "no" }.into(),
        ("defaultTtl" | "maxTtl" | "tokenLifetime", Value::Number(seconds)) => {
            seconds.as_u64().map_or("?".into(), length)
        }
        ("secretAcknowledgementRequired", Value::Number(minutes)) => {
            minutes.as_u64().map_or("?".into(), |minutes| length(minutes.saturating_mul(60)))
        }
        (_, Value::Object(_)) => rate(value),
        (_, Value::Array(items)) if items.is_empty() => "none".into(),
        (_, Value::Array(_)) => list(value, |one| Some(word(one))).join(","),
        (_, other) => word(other),
    }
}

/// Sets rules.
pub fn set(args: &PolicyArgs, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    if args.api_keys == Some(json!(false)) && !args.dry_run {
        const WHAT: &str =
            "Switching keys off refuses new keys and fails every verification of existing ones";
        confirm::require(args.yes, WHAT)?;
        if !args.yes {
            let found = client.call(queries::ORGANIZATION_TO_CONFIRM, &json!({ "id": args.id }))?;
            let organization = named(&found["organization"]).concat();
            confirm::ask(&clean(&format!("{WHAT}, in {organization} and below it. Go on?")))?;
        }
    }
    let input = input(args);
    if args.dry_run {
        return dry_run(&input, client, out);
    }
    told::change_and(client, out, queries::SET_POLICY, &input, "set the policy of", |payload, out| {
        out.line("")?;
        out.line(rules(&payload["organization"]))?;
        show_violations(&payload["violations"], out)
    })
}

/// Only tells which keys would break the rules. The organization of the answer has its present rules, which
/// are not what was asked about.
fn dry_run(input: &Value, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let data = client.call(&queries::SET_POLICY.document(), &json!({ "input": input }))?;
    if out.is_json() {
        return out.json(&data);
    }
    let payload = &data["setOrganizationPolicy"];
    let organization = named(&payload["organization"]).concat();
    out.line(clean(&format!("nothing was changed in {organization}: this was a dry run")))?;
    show_violations(&payload["violations"], out)?;
    told::warn(payload, out);
    Ok(())
}

fn input(args: &PolicyArgs) -> Value {
    let mut input = json!({});
    value::set(&mut input, "id", args.id);
    let typed = [
        &args.api_keys,
        &args.expiry_required,
        &args.default_ttl,
        &args.max_ttl,
        &args.require_cidrs,
        &args.max_rate,
        &args.acknowledge_within,
        &args.environments,
        &args.token_lifetime,
    ];
    for ((field, _), rule) in RULES.iter().zip(typed) {
        value::set(&mut input, field, rule.as_ref());
    }
    value::set(&mut input, "dryRun", args.dry_run.then_some(true));
    value::set(&mut input, "expectedRevision", args.if_revision);
    input
}

fn show_violations(violations: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    let keys = violations["keys"].as_array().map_or(&[][..], Vec::as_slice);
    let count = violations["count"].as_u64().unwrap_or(keys.len() as u64);
    if count == 0 {
        return out.line("\nno key breaks the rules");
    }
    let verb = if count == 1 { "key breaks" } else { "keys break" };
    out.line(format_args!("\n{count} {verb} the rules:\n"))?;
    let keys = &keys[..keys.len().min(SHOWN)];
    let row = |broken: &Value| {
        let key = &broken["key"];
        vec![
            line(&key["id"]),
            line(&key["name"]),
            vec![word(&key["environment"])],
            vec![moment(&key["expiresAt"])],
            list(&broken["violations"], violation),
        ]
    };
    let headers = ["ID", "NAME", "ENVIRONMENT", "EXPIRES", "BREAKS"];
    out.line(table(&headers, keys.iter().map(row).collect(), &[0]))?;
    if count > keys.len() as u64 {
        out.note(format_args!("{} of {count} shown", keys.len()));
    }
    Ok(())
}

/// The flag that sets a rule; the rule itself where a newer server names one that is not known here.
pub fn flag(rule: &str) -> &str {
    RULES.iter().find(|(field, _)| *field == rule).map_or(rule, |(_, flag)| flag)
}

/// A broken rule: `max-ttl 30d: never`.
fn violation(violation: &Value) -> Option<String> {
    let rule = text(&violation["rule"])?;
    let bound = shown(&rule, &violation["bound"]);
    Some(format!("{} {bound}: {}", flag(&rule), shown(&rule, &violation["value"])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::organization_args::{OrganizationCommand, PolicyCommand};
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn typed(arguments: &[&str]) -> Value {
        let arguments = ["keyledger", "organization", "policy", "set"].iter().chain(arguments);
        match Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).command {
            Command::Organization(args) => match args.command {
                OrganizationCommand::Policy(PolicyCommand::Set(args)) => input(&args),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_rules_that_were_typed_are_sent() {
        assert_eq!(typed(&["--max-ttl", "90d"]), json!({ "maxTtl": 7_776_000 }));
        let all = typed(&[
            "org_01h455vb4pex5vsknk084sn02q",
            "--api-keys=off",
            "--expiry-required=yes",
            "--default-ttl=30d",
            "--max-ttl=unset",
            "--require-cidrs=no",
            "--max-rate=1000/60s",
            "--acknowledge-within=30m",
            "--environments=production,staging",
            "--token-lifetime=5m",
            "--dry-run",
            "--if-revision=7",
        ]);
        let expected = json!({
            "id": "org_01h455vb4pex5vsknk084sn02q", "apiKeysEnabled": false, "expiryRequired": true,
            "defaultTtl": 2_592_000, "maxTtl": null, "requireAllowedCidrs": false,
            "maxRateLimit": { "limit": 1000, "windowSeconds": 60 }, "secretAcknowledgementRequired": 30,
            "allowedEnvironments": ["PRODUCTION", "STAGING"], "tokenLifetime": 300, "dryRun": true, "expectedRevision": 7,
        });
        assert_eq!(all, expected);
    }

    #[test]
    fn rules_are_shown_as_they_are_typed() {
        let organization = json!({
            "policy": { "apiKeysEnabled": false, "maxTtl": 7_776_000, "secretAcknowledgementRequired": 30 },
            "effectivePolicy": {
                "apiKeysEnabled": false, "expiryRequired": true, "maxTtl": 3_600,
                "maxRateLimit": { "limit": 1000, "windowSeconds": 60 },
                "allowedEnvironments": ["PRODUCTION", "STAGING"], "tokenLifetime": 300,
            },
        });
        let expected = "\
RULE                OWN  EFFECTIVE
api-keys            off  off
expiry-required     -    yes
default-ttl         -    -
max-ttl             90d  1h
require-cidrs       -    -
max-rate            -    1000/1m
acknowledge-within  30m  -
environments        -    production,staging
token-lifetime      -    5m";
        assert_eq!(rules(&organization), expected);
    }

    #[test]
    fn broken_rules_are_told_with_their_bounds() {
        let told = |rule: &str, bound: Value, value: Value| {
            violation(&json!({ "rule": rule, "bound": bound, "value": value })).unwrap()
        };
        assert_eq!(told("maxTtl", json!(86_400), json!("never")), "max-ttl 1d: never");
        let rate = json!({ "limit": 10, "windowSeconds": 1 });
        assert_eq!(told("maxRateLimit", rate, json!("unlimited")), "max-rate 10/1s: unlimited");
        assert_eq!(told("requireAllowedCidrs", json!(true), json!([])), "require-cidrs yes: none");
        assert_eq!(told("newRule", json!("x"), json!(1)), "newRule x: 1");
    }
}
