//! The clock of the limits: nanoseconds on tokio's clock, so that one paused
//! clock drives every test.
//!
//! A request reads it once, and all of its limits decide on that one reading,
//! so that they cannot disagree about the time. It is monotonic and belongs to
//! the process; debts that outlive the process are converted by the wall clock
//! (`saved`).

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

/// A reading of the [`Clock`] in nanoseconds. Never 0, so that a TAT of 0 is in
/// the past of every reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(u64);

impl Now {
    /// A reading of `nanos` nanoseconds; 0 becomes 1. For tests and benches
    /// that make their own time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidegate::limit::Now;
    ///
    /// let now = Now::from_nanos(5).after(Duration::from_nanos(2));
    /// assert_eq!(now.as_nanos(), 7);
    /// ```
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(if nanos == 0 { 1 } else { nanos })
    }

    /// Nanoseconds since an arbitrary moment before the process began.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This moment plus `by`. Saturates at about 584 years.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }
}

/// The clock of this process; all values of this type agree.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock;

impl Clock {
    /// Reads tokio's clock: one `clock_gettime`, no system call.
    pub fn now(self) -> Now {
        self.at(Instant::now())
    }

    /// A reading of tokio's clock that was taken before.
    #[inline]
    pub fn at(self, read: Instant) -> Now {
        let start = *START.get_or_init(a_day_ago);
        Now::from_nanos(nanos(read.saturating_duration_since(start)))
    }
}

/// The moment from which nanoseconds are counted.
static START: OnceLock<Instant> = OnceLock::new();

/// A day before the first reading. A paused runtime may stand before the first
/// reading, too, and no clock of a test begins a day before another one.
fn a_day_ago() -> Instant {
    let now = Instant::now();
    now.checked_sub(Duration::from_hours(24)).unwrap_or(now)
}

/// A duration in nanoseconds; one of more than 584 years becomes the longest.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
