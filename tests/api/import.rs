//! Keys whose secrets were made elsewhere.

use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::ask::{
    Answer, ask, assert_unharmed, attempt, create_workspace, data, manager, text, types, world,
};
use crate::support::{Client, Home, Server};

const MUTATION: &str = "mutation($input: ImportKeysInput!) { importKeys(input: $input) {
    imported existing failed results {
        index status key { id name status imported secretHint workspace { id } } error { code message field }
    }
    events { id type keyId } warnings { code message }
} }";

fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn hex(digest: [u8; 32]) -> String {
    blake3::Hash::from_bytes(digest).to_hex().to_string()
}

/// A key to be imported by its text.
fn item(secret: &str) -> Value {
    json!({ "name": "brought", "environment": "PRODUCTION", "secret": secret,
            "scopes": [{ "action": "READ", "resource": "customers/**" }] })
}

/// The same by a digest.
fn digest_item(algorithm: &str, value: &str) -> Value {
    let mut item = item("");
    item.as_object_mut().unwrap().remove("secret");
    item["hash"] = json!({ "algorithm": algorithm, "value": value });
    item
}

fn sha256_item(secret: &str) -> Value {
    digest_item("SHA256_HEX", &hex(sha256(secret)))
}

fn with(mut item: Value, field: &str, value: impl Into<Value>) -> Value {
    item[field] = value.into();
    item
}

/// The payload of an import into the only workspace of the caller's organization.
fn import(client: &Client, keys: &[Value]) -> Value {
    data(client, MUTATION, &json!({ "input": { "keys": keys } }))["importKeys"].take()
}

fn import_into(client: &Client, workspace: &str, keys: &[Value]) -> Value {
    let input = json!({ "input": { "workspaceId": workspace, "keys": keys } });
    data(client, MUTATION, &input)["importKeys"].take()
}

fn statuses(payload: &Value) -> Vec<String> {
    payload["results"].as_array().unwrap().iter().map(|result| text(&result["status"])).collect()
}

fn id_of(payload: &Value, index: usize) -> String {
    text(&payload["results"][index]["key"]["id"])
}

/// Code and field of an item that was refused.
fn refusal(payload: &Value, index: usize) -> (String, String) {
    let error = &payload["results"][index]["error"];
    assert!(payload["results"][index]["key"].is_null(), "{payload}");
    (text(&error["code"]), error["field"].as_str().unwrap_or_default().to_owned())
}

fn code(client: &Client, secret: &str) -> String {
    client.verify(secret).unwrap().code
}

/// The secrets of one test are nobody else's.
fn secret(n: u32) -> String {
    format!("sk_live_4eC39HqLyjWDarjtT1zdp7dc{n:04}")
}

#[test]
fn imported_keys_are_verified_like_native_ones() {
    let server = Server::fresh();
    let root = server.root();
    let texts: Vec<String> = (0..5).map(secret).collect();
    let keys = [
        item(&texts[0]),
        sha256_item(&texts[1]),
        digest_item("SHA256_BASE64", &STANDARD.encode(sha256(&texts[2]))),
        digest_item("SHA256_BASE64", &URL_SAFE_NO_PAD.encode(sha256(&texts[3]))),
        with(
            digest_item("BLAKE3_HEX", blake3::hash(texts[4].as_bytes()).to_hex().as_str()),
            "hint",
            "sk_live",
        ),
    ];
    assert_eq!(code(&root, &texts[0]), "MALFORMED");
    let payload = import(&root, &keys);
    assert_eq!(statuses(&payload), ["IMPORTED"; 5]);
    assert_eq!(
        (&payload["imported"], &payload["existing"], &payload["failed"]),
        (&json!(5), &json!(0), &json!(0))
    );
    let events = payload["events"].as_array().unwrap();
    assert_eq!(events.len(), 5);
    for (place, text_of) in texts.iter().enumerate() {
        let result = &payload["results"][place];
        assert_eq!((&result["index"], &result["key"]["imported"]), (&json!(place), &json!(true)));
        assert_eq!(
            (&events[place]["type"], &events[place]["keyId"]),
            (&json!("key.issued"), &result["key"]["id"])
        );
        let asked = json!({ "key": text_of, "action": "read", "resource": "customers/7", "environment": "production" });
        let answer = root.verify_with(&asked).unwrap();
        assert_eq!((answer.code.as_str(), &answer.body["keyId"]), ("VALID", &result["key"]["id"]));
        assert_eq!(answer.body["secretVersion"], 1);
        let refused = json!({ "key": text_of, "action": "write", "resource": "customers/7" });
        assert_eq!(root.verify_with(&refused).unwrap().code, "INSUFFICIENT_SCOPE");
        let elsewhere = json!({ "key": text_of, "environment": "staging" });
        assert_eq!(root.verify_with(&elsewhere).unwrap().code, "WRONG_ENVIRONMENT");
    }
    let hints: Vec<String> = (0..5).map(|n| text(&payload["results"][n]["key"]["secretHint"])).collect();
    assert_eq!(hints, ["sk_l", "", "", "", "sk_live"]);
    // A digest is no secret.
    for no_secret in [hex(sha256(&texts[1])), format!("{}x", texts[0]), texts[0].to_uppercase()] {
        assert_eq!(code(&root, &no_secret), "MALFORMED");
    }
    // What looks like one of ours is one.
    let ours = "kl_prod_0000000000000000000000000000000000000000000";
    let native = keyledger::secret::Secret::mint("kl", keyledger_schema::Environment::Production, &[9; 32]);
    assert_eq!(code(&root, native.expose()), "NOT_FOUND");
    assert_eq!(statuses(&import(&root, &[item(native.expose())])), ["IMPORTED"]);
    assert_eq!((code(&root, native.expose()).as_str(), code(&root, ours).as_str()), ("VALID", "MALFORMED"));
    assert_unharmed(&server, &root, &[&texts[0], &texts[1]]);
}

#[test]
fn everything_that_can_be_said_of_a_new_key_can_be_said_of_an_imported_one() {
    let server = Server::fresh();
    let root = server.root();
    let role = "mutation { createRole(input: { name: \"support\", scopes: [{ action: WRITE, resource: \"tickets/**\" }] }) { role { id } } }";
    let role = text(&data(&root, role, &json!({}))["createRole"]["role"]["id"]);
    let whole = json!({
        "name": "whole", "environment": "STAGING", "secret": secret(1),
        "scopes": [{ "action": "READ", "resource": "a" }], "roleIds": [role],
        "expiresAt": "2099-01-01T00:00:00Z", "allowedCidrs": ["10.0.0.0/8", "0.0.0.0/0"],
        "rateLimits": [{ "name": "burst", "limit": 5, "windowSeconds": 1 }],
        "metadata": { "from": "elsewhere" },
        "grants": [{ "role": "VIEWER", "workspaceId": server.home().tenant().workspace }],
    });
    let payload = import(&root, &[whole]);
    assert_eq!(statuses(&payload), ["IMPORTED"], "{payload}");
    assert_eq!(payload["warnings"][0]["code"], "OPEN_NETWORK");
    let fields =
        "name environment scopes { text } roles { name } expiresAt allowedCidrs metadata grants { role }
        rateLimits { name limit windowSeconds } secretAcknowledgedAt createdAt prefix";
    let key = root.key(&id_of(&payload, 0), fields).unwrap();
    assert_eq!(key["secretAcknowledgedAt"], key["createdAt"], "its holder has it already");
    assert_eq!((&key["roles"][0]["name"], &key["grants"][0]["role"]), (&json!("support"), &json!("VIEWER")));
    assert_eq!((&key["metadata"]["from"], &key["rateLimits"][0]["limit"]), (&json!("elsewhere"), &json!(5)));
    let asked = json!({ "key": secret(1), "action": "write", "resource": "tickets/1", "ip": "192.0.2.1" });
    assert!(root.verify_with(&asked).unwrap().valid);
    // With its grants it manages.
    let viewer = server.client(&secret(1));
    assert_eq!(data(&viewer, "{ viewer { keyId } }", &json!({}))["viewer"]["keyId"], id_of(&payload, 0));
    assert_eq!(viewer.create_key("a").try_run().unwrap_err().code(), Some("FORBIDDEN"));
    // A key without grants does not, whatever it was imported by.
    import(&root, &[sha256_item(&secret(2))]);
    assert_eq!(server.client(&secret(2)).verify("x").unwrap_err().code(), Some("UNAUTHENTICATED"));
}

#[test]
fn a_repetition_finds_what_the_first_call_made_and_writes_nothing() {
    let server = Server::fresh();
    let root = server.root();
    let keys = [item(&secret(1)), sha256_item(&secret(2)), item(&secret(3))];
    let first = import(&root, &keys);
    let second = import(&root, &keys);
    assert_eq!(statuses(&second), ["EXISTS"; 3]);
    assert_eq!((&second["existing"], second["events"].as_array().map(Vec::len)), (&json!(3), Some(0)));
    for index in 0..3 {
        assert_eq!(id_of(&first, index), id_of(&second, index));
        assert_eq!(types(&root, &id_of(&first, index)), ["key.issued"]);
    }
    // Other settings change nothing either: the key is left as it is.
    let renamed = import(&root, &[with(item(&secret(1)), "name", "another")]);
    assert_eq!(renamed["results"][0]["key"]["name"], "brought");
    // A part of it can be new.
    assert_eq!(statuses(&import(&root, &[item(&secret(1)), item(&secret(4))])), ["EXISTS", "IMPORTED"]);
}

#[test]
fn of_two_items_with_one_secret_the_first_wins() {
    let server = Server::fresh();
    let root = server.root();
    let blake3 = digest_item("BLAKE3_HEX", blake3::hash(secret(2).as_bytes()).to_hex().as_str());
    let payload = import(
        &root,
        &[
            with(item(&secret(1)), "scopes", json!([{ "action": "READ", "resource": "a/**/b" }])),
            item(&secret(1)),
            item(&secret(1)),
            sha256_item(&secret(1)),
            blake3,
            item(&secret(2)),
        ],
    );
    assert_eq!(statuses(&payload), ["FAILED", "IMPORTED", "EXISTS", "EXISTS", "IMPORTED", "EXISTS"]);
    assert_eq!(id_of(&payload, 1), id_of(&payload, 3));
    assert_eq!(id_of(&payload, 4), id_of(&payload, 5));
    // The same is found in a later call, as far as the text tells it.
    assert_eq!(
        statuses(&import(&root, &[item(&secret(2)), sha256_item(&secret(1))])),
        ["EXISTS", "IMPORTED"]
    );
    assert_eq!(code(&root, &secret(1)), "VALID");
}

#[test]
fn a_secret_of_a_native_key_is_known() {
    let server = Server::fresh();
    let root = server.root();
    let issued = root.create_key("native").run();
    let rotated = root.rotate_key(&issued.id(), 600).unwrap();
    let payload = import(&root, &[item(&issued.secret()), item(&rotated.secret())]);
    assert_eq!(statuses(&payload), ["EXISTS", "EXISTS"]);
    assert_eq!((id_of(&payload, 0), id_of(&payload, 1)), (issued.id(), issued.id()));
    assert_eq!(payload["results"][0]["key"]["imported"], false);
}

#[test]
fn a_bad_item_is_named_and_harms_no_other() {
    let server = Server::fresh();
    let root = server.root();
    let good = |n| item(&secret(n));
    let unhashed = with(good(90), "hash", json!({ "algorithm": "SHA256_HEX", "value": hex([1; 32]) }));
    let mut nothing = good(91);
    nothing.as_object_mut().unwrap().remove("secret");
    let table = [
        (item("fifteen-bytes.."), "secret"),
        (item(&"x".repeat(257)), "secret"),
        (item("with a space in the middle"), "secret"),
        (item("umlauts-äöü-äöü-äöü"), "secret"),
        (unhashed, "secret"),
        (nothing, "secret"),
        (with(good(1), "hint", "sk_l"), "hint"),
        (with(sha256_item(&secret(2)), "hint", "x".repeat(17)), "hint"),
        (with(sha256_item(&secret(2)), "hint", "a b"), "hint"),
        (with(sha256_item("sixteen-bytes..."), "hint", "sixteen-bytes..."), "hint"),
        (digest_item("SHA256_HEX", "0f"), "hash.value"),
        (digest_item("SHA256_BASE64", &hex([1; 32])), "hash.value"),
        (digest_item("BLAKE3_HEX", &STANDARD.encode([1; 32])), "hash.value"),
        (with(good(3), "name", " "), "name"),
        (with(good(4), "scopes", json!([{ "action": "READ", "resource": "a/**/b" }])), "scopes[0].resource"),
        (with(good(5), "allowedCidrs", json!(["10.0.0.0/8", "nonsense"])), "allowedCidrs[1]"),
        (with(good(6), "metadata", json!([1])), "metadata"),
        (with(good(7), "metadata", json!({ "a": "x".repeat(5_000) })), "metadata"),
        (with(good(8), "roleIds", json!(["role_01h455vb4pex5vsknk084sn02q"])), "roleIds"),
        (with(good(9), "roleIds", json!(["nonsense"])), "roleIds"),
        (with(good(10), "expiresAt", "2020-01-01T00:00:00Z"), "expiresAt"),
        (
            with(good(11), "rateLimits", json!([{ "name": "a", "limit": 0, "windowSeconds": 1 }])),
            "rateLimits[0]",
        ),
        (with(good(12), "grants", json!([{ "role": "VIEWER" }])), "grants"),
        (
            with(
                good(13),
                "grants",
                json!([{ "role": "VIEWER", "workspaceId": "ws_01h455vb4pex5vsknk084sn02q" }]),
            ),
            "grants",
        ),
    ];
    let mut keys = Vec::new();
    for (number, (bad, _)) in table.iter().enumerate() {
        keys.push(bad.clone());
        keys.push(good(1_000 + u32::try_from(number).unwrap()));
    }
    let payload = import(&root, &keys);
    for (number, (_, field)) in table.iter().enumerate() {
        let (code, named) = refusal(&payload, 2 * number);
        assert!(code == "INVALID_INPUT" || code == "NOT_FOUND", "{code}");
        assert_eq!(named, format!("input.keys[{}].{field}", 2 * number));
        assert_eq!(payload["results"][2 * number + 1]["status"], "IMPORTED");
    }
    assert_eq!((&payload["imported"], &payload["failed"]), (&json!(table.len()), &json!(table.len())));
    let said = payload.to_string();
    assert!(!said.contains("sixteen-bytes") && !said.contains("fifteen-bytes") && !said.contains("sk_live"));
    // Each reason is in the trail once.
    let refused =
        data(&root, "{ events(filter: { types: [\"command.refused\"] }) { nodes { data } } }", &json!({}));
    let mut reasons: Vec<String> = refused["events"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| format!("{} {}", text(&event["data"]["command"]), text(&event["data"]["code"])))
        .collect();
    reasons.sort();
    assert_eq!(reasons, ["importKeys INVALID_INPUT", "importKeys NOT_FOUND"]);
}

#[test]
fn a_call_that_is_wrong_as_a_whole_is_refused_as_a_whole() {
    let server = Server::fresh();
    let root = server.root();
    let answer = |input: Value| attempt(&root, "importKeys", &input);
    let none = answer(json!({ "keys": [] }));
    assert_eq!((none.code(), none.field()), ("INVALID_INPUT", "input.keys"));
    let many: Vec<Value> = (0..1_001).map(|n| item(&secret(n))).collect();
    let too_many = answer(json!({ "keys": many }));
    assert_eq!((too_many.code(), too_many.field()), ("INVALID_INPUT", "input.keys"));
    let nowhere = json!({ "workspaceId": "ws_01h455vb4pex5vsknk084sn02q", "keys": [item(&secret(1))] });
    assert_eq!((answer(nowhere.clone()).code(), answer(nowhere).field()), ("NOT_FOUND", "input.workspaceId"));
    create_workspace(&root, "second");
    let unclear = answer(json!({ "keys": [item(&secret(1))] }));
    assert_eq!((unclear.code(), unclear.field()), ("INVALID_INPUT", "input.workspaceId"));
    assert_eq!(code(&root, &secret(1)), "MALFORMED");
    // Fields of the keys count many times.
    let fields: String = ["a", "b", "c", "d", "e", "f", "g", "h"]
        .map(|name| format!("{name}: key {{ id name email prefix createdAt }} "))
        .concat();
    let query = format!(
        "mutation($input: ImportKeysInput!) {{ importKeys(input: $input) {{ results {{ {fields} }} }} }}"
    );
    let workspace = &server.home().tenant().workspace;
    let thousand = json!({ "input": { "workspaceId": workspace, "keys": many[..1_000] } });
    let costly: Answer = ask(&root, &query, &thousand);
    assert_eq!((costly.code(), costly.field()), ("INVALID_INPUT", "query"));
    let cheap = "mutation($input: ImportKeysInput!) { importKeys(input: $input) {
        imported results { index status key { id name status } error { code message field } } } }";
    assert_eq!(data(&root, cheap, &thousand)["importKeys"]["imported"], 1_000);
}

#[test]
fn the_rules_of_new_keys_hold_for_each_item() {
    let home = Home::initialized();
    let server = Server::start(&home, &[]);
    let (root, workspace) = (server.root(), home.tenant().workspace.clone());
    // Nobody gives more than they have.
    let managing = server.client(&manager(&root, "WORKSPACE_MANAGER", &workspace).secret());
    let grants = json!([{ "role": "WORKSPACE_OWNER", "workspaceId": workspace }]);
    let wide = with(item(&secret(1)), "grants", grants);
    let payload = import(&managing, &[wide, item(&secret(2))]);
    assert_eq!(refusal(&payload, 0), ("FORBIDDEN".into(), "input.keys[0].grants".into()));
    assert_eq!(payload["results"][1]["status"], "IMPORTED");
    // The quota: as many as there are places for, however many are asked for at once.
    let taken = data(&root, "{ keys { totalCount } }", &json!({}))["keys"]["totalCount"].as_u64().unwrap();
    let quota = |most: Option<u64>| {
        let input = json!({ "input": { "id": workspace, "maxKeys": most } });
        data(
            &root,
            "mutation($input: SetWorkspaceQuotaInput!) { setWorkspaceQuota(input: $input) { events { id } } }",
            &input,
        );
    };
    quota(Some(taken + 10));
    let many: Vec<Value> = (100..150).map(|n| item(&secret(n))).collect();
    let payload = import(&root, &many);
    assert_eq!((&payload["imported"], &payload["failed"]), (&json!(10), &json!(40)));
    let refused = payload["results"].as_array().unwrap().iter().filter(|result| result["status"] == "FAILED");
    assert!(refused.clone().all(|result| result["error"]["code"] == "QUOTA_EXCEEDED"), "{payload}");
    // What is there already needs no place.
    assert_eq!(import(&root, &many)["existing"], 10);
    quota(None);
    // The policy of the organization.
    let policy = |change: Value| {
        let query = "mutation($input: SetOrganizationPolicyInput!) { setOrganizationPolicy(input: $input) { events { id } } }";
        data(&root, query, &json!({ "input": change }));
    };
    policy(json!({ "allowedEnvironments": ["PRODUCTION"] }));
    let payload = import(&root, &[with(item(&secret(200)), "environment", "STAGING"), item(&secret(201))]);
    assert_eq!(refusal(&payload, 0).0, "POLICY_VIOLATION");
    assert_eq!(payload["results"][1]["status"], "IMPORTED");
    policy(json!({ "apiKeysEnabled": false }));
    let payload = import(&root, &[item(&secret(201)), item(&secret(202))]);
    assert_eq!(statuses(&payload), ["EXISTS", "FAILED"]);
    assert_eq!(refusal(&payload, 1), ("KEYS_DISABLED".into(), "input.keys[1]".into()));
    assert_eq!(code(&root, &secret(201)), "KEYS_DISABLED");
    policy(json!({ "apiKeysEnabled": true }));
    // An organization that cannot issue keys yet.
    let created = data(
        &root,
        "mutation { createOrganization(input: { name: \"child\" }) { organization { id } } }",
        &json!({}),
    );
    let child = &created["createOrganization"]["organization"]["id"];
    let query = "mutation($id: ID!) { createWorkspace(input: { name: \"w\", organizationId: $id }) { workspace { id } } }";
    let there = text(&data(&root, query, &json!({ "id": child }))["createWorkspace"]["workspace"]["id"]);
    let payload = import_into(&root, &there, &[item(&secret(300))]);
    assert_eq!(refusal(&payload, 0).0, "NOT_BOOTSTRAPPED");
}

#[test]
fn a_secret_of_somebody_else_cannot_be_imported_and_nothing_is_told_of_it() {
    let world = world();
    let native = world.other.create_key("theirs").run();
    let revoked = world.other.create_key("theirs too").run();
    world.other.revoke_key(&revoked.id(), "UNUSED").unwrap();
    let theirs = import(&world.other, &[item(&secret(1)), sha256_item(&secret(2)), item(&secret(3))]);
    world.other.delete_key(&id_of(&theirs, 2)).unwrap();
    let secrets = [native.secret(), revoked.secret(), secret(1), secret(2), secret(3)];
    let tries: Vec<Value> = secrets.iter().map(|secret| item(secret)).collect();
    let payload = import(&world.root, &tries);
    let mut told = Vec::new();
    for index in 0..tries.len() {
        assert_eq!(refusal(&payload, index), ("CONFLICT".into(), format!("input.keys[{index}]")));
        told.push(text(&payload["results"][index]["error"]["message"]));
    }
    told.dedup();
    assert_eq!(told.len(), 1, "all are told alike");
    let said = payload.to_string();
    for hidden in ["theirs", "brought", &world.other_tenant.organization, &native.id(), &id_of(&theirs, 0)] {
        assert!(!said.contains(hidden), "{hidden} in {said}");
    }
    // Nothing happened to theirs, nothing is in their trail, and the attempt is in ours.
    for secret in [native.secret(), secret(1), secret(2)] {
        assert_eq!(code(&world.other, &secret), "VALID");
    }
    let refused = "{ events(filter: { types: [\"command.refused\"] }) { totalCount } }";
    assert_eq!(data(&world.other, refused, &json!({}))["events"]["totalCount"], 0);
    assert_eq!(data(&world.root, refused, &json!({}))["events"]["totalCount"], 1);
    // A text that is theirs is to us what a text of nobody is.
    for theirs in [secret(1), secret(2)] {
        assert_eq!(world.root.verify(&theirs).unwrap().body, world.root.verify(&secret(999)).unwrap().body);
    }
}

#[test]
fn a_key_that_the_caller_may_not_see_is_not_named() {
    let world = world();
    let elsewhere = create_workspace(&world.root, "elsewhere");
    import_into(&world.root, &elsewhere, &[item(&secret(1))]);
    let managing = world.server.client(&manager(&world.root, "WORKSPACE_MANAGER", &world.workspace).secret());
    let payload = import_into(&managing, &world.workspace, &[item(&secret(1))]);
    assert_eq!(refusal(&payload, 0).0, "CONFLICT");
    // Whoever sees both workspaces is told where it is.
    let payload = import_into(&world.root, &world.workspace, &[item(&secret(1))]);
    assert_eq!(
        (statuses(&payload)[0].as_str(), &payload["results"][0]["key"]["workspace"]["id"]),
        ("EXISTS", &json!(elsewhere))
    );
}

#[test]
fn a_stranger_with_a_digest_takes_no_secret_from_its_owner() {
    let world = world();
    let administrators = json!([{ "role": "VERIFIER", "workspaceId": world.workspace }]);
    let ours = import(&world.root, &[with(sha256_item(&secret(1)), "grants", administrators)]);
    let foreign = digest_item("BLAKE3_HEX", blake3::hash(secret(1).as_bytes()).to_hex().as_str());
    let theirs = import(&world.other, &[foreign, sha256_item(&secret(2))]);
    // It cannot be known of a digest that its text is somebody's.
    assert_eq!(statuses(&theirs), ["IMPORTED", "IMPORTED"]);
    let (mine, other) = (world.root.verify(&secret(1)).unwrap(), world.other.verify(&secret(1)).unwrap());
    assert_eq!(
        (&mine.body["keyId"], &other.body["keyId"]),
        (&json!(id_of(&ours, 0)), &json!(id_of(&theirs, 0)))
    );
    // Nobody acts with it any more: it cannot be told for whom.
    assert_eq!(world.server.client(&secret(1)).verify("x").unwrap_err().code(), Some("UNAUTHENTICATED"));
    // Whoever has the text is not stopped by a digest of the same organization's, and comes first.
    assert_eq!(statuses(&import(&world.other, &[item(&secret(2))])), ["EXISTS"]);
}

#[test]
fn imports_at_the_same_time_make_each_key_once() {
    let server = Server::fresh();
    let root = server.root();
    let keys: Vec<Value> =
        (0..100).map(|n| if n % 2 == 0 { item(&secret(n)) } else { sha256_item(&secret(n)) }).collect();
    let payloads: Vec<Value> = thread::scope(|scope| {
        let (root, keys) = (&root, &keys);
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(move || import(root, keys))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    for index in 0..keys.len() {
        let imported = payloads.iter().filter(|payload| payload["results"][index]["status"] == "IMPORTED");
        assert_eq!(imported.count(), 1, "item {index}");
        assert!(payloads.iter().all(|payload| id_of(payload, index) == id_of(&payloads[0], index)));
    }
    let written: usize = payloads.iter().map(|payload| payload["events"].as_array().unwrap().len()).sum();
    assert_eq!(written, keys.len());
    assert!((0..100).all(|n| code(&root, &secret(n)) == "VALID"));
}

#[test]
fn a_rotation_gives_an_imported_key_a_secret_of_ours() {
    let home = Home::initialized();
    let mut server = Server::start(&home, &[]);
    let mut root = server.root();
    let payload = import(&root, &[item(&secret(1)), sha256_item(&secret(2))]);
    let (at_once, later) = (id_of(&payload, 0), id_of(&payload, 1));
    let native = root.rotate_key(&at_once, 0).unwrap().secret();
    let overlapping = root.rotate_key(&later, 600).unwrap().secret();
    assert!(native.starts_with("kl_prod_"));
    // Also when the node learns of the overlap only from what it stored.
    for _ in 0..2 {
        for (secret, expected) in [
            (secret(1), "MALFORMED"),
            (secret(2), "VALID"),
            (native.clone(), "VALID"),
            (overlapping.clone(), "VALID"),
        ] {
            assert_eq!(code(&root, &secret), expected);
        }
        server = Server::start(&server.stop(), &[]);
        root = server.root();
    }
    let key = root.key(&later, "imported secretVersion previousSecret { version }").unwrap();
    assert_eq!(key, json!({ "imported": false, "secretVersion": 2, "previousSecret": { "version": 1 } }));
    // The old secret still names the key, and makes no other one.
    let again = import(&root, &[item(&secret(1)), sha256_item(&secret(2))]);
    assert_eq!(statuses(&again), ["EXISTS", "EXISTS"]);
    assert_eq!((id_of(&again, 0), id_of(&again, 1)), (at_once, later));
    assert_eq!(code(&root, &secret(1)), "MALFORMED");
}

#[test]
fn imported_keys_live_and_end_like_others_and_survive_restarts() {
    let home = Home::initialized();
    let server = Server::start(&home, &[]);
    let root = server.root();
    let keys: Vec<Value> = (0..4).map(|n| sha256_item(&secret(n))).collect();
    let payload = import(&root, &keys);
    root.revoke_key(&id_of(&payload, 1), "UNUSED").unwrap();
    root.delete_key(&id_of(&payload, 2)).unwrap();
    root.disable_key(&id_of(&payload, 3)).unwrap();
    let expected = ["VALID", "REVOKED", "MALFORMED", "DISABLED"];
    let check = |root: &Client| {
        for (n, expected) in expected.iter().enumerate() {
            assert_eq!(code(root, &secret(u32::try_from(n).unwrap())), *expected);
        }
        let again = import(root, &keys);
        assert_eq!(statuses(&again), ["EXISTS"; 4]);
        let now: Vec<String> = (0..4).map(|n| text(&again["results"][n]["key"]["status"])).collect();
        assert_eq!(now, ["ACTIVE", "REVOKED", "DELETED", "INACTIVE"]);
    };
    check(&root);
    let server = Server::start(&server.stop(), &[]);
    check(&server.root());
    // Killed, and with everything but the log gone.
    server.kill();
    drop(server);
    for name in ["readmodel.db", "readmodel.db-wal", "readmodel.db-shm"] {
        let _ = std::fs::remove_file(home.data_dir().join(name));
    }
    thread::sleep(Duration::from_millis(50));
    let server = Server::start(&home, &[]);
    check(&server.root());
}
