//! Roll-ups: rows of cells by organization, facet, granularity, chunk of keys and bucket of time.
//!
//! What was verified is counted from four sides, the facets. Each is complete: the counts of all its cells of
//! a bucket are the verifications of that bucket, but for tags, of which a verification may have several. A
//! verification counts in the bucket of the last one of its record.
//!
//! Buckets are those of UTC. Time zones differ from it by multiples of a quarter of an hour, so cells of hours
//! tell the quarter, and hours, days and months of any zone are made of these.

use chrono::Datelike;
use keyledger_schema::{OrganizationId, Timestamp};
use rusqlite::{Connection, params};

use super::super::snapshot;
use super::cells::{self, Cell};

/// A side that verifications are counted from. The number is part of the layout.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(in crate::readmodel) enum Facet {
    /// By workspace and environment: a cell's value is a place of the dictionary. All in chunk 0, with no
    /// ordinals.
    Places = 0,
    /// By key.
    Keys = 1,
    /// By key and tag: a cell for each tag of a verification, with value 0 if it has none.
    Tags = 2,
    /// By key and address, with value 0 if that is not known.
    Addresses = 3,
}

impl Facet {
    /// Every facet.
    pub(in crate::readmodel) const ALL: [Self; 4] = [Self::Places, Self::Keys, Self::Tags, Self::Addresses];
}

/// How long a bucket is. The number is part of the layout.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(in crate::readmodel) enum Grain {
    /// Kept for [`MINUTES_KEPT`].
    Minute = 0,
    /// Kept for [`HOURS_KEPT`].
    Hour = 1,
    /// Kept for ever.
    Day = 2,
    /// Kept for ever. The number of a month is twelve times its year and the months of that year before it.
    Month = 3,
}

/// Rows of minutes end at most so many minutes before the newest verification.
pub(in crate::readmodel) const MINUTES_KEPT: u32 = 2 * 24 * 60;
/// Rows of hours end at most so many hours before the newest verification.
pub(in crate::readmodel) const HOURS_KEPT: u32 = 400 * 24;

/// Ordinals in a chunk of a row of minutes or hours, and of the verification log.
pub(in crate::readmodel) const SHORT_CHUNK: u32 = 64;
/// Ordinals in a chunk of a row of days or months.
pub(in crate::readmodel) const LONG_CHUNK: u32 = 256;

const MINUTE: i64 = 60_000_000;

impl Grain {
    /// Every granularity.
    pub(in crate::readmodel) const ALL: [Self; 4] = [Self::Minute, Self::Hour, Self::Day, Self::Month];

    /// Ordinals in a chunk.
    pub(in crate::readmodel) const fn chunk(self) -> u32 {
        match self {
            Self::Minute | Self::Hour => SHORT_CHUNK,
            Self::Day | Self::Month => LONG_CHUNK,
        }
    }

    /// The bucket that a moment is in.
    pub(in crate::readmodel) fn bucket(self, at: Timestamp) -> u32 {
        self.bucket_of_minute(minute(at))
    }

    /// The bucket that a minute since 1970 is in.
    pub(super) fn bucket_of_minute(self, minute: u32) -> u32 {
        match self {
            Self::Minute => minute,
            Self::Hour => minute / 60,
            Self::Day => minute / (24 * 60),
            Self::Month => {
                let date = Timestamp::from_micros(i64::from(minute) * MINUTE).to_datetime().date_naive();
                u32::try_from(date.year()).unwrap_or(0) * 12 + date.month0()
            }
        }
    }

    /// The first bucket that is kept when the newest verification was at a moment.
    pub(in crate::readmodel) fn first_kept(self, newest: Timestamp) -> u32 {
        match self {
            Self::Minute => self.bucket(newest).saturating_sub(MINUTES_KEPT),
            Self::Hour => self.bucket(newest).saturating_sub(HOURS_KEPT),
            Self::Day | Self::Month => 0,
        }
    }
}

/// The minute since 1970 that a moment is in.
pub(super) fn minute(at: Timestamp) -> u32 {
    // The last one there is is number 4,223,371,679.
    u32::try_from(at.micros() / MINUTE).unwrap_or(u32::MAX)
}

/// The key of a row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Row {
    /// Whose; all zero for what belongs to no organization.
    pub(super) organization: [u8; 16],
    pub(super) facet: Facet,
    pub(super) grain: Grain,
    pub(super) chunk: u32,
    pub(super) bucket: u32,
}

/// The bytes that stand for an organization in rows of usage.
pub(super) fn owner(organization: Option<OrganizationId>) -> [u8; 16] {
    organization.map_or([0; 16], |id| id.uuid().into_bytes())
}

/// Adds a blob of cells to a row.
pub(super) fn add(
    connection: &Connection,
    row: &Row,
    new: &[u8],
) -> Result<(), super::super::projector::Failure> {
    let key = (row.organization, row.facet as u8, row.grain as u8, row.chunk, row.bucket);
    let mut find = connection.prepare_cached(
        "SELECT cells FROM usage_cells \
         WHERE org = ?1 AND facet = ?2 AND granularity = ?3 AND chunk = ?4 AND bucket = ?5",
    )?;
    let mut found = find.query(key)?;
    let merged = match found.next()? {
        Some(found) => Some(cells::merge(blob(found.get_ref(0)?)?, new)?),
        None => None,
    };
    drop(found);
    match merged {
        Some(merged) => connection
            .prepare_cached(
                "UPDATE usage_cells SET cells = ?6 \
                 WHERE org = ?1 AND facet = ?2 AND granularity = ?3 AND chunk = ?4 AND bucket = ?5",
            )?
            .execute(params![key.0, key.1, key.2, key.3, key.4, merged])?,
        None => connection
            .prepare_cached(
                "INSERT INTO usage_cells (org, facet, granularity, chunk, bucket, cells) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![key.0, key.1, key.2, key.3, key.4, new])?,
    };
    Ok(())
}

pub(super) fn blob(value: rusqlite::types::ValueRef<'_>) -> Result<&[u8], snapshot::Error> {
    value.as_blob().map_err(|_| snapshot::Error)
}

/// Hands over every cell of an organization's rows with its bucket. Chunks, and buckets of a chunk, come in
/// rising order. What lies before [`Grain::first_kept`] may be there still, or not.
pub(in crate::readmodel) fn read(
    connection: &Connection,
    organization: Option<OrganizationId>,
    (facet, grain): (Facet, Grain),
    chunks: std::ops::RangeInclusive<u32>,
    buckets: std::ops::Range<u32>,
    mut each: impl FnMut(u32, Cell),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT bucket, cells FROM usage_cells \
         WHERE org = ?1 AND facet = ?2 AND granularity = ?3 AND chunk = ?4 AND bucket >= ?5 AND bucket < ?6 \
         ORDER BY bucket",
    )?;
    for chunk in chunks {
        let mut rows = statement.query(params![
            owner(organization),
            facet as u8,
            grain as u8,
            chunk,
            buckets.start,
            buckets.end
        ])?;
        while let Some(row) = rows.next()? {
            let bucket = row.get(0)?;
            let read =
                blob(row.get_ref(1)?).and_then(|cells| cells::decode(cells, |cell| each(bucket, cell)));
            read.map_err(|error| snapshot::damaged(1, error))?;
        }
    }
    Ok(())
}

/// Deletes some rows of buckets that are kept no longer. Tells whether there may be more.
pub(super) fn prune(connection: &Connection, newest: Timestamp) -> rusqlite::Result<bool> {
    const AT_ONCE: usize = 200;
    let mut deleted = 0;
    for grain in [Grain::Minute, Grain::Hour] {
        let mut statement = connection.prepare_cached(&format!(
            "DELETE FROM usage_cells WHERE (org, facet, granularity, chunk, bucket) IN \
             (SELECT org, facet, granularity, chunk, bucket FROM usage_cells INDEXED BY usage_cells_old \
              WHERE granularity = {} AND granularity < 2 AND bucket < ?1 ORDER BY bucket LIMIT {AT_ONCE})",
            grain as u8
        ))?;
        deleted = deleted.max(statement.execute([grain.first_kept(newest)])?);
    }
    Ok(deleted == AT_ONCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_utc() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let moment = at("2026-11-21T16:24:52.5Z");
        assert_eq!(Grain::Minute.bucket(moment), 29_921_304);
        assert_eq!(Grain::Hour.bucket(moment), 29_921_304 / 60);
        assert_eq!(Grain::Day.bucket(moment), 20_778);
        assert_eq!(Grain::Month.bucket(moment), 2026 * 12 + 10);
        assert_eq!(Grain::Month.bucket(at("2026-12-31T23:59:59.999999Z")), 2026 * 12 + 11);
        assert_eq!(Grain::Month.bucket(at("2027-01-01T00:00:00Z")), 2027 * 12);
        assert_eq!(Grain::Minute.bucket(Timestamp::MAX), 4_223_371_679);
        assert_eq!(Grain::Month.bucket(Timestamp::MAX), 9_999 * 12 + 11);
        assert_eq!(Grain::Minute.bucket(Timestamp::default()), 0);
    }
}
