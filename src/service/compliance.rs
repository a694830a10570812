//! Existing keys held against rules.

use std::sync::Arc;

use keyledger_projections::{KeyState, KeyStatus};
use keyledger_schema::{OrganizationId, Policy, Timestamp};

use super::Service;
use crate::decisions::policy::{self, Facts, Violation};
use crate::error::Result;
use crate::tenants::Tenant;

/// How many keys an answer names.
const NAMED: usize = 100;
/// Keys that are looked at in one go, so that other queries come in between.
const STRETCH: usize = 5_000;

/// Keys that break rules: how many, and the first of them.
#[derive(Clone, Debug, Default)]
pub struct Violators {
    /// All of them.
    pub count: u64,
    /// The first in the order of their creation, with what each breaks.
    pub keys: Vec<(KeyState, Vec<Violation>)>,
}

/// The rules that a key breaks as it is.
pub(super) fn broken_rules(policy: &Policy, state: &KeyState, now: Timestamp) -> Vec<Violation> {
    let mut broken = policy::violations(policy, Facts::of(state));
    broken.extend(policy::unacknowledged(policy, state, now));
    broken
}

impl Service {
    /// The usable keys of an organization, and of those below it, that would break the rules if `policy`
    /// were what holds in it. Their number may change while they are counted.
    pub async fn violators(&self, organization: OrganizationId, policy: &Policy) -> Result<Violators> {
        let mut found = Violators::default();
        for tenant in self.tenants.family(organization) {
            let policy = self.would_hold(&tenant, organization, policy);
            self.violators_in(tenant.state.id, &policy, &mut found).await?;
        }
        Ok(found)
    }

    /// What would hold in a tenant if `policy` held in an organization above it.
    fn would_hold(&self, tenant: &Tenant, organization: OrganizationId, policy: &Policy) -> Policy {
        if tenant.state.id == organization {
            return policy.clone();
        }
        let between: Vec<Arc<Tenant>> = tenant
            .above
            .iter()
            .take_while(|id| **id != organization)
            .filter_map(|id| self.tenants.tenant(*id))
            .collect();
        let upper = between.iter().rev().fold(policy.clone(), |upper, next| next.state.policy.under(&upper));
        tenant.state.policy.under(&upper)
    }

    async fn violators_in(
        &self,
        organization: OrganizationId,
        policy: &Policy,
        found: &mut Violators,
    ) -> Result<()> {
        let now = self.now();
        let mut after = None;
        loop {
            let stretch = self.read_model.states(organization, after, STRETCH).await;
            let stretch = stretch.map_err(|error| super::keys::query_failed(&error))?;
            let Some((last, _)) = stretch.last() else { return Ok(()) };
            after = Some(*last);
            for (_, state) in stretch {
                if !matches!(state.status(now), KeyStatus::Active | KeyStatus::Inactive) {
                    continue;
                }
                let broken = broken_rules(policy, &state, now);
                if !broken.is_empty() {
                    found.count += 1;
                    if found.keys.len() < NAMED {
                        found.keys.push((state, broken));
                    }
                }
            }
        }
    }
}
