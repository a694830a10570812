//! Any sequence of appends and reopenings gives what a plain list would.

use std::collections::HashMap;

use keyledger::store::{AppendError, Direction, EventStore, Expected};
use proptest::prelude::*;

use crate::{append, everything, open, wait};

#[derive(Clone, Debug)]
enum Step {
    /// Append so many new events to a stream, expecting its revision plus this many.
    Append {
        stream: u8,
        events: usize,
        off_by: i64,
    },
    /// Send an earlier append again.
    Retry {
        earlier: prop::sample::Index,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_u8, 1..5_usize, prop_oneof![4 => Just(0), 1 => -3..4_i64])
            .prop_map(|(stream, events, off_by)| Step::Append { stream, events, off_by }),
        3 => any::<prop::sample::Index>().prop_map(|earlier| Step::Retry { earlier }),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_log_is_what_a_plain_list_would_be(steps in prop::collection::vec(step(), 1..40)) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let mut log: Vec<(String, u64)> = Vec::new();
        let mut streams: HashMap<String, u64> = HashMap::new();
        let mut accepted = Vec::new();
        let mut next_id = 0;
        for step in steps {
            match step {
                Step::Append { stream, events, off_by } => {
                    let stream = format!("stream-{stream}");
                    let current = streams.get(&stream).copied();
                    let believed = current.map_or(-1, u64::cast_signed) + off_by;
                    let expected = Expected::after(u64::try_from(believed).ok());
                    let ids: Vec<u64> = (next_id..).take(events).collect();
                    next_id += events as u64;
                    let answer = append(&store, &stream, expected, &ids);
                    if expected == Expected::after(current) {
                        let answer = answer.unwrap();
                        log.extend(ids.iter().map(|id| (stream.clone(), *id)));
                        prop_assert_eq!(answer.revision, current.map_or(0, |current| current + 1) + events as u64 - 1);
                        prop_assert_eq!(answer.position.raw(), log.len() as u64);
                        streams.insert(stream.clone(), answer.revision);
                        accepted.push((stream, expected, ids, answer));
                    } else {
                        prop_assert_eq!(answer, Err(AppendError::Conflict { current }));
                    }
                }
                Step::Retry { earlier } => {
                    if !accepted.is_empty() {
                        let (stream, expected, ids, answer) = earlier.get(&accepted);
                        prop_assert_eq!(append(&store, stream, *expected, ids), Ok(*answer));
                    }
                }
                Step::Reopen => {
                    drop(store);
                    store = open(directory.path());
                }
            }
        }
        let recorded = everything(&store);
        let found: Vec<_> = recorded.iter().map(|event| (event.stream.to_string(), event.id)).collect();
        let log: Vec<_> = log.into_iter().map(|(stream, id)| (stream, crate::event(id).id)).collect();
        prop_assert_eq!(found, log);
        for stream in streams.keys() {
            let read = wait(store.read_stream(stream, None, Direction::Forward, usize::MAX)).unwrap();
            prop_assert!(read.iter().eq(recorded.iter().filter(|event| *event.stream == **stream)));
        }
    }
}
