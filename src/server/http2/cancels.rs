//! Requests that a client cancels after a server was handed them.
//!
//! Each costs more than its frames do: work of the server, and its connection
//! if it speaks HTTP/1. The meter bounds frames; these requests are bounded
//! here, by refusing streams until the account is even again. A refused stream
//! was never begun (RFC 9113, 8.7), so that a proxy in front of many clients
//! loses nothing but the time to send it again.

use std::time::Duration;

use tokio::time::Instant;

/// Requests that may be cancelled at once.
const AT_ONCE: u32 = 100;
/// The time after which one more may be cancelled.
const EVERY: Duration = Duration::from_millis(100);
/// Completed requests that allow for one more that is cancelled: a proxy in
/// front gathers the impatient clients of many.
const ANSWERS_PER_CANCEL: u32 = 4;

/// The account of one connection, as a theoretical arrival time (see
/// [`limit`](crate::limit)).
#[derive(Debug, Default)]
pub(super) struct Cancels {
    /// The moment at which the account is even again; `None` if it is. While it
    /// is, nothing here costs anything.
    even: Option<Instant>,
}

impl Cancels {
    /// Counts a cancelled request. Returns whether this is the one with which
    /// streams begin to be refused.
    pub(super) fn note(&mut self) -> bool {
        let now = Instant::now();
        let before = self.even.map_or(now, |even| even.max(now));
        self.even = Some(before + EVERY);
        before <= now + AT_ONCE * EVERY && before + EVERY > now + AT_ONCE * EVERY
    }

    /// Counts a completed request.
    pub(super) fn answered(&mut self) {
        self.even = self
            .even
            .and_then(|even| even.checked_sub(EVERY / ANSWERS_PER_CANCEL));
    }

    /// Whether streams are refused now.
    pub(super) fn are_too_many(&mut self) -> bool {
        let Some(even) = self.even else { return false };
        let now = Instant::now();
        if even <= now {
            self.even = None;
        }
        even > now + AT_ONCE * EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_back_too_much_is_refused_until_the_account_is_even() {
        let mut cancels = Cancels::default();
        assert!((0..100).all(|_| !cancels.note()) && !cancels.are_too_many());
        assert!(cancels.note() && cancels.are_too_many());
        assert!(!cancels.note(), "that is told once");
        tokio::time::advance(2 * EVERY).await;
        assert!(!cancels.are_too_many());
        // A request that is open at that moment may be taken back too: it is
        // owed, not forgiven.
        for _ in 0..128 {
            cancels.note();
        }
        tokio::time::advance(127 * EVERY).await;
        assert!(cancels.are_too_many());
        tokio::time::advance(EVERY).await;
        assert!(!cancels.are_too_many());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fifth_of_all_requests_may_be_taken_back_for_ever() {
        let mut cancels = Cancels::default();
        for _ in 0..10_000 {
            cancels.note();
            (0..4).for_each(|_| cancels.answered());
            assert!(!cancels.are_too_many());
        }
    }
}
