//! Decisions about an organization, its roles among it.

use keyledger_projections::OrganizationState;
use keyledger_schema::event::{
    Event, Hex32, OrganizationBootstrapped, OrganizationCreated, OrganizationMoved, OrganizationPolicySet,
    OrganizationRenamed, RevocationFinished, RevocationStarted, RoleCreated, RoleDeleted, RoleUpdated,
};
use keyledger_schema::{Environment, OrganizationId, Policy, Rate, RoleDefinition, RoleId, RoleScope, Rule};
use serde_json::{Value, json};

use super::{Decision, Holder, Warning, holder, limits};
use crate::error::{Code, Error, Result};

/// New values of a role; what is none stays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(clippy::option_option, reason = "a value can stay, be set, or be taken away")]
pub struct RoleUpdate {
    /// New name.
    pub name: Option<Box<str>>,
    /// How people call it; none within takes it away.
    pub display_name: Option<Option<Box<str>>>,
    /// What it is for; none within takes it away.
    pub description: Option<Option<Box<str>>>,
    /// New scopes, all of them.
    pub scopes: Option<Vec<RoleScope>>,
}

/// New rules; what is none stays, none within takes a rule away.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(clippy::option_option, reason = "a rule can stay, be set, or be taken away")]
pub struct PolicyChange {
    /// See [`Policy`].
    pub api_keys_enabled: Option<Option<bool>>,
    /// See [`Policy`].
    pub expiry_required: Option<Option<bool>>,
    /// See [`Policy`].
    pub default_ttl_seconds: Option<Option<u64>>,
    /// See [`Policy`].
    pub max_ttl_seconds: Option<Option<u64>>,
    /// See [`Policy`].
    pub require_allowed_cidrs: Option<Option<bool>>,
    /// See [`Policy`].
    pub max_rate_limit: Option<Option<Rate>>,
    /// See [`Policy`].
    pub secret_acknowledgement_minutes: Option<Option<u32>>,
    /// See [`Policy`].
    pub allowed_environments: Option<Option<Vec<Environment>>>,
    /// See [`Policy`].
    pub token_lifetime_seconds: Option<Option<u32>>,
}

impl PolicyChange {
    /// The rules that it names.
    pub fn rules(&self) -> Vec<Rule> {
        let named = [
            (Rule::ApiKeysEnabled, self.api_keys_enabled.is_some()),
            (Rule::ExpiryRequired, self.expiry_required.is_some()),
            (Rule::DefaultTtl, self.default_ttl_seconds.is_some()),
            (Rule::MaxTtl, self.max_ttl_seconds.is_some()),
            (Rule::RequireAllowedCidrs, self.require_allowed_cidrs.is_some()),
            (Rule::MaxRateLimit, self.max_rate_limit.is_some()),
            (Rule::SecretAcknowledgementRequired, self.secret_acknowledgement_minutes.is_some()),
            (Rule::AllowedEnvironments, self.allowed_environments.is_some()),
            (Rule::TokenLifetime, self.token_lifetime_seconds.is_some()),
        ];
        named.into_iter().filter(|(_, is)| *is).map(|(rule, _)| rule).collect()
    }

    /// The rules after the change.
    pub fn of(self, before: &Policy) -> Policy {
        let before = before.clone();
        Policy {
            token_lifetime_seconds: self.token_lifetime_seconds.unwrap_or(before.token_lifetime_seconds),
            api_keys_enabled: self.api_keys_enabled.unwrap_or(before.api_keys_enabled),
            expiry_required: self.expiry_required.unwrap_or(before.expiry_required),
            default_ttl_seconds: self.default_ttl_seconds.unwrap_or(before.default_ttl_seconds),
            max_ttl_seconds: self.max_ttl_seconds.unwrap_or(before.max_ttl_seconds),
            require_allowed_cidrs: self.require_allowed_cidrs.unwrap_or(before.require_allowed_cidrs),
            max_rate_limit: self.max_rate_limit.unwrap_or(before.max_rate_limit),
            secret_acknowledgement_minutes: self
                .secret_acknowledgement_minutes
                .unwrap_or(before.secret_acknowledgement_minutes),
            allowed_environments: self.allowed_environments.unwrap_or(before.allowed_environments),
        }
    }
}

/// What is asked of an organization.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Make it.
    Create {
        /// Shown to people.
        name: Box<str>,
        /// Part of its keys' addresses.
        slug: Box<str>,
        /// The organization above it.
        parent: Option<OrganizationId>,
    },
    /// Let it issue keys.
    Bootstrap {
        /// Its first signing key.
        public_key: Hex32,
    },
    /// Call it otherwise.
    Rename(Box<str>),
    /// Put it below another one.
    Move {
        /// The new parent.
        parent: OrganizationId,
        /// The organizations above the new parent.
        above: Vec<OrganizationId>,
        /// The rules that hold in the new parent.
        inherited: Policy,
    },
    /// Change its rules.
    SetPolicy {
        /// What changes.
        change: Box<PolicyChange>,
        /// The rules that hold above it.
        inherited: Policy,
    },
    /// Define a role.
    CreateRole(RoleId, RoleDefinition),
    /// Change a role.
    UpdateRole(RoleId, RoleUpdate),
    /// Take a role away.
    DeleteRole {
        /// Which one.
        role: RoleId,
        /// Keys that hold it: the first of them.
        holders: Vec<Holder>,
        /// How many hold it in all.
        count: u64,
    },
    /// Begin to revoke many keys.
    StartRevocation(Box<RevocationStarted>),
    /// Say that they are revoked.
    FinishRevocation(RevocationFinished),
}

/// The generation of an organization's first signing key.
pub const FIRST_GENERATION: u32 = 1;

/// Decides. `state` is none for an organization that does not exist.
pub fn decide(state: Option<&OrganizationState>, command: Command) -> Result<Decision> {
    let Some(state) = state else {
        return match command {
            Command::Create { name, slug, parent } => {
                Ok(Decision::one(Event::OrganizationCreated(OrganizationCreated { name, slug, parent })))
            }
            _ => Err(Error::not_found("input.id", "organization")),
        };
    };
    match command {
        Command::Create { .. } => {
            Err(Error::new(Code::Conflict, "the organization exists already; use a new id"))
        }
        Command::Bootstrap { public_key } => bootstrap(state, public_key),
        Command::Rename(name) if name == state.name => Ok(Decision::nothing()),
        Command::Rename(name) => Ok(Decision::one(Event::OrganizationRenamed(OrganizationRenamed { name }))),
        Command::Move { parent, above, inherited } => move_below(state, parent, &above, &inherited),
        Command::SetPolicy { change, inherited } => set_policy(state, *change, &inherited),
        Command::CreateRole(id, definition) => create_role(state, id, definition),
        Command::UpdateRole(id, update) => update_role(state, id, update),
        Command::DeleteRole { role, holders, count } => delete_role(state, role, &holders, count),
        Command::StartRevocation(_) if state.open_revocations.len() >= limits::MAX_OPEN_REVOCATIONS => {
            let message = format!(
                "{} bulk revocations of this organization are on their way, which is the most; wait until one is finished",
                limits::MAX_OPEN_REVOCATIONS
            );
            Err(Error::new(Code::Conflict, message))
        }
        Command::StartRevocation(started) => Ok(Decision::one(Event::RevocationStarted(*started))),
        Command::FinishRevocation(finished) => {
            let open = state.open_revocations.iter().any(|open| open.event == finished.started);
            Ok(if open { Decision::one(Event::RevocationFinished(finished)) } else { Decision::nothing() })
        }
    }
}

fn bootstrap(state: &OrganizationState, public_key: Hex32) -> Result<Decision> {
    if state.is_bootstrapped() {
        return Err(Error::new(
            Code::IllegalTransition,
            "the organization is bootstrapped already, which is done once; nothing needs to be done",
        ));
    }
    Ok(Decision::one(Event::OrganizationBootstrapped(OrganizationBootstrapped {
        signing_key_generation: FIRST_GENERATION,
        signing_public_key: public_key,
    })))
}

fn move_below(
    state: &OrganizationState,
    parent: OrganizationId,
    above: &[OrganizationId],
    inherited: &Policy,
) -> Result<Decision> {
    if state.parent == Some(parent) {
        return Ok(Decision::nothing());
    }
    if parent == state.id || above.contains(&state.id) {
        return Err(Error::new(
            Code::IllegalTransition,
            "an organization cannot stand below itself or one of its own sub-organizations; choose another parent",
        )
        .about("input.parentId"));
    }
    only_stricter(&state.policy, inherited, &Rule::ALL, "input.parentId")?;
    Ok(Decision::one(Event::OrganizationMoved(OrganizationMoved { parent })))
}

fn set_policy(state: &OrganizationState, change: PolicyChange, inherited: &Policy) -> Result<Decision> {
    let touched = change.rules();
    let policy = change.of(&state.policy);
    let both = policy.default_ttl_seconds.zip(policy.max_ttl_seconds);
    if both.is_some_and(|(default, most)| default > most) {
        return Err(Error::invalid(
            "input.defaultTtl",
            "a key would live longer by default than maxTtl allows; lower defaultTtl or raise maxTtl",
        ));
    }
    // A rule that was there before, and that those above have tightened since, must not block the others: it
    // holds in its stricter form all the same.
    only_stricter(&policy, inherited, &touched, "input")?;
    if policy == state.policy {
        return Ok(Decision::nothing());
    }
    let mut warnings = Vec::new();
    if state.policy.keys_enabled() && !policy.keys_enabled() {
        warnings.push(Warning::keys_switched_off());
    }
    Ok(Decision::one(Event::OrganizationPolicySet(OrganizationPolicySet { policy })).warn(warnings))
}

/// A child may only be stricter than what holds above it.
fn only_stricter(policy: &Policy, inherited: &Policy, rules: &[Rule], field: &'static str) -> Result<()> {
    let mut looser = policy.looser_than(inherited);
    looser.retain(|rule| rules.contains(rule));
    if looser.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = looser.iter().map(|rule| rule.as_str()).collect();
    let message = format!(
        "a sub-organization can only be stricter than those above it, and this would loosen {}; set these rules \
         to null to inherit them, or choose stricter values",
        names.join(", ")
    );
    let violations: Vec<Value> = looser
        .iter()
        .map(|&rule| {
            json!({ "rule": rule.as_str(), "bound": value_of(inherited, rule), "value": value_of(policy, rule) })
        })
        .collect();
    Err(Error::new(Code::PolicyViolation, message).about(field).with("violations", violations))
}

/// A rule's value, in the API's words.
fn value_of(policy: &Policy, rule: Rule) -> Value {
    match rule {
        Rule::ApiKeysEnabled => json!(policy.keys_enabled()),
        Rule::ExpiryRequired => json!(policy.demands_expiry()),
        // What bounds the default is the longest life.
        Rule::DefaultTtl => json!(policy.default_ttl_seconds.max(policy.max_ttl_seconds)),
        Rule::MaxTtl => json!(policy.max_ttl_seconds),
        Rule::RequireAllowedCidrs => json!(policy.demands_networks()),
        Rule::MaxRateLimit => json!(
            policy
                .max_rate_limit
                .map(|rate| json!({ "limit": rate.limit, "windowSeconds": rate.window_seconds }))
        ),
        Rule::SecretAcknowledgementRequired => json!(policy.secret_acknowledgement_minutes),
        Rule::TokenLifetime => json!(policy.token_lifetime_seconds),
        Rule::AllowedEnvironments => json!(policy.allowed_environments.as_ref().map(|all| {
            all.iter().map(|environment| environment.as_str().to_uppercase()).collect::<Vec<_>>()
        })),
    }
}

/// Scopes of a role sorted, each once.
pub fn canonical_role_scopes(mut scopes: Vec<RoleScope>) -> Result<Vec<RoleScope>> {
    scopes.sort_unstable();
    if let Some(twice) = scopes.windows(2).find(|pair| pair[0].scope == pair[1].scope) {
        let message = format!("the scope {} is there twice; name it once", twice[0].scope);
        return Err(Error::invalid("input.scopes", message));
    }
    Ok(scopes)
}

fn free_name(state: &OrganizationState, id: RoleId, name: &str) -> Result<()> {
    let folded = name.to_lowercase();
    let taken =
        state.roles.values().any(|role| role.id != id && role.definition.name.to_lowercase() == folded);
    if taken {
        let message =
            "the organization has a role of this name already; choose another name, or change that role";
        return Err(Error::new(Code::Conflict, message).about("input.name"));
    }
    Ok(())
}

/// The text of a role, in bytes.
fn bytes(definition: &RoleDefinition) -> usize {
    let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
    let scopes = definition.scopes.iter();
    let scopes = scopes.map(|scope| scope.scope.resource.as_str().len() + text(&scope.display_name) + 16);
    definition.name.len()
        + text(&definition.display_name)
        + text(&definition.description)
        + scopes.sum::<usize>()
}

/// Roles are looked at as a whole whenever one of them changes.
fn room_for(state: &OrganizationState, id: RoleId, definition: &RoleDefinition) -> Result<()> {
    let others = state.roles.values().filter(|role| role.id != id).map(|role| bytes(&role.definition));
    let all = others.sum::<usize>() + bytes(definition);
    if all > limits::MAX_ROLES_BYTES {
        let message = format!(
            "all roles of an organization together have at most {} bytes of text, and these would have {all}; use fewer or shorter scopes",
            limits::MAX_ROLES_BYTES
        );
        return Err(Error::new(Code::QuotaExceeded, message)
            .about("input.scopes")
            .with("limit", limits::MAX_ROLES_BYTES)
            .with("count", all));
    }
    Ok(())
}

fn create_role(state: &OrganizationState, id: RoleId, definition: RoleDefinition) -> Result<Decision> {
    if state.roles.len() >= limits::MAX_ROLES {
        let message = format!(
            "an organization has at most {} roles, and this one has them; delete one that nobody needs",
            limits::MAX_ROLES
        );
        return Err(Error::new(Code::QuotaExceeded, message)
            .with("limit", limits::MAX_ROLES)
            .with("count", state.roles.len()));
    }
    free_name(state, id, &definition.name)?;
    room_for(state, id, &definition)?;
    Ok(Decision::one(Event::RoleCreated(RoleCreated { role: id, definition })))
}

fn update_role(state: &OrganizationState, id: RoleId, update: RoleUpdate) -> Result<Decision> {
    let Some(role) = state.roles.get(&id) else { return Err(Error::not_found("input.id", "role")) };
    let before = &role.definition;
    let definition = RoleDefinition {
        name: update.name.unwrap_or_else(|| before.name.clone()),
        display_name: update.display_name.unwrap_or_else(|| before.display_name.clone()),
        description: update.description.unwrap_or_else(|| before.description.clone()),
        scopes: update.scopes.unwrap_or_else(|| before.scopes.clone()),
    };
    if definition == *before {
        return Ok(Decision::nothing());
    }
    free_name(state, id, &definition.name)?;
    room_for(state, id, &definition)?;
    let scopes = |definition: &RoleDefinition| -> Vec<_> {
        definition.scopes.iter().map(|scope| scope.scope.clone()).collect()
    };
    let warnings = super::warning::removed_scopes(&scopes(before), &scopes(&definition));
    Ok(Decision::one(Event::RoleUpdated(RoleUpdated { role: id, definition })).warn(warnings))
}

fn delete_role(state: &OrganizationState, id: RoleId, holders: &[Holder], count: u64) -> Result<Decision> {
    if !state.roles.contains_key(&id) {
        return Err(Error::not_found("input.id", "role"));
    }
    if count > 0 {
        return Err(holder::held("role", "roleId", holders, count));
    }
    Ok(Decision::one(Event::RoleDeleted(RoleDeleted { role: id })))
}
