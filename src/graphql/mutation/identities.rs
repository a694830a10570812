//! Mutations about identities, and about the credits of keys and identities.

use async_graphql::{Context, Object};

use super::{CreditsPayload, IdentityPayload};
use crate::graphql::MUTATION_COST;
use crate::graphql::answer::{parties, recorded};
use crate::graphql::credits::{self, AdjustCreditsInput, SetCreditsInput};
use crate::graphql::identity::{CreateIdentityInput, DeleteIdentityInput, UpdateIdentityInput};
use crate::graphql::input;
use crate::service::Seen;

/// Mutations about identities and credits.
#[derive(Default)]
pub(crate) struct IdentityMutation;

#[Object]
impl IdentityMutation {
    /// Makes an identity.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn create_identity(
        &self,
        context: &Context<'_>,
        input: CreateIdentityInput,
    ) -> async_graphql::Result<IdentityPayload> {
        let (service, caller) = parties(context)?;
        let run = async {
            let (organization, new) = input.check()?;
            service.create_identity(caller, organization, new).await
        };
        recorded(context, None, run).await.map(IdentityPayload::new)
    }

    /// Changes an identity, at once for all its keys.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn update_identity(
        &self,
        context: &Context<'_>,
        input: UpdateIdentityInput,
    ) -> async_graphql::Result<IdentityPayload> {
        let (service, caller) = parties(context)?;
        let (target, seen) = (input.id.clone(), input.expected_revision.map(Seen));
        let run = async {
            let id = input::id("input.id", &input.id)?;
            service.update_identity(caller, id, input.check()?, seen).await
        };
        recorded(context, Some(&target), run).await.map(IdentityPayload::new)
    }

    /// Takes an identity that no key holds from lists. Its trail stays.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn delete_identity(
        &self,
        context: &Context<'_>,
        input: DeleteIdentityInput,
    ) -> async_graphql::Result<IdentityPayload> {
        let (service, caller) = parties(context)?;
        let run = async {
            let id = input::id("input.id", &input.id)?;
            let comment = input::comment(input.comment.as_deref())?;
            service.delete_identity(caller, id, comment, input.expected_revision.map(Seen)).await
        };
        recorded(context, Some(&input.id), run).await.map(IdentityPayload::new)
    }

    /// Sets how many credits a key or an identity has, and how they come back.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn set_credits(
        &self,
        context: &Context<'_>,
        input: SetCreditsInput,
    ) -> async_graphql::Result<CreditsPayload> {
        let (service, caller) = parties(context)?;
        let (target, seen) = (input.id.clone(), input.expected_revision.map(Seen));
        let run = async {
            let pool = credits::pool(&input.id)?;
            service.change_credits(caller, pool, input.check()?, seen).await
        };
        recorded(context, Some(&target), run).await.map(CreditsPayload::new)
    }

    /// Gives a key or an identity more credits, or takes some away. How they come back stays as it is.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn adjust_credits(
        &self,
        context: &Context<'_>,
        input: AdjustCreditsInput,
    ) -> async_graphql::Result<CreditsPayload> {
        let (service, caller) = parties(context)?;
        let (target, seen) = (input.id.clone(), input.expected_revision.map(Seen));
        let run = async {
            let pool = credits::pool(&input.id)?;
            service.change_credits(caller, pool, input.check()?, seen).await
        };
        recorded(context, Some(&target), run).await.map(CreditsPayload::new)
    }
}
