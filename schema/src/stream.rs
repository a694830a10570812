//! Stream names. The category stands before the first `-`, as KurrentDB's projections expect.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::id::{IdentityId, KeyId, LogId, NodeId, OrganizationId, WorkspaceId};

/// The events of one thing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stream {
    /// An organization's own life.
    Organization(OrganizationId),
    /// A workspace's own life.
    Workspace(WorkspaceId),
    /// A key's life.
    Key(KeyId),
    /// An identity's life.
    Identity(IdentityId),
    /// Verifications recorded by a node.
    Usage(NodeId),
    /// A node's own life.
    Node(NodeId),
    /// Refused commands and reads of the trail of an organization.
    Audit(OrganizationId),
    /// The log's own life: its signing keys, and commitments to the ends of all streams.
    Log(LogId),
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization(id) => write!(f, "organization-{id}"),
            Self::Workspace(id) => write!(f, "workspace-{id}"),
            Self::Key(id) => write!(f, "key-{id}"),
            Self::Identity(id) => write!(f, "identity-{id}"),
            Self::Usage(id) => write!(f, "usage-{id}"),
            Self::Node(id) => write!(f, "node-{id}"),
            Self::Audit(id) => write!(f, "audit-{id}"),
            Self::Log(id) => write!(f, "log-{id}"),
        }
    }
}

/// Why a text is not a stream name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a stream name like key-key_01jd8x…")]
pub struct Error;

impl FromStr for Stream {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let (category, id) = text.split_once('-').ok_or(Error)?;
        match category {
            "organization" => id.parse().ok().map(Self::Organization),
            "workspace" => id.parse().ok().map(Self::Workspace),
            "key" => id.parse().ok().map(Self::Key),
            "identity" => id.parse().ok().map(Self::Identity),
            "usage" => id.parse().ok().map(Self::Usage),
            "node" => id.parse().ok().map(Self::Node),
            "audit" => id.parse().ok().map(Self::Audit),
            "log" => id.parse().ok().map(Self::Log),
            _ => None,
        }
        .ok_or(Error)
    }
}

impl Serialize for Stream {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stream {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Stream;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a stream name")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Stream, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}
