//! Views of the running gateway as JSON: the keys of the configuration, with
//! the present state beside them.
//!
//! A view takes the keys from [`Config::shown`](crate::config::Config::shown),
//! which hides secrets, so that nothing in it needs to be hidden again. The
//! names of the fields are part of the interface.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    build::{ConcurrencyView, State},
    limit::{Clock, Limiter},
    upstream::{ServerView, Upstream},
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

/// All routes, those with a concurrency limit with its present state.
pub(super) fn routes(state: &State) -> Value {
    let caps: BTreeMap<_, _> = state
        .route_concurrency()
        .map(|(name, cap)| (&**name, cap))
        .collect();
    let shown = state.config.shown();
    let routes = shown.get("routes").and_then(Value::as_array);
    let view = |route: &Value| {
        let mut view = only(&OF_A_ROUTE, route);
        let cap = route
            .get("name")
            .and_then(Value::as_str)
            .and_then(|name| caps.get(name));
        if let (Some(cap), Some(shown)) = (cap, view.get_mut("concurrency")) {
            add_to(shown, cap);
        }
        Value::Object(view)
    };
    routes.into_iter().flatten().map(view).collect()
}

/// Adds the present state of a concurrency limit to its settings.
fn add_to(shown: &mut Value, cap: &ConcurrencyView) {
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("limit".to_owned(), json!(cap.limit));
        shown.insert("in_flight".to_owned(), json!(cap.in_flight));
        shown.insert("abandoned".to_owned(), json!(cap.abandoned));
        shown.insert("queued".to_owned(), json!(cap.queued));
    }
}

/// All limits, with their tiers and candidates as limits of their own, and the
/// present number of their keys.
pub(super) fn limits(state: &State) -> Value {
    let all = state.config.shown();
    let shown = all.get("limits");
    let view = |(name, limiter): (&str, &Limiter)| {
        let stats = limiter.stats();
        let mut view = Map::from_iter([("name".to_owned(), json!(name))]);
        view.extend(match shown.and_then(|limits| limits.get(name)) {
            Some(limit) => only(&OF_A_LIMIT, limit),
            None => beside(shown, name)
                .map(|beside| only(&BESIDE_A_LIMIT, beside))
                .unwrap_or_default(),
        });
        view.insert(
            "keys".to_owned(),
            json!(stats.keys + state.known_in_store(name)),
        );
        let evictions =
            json!({ "idle": stats.evictions_idle, "overflow": stats.evictions_overflow });
        view.insert("evictions".to_owned(), evictions);
        view.insert(
            "temporary".to_owned(),
            json!(limiter.temporaries(Clock.now())),
        );
        Value::Object(view)
    };
    state
        .limits()
        .map(|(name, limiter)| view((name, limiter)))
        .collect()
}

/// The settings of the tier or candidate of this name: `LIMIT/56`,
/// `LIMIT/candidate`.
fn beside<'a>(limits: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    let (limit, which) = name.rsplit_once('/')?;
    let limit = limits?.get(limit)?;
    if which == "candidate" {
        return limit.get("candidate");
    }
    let tiers = limit.get("tiers").and_then(Value::as_array)?;
    let prefix: u64 = which.parse().ok()?;
    tiers
        .iter()
        .find(|tier| tier.get("prefix").and_then(Value::as_u64) == Some(prefix))
}

/// All upstreams with the present state of their servers.
pub(super) fn upstreams(state: &State) -> Value {
    let all = state.config.shown();
    let shown = all.get("upstreams");
    let caps: BTreeMap<_, _> = state
        .upstream_concurrency()
        .map(|(name, cap)| (&**name, cap))
        .collect();
    let view = |(name, upstream): (&str, &Upstream)| {
        let shown = shown.and_then(|upstreams| upstreams.get(name));
        let servers: Vec<_> = upstream.servers().iter().map(server).collect();
        let balance = shown.and_then(|upstream| upstream.get("balance"));
        let mut view = json!({ "name": name, "balance": balance, "servers": servers });
        let concurrency = shown.and_then(|upstream| upstream.get("concurrency"));
        if let (Some(cap), Some(concurrency)) = (caps.get(name), concurrency) {
            view["concurrency"] = concurrency.clone();
            add_to(&mut view["concurrency"], cap);
        }
        view
    };
    state
        .upstreams()
        .map(|(name, upstream)| view((name, upstream)))
        .collect()
}

/// The present state of a server.
fn server(server: &ServerView) -> Value {
    json!({
        "url": &*server.url,
        "weight": server.weight,
        "addresses": server.addresses,
        "up": server.up,
        "state": server.health.state.word(),
        "since": humantime::format_rfc3339_millis(server.health.since).to_string(),
        "cause": Some(&server.health.cause).filter(|cause| !cause.is_empty()),
        "ejections": server.health.ejections,
        "in_flight": server.in_flight,
        "connections": { "active": server.open.saturating_sub(server.idle), "idle": server.idle },
    })
}

/// These keys of an object, as far as it has them.
fn only(keys: &[&str], of: &Value) -> Map<String, Value> {
    let pair = |key: &&str| Some(((*key).to_owned(), of.get(*key)?.clone()));
    keys.iter().filter_map(pair).collect()
}
