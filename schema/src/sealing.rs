//! Personal data in stored events is sealed: encrypted with a key of the person's or thing's own, the *data key*
//! of a *subject*. Deleting the data key erases all that was sealed with it, while the stored bytes, and so
//! every hash and proof over them, stay as they are.
//!
//! All values of one subject in an event are sealed together. Where the first of them stood, the JSON of the event
//! has `{"sealed":"<base64url>"}` (RFC 4648 §5, without padding); where another one stood, `{"sealed":<number>}`. The
//! number says in which place the first one stands: the event's places are counted from 0 in the order of the bytes.
//!
//! The bytes are the kind of the subject (1 key, 2 identity, 3 organization, 4 node, 5 workspace, 6 log), the 16
//! bytes of its id, the first 4 bytes of the data key's BLAKE3 hash, a nonce of 24 bytes, and the ciphertext with
//! its tag of 16 bytes by XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha §2.3, over RFC 8439). What is encrypted are
//! the values as JSON in the order of their places, with a newline between them. The associated data is the text
//!
//! ```text
//! keyledger personal data v1
//! <event id>
//! <stream>
//! <number> <number> …
//! ```
//!
//! with a newline between the lines and none at the end; the numbers are those of the places of the values. So a
//! sealed value that was moved to another place opens nowhere.
//!
//! Whose data is it? Who acted (e-mail, address, user agent): the acting key's own, and that of the stream where
//! no key acted. What an event tells: that of what its stream is named after, or, for a recorded verification, of
//! the verified key where one is known.

mod cipher;
mod text;

use std::fmt;

use uuid::Uuid;

use crate::id::{IdentityId, KeyId, LogId, NodeId, OrganizationId, WorkspaceId};
use crate::stream::Stream;

pub use self::cipher::{DataKey, NONCE_BYTES};
pub(crate) use self::text::seal;
pub use self::text::{open, sealed_bytes, subjects};

const SUBJECT_BYTES: usize = 17;

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

/// It is not known now whether there is a data key. Whoever took that for none would show what is there as erased, or
/// leave out of the log what belongs into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the data keys cannot be read now")]
pub struct Unreadable;

/// What somebody has of a subject's data key.
#[derive(Clone, Debug)]
pub enum Held {
    /// The data key.
    Key(DataKey),
    /// It was erased.
    Erased,
    /// Nothing: it was lost, is damaged, or is withheld. What was sealed with it is there and cannot be read.
    Absent,
}

/// Whoever keeps data keys.
pub trait DataKeys: Send + Sync {
    /// What there is of the data key of a subject.
    fn data_key(&self, subject: Subject) -> Result<Held, Unreadable>;
}

/// Whoever has no data key: no personal value can be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDataKeys;

impl DataKeys for NoDataKeys {
    fn data_key(&self, _: Subject) -> Result<Held, Unreadable> {
        Ok(Held::Absent)
    }
}

/// Whoever can seal: has data keys and gives nonces.
pub trait Sealer: DataKeys {
    /// Bytes that were never given before. Random ones are: there are enough of them.
    fn nonce(&self) -> [u8; NONCE_BYTES];

    /// The data key to seal with: another one where that of the subject is absent, and none where it was erased.
    fn key_to_seal(&self, subject: Subject) -> Result<Option<DataKey>, Unreadable>;
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
