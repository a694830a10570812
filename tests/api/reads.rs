//! Looks at trails are in the trail.

use serde_json::{Value, json};

use crate::ask::{World, ask, data, eventually, manager, text, world};
use crate::support::{Client, Server};

const LOOKS: &str = "query($filter: EventFilter) { events(filter: $filter, first: 200) {
    nodes { id actor { id } data keyId identityId outcome workspaceId stream } } }";

/// The looks of one key, without those that asking for them makes.
fn looks(client: &Client, actor: &str) -> Vec<Value> {
    let filter = json!({ "filter": { "types": ["audit.read"], "actorId": actor } });
    data(client, LOOKS, &filter)["events"]["nodes"].as_array().unwrap().clone()
}

fn auditor(world: &World) -> (Client, String) {
    let key = manager(&world.root, "AUDITOR", &world.workspace);
    (world.server.client(&key.secret()), key.id())
}

#[test]
fn each_kind_of_look_is_told_with_what_whose_and_how_much() {
    let world = world();
    let (client, by) = auditor(&world);
    let issued = world.root.create_key("a").with("workspaceId", world.workspace.as_str()).run();
    let (key, event) = (issued.id(), text(&issued.events[0]["id"]));
    let made = "mutation { createIdentity(input: { externalId: \"a\" }) { identity { id } } }";
    let identity = text(&data(&world.root, made, &json!({}))["createIdentity"]["identity"]["id"]);
    assert!(world.root.verify(&issued.secret()).unwrap().valid);
    let now = crate::ask::in_millis(0);
    let ids = json!({ "id": key, "event": event, "identity": identity, "now": now });
    let asked = [
        ("query($id: ID!) { key(id: $id) { events { nodes { id } } } }", "events", json!("")),
        ("query($event: ID!) { event(id: $event) { id } }", "events", json!(format!("id={event}"))),
        ("query($event: ID!) { node(id: $event) { id } }", "", json!("")),
        (
            "{ events(filter: { types: [\"key.issued\"] }, first: 1) { nodes { id } } }",
            "events",
            json!("types=key.issued"),
        ),
        (
            "query($id: ID!) { key(id: $id) { verifications { nodes { code } } } }",
            "verifications",
            json!(format!("keyIds={key}")),
        ),
        ("query($id: ID!, $now: DateTime!) { key(id: $id, asOf: $now) { name } }", "key_as_of", json!(null)),
        (
            "query($id: ID!) { consequences(actorId: $id) { nodes { via } } }",
            "consequences",
            json!(format!("actorId={key}&depth=16")),
        ),
    ];
    let mut expected = Vec::new();
    for (query, what, filter) in &asked {
        let answer = ask(&client, query, &ids);
        assert_eq!(answer.code(), "", "{query}: {}", answer.body);
        if !what.is_empty() {
            expected.push((json!(what), filter.clone()));
        }
    }
    let told = looks(&world.root, &by);
    assert_eq!(told.len(), expected.len(), "{}", json!(told));
    for (look, (what, filter)) in told.iter().zip(&expected) {
        assert_eq!((&look["data"]["what"], &look["outcome"]), (what, &json!("SUCCESS")));
        assert_eq!(look["actor"]["id"], by);
        if !filter.is_null() {
            assert_eq!(&look["data"]["filter"], filter);
        }
        assert!(text(&look["stream"]).starts_with("audit-"));
    }
    assert_eq!(told[0]["data"]["shown"], 1);
    assert!(text(&told[4]["data"]["filter"]).starts_with("asOf="), "{}", told[4]);
    // Looks at the trail of a key are in that trail, those at an identity's name the identity.
    let own = data(&world.root, "query($id: ID!) { key(id: $id) { events { nodes { id } } } }", &ids);
    assert!(own.to_string().contains(&text(&told[0]["id"])));
    assert_eq!((&told[0]["keyId"], &told[2]["keyId"]), (&json!(key), &json!(null)));
    data(&world.root, "query($identity: ID!) { identity(id: $identity) { events { nodes { id } } } }", &ids);
    let all = data(&world.root, LOOKS, &json!({ "filter": { "types": ["audit.read"] } }));
    let nodes = all["events"]["nodes"].as_array().unwrap();
    assert!(nodes.iter().any(|look| look["identityId"] == json!(identity)), "{all}");
    // Who reads the trail of a workspace is told to those who may read it; other tenants learn nothing.
    assert!(looks(&client, &by).len() >= told.len());
    assert!(looks(&world.other, &by).is_empty());
}

#[test]
fn the_same_look_is_told_once_a_minute_and_answers_to_changes_are_no_looks() {
    let world = world();
    let (client, by) = auditor(&world);
    let key = world.root.create_key("a").with("workspaceId", world.workspace.as_str()).run().id();
    for _ in 0..5 {
        client.key(&key, "events { nodes { id } }").unwrap();
    }
    assert_eq!(looks(&world.root, &by).len(), 1);
    client.key(&key, "events(direction: DESC) { nodes { id } }").unwrap();
    assert_eq!(looks(&world.root, &by).len(), 2);
    // What cannot be seen is a refusal, and no look.
    let viewer = manager(&world.root, "VIEWER", &world.workspace);
    let asker = world.server.client(&viewer.secret());
    asker.key(&key, "events { nodes { id } }").unwrap_err();
    asker.key(&key, "id name").unwrap();
    let worker = manager(&world.root, "WORKSPACE_MANAGER", &world.workspace);
    world.server.client(&worker.secret()).disable_key(&key).unwrap();
    assert!(looks(&world.root, &viewer.id()).is_empty() && looks(&world.root, &worker.id()).is_empty());
}

#[test]
fn reading_up_to_the_end_again_and_again_comes_to_an_end() {
    let world = world();
    let (client, by) = auditor(&world);
    world.root.create_key("a").with("workspaceId", world.workspace.as_str()).run();
    let query = "query($after: String) { events(first: 50, after: $after) { nodes { type } pageInfo { endCursor } } }";
    let mut after = Value::Null;
    for _ in 0..20 {
        let page = data(&client, query, &json!({ "after": after }));
        let end = page["events"]["pageInfo"]["endCursor"].clone();
        after = if end.is_null() { after } else { end };
    }
    assert_eq!(looks(&world.root, &by).len(), 1);
    // Each page that shows something new is told.
    for _ in 0..3 {
        world.root.create_key("a").with("workspaceId", world.workspace.as_str()).run();
        let page = data(&client, query, &json!({ "after": after }));
        after = page["events"]["pageInfo"]["endCursor"].clone();
    }
    let told = looks(&world.root, &by);
    assert_eq!(told.len(), 4, "{}", json!(told));
    assert!(text(&told[3]["data"]["filter"]).starts_with("after="));
}

#[test]
fn polls_of_a_feed_are_one_look_and_going_back_is_another() {
    let world = world();
    let (client, by) = auditor(&world);
    let poll = |query: &str| -> Value {
        let (status, body) = client.get(&format!("/v1/events?wait=0&{query}")).unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    };
    let mut cursor = text(&poll("")["cursor"]);
    for _ in 0..5 {
        world.root.create_key("a").with("workspaceId", world.workspace.as_str()).run();
        cursor = text(&poll(&format!("after={cursor}"))["cursor"]);
    }
    let told = looks(&world.root, &by);
    assert_eq!(told.len(), 1, "{}", json!(told));
    assert_eq!(told[0]["data"]["what"], "feed");
    assert!(told[0]["data"].get("shown").is_none());
    poll("fromStart=true");
    let told = looks(&world.root, &by);
    assert_eq!(told[1]["data"]["filter"], "fromStart=true");
    poll(&format!("after={cursor}"));
    assert_eq!(looks(&world.root, &by).len(), 2);
}

#[test]
fn a_look_is_durable_before_it_is_answered() {
    let world = world();
    let (client, by) = auditor(&world);
    let key = world.root.create_key("a").with("workspaceId", world.workspace.as_str()).run().id();
    client.key(&key, "events { nodes { id } }").unwrap();
    world.server.kill();
    let home = std::sync::Arc::clone(world.server.home());
    drop(world.server);
    let server = Server::start(&home, &[]);
    eventually("the look", || looks(&server.root(), &by).len() == 1);
}
