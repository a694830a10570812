//! What the passing of time did, written down: expiries and ends of overlaps.
//!
//! Neither needs its event to take effect; a verification looks at the clock itself. The events are for
//! the trail, and for readers that have no clock.

use futures_util::future::join_all;
use keyledger_schema::KeyId;

use super::{Service, WrittenEvent};
use crate::decisions::key::Command;
use crate::error::Result;

/// How many keys are handled at once.
const BATCH: usize = 500;

impl Service {
    /// Records everything that is due. Answers how many events were written. A key that cannot be handled
    /// now is logged and holds up no other; it comes again at the next call.
    pub async fn record_passed_time(&self) -> Result<usize> {
        let mut written = 0;
        loop {
            let due = self
                .read_model
                .due(self.now(), BATCH)
                .await
                .map_err(|error| super::keys::query_failed(&error))?;
            // Side by side, so that one commit takes many.
            let done = join_all(due.iter().map(|id| self.record_passed_time_of(*id))).await;
            let mut last = None;
            let mut recorded = 0;
            for (id, done) in due.iter().zip(done) {
                match done {
                    Ok(events) => {
                        recorded += events.len();
                        last = last.max(events.last().and_then(|event| event.position));
                    }
                    Err(error) => {
                        tracing::error!(key = %id, %error, "what time did to a key cannot be recorded");
                    }
                }
            }
            written += recorded;
            // The same keys must not come back in the next batch.
            if let Some(last) = last {
                self.applied_to(last).await?;
            }
            if due.len() < BATCH || recorded == 0 {
                return Ok(written);
            }
        }
    }

    async fn record_passed_time_of(&self, id: KeyId) -> Result<Vec<WrittenEvent>> {
        let Some(loaded) = self.load_key(id).await? else { return Ok(Vec::new()) };
        let context = self.own_context();
        Ok(self.command_key(&context, loaded, Command::RecordPassedTime, None).await?.events)
    }
}
