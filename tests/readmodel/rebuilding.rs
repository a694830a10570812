//! A file that is missing, damaged or another log's is made anew, and says the same as before.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use keyledger::readmodel::{FILE_NAME, OpenError, Progress, ReadModel};
use keyledger_schema::Stream;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::world::{self, Everything, Seen, Step, Wish, World};

fn history(events: usize) -> World {
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(world::step(), events).new_tree(&mut runner).unwrap().current();
    let mut world = World::new();
    for step in steps {
        world.step(step);
    }
    world
}

async fn told(world: &World, directory: &Path) -> Everything {
    let seen = Arc::new(Seen::default());
    let model = world.open_watched(directory, Arc::clone(&seen));
    world::settle(&model, world).await;
    assert_eq!(seen.keys.lock().unwrap().len(), world.keys.len());
    let keys = seen.keys.lock().unwrap().clone();
    for (id, state) in keys {
        assert_eq!(state, model.key(id).await.unwrap().unwrap().state);
    }
    world::everything(&model, world).await
}

fn edit(directory: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(directory.join(FILE_NAME)).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_deleted_file_is_rebuilt() {
    let (world, directory) = (history(400), tempfile::tempdir().unwrap());
    let before = told(&world, directory.path()).await;
    for file in fs::read_dir(directory.path()).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    assert_eq!(told(&world, directory.path()).await, before);
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_rebuilt() {
    let (world, directory) = (history(100), tempfile::tempdir().unwrap());
    let before = told(&world, directory.path()).await;
    fs::write(directory.path().join(FILE_NAME), b"these are not the tables that you look for").unwrap();
    assert_eq!(told(&world, directory.path()).await, before);
}

#[tokio::test]
async fn a_file_with_any_page_overwritten_is_rebuilt_or_unharmed() {
    let (world, directory) = (history(400), tempfile::tempdir().unwrap());
    let before = told(&world, directory.path()).await;
    let file = directory.path().join(FILE_NAME);
    edit(directory.path(), "PRAGMA wal_checkpoint(TRUNCATE)");
    let whole = fs::read(&file).unwrap();
    let open = || {
        ReadModel::open(
            directory.path(),
            Arc::clone(&world.store) as _,
            Arc::new(Seen::default()),
            Progress::Silent,
            world::settings(),
        )
    };
    for page in 0..whole.len() / 4096 {
        let mut damaged = whole.clone();
        damaged[page * 4096..][..4096].fill(0x5a);
        fs::write(&file, damaged).unwrap();
        // Damage to indexes and to entries may lie hidden; states are told right or not at all.
        let seen = Arc::new(Seen::default());
        let model = world.open_watched(directory.path(), Arc::clone(&seen));
        assert_eq!(model.keys_count(), world.keys.len() as u64);
        assert_eq!(seen.keys.lock().unwrap().len(), world.keys.len());
        drop(model);
    }
    fs::write(&file, whole).unwrap();
    drop(open().unwrap());
    assert_eq!(told(&world, directory.path()).await, before);
}

#[tokio::test]
async fn a_state_with_a_changed_byte_is_never_told() {
    let (world, directory) = (history(100), tempfile::tempdir().unwrap());
    let before = told(&world, directory.path()).await;
    {
        let connection = rusqlite::Connection::open(directory.path().join(FILE_NAME)).unwrap();
        let (seq, mut state): (i64, Vec<u8>) = connection
            .query_row("SELECT seq, state FROM keys ORDER BY seq DESC", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        // In the middle, where a changed byte may well make another state.
        state[180] ^= 1;
        connection.execute("UPDATE keys SET state = ?2 WHERE seq = ?1", (seq, state)).unwrap();
    }
    assert_eq!(told(&world, directory.path()).await, before);
}

#[tokio::test]
async fn a_file_with_a_key_too_few_is_rebuilt() {
    let (world, directory) = (history(100), tempfile::tempdir().unwrap());
    let before = told(&world, directory.path()).await;
    edit(directory.path(), "DELETE FROM keys WHERE seq = (SELECT max(seq) FROM keys)");
    assert_eq!(told(&world, directory.path()).await, before);
}

#[tokio::test]
async fn a_file_of_another_layout_is_rebuilt() {
    let (world, directory) = (history(100), tempfile::tempdir().unwrap());
    let before = told(&world, directory.path()).await;
    edit(directory.path(), "PRAGMA user_version = 4711; DROP TABLE key_usage");
    assert_eq!(told(&world, directory.path()).await, before);
}

/// Why the file is not accepted beside this log.
fn refused(world: &World, directory: &Path) -> String {
    let store = Arc::clone(&world.store) as _;
    let opened =
        ReadModel::open(directory, store, Arc::new(Seen::default()), Progress::Silent, world::settings());
    assert!(directory.join(FILE_NAME).exists(), "the witness must stay");
    opened.unwrap_err().to_string()
}

#[tokio::test]
async fn a_file_of_another_log_is_a_witness_and_opening_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (history(100), history(60));
    let before = told(&one, directory.path()).await;
    assert!(refused(&other, directory.path()).contains("was made from another log"));
    assert_eq!(told(&one, directory.path()).await, before);
}

#[tokio::test]
async fn a_file_ahead_of_the_log_is_a_witness_and_opening_is_refused() {
    let (world, directory) = (history(100), tempfile::tempdir().unwrap());
    let before = told(&world, directory.path()).await;
    edit(directory.path(), "UPDATE meta SET position = position + 1");
    assert!(refused(&world, directory.path()).contains("delete"));
    fs::remove_file(directory.path().join(FILE_NAME)).unwrap();
    assert_eq!(told(&world, directory.path()).await, before);
}

#[tokio::test]
async fn a_file_whose_last_event_is_not_the_logs_is_a_witness_and_opening_is_refused() {
    let (mut world, directory) = (history(100), tempfile::tempdir().unwrap());
    told(&world, directory.path()).await;
    edit(
        directory.path(),
        "UPDATE entries SET id = zeroblob(16) WHERE log_index = (SELECT max(log_index) FROM entries)",
    );
    world.issue(Wish::named("later"));
    assert!(refused(&world, directory.path()).contains("in their place"));
}

#[tokio::test]
async fn what_the_operating_system_refuses_is_an_error_and_deletes_nothing() {
    let (world, directory) = (history(10), tempfile::tempdir().unwrap());
    fs::create_dir(directory.path().join(FILE_NAME)).unwrap();
    let store = Arc::clone(&world.store) as _;
    let error = ReadModel::open(
        directory.path(),
        store,
        Arc::new(Seen::default()),
        Progress::Silent,
        world::settings(),
    );
    assert!(matches!(error, Err(OpenError::Engine { .. })), "{error:?}");
    assert!(directory.path().join(FILE_NAME).is_dir());
}

#[tokio::test]
async fn an_event_that_cannot_be_read_keeps_it_closed() {
    let (mut world, directory) = (history(10), tempfile::tempdir().unwrap());
    let id = keyledger_schema::EventId::from_uuid(uuid::Uuid::from_u128(1));
    let stream = Stream::Audit(keyledger_schema::OrganizationId::from_uuid(id.uuid()));
    world.append_bytes(stream, None, id, "audit.imagined".into(), b"{}");
    world.step(Step::Issue(Wish::named("behind it")));
    let store = Arc::clone(&world.store) as _;
    let error = ReadModel::open(
        directory.path(),
        store,
        Arc::new(Seen::default()),
        Progress::Silent,
        world::settings(),
    );
    assert!(
        matches!(&error, Err(OpenError::Stopped(reason)) if reason.contains("cannot be read")),
        "{error:?}"
    );
}
