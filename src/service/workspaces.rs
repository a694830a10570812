//! Commands about workspaces.

use keyledger_projections::WorkspaceState;
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{OrganizationId, Stream, WorkspaceId};

use super::{Context, Service, Written};
use crate::caller::Caller;
use crate::decisions::workspace::{self as decisions, Command};
use crate::error::{Error, Result};

impl Service {
    /// Adds a workspace to an organization, the caller's own if none is named.
    pub async fn create_workspace(
        &self,
        caller: &Caller,
        organization: Option<OrganizationId>,
        name: Box<str>,
    ) -> Result<Written<WorkspaceState>> {
        let organization = organization.unwrap_or(caller.organization);
        self.administered(caller, organization, "input.organizationId")?;
        self.open_workspace(&self.context(caller), organization, name).await
    }

    /// The same without asking who may.
    pub(super) async fn open_workspace(
        &self,
        context: &Context,
        organization: OrganizationId,
        name: Box<str>,
    ) -> Result<Written<WorkspaceState>> {
        let id = WorkspaceId::from_uuid(self.edge.uuid());
        let place = Place { organization, workspace: Some(id) };
        let decision = decisions::decide(None, Command::Create { organization, name })?;
        self.begin(context, Stream::Workspace(id), place, decision).await
    }

    /// Calls a workspace otherwise.
    pub async fn rename_workspace(
        &self,
        caller: &Caller,
        id: WorkspaceId,
        name: Box<str>,
    ) -> Result<Written<WorkspaceState>> {
        self.administered_workspace(caller, id)?;
        self.command_workspace(&self.context(caller), id, Command::Rename(name)).await
    }

    /// Sets how many keys a workspace may have; any number when none.
    pub async fn set_quota(
        &self,
        caller: &Caller,
        id: WorkspaceId,
        max_keys: Option<u64>,
    ) -> Result<Written<WorkspaceState>> {
        self.administered_workspace(caller, id)?;
        let context = self.context(caller);
        let taken = self.places_taken(id, context.at).await?;
        self.command_workspace(&context, id, Command::SetQuota { max_keys, taken }).await
    }

    /// Refuses a caller who may not change a workspace.
    fn administered_workspace(&self, caller: &Caller, id: WorkspaceId) -> Result<()> {
        let place = self
            .tenants
            .workspace(id)
            .map(|workspace| Place { organization: workspace.organization, workspace: Some(id) })
            .filter(|place| self.sees(caller, *place))
            .ok_or_else(|| Error::not_found("input.id", "workspace"))?;
        self.require(caller, Right::ManageOrganization, place)
    }

    async fn command_workspace(
        &self,
        context: &Context,
        id: WorkspaceId,
        command: Command,
    ) -> Result<Written<WorkspaceState>> {
        let loaded =
            self.load_workspace(id).await?.ok_or_else(|| Error::not_found("input.id", "workspace"))?;
        let decide = |state: &WorkspaceState| decisions::decide(Some(state), command.clone());
        let written = Box::pin(self.decide_and_append(context, loaded, None, decide)).await?;
        self.applied(&written.events).await?;
        Ok(written)
    }
}
