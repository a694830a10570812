//! Comma-separated values (RFC 4180), in UTF-8 without a byte order mark.
//!
//! A text that a spreadsheet program would take for a formula has an apostrophe before it: whoever chose a
//! tag or a resource must not run anything on the machine of whoever opens the file. Several texts stand in one cell
//! with spaces between.

use super::{Column, Value};

/// What a formula begins with, and what some programs drop before they look for one.
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])
}

fn cell(text: &str, out: &mut Vec<u8>) {
    let quoted = text.contains(['"', ',', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ');
    if quoted {
        out.push(b'"');
    }
    if is_formula(text) {
        out.push(b'\'');
    }
    if quoted {
        for byte in text.bytes() {
            if byte == b'"' {
                out.push(b'"');
            }
            out.push(byte);
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

/// The first line.
pub(super) fn names(columns: &[Column], out: &mut Vec<u8>) {
    for (at, column) in columns.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        cell(column.name, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// A line.
pub(super) fn row<'a>(row: impl Iterator<Item = Value<'a>>, out: &mut Vec<u8>) {
    for (at, value) in row.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match value {
            Value::Nothing => {}
            Value::Text(text) => cell(text, out),
            Value::Texts(texts) => cell(&texts.join(" "), out),
            Value::Count(count) => out.extend_from_slice(count.to_string().as_bytes()),
            Value::Moment(at) => out.extend_from_slice(at.to_string().as_bytes()),
            Value::Flag(flag) => out.extend_from_slice(if flag { b"true" } else { b"false" }),
        }
    }
    out.extend_from_slice(b"\r\n");
}
