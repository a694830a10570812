//! Checkpoints and proofs, as outsiders check them.

use async_graphql::{Context, ID, SimpleObject};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyledger_schema::EventId;

use super::input;
use super::query::asked;
use super::scalar::{DateTime, Long};
use crate::error::Result;
use crate::service::Service;
use crate::service::transparency::{Consistency, Inclusion};

/// What a proof costs: it may wait for a checkpoint, and answers with a whole event.
pub(super) const PROOF_COST: usize = 100;

/// A key that signs checkpoints, or did.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "LogKey")]
pub(crate) struct LogKeyNode {
    /// 1 for the first key of the log.
    generation: u32,
    /// `<name>+<key id>+<base64>` (C2SP signed-note), for whoever checks signatures.
    verifier_key: String,
    /// Since when it signs.
    added_at: DateTime,
    /// Since when it does not sign any more.
    retired_at: Option<DateTime>,
}

/// How many events the log has, and the root of the tree over them, signed.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "Checkpoint")]
pub(crate) struct CheckpointNode {
    /// The log's name.
    origin: String,
    /// How many events.
    size: Long,
    /// The root of the tree, in base64.
    root: String,
    /// The signed note (C2SP tlog-checkpoint), to be kept and compared.
    note: String,
    /// The keys of the log, those out of use included.
    keys: Vec<LogKeyNode>,
}

/// The proof that an event is in the log (RFC 9162 §2.1.3).
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "InclusionProof")]
pub(crate) struct InclusionProofNode {
    /// The event's number in the log.
    log_index: Long,
    /// The size of the tree that this is a proof of.
    tree_size: Long,
    /// SHA-256 of a zero byte and the stored bytes, in base64.
    leaf_hash: String,
    /// The way to the root, from the leaf's sibling upwards, each in base64.
    hashes: Vec<String>,
    /// The root of that tree, in base64.
    root: String,
    /// The signed checkpoint of that tree; null for another size than that of the newest one.
    checkpoint: Option<CheckpointNode>,
    /// The stored bytes of the event, in base64.
    entry: String,
    /// The same as a file (C2SP tlog-proof); null where there is no checkpoint.
    tlog_proof: Option<String>,
}

/// The proof that the log only grew (RFC 9162 §2.1.4).
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "ConsistencyProof")]
pub(crate) struct ConsistencyProofNode {
    /// The smaller size.
    from: Long,
    /// The larger size.
    to: Long,
    /// The hashes, each in base64.
    hashes: Vec<String>,
    /// The root of the smaller tree, in base64.
    from_root: String,
    /// The root of the larger tree, in base64.
    to_root: String,
}

fn hashes(hashes: &[[u8; 32]]) -> Vec<String> {
    hashes.iter().map(|hash| STANDARD.encode(hash)).collect()
}

fn keys(service: &Service) -> Result<Vec<LogKeyNode>> {
    let state = service.tree()?.keys();
    let key = |key: &keyledger_projections::LogKey| LogKeyNode {
        generation: key.generation,
        verifier_key: key.verifier_key.to_string(),
        added_at: DateTime(key.added_at),
        retired_at: key.retired_at.map(DateTime),
    };
    Ok(state.keys.iter().map(key).collect())
}

fn checkpoint_node(service: &Service, signed: &crate::sequencer::Signed) -> Result<CheckpointNode> {
    Ok(CheckpointNode {
        origin: signed.checkpoint.origin.to_string(),
        size: Long(signed.checkpoint.size),
        root: STANDARD.encode(signed.checkpoint.root),
        note: signed.note.to_string(),
        keys: keys(service)?,
    })
}

fn inclusion_node(service: &Service, proof: &Inclusion) -> Result<InclusionProofNode> {
    let signed = proof.signed.as_ref();
    Ok(InclusionProofNode {
        log_index: Long(proof.log_index),
        tree_size: Long(proof.tree_size),
        leaf_hash: STANDARD.encode(proof.leaf_hash),
        hashes: hashes(&proof.hashes),
        root: STANDARD.encode(proof.root),
        checkpoint: signed.map(|signed| checkpoint_node(service, signed)).transpose()?,
        entry: STANDARD.encode(&proof.entry),
        tlog_proof: proof.file(),
    })
}

/// The keys of the log, for whoever may read a trail.
pub(super) fn log_keys(context: &Context<'_>) -> Result<Vec<LogKeyNode>> {
    let (service, caller) = asked(context)?;
    service.require_some_trail(caller)?;
    keys(service)
}

/// A checkpoint over all that the log has now.
pub(super) async fn checkpoint(context: &Context<'_>) -> Result<CheckpointNode> {
    let (service, caller) = asked(context)?;
    checkpoint_node(service, &*service.checkpoint(caller).await?)
}

/// The proof of an event that the caller may see.
pub(super) async fn inclusion(
    context: &Context<'_>,
    event: &ID,
    tree_size: Option<Long>,
) -> Result<InclusionProofNode> {
    let id: EventId = input::id("eventId", event)?;
    of_event(context, id, tree_size.map(|size| size.0)).await
}

/// The same by its id.
pub(super) async fn of_event(
    context: &Context<'_>,
    id: EventId,
    tree_size: Option<u64>,
) -> Result<InclusionProofNode> {
    let (service, caller) = asked(context)?;
    inclusion_node(service, &service.inclusion(caller, id, tree_size).await?)
}

/// The proof between two sizes.
pub(super) async fn consistency(
    context: &Context<'_>,
    from: Long,
    to: Option<Long>,
) -> Result<ConsistencyProofNode> {
    let (service, caller) = asked(context)?;
    let Consistency { from, to, hashes: path, roots } =
        service.consistency(caller, from.0, to.map(|to| to.0)).await?;
    Ok(ConsistencyProofNode {
        from: Long(from),
        to: Long(to),
        hashes: hashes(&path),
        from_root: STANDARD.encode(roots.0),
        to_root: STANDARD.encode(roots.1),
    })
}
