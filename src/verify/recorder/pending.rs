//! Verifications that wait to be written, merged as they come. Pure.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use keyledger_schema::{KeyId, OrganizationId, Timestamp};

use super::Use;

/// The most records that wait in a lane. Beyond, requests wait until some are written, so that a stalled
/// store costs time and not memory. About 2 MB when full; 16 MB if each has the longest resource and most tags.
pub(super) const MAX_RECORDS: usize = 8_192;
/// The most records with an address of their own for one verifier, in a lane that is capped.
pub(super) const MAX_ADDRESSES: usize = 64;

/// What one record counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tally {
    pub(super) count: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// What makes a record: the same use, apart from those whose address was dropped.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Identity {
    pub(super) used: Use,
    /// It stands for uses from several addresses.
    pub(super) merged: bool,
}

fn order(identity: &Identity) -> impl Ord + '_ {
    let used = &identity.used;
    let whose = (used.organization, used.by, used.key, used.secret);
    (whose, used.means, used.code, used.action, used.ip, identity.merged, used.detail.as_deref())
}

/// What became of a use.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Added {
    /// It waits, in one of this many records.
    Waits(usize),
    /// There is no room for another record now.
    NoRoom(Use),
}

/// See the head of this module.
#[derive(Default)]
pub(super) struct Pending {
    records: HashMap<Identity, Tally>,
    /// Records with an address, by verifier. Kept for capped lanes only.
    addresses: HashMap<(Option<OrganizationId>, Option<KeyId>), usize>,
}

impl Pending {
    /// An empty one with room for this many records.
    pub(super) fn with_capacity(records: usize) -> Self {
        Self { records: HashMap::with_capacity(records), addresses: HashMap::new() }
    }

    /// Adds a use. In a capped lane, a verifier's records beyond [`MAX_ADDRESSES`] are merged into one
    /// that names no address.
    pub(super) fn add(&mut self, used: Use, at: Timestamp, capped: bool) -> Added {
        let mut identity = Identity { used, merged: false };
        if capped && identity.used.ip.is_some() && !self.records.contains_key(&identity) {
            let verifier = (identity.used.organization, identity.used.by);
            let addresses = self.addresses.entry(verifier).or_default();
            if *addresses >= MAX_ADDRESSES {
                identity = Identity { used: Use { ip: None, ..identity.used }, merged: true };
            } else if self.records.len() < MAX_RECORDS {
                *addresses += 1;
            }
        }
        let full = self.records.len() >= MAX_RECORDS;
        match self.records.entry(identity) {
            Entry::Occupied(mut record) => {
                let tally = record.get_mut();
                tally.count += 1;
                tally.first = tally.first.min(at);
                tally.last = tally.last.max(at);
            }
            Entry::Vacant(record) if full => return Added::NoRoom(record.into_key().used),
            Entry::Vacant(record) => {
                record.insert(Tally { count: 1, first: at, last: at });
            }
        }
        Added::Waits(self.records.len())
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The records, ordered by organization, verifier, key and the rest, so that an event is a function of
    /// what it tells.
    pub(super) fn into_records(self) -> Vec<(Identity, Tally)> {
        let mut records: Vec<_> = self.records.into_iter().collect();
        records.sort_unstable_by(|(a, _), (b, _)| order(a).cmp(&order(b)));
        records
    }
}
