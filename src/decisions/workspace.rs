//! Decisions about a workspace.

use std::time::Duration;

use keyledger_projections::WorkspaceState;
use keyledger_schema::event::{
    Event, WorkspaceCreated, WorkspaceKeysReserved, WorkspaceQuotaSet, WorkspaceRenamed,
};
use keyledger_schema::{KeyId, OrganizationId};

use super::{Decision, Warning};
use crate::error::{Code, Error, Result};

/// A place that is reserved and not taken is free again after this time.
pub const RESERVATION: Duration = Duration::from_mins(1);
/// A key whose place was reserved longer ago than this is not issued any more. Well below
/// [`RESERVATION`], so that a slow node and a fast clock elsewhere do not meet.
pub const ISSUE_WITHIN: Duration = Duration::from_secs(20);

/// What is asked of a workspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Make it.
    Create {
        /// Where it belongs.
        organization: OrganizationId,
        /// Shown to people.
        name: Box<str>,
    },
    /// Call it otherwise.
    Rename(Box<str>),
    /// Let it have so many keys, or any number.
    SetQuota {
        /// The most keys.
        max_keys: Option<u64>,
        /// The places that are taken now.
        taken: u64,
    },
}

/// Decides. `state` is none for a workspace that does not exist.
pub fn decide(state: Option<&WorkspaceState>, command: Command) -> Result<Decision> {
    match (state, command) {
        (None, Command::Create { organization, name }) => {
            Ok(Decision::one(Event::WorkspaceCreated(WorkspaceCreated { organization, name })))
        }
        (None, _) => Err(Error::not_found("input.id", "workspace")),
        (Some(_), Command::Create { .. }) => {
            Err(Error::new(Code::Conflict, "the workspace exists already; use a new id"))
        }
        (Some(state), Command::Rename(name)) if name == state.name => Ok(Decision::nothing()),
        (Some(_), Command::Rename(name)) => {
            Ok(Decision::one(Event::WorkspaceRenamed(WorkspaceRenamed { name })))
        }
        (Some(state), Command::SetQuota { max_keys, .. }) if max_keys == state.max_keys => {
            Ok(Decision::nothing())
        }
        (Some(_), Command::SetQuota { max_keys, taken }) => {
            let over = max_keys.filter(|most| taken > *most).map(|most| Warning::over_quota(most, taken));
            Ok(Decision::one(Event::WorkspaceQuotaSet(WorkspaceQuotaSet { max_keys })).warn(over))
        }
    }
}

/// How many of the keys that wait for a place get one: those that come first.
pub fn reserve(max_keys: u64, taken: u64, waiting: &[KeyId]) -> (usize, Option<Event>) {
    let free = usize::try_from(max_keys.saturating_sub(taken)).unwrap_or(usize::MAX);
    let granted = waiting.len().min(free);
    let keys = waiting[..granted].to_vec();
    (granted, (granted > 0).then_some(Event::WorkspaceKeysReserved(WorkspaceKeysReserved { keys })))
}

/// What whoever got no place is told.
pub fn no_place(max_keys: u64, taken: u64) -> Error {
    let message = format!(
        "the workspace may have {max_keys} keys and has {taken}; revoke or delete keys that nobody needs, or ask an \
         organization administrator for a higher quota"
    );
    Error::new(Code::QuotaExceeded, message)
        .about("input.workspaceId")
        .with("limit", max_keys)
        .with("count", taken)
}
