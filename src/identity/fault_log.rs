//! Faults of a service that says who clients are: one line of the log for many.
//!
//! A service that is away makes each request fail, and a busy one only some of
//! them. Either way the log has a line at once, and then at most one in
//! [`SPACING`], which says how many faults there were.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The shortest time between two lines: an operator who watches sees it go on.
const SPACING: Duration = Duration::from_secs(10);

/// The faults of one service, of which few are logged.
#[derive(Debug, Default)]
pub struct FaultLog(Mutex<ToldFaults>);

#[derive(Debug, Default)]
struct ToldFaults {
    /// The time of the last line.
    last: Option<Instant>,
    /// Faults since then.
    untold: u64,
}

impl FaultLog {
    /// Notes a fault. Returns the number of faults since the last line, with
    /// this one, if it is time for the next line.
    pub fn note(&self, now: Instant) -> Option<u64> {
        let mut told = self.0.lock();
        told.untold += 1;
        if told.last.is_some_and(|last| now < last + SPACING) {
            return None;
        }
        told.last = Some(now);
        Some(std::mem::take(&mut told.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fault_is_told_at_once_and_others_by_their_number() {
        let (log, now) = (FaultLog::default(), Instant::now());
        assert_eq!(log.note(now), Some(1));
        assert_eq!(log.note(now), None);
        assert_eq!(log.note(now + SPACING / 2), None);
        assert_eq!(log.note(now + SPACING), Some(3));
        assert_eq!(log.note(now + SPACING), None);
        assert_eq!(log.note(now + 3 * SPACING), Some(2));
    }
}
