//! Decisions about an identity.

use keyledger_projections::IdentityState;
use keyledger_schema::event::{Event, IdentityCreated, IdentityDeleted, IdentityUpdated};
use keyledger_schema::{Metadata, Personal, RateLimit};

use super::{Decision, Holder, holder, key::Comment};
use crate::error::{Code, Error, Result};

/// What a new identity is to be. Its parts are already checked one by one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewIdentity {
    /// What the user calls it. Fixed.
    pub external_id: Box<str>,
    /// Shown to people.
    pub name: Option<Box<str>>,
    /// How often its keys may be used, together.
    pub rate_limits: Vec<RateLimit>,
    /// The user's own.
    pub metadata: Metadata,
}

/// New values; what is none stays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Update {
    /// New name.
    pub name: Option<Box<str>>,
    /// New rate limits, all of them.
    pub rate_limits: Option<Vec<RateLimit>>,
    /// New metadata, whole.
    pub metadata: Option<Metadata>,
}

/// What is asked of an identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Make it.
    Create(NewIdentity),
    /// Change some fields.
    Update(Update),
    /// Take it from lists. Its external id stays taken.
    Delete {
        /// The first keys that hold it and can still be used.
        holders: Vec<Holder>,
        /// How many there are.
        count: u64,
        /// Why.
        comment: Comment,
    },
}

/// Decides. `state` is none for an identity that does not exist.
pub fn decide(state: Option<&IdentityState>, command: Command) -> Result<Decision> {
    match (state, command) {
        (None, Command::Create(new)) => Ok(create(new)),
        (Some(state), Command::Create(new)) => exists(state, &new),
        (None, _) => Err(Error::not_found("input.id", "identity")),
        (Some(state), Command::Update(update)) => self::update(state, update),
        (Some(state), Command::Delete { holders, count, comment }) => delete(state, &holders, count, comment),
    }
}

/// Refuses what needs an identity that was not deleted.
pub fn alive(state: &IdentityState, field: &'static str) -> Result<()> {
    if state.deleted_at.is_none() {
        return Ok(());
    }
    let message = "this identity was deleted; create another one, with another external id";
    Err(Error::new(Code::IllegalTransition, message).about(field))
}

fn create(new: NewIdentity) -> Decision {
    Decision::one(Event::IdentityCreated(IdentityCreated {
        external_id: Personal(new.external_id),
        name: new.name.map(Personal),
        rate_limits: new.rate_limits,
        metadata: Personal(new.metadata),
    }))
}

/// Creating what is there is harmless as long as it is the same.
fn exists(state: &IdentityState, new: &NewIdentity) -> Result<Decision> {
    let conflict = |message| {
        let error = Error::new(Code::Conflict, message).about("input.externalId");
        Err(error.with("id", state.id.to_string()))
    };
    if state.erased_at.is_some() {
        // Nothing that leads from the external id to the one who had it.
        let message = "this external id cannot be given any more; choose another";
        return Err(Error::new(Code::Conflict, message).about("input.externalId"));
    }
    if state.deleted_at.is_some() {
        return conflict(
            "an identity with this external id was deleted, and an external id is never given twice; choose another",
        );
    }
    let same = state.name.as_deref() == new.name.as_ref()
        && state.rate_limits == new.rate_limits
        && *state.metadata == new.metadata;
    if !same {
        return conflict("there is an identity with this external id and other content; update it instead");
    }
    Ok(Decision::nothing())
}

fn update(state: &IdentityState, update: Update) -> Result<Decision> {
    alive(state, "input.id")?;
    let changed = IdentityUpdated {
        name: update.name.map(Personal).filter(|name| state.name.as_ref() != Some(name)),
        rate_limits: update.rate_limits.filter(|limits| *limits != state.rate_limits),
        metadata: update.metadata.map(Personal).filter(|metadata| *metadata != state.metadata),
    };
    if changed == IdentityUpdated::default() {
        return Ok(Decision::nothing());
    }
    Ok(Decision::one(Event::IdentityUpdated(changed)))
}

fn delete(state: &IdentityState, holders: &[Holder], count: u64, comment: Comment) -> Result<Decision> {
    if state.deleted_at.is_some() {
        return Ok(Decision::nothing());
    }
    if count > 0 {
        return Err(holder::held("identity", "identityId", holders, count));
    }
    Ok(Decision::one(Event::IdentityDeleted(IdentityDeleted { comment })))
}
