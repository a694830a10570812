//! `GET /v1/audit/bundle`: an archive for auditors, for whoever holds a management key that may read the trail.
//!
//! The body is made as it is [read](super::reading); one that is given up ends without the archive's manifest.

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::exports::Parameters;
use super::problem::{NO_STORE, Refused};
use super::reading::{self, Source};
use super::{State, credentials};
use crate::error::Error;
use crate::service::Service;
use crate::service::bundles::{Bundle, BundleAsked};

const PARAMETERS: &[&str] =
    &["keyId", "workspaceId", "organizationId", "from", "to", "since", "personalData"];

/// Begins a bundle and answers with its head; the body follows as it is read.
pub(super) async fn bundle(
    request: HttpRequest,
    state: Data<State>,
    service: Data<Service>,
) -> Result<HttpResponse, Refused> {
    let caller = credentials::caller(&request, &state).await?;
    let begin = {
        let (caller, service) = (caller.clone(), service.into_inner());
        async move {
            let asked = asked(&request);
            // What is meant is in the refusal, as over GraphQL.
            let target = asked.as_ref().ok().and_then(|asked| {
                let key = asked.key.map(|id| id.to_string());
                let workspace = asked.workspace.map(|id| id.to_string());
                key.or(workspace).or(asked.organization.map(|id| id.to_string()))
            });
            let begin = async { service.bundle(&caller, asked?).await };
            service.recorded(&caller, "bundle", target.as_deref(), begin).await
        }
    };
    let bundle = super::to_its_end(begin).await??;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/x-tar"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"keyledger-bundle.tar\""))
        .insert_header(NO_STORE)
        .streaming(reading::body(bundle, state, caller)))
}

fn asked(request: &HttpRequest) -> Result<BundleAsked, Error> {
    let parameters = Parameters::of(request, &[PARAMETERS])?;
    Ok(BundleAsked {
        key: parameters.parsed("keyId")?,
        workspace: parameters.parsed("workspaceId")?,
        organization: parameters.parsed("organizationId")?,
        from: parameters.moment("from")?,
        to: parameters.moment("to")?,
        since: parameters.one("since", "the size of a tree, as it stands in an earlier checkpoint")?,
        personal_data: parameters.flag("personalData", true)?,
    })
}

impl Source for Bundle {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        Self::next(self).await
    }
}
