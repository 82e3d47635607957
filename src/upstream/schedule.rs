//! When a name is looked up: as its records allow, within bounds.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest interval of look-ups, for records with a shorter time to live
/// and for names whose addresses refuse connections.
pub(super) const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// The longest interval: a mistake in a time to live must not last for a day.
pub(super) const LONGEST_INTERVAL: Duration = Duration::from_secs(300);
/// The interval after a look-up that failed.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The times of the look-ups of one name.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// When the next look-up is due; `None` if it is due now.
    pub(super) due: Option<Instant>,
    /// When the last one began; `None` before the first.
    pub(super) begun: Option<Instant>,
    /// Whether a look-up is under way.
    pub(super) is_running: bool,
    /// Whether the last one failed.
    pub(super) has_failed: bool,
}

impl Schedule {
    /// Begins a look-up if one is due at `now` and none is running.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_none_or(|due| now >= due);
        let begins = !self.is_running && is_due;
        if begins {
            self.is_running = true;
            self.begun = Some(now);
        }
        begins
    }

    /// Ends a look-up. The next one is due at `due`.
    pub(super) fn end(&mut self, due: Instant) {
        self.due = Some(due);
        self.is_running = false;
    }
}

/// How long records with this time to live are used.
pub(super) fn valid_for(ttl: Duration) -> Duration {
    ttl.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
}
