//! One timer for many deadlines: what a connection uses instead of arming a timer for each wait. A leaf.
//!
//! Arming and disarming a timer for every request is felt. Deadlines of a connection mostly move later, so the one timer
//! stays armed for an earlier moment and, when it fires, is set to the deadline that holds by then.
//!
//! A loop may be late: the process was stopped, or the machine was busy or asleep. Timers fire then before the sockets were
//! looked at, in which whatever is waited for may lie. A deadline that is noticed late therefore counts only after the loop
//! has looked at all sockets again.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::yield_now,
    time::{Instant, Sleep},
};

/// A deadline that is noticed later than this is late: timers tick by the millisecond, and round up.
pub const LATE: Duration = Duration::from_millis(2);
/// Turns of the loop before a deadline that is noticed late counts. In each it hears of 1,024 sockets at most.
const LOOKS: u8 = 4;

/// A deadline that can be moved cheaply.
#[derive(Debug, Default)]
pub struct Alarm {
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// The deadline that was noticed late, and the turns of the loop until it counts.
    late: Option<(Instant, u8)>,
}

impl Alarm {
    /// Sets or moves the deadline.
    pub fn set(&mut self, due: Instant) {
        self.due = Some(due);
    }

    /// Takes the deadline away; the timer stays armed for the next one.
    pub fn clear(&mut self) {
        self.due = None;
    }

    /// Ready once the deadline has passed; wakes the task for it. To be polled after whatever it bounds.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now >= due {
                return self.poll_looks(cx, due, now);
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// Ready at once where the deadline is noticed in time, otherwise after some looks at the sockets.
    fn poll_looks(&mut self, cx: &mut Context<'_>, due: Instant, now: Instant) -> Poll<()> {
        let left = match self.late {
            Some((of, left)) if of == due => left,
            _ if now - due <= LATE => 0,
            _ => LOOKS,
        };
        if left == 0 {
            return Poll::Ready(());
        }
        self.late = Some((due, left - 1));
        // Wakes the task when the loop has looked at its sockets, and not before.
        pin!(yield_now()).poll(cx)
    }
}

/// An alarm for one wait, kept armed in between: the next wait finds a timer that need not be armed again.
#[derive(Debug)]
pub struct Lent(Option<Box<Alarm>>);

/// The work took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLate;

/// Bounds `work` by a time. In place of tokio's `timeout`, which does not know that a loop may be late.
///
/// # Errors
/// It took longer, and was dropped.
pub async fn within<F: Future>(patience: Duration, work: F) -> Result<F::Output, TooLate> {
    by(Instant::now() + patience, work).await
}

/// Bounds `work` by a moment. In place of tokio's `timeout_at`.
///
/// # Errors
/// It was not done by then, and was dropped.
pub async fn by<F: Future>(due: Instant, work: F) -> Result<F::Output, TooLate> {
    let (mut work, mut alarm) = (pin!(work), Lent::until(due));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => alarm.poll(cx).map(|()| Err(TooLate)),
    })
    .await
}

/// Alarms that a thread keeps; more waits at once than this arm timers of their own.
const KEPT: usize = 4096;

thread_local! {
    #[expect(clippy::vec_box, reason = "what is lent and given back is a box, which a wait carries through its layers")]
    static IDLE: RefCell<Vec<Box<Alarm>>> = const { RefCell::new(Vec::new()) };
}

impl Lent {
    /// An alarm for `due`.
    pub fn until(due: Instant) -> Self {
        let mut alarm = IDLE.with_borrow_mut(Vec::pop).unwrap_or_default();
        alarm.set(due);
        Self(Some(alarm))
    }

    /// Moves the deadline.
    pub fn set(&mut self, due: Instant) {
        if let Some(alarm) = &mut self.0 {
            alarm.set(due);
        }
    }

    /// Ready once the deadline has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0
            .as_mut()
            .map_or(Poll::Pending, |alarm| alarm.poll(cx))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(mut alarm) = self.0.take() else {
            return;
        };
        alarm.clear();
        // At the end of a thread there is no one left to lend to.
        let _ = IDLE.try_with(|idle| {
            let mut idle = idle.borrow_mut();
            if idle.len() < KEPT {
                idle.push(alarm);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use tokio::{io::AsyncReadExt, net::TcpStream};

    use super::*;

    /// Bytes that lay in the socket of a process that had been stopped counted as not sent.
    #[tokio::test]
    async fn a_deadline_that_a_late_loop_notices_counts_only_after_a_look_at_the_sockets() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let mut byte = [0];
        let mut read = Box::pin(within(Duration::from_millis(20), near.read(&mut byte)));
        assert!(
            poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx)))
                .await
                .is_pending()
        );
        std::io::Write::write_all(&mut far, b"x").unwrap();
        // The loop stands still, and its timer is polled before its sockets.
        thread::park_timeout(Duration::from_millis(100));
        let polled = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await;
        assert!(polled.is_pending(), "{polled:?}");
        assert!(matches!(read.await, Ok(Ok(1))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_a_late_loop_notices_still_counts() {
        let mut alarm = Alarm::default();
        alarm.set(Instant::now() + Duration::from_secs(1));
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx))).await.is_pending());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx))).await.is_pending());
        let now = Instant::now();
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(now.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_later_is_kept_by_the_timer_that_is_armed() {
        let start = Instant::now();
        let mut alarm = Alarm::default();
        alarm.set(start + Duration::from_secs(1));
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx))).await.is_pending());
        alarm.set(start + Duration::from_secs(5));
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_earlier_is_kept() {
        let start = Instant::now();
        let mut alarm = Alarm::default();
        alarm.set(start + Duration::from_secs(60));
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx))).await.is_pending());
        alarm.set(start + Duration::from_secs(2));
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_without_a_deadline_never_rings() {
        let mut alarm = Alarm::default();
        alarm.set(Instant::now());
        alarm.clear();
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx))).await.is_pending());
    }
}
