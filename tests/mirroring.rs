//! Mirroring: copies reach the other upstream, and the original is unaffected
//! by them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::sync::mpsc;

use support::{
    Message, TIMEOUT, Upstream,
    gateway::{Closed, Gateway, request},
    ok,
};
use tokio::time::Instant;

/// Upstreams `app` and `other`, and a route to `app` that is mirrored to
/// `other`.
fn mirrored(app: &Upstream, other: &str, more: &str) -> String {
    format!(
        "[upstreams.app]\nservers = ['{}']\n[upstreams.other]\nservers = ['{other}']\n[[routes]]\nname = 'app'\n\
         upstream = 'app'\nmirror = {{ upstream = 'other' }}\n{more}\n",
        app.url()
    )
}

/// An upstream that sends each whole request to the channel. Its responses must
/// not reach any client.
fn recording() -> (Upstream, mpsc::Receiver<Message>) {
    let (sender, received) = mpsc::channel();
    let upstream = Upstream::answering(move |request| {
        let _ = sender.send(request.clone());
        "HTTP/1.1 500 Not for you\r\ncontent-length: 6\r\n\r\nsecret".to_owned()
    });
    (upstream, received)
}

fn copies(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(
        "tidegate_mirrored_total",
        &[("route", "app"), ("outcome", outcome)],
    )
}

#[track_caller]
fn await_copies(gateway: &Gateway, outcome: &str, least: f64) {
    gateway.await_metric(
        "tidegate_mirrored_total",
        &[("route", "app"), ("outcome", outcome)],
        least,
    );
}

#[test]
fn a_copy_has_no_expect_and_no_upgrade() {
    let app = Upstream::answering(|_| ok("original"));
    let (other, copied) = recording();
    let gateway = Gateway::start(&mirrored(&app, &other.url(), ""));
    let mut client = gateway.connect();
    client.send(request("POST", "/", &["Content-Length: 4", "Expect: 100-continue"]) + "body");
    let copy = copied.recv_timeout(TIMEOUT).unwrap();
    assert_eq!((copy.get("expect"), copy.text().as_str()), (None, "body"));
    let mut client = gateway.connect();
    client.send(request(
        "GET",
        "/",
        &["Connection: upgrade", "Upgrade: websocket"],
    ));
    let copy = copied.recv_timeout(TIMEOUT).unwrap();
    assert_eq!((copy.get("upgrade"), copy.get("connection")), (None, None));
}

#[test]
fn a_copy_equals_the_original_and_its_response_is_discarded() {
    let (app, asked) = {
        let (sender, received) = mpsc::channel();
        let app = Upstream::answering(move |request| {
            let _ = sender.send(request.clone());
            ok("original")
        });
        (app, received)
    };
    let (other, copied) = recording();
    let more = "request = { strip_prefix = '/shop', set_headers = { x-from = 'gate' } }\nmatch = { path_prefix = '/shop' }";
    let gateway = Gateway::start(&mirrored(&app, &other.url(), more));
    let mut client = gateway.connect();
    client.send(
        request(
            "POST",
            "/shop/cart?x=1",
            &["Content-Length: 4", "X-User: u"],
        ) + "body",
    );
    assert_eq!(client.response().text(), "original");
    let (original, copy) = (
        asked.recv_timeout(TIMEOUT).unwrap(),
        copied.recv_timeout(TIMEOUT).unwrap(),
    );
    assert_eq!(copy.head.line, "POST /cart?x=1 HTTP/1.1");
    assert_eq!(
        (copy.head.raw, copy.body),
        (original.head.raw, original.body)
    );
    await_copies(&gateway, "success", 1.0);
    assert_eq!(
        client.exchange(request("GET", "/shop/next", &[])).status(),
        200
    );
    let lines: Vec<_> = (0..2).map(|_| gateway.access_line()).collect();
    assert_eq!(
        (&lines[0]["path"], &lines[1]["path"]),
        (&"/shop/cart".into(), &"/shop/next".into())
    );
    assert!(
        lines
            .iter()
            .all(|line| line["upstream"] == "app" && line["attempts"] == 1),
        "{lines:?}"
    );
    assert_eq!(gateway.metric("tidegate_requests_total", &[]), 2.0);
}

#[test]
fn a_chunked_body_is_copied_whole() {
    let app = Upstream::answering(|request| ok(&request.text()));
    let (other, copied) = recording();
    let gateway = Gateway::start(&mirrored(&app, &other.url(), ""));
    let mut client = gateway.connect();
    client.send(request("PUT", "/", &["Transfer-Encoding: chunked"]));
    for piece in ["3\r\none\r\n", "3\r\ntwo\r\n", "0\r\n\r\n"] {
        client.send(piece);
    }
    assert_eq!(client.response().text(), "onetwo");
    assert_eq!(copied.recv_timeout(TIMEOUT).unwrap().text(), "onetwo");
}

#[test]
fn a_body_beyond_the_buffer_is_not_copied_and_is_counted() {
    let app = Upstream::answering(|request| ok(&request.body.len().to_string()));
    let (other, _copied) = recording();
    let gateway = Gateway::start(&mirrored(&app, &other.url(), "retry = { buffer = '1KiB' }"));
    let (long, half) = ("x".repeat(2000), "x".repeat(1000));
    let mut client = gateway.connect();
    client.send(request("POST", "/", &["Content-Length: 2000"]) + &long);
    assert_eq!(client.response().text(), "2000");
    client.send(request("POST", "/", &["Transfer-Encoding: chunked"]));
    client.send(format!("3e8\r\n{half}\r\n3e8\r\n{half}\r\n0\r\n\r\n"));
    assert_eq!(client.response().text(), "2000");
    assert_eq!(copies(&gateway, "body"), 2.0);
    assert_eq!(other.connections(), 0);
}

#[test]
fn an_unreachable_mirror_fails_no_request_and_is_counted() {
    let app = Upstream::answering(|_| ok("original"));
    let closed = Closed::new();
    let gateway = Gateway::start(&mirrored(&app, &closed.url(), ""));
    for _ in 0..5 {
        assert_eq!(gateway.get("/").text(), "original");
    }
    await_copies(&gateway, "failure", 5.0);
}

#[test]
fn a_mirror_that_never_answers_delays_nothing_and_holds_a_bounded_number_of_copies() {
    let app = Upstream::answering(|_| ok("original"));
    let silent = Upstream::start(|mut connection| {
        connection.request();
        connection.ended();
    });
    let gateway = Gateway::start(&mirrored(&app, &silent.url(), ""));
    let mut client = gateway.connect();
    let asked = Instant::now();
    for _ in 0..200 {
        assert_eq!(client.exchange(request("GET", "/", &[])).text(), "original");
    }
    assert!(asked.elapsed() < TIMEOUT / 2, "{:?}", asked.elapsed());
    assert_eq!(copies(&gateway, "busy"), 72.0);
    assert!(silent.connections() <= 128, "{}", silent.connections());
}

#[test]
fn a_copy_that_takes_too_long_is_abandoned() {
    let app = Upstream::answering(|_| ok("original"));
    let silent = Upstream::start(|mut connection| {
        connection.request();
        connection.ended();
    });
    let gateway = Gateway::start(&mirrored(
        &app,
        &silent.url(),
        "timeouts = { attempt = '100ms' }",
    ));
    assert_eq!(gateway.status("/"), 200);
    await_copies(&gateway, "failure", 1.0);
}

#[test]
fn copies_take_no_tokens_and_refused_requests_are_not_copied() {
    let app = Upstream::answering(|_| ok("original"));
    let (other, copied) = recording();
    let limit = "limits = ['few']\n[limits.few]\nrate = '1/h'\nburst = 3";
    let gateway = Gateway::start(&mirrored(&app, &other.url(), limit));
    let statuses: Vec<_> = (0..5).map(|_| gateway.status("/")).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    await_copies(&gateway, "success", 3.0);
    assert_eq!(copied.try_iter().count(), 3);
}

#[test]
fn a_retried_request_is_copied_once() {
    let app = Upstream::answering(|_| "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_owned());
    let (other, copied) = recording();
    let retry = "retry = { attempts = 3, on = ['503'], backoff = '0s' }";
    let gateway = Gateway::start(&mirrored(&app, &other.url(), retry));
    assert_eq!(gateway.status("/"), 503);
    await_copies(&gateway, "success", 1.0);
    assert_eq!(
        (
            app.text().matches("GET /").count(),
            copied.try_iter().count()
        ),
        (3, 1)
    );
}

#[test]
fn a_percentage_of_requests_is_copied() {
    let app = Upstream::answering(|_| ok("original"));
    let (other, copied) = recording();
    let text = mirrored(&app, &other.url(), "").replace("'other' }", "'other', percent = 20 }");
    let gateway = Gateway::start(&text);
    let mut client = gateway.connect();
    for _ in 0..300 {
        client.exchange(request("GET", "/", &[]));
    }
    // Within five standard deviations of 60.
    await_copies(&gateway, "success", 26.0);
    assert!(copied.try_iter().count() <= 94);
}

/// Like [`mirrored`], with this cap for the upstream `app` or `other`.
fn capped(of: &str, cap: &str, app: &Upstream, other: &Upstream) -> String {
    format!(
        "{}\n[upstreams.{of}.concurrency]\n{cap}\n",
        mirrored(app, &other.url(), "")
    )
}

#[test]
fn a_copy_takes_a_permit_of_the_other_upstream_and_never_waits_for_one() {
    let app = Upstream::answering(|_| ok("original"));
    let (other, reached, leave) = Upstream::held();
    let gateway = Gateway::start(&capped(
        "other",
        "max = 1\nqueue = 8\nqueue_timeout = '10s'",
        &app,
        &other,
    ));
    assert_eq!(gateway.status("/"), 200);
    reached.recv_timeout(TIMEOUT).unwrap();
    let gauge = |name| gateway.metric(name, &[("upstream", "other")]);
    assert_eq!(gauge("tidegate_upstream_in_flight"), 1.0);
    assert_eq!(gateway.status("/"), 200);
    await_copies(&gateway, "cap", 1.0);
    assert_eq!(gauge("tidegate_upstream_queued"), 0.0);
    leave.open();
    await_copies(&gateway, "success", 1.0);
    assert_eq!(gauge("tidegate_upstream_in_flight"), 0.0);
    leave.open();
    assert_eq!(
        gateway.status("/"),
        200,
        "the permit is free for another copy"
    );
    await_copies(&gateway, "success", 2.0);
}

#[test]
fn a_request_refused_by_a_cap_is_not_copied() {
    let (app, reached, leave) = Upstream::held();
    let (other, copied) = recording();
    let gateway = Gateway::start(&capped("app", "max = 1", &app, &other));
    let mut first = gateway.connect();
    first.send(request("GET", "/first", &[]));
    reached.recv_timeout(TIMEOUT).unwrap();
    assert_eq!(gateway.status("/refused"), 503);
    leave.open();
    assert_eq!(first.response().status(), 200);
    await_copies(&gateway, "success", 1.0);
    assert_eq!(
        copied
            .try_iter()
            .map(|copy| copy.target().to_owned())
            .collect::<Vec<_>>(),
        ["/first"]
    );
}
