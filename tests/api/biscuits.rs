//! Tokens that holders narrow: made here, narrowed by a library of others, verified here.

use biscuit_auth::macros::block;
use biscuit_auth::{BlockBuilder, UnverifiedBiscuit};
use serde_json::{Value, json};

use crate::ask::{attempt, data, text};
use crate::support::{Client, Mutated, Server};

/// A form, as it is sent by whoever exchanges a secret.
fn send(server: &Server, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let agent: ureq::Agent = config.into();
    let mut answer = agent.post(format!("{}{path}", server.base())).send_form(form.iter().copied()).unwrap();
    let body = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

fn exchange(server: &Server, key: &Mutated, more: &[(&str, &str)]) -> (u16, Value) {
    let (id, secret) = (key.id(), key.secret());
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", id.as_str()),
        ("client_secret", secret.as_str()),
    ];
    send(server, "/oauth/token", &[&form[..], more].concat())
}

fn biscuit(server: &Server, key: &Mutated) -> String {
    let (status, body) = exchange(server, key, &[("token_type", "biscuit")]);
    assert_eq!((status, &body["token_type"]), (200, &json!("Bearer")), "{body}");
    text(&body["access_token"])
}

fn narrowed(token: &str, block: BlockBuilder) -> String {
    UnverifiedBiscuit::from_base64(token).unwrap().append(block).unwrap().to_base64().unwrap()
}

fn code(client: &Client, token: &str, question: &Value) -> String {
    let mut question = question.clone();
    question["key"] = token.into();
    let answer = client.verify_with(&question).unwrap();
    assert_eq!(answer.valid, answer.code == "VALID");
    answer.code
}

fn read(resource: &str) -> Value {
    json!({ "action": "read", "resource": resource })
}

fn crm(root: &Client) -> Mutated {
    root.create_key("crm").scope("read:customers/**").scope("write:customers/**").run()
}

#[test]
fn a_biscuit_is_made_verified_and_ended_as_any_token() {
    let server = Server::fresh();
    let root = server.root();
    let key = crm(&root);
    let token = biscuit(&server, &key);
    let answer =
        root.verify_with(&json!({ "key": token, "action": "read", "resource": "customers/1" })).unwrap();
    assert_eq!((answer.code.as_str(), &answer.body["keyId"]), ("VALID", &json!(key.id())));
    assert_eq!(code(&root, &token, &read("invoices/1")), "INSUFFICIENT_SCOPE");
    assert_eq!(code(&root, &token, &json!({ "environment": "staging" })), "WRONG_ENVIRONMENT");
    let (status, wrong) = exchange(&server, &key, &[("token_type", "macaroon")]);
    assert_eq!((status, &wrong["error"]), (400, &json!("invalid_request")), "{wrong}");
    // What is asked of an exchange holds for both forms.
    let (_, body) = exchange(&server, &key, &[("token_type", "biscuit"), ("scope", "read:customers/7")]);
    let small = text(&body["access_token"]);
    assert_eq!(code(&root, &small, &read("customers/7")), "VALID");
    assert_eq!(code(&root, &small, &read("customers/8")), "INSUFFICIENT_SCOPE");
    // A restart changes nothing, and what ends tokens ends it.
    let address = server.base().strip_prefix("http://").unwrap().to_owned();
    let home = server.stop();
    // So that the next server cannot get the same port by chance; whoever else has it is as good.
    let _taken = std::net::TcpListener::bind(address);
    let server = Server::start(&home, &[]);
    let root = server.root();
    assert_eq!(code(&root, &token, &read("customers/1")), "NOT_FOUND", "the issuer has another port now");
    let token = biscuit(&server, &key);
    let narrow = narrowed(&token, block!(r#"check if action("read")"#));
    assert_eq!(code(&root, &narrow, &read("customers/1")), "VALID");
    assert_eq!(attempt(&root, "revokeTokens", &json!({ "id": key.id() })).code(), "");
    for token in [&token, &narrow] {
        assert_eq!(code(&root, token, &read("customers/1")), "TOKEN_REVOKED");
    }
    std::thread::sleep(std::time::Duration::from_millis(5));
    let token = biscuit(&server, &key);
    let narrow = narrowed(&token, block!(r#"check if action("read")"#));
    assert_eq!(code(&root, &narrow, &read("customers/1")), "VALID");
    assert_eq!(attempt(&root, "revokeSigningKey", &json!({ "generation": 1 })).code(), "");
    for token in [&token, &narrow] {
        assert_eq!(code(&root, token, &read("customers/1")), "TOKEN_REVOKED");
    }
    let token = biscuit(&server, &key);
    assert_eq!(code(&root, &token, &read("customers/1")), "VALID", "the new key signs");
    root.revoke_key(&key.id(), "UNUSED").unwrap();
    assert_eq!(code(&root, &token, &read("customers/1")), "REVOKED");
}

#[test]
fn holders_narrow_it_offline_and_nobody_widens_it() {
    let server = Server::fresh();
    let root = server.root();
    let key = crm(&root);
    let token = biscuit(&server, &key);
    let by_action = narrowed(&token, block!(r#"check if action("read")"#));
    assert_eq!(code(&root, &by_action, &read("customers/1")), "VALID");
    let write = json!({ "action": "write", "resource": "customers/1" });
    assert_eq!(code(&root, &by_action, &write), "INSUFFICIENT_SCOPE");
    assert_eq!(code(&root, &token, &write), "VALID", "the token itself stays as it is");
    assert_eq!(code(&root, &by_action, &json!({})), "INSUFFICIENT_SCOPE", "no action is not reading");

    let by_resource = narrowed(&token, block!(r#"check if resource($r), $r.starts_with("customers/42/")"#));
    assert_eq!(code(&root, &by_resource, &read("customers/42/orders")), "VALID");
    assert_eq!(code(&root, &by_resource, &read("customers/7")), "INSUFFICIENT_SCOPE");
    let both = narrowed(&by_resource, block!(r#"check if action("write")"#));
    assert_eq!(code(&root, &both, &read("customers/42/orders")), "INSUFFICIENT_SCOPE");

    let long_ago = narrowed(&token, block!("check if time($t), $t < 2020-01-01T00:00:00Z"));
    assert_eq!(code(&root, &long_ago, &read("customers/1")), "INSUFFICIENT_SCOPE");
    let later = narrowed(&token, block!("check if time($t), $t < 2999-01-01T00:00:00Z"));
    assert_eq!(code(&root, &later, &read("customers/1")), "VALID");

    let by_address = narrowed(&token, block!(r#"check if ip("203.0.113.7")"#));
    let from = |ip: &str| json!({ "action": "read", "resource": "customers/1", "ip": ip });
    assert_eq!(code(&root, &by_address, &from("203.0.113.7")), "VALID");
    assert_eq!(code(&root, &by_address, &from("203.0.113.8")), "INSUFFICIENT_SCOPE");
    assert_eq!(code(&root, &by_address, &read("customers/1")), "INSUFFICIENT_SCOPE");

    // More than checks in a block is no token; a check that holds always gives nothing.
    for widening in [
        block!(r#"scope("*:**")"#),
        block!("grants(true)"),
        block!(r#"key("key_01h455vb4pex5vsknk084sn02q")"#),
        block!(r#"scope("admin:**") <- time($t)"#),
        block!(r#"check if resource($r), $r.matches(".*")"#),
    ] {
        assert_eq!(code(&root, &narrowed(&token, widening), &read("customers/1")), "MALFORMED");
    }
    let idle = narrowed(&token, block!("check if true"));
    assert_eq!(code(&root, &idle, &read("invoices/1")), "INSUFFICIENT_SCOPE");
    assert_eq!(code(&root, &idle, &read("customers/1")), "VALID");
    let cut = &by_action[..by_action.len() - 8];
    assert_eq!(code(&root, cut, &read("customers/1")), "MALFORMED");
}

#[test]
fn a_biscuit_manages_nothing_and_is_introspected_by_what_is_known() {
    let server = Server::fresh();
    let root = server.root();
    let organization = data(&root, "{ organization { id } }", &json!({}))["organization"]["id"].clone();
    let grants = json!([{ "role": "ORGANIZATION_ADMINISTRATOR", "organizationId": organization }]);
    let key = root.create_key("administrator").with("grants", grants).run();
    let token = biscuit(&server, &key);
    let manager = server.client(&token);
    let query = json!({ "query": "{ viewer { keyId } }" });
    assert_eq!(manager.post("/graphql", &query).unwrap().0, 401);
    assert_eq!(manager.verify(&key.secret()).unwrap_err().code(), Some("UNAUTHENTICATED"));
    let (_, body) = exchange(&server, &key, &[]);
    let jwt = server.client(&text(&body["access_token"]));
    assert_eq!(jwt.post("/graphql", &query).unwrap().0, 200, "a JWT of the same key does");

    let active = |token: &str| {
        let (id, secret) = (key.id(), key.secret());
        let form = [("token", token), ("client_id", id.as_str()), ("client_secret", secret.as_str())];
        let (status, body) = send(&server, "/oauth/introspect", &form);
        assert_eq!(status, 200, "{body}");
        body["active"].clone()
    };
    assert_eq!(active(&token), true);
    assert_eq!(active(&narrowed(&token, block!("check if time($t), $t < 2999-01-01T00:00:00Z"))), true);
    assert_eq!(active(&narrowed(&token, block!(r#"check if action("read")"#))), false, "nobody asks to read");
    assert_eq!(active(&narrowed(&token, block!("check if false"))), false);
    // Its client revokes it, and with it whatever was made of it.
    let narrow = narrowed(&token, block!("check if true"));
    let (id, secret) = (key.id(), key.secret());
    let form = [("token", narrow.as_str()), ("client_id", id.as_str()), ("client_secret", secret.as_str())];
    assert_eq!(send(&server, "/oauth/revoke", &form).0, 200);
    assert_eq!(active(&token), false);
    assert_eq!(root.verify(&token).unwrap().code, "TOKEN_REVOKED");
}

#[test]
fn hostile_biscuits_are_answered_soon_and_harm_nobody() {
    let server = Server::fresh();
    let root = server.root();
    let key = crm(&root);
    let token = biscuit(&server, &key);
    let watch = keyledger::edge::Stopwatch::start();
    let joined: Vec<String> = (0..8).map(|n| format!("time($t{n})")).collect();
    let hostile = [
        BlockBuilder::new().code(format!("check if {}, false;", joined.join(", ")).repeat(20)).unwrap(),
        BlockBuilder::new().code("f(1); f(2); f(3); check if f($a), f($b), f($c), f($d), false;").unwrap(),
        block!(r#"check if resource($r), $r.matches("(a{1000}){1000}")"#),
        block!("check if [1, 2, 3].all($a -> [1, 2, 3].all($b -> $a + $b < 9))"),
        BlockBuilder::new().code(format!("check if {} == \"\";", vec!["\"aaaa\""; 100].join(" + "))).unwrap(),
    ];
    for block in hostile {
        let answer = code(&root, &narrowed(&token, block), &read("customers/1"));
        assert!(["MALFORMED", "INSUFFICIENT_SCOPE"].contains(&answer.as_str()), "{answer}");
    }
    assert!(watch.elapsed() < std::time::Duration::from_secs(30), "{:?}", watch.elapsed());
    crate::ask::assert_unharmed(&server, &root, &[&key.secret(), &token]);
}
