//! Secrets that were made elsewhere: brought as text, or as a digest of it.
//!
//! A digest that somebody else computed may be of a weak secret and can be guessed then, so it gets into the
//! log no more than a text does: what is stored and looked up is a keyed hash of it, with a key of its own
//! for each scheme. A text is hashed as ours are, so one that looks like one of ours is found like one.
//!
//! Invariant: the two ends meet. The hash of what is brought is the hash that a presented text of the same
//! secret is looked up by.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use keyledger_schema::{KeyId, SecretHash, SecretScheme};
use sha2::{Digest, Sha256};
use uuid::Builder;
use zeroize::Zeroizing;

use super::{Secret, SecretHasher};

/// The shortest text that is taken for an imported secret, brought or presented, in bytes. What is shorter is
/// guessed too easily.
pub const MIN_IMPORTED_BYTES: usize = 16;
/// The longest secret that can be brought as text, in bytes.
pub const MAX_IMPORTED_BYTES: usize = 256;
/// The longest presented text that is compared with imported secrets, in bytes. A digest says nothing of the
/// length of its secret, so this is more than [`MAX_IMPORTED_BYTES`].
pub const MAX_PRESENTED_BYTES: usize = 1_024;
/// The longest hint, in bytes.
pub const MAX_HINT_BYTES: usize = 16;
/// A text of this many bytes shows four of them, a shorter one two.
const LONG_BYTES: usize = 24;

/// A presented text that can be an imported secret.
#[derive(Clone, Copy)]
pub struct Foreign<'a>(&'a str);

impl fmt::Debug for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Foreign(…)")
    }
}

fn fits(text: &str, most: usize) -> bool {
    (MIN_IMPORTED_BYTES..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl<'a> Foreign<'a> {
    /// None for a text that no imported secret can be, which then costs no hash.
    pub fn parse(text: &'a str) -> Option<Self> {
        fits(text, MAX_PRESENTED_BYTES).then_some(Self(text))
    }
}

/// How a digest that is brought is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writing {
    /// SHA-256 in 64 hexadecimal digits.
    Sha256Hex,
    /// SHA-256 in base64, of either alphabet, padded or not.
    Sha256Base64,
    /// BLAKE3 with 256 bits in 64 hexadecimal digits.
    Blake3Hex,
}

/// Of either alphabet after the two digits were unified; padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Writing {
    const fn scheme(self) -> SecretScheme {
        match self {
            Self::Sha256Hex | Self::Sha256Base64 => SecretScheme::Sha256,
            Self::Blake3Hex => SecretScheme::Blake3,
        }
    }

    fn read(self, text: &str) -> Option<[u8; 32]> {
        match self {
            // Digits of either case; nothing but digits.
            Self::Sha256Hex | Self::Blake3Hex => Some(*blake3::Hash::from_hex(text).ok()?.as_bytes()),
            Self::Sha256Base64 => {
                BASE64.decode(text.replace('-', "+").replace('_', "/")).ok()?.try_into().ok()
            }
        }
    }
}

/// What is brought of a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Brought {
    /// Its text.
    Text(Secret),
    /// A digest of its text.
    Digest(SecretScheme, Zeroizing<[u8; 32]>),
}

impl fmt::Debug for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Brought(…)")
    }
}

impl Brought {
    /// A text, if it can be a secret.
    pub fn text(text: String) -> Option<Self> {
        let text = Secret(text);
        fits(&text.0, MAX_IMPORTED_BYTES).then_some(Self::Text(text))
    }

    /// A digest, if it is written as it is said to be.
    pub fn digest(writing: Writing, text: &str) -> Option<Self> {
        writing.read(text).map(|digest| Self::Digest(writing.scheme(), Zeroizing::new(digest)))
    }

    /// What of the secret this is.
    pub fn scheme(&self) -> SecretScheme {
        match self {
            Self::Text(_) => SecretScheme::Text,
            Self::Digest(scheme, _) => *scheme,
        }
    }

    /// The start that lists may show: at most a sixth of a long secret and an eighth of a short one. Nobody
    /// knows the start of a digest's secret.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Text(secret) => secret.0.get(..if secret.0.len() < LONG_BYTES { 2 } else { 4 }),
            Self::Digest(..) => None,
        }
    }

    /// Whether a text is the very secret.
    pub fn is(&self, text: &str) -> bool {
        match self {
            Self::Text(secret) => secret.0 == text,
            Self::Digest(scheme, known) => digest(*scheme, text).is_some_and(|digest| digest == **known),
        }
    }
}

/// The digest of a text; none where the text itself is what counts.
fn digest(scheme: SecretScheme, text: &str) -> Option<[u8; 32]> {
    match scheme {
        SecretScheme::Text => None,
        SecretScheme::Sha256 => Some(Sha256::digest(text.as_bytes()).into()),
        SecretScheme::Blake3 => Some(*blake3::hash(text.as_bytes()).as_bytes()),
    }
}

impl SecretHasher {
    /// The hash that a presented text is looked up by where secrets of a scheme were brought.
    pub fn hash_foreign(&self, scheme: SecretScheme, text: Foreign<'_>) -> SecretHash {
        self.of(scheme, text.0)
    }

    /// The hashes by which a key with this secret can be known here, first the one that an import of it is
    /// known by. Of a digest there is no other.
    pub fn hashes(&self, brought: &Brought) -> Vec<SecretHash> {
        match brought {
            Brought::Text(secret) => {
                SecretScheme::ALL.into_iter().map(|scheme| self.of(scheme, &secret.0)).collect()
            }
            Brought::Digest(scheme, digest) => vec![self.keyed(*scheme, &**digest)],
        }
    }

    fn of(&self, scheme: SecretScheme, text: &str) -> SecretHash {
        match digest(scheme, text) {
            None => self.keyed(scheme, text.as_bytes()),
            Some(digest) => self.keyed(scheme, &digest),
        }
    }

    fn keyed(&self, scheme: SecretScheme, bytes: &[u8]) -> SecretHash {
        let key = match scheme {
            SecretScheme::Text => &self.text,
            SecretScheme::Sha256 => &self.sha256,
            SecretScheme::Blake3 => &self.blake3,
        };
        SecretHash(*blake3::keyed_hash(key, bytes).as_bytes())
    }

    /// The id of the key that is imported with a secret of this hash, a UUIDv8 (RFC 9562 §5.8). It depends on
    /// nothing else, so that the log itself refuses to import a secret twice, on any number of nodes and for
    /// any organization.
    pub fn imported_id(&self, hash: &SecretHash) -> KeyId {
        let mut bytes = [0; 16];
        blake3::Hasher::new_keyed(&self.ids).update(&hash.0).finalize_xof().fill(&mut bytes);
        KeyId::from_uuid(Builder::from_custom_bytes(bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use keyledger_schema::Environment;
    use proptest::prelude::*;

    use super::*;
    use crate::secret::{MasterKey, WellFormed};

    fn hasher() -> SecretHasher {
        MasterKey::new([1; 32]).secret_hasher()
    }

    fn sha256_hex(text: &str) -> String {
        blake3::Hash::from_bytes(Sha256::digest(text.as_bytes()).into()).to_hex().to_string()
    }

    #[test]
    fn digests_are_those_of_the_standards() {
        // FIPS 180-4's example, and the first of BLAKE3's own.
        assert_eq!(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let abc = Brought::digest(Writing::Sha256Hex, &sha256_hex("abc")).unwrap();
        assert!(abc.is("abc") && !abc.is("abd"));
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert!(Brought::digest(Writing::Blake3Hex, empty).unwrap().is(""));
    }

    #[test]
    fn what_is_no_secret_or_digest_is_refused() {
        for text in
            ["", "fifteen-bytes..", "with a space in it", "umlauts-äöü-äöü-äöü", "line\nfeed-line-feed"]
        {
            assert!(Brought::text(text.to_owned()).is_none(), "{text:?}");
        }
        assert!(Brought::text("x".repeat(MAX_IMPORTED_BYTES)).is_some());
        assert!(Brought::text("x".repeat(MAX_IMPORTED_BYTES + 1)).is_none());
        assert!(Foreign::parse(&"x".repeat(MAX_PRESENTED_BYTES)).is_some());
        assert!(Foreign::parse(&"x".repeat(MAX_PRESENTED_BYTES + 1)).is_none());
        let hex = "0f".repeat(32);
        for text in ["", &hex[1..], &format!("{hex}0f"), &format!("0x{}", &hex[2..]), &"0g".repeat(32)] {
            assert!(Brought::digest(Writing::Sha256Hex, text).is_none(), "{text}");
            assert!(Brought::digest(Writing::Blake3Hex, text).is_none(), "{text}");
        }
        for text in ["", "AAAA", &STANDARD.encode([0; 31]), &STANDARD.encode([0; 33]), "*"] {
            assert!(Brought::digest(Writing::Sha256Base64, text).is_none(), "{text}");
        }
    }

    #[test]
    fn nothing_of_a_secret_is_shown_but_its_start() {
        let short = Brought::text("0123456789abcdef".to_owned()).unwrap();
        assert_eq!(short.hint(), Some("01"));
        let long = Brought::text("0123456789abcdef01234567".to_owned()).unwrap();
        assert_eq!(long.hint(), Some("0123"));
        let digest = Brought::digest(Writing::Sha256Hex, &"0f".repeat(32)).unwrap();
        assert_eq!(digest.hint(), None);
        assert_eq!(
            format!("{short:?} {digest:?} {:?}", Foreign("secret")),
            "Brought(…) Brought(…) Foreign(…)"
        );
    }

    proptest! {
        #[test]
        fn a_presented_text_meets_what_was_brought_of_it(text in "[!-~]{16,256}") {
            let hasher = hasher();
            let digest = Sha256::digest(text.as_bytes());
            let brought = [
                Brought::text(text.clone()).unwrap(),
                Brought::digest(Writing::Sha256Hex, &sha256_hex(&text)).unwrap(),
                Brought::digest(Writing::Sha256Hex, &sha256_hex(&text).to_uppercase()).unwrap(),
                Brought::digest(Writing::Sha256Base64, &STANDARD.encode(digest)).unwrap(),
                Brought::digest(Writing::Sha256Base64, &STANDARD_NO_PAD.encode(digest)).unwrap(),
                Brought::digest(Writing::Sha256Base64, &URL_SAFE.encode(digest)).unwrap(),
                Brought::digest(Writing::Sha256Base64, &URL_SAFE_NO_PAD.encode(digest)).unwrap(),
                Brought::digest(Writing::Blake3Hex, &blake3::hash(text.as_bytes()).to_hex()).unwrap(),
            ];
            let all = hasher.hashes(&brought[0]);
            for brought in &brought {
                let presented = hasher.hash_foreign(brought.scheme(), Foreign::parse(&text).unwrap());
                prop_assert_eq!(hasher.hashes(brought)[0], presented);
                prop_assert!(all.contains(&presented) && brought.is(&text));
            }
        }

        #[test]
        fn schemes_installations_and_secrets_do_not_meet(a in "[!-~]{16,64}", b in "[!-~]{16,64}") {
            prop_assume!(a != b);
            let mut hashes = Vec::new();
            for hasher in [hasher(), MasterKey::new([2; 32]).secret_hasher()] {
                for text in [&a, &b] {
                    hashes.extend(hasher.hashes(&Brought::text(text.clone()).unwrap()));
                }
            }
            let ids: HashSet<_> = hashes.iter().map(|hash| hasher().imported_id(hash)).collect();
            let different: HashSet<_> = hashes.into_iter().collect();
            prop_assert_eq!((different.len(), ids.len()), (12, 12));
        }

        #[test]
        fn a_digest_is_not_kept_as_it_came(digest: [u8; 32]) {
            let hex = blake3::Hash::from_bytes(digest).to_hex();
            for writing in [Writing::Sha256Hex, Writing::Blake3Hex] {
                let hashes = hasher().hashes(&Brought::digest(writing, &hex).unwrap());
                prop_assert_ne!(hashes[0].0, digest);
            }
        }

        #[test]
        fn a_brought_text_of_ours_is_found_as_ours(bits: [u8; 32]) {
            let ours = Secret::mint("kl", Environment::Production, &bits);
            let brought = Brought::text(ours.expose().to_owned()).unwrap();
            let known = hasher().hash(WellFormed::parse(ours.expose()).unwrap());
            prop_assert_eq!(hasher().hashes(&brought)[0], known);
        }

        #[test]
        fn reading_never_panics(text in ".{0,300}") {
            let _ = Foreign::parse(&text);
            for writing in [Writing::Sha256Hex, Writing::Sha256Base64, Writing::Blake3Hex] {
                let _ = Brought::digest(writing, &text);
            }
            let _ = Brought::text(text);
        }
    }
}
