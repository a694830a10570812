//! The log's own signing keys: the first one, rotation with overlap, and retirement.
//!
//! All tenants share the log, so none of them may do this: it is for whoever has the machine, on a data directory
//! that no server uses. Private keys are derived from the master key and stored nowhere.

use keyledger_projections::LogState;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{Event, LogKeyAdded, LogKeyRetired};
use keyledger_schema::{Actor, LogId, Stream};

use super::writer::Failure;
use super::{Context, Service};
use crate::audit::note::Signer;
use crate::error::{Code, Error, Result};
use crate::sequencer;

/// How often an append to the log's stream is tried, to which others append as well.
const ATTEMPTS: usize = 8;
/// How many keys may sign at the same time. Verifiers take sixteen signatures, and witnesses need some of them.
const MAX_ACTIVE: usize = 4;

impl Service {
    /// Which log this is.
    pub fn log(&self) -> LogId {
        LogId::from_uuid(self.store.log_id())
    }

    /// What the log is called unless the operator says otherwise: a name that nobody else can have and that no
    /// resolver knows (RFC 2606 §2).
    pub fn default_origin(&self) -> String {
        format!("keyledger.invalid/{}", self.log())
    }

    /// Adds the log's first key, if it has none. The name of the log is fixed with it: a setting that names another
    /// one later is refused.
    pub async fn first_log_key(&self, origin: Option<&str>) -> Result<()> {
        let state = self.log_state().await?;
        if let Some(fixed) = &state.origin {
            return match origin {
                Some(other) if other != &**fixed => Err(Error::new(
                    Code::Conflict,
                    format!(
                        "the log's name was fixed with its first checkpoint key as {fixed}, and the settings say \
                         {other}: everybody who checks the log knows it by that name; set log_origin to {fixed}, or \
                         leave it out"
                    ),
                )
                .about("log_origin")),
                _ => Ok(()),
            };
        }
        let origin = origin.map_or_else(|| self.default_origin(), str::to_owned);
        let context = Context { actor: Actor::node(self.node), ..self.own_context() };
        self.change_log_keys(&context, |state| match &state.origin {
            // Another node was faster.
            Some(_) => Ok(None),
            None => self.new_log_key(&origin, 1).map(Some),
        })
        .await?;
        Ok(())
    }

    /// Adds another key. Checkpoints carry the signatures of all until one is retired.
    pub async fn rotate_log_key(&self) -> Result<LogState> {
        let context = Context { actor: Actor::operator(), ..self.own_context() };
        self.change_log_keys(&context, |state| {
            let Some(origin) = &state.origin else { return Err(keyless()) };
            if state.active().count() >= MAX_ACTIVE {
                let message = format!(
                    "{MAX_ACTIVE} keys sign already, which is the limit; retire the oldest one first"
                );
                return Err(Error::new(Code::IllegalTransition, message));
            }
            let last = state.keys.iter().map(|key| key.generation).max().unwrap_or(0);
            self.new_log_key(origin, last + 1).map(Some)
        })
        .await
    }

    /// Takes a key out of use: no checkpoint from now on is signed with it.
    pub async fn retire_log_key(&self, generation: u32) -> Result<LogState> {
        let context = Context { actor: Actor::operator(), ..self.own_context() };
        self.change_log_keys(&context, |state| {
            let Some(key) = state.keys.iter().find(|key| key.generation == generation) else {
                return Err(Error::not_found("generation", "key of the log"));
            };
            if key.retired_at.is_some() {
                return Ok(None);
            }
            if state.active().count() == 1 {
                let message = "this is the only key that signs; rotate first, and retire it when everybody who \
                               checks the log knows the new one";
                return Err(Error::new(Code::IllegalTransition, message).about("generation"));
            }
            Ok(Some(Event::LogKeyRetired(LogKeyRetired { generation })))
        })
        .await
    }

    fn new_log_key(&self, origin: &str, generation: u32) -> Result<Event> {
        let signer = Signer::new(origin, self.master.log_key(self.log(), generation)).map_err(|error| {
            tracing::error!(%error, "the log's name cannot stand in a key");
            Error::internal()
        })?;
        let verifier_key = signer.verifier().to_string().into();
        Ok(Event::LogKeyAdded(LogKeyAdded { generation, origin: origin.into(), verifier_key }))
    }

    /// What the log says of itself.
    pub async fn log_state(&self) -> Result<LogState> {
        sequencer::state_of(&*self.store, self.log()).await.map_err(|error| {
            tracing::error!(%error, "the log's keys cannot be read");
            Error::unavailable(
                "the log's keys cannot be read now; try again, and tell the operator if it lasts",
            )
        })
    }

    /// Appends what follows from the state of the keys, if anything does.
    async fn change_log_keys(
        &self,
        context: &Context,
        decide: impl Fn(&LogState) -> Result<Option<Event>>,
    ) -> Result<LogState> {
        let stream = Stream::Log(self.log());
        for _ in 0..ATTEMPTS {
            // The end first: what is appended in between makes the append fail, and this be tried again.
            let head = self.head(stream).await?;
            let state = self.log_state().await?;
            let Some(event) = decide(&state)? else { return Ok(state) };
            match self.append(context, stream, head, None, vec![event], Outcome::Success).await {
                Ok(written) => {
                    self.applied(&written).await?;
                    return Ok(written.iter().fold(state, |state, event| state.fold(&event.envelope)));
                }
                Err(Failure::Conflict) => {}
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        Err(Error::unavailable(
            "the log's keys were not changed, since others wrote at the same time; try again",
        ))
    }
}

fn keyless() -> Error {
    Error::new(
        Code::IllegalTransition,
        "the log has no key yet; start the server once, which makes the first one",
    )
}
