//! The Common Event Format (ArcSight CEF, version 0), an event a line, without a syslog header before it.
//!
//! In the header `|` and `\` have a backslash before them; in the extension `=` and `\` do, and line ends are written
//! `\n` and `\r`. What the dictionary has no key for stands under custom keys, whose names begin with vendor and
//! product.

use std::io::Write as _;
use std::net::IpAddr;

use super::Failed;
use super::event::{Logged, Proof, View};
use super::meaning::meaning;

/// A field of the header, which has no line ends.
fn header(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'|' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' | b'\r' => out.push(b' '),
            byte => out.push(byte),
        }
    }
    out.push(b'|');
}

/// A value of the extension.
pub(super) fn value(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'=' | b'\\' | b'\n' | b'\r')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            byte => out.extend_from_slice(&[b'\\', byte]),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// The extension, pair by pair, and whether there is a pair yet.
struct Extension<'a>(&'a mut Vec<u8>, bool);

impl Extension<'_> {
    fn pair(&mut self, key: &str, text: &str) {
        self.key(key);
        value(text, self.0);
    }

    fn optional(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.pair(key, text);
        }
    }

    fn number(&mut self, key: &str, number: impl std::fmt::Display) {
        self.key(key);
        // Writing to memory cannot fail.
        let _ = write!(self.0, "{number}");
    }

    /// A custom field of the dictionary, which says what it holds.
    fn labelled(&mut self, key: &str, label: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.key(key);
            self.0.pop();
            self.0.extend_from_slice(b"Label=");
            value(label, self.0);
            self.pair(key, text);
        }
    }

    fn key(&mut self, key: &str) {
        if std::mem::replace(&mut self.1, true) {
            self.0.push(b' ');
        }
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(b'=');
    }
}

/// A line.
pub(super) fn line(logged: &Logged, text: &str, raw: Option<&str>, out: &mut Vec<u8>) -> Result<(), Failed> {
    let view = View::of(text)?;
    let details = view.details();
    let proof = Proof::of(&logged.bytes);
    let meaning = meaning(&view.event_type);
    out.extend_from_slice(b"CEF:0|Keyledger|Keyledger|");
    header(env!("CARGO_PKG_VERSION"), out);
    header(&view.event_type, out);
    header(meaning.name, out);
    // Writing to memory cannot fail.
    let _ = write!(out, "{}|", meaning.severity.cef());
    let mut extension = Extension(out, false);
    extension.number("rt", view.at.micros() / 1_000);
    extension.pair("externalId", &view.id);
    extension.pair("cat", view.stream.split_once('-').map_or("", |(category, _)| category));
    extension.pair("act", details.command.as_deref().unwrap_or(&view.event_type));
    extension.pair("outcome", &view.outcome);
    extension.optional("reason", details.code.as_deref().or(details.reason.as_deref()));
    extension.optional("suid", view.actor.id.as_deref());
    extension.optional("suser", view.actor.email.as_deref());
    extension.optional("spriv", view.actor.role.as_deref());
    match view.address().map(|ip| (ip, ip.parse())) {
        Some((ip, Ok(IpAddr::V4(_)))) => extension.pair("src", ip),
        Some((ip, _)) => extension.labelled("c6a2", "Source IPv6 Address", Some(ip)),
        None => {}
    }
    extension.optional("requestClientApplication", view.source.user_agent.as_deref());
    extension.optional("duid", view.key(&details).or_else(|| view.identity()));
    extension.optional("msg", details.comment.as_deref());
    extension.labelled("cn1", "logIndex", Some(&logged.log_index.to_string()));
    extension.labelled("cn2", "revision", Some(&view.revision.to_string()));
    extension.labelled("cs1", "organizationId", view.org.as_deref());
    extension.labelled("cs2", "workspaceId", view.workspace.as_deref());
    extension.labelled("cs3", "stream", Some(&view.stream));
    extension.labelled("cs4", "request", view.request.as_deref());
    extension.labelled("cs5", "cause", view.cause.as_deref());
    extension.labelled("cs6", "hash", Some(&proof.hash));
    extension.pair("KeyledgerKeyledgerLeafHash", &proof.leaf_hash);
    extension.optional("KeyledgerKeyledgerPreviousHash", view.prev.as_deref());
    extension.number("KeyledgerKeyledgerPosition", logged.position);
    extension.number("KeyledgerKeyledgerVersion", view.v);
    extension.pair("KeyledgerKeyledgerActorKind", &view.actor.kind);
    extension.optional("KeyledgerKeyledgerTarget", details.target.as_deref());
    extension.pair("KeyledgerKeyledgerData", view.data.get());
    extension.optional("KeyledgerKeyledgerRaw", raw);
    out.push(b'\n');
    Ok(())
}
