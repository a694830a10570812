//! The best so many of rows that are offered in any order.

use std::cmp::Ordering;

use crate::readmodel::page::Sequence;

/// What a row is sorted by, most important part first. Lists use one of the first two at most, and leave
/// the other at its default.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rank<'a> {
    pub(super) number: i64,
    pub(super) text: &'a [u8],
    /// Settles ties.
    pub(super) seq: i64,
}

/// A place in a list, with or without a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::readmodel) struct Place {
    pub(in crate::readmodel) number: i64,
    pub(in crate::readmodel) text: Box<[u8]>,
    pub(in crate::readmodel) seq: i64,
}

impl Place {
    fn rank(&self) -> Rank<'_> {
        Rank { number: self.number, text: &self.text, seq: self.seq }
    }
}

/// Holds up to twice what is wanted, and throws the worse half away whenever that is reached: constant
/// work for each row.
pub(super) struct Selection {
    scan: Sequence,
    after: Option<Place>,
    wanted: usize,
    found: Vec<Place>,
    /// Whether the last one wanted is known, at its place in `found`.
    bounded: bool,
}

impl Selection {
    /// Of rows beyond `after`; in `scan` the best is the first.
    pub(super) const fn new(scan: Sequence, after: Option<Place>, wanted: usize) -> Self {
        Self { scan, after, wanted, found: Vec::new(), bounded: false }
    }

    fn order(scan: Sequence, a: Rank<'_>, b: Rank<'_>) -> Ordering {
        match scan {
            Sequence::Ascending => a.cmp(&b),
            Sequence::Descending => b.cmp(&a),
        }
    }

    pub(super) fn offer(&mut self, rank: Rank<'_>) {
        if self.after.as_ref().is_some_and(|after| Self::order(self.scan, rank, after.rank()).is_le()) {
            return;
        }
        let last = self.wanted.checked_sub(1).filter(|_| self.bounded).map(|last| self.found[last].rank());
        if last.is_some_and(|last| Self::order(self.scan, rank, last).is_ge()) {
            return;
        }
        self.found.push(Place { number: rank.number, text: rank.text.into(), seq: rank.seq });
        if self.found.len() >= self.wanted.saturating_mul(2) {
            self.prune();
        }
    }

    fn prune(&mut self) {
        let scan = self.scan;
        if let Some(last) = self.wanted.checked_sub(1)
            && self.found.len() > self.wanted
        {
            self.found.select_nth_unstable_by(last, |a, b| Self::order(scan, a.rank(), b.rank()));
            self.bounded = true;
        }
        self.found.truncate(self.wanted);
    }

    /// Whether there are as many as wanted. Better ones may still come.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= self.wanted
    }

    /// The best, in order.
    pub(super) fn finish(mut self) -> Vec<Place> {
        self.prune();
        let scan = self.scan;
        self.found.sort_unstable_by(|a, b| Self::order(scan, a.rank(), b.rank()));
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_what_sorting_everything_would_give(
            offered in prop::collection::vec((0i64..5, "[ab]{0,2}"), 0..200),
            after in prop::option::of((0i64..5, "[ab]{0,2}", 0i64..200)),
            wanted in 0usize..20,
            ascending: bool,
        ) {
            let scan = if ascending { Sequence::Ascending } else { Sequence::Descending };
            let rows: Vec<_> =
                (0i64..).zip(&offered).map(|(seq, (number, text))| (*number, text.clone(), seq)).collect();
            let mut expected = rows.clone();
            expected.sort();
            if !ascending {
                expected.reverse();
            }
            if let Some(after) = &after {
                expected.retain(|row| if ascending { row > after } else { row < after });
            }
            expected.truncate(wanted);

            let after =
                after.map(|(number, text, seq)| Place { number, text: text.as_bytes().into(), seq });
            let mut selection = Selection::new(scan, after, wanted);
            for (number, text, seq) in &rows {
                selection.offer(Rank { number: *number, text: text.as_bytes(), seq: *seq });
            }
            let found: Vec<_> = selection.finish().into_iter().map(|place| place.seq).collect();
            let expected: Vec<_> = expected.into_iter().map(|(.., seq)| seq).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
