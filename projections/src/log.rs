//! The log's signing keys, from its own stream.

use keyledger_schema::event::Event;
use keyledger_schema::{Envelope, Timestamp};

/// A key that signs checkpoints, or did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogKey {
    /// 1 for the first key of the log.
    pub generation: u32,
    /// `<name>+<key id>+<base64>` (C2SP signed-note).
    pub verifier_key: Box<str>,
    /// Since when it signs.
    pub added_at: Timestamp,
    /// Since when it does not sign any more.
    pub retired_at: Option<Timestamp>,
}

/// What the log says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogState {
    /// Its name in checkpoints; none before its first key.
    pub origin: Option<Box<str>>,
    /// Its keys, the first one first.
    pub keys: Vec<LogKey>,
}

impl LogState {
    /// The keys that sign.
    pub fn active(&self) -> impl Iterator<Item = &LogKey> {
        self.keys.iter().filter(|key| key.retired_at.is_none())
    }

    /// The state after one more event. Hearing of the same event again changes nothing.
    #[must_use]
    pub fn fold(mut self, envelope: &Envelope) -> Self {
        match &envelope.event {
            Event::LogKeyAdded(added) if self.keys.iter().all(|key| key.generation != added.generation) => {
                self.origin.get_or_insert_with(|| added.origin.clone());
                self.keys.push(LogKey {
                    generation: added.generation,
                    verifier_key: added.verifier_key.clone(),
                    added_at: envelope.at,
                    retired_at: None,
                });
            }
            Event::LogKeyRetired(retired) => {
                let key = self.keys.iter_mut().find(|key| key.generation == retired.generation);
                if let Some(key) = key {
                    key.retired_at.get_or_insert(envelope.at);
                }
            }
            _ => {}
        }
        self
    }
}
