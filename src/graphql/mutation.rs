//! Mutations: each takes one `input` and answers the object, the events written and warnings.

use async_graphql::{Context, ID, Object, SimpleObject};
use keyledger_schema::KeyId;

use super::MUTATION_COST;
use super::answer::{parties, recorded};
use super::event::EventNode;
use super::input::{
    self, AcknowledgeKeySecretInput, CloneKeyInput, CreateKeyInput, CreateWorkspaceInput, DeleteKeyInput,
    DisableKeyInput, EnableKeyInput, RevokeKeyInput, RotateKeyInput, UpdateKeyInput,
};
use super::key::KeyNode;
use super::tenant::WorkspaceNode;
use crate::caller::Caller;
use crate::decisions::key::Command;
use crate::decisions::{self, limits};
use crate::error::Result;
use crate::secret::Secret;
use crate::service::{KeyWritten, Service};

/// What was done, but may not be what was meant.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct Warning {
    /// Stable.
    code: String,
    /// For people.
    message: String,
}

fn warnings(warnings: Vec<decisions::Warning>) -> Vec<Warning> {
    warnings
        .into_iter()
        .map(|warning| Warning { code: warning.code.to_owned(), message: warning.message.into_owned() })
        .collect()
}

/// A key after a mutation.
#[derive(SimpleObject)]
pub(crate) struct KeyPayload {
    /// As it is now.
    key: KeyNode,
    /// The events that the mutation wrote; none when what it asked for was true already.
    events: Vec<EventNode>,
    /// What the caller should know.
    warnings: Vec<Warning>,
}

/// A key after a mutation that may have made a secret.
#[derive(SimpleObject)]
pub(crate) struct KeySecretPayload {
    /// As it is now.
    key: KeyNode,
    /// Shown this once and never again. Null when an idempotency key was repeated.
    secret: Option<String>,
    /// The events that the mutation wrote.
    events: Vec<EventNode>,
    /// What the caller should know.
    warnings: Vec<Warning>,
}

/// A workspace after a mutation.
#[derive(SimpleObject)]
pub(crate) struct WorkspacePayload {
    /// As it is now.
    workspace: WorkspaceNode,
    /// The events that the mutation wrote.
    events: Vec<EventNode>,
    /// What the caller should know.
    warnings: Vec<Warning>,
}

impl KeyPayload {
    fn new(written: KeyWritten) -> Self {
        let events = EventNode::written(written.events);
        Self { key: KeyNode::new(written.state), events, warnings: warnings(written.warnings) }
    }
}

impl KeySecretPayload {
    fn new(written: KeyWritten, secret: Option<&Secret>) -> Self {
        let KeyPayload { key, events, warnings } = KeyPayload::new(written);
        Self { key, secret: secret.map(|secret| secret.expose().to_owned()), events, warnings }
    }
}

/// A command about an existing key.
async fn change(
    context: &Context<'_>,
    id: ID,
    command: impl FnOnce() -> Result<Command>,
) -> async_graphql::Result<KeyPayload> {
    let (service, caller) = parties(context)?;
    let run = async {
        let key: KeyId = input::id("input.id", &id)?;
        service.change_key(caller, key, command()?).await
    };
    recorded(context, Some(&id), run).await.map(KeyPayload::new)
}

async fn update(service: &Service, caller: &Caller, input: UpdateKeyInput) -> Result<KeyWritten> {
    let (id, update) = input.check()?;
    service.change_key(caller, id, Command::Update(update)).await
}

/// Everything that changes something.
pub(crate) struct Mutation;

#[Object]
impl Mutation {
    /// Makes a key. Its secret is in the answer, and never again.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn create_key(
        &self,
        context: &Context<'_>,
        input: CreateKeyInput,
    ) -> async_graphql::Result<KeySecretPayload> {
        let (service, caller) = parties(context)?;
        let run = async { service.create_key(caller, input.check()?).await };
        let (written, secret) = recorded(context, None, run).await?;
        Ok(KeySecretPayload::new(written, secret.as_ref()))
    }

    /// Says that the current secret was copied to where it is needed.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn acknowledge_key_secret(
        &self,
        context: &Context<'_>,
        input: AcknowledgeKeySecretInput,
    ) -> async_graphql::Result<KeyPayload> {
        change(context, input.id, || Ok(Command::Acknowledge)).await
    }

    /// Changes some fields, at once.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn update_key(
        &self,
        context: &Context<'_>,
        input: UpdateKeyInput,
    ) -> async_graphql::Result<KeyPayload> {
        let (service, caller) = parties(context)?;
        let target = input.id.clone();
        recorded(context, Some(&target), update(service, caller, input)).await.map(KeyPayload::new)
    }

    /// Gives a key a new secret. The old one stops at once, or after an overlap.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn rotate_key(
        &self,
        context: &Context<'_>,
        input: RotateKeyInput,
    ) -> async_graphql::Result<KeySecretPayload> {
        let (service, caller) = parties(context)?;
        let run = async {
            let id: KeyId = input::id("input.id", &input.id)?;
            let overlap = limits::overlap("input.overlapSeconds", input.overlap_seconds)?;
            service.rotate_key(caller, id, overlap).await
        };
        let (written, secret) = recorded(context, Some(&input.id), run).await?;
        Ok(KeySecretPayload::new(written, Some(&secret)))
    }

    /// Switches a key off.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn disable_key(
        &self,
        context: &Context<'_>,
        input: DisableKeyInput,
    ) -> async_graphql::Result<KeyPayload> {
        change(context, input.id, || Ok(Command::Disable(input::comment(input.comment.as_deref())?))).await
    }

    /// Switches a key on again.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn enable_key(
        &self,
        context: &Context<'_>,
        input: EnableKeyInput,
    ) -> async_graphql::Result<KeyPayload> {
        change(context, input.id, || Ok(Command::Enable(input::comment(input.comment.as_deref())?))).await
    }

    /// Puts a key out of use for good. Its trail stays.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn revoke_key(
        &self,
        context: &Context<'_>,
        input: RevokeKeyInput,
    ) -> async_graphql::Result<KeyPayload> {
        change(context, input.id, || {
            Ok(Command::Revoke(input.reason.into(), input::comment(input.comment.as_deref())?))
        })
        .await
    }

    /// Takes a key from lists and out of use. Its trail stays.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn delete_key(
        &self,
        context: &Context<'_>,
        input: DeleteKeyInput,
    ) -> async_graphql::Result<KeyPayload> {
        change(context, input.id, || Ok(Command::Delete(input::comment(input.comment.as_deref())?))).await
    }

    /// Makes a new key with the settings and the expiry date of another one.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn clone_key(
        &self,
        context: &Context<'_>,
        input: CloneKeyInput,
    ) -> async_graphql::Result<KeySecretPayload> {
        let (service, caller) = parties(context)?;
        let run = async {
            let id: KeyId = input::id("input.id", &input.id)?;
            let name = input.name.as_deref().map(|name| limits::name("input.name", name)).transpose()?;
            let idempotency_key = input::idempotency_key(input.idempotency_key)?;
            service.clone_key(caller, id, name, idempotency_key).await
        };
        let (written, secret) = recorded(context, Some(&input.id), run).await?;
        Ok(KeySecretPayload::new(written, secret.as_ref()))
    }

    /// Adds a workspace to the caller's organization.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn create_workspace(
        &self,
        context: &Context<'_>,
        input: CreateWorkspaceInput,
    ) -> async_graphql::Result<WorkspacePayload> {
        let (service, caller) = parties(context)?;
        let run = async { service.create_workspace(caller, limits::name("input.name", &input.name)?).await };
        let written = recorded(context, None, run).await?;
        Ok(WorkspacePayload {
            workspace: WorkspaceNode::new(written.state.into()),
            events: EventNode::written(written.events),
            warnings: warnings(written.warnings),
        })
    }
}
