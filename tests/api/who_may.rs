//! Who may do what: every operation of the schema times every kind of caller.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::ask::{Answer, World, ask, attempt, create_workspace, data, manager, text, world};
use crate::support::Client;

const CALLERS: [&str; 12] = [
    "administrator",
    "owner",
    "manager",
    "auditor",
    "viewer",
    "verifier",
    "owner elsewhere",
    "another tenant",
    "organization auditor",
    "organization viewer",
    "organization verifier",
    "administrator of a sub-organization",
];
/// Those who are refused before anything is looked at.
const STRANGERS: [&str; 3] = ["key without grants", "revoked administrator", "nobody"];

/// For each operation, what each of [`CALLERS`] is answered: `+` done, `F` FORBIDDEN, `N` NOT_FOUND, `0`
/// null. What it is asked of lives in the workspace of owner, manager, auditor, viewer and verifier.
const TABLE: &[(&str, &str)] = &[
    ("viewer", "++++++++++++"),
    ("organization", "++++++++++++"),
    ("workspace", "+++++NNN++NN"),
    ("workspaces", "+++++F++++F+"),
    ("key", "+++++NNN++NN"),
    ("keys", "+++++F++++F+"),
    ("event", "++N+NNNN+NNN"),
    ("events", "++F+FF+++FF+"),
    ("consequences", "++F+FNNN+FNN"),
    ("completenessProof", "++F+FNNN+FNN"),
    ("keyActivity", "++F+FF+++FF+"),
    ("accessReview", "++F+FF+++FF+"),
    ("policyViolations", "++F+FF+++FF+"),
    ("node", "+++++000++00"),
    ("exportUrl", "++F+FF+++FF+"),
    ("usage", "+++++F++++F+"),
    ("verifications", "++F+FF+++FF+"),
    ("simulate", "++F+FF+++FF+"),
    ("checkpoint", "++F+FF+++FF+"),
    ("logKeys", "++F+FF+++FF+"),
    ("inclusionProof", "++N+NNNN+NNN"),
    ("consistencyProof", "++F+FF+++FF+"),
    ("createKey", "+++FFNNNFFNN"),
    ("acknowledgeKeySecret", "+++FFNNNFFNN"),
    ("updateKey", "+++FFNNNFFNN"),
    ("rotateKey", "+++FFNNNFFNN"),
    ("disableKey", "+++FFNNNFFNN"),
    ("enableKey", "+++FFNNNFFNN"),
    ("revokeKey", "+++FFNNNFFNN"),
    ("revokeTokens", "+++FFNNNFFNN"),
    ("deleteKey", "+++FFNNNFFNN"),
    ("cloneKey", "+++FFNNNFFNN"),
    ("importKeys", "+++FFNNNFFNN"),
    ("createWorkspace", "+FFFFFF+FFF+"),
    ("renameWorkspace", "+FFFFNNNFFNN"),
    ("setWorkspaceQuota", "+FFFFNNNFFNN"),
    ("organizations", "++++++++++++"),
    ("roles", "+++++F++++F+"),
    ("role", "+++++N+N++NN"),
    ("createRole", "+FFFFFF+FFF+"),
    ("updateRole", "+FFFFNFNFFNN"),
    ("deleteRole", "+FFFFNFNFFNN"),
    ("identities", "+++++F++++F+"),
    ("identity", "+++++N+N++NN"),
    ("createIdentity", "+FFFFFF+FFF+"),
    ("updateIdentity", "+FFFFNFNFFNN"),
    ("deleteIdentity", "+FFFFNFNFFNN"),
    ("setCredits", "+++FFNNNFFNN"),
    ("adjustCredits", "+++FFNNNFFNN"),
    ("eraseSubject", "+FFFFNNNFFNN"),
    ("createOrganization", "+FFFFFF+FFF+"),
    ("bootstrapOrganization", "+NNNNNNNFFNN"),
    ("renameOrganization", "+FFFFFFNFFFN"),
    ("moveOrganization", "+NNNNNNNFFNN"),
    ("setOrganizationPolicy", "+FFFFFFNFFFN"),
    ("rotateSigningKey", "+FFFFFFNFFFN"),
    ("revokeSigningKey", "+FFFFFFNFFFN"),
    ("revokeKeys", "+++FFF++FFF+"),
];

fn operations(client: &Client) -> BTreeSet<String> {
    let schema = data(
        client,
        "{ __schema { queryType { fields { name } } mutationType { fields { name } } } }",
        &json!({}),
    );
    let names = |kind: &str| -> Vec<String> {
        schema["__schema"][kind]["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| text(&field["name"]))
            .collect()
    };
    names("queryType").into_iter().chain(names("mutationType")).collect()
}

/// A name that nothing else has.
fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("name {}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn own(client: &Client) -> String {
    text(&data(client, "{ organization { id } }", &json!({}))["organization"]["id"])
}

/// A key of the workspace that is out of use.
fn revoked(world: &World) -> String {
    let key = world.root.create_key("a").with("workspaceId", world.workspace.as_str()).run().id();
    world.root.revoke_key(&key, "UNUSED").unwrap();
    key
}

/// A role of the organization that nobody holds.
fn role(world: &World) -> String {
    let query = "mutation($name: String!) { createRole(input: { name: $name, scopes: [] }) { role { id } } }";
    text(&data(&world.root, query, &json!({ "name": unique() }))["createRole"]["role"]["id"])
}

/// An identity of the organization that no key holds.
fn identity(world: &World) -> String {
    let query = "mutation($id: String!) { createIdentity(input: { externalId: $id }) { identity { id } } }";
    text(&data(&world.root, query, &json!({ "id": unique() }))["createIdentity"]["identity"]["id"])
}

/// A key of the workspace that has credits.
fn with_credits(world: &World) -> String {
    let key = world.root.create_key("credits").with("workspaceId", world.workspace.as_str());
    key.with("credits", json!({ "remaining": 10 })).run().id()
}

/// A new organization below the first.
fn below(world: &World) -> String {
    let query = "mutation { createOrganization(input: { name: \"below\" }) { organization { id } } }";
    text(&data(&world.root, query, &json!({}))["createOrganization"]["organization"]["id"])
}

/// Asks for one operation about a key.
fn call(world: &World, client: &Client, operation: &str, key: &str, event: &str) -> Answer {
    let of = |query: &str, id: &str| ask(client, query, &json!({ "id": id }));
    match operation {
        "viewer" => of("{ viewer { keyId email grants { role } organization { id } } }", ""),
        "organization" => of("{ organization { id name slug } }", ""),
        "workspace" => of("query($id: ID!) { workspace(id: $id) { id } }", &world.workspace),
        "workspaces" => of("{ workspaces { nodes { id } } }", ""),
        "key" => of("query($id: ID!) { key(id: $id) { id name } }", key),
        "keys" => of("{ keys { nodes { id } } }", ""),
        "event" => of("query($id: ID!) { event(id: $id) { id } }", event),
        "events" => of("{ events { nodes { id } } }", ""),
        "consequences" => of("query($id: ID!) { consequences(actorId: $id) { nodes { via } } }", key),
        "exportUrl" => of("{ exportUrl(input: { format: JSONL }) { url } }", ""),
        "completenessProof" => of("query($id: ID!) { completenessProof(keyId: $id) { revision } }", key),
        "keyActivity" => of("{ keyActivity(from: \"2026-01-01T00:00:00Z\") { nodes { keyId } } }", ""),
        "accessReview" => of("{ accessReview { nodes { keyId } } }", ""),
        "policyViolations" => of("{ policyViolations { nodes { keyId } } }", ""),
        "usage" => of(
            "{ usage(from: \"2026-01-01T00:00:00Z\", to: \"2026-02-01T00:00:00Z\") { totals { valid } } }",
            "",
        ),
        "simulate" => of(
            "{ simulate(change: { scopes: [] }, from: \"2999-01-01T00:00:00Z\", to: \"2999-02-01T00:00:00Z\") { refused } }",
            "",
        ),
        "verifications" => of("{ verifications { nodes { code } } }", ""),
        "checkpoint" => of("{ checkpoint { size } }", ""),
        "logKeys" => of("{ logKeys { generation } }", ""),
        "inclusionProof" => of("query($id: ID!) { inclusionProof(eventId: $id) { logIndex } }", event),
        "consistencyProof" => of("{ consistencyProof(from: 1) { hashes } }", ""),
        "node" => of("query($id: ID!) { node(id: $id) { id } }", key),
        "createKey" => {
            let input = json!({ "name": "a", "environment": "PRODUCTION", "workspaceId": world.workspace });
            attempt(client, operation, &input)
        }
        "importKeys" => {
            let secret = format!("a secret of {}", unique()).replace(' ', "-");
            let key = json!({ "name": "a", "environment": "PRODUCTION", "secret": secret });
            attempt(client, operation, &json!({ "workspaceId": world.workspace, "keys": [key] }))
        }
        "revokeKey" => attempt(client, operation, &json!({ "id": key, "reason": "UNUSED" })),
        "createWorkspace" | "createOrganization" => attempt(client, operation, &json!({ "name": "a" })),
        "renameWorkspace" => attempt(client, operation, &json!({ "id": world.workspace, "name": "a" })),
        "setWorkspaceQuota" => attempt(client, operation, &json!({ "id": world.workspace, "maxKeys": null })),
        "organizations" => of("{ organizations { nodes { id } } }", ""),
        "roles" => of("{ roles { id } }", ""),
        "role" => of("query($id: ID!) { role(id: $id) { id } }", &role(world)),
        "createRole" => attempt(client, operation, &json!({ "name": unique(), "scopes": [] })),
        "updateRole" => attempt(client, operation, &json!({ "id": role(world), "description": "a" })),
        "deleteRole" => attempt(client, operation, &json!({ "id": role(world) })),
        "identities" => of("{ identities { nodes { id } } }", ""),
        "identity" => of("query($id: ID!) { identity(id: $id) { id } }", &identity(world)),
        "createIdentity" => attempt(client, operation, &json!({ "externalId": unique() })),
        "updateIdentity" => attempt(client, operation, &json!({ "id": identity(world), "name": "a" })),
        "deleteIdentity" => attempt(client, operation, &json!({ "id": identity(world) })),
        "setCredits" => attempt(client, operation, &json!({ "id": key, "remaining": 5, "reason": "a" })),
        "eraseSubject" => attempt(client, operation, &json!({ "id": revoked(world), "reason": "REQUEST" })),
        "adjustCredits" => {
            let id = with_credits(world);
            attempt(client, operation, &json!({ "id": id, "by": 5, "reason": "a" }))
        }
        "bootstrapOrganization" => attempt(client, operation, &json!({ "id": below(world) })),
        "moveOrganization" => {
            attempt(client, operation, &json!({ "id": below(world), "parentId": below(world) }))
        }
        "renameOrganization" => {
            let id = own(&world.root);
            attempt(client, operation, &json!({ "id": id, "name": unique() }))
        }
        "setOrganizationPolicy" => {
            attempt(client, operation, &json!({ "id": own(&world.root), "expiryRequired": null }))
        }
        "rotateSigningKey" => attempt(client, operation, &json!({ "organizationId": own(&world.root) })),
        "revokeSigningKey" => {
            let input = json!({ "organizationId": own(&world.root), "generation": 1 });
            attempt(client, operation, &input)
        }
        "revokeKeys" => {
            attempt(client, operation, &json!({ "filter": {}, "reason": "UNUSED", "dryRun": true }))
        }
        _ => attempt(client, operation, &json!({ "id": key })),
    }
}

/// A key of an organization below the first that administers it.
fn administrator_of(world: &World, organization: &str) -> crate::support::Mutated {
    assert_eq!(attempt(&world.root, "bootstrapOrganization", &json!({ "id": organization })).code(), "");
    let query = "mutation($id: ID!) {
        createWorkspace(input: { organizationId: $id, name: \"a\" }) { workspace { id } } }";
    let made = data(&world.root, query, &json!({ "id": organization }));
    let grants = json!([{ "role": "ORGANIZATION_ADMINISTRATOR", "organizationId": organization }]);
    world
        .root
        .create_key("administrator below")
        .with("workspaceId", made["createWorkspace"]["workspace"]["id"].clone())
        .with("grants", grants)
        .run()
}

fn outcome(answer: &Answer, operation: &str) -> char {
    match answer.code() {
        "" if answer.body["data"][operation].is_null() => '0',
        "" => '+',
        "FORBIDDEN" => 'F',
        "NOT_FOUND" => 'N',
        "UNAUTHENTICATED" => 'U',
        _ => panic!("{operation}: {}", answer.body),
    }
}

fn administrator(world: &World) -> crate::support::Mutated {
    let organization = data(&world.root, "{ organization { id } }", &json!({}));
    let grants = json!([{ "role": "ORGANIZATION_ADMINISTRATOR", "organizationId": organization["organization"]["id"] }]);
    world
        .root
        .create_key("administrator")
        .with("workspaceId", world.workspace.as_str())
        .with("grants", grants)
        .run()
}

#[test]
fn every_operation_is_answered_to_every_kind_of_caller_as_the_table_says() {
    let world = world();
    let elsewhere = create_workspace(&world.root, "elsewhere");
    let revoked = administrator(&world);
    world.root.revoke_key(&revoked.id(), "COMPROMISED").unwrap();
    let plain =
        world.root.create_key("plain").with("workspaceId", world.workspace.as_str()).scope("*:*").run();
    let held =
        |role: &str, workspace: &str| world.server.client(&manager(&world.root, role, workspace).secret());
    let everywhere = |role: &str| {
        let grants = json!([{ "role": role, "organizationId": own(&world.root) }]);
        let key = world.root.create_key(role).with("workspaceId", world.workspace.as_str());
        world.server.client(&key.with("grants", grants).run().secret())
    };
    let sub = below(&world);
    let administrator_below = administrator_of(&world, &sub);
    let callers = [
        world.server.client(&administrator(&world).secret()),
        held("WORKSPACE_OWNER", &world.workspace),
        held("WORKSPACE_MANAGER", &world.workspace),
        held("AUDITOR", &world.workspace),
        held("VIEWER", &world.workspace),
        held("VERIFIER", &world.workspace),
        held("WORKSPACE_OWNER", &elsewhere),
        world.server.client(&world.other_tenant.root_key),
        everywhere("AUDITOR"),
        everywhere("VIEWER"),
        everywhere("VERIFIER"),
        world.server.client(&administrator_below.secret()),
    ];
    let strangers = [
        world.server.client(&plain.secret()),
        world.server.client(&revoked.secret()),
        world.server.anonymous(),
    ];
    let rows: BTreeSet<String> = TABLE.iter().map(|(operation, _)| (*operation).to_owned()).collect();
    assert_eq!(operations(&world.root), rows, "an operation has no row, or a row has no operation");

    let mut wrong = Vec::new();
    let mut refusals = [0_usize; CALLERS.len()];
    for &(operation, expected) in TABLE {
        assert_eq!(expected.len(), CALLERS.len(), "{operation}");
        for (place, expected) in expected.chars().enumerate() {
            let issued = world.root.create_key("target").with("workspaceId", world.workspace.as_str()).run();
            let event = text(&issued.events[0]["id"]);
            let answer = call(&world, &callers[place], operation, &issued.id(), &event);
            let got = outcome(&answer, operation);
            if got != expected {
                wrong.push(format!("{operation} by {}: {got} instead of {expected}", CALLERS[place]));
            }
            // `node` answers null for what is not there, as Relay has it; the trail knows better.
            if operation == "node" && expected == '0' {
                refusals[place] += 1;
            }
            if matches!(expected, 'F' | 'N') {
                refusals[place] += 1;
                let key = world.root.key(&issued.id(), "revision status").unwrap();
                assert_eq!(
                    key,
                    json!({ "revision": 0, "status": "ACTIVE" }),
                    "{operation} by {}",
                    CALLERS[place]
                );
            }
        }
        for (stranger, name) in strangers.iter().zip(STRANGERS) {
            let answer = call(&world, stranger, operation, &plain.id(), "evt_01h455vb4pex5vsknk084sn02q");
            if (answer.status, answer.code()) != (401, "UNAUTHENTICATED") {
                wrong.push(format!("{operation} by {name}: {} {}", answer.status, answer.body));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Each refusal is in the trail of the caller's own organization.
    for (place, client) in callers.iter().enumerate() {
        let caller = data(client, "{ viewer { keyId } }", &json!({}))["viewer"]["keyId"].clone();
        let mut filter = json!({ "filter": { "actorId": caller, "types": ["command.refused"] } });
        if place == CALLERS.len() - 1 {
            filter["filter"]["organizationId"] = sub.as_str().into();
        }
        let query = "query($filter: EventFilter) { events(filter: $filter) { totalCount } }";
        let asker = if place == 7 { &world.other } else { &world.root };
        assert_eq!(
            data(asker, query, &filter)["events"]["totalCount"],
            refusals[place],
            "{}",
            CALLERS[place]
        );
    }
}

#[test]
fn the_trail_of_a_key_is_for_those_who_may_read_trails() {
    let world = world();
    let id = world.root.create_key("a").run().id();
    for (role, may) in
        [("WORKSPACE_OWNER", true), ("AUDITOR", true), ("WORKSPACE_MANAGER", false), ("VIEWER", false)]
    {
        let client = world.server.client(&manager(&world.root, role, &world.workspace).secret());
        let answer = client.key(&id, "events { nodes { type } }");
        let code = answer.as_ref().err().and_then(|failure| failure.code());
        assert_eq!(code, if may { None } else { Some("FORBIDDEN") }, "{role}");
    }
}

#[test]
fn only_a_grant_allows_to_verify() {
    let world = world();
    let asked = world.root.create_key("a").with("workspaceId", world.workspace.as_str()).run();
    let elsewhere = create_workspace(&world.root, "elsewhere");
    for (role, workspace, expected) in [
        ("WORKSPACE_OWNER", &world.workspace, Ok("VALID")),
        ("VERIFIER", &world.workspace, Ok("VALID")),
        ("VERIFIER", &elsewhere, Ok("NOT_FOUND")),
        ("WORKSPACE_MANAGER", &world.workspace, Err("FORBIDDEN")),
        ("AUDITOR", &world.workspace, Err("FORBIDDEN")),
        ("VIEWER", &world.workspace, Err("FORBIDDEN")),
    ] {
        let client = world.server.client(&manager(&world.root, role, workspace).secret());
        let answer = client.verify(&asked.secret());
        let got =
            answer.as_ref().map(|answer| answer.code.as_str()).map_err(|failure| failure.code().unwrap());
        assert_eq!(got, expected, "{role}");
    }
    let foreign = world.other.verify(&asked.secret()).unwrap();
    let unknown = "kl_prod_0000000000000000000000000000000000000000000".to_owned();
    assert_eq!(foreign.code, "NOT_FOUND");
    assert_eq!(world.other.verify(&unknown).unwrap().code, "MALFORMED");
    assert!(foreign.body.get("keyId").is_none(), "{}", foreign.body);
    for stranger in [world.server.client(&asked.secret()), world.server.anonymous()] {
        assert_eq!(stranger.verify(&asked.secret()).unwrap_err().code(), Some("UNAUTHENTICATED"));
    }
}

#[test]
fn nobody_gives_more_than_they_have() {
    let world = world();
    let organization = data(&world.root, "{ organization { id } }", &json!({}))["organization"]["id"].clone();
    let other_workspace = create_workspace(&world.root, "elsewhere");
    let owner = world.server.client(&manager(&world.root, "WORKSPACE_OWNER", &world.workspace).secret());
    let managing = world.server.client(&manager(&world.root, "WORKSPACE_MANAGER", &world.workspace).secret());
    let on = |workspace: &str, role: &str| json!([{ "role": role, "workspaceId": workspace }]);
    let own = world.workspace.as_str();
    let table: [(&Client, Value, &str); 15] = [
        (&owner, on(own, "WORKSPACE_OWNER"), ""),
        (&owner, on(own, "AUDITOR"), ""),
        (&owner, on(own, "VERIFIER"), ""),
        (&owner, on(own, "ORGANIZATION_ADMINISTRATOR"), "FORBIDDEN"),
        (&owner, json!([{ "role": "VIEWER", "organizationId": organization }]), "FORBIDDEN"),
        (
            &owner,
            json!([{ "role": "ORGANIZATION_ADMINISTRATOR", "organizationId": organization }]),
            "FORBIDDEN",
        ),
        (&owner, on(&other_workspace, "VIEWER"), "FORBIDDEN"),
        (&owner, on(&world.other_tenant.workspace, "VIEWER"), "NOT_FOUND"),
        (
            &owner,
            json!([{ "role": "VIEWER", "organizationId": world.other_tenant.organization }]),
            "NOT_FOUND",
        ),
        (&managing, on(own, "WORKSPACE_MANAGER"), ""),
        (&managing, on(own, "VIEWER"), ""),
        (&managing, on(own, "WORKSPACE_OWNER"), "FORBIDDEN"),
        (&managing, on(own, "AUDITOR"), "FORBIDDEN"),
        (&managing, on(own, "VERIFIER"), "FORBIDDEN"),
        (&world.root, on(&world.other_tenant.workspace, "VIEWER"), "NOT_FOUND"),
    ];
    for (client, grants, code) in table {
        let input = json!({ "name": "a", "environment": "PRODUCTION", "workspaceId": own, "grants": grants });
        let answer = attempt(client, "createKey", &input);
        assert_eq!(answer.code(), code, "{grants}: {}", answer.body);
    }
}

#[test]
fn nobody_takes_over_a_key_that_holds_more_than_they_do() {
    let world = world();
    let administrator = administrator(&world);
    let owners_key = manager(&world.root, "WORKSPACE_OWNER", &world.workspace);
    let owner = world.server.client(&owners_key.secret());
    let managing = world.server.client(&manager(&world.root, "WORKSPACE_MANAGER", &world.workspace).secret());
    let mutations = [
        "updateKey",
        "rotateKey",
        "disableKey",
        "enableKey",
        "revokeKey",
        "deleteKey",
        "cloneKey",
        "acknowledgeKeySecret",
    ];
    for (client, target) in [(&owner, &administrator), (&managing, &administrator), (&managing, &owners_key)]
    {
        for mutation in mutations {
            let mut input = json!({ "id": target.id() });
            if mutation == "revokeKey" {
                input["reason"] = "UNUSED".into();
            }
            assert_eq!(attempt(client, mutation, &input).code(), "FORBIDDEN", "{mutation}");
        }
        assert_eq!(world.root.key(&target.id(), "revision").unwrap()["revision"], 0);
    }
    // What they hold themselves is within reach.
    assert!(owner.rotate_key(&manager(&world.root, "VIEWER", &world.workspace).id(), 0).is_ok());
}
