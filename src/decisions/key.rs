//! Decisions about a key.

use std::time::Duration;

use ipnet::IpNet;
use keyledger_projections::{KeyState, KeyStatus};
use keyledger_schema::event::{
    Event, Hex32, KeyDeleted, KeyExpired, KeyIssued, KeyRevoked, KeySecretAcknowledged,
    KeySecretOverlapEnded, KeySecretRotated, KeySwitched, KeyUpdated, RevocationReason,
};
use keyledger_schema::{Environment, Grant, KeyId, Metadata, Personal, Scope, SecretRecord, Timestamp};

use super::{Decision, Warning, warning};
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
    /// What it may do in Keyledger itself.
    pub grants: Vec<Grant>,
    /// Addresses it may be used from.
    pub allowed_cidrs: Vec<IpNet>,
    /// Fixed for good.
    pub expires_at: Option<Timestamp>,
    /// The user's own.
    pub metadata: Metadata,
    /// The key it is made from.
    pub cloned_from: Option<KeyId>,
    /// Of the request that an idempotency key stands for.
    pub request_fingerprint: Option<Hex32>,
}

/// New values; what is none stays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Update {
    /// New name.
    pub name: Option<Box<str>>,
    /// New scopes, all of them.
    pub scopes: Option<Vec<Scope>>,
    /// New allowed networks, all of them.
    pub allowed_cidrs: Option<Vec<IpNet>>,
    /// New metadata, whole.
    pub metadata: Option<Metadata>,
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
    /// Write down what the passing of time did: the end of an overlap, the expiry.
    RecordPassedTime,
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
pub fn decide(state: Option<&KeyState>, command: Command, now: Timestamp) -> Result<Decision> {
    match (state, command) {
        (None, Command::Issue(issue)) => self::issue(*issue, now),
        (Some(_), Command::Issue(_)) => {
            Err(Error::new(Code::Conflict, "the key exists already; use a new id"))
        }
        (None, _) => Err(Error::not_found("input.id", "key")),
        (Some(state), Command::Acknowledge) => acknowledge(state, now),
        (Some(state), Command::Update(update)) => self::update(state, update, now),
        (Some(state), Command::Rotate { secret, overlap }) => rotate(state, secret, overlap, now),
        (Some(state), Command::Disable(comment)) => disable(state, comment, now),
        (Some(state), Command::Enable(comment)) => enable(state, comment, now),
        (Some(state), Command::Revoke(reason, comment)) => revoke(state, reason, comment, now),
        (Some(state), Command::Delete(comment)) => Ok(delete(state, comment)),
        (Some(state), Command::RecordPassedTime) => Ok(record_passed_time(state, now)),
    }
}

fn issue(issue: Issue, now: Timestamp) -> Result<Decision> {
    if issue.expires_at.is_some_and(|at| at <= now) {
        return Err(Error::invalid(
            "input.expiresAt",
            "an expiry date lies in the future; choose a later one",
        ));
    }
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
        expires_at: issue.expires_at,
        metadata: Personal(issue.metadata),
        cloned_from: issue.cloned_from,
        request_fingerprint: issue.request_fingerprint,
    });
    Ok(Decision::one(event).warn(warnings))
}

fn acknowledge(state: &KeyState, now: Timestamp) -> Result<Decision> {
    usable_again(state, now, "acknowledged")?;
    if state.secret.acknowledged_at.is_some() {
        return Ok(Decision::nothing());
    }
    let secret_version = state.secret.record.version;
    Ok(Decision::one(Event::KeySecretAcknowledged(KeySecretAcknowledged { secret_version })))
}

fn update(state: &KeyState, update: Update, now: Timestamp) -> Result<Decision> {
    usable_again(state, now, "changed")?;
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
    };
    if changed.is_empty() {
        return Ok(Decision::nothing().warn(warnings));
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
        KeyStatus::Active => Ok(Decision::one(Event::KeyDisabled(KeySwitched { comment }))),
        KeyStatus::Inactive => Ok(Decision::nothing()),
        status => Err(illegal(status, "disabled")),
    }
}

fn enable(state: &KeyState, comment: Comment, now: Timestamp) -> Result<Decision> {
    match state.status(now) {
        KeyStatus::Inactive => Ok(Decision::one(Event::KeyEnabled(KeySwitched { comment }))),
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

fn record_passed_time(state: &KeyState, now: Timestamp) -> Decision {
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
    decision
}

/// What a clone of a key takes over. It gets its own name, address and secret.
pub fn cloneable(state: &KeyState, now: Timestamp) -> Result<()> {
    usable_again(state, now, "cloned")
}

/// Whether the key works or could work again.
fn usable_again(state: &KeyState, now: Timestamp, verb: &str) -> Result<()> {
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
