//! Rate limits of keys, as services and gateways see them.

use std::time::Duration;

use keyledger_projections::KeyState;
use keyledger_projections::key::PreviousSecret;
use keyledger_schema::{RateLimit, Scope, VerificationCode};
use serde_json::{Value, json};

use super::world::{Answer, World, body, key, organization, record, secret, workspace};
use super::{in_seconds, revoked};

/// The longest window: nothing comes back while a test runs.
const LONG: u32 = 31 * 86_400;

fn limited(n: u8, limits: &[(&str, u64, u32)]) -> KeyState {
    let limit = |&(name, limit, window_seconds): &(&str, u64, u32)| RateLimit {
        name: name.into(),
        limit,
        window_seconds,
    };
    KeyState { rate_limits: limits.iter().map(limit).collect(), ..key(n) }
}

/// Code, what is left of each limit, and when to come again.
fn said(answer: &Answer) -> (String, Vec<u64>, Option<u64>) {
    let body = answer.json();
    assert_eq!((answer.status, body["valid"] == true), (200, body["code"] == "VALID"), "{body}");
    let left = body["rateLimits"].as_array().into_iter().flatten();
    let left = left.map(|limit| limit["remaining"].as_u64().unwrap()).collect();
    (body["code"].as_str().unwrap().to_owned(), left, body["retryAfterSeconds"].as_u64())
}

fn code(answer: &Answer) -> String {
    said(answer).0
}

fn bearer(n: u8) -> String {
    format!("Bearer {}", secret(n).expose())
}

#[test]
fn an_answer_says_where_every_limit_stands() {
    let world = World::with(&[limited(1, &[("minute", 600, 60), ("month", 2, LONG)]), key(2)], &[]);
    let answer = world.verify(1, "").json();
    assert_eq!(
        answer,
        json!({
            "valid": true, "code": "VALID", "keyId": key(1).id, "organizationId": organization(1),
            "workspaceId": workspace(1), "environment": "production", "secretVersion": 1,
            "rateLimits": [
                { "name": "minute", "limit": 600, "remaining": 599, "resetSeconds": 1 },
                { "name": "month", "limit": 2, "remaining": 1, "resetSeconds": LONG / 2 },
            ],
        })
    );
    assert_eq!(code(&world.verify(1, "")), "VALID");
    let refused = world.verify(1, "").json();
    assert_eq!((&refused["valid"], &refused["code"]), (&json!(false), &json!("RATE_LIMITED")));
    assert_eq!(refused["rateLimits"][1]["remaining"], 0);
    let wait = refused["retryAfterSeconds"].as_u64().unwrap();
    assert!((LONG / 2 - 60..=LONG / 2).contains(&u32::try_from(wait).unwrap()), "{wait}");
    assert!(refused["message"].as_str().unwrap().contains("try again later"));
    assert_eq!((refused["keyId"].clone(), refused.get("organizationId")), (json!(key(1).id), None));
    let codes: Vec<_> = world.recorded().into_iter().map(|(_, _, record)| record.code).collect();
    assert_eq!(codes, [VerificationCode::Valid, VerificationCode::Valid, VerificationCode::RateLimited]);
    // A key without limits says nothing about any.
    let plain = world.verify(2, r#","cost":1000000"#).json();
    assert_eq!((&plain["code"], plain.get("rateLimits")), (&json!("VALID"), None));
}

#[test]
fn of_many_requests_at_once_exactly_the_limit_is_valid() {
    const LIMIT: u64 = 160;
    let world = World::with(&[limited(1, &[("month", LIMIT, LONG), ("wide", 1_000_000, LONG)])], &[]);
    let codes: Vec<String> = std::thread::scope(|scope| {
        let ask = || (0..3 * LIMIT / 16).map(|_| code(&world.verify(1, ""))).collect::<Vec<_>>();
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let valid = codes.iter().filter(|code| *code == "VALID").count() as u64;
    let limited = codes.iter().filter(|code| *code == "RATE_LIMITED").count() as u64;
    assert_eq!((valid, limited), (LIMIT, 2 * LIMIT));
    // What one limit refused was not spent on the other.
    assert_eq!(said(&world.verify(1, r#","cost":0"#)).1, [0, 1_000_000 - LIMIT]);
    let counted = |code| {
        let recorded = world.recorded();
        let records = recorded.iter().filter(|(_, _, record)| record.code == code);
        records.map(|(_, _, record)| record.count).sum::<u64>()
    };
    assert_eq!(counted(VerificationCode::Valid), LIMIT + 1);
    assert_eq!(counted(VerificationCode::RateLimited), 2 * LIMIT);
}

#[test]
fn what_an_earlier_check_refuses_spends_nothing() {
    let limits = [("month", 1, LONG)];
    let foreign = KeyState { organization: organization(2), workspace: workspace(2), ..limited(2, &limits) };
    let world = World::with(&[limited(1, &limits), foreign, revoked(limited(3, &limits))], &[]);
    for (more, expected) in [
        (r#","environment":"staging""#, "WRONG_ENVIRONMENT"),
        (r#","action":"write","resource":"customers/42""#, "INSUFFICIENT_SCOPE"),
    ] {
        assert_eq!(said(&world.verify(1, more)), (expected.to_owned(), vec![], None));
    }
    assert_eq!(code(&world.verify(3, "")), "REVOKED");
    // Another tenant's verifier is told nothing and spends nothing, whatever it asks.
    for more in ["", r#","limits":["month"]"#, r#","limits":["other"]"#] {
        assert_eq!(world.verify(2, more).body, world.verify(99, more).body);
    }
    let open = |n: u8, more: &str| world.verify_as(None, body(n, more).as_bytes());
    assert_eq!(said(&open(2, "")), ("VALID".to_owned(), vec![0], None));
    assert_eq!(said(&world.verify(1, r#","action":"read","resource":"customers/42""#)).1, [0]);
    assert_eq!(code(&world.verify(1, "")), "RATE_LIMITED");
    // The first check that fails is told, and limits are the last.
    assert_eq!(
        code(&world.verify(1, r#","action":"write","resource":"customers/42""#)),
        "INSUFFICIENT_SCOPE"
    );
    assert_eq!(world.verify(2, "").body, world.verify(99, "").body);
}

#[test]
fn a_call_costs_what_it_says() {
    let world = World::with(&[limited(1, &[("month", 10, LONG)])], &[]);
    assert_eq!(said(&world.verify(1, r#","cost":7"#)), ("VALID".to_owned(), vec![3], None));
    assert_eq!(said(&world.verify(1, r#","cost":4"#)).1, [3]);
    let never = world.verify(1, r#","cost":11"#);
    assert_eq!(said(&never), ("RATE_LIMITED".to_owned(), vec![3], None));
    assert!(never.json()["message"].as_str().unwrap().contains("lower its cost"), "{}", never.body);
    assert_eq!(said(&world.verify(1, r#","cost":3"#)), ("VALID".to_owned(), vec![0], None));
    assert_eq!(said(&world.verify(1, r#","cost":0"#)), ("VALID".to_owned(), vec![0], None));
    assert_eq!(code(&world.verify(1, "")), "RATE_LIMITED");
}

#[test]
fn a_caller_chooses_among_the_limits_that_there_are() {
    let world = World::with(&[limited(1, &[("reads", 2, LONG), ("writes", 1, LONG)]), key(2)], &[]);
    assert_eq!(said(&world.verify(1, r#","limits":["writes"]"#)).1, [0]);
    assert_eq!(code(&world.verify(1, r#","limits":["writes"]"#)), "RATE_LIMITED");
    assert_eq!(code(&world.verify(1, "")), "RATE_LIMITED");
    let reads = world.verify(1, r#","limits":["reads"]"#).json();
    assert_eq!((&reads["code"], reads["rateLimits"].as_array().unwrap().len()), (&json!("VALID"), 1));
    assert_eq!(reads["rateLimits"][0]["name"], "reads");
    let recorded = world.recorded().len();
    for (n, names) in [(1, r#"["reads","deletes"]"#), (2, r#"["reads"]"#)] {
        let answer = world.verify(n, &format!(r#","limits":{names}"#));
        assert_eq!((answer.status, answer.field().as_deref()), (400, Some("limits")), "{}", answer.body);
        assert_eq!(answer.json()["error"]["code"], "INVALID_INPUT");
    }
    // It tells that the key is good, so it is recorded like every other answer.
    let told = world.recorded().split_off(recorded);
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|(_, _, record)| record.code == VerificationCode::RateLimited));
    // A key that is not good is refused for that.
    assert_eq!(code(&world.verify(99, r#","limits":["deletes"]"#)), "NOT_FOUND");
    assert_eq!(said(&world.verify(1, r#","limits":["reads"]"#)).1, [0]);
}

#[test]
fn both_secrets_of_an_overlap_spend_the_same_and_an_update_keeps_what_was_spent() {
    let first = limited(1, &[("month", 10, LONG)]);
    let world = World::with(std::slice::from_ref(&first), &[]);
    assert_eq!(said(&world.verify(1, r#","cost":4"#)).1, [6]);
    let mut rotated = KeyState { revision: 1, ..first.clone() };
    let old = std::mem::replace(&mut rotated.secret.record, record(2, 2));
    rotated.previous_secret =
        Some(PreviousSecret { record: old, imported: None, valid_until: in_seconds(60) });
    world.directory.apply(Some(&first), &rotated);
    assert_eq!(said(&world.verify(2, "")).1, [5]);
    assert_eq!(said(&world.verify(1, "")).1, [4]);
    assert_eq!(said(&world.verify(2, r#","cost":0"#)).1, [4]);

    let scopes: Vec<Scope> = vec!["write:customers/**".parse().unwrap()];
    let other = KeyState { revision: 2, scopes, ..rotated.clone() };
    world.directory.apply(Some(&rotated), &other);
    assert_eq!(said(&world.verify(2, r#","cost":0"#)).1, [4], "another change does not touch them");
    let wider = limited(1, &[("month", 100, LONG), ("new", 3, LONG)]).rate_limits;
    let wider = KeyState { revision: 3, rate_limits: wider, ..other.clone() };
    world.directory.apply(Some(&other), &wider);
    assert_eq!(said(&world.verify(1, r#","cost":0"#)).1, [40, 3]);
    assert_eq!(said(&world.verify(2, "")).1, [39, 2]);
}

/// A list of structured fields (RFC 9651 §4.2.1): quoted names, each with integers by name.
fn items(field: Option<&str>) -> Vec<(String, Vec<(String, u64)>)> {
    let parameters = |text: &str| {
        let pairs = text.split(';').skip(1).map(|pair| pair.split_once('=').unwrap());
        pairs.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
    };
    let item = |text: &str| {
        let name = text.split(';').next().unwrap();
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap();
        (name.to_owned(), parameters(text))
    };
    field.unwrap().split(", ").map(item).collect()
}

#[test]
fn gateways_get_the_fields_of_the_draft_and_when_to_come_again() {
    let world = World::with(&[limited(1, &[("minute", 600, 60), ("month", 5, LONG)]), key(2)], &[]);
    let key_of_client = bearer(1);
    let headers = [("Authorization", key_of_client.as_str())];
    let first = world.authorize("", &headers);
    assert_eq!((first.status, first.header("retry-after")), (200, None));
    assert_eq!(first.header("ratelimit-policy"), Some(r#""minute";q=600;w=60, "month";q=5;w=2678400"#));
    assert_eq!(first.header("ratelimit"), Some(r#""minute";r=599;t=1, "month";r=4;t=535680"#));
    assert_eq!(world.authorize("?cost=4", &headers).status, 200);
    let refused = world.authorize("?environment=production&cost=2", &headers);
    assert_eq!((refused.status, refused.header("keyledger-code")), (429, Some("RATE_LIMITED")));
    assert_eq!((refused.header("www-authenticate"), refused.body.as_str()), (None, ""));
    assert_eq!(refused.header("keyledger-key-id"), Some(key(1).id.to_string().as_str()));
    assert_eq!(refused.header("keyledger-organization-id"), None);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((2 * 535_680 - 60..=2 * 535_680).contains(&wait), "{wait}");
    let policy = items(refused.header("ratelimit-policy"));
    assert_eq!(policy[1], ("month".to_owned(), vec![("q".to_owned(), 5), ("w".to_owned(), u64::from(LONG))]));
    let left = items(refused.header("ratelimit"));
    assert_eq!((left[1].0.as_str(), &left[1].1[0]), ("month", &("r".to_owned(), 0)));
    // Never is no time.
    let never = world.authorize("?cost=6", &headers);
    assert_eq!((never.status, never.header("retry-after")), (429, None));
    let plain = bearer(2);
    let plain = world.authorize("", &[("Authorization", plain.as_str())]);
    assert_eq!(
        (plain.status, plain.header("ratelimit"), plain.header("ratelimit-policy")),
        (200, None, None)
    );
    let chosen = world.authorize("?limits=minute", &headers);
    assert_eq!((chosen.status, chosen.header("ratelimit-policy")), (200, Some(r#""minute";q=600;w=60"#)));
    assert_eq!(world.authorize("?limits=minute,month", &headers).status, 429);
    for (query, field) in [
        ("?cost=-1", "cost"),
        ("?cost=x", "cost"),
        ("?cost=1000001", "cost"),
        ("?cost=1&cost=1", "cost"),
        ("?limits=", "limits"),
        ("?limits=minute,hour", "limits"),
        ("?limits=1,2,3,4,5,6,7,8,9", "limits"),
    ] {
        let answer = world.authorize(query, &headers);
        assert_eq!((answer.status, answer.field().as_deref()), (400, Some(field)), "{query}");
    }
}

#[test]
fn they_come_back_with_time() {
    let world = World::with(&[limited(1, &[("seconds", 1, 5)])], &[]);
    assert_eq!(code(&world.verify(1, "")), "VALID");
    let (code_then, _, wait) = said(&world.verify(1, ""));
    assert_eq!(code_then, "RATE_LIMITED");
    std::thread::sleep(Duration::from_secs(wait.unwrap()));
    assert_eq!(code(&world.verify(1, "")), "VALID");
}

#[test]
fn what_a_management_key_does_itself_is_not_counted() {
    let verifier = KeyState { grants: super::verifier_grant(1), ..limited(3, &[("month", 1, LONG)]) };
    let world = World::with(&[key(1), verifier], &[]);
    for _ in 0..3 {
        let answer = world.verify_as(Some(3), body(1, "").as_bytes());
        assert_eq!(answer.json()["code"], Value::from("VALID"));
    }
    // Verifications of it are.
    assert_eq!(code(&world.verify(3, "")), "VALID");
    assert_eq!(code(&world.verify(3, "")), "RATE_LIMITED");
    assert_eq!(world.verify_as(Some(3), body(1, "").as_bytes()).json()["code"], "VALID");
}
