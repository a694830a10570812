//! The verification log.

use async_graphql::{Context, ID, InputObject, Object};
use keyledger_schema::{OrganizationId, Timestamp};

use super::answer::refusal;
use super::connection::{Slice, VerificationConnection};
use super::event::EventNode;
use super::input::id;
use super::key::KeyNode;
use super::query::{self, asked};
use super::scalar::{Action, DateTime, Environment, Long, Means, OrderDirection, VerificationCode};
use super::trail;
use super::usage::{address, outcomes};
use crate::error::{Code, Error, Result};
use crate::service::analytics::{self, Selection, Sequence, Spelling, Verification, VerificationsAsked};

/// Which verifications. Conditions add up.
#[derive(InputObject, Clone, Debug, Default)]
pub(crate) struct VerificationFilter {
    /// Of this key.
    key_id: Option<ID>,
    /// Of keys in this workspace.
    workspace_id: Option<ID>,
    /// Of keys for this environment.
    environment: Option<Environment>,
    /// Of keys that have this identity now.
    identity_id: Option<ID>,
    /// Of keys that hold this role now.
    role_id: Option<ID>,
    /// Answered with one of these.
    outcomes: Option<Vec<VerificationCode>>,
    /// About this action.
    action: Option<Action>,
    /// About a resource that begins with this.
    resource_prefix: Option<String>,
    /// By this means.
    means: Option<Means>,
    /// With this tag.
    tag: Option<String>,
    /// From this address.
    address: Option<String>,
    /// The last of them at this moment or later.
    from: Option<DateTime>,
    /// The last of them before this moment.
    to: Option<DateTime>,
}

impl VerificationFilter {
    /// Only those up to a moment, if there is one.
    pub(super) fn until(mut self, moment: Option<Timestamp>) -> Self {
        if let Some(moment) = moment {
            let end = moment.plus(std::time::Duration::from_micros(1));
            self.to = Some(DateTime(self.to.map_or(end, |to| to.0.min(end))));
        }
        self
    }

    /// Within the log of one key.
    pub(super) fn of_key(mut self, key: &str) -> Result<Self> {
        if self.key_id.as_ref().is_some_and(|named| named.as_str() != key) {
            return Err(Error::invalid("filter.keyId", "this is the log of another key; leave keyId out"));
        }
        self.key_id = Some(ID::from(key));
        Ok(self)
    }
}

/// A page of the log.
pub(super) async fn listed(
    context: &Context<'_>,
    organization: Option<OrganizationId>,
    filter: VerificationFilter,
    direction: OrderDirection,
    slice: Slice,
) -> Result<VerificationConnection> {
    let (service, caller) = asked(context)?;
    let keys = filter.key_id.map(|text| id("filter.keyId", &text)).transpose()?;
    let selected = analytics::UsageFilter {
        sight: None,
        workspace: filter.workspace_id.map(|text| id("filter.workspaceId", &text)).transpose()?,
        environment: filter.environment.map(Into::into),
        keys: keys.into_iter().collect(),
        identity: filter.identity_id.map(|text| id("filter.identityId", &text)).transpose()?,
        role: filter.role_id.map(|text| id("filter.roleId", &text)).transpose()?,
        outcomes: outcomes(filter.outcomes)?,
        action: filter.action.map(Into::into),
        means: filter.means.map(Into::into),
        tag: filter.tag.map(Into::into),
        address: address(filter.address.as_deref())?,
    };
    let asked = VerificationsAsked {
        selection: Selection { organization, below: false, filter: selected },
        resource_prefix: filter.resource_prefix.map(Into::into),
        from: filter.from.map(|at| at.0),
        to: filter.to.map(|at| at.0),
        sequence: match direction {
            OrderDirection::Asc => Sequence::Ascending,
            OrderDirection::Desc => Sequence::Descending,
        },
        window: slice.window()?,
    };
    let page = service.verifications(caller, asked, Spelling::GraphQl).await.map_err(one_key)?;
    Ok(VerificationConnection::new(page, VerificationNode))
}

/// This filter names one key at most.
fn one_key(error: Error) -> Error {
    if error.field.as_deref() == Some("filter.keyIds") { error.about("filter.keyId") } else { error }
}

/// A record of the verification log.
#[derive(Clone)]
pub(crate) struct VerificationNode(Verification);

/// One or more verifications that agree in all that is recorded, and were written together.
#[Object(name = "Verification")]
impl VerificationNode {
    /// The event that it stands in.
    async fn event_id(&self) -> ID {
        self.0.event.to_string().into()
    }

    /// The event that it stands in; null for those who may read a part of the organization's trail only.
    #[graphql(complexity = "1 + child_complexity")]
    async fn event(&self, context: &Context<'_>) -> async_graphql::Result<Option<EventNode>> {
        match trail::event(context, &self.0.event.to_string()).await {
            Ok(event) => Ok(Some(event)),
            Err(error) if error.code == Code::NotFound => Ok(None),
            Err(error) => Err(refusal(&error)),
        }
    }

    /// Its place among the records of that event: 0, 1, 2 …
    async fn place(&self) -> u32 {
        self.0.place
    }

    /// The first of them.
    async fn first_at(&self) -> DateTime {
        DateTime(self.0.first_at)
    }

    /// The last of them.
    async fn last_at(&self) -> DateTime {
        DateTime(self.0.last_at)
    }

    /// How many they are.
    async fn count(&self) -> Long {
        Long(self.0.count)
    }

    /// Whose secret matched, if any key's did.
    async fn key_id(&self) -> Option<ID> {
        self.0.key.map(|id| id.to_string().into())
    }

    /// Whose secret matched, if any key's did.
    #[graphql(complexity = "1 + child_complexity")]
    async fn key(&self, context: &Context<'_>) -> async_graphql::Result<Option<KeyNode>> {
        let Some(id) = self.0.key else { return Ok(None) };
        match query::key(context, &id.to_string()).await {
            Ok(key) => Ok(Some(key)),
            Err(error) if error.code == Code::NotFound => Ok(None),
            Err(error) => Err(refusal(&error)),
        }
    }

    /// Which of its secrets.
    async fn secret_version(&self) -> Option<u32> {
        self.0.secret_version
    }

    /// How the key was used, if not by presenting its secret.
    async fn means(&self) -> Option<Means> {
        self.0.means.map(Into::into)
    }

    /// Where the key lives.
    async fn workspace_id(&self) -> Option<ID> {
        self.0.workspace.map(|id| id.to_string().into())
    }

    /// What was answered.
    async fn code(&self) -> VerificationCode {
        self.0.code.into()
    }

    /// What the holder wanted to do.
    async fn action(&self) -> Option<Action> {
        self.0.action.map(Into::into)
    }

    /// On which resource.
    async fn resource(&self) -> Option<&str> {
        self.0.resource.as_deref()
    }

    /// What it was filed under.
    async fn tags(&self) -> Vec<&str> {
        self.0.tags.iter().map(AsRef::as_ref).collect()
    }

    /// The holder's address.
    async fn ip(&self) -> Option<String> {
        self.0.ip.map(|ip| ip.to_string())
    }

    /// The verifier's key; null for an open listener.
    async fn by(&self) -> Option<ID> {
        self.0.by.map(|id| id.to_string().into())
    }

    /// How many calls each of them counts as.
    async fn cost(&self) -> u32 {
        self.0.cost
    }

    /// Credits that they spent together.
    async fn credits(&self) -> Long {
        Long(self.0.credits)
    }
}
