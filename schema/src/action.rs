//! What a request wants to do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A concrete action of a request. A scope may also name every action, see [`crate::scope`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Look, change nothing.
    Read,
    /// Change.
    Write,
    /// Administer. Implies neither of the others.
    Admin,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// As written in scopes and requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is not an action.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected one of read, write, admin")]
pub struct Error;

impl FromStr for Action {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|action| action.as_str() == text).ok_or(Error)
    }
}
