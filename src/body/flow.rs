//! When the body of a request flows: the time for its answer stands still meanwhile.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The time in which the body of a request flows: from the first look for it to its end, or until nobody reads it.
#[derive(Debug, Default)]
pub struct Flow {
    state: Mutex<Flowing>,
    /// It only flows from its first piece on: the client waits for leave to send it.
    pub(super) waits: bool,
}

#[derive(Debug, Default)]
struct Flowing {
    since: Option<Instant>,
    before: Duration,
}

impl Flow {
    /// Of a body that does not flow yet; `waits`: its client waits for leave to send it (`Expect: 100-continue`).
    pub fn new(waits: bool) -> Self {
        Self {
            state: Mutex::default(),
            waits,
        }
    }

    /// How long it has flowed; `None` while it does.
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
