use super::*;

fn client() -> Client {
    let connection =
        Connection { url: "http://127.0.0.1:1".into(), key_file: None, insecure_http: false, json: false };
    Client::new(&connection, Some("kl_prod_secret".into())).unwrap()
}

#[test]
fn the_address_is_completed() {
    for url in ["http://127.0.0.1:8080", "http://127.0.0.1:8080/", "http://127.0.0.1:8080/graphql"] {
        assert_eq!(endpoint(url, false).unwrap(), ("http://127.0.0.1:8080/graphql".into(), true));
    }
    let below = endpoint("https://keys.example.com/keyledger/", false).unwrap();
    assert_eq!(below, ("https://keys.example.com/keyledger/graphql".into(), false));
}

#[test]
fn the_key_does_not_go_readable_to_another_machine() {
    for url in ["http://localhost:1", "http://127.0.0.2", "http://[::1]:80", "https://example.com"] {
        assert!(endpoint(url, false).is_ok(), "{url}");
    }
    for url in ["http://example.com", "http://192.0.2.1:8080", "http://localhost.example.com"] {
        assert!(endpoint(url, false).unwrap_err().message.contains("--insecure-http"), "{url}");
        assert!(endpoint(url, true).is_ok(), "{url}");
    }
}

#[test]
fn what_is_not_a_servers_address_is_refused() {
    for url in ["", "localhost", "ftp://localhost", "http://", "https://me:pw@example.com", "https://a/?b=c"]
    {
        let failure = endpoint(url, true).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{url}");
        assert!(!failure.message.contains("pw@"), "{url}");
    }
}

#[test]
fn the_file_outranks_the_variable_and_white_space_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    fs::write(&path, "kl_prod_file\n").unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(*management_key(Some(path), Some("kl_prod_variable".into())).unwrap(), "kl_prod_file");
    assert_eq!(*management_key(None, Some(" kl_prod_variable\n".into())).unwrap(), "kl_prod_variable");
}

#[test]
fn a_missing_or_broken_key_is_a_usage_error_that_does_not_show_it() {
    for value in [None, Some(""), Some("hunter2 hunter2"), Some("hunter2\u{1}x")] {
        let failure = management_key(None, value.map(Into::into)).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("KEYLEDGER_KEY") && !failure.message.contains("hunter2"));
    }
    assert!(management_key(Some("/nowhere/key"), None).unwrap_err().message.contains("/nowhere/key"));
}

#[test]
fn debug_does_not_show_the_key() {
    assert!(!format!("{:?}", client()).contains("kl_prod"));
}

#[test]
fn answers_are_taken_apart() {
    let read = |status, text: &str| client().read(status, text.as_bytes());
    assert_eq!(read(200, r#"{"data":{"a":1}}"#).unwrap(), json!({"a": 1}));
    let graphql = read(
        200,
        r#"{"data":null,"errors":[{"message":"no","extensions":{"code":"NOT_FOUND","field":"id"}}]}"#,
    );
    assert_eq!(graphql, Err(Failure::from_server("NOT_FOUND", "no", Some("id"))));
    let http = read(401, r#"{"error":{"code":"UNAUTHENTICATED","message":"no key"}}"#);
    assert_eq!(http, Err(Failure::from_server("UNAUTHENTICATED", "no key", None)));
    for (status, text) in [(502, "<html>"), (200, "[]"), (200, r#"{"data":null}"#), (302, ""), (500, "{}")] {
        assert_eq!(read(status, text).unwrap_err().code, "UNEXPECTED_ANSWER", "{status} {text}");
    }
}

#[test]
fn a_change_without_an_answer_may_have_happened() {
    let lost = ureq::Error::Io(io::ErrorKind::ConnectionReset.into());
    assert_eq!(client().unanswered(&lost, true).exit, Exit::OutcomeUnknown);
    assert_eq!(client().unanswered(&lost, false).exit, Exit::Unreachable);
    let refused = ureq::Error::Io(io::ErrorKind::ConnectionRefused.into());
    assert_eq!(client().unanswered(&refused, true).exit, Exit::Unreachable);
    assert_eq!(
        client().unanswered(&ureq::Error::Timeout(ureq::Timeout::Global), true).exit,
        Exit::OutcomeUnknown
    );
}
