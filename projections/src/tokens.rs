//! What became of the tokens that a key was exchanged for.

use std::time::Duration;

use keyledger_schema::{Timestamp, TokenId};
use serde::{Deserialize, Serialize};

/// So long revocations of a key's tokens by the key itself are counted together.
pub const OWN_WINDOW: Duration = Duration::from_mins(1);

/// Single tokens that the key itself revoked within [`OWN_WINDOW`], the first of them included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OwnRevocations {
    /// When the first of them was revoked.
    pub since: Timestamp,
    /// How many.
    pub count: u32,
}

impl OwnRevocations {
    /// Whether a moment is within the window. A clock that was set back begins another one.
    pub fn are_counted(&self, at: Timestamp) -> bool {
        (self.since..self.since.plus(OWN_WINDOW)).contains(&at)
    }
}

/// Which of a key's tokens are no longer good, although they have not expired.
///
/// A token says how often all tokens of its key had been revoked when it was made. So it is told by the order of the log
/// which ones an event means: neither the clocks of those who made them play a part, nor how long the event took.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RevokedTokens {
    /// How often all so far were revoked.
    pub epoch: u32,
    /// When that was last decided.
    pub until: Option<Timestamp>,
    /// Single ones and when they expire, in the order in which they were revoked.
    pub single: Vec<(TokenId, Timestamp)>,
    /// How often the key itself did so lately.
    pub own: Option<OwnRevocations>,
}

impl RevokedTokens {
    /// Whether a token that was made in this epoch is among them.
    pub fn contains(&self, token: TokenId, epoch: u32) -> bool {
        epoch < self.epoch || self.single.iter().any(|(single, _)| *single == token)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.epoch == 0 && self.single.is_empty()
    }

    pub(crate) fn revoke(&mut self, token: TokenId, expires_at: Timestamp, now: Timestamp, by_holder: bool) {
        self.single.retain(|(single, expires)| *single != token && *expires > now);
        self.single.push((token, expires_at));
        if by_holder {
            let counted = self.own.filter(|own| own.are_counted(now));
            let own = counted.unwrap_or(OwnRevocations { since: now, count: 0 });
            self.own = Some(OwnRevocations { count: own.count.saturating_add(1), ..own });
        }
    }

    pub(crate) fn revoke_all(&mut self, at: Timestamp) {
        self.epoch = self.epoch.saturating_add(1);
        self.until = Some(at);
        // They were made before, as all others.
        self.single.clear();
    }
}
