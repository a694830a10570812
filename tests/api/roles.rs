//! Roles: named scope sets that are changed in one place.

use serde_json::{Value, json};

use crate::ask::{ask, attempt, data, text, world};
use crate::support::{Client, Server, parse_scope};

fn scopes(texts: &[&str]) -> Value {
    texts.iter().map(|text| parse_scope(text)).collect()
}

fn create(client: &Client, name: &str, scopes: &Value) -> String {
    let query = "mutation($input: CreateRoleInput!) { createRole(input: $input) { role { id } } }";
    let input = json!({ "name": name, "scopes": scopes });
    text(&data(client, query, &json!({ "input": input }))["createRole"]["role"]["id"])
}

fn may(client: &Client, secret: &str, action: &str, resource: &str) -> String {
    let question = json!({ "key": secret, "action": action, "resource": resource });
    let (status, body) = client.post("/v1/verify", &question).unwrap();
    assert_eq!(status, 200, "{body}");
    text(&body["code"])
}

#[test]
fn keys_that_hold_a_role_follow_it_at_once() {
    let server = Server::fresh();
    let root = server.root();
    let role = create(&root, "support", &scopes(&["read:customers/**"]));
    let keys: Vec<_> = (0..20).map(|_| root.create_key("a").with("roleIds", json!([role])).run()).collect();
    let plain = root.create_key("plain").scope("read:own").run();
    for key in &keys {
        assert_eq!(may(&root, &key.secret(), "read", "customers/7"), "VALID");
        assert_eq!(may(&root, &key.secret(), "write", "tickets"), "INSUFFICIENT_SCOPE");
    }
    let change = json!({ "id": role, "scopes": scopes(&["write:tickets"]) });
    assert_eq!(attempt(&root, "updateRole", &change).code(), "");
    for key in &keys {
        assert_eq!(may(&root, &key.secret(), "write", "tickets"), "VALID");
        assert_eq!(may(&root, &key.secret(), "read", "customers/7"), "INSUFFICIENT_SCOPE");
    }
    assert_eq!(may(&root, &plain.secret(), "write", "tickets"), "INSUFFICIENT_SCOPE");
    // Given and taken by an update of the key.
    root.mutate("updateKey", &json!({ "id": plain.id(), "roleIds": [role] })).unwrap();
    assert_eq!(may(&root, &plain.secret(), "write", "tickets"), "VALID");
    let taken = root.mutate("updateKey", &json!({ "id": plain.id(), "roleIds": [] })).unwrap();
    assert_eq!(taken.warnings[0]["code"], "ROLE_REMOVED");
    assert_eq!(may(&root, &plain.secret(), "write", "tickets"), "INSUFFICIENT_SCOPE");
    let server = Server::start(&server.stop(), &[]);
    assert_eq!(may(&server.root(), &keys[0].secret(), "write", "tickets"), "VALID");
}

#[test]
fn the_summary_speaks_in_display_names() {
    let server = Server::fresh();
    let root = server.root();
    let query = "mutation($input: CreateRoleInput!) { createRole(input: $input) { role { id } } }";
    let mut named = parse_scope("read:customers/**");
    named["displayName"] = "Customer Read".into();
    let input = json!({
        "name": "support", "displayName": "Support desk", "scopes": [named, parse_scope("write:tickets")]
    });
    let role = text(&data(&root, query, &json!({ "input": input }))["createRole"]["role"]["id"]);
    let key =
        root.create_key("a").scope("read:customers/**").scope("admin:x").with("roleIds", json!([role])).run();
    let fields =
        "permissionSummary roles { name displayName } effectiveScopes { text displayName own byRoles }";
    let shown = root.key(&key.id(), fields).unwrap();
    assert_eq!(shown["permissionSummary"], json!(["Support desk", "Customer Read", "admin:x"]));
    assert_eq!(shown["roles"], json!([{ "name": "support", "displayName": "Support desk" }]));
    let scope = |text: &str| {
        let all = shown["effectiveScopes"].as_array().unwrap();
        all.iter().find(|scope| scope["text"] == text).unwrap().clone()
    };
    assert_eq!(
        scope("read:customers/**"),
        json!({ "text": "read:customers/**", "displayName": "Customer Read", "own": true, "byRoles": ["support"] })
    );
    assert_eq!(scope("admin:x")["byRoles"], json!([]));
    assert_eq!(scope("write:tickets")["own"], false);
    let clone = root.mutate("cloneKey", &json!({ "id": key.id() })).unwrap();
    assert_eq!(root.key(&clone.id(), fields).unwrap(), shown);
}

#[test]
fn a_role_in_use_is_not_deleted_and_its_holders_are_named() {
    let server = Server::fresh();
    let root = server.root();
    let role = create(&root, "support", &scopes(&["read:a"]));
    let key = root.create_key("holder").with("roleIds", json!([role])).run();
    let gone = root.create_key("gone").with("roleIds", json!([role])).run();
    root.revoke_key(&gone.id(), "UNUSED").unwrap();
    let refused = attempt(&root, "deleteRole", &json!({ "id": role }));
    assert_eq!(refused.code(), "ILLEGAL_TRANSITION");
    let details = &refused.body["errors"][0]["extensions"]["details"];
    assert_eq!(details, &json!({ "holderCount": 1, "holders": [{ "id": key.id(), "name": "holder" }] }));
    let listed = data(
        &root,
        "query($id: ID!) { keys(filter: { roleId: $id, statuses: [ACTIVE, REVOKED] }) { totalCount } }",
        &json!({ "id": role }),
    );
    assert_eq!(listed["keys"]["totalCount"], 2);
    root.mutate("updateKey", &json!({ "id": key.id(), "roleIds": [] })).unwrap();
    assert_eq!(attempt(&root, "deleteRole", &json!({ "id": role })).code(), "");
    assert_eq!(attempt(&root, "deleteRole", &json!({ "id": role })).code(), "NOT_FOUND");
    let missing = json!({ "name": "a", "environment": "PRODUCTION", "roleIds": [role] });
    let refused = attempt(&root, "createKey", &missing);
    assert_eq!((refused.code(), refused.field()), ("NOT_FOUND", "input.roleIds"));
}

#[test]
fn roles_of_roles_of_roles_cost_too_much() {
    let server = Server::fresh();
    let root = server.root();
    let deep = "{ organization { roles { organization { roles { organization { roles { id } } } } } } }";
    let refused = ask(&root, deep, &json!({}));
    assert_eq!(refused.code(), "INVALID_INPUT", "{}", refused.body);
    let listed = "{ roles { id name displayName description scopes { text displayName } createdAt } }";
    data(&root, listed, &json!({}));
}

#[test]
fn names_are_unique_and_edits_clash_only_on_the_same_role() {
    let world = world();
    let root = &world.root;
    let role = create(root, "Support", &scopes(&["read:a"]));
    let taken = attempt(root, "createRole", &json!({ "name": "support", "scopes": [] }));
    assert_eq!((taken.code(), taken.field()), ("CONFLICT", "input.name"));
    // Another tenant may call its own so, and sees nothing of this one.
    create(&world.other, "Support", &scopes(&["read:b"]));
    let foreign = ask(&world.other, "query($id: ID!) { role(id: $id) { name } }", &json!({ "id": role }));
    assert_eq!(foreign.code(), "NOT_FOUND");
    let foreign = attempt(&world.other, "updateRole", &json!({ "id": role, "name": "x" }));
    assert_eq!(foreign.code(), "NOT_FOUND");
    let foreign = json!({ "name": "a", "environment": "PRODUCTION", "roleIds": [role] });
    assert_eq!(attempt(&world.other, "createKey", &foreign).code(), "NOT_FOUND");
    let seen = data(root, "query($id: ID!) { role(id: $id) { revision } }", &json!({ "id": role }))["role"]
        ["revision"]
        .clone();
    create(root, "another", &scopes(&[]));
    let edit = |name: &str| {
        attempt(root, "updateRole", &json!({ "id": role, "name": name, "expectedRevision": seen }))
    };
    assert_eq!(edit("First").code(), "");
    assert_eq!(edit("Second").code(), "CONFLICT");
    let twice = scopes(&["read:a", "read:a"]);
    assert_eq!(attempt(root, "createRole", &json!({ "name": "b", "scopes": twice })).code(), "INVALID_INPUT");
}
