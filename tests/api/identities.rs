//! Identities: somebody of the user's own who holds several keys.

use serde_json::{Value, json};

use crate::ask::{Answer, attempt, data, manager, text, types, world};
use crate::support::{Client, Server};

const FIELDS: &str = "id externalId name metadata revision deletedAt rateLimits { name limit windowSeconds }";

fn made(client: &Client, input: &Value) -> Value {
    let query = format!(
        "mutation($input: CreateIdentityInput!) {{
            createIdentity(input: $input) {{ identity {{ {FIELDS} }} events {{ type }} }} }}"
    );
    data(client, &query, &json!({ "input": input }))["createIdentity"].take()
}

fn create(client: &Client, external_id: &str) -> String {
    text(&made(client, &json!({ "externalId": external_id }))["identity"]["id"])
}

fn shown(client: &Client, id: &str) -> Value {
    let query = format!("query($id: ID!) {{ identity(id: $id) {{ {FIELDS} }} }}");
    data(client, &query, &json!({ "id": id }))["identity"].take()
}

fn details(answer: &Answer) -> &Value {
    &answer.body["errors"][0]["extensions"]["details"]
}

fn limit(limit: u64) -> Value {
    json!([{ "name": "api", "limit": limit, "windowSeconds": 60 }])
}

#[test]
fn an_external_id_stands_for_one_identity() {
    let server = Server::fresh();
    let root = server.root();
    let input = json!({ "externalId": "customer-7", "name": "Seven", "rateLimits": limit(10), "metadata": { "a": 1 } });
    let first = made(&root, &input);
    assert_eq!(first["events"], json!([{ "type": "identity.created" }]));
    let again = made(&root, &input);
    assert_eq!((&again["identity"], &again["events"]), (&first["identity"], &json!([])));
    let other = json!({ "externalId": "customer-7", "name": "Eight" });
    let refused = attempt(&root, "createIdentity", &other);
    assert_eq!((refused.code(), refused.field()), ("CONFLICT", "input.externalId"));
    assert_eq!(details(&refused)["id"], first["identity"]["id"]);
    let found = "query($id: String!) { identity(externalId: $id) { id } }";
    assert_eq!(data(&root, found, &json!({ "id": "customer-7" }))["identity"]["id"], first["identity"]["id"]);
    let id = text(&first["identity"]["id"]);
    assert_eq!(shown(&root, &id), first["identity"]);
    let node = data(&root, "query($id: ID!) { node(id: $id) { __typename id } }", &json!({ "id": id }));
    assert_eq!(node["node"]["__typename"], "Identity");
    // It is the same identity after a restart.
    let server = Server::start(&server.stop(), &[]);
    assert_eq!(made(&server.root(), &input)["identity"], first["identity"]);
}

#[test]
fn many_at_once_make_one() {
    let server = Server::fresh();
    let root = server.root();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let root = root.clone();
            std::thread::spawn(move || made(&root, &json!({ "externalId": "racing" })))
        })
        .collect();
    let answers: Vec<Value> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(answers.iter().all(|answer| answer["identity"] == answers[0]["identity"]));
    let events: usize = answers.iter().map(|answer| answer["events"].as_array().unwrap().len()).sum();
    assert_eq!(events, 1);
}

#[test]
fn an_identity_is_changed_and_its_trail_tells_how() {
    let server = Server::fresh();
    let root = server.root();
    let id = create(&root, "customer-7");
    let change = json!({ "id": id, "name": "Seven", "rateLimits": limit(5) });
    assert_eq!(attempt(&root, "updateIdentity", &change).code(), "");
    assert_eq!(shown(&root, &id)["rateLimits"], limit(5));
    let repeated = attempt(&root, "updateIdentity", &change);
    assert_eq!(repeated.body["data"]["updateIdentity"]["events"], json!([]));
    let late = |field: &str, value: Value| {
        let mut input = json!({ "id": id, "expectedRevision": 0 });
        input[field] = value;
        attempt(&root, "updateIdentity", &input).code().to_owned()
    };
    assert_eq!(late("name", "Eight".into()), "CONFLICT");
    assert_eq!(late("metadata", json!({ "a": 1 })), "");
    let query = "query($id: ID!) { identity(id: $id) { events { nodes { type identityId changes { field before after } } } } }";
    let trail = data(&root, query, &json!({ "id": id }));
    let nodes = &trail["identity"]["events"]["nodes"];
    assert_eq!(nodes[0]["type"], "identity.created");
    assert_eq!(nodes[1]["identityId"], id.as_str());
    let changed: Vec<_> =
        nodes[1]["changes"].as_array().unwrap().iter().map(|it| text(&it["field"])).collect();
    assert_eq!(changed, ["name", "rateLimits"]);
    assert_eq!(nodes[2]["changes"][0]["field"], "metadata");
    let filtered = "query($id: ID!) { events(filter: { identityId: $id, types: [\"identity.updated\"] }) { totalCount } }";
    assert_eq!(data(&root, filtered, &json!({ "id": id }))["events"]["totalCount"], 2);
}

#[test]
fn keys_are_given_an_identity_and_it_is_taken_from_them() {
    let server = Server::fresh();
    let root = server.root();
    let (seven, eight) = (create(&root, "customer-7"), create(&root, "customer-8"));
    let key = root.create_key("a").with("identityId", seven.as_str()).run();
    let of = |id: &str| root.key(id, "identity { externalId }").unwrap()["identity"].clone();
    assert_eq!(of(&key.id()), json!({ "externalId": "customer-7" }));
    let clone = root.mutate("cloneKey", &json!({ "id": key.id() })).unwrap();
    assert_eq!(of(&clone.id()), json!({ "externalId": "customer-7" }));
    let update = |identity: Value, seen: u64| {
        let input = json!({ "id": key.id(), "identityId": identity, "expectedRevision": seen });
        attempt(&root, "updateKey", &input)
    };
    assert_eq!(update(json!(eight), 0).code(), "");
    assert_eq!(update(json!(seven), 0).code(), "CONFLICT");
    assert_eq!(of(&key.id()), json!({ "externalId": "customer-8" }));
    // Another field does not touch it, null takes it away.
    root.update_key(&key.id(), "b").unwrap();
    assert_eq!(of(&key.id()), json!({ "externalId": "customer-8" }));
    assert_eq!(update(Value::Null, 2).code(), "");
    assert_eq!(of(&key.id()), Value::Null);
    assert_eq!(
        types(&root, &key.id()),
        ["key.issued", "key.updated", "command.refused", "key.updated", "key.updated"]
    );
    let item = |secret: &str, identity: &str| json!({ "name": "a", "environment": "PRODUCTION", "secret": secret, "identityId": identity });
    let keys = json!([
        item("an-imported-secret-1", &seven),
        item("an-imported-secret-2", "idn_01h455vb4pex5vsknk084sn02q"),
    ]);
    let query = "mutation($input: ImportKeysInput!) { importKeys(input: $input) {
        results { status key { identity { externalId } } error { code field } } } }";
    let imported = data(&root, query, &json!({ "input": { "keys": keys } }));
    let results = &imported["importKeys"]["results"];
    assert_eq!(results[0]["key"]["identity"]["externalId"], "customer-7");
    assert_eq!(results[1]["error"], json!({ "code": "NOT_FOUND", "field": "input.keys[1].identityId" }));
}

#[test]
fn an_identity_that_keys_hold_is_not_deleted_and_one_that_was_is_given_to_none() {
    let server = Server::fresh();
    let root = server.root();
    let id = create(&root, "customer-7");
    let key = root.create_key("holder").with("identityId", id.as_str()).run();
    let gone = root.create_key("gone").with("identityId", id.as_str()).run();
    root.revoke_key(&gone.id(), "UNUSED").unwrap();
    let refused = attempt(&root, "deleteIdentity", &json!({ "id": id }));
    assert_eq!(refused.code(), "ILLEGAL_TRANSITION");
    let holders = json!({ "holderCount": 1, "holders": [{ "id": key.id(), "name": "holder" }] });
    assert_eq!(details(&refused), &holders);
    // The same keys are listed for it.
    let query = "query($id: ID!) {
        identity(id: $id) { keys(filter: { statuses: [ACTIVE, INACTIVE] }) { totalCount nodes { id } } }
        keys(filter: { identityId: $id, statuses: [ACTIVE, REVOKED] }) { totalCount } }";
    let listed = data(&root, query, &json!({ "id": id }));
    assert_eq!(listed["identity"]["keys"], json!({ "totalCount": 1, "nodes": [{ "id": key.id() }] }));
    assert_eq!(listed["keys"]["totalCount"], 2);
    let query = "query($id: ID!, $other: ID!) {
        identity(id: $id) { keys(filter: { identityId: $other }) { totalCount } } }";
    let other = create(&root, "customer-8");
    let refused = crate::ask::ask(&root, query, &json!({ "id": id, "other": other }));
    assert_eq!((refused.code(), refused.field()), ("INVALID_INPUT", "filter.identityId"));
    assert_eq!(attempt(&root, "deleteIdentity", &json!({ "id": other })).code(), "");
    root.mutate("updateKey", &json!({ "id": key.id(), "identityId": null })).unwrap();
    let delete = json!({ "id": id, "comment": "left us" });
    assert_eq!(attempt(&root, "deleteIdentity", &delete).code(), "");
    assert_eq!(attempt(&root, "deleteIdentity", &delete).body["data"]["deleteIdentity"]["events"], json!([]));
    // It is gone from lists, and its trail stays.
    assert!(shown(&root, &id)["deletedAt"].is_string());
    let listed = data(&root, "{ identities { totalCount nodes { id } } }", &json!({}));
    assert_eq!(listed["identities"], json!({ "totalCount": 0, "nodes": [] }));
    assert_eq!(root.key(&gone.id(), "identity { id }").unwrap()["identity"]["id"], id.as_str());
    let give = json!({ "name": "a", "environment": "PRODUCTION", "identityId": id });
    let refused = attempt(&root, "createKey", &give);
    assert_eq!((refused.code(), refused.field()), ("ILLEGAL_TRANSITION", "input.identityId"));
    let give = json!({ "id": key.id(), "identityId": id });
    assert_eq!(attempt(&root, "updateKey", &give).code(), "ILLEGAL_TRANSITION");
    assert_eq!(
        attempt(&root, "updateIdentity", &json!({ "id": id, "name": "a" })).code(),
        "ILLEGAL_TRANSITION"
    );
    let again = attempt(&root, "createIdentity", &json!({ "externalId": "customer-7" }));
    assert_eq!((again.code(), again.field()), ("CONFLICT", "input.externalId"));
}

#[test]
fn no_key_gets_an_identity_while_it_is_deleted() {
    let server = Server::fresh();
    let root = server.root();
    for round in 0..6 {
        let id = create(&root, &format!("customer-{round}"));
        let (deleting, giving) = (root.clone(), root.clone());
        let (of_delete, of_give) = (id.clone(), id.clone());
        let delete =
            std::thread::spawn(move || attempt(&deleting, "deleteIdentity", &json!({ "id": of_delete })));
        let give = std::thread::spawn(move || {
            let input = json!({ "name": "a", "environment": "PRODUCTION", "identityId": of_give });
            attempt(&giving, "createKey", &input)
        });
        let (deleted, given) = (delete.join().unwrap(), give.join().unwrap());
        let outcome = (deleted.code().to_owned(), given.code().to_owned());
        let refused = "ILLEGAL_TRANSITION".to_owned();
        assert!(
            outcome == (refused.clone(), String::new()) || outcome == (String::new(), refused),
            "{outcome:?}"
        );
    }
}

#[test]
fn identities_are_listed_by_their_external_ids_and_found_by_a_start() {
    let server = Server::fresh();
    let root = server.root();
    for (external_id, name) in [("b-2", "Anton"), ("a-1", "berta"), ("c-3", "Änne"), ("B-4", "Dora")] {
        made(&root, &json!({ "externalId": external_id, "name": name }));
    }
    let list = |arguments: &str| {
        let query = format!("{{ identities({arguments}) {{ totalCount nodes {{ externalId }} }} }}");
        let found = data(&root, &query, &json!({}))["identities"].take();
        let nodes = found["nodes"].as_array().unwrap().iter().map(|node| text(&node["externalId"]));
        assert_eq!(
            found["totalCount"],
            if arguments.contains("search") { json!(nodes.len()) } else { json!(4) }
        );
        nodes.collect::<Vec<_>>()
    };
    assert_eq!(list("first: 10"), ["B-4", "a-1", "b-2", "c-3"]);
    assert_eq!(list("last: 2"), ["b-2", "c-3"]);
    assert_eq!(list("search: \"b\""), ["a-1", "b-2"]);
    assert_eq!(list("search: \"B\""), ["B-4", "a-1"]);
    assert_eq!(list("search: \"än\""), ["c-3"]);
    assert_eq!(list("search: \"%\""), Vec::<String>::new());
    let mut seen = Vec::new();
    let mut after = Value::Null;
    loop {
        let query = "query($after: String) { identities(first: 1, after: $after) {
            nodes { externalId } pageInfo { hasNextPage endCursor } } }";
        let page = data(&root, query, &json!({ "after": after }))["identities"].take();
        seen.extend(page["nodes"].as_array().unwrap().iter().map(|node| text(&node["externalId"])));
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(seen, ["B-4", "a-1", "b-2", "c-3"]);
}

#[test]
fn what_is_out_of_bounds_is_refused_by_name() {
    let server = Server::fresh();
    let root = server.root();
    let many: Vec<Value> =
        (0..9).map(|n| json!({ "name": format!("l{n}"), "limit": 1, "windowSeconds": 1 })).collect();
    for (input, field) in [
        (json!({ "externalId": "" }), "input.externalId"),
        (json!({ "externalId": " a" }), "input.externalId"),
        (json!({ "externalId": "a\nb" }), "input.externalId"),
        (json!({ "externalId": "x".repeat(256) }), "input.externalId"),
        (json!({ "externalId": "a", "name": "" }), "input.name"),
        (json!({ "externalId": "a", "rateLimits": many }), "input.rateLimits"),
        (json!({ "externalId": "a", "rateLimits": [many[0], many[0]] }), "input.rateLimits[1].name"),
        (
            json!({ "externalId": "a", "rateLimits": [many[0], { "name": "A", "limit": 1, "windowSeconds": 1 }] }),
            "input.rateLimits[1].name",
        ),
        (
            json!({ "externalId": "a", "rateLimits": [many[0], { "name": "a", "limit": 0, "windowSeconds": 1 }] }),
            "input.rateLimits[1]",
        ),
        (json!({ "externalId": "a", "metadata": [] }), "input.metadata"),
    ] {
        let refused = attempt(&root, "createIdentity", &input);
        assert_eq!((refused.code(), refused.field()), ("INVALID_INPUT", field), "{input}");
    }
    made(&root, &json!({ "externalId": "é".repeat(255) }));
    for query in [
        "{ identity { id } }",
        "{ identity(id: \"idn_01h455vb4pex5vsknk084sn02q\", externalId: \"a\") { id } }",
        "{ identity(id: \"key_01h455vb4pex5vsknk084sn02q\") { id } }",
    ] {
        assert_eq!(crate::ask::ask(&root, query, &json!({})).code(), "INVALID_INPUT", "{query}");
    }
}

#[test]
fn credits_of_an_identity_are_for_administrators() {
    let world = world();
    let id = create(&world.root, "customer-7");
    for (role, code) in [("WORKSPACE_OWNER", "FORBIDDEN"), ("VIEWER", "FORBIDDEN"), ("VERIFIER", "NOT_FOUND")]
    {
        let client = world.server.client(&manager(&world.root, role, &world.workspace).secret());
        let set = json!({ "id": id, "remaining": 5, "reason": "a" });
        assert_eq!(attempt(&client, "setCredits", &set).code(), code, "{role}");
    }
    assert_eq!(shown(&world.root, &id)["revision"], 0);
    // Whoever manages keys may give them an identity of the organization, and whoever reads keys sees it.
    let manages = world.server.client(&manager(&world.root, "WORKSPACE_MANAGER", &world.workspace).secret());
    let key = manages.create_key("a").with("workspaceId", world.workspace.as_str());
    let key = key.with("identityId", id.as_str()).run();
    assert_eq!(
        manages.key(&key.id(), "identity { externalId }").unwrap()["identity"]["externalId"],
        "customer-7"
    );
    let trail = "query($id: ID!) { identity(id: $id) { events { nodes { id } } } }";
    assert_eq!(crate::ask::ask(&manages, trail, &json!({ "id": id })).code(), "FORBIDDEN");
}

#[test]
fn a_repeated_creation_answers_the_same_key_only_with_the_same_identity() {
    let server = Server::fresh();
    let root = server.root();
    let (seven, eight) = (create(&root, "customer-7"), create(&root, "customer-8"));
    let create_key = |identity: Option<&str>, credits: Option<u64>| {
        let mut input = json!({ "name": "a", "environment": "PRODUCTION", "idempotencyKey": "once" });
        if let Some(identity) = identity {
            input["identityId"] = identity.into();
        }
        if let Some(credits) = credits {
            input["credits"] = json!({ "remaining": credits });
        }
        attempt(&root, "createKey", &input).code().to_owned()
    };
    assert_eq!(create_key(Some(&seven), Some(5)), "");
    assert_eq!(create_key(Some(&seven), Some(5)), "");
    for (identity, credits) in
        [(Some(&eight), Some(5)), (Some(&seven), Some(6)), (Some(&seven), None), (None, Some(5))]
    {
        assert_eq!(create_key(identity.map(|it| &**it), credits), "CONFLICT");
    }
}
