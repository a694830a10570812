//! Who did it, and from where.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::grant::GrantRole;
use crate::id::{KeyId, NodeId, TokenId};
use crate::personal::Personal;

/// What kind of actor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A key that called the API.
    Key,
    /// A node acting by itself: timers, the recorder, start and stop.
    Node,
    /// Whoever has the machine: the `init` command.
    Operator,
}

/// Who did it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// What kind.
    pub kind: ActorKind,
    /// A key's or a node's id; an operator has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Box<str>>,
    /// A key's generated address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Personal<Box<str>>>,
    /// The widest grant that the actor held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<GrantRole>,
}

impl Actor {
    /// A key that called the API.
    pub fn key(id: KeyId, email: &str, role: Option<GrantRole>) -> Self {
        Self {
            kind: ActorKind::Key,
            id: Some(id.to_string().into()),
            email: Some(Personal(email.into())),
            role,
        }
    }

    /// A node acting by itself.
    pub fn node(id: NodeId) -> Self {
        Self { kind: ActorKind::Node, id: Some(id.to_string().into()), email: None, role: None }
    }

    /// Whoever has the machine.
    pub const fn operator() -> Self {
        Self { kind: ActorKind::Operator, id: None, email: None, role: None }
    }

    /// The key that acted, if it was one.
    pub fn key_id(&self) -> Option<KeyId> {
        match self.kind {
            ActorKind::Key => self.id.as_deref()?.parse().ok(),
            ActorKind::Node | ActorKind::Operator => None,
        }
    }
}

/// The longest user agent kept, in bytes; the rest is cut.
pub const MAX_USER_AGENT_BYTES: usize = 256;

/// From where it was done. Empty for what a node does by itself.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Personal<IpAddr>>,
    /// The client's own word on what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Personal<Box<str>>>,
    /// The token that the acting key presented instead of its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
}

impl Source {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.ip.is_none() && self.user_agent.is_none() && self.token.is_none()
    }
}
