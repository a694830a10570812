//! What clients find out about an issuer (RFC 8414).
//!
//! The path of an issuer stands behind the well-known part of the path (§3.1): for `https://keys.example/api/org_…`
//! that is `/.well-known/oauth-authorization-server/api/org_…`. A proxy may take its own part of the path away on the
//! way here, so that part may be missing; and many clients look below the issuer, so the document is there too.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use keyledger_schema::OrganizationId;
use serde::Serialize;

use super::{INTROSPECT, JWKS, REVOKE, TOKEN, jwks};
use crate::error::Error;
use crate::http::problem::Refused;
use crate::verify::mint::Mint;

const CLIENT_METHODS: [&str; 2] = ["client_secret_basic", "client_secret_post"];
/// Besides, those who may verify keys ask with a bearer token, which RFC 8414 §2 names like this.
const ASKER_METHODS: [&str; 3] = ["client_secret_basic", "client_secret_post", "Bearer"];

#[derive(Serialize)]
struct Body {
    issuer: String,
    token_endpoint: String,
    jwks_uri: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    grant_types_supported: [&'static str; 1],
    /// There is no authorization endpoint. The member has to be there all the same.
    response_types_supported: [&'static str; 0],
    token_endpoint_auth_methods_supported: [&'static str; 2],
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    revocation_endpoint_auth_methods_supported: [&'static str; 3],
}

/// By the path of an issuer, or below it.
pub(super) async fn metadata(
    request: HttpRequest,
    mint: Data<Mint>,
    path: Path<String>,
) -> Result<HttpResponse, Refused> {
    let issuers = &mint.keyring.issuers;
    let base = issuers.base();
    let organization = organization_of(&path, &base)
        .map_or_else(|| issuers.first(), |text| text.parse().ok())
        .filter(|id: &OrganizationId| mint.keyring.has(*id))
        .ok_or_else(|| Error::not_found("issuer", "issuer"))?;
    let issuer = issuers.of(organization);
    let body = Body {
        token_endpoint: format!("{base}{TOKEN}"),
        jwks_uri: format!("{issuer}{JWKS}"),
        introspection_endpoint: format!("{base}{INTROSPECT}"),
        revocation_endpoint: format!("{base}{REVOKE}"),
        grant_types_supported: ["client_credentials"],
        response_types_supported: [],
        token_endpoint_auth_methods_supported: CLIENT_METHODS,
        introspection_endpoint_auth_methods_supported: ASKER_METHODS,
        revocation_endpoint_auth_methods_supported: ASKER_METHODS,
        issuer,
    };
    jwks::public(&request, &body)
}

/// The text in a path that names an organization; none for the one that is not named.
fn organization_of<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    let own = base.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap_or("");
    let path = path.strip_prefix(own).filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path);
    let path = path.strip_prefix('/').unwrap_or(path);
    (!path.is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_an_organization_with_and_without_the_path_of_the_public_url() {
        for (path, base, expected) in [
            ("", "https://keys.example", None),
            ("/", "https://keys.example", None),
            ("/org_1", "https://keys.example", Some("org_1")),
            ("org_1", "https://keys.example", Some("org_1")),
            ("/api", "https://keys.example/api", None),
            ("/api/org_1", "https://keys.example/api", Some("org_1")),
            ("/org_1", "https://keys.example/api", Some("org_1")),
            ("/apiorg_1", "https://keys.example/api", Some("apiorg_1")),
            ("/org_1/x", "https://keys.example", Some("org_1/x")),
        ] {
            assert_eq!(organization_of(path, base), expected, "{path} {base}");
        }
    }
}
