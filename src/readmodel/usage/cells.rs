//! Cells: how often verifications that agree in some respects were counted within a bucket of time, and the
//! bytes that many of them are stored as.
//!
//! ```text
//! blob = *cell checksum
//! cell = ord    the difference to the ordinal of the cell before; from 0 for the first
//!        value  the difference to the value of the cell before where the ordinal is the same, else the value
//!        kind   1 byte: quarter (2 bits), code (4 bits), action (2 bits)
//!        count  four times the number of verifications, 1 more if credits follow, 2 more if means follow
//!        [ credits ] [ means  1 byte: from 1 on ]
//! ```
//!
//! Numbers are varints, see [`super::bytes`]. Cells are sorted by ordinal, value and kind, and no two of a
//! blob agree in these.

use keyledger_schema::{Action, Means, VerificationCode};

use super::bytes::{self, Input};
use crate::readmodel::snapshot::Error;

/// After the number of verifications: they spent credits.
const CREDITS: u64 = 1;
/// After the number of verifications: they were not by a secret. Most are, so these take a byte more.
const MEANS: u64 = 2;

/// The quarter of an hour, the answer and the action of a cell in one byte, and above it the means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(in crate::readmodel) struct Kind(u16);

impl Kind {
    /// `quarter` is 0 to 3.
    pub(in crate::readmodel) const fn new(
        quarter: u8,
        code: VerificationCode,
        action: Option<Action>,
        means: Option<Means>,
    ) -> Self {
        let action = match action {
            None => 0,
            Some(action) => action as u8 + 1,
        };
        let means = match means {
            None => 0,
            Some(means) => means as u8 + 1,
        };
        Self::packed((quarter & 3) << 6 | (code as u8) << 2 | action, means)
    }

    const fn packed(byte: u8, means: u8) -> Self {
        Self(u16::from_be_bytes([means, byte]))
    }

    /// The byte of all but the means.
    pub(super) const fn byte(self) -> u8 {
        self.0.to_be_bytes()[1]
    }

    /// The byte of the means, if there are any.
    pub(super) const fn means_byte(self) -> Option<u8> {
        match self.0.to_be_bytes()[0] {
            0 => None,
            means => Some(means),
        }
    }

    /// The kind that these bytes are, if they are one.
    pub(super) const fn of(byte: u8, means: Option<u8>) -> Option<Self> {
        let means = match means {
            None => 0,
            Some(means @ 1..) if means as usize <= Means::ALL.len() => means,
            Some(_) => return None,
        };
        let known = ((byte >> 2 & 15) as usize) < VerificationCode::ALL.len();
        if known { Some(Self::packed(byte, means)) } else { None }
    }

    /// Which quarter of its hour, 0 to 3; 0 in other rows than those of hours.
    pub(in crate::readmodel) const fn quarter(self) -> u8 {
        self.byte() >> 6
    }

    /// The place of the answer in [`VerificationCode::ALL`].
    pub(in crate::readmodel) const fn code_index(self) -> usize {
        (self.byte() >> 2 & 15) as usize
    }

    /// What was answered.
    pub(in crate::readmodel) const fn code(self) -> VerificationCode {
        VerificationCode::ALL[self.code_index()]
    }

    /// What the holder wanted to do.
    pub(in crate::readmodel) const fn action(self) -> Option<Action> {
        match self.byte() & 3 {
            0 => None,
            n => Some(Action::ALL[n as usize - 1]),
        }
    }

    /// 0 for a secret, else one more than the place of the means in [`Means::ALL`].
    pub(in crate::readmodel) const fn means_index(self) -> usize {
        self.0.to_be_bytes()[0] as usize
    }

    /// How the key was used, if not by its secret.
    pub(in crate::readmodel) const fn means(self) -> Option<Means> {
        match self.means_index() {
            0 => None,
            n => Some(Means::ALL[n - 1]),
        }
    }

    /// The same in another quarter of an hour.
    pub(super) const fn in_quarter(self, quarter: u8) -> Self {
        let [means, byte] = self.0.to_be_bytes();
        Self::packed(byte & 0x3f | (quarter & 3) << 6, means)
    }
}

/// What a cell's verifications agree in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(in crate::readmodel) struct Place {
    /// The key's ordinal in its organization; 0 for no key, and in the facet of places.
    pub(in crate::readmodel) ord: u32,
    /// The number of the facet's value in the organization's dictionary; 0 for none.
    pub(in crate::readmodel) value: u32,
    /// The rest.
    pub(in crate::readmodel) kind: Kind,
}

/// How often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::readmodel) struct Cell {
    /// Of what.
    pub(in crate::readmodel) place: Place,
    /// How many verifications.
    pub(in crate::readmodel) count: u64,
    /// How many credits they spent.
    pub(in crate::readmodel) credits: u64,
}

impl Cell {
    fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.credits = self.credits.saturating_add(other.credits);
    }
}

/// Adds up cells that agree, and sorts them, as blobs want them.
pub(super) fn sum(cells: &mut Vec<Cell>) {
    // What comes here is mostly sorted already, which the stable sort makes use of.
    cells.sort_by_key(|cell| cell.place);
    cells.dedup_by(|cell, before| {
        let same = cell.place == before.place;
        if same {
            before.add(cell);
        }
        same
    });
}

struct Output {
    bytes: Vec<u8>,
    ord: u32,
    value: u32,
}

impl Output {
    fn new(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), ord: 0, value: 0 }
    }

    fn write(&mut self, cell: &Cell) {
        let Place { ord, value, kind } = cell.place;
        bytes::write(&mut self.bytes, (ord - self.ord).into());
        let before = if ord == self.ord { self.value } else { 0 };
        bytes::write(&mut self.bytes, (value - before).into());
        self.bytes.push(kind.byte());
        // Nobody counts that far; whoever would, would not count on.
        let count = cell.count.min(u64::MAX >> 2);
        let credits = if cell.credits == 0 { 0 } else { CREDITS };
        let means = if kind.means_byte().is_none() { 0 } else { MEANS };
        bytes::write(&mut self.bytes, count << 2 | means | credits);
        if cell.credits != 0 {
            bytes::write(&mut self.bytes, cell.credits);
        }
        self.bytes.extend(kind.means_byte());
        (self.ord, self.value) = (ord, value);
    }
}

struct Cells<'a> {
    input: Input<'a>,
    ord: u32,
    value: u32,
}

impl<'a> Cells<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, Error> {
        Ok(Self { input: bytes::open(bytes)?, ord: 0, value: 0 })
    }

    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "a cell that is handed over in memory takes longer than to read it"
    )]
    fn next(&mut self) -> Result<Option<Cell>, Error> {
        if self.input.is_empty() {
            return Ok(None);
        }
        // Most cells are four bytes.
        let (ord, value, kind, count) = match self.input.short(2) {
            Some([ord, value, kind, count]) => (ord.into(), value.into(), kind, count.into()),
            None => (self.input.small()?, self.input.small()?, self.input.byte()?, self.input.number()?),
        };
        if ord == 0 {
            self.value = self.value.checked_add(value).ok_or(Error)?;
        } else {
            self.ord = self.ord.checked_add(ord).ok_or(Error)?;
            self.value = value;
        }
        let (mut credits, mut means) = (0, None);
        if count & (CREDITS | MEANS) != 0 {
            credits = if count & CREDITS == 0 { 0 } else { self.input.number()? };
            means = if count & MEANS == 0 { None } else { Some(self.input.byte()?) };
        }
        let kind = Kind::of(kind, means).ok_or(Error)?;
        let place = Place { ord: self.ord, value: self.value, kind };
        Ok(Some(Cell { place, count: count >> 2, credits }))
    }
}

/// The bytes of cells that are sorted and do not repeat, see [`sum`].
pub(super) fn encode(cells: &[Cell]) -> Vec<u8> {
    let mut output = Output::new(6 * cells.len() + 8);
    for cell in cells {
        output.write(cell);
    }
    bytes::seal(output.bytes)
}

/// Hands over each cell in order.
#[inline]
pub(in crate::readmodel) fn decode(bytes: &[u8], mut each: impl FnMut(Cell)) -> Result<(), Error> {
    let mut cells = Cells::of(bytes)?;
    while let Some(cell) = cells.next()? {
        each(cell);
    }
    Ok(())
}

/// The bytes of two blobs' cells together.
pub(super) fn merge(one: &[u8], other: &[u8]) -> Result<Vec<u8>, Error> {
    let mut output = Output::new(one.len() + other.len());
    let (mut one, mut other) = (Cells::of(one)?, Cells::of(other)?);
    let (mut left, mut right) = (one.next()?, other.next()?);
    loop {
        match (&mut left, &mut right) {
            (Some(a), Some(b)) if a.place == b.place => {
                a.add(b);
                right = other.next()?;
            }
            (Some(a), Some(b)) if b.place < a.place => {
                output.write(b);
                right = other.next()?;
            }
            (Some(a), _) => {
                output.write(a);
                left = one.next()?;
            }
            (None, Some(b)) => {
                output.write(b);
                right = other.next()?;
            }
            (None, None) => return Ok(bytes::seal(output.bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn cell() -> impl Strategy<Value = Cell> {
        let number = || prop_oneof![4 => 0u32..4, 1 => any::<u32>()];
        let amount = || prop_oneof![2 => 0u64..4, 1 => 0u64..1 << 40];
        let code = prop::sample::select(&VerificationCode::ALL[..]);
        let action = prop::option::of(prop::sample::select(&Action::ALL[..]));
        let means = prop::option::of(prop::sample::select(&Means::ALL[..]));
        let kind = (0u8..4, code, action, means)
            .prop_map(|(quarter, code, action, means)| Kind::new(quarter, code, action, means));
        (number(), number(), kind, amount(), amount()).prop_map(|(ord, value, kind, count, credits)| Cell {
            place: Place { ord, value, kind },
            count,
            credits,
        })
    }

    fn naive<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Vec<Cell> {
        let mut sums: BTreeMap<Place, (u64, u64)> = BTreeMap::new();
        for cell in cells {
            let sum = sums.entry(cell.place).or_default();
            (sum.0, sum.1) = (sum.0 + cell.count, sum.1 + cell.credits);
        }
        sums.into_iter().map(|(place, (count, credits))| Cell { place, count, credits }).collect()
    }

    fn read(bytes: &[u8]) -> Vec<Cell> {
        let mut cells = Vec::new();
        decode(bytes, |cell| cells.push(cell)).unwrap();
        cells
    }

    #[test]
    fn a_kind_is_what_it_was_made_of() {
        for quarter in 0..4 {
            for (n, code) in VerificationCode::ALL.into_iter().enumerate() {
                for action in [None].into_iter().chain(Action::ALL.map(Some)) {
                    for means in [None].into_iter().chain(Means::ALL.map(Some)) {
                        let kind = Kind::new(quarter, code, action, means);
                        assert_eq!((kind.quarter(), kind.code(), kind.action()), (quarter, code, action));
                        assert_eq!((kind.code_index(), kind.means()), (n, means));
                        assert_eq!(Kind::new(0, code, action, means).in_quarter(quarter), kind);
                        assert_eq!(Kind::of(kind.byte(), kind.means_byte()), Some(kind));
                    }
                }
            }
        }
    }

    #[test]
    fn most_cells_are_four_bytes_and_means_take_one_more() {
        let size = |means, count, credits| {
            let kind = Kind::new(3, VerificationCode::Valid, Some(Action::Write), means);
            encode(&[Cell { place: Place { ord: 7, value: 0, kind }, count, credits }]).len()
                - encode(&[]).len()
        };
        assert_eq!((size(None, 31, 0), size(None, 32, 0), size(None, 4_096, 0)), (4, 5, 6));
        assert_eq!((size(Some(Means::Token), 31, 0), size(Some(Means::Exchange), 1, 1)), (5, 6));
    }

    #[test]
    fn means_that_there_are_not_are_no_cell() {
        let cell = |means| bytes::seal(vec![0, 0, 0, 1 << 2 | 2, means]);
        assert!(decode(&cell(1), drop).is_ok());
        for means in [0, u8::try_from(Means::ALL.len()).unwrap() + 1, u8::MAX] {
            assert!(decode(&cell(means), drop).is_err(), "{means}");
        }
    }

    proptest! {
        #[test]
        fn cells_come_back_and_add_up(
            first in prop::collection::vec(cell(), 0..40),
            second in prop::collection::vec(cell(), 0..40),
        ) {
            let (mut one, mut two) = (first.clone(), second.clone());
            sum(&mut one);
            sum(&mut two);
            prop_assert_eq!(&one, &naive(&first));
            let bytes = encode(&one);
            prop_assert_eq!(read(&bytes), one);
            let merged = merge(&bytes, &encode(&two)).unwrap();
            let both = naive(first.iter().chain(&second));
            prop_assert_eq!(read(&merged), both.clone());
            prop_assert_eq!(merged, encode(&both), "the same cells are the same bytes");
        }

        #[test]
        fn a_changed_byte_is_noticed(cells in prop::collection::vec(cell(), 1..9), at: usize, by in 1u8..) {
            let mut cells = cells;
            sum(&mut cells);
            let mut bytes = encode(&cells);
            let at = at % bytes.len();
            bytes[at] ^= by;
            prop_assert!(decode(&bytes, drop).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let bytes = bytes::seal(bytes);
            let _ = decode(&bytes, drop);
            let _ = merge(&bytes, &encode(&[]));
        }
    }
}
