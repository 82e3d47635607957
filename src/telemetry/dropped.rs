//! How many lines nobody took: the one number behind
//! `tidegate_log_lines_dropped_total`.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tracing_appender::non_blocking::ErrorCounter;

/// Counts lines of the access log and of the log that were dropped rather than
/// waited for.
#[derive(Debug, Default)]
pub struct Dropped {
    /// Lines of the access log.
    access: AtomicU64,
    /// The log counts its own; it starts before anything else does, so its
    /// counter is handed in later.
    log: OnceLock<ErrorCounter>,
}

impl Dropped {
    /// Counts `lines` more.
    pub fn add(&self, lines: u64) {
        self.access.fetch_add(lines, Relaxed);
    }

    /// All lines dropped so far.
    pub fn total(&self) -> u64 {
        let log = self.log.get().map_or(0, ErrorCounter::dropped_lines);
        self.access.load(Relaxed) + log as u64
    }

    pub(super) fn follow(&self, log: ErrorCounter) {
        // A second log cannot be started, so there is no second counter to
        // lose.
        let _ = self.log.set(log);
    }
}
