//! `/v1/authorize`: a gateway asks about its client's request before it lets it pass (`auth_request` of
//! nginx, ForwardAuth of Traefik, `forward_auth` of Caddy, HTTP `ext_authz` of Envoy).
//!
//! The client's key is where clients put it, see [`super::credentials`]. The gateway says who it is by
//! `Keyledger-Verifier`, and what has to be checked by the query: `environment`, `action`, `resource`, or
//! `derive=forwarded` for action and resource of the request that it forwards, `cost`, `limits`, `tags` and
//! `audience`. The answer is in the status and the headers; there is no body.
//!
//! Invariant: what a client sends never widens what is checked. Query parameters are the gateway's and
//! each may come once; a forwarded request counts only from a gateway that authenticated itself, or from
//! a trusted proxy.
//!
//! 400 is for faults of the gateway's configuration only, such as a limit that the key does not have: gateways
//! make a failure of their own out of it.
//! What a client can cause is a 401 where it is about the key, and a 403 where it is about the path.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Once;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use keyledger_schema::VerificationCode;
use keyledger_schema::resource::Resource;
use keyledger_schema::{Action, Environment};

use super::body::chosen;
use super::credentials::{Ambiguous, Presented};
use super::problem::{CHALLENGE, GATEWAY_CHALLENGE, NO_STORE, Refused};
use super::{State, address, credentials, problem};
use crate::error::{Code, Error};
use crate::verify::decision::Request;
use crate::verify::limits::{Charge, wrong_cost};
use crate::verify::meter::{Checked, Owner};
use crate::verify::tags::Tags;
use crate::verify::{Answer, Asker, Question};

static FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
static FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Behind a gateway that authenticates itself.
pub(super) async fn authenticated(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Refused> {
    match credentials::gateway(&request, &state).await {
        Ok(Some(asker)) => answer(&request, &state, &asker).await,
        Ok(None) => {
            // Once: whoever reaches the listener can cause it.
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::warn!(
                    "a request to /v1/authorize has no Keyledger-Verifier, so it was refused: if it came from a \
                     gateway, let that send its own key there; further ones are not told"
                );
            });
            refuse_gateway(Error::new(
                Code::Unauthenticated,
                "the gateway did not say who it is: let it send a verifier's key as Keyledger-Verifier",
            ))
        }
        Err(error) => refuse_gateway(error),
    }
}

/// On a listener that is open to its host. A gateway may still say who it is.
pub(super) async fn open(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Refused> {
    match credentials::gateway(&request, &state).await {
        Ok(asker) => answer(&request, &state, &asker.unwrap_or(Asker::Open)).await,
        Err(error) => refuse_gateway(error),
    }
}

/// A gateway may hand a 401 on to its client as it is. The challenge is not about the client's key then, and
/// a client that knows the Bearer scheme must not take it for one.
fn refuse_gateway(error: Error) -> Result<HttpResponse, Refused> {
    if error.code != Code::Unauthenticated {
        return Err(error.into());
    }
    Ok(problem::finish(HttpResponse::Unauthorized().insert_header(GATEWAY_CHALLENGE), &error))
}

async fn answer(request: &HttpRequest, state: &State, asker: &Asker) -> Result<HttpResponse, Refused> {
    let query = Query::parse(request.query_string())?;
    let headers = request.headers();
    let forwarded;
    let access = if query.derive {
        let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
        let trusted = peer.is_some_and(|peer| address::is_trusted(peer, &state.trusted_proxies));
        if !trusted && matches!(asker, Asker::Open) {
            let message = "forwarded headers count only from a trusted proxy or with Keyledger-Verifier; configure either";
            return Err(Error::invalid("derive", message).into());
        }
        forwarded = Forwarded::of(headers)?;
        Some(forwarded.access().map_err(|error| Refused(StatusCode::FORBIDDEN, error))?)
    } else {
        Request::access(query.action.as_deref(), query.resource.as_deref())?
    };
    let key = match credentials::presented(headers) {
        Ok(Some(key)) => key,
        Ok(None) => {
            return Ok(HttpResponse::Unauthorized()
                .insert_header(CHALLENGE)
                .insert_header(NO_STORE)
                .finish());
        }
        // The empty text stands for it: malformed, and recorded as such.
        Err(Ambiguous) => Presented::default(),
    };
    let address = holder(request, state);
    let request = Request { environment: query.environment, address, access };
    let charge = Charge { cost: query.cost, only: query.limits.as_deref() };
    let audience = query.audience.as_deref();
    let question = Question { key: &key, request, charge, tags: &query.tags, audience };
    Ok(respond(&state.verifier.verify(&question, asker).await?))
}

/// The address of the key's holder. A gateway that forwards for others, and is not known as a trusted proxy,
/// leaves it unknown: its own would let everybody behind it pass as being inside its network.
fn holder(request: &HttpRequest, state: &State) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    if request.headers().contains_key(&address::FORWARDED_FOR)
        && !address::is_trusted(peer, &state.trusted_proxies)
    {
        return None;
    }
    address::client(request, &state.trusted_proxies)
}

fn header(answer: &mut HttpResponseBuilder, name: &'static str, value: &impl ToString) {
    // Identifiers, numbers and constants: visible ASCII throughout.
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        answer.insert_header((HeaderName::from_static(name), value));
    }
}

fn respond(answer: &Answer) -> HttpResponse {
    let (status, challenge) = meaning(answer.code);
    let mut response = HttpResponse::build(status);
    response.insert_header(NO_STORE);
    response.insert_header((
        HeaderName::from_static("keyledger-code"),
        HeaderValue::from_static(answer.code.as_str()),
    ));
    if let Some(challenge) = challenge {
        response.insert_header((WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
    }
    if let Some(checked) = &answer.checked {
        tell_limits(&mut response, checked);
    }
    if let Some(entry) = &answer.entry {
        header(&mut response, "keyledger-key-id", &entry.key);
        if answer.code == VerificationCode::Valid {
            header(&mut response, "keyledger-organization-id", &entry.organization());
            header(&mut response, "keyledger-workspace-id", &entry.workspace);
            if let Some(identity) = entry.identity() {
                header(&mut response, "keyledger-identity-id", &identity.id());
            }
            header(&mut response, "keyledger-environment", &entry.environment);
            header(&mut response, "keyledger-secret-version", &entry.secret_version);
        }
    }
    response.finish()
}

/// The fields of draft-ietf-httpapi-ratelimit-headers, lists of structured fields (RFC 9651), and when to come
/// again (RFC 9110 §10.2.3).
fn tell_limits(response: &mut HttpResponseBuilder, checked: &Checked) {
    let (mut policy, mut standing) = (String::new(), String::new());
    for (owner, rule, left) in checked.limits() {
        let comma = if policy.is_empty() { "" } else { ", " };
        // An identity may have a limit of the same name as one of the key.
        let of = if owner == Owner::Identity { "identity:" } else { "" };
        // The name of a limit needs no escape. Writing to a string cannot fail.
        let (name, limit, window) = (&rule.name, rule.limit, rule.window_seconds);
        let _ = write!(policy, r#"{comma}"{of}{name}";q={limit};w={window}"#);
        let _ = write!(standing, r#"{comma}"{of}{name}";r={};t={}"#, left.remaining, left.reset_seconds());
    }
    if !policy.is_empty() {
        header(response, "ratelimit-policy", &policy);
        header(response, "ratelimit", &standing);
    }
    if let Some(credits) = checked.credits {
        header(response, "keyledger-credits-remaining", &credits.remaining);
    }
    if let Some(seconds) = checked.retry_after_seconds() {
        response.insert_header((RETRY_AFTER, seconds));
    }
}

/// Status and challenge of each code (RFC 6750 §3.1).
const fn meaning(code: VerificationCode) -> (StatusCode, Option<&'static str>) {
    const INVALID_TOKEN: Option<&str> = Some(r#"Bearer realm="keyledger", error="invalid_token""#);
    match code {
        VerificationCode::Valid => (StatusCode::OK, None),
        VerificationCode::NotFound
        | VerificationCode::Malformed
        | VerificationCode::Revoked
        | VerificationCode::Expired
        | VerificationCode::Disabled
        | VerificationCode::TokenExpired
        | VerificationCode::TokenRevoked
        | VerificationCode::WrongAudience
        | VerificationCode::WrongEnvironment => (StatusCode::UNAUTHORIZED, INVALID_TOKEN),
        // Another key of the same holder would be refused as well: nothing to ask for.
        VerificationCode::IpNotAllowed | VerificationCode::KeysDisabled => (StatusCode::FORBIDDEN, None),
        VerificationCode::RateLimited | VerificationCode::CreditsExhausted => {
            (StatusCode::TOO_MANY_REQUESTS, None)
        }
        VerificationCode::InsufficientScope => {
            (StatusCode::FORBIDDEN, Some(r#"Bearer realm="keyledger", error="insufficient_scope""#))
        }
    }
}

/// What the gateway asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query<'a> {
    environment: Option<Environment>,
    action: Option<Cow<'a, str>>,
    resource: Option<Cow<'a, str>>,
    derive: bool,
    cost: u32,
    limits: Option<Vec<Cow<'a, str>>>,
    tags: Tags,
    audience: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        let mut query = Self::default();
        let (mut derive, mut environment) = (None, None);
        let (mut cost, mut limits, mut tags) = (None, None, None);
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, slot) = match name {
                "environment" => ("environment", &mut environment),
                "action" => ("action", &mut query.action),
                "resource" => ("resource", &mut query.resource),
                "derive" => ("derive", &mut derive),
                "cost" => ("cost", &mut cost),
                "limits" => ("limits", &mut limits),
                "tags" => ("tags", &mut tags),
                "audience" => ("audience", &mut query.audience),
                _ => {
                    let message = "there is no such parameter; the parameters are environment, action, resource, derive, cost, limits, tags, audience";
                    return Err(Error::invalid("query", message));
                }
            };
            if slot.replace(unescape(name, value)?).is_some() {
                return Err(Error::invalid(name, "the parameter is there twice; send it once"));
            }
        }
        query.environment = Request::environment(environment.as_deref())?;
        query.cost = Charge::cost(cost.as_deref().map(whole_number).transpose()?)?;
        let owned = |names: &Cow<'_, str>| parts(names).map(|name| Cow::Owned(name.to_owned())).collect();
        query.limits = limits.as_ref().map(owned).map(chosen).transpose()?;
        let tags = parts(tags.as_deref().unwrap_or_default());
        query.tags = Tags::new(&tags.map(Cow::Borrowed).collect::<Vec<_>>())?;
        if let Some(text) = &query.audience {
            crate::verify::audience(text)?;
        }
        query.derive = match derive.as_deref() {
            None => false,
            Some("forwarded") => true,
            Some(_) => return Err(Error::invalid("derive", "the only value of derive is forwarded")),
        };
        if query.derive && (query.action.is_some() || query.resource.is_some()) {
            return Err(Error::invalid("derive", "send either derive, or action and resource, not both"));
        }
        Ok(query)
    }
}

/// What stands between commas.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|part| !part.is_empty())
}

fn whole_number(text: &str) -> Result<u64, Error> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(wrong_cost)
}

/// Undoes percent-encoding (RFC 3986 §2.1). A plus sign stays one: this is no form.
fn unescape<'a>(name: &'static str, value: &'a str) -> Result<Cow<'a, str>, Error> {
    if !value.contains('%') {
        return Ok(Cow::Borrowed(value));
    }
    let wrong = || Error::invalid(name, "the parameter is not percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
            let value = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
            value.ok_or_else(wrong)?
        } else {
            byte
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| wrong())
}

/// Spellings behind which a path hides what it is; the last four are decoded twice by some servers.
const HIDDEN: [&str; 11] =
    ["%2e", "%2f", "%5c", "%00", "%09", "%0a", "%0d", "%252e", "%252f", "%255c", "%2500"];

/// The request that the gateway forwards. Both are the client's words, and may be any bytes.
struct Forwarded<'a> {
    method: &'a [u8],
    path: &'a [u8],
}

impl<'a> Forwarded<'a> {
    /// Fails where the gateway does not forward as it is to: its configuration's fault.
    fn of(headers: &'a HeaderMap) -> Result<Self, Error> {
        let one = |name: &'static HeaderName| {
            let mut values = headers.get_all(name);
            let value = values.next().map(HeaderValue::as_bytes);
            value.filter(|_| values.next().is_none()).ok_or_else(|| {
                Error::invalid(
                    name.as_str(),
                    "derive=forwarded needs this header, once; let the gateway set it",
                )
            })
        };
        let uri = one(&FORWARDED_URI)?;
        let path = uri.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
        Ok(Self { method: one(&FORWARDED_METHOD)?, path })
    }

    /// Fails where the path may mean one thing here and another to the API behind: the client's fault.
    fn access(&self) -> Result<(Action, Resource<'a>), Error> {
        // Safe methods (RFC 9110 §9.2.1) only look.
        let action = match self.method {
            b"GET" | b"HEAD" | b"OPTIONS" => Action::Read,
            _ => Action::Write,
        };
        let invalid = |message: String| Error::invalid(FORWARDED_URI.as_str(), message);
        let path = std::str::from_utf8(self.path)
            .map_err(|_| invalid("a forwarded path has visible ASCII characters only".to_owned()))?;
        if !path.starts_with('/') {
            return Err(invalid("the forwarded path begins with a slash".to_owned()));
        }
        // What some servers read as a separator or a dot would be checked as one thing and served as another.
        let lower = path.to_ascii_lowercase();
        if HIDDEN.iter().any(|hidden| lower.contains(hidden)) {
            return Err(invalid(
                "an encoded dot, slash, backslash or control character, once or twice encoded, is not allowed in a \
                 forwarded path"
                    .to_owned(),
            ));
        }
        // Servers that know path parameters drop them first, and then resolve what is left (RFC 3986 §3.3).
        let bare = |segment: &str| matches!(segment, "" | "." | "..");
        let parameters = |segment: &str| {
            let end = segment.find(';').or_else(|| segment.find("%3b"));
            end.is_some_and(|end| bare(&segment[..end]))
        };
        if lower.split('/').any(parameters) {
            return Err(invalid(
                "a dot segment or an empty one with path parameters is not allowed".to_owned(),
            ));
        }
        let resource = Resource::parse(path).map_err(|error| invalid(error.to_string()))?;
        Ok((action, resource))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_read_whole_or_refused() {
        let query = Query::parse("environment=production&action=read&resource=a%2Fb+c&").unwrap();
        assert_eq!(query.environment, Some(Environment::Production));
        assert_eq!((query.action.as_deref(), query.resource.as_deref()), (Some("read"), Some("a/b+c")));
        assert_eq!(Query::parse("").unwrap(), Query { cost: 1, ..Query::default() });
        assert_eq!(Query::parse("cost=0").unwrap().cost, 0);
        assert_eq!(Query::parse("audience=https%3A//a").unwrap().audience.unwrap(), "https://a");
        assert!(Query::parse("tags=b,a%2Fb,").unwrap().tags.iter().eq(["a/b", "b"]));
        assert_eq!(Query::parse("cost=%31000000").unwrap().cost, 1_000_000);
        assert_eq!(Query::parse("limits=a%2Cb,c,").unwrap().limits.unwrap(), ["a", "b", "c"]);
        assert!(Query::parse("derive=forwarded").unwrap().derive);
        for (text, field) in [
            ("action=read&action=write", "action"),
            ("resource=a&resource=", "resource"),
            ("environment=prod", "environment"),
            ("derive=other", "derive"),
            ("derive=forwarded&action=read", "derive"),
            ("resource=%zz", "resource"),
            ("resource=%", "resource"),
            ("resource=%ff", "resource"),
            ("audience=", "audience"),
            ("audience=a&audience=b", "audience"),
            ("tags=a b", "tags"),
            ("tags=a,b&tags=c", "tags"),
            ("cost=", "cost"),
            ("cost=+1", "cost"),
            ("cost=-1", "cost"),
            ("cost=1.0", "cost"),
            ("cost=1000001", "cost"),
            ("cost=99999999999999999999", "cost"),
            ("cost=1&cost=1", "cost"),
            ("limits=", "limits"),
            ("limits=a,b,c,d,e,f,g,h,i", "limits"),
            ("limits=a&limits=b", "limits"),
            ("limit=a", "query"),
            ("Action=read", "query"),
        ] {
            assert_eq!(Query::parse(text).unwrap_err().field.unwrap(), field, "{text}");
        }
    }

    #[test]
    fn forwarded_requests_become_an_action_and_a_resource() {
        let access = |method: &'static str, path: &'static str| {
            Forwarded { method: method.as_bytes(), path: path.as_bytes() }.access()
        };
        assert_eq!(access("GET", "/a/b"), Ok((Action::Read, Resource::parse("a/b").unwrap())));
        assert_eq!(access("HEAD", "/"), Ok((Action::Read, Resource::ROOT)));
        for method in ["POST", "PUT", "PATCH", "DELETE", "get", "FOO"] {
            assert_eq!(
                access(method, "/a/").unwrap(),
                (Action::Write, Resource::parse("a").unwrap()),
                "{method}"
            );
        }
        for path in [
            "",
            "a",
            "/a//b",
            "//a",
            "/a/../b",
            "/./a",
            "/a/%2e%2E/b",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/*",
            "/a%00",
            "/\u{e9}",
        ] {
            assert!(access("GET", path).is_err(), "{path}");
        }
        assert!(Forwarded { method: b"GET", path: b"/\xff" }.access().is_err());
    }
}
