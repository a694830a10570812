use super::*;
use serde_json::json;

fn client() -> Client {
    let connection =
        Connection { url: "http://127.0.0.1:1".into(), key_file: None, insecure_http: false, json: false };
    Client::new(&connection, Some("kl_prod_secret".into())).unwrap()
}

#[test]
fn the_address_is_completed() {
    for url in ["http://127.0.0.1:8080", "http://127.0.0.1:8080/", "http://127.0.0.1:8080/graphql"] {
        assert_eq!(base(url, false).unwrap(), ("http://127.0.0.1:8080".into(), true));
    }
    let below = base("https://keys.example.com/keyledger/", false).unwrap();
    assert_eq!(below, ("https://keys.example.com/keyledger".into(), false));
}

#[test]
fn the_key_does_not_go_readable_to_another_machine() {
    for url in ["http://localhost:1", "http://127.0.0.2", "http://[::1]:80", "https://example.com"] {
        assert!(base(url, false).is_ok(), "{url}");
    }
    for url in ["http://example.com", "http://192.0.2.1:8080", "http://localhost.example.com"] {
        assert!(base(url, false).unwrap_err().message.contains("--insecure-http"), "{url}");
        assert!(base(url, true).is_ok(), "{url}");
    }
}

#[test]
fn what_is_not_a_servers_address_is_refused() {
    for url in ["", "localhost", "ftp://localhost", "http://", "https://me:pw@example.com", "https://a/?b=c"]
    {
        let failure = base(url, true).unwrap_err();
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
    assert_eq!(read(200, r#"{"data":{"a":1}}"#).unwrap(), (json!({"a": 1}), None));
    let refused = Failure::from_server("NOT_FOUND", "no", Some("id"));
    for data in ["null", r#"{"key":null}"#] {
        let errors = r#"[{"message":"no","extensions":{"code":"NOT_FOUND","field":"id"}}]"#;
        let graphql = read(200, &format!(r#"{{"data":{data},"errors":{errors}}}"#));
        assert_eq!(graphql, Err(refused.clone()));
    }
    let http = read(401, r#"{"error":{"code":"UNAUTHENTICATED","message":"no key"}}"#);
    assert_eq!(http, Err(Failure::from_server("UNAUTHENTICATED", "no key", None)));
    for (status, text) in [(502, "<html>"), (200, "[]"), (200, r#"{"data":null}"#), (302, ""), (500, "{}")] {
        assert_eq!(read(status, text).unwrap_err().code, "UNEXPECTED_ANSWER", "{status} {text}");
    }
}

#[test]
fn what_came_is_given_beside_what_failed() {
    let answer = r#"{"data":{"createKey":{"secret":"s","key":{"usage":null}}},
        "errors":[{"message":"not now","extensions":{"code":"UNAVAILABLE"}}]}"#;
    let (data, missing) = client().read(200, answer.as_bytes()).unwrap();
    assert_eq!(data["createKey"]["secret"], "s");
    assert_eq!(missing.unwrap().code, "UNAVAILABLE");
}

#[test]
fn details_of_a_refusal_are_kept() {
    let answer = r#"{"data":null,"errors":[{"message":"no","extensions":
        {"code":"ILLEGAL_TRANSITION","details":{"holderCount":1}}}]}"#;
    let failure = client().read(200, answer.as_bytes()).unwrap_err();
    assert_eq!(failure.details.as_deref(), Some(&json!({ "holderCount": 1 })));
}

#[test]
fn answers_over_rest_are_taken_apart() {
    let read = |status, text: &str| client().read_plain("/v1/verify", status, text.as_bytes());
    assert_eq!(read(200, r#"{"valid":true}"#).unwrap(), json!({ "valid": true }));
    let refused = read(403, r#"{"error":{"code":"FORBIDDEN","message":"no"}}"#);
    assert_eq!(refused, Err(Failure::from_server("FORBIDDEN", "no", None)));
    let half = read(200, r#"{"found":true,"error":{"code":"FORBIDDEN","message":"no"}}"#).unwrap();
    assert_eq!(error_beside(&half), Some(Failure::from_server("FORBIDDEN", "no", None)));
    assert_eq!(error_beside(&json!({ "found": true })), None);
    for (status, text) in [(502, "<html>"), (200, "[]"), (404, "{}"), (409, r#"{"error":{}}"#)] {
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
