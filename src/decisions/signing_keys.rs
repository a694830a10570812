//! Decisions about the keys that an organization signs its tokens with.
//!
//! Exactly one key signs at any moment. The others wait until everybody knows them, or are kept because tokens that
//! they signed can still be good.

use std::time::Duration;

use keyledger_projections::{OrganizationState, SigningKey};
use keyledger_schema::event::{Event, Hex32, SigningKeyAdded, SigningKeyRetired, SigningKeyRevoked};
use keyledger_schema::policy::TOKEN_LIFETIME_SECONDS;
use keyledger_schema::{Personal, Timestamp};

use super::Decision;
use crate::error::{Code, Error, Result};

/// How long a new key is known before it signs: twice as long as a copy of the public keys may be kept.
pub const NOTICE: Duration = Duration::from_mins(10);
/// The most keys of an organization whose signatures count.
pub const MAX_COUNTING: usize = 4;
/// What the clocks of those who sign and of those who check may differ by.
const MARGIN: Duration = Duration::from_mins(5);

/// The public key of a generation, as it is derived from the master key.
pub type PublicKeyOf<'a> = dyn Fn(u32) -> Hex32 + Send + Sync + 'a;

/// What a key is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is known and will sign.
    Next,
    /// It signs.
    Signing,
    /// It signs no more, and tokens that it signed can still be good.
    Verifying,
    /// No token that it signed is left.
    Retired,
    /// All tokens that it signed were revoked.
    Revoked,
}

/// What a key of an organization is good for at a moment.
pub fn standing(state: &OrganizationState, key: &SigningKey, now: Timestamp) -> Standing {
    if key.revoked_at.is_some() {
        return Standing::Revoked;
    }
    if key.retired_at.is_some() {
        return Standing::Retired;
    }
    match state.signing_key(now) {
        Some(signing) if signing.generation == key.generation => Standing::Signing,
        Some(signing) if signing.generation > key.generation => Standing::Verifying,
        _ => Standing::Next,
    }
}

/// How long a key is kept after another one signs in its place: no token lives longer.
pub fn kept_for() -> Duration {
    Duration::from_secs(u64::from(*TOKEN_LIFETIME_SECONDS.end())) + MARGIN
}

fn counting(state: &OrganizationState) -> impl Iterator<Item = &SigningKey> {
    state.signing_keys.iter().filter(|key| key.counts())
}

fn added(state: &OrganizationState, signs_from: Timestamp, public_key_of: &PublicKeyOf<'_>) -> Event {
    let newest = state.signing_keys.iter().map(|key| key.generation).max();
    let generation = newest.unwrap_or_default() + 1;
    Event::SigningKeyAdded(SigningKeyAdded { generation, public_key: public_key_of(generation), signs_from })
}

/// Adds a key that will sign.
pub fn rotate(
    state: &OrganizationState,
    now: Timestamp,
    public_key_of: &PublicKeyOf<'_>,
) -> Result<Decision> {
    if !state.is_bootstrapped() {
        let message =
            "the organization has no signing key yet that another one could follow; bootstrap it first";
        return Err(Error::new(Code::NotBootstrapped, message).about("input.organizationId"));
    }
    if counting(state).count() >= MAX_COUNTING {
        let message = format!(
            "the signatures of {MAX_COUNTING} signing keys count already, which is the most; wait until the oldest \
             one is retired, a day after the key behind it began to sign, or revoke one whose tokens may all fail"
        );
        return Err(Error::new(Code::IllegalTransition, message).about("input.organizationId"));
    }
    Ok(Decision::one(added(state, now.plus(NOTICE), public_key_of)))
}

/// Makes all tokens of a key fail. When it is the one that signs, another one does so from now on.
pub fn revoke(
    state: &OrganizationState,
    generation: u32,
    comment: Option<Personal<Box<str>>>,
    now: Timestamp,
    public_key_of: &PublicKeyOf<'_>,
) -> Result<Decision> {
    let key = state.signing_keys.iter().find(|key| key.generation == generation);
    let key = key.ok_or_else(|| Error::not_found("input.generation", "signing key"))?;
    if !key.counts() {
        return Ok(Decision::nothing());
    }
    let mut decision = Decision::nothing();
    // The new one first, so that whoever reads event by event always finds one that signs.
    if standing(state, key, now) == Standing::Signing {
        decision.events.push(added(state, now, public_key_of));
        // Those that would have followed never will: they have no tokens, and only take the place of others.
        let waiting = counting(state).filter(|key| standing(state, key, now) == Standing::Next);
        decision.events.extend(
            waiting.map(|key| Event::SigningKeyRetired(SigningKeyRetired { generation: key.generation })),
        );
    }
    decision.events.push(Event::SigningKeyRevoked(SigningKeyRevoked { generation, comment }));
    Ok(decision)
}

/// Whether a key has no tokens left: one behind it signs for so long that all of them have expired. So the newest
/// key never is.
fn is_done(state: &OrganizationState, key: &SigningKey, now: Timestamp) -> bool {
    key.counts()
        && counting(state)
            .any(|other| other.generation > key.generation && other.signs_from.plus(kept_for()) <= now)
}

/// Whether [`retire`] has anything to do.
pub fn any_is_done(state: &OrganizationState, now: Timestamp) -> bool {
    state.signing_keys.iter().any(|key| is_done(state, key, now))
}

/// Retires the keys that have no tokens left.
pub fn retire(state: &OrganizationState, now: Timestamp) -> Decision {
    let done = state.signing_keys.iter().filter(|key| is_done(state, key, now));
    let retired = done.map(|key| Event::SigningKeyRetired(SigningKeyRetired { generation: key.generation }));
    Decision { events: retired.collect(), warnings: Vec::new() }
}

#[cfg(test)]
mod tests;
