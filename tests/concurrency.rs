//! Concurrency: no more requests in flight than the cap, and a queue that is
//! bounded in length and in time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{thread, time::Duration};

use support::{
    Gate, TIMEOUT, Upstream,
    gateway::{Gateway, request, responding},
    ok, one_route,
};
use tokio::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[track_caller]
fn wait_for_queued(gateway: &Gateway, queued: f64) {
    gateway.await_metric("tidegate_queued", &[("route", "app")], queued);
}

/// The permit must be free before the client gets the last byte of the
/// response. Otherwise its next request may be refused.
#[test]
fn a_permit_is_free_once_the_client_has_the_whole_response() {
    let upstream = Upstream::answering(|_| ok("hello"));
    let text = one_route(
        &upstream,
        "match = { path = '/app' }\nconcurrency = { max = 1 }",
    ) + &responding(
        "own",
        "match = { path = '/own' }\nconcurrency = { max = 1 }",
    );
    let gateway = Gateway::start(&text);
    let mut clients: Vec<_> = (0..4).map(|_| gateway.connect()).collect();
    for path in ["/app", "/own"] {
        for round in 0..1000 {
            let response = clients[round % 4].exchange(request("GET", path, &[]));
            assert_eq!(response.status(), 200, "{path}, round {round}");
        }
    }
}

#[test]
fn without_a_queue_requests_beyond_the_cap_are_refused_at_once() {
    let (upstream, reached, leave) = Upstream::held();
    let gateway = Gateway::start(&one_route(&upstream, "concurrency = { max = 2 }"));
    let mut inside = [gateway.sent("/1", &[]), gateway.sent("/2", &[])];
    for _ in 0..2 {
        reached.recv_timeout(TIMEOUT).unwrap();
    }
    let asked = Instant::now();
    let refused = gateway.get("/");
    assert!(asked.elapsed() < Duration::from_millis(500));
    assert_eq!(refused.status(), 503);
    assert!(refused.get("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(refused.problem()["route"], "app");
    assert_eq!(gateway.line_of("/")["reason"], "cap");
    let gauge = |name| gateway.metric(name, &[("route", "app")]);
    assert_eq!(
        (
            gauge("tidegate_in_flight"),
            gauge("tidegate_concurrency_limit")
        ),
        (2.0, 2.0)
    );
    assert_eq!(
        gateway.metric(
            "tidegate_refusals_total",
            &[("route", "app"), ("reason", "cap")]
        ),
        1.0
    );
    leave.open();
    leave.open();
    assert_eq!(
        inside.each_mut().map(|client| client.response().status()),
        [200, 200]
    );
    leave.open();
    assert_eq!(gateway.status("/"), 200, "a released permit is free");
}

#[test]
fn a_permit_is_held_to_the_end_of_the_response_body() {
    let end = Gate::new();
    let gate = end.clone();
    let upstream = Upstream::start(move |mut connection| {
        while connection.request().is_some() {
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na");
            gate.pass();
            connection.send("b");
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, "concurrency = { max = 1 }"));
    let mut first = gateway.sent("/first", &[]);
    first.head().unwrap();
    assert_eq!(first.bytes(1).unwrap(), b"a");
    assert_eq!(
        gateway.status("/second"),
        503,
        "the response's head has come, its body has not"
    );
    end.open();
    assert_eq!(first.bytes(1).unwrap(), b"b");
    gateway.line_of("/first");
    end.open();
    assert_eq!(gateway.status("/third"), 200);
}

#[test]
fn the_permit_of_a_client_that_left_is_free_once_the_server_is_done() {
    let (upstream, reached, leave) = Upstream::held();
    let gateway = Gateway::start(&one_route(
        &upstream,
        "concurrency = { max = 1, queue = 1, queue_timeout = '10s' }",
    ));
    let first = gateway.sent("/first", &[]);
    assert_eq!(reached.recv_timeout(TIMEOUT).unwrap(), "/first");
    let mut second = gateway.sent("/second", &[]);
    wait_for_queued(&gateway, 1.0);
    drop(first);
    assert_eq!(
        gateway.line_of("/first")["status"],
        499,
        "the access line is written when the client leaves"
    );
    let gauge = |name| gateway.metric(name, &[("route", "app")]);
    assert_eq!(
        (
            gauge("tidegate_in_flight"),
            gauge("tidegate_abandoned"),
            gauge("tidegate_queued")
        ),
        (0.0, 1.0, 1.0)
    );
    assert!(
        reached.try_recv().is_err(),
        "the server still works on the first request"
    );
    leave.open();
    assert_eq!(reached.recv_timeout(TIMEOUT).unwrap(), "/second");
    assert_eq!(
        (gauge("tidegate_in_flight"), gauge("tidegate_abandoned")),
        (1.0, 0.0)
    );
    leave.open();
    assert_eq!(second.response().status(), 200);
}

#[test]
fn a_client_that_leaves_the_queue_frees_its_slot() {
    let (upstream, reached, leave) = Upstream::held();
    let gateway = Gateway::start(&one_route(
        &upstream,
        "concurrency = { max = 1, queue = 1, queue_timeout = '10s' }",
    ));
    let mut first = gateway.sent("/first", &[]);
    reached.recv_timeout(TIMEOUT).unwrap();
    let left = gateway.sent("/left", &[]);
    wait_for_queued(&gateway, 1.0);
    drop(left);
    assert_eq!(gateway.line_of("/left")["status"], 499);
    let mut third = gateway.sent("/third", &[]);
    wait_for_queued(&gateway, 1.0);
    leave.open();
    assert_eq!(
        reached.recv_timeout(TIMEOUT).unwrap(),
        "/third",
        "the request of a client that left is never sent"
    );
    leave.open();
    assert_eq!(
        (first.response().status(), third.response().status()),
        (200, 200)
    );
}

#[test]
fn a_request_that_finds_the_queue_full_is_refused_at_once() {
    let (upstream, reached, leave) = Upstream::held();
    let gateway = Gateway::start(&one_route(
        &upstream,
        "concurrency = { max = 1, queue = 2, queue_timeout = '10s' }",
    ));
    let mut first = gateway.sent("/1", &[]);
    reached.recv_timeout(TIMEOUT).unwrap();
    let mut waiting = [gateway.sent("/2", &[]), gateway.sent("/3", &[])];
    wait_for_queued(&gateway, 2.0);
    let asked = Instant::now();
    let refused = gateway.get("/4");
    assert!(asked.elapsed() < Duration::from_millis(500));
    assert_eq!(
        (refused.status(), refused.get("retry-after").is_some()),
        (503, true)
    );
    assert_eq!(gateway.line_of("/4")["reason"], "cap");
    for _ in 0..3 {
        leave.open();
    }
    assert_eq!(first.response().status(), 200);
    assert_eq!(
        waiting.each_mut().map(|client| client.response().status()),
        [200, 200]
    );
}

#[test]
fn a_wait_in_the_queue_ends_after_queue_timeout() {
    let (upstream, reached, leave) = Upstream::held();
    let more = "concurrency = { max = 1, queue = 2, queue_timeout = '100ms' }";
    let gateway = Gateway::start(&one_route(&upstream, more));
    let mut first = gateway.sent("/first", &[]);
    reached.recv_timeout(TIMEOUT).unwrap();
    let asked = Instant::now();
    let refused = gateway.get("/second");
    let took = asked.elapsed();
    assert_eq!(
        (refused.status(), refused.get("retry-after").is_some()),
        (503, true)
    );
    assert!(
        took >= Duration::from_millis(100) && took < Duration::from_secs(1),
        "{took:?}"
    );
    let line = gateway.line_of("/second");
    assert_eq!(line["reason"], "queue_timeout");
    assert!(line["queue_ms"].as_f64().unwrap() >= 100.0, "{line}");
    assert_eq!(
        gateway.metric("tidegate_refusals_total", &[("reason", "queue_timeout")]),
        1.0
    );
    assert_eq!(gateway.metric("tidegate_queued", &[("route", "app")]), 0.0);
    leave.open();
    assert_eq!(first.response().status(), 200);
}

#[test]
fn queued_requests_are_served_in_the_order_of_arrival() {
    let (upstream, reached, leave) = Upstream::held();
    let gateway = Gateway::start(&one_route(
        &upstream,
        "concurrency = { max = 1, queue = 8, queue_timeout = '10s' }",
    ));
    let mut clients = vec![gateway.sent("/0", &[])];
    reached.recv_timeout(TIMEOUT).unwrap();
    for place in 1..=6 {
        clients.push(gateway.sent(&format!("/{place}"), &[]));
        wait_for_queued(&gateway, f64::from(place));
    }
    for place in 1..=6 {
        leave.open();
        assert_eq!(reached.recv_timeout(TIMEOUT).unwrap(), format!("/{place}"));
    }
    leave.open();
    for client in &mut clients {
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn the_total_timeout_ends_a_wait_in_the_queue_with_504() {
    let end = Gate::new();
    let gate = end.clone();
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n");
        gate.pass();
        connection.send("x");
    });
    let more = "concurrency = { max = 1, queue = 2, queue_timeout = '10s' }\ntimeouts = { total = '200ms' }";
    let gateway = Gateway::start(&one_route(&upstream, more));
    // The head arrives in time. The body may take longer than `total` and holds
    // the permit.
    let mut first = gateway.sent("/first", &[]);
    first.head().unwrap();
    let asked = Instant::now();
    let refused = gateway.get("/second");
    let took = asked.elapsed();
    assert_eq!(refused.status(), 504);
    assert!(
        took >= Duration::from_millis(195) && took < Duration::from_secs(1),
        "{took:?}"
    );
    let line = gateway.line_of("/second");
    assert_eq!(
        (&line["reason"], line.get("attempts")),
        (&"total_timeout".into(), None)
    );
    end.open();
    assert_eq!(first.bytes(1).unwrap(), b"x");
}

#[test]
fn every_route_has_a_cap_of_its_own() {
    let (upstream, reached, leave) = Upstream::held();
    let text = one_route(&upstream, "concurrency = { max = 1 }")
        + &responding(
            "free",
            "match = { path = '/free' }\nconcurrency = { max = 1 }",
        );
    let gateway = Gateway::start(&text);
    let mut first = gateway.sent("/", &[]);
    reached.recv_timeout(TIMEOUT).unwrap();
    assert_eq!((gateway.status("/"), gateway.status("/free")), (503, 200));
    leave.open();
    assert_eq!(first.response().status(), 200);
}

#[test]
fn without_a_cap_a_hundred_calls_run_side_by_side() {
    let upstream = Upstream::answering(|_| {
        thread::park_timeout(Duration::from_millis(200));
        ok("")
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut clients: Vec<_> = (0..100).map(|_| gateway.connect()).collect();
    let asked = Instant::now();
    clients.iter_mut().for_each(|client| client.send(GET));
    for client in &mut clients {
        assert_eq!(client.response().status(), 200);
    }
    let took = asked.elapsed();
    assert!(
        took >= Duration::from_millis(200) && took < Duration::from_secs(1),
        "{took:?}"
    );
}
