//! What an organization's policy says to a key.

use std::time::Duration;

use ipnet::IpNet;
use keyledger_projections::{Acknowledgement, KeyState};
use keyledger_schema::{Environment, Policy, Rate, RateLimit, Rule, Timestamp};
use serde_json::{Value, json};

use crate::error::{Code, Error};

/// A rule that something breaks: which one, what it allows, and what was asked for or is there.
#[derive(Clone, PartialEq, Debug)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// What it allows.
    pub bound: Value,
    /// What breaks it.
    pub value: Value,
    /// The field of the input that can be changed.
    pub field: &'static str,
    /// What to do.
    remedy: &'static str,
}

/// What the rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Where the key may be used.
    pub environment: Environment,
    /// When it was or will be issued.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// The networks that it may be used from.
    pub networks: &'a [IpNet],
    /// Its limits.
    pub rate_limits: &'a [RateLimit],
}

impl<'a> Facts<'a> {
    /// Those of a key as it is.
    pub fn of(state: &'a KeyState) -> Self {
        Self {
            environment: state.environment,
            issued_at: state.created_at,
            expires_at: state.expires_at,
            networks: &state.allowed_cidrs,
            rate_limits: &state.rate_limits,
        }
    }
}

/// The expiry date of a new key: what was asked for, or what the policy gives when nothing was.
pub fn expiry(policy: &Policy, wanted: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    wanted.or_else(|| policy.default_ttl_seconds.map(|ttl| now.plus(Duration::from_secs(ttl))))
}

/// The rules that a key breaks.
pub fn violations(policy: &Policy, facts: Facts<'_>) -> Vec<Violation> {
    [environment(policy, facts), lifetime(policy, facts), networks(policy, facts), rate(policy, facts)]
        .into_iter()
        .flatten()
        .collect()
}

/// The rules that a key breaks and that a change of it can be held to: its environment and its expiry date
/// are fixed.
pub fn violations_of_change(policy: &Policy, facts: Facts<'_>) -> Vec<Violation> {
    [networks(policy, facts), rate(policy, facts)].into_iter().flatten().collect()
}

fn environment(policy: &Policy, facts: Facts<'_>) -> Option<Violation> {
    let allowed =
        policy.allowed_environments.as_ref().filter(|allowed| !allowed.contains(&facts.environment))?;
    Some(Violation {
        rule: Rule::AllowedEnvironments,
        bound: allowed.iter().map(|environment| named(*environment)).collect(),
        value: named(facts.environment),
        field: "input.environment",
        remedy: "choose an environment that is allowed",
    })
}

/// An environment as the API names it.
fn named(environment: Environment) -> Value {
    environment.as_str().to_uppercase().into()
}

fn lifetime(policy: &Policy, facts: Facts<'_>) -> Option<Violation> {
    let violation = |rule, bound: Value, value: Value, remedy| {
        Some(Violation { rule, bound, value, field: "input.expiresAt", remedy })
    };
    match (facts.expires_at, policy.max_ttl_seconds) {
        (None, _) if policy.demands_expiry() => {
            violation(Rule::ExpiryRequired, true.into(), "never".into(), "give the key an expiry date")
        }
        (None, Some(most)) => violation(
            Rule::MaxTtl,
            most.into(),
            "never".into(),
            "give the key an expiry date within so many seconds",
        ),
        (Some(at), Some(most)) if at > facts.issued_at.plus(Duration::from_secs(most)) => {
            let seconds = (at.micros() - facts.issued_at.micros()) / 1_000_000;
            violation(Rule::MaxTtl, most.into(), seconds.into(), "choose an earlier expiry date")
        }
        _ => None,
    }
}

fn networks(policy: &Policy, facts: Facts<'_>) -> Option<Violation> {
    (policy.demands_networks() && facts.networks.is_empty()).then(|| Violation {
        rule: Rule::RequireAllowedCidrs,
        bound: true.into(),
        value: json!([]),
        field: "input.allowedCidrs",
        remedy: "name the networks that the key may be used from",
    })
}

/// All limits of a key hold at once, so the tightest of them is its rate.
fn rate(policy: &Policy, facts: Facts<'_>) -> Option<Violation> {
    let most = policy.max_rate_limit?;
    let rates = || facts.rate_limits.iter().map(RateLimit::rate);
    if rates().any(|rate| !rate.exceeds(most)) {
        return None;
    }
    let shown = |rate: Rate| json!({ "limit": rate.limit, "windowSeconds": rate.window_seconds });
    let tightest = rates().reduce(|a, b| if a.exceeds(b) { b } else { a });
    Some(Violation {
        rule: Rule::MaxRateLimit,
        bound: shown(most),
        value: tightest.map_or_else(|| "unlimited".into(), shown),
        field: "input.rateLimits",
        remedy: "give the key a rate limit that is no higher",
    })
}

/// The error that names every broken rule; none when there is none.
pub fn refuse(violations: &[Violation]) -> Result<(), Error> {
    let Some(first) = violations.first() else { return Ok(()) };
    let said: Vec<String> = violations
        .iter()
        .map(|broken| {
            let (rule, bound, value) = (broken.rule.as_str(), &broken.bound, &broken.value);
            format!("{rule} is {bound}, this is {value}: {}", broken.remedy)
        })
        .collect();
    let message = format!("the policy of the organization forbids this: {}", said.join("; "));
    Err(Error::new(Code::PolicyViolation, message)
        .about(first.field)
        .with("violations", violations.iter().map(Violation::to_json).collect::<Vec<_>>()))
}

impl Violation {
    /// As programs read it.
    pub fn to_json(&self) -> Value {
        json!({ "rule": self.rule.as_str(), "bound": self.bound, "value": self.value })
    }
}

/// A secret that nobody acknowledged within the time that the rule gives. Older secrets than the rule are told of,
/// too, although they are left alone.
pub fn unacknowledged(policy: &Policy, state: &KeyState, now: Timestamp) -> Option<Violation> {
    let minutes = policy.secret_acknowledgement_minutes?;
    let age = now.since(state.secret.issued_at).as_secs() / 60;
    (state.secret.acknowledged_at.is_none() && age >= u64::from(minutes)).then(|| Violation {
        rule: Rule::SecretAcknowledgementRequired,
        bound: minutes.into(),
        value: age.into(),
        field: "input.id",
        remedy: "acknowledge the secret, or rotate it",
    })
}

/// From this moment on a key whose secret nobody acknowledged is switched off; none when no rule says so.
pub fn acknowledgement_due(rules: &[Acknowledgement], state: &KeyState) -> Option<Timestamp> {
    if state.secret.acknowledged_at.is_some() {
        return None;
    }
    let issued = state.secret.issued_at;
    let due = |rule: &Acknowledgement| {
        let held = issued >= rule.from && rule.until.is_none_or(|until| issued < until);
        held.then(|| issued.plus(Duration::from_secs(60 * u64::from(rule.minutes))))
    };
    rules.iter().filter_map(due).min()
}
