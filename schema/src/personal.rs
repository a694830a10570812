//! Personal data: names, e-mail addresses, network addresses, free text and metadata.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Deref;

use ipnet::IpNet;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::metadata::Metadata;

/// A value that may identify a person. `Debug` shows nothing of it, so that it cannot reach a log line or an
/// error by accident.
///
/// As JSON it is written as `{"personal":…}`, which the codec replaces by the sealed value before the bytes are
/// stored ([`crate::sealing`]): the type marks every field of the log that an erasure has to reach. It is read
/// from what the codec puts in the place of the sealed value: the value itself, or `null` when nobody can read
/// it any more. In formats that people do not read, snapshots, it is the value and nothing else.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Personal<T>(pub T);

/// The name of the one field that marks a value to be sealed.
const MARK: &str = "personal";

/// Something that can be shown in the place of a value that was erased.
pub trait Erased {
    /// What is shown.
    fn erased() -> Self;
}

/// What stands in the place of an erased text.
pub const ERASED: &str = "[erased]";

impl Erased for Box<str> {
    fn erased() -> Self {
        ERASED.into()
    }
}

impl Erased for Metadata {
    fn erased() -> Self {
        Self::default()
    }
}

impl Erased for Vec<IpNet> {
    /// No network at all, which allows every address: personal data is only erased of keys that are out of use.
    fn erased() -> Self {
        Self::new()
    }
}

impl Erased for IpAddr {
    /// The unspecified address (RFC 4291 §2.5.2). Fields that hold an address are optional, and absent then.
    fn erased() -> Self {
        Ipv6Addr::UNSPECIFIED.into()
    }
}

impl<T: Erased> Personal<T> {
    /// What is shown in the place of an erased value.
    pub fn erased() -> Self {
        Self(T::erased())
    }
}

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

impl<T: Serialize> Serialize for Personal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        let mut marked = serializer.serialize_struct("Personal", 1)?;
        marked.serialize_field(MARK, &self.0)?;
        marked.end()
    }
}

impl<'de, T: Deserialize<'de> + Erased> Deserialize<'de> for Personal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return T::deserialize(deserializer).map(Self);
        }
        Ok(Option::deserialize(deserializer)?.map_or_else(Self::erased, Self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_value() {
        let name = Personal("Ada Lovelace".to_owned());
        assert_eq!(format!("{name:?}"), "Personal(…)");
    }

    #[test]
    fn a_value_is_marked_when_written_and_plain_or_gone_when_read() {
        let name = Personal(Box::<str>::from("Ada Lovelace"));
        assert_eq!(serde_json::to_string(&name).unwrap(), r#"{"personal":"Ada Lovelace"}"#);
        let read = |text| serde_json::from_str::<Personal<Box<str>>>(text).unwrap();
        assert_eq!(read(r#""Ada Lovelace""#), name);
        assert_eq!(&**read("null"), ERASED);
        assert!(serde_json::from_str::<Option<Personal<IpAddr>>>("null").unwrap().is_none());
    }
}
