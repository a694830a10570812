//! The log itself: files of it, its checkpoints, and proofs under these.

use async_graphql::{Context, ID, Object};

use crate::graphql::QUERY_COST;
use crate::graphql::answer::recorded;
use crate::graphql::export::{self, ExportUrl, ExportUrlInput};
use crate::graphql::scalar::Long;
use crate::graphql::transparency::{
    self, CheckpointNode, ConsistencyProofNode, InclusionProofNode, LogKeyNode,
};

/// See the head of this module.
#[derive(Default)]
pub(crate) struct LogQuery;

#[Object]
impl LogQuery {
    /// An address that hands out events as a file without a key, for five minutes. For those who may read trails.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn export_url(
        &self,
        context: &Context<'_>,
        input: ExportUrlInput,
    ) -> async_graphql::Result<ExportUrl> {
        let named = input.filter.as_ref().and_then(|filter| filter.organization_id.clone());
        let target = named.as_deref().map(String::as_str);
        recorded(context, target, async { export::url(context, input).await }).await
    }

    /// The newest signed checkpoint of the log; one is made if the newest does not cover all that the log has. For
    /// those who may read a trail.
    #[graphql(complexity = "QUERY_COST + transparency::PROOF_COST + child_complexity")]
    async fn checkpoint(&self, context: &Context<'_>) -> async_graphql::Result<CheckpointNode> {
        recorded(context, None, transparency::checkpoint(context)).await
    }

    /// The keys that sign checkpoints, and those that did. For those who may read a trail.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn log_keys(&self, context: &Context<'_>) -> async_graphql::Result<Vec<LogKeyNode>> {
        recorded(context, None, async { transparency::log_keys(context) }).await
    }

    /// The proof that an event is in the log, for those who may see the event.
    #[graphql(complexity = "QUERY_COST + transparency::PROOF_COST + child_complexity")]
    async fn inclusion_proof(
        &self,
        context: &Context<'_>,
        event_id: ID,
        #[graphql(desc = "In the tree of so many events; in that of a checkpoint when left out.")]
        tree_size: Option<Long>,
    ) -> async_graphql::Result<InclusionProofNode> {
        recorded(context, Some(&event_id), transparency::inclusion(context, &event_id, tree_size)).await
    }

    /// The proof that the log of one size is the start of that of another. For those who may read a trail.
    #[graphql(complexity = "QUERY_COST + transparency::PROOF_COST + child_complexity")]
    async fn consistency_proof(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The size of the earlier checkpoint.")] from: Long,
        #[graphql(desc = "The size of the later one; of the newest when left out.")] to: Option<Long>,
    ) -> async_graphql::Result<ConsistencyProofNode> {
        recorded(context, None, transparency::consistency(context, from, to)).await
    }
}
