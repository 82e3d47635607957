//! Measures the requests under an adaptive limit, and moves the limit at the
//! end of each window.
//!
//! Each request adds its outcome to a window. The request that finds the window
//! complete closes it, on its own time: some hundred additions, a few times a
//! second. `window` collects, `gradient` computes the next limit.
//!
//! # Windows
//!
//! A window is closed by the first outcome that finds it both full and due. It
//! is full with 100 outcomes, or with 30 while the first limit is looked for.
//! It is due twice the last median after the last close, within half a second
//! to ten seconds: a response shows the effect of the last move only if its
//! request began after it. An upstream that has fewer outcomes in about a
//! minute keeps its limit, since the window is then stale. Without an outcome
//! nothing happens, and no timer runs.
//!
//! # Concurrency
//!
//! An outcome costs a few relaxed atomic operations. The gradient is behind a
//! lock that an outcome only tries to take: while one request closes the
//! window, all others pass by. A reload takes the lock and waits for that
//! close.
//!
//! # Outcomes
//!
//! Only the times of responses that took work are compared. A fault such as a
//! 500 may come at once, and would make an upstream look fast just when it
//! fails; it is left out. Timeouts, resets and the statuses by which upstreams
//! say that they are overloaded (429, 503, 504) count as failures, which lower
//! the limit without a time. The times of clients that leave count only if they
//! are longer than the median.

mod gradient;
mod window;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use http::StatusCode;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::{gradient::Gradient, window::Window};
use crate::{
    error::{ConnectFailure, Error, Failed},
    message::Response,
    policy::AdaptiveBounds,
};

/// Outcomes in a complete window. Fewer say too little of a median.
const ENOUGH: u32 = 100;
/// Outcomes in a complete window while the first limit is looked for and few
/// requests are in flight.
const ENOUGH_WARMING: u32 = 30;
/// Shortest time between two moves of the limit: the effect of a move has to be
/// seen before the next.
const SHORTEST: Duration = Duration::from_millis(500);
/// The same while the first limit is looked for: a gateway that starts under
/// load finds it within a second.
const SHORTEST_WARMING: Duration = Duration::from_millis(100);
/// Longest time between two moves, however slow responses are.
const LONGEST: Duration = Duration::from_secs(10);
/// A window that is not complete by then mixes old with new outcomes, and is
/// begun anew.
const STALE: Duration = Duration::from_secs(60);
/// Length of a window as a multiple of the median: a response shows the effect
/// of the last move only if its request was admitted within the window.
const MEDIANS: f64 = 2.0;

/// The meaning of a request's outcome for the load of its upstream.
///
/// It is found once for each measured permit, when the response head arrives,
/// the request fails, or its client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoadOutcome {
    /// A response came, and its time counts.
    Responded,
    /// No response came in time, or one that says that the upstream is
    /// overloaded.
    Overloaded,
    /// The client left before a response, which would have taken longer yet.
    /// Its time counts like that of a response if it is longer than the last
    /// median.
    Abandoned,
    /// Nothing: a refusal by the gateway itself, or a fault that may be quicker
    /// than any work.
    Nothing,
}

impl LoadOutcome {
    /// The outcome of a request that has a response or has failed.
    ///
    /// A failed connect counts as overload if it timed out, as a full accept
    /// queue makes it do; a refused one says that nothing listens.
    pub(super) fn of(result: &Result<Response, Failed>) -> Self {
        let error = match result {
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

    /// The outcome of a response with this status. 500 and its like may come
    /// quicker than any work, so that their time says nothing.
    fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            429 | 503 | 504 => Self::Overloaded,
            500.. => Self::Nothing,
            _ => Self::Responded,
        }
    }
}

/// The measuring half of an adaptive limit.
#[derive(Debug)]
pub(super) struct LoadMeter {
    /// Whether the limit adapts now. Read for each permit, and changed by
    /// reloads only.
    is_on: AtomicBool,
    /// The outcomes since the last move.
    window: Window,
    /// The origin of the times below. A number of nanoseconds since then fits
    /// an atomic, which an `Instant` does not.
    began: Instant,
    /// When the window may be closed, in nanoseconds. 0 before the first window
    /// was closed: the first one is due at once.
    due: AtomicU64,
    /// The last median, in nanoseconds. 0 before the first window was closed,
    /// and after one without responses.
    last_median: AtomicU64,
    /// Computes the next limit. Locked by the request that closes a window.
    gradient: Mutex<Gradient>,
}

impl LoadMeter {
    /// A meter that is switched off.
    pub(super) fn new(bounds: AdaptiveBounds) -> Self {
        Self {
            is_on: AtomicBool::new(false),
            window: Window::new(),
            began: Instant::now(),
            due: AtomicU64::new(0),
            last_median: AtomicU64::new(0),
            gradient: Mutex::new(Gradient::new(bounds)),
        }
    }

    /// Lets the meter move `max` within these bounds, from the fixed number
    /// `from` if there was one.
    ///
    /// `max` is the limit that requests are admitted by. It is set at once, to
    /// a number within the bounds. Waits for a request that closes the window.
    pub(super) fn switch_on(&self, bounds: AdaptiveBounds, from: Option<usize>, max: &AtomicUsize) {
        let mut gradient = self.gradient.lock();
        gradient.set_bounds(bounds);
        if let Some(from) = from {
            gradient.go_on_from(from);
        }
        max.store(gradient.limit(), Relaxed);
        self.is_on.store(true, Relaxed);
    }

    /// Sets `max` for good. The baseline is kept for another time.
    ///
    /// Holds the lock meanwhile, so that a window that is being closed cannot
    /// overwrite `to` afterwards.
    pub(super) fn switch_off(&self, to: usize, max: &AtomicUsize) {
        let _held = self.gradient.lock();
        self.is_on.store(false, Relaxed);
        max.store(to, Relaxed);
    }

    /// Whether the limit adapts. A reload may switch that off and on.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    /// Notes how many requests are in flight.
    pub(super) fn note_peak(&self, in_flight: usize) {
        self.window.note_peak(in_flight);
    }

    /// Takes an outcome into account that came at `now`, `time` after the
    /// request got its permit. Returns whether `max` was moved.
    ///
    /// At most one of the requests that find the window complete closes it. The
    /// others return false at once.
    pub(super) fn measured(
        &self,
        outcome: LoadOutcome,
        time: Duration,
        now: Instant,
        max: &AtomicUsize,
    ) -> bool {
        let outcomes = match outcome {
            LoadOutcome::Responded => self.window.record(time),
            LoadOutcome::Overloaded => self.window.record_failure(),
            // A client that leaves early says nothing of the median; one that
            // leaves late says that it has risen.
            LoadOutcome::Abandoned if nanos(time) > self.last_median.load(Relaxed) => {
                self.window.record(time)
            }
            LoadOutcome::Abandoned | LoadOutcome::Nothing => return false,
        };
        let now = nanos(now.saturating_duration_since(self.began));
        outcomes >= ENOUGH_WARMING
            && now >= self.due.load(Relaxed)
            && self.close(outcomes, now, max)
    }

    /// Closes the window, and moves the limit if it was complete. Returns
    /// whether the limit has moved.
    ///
    /// A stale window moves nothing. It is emptied, and its median still says
    /// how long the next window takes.
    fn close(&self, outcomes: u32, now: u64, max: &AtomicUsize) -> bool {
        // Another request is closing the window.
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
        self.last_median.store(nanos(median), Relaxed);
        self.due.store(
            now + nanos(median.mul_f64(MEDIANS).clamp(shortest, LONGEST)),
            Relaxed,
        );
        !is_stale
    }
}

/// A duration in nanoseconds, at most 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
