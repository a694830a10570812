//! What gateways are told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyledger_projections::KeyState;
use keyledger_schema::{Personal, SecretScheme, VerificationCode};

use super::world::{VERIFIER, World, imported, key, organization, secret, workspace};
use super::{in_seconds, revoked};

fn bearer(n: u8) -> String {
    format!("Bearer {}", secret(n).expose())
}

#[test]
fn a_valid_key_passes_with_its_identity_in_headers() {
    let world = World::with(&[key(1)], &[]);
    let answer = world.authorize(
        "?environment=production&action=read&resource=customers%2F42",
        &[("Authorization", &bearer(1))],
    );
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let id = key(1).id.to_string();
    for (name, value) in [
        ("keyledger-code", "VALID"),
        ("keyledger-key-id", id.as_str()),
        ("keyledger-organization-id", &organization(1).to_string()),
        ("keyledger-workspace-id", &workspace(1).to_string()),
        ("keyledger-environment", "production"),
        ("keyledger-secret-version", "1"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}

#[test]
fn every_code_has_its_status_and_challenge() {
    let keys = [
        key(1),
        revoked(key(2)),
        KeyState { expires_at: Some(in_seconds(-1)), ..key(3) },
        KeyState { disabled: true, ..key(4) },
        KeyState { allowed_cidrs: Personal(vec!["203.0.113.0/24".parse().unwrap()]), ..key(5) },
    ];
    let world = World::with(&keys, &[]);
    let invalid = Some(r#"Bearer realm="keyledger", error="invalid_token""#);
    let scope = Some(r#"Bearer realm="keyledger", error="insufficient_scope""#);
    for (n, query, status, code, challenge) in [
        (2, "", 401, "REVOKED", invalid),
        (3, "", 401, "EXPIRED", invalid),
        (4, "", 401, "DISABLED", invalid),
        (1, "?environment=staging", 401, "WRONG_ENVIRONMENT", invalid),
        (99, "", 401, "NOT_FOUND", invalid),
        (5, "", 403, "IP_NOT_ALLOWED", None),
        (1, "?action=write", 403, "INSUFFICIENT_SCOPE", scope),
    ] {
        let answer = world.authorize(query, &[("Authorization", &bearer(n))]);
        assert_eq!((answer.status, answer.header("keyledger-code")), (status, Some(code)), "{n} {query}");
        assert_eq!(answer.header("www-authenticate"), challenge, "{code}");
        assert_eq!(answer.header("keyledger-organization-id"), None);
        assert_eq!(answer.header("keyledger-key-id").is_some(), code != "NOT_FOUND");
    }
    let answer = world.authorize("", &[("X-API-Key", "kl_prod_typo")]);
    assert_eq!((answer.status, answer.header("keyledger-code")), (401, Some("MALFORMED")));
    let nobody = world.authorize("", &[]);
    assert_eq!(
        (nobody.status, nobody.header("www-authenticate")),
        (401, Some(r#"Bearer realm="keyledger""#))
    );
}

#[test]
fn keys_come_in_three_ways_and_never_two_at_once() {
    let world = World::with(&[key(1), key(2)], &[]);
    let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
    let one = secret(1);
    let table = [
        (vec![("Authorization", bearer(1))], 200),
        (vec![("X-API-Key", one.expose().to_owned())], 200),
        (vec![("Authorization", basic(format!("any:{}", one.expose())))], 200),
        (vec![("Authorization", basic(format!("{}:", one.expose())))], 200),
        (vec![("Authorization", bearer(1)), ("X-API-Key", one.expose().to_owned())], 200),
        (vec![("Authorization", bearer(2)), ("X-API-Key", one.expose().to_owned())], 401),
        (vec![("Authorization", bearer(1)), ("Authorization", bearer(2))], 401),
        (vec![("X-API-Key", one.expose().to_owned()), ("X-API-Key", one.expose().to_owned())], 401),
        (vec![("Authorization", "Basic !".to_owned())], 401),
        (vec![("Authorization", format!("{}\u{e9}", bearer(1)))], 401),
        (vec![("X-API-Key", "\u{e9}".to_owned())], 401),
    ];
    for (at, (headers, status)) in table.iter().enumerate() {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = world.authorize("?action=read&resource=customers/42", &headers);
        assert_eq!(answer.status, *status, "{at}");
        let (of, by, used) = world.recorded().pop().unwrap();
        assert_eq!((of, by), (Some(organization(1)), Some(key(VERIFIER).id)), "{at}");
        assert_eq!(answer.header("keyledger-code"), Some(used.code.as_str()), "{at}");
        if *status == 401 {
            assert_eq!((used.code, used.key), (VerificationCode::Malformed, None), "{at}");
            let challenge = Some(r#"Bearer realm="keyledger", error="invalid_token""#);
            assert_eq!((answer.header("www-authenticate"), answer.body.as_str()), (challenge, ""), "{at}");
        }
    }
    assert_eq!(world.recorded().len(), table.len());
}

#[test]
fn imported_keys_come_in_the_same_ways() {
    const TEXTS: [&str; 3] =
        ["sk_live_4eC39HqLyjWDarjt", "sk_live_26PHem9AhJZvU623", "sk_test_BQokikJOvBiI2Hlw"];
    let schemes = SecretScheme::ALL.into_iter().zip(TEXTS);
    let keys: Vec<KeyState> =
        (1..).zip(schemes).map(|(n, (scheme, text))| imported(n, scheme, text)).collect();
    let world = World::with(&keys, &[]);
    for (key, text) in keys.iter().zip(TEXTS) {
        let id = key.id.to_string();
        let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
        for (name, value) in [
            ("Authorization", format!("Bearer {text}")),
            ("X-API-Key", text.to_owned()),
            ("Authorization", basic(format!("any:{text}"))),
            ("Authorization", basic(format!("{text}:"))),
        ] {
            let answer = world.authorize("?action=read&resource=customers/42", &[(name, &value)]);
            assert_eq!(
                (answer.status, answer.header("keyledger-key-id")),
                (200, Some(id.as_str())),
                "{value}"
            );
        }
        let (_, _, used) = world.recorded().pop().unwrap();
        assert_eq!((used.code, used.key, used.secret), (VerificationCode::Valid, Some(key.id), Some(1)));
    }
    let neither = world.authorize("", &[("X-API-Key", "sk_live_of_nobody_at_all")]);
    assert_eq!((neither.status, neither.header("keyledger-code")), (401, Some("MALFORMED")));
    // The open listener answers a batch, too.
    let body = format!(r#"{{"requests":[{{"key":"{}"}},{{"key":"x"}}]}}"#, TEXTS[1]);
    let headers = [("Content-Type", "application/json")];
    let answer = World::request(world.open, "POST /v1/verify/batch", &headers, body.as_bytes());
    let json = answer.json();
    let told: Vec<&str> =
        json["results"].as_array().unwrap().iter().map(|result| result["code"].as_str().unwrap()).collect();
    assert_eq!((answer.status, &told[..]), (200, &["VALID", "MALFORMED"][..]));
    // What is about a secret in somebody's hands is none of its business.
    for path in ["POST /v1/self-revoke", "POST /v1/identify"] {
        assert_eq!(World::request(world.open, path, &headers, body.as_bytes()).status, 404);
    }
}

#[test]
fn a_gateway_says_who_it_is_unless_the_listener_is_open() {
    let world = World::with(&[key(1)], &[]);
    let key_of_client = bearer(1);
    let client = ("Authorization", key_of_client.as_str());
    let at =
        |address, headers: &[(&str, &str)]| World::request(address, "GET /v1/authorize", headers, b"").status;
    assert_eq!(at(world.management, &[client]), 401);
    assert_eq!(at(world.management, &[client, ("Keyledger-Verifier", secret(99).expose())]), 401);
    // The client's own key is no verifier's.
    assert_eq!(at(world.management, &[client, ("Keyledger-Verifier", secret(1).expose())]), 401);
    assert_eq!(at(world.management, &[client, ("Keyledger-Verifier", secret(VERIFIER).expose())]), 200);
    // None of it is about the client's key.
    let unknown = secret(99);
    let wrong = ("Keyledger-Verifier", unknown.expose());
    for (address, headers) in [
        (world.management, &[client][..]),
        (world.management, &[client, wrong]),
        (world.open, &[client, wrong]),
    ] {
        let answer = World::request(address, "GET /v1/authorize", headers, b"");
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (401, Some("UNAUTHENTICATED")));
        assert_eq!(answer.header("www-authenticate"), Some(r#"Keyledger-Verifier realm="keyledger""#));
        assert_eq!(answer.header("keyledger-code"), None);
        assert!(answer.body.contains("as Keyledger-Verifier"), "{}", answer.body);
    }
    assert_eq!(at(world.open, &[client]), 200);
    assert_eq!(at(world.open, &[client, ("Keyledger-Verifier", secret(99).expose())]), 401);
    for method in ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"] {
        let line = format!("{method} /v1/authorize");
        assert_eq!(World::request(world.open, &line, &[client], b"").status, 200, "{method}");
    }
}

#[test]
fn forwarded_requests_count_only_from_gateways_that_are_known() {
    let keys = [key(1)];
    let world = World::with(&keys, &[]);
    let key_of_client = bearer(1);
    let forwarded = |method, uri| {
        [("Authorization", key_of_client.as_str()), ("X-Forwarded-Method", method), ("X-Forwarded-Uri", uri)]
    };
    for (method, uri, status) in [
        ("GET", "/customers/42?x=/../admin", 200),
        ("HEAD", "/customers/42/", 200),
        ("POST", "/customers/42", 403),
        ("GET", "/other", 403),
        ("\u{e9}", "/customers/42", 403),
        ("GET", "/customers/42?\u{e9}", 200),
    ] {
        let answer = world.authorize("?derive=forwarded", &forwarded(method, uri));
        assert_eq!(answer.status, status, "{method} {uri}");
    }
    let recorded = world.recorded().len();
    let (long, deep) = (format!("/{}", "a".repeat(5_000)), "/a".repeat(1_000));
    for uri in [
        "/customers/../other",
        "/customers/./42",
        "//customers/42",
        "/customers//42",
        "/customers/%2e%2e/other",
        "/customers%2F42",
        "/customers/\u{e9}",
        "/customers/..;/admin",
        "/customers/..;v=1/admin",
        "/customers/..%3b/admin",
        "/customers/;/admin",
        "/customers/%252e%252e/admin",
        "/customers/%0a",
        "http://host/customers/42",
        "*",
        &long,
        &deep,
    ] {
        let answer = world.authorize("?derive=forwarded", &forwarded("GET", uri));
        assert_eq!((answer.status, answer.field().as_deref()), (403, Some("x-forwarded-uri")), "{uri}");
        assert_eq!(answer.json()["error"]["code"], "INVALID_INPUT");
        assert_eq!((answer.header("keyledger-code"), answer.header("www-authenticate")), (None, None));
    }
    assert_eq!(world.recorded().len(), recorded, "no key was looked at");
    assert_eq!(world.authorize("?derive=forwarded", &forwarded("GET", "/customers/42")[..2]).status, 400);
    let line = "GET /v1/authorize?derive=forwarded";
    let headers = forwarded("GET", "/customers/42");
    let stranger = World::request(world.open, line, &headers, b"");
    assert_eq!((stranger.status, stranger.field().as_deref()), (400, Some("derive")));
    let trusting = World::with(&keys, &["127.0.0.0/8"]);
    assert_eq!(World::request(trusting.open, line, &headers, b"").status, 200);
}

#[test]
fn a_gateway_that_is_no_trusted_proxy_does_not_lend_its_own_address_to_its_clients() {
    let keys = [KeyState { allowed_cidrs: Personal(vec!["127.0.0.0/8".parse().unwrap()]), ..key(1) }];
    let world = World::with(&keys, &[]);
    let key_of_client = bearer(1);
    let plain = [("Authorization", key_of_client.as_str())];
    assert_eq!(world.authorize("", &plain).status, 200);
    let forwarded = [plain[0], ("X-Forwarded-For", "203.0.113.66")];
    assert_eq!(world.authorize("", &forwarded).status, 403);
}

#[test]
fn the_clients_address_comes_from_trusted_proxies_only() {
    let keys = [KeyState { allowed_cidrs: Personal(vec!["203.0.113.0/24".parse().unwrap()]), ..key(1) }];
    let key_of_client = bearer(1);
    let from = |world: &World, lines: &[&str]| {
        let mut headers = vec![("Authorization", key_of_client.as_str())];
        headers.extend(lines.iter().map(|line| ("X-Forwarded-For", *line)));
        let status = world.authorize("", &headers).status;
        let ip = world.recorded().pop().unwrap().2.ip.map(|ip| ip.into_inner().to_string());
        (status, ip.unwrap_or_default())
    };
    let trusting = World::with(&keys, &["127.0.0.0/8", "10.0.0.0/8"]);
    assert_eq!(from(&trusting, &["203.0.113.7"]), (200, "203.0.113.7".into()));
    assert_eq!(from(&trusting, &["203.0.113.7, 198.51.100.1"]), (403, "198.51.100.1".into()));
    assert_eq!(from(&trusting, &["198.51.100.1", "203.0.113.7, 10.0.0.2"]), (200, "203.0.113.7".into()));
    assert_eq!(from(&trusting, &["203.0.113.7, nonsense"]), (403, "127.0.0.1".into()));
    let alone = World::with(&keys, &[]);
    assert_eq!(from(&alone, &["203.0.113.7"]), (403, String::new()));
}
