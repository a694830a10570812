//! Input objects, and how they become checked values of the domain. Errors name the field.

use async_graphql::{ID, InputObject, Json, MaybeUndefined};
use ipnet::IpNet;
use keyledger_schema as domain;
use keyledger_schema::event::{KeySelection, RevocationStarted};
use keyledger_schema::{GrantTarget, KeyId, Metadata, Personal, WorkspaceId};

use super::credits::CreditsInput;
use super::policy::{RateLimitInput, rate_limits};
use super::scalar::{
    DateTime, Environment, GrantRole, KeyOrderField, KeyStatus, OrderDirection, RevocationReason, ScopeAction,
};
use crate::decisions::key::{Update, canonical_networks, canonical_scopes};
use crate::decisions::limits;
use crate::error::{Error, Result};
use crate::secret;
use crate::service::NewKey;

/// An action and a resource filter.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct ScopeInput {
    /// Which actions.
    action: ScopeAction,
    /// Segments separated by `/`; `*` is one segment, `**` at the end any depth; empty or `*` alone is
    /// everything.
    resource: String,
}

/// A grant on an organization or on a workspace: name exactly one.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct GrantInput {
    /// Which rights.
    role: GrantRole,
    /// On the whole organization.
    organization_id: Option<ID>,
    /// On one workspace.
    workspace_id: Option<ID>,
}

/// A new key.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct CreateKeyInput {
    /// Where; may be left out when the organization has one workspace only.
    workspace_id: Option<ID>,
    /// 1 to 128 characters.
    name: String,
    /// Fixed for good.
    environment: Environment,
    /// What its holder may do in your API; at most 64.
    #[graphql(default)]
    scopes: Vec<ScopeInput>,
    /// Roles of the organization that it holds; at most 32.
    #[graphql(default)]
    role_ids: Vec<ID>,
    /// What it may do in Keyledger itself; at most 16, none of them wider than your own.
    #[graphql(default)]
    grants: Vec<GrantInput>,
    /// From this moment on it is expired. Fixed for good.
    expires_at: Option<DateTime>,
    /// Addresses it may be used from, such as `203.0.113.0/24`; everywhere when empty; at most 64. Rules
    /// for IPv4 and IPv6 are independent.
    #[graphql(default)]
    allowed_cidrs: Vec<String>,
    /// How often it may be used; at most 8.
    #[graphql(default)]
    rate_limits: Vec<RateLimitInput>,
    /// The identity whose rate limits and credits it shares.
    identity_id: Option<ID>,
    /// How many uses it has; unlimited when left out.
    credits: Option<CreditsInput>,
    /// A JSON object of your own, at most 4 KiB.
    metadata: Option<Json<serde_json::Value>>,
    /// The start of its secrets: 1 to 16 of a-z and 0-9, a letter first. `kl` when left out.
    prefix: Option<String>,
    /// Makes a repetition of this request answer the same key, without its secret: 1 to 255 visible ASCII
    /// characters, unique in the workspace.
    idempotency_key: Option<String>,
}

/// New values; what is left out stays.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct UpdateKeyInput {
    pub(super) id: ID,
    /// 1 to 128 characters.
    name: Option<String>,
    /// All scopes that it has from now on.
    scopes: Option<Vec<ScopeInput>>,
    /// All roles that it holds from now on.
    role_ids: Option<Vec<ID>>,
    /// All that it may do in Keyledger itself from now on.
    grants: Option<Vec<GrantInput>>,
    /// All rate limits that it has from now on.
    rate_limits: Option<Vec<RateLimitInput>>,
    /// All networks that it may be used from from now on.
    allowed_cidrs: Option<Vec<String>>,
    /// The identity whose rate limits and credits it shares from now on; null for none.
    identity_id: MaybeUndefined<ID>,
    /// The whole new metadata.
    metadata: Option<Json<serde_json::Value>>,
    /// The key's `revision` that you looked at. When somebody changed one of the same fields since, the answer is
    /// CONFLICT and nothing is changed; edits of different fields do not disturb each other.
    pub(super) expected_revision: Option<u64>,
}

macro_rules! with_comment {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(InputObject, Clone, Debug)]
        pub(crate) struct $name {
            pub(super) id: ID,
            /// For the trail; at most 500 characters.
            pub(super) comment: Option<String>,
            /// See `updateKey`.
            pub(super) expected_revision: Option<u64>,
        }
    )+};
}

with_comment! {
    /// Switches a key off.
    DisableKeyInput;
    /// Switches a key on.
    EnableKeyInput;
    /// Takes a key from lists.
    DeleteKeyInput;
    /// The end of all tokens that a key was exchanged for.
    RevokeTokensInput;
}

/// The current secret was copied.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct AcknowledgeKeySecretInput {
    pub(super) id: ID,
    /// See `updateKey`.
    pub(super) expected_revision: Option<u64>,
}

/// A new secret for a key.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct RotateKeyInput {
    pub(super) id: ID,
    /// How long the old secret stays valid beside the new one: 0 to 2592000. It stops at once when left
    /// out.
    #[graphql(default)]
    pub(super) overlap_seconds: i64,
    /// See `updateKey`.
    pub(super) expected_revision: Option<u64>,
}

/// The end of a key.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct RevokeKeyInput {
    pub(super) id: ID,
    /// Why.
    pub(super) reason: RevocationReason,
    /// For the trail; at most 500 characters; required with the reason OTHER.
    pub(super) comment: Option<String>,
    /// See `updateKey`.
    pub(super) expected_revision: Option<u64>,
}

/// A new key like another one.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct CloneKeyInput {
    /// The key to take the settings and the expiry date from.
    pub(super) id: ID,
    /// The same name when left out.
    pub(super) name: Option<String>,
    /// See `createKey`.
    pub(super) idempotency_key: Option<String>,
}

/// A new organization below another one.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct CreateOrganizationInput {
    /// 1 to 128 characters.
    pub(super) name: String,
    /// The organization above it; your own when left out.
    pub(super) parent_id: Option<ID>,
}

/// The one-time step after which an organization can issue keys.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct BootstrapOrganizationInput {
    pub(super) id: ID,
}

/// A new name of an organization. Its keys keep their addresses.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct RenameOrganizationInput {
    pub(super) id: ID,
    /// 1 to 128 characters.
    pub(super) name: String,
    /// See `updateKey`.
    pub(super) expected_revision: Option<u64>,
}

/// Another place for a sub-organization.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct MoveOrganizationInput {
    pub(super) id: ID,
    /// The organization that is above it from now on.
    pub(super) parent_id: ID,
    /// See `updateKey`.
    pub(super) expected_revision: Option<u64>,
}

/// A new name of a workspace.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct RenameWorkspaceInput {
    pub(super) id: ID,
    /// 1 to 128 characters.
    pub(super) name: String,
}

/// How many keys a workspace may have that are neither revoked nor deleted nor expired.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct SetWorkspaceQuotaInput {
    pub(super) id: ID,
    /// 0 to 1000000000; null for any number. Has to be said.
    pub(super) max_keys: MaybeUndefined<u64>,
}

/// A new workspace.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct CreateWorkspaceInput {
    /// Your own organization when left out.
    pub(super) organization_id: Option<ID>,
    /// 1 to 128 characters.
    pub(super) name: String,
}

/// Which keys. Conditions add up.
#[derive(InputObject, Clone, Debug, Default)]
pub(crate) struct KeyFilter {
    /// Of this organization; your own when left out.
    pub(super) organization_id: Option<ID>,
    /// In this workspace.
    pub(super) workspace_id: Option<ID>,
    /// With one of these statuses; active ones when left out.
    pub(super) statuses: Option<Vec<KeyStatus>>,
    /// Of this environment.
    pub(super) environment: Option<Environment>,
    /// A part of the name or of the address, a whole id, or the start of a secret as it is shown.
    pub(super) search: Option<String>,
    /// A part of the name.
    pub(super) name_contains: Option<String>,
    /// Created by this key.
    pub(super) created_by: Option<ID>,
    /// Holding this role.
    pub(super) role_id: Option<ID>,
    /// With this identity.
    pub(super) identity_id: Option<ID>,
    /// Created before this moment.
    pub(super) created_before: Option<DateTime>,
    /// Created at this moment or later.
    pub(super) created_after: Option<DateTime>,
    /// Expiring before this moment.
    pub(super) expires_before: Option<DateTime>,
    /// Last used before this moment; or never used, and created before it.
    pub(super) unused_since: Option<DateTime>,
    /// Whether the current secret was acknowledged.
    pub(super) secret_acknowledged: Option<bool>,
}

/// Which keys to revoke. Conditions add up; revoked, deleted and expired keys are never meant.
#[derive(InputObject, Clone, Debug, Default)]
pub(crate) struct RevocationFilter {
    /// Of this organization; your own when left out.
    pub(super) organization_id: Option<ID>,
    /// These keys only; at most 1000.
    pub(super) ids: Option<Vec<ID>>,
    /// In this workspace.
    workspace_id: Option<ID>,
    /// Of this environment.
    environment: Option<Environment>,
    /// See `KeyFilter`.
    search: Option<String>,
    /// A part of the name.
    name_contains: Option<String>,
    /// Created by this key.
    created_by: Option<ID>,
    /// Holding this role.
    role_id: Option<ID>,
    /// Created at this moment or later.
    created_after: Option<DateTime>,
    /// Created before this moment.
    created_before: Option<DateTime>,
    /// Expiring before this moment.
    expires_before: Option<DateTime>,
    /// Not used since this moment.
    unused_since: Option<DateTime>,
}

/// The end of many keys.
#[derive(InputObject, Clone, Debug)]
pub(crate) struct RevokeKeysInput {
    /// Which; an empty one means every key that you may manage.
    pub(super) filter: RevocationFilter,
    /// Why.
    pub(super) reason: RevocationReason,
    /// For the trail; at most 500 characters; required with the reason OTHER.
    pub(super) comment: Option<String>,
    /// Only tells which keys would be revoked. Say false to revoke them.
    #[graphql(default = true)]
    pub(super) dry_run: bool,
}

impl RevokeKeysInput {
    /// The organization that is meant, if it is said, and what is to be done.
    pub(super) fn check(self) -> Result<(Option<domain::OrganizationId>, RevocationStarted)> {
        let Self { filter, reason, comment, .. } = self;
        let comment = self::comment(comment.as_deref())?;
        let reason = domain::event::RevocationReason::from(reason);
        if reason == domain::event::RevocationReason::Other && comment.is_none() {
            return Err(Error::invalid("input.comment", "the reason OTHER needs a comment; say why"));
        }
        if filter.ids.as_ref().is_some_and(Vec::is_empty) {
            let message = "no key is named; name some, or leave ids out if the other conditions are all";
            return Err(Error::invalid("input.filter.ids", message));
        }
        let ids = filter.ids.unwrap_or_default();
        limits::at_most("input.filter.ids", "ids", ids.len(), limits::MAX_NAMED_KEYS)?;
        // An empty text is refused, not left out: it would mean every key.
        let text = |field: &'static str, text: Option<String>| {
            text.map(|text| limits::name(field, &text).map(Personal)).transpose()
        };
        let one = |field: &'static str, text: Option<ID>| text.map(|text| id(field, &text)).transpose();
        let selection = KeySelection {
            ids: ids.iter().map(|text| id("input.filter.ids", text)).collect::<Result<_>>()?,
            workspace: filter.workspace_id.map(|text| id("input.filter.workspaceId", &text)).transpose()?,
            environment: filter.environment.map(Into::into),
            search: text("input.filter.search", filter.search)?,
            name_contains: text("input.filter.nameContains", filter.name_contains)?,
            created_by: one("input.filter.createdBy", filter.created_by)?,
            role: filter.role_id.map(|text| id("input.filter.roleId", &text)).transpose()?,
            created_from: filter.created_after.map(|at| at.0),
            created_before: filter.created_before.map(|at| at.0),
            expires_before: filter.expires_before.map(|at| at.0),
            unused_since: filter.unused_since.map(|at| at.0),
        };
        let organization = filter.organization_id.map(|text| id("input.filter.organizationId", &text));
        Ok((organization.transpose()?, RevocationStarted { selection, reason, comment, matched: 0 }))
    }
}

/// In which order.
#[derive(InputObject, Clone, Copy, Debug)]
pub(crate) struct KeyOrder {
    /// By what.
    pub(super) field: KeyOrderField,
    /// From which end.
    #[graphql(default)]
    pub(super) direction: OrderDirection,
}

/// Which events. Conditions add up.
#[derive(InputObject, Clone, Debug, Default)]
pub(crate) struct EventFilter {
    /// Of this organization; your own when left out.
    pub(super) organization_id: Option<ID>,
    /// Of this key, and refusals of what was asked of it.
    pub(super) key_id: Option<ID>,
    /// Of this identity; refusals of what was asked of it are not among them.
    pub(super) identity_id: Option<ID>,
    /// Of one of these types, such as `key.revoked`.
    pub(super) types: Option<Vec<String>>,
    /// By this key or node.
    pub(super) actor_id: Option<ID>,
    /// At this moment or later.
    pub(super) from: Option<DateTime>,
    /// Before this moment.
    pub(super) to: Option<DateTime>,
}

impl EventFilter {
    /// Only those up to a moment, if there is one.
    pub(super) fn until(mut self, moment: Option<domain::Timestamp>) -> Self {
        if let Some(moment) = moment {
            let end = moment.plus(std::time::Duration::from_micros(1));
            self.to = Some(DateTime(self.to.map_or(end, |to| to.0.min(end))));
        }
        self
    }
}

/// An id of the expected type.
pub(super) fn id<T: std::str::FromStr<Err = domain::id::Error>>(
    field: &'static str,
    text: &str,
) -> Result<T> {
    text.parse().map_err(|error: domain::id::Error| Error::invalid(field, error.to_string()))
}

pub(super) fn scopes(scopes: Vec<ScopeInput>) -> Result<Vec<domain::Scope>> {
    limits::at_most("input.scopes", "scopes", scopes.len(), limits::MAX_SCOPES)?;
    let parsed = scopes.into_iter().enumerate().map(|(i, scope)| {
        let resource = scope.resource.parse().map_err(|e: domain::scope::Error| {
            Error::invalid(format!("input.scopes[{i}].resource"), e.to_string())
        })?;
        Ok(domain::Scope { action: scope.action.into(), resource })
    });
    parsed.collect::<Result<_>>().map(canonical_scopes)
}

pub(super) fn networks(texts: &[String]) -> Result<Vec<IpNet>> {
    limits::at_most("input.allowedCidrs", "networks", texts.len(), limits::MAX_NETWORKS)?;
    let parsed = texts.iter().enumerate().map(|(i, text)| {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        network.map_err(|_| {
            let message =
                "a network is an address and a prefix length, such as 203.0.113.0/24 or 2001:db8::/32";
            Error::invalid(format!("input.allowedCidrs[{i}]"), message)
        })
    });
    parsed.collect::<Result<Vec<_>>>().map(canonical_networks)
}

pub(super) fn metadata(value: serde_json::Value) -> Result<Metadata> {
    no_secret("input.metadata", &value.to_string())?;
    Metadata::from_value(value).map_err(|error| Error::invalid("input.metadata", error.to_string()))
}

pub(super) fn grants(grants: &[GrantInput]) -> Result<Vec<domain::Grant>> {
    limits::at_most("input.grants", "grants", grants.len(), limits::MAX_GRANTS)?;
    grants
        .iter()
        .map(|grant| {
            let on = match (&grant.organization_id, &grant.workspace_id) {
                (Some(organization), None) => {
                    GrantTarget::Organization(id("input.grants.organizationId", organization)?)
                }
                (None, Some(workspace)) => GrantTarget::Workspace(id("input.grants.workspaceId", workspace)?),
                _ => {
                    let message = "a grant is on one thing: give either organizationId or workspaceId";
                    return Err(Error::invalid("input.grants", message));
                }
            };
            Ok(domain::Grant { role: grant.role.into(), on })
        })
        .collect()
}

/// Roles sorted, each once.
pub(super) fn roles(ids: &[ID]) -> Result<Vec<domain::RoleId>> {
    limits::at_most("input.roleIds", "roles", ids.len(), limits::MAX_KEY_ROLES)?;
    let mut roles: Vec<domain::RoleId> =
        ids.iter().map(|text| id("input.roleIds", text)).collect::<Result<_>>()?;
    roles.sort_unstable();
    roles.dedup();
    Ok(roles)
}

/// The identity of a key, if it has one.
pub(super) fn identity(text: Option<&ID>) -> Result<Option<domain::IdentityId>> {
    text.map(|text| id("input.identityId", text)).transpose()
}

/// Refuses a text that would bring a secret into the log.
pub(super) fn no_secret(field: &'static str, text: &str) -> Result<()> {
    if secret::WellFormed::is_in(text) {
        let message = "the secret of a key is in this text, which is kept and shown; take it out";
        return Err(Error::invalid(field, message));
    }
    Ok(())
}

/// The name of a key or of an identity.
pub(super) fn name(text: &str) -> Result<Box<str>> {
    no_secret("input.name", text)?;
    limits::name("input.name", text)
}

/// An idempotency key that may be left out.
pub(super) fn idempotency_key(text: Option<String>) -> Result<Option<Box<str>>> {
    text.map(|text| {
        limits::idempotency_key("input.idempotencyKey", &text)?;
        Ok(text.into())
    })
    .transpose()
}

/// A comment that may be left out.
pub(super) fn comment(text: Option<&str>) -> Result<Option<Personal<Box<str>>>> {
    no_secret("input.comment", text.unwrap_or_default())?;
    Ok(limits::comment("input.comment", text)?.map(Personal))
}

impl CreateKeyInput {
    pub(super) fn check(self) -> Result<NewKey> {
        let prefix = self.prefix.unwrap_or_else(|| secret::DEFAULT_PREFIX.to_owned());
        if !secret::is_prefix(&prefix) {
            let message =
                format!("a prefix is 1 to {} of a-z and 0-9, a letter first", secret::MAX_PREFIX_BYTES);
            return Err(Error::invalid("input.prefix", message));
        }
        let workspace: Option<WorkspaceId> =
            self.workspace_id.as_deref().map(|text| id("input.workspaceId", text)).transpose()?;
        Ok(NewKey {
            workspace,
            name: name(&self.name)?,
            environment: self.environment.into(),
            prefix: prefix.into(),
            scopes: scopes(self.scopes)?,
            roles: roles(&self.role_ids)?,
            grants: grants(&self.grants)?,
            allowed_cidrs: networks(&self.allowed_cidrs)?,
            rate_limits: rate_limits(self.rate_limits)?,
            identity: identity(self.identity_id.as_ref())?,
            credits: self.credits.map(CreditsInput::check).transpose()?,
            expires_at: self.expires_at.map(|at| at.0),
            metadata: self.metadata.map_or_else(|| Ok(Metadata::default()), |json| metadata(json.0))?,
            idempotency_key: idempotency_key(self.idempotency_key)?,
        })
    }
}

impl UpdateKeyInput {
    pub(super) fn check(self) -> Result<(KeyId, Update)> {
        let update = Update {
            name: self.name.as_deref().map(name).transpose()?,
            scopes: self.scopes.map(scopes).transpose()?,
            roles: self.role_ids.as_deref().map(roles).transpose()?,
            grants: self.grants.as_deref().map(grants).transpose()?,
            rate_limits: self.rate_limits.map(rate_limits).transpose()?,
            allowed_cidrs: self.allowed_cidrs.as_deref().map(networks).transpose()?,
            metadata: self.metadata.map(|json| metadata(json.0)).transpose()?,
            identity: match self.identity_id {
                MaybeUndefined::Undefined => None,
                MaybeUndefined::Null => Some(None),
                MaybeUndefined::Value(id) => Some(identity(Some(&id))?),
            },
        };
        Ok((id("input.id", &self.id)?, update))
    }
}
