//! Reports for auditors.

use async_graphql::{Context, Object};

use crate::graphql::QUERY_COST;
use crate::graphql::answer::recorded;
use crate::graphql::connection::{
    self, AccessReviewConnection, KeyActivityConnection, PolicyViolationConnection, Slice,
};
use crate::graphql::report::{self, KeyAction, ReportFilter};
use crate::graphql::scalar::DateTime;

/// See the head of this module.
#[derive(Default)]
pub(crate) struct ReportQuery;

#[Object]
impl ReportQuery {
    /// A report: every event of keys in a period, oldest first, with who, from where, why, and how fast. For those who
    /// may read trails.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "Relay's arguments")]
    async fn key_activity(
        &self,
        context: &Context<'_>,
        filter: Option<ReportFilter>,
        #[graphql(desc = "Not before this moment.")] from: DateTime,
        #[graphql(desc = "Before this moment; now when left out.")] to: Option<DateTime>,
        #[graphql(desc = "Only these; all when left out.")] actions: Option<Vec<KeyAction>>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<KeyActivityConnection> {
        let slice = Slice { first, after, last, before };
        let filter = filter.unwrap_or_default();
        recorded(
            context,
            None,
            report::key_activity(context, &filter, (from, to), actions.unwrap_or_default(), slice),
        )
        .await
    }

    /// A report: every key that is active or could be switched on again, what it may do, and when it was last used, in
    /// the order of their creation. For those who may read trails.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "Relay's arguments")]
    async fn access_review(
        &self,
        context: &Context<'_>,
        filter: Option<ReportFilter>,
        #[graphql(
            desc = "Keys that were not used for so many days are unused: 1 to 3650, 90 when left out."
        )]
        unused_days: Option<u32>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<AccessReviewConnection> {
        let slice = Slice { first, after, last, before };
        let filter = filter.unwrap_or_default();
        recorded(context, None, report::access_review(context, &filter, unused_days, slice)).await
    }

    /// A report: every key that is active or could be switched on again and breaks a rule of the policy that holds now,
    /// in the order of their creation. For those who may read trails.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, None, child_complexity)")]
    async fn policy_violations(
        &self,
        context: &Context<'_>,
        filter: Option<ReportFilter>,
        first: Option<i32>,
        after: Option<String>,
    ) -> async_graphql::Result<PolicyViolationConnection> {
        let slice = Slice { first, after, ..Slice::default() };
        let filter = filter.unwrap_or_default();
        recorded(context, None, report::policy_violations(context, &filter, slice)).await
    }
}
