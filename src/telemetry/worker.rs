//! Which worker this thread is, and the lanes that keep workers out of each other's cache lines.
//!
//! A worker announces itself once, at its start; from then on everything it writes goes to a lane of its own.

use std::{cell::Cell, fmt, sync::OnceLock};

use crossbeam_utils::CachePadded;
use parking_lot::{Mutex, MutexGuard};

/// What [`current`] answers on every thread that is not a worker.
pub const ELSEWHERE: usize = usize::MAX;

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(ELSEWHERE) };
    static IS_CUT: Cell<bool> = const { Cell::new(false) };
}

/// Makes this thread the worker `index`, counted from 0. Called once, at the worker's start.
pub fn set_current(index: usize) {
    CURRENT.set(index);
}

/// From now on whatever this thread still had in flight is cut: the process ends.
pub fn cut() {
    IS_CUT.set(true);
}

/// Whether what this thread drops is cut by the end of the process, and not given up by a client.
pub fn is_cut() -> bool {
    IS_CUT.get()
}

/// The worker this thread is, or [`ELSEWHERE`].
pub fn current() -> usize {
    CURRENT.get()
}

/// One `T` a worker and one more, the last, for all other threads together.
///
/// A lane's mutex is only ever taken by its worker and, for a moment, by a scrape or the writer thread; so taking it
/// is an uncontended atomic exchange. A lane is made by its first use: a route that never sees a worker costs that
/// worker two words, which is what lets ten thousand routes on many cores stay small.
pub(super) struct Lanes<T> {
    lanes: Box<[OnceLock<Lane<T>>]>,
}

/// Boxed by the worker that uses it, padded so that no other worker's data shares its cache line.
type Lane<T> = Box<CachePadded<Mutex<T>>>;

impl<T: Default> Lanes<T> {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            lanes: (0..=workers).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The lane of this thread, locked.
    pub(super) fn mine(&self) -> MutexGuard<'_, T> {
        let last = self.lanes.len() - 1;
        self.lanes[current().min(last)]
            .get_or_init(Default::default)
            .lock()
    }

    /// Every lane that was ever used, locked one after the other.
    pub(super) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.lanes
            .iter()
            .filter_map(OnceLock::get)
            .map(|lane| lane.lock())
    }
}

impl<T> fmt::Debug for Lanes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes")
            .field("lanes", &self.lanes.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_worker_keeps_its_index_and_other_threads_have_none() {
        thread::spawn(|| {
            assert_eq!(current(), ELSEWHERE);
            set_current(3);
            assert_eq!(current(), 3);
        })
        .join()
        .unwrap();
        assert_eq!(current(), ELSEWHERE);
    }

    #[test]
    fn threads_that_are_no_workers_share_the_last_lane() {
        let lanes = Lanes::<u64>::new(2);
        *lanes.mine() += 1;
        thread::scope(|scope| {
            scope.spawn(|| *lanes.mine() += 10);
            scope.spawn(|| {
                set_current(1);
                *lanes.mine() += 100;
            });
        });
        assert_eq!(
            lanes.each().map(|lane| *lane).collect::<Vec<_>>(),
            [100, 11]
        );
    }
}
