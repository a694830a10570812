//! Credits: what is left, counted exactly.
//!
//! A [`Pool`] is what a node spends from. It stands on two things that the log tells: the last change of the
//! credits, from the stream of the key or identity, and the [`Tally`] of what recorded verifications spent,
//! from the usage streams. Both can be folded independently of each other, in whatever order they become
//! known; a pool made of them after a restart is the one that was there before, less what was never recorded.

use std::time::Duration;

use keyledger_schema::credits::{Base, Refill, Spent};
use keyledger_schema::event::CreditsChanged;
use keyledger_schema::{IdentityId, KeyId, Timestamp};
use serde::{Deserialize, Serialize};

/// The last change of a key's or an identity's credits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CreditsState {
    /// See `CreditsChanged`.
    pub n: u32,
    /// When it was made.
    pub at: Timestamp,
    /// See `CreditsChanged`.
    pub counted: u64,
    /// See `CreditsChanged`.
    pub remaining: Option<i64>,
    /// See `CreditsChanged`.
    pub refill: Option<Refill>,
    /// See `CreditsChanged`.
    pub adjusted_by: Option<i64>,
}

impl CreditsState {
    /// What an event says that was decided at a moment.
    pub fn of(changed: &CreditsChanged, at: Timestamp) -> Self {
        let CreditsChanged { n, counted, remaining, refill, adjusted_by, .. } = *changed;
        Self { n, at, counted, remaining, refill, adjusted_by }
    }

    fn base(&self) -> Base {
        Base { n: self.n, at: self.at, remaining: self.remaining.unwrap_or(0), counted: self.counted }
    }
}

/// Whose credits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PoolId {
    /// A key's own.
    Key(KeyId),
    /// An identity's, which its keys share.
    Identity(IdentityId),
}

impl PoolId {
    /// What a record of this key spent from.
    pub fn of(key: KeyId, spent: &Spent) -> Self {
        spent.identity.map_or(Self::Key(key), Self::Identity)
    }
}

/// What recorded verifications spent, all together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Credits.
    pub spent: u64,
    /// The last refill that they tell of.
    pub refilled: Option<Base>,
}

impl Tally {
    /// With one more record.
    pub fn add(&mut self, spent: &Spent) {
        self.spent = self.spent.saturating_add(spent.credits);
        self.note(spent.refilled);
    }

    /// With what another tally counted.
    pub fn join(&mut self, other: &Self) {
        self.spent = self.spent.saturating_add(other.spent);
        self.note(other.refilled);
    }

    fn note(&mut self, refilled: Option<Base>) {
        if refilled.is_some_and(|new| self.refilled.is_none_or(|known| known.n < new.n)) {
            self.refilled = refilled;
        }
    }
}

/// What is left, and what was ever spent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    /// The last change.
    credits: CreditsState,
    base: Base,
    /// The base comes from a refill that no event tells of.
    refilled: bool,
    spent: u64,
}

/// Moments of calls and changes that come together are within this time. A clock that is further behind was set
/// back.
const CLOCK_STEP: Duration = Duration::from_mins(1);

/// How a refused call would have to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exhausted {
    /// When the next refill comes that would be enough; none where none is.
    pub until: Option<Timestamp>,
}

fn raised(remaining: i64, refill: &Refill) -> i64 {
    remaining.max(i64::try_from(refill.amount).unwrap_or(i64::MAX))
}

/// The moment of a balance that came after another one: a change that was decided right after a refill may carry
/// the moment right before it, and what the refill brought is not brought again.
fn follows(before: Timestamp, at: Timestamp) -> Timestamp {
    if before > at && before <= at.plus(CLOCK_STEP) { before } else { at }
}

fn left(base: &Base, spent: u64) -> i64 {
    let since = i128::from(spent) - i128::from(base.counted);
    i64::try_from(i128::from(base.remaining) - since).unwrap_or(if since > 0 { i64::MIN } else { i64::MAX })
}

impl Pool {
    /// From what the log tells.
    pub fn new(credits: &CreditsState, tally: &Tally) -> Self {
        let own = Self { credits: *credits, base: credits.base(), refilled: false, spent: tally.spent };
        match tally.refilled {
            Some(base) if base.n >= credits.n => {
                let mut pool = Self { base, refilled: true, ..own };
                if base.n == credits.n {
                    pool.change(credits);
                }
                pool
            }
            refilled => {
                let at = refilled.map_or(own.base.at, |refilled| follows(refilled.at, own.base.at));
                let mut pool = Self { base: Base { at, ..own.base }, ..own };
                // Spends that were counted when the balance was set, and never recorded, are not given back on
                // top of it. Records from now on carry the balance that holds instead.
                if credits.adjusted_by.is_none() && tally.spent < credits.counted {
                    pool.base = Base { n: pool.base.n + 1, counted: tally.spent, ..pool.base };
                    pool.refilled = true;
                }
                pool
            }
        }
    }

    fn is_limited(&self) -> bool {
        self.credits.remaining.is_some()
    }

    /// Takes over what recorded verifications spent. Only before anything is spent from it.
    pub fn told(&mut self, tally: &Tally) {
        *self = Self::new(&self.credits, tally);
    }

    /// Takes over a change. One that is known already changes nothing.
    pub fn change(&mut self, credits: &CreditsState) {
        let changed = credits.base();
        if changed.n < self.base.n || (changed.n == self.base.n && !self.refilled) {
            return;
        }
        self.credits = *credits;
        // A refill that came while the change was decided comes after it.
        let overtaken = (changed.n == self.base.n).then_some(self.base);
        (self.base, self.refilled) = match (overtaken, &credits.refill) {
            (Some(refill), Some(rule)) if rule.interval(refill.at) > rule.interval(changed.at) => {
                let remaining = raised(left(&changed, refill.counted), rule);
                (Base { n: changed.n + 1, remaining, ..refill }, true)
            }
            _ => (Base { at: follows(self.base.at, changed.at), ..changed }, false),
        };
    }

    /// Brings back what an interval that began since brings.
    fn refill(&mut self, now: Timestamp) {
        // A clock that was ahead must not keep refills away until it is that late again.
        if self.base.at > now.plus(CLOCK_STEP) {
            self.base.at = now;
        }
        let Some(rule) = self
            .credits
            .refill
            .filter(|rule| self.is_limited() && rule.interval(now) > rule.interval(self.base.at))
        else {
            return;
        };
        let remaining = raised(left(&self.base, self.spent), &rule);
        self.base = Base { n: self.base.n + 1, at: now, remaining, counted: self.spent };
        self.refilled = true;
    }

    /// How many are left; unlimited when none.
    pub fn remaining(&mut self, now: Timestamp) -> Option<u64> {
        self.refill(now);
        self.is_limited().then(|| u64::try_from(left(&self.base, self.spent)).unwrap_or(0))
    }

    /// Whether a call of this cost has to be refused. Spends nothing.
    pub fn refusal(&mut self, cost: u32, now: Timestamp) -> Option<Exhausted> {
        let remaining = self.remaining(now)?;
        (remaining < u64::from(cost)).then(|| Exhausted {
            until: self
                .credits
                .refill
                .filter(|rule| rule.amount >= u64::from(cost))
                .map(|rule| rule.next(now)),
        })
    }

    /// Spends the cost of a call that is not refused, and tells what to record of it; nothing while credits
    /// are unlimited.
    pub fn spend(&mut self, cost: u32, now: Timestamp) -> Option<Spent> {
        self.refill(now);
        if !self.is_limited() || cost == 0 {
            return None;
        }
        self.spent = self.spent.saturating_add(cost.into());
        Some(Spent { identity: None, credits: cost.into(), refilled: self.refilled.then_some(self.base) })
    }

    /// Gives back what a call spent that was neither answered nor recorded.
    pub fn give_back(&mut self, credits: u64) {
        self.spent = self.spent.saturating_sub(credits);
    }

    /// What a change has to start from: the number of the next balance, and how many were ever spent.
    pub fn next(&self) -> (u32, u64) {
        (self.base.n + 1, self.spent)
    }

    /// How credits come back.
    pub fn rule(&self) -> Option<&Refill> {
        self.credits.refill.as_ref()
    }

    /// How many were ever spent.
    pub fn spent(&self) -> u64 {
        self.spent
    }
}

#[cfg(test)]
mod tests;
