//! One timer for many deadlines: what a connection uses instead of arming a timer for each wait. A leaf.
//!
//! Arming and disarming a timer for every request is felt. Deadlines of a connection mostly move later, so the one timer
//! stays armed for an earlier moment and, when it fires, is set to the deadline that holds by then.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep};

/// A deadline that can be moved cheaply.
#[derive(Debug, Default)]
pub struct Alarm {
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
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

    /// Ready once the deadline has passed; wakes the task for it.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

/// An alarm for one wait, kept armed in between: the next wait finds a timer that need not be armed again.
#[derive(Debug)]
pub struct Lent(Option<Alarm>);

/// Alarms that a thread keeps; more waits at once than this arm timers of their own.
const KEPT: usize = 4096;

thread_local! {
    static IDLE: RefCell<Vec<Alarm>> = const { RefCell::new(Vec::new()) };
}

impl Lent {
    /// An alarm for `due`.
    pub fn until(due: Instant) -> Self {
        let mut alarm = IDLE.with_borrow_mut(Vec::pop).unwrap_or_default();
        alarm.set(due);
        Self(Some(alarm))
    }

    /// Ready once the deadline has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Pending, |alarm| alarm.poll(cx))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(mut alarm) = self.0.take() else { return };
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
    use std::{future::poll_fn, time::Duration};

    use super::*;

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
