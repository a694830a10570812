//! A request that is on its way while its caller loses its rights.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::support::Server;

/// Sends the head and a part of the body, lets something happen, then sends the rest; answers all that came
/// back.
fn interrupted(server: &Server, path: &str, secret: &str, body: &str, between: impl FnOnce()) -> String {
    let mut stream = TcpStream::connect(server.base().strip_prefix("http://").unwrap()).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nAuthorization: Bearer {secret}\r\n\r\n",
        body.len()
    );
    let (begin, rest) = body.split_at(10);
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(begin.as_bytes()).unwrap();
    // Long enough for the server to have looked at the head.
    sleep(Duration::from_millis(300));
    between();
    // A server that looks at the head only now refuses it, and closes without having read the rest.
    let _ = stream.write_all(rest.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[test]
fn nothing_is_done_for_a_key_that_was_revoked_disabled_or_rotated_before_the_request_was_whole() {
    let server = Server::fresh();
    let root = server.root();
    let organization = server.home().tenant().organization.clone();
    let grants = json!([{ "role": "ORGANIZATION_ADMINISTRATOR", "organizationId": organization }]);
    let create = json!({ "query": "mutation { createKey(input: {name: \"late\", environment: PRODUCTION}) { secret } }" });
    let verify = json!({ "key": "kl_prod_nothing" });
    for (path, body) in [("/graphql", create.to_string()), ("/v1/verify", verify.to_string())] {
        let administrator = || root.create_key("administrator").with("grants", grants.clone()).run();
        let calm = administrator();
        let answer = interrupted(&server, path, &calm.secret(), &body, || ());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        for change in ["revoke", "disable", "rotate", "delete"] {
            let caller = administrator();
            let answer = interrupted(&server, path, &caller.secret(), &body, || {
                match change {
                    "revoke" => root.revoke_key(&caller.id(), "COMPROMISED").map(drop),
                    "disable" => root.disable_key(&caller.id()).map(drop),
                    "rotate" => root.rotate_key(&caller.id(), 0).map(drop),
                    _ => root.delete_key(&caller.id()).map(drop),
                }
                .unwrap();
            });
            assert!(answer.contains("UNAUTHENTICATED"), "{path} after {change}: {answer}");
            assert!(!answer.contains("kl_prod_"), "{path} after {change}");
        }
    }
}

#[test]
fn a_secret_in_the_wrong_place_gets_neither_into_the_log_nor_into_an_answer() {
    let server = Server::fresh();
    let root = server.root();
    let pasted = root.create_key("pasted").run().secret();
    for document in [
        "{ key(id: \"S\") { id } }",
        "{ node(id: \"S\") { id } }",
        "{ event(id: \"S\") { id } }",
        "{ workspace(id: \"S\") { id } }",
        "{ keys(filter: {createdBy: \"S\", workspaceId: \"S\"}) { totalCount } }",
        "{ keys(after: \"S\") { totalCount } }",
        "{ events(filter: {keyId: \"S\", actorId: \"S\", types: [\"S\"], from: \"S\"}) { totalCount } }",
        "mutation { revokeKey(input: {id: \"S\", reason: COMPROMISED}) { key { id } } }",
        "mutation { revokeKey(input: {id: \"S\", reason: S}) { key { id } } }",
        "mutation { createKey(input: {name: \"a\", environment: \"S\"}) { secret } }",
        "mutation { createKey(input: {name: \"a\", environment: PRODUCTION, expiresAt: \"S\"}) { key { id } } }",
        "mutation { createKey(input: {name: \"a\", environment: PRODUCTION, grants: [{role: AUDITOR, workspaceId: \"S\"}]}) { key { id } } }",
        "{ S }",
        "{ viewer { S } }",
        "{ viewer(S: 1) { email } }",
        "{ viewer { email } } S \"S\"",
        "query($S: ID!) { key(id: $S) { id } }",
        "query($x: S) { viewer { email } }",
        "{ ...S }",
        "{ viewer { ... on S { email } } }",
    ] {
        let (_, answer) = root.post("/graphql", &json!({ "query": document.replace('S', &pasted) })).unwrap();
        let answer = answer.to_string();
        assert!(
            answer.contains("INVALID_INPUT") || answer.contains("NOT_FOUND") || answer.contains("null"),
            "{answer}"
        );
        assert!(!answer.contains(&pasted), "{document}: {answer}");
    }
    let body = json!({ "query": "query($x: Environment!) { keys(filter: {environment: $x}) { totalCount } }", "variables": { "x": pasted } });
    let (_, answer) = root.post("/graphql", &body).unwrap();
    assert!(!answer.to_string().contains(&pasted), "{answer}");
    assert!(!server.log().contains(&pasted));
    let home = server.stop();
    for file in std::fs::read_dir(home.data_dir()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(pasted.len()).any(|window| window == pasted.as_bytes()));
    }
}
