//! Whether a server may be sent requests: a few atomics that the balancer reads at each choice.
//!
//! A server that is well costs one load. What changes a state (a check, an ejection, its end) is rare and takes a lock
//! that no request on its way to a server that is well ever meets. What is known outlives reloads.

mod active;
mod eject;
mod pages;
mod retry_after;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::time::Instant;

use self::pages::Blame;
pub(super) use self::{
    active::{try_to_reach, watch},
    eject::{Ejector, Provoked},
    pages::Page,
    retry_after::retry_after,
};
use crate::{duration, error::ConnectFailure};

/// Share with which a server begins that came back, as Envoy's slow start has it: with less it would hardly be tried.
const FIRST_SHARE: f32 = 0.1;

/// What is known of a server's health.
#[derive(Debug)]
pub(super) struct Health {
    upstream: Arc<str>,
    url: Arc<str>,
    /// Times below are milliseconds since then, and 0 where there is none.
    epoch: Instant,
    /// Something below is not as in a server that is well. What all others read is this alone.
    is_troubled: AtomicBool,
    /// Its checks fail.
    is_down: AtomicBool,
    /// It is tried whether it takes connections again.
    pub(super) is_tried: AtomicBool,
    ejected_until: AtomicU64,
    cooling_until: AtomicU64,
    /// When it came back.
    slow_since: AtomicU64,
    /// Failures in a row, in the lower half; the number of the row in the upper.
    failures: AtomicU64,
    story: Mutex<Story>,
}

/// What is told of the state, and what is remembered for the next one.
#[derive(Debug)]
struct Story {
    since: SystemTime,
    cause: String,
    /// Ever.
    ejections: u64,
    ejector: eject::Memory,
    /// By whose request the cool-down began, and by which page.
    cooled_by: Option<Provoked>,
    checks: active::Memory,
}

/// How good a choice a server is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Nothing is known against it.
    Fit,
    /// Ejected, or told to be left alone for a while: only for want of a better one.
    Suspect,
    /// Its checks fail: not at all.
    Down,
}

/// What a balancer sees of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    pub(super) standing: Standing,
    /// The part of its usual share that it gets, up to 1.
    pub(super) share: f32,
}

impl Look {
    const WELL: Self = Self {
        standing: Standing::Fit,
        share: 1.0,
    };
}

/// A server's state by name, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// It gets its share.
    Up,
    /// It came back and gets more from moment to moment.
    SlowStart,
    /// It asked to be left alone for a while.
    CoolingDown,
    /// It failed too often in a row.
    Ejected,
    /// Its checks fail.
    Down,
}

impl HealthState {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            HealthState::Up => "up",
            HealthState::SlowStart => "slow_start",
            HealthState::CoolingDown => "cooling_down",
            HealthState::Ejected => "ejected",
            HealthState::Down => "down",
        }
    }
}

/// What there is to tell of a server's health.
#[derive(Debug, Clone)]
pub struct HealthView {
    /// Its state.
    pub state: HealthState,
    /// Since when.
    pub since: SystemTime,
    /// Why; empty for a server that never was anything but up.
    pub cause: String,
    /// Times that it was ejected.
    pub ejections: u64,
}

/// What a server did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failing {
    Status(u16),
    Reset,
    Cut,
    BadAnswer,
    Connect(ConnectFailure),
    Timeout,
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failing::Status(status) => write!(f, "status {status}"),
            Failing::Reset => f.write_str("connection reset"),
            Failing::Cut => f.write_str("an answer that broke off"),
            Failing::BadAnswer => f.write_str("an answer that is not HTTP"),
            Failing::Connect(cause) => write!(f, "{cause}"),
            Failing::Timeout => f.write_str("timed out"),
        }
    }
}

impl Health {
    pub(super) fn new(upstream: Arc<str>, url: Arc<str>) -> Self {
        Self {
            upstream,
            url,
            epoch: Instant::now(),
            is_troubled: AtomicBool::new(false),
            is_down: AtomicBool::new(false),
            is_tried: AtomicBool::new(false),
            ejected_until: AtomicU64::new(0),
            cooling_until: AtomicU64::new(0),
            slow_since: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            story: Mutex::new(Story {
                since: SystemTime::now(),
                cause: String::new(),
                ejections: 0,
                ejector: eject::Memory::default(),
                cooled_by: None,
                checks: active::Memory::default(),
            }),
        }
    }

    /// Whether its checks fail.
    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Relaxed)
    }

    /// How good a choice it is.
    #[inline]
    pub(super) fn look(&self, now: Instant, slow_start: Duration) -> Look {
        if self.is_troubled.load(Relaxed) {
            self.look_closely(now, slow_start)
        } else {
            Look::WELL
        }
    }

    fn look_closely(&self, now: Instant, slow_start: Duration) -> Look {
        self.settle(now, slow_start);
        let standing = match self.state() {
            HealthState::Down => Standing::Down,
            HealthState::Ejected | HealthState::CoolingDown => Standing::Suspect,
            HealthState::Up | HealthState::SlowStart => Standing::Fit,
        };
        let share = match self.slow_since.load(Relaxed) {
            0 => 1.0,
            since => {
                self.millis(now).saturating_sub(since) as f32 / slow_start.as_millis().max(1) as f32
            }
        };
        Look {
            standing,
            share: share.clamp(FIRST_SHARE, 1.0),
        }
    }

    /// The state as of the last look.
    fn state(&self) -> HealthState {
        if self.is_down() {
            HealthState::Down
        } else if self.ejected_until.load(Relaxed) != 0 {
            HealthState::Ejected
        } else if self.cooling_until.load(Relaxed) != 0 {
            HealthState::CoolingDown
        } else if self.slow_since.load(Relaxed) != 0 {
            HealthState::SlowStart
        } else {
            HealthState::Up
        }
    }

    /// Ends what has passed: an ejection, a cool-down, a slow start. Called by whoever notices first.
    pub(super) fn settle(&self, now: Instant, slow_start: Duration) {
        let at = self.millis(now);
        let is_over = |until: &AtomicU64| (1..=at).contains(&until.load(Relaxed));
        let slow_since = self.slow_since.load(Relaxed);
        let is_warm = slow_since != 0 && at >= slow_since + slow_start.as_millis() as u64;
        if !(is_over(&self.ejected_until) || is_over(&self.cooling_until) || is_warm) {
            return;
        }
        let mut story = self.story.lock();
        if is_over(&self.ejected_until) {
            self.end_ejection(&mut story, "its ejection is over", now, slow_start);
        }
        if is_over(&self.cooling_until) {
            self.end_cool_down(&mut story, "its cool-down is over", now, slow_start);
        }
        // Unless it has come back once more since.
        if is_warm
            && self
                .slow_since
                .compare_exchange(slow_since, 0, Relaxed, Relaxed)
                .is_ok()
        {
            story.since = SystemTime::now();
        }
        self.note_trouble();
    }

    /// It is not ejected any more, and back unless its checks say otherwise.
    fn end_ejection(&self, story: &mut Story, cause: &str, now: Instant, slow_start: Duration) {
        if self.ejected_until.swap(0, Relaxed) != 0 {
            story.ejector.ended(now);
        }
        self.end_row();
        self.come_back(story, cause, now, slow_start);
    }

    fn end_cool_down(&self, story: &mut Story, cause: &str, now: Instant, slow_start: Duration) {
        self.cooling_until.store(0, Relaxed);
        story.cooled_by = None;
        self.come_back(story, cause, now, slow_start);
    }

    fn come_back(&self, story: &mut Story, cause: &str, now: Instant, slow_start: Duration) {
        if !matches!(self.state(), HealthState::Up | HealthState::SlowStart) {
            return;
        }
        let slow_since = if slow_start.is_zero() {
            0
        } else {
            self.millis(now)
        };
        self.slow_since.store(slow_since, Relaxed);
        cause.clone_into(&mut story.cause);
        story.since = SystemTime::now();
        let (upstream, server) = (&*self.upstream, &*self.url);
        tracing::info!(upstream, server, cause, slow_start = %duration::text(slow_start), "server is back");
    }

    /// A server answered as it should.
    #[inline]
    pub(super) fn succeeded(&self) {
        // Mostly there is nothing to forget, and a load is cheaper than a store that other workers feel.
        if self.failures.load(Relaxed) as u32 != 0 {
            self.end_row();
        }
    }

    /// The next failure is the first of another row.
    fn end_row(&self) {
        self.failures
            .store(((self.failures.load(Relaxed) >> 32) + 1) << 32, Relaxed);
    }

    /// Counts a failure: how many in a row there are now, and which row it is.
    fn fail(&self) -> (u32, u32) {
        let counted = self.failures.fetch_add(1, Relaxed) + 1;
        (counted as u32, (counted >> 32) as u32)
    }

    /// Forgets what a page has counted that fails elsewhere too, and ends what it led to.
    fn take_back(&self, page: Page, blame: Blame, now: Instant, slow_start: Duration) {
        const CAUSE: &str = "what failed here fails on other servers too";
        let is_same_row = |counted: u64| (counted >> 32) as u32 == blame.row;
        let less = |counted: u64| {
            is_same_row(counted).then(|| counted - u64::from(blame.failures.min(counted as u32)))
        };
        let _ = self.failures.fetch_update(Relaxed, Relaxed, less);
        if !self.is_troubled.load(Relaxed) {
            return;
        }
        let mut story = self.story.lock();
        if blame.failures > 0
            && story.ejector.is_for(blame.row)
            && self.ejected_until.load(Relaxed) != 0
        {
            self.revoke_ejection(&mut story, CAUSE, now, slow_start);
        }
        if story.cooled_by.is_some_and(|by| by.page == page) {
            self.end_cool_down(&mut story, CAUSE, now, slow_start);
        }
        self.note_trouble();
    }

    /// Leaves it alone for `after`, as it asked for in its answer to this request.
    fn cool_down(&self, after: Duration, by: Provoked, now: Instant, slow_start: Duration) {
        self.settle(now, slow_start);
        let mut story = self.story.lock();
        let until = self.millis(now + after);
        let before = self.cooling_until.fetch_max(until, Relaxed);
        if before < until {
            story.cooled_by = Some(by);
        }
        if before == 0 && self.state() == HealthState::CoolingDown {
            story.cause = format!("it answered 503 with Retry-After for {} s", after.as_secs());
            story.since = SystemTime::now();
            let (upstream, server, cause) = (&*self.upstream, &*self.url, story.cause.as_str());
            tracing::info!(upstream, server, cause, "server cools down");
        }
        self.note_trouble();
    }

    /// Whether it is left alone, for its failures or as it asked for.
    fn is_left_alone(&self, now: Instant, slow_start: Duration) -> bool {
        self.settle(now, slow_start);
        self.ejected_until.load(Relaxed) != 0 || self.cooling_until.load(Relaxed) != 0
    }

    /// What there is to tell.
    pub(super) fn view(&self, now: Instant, slow_start: Duration) -> HealthView {
        self.settle(now, slow_start);
        let story = self.story.lock();
        HealthView {
            state: self.state(),
            since: story.since,
            cause: story.cause.clone(),
            ejections: story.ejections,
        }
    }

    /// Called with the story locked, after each change.
    fn note_trouble(&self) {
        self.is_troubled
            .store(self.state() != HealthState::Up, Relaxed);
    }

    fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_millis() as u64 + 1
    }
}

/// A number of things, as a cause tells it.
fn counted(number: u32, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
