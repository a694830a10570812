//! Decisions about the erasure of personal data.
//!
//! Only what is out of use can be erased. The networks that a key may be used from are personal data too, and
//! when nobody can read them any more they restrict nothing.

use keyledger_projections::{IdentityState, KeyState, KeyStatus};
use keyledger_schema::Timestamp;
use keyledger_schema::event::{ErasureReason, Event, SubjectErased};

use super::Decision;
use crate::error::{Code, Error, Result};

/// Erases a key's personal data.
pub fn of_key(state: &KeyState, reason: ErasureReason, now: Timestamp) -> Result<Decision> {
    if state.erased_at.is_some() {
        return Ok(Decision::nothing());
    }
    match state.status(now) {
        KeyStatus::Revoked | KeyStatus::Deleted | KeyStatus::Expired => {
            Ok(Decision::one(Event::KeyErased(SubjectErased { reason })))
        }
        KeyStatus::Active | KeyStatus::Inactive => {
            let message = "personal data is erased only of keys that are revoked, deleted or expired; revoke the key first";
            Err(Error::new(Code::IllegalTransition, message).about("input.id"))
        }
    }
}

/// Erases an identity's personal data.
pub fn of_identity(state: &IdentityState, reason: ErasureReason) -> Result<Decision> {
    if state.erased_at.is_some() {
        return Ok(Decision::nothing());
    }
    if state.deleted_at.is_none() {
        let message =
            "personal data is erased only of identities that are deleted; delete the identity first";
        return Err(Error::new(Code::IllegalTransition, message).about("input.id"));
    }
    Ok(Decision::one(Event::IdentityErased(SubjectErased { reason })))
}
