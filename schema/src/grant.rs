//! Grants: what a key may do in Keyledger itself. Scopes never count here.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{OrganizationId, WorkspaceId};

/// A named set of rights.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantRole {
    /// Everything.
    OrganizationAdministrator,
    /// Everything in a workspace.
    WorkspaceOwner,
    /// Manages the keys of a workspace.
    WorkspaceManager,
    /// Reads keys and trails.
    Auditor,
    /// Reads keys.
    Viewer,
    /// Verifies keys.
    Verifier,
}

/// One right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Right {
    /// Change the organization, its workspaces, roles and policy.
    ManageOrganization,
    /// Issue, change and revoke keys.
    ManageKeys,
    /// See keys, workspaces and the organization.
    ReadKeys,
    /// See events.
    ReadTrail,
    /// Ask whether a secret is valid.
    Verify,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 5] =
        [Self::ManageOrganization, Self::ManageKeys, Self::ReadKeys, Self::ReadTrail, Self::Verify];
}

impl GrantRole {
    /// Every role.
    pub const ALL: [Self; 6] = [
        Self::OrganizationAdministrator,
        Self::WorkspaceOwner,
        Self::WorkspaceManager,
        Self::Auditor,
        Self::Viewer,
        Self::Verifier,
    ];

    /// The rights that the role gives.
    pub const fn rights(self) -> &'static [Right] {
        match self {
            Self::OrganizationAdministrator => &Right::ALL,
            Self::WorkspaceOwner => &[Right::ManageKeys, Right::ReadKeys, Right::ReadTrail, Right::Verify],
            Self::WorkspaceManager => &[Right::ManageKeys, Right::ReadKeys],
            Self::Auditor => &[Right::ReadKeys, Right::ReadTrail],
            Self::Viewer => &[Right::ReadKeys],
            Self::Verifier => &[Right::Verify],
        }
    }

    /// As written in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrganizationAdministrator => "organization_administrator",
            Self::WorkspaceOwner => "workspace_owner",
            Self::WorkspaceManager => "workspace_manager",
            Self::Auditor => "auditor",
            Self::Viewer => "viewer",
            Self::Verifier => "verifier",
        }
    }
}

impl fmt::Display for GrantRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// On what a grant is given. A grant on an organization holds in all its workspaces.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantTarget {
    /// The whole organization.
    Organization(OrganizationId),
    /// One workspace.
    Workspace(WorkspaceId),
}

/// A role on an organization or a workspace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Which rights.
    pub role: GrantRole,
    /// Where.
    pub on: GrantTarget,
}

/// Where a right is needed: an organization as a whole, or one workspace of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The organization.
    pub organization: OrganizationId,
    /// The workspace; none for the organization as a whole.
    pub workspace: Option<WorkspaceId>,
}

impl Grant {
    /// Whether this grant gives a right at a place.
    pub fn gives(&self, right: Right, place: Place) -> bool {
        let reaches = match self.on {
            GrantTarget::Organization(organization) => organization == place.organization,
            GrantTarget::Workspace(workspace) => Some(workspace) == place.workspace,
        };
        reaches && self.role.rights().contains(&right)
    }

    /// The place that the grant is given on, in an organization.
    pub fn place(&self, organization: OrganizationId) -> Place {
        match self.on {
            GrantTarget::Organization(organization) => Place { organization, workspace: None },
            GrantTarget::Workspace(workspace) => Place { organization, workspace: Some(workspace) },
        }
    }
}

/// Whether any of the grants gives a right at a place.
pub fn any_gives(grants: &[Grant], right: Right, place: Place) -> bool {
    grants.iter().any(|grant| grant.gives(right, place))
}

/// Whether `held` gives everything that `wanted` gives. `organization` is where both are.
pub fn covers(held: &[Grant], wanted: &Grant, organization: OrganizationId) -> bool {
    wanted.role.rights().iter().all(|&right| any_gives(held, right, wanted.place(organization)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const ORG: OrganizationId = OrganizationId::from_uuid(Uuid::from_u128(1));
    const OTHER: OrganizationId = OrganizationId::from_uuid(Uuid::from_u128(2));
    const WS: WorkspaceId = WorkspaceId::from_uuid(Uuid::from_u128(3));
    const WS2: WorkspaceId = WorkspaceId::from_uuid(Uuid::from_u128(4));

    #[test]
    fn a_grant_on_an_organization_reaches_its_workspaces_and_no_other_organization() {
        for role in GrantRole::ALL {
            let grant = Grant { role, on: GrantTarget::Organization(ORG) };
            for right in Right::ALL {
                let given = role.rights().contains(&right);
                assert_eq!(grant.gives(right, Place { organization: ORG, workspace: None }), given);
                assert_eq!(grant.gives(right, Place { organization: ORG, workspace: Some(WS) }), given);
                assert!(!grant.gives(right, Place { organization: OTHER, workspace: Some(WS) }));
            }
        }
    }

    #[test]
    fn a_grant_on_a_workspace_reaches_neither_its_organization_nor_its_siblings() {
        for role in GrantRole::ALL {
            let grant = Grant { role, on: GrantTarget::Workspace(WS) };
            for right in Right::ALL {
                assert!(!grant.gives(right, Place { organization: ORG, workspace: None }));
                assert!(!grant.gives(right, Place { organization: ORG, workspace: Some(WS2) }));
            }
        }
    }

    #[test]
    fn nobody_covers_more_than_the_rights_they_hold() {
        for held in GrantRole::ALL {
            for wanted in GrantRole::ALL {
                let expected = wanted.rights().iter().all(|right| held.rights().contains(right));
                let on_organization = Grant { role: held, on: GrantTarget::Organization(ORG) };
                let on_workspace = Grant { role: held, on: GrantTarget::Workspace(WS) };
                let wide = Grant { role: wanted, on: GrantTarget::Organization(ORG) };
                let narrow = Grant { role: wanted, on: GrantTarget::Workspace(WS) };
                assert_eq!(covers(&[on_organization], &wide, ORG), expected);
                assert_eq!(covers(&[on_organization], &narrow, ORG), expected);
                assert_eq!(covers(&[on_workspace], &narrow, ORG), expected);
                assert!(!covers(&[on_workspace], &wide, ORG));
            }
        }
    }
}
