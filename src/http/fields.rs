//! The fields of a JSON object, looked at one by one, for paths where a microsecond does not matter.
//!
//! Invariant: no text of the body gets into an error but the name of a field, since a body holds a key.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess};
use serde_json::value::RawValue;

use super::body::shown;
use crate::error::{Code, Error};

/// An object without repetitions.
pub(super) struct Fields<'a> {
    /// What stands before the name of a field in an error: `revoke.`
    path: &'static str,
    values: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    /// Reads a body that has no other fields than the known ones. A field that would be ignored is refused.
    pub(super) fn of_body(bytes: &'a [u8], known: &[&'static str]) -> Result<Self, Error> {
        let read: Self = serde_json::from_slice(bytes).map_err(|error| {
            let message = if error.is_data() {
                format!("the body is one JSON object with the fields {}", known.join(", "))
            } else {
                format!("the body is not valid JSON at line {} column {}", error.line(), error.column())
            };
            Error::new(Code::InvalidInput, message)
        })?;
        read.checked(known)
    }

    fn checked(self, known: &[&'static str]) -> Result<Self, Error> {
        for (at, (name, _)) in self.values.iter().enumerate() {
            // Enough to find a mistyped name by, and too little to be a secret in the wrong place.
            let field = || shown(name).chars().take(12).collect::<String>();
            let field = || format!("{}{}", self.path, field());
            if !known.contains(&&**name) {
                let message = format!("there is no such field; the fields are {}", known.join(", "));
                return Err(Error::invalid(field(), message));
            }
            if self.values[..at].iter().any(|(other, _)| other == name) {
                return Err(Error::invalid(field(), "the field is there twice; send it once"));
            }
        }
        Ok(self)
    }

    /// A value as it stands there; none where it is left out or null.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.values.iter().find(|(known, _)| known == name)?;
        Some(value.get()).filter(|value| *value != "null")
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        let value = self.raw(name).map(serde_json::from_str).transpose();
        value.map_err(|_| Error::invalid(format!("{}{name}", self.path), "the field is a text"))
    }

    /// An object in it. `path` is what stands before the names of its fields in an error.
    pub(super) fn object(
        &self,
        name: &str,
        path: &'static str,
        known: &[&'static str],
    ) -> Result<Option<Self>, Error> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let read: Self = serde_json::from_str(value).map_err(|_| {
            let message = format!("the field is an object with the fields {}", known.join(", "));
            Error::invalid(format!("{}{name}", self.path), message)
        })?;
        Self { path, ..read }.checked(known).map(Some)
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Fields<'de>, A::Error> {
                let mut values = Vec::new();
                while let Some(Name(name)) = fields.next_key()? {
                    values.push((name, fields.next_value()?));
                }
                Ok(Fields { path: "", values })
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: &[&str] = &["key", "revoke"];

    fn refusal(body: &str) -> (Option<String>, String) {
        let read = Fields::of_body(body.as_bytes(), KNOWN).and_then(|fields| {
            fields.text("key")?;
            let inner = fields.object("revoke", "revoke.", &["reason"])?;
            inner.map_or(Ok(None), |inner| inner.text("reason"))
        });
        let error = read.err().unwrap_or_else(|| panic!("{body} was taken"));
        (error.field.map(Cow::into_owned), error.message.into_owned())
    }

    #[test]
    fn what_is_wrong_is_named_and_what_was_sent_is_not() {
        for (body, field, part) in [
            ("[\"s3cret\"]", None, "one JSON object with the fields key, revoke"),
            ("{\"key\":s3cret", None, "line 1 column"),
            (r#"{"key":17}"#, Some("key"), "a text"),
            (r#"{"key":"a","\u006bey":"s3cret"}"#, Some("key"), "twice"),
            (r#"{"<s>\u0000":1}"#, Some("s"), "no such field"),
            (r#"{"revoke":"s3cret"}"#, Some("revoke"), "an object with the fields reason"),
            (r#"{"revoke":{"s3cret":1}}"#, Some("revoke.s3cret"), "no such field"),
            (r#"{"revoke":{"reason":1}}"#, Some("revoke.reason"), "a text"),
        ] {
            let (named, message) = refusal(body);
            assert_eq!(named.as_deref(), field, "{body}");
            assert!(message.contains(part) && !message.contains("s3cret"), "{body}: {message}");
        }
    }

    #[test]
    fn null_is_as_good_as_nothing() {
        let fields = Fields::of_body(br#"{"key": null ,"revoke":{}}"#, KNOWN).unwrap();
        assert_eq!(fields.text("key").unwrap(), None);
        let inner = fields.object("revoke", "revoke.", &["reason"]).unwrap().unwrap();
        assert_eq!(inner.text("reason").unwrap(), None);
    }

    proptest! {
        #[test]
        fn no_body_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[{}\\[\\]\":,a-k0-9 \\\\]{0,80}") {
            for bytes in [&bytes[..], text.as_bytes()] {
                let _ = Fields::of_body(bytes, KNOWN).map(|fields| fields.text("key"));
            }
        }
    }
}
