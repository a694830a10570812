//! Proofs that a trail is whole, as the API shows them.

use async_graphql::{Context, ID, SimpleObject};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyledger_schema::{ChainHash, KeyId, Stream};

use super::input;
use super::query::asked;
use super::scalar::{DateTime, Long};
use crate::audit::heads::{self, Absence, Proof};
use crate::error::{Error, Result};
use crate::service::completeness::{Commitment, Completeness};

/// What a proof costs: it commits the ends of all streams, which writes an event.
pub(super) const COST: usize = 500;

/// An event of the log that commits to where every stream ended.
#[derive(SimpleObject)]
pub(crate) struct HeadsCommitment {
    /// The event.
    event_id: ID,
    /// When it was decided.
    at: DateTime,
    /// Its number in the log: 0, 1, 2 … without gaps.
    log_index: Long,
    /// The number of events that it covers: all whose log index is below it.
    tree_size: Long,
    /// How many streams there were.
    streams: Long,
    /// The root of the map, in hexadecimal.
    root: String,
    /// The event's stored bytes in base64.
    raw_bytes: String,
    /// That the event is in the log of a signed checkpoint, as a file (C2SP tlog-proof); null on a node that keeps no
    /// tree over the log.
    tlog_proof: Option<String>,
}

/// A node of the map on the way from a stream's leaf to the root.
#[derive(SimpleObject)]
pub(crate) struct MapStep {
    /// The bit of the path that decides at this node.
    bit: i32,
    /// The hash of the side that the path does not take, in hexadecimal.
    sibling: String,
}

/// Where a stream ended, proved under a commitment that is in the log.
#[derive(SimpleObject)]
pub(crate) struct CompletenessProof {
    /// The stream.
    stream: String,
    /// The revision of its last event; null if it had no event.
    revision: Option<Long>,
    /// The hash of its last event; null if it had no event.
    hash: Option<String>,
    /// SHA-256 of the stream's name, in hexadecimal: where it belongs in the map.
    path: String,
    /// From the leaf to the root.
    steps: Vec<MapStep>,
    /// Where the stream has no event: the path of the stream that stands in its place; null if there is none.
    other_path: Option<String>,
    /// The value of that stream.
    other_value: Option<String>,
    /// What the proof is under.
    commitment: HeadsCommitment,
}

fn hex(hash: heads::Hash) -> String {
    ChainHash(hash).to_string()
}

impl From<Commitment> for HeadsCommitment {
    fn from(commitment: Commitment) -> Self {
        Self {
            event_id: commitment.envelope.id.to_string().into(),
            at: DateTime(commitment.envelope.at),
            log_index: Long(commitment.log_index),
            tree_size: Long(commitment.committed.tree_size),
            streams: Long(commitment.committed.streams),
            root: hex(commitment.committed.root.0),
            raw_bytes: STANDARD.encode(&commitment.bytes),
            tlog_proof: commitment.tlog_proof,
        }
    }
}

impl From<Completeness> for CompletenessProof {
    fn from(found: Completeness) -> Self {
        let (steps, other) = match found.proof {
            Proof::Included(proof) => (proof.steps, None),
            Proof::Absent(Absence::Empty {}) => (Vec::new(), None),
            Proof::Absent(Absence::Other { path, value, steps }) => (steps, Some((path, value))),
        };
        let stream = found.stream.to_string();
        Self {
            revision: found.head.map(|head| Long(head.revision)),
            hash: found.head.map(|head| head.hash.to_string()),
            path: hex(heads::path(&stream)),
            steps: steps
                .iter()
                .map(|step| MapStep { bit: step.bit.into(), sibling: hex(step.sibling.0) })
                .collect(),
            other_path: other.map(|(path, _)| hex(path.0)),
            other_value: other.map(|(_, value)| hex(value.0)),
            stream,
            commitment: found.commitment.into(),
        }
    }
}

/// The stream that is meant: named, or that of a key.
pub(super) fn stream(stream: Option<&str>, key: Option<&ID>) -> Result<Stream> {
    match (stream, key) {
        (Some(name), None) => name.parse().map_err(|_| {
            let message = "expected the name of a stream as events show it, such as key-key_…";
            Error::invalid("stream", message)
        }),
        (None, Some(id)) => input::id::<KeyId>("keyId", id).map(Stream::Key),
        _ => Err(Error::invalid("stream", "name exactly one of stream and keyId")),
    }
}

/// Where a stream ends, for whoever may read that trail.
pub(super) async fn proved(context: &Context<'_>, stream: Stream, by_key: bool) -> Result<CompletenessProof> {
    let (service, caller) = asked(context)?;
    let field = if by_key { "keyId" } else { "stream" };
    service.completeness(caller, stream, field).await.map(CompletenessProof::from)
}
