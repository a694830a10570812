//! Which rows tell of a stretch of time.
//!
//! Verifications are counted by the minutes, hours, days and months of UTC, in the hours by quarters. A
//! stretch is covered by rows that do not reach across its borders, as few as there can be.

use keyledger_schema::Timestamp;

use super::calendar::{self, DAY, HOUR, MINUTE};
use super::{Granularity, UsageError};

/// A zone's borders are on its quarters, those that clocks once had before there were keys aside.
const QUARTER: i64 = 15 * MINUTE;

/// As the bucket of a quarter that is not asked for.
pub(super) const NO_SLOT: u16 = u16::MAX;

/// Into which buckets a row's quarters go; into the same one all four where the row has no quarters.
pub(super) type Slots = [u16; 4];

/// Rows that follow each other.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub(super) granularity: Granularity,
    /// The number of the first one.
    pub(super) first: i64,
    /// Of each row.
    pub(super) slots: Vec<Slots>,
}

impl Run {
    /// The number after that of the last row.
    pub(super) fn end(&self) -> i64 {
        self.first.saturating_add_unsigned(self.slots.len() as u64)
    }
}

/// From when on rows are kept, in seconds since 1970; none where none were ever dropped.
#[derive(Clone, Copy, Default)]
pub(super) struct Kept {
    pub(super) minutes: Option<i64>,
    pub(super) hours: Option<i64>,
}

/// Rows that are to be read.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) runs: Vec<Run>,
}

/// What a stretch is covered by, from the coarsest on.
const LEVELS: [Level; 5] = [Level::Month, Level::Day, Level::Hour, Level::Quarter, Level::Minute];

#[derive(Clone, Copy)]
enum Level {
    Month,
    Day,
    Hour,
    Quarter,
    Minute,
}

impl Level {
    /// The number of what a moment is in.
    fn number(self, at: i64) -> i64 {
        match self {
            Self::Month => calendar::month_of(at.div_euclid(DAY)),
            Self::Day => at.div_euclid(DAY),
            Self::Hour => at.div_euclid(HOUR),
            Self::Quarter => at.div_euclid(QUARTER),
            Self::Minute => at.div_euclid(MINUTE),
        }
    }

    fn start(self, number: i64) -> i64 {
        match self {
            Self::Month => calendar::first_day(number) * DAY,
            Self::Day => number * DAY,
            Self::Hour => number * HOUR,
            Self::Quarter => number * QUARTER,
            Self::Minute => number * MINUTE,
        }
    }
}

impl Plan {
    /// Covers the buckets between borders, each by rows of its own; a single one by the coarsest rows there are.
    pub(super) fn new(granularity: Granularity, borders: &[i64], kept: Kept) -> Result<Self, UsageError> {
        let unit = if granularity == Granularity::Minute { MINUTE } else { QUARTER };
        let border = |at: i64| at - at.rem_euclid(unit);
        let mut plan = Self::default();
        for (slot, pair) in (0..).zip(borders.windows(2)) {
            plan.cover(&LEVELS, border(pair[0]), border(pair[1]), slot);
        }
        plan.check(kept)?;
        Ok(plan)
    }

    fn cover(&mut self, levels: &[Level], from: i64, to: i64, slot: u16) {
        let Some((&level, finer)) = levels.split_first() else { return };
        if from >= to {
            return;
        }
        let mut first = level.number(from);
        if level.start(first) < from {
            first += 1;
        }
        let end = level.number(to);
        if first >= end {
            return self.cover(finer, from, to, slot);
        }
        self.cover(finer, from, level.start(first), slot);
        for number in first..end {
            self.add(level, number, slot);
        }
        self.cover(finer, level.start(end), to, slot);
    }

    fn add(&mut self, level: Level, number: i64, slot: u16) {
        let (granularity, row, slots) = match level {
            Level::Month => (Granularity::Month, number, [slot; 4]),
            Level::Day => (Granularity::Day, number, [slot; 4]),
            Level::Hour => (Granularity::Hour, number, [slot; 4]),
            Level::Minute => (Granularity::Minute, number, [slot; 4]),
            Level::Quarter => {
                let mut slots = [NO_SLOT; 4];
                slots[usize::try_from(number.rem_euclid(4)).unwrap_or_default()] = slot;
                (Granularity::Hour, number.div_euclid(4), slots)
            }
        };
        let last = self.runs.iter_mut().rev().find(|run| run.granularity == granularity);
        match last {
            Some(run) if run.end() == row => run.slots.push(slots),
            // Another quarter of the same hour.
            Some(run) if run.end() == row + 1 => {
                if let Some(known) = run.slots.last_mut() {
                    for (known, new) in known.iter_mut().zip(slots) {
                        *known = (*known).min(new);
                    }
                }
            }
            _ => self.runs.push(Run { granularity, first: row, slots: vec![slots] }),
        }
    }

    fn check(&self, kept: Kept) -> Result<(), UsageError> {
        for (granularity, level, since) in
            [(Granularity::Minute, Level::Minute, kept.minutes), (Granularity::Hour, Level::Hour, kept.hours)]
        {
            let first =
                self.runs.iter().filter(|run| run.granularity == granularity).map(|run| run.first).min();
            if let (Some(first), Some(since)) = (first, since)
                && level.start(first) < since
            {
                return Err(UsageError::TooLongAgo {
                    since: Timestamp::from_micros(since.saturating_mul(1_000_000)),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::super::calendar::Calendar;
    use super::*;

    const NOTHING_DROPPED: Kept = Kept { minutes: None, hours: None };

    fn seconds(text: &str) -> i64 {
        chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp()
    }

    fn granularities(plan: &Plan) -> Vec<(Granularity, usize)> {
        plan.runs.iter().map(|run| (run.granularity, run.slots.len())).collect()
    }

    fn series(granularity: Granularity, zone: Tz, from: &str, to: &str) -> Plan {
        let calendar = Calendar { granularity, zone };
        let borders = calendar.borders(seconds(from), seconds(to)).unwrap();
        Plan::new(granularity, &borders, NOTHING_DROPPED).unwrap()
    }

    #[test]
    fn rows_are_as_coarse_as_can_be() {
        use Granularity::{Day, Hour, Month};
        let day = series(Day, Tz::UTC, "2027-03-01T00:00:00Z", "2027-04-01T00:00:00Z");
        assert_eq!(granularities(&day), [(Day, 31)]);
        let day = series(Day, Tz::Europe__Berlin, "2027-03-01T00:00:00+01:00", "2027-04-01T00:00:00+02:00");
        assert_eq!(granularities(&day), [(Hour, 31 * 24 - 1)]);
        let month =
            series(Month, Tz::Europe__Berlin, "2027-03-01T00:00:00+01:00", "2027-04-01T00:00:00+02:00");
        assert_eq!(granularities(&month), [(Hour, 1), (Day, 30), (Hour, 22)]);
        let hour =
            series(Hour, Tz::Asia__Kathmandu, "2027-03-01T00:00:00+05:45", "2027-03-01T02:00:00+05:45");
        assert_eq!(
            hour.runs,
            [Run {
                granularity: Hour,
                first: seconds("2027-02-28T18:00:00Z") / HOUR,
                slots: vec![[NO_SLOT, 0, 0, 0], [0, 1, 1, 1], [1, NO_SLOT, NO_SLOT, NO_SLOT]],
            }]
        );
        let whole = [seconds("2026-12-31T22:00:00Z"), seconds("2028-01-02T00:00:00Z")];
        let whole = Plan::new(Hour, &whole, NOTHING_DROPPED).unwrap();
        assert_eq!(granularities(&whole), [(Hour, 2), (Month, 12), (Day, 1)]);
    }

    #[test]
    fn what_was_dropped_is_not_asked_for() {
        let since = seconds("2027-03-01T00:00:00Z");
        let kept = Kept { minutes: None, hours: Some(since) };
        let too_long_ago = UsageError::TooLongAgo { since: Timestamp::from_micros(since * 1_000_000) };
        let of = |from: i64, to: i64| Plan::new(Granularity::Hour, &[from, to], kept).map(|_| ());
        assert_eq!(of(since - DAY, since + HOUR), Ok(()));
        assert_eq!(of(since - HOUR, since + HOUR), Err(too_long_ago.clone()));
        let kept = Kept { minutes: Some(since), hours: None };
        let of = |from: i64, to: i64| Plan::new(Granularity::Minute, &[from, to], kept).map(|_| ());
        assert_eq!(of(since - QUARTER, since + MINUTE), Ok(()));
        assert_eq!(of(since - MINUTE, since + MINUTE), Err(too_long_ago));
    }

    /// Which slot each minute goes into, as often as it does.
    fn minutes(plan: &Plan) -> Vec<(i64, u16)> {
        let mut minutes = Vec::new();
        for run in &plan.runs {
            for (row, slots) in (run.first..).zip(&run.slots) {
                let level = match run.granularity {
                    Granularity::Minute => Level::Minute,
                    Granularity::Hour => Level::Hour,
                    Granularity::Day => Level::Day,
                    Granularity::Month => Level::Month,
                };
                let (start, end) = (level.start(row), level.start(row + 1));
                for minute in start / MINUTE..end / MINUTE {
                    let slot = slots[usize::try_from(minute.rem_euclid(60) / 15).unwrap()];
                    if slot != NO_SLOT {
                        minutes.push((minute, slot));
                    }
                }
            }
        }
        minutes.sort_unstable();
        minutes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_minute_goes_into_its_bucket_and_no_other(
            from in 1_700_000_000i64..1_900_000_000,
            length in 1i64..40,
            granularity in prop::sample::select(vec![
                Granularity::Minute, Granularity::Hour, Granularity::Day, Granularity::Month,
            ]),
            zone in prop::sample::select(vec![
                Tz::UTC, Tz::Europe__Berlin, Tz::Asia__Kathmandu, Tz::Australia__Lord_Howe, Tz::Asia__Kolkata,
            ]),
            whole: bool,
        ) {
            let calendar = Calendar { granularity, zone };
            let mut borders = vec![calendar.floor(from)];
            for _ in 0..length.min(if granularity == Granularity::Month { 4 } else { 40 }) {
                borders.push(calendar.next(*borders.last().unwrap()));
            }
            if whole {
                borders = vec![borders[0], *borders.last().unwrap()];
            }
            let plan = Plan::new(granularity, &borders, NOTHING_DROPPED).unwrap();
            let expected: Vec<_> = (0..)
                .zip(borders.windows(2))
                .flat_map(|(slot, pair)| (pair[0] / MINUTE..pair[1] / MINUTE).map(move |minute| (minute, slot)))
                .collect();
            prop_assert_eq!(minutes(&plan), expected);
        }
    }
}
