//! `POST /v1/verify`: a service asks whether a key may do something.
//!
//! The verifier authenticates itself with a management key as a bearer token (RFC 6750 §2.1), unless the
//! listener is open to its host. An answer is 200 whether the key is valid or not; other statuses mean
//! that the question itself failed.

use std::net::IpAddr;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use keyledger_schema::{
    Environment, IdentityId, KeyId, OrganizationId, Timestamp, VerificationCode, WorkspaceId,
};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::body::{self, VerifyBody};
use super::problem::{JSON, NO_STORE, Refused};
use super::{State, credentials};
use crate::error::Error;
use crate::token::Claims;
use crate::verify::decision::{Request, remedy};
use crate::verify::directory::Entry;
use crate::verify::limits::{Charge, Refusal};
use crate::verify::meter::{Checked, Owner, Refused as Spending};
use crate::verify::{Answer, Asker, Question};

/// Where a rate limit stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RateLimit<'a> {
    name: &'a str,
    limit: u64,
    remaining: u64,
    reset_seconds: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shared: bool,
}

/// Credits that are left, of the key or of its identity, whichever are fewer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Credits {
    remaining: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refill_seconds: Option<u64>,
}

/// A token that was presented instead of a secret.
struct Token<'a>(&'a Claims);

impl Serialize for Token<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let claims = self.0;
        let mut token = serializer.serialize_struct("Token", 5)?;
        token.serialize_field("id", &claims.jti)?;
        token.serialize_field("scope", &claims.scope)?;
        token.serialize_field("audience", &claims.aud)?;
        token.serialize_field("issuedAt", &claims.issued_at())?;
        token.serialize_field("expiresAt", &claims.expires_at())?;
        token.end()
    }
}

/// The body of an answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    valid: bool,
    code: VerificationCode,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization_id: Option<OrganizationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace_id: Option<WorkspaceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_id: Option<IdentityId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Environment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Token<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limits: Option<Vec<RateLimit<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credits: Option<Credits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
}

impl<'a> From<&'a Answer> for Body<'a> {
    fn from(answer: &'a Answer) -> Self {
        let valid = answer.code == VerificationCode::Valid;
        let entry = answer.entry.as_deref();
        let granted = entry.filter(|_| valid);
        Self {
            valid,
            code: answer.code,
            key_id: entry.map(|entry| entry.key),
            organization_id: granted.map(Entry::organization),
            workspace_id: granted.map(|entry| entry.workspace),
            identity_id: granted.and_then(Entry::identity).map(|identity| identity.id()),
            external_id: granted.and_then(Entry::identity).and_then(|identity| identity.external_id()),
            environment: granted.map(|entry| entry.environment),
            expires_at: granted.and_then(Entry::expires_at),
            secret_version: granted.map(|entry| entry.secret_version),
            secret_expires_at: granted.and_then(Entry::secret_expires_at),
            token: answer.token.as_deref().filter(|_| valid).map(|token| Token(&token.claims)),
            rate_limits: answer.checked.as_ref().map(rate_limits).filter(|limits| !limits.is_empty()),
            credits: answer.checked.as_ref().and_then(credits),
            retry_after_seconds: answer.checked.as_ref().and_then(Checked::retry_after_seconds),
            message: (!valid).then(|| message(answer)),
        }
    }
}

fn rate_limits(checked: &Checked) -> Vec<RateLimit<'_>> {
    let shown = checked.limits().map(|(owner, rule, standing)| RateLimit {
        name: &rule.name,
        limit: rule.limit,
        remaining: standing.remaining,
        reset_seconds: standing.reset_seconds(),
        shared: owner == Owner::Identity,
    });
    shown.collect()
}

fn credits(checked: &Checked) -> Option<Credits> {
    let left = checked.credits?;
    let refill_seconds = left.refill_at.map(|at| checked.seconds_until(at));
    Some(Credits { remaining: left.remaining, refill_seconds })
}

fn message(answer: &Answer) -> &'static str {
    match answer.checked.as_ref().and_then(|checked| checked.refusal) {
        Some(Spending::Limits(Refusal::ForEver)) => {
            "the call costs more than one of the key's limits ever allows at once; lower its cost, or raise the limit"
        }
        _ => remedy(answer.code),
    }
}

/// With a verifier's key.
pub(super) async fn authenticated(
    request: HttpRequest,
    state: Data<State>,
    payload: Payload,
) -> Result<HttpResponse, Refused> {
    let asker = credentials::asker(&request, &state).await?;
    answer(&request, &state, payload, &asker).await
}

/// On a listener that is open to its host.
pub(super) async fn open(
    request: HttpRequest,
    state: Data<State>,
    payload: Payload,
) -> Result<HttpResponse, Refused> {
    answer(&request, &state, payload, &Asker::Open).await
}

async fn answer(
    request: &HttpRequest,
    state: &State,
    payload: Payload,
    asker: &Asker,
) -> Result<HttpResponse, Refused> {
    let bytes = body::read(request, payload).await?;
    let body = VerifyBody::parse(&bytes)?;
    let answer = state.verifier.verify(&question(&body)?, asker).await?;
    let mut text = Vec::with_capacity(384);
    serde_json::to_writer(&mut text, &Body::from(&answer)).map_err(|_| Error::internal())?;
    Ok(HttpResponse::Ok().insert_header(JSON).insert_header(NO_STORE).body(text))
}

/// What is asked.
pub(super) fn question<'a>(body: &'a VerifyBody<'_>) -> Result<Question<'a>, Error> {
    let address = body.ip.as_deref().map(str::parse::<IpAddr>).transpose().map_err(|_| {
        Error::invalid("ip", "an address is written like 203.0.113.7 or 2001:db8::7, without a port")
    })?;
    let request = Request {
        environment: Request::environment(body.environment.as_deref())?,
        address,
        access: Request::access(body.action.as_deref(), body.resource.as_deref())?,
    };
    Ok(Question {
        key: &body.key,
        request,
        charge: Charge { cost: body.cost, only: body.limits.as_deref() },
        tags: &body.tags,
        audience: body.audience.as_deref(),
    })
}
