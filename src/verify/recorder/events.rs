//! From merged records to the events that hold them: one organization each, and never too large. Pure.

use keyledger_schema::sealing::sealed_bytes;
use keyledger_schema::usage::{UsageGroup, UsageRecord, UsageRecorded};
use keyledger_schema::{OrganizationId, Personal, Spent, Timestamp};

use super::pending::{Identity, Tally};

/// An event is closed before its data would exceed this by the estimate below, which is never too low.
/// Leaves 4 KiB of the store's 60 KiB for the envelope.
const MAX_DATA_BYTES: usize = 56 * 1024;
/// The most that one record and its group add, by the same estimate.
const MAX_RECORD_BYTES: usize = 2 * 1024;
/// `{"by":"key_…","records":[]},`
const GROUP_BYTES: usize = 64;

/// The data of an event and whose it is.
pub(super) struct Draft {
    pub(super) organization: Option<OrganizationId>,
    pub(super) data: UsageRecorded,
}

/// The most bytes that a record takes as JSON.
fn bytes(record: &UsageRecord) -> usize {
    // Braces, comma, code (at most 18 letters) and last_ms (at most 10 digits) with their names.
    let mut bytes = 3 + 28 + 21;
    bytes += if record.key.is_some() { 39 } else { 0 };
    bytes += if record.secret.is_some() { 20 } else { 0 };
    // The longest is introspection.
    bytes += if record.means.is_some() { 24 } else { 0 };
    bytes += if record.action.is_some() { 18 } else { 0 };
    // The longest IPv6 address has 45 characters and two quotation marks.
    bytes += if record.ip.is_some() { 7 + sealed_bytes(47) } else { 0 };
    bytes += if record.merged.is_some() { 30 } else { 0 };
    bytes += record.resource.as_ref().map_or(0, |resource| 13 + sealed_bytes(resource.len() + 2));
    // Neither resources nor tags have characters that JSON escapes.
    bytes += record.tags.iter().map(|tag| tag.len() + 3).sum::<usize>() + 10;
    bytes += if record.cost.is_some() { 18 } else { 0 };
    // Each with the longest identity and numbers, and a balance.
    bytes += record.spent.len() * 240 + 11;
    // Count and first_ms.
    bytes + 29 + 22
}

/// Drafts events from records that are ordered by organization and verifier. Sequence numbers begin at
/// `seq`.
pub(super) fn draft(records: Vec<(Identity, Tally)>, mut seq: u64) -> Vec<Draft> {
    let mut drafts = Vec::new();
    let mut rest = records.into_iter().peekable();
    while let Some((first, _)) = rest.peek() {
        let organization = first.used.organization;
        let mut size = 0;
        let mut taken = Vec::new();
        while let Some((identity, tally)) = rest.next_if(|(next, _)| {
            next.used.organization == organization && size < MAX_DATA_BYTES - MAX_RECORD_BYTES
        }) {
            let record = record(&identity, &tally);
            size += bytes(&record);
            if taken.last().is_none_or(|(before, _, _): &(Identity, _, _)| before.used.by != identity.used.by)
            {
                size += GROUP_BYTES;
            }
            taken.push((identity, tally, record));
        }
        drafts.push(Draft { organization, data: recorded(seq, taken) });
        seq += 1;
    }
    drafts
}

fn record(identity: &Identity, tally: &Tally) -> UsageRecord {
    let used = &identity.used;
    let mut record = UsageRecord {
        secret: used.secret,
        means: used.means,
        action: used.action,
        ip: used.ip.map(Personal),
        merged: identity.merged.then_some(tally.count),
        ..UsageRecord::bare(used.key, used.code, tally.count)
    };
    if let Some(detail) = &used.detail {
        let spent = detail.spent.iter().flatten();
        record.resource = detail.resource.clone().map(Personal);
        record.tags = detail.tags.to_vec();
        record.cost = (detail.cost != 1).then_some(detail.cost);
        record.spent = spent
            .map(|spent| Spent { credits: spent.credits.saturating_mul(tally.count), ..*spent })
            .collect();
    }
    record
}

fn recorded(seq: u64, taken: Vec<(Identity, Tally, UsageRecord)>) -> UsageRecorded {
    let from = taken.iter().map(|(_, tally, _)| tally.first).min().unwrap_or(Timestamp::MAX);
    let to = taken.iter().map(|(_, tally, _)| tally.last).max().unwrap_or(from);
    let mut groups: Vec<UsageGroup> = Vec::new();
    for (identity, tally, mut record) in taken {
        let millis = |at: Timestamp| u32::try_from(at.since(from).as_millis()).unwrap_or(u32::MAX);
        record.last_ms = millis(tally.last);
        record.first_ms = Some(millis(tally.first)).filter(|first| *first != record.last_ms);
        match groups.last_mut() {
            Some(group) if group.by == identity.used.by => group.records.push(record),
            _ => groups.push(UsageGroup { by: identity.used.by, records: vec![record] }),
        }
    }
    UsageRecorded { seq, from, to, groups }
}
