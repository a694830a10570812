//! Signatures of addresses that can be used without a key for a while.

use keyledger_schema::SecretHash;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::MasterKey;

/// Signs addresses in the name of whoever holds a secret.
pub struct Links(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// What signs addresses.
    pub fn links(&self) -> Links {
        Links(self.derive("keyledger 2026-11 signed address v1", &[]))
    }
}

impl Links {
    /// Keyed BLAKE3 (BLAKE3 §2.3) over the hash of the secret and the address.
    pub fn sign(&self, credential: &SecretHash, address: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&credential.0).update(address.as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// Whether a signature is that of this address, in a time that tells nothing about it.
    pub fn is_signed(&self, credential: &SecretHash, address: &str, signature: &[u8]) -> bool {
        self.sign(credential, address).ct_eq(signature).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_for_one_address_of_one_secret_under_one_master_key() {
        let links = MasterKey::new([1; 32]).links();
        let (mine, other) = (SecretHash([2; 32]), SecretHash([3; 32]));
        let signature = links.sign(&mine, "/a?b=c");
        assert!(links.is_signed(&mine, "/a?b=c", &signature));
        assert!(!links.is_signed(&mine, "/a?b=d", &signature));
        assert!(!links.is_signed(&other, "/a?b=c", &signature));
        assert!(!links.is_signed(&mine, "/a?b=c", &signature[..31]));
        assert!(!links.is_signed(&mine, "/a?b=c", &[]));
        assert!(!MasterKey::new([4; 32]).links().is_signed(&mine, "/a?b=c", &signature));
    }
}
