//! What follows when somebody shows a secret instead of an id: its holder puts the key out of use, or
//! whoever found it wants to know whose it is.

use keyledger_projections::KeyState;
use keyledger_schema::event::RevocationReason;
use keyledger_schema::grant::{Holder, Right};
use keyledger_schema::{Actor, EventId, KeyId, Personal, RequestId, Source};

use super::keys::{place_of, query_failed};
use super::refusals::is_refusal;
use super::{Context, KeyWritten, Service};
use crate::caller::Caller;
use crate::decisions::key::{Command, Comment};
use crate::decisions::limits;
use crate::error::{Code, Error, Result};

/// How a refusal to a key's holder is called in the trail.
const SELF_REVOKE: &str = "selfRevoke";

impl Service {
    /// Revokes a key in its own name: whoever holds a secret may end its key. Asks no grant, and does not ask
    /// whether the key is usable. The secret was checked.
    pub async fn self_revoke(
        &self,
        id: KeyId,
        source: Source,
        reason: RevocationReason,
        comment: Comment,
    ) -> Result<KeyWritten> {
        self.in_own_name(id, source, SELF_REVOKE, Command::Revoke(reason, comment)).await
    }

    /// Runs a command about a key as that key. `name` is how a refusal is called in the trail.
    pub(super) async fn in_own_name(
        &self,
        id: KeyId,
        source: Source,
        name: &str,
        command: Command,
    ) -> Result<KeyWritten> {
        let turn = self.queues.turn(id).await;
        let loaded = self.load_key(id).await?.ok_or_else(|| Error::not_found("input.id", "key"))?;
        let state = &loaded.state;
        let holder = Holder { organization: state.organization, grants: &state.grants };
        let context = Context {
            actor: Actor::key(id, &state.email, holder.widest_role()),
            source,
            request: Some(RequestId::from_uuid(self.edge.uuid())),
            cause: None,
            at: self.edge.now(),
        };
        let organization = state.organization;
        let done = Box::pin(self.command_key(&context, loaded, command, None)).await;
        drop(turn);
        match done {
            Ok(written) => {
                self.applied(&written.events).await?;
                Ok(written)
            }
            Err(error) => {
                // Too many of them is told to a key about what it did, and not about how busy this node is.
                if is_refusal(error.code) || error.code == Code::TooManyRequests {
                    let target = id.to_string();
                    self.refusal_of(&context, organization, name, Some(&target), error.code).await?;
                }
                Err(error)
            }
        }
    }

    /// Writes down that a key's secret was found where it should not be, and revokes the key if that is
    /// wanted. The caller may read the key; the revocation is refused as every other one is, and then the
    /// report stands all the same.
    pub async fn report_leak(
        &self,
        caller: &Caller,
        command: &str,
        id: KeyId,
        secret_version: u32,
        leak: Leak,
    ) -> Result<Reported> {
        let turn = self.queues.turn(id).await;
        let loaded = self.load_key(id).await?.ok_or_else(|| Error::not_found("input.id", "key"))?;
        self.require(caller, Right::ReadKeys, place_of(&loaded.state))?;
        let found = Command::ReportLeak { secret_version, comment: leak.comment };
        let written = Box::pin(self.command_key(&self.context(caller), loaded, found, None)).await?;
        drop(turn);
        self.applied(&written.events).await?;
        let event = written.events.last().map(|event| event.envelope.id);
        let mut reported = Reported { state: written.state, event, revoked: None };
        if let Some((reason, comment)) = leak.revoke {
            let revoke = self.change_key(caller, id, Command::Revoke(reason, comment), None);
            let revoked = self.recorded(caller, command, Some(&id.to_string()), revoke).await;
            reported.revoked = Some(revoked.map(|written| reported.state = written.state));
        }
        Ok(reported)
    }

    /// The address of a key in trails; none once it is erased.
    pub async fn email_of(&self, id: KeyId) -> Result<Option<String>> {
        let row = self.read_model.key(id).await.map_err(|error| query_failed(&error))?;
        Ok(row.filter(|row| row.state.erased_at.is_none()).map(|row| row.state.email.to_string()))
    }

    /// A comment for the trail, in a field of this name.
    pub fn comment(field: &'static str, text: Option<&str>) -> Result<Comment> {
        Ok(limits::comment(field, text)?.map(Personal))
    }
}

/// What somebody says who found a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leak {
    comment: Comment,
    revoke: Option<(RevocationReason, Comment)>,
}

impl Leak {
    /// From the texts of a request: where it was found, and why the key is to be revoked if it is.
    pub fn new(comment: Option<&str>, revoke: Option<(RevocationReason, Option<String>)>) -> Result<Self> {
        let revoke = revoke
            .map(|(reason, comment)| {
                let comment = Service::comment("revoke.comment", comment.as_deref())?;
                if reason == RevocationReason::Other && comment.is_none() {
                    let message = "the reason OTHER needs a comment; say why";
                    return Err(Error::invalid("revoke.comment", message));
                }
                Ok((reason, comment))
            })
            .transpose()?;
        Ok(Self { comment: Service::comment("comment", comment)?, revoke })
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Reported {
    /// The key as it is now.
    pub state: KeyState,
    /// The report.
    pub event: Option<EventId>,
    /// Whether it was revoked, if that was asked for.
    pub revoked: Option<Result<()>>,
}
