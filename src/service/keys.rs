//! Commands about keys.

mod issuing;
mod reach;

use std::time::Duration;

use keyledger_projections::KeyState;
use keyledger_schema::grant::{GrantRole, Place};
use keyledger_schema::{Event, KeyId, OrganizationId, RoleId, Timestamp};
use tokio::sync::{Mutex, MutexGuard, RwLockReadGuard};
use uuid::Uuid;

use super::aggregate::{Clashes, Loaded, Seen};
use super::{Context, Service, Written};
use crate::caller::Caller;
use crate::decisions::clash;
use crate::decisions::key::{self as decisions, Command, Ground};
use crate::error::{Code, Error, Result};
use crate::secret::Secret;
use crate::tenants::Tenant;

pub(super) use issuing::Birth;
pub use issuing::NewKey;
pub(super) use reach::Reach;

/// How many queues the keys share.
const QUEUES: usize = 1_024;

/// A key after a command.
pub type KeyWritten = Written<KeyState>;

/// A key after a command that made a secret; no secret when an idempotency key was repeated.
pub type NewSecret = (KeyWritten, Option<Secret>);

pub(super) fn query_failed(error: &crate::readmodel::QueryError) -> Error {
    tracing::error!(%error, "the read model cannot be read");
    Error::unavailable("keys cannot be read now; try again, and tell the operator if it lasts")
}

/// Commands about one key, or about one identity, queue up here instead of racing in the log, where each would be decided anew
/// after every other. Other nodes race all the same. Two keys may share a queue, which only costs time.
pub(super) struct Queues(Box<[Mutex<()>]>);

impl Default for Queues {
    fn default() -> Self {
        Self((0..QUEUES).map(|_| Mutex::default()).collect())
    }
}

impl Queues {
    /// Waits for this key's turn, which lasts until the guard is dropped.
    pub(super) async fn turn(&self, id: KeyId) -> MutexGuard<'_, ()> {
        self.turn_of(id.uuid()).await
    }

    /// The same for anything with an id.
    pub(super) async fn turn_of(&self, id: Uuid) -> MutexGuard<'_, ()> {
        let (high, low) = id.as_u64_pair();
        // The end of an id is random. The remainder is below QUEUES.
        let place = usize::try_from((high ^ low) % QUEUES as u64).unwrap_or_default();
        self.0[place].lock().await
    }
}

impl Service {
    /// Gives a key a new secret.
    pub async fn rotate_key(
        &self,
        caller: &Caller,
        id: KeyId,
        overlap: Duration,
        seen: Option<Seen>,
    ) -> Result<(KeyWritten, Secret)> {
        let turn = self.queues.turn(id).await;
        let loaded = self.managed(caller, id).await?;
        let (secret, record) = self.mint(&loaded.state.prefix, loaded.state.environment);
        let command = Command::Rotate { secret: record, overlap };
        let context = self.context(caller);
        let written = Box::pin(self.command_key(&context, loaded, command, seen)).await?;
        drop(turn);
        self.applied(&written.events).await?;
        Ok((written, secret))
    }

    /// Gives a key a new secret without asking who may.
    pub(super) async fn replace_secret(&self, context: &Context, id: KeyId) -> Result<Secret> {
        let loaded = self.load_key(id).await?.ok_or_else(Error::internal)?;
        let (secret, record) = self.mint(&loaded.state.prefix, loaded.state.environment);
        let command = Command::Rotate { secret: record, overlap: Duration::ZERO };
        let written = self.command_key(context, loaded, command, None).await?;
        self.applied(&written.events).await?;
        Ok(secret)
    }

    /// Every other command about a key.
    pub async fn change_key(
        &self,
        caller: &Caller,
        id: KeyId,
        command: Command,
        seen: Option<Seen>,
    ) -> Result<KeyWritten> {
        let turn = self.queues.turn(id).await;
        let loaded = self.managed(caller, id).await?;
        let _held = match &command {
            Command::Update(update) => self.may_become(caller, &loaded.state, update).await?,
            _ => None,
        };
        let context = self.context(caller);
        let written = Box::pin(self.command_key(&context, loaded, command, seen)).await?;
        drop(turn);
        self.applied(&written.events).await?;
        Ok(written)
    }

    /// While the guard is held no role and no identity is deleted.
    pub(super) async fn hold(&self, needed: bool) -> Option<RwLockReadGuard<'_, ()>> {
        if needed { Some(self.holding_gate.read().await) } else { None }
    }

    /// Refuses an update into more than the caller holds, or to roles or an identity that do not exist. While the
    /// guard is held none of them is deleted.
    async fn may_become(
        &self,
        caller: &Caller,
        state: &KeyState,
        update: &decisions::Update,
    ) -> Result<Option<RwLockReadGuard<'_, ()>>> {
        if let Some(grants) = &update.grants {
            self.may_give(caller.holder(), grants, state.organization, "input.grants", Reach::Give)?;
        }
        let roles = update.roles.as_ref().filter(|roles| !roles.is_empty());
        let identity = update.identity.flatten();
        let held = self.hold(roles.is_some() || identity.is_some()).await;
        if let Some(roles) = roles {
            let tenant = self.tenants.tenant(state.organization).ok_or_else(Error::internal)?;
            known_roles(&tenant, roles)?;
        }
        if let Some(identity) = identity {
            self.refuse_unknown_identity(state.organization, identity).await?;
        }
        Ok(held)
    }

    /// Decides and appends a command about a key. When that takes away an administrator, it waits until it
    /// is applied, and nobody else takes one away meanwhile: one has to be left.
    pub(super) async fn command_key(
        &self,
        context: &Context,
        loaded: Loaded<KeyState>,
        command: Command,
        seen: Option<Seen>,
    ) -> Result<KeyWritten> {
        let tenant = self.tenants.tenant(loaded.state.organization).ok_or_else(Error::internal)?;
        let administers =
            loaded.state.grants.iter().any(|grant| grant.role == GrantRole::OrganizationAdministrator);
        let turn = if administers && decisions::can_end_administration(&command) {
            Some(self.administrators.lock().await)
        } else {
            None
        };
        let clashes = |event: &Event| clash::with_key(&command, event);
        let seen = seen.map(|seen| (seen, &clashes as &Clashes<'_>));
        let written = self
            .decide_and_append(context, loaded, seen, |state| {
                let decision = decisions::decide(Some(state), command.clone(), ground(&tenant, context.at))?;
                for organization in decisions::administration_ended(state, &decision.events, context.at) {
                    self.leave_an_administrator(organization, state.id, context.at)?;
                }
                Ok(decision)
            })
            .await?;
        if turn.is_some() {
            self.applied(&written.events).await?;
        }
        Ok(written)
    }

    fn leave_an_administrator(
        &self,
        organization: OrganizationId,
        leaving: KeyId,
        now: Timestamp,
    ) -> Result<()> {
        if self.tenants.has_administrator_besides(organization, leaving, now) {
            return Ok(());
        }
        Err(Error::new(
            Code::IllegalTransition,
            "this key is the last active administrator of its organization, which nobody could manage without it; make another one first",
        )
        .about("input.id"))
    }
}

/// What decisions about keys of a tenant stand on.
pub(super) fn ground(tenant: &Tenant, now: Timestamp) -> Ground<'_> {
    Ground { now, policy: &tenant.policy, acknowledgement: &tenant.acknowledgement }
}

/// Roles that a key is to hold are of its own organization.
pub(super) fn known_roles(tenant: &Tenant, roles: &[RoleId]) -> Result<()> {
    let unknown = roles.iter().any(|role| !tenant.state.roles.contains_key(role));
    if unknown { Err(Error::not_found("input.roleIds", "role")) } else { Ok(()) }
}

/// Where a key is.
pub fn place_of(state: &KeyState) -> Place {
    Place { organization: state.organization, workspace: Some(state.workspace) }
}
