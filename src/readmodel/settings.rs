//! What can be chosen about the read model.

use std::sync::Arc;
use std::time::Duration;

use keyledger_schema::{DataKeys, NoDataKeys, Timestamp};

use crate::edge::Edge;

/// How far a verification's moment may be ahead of this node's clock, since nodes' clocks differ.
const CLOCK_AHEAD: Duration = Duration::from_hours(1);

/// What can be chosen.
#[derive(Clone)]
pub struct Settings {
    /// How long the verification log is kept, counted back from the newest verification.
    pub verification_log: Duration,
    /// How many times as long as it works the thread rests that counts usage.
    pub usage_rest: u32,
    /// Bounds from when it is counted back what is kept for a time only: a verification that was recorded while a
    /// clock was ahead must not hide what came before it, once the clock is right again. Nothing else asks it.
    pub clock: Option<Edge>,
    /// What personal data is read with. Without any, none of it can be read.
    pub data_keys: Arc<dyn DataKeys>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            verification_log: Duration::from_hours(90 * 24),
            usage_rest: 9,
            clock: None,
            data_keys: Arc::new(NoDataKeys),
        }
    }
}

impl Settings {
    /// The first moment that the verification log keeps.
    pub(super) fn oldest_verification(&self, newest: Option<Timestamp>) -> Timestamp {
        newest.unwrap_or_default().minus(self.verification_log)
    }

    /// A moment from which it is counted back.
    pub(super) fn horizon(&self, newest: Option<Timestamp>) -> Option<Timestamp> {
        let latest = self.clock.as_ref().map_or(Timestamp::MAX, |clock| clock.now().plus(CLOCK_AHEAD));
        newest.map(|newest| newest.min(latest))
    }
}
