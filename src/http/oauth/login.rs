//! Two other spellings of `POST /oauth/token`, for clients that were written for them.
//!
//! - `POST /api/login` takes the same form; `grant_type` may be left out.
//! - `POST /auth/v1/api-key/token` takes the key's name, or its address in trails, as `name` and its secret as
//!   `secret`. Names are not unique, so the secret decides which key it is; a name that is not that key's is answered
//!   as a wrong secret is.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use zeroize::Zeroizing;

use super::client::{Client, Presented};
use super::form::Form;
use super::refusal::OauthError;
use super::token::{by_credentials, issue, only_grant};
use crate::http::State;
use crate::service::Service;
use crate::verify::mint::Mint;

/// With the key's id and secret.
pub(super) async fn login(
    request: HttpRequest,
    state: Data<State>,
    mint: Data<Mint>,
    payload: Payload,
) -> Result<HttpResponse, OauthError> {
    let form = Form::read(&request, payload).await?;
    by_credentials(&request, &state, &mint, &form).await
}

/// With the key's name and secret.
pub(super) async fn by_name(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
    mint: Data<Mint>,
    payload: Payload,
) -> Result<HttpResponse, OauthError> {
    let form = Form::read(&request, payload).await?;
    only_grant(&form)?;
    // One way to authenticate, and this is one (RFC 6749 §2.3).
    if !matches!(Presented::of(request.headers(), &form)?, Presented::Nobody) {
        return Err(OauthError::invalid_request(
            "the request authenticates in two ways; send name and secret, and neither an Authorization header nor client_secret",
        ));
    }
    let name = form.required("name")?;
    let secret = Zeroizing::new(form.required("secret")?.to_owned());
    let holder = state.verifier.identify(&secret, |_| true)?;
    let id = match holder {
        Some(held) if service.is_called(held.entry.key, name).await? => Some(held.entry.key),
        _ => None,
    };
    issue(&request, &state, &mint, &form, Client { id, secret }).await
}
