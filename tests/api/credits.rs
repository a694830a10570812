//! Credits of keys and identities, as they are set and adjusted.

use serde_json::{Value, json};

use crate::ask::{Answer, attempt, data, text, types};
use crate::support::{Client, Server};

const CREDITS: &str = "credits { remaining refillAmount refillIntervalSeconds nextRefillAt spent }";

fn identity(client: &Client) -> String {
    let query = "mutation { createIdentity(input: { externalId: \"customer-7\" }) { identity { id } } }";
    text(&data(client, query, &json!({}))["createIdentity"]["identity"]["id"])
}

fn of_key(client: &Client, id: &str) -> Value {
    client.key(id, CREDITS).unwrap()["credits"].clone()
}

fn of_identity(client: &Client, id: &str) -> Value {
    let query = format!("query($id: ID!) {{ identity(id: $id) {{ {CREDITS} }} }}");
    data(client, &query, &json!({ "id": id }))["identity"]["credits"].take()
}

fn set(client: &Client, id: &str, remaining: Option<u64>) -> Answer {
    attempt(client, "setCredits", &json!({ "id": id, "remaining": remaining, "reason": "sold" }))
}

fn adjust(client: &Client, id: &str, by: i64) -> Answer {
    attempt(client, "adjustCredits", &json!({ "id": id, "by": by, "reason": "sold" }))
}

fn events(answer: &Answer, mutation: &str) -> usize {
    answer.body["data"][mutation]["events"].as_array().unwrap_or_else(|| panic!("{}", answer.body)).len()
}

#[test]
fn a_key_is_created_with_credits_and_its_clone_too() {
    let server = Server::fresh();
    let root = server.root();
    let credits = json!({ "remaining": 3, "refillAmount": 10, "refillIntervalSeconds": 86_400 });
    let key = root.create_key("a").with("credits", credits.clone()).run();
    assert_eq!(types(&root, &key.id()), ["key.issued", "key.credits_changed"]);
    let shown = of_key(&root, &key.id());
    assert_eq!(
        (&shown["remaining"], &shown["refillAmount"], &shown["spent"]),
        (&json!(3), &json!(10), &json!(0))
    );
    assert_eq!(shown["refillIntervalSeconds"], 86_400);
    assert!(shown["nextRefillAt"].is_string());
    // A clone begins with what was last set.
    assert_eq!(set(&root, &key.id(), Some(7)).code(), "");
    let clone = root.mutate("cloneKey", &json!({ "id": key.id() })).unwrap();
    assert_eq!(of_key(&root, &clone.id())["remaining"], 7);
    assert_eq!(of_key(&root, &clone.id())["refillAmount"], Value::Null);
    assert_eq!(of_key(&root, &root.create_key("none").run().id()), Value::Null);
    let items = json!([{ "name": "a", "environment": "PRODUCTION", "secret": "an-imported-secret-1", "credits": credits }]);
    let query = "mutation($input: ImportKeysInput!) { importKeys(input: $input) {
        results { key { credits { remaining } } } events { type } } }";
    let imported = data(&root, query, &json!({ "input": { "keys": items } }));
    assert_eq!(imported["importKeys"]["results"][0]["key"]["credits"]["remaining"], 3);
    assert_eq!(imported["importKeys"]["events"][1]["type"], "key.credits_changed");
    let server = Server::start(&server.stop(), &[]);
    assert_eq!(of_key(&server.root(), &clone.id())["remaining"], 7);
}

#[test]
fn credits_are_set_and_adjusted_for_a_reason() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").run().id();
    for (id, shown) in [(key, of_key as fn(&Client, &str) -> Value), (identity(&root), of_identity)] {
        assert_eq!(shown(&root, &id), Value::Null);
        let refused = adjust(&root, &id, 5);
        assert_eq!((refused.code(), refused.field()), ("ILLEGAL_TRANSITION", "input.id"));
        assert_eq!(events(&set(&root, &id, None), "setCredits"), 0);
        assert_eq!(events(&set(&root, &id, Some(10)), "setCredits"), 1);
        assert_eq!(events(&set(&root, &id, Some(10)), "setCredits"), 0);
        assert_eq!(events(&adjust(&root, &id, -4), "adjustCredits"), 1);
        assert_eq!(shown(&root, &id)["remaining"], 6);
        let refused = adjust(&root, &id, -7);
        assert_eq!((refused.code(), refused.field()), ("ILLEGAL_TRANSITION", "input.by"));
        assert!(refused.message().contains("only 6 credits"), "{}", refused.message());
        assert_eq!(refused.body["errors"][0]["extensions"]["details"]["remaining"], 6);
        assert_eq!(adjust(&root, &id, 1_000_000_000_000).code(), "INVALID_INPUT");
        assert_eq!(adjust(&root, &id, 999_999_999_994).code(), "");
        assert_eq!(shown(&root, &id)["remaining"], 1_000_000_000_000_u64);
        assert_eq!(events(&set(&root, &id, None), "setCredits"), 1);
        assert_eq!(shown(&root, &id), Value::Null);
    }
}

#[test]
fn a_refill_starts_when_it_is_set_and_an_adjustment_leaves_it() {
    let server = Server::fresh();
    let root = server.root();
    let id = identity(&root);
    let input = json!({
        "id": id, "remaining": 5, "refillAmount": 100, "refillIntervalSeconds": 3_600, "reason": "plan",
    });
    assert_eq!(attempt(&root, "setCredits", &input).code(), "");
    let first = of_identity(&root, &id);
    assert_eq!(adjust(&root, &id, 2).code(), "");
    let adjusted = of_identity(&root, &id);
    assert_eq!((&adjusted["remaining"], &adjusted["nextRefillAt"]), (&json!(7), &first["nextRefillAt"]));
    assert_eq!(attempt(&root, "setCredits", &input).code(), "");
    assert_ne!(of_identity(&root, &id)["nextRefillAt"], first["nextRefillAt"]);
    assert_eq!(set(&root, &id, Some(5)).code(), "");
    assert_eq!(of_identity(&root, &id)["nextRefillAt"], Value::Null);
    let query = "query($id: ID!) { identity(id: $id) { events(direction: DESC, first: 3) {
        nodes { type data changes { field before after } } } } }";
    let trail = data(&root, query, &json!({ "id": id }));
    let nodes = &trail["identity"]["events"]["nodes"];
    assert_eq!(nodes[2]["data"]["adjusted_by"], 2);
    assert_eq!(nodes[2]["data"]["reason"], "sold");
    assert_eq!(nodes[2]["changes"][0]["field"], "credits");
    assert_eq!(
        (&nodes[2]["changes"][0]["before"]["remaining"], &nodes[2]["changes"][0]["after"]["remaining"]),
        (&json!(5), &json!(7))
    );
    assert_eq!(nodes[1]["changes"][0]["before"]["remaining"], 7);
    let numbers: Vec<_> = (0..3).map(|at| nodes[at]["data"]["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [4, 3, 2]);
}

#[test]
fn the_trail_says_what_was_left_before_a_change() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").with("credits", json!({ "remaining": 10 })).run();
    root.verify_with(&json!({ "key": key.secret(), "cost": 4 })).unwrap();
    assert_eq!(adjust(&root, &key.id(), 4).code(), "");
    let query = "events(direction: DESC, first: 1) { nodes { type changes { field before after } } }";
    let shown = root.key(&key.id(), query).unwrap()["events"]["nodes"][0].clone();
    let credits =
        |left: u64| json!({ "remaining": left, "refillAmount": null, "refillIntervalSeconds": null });
    assert_eq!(shown["changes"], json!([{ "field": "credits", "before": credits(6), "after": credits(10) }]));
    // Bounds are told as they are, and every text by its name.
    for (by, reason, part) in [
        (10_i64.pow(13), "sold".to_owned(), "-1000000000000 to 1000000000000 credits are allowed"),
        (1, "x".repeat(501), "a reason has at most 500 characters"),
    ] {
        let input = json!({ "id": key.id(), "by": by, "reason": reason });
        let answer = attempt(&root, "adjustCredits", &input);
        assert!(answer.body.to_string().contains(part), "{}", answer.body);
    }
}

#[test]
fn changes_at_the_same_time_lose_nothing() {
    let server = Server::fresh();
    let root = server.root();
    let id = identity(&root);
    assert_eq!(set(&root, &id, Some(0)).code(), "");
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (root, id) = (root.clone(), id.clone());
            std::thread::spawn(move || {
                for _ in 0..5 {
                    assert_eq!(adjust(&root, &id, 3).code(), "");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(of_identity(&root, &id)["remaining"], 120);
    let revision = data(&root, "query($id: ID!) { identity(id: $id) { revision } }", &json!({ "id": id }))
        ["identity"]["revision"]
        .clone();
    // A repetition that names what it saw does not adjust twice; other edits do not disturb it.
    let adjust = || {
        let input = json!({ "id": id, "by": 1, "reason": "sold", "expectedRevision": revision });
        attempt(&root, "adjustCredits", &input).code().to_owned()
    };
    assert_eq!(attempt(&root, "updateIdentity", &json!({ "id": id, "name": "Seven" })).code(), "");
    assert_eq!(adjust(), "");
    assert_eq!(adjust(), "CONFLICT");
    assert_eq!(of_identity(&root, &id)["remaining"], 121);
}

#[test]
fn what_is_out_of_bounds_is_refused_by_name() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").run().id();
    let most = 1_000_000_000_000_u64;
    for (rest, field) in [
        (json!({}), "remaining"),
        (json!({ "remaining": most + 1 }), "remaining"),
        (json!({ "remaining": 1, "refillAmount": 1 }), "refillIntervalSeconds"),
        (json!({ "remaining": 1, "refillIntervalSeconds": 60 }), "refillAmount"),
        (json!({ "remaining": 1, "refillAmount": 0, "refillIntervalSeconds": 60 }), "refillAmount"),
        (json!({ "remaining": 1, "refillAmount": 1, "refillIntervalSeconds": 59 }), "refillIntervalSeconds"),
        (
            json!({ "remaining": 1, "refillAmount": 1, "refillIntervalSeconds": 31_622_401 }),
            "refillIntervalSeconds",
        ),
        (json!({ "remaining": null, "refillAmount": 1, "refillIntervalSeconds": 60 }), "refillAmount"),
        (json!({ "remaining": 1, "reason": " " }), "reason"),
        (json!({ "remaining": 1, "reason": "x".repeat(501) }), "reason"),
    ] {
        let mut input = json!({ "id": key, "reason": "a" });
        input.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let refused = attempt(&root, "setCredits", &input);
        assert_eq!(
            (refused.code(), refused.field()),
            ("INVALID_INPUT", &*format!("input.{field}")),
            "{input}"
        );
        let given = rest["remaining"].is_number() && rest.get("reason").is_none();
        if given {
            let new = json!({ "name": "a", "environment": "PRODUCTION", "credits": rest });
            let refused = attempt(&root, "createKey", &new);
            assert_eq!(refused.field(), format!("input.credits.{field}"), "{new}");
        }
    }
    for by in [0, i64::try_from(most).unwrap() + 1, i64::MIN] {
        let refused = adjust(&root, &key, by);
        assert_eq!((refused.code(), refused.field()), ("INVALID_INPUT", "input.by"), "{by}");
    }
    let role = set(&root, "role_01h455vb4pex5vsknk084sn02q", Some(1));
    assert_eq!((role.code(), role.field()), ("INVALID_INPUT", "input.id"));
    assert_eq!(root.key(&key, "revision").unwrap()["revision"], 0);
}

#[test]
fn what_is_out_of_use_is_given_no_credits() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").with("credits", json!({ "remaining": 1 })).run();
    root.revoke_key(&key.id(), "UNUSED").unwrap();
    assert_eq!(adjust(&root, &key.id(), 1).code(), "ILLEGAL_TRANSITION");
    let id = identity(&root);
    assert_eq!(attempt(&root, "deleteIdentity", &json!({ "id": id })).code(), "");
    assert_eq!(set(&root, &id, Some(1)).code(), "ILLEGAL_TRANSITION");
}

fn code(client: &Client, secret: &str, cost: u32) -> String {
    client.verify_with(&json!({ "key": secret, "cost": cost })).unwrap().code
}

#[test]
fn keys_of_an_identity_share_its_credits_and_have_their_own() {
    let server = Server::fresh();
    let root = server.root();
    let shared = identity(&root);
    assert_eq!(set(&root, &shared, Some(10)).code(), "");
    let key = |credits: u64| {
        let key = root.create_key("a").with("identityId", shared.as_str());
        key.with("credits", json!({ "remaining": credits })).run()
    };
    let (few, many) = (key(3), key(100));
    assert_eq!(code(&root, &few.secret(), 2), "VALID");
    // What one of them refuses spends nothing of the other.
    assert_eq!(code(&root, &few.secret(), 2), "CREDITS_EXHAUSTED");
    assert_eq!(code(&root, &many.secret(), 9), "CREDITS_EXHAUSTED");
    assert_eq!(
        (&of_key(&root, &few.id())["remaining"], &of_identity(&root, &shared)["remaining"]),
        (&json!(1), &json!(8))
    );
    assert_eq!(of_key(&root, &many.id())["remaining"], 100);
    assert_eq!(code(&root, &many.secret(), 8), "VALID");
    assert_eq!(code(&root, &few.secret(), 1), "CREDITS_EXHAUSTED");
    // Away from the identity only its own count.
    root.mutate("updateKey", &json!({ "id": few.id(), "identityId": null })).unwrap();
    assert_eq!(code(&root, &few.secret(), 1), "VALID");
    let spent = |root: &Client| {
        (of_key(root, &few.id())["spent"].clone(), of_identity(root, &shared)["spent"].clone())
    };
    assert_eq!(spent(&root), (json!(3), json!(10)));
    let server = Server::start(&server.stop(), &[]);
    assert_eq!(spent(&server.root()), (json!(3), json!(10)));
    assert_eq!(adjust(&server.root(), &shared, 1).code(), "");
    assert_eq!(of_identity(&server.root(), &shared)["remaining"], 1);
}

#[test]
fn what_is_spent_while_credits_are_changed_is_counted() {
    let server = Server::fresh();
    let root = server.root();
    let shared = identity(&root);
    assert_eq!(set(&root, &shared, Some(1_000)).code(), "");
    let secrets: Vec<String> =
        (0..4).map(|_| root.create_key("a").with("identityId", shared.as_str()).run().secret()).collect();
    let spending: Vec<_> = secrets
        .into_iter()
        .map(|secret| {
            let root = root.clone();
            std::thread::spawn(move || (0..40).filter(|_| code(&root, &secret, 2) == "VALID").count())
        })
        .collect();
    for _ in 0..30 {
        assert_eq!(adjust(&root, &shared, 5).code(), "");
    }
    let answered: usize = spending.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(answered, 160);
    let left = |root: &Client| of_identity(root, &shared)["remaining"].clone();
    assert_eq!(left(&root), 1_000 + 30 * 5 - 160 * 2);
    let server = Server::start(&server.stop(), &[]);
    assert_eq!(left(&server.root()), 1_000 + 30 * 5 - 160 * 2);
}

#[test]
fn credits_of_a_key_are_told_until_it_is_deleted() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").with("credits", json!({ "remaining": 5 })).run();
    assert_eq!(code(&root, &key.secret(), 2), "VALID");
    root.revoke_key(&key.id(), "UNUSED").unwrap();
    let server = Server::start(&server.stop(), &[]);
    let root = server.root();
    let credits = of_key(&root, &key.id());
    assert_eq!((&credits["remaining"], &credits["spent"]), (&json!(3), &json!(2)));
    root.delete_key(&key.id()).unwrap();
    assert_eq!(of_key(&root, &key.id()), Value::Null);
    assert_eq!(set(&root, &key.id(), Some(1)).code(), "ILLEGAL_TRANSITION");
}
