//! What if: recorded verifications of a period held against a proposed change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use keyledger_projections::KeyState;
use keyledger_schema::grant::Right;
use keyledger_schema::resource::Resource;
use keyledger_schema::{KeyId, Means, OrganizationId, RateLimit, RoleId, Scope, Timestamp, VerificationCode};

use crate::caller::Caller;
use crate::decisions::organization::PolicyChange;
use crate::error::{Error, Result};
use crate::readmodel::analytics::{Verification, VerificationQuery};
use crate::readmodel::{MAX_BULK_PAGE, Sequence, Window};
use crate::service::Service;
use crate::service::analytics::{Selection, Spelling, query_failed, uses_only};
use crate::verify::replay::{Calls, Proposal, Reason, Replay, Told};

/// How many keys an answer names.
pub const NAMED: usize = 100;
/// The most records that one simulation looks at.
pub const MAX_RECORDS: u64 = 2_000_000;
/// The most keys that one simulation looks at.
pub const MAX_KEYS: usize = 50_000;
/// The most calls that one simulation spends of rate limits, one by one.
pub const MAX_CALLS: u64 = 50_000_000;
/// The organizations that a simulation runs for, on this node: one for each of them, so that none waits for
/// another one's.
static RUNNING: Mutex<BTreeSet<OrganizationId>> = Mutex::new(BTreeSet::new());

/// A simulation that runs.
struct Turn(OrganizationId);

impl Turn {
    fn begin(organization: OrganizationId) -> Result<Self> {
        if RUNNING.lock().unwrap_or_else(PoisonError::into_inner).insert(organization) {
            return Ok(Self(organization));
        }
        Err(Error::unavailable("a simulation of this organization is running; wait until it has ended"))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// What would be another one. What is none stays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// All rate limits of each key.
    pub rate_limits: Option<Vec<RateLimit>>,
    /// All scopes of each key; of the role, where one is named.
    pub scopes: Option<Vec<Scope>>,
    /// The role whose scopes change.
    pub role: Option<RoleId>,
    /// All networks of each key.
    pub allowed_cidrs: Option<Vec<IpNet>>,
    /// Rules of the organization.
    pub policy: Option<PolicyChange>,
}

/// A key that would be refused.
#[derive(Clone, Debug)]
pub struct Affected {
    /// The key as it is now.
    pub key: KeyState,
    /// What would have become of its calls.
    pub told: Told,
}

/// What would have been.
#[derive(Clone, Debug, Default)]
pub struct Simulated {
    /// Calls that were answered `VALID`.
    pub calls: u64,
    /// Calls of these that would have been refused, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Keys that made these calls.
    pub keys: u64,
    /// Keys of which a call would have been refused.
    pub affected: u64,
    /// Those with the most refused calls, at most [`NAMED`].
    pub most: Vec<Affected>,
    /// Set where a bound ended it early: only calls before this moment were looked at.
    pub until: Option<Timestamp>,
}

/// Judges the recorded verifications of a period under a proposed change. Changes nothing.
pub async fn simulate(
    service: &Service,
    caller: &Caller,
    selection: Selection,
    change: Change,
    (from, to): (Timestamp, Timestamp),
) -> Result<Simulated> {
    if from >= to {
        return Err(Error::invalid("to", "the end is not after the start; name a later one"));
    }
    if change == Change::default() {
        return Err(Error::invalid(
            "change",
            "nothing would change; name rateLimits, scopes, allowedCidrs or policy",
        ));
    }
    if change.role.is_some() && change.scopes.is_none() {
        return Err(Error::invalid("change.scopes", "name the scopes that the role would have"));
    }
    if change.policy.as_ref().is_some_and(|policy| policy.rules().is_empty()) {
        return Err(Error::invalid("change.policy", "no rule would change; name at least one"));
    }
    if !selection.filter.outcomes.is_empty() {
        let message = "only calls that were answered VALID are looked at; leave outcomes out";
        return Err(Error::invalid("filter.outcomes", message));
    }
    uses_only(&selection.filter, Spelling::GraphQl)?;
    // Whoever can ask what networks or scopes would refuse can find out addresses and resources.
    let rights = [Right::ReadKeys, Right::ReadTrail];
    let selection = Selection { below: false, ..selection };
    let (organizations, mut filter) = service.chosen(caller, selection, &rights, Spelling::GraphQl).await?;
    let organization = organizations.first().copied().ok_or_else(Error::internal)?;
    filter.outcomes = vec![VerificationCode::Valid];
    let tenant = service.tenants().tenant(organization).ok_or_else(Error::internal)?;
    let roles = Arc::clone(&tenant.state);
    if change.role.is_some_and(|role| !roles.roles.contains_key(&role)) {
        return Err(Error::not_found("change.roleId", "role"));
    }
    let kept = service.read_model().verifications_since();
    if let Some(since) = kept.filter(|since| from < *since) {
        let message = format!("the verification log is kept from {since} on; name a later moment");
        return Err(Error::invalid("from", message));
    }
    let _turn = Turn::begin(organization)?;

    let Change { rate_limits, scopes, role, allowed_cidrs, policy } = change;
    let (scopes, role) = match role {
        Some(role) => (None, Some((role, scopes.unwrap_or_default()))),
        None => (scopes, None),
    };
    let policy = policy.map(|change| {
        let named = change.rules();
        (change.of(&tenant.state.policy).under(&tenant.inherited), named)
    });
    let proposal = Arc::new(Proposal { rate_limits, scopes, role, allowed_cidrs, policy });
    let role_scopes = |id: RoleId| -> Vec<Scope> {
        let role = roles.roles.get(&id).into_iter();
        role.flat_map(|role| &role.definition.scopes).map(|scope| scope.scope.clone()).collect()
    };

    let mut run = Run::default();
    let mut query = VerificationQuery {
        organization,
        filter,
        resource_prefix: None,
        from: Some(from),
        to: Some(to),
        sequence: Sequence::Ascending,
        window: Window::first(MAX_BULK_PAGE),
    };
    loop {
        let page = service.read_model().verifications_in_bulk(query.clone()).await;
        let page = page.map_err(|error| query_failed(&error, false))?;
        let unknown = run.unknown(page.items.iter().map(|item| &item.node));
        let states = service.read_model().keys_by_id(unknown).await;
        for state in states.map_err(|error| query_failed(&error, false))? {
            let id = state.id;
            run.replays.insert(id, Replay::new(state, Arc::clone(&proposal), role_scopes));
        }
        for item in &page.items {
            if run.calls >= MAX_CALLS {
                return Ok(run.finish(true));
            }
            // Others are to be answered meanwhile, also when a record stands for a great many calls.
            if run.judge(&item.node)? {
                tokio::task::yield_now().await;
            }
        }
        if page.has_next && run.is_exhausted() {
            return Ok(run.finish(true));
        }
        let last = page.items.last().map(|item| item.cursor.clone());
        match page.end_cursor.or(last).filter(|_| page.has_next) {
            Some(after) => query.window = Window::First { count: MAX_BULK_PAGE, after: Some(after) },
            None => return Ok(run.finish(false)),
        }
    }
}

/// After so many calls others have their turn: about a tenth of a millisecond.
const YIELD_CALLS: u64 = 1_000;

/// How far a simulation is.
#[derive(Default)]
struct Run {
    replays: HashMap<KeyId, Replay>,
    records: u64,
    calls: u64,
    last_at: Timestamp,
}

impl Run {
    /// The keys of a page that were not met before.
    fn unknown<'a>(&self, page: impl Iterator<Item = &'a Verification>) -> Vec<KeyId> {
        let mut unknown: Vec<KeyId> =
            page.filter_map(|record| record.key).filter(|key| !self.replays.contains_key(key)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// Tells whether it is time to let others work.
    fn judge(&mut self, record: &Verification) -> Result<bool> {
        let before = self.calls / YIELD_CALLS;
        self.records += 1;
        self.calls += record.count;
        self.last_at = self.last_at.max(record.last_at);
        // Nobody used the key then: somebody asked about it.
        if record.means == Some(Means::Introspection) {
            return Ok(false);
        }
        let Some(replay) = record.key.and_then(|key| self.replays.get_mut(&key)) else { return Ok(false) };
        let resource = record.resource.as_deref().map_or(Ok(Resource::ROOT), Resource::parse);
        let resource = resource.map_err(|_| Error::internal())?;
        replay.judge(&Calls {
            count: record.count,
            first_at: record.first_at,
            last_at: record.last_at,
            cost: record.cost,
            access: record.action.map(|action| (action, resource)),
            address: record.ip,
        });
        Ok(self.calls / YIELD_CALLS != before)
    }

    fn is_exhausted(&self) -> bool {
        self.records >= MAX_RECORDS || self.replays.len() >= MAX_KEYS || self.calls >= MAX_CALLS
    }

    fn finish(self, early: bool) -> Simulated {
        let mut all = Simulated { until: early.then_some(self.last_at), ..Simulated::default() };
        for (_, replay) in self.replays {
            let (key, told) = replay.finish();
            all.keys += 1;
            all.calls += told.calls;
            for (reason, count) in &told.refused {
                *all.refused.entry(*reason).or_default() += count;
            }
            if told.refused() > 0 {
                all.affected += 1;
                all.most.push(Affected { key, told });
            }
        }
        all.most
            .sort_unstable_by_key(|affected| (std::cmp::Reverse(affected.told.refused()), affected.key.id));
        all.most.truncate(NAMED);
        all
    }
}
