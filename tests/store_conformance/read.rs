//! Reading streams and the whole log.

use keyledger::store::{Direction, Expected, Filter, Position, Recorded};

use crate::{Store, append, assert_same, event, events, everything, stream, wait};

fn revisions(store: &Store, from: Option<u64>, direction: Direction, max: usize) -> Vec<u64> {
    let read = wait(store.read_stream("a", from, direction, max)).unwrap();
    read.iter().map(|event| event.revision).collect()
}

fn all(store: &Store, after: Option<Position>, filter: Filter, max: usize) -> Vec<Recorded> {
    wait(store.read_all(after, filter, max)).unwrap()
}

pub(crate) fn an_unknown_stream_is_empty(store: &Store) {
    append(store, "other", Expected::NoStream, &events(1)).unwrap();
    for direction in [Direction::Forward, Direction::Backward] {
        assert!(revisions(store, None, direction, 10).is_empty());
        assert!(revisions(store, Some(3), direction, 10).is_empty());
    }
}

pub(crate) fn a_forward_read_starts_with_the_revision_asked_for(store: &Store) {
    append(store, "a", Expected::NoStream, &events(5)).unwrap();
    assert_eq!(revisions(store, None, Direction::Forward, 2), [0, 1]);
    assert_eq!(revisions(store, Some(0), Direction::Forward, 9), [0, 1, 2, 3, 4]);
    assert_eq!(revisions(store, Some(3), Direction::Forward, 9), [3, 4]);
    assert_eq!(revisions(store, Some(4), Direction::Forward, 1), [4]);
    assert!(revisions(store, Some(3), Direction::Forward, 0).is_empty());
}

pub(crate) fn a_backward_read_starts_with_the_revision_asked_for(store: &Store) {
    append(store, "a", Expected::NoStream, &events(5)).unwrap();
    assert_eq!(revisions(store, None, Direction::Backward, 2), [4, 3]);
    assert_eq!(revisions(store, Some(4), Direction::Backward, 9), [4, 3, 2, 1, 0]);
    assert_eq!(revisions(store, Some(1), Direction::Backward, 9), [1, 0]);
    assert_eq!(revisions(store, Some(0), Direction::Backward, 1), [0]);
    assert!(revisions(store, None, Direction::Backward, 0).is_empty());
}

pub(crate) fn revisions_out_of_range_are_no_error(store: &Store) {
    append(store, "a", Expected::NoStream, &events(3)).unwrap();
    for beyond in [3, i64::MAX.cast_unsigned(), u64::MAX] {
        assert!(revisions(store, Some(beyond), Direction::Forward, 9).is_empty());
        assert_eq!(revisions(store, Some(beyond), Direction::Backward, usize::MAX), [2, 1, 0]);
    }
}

pub(crate) fn a_long_stream_is_read_whole_in_both_directions(store: &Store) {
    let long = events(900);
    append(store, "a", Expected::NoStream, &long).unwrap();
    append(store, "b", Expected::NoStream, &events(3)).unwrap();
    assert_same(&stream(store, "a"), &long);
    for max in [63, 64, 65, 200, 900, usize::MAX] {
        let count = max.min(900) as u64;
        assert_eq!(revisions(store, None, Direction::Forward, max), (0..count).collect::<Vec<_>>());
        assert_eq!(
            revisions(store, None, Direction::Backward, max),
            (900 - count..900).rev().collect::<Vec<_>>()
        );
    }
    // Just as many as are left.
    assert_eq!(revisions(store, Some(836), Direction::Forward, 99).len(), 64);
    assert_eq!(revisions(store, Some(63), Direction::Backward, 99).len(), 64);
}

pub(crate) fn a_stream_read_sees_its_stream_only(store: &Store) {
    let (a, b) = (events(2), events(2));
    append(store, "a", Expected::NoStream, &a[..1]).unwrap();
    append(store, "b", Expected::NoStream, &b).unwrap();
    append(store, "a", Expected::Exact(0), &a[1..]).unwrap();
    assert_same(&stream(store, "a"), &a);
    assert_same(&stream(store, "b"), &b);
}

pub(crate) fn a_stream_whose_name_begins_like_another_is_another(store: &Store) {
    for name in ["key-1", "key-10", "key-", "KEY-1"] {
        append(store, name, Expected::NoStream, &[event(name)]).unwrap();
    }
    for name in ["key-1", "key-10", "key-", "KEY-1"] {
        let read = stream(store, name);
        assert_eq!(read.len(), 1);
        assert_eq!(&*read[0].event_type, name);
    }
}

pub(crate) fn reading_all_starts_strictly_after_the_position(store: &Store) {
    append(store, "a", Expected::NoStream, &events(4)).unwrap();
    let every = everything(store);
    for (index, event) in every.iter().enumerate() {
        assert_eq!(all(store, Some(event.position), Filter::All, 9), every[index + 1..]);
    }
    let last = every[3].position.raw();
    for beyond in [last + 1, i64::MAX.cast_unsigned(), u64::MAX] {
        assert!(all(store, Some(Position::from_raw(beyond)), Filter::All, 9).is_empty());
    }
}

pub(crate) fn reading_all_gives_at_most_what_was_asked_for(store: &Store) {
    assert!(all(store, None, Filter::All, 9).is_empty());
    append(store, "a", Expected::NoStream, &events(4)).unwrap();
    let every = everything(store);
    for max in 0..=5 {
        assert_eq!(all(store, None, Filter::All, max), every[..max.min(4)]);
    }
}

fn colours(store: &Store) -> (Filter, Filter) {
    let written = ["red", "green", "blue", "red", "green"].map(event);
    append(store, "a", Expected::NoStream, &written).unwrap();
    let types = vec!["red".into(), "blue".into(), "unseen".into()];
    (Filter::Types(types.clone()), Filter::NotTypes(types))
}

fn types(events: &[Recorded]) -> Vec<&str> {
    events.iter().map(|event| &*event.event_type).collect()
}

pub(crate) fn a_filter_by_types_lets_only_those_pass(store: &Store) {
    let (filter, _) = colours(store);
    assert_eq!(types(&all(store, None, filter.clone(), 9)), ["red", "blue", "red"]);
    let first = everything(store)[0].position;
    assert_eq!(types(&all(store, Some(first), filter.clone(), 1)), ["blue"]);
    assert_eq!(types(&all(store, Some(first), filter, 2)), ["blue", "red"]);
    assert!(all(store, None, Filter::Types(Vec::new()), 9).is_empty());
}

pub(crate) fn a_filter_by_other_types_lets_all_others_pass(store: &Store) {
    let (_, filter) = colours(store);
    assert_eq!(types(&all(store, None, filter, 9)), ["green", "green"]);
    assert_eq!(all(store, None, Filter::NotTypes(Vec::new()), 9).len(), 5);
}

pub(crate) fn a_rare_type_is_found_in_a_long_log(store: &Store) {
    let rare = event("rare");
    let mut last = None;
    for round in 0..12 {
        let mut batch = events(999);
        if round == 7 {
            batch.push(rare.clone());
        }
        last = Some(append(store, "a", Expected::after(last), &batch).unwrap().revision);
    }
    let filter = Filter::Types(vec!["rare".into()]);
    assert_same(&all(store, None, filter.clone(), 1), std::slice::from_ref(&rare));
    assert_same(&all(store, None, filter, 10), &[rare]);
}

pub(crate) fn an_append_is_read_as_soon_as_it_is_answered(store: &Store) {
    let mut last = None;
    for count in 1..=200 {
        let appended = append(store, "a", Expected::after(last), &events(1)).unwrap();
        last = Some(appended.revision);
        assert_eq!(revisions(store, None, Direction::Backward, 1), [appended.revision]);
        assert_eq!(stream(store, "a").len(), count);
        assert_eq!(everything(store).len(), count);
    }
}

pub(crate) fn the_log_id_and_capabilities_say_what_the_store_is(store: &Store) {
    assert!(!store.log_id().is_nil());
    assert_eq!(store.log_id(), store.log_id());
    assert_eq!(store.capabilities().durable, store.capabilities().name != "memory");
    assert!(!store.capabilities().shared);
    assert_eq!(store.stopped(), None);
}
