use keyledger_projections::{KeyState, KeyStatus};
use keyledger_schema::event::RevocationReason;
use keyledger_schema::{Personal, Scope};
use proptest::prelude::*;

use super::*;
use crate::verify::directory::Directory;
use crate::verify::fixture::{NOW, claims, hash, rotated, state};

fn answer(state: &KeyState, version: u32, request: &Request<'_>) -> VerificationCode {
    let directory = Directory::default();
    directory.apply(None, state);
    decide(&directory.find(&hash(7, version)).unwrap(), None, request, NOW)
}

fn after(micros: i64) -> Timestamp {
    Timestamp::from_micros(NOW.micros() + micros)
}

fn revoked(mut state: KeyState) -> KeyState {
    state.revoked = Some(keyledger_projections::key::Revocation {
        at: NOW,
        reason: RevocationReason::Compromised,
        comment: None,
    });
    state
}

/// Each check fails or not, all 64 ways: the first that fails is told.
#[test]
fn the_first_failing_check_is_told() {
    for case in 0..64u32 {
        let fails = |bit: u32| case & (1 << bit) != 0;
        let mut key = state(7);
        if fails(0) {
            key = revoked(key);
        }
        key.expires_at = Some(if fails(1) { NOW } else { after(1) });
        key.disabled = fails(2);
        key.allowed_cidrs = Personal(vec!["203.0.113.0/24".parse().unwrap()]);
        let address = if fails(4) { "198.51.100.7" } else { "203.0.113.7" };
        let action = if fails(5) { Action::Write } else { Action::Read };
        let request = Request {
            environment: Some(if fails(3) { Environment::Staging } else { Environment::Production }),
            address: Some(address.parse().unwrap()),
            access: Some((action, Resource::parse("a").unwrap())),
        };
        let codes = [
            VerificationCode::Revoked,
            VerificationCode::Expired,
            VerificationCode::Disabled,
            VerificationCode::WrongEnvironment,
            VerificationCode::IpNotAllowed,
            VerificationCode::InsufficientScope,
        ];
        let expected =
            (0..6).find(|bit| fails(*bit)).map_or(VerificationCode::Valid, |bit| codes[bit as usize]);
        assert_eq!(answer(&key, 1, &request), expected, "case {case:06b}");
    }
}

/// The same of a token: its own checks stand between those of its key.
#[test]
fn the_first_failing_check_of_a_token_is_told() {
    use VerificationCode as Code;
    let own = ["read:a".parse().unwrap()];
    for case in 0..1024u32 {
        let fails = |bit: u32| case & (1 << bit) != 0;
        let mut key = state(7);
        if fails(1) {
            key = revoked(key);
        }
        key.disabled = fails(2);
        let mut claims = claims(7, "https://keys.example");
        let seconds = NOW.micros() / 1_000_000;
        claims.nbf = if fails(0) { seconds + LEEWAY_SECONDS + 1 } else { seconds + LEEWAY_SECONDS };
        claims.exp = if fails(4) { seconds } else { seconds + 1 };
        if fails(3) {
            key.revoked_tokens.single.push((claims.jti, after(1)));
        }
        key.allowed_cidrs = Personal(vec!["203.0.113.0/24".parse().unwrap()]);
        if fails(8) {
            key.scopes = Vec::new();
        }
        let token = Presented {
            claims: &claims,
            scopes: if fails(9) { &[] } else { &own },
            signer_revoked: false,
            for_asker: !fails(5),
            narrowed: None,
            audience: "https://keys.example",
        };
        let address = if fails(7) { "198.51.100.7" } else { "203.0.113.7" };
        let request = Request {
            environment: Some(if fails(6) { Environment::Staging } else { Environment::Production }),
            address: Some(address.parse().unwrap()),
            access: Some((Action::Read, Resource::parse("a").unwrap())),
        };
        let codes = [
            Code::NotFound,
            Code::Revoked,
            Code::Disabled,
            Code::TokenRevoked,
            Code::TokenExpired,
            Code::WrongAudience,
            Code::WrongEnvironment,
            Code::IpNotAllowed,
            Code::InsufficientScope,
            Code::InsufficientScope,
        ];
        let directory = Directory::default();
        directory.apply(None, &key);
        let entry = directory.find(&hash(7, 1)).unwrap();
        let expected = (0..10).find(|bit| fails(*bit)).map_or(Code::Valid, |bit| codes[bit as usize]);
        assert_eq!(decide(&entry, Some(&token), &request, NOW), expected, "case {case:010b}");
        if expected == Code::Valid {
            let token = Presented { signer_revoked: true, ..token };
            assert_eq!(decide(&entry, Some(&token), &request, NOW), Code::TokenRevoked);
        }
    }
}

#[test]
fn an_old_secret_is_one_until_its_moment_and_unknown_from_then_on() {
    for (until, expected) in [
        (after(1), VerificationCode::Valid),
        (NOW, VerificationCode::NotFound),
        (after(-1), VerificationCode::NotFound),
    ] {
        let key = rotated(&state(7), 7, Some(until));
        assert_eq!(answer(&key, 1, &Request::default()), expected);
        assert_eq!(answer(&key, 2, &Request::default()), VerificationCode::Valid);
    }
    // Not even that the key is revoked.
    let key = revoked(rotated(&state(7), 7, Some(NOW)));
    assert_eq!(answer(&key, 1, &Request::default()), VerificationCode::NotFound);
    assert_eq!(answer(&key, 2, &Request::default()), VerificationCode::Revoked);
}

#[test]
fn networks_of_one_family_say_nothing_about_the_other() {
    let table: &[(&[&str], Option<&str>, bool)] = &[
        (&[], None, true),
        (&[], Some("203.0.113.7"), true),
        (&["203.0.113.0/24"], None, false),
        (&["203.0.113.0/24"], Some("203.0.113.7"), true),
        (&["203.0.113.0/24"], Some("::ffff:203.0.113.7"), true),
        (&["203.0.113.0/24"], Some("203.0.114.7"), false),
        (&["203.0.113.0/24"], Some("2001:db8::7"), false),
        (&["0.0.0.0/0"], Some("2001:db8::7"), false),
        (&["0.0.0.0/0", "::/0"], Some("2001:db8::7"), true),
        (&["2001:db8::/32"], Some("203.0.113.7"), false),
        (&["203.0.113.7/32", "2001:db8::/32"], Some("2001:db8::7"), true),
    ];
    for (networks, address, allowed) in table {
        let mut key = state(7);
        key.allowed_cidrs = Personal(networks.iter().map(|network| network.parse().unwrap()).collect());
        let request =
            Request { address: address.map(|address| address.parse().unwrap()), ..Request::default() };
        let expected = if *allowed { VerificationCode::Valid } else { VerificationCode::IpNotAllowed };
        assert_eq!(answer(&key, 1, &request), expected, "{networks:?} {address:?}");
    }
}

#[test]
fn what_is_asked_without_an_action_needs_no_scope_and_a_resource_alone_is_a_mistake() {
    let mut key = state(7);
    key.scopes = Vec::new();
    assert_eq!(answer(&key, 1, &Request::default()), VerificationCode::Valid);
    assert_eq!(Request::access(None, None).unwrap(), None);
    assert_eq!(Request::access(None, Some("a")).unwrap_err().field.unwrap(), "action");
    assert_eq!(Request::access(Some("*"), None).unwrap_err().field.unwrap(), "action");
    assert_eq!(Request::access(Some("read"), Some("a/*")).unwrap_err().field.unwrap(), "resource");
    let access = Request::access(Some("read"), None).unwrap();
    assert_eq!(access, Some((Action::Read, Resource::ROOT)));
    for (scope, expected) in [
        ("read:*", VerificationCode::Valid),
        ("*:*", VerificationCode::Valid),
        ("read:a/**", VerificationCode::InsufficientScope),
        ("admin:*", VerificationCode::InsufficientScope),
    ] {
        key.scopes = vec![scope.parse().unwrap()];
        assert_eq!(answer(&key, 1, &Request { access, ..Request::default() }), expected, "{scope}");
    }
}

#[test]
fn every_refusal_has_a_remedy_that_names_no_key() {
    for code in VerificationCode::ALL {
        assert!(remedy(code).len() > 10);
    }
}

proptest! {
    #[test]
    fn status_agrees_with_the_fold_of_keys(
        expires in prop::option::of(-2i64..3),
        disabled: bool,
        is_revoked: bool,
    ) {
        let mut key = state(7);
        key.expires_at = expires.map(after);
        key.disabled = disabled;
        if is_revoked {
            key = revoked(key);
        }
        let expected = match key.status(NOW) {
            KeyStatus::Active => VerificationCode::Valid,
            KeyStatus::Inactive => VerificationCode::Disabled,
            KeyStatus::Expired => VerificationCode::Expired,
            KeyStatus::Revoked => VerificationCode::Revoked,
            KeyStatus::Deleted => VerificationCode::NotFound,
        };
        prop_assert_eq!(answer(&key, 1, &Request::default()), expected);
    }

    #[test]
    fn a_key_is_valid_for_what_one_of_its_scopes_covers(
        scopes in prop::collection::vec("(read|write|admin|\\*):[ab](/[ab*]){0,2}", 0..4),
        action in prop::sample::select(Action::ALL.to_vec()),
        resource in "[ab](/[ab]){0,3}",
    ) {
        let mut key = state(7);
        key.scopes = scopes.iter().map(|scope| scope.parse::<Scope>().unwrap()).collect();
        let resource = Resource::parse(&resource).unwrap();
        let covered = key.scopes.iter().any(|scope| scope.covers(action, resource));
        let valid = answer(&key, 1, &Request { access: Some((action, resource)), ..Request::default() });
        prop_assert_eq!(valid == VerificationCode::Valid, covered);
    }
}
