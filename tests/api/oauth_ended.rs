//! Tokens that are revoked or asked about, and what issuers publish.

use serde_json::{Value, json};

use crate::ask::{World, manager, text, types, world};
use crate::oauth::{Reply, basic, claims, exchange, post, send};
use crate::support::{Client, Mutated, Server};

fn introspect(server: &Server, authorization: &str, token: &str) -> Value {
    let reply = post(server, "/oauth/introspect", Some(authorization), &[("token", token)]);
    assert_eq!((reply.status, reply.header("cache-control")), (200, "no-store"), "{reply:?}");
    reply.body
}

fn revoke(server: &Server, authorization: &str, token: &str) -> Reply {
    let pairs = [("token", token), ("token_type_hint", "access_token")];
    post(server, "/oauth/revoke", Some(authorization), &pairs)
}

fn own(key: &Mutated) -> String {
    basic(&key.id(), &key.secret())
}

fn code(root: &Client, token: &str) -> String {
    root.verify(token).unwrap().code
}

#[test]
fn a_service_and_the_client_itself_are_told_what_a_token_is() {
    let World { server, root, other_tenant, .. } = world();
    let asker = format!("Bearer {}", server.home().tenant().root_key);
    let stranger = format!("Bearer {}", other_tenant.root_key);
    let key = root.create_key("a").scope("read:customers/**").scope("write:a").run();
    let second = root.create_key("b").run();
    let token = exchange(&server, &key, &[]).token();
    for authorization in [&asker, &own(&key)] {
        let told = introspect(&server, authorization, &token);
        assert_eq!(told["active"], true, "{told}");
        let claims = claims(&server, &token, server.base(), server.base());
        for name in ["scope", "client_id", "exp", "iat", "nbf", "sub", "aud", "iss", "jti", "org", "env"] {
            assert_eq!(told[name], claims[name], "{name}");
        }
        assert_eq!(told["token_type"], "Bearer");
    }
    let inactive = json!({ "active": false });
    for (authorization, token) in [
        (&stranger, token.as_str()),
        (&own(&second), &token),
        (&asker, "nonsense"),
        (&asker, &key.secret()),
        (&asker, &token[..token.len() - 2]),
    ] {
        assert_eq!(introspect(&server, authorization, token), inactive);
    }
    // What the key lost is lost to its tokens.
    let scopes = json!([{ "action": "READ", "resource": "customers/42" }]);
    root.mutate("updateKey", &json!({ "id": key.id(), "scopes": scopes })).unwrap();
    assert_eq!(introspect(&server, &asker, &token)["scope"], "read:customers/42");
    root.disable_key(&key.id()).unwrap();
    assert_eq!(introspect(&server, &asker, &token), inactive);
    root.enable_key(&key.id()).unwrap();
    assert_eq!(introspect(&server, &asker, &token)["active"], true);
    let abroad = exchange(&server, &key, &[("audience", "them")]).token();
    // For whom it is, the answer tells; whoever names an audience has it checked.
    let told = introspect(&server, &asker, &abroad);
    assert_eq!((&told["active"], &told["aud"]), (&json!(true), &json!("them")));
    for (audience, active) in [("them", true), ("others", false)] {
        let named = [("token", abroad.as_str()), ("audience", audience)];
        assert_eq!(post(&server, "/oauth/introspect", Some(&asker), &named).body["active"], active);
    }
    root.revoke_key(&key.id(), "UNUSED").unwrap();
    assert_eq!(introspect(&server, &asker, &token), inactive);
    // Who is nobody, and who may verify nothing, is not told.
    let none = post(&server, "/oauth/introspect", None, &[("token", &token)]);
    assert_eq!((none.status, none.error()), (401, "invalid_client"));
    let plain = format!("Bearer {}", second.secret());
    let refused = post(&server, "/oauth/introspect", Some(&plain), &[("token", &token)]);
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, r#"Bearer realm="keyledger""#));
    assert_eq!(post(&server, "/oauth/introspect", Some(&asker), &[]).error(), "invalid_request");
}

#[test]
fn a_revoked_token_is_bad_at_once_and_for_good() {
    let home = crate::support::Home::initialized();
    let (other_tenant, workspace) = (home.init("Other"), home.tenant().workspace.clone());
    // Its port changes with the restart, and tokens are good for one issuer.
    let issuer = ["--public-url", "https://keys.example"];
    let server = Server::start(&home, &issuer);
    let root = server.root();
    let key = root.create_key("a").run();
    let second = root.create_key("b").run();
    let manager = manager(&root, "WORKSPACE_MANAGER", &workspace);
    let verifier = crate::ask::manager(&root, "VERIFIER", &workspace);
    let token = || exchange(&server, &key, &[]).token();
    let (by_client, by_manager, kept) = (token(), token(), token());
    // Others are told the same, and nothing happens.
    let stranger = format!("Bearer {}", other_tenant.root_key);
    for (authorization, text) in [
        (&own(&second), kept.as_str()),
        (&stranger, &kept),
        (&own(&key), "nonsense"),
        (&own(&key), &key.secret()),
    ] {
        let reply = revoke(&server, authorization, text);
        assert_eq!((reply.status, reply.header("cache-control")), (200, "no-store"), "{reply:?}");
    }
    let lacking = revoke(&server, &format!("Bearer {}", verifier.secret()), &kept);
    // A verifier may not know of keys, only of their secrets.
    assert_eq!(lacking.status, 200, "{lacking:?}");
    let wrong = revoke(&server, &basic(&key.id(), &second.secret()), &kept);
    assert_eq!((wrong.status, wrong.error()), (401, "invalid_client"));
    let revocations = || {
        let events = root.key(&key.id(), "events { nodes { type actor { id } } }").unwrap();
        let nodes = events["events"]["nodes"].as_array().unwrap().clone();
        let of_tokens = nodes.into_iter().filter(|event| text(&event["type"]).starts_with("key.token"));
        of_tokens.map(|event| text(&event["actor"]["id"])).collect::<Vec<_>>()
    };
    assert!(revocations().is_empty() && types(&root, &key.id()).contains(&"command.refused".to_owned()));
    let authorizations = [own(&key), format!("Bearer {}", manager.secret())];
    for (authorization, token) in authorizations.iter().zip([&by_client, &by_manager]) {
        assert_eq!(code(&root, token), "VALID");
        for _ in 0..2 {
            assert_eq!(revoke(&server, authorization, token).status, 200);
            assert_eq!(code(&root, token), "TOKEN_REVOKED");
            assert_eq!(introspect(&server, &own(&key), token), json!({ "active": false }));
        }
    }
    assert_eq!(revocations(), [key.id(), manager.id()], "what is repeated writes nothing");
    assert_eq!(code(&root, &kept), "VALID");
    // Whoever holds a key that is switched off may still end its tokens.
    root.disable_key(&key.id()).unwrap();
    assert_eq!(revoke(&server, &own(&key), &kept).status, 200);
    root.enable_key(&key.id()).unwrap();
    let (good, key_secret) = (token(), key.secret());
    let server = Server::start(&server.stop(), &issuer);
    let root = server.root();
    for revoked in [&by_client, &by_manager, &kept] {
        assert_eq!(code(&root, revoked), "TOKEN_REVOKED", "after a restart");
    }
    assert_eq!(code(&root, &good), "VALID", "so is what was not revoked");
    assert!(!server.log().contains(&key_secret));
}

#[test]
fn issuers_tell_of_themselves_and_of_nobody_else() {
    let World { server, root, other, other_tenant, .. } = world();
    let issuer = format!("{}/{}", server.base(), other_tenant.organization);
    let (ours, theirs) = (root.create_key("a").run(), other.create_key("b").run());
    let get = |path: &str| send(&server, "GET", path, &[], "");
    let document = get("/.well-known/oauth-authorization-server").body;
    let base = server.base();
    assert_eq!(document["issuer"], json!(base));
    assert_eq!(document["token_endpoint"], json!(format!("{base}/oauth/token")));
    assert_eq!(document["jwks_uri"], json!(format!("{base}/.well-known/jwks.json")));
    assert_eq!(document["grant_types_supported"], json!(["client_credentials"]));
    for path in ["/.well-known/oauth-authorization-server/ORG", "/ORG/.well-known/oauth-authorization-server"]
    {
        let document = get(&path.replace("ORG", &other_tenant.organization)).body;
        assert_eq!(document["issuer"], json!(issuer), "{path}");
        assert_eq!(document["token_endpoint"], json!(format!("{base}/oauth/token")));
        assert_eq!(document["jwks_uri"], json!(format!("{issuer}/.well-known/jwks.json")));
    }
    let (one, two) = (exchange(&server, &ours, &[]).token(), exchange(&server, &theirs, &[]).token());
    claims(&server, &one, base, base);
    claims(&server, &two, &issuer, &issuer);
    let of_first = get("/.well-known/jwks.json");
    let of_other = get(&format!("/{}/.well-known/jwks.json", other_tenant.organization));
    assert_ne!(of_first.body, of_other.body);
    assert_eq!(of_first.header("cache-control"), "public, max-age=300");
    let again =
        send(&server, "GET", "/.well-known/jwks.json", &[("If-None-Match", of_first.header("etag"))], "");
    assert_eq!((again.status, again.header("etag")), (304, of_first.header("etag")));
    assert_eq!(send(&server, "HEAD", "/.well-known/jwks.json", &[], "").status, 200);
    for path in [
        "/org_00000000000000000000000000/.well-known/jwks.json",
        "/x/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server/x",
    ] {
        assert_eq!(get(path).status, 404, "{path}");
    }
    // Nothing is taken from what a client says of the host.
    let lied =
        [("Host", "evil.example"), ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https")];
    assert_eq!(send(&server, "GET", "/.well-known/oauth-authorization-server", &lied, "").body, document);
    assert_eq!(code(&root, &two), "NOT_FOUND", "another tenant's token is nobody's");
}

#[test]
fn the_public_url_is_where_the_operator_says() {
    let home = crate::support::Home::initialized();
    let server = Server::start(&home, &["--public-url", "https://keys.example/api"]);
    let key = server.root().create_key("a").run();
    let token = exchange(&server, &key, &[]).token();
    let told = introspect(&server, &own(&key), &token);
    assert_eq!((&told["iss"], &told["active"]), (&json!("https://keys.example/api"), &json!(true)));
    for path in ["/.well-known/oauth-authorization-server/api", "/.well-known/oauth-authorization-server"] {
        let document = send(&server, "GET", path, &[], "").body;
        assert_eq!(document["issuer"], "https://keys.example/api", "{path}");
        assert_eq!(document["revocation_endpoint"], "https://keys.example/api/oauth/revoke");
    }
    let warned = |server: &Server| server.log().matches("public_url is not set").count();
    assert_eq!(warned(&server), 0);
    let home = server.stop();
    let proxy = ["--trusted-proxy", "10.0.0.0/8"];
    let server = Server::start(&home, &proxy);
    assert_eq!(warned(&server), 1, "{}", server.log());
    assert!(server.log().contains("set --public-url") && server.log().contains(server.base()));
    let home = server.stop();
    let server = Server::start(&home, &[]);
    assert_eq!(warned(&server), 0, "nobody else reaches it");
    let home = server.stop();
    let other = ["--public-url", "https://other.example"];
    let server = Server::start(&home, &[&proxy[..], &other].concat());
    assert_eq!(warned(&server), 0);
    assert_eq!(code(&server.root(), &token), "NOT_FOUND", "a token of another issuer");
}

#[test]
fn beyond_a_thousand_single_revocations_all_so_far_are_revoked() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").run();
    let kept = exchange(&server, &key, &[]).token();
    // By somebody who may manage it: the key itself has to take its time.
    let authorization = format!("Bearer {}", server.home().tenant().root_key);
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                for _ in 0..126 {
                    let token = exchange(&server, &key, &[]).token();
                    assert_eq!(revoke(&server, &authorization, &token).status, 200);
                }
            });
        }
    });
    assert_eq!(code(&root, &kept), "TOKEN_REVOKED");
    let after = exchange(&server, &key, &[]).token();
    assert_eq!(code(&root, &after), "VALID");
    assert!(root.verify(&key.secret()).unwrap().valid);
}

#[test]
fn a_key_ends_so_many_of_its_tokens_a_minute_and_hears_of_it() {
    let server = Server::fresh();
    let root = server.root();
    let key = root.create_key("a").run();
    let token = || exchange(&server, &key, &[]).token();
    let first = token();
    assert_eq!(revoke(&server, &own(&key), &first).status, 200);
    std::thread::scope(|threads| {
        for _ in 0..9 {
            threads.spawn(|| {
                for _ in 0..11 {
                    assert_eq!(revoke(&server, &own(&key), &token()).status, 200);
                }
            });
        }
    });
    let written = || {
        let events = root.key(&key.id(), "events(first: 200) { nodes { type data } }").unwrap();
        let nodes = events["events"]["nodes"].as_array().unwrap().clone();
        let of = |name: &str| nodes.iter().filter(|event| event["type"] == name).cloned().collect::<Vec<_>>();
        (of("key.token_revoked").len(), of("command.refused"))
    };
    assert_eq!(written(), (100, Vec::new()));
    let kept = token();
    for _ in 0..5 {
        let refused = revoke(&server, &own(&key), &kept);
        assert_eq!((refused.status, refused.error()), (429, "temporarily_unavailable"), "{refused:?}");
        let after: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&after), "{after}");
        let description = text(&refused.body["error_description"]);
        assert!(description.contains("at most 100") && description.contains("revokeTokens"), "{description}");
        // What is done already stays done, and writes nothing.
        assert_eq!(revoke(&server, &own(&key), &first).status, 200);
    }
    assert_eq!(code(&root, &kept), "VALID");
    let (revoked, refusals) = written();
    assert_eq!((revoked, refusals.len()), (100, 1), "the others are counted: {refusals:?}");
    assert_eq!(refusals[0]["data"]["code"], "TOO_MANY_REQUESTS", "{refusals:?}");
    // Another key is not held up, nor is who may manage this one.
    let second = root.create_key("b").run();
    let other = exchange(&server, &second, &[]).token();
    assert_eq!(revoke(&server, &own(&second), &other).status, 200);
    let manager = format!("Bearer {}", server.home().tenant().root_key);
    assert_eq!(revoke(&server, &manager, &kept).status, 200);
    assert_eq!((code(&root, &kept), code(&root, &other)), ("TOKEN_REVOKED".into(), "TOKEN_REVOKED".into()));
}
