//! What is no valid request for a token, and who gets none.

use serde_json::{Value, json};

use crate::ask::{assert_unharmed, eventually, in_millis, world};
use crate::oauth::{Reply, basic, exchange, form, post, send, set_policy, uses};
use crate::support::Server;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const ENDPOINTS: [&str; 5] =
    ["/oauth/token", "/api/login", "/auth/v1/api-key/token", "/oauth/introspect", "/oauth/revoke"];

/// Every error has the form of RFC 6749 §5.2.
fn assert_oauth(reply: &Reply) {
    assert!(reply.status >= 400, "{reply:?}");
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store", "no-cache"));
    assert_eq!(reply.header("content-type"), "application/json");
    let description = reply.body["error_description"].as_str().unwrap();
    let allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    assert!(!reply.error().is_empty() && description.bytes().all(allowed), "{reply:?}");
    assert_eq!(reply.status == 401, !reply.header("www-authenticate").is_empty(), "{reply:?}");
}

#[test]
fn other_methods_and_other_bodies_are_told_so() {
    let server = Server::fresh();
    for path in ENDPOINTS {
        for method in ["GET", "PUT", "DELETE"] {
            let reply = send(&server, method, path, &[], "");
            assert_eq!((reply.status, reply.header("allow")), (405, "POST"), "{method} {path}");
            assert_oauth(&reply);
        }
        let json = r#"{"grant_type":"client_credentials","client_id":"a","client_secret":"b"}"#;
        let large = format!("a={}", "x".repeat(20_000));
        for (headers, body, status) in [
            (&[("Content-Type", "application/json")][..], json, 400),
            (&[], "grant_type=client_credentials", 400),
            (&[FORM], "a=%zz", 400),
            (&[FORM], "a=1&a=2", 400),
            (&[FORM], large.as_str(), 413),
            (&[FORM, FORM], "grant_type=client_credentials", 400),
            (&[FORM, ("Content-Type", "application/json")], "grant_type=client_credentials", 400),
            (&[FORM, ("Content-Encoding", "gzip")], "grant_type=client_credentials", 415),
        ] {
            let reply = send(&server, "POST", path, headers, body);
            assert_eq!((reply.status, reply.error()), (status, "invalid_request"), "{path} {headers:?}");
            let codings = if status == 415 { "identity" } else { "" };
            assert_eq!(reply.header("accept-encoding"), codings, "{reply:?}");
            assert_oauth(&reply);
        }
    }
    for path in ["/.well-known/jwks.json", "/.well-known/oauth-authorization-server"] {
        let reply = send(&server, "POST", path, &[FORM], "a=b");
        assert_eq!((reply.status, reply.header("allow")), (405, "GET, HEAD"), "{path}");
    }
}

#[test]
fn a_request_authenticates_once_and_asks_for_the_one_grant() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").scope("read:a").run();
    let other = root.create_key("b").run();
    let (id, secret, other) = (key.id(), key.secret(), other.id());
    let (credentials, bearer) = (basic(&id, &secret), format!("Bearer {secret}"));
    let grant = ("grant_type", "client_credentials");
    let (as_id, as_secret) = (("client_id", id.as_str()), ("client_secret", secret.as_str()));
    let no_colon = format!("Basic {}", "a2V5");
    let by_name = [("name", "a"), ("secret", secret.as_str())];
    assert_eq!(post(&server, "/auth/v1/api-key/token", None, &by_name).status, 200);
    for (authorization, more) in [(Some(&credentials), None), (Some(&bearer), None), (None, Some(as_secret))]
    {
        let mut pairs = by_name.to_vec();
        pairs.extend(more.into_iter().chain(more.map(|_| as_id)));
        let reply = post(&server, "/auth/v1/api-key/token", authorization.map(String::as_str), &pairs);
        assert_eq!((reply.status, reply.error()), (400, "invalid_request"));
    }
    for (authorization, pairs, expected) in [
        (Some(&credentials), &[grant, as_secret][..], (400, "invalid_request")),
        (Some(&credentials), &[grant, as_id, as_secret], (400, "invalid_request")),
        (Some(&bearer), &[grant, as_id, as_secret], (400, "invalid_request")),
        (Some(&credentials), &[grant, ("client_id", &other)], (400, "invalid_request")),
        (Some(&credentials), &[grant, grant], (400, "invalid_request")),
        (Some(&credentials), &[grant, ("scope", "read:a"), ("scope", "read:a")], (400, "invalid_request")),
        (None, &[grant, as_id, as_secret, as_secret], (400, "invalid_request")),
        (Some(&credentials), &[], (400, "invalid_request")),
        (Some(&credentials), &[("grant_type", "")], (400, "invalid_request")),
        (Some(&credentials), &[("grant_type", "password")], (400, "unsupported_grant_type")),
        (Some(&credentials), &[("grant_type", "authorization_code")], (400, "unsupported_grant_type")),
        (Some(&credentials), &[grant, ("environment", "moon")], (400, "invalid_request")),
        (None, &[grant, as_secret], (400, "invalid_request")),
        (None, &[grant], (401, "invalid_client")),
        (None, &[grant, as_id], (401, "invalid_client")),
        (None, &[grant, as_id, ("client_assertion", "x")], (401, "invalid_client")),
        (Some(&bearer), &[grant], (401, "invalid_client")),
        (Some(&no_colon), &[grant], (401, "invalid_client")),
    ] {
        let reply = post(&server, "/oauth/token", authorization.map(String::as_str), pairs);
        assert_eq!((reply.status, reply.error()), expected, "{authorization:?} {pairs:?}");
        assert_oauth(&reply);
        assert!(!reply.body.to_string().contains(&secret), "{reply:?}");
    }
    // What nobody knows is ignored, what is empty is left out, and the id may be named twice the same.
    let fine = [grant, as_id, ("client_secret", ""), ("scope", ""), ("state", "x")];
    post(&server, "/oauth/token", Some(&credentials), &fine).token();
    // Parameters in the URL are none.
    let url = format!("/oauth/token?{}", form(&[as_id, as_secret]));
    assert_eq!(post(&server, &url, None, &[grant]).error(), "invalid_client");
    assert_unharmed(&server, &root, &[&secret]);
}

#[test]
fn secrets_of_other_forms_are_decoded() {
    let server = Server::fresh();
    let root = server.root();
    let secret = "s3cret:with+all%of=these&those/and?these";
    let query = "mutation($input: ImportKeysInput!) { importKeys(input: $input) { results { key { id } } } }";
    let brought = json!({ "name": "brought", "environment": "PRODUCTION", "secret": secret });
    let answer = root.graphql(query, &json!({ "input": { "keys": [brought] } })).unwrap();
    let id = answer["importKeys"]["results"][0]["key"]["id"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let grant = ("grant_type", "client_credentials");
    post(&server, "/oauth/token", Some(&basic(id, secret)), &[grant]).token();
    post(&server, "/oauth/token", None, &[grant, ("client_id", id), ("client_secret", secret)]).token();
    post(&server, "/auth/v1/api-key/token", None, &[("name", "brought"), ("secret", secret)]).token();
    assert_unharmed(&server, &root, &["s3cret"]);
}

#[test]
fn a_wrong_id_and_a_wrong_secret_are_the_same_answer() {
    let world = world();
    let (server, root) = (&world.server, &world.root);
    let (key, other) = (root.create_key("a").run(), root.create_key("b").run());
    let foreign = world.other.create_key("c").run();
    let unknown = keyledger::secret::Secret::mint("kl", keyledger_schema::Environment::Production, &[9; 32]);
    let token = exchange(server, &key, &[]).token();
    let answers = [
        (key.id(), other.secret()),
        (key.id(), foreign.secret()),
        (key.id(), unknown.expose().to_owned()),
        (key.id(), "nonsense".to_owned()),
        (foreign.id(), key.secret()),
        ("nonsense".to_owned(), key.secret()),
        (String::new(), key.secret()),
        // A token leads to no other token.
        (key.id(), token),
    ]
    .map(|(id, secret)| {
        post(server, "/oauth/token", Some(&basic(&id, &secret)), &[("grant_type", "client_credentials")])
    });
    for answer in &answers {
        assert_eq!((answer.status, answer.error()), (401, "invalid_client"), "{answer:?}");
        assert_eq!(answer.body, answers[0].body);
        assert_oauth(answer);
    }
    let only_own: Vec<(String, String)> = vec![("EXCHANGE".into(), "VALID".into())];
    eventually("nobody's secret is recorded for no key", || uses(root, &key.id()) == only_own);
}

#[test]
fn all_that_a_verification_checks_is_checked_and_recorded() {
    let server = Server::fresh();
    let root = server.root();
    let limit = json!([{ "name": "day", "limit": 1, "windowSeconds": 86_400 }]);
    let disabled = root.create_key("disabled").run();
    root.disable_key(&disabled.id()).unwrap();
    let revoked = root.create_key("revoked").run();
    root.revoke_key(&revoked.id(), "UNUSED").unwrap();
    let expired = root.create_key("expired").with("expiresAt", in_millis(600)).run();
    let elsewhere = root.create_key("elsewhere").with("allowedCidrs", json!(["203.0.113.0/24"])).run();
    let limited = root.create_key("limited").with("rateLimits", limit).run();
    let credits = root.create_key("credits").with("credits", json!({ "remaining": 1 })).run();
    let plain = root.create_key("plain").run();
    for key in [&limited, &credits] {
        exchange(&server, key, &[]).token();
        assert!(!root.verify(&key.secret()).unwrap().valid, "an exchange counts as a use");
    }
    eventually("it expires", || root.verify(&expired.secret()).unwrap().code == "EXPIRED");
    let staging = [("environment", "staging")];
    let widened = [("scope", "read:a")];
    let none: &[(&str, &str)] = &[];
    for (key, more, code, status, error) in [
        (&disabled, none, "DISABLED", 401, "invalid_client"),
        (&revoked, none, "REVOKED", 401, "invalid_client"),
        (&expired, none, "EXPIRED", 401, "invalid_client"),
        (&elsewhere, none, "IP_NOT_ALLOWED", 400, "unauthorized_client"),
        (&plain, &staging, "WRONG_ENVIRONMENT", 400, "unauthorized_client"),
        (&plain, &widened, "INSUFFICIENT_SCOPE", 400, "invalid_scope"),
        (&limited, none, "RATE_LIMITED", 429, "temporarily_unavailable"),
        (&credits, none, "CREDITS_EXHAUSTED", 429, "temporarily_unavailable"),
    ] {
        let reply = exchange(&server, key, more);
        assert_eq!((reply.status, reply.error(), &reply.body["code"]), (status, error, &json!(code)));
        assert_oauth(&reply);
        assert_eq!(code == "RATE_LIMITED", !reply.header("retry-after").is_empty(), "{reply:?}");
        let last = Some(("EXCHANGE".to_owned(), code.to_owned()));
        eventually("it is recorded", || uses(&root, &key.id()).pop() == last);
    }
    let deleted = root.create_key("deleted").run();
    root.delete_key(&deleted.id()).unwrap();
    let reply = exchange(&server, &deleted, &[]);
    assert_eq!((reply.error(), reply.body.get("code")), ("invalid_client", None::<&Value>));
    set_policy(&root, &json!({ "apiKeysEnabled": false }));
    let reply = exchange(&server, &plain, &[]);
    assert_eq!((reply.status, &reply.body["code"]), (400, &json!("KEYS_DISABLED")));
}
