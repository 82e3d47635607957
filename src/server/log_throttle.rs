//! Log lines about events that strangers can cause as often as they like.
//! Metrics count all of them, and the log has one line in ten seconds at most.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Shortest time between two lines about the same kind of event.
const INTERVAL: Duration = Duration::from_secs(10);

/// Decides which of many events of one kind is logged. The others are only
/// counted, for the next line.
#[derive(Debug, Default)]
pub(super) struct LogThrottle(Mutex<LastLine>);

/// The last line, and the events since.
#[derive(Debug, Default)]
struct LastLine {
    /// The time of the last line; `None` before the first.
    logged: Option<Instant>,
    /// Events since the last line.
    events: u64,
}

impl LogThrottle {
    /// Counts an event. If it is time for a line, returns the number of events
    /// since the last one, this one included.
    pub(super) fn count(&self) -> Option<u64> {
        let mut state = self.0.lock();
        state.events += 1;
        if state
            .logged
            .is_some_and(|logged| logged.elapsed() < INTERVAL)
        {
            return None;
        }
        state.logged = Some(Instant::now());
        Some(std::mem::take(&mut state.events))
    }
}
