//! The public keys of an issuer (RFC 7517 §5): those that sign, those that will, and those whose tokens are still
//! out. What was revoked is not among them, so that whoever checks tokens offline stops to believe in it as soon as
//! they fetch this again.

use actix_web::http::header::{CACHE_CONTROL, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyledger_schema::OrganizationId;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::http::problem::{JSON, Refused};
use crate::token::jwk::{Jwk, JwkSet};
use crate::verify::mint::Mint;

/// Nothing in it is secret, and keys are added well before they sign.
const KEPT: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));

/// Of the organization in the path, or of the first one.
pub(super) async fn jwks(
    request: HttpRequest,
    mint: Data<Mint>,
    path: Option<Path<String>>,
) -> Result<HttpResponse, Refused> {
    let keyring = &mint.keyring;
    let organization: Option<OrganizationId> = match path {
        None => keyring.issuers.first(),
        Some(text) => text.parse().ok(),
    };
    let organization =
        organization.filter(|id| keyring.has(*id)).ok_or_else(|| Error::not_found("issuer", "issuer"))?;
    let keys = keyring.of(organization).iter().map(|key| Jwk::new(key.key.as_bytes())).collect();
    public(&request, &JwkSet { keys })
}

/// A document that everybody may have and keep for a while, and is told when it is still the same (RFC 9110 §13.1.2).
pub(super) fn public(request: &HttpRequest, body: &impl Serialize) -> Result<HttpResponse, Refused> {
    let text = serde_json::to_vec(body).map_err(|_| Error::internal())?;
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(&text)[..15]));
    let known = request.headers().get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
    if known.any(|known| known == "*" || known.trim_start_matches("W/") == tag) {
        return Ok(HttpResponse::NotModified().insert_header(KEPT).insert_header((ETAG, tag)).finish());
    }
    Ok(HttpResponse::Ok().insert_header(JSON).insert_header(KEPT).insert_header((ETAG, tag)).body(text))
}
