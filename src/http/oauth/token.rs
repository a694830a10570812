//! `POST /oauth/token`: the client credentials grant (RFC 6749 §4.4), with resource indicators (RFC 8707).

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::client::{Client, Presented};
use super::form::Form;
use super::refusal::{Kind, NO_CACHE, OauthError};
use super::target;
use crate::error::Error;
use crate::http::problem::{JSON, NO_STORE};
use crate::http::{State, address};
use crate::verify::decision::Request;
use crate::verify::exchange::{self, Exchange, Issued};
use crate::verify::mint::Mint;

const GRANT: &str = "client_credentials";

/// RFC 6749 §5.1. The scope always stands there, since it need not be the one that was asked for.
#[derive(Serialize)]
struct Body<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: i64,
    /// A list of scopes is not empty (§3.3).
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
}

/// With the key's id and secret.
pub(super) async fn token(
    request: HttpRequest,
    state: Data<State>,
    mint: Data<Mint>,
    payload: Payload,
) -> Result<HttpResponse, OauthError> {
    let form = Form::read(&request, payload).await?;
    form.required("grant_type")?;
    by_credentials(&request, &state, &mint, &form).await
}

/// The same where the grant need not be named.
pub(super) async fn by_credentials(
    request: &HttpRequest,
    state: &State,
    mint: &Mint,
    form: &Form,
) -> Result<HttpResponse, OauthError> {
    only_grant(form)?;
    let client = Presented::of(request.headers(), form)?.client()?;
    issue(request, state, mint, form, client).await
}

/// There is one grant; whoever names another does not get it.
pub(super) fn only_grant(form: &Form) -> Result<(), OauthError> {
    if form.one("grant_type").is_none_or(|grant| grant == GRANT) {
        return Ok(());
    }
    Err(OauthError::new(Kind::UnsupportedGrantType, "the only grant is client_credentials; ask for that"))
}

/// Which form of token a client asks for.
fn token_form(text: Option<&str>) -> Result<exchange::Form, OauthError> {
    match text {
        None => Ok(exchange::Form::default()),
        Some(text) if text.eq_ignore_ascii_case("jwt") => Ok(exchange::Form::Jwt),
        Some(text) if text.eq_ignore_ascii_case("biscuit") => Ok(exchange::Form::Biscuit),
        Some(_) => {
            let message = "token_type is jwt, as when it is left out, or biscuit for a token that its holder can narrow";
            Err(OauthError::invalid_request(message))
        }
    }
}

/// Answers with a token for a client.
pub(super) async fn issue(
    request: &HttpRequest,
    state: &State,
    mint: &Mint,
    form: &Form,
    client: Client,
) -> Result<HttpResponse, OauthError> {
    let asked = Exchange {
        form: token_form(form.one("token_type").or_else(|| form.one("tokenType")))?,
        client: client.id,
        address: address::client(request, &state.trusted_proxies),
        environment: Request::environment(form.one("environment"))?,
        scopes: target::scopes(form)?,
        audience: target::audiences(form)?,
    };
    let Issued { claims, token } = state.verifier.exchange(mint, &client.secret, asked).await??;
    let body = Body {
        access_token: &token,
        token_type: "Bearer",
        expires_in: claims.exp - claims.iat,
        scope: &claims.scope,
    };
    let text = serde_json::to_vec(&body).map_err(|_| Error::internal())?;
    Ok(HttpResponse::Ok().insert_header(JSON).insert_header(NO_STORE).insert_header(NO_CACHE).body(text))
}
