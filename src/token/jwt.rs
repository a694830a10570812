//! The compact form of a signed token (RFC 7515 §3.1, RFC 7519).
//!
//! One algorithm and one type, both fixed, so there is nothing in a header that a sender could choose (RFC 8725
//! §3.1): a header that says anything else is refused before a key is looked for. That is little enough to be
//! written here, where a library would bring all the algorithms that must be refused; the tests check it against
//! such libraries.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::claims::Claims;
use super::{MAX_BYTES, jwk};

/// RFC 8037 §3.1.
const ALG: &str = "EdDSA";
/// RFC 9068 §2.1.
const TYP: &str = "at+jwt";
/// The same with the prefix that may be left out.
const LONG_TYP: &str = "application/at+jwt";

#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    kid: &'a str,
}

/// Extensions that must be understood (`crit`, RFC 7515 §4.1.11) are among the fields that are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadHeader {
    typ: String,
    alg: String,
    kid: String,
}

/// Signs tokens of one organization.
pub struct Minter {
    key: SigningKey,
    kid: String,
}

impl Minter {
    /// With a private key.
    pub fn new(key: SigningKey) -> Self {
        let kid = jwk::thumbprint(key.verifying_key().as_bytes());
        Self { key, kid }
    }

    /// The name of its public key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The private key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// A token with these claims.
    pub fn mint(&self, claims: &Claims) -> serde_json::Result<String> {
        let header = serde_json::to_vec(&Header { typ: TYP, alg: ALG, kid: &self.kid })?;
        let mut token = String::with_capacity(1024);
        URL_SAFE_NO_PAD.encode_string(header, &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
        let signature = self.key.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut token);
        Ok(token)
    }
}

/// A token whose signature was not checked yet: all that may be looked at is which key it names.
#[derive(Debug)]
pub struct Unchecked<'a> {
    kid: String,
    signed: &'a str,
    payload: &'a str,
    signature: [u8; 64],
}

/// Whether a text can be a token at all. Cheap, and true for no secret of a key.
pub fn looks_like_one(text: &str) -> bool {
    text.starts_with("eyJ")
        && text.len() <= MAX_BYTES
        && text.bytes().filter(|&byte| byte == b'.').count() == 2
}

impl<'a> Unchecked<'a> {
    /// A token in its compact form; none if it has another form, algorithm or type.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: ReadHeader = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        let typ_fits = header.typ.eq_ignore_ascii_case(TYP) || header.typ.eq_ignore_ascii_case(LONG_TYP);
        if header.alg != ALG || !typ_fits || payload.contains('.') {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?.try_into().ok()?;
        Some(Self { kid: header.kid, signed, payload, signature })
    }

    /// The key that it says it was signed with.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it says, if this key signed it. Signatures are checked strictly: there is one for each text and key,
    /// so that a token cannot be changed into another one that is as good (RFC 8032 §5.1.7).
    pub fn claims(&self, key: &VerifyingKey) -> Option<Claims> {
        key.verify_strict(self.signed.as_bytes(), &Signature::from_bytes(&self.signature)).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(self.payload).ok()?).ok()
    }
}

#[cfg(test)]
mod tests;
