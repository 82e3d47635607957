//! A cap that follows the measured latency, seen from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{thread, time::Duration};

use support::{
    Client, TIMEOUT, Upstream,
    gateway::{Gateway, request},
    ok, one_route,
};
use tokio::time::Instant;

const ROUTE: [(&str, &str); 1] = [("route", "app")];

fn limit(gateway: &Gateway) -> f64 {
    gateway.metric("tidegate_concurrency_limit", &ROUTE)
}

/// Sends as many concurrent requests as there are `clients`, on keep-alive
/// connections, until the cap has grown to `least`.
#[track_caller]
fn fill_until(gateway: &Gateway, clients: &mut [Client], least: f64) {
    let end = Instant::now() + TIMEOUT;
    while limit(gateway) < least {
        assert!(
            Instant::now() < end,
            "the cap does not grow beyond {}",
            limit(gateway)
        );
        for _ in 0..2 {
            clients
                .iter_mut()
                .for_each(|client| client.send(request("GET", "/", &[])));
            clients
                .iter_mut()
                .for_each(|client| drop(client.response()));
        }
    }
}

#[test]
fn an_adaptive_cap_begins_at_its_minimum_and_is_reported() {
    let (upstream, reached, leave) = Upstream::held();
    let gateway = Gateway::start(&one_route(
        &upstream,
        "concurrency = { adaptive = { min = 2, max = 8 } }",
    ));
    let mut inside = [gateway.connect(), gateway.connect()];
    inside
        .iter_mut()
        .for_each(|client| client.send(request("GET", "/", &[])));
    (0..2).for_each(|_| drop(reached.recv_timeout(TIMEOUT).unwrap()));
    let refused = gateway.get("/");
    let detail = "the cap of route \"app\" is reached: 2 requests are in flight and 0 may wait";
    assert_eq!(
        (refused.status(), &refused.problem()["detail"]),
        (503, &detail.into())
    );
    let view: serde_json::Value =
        serde_json::from_slice(&gateway.call_admin("GET", "/routes", &[]).body).unwrap();
    let shown = &view[0]["concurrency"];
    assert_eq!(
        (
            &shown["limit"],
            &shown["adaptive"]["max"],
            &shown["in_flight"]
        ),
        (&2.into(), &8.into(), &2.into())
    );
    (0..2).for_each(|_| leave.open());
    assert_eq!(
        inside.each_mut().map(|client| client.response().status()),
        [200, 200]
    );
}

#[test]
fn a_busy_adaptive_cap_grows_and_a_reload_keeps_it() {
    // A service that takes as long however many requests it has. If it took no
    // time, the times would be those of the machine, which gets slower with each
    // request beside others: a cap that grows no more is then right.
    let upstream = Upstream::answering(|_| {
        thread::park_timeout(Duration::from_millis(20));
        ok("")
    });
    let text = |max: u8, queue: u8| {
        one_route(
            &upstream,
            &format!("concurrency = {{ adaptive = {{ min = 2, max = {max} }}, queue = {queue} }}"),
        )
    };
    let gateway = Gateway::start(&text(16, 100));
    // More clients than the cap ever admits, so that it is always reached.
    let mut clients: Vec<_> = (0..24).map(|_| gateway.connect()).collect();
    fill_until(&gateway, &mut clients, 4.0);
    let before = limit(&gateway);
    gateway.reload_with(&text(15, 50));
    assert_eq!(limit(&gateway), before.min(15.0));
    gateway.reload_with(&text(3, 50));
    assert_eq!(limit(&gateway), 3.0);
    gateway.reload_with(&one_route(&upstream, "concurrency = { max = 7 }"));
    assert_eq!(limit(&gateway), 7.0);
}
