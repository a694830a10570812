//! The event store's contract, run on every store. Each test gets an empty store of its own.

#![allow(clippy::unwrap_used, reason = "a test may stop where it is surprised")]

#[path = "store_conformance/append.rs"]
mod append;
#[path = "store_conformance/limits.rs"]
mod limits;
#[path = "store_conformance/read.rs"]
mod read;
#[path = "store_conformance/subscribe.rs"]
mod subscribe;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyledger::store::memory::MemoryStore;
use keyledger::store::sqlite::{Options, SqliteStore};
use keyledger::store::{AppendError, Appended, Direction, EventStore, Expected, Filter, NewEvent, Recorded};
use uuid::Uuid;

type Store = Arc<dyn EventStore>;

/// Waits on this thread, and no longer than a minute, so that a lost answer is a failure.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_mins(1), future).await.unwrap() })
}

/// An event that no other equals.
fn event(event_type: &str) -> NewEvent {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = Uuid::from_u128(NEXT.fetch_add(1, Ordering::Relaxed).into());
    NewEvent { id, event_type: event_type.into(), bytes: id.to_string().into_bytes().into() }
}

fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(|_| event("thing.happened")).collect()
}

fn append(
    store: &Store,
    stream: &str,
    expected: Expected,
    events: &[NewEvent],
) -> Result<Appended, AppendError> {
    wait(store.append(stream, expected, events.to_vec()))
}

fn everything(store: &Store) -> Vec<Recorded> {
    wait(store.read_all(None, Filter::All, usize::MAX)).unwrap()
}

fn stream(store: &Store, stream: &str) -> Vec<Recorded> {
    wait(store.read_stream(stream, None, Direction::Forward, usize::MAX)).unwrap()
}

/// Whether the recorded events are these, in this order.
fn assert_same(recorded: &[Recorded], events: &[NewEvent]) {
    let recorded: Vec<_> = recorded.iter().map(|r| (r.id, r.event_type.clone(), r.bytes.clone())).collect();
    let events: Vec<_> = events.iter().map(|e| (e.id, e.event_type.clone(), e.bytes.clone())).collect();
    assert_eq!(recorded, events);
}

fn in_memory(test: fn(&Store)) {
    test(&(Arc::new(MemoryStore::new()) as Store));
}

fn in_sqlite(test: fn(&Store)) {
    let directory = tempfile::tempdir().unwrap();
    test(&(Arc::new(SqliteStore::open(directory.path(), Options::default()).unwrap()) as Store));
}

macro_rules! on_every_store {
    ($($subject:ident { $($test:ident)* })*) => {
        mod memory { $(mod $subject { $(
            #[test]
            fn $test() {
                crate::in_memory(crate::$subject::$test);
            }
        )* })* }
        mod sqlite { $(mod $subject { $(
            #[test]
            fn $test() {
                crate::in_sqlite(crate::$subject::$test);
            }
        )* })* }
    };
}

on_every_store! {
    append {
        revisions_are_dense_and_positions_grow
        of_many_writers_at_one_revision_exactly_one_wins
        writers_who_reload_on_conflict_lose_nothing
        a_new_stream_is_created_once
        no_stream_is_refused_on_a_stream_that_exists
        a_revision_behind_or_ahead_is_a_conflict_that_names_the_current_one
        the_same_ids_again_answer_as_the_first_time
        a_retry_answers_the_same_after_others_have_appended
        a_retry_of_the_first_ids_only_answers_for_them
        the_first_ids_followed_by_new_ones_are_a_conflict
        ids_that_stand_elsewhere_in_the_stream_are_a_conflict
        the_same_retry_sent_many_times_at_once_is_written_once
        an_append_is_whole_or_not_at_all
        an_append_goes_on_when_its_answer_is_not_awaited
        the_head_is_the_last_position
    }
    limits {
        an_append_of_nothing_is_invalid
        an_event_may_be_as_large_as_the_limit_and_no_larger
        an_append_may_have_as_many_events_as_the_limit_and_no_more
        names_may_be_as_long_as_their_limits_and_no_longer
        names_must_not_be_empty
        any_bytes_come_back_unchanged
        names_may_hold_any_text
    }
    read {
        an_unknown_stream_is_empty
        a_forward_read_starts_with_the_revision_asked_for
        a_backward_read_starts_with_the_revision_asked_for
        revisions_out_of_range_are_no_error
        a_long_stream_is_read_whole_in_both_directions
        a_stream_read_sees_its_stream_only
        a_stream_whose_name_begins_like_another_is_another
        reading_all_starts_strictly_after_the_position
        reading_all_gives_at_most_what_was_asked_for
        a_filter_by_types_lets_only_those_pass
        a_filter_by_other_types_lets_all_others_pass
        a_rare_type_is_found_in_a_long_log
        an_append_is_read_as_soon_as_it_is_answered
        the_log_id_and_capabilities_say_what_the_store_is
    }
    subscribe {
        an_empty_log_is_caught_up_with_at_once
        a_subscription_goes_from_history_into_live_once_caught_up
        a_subscription_from_the_middle_starts_strictly_after
        a_subscription_under_load_has_no_gap_and_no_duplicate
        caught_up_comes_once_however_long_the_log
        a_filtered_subscription_catches_up_past_what_it_leaves_out
        a_slow_consumer_gets_everything_and_holds_up_nobody
        a_wait_given_up_loses_nothing
        a_subscription_ends_with_its_store
    }
}
