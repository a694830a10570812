//! What if: recorded verifications under a proposed change.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, SimpleObject};

use super::input::{self, ScopeInput, id};
use super::key::KeyNode;
use super::policy::{RateInput, RateLimitInput, SetOrganizationPolicyInput, rate_limits};
use super::query::asked;
use super::scalar::{DateTime, Environment, Long, VerificationCode};
use crate::error::{Error, Result};
use crate::service::analytics::Selection;
use crate::simulation::{self, Affected, Change, Simulated};
use crate::verify::replay::Reason;

/// Rules that would be others; those that are left out stay, and null takes a rule away.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct ProposedPolicy {
    /// False refuses every call.
    api_keys_enabled: MaybeUndefined<bool>,
    /// Counts all calls of keys without an expiry date.
    expiry_required: MaybeUndefined<bool>,
    /// In seconds. Counts calls of keys that had lived longer.
    max_ttl: MaybeUndefined<Long>,
    /// Counts all calls of keys that name no networks.
    require_allowed_cidrs: MaybeUndefined<bool>,
    /// Counts calls above this rate.
    max_rate_limit: MaybeUndefined<RateInput>,
    /// Counts all calls of keys for other environments.
    allowed_environments: MaybeUndefined<Vec<Environment>>,
}

/// What would be another one. What is left out stays as it is now.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct SimulatedChange {
    /// All rate limits of each key.
    rate_limits: Option<Vec<RateLimitInput>>,
    /// All scopes of each key, besides those of its roles; of the role, where one is named.
    scopes: Option<Vec<ScopeInput>>,
    /// The role whose scopes would be others.
    role_id: Option<ID>,
    /// All networks of each key.
    allowed_cidrs: Option<Vec<String>>,
    /// Rules of the organization.
    policy: Option<ProposedPolicy>,
}

/// An error about a part of a change names it as one.
fn within_change(error: Error, prefix: &str) -> Error {
    let field = error.field.as_deref().and_then(|field| field.strip_prefix("input."));
    match field.map(|field| format!("{prefix}{field}")) {
        Some(field) => error.about(field),
        None => error,
    }
}

impl SimulatedChange {
    fn check(self) -> Result<Change> {
        let renamed = |error| within_change(error, "change.");
        let policy = self.policy.map(|policy| {
            let rules = SetOrganizationPolicyInput::of_rules(
                policy.api_keys_enabled,
                policy.expiry_required,
                policy.max_ttl,
                policy.require_allowed_cidrs,
                policy.max_rate_limit,
                policy.allowed_environments,
            );
            rules.check().map(|(_, change)| change).map_err(|error| within_change(error, "change.policy."))
        });
        Ok(Change {
            rate_limits: self.rate_limits.map(rate_limits).transpose().map_err(renamed)?,
            scopes: self.scopes.map(input::scopes).transpose().map_err(renamed)?,
            role: self.role_id.map(|text| id("change.roleId", &text)).transpose()?,
            allowed_cidrs: self
                .allowed_cidrs
                .map(|texts| input::networks(&texts))
                .transpose()
                .map_err(renamed)?,
            policy: policy.transpose()?,
        })
    }
}

/// Calls that would have been refused for one reason.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct SimulatedRefusal {
    /// With this answer.
    code: VerificationCode,
    /// Because of this rule of the policy, as `policy` names it.
    rule: Option<String>,
    /// How many.
    calls: Long,
}

fn refusals<'a>(all: impl IntoIterator<Item = (&'a Reason, &'a u64)>) -> Vec<SimulatedRefusal> {
    let refusal = |(reason, calls): (&Reason, &u64)| SimulatedRefusal {
        code: reason.code.into(),
        rule: reason.rule.map(|rule| rule.as_str().to_owned()),
        calls: Long(*calls),
    };
    all.into_iter().map(refusal).collect()
}

/// A key of which calls would have been refused.
#[derive(SimpleObject, Clone)]
pub(crate) struct SimulatedKey {
    /// The key as it is now.
    key: KeyNode,
    /// Its calls that were answered `VALID`.
    calls: Long,
    /// Of these, calls that would have been refused.
    refused: Long,
    /// The same by reason.
    refusals: Vec<SimulatedRefusal>,
    /// The first of them.
    first_refused_at: Option<DateTime>,
    /// The last of them.
    last_refused_at: Option<DateTime>,
}

impl From<Affected> for SimulatedKey {
    fn from(affected: Affected) -> Self {
        let Affected { key, told } = affected;
        Self {
            key: KeyNode::new(key),
            calls: Long(told.calls),
            refused: Long(told.refused()),
            refusals: refusals(&told.refused),
            first_refused_at: told.first_refused_at.map(DateTime),
            last_refused_at: told.last_refused_at.map(DateTime),
        }
    }
}

/// What a change would have refused.
#[derive(SimpleObject, Clone)]
pub(crate) struct Simulation {
    /// Calls of the period that were answered `VALID`.
    calls: Long,
    /// Of these, calls that would have been refused.
    refused: Long,
    /// The same by reason.
    refusals: Vec<SimulatedRefusal>,
    /// Keys that made the calls.
    keys: Long,
    /// Keys of which calls would have been refused.
    affected_keys: Long,
    /// Those with the most refused calls, at most 100.
    most_affected: Vec<SimulatedKey>,
    /// Set where there was more than one simulation looks at: only calls before this moment were judged.
    until: Option<DateTime>,
}

impl From<Simulated> for Simulation {
    fn from(simulated: Simulated) -> Self {
        Self {
            calls: Long(simulated.calls),
            refused: Long(simulated.refused.values().sum()),
            refusals: refusals(&simulated.refused),
            keys: Long(simulated.keys),
            affected_keys: Long(simulated.affected),
            most_affected: simulated.most.into_iter().map(Into::into).collect(),
            until: simulated.until.map(DateTime),
        }
    }
}

pub(super) async fn simulated(
    context: &Context<'_>,
    selection: Selection,
    change: SimulatedChange,
    (from, to): (DateTime, DateTime),
) -> Result<Simulation> {
    let (service, caller) = asked(context)?;
    simulation::simulate(service, caller, selection, change.check()?, (from.0, to.0)).await.map(Into::into)
}
