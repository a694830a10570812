//! `POST /oauth/introspect` (RFC 7662): whoever is shown a token asks whether it is good now.

use actix_web::HttpResponse;

use super::refusal::{Kind, OauthError};

pub(super) async fn introspect() -> Result<HttpResponse, OauthError> {
    Err(OauthError::new(Kind::ServerError, "later"))
}
