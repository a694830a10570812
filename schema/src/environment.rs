//! Where a key may be used.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Fixed when a key is created.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Real users.
    Production,
    /// Rehearsal.
    Staging,
    /// Work in progress.
    Development,
}

impl Environment {
    /// Every environment.
    pub const ALL: [Self; 3] = [Self::Production, Self::Staging, Self::Development];

    /// As written in events and requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Development => "development",
        }
    }

    /// As written in the middle of a secret.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Production => "prod",
            Self::Staging => "stag",
            Self::Development => "dev",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is not an environment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected one of production, staging, development")]
pub struct Error;

impl FromStr for Environment {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|environment| environment.as_str() == text).ok_or(Error)
    }
}
