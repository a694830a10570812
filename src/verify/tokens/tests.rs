use std::collections::BTreeMap;

use keyledger_projections::OrganizationState;
use keyledger_projections::organization::SigningKey;
use keyledger_schema::event::Hex32;
use keyledger_schema::{OrganizationId, Policy};

use super::*;
use crate::secret::MasterKey;
use crate::token::claims::Audience;
use crate::token::jwt::Minter;
use crate::verify::fixture::{self, NOW, key, organization};

const URL: &str = "https://keys.example";

fn master() -> MasterKey {
    MasterKey::new([3; 32])
}

/// Organization `n` with the signing keys of these generations.
fn tenant(n: u128, generations: &[u32]) -> OrganizationState {
    let id = organization(n);
    let public = |generation| Hex32(master().signing_key(id, generation).verifying_key().to_bytes());
    let added = |&generation: &u32| SigningKey {
        generation,
        public_key: public(generation),
        added_at: NOW,
        signs_from: NOW,
        retired_at: None,
        revoked_at: None,
    };
    OrganizationState {
        id,
        name: "a".into(),
        slug: "a".into(),
        parent: None,
        created_at: Timestamp::from_micros(i64::try_from(n).unwrap()),
        signing_keys: generations.iter().map(added).collect(),
        policy: Policy::default(),
        acknowledgement: Vec::new(),
        joined_at: NOW,
        roles: BTreeMap::new(),
        open_revocations: Vec::new(),
        revision: 0,
    }
}

fn tokens() -> Tokens {
    let keyring = Arc::new(Keyring::new(URL));
    keyring.organization_changed(&tenant(1, &[1, 2]));
    keyring.organization_changed(&tenant(2, &[1]));
    Tokens::new(keyring)
}

/// What a token of key 7 of organization 1 says.
fn claims() -> Claims {
    Claims { scope: "read:customers/** write:a".into(), ..fixture::claims(7, URL) }
}

fn signed_by(organization: OrganizationId, generation: u32, claims: &Claims) -> String {
    Minter::new(master().signing_key(organization, generation)).mint(claims).unwrap()
}

fn mint(claims: &Claims) -> String {
    signed_by(organization(1), 1, claims)
}

fn code(tokens: &Tokens, text: &str) -> VerificationCode {
    tokens.read(text).err().unwrap_or(VerificationCode::Valid)
}

#[test]
fn a_token_that_was_signed_here_is_read_and_remembered() {
    let tokens = tokens();
    let text = mint(&claims());
    for _ in 0..3 {
        let signed = tokens.read(&text).unwrap();
        assert_eq!(signed.claims, claims());
        let scopes: Vec<String> = signed.scopes.iter().map(ToString::to_string).collect();
        assert_eq!(scopes, ["read:customers/**", "write:a"]);
    }
    assert_eq!(tokens.cache.size().0, 1);
    let bare = Claims { scope: "".into(), ..claims() };
    assert!(tokens.read(&mint(&bare)).unwrap().scopes.is_empty());
}

#[test]
fn what_nobody_here_signed_for_this_organization_is_nobodys() {
    let tokens = tokens();
    let theirs =
        Claims { iss: format!("{URL}/{}", organization(2)).into(), org: organization(2), ..claims() };
    assert_eq!(code(&tokens, &signed_by(organization(2), 1, &theirs)), VerificationCode::Valid);
    let cases = [
        // Of another organization, by whichever of the two names.
        signed_by(organization(2), 1, &claims()),
        signed_by(organization(2), 1, &Claims { iss: URL.into(), ..theirs.clone() }),
        signed_by(organization(2), 1, &Claims { org: organization(1), ..theirs.clone() }),
        mint(&theirs),
        // A key that there is not, yet or any more.
        signed_by(organization(1), 3, &claims()),
        signed_by(organization(3), 1, &claims()),
        // Another issuer.
        mint(&Claims { iss: "https://evil.example".into(), ..claims() }),
        mint(&Claims { iss: format!("{URL}/").into(), ..claims() }),
        mint(&Claims { client_id: key(8), ..claims() }),
        // What no key can hold.
        mint(&Claims { scope: "read:a/**/b".into(), ..claims() }),
    ];
    for (number, text) in cases.iter().enumerate() {
        assert_eq!(code(&tokens, text), VerificationCode::NotFound, "case {number}");
        assert_eq!(code(&tokens, text), VerificationCode::NotFound, "case {number}, asked again");
    }
    // A name that fits and a signature of another key.
    let (ours, other) = (mint(&claims()), signed_by(organization(1), 2, &claims()));
    let (head, _) = ours.split_once('.').unwrap();
    let (_, rest) = other.split_once('.').unwrap();
    assert_eq!(code(&tokens, &format!("{head}.{rest}")), VerificationCode::NotFound);
}

#[test]
fn what_is_changed_anywhere_is_no_token_any_more() {
    let tokens = tokens();
    let text = mint(&claims());
    assert_eq!(code(&tokens, &text), VerificationCode::Valid);
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_ne!(code(&tokens, &changed), VerificationCode::Valid, "{at}");
    }
    let (_, rest) = text.split_once('.').unwrap();
    assert_eq!(code(&tokens, &format!("{text}.")), VerificationCode::Malformed);
    assert_eq!(code(&tokens, &format!("eyJhbGciOiJub25lIn0.{rest}")), VerificationCode::Malformed);
}

#[test]
fn a_change_of_signing_keys_is_seen_by_the_next_one_who_asks() {
    let tokens = tokens();
    let text = mint(&claims());
    assert!(!tokens.presented(&tokens.read(&text).unwrap(), None).signer_revoked);
    let caller = tokens.read(&text).unwrap().of_caller();
    let mut changed = tenant(1, &[1, 2]);
    changed.signing_keys[0].revoked_at = Some(NOW);
    tokens.keyring.organization_changed(&changed);
    assert!(tokens.presented(&tokens.read(&text).unwrap(), None).signer_revoked);
    assert!(tokens.keyring.find(&caller.kid).unwrap().revoked);
    changed.signing_keys[0].retired_at = Some(NOW);
    tokens.keyring.organization_changed(&changed);
    assert_eq!(code(&tokens, &text), VerificationCode::NotFound);
    assert_eq!(tokens.cache.size(), (0, 0));
}

#[test]
fn who_began_before_a_change_leaves_nothing_behind_it() {
    let cache = Cache::default();
    let tokens = tokens();
    let token = tokens.read(&mint(&claims())).unwrap();
    assert!(cache.find(&[1; 32], 5).is_none());
    cache.put([1; 32], &token, 4);
    assert!(cache.find(&[1; 32], 5).is_none() && cache.find(&[1; 32], 4).is_none());
    cache.put([1; 32], &token, 5);
    assert!(cache.find(&[1; 32], 5).is_some() && cache.find(&[1; 32], 4).is_none());
    assert!(cache.find(&[1; 32], 6).is_none() && cache.size() == (0, 0));
}

#[test]
fn memory_is_bounded_and_what_is_used_stays() {
    let cache = Cache::default();
    let tokens = tokens();
    let long = Claims { scope: "read:abcdefgh/** ".repeat(300).trim_end().into(), ..claims() };
    let token = tokens.read(&mint(&long)).unwrap();
    assert!(token.bytes() > 10_000);
    let name = |n: u32| *blake3::hash(&n.to_le_bytes()).as_bytes();
    cache.put(name(0), &token, 1);
    for n in 1..20_000 {
        cache.put(name(n), &token, 1);
        assert!(n % 50 != 0 || cache.find(&name(0), 1).is_some(), "{n}");
    }
    let (count, bytes) = cache.size();
    assert!(bytes <= 64 * 1024 * 1024 && count > 1_000, "{count} in {bytes}");
    assert!(cache.find(&name(1), 1).is_none() && cache.find(&name(19_999), 1).is_some());
}

#[test]
fn a_token_is_for_those_whom_it_names() {
    let tokens = tokens();
    let fits = |aud: &[&str], asked: Option<&str>| {
        let all = aud.iter().map(|one| Box::from(*one)).collect();
        let token = tokens.read(&mint(&Claims { aud: Audience::new(all), ..claims() })).unwrap();
        tokens.presented(&token, asked).for_asker
    };
    assert!(fits(&[URL], None) && fits(&[URL], Some(URL)) && !fits(&[URL], Some("https://api.example")));
    assert!(
        !fits(&["https://api.example"], None) && fits(&["https://api.example"], Some("https://api.example"))
    );
    assert!(!fits(&["https://api.example"], Some("https://api.example/")));
    let both = ["https://api.example", URL];
    assert!(fits(&both, None) && fits(&both, Some(URL)) && fits(&both, Some("https://api.example")));
    assert!(!fits(&[&format!("{URL}/{}", organization(2))], None) && !fits(&[], None));
}

#[test]
fn a_biscuit_is_read_by_the_number_of_its_key_and_remembered() {
    let tokens = tokens();
    let mint = |organization, generation, claims: &Claims| {
        biscuit::mint(claims, &master().signing_key(organization, generation), &[5; 32]).unwrap()
    };
    let text = mint(organization(1), 2, &claims());
    for _ in 0..2 {
        let signed = tokens.read(&text).unwrap();
        assert_eq!(signed.claims, Claims { grants: false, ..claims() });
        assert_eq!(signed.scopes.len(), 2);
        assert!(tokens.presented(&signed, None).narrowed.is_none());
    }
    assert_eq!(tokens.cache.size().0, 1);
    let theirs =
        Claims { iss: format!("{URL}/{}", organization(2)).into(), org: organization(2), ..claims() };
    assert_eq!(code(&tokens, &mint(organization(2), 1, &theirs)), VerificationCode::Valid);
    for text in [
        mint(organization(2), 1, &claims()),
        mint(organization(1), 1, &theirs),
        mint(organization(1), 3, &claims()),
        mint(organization(1), 1, &Claims { iss: "https://evil.example".into(), ..claims() }),
    ] {
        assert_eq!(code(&tokens, &text), VerificationCode::NotFound);
    }
    // What holders added is remembered with it.
    let narrowing = biscuit::Narrowing { actions: ["read"].into(), ..biscuit::Narrowing::default() };
    let narrowed = narrowing.of(&text, &[6; 32]).unwrap();
    for _ in 0..2 {
        assert!(tokens.presented(&tokens.read(&narrowed).unwrap(), None).narrowed.is_some());
    }
    tokens.keyring.organization_changed(&tenant(1, &[1]));
    assert_eq!(code(&tokens, &text), VerificationCode::NotFound, "its key is retired");
    assert_eq!(code(&tokens, &narrowed), VerificationCode::NotFound);
    assert_eq!(code(&tokens, &narrowed[..narrowed.len() / 2]), VerificationCode::Malformed);
}
