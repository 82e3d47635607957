//! What runs, as JSON: the keys of the configuration language, with what they came to beside them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    gateway::State,
    limit::Stats,
    upstream::{ServerView, Upstream},
};

/// Keys of a route that say which requests it takes and what it does with them.
const OF_A_ROUTE: [&str; 8] = ["name", "match", "limits", "upstream", "mirror", "respond", "redirect", "concurrency"];
/// Keys of a limit that say how much it allows to whom.
const OF_A_LIMIT: [&str; 6] = ["key", "rate", "burst", "missing", "max_keys", "status"];

pub(super) fn routes(state: &State) -> Value {
    let caps: BTreeMap<_, _> = state.caps().map(|(name, cap)| (&**name, cap)).collect();
    let shown = state.config.shown();
    let routes = shown.get("routes").and_then(Value::as_array);
    let view = |route: &Value| {
        let mut view = only(&OF_A_ROUTE, route);
        let cap = route.get("name").and_then(Value::as_str).and_then(|name| caps.get(name));
        if let (Some(cap), Some(shown)) = (cap, view.get_mut("concurrency").and_then(Value::as_object_mut)) {
            shown.insert("in_flight".to_owned(), json!(cap.in_flight()));
            shown.insert("queued".to_owned(), json!(cap.queued()));
        }
        Value::Object(view)
    };
    routes.into_iter().flatten().map(view).collect()
}

pub(super) fn limits(state: &State) -> Value {
    let all = state.config.shown();
    let shown = all.get("limits");
    let view = |(name, stats): (&str, Stats)| {
        let mut view = Map::from_iter([("name".to_owned(), json!(name))]);
        view.extend(
            shown.and_then(|limits| limits.get(name)).map(|limit| only(&OF_A_LIMIT, limit)).unwrap_or_default(),
        );
        view.insert("keys".to_owned(), json!(stats.keys));
        let evictions = json!({ "idle": stats.evictions_idle, "overflow": stats.evictions_overflow });
        view.insert("evictions".to_owned(), evictions);
        Value::Object(view)
    };
    state.limits().map(|(name, limiter)| view((name, limiter.stats()))).collect()
}

pub(super) fn upstreams(state: &State) -> Value {
    let all = state.config.shown();
    let shown = all.get("upstreams");
    let view = |(name, upstream): (&str, &Upstream)| {
        let balance = shown.and_then(|upstreams| upstreams.get(name)).and_then(|upstream| upstream.get("balance"));
        let servers: Vec<_> = upstream.servers().iter().map(server).collect();
        json!({ "name": name, "balance": balance, "servers": servers })
    };
    state.upstreams().map(|(name, upstream)| view((name, upstream))).collect()
}

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

fn only(keys: &[&str], of: &Value) -> Map<String, Value> {
    let pair = |key: &&str| Some(((*key).to_owned(), of.get(*key)?.clone()));
    keys.iter().filter_map(pair).collect()
}
