//! Tokens, wherever keys are accepted: at verifications, in the API, in feeds, files and logs.

use serde_json::{Value, json};

use crate::ask::{attempt, data, eventually, manager, text, world};
use crate::support::{Mutated, Server};

/// A form that is sent; status and body of the answer.
fn form(server: &Server, path: &str, fields: &[(&str, &str)]) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer =
        agent.post(format!("{}{path}", server.base())).send_form(fields.iter().copied()).unwrap();
    let body = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

/// Status and answer when a token of a key is asked for, with more fields of the form.
pub fn try_exchange(server: &Server, id: &str, secret: &str, more: &[(&str, &str)]) -> (u16, Value) {
    let mut fields = vec![("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    fields.extend_from_slice(more);
    form(server, "/oauth/token", &fields)
}

/// A token of a key, with more fields of the form.
pub fn exchange(server: &Server, id: &str, secret: &str, more: &[(&str, &str)]) -> String {
    let (status, answer) = try_exchange(server, id, secret, more);
    assert_eq!(status, 200, "{answer}");
    text(&answer["access_token"])
}

/// Whether a token is active, as the key is told that has it.
pub fn introspect(server: &Server, id: &str, secret: &str, token: &str) -> bool {
    let fields = [("client_id", id), ("client_secret", secret), ("token", token)];
    form(server, "/oauth/introspect", &fields).1["active"] == true
}

/// Ends a token as the key that has it.
pub fn revoke(server: &Server, id: &str, secret: &str, token: &str) {
    let fields = [("client_id", id), ("client_secret", secret), ("token", token)];
    let (status, answer) = form(server, "/oauth/revoke", &fields);
    assert_eq!(status, 200, "{answer}");
}

fn token_of(server: &Server, key: &Mutated) -> String {
    exchange(server, &key.id(), &key.secret(), &[])
}

fn root_token(server: &Server) -> String {
    let viewer = data(&server.root(), "{ viewer { keyId } }", &json!({}));
    exchange(server, &text(&viewer["viewer"]["keyId"]), &server.home().tenant().root_key, &[])
}

#[test]
fn a_token_is_verified_and_its_use_is_told_apart() {
    let world = world();
    let key = world.root.create_key("a").scope("read:customers/**").scope("write:customers/**").run();
    let token = token_of(&world.server, &key);
    let narrow = exchange(&world.server, &key.id(), &key.secret(), &[("scope", "read:customers/42")]);
    let asked = |token: &str, action: &str| {
        let question = json!({ "key": token, "action": action, "resource": "customers/42" });
        world.root.verify_with(&question).unwrap()
    };
    let answer = asked(&token, "write");
    assert!(answer.valid, "{}", answer.body);
    assert_eq!((&answer.body["keyId"], &answer.body["secretVersion"]), (&json!(key.id()), &json!(1)));
    assert_eq!(answer.body["token"]["scope"], "read:customers/** write:customers/**");
    assert!(asked(&narrow, "read").valid);
    assert_eq!(asked(&narrow, "write").code, "INSUFFICIENT_SCOPE");
    world.root.disable_key(&key.id()).unwrap();
    assert_eq!(asked(&token, "read").code, "DISABLED");
    world.root.enable_key(&key.id()).unwrap();
    let input = json!({ "id": key.id(), "scopes": [{ "action": "WRITE", "resource": "customers/**" }] });
    world.root.mutate("updateKey", &input).unwrap();
    assert_eq!(asked(&token, "read").code, "INSUFFICIENT_SCOPE");
    revoke(&world.server, &key.id(), &key.secret(), &token);
    assert_eq!(asked(&token, "write").code, "TOKEN_REVOKED");
    assert!(world.root.verify(&key.secret()).unwrap().valid);
    world.root.rotate_key(&key.id(), 0).unwrap();
    assert_eq!(asked(&narrow, "read").code, "NOT_FOUND");

    let of = |filter: &str| {
        let query =
            format!("verifications(first: 50, filter: {{ {filter} }}) {{ nodes {{ code means count }} }}");
        let found = world.root.key(&key.id(), &query).unwrap();
        let nodes = found["verifications"]["nodes"].as_array().unwrap().clone();
        nodes.iter().map(|node| (text(&node["code"]), node["means"].clone())).collect::<Vec<_>>()
    };
    eventually("the last use is listed", || of("means: TOKEN").len() == 6);
    let codes: Vec<String> = of("means: TOKEN").into_iter().rev().map(|(code, _)| code).collect();
    let refused = "INSUFFICIENT_SCOPE";
    assert_eq!(codes, ["VALID", "VALID", refused, "DISABLED", refused, "TOKEN_REVOKED"]);
    assert_eq!(of("means: EXCHANGE").len(), 2);
    assert!(of("").contains(&("VALID".to_owned(), Value::Null)));
    let path = format!("/v1/exports/verifications?format=jsonl&means=token&keyIds={}", key.id());
    let (status, lines) = world.root.get(&path).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((status, lines.len()), (200, 6));
    assert!(lines.iter().all(|line| line["means"] == "token"));
    let (status, _) = world.root.get("/v1/exports/verifications?format=jsonl&means=secret").unwrap();
    assert_eq!(status, 400);
}

#[test]
fn a_token_for_somebody_else_is_good_only_where_that_one_is_named() {
    let world = world();
    let key = world.root.create_key("a").run();
    let api = "https://api.example/v1";
    let token = exchange(&world.server, &key.id(), &key.secret(), &[("resource", api)]);
    let of = |more: Value| {
        let mut question = json!({ "key": token });
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.root.verify_with(&question).unwrap().code
    };
    assert_eq!(of(json!({})), "WRONG_AUDIENCE");
    assert_eq!(of(json!({ "audience": api })), "VALID");
    assert_eq!(of(json!({ "audience": "https://other.example" })), "WRONG_AUDIENCE");
}

#[test]
fn a_token_acts_in_the_api_as_its_key_does_until_it_ends() {
    let server = Server::fresh();
    let token = root_token(&server);
    let client = server.client(&token);
    let key = client.create_key("made with a token").scope("read:a").run();
    assert!(client.verify(&key.secret()).unwrap().valid);
    let viewer = data(&client, "{ viewer { keyId } }", &json!({}));
    assert_eq!(viewer, data(&server.root(), "{ viewer { keyId } }", &json!({})));
    let (status, _) = client.get("/v1/events?wait=0&fromStart=true").unwrap();
    assert_eq!(status, 200);

    // What was narrowed, or is for somebody else, acts for nobody here.
    let (id, secret) = (text(&viewer["viewer"]["keyId"]), server.home().tenant().root_key.clone());
    let other = exchange(&server, &id, &secret, &[("resource", "https://api.example")]);
    let of_key = token_of(&server, &key);
    for token in [other, of_key] {
        let client = server.client(&token);
        assert_eq!(client.post("/graphql", &json!({ "query": "{ viewer { keyId } }" })).unwrap().0, 401);
        assert_eq!(client.verify(&key.secret()).unwrap_err().code(), Some("UNAUTHENTICATED"));
        assert_eq!(client.get("/v1/events?wait=0&fromStart=true").unwrap().0, 401);
    }
    revoke(&server, &id, &secret, &token);
    assert_eq!(client.post("/graphql", &json!({ "query": "{ viewer { keyId } }" })).unwrap().0, 401);
    assert!(server.root().verify(&key.secret()).unwrap().valid);
}

#[test]
fn an_address_that_was_asked_for_with_a_token_ends_with_it() {
    let world = world();
    let auditor = manager(&world.root, "AUDITOR", &world.workspace);
    let token = token_of(&world.server, &auditor);
    let link = |bearer: &str| {
        let query = "query($input: ExportUrlInput!) { exportUrl(input: $input) { url } }";
        let input = json!({ "format": "JSONL", "workspaceId": world.workspace });
        let found = data(&world.server.client(bearer), query, &json!({ "input": input }));
        text(&found["exportUrl"]["url"])
    };
    let (by_token, by_secret) = (link(&token), link(&auditor.secret()));
    let anonymous = world.server.anonymous();
    assert_eq!(anonymous.get(&by_token).unwrap().0, 200);
    revoke(&world.server, &auditor.id(), &auditor.secret(), &token);
    assert_eq!(anonymous.get(&by_token).unwrap().0, 401);
    assert_eq!(anonymous.get(&by_secret).unwrap().0, 200);
}

#[test]
fn another_tenant_learns_nothing_of_a_token() {
    let world = world();
    let key = world.root.create_key("a").run();
    let token = token_of(&world.server, &key);
    let (head, signature) = token.rsplit_once('.').unwrap();
    let (first, rest) = signature.split_at(1);
    let forged = format!("{head}.{}{rest}", if first == "A" { "B" } else { "A" });
    let told = |token: &str| world.other.verify(token).unwrap().body;
    assert_eq!(told(&token), told(&forged));
    assert_eq!(told(&token)["code"], "NOT_FOUND");
    let identify =
        |client: &crate::support::Client| client.post("/v1/identify", &json!({ "key": token })).unwrap().1;
    assert_eq!(identify(&world.other), json!({ "found": false }));
    let found = identify(&world.root);
    assert_eq!((&found["found"], &found["key"]["id"]), (&json!(true), &json!(key.id())));
    assert!(found["token"]["id"].as_str().is_some_and(|id| id.starts_with("tok_")), "{found}");
    // It ends no key, whoever has it.
    let (status, answer) =
        world.server.anonymous().post("/v1/self-revoke", &json!({ "key": token })).unwrap();
    assert_eq!((status, &answer["error"]["code"]), (401, &json!("UNAUTHENTICATED")));
    assert!(world.root.verify(&key.secret()).unwrap().valid);
}

#[test]
fn no_token_gets_into_the_log_by_any_field() {
    let world = world();
    let key = world.root.create_key("a").scope("*:*").run();
    let token = token_of(&world.server, &key);
    let short = format!("eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJrIn0.{}", "a".repeat(43));
    let identity = json!({ "externalId": short });
    assert_eq!(attempt(&world.root, "createIdentity", &identity).field(), "input.externalId");
    let tag = format!("eyJ.eyJ.{}", "a".repeat(43));
    let tagged = world.root.verify_with(&json!({ "key": token, "tags": [tag] })).unwrap_err();
    assert_eq!(tagged.code(), Some("INVALID_INPUT"));
    let question = json!({ "key": token, "action": "read", "resource": format!("files/{short}") });
    assert!(world.root.verify_with(&question).unwrap().valid);
    let (status, said) = world.root.get("/v1/events?wait=0&fromStart=true&max=1000").unwrap();
    assert_eq!(status, 200);
    let log = world.server.log();
    for heard in [&said, &log] {
        assert!(!heard.contains(&token) && !heard.contains(&short));
    }
}

#[test]
fn what_a_token_did_names_the_token_in_the_trail() {
    let world = world();
    let token = root_token(&world.server);
    let made = world.server.client(&token).create_key("a").run();
    let own = world.root.create_key("b").run();
    let source = |key: &Mutated| {
        let query = "query($id: ID!) { key(id: $id) { events { nodes { source { tokenId } } } } }";
        data(&world.root, query, &json!({ "id": key.id() }))["key"]["events"]["nodes"][0]["source"]["tokenId"]
            .take()
    };
    assert!(text(&source(&made)).starts_with("tok_"));
    assert_eq!(source(&own), Value::Null);
}

#[test]
fn asking_about_a_token_is_no_use_of_its_key() {
    let world = world();
    let key = world.root.create_key("a").scope("read:a").run();
    let token = token_of(&world.server, &key);
    for _ in 0..3 {
        assert!(introspect(&world.server, &key.id(), &key.secret(), &token));
    }
    let query = "query($id: ID!) { key(id: $id) { usage { valid } verifications(first: 9) { nodes { means count } } } }";
    let seen = || data(&world.root, query, &json!({ "id": key.id() }))["key"].take();
    eventually("all four are in the log", || {
        let log = &seen()["verifications"]["nodes"];
        let counts = log.as_array().unwrap().iter().map(|record| record["count"].as_u64().unwrap());
        counts.sum::<u64>() == 4
    });
    assert_eq!(seen()["usage"]["valid"], 1);
}

#[test]
fn no_text_that_is_kept_holds_a_secret_or_a_token() {
    let world = world();
    let key = world.root.create_key("a").run();
    for secret in [token_of(&world.server, &key), key.secret()] {
        for input in [
            json!({ "id": key.id(), "name": format!("is {secret}").chars().take(200).collect::<String>() }),
            json!({ "id": key.id(), "metadata": { "is": [format!("it {secret}")] } }),
        ] {
            let field = if input.get("name").is_some() { "input.name" } else { "input.metadata" };
            let answer = attempt(&world.root, "updateKey", &input);
            assert_eq!((answer.code(), answer.field()), ("INVALID_INPUT", field), "{input}");
        }
    }
    let comment = json!({ "id": key.id(), "comment": key.secret() });
    assert_eq!(attempt(&world.root, "disableKey", &comment).code(), "INVALID_INPUT");
}
