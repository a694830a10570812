//! Roll-ups: rows of cells by organization, facet, granularity, chunk of keys and bucket of time.
//!
//! What was verified is counted from four sides, the facets. Each is complete: the counts of all its cells of
//! a bucket are the verifications of that bucket, but for tags, of which a verification may have several. A
//! verification counts in the bucket of the last one of its record.
//!
//! Buckets are those of UTC. Time zones differ from it by multiples of a quarter of an hour, so cells of hours
//! tell the quarter, and hours, days and months of any zone are made of these.

use std::time::Duration;

use chrono::Datelike;
use keyledger_schema::{OrganizationId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::super::snapshot;
use super::cells;
use crate::edge::Stopwatch;

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

/// Ordinals in a chunk of a row of minutes. Few keys are used in the same minute, and a row costs some
/// microseconds.
const MINUTE_CHUNK: u32 = 1_024;
/// Ordinals in a chunk of a row of hours. A key's month has seven hundred of these, with the cells of so many
/// keys to look through.
const HOUR_CHUNK: u32 = 128;
/// Ordinals in a chunk of a row of days or months.
const LONG_CHUNK: u32 = 256;

const MINUTE: i64 = 60_000_000;

impl Grain {
    /// Every granularity.
    pub(in crate::readmodel) const ALL: [Self; 4] = [Self::Minute, Self::Hour, Self::Day, Self::Month];

    /// Ordinals in a chunk.
    pub(in crate::readmodel) const fn chunk(self) -> u32 {
        match self {
            Self::Minute => MINUTE_CHUNK,
            Self::Hour => HOUR_CHUNK,
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

    /// The first bucket that is kept when what is kept is counted back from a moment.
    pub(in crate::readmodel) fn first_kept(self, horizon: Timestamp) -> u32 {
        match self {
            Self::Minute => self.bucket(horizon).saturating_sub(MINUTES_KEPT),
            Self::Hour => self.bucket(horizon).saturating_sub(HOURS_KEPT),
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

/// Hands over an organization's rows: their buckets and their cells, to be decoded. Buckets of a chunk come in
/// rising order. What lies before [`Grain::first_kept`] may be there still, or not.
pub(in crate::readmodel) fn read(
    connection: &Connection,
    organization: Option<OrganizationId>,
    (facet, grain): (Facet, Grain),
    chunks: impl IntoIterator<Item = u32>,
    buckets: std::ops::Range<u32>,
    mut each: impl FnMut(u32, &[u8]) -> Result<(), snapshot::Error>,
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
            let read = blob(row.get_ref(1)?).and_then(|cells| each(bucket, cells));
            read.map_err(|error| snapshot::damaged(1, error))?;
        }
    }
    Ok(())
}

/// Deletes rows of buckets that are kept no longer, chunk by chunk, since an index by bucket would cost more
/// than all that it finds.
#[derive(Default)]
pub(super) struct Pruning {
    /// The chunk that was looked at last.
    after: Option<([u8; 16], u8, u8, u32)>,
    /// What was kept when all chunks were looked at the last time: the first minute.
    done: Option<u32>,
}

impl Pruning {
    /// In minutes: after so long all chunks are looked at again.
    const PERIOD: u32 = 60;
    /// Buckets that are deleted at once.
    const AT_ONCE: u32 = 500;

    /// Goes on for a while. Tells whether there may be more.
    pub(super) fn go_on(
        &mut self,
        connection: &Connection,
        horizon: Timestamp,
        time: Duration,
    ) -> rusqlite::Result<bool> {
        let watch = Stopwatch::start();
        let first_minute = Grain::Minute.first_kept(horizon);
        if self.after.is_none() && self.done.is_some_and(|done| first_minute < done + Self::PERIOD) {
            return Ok(false);
        }
        let mut next = connection.prepare_cached(
            "SELECT org, facet, granularity, chunk, bucket FROM usage_cells \
             WHERE (org, facet, granularity, chunk) > (?1, ?2, ?3, ?4) \
             ORDER BY org, facet, granularity, chunk, bucket LIMIT 1",
        )?;
        let mut delete = connection.prepare_cached(
            "DELETE FROM usage_cells \
             WHERE org = ?1 AND facet = ?2 AND granularity = ?3 AND chunk = ?4 AND bucket < ?5",
        )?;
        // Before all rows, as there are none of a facet below zero.
        let mut after = self.after.map_or(([0; 16], -1, 0, 0), |(org, a, b, c)| (org, i16::from(a), b, c));
        loop {
            let found = next.query_row(after, |row| {
                let chunk: ([u8; 16], u8, u8, u32) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                Ok((chunk, row.get::<_, u32>(4)?))
            });
            let Some(((org, facet, granularity, chunk), bucket)) = found.optional()? else {
                *self = Self { after: None, done: Some(first_minute) };
                return Ok(false);
            };
            let kept = [Grain::Minute, Grain::Hour]
                .into_iter()
                .find(|grain| *grain as u8 == granularity)
                .map(|grain| grain.first_kept(horizon));
            let looked_at = match kept {
                // What is kept for ever comes after the rest of a facet.
                None => (org, facet, u8::MAX, 0),
                Some(kept) => {
                    let end = kept.min(bucket.saturating_add(Self::AT_ONCE));
                    if bucket < kept {
                        delete.execute((org, facet, granularity, chunk, end))?;
                    }
                    if end < kept {
                        if watch.elapsed() >= time {
                            return Ok(true);
                        }
                        continue;
                    }
                    (org, facet, granularity, chunk)
                }
            };
            self.after = Some(looked_at);
            after = (looked_at.0, i16::from(looked_at.1), looked_at.2, looked_at.3);
            if watch.elapsed() >= time {
                return Ok(true);
            }
        }
    }
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
