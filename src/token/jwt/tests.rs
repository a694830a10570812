use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::token::claims::Audience;
use crate::token::fixture::{claims, key};

fn with_header(header: &serde_json::Value, by: &SigningKey) -> String {
    let part = |value: &[u8]| URL_SAFE_NO_PAD.encode(value);
    let signed =
        format!("{}.{}", part(header.to_string().as_bytes()), part(&serde_json::to_vec(&claims()).unwrap()));
    let signature = part(&by.sign(signed.as_bytes()).to_bytes());
    format!("{signed}.{signature}")
}

#[test]
fn what_was_minted_is_read_again() {
    let minter = Minter::new(key(1));
    let token = minter.mint(&claims()).unwrap();
    assert!(looks_like_one(&token));
    let read = Unchecked::parse(&token).unwrap();
    assert_eq!(read.kid(), minter.kid());
    assert_eq!(read.claims(&key(1).verifying_key()), Some(claims()));
    assert_eq!(read.claims(&key(2).verifying_key()), None);
}

#[test]
fn other_headers_are_refused_whoever_signed() {
    let good = json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "k" });
    assert!(Unchecked::parse(&with_header(&good, &key(1))).is_some());
    for (field, value) in [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("Ed448")),
        ("alg", json!("eddsa")),
        ("typ", json!("JWT")),
        ("kid", json!(null)),
        ("crit", json!(["exp"])),
        ("jku", json!("https://evil.example/jwks.json")),
        ("jwk", json!({})),
        ("b64", json!(false)),
    ] {
        let mut header = good.clone();
        header[field] = value;
        assert!(Unchecked::parse(&with_header(&header, &key(1))).is_none(), "{header}");
    }
}

#[test]
fn an_audience_is_a_text_or_a_list() {
    let one = Audience::new(vec!["a".into()]);
    let two = Audience::new(vec!["a".into(), "b".into()]);
    assert_eq!(serde_json::to_value(&one).unwrap(), json!("a"));
    assert_eq!(serde_json::to_value(&two).unwrap(), json!(["a", "b"]));
    assert!(two.contains("b") && !two.contains("c") && !one.contains("b"));
}

proptest! {
    #[test]
    fn no_changed_token_is_good(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_.=-]") {
        let token = Minter::new(key(1)).mint(&claims()).unwrap();
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &with);
        prop_assume!(changed != token);
        let read = Unchecked::parse(&changed).and_then(|read| read.claims(&key(1).verifying_key()));
        prop_assert_eq!(read, None);
    }

    #[test]
    fn any_text_is_read_without_panic(text in "\\PC{0,200}") {
        drop(Unchecked::parse(&text));
    }
}
