//! The chain of a stream: each event names the hash of the stored bytes of the one before it.

use std::cell::RefCell;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Separates these hashes from every other use of BLAKE3 here (BLAKE3 §2.3, `derive_key`).
const CONTEXT: &str = "keyledger 2026-11 stream chain v1";

/// BLAKE3 in derive-key mode over an event's stored bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// Hash of an event's stored bytes.
    pub fn of(bytes: &[u8]) -> Self {
        // One hasher a thread: it is two kilobytes, more than most events, and would be copied for each of them.
        thread_local! {
            static HASHER: RefCell<blake3::Hasher> = RefCell::new(blake3::Hasher::new_derive_key(CONTEXT));
        }
        HASHER.with_borrow_mut(|hasher| Self(*hasher.reset().update(bytes).finalize().as_bytes()))
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex_encode(&self.0, |text| f.write_str(text))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ChainHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            hex_encode(&self.0, |text| serializer.serialize_str(text))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for ChainHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            hex_decode(deserializer).map(Self)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

/// Passes the 64 lower-case digits of 32 bytes to `write`, without allocating.
pub(crate) fn hex_encode<T>(bytes: &[u8; 32], write: impl FnOnce(&str) -> T) -> T {
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    write(std::str::from_utf8(&text).unwrap_or_default())
}

/// Reads exactly 64 lower-case hexadecimal digits.
pub(crate) fn hex_decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = [u8; 32];
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("64 lower-case hexadecimal digits")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<[u8; 32], E> {
            let nibble = |byte: u8| match byte {
                b'0'..=b'9' => Some(byte - b'0'),
                b'a'..=b'f' => Some(byte - b'a' + 10),
                _ => None,
            };
            let wrong = || E::invalid_length(text.len(), &self);
            let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| wrong())?;
            let mut out = [0; 32];
            for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
                *byte = nibble(pair[0]).zip(nibble(pair[1])).map(|(a, b)| a << 4 | b).ok_or_else(wrong)?;
            }
            Ok(out)
        }
    }
    deserializer.deserialize_str(Visitor)
}
