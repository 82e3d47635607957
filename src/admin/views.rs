//! Views of the running gateway: the keys of the configuration, with the
//! current state beside them.
//!
//! Each view is a struct that becomes a JSON object. The configured part of it
//! is taken from the view of the whole configuration by the names of its keys,
//! so that secrets are left out in one place, and a key reads here as it does
//! in `/config`. Where the configuration and the state have a key of the same
//! name, the state counts.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    build::{ConcurrencyView, State},
    limit::Clock,
    upstream::ServerView,
};

/// Keys of a route that say which requests it takes and how it treats them.
const OF_A_ROUTE: [&str; 9] = [
    "name",
    "match",
    "limits",
    "priority",
    "upstream",
    "mirror",
    "respond",
    "redirect",
    "concurrency",
];
/// Keys of a limit that say how much it allows for which keys.
const OF_A_LIMIT: [&str; 14] = [
    "key",
    "rate",
    "burst",
    "missing",
    "cost",
    "mode",
    "candidate",
    "count",
    "overrides",
    "tiers",
    "scope",
    "max_keys",
    "persist",
    "status",
];
/// Keys of a tier or a candidate, which has buckets of its own.
const BESIDE_A_LIMIT: [&str; 3] = ["prefix", "rate", "burst"];
/// Keys of an upstream that say how it shares out requests.
const OF_AN_UPSTREAM: [&str; 2] = ["balance", "concurrency"];

/// Keys of the configuration with their values.
type Configured = Map<String, Value>;

/// A route.
#[derive(Debug, Serialize)]
pub(super) struct RouteView {
    #[serde(flatten)]
    configured: Configured,
    /// `None` for a route without a concurrency limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<LimitedConcurrency>,
}

/// A concurrency limit as it is configured, with its state.
#[derive(Debug, Serialize)]
struct LimitedConcurrency {
    #[serde(flatten)]
    configured: Configured,
    /// Requests that may be in flight now.
    limit: usize,
    in_flight: usize,
    /// Requests in flight whose client has left.
    abandoned: usize,
    queued: usize,
}

/// A limit, a tier or a candidate.
#[derive(Debug, Serialize)]
pub(super) struct LimitView {
    #[serde(flatten)]
    configured: Configured,
    name: String,
    /// Keys that are held here, and keys of a shared limit that are known here.
    keys: usize,
    evictions: Evictions,
    /// Keys that have another quota for a while.
    temporary: usize,
}

/// Keys that had to make room or found none, ever.
#[derive(Debug, Serialize)]
struct Evictions {
    idle: u64,
    overflow: u64,
}

/// An upstream.
#[derive(Debug, Serialize)]
pub(super) struct UpstreamView {
    name: String,
    balance: Option<Value>,
    servers: Vec<UpstreamServer>,
    /// `None` for an upstream without a concurrency limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<LimitedConcurrency>,
}

/// A server of an upstream.
#[derive(Debug, Serialize)]
struct UpstreamServer {
    url: String,
    weight: u32,
    addresses: Vec<SocketAddr>,
    up: bool,
    state: &'static str,
    /// When it came into this state (RFC 3339).
    since: String,
    /// Why it came into this state; `None` if there is nothing to say.
    cause: Option<String>,
    ejections: u64,
    in_flight: usize,
    connections: Connections,
}

/// Connections to a server.
#[derive(Debug, Serialize)]
struct Connections {
    active: usize,
    idle: usize,
}

/// The routes, in the order of the file.
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
pub(super) fn limits(state: &State) -> Vec<LimitView> {
    let all = state.config.shown();
    let shown = all.get("limits");
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
            temporary: limiter.temporaries(Clock.now()),
        });
    }
    views
}

/// The upstreams, with their servers.
pub(super) fn upstreams(state: &State) -> Vec<UpstreamView> {
    let states = by_name(state.upstream_concurrency());
    let all = state.config.shown();
    let shown = all.get("upstreams");
    let mut views = Vec::new();
    for (name, upstream) in state.upstreams() {
        let mut configured = match shown.and_then(|upstreams| upstreams.get(&**name)) {
            Some(shown) => only(&OF_AN_UPSTREAM, shown),
            None => Configured::new(),
        };
        let concurrency = states
            .get(&**name)
            .and_then(|state| take_concurrency(&mut configured, state));
        views.push(UpstreamView {
            name: name.to_string(),
            balance: configured.remove("balance"),
            servers: upstream.servers().into_iter().map(server).collect(),
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
fn take_concurrency(
    configured: &mut Configured,
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
fn configured_limit(limits: Option<&Value>, name: &str) -> Configured {
    if let Some(limit) = limits.and_then(|limits| limits.get(name)) {
        return only(&OF_A_LIMIT, limit);
    }
    match beside(limits, name) {
        Some(beside) => only(&BESIDE_A_LIMIT, beside),
        None => Configured::new(),
    }
}

/// The settings of the tier or candidate of this name: `LIMIT/56`,
/// `LIMIT/candidate`.
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

fn server(server: ServerView) -> UpstreamServer {
    UpstreamServer {
        url: server.url.to_string(),
        weight: server.weight,
        addresses: server.addresses,
        up: server.up,
        state: server.health.state.word(),
        since: humantime::format_rfc3339_millis(server.health.since).to_string(),
        cause: Some(server.health.cause).filter(|cause| !cause.is_empty()),
        ejections: server.health.ejections,
        in_flight: server.in_flight,
        connections: Connections {
            active: server.open.saturating_sub(server.idle),
            idle: server.idle,
        },
    }
}

/// The elements of an array; none of anything else.
fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn only(keys: &[&str], of: &Value) -> Configured {
    let mut taken = Configured::new();
    for key in keys {
        if let Some(value) = of.get(*key) {
            taken.insert((*key).to_owned(), value.clone());
        }
    }
    taken
}
