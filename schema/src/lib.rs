//! The vocabulary of Keyledger's log: identifiers, events, the envelope they are stored in, the scope
//! grammar, and the codec between events and their stored bytes.
//!
//! Architecture invariant: this crate does no I/O, reads no clock and no randomness, and knows neither
//! HTTP nor a database. What it encodes today must be readable by every later version: `golden/` holds
//! one file for every event version ever written, and those files are never edited.

pub mod action;
pub mod actor;
pub mod chain;
pub mod codec;
pub mod credits;
pub mod environment;
pub mod event;
pub mod grant;
pub mod hex32;
pub mod id;
pub mod metadata;
pub mod personal;
pub mod policy;
pub mod resource;
pub mod role;
pub mod scope;
pub mod sealing;
pub mod secret;
pub mod stream;
pub mod timestamp;
pub mod usage;

pub use action::Action;
pub use actor::{Actor, ActorKind, Source};
pub use chain::ChainHash;
pub use codec::Envelope;
pub use credits::{Refill, Spent};
pub use environment::Environment;
pub use event::Event;
pub use grant::{Grant, GrantRole, GrantTarget};
pub use hex32::Hex32;
pub use id::{
    EventId, IdentityId, KeyId, LogId, NodeId, OrganizationId, RequestId, RoleId, TokenId, WorkspaceId,
};
pub use metadata::Metadata;
pub use personal::Personal;
pub use policy::{Policy, Rate, RateLimit, Rule};
pub use role::{RoleDefinition, RoleScope};
pub use scope::Scope;
pub use sealing::{DataKey, DataKeys, NoDataKeys, Sealer, Subject};
pub use secret::{SecretHash, SecretRecord, SecretScheme};
pub use stream::Stream;
pub use timestamp::Timestamp;
pub use usage::{Means, VerificationCode};

// What tests share names the crate as its users do.
#[cfg(test)]
extern crate self as keyledger_schema;
