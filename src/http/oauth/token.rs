//! `POST /oauth/token`: the client credentials grant (RFC 6749 §4.4), with resource indicators (RFC 8707).

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use keyledger_schema::KeyId;
use serde::Serialize;
use zeroize::Zeroizing;

use super::client::{Client, Presented};
use super::form::{Broken, Form};
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
    let read = Form::read(&request, payload).await;
    let asked = read.and_then(|form| {
        form.asked(|form| {
            form.required("grant_type")?;
            by_credentials(&request, &state, form)
        })
    });
    answer(&request, &state, &mint, asked).await
}

/// What is asked for by a client that names itself and its secret, and that secret. The grant need not be named.
pub(super) fn by_credentials(
    request: &HttpRequest,
    state: &State,
    form: &Form,
) -> Result<(Zeroizing<String>, Exchange), OauthError> {
    only_grant(form)?;
    let Client { id, secret } = Presented::of(request.headers(), form)?.client()?;
    let asked = exchange(request, state, form, id, &secret)?;
    Ok((secret, asked))
}

/// Answers a client that named itself.
pub(super) async fn answer(
    request: &HttpRequest,
    state: &State,
    mint: &Mint,
    asked: Result<(Zeroizing<String>, Exchange), Broken>,
) -> Result<HttpResponse, OauthError> {
    match asked {
        Ok((secret, asked)) => issue(state, mint, &secret, asked).await,
        Err(Broken { error, form }) => {
            Err(refused(request, state, Client::all_named(request.headers(), &form), error).await)
        }
    }
}

/// Records that a request asked for a token in no way that can be answered, under the first of these clients that has
/// its secret, and gives the error back. What the request said is not recorded: it may hold anything.
pub(super) async fn refused(
    request: &HttpRequest,
    state: &State,
    clients: impl Iterator<Item = Client>,
    error: OauthError,
) -> OauthError {
    let clients: Vec<Client> = clients.collect();
    let clients = clients.iter().map(|client| (client.id, client.secret.as_str()));
    let address = address::client(request, &state.trusted_proxies);
    match state.verifier.not_exchanged(clients, address).await {
        Ok(()) => error,
        Err(unrecorded) => unrecorded.into(),
    }
}

/// There is one grant; whoever names another does not get it.
pub(super) fn only_grant(form: &Form) -> Result<(), OauthError> {
    if form.one("grant_type").is_none_or(|grant| grant == GRANT) {
        return Ok(());
    }
    Err(OauthError::new(
        Kind::UnsupportedGrantType,
        "grant_type is client_credentials, the only grant there is here; send that",
    ))
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

/// What the parameters ask for.
pub(super) fn exchange(
    request: &HttpRequest,
    state: &State,
    form: &Form,
    client: Option<KeyId>,
    secret: &str,
) -> Result<Exchange, OauthError> {
    Ok(Exchange {
        form: token_form(form.one("token_type").or_else(|| form.one("tokenType")))?,
        client,
        address: address::client(request, &state.trusted_proxies),
        environment: Request::environment(form.one("environment"))?,
        scopes: target::scopes(form, secret)?,
        audience: target::audiences(form, secret)?,
    })
}

/// Answers with a token.
pub(super) async fn issue(
    state: &State,
    mint: &Mint,
    secret: &str,
    asked: Exchange,
) -> Result<HttpResponse, OauthError> {
    let Issued { claims, token } = state.verifier.exchange(mint, secret, asked).await??;
    let body = Body {
        access_token: &token,
        token_type: "Bearer",
        expires_in: claims.exp - claims.iat,
        scope: &claims.scope,
    };
    let text = serde_json::to_vec(&body).map_err(|_| Error::internal())?;
    Ok(HttpResponse::Ok().insert_header(JSON).insert_header(NO_STORE).insert_header(NO_CACHE).body(text))
}
