//! What the passing of time did, written down: expiries and ends of overlaps.
//!
//! Neither needs its event to take effect; a verification looks at the clock itself. The events are for
//! the trail, and for readers that have no clock.

use std::time::Duration;

use futures_util::future::join_all;
use keyledger_schema::KeyId;

use super::{Service, WrittenEvent};
use crate::decisions::key::Command;
use crate::error::{Code, Result};
use crate::readmodel::{KeyOrder, KeyQuery, KeySort, Sequence};

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

    /// Switches off the keys whose secret nobody acknowledged in time, where a policy demands it. Answers how
    /// many.
    pub async fn switch_off_unacknowledged(&self) -> Result<usize> {
        let now = self.now();
        let mut overdue: Vec<KeyId> = Vec::new();
        for tenant in self.tenants.all() {
            for rule in &*tenant.acknowledgement {
                let due = now.minus(Duration::from_secs(60 * u64::from(rule.minutes)));
                // One that is due at this very moment is due.
                let until = due.plus(Duration::from_micros(1));
                let until = rule.until.map_or(until, |end| end.min(until));
                let query = KeyQuery {
                    unacknowledged: Some(true),
                    secret_issued: Some((rule.from, until)),
                    order: KeyOrder { by: KeySort::CreatedAt, sequence: Sequence::Ascending },
                    ..KeyQuery::new(tenant.state.id, now)
                };
                let found = self.read_model.matching(query, BATCH).await;
                overdue.extend(found.map_err(|error| super::keys::query_failed(&error))?);
            }
        }
        let done = join_all(overdue.iter().map(|id| self.record_passed_time_of(*id))).await;
        let mut last = None;
        let mut switched = 0;
        for (id, done) in overdue.iter().zip(done) {
            match done {
                Ok(events) => {
                    switched += usize::from(!events.is_empty());
                    last = last.max(events.last().and_then(|event| event.position));
                }
                // The last administrator stays, whatever the rule says.
                Err(error) if error.code == Code::IllegalTransition => {}
                Err(error) => {
                    tracing::error!(key = %id, %error, "an unacknowledged key cannot be switched off");
                }
            }
        }
        if let Some(last) = last {
            self.applied_to(last).await?;
        }
        Ok(switched)
    }

    async fn record_passed_time_of(&self, id: KeyId) -> Result<Vec<WrittenEvent>> {
        let Some(loaded) = self.load_key(id).await? else { return Ok(Vec::new()) };
        let context = self.own_context();
        Ok(self.command_key(&context, loaded, Command::RecordPassedTime, None).await?.events)
    }
}
