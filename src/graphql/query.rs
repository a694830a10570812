//! Queries.

use async_graphql::{Context, ID, Object};
use keyledger_projections::KeyStatus;
use keyledger_schema::grant::{Place, Right};
use keyledger_schema::{IdentityId, KeyId, OrganizationId, RoleId, WorkspaceId};

use super::QUERY_COST;
use super::answer::{has_code, page_failed, parties, query_failed, recorded};
use super::completeness::{self, CompletenessProof};
use super::connection::{
    self, AccessReviewConnection, ConsequenceConnection, EventConnection, IdentityConnection,
    KeyActivityConnection, KeyConnection, OrganizationConnection, PolicyViolationConnection, Slice,
    VerificationConnection, WorkspaceConnection,
};
use super::consequence::consequences;
use super::event::EventNode;
use super::export::{self, ExportUrl, ExportUrlInput};
use super::identity::IdentityNode;
use super::input::{self, EventFilter, KeyFilter, KeyOrder};
use super::key::KeyNode;
use super::node::Node;
use super::report::{self, KeyAction, ReportFilter};
use super::role::RoleNode;
use super::scalar::{DateTime, Granularity, KeyOrderField, Long, OrderDirection, UsageDimension};
use super::simulation::{self, SimulatedChange, Simulation};
use super::tenant::{OrganizationNode, Viewer, WorkspaceNode};
use super::trail::{event, events};
use super::transparency::{self, CheckpointNode, ConsistencyProofNode, InclusionProofNode, LogKeyNode};
use super::usage::{self, Frame, UsageFilter, UsageNode};
use super::verification::{self, VerificationFilter};
use crate::asof;
use crate::caller::Caller;
use crate::decisions::limits;
use crate::error::{Code, Error, Result};
use crate::readmodel::{IdentityQuery, Item, KeyQuery, KeySort, Sequence};
use crate::secret::WellFormed;
use crate::service::Service;
use crate::service::analytics::Selection;
use crate::service::keys::place_of;

/// The service and the caller, with errors of the domain.
pub(super) fn asked<'a>(context: &Context<'a>) -> Result<(&'a Service, &'a Caller)> {
    parties(context).map_err(|_| Error::internal())
}

/// A key that the caller may read; every other key does not exist.
pub(super) async fn key(context: &Context<'_>, text: &str) -> Result<KeyNode> {
    let (service, caller) = asked(context)?;
    let id: KeyId = input::id("id", text)?;
    let row = service.read_model().key(id).await.map_err(|error| query_failed(&error))?;
    row.filter(|row| service.may(caller, Right::ReadKeys, place_of(&row.state)))
        .map(KeyNode::from)
        .ok_or_else(|| Error::not_found("id", "key"))
}

/// The caller's own key, if it may read keys.
pub(super) async fn own_key(context: &Context<'_>) -> async_graphql::Result<Option<KeyNode>> {
    let (_, caller) = parties(context)?;
    Ok(key(context, &caller.key.to_string()).await.ok())
}

fn workspace(context: &Context<'_>, text: &str) -> Result<WorkspaceNode> {
    let (service, caller) = asked(context)?;
    let id: WorkspaceId = input::id("id", text)?;
    service
        .tenants()
        .workspace(id)
        .filter(|workspace| {
            let place = Place { organization: workspace.organization, workspace: Some(id) };
            service.may(caller, Right::ReadKeys, place)
        })
        .map(WorkspaceNode::new)
        .ok_or_else(|| Error::not_found("id", "workspace"))
}

fn organization(context: &Context<'_>, id: Option<OrganizationId>) -> Result<OrganizationNode> {
    let (service, caller) = asked(context)?;
    let id = service.organization_in_sight(caller, id, "id")?;
    service.tenants().tenant(id).map(OrganizationNode).ok_or_else(|| Error::not_found("id", "organization"))
}

/// The organizations that the caller may see: its own and those below it, in the order of their creation.
fn organizations(context: &Context<'_>, slice: Slice) -> Result<OrganizationConnection> {
    let (service, caller) = asked(context)?;
    let family = service.tenants().family(caller.organization).into_iter();
    let seen =
        family.filter(|tenant| service.organization_in_sight(caller, Some(tenant.state.id), "id").is_ok());
    let items = seen.map(|tenant| Item { cursor: tenant.state.id.to_string(), node: tenant }).collect();
    Ok(OrganizationConnection::new(connection::cut(items, &slice.window()?)?, OrganizationNode))
}

/// The roles of an organization, by name, for those who may read keys anywhere in it.
pub(super) fn roles(context: &Context<'_>, organization: OrganizationId) -> Result<Vec<RoleNode>> {
    let (service, caller) = asked(context)?;
    service.sight(caller, Right::ReadKeys, organization)?;
    let state = service.tenants().organization(organization).ok_or_else(Error::internal)?;
    let mut roles: Vec<RoleNode> =
        state.roles.values().map(|role| RoleNode { organization, state: role.clone() }).collect();
    roles.sort_by_cached_key(|role| role.state.definition.name.to_lowercase());
    Ok(roles)
}

fn role(context: &Context<'_>, text: &str) -> Result<RoleNode> {
    let (service, caller) = asked(context)?;
    let id: RoleId = input::id("id", text)?;
    let family = service.tenants().family(caller.organization);
    let found = family.iter().find_map(|tenant| Some((tenant.state.id, tenant.state.roles.get(&id)?)));
    found
        .filter(|(organization, _)| service.sight(caller, Right::ReadKeys, *organization).is_ok())
        .map(|(organization, state)| RoleNode { organization, state: state.clone() })
        .ok_or_else(|| Error::not_found("id", "role"))
}

/// An identity of an organization in which the caller may read keys; every other identity does not exist.
async fn identity_of(context: &Context<'_>, id: IdentityId, field: &'static str) -> Result<IdentityNode> {
    let (service, caller) = asked(context)?;
    let state = service.read_model().identity(id).await.map_err(|error| query_failed(&error))?;
    state
        .filter(|state| service.sight(caller, Right::ReadKeys, state.organization).is_ok())
        .map(IdentityNode::now)
        .ok_or_else(|| Error::not_found(field, "identity"))
}

async fn identity(
    context: &Context<'_>,
    id: Option<&ID>,
    external_id: Option<&str>,
    organization: Option<&ID>,
) -> Result<IdentityNode> {
    match (id, external_id) {
        (Some(id), None) if organization.is_none() => identity_of(context, input::id("id", id)?, "id").await,
        (Some(_), None) => {
            Err(Error::invalid("organizationId", "an id says enough; leave the organization out"))
        }
        (None, Some(external_id)) => {
            let organization = organization_id(context, organization, "organizationId")?;
            let external_id = limits::external_id("externalId", external_id)?;
            let id = asked(context)?.0.identity_id(organization, &external_id);
            let found = identity_of(context, id, "externalId").await?;
            // Nothing leads from the external id to the one who had it.
            if found.is_erased() {
                return Err(Error::not_found("externalId", "identity"));
            }
            Ok(found)
        }
        _ => Err(Error::invalid("id", "name exactly one of id and externalId")),
    }
}

/// The identities of an organization, for those who may read keys anywhere in it.
async fn identities(
    context: &Context<'_>,
    organization: OrganizationId,
    search: Option<String>,
    slice: Slice,
) -> Result<IdentityConnection> {
    let (service, caller) = asked(context)?;
    service.sight(caller, Right::ReadKeys, organization)?;
    let search = search.filter(|text| !text.is_empty());
    let query = IdentityQuery {
        organization,
        search: search
            .map(|text| limits::external_id("search", text.trim()).map(String::from))
            .transpose()?,
        window: slice.window()?,
        count: context.look_ahead().field("totalCount").exists(),
    };
    let backward = query.window.is_backward();
    let page = service.read_model().identities(query).await.map_err(|error| page_failed(&error, backward))?;
    Ok(IdentityConnection::new(page, IdentityNode::now))
}

/// The workspaces of an organization that the caller may see, in the order of their creation.
pub(super) async fn workspaces(
    context: &Context<'_>,
    organization: OrganizationId,
    slice: Slice,
) -> Result<WorkspaceConnection> {
    let (service, caller) = asked(context)?;
    let sight = service.sight(caller, Right::ReadKeys, organization)?;
    let all = service.tenants().workspaces(organization);
    let seen =
        all.into_iter().filter(|workspace| sight.as_ref().is_none_or(|ids| ids.contains(&workspace.id)));
    let items = seen.map(|workspace| Item { cursor: workspace.id.to_string(), node: workspace }).collect();
    Ok(WorkspaceConnection::new(connection::cut(items, &slice.window()?)?, WorkspaceNode::new))
}

pub(super) async fn keys(
    context: &Context<'_>,
    filter: KeyFilter,
    order: Option<KeyOrder>,
    slice: Slice,
) -> Result<KeyConnection> {
    let (service, caller) = asked(context)?;
    let statuses = filter.statuses.map_or_else(
        || vec![KeyStatus::Active],
        |statuses| statuses.into_iter().map(KeyStatus::from).collect(),
    );
    let text = |field: &'static str, text: Option<String>| {
        let text = text.filter(|text| !text.trim().is_empty());
        text.map(|text| limits::name(field, &text).map(String::from)).transpose()
    };
    let sequence = |direction| match direction {
        OrderDirection::Asc => Sequence::Ascending,
        OrderDirection::Desc => Sequence::Descending,
    };
    let order = order.map_or(
        crate::readmodel::KeyOrder { by: KeySort::CreatedAt, sequence: Sequence::Descending },
        |order| crate::readmodel::KeyOrder {
            by: match order.field {
                KeyOrderField::CreatedAt => KeySort::CreatedAt,
                KeyOrderField::Name => KeySort::Name,
                KeyOrderField::ExpiresAt => KeySort::ExpiresAt,
                KeyOrderField::LastUsedAt => KeySort::LastUsedAt,
            },
            sequence: sequence(order.direction),
        },
    );
    let workspace = filter.workspace_id.map(|id| input::id("filter.workspaceId", &id)).transpose()?;
    let named = filter.organization_id.map(|id| input::id("filter.organizationId", &id)).transpose()?;
    let fields = ("filter.organizationId", "filter.workspaceId");
    let organization = service.organization_of_list(caller, named, workspace, fields)?;
    let query = KeyQuery {
        organization,
        workspaces: service.sight(caller, Right::ReadKeys, organization)?,
        workspace,
        statuses,
        environment: filter.environment.map(Into::into),
        search: text("filter.search", filter.search)?.map(shown_of_secret),
        name_contains: text("filter.nameContains", filter.name_contains)?,
        created_by: filter.created_by.map(|id| input::id("filter.createdBy", &id)).transpose()?,
        created_before: filter.created_before.map(|at| at.0),
        role: filter.role_id.map(|id| input::id("filter.roleId", &id)).transpose()?,
        identity: filter.identity_id.map(|id| input::id("filter.identityId", &id)).transpose()?,
        secret_issued: None,
        created_after: filter.created_after.map(|at| at.0),
        expires_before: filter.expires_before.map(|at| at.0),
        unused_since: filter.unused_since.map(|at| at.0),
        unacknowledged: filter.secret_acknowledged.map(|acknowledged| !acknowledged),
        order,
        window: slice.window()?,
        now: service.now(),
        count: context.look_ahead().field("totalCount").exists(),
    };
    let backward = query.window.is_backward();
    let page = service.read_model().keys(query).await.map_err(|error| page_failed(&error, backward))?;
    Ok(KeyConnection::new(page, KeyNode::from))
}

/// A whole secret is searched for by what lists show of it: it must not be kept, and its hash is not searched.
fn shown_of_secret(text: String) -> String {
    WellFormed::parse(&text).map(|secret| secret.hint().to_owned()).unwrap_or(text)
}

/// An organization that the caller may know of; its own when none is named.
pub(super) fn organization_id(
    context: &Context<'_>,
    id: Option<&ID>,
    field: &'static str,
) -> Result<OrganizationId> {
    let (service, caller) = asked(context)?;
    let id = id.map(|id| input::id(field, id)).transpose()?;
    service.organization_in_sight(caller, id, field)
}

async fn node(context: &Context<'_>, id: &str) -> Result<Node> {
    let (kind, _) = id.split_once('_').unwrap_or_default();
    match kind {
        "key" => key(context, id).await.map(Node::Key),
        "idn" => identity_of(context, input::id("id", id)?, "id").await.map(Node::Identity),
        "evt" => event(context, id).await.map(Node::Event),
        "ws" => workspace(context, id).map(Node::Workspace),
        "role" => role(context, id).map(Node::Role),
        "org" => input::id("id", id).and_then(|id| organization(context, Some(id))).map(Node::Organization),
        _ => {
            let message = "an id starts with what it names: key_, idn_, evt_, role_, ws_ or org_";
            Err(Error::invalid("id", message))
        }
    }
}

/// Everything that can be asked.
pub(crate) struct Query;

#[Object]
impl Query {
    /// The caller.
    async fn viewer(&self) -> Viewer {
        Viewer
    }

    /// An organization that the caller may see; its own when none is named.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn organization(
        &self,
        context: &Context<'_>,
        id: Option<ID>,
    ) -> async_graphql::Result<OrganizationNode> {
        let run = async {
            let id = id.as_deref().map(|id| input::id("id", id)).transpose()?;
            organization(context, id)
        };
        recorded(context, id.as_deref().map(String::as_str), run).await
    }

    /// The caller's organization and those below it.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    async fn organizations(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<OrganizationConnection> {
        recorded(context, None, async { organizations(context, Slice { first, after, last, before }) }).await
    }

    /// A role.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn role(&self, context: &Context<'_>, id: ID) -> async_graphql::Result<RoleNode> {
        recorded(context, Some(&id), async { role(context, &id) }).await
    }

    /// The roles of an organization, by name: of the caller's own when none is named.
    #[graphql(complexity = "QUERY_COST + limits::MAX_ROLES * child_complexity")]
    async fn roles(
        &self,
        context: &Context<'_>,
        organization_id: Option<ID>,
    ) -> async_graphql::Result<Vec<RoleNode>> {
        let run = async {
            let id = self::organization_id(context, organization_id.as_ref(), "organizationId")?;
            roles(context, id)
        };
        recorded(context, organization_id.as_deref().map(String::as_str), run).await
    }

    /// A workspace that the caller may see.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn workspace(&self, context: &Context<'_>, id: ID) -> async_graphql::Result<WorkspaceNode> {
        recorded(context, Some(&id), async { workspace(context, &id) }).await
    }

    /// The workspaces of an organization that the caller may see: of its own when none is named.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    async fn workspaces(
        &self,
        context: &Context<'_>,
        organization_id: Option<ID>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<WorkspaceConnection> {
        let run = async {
            let id = self::organization_id(context, organization_id.as_ref(), "organizationId")?;
            workspaces(context, id, Slice { first, after, last, before }).await
        };
        recorded(context, organization_id.as_deref().map(String::as_str), run).await
    }

    /// A key; as it was at a moment that has passed, for those who may read trails. Null when it did not exist yet.
    #[graphql(complexity = "if as_of.is_some() { 10 } else { 1 } * QUERY_COST + child_complexity")]
    async fn key(
        &self,
        context: &Context<'_>,
        id: ID,
        #[graphql(
            desc = "With all that it depended on then, such as its roles and its organization's policy."
        )]
        as_of: Option<DateTime>,
    ) -> async_graphql::Result<Option<KeyNode>> {
        let run = async {
            let Some(moment) = as_of else { return key(context, &id).await.map(Some) };
            let (service, caller) = asked(context)?;
            let then = asof::key(service, caller, input::id("id", &id)?, moment.0).await?;
            Ok(then.map(KeyNode::of_then))
        };
        recorded(context, Some(&id), run).await
    }

    /// The keys that the caller may see: active ones, newest first, unless asked otherwise.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "Relay's arguments")]
    async fn keys(
        &self,
        context: &Context<'_>,
        filter: Option<KeyFilter>,
        order_by: Option<KeyOrder>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<KeyConnection> {
        let slice = Slice { first, after, last, before };
        recorded(context, None, keys(context, filter.unwrap_or_default(), order_by, slice)).await
    }

    /// An identity: by its id, or by its external id in an organization, the caller's own when none is named.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn identity(
        &self,
        context: &Context<'_>,
        id: Option<ID>,
        external_id: Option<String>,
        organization_id: Option<ID>,
    ) -> async_graphql::Result<IdentityNode> {
        let run = identity(context, id.as_ref(), external_id.as_deref(), organization_id.as_ref());
        recorded(context, id.as_deref().map(String::as_str), run).await
    }

    /// The identities of an organization by their external ids: of the caller's own when none is named. Those that were
    /// deleted are not among them.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "Relay's arguments")]
    async fn identities(
        &self,
        context: &Context<'_>,
        organization_id: Option<ID>,
        #[graphql(desc = "The start of the external id, or of the name without regard to case.")]
        search: Option<String>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<IdentityConnection> {
        let run = async {
            let id = self::organization_id(context, organization_id.as_ref(), "organizationId")?;
            identities(context, id, search, Slice { first, after, last, before }).await
        };
        recorded(context, organization_id.as_deref().map(String::as_str), run).await
    }

    /// An event that the caller may see.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn event(&self, context: &Context<'_>, id: ID) -> async_graphql::Result<EventNode> {
        recorded(context, Some(&id), event(context, &id)).await
    }

    /// The events that the caller may see, oldest first unless asked otherwise.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "Relay's arguments")]
    async fn events(
        &self,
        context: &Context<'_>,
        filter: Option<EventFilter>,
        #[graphql(default)] direction: OrderDirection,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<EventConnection> {
        let slice = Slice { first, after, last, before };
        recorded(context, None, events(context, filter.unwrap_or_default(), direction, slice)).await
    }

    /// Where a stream ended, proved under a commitment that is in the log: whoever holds its events up to that one
    /// holds all of them. Commits the ends of all streams first. For those who may read that trail.
    #[graphql(complexity = "QUERY_COST + completeness::COST + child_complexity")]
    async fn completeness_proof(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The stream's name, as events show it.")] stream: Option<String>,
        #[graphql(desc = "Or the key whose stream is meant.")] key_id: Option<ID>,
    ) -> async_graphql::Result<CompletenessProof> {
        let run = async {
            let named = completeness::stream(stream.as_deref(), key_id.as_ref())?;
            completeness::proved(context, named, key_id.is_some()).await
        };
        recorded(context, key_id.as_deref().map(String::as_str), run).await
    }

    /// All that a key did and that came of it, or that came of one event, oldest first: what the key itself did, what the
    /// keys did that it issued, directly or through others, and what an event of one of them led to. Only
    /// what the caller may see.
    #[graphql(complexity = "10 * QUERY_COST + connection::cost(first, last, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "Relay's arguments")]
    async fn consequences(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Of this key. Name this or eventId.")] actor_id: Option<ID>,
        #[graphql(desc = "Of this event; of the key that it issued, too, if it issued one.")]
        event_id: Option<ID>,
        #[graphql(desc = "Over how many generations keys are followed: 0 to 16, all 16 when left out.")]
        depth: Option<i32>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<ConsequenceConnection> {
        let slice = Slice { first, after, last, before };
        let run = consequences(context, actor_id.as_ref(), event_id.as_ref(), depth, slice);
        let target = actor_id.as_deref().or(event_id.as_deref());
        recorded(context, target.map(String::as_str), run).await
    }

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

    /// Whatever has this id; null when there is no such thing here, as Relay's specification has it.
    #[graphql(complexity = "QUERY_COST + child_complexity")]
    async fn node(&self, context: &Context<'_>, id: ID) -> async_graphql::Result<Option<Node>> {
        match recorded(context, Some(&id), node(context, &id)).await {
            Err(error) if has_code(&error, Code::NotFound) => Ok(None),
            found => found.map(Some),
        }
    }
}
