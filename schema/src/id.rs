//! Typed identifiers: TypeIDs, a type prefix and a UUID in base32 (TypeID specification 0.3).
//!
//! The registry of all prefixes is the macro call at the end. New ids are UUIDv7 (RFC 9562 §5.7), so
//! they sort by creation; ids derived from an idempotency key are UUIDv8 (§5.8).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// Crockford's base32 in lower case, as TypeID prescribes.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 128 bits in base32, with two zero bits in front.
const SUFFIX_LENGTH: usize = 26;

/// Why a text is not an identifier of the expected type.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "expected an identifier like {prefix}_01jd8x…: the prefix {prefix}_ and 26 characters of 0-9 a-z without i, l, o, u"
)]
pub struct Error {
    prefix: &'static str,
}

fn encode(uuid: Uuid) -> [u8; SUFFIX_LENGTH] {
    let bits = uuid.as_u128();
    let mut out = [0; SUFFIX_LENGTH];
    for (i, slot) in out.iter_mut().enumerate() {
        let shift = 5 * (SUFFIX_LENGTH - 1 - i);
        *slot = ALPHABET[((bits >> shift) & 31) as usize];
    }
    out
}

const fn digit(byte: u8) -> Option<u8> {
    let mut i = 0;
    while i < 32 {
        if ALPHABET[i] == byte {
            #[allow(clippy::cast_possible_truncation, reason = "i is below 32")]
            return Some(i as u8);
        }
        i += 1;
    }
    None
}

const DIGITS: [u8; 256] = {
    let mut table = [255; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation, reason = "byte is below 256")]
        if let Some(value) = digit(byte as u8) {
            table[byte] = value;
        }
        byte += 1;
    }
    table
};

fn decode(suffix: &[u8]) -> Option<Uuid> {
    if suffix.len() != SUFFIX_LENGTH || suffix[0] > b'7' {
        return None;
    }
    let mut bits: u128 = 0;
    for &byte in suffix {
        let value = DIGITS[byte as usize];
        if value == 255 {
            return None;
        }
        bits = bits << 5 | u128::from(value);
    }
    Some(Uuid::from_u128(bits))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What stands before the underscore.
            pub const PREFIX: &'static str = $prefix;
            /// The identifier with these 128 bits.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
            /// The 128 bits without their type.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let suffix = encode(self.0);
                f.write_str(concat!($prefix, "_"))?;
                f.write_str(std::str::from_utf8(&suffix).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(|suffix| decode(suffix.as_bytes()))
                    .map(Self)
                    .ok_or(Error { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    const PREFIX_LENGTH: usize = $prefix.len() + 1;
                    let mut text = [0; PREFIX_LENGTH + SUFFIX_LENGTH];
                    text[..PREFIX_LENGTH].copy_from_slice(concat!($prefix, "_").as_bytes());
                    text[PREFIX_LENGTH..].copy_from_slice(&encode(self.0));
                    serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
                } else {
                    self.0.into_bytes().serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("an identifier that starts with ", $prefix, "_"))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(Visitor)
                } else {
                    <[u8; 16]>::deserialize(deserializer).map(|bytes| Self(Uuid::from_bytes(bytes)))
                }
            }
        }
    )+};
}

ids! {
    /// An organization: the tenant.
    OrganizationId "org";
    /// A workspace of an organization.
    WorkspaceId "ws";
    /// A key: the identity, not its secret.
    KeyId "key";
    /// An event.
    EventId "evt";
    /// A role of an organization.
    RoleId "role";
    /// An identity: whoever holds several keys.
    IdentityId "idn";
    /// A request to a node.
    RequestId "req";
    /// A node: one data directory's server.
    NodeId "node";
    /// A log, told from all others.
    LogId "log";
    /// A short-lived token that a key was exchanged for.
    TokenId "tok";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_the_typeid_specification_vectors() {
        let vectors = [
            ("00000000-0000-0000-0000-000000000000", "00000000000000000000000000"),
            ("00000000-0000-0000-0000-000000000001", "00000000000000000000000001"),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", "7zzzzzzzzzzzzzzzzzzzzzzzzz"),
            ("01890a5d-ac96-774b-bcce-b302099a8057", "01h455vb4pex5vsknk084sn02q"),
        ];
        for (uuid, suffix) in vectors {
            let id = KeyId::from_uuid(uuid.parse().unwrap());
            assert_eq!(id.to_string(), format!("key_{suffix}"));
            assert_eq!(id.to_string().parse::<KeyId>().unwrap(), id);
        }
    }

    #[test]
    fn refuses_what_is_not_a_canonical_identifier() {
        for text in [
            "",
            "key",
            "key_",
            "org_01h455vb4pex5vsknk084sn02q",
            "key_01h455vb4pex5vsknk084sn02",
            "key_01h455vb4pex5vsknk084sn02qq",
            "key_8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "key_01H455VB4PEX5VSKNK084SN02Q",
            "key_01h455vb4pex5vsknk084sn02u",
            " key_01h455vb4pex5vsknk084sn02q",
        ] {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_bits_are_one_to_one(bits: u128) {
            let id = EventId::from_uuid(Uuid::from_u128(bits));
            prop_assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<EventId>(&json).unwrap(), id);
        }

        #[test]
        fn ids_sort_as_their_texts_do(a: u128, b: u128) {
            let (a, b) = (KeyId::from_uuid(Uuid::from_u128(a)), KeyId::from_uuid(Uuid::from_u128(b)));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }
    }
}
