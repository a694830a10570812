//! A set of rows of one block.

use super::block::ROWS;

const WORDS: usize = ROWS / 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Marks([u64; WORDS]);

impl Marks {
    pub(super) const fn none() -> Self {
        Self([0; WORDS])
    }

    /// The first so many rows.
    pub(super) fn first(rows: usize) -> Self {
        let mut marks = Self::none();
        for (n, word) in marks.0.iter_mut().enumerate() {
            *word = match rows.saturating_sub(n * 64) {
                left @ 0..64 => (1 << left) - 1,
                _ => u64::MAX,
            };
        }
        marks
    }

    pub(super) fn set(&mut self, row: usize) {
        self.0[row / 64] |= 1 << (row % 64);
    }

    /// Keeps what the other one has too.
    pub(super) fn keep(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
    }

    /// The rows in order.
    pub(super) fn rows(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(n, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(n * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_the_rows_that_were_set() {
        for rows in [0, 1, 63, 64, 65, ROWS - 1, ROWS] {
            assert!(Marks::first(rows).rows().eq(0..rows), "{rows}");
        }
        let mut marks = Marks::none();
        for row in [0, 63, 64, ROWS - 1] {
            marks.set(row);
        }
        assert!(marks.rows().eq([0, 63, 64, ROWS - 1]));
        marks.keep(&Marks::first(64));
        assert!(marks.rows().eq([0, 63]));
    }
}
