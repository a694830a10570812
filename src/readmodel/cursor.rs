//! Cursors: where a page ends, as opaque text.
//!
//! ```text
//! cursor = base64url(list value number checksum)
//! list     1 byte   which list, sorted by what
//! value             the sort value: nothing, 8 bytes, or UTF-8
//! number   8 bytes  the row's own number, which settles ties
//! checksum 4 bytes  CRC-32 of what stands before it; notices accidents, protects nothing
//! ```
//!
//! A cursor names a place, not a row: it stays good when its row is gone. It gives no access to anything,
//! since every query filters by organization anyway.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The text is no cursor, or one of another list or order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a cursor of this list")]
pub(super) struct Error;

/// Longer texts are not looked at.
const MAX_TEXT: usize = 4_096;

/// Which list a cursor belongs to, and what it is sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum List {
    KeysByCreation,
    KeysByName,
    KeysByExpiry,
    KeysByLastUse,
    Entries,
    Identities,
    Verifications,
}

impl List {
    const fn tag(self) -> u8 {
        match self {
            Self::KeysByCreation => b'c',
            Self::KeysByName => b'n',
            Self::KeysByExpiry => b'e',
            Self::KeysByLastUse => b'u',
            Self::Entries => b'l',
            Self::Identities => b'i',
            Self::Verifications => b'v',
        }
    }
}

/// What a list is sorted by before the row's number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Nothing,
    Number(i64),
    Text(String),
}

/// A place in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Cursor {
    pub(super) value: Value,
    pub(super) number: i64,
}

impl Cursor {
    pub(super) fn write(&self, list: List) -> String {
        let mut bytes = vec![list.tag()];
        match &self.value {
            Value::Nothing => {}
            Value::Number(number) => bytes.extend_from_slice(&number.to_be_bytes()),
            Value::Text(text) => bytes.extend_from_slice(text.as_bytes()),
        }
        bytes.extend_from_slice(&self.number.to_be_bytes());
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(super) fn read(text: &str, list: List) -> Result<Self, Error> {
        if text.len() > MAX_TEXT {
            return Err(Error);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error)?;
        let (bytes, sum) = bytes.split_last_chunk().ok_or(Error)?;
        if crc32fast::hash(bytes) != u32::from_be_bytes(*sum) {
            return Err(Error);
        }
        let (bytes, number) = bytes.split_last_chunk().ok_or(Error)?;
        let (tag, value) = bytes.split_first().ok_or(Error)?;
        if *tag != list.tag() {
            return Err(Error);
        }
        let value = match list {
            List::KeysByCreation | List::Entries if value.is_empty() => Value::Nothing,
            List::KeysByCreation | List::Entries => return Err(Error),
            List::KeysByExpiry | List::KeysByLastUse | List::Verifications => {
                Value::Number(i64::from_be_bytes(value.try_into().map_err(|_| Error)?))
            }
            List::KeysByName | List::Identities => {
                Value::Text(String::from_utf8(value.to_vec()).map_err(|_| Error)?)
            }
        };
        Ok(Self { value, number: i64::from_be_bytes(*number) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LISTS: [List; 7] = [
        List::KeysByCreation,
        List::KeysByName,
        List::KeysByExpiry,
        List::KeysByLastUse,
        List::Entries,
        List::Identities,
        List::Verifications,
    ];

    fn cursor(list: List, text: &str, value: i64, number: i64) -> Cursor {
        let value = match list {
            List::KeysByCreation | List::Entries => Value::Nothing,
            List::KeysByName | List::Identities => Value::Text(text.into()),
            List::KeysByExpiry | List::KeysByLastUse | List::Verifications => Value::Number(value),
        };
        Cursor { value, number }
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_by_its_own_list_only(text: String, value: i64, number: i64) {
            for list in LISTS {
                let cursor = cursor(list, &text, value, number);
                let written = cursor.write(list);
                for other in LISTS {
                    let expected = if other == list { Ok(cursor.clone()) } else { Err(Error) };
                    prop_assert_eq!(Cursor::read(&written, other), expected);
                }
            }
        }

        #[test]
        fn a_changed_cursor_is_refused(text: String, number: i64, at: usize, to in "[A-Za-z0-9_-]") {
            let mut written = cursor(List::KeysByName, &text, 0, number).write(List::KeysByName);
            prop_assume!(written.len() <= MAX_TEXT);
            let at = at % written.len();
            prop_assume!(written[at..=at] != to);
            written.replace_range(at..=at, &to);
            prop_assert_eq!(Cursor::read(&written, List::KeysByName), Err(Error));
        }

        #[test]
        fn any_text_is_read_without_panic(text: String) {
            for list in LISTS {
                let _ = Cursor::read(&text, list);
            }
        }
    }
}
