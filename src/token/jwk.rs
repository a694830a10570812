//! Public keys as others fetch them: JWK sets (RFC 7517 §5).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// An Ed25519 public key (RFC 8037 §2).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Jwk {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
    x: String,
}

impl Jwk {
    /// Of a public key.
    pub fn new(public_key: &[u8; 32]) -> Self {
        Self {
            kty: "OKP",
            crv: "Ed25519",
            alg: "EdDSA",
            usage: "sig",
            kid: thumbprint(public_key),
            x: URL_SAFE_NO_PAD.encode(public_key),
        }
    }
}

/// What `/.well-known/jwks.json` holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct JwkSet {
    /// The keys whose signatures count.
    pub keys: Vec<Jwk>,
}

/// The name of a public key, the same everywhere: its thumbprint (RFC 7638 §3, RFC 8037 §2).
pub fn thumbprint(public_key: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(digest(public_key))
}

/// The short name of a public key where only a number of 32 bits can stand: the first four bytes of its thumbprint.
/// Two keys can have the same one.
pub fn number(public_key: &[u8; 32]) -> u32 {
    let [a, b, c, d, ..] = digest(public_key);
    u32::from_be_bytes([a, b, c, d])
}

fn digest(public_key: &[u8; 32]) -> [u8; 32] {
    let x = URL_SAFE_NO_PAD.encode(public_key);
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    Sha256::digest(members).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037_appendix_a() {
        let x = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let key: [u8; 32] = x.try_into().unwrap();
        assert_eq!(thumbprint(&key), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(number(&key), 0x90fa_cafe);
        assert_eq!(
            serde_json::to_value(Jwk::new(&key)).unwrap(),
            serde_json::json!({
                "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
                "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
            })
        );
    }
}
