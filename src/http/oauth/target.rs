//! What a token is asked for: scopes, and for whom it is (RFC 8707).

use keyledger_schema::Scope;

use super::form::Form;
use super::refusal::{Kind, OauthError};
use crate::verify::reveals;

/// The most recipients of a token.
pub(super) const MAX_AUDIENCES: usize = 8;
/// The longest name of one, in bytes.
pub(super) const MAX_AUDIENCE_BYTES: usize = 255;
/// All of them together, in bytes as JSON: with as many scopes as it may have, a token still fits into a header.
pub(super) const MAX_AUDIENCES_BYTES: usize = 1024;

/// Of what would make a secret part of a token, which everybody can read who is shown the token.
const MISPLACED: &str = "has the secret of a key or a token in it, and would be a part of the new token; take it out, and give it to nobody else";

/// The scopes that were asked for; none where all are. `secret` is that of the client.
pub(super) fn scopes(form: &Form, secret: &str) -> Result<Option<Vec<Scope>>, OauthError> {
    let Some(text) = form.one("scope") else { return Ok(None) };
    let invalid = |message: String| OauthError::new(Kind::InvalidScope, message);
    if reveals(text, secret) {
        return Err(invalid(format!("scope {MISPLACED}")));
    }
    let words = text.split(' ').filter(|word| !word.is_empty()).enumerate();
    let scopes = words
        .map(|(at, word)| {
            word.parse()
                .map_err(|error| invalid(format!("number {} of the scopes in scope: {error}", at + 1)))
        })
        .collect::<Result<Vec<Scope>, _>>()?;
    if scopes.is_empty() {
        return Err(invalid("scope names no scope; leave it out for all that the key may do".to_owned()));
    }
    Ok(Some(scopes))
}

/// The recipients that were asked for, each once.
pub(super) fn audiences(form: &Form, secret: &str) -> Result<Vec<Box<str>>, OauthError> {
    let mut all: Vec<Box<str>> = Vec::new();
    let what = "an absolute URI without a fragment, such as https://api.example/v1";
    let resources = named(form, "resource", is_absolute_uri, what);
    let audiences = named(form, "audience", is_printable, "a text without control characters");
    for text in resources.chain(audiences) {
        let (name, text) = text?;
        if reveals(text, secret) {
            return Err(invalid(format!("{name} {MISPLACED}")));
        }
        if !all.iter().any(|known| **known == *text) {
            all.push(text.into());
        }
    }
    let bytes = serde_json::to_string(&all).map_or(usize::MAX, |text| text.len());
    let (has, bound) = if all.len() > MAX_AUDIENCES {
        (format!("{} of them", all.len()), format!("at most {MAX_AUDIENCES}"))
    } else if bytes > MAX_AUDIENCES_BYTES {
        (format!("{bytes} bytes of them as JSON"), format!("at most {MAX_AUDIENCES_BYTES} bytes"))
    } else {
        return Ok(all);
    };
    Err(invalid(format!(
        "resource and audience: a token has {bound}, and these are {has}; ask for several tokens"
    )))
}

/// The values of a parameter that all have to be of a form.
fn named<'a>(
    form: &'a Form,
    name: &'static str,
    fits: impl Fn(&str) -> bool,
    what: &'static str,
) -> impl Iterator<Item = Result<(&'static str, &'a str), OauthError>> {
    form.all(name).enumerate().map(move |(at, text)| {
        if text.len() > MAX_AUDIENCE_BYTES {
            let (number, bytes) = (at + 1, text.len());
            return Err(invalid(format!(
                "{name} has at most {MAX_AUDIENCE_BYTES} bytes, and number {number} has {bytes}; send a shorter one"
            )));
        }
        // What was sent is not repeated: it may be a secret in the wrong place.
        if fits(text) { Ok((name, text)) } else { Err(invalid(format!("{name} is {what}, and number {} is none", at + 1))) }
    })
}

fn invalid(message: String) -> OauthError {
    OauthError::new(Kind::InvalidTarget, message)
}

fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// RFC 8707 §2: an absolute URI (RFC 3986 §4.3), which has no fragment.
fn is_absolute_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let of_uri = |byte: u8| byte.is_ascii_graphic() && !br##""#<>\^`{|}"##.contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(of_scheme)
        && !rest.is_empty()
        && rest.bytes().all(of_uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_parameter_the_bound_and_the_remedy() {
        let long = |n: usize| "x".repeat(n);
        let nine: Vec<_> = (0..9).map(|n| format!("audience=a{n}")).collect();
        let large: Vec<_> = (0..5).map(|n| format!("resource=urn:{n}{}", long(240))).collect();
        for (body, parts) in [
            (
                "resource=s3cret".to_owned(),
                &["resource is an absolute URI", "https://", "number 1 is none"][..],
            ),
            (
                "resource=urn:a&resource=urn:a%23s3cret".to_owned(),
                &["without a fragment", "number 2 is none"],
            ),
            ("audience=s3cret%0A".to_owned(), &["audience is a text without control characters"]),
            (
                format!("audience={}", long(256)),
                &["audience has at most 255 bytes", "number 1 has 256", "shorter"],
            ),
            (nine.join("&"), &["resource and audience: ", "at most 8", "these are 9", "several tokens"]),
            (large.join("&"), &["resource and audience: ", "at most 1024 bytes", "several tokens"]),
        ] {
            let error = audiences(&Form::parse(body.as_bytes()).ok().unwrap(), "").unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{body}: {error}");
            assert!(error.starts_with("invalid_target: ") && !error.contains("s3cret"), "{error}");
        }
        for (body, part) in [
            ("scope=read:a+s3cret", "number 2 of the scopes in scope: "),
            ("scope=+", "scope names no scope; leave it out"),
        ] {
            let error = scopes(&Form::parse(body.as_bytes()).ok().unwrap(), "").unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("s3cret"), "{body}: {error}");
        }
        let eight: Vec<_> = (0..8).map(|n| format!("audience=a{n}&audience=a{n}")).collect();
        assert_eq!(audiences(&Form::parse(eight.join("&").as_bytes()).ok().unwrap(), "").unwrap().len(), 8);
    }

    #[test]
    fn a_secret_is_no_part_of_a_token() {
        let minted = crate::secret::Secret::mint("kl", keyledger_schema::Environment::Production, &[3; 32]);
        let minted = minted.expose();
        let imported = "sk_live_0123456789abcdef/+";
        let escaped =
            |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        for secret in [minted, imported] {
            // In a form a value is encoded once; what is encoded in the value stays so.
            for text in [escaped(secret), escaped(&escaped(secret)), escaped(&secret.replace('_', "%255f"))] {
                for (body, wrong) in [
                    (format!("resource=https://api.example/?key={text}"), "invalid_target: resource has"),
                    (format!("resource=urn:a&audience={text}"), "invalid_target: audience has"),
                    (format!("scope=read:{text}"), "invalid_scope: scope has"),
                ] {
                    let form = Form::parse(body.as_bytes()).ok().unwrap();
                    let error = audiences(&form, imported).err().or(scopes(&form, imported).err());
                    let error = error.unwrap_or_else(|| panic!("{body} was taken")).to_string();
                    assert!(error.starts_with(wrong) && error.contains("take it out"), "{error}");
                    assert!(!error.contains(secret), "{error}");
                }
            }
        }
        let form = Form::parse(b"resource=urn:a%2520b&audience=100%25&scope=read:a").ok().unwrap();
        assert_eq!(audiences(&form, "a").unwrap().len(), 2, "what is too short for a secret is none");
        assert!(scopes(&form, "").unwrap().is_some());
    }

    #[test]
    fn resources_are_absolute_uris() {
        for uri in ["https://api.example/v1?a=b", "urn:example:api", "a+b.c-1:x", "https://api.example:8443"]
        {
            assert!(is_absolute_uri(uri), "{uri}");
        }
        for text in
            ["", "api", "/v1", "//host/path", "https://a#b", "https:", "1a:b", "a b:c", "a:b c", "a:\u{e4}"]
        {
            assert!(!is_absolute_uri(text), "{text}");
        }
    }
}
