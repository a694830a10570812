//! The trail of a key, and of everything.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyledger::store::sqlite::{Options, SqliteStore};
use keyledger::store::{EventStore, Filter};
use keyledger_schema::codec;
use serde_json::{Value, json};

use crate::ask::{attempt, data, eventually, in_millis, manager, text, types, world};
use crate::support::{Client, Home, Server};

const WHOLE: &str = "id type version stream revision position logIndex at actor { kind id email role } \
    source { ip userAgent } request cause outcome organizationId workspaceId keyId data rawBytes hash previousHash \
    changes { field before after }";

/// What is shown without the looks at it, which grow with each.
fn without_looks(nodes: &Value) -> Vec<Value> {
    let nodes = nodes.as_array().unwrap().iter();
    nodes.filter(|event| event["type"] != "audit.read").cloned().collect()
}

fn trail(client: &Client, key: &str) -> Vec<Value> {
    let key = client.key(key, &format!("events(first: 200) {{ nodes {{ {WHOLE} }} }}")).unwrap();
    without_looks(&key["events"]["nodes"])
}

fn events(client: &Client, filter: &Value) -> Vec<Value> {
    let query = format!(
        "query($filter: EventFilter) {{ events(filter: $filter, first: 200) {{ nodes {{ {WHOLE} }} }} }}"
    );
    without_looks(&data(client, &query, &json!({ "filter": filter }))["events"]["nodes"])
}

/// BLAKE3 as any public tool computes it: `b3sum --derive-key` over the stored bytes.
fn chain_hash(bytes: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("keyledger 2026-11 stream chain v1");
    hasher.update(bytes);
    hasher.finalize().to_hex().to_string()
}

fn bytes(event: &Value) -> Vec<u8> {
    STANDARD.decode(text(&event["rawBytes"])).unwrap()
}

/// All stored bytes in the order of the log.
fn log(home: &Arc<Home>) -> Vec<Vec<u8>> {
    let store = SqliteStore::open(&home.data_dir(), Options::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let events = runtime.block_on(store.read_all(None, Filter::All, usize::MAX)).unwrap();
    events.iter().map(|event| event.bytes.to_vec()).collect()
}

/// A key that something of every kind happened to.
fn whole_life(root: &Client) -> String {
    let id = root
        .create_key("a")
        .scope("read:a")
        .with("expiresAt", in_millis(8_000))
        .with("allowedCidrs", json!(["10.0.0.0/8"]))
        .with("metadata", json!({ "quote": "\" \\ \u{0} é 🔑" }))
        .run()
        .id();
    let run = |mutation: &str, mut input: Value| {
        input["id"] = id.as_str().into();
        root.mutate(mutation, &input).unwrap();
    };
    run("acknowledgeKeySecret", json!({}));
    run("updateKey", json!({ "name": "b", "scopes": [], "allowedCidrs": [], "metadata": { "x": 1 } }));
    run("disableKey", json!({ "comment": "off" }));
    run("enableKey", json!({}));
    run("rotateKey", json!({ "overlapSeconds": 1 }));
    eventually("the expiry", || types(root, &id).last().is_some_and(|last| last == "key.expired"));
    run("revokeKey", json!({ "reason": "OTHER", "comment": "gone" }));
    attempt(root, "rotateKey", &json!({ "id": id }));
    run("deleteKey", json!({}));
    id
}

#[test]
fn the_trail_of_a_key_is_complete_in_order_and_chained() {
    let server = Server::fresh();
    let vault = server.home().vault();
    let root = server.root();
    let id = whole_life(&root);
    let viewer = data(&root, "{ viewer { keyId email } }", &json!({}));
    let trail = trail(&root, &id);
    let types: Vec<String> = trail.iter().map(|event| text(&event["type"])).collect();
    let expected = [
        "key.issued",
        "key.secret_acknowledged",
        "key.updated",
        "key.disabled",
        "key.enabled",
        "key.secret_rotated",
        "key.secret_overlap_ended",
        "key.expired",
        "key.revoked",
        "command.refused",
        "key.deleted",
    ];
    assert_eq!(types, expected);
    let number = |event: &Value, field: &str| text(&event[field]).parse::<u64>().unwrap();
    assert!(trail.is_sorted_by(|a, b| number(a, "position") < number(b, "position")));
    assert!(trail.is_sorted_by(|a, b| a["logIndex"].as_u64() < b["logIndex"].as_u64()));
    assert!(trail.is_sorted_by(|a, b| a["at"].as_str() <= b["at"].as_str()));
    let own: Vec<&Value> = trail.iter().filter(|event| event["type"] != "command.refused").collect();
    let mut previous = Value::Null;
    for (revision, event) in own.iter().enumerate() {
        assert_eq!(event["revision"], revision);
        assert_eq!(event["stream"], format!("key-{id}"));
        assert_eq!(event["previousHash"], previous);
        previous = event["hash"].clone();
    }
    for event in &trail {
        let by_node = ["key.expired", "key.secret_overlap_ended"].contains(&event["type"].as_str().unwrap());
        let actor = &event["actor"];
        if by_node {
            assert_eq!(actor["kind"], "NODE");
            assert_eq!(event["source"], json!({ "ip": null, "userAgent": null }));
            assert_eq!(event["request"], Value::Null);
        } else {
            assert_eq!(
                actor,
                &json!({ "kind": "KEY", "id": viewer["viewer"]["keyId"], "email": viewer["viewer"]["email"],
                    "role": "ORGANIZATION_ADMINISTRATOR" })
            );
            assert_eq!(event["source"]["ip"], "127.0.0.1");
            assert!(text(&event["source"]["userAgent"]).starts_with("ureq/"));
            assert!(text(&event["request"]).starts_with("req_"));
        }
        let refused = event["type"] == "command.refused";
        assert_eq!(event["outcome"], if refused { "REFUSED" } else { "SUCCESS" });
        assert_eq!(event["keyId"], id.as_str());
        let stored = bytes(event);
        assert_eq!(event["hash"], chain_hash(&stored));
        // What is stored is sealed, and shown as it reads.
        let stored = codec::opened(&stored, &vault).unwrap().into_owned();
        let stored: Value = serde_json::from_str(&stored).unwrap();
        for (ours, theirs) in [
            ("id", "id"),
            ("type", "type"),
            ("version", "v"),
            ("stream", "stream"),
            ("revision", "revision"),
            ("at", "at"),
            ("data", "data"),
            ("organizationId", "org"),
            ("workspaceId", "workspace"),
            ("request", "request"),
            ("previousHash", "prev"),
        ] {
            assert_eq!(event[ours], stored[theirs], "{ours} of {event}");
        }
        let again = data(
            &root,
            &format!("query($id: ID!) {{ event(id: $id) {{ {WHOLE} }} }}"),
            &json!({ "id": event["id"] }),
        );
        assert_eq!(&again["event"], event);
    }
    let numbered: Vec<(usize, Vec<u8>)> = trail
        .iter()
        .map(|event| (usize::try_from(event["logIndex"].as_u64().unwrap()).unwrap(), bytes(event)))
        .collect();
    let log = log(&server.stop());
    for (number, bytes) in numbered {
        assert_eq!(log[number], bytes, "what the API shows is what the log has at {number}");
    }
}

#[test]
fn each_event_tells_what_it_changed() {
    let server = Server::fresh();
    let root = server.root();
    let id = whole_life(&root);
    let changes: Vec<(String, Value)> = trail(&root, &id)
        .iter()
        .map(|event| {
            let fields = event["changes"].as_array().unwrap().iter();
            let of = |change: &Value| {
                let pair = json!([change["before"], change["after"]]);
                (
                    text(&change["field"]),
                    if change["field"] == "previousSecretValidUntil" { json!("moment") } else { pair },
                )
            };
            (text(&event["type"]), fields.map(of).collect::<serde_json::Map<_, _>>().into())
        })
        .collect();
    let expected = [
        ("key.secret_acknowledged", json!({ "secretAcknowledged": [false, true] })),
        (
            "key.updated",
            json!({ "name": ["a", "b"], "scopes": [["read:a"], []], "allowedCidrs": [["10.0.0.0/8"], []],
                "metadata": [{ "quote": "\" \\ \u{0} é 🔑" }, { "x": 1 }] }),
        ),
        ("key.disabled", json!({ "status": ["ACTIVE", "INACTIVE"] })),
        ("key.enabled", json!({ "status": ["INACTIVE", "ACTIVE"] })),
        (
            "key.secret_rotated",
            json!({ "secretVersion": [1, 2], "secretAcknowledged": [true, false], "previousSecretValidUntil": "moment" }),
        ),
        ("key.secret_overlap_ended", json!({ "previousSecretValidUntil": "moment" })),
        ("key.expired", json!({ "status": ["ACTIVE", "EXPIRED"] })),
        (
            "key.revoked",
            json!({ "status": ["EXPIRED", "REVOKED"], "revocationReason": [null, "OTHER"],
                "revocationComment": [null, "gone"] }),
        ),
        ("command.refused", json!({})),
        ("key.deleted", json!({ "status": ["REVOKED", "DELETED"] })),
    ];
    assert_eq!(changes[0].0, "key.issued");
    assert_eq!(changes[0].1["name"], json!([null, "a"]));
    assert_eq!(changes[0].1["status"], json!([null, "ACTIVE"]));
    for ((event, changed), (expected_event, expected)) in changes[1..].iter().zip(expected) {
        assert_eq!((event.as_str(), changed), (expected_event, &expected));
    }
    assert_eq!(changes.len(), 11);
}

#[test]
fn a_refused_command_is_in_the_trail_of_its_key_and_of_its_organization() {
    let world = world();
    let viewer = manager(&world.root, "VIEWER", &world.workspace);
    let auditor = manager(&world.root, "AUDITOR", &world.workspace);
    let id = world.root.create_key("a").run().id();
    let asker = world.server.client(&viewer.secret());
    assert_eq!(asker.disable_key(&id).unwrap_err().code(), Some("FORBIDDEN"));
    let refused = trail(&world.root, &id).pop().unwrap();
    assert_eq!(refused["type"], "command.refused");
    assert_eq!(refused["actor"]["id"], viewer.id());
    assert_eq!(
        refused["data"],
        json!({ "command": "disableKey", "target": id, "key": id, "code": "FORBIDDEN" })
    );
    for filter in
        [json!({ "types": ["command.refused"] }), json!({ "actorId": viewer.id() }), json!({ "keyId": id })]
    {
        let found = events(&world.root, &filter);
        assert_eq!(found.last(), Some(&refused), "{filter}");
    }
    // An auditor of the workspace sees in lists, by its id and in the trail one and the same event.
    let auditor = world.server.client(&auditor.secret());
    assert_eq!(trail(&auditor, &id).last(), Some(&refused));
    assert_eq!(events(&auditor, &json!({ "keyId": id })).last(), Some(&refused));
    let found = data(&auditor, "query($id: ID!) { event(id: $id) { id } }", &json!({ "id": refused["id"] }));
    assert_eq!(found["event"]["id"], refused["id"]);
    assert!(events(&world.other, &json!({ "types": ["command.refused"] })).is_empty());
}

#[test]
fn refusals_without_a_key_are_in_the_trail_of_the_organization() {
    let server = Server::fresh();
    let root = server.root();
    let unknown = "key_01h455vb4pex5vsknk084sn02q";
    root.disable_key(unknown).unwrap_err();
    root.create_key("").try_run().unwrap_err();
    let long = "x".repeat(10_000);
    root.key(&long, "id").unwrap_err();
    let refused = events(&root, &json!({ "types": ["command.refused"] }));
    let shown: Vec<&Value> = refused.iter().map(|event| &event["data"]).collect();
    assert_eq!(
        shown,
        [
            &json!({ "command": "disableKey", "target": unknown, "code": "NOT_FOUND" }),
            &json!({ "command": "createKey", "code": "INVALID_INPUT" }),
            &json!({ "command": "key", "code": "INVALID_INPUT" }),
        ]
    );
}

#[test]
fn verifications_are_recorded_where_their_key_belongs_and_nobody_else_sees_them() {
    let world = world();
    let ours = world.root.create_key("ours").run();
    let theirs = world.other.create_key("theirs").run();
    assert!(world.root.verify(&ours.secret()).unwrap().valid);
    assert!(world.other.verify(&theirs.secret()).unwrap().valid);
    // A key of another tenant is recorded for whoever asked, without its id.
    assert_eq!(world.root.verify(&theirs.secret()).unwrap().code, "NOT_FOUND");
    let usage = |client: &Client| events(client, &json!({ "types": ["usage.recorded"] }));
    eventually("the record", || usage(&world.root).len() >= 2 && !usage(&world.other).is_empty());
    let (root, other) = (json!(usage(&world.root)).to_string(), json!(usage(&world.other)).to_string());
    assert!(root.contains(&ours.id()) && !root.contains(&theirs.id()));
    assert!(other.contains(&theirs.id()) && !other.contains(&ours.id()));
    eventually("the count", || world.root.key(&ours.id(), "usage { valid }").unwrap()["usage"]["valid"] == 1);
    let used = || world.other.key(&theirs.id(), "lastUsedAt").unwrap()["lastUsedAt"].is_string();
    eventually("the other count", used);
    let key = world.other.key(&theirs.id(), "usage { valid refused lastCode } lastUsedAt").unwrap();
    assert_eq!(key["usage"], json!({ "valid": 1, "refused": 0, "lastCode": "VALID" }));
    assert!(key["lastUsedAt"].is_string());
}

#[test]
fn events_are_chosen_by_type_actor_and_time() {
    let server = Server::fresh();
    let root = server.root();
    let before = in_millis(0);
    let id = root.create_key("a").run().id();
    let middle = in_millis(0);
    root.disable_key(&id).unwrap();
    let types = |filter: Value| -> Vec<String> {
        events(&root, &filter).iter().map(|event| text(&event["type"])).collect()
    };
    assert_eq!(types(json!({ "keyId": id, "to": middle })), ["key.issued"]);
    assert_eq!(types(json!({ "keyId": id, "from": middle })), ["key.disabled"]);
    assert_eq!(
        types(json!({ "from": before, "types": ["key.disabled", "key.issued"] })),
        ["key.issued", "key.disabled"]
    );
    assert!(types(json!({ "actorId": id })).is_empty());
    let unknown = root.graphql("{ events(filter: { types: [\"key.gone\"] }) { nodes { id } } }", &json!({}));
    assert_eq!(unknown.unwrap_err().code(), Some("INVALID_INPUT"));
}

#[test]
fn the_same_refusal_again_and_again_is_two_events() {
    let world = world();
    let viewer = world.root.create_key("viewer").with(
        "grants",
        json!([{ "role": "VIEWER", "organizationId": world.server.home().tenant().organization }]),
    );
    let viewer = viewer.run();
    let client = world.server.client(&viewer.secret());
    let [one, other] = ["one", "other"].map(|name| world.root.create_key(name).run().id());
    let refused = json!({ "types": ["command.refused"], "actorId": viewer.id() });
    // Fewer than take as long as such refusals are counted together, on the slowest machine.
    for round in 0..12 {
        assert_eq!(attempt(&client, "disableKey", &json!({ "id": one })).code(), "FORBIDDEN");
        if round == 0 {
            assert_eq!(events(&world.root, &refused).len(), 1, "the first is there at once");
        }
    }
    // Another key, another command and another code are others.
    assert_eq!(attempt(&client, "disableKey", &json!({ "id": other })).code(), "FORBIDDEN");
    assert_eq!(attempt(&client, "enableKey", &json!({ "id": one })).code(), "FORBIDDEN");
    assert_eq!(
        attempt(&client, "disableKey", &json!({ "id": "key_01h455vb4pex5vsknk084sn02q" })).code(),
        "NOT_FOUND"
    );
    assert_eq!(events(&world.root, &refused).len(), 4);
    eventually("the window is over", || events(&world.root, &refused).len() == 5);
    let told = |server: &Server| {
        let all = events(&server.root(), &refused);
        all.iter().filter_map(|event| event["data"]["repeated"]["count"].as_u64()).collect::<Vec<_>>()
    };
    assert_eq!(told(&world.server), [11]);
    let all = events(&world.root, &refused);
    let again = all.iter().find(|event| event["data"]["repeated"].is_object()).unwrap();
    assert_eq!((&again["data"]["command"], &again["outcome"]), (&json!("disableKey"), &json!("REFUSED")));
    let [first, last] = ["first_at", "last_at"].map(|name| text(&again["data"]["repeated"][name]));
    assert!(first <= last, "{first} {last}");
    // A stop in order tells the rest.
    for _ in 0..3 {
        assert_eq!(attempt(&client, "enableKey", &json!({ "id": other })).code(), "FORBIDDEN");
    }
    let home = world.server.stop();
    let mut counts = told(&Server::start(&home, &[]));
    counts.sort_unstable();
    assert_eq!(counts, [2, 11]);
}
