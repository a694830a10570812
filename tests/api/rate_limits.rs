//! Rate limits, from the mutation that sets them to the verification that they refuse.

use serde_json::{Value, json};

use crate::ask::{attempt, eventually};
use crate::support::{Client, Mutated, Server};

/// The longest window: nothing comes back while a test runs.
const LONG: u32 = 31 * 86_400;

fn limits(limits: &[(&str, u64)]) -> Value {
    let limit = |(name, limit): &(&str, u64)| json!({ "name": name, "limit": limit, "windowSeconds": LONG });
    limits.iter().map(limit).collect()
}

/// The code, and what is left of each limit.
fn verify(client: &Client, key: &Mutated, cost: u32) -> (String, Value) {
    let answer = client.verify_with(&json!({ "key": key.secret(), "cost": cost })).unwrap();
    let left = answer.body["rateLimits"].as_array().into_iter().flatten();
    (answer.code, left.map(|limit| limit["remaining"].clone()).collect())
}

fn valid(left: &[u64]) -> (String, Value) {
    ("VALID".to_owned(), json!(left))
}

fn limited(left: &[u64]) -> (String, Value) {
    ("RATE_LIMITED".to_owned(), json!(left))
}

#[test]
fn a_key_is_verified_as_often_as_its_limits_allow() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").with("rateLimits", limits(&[("month", 3), ("more", 9)])).run();
    let shown = root.key(&key.id(), "rateLimits { name limit windowSeconds }").unwrap();
    assert_eq!(shown["rateLimits"], limits(&[("month", 3), ("more", 9)]));
    for left in (0..3).rev() {
        assert_eq!(verify(&root, &key, 1), valid(&[left, left + 6]));
    }
    assert_eq!(verify(&root, &key, 1), limited(&[0, 6]));
    // Another key of the same limits has its own.
    let other = root.create_key("b").with("rateLimits", limits(&[("month", 3), ("more", 9)])).run();
    assert_eq!(verify(&root, &other, 2), valid(&[1, 7]));
    eventually("the count of refusals", || {
        let key = root.key(&key.id(), "usage { valid refused lastCode }").unwrap();
        key["usage"] == json!({ "valid": 3, "refused": 1, "lastCode": "RATE_LIMITED" })
    });
}

#[test]
fn what_was_spent_outlives_updates_and_rotations() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").with("rateLimits", limits(&[("month", 10)])).run();
    assert_eq!(verify(&root, &key, 4), valid(&[6]));
    root.update_key(&key.id(), "b").unwrap();
    assert_eq!(verify(&root, &key, 0), valid(&[6]));
    let update =
        |limits: Value| attempt(&root, "updateKey", &json!({ "id": key.id(), "rateLimits": limits }));
    assert_eq!(update(limits(&[("new", 5), ("month", 100)])).status, 200);
    assert_eq!(verify(&root, &key, 0), valid(&[5, 60]));
    let rotated = root.rotate_key(&key.id(), 3_600).unwrap();
    assert_eq!(verify(&root, &rotated, 1), valid(&[4, 59]));
    assert_eq!(verify(&root, &key, 1), valid(&[3, 58]));
    let again = root.rotate_key(&key.id(), 0).unwrap();
    assert_eq!(verify(&root, &again, 3), valid(&[0, 55]));
    assert_eq!(verify(&root, &again, 1), limited(&[0, 55]));
    root.disable_key(&key.id()).unwrap();
    assert_eq!(verify(&root, &again, 1), ("DISABLED".to_owned(), json!([])));
    root.enable_key(&key.id()).unwrap();
    assert_eq!(verify(&root, &again, 1), limited(&[0, 55]));
    assert_eq!(update(json!([])).status, 200);
    assert_eq!(verify(&root, &again, 1), valid(&[]));
}

#[test]
fn a_restart_begins_with_one_burst() {
    let server = Server::fresh();
    let key = server.root().create_key("a").with("rateLimits", limits(&[("month", 2)])).run();
    assert_eq!(verify(&server.root(), &key, 2), valid(&[0]));
    assert_eq!(verify(&server.root(), &key, 1), limited(&[0]));
    let server = Server::start(&server.stop(), &[]);
    assert_eq!(verify(&server.root(), &key, 3), limited(&[2]));
    assert_eq!(verify(&server.root(), &key, 2), valid(&[0]));
    assert_eq!(verify(&server.root(), &key, 1), limited(&[0]));
}
