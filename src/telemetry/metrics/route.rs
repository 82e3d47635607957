//! The counters of a route: the cells that a request writes to when it ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Method;
use parking_lot::Mutex;

use super::{histogram::Histogram, tally::Tally};
use crate::{
    runtime::{LazyPerWorker, PerWorker},
    telemetry::Latch,
};

/// The counters of one route; resolved when a table of routes is built and held
/// by the route.
#[derive(Debug)]
pub struct RouteMetrics {
    cells: LazyPerWorker<Mutex<RouteCells>>,
    /// Begun less ended, by worker; a request ends where it began.
    in_flight: PerWorker<AtomicI64>,
    /// An exchange was cut for its silence, and the log said so.
    told_of_silence: Latch,
}

impl RouteMetrics {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            cells: LazyPerWorker::new(workers),
            in_flight: PerWorker::new(workers),
            told_of_silence: Latch::new(),
        }
    }

    /// Counts several things of one request under one lock. `count` must not do
    /// anything else: a scrape waits for it.
    pub fn record<R>(&self, count: impl FnOnce(&mut RouteCells) -> R) -> R {
        count(&mut self.cells.mine().lock())
    }

    /// A request begins; [`ended`](Self::ended) must follow on the same thread.
    pub fn began(&self) {
        self.in_flight.mine().fetch_add(1, Relaxed);
    }

    /// A request that began has ended.
    pub fn ended(&self) {
        self.in_flight.mine().fetch_sub(1, Relaxed);
    }

    /// Requests whose exchange has not ended.
    pub fn in_flight(&self) -> u64 {
        let sum: i64 = self.in_flight.iter().map(|count| count.load(Relaxed)).sum();
        u64::try_from(sum).unwrap_or_default()
    }

    /// Whether an exchange is the first of the route that is cut for its
    /// silence.
    pub fn is_first_silence(&self) -> bool {
        self.told_of_silence.raise()
    }

    /// A copy of a request was answered (`success`), or was not (`failure`), or
    /// was not sent: too many were on their way (`busy`), the request's body
    /// was too long or broke off (`body`), or no place was free (`cap`).
    pub fn mirrored(&self, outcome: &'static str) {
        self.record(|cells| cells.mirrored.add(outcome, 1));
    }

    /// A retry ended (`success`, `failure`, or `client_gone` when nobody waits
    /// for it any more), or was not made (`budget`, `method`, `body`,
    /// `deadline`).
    pub fn retried(&self, outcome: &'static str) {
        self.record(|cells| cells.retries.add(outcome, 1));
    }

    pub(super) fn total(&self) -> RouteCells {
        let mut total = RouteCells::default();
        self.cells
            .iter()
            .for_each(|cells| total.merge(&cells.lock()));
        total
    }

    pub(super) fn retain_limits(&self, kept: impl Fn(&str) -> bool) {
        self.cells
            .iter()
            .for_each(|cells| cells.lock().decisions.retain(|(limit, _)| kept(limit)));
    }
}

/// The statuses that gRPC knows.
const GRPC_STATUSES: [&str; 17] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
];

/// The decision of a limit about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It admitted the request.
    Allowed,
    /// It refused the request.
    Refused,
    /// It would have refused, but is in shadow mode.
    ShadowRefused,
    /// Its candidate numbers would have refused.
    CandidateRefused,
}

impl Decision {
    /// All of them with their label, in the order of their cells.
    pub(super) const LABELS: [&str; 4] =
        ["allowed", "refused", "shadow_refused", "candidate_refused"];
}

/// One worker's counters of one route: plain integers, found by short searches,
/// never allocated for once warm.
#[derive(Debug, Default)]
pub struct RouteCells {
    /// Sorted by key. At most ten methods times 501 statuses, whatever clients
    /// and servers send.
    pub(super) requests: Vec<(RequestKey, u64)>,
    /// Where in `requests` the last request was counted: nearly always also the
    /// place of the next.
    last: usize,
    pub(super) durations: Histogram,
    pub(super) refusals: Tally,
    pub(super) calls: Tally,
    /// One entry a limit of the route; see [`super::Metrics::retain`] for what
    /// a reload leaves behind.
    pub(super) decisions: Vec<(Arc<str>, [u64; Decision::LABELS.len()])>,
    pub(super) retries: Tally,
    pub(super) mirrored: Tally,
    /// Fields of requests that were not passed on.
    pub(super) dropped: Tally,
}

impl RouteCells {
    /// A request's exchange ended, however it did.
    pub fn request(&mut self, method: &Method, status: u16, duration: Duration) {
        self.add_requests(RequestKey::new(method, status), 1);
        self.durations.observe(duration);
    }

    /// A gRPC call ended, if it was one: with this status, or without any.
    pub fn call(&mut self, call: Option<Option<u8>>) {
        let Some(status) = call else { return };
        let word = status.map_or("none", |status| {
            GRPC_STATUSES
                .get(usize::from(status))
                .copied()
                .unwrap_or("other")
        });
        self.calls.add(word, 1);
    }

    /// The gateway itself answered, for `reason`.
    pub fn refusal(&mut self, reason: &'static str) {
        self.refusals.add(reason, 1);
    }

    /// `limit` decided on a request of this route.
    pub fn decision(&mut self, limit: &Arc<str>, decision: Decision) {
        self.decisions_of(limit)[decision as usize] += 1;
    }

    /// Fields of a request were dropped, for `reason`: `underscore` or
    /// `untrusted`.
    pub fn dropped(&mut self, reason: &'static str, fields: u64) {
        if fields > 0 {
            self.dropped.add(reason, fields);
        }
    }

    fn merge(&mut self, other: &Self) {
        for &(key, count) in &other.requests {
            self.add_requests(key, count);
        }
        for (limit, counts) in &other.decisions {
            self.decisions_of(limit)
                .iter_mut()
                .zip(counts)
                .for_each(|(total, count)| *total += count);
        }
        self.durations.add(&other.durations);
        self.refusals.merge(&other.refusals);
        self.calls.merge(&other.calls);
        self.retries.merge(&other.retries);
        self.mirrored.merge(&other.mirrored);
        self.dropped.merge(&other.dropped);
    }

    fn add_requests(&mut self, key: RequestKey, count: u64) {
        if self
            .requests
            .get(self.last)
            .is_none_or(|(last, _)| *last != key)
        {
            self.last = self
                .requests
                .binary_search_by_key(&key, |(key, _)| *key)
                .unwrap_or_else(|place| {
                    self.requests.insert(place, (key, 0));
                    place
                });
        }
        self.requests[self.last].1 += count;
    }

    fn decisions_of(&mut self, limit: &Arc<str>) -> &mut [u64; Decision::LABELS.len()] {
        // Nearly always the very same string; after a reload it is an equal
        // one.
        let same = |known: &Arc<str>| Arc::ptr_eq(known, limit) || known == limit;
        let place = self
            .decisions
            .iter()
            .position(|(known, _)| same(known))
            .unwrap_or_else(|| {
                self.decisions.push((Arc::clone(limit), Default::default()));
                self.decisions.len() - 1
            });
        &mut self.decisions[place].1
    }
}

/// Method and status of a request: what its series is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestKey {
    method: u8,
    /// 0 for what is no status of HTTP.
    status: u16,
}

impl RequestKey {
    fn new(method: &Method, status: u16) -> Self {
        let status = if (100..=599).contains(&status) {
            status
        } else {
            0
        };
        Self {
            method: method_index(method),
            status,
        }
    }

    pub(super) fn method(self) -> &'static str {
        METHODS[usize::from(self.method)]
    }

    /// As a label; `None` is written as `other`, like an unknown method.
    pub(super) fn status(self) -> Option<u16> {
        (self.status != 0).then_some(self.status)
    }
}

/// Labels of methods. Clients may invent methods, so all others are one.
const METHODS: [&str; 10] = [
    "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "PATCH", "TRACE", "other",
];

fn method_index(method: &Method) -> u8 {
    match *method {
        Method::GET => 0,
        Method::POST => 1,
        Method::PUT => 2,
        Method::DELETE => 3,
        Method::HEAD => 4,
        Method::OPTIONS => 5,
        Method::CONNECT => 6,
        Method::PATCH => 7,
        Method::TRACE => 8,
        _ => 9,
    }
}
