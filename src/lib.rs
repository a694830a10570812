//! Keyledger: API keys that live in an event log.

pub mod app;
pub mod asof;
pub mod audit;
pub mod caller;
pub mod cli;
pub mod config;
pub mod decisions;
pub mod edge;
pub mod error;
pub mod export;
pub mod feed;
pub mod graphql;
pub mod http;
pub mod readmodel;
pub mod secret;
pub mod sequencer;
pub mod service;
pub mod simulation;
pub mod store;
pub mod stream_head;
pub mod tenants;
pub mod token;
pub mod vault;
pub mod verify;

/// Data keys for tests.
#[cfg(test)]
#[path = "../schema/tests/keys/mod.rs"]
mod test_keys;
