//! Tokens that keys were exchanged for, as far as the log is concerned: their revocation one by one.

use keyledger_schema::personal::{ERASED, UNREADABLE};
use keyledger_schema::{KeyId, Source};

use super::{KeyWritten, Service};
use crate::caller::Caller;
use crate::decisions::key::Command;
use crate::decisions::tokens::RevokeToken;
use crate::error::Result;
use crate::token::Claims;

/// How a refusal is called in the trail.
const REVOKE_TOKEN: &str = "revokeToken";

impl Service {
    /// Makes a token of a key fail, which the caller has to be allowed to manage. Of its own it ends so many a minute.
    pub async fn revoke_token(&self, caller: &Caller, token: &Claims) -> Result<KeyWritten> {
        let command = command(token, caller.key == token.sub);
        let run = self.change_key(caller, token.sub, command, None);
        self.recorded(caller, REVOKE_TOKEN, Some(&token.sub.to_string()), run).await
    }

    /// Makes a token of a key fail in the key's own name, so many of them a minute. Asks no grant, and does not ask
    /// whether the key is usable. The secret was checked.
    pub async fn revoke_own_token(&self, source: Source, token: &Claims) -> Result<KeyWritten> {
        self.in_own_name(token.sub, source, REVOKE_TOKEN, command(token, true)).await
    }

    /// Whether a key has this name, or this address in trails.
    pub async fn is_called(&self, key: KeyId, name: &str) -> Result<bool> {
        let row = self.read_model.key(key).await.map_err(|error| super::keys::query_failed(&error))?;
        // What stands in the place of a name that is not there any more is no name.
        let named = |known: &str| known == name && ![ERASED, UNREADABLE].contains(&known);
        Ok(row.is_some_and(|row| named(&row.state.name) || named(&row.state.email)))
    }
}

fn command(token: &Claims, by_holder: bool) -> Command {
    let (epoch, expires_at) = (token.epoch, token.expires_at());
    Command::RevokeToken(RevokeToken { token: token.jti, epoch, expires_at, by_holder })
}
