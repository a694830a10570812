//! Which keys a caller may manage, where a new one may live, and what may be given to it.

use std::sync::Arc;

use keyledger_projections::KeyState;
use keyledger_schema::grant::{GrantTarget, Holder, Place, Right};
use keyledger_schema::{Grant, KeyId, OrganizationId, WorkspaceId};

use super::place_of;
use crate::caller::Caller;
use crate::error::{Code, Error, Result};
use crate::service::aggregate::Loaded;
use crate::service::{Service, lacking};
use crate::tenants::Tenant;

/// Why grants are held against somebody's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::service) enum Reach {
    /// A key is to get them.
    Give,
    /// A key has them and is to be managed.
    Manage,
}

impl Service {
    /// An organization that can issue keys, and what holds in it.
    pub(in crate::service) fn bootstrapped(
        &self,
        id: OrganizationId,
        field: &'static str,
    ) -> Result<Arc<Tenant>> {
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
    pub(in crate::service) async fn managed(&self, caller: &Caller, id: KeyId) -> Result<Loaded<KeyState>> {
        self.managed_by(caller.holder(), id).await
    }

    pub(in crate::service) async fn managed_by(
        &self,
        holder: Holder<'_>,
        id: KeyId,
    ) -> Result<Loaded<KeyState>> {
        let loaded = self.load_key(id).await?.ok_or_else(|| Error::not_found("input.id", "key"))?;
        let place = place_of(&loaded.state);
        if !self.tenants.sees(holder, place) {
            return Err(Error::not_found("input.id", "key"));
        }
        if !self.tenants.may(holder, Right::ManageKeys, place) {
            return Err(lacking(Right::ManageKeys));
        }
        self.may_give(holder, &loaded.state.grants, place.organization, "input.id", Reach::Manage)?;
        Ok(loaded)
    }

    /// Nobody can give a grant that exceeds their own, and no key gets one beyond its own organization and
    /// those below it.
    pub(in crate::service) fn may_give(
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
    pub(in crate::service) fn workspace_of(
        &self,
        caller: &Caller,
        wanted: Option<WorkspaceId>,
    ) -> Result<Place> {
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
