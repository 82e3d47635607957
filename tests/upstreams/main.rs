//! Upstreams: where servers are reached, how connections to them are pooled,
//! and which server gets a request.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod backups;
mod names;
mod pools;
mod proxy_protocol;
mod sockets;
mod srv;
#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;
use support::Gateway;

const ONE_WORKER: &str = "[server]\nworkers = 1\n";

/// A route to the upstream `app` that tries each request once.
const ONCE: &str = "[[routes]]\nname = 'app'\nupstream = 'app'\nretry = { attempts = 1 }\n";

/// The server of the upstream `app` with this URL, as `/upstreams` shows it.
#[track_caller]
fn view(gateway: &Gateway, url: &str) -> Value {
    let text = gateway.call_admin("GET", "/upstreams", &[]).text();
    let upstreams: Value = serde_json::from_str(&text).unwrap();
    let servers = upstreams[0]["servers"].as_array().unwrap();
    let found = servers.iter().find(|view| view["url"] == url);
    found
        .unwrap_or_else(|| panic!("{url} is not in {text}"))
        .clone()
}
