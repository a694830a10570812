//! The rate limits of a key or an identity. Pure.
//!
//! Each limit is a GCRA, the generic cell rate algorithm of ITU-T I.371, in its form as a leaky bucket: a
//! call adds its cost to a debt, time takes it away evenly, and a call that would raise the debt above the
//! limit is refused. So a key that rested may make `limit` calls at once, and then they come back one by
//! one. In any stretch of time at most `limit + limit * stretch / window` are admitted.
//!
//! A debt counts in calls times nanoseconds: a call adds a window, a nanosecond takes `limit` away. Nothing
//! is rounded then, whatever the two numbers are; only what is shown is, and never in the caller's favour.
//!
//! Invariants:
//! - A clock that is set back gives nothing back and takes nothing more: debts stay as they were and go on
//!   from there. Up to [`CLOCK_STEP_NANOS`] it is taken for requests that overtake each other, and time
//!   stands still.
//! - When limits change, nothing that was spent on a limit of the same name is forgotten.
//!
//! Architecture invariant: no clock, no lock and no I/O. The state is in memory only: a start begins with
//! every limit at rest.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use keyledger_schema::RateLimit;

use super::intern::ALLOCATION_BYTES;
use crate::decisions::limits::MAX_RATE_LIMITS;
use crate::error::Error;

/// The most that a call may cost.
pub const MAX_COST: u32 = 1_000_000;
/// The most limits that a call may choose: as many as a key may have.
pub const MAX_CHOSEN: usize = MAX_RATE_LIMITS;
/// Requests read the clock before they wait for the lock, so one may come with an earlier time than the one
/// before it. A clock that is further behind was set back.
const CLOCK_STEP_NANOS: u64 = 1_000_000_000;

/// What a call wants to spend.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// How many calls it counts as. 0 spends nothing and is never refused.
    pub cost: u32,
    /// The limits that apply; all when it is not said.
    pub only: Option<&'a [Cow<'a, str>]>,
}

impl Default for Charge<'_> {
    fn default() -> Self {
        Self { cost: 1, only: None }
    }
}

impl Charge<'_> {
    /// The cost that somebody named, if they did.
    pub fn cost(named: Option<u64>) -> Result<u32, Error> {
        let cost = u32::try_from(named.unwrap_or(1)).ok().filter(|cost| *cost <= MAX_COST);
        cost.ok_or_else(wrong_cost)
    }

    pub(super) fn chooses(&self, rule: &RateLimit) -> bool {
        self.only.is_none_or(|names| names.iter().any(|name| **name == *rule.name))
    }
}

/// For what is no cost at all.
pub fn wrong_cost() -> Error {
    Error::invalid("cost", format!("the cost is a whole number from 0 to {MAX_COST}; leave it out for 1"))
}

/// A limit was chosen that neither the key nor its identity has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSuchLimit;

impl From<NoSuchLimit> for Error {
    fn from(_: NoSuchLimit) -> Self {
        Self::invalid(
            "limits",
            "neither the key nor its identity has a rate limit of one of these names, so it would not be enforced; name \
             limits that there are, or leave the field out for all of them",
        )
    }
}

/// Why the limits refuse a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It would be admitted after this time, and not a nanosecond earlier, if nobody else calls.
    For(Duration),
    /// It costs more than one of the limits ever allows at once.
    ForEver,
}

/// Where a limit stands after a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// So many calls are admitted now.
    pub remaining: u64,
    /// After this time all of the limit is there again.
    pub reset: Duration,
}

impl Standing {
    /// The same in whole seconds, rounded up.
    pub fn reset_seconds(&self) -> u64 {
        whole_seconds(self.reset)
    }
}

pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// What a debt is counted in: calls times nanoseconds. A product of two 64-bit numbers always fits.
type Debt = u128;

fn window_nanos(rule: &RateLimit) -> Debt {
    Debt::from(rule.window_seconds.max(1)) * 1_000_000_000
}

/// The debt at which the limit is used up.
fn capacity(rule: &RateLimit) -> Debt {
    Debt::from(rule.limit) * window_nanos(rule)
}

/// How long it takes until a debt is gone.
fn time_of(debt: Debt, rule: &RateLimit) -> Debt {
    debt.div_ceil(Debt::from(rule.limit.max(1)))
}

fn duration(nanos: Debt) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Limits, and what was spent of them.
#[derive(Debug)]
pub(super) struct Debts {
    rules: Arc<[RateLimit]>,
    /// The debts are of this moment, in nanoseconds since 1970.
    at: u64,
    /// A debt for each rule.
    owed: Box<[Debt]>,
}

impl Debts {
    /// Limits at rest.
    pub(super) fn new(rules: Arc<[RateLimit]>) -> Self {
        let owed = vec![0; rules.len()].into();
        Self { rules, at: 0, owed }
    }

    pub(super) fn rules(&self) -> &Arc<[RateLimit]> {
        &self.rules
    }

    /// Lets time pass until a moment, in nanoseconds since 1970.
    pub(super) fn advance(&mut self, now: u64) {
        if let Some(elapsed) = now.checked_sub(self.at) {
            for (debt, rule) in self.owed.iter_mut().zip(&*self.rules) {
                *debt = debt.saturating_sub(Debt::from(elapsed) * Debt::from(rule.limit));
            }
            self.at = now;
        } else if self.at - now > CLOCK_STEP_NANOS {
            self.at = now;
        }
    }

    /// Why a call is refused: by the limit that refuses it for the longest time.
    pub(super) fn refusal(&self, charge: &Charge<'_>, now: u64) -> Option<Refusal> {
        let chosen = self.rules.iter().zip(&self.owed).filter(|(rule, _)| charge.chooses(rule));
        chosen.fold(None, |refusal, (rule, debt)| later(refusal, self.refused_by(rule, *debt, charge, now)))
    }

    fn refused_by(&self, rule: &RateLimit, debt: Debt, charge: &Charge<'_>, now: u64) -> Option<Refusal> {
        if u64::from(charge.cost) > rule.limit {
            return Some(Refusal::ForEver);
        }
        let cost = Debt::from(charge.cost) * window_nanos(rule);
        let excess = (debt + cost).saturating_sub(capacity(rule));
        (excess > 0).then(|| Refusal::For(duration(time_of(excess, rule) + self.behind(now))))
    }

    /// Spends the cost of a call that is not refused.
    pub(super) fn spend(&mut self, charge: &Charge<'_>) {
        for (debt, rule) in self.owed.iter_mut().zip(&*self.rules).filter(|(_, rule)| charge.chooses(rule)) {
            *debt += Debt::from(charge.cost) * window_nanos(rule);
        }
    }

    /// Where each limit stands; nothing of those that were not chosen.
    pub(super) fn standings(&self, charge: &Charge<'_>, now: u64) -> impl Iterator<Item = Option<Standing>> {
        self.rules.iter().zip(&self.owed).map(move |(rule, debt)| {
            let standing = || {
                let room = capacity(rule).saturating_sub(*debt);
                Standing {
                    remaining: u64::try_from(room / window_nanos(rule)).unwrap_or(u64::MAX),
                    reset: duration(if *debt == 0 { 0 } else { time_of(*debt, rule) + self.behind(now) }),
                }
            };
            charge.chooses(rule).then(standing)
        })
    }

    /// Time stands still for so long.
    fn behind(&self, now: u64) -> Debt {
        Debt::from(self.at.saturating_sub(now))
    }

    /// From now on these limits. Of a limit that is half used up, half is used up under the same name.
    pub(super) fn change(&mut self, rules: Arc<[RateLimit]>) {
        let carried = |rule: &RateLimit| {
            let (known, debt) =
                self.rules.iter().zip(&self.owed).find(|(known, _)| known.name == rule.name)?;
            let time = (time_of(*debt, known) * window_nanos(rule)).div_ceil(window_nanos(known));
            Some(time * Debt::from(rule.limit))
        };
        if self.rules != rules {
            self.owed = rules.iter().map(|rule| carried(rule).unwrap_or(0)).collect();
            self.rules = rules;
        }
    }

    /// Memory held besides itself, in bytes, without the rules, which keys share.
    pub(super) fn heap_bytes(&self) -> usize {
        self.rules.len() * size_of::<Debt>() + ALLOCATION_BYTES
    }
}

/// The refusal that lasts longer.
pub(super) fn later(a: Option<Refusal>, b: Option<Refusal>) -> Option<Refusal> {
    match (a, b) {
        (Some(Refusal::For(a)), Some(Refusal::For(b))) => Some(Refusal::For(a.max(b))),
        (Some(Refusal::ForEver), _) | (_, Some(Refusal::ForEver)) => Some(Refusal::ForEver),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests;
