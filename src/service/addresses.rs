//! New addresses, written into the trail of the key that was used from there.
//!
//! The read model tells which addresses are new and not told yet. An event makes an address told before the
//! position of the event counts as applied, so what is looked up after everything before the append was
//! applied, and appended at the very place of the stream that was looked at, is told exactly once, however
//! often the process ends in between and whoever else does the same.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures_util::future::join_all;
use keyledger_schema::codec::Outcome;
use keyledger_schema::event::KeyAddressFirstUsed;
use keyledger_schema::{Event, KeyId, Personal, Timestamp};

use super::Service;
use super::keys::{place_of, query_failed};
use super::writer::Failure;
use crate::error::Result;
use crate::readmodel::MAX_ADDRESSES;
use crate::store::Position;

/// How many addresses are handled at once.
const BATCH: usize = 500;

impl Service {
    /// Records the addresses that keys were used from for the first time. Answers how many. A key that cannot be
    /// handled now is logged and holds up no other; it comes again at the next call.
    pub async fn record_new_addresses(&self) -> Result<usize> {
        let mut written = 0;
        loop {
            let found = self.read_model.new_addresses(BATCH).await.map_err(|error| query_failed(&error))?;
            let full = found.len() == BATCH;
            let mut keys: BTreeMap<KeyId, Vec<(IpAddr, Timestamp)>> = BTreeMap::new();
            for (key, address, at) in found {
                keys.entry(key).or_default().push((address, at));
            }
            // Side by side, so that one commit takes many.
            let done = join_all(keys.iter().map(|(id, new)| self.record_new_addresses_of(*id, new))).await;
            let (mut last, mut recorded) = (None, 0);
            for (id, done) in keys.keys().zip(done) {
                match done {
                    Ok(Some((count, position))) => {
                        recorded += count;
                        last = last.max(position);
                    }
                    Ok(None) => {}
                    Err(error) => tracing::error!(key = %id, %error, "a new address cannot be recorded"),
                }
            }
            written += recorded;
            // The same addresses must not come back in the next batch.
            if let Some(last) = last {
                self.applied_to(last).await?;
            }
            if !full || recorded == 0 {
                return Ok(written);
            }
        }
    }

    /// How many were recorded of a key, and where the last of them stands.
    async fn record_new_addresses_of(
        &self,
        id: KeyId,
        new: &[(IpAddr, Timestamp)],
    ) -> Result<Option<(usize, Option<Position>)>> {
        let _turn = self.queues.turn(id).await;
        let Some(loaded) = self.load_key(id).await? else { return Ok(None) };
        if loaded.state.deleted_at.is_some() {
            return Ok(None);
        }
        // The stream may tell of more than the read model knew a moment ago.
        self.applied_to(loaded.position).await?;
        let addresses = new.iter().map(|(address, _)| *address).collect();
        let untold = self.read_model.addresses_to_tell(id, addresses).await;
        let untold = untold.map_err(|error| query_failed(&error))?;
        // The first address of a key is none of these.
        let mut known = loaded.state.new_addresses + 1;
        let mut events = Vec::with_capacity(untold.len());
        for &(address, used_at) in new.iter().filter(|(address, _)| untold.contains(address)) {
            if known >= MAX_ADDRESSES {
                break;
            }
            known += 1;
            let last = known == MAX_ADDRESSES;
            let used = KeyAddressFirstUsed { address: Some(Personal(address)), used_at, last };
            events.push(Event::KeyAddressFirstUsed(used));
        }
        if events.is_empty() {
            return Ok(None);
        }
        let (context, place) = (self.own_context(), Some(place_of(&loaded.state)));
        let stream = keyledger_schema::Stream::Key(id);
        match self.append(&context, stream, loaded.head, place, events, Outcome::Success).await {
            Ok(written) => Ok(Some((written.len(), written.last().and_then(|event| event.position)))),
            // Somebody else changed the key; it comes again at the next call.
            Err(Failure::Conflict) => Ok(None),
            Err(Failure::Other(error)) => Err(error),
        }
    }
}
