//! Mutations about keys.

use async_graphql::{Context, ID, Object};
use keyledger_schema::KeyId;

use super::{KeyPayload, KeySecretPayload};
use crate::caller::Caller;
use crate::decisions::key::Command;
use crate::decisions::limits;
use crate::error::Result;
use crate::graphql::MUTATION_COST;
use crate::graphql::answer::{parties, recorded};
use crate::graphql::input::{
    self, AcknowledgeKeySecretInput, CloneKeyInput, CreateKeyInput, DeleteKeyInput, DisableKeyInput,
    EnableKeyInput, RevokeKeyInput, RevokeTokensInput, RotateKeyInput, UpdateKeyInput,
};
use crate::service::{KeyWritten, Seen, Service};

/// A command about an existing key.
async fn change(
    context: &Context<'_>,
    id: ID,
    expected: Option<u64>,
    command: impl FnOnce() -> Result<Command>,
) -> async_graphql::Result<KeyPayload> {
    let (service, caller) = parties(context)?;
    let run = async {
        let key: KeyId = input::id("input.id", &id)?;
        service.change_key(caller, key, command()?, expected.map(Seen)).await
    };
    recorded(context, Some(&id), run).await.map(KeyPayload::new)
}

async fn update(service: &Service, caller: &Caller, input: UpdateKeyInput) -> Result<KeyWritten> {
    let seen = input.expected_revision.map(Seen);
    let (id, update) = input.check()?;
    service.change_key(caller, id, Command::Update(update), seen).await
}

/// Mutations about keys.
#[derive(Default)]
pub(crate) struct KeyMutation;

#[Object]
impl KeyMutation {
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
        change(context, input.id, input.expected_revision, || Ok(Command::Acknowledge)).await
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
            service.rotate_key(caller, id, overlap, input.expected_revision.map(Seen)).await
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
        change(context, input.id, input.expected_revision, || {
            Ok(Command::Disable(input::comment(input.comment.as_deref())?))
        })
        .await
    }

    /// Switches a key on again.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn enable_key(
        &self,
        context: &Context<'_>,
        input: EnableKeyInput,
    ) -> async_graphql::Result<KeyPayload> {
        change(context, input.id, input.expected_revision, || {
            Ok(Command::Enable(input::comment(input.comment.as_deref())?))
        })
        .await
    }

    /// Puts a key out of use for good. Its trail stays.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn revoke_key(
        &self,
        context: &Context<'_>,
        input: RevokeKeyInput,
    ) -> async_graphql::Result<KeyPayload> {
        change(context, input.id, input.expected_revision, || {
            Ok(Command::Revoke(input.reason.into(), input::comment(input.comment.as_deref())?))
        })
        .await
    }

    /// Makes all tokens fail that a key was exchanged for so far. The key stays as it is.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn revoke_tokens(
        &self,
        context: &Context<'_>,
        input: RevokeTokensInput,
    ) -> async_graphql::Result<KeyPayload> {
        change(context, input.id, input.expected_revision, || {
            Ok(Command::RevokeTokens(input::comment(input.comment.as_deref())?))
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
        change(context, input.id, input.expected_revision, || {
            Ok(Command::Delete(input::comment(input.comment.as_deref())?))
        })
        .await
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
            let name = input.name.as_deref().map(input::name).transpose()?;
            let idempotency_key = input::idempotency_key(input.idempotency_key)?;
            service.clone_key(caller, id, name, idempotency_key).await
        };
        let (written, secret) = recorded(context, Some(&input.id), run).await?;
        Ok(KeySecretPayload::new(written, secret.as_ref()))
    }
}
