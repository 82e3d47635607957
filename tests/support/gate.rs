//! A gate that blocks one thread until another opens it.

use std::sync::{Arc, Condvar, Mutex};

use super::TIMEOUT;

/// A counting gate: each [`open`](Gate::open) lets one [`pass`](Gate::pass)
/// through. Clones share the count.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    /// Creates a closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets one more caller of [`pass`](Gate::pass) through.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() += 1;
        self.0.1.notify_one();
    }

    /// Blocks until the gate is open, at most for [`TIMEOUT`].
    ///
    /// # Panics
    /// If the gate is not opened in time.
    #[track_caller]
    pub fn pass(&self) {
        let tickets = self.0.0.lock().unwrap();
        let (mut tickets, waited) = self
            .0
            .1
            .wait_timeout_while(tickets, TIMEOUT, |tickets| *tickets == 0)
            .unwrap();
        assert!(!waited.timed_out(), "the gate was not opened");
        *tickets -= 1;
    }
}
