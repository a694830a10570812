//! Organizations: made, bootstrapped, renamed, moved, switched off; what holds below a parent.

use serde_json::{Value, json};

use crate::ask::{Answer, ask, attempt, data, text, world};
use crate::support::{Client, Server};

fn own(client: &Client) -> String {
    text(&data(client, "{ organization { id } }", &json!({}))["organization"]["id"])
}

/// Runs a mutation and returns its organization with some fields.
fn organization(client: &Client, mutation: &str, input: &Value) -> Value {
    let input_type = format!("{}{}Input", mutation[..1].to_uppercase(), &mutation[1..]);
    let query = format!(
        "mutation($input: {input_type}!) {{ {mutation}(input: $input) {{
            organization {{ id name slug revision bootstrapped apiKeysEnabled parent {{ id }} }} events {{ type }}
        }} }}"
    );
    data(client, &query, &json!({ "input": input }))[mutation].take()
}

/// A bootstrapped organization below another one, and a workspace in it.
fn child(client: &Client, name: &str, parent: Option<&str>) -> (String, String) {
    let made = organization(client, "createOrganization", &json!({ "name": name, "parentId": parent }));
    let id = text(&made["organization"]["id"]);
    organization(client, "bootstrapOrganization", &json!({ "id": id }));
    let query = "mutation($id: ID!) {
        createWorkspace(input: { organizationId: $id, name: \"default\" }) { workspace { id } } }";
    let workspace = data(client, query, &json!({ "id": id }));
    (id, text(&workspace["createWorkspace"]["workspace"]["id"]))
}

fn policy(client: &Client, rules: &Value) -> Answer {
    attempt(client, "setOrganizationPolicy", rules)
}

fn done(answer: &Answer) {
    assert_eq!(answer.code(), "", "{}", answer.body);
}

#[test]
fn an_organization_issues_no_key_before_its_bootstrap_which_is_done_once() {
    let server = Server::fresh();
    let root = server.root();
    let made = organization(&root, "createOrganization", &json!({ "name": "Sales" }));
    assert_eq!(made["organization"]["bootstrapped"], false);
    assert_eq!(made["organization"]["parent"]["id"], own(&root));
    assert_eq!(made["events"], json!([{ "type": "organization.created" }]));
    let id = text(&made["organization"]["id"]);
    let query = "mutation($id: ID!) {
        createWorkspace(input: { organizationId: $id, name: \"a\" }) { workspace { id } } }";
    let workspace = text(&data(&root, query, &json!({ "id": id }))["createWorkspace"]["workspace"]["id"]);
    let refused = root.create_key("early").with("workspaceId", workspace.as_str()).try_run().unwrap_err();
    assert_eq!(refused.code(), Some("NOT_BOOTSTRAPPED"));
    let bootstrapped = organization(&root, "bootstrapOrganization", &json!({ "id": id }));
    assert_eq!(bootstrapped["organization"]["bootstrapped"], true);
    let key = root.create_key("now").with("workspaceId", workspace.as_str()).run();
    assert!(root.verify(&key.secret()).unwrap().valid);
    let email = text(&root.key(&key.id(), "email").unwrap()["email"]);
    assert!(email.ends_with("@keys.sales.acme"), "{email}");
    let again = attempt(&root, "bootstrapOrganization", &json!({ "id": id }));
    assert_eq!(again.code(), "ILLEGAL_TRANSITION");
    // The refusals are in the trail, and everything survives a restart.
    let server = Server::start(&server.stop(), &[]);
    assert!(server.root().verify(&key.secret()).unwrap().valid);
}

#[test]
fn two_organizations_of_one_name_have_different_addresses() {
    let world = world();
    let one = organization(&world.root, "createOrganization", &json!({ "name": "Same" }));
    let two = organization(&world.other, "createOrganization", &json!({ "name": "Same" }));
    assert_eq!(
        (&one["organization"]["slug"], &two["organization"]["slug"]),
        (&json!("same.acme"), &json!("same.other"))
    );
    let again = organization(&world.root, "createOrganization", &json!({ "name": "Same" }));
    let slug = text(&again["organization"]["slug"]);
    assert!(slug.starts_with("same-"), "{slug}");
    let below = json!({ "name": "Deep", "parentId": again["organization"]["id"] });
    let below = organization(&world.root, "createOrganization", &below);
    assert_eq!(text(&below["organization"]["slug"]), format!("deep.{slug}"));
}

#[test]
fn administrators_of_a_parent_administer_the_children_and_not_the_other_way_round() {
    let world = world();
    let (child_id, workspace) = child(&world.root, "Child", None);
    let (_, below) = child(&world.root, "Grandchild", Some(&child_id));
    let grants = json!([{ "role": "ORGANIZATION_ADMINISTRATOR", "organizationId": child_id }]);
    let administrator = world
        .root
        .create_key("child administrator")
        .with("workspaceId", workspace.as_str())
        .with("grants", grants)
        .run();
    let childs = world.server.client(&administrator.secret());
    // The parent works in both, the child in its own and below.
    for (client, workspace, works) in [
        (&world.root, &workspace, true),
        (&world.root, &below, true),
        (&childs, &workspace, true),
        (&childs, &below, true),
        (&childs, &world.workspace, false),
        (&world.other, &workspace, false),
        (&world.other, &below, false),
    ] {
        let made = client.create_key("a").with("workspaceId", workspace.as_str()).try_run();
        match made {
            Ok(made) => {
                assert!(works, "{workspace}");
                assert!(client.verify(&made.secret()).unwrap().valid);
                assert!(client.key(&made.id(), "events { nodes { type } }").is_ok());
                assert!(client.rotate_key(&made.id(), 0).is_ok());
            }
            Err(failure) => assert!(!works && failure.code() == Some("NOT_FOUND"), "{failure:?}"),
        }
    }
    let parents_key = world.root.create_key("a").with("workspaceId", world.workspace.as_str()).run();
    assert_eq!(childs.verify(&parents_key.secret()).unwrap().code, "NOT_FOUND");
    assert_eq!(childs.key(&parents_key.id(), "id").unwrap_err().code(), Some("NOT_FOUND"));
    let parent = data(&childs, "{ organization { parent { id } } }", &json!({}));
    assert_eq!(parent["organization"]["parent"], Value::Null);
    // Nobody gets a grant above their own organization.
    let grants = json!([{ "role": "VIEWER", "organizationId": own(&world.root) }]);
    let wide =
        json!({ "name": "a", "environment": "PRODUCTION", "workspaceId": workspace, "grants": grants });
    assert_eq!(attempt(&world.root, "createKey", &wide).code(), "NOT_FOUND");
    // Lists are of one organization at a time, the own one unless another is named.
    let listed = data(
        &world.root,
        "query($id: ID!) { organizations { nodes { id } } workspaces(organizationId: $id) { nodes { id } }
            keys(filter: { organizationId: $id }) { totalCount } }",
        &json!({ "id": child_id }),
    );
    assert_eq!(listed["organizations"]["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(listed["workspaces"]["nodes"][0]["id"], workspace);
    assert_eq!(listed["keys"]["totalCount"], 3);
    let foreign = ask(
        &world.other,
        "query($id: ID!) { keys(filter: { organizationId: $id }) { totalCount } }",
        &json!({ "id": child_id }),
    );
    assert_eq!(foreign.code(), "NOT_FOUND");
}

#[test]
fn the_switch_acts_at_once_on_all_below_and_back() {
    let world = world();
    let (child_id, workspace) = child(&world.root, "Child", None);
    let here = world.root.create_key("here").with("workspaceId", world.workspace.as_str()).run();
    let there = world.root.create_key("there").with("workspaceId", workspace.as_str()).run();
    let elsewhere = world.other.create_key("elsewhere").run();
    let off = |id: &str, on: bool| {
        done(&policy(&world.root, &json!({ "id": id, "apiKeysEnabled": on })));
    };
    let code = |secret: &str| world.root.verify(secret).unwrap().code;
    off(&child_id, false);
    assert_eq!((code(&here.secret()), code(&there.secret())), ("VALID".into(), "KEYS_DISABLED".into()));
    off(&child_id, true);
    let own = own(&world.root);
    off(&own, false);
    assert_eq!(
        (code(&here.secret()), code(&there.secret())),
        ("KEYS_DISABLED".into(), "KEYS_DISABLED".into())
    );
    assert!(world.other.verify(&elsewhere.secret()).unwrap().valid);
    for place in [&world.workspace, &workspace] {
        let refused = world.root.create_key("a").with("workspaceId", place.as_str()).try_run().unwrap_err();
        assert_eq!(refused.code(), Some("KEYS_DISABLED"));
    }
    // A child cannot switch on what its parent switched off.
    let looser = policy(&world.root, &json!({ "id": child_id, "apiKeysEnabled": true }));
    assert_eq!(looser.code(), "POLICY_VIOLATION");
    assert_eq!(code(&there.secret()), "KEYS_DISABLED");
    // It is still off after a restart.
    let server = Server::start(&world.server.stop(), &[]);
    let root = server.root();
    assert_eq!(root.verify(&there.secret()).unwrap().code, "KEYS_DISABLED");
    done(&policy(&root, &json!({ "apiKeysEnabled": true })));
    assert!(root.verify(&here.secret()).unwrap().valid && root.verify(&there.secret()).unwrap().valid);
}

#[test]
fn a_child_can_only_be_stricter_and_a_loop_is_refused() {
    let server = Server::fresh();
    let root = server.root();
    let (one, workspace) = child(&root, "One", None);
    let (two, _) = child(&root, "Two", Some(&one));
    done(&policy(&root, &json!({ "maxTtl": 86_400, "requireAllowedCidrs": true })));
    let looser = policy(&root, &json!({ "id": two, "maxTtl": 86_401 }));
    assert_eq!(looser.code(), "POLICY_VIOLATION");
    let violation = &looser.body["errors"][0]["extensions"]["details"]["violations"][0];
    assert_eq!(*violation, json!({ "rule": "maxTtl", "bound": 86_400, "value": 86_401 }));
    assert_eq!(policy(&root, &json!({ "id": two, "requireAllowedCidrs": false })).code(), "POLICY_VIOLATION");
    done(&policy(&root, &json!({ "id": two, "maxTtl": 3_600 })));
    let query = "query($id: ID!) { organization(id: $id) {
        policy { maxTtl requireAllowedCidrs } effectivePolicy { maxTtl requireAllowedCidrs } } }";
    let two_now = data(&root, query, &json!({ "id": two }))["organization"].take();
    assert_eq!(two_now["policy"], json!({ "maxTtl": 3_600, "requireAllowedCidrs": null }));
    assert_eq!(two_now["effectivePolicy"], json!({ "maxTtl": 3_600, "requireAllowedCidrs": true }));
    let refused = root.create_key("a").with("workspaceId", workspace.as_str()).try_run().unwrap_err();
    assert_eq!(refused.code(), Some("POLICY_VIOLATION"));

    for (id, parent) in [(&one, &two), (&one, &one), (&two, &two)] {
        let moved = attempt(&root, "moveOrganization", &json!({ "id": id, "parentId": parent }));
        assert_eq!(moved.code(), "ILLEGAL_TRANSITION", "{}", moved.body);
    }
    let top = own(&root);
    let moved = organization(&root, "moveOrganization", &json!({ "id": two, "parentId": top }));
    assert_eq!(moved["organization"]["parent"]["id"], top);
    let again = organization(&root, "moveOrganization", &json!({ "id": two, "parentId": top }));
    assert_eq!(again["events"], json!([]));
    // A tenant of its own stays one.
    let moved = attempt(&root, "moveOrganization", &json!({ "id": top, "parentId": one }));
    assert_eq!(moved.code(), "ILLEGAL_TRANSITION");
}

#[test]
fn a_new_name_changes_no_address_and_edits_clash_only_where_they_meet() {
    let server = Server::fresh();
    let root = server.root();
    let id = own(&root);
    let seen = data(&root, "{ organization { revision } }", &json!({}))["organization"]["revision"].clone();
    let renamed = organization(&root, "renameOrganization", &json!({ "id": id, "name": "Acme AG" }));
    assert_eq!(renamed["organization"]["name"], "Acme AG");
    assert_eq!(renamed["organization"]["slug"], "acme");
    // The rules were not touched since, the name was.
    let rules = json!({ "maxTtl": 86_400, "expectedRevision": seen });
    done(&policy(&root, &rules));
    let late = json!({ "id": id, "name": "Other", "expectedRevision": seen });
    assert_eq!(attempt(&root, "renameOrganization", &late).code(), "CONFLICT");
    assert_eq!(policy(&root, &json!({ "maxTtl": 60, "expectedRevision": seen })).code(), "CONFLICT");
    let events = data(
        &root,
        "{ events(filter: { types: [\"organization.renamed\", \"organization.policy_set\"] }) {
            nodes { type changes { field before after } } } }",
        &json!({}),
    );
    let nodes = events["events"]["nodes"].as_array().unwrap();
    assert_eq!(nodes[0]["changes"], json!([{ "field": "name", "before": "Acme", "after": "Acme AG" }]));
    assert_eq!(nodes[1]["changes"][0]["field"], "policy");
}
