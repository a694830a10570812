//! Seals events and appends them.

use std::sync::Arc;
use std::time::Duration;

use keyledger_schema::codec::{self, Outcome, Sealed};
use keyledger_schema::grant::Place;
use keyledger_schema::{Envelope, Event, EventId, Stream, Subject, sealing};

use super::aggregate::Aggregate;
use super::{Context, Service, Written, WrittenEvent};
use crate::decisions::Decision;
use crate::error::{Code, Error};
use crate::store::{AppendError, Direction, NewEvent, Position, ReadError};
use crate::stream_head::StreamHead;

/// How long a command waits until its events are applied on this node.
const APPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why nothing was appended.
#[derive(Debug)]
pub(super) enum Failure {
    /// Somebody else wrote to the stream first.
    Conflict,
    /// Everything else.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

pub(super) fn append_failed(error: AppendError) -> Failure {
    match error {
        AppendError::Conflict { .. } => Failure::Conflict,
        AppendError::TooLarge { what, actual, limit } => {
            tracing::warn!(what, actual, limit, "an event exceeds a limit of the log");
            Failure::Other(too_large())
        }
        AppendError::Invalid(reason) => {
            tracing::error!(reason, "the log refused an append as malformed");
            Failure::Other(Error::internal())
        }
        AppendError::Unavailable(reason) => {
            tracing::error!(%reason, "the log takes no writes");
            Failure::Other(Error::unavailable(
                "the log takes no writes now, so nothing was changed; try again, and tell the operator if it lasts",
            ))
        }
        AppendError::OutcomeUnknown(reason) => {
            tracing::error!(%reason, "it is unknown whether a commit reached the disk");
            Failure::Other(Error::unavailable(
                "it is unknown whether the change reached the disk; the node must be restarted, look before repeating",
            ))
        }
    }
}

fn too_large() -> Error {
    let message = format!(
        "what was asked for makes an event of more than {} bytes; use fewer or shorter scopes, networks and metadata",
        codec::MAX_EVENT_BYTES
    );
    Error::new(Code::InvalidInput, message)
}

pub(super) fn read_failed(error: &ReadError) -> Error {
    tracing::error!(%error, "the log cannot be read");
    Error::unavailable("the log cannot be read now; try again, and tell the operator if it lasts")
}

/// Nothing is written without the data keys that it is to be sealed with.
fn unkeyed(error: &dyn std::fmt::Display) -> Error {
    tracing::error!(%error, "a data key cannot be read or made");
    Error::unavailable("nothing can be written now; try again, and tell the operator if it lasts")
}

/// Why a stored event cannot be read.
pub(crate) fn unopened(error: &codec::Error) -> Error {
    tracing::error!(%error, "an event cannot be read");
    match error {
        codec::Error::Personal(sealing::Error::Unreadable(_)) => Error::unavailable(
            "the data keys cannot be read now, so personal data cannot be shown; try again, and tell the operator if it \
             lasts",
        ),
        _ => Error::internal(),
    }
}

impl Service {
    /// Seals events for one stream.
    fn seal(
        &self,
        context: &Context,
        stream: Stream,
        head: StreamHead,
        place: Option<Place>,
        events: Vec<Event>,
        outcome: Outcome,
    ) -> Result<Vec<WrittenEvent>, Error> {
        let mut head = head;
        events
            .into_iter()
            .map(|event| {
                let envelope = Envelope {
                    id: EventId::from_uuid(self.edge.uuid()),
                    stream,
                    revision: head.next_revision(),
                    at: context.at,
                    organization: place.map(|place| place.organization),
                    workspace: place.and_then(|place| place.workspace),
                    actor: context.actor.clone(),
                    source: context.source.clone(),
                    request: context.request,
                    cause: context.cause,
                    outcome,
                    prev: head.prev(),
                    event,
                };
                let bytes: Arc<[u8]> = match envelope.seal(&*self.vault) {
                    // What cannot be read back as it was must never get into the log: every later start
                    // would stop at it.
                    Ok(Sealed { bytes, whole }) if !self.reads_back(&envelope, &bytes, whole)? => {
                        tracing::error!(
                            event = envelope.event.type_name(),
                            "an event does not survive its own bytes"
                        );
                        return Err(Error::internal());
                    }
                    Ok(sealed) => sealed.bytes.into(),
                    Err(codec::Error::TooLarge(_)) => return Err(too_large()),
                    Err(codec::Error::Personal(sealing::Error::Unreadable(error))) => {
                        return Err(unkeyed(&error));
                    }
                    Err(error) => {
                        tracing::error!(%error, "an event cannot be sealed");
                        return Err(Error::internal());
                    }
                };
                head = StreamHead::at(envelope.revision, &bytes);
                Ok(WrittenEvent { envelope, bytes, position: None })
            })
            .collect()
    }

    /// Whether sealed bytes open to what was sealed; without what belongs to somebody who was erased, to
    /// something at all.
    fn reads_back(&self, envelope: &Envelope, bytes: &[u8], whole: bool) -> Result<bool, Error> {
        match self.vault.open(bytes) {
            Ok(read) => Ok(!whole || read == *envelope),
            Err(codec::Error::Personal(sealing::Error::Unreadable(error))) => Err(unkeyed(&error)),
            Err(_) => Ok(false),
        }
    }

    /// Seals and appends events to one stream. Durable on return; not yet applied.
    pub(super) async fn append(
        &self,
        context: &Context,
        stream: Stream,
        head: StreamHead,
        place: Option<Place>,
        events: Vec<Event>,
        outcome: Outcome,
    ) -> Result<Vec<WrittenEvent>, Failure> {
        let own = Subject::of_stream(stream);
        let acting = context.actor.key_id().map_or(own, Subject::Key);
        self.vault.prepare([own, acting]).await.map_err(|error| Failure::Other(unkeyed(&error)))?;
        let mut written = self.seal(context, stream, head, place, events, outcome)?;
        let new = written
            .iter()
            .map(|event| NewEvent {
                id: event.envelope.id.uuid(),
                event_type: event.envelope.event.type_name().into(),
                bytes: Arc::clone(&event.bytes),
            })
            .collect();
        let appended =
            self.store.append(&stream.to_string(), head.expected(), new).await.map_err(append_failed)?;
        if let Some(last) = written.last_mut() {
            last.position = Some(appended.position);
        }
        Ok(written)
    }

    /// Writes the first events of a new stream, whose id was made a moment ago, and waits until they are
    /// applied.
    pub(super) async fn begin<A: Aggregate>(
        &self,
        context: &Context,
        stream: Stream,
        place: Place,
        decision: Decision,
    ) -> Result<Written<A>, Error> {
        let appended = self
            .append(context, stream, StreamHead::default(), Some(place), decision.events, Outcome::Success)
            .await;
        let events = appended.map_err(|failure| match failure {
            Failure::Conflict => Error::internal(),
            Failure::Other(error) => error,
        })?;
        self.applied(&events).await?;
        let state = events.iter().fold(None, |state, event| A::fold(state, &event.envelope));
        Ok(Written { state: state.ok_or_else(Error::internal)?, events, warnings: decision.warnings })
    }

    /// Waits until this node applied what was written.
    pub(super) async fn applied(&self, written: &[WrittenEvent]) -> Result<(), Error> {
        match written.last().and_then(|event| event.position) {
            Some(position) => self.applied_to(position).await,
            None => Ok(()),
        }
    }

    pub(super) async fn applied_to(&self, position: Position) -> Result<(), Error> {
        self.read_model.wait_applied(position, APPLY_TIMEOUT).await.map_err(|error| {
            tracing::error!(%error, "a durable change was not applied in time");
            Error::unavailable(
                "the change is in the log, but this node has not applied it; look again shortly",
            )
        })
    }

    /// The last event of a stream, read from the log.
    pub(super) async fn head(&self, stream: Stream) -> Result<StreamHead, Error> {
        let last = self
            .store
            .read_stream(&stream.to_string(), None, Direction::Backward, 1)
            .await
            .map_err(|error| read_failed(&error))?;
        Ok(last
            .first()
            .map_or_else(StreamHead::default, |event| StreamHead::at(event.revision, &event.bytes)))
    }
}
