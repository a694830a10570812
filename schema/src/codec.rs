//! Between an event with its envelope and the exact bytes that are stored and hashed.
//!
//! The bytes are one compact JSON object whose fields stand in the order of [`Envelope`]. They are made
//! once, when the event is sealed, and never re-serialized: proofs and chains are over these bytes.
//!
//! **Unknown fields are refused**, in the envelope and in the data, as are unknown types and versions.
//! An older program that reads a newer log could otherwise skip the very field that restricts a key,
//! and serve it with more than it was given. So a new field always means a new version of the event,
//! and a program that does not know it stops with a message that says which.
//!
//! Old versions are upcast, one version at a time, on their way to [`Event`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::actor::{Actor, Source};
use crate::chain::ChainHash;
use crate::event::{self, Event};
use crate::id::{EventId, OrganizationId, RequestId, WorkspaceId};
use crate::sealing::{self, DataKeys, NoDataKeys, Sealer, Subject};
use crate::stream::Stream;
use crate::timestamp::Timestamp;

/// The largest stored event, in bytes (60 KiB), so that an entry of a C2SP tlog-tiles bundle, whose
/// length has 16 bits, can hold it.
pub const MAX_EVENT_BYTES: usize = 60 * 1024;

/// Whether what was asked for happened (PCI DSS 10.2.2, NIST AU-3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did.
    Success,
    /// It was refused.
    Refused,
}

/// An event and all that is known about how it came to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Of this event.
    pub id: EventId,
    /// The stream it belongs to.
    pub stream: Stream,
    /// Its place in the stream: 0, 1, 2 …
    pub revision: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// The tenant; none for a node's own events.
    pub organization: Option<OrganizationId>,
    /// The workspace, where there is one.
    pub workspace: Option<WorkspaceId>,
    /// Who did it.
    pub actor: Actor,
    /// From where.
    pub source: Source,
    /// The request that led to it.
    pub request: Option<RequestId>,
    /// The event that led to it.
    pub cause: Option<EventId>,
    /// Whether it happened.
    pub outcome: Outcome,
    /// Hash of the event before it in its stream; none for revision 0.
    pub prev: Option<ChainHash>,
    /// What happened.
    pub event: Event,
}

/// Why stored bytes are not an event.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Not an envelope.
    #[error("not an event envelope that this version knows: {0}")]
    Envelope(String),
    /// The envelope is fine, what it holds is not.
    #[error("{event_type} version {version}: {source}")]
    Data {
        /// The stored type name, cut to 64 bytes.
        event_type: String,
        /// The stored version.
        version: u16,
        /// What is wrong.
        source: event::Error,
    },
    /// Personal data cannot be sealed or opened.
    #[error(transparent)]
    Personal(#[from] sealing::Error),
    /// Over [`MAX_EVENT_BYTES`].
    #[error("an event has at most {MAX_EVENT_BYTES} bytes, this one has {0}")]
    TooLarge(usize),
}

/// The head of the stored form: everything before the data.
#[derive(Serialize)]
struct Head<'a> {
    id: EventId,
    #[serde(rename = "type")]
    event_type: &'static str,
    v: u16,
    stream: Stream,
    revision: u64,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<OrganizationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace: Option<WorkspaceId>,
    actor: &'a Actor,
    #[serde(skip_serializing_if = "Source::is_empty")]
    source: &'a Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<EventId>,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev: Option<ChainHash>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    id: EventId,
    #[serde(rename = "type")]
    event_type: &'a str,
    v: u16,
    stream: Stream,
    revision: u64,
    at: Timestamp,
    #[serde(default)]
    org: Option<OrganizationId>,
    #[serde(default)]
    workspace: Option<WorkspaceId>,
    actor: Actor,
    #[serde(default)]
    source: Source,
    #[serde(default)]
    request: Option<RequestId>,
    #[serde(default)]
    cause: Option<EventId>,
    outcome: Outcome,
    #[serde(default)]
    prev: Option<ChainHash>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Lifts the data of one version of one event type to the next version.
#[derive(Clone, Copy)]
pub struct Upcaster {
    /// The event type.
    pub event_type: &'static str,
    /// The version it reads; it produces the next one.
    pub from: u16,
    /// What changes.
    pub lift: fn(&mut Map<String, Value>),
}

/// For a version that only adds fields whose absence says what the version before meant.
fn as_it_is(_: &mut Map<String, Value>) {}

/// Every step from an old version to a newer one.
pub const UPCASTERS: &[Upcaster] = &[
    Upcaster { event_type: "organization.created", from: 1, lift: as_it_is },
    Upcaster { event_type: "command.refused", from: 1, lift: as_it_is },
    Upcaster { event_type: "organization.policy_set", from: 1, lift: as_it_is },
];

/// The bytes of an event, ready to be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether all personal data is in them. What belongs to somebody whose data was erased is left out.
    pub whole: bool,
}

impl Envelope {
    /// Whose personal data it tells of who acted, and from where.
    pub fn acting_subject(&self) -> Subject {
        self.actor.key_id().map_or(Subject::of_stream(self.stream), Subject::Key)
    }

    /// Whose personal data it tells otherwise, value by value.
    fn data_subjects(&self) -> Box<dyn Iterator<Item = Subject> + '_> {
        let own = Subject::of_stream(self.stream);
        let Event::UsageRecorded(usage) = &self.event else { return Box::new(std::iter::repeat(own)) };
        Box::new(usage.groups.iter().flat_map(|group| &group.records).flat_map(move |record| {
            let values = usize::from(record.resource.is_some()) + usize::from(record.ip.is_some());
            std::iter::repeat_n(record.key.map_or(own, Subject::Key), values)
        }))
    }

    /// The bytes to store, with personal data sealed.
    pub fn seal(&self, sealer: &dyn Sealer) -> Result<Sealed, Error> {
        let head = Head {
            id: self.id,
            event_type: self.event.type_name(),
            v: self.event.version(),
            stream: self.stream,
            revision: self.revision,
            at: self.at,
            org: self.organization,
            workspace: self.workspace,
            actor: &self.actor,
            source: &self.source,
            request: self.request,
            cause: self.cause,
            outcome: self.outcome,
            prev: self.prev,
        };
        let failed = |error: serde_json::Error| Error::Envelope(error.to_string());
        let mut plain = Vec::with_capacity(1024);
        let mut bytes = Vec::with_capacity(1024);
        serde_json::to_writer(&mut plain, &head).map_err(failed)?;
        plain.pop();
        plain.extend_from_slice(br#","data":"#);
        let data = plain.len();
        self.event.write_data(&mut plain).map_err(failed)?;
        plain.push(b'}');
        let (acting, mut subjects) = (self.acting_subject(), self.data_subjects());
        let subject_at = |at| if at < data { Some(acting) } else { subjects.next() };
        let whole = sealing::seal(&plain, (self.id, self.stream), subject_at, sealer, &mut bytes)?;
        if bytes.len() > MAX_EVENT_BYTES {
            return Err(Error::TooLarge(bytes.len()));
        }
        Ok(Sealed { bytes, whole })
    }

    /// Reads stored bytes without the data keys: personal data reads as erased.
    pub fn open(bytes: &[u8]) -> Result<Self, Error> {
        Self::open_with(bytes, &NoDataKeys)
    }

    /// Reads stored bytes.
    pub fn open_with(bytes: &[u8], keys: &dyn DataKeys) -> Result<Self, Error> {
        Self::read(&opened(bytes, keys)?, UPCASTERS)
    }

    fn read(text: &str, upcasters: &[Upcaster]) -> Result<Self, Error> {
        let stored: Stored<'_> =
            serde_json::from_str(text).map_err(|error| Error::Envelope(error.to_string()))?;
        let event =
            read_event(stored.event_type, stored.v, stored.data.get(), upcasters).map_err(|source| {
                let event_type = stored.event_type.chars().take(64).collect();
                Error::Data { event_type, version: stored.v, source }
            })?;
        Ok(Self {
            id: stored.id,
            stream: stored.stream,
            revision: stored.revision,
            at: stored.at,
            organization: stored.org,
            workspace: stored.workspace,
            actor: stored.actor,
            source: stored.source,
            request: stored.request,
            cause: stored.cause,
            outcome: stored.outcome,
            prev: stored.prev,
            event,
        })
    }
}

/// The text of stored bytes with personal data readable, as far as there are data keys for it.
pub fn opened<'a>(bytes: &'a [u8], keys: &dyn DataKeys) -> Result<Cow<'a, str>, Error> {
    // Checked once as a whole; reading from a slice would check each string by itself.
    let text = std::str::from_utf8(bytes).map_err(|error| Error::Envelope(error.to_string()))?;
    Ok(sealing::open(text, keys)?)
}

fn read_event(
    event_type: &str,
    version: u16,
    data: &str,
    upcasters: &[Upcaster],
) -> Result<Event, event::Error> {
    let step = |version| upcasters.iter().find(|step| step.event_type == event_type && step.from == version);
    if step(version).is_none() {
        return Event::read_data(event_type, version, data);
    }
    let mut version = version;
    let mut fields: Map<String, Value> =
        serde_json::from_str(data).map_err(|error| event::Error::Data(error.to_string()))?;
    while let Some(step) = step(version) {
        (step.lift)(&mut fields);
        version += 1;
    }
    Event::read_data(event_type, version, &Value::Object(fields).to_string())
}

#[cfg(test)]
mod tests;
