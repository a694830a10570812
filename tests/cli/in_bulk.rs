//! Many keys at once: reports, revocation, import.

use crate::harness::{Server, json};
use serde_json::Value;
use std::fmt::Write as _;

const KEYS: usize = 23;

fn with_keys() -> Server {
    let server = Server::start();
    let one =
        |i: usize| format!("k{i}: createKey(input: {{name: \"ci {i}\", environment: STAGING}}) {{ secret }}");
    for from in [0, 12] {
        let keys = (from..KEYS.min(from + 12)).map(one).collect::<Vec<_>>().join(" ");
        server.graphql(&format!("mutation {{ {keys} }}"));
    }
    server
}

fn active(server: &Server) -> usize {
    let list = server.json(&["key", "list", "-e", "staging", "--limit", "0"]);
    list["keys"]["nodes"].as_array().expect("keys").len()
}

#[test]
fn many_keys_are_shown_first_and_then_revoked() {
    let server = with_keys();
    let revoke = ["key", "revoke-many", "--name-contains", "ci", "--reason", "compromised"];
    let tried = server.run(&[&revoke[..], &["--dry-run"]].concat());
    assert_eq!(tried.code, 0, "{}", tried.err);
    assert!(tried.out.contains("\nand 3 more\n") && tried.out.contains("23 keys would be"), "{}", tried.out);
    let unasked = server.run(&[&revoke[..], &["--json"]].concat());
    assert_eq!((unasked.code, unasked.out.as_str()), (2, ""));
    assert_eq!(json(&unasked.err)["error"]["code"], "CONFIRMATION_REQUIRED");
    assert_eq!(active(&server), KEYS, "nothing was done");

    let done = server.run(&[&revoke[..], &["--comment", "the runner was open", "--yes"]].concat());
    assert_eq!((done.code, done.out.as_str()), (0, "revoked 23 keys, skipped 0\n"), "{}", done.err);
    assert!(done.err.contains("and 3 more"), "{}", done.err);
    assert_eq!(active(&server), 0);
    let again = server.run(&[&revoke[..], &["--yes"]].concat());
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.err.contains("no keys match"), "{}", again.err);
    let list = server.json(&["key", "list", "--status", "revoked", "--limit", "1"]);
    let key = &list["keys"]["nodes"][0];
    assert_eq!(key["revocation"]["reason"], "COMPROMISED");
    assert_eq!(key["revocation"]["comment"], "the runner was open");
}

#[test]
fn the_whole_organization_is_never_meant_by_accident() {
    let server = with_keys();
    for arguments in [&["--yes"][..], &["--all", "--search", "ci", "--yes"]] {
        let done = server.run(&[&["key", "revoke-many", "--reason", "policy", "--json"], arguments].concat());
        assert_eq!(done.code, 2, "{arguments:?}");
        assert_eq!(json(&done.err)["error"]["code"], "USAGE");
    }
    let whoami = server.json(&["whoami"]);
    let organization = whoami["viewer"]["organization"]["id"].as_str().unwrap();
    let alone =
        server.run(&["key", "revoke-many", "--reason", "policy", "--organization", organization, "-y"]);
    assert_eq!(alone.code, 2, "an organization is no condition");
    assert_eq!(active(&server), KEYS);
    let all = server.json(&["key", "revoke-many", "--reason", "policy", "--all", "--dry-run"]);
    assert_eq!(all["revokeKeys"]["matched"], KEYS as u64, "the key in use is not one of them");
}

#[test]
fn some_keys_are_revoked_by_their_ids() {
    let server = with_keys();
    let list = server.json(&["key", "list", "-e", "staging", "--limit", "2"]);
    let ids: Vec<&str> =
        list["keys"]["nodes"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap()).collect();
    let done = server.json(&[
        "key",
        "revoke-many",
        "--id",
        ids[0],
        "--id",
        ids[1],
        "--reason",
        "other",
        "--comment",
        "x",
        "--yes",
    ]);
    assert_eq!(done["revokeKeys"]["revoked"], 2);
    assert_eq!(done["revokeKeys"]["dryRun"], false);
    assert_eq!(active(&server), KEYS - 2);
}

#[test]
fn keys_that_nobody_uses_are_reported() {
    let server = with_keys();
    let done = server.run(&["key", "unused"]);
    assert_eq!((done.code, done.out.as_str()), (0, ""), "they are younger than that: {}", done.err);
    assert!(done.err.contains("no keys match"), "{}", done.err);
    let report = server.json(&["key", "unused", "--days", "1", "--workspace", server.workspace()]);
    assert_eq!(report["keys"]["nodes"], Value::Array(vec![]));
    assert_eq!(server.run(&["key", "unused", "--days", "0"]).code, 2);
}

#[test]
fn keys_are_imported_line_by_line_and_again_without_harm() {
    let server = Server::start();
    let mut lines = String::new();
    for i in 0..1_001 {
        writeln!(
            lines,
            r#"{{"name":"old {i}","environment":"STAGING","secret":"legacy-secret-number-{i:06}"}}"#
        )
        .unwrap();
    }
    let file = server.data().join("keys.jsonl");
    std::fs::write(&file, &lines).unwrap();
    let import = ["key", "import", file.to_str().unwrap(), "--workspace", server.workspace()];
    let done = server.run(&import);
    assert_eq!(
        (done.code, done.out.as_str()),
        (0, "imported 1001, there already 0, failed 0\n"),
        "{}",
        done.err
    );
    let again = server.json(&import);
    assert_eq!(again["importKeys"]["existing"], 1_001);
    assert_eq!(again["importKeys"]["results"][1_000]["line"], 1_001);
    assert_eq!(active(&server), 1_001);
    let verified = server.run_with(&["verify", "--json"], "legacy-secret-number-001000\n");
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
}

#[test]
fn faults_of_an_import_are_told_by_line_without_any_secret() {
    let server = Server::start();
    let lines = r#"{"name":"a","environment":"STAGING","secret":"hunter2-hunter2-hunter2-1"}

not json hunter2
{"name":"b","environment":"staging","secret":"hunter2-hunter2-hunter2-2"}
{"name":"","environment":"STAGING","secret":"hunter2-hunter2-hunter2-3"}
{"name":"c","environment":"STAGING","secret":"hunter2-hunter2-hunter2-4","surplus":"hunter2"}
{"name":"c","environment":"STAGING","secret":"hunter2-hunter2-hunter2-4","expiresAt":"hunter2"}
{"name":"d","environment":"STAGING","hash":{"algorithm":"SHA256_HEX","value":"f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7"}}
"#;
    let done = server.run_with(&["key", "import", "-"], lines);
    assert_eq!(
        (done.code, done.out.as_str()),
        (1, "imported 2, there already 0, failed 5\n"),
        "{}",
        done.err
    );
    for line in [3, 4, 5, 6, 7] {
        assert!(done.err.contains(&format!("line {line}: ")), "{line} is missing in\n{}", done.err);
    }
    assert!(done.err.contains("INCOMPLETE") && !done.err.contains("hunter2"), "{}", done.err);
    let done = server.run_with(&["key", "import", "-", "--json"], lines);
    assert_eq!(done.code, 1);
    assert_eq!(json(&done.err)["error"]["code"], "INCOMPLETE");
    let payload = &json(&done.out)["importKeys"];
    assert_eq!((&payload["existing"], &payload["failed"]), (&2.into(), &5.into()));
    assert_eq!(payload["results"][1]["line"], 3);
    assert!(!done.out.contains("hunter2"), "{}", done.out);
}

#[test]
fn an_import_that_may_not_be_stops_at_once() {
    let server = Server::start();
    let lines = "{\"name\":\"a\",\"environment\":\"STAGING\",\"secret\":\"hunter2-hunter2-hunter2\"}\n";
    let nowhere = ["key", "import", "-", "--json", "--workspace", "ws_01h455vb4pex5vsknk084sn02q"];
    let done = server.run_with(&nowhere, lines);
    assert_eq!(done.code, 5, "{}", done.err);
    assert!(json(&done.err)["error"]["message"].as_str().unwrap().contains("lines 1 to 1"), "{}", done.err);
    assert_eq!(server.run(&["key", "import", "/nowhere/keys.jsonl"]).code, 2);
}
