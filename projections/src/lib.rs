//! Pure folds from events to state.
//!
//! Each fold takes what was and an event, and gives what is. The fold of a key in [`key`] is the only
//! one there is: decisions and queries both use it, so they cannot disagree.
//!
//! Architecture invariant: no clock, no I/O, no randomness, and no errors. The log is true by
//! definition; an event that makes no sense where it stands changes nothing.

pub mod as_json;
pub mod changes;
pub mod credits;
pub mod identity;
pub mod key;
pub mod log;
pub mod node;
pub mod organization;
pub mod permissions;
pub mod tokens;
pub mod usage;
pub mod workspace;

pub use changes::Change;
pub use credits::{CreditsState, Exhausted, Pool, PoolId, Tally};
pub use identity::IdentityState;
pub use key::{KeyState, KeyStatus};
pub use log::{LogKey, LogState};
pub use node::NodeState;
pub use organization::{Acknowledgement, OrganizationState, RoleState, SigningKey};
pub use tokens::RevokedTokens;
pub use usage::KeyUsage;
pub use workspace::WorkspaceState;
