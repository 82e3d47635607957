//! State that each worker has for itself.
//!
//! A worker writes to its own slot only, and slots do not share cache lines, so
//! that counting a request or taking an idle connection costs no traffic
//! between cores. Code that needs the whole, such as a scrape, visits all
//! slots.
//!
//! The slot is found by the number of the thread ([`worker`]) and not by
//! `thread_local!`: a slot belongs to its owner, which may be dropped or
//! visited from any thread.

use std::{fmt, sync::OnceLock};

use crossbeam_utils::CachePadded;

use super::worker;

/// One `T` for each worker, and one more that all other threads share.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tidegate::runtime::PerWorker;
///
/// let served: PerWorker<AtomicU64> = PerWorker::new(4);
/// served.mine().fetch_add(1, Ordering::Relaxed);
/// let total: u64 = served.iter().map(|count| count.load(Ordering::Relaxed)).sum();
/// assert_eq!(total, 1);
/// ```
pub struct PerWorker<T>(Box<[CachePadded<T>]>);

impl<T: Default> PerWorker<T> {
    /// A slot for each of `workers` workers and one for the other threads.
    pub fn new(workers: usize) -> Self {
        Self::with(workers + 1, |_| T::default())
    }
}

impl<T> PerWorker<T> {
    /// A slot for each of `workers` workers (at least one) and none for other
    /// threads, which get the slot of the last worker: for state that is large
    /// and that only workers use. `make` gets the number of each slot.
    pub fn workers_only(workers: usize, make: impl FnMut(usize) -> T) -> Self {
        Self::with(workers.max(1), make)
    }

    fn with(slots: usize, make: impl FnMut(usize) -> T) -> Self {
        Self((0..slots).map(make).map(CachePadded::new).collect())
    }

    /// The slot of this thread.
    pub fn mine(&self) -> &T {
        self.of(worker::current())
    }

    /// The slot of worker number `worker`. Numbers that no worker has,
    /// [`ELSEWHERE`](worker::ELSEWHERE) among them, get the last slot.
    pub fn of(&self, worker: usize) -> &T {
        &self.0[worker.min(self.0.len() - 1)]
    }

    /// All slots, those of the workers first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|slot| &**slot)
    }
}

impl<T> fmt::Debug for PerWorker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerWorker")
            .field("slots", &self.0.len())
            .finish_non_exhaustive()
    }
}

/// A [`PerWorker`] whose slots are made by their first use.
///
/// A slot that was never used costs two words. Ten thousand routes on many
/// cores stay small that way, since most routes get no request on most workers.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tidegate::runtime::LazyPerWorker;
///
/// let served: LazyPerWorker<AtomicU64> = LazyPerWorker::new(64);
/// assert_eq!(served.iter().count(), 0);
/// served.mine().fetch_add(1, Ordering::Relaxed);
/// assert_eq!(served.iter().count(), 1);
/// ```
pub struct LazyPerWorker<T>(Box<[OnceLock<Box<CachePadded<T>>>]>);

impl<T: Default> LazyPerWorker<T> {
    /// Slots for each of `workers` workers and one for the other threads, none
    /// of which is made yet.
    pub fn new(workers: usize) -> Self {
        Self((0..=workers).map(|_| OnceLock::new()).collect())
    }

    /// The slot of this thread, which the first call makes.
    pub fn mine(&self) -> &T {
        let last = self.0.len() - 1;
        self.0[worker::current().min(last)].get_or_init(Default::default)
    }

    /// All slots that have been used.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(OnceLock::get).map(|slot| &***slot)
    }
}

impl<T> fmt::Debug for LazyPerWorker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyPerWorker")
            .field("slots", &self.0.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn threads_that_are_no_workers_share_the_last_slot() {
        let (eager, lazy) = (
            PerWorker::<Mutex<u64>>::new(2),
            LazyPerWorker::<Mutex<u64>>::new(2),
        );
        let add = |count| {
            *eager.mine().lock() += count;
            *lazy.mine().lock() += count;
        };
        add(1);
        thread::scope(|scope| {
            scope.spawn(|| add(10));
            scope.spawn(|| {
                worker::set_current(1);
                add(100);
            });
        });
        let seen = |slot: &Mutex<u64>| *slot.lock();
        assert_eq!(eager.iter().map(seen).collect::<Vec<_>>(), [0, 100, 11]);
        assert_eq!(lazy.iter().map(seen).collect::<Vec<_>>(), [100, 11]);
    }
}
