//! Tokens that keys were exchanged for, as far as the log is concerned: their revocation one by one.

use keyledger_schema::{KeyId, Source, Timestamp, TokenId};

use super::{KeyWritten, Service};
use crate::caller::Caller;
use crate::decisions::key::Command;
use crate::error::Result;

/// How a refusal is called in the trail.
const REVOKE_TOKEN: &str = "revokeToken";

impl Service {
    /// Makes a token of a key fail, which the caller has to be allowed to manage.
    pub async fn revoke_token(
        &self,
        caller: &Caller,
        key: KeyId,
        token: TokenId,
        expires_at: Timestamp,
    ) -> Result<KeyWritten> {
        let command = Command::RevokeToken { token, expires_at };
        let run = self.change_key(caller, key, command, None);
        self.recorded(caller, REVOKE_TOKEN, Some(&key.to_string()), run).await
    }

    /// Makes a token of a key fail in the key's own name. Asks no grant, and does not ask whether the key is usable. The
    /// secret was checked.
    pub async fn revoke_own_token(
        &self,
        key: KeyId,
        source: Source,
        token: TokenId,
        expires_at: Timestamp,
    ) -> Result<KeyWritten> {
        self.in_own_name(key, source, REVOKE_TOKEN, Command::RevokeToken { token, expires_at }).await
    }

    /// Whether a key has this name, or this address in trails.
    pub async fn is_called(&self, key: KeyId, name: &str) -> Result<bool> {
        let row = self.read_model.key(key).await.map_err(|error| super::keys::query_failed(&error))?;
        Ok(row.is_some_and(|row| **row.state.name == *name || **row.state.email == *name))
    }
}
