//! `/v1/verify` and `/v1/authorize` as their clients see them: over sockets, hostile ones included.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "verify_http/authorize.rs"]
mod authorize;
#[path = "verify_http/hostile.rs"]
mod hostile;
#[path = "verify_http/limits.rs"]
mod limits;
#[path = "verify_http/tokens.rs"]
mod tokens;
#[path = "verify_http/world.rs"]
mod world;

use keyledger::edge::Edge;
use keyledger_projections::KeyState;
use keyledger_projections::key::{PreviousSecret, Revocation};
use keyledger_schema::event::RevocationReason;
use keyledger_schema::{Grant, GrantRole, GrantTarget, Personal, Timestamp, VerificationCode};
use serde_json::json;

use world::{VERIFIER, World, body, key, organization, record, secret, verifier_grant, workspace};

fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_micros(Edge::default().now().micros() + seconds * 1_000_000)
}

fn revoked(key: KeyState) -> KeyState {
    let at = in_seconds(0);
    KeyState { revoked: Some(Revocation { at, reason: RevocationReason::Compromised, comment: None }), ..key }
}

#[test]
fn a_valid_key_is_told_what_it_is() {
    let world = World::with(&[key(1)], &[]);
    let answer = world.verify(1, r#","environment":"production","action":"read","resource":"/customers/42""#);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let expected = json!({
        "valid": true, "code": "VALID", "keyId": key(1).id, "organizationId": organization(1),
        "workspaceId": workspace(1), "environment": "production", "secretVersion": 1,
    });
    assert_eq!(answer.json(), expected);
}

#[test]
fn every_code_is_answered_with_its_remedy_and_recorded() {
    let keys = [
        key(1),
        revoked(key(2)),
        KeyState { expires_at: Some(in_seconds(-1)), ..key(3) },
        KeyState { disabled: true, ..key(4) },
        KeyState { allowed_cidrs: Personal(vec!["203.0.113.0/24".parse().unwrap()]), ..key(5) },
    ];
    let world = World::with(&keys, &[]);
    let table = [
        (1, "", VerificationCode::Valid),
        (2, "", VerificationCode::Revoked),
        (3, "", VerificationCode::Expired),
        (4, "", VerificationCode::Disabled),
        (1, r#","environment":"staging""#, VerificationCode::WrongEnvironment),
        (5, r#","ip":"198.51.100.7""#, VerificationCode::IpNotAllowed),
        (5, "", VerificationCode::IpNotAllowed),
        (5, r#","ip":"203.0.113.7""#, VerificationCode::Valid),
        (1, r#","action":"write","resource":"customers/42""#, VerificationCode::InsufficientScope),
        (1, r#","action":"read""#, VerificationCode::InsufficientScope),
        (99, "", VerificationCode::NotFound),
    ];
    for (n, more, code) in table {
        let answer = world.verify(n, more);
        let body = answer.json();
        assert_eq!((answer.status, body["code"].as_str()), (200, Some(code.as_str())), "{n} {more}");
        assert_eq!(body["valid"], code == VerificationCode::Valid);
        assert_eq!(body.get("keyId").is_some(), code != VerificationCode::NotFound);
        assert_eq!(body.get("message").is_some(), code != VerificationCode::Valid);
        let (of, by, recorded) = world.recorded().pop().unwrap();
        assert_eq!((of, by, recorded.code), (Some(organization(1)), Some(key(VERIFIER).id), code));
        assert_eq!(recorded.key.is_some(), code != VerificationCode::NotFound);
    }
    let answer = world.verify_as(Some(VERIFIER), br#"{"key":"kl_prod_typo"}"#);
    assert_eq!(answer.json()["code"], "MALFORMED");
    assert_eq!(world.recorded().len(), table.len() + 1);
}

#[test]
fn while_a_rotation_overlaps_both_secrets_answer_and_tell_which_they_are() {
    let previous = |seconds| {
        Some(PreviousSecret { record: record(1, 1), valid_until: in_seconds(seconds), imported: None })
    };
    let mut rotated = key(2);
    rotated.secret.record.version = 2;
    rotated.previous_secret = previous(60);
    let world = World::with(&[rotated.clone()], &[]);
    let old = world.verify(1, "").json();
    assert_eq!((&old["code"], &old["secretVersion"]), (&json!("VALID"), &json!(1)));
    assert!(old["secretExpiresAt"].is_string());
    let new = world.verify(2, "").json();
    assert_eq!(
        (&new["code"], &new["secretVersion"], new.get("secretExpiresAt")),
        (&json!("VALID"), &json!(2), None)
    );
    assert_eq!(
        world.recorded().into_iter().map(|(_, _, record)| record.secret).collect::<Vec<_>>(),
        [Some(1), Some(2)]
    );

    let ended = KeyState { previous_secret: previous(-1), revision: 1, ..rotated.clone() };
    world.directory.apply(Some(&rotated), &ended);
    assert_eq!(world.verify(1, "").body, world.verify(99, "").body);
    world.directory.apply(Some(&ended), &KeyState { previous_secret: None, revision: 2, ..ended.clone() });
    assert_eq!(world.verify(1, "").json()["code"], "NOT_FOUND");
    assert_eq!(world.verify(2, "").json()["code"], "VALID");
}

#[test]
fn a_key_of_another_tenant_cannot_be_told_from_one_that_does_not_exist() {
    let foreign = KeyState { organization: organization(2), workspace: workspace(2), ..key(1) };
    let elsewhere = KeyState { workspace: workspace(3), ..key(2) };
    let narrow = KeyState {
        grants: vec![Grant { role: GrantRole::Verifier, on: GrantTarget::Workspace(workspace(1)) }],
        ..key(201)
    };
    // A grant on another tenant gives nothing there, however it came to be.
    let reaching = KeyState { grants: verifier_grant(2), ..key(202) };
    let world = World::with(&[foreign, elsewhere, narrow, reaching, revoked(key(3))], &[]);
    for (verifier, n) in [(VERIFIER, 1), (201, 1), (201, 2), (202, 1), (202, 2)] {
        let unknown = world.verify_as(Some(verifier), body(99, "").as_bytes());
        let answer = world.verify_as(Some(verifier), body(n, "").as_bytes());
        assert_eq!((answer.status, &answer.body), (unknown.status, &unknown.body), "{verifier} {n}");
        assert_eq!(answer.head.lines().count(), unknown.head.lines().count());
        let (of, by, recorded) = world.recorded().pop().unwrap();
        assert_eq!((of, by), (Some(organization(1)), Some(key(verifier).id)));
        assert_eq!((recorded.key, recorded.secret, recorded.code), (None, None, VerificationCode::NotFound));
    }
    assert_eq!(world.verify(2, "").json()["code"], "VALID");
}

#[test]
fn whoever_asks_shows_a_management_key_that_may_verify() {
    let keys = [
        key(1),
        KeyState { grants: verifier_grant(1), disabled: true, ..key(2) },
        KeyState { grants: verifier_grant(1), expires_at: Some(in_seconds(-1)), ..key(3) },
        KeyState {
            grants: verifier_grant(1),
            allowed_cidrs: Personal(vec!["203.0.113.0/24".parse().unwrap()]),
            ..key(4)
        },
        revoked(KeyState { grants: verifier_grant(1), ..key(5) }),
        KeyState {
            grants: vec![Grant { role: GrantRole::Auditor, on: GrantTarget::Organization(organization(1)) }],
            ..key(6)
        },
    ];
    let world = World::with(&keys, &[]);
    // 1 has no grants, whatever its scopes; 99 does not exist.
    let refused: Vec<_> =
        [1, 2, 3, 4, 5, 99].map(|n| world.verify_as(Some(n), body(1, "").as_bytes())).into();
    for answer in &refused {
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer realm="keyledger""#));
        assert_eq!(answer.body, refused[0].body);
    }
    assert_eq!(world.recorded().len(), refused.len());
    let json = ("Content-Type", "application/json");
    for headers in
        [&[json][..], &[json, ("Authorization", "Basic eDp5")], &[json, ("Authorization", "Bearer")]]
    {
        let answer = World::request(world.management, "POST /v1/verify", headers, body(1, "").as_bytes());
        assert_eq!((answer.status, &answer.body), (401, &refused[0].body));
    }
    let auditor = world.verify_as(Some(6), body(1, "").as_bytes());
    assert_eq!((auditor.status, auditor.json()["error"]["code"].as_str()), (403, Some("FORBIDDEN")));
    let gateway = secret(6);
    let headers = [("Keyledger-Verifier", gateway.expose())];
    assert_eq!(World::request(world.management, "GET /v1/authorize", &headers, b"").status, 403);
    // Neither asked anything, and both used their key.
    for (of, by, used) in &world.recorded()[refused.len()..] {
        assert_eq!(
            (*of, *by, used.key, used.secret),
            (Some(organization(1)), None, Some(key(6).id), Some(1))
        );
        assert_eq!((used.code, used.count), (VerificationCode::InsufficientScope, 1));
        assert!(used.ip.is_some());
    }
    assert_eq!(world.recorded().len(), refused.len() + 2);
}

#[test]
fn an_open_listener_asks_nobody_who_they_are_and_is_bound_to_loopback_only() {
    let foreign = KeyState { organization: organization(2), ..key(2) };
    let world = World::with(&[key(1), foreign], &[]);
    for (n, of) in [(1, Some(organization(1))), (2, Some(organization(2))), (99, None)] {
        assert_eq!(world.verify_as(None, body(n, "").as_bytes()).status, 200);
        let (organization, by, _) = world.recorded().pop().unwrap();
        assert_eq!((organization, by), (of, None));
    }
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let state = actix_web::web::Data::new(keyledger::http::State {
            verifier: std::sync::Arc::clone(&world.verifier),
            trusted_proxies: Vec::new(),
            not_ready: std::sync::Arc::new(Vec::new),
        });
        let bound = keyledger::http::server::bind(
            keyledger::http::Kind::Open,
            address.parse().unwrap(),
            &state,
            |_| {},
        );
        assert!(bound.err().unwrap().to_string().contains("loopback"), "{address}");
    }
}

#[test]
fn a_change_is_seen_by_the_next_request() {
    let world = World::with(&[key(1)], &[]);
    assert_eq!(world.verify(1, "").json()["code"], "VALID");
    let disabled = KeyState { disabled: true, revision: 1, ..key(1) };
    world.directory.apply(Some(&key(1)), &disabled);
    assert_eq!(world.verify(1, "").json()["code"], "DISABLED");
    world.directory.apply(Some(&disabled), &KeyState { deleted_at: Some(in_seconds(0)), ..disabled.clone() });
    assert_eq!(world.verify(1, "").json()["code"], "NOT_FOUND");
}

#[test]
fn health_and_readiness_and_a_graceful_stop() {
    let mut world = World::with(&[key(1)], &[]);
    for address in [world.management, world.open] {
        assert_eq!(World::request(address, "GET /healthz", &[], b"").status, 200);
        assert_eq!(World::request(address, "GET /readyz", &[], b"").json(), json!({"ready": true}));
    }
    actix_web::rt::System::new().block_on(world.verifier.recorder().shutdown()).unwrap();
    let answer = World::request(world.management, "GET /readyz", &[], b"");
    assert_eq!(
        (answer.status, answer.json()["notReady"][0].as_str()),
        (503, Some("recorder of verifications"))
    );
    let answer = world.verify(1, "");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.json()["error"]["code"], "UNAVAILABLE");
    world.stop();
    assert!(std::net::TcpStream::connect(world.management).is_err());
    assert!(world.recorded().is_empty());
}
