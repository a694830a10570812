//! Time and randomness come in here and nowhere else.
//!
//! Architecture invariant: no other module reads a clock or asks the operating system for random
//! bytes; a lint (`disallowed-methods`) watches over it. Everything else takes an [`Edge`], so tests fix
//! both.

use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use keyledger_schema::Timestamp;
use uuid::{Builder, Uuid};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Gives random bytes fit for secrets.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the slice.
    fn fill(&self, bytes: &mut [u8]);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the place")]
    fn now(&self) -> Timestamp {
        Utc::now().into()
    }
}

/// The operating system's random bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[allow(clippy::disallowed_methods, reason = "this is the place")]
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness there is nothing safe that this program could do.
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

/// A clock and a source of randomness. Cheap to clone.
#[derive(Clone)]
pub struct Edge {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Default for Edge {
    fn default() -> Self {
        Self::new(SystemClock, SystemEntropy)
    }
}

impl Edge {
    /// From any two.
    pub fn new(clock: impl Clock, entropy: impl Entropy) -> Self {
        Self { clock: Arc::new(clock), entropy: Arc::new(entropy) }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// 256 random bits.
    pub fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// 192 random bits: a nonce that is never given twice.
    pub fn nonce(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// A new UUIDv7 (RFC 9562 §5.7): sorts by time, random in 74 bits.
    pub fn uuid(&self) -> Uuid {
        let mut bytes = [0; 10];
        self.entropy.fill(&mut bytes);
        let millis = u64::try_from(self.now().millis()).unwrap_or(0);
        Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }
}

/// Measures how long something takes, for logs and figures. Never for decisions.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts it.
    #[allow(clippy::disallowed_methods, reason = "this is the place")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(self) -> std::time::Duration {
        self.0.elapsed()
    }
}
