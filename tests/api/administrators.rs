//! The last administrator stays, and grants can be changed within one's own.

use std::thread;

use serde_json::{Value, json};

use crate::ask::{attempt, data, manager, text, world};
use crate::support::{Client, Mutated, Server};

fn administrator(client: &Client, name: &str) -> Mutated {
    let organization = text(&data(client, "{ organization { id } }", &json!({}))["organization"]["id"]);
    let grants = json!([{ "role": "ORGANIZATION_ADMINISTRATOR", "organizationId": organization }]);
    client.create_key(name).with("grants", grants).run()
}

fn root_key(client: &Client) -> String {
    text(&data(client, "{ viewer { keyId } }", &json!({}))["viewer"]["keyId"])
}

#[test]
fn the_last_administrator_cannot_be_taken_away_in_any_way() {
    let server = Server::fresh();
    let root = server.root();
    let id = root_key(&root);
    let ways: [(&str, Value); 4] = [
        ("revokeKey", json!({ "id": id, "reason": "UNUSED" })),
        ("disableKey", json!({ "id": id })),
        ("deleteKey", json!({ "id": id })),
        ("updateKey", json!({ "id": id, "grants": [] })),
    ];
    for (mutation, input) in &ways {
        let refused = attempt(&root, mutation, input);
        assert_eq!(refused.code(), "ILLEGAL_TRANSITION", "{mutation}");
        assert!(refused.message().contains("last active administrator"), "{}", refused.message());
    }
    // One that is switched off does not count, one that works does.
    let second = administrator(&root, "second");
    root.disable_key(&second.id()).unwrap();
    assert_eq!(attempt(&root, "revokeKey", &ways[0].1).code(), "ILLEGAL_TRANSITION");
    root.enable_key(&second.id()).unwrap();
    assert_eq!(attempt(&root, "revokeKey", &ways[0].1).code(), "");
    let second_client = server.client(&second.secret());
    let refused = attempt(&second_client, "revokeKey", &json!({ "id": second.id(), "reason": "UNUSED" }));
    assert_eq!(refused.code(), "ILLEGAL_TRANSITION");
}

#[test]
fn whoever_has_the_machine_brings_back_an_organization_that_is_locked() {
    let server = Server::fresh();
    let root = server.root();
    let lock = json!({ "apiKeysEnabled": false, "maxTtl": 60 });
    assert_eq!(attempt(&root, "setOrganizationPolicy", &lock).code(), "");
    let home = server.stop();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_keyledger"))
        .args(["recover", "--json", "--organization", "acme", "--data-dir"])
        .arg(home.data_dir())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let server = Server::start(&home, &[]);
    let recovered = server.client(&text(&shown["rootKey"]));
    assert_eq!(attempt(&recovered, "setOrganizationPolicy", &json!({ "apiKeysEnabled": true })).code(), "");
    let query =
        "{ keys(filter: { search: \"recovery\" }) { nodes { createdBy { kind } secretAcknowledgedAt } } }";
    let made = data(&recovered, query, &json!({}))["keys"]["nodes"][0].clone();
    assert_eq!(made["createdBy"]["kind"], "OPERATOR");
    assert!(made["secretAcknowledgedAt"].is_string());
}

#[test]
fn one_who_expires_soon_is_not_relied_on() {
    let server = Server::fresh();
    let root = server.root();
    let organization = text(&data(&root, "{ organization { id } }", &json!({}))["organization"]["id"]);
    let grants = json!([{ "role": "ORGANIZATION_ADMINISTRATOR", "organizationId": organization }]);
    let soon = crate::ask::in_millis(3_600_000);
    root.create_key("soon gone").with("grants", grants).with("expiresAt", soon).run();
    let last = json!({ "id": root_key(&root), "reason": "UNUSED" });
    assert_eq!(attempt(&root, "revokeKey", &last).code(), "ILLEGAL_TRANSITION");
}

#[test]
fn a_key_whose_grant_was_moved_out_of_reach_can_be_revoked() {
    let server = Server::fresh();
    let root = server.root();
    let query = "mutation($name: String!, $parent: ID) {
        createOrganization(input: { name: $name, parentId: $parent }) { organization { id } } }";
    let make = |name: &str, parent: Option<&str>| {
        let made = data(&root, query, &json!({ "name": name, "parent": parent }));
        text(&made["createOrganization"]["organization"]["id"])
    };
    let (p, q) = (make("p", None), make("q", None));
    let c = make("c", Some(&p));
    assert_eq!(attempt(&root, "bootstrapOrganization", &json!({ "id": p })).code(), "");
    let query = "mutation($id: ID!) {
        createWorkspace(input: { organizationId: $id, name: \"a\" }) { workspace { id } } }";
    let workspace = text(&data(&root, query, &json!({ "id": p }))["createWorkspace"]["workspace"]["id"]);
    let grants =
        json!([{ "role": "VIEWER", "organizationId": c }, { "role": "AUDITOR", "organizationId": p }]);
    let key = root.create_key("k").with("workspaceId", workspace).with("grants", grants).run();
    assert_eq!(attempt(&root, "moveOrganization", &json!({ "id": c, "parentId": q })).code(), "");
    let seen = server.client(&key.secret());
    let foreign = seen.graphql("query($id: ID!) { organization(id: $id) { name } }", &json!({ "id": c }));
    assert_eq!(foreign.unwrap_err().code(), Some("NOT_FOUND"));
    assert!(root.revoke_key(&key.id(), "COMPROMISED").is_ok());
}

#[test]
fn administrators_who_revoke_each_other_at_once_leave_one() {
    let server = Server::fresh();
    let root = server.root();
    let mut administrators = vec![(root_key(&root), root.clone())];
    for n in 0..7 {
        let made = administrator(&root, &format!("administrator {n}"));
        administrators.push((made.id(), server.client(&made.secret())));
    }
    thread::scope(|scope| {
        for (place, (_, client)) in administrators.iter().enumerate() {
            let others = administrators.iter().cycle().skip(place + 1).take(administrators.len() - 1);
            scope.spawn(move || {
                for (id, _) in others {
                    let _ = client.post(
                        "/graphql",
                        &json!({ "query": format!(
                            "mutation {{ revokeKey(input: {{ id: \"{id}\", reason: UNUSED }}) {{ events {{ id }} }} }}"
                        ) }),
                    );
                }
            });
        }
    });
    let left: Vec<_> = administrators
        .iter()
        .filter(|(_, client)| client.graphql("{ viewer { keyId } }", &json!({})).is_ok())
        .collect();
    assert!(!left.is_empty(), "nobody is left");
}

#[test]
fn grants_change_within_what_the_changer_holds() {
    let world = world();
    let owner = world.server.client(&manager(&world.root, "WORKSPACE_OWNER", &world.workspace).secret());
    let target = manager(&world.root, "VIEWER", &world.workspace);
    let client = world.server.client(&target.secret());
    let list = |client: &Client| client.graphql("{ keys { nodes { id } } }", &json!({}));
    let on = |role: &str| json!([{ "role": role, "workspaceId": world.workspace }]);
    let change = |by: &Client, grants: Value| {
        attempt(by, "updateKey", &json!({ "id": target.id(), "grants": grants }))
    };
    assert_eq!(change(&owner, on("ORGANIZATION_ADMINISTRATOR")).code(), "FORBIDDEN");
    assert_eq!(
        client.create_key("a").with("workspaceId", world.workspace.as_str()).try_run().unwrap_err().code(),
        Some("FORBIDDEN")
    );
    // More at once …
    assert_eq!(change(&owner, on("WORKSPACE_MANAGER")).code(), "");
    assert!(client.create_key("a").with("workspaceId", world.workspace.as_str()).try_run().is_ok());
    // … and less at once.
    assert_eq!(change(&owner, on("VERIFIER")).code(), "");
    assert_eq!(list(&client).unwrap_err().code(), Some("FORBIDDEN"));
    assert_eq!(change(&owner, json!([])).code(), "");
    assert_eq!(list(&client).unwrap_err().code(), Some("UNAUTHENTICATED"));
    let changes = world.root.key(&target.id(), "events { nodes { type changes { field } } }").unwrap();
    let nodes = changes["events"]["nodes"].as_array().unwrap();
    let update = nodes.iter().find(|event| event["type"] == "key.updated").unwrap();
    assert_eq!(update["changes"], json!([{ "field": "grants" }]));
}
