//! `/healthz` and `/readyz`, for whatever restarts processes and routes requests.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;

use super::State;
use super::problem::{JSON, NO_STORE};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    ready: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_ready: Vec<&'static str>,
}

/// The process is up and answers.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().insert_header(NO_STORE).body("ok\n")
}

/// The node can do its work; if not, what cannot.
pub(super) async fn ready(state: Data<State>) -> HttpResponse {
    let mut not_ready = (state.not_ready)();
    if state.verifier.recorder().stopped().is_some() {
        not_ready.push("recorder of verifications");
    }
    let ready = not_ready.is_empty();
    let mut answer = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    let body = serde_json::to_vec(&Body { ready, not_ready }).unwrap_or_default();
    answer.insert_header(JSON).insert_header(NO_STORE).body(body)
}
