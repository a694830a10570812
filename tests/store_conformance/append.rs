//! Compare and swap, retries, and wholeness of an append.

use std::sync::Barrier;
use std::thread;

use keyledger::store::{AppendError, Expected};

use crate::{Store, append, assert_same, event, events, everything, stream, wait};

pub(crate) fn revisions_are_dense_and_positions_grow(store: &Store) {
    let first = append(store, "a", Expected::NoStream, &events(2)).unwrap();
    let second = append(store, "b", Expected::NoStream, &events(1)).unwrap();
    let third = append(store, "a", Expected::Exact(1), &events(3)).unwrap();
    assert_eq!([first.revision, second.revision, third.revision], [1, 0, 4]);
    let all = everything(store);
    assert!(all.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(stream(store, "a").iter().map(|e| e.revision).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(all[1].position, first.position);
    assert_eq!(all[2].position, second.position);
    assert_eq!(all[5].position, third.position);
}

pub(crate) fn of_many_writers_at_one_revision_exactly_one_wins(store: &Store) {
    const WRITERS: usize = 8;
    const ROUNDS: u64 = 100;
    let barrier = Barrier::new(WRITERS);
    let winners: usize = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut won = 0;
                    for round in 0..ROUNDS {
                        barrier.wait();
                        match append(store, "raced", Expected::after(round.checked_sub(1)), &events(1)) {
                            Ok(appended) => {
                                assert_eq!(appended.revision, round);
                                won += 1;
                            }
                            Err(error) => assert_eq!(error, AppendError::Conflict { current: Some(round) }),
                        }
                        barrier.wait();
                    }
                    won
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert_eq!(winners as u64, ROUNDS);
    assert_eq!(stream(store, "raced").len() as u64, ROUNDS);
}

pub(crate) fn writers_who_reload_on_conflict_lose_nothing(store: &Store) {
    let written = thread::scope(|scope| {
        let writers: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = None;
                    let mine = events(50);
                    for event in &mine {
                        while let Err(error) =
                            append(store, "shared", Expected::after(last), std::slice::from_ref(event)).map(
                                |appended| {
                                    last = Some(appended.revision);
                                },
                            )
                        {
                            let AppendError::Conflict { current } = error else { panic!("{error}") };
                            assert!(current > last);
                            last = current;
                        }
                    }
                    mine.into_iter().map(|event| event.id).collect::<Vec<_>>()
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    let recorded = stream(store, "shared");
    assert_eq!(recorded.len(), written.len());
    assert!(written.iter().all(|id| recorded.iter().any(|event| event.id == *id)));
    assert!(recorded.iter().zip(0..).all(|(event, revision)| event.revision == revision));
}

pub(crate) fn a_new_stream_is_created_once(store: &Store) {
    let results = thread::scope(|scope| {
        let writers: Vec<_> =
            (0..8).map(|_| scope.spawn(|| append(store, "new", Expected::NoStream, &events(2)))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(stream(store, "new").len(), 2);
}

pub(crate) fn no_stream_is_refused_on_a_stream_that_exists(store: &Store) {
    append(store, "a", Expected::NoStream, &events(3)).unwrap();
    let refused = append(store, "a", Expected::NoStream, &events(1));
    assert_eq!(refused, Err(AppendError::Conflict { current: Some(2) }));
    assert_eq!(everything(store).len(), 3);
}

pub(crate) fn a_revision_behind_or_ahead_is_a_conflict_that_names_the_current_one(store: &Store) {
    for revision in [0, 1, u64::MAX] {
        let refused = append(store, "a", Expected::Exact(revision), &events(1));
        assert_eq!(refused, Err(AppendError::Conflict { current: None }));
    }
    append(store, "a", Expected::NoStream, &events(3)).unwrap();
    for revision in [0, 1, 3, 4, i64::MAX.cast_unsigned(), u64::MAX - 1, u64::MAX] {
        let refused = append(store, "a", Expected::Exact(revision), &events(1));
        assert_eq!(refused, Err(AppendError::Conflict { current: Some(2) }));
    }
    assert_eq!(everything(store).len(), 3);
}

pub(crate) fn the_same_ids_again_answer_as_the_first_time(store: &Store) {
    let (first, second) = (events(3), events(2));
    let one = append(store, "a", Expected::NoStream, &first).unwrap();
    let two = append(store, "a", Expected::Exact(2), &second).unwrap();
    assert_eq!(append(store, "a", Expected::NoStream, &first), Ok(one));
    assert_eq!(append(store, "a", Expected::Exact(2), &second), Ok(two));
    assert_same(&stream(store, "a"), &[first, second].concat());
}

pub(crate) fn a_retry_answers_the_same_after_others_have_appended(store: &Store) {
    let mine = events(2);
    let appended = append(store, "a", Expected::NoStream, &mine).unwrap();
    append(store, "b", Expected::NoStream, &events(1)).unwrap();
    append(store, "a", Expected::Exact(1), &events(4)).unwrap();
    assert_eq!(append(store, "a", Expected::NoStream, &mine), Ok(appended));
    assert_eq!(everything(store).len(), 7);
}

pub(crate) fn a_retry_of_the_first_ids_only_answers_for_them(store: &Store) {
    append(store, "a", Expected::NoStream, &events(1)).unwrap();
    let mine = events(3);
    append(store, "a", Expected::Exact(0), &mine).unwrap();
    let retried = append(store, "a", Expected::Exact(0), &mine[..2]).unwrap();
    assert_eq!(retried.revision, 2);
    assert_eq!(retried.position, stream(store, "a")[2].position);
    assert_eq!(everything(store).len(), 4);
}

pub(crate) fn the_first_ids_followed_by_new_ones_are_a_conflict(store: &Store) {
    let mine = events(2);
    append(store, "a", Expected::NoStream, &mine).unwrap();
    let longer = [&mine[..], &events(1)].concat();
    let conflict = Err(AppendError::Conflict { current: Some(1) });
    assert_eq!(append(store, "a", Expected::NoStream, &longer), conflict);
    let other = [mine[0].clone(), event("other")];
    assert_eq!(append(store, "a", Expected::NoStream, &other), conflict);
    assert_same(&stream(store, "a"), &mine);
}

pub(crate) fn ids_that_stand_elsewhere_in_the_stream_are_a_conflict(store: &Store) {
    let mine = events(3);
    append(store, "a", Expected::NoStream, &mine).unwrap();
    let conflict = Err(AppendError::Conflict { current: Some(2) });
    assert_eq!(append(store, "a", Expected::NoStream, &mine[1..]), conflict);
    assert_eq!(append(store, "a", Expected::Exact(0), &mine[..1]), conflict);
    assert_eq!(append(store, "a", Expected::Exact(1), &mine[1..]), conflict);
}

pub(crate) fn the_same_retry_sent_many_times_at_once_is_written_once(store: &Store) {
    for _ in 0..30 {
        let mine = events(2);
        let last = stream(store, "a").last().map(|event| event.revision);
        let asked: Vec<_> = (0..8).map(|_| store.append("a", Expected::after(last), mine.clone())).collect();
        let answers: Vec<_> = asked.into_iter().map(|asked| wait(asked).unwrap()).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]));
    }
    assert_eq!(everything(store).len(), 60);
}

pub(crate) fn an_append_is_whole_or_not_at_all(store: &Store) {
    // Of each pair of racing appends one is refused; not one of its events may be there.
    let mut last = None;
    for _ in 0..30 {
        let pair = [events(7), events(5)];
        let asked = pair.clone().map(|events| store.append("a", Expected::after(last), events));
        let answers = asked.map(wait);
        let before = last.map_or(0, |last| last + 1);
        let winner = answers.iter().position(Result::is_ok).unwrap();
        assert!(answers[1 - winner].is_err());
        let recorded = stream(store, "a").split_off(usize::try_from(before).unwrap());
        assert_same(&recorded, &pair[winner]);
        last = Some(answers[winner].as_ref().unwrap().revision);
    }
}

pub(crate) fn an_append_goes_on_when_its_answer_is_not_awaited(store: &Store) {
    let mine = events(1);
    drop(store.append("a", Expected::NoStream, mine.clone()));
    // Behind it in the same stream, so it has been decided when this is answered.
    append(store, "a", Expected::Exact(0), &events(1)).unwrap();
    assert_same(&stream(store, "a")[..1], &mine);
}

pub(crate) fn the_head_is_the_last_position(store: &Store) {
    assert_eq!(wait(store.head()), Ok(None));
    let appended = append(store, "a", Expected::NoStream, &events(3)).unwrap();
    assert_eq!(wait(store.head()), Ok(Some(appended.position)));
    append(store, "a", Expected::NoStream, &events(1)).unwrap_err();
    assert_eq!(wait(store.head()), Ok(Some(appended.position)));
}
