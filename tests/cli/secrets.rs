//! Secrets that somebody holds in hands: they come from a file or a pipe and are printed nowhere.

use crate::harness::{Server, answering, command, json, run_with_input};

/// A key and its secret.
fn key(server: &Server, arguments: &[&str]) -> (String, String) {
    let made = server.json(&[&["key", "create", "found", "-e", "production"], arguments].concat());
    let text = |pointer: &str| made.pointer(pointer).and_then(|it| it.as_str()).expect(pointer).to_owned();
    (text("/createKey/key/id"), text("/createKey/secret"))
}

#[test]
fn a_verification_answers_by_its_exit_code_too() {
    let server = Server::start();
    let (id, secret) = key(&server, &["--scope", "read:customers/**", "--cidr", "203.0.113.0/24"]);
    let verify = ["verify", "--action", "read", "--resource", "customers/42", "--ip"];
    let valid = server.run_with(&[&verify[..], &["203.0.113.7", "-e", "production"]].concat(), &secret);
    assert_eq!((valid.code, valid.err.as_str()), (0, ""), "{}", valid.out);
    assert!(valid.out.starts_with("valid           yes\ncode            VALID\n"), "{}", valid.out);
    assert!(valid.out.contains(&id), "{}", valid.out);

    let refused = server.run_with(&[&verify[..], &["198.51.100.7"]].concat(), &secret);
    assert_eq!((refused.code, refused.err.as_str()), (1, ""));
    assert!(refused.out.contains("IP_NOT_ALLOWED") && refused.out.contains("\nwhy"), "{}", refused.out);
    let file = server.data().join("client.key");
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let wrong = ["verify", "--file", file.to_str().unwrap(), "-e", "staging", "--json"];
    let refused = server.run(&wrong);
    assert_eq!((refused.code, refused.err.as_str()), (1, ""));
    assert_eq!(json(&refused.out)["code"], "WRONG_ENVIRONMENT");

    let (_, limited) =
        key(&server, &["--rate-limit", "api=10/24h", "--rate-limit", "b=1/24h", "--credits", "9"]);
    let options = ["verify", "--cost", "4", "--limit", "api", "--tag", "eu", "--tag", "pro"];
    let counted = server.run_with(&options, &limited);
    assert_eq!((counted.code, counted.err.as_str()), (0, ""), "{}", counted.out);
    for line in ["api: 6 of 10 left, all of them in ", "credits         5 left"] {
        assert!(counted.out.contains(line), "{line:?} is missing in\n{}", counted.out);
    }
    assert!(!counted.out.contains("b: "), "{}", counted.out);
    let unknown = server.run_with(&["verify", "--limit", "other"], &limited);
    assert!(unknown.code == 1 && unknown.err.contains("limits"), "{}", unknown.err);

    let none = server.run(&["verify"]);
    assert_eq!(none.code, 2, "{}", none.out);
    assert_eq!(server.run_with(&["verify", "--resource", "a"], &secret).code, 2);
    for done in [valid, refused, none] {
        assert!(!done.out.contains(&secret) && !done.err.contains(&secret));
    }
}

#[test]
fn a_found_secret_is_identified_and_its_key_revoked() {
    let server = Server::start();
    let (id, secret) = key(&server, &[]);
    let found = server.run_with(&["key", "identify", "--comment", "in a public repository"], &secret);
    assert_eq!(found.code, 0, "{}", found.err);
    assert!(found.out.starts_with(&format!("key             found ({id})\n")), "{}", found.out);
    assert!(server.text(&["key", "show", &id]).contains("leak reported  "));

    let revoke = ["key", "identify", "--revoke", "compromised"];
    let unasked = server.run_with(&[&revoke[..], &["--json"]].concat(), &secret);
    assert_eq!((unasked.code, unasked.out.as_str()), (2, ""));
    let revoked = server.run_with(&[&revoke[..], &["--yes"]].concat(), &secret);
    assert_eq!(revoked.code, 0, "{}", revoked.err);
    assert!(revoked.out.contains("revoked         yes"), "{}", revoked.out);
    assert_eq!(server.json(&["key", "show", &id])["key"]["revocation"]["reason"], "COMPROMISED");

    let unknown = server.run_with(&["key", "identify", "--json"], "kl_prod_nobody");
    assert_eq!((unknown.code, unknown.err.as_str()), (5, ""));
    assert_eq!(json(&unknown.out)["found"], false);
    for done in [found, revoked] {
        assert!(!done.out.contains(&secret) && !done.err.contains(&secret));
    }
}

#[test]
fn no_management_key_is_sent_where_none_is_needed() {
    let (url, answered) = answering(r#"{"keyId":"key_1","status":"REVOKED"}"#);
    let mut revoke = command(&["key", "self-revoke", "--yes", "--url", &url]);
    revoke.env("KEYLEDGER_KEY", "kl_prod_management");
    let done = run_with_input(revoke, "kl_prod_leaked\n");
    assert_eq!(
        (done.code, done.out.as_str()),
        (0, "unchanged key_1: nothing was left to do\n"),
        "{}",
        done.err
    );
    let request = answered.join().unwrap();
    assert!(request.starts_with("POST /v1/self-revoke ") && request.contains(r#"{"key":"kl_prod_leaked"}"#));
    assert!(!request.to_lowercase().contains("authorization") && !request.contains("management"));
}

#[test]
fn whoever_holds_a_secret_can_revoke_its_key_without_another_one() {
    let server = Server::start();
    let (id, secret) = key(&server, &[]);
    let holder = |arguments: &[&str]| {
        let mut command = command(&[&["key", "self-revoke", "--url", server.url()], arguments].concat());
        command.env_remove("KEYLEDGER_KEY");
        run_with_input(command, &secret)
    };
    assert_eq!(holder(&["--json"]).code, 2, "it asks first");
    let done = holder(&["--reason", "superseded", "--comment", "moved", "--yes"]);
    assert_eq!((done.code, done.out.as_str()), (0, format!("revoked {id}\n").as_str()), "{}", done.err);
    let key = server.json(&["key", "show", &id]);
    assert_eq!(key["key"]["revocation"]["reason"], "SUPERSEDED");
    assert!(!done.err.contains(&secret));
}
