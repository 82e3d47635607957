//! Passive ejection: a server that fails too often in a row is left alone for a while, each time for longer.
//!
//! As Envoy's outlier detection by consecutive failures, with what goes wrong there in small sets put right: of two
//! servers one can be ejected, and the last one never is. When the last one fails as well, those that were ejected come
//! back: nothing is known that would make them worse.

use std::{
    num::NonZeroU32,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Failing, Health, HealthState, Standing, counted};

/// When a server is ejected, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EjectionSettings {
    /// Failures in a row.
    pub consecutive_failures: NonZeroU32,
    /// The first time.
    pub base: Duration,
    /// The longest time.
    pub max: Duration,
    /// Most servers at once, 0 to 100; but one of two or more may always be, unless it is 0.
    pub max_percent: u8,
}

/// An ejection is not ended early before that, so that an outage of all does not fill the log.
const SHORTEST: Duration = Duration::from_secs(1);

/// What is remembered from one ejection to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// How often the time is doubled.
    level: u32,
    begun: Option<Instant>,
    ended: Option<Instant>,
}

impl Memory {
    /// The time for which a server is ejected now. For each `base` that it was well, one doubling is forgotten.
    fn next(&mut self, settings: &EjectionSettings, now: Instant) -> Duration {
        if let Some(ended) = self.ended {
            let well = now.saturating_duration_since(ended).as_millis() / settings.base.as_millis().max(1);
            self.level = self.level.saturating_sub(u32::try_from(well).unwrap_or(u32::MAX));
        }
        let time = settings.base.saturating_mul(1 << self.level.min(30)).min(settings.max);
        self.level += 1;
        self.begun = Some(now);
        time
    }

    pub(super) fn ended(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    fn has_lasted(&self, now: Instant) -> bool {
        self.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= SHORTEST)
    }
}

/// Decides on ejections in one set of servers.
#[derive(Debug)]
pub(in crate::upstream) struct Ejector {
    settings: EjectionSettings,
    slow_start: Duration,
    servers: Vec<Arc<Health>>,
    /// One decision at a time: two must not each take the other for the one that stays.
    deciding: Mutex<()>,
}

impl Ejector {
    pub(in crate::upstream) fn new(
        settings: EjectionSettings,
        slow_start: Duration,
        servers: Vec<Arc<Health>>,
    ) -> Self {
        Self { settings, slow_start, servers, deciding: Mutex::default() }
    }

    /// The server with this index failed.
    pub(in crate::upstream) fn failed(&self, index: usize, what: Failing, now: Instant) {
        let Some(server) = self.servers.get(index).filter(|_| self.servers.len() > 1) else { return };
        let in_a_row = server.failures.fetch_add(1, Relaxed) + 1;
        if in_a_row >= self.settings.consecutive_failures.get() {
            // Counted anew, whatever is decided: not every further failure has to ask again.
            server.failures.store(0, Relaxed);
            self.decide(server, in_a_row, what, now);
        }
    }

    fn decide(&self, server: &Arc<Health>, in_a_row: u32, what: Failing, now: Instant) {
        let _one_at_a_time = self.deciding.lock();
        if server.look(now, self.slow_start).standing != Standing::Fit {
            return;
        }
        let is_fit = |other: &&Arc<Health>| other.look(now, self.slow_start).standing == Standing::Fit;
        if self.servers.iter().filter(is_fit).count() < 2 {
            self.bring_back(now);
        } else if self.ejected() < self.most() {
            let failures = counted(in_a_row, "failure");
            server.eject(&self.settings, &format!("{failures} in a row, the last: {what}"), now);
        }
    }

    fn ejected(&self) -> usize {
        self.servers.iter().filter(|server| server.ejected_until.load(Relaxed) != 0).count()
    }

    fn most(&self) -> usize {
        match usize::from(self.settings.max_percent) {
            0 => 0,
            percent => (self.servers.len() * percent / 100).max(1),
        }
    }

    /// Ends all ejections.
    fn bring_back(&self, now: Instant) {
        for server in &self.servers {
            let mut story = server.story.lock();
            if server.ejected_until.load(Relaxed) != 0 && story.ejector.has_lasted(now) {
                server.end_ejection(&mut story, "the last server that was left fails as well", now, self.slow_start);
                server.note_trouble();
            }
        }
    }
}

impl Health {
    fn eject(&self, settings: &EjectionSettings, cause: &str, now: Instant) {
        let mut story = self.story.lock();
        let time = story.ejector.next(settings, now);
        self.ejected_until.store(self.millis(now + time), Relaxed);
        self.slow_since.store(0, Relaxed);
        story.ejections += 1;
        if self.state() == HealthState::Ejected {
            cause.clone_into(&mut story.cause);
            story.since = SystemTime::now();
        }
        self.note_trouble();
        let (upstream, server) = (&*self.upstream, &*self.url);
        tracing::warn!(upstream, server, cause, ?time, "server ejected");
    }
}
