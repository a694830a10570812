//! Secrets: mint, check offline, hash.
//!
//! ```text
//! secret   = prefix "_" environment "_" body checksum
//! prefix   = 1 to 16 of a-z 0-9, a letter first; `kl` unless chosen
//! environment = "prod" / "stag" / "dev"
//! body     = 43 base62 digits: 256 random bits
//! checksum = 6 base62 digits: CRC-32 (ISO-HDLC) of all that stands before it
//! ```
//!
//! The checksum lets secret scanners and us reject typos without a lookup. It protects nothing: the 256
//! bits do. The log holds a keyed BLAKE3 hash of the whole text, and its key is derived from the master
//! key, so that a stolen log is useless. The hash is what a secret is looked up by; equality of keyed
//! hashes tells a timing observer nothing about the secret.
//!
//! Architecture invariant: the plain text of a secret exists in requests, in [`Secret`], and in the one
//! answer that shows it. `Debug` redacts; nothing here implements `Display` or `Serialize`.

mod brought;
mod links;
mod readings;

use std::fmt;

use keyledger_schema::{Environment, IdentityId, KeyId, LogId, OrganizationId, SecretHash, WorkspaceId};
use uuid::{Builder, Uuid};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use readings::in_any_reading;

pub use brought::{
    Brought, Foreign, MAX_HINT_BYTES, MAX_IMPORTED_BYTES, MAX_PRESENTED_BYTES, MIN_IMPORTED_BYTES, Writing,
};
pub use links::Links;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// `ceil(256 / log2(62))`.
const BODY_DIGITS: usize = 43;
/// `ceil(32 / log2(62))`.
const CHECKSUM_DIGITS: usize = 6;
/// The longest prefix, in bytes.
pub const MAX_PREFIX_BYTES: usize = 16;
/// What a secret starts with unless its key says otherwise.
pub const DEFAULT_PREFIX: &str = "kl";
/// The longest secret, in bytes.
pub const MAX_SECRET_BYTES: usize = MAX_PREFIX_BYTES + 6 + BODY_DIGITS + CHECKSUM_DIGITS;
/// How many digits of the body a hint shows: 24 of 256 bits.
const HINT_DIGITS: usize = 4;

/// Writes `value`, most significant digit first, filling all of `out`.
fn base62(mut value: u64, out: &mut [u8]) {
    for slot in out.iter_mut().rev() {
        *slot = BASE62[(value % 62) as usize];
        value /= 62;
    }
}

/// 256 bits as 43 digits: long division of the big-endian number.
fn base62_body(bits: &[u8; 32]) -> Zeroizing<[u8; BODY_DIGITS]> {
    let mut number = Zeroizing::new(*bits);
    let mut digits = Zeroizing::new([0; BODY_DIGITS]);
    for slot in digits.iter_mut().rev() {
        let mut rest = 0u32;
        for byte in number.iter_mut() {
            let value = rest << 8 | u32::from(*byte);
            // The quotient of a number below 62 * 256 by 62 fits a byte.
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *slot = BASE62[rest as usize];
    }
    digits
}

fn checksum(text: &[u8]) -> [u8; CHECKSUM_DIGITS] {
    let mut digits = [0; CHECKSUM_DIGITS];
    base62(u64::from(crc32fast::hash(text)), &mut digits);
    digits
}

/// The plain text of a secret, wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// Makes the secret of these random bits.
    pub fn mint(prefix: &str, environment: Environment, bits: &[u8; 32]) -> Self {
        let mut text = String::with_capacity(MAX_SECRET_BYTES);
        text.push_str(prefix);
        text.push('_');
        text.push_str(environment.short());
        text.push('_');
        let body = base62_body(bits);
        text.push_str(std::str::from_utf8(&*body).unwrap_or_default());
        let sum = checksum(text.as_bytes());
        text.push_str(std::str::from_utf8(&sum).unwrap_or_default());
        Self(text)
    }

    /// The text, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The start that lists may show: prefix, environment and four digits.
    pub fn hint(&self) -> &str {
        let shown = self.0.len() - (BODY_DIGITS + CHECKSUM_DIGITS) + HINT_DIGITS;
        &self.0[..shown]
    }
}

/// Whether a text can be the prefix of secrets.
pub fn is_prefix(text: &str) -> bool {
    (1..=MAX_PREFIX_BYTES).contains(&text.len())
        && text.as_bytes()[0].is_ascii_lowercase()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// A text that has the form and the checksum of a secret. Whether it is one, only a lookup tells.
#[derive(Clone, Copy)]
pub struct WellFormed<'a>(&'a str);

impl fmt::Debug for WellFormed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WellFormed(…)")
    }
}

impl<'a> WellFormed<'a> {
    /// Checks form and checksum. Allocates nothing and looks nothing up.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_SECRET_BYTES || !text.is_ascii() {
            return None;
        }
        let digits = text.len().checked_sub(BODY_DIGITS + CHECKSUM_DIGITS)?;
        let (start, rest) = text.split_at(digits);
        let (prefix, environment) = start.strip_suffix('_')?.split_once('_')?;
        if !is_prefix(prefix) || !Environment::ALL.iter().any(|known| known.short() == environment) {
            return None;
        }
        if !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let (signed, sum) = text.split_at(text.len() - CHECKSUM_DIGITS);
        (checksum(signed.as_bytes()) == sum.as_bytes()).then_some(Self(text))
    }

    /// Whether one of the words of a text is a secret, or a token of whomever, however it is encoded. Words are of
    /// letters, digits and `_`.
    pub fn is_in(text: &str) -> bool {
        let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let found = |text: &str| {
            text.split(|character| !word(character)).any(|word| WellFormed::parse(word).is_some())
                || has_token(text)
        };
        text.len() > BODY_DIGITS + CHECKSUM_DIGITS && in_any_reading(text, found)
    }
}

/// The fewest characters of a token's signature: 256 bits in base64. Those of Ed25519 have twice as many.
const MIN_SIGNATURE: usize = 43;

/// Whether a JWT stands in a text (RFC 7519 §3.1): two JSON objects and a signature in base64url, with dots
/// between. Encoded, an object begins with `eyJ`.
fn has_token(text: &str) -> bool {
    let digit = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    text.match_indices(".eyJ").any(|(dot, _)| {
        let header = text[..dot].rsplit(|character| !digit(character)).next();
        text[dot + 1..].split_once('.').is_some_and(|(payload, rest)| {
            let signature = rest.find(|character| !digit(character)).unwrap_or(rest.len());
            header.is_some_and(|header| header.contains("eyJ"))
                && payload.chars().all(digit)
                && signature >= MIN_SIGNATURE
        })
    })
}

impl<'a> WellFormed<'a> {
    /// The start that lists may show.
    pub fn hint(self) -> &'a str {
        &self.0[..self.0.len() - (BODY_DIGITS + CHECKSUM_DIGITS) + HINT_DIGITS]
    }
}

/// 256 bits from which every other key of this installation is derived. Never stored in the log.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// The master key with these bits.
    pub const fn new(bits: [u8; 32]) -> Self {
        Self(bits)
    }

    fn derive(&self, context: &str, material: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&self.0);
        for part in material {
            hasher.update(part);
        }
        Zeroizing::new(*hasher.finalize().as_bytes())
    }

    /// What hashes secrets.
    pub fn secret_hasher(&self) -> SecretHasher {
        SecretHasher {
            text: self.derive("keyledger 2026-11 secret hash v1", &[]),
            sha256: self.derive("keyledger 2026-11 imported sha-256 hash v1", &[]),
            blake3: self.derive("keyledger 2026-11 imported blake3 hash v1", &[]),
            ids: self.derive("keyledger 2026-11 imported key id v1", &[]),
        }
    }

    /// What an organization signs with (Ed25519, RFC 8032). Derived when it is needed, so it is stored
    /// nowhere and cannot be lost as long as the master key is kept.
    pub fn signing_key(&self, organization: OrganizationId, generation: u32) -> ed25519_dalek::SigningKey {
        let seed = self.derive(
            "keyledger 2026-11 organization signing key v1",
            &[organization.uuid().as_bytes(), &generation.to_be_bytes()],
        );
        ed25519_dalek::SigningKey::from_bytes(&seed)
    }

    /// What data keys are encrypted with.
    pub fn vault_key(&self) -> Zeroizing<[u8; 32]> {
        self.derive("keyledger 2026-11 vault v1", &[])
    }

    /// What a log signs its checkpoints with (Ed25519, RFC 8032). Derived likewise.
    pub fn log_key(&self, log: LogId, generation: u32) -> ed25519_dalek::SigningKey {
        let seed = self.derive(
            "keyledger 2026-11 log signing key v1",
            &[log.uuid().as_bytes(), &generation.to_be_bytes()],
        );
        ed25519_dalek::SigningKey::from_bytes(&seed)
    }

    /// What derives key ids from idempotency keys, and identities' ids from external ones.
    pub fn idempotency(&self) -> Idempotency {
        Idempotency {
            keys: self.derive("keyledger 2026-11 idempotency v1", &[]),
            identities: self.derive("keyledger 2026-11 identity id v1", &[]),
        }
    }
}

/// Hashes secrets, each scheme with a key of its own.
#[derive(Clone)]
pub struct SecretHasher {
    text: Zeroizing<[u8; 32]>,
    sha256: Zeroizing<[u8; 32]>,
    blake3: Zeroizing<[u8; 32]>,
    ids: Zeroizing<[u8; 32]>,
}

impl SecretHasher {
    /// Keyed BLAKE3 (BLAKE3 §2.3) of the whole text.
    pub fn hash(&self, secret: WellFormed<'_>) -> SecretHash {
        SecretHash(*blake3::keyed_hash(&self.text, secret.0.as_bytes()).as_bytes())
    }

    /// The same for a secret just minted.
    pub fn hash_minted(&self, secret: &Secret) -> SecretHash {
        self.hash(WellFormed(&secret.0))
    }
}

/// Turns an idempotency key into the id of the key that it creates, and an external id into that of the identity,
/// so that the log itself refuses to create it twice, on any number of nodes.
#[derive(Clone)]
pub struct Idempotency {
    keys: Zeroizing<[u8; 32]>,
    identities: Zeroizing<[u8; 32]>,
}

impl Idempotency {
    /// A UUIDv8 (RFC 9562 §5.8) that depends on the workspace and the idempotency key only.
    pub fn key_id(&self, workspace: WorkspaceId, idempotency_key: &str) -> KeyId {
        KeyId::from_uuid(derived(&self.keys, workspace.uuid(), idempotency_key))
    }

    /// A UUIDv8 that depends on the organization and the external id only.
    pub fn identity_id(&self, organization: OrganizationId, external_id: &str) -> IdentityId {
        IdentityId::from_uuid(derived(&self.identities, organization.uuid(), external_id))
    }

    /// A fingerprint of what was asked for.
    pub fn fingerprint(&self, request: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.keys, request).as_bytes()
    }
}

fn derived(key: &[u8; 32], place: Uuid, text: &str) -> Uuid {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(place.as_bytes()).update(text.as_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// Reads 32 bytes of hexadecimal, as the master key's file and variable hold them.
pub fn parse_master_key(text: &str) -> Option<MasterKey> {
    let bits = blake3::Hash::from_hex(text.trim()).ok()?;
    Some(MasterKey::new(*bits.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_secret_has_the_documented_form() {
        let secret = Secret::mint("kl", Environment::Production, &[0; 32]);
        assert_eq!(&secret.expose()[..51], "kl_prod_0000000000000000000000000000000000000000000");
        assert_eq!(secret.expose().len(), 57);
        assert_eq!(secret.hint(), "kl_prod_0000");
        let most = Secret::mint("abcdefghijklmnop", Environment::Staging, &[255; 32]);
        assert_eq!(most.expose().len(), MAX_SECRET_BYTES);
        assert!(WellFormed::parse(most.expose()).is_some());
        let among =
            |before: &str, after: &str| WellFormed::is_in(&format!("{before}{}{after}", secret.expose()));
        assert!(
            among("", "")
                && among("customers/", "/x")
                && among("see: ", ".")
                && !among("a", "")
                && !among("", "1")
        );
    }

    #[test]
    fn a_token_is_found_wherever_it_stands() {
        let token = format!("eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJrIn0.{}", "aB-_".repeat(11));
        let encoded = token.replace('.', "%2E");
        for text in
            [&token, &format!("x/{token}/y"), &format!("eyJ.{token}"), &format!("token={token}."), &encoded]
        {
            assert!(WellFormed::is_in(text), "{text}");
        }
        let short = &token[..token.len() - 2];
        let other = token.replace(".eyJ", ".abc");
        for text in [short, &other, &token.replace('.', "/"), &"eyJ".repeat(30)] {
            assert!(!WellFormed::is_in(text), "{text}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = Secret::mint("kl", Environment::Development, &[7; 32]);
        let shown = format!("{secret:?} {:?} {:?}", WellFormed(secret.expose()), MasterKey::new([7; 32]));
        assert_eq!(shown, "Secret(…) WellFormed(…) MasterKey(…)");
    }

    #[test]
    fn master_keys_are_64_hexadecimal_digits() {
        assert!(parse_master_key(&format!("{}\n", "0f".repeat(32))).is_some());
        for text in ["", "0f", &"0g".repeat(32), &"0f".repeat(33), &format!("{{{}}}", "0".repeat(62))] {
            assert!(parse_master_key(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_minted_secret_is_well_formed(bits: [u8; 32], prefix in "[a-z][a-z0-9]{0,15}") {
            for environment in Environment::ALL {
                let secret = Secret::mint(&prefix, environment, &bits);
                prop_assert!(WellFormed::parse(secret.expose()).is_some());
            }
        }

        #[test]
        fn different_bits_give_different_secrets(a: [u8; 32], b: [u8; 32]) {
            prop_assume!(a != b);
            prop_assert_ne!(
                Secret::mint("kl", Environment::Production, &a),
                Secret::mint("kl", Environment::Production, &b)
            );
        }

        #[test]
        fn a_typo_is_noticed(bits: [u8; 32], at in 0usize..57, to in "[0-9A-Za-z_]") {
            let secret = Secret::mint("kl", Environment::Production, &bits);
            let mut text = secret.expose().to_owned();
            prop_assume!(text[at..=at] != to);
            text.replace_range(at..=at, &to);
            prop_assert!(WellFormed::parse(&text).is_none());
        }

        #[test]
        fn parsing_never_panics(text in ".{0,90}") {
            let _ = WellFormed::parse(&text);
        }

        #[test]
        fn an_idempotency_key_means_one_key_in_one_workspace(a in ".{1,20}", b in ".{1,20}") {
            prop_assume!(a != b);
            let ids = MasterKey::new([1; 32]).idempotency();
            let here = WorkspaceId::from_uuid(Uuid::from_u128(1));
            let there = WorkspaceId::from_uuid(Uuid::from_u128(2));
            prop_assert_eq!(ids.key_id(here, &a), ids.key_id(here, &a));
            prop_assert_ne!(ids.key_id(here, &a), ids.key_id(here, &b));
            prop_assert_ne!(ids.key_id(here, &a), ids.key_id(there, &a));
            let (ours, theirs) = (OrganizationId::from_uuid(here.uuid()), OrganizationId::from_uuid(there.uuid()));
            prop_assert_eq!(ids.identity_id(ours, &a), ids.identity_id(ours, &a));
            prop_assert_ne!(ids.identity_id(ours, &a), ids.identity_id(ours, &b));
            prop_assert_ne!(ids.identity_id(ours, &a), ids.identity_id(theirs, &a));
            prop_assert_ne!(ids.identity_id(ours, &a).uuid(), ids.key_id(here, &a).uuid());
        }
    }
}
