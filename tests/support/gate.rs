//! A gate that one thread passes once another has opened it.

use std::sync::{Arc, Condvar, Mutex};

use super::PATIENCE;

/// Lets through as many as it was opened for; clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets one more through.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() += 1;
        self.0.1.notify_one();
    }

    /// Waits until it may pass.
    #[track_caller]
    pub fn pass(&self) {
        let tickets = self.0.0.lock().unwrap();
        let (mut tickets, waited) = self
            .0
            .1
            .wait_timeout_while(tickets, PATIENCE, |tickets| *tickets == 0)
            .unwrap();
        assert!(!waited.timed_out(), "nobody opened the gate");
        *tickets -= 1;
    }
}
