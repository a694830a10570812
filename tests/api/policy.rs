//! What an organization demands of its keys.

use std::time::Duration;

use keyledger::edge::Stopwatch;
use serde_json::{Value, json};

use crate::ask::{Answer, attempt, data, in_millis, text, types};
use crate::support::{Client, Server};

const DAY: u64 = 86_400;

fn set(client: &Client, rules: &Value) -> Value {
    let query = "mutation($input: SetOrganizationPolicyInput!) { setOrganizationPolicy(input: $input) {
        organization { effectivePolicy { maxTtl defaultTtl allowedEnvironments secretAcknowledgementRequired } }
        violations { count keys { key { id } violations { rule bound value } } } events { type } } }";
    data(client, query, &json!({ "input": rules }))["setOrganizationPolicy"].take()
}

fn violations(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.code(), "POLICY_VIOLATION", "{}", answer.body);
    let broken = &answer.body["errors"][0]["extensions"]["details"]["violations"];
    broken.as_array().unwrap().iter().map(|broken| text(&broken["rule"])).collect()
}

fn create(client: &Client, fields: &Value) -> Answer {
    let mut input = json!({ "name": "a", "environment": "PRODUCTION" });
    for (name, value) in fields.as_object().unwrap() {
        input[name] = value.clone();
    }
    attempt(client, "createKey", &input)
}

#[test]
fn each_rule_refuses_what_breaks_it_and_names_bound_and_value() {
    let server = Server::fresh();
    let root = server.root();
    let far = in_millis(100 * DAY * 1_000);
    let near = in_millis(DAY * 1_000);
    let slow = json!([{ "name": "minute", "limit": 10, "windowSeconds": 60 }]);
    let fast = json!([{ "name": "minute", "limit": 11, "windowSeconds": 60 }]);
    let both = json!([{ "name": "burst", "limit": 5, "windowSeconds": 1 },
                      { "name": "hour", "limit": 600, "windowSeconds": 3_600 }]);
    let rows = [
        (json!({ "expiryRequired": true }), json!({}), json!({ "expiresAt": far }), "expiryRequired"),
        (json!({ "maxTtl": 30 * DAY }), json!({ "expiresAt": far }), json!({ "expiresAt": near }), "maxTtl"),
        (json!({ "maxTtl": 30 * DAY }), json!({}), json!({ "expiresAt": near }), "maxTtl"),
        (
            json!({ "requireAllowedCidrs": true }),
            json!({}),
            json!({ "allowedCidrs": ["10.0.0.0/8"] }),
            "requireAllowedCidrs",
        ),
        (
            json!({ "allowedEnvironments": ["STAGING"] }),
            json!({}),
            json!({ "environment": "STAGING" }),
            "allowedEnvironments",
        ),
        (
            json!({ "maxRateLimit": { "limit": 10, "windowSeconds": 60 } }),
            json!({ "rateLimits": fast }),
            json!({ "rateLimits": slow }),
            "maxRateLimit",
        ),
        (
            json!({ "maxRateLimit": { "limit": 10, "windowSeconds": 60 } }),
            json!({}),
            json!({ "rateLimits": both }),
            "maxRateLimit",
        ),
    ];
    for (rules, breaking, keeping, rule) in rows {
        set(&root, &rules);
        let refused = create(&root, &breaking);
        assert_eq!(violations(&refused), [rule], "{rules}");
        assert!(refused.message().contains(rule), "{}", refused.message());
        assert_eq!(create(&root, &keeping).code(), "", "{rules} {keeping}");
        let mut gone = rules.clone();
        gone.as_object_mut().unwrap().values_mut().for_each(|value| *value = Value::Null);
        set(&root, &gone);
        assert_eq!(create(&root, &breaking).code(), "", "{gone}");
    }
    // All that is broken is told at once.
    set(&root, &json!({ "expiryRequired": true, "requireAllowedCidrs": true }));
    assert_eq!(violations(&create(&root, &json!({}))), ["expiryRequired", "requireAllowedCidrs"]);
}

#[test]
fn the_default_life_is_given_to_whoever_does_not_say() {
    let server = Server::fresh();
    let root = server.root();
    set(&root, &json!({ "defaultTtl": DAY, "maxTtl": 2 * DAY }));
    let key = root.create_key("a").run();
    assert!(root.key(&key.id(), "expiresAt").unwrap()["expiresAt"].is_string());
    let twisted = attempt(&root, "setOrganizationPolicy", &json!({ "defaultTtl": 3 * DAY }));
    assert_eq!((twisted.code(), twisted.field()), ("INVALID_INPUT", "input.defaultTtl"));
    for bad in
        [json!({ "maxTtl": 0 }), json!({ "allowedEnvironments": [] }), json!({ "maxTtl": 4_000_000_000_u64 })]
    {
        assert_eq!(attempt(&root, "setOrganizationPolicy", &bad).code(), "INVALID_INPUT", "{bad}");
    }
}

#[test]
fn a_new_rule_lists_the_keys_that_break_it_and_leaves_them_alone() {
    let server = Server::fresh();
    let root = server.root();
    let open = root.create_key("open").run();
    let kept = root.create_key("kept").with("allowedCidrs", json!(["10.0.0.0/8"])).run();
    let revoked = root.create_key("revoked").run();
    root.revoke_key(&revoked.id(), "UNUSED").unwrap();
    let rehearsed = set(&root, &json!({ "requireAllowedCidrs": true, "dryRun": true }));
    assert_eq!(rehearsed["events"], json!([]));
    let told = set(&root, &json!({ "requireAllowedCidrs": true }));
    assert_eq!(told["violations"], rehearsed["violations"]);
    let ids: Vec<_> =
        told["violations"]["keys"].as_array().unwrap().iter().map(|it| &it["key"]["id"]).collect();
    // The root key names no network either.
    assert_eq!(told["violations"]["count"], 2);
    assert!(ids.contains(&&json!(open.id())) && !ids.contains(&&json!(kept.id())), "{ids:?}");
    assert!(root.verify(&open.secret()).unwrap().valid);
    // What is changed has to keep the rules; what is not stays as it was.
    let input = json!({ "id": open.id(), "name": "renamed" });
    assert_eq!(attempt(&root, "updateKey", &input).code(), "");
    let input = json!({ "id": kept.id(), "allowedCidrs": [] });
    assert_eq!(violations(&attempt(&root, "updateKey", &input)), ["requireAllowedCidrs"]);
}

#[test]
fn a_secret_that_nobody_acknowledges_switches_its_key_off() {
    let server = Server::fresh();
    let root = server.root();
    let before = root.create_key("before").run();
    set(&root, &json!({ "secretAcknowledgementRequired": 1 }));
    let told = set(&root, &json!({ "secretAcknowledgementRequired": 1, "dryRun": true }));
    assert_eq!(told["organization"]["effectivePolicy"]["secretAcknowledgementRequired"], 1);
    let late = root.create_key("late").run();
    let in_time = root.create_key("in time").run();
    root.mutate("acknowledgeKeySecret", &json!({ "id": in_time.id() })).unwrap();
    std::thread::sleep(Duration::from_secs(40));
    assert!(root.verify(&late.secret()).unwrap().valid);
    // A minute after it was made, and a little more on a busy machine.
    let waiting = Stopwatch::start();
    while root.verify(&late.secret()).unwrap().code != "DISABLED" {
        assert!(waiting.elapsed() < Duration::from_mins(2), "the key is not switched off");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(root.verify(&in_time.secret()).unwrap().valid);
    assert!(root.verify(&before.secret()).unwrap().valid, "older secrets are not held to a new rule");
    assert_eq!(types(&root, &late.id()), ["key.issued", "key.disabled"]);
    let enabled = attempt(&root, "enableKey", &json!({ "id": late.id() }));
    assert_eq!(enabled.code(), "POLICY_VIOLATION");
    root.mutate("acknowledgeKeySecret", &json!({ "id": late.id() })).unwrap();
    root.enable_key(&late.id()).unwrap();
    assert!(root.verify(&late.secret()).unwrap().valid);
}
