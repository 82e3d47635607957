//! Timeouts: every wait ends, and its end is visible as status, access line and
//! metric.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{
    net::{SocketAddr, TcpStream},
    ops::Range,
    thread,
    time::Duration,
};

use support::{
    Connection, End, Gate, Message, Upstream,
    gateway::{Closed, Gateway, request, responding},
    http2::Http2,
    ok, one_route,
};
use tokio::time::Instant;

const FOREVER: Duration = Duration::from_secs(5);

/// An upstream that reads requests and never responds.
fn silent() -> Upstream {
    Upstream::start(|mut connection| {
        connection.expect_request();
        connection.ended();
    })
}

/// Calls `ask` and checks that it took a time within this range of
/// milliseconds.
#[track_caller]
fn timed(millis: Range<u64>, ask: impl FnOnce() -> Message) -> Message {
    let asked = Instant::now();
    let response = ask();
    let took = asked.elapsed();
    assert!(
        took >= Duration::from_millis(millis.start) && took < Duration::from_millis(millis.end),
        "{took:?}"
    );
    response
}

/// Checks status and reason in the access line of the one request to `/`, and
/// its count.
#[track_caller]
fn assert_reported(gateway: &Gateway, status: u16, reason: &str) {
    let line = gateway.line_of("/");
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&status.into(), &reason.into()),
        "{line}"
    );
    let labels = [("route", "app"), ("status", &*status.to_string())];
    assert_eq!(gateway.metric("tidegate_requests_total", &labels), 1.0);
}

#[track_caller]
fn refusals(gateway: &Gateway, reason: &str) -> f64 {
    gateway.metric(
        "tidegate_refusals_total",
        &[("route", "app"), ("reason", reason)],
    )
}

fn to(url: &str, upstream: &str, route: &str) -> String {
    format!(
        "[upstreams.app]\nservers = ['{url}']\n{upstream}\n[[routes]]\nname = 'app'\nupstream = 'app'\n{route}\n"
    )
}

#[test]
fn a_server_that_refuses_connections_is_a_502() {
    let closed = Closed::new();
    let gateway = Gateway::start(&to(&closed.url(), "", "retry = { attempts = 1 }"));
    let response = timed(0..1000, || gateway.get("/"));
    assert_eq!(
        (response.status(), &response.problem()["route"]),
        (502, &"app".into())
    );
    assert_reported(&gateway, 502, "connect_failed");
    assert_eq!(refusals(&gateway, "connect_failed"), 1.0);
    let labels = [("upstream", "app"), ("outcome", "refused")];
    assert_eq!(
        gateway.metric("tidegate_upstream_connects_total", &labels),
        1.0
    );
}

/// A listener with a full accept queue, so that no one can connect, and the
/// connections that fill it.
fn full() -> (socket2::Socket, SocketAddr, Vec<TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let waiting = std::iter::repeat_with(connect)
        .map_while(|stream| stream)
        .collect();
    (socket, address, waiting)
}

#[test]
fn a_server_that_does_not_accept_fails_after_connect_timeout() {
    let (_socket, address, _waiting) = full();
    let pool = "[upstreams.app.pool]\nconnect_timeout = '100ms'";
    let gateway = Gateway::start(&to(
        &format!("http://{address}"),
        pool,
        "retry = { attempts = 1 }",
    ));
    assert_eq!(timed(100..1000, || gateway.get("/")).status(), 502);
    assert_reported(&gateway, 502, "connect_failed");
    let labels = [("upstream", "app"), ("outcome", "timeout")];
    assert_eq!(
        gateway.metric("tidegate_upstream_connects_total", &labels),
        1.0
    );
}

#[test]
fn an_attempt_ends_after_its_timeout() {
    let upstream = silent();
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { attempt = '100ms' }"));
    let response = timed(100..1000, || gateway.get("/"));
    assert_eq!(
        (response.status(), &response.problem()["route"]),
        (504, &"app".into())
    );
    assert_reported(&gateway, 504, "attempt_timeout");
    assert_eq!(refusals(&gateway, "attempt_timeout"), 1.0);
}

#[test]
fn a_request_ends_after_its_total_timeout() {
    let upstream = silent();
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { total = '100ms' }"));
    assert_eq!(timed(95..1000, || gateway.get("/")).status(), 504);
    assert_reported(&gateway, 504, "total_timeout");
    assert_eq!(refusals(&gateway, "total_timeout"), 1.0);
}

#[test]
fn the_total_covers_all_attempts_and_the_waits_between_them() {
    let upstream = silent();
    let more = "timeouts = { total = '350ms', attempt = '100ms' }\n\
                retry = { attempts = 20, on = ['timeout'], backoff = '1ms', max_backoff = '1ms' }";
    let gateway = Gateway::start(&one_route(&upstream, more));
    assert_eq!(timed(295..1000, || gateway.get("/")).status(), 504);
    let attempts = gateway.line_of("/")["attempts"].as_u64().unwrap();
    assert!((2..=4).contains(&attempts), "{attempts}");
}

/// Sends a body of ten bytes, one byte at a time, over more than 600
/// milliseconds.
fn dribble(client: &mut support::Client) {
    for byte in b"abcdefghij" {
        thread::park_timeout(Duration::from_millis(60));
        client.send([*byte]);
    }
}

#[test]
fn an_upload_may_take_longer_than_its_response() {
    let upstream = Upstream::answering(|request| ok(&request.text()));
    for more in ["total = '300ms'", "attempt = '300ms'"] {
        for head in [
            "Content-Length: 10",
            "Content-Length: 10\r\nExpect: 100-continue",
        ] {
            // With and without a copy for a retry.
            for attempts in [1, 3] {
                let route = format!("timeouts = {{ {more} }}\nretry = {{ attempts = {attempts} }}");
                let gateway = Gateway::start(&one_route(&upstream, &route));
                let mut client = gateway.connect();
                client.send(request("POST", "/", &[head]));
                dribble(&mut client);
                assert_eq!(
                    client.response().text(),
                    "abcdefghij",
                    "{more} {head} {attempts}"
                );
            }
        }
    }
}

#[test]
fn the_timeout_of_a_response_begins_at_the_end_of_the_upload() {
    let upstream = silent();
    for (more, reason) in [
        ("total = '300ms'", "total_timeout"),
        ("attempt = '300ms'", "attempt_timeout"),
    ] {
        let gateway = Gateway::start(&one_route(&upstream, &format!("timeouts = {{ {more} }}")));
        let mut client = gateway.connect();
        client.send(request("POST", "/", &["Content-Length: 10"]));
        dribble(&mut client);
        assert_eq!(timed(100..2000, || client.response()).status(), 504);
        assert_reported(&gateway, 504, reason);
    }
}

#[test]
fn an_upload_over_http2_may_take_longer_than_its_response() {
    let upstream = Upstream::answering(|request| ok(&request.text()));
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { total = '300ms' }"));
    let mut client = Http2::connect(gateway.address());
    let mut asked = client.open("POST", "/", &[], false);
    for at in 0..10 {
        thread::park_timeout(Duration::from_millis(60));
        asked.body.send_data("x".into(), at == 9).unwrap();
        client.settle();
    }
    assert_eq!(client.finish(asked.response).unwrap().text(), "xxxxxxxxxx");
}

#[test]
fn the_total_timeout_ends_with_the_response_head() {
    let end = Gate::new();
    let gate = end.clone();
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab");
        gate.pass();
        connection.send("cd");
    });
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { total = '100ms' }"));
    let mut client = gateway.connect();
    client.send(request("GET", "/", &[]));
    client.head().unwrap();
    assert_eq!(client.bytes(2).unwrap(), b"ab");
    thread::park_timeout(Duration::from_millis(250));
    end.open();
    assert_eq!(client.bytes(2).unwrap(), b"cd");
}

#[test]
fn a_response_that_pauses_too_long_is_visibly_cut() {
    for head in [
        "content-length: 9\r\n\r\nabc",
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let upstream = Upstream::start(move |mut connection| {
            connection.expect_request();
            connection.send(format!("HTTP/1.1 200 OK\r\n{head}"));
            connection.ended();
        });
        let gateway = Gateway::start(&one_route(&upstream, "timeouts = { idle = '150ms' }"));
        let response = timed(150..1500, || gateway.get("/"));
        assert!(!response.is_whole, "{response:?}");
        assert_eq!(response.body, b"abc");
        assert_reported(&gateway, 200, "idle_timeout");
        let warned = gateway.logged("an answer was cut because nothing moved for 150ms");
        assert_eq!(warned["route"], "app", "{warned}");
        assert!(
            warned["message"]
                .as_str()
                .unwrap()
                .contains("raise `timeouts.idle`"),
            "{warned}"
        );
        gateway.get("/");
        gateway.access_line();
        assert!(
            gateway.log_so_far().is_empty(),
            "the timeout is counted once"
        );
    }
}

#[test]
fn a_client_that_reads_nothing_is_cut_after_idle() {
    let (cut, was_cut) = std::sync::mpsc::channel();
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        connection.flood(&[b'x'; 65536], FOREVER, 1_000_000_000);
        cut.send(()).unwrap();
    });
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { idle = '150ms' }"));
    let mut client = support::Client::connect_narrow(gateway.address());
    client.send(request("GET", "/", &[]));
    was_cut.recv_timeout(FOREVER).unwrap();
    let line = gateway.line_of("/");
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&200.into(), &"idle_timeout".into())
    );
}

/// Reads a head and then everything up to the end.
fn swallow(mut connection: Connection) {
    connection.head().unwrap();
    connection.rest(&mut Vec::new());
}

#[test]
fn a_client_that_stops_in_its_body_gets_408_after_idle() {
    let upstream = Upstream::start(swallow);
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { idle = '150ms' }"));
    let mut client = gateway.connect();
    client.send(request("POST", "/", &["Content-Length: 10"]) + "abc");
    let response = timed(140..1500, || client.response());
    assert_eq!(
        (response.status(), response.get("connection")),
        (408, Some("close"))
    );
    assert_reported(&gateway, 408, "slow_body");
}

#[test]
fn a_body_that_keeps_moving_is_not_idle() {
    let upstream = Upstream::answering(|request| ok(&request.text()));
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { idle = '300ms' }"));
    let mut client = gateway.connect();
    client.send(request("POST", "/", &["Content-Length: 10"]));
    for byte in b"abcdefghij" {
        thread::park_timeout(Duration::from_millis(60));
        client.send([*byte]);
    }
    assert_eq!(client.response().text(), "abcdefghij");
}

#[test]
fn while_one_direction_moves_the_other_may_pause() {
    // The response has begun and pauses while the client uploads.
    let upstream = Upstream::start(|mut connection| {
        connection.head().unwrap();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na");
        connection.bytes(10).unwrap();
        connection.send("b");
    });
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { idle = '300ms' }"));
    let mut client = gateway.connect();
    client.send(request("POST", "/", &["Content-Length: 10"]));
    client.head().unwrap();
    for byte in b"abcdefghij" {
        thread::park_timeout(Duration::from_millis(60));
        client.send([*byte]);
    }
    assert_eq!(client.bytes(2).unwrap(), b"ab");

    // The client pauses while the response flows.
    let upstream = Upstream::start(|mut connection| {
        connection.head().unwrap();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n");
        for byte in b"abcdefghij" {
            thread::park_timeout(Duration::from_millis(60));
            connection.send([*byte]);
        }
        connection.bytes(2).unwrap();
        connection.send("k");
    });
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { idle = '300ms' }"));
    let mut client = gateway.connect();
    client.send(request("POST", "/", &["Content-Length: 2"]) + "x");
    client.head().unwrap();
    assert_eq!(client.bytes(10).unwrap(), b"abcdefghij");
    client.send("y");
    assert_eq!(client.bytes(1).unwrap(), b"k");
}

#[test]
fn a_timeout_of_the_whole_exchange_cuts_a_response_that_keeps_moving() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while connection.try_send("1\r\nx\r\n").is_ok() {
            thread::park_timeout(Duration::from_millis(20));
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { body = '250ms' }"));
    let response = timed(240..1500, || gateway.get("/"));
    assert!(
        !response.is_whole && !response.body.is_empty(),
        "{response:?}"
    );
    assert_reported(&gateway, 200, "body_timeout");
}

#[test]
fn a_timeout_of_the_whole_exchange_ends_an_upload_that_keeps_moving() {
    let upstream = Upstream::start(swallow);
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { body = '250ms' }"));
    let mut client = gateway.connect();
    client.send(request("POST", "/", &["Transfer-Encoding: chunked"]));
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_millis(500) && client.try_send("1\r\nx\r\n").is_ok() {
        thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(client.head().unwrap().status(), 504);
    assert_reported(&gateway, 504, "body_timeout");
}

#[test]
fn an_idle_connection_is_closed_after_keep_alive() {
    let text =
        "[[listeners]]\nbind = '127.0.0.1:0'\ntimeouts = { keep_alive = '100ms' }\n".to_owned();
    let gateway = Gateway::start(&(text + &responding("app", "")));
    let mut client = gateway.connect();
    assert_eq!(client.exchange(request("GET", "/", &[])).status(), 200);
    let answered = Instant::now();
    assert_eq!(client.ended(), End::Closed);
    assert!(
        answered.elapsed() >= Duration::from_millis(95)
            && answered.elapsed() < Duration::from_secs(2)
    );
}

#[test]
fn an_incomplete_head_is_a_408() {
    let text = "[[listeners]]\nbind = '127.0.0.1:0'\ntimeouts = { headers = '150ms' }\n".to_owned();
    let gateway = Gateway::start(&(text + &responding("app", "")));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\n");
    let response = timed(100..1500, || client.response());
    assert_eq!(
        (response.status(), response.get("connection")),
        (408, Some("close"))
    );
    assert_eq!(gateway.access_line()["reason"], "slow_head");
    // A connection without any byte is closed, too.
    assert_eq!(gateway.connect().ended(), End::Closed);
}
