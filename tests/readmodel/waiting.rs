//! Whoever waits for a position finds tables and observer up to date, or is told why not.

use std::sync::Arc;
use std::time::Duration;

use keyledger::readmodel::{Observer, WaitError};
use keyledger::store::Position;
use keyledger_projections::{KeyState, OrganizationState, WorkspaceState};
use keyledger_schema::{EventId, Stream};

use crate::world::{self, NODE, Seen, Step, Wish, World};

const LONG: Duration = Duration::from_mins(1);

#[tokio::test]
async fn what_was_waited_for_shows_in_tables_and_observer() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let seen = Arc::new(Seen::default());
    let model = world.open_watched(directory.path(), Arc::clone(&seen));
    assert_eq!(model.applied(), Some(world.last));
    for n in 0..200 {
        let id = world.issue(Wish::named("a"));
        world.step(Step::Disable(n));
        model.wait_applied(world.last, LONG).await.unwrap();
        assert!(seen.keys.lock().unwrap()[&id].disabled);
        assert!(model.key(id).await.unwrap().unwrap().state.disabled);
        assert_eq!(model.keys_count(), n as u64 + 1);
        assert_eq!(model.entries_count(), world.events.len() as u64);
    }
}

#[tokio::test]
async fn a_position_that_does_not_come_times_out() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new();
    let model = world.open(directory.path());
    let beyond = Position::from_raw(world.last.raw() + 1);
    assert_eq!(model.wait_applied(beyond, Duration::from_millis(20)).await, Err(WaitError::TimedOut));
}

#[tokio::test]
async fn an_event_that_cannot_be_read_stops_it_and_wakes_waiters() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let model = world.open(directory.path());
    let before = world.issue(Wish::named("before"));
    let applied = world.last;
    model.wait_applied(applied, LONG).await.unwrap();

    let waiting = Arc::clone(&model);
    let beyond = Position::from_raw(applied.raw() + 1);
    let waiter = tokio::spawn(async move { waiting.wait_applied(beyond, LONG).await });
    tokio::task::yield_now().await;
    let id = EventId::from_uuid(uuid::Uuid::from_u128(1));
    world.append_bytes(Stream::Audit(world::organization(0)), None, id, "audit.imagined".into(), b"{}");
    let after = world.issue(Wish::named("after"));

    let Err(WaitError::Stopped(reason)) = waiter.await.unwrap() else { panic!("it went on") };
    assert!(reason.contains("cannot be read"), "{reason}");
    assert_eq!(model.stopped().as_deref(), Some(&*reason));
    assert!(matches!(model.wait_applied(world.last, LONG).await, Err(WaitError::Stopped(_))));
    // What was applied stays so and can be asked for.
    model.wait_applied(applied, LONG).await.unwrap();
    assert!(model.key(before).await.unwrap().is_some());
    assert!(model.key(after).await.unwrap().is_none());
}

#[tokio::test]
async fn usage_that_cannot_be_read_stops_it_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    world.used(&[(0, 1, true)]);
    let model = world.open(directory.path());
    world::settle(&model, &world).await;
    // Its envelope is fine, so that only whoever reads the data notices.
    let stored = {
        use keyledger::store::{Direction, EventStore};
        let stream = Stream::Usage(NODE).to_string();
        world.store.read_stream(&stream, None, Direction::Forward, 1).await.unwrap().remove(0)
    };
    let id = EventId::from_uuid(uuid::Uuid::from_u128(1));
    // A sealed value would tell that it was moved.
    let text = keyledger_schema::codec::opened(&stored.bytes, &world::keys::Keys::default()).unwrap();
    let text = text
        .replacen(&world.events[world.events.len() - 1].to_string(), &id.to_string(), 1)
        .replacen("\"revision\":0", "\"revision\":1", 1)
        .replacen("\"groups\":", "\"groups_of_old\":", 1);
    world.append_bytes(Stream::Usage(NODE), Some(0), id, "usage.recorded".into(), text.as_bytes());
    for _ in 0..12_000 {
        if model.stopped().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(model.stopped().unwrap().contains("groups_of_old"));
}

struct Panics;

impl Observer for Panics {
    fn key(&self, _: Option<&KeyState>, _: &KeyState) {
        panic!("as the test wants it");
    }
    fn organization(&self, _: &OrganizationState) {}
    fn workspace(&self, _: &WorkspaceState) {}
}

#[tokio::test]
async fn an_observer_that_panics_stops_it() {
    use keyledger::readmodel::{Progress, ReadModel};
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let store = Arc::clone(&world.store) as _;
    let model =
        ReadModel::open(directory.path(), store, Arc::new(Panics), Progress::Silent, world::settings())
            .unwrap();
    world.issue(Wish::named("a"));
    assert!(matches!(model.wait_applied(world.last, LONG).await, Err(WaitError::Stopped(_))));
}

#[tokio::test]
async fn closing_is_quick_and_tells_waiters() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new();
    let model = world.open(directory.path());
    let waiting = Arc::clone(&model);
    let beyond = Position::from_raw(world.last.raw() + 1);
    let waiter = tokio::spawn(async move { waiting.wait_applied(beyond, LONG).await });
    tokio::task::yield_now().await;
    let watch = keyledger::edge::Stopwatch::start();
    model.close();
    assert!(watch.elapsed() < LONG / 3);
    assert!(matches!(waiter.await.unwrap(), Err(WaitError::Stopped(_))));
    assert!(model.workspaces(world::organization(0)).await.unwrap().len() == 2);
}
