//! Errors as HTTP answers: the one place where a code becomes a status.
//!
//! Architecture invariant: a body holds what an [`Error`] says and nothing of a library's.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;

use crate::error::{Code, Error};

/// Of every answer about keys: none may be kept by anybody on the way (RFC 9111 §5.2.2.5).
pub(super) const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
/// Of every body.
pub(super) const JSON: (HeaderName, HeaderValue) =
    (CONTENT_TYPE, HeaderValue::from_static("application/json"));
/// To whoever presented no key (RFC 6750 §3.1: without an error code then).
pub(super) const CHALLENGE: (HeaderName, HeaderValue) =
    (WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="keyledger""#));
/// To a gateway that did not say who it is. A 401 has a challenge (RFC 9110 §15.5.2), and this one asks no
/// client for a key.
pub(super) const GATEWAY_CHALLENGE: (HeaderName, HeaderValue) =
    (WWW_AUTHENTICATE, HeaderValue::from_static(r#"Keyledger-Verifier realm="keyledger""#));

/// The status of a code.
pub const fn status(code: Code) -> StatusCode {
    match code {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden | Code::KeysDisabled => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::InvalidInput => StatusCode::BAD_REQUEST,
        Code::Conflict
        | Code::IllegalTransition
        | Code::NotBootstrapped
        | Code::QuotaExceeded
        | Code::PolicyViolation => StatusCode::CONFLICT,
        Code::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

/// An error as a body shows it.
#[derive(Serialize)]
pub(super) struct Inner<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a serde_json::Map<String, serde_json::Value>>,
}

impl<'a> From<&'a Error> for Inner<'a> {
    fn from(error: &'a Error) -> Self {
        Self {
            code: error.code.as_str(),
            message: &error.message,
            field: error.field.as_deref(),
            details: error.details.as_deref(),
        }
    }
}

/// Finishes an answer with an error as its body.
pub(super) fn finish(answer: &mut HttpResponseBuilder, error: &Error) -> HttpResponse {
    let body = serde_json::to_vec(&Body { error: error.into() }).unwrap_or_default();
    answer.insert_header(JSON).insert_header(NO_STORE).body(body)
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        status(self.code)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut answer = HttpResponse::build(self.status_code());
        match self.code {
            Code::Unauthenticated => drop(answer.insert_header(CHALLENGE)),
            Code::Unavailable => drop(answer.insert_header((RETRY_AFTER, HeaderValue::from_static("1")))),
            _ => {}
        }
        finish(&mut answer, self)
    }
}

/// A refusal by HTTP itself: its status says more than a code of ours could.
#[derive(Debug, thiserror::Error)]
#[error("{1}")]
pub(super) struct Refused(pub(super) StatusCode, pub(super) Error);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(status(error.code), error)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        self.0
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        if self.0 == status(self.1.code) {
            return self.1.error_response();
        }
        finish(&mut HttpResponse::build(self.0), &self.1)
    }
}

/// For a path that leads nowhere.
pub(super) async fn no_such_path() -> HttpResponse {
    Error::new(Code::NotFound, "there is nothing at this path; see the documentation for those there are")
        .error_response()
}

/// For a path that takes POST only (RFC 9110 §15.5.6).
pub(super) async fn post_only() -> HttpResponse {
    wrong_method("POST")
}

/// For a path that takes GET and HEAD only.
pub(super) async fn get_only() -> HttpResponse {
    wrong_method("GET, HEAD")
}

/// For a path that takes GET only, and not HEAD, because the answer is made as it is read.
pub(super) async fn only_get() -> HttpResponse {
    wrong_method("GET")
}

fn wrong_method(allow: &'static str) -> HttpResponse {
    let error = Error::new(Code::InvalidInput, format!("this path does not take that method; use {allow}"));
    let mut answer = HttpResponse::MethodNotAllowed();
    finish(answer.insert_header((ALLOW, HeaderValue::from_static(allow))), &error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_documented_status() {
        let expected = [401, 403, 404, 400, 409, 409, 409, 409, 409, 403, 429, 503, 500];
        for (code, expected) in Code::ALL.into_iter().zip(expected) {
            assert_eq!(status(code).as_u16(), expected, "{code:?}");
        }
    }

    #[test]
    fn who_is_not_authenticated_is_challenged_and_who_comes_too_early_may_return() {
        let answer = Error::new(Code::Unauthenticated, "no").error_response();
        assert_eq!(answer.headers().get("www-authenticate").unwrap(), r#"Bearer realm="keyledger""#);
        let answer = Error::unavailable("no").error_response();
        assert_eq!(answer.headers().get("retry-after").unwrap(), "1");
    }
}
