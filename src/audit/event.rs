//! What a verification reads of an event: where it stands, whose it is, and what it says.
//!
//! Events of verifications are the bulk of a log, and nothing that is checked here depends on their data: of these
//! only the envelope is read. Every other event is read whole.

use keyledger_schema::event::Event;
use keyledger_schema::{ChainHash, DataKeys, Envelope, EventId, KeyId, OrganizationId, Stream, WorkspaceId};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The type of events of verifications, as it stands in their bytes.
const USAGE: &str = "usage.recorded";

/// The part of an envelope that says where an event stands and whose it is.
#[derive(Deserialize)]
struct Head<'a> {
    id: EventId,
    #[serde(rename = "type")]
    event_type: &'a str,
    stream: Stream,
    revision: u64,
    #[serde(default)]
    org: Option<OrganizationId>,
    #[serde(default)]
    workspace: Option<WorkspaceId>,
    #[serde(default)]
    prev: Option<ChainHash>,
    #[serde(rename = "data")]
    _data: IgnoredAny,
}

/// An event as far as it is needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Its id.
    pub id: EventId,
    /// Its stream.
    pub stream: Stream,
    /// Its place in the stream.
    pub revision: u64,
    /// Its tenant.
    pub organization: Option<OrganizationId>,
    /// Its workspace.
    pub workspace: Option<WorkspaceId>,
    /// Hash of the event before it.
    pub prev: Option<ChainHash>,
    /// All of it; none of those that tell of verifications.
    pub whole: Option<Box<Envelope>>,
}

impl Seen {
    /// Reads stored bytes, with personal data as far as there are data keys.
    pub fn read(bytes: &[u8], keys: &dyn DataKeys) -> Result<Self, String> {
        if let Ok(head) = serde_json::from_slice::<Head<'_>>(bytes)
            && head.event_type == USAGE
        {
            return Ok(Self {
                id: head.id,
                stream: head.stream,
                revision: head.revision,
                organization: head.org,
                workspace: head.workspace,
                prev: head.prev,
                whole: None,
            });
        }
        let whole = Envelope::open_with(bytes, keys).map_err(|error| error.to_string())?;
        Ok(Self {
            id: whole.id,
            stream: whole.stream,
            revision: whole.revision,
            organization: whole.organization,
            workspace: whole.workspace,
            prev: whole.prev,
            whole: Some(Box::new(whole)),
        })
    }

    /// The key whose trail it belongs to: that of its stream, or the one that it is about.
    pub fn key(&self) -> Option<KeyId> {
        match (self.stream, self.whole.as_ref().map(|whole| &whole.event)) {
            (Stream::Key(key), _) => Some(key),
            (_, Some(Event::CommandRefused(data))) => data.key,
            (_, Some(Event::AuditRead(data))) => data.key,
            _ => None,
        }
    }
}
