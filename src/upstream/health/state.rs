//! The state of a server's health: a few atomics that the balancer reads, and
//! the history behind them.
//!
//! ```text
//!           failures in a row            its time, or a passed series of checks
//!    up ─────────────────────> ejected ─────────────────────────┐
//!    │ ^                                                         v
//!    │ └──────────────── slow start <──── comes back <───────────┤
//!    │   503, 429 with Retry-After            its time           │
//!    ├─────────────────────────> cooling down ───────────────────┤
//!    │   failed checks                        passed checks      │
//!    └─────────────────────────> down ───────────────────────────┘
//! ```
//!
//! Of the three states to the right, which may hold at once, the worst counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::{
    memory::{History, Run},
    pages::{Blame, Page, Provoked},
    view::{Assessment, Fitness, HealthState, HealthView},
};
use crate::duration;

/// The share with which a server that came back begins, as in Envoy's slow
/// start: with less it would hardly be tried.
const FIRST_SHARE: f32 = 0.1;
/// The bits of [`Health::failures`] that hold the length of the current run.
const RUN_LENGTH: u64 = u32::MAX as u64;

/// The health of a server. Outlives reloads.
#[derive(Debug)]
pub(in crate::upstream) struct Health {
    upstream: Arc<str>,
    url: Arc<str>,
    /// The origin of the times below, which are in milliseconds; 0 stands for
    /// none.
    epoch: Instant,
    /// Whether anything below differs from that of a healthy server. Balancers
    /// read this first, and usually nothing else.
    is_troubled: AtomicBool,
    /// Whether active checks fail.
    is_down: AtomicBool,
    /// Whether a task tries to connect to the server, which is ejected for
    /// refusing connections.
    pub(in crate::upstream) is_being_tried: AtomicBool,
    /// The end of the ejection; 0 without one.
    ejected_until: AtomicU64,
    /// The end of the cool-down; 0 without one.
    cooling_until: AtomicU64,
    /// When the slow start began.
    slow_since: AtomicU64,
    /// The current run of consecutive failures: their count in the lower half,
    /// the number of the run in the upper one.
    failures: AtomicU64,
    /// The reasons, which are only locked when the state changes or is shown.
    history: Mutex<History>,
}

impl Health {
    /// The health of a server of which nothing is known. `upstream` and `url`
    /// name it in the log.
    pub(in crate::upstream) fn new(upstream: Arc<str>, url: Arc<str>) -> Self {
        Self {
            upstream,
            url,
            epoch: Instant::now(),
            is_troubled: AtomicBool::new(false),
            is_down: AtomicBool::new(false),
            is_being_tried: AtomicBool::new(false),
            ejected_until: AtomicU64::new(0),
            cooling_until: AtomicU64::new(0),
            slow_since: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            history: Mutex::new(History::new()),
        }
    }

    /// Whether active checks fail.
    pub(in crate::upstream) fn is_down(&self) -> bool {
        self.is_down.load(Relaxed)
    }

    /// How good a choice the server is.
    #[inline]
    pub(in crate::upstream) fn assess(&self, now: Instant, slow_start: Duration) -> Assessment {
        if self.is_troubled.load(Relaxed) {
            self.assess_closely(now, slow_start)
        } else {
            Assessment::HEALTHY
        }
    }

    /// The assessment of a server whose state may have changed.
    fn assess_closely(&self, now: Instant, slow_start: Duration) -> Assessment {
        self.settle(now, slow_start);
        let fitness = match self.state() {
            HealthState::Down => Fitness::Down,
            HealthState::Ejected | HealthState::CoolingDown => Fitness::Suspect,
            HealthState::Up | HealthState::SlowStart => Fitness::Healthy,
        };
        let share = match self.slow_since.load(Relaxed) {
            0 => 1.0,
            since => {
                self.millis(now).saturating_sub(since) as f32 / slow_start.as_millis().max(1) as f32
            }
        };
        Assessment {
            fitness,
            share: share.clamp(FIRST_SHARE, 1.0),
        }
    }

    /// The state, without ending what has passed.
    pub(super) fn state(&self) -> HealthState {
        if self.is_down() {
            HealthState::Down
        } else if self.is_ejected() {
            HealthState::Ejected
        } else if self.cooling_until.load(Relaxed) != 0 {
            HealthState::CoolingDown
        } else if self.slow_since.load(Relaxed) != 0 {
            HealthState::SlowStart
        } else {
            HealthState::Up
        }
    }

    /// Whether the server is ejected, be it down besides or not.
    pub(super) fn is_ejected(&self) -> bool {
        self.ejected_until.load(Relaxed) != 0
    }

    /// Ends an ejection, a cool-down or a slow start whose time is over at
    /// `now`. Called by whatever looks first.
    pub(in crate::upstream) fn settle(&self, now: Instant, slow_start: Duration) {
        let at = self.millis(now);
        let is_over = |until: &AtomicU64| (1..=at).contains(&until.load(Relaxed));
        let slow_since = self.slow_since.load(Relaxed);
        let is_warm = slow_since != 0 && at >= slow_since + slow_start.as_millis() as u64;
        if !(is_over(&self.ejected_until) || is_over(&self.cooling_until) || is_warm) {
            return;
        }
        let mut history = self.history.lock();
        if is_over(&self.ejected_until) {
            self.end_ejection(&mut history, "its ejection is over", now, slow_start);
        }
        if is_over(&self.cooling_until) {
            self.end_cool_down(&mut history, "its cool-down is over", now, slow_start);
        }
        // Not if another slow start has begun since the look above.
        if is_warm
            && self
                .slow_since
                .compare_exchange(slow_since, 0, Relaxed, Relaxed)
                .is_ok()
        {
            history.since = SystemTime::now();
        }
        self.note_trouble();
    }

    /// Ejects the server until `time` after `now`. It stays down if its checks
    /// fail besides.
    pub(super) fn begin_ejection(
        &self,
        history: &mut History,
        time: Duration,
        cause: &str,
        now: Instant,
    ) {
        self.ejected_until.store(self.millis(now + time), Relaxed);
        self.slow_since.store(0, Relaxed);
        history.ejections += 1;
        if self.state() == HealthState::Ejected {
            cause.clone_into(&mut history.cause);
            history.since = SystemTime::now();
        }
        self.note_trouble();
        let (upstream, server) = (&*self.upstream, &*self.url);
        tracing::warn!(upstream, server, cause, time = %duration::text(time), "server ejected");
    }

    /// Ends the ejection, if there is one. The server comes back unless its
    /// checks fail.
    pub(super) fn end_ejection(
        &self,
        history: &mut History,
        cause: &str,
        now: Instant,
        slow_start: Duration,
    ) {
        if self.ejected_until.swap(0, Relaxed) != 0 {
            history.ejection.end(now);
        }
        self.end_run();
        self.come_back(history, cause, now, slow_start);
    }

    /// Ends an ejection that says nothing about the server, and forgets it.
    pub(super) fn revoke_ejection(
        &self,
        history: &mut History,
        cause: &str,
        now: Instant,
        slow_start: Duration,
    ) {
        self.end_ejection(history, cause, now, slow_start);
        history.ejection.forget_last();
    }

    /// Avoids the server for `after`, as it asked for in its response to the
    /// request `by`.
    pub(super) fn cool_down(
        &self,
        after: Duration,
        by: Provoked,
        now: Instant,
        slow_start: Duration,
    ) {
        self.settle(now, slow_start);
        let mut history = self.history.lock();
        let until = self.millis(now + after);
        let before = self.cooling_until.fetch_max(until, Relaxed);
        if before < until {
            history.cooled_by = Some(by);
        }
        if before == 0 && self.state() == HealthState::CoolingDown {
            let status = by.status.as_u16();
            let seconds = after.as_secs();
            history.cause = format!("it answered {status} with Retry-After for {seconds} s");
            history.since = SystemTime::now();
            let (upstream, server, cause) = (&*self.upstream, &*self.url, history.cause.as_str());
            tracing::info!(upstream, server, cause, "server cools down");
        }
        self.note_trouble();
    }

    /// Ends the cool-down. The server comes back unless something else speaks
    /// against it.
    fn end_cool_down(
        &self,
        history: &mut History,
        cause: &str,
        now: Instant,
        slow_start: Duration,
    ) {
        self.cooling_until.store(0, Relaxed);
        history.cooled_by = None;
        self.come_back(history, cause, now, slow_start);
    }

    /// Takes the server out because its checks fail.
    pub(super) fn go_down(&self, history: &mut History, cause: String) {
        self.is_down.store(true, Relaxed);
        self.slow_since.store(0, Relaxed);
        history.cause = cause;
        history.since = SystemTime::now();
        let (upstream, server, cause) = (&*self.upstream, &*self.url, history.cause.as_str());
        tracing::warn!(upstream, server, cause, "server is down");
        self.note_trouble();
    }

    /// Notes that the checks pass, or that there are none. Returns whether they
    /// failed before.
    pub(super) fn end_down(&self) -> bool {
        self.is_down.swap(false, Relaxed)
    }

    /// Begins the slow start, unless something else still speaks against the
    /// server.
    pub(super) fn come_back(
        &self,
        history: &mut History,
        cause: &str,
        now: Instant,
        slow_start: Duration,
    ) {
        if !matches!(self.state(), HealthState::Up | HealthState::SlowStart) {
            return;
        }
        let slow_since = if slow_start.is_zero() {
            0
        } else {
            self.millis(now)
        };
        self.slow_since.store(slow_since, Relaxed);
        cause.clone_into(&mut history.cause);
        history.since = SystemTime::now();
        let (upstream, server) = (&*self.upstream, &*self.url);
        tracing::info!(upstream, server, cause, slow_start = %duration::text(slow_start), "server is back");
    }

    /// Notes that the server served a request, which ends a run of failures.
    /// Usually there is none: a load is cheaper than a store that other workers
    /// feel.
    #[inline]
    pub(in crate::upstream) fn succeeded(&self) {
        if self.failures.load(Relaxed) & RUN_LENGTH != 0 {
            self.end_run();
        }
    }

    /// Ends the run of failures: the next failure is the first of another one.
    pub(super) fn end_run(&self) {
        let number = (self.failures.load(Relaxed) >> 32) + 1;
        self.failures.store(number << 32, Relaxed);
    }

    /// Counts a failure, and returns the run including it.
    pub(super) fn count_failure(&self) -> Run {
        Run::unpack(self.failures.fetch_add(1, Relaxed) + 1)
    }

    /// The present run of failures, which may be empty.
    pub(super) fn run(&self) -> Run {
        Run::unpack(self.failures.load(Relaxed))
    }

    /// Takes back the failures that a page has counted, as it fails on other
    /// servers too, and ends an ejection or a cool-down that they led to.
    pub(super) fn take_back(&self, page: Page, blame: Blame, now: Instant, slow_start: Duration) {
        const CAUSE: &str = "what failed here fails on other servers too";
        let without = |packed: u64| {
            let run = Run::unpack(packed);
            (run.number == blame.run).then(|| packed - u64::from(blame.failures.min(run.failures)))
        };
        let _ = self.failures.fetch_update(Relaxed, Relaxed, without);
        if !self.is_troubled.load(Relaxed) {
            return;
        }
        let mut history = self.history.lock();
        if blame.failures > 0 && history.ejection.is_for(blame.run) && self.is_ejected() {
            self.revoke_ejection(&mut history, CAUSE, now, slow_start);
        }
        if history.cooled_by.is_some_and(|by| by.page == page) {
            self.end_cool_down(&mut history, CAUSE, now, slow_start);
        }
        self.note_trouble();
    }

    /// Whether the server is avoided, for its failures or because it asked for
    /// it.
    pub(super) fn is_avoided(&self, now: Instant, slow_start: Duration) -> bool {
        self.settle(now, slow_start);
        self.is_ejected() || self.cooling_until.load(Relaxed) != 0
    }

    /// State and history at `now`.
    pub(in crate::upstream) fn view(&self, now: Instant, slow_start: Duration) -> HealthView {
        self.settle(now, slow_start);
        let history = self.history.lock();
        HealthView {
            state: self.state(),
            since: history.since,
            cause: history.cause.clone(),
            ejections: history.ejections,
        }
    }

    /// Locks the history. Changes of the state are made under this lock, and
    /// end with [`note_trouble`](Self::note_trouble).
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock()
    }

    /// Updates the flag that balancers read. Called after each change, with the
    /// history locked.
    pub(super) fn note_trouble(&self) {
        self.is_troubled
            .store(self.state() != HealthState::Up, Relaxed);
    }

    /// A time in milliseconds since the epoch, plus one, as 0 stands for none.
    fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_millis() as u64 + 1
    }
}

#[cfg(test)]
impl Health {
    /// Whether balancers have to look closely.
    pub(super) fn is_troubled(&self) -> bool {
        self.is_troubled.load(Relaxed)
    }
}
