//! Personal data: names, e-mail addresses, network addresses, free text and metadata.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// A value that may identify a person. It is stored as the value itself, and shown by `Debug` as
/// nothing, so that it cannot reach a log line or an error by accident. The type marks every field of
/// the log that an erasure would have to reach.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Personal<T>(pub T);

impl<T> Personal<T> {
    /// The value, for showing it to somebody who may see it.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Personal<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Personal<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personal(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_value() {
        let name = Personal("Ada Lovelace".to_owned());
        assert_eq!(format!("{name:?}"), "Personal(…)");
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"Ada Lovelace\"");
    }
}
