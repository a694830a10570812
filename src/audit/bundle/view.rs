//! What entries say, for people: the trail as a table, and each key as its events made it.
//!
//! Made the same way by whoever makes a bundle and by whoever checks one; a view holds nothing that the entries do
//! not say.

use keyledger_projections::{KeyState, changes};
use keyledger_schema::{ChainHash, Envelope};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::export::{Cell, Column, Encoder, Failed, Format, Kind};

use super::super::event::Seen;
use super::super::heads::Inclusion;

/// The columns of the trail.
const COLUMNS: [Column; 20] = [
    Column::new("logIndex", Kind::Count),
    Column::new("at", Kind::Moment),
    Column::new("type", Kind::Text),
    Column::new("version", Kind::Count),
    Column::new("stream", Kind::Text),
    Column::new("revision", Kind::Count),
    Column::new("eventId", Kind::Text),
    Column::optional("organizationId", Kind::Text),
    Column::optional("workspaceId", Kind::Text),
    Column::optional("keyId", Kind::Text),
    Column::new("actorKind", Kind::Text),
    Column::optional("actorId", Kind::Text),
    Column::optional("actorEmail", Kind::Text),
    Column::optional("actorRole", Kind::Text),
    Column::optional("ip", Kind::Text),
    Column::optional("userAgent", Kind::Text),
    Column::new("outcome", Kind::Text),
    Column::optional("requestId", Kind::Text),
    Column::optional("causeId", Kind::Text),
    Column::new("hash", Kind::Text),
];

/// The trail of what was seen so far, handed out in parts. Only the first of these has the names of the columns, so
/// that all of them in a row are one table.
pub(super) struct Trail {
    encoder: Encoder,
    part: Vec<u8>,
    parts: u32,
    rows: u64,
}

/// The name of a plain value as it is stored.
fn named(value: &impl serde::Serialize) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_owned)
}

fn row(index: u64, event: &Seen, whole: &Envelope, hash: ChainHash) -> Vec<Cell> {
    let (actor, source) = (&whole.actor, &whole.source);
    vec![
        Cell::Count(index),
        Cell::Moment(whole.at),
        Cell::Text(whole.event.type_name().to_owned()),
        Cell::Count(whole.event.version().into()),
        Cell::Text(whole.stream.to_string()),
        Cell::Count(whole.revision),
        Cell::Text(whole.id.to_string()),
        Cell::text(whole.organization),
        Cell::text(whole.workspace),
        Cell::text(event.key()),
        Cell::text(named(&actor.kind)),
        Cell::text(actor.id.as_deref()),
        Cell::text(actor.email.as_ref().map(|email| (**email).clone())),
        Cell::text(actor.role.and_then(|role| named(&role))),
        Cell::text(source.ip.as_ref().map(|ip| **ip)),
        Cell::text(source.user_agent.as_ref().map(|agent| (**agent).clone())),
        Cell::text(named(&whole.outcome)),
        Cell::text(whole.request),
        Cell::text(whole.cause),
        Cell::Text(hash.to_string()),
    ]
}

impl Trail {
    pub(super) fn new() -> Result<Self, Failed> {
        let encoder = Encoder::new(Format::Csv, &COLUMNS, true)?;
        Ok(Self { encoder, part: Vec::new(), parts: 0, rows: 0 })
    }

    /// Adds an entry. Those that tell of verifications have no row: they are many, and their records are exported
    /// otherwise.
    pub(super) fn add(&mut self, index: u64, event: &Seen, hash: ChainHash) -> Result<(), Failed> {
        let Some(whole) = &event.whole else { return Ok(()) };
        self.rows += 1;
        self.part.extend(self.encoder.rows(&[row(index, event, whole, hash)])?);
        Ok(())
    }

    /// Bytes of the part that was not handed out.
    pub(super) const fn waiting(&self) -> usize {
        self.part.len()
    }

    /// The number of the next part.
    pub(super) const fn next_part(&self) -> u32 {
        self.parts + 1
    }

    /// The next part: everything since the one before.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.parts += 1;
        std::mem::take(&mut self.part)
    }

    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }
}

/// A key as its events made it, as a line of JSON.
pub(super) fn key(state: &KeyState) -> Vec<u8> {
    let mut fields = Map::new();
    let mut tell = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    tell("keyId", json!(state.id));
    tell("organizationId", json!(state.organization));
    tell("workspaceId", json!(state.workspace));
    tell("revision", json!(state.revision));
    tell("createdAt", json!(state.created_at));
    tell("createdBy", json!(state.created_by));
    tell("createdEvent", json!(state.created_event));
    tell("updatedAt", json!(state.updated_at));
    tell("clonedFrom", json!(state.cloned_from));
    tell("expiryRecorded", json!(state.expiry_recorded));
    tell("revokedAt", json!(state.revoked.as_ref().map(|revoked| revoked.at)));
    tell("deletedAt", json!(state.deleted_at));
    tell("erasedAt", json!(state.erased_at));
    // The fields that a trail tells the changes of; those that hold nothing are left out.
    for change in changes::of_key(None, state) {
        tell(change.field, change.after);
    }
    fields.retain(|_, value| !value.is_null());
    let mut line = Value::Object(fields).to_string().into_bytes();
    line.push(b'\n');
    line
}

/// Where a stream ends, proved.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProvedHead {
    /// Its name.
    pub(super) stream: String,
    /// That its last event stands in the committed map.
    pub(super) proof: Inclusion,
}

/// A proof of where a stream ends, as a line of JSON.
pub(super) fn head(stream: &str, proof: &Inclusion) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&ProvedHead { stream: stream.to_owned(), proof: proof.clone() })?;
    line.push(b'\n');
    Ok(line)
}
