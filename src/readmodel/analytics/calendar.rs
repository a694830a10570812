//! The minutes, hours, days and months of a time zone, as stretches of seconds since 1970 in UTC.
//!
//! An hour is one of the zone's clock at one offset from UTC: where clocks are put back there are two with the
//! same name. A day has 23 or 25 hours then. Every moment is in exactly one bucket, and buckets follow each
//! other without a gap.

use chrono::{DateTime, NaiveDate, Offset, TimeZone};
use chrono_tz::Tz;
use keyledger_schema::Timestamp;

use super::{Granularity, UsageError};

/// Buckets of a series.
pub(super) const MAX_BUCKETS: usize = 3_000;

pub(super) const MINUTE: i64 = 60;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;
/// More than any zone's clock was ever off, changes included.
const FARTHEST: i64 = 48 * HOUR;

/// The number of the month that a day since 1970 is in: months since the year 0.
pub(super) fn month_of(day: i64) -> i64 {
    use chrono::Datelike;
    let date = i32::try_from(day).ok().and_then(NaiveDate::from_epoch_days).unwrap_or_default();
    i64::from(date.year()) * 12 + i64::from(date.month0())
}

/// The first day, since 1970, of a month.
pub(super) fn first_day(month: i64) -> i64 {
    let year = i32::try_from(month.div_euclid(12)).unwrap_or_default();
    let month = u32::try_from(month.rem_euclid(12)).unwrap_or_default() + 1;
    NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default().to_epoch_days().into()
}

/// The first moment in `(before, at]` that is so. It is so at `at` and all the time from that first moment on.
fn first(mut before: i64, mut at: i64, is: impl Fn(i64) -> bool) -> i64 {
    while at - before > 1 {
        let middle = before + (at - before) / 2;
        if is(middle) {
            at = middle;
        } else {
            before = middle;
        }
    }
    at
}

#[derive(Clone, Copy)]
pub(super) struct Calendar {
    pub(super) granularity: Granularity,
    pub(super) zone: Tz,
}

impl Calendar {
    /// How many seconds the zone's clock is ahead.
    fn offset(self, at: i64) -> i64 {
        let at = DateTime::from_timestamp(at, 0).unwrap_or_default().naive_utc();
        self.zone.offset_from_utc_datetime(&at).fix().local_minus_utc().into()
    }

    fn local(self, at: i64) -> i64 {
        at + self.offset(at)
    }

    /// The start of the bucket that a moment is in.
    pub(super) fn floor(self, at: i64) -> i64 {
        match self.granularity {
            Granularity::Minute => at - at.rem_euclid(MINUTE),
            Granularity::Hour => {
                let offset = self.offset(at);
                let start = at - (at + offset).rem_euclid(HOUR);
                let same = |at| self.offset(at) == offset;
                if same(start) { start } else { first(start, at, same) }
            }
            Granularity::Day => self.midnight(self.day(at)),
            Granularity::Month => self.midnight(first_day(month_of(self.day(at)))),
        }
    }

    /// The start of the bucket after the one that a moment is in.
    pub(super) fn next(self, at: i64) -> i64 {
        match self.granularity {
            Granularity::Minute => at - at.rem_euclid(MINUTE) + MINUTE,
            Granularity::Hour => {
                let offset = self.offset(at);
                let end = at + HOUR - (at + offset).rem_euclid(HOUR);
                let other = |at| self.offset(at) != offset;
                if other(end - 1) { first(at, end - 1, other) } else { end }
            }
            Granularity::Day => {
                // A zone that goes across the date line leaves out a day.
                let (start, mut day) = (self.floor(at), self.day(at));
                loop {
                    day += 1;
                    let end = self.midnight(day);
                    if end > start {
                        return end;
                    }
                }
            }
            Granularity::Month => self.midnight(first_day(month_of(self.day(at)) + 1)),
        }
    }

    /// The day, since 1970, that a moment is in.
    fn day(self, at: i64) -> i64 {
        let mut day = self.local(at).div_euclid(DAY);
        // Clocks that are put back just after midnight show the day before again: that is the new day's by now.
        while self.midnight(day + 1) <= at {
            day += 1;
        }
        day
    }

    /// When a day begins: at the first moment at which clocks show it, or a later one.
    fn midnight(self, day: i64) -> i64 {
        let shown = day * DAY;
        let offset = self.offset(shown);
        let usual = shown - offset;
        if self.offset(usual) == offset && self.offset(usual - 1) == offset {
            return usual;
        }
        first(shown - FARTHEST, shown + FARTHEST, |at| self.local(at) >= shown)
    }

    /// From the start of the bucket that `from` is in to the end of the one that the moment before `to` is in.
    pub(super) fn stretch(self, from: Timestamp, to: Timestamp) -> Result<(i64, i64), UsageError> {
        if from >= to {
            return Err(UsageError::Empty);
        }
        let last = (to.micros() - 1).div_euclid(1_000_000);
        Ok((self.floor(from.micros().div_euclid(1_000_000)), self.next(last)))
    }

    /// The starts of all buckets of a stretch, and its end.
    pub(super) fn borders(self, from: i64, to: i64) -> Result<Vec<i64>, UsageError> {
        let (shortest, usual) = match self.granularity {
            Granularity::Minute => (MINUTE, MINUTE),
            Granularity::Hour => (HOUR, HOUR),
            Granularity::Day => (25 * HOUR, DAY),
            Granularity::Month => (31 * DAY + HOUR, 30 * DAY + DAY / 2),
        };
        let max = MAX_BUCKETS as u64;
        let count = |length: i64| ((to - from) / length).unsigned_abs();
        let too_many = |buckets: u64| UsageError::TooManyBuckets { buckets, max };
        if count(shortest) > max {
            return Err(too_many(count(usual)));
        }
        let mut borders = vec![from];
        let mut start = from;
        while start < to {
            start = self.next(start);
            borders.push(start);
        }
        let buckets = borders.len() as u64 - 1;
        if buckets > max { Err(too_many(buckets)) } else { Ok(borders) }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, Timelike};
    use proptest::prelude::*;

    use super::*;

    const ALL: [Granularity; 4] =
        [Granularity::Minute, Granularity::Hour, Granularity::Day, Granularity::Month];
    const ZONES: [Tz; 12] = [
        Tz::UTC,
        Tz::Europe__Berlin,
        Tz::America__New_York,
        Tz::Asia__Kathmandu,
        Tz::Asia__Kolkata,
        Tz::Australia__Lord_Howe,
        Tz::Asia__Beirut,
        Tz::America__Nuuk,
        Tz::America__Havana,
        Tz::Africa__Casablanca,
        Tz::Pacific__Chatham,
        Tz::Pacific__Apia,
    ];

    fn seconds(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp()
    }

    fn calendar(granularity: Granularity, zone: Tz) -> Calendar {
        Calendar { granularity, zone }
    }

    /// What clocks show, as far as a bucket is told apart by it.
    fn shown(granularity: Granularity, zone: Tz, at: i64) -> String {
        let local = DateTime::from_timestamp(at, 0).unwrap().with_timezone(&zone);
        match granularity {
            Granularity::Minute => local.format("%Y-%m-%d %H:%M %z").to_string(),
            Granularity::Hour => local.format("%Y-%m-%d %H %z").to_string(),
            Granularity::Day => local.format("%Y-%m-%d").to_string(),
            Granularity::Month => local.format("%Y-%m").to_string(),
        }
    }

    fn hours(calendar: Calendar, day: &str) -> i64 {
        let at = seconds(day);
        (calendar.next(at) - calendar.floor(at)) / HOUR
    }

    #[test]
    fn days_on_which_clocks_change_are_shorter_or_longer() {
        let berlin = calendar(Granularity::Day, Tz::Europe__Berlin);
        assert_eq!(hours(berlin, "2027-03-27T12:00:00Z"), 24);
        assert_eq!(hours(berlin, "2027-03-28T12:00:00Z"), 23);
        assert_eq!(hours(berlin, "2027-10-31T12:00:00Z"), 25);
        assert_eq!(berlin.floor(seconds("2027-10-31T23:30:00Z")), seconds("2027-11-01T00:00:00+01:00"));
        // Clocks go from midnight back to eleven.
        let beirut = calendar(Granularity::Day, Tz::Asia__Beirut);
        assert_eq!(hours(beirut, "2026-10-24T12:00:00Z"), 25);
        // The day has no midnight: clocks go from it to one.
        let beirut_spring = hours(beirut, "2027-03-28T12:00:00Z");
        assert_eq!(beirut_spring, 23);
    }

    #[test]
    fn an_hour_that_is_there_twice_makes_two_buckets() {
        let berlin = calendar(Granularity::Hour, Tz::Europe__Berlin);
        let borders =
            berlin.borders(seconds("2027-10-31T02:00:00+02:00"), seconds("2027-10-31T03:00:00+01:00"));
        let at = |text| seconds(text);
        assert_eq!(
            borders.unwrap(),
            [
                at("2027-10-31T02:00:00+02:00"),
                at("2027-10-31T02:00:00+01:00"),
                at("2027-10-31T03:00:00+01:00")
            ]
        );
        // Half an hour is there twice.
        let lord_howe = calendar(Granularity::Hour, Tz::Australia__Lord_Howe);
        let (from, to) = (at("2027-04-04T01:00:00+11:00"), at("2027-04-04T03:00:00+10:30"));
        let lengths: Vec<_> = lord_howe
            .borders(from, to)
            .unwrap()
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) / MINUTE)
            .collect();
        assert_eq!(lengths, [60, 30, 60]);
    }

    #[test]
    fn a_day_that_a_zone_leaves_out_has_no_bucket() {
        let apia = calendar(Granularity::Day, Tz::Pacific__Apia);
        let at = seconds("2011-12-29T12:00:00-10:00");
        let next = apia.next(at);
        assert_eq!(next, seconds("2011-12-31T00:00:00+14:00"));
        assert_eq!(apia.floor(next), next);
        assert_eq!(apia.next(next), seconds("2012-01-01T00:00:00+14:00"));
    }

    #[test]
    fn clocks_that_are_put_back_just_after_midnight_do_not_begin_a_day_twice() {
        let st_johns = calendar(Granularity::Day, Tz::America__St_Johns);
        let from = st_johns.floor(seconds("2010-11-05T12:00:00Z"));
        let borders = st_johns.borders(from, seconds("2010-11-10T03:30:00Z")).unwrap();
        assert_eq!(borders.len(), 6);
        for at in (from..seconds("2010-11-10T03:30:00Z")).step_by(30) {
            let n = borders.partition_point(|border| *border <= at);
            assert_eq!((st_johns.floor(at), st_johns.next(at)), (borders[n - 1], borders[n]));
        }
    }

    #[test]
    fn series_are_limited() {
        let minutes = calendar(Granularity::Minute, Tz::UTC);
        assert_eq!(minutes.borders(0, 3_000 * MINUTE).unwrap().len(), 3_001);
        let max = 3_000;
        assert_eq!(
            minutes.borders(0, 3_001 * MINUTE),
            Err(UsageError::TooManyBuckets { buckets: 3_001, max })
        );
        let days = calendar(Granularity::Day, Tz::UTC);
        assert_eq!(days.borders(0, 3_001 * DAY), Err(UsageError::TooManyBuckets { buckets: 3_001, max }));
        let far = days.borders(0, 2_000_000 * DAY);
        assert_eq!(far, Err(UsageError::TooManyBuckets { buckets: 2_000_000, max }));
        assert_eq!(
            days.stretch(Timestamp::from_micros(5), Timestamp::from_micros(5)),
            Err(UsageError::Empty)
        );
        assert_eq!(
            days.stretch(Timestamp::from_micros(5), Timestamp::from_micros(DAY * 1_000_000)),
            Ok((0, DAY))
        );
        for granularity in ALL {
            for zone in ZONES {
                let whole = calendar(granularity, zone).stretch(Timestamp::from_micros(0), Timestamp::MAX);
                assert!(whole.is_ok_and(|(from, to)| from <= 0 && to > Timestamp::MAX.micros() / 1_000_000));
            }
        }
    }

    #[test]
    fn months_are_numbered_from_the_year_0() {
        for day in (-1_000..30_000).step_by(7) {
            let date = NaiveDate::from_epoch_days(day).unwrap();
            let month = month_of(day.into());
            assert_eq!(month, i64::from(date.year()) * 12 + i64::from(date.month0()));
            assert_eq!(first_day(month), i64::from(date.with_day(1).unwrap().to_epoch_days()));
        }
    }

    proptest! {
        #[test]
        fn buckets_follow_each_other_and_are_what_clocks_show(
            // 2012 to 2037.
            from in 1_330_000_000i64..2_130_000_000,
            length in 1i64..200,
            granularity in prop::sample::select(&ALL[..]),
            zone in prop::sample::select(&ZONES[..]),
            probes in prop::collection::vec(0.0f64..1.0, 20),
        ) {
            let calendar = calendar(granularity, zone);
            let unit = match granularity {
                Granularity::Minute => MINUTE,
                Granularity::Hour => HOUR,
                Granularity::Day => DAY,
                Granularity::Month => 28 * DAY,
            };
            let to = Timestamp::from_micros((from + length * unit) * 1_000_000);
            let (start, end) = calendar.stretch(Timestamp::from_micros(from * 1_000_000), to).unwrap();
            let borders = calendar.borders(start, end).unwrap();
            prop_assert!(start <= from && end >= from + length * unit);
            prop_assert_eq!((borders[0], *borders.last().unwrap()), (start, end));
            for pair in borders.windows(2) {
                prop_assert!(pair[0] < pair[1]);
                prop_assert_eq!(calendar.floor(pair[0]), pair[0]);
                prop_assert_eq!(calendar.floor(pair[1] - 1), pair[0]);
                prop_assert_eq!(calendar.next(pair[1] - 1), pair[1]);
                let name = shown(granularity, zone, pair[0]);
                prop_assert_eq!(&shown(granularity, zone, pair[1] - 1), &name);
                prop_assert_ne!(&shown(granularity, zone, pair[1]), &name);
                prop_assert_ne!(&shown(granularity, zone, pair[0] - 1), &name);
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any moment within will do")]
            for probe in probes {
                let at = start + ((end - start - 1) as f64 * probe) as i64;
                let n = borders.partition_point(|border| *border <= at);
                prop_assert_eq!(calendar.floor(at), borders[n - 1]);
                prop_assert_eq!(shown(granularity, zone, at), shown(granularity, zone, borders[n - 1]));
                let local = DateTime::from_timestamp(at, 0).unwrap().with_timezone(&zone);
                prop_assert!(granularity != Granularity::Minute || i64::from(local.second()) == at - borders[n - 1]);
            }
        }
    }
}
