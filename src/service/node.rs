//! The node's own life: it starts and stops recording (PCI DSS 10.2.1.6), and says so when verifications
//! may be missing.

use std::time::Duration;

use keyledger_projections::NodeState;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::{Event, NodeStarted, NodeStopped, PreviousStop, UsageMode};
use keyledger_schema::usage::UsageGapDeclared;
use keyledger_schema::{Envelope, Stream};

use super::Service;
use super::writer::{Failure, read_failed};
use crate::error::{Error, Result};
use crate::store::Direction;
use crate::stream_head::StreamHead;

/// So long before the end of what is recorded something may be missing already: in relaxed mode verifications of
/// unknown keys are written apart from others, each of them within a second while the store works well.
const APART: Duration = Duration::from_secs(5);

/// Where recording goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recording {
    /// Where the node's usage stream ends.
    pub head: StreamHead,
    /// The sequence number of the next record.
    pub next_seq: u64,
}

impl Service {
    /// Writes down that the node starts, and how its last run ended. After a run in relaxed mode that
    /// ended without its last words, the verifications that may be missing are declared.
    pub async fn node_started(&self, mode: UsageMode) -> Result<Recording> {
        let (own, own_head) = self.last_of(Stream::Node(self.node), 2).await?;
        let (usage, usage_head) = self.last_of(Stream::Usage(self.node), 2).await?;
        let state = own.iter().chain(&usage).fold(NodeState::default(), NodeState::fold);
        let previous_stop = state.previous_stop();
        let context = self.own_context();
        // Before the start, which says that all before it is told: a kill in between must not hide the gap.
        let mut head = usage_head;
        if previous_stop == PreviousStop::Unclean && state.usage == Some(UsageMode::Relaxed) {
            let recorded = state.recorded_to.map(|to| to.minus(APART));
            let from = recorded.into_iter().chain(state.started_at).max().unwrap_or(context.at);
            let gap =
                Event::UsageGapDeclared(UsageGapDeclared { after_seq: state.last_seq, from, to: context.at });
            let written = self
                .append(&context, Stream::Usage(self.node), usage_head, None, vec![gap], Outcome::Success)
                .await
                .map_err(alone)?;
            tracing::warn!(%from, to = %context.at, "the last run ended without warning: verifications of this time may be missing");
            if let Some(event) = written.last() {
                head = StreamHead::at(event.envelope.revision, &event.bytes);
            }
        }
        let started = Event::NodeStarted(NodeStarted {
            version: env!("CARGO_PKG_VERSION").into(),
            usage: mode,
            previous_stop,
        });
        self.append(&context, Stream::Node(self.node), own_head, None, vec![started], Outcome::Success)
            .await
            .map_err(alone)?;
        Ok(Recording { head, next_seq: state.last_seq.map_or(0, |seq| seq + 1) })
    }

    /// Writes down that the node stops, after everything else.
    pub async fn node_stopped(&self) -> Result<()> {
        let (_, head) = self.last_of(Stream::Node(self.node), 1).await?;
        let stopped = Event::NodeStopped(NodeStopped {});
        self.append(
            &self.own_context(),
            Stream::Node(self.node),
            head,
            None,
            vec![stopped],
            Outcome::Success,
        )
        .await
        .map_err(alone)?;
        Ok(())
    }

    /// The last events of a stream, oldest first, and where it ends.
    async fn last_of(&self, stream: Stream, max: usize) -> Result<(Vec<Envelope>, StreamHead)> {
        let mut events = self
            .store
            .read_stream(&stream.to_string(), None, Direction::Backward, max)
            .await
            .map_err(|error| read_failed(&error))?;
        events.reverse();
        let head = events
            .last()
            .map_or_else(StreamHead::default, |event| StreamHead::at(event.revision, &event.bytes));
        let envelopes = events.iter().map(|event| self.open(event));
        Ok((envelopes.collect::<Result<_>>()?, head))
    }
}

/// Nobody else writes a node's own streams.
fn alone(failure: Failure) -> Error {
    match failure {
        Failure::Conflict => {
            tracing::error!(
                "another process writes the streams of this node; every node needs an id of its own"
            );
            Error::internal()
        }
        Failure::Other(error) => error,
    }
}
