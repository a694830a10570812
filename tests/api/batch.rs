//! Many verifications in one call.

use serde_json::{Value, json};

use crate::ask::{eventually, manager, world};
use crate::support::{Client, Server};

fn batch(client: &Client, requests: &[Value]) -> (u16, Value) {
    client.post("/v1/verify/batch", &json!({ "requests": requests })).unwrap()
}

#[test]
fn a_batch_answers_what_each_question_alone_is_answered_in_their_order() {
    let server = Server::fresh();
    let root = server.root();
    let active = root.create_key("a").scope("read:customers/**").run();
    let revoked = root.create_key("b").run();
    root.revoke_key(&revoked.id(), "UNUSED").unwrap();
    let bound = root.create_key("c").with("allowedCidrs", json!(["203.0.113.0/24"])).run();
    let questions = [
        json!({ "key": active.secret(), "action": "read", "resource": "customers/1" }),
        json!({ "key": active.secret(), "action": "write", "resource": "customers/1" }),
        json!({ "key": "nonsense" }),
        json!({ "key": revoked.secret() }),
        json!({ "key": bound.secret(), "ip": "198.51.100.1" }),
        json!({ "key": bound.secret(), "ip": "203.0.113.1", "environment": "production" }),
        json!({ "key": active.secret(), "environment": "staging" }),
        json!({ "key": active.secret(), "action": "read", "resource": "customers/1" }),
    ];
    let (status, answer) = batch(&root, &questions);
    assert_eq!(status, 200, "{answer}");
    let results = answer["results"].as_array().unwrap();
    let codes: Vec<&str> = results.iter().map(|result| result["code"].as_str().unwrap()).collect();
    let expected = [
        "VALID",
        "INSUFFICIENT_SCOPE",
        "MALFORMED",
        "REVOKED",
        "IP_NOT_ALLOWED",
        "VALID",
        "WRONG_ENVIRONMENT",
        "VALID",
    ];
    assert_eq!(codes, expected);
    for (question, result) in questions.iter().zip(results) {
        assert_eq!(&root.verify_with(question).unwrap().body, result, "{question}");
    }
    // Each of them is recorded: four a call, in a batch and one by one.
    eventually("the use of the key is counted", || {
        let key = root.key(&active.id(), "usage { valid refused }").unwrap();
        key["usage"] == json!({ "valid": 4, "refused": 4 })
    });
}

#[test]
fn a_hundred_questions_are_recorded_and_one_more_is_refused() {
    let server = Server::fresh();
    let root = server.root();
    let issued = root.create_key("a").run();
    let question = json!({ "key": issued.secret() });
    let (status, answer) = batch(&root, &vec![question.clone(); 100]);
    assert_eq!((status, answer["results"].as_array().map(Vec::len)), (200, Some(100)));
    let (status, answer) = batch(&root, &vec![question; 101]);
    assert_eq!((status, &answer["error"]["field"]), (400, &json!("requests")));
    eventually("all of them are counted", || {
        root.key(&issued.id(), "usage { valid }").unwrap()["usage"]["valid"] == 100
    });
    // In strict mode they are durable when they are answered.
    batch(&root, &vec![json!({ "key": issued.secret(), "ip": "192.0.2.77" }); 3]);
    let home = server.home().clone();
    server.kill();
    drop(server);
    let server = Server::start(&home, &[]);
    eventually("what was answered is counted after a crash", || {
        server.root().key(&issued.id(), "usage { valid }").unwrap()["usage"]["valid"] == 103
    });
}

#[test]
fn a_question_that_is_wrong_refuses_the_call_and_is_named() {
    let server = Server::fresh();
    let root = server.root();
    let issued = root.create_key("a").run();
    let good = json!({ "key": issued.secret() });
    for (bad, field) in [
        (json!({ "key": issued.secret(), "ip": "nonsense" }), "requests[1].ip"),
        (json!({ "key": issued.secret(), "action": "fly" }), "requests[1].action"),
        (json!({ "key": issued.secret(), "resource": "a" }), "requests[1].action"),
        (json!({ "key": issued.secret(), "price": 1 }), "requests[1].price"),
        (json!({ "key": issued.secret(), "cost": "a" }), "requests[1].cost"),
        (json!({ "key": 17 }), "requests[1].key"),
        (json!({}), "requests[1].key"),
        (json!("text"), "requests[1]"),
    ] {
        let (status, answer) = batch(&root, &[good.clone(), bad.clone(), good.clone()]);
        assert_eq!((status, &answer["error"]["field"]), (400, &json!(field)), "{bad}: {answer}");
        assert_eq!(answer["error"]["code"], "INVALID_INPUT");
        assert!(!answer.to_string().contains(&issued.secret()));
    }
    for body in [json!({}), json!({ "requests": [] }), json!({ "requests": 1 }), json!({ "requests": null })]
    {
        let (status, answer) = root.post("/v1/verify/batch", &body).unwrap();
        assert_eq!((status, &answer["error"]["field"]), (400, &json!("requests")), "{body}");
    }
    assert_eq!(root.get("/v1/verify/batch").unwrap().0, 405);
}

#[test]
fn a_batch_tells_everybody_what_they_may_know_and_no_more() {
    let world = world();
    let ours = world.root.create_key("a").with("workspaceId", world.workspace.as_str()).run();
    let theirs = world.other.create_key("b").run();
    let questions = [json!({ "key": ours.secret() }), json!({ "key": theirs.secret() })];
    let codes = |client: &Client| {
        let (status, answer) = batch(client, &questions);
        assert_eq!(status, 200);
        answer["results"].as_array().unwrap().iter().map(|result| result["code"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(codes(&world.root), ["VALID", "NOT_FOUND"]);
    assert_eq!(codes(&world.other), ["NOT_FOUND", "VALID"]);
    let viewer = world.server.client(&manager(&world.root, "VIEWER", &world.workspace).secret());
    assert_eq!(batch(&viewer, &questions).0, 403);
    assert_eq!(batch(&world.server.anonymous(), &questions).0, 401);
    assert_eq!(batch(&world.server.client(&ours.secret()), &questions).0, 401);
}
