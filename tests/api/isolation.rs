//! One tenant never learns that something of another exists.

use serde_json::{Value, json};

use crate::ask::{Answer, ask, attempt, data, text, world};

/// An id of the same kind that nobody has.
fn nobodys(id: &str) -> String {
    let (kind, _) = id.split_once('_').unwrap();
    format!("{kind}_01h455vb4pex5vsknk084sn02q")
}

/// The answer with the id that was asked for taken out.
fn without(answer: &Answer, id: &str) -> String {
    format!("{} {}", answer.status, answer.body.to_string().replace(id, "ID"))
}

fn of_usage(filter: &str) -> String {
    format!(
        "query($id: ID!) {{ usage(from: \"2026-01-01T00:00:00Z\", to: \"2026-02-01T00:00:00Z\",
            filter: {{ {filter} }}) {{ totals {{ valid }} }} }}"
    )
}

#[test]
#[allow(clippy::too_many_lines, reason = "it is one table")]
fn what_belongs_to_another_tenant_and_what_does_not_exist_are_answered_alike() {
    let world = world();
    let theirs = world.other.create_key("theirs").run();
    let (key, event) = (theirs.id(), text(&theirs.events[0]["id"]));
    let (workspace, organization) = (&world.other_tenant.workspace, &world.other_tenant.organization);
    let query = |query: &str, id: &str| ask(&world.root, query, &json!({ "id": id }));
    let (of_keys, of_workspace) = (of_usage("keyIds: [$id]"), of_usage("workspaceId: $id"));
    let queries = [
        ("query($id: ID!) { key(id: $id) { id } }", &key),
        ("query($id: ID!) { event(id: $id) { id } }", &event),
        ("query($id: ID!) { workspace(id: $id) { id } }", workspace),
        ("query($id: ID!) { node(id: $id) { id } }", &key),
        ("query($id: ID!) { node(id: $id) { id } }", &event),
        ("query($id: ID!) { node(id: $id) { id } }", workspace),
        ("query($id: ID!) { node(id: $id) { id } }", organization),
        ("query($id: ID!) { keys(filter: { workspaceId: $id }) { totalCount nodes { id } } }", workspace),
        ("query($id: ID!) { keys(filter: { createdBy: $id }) { totalCount nodes { id } } }", &key),
        ("query($id: String!) { keys(filter: { search: $id }) { totalCount nodes { id } } }", &key),
        ("query($id: ID!) { events(filter: { keyId: $id }) { totalCount nodes { id } } }", &key),
        ("query($id: ID!) { events(filter: { actorId: $id }) { totalCount nodes { id } } }", &key),
        (&*of_keys, &key),
        (&*of_workspace, workspace),
        ("query($id: ID!) { verifications(filter: { keyId: $id }) { nodes { code } } }", &key),
        ("query($id: ID!) { verifications(filter: { workspaceId: $id }) { nodes { code } } }", workspace),
        ("query($id: ID!) { verifications(organizationId: $id) { nodes { code } } }", organization),
        ("query($id: String!) { workspaces(first: 1, after: $id) { nodes { id } } }", workspace),
    ];
    let made = "mutation { createIdentity(input: { externalId: \"theirs\" }) { identity { id } } }";
    let identity = text(&data(&world.other, made, &json!({}))["createIdentity"]["identity"]["id"]);
    let of_identity = [
        ("query($id: ID!) { identity(id: $id) { id } }", &identity),
        ("query($id: ID!) { node(id: $id) { id } }", &identity),
        ("query($id: ID!) { events(filter: { identityId: $id }) { totalCount nodes { id } } }", &identity),
        ("query($id: ID!) { identities(organizationId: $id) { totalCount nodes { id } } }", organization),
        ("query($id: ID!) { identity(externalId: \"a\", organizationId: $id) { id } }", organization),
    ];
    for (text, id) in queries.into_iter().chain(of_identity) {
        let (foreign, random) = (query(text, id), query(text, &nobodys(id)));
        assert_eq!(without(&foreign, id), without(&random, &nobodys(id)), "{text}");
        assert!(!foreign.body.to_string().contains("theirs"), "{text}");
    }
    let id = nobodys(&key);
    for mutation in [
        "acknowledgeKeySecret",
        "updateKey",
        "rotateKey",
        "disableKey",
        "enableKey",
        "revokeKey",
        "deleteKey",
        "cloneKey",
    ] {
        let input = |id: &str| match mutation {
            "revokeKey" => json!({ "id": id, "reason": "UNUSED" }),
            _ => json!({ "id": id }),
        };
        let (foreign, random) =
            (attempt(&world.root, mutation, &input(&key)), attempt(&world.root, mutation, &input(&id)));
        assert_eq!(foreign.code(), "NOT_FOUND", "{mutation}");
        assert_eq!(without(&foreign, &key), without(&random, &id), "{mutation}");
    }
    for (mutation, rest) in [
        ("updateIdentity", json!({ "name": "a" })),
        ("deleteIdentity", json!({})),
        ("setCredits", json!({ "remaining": 1, "reason": "a" })),
        ("adjustCredits", json!({ "by": 1, "reason": "a" })),
        ("createKey", json!({ "name": "a", "environment": "PRODUCTION" })),
    ] {
        let of = |id: &str| {
            let mut input = rest.clone();
            input[if mutation == "createKey" { "identityId" } else { "id" }] = id.into();
            attempt(&world.root, mutation, &input)
        };
        let (foreign, random) = (of(&identity), of(&nobodys(&identity)));
        assert_eq!(foreign.code(), "NOT_FOUND", "{mutation}");
        assert_eq!(without(&foreign, &identity), without(&random, &nobodys(&identity)), "{mutation}");
    }
    // The same external id is another one's here, and its id says nothing.
    let own = text(&data(&world.root, made, &json!({}))["createIdentity"]["identity"]["id"]);
    assert_ne!(own, identity);
    let in_workspace = |id: &str| json!({ "name": "a", "environment": "PRODUCTION", "workspaceId": id });
    let granted = |field: &str, id: &str| json!({ "name": "a", "environment": "PRODUCTION", "grants": [{ "role": "VIEWER", field: id }] });
    let pairs: [(Value, Value); 3] = [
        (in_workspace(workspace), in_workspace(&nobodys(workspace))),
        (granted("workspaceId", workspace), granted("workspaceId", &nobodys(workspace))),
        (granted("organizationId", organization), granted("organizationId", &nobodys(organization))),
    ];
    for (foreign, random) in pairs {
        let (foreign, random) =
            (attempt(&world.root, "createKey", &foreign), attempt(&world.root, "createKey", &random));
        assert_eq!((foreign.code(), &foreign), ("NOT_FOUND", &random));
    }
    // Nothing of it is in the other tenant's trail, and nothing happened to the key.
    let seen =
        data(&world.other, "{ events(filter: { types: [\"command.refused\"] }) { totalCount } }", &json!({}));
    assert_eq!(seen["events"]["totalCount"], 0);
    assert_eq!(world.other.key(&key, "revision").unwrap()["revision"], 0);
    assert!(world.other.verify(&theirs.secret()).unwrap().valid);
}

#[test]
fn a_cursor_of_another_tenant_shows_nothing_of_it() {
    let world = world();
    for number in 0..5 {
        world.root.create_key(&format!("ours {number}")).run();
        world.other.create_key(&format!("theirs {number}")).run();
        for client in [&world.root, &world.other] {
            let input = json!({ "externalId": format!("customer {number}") });
            assert_eq!(attempt(client, "createIdentity", &input).code(), "");
        }
    }
    let lists = [
        ("keys", "String!", "keys(first: 2"),
        ("keys", "String!", "keys(orderBy: { field: NAME }, first: 2"),
        ("keys", "String!", "keys(orderBy: { field: EXPIRES_AT }, first: 2"),
        ("events", "String!", "events(first: 2"),
        ("identities", "String!", "identities(first: 2"),
    ];
    for (name, kind, list) in lists {
        let first = data(&world.other, &format!("{{ {list}) {{ pageInfo {{ endCursor }} }} }}"), &json!({}));
        let cursor = &first[name]["pageInfo"]["endCursor"];
        assert!(cursor.is_string());
        let query = format!(
            "query($after: {kind}) {{ {list}, after: $after) {{ nodes {{ id ... on Key {{ organization {{ slug }} }} }} }} }}"
        );
        let query = if name == "keys" {
            query
        } else if name == "identities" {
            query.replace("... on Key { organization { slug } }", "organization { id slug }")
        } else {
            query.replace("... on Key { organization { slug } }", "organizationId")
        };
        let page = data(&world.root, &query, &json!({ "after": cursor })).to_string();
        assert!(!page.contains("other") && !page.contains(&world.other_tenant.organization), "{page}");
    }
}

#[test]
fn lists_hold_what_is_ones_own_only() {
    let world = world();
    let ours = world.root.create_key("shared name").run().id();
    let theirs = world.other.create_key("shared name").run().id();
    let everything = "{
        keys(first: 200, filter: { statuses: [ACTIVE, INACTIVE, EXPIRED, REVOKED, DELETED] }) { nodes { id } }
        events(first: 200) { nodes { data stream actor { id } organizationId } }
        workspaces { nodes { id } } organization { id workspaces { nodes { id } } }
    }";
    let (mine, other) = (
        data(&world.root, everything, &json!({})).to_string(),
        data(&world.other, everything, &json!({})).to_string(),
    );
    assert!(mine.contains(&ours) && !mine.contains(&theirs));
    assert!(other.contains(&theirs) && !other.contains(&ours));
    assert!(!mine.contains(&world.other_tenant.organization) && !other.contains(&world.workspace));
}
