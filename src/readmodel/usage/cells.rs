//! Cells: how often verifications that agree in some respects were counted within a bucket of time, and the
//! bytes that many of them are stored as.
//!
//! ```text
//! blob = *cell checksum
//! cell = ord    the difference to the ordinal of the cell before; from 0 for the first
//!        value  the difference to the value of the cell before where the ordinal is the same, else the value
//!        kind   1 byte: quarter (2 bits), code (4 bits), action (2 bits)
//!        count  twice the number of verifications, and 1 more if credits follow
//!        [ credits ]
//! ```
//!
//! Numbers are varints, see [`super::bytes`]. Cells are sorted by ordinal, value and kind, and no two of a
//! blob agree in these.

use keyledger_schema::{Action, VerificationCode};

use super::bytes::{self, Input};
use crate::readmodel::snapshot::Error;

/// The quarter of an hour, the answer and the action of a cell in one byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(in crate::readmodel) struct Kind(u8);

impl Kind {
    /// `quarter` is 0 to 3.
    pub(in crate::readmodel) const fn new(
        quarter: u8,
        code: VerificationCode,
        action: Option<Action>,
    ) -> Self {
        let action = match action {
            None => 0,
            Some(action) => action as u8 + 1,
        };
        Self((quarter & 3) << 6 | (code as u8) << 2 | action)
    }

    /// The byte.
    pub(super) const fn byte(self) -> u8 {
        self.0
    }

    /// The kind that this byte is, if it is one.
    pub(super) const fn of(byte: u8) -> Option<Self> {
        if ((byte >> 2 & 15) as usize) < VerificationCode::ALL.len() { Some(Self(byte)) } else { None }
    }

    /// Which quarter of its hour, 0 to 3; 0 in other rows than those of hours.
    pub(in crate::readmodel) const fn quarter(self) -> u8 {
        self.0 >> 6
    }

    /// The place of the answer in [`VerificationCode::ALL`].
    pub(in crate::readmodel) const fn code_index(self) -> usize {
        (self.0 >> 2 & 15) as usize
    }

    /// What was answered.
    pub(in crate::readmodel) const fn code(self) -> VerificationCode {
        VerificationCode::ALL[self.code_index()]
    }

    /// What the holder wanted to do.
    pub(in crate::readmodel) const fn action(self) -> Option<Action> {
        match self.0 & 3 {
            0 => None,
            n => Some(Action::ALL[n as usize - 1]),
        }
    }

    /// The same in another quarter of an hour.
    pub(super) const fn in_quarter(self, quarter: u8) -> Self {
        Self(self.0 & 0x3f | (quarter & 3) << 6)
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
        self.bytes.push(kind.0);
        // Nobody counts that far; whoever would, would not count on.
        let count = cell.count.min(u64::MAX >> 1);
        bytes::write(&mut self.bytes, count << 1 | u64::from(cell.credits != 0));
        if cell.credits != 0 {
            bytes::write(&mut self.bytes, cell.credits);
        }
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
        let kind = Kind::of(kind).ok_or(Error)?;
        let credits = if count & 1 == 1 { self.input.number()? } else { 0 };
        let place = Place { ord: self.ord, value: self.value, kind };
        Ok(Some(Cell { place, count: count >> 1, credits }))
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
        let kind =
            (0u8..4, code, action).prop_map(|(quarter, code, action)| Kind::new(quarter, code, action));
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
                    let kind = Kind::new(quarter, code, action);
                    assert_eq!((kind.quarter(), kind.code(), kind.action()), (quarter, code, action));
                    assert_eq!(kind.code_index(), n);
                    assert_eq!(Kind::new(0, code, action).in_quarter(quarter), kind);
                }
            }
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
