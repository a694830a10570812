//! Damage to the files: always noticed, named, and never repaired.

use std::fs;
use std::path::Path;

use futures_util::FutureExt;
use keyledger::store::sqlite::OpenError;
use keyledger::store::{Delivery, Direction, EventStore, Filter, ReadError};
use rusqlite::Connection;

use crate::{crashed, everything, filled, log, open, refusal, wait};

/// Finds a text in a file, from its end, and flips one bit of its first byte.
fn flip(path: &Path, text: &str) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(text.len()).rposition(|window| window == text.as_bytes()).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn flip_at(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn damage_of(directory: &Path) -> String {
    let before = fs::read(log(directory)).unwrap();
    let refused = refusal(directory);
    let OpenError::Damaged { what, .. } = &refused else { panic!("{refused}") };
    assert!(!refused.to_string().contains("SELECT"));
    assert_eq!(fs::read(log(directory)).unwrap(), before, "the damaged file was changed");
    what.clone()
}

fn alter(directory: &Path, statement: &str) {
    let database = Connection::open(log(directory)).unwrap();
    database.execute_batch(statement).unwrap();
    database.close().unwrap();
}

#[test]
fn a_flipped_bit_in_any_part_of_an_event_is_found_and_located() {
    let parts = [
        // Payload, at its start and its end.
        ("UPDATE events SET bytes = CAST('q' || substr(bytes, 2) AS BLOB) WHERE position = 20", 20),
        (
            "UPDATE events SET bytes = CAST(substr(bytes, 1, length(bytes) - 1) AS BLOB) WHERE position = 30",
            30,
        ),
        ("UPDATE events SET type = 'thing.hapqened' WHERE position = 1", 1),
        ("UPDATE events SET id = x'00000000000000000000000000000001' WHERE position = 7", 7),
        ("UPDATE events SET id = x'00' WHERE position = 8", 8),
        ("UPDATE events SET sum = x'0000000000000000' WHERE position = 2", 2),
        ("UPDATE events SET stream = 'stream-9' WHERE position = 3", 3),
    ];
    for (statement, position) in parts {
        let directory = tempfile::tempdir().unwrap();
        drop(filled(directory.path(), 30));
        alter(directory.path(), statement);
        let what = damage_of(directory.path());
        // Streams are checked at the same time, and either may be the first to notice.
        assert!(what.contains(&format!("position {position}:")) || what.contains("stream "), "{what}");
    }
}

#[test]
fn a_flipped_bit_in_the_file_is_found_and_located() {
    for id in [0_u64, 13, 29] {
        let directory = tempfile::tempdir().unwrap();
        drop(filled(directory.path(), 30));
        flip(&log(directory.path()), &format!("payload of event {id:016}"));
        let what = damage_of(directory.path());
        let place = format!("position {}: stream stream-{}, revision {}", id + 1, id % 3, id / 3);
        assert!(what.contains(&place), "{what}");
    }
}

#[test]
fn a_row_deleted_anywhere_but_at_the_end_is_found() {
    for position in [1, 2, 15, 29] {
        let directory = tempfile::tempdir().unwrap();
        drop(filled(directory.path(), 30));
        alter(directory.path(), &format!("DELETE FROM events WHERE position = {position}"));
        let what = damage_of(directory.path());
        assert!(what.contains("missing"), "{what}");
    }
}

#[test]
fn an_index_that_disagrees_with_the_events_is_found() {
    let directory = tempfile::tempdir().unwrap();
    drop(filled(directory.path(), 30));
    // The last entry of a stream leaves no gap behind; only the comparison with the events finds it.
    alter(
        directory.path(),
        "PRAGMA writable_schema = on;
         CREATE TABLE decoy (position INTEGER PRIMARY KEY, stream TEXT, revision INTEGER);
         INSERT INTO decoy SELECT position, stream, revision FROM events WHERE position < 30;
         CREATE UNIQUE INDEX decoy_by_stream ON decoy (stream, revision);
         UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'decoy_by_stream')
            WHERE name = 'events_by_stream';
         DELETE FROM sqlite_schema WHERE name IN ('decoy', 'decoy_by_stream');",
    );
    let what = damage_of(directory.path());
    assert!(what.contains("index of streams"), "{what}");
}

#[test]
fn a_truncated_file_is_damaged_however_short() {
    for keep in [0, 50, 100, 4_096, 9_000, 20_480] {
        let directory = tempfile::tempdir().unwrap();
        drop(filled(directory.path(), 60));
        let file = fs::OpenOptions::new().write(true).open(log(directory.path())).unwrap();
        assert!(file.metadata().unwrap().len() > keep);
        file.set_len(keep).unwrap();
        damage_of(directory.path());
    }
}

#[test]
fn a_page_of_garbage_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    drop(filled(directory.path(), 60));
    let mut bytes = fs::read(log(directory.path())).unwrap();
    let middle = bytes.len() / 4_096 / 2 * 4_096;
    bytes[middle..middle + 4_096].fill(0xa5);
    fs::write(log(directory.path()), bytes).unwrap();
    damage_of(directory.path());
}

#[test]
fn a_write_ahead_log_without_its_log_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), 3);
    let left = crashed(directory.path());
    drop(store);
    fs::remove_file(log(left.path())).unwrap();
    assert!(matches!(refusal(left.path()), OpenError::Damaged { .. }));
    assert!(!log(left.path()).exists());
}

#[test]
fn after_a_crash_every_answered_event_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), 30);
    let left = crashed(directory.path());
    assert_eq!(everything(&open(left.path())), everything(&store));
}

#[test]
fn a_torn_end_of_the_write_ahead_log_loses_only_what_was_torn() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), 30);
    let every = everything(&store);
    let left = crashed(directory.path());
    let wal = left.path().join("events.db-wal");
    let length = fs::metadata(&wal).unwrap().len();
    // The last commit is cut off in its last frame.
    fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(length - 100).unwrap();
    let torn = open(left.path());
    assert_eq!(everything(&torn), every[..29]);
    drop(torn);
    // The last commit is there in part: its last frame is, the one before is not.
    let left = crashed(directory.path());
    let wal = left.path().join("events.db-wal");
    flip_at(&wal, usize::try_from(length).unwrap() - 4_096 - 24 - 1_000);
    assert_eq!(everything(&open(left.path())), every[..29]);
}

#[test]
fn damage_in_the_middle_of_the_write_ahead_log_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), 30);
    let frame = 4_096 + 24;
    let length = fs::read(directory.path().join("events.db-wal")).unwrap().len();
    let frames = (length - 32) / frame;
    // In the first frame, in the middle, a few commits before the end; in headers and in pages.
    for at in
        [0, 9, 32, 32 + 4, 32 + 10, 32 + 500, 32 + frames / 2 * frame + 17, 32 + (frames - 8) * frame + 3_000]
    {
        let left = crashed(directory.path());
        flip_at(&left.path().join("events.db-wal"), at);
        let what = damage_of(left.path());
        assert!(what.contains("write-ahead log"), "{what}");
    }
    drop(store);
}

#[test]
fn damage_that_happens_while_the_log_is_open_is_met_by_its_readers_only() {
    let directory = tempfile::tempdir().unwrap();
    drop(filled(directory.path(), 30));
    let store = open(directory.path());
    flip(&log(directory.path()), &format!("payload of event {:016}", 12));
    let damaged = |error| matches!(error, ReadError::Damaged { position, .. } if position.raw() == 13);
    assert!(damaged(wait(store.read_stream("stream-0", None, Direction::Forward, 99)).unwrap_err()));
    assert!(damaged(wait(store.read_all(None, Filter::All, 99)).unwrap_err()));
    // A filter does not hide it.
    let rare = Filter::Types(vec!["rare".into()]);
    assert!(damaged(wait(store.read_all(None, rare, 99)).unwrap_err()));
    assert_eq!(wait(store.read_stream("stream-1", None, Direction::Forward, 99)).unwrap().len(), 10);
    assert_eq!(wait(store.read_all(None, Filter::All, 12)).unwrap().len(), 12);
    // A subscription delivers what comes before, then says so, each time it is asked.
    let mut subscription = store.subscribe_all(None, Filter::All);
    let Delivery::Events(before) = wait(subscription.next()).unwrap() else {
        panic!("nothing was delivered")
    };
    assert_eq!(before.len(), 12);
    for _ in 0..2 {
        assert!(damaged(wait(subscription.next()).unwrap_err()));
    }
    assert!(store.stopped().is_none());
    assert!(subscription.next().now_or_never().is_none_or(|delivery| delivery.is_err()));
}
