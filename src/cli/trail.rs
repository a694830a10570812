//! `keyledger key trail`: what was done to a key.

use serde_json::{Value, json};

use super::client::Client;
use super::key_args::TrailArgs;
use super::output::clean;
use super::table::{length, list, moment, table, text, word};
use super::{Failure, Output, pages, queries};

/// Shows a trail.
pub fn show(args: &TrailArgs, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let direction = if args.newest_first { "DESC" } else { "ASC" };
    let variables = json!({ "id": args.id, "direction": direction });
    let data =
        pages::collect(|page| client.call(queries::TRAIL, page), variables, "/key/events", args.limit)?;
    if out.is_json() {
        return out.json(&data);
    }
    let key = &data["key"];
    let title = format!("{} \"{}\"", args.id, text(&key["name"]).unwrap_or_default());
    out.line(clean(&title))?;
    out.line("")?;
    let events = key["events"]["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let headers = ["TIME", "EVENT", "ACTOR", "SOURCE", "OUTCOME", "DETAILS"];
    out.line(table(&headers, events.iter().map(row).collect(), &[0, 1]))?;
    if key["events"]["pageInfo"]["hasNextPage"] == json!(true) {
        out.note(format_args!("{} events shown, there are more; --limit 0 shows all", events.len()));
    }
    Ok(())
}

fn row(event: &Value) -> Vec<Vec<String>> {
    let actor = &event["actor"];
    let who = text(&actor["email"]).or_else(|| text(&actor["id"])).unwrap_or_else(|| word(&actor["kind"]));
    let role = actor["role"].as_str().map(|_| word(&actor["role"]));
    let source = &event["source"];
    let from: Vec<_> = [text(&source["ip"]), text(&source["userAgent"])].into_iter().flatten().collect();
    vec![
        vec![moment(&event["at"])],
        text(&event["type"]).into_iter().collect(),
        std::iter::once(who).chain(role).collect(),
        if from.is_empty() { vec!["-".into()] } else { from },
        vec![word(&event["outcome"])],
        details(event),
    ]
}

/// What changed, what was refused, and the words that the actor gave.
fn details(event: &Value) -> Vec<String> {
    let side = |value: &Value| text(value).unwrap_or_else(|| "none".into());
    let data = &event["data"];
    let of_credits = event["type"].as_str().is_some_and(|name| name.ends_with(".credits_changed"));
    let mut lines = list(&event["changes"], |change| {
        let field = text(&change["field"]).filter(|field| !(of_credits && field == "credits"))?;
        Some(format!("{field}: {} → {}", side(&change["before"]), side(&change["after"])))
    });
    if of_credits {
        lines.push(balance(event));
        lines.extend(text(&data["adjusted_by"]).map(|by| format!("adjusted by: {by}")));
        let refill = &data["refill"];
        lines.extend(text(&refill["amount"]).map(|amount| {
            let interval = refill["interval_seconds"].as_u64().map_or_else(|| "?".into(), length);
            format!("refill: to {amount} every {interval}")
        }));
        lines.extend(text(&data["reason"]).map(|reason| format!("reason: {reason}")));
    }
    if event["type"] == "key.address_first_used" {
        lines.push(format!("{} at {}", side(&data["address"]), moment(&data["used_at"])));
        if data["last"] == json!(true) {
            lines.push("there are too many: no further addresses are told".into());
        }
    }
    if event["type"] == "audit.read" {
        let shown = text(&data["shown"]).map(|shown| format!(", {shown} shown")).unwrap_or_default();
        let filter = text(&data["filter"]).filter(|filter| !filter.is_empty());
        let filter = filter.map(|filter| format!(", {filter}")).unwrap_or_default();
        lines.push(format!("{}{shown}{filter}", side(&data["what"])));
    }
    if event["type"] == "command.refused" {
        lines.push(format!("{}: {}", side(&data["command"]), side(&data["code"])));
        let repeated = &data["repeated"];
        lines.extend(repeated["count"].as_u64().map(|count| {
            let [first, last] = ["first_at", "last_at"].map(|name| moment(&repeated[name]));
            format!("{count} times again, from {first} to {last}")
        }));
    }
    if let Some(comment) = data["comment"].as_str() {
        lines.push(format!("comment: {comment}"));
    }
    lines
}

/// What was left before and after a change of credits: `left: 5 → 10`.
fn balance(event: &Value) -> String {
    let (data, change) = (&event["data"], &event["changes"][0]);
    let after = text(&data["remaining"]).unwrap_or_else(|| "unlimited".into());
    let before = match &change["before"] {
        Value::Null => (!change.is_null()).then(|| "unlimited".into()),
        before => text(&before["remaining"]),
    };
    // The stream of the key does not tell what a refill brought; how it was adjusted does.
    let adjusted = || Some((data["remaining"].as_i64()? - data["adjusted_by"].as_i64()?).to_string());
    match before.or_else(adjusted) {
        Some(before) => format!("left: {before} → {after}"),
        None => format!("left: {after}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_time_event_actor_source_outcome_and_details() {
        let event = json!({
            "at": "2026-11-21T09:14:14.252913Z", "type": "key.updated", "outcome": "SUCCESS",
            "actor": { "kind": "KEY", "id": "key_1", "email": "ops@keys.acme", "role": "WORKSPACE_OWNER" },
            "source": { "ip": "203.0.113.7", "userAgent": "curl/8" },
            "changes": [
                { "field": "name", "before": "a", "after": "b" },
                { "field": "scopes", "before": null, "after": ["read:x"] },
            ],
        });
        let expected: Vec<Vec<&str>> = vec![
            vec!["2026-11-21 09:14:14Z"],
            vec!["key.updated"],
            vec!["ops@keys.acme", "workspace-owner"],
            vec!["203.0.113.7", "curl/8"],
            vec!["success"],
            vec!["name: a → b", "scopes: none → [\"read:x\"]"],
        ];
        assert_eq!(row(&event), expected);
    }

    #[test]
    fn refusals_and_comments_are_told() {
        let refused = json!({ "type": "command.refused", "changes": [],
            "data": { "command": "cloneKey", "code": "INVALID_INPUT" } });
        assert_eq!(details(&refused), ["cloneKey: INVALID_INPUT"]);
        let disabled = json!({ "type": "key.disabled", "data": { "comment": "holiday" },
            "changes": [{ "field": "status", "before": "ACTIVE", "after": "INACTIVE" }] });
        assert_eq!(details(&disabled), ["status: ACTIVE → INACTIVE", "comment: holiday"]);
    }

    #[test]
    fn new_addresses_and_changes_of_credits_are_told() {
        let address = json!({ "type": "key.address_first_used", "changes": [],
            "data": { "address": "203.0.113.7", "used_at": "2026-11-21T09:14:03.252913Z" } });
        assert_eq!(details(&address), ["203.0.113.7 at 2026-11-21 09:14:03Z"]);
        let credits = |before: Value, data: Value| {
            let after = json!({ "remaining": data["remaining"] });
            let changes = json!([{ "field": "credits", "before": before, "after": after }]);
            details(&json!({ "type": "identity.credits_changed", "changes": changes, "data": data }))
        };
        let refill = json!({ "amount": 50, "interval_seconds": 86_400 });
        let data = json!({ "remaining": 10, "adjusted_by": 3, "refill": refill, "reason": "sold" });
        let rest = ["adjusted by: 3", "refill: to 50 every 1d", "reason: sold"];
        let told = credits(json!({ "remaining": 7 }), data.clone());
        assert_eq!((told[0].as_str(), &told[1..]), ("left: 7 → 10", &rest.map(String::from)[..]));
        assert_eq!(credits(json!({ "remaining": null }), data)[0], "left: 7 → 10");
        assert_eq!(credits(json!({ "remaining": null }), json!({ "remaining": 10 })), ["left: 10"]);
        assert_eq!(credits(Value::Null, json!({ "remaining": 10 })), ["left: unlimited → 10"]);
        assert_eq!(credits(json!({ "remaining": 4 }), json!({})), ["left: 4 → unlimited"]);
        let unchanged = json!({ "type": "key.credits_changed", "changes": [], "data": { "remaining": 10 } });
        assert_eq!(details(&unchanged), ["left: 10"]);
    }

    #[test]
    fn an_event_of_the_system_has_a_row_too() {
        let event =
            json!({ "at": "2026-11-21T09:14:14Z", "type": "key.expired", "actor": { "kind": "SYSTEM" } });
        let row = row(&event);
        assert_eq!((row[2].clone(), row[3].clone()), (vec!["system".to_owned()], vec!["-".to_owned()]));
    }
}
