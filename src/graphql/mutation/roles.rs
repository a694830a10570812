//! Mutations about roles.

use async_graphql::{Context, Object};

use super::{OrganizationPayload, RolePayload};
use crate::graphql::MUTATION_COST;
use crate::graphql::answer::{parties, recorded};
use crate::graphql::input;
use crate::graphql::role::{CreateRoleInput, DeleteRoleInput, UpdateRoleInput};
use crate::service::Seen;

/// Mutations about roles.
#[derive(Default)]
pub(crate) struct RoleMutation;

#[Object]
impl RoleMutation {
    /// Defines a role.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn create_role(
        &self,
        context: &Context<'_>,
        input: CreateRoleInput,
    ) -> async_graphql::Result<RolePayload> {
        let (service, caller) = parties(context)?;
        let run = async {
            let (organization, definition) = input.check()?;
            service.create_role(caller, organization, definition).await
        };
        recorded(context, None, run).await.map(RolePayload::new)
    }

    /// Changes a role, at once for all keys that hold it.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn update_role(
        &self,
        context: &Context<'_>,
        input: UpdateRoleInput,
    ) -> async_graphql::Result<RolePayload> {
        let (service, caller) = parties(context)?;
        let (target, seen) = (input.id.clone(), input.expected_revision.map(Seen));
        let run = async {
            let id = input::id("input.id", &input.id)?;
            service.update_role(caller, id, input.check()?, seen).await
        };
        recorded(context, Some(&target), run).await.map(RolePayload::new)
    }

    /// Takes away a role that no key holds.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn delete_role(
        &self,
        context: &Context<'_>,
        input: DeleteRoleInput,
    ) -> async_graphql::Result<OrganizationPayload> {
        let (service, caller) = parties(context)?;
        let run = async {
            let id = input::id("input.id", &input.id)?;
            service.delete_role(caller, id, input.expected_revision.map(Seen)).await
        };
        let written = recorded(context, Some(&input.id), run).await?;
        Ok(OrganizationPayload::new(service, written))
    }
}
