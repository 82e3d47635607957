//! The counters of a route: the cells that a request writes to when it ends.
//!
//! A request ends on the worker that served it, so that it writes to cells that
//! no other worker writes to. The lock around them is there for scrapes; a
//! worker finds it free nearly always.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Method;
use parking_lot::Mutex;

use super::{
    costs::{LimitCosts, UnknownCost},
    histogram::Histogram,
    tally::Tally,
};
use crate::{
    runtime::{LazyPerWorker, PerWorker},
    telemetry::Latch,
};

/// The counters of one route. `build` resolves them when it makes a table of
/// routes, and the route holds them.
#[derive(Debug)]
pub struct RouteMetrics {
    /// The counters of each worker, made with its first request.
    cells: LazyPerWorker<Mutex<RouteCells>>,
    /// Requests that began less those that ended, by worker: a request ends on
    /// the thread where it began.
    in_flight: PerWorker<AtomicI64>,
    /// Whether the log has a line about an exchange that was cut for its
    /// silence.
    told_of_silence: Latch,
    /// Whether the log has a line about a response whose cost cannot be read.
    told_of_encoding: Latch,
}

impl RouteMetrics {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            cells: LazyPerWorker::new(workers),
            in_flight: PerWorker::new(workers),
            told_of_silence: Latch::new(),
            told_of_encoding: Latch::new(),
        }
    }

    /// Counts several things of one request under one lock. `count` must do
    /// nothing else: a scrape waits for it.
    pub fn record<R>(&self, count: impl FnOnce(&mut RouteCells) -> R) -> R {
        count(&mut self.cells.mine().lock())
    }

    /// Counts request fields that were dropped: for an underscore in their
    /// names, and as claims of a peer that is not trusted.
    pub fn dropped(&self, underscore: usize, untrusted: usize) {
        self.record(|cells| {
            for (reason, fields) in [("underscore", underscore), ("untrusted", untrusted)] {
                if fields > 0 {
                    cells.dropped.add(reason, fields as u64);
                }
            }
        });
    }

    /// Counts a request that begins; [`ended`](Self::ended) must follow on the
    /// same thread.
    pub fn began(&self) {
        self.in_flight.mine().fetch_add(1, Relaxed);
    }

    /// Counts the end of a request that [`began`](Self::began).
    pub fn ended(&self) {
        self.in_flight.mine().fetch_sub(1, Relaxed);
    }

    /// Requests whose exchange has not ended, over all workers.
    pub fn in_flight(&self) -> u64 {
        let sum: i64 = self.in_flight.iter().map(|count| count.load(Relaxed)).sum();
        u64::try_from(sum).unwrap_or_default()
    }

    /// Whether this call is the first for the route. The first exchange that is
    /// cut for its silence gets a line in the log, as a hint that a timeout may
    /// be too short.
    pub fn is_first_silence(&self) -> bool {
        self.told_of_silence.raise()
    }

    /// Whether this call is the first for the route. The first response whose
    /// cost cannot be read because it is compressed gets a line in the log.
    pub fn is_first_encoding(&self) -> bool {
        self.told_of_encoding.raise()
    }

    /// Counts a copy of a request: with a response (`success`), without one
    /// (`failure`), or not sent because too many copies were in flight
    /// (`busy`), the request body was too long or broke off (`body`), or no
    /// permit was free (`cap`).
    pub fn mirrored(&self, outcome: &'static str) {
        self.record(|cells| cells.mirrored.add(outcome, 1));
    }

    /// Counts a retry by its outcome (`success`, `failure`, `client_gone`), or
    /// one that was not made and why (`budget`, `method`, `body`, `deadline`).
    pub fn retried(&self, outcome: &'static str) {
        self.record(|cells| cells.retries.add(outcome, 1));
    }

    /// The sum of the counters of all workers. Locks them one after the other.
    pub(super) fn total(&self) -> RouteCells {
        let mut total = RouteCells::default();
        for cells in self.cells.iter() {
            total.merge(&cells.lock());
        }
        total
    }

    /// Drops the decisions of limits other than those with the names in `kept`.
    pub(super) fn retain_limits(&self, kept: &HashSet<&str>) {
        for cells in self.cells.iter() {
            let mut cells = cells.lock();
            cells.decisions.retain(|(limit, _)| kept.contains(&**limit));
            cells.costs.0.retain(|(limit, _)| kept.contains(&**limit));
        }
    }
}

/// The statuses that gRPC defines (`google.rpc.Code`), as labels.
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
    /// The labels of all decisions, in the order of their cells.
    pub(super) const LABELS: [&str; 4] =
        ["allowed", "refused", "shadow_refused", "candidate_refused"];
}

/// The number of each decision of a limit, by [`Decision`].
type DecisionCounts = [u64; Decision::LABELS.len()];

/// One worker's counters of one route: plain integers, found by short searches,
/// without an allocation once warm.
#[derive(Debug, Default)]
pub struct RouteCells {
    /// Sorted by key. At most ten methods times 501 statuses, whatever clients
    /// and servers send.
    pub(super) requests: Vec<(RequestKey, u64)>,
    /// Where in `requests` the last request was counted: nearly always also the
    /// slot of the next one.
    last: usize,
    /// From the first byte of a request to the end of its exchange.
    pub(super) durations: Histogram,
    /// Responses of the gateway itself, by their reason.
    pub(super) refusals: Tally,
    /// gRPC calls that ended, by their status.
    pub(super) calls: Tally,
    /// The decisions of each limit of the route. [`super::Metrics::retain`]
    /// removes the entries of limits that are gone.
    pub(super) decisions: Vec<(Arc<str>, DecisionCounts)>,
    /// Tokens of limits whose costs are known in the end.
    pub(super) costs: LimitCosts,
    /// Costs that stayed unknown, by the reason.
    pub(super) unknown_costs: Tally,
    /// Retries, by their outcome or by the reason why none was made.
    pub(super) retries: Tally,
    /// Copies for another upstream, by their outcome.
    pub(super) mirrored: Tally,
    /// Request fields that were not passed on, by the reason.
    pub(super) dropped: Tally,
}

impl RouteCells {
    /// Counts an exchange that ended, with the status that the client got, or
    /// 499.
    pub fn request(&mut self, method: &Method, status: u16, duration: Duration) {
        self.add_requests(RequestKey::new(method, status), 1);
        self.durations.observe(duration);
    }

    /// Counts a gRPC call that ended. `None` for a request that was no call,
    /// `Some(None)` for a call without a status.
    pub fn call(&mut self, call: Option<Option<u8>>) {
        let Some(status) = call else { return };
        let label = match status {
            None => "none",
            Some(status) => GRPC_STATUSES
                .get(usize::from(status))
                .copied()
                .unwrap_or("other"),
        };
        self.calls.add(label, 1);
    }

    /// Counts a response of the gateway itself, by its reason.
    pub fn refusal(&mut self, reason: &'static str) {
        self.refusals.add(reason, 1);
    }

    /// Counts a decision of several limits about a request of this route.
    /// `names` are those of its limits, of which each has a bit in `deciding`,
    /// the first one the lowest.
    pub fn decisions(&mut self, names: &[Arc<str>], mut deciding: u64, decision: Decision) {
        while deciding != 0 {
            let index = deciding.trailing_zeros() as usize;
            deciding &= deciding - 1;
            let Some(limit) = names.get(index) else {
                return;
            };
            self.decisions_of(limit, index)[decision as usize] += 1;
        }
    }

    /// Counts the tokens of a request whose cost was known in the end, under the
    /// limit at `index` of `names`.
    pub fn cost(&mut self, names: &[Arc<str>], index: usize, reserved: u64, used: u64) {
        if let Some(limit) = names.get(index) {
            self.costs.add(limit, reserved, used);
        }
    }

    /// Counts a cost that stayed unknown.
    pub fn unknown_cost(&mut self, reason: UnknownCost) {
        self.unknown_costs.add(reason.label(), 1);
    }

    /// Adds the counters of another worker.
    fn merge(&mut self, other: &Self) {
        for &(key, count) in &other.requests {
            self.add_requests(key, count);
        }
        for (limit, counts) in &other.decisions {
            let slot = self.slot_of_limit(limit, usize::MAX);
            for (total, count) in self.decisions[slot].1.iter_mut().zip(counts) {
                *total += count;
            }
        }
        self.durations.add(&other.durations);
        self.refusals.merge(&other.refusals);
        self.calls.merge(&other.calls);
        self.costs.merge(&other.costs);
        self.unknown_costs.merge(&other.unknown_costs);
        self.retries.merge(&other.retries);
        self.mirrored.merge(&other.mirrored);
        self.dropped.merge(&other.dropped);
    }

    /// Adds to one counter of requests, and remembers its slot.
    fn add_requests(&mut self, key: RequestKey, count: u64) {
        match self.requests.get(self.last) {
            Some((last, _)) if *last == key => {}
            _ => self.last = self.slot_of(key),
        }
        self.requests[self.last].1 += count;
    }

    /// The index in `requests` of a counter, which is added if it is new.
    fn slot_of(&mut self, key: RequestKey) -> usize {
        match self.requests.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(slot) => slot,
            Err(slot) => {
                self.requests.insert(slot, (key, 0));
                slot
            }
        }
    }

    /// The counters of one limit, which is the one at `index` of its route.
    ///
    /// They are at the same index, unless a reload has moved the limit, or
    /// limits have decided for the first time in another order.
    #[inline]
    fn decisions_of(&mut self, limit: &Arc<str>, index: usize) -> &mut DecisionCounts {
        let slot = match self.decisions.get(index) {
            Some((known, _)) if Arc::ptr_eq(known, limit) => index,
            _ => self.slot_of_limit(limit, index),
        };
        &mut self.decisions[slot].1
    }

    /// The index in `decisions` of a limit, which is added if it is new. A
    /// route has at most 64 limits, so that a linear search is fast.
    ///
    /// The entry is moved to `index`, and has the very same string from then
    /// on, so that the next look finds it there.
    #[cold]
    fn slot_of_limit(&mut self, limit: &Arc<str>, index: usize) -> usize {
        let known = self.decisions.iter().position(|(known, _)| known == limit);
        let slot = known.unwrap_or_else(|| {
            self.decisions.push((Arc::clone(limit), Default::default()));
            self.decisions.len() - 1
        });
        self.decisions[slot].0 = Arc::clone(limit);
        if index >= self.decisions.len() {
            return slot;
        }
        self.decisions.swap(slot, index);
        index
    }
}

/// The labels `method` and `status` of a request, packed for comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestKey {
    /// An index into [`METHODS`].
    method: u8,
    /// 100 to 599, or 0 for a number outside of that range.
    status: u16,
}

impl RequestKey {
    /// Maps unknown methods and statuses to one value each.
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

    /// The label `method`.
    pub(super) fn method(self) -> &'static str {
        METHODS[usize::from(self.method)]
    }

    /// The label `status`; `None` is written as `other`, like an unknown
    /// method.
    pub(super) fn status(self) -> Option<u16> {
        (self.status != 0).then_some(self.status)
    }
}

/// The labels of methods: those of RFC 9110 and PATCH (RFC 5789). Clients may
/// invent methods, so all others are one.
const METHODS: [&str; 10] = [
    "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "PATCH", "TRACE", "other",
];

/// The index of a method in [`METHODS`].
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
