//! Keys in the headers of requests.
//!
//! Invariant: a request that presents two different keys is never answered for one of them: a proxy in
//! front may have looked at the other.

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, USER_AGENT};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyledger_schema::actor::MAX_USER_AGENT_BYTES;
use keyledger_schema::{Personal, Source};
use zeroize::Zeroizing;

use super::{State, address};
use crate::caller::Caller;
use crate::error::{Code, Error};
use crate::verify::{Asker, unauthenticated};

static API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// How a gateway says who it is, since `Authorization` is its client's.
static VERIFIER: HeaderName = HeaderName::from_static("keyledger-verifier");

/// A key that a client presents, as text.
pub(super) type Presented = Zeroizing<String>;

/// What stands behind an authentication scheme, compared in any case (RFC 9110 §11.1).
pub(super) fn after_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (name, rest) = value.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| rest.trim_matches(' '))
}

/// The one value of a header that must not come twice.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &'static HeaderName,
) -> Result<Option<&'a str>, Error> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::invalid(name.as_str(), "the header is there twice; send it once"));
    }
    let text =
        value.to_str().map_err(|_| Error::invalid(name.as_str(), "the header has bytes that no key has"))?;
    Ok(Some(text))
}

/// The bearer token of a request (RFC 6750 §2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Error> {
    let value = single(headers, &AUTHORIZATION)?.ok_or_else(unauthenticated)?;
    after_scheme(value, "Bearer").ok_or_else(unauthenticated)
}

/// From where a request comes, as it stands in trails.
pub(super) fn source(request: &HttpRequest, state: &State) -> Source {
    Source {
        ip: address::client(request, &state.trusted_proxies).map(Personal),
        user_agent: user_agent(request.headers()),
        token: None,
    }
}

/// The client's own word on what it is: visible ASCII, cut to [`MAX_USER_AGENT_BYTES`].
fn user_agent(headers: &HeaderMap) -> Option<Personal<Box<str>>> {
    let text = headers.get(USER_AGENT)?.to_str().ok()?;
    let cut = &text[..text.len().min(MAX_USER_AGENT_BYTES)];
    (!cut.is_empty()).then(|| Personal(cut.into()))
}

/// Who manages keys, by the bearer token.
pub(super) async fn caller(request: &HttpRequest, state: &State) -> Result<Caller, Error> {
    state.verifier.authenticate(bearer(request.headers())?, source(request, state)).await
}

/// Who asks, by the bearer token.
pub(super) async fn asker(request: &HttpRequest, state: &State) -> Result<Asker, Error> {
    let address = address::client(request, &state.trusted_proxies);
    state.verifier.asker(bearer(request.headers())?, address).await
}

/// Which gateway asks, by its own header. A gateway may not be behind another proxy's word: its address
/// is that of the connection unless that is a trusted proxy's, and then nobody else's than the proxy's.
pub(super) async fn gateway(request: &HttpRequest, state: &State) -> Result<Option<Asker>, Error> {
    let Some(secret) = single(request.headers(), &VERIFIER)? else { return Ok(None) };
    // The X-Forwarded-For of such a request is about the gateway's client, so it does not count here.
    let address = request.peer_addr().map(|peer| peer.ip().to_canonical());
    let asker = state.verifier.asker(secret.trim_matches(' '), address).await;
    asker.map(Some).map_err(|error| match error.code {
        // The same for every reason, as for everybody; only the header is another one.
        Code::Unauthenticated => Error::new(
            error.code,
            "the gateway needs a valid management key: let it send one as Keyledger-Verifier, from an address it may be used from",
        ),
        _ => error,
    })
}

/// What the client of a gateway presents is no one key: two different ones, a header twice, broken Basic
/// credentials, or bytes that no key has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ambiguous;

impl From<Error> for Ambiguous {
    fn from(_: Error) -> Self {
        Self
    }
}

/// The key of a gateway's client: `Authorization: Bearer`, `X-API-Key`, or Basic (RFC 7617) with the key
/// as password, or as user name when the password is empty. None where there is no key at all.
pub(super) fn presented(headers: &HeaderMap) -> Result<Option<Presented>, Ambiguous> {
    let authorization = match single(headers, &AUTHORIZATION)? {
        None => None,
        Some(value) => match after_scheme(value, "Bearer") {
            Some(token) => Some(Presented::new(token.to_owned())),
            None => after_scheme(value, "Basic").map(|text| basic(text).ok_or(Ambiguous)).transpose()?,
        },
    };
    let api_key = single(headers, &API_KEY)?.map(|key| key.trim_matches(' '));
    match (authorization, api_key) {
        (Some(one), Some(other)) if *one != other => Err(Ambiguous),
        (Some(key), _) => Ok(Some(key)),
        (None, key) => Ok(key.map(|key| Presented::new(key.to_owned()))),
    }
}

fn basic(encoded: &str) -> Option<Presented> {
    let decoded = STANDARD.decode(encoded).ok()?;
    let mut text = Presented::new(String::from_utf8(decoded).ok()?);
    let colon = text.find(':')?;
    if colon + 1 == text.len() {
        text.truncate(colon);
    } else {
        text.drain(..=colon);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn key_of(lines: &[(&'static str, &str)]) -> Result<Option<String>, Ambiguous> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        presented(&headers).map(|key| key.map(|key| key.to_string()))
    }

    #[test]
    fn keys_are_found_wherever_clients_put_them() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(key_of(&[]), Ok(None));
        assert_eq!(key_of(&[("authorization", "Bearer k")]), Ok(Some("k".into())));
        assert_eq!(key_of(&[("authorization", "bearer  k ")]), Ok(Some("k".into())));
        assert_eq!(key_of(&[("x-api-key", "k")]), Ok(Some("k".into())));
        assert_eq!(key_of(&[("authorization", &basic("user:k"))]), Ok(Some("k".into())));
        assert_eq!(key_of(&[("authorization", &basic("k:"))]), Ok(Some("k".into())));
        assert_eq!(key_of(&[("authorization", &basic(":k:l"))]), Ok(Some("k:l".into())));
        assert_eq!(key_of(&[("authorization", "Digest a=b")]), Ok(None));
        assert_eq!(key_of(&[("authorization", "Digest a=b"), ("x-api-key", "k")]), Ok(Some("k".into())));
        assert_eq!(key_of(&[("authorization", "Bearer k"), ("x-api-key", "k")]), Ok(Some("k".into())));
    }

    #[test]
    fn ambiguous_or_broken_credentials_are_no_key() {
        for lines in [
            &[("authorization", "Bearer k"), ("x-api-key", "l")][..],
            &[("authorization", "Bearer k"), ("authorization", "Bearer l")],
            &[("x-api-key", "k"), ("x-api-key", "k")],
            &[("authorization", "Basic %%%")],
            &[("authorization", "Basic bm9jb2xvbg==")],
            &[("authorization", "Basic /zpr")],
            &[("authorization", "Bearer \u{e9}")],
            &[("x-api-key", "\u{e9}")],
        ] {
            assert_eq!(key_of(lines), Err(Ambiguous), "{lines:?}");
        }
    }
}
