//! The bounds on reading bytes that a client still sends behind its last
//! response.
//!
//! They are read and thrown away so that the response arrives: an unread byte
//! in a socket that is closed makes the kernel reset the connection (RFC 9112,
//! 9.6), and most clients read an early response only after they have sent
//! their whole request.
//!
//! As in NGINX, lingering is bounded by time, by silence and by the number of
//! connections that do it at once. It is not bounded by bytes, because the
//! length of an upload is the client's.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use crate::runtime::timer::Timer;

/// Longest time in all, as NGINX's `lingering_time`.
const LONG: Duration = Duration::from_secs(30);
/// Longest time between two reads, as NGINX's `lingering_timeout`.
const SILENCE: Duration = Duration::from_secs(5);
/// Longest time in all if no more bytes are known to come, or too many
/// connections linger already.
const SHORT: Duration = Duration::from_secs(2);
/// Most bytes in that case.
const SHORT_BYTES: usize = 256 * 1024;
/// Connections of the whole process that may linger for [`LONG`]. Each uses the
/// memory of an idle connection.
const MAX_LONG: usize = 1024;

/// Connections that linger for [`LONG`].
static LINGERING: AtomicUsize = AtomicUsize::new(0);

/// One of [`MAX_LONG`] permits; released on drop.
#[derive(Debug)]
struct LongPermit;

impl LongPermit {
    /// A permit, unless all are taken.
    fn acquire() -> Option<Self> {
        let more = |count: usize| (count < MAX_LONG).then_some(count + 1);
        LINGERING
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()
            .map(|_| Self)
    }
}

impl Drop for LongPermit {
    fn drop(&mut self) {
        LINGERING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The bounds on one connection that lingers.
#[derive(Debug)]
pub(super) struct Linger {
    /// The end of the whole time.
    end: Instant,
    /// The longest time between two reads.
    silence: Duration,
    /// Bytes that may still be read.
    left: usize,
    /// When bytes last came; `None` if that was just now.
    heard: Option<Instant>,
    timer: Timer,
    /// Held while this lingers for [`LONG`].
    permit: Option<LongPermit>,
}

impl Linger {
    /// Begins to linger, for [`LONG`] if more bytes are known to come
    /// (`has_more`).
    pub(super) fn begin(timer: Timer, has_more: bool) -> Self {
        let permit = if has_more {
            LongPermit::acquire()
        } else {
            None
        };
        let (total, left) = if permit.is_some() {
            (LONG, usize::MAX)
        } else {
            (SHORT, SHORT_BYTES)
        };
        Self {
            end: Instant::now() + total,
            silence: SILENCE,
            left,
            heard: None,
            timer,
            permit,
        }
    }

    /// Shortens the time to [`SHORT`], because the process is about to end.
    pub(super) fn hurry(&mut self) {
        if self.permit.take().is_some() {
            self.end = self.end.min(Instant::now() + SHORT);
        }
    }

    /// Counts bytes that were read. Returns whether more may be read.
    pub(super) fn took(&mut self, bytes: usize) -> bool {
        self.heard = None;
        self.left = self.left.saturating_sub(bytes);
        self.left > 0
    }

    /// Ready when no bytes came for too long, or all of them take too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let heard = *self.heard.get_or_insert_with(Instant::now);
        self.timer.set(self.end.min(heard + self.silence));
        self.timer.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn lasts(linger: &mut Linger, pause: Duration) -> Duration {
        let begun = Instant::now();
        while tokio::time::timeout(pause, poll_fn(|cx| linger.poll(cx)))
            .await
            .is_err()
        {
            if !linger.took(1 << 20) {
                break;
            }
        }
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_is_taken_in_for_as_long_as_it_comes_and_no_longer_than_thirty_seconds() {
        let second = Duration::from_secs(1);
        let long =
            |pause| async move { lasts(&mut Linger::begin(Timer::default(), true), pause).await };
        assert_eq!(long(second * 9).await, SILENCE);
        assert_eq!(long(second * 4).await, LONG);
        let short =
            |pause| async move { lasts(&mut Linger::begin(Timer::default(), false), pause).await };
        assert_eq!(
            (short(second * 9).await, short(second).await),
            (SHORT, second)
        );
        let mut hurried = Linger::begin(Timer::default(), true);
        hurried.hurry();
        assert_eq!(lasts(&mut hurried, second).await, SHORT);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_linger_for_long() {
        let all: Vec<_> = (0..MAX_LONG + 10)
            .map(|_| Linger::begin(Timer::default(), true))
            .collect();
        // Other tests may hold a few permits.
        let long = all.iter().filter(|linger| linger.permit.is_some()).count();
        assert!(long <= MAX_LONG && long > MAX_LONG - 10, "{long}");
    }
}
