//! The cap itself: how many are in flight, and a bounded line of those who wait, first come first served.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::{call::Deadline, error::Error};

/// A cap on requests in flight, shared by all workers; outlives reloads.
#[derive(Debug)]
pub struct Cap {
    places: Arc<Semaphore>,
    max: AtomicUsize,
    /// Places that were taken away while they were in use; whoever leaves next leaves for good.
    owed: AtomicUsize,
    queue: AtomicUsize,
    queued: AtomicUsize,
    /// In milliseconds.
    queue_timeout: AtomicUsize,
}

/// A place in flight, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    cap: Arc<Cap>,
    place: Option<OwnedSemaphorePermit>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let owed = &self.cap.owed;
        let is_owed = owed.load(Ordering::Relaxed) > 0
            && owed.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |owed| owed.checked_sub(1)).is_ok();
        if let Some(place) = self.place.take().filter(|_| is_owed) {
            place.forget();
        }
    }
}

impl Cap {
    /// A cap of `max` in flight, beside whom `queue` may wait for `queue_timeout`.
    pub fn new(max: usize, queue: usize, queue_timeout: Duration) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(max)),
            max: AtomicUsize::new(max),
            owed: AtomicUsize::new(0),
            queue: AtomicUsize::new(queue),
            queued: AtomicUsize::new(0),
            queue_timeout: AtomicUsize::new(millis(queue_timeout)),
        }
    }

    /// Changes the numbers. Who is in flight stays; a lower cap is reached as they leave.
    pub fn reconfigure(&self, max: usize, queue: usize, queue_timeout: Duration) {
        let max = max.min(Semaphore::MAX_PERMITS);
        self.queue.store(queue, Ordering::Relaxed);
        self.queue_timeout.store(millis(queue_timeout), Ordering::Relaxed);
        let before = self.max.swap(max, Ordering::AcqRel);
        if max >= before {
            self.grow(max - before);
        } else {
            let gone = self.places.forget_permits(before - max);
            self.owed.fetch_add(before - max - gone, Ordering::AcqRel);
        }
    }

    /// Places in all.
    pub fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        (self.max() + self.owed.load(Ordering::Relaxed)).saturating_sub(self.places.available_permits())
    }

    /// Requests that wait.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// A place, if one is free.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Permit> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Permit { cap: Arc::clone(self), place: Some(place) })
    }

    /// A place in the line, if that has room.
    pub(super) fn line_up(self: &Arc<Self>) -> Result<Queued, Error> {
        let queue = self.queue.load(Ordering::Relaxed);
        let joined = self
            .queued
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |queued| (queued < queue).then_some(queued + 1));
        match joined {
            Ok(_) => Ok(Queued(Arc::clone(self))),
            Err(_) => Err(Error::CapReached { max: self.max(), queue }),
        }
    }

    fn grow(&self, by: usize) {
        let forgiven =
            self.owed.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |owed| Some(owed.saturating_sub(by)));
        self.places.add_permits(by - forgiven.unwrap_or_default().min(by));
    }
}

fn millis(duration: Duration) -> usize {
    usize::try_from(duration.as_millis()).unwrap_or(usize::MAX)
}

/// A place in the line, left when dropped.
#[derive(Debug)]
pub(super) struct Queued(Arc<Cap>);

impl Queued {
    /// Waits for a place in flight, no longer than the queue's timeout and the request's deadline.
    pub(super) async fn enter(self, deadline: Option<Deadline>) -> Result<Permit, Error> {
        let after = Duration::from_millis(self.0.queue_timeout.load(Ordering::Relaxed) as u64);
        let end = Instant::now() + after;
        let deadline = deadline.filter(|deadline| deadline.at < end);
        let place = Arc::clone(&self.0.places).acquire_owned();
        match timeout_at(deadline.map_or(end, |deadline| deadline.at), place).await {
            Ok(place) => Ok(Permit { cap: Arc::clone(&self.0), place: place.ok() }),
            Err(_) => Err(deadline.map_or(Error::QueueTimeout { after }, |deadline| deadline.error_in_line())),
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn cap(max: usize, queue: usize) -> Arc<Cap> {
        Arc::new(Cap::new(max, queue, SECOND))
    }

    #[test]
    fn no_more_than_max_are_in_flight_and_no_more_than_queue_wait() {
        let cap = cap(1, 1);
        let held = cap.try_enter();
        assert!(held.is_some() && cap.try_enter().is_none());
        let waiting = cap.line_up();
        assert!(waiting.is_ok());
        assert_eq!(cap.line_up().err(), Some(Error::CapReached { max: 1, queue: 1 }));
        drop(waiting);
        assert_eq!((cap.in_flight(), cap.queued()), (1, 0));
        drop(held);
        assert_eq!(cap.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_for_how_long() {
        let cap = cap(1, 1);
        let _held = cap.try_enter();
        let refused = cap.line_up().unwrap().enter(None).await.err();
        assert_eq!(refused, Some(Error::QueueTimeout { after: SECOND }));
        assert_eq!(cap.queued(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_comes_first_ends_the_wait() {
        let cap = cap(1, 1);
        let _held = cap.try_enter();
        let total = Duration::from_millis(10);
        let deadline = Deadline { at: Instant::now() + total, total };
        let refused = cap.line_up().unwrap().enter(Some(deadline)).await.err();
        assert_eq!(refused, Some(Error::TotalTimeout { after: total, is_sent: false }));
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_given_in_the_order_of_arrival() {
        let cap = cap(1, 2);
        let held = cap.try_enter();
        let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for name in ["first", "second"] {
            let (place, order) = (cap.line_up().unwrap(), Arc::clone(&order));
            tasks.spawn(async move {
                let _permit = place.enter(None).await.unwrap();
                order.lock().push(name);
            });
            tokio::task::yield_now().await;
        }
        drop(held);
        tasks.join_all().await;
        assert_eq!(*order.lock(), ["first", "second"]);
    }

    #[test]
    fn a_lower_cap_is_reached_as_requests_leave_and_a_higher_one_at_once() {
        let cap = cap(3, 0);
        let mut held: Vec<_> = std::iter::repeat_with(|| cap.try_enter().unwrap()).take(3).collect();
        cap.reconfigure(1, 0, SECOND);
        assert_eq!((cap.max(), cap.in_flight()), (1, 3));
        held.pop();
        held.pop();
        assert!(cap.try_enter().is_none(), "the one place is taken");
        assert_eq!(cap.in_flight(), 1);
        held.pop();
        assert!(cap.try_enter().is_some());
        cap.reconfigure(2, 0, SECOND);
        let both = (cap.try_enter(), cap.try_enter());
        assert!(both.0.is_some() && both.1.is_some() && cap.try_enter().is_none());
    }
}
