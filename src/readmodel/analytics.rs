//! What can be asked about recorded verifications, and what is answered.

mod calendar;
mod engine;
mod lens;
mod plan;
mod tally;

use std::net::IpAddr;

use chrono_tz::Tz;
use keyledger_schema::{
    Action, Environment, EventId, IdentityId, KeyId, Means, OrganizationId, RoleId, Timestamp,
    VerificationCode, WorkspaceId,
};

use super::page::{Sequence, Window};

pub(super) use engine::{Failure, answer, each_once};

/// How long a bucket of a series is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Granularity {
    /// Kept for some days.
    Minute,
    /// An hour of the time zone.
    Hour,
    /// A day of the time zone.
    Day,
    /// A month of the time zone.
    Month,
}

/// What verifications are told apart by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dimension {
    /// Of the key; of the verifier where no key is known.
    Organization,
    /// Of the key.
    Workspace,
    /// Of the key.
    Environment,
    /// The key.
    Key,
    /// The identity that the key has now.
    Identity,
    /// Each role that the key holds now: a verification counts in several groups, or in that of no role.
    Role,
    /// What was answered.
    Outcome,
    /// What the holder wanted to do.
    Action,
    /// How the key was used, if not by its secret. Introspection is no use.
    Means,
    /// Each of its tags: a verification counts in several groups, or in that of no tag.
    Tag,
    /// The holder's address.
    Address,
}

/// Which verifications; all of them by default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UsageFilter {
    /// Of keys in one of these workspaces only: what the asker may see. None for all, and for those that
    /// belong to no key.
    pub sight: Option<Vec<WorkspaceId>>,
    /// Of keys in this workspace.
    pub workspace: Option<WorkspaceId>,
    /// Of keys for this environment.
    pub environment: Option<Environment>,
    /// Of one of these keys; of any if empty.
    pub keys: Vec<KeyId>,
    /// Of keys with this identity now.
    pub identity: Option<IdentityId>,
    /// Of keys that hold this role now.
    pub role: Option<RoleId>,
    /// Answered with one of these; with any if empty.
    pub outcomes: Vec<VerificationCode>,
    /// About this action.
    pub action: Option<Action>,
    /// Used by this means. Introspection is no use, and counted nowhere; the verification log has it.
    pub means: Option<Means>,
    /// With this tag.
    pub tag: Option<Box<str>>,
    /// From this address.
    pub address: Option<IpAddr>,
}

/// Totals and series of a stretch of time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsageQuery {
    /// Of these organizations.
    pub organizations: Vec<OrganizationId>,
    /// Which verifications. Tag and address cannot be combined, neither here nor with `group_by`.
    pub filter: UsageFilter,
    /// From the start of the bucket that this moment is in.
    pub from: Timestamp,
    /// To the end of the bucket that the moment before this one is in.
    pub to: Timestamp,
    /// How long buckets are.
    pub granularity: Granularity,
    /// Whose days and months.
    pub zone: Tz,
    /// One group for each combination of values that occurs. At most two.
    pub group_by: Vec<Dimension>,
    /// So many groups, those with the most verifications first; the rest is summed up. At most 1,000 if series
    /// are wanted.
    pub top: usize,
    /// Whether series are wanted besides totals.
    pub series: bool,
}

/// How often.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Verifications.
    pub verifications: u64,
    /// Of these, answered `VALID`.
    pub valid: u64,
    /// Credits that they spent, those of keys and those of identities together.
    pub credits: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.verifications += other.verifications;
        self.valid += other.valid;
        self.credits = self.credits.saturating_add(other.credits);
    }
}

/// A value of a dimension. None where there is none: no key, no identity, no role, no tag, no action, no address,
/// and no means but the secret.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "named like the dimensions")]
pub enum DimensionValue {
    Organization(OrganizationId),
    Workspace(Option<WorkspaceId>),
    Environment(Option<Environment>),
    Key(Option<KeyId>),
    Identity(Option<IdentityId>),
    Role(Option<RoleId>),
    Outcome(VerificationCode),
    Action(Option<Action>),
    Means(Option<Means>),
    Tag(Option<Box<str>>),
    Address(Option<IpAddr>),
}

/// The verifications that have the same values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsageGroup {
    /// In the order of `group_by`.
    pub values: Vec<DimensionValue>,
    /// Over the whole time.
    pub totals: Counts,
    /// One for each bucket; empty unless series were asked for.
    pub series: Vec<Counts>,
}

/// A stretch of time of which verifications may be missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Incomplete {
    /// Its start.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsageAnswer {
    /// The start of the first bucket.
    pub from: Timestamp,
    /// The end of the last bucket.
    pub to: Timestamp,
    /// The starts of all buckets, without a gap; empty unless series were asked for.
    pub buckets: Vec<Timestamp>,
    /// Of all verifications that the filter lets through.
    pub totals: Counts,
    /// The same by bucket; empty unless series were asked for.
    pub series: Vec<Counts>,
    /// The groups with the most verifications, first the largest.
    pub groups: Vec<UsageGroup>,
    /// How many groups there are besides.
    pub other_groups: u64,
    /// What these count together.
    pub others: Counts,
    /// Stretches within the time of which verifications may be missing, since a node that answered before it
    /// recorded stopped without warning.
    pub incomplete: Vec<Incomplete>,
    /// Verifications that were recorded until then are counted; none if there are none at all.
    pub through: Option<Timestamp>,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UsageError {
    /// Tags and addresses are counted apart from each other.
    #[error("tags and addresses are counted apart from each other; ask for one of them")]
    TagWithAddress,
    /// More buckets than a series may have.
    #[error(
        "a series has at most {max} buckets, this one has {buckets}; choose a shorter time or longer buckets"
    )]
    TooManyBuckets {
        /// Asked for.
        buckets: u64,
        /// Allowed.
        max: u64,
    },
    /// Buckets that short, or with borders that are not those of UTC, are kept for a time only.
    #[error("buckets that short are kept from {since} on; choose longer ones, those of UTC, or a later time")]
    TooLongAgo {
        /// The first moment of which there are some.
        since: Timestamp,
    },
    /// More groups than are counted at once.
    #[error("there are more than {max} groups; group by less, or choose fewer verifications")]
    TooManyGroups {
        /// Allowed.
        max: u64,
    },
    /// The end is not after the start.
    #[error("the end is not after the start")]
    Empty,
    /// As of any other query.
    #[error(transparent)]
    Query(#[from] super::QueryError),
}

/// A record of the verification log: one or more verifications that agree in all that is recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verification {
    /// The event that it stands in.
    pub event: EventId,
    /// Its place among the records of that event: 0, 1, 2 …
    pub place: u32,
    /// The first of them.
    pub first_at: Timestamp,
    /// The last of them.
    pub last_at: Timestamp,
    /// How many they are.
    pub count: u64,
    /// Whose secret matched, if any key's did.
    pub key: Option<KeyId>,
    /// Which of its secrets.
    pub secret_version: Option<u32>,
    /// How it was used, if not by its secret.
    pub means: Option<Means>,
    /// Where the key lives.
    pub workspace: Option<WorkspaceId>,
    /// What was answered.
    pub code: VerificationCode,
    /// What the holder wanted to do.
    pub action: Option<Action>,
    /// On which resource.
    pub resource: Option<Box<str>>,
    /// What it was filed under.
    pub tags: Vec<Box<str>>,
    /// The holder's address.
    pub ip: Option<IpAddr>,
    /// The verifier's key; none for an open listener.
    pub by: Option<KeyId>,
    /// How many calls each of them counts as.
    pub cost: u32,
    /// Credits that they spent together.
    pub credits: u64,
}

/// Which part of the verification log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerificationQuery {
    /// Of this organization.
    pub organization: OrganizationId,
    /// Which verifications.
    pub filter: UsageFilter,
    /// With a resource that begins with this.
    pub resource_prefix: Option<Box<str>>,
    /// The last of them not before this moment.
    pub from: Option<Timestamp>,
    /// The last of them before this moment.
    pub to: Option<Timestamp>,
    /// In the order in which they were recorded.
    pub sequence: Sequence,
    /// Which stretch of the list.
    pub window: Window,
}
