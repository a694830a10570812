//! JSON Lines: an object a line, in UTF-8. What has no value is left out, as over REST.

use std::io::Write as _;

use serde_json::Value;

use super::event::{Logged, Proof};
use super::{Cell, Column};

/// A line.
pub(super) fn row(columns: &[Column], row: &[Cell], out: &mut Vec<u8>) {
    let start = out.len();
    for (column, value) in columns.iter().zip(row) {
        let value = match value {
            Cell::Nothing => continue,
            Cell::Text(text) => Value::from(text.as_str()),
            Cell::Texts(texts) => Value::from(texts.as_slice()),
            Cell::Count(count) => Value::from(*count),
            Cell::Moment(at) => Value::from(at.to_string()),
            Cell::Flag(flag) => Value::from(*flag),
        };
        out.extend_from_slice(if out.len() == start { b"{\"" } else { b",\"" });
        out.extend_from_slice(column.name.as_bytes());
        out.extend_from_slice(b"\":");
        out.extend_from_slice(value.to_string().as_bytes());
    }
    if out.len() == start {
        out.push(b'{');
    }
    out.extend_from_slice(b"}\n");
}

/// A line of an event: its place, its hashes, and its text as it is.
pub(super) fn event(logged: &Logged, text: &str, raw: Option<&str>, out: &mut Vec<u8>) {
    let proof = Proof::of(&logged.bytes);
    let (hash, leaf) = (&*proof.hash, &*proof.leaf_hash);
    // Writing to memory cannot fail.
    let _ = write!(
        out,
        "{{\"logIndex\":{},\"position\":\"{}\",\"hash\":\"{hash}\",\"leafHash\":\"{leaf}\",\"event\":",
        logged.log_index, logged.position
    );
    out.extend_from_slice(text.as_bytes());
    if let Some(raw) = raw {
        out.extend_from_slice(b",\"raw\":\"");
        out.extend_from_slice(raw.as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b"}\n");
}
