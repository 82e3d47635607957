//! Bytes that a client still sends behind its last answer are taken in and thrown away, so that the answer reaches it: an unread
//! byte in a socket that is closed makes the kernel reset the connection, and most clients look at an early answer only once
//! they have sent all of their request.
//!
//! As in NGINX it is bound by time, by silence, and by how many do it at once, not by bytes: an upload is as long as it is.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use crate::runtime::timer::Timer;

/// In all, and between two reads: NGINX's `lingering_time` and `lingering_timeout`.
const LONG: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(5);
/// In all and at most, where nothing more is known to come, or too many linger already.
const SHORT: Duration = Duration::from_secs(2);
const SHORT_BYTES: usize = 256 * 1024;
/// Requests of the whole process whose rest is taken in for long. Each holds no more than its connection does.
const MOST: usize = 1024;

static LINGERING: AtomicUsize = AtomicUsize::new(0);

/// One of [`MOST`] places; left when dropped.
#[derive(Debug)]
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let more = |count: usize| (count < MOST).then_some(count + 1);
        LINGERING
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()
            .map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        LINGERING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long the rest of one request is taken in.
#[derive(Debug)]
pub(super) struct Linger {
    end: Instant,
    silence: Duration,
    /// Bytes that are still taken.
    left: usize,
    /// When something last came; `None` while that is now.
    heard: Option<Instant>,
    timer: Timer,
    place: Option<Place>,
}

impl Linger {
    /// Begins, for long where more is known to come.
    pub(super) fn begin(timer: Timer, has_more: bool) -> Self {
        let place = if has_more { Place::take() } else { None };
        let (total, left) = if place.is_some() {
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
            place,
        }
    }

    /// The process is about to end: no longer than where nothing is known to come.
    pub(super) fn hurry(&mut self) {
        if self.place.take().is_some() {
            self.end = self.end.min(Instant::now() + SHORT);
        }
    }

    /// So many bytes came. Returns whether more are taken.
    pub(super) fn took(&mut self, bytes: usize) -> bool {
        self.heard = None;
        self.left = self.left.saturating_sub(bytes);
        self.left > 0
    }

    /// Ready when nothing came for too long, or all of it takes too long.
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
        let all: Vec<_> = (0..MOST + 10)
            .map(|_| Linger::begin(Timer::default(), true))
            .collect();
        // Other tests may hold a few places.
        let long = all.iter().filter(|linger| linger.place.is_some()).count();
        assert!(long <= MOST && long > MOST - 10, "{long}");
    }
}
