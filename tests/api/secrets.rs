//! A secret is shown once and kept nowhere.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::ask::{data, send};
use crate::support::{Home, Server};

/// Every file below a directory with its bytes.
fn files(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_secret_is_in_no_file_no_log_line_and_no_later_answer() {
    let home = Home::initialized();
    let server = Server::start(&home, &["--log-level", "trace"]);
    let root = server.root();
    let issued = root.create_key("a").scope("read:a").with("idempotencyKey", "once").run();
    let rotated = root.rotate_key(&issued.id(), 60).unwrap();
    let clone = root.mutate("cloneKey", &json!({ "id": issued.id() })).unwrap();
    let secrets = [issued.secret(), rotated.secret(), clone.secret(), home.tenant().root_key.clone()];
    for secret in &secrets {
        root.verify(secret).unwrap();
        server.client(secret).post("/v1/verify", &json!({ "key": secret })).unwrap();
        // Where it does not belong.
        root.verify_with(&json!({ "key": "x", "resource": secret, "action": "read" })).unwrap();
        send(
            &root,
            &json!({ "query": "query($id: ID!) { key(id: $id) { id } }", "variables": { "id": "key_x" } }),
        );
        root.post("/v1/verify", &json!({ "key": secret, "unknown": 1 })).unwrap();
        root.get(&format!("/nothing/{}", &secret[..8])).unwrap();
    }
    let everything = "{
        keys(first: 200, filter: { statuses: [ACTIVE, INACTIVE, REVOKED, EXPIRED, DELETED] }) {
            nodes { id name prefix metadata email secretHint previousSecret { hint } }
        }
        events(first: 200) { nodes { data rawBytes changes { field before after } actor { id email } } }
        viewer { keyId email }
    }";
    let told = data(&root, everything, &json!({})).to_string();
    let home = server.stop();
    let mut kept = Vec::new();
    files(home.data_dir().parent().unwrap(), &mut kept);
    assert!(
        kept.iter().any(|(path, bytes)| path.ends_with("server-0.log") && holds(bytes, "TRACE")),
        "there is a log"
    );
    assert!(kept.iter().any(|(path, bytes)| path.ends_with("events.db") && holds(bytes, "key.issued")));
    for secret in &secrets {
        assert!(!told.contains(secret.as_str()));
        // Without the part that lists show, so that no piece of it passes.
        let hidden = &secret[secret.len() - 45..];
        assert!(!told.contains(hidden));
        for (path, bytes) in &kept {
            assert!(!holds(bytes, hidden), "a secret is in {path}");
        }
    }
}

#[test]
fn the_hint_is_all_that_is_ever_shown_of_a_secret() {
    let server = Server::fresh();
    let root = server.root();
    let issued = root.create_key("a").run();
    let hint = root.key(&issued.id(), "secretHint").unwrap()["secretHint"].as_str().unwrap().to_owned();
    assert_eq!(hint.len(), "kl_prod_".len() + 4);
    assert!(issued.secret().starts_with(&hint));
    let repeated = root.key(&issued.id(), "secret");
    assert_eq!(repeated.unwrap_err().code(), Some("INVALID_INPUT"));
}
