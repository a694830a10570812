//! Credits: how many uses are left.
//!
//! Credits are counted by two numbers: a balance that held at some moment, and how many credits were ever
//! spent until then. What is left is the balance less what was spent since. Spending only ever adds to the
//! second number, so recorded verifications can be added up in any order, and a change that is decided while
//! others spend loses none of them: see [`Base`].

use serde::{Deserialize, Serialize};

use crate::id::IdentityId;
use crate::timestamp::Timestamp;

/// At the start of each interval what is left is brought up to an amount. Credits that are left over do not
/// add up, and a balance above the amount is not cut.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refill {
    /// What is left at least at the start of an interval.
    pub amount: u64,
    /// The interval, in seconds. Never 0.
    pub interval_seconds: u32,
    /// The start of the first interval.
    pub from: Timestamp,
}

impl Refill {
    /// Which interval a moment is in; moments before the first one count as in it.
    pub fn interval(&self, at: Timestamp) -> u64 {
        let elapsed = u64::try_from(at.micros().saturating_sub(self.from.micros())).unwrap_or(0);
        elapsed / self.micros()
    }

    /// The start of the interval after the one that a moment is in.
    pub fn next(&self, at: Timestamp) -> Timestamp {
        let micros = (self.interval(at) + 1).saturating_mul(self.micros());
        let micros = i64::try_from(micros).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.from.micros().saturating_add(micros)).min(Timestamp::MAX)
    }

    fn micros(&self) -> u64 {
        u64::from(self.interval_seconds.max(1)) * 1_000_000
    }
}

/// A balance to count from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// 1, 2, 3 …: each change and each refill makes a new one.
    pub n: u32,
    /// When it held.
    pub at: Timestamp,
    /// What was left then. Below zero when more was spent than a change left, while it was decided.
    pub remaining: i64,
    /// How many credits had ever been spent then.
    pub counted: u64,
}

/// What a recorded verification spent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// The identity whose credits they were; the key's own when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityId>,
    /// How many, by all verifications of the record together.
    pub credits: u64,
    /// The balance that they were counted from, where a refill made it and no event tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refilled: Option<Base>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_follow_each_other_without_a_gap() {
        let from = Timestamp::from_micros(1_700_000_000_000_000);
        let refill = Refill { amount: 10, interval_seconds: 60, from };
        let after = |micros: i64| Timestamp::from_micros(from.micros() + micros);
        assert_eq!(refill.interval(after(-1)), 0);
        assert_eq!(refill.interval(from), 0);
        assert_eq!(refill.interval(after(59_999_999)), 0);
        assert_eq!(refill.interval(after(60_000_000)), 1);
        assert_eq!(refill.next(after(-5)), after(60_000_000));
        assert_eq!(refill.next(after(60_000_000)), after(120_000_000));
    }
}
