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

/// On what a grant is given. A grant on an organization holds in all its workspaces and in all
/// organizations below it.
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
    /// Whether this grant gives a right at a place. `above` are the organizations above the place's.
    pub fn gives(&self, right: Right, place: Place, above: &[OrganizationId]) -> bool {
        let reaches = match self.on {
            GrantTarget::Organization(on) => on == place.organization || above.contains(&on),
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

/// What somebody holds: the grants of a key, and the organization that the key belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// A key acts in its own organization and in those below it, whatever its grants name.
    pub organization: OrganizationId,
    /// Its grants.
    pub grants: &'a [Grant],
}

impl Holder<'_> {
    /// Whether the holder has a right at a place. `above` are the organizations above the place's.
    pub fn may(self, right: Right, place: Place, above: &[OrganizationId]) -> bool {
        let within = self.organization == place.organization || above.contains(&self.organization);
        within && self.grants.iter().any(|grant| grant.gives(right, place, above))
    }

    /// Whether the holder has everything that a role gives at a place.
    pub fn covers(self, role: GrantRole, place: Place, above: &[OrganizationId]) -> bool {
        role.rights().iter().all(|&right| self.may(right, place, above))
    }

    /// Whether the holder has a right anywhere.
    pub fn may_somewhere(self, right: Right) -> bool {
        self.grants.iter().any(|grant| grant.role.rights().contains(&right))
    }

    /// The widest role held: the first in the order of [`GrantRole::ALL`].
    pub fn widest_role(self) -> Option<GrantRole> {
        self.grants.iter().map(|grant| grant.role).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const PARENT: OrganizationId = OrganizationId::from_uuid(Uuid::from_u128(9));
    const ORG: OrganizationId = OrganizationId::from_uuid(Uuid::from_u128(1));
    const OTHER: OrganizationId = OrganizationId::from_uuid(Uuid::from_u128(2));
    const WS: WorkspaceId = WorkspaceId::from_uuid(Uuid::from_u128(3));
    const WS2: WorkspaceId = WorkspaceId::from_uuid(Uuid::from_u128(4));

    fn place(organization: OrganizationId, workspace: Option<WorkspaceId>) -> Place {
        Place { organization, workspace }
    }

    #[test]
    fn a_grant_on_an_organization_reaches_what_is_below_it_and_nothing_else() {
        for role in GrantRole::ALL {
            let on_parent = Grant { role, on: GrantTarget::Organization(PARENT) };
            let on_child = Grant { role, on: GrantTarget::Organization(ORG) };
            for right in Right::ALL {
                let given = role.rights().contains(&right);
                for workspace in [None, Some(WS)] {
                    assert_eq!(on_child.gives(right, place(ORG, workspace), &[PARENT]), given);
                    assert_eq!(on_parent.gives(right, place(ORG, workspace), &[PARENT]), given);
                    assert!(!on_child.gives(right, place(PARENT, workspace), &[]));
                    assert!(!on_child.gives(right, place(OTHER, workspace), &[PARENT]));
                }
            }
        }
    }

    #[test]
    fn a_grant_on_a_workspace_reaches_neither_its_organization_nor_its_siblings() {
        for role in GrantRole::ALL {
            let grant = Grant { role, on: GrantTarget::Workspace(WS) };
            for right in Right::ALL {
                assert!(!grant.gives(right, place(ORG, None), &[PARENT]));
                assert!(!grant.gives(right, place(ORG, Some(WS2)), &[PARENT]));
            }
        }
    }

    #[test]
    fn a_key_reaches_no_organization_beside_its_own() {
        let grants =
            [Grant { role: GrantRole::OrganizationAdministrator, on: GrantTarget::Organization(OTHER) }];
        let holder = Holder { organization: ORG, grants: &grants };
        assert!(!holder.may(Right::ReadKeys, place(OTHER, None), &[]));
        assert!(holder.may(Right::ReadKeys, place(OTHER, None), &[ORG]));
    }

    #[test]
    fn nobody_covers_more_than_the_rights_they_hold() {
        for held in GrantRole::ALL {
            for wanted in GrantRole::ALL {
                let expected = wanted.rights().iter().all(|right| held.rights().contains(right));
                let on_organization = [Grant { role: held, on: GrantTarget::Organization(ORG) }];
                let on_workspace = [Grant { role: held, on: GrantTarget::Workspace(WS) }];
                let wide = Holder { organization: ORG, grants: &on_organization };
                let narrow = Holder { organization: ORG, grants: &on_workspace };
                assert_eq!(wide.covers(wanted, place(ORG, None), &[]), expected);
                assert_eq!(wide.covers(wanted, place(ORG, Some(WS)), &[]), expected);
                assert_eq!(narrow.covers(wanted, place(ORG, Some(WS)), &[]), expected);
                assert!(!narrow.covers(wanted, place(ORG, None), &[]));
            }
        }
    }
}
