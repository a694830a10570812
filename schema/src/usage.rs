//! Recorded verifications.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::credits::Spent;
use crate::id::KeyId;
use crate::personal::Personal;
use crate::timestamp::Timestamp;

/// The answer to a verification.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum VerificationCode {
    /// The key may do this.
    Valid,
    /// No key has this secret, or none that the caller may know of.
    NotFound,
    /// Not a key at all: wrong form or checksum. Of an exchange: what was asked for could not be understood.
    Malformed,
    /// Revoked for good.
    Revoked,
    /// Past its expiry date.
    Expired,
    /// Switched off.
    Disabled,
    /// Used in another environment than its own.
    WrongEnvironment,
    /// Used from an address that is not allowed.
    IpNotAllowed,
    /// None of its scopes covers the action and resource.
    InsufficientScope,
    /// Its organization has switched all its keys off.
    KeysDisabled,
    /// Used more often than one of its limits allows.
    RateLimited,
    /// No credits are left.
    CreditsExhausted,
    /// The token is past its expiry date.
    TokenExpired,
    /// The token, or the key that signed it, was revoked.
    TokenRevoked,
    /// The token is for somebody else.
    WrongAudience,
}

impl VerificationCode {
    /// Every code.
    pub const ALL: [Self; 15] = [
        Self::Valid,
        Self::NotFound,
        Self::Malformed,
        Self::Revoked,
        Self::Expired,
        Self::Disabled,
        Self::WrongEnvironment,
        Self::IpNotAllowed,
        Self::InsufficientScope,
        Self::KeysDisabled,
        Self::RateLimited,
        Self::CreditsExhausted,
        Self::TokenExpired,
        Self::TokenRevoked,
        Self::WrongAudience,
    ];

    /// As written in answers and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::NotFound => "NOT_FOUND",
            Self::Malformed => "MALFORMED",
            Self::Revoked => "REVOKED",
            Self::Expired => "EXPIRED",
            Self::Disabled => "DISABLED",
            Self::WrongEnvironment => "WRONG_ENVIRONMENT",
            Self::IpNotAllowed => "IP_NOT_ALLOWED",
            Self::InsufficientScope => "INSUFFICIENT_SCOPE",
            Self::KeysDisabled => "KEYS_DISABLED",
            Self::RateLimited => "RATE_LIMITED",
            Self::CreditsExhausted => "CREDITS_EXHAUSTED",
            Self::TokenExpired => "TOKEN_EXPIRED",
            Self::TokenRevoked => "TOKEN_REVOKED",
            Self::WrongAudience => "WRONG_AUDIENCE",
        }
    }
}

impl fmt::Display for VerificationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a key was used other than by presenting its secret to a verifier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// Its secret was exchanged for a token, or should have been.
    Exchange,
    /// A token of it was presented.
    Token,
    /// Somebody asked whether a token is good (RFC 7662).
    Introspection,
}

impl Means {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Exchange, Self::Token, Self::Introspection];

    /// As written in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Token => "token",
            Self::Introspection => "introspection",
        }
    }
}

/// Verifications that agree in all that is recorded, times aside, within one event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageRecord {
    /// The key whose secret matched; none when no key did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// Which of the key's secrets was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<u32>,
    /// How it was used; by its secret where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub means: Option<Means>,
    /// What was answered.
    pub code: VerificationCode,
    /// What the holder wanted to do, if it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// On which resource, if it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Personal<Box<str>>>,
    /// What the verifier filed it under. Sorted, without repetitions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Box<str>>,
    /// The holder's address, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Personal<IpAddr>>,
    /// How many verifications this record stands for.
    pub count: u64,
    /// When the first of them was, in milliseconds after the event's `from`; at the same time as the last
    /// where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ms: Option<u32>,
    /// When the last of them was, in milliseconds after the event's `from`.
    pub last_ms: u32,
    /// How many calls each of them counts as; 1 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<u32>,
    /// The credits that they spent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spent: Vec<Spent>,
    /// Set when records of more addresses than an event holds were merged into this one: how many
    /// records went into it. It names no address then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<u64>,
}

impl UsageRecord {
    /// So many verifications with this answer and nothing else that is known: what others are described by.
    pub const fn bare(key: Option<KeyId>, code: VerificationCode, count: u64) -> Self {
        Self {
            key,
            secret: None,
            means: None,
            code,
            action: None,
            resource: None,
            tags: Vec::new(),
            ip: None,
            count,
            first_ms: None,
            last_ms: 0,
            cost: None,
            spent: Vec::new(),
            merged: None,
        }
    }

    /// Whether the key was used. Whoever asks what a token is uses nothing.
    pub fn is_use(&self) -> bool {
        self.means != Some(Means::Introspection)
    }

    /// When the first of them was, in an event that starts at `from`.
    pub fn first_at(&self, from: Timestamp) -> Timestamp {
        from.plus(Duration::from_millis(self.first_ms.unwrap_or(self.last_ms).into()))
    }

    /// When the last of them was, in an event that starts at `from`.
    pub fn last_at(&self, from: Timestamp) -> Timestamp {
        from.plus(Duration::from_millis(self.last_ms.into()))
    }

    /// The credits that they spent together.
    pub fn credits(&self) -> u64 {
        self.spent.iter().fold(0, |sum, spent| sum.saturating_add(spent.credits))
    }
}

/// Records of what one verifier asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageGroup {
    /// The key that asked; none for a listener that is open to its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<KeyId>,
    /// What it asked.
    pub records: Vec<UsageRecord>,
}

/// Data of `usage.recorded`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageRecorded {
    /// 0, 1, 2 … per node, without gaps.
    pub seq: u64,
    /// When the first of these verifications was answered or about to be.
    pub from: Timestamp,
    /// When the last was.
    pub to: Timestamp,
    /// The records by verifier.
    pub groups: Vec<UsageGroup>,
}

/// Data of `usage.gap_declared`: verifications may have been answered after the last recorded one and
/// before the node stopped without warning.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageGapDeclared {
    /// The last sequence number that was recorded; none when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u64>,
    /// From this moment on verifications may be missing: somewhat before the end of what was recorded.
    pub from: Timestamp,
    /// The start of the node that declares the gap.
    pub to: Timestamp,
}
