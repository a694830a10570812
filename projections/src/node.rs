//! The state of a node, from its own stream and its usage stream.

use keyledger_schema::event::{Event, PreviousStop, UsageMode};
use keyledger_schema::{Envelope, Timestamp};

/// What a node must know of its earlier runs when it starts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeState {
    /// How verifications were recorded in the last run; none before the first.
    pub usage: Option<UsageMode>,
    /// When the last run began.
    pub started_at: Option<Timestamp>,
    /// Whether the last run ended with its last words in the log.
    pub stopped: bool,
    /// The last sequence number of its usage.
    pub last_seq: Option<u64>,
    /// The end of the last usage recorded, or of the gap declared after it.
    pub recorded_to: Option<Timestamp>,
}

impl NodeState {
    /// How the last run ended.
    pub fn previous_stop(&self) -> PreviousStop {
        match (self.started_at, self.stopped) {
            (None, _) => PreviousStop::None,
            (Some(_), true) => PreviousStop::Clean,
            (Some(_), false) => PreviousStop::Unclean,
        }
    }

    /// The state after one more event.
    #[must_use]
    pub fn fold(mut self, envelope: &Envelope) -> Self {
        match &envelope.event {
            Event::NodeStarted(started) => {
                self.usage = Some(started.usage);
                self.started_at = Some(envelope.at);
                self.stopped = false;
            }
            Event::NodeStopped(_) => self.stopped = true,
            Event::UsageRecorded(recorded) => {
                self.last_seq = Some(recorded.seq);
                self.recorded_to = Some(recorded.to);
            }
            Event::UsageGapDeclared(gap) => {
                self.last_seq = gap.after_seq;
                self.recorded_to = Some(gap.to);
            }
            _ => {}
        }
        self
    }
}
