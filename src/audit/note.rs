//! Signed notes (C2SP signed-note v1.0): a text, and signatures by named keys. Ed25519 only (RFC 8032).

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature as Ed25519, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::text;

/// The longest note that is looked at, in bytes: sixteen post-quantum signatures of nearly 5 kB, and a text.
pub const MAX_NOTE_BYTES: usize = 128 * 1024;
/// The most signatures in a note; every verifier takes as many.
pub const MAX_SIGNATURES: usize = 16;
/// The longest name of a key, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// The byte that stands for Ed25519 in key ids and verifier keys.
const ED25519: u8 = 0x01;

/// Why something is not a note, or not one to believe.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Larger than [`MAX_NOTE_BYTES`], or with more signatures than [`MAX_SIGNATURES`].
    #[error("the note is longer than {MAX_NOTE_BYTES} bytes or has more than {MAX_SIGNATURES} signatures")]
    TooLarge,
    /// Not UTF-8, a control character, no empty line before the signatures, a malformed line.
    #[error("this is not a signed note: {0}")]
    Malformed(&'static str),
    /// A key name that is empty, too long, or holds white space or a plus.
    #[error("a key's name has 1 to {MAX_NAME_BYTES} bytes without white space and plus signs")]
    Name,
    /// A verifier key that is none.
    #[error("this is not an Ed25519 verifier key (<name>+<key id>+<base64>): {0}")]
    VerifierKey(&'static str),
    /// A known key's signature does not fit the text.
    #[error("the signature of {0} does not fit the text")]
    Signature(Box<str>),
    /// None of the signatures is by a known key.
    #[error("no signature is by a known key")]
    Unsigned,
}

/// Key names hold no Unicode white space and no plus.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && !name.chars().any(|character| character.is_whitespace() || character == '+' || character < ' ')
}

/// Who signs notes, as those know who check them. Written `<name>+<key id in hex>+<base64>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifierKey {
    name: Box<str>,
    id: u32,
    key: VerifyingKey,
}

impl VerifierKey {
    /// The verifier key of this name and public key.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, Error> {
        if !is_name(name) {
            return Err(Error::Name);
        }
        let digest = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', ED25519])
            .chain_update(key.as_bytes())
            .finalize();
        Ok(Self {
            name: name.into(),
            id: u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]),
            key,
        })
    }

    /// What stands in signature lines.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of the hash of name and key.
    pub const fn id(&self) -> u32 {
        self.id
    }

    fn signed(&self, line: &Signature) -> bool {
        line.id == self.id && line.name == self.name
    }

    /// Strict in the sense of Ed25519: no small-order key or point, so no signature fits two texts.
    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        Ed25519::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(text.as_bytes(), &signature).is_ok())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519];
        key.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{:08x}+{}", self.name, self.id, text::base64(&key))
    }
}

impl FromStr for VerifierKey {
    type Err = Error;
    fn from_str(written: &str) -> Result<Self, Error> {
        // The base64 of the key may hold a plus of its own.
        let mut parts = written.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::VerifierKey("it has not three parts"));
        };
        let bytes = text::bytes(key).ok_or(Error::VerifierKey("its last part is not base64"))?;
        let [ED25519, key @ ..] = bytes.as_slice() else {
            return Err(Error::VerifierKey("its key is of another kind"));
        };
        let key: &[u8; 32] = key.try_into().map_err(|_| Error::VerifierKey("its key has not 32 bytes"))?;
        let key = VerifyingKey::from_bytes(key)
            .ok()
            .filter(|key| !key.is_weak())
            .ok_or(Error::VerifierKey("its key is none of Ed25519"))?;
        let parsed = Self::new(name, key)?;
        // One spelling: this settles the digits of the id as well.
        if parsed.to_string() == written && id.len() == 8 {
            Ok(parsed)
        } else {
            Err(Error::VerifierKey("its id does not belong to its name and key"))
        }
    }
}

/// A key that signs notes in a name.
#[derive(Clone)]
pub struct Signer {
    verifier: VerifierKey,
    key: SigningKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

impl Signer {
    /// Signs in this name with this key.
    pub fn new(name: &str, key: SigningKey) -> Result<Self, Error> {
        Ok(Self { verifier: VerifierKey::new(name, key.verifying_key())?, key })
    }

    /// What checks the signatures.
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }
}

/// A signature line.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Signature {
    name: Box<str>,
    id: u32,
    bytes: Vec<u8>,
}

/// A text with signatures that nobody has checked yet. `Display` writes it as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    text: Box<str>,
    signatures: Vec<Signature>,
}

impl Note {
    /// Signs a text that ends in a newline.
    pub fn sign(text: &str, signers: &[&Signer]) -> Result<Self, Error> {
        let signatures = signers.iter().map(|signer| Signature {
            name: signer.verifier.name.clone(),
            id: signer.verifier.id,
            bytes: signer.key.sign(text.as_bytes()).to_bytes().to_vec(),
        });
        let note = Self { text: text.into(), signatures: signatures.collect() };
        // Whatever cannot be read again is not signed.
        Self::parse(note.to_string().as_bytes())
    }

    /// Takes a note apart. Says nothing about its signatures.
    pub fn parse(note: &[u8]) -> Result<Self, Error> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(Error::TooLarge);
        }
        let note = std::str::from_utf8(note).map_err(|_| Error::Malformed("it is not UTF-8"))?;
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(Error::Malformed("it holds a control character"));
        }
        // The text may hold empty lines: the last one ends it.
        let end = note.rfind("\n\n").ok_or(Error::Malformed("no empty line stands before the signatures"))?;
        let (text, lines) = (&note[..=end], &note[end + 2..]);
        let lines =
            lines.strip_suffix('\n').ok_or(Error::Malformed("it does not end in a signature line"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == MAX_SIGNATURES {
                return Err(Error::TooLarge);
            }
            signatures.push(signature(line).ok_or(Error::Malformed("a line is not a signature"))?);
        }
        Ok(Self { text: text.into(), signatures })
    }

    /// The text, its last newline included. Believe it only after [`Note::verify`].
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Names and key ids of all signatures, of unknown and false ones too.
    pub fn signers(&self) -> impl Iterator<Item = (&str, u32)> {
        self.signatures.iter().map(|line| (&*line.name, line.id))
    }

    /// Which of these keys signed the text: at least one. Signatures of other keys are ignored; a false one of a
    /// known key rejects the note.
    pub fn verify<'a>(&self, known: &'a [VerifierKey]) -> Result<Vec<&'a VerifierKey>, Error> {
        let mut signers: Vec<&VerifierKey> = Vec::new();
        for line in &self.signatures {
            for key in known.iter().filter(|key| key.signed(line)) {
                if !key.verifies(&self.text, &line.bytes) {
                    return Err(Error::Signature(key.name.clone()));
                }
                if !signers.contains(&key) {
                    signers.push(key);
                }
            }
        }
        if signers.is_empty() { Err(Error::Unsigned) } else { Ok(signers) }
    }
}

/// `— <name> <base64 of key id and signature>`, the dash being U+2014.
fn signature(line: &str) -> Option<Signature> {
    let (name, bytes) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = text::bytes(bytes)?;
    let (id, rest) = bytes.split_first_chunk::<4>()?;
    let whole = is_name(name) && !rest.is_empty();
    whole.then(|| Signature { name: name.into(), id: u32::from_be_bytes(*id), bytes: rest.to_vec() })
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            let bytes = [&line.id.to_be_bytes(), line.bytes.as_slice()].concat();
            writeln!(f, "\u{2014} {} {}", line.name, text::base64(&bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
