//! Ejection by failures: a server that fails too often in a row gets no
//! requests for a while, each time for longer.
//!
//! This is Envoy's outlier detection by consecutive failures, with three
//! differences that matter for small sets:
//!
//! * Of two servers one may be ejected whatever `max_percent` says, and the
//!   last healthy one never is.
//! * When the last healthy server fails as well, all ejected servers come back:
//!   nothing is known that makes them worse.
//! * A failure counts only if it stands out: a page that fails on two servers
//!   is held against neither.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    memory::Run,
    pages::{FailedPages, Page, Provoked},
    state::Health,
    view::{Failing, Fitness, counted},
};
use crate::{
    call::Exchange, error::ConnectFailure, policy::Ejection, upstream::lookups::request_a_look,
};

/// The longest time that a server is avoided because it asks for it: it cannot
/// know further ahead when it will recover, and a mistake must not take it out
/// for a day.
const LONGEST_COOL_DOWN: Duration = Duration::from_secs(60);

/// Decides on ejections and cool-downs of the servers of one upstream.
#[derive(Debug)]
pub(in crate::upstream) struct Ejector {
    /// The numbers of the configuration.
    policy: Ejection,
    /// The time over which a server that comes back gets its share.
    slow_start: Duration,
    /// The health of each server, by its index in the balancer.
    servers: Vec<Arc<Health>>,
    /// Those that have a weight. Others get no requests, so that they neither
    /// carry a part of the load nor stay as the last one.
    weighted: Vec<Arc<Health>>,
    /// Pages that have failed recently.
    pages: Mutex<FailedPages>,
    /// Held while a decision is made: two concurrent decisions must not each
    /// take the other's server for the one that stays.
    deciding: Mutex<()>,
}

impl Ejector {
    /// Decides for `servers`, whose indices are those of the balancer. A server
    /// of weight 0 is never counted.
    pub(in crate::upstream) fn new(
        policy: Ejection,
        slow_start: Duration,
        servers: impl Iterator<Item = (Arc<Health>, u32)> + Clone,
    ) -> Self {
        let weighted = servers.clone().filter(|(_, weight)| *weight > 0);
        Self {
            policy,
            slow_start,
            weighted: weighted.map(|(health, _)| health).collect(),
            servers: servers.map(|(health, _)| health).collect(),
            pages: Mutex::default(),
            deciding: Mutex::default(),
        }
    }

    /// The page that a request is for.
    pub(in crate::upstream) fn page_of(&self, call: &Exchange) -> Page {
        self.pages.lock().page_of(call)
    }

    /// Counts a failure of the server with this `index`; `page` is `None` if it
    /// failed before any page was requested. Returns whether the failure speaks
    /// against the server: not if the policy does not list it, or if the page
    /// fails on others as well.
    pub(in crate::upstream) fn failed(
        &self,
        index: usize,
        failing: Failing,
        page: Option<Page>,
        now: Instant,
    ) -> bool {
        if !failing.is_one_of(&self.policy.on) {
            return false;
        }
        let Some(server) = self.servers.get(index).filter(|_| self.weighted.len() > 1) else {
            return true;
        };
        let run = server.count_failure();
        if page.is_some_and(|page| self.is_shared(page, index, run, 1, now)) {
            return false;
        }
        if run.failures >= self.policy.consecutive_failures.get() {
            // A new run begins whatever is decided, so that the next failure
            // need not ask again.
            server.end_run();
            self.decide(server, run, failing, now);
        }
        true
    }

    /// Whether `page`, which fails on the server with this `index`, fails on
    /// others as well. Everything that it has caused there and here is taken
    /// back then.
    fn is_shared(&self, page: Page, index: usize, run: Run, counted: u32, now: Instant) -> bool {
        let blames = self
            .pages
            .lock()
            .failed(page, index, run.number, counted, now);
        let Some(blames) = blames else {
            return false;
        };
        let _deciding = self.deciding.lock();
        for blame in blames {
            self.servers[blame.server].take_back(page, blame, now, self.slow_start);
        }
        true
    }

    /// Decides whether a server is ejected for this run of failures, the last
    /// of which was `failing`.
    ///
    /// Decisions are made one at a time, under `deciding`, so that two workers
    /// cannot both eject the last server but one. Nothing is decided about a
    /// server that is not healthy any more.
    fn decide(&self, server: &Health, run: Run, failing: Failing, now: Instant) {
        let _deciding = self.deciding.lock();
        let is_healthy =
            |server: &Health| server.assess(now, self.slow_start).fitness == Fitness::Healthy;
        if !is_healthy(server) {
            return;
        }
        let healthy = self.weighted.iter().filter(|other| is_healthy(other));
        if healthy.count() < 2 {
            self.bring_back(now);
        } else if self.avoided(now).count() < self.most_avoided() {
            let failures = counted(run.failures, "failure");
            let is_unreachable =
                matches!(failing, Failing::Connect(cause) if cause != ConnectFailure::NoHttp2);
            let cause = format!("{failures} in a row, the last: {failing}");
            server.eject(&self.policy, run, is_unreachable, &cause, now);
        }
    }

    /// Has the server with this `index` cool down for `after`, at most for a
    /// minute, as it asked for in its response to the request `by`. `is_failure`
    /// says that the response was counted as a failure, which speaks against the
    /// server.
    ///
    /// It does not if other servers send such a response for the same page, if
    /// too many servers are avoided already, or if another one cools down for a
    /// request of the same client: it may then be that client that is served
    /// so.
    pub(in crate::upstream) fn cool_down(
        &self,
        index: usize,
        after: Duration,
        by: Provoked,
        is_failure: bool,
        now: Instant,
    ) {
        let Some(server) = self.servers.get(index) else {
            return;
        };
        let page = if is_failure {
            by.page
        } else {
            by.page.that_asks()
        };
        let by = Provoked { page, ..by };
        if !is_failure && self.is_shared(page, index, server.run(), 0, now) {
            return;
        }
        let _deciding = self.deciding.lock();
        let is_by_same_client = |other: &Arc<Health>| {
            let cooled_by = other.history().cooled_by;
            cooled_by.is_some_and(|cooled_by| cooled_by.is_same_client(&by))
        };
        let is_allowed = || {
            self.avoided(now).count() < self.most_avoided()
                && !self.avoided(now).any(is_by_same_client)
        };
        if server.is_avoided(now, self.slow_start) || is_allowed() {
            server.cool_down(after.min(LONGEST_COOL_DOWN), by, now, self.slow_start);
        }
    }

    /// Servers that are ejected or cooling down.
    fn avoided(&self, now: Instant) -> impl Iterator<Item = &Arc<Health>> {
        self.weighted
            .iter()
            .filter(move |server| server.is_avoided(now, self.slow_start))
    }

    /// The most servers that may be avoided at once.
    ///
    /// At least one if the percentage is above 0, so that ejection also works
    /// with two servers.
    fn most_avoided(&self) -> usize {
        match usize::from(self.policy.max_percent) {
            0 => 0,
            percent => (self.weighted.len() * percent / 100).max(1),
        }
    }

    /// Ends all ejections.
    ///
    /// A failure of every server is more likely one of the requests, or of the
    /// network, than of each server by itself.
    fn bring_back(&self, now: Instant) {
        for server in &self.servers {
            let mut history = server.history();
            if server.is_ejected() && history.ejection.may_end(now) {
                let cause = "the last server that was left fails as well";
                server.revoke_ejection(&mut history, cause, now, self.slow_start);
                server.note_trouble();
            }
        }
    }
}

impl Health {
    /// Ejects the server for a run of failures. `is_unreachable` says that
    /// connections could not be made.
    fn eject(&self, policy: &Ejection, run: Run, is_unreachable: bool, cause: &str, now: Instant) {
        let mut history = self.history();
        let time = history.ejection.begin(policy, run.number, now);
        history.ejection.is_unreachable = is_unreachable;
        self.begin_ejection(&mut history, time, cause, now);
        if is_unreachable {
            // The control thread then tries to connect to the server.
            request_a_look();
        }
    }

    /// Whether the server is ejected because connections to it could not be
    /// made. A connection that can be made ends that.
    pub(in crate::upstream) fn is_unreachable(&self) -> bool {
        self.is_ejected() && self.history().ejection.is_unreachable
    }

    /// Notes that a connection was made, which ends an ejection for want of
    /// one.
    pub(super) fn was_reached(&self, now: Instant, slow_start: Duration) {
        if self.is_unreachable() {
            let mut history = self.history();
            self.end_ejection(&mut history, "it takes connections again", now, slow_start);
            self.note_trouble();
        }
    }
}

#[cfg(test)]
impl Health {
    /// Has the server ask to be left alone for `after`.
    pub(in crate::upstream) fn test_cooling(&self, after: Duration) {
        let by = Provoked {
            page: Page::test(0),
            client: [127, 0, 0, 1].into(),
            status: http::StatusCode::SERVICE_UNAVAILABLE,
        };
        self.cool_down(after, by, Instant::now(), Duration::ZERO);
    }
}
