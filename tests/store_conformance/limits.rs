//! Sizes, names and bytes at their limits.

use keyledger::store::{
    AppendError, Expected, MAX_EVENT_BYTES, MAX_EVENT_TYPE_BYTES, MAX_EVENTS_PER_APPEND,
    MAX_STREAM_NAME_BYTES, NewEvent,
};

use crate::{Store, append, assert_same, event, events, everything, stream};

fn sized(bytes: usize) -> NewEvent {
    NewEvent { bytes: vec![b'x'; bytes].into(), ..event("sized") }
}

fn too_large(what: &'static str, limit: usize) -> AppendError {
    AppendError::TooLarge { what, actual: limit + 1, limit }
}

pub(crate) fn an_append_of_nothing_is_invalid(store: &Store) {
    assert!(matches!(append(store, "a", Expected::NoStream, &[]), Err(AppendError::Invalid(_))));
    assert!(everything(store).is_empty());
}

pub(crate) fn an_event_may_be_as_large_as_the_limit_and_no_larger(store: &Store) {
    let fitting = [sized(MAX_EVENT_BYTES - 1), sized(MAX_EVENT_BYTES)];
    append(store, "a", Expected::NoStream, &fitting).unwrap();
    let refused = append(store, "a", Expected::Exact(1), &[event("small"), sized(MAX_EVENT_BYTES + 1)]);
    assert_eq!(refused, Err(too_large("event bytes", MAX_EVENT_BYTES)));
    assert_same(&everything(store), &fitting);
}

pub(crate) fn an_append_may_have_as_many_events_as_the_limit_and_no_more(store: &Store) {
    let most = events(MAX_EVENTS_PER_APPEND);
    let appended = append(store, "a", Expected::NoStream, &most).unwrap();
    assert_eq!(appended.revision, MAX_EVENTS_PER_APPEND as u64 - 1);
    append(store, "b", Expected::NoStream, &events(MAX_EVENTS_PER_APPEND - 1)).unwrap();
    let refused = append(store, "c", Expected::NoStream, &events(MAX_EVENTS_PER_APPEND + 1));
    assert_eq!(refused, Err(too_large("events in one append", MAX_EVENTS_PER_APPEND)));
    assert_same(&stream(store, "a"), &most);
    assert!(stream(store, "c").is_empty());
}

pub(crate) fn names_may_be_as_long_as_their_limits_and_no_longer(store: &Store) {
    for length in [MAX_STREAM_NAME_BYTES - 1, MAX_STREAM_NAME_BYTES] {
        append(store, &"s".repeat(length), Expected::NoStream, &events(1)).unwrap();
    }
    let refused = append(store, &"s".repeat(MAX_STREAM_NAME_BYTES + 1), Expected::NoStream, &events(1));
    assert_eq!(refused, Err(too_large("stream name bytes", MAX_STREAM_NAME_BYTES)));
    append(store, "a", Expected::NoStream, &[event(&"t".repeat(MAX_EVENT_TYPE_BYTES))]).unwrap();
    let refused = append(store, "a", Expected::Exact(0), &[event(&"t".repeat(MAX_EVENT_TYPE_BYTES + 1))]);
    assert_eq!(refused, Err(too_large("event type bytes", MAX_EVENT_TYPE_BYTES)));
}

pub(crate) fn names_must_not_be_empty(store: &Store) {
    assert!(matches!(append(store, "", Expected::NoStream, &events(1)), Err(AppendError::Invalid(_))));
    assert!(matches!(append(store, "a", Expected::NoStream, &[event("")]), Err(AppendError::Invalid(_))));
    assert!(everything(store).is_empty());
}

pub(crate) fn any_bytes_come_back_unchanged(store: &Store) {
    let payloads: [&[u8]; 6] = [b"", b"\0", b"\xff\xfe\0\x80", b"a\0b", "ключ".as_bytes(), b"' ; --\n"];
    let written: Vec<_> =
        payloads.iter().map(|bytes| NewEvent { bytes: (*bytes).into(), ..event("binary") }).collect();
    append(store, "a", Expected::NoStream, &written).unwrap();
    assert_same(&everything(store), &written);
    assert_same(&stream(store, "a"), &written);
}

pub(crate) fn names_may_hold_any_text(store: &Store) {
    for name in ["with space", "quote'", "ünïcode", "nul\0inside", "nul\0other", "percent%"] {
        let written = [event(name)];
        append(store, name, Expected::NoStream, &written).unwrap();
        let recorded = stream(store, name);
        assert_same(&recorded, &written);
        assert_eq!(&*recorded[0].stream, name);
    }
}
