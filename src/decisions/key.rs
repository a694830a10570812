//! Decisions about a key.

use std::time::Duration;

use ipnet::IpNet;
use keyledger_projections::{Acknowledgement, KeyState, KeyStatus};
use keyledger_schema::event::{
    Event, Hex32, KeyDeleted, KeyDisabled, KeyEnabled, KeyExpired, KeyIssued, KeyLeakReported, KeyRevoked,
    KeySecretAcknowledged, KeySecretOverlapEnded, KeySecretRotated, KeyUpdated, RevocationReason,
};
use keyledger_schema::{
    Environment, Grant, GrantRole, GrantTarget, IdentityId, KeyId, Metadata, OrganizationId, Personal,
    Policy, RateLimit, RoleId, Rule, Scope, SecretRecord, SecretScheme, Timestamp,
};

use super::credits::{self, NewCredits};
use super::tokens::{self, RevokeToken};
use super::{Decision, Warning, policy, warning};
use crate::error::{Code, Error, Result};

/// A comment in the actor's words.
pub type Comment = Option<Personal<Box<str>>>;

/// What a new key is to be. Its parts are already checked one by one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issue {
    /// Shown to people.
    pub name: Box<str>,
    /// Its address in trails.
    pub email: Box<str>,
    /// Fixed for good.
    pub environment: Environment,
    /// The start of its secrets.
    pub prefix: Box<str>,
    /// Hash and hint of its first secret.
    pub secret: SecretRecord,
    /// What its holder may do.
    pub scopes: Vec<Scope>,
    /// Roles that it holds.
    pub roles: Vec<RoleId>,
    /// What it may do in Keyledger itself.
    pub grants: Vec<Grant>,
    /// Addresses it may be used from.
    pub allowed_cidrs: Vec<IpNet>,
    /// How often it may be used.
    pub rate_limits: Vec<RateLimit>,
    /// Fixed for good. The policy's default when none.
    pub expires_at: Option<Timestamp>,
    /// The user's own.
    pub metadata: Metadata,
    /// The key it is made from.
    pub cloned_from: Option<KeyId>,
    /// Of the request that an idempotency key stands for.
    pub request_fingerprint: Option<Hex32>,
    /// What of its secret was brought, if it was not made here.
    pub imported: Option<SecretScheme>,
    /// The identity whose limits and credits it shares.
    pub identity: Option<IdentityId>,
    /// How many uses it has; unlimited when none.
    pub credits: Option<NewCredits>,
}

/// New values; what is none stays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Update {
    /// New name.
    pub name: Option<Box<str>>,
    /// New scopes, all of them.
    pub scopes: Option<Vec<Scope>>,
    /// New roles, all of them.
    pub roles: Option<Vec<RoleId>>,
    /// New grants, all of them.
    pub grants: Option<Vec<Grant>>,
    /// New rate limits, all of them.
    pub rate_limits: Option<Vec<RateLimit>>,
    /// New allowed networks, all of them.
    pub allowed_cidrs: Option<Vec<IpNet>>,
    /// New metadata, whole.
    pub metadata: Option<Metadata>,
    /// New identity, or none from now on.
    pub identity: Option<Option<IdentityId>>,
}

/// What is asked of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Make it.
    Issue(Box<Issue>),
    /// Its owner has copied the current secret.
    Acknowledge,
    /// Change some fields.
    Update(Update),
    /// Give it a new secret.
    Rotate {
        /// Hash and hint of the new secret. The version is decided here.
        secret: SecretRecord,
        /// How long the old secret stays valid.
        overlap: Duration,
    },
    /// Switch it off.
    Disable(Comment),
    /// Switch it on.
    Enable(Comment),
    /// Put it out of use for good.
    Revoke(RevocationReason, Comment),
    /// Take it from lists.
    Delete(Comment),
    /// Make all tokens fail that it was exchanged for so far.
    RevokeTokens(Comment),
    /// Make one token fail that it was exchanged for.
    RevokeToken(RevokeToken),
    /// Somebody found its secret where it should not be.
    ReportLeak {
        /// Which of its secrets.
        secret_version: u32,
        /// Where, in the actor's words.
        comment: Comment,
    },
    /// Write down what the passing of time did: the end of an overlap, the expiry, a secret that nobody
    /// acknowledged in time.
    RecordPassedTime,
}

/// What a decision stands on besides the key itself.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// The moment.
    pub now: Timestamp,
    /// The rules that hold where the key is.
    pub policy: &'a Policy,
    /// The rules on acknowledgements, see [`policy::acknowledgement_due`].
    pub acknowledgement: &'a [Acknowledgement],
}

/// Networks sorted, without host bits and without repetitions, so that equal sets are equal.
pub fn canonical_networks(networks: impl IntoIterator<Item = IpNet>) -> Vec<IpNet> {
    let mut networks: Vec<IpNet> = networks.into_iter().map(|network| network.trunc()).collect();
    networks.sort_unstable();
    networks.dedup();
    networks
}

/// Scopes sorted and without repetitions.
pub fn canonical_scopes(mut scopes: Vec<Scope>) -> Vec<Scope> {
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}

/// Decides. `state` is none for a key that does not exist.
pub fn decide(state: Option<&KeyState>, command: Command, ground: Ground<'_>) -> Result<Decision> {
    let now = ground.now;
    match (state, command) {
        (None, Command::Issue(issue)) => self::issue(*issue, ground),
        (Some(_), Command::Issue(_)) => {
            Err(Error::new(Code::Conflict, "the key exists already; use a new id"))
        }
        (None, _) => Err(Error::not_found("input.id", "key")),
        (Some(state), Command::Acknowledge) => acknowledge(state, now),
        (Some(state), Command::Update(update)) => self::update(state, update, ground),
        (Some(state), Command::Rotate { secret, overlap }) => rotate(state, secret, overlap, now),
        (Some(state), Command::Disable(comment)) => disable(state, comment, now),
        (Some(state), Command::Enable(comment)) => enable(state, comment, ground),
        (Some(state), Command::Revoke(reason, comment)) => revoke(state, reason, comment, now),
        (Some(state), Command::Delete(comment)) => Ok(delete(state, comment)),
        (Some(state), Command::RevokeTokens(comment)) => Ok(tokens::revoke_all(state, comment, now)),
        (Some(state), Command::RevokeToken(revoked)) => tokens::revoke(state, revoked, now),
        (Some(_), Command::ReportLeak { secret_version, comment }) => {
            let found = KeyLeakReported { secret_version, comment };
            Ok(Decision::one(Event::KeyLeakReported(found)))
        }
        (Some(state), Command::RecordPassedTime) => Ok(record_passed_time(state, ground)),
    }
}

fn issue(issue: Issue, ground: Ground<'_>) -> Result<Decision> {
    let Ground { now, policy, .. } = ground;
    if !policy.keys_enabled() {
        return Err(Error::new(
            Code::KeysDisabled,
            "the policy of the organization, or of one above it, has switched API keys off; set apiKeysEnabled first",
        ));
    }
    if issue.expires_at.is_some_and(|at| at <= now) {
        return Err(Error::invalid(
            "input.expiresAt",
            "an expiry date lies in the future; choose a later one",
        ));
    }
    let expires_at = policy::expiry(policy, issue.expires_at, now);
    policy::refuse(&policy::violations(
        policy,
        policy::Facts {
            environment: issue.environment,
            issued_at: now,
            expires_at,
            networks: &issue.allowed_cidrs,
            rate_limits: &issue.rate_limits,
        },
    ))?;
    let warnings = warning::open_networks(&issue.allowed_cidrs);
    let event = Event::KeyIssued(KeyIssued {
        name: Personal(issue.name),
        email: Personal(issue.email),
        environment: issue.environment,
        prefix: issue.prefix,
        secret: issue.secret,
        scopes: issue.scopes,
        grants: issue.grants,
        allowed_cidrs: Personal(issue.allowed_cidrs),
        expires_at,
        metadata: Personal(issue.metadata),
        cloned_from: issue.cloned_from,
        request_fingerprint: issue.request_fingerprint.map(Personal),
        roles: issue.roles,
        rate_limits: issue.rate_limits,
        imported: issue.imported,
        identity: issue.identity,
    });
    let credits = issue.credits.map(|credits| Event::KeyCreditsChanged(credits::first(credits, now)));
    Ok(Decision { events: [event].into_iter().chain(credits).collect(), warnings })
}

fn acknowledge(state: &KeyState, now: Timestamp) -> Result<Decision> {
    usable_again(state, now, "acknowledged")?;
    if state.secret.acknowledged_at.is_some() {
        return Ok(Decision::nothing());
    }
    let secret_version = state.secret.record.version;
    Ok(Decision::one(Event::KeySecretAcknowledged(KeySecretAcknowledged { secret_version })))
}

fn update(state: &KeyState, update: Update, ground: Ground<'_>) -> Result<Decision> {
    usable_again(state, ground.now, "changed")?;
    let mut warnings = Vec::new();
    if let Some(scopes) = &update.scopes {
        warnings.extend(warning::removed_scopes(&state.scopes, scopes));
    }
    if let Some(networks) = &update.allowed_cidrs {
        warnings.extend(warning::removed_networks(&state.allowed_cidrs, networks));
        warnings.extend(warning::open_networks(networks));
    }
    let changed = KeyUpdated {
        name: update.name.map(Personal).filter(|name| *name != state.name),
        scopes: update.scopes.filter(|scopes| *scopes != state.scopes),
        allowed_cidrs: update.allowed_cidrs.map(Personal).filter(|networks| *networks != state.allowed_cidrs),
        metadata: update.metadata.map(Personal).filter(|metadata| *metadata != state.metadata),
        roles: update.roles.filter(|roles| *roles != state.roles),
        grants: update.grants.filter(|grants| *grants != state.grants),
        rate_limits: update.rate_limits.filter(|limits| *limits != state.rate_limits),
        identity: update.identity.filter(|identity| *identity != state.identity),
    };
    if changed.is_empty() {
        return Ok(Decision::nothing().warn(warnings));
    }
    // A key that broke a rule before may be changed otherwise; what is changed has to keep the rules.
    if changed.allowed_cidrs.is_some() || changed.rate_limits.is_some() {
        let networks = changed.allowed_cidrs.as_deref();
        let facts = policy::Facts {
            networks: networks.map_or(&state.allowed_cidrs[..], |networks| &networks[..]),
            rate_limits: changed.rate_limits.as_deref().unwrap_or(&state.rate_limits),
            ..policy::Facts::of(state)
        };
        let mut broken = policy::violations_of_change(ground.policy, facts);
        broken.retain(|violation| match violation.rule {
            Rule::RequireAllowedCidrs => changed.allowed_cidrs.is_some(),
            _ => changed.rate_limits.is_some(),
        });
        policy::refuse(&broken)?;
    }
    if changed.roles.as_ref().is_some_and(|roles| state.roles.iter().any(|role| !roles.contains(role))) {
        warnings.push(Warning::role_removed());
    }
    Ok(Decision::one(Event::KeyUpdated(changed)).warn(warnings))
}

fn rotate(state: &KeyState, secret: SecretRecord, overlap: Duration, now: Timestamp) -> Result<Decision> {
    usable_again(state, now, "rotated")?;
    let mut decision = Decision::nothing();
    if let Some(previous) = &state.previous_secret {
        let ended_at = previous.valid_until.min(now);
        if previous.valid_until > now {
            decision.warnings.push(Warning::overlap_cut_short());
        }
        let secret_version = previous.record.version;
        decision
            .events
            .push(Event::KeySecretOverlapEnded(KeySecretOverlapEnded { secret_version, ended_at }));
    }
    decision.events.push(Event::KeySecretRotated(KeySecretRotated {
        secret: SecretRecord { version: state.secret.record.version + 1, ..secret },
        previous_valid_until: (!overlap.is_zero()).then(|| now.plus(overlap)),
    }));
    Ok(decision)
}

fn disable(state: &KeyState, comment: Comment, now: Timestamp) -> Result<Decision> {
    match state.status(now) {
        KeyStatus::Active => Ok(Decision::one(Event::KeyDisabled(KeyDisabled { comment, rule: None }))),
        KeyStatus::Inactive => Ok(Decision::nothing()),
        status => Err(illegal(status, "disabled")),
    }
}

fn enable(state: &KeyState, comment: Comment, ground: Ground<'_>) -> Result<Decision> {
    match state.status(ground.now) {
        KeyStatus::Inactive => {
            let due = policy::acknowledgement_due(ground.acknowledgement, state);
            if due.is_some_and(|due| due <= ground.now) {
                let message = "nobody acknowledged the secret in time, as secretAcknowledgementRequired demands; acknowledge it or rotate the key first";
                let violation = policy::unacknowledged(ground.policy, state, ground.now);
                let violations: Vec<_> = violation.iter().map(policy::Violation::to_json).collect();
                return Err(Error::new(Code::PolicyViolation, message)
                    .about("input.id")
                    .with("violations", violations));
            }
            Ok(Decision::one(Event::KeyEnabled(KeyEnabled { comment })))
        }
        KeyStatus::Active => Ok(Decision::nothing()),
        status => Err(illegal(status, "enabled")),
    }
}

fn revoke(state: &KeyState, reason: RevocationReason, comment: Comment, now: Timestamp) -> Result<Decision> {
    if reason == RevocationReason::Other && comment.is_none() && state.revoked.is_none() {
        return Err(Error::invalid("input.comment", "the reason OTHER needs a comment; say why"));
    }
    match state.status(now) {
        KeyStatus::Active | KeyStatus::Inactive | KeyStatus::Expired => {
            Ok(Decision::one(Event::KeyRevoked(KeyRevoked { reason, comment })))
        }
        KeyStatus::Revoked => Ok(Decision::nothing().warn([Warning::already_revoked()])),
        KeyStatus::Deleted => Err(illegal(KeyStatus::Deleted, "revoked")),
    }
}

fn delete(state: &KeyState, comment: Comment) -> Decision {
    if state.deleted_at.is_some() {
        return Decision::nothing();
    }
    Decision::one(Event::KeyDeleted(KeyDeleted { comment }))
}

fn record_passed_time(state: &KeyState, ground: Ground<'_>) -> Decision {
    let now = ground.now;
    let mut decision = Decision::nothing();
    if state.deleted_at.is_some() || state.revoked.is_some() {
        return decision;
    }
    if let Some(previous) = state.previous_secret.as_ref().filter(|previous| previous.valid_until <= now) {
        decision.events.push(Event::KeySecretOverlapEnded(KeySecretOverlapEnded {
            secret_version: previous.record.version,
            ended_at: previous.valid_until,
        }));
    }
    if let Some(expired_at) = state.expires_at.filter(|&at| at <= now && !state.expiry_recorded) {
        decision.events.push(Event::KeyExpired(KeyExpired { expired_at }));
    }
    let due = policy::acknowledgement_due(ground.acknowledgement, state);
    if state.status(now) == KeyStatus::Active && due.is_some_and(|due| due <= now) {
        let rule = Some(Rule::SecretAcknowledgementRequired);
        decision.events.push(Event::KeyDisabled(KeyDisabled { comment: None, rule }));
    }
    decision
}

/// The organizations that a key administers at a moment.
pub fn administers(state: &KeyState, now: Timestamp) -> impl Iterator<Item = OrganizationId> {
    let active = state.status(now) == KeyStatus::Active;
    state.grants.iter().filter(move |_| active).filter_map(|grant| match (grant.role, grant.on) {
        (GrantRole::OrganizationAdministrator, GrantTarget::Organization(id)) => Some(id),
        _ => None,
    })
}

/// Whether a command can take away what a key administers.
pub const fn can_end_administration(command: &Command) -> bool {
    match command {
        Command::Disable(_) | Command::Revoke(..) | Command::Delete(_) | Command::RecordPassedTime => true,
        Command::Update(update) => update.grants.is_some(),
        Command::Issue(_)
        | Command::Acknowledge
        | Command::Rotate { .. }
        | Command::Enable(_)
        | Command::RevokeTokens(_)
        | Command::RevokeToken(_)
        | Command::ReportLeak { .. } => false,
    }
}

/// The organizations that a key administers now and no longer once these events happened. What time itself
/// ends is not among them: nobody can refuse that.
pub fn administration_ended(state: &KeyState, events: &[Event], now: Timestamp) -> Vec<OrganizationId> {
    let out = events
        .iter()
        .any(|event| matches!(event, Event::KeyDisabled(_) | Event::KeyRevoked(_) | Event::KeyDeleted(_)));
    let grants = events.iter().rev().find_map(|event| match event {
        Event::KeyUpdated(updated) => updated.grants.as_ref(),
        _ => None,
    });
    let kept = |id: &OrganizationId| {
        let needed = Grant { role: GrantRole::OrganizationAdministrator, on: GrantTarget::Organization(*id) };
        !out && grants.is_none_or(|grants| grants.contains(&needed))
    };
    administers(state, now).filter(|id| !kept(id)).collect()
}

/// What a clone of a key takes over. It gets its own name, address and secret.
pub fn cloneable(state: &KeyState, now: Timestamp) -> Result<()> {
    usable_again(state, now, "cloned")
}

/// Whether the key works or could work again.
pub(super) fn usable_again(state: &KeyState, now: Timestamp, verb: &str) -> Result<()> {
    match state.status(now) {
        KeyStatus::Active | KeyStatus::Inactive => Ok(()),
        status => Err(illegal(status, verb)),
    }
}

fn illegal(status: KeyStatus, verb: &str) -> Error {
    let (status, remedy) = match status {
        KeyStatus::Active => ("active", "nothing needs to be done"),
        KeyStatus::Inactive => ("inactive", "enable it first"),
        KeyStatus::Expired => ("expired", "create a new key with a later expiry date"),
        KeyStatus::Revoked => ("revoked for good", "create a new key"),
        KeyStatus::Deleted => ("deleted", "create a new key; its trail stays readable"),
    };
    Error::new(Code::IllegalTransition, format!("a key that is {status} cannot be {verb}; {remedy}"))
}
