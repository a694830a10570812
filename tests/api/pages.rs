//! Lists in pages, as Relay's cursor connections specification has them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::ask::{create_workspace, data, eventually, in_millis, text};
use crate::support::{Client, Server};

struct List {
    name: &'static str,
    /// Arguments besides those of the page.
    arguments: &'static str,
}

const LISTS: [List; 11] = [
    List { name: "keys", arguments: "" },
    List { name: "keys", arguments: "orderBy: { field: CREATED_AT }," },
    List { name: "keys", arguments: "orderBy: { field: NAME }," },
    List { name: "keys", arguments: "orderBy: { field: NAME, direction: DESC }," },
    List { name: "keys", arguments: "orderBy: { field: EXPIRES_AT }," },
    List { name: "keys", arguments: "orderBy: { field: EXPIRES_AT, direction: DESC }," },
    List { name: "keys", arguments: "orderBy: { field: LAST_USED_AT }," },
    List { name: "keys", arguments: "orderBy: { field: LAST_USED_AT, direction: DESC }," },
    // Walking through all events would find the looks that the walk itself makes.
    List { name: "events", arguments: "filter: { types: [\"key.issued\"] }," },
    List { name: "events", arguments: "filter: { types: [\"key.issued\"] }, direction: DESC," },
    List { name: "workspaces", arguments: "" },
];

impl List {
    fn page(&self, client: &Client, page: &str) -> Value {
        let query = format!(
            "{{ {}({} {page}) {{ totalCount nodes {{ id }} edges {{ cursor node {{ id }} }}
                pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}",
            self.name, self.arguments
        );
        data(client, &query, &json!({}))[self.name].take()
    }

    /// All items page by page. `word` is `first` or `last`.
    fn walk(&self, client: &Client, word: &str, size: usize) -> Vec<String> {
        let forward = word == "first";
        let (beside, end, more) = if forward {
            ("after", "endCursor", "hasNextPage")
        } else {
            ("before", "startCursor", "hasPreviousPage")
        };
        let mut found: Vec<String> = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.page(client, &format!("{word}: {size} {cursor}"));
            let ids = ids(&page);
            assert!(ids.len() <= size);
            let info = &page["pageInfo"];
            let edges = page["edges"].as_array().unwrap();
            assert_eq!(info["startCursor"], edges.first().map_or(Value::Null, |edge| edge["cursor"].clone()));
            assert_eq!(info["endCursor"], edges.last().map_or(Value::Null, |edge| edge["cursor"].clone()));
            assert!(edges.iter().zip(&ids).all(|(edge, id)| edge["node"]["id"] == id.as_str()));
            let started = info[if forward { "hasPreviousPage" } else { "hasNextPage" }].as_bool().unwrap();
            assert_eq!(started, !cursor.is_empty(), "{} {}", self.name, self.arguments);
            if forward {
                found.extend(ids);
            } else {
                found.splice(0..0, ids);
            }
            if info[more] == false {
                return found;
            }
            cursor = format!("{beside}: {}", info[end]);
        }
    }
}

fn ids(page: &Value) -> Vec<String> {
    page["nodes"].as_array().unwrap().iter().map(|node| text(&node["id"])).collect()
}

fn fill(server: &Server, count: usize) {
    let (client, workspace) = (server.root(), server.home().tenant().workspace.as_str());
    for number in 0..count {
        let key = client.create_key(["b", "a", "B", "ä", "c"][number % 5]).with("workspaceId", workspace);
        // Equal dates, so that ties have to be settled.
        let dates = ["2999-01-01T00:00:00Z", "2998-01-01T00:00:00Z"];
        let key = if number % 3 == 0 { key } else { key.with("expiresAt", dates[number % 2]) };
        key.run();
    }
}

#[test]
fn every_walk_finds_everything_once_and_in_order() {
    let server = Server::fresh();
    let root = server.root();
    let workspace = server.home().tenant().workspace.clone();
    let create =
        |count: usize| (0..count).for_each(|number| drop(create_workspace(&root, &format!("w{number}"))));
    fill(&server, 12);
    create(9);
    assert!(
        text(
            &data(&root, "{ workspaces(first: 1) { nodes { id } } }", &json!({}))["workspaces"]["nodes"][0]["id"]
        ) == workspace
    );
    for list in LISTS {
        let whole = list.page(&root, "first: 200");
        let expected = ids(&whole);
        assert_eq!(whole["totalCount"], expected.len());
        assert_eq!(whole["pageInfo"]["hasNextPage"], false);
        assert_eq!(ids(&list.page(&root, "last: 200")), expected);
        for size in [1, 2, 7, 200] {
            for word in ["first", "last"] {
                assert_eq!(
                    list.walk(&root, word, size),
                    expected,
                    "{} {} {word} {size}",
                    list.name,
                    list.arguments
                );
            }
        }
    }
}

#[test]
fn lists_are_in_the_order_that_was_asked_for() {
    let server = Server::fresh();
    let root = server.root();
    fill(&server, 15);
    let keys = |order: &str, field: &str| -> Vec<Value> {
        let query = format!("{{ keys(first: 200, orderBy: {{ {order} }}) {{ nodes {{ {field} }} }} }}");
        let found = data(&root, &query, &json!({}));
        found["keys"]["nodes"].as_array().unwrap().iter().map(|key| key[field].clone()).collect()
    };
    let created = keys("field: CREATED_AT", "createdAt");
    assert!(created.is_sorted_by_key(|at| at.as_str().unwrap().to_owned()));
    let names: Vec<String> =
        keys("field: NAME", "name").iter().map(|name| text(name).to_lowercase()).collect();
    assert!(names.is_sorted(), "{names:?}");
    let expiries: Vec<String> = keys("field: EXPIRES_AT", "expiresAt")
        .iter()
        .map(|at| at.as_str().unwrap_or("never").to_owned())
        .collect();
    assert!(expiries.is_sorted(), "those that never expire come last: {expiries:?}");
    for field in ["CREATED_AT", "NAME", "EXPIRES_AT", "LAST_USED_AT"] {
        let mut turned = keys(&format!("field: {field}, direction: DESC"), "id");
        turned.reverse();
        assert_eq!(turned, keys(&format!("field: {field}"), "id"), "{field}");
    }
}

#[test]
fn a_walk_during_inserts_repeats_nothing_and_leaves_nothing_out() {
    let server = Server::fresh();
    let root = server.root();
    fill(&server, 20);
    (0..5).for_each(|number| drop(create_workspace(&root, &format!("w{number}"))));
    let started = in_millis(0);
    let known: Vec<HashSet<String>> =
        LISTS.iter().map(|list| ids(&list.page(&root, "first: 200")).into_iter().collect()).collect();
    let (made, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) && made.load(Ordering::SeqCst) < 60 {
                fill(&server, 1);
                create_workspace(&root, "more");
                made.fetch_add(1, Ordering::SeqCst);
            }
        });
        eventually("the first insert", || made.load(Ordering::SeqCst) > 0);
        for (list, known) in LISTS.iter().zip(&known) {
            for word in ["first", "last"] {
                let walked = list.walk(&root, word, 5);
                let found: HashSet<String> = walked.iter().cloned().collect();
                assert_eq!(found.len(), walked.len(), "{} {} {word} repeats", list.name, list.arguments);
                assert!(known.is_subset(&found), "{} {} {word} leaves out", list.name, list.arguments);
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    let made = json!({ "filter": { "from": started, "types": ["key.issued"] } });
    let query = "query($filter: EventFilter) { events(filter: $filter) { totalCount } }";
    assert!(
        data(&root, query, &made)["events"]["totalCount"].as_u64().unwrap() > 0,
        "nothing came in between"
    );
}

#[test]
fn the_total_is_that_of_the_filter_and_not_of_the_page() {
    let server = Server::fresh();
    let root = server.root();
    fill(&server, 10);
    let count = |arguments: &str| {
        data(&root, &format!("{{ keys({arguments}) {{ totalCount }} }}"), &json!({}))["keys"]["totalCount"]
            .clone()
    };
    assert_eq!(count("first: 1"), 11);
    assert_eq!(count("first: 1, filter: { nameContains: \"b\" }"), 4);
    assert_eq!(count("last: 2, filter: { expiresBefore: \"2998-06-01T00:00:00Z\" }"), 3);
    assert_eq!(count("filter: { statuses: [REVOKED] }"), 0);
}
