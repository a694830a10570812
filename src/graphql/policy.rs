//! Policies and rates as the API shows and takes them.

use async_graphql::{ID, InputObject, MaybeUndefined, SimpleObject};
use keyledger_schema::policy::TOKEN_LIFETIME_SECONDS;
use keyledger_schema::{self as domain, OrganizationId, Rate, RateLimit};

use super::input;
use super::scalar::{Environment, Long};
use crate::decisions::limits;
use crate::decisions::organization::PolicyChange;
use crate::error::{Error, Result};

/// So many requests in so many seconds.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "Rate")]
pub(crate) struct RateNode {
    /// Requests.
    limit: Long,
    /// In seconds.
    window_seconds: u32,
}

impl From<Rate> for RateNode {
    fn from(rate: Rate) -> Self {
        Self { limit: Long(rate.limit), window_seconds: rate.window_seconds }
    }
}

/// A named limit of a key or an identity.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "RateLimit")]
pub(crate) struct RateLimitNode {
    /// Unique within the key or identity.
    name: String,
    /// Requests.
    limit: Long,
    /// In seconds.
    window_seconds: u32,
}

impl From<&RateLimit> for RateLimitNode {
    fn from(limit: &RateLimit) -> Self {
        Self { name: limit.name.to_string(), limit: Long(limit.limit), window_seconds: limit.window_seconds }
    }
}

/// What an organization demands of its keys. A rule that is null is not set.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "Policy")]
pub(crate) struct PolicyNode {
    /// Whether keys can be issued and used at all; on when not set.
    api_keys_enabled: Option<bool>,
    /// Whether a new key must have an expiry date.
    expiry_required: Option<bool>,
    /// How long a new key lives when its creator does not say, in seconds.
    default_ttl: Option<Long>,
    /// How long a new key lives at most, in seconds. A key without an expiry date lives longer.
    max_ttl: Option<Long>,
    /// Whether a key must name the networks that it may be used from.
    require_allowed_cidrs: Option<bool>,
    /// The highest rate of a key. A key without any limit exceeds it.
    max_rate_limit: Option<RateNode>,
    /// Within how many minutes a new secret must be acknowledged; else its key is switched off.
    secret_acknowledgement_required: Option<u32>,
    /// The environments that keys may be created for.
    allowed_environments: Option<Vec<Environment>>,
    /// How long a token lives that a key is exchanged for, in seconds; 600 when not set.
    token_lifetime: Option<u32>,
}

impl From<&domain::Policy> for PolicyNode {
    fn from(policy: &domain::Policy) -> Self {
        let environments =
            |all: &Vec<domain::Environment>| all.iter().map(|&one| Environment::from(one)).collect();
        Self {
            api_keys_enabled: policy.api_keys_enabled,
            expiry_required: policy.expiry_required,
            default_ttl: policy.default_ttl_seconds.map(Long),
            max_ttl: policy.max_ttl_seconds.map(Long),
            require_allowed_cidrs: policy.require_allowed_cidrs,
            max_rate_limit: policy.max_rate_limit.map(RateNode::from),
            secret_acknowledgement_required: policy.secret_acknowledgement_minutes,
            allowed_environments: policy.allowed_environments.as_ref().map(environments),
            token_lifetime: policy.token_lifetime_seconds,
        }
    }
}

/// So many requests in so many seconds.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct RateInput {
    /// 1 to 1000000000.
    limit: u64,
    /// 1 to 2678400.
    window_seconds: u32,
}

/// A named limit of a key or an identity.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct RateLimitInput {
    /// Unique within the key or identity: 1 to 32 of a-z, 0-9, `_` and `-`.
    name: String,
    /// 1 to 1000000000.
    limit: u64,
    /// 1 to 2678400.
    window_seconds: u32,
}

/// New rules; those that are left out stay, and null takes a rule away.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct SetOrganizationPolicyInput {
    /// Your own organization when left out.
    pub(super) id: Option<ID>,
    /// False refuses new keys and fails the verification of all keys, below it too.
    api_keys_enabled: MaybeUndefined<bool>,
    /// Whether a new key must have an expiry date.
    expiry_required: MaybeUndefined<bool>,
    /// In seconds: 1 to 3162240000.
    default_ttl: MaybeUndefined<Long>,
    /// In seconds: 1 to 3162240000.
    max_ttl: MaybeUndefined<Long>,
    /// Whether a key must name the networks that it may be used from.
    require_allowed_cidrs: MaybeUndefined<bool>,
    /// The highest rate of a key.
    max_rate_limit: MaybeUndefined<RateInput>,
    /// In minutes: 1 to 43200.
    secret_acknowledgement_required: MaybeUndefined<u32>,
    /// At least one.
    allowed_environments: MaybeUndefined<Vec<Environment>>,
    /// How long a token lives, in seconds: 60 to 86400. A key that expires before ends its tokens.
    token_lifetime: MaybeUndefined<u32>,
    /// Only tells which existing keys would break the rules.
    #[graphql(default)]
    pub(super) dry_run: bool,
    /// See `updateKey`.
    pub(super) expected_revision: Option<u64>,
}

#[allow(clippy::option_option, reason = "a rule can stay, be set, or be taken away")]
fn changed<T, U>(value: MaybeUndefined<T>, check: impl FnOnce(T) -> Result<U>) -> Result<Option<Option<U>>> {
    Ok(match value {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(check(value)?)),
    })
}

pub(super) fn within<T: PartialOrd + Copy + std::fmt::Display>(
    field: &'static str,
    unit: &str,
    value: T,
    least: T,
    most: T,
) -> Result<T> {
    if value < least || value > most {
        return Err(Error::invalid(field, format!("{least} to {most} {unit} are allowed, not {value}")));
    }
    Ok(value)
}

fn rate(field: &'static str, limit: u64, window_seconds: u32) -> Result<Rate> {
    Ok(Rate {
        limit: within(field, "requests", limit, 1, limits::MAX_RATE)?,
        window_seconds: within(field, "seconds of a window", window_seconds, 1, limits::MAX_WINDOW_SECONDS)?,
    })
}

impl SetOrganizationPolicyInput {
    /// The rules that can refuse a verification.
    pub(super) const fn of_rules(
        api_keys_enabled: MaybeUndefined<bool>,
        expiry_required: MaybeUndefined<bool>,
        max_ttl: MaybeUndefined<Long>,
        require_allowed_cidrs: MaybeUndefined<bool>,
        max_rate_limit: MaybeUndefined<RateInput>,
        allowed_environments: MaybeUndefined<Vec<Environment>>,
    ) -> Self {
        Self {
            id: None,
            api_keys_enabled,
            expiry_required,
            default_ttl: MaybeUndefined::Undefined,
            max_ttl,
            require_allowed_cidrs,
            max_rate_limit,
            secret_acknowledgement_required: MaybeUndefined::Undefined,
            allowed_environments,
            token_lifetime: MaybeUndefined::Undefined,
            dry_run: true,
            expected_revision: None,
        }
    }

    /// The organization that is meant, if it is said, and what changes.
    pub(super) fn check(self) -> Result<(Option<OrganizationId>, PolicyChange)> {
        let id = self.id.as_deref().map(|id| input::id("input.id", id)).transpose()?;
        let ttl = |field, value| {
            changed(value, |Long(value)| within(field, "seconds", value, 1, limits::MAX_TTL_SECONDS))
        };
        let change = PolicyChange {
            api_keys_enabled: changed(self.api_keys_enabled, Ok)?,
            expiry_required: changed(self.expiry_required, Ok)?,
            default_ttl_seconds: ttl("input.defaultTtl", self.default_ttl)?,
            max_ttl_seconds: ttl("input.maxTtl", self.max_ttl)?,
            require_allowed_cidrs: changed(self.require_allowed_cidrs, Ok)?,
            max_rate_limit: changed(self.max_rate_limit, |value| {
                rate("input.maxRateLimit", value.limit, value.window_seconds)
            })?,
            secret_acknowledgement_minutes: changed(self.secret_acknowledgement_required, |minutes| {
                let field = "input.secretAcknowledgementRequired";
                within(field, "minutes", minutes, 1, limits::MAX_ACKNOWLEDGEMENT_MINUTES)
            })?,
            allowed_environments: changed(self.allowed_environments, |environments| {
                let mut all: Vec<domain::Environment> = environments.into_iter().map(Into::into).collect();
                all.sort_unstable();
                all.dedup();
                if all.is_empty() {
                    let message =
                        "no environment at all would be left; name those that are allowed, or null for all";
                    return Err(Error::invalid("input.allowedEnvironments", message));
                }
                Ok(all)
            })?,
            token_lifetime_seconds: changed(self.token_lifetime, |seconds| {
                let (least, most) = TOKEN_LIFETIME_SECONDS.into_inner();
                within("input.tokenLifetime", "seconds", seconds, least, most)
            })?,
        };
        Ok((id, change))
    }
}

/// The limits of a key or an identity.
pub(super) fn rate_limits(limits: Vec<RateLimitInput>) -> Result<Vec<RateLimit>> {
    const FIELD: &str = "input.rateLimits";
    limits::at_most(FIELD, "rate limits", limits.len(), limits::MAX_RATE_LIMITS)?;
    let mut checked: Vec<RateLimit> = Vec::with_capacity(limits.len());
    for (place, limit) in limits.into_iter().enumerate() {
        let at = |part: &str| format!("{FIELD}[{place}].{part}");
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if !(1..=32).contains(&limit.name.len()) || !limit.name.bytes().all(fits) {
            let message = "the name of a rate limit is 1 to 32 of a-z, 0-9, _ and -";
            return Err(Error::invalid(at("name"), message));
        }
        if checked.iter().any(|known| *known.name == *limit.name) {
            let message = "two rate limits have the same name; name each otherwise";
            return Err(Error::invalid(at("name"), message));
        }
        let rate = rate(FIELD, limit.limit, limit.window_seconds);
        let Rate { limit: count, window_seconds } =
            rate.map_err(|error| error.about(format!("{FIELD}[{place}]")))?;
        checked.push(RateLimit { name: limit.name.into(), limit: count, window_seconds });
    }
    Ok(checked)
}
