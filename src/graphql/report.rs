//! Reports for auditors, page by page.

use async_graphql::{Context, Enum, ID, InputObject, Json, SimpleObject};
use keyledger_projections::permissions::Effective;
use keyledger_schema::event::TrailPart;
use keyledger_schema::grant::Place;

use super::connection::{AccessReviewConnection, KeyActivityConnection, PolicyViolationConnection, Slice};
use super::input;
use super::key::ActorNode;
use super::query::asked;
use super::scalar::{DateTime, Environment, KeyStatus, Long};
use super::tenant::GrantNode;
use crate::caller::Caller;
use crate::decisions::policy::Violation;
use crate::error::Result;
use crate::service::Service;
use crate::service::reads::Look;
use crate::service::reports::access::Access;
use crate::service::reports::activity::{self, Activity};
use crate::service::reports::violations::Violator;
use crate::service::reports::{Asked, Window};
use crate::service::told::Told;

/// What happened to a key.
#[derive(Enum, Copy, Clone, PartialEq, Eq, Debug)]
#[graphql(name = "KeyAction", remote = "activity::Action")]
pub(crate) enum KeyAction {
    /// It was made.
    Issued,
    /// A field of it changed.
    Changed,
    /// It got a new secret.
    Rotated,
    /// Somebody said that its secret was stored.
    Acknowledged,
    /// Its old secret is no longer valid.
    OldSecretEnded,
    /// It was switched off.
    Disabled,
    /// It was switched on again.
    Enabled,
    /// Its secret was found somewhere.
    LeakReported,
    /// Its expiry date passed.
    Expired,
    /// It is out of use for good.
    Revoked,
    /// It is gone from lists.
    Deleted,
    /// Its personal data was erased.
    Erased,
}

/// What an event followed from.
#[derive(Enum, Copy, Clone, PartialEq, Eq, Debug)]
#[graphql(name = "KeyActivityCause", remote = "activity::Cause")]
pub(crate) enum Cause {
    /// Many keys were revoked by one command.
    BulkRevocation,
    /// The secret was found somewhere.
    LeakReport,
    /// The expiry date passed.
    ExpiryDate,
    /// The time that an old secret stayed valid for ended.
    OverlapEnd,
}

/// Of what a report is. All conditions must hold.
#[derive(InputObject, Clone, Debug, Default)]
pub(crate) struct ReportFilter {
    /// Of this organization; that of the workspace, or else your own, when left out.
    organization_id: Option<ID>,
    /// Of this workspace only.
    workspace_id: Option<ID>,
}

impl ReportFilter {
    fn asked(&self) -> Result<Asked> {
        let organization = self.organization_id.as_ref();
        Ok(Asked {
            organization: organization.map(|id| input::id("filter.organizationId", id)).transpose()?,
            workspace: self
                .workspace_id
                .as_ref()
                .map(|id| input::id("filter.workspaceId", id))
                .transpose()?,
            ..Asked::default()
        })
    }
}

/// An event of a key in a report.
#[derive(SimpleObject, Clone)]
#[graphql(name = "KeyActivity")]
pub(crate) struct KeyActivityNode {
    /// When it was decided.
    at: DateTime,
    /// What happened.
    action: KeyAction,
    /// The event.
    event_id: ID,
    /// Its type.
    event_type: String,
    /// Its number in the log.
    log_index: Long,
    /// The key.
    key_id: ID,
    /// What the key is called now.
    key_name: String,
    /// Where it lives.
    workspace_id: ID,
    /// Its environment.
    environment: Environment,
    /// Who did it.
    actor: ActorNode,
    /// From which address.
    ip: Option<String>,
    /// With what, by its own word.
    user_agent: Option<String>,
    /// Why: a reason for a revocation, or the rule that demanded it.
    reason: Option<String>,
    /// Why, in the actor's words.
    comment: Option<String>,
    /// The fields that changed.
    changed: Vec<String>,
    /// What it followed from, where the log tells.
    followed_from: Option<Cause>,
    /// When that was.
    followed_from_at: Option<DateTime>,
    /// The event, where that is one.
    followed_from_event_id: Option<ID>,
    /// From then until the event.
    milliseconds_to_effect: Option<Long>,
}

impl From<Activity> for KeyActivityNode {
    fn from(row: Activity) -> Self {
        Self {
            milliseconds_to_effect: row.milliseconds_to_effect().map(Long),
            at: DateTime(row.at),
            action: row.action.into(),
            event_id: row.event.to_string().into(),
            event_type: row.event_type.to_owned(),
            log_index: Long(row.log_index),
            key_id: row.key.to_string().into(),
            key_name: row.key_name,
            workspace_id: row.workspace.to_string().into(),
            environment: row.environment.into(),
            actor: (&row.actor).into(),
            ip: row.source.ip.as_ref().map(|ip| ip.to_string()),
            user_agent: row.source.user_agent.as_ref().map(|agent| agent.to_string()),
            reason: row.reason,
            comment: row.comment,
            changed: row.changed.into_iter().map(str::to_owned).collect(),
            followed_from: row.followed.map(|followed| followed.cause.into()),
            followed_from_at: row.followed.map(|followed| DateTime(followed.at)),
            followed_from_event_id: row.followed.and_then(|one| one.event).map(|id| id.to_string().into()),
        }
    }
}

/// A scope of a key in a review, and from where the key has it.
#[derive(SimpleObject, Clone)]
pub(crate) struct ReviewedScope {
    /// The scope: `read:customers/42/**`.
    text: String,
    /// Whether the key has it by itself.
    own: bool,
    /// The names of the roles that give it.
    by_roles: Vec<String>,
}

impl From<&Effective> for ReviewedScope {
    fn from(effective: &Effective) -> Self {
        Self {
            text: effective.scope.to_string(),
            own: effective.own,
            by_roles: effective.by_roles.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A key in an access review.
#[derive(SimpleObject, Clone)]
#[graphql(name = "AccessReview")]
pub(crate) struct AccessNode {
    /// The key.
    key_id: ID,
    /// What it is called.
    key_name: String,
    /// Its address in trails.
    email: String,
    /// Where it lives.
    workspace_id: ID,
    /// Its environment.
    environment: Environment,
    /// Its status.
    status: KeyStatus,
    /// What it may do in Keyledger itself.
    grants: Vec<GrantNode>,
    /// The names of its roles.
    roles: Vec<String>,
    /// What its holder may do, by itself and by its roles.
    scopes: Vec<ReviewedScope>,
    /// Its identity.
    identity_id: Option<ID>,
    /// How its identity is called elsewhere.
    identity: Option<String>,
    /// When it was issued.
    created_at: DateTime,
    /// By whom.
    created_by: ActorNode,
    /// Whole days since then.
    age_days: Long,
    /// When it expires; never if null.
    expires_at: Option<DateTime>,
    /// When it was last used, as far as that has been counted; never if null.
    last_used_at: Option<DateTime>,
    /// Whole days since it was last used; since it was issued, if it never was.
    idle_days: Long,
    /// Whether it was never used.
    never_used: bool,
    /// Whether it was not used for as long as was asked.
    unused: bool,
}

impl From<Access> for AccessNode {
    fn from(row: Access) -> Self {
        let key = row.key;
        Self {
            key_id: key.id.to_string().into(),
            key_name: key.name.to_string(),
            email: key.email.to_string(),
            workspace_id: key.workspace.to_string().into(),
            environment: key.environment.into(),
            status: row.status.into(),
            grants: key.grants.iter().map(GrantNode::from).collect(),
            roles: row.roles,
            scopes: row.scopes.iter().map(ReviewedScope::from).collect(),
            identity_id: key.identity.map(|id| id.to_string().into()),
            identity: row.identity,
            created_at: DateTime(key.created_at),
            created_by: (&key.created_by).into(),
            age_days: Long(row.age_days),
            expires_at: key.expires_at.map(DateTime),
            last_used_at: row.last_used_at.map(DateTime),
            idle_days: Long(row.idle_days),
            never_used: row.last_used_at.is_none(),
            unused: row.unused,
        }
    }
}

/// A rule that a key breaks.
#[derive(SimpleObject, Clone)]
pub(crate) struct BrokenRule {
    /// The rule.
    rule: String,
    /// What it allows.
    bound: Json<serde_json::Value>,
    /// What is there.
    value: Json<serde_json::Value>,
}

impl From<&Violation> for BrokenRule {
    fn from(broken: &Violation) -> Self {
        Self {
            rule: broken.rule.as_str().to_owned(),
            bound: Json(broken.bound.clone()),
            value: Json(broken.value.clone()),
        }
    }
}

/// A key that breaks the policy.
#[derive(SimpleObject, Clone)]
#[graphql(name = "PolicyViolator")]
pub(crate) struct ViolatorNode {
    /// The key.
    key_id: ID,
    /// What it is called.
    key_name: String,
    /// Where it lives.
    workspace_id: ID,
    /// Its environment.
    environment: Environment,
    /// Its status.
    status: KeyStatus,
    /// When it was issued.
    created_at: DateTime,
    /// By whom.
    created_by: ActorNode,
    /// When it expires; never if null.
    expires_at: Option<DateTime>,
    /// The rules that it breaks.
    broken: Vec<BrokenRule>,
}

impl From<Violator> for ViolatorNode {
    fn from(row: Violator) -> Self {
        let key = row.key;
        Self {
            key_id: key.id.to_string().into(),
            key_name: key.name.to_string(),
            workspace_id: key.workspace.to_string().into(),
            environment: key.environment.into(),
            status: row.status.into(),
            created_at: DateTime(key.created_at),
            created_by: (&key.created_by).into(),
            expires_at: key.expires_at.map(DateTime),
            broken: row.broken.iter().map(BrokenRule::from).collect(),
        }
    }
}

/// Key activity.
pub(super) async fn key_activity(
    context: &Context<'_>,
    filter: &ReportFilter,
    (from, to): (DateTime, Option<DateTime>),
    actions: Vec<KeyAction>,
    slice: Slice,
) -> Result<KeyActivityConnection> {
    let (service, caller) = asked(context)?;
    let wanted = Asked {
        from: Some(from.0),
        to: to.map(|to| to.0),
        actions: actions.into_iter().map(Into::into).collect(),
        ..filter.asked()?
    };
    let count = context.look_ahead().field("totalCount").exists();
    let window = slice.window()?;
    let page = service.key_activity(caller, &wanted, window.clone(), count).await?;
    looked(service, caller, "keyActivity", &wanted, &window, page.items.len()).await?;
    Ok(KeyActivityConnection::new(page, KeyActivityNode::from))
}

/// Writes down that somebody looks at a report, before they see it.
async fn looked(
    service: &Service,
    caller: &Caller,
    report: &str,
    wanted: &Asked,
    window: &Window,
    shown: usize,
) -> Result<()> {
    let fields = ("filter.organizationId", "filter.workspaceId");
    let organization = service.organization_of_list(caller, wanted.organization, wanted.workspace, fields)?;
    let (mut filter, mut page) = (Told::default(), Told::default());
    filter.tell("report", Some(report));
    filter.tell("workspaceId", wanted.workspace);
    filter.tell("from", wanted.from);
    filter.tell("to", wanted.to);
    filter.tell("unusedDays", wanted.unused_days);
    page.window(window);
    let place = Place { organization, workspace: wanted.workspace };
    let look = Look { filter, page, shown: Some(shown as u64), ..Look::at(TrailPart::Report, place) };
    service.looked(caller, look).await
}

/// Access review.
pub(super) async fn access_review(
    context: &Context<'_>,
    filter: &ReportFilter,
    unused_days: Option<u32>,
    slice: Slice,
) -> Result<AccessReviewConnection> {
    let (service, caller) = asked(context)?;
    let wanted = Asked { unused_days, ..filter.asked()? };
    let count = context.look_ahead().field("totalCount").exists();
    let window = slice.window()?;
    let page = service.access_review(caller, &wanted, window.clone(), count).await?;
    looked(service, caller, "accessReview", &wanted, &window, page.items.len()).await?;
    Ok(AccessReviewConnection::new(page, AccessNode::from))
}

/// Keys that break the policy.
pub(super) async fn policy_violations(
    context: &Context<'_>,
    filter: &ReportFilter,
    slice: Slice,
) -> Result<PolicyViolationConnection> {
    let (service, caller) = asked(context)?;
    let (wanted, window) = (filter.asked()?, slice.window()?);
    let page = service.policy_violators(caller, &wanted, window.clone()).await?;
    looked(service, caller, "policyViolations", &wanted, &window, page.items.len()).await?;
    Ok(PolicyViolationConnection::new(page, ViolatorNode::from))
}
