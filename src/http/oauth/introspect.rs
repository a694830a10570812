//! `POST /oauth/introspect` (RFC 7662): whoever is shown a token asks whether it is good now.
//!
//! A service asks with a management key that may verify, as bearer token; a client asks about its own tokens. Of a
//! token that is not good, or that the asker may not know of, nothing is told but that it is not active (§2.2).
//!
//! Besides the parameters of the RFC there are those of a verification that matter here: `audience`, for whom the
//! token has to be, and `ip`, from where it was presented.

use std::net::IpAddr;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use keyledger_schema::{Environment, KeyId, OrganizationId, TokenId, VerificationCode, WorkspaceId};
use serde::Serialize;

use super::client::Presented;
use super::form::Form;
use super::refusal::{NO_CACHE, OauthError};
use crate::error::Error;
use crate::http::problem::{JSON, NO_STORE};
use crate::http::{State, address, credentials};
use crate::token::Claims;
use crate::token::claims::Audience;
use crate::verify::{Answer, Asker, Inquiry, audience};

/// RFC 7662 §2.2, and the claims of a token that the RFC has no name for.
#[derive(Serialize)]
#[allow(clippy::struct_field_names, reason = "the names are those of the RFC")]
struct Active<'a> {
    active: bool,
    /// What is left of the token's scopes now.
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    client_id: KeyId,
    token_type: &'static str,
    /// Left out where a holder may have narrowed it: nobody should rely on the answer for that long.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    iat: i64,
    nbf: i64,
    sub: KeyId,
    aud: &'a Audience,
    iss: &'a str,
    jti: TokenId,
    org: OrganizationId,
    workspace: WorkspaceId,
    env: Environment,
}

/// As whoever may verify, or as a client.
pub(super) async fn introspect(
    request: HttpRequest,
    state: Data<State>,
    payload: Payload,
) -> Result<HttpResponse, OauthError> {
    let form = Form::read(&request, payload).await?;
    let asked = Inquiry {
        token: form.required("token")?,
        audience: form.one("audience").map(audience).transpose()?,
        address: form.one("ip").map(parse_address).transpose()?,
    };
    let by = match Presented::of(request.headers(), &form)? {
        Presented::Bearer => credentials::asker(&request, &state).await.map_err(OauthError::of_bearer)?,
        presented => {
            let client = presented.client()?;
            let ip = address::client(&request, &state.trusted_proxies);
            Asker::Holder(state.verifier.client(client.id, &client.secret, ip).await?)
        }
    };
    let answer = state.verifier.introspect(&asked, &by).await?;
    let text = match told(&answer) {
        Some(active) => serde_json::to_vec(&active).map_err(|_| Error::internal())?,
        None => br#"{"active":false}"#.to_vec(),
    };
    Ok(HttpResponse::Ok().insert_header(JSON).insert_header(NO_STORE).insert_header(NO_CACHE).body(text))
}

fn parse_address(text: &str) -> Result<IpAddr, OauthError> {
    text.parse().map_err(|_| {
        OauthError::invalid_request(
            "ip is an address like 203.0.113.7 or 2001:db8::7, without a port; leave it out if it is not known",
        )
    })
}

fn told(answer: &Answer) -> Option<Active<'_>> {
    let good = answer.code == VerificationCode::Valid;
    let (entry, token) = answer.entry.as_ref().zip(answer.token.as_ref()).filter(|_| good)?;
    let Claims { iss, sub, aud, exp, nbf, iat, jti, client_id, org, workspace, env, .. } = &token.claims;
    // Whatever the key lost since is lost to its tokens; what it gained they do not have.
    let kept = token.scopes.iter().filter(|scope| entry.includes(scope)).cloned();
    let of_key = entry.all_scopes().into_iter();
    let narrower = of_key.filter(|scope| token.scopes.iter().any(|wider| wider.includes(scope)));
    let mut scopes: Vec<_> = kept.chain(narrower).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    Some(Active {
        active: true,
        scope: scopes.join(" "),
        client_id: *client_id,
        token_type: "Bearer",
        exp: (!token.is_narrowed()).then_some(*exp),
        iat: *iat,
        nbf: *nbf,
        sub: *sub,
        aud,
        iss,
        jti: *jti,
        org: *org,
        workspace: *workspace,
        env: *env,
    })
}
