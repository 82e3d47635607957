//! Retries: what is safe, useful and affordable is tried again, nothing else is, and the access line says why not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use support::{
    Connection, End, Upstream, ok, one_route,
    policies::{Closed, Running, request},
};
use tokio::time::Instant;

const UNAVAILABLE: &str = "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// An upstream `app` of these servers, in turns, and a route to it with this `[routes.retry]`.
fn turns(urls: &[String], retry: &str) -> String {
    format!(
        "[upstreams.app]\nservers = {urls:?}\nbalance = 'round-robin'\n\
         [[routes]]\nname = 'app'\nupstream = 'app'\n[routes.retry]\nbackoff = '1ms'\n{retry}\n"
    )
}

/// A route with this `[routes.retry]` to one server.
fn retrying(upstream: &Upstream, retry: &str) -> String {
    turns(&[upstream.url()], retry)
}

/// An upstream that deals with its first `bad` requests in this way, and answers the others with their bodies.
fn failing(bad: usize, fail: impl Fn(Connection) + Send + Sync + 'static) -> Upstream {
    let seen = AtomicUsize::new(0);
    Upstream::start(move |mut connection| {
        while let Some(request) = connection.request() {
            if seen.fetch_add(1, Ordering::SeqCst) < bad {
                return fail(connection);
            }
            connection.send(ok(&request.text()));
        }
    })
}

/// How often a request with this method and target reached an upstream.
fn times(upstream: &Upstream, line: &str) -> usize {
    upstream.text().matches(&format!("{line} HTTP/1.1")).count()
}

#[track_caller]
fn outcomes(gateway: &Running, outcome: &str) -> f64 {
    gateway.metric("tidegate_retries_total", &[("route", "app"), ("outcome", outcome)])
}

#[track_caller]
fn post(gateway: &Running, body: &str) -> support::Message {
    let mut client = gateway.connect();
    client.send(request("POST", "/", &[&format!("Content-Length: {}", body.len())]) + body);
    client.response()
}

#[test]
fn a_server_that_refuses_connections_is_passed_over_whatever_the_method() {
    let upstream = Upstream::answering(|request| ok(&request.text()));
    let nobody = Closed::new();
    let gateway = Running::start(&turns(&[nobody.url(), upstream.url()], ""));
    for _ in 0..4 {
        assert_eq!(post(&gateway, "body").text(), "body");
    }
    assert_eq!(times(&upstream, "POST /"), 4, "none is sent twice");
    let attempts: Vec<_> = (0..4).map(|_| gateway.access_line()).collect();
    assert!(attempts.iter().any(|line| line["attempts"] == 2), "{attempts:?}");
    assert!(attempts.iter().all(|line| line["server"] == upstream.url()), "{attempts:?}");
    assert!(outcomes(&gateway, "success") >= 1.0);
}

#[test]
fn a_server_that_was_not_tried_is_preferred() {
    let upstream = Upstream::answering(|_| ok(""));
    let (one, two) = (Closed::new(), Closed::new());
    for balance in ["round-robin", "least-requests"] {
        let text = turns(&[one.url(), two.url(), upstream.url()], "attempts = 3").replace("round-robin", balance);
        let gateway = Running::start(&text);
        for _ in 0..10 {
            assert_eq!(gateway.status("/"), 200, "{balance}");
        }
    }
}

#[test]
fn by_default_a_kept_connection_that_turned_out_to_be_closed_is_replaced() {
    // Every connection serves one request and answers the next by closing.
    let upstream = Upstream::start(|mut connection| {
        if connection.request().is_some() {
            connection.send(ok(""));
            connection.request();
        }
    });
    let gateway = Running::start(&(retrying(&upstream, "") + "[server]\nworkers = 1\n"));
    for path in ["/1", "/2", "/3"] {
        assert_eq!(gateway.status(path), 200);
    }
    assert!((2..=3).contains(&upstream.connections()), "{}", upstream.connections());
    for path in ["/1", "/2", "/3"] {
        assert!(gateway.line_of(path)["attempts"].as_u64().unwrap() <= 2);
    }
}

#[test]
fn a_post_on_a_kept_connection_that_closes_unanswered_is_not_sent_again() {
    let upstream = Upstream::start(|mut connection| {
        if connection.request().is_some() {
            connection.send(ok(""));
            connection.request();
        }
    });
    let gateway = Running::start(&(retrying(&upstream, "") + "[server]\nworkers = 1\n"));
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(post(&gateway, "x").status(), 502);
    assert_eq!(times(&upstream, "POST /"), 1);
    let lines = [gateway.access_line(), gateway.access_line()];
    let line = lines.iter().find(|line| line["method"] == "POST").unwrap();
    assert_eq!((&line["not_retried"], &line["reason"]), (&"method".into(), &"reset".into()), "{line}");
    assert_eq!(outcomes(&gateway, "method"), 1.0);
}

#[test]
fn by_default_neither_a_reset_nor_a_status_is_tried_again() {
    let upstream = failing(1, Connection::break_off);
    let gateway = Running::start(&one_route(&upstream, ""));
    assert_eq!(gateway.status("/"), 502);
    assert_eq!(times(&upstream, "GET /"), 1);
    let line = gateway.line_of("/");
    assert_eq!((&line["reason"], &line["attempts"]), (&"reset".into(), &1.into()));
    let upstream = failing(1, |mut connection| connection.send(UNAVAILABLE));
    let gateway = Running::start(&one_route(&upstream, ""));
    assert_eq!(gateway.status("/"), 503);
    assert_eq!(times(&upstream, "GET /"), 1);
}

#[test]
fn a_reset_is_tried_again_where_the_route_says_so() {
    let upstream = failing(1, Connection::break_off);
    let gateway = Running::start(&retrying(&upstream, "on = ['reset']"));
    assert_eq!(gateway.status("/"), 200);
    assert_eq!((times(&upstream, "GET /"), gateway.line_of("/")["attempts"].as_u64()), (2, Some(2)));
    assert_eq!(outcomes(&gateway, "success"), 1.0);
    let upstream = failing(1, Connection::break_off);
    let gateway = Running::start(&retrying(&upstream, "on = ['reset']"));
    assert_eq!(post(&gateway, "x").status(), 502, "a POST only where it is listed");
    assert_eq!(times(&upstream, "POST /"), 1);
    assert_eq!(gateway.line_of("/")["not_retried"], "method");
    let upstream = failing(1, Connection::break_off);
    let gateway = Running::start(&retrying(&upstream, "on = ['reset']\nmethods = ['POST']"));
    assert_eq!(post(&gateway, "x").text(), "x");
    assert_eq!(times(&upstream, "POST /"), 2);
}

#[test]
fn a_status_is_tried_again_where_the_route_says_so_and_the_last_answer_is_given() {
    let upstream = failing(1, |mut connection| connection.send(UNAVAILABLE));
    let gateway = Running::start(&retrying(&upstream, "on = ['503']"));
    assert_eq!(gateway.status("/"), 200);
    let upstream = failing(9, |mut connection| {
        connection.send("HTTP/1.1 503 Busy\r\nconnection: close\r\nx-mine: 1\r\ncontent-length: 4\r\n\r\nbusy");
    });
    let gateway = Running::start(&retrying(&upstream, "on = ['503']\nattempts = 3"));
    let answer = gateway.get("/");
    assert_eq!((answer.status(), answer.text().as_str(), answer.get("x-mine")), (503, "busy", Some("1")));
    assert_eq!(times(&upstream, "GET /"), 3);
    let line = gateway.line_of("/");
    assert_eq!((&line["attempts"], &line["not_retried"]), (&3.into(), &"attempts".into()), "{line}");
    assert_eq!(outcomes(&gateway, "failure"), 1.0);
}

#[test]
fn an_attempt_that_ran_out_of_time_is_tried_again_where_the_route_says_so() {
    let upstream = failing(1, |mut connection| assert_eq!(connection.ended(), End::Closed));
    let text = retrying(&upstream, "on = ['timeout']")
        .replace("[routes.retry]", "[routes.timeouts]\nattempt = '100ms'\n[routes.retry]");
    let gateway = Running::start(&text);
    let asked = Instant::now();
    assert_eq!(gateway.status("/"), 200);
    assert!(asked.elapsed() >= Duration::from_millis(100) && asked.elapsed() < Duration::from_secs(2));
    assert_eq!(gateway.line_of("/")["attempts"], 2);
}

#[test]
fn one_attempt_is_no_retry() {
    let nobody = Closed::new();
    let gateway = Running::start(&turns(&[nobody.url()], "attempts = 1"));
    assert_eq!(gateway.status("/"), 502);
    let line = gateway.line_of("/");
    assert_eq!((&line["attempts"], line.get("not_retried")), (&1.into(), None));
}

#[test]
fn without_a_budget_what_may_have_been_seen_is_not_tried_again() {
    let upstream = failing(9, |mut connection| connection.send(UNAVAILABLE));
    let gateway = Running::start(&retrying(&upstream, "on = ['503']\nbudget = '0%'\nbudget_min = 0"));
    assert_eq!(gateway.status("/"), 503);
    assert_eq!(times(&upstream, "GET /"), 1);
    assert_eq!(gateway.line_of("/")["not_retried"], "budget");
    assert_eq!(outcomes(&gateway, "budget"), 1.0);
}

#[test]
fn a_budget_bounds_what_failures_cost() {
    let upstream = failing(usize::MAX, |mut connection| connection.send(UNAVAILABLE));
    let gateway = Running::start(&retrying(&upstream, "on = ['503']\nbudget = '20%'\nbudget_min = 0\nattempts = 5"));
    for _ in 0..50 {
        assert_eq!(gateway.status("/"), 503);
    }
    let sent = times(&upstream, "GET /");
    assert!((55..=60).contains(&sent), "50 requests, 20 % more, and {sent} were sent");
}

#[test]
fn connections_that_could_not_be_made_cost_no_budget() {
    let upstream = Upstream::answering(|_| ok(""));
    let nobody = Closed::new();
    let gateway = Running::start(&turns(&[nobody.url(), upstream.url()], "budget = '0%'\nbudget_min = 0"));
    for _ in 0..6 {
        assert_eq!(gateway.status("/"), 200);
    }
}

#[test]
fn a_body_is_replayed_byte_for_byte_counted_and_chunked() {
    let body: String = (0..40_000).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    let upstream = failing(1, Connection::break_off);
    let gateway = Running::start(&retrying(&upstream, "on = ['reset']\nmethods = ['POST']"));
    assert!(post(&gateway, &body).text() == body);
    assert_eq!(upstream.text().matches("content-length: 40000").count(), 2);
    let upstream = failing(1, Connection::break_off);
    let gateway = Running::start(&retrying(&upstream, "on = ['reset']\nmethods = ['POST']"));
    let mut client = gateway.connect();
    client.send(request("POST", "/", &["Transfer-Encoding: chunked"]));
    for piece in body.as_bytes().chunks(777) {
        client.send(format!("{:x}\r\n", piece.len()));
        client.send(piece);
        client.send("\r\n");
    }
    client.send("0\r\nX-Sum: 7\r\n\r\n");
    assert!(client.response().text() == body);
    assert_eq!(upstream.text().matches("transfer-encoding: chunked").count(), 2);
    assert_eq!(upstream.text().matches("x-sum: 7").count(), 2, "trailers, too");
}

#[test]
fn a_body_larger_than_the_buffer_is_not_sent_again_and_the_line_says_so() {
    let swallow = |connection: Connection| connection.break_off();
    for chunked in [false, true] {
        let upstream = failing(1, swallow);
        let gateway = Running::start(&retrying(&upstream, "on = ['reset']\nmethods = ['POST']\nbuffer = '1KiB'"));
        let body = "x".repeat(1025);
        let mut client = gateway.connect();
        if chunked {
            client.send(request("POST", "/", &["Transfer-Encoding: chunked"]) + &format!("401\r\n{body}\r\n0\r\n\r\n"));
        } else {
            client.send(request("POST", "/", &["Content-Length: 1025"]) + &body);
        }
        assert_eq!(client.response().status(), 502);
        assert_eq!(times(&upstream, "POST /"), 1);
        assert_eq!(gateway.line_of("/")["not_retried"], "body");
        assert_eq!(outcomes(&gateway, "body"), 1.0);
        assert_eq!(post(&gateway, &body).status(), 200);
    }
}

#[test]
fn nothing_is_tried_again_that_would_begin_after_the_deadline() {
    let upstream = failing(usize::MAX, |mut connection| connection.send(UNAVAILABLE));
    let text = retrying(&upstream, "on = ['503']\nattempts = 60")
        .replace("backoff = '1ms'", "backoff = '100ms'\nmax_backoff = '100ms'\nbudget = '100%'\nbudget_min = 100")
        .replace("[routes.retry]", "[routes.timeouts]\ntotal = '300ms'\n[routes.retry]");
    let gateway = Running::start(&text);
    let asked = Instant::now();
    assert_eq!(gateway.status("/"), 503, "the last answer, not a timeout: the wait would have been in vain");
    assert!(asked.elapsed() < Duration::from_millis(1000));
    assert_eq!(gateway.line_of("/")["not_retried"], "deadline");
    assert_eq!(outcomes(&gateway, "deadline"), 1.0);
}

#[test]
fn an_answer_that_has_begun_is_never_tried_again() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let upstream = Upstream::start(move |mut connection| {
        if connection.request().is_some() {
            count.fetch_add(1, Ordering::SeqCst);
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
            connection.break_off();
        }
    });
    let gateway = Running::start(&retrying(&upstream, "on = ['reset', 'connect', 'timeout', '502']"));
    let answer = gateway.get("/");
    assert!(!answer.is_whole, "{answer:?}");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    let line = gateway.line_of("/");
    assert_eq!((&line["status"], &line["reason"]), (&200.into(), &"upstream_cut".into()), "{line}");
}
