//! What finds which keys.

use std::time::Duration;

use keyledger::readmodel::{EntryQuery, KeyQuery, ReadModel};
use keyledger_projections::KeyStatus;
use keyledger_schema::{Environment, Stream};

use crate::world::{self, NODE, Step, Wish, World, at, organization, workspace};

const MICROSECOND: Duration = Duration::from_micros(1);

async fn names(model: &ReadModel, query: KeyQuery) -> Vec<String> {
    let page = model.keys(KeyQuery { count: true, ..query }).await.unwrap();
    assert_eq!(page.total, Some(page.items.len() as u64));
    let mut names: Vec<_> = page.items.iter().map(|item| item.node.state.name.to_string()).collect();
    names.sort();
    names
}

fn all() -> KeyQuery {
    KeyQuery::new(organization(0), at(50_000))
}

#[tokio::test]
async fn search_takes_every_character_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    for name in ["50% off", "500 off", "a_b", "axb", "ÅSE", "back\\slash", "quo'te", "*", "[a]"] {
        world.issue(Wish::named(name));
    }
    let model = world.open(directory.path());
    for (text, expected) in [
        ("50%", vec!["50% off"]),
        ("%", vec!["50% off"]),
        ("_", vec!["a_b"]),
        ("A_B", vec!["a_b"]),
        ("åse", vec!["ÅSE"]),
        ("\\", vec!["back\\slash"]),
        ("'", vec!["quo'te"]),
        ("*", vec!["*"]),
        ("[a]", vec!["[a]"]),
        ("off", vec!["50% off", "500 off"]),
        ("nothing", vec![]),
    ] {
        let search = KeyQuery { search: Some(text.into()), ..all() };
        assert_eq!(names(&model, search).await, expected, "{text}");
        let part = KeyQuery { name_contains: Some(text.into()), ..all() };
        assert_eq!(names(&model, part).await, expected, "{text}");
    }
}

#[tokio::test]
async fn search_finds_by_id_address_and_either_hint() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let id = world.issue(Wish::named("first"));
    world.issue(Wish::named("second"));
    world.step(Step::Rotate(0, Some(90_000)));
    let model = world.open(directory.path());
    let state = model.key(id).await.unwrap().unwrap().state;
    let hint = state.secret.record.hint.to_string();
    let previous = state.previous_secret.unwrap().record.hint.to_string();
    assert_ne!(hint, previous);
    for text in [id.to_string(), hint.clone(), previous, "KEY.000@".to_owned()] {
        let search = KeyQuery { search: Some(text.clone()), ..all() };
        assert_eq!(names(&model, search).await, ["first"], "{text}");
    }
    for text in [&hint[1..], &id.to_string()[..20], &hint.to_uppercase()] {
        let search = KeyQuery { search: Some(text.into()), ..all() };
        assert!(names(&model, search).await.is_empty(), "{text}");
    }
    let part = KeyQuery { name_contains: Some(hint), ..all() };
    assert!(names(&model, part).await.is_empty());
}

#[tokio::test]
async fn search_follows_what_changes_while_it_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let id = world.issue(Wish::named("first"));
    world.issue(Wish::named("second"));
    let model = world.open(directory.path());
    let hint = async || model.key(id).await.unwrap().unwrap().state.secret.record.hint.to_string();
    let old = hint().await;
    let find = async |text: &str| names(&model, KeyQuery { search: Some(text.into()), ..all() }).await;
    world.step(Step::Rotate(0, Some(90_000)));
    world.step(Step::Rename(0, "a name that is longer".into()));
    world::settle(&model, &world).await;
    let new = hint().await;
    for text in [&old, &new, "longer", "key.000"] {
        assert_eq!(find(text).await, ["a name that is longer"], "{text}");
    }
    assert!(find("first").await.is_empty());
    world.step(Step::EndOverlap(0));
    world.step(Step::Rename(0, "b".into()));
    world::settle(&model, &world).await;
    assert!(find(&old).await.is_empty());
    for text in [&new, "b", "key.000@keys"] {
        assert_eq!(find(text).await, ["b"], "{text}");
    }
    assert_eq!(find("second").await, ["second"]);
}

#[tokio::test]
async fn status_is_told_for_the_moment_asked_about() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let names_of = ["active", "inactive", "expiring", "revoked", "deleted", "disabled and expiring"];
    for name in names_of {
        let expires_at = name.contains("expiring").then_some(40_000);
        world.issue(Wish { expires_at, ..Wish::named(name) });
    }
    for step in [Step::Disable(1), Step::Disable(5), Step::Revoke(3), Step::Revoke(4), Step::Delete(4)] {
        world.step(step);
    }
    let model = world.open(directory.path());
    for (now, status, expected) in [
        (at(39_999), KeyStatus::Active, vec!["active", "expiring"]),
        (at(40_000), KeyStatus::Active, vec!["active"]),
        (at(39_999), KeyStatus::Inactive, vec!["disabled and expiring", "inactive"]),
        (at(40_000), KeyStatus::Inactive, vec!["inactive"]),
        (at(39_999), KeyStatus::Expired, vec![]),
        (at(40_000), KeyStatus::Expired, vec!["disabled and expiring", "expiring"]),
        (at(40_000), KeyStatus::Revoked, vec!["revoked"]),
        (at(40_000), KeyStatus::Deleted, vec!["deleted"]),
    ] {
        let query = KeyQuery { statuses: vec![status], now, ..all() };
        assert_eq!(names(&model, query).await, expected, "{status:?} at {now}");
    }
    assert_eq!(names(&model, KeyQuery { statuses: vec![], ..all() }).await, ["active"]);
    assert_eq!(names(&model, KeyQuery { statuses: world::STATUSES.to_vec(), ..all() }).await.len(), 6);
}

#[tokio::test]
async fn conditions_hold_together() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let root = world.issue(Wish { workspace: 1, ..Wish::named("root") });
    let staging = Environment::Staging;
    world.issue(Wish { created_by: Some(root), environment: staging, ..Wish::named("made") });
    world.issue(Wish { expires_at: Some(70_000), environment: staging, ..Wish::named("ending") });
    world.step(Step::Acknowledge(2));
    world.used(&[(0, 1, true), (2, 3, false)]);
    let used = at(i64::try_from(world.events.len() - 1).unwrap() * 100);
    world.used(&[(0, 5, true)]);
    let model = world.open(directory.path());
    world::settle(&model, &world).await;

    let usage = model.key(root).await.unwrap().unwrap().usage.unwrap();
    assert_eq!((usage.valid, usage.refused), (6, 0));
    let check = async |expected: &[&str], query: KeyQuery| assert_eq!(names(&model, query).await, expected);
    check(&["made"], KeyQuery { created_by: Some(root), ..all() }).await;
    check(&["ending", "made"], KeyQuery { environment: Some(staging), ..all() }).await;
    check(&["root"], KeyQuery { workspace: Some(workspace(0, 1)), ..all() }).await;
    check(&["ending"], KeyQuery { unacknowledged: Some(false), ..all() }).await;
    check(&["made", "root"], KeyQuery { unacknowledged: Some(true), ..all() }).await;
    check(&["ending"], KeyQuery { expires_before: Some(at(70_001)), ..all() }).await;
    check(&[], KeyQuery { expires_before: Some(at(70_000)), ..all() }).await;
    check(&["made"], KeyQuery { unused_since: Some(used), ..all() }).await;
    check(&["ending", "made"], KeyQuery { unused_since: Some(at(5_000)), ..all() }).await;
    let made = at(1_000);
    check(
        &["made"],
        KeyQuery { created_after: Some(made), created_before: Some(made.plus(MICROSECOND)), ..all() },
    )
    .await;
    // Nobody could have used it before there was one.
    check(&[], KeyQuery { unused_since: Some(made), ..all() }).await;
    check(&["made"], KeyQuery { unused_since: Some(made.plus(MICROSECOND)), ..all() }).await;
    check(
        &["made"],
        KeyQuery { unused_since: Some(used), environment: Some(staging), search: Some("a".into()), ..all() },
    )
    .await;
}

#[tokio::test]
async fn entries_are_found_by_type_actor_and_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let root = world.issue(Wish::named("root"));
    world.issue(Wish { created_by: Some(root), ..Wish::named("made") });
    world.refuse(0, Some(root));
    let model = world.open(directory.path());
    let all = EntryQuery::new(organization(0));
    let types = async |query: EntryQuery| {
        let page = model.entries(query).await.unwrap();
        page.items.into_iter().map(|item| item.node.event_type).collect::<Vec<_>>()
    };
    let issued = EntryQuery { types: vec!["key.issued".into(), "key.revoked".into()], ..all.clone() };
    assert_eq!(types(issued).await, ["key.issued", "key.issued"]);
    assert_eq!(types(EntryQuery { actor: Some(root.uuid()), ..all.clone() }).await, ["key.issued"]);
    assert_eq!(types(EntryQuery { actor: Some(NODE.uuid()), ..all.clone() }).await.len(), 5);
    let trail = EntryQuery { key: Some(root), ..all.clone() };
    assert_eq!(types(trail).await, ["command.refused", "key.issued"]);
    let from = at(i64::try_from(world.events.len() - 2).unwrap() * 100);
    assert_eq!(
        types(EntryQuery { from: Some(from), ..all.clone() }).await,
        ["command.refused", "key.issued"]
    );
    let to = at(i64::try_from(world.events.len() - 1).unwrap() * 100);
    assert_eq!(types(EntryQuery { from: Some(from), to: Some(to), ..all.clone() }).await, ["key.issued"]);

    let entry = model.entry(*world.events.last().unwrap()).await.unwrap().unwrap();
    assert_eq!(entry.stream, Stream::Audit(organization(0)));
    assert_eq!((entry.key, entry.log_index), (Some(root), world.events.len() as u64 - 1));
    let usage = world.events.len();
    world.used(&[(0, 1, true)]);
    world::settle(&model, &world).await;
    let entry = model.entry(world.events[usage]).await.unwrap().unwrap();
    assert_eq!((&*entry.event_type, entry.organization), ("usage.recorded", None));
}

#[tokio::test]
async fn what_is_due_is_told_in_order_and_only_while_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let expiring = [30_000, 20_000, 10_000]
        .map(|expires| world.issue(Wish { expires_at: Some(expires), ..Wish::named("a") }));
    let rotated = world.issue(Wish::named("b"));
    world.step(Step::Rotate(3, Some(15_000)));
    let model = world.open(directory.path());
    let due = async |now, max| model.due(at(now), max).await.unwrap();
    assert_eq!(due(9_999, 10).await, []);
    assert_eq!(due(20_000, 10).await, [expiring[2], rotated, expiring[1]]);
    assert_eq!(due(90_000, 2).await, [expiring[2], rotated]);
    world.step(Step::Expire(2));
    world.step(Step::EndOverlap(3));
    world.step(Step::Delete(1));
    world::settle(&model, &world).await;
    assert_eq!(due(90_000, 10).await, [expiring[0]]);
}
