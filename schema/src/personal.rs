//! Personal data: names, e-mail addresses, network addresses, free text and metadata.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Deref;

use ipnet::IpNet;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, IntoDeserializer, SeqAccess, Unexpected, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::hex32::Hex32;
use crate::metadata::Metadata;

/// A value that may identify a person. `Debug` shows nothing of it, so that it cannot reach a log line or an
/// error by accident.
///
/// As JSON it is written as `{"personal":…}`, which the codec replaces by the sealed value before the bytes are
/// stored ([`crate::sealing`]): the type marks every field of the log that an erasure has to reach. It is read
/// from what the codec puts in the place of the sealed value: the value itself, `null` where it was erased, or
/// [`UNREADABLE`] where its data key is not at hand for another reason. In formats that people do not read,
/// snapshots, it is the value and nothing else.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Personal<T>(pub T);

/// The name of the one field that marks a value to be sealed.
const MARK: &str = "personal";

/// Something that has values to be shown in the place of one that nobody can read.
pub trait Erased: Sized {
    /// What is shown where it was erased.
    fn erased() -> Self;

    /// What is shown where it was not erased, and cannot be read all the same.
    fn unreadable() -> Self;

    /// Reads the value, or [`UNREADABLE`] in its place.
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// What stands in the place of an erased text.
pub const ERASED: &str = "[erased]";

/// What stands in the place of a value whose data key was lost, damaged or withheld.
pub const UNREADABLE: &str = "[unreadable]";

impl Erased for Box<str> {
    fn erased() -> Self {
        ERASED.into()
    }

    fn unreadable() -> Self {
        UNREADABLE.into()
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

impl Erased for Metadata {
    fn erased() -> Self {
        Self::default()
    }

    /// It has a name that says so.
    fn unreadable() -> Self {
        let raw = serde_json::json!({ UNREADABLE: true });
        Self::from_value(raw).unwrap_or_default()
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if raw.get().trim_matches('"') == UNREADABLE {
            return Ok(Self::unreadable());
        }
        serde_json::from_str(raw.get()).map_err(D::Error::custom)
    }
}

impl Erased for Vec<IpNet> {
    /// No network at all, which allows every address: personal data is only erased of keys that are out of use.
    fn erased() -> Self {
        Self::new()
    }

    /// A network that no client has: what restricted the key is not known, so it is of no use.
    fn unreadable() -> Self {
        vec![IpNet::from(IpAddr::unreadable())]
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Networks;
        impl<'de> Visitor<'de> for Networks {
            type Value = Vec<IpNet>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of networks")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                if text == UNREADABLE {
                    Ok(Erased::unreadable())
                } else {
                    Err(E::invalid_value(Unexpected::Str(text), &self))
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, networks: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(networks))
            }
        }
        deserializer.deserialize_any(Networks)
    }
}

impl Erased for IpAddr {
    /// The unspecified address (RFC 4291 §2.5.2). Fields that hold an address are optional, and absent then.
    fn erased() -> Self {
        Ipv6Addr::UNSPECIFIED.into()
    }

    /// The unspecified address, which nobody has.
    fn unreadable() -> Self {
        Ipv6Addr::UNSPECIFIED.into()
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Address;
        impl Visitor<'_> for Address {
            type Value = IpAddr;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<IpAddr, E> {
                if text == UNREADABLE {
                    return Ok(IpAddr::unreadable());
                }
                text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Address)
    }
}

impl Erased for Hex32 {
    /// Fields that hold one are optional, and absent then.
    fn erased() -> Self {
        Self([0; 32])
    }

    /// The hash of nothing that anybody could name.
    fn unreadable() -> Self {
        Self([0; 32])
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Hex32;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Hex32, E> {
                if text == UNREADABLE {
                    return Ok(Hex32::unreadable());
                }
                Hex32::deserialize(text.into_deserializer())
            }
        }
        deserializer.deserialize_str(Digits)
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
        let read = Option::<Read<T>>::deserialize(deserializer)?;
        Ok(read.map_or_else(Self::erased, |Read(value)| Self(value)))
    }
}

/// A value as the codec gives it.
struct Read<T>(T);

impl<'de, T: Erased> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Self)
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

    fn read<T: for<'de> Deserialize<'de> + Erased>(text: &str) -> Result<T, String> {
        let read = serde_json::from_str::<Option<Personal<T>>>(text).map_err(|error| error.to_string())?;
        Ok(read.unwrap().0)
    }

    #[test]
    fn what_cannot_be_read_is_told_apart_from_what_was_erased_and_restricts_to_nobody() {
        const TEXT: &str = "\"[unreadable]\"";
        assert_eq!(&*read::<Box<str>>(TEXT).unwrap(), UNREADABLE);
        assert_eq!(read::<Metadata>(TEXT).unwrap().as_str(), r#"{"[unreadable]":true}"#);
        assert_eq!(read::<IpAddr>(TEXT).unwrap(), "::".parse::<IpAddr>().unwrap());
        assert_eq!(read::<Hex32>(TEXT).unwrap(), Hex32([0; 32]));
        let networks = read::<Vec<IpNet>>(TEXT).unwrap();
        for client in ["192.0.2.1", "::1", "2001:db8::1", "0.0.0.0", "::ffff:192.0.2.1"] {
            let client: IpAddr = client.parse().unwrap();
            assert!(!networks.is_empty() && !networks.iter().any(|network| network.contains(&client)));
        }
        // Anything else is what it was, or refused.
        assert_eq!(read::<IpAddr>(r#""192.0.2.1""#).unwrap(), "192.0.2.1".parse::<IpAddr>().unwrap());
        assert_eq!(
            read::<Vec<IpNet>>(r#"["10.0.0.0/8"]"#).unwrap(),
            ["10.0.0.0/8".parse::<IpNet>().unwrap()]
        );
        assert_eq!(read::<Metadata>(r#"{"a":"[unreadable]"}"#).unwrap().as_str(), r#"{"a":"[unreadable]"}"#);
        assert!(read::<IpAddr>(r#""[erased]""#).is_err() && read::<Vec<IpNet>>(r#""10.0.0.0/8""#).is_err());
        assert!(read::<Metadata>(r#""text""#).is_err() && read::<Hex32>(r#""12""#).is_err());
    }
}
