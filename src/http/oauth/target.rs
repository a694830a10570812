//! What a token is asked for: scopes, and for whom it is (RFC 8707).

use keyledger_schema::Scope;

use super::form::Form;
use super::refusal::{Kind, OauthError};

/// The most recipients of a token.
pub(super) const MAX_AUDIENCES: usize = 8;
/// The longest name of one, in bytes.
pub(super) const MAX_AUDIENCE_BYTES: usize = 255;
/// All of them together, in bytes as JSON: with as many scopes as it may have, a token still fits into a header.
pub(super) const MAX_AUDIENCES_BYTES: usize = 1024;

/// The scopes that were asked for; none where all are.
pub(super) fn scopes(form: &Form) -> Result<Option<Vec<Scope>>, OauthError> {
    let Some(text) = form.one("scope") else { return Ok(None) };
    let invalid = |message: String| OauthError::new(Kind::InvalidScope, message);
    let words = text.split(' ').filter(|word| !word.is_empty()).enumerate();
    let scopes = words
        .map(|(at, word)| {
            word.parse().map_err(|error| invalid(format!("number {} of the scopes: {error}", at + 1)))
        })
        .collect::<Result<Vec<Scope>, _>>()?;
    if scopes.is_empty() {
        return Err(invalid("scope names no scope; leave it out for all that the key may do".to_owned()));
    }
    Ok(Some(scopes))
}

/// The recipients that were asked for, each once.
pub(super) fn audiences(form: &Form) -> Result<Vec<Box<str>>, OauthError> {
    let invalid = |message: String| OauthError::new(Kind::InvalidTarget, message);
    let mut all: Vec<Box<str>> = Vec::new();
    let resources = form.all("resource").map(|text| (text, is_absolute_uri(text)));
    let audiences = form.all("audience").map(|text| (text, !text.chars().any(char::is_control)));
    for (text, fits) in resources.chain(audiences) {
        if !fits || text.len() > MAX_AUDIENCE_BYTES {
            return Err(invalid(format!(
                "a resource is an absolute URI without a fragment, an audience any text; both have at most {MAX_AUDIENCE_BYTES} bytes"
            )));
        }
        if !all.iter().any(|known| **known == *text) {
            all.push(text.into());
        }
    }
    let bytes = serde_json::to_string(&all).map_or(usize::MAX, |text| text.len());
    if all.len() > MAX_AUDIENCES || bytes > MAX_AUDIENCES_BYTES {
        return Err(invalid(format!(
            "a token is for at most {MAX_AUDIENCES} resources and audiences, of {MAX_AUDIENCES_BYTES} bytes together; ask for several tokens"
        )));
    }
    Ok(all)
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
