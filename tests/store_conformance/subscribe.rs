//! Subscriptions: from history into live, without gap or duplicate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use keyledger::store::{Delivery, Expected, Filter, NewEvent, Recorded, Subscription};

use crate::{Store, append, assert_same, event, events, everything, wait};

type Subscribed = Box<dyn Subscription>;

fn next(subscription: &mut Subscribed) -> Delivery {
    wait(subscription.next()).unwrap()
}

/// Takes deliveries until so many events have come; says how often the end was announced on the way.
fn take(subscription: &mut Subscribed, count: usize) -> (Vec<Recorded>, usize) {
    let (mut taken, mut caught_up) = (Vec::new(), 0);
    while taken.len() < count {
        match next(subscription) {
            Delivery::Events(events) => {
                assert!(!events.is_empty());
                taken.extend(events);
            }
            Delivery::CaughtUp => caught_up += 1,
        }
    }
    (taken, caught_up)
}

fn fill(store: &Store, stream: &str, count: usize) {
    let mut last = None;
    let mut left = count;
    while left > 0 {
        let batch = left.min(500);
        last = Some(append(store, stream, Expected::after(last), &events(batch)).unwrap().revision);
        left -= batch;
    }
}

pub(crate) fn an_empty_log_is_caught_up_with_at_once(store: &Store) {
    let mut subscription = store.subscribe_all(None, Filter::All);
    assert_eq!(next(&mut subscription), Delivery::CaughtUp);
    assert!(subscription.next().now_or_never().is_none());
    let written = events(2);
    append(store, "a", Expected::NoStream, &written).unwrap();
    let Delivery::Events(live) = next(&mut subscription) else { panic!("the end was announced twice") };
    assert_same(&live, &written);
}

pub(crate) fn a_subscription_goes_from_history_into_live_once_caught_up(store: &Store) {
    fill(store, "a", 3);
    let mut subscription = store.subscribe_all(None, Filter::All);
    let (history, early) = take(&mut subscription, 3);
    assert_eq!(early, 0);
    assert_eq!(history, everything(store));
    assert_eq!(next(&mut subscription), Delivery::CaughtUp);
    for number in 0..20 {
        let live: [NewEvent; 1] = [event("live")];
        append(store, "b", Expected::after(u64::checked_sub(number, 1)), &live).unwrap();
        let Delivery::Events(delivered) = next(&mut subscription) else {
            panic!("the end was announced twice")
        };
        assert_same(&delivered, &live);
    }
}

pub(crate) fn a_subscription_from_the_middle_starts_strictly_after(store: &Store) {
    fill(store, "a", 10);
    let every = everything(store);
    let mut subscription = store.subscribe_all(Some(every[6].position), Filter::All);
    assert_eq!(take(&mut subscription, 3).0, every[7..]);
    assert_eq!(next(&mut subscription), Delivery::CaughtUp);
    let mut at_end = store.subscribe_all(Some(every[9].position), Filter::All);
    assert_eq!(next(&mut at_end), Delivery::CaughtUp);
    assert!(at_end.next().now_or_never().is_none());
}

pub(crate) fn a_subscription_under_load_has_no_gap_and_no_duplicate(store: &Store) {
    const WRITERS: usize = 4;
    const EACH: usize = 400;
    fill(store, "history", 3_000);
    let subscribers = thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let mut last = None;
                for n in 0..EACH {
                    let appended =
                        append(store, &format!("w{writer}"), Expected::after(last), &events(1 + n % 3))
                            .unwrap();
                    last = Some(appended.revision);
                }
            });
        }
        let total = 3_000 + WRITERS * (0..EACH).map(|n| 1 + n % 3).sum::<usize>();
        let subscribers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(move || {
                    let mut subscription = store.subscribe_all(None, Filter::All);
                    let (taken, caught_up) = take(&mut subscription, total);
                    (taken, caught_up, subscription)
                })
            })
            .collect();
        subscribers.into_iter().map(|subscriber| subscriber.join().unwrap()).collect::<Vec<_>>()
    });
    let every = everything(store);
    for (taken, caught_up, mut subscription) in subscribers {
        assert!(taken == every, "the events differ from the log");
        if caught_up == 0 {
            assert_eq!(next(&mut subscription), Delivery::CaughtUp);
        }
        assert!(caught_up <= 1);
        assert!(subscription.next().now_or_never().is_none());
    }
}

pub(crate) fn caught_up_comes_once_however_long_the_log(store: &Store) {
    fill(store, "a", 7_000);
    let mut subscription = store.subscribe_all(None, Filter::All);
    assert_eq!(take(&mut subscription, 7_000).1, 0);
    assert_eq!(next(&mut subscription), Delivery::CaughtUp);
    fill(store, "b", 5_000);
    assert_eq!(take(&mut subscription, 5_000).1, 0);
    assert!(subscription.next().now_or_never().is_none());
}

pub(crate) fn a_filtered_subscription_catches_up_past_what_it_leaves_out(store: &Store) {
    fill(store, "a", 5_000);
    let mut subscription = store.subscribe_all(None, Filter::Types(vec!["rare".into()]));
    assert_eq!(next(&mut subscription), Delivery::CaughtUp);
    fill(store, "b", 10);
    let rare = [event("rare")];
    append(store, "c", Expected::NoStream, &rare).unwrap();
    assert_same(&take(&mut subscription, 1).0, &rare);
}

pub(crate) fn a_slow_consumer_gets_everything_and_holds_up_nobody(store: &Store) {
    let mut slow = store.subscribe_all(None, Filter::All);
    assert_eq!(next(&mut slow), Delivery::CaughtUp);
    append(store, "first", Expected::NoStream, &events(1)).unwrap();
    let mut taken = take(&mut slow, 1).0;
    // More than any store keeps in memory for live subscribers.
    fill(store, "a", 10_000);
    taken.extend(take(&mut slow, 10_000).0);
    assert!(taken == everything(store), "the events differ from the log");
}

pub(crate) fn a_wait_given_up_loses_nothing(store: &Store) {
    let mut subscription = store.subscribe_all(None, Filter::All);
    assert_eq!(next(&mut subscription), Delivery::CaughtUp);
    let done = AtomicBool::new(false);
    let taken = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut taken = Vec::new();
            while taken.len() < 6_000 {
                let waiting = subscription.next();
                let limited =
                    wait(async { tokio::time::timeout(Duration::from_micros(30), waiting).await.ok() });
                match limited {
                    Some(Ok(Delivery::Events(events))) => taken.extend(events),
                    Some(other) => panic!("{other:?}"),
                    // Given up; only after the last append may it be that nothing more comes.
                    None => assert!(!done.load(Ordering::Relaxed) || taken.len() < 6_000),
                }
            }
            taken
        });
        fill(store, "a", 6_000);
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(taken == everything(store), "the events differ from the log");
}

pub(crate) fn a_subscription_ends_with_its_store(store: &Store) {
    // Only a store of one's own can be dropped here: the one given is borrowed.
    let directory = tempfile::tempdir().unwrap();
    let own: Store = match store.capabilities().name {
        "memory" => Arc::new(keyledger::store::memory::MemoryStore::new()),
        _ => Arc::new(
            keyledger::store::sqlite::SqliteStore::open(directory.path(), crate::Options::default()).unwrap(),
        ),
    };
    append(&own, "a", Expected::NoStream, &events(2)).unwrap();
    let mut subscription = own.subscribe_all(None, Filter::All);
    assert_eq!(take(&mut subscription, 2).0.len(), 2);
    assert_eq!(next(&mut subscription), Delivery::CaughtUp);
    drop(own);
    wait(subscription.next()).unwrap_err();
}
