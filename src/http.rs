//! HTTP: listeners, routes, and how errors look there.
//!
//! There are two kinds of listener. A *management* listener serves everything, and every question needs a
//! key. An *open* listener is for a sidecar: it answers `/v1/verify`, `/v1/verify/batch` and `/v1/authorize` to
//! whoever reaches it, and so is bound to a loopback address or not at all.
//!
//! Architecture invariant: handlers turn requests into questions and answers into bytes. They decide
//! nothing, and append nothing. No log line is written per verification; the log has it.

pub mod address;
mod audit_export;
mod authorize;
mod batch;
mod body;
mod bundle;
mod completeness;
mod credentials;
mod events;
mod exports;
mod fields;
pub mod graphql;
mod health;
mod holder;
mod identify;
mod log;
pub mod oauth;
mod problem;
mod reading;
mod reports;
pub mod server;
mod socket;
mod sse;
mod verify;

use std::sync::Arc;

use actix_web::web::{self, Data, ServiceConfig};
use ipnet::IpNet;

pub use self::batch::MAX_REQUESTS;
pub use self::body::MAX_BODY_BYTES;
pub use self::problem::status;
use crate::error::Error;
use crate::feed::Feeds;
use crate::service::Service;
use crate::service::exports::links;
use crate::verify::Verifier;

/// What a node says when it is not ready: names of what is missing, for people.
pub type Readiness = Arc<dyn Fn() -> Vec<&'static str> + Send + Sync>;

/// What every handler may use.
pub struct State {
    /// Answers questions.
    pub verifier: Arc<Verifier>,
    /// Proxies whose word on addresses counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Besides the recorder, what must work for the node to be ready; empty when all of it does.
    pub not_ready: Readiness,
}

/// What a listener serves, and to whom.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Everything, to whoever holds a key.
    Management,
    /// Verification, to whoever is on this host.
    Open,
}

/// The routes of a listener. Further routes of a management listener are added by the caller.
pub fn configure(config: &mut ServiceConfig, kind: Kind, state: &Data<State>) {
    config.app_data(Data::clone(state));
    let verify = web::resource("/v1/verify").default_service(web::to(problem::post_only));
    let batch = web::resource("/v1/verify/batch").default_service(web::to(problem::post_only));
    let authorize = web::resource("/v1/authorize");
    match kind {
        Kind::Management => config
            .service(verify.route(web::post().to(verify::authenticated)))
            .service(batch.route(web::post().to(batch::authenticated)))
            .service(authorize.to(authorize::authenticated)),
        Kind::Open => config
            .service(verify.route(web::post().to(verify::open)))
            .service(batch.route(web::post().to(batch::open)))
            .service(authorize.to(authorize::open)),
    };
    for (path, get, head) in [
        ("/healthz", web::get().to(health::live), web::head().to(health::live)),
        ("/readyz", web::get().to(health::ready), web::head().to(health::ready)),
    ] {
        let resource = web::resource(path).route(get).route(head);
        config.service(resource.default_service(web::to(problem::get_only)));
    }
    config.default_service(web::to(problem::no_such_path));
}

/// The routes of a management listener that are about a secret somebody has in their hands.
pub fn configure_holders(config: &mut ServiceConfig, service: &Data<Service>) {
    config.app_data(Data::clone(service));
    let resource = |path| web::resource(path).default_service(web::to(problem::post_only));
    config
        .service(resource("/v1/self-revoke").route(web::post().to(holder::self_revoke)))
        .service(resource("/v1/identify").route(web::post().to(identify::identify)));
}

/// The routes of a management listener that hand out files.
pub fn configure_exports(config: &mut ServiceConfig, service: &Data<Service>) {
    config.app_data(Data::clone(service));
    let resource = |path| web::resource(path).default_service(web::to(problem::only_get));
    config
        .service(resource(links::PATH).route(web::get().to(audit_export::events)))
        .service(resource("/v1/audit/bundle").route(web::get().to(bundle::bundle)))
        .service(resource("/v1/exports/usage").route(web::get().to(exports::usage)))
        .service(resource("/v1/exports/verifications").route(web::get().to(exports::verifications)));
}

/// The routes of a management listener that show the log to outsiders. `public` opens checkpoints and tiles of
/// hashes to everybody.
pub fn configure_log(config: &mut ServiceConfig, service: &Data<Service>, public: bool) {
    config.app_data(Data::clone(service)).app_data(Data::new(log::Public(public)));
    let resource = |path| web::resource(path).default_service(web::to(problem::get_only));
    config
        .service(
            resource("/log/checkpoint")
                .route(web::get().to(log::checkpoint))
                .route(web::head().to(log::checkpoint)),
        )
        .service(
            resource("/log/tile/{tile:.*}").route(web::get().to(log::tile)).route(web::head().to(log::tile)),
        )
        .service(
            resource("/log/entries/{tile:.*}")
                .route(web::get().to(log::entries))
                .route(web::head().to(log::entries)),
        )
        .service(
            resource("/log/proof/{id}").route(web::get().to(log::proof)).route(web::head().to(log::proof)),
        );
}

/// The routes of a management listener that hand out reports.
pub fn configure_reports(config: &mut ServiceConfig, service: &Data<Service>) {
    config.app_data(Data::clone(service));
    let resource = |path| web::resource(path).default_service(web::to(problem::only_get));
    config
        .service(resource("/v1/reports/key-activity").route(web::get().to(reports::key_activity)))
        .service(resource("/v1/reports/access-review").route(web::get().to(reports::access_review)))
        .service(resource("/v1/reports/policy-violations").route(web::get().to(reports::policy_violations)));
}

/// The routes of a management listener that prove something.
pub fn configure_proofs(config: &mut ServiceConfig, service: &Data<Service>) {
    config.app_data(Data::clone(service));
    let resource = |path| web::resource(path).default_service(web::to(problem::only_get));
    config.service(resource("/v1/audit/completeness").route(web::get().to(completeness::completeness)));
}

/// The routes of a management listener that wait for events.
pub fn configure_feeds(config: &mut ServiceConfig, feeds: &Data<Feeds>) {
    config.app_data(Data::clone(feeds));
    let resource = web::resource("/v1/events").default_service(web::to(problem::only_get));
    config.service(resource.route(web::get().to(events::poll)));
}

/// Runs a command on its own, so that a client who hangs up cuts nothing off in the middle: what has begun is
/// finished, its guards are held until it is applied, and a refusal is recorded.
async fn to_its_end<T: 'static>(run: impl Future<Output = T> + 'static) -> Result<T, Error> {
    actix_web::rt::spawn(run).await.map_err(|_| {
        tracing::error!("a request panicked");
        Error::internal()
    })
}
