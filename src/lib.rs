//! Keyledger: API keys that live in an event log.

pub mod store;
