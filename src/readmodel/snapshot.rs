//! States as bytes: postcard, then a CRC-32 of it, so that a damaged row is noticed before anybody is
//! told of a state that never was.

use rusqlite::types::ValueRef;
use serde::Serialize;
use serde::de::DeserializeOwned;

const SUM: usize = 4;

/// A state cannot be written, or the bytes are not a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a snapshot in the read model is damaged")]
pub(super) struct Error;

/// The bytes of a state.
pub(super) fn write<T: Serialize>(state: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = postcard::to_extend(state, Vec::with_capacity(512)).map_err(|_| Error)?;
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

/// The state of these bytes.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let (state, sum) = bytes.split_last_chunk::<SUM>().ok_or(Error)?;
    if crc32fast::hash(state) != u32::from_le_bytes(*sum) {
        return Err(Error);
    }
    postcard::from_bytes(state).map_err(|_| Error)
}

/// The state in a column.
pub(super) fn column<T: DeserializeOwned>(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<T> {
    match row.get_ref(index)? {
        ValueRef::Blob(bytes) => read(bytes).map_err(|error| damaged(index, error)),
        _ => Err(damaged(index, Error)),
    }
}

/// As SQLite says it of a column.
pub(super) fn damaged(index: usize, error: Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Blob, Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_is_noticed() {
        let bytes = write(&("name", 7u64)).unwrap();
        assert_eq!(read::<(String, u64)>(&bytes).unwrap(), ("name".to_owned(), 7));
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert!(read::<(String, u64)>(&bytes).is_err(), "byte {at}");
        }
        assert!(read::<(String, u64)>(&[]).is_err());
    }
}
