//! Limits: a request is admitted or refused by exactly the buckets that it
//! belongs to, and a refusal states the truth.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod ban;
mod cost;
mod costs;
mod counting;
mod deciding;
mod delay;
mod in_flight;
mod keys;
mod overrides;
mod promise;
mod refunds;
mod report;
mod response_fields;
mod shadow;
#[path = "../support/mod.rs"]
mod support;
mod tiers;
mod zero;

use support::{
    Message, TIMEOUT,
    gateway::{Gateway, responding},
};
use tokio::time::Instant;

/// Trusts every loopback peer to name its client.
const TRUST: &str = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']";

/// Starts a gateway with the route `r`, which responds by itself and has the
/// limit `l`.
#[track_caller]
fn one_limit(limit: &str, more: &str) -> Gateway {
    Gateway::start(&one_limit_text(limit, more))
}

fn one_limit_text(limit: &str, more: &str) -> String {
    format!(
        "{more}\n[limits.l]\n{limit}\n{}",
        responding("r", "limits = ['l']")
    )
}

/// Number of admitted requests among `tries`.
#[track_caller]
fn admitted(tries: usize, mut ask: impl FnMut() -> Message) -> usize {
    (0..tries).filter(|_| ask().status() == 200).count()
}

/// Status of a request by this client, which is named by a trusted peer.
#[track_caller]
fn status_for(gateway: &Gateway, client: &str) -> u16 {
    gateway
        .ask("GET", "/", &[&format!("X-Forwarded-For: {client}")])
        .status()
}

/// Waits until no request is in flight: all of them have been counted.
#[track_caller]
fn settle(gateway: &Gateway) {
    let end = Instant::now() + TIMEOUT;
    while gateway.metric("tidegate_in_flight", &[]) > 0.0 {
        assert!(Instant::now() < end, "requests stay in flight");
    }
}

/// Number of decisions of this kind by the limit on the route `r`.
#[track_caller]
fn decisions(gateway: &Gateway, limit: &str, decision: &str) -> f64 {
    settle(gateway);
    gateway.metric(
        "tidegate_limit_decisions_total",
        &[("limit", limit), ("route", "r"), ("decision", decision)],
    )
}
