//! Facts about a server that are remembered from one change of its health to
//! the next.
//!
//! The length of ejections doubles, as in Envoy and as in every back-off: a
//! server that fails again as soon as it is back is probed less and less often,
//! up to `max`. It is forgiven in the same measure, one doubling for each `base`
//! that it has worked since.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::pages::Provoked;
use crate::policy::Ejection;

/// An ejection is not ended early before this time, so that an outage of all
/// servers does not flood the log.
const SHORTEST_EJECTION: Duration = Duration::from_secs(1);

/// How a server came to its state.
#[derive(Debug)]
pub(super) struct History {
    /// When the present state began.
    pub(super) since: SystemTime,
    /// The reason for the present state, for people.
    pub(super) cause: String,
    /// Ejections since the start.
    pub(super) ejections: u64,
    /// Earlier ejections.
    pub(super) ejection: EjectionMemory,
    /// Earlier checks.
    pub(super) checks: CheckMemory,
    /// The request whose response began the cool-down.
    pub(super) cooled_by: Option<Provoked>,
}

impl History {
    /// The history of a server that was never anything but up.
    pub(super) fn new() -> Self {
        Self {
            since: SystemTime::now(),
            cause: String::new(),
            ejections: 0,
            ejection: EjectionMemory::default(),
            checks: CheckMemory::default(),
            cooled_by: None,
        }
    }
}

/// Earlier ejections of a server, which decide how long the next one is.
#[derive(Debug, Default)]
pub(super) struct EjectionMemory {
    doubling: Doubling,
    /// `doubling` as it was before the last ejection, to be restored if that is
    /// revoked.
    before: Doubling,
    /// The beginning of the last ejection; `None` before the first.
    begun: Option<Instant>,
    /// The run of failures that led to the last ejection.
    run: u32,
    /// Whether the last ejection was for connections that could not be made.
    pub(super) is_unreachable: bool,
}

/// How far the length of ejections has doubled.
#[derive(Debug, Clone, Copy, Default)]
struct Doubling {
    /// The next ejection lasts `base` times two to the power of this.
    level: u32,
    /// The end of the last ejection.
    ended: Option<Instant>,
}

impl EjectionMemory {
    /// Begins an ejection at `now` for the failures of `run`, and returns how
    /// long it lasts.
    ///
    /// For each `base` for which the server was well since its last ejection,
    /// one doubling is forgotten.
    pub(super) fn begin(&mut self, policy: &Ejection, run: u32, now: Instant) -> Duration {
        self.run = run;
        self.before = self.doubling;
        if let Some(ended) = self.doubling.ended {
            let well =
                now.saturating_duration_since(ended).as_millis() / policy.base.as_millis().max(1);
            let forgotten = u32::try_from(well).unwrap_or(u32::MAX);
            self.doubling.level = self.doubling.level.saturating_sub(forgotten);
        }
        let time = policy
            .base
            .saturating_mul(1 << self.doubling.level.min(30))
            .min(policy.max);
        self.doubling.level += 1;
        self.begun = Some(now);
        time
    }

    /// Notes that the ejection has ended.
    pub(super) fn end(&mut self, now: Instant) {
        self.doubling.ended = Some(now);
    }

    /// Forgets the last ejection, because it says nothing about the server: the
    /// next one is as long as it would have been without it.
    pub(super) fn forget_last(&mut self) {
        self.doubling = self.before;
    }

    /// Whether the last ejection was for this run of failures.
    pub(super) fn is_for(&self, run: u32) -> bool {
        self.begun.is_some() && self.run == run
    }

    /// Whether the last ejection has lasted long enough to be ended early.
    pub(super) fn may_end(&self, now: Instant) -> bool {
        self.begun
            .is_none_or(|begun| now.saturating_duration_since(begun) >= SHORTEST_EJECTION)
    }
}

/// Earlier active checks of a server.
#[derive(Debug, Default)]
pub(super) struct CheckMemory {
    /// Whether the server was checked at all.
    pub(super) has_begun: bool,
    /// Consecutive outcomes that contradict the present state.
    pub(super) against: u32,
    /// The failed checks that took the server out last.
    pub(super) failed: u32,
}

/// The current run of consecutive failures of a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Tells this run from earlier ones.
    pub(super) number: u32,
    /// Failures so far.
    pub(super) failures: u32,
}

impl Run {
    /// Unpacks a run from one number: failures in the lower half, the number of
    /// the run in the upper one.
    pub(super) fn unpack(packed: u64) -> Self {
        Self {
            number: (packed >> 32) as u32,
            failures: packed as u32,
        }
    }
}
