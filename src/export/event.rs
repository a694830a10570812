//! An event on its way into a file: what is read of its text, and what is computed over its stored bytes.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use keyledger_schema::event::Repeated;
use keyledger_schema::personal::UNREADABLE;
use keyledger_schema::{ChainHash, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::Failed;

/// An event as it stands in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logged {
    /// The number of events before it: its cursor.
    pub log_index: u64,
    /// Its place in the store, which is told as opaque text.
    pub position: u64,
    /// The stored bytes: what is hashed.
    pub bytes: Arc<[u8]>,
}

/// Gives the text of stored bytes as people may read it: the same JSON object, with personal data readable.
pub type Open = dyn Fn(&[u8]) -> Result<Cow<'_, str>, Failed> + Send + Sync;

/// The digits of a hash.
pub(super) struct Hex([u8; 64]);

impl Hex {
    fn new(bytes: [u8; 32]) -> Self {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
            pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
        }
        Self(digits)
    }
}

impl Deref for Hex {
    type Target = str;
    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What an event's place and stored bytes make of it, whatever its text says.
pub(super) struct Proof {
    /// BLAKE3 with the context of streams' chains: what the next event of the stream names.
    pub(super) hash: Hex,
    /// The leaf of the log's Merkle tree: SHA-256 over a zero byte and the stored bytes (RFC 6962 §2.1).
    pub(super) leaf_hash: Hex,
}

impl Proof {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let leaf = Sha256::new().chain_update([0]).chain_update(bytes).finalize();
        Self { hash: Hex::new(ChainHash::of(bytes).0), leaf_hash: Hex::new(leaf.into()) }
    }
}

/// The text of an event in one line. Stored events have no line ends; should one have some all the same, its text
/// is written anew.
pub(super) fn one_line<'a>(bytes: &'a [u8], open: &'a Open) -> Result<Cow<'a, str>, Failed> {
    let text = open(bytes)?;
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_none() {
        return Ok(text);
    }
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
    Ok(value.to_string().into())
}

fn unreadable(error: &serde_json::Error) -> Failed {
    Failed(format!("an event cannot be read: {error}"))
}

/// A text of an event, borrowed where nothing in it is escaped.
#[derive(Deserialize, Clone, Debug)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

#[derive(Deserialize, Debug)]
pub(super) struct ActorView<'a> {
    #[serde(borrow)]
    pub(super) kind: Text<'a>,
    #[serde(borrow, default)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) email: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) role: Option<Text<'a>>,
}

#[derive(Deserialize, Default, Debug)]
pub(super) struct SourceView<'a> {
    #[serde(borrow, default)]
    pub(super) ip: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) user_agent: Option<Text<'a>>,
}

/// An event's text taken apart, its data left as it is. Personal data that was erased is missing.
#[derive(Deserialize, Debug)]
pub(super) struct View<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(borrow, rename = "type")]
    pub(super) event_type: Text<'a>,
    pub(super) v: u16,
    #[serde(borrow)]
    pub(super) stream: Text<'a>,
    pub(super) revision: u64,
    pub(super) at: Timestamp,
    #[serde(borrow, default)]
    pub(super) org: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) workspace: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) actor: ActorView<'a>,
    #[serde(borrow, default)]
    pub(super) source: SourceView<'a>,
    #[serde(borrow, default)]
    pub(super) request: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) cause: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) outcome: Text<'a>,
    #[serde(borrow, default)]
    pub(super) prev: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) data: &'a RawValue,
}

/// What formats of security tools have fields for, of the data of some events.
#[derive(Deserialize, Default, Debug)]
pub(super) struct Details<'a> {
    #[serde(borrow, default)]
    pub(super) key: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) target: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) command: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) code: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) comment: Option<Text<'a>>,
    #[serde(default)]
    repeated: Option<Repeated>,
}

#[derive(Deserialize)]
struct Usage {
    from: Timestamp,
    to: Timestamp,
    groups: Vec<UsageGroup>,
}

#[derive(Deserialize)]
struct UsageGroup {
    records: Vec<UsageRecord>,
}

#[derive(Deserialize)]
struct UsageRecord {
    code: keyledger_schema::VerificationCode,
    count: u64,
}

/// What an event tells together: of verifications, or of the same refusal again and again.
pub(super) struct Counted {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) verifications: u64,
    pub(super) valid: u64,
}

impl<'a> View<'a> {
    pub(super) fn of(text: &'a str) -> Result<Self, Failed> {
        serde_json::from_str(text).map_err(|error| unreadable(&error))
    }

    /// Of types whose data holds none of it, nothing.
    pub(super) fn details(&self) -> Details<'a> {
        let some = self.event_type.starts_with("key.")
            || matches!(&*self.event_type, "command.refused" | "audit.read");
        if some { serde_json::from_str(self.data.get()).unwrap_or_default() } else { Details::default() }
    }

    /// The key whose trail it belongs to: that of its stream, or the one that a refusal or a read was about.
    pub(super) fn key<'b>(&'b self, details: &'b Details<'_>) -> Option<&'b str> {
        let about = matches!(&*self.event_type, "command.refused" | "audit.read");
        self.stream.strip_prefix("key-").or_else(|| details.key.as_deref().filter(|_| about))
    }

    /// The client's address, where it can be read.
    pub(super) fn address(&self) -> Option<&str> {
        self.source.ip.as_deref().filter(|ip| *ip != UNREADABLE)
    }

    pub(super) fn identity(&self) -> Option<&str> {
        self.stream.strip_prefix("identity-")
    }

    pub(super) fn counted(&self, details: &Details<'_>) -> Option<Counted> {
        if let Some(Repeated { count, first_at, last_at }) = details.repeated {
            return Some(Counted { from: first_at, to: last_at, verifications: count, valid: 0 });
        }
        if &*self.event_type != "usage.recorded" {
            return None;
        }
        let usage: Usage = serde_json::from_str(self.data.get()).ok()?;
        let records = || usage.groups.iter().flat_map(|group| &group.records);
        let sum = |valid: bool| {
            let counted =
                records().filter(|record| !valid || record.code == keyledger_schema::VerificationCode::Valid);
            counted.fold(0_u64, |sum, record| sum.saturating_add(record.count))
        };
        Some(Counted { from: usage.from, to: usage.to, verifications: sum(false), valid: sum(true) })
    }
}
