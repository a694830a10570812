//! The program as its users run it: the real binary against a real server.

#[path = "cli/auditor.rs"]
mod auditor;
#[path = "cli/harness.rs"]
mod harness;
#[path = "cli/in_bulk.rs"]
mod in_bulk;
#[path = "cli/secrets.rs"]
mod secrets;
#[path = "cli/tenants.rs"]
mod tenants;
#[path = "cli/usage.rs"]
mod usage;

use harness::{Server, answering, command, json, run};
use std::fs;

const NOBODY: &str = "key_01h455vb4pex5vsknk084sn02q";

#[test]
fn help_and_version_succeed_and_nothing_at_all_is_wrong_usage() {
    for arguments in [&["--help"][..], &["--version"], &["key", "create", "--help"], &["help", "serve"]] {
        let done = run(command(arguments));
        assert_eq!(done.code, 0, "{arguments:?}");
        assert!(done.err.is_empty() && !done.out.is_empty(), "{arguments:?}");
    }
    assert_eq!(run(command(&[])).code, 2);
}

#[test]
fn wrong_usage_is_exit_code_2_in_both_forms() {
    let plain = run(command(&["key", "show", "nonsense"]));
    assert_eq!((plain.code, plain.out.as_str()), (2, ""));
    assert!(plain.err.contains("an identifier like key_"), "{}", plain.err);
    let structured = run(command(&["key", "show", "nonsense", "--json"]));
    assert_eq!(structured.code, 2);
    assert_eq!(json(&structured.err)["error"]["code"], "USAGE");
    let keyless = run(command(&["whoami"]));
    assert_eq!(keyless.code, 2);
    assert!(keyless.err.contains("KEYLEDGER_KEY"), "{}", keyless.err);
}

#[test]
fn a_server_that_is_not_there_is_exit_code_3() {
    let mut whoami = command(&["whoami", "--json", "--url", "http://127.0.0.1:1"]);
    whoami.env("KEYLEDGER_KEY", "kl_prod_hunter2");
    let done = run(whoami);
    assert_eq!(done.code, 3);
    assert_eq!(json(&done.err)["error"]["code"], "UNREACHABLE");
    assert!(!done.err.contains("hunter2"));
}

#[test]
fn wrong_settings_stop_the_server_before_it_starts() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let serve = || {
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        serve.arg(&data);
        serve
    };
    let file = directory.path().join("keyledger.toml");
    let key = "0f".repeat(32);

    let mut misspelled = serve();
    misspelled.env("KEYLEDGER_TRUSTED_PROXY", "10.0.0.0/8");
    let mut short = serve();
    short.env("KEYLEDGER_MASTER_KEY", &key[2..]);
    let mut unknown = serve();
    fs::write(&file, format!("master_key = \"{key}\"\n")).unwrap();
    unknown.arg("--config").arg(&file);
    let mut open = serve();
    open.args(["--open-listen", "0.0.0.0:0"]);
    for (serve, told) in [
        (misspelled, "KEYLEDGER_TRUSTED_PROXIES"),
        (short, "64 hexadecimal digits"),
        (unknown, "unknown setting `master_key`"),
        (open, "--open-listen"),
    ] {
        let done = run(serve);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{}", done.err);
        assert!(done.err.contains(told) && done.err.contains("CONFIGURATION"), "{}", done.err);
        assert!(!done.err.contains("0f0f"), "{}", done.err);
    }
    assert!(!data.exists(), "nothing was made");
}

#[test]
fn init_shows_the_root_key_once_and_adds_tenants() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let init = |arguments: &[&str]| {
        let mut init = command(&["init", "--data-dir"]);
        init.arg(&data).args(arguments);
        run(init)
    };
    let first = init(&["--organization", "Acme Ltd", "--json"]);
    assert_eq!(first.code, 0, "{}", first.err);
    let first = json(&first.out);
    for (field, prefix) in [("organizationId", "org_"), ("workspaceId", "ws_"), ("rootKey", "kl_prod_")] {
        assert!(first[field].as_str().unwrap().starts_with(prefix), "{field}");
    }
    assert_eq!(first.as_object().unwrap().len(), 3);
    let second = init(&["--organization", "Other Ltd"]);
    assert_eq!(second.code, 0, "{}", second.err);
    assert!(second.out.contains("\nroot key      kl_prod_"), "{}", second.out);
    assert!(second.out.contains("shown this once"), "{}", second.out);
    let again = init(&["--organization", "Acme Ltd", "--json"]);
    assert_eq!(again.code, 1);
    assert_eq!(json(again.err.lines().last().unwrap())["error"]["code"], "CONFLICT");
}

#[cfg(unix)]
#[test]
fn the_master_key_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start();
    let mode = fs::metadata(server.data().join("master.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_key_lives_from_create_to_delete_and_its_trail_tells_it_all() {
    let server = Server::start();
    let create = ["key", "create", "billing", "-e", "production", "--scope", "read:customers/**"];
    let made =
        server.json(&[&create[..], &["--cidr", "203.0.113.7", "--metadata", r#"{"team":"x"}"#]].concat());
    let key = &made["createKey"]["key"];
    let id = key["id"].as_str().unwrap();
    assert!(made["createKey"]["secret"].as_str().unwrap().starts_with("kl_prod_"));
    assert_eq!(key["scopes"][0]["text"], "read:customers/**");
    assert_eq!(key["allowedCidrs"][0], "203.0.113.7/32");
    assert_eq!(key["metadata"]["team"], "x");

    let shown = server.text(&["key", "show", id]);
    assert!(shown.contains("name          billing\n") && shown.contains("expires       never\n"), "{shown}");
    assert!(server.text(&["key", "list"]).contains(id));
    assert!(server.text(&["key", "acknowledge", id]).starts_with(&format!("acknowledged {id}")));
    assert!(server.text(&["key", "acknowledge", id]).starts_with(&format!("unchanged {id}")));
    assert!(server.text(&["key", "update", id, "--name", "invoices"]).contains("\"invoices\""));
    assert!(server.text(&["key", "disable", id, "--comment", "holiday"]).contains("inactive"));
    assert!(server.text(&["key", "enable", id]).contains("active"));
    let rotated = server.text(&["key", "rotate", id, "--overlap", "1h"]);
    assert!(rotated.contains("\n\n  kl_prod_"), "{rotated}");
    let cloned = server.json(&["key", "clone", id, "--name", "twin"]);
    assert_eq!(cloned["cloneKey"]["key"]["clonedFrom"], id);
    let revoked = server.json(&["key", "revoke", id, "--reason", "superseded", "--yes"]);
    assert_eq!(revoked["revokeKey"]["key"]["revocation"]["reason"], "SUPERSEDED");
    assert!(server.text(&["key", "delete", id, "--yes"]).contains("deleted"));
    assert!(!server.text(&["key", "list"]).contains(id));
    assert!(server.text(&["key", "list", "--status", "deleted"]).contains(id));

    let trail = server.text(&["key", "trail", id]);
    for told in ["key.issued", "name: billing → invoices", "comment: holiday", "key.revoked", "key.deleted"]
    {
        assert!(trail.contains(told), "{told} is missing in\n{trail}");
    }
    let whole = server.json(&["key", "trail", id, "--limit", "0"]);
    let events = whole["key"]["events"]["nodes"].as_array().unwrap();
    assert_eq!(events[0]["type"], "key.issued");
    assert!(events.iter().all(|event| event["rawBytes"].is_string() && event["hash"].is_string()));
    let newest = server.json(&["key", "trail", id, "--limit", "1", "--newest-first"]);
    // The last that happened is that it was looked at.
    assert_eq!(newest["key"]["events"]["nodes"][0]["type"], "audit.read");
    let secret = made["createKey"]["secret"].as_str().unwrap();
    assert!(!trail.contains(secret) && !whole.to_string().contains(secret));
}

#[test]
fn a_key_is_shown_as_it_was_and_what_came_of_it() {
    let server = Server::start();
    let made = server.json(&["key", "create", "before", "-e", "production"]);
    let id = made["createKey"]["key"]["id"].as_str().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    let then = made["createKey"]["key"]["createdAt"].as_str().unwrap();
    server.text(&["key", "update", id, "--name", "after"]);
    let shown = server.text(&["key", "show", id, "--as-of", then]);
    assert!(shown.contains("name          before\n") && shown.contains("as of         "), "{shown}");
    assert_eq!(server.json(&["key", "show", id, "--as-of", then])["key"]["name"], "before");
    let early = server.run(&["key", "show", id, "--as-of", "1d"]);
    assert_eq!(early.code, 5, "{}", early.err);
    let viewer = server.graphql("{ viewer { keyId } }");
    let root = viewer["data"]["viewer"]["keyId"].as_str().unwrap();
    let came = server.text(&["key", "consequences", root]);
    assert!(came.contains("key.issued") && came.contains("key.updated") && came.contains("itself"), "{came}");
    let whole = server.json(&["key", "consequences", root, "--limit", "0", "--depth", "0"]);
    let nodes = whole["consequences"]["nodes"].as_array().unwrap();
    assert!(nodes.iter().any(|node| node["event"]["keyId"] == id), "{whole}");
}

#[test]
fn what_cannot_be_undone_needs_a_yes() {
    let server = Server::start();
    let made = server.json(&["key", "create", "a", "-e", "staging"]);
    let id = made["createKey"]["key"]["id"].as_str().unwrap();
    for arguments in [
        &["key", "revoke", id, "--reason", "unused", "--json"][..],
        &["key", "delete", id, "--json"],
        &["key", "rotate", id, "--json"],
    ] {
        let done = server.run(arguments);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{arguments:?}");
        assert_eq!(json(&done.err)["error"]["code"], "CONFIRMATION_REQUIRED");
    }
    let key = server.json(&["key", "show", id]);
    assert_eq!(
        (key["key"]["status"].as_str(), key["key"]["secretVersion"].as_u64()),
        (Some("ACTIVE"), Some(1))
    );
}

#[test]
fn a_repeated_create_makes_one_key_and_shows_its_secret_once() {
    let server = Server::start();
    let create = ["key", "create", "ci", "-e", "staging", "--idempotency-key", "once"];
    let (first, second) = (server.json(&create), server.json(&create));
    assert_eq!(first["createKey"]["key"]["id"], second["createKey"]["key"]["id"]);
    assert!(first["createKey"]["secret"].is_string() && second["createKey"]["secret"].is_null());
    let done = server.run(&create);
    assert!(done.err.contains("shown then"), "{}", done.err);
}

#[test]
fn a_repeatable_create_wants_the_moment_of_its_expiry() {
    let server = Server::start();
    let create = ["key", "create", "ci", "-e", "staging", "--idempotency-key", "once", "--expires"];
    let refused = server.run(&[&create[..], &["90d", "--json"]].concat());
    assert_eq!((refused.code, refused.out.as_str()), (2, ""));
    let error = json(&refused.err)["error"]["message"].as_str().unwrap().to_owned();
    let moment = error.rsplit(' ').next().unwrap();
    let (first, second) =
        (server.json(&[&create[..], &[moment]].concat()), server.json(&[&create[..], &[moment]].concat()));
    assert_eq!(first["createKey"]["key"]["id"], second["createKey"]["key"]["id"]);
}

#[test]
fn what_came_is_printed_when_a_part_of_an_answer_is_missing() {
    // The secret is shown once, so it is not lost because something beside it failed.
    let body = r#"{"data":{"createKey":{"key":{"id":"key_1","name":"a","environment":"STAGING","status":"ACTIVE",
        "usage":null},"secret":"kl_stag_once","events":[{"id":"evt_1"}],"warnings":[]}},
        "errors":[{"message":"not now","extensions":{"code":"UNAVAILABLE"}}]}"#;
    for json_too in [false, true] {
        let (url, answered) = answering(body);
        let mut create = command(&["key", "create", "a", "-e", "staging", "--url", &url]);
        create.env("KEYLEDGER_KEY", "kl_prod_x");
        if json_too {
            create.arg("--json");
        }
        let done = run(create);
        assert!(answered.join().unwrap().contains("authorization: Bearer kl_prod_x"));
        assert_eq!(done.code, 1, "it is done, so nobody shall repeat it");
        assert!(done.out.contains("kl_stag_once"), "{}", done.out);
        assert!(done.err.contains("UNAVAILABLE") && done.err.contains("not now"), "{}", done.err);
    }
}

#[test]
fn scripts_for_shells_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let done = run(command(&["completions", shell]));
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{shell}");
        for word in ["revoke-many", "organization", "unacknowledged"] {
            assert!(done.out.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(run(command(&["completions", "csh"])).code, 2);
}

#[test]
fn grants_are_given_and_hold() {
    let server = Server::start();
    let verifier = format!("verifier@workspace:{}", server.workspace());
    let create = ["key", "create", "ops", "-e", "production", "--grant", "auditor@organization", "--grant"];
    let made = server.json(&[&create[..], &[&verifier]].concat());
    let grants = &made["createKey"]["key"]["grants"];
    assert_eq!(grants[0]["role"], "AUDITOR");
    assert_eq!(grants[1]["workspaceId"], server.workspace());

    let auditor = made["createKey"]["secret"].as_str().unwrap();
    assert!(server.text_as(auditor, &["whoami"]).contains("auditor@organization:org_"));
    let refused = server.run_as(auditor, &["key", "create", "b", "-e", "production", "--json"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert_eq!(json(&refused.err)["error"]["code"], "FORBIDDEN");

    let made = server.json(&["key", "create", "gate", "-e", "production", "--grant", &verifier]);
    let gate = made["createKey"]["secret"].as_str().unwrap();
    let shown = server.text_as(gate, &["whoami"]);
    assert!(
        shown.starts_with(&format!("key           {}", made["createKey"]["key"]["id"].as_str().unwrap()))
    );
}

#[test]
fn the_exit_code_tells_why_it_failed() {
    let server = Server::start();
    assert_eq!(server.run_as("kl_prod_wrong", &["whoami"]).code, 4);
    assert_eq!(server.run(&["key", "show", NOBODY]).code, 5);
    let refused = server.run(&[
        "key",
        "create",
        "a",
        "-e",
        "production",
        "--expires",
        "2020-01-01T00:00:00Z",
        "--json",
    ]);
    assert_eq!(refused.code, 1);
    let error = &json(&refused.err)["error"];
    assert_eq!(
        (error["code"].as_str(), error["field"].as_str()),
        (Some("INVALID_INPUT"), Some("input.expiresAt"))
    );
}

#[test]
fn lists_follow_cursors_to_their_end_or_the_limit() {
    let server = Server::start();
    for batch in 0..7 {
        let one = |i: usize| {
            format!("k{i}: createKey(input: {{name: \"n{batch}-{i}\", environment: STAGING}}) {{ secret }}")
        };
        server.graphql(&format!("mutation {{ {} }}", (0..18).map(one).collect::<Vec<_>>().join(" ")));
    }
    let count = |arguments: &[&str]| {
        let list = server.json(&[&["key", "list", "-e", "staging"], arguments].concat());
        let nodes = list["keys"]["nodes"].as_array().unwrap();
        let ids: std::collections::HashSet<_> = nodes.iter().map(|key| key["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), nodes.len(), "no key twice");
        (nodes.len(), list["keys"]["pageInfo"]["hasNextPage"].as_bool().unwrap())
    };
    assert_eq!(count(&["--limit", "0"]), (126, false));
    assert_eq!(count(&["--limit", "0", "--sort", "name", "--reverse"]), (126, false));
    assert_eq!(count(&["--limit", "110"]), (110, true));
    assert_eq!(count(&[]), (50, true));
    assert!(server.run(&["key", "list"]).err.contains("50 of 127 shown"));
}

#[test]
fn every_filter_of_a_list_is_one_that_the_server_knows() {
    let server = Server::start();
    let whoami = server.json(&["whoami"]);
    let root = whoami["viewer"]["key"]["id"].as_str().unwrap();
    let list = [
        "key",
        "list",
        "--workspace",
        server.workspace(),
        "--status",
        "all",
        "--environment",
        "production",
        "--search",
        "a",
        "--name-contains",
        "a",
        "--created-by",
        root,
        "--role",
        "support",
        "--created-after",
        "90d",
        "--created-before",
        "0",
        "--expires-before",
        "30d",
        "--unused-since",
        "90d",
        "--unacknowledged",
        "--sort",
        "last-used",
    ];
    server.json(&["role", "create", "support", "--scope", "read:a"]);
    assert_eq!(server.json(&list)["keys"]["nodes"], serde_json::json!([]));
    let organization = whoami["viewer"]["organization"]["id"].as_str().unwrap();
    let own = server.json(&["key", "list", "--organization", organization, "--sort", "expires"]);
    assert_eq!(own["keys"]["nodes"][0]["id"], root);
}

#[test]
fn workspaces_are_listed_and_created() {
    let server = Server::start();
    let made = server.json(&["workspace", "create", "billing"]);
    let id = made["createWorkspace"]["workspace"]["id"].as_str().unwrap();
    let list = server.text(&["workspace", "list"]);
    assert!(list.contains(id) && list.contains(server.workspace()), "{list}");
    assert_eq!(
        server.json(&["workspace", "list", "--limit", "1"])["workspaces"]["nodes"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn the_management_key_may_come_from_a_file() {
    let server = Server::start();
    let file = server.data().join("root.key");
    fs::write(&file, format!("{}\n", server.root_key())).unwrap();
    let mut whoami = command(&["whoami", "--key-file"]);
    whoami.arg(&file).args(["--url", server.url()]);
    assert_eq!(run(whoami).code, 0);
}

#[cfg(unix)]
#[test]
fn the_server_stops_cleanly_when_it_is_told_to() {
    let mut server = Server::start();
    assert_eq!(server.stop(), 0);
}
