//! Retries: failures are retried if that is safe, useful and affordable, and
//! the access line says why not otherwise.

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
    Connection, End, Upstream,
    gateway::{Closed, Gateway, request},
    http2, ok, one_route,
};
use tokio::time::Instant;

const UNAVAILABLE: &str = "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// An upstream `app` with these servers, used in turns, and a route to it with
/// this `[routes.retry]`.
fn turns(urls: &[String], retry: &str) -> String {
    format!(
        "[upstreams.app]\nservers = {urls:?}\nbalance = 'round-robin'\n\
         [[routes]]\nname = 'app'\nupstream = 'app'\n[routes.retry]\nbackoff = '1ms'\n{retry}\n"
    )
}

/// A route to one server, with this `[routes.retry]`.
fn retrying(upstream: &Upstream, retry: &str) -> String {
    turns(&[upstream.url()], retry)
}

/// An upstream that treats its first `bad` requests this way and responds to
/// the others with their bodies.
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

/// Number of requests with this method and target at an upstream.
fn times(upstream: &Upstream, line: &str) -> usize {
    upstream.text().matches(&format!("{line} HTTP/1.1")).count()
}

#[track_caller]
fn outcomes(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(
        "tidegate_retries_total",
        &[("route", "app"), ("outcome", outcome)],
    )
}

#[track_caller]
fn post(gateway: &Gateway, body: &str) -> support::Message {
    let mut client = gateway.connect();
    client.send(request("POST", "/", &[&format!("Content-Length: {}", body.len())]) + body);
    client.response()
}

#[test]
fn a_server_that_refuses_connections_is_passed_over_whatever_the_method() {
    let upstream = Upstream::answering(|request| ok(&request.text()));
    let closed = Closed::new();
    let gateway = Gateway::start(&turns(&[closed.url(), upstream.url()], ""));
    for _ in 0..4 {
        assert_eq!(post(&gateway, "body").text(), "body");
    }
    assert_eq!(times(&upstream, "POST /"), 4, "no request is sent twice");
    let attempts: Vec<_> = (0..4).map(|_| gateway.access_line()).collect();
    assert!(
        attempts.iter().any(|line| line["attempts"] == 2),
        "{attempts:?}"
    );
    assert!(
        attempts.iter().all(|line| line["server"] == upstream.url()),
        "{attempts:?}"
    );
    assert!(outcomes(&gateway, "success") >= 1.0);
}

#[test]
fn a_server_without_an_attempt_is_preferred() {
    let upstream = Upstream::answering(|_| ok(""));
    let (one, two) = (Closed::new(), Closed::new());
    for balance in ["round-robin", "least-requests"] {
        let text = turns(&[one.url(), two.url(), upstream.url()], "attempts = 3")
            .replace("round-robin", balance);
        let gateway = Gateway::start(&text);
        for _ in 0..10 {
            assert_eq!(gateway.status("/"), 200, "{balance}");
        }
    }
}

#[test]
fn by_default_a_pooled_connection_that_turns_out_to_be_closed_is_replaced() {
    // Each connection serves one request and closes at the next one.
    let upstream = Upstream::start(|mut connection| {
        if connection.request().is_some() {
            connection.send(ok(""));
            connection.request();
        }
    });
    let gateway = Gateway::start(&(retrying(&upstream, "") + "[server]\nworkers = 1\n"));
    for path in ["/1", "/2", "/3"] {
        assert_eq!(gateway.status(path), 200);
    }
    assert!(
        (2..=3).contains(&upstream.connections()),
        "{}",
        upstream.connections()
    );
    for path in ["/1", "/2", "/3"] {
        assert!(gateway.line_of(path)["attempts"].as_u64().unwrap() <= 2);
    }
}

#[test]
fn a_post_on_a_pooled_connection_that_closes_unanswered_is_not_retried() {
    let upstream = Upstream::start(|mut connection| {
        if connection.request().is_some() {
            connection.send(ok(""));
            connection.request();
        }
    });
    let gateway = Gateway::start(&(retrying(&upstream, "") + "[server]\nworkers = 1\n"));
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(post(&gateway, "x").status(), 502);
    assert_eq!(times(&upstream, "POST /"), 1);
    let lines = [gateway.access_line(), gateway.access_line()];
    let line = lines.iter().find(|line| line["method"] == "POST").unwrap();
    assert_eq!(
        (&line["not_retried"], &line["reason"]),
        (&"method".into(), &"reset".into()),
        "{line}"
    );
    assert_eq!(outcomes(&gateway, "method"), 1.0);
}

/// The announced length does not matter: nothing of the upload has been read,
/// so it is still whole.
#[test]
fn an_upload_of_any_size_goes_to_another_server_when_one_refuses_the_connection() {
    let upstream =
        Upstream::answering(|request| ok(&format!("{} {}", request.head.line, request.body.len())));
    let closed = Closed::new();
    let gateway = Gateway::start(&turns(&[closed.url(), upstream.url()], ""));
    let size = 1 << 20;
    for (method, length) in [
        ("POST", 65_536),
        ("POST", 65_537),
        ("PUT", 65_537),
        ("PUT", size),
        ("PATCH", size),
    ] {
        // Both servers get a turn.
        for _ in 0..2 {
            let mut client = gateway.connect();
            client.send(request(
                method,
                "/",
                &[&format!("Content-Length: {length}")],
            ));
            client.send(vec![b'x'; length]);
            assert_eq!(
                client.response().text(),
                format!("{method} / HTTP/1.1 {length}")
            );
        }
    }
    for _ in 0..2 {
        let mut client = gateway.connect();
        client
            .send(request("POST", "/", &["Transfer-Encoding: chunked"]) + &format!("{size:x}\r\n"));
        client.send(vec![b'x'; size]);
        client.send("\r\n0\r\n\r\n");
        assert_eq!(client.response().text(), format!("POST / HTTP/1.1 {size}"));
    }
    assert!(outcomes(&gateway, "success") >= 5.0);
}

#[test]
fn an_upload_that_waits_for_continue_goes_to_another_server_when_one_refuses_the_connection() {
    let upstream = Upstream::start(|mut connection| {
        while let Ok(head) = connection.head() {
            connection.send("HTTP/1.1 100 Continue\r\n\r\n");
            let request = connection.message(head, false, false);
            connection.send(ok(&request.body.len().to_string()));
        }
    });
    let closed = Closed::new();
    let gateway = Gateway::start(&turns(&[closed.url(), upstream.url()], ""));
    for _ in 0..2 {
        let mut client = gateway.connect();
        client.send(request(
            "PUT",
            "/",
            &["Content-Length: 65537", "Expect: 100-continue"],
        ));
        assert_eq!(client.response().status(), 100);
        client.send(vec![b'x'; 65537]);
        assert_eq!(client.response().text(), "65537");
    }
}

#[test]
fn an_upload_of_any_size_goes_to_another_server_over_http2_too() {
    let closed = Closed::new();
    let server = http2::Server::start(h2::server::Builder::new(), async |mut stream| {
        let (body, _) = stream.body().await;
        stream.answer(200, body.len().to_string());
    });
    let text = turns(&[closed.url(), server.url()], "")
        .replace("balance =", "protocol = 'http2'\nbalance =");
    let gateway = Gateway::start(&text);
    static BODY: [u8; 65_537] = [b'x'; 65_537];
    for _ in 0..2 {
        let mut client = http2::Http2::connect(gateway.address());
        let response = client.post("/", &[("content-length", "65537")], &BODY);
        assert_eq!(
            (response.status.as_u16(), response.text().as_str()),
            (200, "65537")
        );
        let mut client = gateway.connect();
        client.send(request("PUT", "/", &["Content-Length: 65537"]));
        client.send(BODY);
        assert_eq!(client.response().text(), "65537");
    }
}

#[test]
fn a_server_that_refuses_connections_costs_no_backoff_while_another_one_is_up() {
    let upstream = Upstream::answering(|_| ok(""));
    let closed = Closed::new();
    let slow = "backoff = '20s'\nmax_backoff = '20s'";
    let gateway = Gateway::start(
        &turns(&[closed.url(), upstream.url()], "").replace("backoff = '1ms'", slow),
    );
    let asked = Instant::now();
    for _ in 0..8 {
        assert_eq!(gateway.status("/"), 200);
    }
    assert!(
        outcomes(&gateway, "success") >= 4.0,
        "every other turn is the dead server's"
    );
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
}

#[test]
fn every_retry_is_counted_by_its_own_outcome() {
    let upstream = failing(usize::MAX, |mut connection| connection.send(UNAVAILABLE));
    let gateway = Gateway::start(&retrying(&upstream, "on = ['503']\nattempts = 3"));
    for _ in 0..6 {
        assert_eq!(gateway.status("/"), 503);
    }
    assert_eq!(times(&upstream, "GET /"), 18);
    assert_eq!(outcomes(&gateway, "failure"), 12.0);
    // Two attempts fail and the third succeeds.
    let upstream = failing(3, |mut connection| connection.send(UNAVAILABLE));
    let gateway = Gateway::start(&retrying(&upstream, "on = ['503']\nattempts = 9"));
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(
        (outcomes(&gateway, "failure"), outcomes(&gateway, "success")),
        (2.0, 1.0)
    );
}

#[test]
fn a_retry_whose_client_left_is_counted_as_such() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let upstream = Upstream::start(move |mut connection| {
        let Some(request) = connection.request() else {
            return;
        };
        let is_first = request.target() == "/" && connection.index == 0;
        if is_first {
            return connection.send(UNAVAILABLE);
        }
        sender.send(()).unwrap();
        connection.ended();
    });
    let gateway = Gateway::start(&retrying(&upstream, "on = ['503']"));
    let client = gateway.sent("/", &[]);
    receiver.recv().unwrap();
    drop(client);
    gateway.await_metric(
        "tidegate_retries_total",
        &[("route", "app"), ("outcome", "client_gone")],
        1.0,
    );
}

/// A restarting server closes connections without a response; NGINX and HAProxy
/// hide that from clients, too.
#[test]
fn by_default_a_reset_before_any_byte_of_the_response_is_retried_once() {
    for fail in [Connection::break_off as fn(Connection), drop] {
        let upstream = failing(1, fail);
        let gateway = Gateway::start(&one_route(&upstream, ""));
        assert_eq!(gateway.status("/"), 200);
        assert_eq!(times(&upstream, "GET /"), 2);
        let upstream = failing(usize::MAX, fail);
        let gateway = Gateway::start(&one_route(&upstream, ""));
        assert_eq!(gateway.status("/"), 502);
        assert_eq!(times(&upstream, "GET /"), 2);
        let line = gateway.line_of("/");
        assert_eq!(
            (&line["reason"], &line["attempts"]),
            (&"reset".into(), &2.into())
        );
    }
}

#[test]
fn by_default_a_post_that_was_sent_is_not_retried() {
    let upstream = failing(1, Connection::break_off);
    let gateway = Gateway::start(&one_route(&upstream, ""));
    assert_eq!(post(&gateway, "x").status(), 502);
    assert_eq!(times(&upstream, "POST /"), 1);
    assert_eq!(gateway.line_of("/")["not_retried"], "method");
}

#[test]
fn a_reset_within_the_response_head_is_not_retried() {
    for begun in [
        "HTTP/1.1 200 OK\r\ncontent-le",
        "H",
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
    ] {
        let upstream = failing(1, move |mut connection| {
            connection.send(begun);
            connection.finish();
            connection.ended();
        });
        let gateway = Gateway::start(&one_route(&upstream, ""));
        let mut client = gateway.sent("/", &[]);
        let first = client.response();
        let response = if first.status() == 103 {
            client.response()
        } else {
            first
        };
        assert_eq!(response.status(), 502, "{begun:?}");
        assert_eq!(times(&upstream, "GET /"), 1);
    }
}

#[test]
fn by_default_a_status_is_not_retried() {
    let upstream = failing(1, |mut connection| connection.send(UNAVAILABLE));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    assert_eq!(gateway.status("/"), 503);
    assert_eq!(times(&upstream, "GET /"), 1);
}

#[test]
fn a_reset_is_retried_if_the_route_allows_it() {
    let upstream = failing(1, Connection::break_off);
    let gateway = Gateway::start(&retrying(&upstream, "on = ['reset']"));
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(
        (
            times(&upstream, "GET /"),
            gateway.line_of("/")["attempts"].as_u64()
        ),
        (2, Some(2))
    );
    assert_eq!(outcomes(&gateway, "success"), 1.0);
    let upstream = failing(1, Connection::break_off);
    let gateway = Gateway::start(&retrying(&upstream, "on = ['reset']"));
    assert_eq!(
        post(&gateway, "x").status(),
        502,
        "a POST is retried only if the route lists it"
    );
    assert_eq!(times(&upstream, "POST /"), 1);
    assert_eq!(gateway.line_of("/")["not_retried"], "method");
    let upstream = failing(1, Connection::break_off);
    let gateway = Gateway::start(&retrying(&upstream, "on = ['reset']\nmethods = ['POST']"));
    assert_eq!(post(&gateway, "x").text(), "x");
    assert_eq!(times(&upstream, "POST /"), 2);
}

#[test]
fn a_status_is_retried_if_the_route_allows_it_and_the_last_response_is_returned() {
    let upstream = failing(1, |mut connection| connection.send(UNAVAILABLE));
    let gateway = Gateway::start(&retrying(&upstream, "on = ['503']"));
    assert_eq!(gateway.status("/"), 200);
    let upstream = failing(9, |mut connection| {
        connection.send(
            "HTTP/1.1 503 Busy\r\nconnection: close\r\nx-mine: 1\r\ncontent-length: 4\r\n\r\nbusy",
        );
    });
    let gateway = Gateway::start(&retrying(&upstream, "on = ['503']\nattempts = 3"));
    let response = gateway.get("/");
    assert_eq!(
        (
            response.status(),
            response.text().as_str(),
            response.get("x-mine")
        ),
        (503, "busy", Some("1"))
    );
    assert_eq!(times(&upstream, "GET /"), 3);
    let line = gateway.line_of("/");
    assert_eq!(
        (&line["attempts"], &line["not_retried"]),
        (&3.into(), &"attempts".into()),
        "{line}"
    );
    assert_eq!(
        outcomes(&gateway, "failure"),
        2.0,
        "both retries are counted"
    );
}

#[test]
fn an_attempt_that_timed_out_is_retried_if_the_route_allows_it() {
    let upstream = failing(1, |mut connection| {
        assert_eq!(connection.ended(), End::Closed)
    });
    let text = retrying(&upstream, "on = ['timeout']").replace(
        "[routes.retry]",
        "[routes.timeouts]\nattempt = '100ms'\n[routes.retry]",
    );
    let gateway = Gateway::start(&text);
    let asked = Instant::now();
    assert_eq!(gateway.status("/"), 200);
    assert!(
        asked.elapsed() >= Duration::from_millis(100) && asked.elapsed() < Duration::from_secs(2)
    );
    assert_eq!(gateway.line_of("/")["attempts"], 2);
}

#[test]
fn one_attempt_is_no_retry() {
    let closed = Closed::new();
    let gateway = Gateway::start(&turns(&[closed.url()], "attempts = 1"));
    assert_eq!(gateway.status("/"), 502);
    let line = gateway.line_of("/");
    assert_eq!(
        (&line["attempts"], line.get("not_retried")),
        (&1.into(), None)
    );
}

#[test]
fn without_a_budget_only_unsent_requests_are_retried() {
    let upstream = failing(9, |mut connection| connection.send(UNAVAILABLE));
    let gateway = Gateway::start(&retrying(
        &upstream,
        "on = ['503']\nbudget = '0%'\nbudget_min = 0",
    ));
    assert_eq!(gateway.status("/"), 503);
    assert_eq!(times(&upstream, "GET /"), 1);
    assert_eq!(gateway.line_of("/")["not_retried"], "budget");
    assert_eq!(outcomes(&gateway, "budget"), 1.0);
}

#[test]
fn a_budget_bounds_the_number_of_retries() {
    let upstream = failing(usize::MAX, |mut connection| connection.send(UNAVAILABLE));
    let gateway = Gateway::start(&retrying(
        &upstream,
        "on = ['503']\nbudget = '20%'\nbudget_min = 0\nattempts = 5",
    ));
    for _ in 0..50 {
        assert_eq!(gateway.status("/"), 503);
    }
    let sent = times(&upstream, "GET /");
    assert!(
        (55..=60).contains(&sent),
        "50 requests, 20 % more, and {sent} were sent"
    );
}

#[test]
fn failed_connections_cost_no_budget() {
    let upstream = Upstream::answering(|_| ok(""));
    let closed = Closed::new();
    let gateway = Gateway::start(&turns(
        &[closed.url(), upstream.url()],
        "budget = '0%'\nbudget_min = 0",
    ));
    for _ in 0..6 {
        assert_eq!(gateway.status("/"), 200);
    }
}

#[test]
fn a_body_is_replayed_byte_for_byte_counted_and_chunked() {
    let body: String = (0..40_000)
        .map(|at| char::from(b'a' + (at % 23) as u8))
        .collect();
    let upstream = failing(1, Connection::break_off);
    let gateway = Gateway::start(&retrying(&upstream, "on = ['reset']\nmethods = ['POST']"));
    assert!(post(&gateway, &body).text() == body);
    assert_eq!(upstream.text().matches("content-length: 40000").count(), 2);
    let upstream = failing(1, Connection::break_off);
    let passing = "on = ['reset']\nmethods = ['POST']\n[routes.request]\ntrailers = 'pass'";
    let gateway = Gateway::start(&retrying(&upstream, passing));
    let mut client = gateway.connect();
    client.send(request(
        "POST",
        "/",
        &["Transfer-Encoding: chunked", "Trailer: x-sum"],
    ));
    for piece in body.as_bytes().chunks(777) {
        client.send(format!("{:x}\r\n", piece.len()));
        client.send(piece);
        client.send("\r\n");
    }
    client.send("0\r\nX-Sum: 7\r\n\r\n");
    assert!(client.response().text() == body);
    assert_eq!(
        upstream
            .text()
            .matches("transfer-encoding: chunked")
            .count(),
        2
    );
    assert_eq!(
        upstream.text().matches("x-sum: 7").count(),
        2,
        "trailers, too"
    );
}

#[test]
fn a_body_larger_than_the_buffer_is_not_retried_and_the_access_line_says_so() {
    let swallow = |connection: Connection| connection.break_off();
    for chunked in [false, true] {
        let upstream = failing(1, swallow);
        let gateway = Gateway::start(&retrying(
            &upstream,
            "on = ['reset']\nmethods = ['POST']\nbuffer = '1KiB'",
        ));
        let body = "x".repeat(1025);
        let mut client = gateway.connect();
        if chunked {
            client.send(
                request("POST", "/", &["Transfer-Encoding: chunked"])
                    + &format!("401\r\n{body}\r\n0\r\n\r\n"),
            );
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
fn no_attempt_begins_after_the_deadline() {
    let upstream = failing(usize::MAX, |mut connection| connection.send(UNAVAILABLE));
    // The drawn part of the `backoff` of a whole day always exceeds `total`,
    // and `total` is longer than a busy machine needs for one attempt.
    let text = retrying(&upstream, "on = ['503']")
        .replace("backoff = '1ms'", "backoff = '1d'\nmax_backoff = '1d'")
        .replace(
            "[routes.retry]",
            "[routes.timeouts]\ntotal = '5s'\n[routes.retry]",
        );
    let gateway = Gateway::start(&text);
    let asked = Instant::now();
    assert_eq!(
        gateway.status("/"),
        503,
        "the last response instead of a timeout: waiting would have been useless"
    );
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(gateway.line_of("/")["not_retried"], "deadline");
    assert_eq!(outcomes(&gateway, "deadline"), 1.0);
}

#[test]
fn a_retry_waits_at_least_as_long_as_the_response_asks() {
    for status in ["429", "503"] {
        let busy = format!(
            "HTTP/1.1 {status} Busy\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        let upstream = failing(1, move |mut connection| connection.send(busy.as_str()));
        let gateway = Gateway::start(&retrying(&upstream, "on = ['429', '503']"));
        let asked = Instant::now();
        assert_eq!(gateway.status("/"), 200);
        assert!(asked.elapsed() >= Duration::from_secs(1), "{status}");
    }
}

#[test]
fn another_server_is_not_asked_before_the_time_that_the_response_asks_for() {
    let busy = Upstream::answering(|_| {
        "HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n".to_owned()
    });
    let good = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&turns(&[busy.url(), good.url()], "on = ['503']"));
    let asked = Instant::now();
    let statuses = [gateway.status("/"), gateway.status("/")];
    assert_eq!(statuses, [200, 200]);
    assert!(asked.elapsed() >= Duration::from_secs(1));
    assert_ne!(times(&busy, "GET /"), 0);
}

#[test]
fn a_response_that_asks_for_more_time_than_is_left_is_passed_on() {
    for after in [
        "40",
        "18446744073709551615",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ] {
        let busy = format!(
            "HTTP/1.1 503 Busy\r\nretry-after: {after}\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbusy"
        );
        let upstream = failing(9, move |mut connection| connection.send(busy.as_str()));
        let gateway = Gateway::start(&retrying(&upstream, "on = ['503']"));
        let response = gateway.get("/");
        assert_eq!(
            (response.status(), response.get("retry-after")),
            (503, Some(after))
        );
        assert_eq!(response.text(), "busy");
        assert_eq!(times(&upstream, "GET /"), 1);
        assert_eq!(gateway.line_of("/")["not_retried"], "retry_after");
        assert_eq!(outcomes(&gateway, "retry_after"), 1.0);
    }
}

#[test]
fn a_retry_after_that_cannot_be_read_asks_for_nothing() {
    let busy =
        "HTTP/1.1 503 Busy\r\nretry-after: soon\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let upstream = failing(1, move |mut connection| connection.send(busy));
    let gateway = Gateway::start(&retrying(&upstream, "on = ['503']"));
    assert_eq!(gateway.status("/"), 200);
}

#[test]
fn a_response_that_has_begun_is_never_retried() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let upstream = Upstream::start(move |mut connection| {
        if connection.request().is_some() {
            count.fetch_add(1, Ordering::SeqCst);
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
            connection.break_off();
        }
    });
    let gateway = Gateway::start(&retrying(
        &upstream,
        "on = ['reset', 'connect', 'timeout', '502']",
    ));
    let response = gateway.get("/");
    assert!(!response.is_whole, "{response:?}");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    let line = gateway.line_of("/");
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&200.into(), &"upstream_cut".into()),
        "{line}"
    );
}
