//! A key's metadata: a JSON object of the user's own.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The largest metadata, in bytes of compact JSON (4 KiB).
pub const MAX_BYTES: usize = 4 * 1024;
/// The deepest nesting of metadata, itself included. Readers of JSON refuse what nests too deep, so an event
/// that did could be written and never be read again.
pub const MAX_DEPTH: usize = 32;

/// Why a value is not metadata.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// An array, a string, a number.
    #[error("metadata is a JSON object, such as {{\"team\": \"billing\"}}")]
    NotAnObject,
    /// Over [`MAX_BYTES`].
    #[error("metadata has at most {MAX_BYTES} bytes as compact JSON, this has {0}")]
    TooLarge(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("metadata nests at most {MAX_DEPTH} deep; flatten it")]
    TooDeep,
}

/// Whether a value nests at most so deep.
fn fits(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| fits(item, depth - 1)),
        Value::Object(items) => depth > 0 && items.values().all(|item| fits(item, depth - 1)),
        _ => true,
    }
}

/// A JSON object as compact text with sorted names, at most [`MAX_BYTES`]. Empty by default.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Metadata(Box<str>);

impl Default for Metadata {
    fn default() -> Self {
        Self("{}".into())
    }
}

impl Metadata {
    /// Checks a value. `null` is the empty object.
    pub fn from_value(value: Value) -> Result<Self, Error> {
        match value {
            Value::Null => Ok(Self::default()),
            value @ Value::Object(_) => {
                if !fits(&value, MAX_DEPTH) {
                    return Err(Error::TooDeep);
                }
                let text = value.to_string();
                if text.len() > MAX_BYTES {
                    return Err(Error::TooLarge(text.len()));
                }
                Ok(Self(text.into()))
            }
            _ => Err(Error::NotAnObject),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        &*self.0 == "{}"
    }

    /// As a JSON value.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_else(|_| Value::Object(Map::new()))
    }

    /// Compact JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metadata({} bytes)", self.0.len())
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            use serde::ser::Error as _;
            let raw: &RawValue = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
            raw.serialize(serializer)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            // Bounds are for input. What is in the log stays readable when they become tighter.
            let raw = Box::<RawValue>::deserialize(deserializer)?;
            if raw.get().starts_with('{') {
                Ok(Self(raw.get().into()))
            } else {
                Err(de::Error::custom(Error::NotAnObject))
            }
        } else {
            Box::<str>::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_objects_up_to_the_limit_are_metadata() {
        assert_eq!(Metadata::from_value(json!([1])), Err(Error::NotAnObject));
        assert_eq!(Metadata::from_value(json!("a")), Err(Error::NotAnObject));
        let fits = json!({ "a": "x".repeat(MAX_BYTES - 8) });
        assert_eq!(Metadata::from_value(fits).unwrap().as_str().len(), MAX_BYTES);
        let over = json!({ "a": "x".repeat(MAX_BYTES - 7) });
        assert_eq!(Metadata::from_value(over), Err(Error::TooLarge(MAX_BYTES + 1)));
    }

    #[test]
    fn what_nests_too_deep_to_be_read_again_is_refused() {
        let nested = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({ "a": inner }));
        assert!(Metadata::from_value(nested(MAX_DEPTH)).is_ok());
        assert_eq!(Metadata::from_value(nested(MAX_DEPTH + 1)), Err(Error::TooDeep));
        let lists = (0..1_000).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(Metadata::from_value(json!({ "a": lists })), Err(Error::TooDeep));
    }

    #[test]
    fn is_stored_as_an_object_with_sorted_names() {
        let metadata =
            Metadata::from_value(serde_json::from_str(r#"{ "b": 1, "a": [1.50, "é"] }"#).unwrap()).unwrap();
        assert_eq!(serde_json::to_string(&metadata).unwrap(), r#"{"a":[1.5,"é"],"b":1}"#);
    }
}
