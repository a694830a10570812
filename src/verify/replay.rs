//! What if: recorded verifications judged again, as if a key, a role or a policy had been another one. Pure.
//!
//! Only calls that were answered `VALID` are judged: a change is asked about what works today and would not
//! any more. A record says what was asked for, from where, and when; that is all a check needs, apart from
//! the credits and limits of others, which stay as they were.
//!
//! - **Scopes, networks, policy**: judged for each record.
//! - **Only what is proposed** is judged. What a key may do otherwise let the calls pass then, and may be
//!   another thing by now.
//! - **Rate limits**: all of them apply to all calls, since a record does not say which of them a call chose. They
//!   begin at rest and are spent call by call, at the times that the records tell. Calls that
//!   were merged into one record are taken as spread evenly between its first and its last; a record holds
//!   what came within one write of the log, which are some milliseconds, or a second in relaxed mode.
//! - **Rules of a policy** that keys are created by refuse no verification by themselves. A key that breaks
//!   one counts with the calls that it made while it did.
//!
//! Architecture invariant: no clock, no I/O, and nothing of the verifier's own state.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use keyledger_projections::KeyState;
use keyledger_schema::event::address_allowed;
use keyledger_schema::resource::Resource;
use keyledger_schema::{Action, Policy, RateLimit, RoleId, Rule, Scope, Timestamp, VerificationCode};

use super::limits::{Charge, Debts};

/// What would be another one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Proposal {
    /// All rate limits of each key.
    pub rate_limits: Option<Vec<RateLimit>>,
    /// All scopes of each key, besides those of its roles.
    pub scopes: Option<Vec<Scope>>,
    /// All scopes of a role.
    pub role: Option<(RoleId, Vec<Scope>)>,
    /// All networks that each key may be used from.
    pub allowed_cidrs: Option<Vec<IpNet>>,
    /// The rules that would hold, and which of them are proposed.
    pub policy: Option<(Policy, Vec<Rule>)>,
}

/// Why a call would be refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Reason {
    /// With this answer.
    pub code: VerificationCode,
    /// Because of this rule of the policy.
    pub rule: Option<Rule>,
}

/// Calls that were recorded together.
#[derive(Clone, Copy, Debug)]
pub struct Calls<'a> {
    /// How many.
    pub count: u64,
    /// The first.
    pub first_at: Timestamp,
    /// The last.
    pub last_at: Timestamp,
    /// What each counts as.
    pub cost: u32,
    /// What was asked for; no scope was needed if nothing was.
    pub access: Option<(Action, Resource<'a>)>,
    /// From where.
    pub address: Option<IpAddr>,
}

/// One key under the proposal.
#[derive(Debug)]
pub struct Replay {
    key: KeyState,
    proposal: Arc<Proposal>,
    /// All that it could do; none where that stays as it was.
    scopes: Option<Vec<Scope>>,
    limits: Option<Debts>,
    capped: Option<Debts>,
    told: Told,
}

/// What became of a key's calls.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// Calls that were answered `VALID`.
    pub calls: u64,
    /// Of these, calls that would have been refused, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// The first call that would have been refused.
    pub first_refused_at: Option<Timestamp>,
    /// The last one.
    pub last_refused_at: Option<Timestamp>,
}

impl Told {
    /// Calls that would have been refused, for whatever reason.
    pub fn refused(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// The moments of calls that are spread evenly, in microseconds since 1970.
fn moments(calls: &Calls<'_>) -> impl Iterator<Item = u64> + use<> {
    let micros = |at: Timestamp| u64::try_from(at.micros()).unwrap_or(0);
    let (first, last) = (micros(calls.first_at), micros(calls.last_at));
    let between = u128::from(last.saturating_sub(first));
    let steps = u128::from(calls.count.saturating_sub(1).max(1));
    (0..calls.count).map(move |n| first + u64::try_from(between * u128::from(n) / steps).unwrap_or(0))
}

impl Replay {
    /// A key at rest. `role_scopes` are the scopes that a role of the key has now.
    pub fn new(key: KeyState, proposal: Arc<Proposal>, role_scopes: impl Fn(RoleId) -> Vec<Scope>) -> Self {
        let proposed = proposal.role.as_ref().filter(|(role, _)| key.roles.contains(role));
        let scopes = (proposal.scopes.is_some() || proposed.is_some()).then(|| {
            let mut scopes = proposal.scopes.clone().unwrap_or_else(|| key.scopes.clone());
            for id in &key.roles {
                match proposed {
                    Some((role, proposed)) if role == id => scopes.extend_from_slice(proposed),
                    _ => scopes.extend(role_scopes(*id)),
                }
            }
            scopes
        });
        let limits = proposal.rate_limits.as_ref().map(|limits| Debts::new(limits.as_slice().into()));
        // The highest rate that the policy allows, where none of the key's limits is as low.
        let rules = proposal.policy.as_ref().filter(|(_, rules)| rules.contains(&Rule::MaxRateLimit));
        let cap = rules.and_then(|(policy, _)| policy.max_rate_limit).filter(|most| {
            let own = proposal.rate_limits.as_deref().unwrap_or(&key.rate_limits);
            !own.iter().any(|limit| !limit.rate().exceeds(*most))
        });
        let capped = cap.map(|most| {
            let limit =
                RateLimit { name: "policy".into(), limit: most.limit, window_seconds: most.window_seconds };
            Debts::new([limit].into())
        });
        Self { key, proposal, scopes, limits, capped, told: Told::default() }
    }

    /// Judges calls that were answered `VALID`, in the order in which they were recorded.
    pub fn judge(&mut self, calls: &Calls<'_>) {
        self.told.calls += calls.count;
        if let Some(reason) = self.refusal(calls) {
            return self.refuse(reason, calls.count, calls.first_at, calls.last_at);
        }
        let charge = Charge { cost: calls.cost, only: None };
        if self.limits.is_none() && self.capped.is_none() {
            return;
        }
        for micros in moments(calls) {
            let now = micros.saturating_mul(1_000);
            let own = |debts: &mut Debts| {
                debts.advance(now);
                debts.refusal(&charge, now).is_some()
            };
            let by_limit = self.limits.as_mut().is_some_and(own);
            let by_policy = self.capped.as_mut().is_some_and(own);
            if by_limit || by_policy {
                let rule = (!by_limit).then_some(Rule::MaxRateLimit);
                let at = Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX));
                self.refuse(Reason { code: VerificationCode::RateLimited, rule }, 1, at, at);
            } else {
                self.limits.iter_mut().chain(&mut self.capped).for_each(|debts| debts.spend(&charge));
            }
        }
    }

    /// The key, and what became of its calls.
    pub fn finish(self) -> (KeyState, Told) {
        (self.key, self.told)
    }

    fn refuse(&mut self, reason: Reason, count: u64, first: Timestamp, last: Timestamp) {
        *self.told.refused.entry(reason).or_default() += count;
        let told = &mut self.told;
        told.first_refused_at = Some(told.first_refused_at.map_or(first, |known| known.min(first)));
        told.last_refused_at = Some(told.last_refused_at.map_or(last, |known| known.max(last)));
    }

    /// The first check, in the order of a verification, that would refuse them all. Only what is proposed is
    /// looked at: the calls were answered `VALID`, so all else let them pass, whatever it is by now.
    fn refusal(&self, calls: &Calls<'_>) -> Option<Reason> {
        let plain = |code| Some(Reason { code, rule: None });
        let by_rule = |code, rule| Some(Reason { code, rule: Some(rule) });
        let policy = self.proposal.policy.as_ref();
        let rule = |rule| policy.is_some_and(|(_, rules)| rules.contains(&rule));
        if let Some((policy, _)) = policy {
            let lived = u128::try_from(calls.last_at.micros() - self.key.created_at.micros()).unwrap_or(0);
            let outlived = |seconds: u64| lived >= u128::from(seconds) * 1_000_000;
            if rule(Rule::MaxTtl) && policy.max_ttl_seconds.is_some_and(outlived) {
                return by_rule(VerificationCode::Expired, Rule::MaxTtl);
            }
            if rule(Rule::ExpiryRequired) && policy.demands_expiry() && self.key.expires_at.is_none() {
                return by_rule(VerificationCode::Expired, Rule::ExpiryRequired);
            }
            if rule(Rule::AllowedEnvironments) && !policy.allows(self.key.environment) {
                return by_rule(VerificationCode::WrongEnvironment, Rule::AllowedEnvironments);
            }
            let networks = self.proposal.allowed_cidrs.as_deref().unwrap_or(&self.key.allowed_cidrs);
            if rule(Rule::RequireAllowedCidrs) && policy.demands_networks() && networks.is_empty() {
                return by_rule(VerificationCode::IpNotAllowed, Rule::RequireAllowedCidrs);
            }
        }
        let networks = self.proposal.allowed_cidrs.as_deref().unwrap_or_default();
        if !address_allowed(networks, calls.address) {
            return plain(VerificationCode::IpNotAllowed);
        }
        if rule(Rule::ApiKeysEnabled) && policy.is_some_and(|(policy, _)| !policy.keys_enabled()) {
            return by_rule(VerificationCode::KeysDisabled, Rule::ApiKeysEnabled);
        }
        let scopes = self.scopes.as_ref().zip(calls.access);
        let covers = |(scopes, (action, resource)): (&Vec<Scope>, _)| {
            scopes.iter().any(|scope| scope.covers(action, resource))
        };
        if !scopes.is_none_or(covers) {
            return plain(VerificationCode::InsufficientScope);
        }
        None
    }
}

#[cfg(test)]
mod tests;
