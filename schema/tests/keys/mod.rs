//! Data keys that anybody can derive, so that files of sealed events can be made again byte by byte.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test program uses a part of it")]

use keyledger_schema::sealing::{Held, NONCE_BYTES, Unreadable};
use keyledger_schema::{DataKey, DataKeys, Sealer, Subject};

/// Knows the data keys of all subjects but those that were erased or lost.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    pub erased: Vec<Subject>,
    pub lost: Vec<Subject>,
}

impl DataKeys for Keys {
    fn data_key(&self, subject: Subject) -> Result<Held, Unreadable> {
        if self.erased.contains(&subject) {
            return Ok(Held::Erased);
        }
        if self.lost.contains(&subject) {
            return Ok(Held::Absent);
        }
        let bits = blake3::derive_key("keyledger 2026-11 data keys of tests v1", &subject.to_bytes());
        Ok(Held::Key(DataKey::new(bits)))
    }
}

impl Sealer for Keys {
    fn nonce(&self) -> [u8; NONCE_BYTES] {
        std::array::from_fn(|at| u8::try_from(at).unwrap_or_default())
    }

    fn key_to_seal(&self, subject: Subject) -> Result<Option<DataKey>, Unreadable> {
        Ok(match self.data_key(subject)? {
            Held::Key(key) => Some(key),
            Held::Erased => None,
            Held::Absent => return Err(Unreadable),
        })
    }
}
