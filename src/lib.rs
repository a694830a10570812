//! Keyledger: API keys that live in an event log.

pub mod caller;
pub mod config;
pub mod edge;
pub mod error;
pub mod secret;
pub mod store;
