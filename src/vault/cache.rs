//! What is kept in memory of the vault, and how much is read of it at once.
//!
//! An export of a long log needs one data key after the other, in the order in which their subjects came about, which
//! is mostly that of their ids, and so that of the rows: ids begin with the time. So who misses the row behind those
//! that were read before is given more rows each time.

use std::collections::{HashMap, VecDeque};

use keyledger_schema::Subject;

use super::Known;

/// The most rows that are read with one that is missed.
const MOST_ROWS: usize = 512;
/// So many places are remembered where somebody may go on reading.
const READERS: usize = 64;

/// What was found last. When it is full, the half that was not asked for since is given up.
pub(super) struct Cache {
    half: usize,
    recent: HashMap<Subject, Known>,
    older: HashMap<Subject, Known>,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { half: capacity / 2, recent: HashMap::new(), older: HashMap::new() }
    }

    /// What is known, and whether it is among what may be given up next.
    pub(super) fn get(&self, subject: Subject) -> Option<(&Known, bool)> {
        let recent = self.recent.get(&subject).map(|known| (known, false));
        recent.or_else(|| self.older.get(&subject).map(|known| (known, true)))
    }

    pub(super) fn insert(&mut self, subject: Subject, known: Known) {
        if self.recent.len() >= self.half {
            self.older = std::mem::take(&mut self.recent);
        }
        // It must not come back from there.
        self.older.remove(&subject);
        self.recent.insert(subject, known);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.recent.len() + self.older.len()
    }
}

/// The rows at which somebody who reads in order would go on, and how many were read up to there.
#[derive(Default)]
pub(super) struct Ahead(VecDeque<(Subject, usize)>);

impl Ahead {
    /// How many rows to read from a subject's own on.
    pub(super) fn rows_from(&mut self, subject: Subject) -> usize {
        let reader = self.0.iter().position(|(next, _)| *next == subject).and_then(|at| self.0.remove(at));
        reader.map_or(1, |(_, rows)| (rows * 2).min(MOST_ROWS))
    }

    /// So many rows were read, and this one is next.
    pub(super) fn stopped_before(&mut self, next: Subject, rows: usize) {
        if self.0.len() == READERS {
            self.0.pop_front();
        }
        self.0.push_back((next, rows));
    }
}

#[cfg(test)]
mod tests {
    use keyledger_schema::KeyId;
    use uuid::Uuid;

    use super::*;

    fn subject(n: u128) -> Subject {
        Subject::Key(KeyId::from_uuid(Uuid::from_u128(n)))
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_asked_for() {
        let mut cache = Cache::new(100);
        for n in 0..10_000 {
            cache.insert(subject(n), Known::Erased);
            // As whoever looks something up does.
            if let Some((known, true)) = cache.get(subject(0)) {
                let known = known.clone();
                cache.insert(subject(0), known);
            }
            assert!(cache.len() <= 100);
            assert!(cache.get(subject(0)).is_some() && cache.get(subject(n)).is_some(), "{n}");
        }
        assert!(cache.get(subject(1)).is_none());
    }

    #[test]
    fn what_is_known_now_is_not_what_was_known_before() {
        let mut cache = Cache::new(4);
        cache.insert(subject(1), Known::Lost);
        cache.insert(subject(2), Known::Lost);
        cache.insert(subject(3), Known::Lost);
        // The first one is among the older half, and stays erased when the newer half is given up.
        cache.insert(subject(1), Known::Erased);
        assert!(matches!(cache.get(subject(1)), Some((Known::Erased, _))));
        cache.insert(subject(4), Known::Lost);
        assert!(!matches!(cache.get(subject(1)), Some((Known::Lost, _))));
    }

    #[test]
    fn whoever_reads_in_order_is_given_more_each_time_and_others_one() {
        let mut ahead = Ahead::default();
        let (mut at, mut rows) = (0, Vec::new());
        for _ in 0..12 {
            let next = ahead.rows_from(subject(at));
            // Somebody else reads here and there meanwhile.
            for other in 0..READERS as u128 - 2 {
                assert_eq!(ahead.rows_from(subject(1_000_000 + 7 * other + at)), 1);
                ahead.stopped_before(subject(2_000_000 + other), 1);
            }
            at += next as u128;
            ahead.stopped_before(subject(at), next);
            rows.push(next);
        }
        assert_eq!(rows, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512, 512]);
        assert!(ahead.0.len() <= READERS);
    }
}
