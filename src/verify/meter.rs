//! What a call spends: the rate limits and the credits of a key, and those of its identity.
//!
//! A key that has any has one [`Meter`] for as long as it lives, and an identity has one that its keys share.
//! The settings in it change in place, what was spent stays.
//!
//! The order of checks is part of the interface: first all rate limits that apply, those of the key and those
//! of its identity together; then the credits of the key, then those of the identity.
//!
//! Invariants:
//! - A call is checked and spent under the locks of both meters together: a call that is refused, by
//!   whatever, spends nothing of anything.
//! - The key's lock is taken before the identity's, so that nobody waits for each other.
//! - What is spent of credits is recorded with the verification; what could not be recorded is given back.
//!
//! Architecture invariant: no clock and no I/O. Credits are folded from the log at the start, rate limits
//! begin at rest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use keyledger_projections::{CreditsState, Exhausted, IdentityState, Pool, Tally};
use keyledger_schema::{IdentityId, RateLimit, Spent, Timestamp, VerificationCode};

use super::intern::{ALLOCATION_BYTES, ARC_BYTES};
use super::limits::{Charge, Debts, NoSuchLimit, Refusal, Standing, later, whole_seconds};

/// See the head of this module.
pub struct Meter(Mutex<State>);

struct State {
    limits: Debts,
    /// Apart, since few meters have any.
    credits: Option<Box<Pool>>,
}

impl State {
    /// Whether a call goes past without a trace.
    fn is_idle(&self) -> bool {
        self.limits.rules().is_empty() && self.credits.is_none()
    }

    fn has(&self, name: &str) -> bool {
        self.limits.rules().iter().any(|rule| *rule.name == *name)
    }
}

/// Whose limits and credits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// The key's own.
    Key,
    /// Those of its identity.
    Identity,
}

/// Why a call is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// By a rate limit.
    Limits(Refusal),
    /// Since no credits are left for it.
    Credits(Exhausted),
}

/// Credits that are left after a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    /// How many.
    pub remaining: u64,
    /// When the next refill comes.
    pub refill_at: Option<Timestamp>,
}

/// What was found and spent.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Why the call is refused; it has spent its cost when it is not.
    pub refusal: Option<Refused>,
    /// Of the key's credits and the identity's the fewer; none where neither has any.
    pub credits: Option<Left>,
    /// What is to be recorded of the credits of the key and of the identity.
    pub spent: [Option<Spent>; 2],
    now: u64,
    rules: [Option<Arc<[RateLimit]>>; 2],
    /// For each rule of the key, then of the identity, unless it was not chosen.
    standings: Vec<Option<Standing>>,
}

impl Checked {
    /// What is answered.
    pub(super) fn code(&self) -> VerificationCode {
        match self.refusal {
            None => VerificationCode::Valid,
            Some(Refused::Limits(_)) => VerificationCode::RateLimited,
            Some(Refused::Credits(_)) => VerificationCode::CreditsExhausted,
        }
    }

    /// After so many whole seconds it is worth another try; none where it is admitted, or never would be.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self.refusal? {
            Refused::Limits(Refusal::For(time)) => Some(whole_seconds(time)),
            Refused::Limits(Refusal::ForEver) => None,
            Refused::Credits(exhausted) => exhausted.until.map(|at| self.seconds_until(at)),
        }
    }

    /// Whole seconds from the call until a later moment.
    pub fn seconds_until(&self, at: Timestamp) -> u64 {
        let then = u64::try_from(at.micros()).unwrap_or(0).saturating_mul(1_000);
        whole_seconds(Duration::from_nanos(then.saturating_sub(self.now)))
    }

    /// The limits that applied, and where each stands now.
    pub fn limits(&self) -> impl Iterator<Item = (Owner, &RateLimit, Standing)> {
        let rules = [Owner::Key, Owner::Identity].into_iter().zip(&self.rules);
        let rules = rules.flat_map(|(owner, rules)| {
            rules.iter().flat_map(move |rules| rules.iter().map(move |rule| (owner, rule)))
        });
        rules.zip(&self.standings).filter_map(|((owner, rule), standing)| Some((owner, rule, (*standing)?)))
    }
}

fn moment(nanos: u64) -> Timestamp {
    Timestamp::from_micros(i64::try_from(nanos / 1_000).unwrap_or(i64::MAX)).min(Timestamp::MAX)
}

/// Admits a call and spends its cost on every limit that applies and on all credits, or refuses it and spends
/// nothing. `now` is in nanoseconds since 1970.
pub fn charge(
    key: Option<&Meter>,
    identity: Option<&Identity>,
    charge: &Charge<'_>,
    now: u64,
) -> Result<Option<Checked>, NoSuchLimit> {
    let identity = identity.filter(|identity| identity.in_use.load(Ordering::Acquire));
    if key.is_none() && identity.is_none() {
        // Whoever chooses a limit believes that there is one.
        return if charge.only.is_some() { Err(NoSuchLimit) } else { Ok(None) };
    }
    let mut states = [key.map(Meter::lock), identity.map(|identity| identity.meter.lock())];
    let known = |name: &str| states.iter().flatten().any(|state| state.has(name));
    if !charge.only.is_none_or(|names| names.iter().all(|name| known(name))) {
        return Err(NoSuchLimit);
    }
    let at = moment(now);
    let mut refusal = None;
    for state in states.iter_mut().flatten() {
        state.limits.advance(now);
        refusal = later(refusal, state.limits.refusal(charge, now));
    }
    let mut refusal = refusal.map(Refused::Limits);
    let mut pools = states.iter_mut().flatten().filter_map(|state| state.credits.as_deref_mut());
    if refusal.is_none() {
        refusal = pools.find_map(|pool| pool.refusal(charge.cost, at)).map(Refused::Credits);
    }
    let mut spent = [None; 2];
    let mut standings = Vec::new();
    let mut left: Option<Left> = None;
    for (state, spent) in states.iter_mut().zip(&mut spent) {
        let Some(state) = state else { continue };
        if refusal.is_none() {
            state.limits.spend(charge);
        }
        standings.extend(state.limits.standings(charge, now));
        let Some(pool) = &mut state.credits else { continue };
        if refusal.is_none() {
            *spent = pool.spend(charge.cost, at);
        }
        let Some(remaining) = pool.remaining(at) else { continue };
        if left.is_none_or(|left| remaining < left.remaining) {
            left = Some(Left { remaining, refill_at: pool.rule().map(|rule| rule.next(at)) });
        }
    }
    if let ([_, Some(spent)], Some(identity)) = (&mut spent, identity) {
        spent.identity = Some(identity.id);
    }
    let rules = states.each_ref().map(|state| Some(Arc::clone(state.as_ref()?.limits.rules())));
    Ok(Some(Checked { refusal, credits: left, spent, now, rules, standings }))
}

impl Meter {
    /// With nothing spent.
    pub fn new(rules: Arc<[RateLimit]>, credits: Option<&CreditsState>) -> Self {
        let credits = credits.map(|credits| Box::new(Pool::new(credits, &Tally::default())));
        Self(Mutex::new(State { limits: Debts::new(rules), credits }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over other settings. What was spent stays spent.
    pub(super) fn change(&self, rules: Arc<[RateLimit]>, credits: Option<&CreditsState>) {
        let mut state = self.lock();
        state.limits.change(rules);
        if let Some(credits) = credits {
            match &mut state.credits {
                Some(pool) => pool.change(credits),
                none => *none = Some(Box::new(Pool::new(credits, &Tally::default()))),
            }
        }
    }

    /// Takes over what the log says was spent of the credits. Only before anything is spent here.
    pub(super) fn told(&self, tally: &Tally) {
        if let Some(pool) = &mut self.lock().credits {
            pool.told(tally);
        }
    }

    /// Gives back credits that a call spent which was neither answered nor recorded.
    pub(super) fn give_back(&self, credits: u64) {
        if let Some(pool) = &mut self.lock().credits {
            pool.give_back(credits);
        }
    }

    /// Looks at the credits; nothing where there never were any.
    pub(super) fn credits<T>(&self, look: impl FnOnce(&mut Pool) -> T) -> Option<T> {
        self.lock().credits.as_deref_mut().map(look)
    }

    /// Memory held, in bytes, without the rules, which keys share.
    pub(super) fn bytes(&self) -> usize {
        let state = self.lock();
        let pool = state.credits.as_ref().map_or(0, |_| size_of::<Pool>() + ALLOCATION_BYTES);
        ARC_BYTES + size_of::<Self>() + ALLOCATION_BYTES + state.limits.heap_bytes() + pool
    }
}

/// An identity, as far as its keys share something.
pub struct Identity {
    id: IdentityId,
    meter: Meter,
    /// What the user calls it. Never changes once it is known.
    external_id: OnceLock<Box<str>>,
    /// Whether it has limits or credits at all.
    in_use: AtomicBool,
}

impl Identity {
    /// One that nothing is known of yet.
    pub(super) fn new(id: IdentityId) -> Self {
        let meter = Meter::new(Arc::default(), None);
        Self { id, meter, external_id: OnceLock::new(), in_use: AtomicBool::new(false) }
    }

    /// Which one.
    pub fn id(&self) -> IdentityId {
        self.id
    }

    /// What the user calls it.
    pub fn external_id(&self) -> Option<&str> {
        self.external_id.get().map(|id| &**id)
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(super) fn change(&self, state: &IdentityState, rules: Arc<[RateLimit]>) {
        self.external_id.get_or_init(|| state.external_id.0.clone());
        self.meter.change(rules, state.credits.as_ref());
        self.in_use.store(!self.meter.lock().is_idle(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
