//! Exchanges that nobody could make sense of, as the log has them.

use std::collections::BTreeMap;

use keyledger::store::sqlite::{Options, SqliteStore};
use keyledger::store::{EventStore, Filter};
use keyledger_schema::{Envelope, Event, Means, VerificationCode};
use serde_json::json;

use crate::ask::{assert_unharmed, eventually};
use crate::oauth::{basic, form, send, uses};
use crate::support::{Home, Server};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// All exchanges that the log tells of: how many of which key had which outcome.
fn exchanges(home: &Home) -> BTreeMap<(Option<String>, VerificationCode), u64> {
    let store = SqliteStore::open(&home.data_dir(), Options::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut found = BTreeMap::new();
    for event in runtime.block_on(store.read_all(None, Filter::All, usize::MAX)).unwrap() {
        assert!(!String::from_utf8_lossy(&event.bytes).contains("s3cret"), "{}", event.event_type);
        let Event::UsageRecorded(data) = Envelope::open(&event.bytes).unwrap().event else { continue };
        for record in data.groups.iter().flat_map(|group| &group.records) {
            if record.means == Some(Means::Exchange) {
                let key = record.key.map(|key| key.to_string());
                *found.entry((key, record.code)).or_default() += record.count;
            }
        }
    }
    found
}

#[test]
fn what_asks_for_no_token_is_recorded_for_whoever_has_the_secret() {
    let server = Server::fresh();
    let root = server.root();
    let (key, other) = (root.create_key("a").run(), root.create_key("b").run());
    let disabled = root.create_key("c").run();
    root.disable_key(&disabled.id()).unwrap();
    let grant = ("grant_type", "client_credentials");
    let credentials = form(&[("client_id", &key.id()), ("client_secret", &key.secret())]);
    let (ours, theirs) = (basic(&key.id(), &key.secret()), basic(&other.id(), &key.secret()));
    let many: Vec<String> = (0..100).map(|n| format!("s3cret{n}=1")).collect();
    let many = many.join("&");
    let (named, unnamed) = (("name", "a"), ("name", "nobody"));
    let by_name = |name| form(&[name, ("secret", &key.secret()), ("scope", "s3cret")]);
    let (by_name, by_other_name) = (by_name(named), by_name(unnamed));
    let large = format!("a={}", "x".repeat(20_000));
    let granted = |more: &[(&str, &str)]| form(&[&[grant], more].concat());
    let in_body = |more: &str| format!("{credentials}&{more}");

    let of_key: Vec<(&str, Option<&str>, String, u16)> = vec![
        ("/oauth/token", Some(&ours), String::new(), 400),
        ("/oauth/token", Some(&ours), form(&[("grant_type", "password")]), 400),
        ("/oauth/token", Some(&ours), granted(&[("scope", "s3cret")]), 400),
        ("/oauth/token", Some(&ours), granted(&[("resource", "s3cret")]), 400),
        ("/oauth/token", Some(&ours), granted(&[("audience", &"s3cret".repeat(100))]), 400),
        ("/oauth/token", Some(&ours), granted(&[("environment", "s3cret")]), 400),
        ("/oauth/token", Some(&ours), granted(&[("token_type", "s3cret")]), 400),
        ("/oauth/token", Some(&ours), granted(&[("client_id", &other.id())]), 400),
        ("/oauth/token", Some(&ours), in_body("grant_type=client_credentials"), 400),
        ("/oauth/token", Some(&theirs), in_body("grant_type=client_credentials"), 400),
        ("/oauth/token", Some("Bearer s3cret"), in_body("grant_type=client_credentials"), 400),
        ("/oauth/token", Some(&ours), granted(&[("client_assertion", "s3cret")]), 400),
        ("/oauth/token", Some(&ours), "a=s3cret&a=s3cret".to_owned(), 400),
        ("/oauth/token", Some(&ours), "a=s3cret%zz".to_owned(), 400),
        ("/oauth/token", Some(&ours), many.clone(), 400),
        ("/oauth/token", Some(&ours), large.clone(), 413),
        ("/oauth/token", None, format!("a=%zz&b=s3cret&b=s3cret&{credentials}"), 400),
        ("/oauth/token", None, in_body(&many), 400),
        ("/api/login", None, in_body("scope=s3cret"), 400),
        ("/auth/v1/api-key/token", None, by_name, 400),
        ("/auth/v1/api-key/token", Some(&ours), form(&[named]), 400),
    ];
    let of_nobody: Vec<(&str, Option<&str>, String, u16)> = vec![
        ("/oauth/token", None, granted(&[]), 401),
        ("/oauth/token", Some("Bearer s3cret"), granted(&[]), 401),
        ("/oauth/token", Some("Basic s3cret"), granted(&[]), 401),
        ("/oauth/token", Some(&theirs), granted(&[("scope", "s3cret")]), 400),
        ("/oauth/token", None, form(&[("client_id", &key.id()), ("scope", "s3cret")]), 400),
        ("/oauth/token", None, large, 413),
        ("/api/login", None, many, 400),
        ("/auth/v1/api-key/token", None, by_other_name, 400),
        ("/auth/v1/api-key/token", None, form(&[("secret", &key.secret())]), 400),
    ];
    for (path, authorization, body, status) in of_key.iter().chain(&of_nobody) {
        let mut headers = vec![FORM];
        headers.extend(authorization.map(|value| ("Authorization", value)));
        let reply = send(&server, "POST", path, &headers, body);
        assert_eq!(reply.status, *status, "{path} {authorization:?} {body} {reply:?}");
        assert!(!reply.body.to_string().contains("s3cret"), "{reply:?}");
    }
    // Whatever a key may not do, it was its holder who asked.
    let (id, authorization) = (disabled.id(), basic(&disabled.id(), &disabled.secret()));
    send(&server, "POST", "/oauth/token", &[FORM, ("Authorization", &authorization)], "");
    // No form at all.
    for authorization in [&ours, &theirs] {
        let headers = [("Content-Type", "application/json"), ("Authorization", authorization)];
        let reply = send(&server, "POST", "/oauth/token", &headers, &json!({}).to_string());
        assert_eq!((reply.status, reply.error()), (400, "invalid_request"));
    }
    // Recorded before it was answered, and merged.
    let recorded = [("EXCHANGE".to_owned(), "MALFORMED".to_owned())];
    eventually("it is in the key's log", || uses(&root, &id) == recorded);
    assert!(uses(&root, &other.id()).is_empty());
    assert_unharmed(&server, &root, &[&key.secret(), "s3cret"]);
    let malformed = VerificationCode::Malformed;
    let expected = [
        ((None, malformed), of_nobody.len() as u64 + 1),
        ((Some(id), malformed), 1),
        ((Some(key.id()), malformed), of_key.len() as u64 + 1),
    ];
    assert_eq!(exchanges(&server.stop()), BTreeMap::from(expected));
}
