//! A key as the API shows it.

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, ID, Json, Object, SimpleObject};
use keyledger_projections::key::{KeyState, KeyStatus as DomainStatus};
use keyledger_projections::usage::KeyUsage;
use keyledger_projections::{PoolId, permissions};
use keyledger_schema::{Actor, Scope, Stream, Timestamp};

use super::answer::{parties, query_failed, recorded, refusal};
use super::completeness::{self, CompletenessProof};
use super::connection::{self, EventConnection, Slice, VerificationConnection};
use super::credits::CreditsNode;
use super::identity::IdentityNode;
use super::input::EventFilter;
use super::policy::RateLimitNode;
use super::role::RoleNode;
use super::scalar::{
    Action, ActorKind, DateTime, Environment, GrantRole, Granularity, KeyStatus, Long, OrderDirection,
    RevocationReason, ScopeAction, UsageDimension, VerificationCode,
};
use super::tenant::{GrantNode, OrganizationNode, WorkspaceNode};
use super::usage::{self, Frame, UsageNode};
use super::verification::{self, VerificationFilter};
use super::{QUERY_COST, query, trail};
use crate::asof::{self, Then};
use crate::error::{Code, Error};
use crate::readmodel::KeyRow;
use crate::service::analytics;
use crate::tenants::Tenant;
use crate::verify::decision::Request;

/// A key. Its use is read when it is asked for, unless the row that it came from had it.
#[derive(Clone)]
pub(crate) struct KeyNode {
    state: Arc<KeyState>,
    usage: Usage,
    /// What it stood in, where it is shown as of a moment.
    then: Option<Arc<Then>>,
}

/// What is known of a key's use so far.
#[derive(Clone)]
enum Usage {
    Unread,
    Read(Option<KeyUsage>),
}

impl KeyNode {
    pub(super) fn new(state: KeyState) -> Self {
        Self::shared(Arc::new(state))
    }

    pub(super) fn shared(state: Arc<KeyState>) -> Self {
        Self { state, usage: Usage::Unread, then: None }
    }

    /// As it was at a moment.
    pub(super) fn of_then(then: Then) -> Self {
        Self { state: Arc::clone(&then.key), usage: Usage::Unread, then: Some(Arc::new(then)) }
    }

    fn moment(&self) -> Option<Timestamp> {
        self.then.as_ref().map(|then| then.at)
    }

    /// The moment that status and the like are told of.
    fn as_seen_at(&self, context: &Context<'_>) -> async_graphql::Result<Timestamp> {
        self.moment().map_or_else(|| Ok(parties(context)?.0.now()), Ok)
    }

    /// Its organization and what holds in it, then or now.
    fn tenant(&self, context: &Context<'_>) -> async_graphql::Result<Option<Arc<Tenant>>> {
        match &self.then {
            Some(then) => Ok(then.tenant()),
            None => Ok(parties(context)?.0.tenants().tenant(self.state.organization)),
        }
    }

    async fn usage_of(&self, context: &Context<'_>) -> async_graphql::Result<Option<KeyUsage>> {
        not_then(self.moment(), "use")?;
        if let Usage::Read(usage) = &self.usage {
            return Ok(usage.clone());
        }
        let (service, _) = parties(context)?;
        let row = service.read_model().key(self.state.id).await;
        Ok(row.map_err(|error| refusal(&query_failed(&error)))?.and_then(|row| row.usage))
    }
}

impl From<KeyRow> for KeyNode {
    fn from(row: KeyRow) -> Self {
        Self { state: Arc::new(row.state), usage: Usage::Read(row.usage), then: None }
    }
}

/// Refuses what the log does not tell as of a moment.
pub(super) fn not_then(moment: Option<Timestamp>, what: &str) -> async_graphql::Result<()> {
    if moment.is_none() {
        return Ok(());
    }
    let message = format!(
        "its {what} as of a moment are not known; ask without asOf, or usageReport for a stretch of time"
    );
    Err(refusal(&Error::invalid("asOf", message)))
}

/// An action and a resource filter.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "Scope")]
pub(crate) struct ScopeNode {
    /// Which actions.
    action: ScopeAction,
    /// On which resources; `*` is everything.
    resource: String,
    /// Both as one text: `read:customers/42/**`.
    text: String,
}

impl From<&Scope> for ScopeNode {
    fn from(scope: &Scope) -> Self {
        Self {
            action: scope.action.into(),
            resource: scope.resource.as_str().to_owned(),
            text: scope.to_string(),
        }
    }
}

/// A scope that a key has, by itself or by a role.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct EffectiveScope {
    /// Which actions.
    action: ScopeAction,
    /// On which resources; `*` is everything.
    resource: String,
    /// Both as one text: `read:customers/42/**`.
    text: String,
    /// How the organization calls it.
    display_name: Option<String>,
    /// Whether the key has it by itself.
    own: bool,
    /// The names of the roles that give it.
    by_roles: Vec<String>,
}

impl From<&permissions::Effective> for EffectiveScope {
    fn from(found: &permissions::Effective) -> Self {
        Self {
            action: found.scope.action.into(),
            resource: found.scope.resource.as_str().to_owned(),
            text: found.scope.to_string(),
            display_name: found.display_name.as_deref().map(str::to_owned),
            own: found.own,
            by_roles: found.by_roles.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Who did something.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "Actor", complex)]
pub(crate) struct ActorNode {
    /// What kind.
    kind: ActorKind,
    /// A key's or a node's id; an operator has none.
    id: Option<ID>,
    #[graphql(skip)]
    email: Option<String>,
    /// The address is looked up where it is not kept beside the id.
    #[graphql(skip)]
    known_by_id: bool,
    /// The widest grant that the actor held.
    role: Option<GrantRole>,
}

#[ComplexObject]
impl ActorNode {
    /// A key's address in trails; null once it is erased.
    async fn email(&self, context: &Context<'_>) -> async_graphql::Result<Option<String>> {
        let id = self.id.as_ref().filter(|_| self.known_by_id).and_then(|id| id.parse().ok());
        let Some(id) = id else { return Ok(self.email.clone()) };
        let (service, _) = parties(context)?;
        let row = service.read_model().key(id).await.map_err(|error| refusal(&query_failed(&error)))?;
        Ok(row.filter(|row| row.state.erased_at.is_none()).map(|row| row.state.email.to_string()))
    }
}

impl From<&Actor> for ActorNode {
    fn from(actor: &Actor) -> Self {
        Self {
            kind: actor.kind.into(),
            id: actor.id.as_deref().map(ID::from),
            email: actor.email.as_ref().map(|email| email.to_string()),
            known_by_id: false,
            role: actor.role.map(GrantRole::from),
        }
    }
}

/// How and why a key was revoked.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct Revocation {
    /// When.
    at: DateTime,
    /// Why.
    reason: RevocationReason,
    /// In the actor's words.
    comment: Option<String>,
}

/// The secret before the current one while a rotation overlaps.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct PreviousSecret {
    /// Which of the key's secrets.
    version: u32,
    /// Its start.
    hint: String,
    /// From this moment on it is no longer valid.
    valid_until: DateTime,
}

/// A key's use in numbers. Follows the log with a lag of a second or more under load.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "KeyUsage")]
pub(crate) struct KeyUsageNode {
    /// Verifications that were answered `VALID`.
    valid: Long,
    /// Verifications that were answered otherwise.
    refused: Long,
    /// When it was first used, whatever was answered.
    first_at: DateTime,
    /// What was answered last.
    last_code: VerificationCode,
}

/// A key with an audit trail. It has one secret at a time, or two while a rotation overlaps.
#[Object(name = "Key")]
impl KeyNode {
    /// Its id.
    pub(super) async fn id(&self) -> ID {
        self.state.id.to_string().into()
    }

    /// Its name.
    async fn name(&self) -> &str {
        &self.state.name
    }

    /// The moment that it is shown as of; null for now. Whatever is reached from here is then of that moment, too, where
    /// the documentation of a field does not say otherwise: lists of other things are of now.
    async fn as_of(&self) -> Option<DateTime> {
        self.moment().map(DateTime)
    }

    /// What it is now, or was then.
    async fn status(&self, context: &Context<'_>) -> async_graphql::Result<KeyStatus> {
        Ok(self.state.status(self.as_seen_at(context)?).into())
    }

    /// What a call with its secret would be answered, rate limits and credits apart: now, or at the moment that it is
    /// shown as of. For those who may read trails.
    #[graphql(complexity = "5 * QUERY_COST")]
    async fn would_answer(
        &self,
        context: &Context<'_>,
        action: Option<Action>,
        resource: Option<String>,
        #[graphql(desc = "From this address; a key that is tied to networks is refused without one.")]
        ip: Option<String>,
        environment: Option<Environment>,
    ) -> async_graphql::Result<VerificationCode> {
        let id = self.state.id.to_string();
        let run = async {
            let (service, caller) = query::asked(context)?;
            let action = action.map(|action| keyledger_schema::Action::from(action).to_string());
            let request = Request {
                environment: environment.map(Into::into),
                address: usage::address(ip.as_deref()).map_err(|error| error.about("ip"))?,
                access: Request::access(action.as_deref(), resource.as_deref())?,
            };
            if self.state.erased_at.is_some() {
                let message =
                    "the networks that the key was tied to were erased, so nobody can tell any more";
                return Err(Error::new(Code::IllegalTransition, message).about("id"));
            }
            if let Some(then) = &self.then {
                return Ok(then.answer(&request));
            }
            let now = asof::key(service, caller, self.state.id, service.now()).await?;
            Ok(now.map_or(keyledger_schema::VerificationCode::NotFound, |now| now.answer(&request)))
        };
        recorded(context, Some(&id), run).await.map(Into::into)
    }

    /// Where it may be used. Fixed when it was created.
    async fn environment(&self) -> Environment {
        self.state.environment.into()
    }

    /// The start of its secrets.
    async fn prefix(&self) -> &str {
        &self.state.prefix
    }

    /// Where it lives.
    async fn workspace(&self, context: &Context<'_>) -> async_graphql::Result<Option<WorkspaceNode>> {
        let found = match &self.then {
            Some(then) => then.workspace(),
            None => parties(context)?.0.tenants().workspace(self.state.workspace),
        };
        Ok(found.map(WorkspaceNode::new))
    }

    /// Its tenant.
    async fn organization(&self, context: &Context<'_>) -> async_graphql::Result<Option<OrganizationNode>> {
        Ok(self.tenant(context)?.map(OrganizationNode))
    }

    /// What its holder may do in your API, by its own scopes.
    async fn scopes(&self) -> Vec<ScopeNode> {
        self.state.scopes.iter().map(ScopeNode::from).collect()
    }

    /// The roles that it holds, by name.
    #[graphql(complexity = "1 + 8 * child_complexity")]
    async fn roles(&self, context: &Context<'_>) -> async_graphql::Result<Vec<RoleNode>> {
        let tenant = self.tenant(context)?;
        let mut roles: Vec<RoleNode> = self
            .state
            .roles
            .iter()
            .filter_map(|id| tenant.as_ref()?.state.roles.get(id))
            .map(|state| RoleNode { organization: self.state.organization, state: state.clone() })
            .collect();
        roles.sort_by_cached_key(|role| role.state.definition.name.to_lowercase());
        Ok(roles)
    }

    /// All that its holder may do in your API: its own scopes and those of its roles, each once.
    #[graphql(complexity = "1 + 16 * child_complexity")]
    async fn effective_scopes(&self, context: &Context<'_>) -> async_graphql::Result<Vec<EffectiveScope>> {
        let tenant = self.tenant(context)?;
        let Some(tenant) = tenant else { return Ok(Vec::new()) };
        let found = permissions::effective(&self.state, &tenant.state.roles, &tenant.scope_names);
        Ok(found.iter().map(EffectiveScope::from).collect())
    }

    /// What its holder may do, in the words that the organization has for it: the display names of roles and
    /// scopes where there are such, and scopes as text where there are none.
    async fn permission_summary(&self, context: &Context<'_>) -> async_graphql::Result<Vec<String>> {
        let tenant = self.tenant(context)?;
        let Some(tenant) = tenant else { return Ok(Vec::new()) };
        Ok(permissions::summary(&self.state, &tenant.state.roles, &tenant.scope_names))
    }

    /// How often it may be used.
    async fn rate_limits(&self) -> Vec<RateLimitNode> {
        self.state.rate_limits.iter().map(RateLimitNode::from).collect()
    }

    /// Whose it is, where it is somebody's of your own: it shares the rate limits and the credits of its identity.
    async fn identity(&self, context: &Context<'_>) -> async_graphql::Result<Option<IdentityNode>> {
        if let Some(then) = &self.then {
            return Ok(then.identity.clone().map(|state| IdentityNode::at(state, then.at)));
        }
        let Some(id) = self.state.identity else { return Ok(None) };
        let found = parties(context)?.0.read_model().identity(id).await;
        let found = found.map_err(|error| refusal(&query_failed(&error)))?;
        Ok(found.filter(|state| state.organization == self.state.organization).map(IdentityNode::now))
    }

    /// The credits of its own; null while they are unlimited, and once it is deleted. Those of its identity come on top.
    /// Refused for a key as of a moment.
    async fn credits(&self, context: &Context<'_>) -> async_graphql::Result<Option<CreditsNode>> {
        not_then(self.moment(), "credits")?;
        if self.state.credits.is_none() {
            return Ok(None);
        }
        let (service, _) = parties(context)?;
        Ok(CreditsNode::of(service.balance(PoolId::Key(self.state.id)), service.now()))
    }

    /// Whether its present secret was brought from elsewhere.
    async fn imported(&self) -> bool {
        self.state.imported.is_some()
    }

    /// When somebody last reported that its secret was found.
    async fn leak_reported_at(&self) -> Option<DateTime> {
        self.state.leak_reported_at.map(DateTime)
    }

    /// When all tokens that it had been exchanged for were last revoked.
    async fn tokens_revoked_until(&self) -> Option<DateTime> {
        self.state.revoked_tokens.until.map(DateTime)
    }

    /// What it may do in Keyledger itself.
    async fn grants(&self) -> Vec<GrantNode> {
        self.state.grants.iter().map(GrantNode::from).collect()
    }

    /// Addresses it may be used from; everywhere when empty.
    async fn allowed_cidrs(&self) -> Vec<String> {
        self.state.allowed_cidrs.iter().map(ToString::to_string).collect()
    }

    /// Your own.
    #[graphql(name = "metadata")]
    async fn metadata(&self) -> Json<serde_json::Value> {
        Json(self.state.metadata.to_value())
    }

    /// Its address in trails.
    async fn email(&self) -> &str {
        &self.state.email
    }

    /// The start of its current secret.
    async fn secret_hint(&self) -> &str {
        &self.state.secret.record.hint
    }

    /// 1 for its first secret, one more with each rotation.
    async fn secret_version(&self) -> u32 {
        self.state.secret.record.version
    }

    /// When its current secret was made.
    async fn secret_issued_at(&self) -> DateTime {
        DateTime(self.state.secret.issued_at)
    }

    /// When its current secret was acknowledged as copied.
    async fn secret_acknowledged_at(&self) -> Option<DateTime> {
        self.state.secret.acknowledged_at.map(DateTime)
    }

    /// The secret before the current one while a rotation overlaps.
    async fn previous_secret(&self, context: &Context<'_>) -> async_graphql::Result<Option<PreviousSecret>> {
        let now = self.as_seen_at(context)?;
        if !matches!(self.state.status(now), DomainStatus::Active | DomainStatus::Inactive) {
            return Ok(None);
        }
        let previous = self.state.previous_secret.as_ref().filter(|previous| previous.valid_until > now);
        Ok(previous.map(|previous| PreviousSecret {
            version: previous.record.version,
            hint: previous.record.hint.to_string(),
            valid_until: DateTime(previous.valid_until),
        }))
    }

    /// From this moment on it is expired; null for never.
    async fn expires_at(&self) -> Option<DateTime> {
        self.state.expires_at.map(DateTime)
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime {
        DateTime(self.state.created_at)
    }

    /// By whom.
    async fn created_by(&self) -> ActorNode {
        ActorNode { known_by_id: true, ..(&self.state.created_by).into() }
    }

    /// When something about it was last changed.
    async fn updated_at(&self) -> DateTime {
        DateTime(self.state.updated_at)
    }

    /// How and why it was revoked.
    async fn revocation(&self) -> Option<Revocation> {
        let revoked = self.state.revoked.as_ref()?;
        Some(Revocation {
            at: DateTime(revoked.at),
            reason: revoked.reason.into(),
            comment: revoked.comment.as_ref().map(|comment| comment.to_string()),
        })
    }

    /// When it was deleted.
    async fn deleted_at(&self) -> Option<DateTime> {
        self.state.deleted_at.map(DateTime)
    }

    /// When its personal data was erased.
    async fn erased_at(&self) -> Option<DateTime> {
        self.state.erased_at.map(DateTime)
    }

    /// The id of the key that it was made from.
    async fn cloned_from(&self) -> Option<ID> {
        self.state.cloned_from.map(|id| id.to_string().into())
    }

    /// Revision of its last event.
    async fn revision(&self) -> u64 {
        self.state.revision
    }

    /// When it was first used, whatever was answered; null for never. Refused for a key as of a moment.
    async fn first_used_at(&self, context: &Context<'_>) -> async_graphql::Result<Option<DateTime>> {
        Ok(self.usage_of(context).await?.map(|usage| DateTime(usage.first_at)))
    }

    /// When it was last used, whatever was answered; null for never. Refused for a key as of a moment.
    async fn last_used_at(&self, context: &Context<'_>) -> async_graphql::Result<Option<DateTime>> {
        Ok(self.usage_of(context).await?.map(|usage| DateTime(usage.last_at)))
    }

    /// From where it was last used, if that is known. Refused for a key as of a moment.
    async fn last_used_ip(&self, context: &Context<'_>) -> async_graphql::Result<Option<String>> {
        Ok(self.usage_of(context).await?.and_then(|usage| usage.last_ip).map(|ip| ip.to_string()))
    }

    /// Its use in numbers; null when it was never used. Refused for a key as of a moment.
    async fn usage(&self, context: &Context<'_>) -> async_graphql::Result<Option<KeyUsageNode>> {
        Ok(self.usage_of(context).await?.map(|usage| KeyUsageNode {
            valid: Long(usage.valid),
            refused: Long(usage.refused),
            first_at: DateTime(usage.first_at),
            last_code: usage.last_code.into(),
        }))
    }

    /// How often it was verified in a stretch of time: totals, series and groups, as of `usage`.
    #[graphql(complexity = "QUERY_COST + usage::cost(&group_by, top, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "a question with conditions")]
    async fn usage_report(
        &self,
        context: &Context<'_>,
        from: DateTime,
        to: DateTime,
        #[graphql(default_with = "Granularity::Day")] granularity: Granularity,
        #[graphql(default)] group_by: Vec<UsageDimension>,
        #[graphql(default = 10)] top: i32,
        #[graphql(default_with = "String::from(\"UTC\")")] time_zone: String,
    ) -> async_graphql::Result<UsageNode> {
        let filter = analytics::UsageFilter { keys: vec![self.state.id], ..Default::default() };
        let organization = Some(self.state.organization);
        let selection = analytics::Selection { organization, below: false, filter };
        let frame = Frame { from, to, granularity, group_by, top, time_zone };
        let id = self.state.id.to_string();
        recorded(context, Some(&id), usage::answered(context, selection, frame)).await
    }

    /// Its part of the verification log, newest first unless asked otherwise. For those who may read trails.
    #[graphql(complexity = "QUERY_COST + connection::cost(first, last, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "Relay's arguments")]
    async fn verifications(
        &self,
        context: &Context<'_>,
        filter: Option<VerificationFilter>,
        #[graphql(default_with = "OrderDirection::Desc")] direction: OrderDirection,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<VerificationConnection> {
        let id = self.state.id.to_string();
        let slice = Slice { first, after, last, before };
        let filter = filter.unwrap_or_default().until(self.moment());
        let run = async {
            let filter = filter.of_key(&id)?;
            verification::listed(context, Some(self.state.organization), filter, direction, slice).await
        };
        recorded(context, Some(&id), run).await
    }

    /// That its own events up to a certain one are all that there were; refusals stand in the organization's stream.
    #[graphql(complexity = "QUERY_COST + completeness::COST + child_complexity")]
    async fn completeness(&self, context: &Context<'_>) -> async_graphql::Result<CompletenessProof> {
        let id = self.state.id;
        recorded(context, Some(&id.to_string()), completeness::proved(context, Stream::Key(id), true)).await
    }

    /// Its trail: every event of it, and every refusal of what was asked of it, oldest first unless asked
    /// otherwise.
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
        let id = self.state.id.to_string();
        let slice = Slice { first, after, last, before };
        let filter = filter.unwrap_or_default().until(self.moment());
        let run = trail::trail(context, &self.state, filter, direction, slice);
        recorded(context, Some(&id), run).await
    }
}
