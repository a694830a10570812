//! What usage is told apart by of each key, by the key's ordinal.

use std::ops::Range;

use keyledger_schema::{Environment, IdentityId, OrganizationId, RoleId, WorkspaceId};

use super::block::ROWS;
use super::{Catalog, read};

/// Of one key, as it is now. Numbers are explained by [`Names`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::readmodel) struct Attributes {
    /// Where it lives.
    pub(in crate::readmodel) workspace: u32,
    /// What it is for.
    pub(in crate::readmodel) environment: Environment,
    /// The set of roles that it holds; 0 for none.
    pub(in crate::readmodel) roles: u32,
    /// Its identity; 0 for none.
    pub(in crate::readmodel) identity: u32,
    /// Whether it is deleted.
    pub(in crate::readmodel) deleted: bool,
}

/// What the numbers in [`Attributes`] of an organization's keys stand for. Numbers are never given up or
/// given anew.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::readmodel) struct Names {
    /// By number; nothing at 0.
    pub(in crate::readmodel) workspaces: Vec<Option<WorkspaceId>>,
    /// By number; nothing at 0.
    pub(in crate::readmodel) roles: Vec<Option<Box<[RoleId]>>>,
    /// By number; nothing at 0.
    pub(in crate::readmodel) identities: Vec<Option<IdentityId>>,
}

impl Catalog {
    /// What the numbers in an organization's attributes stand for. Ask for attributes first: names that are
    /// asked for later know all of their numbers.
    pub(in crate::readmodel) fn names(&self, organization: OrganizationId) -> Names {
        self.keys(organization).map_or_else(Names::default, |keys| {
            let known = read(&keys.known);
            Names {
                workspaces: known.workspaces.values(),
                roles: known.roles.values(),
                identities: known.identities.values(),
            }
        })
    }

    /// How many keys an organization ever had: its highest ordinal.
    pub(in crate::readmodel) fn count(&self, organization: OrganizationId) -> u32 {
        let Some(keys) = self.keys(organization) else { return 0 };
        let stretches = read(&keys.stretches);
        let last = stretches.last().map_or(0, |stretch| read(&stretch.block).rows().len());
        let rows = stretches.len().saturating_sub(1) * ROWS + last;
        u32::try_from(rows).unwrap_or(u32::MAX)
    }

    /// Hands over the attributes of an organization's keys with these ordinals, in rising order. Ordinals that
    /// no key has are left out.
    pub(in crate::readmodel) fn attributes(
        &self,
        organization: OrganizationId,
        ordinals: Range<u32>,
        mut each: impl FnMut(u32, Attributes),
    ) {
        let Some(keys) = self.keys(organization) else { return };
        // The first key is number 1.
        let (first, end) = (ordinals.start.max(1) as usize - 1, ordinals.end.max(1) as usize - 1);
        if first >= end {
            return;
        }
        let stretches: Vec<_> = {
            let stretches = read(&keys.stretches);
            let last = end.div_ceil(ROWS).min(stretches.len());
            stretches.get(first / ROWS..last).unwrap_or_default().to_vec()
        };
        let mut start = first / ROWS * ROWS;
        for stretch in stretches {
            let block = read(&stretch.block);
            let rows = block.rows();
            let (from, to) = (first.saturating_sub(start), (end - start).min(rows.len()));
            for (row, n) in rows.get(from..to).unwrap_or_default().iter().zip(start + from + 1..) {
                let attributes = Attributes {
                    workspace: row.shared.workspace,
                    environment: row.environment,
                    roles: row.shared.roles,
                    identity: row.shared.identity,
                    deleted: row.is_deleted(),
                };
                each(u32::try_from(n).unwrap_or(u32::MAX), attributes);
            }
            start += ROWS;
        }
    }

    /// Whether the key with an ordinal is deleted.
    pub(in crate::readmodel) fn is_deleted(&self, organization: OrganizationId, ord: u32) -> bool {
        let mut deleted = false;
        self.attributes(organization, ord..ord + 1, |_, key| deleted = key.deleted);
        deleted
    }
}
