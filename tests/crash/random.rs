//! Randomness that a seed repeats.

use std::time::Duration;

use keyledger::edge::Edge;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    /// From `CRASH_SEED`, or from the machine. The seed is printed, and shown when a test fails.
    pub fn seeded() -> Self {
        let given = std::env::var("CRASH_SEED").ok().and_then(|text| text.parse().ok());
        let [a, b, c, d, ..] = Edge::default().random();
        let seed = given.unwrap_or_else(|| u64::from(u32::from_le_bytes([a, b, c, d])));
        println!("repeat with CRASH_SEED={seed}");
        Self(seed)
    }

    /// Another one that does not depend on what this one gives later.
    pub fn split(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    #[allow(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A time between two numbers of milliseconds.
    pub fn millis(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.below(to - from)) as u64)
    }
}
