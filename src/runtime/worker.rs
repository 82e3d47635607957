//! The number of the worker that the current thread is.
//!
//! A worker announces itself once, when it starts. All state that is kept per
//! worker is found by this number.

use std::cell::Cell;

/// The number that [`current`] returns on every thread that is not a worker.
pub const ELSEWHERE: usize = usize::MAX;

thread_local! {
    /// The number of this thread.
    static CURRENT: Cell<usize> = const { Cell::new(ELSEWHERE) };
    /// Whether the process ends, and requests on this thread are dropped
    /// because of it.
    static IS_CUT: Cell<bool> = const { Cell::new(false) };
}

/// Makes this thread the worker `index`, counted from 0. Called once, when the
/// worker starts.
pub fn set_current(index: usize) {
    CURRENT.set(index);
}

/// Declares that the process ends: requests that this thread drops from now on
/// were cut by the gateway. They are emitted with the reason `draining`.
pub fn cut() {
    IS_CUT.set(true);
}

/// True once [`cut`] was called on this thread: a request that is dropped now
/// was not given up by its client.
pub fn is_cut() -> bool {
    IS_CUT.get()
}

/// The number of the worker that this thread is, or [`ELSEWHERE`].
pub fn current() -> usize {
    CURRENT.get()
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
}
