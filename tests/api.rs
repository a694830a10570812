//! The API from outside: the real server, asked over HTTP.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test may stop, and its modules are its own")]

mod support;

#[path = "api/addresses.rs"]
mod addresses;
#[path = "api/administrators.rs"]
mod administrators;
#[path = "api/ask.rs"]
mod ask;
#[path = "api/audit_export_links.rs"]
mod audit_export_links;
#[path = "api/audit_exports.rs"]
mod audit_exports;
#[path = "api/bad_directories.rs"]
mod bad_directories;
#[path = "api/bad_documents.rs"]
mod bad_documents;
#[path = "api/bad_input.rs"]
mod bad_input;
#[path = "api/batch.rs"]
mod batch;
#[path = "api/biscuits.rs"]
mod biscuits;
#[path = "api/bulk.rs"]
mod bulk;
#[path = "api/completeness.rs"]
mod completeness;
#[path = "api/concurrency.rs"]
mod concurrency;
#[path = "api/credits.rs"]
mod credits;
#[path = "api/disposable.rs"]
mod disposable;
#[path = "api/erasure.rs"]
mod erasure;
#[path = "api/feed.rs"]
mod feed;
#[path = "api/founding.rs"]
mod founding;
#[path = "api/history.rs"]
mod history;
#[path = "api/idempotency.rs"]
mod idempotency;
#[path = "api/identities.rs"]
mod identities;
#[path = "api/import.rs"]
mod import;
#[path = "api/in_between.rs"]
mod in_between;
#[path = "api/isolation.rs"]
mod isolation;
#[path = "api/keys.rs"]
mod keys;
#[path = "api/leaks.rs"]
mod leaks;
#[path = "api/log.rs"]
mod log;
#[path = "api/oauth.rs"]
mod oauth;
#[path = "api/oauth_at_once.rs"]
mod oauth_at_once;
#[path = "api/oauth_ended.rs"]
mod oauth_ended;
#[path = "api/oauth_recorded.rs"]
mod oauth_recorded;
#[path = "api/oauth_refused.rs"]
mod oauth_refused;
#[path = "api/oauth_shared.rs"]
mod oauth_shared;
#[path = "api/organizations.rs"]
mod organizations;
#[path = "api/pages.rs"]
mod pages;
#[path = "api/policy.rs"]
mod policy;
#[path = "api/quota.rs"]
mod quota;
#[path = "api/rate_limits.rs"]
mod rate_limits;
#[path = "api/reads.rs"]
mod reads;
#[path = "api/reports.rs"]
mod reports;
#[path = "api/roles.rs"]
mod roles;
#[path = "api/secrets.rs"]
mod secrets;
#[path = "api/signing_keys.rs"]
mod signing_keys;
#[path = "api/simulation.rs"]
mod simulation;
#[path = "api/tenants_apart.rs"]
mod tenants_apart;
#[path = "api/time.rs"]
mod time;
#[path = "api/tokens_accepted.rs"]
mod tokens_accepted;
#[path = "api/trail.rs"]
mod trail;
#[path = "api/usage.rs"]
mod usage;
#[path = "api/who_may.rs"]
mod who_may;
