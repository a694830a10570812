//! Where a stream ends: all that a writer needs to go on with it.

use keyledger_schema::ChainHash;

use crate::store::Expected;

/// Revision and hash of a stream's last event; none when it has no event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamHead(pub Option<(u64, ChainHash)>);

impl StreamHead {
    /// The head of a stream that ends with this event.
    pub fn at(revision: u64, bytes: &[u8]) -> Self {
        Self(Some((revision, ChainHash::of(bytes))))
    }

    /// What an append to the stream expects.
    pub fn expected(self) -> Expected {
        Expected::after(self.0.map(|(revision, _)| revision))
    }

    /// The revision of the next event.
    pub fn next_revision(self) -> u64 {
        self.expected().first_revision()
    }

    /// What the next event names as the one before it.
    pub fn prev(self) -> Option<ChainHash> {
        self.0.map(|(_, hash)| hash)
    }
}
