//! 32 public bytes.

use serde::{Deserialize, Serialize};

/// 32 bytes that are no secret, as lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hex32(pub [u8; 32]);

impl Serialize for Hex32 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            crate::chain::hex_encode(&self.0, |text| serializer.serialize_str(text))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Hex32 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            crate::chain::hex_decode(deserializer).map(Self)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}
