//! CloudEvents 1.0 in their JSON format (CloudEvents JSON Event Format 1.0.2 §3), one event a line, none of them in a
//! batch. The data is the whole event; what of it is asked for most stands in extension attributes too, whose names
//! are lower-case letters and digits (CloudEvents 1.0.2 §3, attribute naming convention). Numbers stand as texts
//! there: the specification's Integer has 32 bits.

use serde::Serialize;
use serde_json::value::RawValue;

use super::Failed;
use super::event::{Logged, Proof, View};

/// The reverse name of what defines the types.
const TYPE_PREFIX: &str = "dev.keyledger.";

#[derive(Serialize)]
struct Line<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    subject: &'a str,
    time: keyledger_schema::Timestamp,
    datacontenttype: &'static str,
    logindex: &'a str,
    position: &'a str,
    hash: &'a str,
    leafhash: &'a str,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a str>,
    data: &'a RawValue,
}

/// A line.
pub(super) fn line(logged: &Logged, text: &str, raw: Option<&str>, out: &mut Vec<u8>) -> Result<(), Failed> {
    let view = View::of(text)?;
    let details = view.details();
    let proof = Proof::of(&logged.bytes);
    // With the id it names one event among all (§3.1.1, source): whose event it is.
    let source = match &view.org {
        Some(organization) => format!("/organizations/{}", &**organization),
        None => format!("/streams/{}", &*view.stream),
    };
    let data: &RawValue = serde_json::from_str(text).map_err(|error| Failed(error.to_string()))?;
    let line = Line {
        specversion: "1.0",
        id: &view.id,
        source: &source,
        event_type: &[TYPE_PREFIX, &view.event_type].concat(),
        subject: view.key(&details).or_else(|| view.identity()).unwrap_or(&view.stream),
        time: view.at,
        datacontenttype: "application/json",
        logindex: &logged.log_index.to_string(),
        position: &logged.position.to_string(),
        hash: &proof.hash,
        leafhash: &proof.leaf_hash,
        outcome: &view.outcome,
        raw,
        data,
    };
    serde_json::to_writer(&mut *out, &line).map_err(|error| Failed(error.to_string()))?;
    out.push(b'\n');
    Ok(())
}
