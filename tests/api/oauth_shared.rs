//! Several keys with one secret, and secrets where none belongs.

use serde_json::{Value, json};

use crate::ask::{World, assert_unharmed, data, eventually, text, world};
use crate::oauth::{Reply, basic, claims, encoded, exchange, post, uses};
use crate::support::{Client, Server};

const SECRET: &str = "sk_live_of_another_service_0123456789";
const GRANT: (&str, &str) = ("grant_type", "client_credentials");

/// Imports a key of this name; its id.
fn import(client: &Client, name: &str, field: &str, value: Value) -> String {
    let mut item = json!({ "name": name, "environment": "PRODUCTION" });
    item[field] = value;
    let query = "mutation($keys: [ImportKeyInput!]!) { importKeys(input: { keys: $keys }) { results { status key { id } } } }";
    let answer = data(client, query, &json!({ "keys": [item] }));
    let result = &answer["importKeys"]["results"][0];
    assert_eq!(result["status"], "IMPORTED", "{answer}");
    text(&result["key"]["id"])
}

fn by_name(server: &Server, name: &str, secret: &str) -> Reply {
    post(server, "/auth/v1/api-key/token", None, &[("name", name), ("secret", secret)])
}

#[test]
fn of_several_keys_with_one_secret_the_name_tells_which() {
    let World { server, root, other, other_tenant, .. } = world();
    let hash = |algorithm: &str, value: String| json!({ "algorithm": algorithm, "value": value });
    let blake3 = blake3::hash(SECRET.as_bytes()).to_hex().to_string();
    let sha256: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(SECRET.as_bytes()).into();
    let sha256 = blake3::Hash::from_bytes(sha256).to_hex().to_string();
    let ours = server.base().to_owned();
    let theirs = format!("{ours}/{}", other_tenant.organization);
    let one = import(&root, "one", "secret", json!(SECRET));
    let two = import(&root, "two", "hash", hash("SHA256_HEX", sha256));
    let three = import(&other, "three", "hash", hash("BLAKE3_HEX", blake3));
    // Names that another key has, too.
    let decoy = root.create_key("two").run();
    root.create_key("three").run();
    for (name, id, issuer) in [("one", &one, &ours), ("two", &two, &ours), ("three", &three, &theirs)] {
        let token = by_name(&server, name, SECRET).token();
        assert_eq!(claims(&server, &token, issuer, issuer)["sub"], json!(id), "{name}");
        // So does the id.
        let token = post(&server, "/oauth/token", Some(&basic(id, SECRET)), &[GRANT]).token();
        assert_eq!(claims(&server, &token, issuer, issuer)["sub"], json!(id), "{name}");
        let last = ("EXCHANGE".to_owned(), "VALID".to_owned());
        let client = if *issuer == ours { &root } else { &other };
        eventually("it is recorded for this one", || uses(client, id).last() == Some(&last));
    }
    let token = by_name(&server, "two", &decoy.secret()).token();
    assert_eq!(claims(&server, &token, &ours, &ours)["sub"], json!(decoy.id()));
    for (name, secret) in [("four", SECRET), ("one", &decoy.secret()), ("one", &SECRET[1..])] {
        assert_eq!((by_name(&server, name, secret).status), 401, "{name}");
    }
    // What became of the others changes nothing.
    root.revoke_key(&one, "UNUSED").unwrap();
    assert_eq!(by_name(&server, "one", SECRET).body["code"], "REVOKED");
    by_name(&server, "two", SECRET).token();
    root.delete_key(&one).unwrap();
    assert_eq!(by_name(&server, "one", SECRET).status, 401);
    by_name(&server, "three", SECRET).token();
    assert_unharmed(&server, &root, &[SECRET]);
}

#[test]
fn a_secret_in_the_wrong_place_is_refused_or_left_out_however_it_is_encoded() {
    let server = Server::fresh();
    let root = server.root();
    let (key, pasted) = (root.create_key("a").scope("read:**").run(), root.create_key("b").run().secret());
    for text in [pasted.clone(), encoded(&pasted), pasted.replace('_', "%5f"), pasted.replace('_', "%255F")] {
        for (name, value, error) in [
            ("resource", format!("https://api.example/?key={text}"), "invalid_target"),
            ("audience", text.clone(), "invalid_target"),
            ("scope", format!("read:{text}"), "invalid_scope"),
        ] {
            let reply = exchange(&server, &key, &[(name, &value)]);
            assert_eq!((reply.status, reply.error()), (400, error), "{name}={value}");
            let description = crate::ask::text(&reply.body["error_description"]);
            assert!(description.starts_with(name) && description.contains("take it out"), "{description}");
        }
        let asked = json!({ "key": key.secret(), "action": "read", "resource": format!("x/{text}") });
        assert_eq!(root.verify_with(&asked).unwrap().code, "VALID");
    }
    let fine = json!({ "key": key.secret(), "action": "read", "resource": "x/100%25" });
    assert_eq!(root.verify_with(&fine).unwrap().code, "VALID");
    let resources = || {
        let query =
            "query($id: ID!) { verifications(first: 200, filter: { keyId: $id }) { nodes { resource } } }";
        let answer = data(&root, query, &json!({ "id": key.id() }));
        let nodes = answer["verifications"]["nodes"].as_array().unwrap().clone();
        nodes.iter().filter_map(|node| node["resource"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    eventually("the last one is recorded", || !resources().is_empty());
    assert_eq!(resources(), ["x/100%25"]);
}
