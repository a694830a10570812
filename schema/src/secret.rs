//! What the log keeps of a secret: a keyed hash and the start that may be shown. Never the secret.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::chain::{hex_decode, hex_encode};

/// Keyed BLAKE3 of a secret's whole text; useless without the node's master key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

impl Serialize for SecretHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            hex_encode(&self.0, |text| serializer.serialize_str(text))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for SecretHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            hex_decode(deserializer).map(Self)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

/// One secret of a key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRecord {
    /// 1 for the first secret of a key, one more with each rotation.
    pub version: u32,
    /// See [`SecretHash`].
    pub hash: SecretHash,
    /// The start of the secret, as lists show it: `kl_prod_4fGh`.
    pub hint: Box<str>,
}

/// What was brought of a secret that was not made here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretScheme {
    /// Its text.
    Text,
    /// SHA-256 of its text (FIPS 180-4).
    Sha256,
    /// BLAKE3 of its text, not keyed.
    Blake3,
}

impl SecretScheme {
    /// Every scheme.
    pub const ALL: [Self; 3] = [Self::Text, Self::Sha256, Self::Blake3];
}
