//! Passive ejection: a server that fails too often in a row is left alone for a while, each time for longer.
//!
//! As Envoy's outlier detection by consecutive failures, with what goes wrong there in small sets put right: of two
//! servers one can be ejected, and the last one never is. When the last one fails as well, those that were ejected come
//! back: nothing is known that would make them worse. And a failure counts only if it stands out: a page that fails on
//! two servers says nothing of either.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Failing, Health, HealthState, Standing, Story, counted,
    pages::{Page, Pages},
};
use crate::{
    call::Exchange, duration, error::ConnectFailure, policy::Ejection,
    upstream::address::want_a_look,
};

/// The request whose answer asked for a cool-down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) struct Provoked {
    pub(in crate::upstream) page: Page,
    pub(in crate::upstream) client: IpAddr,
}

impl Provoked {
    /// Whether both are of one client; of IPv6, who has one address has its network of 64 bits.
    fn is_same_client(&self, other: &Self) -> bool {
        match (self.client, other.client) {
            (IpAddr::V6(one), IpAddr::V6(two)) => one.segments()[..4] == two.segments()[..4],
            (one, two) => one == two,
        }
    }
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
    /// The row of failures that led to the last ejection.
    row: u32,
    /// It was for connections that could not be made.
    is_unreachable: bool,
    /// `level` and `ended` as they were before it.
    before: (u32, Option<Instant>),
}

impl Memory {
    /// The time for which a server is ejected now. For each `base` that it was well, one doubling is forgotten.
    fn next(&mut self, settings: &Ejection, row: u32, now: Instant) -> Duration {
        self.row = row;
        self.before = (self.level, self.ended);
        if let Some(ended) = self.ended {
            let well =
                now.saturating_duration_since(ended).as_millis() / settings.base.as_millis().max(1);
            self.level = self
                .level
                .saturating_sub(u32::try_from(well).unwrap_or(u32::MAX));
        }
        let time = settings
            .base
            .saturating_mul(1 << self.level.min(30))
            .min(settings.max);
        self.level += 1;
        self.begun = Some(now);
        time
    }

    pub(super) fn ended(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// Whether the last ejection was for this row of failures.
    pub(super) fn is_for(&self, row: u32) -> bool {
        self.begun.is_some() && self.row == row
    }

    fn has_lasted(&self, now: Instant) -> bool {
        self.begun
            .is_none_or(|begun| now.saturating_duration_since(begun) >= SHORTEST)
    }
}

/// Decides on ejections in one set of servers.
#[derive(Debug)]
pub(in crate::upstream) struct Ejector {
    settings: Ejection,
    slow_start: Duration,
    servers: Vec<Arc<Health>>,
    pages: Mutex<Pages>,
    /// One decision at a time: two must not each take the other for the one that stays.
    deciding: Mutex<()>,
}

impl Ejector {
    pub(in crate::upstream) fn new(
        settings: Ejection,
        slow_start: Duration,
        servers: Vec<Arc<Health>>,
    ) -> Self {
        Self {
            settings,
            slow_start,
            servers,
            pages: Mutex::default(),
            deciding: Mutex::default(),
        }
    }

    /// The page that a request asks for.
    pub(in crate::upstream) fn page_of(&self, call: &Exchange) -> Page {
        self.pages.lock().page_of(call)
    }

    /// The server with this index failed: with this page, or before any page was asked for. Tells whether that speaks
    /// against the server, or fails on others too.
    pub(in crate::upstream) fn failed(
        &self,
        index: usize,
        what: Failing,
        page: Option<Page>,
        now: Instant,
    ) -> bool {
        let Some(server) = self.servers.get(index).filter(|_| self.servers.len() > 1) else {
            return true;
        };
        let (in_a_row, row) = server.fail();
        let alike =
            page.and_then(|page| Some((page, self.pages.lock().failed(page, index, row, now)?)));
        if let Some((page, blames)) = alike {
            let _one_at_a_time = self.deciding.lock();
            for blame in blames {
                self.servers[blame.server].take_back(page, blame, now, self.slow_start);
            }
            return false;
        }
        if in_a_row >= self.settings.consecutive_failures.get() {
            // Counted anew, whatever is decided: not every further failure has to ask again.
            server.end_row();
            self.decide(server, in_a_row, row, what, now);
        }
        true
    }

    fn decide(&self, server: &Arc<Health>, in_a_row: u32, row: u32, what: Failing, now: Instant) {
        let _one_at_a_time = self.deciding.lock();
        if server.look(now, self.slow_start).standing != Standing::Fit {
            return;
        }
        let is_fit =
            |other: &&Arc<Health>| other.look(now, self.slow_start).standing == Standing::Fit;
        if self.servers.iter().filter(is_fit).count() < 2 {
            self.bring_back(now);
        } else if self.left_alone(now).count() < self.most() {
            let failures = counted(in_a_row, "failure");
            let is_unreachable =
                matches!(what, Failing::Connect(cause) if cause != ConnectFailure::NoHttp2);
            server.eject(
                &self.settings,
                row,
                is_unreachable,
                &format!("{failures} in a row, the last: {what}"),
                now,
            );
        }
    }

    /// The server with this index asks to be left alone for `after`, in its answer to this request. It is, unless too many
    /// are already, or another one is for a request of the same client: then it may be the client that is served so.
    pub(in crate::upstream) fn cool_down(
        &self,
        index: usize,
        after: Duration,
        by: Provoked,
        now: Instant,
    ) {
        let Some(server) = self.servers.get(index) else {
            return;
        };
        let _one_at_a_time = self.deciding.lock();
        let is_same_client = |other: &&Arc<Health>| {
            other
                .story
                .lock()
                .cooled_by
                .is_some_and(|cooled_by| cooled_by.is_same_client(&by))
        };
        let is_allowed = || {
            self.left_alone(now).count() < self.most()
                && !self.left_alone(now).any(|other| is_same_client(&other))
        };
        if server.is_left_alone(now, self.slow_start) || is_allowed() {
            server.cool_down(after, by, now, self.slow_start);
        }
    }

    /// Servers that are ejected or cool down.
    fn left_alone(&self, now: Instant) -> impl Iterator<Item = &Arc<Health>> {
        self.servers
            .iter()
            .filter(move |server| server.is_left_alone(now, self.slow_start))
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
                let cause = "the last server that was left fails as well";
                server.revoke_ejection(&mut story, cause, now, self.slow_start);
                server.note_trouble();
            }
        }
    }
}

impl Health {
    fn eject(
        &self,
        settings: &Ejection,
        row: u32,
        is_unreachable: bool,
        cause: &str,
        now: Instant,
    ) {
        let mut story = self.story.lock();
        let time = story.ejector.next(settings, row, now);
        story.ejector.is_unreachable = is_unreachable;
        self.ejected_until.store(self.millis(now + time), Relaxed);
        self.slow_since.store(0, Relaxed);
        story.ejections += 1;
        if self.state() == HealthState::Ejected {
            cause.clone_into(&mut story.cause);
            story.since = SystemTime::now();
        }
        self.note_trouble();
        if is_unreachable {
            // It is tried whether a connection can be made.
            want_a_look();
        }
        let (upstream, server) = (&*self.upstream, &*self.url);
        tracing::warn!(upstream, server, cause, time = %duration::text(time), "server ejected");
    }

    /// Whether it is ejected as no connection to it could be made: then one that can be made ends that.
    pub(in crate::upstream) fn is_out_of_reach(&self) -> bool {
        self.ejected_until.load(Relaxed) != 0 && self.story.lock().ejector.is_unreachable
    }

    /// A connection to it was made: if it is ejected for want of one, it gives its place among the ejected up.
    pub(in crate::upstream) fn was_reached(&self, now: Instant, slow_start: Duration) {
        if self.is_out_of_reach() {
            let mut story = self.story.lock();
            self.end_ejection(&mut story, "it takes connections again", now, slow_start);
            self.note_trouble();
        }
    }

    /// Ends an ejection that says nothing of the server: the next one is as long as if it had not been.
    pub(super) fn revoke_ejection(
        &self,
        story: &mut Story,
        cause: &str,
        now: Instant,
        slow_start: Duration,
    ) {
        self.end_ejection(story, cause, now, slow_start);
        (story.ejector.level, story.ejector.ended) = story.ejector.before;
    }
}

#[cfg(test)]
impl Health {
    /// It asks to be left alone for so long.
    pub(in crate::upstream) fn test_cooling(&self, after: Duration) {
        let by = Provoked {
            page: Page::test(0),
            client: [127, 0, 0, 1].into(),
        };
        self.cool_down(after, by, Instant::now(), Duration::ZERO);
    }
}
