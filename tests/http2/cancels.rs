//! Cancelled requests, and heads that a server does not accept: they affect
//! only the client that sent them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use h2::{Reason, client, server::Builder};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::support::{
    Gateway, TIMEOUT, Upstream,
    http2::{Http2, Pending, Server, Stream},
    ok,
};

/// Streams and resets that a server has seen.
#[derive(Default)]
struct Seen {
    began: AtomicUsize,
    resets: AtomicUsize,
}

/// A server that responds to a POST with the length of the body. It never
/// responds to other requests and counts their resets.
fn hanging(settings: Builder) -> (Server, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let counts = Arc::clone(&seen);
    let server = Server::start(settings, move |mut stream: Stream| {
        let seen = Arc::clone(&counts);
        async move {
            if stream.request.method() == "POST" {
                let (body, _) = stream.body().await;
                return stream.answer(200, body.len().to_string());
            }
            seen.began.fetch_add(1, Ordering::SeqCst);
            if std::future::poll_fn(|cx| stream.respond.poll_reset(cx))
                .await
                .is_ok()
            {
                seen.resets.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (server, seen)
}

fn to(url: &str, protocol: &str) -> String {
    format!(
        "[server]\nworkers = 1\n[upstreams.app]\nservers = ['{url}']\nprotocol = '{protocol}'\n\
         pool = {{ max_connections = 1000 }}\n[[routes]]\nname = 'app'\nupstream = 'app'\n"
    )
}

fn await_count(count: &AtomicUsize, least: usize) {
    let end = tokio::time::Instant::now() + TIMEOUT;
    while count.load(Ordering::SeqCst) < least {
        assert!(
            tokio::time::Instant::now() < end,
            "{} of {least}",
            count.load(Ordering::SeqCst)
        );
        std::thread::yield_now();
    }
}

fn open(client: &mut Http2, count: usize) -> Vec<Pending> {
    (0..count)
        .map(|_| client.open("GET", "/hang", &[], true))
        .collect()
}

/// Cancels requests and waits until the gateway has counted them, `so_far` in
/// all.
fn cancel(gateway: &Gateway, client: &Http2, pending: Vec<Pending>, so_far: usize) {
    drop(pending);
    client.settle();
    gateway.await_metric(
        "tidegate_requests_total",
        &[("status", "499")],
        so_far as f64,
    );
}

/// Servers bound the resets of a connection, commonly to 200 in 30 s, and then
/// end the connection with the streams of all other clients.
#[test]
fn cancelled_requests_of_one_client_end_no_stream_of_another() {
    let (server, seen) = hanging(Builder::new());
    let gateway = Gateway::start(&to(&server.url(), "http2"));
    let mut other = Http2::connect(gateway.address());
    let mut posted = other.open("POST", "/", &[], false);
    let (mut one, mut two) = (
        Http2::connect(gateway.address()),
        Http2::connect(gateway.address()),
    );
    let pending = [open(&mut one, 103), open(&mut two, 102)];
    await_count(&seen.began, 205);
    assert_eq!(server.connections(), 1);
    let [first, second] = pending;
    cancel(&gateway, &one, first, 103);
    cancel(&gateway, &two, second, 205);
    posted
        .body
        .send_data(Bytes::from_static(b"12345"), true)
        .unwrap();
    assert_eq!(other.finish(posted.response).unwrap().text(), "5");
    // The server has read all resets sent before that body. The gateway may
    // have sent one more every 400 ms.
    let resets = seen.resets.load(Ordering::SeqCst);
    assert!((50..100).contains(&resets), "{resets} resets");
    assert_eq!(other.post("/", &[], b"123").text(), "3");
    assert_eq!(
        server.connections(),
        2,
        "the first connection takes no new stream"
    );
}

/// Each cancelled request costs a server work, and an HTTP/1 server a
/// connection: one client could cause thousands in a second.
#[test]
fn a_client_that_cancels_too_many_requests_is_refused_for_a_while() {
    let upstream = Upstream::start(|mut connection| {
        let head = connection.head().unwrap();
        if head.target() == "/good" {
            return connection.send(ok("good"));
        }
        connection.rest(&mut Vec::new());
    });
    let gateway = Gateway::start(&to(&upstream.url(), "http1"));
    let mut client = Http2::connect(gateway.address());
    let mut all = 0;
    for count in [99, 120] {
        let pending = open(&mut client, count);
        all += count;
        gateway.await_metric("tidegate_in_flight", &[("route", "app")], count as f64);
        let end = tokio::time::Instant::now() + TIMEOUT;
        while upstream.connections() < all {
            assert!(
                tokio::time::Instant::now() < end,
                "{} of {all}",
                upstream.connections()
            );
            std::thread::yield_now();
        }
        cancel(&gateway, &client, pending, all);
    }
    for _ in 0..10 {
        let pending = client.open("GET", "/hang", &[], true);
        let refused = client.finish(pending.response).unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::REFUSED_STREAM));
    }
    assert_eq!(upstream.connections(), all);
    assert_eq!(
        gateway.metric("tidegate_http2_floods_total", &[("kind", "cancels")]),
        1.0
    );
    assert_eq!(
        Http2::connect(gateway.address()).get("/good").text(),
        "good"
    );
}

/// Only requests that reached a server count: neither whole responses nor
/// queued requests do.
#[test]
fn cancelling_queued_requests_is_no_flood() {
    let upstream = Upstream::start(|mut connection| {
        connection.rest(&mut Vec::new());
    });
    let text = format!(
        "{}concurrency = {{ max = 1, queue = 1000, queue_timeout = '1m' }}\n",
        to(&upstream.url(), "http1")
    );
    let gateway = Gateway::start(&text);
    let mut client = Http2::connect(gateway.address());
    let first = client.open("GET", "/", &[], true);
    gateway.await_metric("tidegate_in_flight", &[("route", "app")], 1.0);
    for round in 1..4 {
        let pending = open(&mut client, 100);
        gateway.await_metric("tidegate_queued", &[("route", "app")], 100.0);
        cancel(&gateway, &client, pending, round * 100);
    }
    assert_eq!(gateway.metric("tidegate_http2_floods_total", &[]), 0.0);
    let last = client.open("GET", "/", &[], true);
    gateway.await_metric("tidegate_queued", &[("route", "app")], 1.0);
    drop((first, last));
}

fn bounded(most: u32) -> Builder {
    let mut settings = Builder::new();
    settings.max_header_list_size(most);
    settings
}

#[test]
fn a_head_above_the_servers_limit_is_a_431_and_ends_no_other_stream() {
    let (server, seen) = hanging(bounded(2048));
    let gateway = Gateway::start(&to(&server.url(), "http2"));
    let (mut one, mut other) = (
        Http2::connect(gateway.address()),
        Http2::connect(gateway.address()),
    );
    let mut posted = other.open("POST", "/", &[], false);
    let pending = other.open("GET", "/hang", &[], true);
    await_count(&seen.began, 1);
    let large = "x".repeat(14_000);
    let response = one.ask("GET", "/large", &[("x-large", &large)]);
    assert_eq!(response.status, 431);
    assert_eq!(gateway.line_of("/large")["reason"], "head_too_large");
    // Many small fields exceed the limit like one large field.
    let names: Vec<_> = (0..50).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(one.ask("GET", "/many", &many).status, 431);
    assert_eq!(one.post("/", &[("x-small", "1")], b"123").text(), "3");
    posted
        .body
        .send_data(Bytes::from_static(b"12345"), true)
        .unwrap();
    assert_eq!(other.finish(posted.response).unwrap().text(), "5");
    assert_eq!(server.connections(), 1);
    drop(pending);
}

#[test]
fn trailers_above_the_servers_limit_end_their_own_request_alone() {
    let (server, seen) = hanging(bounded(2048));
    let gateway = Gateway::start(&to(&server.url(), "http2"));
    let mut settings = client::Builder::new();
    let (mut one, mut other) = (
        Http2::with(gateway.address(), &mut settings),
        Http2::connect(gateway.address()),
    );
    let mut posted = other.open("POST", "/", &[], false);
    let pending = other.open("GET", "/hang", &[], true);
    await_count(&seen.began, 1);
    let mut large = one.open("POST", "/", &[("trailer", "x-large")], false);
    let value = HeaderValue::from_str(&"x".repeat(14_000)).unwrap();
    large
        .body
        .send_trailers(HeaderMap::from_iter([(
            HeaderName::from_static("x-large"),
            value,
        )]))
        .unwrap();
    assert_eq!(one.finish(large.response).unwrap().status, 400);
    posted
        .body
        .send_data(Bytes::from_static(b"12345"), true)
        .unwrap();
    assert_eq!(other.finish(posted.response).unwrap().text(), "5");
    assert_eq!(server.connections(), 1);
    drop(pending);
}
