//! Counts by group, while groups are numbers: one for each dimension.

use std::cmp::Reverse;

use hashbrown::HashMap;

use super::{Counts, UsageError};

/// The values of a group. The second is 0 where there is one dimension only.
pub(super) type Numbers = [u32; 2];

/// Groups that have a place of their own; all others are looked up.
const DENSE: usize = 4_000_000;
/// Groups that are looked up, at most.
const MAX_SPARSE: usize = 2_000_000;

/// Every group that occurs.
pub(super) struct Tally {
    /// How many values the second dimension has; none if that is not known.
    width: Option<usize>,
    dense: Vec<Counts>,
    sparse: HashMap<Numbers, Counts>,
}

/// The largest groups, and what the others count together.
#[derive(Default)]
pub(super) struct Ranking {
    pub(super) first: Vec<(Numbers, Counts)>,
    pub(super) other_groups: u64,
    pub(super) others: Counts,
}

impl Tally {
    pub(super) fn new(width: Option<usize>) -> Self {
        Self { width, dense: Vec::new(), sparse: HashMap::new() }
    }

    /// What would be too many groups is left out, which [`Self::check`] tells.
    #[inline]
    pub(super) fn add(&mut self, [a, b]: Numbers, counts: Counts) {
        let place = self.width.map(|width| a as usize * width + b as usize);
        if let Some(place) = place.filter(|place| *place < DENSE) {
            if place >= self.dense.len() {
                self.dense.resize((place + 1).next_power_of_two().min(DENSE), Counts::default());
            }
            self.dense[place].add(counts);
        } else if self.sparse.len() <= MAX_SPARSE {
            self.sparse.entry([a, b]).or_default().add(counts);
        }
    }

    /// Whether there are not too many groups.
    pub(super) fn check(&self) -> Result<(), UsageError> {
        if self.sparse.len() > MAX_SPARSE {
            return Err(UsageError::TooManyGroups { max: MAX_SPARSE as u64 });
        }
        Ok(())
    }

    /// The `top` groups with the most verifications. Of groups with as many as each other, the one with the
    /// smaller numbers comes first.
    pub(super) fn rank(self, top: usize) -> Ranking {
        let width = self.width.unwrap_or(1).max(1);
        let numbers = |place: usize| {
            let number = |n| u32::try_from(n).unwrap_or(u32::MAX);
            [number(place / width), number(place % width)]
        };
        let dense = self.dense.into_iter().enumerate().map(|(place, counts)| (numbers(place), counts));
        let mut groups: Vec<_> =
            dense.chain(self.sparse).filter(|(_, counts)| counts.verifications > 0).collect();
        let order = |(numbers, counts): &(Numbers, Counts)| (Reverse(counts.verifications), *numbers);
        let mut ranking = Ranking::default();
        if groups.len() > top {
            if top > 0 {
                groups.select_nth_unstable_by_key(top - 1, order);
            }
            for (_, counts) in groups.drain(top..) {
                ranking.other_groups += 1;
                ranking.others.add(counts);
            }
        }
        groups.sort_unstable_by_key(order);
        ranking.first = groups;
        ranking
    }
}

/// The groups that were chosen, each with its place among them.
pub(super) struct Chosen {
    places: HashMap<Numbers, usize>,
    /// Of each dimension, the values that occur in them.
    occurring: [Vec<bool>; 2],
}

impl Chosen {
    pub(super) fn new(first: &[(Numbers, Counts)]) -> Self {
        let mut occurring = [Vec::new(), Vec::new()];
        for (numbers, _) in first {
            for (occurring, number) in occurring.iter_mut().zip(numbers) {
                let number = *number as usize;
                if occurring.len() <= number {
                    occurring.resize(number + 1, false);
                }
                occurring[number] = true;
            }
        }
        let places = first.iter().enumerate().map(|(place, (numbers, _))| (*numbers, place)).collect();
        Self { places, occurring }
    }

    /// Whether a group with this value in this dimension was chosen.
    pub(super) fn has(&self, dimension: usize, number: u32) -> bool {
        self.occurring[dimension].get(number as usize).is_some_and(|occurs| *occurs)
    }

    pub(super) fn place(&self, numbers: Numbers) -> Option<usize> {
        if self.has(0, numbers[0]) && self.has(1, numbers[1]) {
            self.places.get(&numbers).copied()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_largest_groups_come_first_and_the_rest_is_summed_up(
            added in prop::collection::vec(((0u32..20, 0u32..3), 1u64..4), 0..100),
            top in 0usize..12,
            far: bool,
            known: bool,
        ) {
            let mut tally = Tally::new(known.then_some(3));
            let mut expected = BTreeMap::new();
            for ((a, b), verifications) in added {
                let a = if far { a * 300_000 } else { a };
                let counts = Counts { verifications, valid: 1, credits: u64::from(b) };
                tally.add([a, b], counts);
                expected.entry([a, b]).or_insert(Counts::default()).add(counts);
            }
            let mut expected: Vec<_> = expected.into_iter().collect();
            expected.sort_by_key(|(_, counts)| Reverse(counts.verifications));
            let rest = expected.split_off(top.min(expected.len()));
            let ranking = tally.rank(top);
            let chosen = Chosen::new(&ranking.first);
            for (place, (numbers, _)) in expected.iter().enumerate() {
                prop_assert_eq!(chosen.place(*numbers), Some(place));
            }
            for (numbers, _) in &rest {
                prop_assert_eq!(chosen.place(*numbers), None);
            }
            prop_assert_eq!(ranking.first, expected);
            prop_assert_eq!(ranking.other_groups, rest.len() as u64);
            let mut others = Counts::default();
            for (_, counts) in &rest {
                others.add(*counts);
            }
            prop_assert_eq!(ranking.others, others);
        }
    }
}
