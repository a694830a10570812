//! Secrets in the wrong hands: their holders revoke them, and whoever finds one asks whose it is.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ask::{
    World, assert_unharmed, create_workspace, data, eventually, manager, short_lived_key, text, types, world,
};
use crate::support::{Client, Home, Server};

fn self_revoke(client: &Client, body: &Value) -> (u16, Value) {
    client.post("/v1/self-revoke", body).unwrap()
}

fn identify(client: &Client, body: &Value) -> Value {
    let (status, answer) = client.post("/v1/identify", body).unwrap();
    assert_eq!(status, 200, "{answer}");
    answer
}

fn import(client: &Client, secret: &str) -> String {
    let query = "mutation($input: ImportKeysInput!) { importKeys(input: $input) { results { key { id } } } }";
    let key = json!({ "name": "brought", "environment": "PRODUCTION", "secret": secret });
    let answer = data(client, query, &json!({ "input": { "keys": [key] } }));
    text(&answer["importKeys"]["results"][0]["key"]["id"])
}

fn refusals(client: &Client, command: &str) -> Vec<String> {
    let query = "{ events(first: 200, filter: { types: [\"command.refused\"] }) { nodes { data } } }";
    let events = data(client, query, &json!({}));
    let all = events["events"]["nodes"].as_array().unwrap().iter().map(|event| event["data"].clone());
    // One event can stand for many of the same kind.
    all.filter(|data| data["command"] == command)
        .flat_map(|data| {
            let count = data["repeated"]["count"].as_u64().unwrap_or(1);
            std::iter::repeat_n(text(&data["code"]), usize::try_from(count).unwrap())
        })
        .collect()
}

const IMPORTED: &str = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";

#[test]
fn whoever_holds_a_secret_can_revoke_its_key() {
    let server = Server::fresh();
    let root = server.root();
    let in_body = root.create_key("a").run();
    let anonymous = server.anonymous();
    let (status, answer) =
        self_revoke(&anonymous, &json!({ "key": in_body.secret(), "comment": "on a laptop that is gone" }));
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["keyId"], &answer["status"]), (&json!(in_body.id()), &json!("REVOKED")));
    assert_eq!(root.verify(&in_body.secret()).unwrap().code, "REVOKED");
    let key = root.key(&in_body.id(), "email revocation { reason comment } events { nodes { id type actor { kind id email } source { ip } request } }").unwrap();
    assert_eq!(key["revocation"], json!({ "reason": "COMPROMISED", "comment": "on a laptop that is gone" }));
    let event = &key["events"]["nodes"][1];
    assert_eq!((&event["type"], &event["id"]), (&json!("key.revoked"), &answer["event"]));
    assert_eq!(event["actor"], json!({ "kind": "KEY", "id": in_body.id(), "email": key["email"] }));
    assert!(event["source"]["ip"].is_string() && event["request"].is_string());
    // As a bearer token, with another reason.
    let bearer = root.create_key("b").run();
    let (status, _) = self_revoke(&server.client(&bearer.secret()), &json!({ "reason": "UNUSED" }));
    assert_eq!(status, 200);
    assert_eq!(root.key(&bearer.id(), "revocation { reason }").unwrap()["revocation"]["reason"], "UNUSED");
    // Again: it is revoked, and nothing more happens.
    let again = self_revoke(&anonymous, &json!({ "key": in_body.secret(), "reason": "POLICY" }));
    assert_eq!(again, (200, json!({ "keyId": in_body.id(), "status": "REVOKED" })));
    assert_eq!(types(&root, &in_body.id()), ["key.issued", "key.revoked"]);
    // The same secret in both places is one secret.
    let both = root.create_key("c").run();
    let (status, _) = self_revoke(&server.client(&both.secret()), &json!({ "key": both.secret() }));
    assert_eq!(status, 200);
}

#[test]
fn it_does_not_matter_what_became_of_the_key_or_where_its_holder_is() {
    let server = Server::fresh();
    let root = server.root();
    let anonymous = server.anonymous();
    let disabled = root.create_key("disabled").run();
    root.disable_key(&disabled.id()).unwrap();
    let elsewhere = root.create_key("elsewhere").with("allowedCidrs", json!(["203.0.113.0/24"])).run();
    let expired = short_lived_key(&root, "expired");
    eventually("it expires", || root.verify(&expired.secret()).unwrap().code == "EXPIRED");
    let rotated = root.create_key("rotated").run();
    root.rotate_key(&rotated.id(), 600).unwrap();
    let imported = import(&root, IMPORTED);
    for (id, secret) in [
        (disabled.id(), disabled.secret()),
        (elsewhere.id(), elsewhere.secret()),
        (expired.id(), expired.secret()),
        // The old secret of an overlap is the key's as well.
        (rotated.id(), rotated.secret()),
        (imported, IMPORTED.to_owned()),
    ] {
        let (status, answer) = self_revoke(&anonymous, &json!({ "key": secret }));
        assert_eq!((status, &answer["keyId"]), (200, &json!(id)), "{answer}");
        assert_eq!(root.key(&id, "status").unwrap()["status"], "REVOKED");
    }
    // One that was rotated away is nobody's.
    let away = root.create_key("away").run();
    root.rotate_key(&away.id(), 0).unwrap();
    assert_eq!(self_revoke(&anonymous, &json!({ "key": away.secret() })).0, 401);
    assert_eq!(root.key(&away.id(), "status").unwrap()["status"], "ACTIVE");
}

#[test]
fn what_is_no_secret_revokes_nothing() {
    let server = Server::fresh();
    let root = server.root();
    let issued = root.create_key("a").run();
    let anonymous = server.anonymous();
    let unknown = keyledger::secret::Secret::mint("kl", keyledger_schema::Environment::Production, &[9; 32]);
    let (one, other) = (
        self_revoke(&anonymous, &json!({ "key": unknown.expose() })),
        self_revoke(&anonymous, &json!({ "key": "nonsense" })),
    );
    assert_eq!((one.0, &one.1["error"]["code"]), (401, &json!("UNAUTHENTICATED")));
    assert_eq!(one, other, "the two are answered alike");
    assert_eq!(self_revoke(&server.client(unknown.expose()), &json!({})).0, 401);
    assert_eq!(self_revoke(&anonymous, &json!({})).0, 401);
    for (body, field) in [
        (json!({ "key": 17 }), "key"),
        (json!({ "key": issued.secret(), "reason": "BORED" }), "reason"),
        (json!({ "key": issued.secret(), "reason": "OTHER" }), "comment"),
        (json!({ "key": issued.secret(), "comment": "x".repeat(501) }), "comment"),
        (json!({ "key": issued.secret(), "id": issued.id() }), "id"),
    ] {
        let (status, answer) = self_revoke(&anonymous, &body);
        assert_eq!((status, &answer["error"]["field"]), (400, &json!(field)), "{body}");
        assert!(!answer.to_string().contains(&issued.secret()));
    }
    let (status, answer) = self_revoke(&server.client(&issued.secret()), &json!({ "key": unknown.expose() }));
    assert_eq!((status, &answer["error"]["field"]), (400, &json!("key")));
    assert_eq!(anonymous.get("/v1/self-revoke").unwrap().0, 405);
    assert_eq!(root.key(&issued.id(), "status").unwrap()["status"], "ACTIVE");
    assert_unharmed(&server, &root, &[&issued.secret(), unknown.expose()]);
}

#[test]
fn the_last_administrator_cannot_end_itself() {
    let server = Server::fresh();
    let root = server.root();
    let (status, answer) = self_revoke(&root, &json!({}));
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("ILLEGAL_TRANSITION")), "{answer}");
    assert!(root.create_key("still here").try_run().is_ok());
    assert_eq!(refusals(&root, "selfRevoke"), ["ILLEGAL_TRANSITION"]);
    // With another one it can.
    let organization = data(&root, "{ organization { id } }", &json!({}))["organization"]["id"].clone();
    let grants = json!([{ "role": "ORGANIZATION_ADMINISTRATOR", "organizationId": organization }]);
    let second = root.create_key("second").with("grants", grants).run();
    assert_eq!(self_revoke(&root, &json!({})).0, 200);
    assert_eq!(root.verify("x").unwrap_err().code(), Some("UNAUTHENTICATED"));
    assert!(server.client(&second.secret()).create_key("a").try_run().is_ok());
}

#[test]
fn a_found_text_tells_which_key_it_is_and_its_report_is_in_the_trail() {
    let server = Server::fresh();
    let root = server.root();
    let issued = root.create_key("billing").with("expiresAt", "2099-01-01T00:00:00Z").run();
    let rotated = root.rotate_key(&issued.id(), 600).unwrap();
    let found =
        identify(&root, &json!({ "key": format!("\n  {}\t ", issued.secret()), "comment": "in a log" }));
    let fields =
        "name email createdAt createdBy { kind id email role } expiresAt workspace { id } organization { id }
        leakReportedAt events { nodes { id type actor { id } data } }";
    let key = root.key(&issued.id(), fields).unwrap();
    assert_eq!(found["found"], true);
    let told = &found["key"];
    assert_eq!(
        (&told["id"], &told["name"], &told["status"]),
        (&json!(issued.id()), &json!("billing"), &json!("ACTIVE"))
    );
    assert_eq!((&told["environment"], &told["secretVersion"]), (&json!("production"), &json!(1)));
    for (name, value) in [
        ("email", &key["email"]),
        ("createdAt", &key["createdAt"]),
        ("expiresAt", &key["expiresAt"]),
        ("workspaceId", &key["workspace"]["id"]),
        ("organizationId", &key["organization"]["id"]),
    ] {
        assert_eq!(&told[name], value, "{name}");
    }
    assert_eq!(told["createdBy"]["id"], key["createdBy"]["id"]);
    assert_eq!(
        (&told["createdBy"]["email"], &told["createdBy"]["kind"]),
        (&key["createdBy"]["email"], &json!("key"))
    );
    assert!(told["createdBy"]["email"].as_str().is_some_and(|email| email.contains('@')), "{told}");
    let event = &key["events"]["nodes"][2];
    assert_eq!((&event["type"], &event["id"]), (&json!("key.leak_reported"), &found["event"]));
    assert_eq!(
        (&event["data"]["comment"], &event["data"]["secretVersion"]),
        (&json!("in a log"), &Value::Null)
    );
    assert_eq!(event["data"]["secret_version"], 1);
    assert!(key["leakReportedAt"].is_string() && found.get("revoked").is_none());
    // The report changes nothing: the key works until somebody revokes it.
    assert!(root.verify(&rotated.secret()).unwrap().valid);
    // A second report is another event; also of the other secret, and of an imported one.
    assert_eq!(identify(&root, &json!({ "key": rotated.secret() }))["key"]["secretVersion"], 2);
    let imported = import(&root, IMPORTED);
    assert_eq!(identify(&root, &json!({ "key": IMPORTED }))["key"]["id"], imported);
}

#[test]
fn a_found_key_can_be_revoked_in_the_same_call() {
    let server = Server::fresh();
    let root = server.root();
    let issued = root.create_key("a").run();
    let revoke = json!({ "reason": "COMPROMISED", "comment": "public repository" });
    let found = identify(&root, &json!({ "key": issued.secret(), "revoke": revoke }));
    assert_eq!((&found["revoked"], &found["key"]["status"]), (&json!(true), &json!("REVOKED")));
    assert_eq!(root.verify(&issued.secret()).unwrap().code, "REVOKED");
    assert_eq!(types(&root, &issued.id()), ["key.issued", "key.leak_reported", "key.revoked"]);
    // A revoked key is still found, and still reported.
    let again = identify(&root, &json!({ "key": issued.secret(), "revoke": { "reason": "UNUSED" } }));
    assert_eq!((&again["revoked"], &again["key"]["status"]), (&json!(true), &json!("REVOKED")));
    let key = root.key(&issued.id(), "revocation { reason comment }").unwrap();
    assert_eq!(key["revocation"], json!({ "reason": "COMPROMISED", "comment": "public repository" }));
    for (body, field) in [
        (json!({}), "key"),
        (json!({ "key": "x", "more": 1 }), "more"),
        (json!({ "key": "x", "comment": "x".repeat(501) }), "comment"),
        (json!({ "key": "x", "revoke": true }), "revoke"),
        (json!({ "key": "x", "revoke": {} }), "revoke.reason"),
        (json!({ "key": "x", "revoke": { "reason": "BORED" } }), "revoke.reason"),
        (json!({ "key": "x", "revoke": { "reason": "OTHER" } }), "revoke.comment"),
        (json!({ "key": "x", "revoke": { "reason": "UNUSED", "why": 1 } }), "revoke.why"),
    ] {
        let (status, answer) = root.post("/v1/identify", &body).unwrap();
        assert_eq!((status, &answer["error"]["field"]), (400, &json!(field)), "{body}");
    }
    eventually("all are told", || refusals(&root, "identify").len() == 8);
}

#[test]
fn a_refused_revocation_is_told_and_leaves_the_report() {
    let world = world();
    let issued = world.root.create_key("a").with("workspaceId", world.workspace.as_str()).run();
    let viewer = world.server.client(&manager(&world.root, "VIEWER", &world.workspace).secret());
    let body = json!({ "key": issued.secret(), "revoke": { "reason": "COMPROMISED" } });
    let found = identify(&viewer, &body);
    assert_eq!((&found["found"], &found["revoked"]), (&json!(true), &json!(false)));
    assert_eq!(found["error"]["code"], "FORBIDDEN");
    assert_eq!(types(&world.root, &issued.id()), ["key.issued", "key.leak_reported", "command.refused"]);
    assert!(world.root.verify(&issued.secret()).unwrap().valid);
    // The last administrator stays.
    let root_key = world.server.home().tenant().root_key.clone();
    let found = identify(&world.root, &json!({ "key": root_key, "revoke": { "reason": "COMPROMISED" } }));
    assert_eq!((&found["revoked"], &found["error"]["code"]), (&json!(false), &json!("ILLEGAL_TRANSITION")));
    assert_eq!(found["key"]["status"], "ACTIVE");
    assert_eq!(refusals(&world.root, "identify"), ["FORBIDDEN", "ILLEGAL_TRANSITION"]);
}

#[test]
fn what_belongs_to_others_and_what_is_no_secret_are_not_found_alike() {
    let world = world();
    let theirs = world.other.create_key("theirs").run();
    import(&world.other, IMPORTED);
    let away = world.root.create_key("away").run();
    world.root.rotate_key(&away.id(), 0).unwrap();
    let gone = world.root.create_key("gone").run();
    world.root.delete_key(&gone.id()).unwrap();
    let unknown = keyledger::secret::Secret::mint("kl", keyledger_schema::Environment::Production, &[9; 32]);
    let revoke = json!({ "reason": "COMPROMISED" });
    for secret in
        [&theirs.secret(), IMPORTED, &away.secret(), &gone.secret(), unknown.expose(), "nonsense", "", " "]
    {
        assert_eq!(identify(&world.root, &json!({ "key": secret })), json!({ "found": false }));
        assert_eq!(
            identify(&world.root, &json!({ "key": secret, "revoke": revoke })),
            json!({ "found": false })
        );
    }
    assert!(world.other.verify(&theirs.secret()).unwrap().valid);
    assert_eq!(types(&world.other, &theirs.id()), ["key.issued"]);
}

/// For each call, what each kind of caller is answered: `+` done, `-` found and not revoked, `0` not found,
/// `F` FORBIDDEN, `U` UNAUTHENTICATED. The key lives in the workspace of the first six. The callers are those
/// of [`callers`].
const TABLE: [(&str, &str); 4] = [
    ("identify", "+++++F00UUU"),
    ("identify and revoke", "+++--F00UUU"),
    ("verify in a batch", "++FFF+00UUU"),
    ("self-revoke", "+++++++++++"),
];

#[test]
fn every_call_is_answered_to_every_kind_of_caller_as_the_table_says() {
    let world = world();
    let elsewhere = create_workspace(&world.root, "elsewhere");
    let callers = callers(&world, &elsewhere);
    for (call, expected) in TABLE {
        for ((name, client), expected) in callers.iter().zip(expected.chars()) {
            let target = world.root.create_key("target").with("workspaceId", world.workspace.as_str()).run();
            let (status, answer) = match call {
                "identify" => client.post("/v1/identify", &json!({ "key": target.secret() })),
                "identify and revoke" => client.post(
                    "/v1/identify",
                    &json!({ "key": target.secret(), "revoke": { "reason": "UNUSED" } }),
                ),
                "verify in a batch" => {
                    client.post("/v1/verify/batch", &json!({ "requests": [{ "key": target.secret() }] }))
                }
                // The secret is all that counts, so nobody is asked for another one.
                _ => world.server.client(&target.secret()).post("/v1/self-revoke", &json!({})),
            }
            .unwrap();
            let got = match (status, call) {
                (401, _) => 'U',
                (403, _) => 'F',
                (200, "verify in a batch") if answer["results"][0]["code"] == "VALID" => '+',
                (200, "verify in a batch") if answer["results"][0]["code"] == "NOT_FOUND" => '0',
                (200, "self-revoke") => '+',
                (200, _) if answer == json!({ "found": false }) => '0',
                (200, _) if answer["revoked"] == false => '-',
                (200, _) if answer["found"] == true => '+',
                _ => panic!("{call} by {name}: {status} {answer}"),
            };
            assert_eq!(got, expected, "{call} by {name}: {answer}");
            let revoked = matches!((call, expected), ("identify and revoke" | "self-revoke", '+'));
            let status = world.root.key(&target.id(), "status").unwrap();
            assert_eq!(status["status"] == "REVOKED", revoked, "{call} by {name}");
        }
    }
    // Each refusal of a caller who is known is in the trail.
    eventually("all are told", || refusals(&world.root, "identify") == ["FORBIDDEN"; 4]);
}

fn callers(world: &World, elsewhere: &str) -> Vec<(&'static str, Client)> {
    let organization = data(&world.root, "{ organization { id } }", &json!({}))["organization"]["id"].clone();
    let administrator = world
        .root
        .create_key("administrator")
        .with("workspaceId", world.workspace.as_str())
        .with("grants", json!([{ "role": "ORGANIZATION_ADMINISTRATOR", "organizationId": organization }]))
        .run();
    let plain =
        world.root.create_key("plain").with("workspaceId", world.workspace.as_str()).scope("*:*").run();
    let revoked = manager(&world.root, "WORKSPACE_OWNER", &world.workspace);
    world.root.revoke_key(&revoked.id(), "UNUSED").unwrap();
    let mut callers = vec![("administrator", world.server.client(&administrator.secret()))];
    for role in ["WORKSPACE_OWNER", "WORKSPACE_MANAGER", "AUDITOR", "VIEWER", "VERIFIER"] {
        callers.push((role, world.server.client(&manager(&world.root, role, &world.workspace).secret())));
    }
    callers.extend([
        (
            "owner elsewhere",
            world.server.client(&manager(&world.root, "WORKSPACE_OWNER", elsewhere).secret()),
        ),
        ("another tenant", world.server.client(&world.other_tenant.root_key)),
        ("key without grants", world.server.client(&plain.secret())),
        ("revoked owner", world.server.client(&revoked.secret())),
        ("nobody", world.server.anonymous()),
    ]);
    callers
}

#[test]
fn secrets_that_are_shown_to_these_calls_are_kept_nowhere() {
    let home = Home::initialized();
    let server = Server::start(&home, &["--log-level", "trace"]);
    let root = server.root();
    let native = root.create_key("a").run().secret();
    let imported = ["sk_live_4eC39HqLyjWDarjtT1zdp7dc", "sk_test_BQokikJOvBiI2HlWgH4olfQ2"];
    let digested = "sk_live_26PHem9AhJZvU623DfE1x4sd";
    let digest = blake3::hash(digested.as_bytes()).to_hex().to_string();
    let query = "mutation($input: ImportKeysInput!) { importKeys(input: $input) { failed results { key { secretHint } error { message } } } }";
    let by_text = |secret: &str| json!({ "name": "a", "environment": "PRODUCTION", "secret": secret });
    let keys = json!([
        by_text(imported[0]),
        by_text(imported[1]),
        by_text(&format!("{} {}", imported[0], imported[1])),
        { "name": "b", "environment": "PRODUCTION", "hash": { "algorithm": "BLAKE3_HEX", "value": digest } },
        // Where it does not belong.
        { "name": "c", "environment": "PRODUCTION", "hash": { "algorithm": "SHA256_HEX", "value": imported[0] } },
        { "name": "d", "environment": "PRODUCTION", "secret": imported[1], "hint": imported[1] },
    ]);
    let told = data(&root, query, &json!({ "input": { "keys": keys } }));
    assert_eq!(told["importKeys"]["failed"], 3, "{told}");
    let mut said = told.to_string();
    let mut all = vec![native.as_str(), digested];
    all.extend(imported);
    for &secret in &all {
        for (path, body) in [
            ("/v1/verify/batch", json!({ "requests": [{ "key": secret }, { "key": format!("{secret}x") }] })),
            ("/v1/verify/batch", json!({ "requests": [{ "key": "x", "ip": secret }] })),
            ("/v1/identify", json!({ "key": format!(" {secret} "), "comment": "found" })),
            ("/v1/identify", json!({ "key": "x", "revoke": { "reason": secret } })),
            ("/v1/identify", json!({ "key": "x", secret: 1 })),
            ("/v1/self-revoke", json!({ "key": secret, "reason": secret })),
        ] {
            said += &root.post(path, &body).unwrap().1.to_string();
        }
        said += &server.anonymous().post("/v1/self-revoke", &json!({ "key": secret })).unwrap().1.to_string();
        said += &server.client(secret).post("/v1/self-revoke", &json!({})).unwrap().1.to_string();
    }
    thread::sleep(Duration::from_millis(100));
    let home = server.stop();
    let mut places = vec![("an answer".to_owned(), said.into_bytes())];
    let directory = home.data_dir();
    for directory in [directory.parent().unwrap(), &directory] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                places.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    assert!(places.iter().any(|(path, bytes)| path.ends_with("server-0.log") && bytes.len() > 1_000));
    for secret in &all {
        // Without the start that lists show.
        let hidden = &secret.as_bytes()[secret.len() - 26..];
        for (path, bytes) in &places {
            assert!(!bytes.windows(hidden.len()).any(|window| window == hidden), "a secret is in {path}");
        }
    }
    // Nor is a digest as it came: whoever has the log could try texts.
    let raw = blake3::hash(digested.as_bytes());
    for (path, bytes) in &places {
        let found = bytes.windows(32).any(|window| window == raw.as_bytes())
            || bytes.windows(64).any(|window| window == digest.as_bytes());
        assert!(!found, "a digest is in {path}");
    }
}

#[test]
fn a_secret_is_found_in_what_stands_around_it() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").run();
    let brought = import(&root, IMPORTED);
    let secret = key.secret();
    for (pasted, id) in [
        (format!("Authorization: Bearer {secret}"), key.id()),
        (format!("  API_KEY=\"{secret}\",\n"), key.id()),
        (format!("curl -H 'X-API-Key: {secret}' https://api.example/v1"), key.id()),
        (format!("{{\"key\":\"{secret}\"}}"), key.id()),
        (format!("key: {IMPORTED}"), brought),
    ] {
        let answer = identify(&root, &json!({ "key": pasted }));
        assert_eq!(answer["key"]["id"], json!(id), "{answer}");
    }
    assert_eq!(identify(&root, &json!({ "key": "there is nothing in here to be found" }))["found"], false);
}
