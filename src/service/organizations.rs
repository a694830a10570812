//! Commands about organizations and their roles.

use keyledger_projections::{KeyStatus, OrganizationState, RoleState};
use keyledger_schema::event::Hex32;
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{Event, OrganizationId, Policy, RoleDefinition, RoleId, Stream};

use super::aggregate::{Clashes, Seen};
use super::{Context, Service, Written};
use crate::caller::Caller;
use crate::decisions::organization::{
    self as decisions, Command, FIRST_GENERATION, PolicyChange, RoleUpdate,
};
use crate::decisions::{Holder, clash, limits, slug};
use crate::error::{Code, Error, Result};
use crate::readmodel::{Item, KeyQuery, KeyRow, Window};

/// How many keys a refusal to delete what they hold names.
pub(super) const HOLDERS_NAMED: usize = 100;

/// The longest part of addresses that names an organization and those above it: well within a domain name.
const MAX_SLUG_BYTES: usize = 160;

/// An organization after a command.
pub type OrganizationWritten = Written<OrganizationState>;

impl Service {
    /// Makes an organization below another one of the caller's reach, the caller's own if none is named.
    pub async fn create_organization(
        &self,
        caller: &Caller,
        name: Box<str>,
        parent: Option<OrganizationId>,
    ) -> Result<OrganizationWritten> {
        let parent = parent.unwrap_or(caller.organization);
        self.administered(caller, parent, "input.parentId")?;
        self.establish(&self.context(caller), name, Some(parent)).await
    }

    /// Makes an organization without asking who may.
    pub(super) async fn establish(
        &self,
        context: &Context,
        name: Box<str>,
        parent: Option<OrganizationId>,
    ) -> Result<OrganizationWritten> {
        let id = OrganizationId::from_uuid(self.edge.uuid());
        // Nobody else takes an address part while this one is looked for.
        let _turn = self.organization_turn.lock().await;
        if let Some(parent) = parent {
            self.room_below(parent, 1, 1)?;
        }
        let slug = self.free_slug(&name, id, parent);
        let command = Command::Create { name, slug: slug.into(), parent };
        let place = Place { organization: id, workspace: None };
        self.begin(context, Stream::Organization(id), place, decisions::decide(None, command)?).await
    }

    /// The part of addresses that names an organization. A sub-organization's ends with that of its parent, so
    /// that it says nothing of whether another tenant has this name. Where the name is taken, the end of
    /// the id stands behind it.
    fn free_slug(&self, name: &str, id: OrganizationId, parent: Option<OrganizationId>) -> String {
        // The end of an id is random.
        let end = id.to_string().split_off(20);
        let above = parent.and_then(|parent| self.tenants.organization(parent));
        let below = |slug: &str| match &above {
            Some(parent) if slug.len() + parent.slug.len() < MAX_SLUG_BYTES => {
                format!("{slug}.{}", parent.slug)
            }
            Some(_) => end.clone(),
            None => slug.to_owned(),
        };
        let taken = |slug: &str| self.tenants.slug_is_taken(slug);
        let wanted = slug::of(name).map(|slug| (below(&slug), slug));
        match wanted {
            None => below(&end),
            Some((wanted, slug)) if taken(&wanted) => below(&format!("{slug}-{end}")),
            Some((wanted, _)) => wanted,
        }
    }

    /// Refuses more organizations below one another than anybody needs: what holds above each is worked out for
    /// all below it.
    fn room_below(&self, parent: OrganizationId, more: usize, levels: usize) -> Result<()> {
        let tenant = self.tenants.tenant(parent).ok_or_else(Error::internal)?;
        let top = tenant.above.last().copied().unwrap_or(parent);
        let (count, _) = self.tenants.size_of_family(top);
        let depth = tenant.above.len() + 1 + levels;
        let refused = |message: String, limit: usize, count: usize| {
            let error = Error::new(Code::QuotaExceeded, message).about("input.parentId");
            Err(error.with("limit", limit).with("count", count))
        };
        if depth > limits::MAX_ORGANIZATION_DEPTH {
            let most = limits::MAX_ORGANIZATION_DEPTH;
            return refused(
                format!("organizations stand at most {most} deep; choose a higher parent"),
                most,
                depth,
            );
        }
        if count + more > limits::MAX_ORGANIZATIONS {
            let most = limits::MAX_ORGANIZATIONS;
            return refused(
                format!("a tenant has at most {most} organizations, and this one has them"),
                most,
                count,
            );
        }
        Ok(())
    }

    /// Lets an organization issue keys. Done once.
    pub async fn bootstrap_organization(
        &self,
        caller: &Caller,
        id: OrganizationId,
    ) -> Result<OrganizationWritten> {
        self.administered(caller, id, "input.id")?;
        self.bootstrap(&self.context(caller), id).await
    }

    /// The same without asking who may.
    pub(super) async fn bootstrap(
        &self,
        context: &Context,
        id: OrganizationId,
    ) -> Result<OrganizationWritten> {
        let public_key = self.master.signing_key(id, FIRST_GENERATION).verifying_key();
        let command = Command::Bootstrap { public_key: Hex32(public_key.to_bytes()) };
        self.command_organization(context, id, command, None).await
    }

    /// Calls an organization otherwise.
    pub async fn rename_organization(
        &self,
        caller: &Caller,
        id: OrganizationId,
        name: Box<str>,
        seen: Option<Seen>,
    ) -> Result<OrganizationWritten> {
        self.administered(caller, id, "input.id")?;
        self.command_organization(&self.context(caller), id, Command::Rename(name), seen).await
    }

    /// Puts an organization below another one. Both, and the parent that it leaves, have to be the
    /// caller's to administer: a move must not be a way out of a parent's rules.
    pub async fn move_organization(
        &self,
        caller: &Caller,
        id: OrganizationId,
        parent: OrganizationId,
        seen: Option<Seen>,
    ) -> Result<OrganizationWritten> {
        let state = self.administered(caller, id, "input.id")?;
        self.administered(caller, parent, "input.parentId")?;
        match state.parent {
            Some(left) => drop(self.administered(caller, left, "input.id")?),
            None => {
                return Err(Error::new(
                    Code::IllegalTransition,
                    "an organization that stands by itself cannot be put below another one; make a sub-organization instead",
                )
                .about("input.id"));
            }
        }
        // Two moves at once could make a loop that neither of them sees.
        let _turn = self.organization_turn.lock().await;
        let (_, levels) = self.tenants.size_of_family(id);
        self.room_below(parent, 0, levels)?;
        let target = self.tenants.tenant(parent).ok_or_else(Error::internal)?;
        let command =
            Command::Move { parent, above: target.above.to_vec(), inherited: (*target.policy).clone() };
        self.command_organization(&self.context(caller), id, command, seen).await
    }

    /// Changes an organization's own rules.
    pub async fn set_policy(
        &self,
        caller: &Caller,
        id: OrganizationId,
        change: PolicyChange,
        seen: Option<Seen>,
    ) -> Result<OrganizationWritten> {
        self.administered(caller, id, "input.id")?;
        // A parent that tightens its rules at the same time holds all the same: what counts is the
        // strictest of both.
        let tenant = self.tenants.tenant(id).ok_or_else(Error::internal)?;
        let command = Command::SetPolicy { change: Box::new(change), inherited: (*tenant.inherited).clone() };
        self.command_organization(&self.context(caller), id, command, seen).await
    }

    /// What holds in an organization if it sets these rules, or the refusal that setting them would meet.
    pub fn try_policy(&self, caller: &Caller, id: OrganizationId, change: PolicyChange) -> Result<Policy> {
        let state = self.administered(caller, id, "input.id")?;
        let tenant = self.tenants.tenant(id).ok_or_else(Error::internal)?;
        let inherited = (*tenant.inherited).clone();
        let policy = change.clone().of(&state.policy);
        decisions::decide(Some(&state), Command::SetPolicy { change: Box::new(change), inherited })?;
        Ok(policy.under(&tenant.inherited))
    }

    /// Defines a role.
    pub async fn create_role(
        &self,
        caller: &Caller,
        organization: Option<OrganizationId>,
        definition: RoleDefinition,
    ) -> Result<Written<(OrganizationState, RoleState)>> {
        let organization = organization.unwrap_or(caller.organization);
        self.administered(caller, organization, "input.organizationId")?;
        let id = RoleId::from_uuid(self.edge.uuid());
        let command = Command::CreateRole(id, definition);
        let written = self.command_organization(&self.context(caller), organization, command, None).await?;
        with_role(written, id)
    }

    /// Changes a role. All keys that hold it follow at once.
    pub async fn update_role(
        &self,
        caller: &Caller,
        id: RoleId,
        update: RoleUpdate,
        seen: Option<Seen>,
    ) -> Result<Written<(OrganizationState, RoleState)>> {
        let organization = self.organization_of_role(caller, id)?;
        let command = Command::UpdateRole(id, update);
        let written = self.command_organization(&self.context(caller), organization, command, seen).await?;
        with_role(written, id)
    }

    /// Takes away a role that no key holds.
    pub async fn delete_role(
        &self,
        caller: &Caller,
        id: RoleId,
        seen: Option<Seen>,
    ) -> Result<OrganizationWritten> {
        let organization = self.organization_of_role(caller, id)?;
        // From here until the role is gone no key gets it.
        let _gate = self.holding_gate.write().await;
        let (holders, count) = self.holders(organization, id, HOLDERS_NAMED).await?;
        let command = Command::DeleteRole { role: id, holders, count };
        self.command_organization(&self.context(caller), organization, command, seen).await
    }

    /// The organization of a role that the caller may change.
    fn organization_of_role(&self, caller: &Caller, id: RoleId) -> Result<OrganizationId> {
        let organization = self
            .tenants
            .family(caller.organization)
            .into_iter()
            .find(|tenant| tenant.state.roles.contains_key(&id))
            .map(|tenant| tenant.state.id)
            .filter(|&organization| self.sight(caller, Right::ReadKeys, organization).is_ok())
            .ok_or_else(|| Error::not_found("input.id", "role"))?;
        self.administered(caller, organization, "input.id")?;
        Ok(organization)
    }

    /// An organization that the caller may change.
    pub(super) fn administered(
        &self,
        caller: &Caller,
        id: OrganizationId,
        field: &'static str,
    ) -> Result<std::sync::Arc<OrganizationState>> {
        let place = Place { organization: id, workspace: None };
        let state = self
            .tenants
            .organization(id)
            .filter(|_| id == caller.organization || self.sees(caller, place))
            .ok_or_else(|| Error::not_found(field, "organization"))?;
        self.require(caller, Right::ManageOrganization, place)?;
        Ok(state)
    }

    pub(super) async fn command_organization(
        &self,
        context: &Context,
        id: OrganizationId,
        command: Command,
        seen: Option<Seen>,
    ) -> Result<OrganizationWritten> {
        let loaded =
            self.load_organization(id).await?.ok_or_else(|| Error::not_found("input.id", "organization"))?;
        let clashes = |event: &Event| clash::with_organization(&command, event);
        let seen = seen.map(|seen| (seen, &clashes as &Clashes<'_>));
        let decide = |state: &OrganizationState| decisions::decide(Some(state), command.clone());
        let written = Box::pin(self.decide_and_append(context, loaded, seen, decide)).await?;
        self.applied(&written.events).await?;
        Ok(written)
    }

    /// The first keys that hold a role and can still be used, and how many there are.
    async fn holders(
        &self,
        organization: OrganizationId,
        role: RoleId,
        max: usize,
    ) -> Result<(Vec<Holder>, u64)> {
        let query = KeyQuery {
            role: Some(role),
            statuses: vec![KeyStatus::Active, KeyStatus::Inactive],
            window: Window::first(max),
            count: true,
            ..KeyQuery::new(organization, self.now())
        };
        self.holders_among(query).await
    }

    /// The keys of a page, and how many there are in all.
    pub(super) async fn holders_among(&self, query: KeyQuery) -> Result<(Vec<Holder>, u64)> {
        let page = self.read_model.keys(query).await.map_err(|error| super::keys::query_failed(&error))?;
        let holder = |item: Item<KeyRow>| Holder { id: item.node.state.id, name: item.node.state.name.0 };
        Ok((page.items.into_iter().map(holder).collect(), page.total.unwrap_or_default()))
    }
}

fn with_role(written: OrganizationWritten, id: RoleId) -> Result<Written<(OrganizationState, RoleState)>> {
    let role = written.state.roles.get(&id).cloned().ok_or_else(Error::internal)?;
    Ok(Written { state: (written.state, role), events: written.events, warnings: written.warnings })
}
