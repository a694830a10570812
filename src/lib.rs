//! Keyledger: API keys that live in an event log.

pub mod caller;
pub mod edge;
pub mod error;
pub mod readmodel;
pub mod secret;
pub mod store;
