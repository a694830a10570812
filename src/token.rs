//! Short-lived tokens that a key is exchanged for: their form, their claims, and who signs them.
//!
//! A token is a JWT (RFC 7519) as RFC 9068 profiles it for access tokens, signed with the Ed25519 key of the key's
//! organization (`alg` EdDSA, RFC 8037). Whoever has the organization's public keys ([`jwk`]) checks it without
//! asking here, and then knows what held when it was made; whoever asks here is told what holds now.
//!
//! Where a holder is to hand a part of what a token allows on to others, it is a [`biscuit`] instead.
//!
//! Architecture invariant: no I/O, no clock, no randomness. What a key may do is not known here.

pub mod biscuit;
pub mod claims;
#[cfg(test)]
mod fixture;
pub mod issuer;
pub mod jwk;
pub mod jwt;
pub mod keyring;

pub use claims::Claims;
pub use issuer::Issuers;
pub use keyring::Keyring;

/// Whether a text can be a token of either form. Cheap for a secret that is made here, and true for none.
pub fn looks_like_one(text: &str) -> bool {
    jwt::looks_like_one(text) || biscuit::looks_like_one(text)
}

/// The longest token that is looked at, in bytes. Headers of requests hold little more.
pub const MAX_BYTES: usize = 8 * 1024;
