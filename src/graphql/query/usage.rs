//! What keys were used for: figures, each verification, and what a change would have refused.

use async_graphql::{Context, ID, Object};

use crate::graphql::QUERY_COST;
use crate::graphql::answer::recorded;
use crate::graphql::connection::{self, Slice, VerificationConnection};
use crate::graphql::input;
use crate::graphql::scalar::{DateTime, Granularity, OrderDirection, UsageDimension};
use crate::graphql::simulation::{self, SimulatedChange, Simulation};
use crate::graphql::usage::{self, Frame, UsageFilter, UsageNode};
use crate::graphql::verification::{self, VerificationFilter};
use crate::service::analytics::Selection;

/// See the head of this module.
#[derive(Default)]
pub(crate) struct UsageQuery;

#[Object]
impl UsageQuery {
    /// How often keys were verified: totals, series and groups. For those who may read keys; by address for those
    /// who may read trails. Follows the log with a lag of a second or more under load.
    #[graphql(complexity = "QUERY_COST + usage::cost(&group_by, top, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "a question with conditions")]
    async fn usage(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Of this organization; that of the workspace, or else your own, when left out.")]
        organization_id: Option<ID>,
        #[graphql(default, desc = "Of the organizations below it, too.")] include_below: bool,
        filter: Option<UsageFilter>,
        #[graphql(desc = "From the start of the bucket that this moment is in.")] from: DateTime,
        #[graphql(desc = "To the end of the bucket that the moment before this one is in.")] to: DateTime,
        #[graphql(default_with = "Granularity::Day", desc = "How long buckets are.")]
        granularity: Granularity,
        #[graphql(default, desc = "At most two. One group for each combination of values that occurs.")]
        group_by: Vec<UsageDimension>,
        #[graphql(default = 10, desc = "So many groups, largest first: 1 to 1,000.")] top: i32,
        #[graphql(
            default_with = "String::from(\"UTC\")",
            desc = "Whose days and months, such as Europe/Berlin."
        )]
        time_zone: String,
    ) -> async_graphql::Result<UsageNode> {
        let run = async {
            let organization =
                organization_id.as_ref().map(|id| input::id("organizationId", id)).transpose()?;
            let filter = filter.unwrap_or_default().check()?;
            let selection = Selection { organization, below: include_below, filter };
            let frame = Frame { from, to, granularity, group_by, top, time_zone };
            usage::answered(context, selection, frame).await
        };
        recorded(context, organization_id.as_deref().map(String::as_str), run).await
    }

    /// What if: which recorded verifications of a period would have been refused under a change of rate limits,
    /// scopes, networks or policy. Looks at calls that were answered `VALID` and are still in the verification
    /// log, and judges only what the change names; changes nothing. For those who may read trails.
    #[graphql(complexity = "100 * QUERY_COST + 100 * child_complexity")]
    #[allow(clippy::too_many_arguments, reason = "a question with conditions")]
    async fn simulate(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Of this organization; that of the workspace, or else your own, when left out.")]
        organization_id: Option<ID>,
        #[graphql(desc = "Whose calls.")] filter: Option<UsageFilter>,
        change: SimulatedChange,
        from: DateTime,
        to: DateTime,
    ) -> async_graphql::Result<Simulation> {
        let run = async {
            let organization =
                organization_id.as_ref().map(|id| input::id("organizationId", id)).transpose()?;
            let filter = filter.unwrap_or_default().check()?;
            let selection = Selection { organization, below: false, filter };
            simulation::simulated(context, selection, change, (from, to)).await
        };
        recorded(context, organization_id.as_deref().map(String::as_str), run).await
    }

    /// The verification log: recorded verifications one by one, newest first unless asked otherwise. For those who
    /// may read trails.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "Relay's arguments")]
    async fn verifications(
        &self,
        context: &Context<'_>,
        organization_id: Option<ID>,
        filter: Option<VerificationFilter>,
        #[graphql(default_with = "OrderDirection::Desc")] direction: OrderDirection,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<VerificationConnection> {
        let slice = Slice { first, after, last, before };
        let run = async {
            let organization =
                organization_id.as_ref().map(|id| input::id("organizationId", id)).transpose()?;
            verification::listed(context, organization, filter.unwrap_or_default(), direction, slice).await
        };
        recorded(context, organization_id.as_deref().map(String::as_str), run).await
    }
}
