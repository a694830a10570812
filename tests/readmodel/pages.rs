//! Pages: every key exactly once, in order, from either end, whatever comes in between.

use keyledger::readmodel::{KeyOrder, KeyQuery, KeyRow, KeySort, QueryError, ReadModel, Sequence, Window};
use proptest::prelude::*;

use crate::world::{self, Wish, World, at, organization};

fn query(order: KeyOrder) -> KeyQuery {
    KeyQuery { statuses: world::STATUSES.to_vec(), order, ..KeyQuery::new(organization(0), at(0)) }
}

/// The rule, without any table.
fn sorted(mut keys: Vec<KeyRow>, order: KeyOrder) -> Vec<u64> {
    keys.sort_by(|a, b| {
        let by = match order.by {
            KeySort::CreatedAt => std::cmp::Ordering::Equal,
            KeySort::Name => a.state.name.to_lowercase().cmp(&b.state.name.to_lowercase()),
            KeySort::ExpiresAt => {
                let moment = |row: &KeyRow| row.state.expires_at.unwrap_or(keyledger_schema::Timestamp::MAX);
                moment(a).cmp(&moment(b))
            }
            KeySort::LastUsedAt => {
                let moment = |row: &KeyRow| row.usage.as_ref().map(|usage| usage.last_at);
                moment(a).cmp(&moment(b))
            }
        };
        let ordering = by.then(a.seq.cmp(&b.seq));
        if order.sequence == Sequence::Ascending { ordering } else { ordering.reverse() }
    });
    keys.iter().map(|row| row.seq).collect()
}

async fn rows(model: &ReadModel, world: &World) -> Vec<KeyRow> {
    let mut rows = Vec::new();
    for &(id, organization, _) in &world.keys {
        if organization == 0 {
            rows.push(model.key(id).await.unwrap().unwrap());
        }
    }
    rows
}

/// Walks all pages from one end; before each next page a wish comes true.
async fn walk(
    model: &ReadModel,
    world: &mut World,
    order: KeyOrder,
    size: usize,
    backward: bool,
    wishes: &mut Vec<Wish>,
) -> Vec<u64> {
    let mut walked = Vec::new();
    let mut cursor = None;
    loop {
        let window = if backward {
            Window::Last { count: size, before: cursor.take() }
        } else {
            Window::First { count: size, after: cursor.take() }
        };
        let page = model.keys(KeyQuery { window, ..query(order) }).await.unwrap();
        assert!(page.items.len() <= size);
        let seqs = page.items.iter().map(|item| item.node.seq);
        if backward {
            walked.splice(0..0, seqs);
            cursor = page.items.first().map(|item| item.cursor.clone());
        } else {
            walked.extend(seqs);
            cursor = page.items.last().map(|item| item.cursor.clone());
        }
        if !(if backward { page.has_previous } else { page.has_next }) {
            return walked;
        }
        if let Some(wish) = wishes.pop() {
            world.issue(wish);
            world::settle(model, world).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pages_together_are_the_sorted_list(
        wishes in prop::collection::vec(world::wish(), 0..40),
        between in prop::collection::vec(world::wish(), 0..10),
        size in 1usize..7,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let mut world = World::new();
            for wish in wishes {
                world.issue(wish);
            }
            let model = world.open(directory.path());
            for order in world::orders() {
                let expected = sorted(rows(&model, &world).await, order);
                for backward in [false, true] {
                    let walked = walk(&model, &mut world, order, size, backward, &mut Vec::new()).await;
                    assert_eq!(walked, expected, "{order:?}, backward: {backward}");
                }
                let page = model.keys(KeyQuery { count: true, ..query(order) }).await.unwrap();
                assert_eq!(page.total, Some(expected.len() as u64));
            }
            for order in world::orders() {
                for backward in [false, true] {
                    let before = sorted(rows(&model, &world).await, order);
                    let mut wishes = between.clone();
                    let walked = walk(&model, &mut world, order, size, backward, &mut wishes).await;
                    let after = sorted(rows(&model, &world).await, order);
                    // In order, none twice, and all that were there from the start.
                    let in_order: Vec<_> = after.iter().copied().filter(|seq| walked.contains(seq)).collect();
                    assert_eq!(walked, in_order);
                    assert!(before.iter().all(|seq| walked.contains(seq)));
                }
            }
        });
    }
}

#[tokio::test]
async fn pages_of_the_trail_are_the_trail() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    for _ in 0..23 {
        world.issue(Wish::named("a"));
        world.refuse(1, None);
    }
    let model = world.open(directory.path());
    let all = keyledger::readmodel::EntryQuery {
        sequence: Sequence::Ascending,
        window: Window::first(1_000),
        count: true,
        ..keyledger::readmodel::EntryQuery::new(organization(0))
    };
    let whole = model.entries(all.clone()).await.unwrap();
    assert_eq!(whole.total, Some(27));
    assert!(whole.items.is_sorted_by_key(|item| item.node.log_index));
    let (mut walked, mut after) = (Vec::new(), None);
    loop {
        let window = Window::First { count: 5, after: after.take() };
        let page = model.entries(keyledger::readmodel::EntryQuery { window, ..all.clone() }).await.unwrap();
        after = page.items.last().map(|item| item.cursor.clone());
        walked.extend(page.items);
        if !page.has_next {
            break;
        }
    }
    assert_eq!(walked, whole.items);
}

#[tokio::test]
async fn a_cursor_of_another_order_or_none_at_all_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    for _ in 0..3 {
        world.issue(Wish::named("a"));
    }
    let model = world.open(directory.path());
    for order in world::orders() {
        let page = model.keys(query(order)).await.unwrap();
        let mut refused = vec![String::new(), "?".into(), "AAAA".into(), "x".repeat(9_000)];
        refused.push(page.items[0].cursor.replace(|c: char| c.is_ascii_digit(), "z") + "A");
        for other in world::orders().into_iter().filter(|other| other.by != order.by) {
            refused.push(model.keys(query(other)).await.unwrap().items[0].cursor.clone());
        }
        for cursor in refused {
            for window in [
                Window::First { count: 2, after: Some(cursor.clone()) },
                Window::Last { count: 2, before: Some(cursor.clone()) },
            ] {
                let answer = model.keys(KeyQuery { window, ..query(order) }).await;
                assert_eq!(answer, Err(QueryError::Cursor), "{cursor}");
            }
        }
    }
}
