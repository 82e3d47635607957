//! A limit on requests that a client cancels after a server was sent them.
//!
//! Each of them costs more than its frames do: work of the server, and its
//! connection where that speaks HTTP/1 ("Rapid Reset", CVE-2023-44487). The
//! meter bounds frames; this bounds such requests, by refusing streams for as
//! long as there are too many. A refused stream was never begun (RFC 9113,
//! 8.7), so that a proxy in front of many clients loses nothing but the time to
//! send the request again.
//!
//! It is a token bucket in the form of GCRA: one time says how far the client
//! is ahead of its rate. Responses that arrive completely move it back.

use std::time::Duration;

use tokio::time::Instant;

/// Requests that may be cancelled at once.
const BURST: u32 = 100;
/// The time after which one more may be.
const INTERVAL: Duration = Duration::from_millis(100);
/// Complete responses for which one more request may be cancelled without end:
/// a proxy in front gathers the impatient clients of many.
const RESPONSES_PER_CANCEL: u32 = 4;

/// The limit on cancelled requests of one connection.
#[derive(Debug, Default)]
pub(super) struct CancelLimit {
    /// When all cancelled requests are paid for; `None` if they are. A client
    /// that cancels nothing costs nothing here.
    paid_at: Option<Instant>,
}

impl CancelLimit {
    /// Counts a cancelled request. Returns whether it is the one with which
    /// streams begin to be refused.
    pub(super) fn cancelled(&mut self) -> bool {
        let now = Instant::now();
        let before = self.paid_at.map_or(now, |paid_at| paid_at.max(now));
        let after = before + INTERVAL;
        self.paid_at = Some(after);
        let latest = now + BURST * INTERVAL;
        before <= latest && after > latest
    }

    /// Counts a response that the client has received completely.
    pub(super) fn responded(&mut self) {
        if let Some(paid_at) = self.paid_at {
            self.paid_at = paid_at.checked_sub(INTERVAL / RESPONSES_PER_CANCEL);
        }
    }

    /// Whether streams are refused now.
    pub(super) fn is_exceeded(&mut self) -> bool {
        let Some(paid_at) = self.paid_at else {
            return false;
        };
        let now = Instant::now();
        if paid_at <= now {
            self.paid_at = None;
        }
        paid_at > now + BURST * INTERVAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_cancels_too_much_is_refused_until_it_has_paid() {
        let mut limit = CancelLimit::default();
        assert!((0..100).all(|_| !limit.cancelled()) && !limit.is_exceeded());
        assert!(limit.cancelled() && limit.is_exceeded());
        assert!(!limit.cancelled(), "that is reported once");
        tokio::time::advance(2 * INTERVAL).await;
        assert!(!limit.is_exceeded());
        // Requests that are open at that moment may be cancelled, too: they are
        // owed, not forgiven.
        for _ in 0..128 {
            limit.cancelled();
        }
        tokio::time::advance(127 * INTERVAL).await;
        assert!(limit.is_exceeded());
        tokio::time::advance(INTERVAL).await;
        assert!(!limit.is_exceeded());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fifth_of_all_requests_may_be_cancelled_for_ever() {
        let mut limit = CancelLimit::default();
        for _ in 0..10_000 {
            limit.cancelled();
            (0..4).for_each(|_| limit.responded());
            assert!(!limit.is_exceeded());
        }
    }
}
