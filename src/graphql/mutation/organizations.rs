//! Mutations about organizations and workspaces.

use async_graphql::{Context, MaybeUndefined, Object};
use keyledger_projections::WorkspaceState;

use super::{OrganizationPayload, PolicyPayload, WorkspacePayload, warnings};
use crate::decisions::limits;
use crate::error::{Error, Result};
use crate::graphql::MUTATION_COST;
use crate::graphql::answer::{parties, recorded};
use crate::graphql::event::EventNode;
use crate::graphql::input::{
    self, BootstrapOrganizationInput, CreateOrganizationInput, CreateWorkspaceInput, MoveOrganizationInput,
    RenameOrganizationInput, RenameWorkspaceInput, SetWorkspaceQuotaInput,
};
use crate::graphql::policy::SetOrganizationPolicyInput;
use crate::graphql::tenant::WorkspaceNode;
use crate::service::{Seen, Written};

impl WorkspacePayload {
    fn new(written: Written<WorkspaceState>) -> Self {
        Self {
            workspace: WorkspaceNode::new(written.state.into()),
            events: EventNode::written(written.events),
            warnings: warnings(written.warnings),
        }
    }
}

/// Mutations about organizations and workspaces.
#[derive(Default)]
pub(crate) struct OrganizationMutation;

#[Object]
impl OrganizationMutation {
    /// Makes an organization below another one. It issues keys once it is bootstrapped.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn create_organization(
        &self,
        context: &Context<'_>,
        input: CreateOrganizationInput,
    ) -> async_graphql::Result<OrganizationPayload> {
        let (service, caller) = parties(context)?;
        let target = input.parent_id.clone();
        let run = async {
            let parent = input.parent_id.as_deref().map(|id| input::id("input.parentId", id)).transpose()?;
            let name = limits::name("input.name", &input.name)?;
            service.create_organization(caller, name, parent).await
        };
        let written = recorded(context, target.as_deref().map(String::as_str), run).await?;
        Ok(OrganizationPayload::new(service, written))
    }

    /// Creates an organization's signing key, once. Before that it issues no keys.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn bootstrap_organization(
        &self,
        context: &Context<'_>,
        input: BootstrapOrganizationInput,
    ) -> async_graphql::Result<OrganizationPayload> {
        let (service, caller) = parties(context)?;
        let run = async { service.bootstrap_organization(caller, input::id("input.id", &input.id)?).await };
        let written = recorded(context, Some(&input.id), run).await?;
        Ok(OrganizationPayload::new(service, written))
    }

    /// Calls an organization otherwise.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn rename_organization(
        &self,
        context: &Context<'_>,
        input: RenameOrganizationInput,
    ) -> async_graphql::Result<OrganizationPayload> {
        let (service, caller) = parties(context)?;
        let run = async {
            let id = input::id("input.id", &input.id)?;
            let name = limits::name("input.name", &input.name)?;
            service.rename_organization(caller, id, name, input.expected_revision.map(Seen)).await
        };
        let written = recorded(context, Some(&input.id), run).await?;
        Ok(OrganizationPayload::new(service, written))
    }

    /// Puts a sub-organization below another organization, whose rules hold in it from then on.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn move_organization(
        &self,
        context: &Context<'_>,
        input: MoveOrganizationInput,
    ) -> async_graphql::Result<OrganizationPayload> {
        let (service, caller) = parties(context)?;
        let run = async {
            let id = input::id("input.id", &input.id)?;
            let parent = input::id("input.parentId", &input.parent_id)?;
            service.move_organization(caller, id, parent, input.expected_revision.map(Seen)).await
        };
        let written = recorded(context, Some(&input.id), run).await?;
        Ok(OrganizationPayload::new(service, written))
    }

    /// Changes what an organization demands of its keys. Existing keys stay as they are.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn set_organization_policy(
        &self,
        context: &Context<'_>,
        input: SetOrganizationPolicyInput,
    ) -> async_graphql::Result<PolicyPayload> {
        let (service, caller) = parties(context)?;
        let (target, seen, dry_run) = (input.id.clone(), input.expected_revision.map(Seen), input.dry_run);
        let run = async {
            let (id, change) = input.check()?;
            let id = id.unwrap_or(caller.organization);
            let (written, holds) = if dry_run {
                let holds = service.try_policy(caller, id, change)?;
                let state = service.tenants().organization(id).ok_or_else(Error::internal)?;
                (Written { state: (*state).clone(), events: Vec::new(), warnings: Vec::new() }, holds)
            } else {
                let written = service.set_policy(caller, id, change, seen).await?;
                let tenant = service.tenants().tenant(id).ok_or_else(Error::internal)?;
                (written, (*tenant.policy).clone())
            };
            let violators = service.violators(id, &holds).await?;
            Ok((OrganizationPayload::new(service, written), violators))
        };
        let (payload, violators) = recorded(context, target.as_deref().map(String::as_str), run).await?;
        let OrganizationPayload { organization, events, warnings } = payload;
        Ok(PolicyPayload { organization, violations: violators.into(), events, warnings })
    }

    /// Adds a workspace to an organization.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn create_workspace(
        &self,
        context: &Context<'_>,
        input: CreateWorkspaceInput,
    ) -> async_graphql::Result<WorkspacePayload> {
        let (service, caller) = parties(context)?;
        let target = input.organization_id.clone();
        let run = async {
            let organization = input.organization_id.as_deref();
            let organization = organization.map(|id| input::id("input.organizationId", id)).transpose()?;
            let name = limits::name("input.name", &input.name)?;
            service.create_workspace(caller, organization, name).await
        };
        recorded(context, target.as_deref().map(String::as_str), run).await.map(WorkspacePayload::new)
    }

    /// Calls a workspace otherwise.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn rename_workspace(
        &self,
        context: &Context<'_>,
        input: RenameWorkspaceInput,
    ) -> async_graphql::Result<WorkspacePayload> {
        let (service, caller) = parties(context)?;
        let run = async {
            let id = input::id("input.id", &input.id)?;
            service.rename_workspace(caller, id, limits::name("input.name", &input.name)?).await
        };
        recorded(context, Some(&input.id), run).await.map(WorkspacePayload::new)
    }

    /// Sets how many keys a workspace may have that are neither revoked nor deleted nor expired.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn set_workspace_quota(
        &self,
        context: &Context<'_>,
        input: SetWorkspaceQuotaInput,
    ) -> async_graphql::Result<WorkspacePayload> {
        let (service, caller) = parties(context)?;
        let run = async {
            let id = input::id("input.id", &input.id)?;
            service.set_quota(caller, id, quota(input.max_keys)?).await
        };
        recorded(context, Some(&input.id), run).await.map(WorkspacePayload::new)
    }
}

fn quota(max_keys: MaybeUndefined<u64>) -> Result<Option<u64>> {
    let max_keys = match max_keys {
        MaybeUndefined::Undefined => {
            let message = "say how many keys the workspace may have, or null for any number";
            return Err(Error::invalid("input.maxKeys", message));
        }
        MaybeUndefined::Null => None,
        MaybeUndefined::Value(max_keys) => Some(max_keys),
    };
    if let Some(asked) = max_keys.filter(|max| *max > limits::MAX_QUOTA) {
        let message = format!("a quota is 0 to {}, or null for any number, not {asked}", limits::MAX_QUOTA);
        return Err(Error::invalid("input.maxKeys", message));
    }
    Ok(max_keys)
}
