//! Access review: every key that can be used or switched on again, what it may do, and when it was last used.

use std::collections::HashMap;
use std::time::Duration;

use keyledger_projections::permissions::{self, Effective};
use keyledger_projections::{IdentityState, KeyState, KeyStatus};
use keyledger_schema::{IdentityId, KeyId, Personal, Timestamp};

use super::{Asked, Kind, Scope};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::readmodel::{Item, KeyOrder, KeyQuery, KeyRow, KeySort, Page, Sequence, Window};
use crate::service::Service;
use crate::service::analytics::query_failed as query_page_failed;
use crate::service::keys::query_failed;

/// A key and its access.
#[derive(Clone, Debug)]
pub struct Access {
    /// The key.
    pub key: KeyState,
    /// Its status.
    pub status: KeyStatus,
    /// What its holder may do, and by which roles.
    pub scopes: Vec<Effective>,
    /// The names of its roles.
    pub roles: Vec<String>,
    /// The external id of its identity.
    pub identity: Option<String>,
    /// When it was last used, as far as that has been counted; never when none.
    pub last_used_at: Option<Timestamp>,
    /// Whole days since it was issued.
    pub age_days: u64,
    /// Whole days since it was last used; since it was issued, if it never was.
    pub idle_days: u64,
    /// Whether it was not used for as long as the auditor said.
    pub unused: bool,
}

const DAY: u64 = 86_400;

fn days(from: Timestamp, to: Timestamp) -> u64 {
    to.since(from).as_secs() / DAY
}

impl Service {
    /// A page of keys and their access, in the order of their creation, for those who may read trails.
    pub async fn access_review(
        &self,
        caller: &Caller,
        asked: &Asked,
        window: Window,
        count: bool,
    ) -> Result<Page<Access>> {
        asked.check(Kind::AccessReview)?;
        let scope = self.scope_of_report(caller, asked)?;
        self.access_in(&scope, asked.unused_days()?, window, count).await
    }

    pub(super) async fn access_in(
        &self,
        scope: &Scope,
        unused_days: u32,
        window: Window,
        count: bool,
    ) -> Result<Page<Access>> {
        let page = self.usable_keys(scope, window, count).await?;
        let tenant = self.tenants.tenant(scope.organization).ok_or_else(Error::internal)?;
        let mut ids: Vec<IdentityId> =
            page.items.iter().filter_map(|item| item.node.state.identity).collect();
        ids.sort_unstable();
        ids.dedup();
        let found = self.read_model.identities_by_id(ids).await.map_err(|error| query_failed(&error))?;
        let identities: HashMap<IdentityId, IdentityState> =
            found.into_iter().map(|state| (state.id, state)).collect();
        let limit = scope.now.minus(Duration::from_secs(DAY * u64::from(unused_days)));
        let mut page = page;
        self.name_creators(page.items.iter_mut().map(|item| &mut item.node.state)).await?;
        let access = |row: KeyRow| {
            let key = row.state;
            let last_used_at = row.usage.map(|usage| usage.last_at);
            let since = last_used_at.unwrap_or(key.created_at);
            let roles = key.roles.iter().filter_map(|id| tenant.state.roles.get(id));
            Access {
                status: key.status(scope.now),
                scopes: permissions::effective(&key, &tenant.state.roles, &tenant.scope_names),
                roles: roles.map(|role| role.definition.name.to_string()).collect(),
                identity: key
                    .identity
                    .and_then(|id| identities.get(&id))
                    .map(|one| one.external_id.to_string()),
                last_used_at,
                age_days: days(key.created_at, scope.now),
                idle_days: days(since, scope.now),
                unused: since <= limit,
                key,
            }
        };
        Ok(map(page, access))
    }

    /// Puts the addresses of keys that issued others into what is shown of these. A state has their ids only.
    pub(super) async fn name_creators<'a>(&self, keys: impl Iterator<Item = &'a mut KeyState>) -> Result<()> {
        let mut keys: Vec<&mut KeyState> = keys.collect();
        let mut ids: Vec<KeyId> = keys.iter().filter_map(|key| key.created_by.key_id()).collect();
        ids.sort_unstable();
        ids.dedup();
        let states = self.read_model.keys_by_id(ids).await.map_err(|error| query_failed(&error))?;
        let known = states.into_iter().filter(|state| state.erased_at.is_none());
        let addresses: HashMap<KeyId, Box<str>> =
            known.map(|state| (state.id, state.email.into_inner())).collect();
        for key in &mut keys {
            let address = key.created_by.key_id().and_then(|id| addresses.get(&id));
            key.created_by.email = address.cloned().map(Personal);
        }
        Ok(())
    }

    /// Keys that can be used, or could be if somebody switched them on, in the order of their creation.
    pub(super) async fn usable_keys(
        &self,
        scope: &Scope,
        window: Window,
        count: bool,
    ) -> Result<Page<KeyRow>> {
        let backward = window.is_backward();
        let query = KeyQuery {
            workspaces: scope.workspaces.clone(),
            statuses: vec![KeyStatus::Active, KeyStatus::Inactive],
            order: KeyOrder { by: KeySort::CreatedAt, sequence: Sequence::Ascending },
            window,
            count,
            ..KeyQuery::new(scope.organization, scope.now)
        };
        self.read_model.keys(query).await.map_err(|error| query_page_failed(&error, backward))
    }
}

fn map<A, B>(page: Page<A>, each: impl Fn(A) -> B) -> Page<B> {
    Page {
        items: page
            .items
            .into_iter()
            .map(|item| Item { cursor: item.cursor, node: each(item.node) })
            .collect(),
        has_next: page.has_next,
        has_previous: page.has_previous,
        total: page.total,
        start_cursor: page.start_cursor,
        end_cursor: page.end_cursor,
    }
}
