//! `keyledger key revoke-many`: shows which keys match, asks, revokes them.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use super::key::reason;
use super::key_args::RevokeManyArgs;
use super::output::clean;
use super::table::{line, named, table, text, word};
use super::value::set;
use super::{Exit, Failure, Output, confirm, key_list, progress, queries, told};
use crate::edge::Edge;

/// How many keys are shown before they are revoked.
const SHOWN: usize = 20;
/// Each key is an event that has to be durable.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(10);

/// Does it.
pub fn run(args: &RevokeManyArgs, client: &Client, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    let mut filter = key_list::filter_input(&args.filter, client, edge)?;
    if !args.ids.is_empty() {
        filter["ids"] = json!(args.ids);
    }
    checked(&filter, args.all)?;
    if !args.dry_run {
        confirm::require(args.yes, "Revoking cannot be undone")?;
    }
    // The moments of the conditions are the same for both calls.
    let mut input = json!({ "filter": filter, "reason": reason(args.reason), "dryRun": true });
    set(&mut input, "comment", args.comment.as_ref());
    let preview = send(client, &input, out)?;
    // Nobody shall decide on a part of an answer.
    client.finish()?;
    let payload = &preview["revokeKeys"];
    let matched = payload["matched"].as_u64().unwrap_or_default();
    if args.dry_run {
        return show_preview(&preview, matched, out);
    }
    if matched == 0 {
        out.note("no keys match");
        return if out.is_json() { out.json(&preview) } else { Ok(()) };
    }
    out.note(shown(payload, matched));
    if !args.yes {
        confirm::ask(&format!("Revoking cannot be undone: {}. Go on?", count(matched)))?;
    }
    input["dryRun"] = json!(false);
    let waiting = progress::waiting(format!("revoking {}", count(matched)), out.is_json());
    let done = send(client, &input, out);
    waiting.finish_and_clear();
    show_result(&done?, out)
}

fn count(keys: u64) -> String {
    if keys == 1 { "1 key".into() } else { format!("{keys} keys") }
}

/// A condition, or the word that every key is meant; not both.
fn checked(filter: &Value, all: bool) -> Result<(), Failure> {
    let conditions = filter.as_object().into_iter().flatten().filter(|(name, _)| *name != "organizationId");
    match (all, conditions.count()) {
        (false, 0) => Err(Failure::usage(
            "no condition says which keys are meant: name some, such as --created-by KEY_ID or --unused-since \
             90d, or --all for every key of the organization",
        )),
        (true, 1..) => Err(Failure::usage(
            "--all means every key, and the conditions only some of them: leave one of the two out",
        )),
        _ => Ok(()),
    }
}

fn send(client: &Client, input: &Value, out: &Output<'_>) -> Result<Value, Failure> {
    let variables = json!({ "input": input }).to_string();
    let data =
        client.call_with(queries::REVOKE_MANY, &variables, ANSWER_TIMEOUT).map_err(|mut failure| {
            if failure.exit == Exit::OutcomeUnknown {
                failure.message.push_str("; the same command with --dry-run shows which keys are left");
            }
            failure
        })?;
    if !out.is_json() {
        told::warn(&data["revokeKeys"], out);
    }
    Ok(data)
}

/// Some of the keys, and how many there are.
fn shown(payload: &Value, matched: u64) -> String {
    let keys = payload["keys"].as_array().map_or(&[][..], Vec::as_slice);
    let keys = &keys[..keys.len().min(SHOWN)];
    let row = |key: &Value| {
        vec![
            line(&key["id"]),
            line(&key["name"]),
            vec![word(&key["environment"])],
            vec![word(&key["status"])],
        ]
    };
    let mut text = table(&["ID", "NAME", "ENVIRONMENT", "STATUS"], keys.iter().map(row).collect(), &[0]);
    let more = matched.saturating_sub(keys.len() as u64);
    if more > 0 {
        // Writing to a string cannot fail.
        let _ = write!(text, "\nand {more} more");
    }
    text
}

fn show_preview(preview: &Value, matched: u64, out: &mut Output<'_>) -> Result<(), Failure> {
    if out.is_json() {
        return out.json(preview);
    }
    let payload = &preview["revokeKeys"];
    if matched == 0 {
        out.note("no keys match");
        return Ok(());
    }
    out.line(shown(payload, matched))?;
    out.line(format_args!("\n{} would be revoked; nothing was changed: this was a dry run", count(matched)))?;
    show_skipped(payload, out);
    Ok(())
}

fn show_skipped(payload: &Value, out: &Output<'_>) {
    for skipped in payload["skippedKeys"].as_array().into_iter().flatten() {
        let key = named(&skipped["key"]).pop().unwrap_or_else(|| "a key that you may not read".into());
        let message = text(&skipped["message"]).unwrap_or_default();
        let code = text(&skipped["code"]).unwrap_or_default();
        out.note(clean(&format!("skipped {key}: {message} ({code})")));
    }
}

fn show_result(done: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    let payload = &done["revokeKeys"];
    let revoked = payload["revoked"].as_u64().unwrap_or_default();
    let skipped = payload["skipped"].as_u64().unwrap_or_default();
    if out.is_json() {
        out.json(done)?;
    } else {
        show_skipped(payload, out);
        out.line(format_args!("revoked {}, skipped {skipped}", count(revoked)))?;
    }
    if skipped == 0 {
        return Ok(());
    }
    Err(Failure::incomplete(format!(
        "{} could not be revoked; the message with each says why",
        count(skipped)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_condition_is_needed_and_all_stands_alone() {
        let organization = json!({ "organizationId": "org_1" });
        let some = json!({ "search": "a" });
        assert_eq!(checked(&json!({}), false).unwrap_err().code, "USAGE");
        assert!(checked(&organization, false).unwrap_err().message.contains("--all"));
        assert!(checked(&some, true).is_err());
        assert!(checked(&some, false).is_ok() && checked(&organization, true).is_ok());
    }

    #[test]
    fn twenty_keys_are_shown_and_the_rest_counted() {
        let key = json!({ "id": "key_1", "name": "a\u{1b}", "environment": "STAGING", "status": "ACTIVE" });
        let text = shown(&json!({ "keys": vec![key; 25] }), 1_025);
        assert_eq!(text.lines().count(), 22);
        assert!(text.contains("a\u{fffd}") && text.ends_with("\nand 1005 more"), "{text}");
    }

    #[test]
    fn what_was_skipped_makes_the_command_fail() {
        let mut bytes = Vec::new();
        let mut out = Output::new(&mut bytes, false);
        let done = |skipped: u64| json!({ "revokeKeys": { "revoked": 3, "skipped": skipped } });
        assert!(show_result(&done(0), &mut out).is_ok());
        assert_eq!(show_result(&done(1), &mut out).unwrap_err().code, "INCOMPLETE");
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "revoked 3 keys, skipped 0\nrevoked 3 keys, skipped 1\n"
        );
    }
}
