//! OAuth 2.0: a key's secret is exchanged for a short-lived token, which can be checked, asked about and revoked.
//!
//! A key is a client: its id is the client id, its secret the client secret. Besides the endpoints of the
//! specifications there are two older spellings of the first one, see [`login`].
//!
//! Invariants:
//! - Errors are those of RFC 6749 §5.2, whatever went wrong, so that clients of others understand them.
//! - No answer about a token may be kept by anybody on the way. No secret and no token gets into an error.
//! - What is in `Host` or `X-Forwarded-Host` plays no part: issuers and endpoints are below the public URL that the
//!   operator configured.

mod client;
mod form;
mod introspect;
mod jwks;
mod login;
mod metadata;
mod refusal;
mod revoke;
mod target;
mod token;

use actix_web::HttpResponse;
use actix_web::web::{self, Data, ServiceConfig};

use self::refusal::wrong_method;
use crate::service::Service;
use crate::verify::mint::Mint;

/// Where secrets are exchanged for tokens.
const TOKEN: &str = "/oauth/token";
/// Where is told whether a token is good.
const INTROSPECT: &str = "/oauth/introspect";
/// Where tokens are revoked.
const REVOKE: &str = "/oauth/revoke";
/// The public keys of an issuer, below it.
const JWKS: &str = "/.well-known/jwks.json";
/// The description of an issuer (RFC 8414 §3).
const METADATA: &str = "/.well-known/oauth-authorization-server";

/// The routes of a management listener that are about tokens.
pub fn configure(config: &mut ServiceConfig, service: &Data<Service>, mint: &Data<Mint>) {
    config.app_data(Data::clone(service)).app_data(Data::clone(mint));
    let post = |path| web::resource(path).default_service(web::to(post_only));
    config
        .service(post(TOKEN).route(web::post().to(token::token)))
        .service(post("/api/login").route(web::post().to(login::login)))
        .service(post("/auth/v1/api-key/token").route(web::post().to(login::by_name)))
        .service(post(INTROSPECT).route(web::post().to(introspect::introspect)))
        .service(post(REVOKE).route(web::post().to(revoke::revoke)));
    let tail = format!("{METADATA}{{tail:(/.*)?}}");
    for path in [tail, format!("/{{organization}}{METADATA}")] {
        let resource = web::resource(path).default_service(web::to(get_only));
        config.service(
            resource.route(web::get().to(metadata::metadata)).route(web::head().to(metadata::metadata)),
        );
    }
    for path in [JWKS.to_owned(), format!("/{{organization}}{JWKS}")] {
        let resource = web::resource(path).default_service(web::to(get_only));
        config.service(resource.route(web::get().to(jwks::jwks)).route(web::head().to(jwks::jwks)));
    }
}

async fn post_only() -> HttpResponse {
    wrong_method("POST")
}

async fn get_only() -> HttpResponse {
    wrong_method("GET, HEAD")
}
