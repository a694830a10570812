//! Who calls: a management key whose secret or token was checked, from where, in which request.

use std::sync::Arc;

use keyledger_schema::grant::Holder;
use keyledger_schema::{
    Actor, Grant, KeyId, OrganizationId, RequestId, SecretHash, Source, Timestamp, TokenId, WorkspaceId,
};

/// A token that was presented instead of a secret. Whoever calls with it may do so for as long as it is good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// The token.
    pub id: TokenId,
    /// How often all tokens of its key had been revoked when it was made.
    pub epoch: u32,
    /// The name of the key that signed it.
    pub kid: Box<str>,
    /// From this moment on it is not good any more.
    pub expires_at: Timestamp,
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Hash of the secret that was presented, or exchanged for the token that was.
    pub credential: SecretHash,
    /// The token, if one was presented.
    pub token: Option<Arc<Token>>,
    /// The key whose secret it is.
    pub key: KeyId,
    /// Its organization: for this caller there is no other but those below it.
    pub organization: OrganizationId,
    /// Where the key lives.
    pub workspace: WorkspaceId,
    /// What it may do here.
    pub grants: Arc<[Grant]>,
    /// Its address in trails.
    pub email: Arc<str>,
    /// From where it calls.
    pub source: Source,
    /// The request it calls in.
    pub request: RequestId,
}

impl Caller {
    /// As somebody who holds grants.
    pub fn holder(&self) -> Holder<'_> {
        Holder { organization: self.organization, grants: &self.grants }
    }

    /// As it stands in events.
    pub fn actor(&self) -> Actor {
        Actor::key(self.key, &self.email, self.holder().widest_role())
    }
}
