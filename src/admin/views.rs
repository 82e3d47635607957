//! Views of the running gateway: the keys of the configuration, with the
//! current state beside them.
//!
//! Each view is a struct that becomes a JSON object. The configured part of it
//! is taken from the view of the whole configuration by the names of its keys,
//! so that secrets are left out in one place, and a key reads here as it does
//! in `/config`. Where the configuration and the state have a key of the same
//! name, the state counts.
//!
//! # Cost and bounds
//!
//! A view has an element for each route, limit or upstream of the configuration
//! and for each server, and none for a key or a request: no client can make it
//! larger. It is made for one call, beside the control thread and at most two at
//! a time, with one pass over the state and one rendering of the configuration.
//! Numbers are read one after the other while requests go on.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    build::{ConcurrencyView, State},
    limit::Clock,
    upstream::{ServerView, SrvView},
};

/// Keys of a route that say which requests it takes and how it treats them.
///
/// Timeouts, retries and changes to messages are left to `/config`.
const OF_A_ROUTE: [&str; 10] = [
    "name",
    "match",
    "limits",
    "priority",
    "upstream",
    "mirror",
    "respond",
    "redirect",
    "quota",
    "concurrency",
];
/// Keys of a limit that say how much it allows for which keys.
const OF_A_LIMIT: [&str; 18] = [
    "key",
    "rate",
    "burst",
    "in_flight",
    "missing",
    "cost",
    "mode",
    "candidate",
    "count",
    "overrides",
    "plans",
    "tiers",
    "delay",
    "ban",
    "scope",
    "max_keys",
    "persist",
    "status",
];
/// Keys of a tier or a candidate, which has buckets of its own.
///
/// A candidate has neither `prefix` nor `prefix4`. Keys that are absent are
/// left out.
const BESIDE_A_LIMIT: [&str; 5] = ["prefix", "prefix4", "rate", "burst", "in_flight"];
/// Keys of an upstream that say how it shares out requests.
const OF_AN_UPSTREAM: [&str; 2] = ["balance", "concurrency"];

/// Keys of the configuration with their values.
///
/// Values are those of the view of the whole configuration: defaults are filled
/// in, and secrets are replaced.
type ConfiguredView = Map<String, Value>;

/// A route.
#[derive(Debug, Serialize)]
pub(super) struct RouteView {
    /// The keys in `OF_A_ROUTE`, but for `concurrency`, which follows with its
    /// state.
    #[serde(flatten)]
    configured: ConfiguredView,
    /// `None` for a route without a concurrency limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<LimitedConcurrency>,
}

/// A concurrency limit as it is configured, with its state.
#[derive(Debug, Serialize)]
struct LimitedConcurrency {
    /// The bound and the queue, as the file has them.
    #[serde(flatten)]
    configured: ConfiguredView,
    /// Requests that may be in flight now.
    limit: usize,
    /// Requests that hold a permit and whose client waits.
    in_flight: usize,
    /// Requests in flight whose client has left.
    abandoned: usize,
    /// Requests that wait for a permit.
    queued: usize,
}

/// A limit, a tier or a candidate.
#[derive(Debug, Serialize)]
pub(super) struct LimitView {
    /// The keys in `OF_A_LIMIT` for a limit, and those in `BESIDE_A_LIMIT` for
    /// a tier or candidate.
    #[serde(flatten)]
    configured: ConfiguredView,
    /// The name of its buckets: `LIMIT`, `LIMIT/PREFIX` or `LIMIT/candidate`.
    name: String,
    /// Keys that are held here, and keys of a shared limit that are known here.
    keys: usize,
    /// Totals since the limit was first made.
    evictions: Evictions,
    /// Requests in flight; of a cap only.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<u64>,
    /// Requests that wait for tokens; of a limit with `delay` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<usize>,
    /// Keys that have another allowance for a while.
    temporary: usize,
}

/// Keys that had to make room or found none, ever.
#[derive(Debug, Serialize)]
struct Evictions {
    /// Keys that made room for others when their buckets were full again.
    idle: u64,
    /// Requests whose keys found no slot in a full table, and which went to the
    /// overflow bucket. If it grows, `max_keys` is too small.
    overflow: u64,
}

/// An upstream.
#[derive(Debug, Serialize)]
pub(super) struct UpstreamView {
    /// Its name in the configuration.
    name: String,
    /// How it chooses a server, as configured.
    balance: Option<Value>,
    /// In the order of the configuration, and of SRV records.
    servers: Vec<UpstreamServerView>,
    /// The SRV records of its servers; absent for most upstreams.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    srv: Vec<SrvView>,
    /// `None` for an upstream without a concurrency limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<LimitedConcurrency>,
}

/// A server of an upstream.
#[derive(Debug, Serialize)]
struct UpstreamServerView {
    /// The URL as configured.
    url: String,
    /// Its share of requests, relative to the other servers; 0 for none.
    weight: u32,
    /// Whether it gets requests only while no other server is available.
    backup: bool,
    /// The addresses that its name has now; empty while none is known.
    addresses: Vec<SocketAddr>,
    /// Whether its health lets it have requests: it is healthy, or no server is
    /// and it is among the best that are left.
    up: bool,
    /// The state of its health, in one word.
    state: &'static str,
    /// When it came into this state (RFC 3339).
    since: String,
    /// Why it came into this state; `None` if there is nothing to say.
    cause: Option<String>,
    /// Ejections since the start of the process.
    ejections: u64,
    /// Requests that the server works on.
    in_flight: usize,
    /// Those of all workers.
    connections: ConnectionsView,
}

/// Connections to a server.
#[derive(Debug, Serialize)]
struct ConnectionsView {
    /// Open ones that are not idle.
    active: usize,
    /// In a pool, without a request.
    idle: usize,
}

/// The routes, in the order of the file.
///
/// A route without a concurrency limit shows no state of one.
pub(super) fn routes(state: &State) -> Vec<RouteView> {
    let states = by_name(state.route_concurrency());
    let shown = state.config.shown();
    let mut views = Vec::new();
    for route in list(shown.get("routes")) {
        let mut configured = only(&OF_A_ROUTE, route);
        let name = route.get("name").and_then(Value::as_str);
        let concurrency = name
            .and_then(|name| states.get(name))
            .and_then(|state| take_concurrency(&mut configured, state));
        views.push(RouteView {
            configured,
            concurrency,
        });
    }
    views
}

/// The limits, tiers and candidates.
///
/// They are in the order of their names, so that a limit comes before its tiers
/// and its candidate. `keys` and `temporary` are those of the moment.
pub(super) fn limits(state: &State) -> Vec<LimitView> {
    let all = state.config.shown();
    let shown = all.get("limits");
    let waiting: BTreeMap<_, _> = state
        .token_queues()
        .map(|(name, queues)| (name, queues.stats().waiting))
        .collect();
    let mut views = Vec::new();
    for (name, limiter) in state.limits() {
        let stats = limiter.stats();
        views.push(LimitView {
            configured: configured_limit(shown, name),
            name: name.to_string(),
            keys: stats.keys + state.known_in_store(name),
            evictions: Evictions {
                idle: stats.evictions_idle,
                overflow: stats.evictions_overflow,
            },
            held: None,
            waiting: waiting.get(name).copied(),
            temporary: limiter.temporaries(Clock.now()),
        });
    }
    for (name, in_flight) in state.in_flight() {
        let stats = in_flight.stats();
        views.push(LimitView {
            configured: configured_limit(shown, name),
            name: name.to_string(),
            keys: stats.keys,
            evictions: Evictions {
                idle: 0,
                overflow: stats.overflowed,
            },
            held: Some(stats.held),
            waiting: None,
            temporary: in_flight.temporaries(Clock.now()),
        });
    }
    views.sort_by(|one, other| one.name.cmp(&other.name));
    views
}

/// The upstreams, with their servers.
///
/// They are in the order of their names.
pub(super) fn upstreams(state: &State) -> Vec<UpstreamView> {
    let states = by_name(state.upstream_concurrency());
    // Read before what takes long: the caller asks for the present state.
    let upstreams = state.upstreams();
    let present: Vec<_> = upstreams
        .map(|(name, upstream)| (name, upstream.servers(), upstream.srv()))
        .collect();
    let all = state.config.shown();
    let shown = all.get("upstreams");
    let mut views = Vec::new();
    for (name, servers, srv) in present {
        let mut configured = match shown.and_then(|upstreams| upstreams.get(&**name)) {
            Some(shown) => only(&OF_AN_UPSTREAM, shown),
            None => ConfiguredView::new(),
        };
        let concurrency = states
            .get(&**name)
            .and_then(|state| take_concurrency(&mut configured, state));
        views.push(UpstreamView {
            name: name.to_string(),
            balance: configured.remove("balance"),
            servers: servers.into_iter().map(server).collect(),
            srv,
            concurrency,
        });
    }
    views
}

/// The states of concurrency limits by the names of their routes or upstreams.
fn by_name<'a>(
    limits: impl Iterator<Item = (&'a Arc<str>, ConcurrencyView)>,
) -> BTreeMap<&'a str, ConcurrencyView> {
    let mut states = BTreeMap::new();
    for (name, state) in limits {
        states.insert(&**name, state);
    }
    states
}

/// Takes a concurrency limit out of what is configured, and adds its state.
///
/// `None` if the configured part has no such table.
fn take_concurrency(
    configured: &mut ConfiguredView,
    state: &ConcurrencyView,
) -> Option<LimitedConcurrency> {
    match configured.remove("concurrency")? {
        Value::Object(configured) => Some(LimitedConcurrency {
            configured,
            limit: state.limit,
            in_flight: state.in_flight,
            abandoned: state.abandoned,
            queued: state.queued,
        }),
        _ => None,
    }
}

/// The keys of the limit, tier or candidate that is called `name`.
///
/// It is empty for a name that the view does not have.
fn configured_limit(limits: Option<&Value>, name: &str) -> ConfiguredView {
    if let Some(limit) = limits.and_then(|limits| limits.get(name)) {
        return only(&OF_A_LIMIT, limit);
    }
    match beside(limits, name) {
        Some(beside) => only(&BESIDE_A_LIMIT, beside),
        None => ConfiguredView::new(),
    }
}

/// The settings of the tier or candidate of this name: `LIMIT/56`,
/// `LIMIT/candidate`.
///
/// The last slash separates the two, as a prefix length and the word
/// `candidate` have none. `None` if the limit is unknown or has no such tier.
fn beside<'a>(limits: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    let (limit, which) = name.rsplit_once('/')?;
    let limit = limits?.get(limit)?;
    if which == "candidate" {
        return limit.get("candidate");
    }
    let prefix: u64 = which.parse().ok()?;
    list(limit.get("tiers"))
        .iter()
        .find(|tier| tier.get("prefix").and_then(Value::as_u64) == Some(prefix))
}

/// The view of one server. The number of active connections is the difference
/// of two counts that are read one after the other, bounded at zero.
fn server(server: ServerView) -> UpstreamServerView {
    UpstreamServerView {
        url: server.url.to_string(),
        weight: server.weight,
        backup: server.is_backup,
        addresses: server.addresses,
        up: server.up,
        state: server.health.state.word(),
        since: humantime::format_rfc3339_millis(server.health.since).to_string(),
        cause: Some(server.health.cause).filter(|cause| !cause.is_empty()),
        ejections: server.health.ejections,
        in_flight: server.in_flight,
        connections: ConnectionsView {
            active: server.open.saturating_sub(server.idle),
            idle: server.idle,
        },
    }
}

/// The elements of an array; none of anything else.
fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The values in `of` of these `keys`, without those that are absent.
fn only(keys: &[&str], of: &Value) -> ConfiguredView {
    let mut taken = ConfiguredView::new();
    for key in keys {
        if let Some(value) = of.get(*key) {
            taken.insert((*key).to_owned(), value.clone());
        }
    }
    taken
}
