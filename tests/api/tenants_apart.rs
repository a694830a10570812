//! What is handed out of the audit part, whole, of two tenants of which each did everything: nothing of the one is ever in
//! what the other gets, as bytes, as an id, as a name or as a data key.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyledger_schema::sealing::subjects;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};

use crate::ask::{World, attempt, create_workspace, data, eventually, text, world};
use crate::audit_exports::{get, root_key};
use crate::support::Client;

/// A tenant, and everything that nobody else must ever see of it.
struct Tenant {
    secret: String,
    organization: String,
    workspace: String,
    key: String,
    identity: String,
    /// Its ids.
    ids: Vec<String>,
    /// What stands in all its names, comments and metadata.
    mark: String,
}

/// Some of everything that is told of in the trail.
fn act(client: &Client, secret: &str, organization: &str, mark: &str) -> Tenant {
    let workspace = create_workspace(client, &format!("{mark}-workspace"));
    let made = data(
        client,
        "mutation($input: CreateIdentityInput!) { createIdentity(input: $input) { identity { id } } }",
        &json!({ "input": { "externalId": format!("{mark}-external"), "name": format!("{mark}-person") } }),
    );
    let identity = text(&made["createIdentity"]["identity"]["id"]);
    let made = data(
        client,
        "mutation($input: CreateRoleInput!) { createRole(input: $input) { role { id } } }",
        &json!({ "input": { "name": format!("{mark}-role"), "scopes": [] } }),
    );
    let role = text(&made["createRole"]["role"]["id"]);
    let key = client
        .create_key(&format!("{mark}-key"))
        .with("workspaceId", workspace.as_str())
        .with("identityId", identity.as_str())
        .with("roleIds", json!([role]))
        .with("metadata", json!({ "owner": format!("{mark}-metadata") }))
        .scope("read:**")
        .run();
    let asked = json!({ "key": key.secret(), "action": "read", "resource": format!("{mark}/resource"),
        "tags": [format!("{mark}-tag")] });
    assert!(client.verify_with(&asked).unwrap().valid);
    client.rotate_key(&key.id(), 60).unwrap();
    let comment = json!({ "id": key.id(), "comment": format!("{mark}-comment") });
    assert_eq!(attempt(client, "disableKey", &comment).code(), "");
    client.enable_key(&key.id()).unwrap();
    assert_eq!(attempt(client, "enableKey", &json!({ "id": role })).code(), "INVALID_INPUT");
    let gone = client.create_key(&format!("{mark}-gone")).with("workspaceId", workspace.as_str()).run();
    client.revoke_key(&gone.id(), "COMPROMISED").unwrap();
    assert_eq!(attempt(client, "enableKey", &json!({ "id": gone.id() })).code(), "ILLEGAL_TRANSITION");
    let ids = [organization, &workspace, &key.id(), &gone.id(), &identity, &role].map(str::to_owned);
    Tenant {
        secret: secret.to_owned(),
        organization: organization.to_owned(),
        workspace,
        key: key.id(),
        identity,
        ids: ids.into(),
        mark: mark.to_owned(),
    }
}

/// Two tenants that did the same.
fn scene() -> (World, [Tenant; 2]) {
    let world = world();
    let organization = world.server.home().tenant().organization.clone();
    let ours = act(&world.root, root_key(&world), &organization, "aardvark");
    let (secret, organization) = (&world.other_tenant.root_key, &world.other_tenant.organization);
    let theirs = act(&world.other, secret, organization, "zebra");
    for (client, tenant) in [(&world.root, &ours), (&world.other, &theirs)] {
        let used = "query($id: ID!) { key(id: $id) { lastUsedAt } }";
        let asked = json!({ "id": tenant.key });
        eventually("the use is counted", || !data(client, used, &asked)["key"]["lastUsedAt"].is_null());
    }
    (world, [ours, theirs])
}

/// What stands in an answer, also where it is compressed or encoded.
fn readable(path: &str, bytes: &[u8]) -> String {
    if path.contains("format=parquet") {
        let reader = SerializedFileReader::new(actix_web::web::Bytes::from(bytes.to_vec())).unwrap();
        return reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
    }
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    if path.contains("raw=true") {
        let raw =
            text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter_map(|line| {
                let raw = STANDARD.decode(line["raw"].as_str()?).ok()?;
                Some(String::from_utf8(raw).unwrap())
            });
        text = raw.chain([text.clone()]).collect();
    }
    text
}

/// The data keys that a bundle discloses, by whose data they are of.
fn disclosed(bundle: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(bundle);
    let mut all = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if !entry.path().unwrap().starts_with("data-keys") {
            continue;
        }
        let mut lines = String::new();
        entry.read_to_string(&mut lines).unwrap();
        for line in lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            assert!(all.insert(text(&line["id"]), text(&line["dataKey"])).is_none());
        }
    }
    all
}

/// Everything that is handed out of the trail of a tenant.
fn paths(tenant: &Tenant) -> Vec<String> {
    let Tenant { organization, workspace, key, identity, .. } = tenant;
    let mut paths: Vec<String> = [
        format!("/v1/audit/bundle?organizationId={organization}"),
        format!("/v1/audit/bundle?workspaceId={workspace}"),
        format!("/v1/audit/bundle?keyId={key}"),
        format!("/v1/audit/bundle?organizationId={organization}&since=3"),
        "/v1/events?wait=0&fromStart=true&max=1000".to_owned(),
        format!("/v1/events?wait=0&fromStart=true&max=1000&keyId={key}"),
        format!("/v1/events?wait=0&fromStart=true&max=1000&identityId={identity}"),
        format!("/v1/audit/completeness?keyId={key}"),
        format!("/v1/audit/completeness?stream=audit-{organization}"),
    ]
    .into();
    for format in ["jsonl", "csv", "ocsf", "cef", "cloudevents", "parquet"] {
        paths.push(format!("/v1/audit/export?format={format}"));
        paths.push(format!("/v1/audit/export?format={format}&raw=true&workspaceId={workspace}"));
        paths.push(format!("/v1/audit/export?format={format}&raw=true&keyId={key}"));
    }
    for format in ["jsonl", "csv", "parquet"] {
        paths.push(format!("/v1/exports/verifications?format={format}"));
        let period = "from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z&groupBy=key,tag";
        paths.push(format!("/v1/exports/usage?format={format}&{period}"));
    }
    for format in ["jsonl", "csv", "html"] {
        paths.push(format!("/v1/reports/key-activity?format={format}&from=2026-01-01T00:00:00Z"));
        paths.push(format!("/v1/reports/access-review?format={format}"));
        paths.push(format!("/v1/reports/policy-violations?format={format}"));
    }
    paths
}

#[test]
fn nothing_that_is_handed_out_of_a_trail_holds_anything_of_another_tenant() {
    let (world, tenants) = scene();
    let own = |tenant: &Tenant| tenant.ids.iter().chain([&tenant.mark]).cloned().collect::<Vec<_>>();
    let mut keys = Vec::new();
    for (tenant, other) in [(&tenants[0], &tenants[1]), (&tenants[1], &tenants[0])] {
        let foreign: BTreeSet<String> = own(other).into_iter().collect();
        for path in paths(tenant) {
            let answer = get(&world.server, Some(&tenant.secret), &path);
            assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.bytes));
            let text = readable(&path, &answer.bytes);
            if let Some(found) = foreign.iter().find(|mark| text.contains(mark.as_str())) {
                panic!("{path} holds {found}");
            }
            // In sealed values the subject is packed.
            let sealed = subjects(&text).map(|subject| subject.to_string()).find(|id| foreign.contains(id));
            assert_eq!(sealed, None, "{path}");
            // What is looked for is where it should be.
            let proof = path.contains("completeness");
            let nothing = path.contains("violations") || proof;
            assert!(nothing || text.contains(&tenant.mark) || text.contains(&tenant.key), "{path} is empty");
            if path.starts_with("/v1/audit/bundle") {
                let disclosed = disclosed(&answer.bytes);
                assert!(disclosed.contains_key(&tenant.key), "{path}");
                assert!(
                    disclosed.keys().all(|id| tenant.ids.contains(id) || !foreign.contains(id)),
                    "{path}"
                );
                keys.push((&tenant.organization, disclosed));
            }
        }
        // The other's own is refused by each of these.
        for path in
            paths(other).into_iter().filter(|path| foreign.iter().any(|id| path.contains(id.as_str())))
        {
            let answer = get(&world.server, Some(&tenant.secret), &path);
            assert_eq!((answer.status, answer.refusal().code()), (404, "NOT_FOUND"), "{path}");
        }
    }
    // A data key is one organization's, and no subject has two.
    let mut whose: BTreeMap<&String, (&String, &String)> = BTreeMap::new();
    for (organization, disclosed) in &keys {
        for (id, key) in disclosed {
            let known = whose.entry(key).or_insert((organization, id));
            assert_eq!(*known, (*organization, id));
        }
    }
    assert!(whose.len() > 6, "{whose:?}");
}

#[test]
fn proofs_and_lists_of_one_tenant_hold_nothing_of_another() {
    let (world, tenants) = scene();
    let query = "query($id: ID!, $event: ID!) {
        key(id: $id) { completeness { stream steps { sibling } } }
        event(id: $event) { rawBytes inclusionProof { hashes } }
        inclusionProof(eventId: $event) { hashes logIndex tlogProof }
        checkpoint { note }
        keyActivity(from: \"2026-01-01T00:00:00Z\") { nodes { keyId eventId } }
        consequences(actorId: $id) { nodes { event { id data } } } }";
    let events = "query($id: ID!) { key(id: $id) { events(first: 200) { nodes { id } } } }";
    let both = [(&world.root, &tenants[0], &tenants[1]), (&world.other, &tenants[1], &tenants[0])];
    let event = |client: &Client, tenant: &Tenant| {
        text(&data(client, events, &json!({ "id": tenant.key }))["key"]["events"]["nodes"][0]["id"])
    };
    let of = both.map(|(client, tenant, _)| event(client, tenant));
    for (at, (client, tenant, other)) in both.into_iter().enumerate() {
        let answer = data(client, query, &json!({ "id": tenant.key, "event": of[at] }));
        let raw = STANDARD.decode(text(&answer["event"]["rawBytes"])).unwrap();
        let shown = format!("{answer} {}", String::from_utf8(raw).unwrap());
        assert!(shown.contains(&tenant.key));
        let found = other.ids.iter().chain([&other.mark]).find(|mark| shown.contains(mark.as_str()));
        assert_eq!(found, None, "{shown}");
        let theirs = crate::ask::ask(
            client,
            "query($id: ID!) { inclusionProof(eventId: $id) { logIndex } }",
            &json!({ "id": of[1 - at] }),
        );
        assert_eq!(theirs.code(), "NOT_FOUND");
    }
}
