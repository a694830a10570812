//! What happens to identities, and to credits.

use serde::{Deserialize, Serialize};

use crate::credits::Refill;
use crate::metadata::Metadata;
use crate::personal::Personal;
use crate::policy::RateLimit;

/// Data of `identity.created`: somebody of the user's own who holds keys, and whose limits and credits they
/// share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityCreated {
    /// What the user calls it: unique within the organization, fixed.
    pub external_id: Personal<Box<str>>,
    /// Shown to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Personal<Box<str>>>,
    /// How often its keys may be used, together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    /// The user's own.
    #[serde(default, skip_serializing_if = "no_metadata")]
    pub metadata: Personal<Metadata>,
}

fn no_metadata(metadata: &Personal<Metadata>) -> bool {
    metadata.is_empty()
}

/// Data of `identity.updated`: the new value of each field that changed, and no others.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityUpdated {
    /// New name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Personal<Box<str>>>,
    /// New rate limits, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limits: Option<Vec<RateLimit>>,
    /// New metadata, whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Personal<Metadata>>,
}

/// Data of `identity.deleted`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityDeleted {
    /// Why, in the actor's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Personal<Box<str>>>,
}

/// Data of `key.credits_changed` and `identity.credits_changed`: from now on so many credits are left. See
/// [`crate::credits`] for how they are counted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditsChanged {
    /// Number of the balance: higher than all before it.
    pub n: u32,
    /// How many credits had ever been spent when this was decided.
    pub counted: u64,
    /// How many are left; unlimited when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<i64>,
    /// How they come back; not at all when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refill: Option<Refill>,
    /// By how much they were adjusted, when they were not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted_by: Option<i64>,
    /// Why, in the actor's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Personal<Box<str>>>,
}
