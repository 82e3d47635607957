//! Places for connections: how many are taken, and who waits for one.

use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

use tokio::sync::{Notify, futures::Notified};

/// A bounded number of places, shared by all workers.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: AtomicUsize,
    waiting: AtomicUsize,
    left: Notify,
}

impl Places {
    /// Places that are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// Takes a place unless `most` are taken.
    pub(super) fn take(&self, most: usize) -> bool {
        let more = |taken| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(SeqCst, Relaxed, more).is_ok()
    }

    /// Gives a place back.
    pub(super) fn leave(&self) {
        self.taken.fetch_sub(1, SeqCst);
        self.wake();
    }

    /// Wakes all who wait. All of them: the worker that is woken may have no connection in its own queue while another has.
    pub(super) fn wake(&self) {
        self.left.notify_waiters();
    }

    /// Wakes all who wait, at the price of one look when nobody does.
    pub(super) fn wake_if_awaited(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.wake();
        }
    }

    /// Resolves when a place may have become free after this call. Hears what happens from the call on, polled or not.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.left.notified()
    }

    /// Counts as waiting until the guard is dropped.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, SeqCst);
        Waiting(self)
    }
}

/// Somebody who waits for a place.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Places);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}
