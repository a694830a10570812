//! What is known of a key's use.

use std::net::IpAddr;

use keyledger_schema::usage::{UsageRecord, UsageRecorded};
use keyledger_schema::{KeyId, Personal, Timestamp, VerificationCode};
use serde::{Deserialize, Serialize};

/// A key's use in numbers, and its last use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyUsage {
    /// Verifications that were answered `VALID`.
    pub valid: u64,
    /// Verifications that were answered otherwise.
    pub refused: u64,
    /// When it was first used, whatever the answer.
    pub first_at: Timestamp,
    /// When it was last used, whatever the answer.
    pub last_at: Timestamp,
    /// From where.
    pub last_ip: Option<Personal<IpAddr>>,
    /// What was answered.
    pub last_code: VerificationCode,
}

impl KeyUsage {
    /// The use that one record tells of. `from` is the start of the event that holds it.
    pub fn of(record: &UsageRecord, from: Timestamp) -> Self {
        let valid = record.code == VerificationCode::Valid;
        Self {
            valid: if valid { record.count } else { 0 },
            refused: if valid { 0 } else { record.count },
            first_at: record.first_at(from),
            last_at: record.last_at(from),
            last_ip: record.ip.clone(),
            last_code: record.code,
        }
    }

    /// Both together. Where both were last used at the same moment, `later` wins.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        let (valid, refused) =
            (self.valid.saturating_add(later.valid), self.refused.saturating_add(later.refused));
        let first_at = self.first_at.min(later.first_at);
        let last = if later.last_at >= self.last_at { later } else { self };
        Self { valid, refused, first_at, ..last }
    }

    /// The use of each key that an event tells of, in the event's order; a key may come more than once.
    pub fn in_event(recorded: &UsageRecorded) -> impl Iterator<Item = (KeyId, Self)> + '_ {
        recorded
            .groups
            .iter()
            .flat_map(|group| &group.records)
            .filter(|record| record.is_use())
            .filter_map(|record| Some((record.key?, Self::of(record, recorded.from))))
    }
}
