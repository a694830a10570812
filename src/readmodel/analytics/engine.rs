//! Answers: which rows are read, in which order, and what becomes of their cells.
//!
//! Totals come from the coarsest rows, and the largest groups are found with these. Only then are finer rows
//! read for series, and for the groups that were chosen only those of chunks that have keys of theirs. What all
//! verifications count together comes from the facet that the filter alone needs, which knows every verification
//! once; that is the one of places, the smallest by far, unless the filter names keys or what they have.

use std::collections::HashSet;

use keyledger_schema::{OrganizationId, Timestamp, VerificationCode};
use rusqlite::{Connection, OptionalExtension};

use super::calendar::{Calendar, HOUR, MINUTE};
use super::lens::{self, Lens, Values};
use super::plan::{Kept, NO_SLOT, Plan};
use super::tally::{Chosen, Ranking, Tally};
use super::{Counts, Dimension, Granularity, UsageAnswer, UsageError, UsageGroup, UsageQuery};
use crate::readmodel::QueryError;
use crate::readmodel::catalog::Catalog;
use crate::readmodel::usage::cells::{self, Cell};
use crate::readmodel::usage::rollup::{self, Facet, Grain};

/// Groups with a series of their own.
const MAX_SERIES: usize = 1_000;

/// Why there is no answer.
pub(in crate::readmodel) enum Failure {
    Engine(rusqlite::Error),
    Usage(UsageError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Self {
        Self::Usage(error)
    }
}

impl Counts {
    fn of(cell: &Cell) -> Self {
        let valid = cell.place.kind.code() == VerificationCode::Valid;
        Self { verifications: cell.count, valid: if valid { cell.count } else { 0 }, credits: cell.credits }
    }
}

fn grain(granularity: Granularity) -> Grain {
    match granularity {
        Granularity::Minute => Grain::Minute,
        Granularity::Hour => Grain::Hour,
        Granularity::Day => Grain::Day,
        Granularity::Month => Grain::Month,
    }
}

/// From when on rows are kept.
fn kept(connection: &Connection) -> rusqlite::Result<Kept> {
    let horizon: Option<Option<i64>> = connection
        .prepare_cached("SELECT horizon FROM usage_meta")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let first = |grain: Grain, unit: i64| {
        let horizon = Timestamp::from_micros(horizon.flatten()?);
        Some(i64::from(grain.first_kept(horizon)) * unit)
    };
    Ok(Kept { minutes: first(Grain::Minute, MINUTE), hours: first(Grain::Hour, HOUR) })
}

/// A row's number as it is stored. There is nothing before 1970.
fn bucket(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// Hands over every cell that a lens lets through, with the place of its bucket in the series.
fn each(
    connection: &Connection,
    lens: &Lens,
    plan: &Plan,
    mut each: impl FnMut(&Cell, Counts, usize),
) -> rusqlite::Result<()> {
    for run in &plan.runs {
        let grain = grain(run.granularity);
        let chunks = match lens.facet {
            Facet::Places => Some(vec![0]),
            _ => lens.chunks(grain.chunk()),
        };
        let chunks = match chunks {
            Some(chunks) => chunks,
            None => (0..=last_chunk(connection, lens, grain)?).collect(),
        };
        let buckets = bucket(run.first)..bucket(run.end());
        let rows = (Some(lens.organization), (lens.facet, grain));
        rollup::read(connection, rows.0, rows.1, chunks, buckets, |bucket, cells| {
            let row = usize::try_from(i64::from(bucket) - run.first).unwrap_or(usize::MAX);
            let Some(slots) = run.slots.get(row) else { return Ok(()) };
            cells::decode(cells, |cell| {
                let slot = slots[usize::from(cell.place.kind.quarter())];
                if slot != NO_SLOT && lens.lets_through(&cell) {
                    each(&cell, Counts::of(&cell), usize::from(slot));
                }
            })
        })?;
    }
    Ok(())
}

/// The last chunk that there is.
fn last_chunk(connection: &Connection, lens: &Lens, grain: Grain) -> rusqlite::Result<u32> {
    connection
        .prepare_cached(
            "SELECT coalesce(max(chunk), 0) FROM usage_cells WHERE org = ?1 AND facet = ?2 AND granularity = ?3",
        )?
        .query_row((lens.organization.uuid().into_bytes(), lens.facet as u8, grain as u8), |row| row.get(0))
}

fn sum(series: &[Counts]) -> Counts {
    let mut sum = Counts::default();
    for counts in series {
        sum.add(*counts);
    }
    sum
}

struct Engine<'a> {
    connection: &'a Connection,
    catalog: &'a Catalog,
    query: &'a UsageQuery,
    values: Values,
}

/// What was found before numbers are resolved.
#[derive(Default)]
struct Found {
    series: Vec<Counts>,
    ranking: Ranking,
    /// Of each group that was chosen.
    of_groups: Vec<Vec<Counts>>,
}

struct Series {
    of_groups: Vec<Vec<Counts>>,
    /// Of all verifications, if all keys were looked at.
    all: Option<Vec<Counts>>,
}

impl Engine<'_> {
    fn lens(&mut self, n: usize, group_by: &[Dimension]) -> rusqlite::Result<Lens> {
        Lens::new(self.connection, self.catalog, self.query, n, group_by, &mut self.values)
    }

    /// Looks at all organizations, one after the other.
    fn lenses(&mut self, group_by: &[Dimension]) -> rusqlite::Result<Vec<Lens>> {
        (0..self.query.organizations.len()).map(|n| self.lens(n, group_by)).collect()
    }

    /// What all verifications count, by bucket.
    fn all(&mut self, plan: &Plan, buckets: usize) -> Result<Vec<Counts>, Failure> {
        let mut series = vec![Counts::default(); buckets];
        for lens in self.lenses(&[])? {
            each(self.connection, &lens, plan, |_, counts, slot| {
                series[slot].add(counts);
            })?;
        }
        Ok(series)
    }

    /// Groups of the whole time, and what all verifications count.
    fn groups(&mut self, lenses: &[Lens], plan: &Plan) -> Result<(Ranking, Counts), Failure> {
        let query = self.query;
        let mut totals = Counts::default();
        let mut tally = Tally::new(match query.group_by[..] {
            [_] => Some(1),
            [_, second] => lens::width(second),
            _ => None,
        });
        for lens in lenses {
            each(self.connection, lens, plan, |cell, counts, _| {
                totals.add(counts);
                lens.groups(cell, |numbers| tally.add(numbers, counts));
            })?;
            tally.check()?;
        }
        let top = if query.series { query.top.min(MAX_SERIES) } else { query.top };
        Ok((tally.rank(top), totals))
    }

    /// Series of the groups that were chosen; where all keys are looked at all the same, that of all
    /// verifications, too.
    fn series(
        &mut self,
        lenses: &mut [Lens],
        ranking: &Ranking,
        plan: &Plan,
        buckets: usize,
    ) -> Result<Series, Failure> {
        let chosen = Chosen::new(&ranking.first);
        let mut of_groups = vec![vec![Counts::default(); buckets]; ranking.first.len()];
        let mut all = vec![Counts::default(); buckets];
        let mut left_out = false;
        for lens in lenses {
            left_out |= lens.choose(&chosen, self.catalog);
            each(self.connection, lens, plan, |cell, counts, slot| {
                all[slot].add(counts);
                lens.groups(cell, |numbers| {
                    if let Some(place) = chosen.place(numbers) {
                        of_groups[place][slot].add(counts);
                    }
                });
            })?;
        }
        Ok(Series { of_groups, all: (!left_out).then_some(all) })
    }

    fn find(&mut self, totals: &Plan, series: Option<(&Plan, usize)>) -> Result<Found, Failure> {
        let query = self.query;
        if query.group_by.is_empty() {
            let (plan, buckets) = series.unwrap_or((totals, 1));
            return Ok(Found { series: self.all(plan, buckets)?, ..Found::default() });
        }
        let mut lenses = self.lenses(&query.group_by)?;
        // A verification has several cells there if it has several tags.
        let once = lenses.iter().all(|lens| lens.facet != Facet::Tags || query.filter.tag.is_some());
        let (ranking, sum) = self.groups(&lenses, totals)?;
        let Some((plan, buckets)) = series else {
            let series = if once { vec![sum] } else { self.all(totals, 1)? };
            return Ok(Found { series, ranking, of_groups: Vec::new() });
        };
        let Series { of_groups, all } = self.series(&mut lenses, &ranking, plan, buckets)?;
        let series = match all.filter(|_| once) {
            Some(all) => all,
            None => self.all(plan, buckets)?,
        };
        Ok(Found { series, ranking, of_groups })
    }
}

/// The organizations of a query without repetitions.
pub(in crate::readmodel) fn each_once(mut organizations: Vec<OrganizationId>) -> Vec<OrganizationId> {
    let mut seen = HashSet::new();
    organizations.retain(|id| seen.insert(*id));
    organizations
}

/// Answers a query within one read transaction. Gaps and the end of what is counted are not told here.
pub(in crate::readmodel) fn answer(
    connection: &Connection,
    catalog: &Catalog,
    query: &UsageQuery,
) -> Result<UsageAnswer, Failure> {
    let calendar = Calendar { granularity: query.granularity, zone: query.zone };
    let (from, to) = calendar.stretch(query.from, query.to)?;
    let has = |dimension| query.group_by.contains(&dimension);
    let (of_tags, of_addresses) = (
        query.filter.tag.is_some() || has(Dimension::Tag),
        query.filter.address.is_some() || has(Dimension::Address),
    );
    if of_tags && of_addresses {
        return Err(UsageError::TagWithAddress.into());
    }
    if query.group_by.len() > 2 {
        tracing::error!(
            dimensions = query.group_by.len(),
            "usage was to be grouped by more than two dimensions"
        );
        return Err(UsageError::Query(QueryError::Failed).into());
    }
    // The transaction sees what was there at the first statement; the catalog is asked after it and knows more.
    let kept = kept(connection)?;
    let borders = if query.series { calendar.borders(from, to)? } else { Vec::new() };
    let totals = Plan::new(query.granularity, &[from, to], kept)?;
    let buckets = borders.len().saturating_sub(1);
    let series = if query.series { Some(Plan::new(query.granularity, &borders, kept)?) } else { None };

    let values = Values::new(catalog, &query.organizations);
    let mut engine = Engine { connection, catalog, query, values };
    let found = engine.find(&totals, series.as_ref().map(|plan| (plan, buckets)))?;

    let mut groups = Vec::with_capacity(found.ranking.first.len());
    let mut of_groups = found.of_groups.into_iter();
    for (numbers, totals) in found.ranking.first {
        let values = query.group_by.iter().zip(numbers);
        let values = values.map(|(dimension, number)| engine.values.resolve(connection, *dimension, number));
        let values = values.collect::<rusqlite::Result<_>>()?;
        groups.push(UsageGroup { values, totals, series: of_groups.next().unwrap_or_default() });
    }
    let moment = |at: i64| Timestamp::from_micros(at.saturating_mul(1_000_000));
    Ok(UsageAnswer {
        from: moment(from),
        to: moment(to),
        buckets: borders.iter().take(buckets).map(|at| moment(*at)).collect(),
        totals: sum(&found.series),
        series: if query.series { found.series } else { Vec::new() },
        groups,
        other_groups: found.ranking.other_groups,
        others: found.ranking.others,
        incomplete: Vec::new(),
        through: None,
    })
}
