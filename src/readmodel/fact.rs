//! What a recorded event means for the tables.
//!
//! Usage is frequent and large, and only its envelope matters here: its data is left unread, which the
//! usage projection makes up for. Every other event is read whole, so that nothing unknown gets past.

use std::sync::Arc;

use keyledger_schema::codec::Outcome;
use keyledger_schema::usage::UsageGapDeclared;
use keyledger_schema::{
    Actor, DataKeys, Envelope, Event, EventId, KeyId, NodeId, OrganizationId, Stream, Timestamp, WorkspaceId,
};
use serde::Deserialize;
use uuid::Uuid;

use crate::store::{Position, Recorded};

/// The type of usage events.
pub(super) const USAGE: &str = "usage.recorded";

/// Whether an event tells of verifications.
pub(super) fn is_usage(recorded: &Recorded) -> bool {
    &*recorded.event_type == USAGE
}

/// An event as its entry shows it, and what it changes.
pub(super) struct Fact {
    pub(super) position: Position,
    pub(super) id: EventId,
    pub(super) event_type: Arc<str>,
    pub(super) stream: Stream,
    pub(super) revision: u64,
    pub(super) organization: Option<OrganizationId>,
    pub(super) workspace: Option<WorkspaceId>,
    pub(super) actor: Option<Uuid>,
    pub(super) cause: Option<EventId>,
    pub(super) at: Timestamp,
    pub(super) outcome: Outcome,
    pub(super) subject: Subject,
}

/// What an event changes beside the entries.
pub(super) enum Subject {
    /// Nothing.
    Nothing,
    /// The use of keys, told elsewhere.
    Usage,
    /// A key.
    Key(KeyId, Box<Envelope>),
    /// An organization.
    Organization(Box<Envelope>),
    /// A workspace.
    Workspace(Box<Envelope>),
    /// An identity.
    Identity(Box<Envelope>),
    /// Verifications may be missing.
    Gap(UsageGapDeclared),
    /// Nothing, but it is about this key.
    About(KeyId),
}

/// An event that cannot be projected.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the event at position {position} of the log cannot be read: {what}")]
pub(super) struct Unreadable {
    position: Position,
    what: String,
}

impl Unreadable {
    pub(super) fn new(position: Position, what: &impl ToString) -> Self {
        Self { position, what: what.to_string() }
    }
}

/// The part of a stored envelope that entries show.
#[derive(Deserialize)]
struct Head {
    id: EventId,
    stream: Stream,
    revision: u64,
    at: Timestamp,
    #[serde(default)]
    org: Option<OrganizationId>,
    #[serde(default)]
    workspace: Option<WorkspaceId>,
    actor: Actor,
    #[serde(default)]
    cause: Option<EventId>,
    outcome: Outcome,
}

/// Reads a recorded event and checks that its bytes agree with where it stands.
pub(super) fn read(recorded: &Recorded, keys: &dyn DataKeys) -> Result<Fact, Unreadable> {
    let unreadable = |what: String| Unreadable { position: recorded.position, what };
    let (head, envelope) = if is_usage(recorded) {
        (head(&recorded.bytes).map_err(unreadable)?, None)
    } else {
        let envelope =
            Envelope::open_with(&recorded.bytes, keys).map_err(|error| unreadable(error.to_string()))?;
        if envelope.event.type_name() != &*recorded.event_type {
            return Err(unreadable("it is stored as another type than it says".into()));
        }
        let head = Head {
            id: envelope.id,
            stream: envelope.stream,
            revision: envelope.revision,
            at: envelope.at,
            org: envelope.organization,
            workspace: envelope.workspace,
            actor: envelope.actor.clone(),
            cause: envelope.cause,
            outcome: envelope.outcome,
        };
        (head, Some(envelope))
    };
    if head.id.uuid() != recorded.id || head.revision != recorded.revision {
        return Err(unreadable("it is stored under another id or revision than it says".into()));
    }
    if recorded.stream.parse() != Ok(head.stream) {
        return Err(unreadable("it is stored in another stream than it says".into()));
    }
    Ok(Fact {
        position: recorded.position,
        id: head.id,
        event_type: Arc::clone(&recorded.event_type),
        stream: head.stream,
        revision: head.revision,
        organization: head.org,
        workspace: head.workspace,
        actor: head.actor.id.as_deref().and_then(actor_bits),
        cause: head.cause,
        at: head.at,
        outcome: head.outcome,
        subject: envelope.map_or(Subject::Usage, subject),
    })
}

/// Reads events up to the first that cannot be read.
pub(super) fn read_until_unreadable(
    events: &[Recorded],
    keys: &dyn DataKeys,
) -> (Vec<Fact>, Option<Unreadable>) {
    let mut facts = Vec::with_capacity(events.len());
    for event in events {
        match read(event, keys) {
            Ok(fact) => facts.push(fact),
            Err(unreadable) => return (facts, Some(unreadable)),
        }
    }
    (facts, None)
}

fn subject(envelope: Envelope) -> Subject {
    match (envelope.stream, &envelope.event) {
        (Stream::Key(id), _) => Subject::Key(id, Box::new(envelope)),
        (Stream::Organization(_), _) => Subject::Organization(Box::new(envelope)),
        (Stream::Workspace(_), _) => Subject::Workspace(Box::new(envelope)),
        (Stream::Identity(_), _) => Subject::Identity(Box::new(envelope)),
        (_, Event::UsageGapDeclared(gap)) => Subject::Gap(gap.clone()),
        (_, Event::CommandRefused(refused)) => refused.key.map_or(Subject::Nothing, Subject::About),
        (_, Event::AuditRead(read)) => read.key.map_or(Subject::Nothing, Subject::About),
        _ => Subject::Nothing,
    }
}

/// The envelope without its data. Data stands last, and inside a JSON string a quote is escaped, so the
/// first place where these bytes stand is where the data begins.
fn head(bytes: &[u8]) -> Result<Head, String> {
    const DATA: &[u8] = br#","data":"#;
    let end = bytes.windows(DATA.len()).position(|window| window == DATA);
    let end = end.ok_or_else(|| "it has no data".to_owned())?;
    let mut head = Vec::with_capacity(end + 1);
    head.extend_from_slice(&bytes[..end]);
    head.push(b'}');
    serde_json::from_slice(&head).map_err(|error| error.to_string())
}

/// The 128 bits of a key's or a node's id.
fn actor_bits(text: &str) -> Option<Uuid> {
    text.parse().map(KeyId::uuid).or_else(|_| text.parse().map(NodeId::uuid)).ok()
}
