//! Many keys revoked by one command, for the day of an incident.
//!
//! An event in the organization's stream says which keys are meant and why; then each key is revoked by an
//! event of its own that names the first as its cause; a last event says how it went. Only keys that were
//! issued before the command are meant. When the process ends in between, the first event is open, and the
//! next run goes on with what is left.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use futures_util::{StreamExt, stream};
use keyledger_projections::organization::OpenRevocation;
use keyledger_projections::{KeyState, KeyStatus};
use keyledger_schema::event::{KeySelection, RevocationFinished, RevocationStarted};
use keyledger_schema::grant::{Holder, Place, Right};
use keyledger_schema::{EventId, Grant, KeyId, OrganizationId, Timestamp};

use super::{Context, Service, WrittenEvent, WrittenKeys};
use crate::caller::Caller;
use crate::decisions::key::Command;
use crate::decisions::organization::Command as OrganizationCommand;
use crate::error::{Error, Result};
use crate::readmodel::KeyQuery;

/// The most keys of one command.
pub const MAX_REVOKED: usize = 100_000;
/// How many keys an answer names.
const NAMED: usize = 100;
/// How many are revoked at once, so that one commit takes many.
const SIDE_BY_SIDE: usize = 512;

/// A key that was left as it is, and why.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// The key.
    pub key: KeyId,
    /// Why.
    pub error: Error,
}

/// What a bulk revocation did or, as a rehearsal, would do.
#[derive(Clone, Debug, Default)]
pub struct Revocation {
    /// Keys that matched.
    pub matched: u64,
    /// Keys that are revoked now because of it.
    pub revoked: u64,
    /// Keys that were left as they are.
    pub skipped: u64,
    /// Whether the caller's own key matched too, which is left out.
    pub own: bool,
    /// The first keys that matched, newest first.
    pub keys: Vec<KeyId>,
    /// The first keys that were left as they are.
    pub left: Vec<Skipped>,
    /// The events in the organization's stream.
    pub events: Vec<WrittenEvent>,
}

/// The bulk revocations that this process is at.
#[derive(Default)]
pub(super) struct Running(Mutex<HashSet<EventId>>);

/// Takes a bulk revocation off the list, however it ends.
struct Underway<'a>(&'a Running, EventId);

impl Running {
    fn begin(&self, event: EventId) -> Option<Underway<'_>> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Not `then_some`: what it would make in vain takes the entry of another away.
        running.insert(event).then(|| Underway(self, event))
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// In whose name keys are revoked.
#[derive(Clone, Copy)]
struct Mandate<'a> {
    holder: Holder<'a>,
    context: &'a Context,
}

impl Service {
    /// Revokes the keys of an organization that a selection names; as a rehearsal only tells which.
    pub async fn revoke_keys(
        &self,
        caller: &Caller,
        organization: OrganizationId,
        started: RevocationStarted,
        rehearsal: bool,
    ) -> Result<Revocation> {
        let mut context = self.context(caller);
        let mut started = started;
        let before = started.selection.created_before.map_or(context.at, |before| before.min(context.at));
        started.selection.created_before = Some(before);
        let mut matched =
            self.selected(caller.holder(), organization, &started.selection, context.at).await?;
        // Whoever is at it needs the key that it is done with.
        let own = matched.len();
        matched.retain(|id| *id != caller.key);
        let own = own > matched.len();
        started.matched = matched.len() as u64;
        let mut outcome =
            Revocation { matched: started.matched, keys: first(&matched), own, ..Revocation::default() };
        if rehearsal || matched.is_empty() {
            return Ok(outcome);
        }
        let command = OrganizationCommand::StartRevocation(Box::new(started.clone()));
        let opened = Box::pin(self.command_organization(&context, organization, command, None)).await?;
        let event = opened.events.first().ok_or_else(Error::internal)?.envelope.id;
        outcome.events = opened.events;
        context.cause = Some(event);
        // The timer may have seen the event and begun by itself: then both do it, which does no harm.
        let _underway = self.running.begin(event);
        let mandate = Mandate { holder: caller.holder(), context: &context };
        self.revoke_all(mandate, organization, event, &started, matched, &mut outcome).await?;
        Ok(outcome)
    }

    /// Goes on with bulk revocations that nobody is at: their process ended in the middle. Answers how many
    /// were finished.
    pub async fn resume_revocations(&self) -> Result<usize> {
        let mut finished = 0;
        for organization in self.tenants.organizations() {
            for open in &organization.open_revocations {
                let Some(_underway) = self.running.begin(open.event) else { continue };
                // It may have been finished between the look at the organization and here.
                let still_open = self
                    .tenants
                    .organization(organization.id)
                    .is_some_and(|now| now.open_revocations.iter().any(|still| still.event == open.event));
                if !still_open {
                    continue;
                }
                match self.resume(organization.id, open).await {
                    Ok(()) => finished += 1,
                    // One that cannot go on holds up no other.
                    Err(error) => {
                        tracing::error!(event = %open.event, %error, "a bulk revocation cannot go on; trying again");
                    }
                }
            }
        }
        Ok(finished)
    }

    async fn resume(&self, organization: OrganizationId, open: &OpenRevocation) -> Result<()> {
        let (home, grants) = self.mandate_of(organization, open).await?;
        let holder = Holder { organization: home, grants: &grants };
        let context = Context { actor: open.actor.clone(), cause: Some(open.event), ..self.own_context() };
        let selected = self.selected(holder, organization, &open.started.selection, context.at).await;
        let mut matched = match selected {
            // Whoever began it may manage nothing here any more: it ends with what was done.
            Err(error) if super::refusals::is_refusal(error.code) => Vec::new(),
            selected => selected?,
        };
        matched.retain(|id| Some(*id) != open.actor.key_id());
        // What matches no more was revoked by the run that ended.
        let before = open.started.matched.saturating_sub(matched.len() as u64);
        let mut outcome = Revocation { revoked: before, ..Revocation::default() };
        let mandate = Mandate { holder, context: &context };
        self.revoke_all(mandate, organization, open.event, &open.started, matched, &mut outcome).await?;
        tracing::info!(
            revoked = outcome.revoked,
            skipped = outcome.skipped,
            "went on with a bulk revocation"
        );
        Ok(())
    }

    /// What whoever began a bulk revocation holds. That it was allowed to begin stands in the log, so a key
    /// that is out of use by now counts all the same.
    async fn mandate_of(
        &self,
        organization: OrganizationId,
        open: &OpenRevocation,
    ) -> Result<(OrganizationId, Vec<Grant>)> {
        let Some(id) = open.actor.key_id() else { return Ok((organization, Vec::new())) };
        let key = self.load_key(id).await?.ok_or_else(Error::internal)?.state;
        Ok((key.organization, key.grants))
    }

    /// The keys that a selection means and that somebody may manage, by workspace.
    async fn selected(
        &self,
        holder: Holder<'_>,
        organization: OrganizationId,
        selection: &KeySelection,
        now: Timestamp,
    ) -> Result<Vec<KeyId>> {
        let query = KeyQuery {
            workspaces: self.sight_of(holder, Right::ManageKeys, organization)?,
            workspace: selection.workspace,
            statuses: vec![KeyStatus::Active, KeyStatus::Inactive],
            environment: selection.environment,
            search: selection.search.as_ref().map(|text| text.to_string()),
            name_contains: selection.name_contains.as_ref().map(|text| text.to_string()),
            created_by: selection.created_by,
            role: selection.role,
            created_before: selection.created_before,
            created_after: selection.created_from,
            expires_before: selection.expires_before,
            unused_since: selection.unused_since,
            ..KeyQuery::new(organization, now)
        };
        let found = self.read_model.matching(query, MAX_REVOKED).await;
        let mut found = found.map_err(|error| super::keys::query_failed(&error))?;
        if !selection.ids.is_empty() {
            let wanted: HashSet<KeyId> = selection.ids.iter().copied().collect();
            found.retain(|id| wanted.contains(id));
        }
        if found.len() > MAX_REVOKED {
            let message = format!("more than {MAX_REVOKED} keys match; narrow the filter and repeat");
            return Err(Error::invalid("input.filter", message));
        }
        Ok(found)
    }

    async fn revoke_all(
        &self,
        mandate: Mandate<'_>,
        organization: OrganizationId,
        event: EventId,
        started: &RevocationStarted,
        matched: Vec<KeyId>,
        outcome: &mut Revocation,
    ) -> Result<()> {
        let mut done = stream::iter(matched)
            .map(|id| async move { (id, self.revoke_one(mandate, id, started).await) })
            .buffer_unordered(SIDE_BY_SIDE);
        let mut last = None;
        while let Some((key, result)) = done.next().await {
            match result {
                Ok(position) => {
                    outcome.revoked += 1;
                    last = last.max(position);
                }
                // The log or the disk: what is left is done by the next attempt.
                Err(error) if !super::refusals::is_refusal(error.code) => return Err(error),
                Err(error) => {
                    outcome.skipped += 1;
                    if outcome.left.len() < NAMED {
                        outcome.left.push(Skipped { key, error });
                    }
                }
            }
        }
        if let Some(last) = last {
            self.applied_to(last).await?;
        }
        let finished =
            RevocationFinished { started: event, revoked: outcome.revoked, skipped: outcome.skipped };
        let command = OrganizationCommand::FinishRevocation(finished);
        let closed =
            Box::pin(self.command_organization(mandate.context, organization, command, None)).await?;
        outcome.events.extend(closed.events);
        Ok(())
    }

    async fn revoke_one(
        &self,
        mandate: Mandate<'_>,
        id: KeyId,
        started: &RevocationStarted,
    ) -> Result<Option<crate::store::Position>> {
        let _turn = self.queues.turn(id).await;
        let loaded = self.managed_by(mandate.holder, id).await?;
        let command = Command::Revoke(started.reason, started.comment.clone());
        // Of many keys the last is revoked a while after the first.
        let context = Context { at: self.now(), ..mandate.context.clone() };
        let written = Box::pin(self.command_key(&context, loaded, command, None)).await?;
        Ok(written.events.last().and_then(|event| event.position))
    }

    /// The keys of these ids that the caller may read, in the order given.
    pub async fn readable(&self, caller: &Caller, ids: &[KeyId]) -> Result<WrittenKeys> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let row = self.read_model.key(*id).await.map_err(|error| super::keys::query_failed(&error))?;
            let readable = |state: &KeyState| {
                let place: Place = super::keys::place_of(state);
                self.may(caller, Right::ReadKeys, place)
            };
            found.extend(row.map(|row| row.state).filter(readable));
        }
        Ok(found)
    }
}

fn first(ids: &[KeyId]) -> Vec<KeyId> {
    ids.iter().take(NAMED).copied().collect()
}
