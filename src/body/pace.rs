//! The time of a body: how long it may pause and take ([`Pace`]), and how long it
//! has flowed ([`Flow`]).
//!
//! A layer sets the pace by the timeouts of the route, and the code that moves
//! the bytes keeps it, since no layer sees a byte after the head of the response.
//! The flow is written by [`Body`](super::Body) as it is pulled. The timeouts for
//! the response read it, and stand still meanwhile: services respond to an
//! upload when they have received it.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{error::Fault, runtime::timer::Timer};

/// Limits on a transfer. The code that drives the transfer enforces them, by
/// [`PauseWatch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The longest time without a byte in either direction.
    pub idle: Duration,
    /// Takes the place of `idle` in a tunnel one side of which has closed its
    /// half, if it is shorter.
    pub half_closed: Duration,
    /// The moment at which the whole exchange must be over; `None` if there is
    /// no such bound.
    pub end: Option<Instant>,
}

impl Pace {
    /// A pace that only limits pauses.
    pub fn of(idle: Duration) -> Self {
        Self {
            idle,
            half_closed: idle,
            end: None,
        }
    }
}

/// Watches a transfer for pauses that are longer than its [`Pace`] allows. A
/// pause begins with the first poll that finds nothing to move.
#[derive(Debug, Default)]
pub struct PauseWatch {
    /// Since when no byte has moved; `None` if one moved at the last poll.
    paused_since: Option<Instant>,
    /// Whether a byte moved since [`take`](Self::take) was last called.
    is_noted: bool,
}

impl PauseWatch {
    /// Notes that a byte moved.
    pub fn note(&mut self) {
        self.paused_since = None;
        self.is_noted = true;
    }

    /// Whether a byte moved since this was last called.
    pub fn take(&mut self) -> bool {
        std::mem::take(&mut self.is_noted)
    }

    /// Ready when the transfer has paused, or lasted, for longer than `pace`
    /// allows: with [`Fault::Idle`] or [`Fault::OutOfTime`]. Call this when
    /// nothing can be moved at present.
    pub fn poll_too_slow(
        &mut self,
        cx: &mut Context<'_>,
        pace: Pace,
        timer: &mut Timer,
    ) -> Poll<Fault> {
        let idle_end = *self.paused_since.get_or_insert_with(Instant::now) + pace.idle;
        timer.set(pace.end.map_or(idle_end, |end| end.min(idle_end)));
        timer.poll(cx).map(|()| match pace.end {
            Some(end) if end <= idle_end => Fault::OutOfTime,
            _ => Fault::Idle(pace.idle),
        })
    }
}

/// The time in which a request body flows: from the first pull to its end, or
/// until it is no longer read. A body that is pulled again, for another
/// attempt, adds to it.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use tidegate::body::{Body, Flow};
///
/// let flow = Arc::new(Flow::new(false));
/// let mut body = Body::whole("hello");
/// body.set_flow(Arc::clone(&flow));
/// // A body in memory needs no time, and no timeout has to pause for it.
/// assert_eq!(flow.passed(), Some(Duration::ZERO));
/// ```
#[derive(Debug, Default)]
pub struct Flow {
    state: Mutex<Flowing>,
    /// Whether it flows only from its first piece on, because the client waits
    /// for permission to send it.
    pub(super) waits: bool,
}

/// The state behind the lock.
#[derive(Debug, Default)]
struct Flowing {
    /// The moment since which the body flows; `None` while it does not.
    since: Option<Instant>,
    /// The time in which it flowed before that.
    before: Duration,
}

impl Flow {
    /// The measure of a body that does not flow yet. `waits` says that its
    /// client waits for permission to send it (`Expect: 100-continue`, RFC
    /// 9110, 10.1.1).
    pub fn new(waits: bool) -> Self {
        Self {
            state: Mutex::default(),
            waits,
        }
    }

    /// The time for which the body has flowed; `None` while it still does.
    pub fn passed(&self) -> Option<Duration> {
        let state = self.state.lock();
        state.since.is_none().then_some(state.before)
    }

    /// Notes that the body flows from now on, if it does not already.
    pub(super) fn begin(&self) {
        self.state.lock().since.get_or_insert_with(Instant::now);
    }

    /// Notes that the body flows no longer.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        if let Some(since) = state.since.take() {
            state.before += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How a transfer ends of which a byte moves once, after `moves_after`, and
    /// when.
    async fn ended(pace: Pace, moves_after: Duration) -> (Fault, Duration) {
        let (begun, mut moved) = (Instant::now(), false);
        let (mut progress, mut timer) = (PauseWatch::default(), Timer::default());
        let mut byte = Box::pin(tokio::time::sleep(moves_after));
        let fault = poll_fn(|cx| {
            if !moved && byte.as_mut().poll(cx).is_ready() {
                moved = true;
                progress.note();
            }
            progress.poll_too_slow(cx, pace, &mut timer)
        });
        (fault.await, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_counts_from_the_last_byte_and_the_end_counts_whatever_moves() {
        let pace = Pace::of(10 * SECOND);
        let (fault, after) = ended(pace, 4 * SECOND).await;
        assert_eq!((fault, after.as_secs()), (Fault::Idle(10 * SECOND), 14));
        let pace = Pace {
            end: Some(Instant::now() + 12 * SECOND),
            ..pace
        };
        let (fault, after) = ended(pace, 4 * SECOND).await;
        assert_eq!((fault, after.as_secs()), (Fault::OutOfTime, 12));
    }
}
