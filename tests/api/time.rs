//! What the passing of time does: expiry, overlaps of rotations.

use serde_json::json;

use crate::ask::{attempt, data, eventually, short_lived, text, types};
use crate::support::Server;

#[test]
fn a_rotation_stops_the_old_secret_at_once() {
    let server = Server::fresh();
    let root = server.root();
    let issued = root.create_key("a").run();
    let rotated = root.rotate_key(&issued.id(), 0).unwrap();
    assert_eq!(rotated.key["secretVersion"], 2);
    assert_eq!(root.verify(&issued.secret()).unwrap().code, "NOT_FOUND");
    let verified = root.verify(&rotated.secret()).unwrap();
    assert_eq!((verified.valid, &verified.body["secretVersion"]), (true, &json!(2)));
    assert_eq!(root.key(&issued.id(), "previousSecret { version }").unwrap()["previousSecret"], json!(null));
}

#[test]
fn both_secrets_are_valid_during_an_overlap_and_its_end_is_an_event() {
    let server = Server::fresh();
    let root = server.root();
    let issued = root.create_key("a").run();
    let rotated = root.rotate_key(&issued.id(), 2).unwrap();
    let (old, new) = (root.verify(&issued.secret()).unwrap(), root.verify(&rotated.secret()).unwrap());
    assert_eq!((old.valid, &old.body["secretVersion"]), (true, &json!(1)));
    assert!(old.body["secretExpiresAt"].is_string(), "{}", old.body);
    assert_eq!((new.valid, &new.body["secretVersion"]), (true, &json!(2)));
    assert!(new.body["secretExpiresAt"].is_null(), "{}", new.body);
    let key = root.key(&issued.id(), "previousSecret { version hint validUntil }").unwrap();
    assert_eq!(key["previousSecret"]["version"], 1);
    assert_eq!(key["previousSecret"]["validUntil"], old.body["secretExpiresAt"]);
    eventually("the end of the overlap", || root.verify(&issued.secret()).unwrap().code == "NOT_FOUND");
    assert_eq!(root.key(&issued.id(), "previousSecret { version }").unwrap()["previousSecret"], json!(null));
    eventually("the record of the end", || {
        types(&root, &issued.id()) == ["key.issued", "key.secret_rotated", "key.secret_overlap_ended"]
    });
    let ended = root.key(&issued.id(), "events(last: 1, filter: { types: [\"key.secret_overlap_ended\"] }) { nodes { actor { kind } data } }").unwrap();
    let ended = &ended["events"]["nodes"][0];
    assert_eq!(ended["actor"]["kind"], "NODE");
    assert_eq!(ended["data"], json!({ "secret_version": 1, "ended_at": old.body["secretExpiresAt"] }));
    assert!(root.verify(&rotated.secret()).unwrap().valid);
}

#[test]
fn a_second_rotation_during_an_overlap_leaves_two_secrets() {
    let server = Server::fresh();
    let root = server.root();
    let first = root.create_key("a").run();
    let second = root.rotate_key(&first.id(), 3_600).unwrap();
    let third = root.rotate_key(&first.id(), 3_600).unwrap();
    assert_eq!(third.warnings[0]["code"], "OVERLAP_CUT_SHORT");
    let written: Vec<String> = third.events.iter().map(|event| text(&event["type"])).collect();
    assert_eq!(written, ["key.secret_overlap_ended", "key.secret_rotated"]);
    assert_eq!(root.verify(&first.secret()).unwrap().code, "NOT_FOUND");
    assert_eq!(root.verify(&second.secret()).unwrap().body["secretVersion"], 2);
    assert_eq!(root.verify(&third.secret()).unwrap().body["secretVersion"], 3);
    root.revoke_key(&first.id(), "UNUSED").unwrap();
    for secret in [second.secret(), third.secret()] {
        assert_eq!(root.verify(&secret).unwrap().code, "REVOKED");
    }
}

#[test]
fn a_key_expires_by_itself_and_its_expiry_is_recorded() {
    let server = Server::fresh();
    let root = server.root();
    let kept = root.create_key("b").with("expiresAt", "2999-01-01T00:00:00Z").run();
    let (issued, expires_at) = short_lived(|end| {
        let issued = root.create_key("a").with("expiresAt", end).try_run().ok()?;
        let answer = root.verify(&issued.secret()).unwrap();
        assert!(!answer.valid || answer.body["expiresAt"] == end, "{}", answer.body);
        answer.valid.then(|| (issued, end.to_owned()))
    });
    eventually("the expiry", || root.verify(&issued.secret()).unwrap().code == "EXPIRED");
    assert_eq!(root.key(&issued.id(), "status").unwrap()["status"], "EXPIRED");
    let listed = |status: &str| {
        let query = "query($s: KeyStatus!) { keys(filter: { statuses: [$s] }) { nodes { id } } }";
        data(&root, query, &json!({ "s": status })).to_string().contains(&issued.id())
    };
    assert!(listed("EXPIRED") && !listed("ACTIVE"));
    eventually("the record", || types(&root, &issued.id()) == ["key.issued", "key.expired"]);
    let recorded = root
        .key(
            &issued.id(),
            "events(last: 1, filter: { types: [\"key.expired\"] }) { nodes { actor { kind id } data } }",
        )
        .unwrap();
    assert_eq!(recorded["events"]["nodes"][0]["data"], json!({ "expired_at": expires_at }));
    assert_eq!(types(&root, &kept.id()), ["key.issued"]);
    for mutation in ["updateKey", "rotateKey", "enableKey", "disableKey", "cloneKey", "acknowledgeKeySecret"]
    {
        let refused = attempt(&root, mutation, &json!({ "id": issued.id() }));
        assert_eq!(refused.code(), "ILLEGAL_TRANSITION", "{mutation}");
    }
    assert_eq!(root.revoke_key(&issued.id(), "UNUSED").unwrap().key["status"], "REVOKED");
}

#[test]
fn an_expiry_date_lies_in_the_future() {
    let server = Server::fresh();
    let root = server.root();
    for at in ["1970-01-01T00:00:00Z", "2020-01-01T00:00:00Z"] {
        let input = json!({ "name": "a", "environment": "PRODUCTION", "expiresAt": at });
        let refused = attempt(&root, "createKey", &input);
        assert_eq!((refused.code(), refused.field()), ("INVALID_INPUT", "input.expiresAt"));
    }
}
