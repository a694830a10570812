//! `POST /oauth/revoke` (RFC 7009): a token is not to be good any more.
//!
//! A client revokes its own tokens, whatever became of its key. Somebody who may manage the key revokes them too, with
//! a management key as bearer token. A token that nobody knows, that is not the client's, or that has expired, is
//! answered as one that was revoked: there is nothing left to do for whoever asks (§2.2).
//!
//! When it is answered it is durable, and applied here: the next question about the token is told.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::client::Presented;
use super::form::Form;
use super::refusal::{NO_CACHE, OauthError};
use crate::error::Code;
use crate::http::problem::NO_STORE;
use crate::http::{State, address, credentials, to_its_end};
use crate::service::Service;

/// As a client, or with a management key.
pub(super) async fn revoke(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
    payload: Payload,
) -> Result<HttpResponse, OauthError> {
    let form = Form::read(&request, payload).await?;
    let token = state.verifier.signed(form.required("token")?);
    match Presented::of(request.headers(), &form)? {
        Presented::Bearer => {
            let caller = credentials::caller(&request, &state).await.map_err(OauthError::of_bearer)?;
            if let Some(token) = token {
                let claims = token.claims.clone();
                let run = async move { service.revoke_token(&caller, &claims).await };
                match to_its_end(run).await.and_then(|done| done) {
                    // Somebody who may not know of the key is told what is told of every other token.
                    Err(error) if error.code == Code::NotFound => {}
                    done => drop(done.map_err(OauthError::of_bearer)?),
                }
            }
        }
        presented => {
            let client = presented.client()?;
            let ip = address::client(&request, &state.trusted_proxies);
            let holder = state.verifier.client(client.id, &client.secret, ip).await?;
            if let Some(token) = token.filter(|token| token.claims.sub == holder.key) {
                let claims = token.claims.clone();
                let source = credentials::source(&request, &state);
                let run = async move { service.revoke_own_token(source, &claims).await };
                to_its_end(run).await??;
            }
        }
    }
    Ok(HttpResponse::Ok().insert_header(NO_STORE).insert_header(NO_CACHE).finish())
}
