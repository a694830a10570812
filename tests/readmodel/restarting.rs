//! Whenever the process ends, the next one goes on where it was.

use std::sync::Arc;

use proptest::prelude::*;

use crate::world::{self, Seen, World};

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
