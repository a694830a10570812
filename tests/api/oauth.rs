//! Secrets exchanged for tokens, checked by libraries that nobody here wrote.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use oauth2::basic::BasicClient;
use oauth2::{
    AuthType, ClientId, ClientSecret, IntrospectionUrl, Scope, TokenIntrospectionResponse, TokenResponse,
    TokenUrl,
};
use serde_json::{Value, json};

use crate::ask::{data, eventually, in_millis, text};
use crate::support::{Client, Mutated, Server};

/// An answer of an OAuth endpoint.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Value,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or("")
    }

    pub fn token(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        text(&self.body["access_token"])
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

/// Sends a request as it is.
pub fn send(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", server.base()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = agent().run(request.body(body.to_owned()).unwrap()).unwrap();
    let said = answer.body_mut().read_to_string().unwrap();
    let body = serde_json::from_str(&said).unwrap_or(Value::String(said));
    Reply { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
}

pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat()
}

pub fn form(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Sends a form.
pub fn post(server: &Server, path: &str, authorization: Option<&str>, pairs: &[(&str, &str)]) -> Reply {
    let mut headers = vec![("Content-Type", "application/x-www-form-urlencoded")];
    headers.extend(authorization.map(|value| ("Authorization", value)));
    send(server, "POST", path, &headers, &form(pairs))
}

pub fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))))
}

/// Asks for a token with a key's id and secret and more parameters.
pub fn exchange(server: &Server, key: &Mutated, more: &[(&str, &str)]) -> Reply {
    let mut pairs = vec![("grant_type", "client_credentials")];
    pairs.extend_from_slice(more);
    post(server, "/oauth/token", Some(&basic(&key.id(), &key.secret())), &pairs)
}

/// Reads a token with the keys that an issuer publishes.
pub fn claims(server: &Server, token: &str, issuer: &str, audience: &str) -> Value {
    let path = format!("{}/.well-known/jwks.json", issuer.strip_prefix(server.base()).unwrap());
    let (status, keys) = server.anonymous().get(&path).unwrap();
    assert_eq!(status, 200, "{keys}");
    let keys: JwkSet = serde_json::from_str(&keys).unwrap();
    let header = decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let key = keys.find(&header.kid.unwrap()).expect("the signing key is published");
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_issuer(&[issuer]);
    rules.set_audience(&[audience]);
    rules.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    rules.validate_nbf = true;
    decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &rules).unwrap().claims
}

/// The means, codes and counts of a key's verification log, oldest first.
pub fn uses(client: &Client, key: &str) -> Vec<(String, String)> {
    let query =
        "query($id: ID!) { verifications(first: 200, filter: { keyId: $id }) { nodes { means code } } }";
    let answer = data(client, query, &json!({ "id": key }));
    let nodes = answer["verifications"]["nodes"].as_array().unwrap().iter().rev();
    nodes.map(|node| (node["means"].as_str().unwrap_or("").to_owned(), text(&node["code"]))).collect()
}

pub fn set_policy(client: &Client, input: &Value) {
    let query = "mutation($input: SetOrganizationPolicyInput!) { setOrganizationPolicy(input: $input) { events { id } } }";
    data(client, query, &json!({ "input": input }));
}

#[test]
fn a_secret_is_exchanged_for_a_token_that_others_can_check() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").scope("write:a").scope("read:customers/**").run();
    let reply = exchange(&server, &key, &[]);
    let token = reply.token();
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store", "no-cache"));
    assert_eq!((&reply.body["token_type"], &reply.body["expires_in"]), (&json!("Bearer"), &json!(600)));
    assert_eq!(reply.body["scope"], "read:customers/** write:a");
    let claims = claims(&server, &token, server.base(), server.base());
    let home = server.home().tenant();
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    assert!(text(&claims["jti"]).starts_with("tok_"));
    for (name, expected) in [
        ("sub", json!(key.id())),
        ("client_id", json!(key.id())),
        ("iss", json!(server.base())),
        ("aud", json!(server.base())),
        ("scope", json!("read:customers/** write:a")),
        ("org", json!(home.organization)),
        ("workspace", json!(home.workspace)),
        ("env", json!("production")),
        ("secret", json!(1)),
        ("grants", json!(null)),
    ] {
        assert_eq!(claims[name], expected, "{name}");
    }
    let first = || uses(&root, &key.id()).first().cloned();
    eventually("it is in the key's log", || first() == Some(("EXCHANGE".to_owned(), "VALID".to_owned())));
    let seen = root.key(&key.id(), "lastUsedAt lastUsedIp").unwrap();
    assert!(seen["lastUsedAt"].is_string() && seen["lastUsedIp"].is_string(), "{seen}");
    assert!(root.verify(&token).unwrap().valid);
    let said = server.log() + &server.stdout();
    assert!(!said.contains(&key.secret()) && !said.contains(&token), "{said}");
}

#[test]
fn the_client_of_another_library_gets_tokens_both_ways() {
    let server = Server::fresh();
    let key = server.root().create_key("a").scope("read:customers/**").run();
    let http = |request: oauth2::HttpRequest| -> Result<oauth2::HttpResponse, ureq::Error> {
        let (head, body) = agent().run(request)?.into_parts();
        let text = { body }.read_to_vec()?;
        Ok(ureq::http::Response::from_parts(head, text))
    };
    let url = |path: &str| format!("{}{path}", server.base());
    for way in [AuthType::BasicAuth, AuthType::RequestBody] {
        let client = BasicClient::new(ClientId::new(key.id()))
            .set_client_secret(ClientSecret::new(key.secret()))
            .set_token_uri(TokenUrl::new(url("/oauth/token")).unwrap())
            .set_introspection_url(IntrospectionUrl::new(url("/oauth/introspect")).unwrap())
            .set_auth_type(way);
        let asked = client.exchange_client_credentials().add_scope(Scope::new("read:customers/42".into()));
        let answer = asked.add_extra_param("resource", "https://api.example").request(&http).unwrap();
        assert_eq!(answer.scopes().unwrap()[0].as_str(), "read:customers/42");
        assert_eq!(answer.expires_in().unwrap().as_secs(), 600);
        claims(&server, answer.access_token().secret(), server.base(), "https://api.example");
        let whole = client.exchange_client_credentials().request(&http).unwrap();
        let told = client.introspect(whole.access_token()).request(&http).unwrap();
        assert!(told.active(), "{told:?}");
        assert_eq!(told.scopes().unwrap()[0].as_str(), "read:customers/**");
        let wrong = BasicClient::new(ClientId::new(key.id()))
            .set_client_secret(ClientSecret::new("wrong".into()))
            .set_token_uri(TokenUrl::new(url("/oauth/token")).unwrap());
        let refused = wrong.exchange_client_credentials().request(&http).unwrap_err();
        let oauth2::RequestTokenError::ServerResponse(refused) = refused else { panic!("{refused:?}") };
        assert_eq!(*refused.error(), oauth2::basic::BasicErrorResponseType::InvalidClient);
    }
}

#[test]
fn older_spellings_give_the_same_tokens() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("twin").scope("read:a").run();
    let twin = root.create_key("twin").scope("read:b").run();
    let (id, secret) = (key.id(), key.secret());
    let login = |pairs: &[(&str, &str)]| post(&server, "/api/login", None, pairs);
    for more in [&[][..], &[("grant_type", "client_credentials")]] {
        let pairs = [&[("client_id", &*id), ("client_secret", &*secret)][..], more].concat();
        let token = login(&pairs).token();
        assert_eq!(claims(&server, &token, server.base(), server.base())["sub"], json!(id));
    }
    assert_eq!(login(&[("grant_type", "password")]).error(), "unsupported_grant_type");
    let email = text(&root.key(&id, "email").unwrap()["email"]);
    let by_name = |name: &str, secret: &str| {
        post(&server, "/auth/v1/api-key/token", None, &[("name", name), ("secret", secret), ("scope", "")])
    };
    // The secret decides which of two keys of a name it is.
    for (name, key) in [("twin", &key), (email.as_str(), &key), ("twin", &twin)] {
        let token = by_name(name, &key.secret()).token();
        assert_eq!(claims(&server, &token, server.base(), server.base())["sub"], json!(key.id()));
    }
    let unknown = keyledger::secret::Secret::mint("kl", keyledger_schema::Environment::Production, &[9; 32]);
    let (wrong_name, wrong_secret) = (by_name("other", &secret), by_name("twin", unknown.expose()));
    assert_eq!((wrong_name.status, wrong_name.error()), (401, "invalid_client"));
    assert_eq!(wrong_name.body, wrong_secret.body);
    assert_eq!(by_name("", &secret).error(), "invalid_request");
}

#[test]
fn scopes_narrow_and_never_widen() {
    let server = Server::fresh();
    let root = server.root();
    let role = "mutation { createRole(input: { name: \"r\", scopes: [{ action: WRITE, resource: \"tickets/*\" }] }) { role { id } } }";
    let role = text(&data(&root, role, &json!({}))["createRole"]["role"]["id"]);
    let key = root.create_key("a").scope("read:customers/**").with("roleIds", json!([role])).run();
    let asked = |scope: &str| exchange(&server, &key, &[("scope", scope)]);
    assert_eq!(exchange(&server, &key, &[]).body["scope"], "read:customers/** write:tickets/*");
    for (scope, given) in [
        ("read:customers/42", "read:customers/42"),
        ("read:/customers/42/", "read:customers/42"),
        ("write:tickets/7 read:customers/* write:tickets/7", "read:customers/* write:tickets/7"),
        ("read:customers/**", "read:customers/**"),
    ] {
        assert_eq!(asked(scope).body["scope"], given, "{scope}");
    }
    for scope in [
        "read:*",
        "*:customers/42",
        "write:customers/42",
        "write:tickets/**",
        "read:customers/1 admin:x",
        "x",
        "read:a//b",
        " ",
    ] {
        let reply = asked(scope);
        assert_eq!((reply.status, reply.error()), (400, "invalid_scope"), "{scope}");
    }
    let narrow = asked("read:customers/42").token();
    let may = |resource: &str| {
        root.verify_with(&json!({ "key": narrow, "action": "read", "resource": resource })).unwrap().code
    };
    assert_eq!((may("customers/42"), may("customers/43")), ("VALID".into(), "INSUFFICIENT_SCOPE".into()));
    let none = root.create_key("none").run();
    assert_eq!(exchange(&server, &none, &[]).body.get("scope"), None);
    let mut wide = root.create_key("many");
    for n in 0..60 {
        wide = wide.scope(&format!("read:{n}/{}", "x".repeat(80)));
    }
    let wide = wide.run();
    let reply = exchange(&server, &wide, &[]);
    assert_eq!(reply.error(), "invalid_scope");
    assert!(text(&reply.body["error_description"]).contains("name fewer"), "{reply:?}");
    exchange(&server, &wide, &[("scope", &format!("read:7/{}", "x".repeat(80)))]).token();
}

#[test]
fn a_token_is_for_whom_it_was_asked() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").scope("read:a").run();
    let two =
        [("resource", "https://one.example/x"), ("audience", "two"), ("resource", "https://one.example/x")];
    let token = exchange(&server, &key, &two).token();
    assert_eq!(claims(&server, &token, server.base(), "two")["aud"], json!(["https://one.example/x", "two"]));
    for (audience, code) in
        [(None, "WRONG_AUDIENCE"), (Some("two"), "VALID"), (Some("three"), "WRONG_AUDIENCE")]
    {
        let answer = root.verify_with(&json!({ "key": token, "audience": audience })).unwrap();
        assert_eq!(answer.code, code, "{audience:?}");
    }
    let nine: Vec<String> = (0..9).map(|n| format!("a{n}")).collect();
    let nine: Vec<(&str, &str)> = nine.iter().map(|name| ("audience", name.as_str())).collect();
    let long = "x".repeat(256);
    for wrong in [&[("resource", "api")][..], &[("resource", "https://a#b")], &[("audience", &long)], &nine] {
        let reply = exchange(&server, &key, wrong);
        assert_eq!((reply.status, reply.error()), (400, "invalid_target"), "{wrong:?}");
    }
    // Only what nothing narrowed acts with the grants of its key.
    let root_id = text(&data(&root, "{ viewer { keyId } }", &json!({}))["viewer"]["keyId"]);
    let root_secret = &server.home().tenant().root_key;
    let asked = |more: &[(&str, &str)]| {
        let pairs = [&[("grant_type", "client_credentials")][..], more].concat();
        post(&server, "/oauth/token", Some(&basic(&root_id, root_secret)), &pairs).token()
    };
    for (more, audience, acts) in [
        (&[][..], server.base(), true),
        (&[("resource", server.base())], server.base(), true),
        (&[("resource", "https://api.example")], "https://api.example", false),
    ] {
        let token = asked(more);
        let claims = claims(&server, &token, server.base(), audience);
        assert_eq!(claims["grants"] == true, acts, "{claims}");
        let viewer = server.client(&token).graphql("{ viewer { keyId } }", &json!({}));
        assert_eq!(viewer.is_ok(), acts, "{viewer:?}");
    }
}

#[test]
fn a_token_ends_when_the_policy_or_the_key_says() {
    let server = Server::fresh();
    let root = server.root();
    let life = |key: &Mutated| exchange(&server, key, &[]).body["expires_in"].as_i64().unwrap();
    let key = root.create_key("a").run();
    assert_eq!(life(&key), 600);
    let soon = root.create_key("soon").with("expiresAt", in_millis(100_000)).run();
    assert!((40..=100).contains(&life(&soon)), "never beyond the key's own expiry");
    let rotated = root.create_key("rotated").run();
    root.rotate_key(&rotated.id(), 60).unwrap();
    assert!((30..=60).contains(&life(&rotated)), "nor beyond the overlap of its secret");
    let query = "mutation($name: String!, $parent: ID!) { createOrganization(input: { name: $name, parentId: $parent }) { organization { id } } }";
    let parent = &server.home().tenant().organization;
    let below = data(&root, query, &json!({ "name": "Below", "parent": parent }));
    let below = text(&below["createOrganization"]["organization"]["id"]);
    data(
        &root,
        "mutation($id: ID!) { bootstrapOrganization(input: { id: $id }) { events { id } } }",
        &json!({ "id": below }),
    );
    let workspace = "mutation($id: ID!) { createWorkspace(input: { organizationId: $id, name: \"w\" }) { workspace { id } } }";
    let workspace =
        text(&data(&root, workspace, &json!({ "id": below }))["createWorkspace"]["workspace"]["id"]);
    let child = root.create_key("child").with("workspaceId", workspace).run();
    set_policy(&root, &json!({ "tokenLifetime": 120 }));
    assert_eq!((life(&key), life(&child)), (120, 120), "the rule of the organization above holds below it");
    set_policy(&root, &json!({ "id": below, "tokenLifetime": 60 }));
    assert_eq!((life(&key), life(&child)), (120, 60));
    let issuer = format!("{}/{below}", server.base());
    claims(&server, &exchange(&server, &child, &[]).token(), &issuer, &issuer);
}
