//! The verification log: every record, in rows by slice of the log and chunk of keys.
//!
//! ```text
//! blob   = *record checksum
//! record = flags    2 bytes, see the constants
//!          ord      1 byte: the key's ordinal within the chunk
//!          kind     1 byte: what was answered and the action, see [`super::cells`]
//!          [ event  the difference to the log index of the event before ]
//!          place    in the event; the difference to the place before where the event is the same
//!          last_at  in microseconds, the difference to the moment before
//!          [ first_at  milliseconds before last_at ]
//!          [ count ] [ secret ] [ cost ] [ credits ] [ means  1 byte, see there ]
//!          [ by     16 bytes ] [ ip 4 or 16 bytes ] [ resource ] [ number-of-tags *tag ]
//! ```
//!
//! Records of a blob stand in log order.

use std::net::IpAddr;

use keyledger_schema::KeyId;
use uuid::Uuid;

use super::bytes::{self, Input};
use super::cells::Kind;
use super::gather::Item;
use super::values;
use crate::readmodel::snapshot::Error;

/// Ordinals in a chunk.
pub(super) const CHUNK: u32 = 64;

/// It is of another event than the one before.
const EVENT: u16 = 1;
/// The first of several is at another moment than the last.
const FIRST: u16 = 1 << 1;
/// It stands for more verifications than one.
const COUNT: u16 = 1 << 2;
const SECRET: u16 = 1 << 3;
/// It counts as another number of calls than one.
const COST: u16 = 1 << 4;
const CREDITS: u16 = 1 << 5;
/// A key asked.
const BY: u16 = 1 << 6;
/// The same key asked as in the record before.
const SAME_BY: u16 = 1 << 7;
const IPV4: u16 = 1 << 8;
const IPV6: u16 = 1 << 9;
const RESOURCE: u16 = 1 << 10;
const TAGS: u16 = 1 << 11;
/// It was used otherwise than by its secret.
const MEANS: u16 = 1 << 12;

/// A record as it is stored.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) log_index: u64,
    pub(super) place: u32,
    /// Within the chunk.
    pub(super) ord: u8,
    pub(super) kind: Kind,
    /// In microseconds since 1970.
    pub(super) first_at: i64,
    pub(super) last_at: i64,
    pub(super) count: u64,
    pub(super) secret: Option<u32>,
    pub(super) cost: u32,
    pub(super) credits: u64,
    pub(super) by: Option<KeyId>,
    pub(super) ip: Option<IpAddr>,
    pub(super) resource: Option<&'a str>,
    tags: (u32, Input<'a>),
}

impl<'a> Record<'a> {
    /// Its tags in order.
    pub(super) fn tags(&self) -> impl Iterator<Item = Result<&'a str, Error>> {
        let (count, mut input) = self.tags;
        (0..count).map(move |_| input.text())
    }
}

/// A record to be written, without its tags.
struct Fields<'a> {
    log_index: u64,
    place: u32,
    ord: u8,
    kind: Kind,
    first_at: i64,
    last_at: i64,
    count: u64,
    secret: Option<u32>,
    cost: u32,
    credits: u64,
    by: Option<KeyId>,
    ip: Option<IpAddr>,
    resource: Option<&'a str>,
}

/// Writes the records of a chunk.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    log_index: u64,
    place: u32,
    by: Option<KeyId>,
    last_at: i64,
    /// The earliest and the latest moment.
    pub(super) span: Option<(i64, i64)>,
}

impl Writer {
    /// Adds the next record in log order.
    pub(super) fn add(&mut self, item: &Item) {
        let record = &item.record;
        let fields = Fields {
            log_index: item.log_index,
            place: item.place,
            #[allow(clippy::cast_possible_truncation, reason = "a chunk has 64")]
            ord: (item.ord() % CHUNK) as u8,
            kind: Kind::new(0, record.code, record.action, record.means),
            first_at: record.first_at(item.from).micros(),
            last_at: record.last_at(item.from).micros(),
            count: record.count,
            secret: record.secret,
            cost: record.cost.unwrap_or(1),
            credits: record.credits(),
            by: item.by,
            ip: record.ip.as_ref().map(|ip| ip.to_canonical()),
            resource: record.resource.as_ref().map(|resource| &***resource),
        };
        self.put(&fields, record.tags.iter().map(|tag| &**tag));
    }

    /// Adds a record that was read, in the order in which it was read, without what is personal of it if it is
    /// of this key.
    pub(super) fn add_without(&mut self, record: &Record<'_>, ord: u8) -> Result<(), Error> {
        let erased = record.ord == ord;
        let fields = Fields {
            log_index: record.log_index,
            place: record.place,
            ord: record.ord,
            kind: record.kind,
            first_at: record.first_at,
            last_at: record.last_at,
            count: record.count,
            secret: record.secret,
            cost: record.cost,
            credits: record.credits,
            by: record.by,
            ip: record.ip.filter(|_| !erased),
            resource: record.resource.filter(|_| !erased),
        };
        let tags = record.tags().collect::<Result<Vec<&str>, Error>>()?;
        self.put(&fields, tags.into_iter());
        Ok(())
    }

    fn put<'a>(&mut self, record: &Fields<'_>, tags: impl ExactSizeIterator<Item = &'a str>) {
        let first = u64::try_from((record.last_at - record.first_at) / 1_000).unwrap_or(0);
        let mut flags = 0;
        let mut set = |flag: u16, is: bool| flags |= if is { flag } else { 0 };
        set(EVENT, record.log_index != self.log_index);
        set(FIRST, first > 0);
        set(COUNT, record.count != 1);
        set(SECRET, record.secret.is_some());
        set(COST, record.cost != 1);
        set(CREDITS, record.credits != 0);
        set(BY, record.by.is_some());
        set(SAME_BY, record.by.is_some() && record.by == self.by);
        set(IPV4, record.ip.is_some_and(|ip| ip.is_ipv4()));
        set(IPV6, record.ip.is_some_and(|ip| ip.is_ipv6()));
        set(RESOURCE, record.resource.is_some());
        set(TAGS, tags.len() > 0);
        set(MEANS, record.kind.means_byte().is_some());

        let bytes = &mut self.bytes;
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.push(record.ord);
        bytes.push(record.kind.byte());
        let mut place = record.place;
        if record.log_index == self.log_index {
            place -= self.place;
        } else {
            bytes::write(bytes, record.log_index - self.log_index);
        }
        bytes::write(bytes, place.into());
        bytes::write_signed(bytes, record.last_at - self.last_at);
        for (is, number) in [
            (first > 0, first),
            (record.count != 1, record.count),
            (record.secret.is_some(), record.secret.unwrap_or(0).into()),
            (record.cost != 1, record.cost.into()),
            (record.credits != 0, record.credits),
        ] {
            if is {
                bytes::write(bytes, number);
            }
        }
        bytes.extend(record.kind.means_byte());
        if let Some(by) = record.by.filter(|_| record.by != self.by) {
            bytes.extend_from_slice(by.uuid().as_bytes());
        }
        if let Some(ip) = record.ip {
            bytes.extend_from_slice(&values::address_bytes(ip));
        }
        if let Some(resource) = record.resource {
            bytes::write_text(bytes, resource.as_bytes());
        }
        if tags.len() > 0 {
            bytes::write(bytes, tags.len() as u64);
            for tag in tags {
                bytes::write_text(bytes, tag.as_bytes());
            }
        }
        (self.log_index, self.place, self.last_at) = (record.log_index, record.place, record.last_at);
        self.by = record.by.or(self.by);
        let (from, to) = self.span.unwrap_or((record.last_at, record.last_at));
        self.span = Some((from.min(record.last_at), to.max(record.last_at)));
    }

    /// The blob.
    pub(super) fn finish(self) -> Vec<u8> {
        bytes::seal(self.bytes)
    }
}

/// Hands over every record of a blob in log order.
pub(super) fn read<'a>(
    blob: &'a [u8],
    mut each: impl FnMut(&Record<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut input = bytes::open(blob)?;
    let (mut log_index, mut place, mut last_at, mut by) = (0u64, 0u32, 0i64, None);
    while !input.is_empty() {
        let flags = u16::from_le_bytes(input.array()?);
        let has = |flag: u16| flags & flag != 0;
        let ord = input.byte()?;
        let kind = input.byte()?;
        if has(EVENT) {
            log_index = log_index.checked_add(input.number()?).ok_or(Error)?;
            place = 0;
        }
        place = place.checked_add(input.small()?).ok_or(Error)?;
        last_at = last_at.checked_add(input.signed()?).ok_or(Error)?;
        let first = if has(FIRST) { input.number()? } else { 0 };
        let count = if has(COUNT) { input.number()? } else { 1 };
        let secret = if has(SECRET) { Some(input.small()?) } else { None };
        let cost = if has(COST) { input.small()? } else { 1 };
        let credits = if has(CREDITS) { input.number()? } else { 0 };
        let means = if has(MEANS) { Some(input.byte()?) } else { None };
        let kind = Kind::of(kind, means).ok_or(Error)?;
        if has(BY) && !has(SAME_BY) {
            by = Some(KeyId::from_uuid(Uuid::from_bytes(input.array()?)));
        }
        let ip = if has(IPV4) {
            Some(IpAddr::from(input.array::<4>()?))
        } else if has(IPV6) {
            Some(IpAddr::from(input.array::<16>()?))
        } else {
            None
        };
        let resource = if has(RESOURCE) { Some(input.text()?) } else { None };
        let tags = if has(TAGS) { input.small()? } else { 0 };
        let first_tag = input;
        for _ in 0..tags {
            input.text()?;
        }
        let first = i64::try_from(first).ok().and_then(|first| first.checked_mul(1_000)).ok_or(Error)?;
        each(&Record {
            log_index,
            place,
            ord,
            kind,
            first_at: last_at.checked_sub(first).ok_or(Error)?,
            last_at,
            count,
            secret,
            cost,
            credits,
            by: if has(BY) { by } else { None },
            ip,
            resource,
            tags: (tags, first_tag),
        })?;
    }
    Ok(())
}
