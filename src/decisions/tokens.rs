//! Decisions about the tokens that a key was exchanged for.

use keyledger_projections::tokens::OWN_WINDOW;
use keyledger_projections::{KeyState, KeyStatus};
use keyledger_schema::event::{Event, KeyTokenRevoked, KeyTokensRevoked};
use keyledger_schema::{Timestamp, TokenId};

use super::Decision;
use super::key::Comment;
use crate::error::{Code, Error, Result};

/// So many revocations of single tokens are remembered for a key.
pub const MAX_REVOKED_TOKENS: usize = 1_000;
/// So many of its tokens a key itself revokes within [`OWN_WINDOW`]. It makes as many tokens as it likes, and each of
/// these revocations is an event.
pub const MAX_OWN_REVOCATIONS: u32 = 100;

/// A token that is not to be good any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RevokeToken {
    /// Which one.
    pub token: TokenId,
    /// How often all tokens of its key had been revoked when it was made.
    pub epoch: u32,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Whether the key itself asks, and nobody who may manage it.
    pub by_holder: bool,
}

/// Never true already: nobody but whoever made it knows of a token that was made since.
pub(super) fn revoke_all(state: &KeyState, comment: Comment, now: Timestamp) -> Decision {
    // The tokens of a key that is out of use for good fail already.
    if !works_again(state, now) {
        return Decision::nothing();
    }
    Decision::one(Event::KeyTokensRevoked(KeyTokensRevoked { until: now, comment }))
}

/// Single revocations are remembered for as long as their tokens would have lived. Beyond a number of them all
/// tokens so far are revoked at once: whoever revokes so many has no use for the rest, and they are exchanged anew.
pub(super) fn revoke(state: &KeyState, asked: RevokeToken, now: Timestamp) -> Result<Decision> {
    let RevokeToken { token, epoch, expires_at, by_holder } = asked;
    let revoked = &state.revoked_tokens;
    // The tokens of a key that is out of use for good fail already.
    if !works_again(state, now) || expires_at <= now || revoked.contains(token, epoch) {
        return Ok(Decision::nothing());
    }
    let own = revoked.own.filter(|own| by_holder && own.are_counted(now));
    if let Some(own) = own.filter(|own| own.count >= MAX_OWN_REVOCATIONS) {
        return Err(too_many(own.since.plus(OWN_WINDOW), now));
    }
    let alive = revoked.single.iter().filter(|(_, expires)| *expires > now).count();
    if alive < MAX_REVOKED_TOKENS {
        return Ok(Decision::one(Event::KeyTokenRevoked(KeyTokenRevoked { token, expires_at })));
    }
    Ok(Decision::one(Event::KeyTokensRevoked(KeyTokensRevoked { until: now, comment: None })))
}

fn works_again(state: &KeyState, now: Timestamp) -> bool {
    matches!(state.status(now), KeyStatus::Active | KeyStatus::Inactive)
}

fn too_many(over: Timestamp, now: Timestamp) -> Error {
    let seconds = over.since(now).as_millis().div_ceil(1_000).max(1);
    let message = format!(
        "a key revokes at most {MAX_OWN_REVOCATIONS} of its tokens a minute; try again in {seconds} seconds, let them expire, or have all of them ended at once by revokeTokens"
    );
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
    Error::new(Code::TooManyRequests, message).after_seconds(seconds)
}

#[cfg(test)]
mod tests;
