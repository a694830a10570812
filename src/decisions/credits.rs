//! Decisions about credits.
//!
//! How many are left changes with every verification, so a decision stands on a [`Balance`] that whoever
//! spends them told of in that moment. What is spent between this and the moment in which the change takes
//! effect is not lost: see [`keyledger_schema::credits`].

use keyledger_projections::{IdentityState, KeyState};
use keyledger_schema::credits::Refill;
use keyledger_schema::event::{CreditsChanged, Event};
use keyledger_schema::{Personal, Timestamp};

use super::{Decision, identity, key, limits};
use crate::error::{Code, Error, Result};

/// At the start of each interval what is left is brought up to an amount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Refilling {
    /// What is left at least.
    pub amount: u64,
    /// The interval.
    pub interval_seconds: u32,
}

impl Refilling {
    fn from(self, from: Timestamp) -> Refill {
        Refill { amount: self.amount, interval_seconds: self.interval_seconds, from }
    }
}

impl From<&Refill> for Refilling {
    fn from(refill: &Refill) -> Self {
        Self { amount: refill.amount, interval_seconds: refill.interval_seconds }
    }
}

/// Credits that something has from its beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct NewCredits {
    /// How many.
    pub remaining: u64,
    /// How they come back; not at all when none.
    pub refill: Option<Refilling>,
}

/// What is asked of credits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// So many are left from now on, whatever there were.
    Set {
        /// How many; unlimited when none.
        remaining: Option<u64>,
        /// How they come back, beginning now; not at all when none.
        refill: Option<Refilling>,
        /// Why.
        reason: Box<str>,
    },
    /// So many more, or fewer.
    Adjust {
        /// By how many. Not 0.
        by: i64,
        /// Why.
        reason: Box<str>,
    },
}

/// What there is at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Balance {
    /// The number of the next balance.
    pub next: u32,
    /// How many were ever spent.
    pub spent: u64,
    /// How many are left; unlimited when none.
    pub left: Option<u64>,
    /// How they come back.
    pub refill: Option<Refill>,
}

impl Balance {
    /// That of what never had credits.
    pub const NONE: Self = Self { next: 1, spent: 0, left: None, refill: None };
}

/// The credits that a new key begins with.
pub fn first(credits: NewCredits, now: Timestamp) -> CreditsChanged {
    CreditsChanged {
        n: Balance::NONE.next,
        counted: Balance::NONE.spent,
        remaining: Some(signed(credits.remaining)),
        refill: credits.refill.map(|refill| refill.from(now)),
        adjusted_by: None,
        reason: None,
    }
}

/// Decides about a key's own credits.
pub fn of_key(state: &KeyState, command: &Command, balance: Balance, now: Timestamp) -> Result<Decision> {
    key::usable_again(state, now, "given or denied credits")?;
    Ok(decision(Event::KeyCreditsChanged, decide(command, balance, now)?))
}

/// Decides about the credits that an identity's keys share.
pub fn of_identity(
    state: &IdentityState,
    command: &Command,
    balance: Balance,
    now: Timestamp,
) -> Result<Decision> {
    identity::alive(state, "input.id")?;
    Ok(decision(Event::IdentityCreditsChanged, decide(command, balance, now)?))
}

fn decision(event: fn(CreditsChanged) -> Event, changed: Option<CreditsChanged>) -> Decision {
    changed.map_or_else(Decision::nothing, |changed| Decision::one(event(changed)))
}

fn decide(command: &Command, balance: Balance, now: Timestamp) -> Result<Option<CreditsChanged>> {
    let changed = |remaining: Option<u64>, refill, adjusted_by, reason: &str| CreditsChanged {
        n: balance.next,
        counted: balance.spent,
        remaining: remaining.map(signed),
        refill,
        adjusted_by,
        reason: Some(Personal(reason.into())),
    };
    match command {
        Command::Set { remaining, refill, reason } => {
            // A refill begins anew each time that it is set.
            if refill.is_none() && balance.refill.is_none() && *remaining == balance.left {
                return Ok(None);
            }
            Ok(Some(changed(*remaining, refill.map(|refill| refill.from(now)), None, reason)))
        }
        Command::Adjust { by, reason } => {
            let remaining = Some(adjusted(balance.left, *by)?);
            Ok(Some(changed(remaining, balance.refill, Some(*by), reason)))
        }
    }
}

fn adjusted(left: Option<u64>, by: i64) -> Result<u64> {
    let Some(left) = left else {
        let message =
            "there are no credits to adjust, since their number is unlimited; set one with setCredits first";
        return Err(Error::new(Code::IllegalTransition, message).about("input.id"));
    };
    let Some(after) = left.checked_add_signed(by) else {
        let message = format!("only {left} credits are left; take no more than that, or set them to 0");
        return Err(Error::new(Code::IllegalTransition, message).about("input.by").with("remaining", left));
    };
    if by > 0 && after > limits::MAX_CREDITS {
        let most = limits::MAX_CREDITS;
        let message = format!("at most {most} credits are allowed, and {left} are left already; give fewer");
        return Err(Error::invalid("input.by", message).with("remaining", left));
    }
    Ok(after)
}

/// Bounded far below where this matters.
fn signed(credits: u64) -> i64 {
    i64::try_from(credits).unwrap_or(i64::MAX)
}
