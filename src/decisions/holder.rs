//! Keys that hold what somebody wants to delete.

use keyledger_schema::KeyId;
use serde_json::{Value, json};

use crate::error::{Code, Error};

/// A key that holds a role or an identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The key.
    pub id: KeyId,
    /// Its name.
    pub name: Box<str>,
}

/// The refusal to delete what keys hold: how many they are, and the first of them. `filter` is the one of `keys` that
/// lists them all.
pub(super) fn held(what: &str, filter: &str, holders: &[Holder], count: u64) -> Error {
    let message = format!(
        "{} this {what}, so it cannot be deleted; take it from them first (keys with the filter {filter} lists them)",
        if count == 1 { "1 key holds".to_owned() } else { format!("{count} keys hold") },
    );
    let holders: Vec<Value> =
        holders.iter().map(|holder| json!({ "id": holder.id, "name": holder.name })).collect();
    Error::new(Code::IllegalTransition, message)
        .about("input.id")
        .with("holderCount", count)
        .with("holders", holders)
}
