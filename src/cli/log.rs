//! `keyledger audit checkpoint`, `proof` and `log-keys`.

use keyledger_projections::LogState;
use serde_json::{Value, json};

use super::client::Client;
use super::log_args::ProofArgs;
use super::output::clean;
use super::table::{line, moment, table};
use super::{Failure, Output, queries};

/// Prints the newest checkpoint as it was signed, so that it can be kept in a file.
pub fn checkpoint(client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let data = client.call(queries::CHECKPOINT, &json!({}))?;
    if out.is_json() {
        return out.json(&data);
    }
    whole(&data["checkpoint"]["note"], out)
}

/// Prints a proof as a file.
pub fn proof(args: &ProofArgs, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let data = client.call(queries::PROOF, &json!({ "id": args.event }))?;
    if out.is_json() {
        return out.json(&data);
    }
    whole(&data["inclusionProof"]["tlogProof"], out)
}

/// Prints the lines of a signed text. What a terminal would take as a command is no part of one.
fn whole(text: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    let text = text.as_str().ok_or_else(|| {
        Failure::new(super::Exit::Failed, "UNEXPECTED_ANSWER", "the server's answer holds no signed text")
    })?;
    for line in text.lines() {
        writeln!(out.raw(), "{}", clean(line))?;
    }
    Ok(())
}

/// Lists the keys.
pub fn keys(client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let data = client.call(queries::LOG_KEYS, &json!({}))?;
    show(&data, out)
}

/// Lists the keys as a data directory has them.
pub fn told(state: &LogState, out: &mut Output<'_>) -> Result<(), Failure> {
    let keys = state.keys.iter().map(|key| {
        json!({
            "generation": key.generation,
            "verifierKey": key.verifier_key,
            "addedAt": key.added_at,
            "retiredAt": key.retired_at,
        })
    });
    show(&json!({ "logKeys": keys.collect::<Vec<_>>() }), out)
}

fn show(data: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    if out.is_json() {
        return out.json(data);
    }
    let keys = data["logKeys"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |key: &Value| {
        let retired = &key["retiredAt"];
        vec![
            line(&key["generation"]),
            vec![if retired.is_null() { "signs".to_owned() } else { format!("retired {}", moment(retired)) }],
            vec![moment(&key["addedAt"])],
            line(&key["verifierKey"]),
        ]
    };
    let headers = ["GENERATION", "STATUS", "ADDED", "VERIFIER KEY"];
    out.line(table(&headers, keys.iter().map(row).collect(), &[0, 3]))
}
