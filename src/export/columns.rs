//! Events as rows of a table.

use super::event::{Logged, Proof, View};
use super::{Column, Failed, Kind, Value};

/// What the rows of events have. The first is the cursor.
const COLUMNS: [Column; 26] = [
    Column::new("logIndex", Kind::Count),
    Column::new("position", Kind::Text),
    Column::new("eventId", Kind::Text),
    Column::new("time", Kind::Moment),
    Column::new("type", Kind::Text),
    Column::new("version", Kind::Count),
    Column::new("outcome", Kind::Text),
    Column::new("actorKind", Kind::Text),
    Column::optional("actorId", Kind::Text),
    Column::optional("actorEmail", Kind::Text),
    Column::optional("actorRole", Kind::Text),
    Column::optional("ip", Kind::Text),
    Column::optional("userAgent", Kind::Text),
    Column::optional("organizationId", Kind::Text),
    Column::optional("workspaceId", Kind::Text),
    Column::new("stream", Kind::Text),
    Column::new("revision", Kind::Count),
    Column::optional("keyId", Kind::Text),
    Column::optional("identityId", Kind::Text),
    Column::optional("request", Kind::Text),
    Column::optional("cause", Kind::Text),
    Column::optional("previousHash", Kind::Text),
    Column::new("hash", Kind::Text),
    Column::new("leafHash", Kind::Text),
    Column::new("data", Kind::Text),
    RAW,
];

const RAW: Column = Column::new("raw", Kind::Text);

/// The columns, with the stored bytes in base64 or without.
pub(super) fn columns(raw: bool) -> &'static [Column] {
    if raw { &COLUMNS } else { &COLUMNS[..COLUMNS.len() - 1] }
}

/// Hands an event's cells to whoever writes them.
pub(super) fn row(
    logged: &Logged,
    text: &str,
    raw: Option<&str>,
    write: &mut dyn FnMut(&[Value<'_>]) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let view = View::of(text)?;
    let details = view.details();
    let proof = Proof::of(&logged.bytes);
    let position = logged.position.to_string();
    let cells = [
        Value::Count(logged.log_index),
        Value::Text(&position),
        Value::Text(&view.id),
        Value::Moment(view.at),
        Value::Text(&view.event_type),
        Value::Count(view.v.into()),
        Value::Text(&view.outcome),
        Value::Text(&view.actor.kind),
        optional(view.actor.id.as_deref()),
        optional(view.actor.email.as_deref()),
        optional(view.actor.role.as_deref()),
        optional(view.source.ip.as_deref()),
        optional(view.source.user_agent.as_deref()),
        optional(view.org.as_deref()),
        optional(view.workspace.as_deref()),
        Value::Text(&view.stream),
        Value::Count(view.revision),
        optional(view.key(&details)),
        optional(view.identity()),
        optional(view.request.as_deref()),
        optional(view.cause.as_deref()),
        optional(view.prev.as_deref()),
        Value::Text(&proof.hash),
        Value::Text(&proof.leaf_hash),
        Value::Text(view.data.get()),
        optional(raw),
    ];
    write(&cells[..columns(raw.is_some()).len()])
}

fn optional(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Nothing, Value::Text)
}
