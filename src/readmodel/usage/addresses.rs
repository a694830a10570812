//! The addresses that keys were used from, so that a new one can be told of.
//!
//! The first address of a key is not news, and after [`MAX_ADDRESSES`] no further ones are kept. A use counts
//! only if the secret matched. What a key's trail names already is not told again: the feed marks it, before
//! or after the use itself is folded. Which addresses are kept depends on the log alone, in whichever order
//! the feed and the usage projector come by.

use std::net::IpAddr;

use keyledger_schema::{KeyId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Result, Transaction, params};

use super::super::{rows, snapshot};
use super::values::{address_bytes, address_of};

/// The most addresses that are known of a key.
pub const MAX_ADDRESSES: u32 = 100;

/// A key was used from there. Uses come in log order. `dead` tells whether the key is deleted, of which
/// nothing is told any more.
pub(super) fn used(
    transaction: &Transaction<'_>,
    seq: i64,
    address: IpAddr,
    at: Timestamp,
    dead: impl FnOnce() -> bool,
) -> Result<()> {
    let bytes = address_bytes(address);
    let counted: Option<bool> = transaction
        .prepare_cached("SELECT counted FROM key_addresses WHERE seq = ?1 AND address = ?2")?
        .query_row(params![seq, bytes], |row| row.get(0))
        .optional()?;
    match counted {
        Some(true) => {}
        Some(false) => {
            transaction
                .prepare_cached(
                    "UPDATE key_addresses SET counted = 1, first_at = ?3 WHERE seq = ?1 AND address = ?2",
                )?
                .execute(params![seq, bytes, at.micros()])?;
        }
        None => {
            let (known, counted): (u32, u32) = transaction
                .prepare_cached(
                    "SELECT count(*), coalesce(sum(counted), 0) FROM key_addresses WHERE seq = ?1",
                )?
                .query_row([seq], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if known < MAX_ADDRESSES {
                let told = counted == 0 || dead();
                transaction
                    .prepare_cached(
                        "INSERT INTO key_addresses (seq, address, first_at, told, counted) \
                         VALUES (?1, ?2, ?3, ?4, 1)",
                    )?
                    .execute(params![seq, bytes, at.micros(), told])?;
            }
        }
    }
    Ok(())
}

/// A key's trail names an address.
pub(in crate::readmodel) fn told(
    transaction: &Transaction<'_>,
    seq: i64,
    address: IpAddr,
    at: Timestamp,
) -> Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO key_addresses (seq, address, first_at, told, counted) VALUES (?1, ?2, ?3, 1, 0) \
             ON CONFLICT (seq, address) DO UPDATE SET told = 1",
        )?
        .execute(params![seq, address_bytes(address), at.micros()])?;
    Ok(())
}

/// A key is deleted: nothing more is told of it.
pub(in crate::readmodel) fn forget(transaction: &Transaction<'_>, seq: i64) -> Result<()> {
    transaction
        .prepare_cached("UPDATE key_addresses SET told = 1 WHERE seq = ?1 AND told = 0")?
        .execute([seq])?;
    Ok(())
}

/// Addresses that no trail names yet, with the first use from there, the oldest first.
pub(in crate::readmodel) fn untold(
    connection: &Connection,
    max: usize,
) -> Result<Vec<(KeyId, IpAddr, Timestamp)>> {
    connection
        .prepare_cached(
            "SELECT k.id, a.address, a.first_at \
             FROM key_addresses a INDEXED BY key_addresses_untold JOIN keys k ON k.seq = a.seq \
             WHERE a.told = 0 ORDER BY a.first_at LIMIT ?1",
        )?
        .query_map([i64::try_from(max).unwrap_or(i64::MAX)], |row| {
            let address = address_of(row.get_ref(1)?.as_blob()?);
            let address = address.ok_or_else(|| snapshot::damaged(1, snapshot::Error))?;
            Ok((KeyId::from_uuid(rows::id(row, 0)?), address, Timestamp::from_micros(row.get(2)?)))
        })?
        .collect()
}

/// Of these addresses of a key those that its trail does not name.
pub(in crate::readmodel) fn still_untold(
    connection: &Connection,
    key: KeyId,
    addresses: &[IpAddr],
) -> Result<Vec<IpAddr>> {
    let mut untold = connection.prepare_cached(
        "SELECT 1 FROM key_addresses WHERE seq = (SELECT seq FROM keys WHERE id = ?1) \
         AND address = ?2 AND told = 0",
    )?;
    let mut found = Vec::with_capacity(addresses.len());
    for address in addresses {
        if untold.exists(params![key.uuid().into_bytes(), address_bytes(*address)])? {
            found.push(*address);
        }
    }
    Ok(found)
}
