//! Small numbers and texts as few bytes, for the blobs that usage is stored in.
//!
//! Numbers are LEB128: seven bits a byte, the lowest first. Every blob ends with a CRC-32, so that a damaged
//! one is noticed before anybody is told of uses that never were.

use crate::readmodel::snapshot::Error;

const SUM: usize = 4;

/// Adds a number.
pub(super) fn write(bytes: &mut Vec<u8>, mut number: u64) {
    #[allow(clippy::cast_possible_truncation, reason = "seven bits at a time")]
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    #[allow(clippy::cast_possible_truncation, reason = "less than 0x80")]
    bytes.push(number as u8);
}

/// Adds a number that may be below zero.
pub(super) fn write_signed(bytes: &mut Vec<u8>, number: i64) {
    write(bytes, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Adds a text of some bytes and its length.
pub(super) fn write_text(bytes: &mut Vec<u8>, text: &[u8]) {
    write(bytes, text.len() as u64);
    bytes.extend_from_slice(text);
}

/// Ends a blob.
pub(super) fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// What a blob holds, if it is whole.
pub(super) fn open(bytes: &[u8]) -> Result<Input<'_>, Error> {
    let (bytes, sum) = bytes.split_last_chunk::<SUM>().ok_or(Error)?;
    if crc32fast::hash(bytes) == u32::from_le_bytes(*sum) { Ok(Input(bytes)) } else { Err(Error) }
}

/// What is still to be read.
#[derive(Clone, Copy)]
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next bytes, if they are numbers of one byte each but for the one at `other`. They are taken then.
    #[inline]
    pub(super) fn short<const N: usize>(&mut self, other: usize) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        if bytes.iter().enumerate().any(|(n, byte)| n != other && *byte >= 0x80) {
            return None;
        }
        self.0 = rest;
        Some(*bytes)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        let (byte, rest) = self.0.split_first().ok_or(Error)?;
        self.0 = rest;
        Ok(*byte)
    }

    #[inline]
    pub(super) fn number(&mut self) -> Result<u64, Error> {
        let byte = self.byte()?;
        if byte < 0x80 { Ok(byte.into()) } else { self.long_number(byte) }
    }

    fn long_number(&mut self, first: u8) -> Result<u64, Error> {
        let mut number = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Error)
    }

    #[inline]
    pub(super) fn small(&mut self) -> Result<u32, Error> {
        u32::try_from(self.number()?).map_err(|_| Error)
    }

    pub(super) fn signed(&mut self) -> Result<i64, Error> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Error)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Error)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Error> {
        let length = usize::try_from(self.number()?).map_err(|_| Error)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(number: u64, signed: i64, text: String) {
            let mut bytes = Vec::new();
            write(&mut bytes, number);
            write_signed(&mut bytes, signed);
            write_text(&mut bytes, text.as_bytes());
            let bytes = seal(bytes);
            let mut input = open(&bytes).unwrap();
            prop_assert_eq!(input.number().unwrap(), number);
            prop_assert_eq!(input.signed().unwrap(), signed);
            prop_assert_eq!(input.text().unwrap(), text);
            prop_assert!(input.is_empty() && input.byte().is_err());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut input = Input(&bytes);
            while input.number().is_ok() {}
            let mut input = Input(&bytes);
            while input.text().is_ok() {}
            prop_assert!(open(&bytes).is_err() || bytes.len() >= SUM);
        }
    }
}
