//! A full disk, a commit that fails, and many appends at once, on the real engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use keyledger::store::sqlite::{Options, SqliteStore};
use keyledger::store::{AppendError, Delivery, Direction, EventStore, Expected, Filter, NewEvent};

use crate::{append, event, everything, filled, open, wait};

#[test]
fn waiting_appends_share_a_commit() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let asked: Vec<_> =
        (0..2_000).map(|id| store.append(&format!("s{id}"), Expected::NoStream, vec![event(id)])).collect();
    for asked in asked {
        wait(asked).unwrap();
    }
    assert!(store.commits() < 200, "{} commits", store.commits());
    assert_eq!(everything(&store).len(), 2_000);
}

#[test]
fn appends_one_after_the_other_are_committed_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(filled(directory.path(), 20).commits(), 20);
}

#[test]
fn a_conflict_costs_the_others_in_its_commit_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    // Every third one expects too much.
    let asked: Vec<_> = (0..900)
        .map(|id| {
            let expected = if id % 3 == 2 { Expected::Exact(5) } else { Expected::NoStream };
            store.append(&format!("s{id}"), expected, vec![event(id)])
        })
        .collect();
    let answers: Vec<_> = asked.into_iter().map(wait).collect();
    for (id, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), id % 3 != 2);
    }
    assert_eq!(everything(&store).len(), 600);
    drop(store);
    assert_eq!(everything(&open(directory.path())).len(), 600);
}

#[test]
fn what_is_waiting_when_the_store_is_dropped_is_written_and_answered() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let asked: Vec<_> =
        (0..500).map(|id| store.append(&format!("s{id}"), Expected::NoStream, vec![event(id)])).collect();
    drop(store);
    for asked in asked {
        wait(asked).unwrap();
    }
    assert_eq!(everything(&open(directory.path())).len(), 500);
}

#[test]
fn a_full_disk_loses_nothing_and_passes() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { max_pages: Some(60), ..Options::default() };
    let store = SqliteStore::open(directory.path(), options).unwrap();
    let mut written = 0_u64;
    let refused = loop {
        let expected = Expected::after(written.checked_sub(1));
        match append(&store, "a", expected, &[written]) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    let AppendError::Unavailable(why) = refused else { panic!("{refused}") };
    assert!(why.contains("disk is full"), "{why}");
    assert!(written > 50);
    assert_eq!(store.stopped(), None);
    // Still full; still readable; the refused event is nowhere.
    let large: Vec<NewEvent> = (1_000..1_100).map(event).collect();
    wait(store.append("b", Expected::NoStream, large)).unwrap_err();
    assert_eq!(everything(&store).len() as u64, written);
    assert!(wait(store.read_stream("b", None, Direction::Forward, 9)).unwrap().is_empty());
    drop(store);
    let store = open(directory.path());
    assert_eq!(everything(&store).len() as u64, written);
    append(&store, "a", Expected::Exact(written - 1), &[written]).unwrap();
}

#[test]
fn writing_goes_on_after_a_full_disk_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { max_pages: Some(40), ..Options::default() };
    let store = SqliteStore::open(directory.path(), options).unwrap();
    // Too large for the room there is, so it is refused whole; a small one still fits after it.
    append(&store, "a", Expected::NoStream, &[0]).unwrap();
    let large: Vec<NewEvent> = (1_000..2_000).map(event).collect();
    let refused = wait(store.append("a", Expected::Exact(0), large)).unwrap_err();
    assert!(matches!(refused, AppendError::Unavailable(_)), "{refused}");
    let appended = append(&store, "a", Expected::Exact(0), &[1]).unwrap();
    assert_eq!((appended.revision, appended.position.raw()), (1, 2));
    append(&store, "b", Expected::NoStream, &[2]).unwrap();
    drop(store);
    assert_eq!(everything(&open(directory.path())).len(), 3);
}

#[test]
fn an_append_undone_with_its_neighbour_succeeds_when_it_is_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { max_pages: Some(100), ..Options::default() };
    let store = SqliteStore::open(directory.path(), options).unwrap();
    let large: Vec<NewEvent> = (1_000..2_000).map(event).collect();
    let mut undone = 0;
    for round in 0..20 {
        // While the first is being committed the other two wait and share a transaction.
        let stream = format!("small-{round}");
        let first = store.append(&format!("first-{round}"), Expected::NoStream, vec![event(round)]);
        let small = store.append(&stream, Expected::NoStream, vec![event(100 + round)]);
        let too_large = store.append("large", Expected::NoStream, large.clone());
        let small = wait(async { (first.await, small.await, too_large.await.unwrap_err()).1 });
        undone += u32::from(small.is_err());
        append(&store, &stream, Expected::NoStream, &[100 + round]).unwrap();
    }
    assert!(undone > 0);
}

#[test]
fn too_little_free_space_is_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    drop(filled(directory.path(), 3));
    let options = Options { min_free_bytes: u64::MAX, ..Options::default() };
    let store = SqliteStore::open(directory.path(), options).unwrap();
    let refused = append(&store, "a", Expected::NoStream, &[9]).unwrap_err();
    let AppendError::Unavailable(why) = refused else { panic!("{refused}") };
    assert!(why.contains("free space"), "{why}");
    assert_eq!(store.stopped(), None);
    assert_eq!(everything(&store).len(), 3);
}

#[test]
fn a_failed_commit_stops_all_writing_until_the_log_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    drop(filled(directory.path(), 3));
    let refuse = Arc::new(AtomicBool::new(false));
    let options = Options { refuse_commits: Some(Arc::clone(&refuse)), ..Options::default() };
    let store = SqliteStore::open(directory.path(), options).unwrap();
    append(&store, "a", Expected::NoStream, &[10]).unwrap();
    let mut live = store.subscribe_all(None, Filter::All);
    assert!(matches!(wait(live.next()), Ok(Delivery::Events(events)) if events.len() == 4));
    assert_eq!(wait(live.next()), Ok(Delivery::CaughtUp));

    refuse.store(true, Ordering::Relaxed);
    let lost: Vec<NewEvent> = (11..15).map(event).collect();
    let unknown = wait(store.append("a", Expected::Exact(0), lost.clone())).unwrap_err();
    assert!(matches!(unknown, AppendError::OutcomeUnknown(_)), "{unknown}");

    // The cause has gone, the writer does not trust it.
    refuse.store(false, Ordering::Relaxed);
    for stream in ["a", "b"] {
        let refused = append(&store, stream, Expected::NoStream, &[20]).unwrap_err();
        assert!(matches!(refused, AppendError::Unavailable(_)), "{refused}");
    }
    assert!(store.stopped().unwrap().contains("commit failed"));
    assert!(!store.stopped().unwrap().contains("INSERT"));

    // Nothing of it was served meanwhile.
    assert_eq!(everything(&store).len(), 4);
    assert_eq!(wait(store.read_stream("a", None, Direction::Forward, 9)).unwrap().len(), 1);
    assert_eq!(wait(store.head()).unwrap().unwrap().raw(), 4);
    assert!(live.next().now_or_never().is_none());
    drop((store, live));

    // All of it is there or none; the retry with the same ids settles which.
    let store = open(directory.path());
    let found = wait(store.read_stream("a", None, Direction::Forward, 9)).unwrap().len();
    assert!(found == 1 || found == 5, "{found} events");
    let settled = wait(store.append("a", Expected::Exact(0), lost)).unwrap();
    assert_eq!((settled.revision, settled.position.raw()), (4, 8));
}

#[test]
fn every_append_of_a_failed_commit_hears_that_its_outcome_is_unknown() {
    let directory = tempfile::tempdir().unwrap();
    let refuse = Arc::new(AtomicBool::new(true));
    let options = Options { refuse_commits: Some(refuse), ..Options::default() };
    let store = SqliteStore::open(directory.path(), options).unwrap();
    let asked: Vec<_> =
        (0..200).map(|id| store.append(&format!("s{id}"), Expected::NoStream, vec![event(id)])).collect();
    let answers: Vec<_> = asked.into_iter().map(wait).collect();
    let unknown =
        answers.iter().filter(|answer| matches!(answer, Err(AppendError::OutcomeUnknown(_)))).count();
    let unavailable =
        answers.iter().filter(|answer| matches!(answer, Err(AppendError::Unavailable(_)))).count();
    assert!(unknown >= 1);
    assert_eq!(unknown + unavailable, 200);
    assert!(everything(&store).is_empty());
    drop(store);
    assert!(everything(&open(directory.path())).is_empty());
}
