//! The best so many of rows that are offered in any order.

use std::cmp::Ordering;

use crate::readmodel::cursor::{self, Cursor};
use crate::readmodel::page::Sequence;

/// What a row is sorted by; in one list the same kind for all. See [`cursor::Value`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Value<'a> {
    Nothing,
    Number(i64),
    /// UTF-8.
    Text(&'a [u8]),
}

/// A row's place in a list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rank<'a> {
    pub(super) value: Value<'a>,
    /// Settles ties.
    pub(super) seq: i64,
}

impl<'a> Rank<'a> {
    fn of(place: &'a Cursor) -> Self {
        let value = match &place.value {
            cursor::Value::Nothing => Value::Nothing,
            cursor::Value::Number(number) => Value::Number(*number),
            cursor::Value::Text(text) => Value::Text(text.as_bytes()),
        };
        Self { value, seq: place.number }
    }

    fn place(self) -> Cursor {
        let value = match self.value {
            Value::Nothing => cursor::Value::Nothing,
            Value::Number(number) => cursor::Value::Number(number),
            Value::Text(text) => cursor::Value::Text(String::from_utf8_lossy(text).into_owned()),
        };
        Cursor { value, number: self.seq }
    }
}

/// Holds up to twice what is wanted, and throws the worse half away whenever that is reached: constant
/// work for each row.
pub(super) struct Selection {
    scan: Sequence,
    after: Option<Cursor>,
    wanted: usize,
    found: Vec<Cursor>,
    /// Whether the last one wanted is known, at its place in `found`.
    bounded: bool,
}

impl Selection {
    /// Of rows beyond `after`; in `scan` the best is the first.
    pub(super) const fn new(scan: Sequence, after: Option<Cursor>, wanted: usize) -> Self {
        Self { scan, after, wanted, found: Vec::new(), bounded: false }
    }

    fn order(scan: Sequence, a: Rank<'_>, b: Rank<'_>) -> Ordering {
        match scan {
            Sequence::Ascending => a.cmp(&b),
            Sequence::Descending => b.cmp(&a),
        }
    }

    pub(super) fn offer(&mut self, rank: Rank<'_>) {
        if self.after.as_ref().is_some_and(|after| Self::order(self.scan, rank, Rank::of(after)).is_le()) {
            return;
        }
        let last =
            self.wanted.checked_sub(1).filter(|_| self.bounded).map(|last| Rank::of(&self.found[last]));
        if last.is_some_and(|last| Self::order(self.scan, rank, last).is_ge()) {
            return;
        }
        self.found.push(rank.place());
        if self.found.len() >= self.wanted.saturating_mul(2) {
            self.prune();
        }
    }

    fn prune(&mut self) {
        let scan = self.scan;
        if let Some(last) = self.wanted.checked_sub(1)
            && self.found.len() > self.wanted
        {
            self.found.select_nth_unstable_by(last, |a, b| Self::order(scan, Rank::of(a), Rank::of(b)));
            self.bounded = true;
        }
        self.found.truncate(self.wanted);
    }

    /// Whether there are as many as wanted. Better ones may still come.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= self.wanted
    }

    /// The best, in order.
    pub(super) fn finish(mut self) -> Vec<Cursor> {
        self.prune();
        let scan = self.scan;
        self.found.sort_unstable_by(|a, b| Self::order(scan, Rank::of(a), Rank::of(b)));
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
            offered in prop::collection::vec("[ab]{0,2}", 0..200),
            after in prop::option::of(("[ab]{0,2}", 0i64..200)),
            wanted in 0usize..20,
            ascending: bool,
        ) {
            let scan = if ascending { Sequence::Ascending } else { Sequence::Descending };
            let mut expected: Vec<_> = offered.iter().cloned().zip(0i64..).collect();
            expected.sort();
            if !ascending {
                expected.reverse();
            }
            if let Some(after) = &after {
                expected.retain(|row| if ascending { row > after } else { row < after });
            }
            expected.truncate(wanted);

            let place = |(text, number)| Cursor { value: cursor::Value::Text(text), number };
            let mut selection = Selection::new(scan, after.map(place), wanted);
            for (text, seq) in offered.iter().zip(0..) {
                selection.offer(Rank { value: Value::Text(text.as_bytes()), seq });
            }
            prop_assert_eq!(selection.finish(), expected.into_iter().map(place).collect::<Vec<_>>());
        }
    }
}
