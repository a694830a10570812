//! What can be asked: each query goes to the readers that suit how long it takes.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use keyledger_projections::{IdentityState, KeyState, OrganizationState, WorkspaceState};
use keyledger_schema::{EventId, IdentityId, KeyId, OrganizationId, Timestamp, WorkspaceId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::analytics::{
    self, Incomplete, UsageAnswer, UsageError, UsageQuery, Verification, VerificationQuery,
};
use super::entries::{self, Entry, EntryQuery};
use super::identities::{self, IdentityQuery};
use super::keys::{self, KeyQuery, KeyRow};
use super::page::{MAX_BULK_PAGE, Page};
use super::stretches::{self, Found, StretchQuery};
use super::{QueryError, ReadModel, lookups, places, usage};

/// With so many organizations, those that wait for no turn are forgotten.
const TURNS_KEPT: usize = 1_024;

impl ReadModel {
    /// A key of whatever organization: the caller compares it with its own.
    pub async fn key(&self, id: KeyId) -> Result<Option<KeyRow>, QueryError> {
        self.quick.read(move |connection| lookups::key(connection, id)).await
    }

    /// Those of many keys that there are, of whatever organization, in no particular order.
    pub async fn keys_by_id(&self, ids: Vec<KeyId>) -> Result<Vec<KeyState>, QueryError> {
        self.quick.read(move |connection| lookups::keys(connection, &ids)).await
    }

    /// An organization.
    pub async fn organization(&self, id: OrganizationId) -> Result<Option<OrganizationState>, QueryError> {
        self.quick.read(move |connection| lookups::organization(connection, id)).await
    }

    /// A workspace of whatever organization: the caller compares it with its own.
    pub async fn workspace(&self, id: WorkspaceId) -> Result<Option<WorkspaceState>, QueryError> {
        self.quick.read(move |connection| lookups::workspace(connection, id)).await
    }

    /// An identity of whatever organization: the caller compares it with its own.
    pub async fn identity(&self, id: IdentityId) -> Result<Option<IdentityState>, QueryError> {
        self.quick.read(move |connection| lookups::identity(connection, id)).await
    }

    /// Those of many identities that there are, of whatever organization, in no particular order.
    pub async fn identities_by_id(&self, ids: Vec<IdentityId>) -> Result<Vec<IdentityState>, QueryError> {
        self.quick.read(move |connection| identities::by_id(connection, &ids)).await
    }

    /// Whether copies of erased personal data are still being removed.
    pub async fn is_erasing(&self) -> Result<bool, QueryError> {
        self.quick.read(usage::erasure::is_pending).await
    }

    /// A page of an organization's identities.
    pub async fn identities(&self, query: IdentityQuery) -> Result<Page<IdentityState>, QueryError> {
        self.lists.read(move |connection| identities::page(connection, &query)).await
    }

    /// The workspaces of an organization in the order in which they were created.
    pub async fn workspaces(&self, organization: OrganizationId) -> Result<Vec<WorkspaceState>, QueryError> {
        self.quick.read(move |connection| lookups::workspaces(connection, organization)).await
    }

    /// A page of an organization's keys.
    pub async fn keys(&self, query: KeyQuery) -> Result<Page<KeyRow>, QueryError> {
        let searched = self.searched(&query).await?;
        let catalog = Arc::clone(&self.shared.catalog);
        self.lists.read(move |connection| keys::page(connection, &catalog, &query, searched)).await
    }

    /// The keys that match a query, in its order, without regard to its window: at most `max`, and one
    /// more to tell that there are more.
    pub async fn matching(&self, query: KeyQuery, max: usize) -> Result<Vec<KeyId>, QueryError> {
        let searched = self.searched(&query).await?;
        let catalog = Arc::clone(&self.shared.catalog);
        let wanted = max.saturating_add(1);
        self.lists.read(move |connection| keys::ids(connection, &catalog, &query, searched, wanted)).await
    }

    /// The number of the key whose id a query searches for, whosever it is.
    async fn searched(&self, query: &KeyQuery) -> Result<Option<i64>, QueryError> {
        match query.searched_id() {
            Some(id) => self.quick.read(move |connection| lookups::seq(connection, id)).await,
            None => Ok(None),
        }
    }

    /// Memory held for lists of keys, in bytes.
    pub fn catalog_bytes(&self) -> usize {
        self.shared.catalog.bytes()
    }

    /// A page of an organization's audit entries.
    pub async fn entries(&self, query: EntryQuery) -> Result<Page<Entry>, QueryError> {
        self.lists.read(move |connection| entries::page(connection, &query)).await
    }

    /// Where in the log entries stand, from some place on. For whoever has to read all of them.
    pub async fn stretches(&self, query: StretchQuery) -> Result<Found, QueryError> {
        self.lists.read(move |connection| stretches::find(connection, &query)).await
    }

    /// How often was verified what a query asks for, by bucket and group. While usage is written, some of it may
    /// be in one part of the answer and not yet in another.
    pub async fn usage(&self, mut query: UsageQuery) -> Result<UsageAnswer, UsageError> {
        query.organizations = analytics::each_once(query.organizations);
        // Asked first: what is counted meanwhile is in the answer beyond it.
        let through = self.usage_through();
        let catalog = Arc::clone(&self.shared.catalog);
        let _turn = match query.organizations.first() {
            Some(organization) => self.turn(*organization).await,
            None => None,
        };
        let answered =
            self.figures.read(move |connection| match analytics::answer(connection, &catalog, &query) {
                Ok(answer) => Ok(Ok(answer)),
                Err(analytics::Failure::Usage(error)) => Ok(Err(error)),
                Err(analytics::Failure::Engine(error)) => Err(error),
            });
        let answer = answered.await??;
        let incomplete = self.usage_gaps(answer.from, answer.to).await?;
        Ok(UsageAnswer { incomplete, through, ..answer })
    }

    /// Where an event stands, of whatever organization or none: the caller compares it with its own.
    pub async fn entry(&self, id: EventId) -> Result<Option<Entry>, QueryError> {
        self.quick.read(move |connection| entries::one(connection, id)).await
    }

    /// The states of an organization's keys in the order of their creation, at most `max` of them after a
    /// key's number, each with its own number. For whoever has to look at all of them.
    pub async fn states(
        &self,
        organization: OrganizationId,
        after: Option<u64>,
        max: usize,
    ) -> Result<Vec<(u64, KeyState)>, QueryError> {
        let catalog = Arc::clone(&self.shared.catalog);
        self.lists.read(move |connection| keys::states(connection, &catalog, organization, after, max)).await
    }

    /// Places of a workspace's quota that are given away: keys that are neither revoked nor deleted nor
    /// recorded as expired, and reservations made after `since` whose key was not issued yet.
    pub async fn places(&self, workspace: WorkspaceId, since: Timestamp) -> Result<u64, QueryError> {
        self.quick.read(move |connection| places::taken(connection, workspace, since)).await
    }

    /// Of these keys those that have a place of the workspace's quota: since when it is reserved, or none when
    /// they are issued.
    pub async fn places_of(
        &self,
        workspace: WorkspaceId,
        since: Timestamp,
        keys: Vec<KeyId>,
    ) -> Result<Vec<(KeyId, Option<Timestamp>)>, QueryError> {
        self.quick.read(move |connection| places::held(connection, workspace, since, &keys)).await
    }

    /// Up to `max` keys, of all organizations, for which the passing of time alone asks for an event by
    /// `now`, the longest due first. See [`KeyState::due_at`].
    pub async fn due(&self, now: Timestamp, max: usize) -> Result<Vec<KeyId>, QueryError> {
        self.quick.read(move |connection| lookups::due(connection, now, max)).await
    }

    /// A page of an organization's verification log, the records of which are there once they are counted.
    ///
    /// A search for something rare may end before the page is full, or even with an empty one, though there is
    /// more: then `has_next` and `end_cursor`, or `has_previous` and `start_cursor`, tell from where to go on.
    pub async fn verifications(&self, query: VerificationQuery) -> Result<Page<Verification>, QueryError> {
        let count = query.window.count();
        self.verification_page(query, count).await
    }

    /// The first moment of which the verification log keeps records; none before the first one.
    pub fn verifications_since(&self) -> Option<Timestamp> {
        let horizon = self.shared.usage.borrow().horizon;
        horizon.map(|_| self.shared.settings.oldest_verification(horizon))
    }

    /// The same in pages of up to [`MAX_BULK_PAGE`], for whoever has to look at all of them.
    pub async fn verifications_in_bulk(
        &self,
        query: VerificationQuery,
    ) -> Result<Page<Verification>, QueryError> {
        let count = query.window.count_up_to(MAX_BULK_PAGE);
        self.verification_page(query, count).await
    }

    /// Waits for an organization's turn at figures: each keeps at most one thread busy, so that another one finds a
    /// thread however much the first asks for.
    pub(super) async fn turn(&self, organization: OrganizationId) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut all = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= TURNS_KEPT {
                all.retain(|_, turns| Arc::strong_count(turns) > 1);
            }
            Arc::clone(all.entry(organization).or_insert_with(|| Arc::new(Semaphore::new(1))))
        };
        turns.acquire_owned().await.ok()
    }

    async fn verification_page(
        &self,
        query: VerificationQuery,
        count: usize,
    ) -> Result<Page<Verification>, QueryError> {
        let shared = Arc::clone(&self.shared);
        let oldest = move |newest| shared.settings.oldest_verification(newest);
        let catalog = Arc::clone(&self.shared.catalog);
        let _turn = self.turn(query.organization).await;
        self.figures
            .read(move |connection| usage::search::page(connection, &catalog, &query, count, oldest))
            .await
    }

    /// Stretches of time that overlap with this one and of which verifications may be missing, whosever, the
    /// earliest first: at most a thousand.
    pub async fn usage_gaps(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Incomplete>, QueryError> {
        self.quick.read(move |connection| lookups::gaps(connection, from, to)).await
    }

    /// Up to `max` addresses, of keys of all organizations, that the trail of their key does not name although
    /// it was used from there, with the first such use, the oldest first. The first address of a key is not
    /// among them, and no more than [`MAX_ADDRESSES`](super::MAX_ADDRESSES) are known of a key.
    pub async fn new_addresses(&self, max: usize) -> Result<Vec<(KeyId, IpAddr, Timestamp)>, QueryError> {
        self.quick.read(move |connection| usage::addresses::untold(connection, max)).await
    }

    /// Of these addresses of a key those that its trail does not name yet.
    pub async fn addresses_to_tell(
        &self,
        key: KeyId,
        addresses: Vec<IpAddr>,
    ) -> Result<Vec<IpAddr>, QueryError> {
        self.quick.read(move |connection| usage::addresses::still_untold(connection, key, &addresses)).await
    }
}
