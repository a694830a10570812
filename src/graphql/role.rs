//! Roles as the API shows and takes them.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use keyledger_projections::RoleState;
use keyledger_schema::{self as domain, OrganizationId, RoleDefinition, RoleScope};

use super::answer::parties;
use super::input;
use super::scalar::{DateTime, ScopeAction};
use super::tenant::OrganizationNode;
use crate::decisions::limits;
use crate::decisions::organization::{RoleUpdate, canonical_role_scopes};
use crate::error::{Error, Result};

/// A named set of scopes.
#[derive(Clone)]
pub(crate) struct RoleNode {
    pub(super) organization: OrganizationId,
    pub(super) state: RoleState,
}

/// A scope of a role.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "RoleScope")]
pub(crate) struct RoleScopeNode {
    /// Which actions.
    action: ScopeAction,
    /// On which resources; `*` is everything.
    resource: String,
    /// Both as one text: `read:customers/42/**`.
    text: String,
    /// How people call it.
    display_name: Option<String>,
}

impl From<&RoleScope> for RoleScopeNode {
    fn from(scope: &RoleScope) -> Self {
        Self {
            action: scope.scope.action.into(),
            resource: scope.scope.resource.as_str().to_owned(),
            text: scope.scope.to_string(),
            display_name: scope.display_name.as_deref().map(str::to_owned),
        }
    }
}

/// A named set of scopes of an organization. Keys that hold it have them as they are now.
#[Object(name = "Role")]
impl RoleNode {
    /// Its id.
    pub(super) async fn id(&self) -> ID {
        self.state.id.to_string().into()
    }

    /// Unique within the organization, without regard to case.
    async fn name(&self) -> &str {
        &self.state.definition.name
    }

    /// How people call it; the name unless another was given.
    async fn display_name(&self) -> &str {
        let definition = &self.state.definition;
        definition.display_name.as_deref().unwrap_or(&definition.name)
    }

    /// What it is for.
    async fn description(&self) -> Option<&str> {
        self.state.definition.description.as_deref()
    }

    /// What its holders may do in your API.
    #[graphql(complexity = "1 + 8 * child_complexity")]
    async fn scopes(&self) -> Vec<RoleScopeNode> {
        self.state.definition.scopes.iter().map(RoleScopeNode::from).collect()
    }

    /// Whose it is.
    async fn organization(&self, context: &Context<'_>) -> async_graphql::Result<Option<OrganizationNode>> {
        Ok(parties(context)?.0.tenants().tenant(self.organization).map(OrganizationNode))
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime {
        DateTime(self.state.created_at)
    }

    /// When it was last changed.
    async fn updated_at(&self) -> DateTime {
        DateTime(self.state.updated_at)
    }

    /// Revision of the organization's stream at which it was last changed.
    async fn revision(&self) -> u64 {
        self.state.revision
    }
}

/// A scope of a role.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct RoleScopeInput {
    /// Which actions.
    action: ScopeAction,
    /// See `ScopeInput`.
    resource: String,
    /// How people call it, such as "Customer Read": 1 to 128 characters.
    display_name: Option<String>,
}

/// A new role.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct CreateRoleInput {
    /// Your own organization when left out.
    organization_id: Option<ID>,
    /// 1 to 128 characters, unique within the organization without regard to case.
    name: String,
    /// How people call it: 1 to 128 characters.
    display_name: Option<String>,
    /// What it is for: at most 500 characters.
    description: Option<String>,
    /// At most 64.
    scopes: Vec<RoleScopeInput>,
}

/// New values; what is left out stays, and null takes away what can be missing.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct UpdateRoleInput {
    pub(super) id: ID,
    /// 1 to 128 characters.
    name: Option<String>,
    /// 1 to 128 characters.
    display_name: MaybeUndefined<String>,
    /// At most 500 characters.
    description: MaybeUndefined<String>,
    /// All scopes that it has from now on, at most 64.
    scopes: Option<Vec<RoleScopeInput>>,
    /// See `updateKey`; the role's `revision`.
    pub(super) expected_revision: Option<u64>,
}

/// The end of a role that no key holds.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct DeleteRoleInput {
    pub(super) id: ID,
    /// See `updateKey`; the role's `revision`.
    pub(super) expected_revision: Option<u64>,
}

fn scopes(scopes: Vec<RoleScopeInput>) -> Result<Vec<RoleScope>> {
    limits::at_most("input.scopes", "scopes", scopes.len(), limits::MAX_SCOPES)?;
    let parsed = scopes.into_iter().enumerate().map(|(i, scope)| {
        let resource = scope.resource.parse().map_err(|error: domain::scope::Error| {
            Error::invalid(format!("input.scopes[{i}].resource"), error.to_string())
        })?;
        let name = scope.display_name.map(|name| limits::name("input.scopes.displayName", &name));
        Ok(RoleScope {
            scope: domain::Scope { action: scope.action.into(), resource },
            display_name: name.transpose()?,
        })
    });
    canonical_role_scopes(parsed.collect::<Result<_>>()?)
}

impl CreateRoleInput {
    pub(super) fn check(self) -> Result<(Option<OrganizationId>, RoleDefinition)> {
        let organization =
            self.organization_id.as_deref().map(|id| input::id("input.organizationId", id)).transpose()?;
        let display_name = self.display_name.map(|name| limits::name("input.displayName", &name));
        let definition = RoleDefinition {
            name: limits::name("input.name", &self.name)?,
            display_name: display_name.transpose()?,
            description: limits::description("input.description", self.description.as_deref())?,
            scopes: scopes(self.scopes)?,
        };
        Ok((organization, definition))
    }
}

impl UpdateRoleInput {
    pub(super) fn check(self) -> Result<RoleUpdate> {
        Ok(RoleUpdate {
            name: self.name.map(|name| limits::name("input.name", &name)).transpose()?,
            display_name: match self.display_name {
                MaybeUndefined::Undefined => None,
                MaybeUndefined::Null => Some(None),
                MaybeUndefined::Value(name) => Some(Some(limits::name("input.displayName", &name)?)),
            },
            description: match self.description {
                MaybeUndefined::Undefined => None,
                MaybeUndefined::Null => Some(None),
                MaybeUndefined::Value(text) => Some(limits::description("input.description", Some(&text))?),
            },
            scopes: self.scopes.map(scopes).transpose()?,
        })
    }
}
