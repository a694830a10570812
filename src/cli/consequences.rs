//! `keyledger key consequences`: what a key did and what came of it.

use clap::Args;
use keyledger_schema::KeyId;
use serde_json::{Value, json};

use super::client::Client;
use super::table::{moment, table, text, word};
use super::{Failure, Output, pages, queries};

/// Arguments of `key consequences`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger key consequences key_01h455vb4pex5vsknk084sn02q
  keyledger key consequences key_01h455vb4pex5vsknk084sn02q --depth 0 --limit 0 --json

Everything that the key did, that the keys did which it issued, directly or through others, and what that
led to, such as the revocations of a bulk revocation; oldest first. Needs a grant that allows reading trails.")]
pub struct ConsequencesArgs {
    /// Id of the key
    #[arg(value_name = "KEY_ID")]
    pub id: KeyId,
    /// How many generations of issued keys are followed
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(0..=16))]
    pub depth: u32,
    /// Show at most so many; 0 is all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

/// Shows them.
pub fn show(args: &ConsequencesArgs, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let variables = json!({ "id": args.id, "depth": args.depth });
    let data = pages::collect(
        |page| client.call(queries::CONSEQUENCES, page),
        variables,
        "/consequences",
        args.limit,
    )?;
    if out.is_json() {
        return out.json(&data);
    }
    let list = &data["consequences"];
    let nodes = list["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let headers = ["TIME", "EVENT", "ABOUT", "ACTOR", "HOW", "OUTCOME"];
    out.line(table(&headers, nodes.iter().map(row).collect(), &[0, 1]))?;
    if list["pageInfo"]["hasNextPage"] == json!(true) {
        out.note(format_args!("{} events shown, there are more; --limit 0 shows all", nodes.len()));
    }
    Ok(())
}

fn row(one: &Value) -> Vec<Vec<String>> {
    let event = &one["event"];
    let actor = &event["actor"];
    let who = text(&actor["email"]).or_else(|| text(&actor["id"])).unwrap_or_else(|| word(&actor["kind"]));
    let depth = text(&one["depth"]).unwrap_or_default();
    let how = match one["via"].as_str() {
        Some("DIRECT") => "itself".to_owned(),
        Some("BY_KEY_IT_ISSUED") => format!("by a key it issued, {depth} removed"),
        _ => "by what an event led to".to_owned(),
    };
    vec![
        vec![moment(&event["at"])],
        text(&event["type"]).into_iter().collect(),
        text(&event["keyId"]).or_else(|| text(&event["stream"])).into_iter().collect(),
        vec![who],
        vec![how],
        vec![word(&event["outcome"])],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_how_an_event_follows() {
        let event = json!({
            "at": "2026-11-21T09:14:14.252913Z", "type": "key.revoked", "outcome": "SUCCESS", "keyId": "key_2",
            "stream": "key-key_2", "actor": { "kind": "KEY", "id": "key_1", "email": "ops@keys.acme" },
        });
        let how =
            |via: &str, depth: u32| row(&json!({ "event": event, "via": via, "depth": depth }))[4].concat();
        assert_eq!(how("DIRECT", 0), "itself");
        assert_eq!(how("BY_KEY_IT_ISSUED", 2), "by a key it issued, 2 removed");
        assert_eq!(how("CAUSED_BY", 1), "by what an event led to");
    }
}
