//! Scalars and enumerations of the API, and how they stand for the domain's.

use async_graphql::{Enum, InputValueError, InputValueResult, Scalar, ScalarType, Value};
use keyledger_projections::KeyStatus as DomainStatus;
use keyledger_schema as domain;
use keyledger_schema::Timestamp;
use keyledger_schema::event::RevocationReason as DomainReason;

use crate::service::analytics;

/// A moment as in RFC 3339, in UTC with microseconds: `2026-11-21T09:14:14.252913Z`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DateTime(pub(super) Timestamp);

/// A moment as in RFC 3339, in UTC with microseconds: `2026-11-21T09:14:14.252913Z`. Any offset is taken.
#[Scalar]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => text.parse().map(Self).map_err(InputValueError::custom),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A whole number from 0 to 2^53, as a JSON number: counts can outgrow the 32 bits of `Int`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Long(pub(super) u64);

/// A whole number from 0 to 2^53, as a JSON number.
#[Scalar]
impl ScalarType for Long {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::Number(number) => {
                number.as_u64().map(Self).ok_or_else(|| InputValueError::expected_type(value))
            }
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::Number(self.0.into())
    }
}

/// A whole number of either sign.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedLong(pub(super) i64);

/// A whole number from -2^53 to 2^53, as a JSON number.
#[Scalar]
impl ScalarType for SignedLong {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::Number(number) => {
                number.as_i64().map(Self).ok_or_else(|| InputValueError::expected_type(value))
            }
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::Number(self.0.into())
    }
}

/// Where a key may be used.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "domain::Environment")]
pub(crate) enum Environment {
    /// Real users.
    Production,
    /// Rehearsal.
    Staging,
    /// Work in progress.
    Development,
}

/// What a scope allows to do. No action implies another.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ScopeAction {
    /// Look, change nothing.
    Read,
    /// Change.
    Write,
    /// Administer.
    Admin,
    /// Every action.
    Any,
}

impl From<ScopeAction> for domain::scope::ScopeAction {
    fn from(action: ScopeAction) -> Self {
        match action {
            ScopeAction::Read => Self::Only(domain::Action::Read),
            ScopeAction::Write => Self::Only(domain::Action::Write),
            ScopeAction::Admin => Self::Only(domain::Action::Admin),
            ScopeAction::Any => Self::Any,
        }
    }
}

impl From<domain::scope::ScopeAction> for ScopeAction {
    fn from(action: domain::scope::ScopeAction) -> Self {
        use domain::scope::ScopeAction as Domain;
        match action {
            Domain::Only(domain::Action::Read) => Self::Read,
            Domain::Only(domain::Action::Write) => Self::Write,
            Domain::Only(domain::Action::Admin) => Self::Admin,
            Domain::Any => Self::Any,
        }
    }
}

/// What a key is now.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "DomainStatus")]
pub(crate) enum KeyStatus {
    /// Usable.
    Active,
    /// Switched off.
    Inactive,
    /// Past its expiry date.
    Expired,
    /// Out of use for good.
    Revoked,
    /// Gone from lists.
    Deleted,
}

/// What a key may do in Keyledger itself.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "domain::GrantRole")]
pub(crate) enum GrantRole {
    /// Everything.
    OrganizationAdministrator,
    /// Everything in a workspace.
    WorkspaceOwner,
    /// Manages the keys of a workspace.
    WorkspaceManager,
    /// Reads keys and trails.
    Auditor,
    /// Reads keys.
    Viewer,
    /// Verifies keys.
    Verifier,
}

/// Why a key is revoked.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "DomainReason")]
pub(crate) enum RevocationReason {
    /// Somebody else has, or may have, the secret.
    Compromised,
    /// Another key took its place.
    Superseded,
    /// Nobody needs it any more.
    Unused,
    /// A rule of the organization demands it.
    Policy,
    /// See the comment, which is required then.
    Other,
}

/// The answer to a verification.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "domain::VerificationCode")]
pub(crate) enum VerificationCode {
    /// The key may do this.
    Valid,
    /// No such key here.
    NotFound,
    /// Not a key at all; or a request for a token that could not be understood.
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
    /// The token is past its expiry date; the key may still be good.
    TokenExpired,
    /// The token, or the key that signed it, was revoked.
    TokenRevoked,
    /// The token is for somebody else.
    WrongAudience,
}

/// What a key's holder wants to do.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "domain::Action")]
pub(crate) enum Action {
    /// Look, change nothing.
    Read,
    /// Change.
    Write,
    /// Administer.
    Admin,
}

/// How long a bucket of a series is.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "analytics::Granularity")]
pub(crate) enum Granularity {
    /// Kept for some days.
    Minute,
    /// An hour.
    Hour,
    /// A day of the time zone.
    Day,
    /// A month of the time zone.
    Month,
}

/// What verifications are told apart by.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "analytics::Dimension")]
pub(crate) enum UsageDimension {
    /// That of the key, or of whoever asked where no key is known.
    Organization,
    /// That of the key.
    Workspace,
    /// That of the key.
    Environment,
    /// The key.
    Key,
    /// The identity that the key has now.
    Identity,
    /// Each role that the key holds now: a verification counts in the group of each.
    Role,
    /// What was answered.
    Outcome,
    /// What the holder wanted to do.
    Action,
    /// Each of its tags: a verification counts in the group of each.
    Tag,
    /// The holder's address; for those who may read trails.
    Address,
}

/// How a key was used other than by presenting its secret to a verifier.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "domain::Means")]
pub(crate) enum Means {
    /// Its secret was exchanged for a token, or should have been.
    Exchange,
    /// A token of it was presented.
    Token,
    /// Somebody asked whether a token of it is good.
    Introspection,
}

/// What kind of actor.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "domain::ActorKind")]
pub(crate) enum ActorKind {
    /// A key that called the API.
    Key,
    /// A node acting by itself.
    Node,
    /// Whoever has the machine.
    Operator,
}

/// Whether what was asked for happened.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "domain::codec::Outcome")]
pub(crate) enum Outcome {
    /// It did.
    Success,
    /// It was refused.
    Refused,
}

/// What a list of keys is ordered by.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KeyOrderField {
    /// When they were created.
    CreatedAt,
    /// By name, without regard to case.
    Name,
    /// When they expire; those that never do come last.
    ExpiresAt,
    /// When they were last used; those that never were come first.
    LastUsedAt,
}

/// Which end comes first.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum OrderDirection {
    /// Smallest, oldest or first in the alphabet.
    #[default]
    Asc,
    /// Largest, newest or last.
    Desc,
}
