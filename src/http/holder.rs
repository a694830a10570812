//! `POST /v1/self-revoke`: whoever holds a secret ends its key, without any management key.
//!
//! For the one who notices that a key got into other hands, on the machine that has it. Nothing is asked but
//! the secret: the key may be disabled or expired, and the address does not matter. Whoever found a secret
//! can do the same, and should.

use actix_web::http::header::AUTHORIZATION;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use keyledger_schema::event::RevocationReason;
use keyledger_schema::{EventId, KeyId};
use serde::Serialize;
use zeroize::Zeroizing;

use super::body;
use super::fields::Fields;
use super::problem::{JSON, NO_STORE, Refused};
use super::{State, address, credentials};
use crate::error::{Code, Error};
use crate::service::Service;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    key_id: KeyId,
    status: &'static str,
    /// None when it was revoked before.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<EventId>,
}

/// With the secret of the key in the body, or as a bearer token.
pub(super) async fn self_revoke(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
    payload: Payload,
) -> Result<HttpResponse, Refused> {
    let bytes = body::read(&request, payload).await?;
    let fields = Fields::of_body(&bytes, &["key", "reason", "comment"])?;
    let key = presented(&request, fields.text("key")?.map(Zeroizing::new))?;
    let reason = fields.text("reason")?;
    let reason = reason.map_or(Ok(RevocationReason::Compromised), |text| reason_of("reason", &text))?;
    let comment = Service::comment("comment", fields.text("comment")?.as_deref())?;
    let source = credentials::source(&request, &state);
    let ip = address::client(&request, &state.trusted_proxies);
    let holder = state.verifier.holder(&key, ip).await?;
    let run = async move { service.self_revoke(holder.key, source, reason, comment).await };
    let written = super::to_its_end(run).await?.map_err(of_body)?;
    let event = written.events.last().map(|event| event.envelope.id);
    let body = Body { key_id: written.state.id, status: "REVOKED", event };
    let text = serde_json::to_vec(&body).map_err(|_| Error::internal())?;
    Ok(HttpResponse::Ok().insert_header(JSON).insert_header(NO_STORE).body(text))
}

/// The one secret that a request presents.
fn presented(request: &HttpRequest, named: Option<Zeroizing<String>>) -> Result<Zeroizing<String>, Error> {
    let headers = request.headers();
    let bearer = if headers.contains_key(AUTHORIZATION) { Some(credentials::bearer(headers)?) } else { None };
    match (named, bearer) {
        (Some(named), Some(bearer)) if *named != bearer => {
            Err(Error::invalid("key", "the body and the header present two different keys; send one of them"))
        }
        (Some(named), _) => Ok(named),
        (None, Some(bearer)) => Ok(Zeroizing::new(bearer.to_owned())),
        (None, None) => Err(Error::new(
            Code::Unauthenticated,
            "send the secret of the key to be revoked, as key in the body or as Authorization: Bearer <key>",
        )),
    }
}

/// A reason as its code.
pub(super) fn reason_of(field: &'static str, text: &str) -> Result<RevocationReason, Error> {
    serde_json::from_value(text.into()).map_err(|_| {
        Error::invalid(field, "a reason is one of COMPROMISED, SUPERSEDED, UNUSED, POLICY, OTHER")
    })
}

/// A field of a command's input as this body has it. There is no id in it.
pub(super) fn of_body(mut error: Error) -> Error {
    error.field = error.field.as_deref().and_then(|field| match field.strip_prefix("input.") {
        Some("id") => None,
        Some(rest) => Some(rest.to_owned().into()),
        None => Some(field.to_owned().into()),
    });
    error
}
