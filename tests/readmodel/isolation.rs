//! No query of one organization shows anything of another, and none shows more than the caller's
//! workspaces.

use keyledger::readmodel::{EntryQuery, KeyQuery, Window};
use keyledger_schema::{EventId, KeyId};

use crate::world::{self, Wish, World, at, organization, workspace};

/// The same things, under the same names, in both organizations and all workspaces.
fn twins() -> World {
    let mut world = World::new();
    for n in 0..2 {
        for w in 0..2 {
            let root = world.issue(Wish { organization: n, workspace: w, ..Wish::named("same") });
            world.issue(Wish {
                organization: n,
                workspace: w,
                expires_at: Some(90_000),
                created_by: Some(root),
                ..Wish::named("same")
            });
        }
    }
    // Each is refused something about each key, its own or not.
    for (key, ..) in world.keys.clone() {
        world.refuse(0, Some(key));
        world.refuse(1, Some(key));
    }
    world
}

fn key_queries(world: &World, n: u8) -> Vec<KeyQuery> {
    let all = KeyQuery {
        statuses: world::STATUSES.to_vec(),
        window: Window::first(1_000),
        count: true,
        ..KeyQuery::new(organization(n), at(0))
    };
    let mut queries = vec![
        all.clone(),
        KeyQuery { search: Some("same".into()), ..all.clone() },
        KeyQuery { search: Some("@keys".into()), ..all.clone() },
        KeyQuery { search: Some("kl_prod".into()), ..all.clone() },
        KeyQuery { search: Some(String::new()), ..all.clone() },
        KeyQuery { name_contains: Some("s".into()), ..all.clone() },
        KeyQuery { expires_before: Some(at(100_000)), ..all.clone() },
        KeyQuery { unused_since: Some(at(100_000)), ..all.clone() },
        KeyQuery { created_before: Some(at(100_000)), created_after: Some(at(0)), ..all.clone() },
        KeyQuery { unacknowledged: Some(true), ..all.clone() },
        KeyQuery { workspaces: Some(vec![]), ..all.clone() },
    ];
    for m in 0..2 {
        for w in 0..2 {
            let id = workspace(m, w);
            queries.push(KeyQuery { workspace: Some(id), ..all.clone() });
            queries.push(KeyQuery { workspaces: Some(vec![id]), ..all.clone() });
        }
    }
    for (key, ..) in &world.keys {
        queries.push(KeyQuery { search: Some(key.to_string()), ..all.clone() });
        queries.push(KeyQuery { created_by: Some(*key), ..all.clone() });
    }
    let ordered =
        |query: KeyQuery| world::orders().into_iter().map(move |order| KeyQuery { order, ..query.clone() });
    queries.into_iter().flat_map(ordered).collect()
}

#[tokio::test]
async fn lists_of_keys_show_one_organization_and_the_workspaces_in_sight() {
    let directory = tempfile::tempdir().unwrap();
    let world = twins();
    let model = world.open(directory.path());
    for n in 0..2 {
        for query in key_queries(&world, n) {
            let page = model.keys(query.clone()).await.unwrap();
            assert_eq!(page.total, Some(page.items.len() as u64));
            let ids: Vec<_> = page.items.iter().map(|item| item.node.state.id).collect();
            assert_eq!(model.matching(query.clone(), 1_000).await.unwrap(), ids);
            for item in page.items {
                let state = item.node.state;
                assert_eq!(state.organization, organization(n), "{query:?}");
                assert!(query.workspace.is_none_or(|id| id == state.workspace), "{query:?}");
                assert!(
                    query.workspaces.as_ref().is_none_or(|ids| ids.contains(&state.workspace)),
                    "{query:?}"
                );
            }
        }
    }
    // A workspace out of sight stays so when it is asked for by name.
    let hidden = KeyQuery {
        workspaces: Some(vec![workspace(0, 0)]),
        workspace: Some(workspace(0, 1)),
        count: true,
        ..KeyQuery::new(organization(0), at(0))
    };
    let page = model.keys(hidden).await.unwrap();
    assert_eq!((page.items.len(), page.total), (0, Some(0)));
}

#[tokio::test]
async fn a_cursor_of_another_organization_opens_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let world = twins();
    let model = world.open(directory.path());
    for order in world::orders() {
        for (mine, other) in [(0, 1), (1, 0)] {
            let theirs = KeyQuery { order, ..KeyQuery::new(organization(other), at(0)) };
            for item in model.keys(theirs).await.unwrap().items {
                let window = Window::First { count: 100, after: Some(item.cursor) };
                let query = KeyQuery { order, window, ..KeyQuery::new(organization(mine), at(0)) };
                let page = model.keys(query).await.unwrap();
                assert!(page.items.iter().all(|item| item.node.state.organization == organization(mine)));
            }
        }
    }
}

#[tokio::test]
async fn lists_of_entries_show_one_organization_and_the_workspaces_in_sight() {
    let directory = tempfile::tempdir().unwrap();
    let world = twins();
    let model = world.open(directory.path());
    let of = |key: KeyId| world.keys.iter().find(|(id, ..)| *id == key).map(|(_, n, _)| organization(*n));
    for n in 0..2 {
        let all =
            EntryQuery { window: Window::first(1_000), count: true, ..EntryQuery::new(organization(n)) };
        let mut queries = vec![all.clone(), EntryQuery { workspaces: Some(vec![]), ..all.clone() }];
        for (key, ..) in &world.keys {
            queries.push(EntryQuery { key: Some(*key), ..all.clone() });
            queries.push(EntryQuery { actor: Some(key.uuid()), ..all.clone() });
        }
        for m in 0..2 {
            queries.push(EntryQuery { workspaces: Some(vec![workspace(m, 0)]), ..all.clone() });
        }
        for query in queries {
            let page = model.entries(query.clone()).await.unwrap();
            assert_eq!(page.total, Some(page.items.len() as u64));
            for item in page.items {
                let entry = item.node;
                assert_eq!(entry.organization, Some(organization(n)), "{query:?}");
                if let Some(key) = entry.key {
                    assert_eq!(of(key), entry.organization, "{query:?}");
                }
                let seen = query.workspaces.as_ref();
                assert!(
                    seen.is_none_or(|ids| entry.workspace.is_some_and(|id| ids.contains(&id))),
                    "{query:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn workspaces_are_listed_by_their_organization() {
    let directory = tempfile::tempdir().unwrap();
    let world = twins();
    let model = world.open(directory.path());
    for n in 0..2 {
        let listed = model.workspaces(organization(n)).await.unwrap();
        let ids: Vec<_> = listed.iter().map(|state| state.id).collect();
        assert_eq!(ids, [workspace(n, 0), workspace(n, 1)]);
    }
}

#[tokio::test]
async fn what_is_looked_up_by_id_says_whose_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let world = twins();
    let model = world.open(directory.path());
    for &(id, n, _) in &world.keys {
        assert_eq!(model.key(id).await.unwrap().unwrap().state.organization, organization(n));
    }
    let unknown = uuid::Uuid::from_u128(99);
    assert_eq!(model.key(KeyId::from_uuid(unknown)).await.unwrap(), None);
    assert_eq!(model.entry(EventId::from_uuid(unknown)).await.unwrap(), None);
}
