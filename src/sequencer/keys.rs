//! Which keys sign, as the log itself says.

use keyledger_projections::LogState;
use keyledger_schema::{Envelope, LogId, Stream};

use super::PrivateKeys;
use crate::audit::note::{Signer, VerifierKey};
use crate::store::{Direction, EventStore, ReadError, Recorded};

/// How many events of the log's own stream are read at once.
const PAGE: usize = 512;
/// Types of events that are about keys; the stream has others.
const ADDED: &str = "log.key_added";
const RETIRED: &str = "log.key_retired";

/// Why it is not known who signs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log.
    #[error("the log cannot be read")]
    Log(#[from] ReadError),
    /// An event in it.
    #[error("an event about the log's keys cannot be read")]
    Unreadable,
    /// Another master key derives other keys.
    #[error("the log's keys are not those of this master key")]
    MasterKey,
}

/// What the log says of itself now, read from its own stream.
pub async fn state_of(store: &dyn EventStore, log: LogId) -> Result<LogState, Error> {
    let stream = Stream::Log(log).to_string();
    let mut state = LogState::default();
    let mut from = 0;
    loop {
        let events = store.read_stream(&stream, Some(from), Direction::Forward, PAGE).await?;
        let Some(last) = events.last() else { return Ok(state) };
        from = last.revision + 1;
        for event in &events {
            state = fold(state, event)?;
        }
    }
}

/// The log's name, who signs, and whose signatures count.
#[derive(Clone, Default)]
pub(super) struct Keys {
    pub(super) state: LogState,
    pub(super) signers: Vec<Signer>,
    pub(super) verifiers: Vec<VerifierKey>,
}

impl Keys {
    fn new(state: LogState, private: &PrivateKeys) -> Result<Self, Error> {
        let origin = state.origin.clone().unwrap_or_default();
        let mut keys = Self { state, ..Self::default() };
        for key in &keys.state.keys {
            let signer = Signer::new(&origin, private(key.generation)).map_err(|_| Error::Unreadable)?;
            if signer.verifier().to_string() != *key.verifier_key {
                return Err(Error::MasterKey);
            }
            keys.verifiers.push(signer.verifier().clone());
            if key.retired_at.is_none() {
                keys.signers.push(signer);
            }
        }
        Ok(keys)
    }

    /// Those that the log has now.
    pub(super) async fn read(
        store: &dyn EventStore,
        log: LogId,
        private: &PrivateKeys,
    ) -> Result<Self, Error> {
        Self::new(state_of(store, log).await?, private)
    }

    /// Those after some more events, if they are about keys.
    pub(super) fn after(
        &self,
        stream: &str,
        events: &[Recorded],
        private: &PrivateKeys,
    ) -> Result<Option<Self>, Error> {
        let mut state = None;
        for event in events.iter().filter(|event| is_about_keys(event) && &*event.stream == stream) {
            state = Some(fold(state.unwrap_or_else(|| self.state.clone()), event)?);
        }
        state.map(|state| Self::new(state, private)).transpose()
    }
}

fn is_about_keys(event: &Recorded) -> bool {
    matches!(&*event.event_type, ADDED | RETIRED)
}

fn fold(state: LogState, event: &Recorded) -> Result<LogState, Error> {
    if !is_about_keys(event) {
        return Ok(state);
    }
    Ok(state.fold(&Envelope::open(&event.bytes).map_err(|_| Error::Unreadable)?))
}
