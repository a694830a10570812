//! Mutations about the keys that organizations sign tokens with.

use async_graphql::{Context, ID, Object};
use keyledger_schema::OrganizationId;

use super::OrganizationPayload;
use crate::error::Result;
use crate::graphql::MUTATION_COST;
use crate::graphql::answer::{parties, recorded};
use crate::graphql::input;
use crate::graphql::signing_key::{RevokeSigningKeyInput, RotateSigningKeyInput};
use crate::service::Seen;

fn organization(id: Option<&ID>) -> Result<Option<OrganizationId>> {
    id.map(|id| input::id("input.organizationId", id)).transpose()
}

/// Mutations about signing keys.
#[derive(Default)]
pub(crate) struct SigningKeyMutation;

#[Object]
impl SigningKeyMutation {
    /// Adds a key that signs an organization's tokens in ten minutes, when everybody who checks tokens has had the
    /// time to fetch it. Tokens of the key before stay good.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn rotate_signing_key(
        &self,
        context: &Context<'_>,
        input: RotateSigningKeyInput,
    ) -> async_graphql::Result<OrganizationPayload> {
        let (service, caller) = parties(context)?;
        let target = input.organization_id.as_deref().map(String::as_str);
        let run = async {
            let id = organization(input.organization_id.as_ref())?;
            service.rotate_signing_key(caller, id, input.expected_revision.map(Seen)).await
        };
        let written = recorded(context, target, run).await?;
        Ok(OrganizationPayload::new(service, written))
    }

    /// Makes all tokens that a key signed fail, at once and for good. If it is the one that signs, a new one signs
    /// from now on.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn revoke_signing_key(
        &self,
        context: &Context<'_>,
        input: RevokeSigningKeyInput,
    ) -> async_graphql::Result<OrganizationPayload> {
        let (service, caller) = parties(context)?;
        let target = input.organization_id.as_deref().map(String::as_str);
        let run = async {
            let id = organization(input.organization_id.as_ref())?;
            let comment = input::comment(input.comment.as_deref())?;
            let seen = input.expected_revision.map(Seen);
            service.revoke_signing_key(caller, id, input.generation, comment, seen).await
        };
        let written = recorded(context, target, run).await?;
        Ok(OrganizationPayload::new(service, written))
    }
}
