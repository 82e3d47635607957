//! Measures what passes under an adaptive cap, and moves the cap at the end of each window.
//!
//! A request adds to a window and looks whether it may be closed; whoever finds that it may does so, on the request's
//! own time: some hundred additions, a few times a second.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use http::StatusCode;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    adaptive::{Bounds, Gradient},
    window::Window,
};
use crate::{
    error::{ConnectFailure, Error, Failed},
    message::Response,
};

/// Fewer outcomes say too little of a median.
const ENOUGH: u32 = 100;
/// While looking for a first limit, where few are in flight yet.
const ENOUGH_WARMING: u32 = 30;
/// Shortest time between two moves of the cap: what a move does has to be seen before the next.
const SHORTEST: Duration = Duration::from_millis(500);
/// While looking for a first limit: a gateway that starts under load should find it within a second.
const SHORTEST_WARMING: Duration = Duration::from_millis(100);
/// However slow answers are, the cap follows within this.
const LONGEST: Duration = Duration::from_secs(10);
/// A window that is not full by then mixes old with new, and is begun anew.
const STALE: Duration = Duration::from_secs(60);
/// An answer has to be admitted and given within a window to show what the last move did: so many times the median.
const MEDIANS: f64 = 2.0;

/// What an answer, or its absence, tells of an upstream's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was given: its time counts.
    Answered,
    /// It came too late, or says that there is too much to do.
    Overloaded,
    /// The client left before: it would have taken longer yet.
    Abandoned,
    /// Nothing, such as a refusal by the gateway itself, or a fault that may be quicker than any work.
    Nothing,
}

impl Outcome {
    pub(super) fn of(answer: &Result<Response, Failed>) -> Self {
        let error = match answer {
            Ok(response) => return Self::of_status(response.status),
            Err(failed) => &failed.error,
        };
        match error {
            Error::AttemptTimeout { .. } | Error::TotalTimeout { .. } | Error::Reset { .. } => {
                Self::Overloaded
            }
            Error::ConnectFailed {
                cause: ConnectFailure::Timeout,
                ..
            } => Self::Overloaded,
            _ => Self::Nothing,
        }
    }

    fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            429 | 503 | 504 => Self::Overloaded,
            500.. => Self::Nothing,
            _ => Self::Answered,
        }
    }
}

/// The measuring half of an adaptive cap. Made with the first configuration that wants one, and kept.
#[derive(Debug)]
pub(super) struct Meter {
    is_on: AtomicBool,
    window: Window,
    /// Zero of the times below.
    began: Instant,
    /// When the window may be closed, in nanoseconds.
    due: AtomicU64,
    /// The last median, in nanoseconds.
    usual: AtomicU64,
    gradient: Mutex<Gradient>,
}

impl Meter {
    /// Switched off.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            is_on: AtomicBool::new(false),
            window: Window::new(),
            began: Instant::now(),
            due: AtomicU64::new(0),
            usual: AtomicU64::new(0),
            gradient: Mutex::new(Gradient::new(bounds)),
        }
    }

    /// Lets it move `max` within these bounds. `from` is what has held until now, if anything has.
    pub(super) fn switch_on(&self, bounds: Bounds, from: Option<usize>, max: &AtomicUsize) {
        let mut gradient = self.gradient.lock();
        gradient.set_bounds(bounds);
        if let Some(from) = from {
            gradient.go_on_from(from);
        }
        max.store(gradient.limit(), Relaxed);
        self.is_on.store(true, Relaxed);
    }

    /// Sets `max` for good; what was learnt is kept for another time.
    pub(super) fn switch_off(&self, to: usize, max: &AtomicUsize) {
        let _held = self.gradient.lock();
        self.is_on.store(false, Relaxed);
        max.store(to, Relaxed);
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    /// So many are in flight.
    pub(super) fn saw(&self, in_flight: usize) {
        self.window.saw(in_flight);
    }

    /// Takes an outcome into account that came at `now`, `time` after the place was given. True when `max` was moved.
    pub(super) fn measured(
        &self,
        outcome: Outcome,
        time: Duration,
        now: Instant,
        max: &AtomicUsize,
    ) -> bool {
        let outcomes = match outcome {
            Outcome::Answered => self.window.took(time),
            Outcome::Overloaded => self.window.failed(),
            // Who leaves early says nothing of what is usual, who leaves late that it is no longer.
            Outcome::Abandoned if nanos(time) > self.usual.load(Relaxed) => self.window.took(time),
            Outcome::Abandoned | Outcome::Nothing => return false,
        };
        let now = nanos(now.saturating_duration_since(self.began));
        outcomes >= ENOUGH_WARMING
            && now >= self.due.load(Relaxed)
            && self.close(outcomes, now, max)
    }

    fn close(&self, outcomes: u32, now: u64, max: &AtomicUsize) -> bool {
        // Somebody else is at it.
        let Some(mut gradient) = self.gradient.try_lock() else {
            return false;
        };
        let due = self.due.load(Relaxed);
        let enough = if gradient.is_warming() {
            ENOUGH_WARMING
        } else {
            ENOUGH
        };
        if now < due || outcomes < enough || !self.is_on() {
            return false;
        }
        let seen = self.window.take();
        let is_stale = due > 0 && now - due > nanos(STALE);
        if !is_stale {
            gradient.update(&seen);
            max.store(gradient.limit(), Relaxed);
        }
        let median = seen.median.map_or(Duration::ZERO, Duration::from_secs_f64);
        let shortest = if gradient.is_warming() {
            SHORTEST_WARMING
        } else {
            SHORTEST
        };
        self.usual.store(nanos(median), Relaxed);
        self.due.store(
            now + nanos(median.mul_f64(MEDIANS).clamp(shortest, LONGEST)),
            Relaxed,
        );
        !is_stale
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
