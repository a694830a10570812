//! What every store refuses before it looks at the log: names and sizes out of bounds.
//!
//! Invariant: the answer depends on the request alone, so each store gives the same. Nothing here
//! reads a stream.

use super::{
    AppendError, MAX_EVENT_BYTES, MAX_EVENT_TYPE_BYTES, MAX_EVENTS_PER_APPEND, MAX_STREAM_NAME_BYTES,
    NewEvent,
};

/// Refuses an append that no state of the log could make right.
pub(super) fn check(stream: &str, events: &[NewEvent]) -> Result<(), AppendError> {
    if stream.is_empty() {
        return Err(AppendError::Invalid("the stream has no name"));
    }
    within("stream name bytes", stream.len(), MAX_STREAM_NAME_BYTES)?;
    if events.is_empty() {
        return Err(AppendError::Invalid("the append has no events"));
    }
    within("events in one append", events.len(), MAX_EVENTS_PER_APPEND)?;
    for event in events {
        if event.event_type.is_empty() {
            return Err(AppendError::Invalid("an event has no type"));
        }
        within("event type bytes", event.event_type.len(), MAX_EVENT_TYPE_BYTES)?;
        within("event bytes", event.bytes.len(), MAX_EVENT_BYTES)?;
    }
    Ok(())
}

fn within(what: &'static str, actual: usize, limit: usize) -> Result<(), AppendError> {
    if actual > limit {
        return Err(AppendError::TooLarge { what, actual, limit });
    }
    Ok(())
}
