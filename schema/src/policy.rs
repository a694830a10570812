//! What an organization demands of its keys.
//!
//! A rule that is not set says nothing. Policies are inherited: below a parent, every rule holds in the
//! strictest form that any organization on the way up sets.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::environment::Environment;

/// So many requests in so many seconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests.
    pub limit: u64,
    /// The window, in seconds. Never 0.
    pub window_seconds: u32,
}

impl Rate {
    /// Whether it allows more requests per time than another rate.
    pub fn exceeds(self, other: Self) -> bool {
        let per_second = |rate: Self, over: Self| u128::from(rate.limit) * u128::from(over.window_seconds);
        per_second(self, other) > per_second(other, self)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} s", self.limit, self.window_seconds)
    }
}

/// A named limit of a key.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Unique within the key.
    pub name: Box<str>,
    /// Requests.
    pub limit: u64,
    /// The window, in seconds. Never 0.
    pub window_seconds: u32,
}

impl RateLimit {
    /// The rate without its name.
    pub const fn rate(&self) -> Rate {
        Rate { limit: self.limit, window_seconds: self.window_seconds }
    }
}

/// How long tokens live where no policy says so, in seconds: ten minutes.
pub const DEFAULT_TOKEN_LIFETIME_SECONDS: u32 = 600;
/// How long a policy may let them live, in seconds: from a minute to a day.
pub const TOKEN_LIFETIME_SECONDS: std::ops::RangeInclusive<u32> = 60..=86_400;

/// A rule of a policy, as errors and events name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// See [`Policy::api_keys_enabled`].
    ApiKeysEnabled,
    /// See [`Policy::expiry_required`].
    ExpiryRequired,
    /// See [`Policy::default_ttl_seconds`].
    DefaultTtl,
    /// See [`Policy::max_ttl_seconds`].
    MaxTtl,
    /// See [`Policy::require_allowed_cidrs`].
    RequireAllowedCidrs,
    /// See [`Policy::max_rate_limit`].
    MaxRateLimit,
    /// See [`Policy::secret_acknowledgement_minutes`].
    SecretAcknowledgementRequired,
    /// See [`Policy::allowed_environments`].
    AllowedEnvironments,
    /// See [`Policy::token_lifetime_seconds`].
    TokenLifetime,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 9] = [
        Self::ApiKeysEnabled,
        Self::ExpiryRequired,
        Self::DefaultTtl,
        Self::MaxTtl,
        Self::RequireAllowedCidrs,
        Self::MaxRateLimit,
        Self::SecretAcknowledgementRequired,
        Self::AllowedEnvironments,
        Self::TokenLifetime,
    ];

    /// As the API names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKeysEnabled => "apiKeysEnabled",
            Self::ExpiryRequired => "expiryRequired",
            Self::DefaultTtl => "defaultTtl",
            Self::MaxTtl => "maxTtl",
            Self::RequireAllowedCidrs => "requireAllowedCidrs",
            Self::MaxRateLimit => "maxRateLimit",
            Self::SecretAcknowledgementRequired => "secretAcknowledgementRequired",
            Self::AllowedEnvironments => "allowedEnvironments",
            Self::TokenLifetime => "tokenLifetime",
        }
    }
}

/// The rules of one organization, or, folded with [`Policy::under`], those that hold in it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Whether keys can be issued and used at all; on when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys_enabled: Option<bool>,
    /// Whether a new key must have an expiry date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_required: Option<bool>,
    /// How long a new key lives when its creator does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_ttl_seconds: Option<u64>,
    /// How long a new key lives at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ttl_seconds: Option<u64>,
    /// Whether a key must name the networks it may be used from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_allowed_cidrs: Option<bool>,
    /// The highest rate that a limit of a key may allow; a key without any limit exceeds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rate_limit: Option<Rate>,
    /// Within how many minutes somebody must say that a new secret was copied; else the key is switched
    /// off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_acknowledgement_minutes: Option<u32>,
    /// The environments that keys may be created for; all when not set. Sorted, without repetitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_environments: Option<Vec<Environment>>,
    /// How long a token lives that a key is exchanged for, if the key does not expire before; see
    /// [`DEFAULT_TOKEN_LIFETIME_SECONDS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_lifetime_seconds: Option<u32>,
}

/// The stricter of two rules that may not be set.
fn least<T>(a: Option<T>, b: Option<T>, pick: impl FnOnce(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(pick(a, b)),
        (a, b) => a.or(b),
    }
}

impl Policy {
    /// Whether keys can be issued and used.
    pub fn keys_enabled(&self) -> bool {
        self.api_keys_enabled.unwrap_or(true)
    }

    /// Whether a new key must have an expiry date.
    pub fn demands_expiry(&self) -> bool {
        self.expiry_required.unwrap_or(false)
    }

    /// Whether a key must name its networks.
    pub fn demands_networks(&self) -> bool {
        self.require_allowed_cidrs.unwrap_or(false)
    }

    /// Whether keys may be created for an environment.
    pub fn allows(&self, environment: Environment) -> bool {
        self.allowed_environments.as_ref().is_none_or(|allowed| allowed.contains(&environment))
    }

    /// How long tokens live, in seconds.
    pub fn token_lifetime(&self) -> u32 {
        self.token_lifetime_seconds.unwrap_or(DEFAULT_TOKEN_LIFETIME_SECONDS)
    }

    /// What holds in an organization with these rules below a parent in which `parent` holds: of every
    /// rule the stricter form. The default time to live is the child's own wish, cut to what is allowed.
    #[must_use]
    pub fn under(&self, parent: &Self) -> Self {
        let max_ttl_seconds = least(self.max_ttl_seconds, parent.max_ttl_seconds, u64::min);
        let default = self.default_ttl_seconds.or(parent.default_ttl_seconds);
        Self {
            api_keys_enabled: least(self.api_keys_enabled, parent.api_keys_enabled, |a, b| a && b),
            expiry_required: least(self.expiry_required, parent.expiry_required, |a, b| a || b),
            default_ttl_seconds: default.map(|ttl| max_ttl_seconds.map_or(ttl, |most| ttl.min(most))),
            max_ttl_seconds,
            require_allowed_cidrs: least(self.require_allowed_cidrs, parent.require_allowed_cidrs, |a, b| {
                a || b
            }),
            max_rate_limit: least(self.max_rate_limit, parent.max_rate_limit, |a, b| {
                if a.exceeds(b) { b } else { a }
            }),
            secret_acknowledgement_minutes: least(
                self.secret_acknowledgement_minutes,
                parent.secret_acknowledgement_minutes,
                u32::min,
            ),
            allowed_environments: least(
                self.allowed_environments.clone(),
                parent.allowed_environments.clone(),
                |own, parent| own.into_iter().filter(|environment| parent.contains(environment)).collect(),
            ),
            token_lifetime_seconds: least(
                self.token_lifetime_seconds,
                parent.token_lifetime_seconds,
                u32::min,
            ),
        }
    }

    /// The rules that these would loosen if they stood below a parent in which `parent` holds. Empty for
    /// a policy that is only stricter.
    pub fn looser_than(&self, parent: &Self) -> Vec<Rule> {
        let mut looser = Vec::new();
        let mut note = |rule, is: bool| {
            if is {
                looser.push(rule);
            }
        };
        note(Rule::ApiKeysEnabled, self.api_keys_enabled == Some(true) && !parent.keys_enabled());
        note(Rule::ExpiryRequired, self.expiry_required == Some(false) && parent.demands_expiry());
        let beyond = |own: Option<u64>| own.zip(parent.max_ttl_seconds).is_some_and(|(own, most)| own > most);
        note(Rule::DefaultTtl, beyond(self.default_ttl_seconds));
        note(Rule::MaxTtl, beyond(self.max_ttl_seconds));
        note(
            Rule::RequireAllowedCidrs,
            self.require_allowed_cidrs == Some(false) && parent.demands_networks(),
        );
        let rates = self.max_rate_limit.zip(parent.max_rate_limit);
        note(Rule::MaxRateLimit, rates.is_some_and(|(own, most)| own.exceeds(most)));
        let minutes = self.secret_acknowledgement_minutes.zip(parent.secret_acknowledgement_minutes);
        note(Rule::SecretAcknowledgementRequired, minutes.is_some_and(|(own, most)| own > most));
        let wider =
            self.allowed_environments.iter().flatten().any(|environment| !parent.allows(*environment));
        note(Rule::AllowedEnvironments, wider);
        let lifetimes = self.token_lifetime_seconds.zip(parent.token_lifetime_seconds);
        note(Rule::TokenLifetime, lifetimes.is_some_and(|(own, most)| own > most));
        looser
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::option::of;
    use proptest::prelude::*;

    fn rate() -> impl Strategy<Value = Rate> {
        (1..50_u64, 1..50_u32).prop_map(|(limit, window_seconds)| Rate { limit, window_seconds })
    }

    fn policy() -> impl Strategy<Value = Policy> {
        let environments = prop::sample::subsequence(Environment::ALL.to_vec(), 0..=3);
        let switches = (of(any::<bool>()), of(any::<bool>()), of(any::<bool>()));
        let times = (of(1..100_u64), of(1..100_u64), of(1..100_u32), of(1..100_u32));
        (switches, times, of(rate()), of(environments)).prop_map(|(switches, times, rate, environments)| {
            Policy {
                api_keys_enabled: switches.0,
                expiry_required: switches.1,
                default_ttl_seconds: times.0,
                max_ttl_seconds: times.1,
                require_allowed_cidrs: switches.2,
                max_rate_limit: rate,
                secret_acknowledgement_minutes: times.2,
                allowed_environments: environments,
                token_lifetime_seconds: times.3,
            }
        })
    }

    proptest! {
        #[test]
        fn what_holds_below_a_parent_is_never_looser(child in policy(), parent in policy()) {
            prop_assert_eq!(child.under(&parent).looser_than(&parent), vec![]);
        }

        #[test]
        fn a_policy_that_is_only_stricter_holds_as_it_is(child in policy(), parent in policy()) {
            prop_assume!(child.looser_than(&parent).is_empty());
            let held = child.under(&parent);
            prop_assert!(child.max_ttl_seconds.is_none() || held.max_ttl_seconds == child.max_ttl_seconds);
            prop_assert!(child.allowed_environments.is_none()
                || held.allowed_environments == child.allowed_environments);
            prop_assert!(child.api_keys_enabled.is_none() || held.api_keys_enabled == child.api_keys_enabled);
            prop_assert!(child.expiry_required.is_none() || held.expiry_required == child.expiry_required);
        }

        #[test]
        fn without_rules_of_its_own_a_child_has_its_parents(parent in policy()) {
            let parent = parent.under(&Policy::default());
            prop_assert_eq!(Policy::default().under(&parent), parent);
        }

        #[test]
        fn three_levels_are_folded_in_any_grouping(a in policy(), b in policy(), c in policy()) {
            let strict = |policy: Policy| Policy { default_ttl_seconds: None, ..policy };
            let (a, b, c) = (strict(a), strict(b), strict(c));
            let left = a.under(&b).under(&c);
            let right = a.under(&b.under(&c));
            // Two rates may be equal in different words.
            let same = |x: Option<Rate>, y: Option<Rate>| match (x, y) {
                (Some(x), Some(y)) => !x.exceeds(y) && !y.exceeds(x),
                (x, y) => x == y,
            };
            prop_assert!(same(left.max_rate_limit, right.max_rate_limit));
            let without = |policy: Policy| Policy { max_rate_limit: None, ..policy };
            prop_assert_eq!(without(left), without(right));
        }
    }
}
