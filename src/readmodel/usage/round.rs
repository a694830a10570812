//! What a round writes: a list of steps, each of which changes a row or a few.
//!
//! Invariants: the steps and their order depend on the round's events alone, given the numbers of the
//! dictionary; so when the process ends within a round, the next one makes the same list again and leaves out
//! the steps that are done.

use std::collections::BTreeMap;
use std::net::IpAddr;

use keyledger_projections::{KeyUsage, PoolId, Tally};
use keyledger_schema::{OrganizationId, Timestamp};
use rusqlite::{OptionalExtension, Transaction, params};

use super::super::catalog::Catalog;
use super::super::projector::Failure;
use super::super::snapshot;
use super::cells::{self, Cell, Kind, Place};
use super::gather::{Gathered, Item, KeyPlace};
use super::rollup::{self, Facet, Grain, Row};
use super::values::{Numbers, ValueKind, address_bytes, place_bytes};
use super::{addresses, log, tallies};

/// Bits of a row's id in the verification log that are its number within the slice; the others are the
/// slice's.
pub(super) const SLICE_SHIFT: u32 = 20;
/// Records in a slice of the verification log, at which it ends with the event. The more, the fewer rows; the
/// fewer, the less a page has to look through.
const SLICE_RECORDS: usize = if cfg!(test) { 5 } else { 20_000 };

/// One thing to write.
pub(super) enum Step {
    /// Cells of a row.
    Cells(Row, Vec<u8>),
    /// A row of the verification log.
    Log(LogRow),
    /// What a key's own numbers become, and from where it was used, in log order.
    Key { key: KeyPlace, usage: KeyUsage, addresses: Vec<(IpAddr, Timestamp)> },
    /// What was spent.
    Tally(PoolId, Tally),
}

pub(super) struct LogRow {
    id: i64,
    owner: [u8; 16],
    chunk: u32,
    span: (i64, i64),
    records: Vec<u8>,
}

/// Gives numbers to the values of a record.
pub(super) fn give_numbers(
    item: &mut Item,
    numbers: &mut Numbers,
    transaction: &Transaction<'_>,
) -> rusqlite::Result<()> {
    let mut give = |kind, value: &[u8]| numbers.give(transaction, item.owner, kind, value);
    if let Some(KeyPlace { workspace, environment, .. }) = item.key {
        item.numbers.place = give(ValueKind::Place, &place_bytes(workspace, environment))?;
    }
    if let Some(ip) = &item.record.ip {
        item.numbers.address = give(ValueKind::Address, &address_bytes(**ip))?;
    }
    let tags = item.record.tags.iter().map(|tag| give(ValueKind::Tag, tag.as_bytes()));
    item.numbers.tags = tags.collect::<rusqlite::Result<_>>()?;
    Ok(())
}

/// All steps of a round, and the slices of the verification log that these make.
pub(super) fn steps(gathered: &Gathered) -> (Vec<Step>, Vec<Slice>) {
    let mut steps = Vec::new();
    // Kept with the first step, so a round that is done again makes the same steps.
    let horizon = gathered.standing.horizon.unwrap_or_default();
    for facet in Facet::ALL {
        add_cells(&gathered.items, facet, horizon, &mut steps);
    }
    let slices = slices(gathered);
    let mut items = &gathered.items[..];
    for slice in &slices {
        let of_slice;
        (of_slice, items) = items.split_at(slice.records);
        add_log(of_slice, slice.number, &mut steps);
    }
    add_keys(&gathered.items, &mut steps);
    let mut spent = tallies::Tallies::default();
    for item in &gathered.items {
        spent.add(&item.record);
    }
    steps.extend(spent.into_sorted().map(|(pool, tally)| Step::Tally(pool, tally)));
    (steps, slices)
}

/// Records of the verification log that stand together, those of whole events.
pub(super) struct Slice {
    pub(super) number: u64,
    /// Of its first event.
    pub(super) log_index: u64,
    records: usize,
    /// The earliest moment of its records.
    pub(super) floor: Timestamp,
    /// The latest moment of its records and all before.
    pub(super) newest: Timestamp,
}

fn slices(gathered: &Gathered) -> Vec<Slice> {
    let mut slices: Vec<Slice> = Vec::new();
    let mut newest = gathered.before;
    for event in gathered.items.chunk_by(|a, b| a.log_index == b.log_index) {
        if slices.last().is_none_or(|slice| slice.records >= SLICE_RECORDS) {
            slices.push(Slice {
                number: gathered.standing.slices + 1 + slices.len() as u64,
                log_index: event[0].log_index,
                records: 0,
                floor: Timestamp::MAX,
                newest,
            });
        }
        let Some(slice) = slices.last_mut() else { continue };
        for at in event.iter().map(|item| item.record.last_at(item.from)) {
            newest = newest.max(at);
            slice.floor = slice.floor.min(at);
        }
        slice.records += event.len();
        slice.newest = newest;
    }
    slices
}

/// A cell of a minute, and whose.
struct Counted {
    owner: [u8; 16],
    minute: u32,
    cell: Cell,
}

/// Where a cell goes.
struct Placed {
    row: Row,
    cell: Cell,
}

fn count(items: &[Item], facet: Facet) -> Vec<Counted> {
    let mut counted = Vec::with_capacity(items.len());
    for item in items.iter().filter(|item| item.record.is_use()) {
        let record = &item.record;
        let kind = Kind::new(0, record.code, record.action, record.means);
        let mut add = |ord: u32, value: u32| {
            counted.push(Counted {
                owner: item.owner,
                minute: rollup::minute(record.last_at(item.from)),
                cell: Cell {
                    place: Place { ord, value, kind },
                    count: record.count,
                    credits: record.credits(),
                },
            });
        };
        match facet {
            Facet::Places => add(0, item.numbers.place),
            Facet::Keys => add(item.ord(), 0),
            Facet::Tags if item.numbers.tags.is_empty() => add(item.ord(), 0),
            Facet::Tags => item.numbers.tags.iter().for_each(|tag| add(item.ord(), *tag)),
            Facet::Addresses => add(item.ord(), item.numbers.address),
        }
    }
    counted
}

/// The rows of a facet.
fn add_cells(items: &[Item], facet: Facet, horizon: Timestamp, steps: &mut Vec<Step>) {
    let mut counted = count(items, facet);
    counted.sort_unstable_by_key(|counted| (counted.owner, counted.cell.place, counted.minute));
    for grain in Grain::ALL {
        let first_kept = grain.first_kept(horizon);
        let mut placed: Vec<Placed> = counted
            .iter()
            .map(|&Counted { owner, minute, mut cell }| {
                if grain == Grain::Hour {
                    #[allow(clippy::cast_possible_truncation, reason = "0 to 3")]
                    let quarter = (minute / 15 % 4) as u8;
                    cell.place.kind = cell.place.kind.in_quarter(quarter);
                }
                let chunk = cell.place.ord / grain.chunk();
                let bucket = grain.bucket_of_minute(minute);
                Placed { row: Row { organization: owner, facet, grain, chunk, bucket }, cell }
            })
            .filter(|placed| placed.row.bucket >= first_kept)
            .collect();
        // Mostly sorted already, since most of a round is of the same bucket; a stable sort makes use of it.
        placed.sort_by_key(|placed| (placed.row, placed.cell.place));
        for row in placed.chunk_by(|a, b| a.row == b.row) {
            let mut cells: Vec<Cell> = row.iter().map(|placed| placed.cell).collect();
            cells::sum(&mut cells);
            steps.push(Step::Cells(row[0].row, cells::encode(&cells)));
        }
    }
}

/// The rows of a slice of the verification log.
fn add_log(items: &[Item], slice: u64, steps: &mut Vec<Step>) {
    let mut order: Vec<&Item> = items.iter().collect();
    let chunk = |item: &Item| (item.owner, item.ord() / log::CHUNK);
    // Stable: what goes into the same row stays in log order.
    order.sort_by_key(|item| chunk(item));
    let first = (slice << SLICE_SHIFT).cast_signed();
    for (id, row) in (first..).zip(order.chunk_by(|a, b| chunk(a) == chunk(b))) {
        let mut writer = log::Writer::default();
        for item in row {
            writer.add(item);
        }
        let (owner, chunk) = chunk(row[0]);
        let span = writer.span.unwrap_or_default();
        steps.push(Step::Log(LogRow { id, owner, chunk, span, records: writer.finish() }));
    }
}

struct Used {
    key: KeyPlace,
    usage: KeyUsage,
    addresses: Vec<(IpAddr, Timestamp)>,
}

/// What keys were used, in the order of their rows, so that neighbours share a page.
fn add_keys(items: &[Item], steps: &mut Vec<Step>) {
    let mut keys: BTreeMap<i64, Used> = BTreeMap::new();
    for item in items.iter().filter(|item| item.record.is_use()) {
        let Some(key) = item.key else { continue };
        let usage = KeyUsage::of(&item.record, item.from);
        let first_at = usage.first_at;
        let used = match keys.entry(key.seq) {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(Used { key, usage, addresses: Vec::new() })
            }
            std::collections::btree_map::Entry::Occupied(known) => {
                let used = known.into_mut();
                used.usage = used.usage.clone().and(usage);
                used
            }
        };
        // An address that cannot be read is none that could be new.
        if let Some(ip) = item.record.ip.as_ref().map(|ip| ip.to_canonical())
            && !ip.is_unspecified()
            && used.addresses.len() < addresses::MAX_ADDRESSES as usize
            && !used.addresses.iter().any(|(known, _)| *known == ip)
        {
            used.addresses.push((ip, first_at));
        }
    }
    steps.extend(keys.into_values().map(|Used { key, usage, addresses }| Step::Key {
        key,
        usage,
        addresses,
    }));
}

/// A key's last use as the tables have it now.
pub(super) struct Written {
    pub(super) organization: OrganizationId,
    pub(super) seq: i64,
    pub(super) last_at: Timestamp,
}

impl Step {
    /// Does it. `oldest` is the first moment that the verification log keeps.
    pub(super) fn write(
        &self,
        transaction: &Transaction<'_>,
        catalog: &Catalog,
        oldest: Timestamp,
    ) -> Result<Option<Written>, Failure> {
        match self {
            Self::Cells(row, cells) => rollup::add(transaction, row, cells)?,
            Self::Log(row) if row.span.1 < oldest.micros() => {}
            Self::Log(row) => {
                transaction
                    .prepare_cached(
                        "INSERT INTO verifications (id, org, chunk, first_at, last_at, records) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    )?
                    .execute(params![row.id, row.owner, row.chunk, row.span.0, row.span.1, row.records])?;
            }
            Self::Key { key, usage, addresses } => {
                let before: Option<KeyUsage> = transaction
                    .prepare_cached("SELECT usage FROM key_usage WHERE seq = ?1")?
                    .query_row([key.seq], |row| snapshot::column(row, 0))
                    .optional()?;
                let usage = match before {
                    Some(before) => before.and(usage.clone()),
                    None => usage.clone(),
                };
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO key_usage (seq, usage) VALUES (?1, ?2)")?
                    .execute(params![key.seq, snapshot::write(&usage)?])?;
                for (address, at) in addresses {
                    let dead = || catalog.is_deleted(key.organization, key.ord);
                    addresses::used(transaction, key.seq, *address, *at, dead)?;
                }
                return Ok(Some(Written {
                    organization: key.organization,
                    seq: key.seq,
                    last_at: usage.last_at,
                }));
            }
            Self::Tally(pool, tally) => tallies::join(transaction, *pool, tally)?,
        }
        Ok(None)
    }
}
