//! Tokens, wherever keys are accepted. Nothing here exchanges one: they are signed as an exchange signs them, and in
//! every wrong way.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyledger::edge::Edge;
use keyledger::error::Code;
use keyledger::secret::MasterKey;
use keyledger::token::Claims;
use keyledger::token::claims::Audience;
use keyledger::token::jwt::Minter;
use keyledger::verify::Inquiry;
use keyledger_projections::key::PreviousSecret;
use keyledger_projections::organization::SigningKey;
use keyledger_projections::{KeyState, OrganizationState, RoleState};
use keyledger_schema::event::Hex32;
use keyledger_schema::{
    Grant, GrantRole, GrantTarget, Means, OrganizationId, Personal, Policy, RateLimit, RoleDefinition,
    RoleId, RoleScope, Source, Timestamp, TokenId,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::world::{
    Answer, URL, VERIFIER, World, key, organization, record, secret, verifier_grant, workspace,
};
use super::{in_seconds, revoked};

/// The number of the key that has tokens.
const KEY: u8 = 7;

fn signing_key(organization: OrganizationId, generation: u32) -> ed25519_dalek::SigningKey {
    MasterKey::new([1; 32]).signing_key(organization, generation)
}

/// Organization `n` with its first signing key.
fn tenant(n: u128) -> OrganizationState {
    let id = organization(n);
    let at = Timestamp::from_micros(i64::try_from(n).unwrap());
    OrganizationState {
        id,
        name: "a".into(),
        slug: "a".into(),
        parent: None,
        created_at: at,
        signing_keys: vec![SigningKey {
            generation: 1,
            public_key: Hex32(signing_key(id, 1).verifying_key().to_bytes()),
            added_at: at,
            signs_from: at,
            retired_at: None,
            revoked_at: None,
        }],
        policy: Policy::default(),
        acknowledgement: Vec::new(),
        joined_at: at,
        roles: BTreeMap::new(),
        open_revocations: Vec::new(),
        revision: 0,
    }
}

fn world(keys: &[KeyState]) -> World {
    let world = World::with(keys, &[]);
    for n in [1, 2] {
        world.keyring.organization_changed(&tenant(n));
        world.directory.organization_changed(&tenant(n), &[], &Policy::default());
    }
    world
}

fn now() -> i64 {
    Edge::default().now().micros() / 1_000_000
}

/// What a token of a key says that was made now.
fn claims(n: u8) -> Claims {
    let now = now();
    let id = key(n).id;
    Claims {
        iss: URL.into(),
        sub: id,
        aud: Audience::One(URL.into()),
        exp: now + 600,
        nbf: now,
        iat: now,
        jti: TokenId::from_uuid(Edge::default().uuid()),
        client_id: id,
        scope: "read:customers/**".into(),
        org: organization(1),
        workspace: workspace(1),
        env: keyledger_schema::Environment::Production,
        secret: 1,
        epoch: 0,
        grants: true,
    }
}

fn mint(claims: &Claims) -> String {
    Minter::new(signing_key(organization(1), 1)).mint(claims).unwrap()
}

fn body(token: &str, more: &Value) -> Vec<u8> {
    let mut body = json!({ "key": token });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string().into_bytes()
}

fn ask(world: &World, token: &str, more: &Value) -> Value {
    world.verify_as(Some(VERIFIER), &body(token, more)).json()
}

fn code(world: &World, token: &str) -> String {
    code_of(world, token, &json!({}))
}

fn code_of(world: &World, token: &str, more: &Value) -> String {
    ask(world, token, more)["code"].as_str().unwrap().to_owned()
}

/// A key as it becomes.
fn change(world: &World, change: impl FnOnce(&mut KeyState)) -> KeyState {
    let before = key(KEY);
    let mut after = before.clone();
    after.revision += 1;
    change(&mut after);
    world.directory.apply(Some(&before), &after);
    after
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    actix_web::rt::System::new().block_on(work)
}

#[test]
fn a_token_is_answered_like_its_key_and_told_of() {
    let world = world(&[key(KEY)]);
    let claims = claims(KEY);
    let token = mint(&claims);
    let more = json!({ "action": "read", "resource": "customers/42", "environment": "production" });
    let of_key = ask(&world, secret(KEY).expose(), &more);
    for _ in 0..2 {
        let mut answer = ask(&world, &token, &more);
        let told = answer.as_object_mut().unwrap().remove("token").unwrap();
        assert_eq!(answer, of_key);
        let moment = |seconds: i64| json!(Timestamp::from_micros(seconds * 1_000_000));
        assert_eq!(
            told,
            json!({
                "id": claims.jti, "scope": "read:customers/**", "audience": URL,
                "issuedAt": moment(claims.iat), "expiresAt": moment(claims.exp),
            })
        );
    }
    let bearer = format!("Bearer {token}");
    let allowed = world.authorize("?action=read&resource=customers/42", &[("Authorization", &bearer)]);
    assert_eq!((allowed.status, allowed.header("keyledger-code")), (200, Some("VALID")));
    assert_eq!(world.authorize("", &[("X-API-Key", &token)]).status, 200);
    let denied = world.authorize("?action=write&resource=customers/42", &[("Authorization", &bearer)]);
    assert_eq!((denied.status, denied.header("keyledger-code")), (403, Some("INSUFFICIENT_SCOPE")));
    let records = world.recorded();
    assert!(records.iter().all(|(organization, _, record)| {
        *organization == Some(super::world::organization(1))
            && record.key == Some(key(KEY).id)
            && record.secret == Some(1)
    }));
    let by_token = records.iter().filter(|(_, _, record)| record.means == Some(Means::Token));
    let by_secret = records.iter().filter(|(_, _, record)| record.means.is_none());
    assert_eq!((by_token.count(), by_secret.count()), (5, 1));
}

/// HMAC-SHA-256 (RFC 2104), as somebody signs who takes the public key for a secret one.
fn hmac(key: &[u8; 32], text: &str) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

#[test]
fn what_is_not_signed_by_the_keys_organization_is_no_token() {
    let world = world(&[key(KEY)]);
    let good = mint(&claims(KEY));
    assert_eq!(code(&world, &good), "VALID");
    let minter = Minter::new(signing_key(organization(1), 1));
    let (_, rest) = good.split_once('.').unwrap();
    let (payload, _) = rest.split_once('.').unwrap();
    let header = |alg: &str, more: &str| {
        let kid = minter.kid();
        URL_SAFE_NO_PAD.encode(format!(r#"{{"typ":"at+jwt","alg":"{alg}","kid":"{kid}"{more}}}"#))
    };
    let signed = format!("{}.{payload}", header("HS256", ""));
    let public = signing_key(organization(1), 1).verifying_key().to_bytes();
    let confused = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac(&public, &signed)));
    for text in [
        format!("{}.{payload}.", header("none", "")),
        format!("{}.{payload}.", header("EdDSA", "")),
        confused,
        format!("{}.{rest}", header("EdDSA", r#","crit":["x"],"x":1"#)),
        format!("{}.{rest}", header("EdDSA", r#","jwk":{}"#)),
        format!("{good}A"),
        format!("{good}."),
        "eyJ..".to_owned(),
    ] {
        assert_eq!(code(&world, &text), "MALFORMED", "{text}");
    }
    let other_payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims(KEY)).unwrap());
    let stranger = Minter::new(ed25519_dalek::SigningKey::from_bytes(&[9; 32]));
    let theirs = Minter::new(signing_key(organization(2), 1));
    let their_issuer = format!("{URL}/{}", organization(2));
    for text in [
        good.replacen(payload, &other_payload, 1),
        stranger.mint(&claims(KEY)).unwrap(),
        Minter::new(signing_key(organization(1), 2)).mint(&claims(KEY)).unwrap(),
        mint(&Claims { iss: "https://evil.example".into(), ..claims(KEY) }),
        mint(&Claims { iss: their_issuer.as_str().into(), ..claims(KEY) }),
        // Another organization signs for this one's key, however it calls itself.
        theirs.mint(&claims(KEY)).unwrap(),
        theirs.mint(&Claims { iss: their_issuer.as_str().into(), ..claims(KEY) }).unwrap(),
        theirs
            .mint(&Claims { iss: their_issuer.as_str().into(), org: organization(2), ..claims(KEY) })
            .unwrap(),
        // Keys and secrets that there are not.
        mint(&claims(KEY + 1)),
        mint(&Claims { secret: 2, ..claims(KEY) }),
    ] {
        let answer = ask(&world, &text, &json!({}));
        assert_eq!(answer["code"], "NOT_FOUND", "{text}");
        assert!(answer.get("keyId").is_none() && answer.get("token").is_none());
    }
}

#[test]
fn the_end_is_exact_and_the_beginning_may_be_seconds_off() {
    let world = world(&[key(KEY)]);
    let at = now();
    for (claims, expected) in [
        (Claims { exp: at, ..claims(KEY) }, "TOKEN_EXPIRED"),
        (Claims { exp: at - 600, iat: at - 1_200, nbf: at - 1_200, ..claims(KEY) }, "TOKEN_EXPIRED"),
        (Claims { nbf: at + 3, ..claims(KEY) }, "VALID"),
        (Claims { iat: at + 3, ..claims(KEY) }, "VALID"),
        (Claims { nbf: at + 60, ..claims(KEY) }, "NOT_FOUND"),
        (Claims { iat: at + 60, ..claims(KEY) }, "NOT_FOUND"),
        (Claims { nbf: i64::MAX, iat: i64::MIN, exp: i64::MAX, ..claims(KEY) }, "NOT_FOUND"),
        (Claims { exp: i64::MIN, ..claims(KEY) }, "TOKEN_EXPIRED"),
    ] {
        assert_eq!(code(&world, &mint(&claims)), expected, "{claims:?}");
    }
    // What was good is remembered, and expires all the same.
    let short = mint(&Claims { exp: now() + 2, ..claims(KEY) });
    assert_eq!(code(&world, &short), "VALID");
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    assert_eq!(code(&world, &short), "TOKEN_EXPIRED");
}

#[test]
fn a_token_is_for_its_audience() {
    let world = world(&[key(KEY)]);
    let api = "https://api.example/v1";
    let ours = mint(&claims(KEY));
    let theirs = mint(&Claims { aud: Audience::One(api.into()), ..claims(KEY) });
    let both = Audience::new(vec![api.into(), URL.into()]);
    let both = mint(&Claims { aud: both, ..claims(KEY) });
    let (here, there) = (json!({}), json!({ "audience": api }));
    for (token, more, expected) in [
        (&ours, &here, "VALID"),
        (&ours, &there, "WRONG_AUDIENCE"),
        (&theirs, &here, "WRONG_AUDIENCE"),
        (&theirs, &there, "VALID"),
        (&theirs, &json!({ "audience": "https://api.example/v1/" }), "WRONG_AUDIENCE"),
        (&both, &here, "VALID"),
        (&both, &there, "VALID"),
    ] {
        assert_eq!(code_of(&world, token, more), expected, "{more}");
    }
    assert_eq!(ask(&world, &both, &there)["token"]["audience"], json!([api, URL]));
    // A secret is for nobody in particular.
    assert_eq!(code_of(&world, secret(KEY).expose(), &there), "VALID");
    let bearer = format!("Bearer {theirs}");
    let headers = [("Authorization", bearer.as_str())];
    assert_eq!(world.authorize("?audience=https%3A%2F%2Fapi.example%2Fv1", &headers).status, 200);
    let denied = world.authorize("", &headers);
    assert_eq!((denied.status, denied.header("keyledger-code")), (401, Some("WRONG_AUDIENCE")));
    let requests = [body(&theirs, &there), body(&theirs, &here)].map(|one| String::from_utf8(one).unwrap());
    let batch = format!(r#"{{"requests":[{}]}}"#, requests.join(","));
    let verifier = format!("Bearer {}", secret(VERIFIER).expose());
    let headers = [("Content-Type", "application/json"), ("Authorization", verifier.as_str())];
    let answer = World::request(world.management, "POST /v1/verify/batch", &headers, batch.as_bytes()).json();
    assert_eq!(
        (&answer["results"][0]["code"], &answer["results"][1]["code"]),
        (&json!("VALID"), &json!("WRONG_AUDIENCE"))
    );
}

#[test]
fn a_token_never_outlives_what_its_key_may() {
    let token = mint(&claims(KEY));
    let fresh = || {
        let world = world(&[key(KEY)]);
        assert_eq!(code(&world, &token), "VALID");
        world
    };
    let changed = |apply: fn(&mut KeyState)| {
        let world = fresh();
        change(&world, apply);
        code(&world, &token)
    };
    assert_eq!(changed(|key| *key = revoked(key.clone())), "REVOKED");
    assert_eq!(changed(|key| key.disabled = true), "DISABLED");
    assert_eq!(changed(|key| key.expires_at = Some(in_seconds(-1))), "EXPIRED");
    assert_eq!(changed(|key| key.deleted_at = Some(in_seconds(-1))), "NOT_FOUND");
    assert_eq!(changed(|key| key.secret.record = record(KEY + 1, 2)), "NOT_FOUND");
    let overlapping = |until: i64| {
        move |key: &mut KeyState| {
            let old = std::mem::replace(&mut key.secret.record, record(KEY + 1, 2));
            key.previous_secret =
                Some(PreviousSecret { record: old, valid_until: in_seconds(until), imported: None });
        }
    };
    for (until, expected) in [(60, "VALID"), (-1, "NOT_FOUND")] {
        let world = fresh();
        change(&world, overlapping(until));
        assert_eq!(code(&world, &token), expected);
        assert_eq!(code(&world, &mint(&Claims { secret: 2, ..claims(KEY) })), "VALID");
    }
    assert_eq!(changed(|key| key.scopes.clear()), "VALID");

    let world = fresh();
    let off = Policy { api_keys_enabled: Some(false), ..Policy::default() };
    world.directory.organization_changed(&tenant(1), &[], &off);
    assert_eq!(code(&world, &token), "KEYS_DISABLED");

    let world = fresh();
    change(&world, |key| key.allowed_cidrs = Personal(vec!["203.0.113.0/24".parse().unwrap()]));
    assert_eq!(code(&world, &token), "IP_NOT_ALLOWED");
    assert_eq!(code_of(&world, &token, &json!({ "ip": "203.0.113.9" })), "VALID");
    assert_eq!(
        code_of(&world, &token, &json!({ "ip": "203.0.113.9", "environment": "staging" })),
        "WRONG_ENVIRONMENT"
    );
}

#[test]
fn tokens_and_what_signed_them_can_be_revoked() {
    let (claims, other) = (claims(KEY), claims(KEY));
    let world = world(&[key(KEY)]);
    let (one, two) = (mint(&claims), mint(&other));
    let single = change(&world, |key| key.revoked_tokens.single.push((claims.jti, in_seconds(600))));
    assert_eq!((code(&world, &one), code(&world, &two)), ("TOKEN_REVOKED".into(), "VALID".into()));
    let mut all = single.clone();
    all.revision += 1;
    all.revoked_tokens.epoch = 1;
    world.directory.apply(Some(&single), &all);
    assert_eq!((code(&world, &one), code(&world, &two)), ("TOKEN_REVOKED".into(), "TOKEN_REVOKED".into()));
    // When it was made does not matter.
    let later = Claims { epoch: 1, ..claims };
    assert_eq!(code(&world, &mint(&later)), "VALID");
    let mut twice = KeyState { revision: all.revision + 1, ..all.clone() };
    twice.revoked_tokens.epoch = 2;
    world.directory.apply(Some(&all), &twice);
    assert_eq!(code(&world, &mint(&later)), "TOKEN_REVOKED");
    let later = Claims { epoch: 2, ..later };
    assert_eq!(code(&world, &mint(&later)), "VALID");

    let mut organization = tenant(1);
    organization.signing_keys[0].revoked_at = Some(in_seconds(0));
    world.keyring.organization_changed(&organization);
    let answer = ask(&world, &mint(&later), &json!({}));
    assert_eq!((&answer["code"], answer.get("token")), (&json!("TOKEN_REVOKED"), None));
    organization.signing_keys[0].retired_at = Some(in_seconds(0));
    world.keyring.organization_changed(&organization);
    assert_eq!(code(&world, &mint(&later)), "NOT_FOUND");
}

#[test]
fn a_token_may_what_both_it_and_its_key_may_now() {
    let role = RoleId::from_uuid(Uuid::from_u128(1));
    let with_role = KeyState { roles: vec![role], ..key(KEY) };
    let world = world(&[with_role]);
    let mut organization = tenant(1);
    let scope = RoleScope { scope: "write:customers/**".parse().unwrap(), display_name: None };
    let definition =
        RoleDefinition { name: "clerk".into(), display_name: None, description: None, scopes: vec![scope] };
    let at = in_seconds(0);
    organization
        .roles
        .insert(role, RoleState { id: role, definition, created_at: at, updated_at: at, revision: 1 });
    world.directory.organization_changed(&organization, &[], &Policy::default());
    let whole = mint(&Claims { scope: "read:customers/** write:customers/**".into(), ..claims(KEY) });
    let narrow = mint(&Claims { scope: "read:customers/42".into(), ..claims(KEY) });
    let none = mint(&Claims { scope: "".into(), ..claims(KEY) });
    let wide = mint(&Claims { scope: "*:*".into(), ..claims(KEY) });
    let may = |token: &str, action: &str, resource: &str| {
        let code = code_of(&world, token, &json!({ "action": action, "resource": resource }));
        assert!(code == "VALID" || code == "INSUFFICIENT_SCOPE", "{code}");
        code == "VALID"
    };
    assert!(may(&whole, "read", "customers/1") && may(&whole, "write", "customers/1"));
    assert!(may(&narrow, "read", "customers/42") && !may(&narrow, "read", "customers/1"));
    assert!(!may(&narrow, "write", "customers/42"));
    assert!(!may(&none, "read", "customers/42") && code(&world, &none) == "VALID");
    // Whatever a token says, it gives nothing that its key does not have.
    assert!(may(&wide, "write", "customers/1") && !may(&wide, "admin", "customers/1"));
    world.directory.organization_changed(&tenant(1), &[], &Policy::default());
    assert!(!may(&whole, "write", "customers/1") && may(&whole, "read", "customers/1"));
    assert!(!may(&wide, "write", "customers/1"));
}

#[test]
fn limits_count_a_token_as_its_key() {
    let limit = RateLimit { name: "all".into(), limit: 2, window_seconds: 3_600 };
    let world = world(&[KeyState { rate_limits: vec![limit], ..key(KEY) }]);
    let token = mint(&claims(KEY));
    let refused = mint(&Claims { aud: Audience::One("a".into()), ..claims(KEY) });
    assert_eq!(code(&world, &refused), "WRONG_AUDIENCE");
    let stranger = Minter::new(signing_key(organization(2), 1)).mint(&claims(KEY)).unwrap();
    assert_eq!(code(&world, &stranger), "NOT_FOUND");
    let answers: Vec<Value> = [token.as_str(), secret(KEY).expose(), &token]
        .iter()
        .map(|text| ask(&world, text, &json!({})))
        .collect();
    let codes: Vec<&str> = answers.iter().map(|answer| answer["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["VALID", "VALID", "RATE_LIMITED"]);
    assert_eq!(answers[0]["rateLimits"][0]["remaining"], 1);
}

#[test]
fn another_tenants_token_cannot_be_told_from_one_that_nobody_signed() {
    let limit = RateLimit { name: "all".into(), limit: 1, window_seconds: 3_600 };
    let theirs = KeyState { grants: verifier_grant(2), organization: organization(2), ..key(201) };
    let world = world(&[KeyState { rate_limits: vec![limit], ..key(KEY) }, theirs]);
    let good = mint(&claims(KEY));
    let expired = mint(&Claims { exp: now() - 1, ..claims(KEY) });
    let forged = Minter::new(signing_key(organization(2), 1)).mint(&claims(KEY)).unwrap();
    let ask = |token: &str| world.verify_as(Some(201), &body(token, &json!({ "limits": ["none"] }))).body;
    let unknown = ask(&forged);
    assert_eq!((ask(&good), ask(&expired)), (unknown.clone(), unknown));
    let records = world.recorded();
    assert_eq!(records.len(), 3);
    for (owner, by, record) in &records {
        assert_eq!((*owner, *by, record.key), (Some(organization(2)), Some(key(201).id), None));
        assert_eq!((record.means, record.secret, record.code.as_str()), (None, None, "NOT_FOUND"));
    }
    // Nothing of it was spent.
    assert_eq!(code(&world, &good), "VALID");
}

fn by_bearer(world: &World, bearer: &str) -> Answer {
    let authorization = format!("Bearer {bearer}");
    let headers = [("Content-Type", "application/json"), ("Authorization", authorization.as_str())];
    World::request(world.management, "POST /v1/verify", &headers, &body(secret(KEY).expose(), &json!({})))
}

#[test]
fn whoever_asks_may_do_so_with_a_token_that_acts_for_its_key() {
    let world = world(&[key(KEY)]);
    let good = mint(&claims(VERIFIER));
    assert_eq!(by_bearer(&world, &good).json()["code"], "VALID");
    let headers = [("Keyledger-Verifier", good.as_str()), ("X-API-Key", secret(KEY).expose())]
        .map(|(name, value)| (name, value.to_owned()));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(World::request(world.management, "GET /v1/authorize", &headers, b"").status, 200);
    let refused = by_bearer(&world, "kl_prod_nonsense");
    for claims in [
        Claims { grants: false, ..claims(VERIFIER) },
        Claims { aud: Audience::One("https://api.example".into()), ..claims(VERIFIER) },
        Claims { exp: now(), ..claims(VERIFIER) },
        Claims { nbf: now() + 60, ..claims(VERIFIER) },
        Claims { iss: "https://evil.example".into(), ..claims(VERIFIER) },
        claims(KEY),
    ] {
        let answer = by_bearer(&world, &mint(&claims));
        assert_eq!((answer.status, &answer.body), (401, &refused.body), "{claims:?}");
    }
    let recorded = world.recorded();
    let codes: Vec<&str> = recorded
        .iter()
        .filter(|(_, by, _)| by.is_none())
        .map(|(_, _, record)| record.code.as_str())
        .collect();
    for expected in ["MALFORMED", "INSUFFICIENT_SCOPE", "WRONG_AUDIENCE", "TOKEN_EXPIRED", "NOT_FOUND"] {
        assert!(codes.contains(&expected), "{expected} in {codes:?}");
    }
    let of_token = |record: &keyledger_schema::usage::UsageRecord| record.means == Some(Means::Token);
    assert!(recorded.iter().all(|(_, _, record)| record.key != Some(key(VERIFIER).id) || of_token(record)));
}

#[test]
fn whoever_calls_with_a_token_ends_with_it() {
    let manager = || {
        let on = GrantTarget::Organization(organization(1));
        KeyState { grants: vec![Grant { role: GrantRole::OrganizationAdministrator, on }], ..key(KEY) }
    };
    let begin = |exp: i64| {
        let world = world(&[manager()]);
        let claims = Claims { exp, ..claims(KEY) };
        let source = Source::default();
        let caller = block_on(world.verifier.authenticate(&mint(&claims), source)).unwrap();
        assert_eq!(caller.token.as_ref().map(|token| token.id), Some(claims.jti));
        assert!(world.verifier.still_stands(&caller).is_ok());
        (world, caller, claims)
    };
    let ended = |world: &World, caller: &keyledger::caller::Caller| {
        world.verifier.still_stands(caller).err().map(|error| error.code) == Some(Code::Unauthenticated)
    };
    let (world, caller, _) = begin(now() + 2);
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    assert!(ended(&world, &caller));

    let (world, caller, claims) = begin(now() + 600);
    let other = TokenId::from_uuid(Uuid::from_u128(77));
    let mut after = KeyState { revision: 1, ..manager() };
    after.revoked_tokens.single.push((other, in_seconds(600)));
    world.directory.apply(Some(&manager()), &after);
    assert!(!ended(&world, &caller));
    let before = after.clone();
    after.revision = 2;
    after.revoked_tokens.single.push((claims.jti, in_seconds(600)));
    world.directory.apply(Some(&before), &after);
    assert!(ended(&world, &caller));

    let (world, caller, _) = begin(now() + 600);
    let mut organization = tenant(1);
    organization.signing_keys[0].revoked_at = Some(in_seconds(0));
    world.keyring.organization_changed(&organization);
    assert!(ended(&world, &caller));

    let (world, caller, _) = begin(now() + 600);
    world.directory.apply(Some(&manager()), &KeyState { revision: 1, disabled: true, ..manager() });
    assert!(ended(&world, &caller));
}

#[test]
fn a_token_can_be_asked_about_without_being_used() {
    let limit = RateLimit { name: "all".into(), limit: 1, window_seconds: 3_600 };
    let world = world(&[KeyState { rate_limits: vec![limit], ..key(KEY) }]);
    let claims = claims(KEY);
    let theirs = Claims { aud: Audience::One("https://api.example".into()), ..claims.clone() };
    let introspect = |token: &str, audience: Option<&str>| {
        block_on(async {
            let asker = world.verifier.asker(secret(VERIFIER).expose(), None).await.unwrap();
            world.verifier.introspect(&Inquiry { token, audience, address: None }, &asker).await.unwrap()
        })
    };
    for _ in 0..3 {
        let answer = introspect(&mint(&claims), None);
        assert_eq!((answer.code.as_str(), &answer.token.unwrap().claims), ("VALID", &claims));
    }
    assert_eq!(introspect(&mint(&theirs), Some("https://b.example")).code.as_str(), "WRONG_AUDIENCE");
    assert_eq!(introspect(&mint(&theirs), Some("https://api.example")).code.as_str(), "VALID");
    let of_secret = introspect(secret(KEY).expose(), None);
    assert_eq!((of_secret.code.as_str(), of_secret.entry.is_none()), ("MALFORMED", true));
    let forged = Minter::new(signing_key(organization(2), 1)).mint(&claims).unwrap();
    assert_eq!(introspect(&forged, None).code.as_str(), "NOT_FOUND");
    let records = world.recorded();
    assert_eq!(records.len(), 7);
    assert!(records.iter().all(|(_, _, record)| record.means == Some(Means::Introspection)));
    assert!(records.iter().all(|(_, by, _)| *by == Some(key(VERIFIER).id)));
    assert_eq!(code(&world, &mint(&claims)), "VALID");
}

#[test]
fn a_token_ends_no_key() {
    let world = world(&[key(KEY)]);
    let token = mint(&claims(KEY));
    let refused = block_on(world.verifier.holder(&token, None)).unwrap_err();
    assert!(refused.code == Code::Unauthenticated && refused.message.contains("secret"));
    let found = world.verifier.identify(&token, |_| true).unwrap().unwrap();
    assert_eq!((found.entry.key, found.token.is_some()), (key(KEY).id, true));
    assert!(world.verifier.identify(&token, |_| false).unwrap().is_none());
}
