//! Commands about identities.

use keyledger_projections::{IdentityState, KeyStatus};
use keyledger_schema::codec::Outcome;
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{Event, IdentityId, OrganizationId, Stream};

use super::aggregate::{Clashes, Loaded, Seen};
use super::organizations::HOLDERS_NAMED;
use super::writer::Failure;
use super::{Service, Written};
use crate::caller::Caller;
use crate::decisions::identity::{self as decisions, Command, NewIdentity, Update};
use crate::decisions::key::Comment;
use crate::decisions::{Holder, clash};
use crate::error::{Error, Result};
use crate::readmodel::{KeyQuery, Window};
use crate::stream_head::StreamHead;

/// An identity after a command.
pub type IdentityWritten = Written<IdentityState>;

/// Where an identity is: in its organization, and in no workspace.
pub fn place_of(state: &IdentityState) -> Place {
    Place { organization: state.organization, workspace: None }
}

/// Refuses to give a key an identity that is not of its own organization, or that was deleted.
pub(super) fn can_be_given(state: Option<&IdentityState>, organization: OrganizationId) -> Result<()> {
    const FIELD: &str = "input.identityId";
    let state = state
        .filter(|state| state.organization == organization)
        .ok_or_else(|| Error::not_found(FIELD, "identity"))?;
    decisions::alive(state, FIELD)
}

impl Service {
    /// The id of the identity that an organization calls so, whether there is one or not. Whoever uses it must not
    /// tell of an identity that was erased.
    pub fn identity_id(&self, organization: OrganizationId, external_id: &str) -> IdentityId {
        self.idempotency.identity_id(organization, external_id)
    }

    /// Makes an identity in an organization, the caller's own if none is named. Making the same one again is no
    /// event and the same answer.
    pub async fn create_identity(
        &self,
        caller: &Caller,
        organization: Option<OrganizationId>,
        new: NewIdentity,
    ) -> Result<IdentityWritten> {
        let organization = organization.unwrap_or(caller.organization);
        let place = Place { organization, workspace: None };
        self.tenants
            .organization(organization)
            .filter(|_| organization == caller.organization || self.sees(caller, place))
            .ok_or_else(|| Error::not_found("input.organizationId", "organization"))?;
        self.require(caller, Right::ManageKeys, place)?;
        let context = self.context(caller);
        let id = self.identity_id(organization, &new.external_id);
        if self.load_identity(id).await?.is_none() {
            let decision = decisions::decide(None, Command::Create(new.clone()))?;
            let (stream, head) = (Stream::Identity(id), StreamHead::default());
            let appended =
                self.append(&context, stream, head, Some(place), decision.events, Outcome::Success).await;
            match appended {
                Ok(events) => {
                    self.applied(&events).await?;
                    let state =
                        events.iter().fold(None, |state, event| IdentityState::fold(state, &event.envelope));
                    let state = state.ok_or_else(Error::internal)?;
                    return Ok(Written { state, events, warnings: decision.warnings });
                }
                // Somebody else made it in the same moment.
                Err(Failure::Conflict) => {}
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        let loaded = self.load_identity(id).await?.ok_or_else(Error::internal)?;
        let decide = |state: &IdentityState| decisions::decide(Some(state), Command::Create(new.clone()));
        Box::pin(self.decide_and_append(&context, loaded, None, decide)).await
    }

    /// Changes an identity, at once for all keys that hold it.
    pub async fn update_identity(
        &self,
        caller: &Caller,
        id: IdentityId,
        update: Update,
        seen: Option<Seen>,
    ) -> Result<IdentityWritten> {
        let _turn = self.queues.turn_of(id.uuid()).await;
        let loaded = self.managed_identity(caller, id).await?;
        self.command_identity(caller, loaded, Command::Update(update), seen).await
    }

    /// Takes an identity that no key holds from lists.
    pub async fn delete_identity(
        &self,
        caller: &Caller,
        id: IdentityId,
        comment: Comment,
        seen: Option<Seen>,
    ) -> Result<IdentityWritten> {
        let _turn = self.queues.turn_of(id.uuid()).await;
        let loaded = self.managed_identity(caller, id).await?;
        // From here until the identity is gone no key gets it.
        let _gate = self.holding_gate.write().await;
        let (holders, count) = self.holders_of_identity(&loaded.state).await?;
        self.command_identity(caller, loaded, Command::Delete { holders, count, comment }, seen).await
    }

    async fn command_identity(
        &self,
        caller: &Caller,
        loaded: Loaded<IdentityState>,
        command: Command,
        seen: Option<Seen>,
    ) -> Result<IdentityWritten> {
        let clashes = |event: &Event| clash::with_identity(&command, event);
        let seen = seen.map(|seen| (seen, &clashes as &Clashes<'_>));
        let decide = |state: &IdentityState| decisions::decide(Some(state), command.clone());
        let written = Box::pin(self.decide_and_append(&self.context(caller), loaded, seen, decide)).await?;
        self.applied(&written.events).await?;
        Ok(written)
    }

    /// Loads an identity that the caller may manage. One that the caller may not see does not exist.
    pub(super) async fn managed_identity(
        &self,
        caller: &Caller,
        id: IdentityId,
    ) -> Result<Loaded<IdentityState>> {
        let loaded = self
            .load_identity(id)
            .await?
            .filter(|loaded| self.sight(caller, Right::ReadKeys, loaded.state.organization).is_ok())
            .ok_or_else(|| Error::not_found("input.id", "identity"))?;
        self.require(caller, Right::ManageKeys, place_of(&loaded.state))?;
        Ok(loaded)
    }

    /// Refuses to give a key an identity that is not of its organization, or that was deleted.
    pub(super) async fn refuse_unknown_identity(
        &self,
        organization: OrganizationId,
        id: IdentityId,
    ) -> Result<()> {
        let state = self.read_model.identity(id).await.map_err(|error| super::keys::query_failed(&error))?;
        can_be_given(state.as_ref(), organization)
    }

    /// The first keys that hold an identity and can still be used, and how many there are.
    async fn holders_of_identity(&self, identity: &IdentityState) -> Result<(Vec<Holder>, u64)> {
        let query = KeyQuery {
            identity: Some(identity.id),
            statuses: vec![KeyStatus::Active, KeyStatus::Inactive],
            window: Window::first(HOLDERS_NAMED),
            count: true,
            ..KeyQuery::new(identity.organization, self.now())
        };
        self.holders_among(query).await
    }
}
