//! What a token says.

use keyledger_schema::{Environment, KeyId, OrganizationId, Timestamp, TokenId, WorkspaceId};
use serde::{Deserialize, Serialize};

/// For whom a token is: one recipient as a text, several as a list (RFC 7519 §4.1.3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(Box<str>),
    /// Several.
    Several(Vec<Box<str>>),
}

impl Audience {
    /// From the resources that were asked for; never none.
    pub fn new(mut all: Vec<Box<str>>) -> Self {
        match all.pop() {
            Some(one) if all.is_empty() => Self::One(one),
            Some(last) => {
                all.push(last);
                Self::Several(all)
            }
            None => Self::Several(all),
        }
    }

    /// Each of them.
    pub fn all(&self) -> &[Box<str>] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(all) => all,
        }
    }

    /// Whether somebody is among them.
    pub fn contains(&self, recipient: &str) -> bool {
        self.all().iter().any(|one| **one == *recipient)
    }
}

/// The claims of a token (RFC 9068 §2.2), times in whole seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer of the key's organization.
    pub iss: Box<str>,
    /// The key.
    pub sub: KeyId,
    /// For whom it is: the resources that were asked for (RFC 8707), or the issuer.
    pub aud: Audience,
    /// From this second on it is not good any more.
    pub exp: i64,
    /// Before this second it is not good yet.
    pub nbf: i64,
    /// The second in which it was made.
    pub iat: i64,
    /// The token's own id.
    pub jti: TokenId,
    /// The key again, as RFC 9068 names it.
    pub client_id: KeyId,
    /// What it allows in the user's own API: scopes with a space between them (RFC 8693 §4.2).
    pub scope: Box<str>,
    /// The key's organization.
    pub org: OrganizationId,
    /// The key's workspace.
    pub workspace: WorkspaceId,
    /// The key's environment.
    pub env: Environment,
    /// Which of the key's secrets was exchanged. When that secret ends, so does the token.
    pub secret: u32,
    /// How often all tokens of the key had been revoked when it was made. Once that was done again it is not good.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u32,
    /// Whether it may also do here what the key's grants allow: it may when it is for the issuer and nothing
    /// narrowed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub grants: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this form")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Claims {
    /// From this moment on it is expired.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_micros(self.exp.saturating_mul(1_000_000))
    }

    /// When it was made.
    pub fn issued_at(&self) -> Timestamp {
        Timestamp::from_micros(self.iat.saturating_mul(1_000_000))
    }

    /// Its scopes as texts.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.split(' ').filter(|scope| !scope.is_empty())
    }
}
