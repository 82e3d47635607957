//! One timer for many deadlines, which a connection uses instead of arming a
//! timer for each wait.
//!
//! Arming and disarming a timer for every request is measurable. The deadlines
//! of a connection mostly move later, so its one timer stays armed for an
//! earlier moment and, when it fires, is set to the deadline that holds by
//! then.
//!
//! # A late event loop
//!
//! The event loop may be late, because the process was stopped or the machine
//! was busy or asleep. Timers then fire before the sockets were looked at,
//! where the awaited bytes may already be. A deadline that is noticed late
//! therefore counts only after the loop has polled all sockets again. Without
//! this, every client of a gateway that was suspended for a minute would get a
//! timeout.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use tidegate::runtime::timer::{Elapsed, timeout};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let never = std::future::pending::<()>();
//! assert_eq!(timeout(Duration::from_millis(1), never).await, Err(Elapsed));
//! assert_eq!(timeout(Duration::from_secs(1), async { 7 }).await, Ok(7));
//! # }
//! ```

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::{coop::has_budget_remaining, yield_now},
    time::{Instant, Sleep},
};

/// A deadline that is noticed later than this after its time is late. Timers
/// tick by the millisecond and round up.
pub const LATE: Duration = Duration::from_millis(2);
/// Turns of the event loop before a deadline that is noticed late counts. Each
/// turn handles at most 1,024 sockets, so that four turns reach every socket of
/// a worker that has up to 4,096 ready ones.
const LOOKS: u8 = 4;

/// A deadline that can be moved cheaply: [`set`](Self::set) and
/// [`clear`](Self::clear) write one field.
#[derive(Debug, Default)]
pub struct Timer {
    /// The deadline that holds now, if any.
    due: Option<Instant>,
    /// The timer of tokio, armed for `due` or an earlier moment. Made by the
    /// first poll that has to wait.
    sleep: Option<Pin<Box<Sleep>>>,
    /// The address of the task that `sleep` wakes; 0 if that is not certain.
    /// `sleep` keeps the task alive until it fires, so that no other task has
    /// this address meanwhile.
    woken: usize,
    /// The deadline that was noticed late, and the turns of the loop until it
    /// counts.
    late: Option<(Instant, u8)>,
}

impl Timer {
    /// Sets or moves the deadline. The next poll arms the timer for it, if
    /// needed.
    pub fn set(&mut self, due: Instant) {
        self.due = Some(due);
    }

    /// Removes the deadline; the underlying timer stays armed for the next one.
    pub fn clear(&mut self) {
        self.due = None;
    }

    /// Ready once the deadline has passed; the task is woken for it. Pending
    /// for ever without a deadline.
    ///
    /// Poll this after the work that the deadline bounds, so that work that is
    /// ready wins.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else {
            return Poll::Pending;
        };
        let task = cx.waker().data().addr();
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        // Polling the timer of tokio costs 120 instructions, and a connection
        // does it for each request.
        if self.woken == task && sleep.deadline() <= due && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        // A task that has used up its budget is not noted by the timer.
        self.woken = if has_budget_remaining() { task } else { 0 };
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now >= due {
                return self.poll_looks(cx, due, now);
            }
            sleep.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// Ready at once if the deadline is noticed in time, otherwise after the
    /// sockets were polled a few times more.
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
        // Wakes the task after the loop has polled its sockets, and not before.
        pin!(yield_now()).poll(cx)
    }
}

/// The deadline passed before the work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

/// Runs `work` for at most `duration`. Replaces tokio's `timeout`, which does
/// not allow for a late event loop.
///
/// # Errors
/// [`Elapsed`] if it took longer; `work` is dropped then.
pub async fn timeout<F: Future>(duration: Duration, work: F) -> Result<F::Output, Elapsed> {
    timeout_at(Instant::now() + duration, work).await
}

/// Runs `work` until `due` at the latest. Replaces tokio's `timeout_at`.
///
/// # Errors
/// [`Elapsed`] if it was not done by then; `work` is dropped then.
pub async fn timeout_at<F: Future>(due: Instant, work: F) -> Result<F::Output, Elapsed> {
    let mut work = pin!(work);
    let mut timer = PooledTimer::until(due);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => timer.poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}

/// Idle timers that a thread pools. If more waits than this end at the same
/// time, the further timers are dropped.
const MAX_IDLE: usize = 4096;

thread_local! {
    /// The idle timers of this thread; the one that was returned last is at the
    /// end.
    #[expect(clippy::vec_box, reason = "a wait carries its timer through its layers, which is cheaper for a box")]
    static IDLE: RefCell<Vec<Box<Timer>>> = const { RefCell::new(Vec::new()) };
}

/// A [`Timer`] for one wait, returned to the thread's pool when dropped. It
/// stays armed in the pool, so that the next wait rarely has to arm one.
///
/// A task that [releases](Self::release) its timer before a part of its work
/// that has deadlines of its own lends it to that part: the pool gives the
/// timer that was returned last. So the same timer serves the task all the
/// time, and need not learn again which task it wakes.
#[derive(Debug, Default)]
pub struct PooledTimer(Option<Box<Timer>>);

impl PooledTimer {
    /// A timer with the deadline `due`, from the pool if it has one.
    pub fn until(due: Instant) -> Self {
        let mut timer = Self::default();
        timer.set(due);
        timer
    }

    /// The timer itself, from the pool if none is held.
    pub fn timer(&mut self) -> &mut Timer {
        self.0
            .get_or_insert_with(|| IDLE.with_borrow_mut(Vec::pop).unwrap_or_default())
    }

    /// Sets or moves the deadline.
    pub fn set(&mut self, due: Instant) {
        self.timer().set(due);
    }

    /// Ready once the deadline has passed; see [`Timer::poll`].
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0
            .as_mut()
            .map_or(Poll::Pending, |timer| timer.poll(cx))
    }

    /// Removes the deadline and returns the timer to the pool, until another
    /// deadline is set.
    pub fn release(&mut self) {
        let Some(mut timer) = self.0.take() else {
            return;
        };
        timer.clear();
        // The pool is gone when the thread ends.
        let _ = IDLE.try_with(|idle| {
            let mut idle = idle.borrow_mut();
            if idle.len() < MAX_IDLE {
                idle.push(timer);
            }
        });
    }

    /// The timer, which does not return to the pool.
    pub fn into_timer(mut self) -> Timer {
        self.0.take().map(|timer| *timer).unwrap_or_default()
    }
}

impl Drop for PooledTimer {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use tokio::{io::AsyncReadExt, net::TcpStream, task::coop::consume_budget};

    use super::*;

    /// Bytes that lay in the socket of a process that had been stopped counted
    /// as not sent.
    #[tokio::test]
    async fn a_deadline_that_a_late_loop_notices_counts_only_after_a_look_at_the_sockets() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let mut byte = [0];
        let mut read = Box::pin(timeout(Duration::from_millis(20), near.read(&mut byte)));
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
        let mut timer = Timer::default();
        timer.set(Instant::now() + Duration::from_secs(1));
        assert!(poll_fn(|cx| Poll::Ready(timer.poll(cx))).await.is_pending());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(poll_fn(|cx| Poll::Ready(timer.poll(cx))).await.is_pending());
        let now = Instant::now();
        poll_fn(|cx| timer.poll(cx)).await;
        assert_eq!(now.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_later_is_kept_by_the_timer_that_is_armed() {
        let start = Instant::now();
        let mut timer = Timer::default();
        timer.set(start + Duration::from_secs(1));
        assert!(poll_fn(|cx| Poll::Ready(timer.poll(cx))).await.is_pending());
        timer.set(start + Duration::from_secs(5));
        poll_fn(|cx| timer.poll(cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_earlier_is_kept() {
        let start = Instant::now();
        let mut timer = Timer::default();
        timer.set(start + Duration::from_secs(60));
        assert!(poll_fn(|cx| Poll::Ready(timer.poll(cx))).await.is_pending());
        timer.set(start + Duration::from_secs(2));
        poll_fn(|cx| timer.poll(cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_goes_to_another_task_wakes_that_one() {
        let start = Instant::now();
        let mut timer = Timer::default();
        timer.set(start + Duration::from_secs(5));
        assert!(poll_fn(|cx| Poll::Ready(timer.poll(cx))).await.is_pending());
        tokio::spawn(async move { poll_fn(|cx| timer.poll(cx)).await })
            .await
            .unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_is_set_by_a_task_without_budget_is_kept() {
        let start = Instant::now();
        let mut timer = Timer::default();
        timer.set(start + Duration::from_secs(5));
        poll_fn(|cx| {
            while pin!(consume_budget()).poll(cx).is_ready() {}
            assert!(timer.poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|cx| timer.poll(cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_without_a_deadline_never_rings() {
        let mut timer = Timer::default();
        timer.set(Instant::now());
        timer.clear();
        assert!(poll_fn(|cx| Poll::Ready(timer.poll(cx))).await.is_pending());
    }
}
