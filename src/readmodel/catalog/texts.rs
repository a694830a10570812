//! One text for each row, one after another in a single stretch of memory, so that a search runs over all
//! of them at once and not row by row.
//!
//! A text is made of parts, with [`MARK`] between or around them. That byte is in no UTF-8, so no part
//! holds it and nothing that is searched for can reach from one part into the next.
//!
//! A text that changes is written in its place and what follows it moves. A block's texts fit a processor's
//! cache, so this takes about a microsecond, and there is never garbage that would have to be collected.

use memchr::memchr;
use memchr::memmem::Finder;

use super::marks::Marks;

/// Ends or starts a part.
pub(super) const MARK: u8 = 0xff;
/// What a text that grows adds at once, so that the next ones find room.
const SPARE: usize = 1_024;

#[derive(Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    /// Where each row's text ends, and so the next one's begins.
    ends: Vec<u32>,
}

#[allow(clippy::cast_possible_truncation, reason = "an event is small, and so is a block of them")]
const fn offset(at: usize) -> u32 {
    at as u32
}

impl Texts {
    /// Adds the next row's text.
    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(offset(self.bytes.len()));
    }

    fn start(&self, row: usize) -> usize {
        row.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    /// A row's text.
    pub(super) fn text(&self, row: usize) -> &[u8] {
        &self.bytes[self.start(row)..self.ends[row] as usize]
    }

    /// A row's text up to its first mark.
    pub(super) fn first_part(&self, row: usize) -> &[u8] {
        let text = self.text(row);
        &text[..memchr(MARK, text).unwrap_or(text.len())]
    }

    /// Replaces a row's text.
    pub(super) fn set(&mut self, row: usize, text: &[u8]) {
        let (start, end) = (self.start(row), self.ends[row] as usize);
        if text == &self.bytes[start..end] {
            return;
        }
        let longer = text.len().saturating_sub(end - start);
        if self.bytes.capacity() - self.bytes.len() < longer {
            self.bytes.reserve_exact(longer + SPARE);
        }
        self.bytes.splice(start..end, text.iter().copied());
        for end_of in &mut self.ends[row..] {
            *end_of = offset(*end_of as usize + text.len() - (end - start));
        }
    }

    /// Marks the rows whose text has this in it and that are accepted, which is asked with the row and the
    /// place of the first occurrence in its text.
    pub(super) fn find(&self, finder: &Finder<'_>, found: &mut Marks, accept: impl Fn(usize, usize) -> bool) {
        let (mut row, mut from) = (0, 0);
        while from < self.bytes.len() {
            let Some(at) = finder.find(&self.bytes[from..]) else { return };
            let at = from + at;
            while self.ends[row] as usize <= at {
                row += 1;
            }
            if accept(row, at - self.start(row)) {
                found.set(row);
            }
            from = self.ends[row] as usize;
        }
    }

    /// Gives back what it holds more than it needs.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_mark(text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(MARK);
        bytes
    }

    proptest! {
        #[test]
        fn texts_stay_what_was_set_however_they_grow_and_shrink(
            first in prop::collection::vec("[ab]{0,6}", 1..80),
            changes in prop::collection::vec((0usize..80, "[abc]{0,90}"), 0..200),
            needle in "[abc]{0,3}",
        ) {
            let mut plain = first.clone();
            let mut texts = Texts::default();
            for text in &first {
                texts.push(&with_mark(text));
            }
            texts.shrink();
            for (row, text) in changes {
                let row = row % plain.len();
                texts.set(row, &with_mark(&text));
                plain[row] = text;
            }
            for (row, text) in plain.iter().enumerate() {
                prop_assert_eq!(texts.text(row), &with_mark(text)[..]);
                prop_assert_eq!(texts.first_part(row), text.as_bytes());
            }
            let mut found = Marks::none();
            texts.find(&Finder::new(&needle), &mut found, |row, at| {
                assert_eq!(plain[row].find(&needle), Some(at));
                true
            });
            let expected: Vec<_> = (0..plain.len()).filter(|row| plain[*row].contains(&needle)).collect();
            prop_assert_eq!(found.rows().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn changes_leave_no_garbage() {
        let mut texts = Texts::default();
        for _ in 0..100 {
            texts.push(&with_mark("short"));
        }
        texts.shrink();
        let before = texts.heap_bytes();
        for n in 0..10_000 {
            texts.set(n % 100, &with_mark(&"a much longer text "[..n % 19]));
        }
        assert!(texts.heap_bytes() <= before + 100 * 19 + 2 * SPARE, "{}", texts.heap_bytes());
    }
}
