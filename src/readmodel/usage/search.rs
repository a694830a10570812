//! Pages of the verification log.
//!
//! The log has a row for each chunk of keys in a slice. A query for one key goes through the rows of its chunk
//! only, any other one through all rows of the organization, slice by slice: within a slice records are sorted
//! into log order, and the records of one slice all stand before those of the next. Where a search begins is
//! found by [`slices`](Ends); rows without a moment or a key that is asked for are not read.
//!
//! A search that finds little ends after [`SCAN_BYTES`] of rows all the same, at the end of a slice, and tells
//! from where to go on. So no query takes a thread for long.
//!
//! Invariants: every statement names the organization. Only whole slices are shown, and nothing before the
//! first moment that is kept, whether it is deleted already or not.

use std::collections::HashMap;
use std::net::IpAddr;

use keyledger_schema::{EventId, KeyId, Timestamp, VerificationCode, WorkspaceId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::analytics::{UsageFilter, Verification, VerificationQuery};
use super::super::catalog::Catalog;
use super::super::cursor::{Cursor, List, Value};
use super::super::page::{Item, Page, Sequence};
use super::super::pool::Failure;
use super::super::{rows, snapshot};
use super::cells::Kind;
use super::log::CHUNK;
use super::log::{self, Record};
use super::ordinals;
use super::rollup::blob;
use super::round::SLICE_SHIFT;

/// The most bytes of rows that a search reads before it ends at the next slice: some tens of milliseconds.
const SCAN_BYTES: usize = 4 * 1024 * 1024;
/// As many bytes a row that is not read counts for.
const SKIPPED_BYTES: usize = 64;

/// A place in the log: the event's, and the record's in the event.
type Spot = (u64, u32);

/// A record that is asked for.
struct Hit {
    spot: Spot,
    ord: u32,
    kind: Kind,
    first_at: i64,
    last_at: i64,
    count: u64,
    secret: Option<u32>,
    cost: u32,
    credits: u64,
    by: Option<KeyId>,
    ip: Option<IpAddr>,
    resource: Option<Box<str>>,
    tags: Vec<Box<str>>,
}

impl Hit {
    fn of(record: &Record<'_>, ord: u32) -> Result<Self, snapshot::Error> {
        Ok(Self {
            spot: (record.log_index, record.place),
            ord,
            kind: record.kind,
            first_at: record.first_at,
            last_at: record.last_at,
            count: record.count,
            secret: record.secret,
            cost: record.cost,
            credits: record.credits,
            by: record.by,
            ip: record.ip,
            resource: record.resource.map(Into::into),
            tags: record.tags().map(|tag| tag.map(Into::into)).collect::<Result<_, _>>()?,
        })
    }
}

/// Which keys of a chunk, as bits.
struct Keys<'a> {
    query: &'a VerificationQuery,
    catalog: &'a Catalog,
    /// The ordinals of the keys that are named, sorted.
    named: Option<Vec<u32>>,
    /// What keys may have to be asked for; none if any.
    wanted: Option<Wanted>,
    known: HashMap<u32, u64>,
}

/// By the catalog's numbers, see [`Catalog::names`].
struct Wanted {
    workspaces: Option<Vec<bool>>,
    roles: Option<Vec<bool>>,
    identity: Option<Vec<bool>>,
}

impl Wanted {
    fn of(query: &VerificationQuery, catalog: &Catalog) -> Option<Self> {
        let UsageFilter { sight, workspace, environment, identity, role, .. } = &query.filter;
        if sight.is_none()
            && workspace.is_none()
            && environment.is_none()
            && identity.is_none()
            && role.is_none()
        {
            return None;
        }
        let names = catalog.names(query.organization);
        let in_reach = |id: &WorkspaceId| {
            sight.as_ref().is_none_or(|sight| sight.contains(id)) && workspace.is_none_or(|one| one == *id)
        };
        let workspaces = (sight.is_some() || workspace.is_some()).then(|| marks(&names.workspaces, in_reach));
        let roles = role.map(|role| marks(&names.roles, |set| set.contains(&role)));
        let identity = identity.map(|identity| marks(&names.identities, |id| *id == identity));
        Some(Self { workspaces, roles, identity })
    }
}

fn marks<T>(names: &[Option<T>], is: impl Fn(&T) -> bool) -> Vec<bool> {
    names.iter().map(|name| name.as_ref().is_some_and(&is)).collect()
}

impl<'a> Keys<'a> {
    fn of(
        connection: &Connection,
        catalog: &'a Catalog,
        query: &'a VerificationQuery,
    ) -> rusqlite::Result<Self> {
        let named = &query.filter.keys;
        let mut ordinals = Vec::with_capacity(named.len());
        for key in named {
            ordinals.extend(ordinals::of(connection, query.organization, *key)?);
        }
        ordinals.sort_unstable();
        let named = (!named.is_empty()).then_some(ordinals);
        Ok(Self { query, catalog, named, wanted: Wanted::of(query, catalog), known: HashMap::new() })
    }

    /// The only chunk that has any, if it is only one.
    fn chunk(&self) -> Option<u32> {
        let named = self.named.as_ref()?;
        let chunk = named.first()? / CHUNK;
        (named.last()? / CHUNK == chunk).then_some(chunk)
    }

    fn in_chunk(&mut self, chunk: u32) -> u64 {
        if self.named.is_none() && self.wanted.is_none() {
            return u64::MAX;
        }
        if let Some(known) = self.known.get(&chunk) {
            return *known;
        }
        let ordinals = chunk * CHUNK..(chunk + 1) * CHUNK;
        let mut keys = u64::MAX;
        if let Some(named) = &self.named {
            let of_chunk = named.iter().filter(|ord| ordinals.contains(ord));
            keys = of_chunk.fold(0, |keys, ord| keys | 1 << (ord % CHUNK));
        }
        if let Some(wanted) = &self.wanted {
            let mut having = 0;
            let environment = self.query.filter.environment;
            self.catalog.attributes(self.query.organization, ordinals, |ord, key| {
                let marked = |marks: &Option<Vec<bool>>, number: u32| {
                    marks.as_ref().is_none_or(|marks| marks.get(number as usize) == Some(&true))
                };
                if environment.is_none_or(|environment| environment == key.environment)
                    && marked(&wanted.workspaces, key.workspace)
                    && marked(&wanted.roles, key.roles)
                    && marked(&wanted.identity, key.identity)
                {
                    having |= 1 << (ord % CHUNK);
                }
            });
            keys &= having;
        }
        self.known.insert(chunk, keys);
        keys
    }
}

/// What a record must have, its key aside.
struct Filter<'a> {
    /// From the first moment to before the second.
    from: i64,
    to: i64,
    codes: [bool; VerificationCode::ALL.len()],
    query: &'a VerificationQuery,
    address: Option<IpAddr>,
}

impl<'a> Filter<'a> {
    fn of(query: &'a VerificationQuery, oldest: Timestamp) -> Self {
        let outcomes = &query.filter.outcomes;
        Self {
            from: query.from.map_or(oldest, |from| from.max(oldest)).micros(),
            to: query.to.map_or(i64::MAX, Timestamp::micros),
            codes: VerificationCode::ALL.map(|code| outcomes.is_empty() || outcomes.contains(&code)),
            query,
            address: query.filter.address.map(|address| address.to_canonical()),
        }
    }

    fn lets_through(&self, record: &Record<'_>) -> Result<bool, snapshot::Error> {
        let VerificationQuery { filter, resource_prefix, .. } = self.query;
        if !(self.from..self.to).contains(&record.last_at)
            || !self.codes[record.kind.code_index()]
            || filter.action.is_some_and(|action| record.kind.action() != Some(action))
            || self.address.is_some_and(|address| record.ip != Some(address))
            || filter.means.is_some_and(|means| record.kind.means() != Some(means))
        {
            return Ok(false);
        }
        if let Some(prefix) = resource_prefix
            && !record.resource.is_some_and(|resource| resource.starts_with(&**prefix))
        {
            return Ok(false);
        }
        let Some(wanted) = &filter.tag else { return Ok(true) };
        for tag in record.tags() {
            if tag? == &**wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The first and the last slice that can have what is asked for.
struct Ends {
    first: i64,
    last: i64,
}

impl Ends {
    /// None if no slice can.
    fn find(
        connection: &Connection,
        filter: &Filter<'_>,
        after: Option<Spot>,
        scan: Sequence,
    ) -> rusqlite::Result<Option<Self>> {
        let slice = |sql: &str, value: i64| {
            connection.prepare_cached(sql)?.query_row([value], |row| row.get::<_, i64>(0)).optional()
        };
        let first = slice(
            "SELECT slice FROM usage_slices WHERE newest >= ?1 ORDER BY newest, slice LIMIT 1",
            filter.from,
        )?;
        let last = slice(
            "SELECT slice FROM usage_slices WHERE floor < ?1 ORDER BY floor DESC, slice DESC LIMIT 1",
            filter.to,
        )?;
        let (Some(mut first), Some(mut last)) = (first, last) else { return Ok(None) };
        if let Some((log_index, place)) = after {
            // The event that the next place is in, so that a search which ended with a slice goes on with
            // another one.
            let log_index = match (scan, place) {
                (Sequence::Ascending, u32::MAX) => log_index.cast_signed().saturating_add(1),
                (Sequence::Descending, 0) => log_index.cast_signed().saturating_sub(1),
                _ => log_index.cast_signed(),
            };
            let at = slice(
                "SELECT slice FROM usage_slices WHERE log_index <= ?1 ORDER BY log_index DESC LIMIT 1",
                log_index,
            )?;
            match scan {
                Sequence::Ascending => first = at.map_or(first, |at| at.max(first)),
                // What stands before all slices that are kept is not kept either.
                Sequence::Descending => last = at.map_or(-1, |at| at.min(last)),
            }
        }
        Ok((first <= last).then_some(Self { first, last }))
    }
}

/// Collects what is nearest to where the search begins.
struct Found {
    wanted: usize,
    scan: Sequence,
    /// Only what is beyond.
    after: Option<Spot>,
    /// Of the slices before the present one, in the order of the search.
    hits: Vec<Hit>,
    /// Of the present slice, in no order.
    slice: Vec<Hit>,
    /// Nothing beyond is wanted of this slice.
    within: Option<Spot>,
}

impl Found {
    fn wants(&self, spot: Spot) -> bool {
        let beyond = |spot: Spot, after: Spot| match self.scan {
            Sequence::Ascending => spot > after,
            Sequence::Descending => spot < after,
        };
        self.after.is_none_or(|after| beyond(spot, after))
            && self.within.is_none_or(|within| !beyond(spot, within))
    }

    fn add(&mut self, hit: Hit) {
        self.slice.push(hit);
        // Only some times as many are held as are wanted.
        let wanted = self.wanted - self.hits.len();
        if self.slice.len() >= 2 * wanted.max(64) {
            self.sort();
            self.slice.truncate(wanted);
            self.within = self.slice.last().map(|hit| hit.spot);
        }
    }

    fn sort(&mut self) {
        match self.scan {
            Sequence::Ascending => self.slice.sort_unstable_by_key(|hit| hit.spot),
            Sequence::Descending => self.slice.sort_unstable_by_key(|hit| std::cmp::Reverse(hit.spot)),
        }
    }

    /// The present slice is over. Tells whether that is enough.
    fn end_slice(&mut self) -> bool {
        self.sort();
        self.hits.append(&mut self.slice);
        self.hits.truncate(self.wanted);
        self.within = None;
        self.hits.len() == self.wanted
    }
}

/// A page of at most `count` verifications. Nothing before `oldest` is kept.
pub(in crate::readmodel) fn page(
    connection: &Connection,
    catalog: &Catalog,
    query: &VerificationQuery,
    count: usize,
    oldest: impl FnOnce(Option<Timestamp>) -> Timestamp,
) -> Result<Page<Verification>, Failure> {
    page_within(connection, catalog, query, count, oldest, SCAN_BYTES)
}

pub(super) fn page_within(
    connection: &Connection,
    catalog: &Catalog,
    query: &VerificationQuery,
    count: usize,
    oldest: impl FnOnce(Option<Timestamp>) -> Timestamp,
    scan_bytes: usize,
) -> Result<Page<Verification>, Failure> {
    let after = match query.window.place(List::Verifications)? {
        Some(Cursor { value: Value::Number(place), number }) => {
            Some((number.cast_unsigned(), u32::try_from(place).unwrap_or(u32::MAX)))
        }
        _ => None,
    };
    let (slices, horizon): (i64, Option<i64>) = connection
        .prepare_cached("SELECT slices, horizon FROM usage_meta WHERE only = 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let filter = Filter::of(query, oldest(horizon.map(Timestamp::from_micros)));
    let scan = query.window.scan(query.sequence);
    let mut keys = Keys::of(connection, catalog, query)?;
    let mut found =
        Found { wanted: count + 1, scan, after, hits: Vec::new(), slice: Vec::new(), within: None };
    let ends = match &keys.named {
        Some(named) if named.is_empty() => None,
        _ => Ends::find(connection, &filter, after, scan)?,
    };
    let mut stopped = None;
    if let Some(Ends { first, last }) = ends {
        let range = (first << SLICE_SHIFT, (last.min(slices) + 1) << SLICE_SHIFT);
        stopped = search(connection, &filter, &mut keys, &mut found, range, scan_bytes)?;
    }
    let end = stopped.map(|slice| spot_beyond(connection, slice, scan)).transpose()?;
    answer(connection, query, found.hits, count, end)
}

/// Searches rows. Where that ends early, tells the last slice that was searched.
fn search(
    connection: &Connection,
    filter: &Filter<'_>,
    keys: &mut Keys<'_>,
    found: &mut Found,
    (from, to): (i64, i64),
    scan_bytes: usize,
) -> Result<Option<i64>, Failure> {
    let organization = filter.query.organization.uuid().into_bytes();
    let chunk = keys.chunk();
    let (index, of_chunk) = if chunk.is_some() {
        ("verifications_chunk", "AND chunk = ?4")
    } else {
        ("verifications_org", "AND ?4 IS NULL")
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, chunk, first_at, last_at, records FROM verifications INDEXED BY {index} \
         WHERE org = ?1 AND id >= ?2 AND id < ?3 {of_chunk} ORDER BY id {}",
        found.scan.keyword()
    ))?;
    let mut rows = statement.query(params![organization, from, to, chunk])?;
    let (mut present, mut scanned) = (None, 0);
    while let Some(row) = rows.next()? {
        let slice = row.get::<_, i64>(0)? >> SLICE_SHIFT;
        if present.is_some_and(|present| present != slice) {
            if found.end_slice() {
                return Ok(None);
            }
            if scanned >= scan_bytes {
                return Ok(present);
            }
        }
        present = Some(slice);
        scanned += search_row(row, filter, keys, found)?;
    }
    found.end_slice();
    Ok(None)
}

/// Searches a row and tells what that cost.
fn search_row(
    row: &Row<'_>,
    filter: &Filter<'_>,
    keys: &mut Keys<'_>,
    found: &mut Found,
) -> Result<usize, Failure> {
    let (chunk, first_at, last_at): (u32, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let wanted = keys.in_chunk(chunk);
    if wanted == 0 || last_at < filter.from || first_at >= filter.to {
        return Ok(SKIPPED_BYTES);
    }
    let records = blob(row.get_ref(4)?).map_err(|error| snapshot::damaged(4, error))?;
    let read = log::read(records, |record| {
        if wanted >> (record.ord % 64) & 1 == 1
            && found.wants((record.log_index, record.place))
            && filter.lets_through(record)?
        {
            found.add(Hit::of(record, chunk * CHUNK + u32::from(record.ord))?);
        }
        Ok(())
    });
    read.map_err(|error| snapshot::damaged(4, error))?;
    Ok(SKIPPED_BYTES + records.len())
}

/// The place beyond all of a slice in the order of a search.
fn spot_beyond(connection: &Connection, slice: i64, scan: Sequence) -> rusqlite::Result<Spot> {
    match scan {
        Sequence::Ascending => {
            let next: Option<i64> = connection
                .prepare_cached("SELECT log_index FROM usage_slices WHERE slice > ?1 ORDER BY slice LIMIT 1")?
                .query_row([slice], |row| row.get(0))
                .optional()?;
            // There is a later one, since the search ended before it.
            Ok((next.unwrap_or(i64::MAX).cast_unsigned().saturating_sub(1), u32::MAX))
        }
        Sequence::Descending => {
            let start: Option<i64> = connection
                .prepare_cached("SELECT log_index FROM usage_slices WHERE slice = ?1")?
                .query_row([slice], |row| row.get(0))
                .optional()?;
            Ok((start.unwrap_or(0).cast_unsigned(), 0))
        }
    }
}

fn cursor((log_index, place): Spot) -> String {
    Cursor { value: Value::Number(place.into()), number: log_index.cast_signed() }.write(List::Verifications)
}

fn answer(
    connection: &Connection,
    query: &VerificationQuery,
    hits: Vec<Hit>,
    count: usize,
    end: Option<Spot>,
) -> Result<Page<Verification>, Failure> {
    // In the order of their rows, so that neighbours share a page.
    let mut keys: Vec<u32> = hits.iter().map(|hit| hit.ord).filter(|ord| *ord != 0).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut known = HashMap::with_capacity(keys.len());
    for ord in keys {
        known.insert(ord, ordinals::key(connection, query.organization, ord)?);
    }
    let mut find_event = connection.prepare_cached("SELECT id FROM entries WHERE log_index = ?1")?;
    let mut last: Option<(u64, EventId)> = None;
    let mut items = Vec::with_capacity(hits.len());
    for hit in hits {
        let key = known.get(&hit.ord).copied().flatten();
        let log_index = hit.spot.0;
        let event = match last {
            Some((same, event)) if same == log_index => event,
            _ => {
                let id = find_event.query_row([log_index.cast_signed()], |row| rows::id(row, 0))?;
                EventId::from_uuid(id)
            }
        };
        last = Some((log_index, event));
        items.push(Item { cursor: cursor(hit.spot), node: verification(hit, event, key) });
    }
    let mut page = Page::of_up_to(items, &query.window, count, None);
    if let Some(end) = end.map(cursor) {
        if query.window.is_backward() {
            (page.has_previous, page.start_cursor) = (true, Some(end));
        } else {
            (page.has_next, page.end_cursor) = (true, Some(end));
        }
    }
    Ok(page)
}

fn verification(hit: Hit, event: EventId, key: Option<(KeyId, WorkspaceId)>) -> Verification {
    Verification {
        event,
        place: hit.spot.1,
        first_at: Timestamp::from_micros(hit.first_at),
        last_at: Timestamp::from_micros(hit.last_at),
        count: hit.count,
        key: key.map(|(key, _)| key),
        secret_version: hit.secret,
        means: hit.kind.means(),
        workspace: key.map(|(_, workspace)| workspace),
        code: hit.kind.code(),
        action: hit.kind.action(),
        resource: hit.resource,
        tags: hit.tags,
        ip: hit.ip,
        by: hit.by,
        cost: hit.cost,
        credits: hit.credits,
    }
}

/// Deletes some rows of the verification log that are from before `oldest`. Tells whether there may be more.
pub(super) fn prune(connection: &Connection, oldest: Timestamp) -> rusqlite::Result<bool> {
    const AT_ONCE: usize = 200;
    let oldest = oldest.micros();
    let rows = connection
        .prepare_cached(&format!(
            "DELETE FROM verifications WHERE last_at < ?1 \
             AND id IN (SELECT id FROM verifications ORDER BY id LIMIT {AT_ONCE})"
        ))?
        .execute([oldest])?;
    let slices = connection
        .prepare_cached(&format!(
            "DELETE FROM usage_slices WHERE slice IN \
             (SELECT slice FROM usage_slices WHERE newest < ?1 ORDER BY newest, slice LIMIT {AT_ONCE})"
        ))?
        .execute([oldest])?;
    Ok(rows.max(slices) == AT_ONCE)
}
