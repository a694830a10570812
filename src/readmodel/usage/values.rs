//! The dictionary: numbers for tags, addresses and places, so that cells hold numbers only.
//!
//! Each organization has numbers of its own for each kind, 1, 2, 3 … in log order of the first occurrence.
//! Numbers are never given up, so they are bounded: what comes after [`MAX_NUMBERS`] of a kind is counted as 0,
//! which otherwise stands for no value. The verification log has it all the same.
//!
//! Invariant: numbers depend on the log alone. Giving the same values in the same order again gives the same
//! numbers, so an interrupted round may be repeated.

use std::collections::HashMap;
use std::net::IpAddr;

use keyledger_schema::{Environment, OrganizationId, WorkspaceId};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use uuid::Uuid;

use super::rollup::owner;

/// What a number stands for. The number of the kind is part of the layout.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(in crate::readmodel) enum ValueKind {
    /// The tag's text.
    Tag = 0,
    /// The 4 or 16 bytes of the address.
    Address = 1,
    /// The workspace's 16 bytes and a byte for the environment.
    Place = 2,
}

/// The most numbers of a kind in an organization.
pub(in crate::readmodel) const MAX_NUMBERS: u32 = 1 << 20;

/// An address as the dictionary has it.
pub(in crate::readmodel) fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The address of these bytes.
pub(in crate::readmodel) fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A place as the dictionary has it.
pub(in crate::readmodel) fn place_bytes(workspace: WorkspaceId, environment: Environment) -> [u8; 17] {
    let mut bytes = [environment as u8; 17];
    bytes[..16].copy_from_slice(workspace.uuid().as_bytes());
    bytes
}

/// The place of these bytes.
pub(in crate::readmodel) fn place_of(bytes: &[u8]) -> Option<(WorkspaceId, Environment)> {
    let (&environment, workspace) = bytes.split_last()?;
    let workspace = WorkspaceId::from_uuid(Uuid::from_slice(workspace).ok()?);
    Some((workspace, *Environment::ALL.get(usize::from(environment))?))
}

/// The number of a value, if it has one.
pub(in crate::readmodel) fn number(
    connection: &Connection,
    organization: Option<OrganizationId>,
    kind: ValueKind,
    value: &[u8],
) -> rusqlite::Result<Option<u32>> {
    find(connection, owner(organization), kind, value)
}

fn find(
    connection: &Connection,
    owner: [u8; 16],
    kind: ValueKind,
    value: &[u8],
) -> rusqlite::Result<Option<u32>> {
    connection
        .prepare_cached("SELECT number FROM usage_values WHERE org = ?1 AND kind = ?2 AND value = ?3")?
        .query_row(params![owner, kind as u8, value], |row| row.get(0))
        .optional()
}

/// The value that a number stands for.
pub(in crate::readmodel) fn value(
    connection: &Connection,
    organization: Option<OrganizationId>,
    kind: ValueKind,
    number: u32,
) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT value FROM usage_values WHERE org = ?1 AND kind = ?2 AND number = ?3")?
        .query_row(params![owner(organization), kind as u8, number], |row| row.get(0))
        .optional()
}

/// All places of an organization with their numbers. There are few.
pub(in crate::readmodel) fn places(
    connection: &Connection,
    organization: OrganizationId,
) -> rusqlite::Result<Vec<(u32, WorkspaceId, Environment)>> {
    let mut statement = connection.prepare_cached(
        "SELECT number, value FROM usage_values WHERE org = ?1 AND kind = ?2 ORDER BY number",
    )?;
    let places = statement.query_map(params![owner(Some(organization)), ValueKind::Place as u8], |row| {
        Ok((row.get(0)?, place_of(row.get_ref(1)?.as_blob()?)))
    })?;
    places
        .filter_map(|place| match place {
            Ok((number, place)) => place.map(|(workspace, environment)| Ok((number, workspace, environment))),
            Err(error) => Some(Err(error)),
        })
        .collect()
}

/// Gives numbers, and remembers some that it gave or found.
#[derive(Default)]
pub(super) struct Numbers {
    known: HashMap<([u8; 16], ValueKind), Known>,
    remembered: usize,
}

/// Numbers of a kind in an organization.
#[derive(Default)]
struct Known {
    numbers: HashMap<Box<[u8]>, u32>,
    highest: Option<u32>,
}

impl Numbers {
    /// How many are remembered between rounds.
    const REMEMBERED: usize = 100_000;

    /// To be called between rounds.
    pub(super) fn forget_some(&mut self) {
        if self.remembered > Self::REMEMBERED {
            *self = Self::default();
        }
    }

    /// The number of a value: what it has, else the next one, which is written.
    pub(super) fn give(
        &mut self,
        transaction: &Transaction<'_>,
        owner: [u8; 16],
        kind: ValueKind,
        value: &[u8],
    ) -> rusqlite::Result<u32> {
        let known = self.known.entry((owner, kind)).or_default();
        if let Some(number) = known.numbers.get(value) {
            return Ok(*number);
        }
        let number = match find(transaction, owner, kind, value)? {
            Some(number) => number,
            None => known.next(transaction, owner, kind, value)?,
        };
        known.numbers.insert(value.into(), number);
        self.remembered += 1;
        Ok(number)
    }
}

impl Known {
    fn next(
        &mut self,
        transaction: &Transaction<'_>,
        owner: [u8; 16],
        kind: ValueKind,
        value: &[u8],
    ) -> rusqlite::Result<u32> {
        let highest = match self.highest {
            Some(highest) => highest,
            None => transaction
                .prepare_cached(
                    "SELECT coalesce(max(number), 0) FROM usage_values WHERE org = ?1 AND kind = ?2",
                )?
                .query_row(params![owner, kind as u8], |row| row.get(0))?,
        };
        self.highest = Some(highest);
        if highest >= MAX_NUMBERS {
            return Ok(0);
        }
        transaction
            .prepare_cached("INSERT INTO usage_values (org, kind, number, value) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![owner, kind as u8, highest + 1, value])?;
        self.highest = Some(highest + 1);
        Ok(highest + 1)
    }
}
