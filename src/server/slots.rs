//! Slots for connections: a count of those that are used, and whether anybody
//! waits for one.
//!
//! A waiter creates the future of [`released`](Slots::released) before it tries
//! to acquire a slot, so that a release in between is not missed.

use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

use tokio::sync::{Notify, futures::Notified};

/// A bounded number of slots, shared by all workers. The caller passes the
/// bound, which may change.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Slots that are used.
    used: AtomicUsize,
    /// Tasks that wait for a slot.
    waiting: AtomicUsize,
    /// Notified when a slot may be free.
    released: Notify,
}

impl Slots {
    /// The number of slots that are used.
    pub(super) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Acquires a slot unless `max` are used. Returns whether it did.
    pub(super) fn try_acquire(&self, max: usize) -> bool {
        let more = |used| (used < max).then_some(used + 1);
        self.used.fetch_update(SeqCst, Relaxed, more).is_ok()
    }

    /// Releases a slot and wakes all waiters.
    pub(super) fn release(&self) {
        self.used.fetch_sub(1, SeqCst);
        self.wake();
    }

    /// Wakes all waiters. All of them, since the first one may be a worker
    /// without a connection in its accept queue.
    pub(super) fn wake(&self) {
        self.released.notify_waiters();
    }

    /// Wakes all waiters, at the cost of one load if there are none.
    pub(super) fn wake_if_awaited(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.wake();
        }
    }

    /// Resolves once a slot may have become free after this call, whether or
    /// not it was polled in between.
    pub(super) fn released(&self) -> Notified<'_> {
        self.released.notified()
    }

    /// Counts a waiter; the count is decremented on drop.
    pub(super) fn wait(&self) -> CountedOne<'_> {
        CountedOne::of(&self.waiting)
    }
}

/// Counts one of something; the count is decremented on drop.
#[derive(Debug)]
pub(super) struct CountedOne<'a>(&'a AtomicUsize);

impl<'a> CountedOne<'a> {
    /// Counts one more.
    pub(super) fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for CountedOne<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
