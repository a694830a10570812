//! What a key consists of: scopes, actors, revocations, secrets, its use.

use async_graphql::{ComplexObject, Context, ID, SimpleObject};
use keyledger_projections::permissions;
use keyledger_schema::{Actor, Scope};

use crate::graphql::answer::{parties, query_failed, refusal};
use crate::graphql::scalar::{
    ActorKind, DateTime, GrantRole, Long, RevocationReason, ScopeAction, VerificationCode,
};

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

impl ActorNode {
    /// One whose address is not kept beside the id.
    pub(super) fn known_by_id(actor: &Actor) -> Self {
        Self { known_by_id: true, ..actor.into() }
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
    pub(super) at: DateTime,
    /// Why.
    pub(super) reason: RevocationReason,
    /// In the actor's words.
    pub(super) comment: Option<String>,
}

/// The secret before the current one while a rotation overlaps.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct PreviousSecret {
    /// Which of the key's secrets.
    pub(super) version: u32,
    /// Its start.
    pub(super) hint: String,
    /// From this moment on it is no longer valid.
    pub(super) valid_until: DateTime,
}

/// A key's use in numbers. Follows the log with a lag of a second or more under load.
#[derive(SimpleObject, Clone, Debug)]
#[graphql(name = "KeyUsage")]
pub(crate) struct KeyUsageNode {
    /// Verifications that were answered `VALID`.
    pub(super) valid: Long,
    /// Verifications that were answered otherwise.
    pub(super) refused: Long,
    /// When it was first used, whatever was answered.
    pub(super) first_at: DateTime,
    /// What was answered last.
    pub(super) last_code: VerificationCode,
}
