//! When a request body flows: the time for the response stands still meanwhile.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The time in which a request body flows: from the first pull to its end, or
/// until it is no longer read.
#[derive(Debug, Default)]
pub struct Flow {
    state: Mutex<Flowing>,
    /// Whether it flows only from its first piece on, because the client waits
    /// for leave to send it.
    pub(super) waits: bool,
}

#[derive(Debug, Default)]
struct Flowing {
    since: Option<Instant>,
    before: Duration,
}

impl Flow {
    /// The measure of a body that does not flow yet. `waits` says that its
    /// client waits for leave to send it (`Expect: 100-continue`).
    pub fn new(waits: bool) -> Self {
        Self {
            state: Mutex::default(),
            waits,
        }
    }

    /// How long the body has flowed; `None` while it does.
    pub fn passed(&self) -> Option<Duration> {
        let state = self.state.lock();
        state.since.is_none().then_some(state.before)
    }

    pub(super) fn begin(&self) {
        self.state.lock().since.get_or_insert_with(Instant::now);
    }

    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        if let Some(since) = state.since.take() {
            state.before += since.elapsed();
        }
    }
}
