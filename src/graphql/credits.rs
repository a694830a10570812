//! Credits as the API shows and takes them.

use async_graphql::{ID, InputObject, MaybeUndefined, SimpleObject};
use keyledger_projections::PoolId;
use keyledger_schema::Timestamp;

use super::input;
use super::policy::within;
use super::scalar::{DateTime, Long, SignedLong};
use crate::decisions::credits::{Balance, Command, NewCredits, Refilling};
use crate::decisions::limits;
use crate::error::{Error, Result};

/// How many uses are left.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "Credits")]
pub(crate) struct CreditsNode {
    /// How many are left now.
    remaining: Long,
    /// To how many they are raised at the start of each interval; null when they are not.
    refill_amount: Option<Long>,
    /// The interval, in seconds.
    refill_interval_seconds: Option<u32>,
    /// When the next interval starts.
    next_refill_at: Option<DateTime>,
    /// How many were ever spent.
    spent: Long,
}

impl CreditsNode {
    /// Null while they are unlimited.
    pub(super) fn of(balance: Option<Balance>, now: Timestamp) -> Option<Self> {
        let Balance { left, refill, spent, .. } = balance?;
        Some(Self {
            remaining: Long(left?),
            refill_amount: refill.map(|refill| Long(refill.amount)),
            refill_interval_seconds: refill.map(|refill| refill.interval_seconds),
            next_refill_at: refill.map(|refill| DateTime(refill.next(now))),
            spent: Long(spent),
        })
    }
}

/// Credits of a new key.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct CreditsInput {
    /// 0 to 1000000000000.
    remaining: Long,
    /// To how many they are raised at the start of each interval: 1 to 1000000000000. Needs an interval. They never
    /// come back when it is left out.
    refill_amount: Option<Long>,
    /// The interval, in seconds: 60 to 31622400. The first one starts now.
    refill_interval_seconds: Option<u32>,
}

/// New credits in place of those that there are.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct SetCreditsInput {
    /// A key or an identity.
    pub(super) id: ID,
    /// 0 to 1000000000000; null for unlimited. Has to be said.
    remaining: MaybeUndefined<Long>,
    /// See `CreditsInput`. Credits do not come back when it is left out.
    refill_amount: Option<Long>,
    /// See `CreditsInput`.
    refill_interval_seconds: Option<u32>,
    /// For the trail: 1 to 500 characters.
    reason: String,
    /// The `revision` of the key or identity that you looked at. When its credits were set or adjusted since, the
    /// answer is CONFLICT and nothing is changed; what was spent since does not matter.
    pub(super) expected_revision: Option<u64>,
}

/// More credits, or fewer.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct AdjustCreditsInput {
    /// A key or an identity.
    pub(super) id: ID,
    /// By how many: -1000000000000 to 1000000000000, not 0. No more are taken than are left.
    by: SignedLong,
    /// For the trail: 1 to 500 characters.
    reason: String,
    /// See `setCredits`. With it a repetition does not adjust twice.
    pub(super) expected_revision: Option<u64>,
}

/// The names of the fields in errors.
struct Fields {
    remaining: &'static str,
    amount: &'static str,
    interval: &'static str,
}

const OF_KEY: Fields = Fields {
    remaining: "input.credits.remaining",
    amount: "input.credits.refillAmount",
    interval: "input.credits.refillIntervalSeconds",
};
const OF_SET: Fields = Fields {
    remaining: "input.remaining",
    amount: "input.refillAmount",
    interval: "input.refillIntervalSeconds",
};

impl Fields {
    fn remaining(&self, Long(remaining): Long) -> Result<u64> {
        within(self.remaining, "credits", remaining, 0, limits::MAX_CREDITS)
    }

    fn refill(&self, amount: Option<Long>, interval: Option<u32>) -> Result<Option<Refilling>> {
        const TOGETHER: &str = "a refill has an amount and an interval; give both or none";
        match (amount, interval) {
            (None, None) => Ok(None),
            (Some(Long(amount)), Some(seconds)) => {
                let (least, most) = (limits::MIN_REFILL_SECONDS, limits::MAX_REFILL_SECONDS);
                Ok(Some(Refilling {
                    amount: within(self.amount, "credits", amount, 1, limits::MAX_CREDITS)?,
                    interval_seconds: within(self.interval, "seconds of an interval", seconds, least, most)?,
                }))
            }
            (Some(_), None) => Err(Error::invalid(self.interval, TOGETHER)),
            (None, Some(_)) => Err(Error::invalid(self.amount, TOGETHER)),
        }
    }
}

/// Whose credits are meant.
pub(super) fn pool(id: &ID) -> Result<PoolId> {
    if id.starts_with("key_") {
        return input::id("input.id", id).map(PoolId::Key);
    }
    if id.starts_with("idn_") {
        return input::id("input.id", id).map(PoolId::Identity);
    }
    Err(Error::invalid("input.id", "credits are those of a key (key_…) or of an identity (idn_…)"))
}

impl CreditsInput {
    pub(super) fn check(self) -> Result<NewCredits> {
        Ok(NewCredits {
            remaining: OF_KEY.remaining(self.remaining)?,
            refill: OF_KEY.refill(self.refill_amount, self.refill_interval_seconds)?,
        })
    }
}

impl SetCreditsInput {
    pub(super) fn check(self) -> Result<Command> {
        let refill = OF_SET.refill(self.refill_amount, self.refill_interval_seconds)?;
        let remaining = match self.remaining {
            MaybeUndefined::Undefined => {
                let message = "say how many credits are left from now on, or null for any number";
                return Err(Error::invalid(OF_SET.remaining, message));
            }
            MaybeUndefined::Null if refill.is_some() => {
                let message = "unlimited credits need no refill; leave it out, or say how many are left";
                return Err(Error::invalid(OF_SET.amount, message));
            }
            MaybeUndefined::Null => None,
            MaybeUndefined::Value(remaining) => Some(OF_SET.remaining(remaining)?),
        };
        Ok(Command::Set { remaining, refill, reason: reason(&self.reason)? })
    }
}

impl AdjustCreditsInput {
    pub(super) fn check(self) -> Result<Command> {
        let by = self.by.0;
        if by == 0 {
            return Err(Error::invalid("input.by", "an adjustment by 0 changes nothing; say by how many"));
        }
        let most = limits::MAX_CREDITS.cast_signed();
        within("input.by", "credits", by, -most, most)?;
        Ok(Command::Adjust { by, reason: reason(&self.reason)? })
    }
}

fn reason(text: &str) -> Result<Box<str>> {
    input::no_secret("input.reason", text)?;
    limits::reason("input.reason", text)
}
