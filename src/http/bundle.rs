//! `GET /v1/audit/bundle`: an archive for auditors, for whoever holds a management key that may read the trail.
//!
//! The body is made as it is read, and given up when nobody reads on or the key may not read any more: then it ends
//! without its last chunk, and the archive without its manifest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::rt::time::sleep;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::try_unfold;

use super::exports::{LOOK_AFTER, PATIENCE, Parameters};
use super::problem::{NO_STORE, Refused};
use super::{State, credentials};
use crate::caller::Caller;
use crate::edge::Stopwatch;
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
    let flow = Box::new(Flow { bundle, state, caller });
    let flow = Arc::new(Mutex::new(Reading::Waits(flow, Stopwatch::start())));
    actix_web::rt::spawn(give_up(Arc::downgrade(&flow)));
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/x-tar"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"keyledger-bundle.tar\""))
        .insert_header(NO_STORE)
        .streaming(try_unfold(flow, next_piece)))
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

/// A bundle on its way to its reader.
struct Flow {
    bundle: Bundle,
    state: Data<State>,
    caller: Caller,
}

/// How a bundle is with its reader.
enum Reading {
    /// It was handed something a while ago, and has not come for more.
    Waits(Box<Flow>, Stopwatch),
    /// What it came for is being made.
    Works,
    /// Nothing follows.
    Over,
}

type Shared = Mutex<Reading>;

fn reading(shared: &Shared) -> MutexGuard<'_, Reading> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a bundle whose reader does not read on, or whose key may no longer read: it would keep a place that others
/// wait for.
async fn give_up(shared: Weak<Shared>) {
    loop {
        sleep(LOOK_AFTER).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut reading = reading(&shared);
        let over = match &*reading {
            Reading::Waits(flow, since) => {
                since.elapsed() >= PATIENCE || flow.state.verifier.still_stands(&flow.caller).is_err()
            }
            Reading::Works => false,
            Reading::Over => return,
        };
        if over {
            *reading = Reading::Over;
            tracing::info!("a bundle was given up: its reader did not read on, or may not any more");
            return;
        }
    }
}

/// The next bytes for a reader that came for more.
async fn next_piece(shared: Arc<Shared>) -> Result<Option<(Bytes, Arc<Shared>)>, Error> {
    let taken = std::mem::replace(&mut *reading(&shared), Reading::Works);
    let Reading::Waits(mut flow, _) = taken else {
        *reading(&shared) = Reading::Over;
        return Err(Error::unavailable(
            "the bundle was given up, since nobody read on for a minute; begin again",
        ));
    };
    let piece = async {
        flow.state.verifier.still_stands(&flow.caller)?;
        flow.bundle.next().await.inspect_err(|error| tracing::warn!(%error, "a bundle was cut off"))
    };
    let piece = piece.await;
    *reading(&shared) = match &piece {
        Ok(Some(_)) => Reading::Waits(flow, Stopwatch::start()),
        _ => Reading::Over,
    };
    Ok(piece?.map(|bytes| (Bytes::from(bytes), shared)))
}
