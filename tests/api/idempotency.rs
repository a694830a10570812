//! A request that is repeated with its idempotency key.

use std::thread;

use serde_json::json;

use crate::ask::{attempt, data, eventually, short_lived, text, types, world};
use crate::support::{Client, Mutated, Server};

fn create(client: &Client) -> Mutated {
    client
        .create_key("a")
        .scope("read:a")
        .with("idempotencyKey", "3f0d")
        .with("metadata", json!({ "a": 1 }))
        .run()
}

#[test]
fn a_repetition_answers_the_same_key_without_its_secret() {
    let world = world();
    let first = create(&world.root);
    for _ in 0..3 {
        let again = create(&world.root);
        assert_eq!(again.id(), first.id());
        assert!(!again.shows_secret() && again.events.is_empty());
    }
    assert_eq!(types(&world.root, &first.id()), ["key.issued"]);
    // In another tenant it stands for something else.
    assert_ne!(create(&world.other).id(), first.id());
    let home = world.server.stop();
    let server = Server::start(&home, &[]);
    let again = create(&server.root());
    assert_eq!((again.id(), again.shows_secret()), (first.id(), false));
    assert!(server.root().verify(&first.secret()).unwrap().valid);
}

#[test]
fn another_request_with_the_same_idempotency_key_is_a_conflict() {
    let server = Server::fresh();
    let root = server.root();
    let issued = create(&root);
    let base = json!({ "name": "a", "environment": "PRODUCTION", "idempotencyKey": "3f0d",
        "scopes": [{ "action": "READ", "resource": "a" }], "metadata": { "a": 1 } });
    for (field, value) in [
        ("name", json!("b")),
        ("environment", json!("STAGING")),
        ("scopes", json!([])),
        ("metadata", json!({ "a": 2 })),
        ("prefix", json!("x")),
        ("allowedCidrs", json!(["10.0.0.0/8"])),
        ("expiresAt", json!("2999-01-01T00:00:00Z")),
    ] {
        let mut input = base.clone();
        input[field] = value;
        let refused = attempt(&root, "createKey", &input);
        assert_eq!((refused.code(), refused.field()), ("CONFLICT", "input.idempotencyKey"), "{field}");
    }
    let clone = attempt(&root, "cloneKey", &json!({ "id": issued.id(), "idempotencyKey": "3f0d" }));
    assert_eq!(clone.code(), "CONFLICT");
    let clone = json!({ "id": issued.id(), "idempotencyKey": "another" });
    let (one, two) = (root.mutate("cloneKey", &clone).unwrap(), root.mutate("cloneKey", &clone).unwrap());
    assert_eq!((one.id(), two.shows_secret()), (two.id(), false));
}

#[test]
fn a_repetition_after_the_expiry_still_answers_the_key() {
    let server = Server::fresh();
    let root = server.root();
    let create =
        |end: &str| root.create_key("a").with("idempotencyKey", "x").with("expiresAt", end).try_run();
    let (issued, end) = short_lived(|end| Some((create(end).ok()?, end.to_owned())));
    eventually("the expiry", || root.verify(&issued.secret()).unwrap().code == "EXPIRED");
    assert_eq!(create(&end).unwrap().id(), issued.id());
}

#[test]
fn identical_requests_at_the_same_time_make_one_key() {
    let server = Server::fresh();
    let root = server.root();
    for round in 0..3 {
        let name = format!("round {round}");
        let made: Vec<Mutated> = thread::scope(|scope| {
            let create = || {
                let made = root.create_key(&name).with("idempotencyKey", format!("round-{round}")).run();
                // Whoever was answered sees it.
                assert_eq!(root.key(&made.id(), "name").unwrap()["name"], name.as_str());
                made
            };
            let threads: Vec<_> = (0..32).map(|_| scope.spawn(create)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|made| made.shows_secret()).count(), 1);
        assert!(made.iter().all(|one| one.id() == made[0].id()));
        let filter = json!({ "name": name });
        let query =
            "query($name: String!) { keys(filter: { nameContains: $name }) { totalCount nodes { id } } }";
        let found = data(&root, query, &filter);
        assert_eq!(found["keys"]["totalCount"], 1);
        assert_eq!(text(&found["keys"]["nodes"][0]["id"]), made[0].id());
    }
}
