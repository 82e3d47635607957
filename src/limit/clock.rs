//! The clock of the limits: nanoseconds on tokio's clock, so that one paused clock drives every test.
//!
//! A request reads it once; all of its limits decide on that one reading.

use std::sync::OnceLock;
use std::time::Duration;

use governor::clock;
use governor::nanos::Nanos;
use tokio::time::Instant;

/// A reading of the [`Clock`]: nanoseconds, never 0, so that 0 can stand for "never" in a bucket.
///
/// As a `governor` clock it stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(u64);

impl Now {
    /// A reading of `nanos` nanoseconds; 0 becomes 1. For tests and benches that make their own time.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(if nanos == 0 { 1 } else { nanos })
    }

    /// Nanoseconds on the process's clock; its zero means nothing.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This moment plus `by`; more than 584 years saturates.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl clock::Clock for Now {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0)
    }
}

/// The process's clock; all of them agree.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock;

impl Clock {
    /// Reads tokio's clock: one `clock_gettime`, no system call.
    pub fn now(self) -> Now {
        let (start, now) = (*START.get_or_init(Instant::now), Instant::now());
        // A paused runtime may stand before the process's start; the offset leaves room for it below.
        match now.checked_duration_since(start) {
            Some(since) => Now::from_nanos(OFFSET).after(since),
            None => {
                Now::from_nanos(OFFSET.saturating_sub(nanos(start.saturating_duration_since(now))))
            }
        }
    }
}

impl clock::Clock for Clock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(Clock::now(*self).as_nanos())
    }
}

/// The moment of the first reading.
static START: OnceLock<Instant> = OnceLock::new();

/// What the first reading says: a day, so that no paused clock reads 0.
const OFFSET: u64 = 86_400_000_000_000;

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
