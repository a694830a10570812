//! Errors as OAuth clients know them (RFC 6749 §5.2): a JSON object with `error` and `error_description`.
//!
//! `code` stands besides where a key was refused for a reason of its own, as a verification would tell it. Clients
//! ignore members that they do not know (§5.1).
//!
//! Which error stands for what OAuth has no word for: `temporarily_unavailable` (§4.1.2.1) says that the same request
//! may do later, for rate limits with 429 and for what cannot be recorded with 503; clients that retry look at the
//! status and at `Retry-After`. `unauthorized_client` says that the client is who it says and may not do this here
//! and now.

use std::borrow::Cow;
use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, ALLOW, HeaderName, HeaderValue, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::{HttpResponse, ResponseError};
use keyledger_schema::VerificationCode;
use serde::Serialize;

use crate::error::{Code, Error};
use crate::http::problem::{JSON, NO_STORE, Refused};
use crate::verify::exchange::Refusal;

/// For caches from before there was `Cache-Control` (RFC 6749 §5.1).
pub(super) const NO_CACHE: (HeaderName, HeaderValue) = (PRAGMA, HeaderValue::from_static("no-cache"));
/// A client that is not known is told how to say who it is (RFC 9110 §15.5.2, RFC 6749 §5.2).
const BASIC: HeaderValue = HeaderValue::from_static(r#"Basic realm="keyledger", charset="UTF-8""#);
/// Somebody who may manage keys is told the other way.
const BEARER: HeaderValue = HeaderValue::from_static(r#"Bearer realm="keyledger""#);

/// The errors of RFC 6749 §5.2 and RFC 8707 §2, and those that the head of this module tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    InvalidRequest,
    InvalidClient,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    InvalidTarget,
    AccessDenied,
    TemporarilyUnavailable,
    ServerError,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::AccessDenied => "access_denied",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::InvalidScope
            | Self::InvalidTarget => StatusCode::BAD_REQUEST,
            Self::InvalidClient => StatusCode::UNAUTHORIZED,
            Self::AccessDenied => StatusCode::FORBIDDEN,
            Self::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// See the head of this module.
#[derive(Debug)]
pub(super) struct OauthError {
    kind: Kind,
    status: StatusCode,
    description: Cow<'static, str>,
    code: Option<VerificationCode>,
    retry_after_seconds: Option<u64>,
    bearer: bool,
}

impl OauthError {
    pub(super) fn new(kind: Kind, description: impl Into<Cow<'static, str>>) -> Self {
        let retry_after_seconds = (kind == Kind::TemporarilyUnavailable).then_some(1);
        let (status, description) = (kind.status(), description.into());
        Self { kind, status, description, code: None, retry_after_seconds, bearer: false }
    }

    pub(super) fn invalid_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::InvalidRequest, description)
    }

    /// Of a body with a `Content-Encoding` (RFC 9110 §15.5.16).
    pub(super) fn encoded() -> Self {
        let message =
            "the body is compressed or otherwise encoded; send it as it is, without Content-Encoding";
        Self { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, ..Self::invalid_request(message) }
    }

    /// The same to somebody who presented a management key.
    pub(super) fn of_bearer(error: Error) -> Self {
        Self { bearer: true, ..error.into() }
    }
}

impl fmt::Display for OauthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.description)
    }
}

impl From<Error> for OauthError {
    fn from(error: Error) -> Self {
        let kind = match error.code {
            Code::Unauthenticated => Kind::InvalidClient,
            Code::Forbidden => Kind::AccessDenied,
            Code::TooManyRequests | Code::Unavailable => Kind::TemporarilyUnavailable,
            Code::Internal => Kind::ServerError,
            Code::NotFound
            | Code::InvalidInput
            | Code::Conflict
            | Code::IllegalTransition
            | Code::QuotaExceeded
            | Code::PolicyViolation
            | Code::NotBootstrapped
            | Code::KeysDisabled => Kind::InvalidRequest,
        };
        let after = error.retry_after_seconds();
        let mut told = Self::new(kind, error.message);
        if error.code == Code::TooManyRequests {
            told.status = StatusCode::TOO_MANY_REQUESTS;
        }
        told.retry_after_seconds = after.or(told.retry_after_seconds);
        told
    }
}

impl From<Refused> for OauthError {
    fn from(Refused(status, error): Refused) -> Self {
        Self { status, ..error.into() }
    }
}

impl From<Refusal> for OauthError {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal.code {
            VerificationCode::InsufficientScope => Kind::InvalidScope,
            VerificationCode::WrongEnvironment
            | VerificationCode::IpNotAllowed
            | VerificationCode::KeysDisabled => Kind::UnauthorizedClient,
            VerificationCode::RateLimited | VerificationCode::CreditsExhausted => {
                Kind::TemporarilyUnavailable
            }
            VerificationCode::Valid
            | VerificationCode::NotFound
            | VerificationCode::Malformed
            | VerificationCode::Revoked
            | VerificationCode::Expired
            | VerificationCode::Disabled
            | VerificationCode::TokenExpired
            | VerificationCode::TokenRevoked
            | VerificationCode::WrongAudience => Kind::InvalidClient,
        };
        let mut error = Self::new(kind, refusal.message);
        // Whether a text can be a secret at all is nothing that whoever guesses is told.
        let told = !matches!(refusal.code, VerificationCode::NotFound | VerificationCode::Malformed);
        error.code = told.then_some(refusal.code);
        if kind == Kind::TemporarilyUnavailable {
            error.status = StatusCode::TOO_MANY_REQUESTS;
            error.retry_after_seconds = refusal.retry_after_seconds;
        }
        error
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'static str,
    error_description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<VerificationCode>,
}

/// A description has no other characters than these (RFC 6749 §5.2).
fn plain(text: &str) -> String {
    let plain = |character| match character {
        '"' => '\'',
        '\\' => '/',
        ' '..='~' => character,
        _ => '?',
    };
    text.chars().map(plain).collect()
}

impl ResponseError for OauthError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut answer = HttpResponse::build(self.status);
        if self.status == StatusCode::UNAUTHORIZED {
            answer.insert_header((WWW_AUTHENTICATE, if self.bearer { BEARER } else { BASIC }));
        }
        if self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            // RFC 9110 §12.5.3: so a client knows that it is the coding and not the type.
            answer.insert_header((ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        }
        if let Some(seconds) = self.retry_after_seconds {
            answer.insert_header((RETRY_AFTER, seconds));
        }
        let description = plain(&self.description);
        let body = Body { error: self.kind.as_str(), error_description: &description, code: self.code };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        answer.insert_header(JSON).insert_header(NO_STORE).insert_header(NO_CACHE).body(text)
    }
}

/// For a path that takes other methods only (RFC 9110 §15.5.6).
pub(super) fn wrong_method(allow: &'static str) -> HttpResponse {
    let description = format!("this endpoint does not take that method; use {allow}");
    let error =
        OauthError { status: StatusCode::METHOD_NOT_ALLOWED, ..OauthError::invalid_request(description) };
    let mut answer = error.error_response();
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::decision::remedy;

    #[test]
    fn every_remedy_can_be_described_as_it_is() {
        for code in VerificationCode::ALL {
            assert_eq!(plain(remedy(code)), remedy(code));
        }
        assert_eq!(plain("a \"b\" \\ \u{e4}\n"), "a 'b' / ??");
    }

    #[test]
    fn who_asks_too_often_is_told_when_to_come_again() {
        let error = Error::new(Code::TooManyRequests, "a").after_seconds(17);
        for (error, status, after) in [(error, 429, "17"), (Error::unavailable("b"), 503, "1")] {
            let answer = OauthError::from(error).error_response();
            let header = answer.headers().get(RETRY_AFTER).unwrap();
            assert_eq!((answer.status().as_u16(), header.to_str().unwrap()), (status, after));
        }
    }

    #[test]
    fn refusals_have_the_status_that_clients_look_at() {
        for (code, status, told) in [
            (VerificationCode::NotFound, 401, false),
            (VerificationCode::Malformed, 401, false),
            (VerificationCode::Revoked, 401, true),
            (VerificationCode::IpNotAllowed, 400, true),
            (VerificationCode::InsufficientScope, 400, true),
            (VerificationCode::RateLimited, 429, true),
        ] {
            let answer = OauthError::from(Refusal::from(code));
            assert_eq!((answer.status.as_u16(), answer.code.is_some()), (status, told), "{code}");
            let challenged = answer.error_response().headers().contains_key(WWW_AUTHENTICATE);
            assert_eq!(challenged, status == 401);
        }
    }
}
