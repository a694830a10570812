//! Whoever follows entries is handed those of the list, in its order, each once, however pages and steps mix.

use std::time::Duration;

use keyledger::readmodel::{EntryQuery, Mark, Sequence, Window};
use keyledger_schema::EventId;
use proptest::prelude::*;

use crate::world::{self, Step, Wish, World, organization, workspace};

fn queries() -> Vec<EntryQuery> {
    let own = EntryQuery { sequence: Sequence::Ascending, ..EntryQuery::new(organization(0)) };
    vec![
        own.clone(),
        EntryQuery { workspaces: Some(vec![workspace(0, 1)]), ..own.clone() },
        EntryQuery { workspaces: Some(Vec::new()), ..own.clone() },
        EntryQuery { types: vec!["key.revoked".into(), "command.refused".into()], ..own },
        EntryQuery { sequence: Sequence::Ascending, ..EntryQuery::new(organization(1)) },
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn followers_see_the_list_once_and_in_order(
        rounds in prop::collection::vec((prop::collection::vec(world::step(), 0..12), 1usize..7), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let mut world = World::new();
            let model = world.open(directory.path());
            let mut followers: Vec<(Mark, Vec<EventId>)> = vec![(Mark::START, Vec::new()); queries().len()];
            for (steps, max) in rounds {
                for step in steps {
                    world.step(step);
                }
                model.wait_applied(world.last, Duration::from_mins(1)).await.unwrap();
                for (query, (mark, seen)) in queries().into_iter().zip(&mut followers) {
                    loop {
                        let followed = model.follow(query.clone(), *mark, max).await.unwrap();
                        prop_assert!(followed.entries.len() <= max && followed.mark >= *mark);
                        seen.extend(followed.entries.iter().map(|entry| entry.id));
                        *mark = followed.mark;
                        // A cursor stands for the same place.
                        if let Some(cursor) = mark.cursor() {
                            prop_assert_eq!(model.mark(&cursor).unwrap(), *mark);
                        }
                        if followed.at_end {
                            break;
                        }
                    }
                }
            }
            for (query, (_, seen)) in queries().into_iter().zip(&followers) {
                let listed = model.entries(EntryQuery { window: Window::first(1_000), ..query }).await.unwrap();
                let listed: Vec<EventId> = listed.items.iter().map(|item| item.node.id).collect();
                prop_assert_eq!(&listed, seen);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_follower_is_woken_by_its_own_organization_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let model = world.open(directory.path());
    model.wait_applied(world.last, Duration::from_mins(1)).await.unwrap();
    let end = model.now();
    let waits = |patience| model.wait_for_entries(organization(0), end, Duration::from_millis(patience));
    world.issue(Wish { organization: 1, ..Wish::named("theirs") });
    model.wait_applied(world.last, Duration::from_mins(1)).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(200), waits(10_000)).await.is_err());
    world.step(Step::Issue(Wish::named("ours")));
    tokio::time::timeout(Duration::from_mins(1), waits(60_000)).await.unwrap();
    let query = EntryQuery::new(organization(0));
    let followed = model.follow(query, end, 10).await.unwrap();
    assert_eq!(followed.entries.len(), 1);
    assert_eq!(followed.entries[0].event_type, "key.issued");
}
