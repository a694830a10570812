//! Whatever a list of keys is asked for, it shows what filtering and sorting all states by hand gives.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use keyledger::readmodel::{KeyOrder, KeyQuery, KeyRow, KeySort, ReadModel, Sequence, Window};
use keyledger_projections::KeyStatus;
use keyledger_schema::{Environment, KeyId, Timestamp};
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::world::{self, Step, Wish, World, at, organization, workspace};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// A text to search for, some of which depend on what there is.
#[derive(Clone, Debug)]
enum Text {
    Plain(&'static str),
    /// Whole.
    Id(usize),
    /// From a character of it on, so many.
    Address(usize, usize, usize),
    /// Up to a character of it.
    Hint(usize, usize),
    /// Of the secret before.
    Previous(usize),
}

/// A query; keys are named by how many were issued before them, moments by how many events.
#[derive(Clone, Debug)]
struct Question {
    organization: u8,
    workspaces: (Option<Vec<u8>>, Option<u8>),
    statuses: Vec<KeyStatus>,
    environment: Option<Environment>,
    search: Option<Text>,
    name_contains: Option<&'static str>,
    created_by: Option<usize>,
    created: (Option<i64>, Option<i64>),
    expires_before: Option<i64>,
    unused_since: Option<i64>,
    unacknowledged: Option<bool>,
    order: KeyOrder,
    size: usize,
    now: i64,
}

fn text() -> impl Strategy<Value = Text> {
    let plain = [
        "",
        "a",
        "A",
        "b",
        "cc",
        "%",
        "_",
        "5",
        "åse",
        "Åse 50%",
        "key.0",
        "KEY.00",
        "03@",
        "1@keys.o0",
        "@",
        "@keys",
        "@KEYS.o1",
        "keys.o",
        "y.003@keys.o1",
        "x@keys",
        "@@",
        "kl_prod_",
        "KL_PROD_",
        "l_prod",
        "nothing",
    ];
    let key = 0usize..20;
    prop_oneof![
        3 => prop::sample::select(plain.to_vec()).prop_map(Text::Plain),
        1 => key.clone().prop_map(Text::Id),
        3 => (key.clone(), 0usize..12, 1usize..16)
            .prop_map(|(key, from, length)| Text::Address(key, from, length)),
        2 => (key.clone(), 9usize..14).prop_map(|(key, cut)| Text::Hint(key, cut)),
        1 => key.prop_map(Text::Previous),
    ]
}

fn question() -> impl Strategy<Value = Question> {
    use prop::option::weighted;
    let moment = 0i64..8_000;
    let conditions = (
        weighted(0.6, text()),
        weighted(0.1, prop::sample::select(vec!["a", "B", "_5", "key", ""])),
        weighted(0.1, 0usize..20),
        (weighted(0.1, moment.clone()), weighted(0.1, moment.clone())),
        weighted(0.1, 0i64..70_000),
        weighted(0.2, moment),
        weighted(0.1, any::<bool>()),
    );
    let place = (
        0u8..2,
        (weighted(0.15, prop::collection::vec(0u8..2, 0..3)), weighted(0.1, 0u8..2)),
        prop_oneof![
            3 => Just(world::STATUSES.to_vec()),
            1 => prop::sample::subsequence(world::STATUSES.to_vec(), 0..=5)
        ],
        weighted(0.15, prop::sample::select(&Environment::ALL[..])),
    );
    let shape = (prop::sample::select(world::orders()), 1usize..9, 0i64..70_000);
    (conditions, place, shape).prop_map(|(conditions, place, (order, size, now))| Question {
        organization: place.0,
        workspaces: place.1,
        statuses: place.2,
        environment: place.3,
        search: conditions.0,
        name_contains: conditions.1,
        created_by: conditions.2,
        created: conditions.3,
        expires_before: conditions.4,
        unused_since: conditions.5,
        unacknowledged: conditions.6,
        order,
        size,
        now,
    })
}

impl Question {
    fn query(&self, all: &[KeyRow]) -> KeyQuery {
        let row = |n: usize| &all[n % all.len()].state;
        let search = self.search.as_ref().filter(|_| !all.is_empty()).map(|text| match text {
            Text::Plain(text) => (*text).to_owned(),
            Text::Id(n) => row(*n).id.to_string(),
            Text::Address(n, from, length) => row(*n).email.chars().skip(*from).take(*length).collect(),
            Text::Hint(n, cut) => row(*n).secret.record.hint.chars().take(*cut).collect(),
            Text::Previous(n) => {
                row(*n).previous_secret.as_ref().map_or_else(|| "?".into(), |it| it.record.hint.to_string())
            }
        });
        let n = self.organization;
        KeyQuery {
            workspaces: self.workspaces.0.as_ref().map(|ids| ids.iter().map(|w| workspace(n, *w)).collect()),
            workspace: self.workspaces.1.map(|w| workspace(n, w)),
            statuses: self.statuses.clone(),
            environment: self.environment,
            search,
            name_contains: self.name_contains.map(String::from),
            created_by: self.created_by.filter(|_| !all.is_empty()).map(|n| row(n).id),
            created_before: self.created.0.map(at),
            created_after: self.created.1.map(at),
            expires_before: self.expires_before.map(at),
            unused_since: self.unused_since.map(at),
            unacknowledged: self.unacknowledged,
            order: self.order,
            count: true,
            ..KeyQuery::new(organization(n), at(self.now))
        }
    }
}

/// The rules, without any table.
fn matches(row: &KeyRow, query: &KeyQuery) -> bool {
    let state = &row.state;
    let name = state.name.to_lowercase();
    let found = |text: &String| {
        let folded = text.to_lowercase();
        name.contains(&folded)
            || state.email.to_lowercase().contains(&folded)
            || state.secret.record.hint.starts_with(text)
            || state.previous_secret.as_ref().is_some_and(|previous| previous.record.hint.starts_with(text))
            || state.id.to_string() == *text
    };
    let used = row.usage.as_ref().map(|usage| usage.last_at);
    let status = state.status(query.now);
    let wanted: &[_] = if query.statuses.is_empty() { &[KeyStatus::Active] } else { &query.statuses };
    state.organization == query.organization
        && query.workspaces.as_ref().is_none_or(|seen| seen.contains(&state.workspace))
        && query.workspace.is_none_or(|id| state.workspace == id)
        && wanted.contains(&status)
        && query.environment.is_none_or(|environment| state.environment == environment)
        && query.search.as_ref().is_none_or(found)
        && query.name_contains.as_ref().is_none_or(|text| name.contains(&text.to_lowercase()))
        && query.created_by.is_none_or(|id| state.created_by.key_id() == Some(id))
        && query.created_before.is_none_or(|moment| state.created_at < moment)
        && query.created_after.is_none_or(|moment| state.created_at >= moment)
        && query.expires_before.is_none_or(|moment| state.expires_at.is_some_and(|at| at < moment))
        && query.unused_since.is_none_or(|moment| used.unwrap_or(state.created_at) < moment)
        && query.unacknowledged.is_none_or(|open| state.secret.acknowledged_at.is_none() == open)
}

fn by_hand(all: &[KeyRow], query: &KeyQuery) -> Vec<KeyId> {
    let mut rows: Vec<_> = all.iter().filter(|row| matches(row, query)).collect();
    match query.order.by {
        KeySort::CreatedAt => rows.sort_by_key(|row| row.seq),
        KeySort::Name => rows.sort_by_key(|row| (row.state.name.to_lowercase(), row.seq)),
        KeySort::ExpiresAt => {
            rows.sort_by_key(|row| (row.state.expires_at.unwrap_or(Timestamp::MAX), row.seq));
        }
        KeySort::LastUsedAt => {
            rows.sort_by_key(|row| (row.usage.as_ref().map(|usage| usage.last_at), row.seq));
        }
    }
    if query.order.sequence == Sequence::Descending {
        rows.reverse();
    }
    rows.iter().map(|row| row.state.id).collect()
}

/// All pages from one end, each with the total.
async fn walk(model: &ReadModel, query: &KeyQuery, size: usize, backward: bool, total: usize) -> Vec<KeyId> {
    let (mut walked, mut cursor) = (Vec::new(), None);
    loop {
        let window = if backward {
            Window::Last { count: size, before: cursor.take() }
        } else {
            Window::First { count: size, after: cursor.take() }
        };
        // A walk that need not count may take a shorter way.
        let count = walked.len() % 2 == 0;
        let page = model.keys(KeyQuery { window, count, ..query.clone() }).await.unwrap();
        assert_eq!(page.total, count.then_some(total as u64));
        let ids: Vec<_> = page.items.iter().map(|item| item.node.state.id).collect();
        assert!(ids.len() <= size);
        let more = if backward {
            walked.splice(0..0, ids);
            cursor = page.items.first().map(|item| item.cursor.clone());
            page.has_previous
        } else {
            walked.extend(ids);
            cursor = page.items.last().map(|item| item.cursor.clone());
            page.has_next
        };
        if !more {
            return walked;
        }
    }
}

async fn rows(model: &ReadModel, world: &World) -> Vec<KeyRow> {
    let mut rows = Vec::new();
    for (id, ..) in &world.keys {
        rows.push(model.key(*id).await.unwrap().unwrap());
    }
    rows
}

async fn check(model: &ReadModel, world: &World, questions: &[Question]) {
    world::settle(model, world).await;
    let all = rows(model, world).await;
    for question in questions {
        let query = question.query(&all);
        let expected = by_hand(&all, &query);
        for backward in [false, true] {
            let walked = walk(model, &query, question.size, backward, expected.len()).await;
            assert_eq!(walked, expected, "backward: {backward}, {query:?}");
        }
        let some = model.matching(query.clone(), question.size).await.unwrap();
        assert_eq!(some, expected[..expected.len().min(question.size + 1)], "{query:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_list_is_what_filtering_and_sorting_by_hand_gives(
        steps in prop::collection::vec((world::step(), prop::option::of(0usize..20)), 1..70),
        restarts in prop::collection::vec((0usize..70, any::<bool>()), 0..4),
        questions in prop::collection::vec(question(), 8..24),
    ) {
        runtime().block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let mut world = World::new();
            let mut model = Some(world.open(directory.path()));
            for (n, (mut step, creator)) in steps.into_iter().enumerate() {
                for (_, live) in restarts.iter().filter(|(at, _)| *at == n) {
                    if let Some(model) = &model {
                        check(model, &world, &questions).await;
                    }
                    // Either it goes on at once, or it has to catch up later.
                    drop(model.take());
                    model = live.then(|| world.open(directory.path()));
                }
                if let (Step::Issue(wish), Some(creator), false) = (&mut step, creator, world.keys.is_empty()) {
                    wish.created_by = Some(world.keys[creator % world.keys.len()].0);
                }
                world.step(step);
            }
            if let Some(model) = model {
                check(&model, &world, &questions).await;
            }
            check(&world.open(directory.path()), &world, &questions).await;
        });
    }
}

const MANY: usize = 2_500;

/// Keys in both organizations, in turns, with names and dates that rise and fall.
fn many(directory: &Path) -> (World, Arc<ReadModel>) {
    let mut world = World::new();
    for n in 0..MANY {
        let expires_at = i64::try_from(n * 7 % 1_000 + 1).unwrap() * 1_000_000;
        world.issue(Wish {
            organization: u8::from(n % 5 == 4),
            expires_at: (n % 3 > 0).then_some(expires_at),
            environment: Environment::ALL[n % 3],
            ..Wish::named(&format!("Fixed {:05}", if n % 2 == 0 { n } else { MANY - n }))
        });
    }
    world.used(&(0..MANY).step_by(40).map(|n| (n, 1 + (n as u64 * 7) % 90, true)).collect::<Vec<_>>());
    let model = world.open(directory);
    (world, model)
}

#[tokio::test]
async fn a_list_of_many_keys_is_whole_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (world, model) = many(directory.path());
    world::settle(&model, &world).await;
    let all = rows(&model, &world).await;
    for order in world::orders() {
        for search in [None, Some("xed"), Some("1"), Some("key.12"), Some("kl_prod_1")] {
            let query = KeyQuery {
                statuses: world::STATUSES.to_vec(),
                search: search.map(String::from),
                order,
                ..KeyQuery::new(organization(0), at(0))
            };
            let expected = by_hand(&all, &query);
            for backward in [false, true] {
                assert_eq!(walk(&model, &query, 300, backward, expected.len()).await, expected, "{query:?}");
            }
            assert_eq!(model.matching(query, MANY).await.unwrap(), expected);
        }
    }
}

#[test]
fn lists_that_are_asked_for_while_keys_change_lose_none() {
    let directory = tempfile::tempdir().unwrap();
    let (mut world, model) = many(directory.path());
    let fixed: HashSet<_> = world.keys.iter().filter(|(_, n, _)| *n == 0).map(|(id, ..)| *id).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for reader in 0..2 {
            let (model, fixed, done) = (&model, &fixed, &done);
            scope.spawn(move || {
                let runtime = runtime();
                let mut asked = 0;
                while !done.load(Ordering::Relaxed) || asked < 8 {
                    let query = KeyQuery {
                        statuses: world::STATUSES.to_vec(),
                        search: Some("fixed".into()),
                        order: world::orders()[(asked + reader) % 6],
                        ..KeyQuery::new(organization(0), at(0))
                    };
                    let walked = runtime.block_on(walk(model, &query, 900, reader == 0, fixed.len()));
                    assert_eq!(walked.len(), fixed.len());
                    assert!(walked.iter().all(|id| fixed.contains(id)));
                    let ids = runtime.block_on(model.matching(query, MANY)).unwrap();
                    assert_eq!(ids.len(), fixed.len());
                    asked += 1;
                }
            });
        }
        let runtime = runtime();
        for n in 0..600 {
            let id = world.issue(Wish { workspace: 1, ..Wish::named("moving") });
            world.step(Step::Rename(MANY + n / 2, format!("moved {n}")));
            world.step(Step::Rotate(n * 3, (n % 2 == 0).then_some(90_000_000)));
            world.step(Step::Acknowledge(n * 5));
            world.used(&[(n * 7, 1, true)]);
            if n % 50 == 0 {
                runtime.block_on(world::settle(&model, &world));
                let query =
                    KeyQuery { search: Some(id.to_string()), ..KeyQuery::new(organization(0), at(0)) };
                assert_eq!(runtime.block_on(model.matching(query, 5)).unwrap(), [id]);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    runtime().block_on(async {
        world::settle(&model, &world).await;
        let all = rows(&model, &world).await;
        for order in world::orders() {
            let query = KeyQuery { order, ..KeyQuery::new(organization(0), at(0)) };
            let expected = by_hand(&all, &query);
            assert_eq!(walk(&model, &query, 500, false, expected.len()).await, expected);
        }
    });
}
