//! Keys as they were, and what came of what keys did.

use serde_json::{Value, json};

use crate::ask::{World, ask, attempt, data, eventually, in_millis, manager, short_lived, text, world};
use crate::support::{Client, Mutated};

/// A moment after all that happened so far and before what comes.
fn moment() -> String {
    std::thread::sleep(std::time::Duration::from_millis(5));
    let now = in_millis(0);
    std::thread::sleep(std::time::Duration::from_millis(5));
    now
}

const THEN: &str = "query($id: ID!, $at: DateTime) { key(id: $id, asOf: $at) {
    asOf name status revision secretVersion scopes { text } effectiveScopes { text byRoles } permissionSummary
    roles { name } workspace { name } organization { name apiKeysEnabled }
    identity { name rateLimits { name limit } }
    write: wouldAnswer(action: WRITE, resource: \"a/b\") read: wouldAnswer(action: READ, resource: \"a/b\")
    here: wouldAnswer(ip: \"10.0.0.1\") there: wouldAnswer(environment: STAGING)
    events(first: 100) { nodes { type } } } }";

fn then(client: &Client, id: &str, at: &str) -> Value {
    data(client, THEN, &json!({ "id": id, "at": at }))["key"].take()
}

fn types(key: &Value) -> Vec<String> {
    let nodes = key["events"]["nodes"].as_array().unwrap();
    nodes.iter().map(|event| text(&event["type"])).filter(|name| name != "audit.read").collect()
}

fn set_policy(world: &World, rule: &str, value: bool) {
    let id = &world.server.home().tenant().organization;
    assert_eq!(attempt(&world.root, "setOrganizationPolicy", &json!({ "id": id, rule: value })).code(), "");
}

#[test]
fn a_key_is_shown_as_it_was_with_all_that_it_depended_on() {
    let world = world();
    let before = moment();
    let role = "mutation { createRole(input: { name: \"support\", scopes: [{ action: READ, resource: \"a/**\" }] }) { role { id } } }";
    let role = text(&data(&world.root, role, &json!({}))["createRole"]["role"]["id"]);
    let identity = "mutation { createIdentity(input: { externalId: \"c\", name: \"Old\",
        rateLimits: [{ name: \"r\", limit: 10, windowSeconds: 60 }] }) { identity { id } } }";
    let identity = text(&data(&world.root, identity, &json!({}))["createIdentity"]["identity"]["id"]);
    let key = world.root.create_key("first name").with("workspaceId", world.workspace.as_str());
    let key =
        key.scope("write:a/**").with("roleIds", json!([role])).with("identityId", identity.as_str()).run();
    let id = key.id();
    let one = moment();
    world.root.update_key(&id, "second name").unwrap();
    let scopes = json!([{ "action": "READ", "resource": "z" }]);
    assert_eq!(attempt(&world.root, "updateRole", &json!({ "id": role, "scopes": scopes })).code(), "");
    let limits = json!([{ "name": "r", "limit": 99, "windowSeconds": 60 }]);
    let input = json!({ "id": identity, "name": "New", "rateLimits": limits });
    assert_eq!(attempt(&world.root, "updateIdentity", &input).code(), "");
    let input = json!({ "id": world.workspace, "name": "renamed" });
    assert_eq!(attempt(&world.root, "renameWorkspace", &input).code(), "");
    world.root.rotate_key(&id, 0).unwrap();
    let two = moment();
    set_policy(&world, "apiKeysEnabled", false);
    let three = moment();
    set_policy(&world, "apiKeysEnabled", true);
    world.root.mutate("updateKey", &json!({ "id": id, "allowedCidrs": ["192.0.2.0/24"] })).unwrap();
    let four = moment();
    world.root.disable_key(&id).unwrap();
    let five = moment();
    world.root.revoke_key(&id, "COMPROMISED").unwrap();
    let six = moment();
    world.root.delete_key(&id).unwrap();
    let seven = moment();

    assert_eq!(then(&world.root, &id, &before), json!(null));
    let first = then(&world.root, &id, &one);
    assert_eq!(
        (&first["name"], &first["status"], &first["asOf"]),
        (&json!("first name"), &json!("ACTIVE"), &json!(one))
    );
    assert_eq!(
        first["effectiveScopes"],
        json!([
        { "text": "read:a/**", "byRoles": ["support"] }, { "text": "write:a/**", "byRoles": [] }])
    );
    assert_eq!(first["identity"], json!({ "name": "Old", "rateLimits": [{ "name": "r", "limit": 10 }] }));
    assert_ne!(first["workspace"]["name"], "renamed");
    assert_eq!((&first["secretVersion"], &first["revision"]), (&json!(1), &json!(0)));
    assert_eq!(
        [&first["write"], &first["read"], &first["here"], &first["there"]],
        ["VALID", "VALID", "VALID", "WRONG_ENVIRONMENT"]
    );
    assert_eq!(types(&first), ["key.issued"]);
    let second = then(&world.root, &id, &two);
    assert_eq!((&second["name"], &second["secretVersion"]), (&json!("second name"), &json!(2)));
    assert_eq!((&second["write"], &second["read"]), (&json!("VALID"), &json!("INSUFFICIENT_SCOPE")));
    assert_eq!(second["identity"]["rateLimits"][0]["limit"], 99);
    assert_eq!(second["workspace"]["name"], "renamed");
    let third = then(&world.root, &id, &three);
    assert_eq!(
        (&third["organization"]["apiKeysEnabled"], &third["write"]),
        (&json!(false), &json!("KEYS_DISABLED"))
    );
    let fourth = then(&world.root, &id, &four);
    assert_eq!(
        (&fourth["organization"]["apiKeysEnabled"], &fourth["here"]),
        (&json!(true), &json!("IP_NOT_ALLOWED"))
    );
    for (at, status, answer) in
        [(&five, "INACTIVE", "DISABLED"), (&six, "REVOKED", "REVOKED"), (&seven, "DELETED", "NOT_FOUND")]
    {
        let shown = then(&world.root, &id, at);
        assert_eq!((&shown["status"], &shown["write"]), (&json!(status), &json!(answer)));
    }
    assert_eq!(types(&then(&world.root, &id, &five)).last().unwrap(), "key.disabled");
    // What the log does not tell of a moment is refused, and so is what is yet to come.
    for field in
        ["credits { remaining }", "lastUsedAt", "usage { valid }", "identity { credits { remaining } }"]
    {
        let query = format!("query($id: ID!, $at: DateTime) {{ key(id: $id, asOf: $at) {{ {field} }} }}");
        assert_eq!(
            ask(&world.root, &query, &json!({ "id": id, "at": one })).code(),
            "INVALID_INPUT",
            "{field}"
        );
    }
    let answer = ask(&world.root, THEN, &json!({ "id": id, "at": in_millis(60_000) }));
    assert_eq!((answer.code(), answer.field()), ("INVALID_INPUT", "asOf"));
}

#[test]
fn expiry_takes_effect_as_of_a_moment_before_it_is_recorded() {
    let world = world();
    let (id, alive, expires) = short_lived(|end| {
        let key = world.root.create_key("a").with("workspaceId", world.workspace.as_str());
        let id = key.with("expiresAt", end).try_run().ok()?.id();
        let alive = moment();
        (*alive < *end).then(|| (id, alive, end.to_owned()))
    });
    eventually("the expiry", || in_millis(0) > expires);
    assert_eq!(then(&world.root, &id, &alive)["status"], "ACTIVE");
    let dead = then(&world.root, &id, &expires);
    assert_eq!((&dead["status"], &dead["write"]), (&json!("EXPIRED"), &json!("EXPIRED")));
}

#[test]
fn what_a_key_was_is_for_those_who_may_read_its_trail() {
    let world = world();
    let id = world.root.create_key("a").with("workspaceId", world.workspace.as_str()).run().id();
    let at = moment();
    for (role, code) in [("AUDITOR", ""), ("VIEWER", "FORBIDDEN"), ("VERIFIER", "NOT_FOUND")] {
        let client = world.server.client(&manager(&world.root, role, &world.workspace).secret());
        let query = "query($id: ID!, $at: DateTime) { key(id: $id, asOf: $at) { name } }";
        assert_eq!(ask(&client, query, &json!({ "id": id, "at": at })).code(), code, "{role}");
    }
    assert_eq!(ask(&world.other, THEN, &json!({ "id": id, "at": at })).code(), "NOT_FOUND");
}

const CONSEQUENCES: &str = "query($actor: ID, $event: ID, $depth: Int, $first: Int, $after: String) {
    consequences(actorId: $actor, eventId: $event, depth: $depth, first: $first, after: $after) {
        nodes { via depth through event { id type keyId cause actor { id } } }
        pageInfo { hasNextPage endCursor } } }";

fn consequences(client: &Client, variables: &Value) -> Vec<Value> {
    let mut variables = variables.clone();
    let mut all = Vec::new();
    loop {
        let mut page = data(client, CONSEQUENCES, &variables)["consequences"].take();
        all.append(page["nodes"].as_array_mut().unwrap());
        if page["pageInfo"]["hasNextPage"] == json!(false) {
            return all;
        }
        variables["after"] = page["pageInfo"]["endCursor"].take();
    }
}

fn administrator(client: &Client, world: &World, name: &str) -> Mutated {
    let organization = &world.server.home().tenant().organization;
    let grants = json!([{ "role": "ORGANIZATION_ADMINISTRATOR", "organizationId": organization }]);
    client.create_key(name).with("workspaceId", world.workspace.as_str()).with("grants", grants).run()
}

/// What each event is: type, key, how it follows, and over how many steps; looks left out.
fn told(all: &[Value]) -> Vec<(String, String, String, u64)> {
    let one = |node: &Value| {
        let event = &node["event"];
        let key = event["keyId"].as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), key, text(&node["via"]), node["depth"].as_u64().unwrap())
    };
    all.iter().map(one).filter(|(name, ..)| name != "audit.read").collect()
}

#[test]
fn all_that_a_key_did_or_made_is_one_list() {
    let world = world();
    let bad = administrator(&world.root, &world, "bad");
    let root = world.root.clone();
    let bad_client = world.server.client(&bad.secret());
    let child = administrator(&bad_client, &world, "child");
    let child_client = world.server.client(&child.secret());
    let grandchild = administrator(&child_client, &world, "grandchild");
    let grandchild_client = world.server.client(&grandchild.secret());
    let victim = root.create_key("victim").with("workspaceId", world.workspace.as_str()).run();
    grandchild_client.disable_key(&victim.id()).unwrap();
    root.enable_key(&victim.id()).unwrap();
    let direct = told(&consequences(&root, &json!({ "actor": bad.id(), "depth": 0 })));
    assert_eq!(direct, [("key.issued".into(), child.id(), "DIRECT".into(), 0)]);
    let all = consequences(&root, &json!({ "actor": bad.id(), "first": 2 }));
    let expected: Vec<(String, String, String, u64)> = vec![
        ("key.issued".into(), child.id(), "DIRECT".into(), 0),
        ("key.issued".into(), grandchild.id(), "BY_KEY_IT_ISSUED".into(), 1),
        ("key.disabled".into(), victim.id(), "BY_KEY_IT_ISSUED".into(), 2),
    ];
    assert_eq!(told(&all), expected);
    assert_eq!(all[2]["through"], json!(grandchild.id()));
    // From the event that issued the child on: what that key did.
    let event = text(&child.events[0]["id"]);
    let of_event = told(&consequences(&root, &json!({ "event": event })));
    assert_eq!(
        of_event,
        [
            ("key.issued".into(), grandchild.id(), "BY_KEY_IT_ISSUED".into(), 1),
            ("key.disabled".into(), victim.id(), "BY_KEY_IT_ISSUED".into(), 2),
        ]
    );
    // A key that did nothing has none, and what somebody else's key did is not there.
    assert!(told(&consequences(&root, &json!({ "actor": victim.id() }))).is_empty());
    let answer = ask(&world.other, CONSEQUENCES, &json!({ "actor": bad.id() }));
    assert_eq!((answer.code(), answer.field()), ("NOT_FOUND", "actorId"));
    let answer = ask(&world.other, CONSEQUENCES, &json!({ "event": event }));
    assert_eq!((answer.code(), answer.field()), ("NOT_FOUND", "eventId"));
    for wrong in
        [json!({}), json!({ "actor": bad.id(), "event": event }), json!({ "actor": bad.id(), "depth": 17 })]
    {
        assert_eq!(ask(&root, CONSEQUENCES, &wrong).code(), "INVALID_INPUT", "{wrong}");
    }
}

#[test]
fn what_an_event_led_to_follows_from_it_and_from_its_actor() {
    let world = world();
    let bad = administrator(&world.root, &world, "bad");
    let client = world.server.client(&bad.secret());
    let keys: Vec<String> = (0..5)
        .map(|_| world.root.create_key("victim").with("workspaceId", world.workspace.as_str()).run().id())
        .collect();
    let input = json!({ "filter": { "nameContains": "victim" }, "reason": "COMPROMISED", "dryRun": false });
    let query = "mutation($input: RevokeKeysInput!) { revokeKeys(input: $input) { events { id type } } }";
    let answer = ask(&client, query, &json!({ "input": input }));
    assert_eq!(answer.code(), "", "{}", answer.body);
    let all = consequences(&world.root, &json!({ "actor": bad.id(), "first": 3 }));
    let revoked: Vec<&Value> = all.iter().filter(|node| node["event"]["type"] == "key.revoked").collect();
    assert_eq!(revoked.len(), keys.len());
    assert!(revoked.iter().all(|node| node["via"] == "CAUSED_BY" && node["depth"] == 1), "{}", json!(all));
    let started = text(&revoked[0]["event"]["cause"]);
    let of_event = consequences(&world.root, &json!({ "event": started, "first": 2 }));
    let caused = of_event.iter().filter(|node| node["event"]["type"] == "key.revoked").count();
    assert_eq!(caused, keys.len(), "{}", json!(of_event));
    assert!(of_event.iter().all(|node| node["via"] == "CAUSED_BY"));
}

#[test]
fn a_workspace_auditor_sees_what_came_of_a_key_in_the_workspace_only() {
    let world = world();
    let elsewhere = crate::ask::create_workspace(&world.root, "elsewhere");
    let bad = administrator(&world.root, &world, "bad");
    let client = world.server.client(&bad.secret());
    let here = client.create_key("here").with("workspaceId", world.workspace.as_str()).run().id();
    let there = client.create_key("there").with("workspaceId", elsewhere.as_str()).run().id();
    let auditor = manager(&world.root, "AUDITOR", &world.workspace);
    let seen = consequences(&world.server.client(&auditor.secret()), &json!({ "actor": bad.id() }));
    let seen = json!(seen).to_string();
    assert!(seen.contains(&here) && !seen.contains(&there), "{seen}");
    let all = json!(consequences(&world.root, &json!({ "actor": bad.id() }))).to_string();
    assert!(all.contains(&here) && all.contains(&there));
}
