//! Data keys, and what they encrypt: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha §2.3).
//!
//! It is put together as the draft says: a key of this nonce by HChaCha20, and with it ChaCha20-Poly1305 (RFC 8439
//! §2.8) as `ring` has it. What is sealed is short, and for short texts that takes an eighth of the time of the
//! crate that has both in one.

use std::fmt;

use chacha20::{R20, hchacha};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 24;
/// Of those, how many choose the key of the nonce.
const KEY_NONCE_BYTES: usize = 16;
/// Tells data keys of a subject apart: after a vault was lost, a subject gets another one.
pub(super) const NAME_BYTES: usize = 4;
pub(super) const TAG_BYTES: usize = 16;

/// 256 bits that personal data is sealed with.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct DataKey {
    bits: [u8; 32],
    name: [u8; NAME_BYTES],
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(…)")
    }
}

impl DataKey {
    /// The key with these bits.
    pub fn new(bits: [u8; 32]) -> Self {
        let mut name = [0; NAME_BYTES];
        name.copy_from_slice(&blake3::hash(&bits).as_bytes()[..NAME_BYTES]);
        Self { bits, name }
    }

    /// Its bits, for whoever keeps or discloses it.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.bits
    }

    /// What it is told from others by.
    pub(super) const fn name(&self) -> [u8; NAME_BYTES] {
        self.name
    }

    fn of_nonce(&self, nonce: &[u8; NONCE_BYTES]) -> Option<(LessSafeKey, Nonce)> {
        let (first, last) = nonce.split_first_chunk::<KEY_NONCE_BYTES>()?;
        let mut key = hchacha::<R20>(&self.bits.into(), &(*first).into());
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, &key);
        key.zeroize();
        // Four bytes of zero come before the rest of the nonce.
        let mut rest = [0; 12];
        rest[4..].copy_from_slice(last);
        Some((LessSafeKey::new(unbound.ok()?), Nonce::assume_unique_for_key(rest)))
    }

    /// Encrypts bytes and authenticates others with them. The tag follows the ciphertext.
    pub fn encrypt(&self, nonce: &[u8; NONCE_BYTES], plain: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        let (key, nonce) = self.of_nonce(nonce)?;
        let mut out = Vec::with_capacity(plain.len() + TAG_BYTES);
        out.extend_from_slice(plain);
        key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut out).ok()?;
        Some(out)
    }

    /// Decrypts bytes where they stand, if they and the others are what was encrypted.
    pub fn decrypt<'a>(
        &self,
        nonce: &[u8; NONCE_BYTES],
        sealed: &'a mut [u8],
        aad: &[u8],
    ) -> Option<&'a mut [u8]> {
        let (key, nonce) = self.of_nonce(nonce)?;
        key.open_in_place(nonce, Aad::from(aad), sealed).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn it_is_the_example_of_the_draft() {
        // draft-irtf-cfrg-xchacha-03, appendix A.3.1.
        let key = DataKey::new(std::array::from_fn(|at| 0x80 + u8::try_from(at).unwrap()));
        let nonce = std::array::from_fn(|at| 0x40 + u8::try_from(at).unwrap());
        let aad = unhex("50515253c0c1c2c3c4c5c6c7");
        let plain =
            b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
            sunscreen would be it.";
        let sealed = key.encrypt(&nonce, plain, &aad).unwrap();
        let expected = unhex(concat!(
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39",
            "ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9",
            "21f9664c97637da9768812f615c68b13b52e",
            "c0875924c1c7987947deafd8780acf49",
        ));
        assert_eq!(sealed, expected);
    }

    proptest! {
        #[test]
        fn only_what_was_encrypted_is_decrypted(
            bits: [u8; 32], nonce: [u8; NONCE_BYTES], plain: Vec<u8>, aad: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8,
        ) {
            let key = DataKey::new(bits);
            let sealed = key.encrypt(&nonce, &plain, &aad).unwrap();
            let mut same = sealed.clone();
            prop_assert_eq!(key.decrypt(&nonce, &mut same, &aad).unwrap(), &plain[..]);
            let mut changed = sealed.clone();
            changed[at.index(sealed.len())] ^= 1 << bit;
            prop_assert!(key.decrypt(&nonce, &mut changed, &aad).is_none());
            let mut other = nonce;
            other[at.index(NONCE_BYTES)] ^= 1 << bit;
            prop_assert!(key.decrypt(&other, &mut sealed.clone(), &aad).is_none());
            let mut more = aad;
            more.push(bit);
            prop_assert!(key.decrypt(&nonce, &mut sealed.clone(), &more).is_none());
        }
    }
}
