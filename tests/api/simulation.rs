//! What a change would have refused, held against verifications that were really made.

use keyledger::edge::Edge;
use serde_json::{Value, json};

use crate::ask::{World, ask, create_workspace, data, eventually, manager, world};
use crate::support::{Client, Mutated};

const FIELDS: &str = "calls refused refusals { code rule calls } keys affectedKeys until \
    mostAffected { key { id } calls refused refusals { code rule calls } firstRefusedAt lastRefusedAt }";

fn query(organization: &str, filter: &str, change: &str) -> String {
    let now = Edge::default().now();
    let hour = std::time::Duration::from_hours(1);
    let (from, to) = (now.minus(hour), now.plus(hour));
    format!(
        "{{ simulate({organization} filter: {filter}, change: {change}, from: \"{from}\", to: \"{to}\") {{ {FIELDS} }} }}"
    )
}

fn simulate(client: &Client, filter: &str, change: &str) -> Value {
    data(client, &query("", filter, change), &json!({}))["simulate"].take()
}

/// Two keys and twelve calls that were answered `VALID`.
fn traffic() -> (World, Mutated, Mutated) {
    let world = world();
    let a = world.root.create_key("a").scope("read:customers/**").scope("write:invoices/*").run();
    let b = world.root.create_key("b").scope("read:**").run();
    let ask = |key: &Mutated, action: &str, resource: &str, ip: &str, times: usize| {
        for _ in 0..times {
            let question = json!({ "key": key.secret(), "action": action, "resource": resource, "ip": ip });
            world.root.verify_with(&question).unwrap();
        }
    };
    ask(&a, "read", "customers/42", "203.0.113.7", 4);
    ask(&a, "write", "invoices/7", "203.0.113.7", 3);
    // Refused then as well: not what a change would break.
    ask(&a, "write", "customers/42", "203.0.113.7", 5);
    ask(&b, "read", "anything", "198.51.100.9", 5);
    let all = "{ verifications { nodes { count } } }";
    eventually("all verifications are in the log", || {
        let nodes = data(&world.root, all, &json!({}))["verifications"]["nodes"].take();
        let count = |node: &Value| node["count"].as_u64().unwrap();
        nodes.as_array().unwrap().iter().map(count).sum::<u64>() == 17
    });
    (world, a, b)
}

#[test]
fn a_change_is_held_against_what_was_asked() {
    let (world, a, b) = traffic();
    let root = &world.root;
    let scopes = r#"{ scopes: [{ action: READ, resource: "customers/**" }] }"#;
    let told = simulate(root, "{}", scopes);
    assert_eq!(
        (&told["calls"], &told["refused"], &told["keys"], &told["affectedKeys"], &told["until"]),
        (&json!(12), &json!(8), &json!(2), &json!(2), &Value::Null)
    );
    assert_eq!(told["refusals"], json!([{ "code": "INSUFFICIENT_SCOPE", "rule": null, "calls": 8 }]));
    let most = told["mostAffected"].as_array().unwrap();
    assert_eq!((&most[0]["key"]["id"], &most[0]["refused"]), (&json!(b.id()), &json!(5)));
    assert_eq!((&most[1]["key"]["id"], &most[1]["calls"]), (&json!(a.id()), &json!(7)));
    assert!(most[1]["firstRefusedAt"].as_str() <= most[1]["lastRefusedAt"].as_str());

    let networks = r#"{ allowedCidrs: ["203.0.113.0/24"] }"#;
    assert_eq!(
        simulate(root, "{}", networks)["refusals"],
        json!([{ "code": "IP_NOT_ALLOWED", "rule": null, "calls": 5 }])
    );
    let limits = r#"{ rateLimits: [{ name: "day", limit: 3, windowSeconds: 86400 }] }"#;
    let only_a = format!("{{ keyIds: [\"{}\"] }}", a.id());
    assert_eq!(
        simulate(root, &only_a, limits)["refusals"],
        json!([{ "code": "RATE_LIMITED", "rule": null, "calls": 4 }])
    );
    let policy = "{ policy: { requireAllowedCidrs: true } }";
    assert_eq!(
        simulate(root, "{}", policy)["refusals"],
        json!([{ "code": "IP_NOT_ALLOWED", "rule": "requireAllowedCidrs", "calls": 12 }])
    );
    let off = "{ policy: { apiKeysEnabled: false } }";
    assert_eq!(simulate(root, &only_a, off)["refused"], 7);
    // What is not proposed is not judged, whatever became of it since.
    root.graphql(
        "mutation($input: UpdateKeyInput!) { updateKey(input: $input) { key { id } } }",
        &json!({ "input": { "id": a.id(), "allowedCidrs": ["10.0.0.0/8"], "scopes": [] } }),
    )
    .unwrap();
    let generous = r#"{ rateLimits: [{ name: "day", limit: 100000, windowSeconds: 1 }] }"#;
    assert_eq!(simulate(root, "{}", generous)["refused"], 0);
    let narrow = root.verify_with(&json!({ "key": a.secret(), "ip": "10.1.2.3" })).unwrap();
    assert!(narrow.valid);
}

#[test]
fn a_role_is_changed_for_those_who_hold_it() {
    let world = world();
    let root = &world.root;
    let made = "mutation($input: CreateRoleInput!) { createRole(input: $input) { role { id } } }";
    let scopes = json!([{ "action": "READ", "resource": "tickets/**" }]);
    let role = data(root, made, &json!({ "input": { "name": "support", "scopes": scopes } }));
    let role = role["createRole"]["role"]["id"].as_str().unwrap();
    let holder = root.create_key("holder").with("roleIds", json!([role])).run();
    let question = json!({ "key": holder.secret(), "action": "read", "resource": "tickets/1" });
    assert!(root.verify_with(&question).unwrap().valid);
    eventually("the call is in the log", || {
        let change = format!("{{ roleId: \"{role}\", scopes: [] }}");
        simulate(root, "{}", &change)["refused"] == 1
    });
    let same = format!("{{ roleId: \"{role}\", scopes: [{{ action: READ, resource: \"tickets/*\" }}] }}");
    assert_eq!(simulate(root, "{}", &same)["refused"], 0);
}

#[test]
fn what_makes_no_sense_is_refused_by_its_name() {
    let world = world();
    for (change, field) in [
        ("{}", "change"),
        ("{ policy: {} }", "change.policy"),
        (r#"{ scopes: [{ action: READ, resource: "a//b" }] }"#, "change.scopes[0].resource"),
        (r#"{ allowedCidrs: ["here"] }"#, "change.allowedCidrs[0]"),
        (r#"{ rateLimits: [{ name: "A", limit: 1, windowSeconds: 1 }] }"#, "change.rateLimits[0].name"),
        ("{ policy: { maxTtl: 0 } }", "change.policy.maxTtl"),
        (r#"{ roleId: "role_01h455vb4pex5vsknk084sn02q", scopes: [] }"#, "change.roleId"),
        (r#"{ roleId: "role_01h455vb4pex5vsknk084sn02q" }"#, "change.scopes"),
    ] {
        let answer = ask(&world.root, &query("", "{}", change), &json!({}));
        assert_eq!((answer.code() != "INTERNAL", answer.field()), (true, field), "{change}");
    }
}

#[test]
fn an_auditor_learns_of_its_own_workspace_only() {
    let (world, ..) = traffic();
    let elsewhere = create_workspace(&world.root, "elsewhere");
    let manager = manager(&world.root, "AUDITOR", &elsewhere);
    let manager = world.server.client(&manager.secret());
    let off = "{ policy: { apiKeysEnabled: false } }";
    let told = simulate(&manager, "{}", off);
    assert_eq!((&told["calls"], &told["mostAffected"]), (&json!(0), &json!([])));
    let other = &world.other_tenant.organization;
    let stranger = query(&format!("organizationId: \"{other}\","), "{}", off);
    assert_eq!(ask(&world.root, &stranger, &json!({})).code(), "NOT_FOUND");
}
