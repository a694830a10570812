//! How often keys were verified.

use std::net::IpAddr;

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use keyledger_schema as domain;

use super::answer::{parties, query_failed, refusal};
use super::input::id;
use super::query::asked;
use super::scalar::{
    Action, DateTime, Environment, Granularity, Long, Means, UsageDimension, VerificationCode,
};
use crate::decisions::limits;
use crate::error::{Error, Result};
use crate::service::analytics::{
    self, Counts, DimensionValue, MAX_DIMENSIONS, MAX_GROUPS, MAX_KEYS, Selection, Spelling, UsageAsked,
    UsageGroup,
};
use crate::service::exports::text_of;

/// Which verifications. Conditions add up.
#[derive(InputObject, Clone, Debug, Default)]
pub(crate) struct UsageFilter {
    /// Of keys in this workspace.
    workspace_id: Option<ID>,
    /// Of keys for this environment.
    environment: Option<Environment>,
    /// Of one of these keys: 1 to 100.
    key_ids: Option<Vec<ID>>,
    /// Of keys that have this identity now.
    identity_id: Option<ID>,
    /// Of keys that hold this role now.
    role_id: Option<ID>,
    /// Answered with one of these.
    outcomes: Option<Vec<VerificationCode>>,
    /// About this action.
    action: Option<Action>,
    /// By this means: a secret that was exchanged for a token, or a token that was presented.
    means: Option<Means>,
    /// With this tag. Not together with an address.
    tag: Option<String>,
    /// From this address; for those who may read trails.
    address: Option<String>,
}

/// The items of a list; all are meant where it is left out. An empty one would mean none.
fn named<T>(field: &'static str, list: Option<Vec<T>>) -> Result<Vec<T>> {
    if list.as_ref().is_some_and(Vec::is_empty) {
        return Err(Error::invalid(field, "the list is empty; name at least one, or leave it out for all"));
    }
    Ok(list.unwrap_or_default())
}

/// A list of outcomes without repetitions.
pub(super) fn outcomes(list: Option<Vec<VerificationCode>>) -> Result<Vec<domain::VerificationCode>> {
    let list = named("filter.outcomes", list)?;
    limits::at_most("filter.outcomes", "outcomes", list.len(), domain::VerificationCode::ALL.len())?;
    let mut outcomes: Vec<domain::VerificationCode> = list.into_iter().map(Into::into).collect();
    outcomes.sort_unstable();
    outcomes.dedup();
    Ok(outcomes)
}

/// An address without port or network.
pub(super) fn address(text: Option<&str>) -> Result<Option<IpAddr>> {
    let parsed = text.map(str::parse::<IpAddr>).transpose();
    let parsed = parsed.map_err(|_| {
        let message = "an address is written like 203.0.113.7 or 2001:db8::7, without a port";
        Error::invalid("filter.address", message)
    })?;
    Ok(parsed.map(|address| address.to_canonical()))
}

impl UsageFilter {
    pub(super) fn check(self) -> Result<analytics::UsageFilter> {
        let keys = named("filter.keyIds", self.key_ids)?;
        limits::at_most("filter.keyIds", "keys", keys.len(), MAX_KEYS)?;
        Ok(analytics::UsageFilter {
            sight: None,
            workspace: self.workspace_id.map(|text| id("filter.workspaceId", &text)).transpose()?,
            environment: self.environment.map(Into::into),
            keys: keys.iter().map(|text| id("filter.keyIds", text)).collect::<Result<_>>()?,
            identity: self.identity_id.map(|text| id("filter.identityId", &text)).transpose()?,
            role: self.role_id.map(|text| id("filter.roleId", &text)).transpose()?,
            outcomes: outcomes(self.outcomes)?,
            action: self.action.map(Into::into),
            means: self.means.map(Into::into),
            tag: self.tag.map(Into::into),
            address: address(self.address.as_deref())?,
        })
    }
}

/// Of when, and told apart how.
pub(super) struct Frame {
    pub(super) from: DateTime,
    pub(super) to: DateTime,
    pub(super) granularity: Granularity,
    pub(super) group_by: Vec<UsageDimension>,
    pub(super) top: i32,
    pub(super) time_zone: String,
}

/// What counting costs, for the whole and for each dimension: it may look at millions of numbers.
const COUNTING_COST: usize = 500;

/// What an answer costs: counting, and what is selected, once for each group that there can be.
pub(super) fn cost(group_by: &[UsageDimension], top: i32, child: usize) -> usize {
    let groups = usize::try_from(top).unwrap_or(0).min(MAX_GROUPS);
    let counting = COUNTING_COST * (1 + group_by.len().min(MAX_DIMENSIONS));
    counting + child * (1 + if group_by.is_empty() { 0 } else { groups })
}

/// Asks, with series only where they are selected.
pub(super) async fn answered(context: &Context<'_>, selection: Selection, frame: Frame) -> Result<UsageNode> {
    let (service, caller) = asked(context)?;
    let zone = analytics::zone("timeZone", &frame.time_zone)?;
    let ahead = context.look_ahead();
    let top = usize::try_from(frame.top)
        .map_err(|_| Error::invalid("top", format!("top is 1 to {MAX_GROUPS}, not {}", frame.top)))?;
    let asked = UsageAsked {
        selection,
        from: frame.from.0,
        to: frame.to.0,
        granularity: frame.granularity.into(),
        zone,
        group_by: frame.group_by.into_iter().map(Into::into).collect(),
        top,
        series: ahead.field("series").exists() || ahead.field("buckets").exists(),
        group_series: ahead.field("groups").field("series").exists(),
    };
    let answer = service.usage(caller, asked, Spelling::GraphQl).await?;
    Ok(UsageNode {
        from: DateTime(answer.from),
        to: DateTime(answer.to),
        time_zone: zone.name().to_owned(),
        buckets: answer.buckets.into_iter().map(DateTime).collect(),
        totals: answer.totals.into(),
        series: answer.series.into_iter().map(Into::into).collect(),
        groups: answer.groups.into_iter().map(Into::into).collect(),
        other_groups: Long(answer.other_groups),
        others: answer.others.into(),
        incomplete: answer
            .incomplete
            .iter()
            .map(|gap| IncompleteNode { from: DateTime(gap.from), to: DateTime(gap.to) })
            .collect(),
        through: answer.through.map(DateTime),
    })
}

/// How often.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "UsageCounts")]
pub(crate) struct CountsNode {
    /// Verifications.
    verifications: Long,
    /// Of these, answered `VALID`.
    valid: Long,
    /// Of these, answered otherwise.
    refused: Long,
    /// Credits that they spent, those of keys and those of identities together.
    credits: Long,
}

impl From<Counts> for CountsNode {
    fn from(counts: Counts) -> Self {
        Self {
            verifications: Long(counts.verifications),
            valid: Long(counts.valid),
            refused: Long(counts.verifications.saturating_sub(counts.valid)),
            credits: Long(counts.credits),
        }
    }
}

/// A stretch of time of which verifications may be missing: a node that answers before it records stopped without
/// warning.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "UsageIncomplete")]
pub(crate) struct IncompleteNode {
    /// Its start.
    from: DateTime,
    /// Its end.
    to: DateTime,
}

/// How often keys were verified in a stretch of time.
#[derive(SimpleObject, Clone)]
#[graphql(name = "Usage")]
pub(crate) struct UsageNode {
    /// The start of the first bucket.
    from: DateTime,
    /// The end of the last bucket.
    to: DateTime,
    /// Whose days and months.
    time_zone: String,
    /// The starts of all buckets, without a gap.
    buckets: Vec<DateTime>,
    /// Of all verifications that the filter lets through.
    totals: CountsNode,
    /// The same, one for each bucket.
    series: Vec<CountsNode>,
    /// One for each combination of values, largest first. By role and by tag a verification can count in several.
    groups: Vec<UsageGroupNode>,
    /// How many groups there are besides.
    other_groups: Long,
    /// What these count together.
    others: CountsNode,
    /// Stretches within the time of which verifications may be missing.
    incomplete: Vec<IncompleteNode>,
    /// Verifications that were recorded until then are counted; null if there are none at all.
    through: Option<DateTime>,
}

/// Verifications that have the same values.
#[derive(SimpleObject, Clone)]
#[graphql(name = "UsageGroup")]
pub(crate) struct UsageGroupNode {
    /// In the order of `groupBy`.
    values: Vec<UsageValueNode>,
    /// Over the whole time.
    totals: CountsNode,
    /// One for each bucket.
    series: Vec<CountsNode>,
}

impl From<UsageGroup> for UsageGroupNode {
    fn from(group: UsageGroup) -> Self {
        Self {
            values: group.values.into_iter().map(UsageValueNode).collect(),
            totals: group.totals.into(),
            series: group.series.into_iter().map(Into::into).collect(),
        }
    }
}

/// A value of a dimension.
#[derive(Clone)]
pub(crate) struct UsageValueNode(DimensionValue);

impl UsageValueNode {
    const fn has_id(&self) -> bool {
        matches!(
            self.0,
            DimensionValue::Organization(_)
                | DimensionValue::Workspace(_)
                | DimensionValue::Key(_)
                | DimensionValue::Identity(_)
                | DimensionValue::Role(_)
        )
    }
}

/// A value of a dimension. Without id and value it stands for those that have none: no key, no tag, no action, no
/// means but the secret.
#[Object(name = "UsageValue")]
impl UsageValueNode {
    /// Of which dimension.
    async fn dimension(&self) -> UsageDimension {
        match self.0 {
            DimensionValue::Organization(_) => UsageDimension::Organization,
            DimensionValue::Workspace(_) => UsageDimension::Workspace,
            DimensionValue::Environment(_) => UsageDimension::Environment,
            DimensionValue::Key(_) => UsageDimension::Key,
            DimensionValue::Identity(_) => UsageDimension::Identity,
            DimensionValue::Role(_) => UsageDimension::Role,
            DimensionValue::Outcome(_) => UsageDimension::Outcome,
            DimensionValue::Action(_) => UsageDimension::Action,
            DimensionValue::Means(_) => UsageDimension::Means,
            DimensionValue::Tag(_) => UsageDimension::Tag,
            DimensionValue::Address(_) => UsageDimension::Address,
        }
    }

    /// The id of an organization, a workspace, a key, an identity or a role.
    async fn id(&self) -> Option<ID> {
        self.has_id().then(|| text_of(&self.0)).flatten().map(ID::from)
    }

    /// How it is called now, if it has an id.
    #[graphql(complexity = 2)]
    async fn name(&self, context: &Context<'_>) -> async_graphql::Result<Option<String>> {
        let (service, caller) = parties(context)?;
        let failed = |error| refusal(&query_failed(&error));
        Ok(match &self.0 {
            DimensionValue::Organization(id) => {
                service.tenants().organization(*id).map(|state| state.name.to_string())
            }
            DimensionValue::Workspace(Some(id)) => {
                service.tenants().workspace(*id).map(|state| state.name.to_string())
            }
            DimensionValue::Key(Some(id)) => {
                let row = service.read_model().key(*id).await.map_err(failed)?;
                row.map(|row| row.state.name.to_string())
            }
            DimensionValue::Identity(Some(id)) => {
                let state = service.read_model().identity(*id).await.map_err(failed)?;
                state.map(|state| state.name.as_ref().unwrap_or(&state.external_id).to_string())
            }
            DimensionValue::Role(Some(id)) => {
                let family = service.tenants().family(caller.organization);
                let role = family.iter().find_map(|tenant| tenant.state.roles.get(id));
                role.map(|role| role.definition.name.to_string())
            }
            _ => None,
        })
    }

    /// Anything else: an environment, an outcome, an action or means as enumerations have them, a tag, an address.
    async fn value(&self) -> Option<String> {
        match &self.0 {
            DimensionValue::Environment(_) | DimensionValue::Action(_) | DimensionValue::Means(_) => {
                text_of(&self.0).map(|text| text.to_uppercase())
            }
            _ if self.has_id() => None,
            other => text_of(other),
        }
    }
}
