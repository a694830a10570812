//! Personal data in stored events is sealed: encrypted with a key of the person's or thing's own, the *data key*
//! of a *subject*. Deleting the data key erases all that was sealed with it, while the stored bytes, and so
//! every hash and proof over them, stay as they are.
//!
//! A sealed value stands in the JSON of an event as `{"sealed":"<base64url>"}` (RFC 4648 §5, without padding).
//! The bytes are the kind of the subject (1 key, 2 identity, 3 organization, 4 node, 5 workspace, 6 log), the 16
//! bytes of its id, the first 4 bytes of the data key's BLAKE3 hash, a nonce of 24 bytes, and the ciphertext with its tag of 16 bytes by XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha
//! §2.2, over RFC 8439). What is encrypted is the value as JSON. The associated data is the text
//!
//! ```text
//! keyledger personal data v1
//! <event id>
//! <stream>
//! <number>
//! ```
//!
//! with a newline between the lines and none at the end; the number says which of the event's sealed values it
//! is, counted from 0 in the order of the bytes. So a sealed value that was moved to another place opens
//! nowhere.
//!
//! Whose data is it? Who acted (e-mail, address, user agent): the acting key's own, and that of the stream where
//! no key acted. What an event tells: that of what its stream is named after, or, for a recorded verification, of
//! the verified key where one is known.
//!
//! Sealing and opening work on the text of an event: `{"personal":` and `{"sealed":"` cannot stand inside a
//! JSON string, where every quotation mark has a backslash before it, so they are found without parsing.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use memchr::memmem::Finder;
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::id::{EventId, IdentityId, KeyId, LogId, NodeId, OrganizationId, WorkspaceId};
use crate::stream::Stream;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 24;
const SUBJECT_BYTES: usize = 17;
/// Tells data keys of a subject apart: after a vault was lost, a subject gets another one.
const NAME_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
const MARK: &[u8] = br#"{"personal":"#;
const SEALED: &[u8] = br#"{"sealed":""#;

/// The most bytes of JSON that a value of so many bytes of JSON takes when it is sealed.
pub const fn sealed_bytes(plain: usize) -> usize {
    let inside = SUBJECT_BYTES + NAME_BYTES + NONCE_BYTES + plain + TAG_BYTES;
    SEALED.len() + inside.div_ceil(3) * 4 + 2
}

/// Whose personal data it is: what has a data key of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    /// A key and whoever holds it.
    Key(KeyId),
    /// An identity.
    Identity(IdentityId),
    /// An organization.
    Organization(OrganizationId),
    /// A node, and those whom it does not know.
    Node(NodeId),
    /// A workspace.
    Workspace(WorkspaceId),
    /// A log.
    Log(LogId),
}

impl Subject {
    /// One byte for the kind, then the id.
    pub fn to_bytes(self) -> [u8; SUBJECT_BYTES] {
        let (kind, id) = match self {
            Self::Key(id) => (1, id.uuid()),
            Self::Identity(id) => (2, id.uuid()),
            Self::Organization(id) => (3, id.uuid()),
            Self::Node(id) => (4, id.uuid()),
            Self::Workspace(id) => (5, id.uuid()),
            Self::Log(id) => (6, id.uuid()),
        };
        let mut bytes = [kind; SUBJECT_BYTES];
        bytes[1..].copy_from_slice(id.as_bytes());
        bytes
    }

    /// The subject of these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, id) = bytes.split_first()?;
        let id = Uuid::from_slice(id).ok()?;
        Some(match kind {
            1 => Self::Key(KeyId::from_uuid(id)),
            2 => Self::Identity(IdentityId::from_uuid(id)),
            3 => Self::Organization(OrganizationId::from_uuid(id)),
            4 => Self::Node(NodeId::from_uuid(id)),
            5 => Self::Workspace(WorkspaceId::from_uuid(id)),
            6 => Self::Log(LogId::from_uuid(id)),
            _ => return None,
        })
    }

    /// Whose data an event of a stream tells.
    pub const fn of_stream(stream: Stream) -> Self {
        match stream {
            Stream::Key(id) => Self::Key(id),
            Stream::Identity(id) => Self::Identity(id),
            Stream::Organization(id) | Stream::Audit(id) => Self::Organization(id),
            Stream::Workspace(id) => Self::Workspace(id),
            Stream::Usage(id) | Stream::Node(id) => Self::Node(id),
            Stream::Log(id) => Self::Log(id),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Identity(id) => id.fmt(f),
            Self::Organization(id) => id.fmt(f),
            Self::Node(id) => id.fmt(f),
            Self::Workspace(id) => id.fmt(f),
            Self::Log(id) => id.fmt(f),
        }
    }
}

/// 256 bits that personal data is sealed with.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; 32]);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(…)")
    }
}

impl DataKey {
    /// The key with these bits.
    pub const fn new(bits: [u8; 32]) -> Self {
        Self(bits)
    }

    /// Its bits, for whoever keeps or discloses it.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// What it is told from others by.
    fn name(&self) -> [u8; NAME_BYTES] {
        let mut name = [0; NAME_BYTES];
        name.copy_from_slice(&blake3::hash(&self.0).as_bytes()[..NAME_BYTES]);
        name
    }

    /// Encrypts bytes and authenticates others with them.
    pub fn encrypt(&self, nonce: &[u8; NONCE_BYTES], plain: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        let cipher = XChaCha20Poly1305::new(&Key::from(self.0));
        cipher.encrypt(&XNonce::from(*nonce), Payload { msg: plain, aad }).ok()
    }

    /// Decrypts bytes, if they and the others are what was encrypted.
    pub fn decrypt(&self, nonce: &[u8; NONCE_BYTES], sealed: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        let cipher = XChaCha20Poly1305::new(&Key::from(self.0));
        cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad }).ok()
    }
}

/// It is not known now whether there is a data key. Whoever took that for none would show what is there as erased, or
/// leave out of the log what belongs into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the data keys cannot be read now")]
pub struct Unreadable;

/// Whoever keeps data keys.
pub trait DataKeys: Send + Sync {
    /// The data key of a subject; none when it was erased or never made.
    fn data_key(&self, subject: Subject) -> Result<Option<DataKey>, Unreadable>;
}

/// Whoever has no data key: every personal value reads as erased.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDataKeys;

impl DataKeys for NoDataKeys {
    fn data_key(&self, _: Subject) -> Result<Option<DataKey>, Unreadable> {
        Ok(None)
    }
}

/// Whoever can seal: has data keys and gives nonces.
pub trait Sealer: DataKeys {
    /// Bytes that were never given before. Random ones are: there are enough of them.
    fn nonce(&self) -> [u8; NONCE_BYTES];
}

/// Why a text cannot be sealed or opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// It marks more values than whose they are is known of.
    #[error("a personal value belongs to nobody")]
    Nobody,
    /// It is cut off.
    #[error("a personal value does not end")]
    Endless,
    /// What is sealed has another form.
    #[error("a sealed value has another form than this version knows")]
    Form,
    /// The data key is there, and it does not open it.
    #[error("a sealed value does not belong where it stands, or was changed")]
    Forged,
    /// The data keys cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// The event that values stand in: what is authenticated with them.
pub(crate) struct Place {
    aad: String,
    /// How many values stand before the next one.
    number: u32,
}

impl Place {
    pub(crate) fn new(id: EventId, stream: Stream) -> Self {
        Self::named(&id, &stream)
    }

    fn named(id: &dyn fmt::Display, stream: &dyn fmt::Display) -> Self {
        Self { aad: format!("keyledger personal data v1\n{id}\n{stream}\n"), number: 0 }
    }

    /// The associated data of the next value.
    fn next(&mut self) -> String {
        let aad = format!("{}{}", self.aad, self.number);
        self.number += 1;
        aad
    }
}

/// Replaces every marked value of a text by the sealed one; by `null` where its subject has no data key. Answers
/// the text and whether all values are in it.
pub(crate) fn seal(
    text: &[u8],
    place: &mut Place,
    subjects: &mut dyn Iterator<Item = Subject>,
    sealer: &dyn Sealer,
    out: &mut Vec<u8>,
) -> Result<bool, Error> {
    let finder = Finder::new(MARK);
    let mut rest = text;
    let mut whole = true;
    while let Some(at) = finder.find(rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + MARK.len()..];
        let end = end_of_value(rest).ok_or(Error::Endless)?;
        let subject = subjects.next().ok_or(Error::Nobody)?;
        if let Some(key) = sealer.data_key(subject)? {
            let aad = place.next();
            let nonce = sealer.nonce();
            let ciphertext = key.encrypt(&nonce, &rest[..end], aad.as_bytes()).ok_or(Error::Form)?;
            let mut bytes = Vec::with_capacity(SUBJECT_BYTES + NAME_BYTES + NONCE_BYTES + ciphertext.len());
            bytes.extend_from_slice(&subject.to_bytes());
            bytes.extend_from_slice(&key.name());
            bytes.extend_from_slice(&nonce);
            bytes.extend_from_slice(&ciphertext);
            out.extend_from_slice(SEALED);
            out.extend_from_slice(URL_SAFE_NO_PAD.encode(&bytes).as_bytes());
            out.extend_from_slice(b"\"}");
        } else {
            out.extend_from_slice(b"null");
            whole = false;
        }
        // The brace that closes the mark.
        rest = rest.get(end + 1..).ok_or(Error::Endless)?;
    }
    out.extend_from_slice(rest);
    Ok(whole)
}

/// The text of an event with every sealed value replaced by the value, or by `null` where its data key is gone.
/// Text without sealed values is returned as it is.
pub fn open<'a>(text: &'a str, keys: &dyn DataKeys) -> Result<Cow<'a, str>, Error> {
    let finder = Finder::new(SEALED);
    let Some(mut at) = finder.find(text.as_bytes()) else { return Ok(Cow::Borrowed(text)) };
    // Whoever reads it as an event will tell what is wrong with it.
    let Some((id, stream)) = names(text) else { return Ok(Cow::Borrowed(text)) };
    let mut place = Place::named(&id, &stream);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        out.push_str(&rest[..at]);
        rest = &rest[at + SEALED.len()..];
        let end = rest.find('"').ok_or(Error::Endless)?;
        let aad = place.next();
        match open_value(&rest[..end], &aad, keys)? {
            Some(value) => out.push_str(std::str::from_utf8(&value).map_err(|_| Error::Form)?),
            None => out.push_str("null"),
        }
        rest = rest.get(end + 1..).and_then(|rest| rest.strip_prefix('}')).ok_or(Error::Form)?;
        match finder.find(rest.as_bytes()) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// The subjects of the sealed values of a text, in order.
pub fn subjects(text: &str) -> impl Iterator<Item = Subject> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(r#"{"sealed":""#)?;
        rest = after;
        let (value, _) = after.split_once('"')?;
        parts(value).ok().map(|parts| parts.subject)
    })
}

struct Parts {
    subject: Subject,
    name: [u8; NAME_BYTES],
    nonce: [u8; NONCE_BYTES],
    ciphertext: Vec<u8>,
}

fn parts(value: &str) -> Result<Parts, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(value).map_err(|_| Error::Form)?;
    let (subject, rest) = bytes.split_first_chunk::<SUBJECT_BYTES>().ok_or(Error::Form)?;
    let (name, rest) = rest.split_first_chunk().ok_or(Error::Form)?;
    let (nonce, ciphertext) = rest.split_first_chunk().ok_or(Error::Form)?;
    if ciphertext.len() < TAG_BYTES {
        return Err(Error::Form);
    }
    let subject = Subject::from_bytes(subject).ok_or(Error::Form)?;
    Ok(Parts { subject, name: *name, nonce: *nonce, ciphertext: ciphertext.to_vec() })
}

fn open_value(value: &str, aad: &str, keys: &dyn DataKeys) -> Result<Option<Vec<u8>>, Error> {
    let Parts { subject, name, nonce, ciphertext } = parts(value)?;
    let Some(key) = keys.data_key(subject)?.filter(|key| key.name() == name) else { return Ok(None) };
    key.decrypt(&nonce, &ciphertext, aad.as_bytes()).map(Some).ok_or(Error::Forged)
}

/// The event's id and stream, which stand in the same places of every stored event.
fn names(text: &str) -> Option<(&str, &str)> {
    let (id, rest) = text.strip_prefix(r#"{"id":""#)?.split_once('"')?;
    let (stream, _) = rest.split_once(r#","stream":""#)?.1.split_once('"')?;
    Some((id, stream))
}

/// Where a JSON value ends that a text starts with.
fn end_of_value(text: &[u8]) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
    for (at, byte) in text.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => continue,
            }
            if !in_string && depth == 0 {
                return Some(at + 1);
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            // A number or a word, up to what closes the mark.
            b'}' | b']' if depth == 0 => return Some(at),
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}
