//! The time in which a request body flows. The timeouts for the response stand
//! still meanwhile: services respond to an upload when they have received it.
//!
//! The layers of timeouts read it, and [`Body`](super::Body) writes it as it is
//! pulled.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The time in which a request body flows: from the first pull to its end, or
/// until it is no longer read. A body that is pulled again, for another
/// attempt, adds to it.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use tidegate::body::{Body, Flow};
///
/// let flow = Arc::new(Flow::new(false));
/// let mut body = Body::whole("hello");
/// body.set_flow(Arc::clone(&flow));
/// // A body in memory needs no time, and no timeout has to pause for it.
/// assert_eq!(flow.passed(), Some(Duration::ZERO));
/// ```
#[derive(Debug, Default)]
pub struct Flow {
    state: Mutex<Flowing>,
    /// Whether it flows only from its first piece on, because the client waits
    /// for permission to send it.
    pub(super) waits: bool,
}

/// The state behind the lock.
#[derive(Debug, Default)]
struct Flowing {
    /// The moment since which the body flows; `None` while it does not.
    since: Option<Instant>,
    /// The time in which it flowed before that.
    before: Duration,
}

impl Flow {
    /// The measure of a body that does not flow yet. `waits` says that its
    /// client waits for permission to send it (`Expect: 100-continue`, RFC
    /// 9110, 10.1.1).
    pub fn new(waits: bool) -> Self {
        Self {
            state: Mutex::default(),
            waits,
        }
    }

    /// The time for which the body has flowed; `None` while it still does.
    pub fn passed(&self) -> Option<Duration> {
        let state = self.state.lock();
        state.since.is_none().then_some(state.before)
    }

    /// Notes that the body flows from now on, if it does not already.
    pub(super) fn begin(&self) {
        self.state.lock().since.get_or_insert_with(Instant::now);
    }

    /// Notes that the body flows no longer.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        if let Some(since) = state.since.take() {
            state.before += since.elapsed();
        }
    }
}
