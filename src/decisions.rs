//! Decisions: state and command in, events or a refusal out.
//!
//! Architecture invariant: pure. No clock, no randomness, no I/O; what a decision needs of these comes
//! in the command. A command that asks for what is already true yields no event and no error, so
//! repeating one is harmless.

pub mod clash;
pub mod credits;
pub mod erasure;
mod holder;
pub mod identity;
pub mod key;
pub mod limits;
pub mod organization;
pub mod policy;
pub mod signing_keys;
pub mod slug;
pub mod tokens;
pub mod warning;
pub mod workspace;

#[cfg(test)]
mod identity_tests;
#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod tenant_tests;

use keyledger_schema::Event;

pub use holder::Holder;
pub use warning::Warning;

/// What follows from a command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Decision {
    /// The events to append to the one stream that the command is about; none when it is already true.
    pub events: Vec<Event>,
    /// What the caller should know.
    pub warnings: Vec<Warning>,
}

impl Decision {
    fn one(event: Event) -> Self {
        Self { events: vec![event], warnings: Vec::new() }
    }

    fn nothing() -> Self {
        Self::default()
    }

    fn warn(mut self, warnings: impl IntoIterator<Item = Warning>) -> Self {
        self.warnings.extend(warnings);
        self
    }
}
