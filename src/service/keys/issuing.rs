//! New keys: created, cloned, and the same again when a request is repeated.

use ipnet::IpNet;
use keyledger_projections::KeyState;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::Hex32;
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::personal::Erased;
use keyledger_schema::{
    ActorKind, Envelope, Environment, Grant, IdentityId, KeyId, Metadata, Personal, Policy, RateLimit,
    RoleId, Scope, SecretRecord, SecretScheme, Stream, Timestamp, WorkspaceId,
};

use super::reach::Reach;
use super::{KeyWritten, NewSecret, ground, known_roles, place_of};
use crate::caller::Caller;
use crate::decisions::credits::NewCredits;
use crate::decisions::key::{self as decisions, Command, Issue};
use crate::decisions::{Decision, slug, warning};
use crate::error::{Code, Error, Result};
use crate::secret::Secret;
use crate::service::aggregate::Loaded;
use crate::service::places::Reserved;
use crate::service::writer::Failure;
use crate::service::{Context, Service, Written, credits};
use crate::stream_head::StreamHead;
use crate::tenants::Tenant;

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
pub(in crate::service) struct Birth {
    pub(in crate::service) id: KeyId,
    pub(in crate::service) new: NewKey,
    pub(in crate::service) secret: SecretRecord,
    pub(in crate::service) imported: Option<SecretScheme>,
    pub(in crate::service) cloned_from: Option<KeyId>,
    pub(in crate::service) request_fingerprint: Option<Hex32>,
}

impl Birth {
    pub(in crate::service) fn decide(self, tenant: &Tenant, context: &Context) -> Result<Decision> {
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
    pub(in crate::service) async fn issue(
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
    pub(in crate::service) async fn append_issued(
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
        let known = loaded.state.request_fingerprint.clone();
        if known != Some(fingerprint.into()) {
            let message = if known.is_some_and(|Personal(known)| known != Hex32::unreadable()) {
                "this idempotency key stands for another request; use a new one for a new key"
            } else {
                "a key was made with this idempotency key, but for which request was erased or cannot be read; use a new \
                 one for a new key"
            };
            return Err(Error::new(Code::Conflict, message).about("input.idempotencyKey"));
        }
        self.applied_to(loaded.position).await?;
        let warnings = warning::open_networks(&loaded.state.allowed_cidrs);
        Ok((Written { state: loaded.state, events: Vec::new(), warnings }, None))
    }

    pub(super) fn mint(&self, prefix: &str, environment: Environment) -> (Secret, SecretRecord) {
        let secret = Secret::mint(prefix, environment, &self.edge.random());
        let record =
            SecretRecord { version: 1, hash: self.hasher.hash_minted(&secret), hint: secret.hint().into() };
        (secret, record)
    }
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
