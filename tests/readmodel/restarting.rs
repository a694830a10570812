//! Whenever the process ends, the next one goes on where it was.

use std::sync::Arc;

use keyledger::readmodel::FILE_NAME;
use proptest::prelude::*;

use crate::world::{self, Seen, Wish, World};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_history_in_pieces_gives_what_it_gives_in_one_go(
        steps in prop::collection::vec(world::step(), 1..60),
        splits in prop::collection::vec((0usize..60, any::<bool>()), 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (pieces, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let mut world = World::new();
            let mut open = None;
            for (n, step) in steps.into_iter().enumerate() {
                for (_, live) in splits.iter().filter(|(at, _)| *at == n) {
                    // Either the model follows what comes next, or it has to catch up later.
                    drop(open.take());
                    open = Some(world.open(pieces.path())).filter(|_| *live);
                }
                world.step(step);
            }
            drop(open);

            let seen = Arc::new(Seen::default());
            let model = world.open_watched(pieces.path(), Arc::clone(&seen));
            world::settle(&model, &world).await;
            let in_pieces = world::everything(&model, &world).await;

            let once = Arc::new(Seen::default());
            let fresh = world.open_watched(whole.path(), Arc::clone(&once));
            world::settle(&fresh, &world).await;
            assert_eq!(in_pieces, world::everything(&fresh, &world).await);
            assert_eq!(*seen.keys.lock().unwrap(), *once.keys.lock().unwrap());
            assert_eq!(*seen.organizations.lock().unwrap(), *once.organizations.lock().unwrap());
            assert_eq!(*seen.workspaces.lock().unwrap(), *once.workspaces.lock().unwrap());
        });
    }
}

#[tokio::test]
async fn a_round_of_usage_that_was_half_written_is_finished_and_not_counted_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    for _ in 0..40 {
        world.issue(Wish::named("a"));
    }
    for n in 0..200 {
        world.used(&[(n, 1, true), (n + 7, 2, false)]);
    }
    let model = world.open(directory.path());
    world::settle(&model, &world).await;
    let expected = world::everything(&model, &world).await;
    drop(model);

    // As if the process had ended between two transactions of its only round.
    let connection = rusqlite::Connection::open(directory.path().join(FILE_NAME)).unwrap();
    let rounds: i64 =
        connection.query_row("SELECT count(DISTINCT through) FROM key_usage", [], |row| row.get(0)).unwrap();
    assert_eq!(rounds, 1);
    let rows = connection
        .execute(
            "DELETE FROM key_usage WHERE seq IN (SELECT seq FROM key_usage ORDER BY seq LIMIT -1 OFFSET 17)",
            [],
        )
        .unwrap();
    assert_eq!(rows, 23);
    connection.execute("UPDATE usage_meta SET ahead = position, position = NULL, events = 0", []).unwrap();
    drop(connection);
    // What came later belongs to the next round.
    world.used(&[(0, 5, true)]);
    let model = world.open(directory.path());
    world::settle(&model, &world).await;
    let usage = model.key(world.keys[0].0).await.unwrap().unwrap().usage.unwrap();
    drop(model);

    let fresh = tempfile::tempdir().unwrap();
    let model = world.open(fresh.path());
    world::settle(&model, &world).await;
    assert_eq!(model.key(world.keys[0].0).await.unwrap().unwrap().usage.unwrap(), usage);
    let again = world.open(directory.path());
    assert_eq!(world::everything(&again, &world).await, world::everything(&model, &world).await);
    assert_ne!(world::everything(&again, &world).await, expected);
}
