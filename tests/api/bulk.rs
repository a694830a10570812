//! Many keys revoked at once, and edits that name what they were made on.

use serde_json::{Value, json};

use crate::ask::{attempt, create_workspace, data, eventually, manager, text, world};
use crate::support::{Client, Server};

fn revoke(client: &Client, filter: &Value, dry_run: bool) -> Value {
    let query = "mutation($input: RevokeKeysInput!) { revokeKeys(input: $input) {
        dryRun matched revoked skipped keys { id } skippedKeys { key { id } code } events { id type } warnings { code } } }";
    let input = json!({ "filter": filter, "reason": "COMPROMISED", "comment": "leak", "dryRun": dry_run });
    data(client, query, &json!({ "input": input }))["revokeKeys"].take()
}

#[test]
fn first_it_tells_and_then_it_does_and_each_key_names_the_cause() {
    let world = world();
    let root = &world.root;
    let workspace = create_workspace(root, "leaky");
    let keys: Vec<_> = (0..30)
        .map(|n| root.create_key(&format!("leaky {n}")).with("workspaceId", workspace.as_str()).run())
        .collect();
    let spared = root.create_key("spared").with("workspaceId", world.workspace.as_str()).run();
    let foreign = world.other.create_key("leaky foreign").run();
    let filter = json!({ "nameContains": "LEAKY" });
    let rehearsed = revoke(root, &filter, true);
    assert_eq!(
        (&rehearsed["dryRun"], &rehearsed["matched"], &rehearsed["revoked"]),
        (&json!(true), &json!(30), &json!(0))
    );
    assert_eq!(rehearsed["events"], json!([]));
    assert!(root.verify(&keys[0].secret()).unwrap().valid);
    let done = revoke(root, &filter, false);
    assert_eq!((&done["matched"], &done["revoked"], &done["skipped"]), (&json!(30), &json!(30), &json!(0)));
    for key in &keys {
        assert_eq!(root.verify(&key.secret()).unwrap().code, "REVOKED");
    }
    assert!(root.verify(&spared.secret()).unwrap().valid);
    assert!(world.other.verify(&foreign.secret()).unwrap().valid);
    let types: Vec<_> = done["events"].as_array().unwrap().iter().map(|event| text(&event["type"])).collect();
    assert_eq!(types, ["organization.revocation_started", "organization.revocation_finished"]);
    let trail =
        root.key(&keys[7].id(), "events { nodes { type cause } } revocation { reason comment }").unwrap();
    assert_eq!(trail["events"]["nodes"][1]["cause"], done["events"][0]["id"]);
    assert_eq!(trail["revocation"], json!({ "reason": "COMPROMISED", "comment": "leak" }));
    for empty in [json!({ "ids": [] }), json!({ "search": " " }), json!({ "nameContains": "" })] {
        let input = json!({ "filter": empty, "reason": "UNUSED", "dryRun": false });
        assert_eq!(attempt(root, "revokeKeys", &input).code(), "INVALID_INPUT", "{empty}");
    }
    let again = revoke(root, &filter, false);
    assert_eq!((&again["matched"], &again["events"]), (&json!(0), &json!([])));
}

#[test]
fn it_reaches_what_the_caller_may_manage_and_no_more() {
    let world = world();
    let elsewhere = create_workspace(&world.root, "elsewhere");
    let inside = world.root.create_key("inside").with("workspaceId", world.workspace.as_str()).run();
    let outside = world.root.create_key("outside").with("workspaceId", elsewhere.as_str()).run();
    let managing = manager(&world.root, "WORKSPACE_MANAGER", &world.workspace);
    let owner = manager(&world.root, "WORKSPACE_OWNER", &world.workspace);
    let client = world.server.client(&managing.secret());
    let done = revoke(&client, &json!({ "createdBefore": "2999-01-01T00:00:00Z" }), false);
    let skipped: Vec<_> =
        done["skippedKeys"].as_array().unwrap().iter().map(|it| text(&it["key"]["id"])).collect();
    assert!(skipped.contains(&owner.id()), "{done}");
    assert!(done["skippedKeys"].as_array().unwrap().iter().all(|it| it["code"] == "FORBIDDEN"), "{done}");
    assert_eq!(world.root.verify(&inside.secret()).unwrap().code, "REVOKED");
    assert!(world.root.verify(&outside.secret()).unwrap().valid);
    // The caller's own key is left as it is.
    let done = revoke(&world.root, &json!({}), false);
    assert_eq!(done["skipped"], 0, "{done}");
    assert_eq!(done["warnings"], json!([{ "code": "OWN_KEY_LEFT" }]));
    assert!(world.root.graphql("{ viewer { keyId } }", &json!({})).is_ok());
    assert_eq!(world.root.verify(&outside.secret()).unwrap().code, "REVOKED");
    assert_eq!(done["events"][1]["type"], "organization.revocation_finished");
}

#[test]
fn what_is_cut_off_in_the_middle_goes_on_by_itself() {
    let server = Server::fresh();
    let root = server.root();
    let workspace = create_workspace(&root, "many");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..125 {
                    root.create_key("many").with("workspaceId", workspace.as_str()).run();
                }
            });
        }
    });
    let filter = json!({ "workspaceId": workspace });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let query = "mutation($input: RevokeKeysInput!) { revokeKeys(input: $input) { revoked } }";
            let input = json!({ "filter": filter, "reason": "POLICY", "dryRun": false });
            let _ = root.graphql(query, &json!({ "input": input }));
        });
        let query =
            "query($id: ID!) { keys(filter: { workspaceId: $id, statuses: [REVOKED] }) { totalCount } }";
        eventually("some are revoked", || {
            data(&root, query, &json!({ "id": workspace }))["keys"]["totalCount"].as_u64() > Some(20)
        });
        server.kill();
    });
    let server = Server::start(server.home(), &[]);
    let root = server.root();
    let left = "query($id: ID!) { keys(filter: { workspaceId: $id }) { totalCount }
        events(filter: { types: [\"organization.revocation_finished\"] }) { totalCount } }";
    eventually("the rest is revoked", || {
        let now = data(&root, left, &json!({ "id": workspace }));
        now["keys"]["totalCount"] == 0 && now["events"]["totalCount"] == 1
    });
}

#[test]
fn two_people_who_edit_one_key_lose_nothing() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").scope("read:a").run();
    let edit = |fields: Value| {
        let mut input = json!({ "id": key.id(), "expectedRevision": 0 });
        for (name, value) in fields.as_object().unwrap() {
            input[name] = value.clone();
        }
        attempt(&root, "updateKey", &input)
    };
    assert_eq!(edit(json!({ "name": "b" })).code(), "");
    assert_eq!(edit(json!({ "metadata": { "team": "x" } })).code(), "", "another field does not clash");
    let clash = edit(json!({ "name": "c" }));
    assert_eq!((clash.code(), clash.field()), ("CONFLICT", "input.expectedRevision"));
    assert_eq!(clash.body["errors"][0]["extensions"]["details"], json!({ "currentRevision": 2 }));
    assert_eq!(
        root.key(&key.id(), "name metadata").unwrap(),
        json!({ "name": "b", "metadata": { "team": "x" } })
    );
    assert_eq!(attempt(&root, "rotateKey", &json!({ "id": key.id(), "expectedRevision": 0 })).code(), "");
    assert_eq!(
        attempt(&root, "rotateKey", &json!({ "id": key.id(), "expectedRevision": 0 })).code(),
        "CONFLICT"
    );
    assert_eq!(attempt(&root, "disableKey", &json!({ "id": key.id(), "expectedRevision": 0 })).code(), "");
    assert_eq!(
        attempt(&root, "enableKey", &json!({ "id": key.id(), "expectedRevision": 0 })).code(),
        "CONFLICT"
    );
    let future = json!({ "id": key.id(), "expectedRevision": 99 });
    assert_eq!(attempt(&root, "enableKey", &future).code(), "CONFLICT");
}
