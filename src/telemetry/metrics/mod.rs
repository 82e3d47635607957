//! Metrics: each worker counts in cells of its own, and a scrape sums them.
//!
//! A route, an upstream or a listener gets its handle once, when its table is
//! built, and counts through that handle: nothing is looked up by name while a
//! request is served. A reload finds handles again by name, so that counters go
//! on.
//!
//! ```
//! use tidegate::telemetry::{Metrics, metrics::{Format, Observed}};
//!
//! let metrics = Metrics::new(1);
//! metrics.route("orders").record(|cells| cells.refusal("rate_limited"));
//! let text = metrics.render(Format::Prometheus, &Observed::default());
//! assert!(text.contains(r#"tidegate_refusals_total{route="orders",reason="rate_limited"} 1"#));
//! ```

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
    exposition::Format,
    observed::{CapGauges, LimitGauges, ListenerGauges, Observed, RouteGauges, UpstreamGauges},
    peers::{ListenerMetrics, UpstreamMetrics},
    route::{Decision, RouteCells, RouteMetrics},
    store::StoreMetrics,
};
use super::Dropped;

/// All counters of the process.
#[derive(Debug)]
pub struct Metrics {
    workers: usize,
    routes: Named<RouteMetrics>,
    upstreams: Named<UpstreamMetrics>,
    listeners: Named<ListenerMetrics>,
    /// Requests that no route matched: the route `-`.
    unmatched: Arc<RouteMetrics>,
    store: Arc<StoreMetrics>,
    reloads: Mutex<Reloads>,
    /// Writes of buckets, by outcome.
    saves: Mutex<Tally>,
    panics: AtomicU64,
    dropped: Arc<Dropped>,
}

/// By name, in the order in which they are written. Only reloads and scrapes
/// lock it.
type Named<T> = Mutex<BTreeMap<Arc<str>, Arc<T>>>;

impl Metrics {
    /// Metrics without counters. Each of `workers` has cells of its own, and
    /// all other threads share some.
    pub fn new(workers: usize) -> Arc<Self> {
        let unmatched = Arc::new(RouteMetrics::new(workers));
        Arc::new(Self {
            workers,
            routes: Mutex::new(BTreeMap::from([(UNMATCHED.into(), Arc::clone(&unmatched))])),
            upstreams: Named::default(),
            listeners: Named::default(),
            unmatched,
            store: Arc::new(StoreMetrics::new(workers)),
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

    /// The counters of the listener on `address`, the same ones as long as they
    /// are retained.
    pub fn listener(&self, address: &str) -> Arc<ListenerMetrics> {
        find_or_make(&self.listeners, address, ListenerMetrics::default)
    }

    /// The counters of the store that gateways share.
    pub fn store(&self) -> Arc<StoreMetrics> {
        Arc::clone(&self.store)
    }

    /// Drops the series of everything that a reload removed, so that they do
    /// not grow with reloads. Requests that still run on the old table go on
    /// counting, and no scrape shows it.
    pub fn retain(&self, kept: &Kept<'_>) {
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
            route.retain_limits(|limit| kept.limits.contains(limit));
        }
    }

    /// Notes that the first configuration serves since `at` and took `took` to
    /// build. It is not counted as a reload.
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

    /// Counts a panic in the task of a request, which costs its connection and
    /// not the process.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// The count of dropped lines, for the access log to add to.
    pub fn dropped(&self) -> Arc<Dropped> {
        Arc::clone(&self.dropped)
    }

    /// All metrics in `format`: the sums over all workers, the gauges that were
    /// `observed` for this scrape, and the process itself.
    pub fn render(&self, format: Format, observed: &Observed) -> String {
        render::all(self, format, observed)
    }
}

/// The names that go on after a reload; see [`Metrics::retain`].
#[derive(Debug, Clone, Default)]
pub struct Kept<'a> {
    /// Names of routes.
    pub routes: HashSet<&'a str>,
    /// Names of limits as decisions are counted under, those of tiers too.
    pub limits: HashSet<&'a str>,
    /// Names of upstreams.
    pub upstreams: HashSet<&'a str>,
    /// Addresses of listeners.
    pub listeners: HashSet<&'a str>,
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The new configuration serves.
    Success,
    /// The new configuration cannot serve; the old one serves on.
    Failure,
    /// The new configuration is the one that serves.
    Unchanged,
}

impl Reload {
    fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Unchanged => "unchanged",
        }
    }
}

/// The route that requests are counted under when none matched.
const UNMATCHED: &str = "-";

/// The reloads so far, and the last one.
#[derive(Debug, Default)]
struct Reloads {
    outcomes: Tally,
    /// `None` before the first configuration was loaded.
    last: Option<LastReload>,
    /// Since the Unix epoch.
    last_success: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct LastReload {
    successful: bool,
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

fn find_or_make<T>(named: &Named<T>, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
    let mut named = named.lock();
    if let Some(known) = named.get(name) {
        return Arc::clone(known);
    }
    let made = Arc::new(make());
    named.insert(name.into(), Arc::clone(&made));
    made
}

/// A copy to walk over without holding up a reload.
fn entries<T>(named: &Named<T>) -> Vec<(Arc<str>, Arc<T>)> {
    named
        .lock()
        .iter()
        .map(|(name, value)| (Arc::clone(name), Arc::clone(value)))
        .collect()
}
