//! Metrics: each worker counts in cells of its own, and a scrape sums them.
//!
//! A route, an upstream or a listener gets its handle once, when its table is
//! built, and counts through that handle: nothing is looked up by name while a
//! request is served. A reload finds handles again by name, so that counters
//! continue.
//!
//! * Counters and histograms are cells of workers (`route`, `peers`, `store`).
//! * Gauges are read from the running parts when somebody scrapes
//!   ([`Observed`]).
//! * `render` writes the families in a fixed order, `exposition` the lines.
//!
//! # Bounds
//!
//! No label has a value that a client can choose: methods that HTTP does not
//! define are `other`, and so are statuses outside of 100 to 599. So the number
//! of series is bounded by the configuration, and [`Metrics::retain`] drops
//! those of items that a reload has removed.
//!
//! # Why not a library
//!
//! The usual crates find a counter by hashing its labels, or share one atomic
//! between all cores. Here a request takes one lock that only its own worker
//! takes, and writes plain integers behind it.
//!
//! ```
//! use tidegate::telemetry::{Metrics, metrics::{Format, Observed}};
//!
//! let metrics = Metrics::new(1);
//! metrics.route("orders").record(|cells| cells.refusal("rate_limited"));
//! let text = metrics.render(Format::Prometheus, &Observed::default());
//! assert!(text.contains(r#"tidegate_refusals_total{route="orders",reason="rate_limited"} 1"#));
//! ```

mod costs;
mod exposition;
mod histogram;
mod observed;
mod peers;
mod process;
mod render;
mod route;
mod store;
mod tally;
#[cfg(test)]
mod tests;
mod traces;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;

use self::tally::Tally;
pub use self::{
    costs::UnknownCost,
    exposition::Format,
    observed::{
        BanGauges, CapGauges, DomainGauges, IdentityCounts, KeySourceGauges, LimitGauges,
        ListenerGauges, Observed, OrderGauges, RouteGauges, SignatureGauges, UpstreamGauges,
        WaitGauges,
    },
    peers::{ListenerMetrics, UpstreamMetrics},
    route::{Decision, RouteCells, RouteMetrics},
    store::StoreMetrics,
    traces::TraceMetrics,
};
use super::Dropped;

/// All counters of the process. One value, which `app` makes at the start and
/// every part shares.
#[derive(Debug)]
pub struct Metrics {
    /// Worker threads, for which new handles have cells.
    workers: usize,
    routes: Handles<RouteMetrics>,
    upstreams: Handles<UpstreamMetrics>,
    listeners: Handles<ListenerMetrics>,
    /// Requests that no route matched: the route `-`.
    unmatched: Arc<RouteMetrics>,
    store: Arc<StoreMetrics>,
    traces: Arc<TraceMetrics>,
    reloads: Mutex<Reloads>,
    /// Writes of buckets, by outcome.
    saves: Mutex<Tally>,
    /// Requests whose task panicked.
    panics: AtomicU64,
    /// Lines of both logs that were dropped.
    dropped: Arc<Dropped>,
}

/// Handles by name, in the order in which they are written. Only reloads and
/// scrapes lock it.
type Handles<T> = Mutex<BTreeMap<Arc<str>, Arc<T>>>;

impl Metrics {
    /// Metrics without counters. Each of `workers` has cells of its own, and
    /// all other threads share one more set.
    pub fn new(workers: usize) -> Arc<Self> {
        let unmatched = Arc::new(RouteMetrics::new(workers));
        Arc::new(Self {
            workers,
            routes: Mutex::new(BTreeMap::from([(UNMATCHED.into(), Arc::clone(&unmatched))])),
            upstreams: Handles::default(),
            listeners: Handles::default(),
            unmatched,
            store: Arc::new(StoreMetrics::new(workers)),
            traces: Arc::default(),
            reloads: Mutex::default(),
            saves: Mutex::default(),
            panics: AtomicU64::new(0),
            dropped: Arc::default(),
        })
    }

    /// The counters of the route `name`, the same ones as long as they are
    /// retained.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        find_or_make(&self.routes, name, || RouteMetrics::new(self.workers))
    }

    /// Counters that no scrape shows, for exchanges that are no request of a
    /// client.
    pub fn unseen_route(&self) -> Arc<RouteMetrics> {
        Arc::new(RouteMetrics::new(self.workers))
    }

    /// The counters of requests that no route matched.
    pub fn unmatched(&self) -> Arc<RouteMetrics> {
        Arc::clone(&self.unmatched)
    }

    /// The counters of the upstream `name`, the same ones as long as they are
    /// retained.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        find_or_make(&self.upstreams, name, || UpstreamMetrics::new(self.workers))
    }

    /// The counters of the listener `name`, the same ones as long as they are
    /// retained.
    pub fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        find_or_make(&self.listeners, name, ListenerMetrics::default)
    }

    /// The counters of the store that gateways share.
    pub fn store(&self) -> Arc<StoreMetrics> {
        Arc::clone(&self.store)
    }

    /// The counters of spans.
    pub fn traces(&self) -> Arc<TraceMetrics> {
        Arc::clone(&self.traces)
    }

    /// Drops the series of everything that a reload removed, so that series do
    /// not pile up over reloads. Requests that still run on the old table
    /// continue to count through their handles, which no scrape shows.
    pub fn retain(&self, kept: &KeptNames<'_>) {
        self.routes
            .lock()
            .retain(|name, _| &**name == UNMATCHED || kept.routes.contains(&**name));
        self.upstreams
            .lock()
            .retain(|name, _| kept.upstreams.contains(&**name));
        self.listeners
            .lock()
            .retain(|name, _| kept.listeners.contains(&**name));
        for (_, route) in entries(&self.routes) {
            route.retain_limits(&kept.limits);
        }
    }

    /// Records that the first configuration has served since `at`, and took
    /// `took` to build. It is not counted as a reload.
    pub fn loaded(&self, at: SystemTime, took: Duration) {
        self.reloads.lock().succeeded(at, took);
    }

    /// Counts a reload that ended at `at` after `took`.
    pub fn reloaded(&self, outcome: Reload, at: SystemTime, took: Duration) {
        let mut reloads = self.reloads.lock();
        reloads.outcomes.add(outcome.label(), 1);
        match outcome {
            Reload::Failure => reloads.failed(took),
            Reload::Success | Reload::Unchanged => reloads.succeeded(at, took),
        }
    }

    /// Counts a write of the debts of a limit with `persist` to its file.
    pub fn saved(&self, is_written: bool) {
        self.saves
            .lock()
            .add(if is_written { "success" } else { "failure" }, 1);
    }

    /// Counts a panic in the task of a request. It costs the connection of that
    /// request and not the process.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// The count of dropped lines, for the access log to add to.
    pub fn dropped(&self) -> Arc<Dropped> {
        Arc::clone(&self.dropped)
    }
}

/// The names of the items that are left after a reload; see
/// [`Metrics::retain`].
#[derive(Debug, Clone, Default)]
pub struct KeptNames<'a> {
    /// Names of routes.
    pub routes: HashSet<&'a str>,
    /// Names under which limits count decisions: their own and those of their
    /// tiers.
    pub limits: HashSet<&'a str>,
    /// Names of upstreams.
    pub upstreams: HashSet<&'a str>,
    /// Names of listeners.
    pub listeners: HashSet<&'a str>,
}

/// The outcome of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The new configuration serves.
    Success,
    /// The new configuration is wrong or could not be built; the old one still
    /// serves.
    Failure,
    /// The new configuration equals the one that serves.
    Unchanged,
}

impl Reload {
    /// The label `outcome` of `tidegate_config_reloads_total`.
    fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Unchanged => "unchanged",
        }
    }
}

/// The name under which requests are counted that no route matched.
const UNMATCHED: &str = "-";

/// The reloads so far, and the last one.
#[derive(Debug, Default)]
struct Reloads {
    outcomes: Tally,
    /// `None` before the first configuration was loaded.
    last: Option<LastReload>,
    /// The end of the last successful load, since the Unix epoch.
    last_success: Option<Duration>,
}

/// The last load or reload.
#[derive(Debug, Clone, Copy)]
struct LastReload {
    successful: bool,
    /// From the reading of the file to the new table, or to the error.
    took: Duration,
}

impl Reloads {
    fn succeeded(&mut self, at: SystemTime, took: Duration) {
        self.last = Some(LastReload {
            successful: true,
            took,
        });
        self.last_success = at.duration_since(SystemTime::UNIX_EPOCH).ok();
    }

    fn failed(&mut self, took: Duration) {
        self.last = Some(LastReload {
            successful: false,
            took,
        });
    }
}

/// The handle of this name, made if there is none.
fn find_or_make<T>(named: &Handles<T>, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
    let mut named = named.lock();
    if let Some(known) = named.get(name) {
        return Arc::clone(known);
    }
    let made = Arc::new(make());
    named.insert(name.into(), Arc::clone(&made));
    made
}

/// A copy of all handles, so that a scrape holds up no reload.
fn entries<T>(named: &Handles<T>) -> Vec<(Arc<str>, Arc<T>)> {
    let mut entries = Vec::new();
    for (name, handle) in &*named.lock() {
        entries.push((Arc::clone(name), Arc::clone(handle)));
    }
    entries
}
