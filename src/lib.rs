//! Keyledger: API keys that live in an event log.

pub mod caller;
pub mod config;
pub mod decisions;
pub mod edge;
pub mod error;
pub mod http;
pub mod secret;
pub mod store;
pub mod verify;
