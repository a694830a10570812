//! Commands about keys.

use std::time::Duration;

use ipnet::IpNet;
use keyledger_projections::KeyState;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::Hex32;
use keyledger_schema::grant::{self, GrantTarget, Place, Right};
use keyledger_schema::{
    Envelope, Environment, Grant, KeyId, Metadata, Scope, SecretRecord, Stream, Timestamp, WorkspaceId,
};
use tokio::sync::{Mutex, MutexGuard};

use super::writer::{Failure, read_failed};
use super::{Context, Service, Written};
use crate::caller::Caller;
use crate::decisions::key::{self as decisions, Command, Issue};
use crate::decisions::{slug, warning};
use crate::error::{Code, Error, Result};
use crate::secret::Secret;
use crate::store::{Direction, Position};
use crate::stream_head::StreamHead;

/// How often a decision is made anew when others write to the same key.
const ATTEMPTS: usize = 16;
/// How many queues the keys share.
const QUEUES: usize = 1_024;
/// How many events of a stream are read at once.
const PAGE: usize = 500;

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
    /// What it may do in Keyledger itself.
    pub grants: Vec<Grant>,
    /// Addresses it may be used from.
    pub allowed_cidrs: Vec<IpNet>,
    /// Fixed for good.
    pub expires_at: Option<Timestamp>,
    /// The user's own.
    pub metadata: Metadata,
    /// Makes a retry return the same key.
    pub idempotency_key: Option<Box<str>>,
}

/// A key after a command.
pub type KeyWritten = Written<KeyState>;

/// A key after a command that made a secret; no secret when an idempotency key was repeated.
pub type NewSecret = (KeyWritten, Option<Secret>);

pub(super) fn query_failed(error: &crate::readmodel::QueryError) -> Error {
    tracing::error!(%error, "the read model cannot be read");
    Error::unavailable("keys cannot be read now; try again, and tell the operator if it lasts")
}

/// A key and where its stream ends.
pub(super) struct Loaded {
    pub(super) state: KeyState,
    pub(super) head: StreamHead,
    /// Where the last event stands in the log.
    position: Position,
}

/// Commands about one key queue up here instead of racing in the log, where each would be decided anew
/// after every other. Other nodes race all the same. Two keys may share a queue, which only costs time.
pub(super) struct Queues(Box<[Mutex<()>]>);

impl Default for Queues {
    fn default() -> Self {
        Self((0..QUEUES).map(|_| Mutex::default()).collect())
    }
}

impl Queues {
    /// Waits for this key's turn, which lasts until the guard is dropped.
    async fn turn(&self, id: KeyId) -> MutexGuard<'_, ()> {
        let (high, low) = id.uuid().as_u64_pair();
        // The end of an id is random. The remainder is below QUEUES.
        let place = usize::try_from((high ^ low) % QUEUES as u64).unwrap_or_default();
        self.0[place].lock().await
    }
}

impl Service {
    /// Makes a key.
    pub async fn create_key(&self, caller: &Caller, new: NewKey) -> Result<NewSecret> {
        let workspace = self.workspace_of(caller, new.workspace)?;
        let place = Place { organization: caller.organization, workspace: Some(workspace) };
        self.require(caller, Right::ManageKeys, place)?;
        self.may_give(caller, &new.grants, "input.grants")?;
        self.issue(&self.context(caller), place, new, None).await
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
            grants: original.grants,
            allowed_cidrs: original.allowed_cidrs.0,
            expires_at: original.expires_at,
            metadata: original.metadata.0,
            idempotency_key,
        };
        self.issue(&context, place, new, Some(original.id)).await
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
        let organization = self
            .tenants
            .organization(place.organization)
            .ok_or_else(|| Error::not_found("input.workspaceId", "workspace"))?;
        if organization.signing_key.is_none() {
            return Err(Error::new(
                Code::NotBootstrapped,
                "the organization has no signing key yet and issues no keys; bootstrap it first",
            ));
        }
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
            && let Some(loaded) = self.load(id).await?
        {
            return self.repeated(loaded, fingerprint).await;
        }
        let (secret, record) = self.mint(&new.prefix, new.environment);
        let issue = Issue {
            email: slug::key_email(&new.name, id, &organization.slug).into(),
            name: new.name,
            environment: new.environment,
            prefix: new.prefix,
            secret: record,
            scopes: new.scopes,
            grants: new.grants,
            allowed_cidrs: new.allowed_cidrs,
            expires_at: new.expires_at,
            metadata: new.metadata,
            cloned_from,
            request_fingerprint,
        };
        let decision = decisions::decide(None, Command::Issue(Box::new(issue)), context.at)?;
        let stream = Stream::Key(id);
        let head = StreamHead::default();
        match self.append(context, stream, head, Some(place), decision.events, Outcome::Success).await {
            Ok(events) => {
                self.applied(&events).await?;
                let state = fold(None, events.iter().map(|event| &event.envelope));
                let state = state.ok_or_else(Error::internal)?;
                Ok((Written { state, events, warnings: decision.warnings }, Some(secret)))
            }
            Err(Failure::Conflict) => match request_fingerprint {
                Some(fingerprint) => {
                    let loaded = self.load(id).await?.ok_or_else(Error::internal)?;
                    self.repeated(loaded, fingerprint).await
                }
                None => Err(Error::internal()),
            },
            Err(Failure::Other(error)) => Err(error),
        }
    }

    /// The answer to a request whose idempotency key was used before.
    async fn repeated(&self, loaded: Loaded, fingerprint: Hex32) -> Result<NewSecret> {
        if loaded.state.request_fingerprint != Some(fingerprint) {
            return Err(Error {
                code: Code::Conflict,
                message: "this idempotency key stands for another request; use a new one for a new key"
                    .into(),
                field: Some("input.idempotencyKey".into()),
            });
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
    ) -> Result<(KeyWritten, Secret)> {
        let turn = self.queues.turn(id).await;
        let loaded = self.managed(caller, id).await?;
        let (secret, record) = self.mint(&loaded.state.prefix, loaded.state.environment);
        let command = Command::Rotate { secret: record, overlap };
        let written = self.decide_and_append(&self.context(caller), loaded, command).await?;
        drop(turn);
        self.applied(&written.events).await?;
        Ok((written, secret))
    }

    /// Gives a key a new secret without asking who may.
    pub(super) async fn replace_secret(&self, context: &Context, id: KeyId) -> Result<Secret> {
        let loaded = self.load(id).await?.ok_or_else(Error::internal)?;
        let (secret, record) = self.mint(&loaded.state.prefix, loaded.state.environment);
        let command = Command::Rotate { secret: record, overlap: Duration::ZERO };
        let written = self.decide_and_append(context, loaded, command).await?;
        self.applied(&written.events).await?;
        Ok(secret)
    }

    /// Every other command about a key.
    pub async fn change_key(&self, caller: &Caller, id: KeyId, command: Command) -> Result<KeyWritten> {
        let turn = self.queues.turn(id).await;
        let loaded = self.managed(caller, id).await?;
        let written = self.decide_and_append(&self.context(caller), loaded, command).await?;
        drop(turn);
        self.applied(&written.events).await?;
        Ok(written)
    }

    /// Decides on what is known, and anew on what the log says when somebody else was faster.
    pub(super) async fn decide_and_append(
        &self,
        context: &Context,
        mut loaded: Loaded,
        command: Command,
    ) -> Result<KeyWritten> {
        for _ in 0..ATTEMPTS {
            let decision = decisions::decide(Some(&loaded.state), command.clone(), context.at)?;
            if decision.events.is_empty() {
                // Somebody else made it true, maybe a moment ago: this node must know it before it is said.
                self.applied_to(loaded.position).await?;
                return Ok(Written { state: loaded.state, events: Vec::new(), warnings: decision.warnings });
            }
            let stream = Stream::Key(loaded.state.id);
            let place = Some(place_of(&loaded.state));
            let appended =
                self.append(context, stream, loaded.head, place, decision.events, Outcome::Success).await;
            match appended {
                Ok(events) => {
                    let state = fold(Some(loaded.state), events.iter().map(|event| &event.envelope));
                    let state = state.ok_or_else(Error::internal)?;
                    return Ok(Written { state, events, warnings: decision.warnings });
                }
                Err(Failure::Conflict) => {
                    loaded = self.load(loaded.state.id).await?.ok_or_else(Error::internal)?;
                }
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        Err(Error::new(Code::Conflict, "many others are changing this key; look at it again and repeat"))
    }

    /// Loads a key: the folded state that the read model keeps, and whatever the log has after it. The
    /// expected revision of the append decides whether that was all.
    pub(super) async fn load(&self, id: KeyId) -> Result<Option<Loaded>> {
        let row = self.read_model.key(id).await.map_err(|error| query_failed(&error))?;
        let mut state = row.map(|row| row.state);
        let mut head = StreamHead::default();
        let mut position = None;
        let stream = Stream::Key(id).to_string();
        // The last folded event is read again for its hash.
        let mut from = state.as_ref().map_or(0, |state| state.revision);
        loop {
            let events = self
                .store
                .read_stream(&stream, Some(from), Direction::Forward, PAGE)
                .await
                .map_err(|error| read_failed(&error))?;
            for event in &events {
                head = StreamHead::at(event.revision, &event.bytes);
                position = Some(event.position);
                if state.as_ref().is_some_and(|state| state.revision >= event.revision) {
                    continue;
                }
                let envelope = Envelope::open(&event.bytes).map_err(|error| {
                    tracing::error!(%error, position = %event.position, "an event cannot be read");
                    Error::internal()
                })?;
                state = KeyState::fold(state, &envelope);
            }
            match events.last() {
                Some(last) if events.len() == PAGE => from = last.revision + 1,
                _ => break,
            }
        }
        Ok(state.zip(position).map(|(state, position)| Loaded { state, head, position }))
    }

    /// Loads a key that the caller may manage. One that the caller may not see does not exist; one that
    /// holds more than the caller does is out of reach, since a new secret of it would be a promotion.
    async fn managed(&self, caller: &Caller, id: KeyId) -> Result<Loaded> {
        let loaded = self.load(id).await?.ok_or_else(|| Error::not_found("input.id", "key"))?;
        let place = place_of(&loaded.state);
        if !Right::ALL.iter().any(|&right| right != Right::Verify && caller.may(right, place)) {
            return Err(Error::not_found("input.id", "key"));
        }
        self.require(caller, Right::ManageKeys, place)?;
        self.may_give(caller, &loaded.state.grants, "input.id")?;
        Ok(loaded)
    }

    /// Nobody can give a grant that exceeds their own.
    fn may_give(&self, caller: &Caller, grants: &[Grant], field: &'static str) -> Result<()> {
        for wanted in grants {
            let known = match wanted.on {
                GrantTarget::Organization(id) => id == caller.organization,
                GrantTarget::Workspace(id) => self.tenants.workspace(caller.organization, id).is_some(),
            };
            if !known {
                return Err(Error::not_found(field, "organization or workspace"));
            }
            if !grant::covers(&caller.grants, wanted, caller.organization) {
                return Err(Error {
                    code: Code::Forbidden,
                    message: format!(
                        "the grant {} exceeds your own; ask somebody who holds it on the same organization or workspace",
                        wanted.role
                    )
                    .into(),
                    field: Some(field.into()),
                });
            }
        }
        Ok(())
    }

    fn workspace_of(&self, caller: &Caller, wanted: Option<WorkspaceId>) -> Result<WorkspaceId> {
        const FIELD: &str = "input.workspaceId";
        if let Some(id) = wanted {
            let place = Place { organization: caller.organization, workspace: Some(id) };
            let seen = Right::ALL.iter().any(|&right| right != Right::Verify && caller.may(right, place));
            let known = self.tenants.workspace(caller.organization, id).filter(|_| seen);
            return known.map(|workspace| workspace.id).ok_or_else(|| Error::not_found(FIELD, "workspace"));
        }
        match &self.tenants.workspaces(caller.organization)[..] {
            [only] => Ok(only.id),
            all => Err(Error::invalid(
                FIELD,
                format!("the organization has {} workspaces; name the one that the key is for", all.len()),
            )),
        }
    }
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
    let parts = serde_json::json!([
        context.actor.id,
        workspace,
        new.name,
        new.environment,
        new.prefix,
        new.scopes,
        new.grants,
        new.allowed_cidrs,
        new.expires_at,
        new.metadata.as_str(),
        cloned_from,
    ]);
    parts.to_string().into_bytes()
}
