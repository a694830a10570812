//! What is written to an organization's audit stream: refused commands, what was handed out, and what was looked at.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{CommandRefused, Event};
use keyledger_schema::grant::Place;
use keyledger_schema::{EventId, IdentityId, KeyId, OrganizationId, Personal, RoleId, Stream, WorkspaceId};
use tokio::sync::Mutex;

use super::repetitions::{Same, Told};
use super::writer::Failure;
use super::{Context, Service};
use crate::caller::Caller;
use crate::error::{Code, Error, Result};
use crate::stream_head::StreamHead;

/// How often an append to a busy audit stream is tried.
const ATTEMPTS: usize = 8;

/// Where each audit stream ends, so that events of one organization queue up here instead of racing in
/// the log.
#[derive(Default)]
pub(super) struct Heads(Mutex<HashMap<OrganizationId, Arc<Mutex<Option<StreamHead>>>>>);

impl Service {
    /// Runs a command; when it is refused, writes that down before the refusal is answered. `target` is
    /// the id that the command was given.
    pub async fn recorded<T>(
        &self,
        caller: &Caller,
        command: &str,
        target: Option<&str>,
        run: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match run.await {
            Err(error) if is_refusal(error.code) => {
                self.record_refusal(caller, command, target, error.code).await?;
                Err(error)
            }
            result => result,
        }
    }

    pub(super) async fn record_refusal(
        &self,
        caller: &Caller,
        command: &str,
        target: Option<&str>,
        code: Code,
    ) -> Result<()> {
        self.refusal_of(&self.context(caller), caller.organization, command, target, code).await
    }

    /// The same for whoever is no caller with grants.
    pub(super) async fn refusal_of(
        &self,
        context: &Context,
        organization: OrganizationId,
        command: &str,
        target: Option<&str>,
        code: Code,
    ) -> Result<()> {
        let (key, workspace) = self.own_key(organization, target).await?.unzip();
        let refused = CommandRefused {
            command: command.into(),
            target: target.filter(|text| is_id(text)).map(|text| Personal(text.into())),
            key,
            code: code.as_str().into(),
            repeated: None,
        };
        let same = Same::new(context, organization, &refused);
        if self.repetitions.count(&same, self.now()) {
            return Ok(());
        }
        // Whoever may read the trail of this key may read this, too.
        let place = Place { organization, workspace };
        self.note(context, place, Event::CommandRefused(refused.clone()), Outcome::Refused).await?;
        // Only now: what is counted is answered at once, and this one has to be durable before.
        let context = Context { request: None, ..context.clone() };
        self.repetitions.begin(same, Told { context, place, refused }, self.now());
        Ok(())
    }

    /// Tells what was refused again and again: of windows that are over, or of all, before a stop. Answers how many events
    /// were written.
    pub async fn record_repetitions(&self, all: bool) -> Result<usize> {
        let repetitions = self.repetitions.take(self.now(), all);
        let count = repetitions.len();
        for (Told { context, place, refused }, repeated) in repetitions {
            let event = Event::CommandRefused(CommandRefused { repeated: Some(repeated), ..refused });
            let context = Context { at: self.now(), ..context };
            self.note(&context, place, event, Outcome::Refused).await?;
        }
        Ok(count)
    }

    /// Writes an event to an organization's audit stream.
    pub(super) async fn note(
        &self,
        context: &Context,
        place: Place,
        event: Event,
        outcome: Outcome,
    ) -> Result<()> {
        let stream = Stream::Audit(place.organization);
        let head = Arc::clone(self.refusals.0.lock().await.entry(place.organization).or_default());
        let mut head = head.lock().await;
        for _ in 0..ATTEMPTS {
            let known = match *head {
                Some(known) => known,
                None => self.head(stream).await?,
            };
            let events = vec![event.clone()];
            let appended = self.append(context, stream, known, Some(place), events, outcome).await;
            match appended {
                Ok(written) => {
                    *head = written.last().map(|event| StreamHead::at(event.envelope.revision, &event.bytes));
                    drop(head);
                    return self.applied(&written).await;
                }
                Err(Failure::Conflict) => *head = None,
                Err(Failure::Other(error)) => {
                    *head = None;
                    return Err(error);
                }
            }
        }
        Err(Error::unavailable("this could not be written to the trail, and so was not done; try again"))
    }

    /// The key that a target names and where it lives, if it belongs to this organization.
    async fn own_key(
        &self,
        organization: OrganizationId,
        target: Option<&str>,
    ) -> Result<Option<(KeyId, WorkspaceId)>> {
        let Some(id) = target.and_then(|text| text.parse::<KeyId>().ok()) else { return Ok(None) };
        let row = self.read_model.key(id).await.map_err(|error| super::keys::query_failed(&error))?;
        let own = row.filter(|row| row.state.organization == organization);
        Ok(own.map(|row| (row.state.id, row.state.workspace)))
    }
}

/// Whether a text is an id of ours. What is not may be anything, such as a secret pasted in the wrong place,
/// and must not get into the log.
fn is_id(text: &str) -> bool {
    text.parse::<KeyId>().is_ok()
        || text.parse::<WorkspaceId>().is_ok()
        || text.parse::<OrganizationId>().is_ok()
        || text.parse::<EventId>().is_ok()
        || text.parse::<RoleId>().is_ok()
        || text.parse::<IdentityId>().is_ok()
}

/// Whether a code says that somebody was told no, as opposed to that something broke.
pub(super) const fn is_refusal(code: Code) -> bool {
    match code {
        Code::Forbidden
        | Code::NotFound
        | Code::InvalidInput
        | Code::Conflict
        | Code::IllegalTransition
        | Code::QuotaExceeded
        | Code::PolicyViolation
        | Code::NotBootstrapped
        | Code::KeysDisabled => true,
        Code::Unauthenticated | Code::TooManyRequests | Code::Unavailable | Code::Internal => false,
    }
}
