//! Requests that no decent client sends.

use super::world::{VERIFIER, World, body, key, secret};

const SECRET_PART: &str = "0000000000";

fn world() -> World {
    World::with(&[key(1)], &[])
}

#[test]
fn bodies_that_are_no_question_are_refused_by_field_or_place() {
    let world = world();
    for (sent, field) in [
        (body(1, r#","cost":-1"#), Some("cost")),
        (body(1, r#","cost":1000001"#), Some("cost")),
        (body(1, r#","limits":[]"#), Some("limits")),
        (body(1, r#","tags":{"a":1}"#), Some("tags")),
        (body(1, r#","key":"other""#), Some("key")),
        (body(1, r#","environment":"prod""#), Some("environment")),
        (body(1, r#","environment":1"#), Some("environment")),
        (body(1, r#","action":"delete""#), Some("action")),
        (body(1, r#","action":"READ""#), Some("action")),
        (body(1, r#","resource":"a""#), Some("action")),
        (body(1, r#","action":"read","resource":"a//b""#), Some("resource")),
        (body(1, r#","action":"read","resource":"a/*""#), Some("resource")),
        (body(1, r#","ip":"203.0.113.7:80""#), Some("ip")),
        (body(1, r#","ip":"localhost""#), Some("ip")),
        ("{}".to_owned(), Some("key")),
        ("[1]".to_owned(), None),
        (format!("{}x", body(1, "")), None),
        (format!(r#"{{"key":{}"#, "[".repeat(200_000)), None),
        (format!(r#"{{"key":"x","a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)), Some("a")),
    ] {
        let answer = world.verify_as(Some(VERIFIER), sent.as_bytes());
        assert_eq!(
            (answer.status, answer.field().as_deref()),
            (400, field),
            "{}",
            &sent[..sent.len().min(120)]
        );
        assert_eq!(answer.json()["error"]["code"], "INVALID_INPUT");
        assert!(!answer.body.contains(SECRET_PART));
    }
    assert_eq!(world.verify_as(Some(VERIFIER), b"{\"key\":\"\xff\"}").status, 400);
    assert!(world.recorded().is_empty(), "what is no question is no verification");
}

#[test]
fn texts_that_are_no_key_are_malformed_whatever_they_hold() {
    let world = world();
    let good = secret(1).expose().to_owned();
    for text in [
        String::new(),
        " ".to_owned(),
        format!(" {good}"),
        format!("{good}\\u0000"),
        good.replace("prod", "PROD"),
        good[..good.len() - 1].to_owned(),
        "k".repeat(900_000),
        "' OR 1=1 --".to_owned(),
        "\\ud83d\\ude00".to_owned(),
        "../../etc/passwd".to_owned(),
    ] {
        let answer = world.verify_as(Some(VERIFIER), format!(r#"{{"key":"{text}"}}"#).as_bytes());
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (200, Some("MALFORMED")),
            "{}",
            text.len()
        );
        assert!(answer.body.len() < 300);
    }
}

#[test]
fn what_http_itself_refuses_has_its_own_status() {
    let world = world();
    let authorization = format!("Bearer {}", secret(VERIFIER).expose());
    let authorization = ("Authorization", authorization.as_str());
    let json = ("Content-Type", "application/json");
    let large = vec![b' '; 1024 * 1024 + 1];
    let answer = World::request(world.management, "POST /v1/verify", &[authorization, json], &large);
    assert_eq!(answer.status, 413);
    for media in ["text/plain", "application/jsonp", ""] {
        let headers = [authorization, ("Content-Type", media)];
        let answer = World::request(world.management, "POST /v1/verify", &headers, b"{}");
        assert_eq!(answer.status, 415, "{media}");
    }
    let headers = [authorization, ("Content-Type", "Application/JSON; charset=utf-8")];
    assert_eq!(
        World::request(world.management, "POST /v1/verify", &headers, body(1, "").as_bytes()).status,
        200
    );
    let answer = World::request(world.management, "GET /v1/verify", &[authorization], b"");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    let answer = World::request(world.management, "POST /healthz", &[], b"");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    let answer = World::request(world.management, "GET /v1/nothing", &[], b"");
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (404, Some("NOT_FOUND")));
}

#[test]
fn a_body_in_pieces_is_read_whole_and_bounded() {
    let world = world();
    let head = format!(
        "POST /v1/verify HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\
         Authorization: Bearer {}\r\n\r\n",
        secret(VERIFIER).expose()
    );
    let body = body(1, "");
    let (left, right) = body.split_at(20);
    let chunked = format!("{head}{:x}\r\n{left}\r\n{:x}\r\n{right}\r\n0\r\n\r\n", left.len(), right.len());
    assert_eq!(World::send(world.management, chunked.as_bytes()).json()["code"], "VALID");
    let chunk = format!("{:x}\r\n{}\r\n", 65_536, " ".repeat(65_536));
    let endless = format!("{head}{}0\r\n\r\n", chunk.repeat(17));
    assert_eq!(World::send(world.management, endless.as_bytes()).status, 413);
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let head = b"POST /v1/verify HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    assert_eq!(World::send(world().open, head).status, 408);
}

#[test]
fn floods_of_headers_and_broken_tokens_do_no_harm() {
    let world = world();
    let many: Vec<_> = (0..90).map(|n| format!("X-Filler-{n}")).collect();
    let mut headers: Vec<_> = many.iter().map(|name| (name.as_str(), "x")).collect();
    headers.push(("Content-Type", "application/json"));
    assert_eq!(World::request(world.open, "POST /v1/verify", &headers, body(1, "").as_bytes()).status, 200);
    let too_many: Vec<_> = (0..2_000).map(|n| format!("X-Filler-{n}")).collect();
    let headers: Vec<_> = too_many.iter().map(|name| (name.as_str(), "x")).collect();
    assert!(World::request(world.open, "GET /healthz", &headers, b"").status >= 400);
    let long = "k".repeat(50_000);
    for value in ["Bearer \u{e9}", "Bearer a b c", &format!("Bearer {long}")] {
        let headers = [("Content-Type", "application/json"), ("Authorization", value)];
        let answer = World::request(world.management, "POST /v1/verify", &headers, body(1, "").as_bytes());
        assert!(matches!(answer.status, 400 | 401), "{} {}", answer.status, value.len());
    }
    assert_eq!(world.verify(1, "").json()["code"], "VALID");
}
