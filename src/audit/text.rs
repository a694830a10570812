//! Numbers and bytes in text, each with one spelling.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::tree::Hash;

/// The largest number that other implementations take: they keep sizes and indexes in signed 64 bits.
pub(super) const MAX_NUMBER: u64 = i64::MAX as u64;

/// A decimal number without sign or leading zeros.
pub(super) fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !plain {
        return None;
    }
    text.parse().ok().filter(|number| *number <= MAX_NUMBER)
}

/// Standard base64 (RFC 4648 §4), padded, with no bits left over (§3.5): no two texts mean the same bytes.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// The same for a hash.
pub(super) fn hash(text: &str) -> Option<Hash> {
    bytes(text)?.try_into().ok()
}

/// Bytes in standard base64.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(number("0"), Some(0));
        assert_eq!(number("20852163"), Some(20_852_163));
        assert_eq!(number("9223372036854775807"), Some(MAX_NUMBER));
        for text in ["", "00", "01", "+1", "-1", " 1", "1 ", "1e3", "0x1", "9223372036854775808", "1_0", "١"]
        {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(bytes("AA=="), Some(vec![0]));
        assert_eq!(bytes("+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
        for text in ["AA", "AA=", "AB==", "AA==\n", " AA==", "-_-_", "AA===", "A"] {
            assert_eq!(bytes(text), None, "{text:?}");
        }
        assert!(hash(&base64(&[1; 32])).is_some());
        assert!(hash(&base64(&[1; 31])).is_none() && hash(&base64(&[1; 33])).is_none());
    }
}
