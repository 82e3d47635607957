//! The count of lines that nobody read in time: the number behind
//! `tidegate_log_lines_dropped_total`.
//!
//! Both logs drop lines rather than wait, so that a pipe that is full cannot
//! stop the gateway. The metric is the sum over both.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tracing_appender::non_blocking::ErrorCounter;

/// Counts lines of the access log and of the log that were dropped.
#[derive(Debug, Default)]
pub struct Dropped {
    /// Dropped lines of the access log.
    access: AtomicU64,
    /// The log counts its own dropped lines. It starts before the metrics
    /// exist, so its counter is handed in later, once.
    log: OnceLock<ErrorCounter>,
}

impl Dropped {
    /// Counts `lines` more dropped lines of the access log.
    pub fn add(&self, lines: u64) {
        self.access.fetch_add(lines, Relaxed);
    }

    /// All lines of both logs that were dropped so far. Never decreases.
    pub fn total(&self) -> u64 {
        let log = self.log.get().map_or(0, ErrorCounter::dropped_lines);
        self.access.load(Relaxed) + log as u64
    }

    /// Adds the dropped lines of the log, from its start on, to the total.
    pub(super) fn follow(&self, log: ErrorCounter) {
        // A second log cannot be started, so there is no second counter to
        // lose.
        let _ = self.log.set(log);
    }
}
