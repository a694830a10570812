//! Two other spellings of `POST /oauth/token`, for clients that were written for them.
//!
//! - `POST /api/login` takes the same form; `grant_type` may be left out.
//! - `POST /auth/v1/api-key/token` takes the key's name, or its address in trails, as `name` and its secret as
//!   `secret`. Names are not unique, and an imported secret need not be, so both together decide which key it is; a
//!   name that is not that of a key with this secret is answered as a wrong secret is.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use keyledger_schema::KeyId;
use zeroize::Zeroizing;

use super::client::{Client, Presented};
use super::form::{Broken, Form};
use super::refusal::OauthError;
use super::token::{answer, by_credentials, exchange, issue, only_grant, refused};
use crate::error::Error;
use crate::http::State;
use crate::service::Service;
use crate::verify::exchange::Exchange;
use crate::verify::mint::Mint;

/// With the key's id and secret.
pub(super) async fn login(
    request: HttpRequest,
    state: Data<State>,
    mint: Data<Mint>,
    payload: Payload,
) -> Result<HttpResponse, OauthError> {
    let read = Form::read(&request, payload).await;
    let asked = read.and_then(|form| form.asked(|form| by_credentials(&request, &state, form)));
    answer(&request, &state, &mint, asked).await
}

/// With the key's name and secret.
pub(super) async fn by_name(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
    mint: Data<Mint>,
    payload: Payload,
) -> Result<HttpResponse, OauthError> {
    let read = Form::read(&request, payload).await;
    let asked = read.and_then(|form| {
        form.asked(|form| {
            only_grant(form)?;
            // One way to authenticate, and this is one (RFC 6749 §2.3).
            if !matches!(Presented::of(request.headers(), form)?, Presented::Nobody) {
                return Err(OauthError::invalid_request(
                    "the request authenticates in two ways; send name and secret, and neither an Authorization header nor client_secret",
                ));
            }
            let name = form.required("name")?.to_owned();
            let secret = Zeroizing::new(form.required("secret")?.to_owned());
            let asked = exchange(&request, &state, form, None, &secret)?;
            Ok((name, secret, asked))
        })
    });
    match asked {
        Ok((name, secret, asked)) => {
            let client = called(&state, &service, &name, &secret).await?;
            issue(&state, &mint, &secret, Exchange { client, ..asked }).await
        }
        Err(Broken { error, form }) => {
            let by_name = match (form.one("name"), form.one("secret")) {
                (Some(name), Some(secret)) => {
                    let id = called(&state, &service, name, secret).await?;
                    Some(Client { id, secret: Zeroizing::new(secret.to_owned()) })
                }
                _ => None,
            };
            let clients = by_name.into_iter().chain(Client::all_named(request.headers(), &form));
            Err(refused(&request, &state, clients, error).await)
        }
    }
}

/// The key of this name that has this secret: each alone can be said of several.
async fn called(state: &State, service: &Service, name: &str, secret: &str) -> Result<Option<KeyId>, Error> {
    for key in state.verifier.holders(secret)? {
        if service.is_called(key, name).await? {
            return Ok(Some(key));
        }
    }
    Ok(None)
}
