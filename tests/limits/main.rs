//! Limits: a request is admitted or refused by exactly the buckets it belongs to, and a refusal is honest.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod cost;
mod counting;
mod deciding;
mod given_back;
mod overrides;
mod promise;
#[path = "../support/mod.rs"]
mod support;
mod tiers;
mod told;
mod trial;
mod who;

use support::{
    Message, TIMEOUT,
    gateway::{Gateway, responding},
};
use tokio::time::Instant;

/// Every peer may name its client.
const TRUST: &str = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']";

/// A gateway with the one route `r`, which answers by itself under the one limit `l`.
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

/// How many of `tries` requests are admitted.
#[track_caller]
fn admitted(tries: usize, mut ask: impl FnMut() -> Message) -> usize {
    (0..tries).filter(|_| ask().status() == 200).count()
}

/// Status of a request of this client, which a trusted peer names.
#[track_caller]
fn status_for(gateway: &Gateway, client: &str) -> u16 {
    gateway
        .ask("GET", "/", &[&format!("X-Forwarded-For: {client}")])
        .status()
}

/// Waits until every exchange so far has been counted, which is when its last holder lets go.
#[track_caller]
fn settle(gateway: &Gateway) {
    let end = Instant::now() + TIMEOUT;
    while gateway.metric("tidegate_in_flight", &[]) > 0.0 {
        assert!(Instant::now() < end, "requests stay in flight");
    }
}

/// How often the limit said this on the route `r`.
#[track_caller]
fn decisions(gateway: &Gateway, limit: &str, decision: &str) -> f64 {
    settle(gateway);
    gateway.metric(
        "tidegate_limit_decisions_total",
        &[("limit", limit), ("route", "r"), ("decision", decision)],
    )
}
