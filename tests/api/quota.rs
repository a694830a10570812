//! How many keys a workspace may have.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use keyledger::edge::Stopwatch;
use serde_json::{Value, json};

use crate::ask::{attempt, create_workspace, data, eventually, in_millis, short_lived};
use crate::support::{Client, Server};

fn set(client: &Client, workspace: &str, keys: impl Into<Value>) -> Value {
    let query = "mutation($input: SetWorkspaceQuotaInput!) { setWorkspaceQuota(input: $input) {
        workspace { quota keyCount } events { type } warnings { code } } }";
    let input = json!({ "id": workspace, "maxKeys": keys.into() });
    data(client, query, &json!({ "input": input }))["setWorkspaceQuota"].take()
}

fn count(client: &Client, workspace: &str) -> Value {
    data(client, "query($id: ID!) { workspace(id: $id) { keyCount } }", &json!({ "id": workspace }))
        ["workspace"]["keyCount"]
        .clone()
}

#[test]
fn it_is_exact_under_concurrent_creates_and_what_ends_makes_room() {
    let server = Server::fresh();
    let root = server.root();
    let workspace = create_workspace(&root, "few");
    let other = create_workspace(&root, "many");
    let told = set(&root, &workspace, 20);
    assert_eq!(told["workspace"], json!({ "quota": 20, "keyCount": 0 }));
    let made = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| match root.create_key("a").with("workspaceId", workspace.as_str()).try_run() {
                Ok(_) => {
                    made.fetch_add(1, Ordering::Relaxed);
                }
                Err(refused) => assert_eq!(refused.code(), Some("QUOTA_EXCEEDED")),
            });
        }
    });
    assert_eq!(made.into_inner(), 20);
    assert_eq!(count(&root, &workspace), 20);
    let input = json!({ "name": "a", "environment": "PRODUCTION", "workspaceId": workspace });
    let refused = attempt(&root, "createKey", &input);
    assert_eq!(refused.code(), "QUOTA_EXCEEDED");
    assert_eq!(refused.body["errors"][0]["extensions"]["details"], json!({ "limit": 20, "count": 20 }));
    root.create_key("elsewhere").with("workspaceId", other.as_str()).run();
    let query = "query($id: ID!) { keys(filter: { workspaceId: $id }) { nodes { id } } }";
    let keys = data(&root, query, &json!({ "id": workspace }))["keys"]["nodes"].clone();
    let id = |n: usize| keys[n]["id"].as_str().unwrap();
    // Revoking and deleting make room, switching off does not.
    root.disable_key(id(0)).unwrap();
    assert_eq!(attempt(&root, "createKey", &input).code(), "QUOTA_EXCEEDED");
    root.revoke_key(id(1), "UNUSED").unwrap();
    root.delete_key(id(2)).unwrap();
    assert_eq!(attempt(&root, "createKey", &input).code(), "");
    let clone = attempt(&root, "cloneKey", &json!({ "id": id(3) }));
    assert_eq!(clone.code(), "");
    assert_eq!(attempt(&root, "cloneKey", &json!({ "id": id(3) })).code(), "QUOTA_EXCEEDED");
    // So does expiring.
    let other_rules = set(&root, &workspace, 21);
    assert_eq!(other_rules["workspace"]["keyCount"], 20);
    let ended = short_lived(|end| {
        let mut short = input.clone();
        short["expiresAt"] = end.into();
        let made = attempt(&root, "createKey", &short).code().is_empty();
        made.then(|| end.to_owned())
    });
    eventually("an expired key makes room", || {
        let too_many = attempt(&root, "createKey", &input).code() == "QUOTA_EXCEEDED";
        assert!(too_many || in_millis(0) >= ended, "there is room before it has expired");
        !too_many
    });
    // All of it is known after a restart.
    let server = Server::start(&server.stop(), &[]);
    let root = server.root();
    assert_eq!(attempt(&root, "createKey", &input).code(), "QUOTA_EXCEEDED");
    let lower = set(&root, &workspace, 5);
    assert_eq!(lower["warnings"], json!([{ "code": "OVER_QUOTA" }]));
    set(&root, &workspace, Value::Null);
    assert_eq!(attempt(&root, "createKey", &input).code(), "");
}

#[test]
fn a_kill_in_the_middle_leaks_no_place_for_longer_than_a_minute() {
    const QUOTA: u64 = 400;
    let server = Server::fresh();
    let root = server.root();
    let workspace = create_workspace(&root, "few");
    set(&root, &workspace, QUOTA);
    let create = |client: &Client| client.create_key("a").with("workspaceId", workspace.as_str()).try_run();
    thread::scope(|scope| {
        for _ in 0..32 {
            // Until the server is gone, or the workspace is full.
            scope.spawn(|| while create(&root).is_ok() {});
        }
        eventually("some keys are made", || count(&root, &workspace).as_u64() > Some(QUOTA / 8));
        server.kill();
    });
    let server = Server::start(server.home(), &[]);
    let root = server.root();
    let made = || {
        let query = "query($id: ID!) { keys(filter: { workspaceId: $id }) { totalCount } }";
        data(&root, query, &json!({ "id": workspace }))["keys"]["totalCount"].as_u64().unwrap()
    };
    let waiting = Stopwatch::start();
    while made() < QUOTA {
        // Each refusal is right only as long as a place may be on its way to a key.
        if create(&root).is_err() {
            assert!(waiting.elapsed() < Duration::from_mins(3), "{} keys after three minutes", made());
            thread::sleep(Duration::from_millis(250));
        }
    }
    assert_eq!(create(&root).unwrap_err().code(), Some("QUOTA_EXCEEDED"));
    assert_eq!(made(), QUOTA);
}

#[test]
fn a_repeated_request_takes_no_second_place() {
    let server = Server::fresh();
    let root = server.root();
    let workspace = create_workspace(&root, "one");
    set(&root, &workspace, 1);
    let input = json!({
        "name": "a", "environment": "PRODUCTION", "workspaceId": workspace, "idempotencyKey": "once"
    });
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(attempt(&root, "createKey", &input).code(), ""));
        }
    });
    assert_eq!(count(&root, &workspace), 1);
    // A refusal by policy keeps no place.
    set(&root, &workspace, 2);
    assert_eq!(attempt(&root, "setOrganizationPolicy", &json!({ "expiryRequired": true })).code(), "");
    let bad = json!({ "name": "b", "environment": "PRODUCTION", "workspaceId": workspace });
    assert_eq!(attempt(&root, "createKey", &bad).code(), "POLICY_VIOLATION");
    assert_eq!(count(&root, &workspace), 1);
}
