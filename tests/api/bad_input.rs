//! Values that are not acceptable: each is refused with a code, the field and the bound.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::ask::{ask, assert_unharmed, attempt, send};
use crate::support::{Client, Server};

fn create(client: &Client, field: &str, value: Value) -> (String, String) {
    let mut input = json!({ "name": "a", "environment": "PRODUCTION" });
    input[field] = value;
    let answer = attempt(client, "createKey", &input);
    (answer.code().to_owned(), answer.field().to_owned())
}

/// Sends a header that no client library sends.
fn raw(server: &Server, authorization: &[u8], body: &[u8]) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.base().strip_prefix("http://").unwrap()).unwrap();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nAuthorization: ",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), authorization, b"\r\n\r\n", body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn fine() -> (String, String) {
    (String::new(), String::new())
}

fn invalid(field: &str) -> (String, String) {
    ("INVALID_INPUT".to_owned(), field.to_owned())
}

/// Metadata of so many bytes as compact JSON.
fn metadata(bytes: usize) -> Value {
    json!({ "a": "x".repeat(bytes - 8) })
}

fn nested(depth: usize) -> Value {
    (1..depth).fold(json!({}), |inner, _| json!({ "a": inner }))
}

#[test]
fn each_bound_holds_to_the_last_one() {
    let server = Server::fresh();
    let root = server.root();
    let scopes = |count: usize| -> Value {
        (0..count).map(|n| json!({ "action": "READ", "resource": format!("r{n}") })).collect()
    };
    let networks = |count: usize| -> Value { (0..count).map(|n| json!(format!("10.0.{n}.0/24"))).collect() };
    let workspace = server.home().tenant().workspace.clone();
    let grants = |count: usize| -> Value {
        (0..count).map(|_| json!({ "role": "VIEWER", "workspaceId": workspace })).collect()
    };
    let resource = |length: usize| json!([{ "action": "READ", "resource": "r".repeat(length) }]);
    let segments = |count: usize| json!([{ "action": "READ", "resource": vec!["a"; count].join("/") }]);
    for (field, fits, over, named) in [
        ("name", json!("é".repeat(128)), json!("é".repeat(129)), "input.name"),
        ("name", json!("a"), json!(""), "input.name"),
        ("name", json!(" a "), json!(" \t "), "input.name"),
        ("metadata", metadata(4_096), metadata(4_097), "input.metadata"),
        ("metadata", nested(32), nested(33), "input.metadata"),
        ("metadata", json!({}), json!([]), "input.metadata"),
        ("scopes", scopes(64), scopes(65), "input.scopes"),
        ("scopes", resource(512), resource(513), "input.scopes[0].resource"),
        ("scopes", segments(32), segments(33), "input.scopes[0].resource"),
        ("allowedCidrs", networks(64), networks(65), "input.allowedCidrs"),
        ("grants", grants(16), grants(17), "input.grants"),
        ("prefix", json!("abcdefghijklmno1"), json!("abcdefghijklmno12"), "input.prefix"),
        ("prefix", json!("a"), json!(""), "input.prefix"),
        ("prefix", json!("a1"), json!("1a"), "input.prefix"),
        ("prefix", json!("a"), json!("A"), "input.prefix"),
        ("prefix", json!("a"), json!("a_b"), "input.prefix"),
        ("idempotencyKey", json!("k".repeat(255)), json!("k".repeat(256)), "input.idempotencyKey"),
        ("idempotencyKey", json!("~!"), json!(""), "input.idempotencyKey"),
        ("idempotencyKey", json!("!"), json!("a b"), "input.idempotencyKey"),
        ("idempotencyKey", json!("x"), json!("é"), "input.idempotencyKey"),
    ] {
        assert_eq!(create(&root, field, fits), fine(), "{field}");
        assert_eq!(create(&root, field, over.clone()), invalid(named), "{field} {over}");
    }
    let id = root.create_key("a").run().id();
    for (seconds, expected) in [
        (json!(0), fine()),
        (json!(2_592_000), fine()),
        (json!(2_592_001), invalid("input.overlapSeconds")),
        (json!(-1), invalid("input.overlapSeconds")),
        (json!(i64::MIN), invalid("input.overlapSeconds")),
        (json!(i64::MAX), invalid("input.overlapSeconds")),
    ] {
        let answer = attempt(&root, "rotateKey", &json!({ "id": id, "overlapSeconds": seconds }));
        assert_eq!((answer.code().to_owned(), answer.field().to_owned()), expected, "{seconds}");
    }
    for mutation in ["disableKey", "enableKey", "deleteKey"] {
        for (length, expected) in [(501, invalid("input.comment")), (500, fine())] {
            let answer = attempt(&root, mutation, &json!({ "id": id, "comment": "é".repeat(length) }));
            assert_eq!(
                (answer.code().to_owned(), answer.field().to_owned()),
                expected,
                "{mutation} {length}"
            );
        }
    }
    assert_unharmed(&server, &root, &[]);
}

#[test]
fn values_of_another_form_are_refused_by_name() {
    let server = Server::fresh();
    let root = server.root();
    for (field, value, named) in [
        ("allowedCidrs", json!(["10.0.0.0/8", "10.0.0.0/33"]), "input.allowedCidrs[1]"),
        ("allowedCidrs", json!(["2001:db8::/129"]), "input.allowedCidrs[0]"),
        ("allowedCidrs", json!(["10.0.0"]), "input.allowedCidrs[0]"),
        ("allowedCidrs", json!(["example.org"]), "input.allowedCidrs[0]"),
        ("allowedCidrs", json!(["' OR 1=1 --"]), "input.allowedCidrs[0]"),
        ("allowedCidrs", json!([""]), "input.allowedCidrs[0]"),
        ("scopes", json!([{ "action": "READ", "resource": "a//b" }]), "input.scopes[0].resource"),
        ("scopes", json!([{ "action": "READ", "resource": "a/../b" }]), "input.scopes[0].resource"),
        ("scopes", json!([{ "action": "READ", "resource": "a/**/b" }]), "input.scopes[0].resource"),
        ("scopes", json!([{ "action": "READ", "resource": "a*" }]), "input.scopes[0].resource"),
        ("scopes", json!([{ "action": "READ", "resource": "a\u{0}" }]), "input.scopes[0].resource"),
        ("scopes", json!([{ "action": "READ", "resource": "a b" }]), "input.scopes[0].resource"),
        ("workspaceId", json!("x"), "input.workspaceId"),
        ("workspaceId", json!("key_01h455vb4pex5vsknk084sn02q"), "input.workspaceId"),
        ("workspaceId", json!("ws_01H455VB4PEX5VSKNK084SN02Q"), "input.workspaceId"),
        ("grants", json!([{ "role": "VIEWER" }]), "input.grants"),
        ("metadata", json!("x"), "input.metadata"),
        ("metadata", json!(1), "input.metadata"),
    ] {
        assert_eq!(create(&root, field, value.clone()), invalid(named), "{field} {value}");
    }
    for (field, value) in [
        ("name", json!(1)),
        ("name", json!(null)),
        ("name", json!(["a"])),
        ("environment", json!("production")),
        ("environment", json!("MOON")),
        ("expiresAt", json!("tomorrow")),
        ("expiresAt", json!("2026-13-01T00:00:00Z")),
        ("expiresAt", json!("1969-12-31T23:59:59Z")),
        ("expiresAt", json!("99999-01-01T00:00:00Z")),
        ("expiresAt", json!(4_102_444_800_u64)),
        ("scopes", json!([null])),
        ("scopes", json!([{ "action": "EAT", "resource": "a" }])),
        ("scopes", json!([{ "action": "READ" }])),
        ("grants", json!([{ "role": "GOD" }])),
        ("unknown", json!(1)),
        ("__proto__", json!({})),
    ] {
        assert_eq!(create(&root, field, value.clone()).0, "INVALID_INPUT", "{field} {value}");
    }
    for id in [
        "",
        "x",
        "key_",
        "org_01h455vb4pex5vsknk084sn02q",
        "key_8zzzzzzzzzzzzzzzzzzzzzzzzz",
        "key_\u{0}",
        "'; --",
    ] {
        for query in [
            "key(id: $id) { id }",
            "event(id: $id) { id }",
            "workspace(id: $id) { id }",
            "node(id: $id) { id }",
        ] {
            let answer = ask(&root, &format!("query($id: ID!) {{ {query} }}"), &json!({ "id": id }));
            let expected =
                if query.starts_with("node") && id.starts_with("org_") { "" } else { "INVALID_INPUT" };
            assert_eq!(answer.code(), expected, "{query} {id:?}");
        }
    }
    assert_unharmed(&server, &root, &[]);
}

#[test]
fn texts_that_deceive_are_refused_and_others_come_back_as_they_were() {
    let server = Server::fresh();
    let root = server.root();
    for bad in [
        "a\u{0}b",
        "a\nb",
        "a\u{7f}",
        "\u{1b}[31m",
        "a\u{85}b",
        "\u{202e}txt",
        "a\u{2066}b",
        "\u{200f}a",
        "a\u{61c}b",
    ] {
        assert_eq!(create(&root, "name", json!(bad)), invalid("input.name"), "{bad:?}");
    }
    let id = root.create_key("a").run().id();
    for bad in ["a\u{0}b", "a\rb", "a\u{202e}b"] {
        let answer = attempt(&root, "disableKey", &json!({ "id": id, "comment": bad }));
        assert_eq!((answer.code(), answer.field()), ("INVALID_INPUT", "input.comment"), "{bad:?}");
    }
    for good in [
        "<script>alert(1)</script>",
        "'; DROP TABLE keys; --",
        "日本語 🔑 العربية",
        "a\\\"b",
        "${jndi:x}",
        "%00",
    ] {
        let issued = root.create_key(good).with("metadata", json!({ good: good, "nul": "\u{0}" })).run();
        let key = root.key(&issued.id(), "name metadata").unwrap();
        assert_eq!(key, json!({ "name": good, "metadata": { good: good, "nul": "\u{0}" } }));
    }
}

#[test]
fn pages_have_bounds_and_one_direction() {
    let server = Server::fresh();
    let root = server.root();
    for list in ["keys", "events", "workspaces"] {
        for (arguments, field) in [
            ("first: 0", "first"),
            ("first: -1", "first"),
            ("first: 201", "first"),
            ("first: 2147483647", "first"),
            ("last: 0", "last"),
            ("last: 201", "last"),
            ("last: -2147483648", "last"),
            ("first: 1, last: 1", "last"),
            ("first: 1, before: \"x\"", "last"),
            ("last: 1, after: \"x\"", "last"),
            ("first: 1, after: \"x\"", "after"),
            ("first: 1, after: \"\"", "after"),
            ("last: 1, before: \"AAAA\"", "before"),
        ] {
            let answer = ask(&root, &format!("{{ {list}({arguments}) {{ nodes {{ id }} }} }}"), &json!({}));
            assert_eq!((answer.code(), answer.field()), ("INVALID_INPUT", field), "{list} {arguments}");
        }
        let answer = ask(&root, &format!("{{ {list}(first: 2147483648) {{ nodes {{ id }} }} }}"), &json!({}));
        assert_eq!(answer.code(), "INVALID_INPUT");
        let long = "A".repeat(10_000);
        let answer = ask(
            &root,
            &format!("{{ {list}(first: 1, after: \"{long}\") {{ nodes {{ id }} }} }}"),
            &json!({}),
        );
        assert_eq!(answer.code(), "INVALID_INPUT");
        for arguments in ["first: 1", "first: 200", "last: 200", "last: 1"] {
            let answer = ask(&root, &format!("{{ {list}({arguments}) {{ nodes {{ id }} }} }}"), &json!({}));
            assert_eq!(answer.code(), "", "{list} {arguments}");
        }
    }
}

#[test]
fn credentials_of_another_form_are_refused_and_tell_nothing() {
    let server = Server::fresh();
    let root = server.root();
    let plain = root.create_key("plain").scope("*:*").run();
    let root_key = server.home().tenant().root_key.clone();
    let mut typo = root_key.clone();
    let last = if typo.pop() == Some('a') { 'b' } else { 'a' };
    typo.push(last);
    let mut messages = Vec::new();
    for secret in ["x", "", " ", "kl_prod_", typo.as_str(), plain.secret().as_str(), &"k".repeat(4_000)] {
        let answer = ask(&server.client(secret), "{ viewer { keyId } }", &json!({}));
        assert_eq!((answer.status, answer.code()), (401, "UNAUTHENTICATED"), "{secret:?}");
        messages.push(answer.message().to_owned());
    }
    messages.dedup();
    assert_eq!(messages.len(), 1, "one message for every reason: {messages:?}");
    for header in [
        &b"Bearer"[..],
        b"Basic eDp5",
        b"bearer",
        b"Token x",
        b"Bearer \xe9",
        b"",
        b"Bearer a b",
        b"Bearer\tx",
    ] {
        let (status, body) = raw(&server, header, b"{\"query\":\"{ viewer { keyId } }\"}");
        let code = body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default();
        let shown = String::from_utf8_lossy(header).into_owned();
        assert!(
            matches!((status, code), (401, "UNAUTHENTICATED") | (400, "INVALID_INPUT")),
            "{shown:?}: {status} {body}"
        );
        assert!(body.get("data").is_none_or(Value::is_null));
    }
    assert_unharmed(&server, &root, &[&root_key, &plain.secret()]);
}

#[test]
fn bodies_of_another_form_are_refused() {
    let server = Server::fresh();
    let root = server.root();
    let raw = |content_type: &str, body: &[u8]| {
        let mut response = ureq::post(format!("{}/graphql", server.base()))
            .config()
            .http_status_as_error(false)
            .build()
            .header("Authorization", format!("Bearer {}", server.home().tenant().root_key))
            .header("Content-Type", content_type)
            .send(body)
            .unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str::<Value>(&text).unwrap())
    };
    let deep = "[".repeat(200_000);
    for (body, field) in [
        (&b""[..], "body"),
        (b"{", "body"),
        (b"null", "body"),
        (b"[]", "body"),
        (b"{\"query\":1}", "body"),
        (b"{}", "body"),
        (b"{\"query\":\"{ viewer { keyId } }\",\"more\":1}", "body"),
        (b"{\"query\":\"{ viewer { keyId } }\",\"variables\":[]}", "variables"),
        (b"{\"query\":\"\\ud800\"}", "body"),
        (b"\xff\xfe", "body"),
        (b"{\"query\":\"{ viewer { keyId } }\"} trailing", "body"),
        (deep.as_bytes(), "body"),
    ] {
        let (status, answer) = raw("application/json", body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(
            (status, &answer["errors"][0]["extensions"]["field"]),
            (400, &json!(field)),
            "{shown}: {answer}"
        );
        assert_eq!(answer["errors"][0]["extensions"]["code"], "INVALID_INPUT");
    }
    let (status, answer) = raw("application/json", &vec![b' '; 1024 * 1024 + 1]);
    assert_eq!((status, &answer["errors"][0]["extensions"]["code"]), (413, &json!("INVALID_INPUT")));
    assert_eq!(raw("application/json", &vec![b' '; 1024 * 1024]).0, 400);
    assert_eq!(raw("text/plain", b"{\"query\":\"{ viewer { keyId } }\"}").0, 415);
    assert_eq!(raw("application/json; charset=utf-8", b"{\"query\":\"{ viewer { keyId } }\"}").0, 200);
    let (status, _) = root.get("/graphql").unwrap();
    assert_eq!(status, 405);
    let unknown = send(&root, &json!({ "query": "query A { viewer { keyId } }", "operationName": "B" }));
    assert_eq!(unknown.code(), "INVALID_INPUT");
    assert_unharmed(&server, &root, &[]);
}

#[test]
fn questions_of_another_form_are_refused_before_anything_is_verified() {
    let server = Server::fresh();
    let root = server.root();
    let secret = root.create_key("a").scope("read:a").run().secret();
    for (body, field) in [
        (json!({}), "key"),
        (json!({ "key": null }), "key"),
        (json!({ "key": 1 }), "key"),
        (json!({ "key": secret, "action": "eat" }), "action"),
        (json!({ "key": secret, "resource": "a" }), "action"),
        (json!({ "key": secret, "action": "read", "resource": "a/../b" }), "resource"),
        (json!({ "key": secret, "action": "read", "resource": "*" }), "resource"),
        (json!({ "key": secret, "environment": "PRODUCTION" }), "environment"),
        (json!({ "key": secret, "ip": "1.2.3.4:80" }), "ip"),
        (json!({ "key": secret, "ip": "localhost" }), "ip"),
    ] {
        let (status, answer) = root.post("/v1/verify", &body).unwrap();
        let error = &answer["error"];
        assert_eq!(
            (status, &error["code"], &error["field"]),
            (400, &json!("INVALID_INPUT"), &json!(field)),
            "{answer}"
        );
        assert!(!answer.to_string().contains(&secret));
    }
    let (status, _) = root.post("/v1/verify", &json!({ "key": secret, "role": "admin" })).unwrap();
    assert_eq!(status, 400, "a field that nobody looks at is refused");
    assert_unharmed(&server, &root, &[&secret]);
}
