//! What the passing of time did, written down: expiries and ends of overlaps.
//!
//! Neither needs its event to take effect; a verification looks at the clock itself. The events are for
//! the trail, and for readers that have no clock.

use super::Service;
use crate::decisions::key::Command;
use crate::error::Result;

/// How many keys are handled at once.
const BATCH: usize = 500;

impl Service {
    /// Records everything that is due. Answers how many events were written.
    pub async fn record_passed_time(&self) -> Result<usize> {
        let context = self.own_context();
        let mut written = 0;
        loop {
            let due = self
                .read_model
                .due(context.at, BATCH)
                .await
                .map_err(|error| super::keys::query_failed(&error))?;
            let mut last = Vec::new();
            for id in &due {
                let Some(loaded) = self.load(*id).await? else { continue };
                let done = self.decide_and_append(&context, loaded, Command::RecordPassedTime).await?;
                written += done.events.len();
                if !done.events.is_empty() {
                    last = done.events;
                }
            }
            // The same keys must not come back in the next batch.
            self.applied(&last).await?;
            if due.len() < BATCH || last.is_empty() {
                return Ok(written);
            }
        }
    }
}
