//! Commands about keys.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use keyledger_projections::KeyState;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::Hex32;
use keyledger_schema::grant::{GrantTarget, Holder, Place, Right};
use keyledger_schema::{
    ActorKind, Envelope, Environment, Event, Grant, GrantRole, IdentityId, KeyId, Metadata, OrganizationId,
    Policy, RateLimit, RoleId, Scope, SecretRecord, SecretScheme, Stream, Timestamp, WorkspaceId,
};
use tokio::sync::{Mutex, MutexGuard, RwLockReadGuard};
use uuid::Uuid;

use super::aggregate::{Clashes, Loaded, Seen};
use super::places::Reserved;
use super::writer::Failure;
use super::{Context, Service, Written, credits};
use crate::caller::Caller;
use crate::decisions::credits::NewCredits;
use crate::decisions::key::{self as decisions, Command, Ground, Issue};
use crate::decisions::{Decision, clash, slug, warning};
use crate::error::{Code, Error, Result};
use crate::secret::Secret;
use crate::stream_head::StreamHead;
use crate::tenants::Tenant;

/// How many queues the keys share.
const QUEUES: usize = 1_024;

/// What a new key is to be, as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewKey {
    /// Where; may be left out when the organization has one workspace only.
    pub workspace: Option<WorkspaceId>,
    /// Shown to people.
    pub name: Box<str>,
    /// Fixed for good.
    pub environment: Environment,
    /// The start of its secrets.
    pub prefix: Box<str>,
    /// What its holder may do.
    pub scopes: Vec<Scope>,
    /// Roles that it holds.
    pub roles: Vec<RoleId>,
    /// What it may do in Keyledger itself.
    pub grants: Vec<Grant>,
    /// Addresses it may be used from.
    pub allowed_cidrs: Vec<IpNet>,
    /// How often it may be used.
    pub rate_limits: Vec<RateLimit>,
    /// The identity whose limits and credits it shares.
    pub identity: Option<IdentityId>,
    /// How many uses it has; unlimited when none.
    pub credits: Option<NewCredits>,
    /// Fixed for good.
    pub expires_at: Option<Timestamp>,
    /// The user's own.
    pub metadata: Metadata,
    /// Makes a retry return the same key.
    pub idempotency_key: Option<Box<str>>,
}

/// A key that is about to be issued.
pub(super) struct Birth {
    pub(super) id: KeyId,
    pub(super) new: NewKey,
    pub(super) secret: SecretRecord,
    pub(super) imported: Option<SecretScheme>,
    pub(super) cloned_from: Option<KeyId>,
    pub(super) request_fingerprint: Option<Hex32>,
}

impl Birth {
    pub(super) fn decide(self, tenant: &Tenant, context: &Context) -> Result<Decision> {
        let Self { id, new, secret, imported, cloned_from, request_fingerprint } = self;
        let issue = Issue {
            email: slug::key_email(&new.name, id, &tenant.state.slug).into(),
            name: new.name,
            environment: new.environment,
            prefix: new.prefix,
            secret,
            scopes: new.scopes,
            roles: new.roles,
            grants: new.grants,
            allowed_cidrs: new.allowed_cidrs,
            rate_limits: new.rate_limits,
            expires_at: new.expires_at,
            metadata: new.metadata,
            cloned_from,
            request_fingerprint,
            imported,
            identity: new.identity,
            credits: new.credits,
        };
        let mut ground = ground(tenant, context.at);
        let no_rules = Policy::default();
        if by_operator(context) {
            ground.policy = &no_rules;
        }
        decisions::decide(None, Command::Issue(Box::new(issue)), ground)
    }
}

/// Whoever has the machine brings back an organization that its own rules or its quota locked.
fn by_operator(context: &Context) -> bool {
    context.actor.kind == ActorKind::Operator
}

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
    /// Makes a key.
    pub async fn create_key(&self, caller: &Caller, new: NewKey) -> Result<NewSecret> {
        let place = self.workspace_of(caller, new.workspace)?;
        self.require(caller, Right::ManageKeys, place)?;
        self.may_give(caller.holder(), &new.grants, place.organization, "input.grants", Reach::Give)?;
        Box::pin(self.issue(&self.context(caller), place, new, None)).await
    }

    /// Makes a new key with the same settings and the same expiry date.
    pub async fn clone_key(
        &self,
        caller: &Caller,
        id: KeyId,
        name: Option<Box<str>>,
        idempotency_key: Option<Box<str>>,
    ) -> Result<NewSecret> {
        let context = self.context(caller);
        let original = self.managed(caller, id).await?.state;
        decisions::cloneable(&original, context.at)?;
        let place = place_of(&original);
        let new = NewKey {
            workspace: Some(original.workspace),
            name: name.unwrap_or_else(|| original.name.0.clone()),
            environment: original.environment,
            prefix: original.prefix,
            scopes: original.scopes,
            roles: original.roles,
            grants: original.grants,
            allowed_cidrs: original.allowed_cidrs.0,
            rate_limits: original.rate_limits,
            identity: original.identity,
            credits: original.credits.as_ref().and_then(credits::to_begin_with),
            expires_at: original.expires_at,
            metadata: original.metadata.0,
            idempotency_key,
        };
        Box::pin(self.issue(&context, place, new, Some(original.id))).await
    }

    /// Issues a key without asking who may.
    pub(super) async fn issue(
        &self,
        context: &Context,
        place: Place,
        new: NewKey,
        cloned_from: Option<KeyId>,
    ) -> Result<NewSecret> {
        let workspace = place.workspace.ok_or_else(Error::internal)?;
        let (id, request_fingerprint) = match &new.idempotency_key {
            Some(text) => {
                let request = fingerprint(context, workspace, &new, cloned_from);
                (
                    self.idempotency.key_id(workspace, text),
                    Some(Hex32(self.idempotency.fingerprint(&request))),
                )
            }
            None => (KeyId::from_uuid(self.edge.uuid()), None),
        };
        if let Some(fingerprint) = request_fingerprint
            && let Some(loaded) = self.load_key(id).await?
        {
            return self.repeated(loaded, fingerprint).await;
        }
        // Held until the key is applied: what is being deleted must see who holds it.
        let _held = self.hold(!new.roles.is_empty() || new.identity.is_some()).await;
        let tenant = self.bootstrapped(place.organization, "input.workspaceId")?;
        known_roles(&tenant, &new.roles)?;
        if let Some(identity) = new.identity {
            self.refuse_unknown_identity(place.organization, identity).await?;
        }
        let (secret, record) = self.mint(&new.prefix, new.environment);
        let birth = Birth { id, new, secret: record, imported: None, cloned_from, request_fingerprint };
        let decision = birth.decide(&tenant, context)?;
        match self.append_issued(context, place, id, decision).await {
            Ok(written) => {
                self.applied(&written.events).await?;
                Ok((written, Some(secret)))
            }
            Err(Failure::Conflict) => match request_fingerprint {
                Some(fingerprint) => {
                    let loaded = self.load_key(id).await?.ok_or_else(Error::internal)?;
                    self.repeated(loaded, fingerprint).await
                }
                None => Err(Error::internal()),
            },
            Err(Failure::Other(error)) => Err(error),
        }
    }

    /// Takes a place of the quota for a new key and appends what was decided about it. Durable on return; not
    /// yet applied. A conflict means that there is a key with this id.
    pub(super) async fn append_issued(
        &self,
        context: &Context,
        place: Place,
        id: KeyId,
        decision: Decision,
    ) -> std::result::Result<KeyWritten, Failure> {
        let workspace = place.workspace.ok_or_else(Error::internal)?;
        let reserved = if by_operator(context) {
            Reserved::NOT_NEEDED
        } else {
            self.reserve_place(workspace, id).await?
        };
        self.still_reserved(reserved)?;
        let (stream, head) = (Stream::Key(id), StreamHead::default());
        let events =
            self.append(context, stream, head, Some(place), decision.events, Outcome::Success).await?;
        let state = fold(None, events.iter().map(|event| &event.envelope)).ok_or_else(Error::internal)?;
        Ok(Written { state, events, warnings: decision.warnings })
    }

    /// The answer to a request whose idempotency key was used before.
    async fn repeated(&self, loaded: Loaded<KeyState>, fingerprint: Hex32) -> Result<NewSecret> {
        if loaded.state.request_fingerprint != Some(fingerprint.into()) {
            let message = "this idempotency key stands for another request; use a new one for a new key";
            return Err(Error::new(Code::Conflict, message).about("input.idempotencyKey"));
        }
        self.applied_to(loaded.position).await?;
        let warnings = warning::open_networks(&loaded.state.allowed_cidrs);
        Ok((Written { state: loaded.state, events: Vec::new(), warnings }, None))
    }

    fn mint(&self, prefix: &str, environment: Environment) -> (Secret, SecretRecord) {
        let secret = Secret::mint(prefix, environment, &self.edge.random());
        let record =
            SecretRecord { version: 1, hash: self.hasher.hash_minted(&secret), hint: secret.hint().into() };
        (secret, record)
    }

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

    /// An organization that can issue keys, and what holds in it.
    pub(super) fn bootstrapped(&self, id: OrganizationId, field: &'static str) -> Result<Arc<Tenant>> {
        let tenant = self.tenants.tenant(id).ok_or_else(|| Error::not_found(field, "workspace"))?;
        if !tenant.state.is_bootstrapped() {
            return Err(Error::new(
                Code::NotBootstrapped,
                "the organization has no signing key yet and issues no keys; bootstrap it first",
            ));
        }
        Ok(tenant)
    }

    /// Loads a key that the caller may manage. One that the caller may not see does not exist; one that
    /// holds more than the caller does is out of reach, since a new secret of it would be a promotion.
    pub(super) async fn managed(&self, caller: &Caller, id: KeyId) -> Result<Loaded<KeyState>> {
        self.managed_by(caller.holder(), id).await
    }

    pub(super) async fn managed_by(&self, holder: Holder<'_>, id: KeyId) -> Result<Loaded<KeyState>> {
        let loaded = self.load_key(id).await?.ok_or_else(|| Error::not_found("input.id", "key"))?;
        let place = place_of(&loaded.state);
        if !self.tenants.sees(holder, place) {
            return Err(Error::not_found("input.id", "key"));
        }
        if !self.tenants.may(holder, Right::ManageKeys, place) {
            return Err(super::lacking(Right::ManageKeys));
        }
        self.may_give(holder, &loaded.state.grants, place.organization, "input.id", Reach::Manage)?;
        Ok(loaded)
    }

    /// Nobody can give a grant that exceeds their own, and no key gets one beyond its own organization and
    /// those below it.
    pub(super) fn may_give(
        &self,
        holder: Holder<'_>,
        grants: &[Grant],
        organization: OrganizationId,
        field: &'static str,
        reach: Reach,
    ) -> Result<()> {
        for wanted in grants {
            let tenant = match wanted.on {
                GrantTarget::Organization(id) => self.tenants.tenant(id),
                GrantTarget::Workspace(id) => {
                    let workspace = self.tenants.workspace(id);
                    workspace.and_then(|workspace| self.tenants.tenant(workspace.organization))
                }
            };
            let within = |tenant: &&Arc<Tenant>| {
                tenant.state.id == organization || tenant.above.contains(&organization)
            };
            let Some(tenant) = tenant.as_ref().filter(within) else {
                match reach {
                    Reach::Give => return Err(Error::not_found(field, "organization or workspace")),
                    // Its organization was moved away since: the grant gives nothing any more.
                    Reach::Manage => continue,
                }
            };
            let place = wanted.place(tenant.state.id);
            if !holder.covers(wanted.role, place, &tenant.above) {
                let message = format!(
                    "the grant {} exceeds your own; ask somebody who holds it on the same organization or workspace",
                    wanted.role
                );
                return Err(Error::new(Code::Forbidden, message).about(field));
            }
        }
        Ok(())
    }

    /// The workspace that a new key is for.
    pub(super) fn workspace_of(&self, caller: &Caller, wanted: Option<WorkspaceId>) -> Result<Place> {
        const FIELD: &str = "input.workspaceId";
        if let Some(id) = wanted {
            return self
                .tenants
                .workspace(id)
                .map(|workspace| Place { organization: workspace.organization, workspace: Some(id) })
                .filter(|place| self.sees(caller, *place))
                .ok_or_else(|| Error::not_found(FIELD, "workspace"));
        }
        match &self.tenants.workspaces(caller.organization)[..] {
            [only] => Ok(Place { organization: caller.organization, workspace: Some(only.id) }),
            all => Err(Error::invalid(
                FIELD,
                format!("the organization has {} workspaces; name the one that the key is for", all.len()),
            )),
        }
    }
}

/// Why grants are held against somebody's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// A key is to get them.
    Give,
    /// A key has them and is to be managed.
    Manage,
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

fn fold<'a>(state: Option<KeyState>, envelopes: impl Iterator<Item = &'a Envelope>) -> Option<KeyState> {
    envelopes.fold(state, KeyState::fold)
}

/// All that makes one request another, as bytes. Who asks is part of it.
fn fingerprint(
    context: &Context,
    workspace: WorkspaceId,
    new: &NewKey,
    cloned_from: Option<KeyId>,
) -> Vec<u8> {
    let mut parts = vec![serde_json::json!([
        context.actor.id,
        workspace,
        new.name,
        new.environment,
        new.prefix,
        new.scopes,
        new.roles,
        new.grants,
        new.allowed_cidrs,
        new.rate_limits,
        new.expires_at,
        new.metadata.as_str(),
        cloned_from,
    ])];
    // Requests without them are told by what they were before there were any.
    if new.identity.is_some() || new.credits.is_some() {
        parts.push(serde_json::json!([new.identity, new.credits]));
    }
    let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
    parts.concat().into_bytes()
}
