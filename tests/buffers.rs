//! Buffers: a slow client holds neither a permit nor a server, and nothing else
//! changes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use support::{
    Client, Connection, Gate, Gateway, TIMEOUT, Upstream,
    gateway::{Closed, request},
    http2, ok, one_route,
};
use tokio::time::Instant;

/// A route with a cap of one and both buffers of this size.
fn buffered(upstream: &Upstream, size: &str, more: &str) -> String {
    one_route(
        upstream,
        &format!(
            "concurrency = {{ max = 1 }}\n{more}\n[routes.request]\nbuffer = '{size}'\n[routes.response]\nbuffer = '{size}'"
        ),
    )
}

/// A service that responds with the framing fields of the request and the size
/// of its body.
fn describing() -> Upstream {
    Upstream::answering(|request| {
        let framing = [
            request.get("content-length"),
            request.get("transfer-encoding"),
            request.get("expect"),
        ];
        ok(&format!("{framing:?} {}", request.body.len()))
    })
}

#[track_caller]
fn nothing_is_left(gateway: &Gateway) {
    let end = Instant::now() + TIMEOUT;
    while gateway.metric("tidegate_buffered_bytes", &[]) > 0.0 {
        assert!(Instant::now() < end, "{}", gateway.metrics());
    }
}

/// A server that does not know chunks reads a chunked upload as empty.
#[test]
fn a_chunked_upload_is_sent_with_its_length() {
    let upstream = describing();
    let gateway = Gateway::start(&buffered(&upstream, "1MiB", ""));
    for (pieces, size) in [(1, 5), (100, 777), (3, 32 * 1024)] {
        let mut client = gateway.connect();
        client.send(request("POST", "/", &["Transfer-Encoding: chunked"]));
        for _ in 0..pieces {
            client.send(format!("{size:x}\r\n{}\r\n", "x".repeat(size)));
        }
        client.send("0\r\n\r\n");
        let length = pieces * size;
        assert_eq!(
            client.response().text(),
            format!("[Some(\"{length}\"), None, None] {length}")
        );
    }
    // An upload without any byte has a length, too.
    let mut client = gateway.connect();
    client.send(request("POST", "/", &["Transfer-Encoding: chunked"]) + "0\r\n\r\n");
    assert_eq!(client.response().text(), "[Some(\"0\"), None, None] 0");
    nothing_is_left(&gateway);
}

#[test]
fn a_slow_upload_holds_neither_a_permit_nor_a_server() {
    let upstream = describing();
    let gateway = Gateway::start(&buffered(&upstream, "1MiB", ""));
    for announced in [true, false] {
        let mut slow = gateway.connect();
        slow.send(if announced {
            request("POST", "/slow", &["Content-Length: 10"]) + "hello"
        } else {
            request("POST", "/slow", &["Transfer-Encoding: chunked"]) + "5\r\nhello\r\n"
        });
        gateway.await_metric("tidegate_buffered_bytes", &[], 5.0);
        let slow_ones = || upstream.text().matches("POST /slow").count();
        let before = slow_ones();
        for _ in 0..3 {
            assert_eq!(gateway.status("/other"), 200, "the one permit is free");
        }
        assert_eq!(slow_ones(), before, "nothing of the upload was sent");
        slow.send(if announced {
            "world"
        } else {
            "5\r\nworld\r\n0\r\n\r\n"
        });
        assert_eq!(slow.response().text(), "[Some(\"10\"), None, None] 10");
        nothing_is_left(&gateway);
    }
}

#[test]
fn a_longer_upload_streams_once_the_buffer_is_full() {
    let (arrived, seen) = (Gate::new(), Gate::new());
    let (arriving, wait) = (arrived.clone(), seen.clone());
    let upstream = Upstream::start(move |mut connection| {
        while let Ok(head) = connection.head() {
            let is_chunked = head.get("transfer-encoding").is_some();
            if !is_chunked {
                connection.bytes(60_000).unwrap();
            }
            arriving.open();
            wait.pass();
            if is_chunked {
                assert!(connection.message(head, false, false).is_whole);
            } else {
                connection.bytes(40_000).unwrap();
            }
            connection.send(ok(""));
        }
    });
    let gateway = Gateway::start(&buffered(&upstream, "50KiB", ""));
    for is_chunked in [false, true] {
        let mut client = gateway.connect();
        if is_chunked {
            client.send(
                request("POST", "/", &["Transfer-Encoding: chunked"])
                    + &format!("{:x}\r\n", 100_000),
            );
        } else {
            client.send(request("POST", "/", &["Content-Length: 100000"]));
        }
        client.send(vec![b'x'; 60_000]);
        arrived.pass();
        client.send(vec![b'x'; 40_000]);
        if is_chunked {
            client.send("\r\n0\r\n\r\n");
        }
        seen.open();
        assert_eq!(client.response().status(), 200);
    }
    nothing_is_left(&gateway);
}

#[test]
fn a_client_that_waits_for_continue_gets_it_from_the_gateway_once() {
    let upstream = describing();
    let gateway = Gateway::start(&buffered(&upstream, "1MiB", ""));
    let mut client = gateway.connect();
    client.send(request(
        "PUT",
        "/",
        &["Content-Length: 5", "Expect: 100-continue"],
    ));
    assert_eq!(client.response().status(), 100);
    assert_eq!(upstream.connections(), 0);
    client.send("hello");
    assert_eq!(client.response().text(), "[Some(\"5\"), None, None] 5");
    // A refused client does not get 100 Continue.
    let refused = client.exchange(request(
        "PUT",
        "/",
        &["Content-Length: 99999999", "Expect: 100-continue"],
    ));
    assert_eq!(refused.status(), 413);
}

#[test]
fn an_upload_that_is_too_long_too_slow_or_malformed_reaches_no_server() {
    let upstream = describing();
    let text = buffered(&upstream, "1MiB", "timeouts = { idle = '100ms' }")
        .replace("buffer", "max_body = '1KiB'\nbuffer");
    let gateway = Gateway::start(&text.replace(
        "[routes.response]\nmax_body = '1KiB'\n",
        "[routes.response]\n",
    ));
    let chunked = |rest: &str| {
        let mut client = gateway.connect();
        client.send(request("POST", "/", &["Transfer-Encoding: chunked"]) + rest);
        client.response().status()
    };
    assert_eq!(
        chunked(&format!("800\r\n{}\r\n0\r\n\r\n", "x".repeat(2048))),
        413
    );
    assert_eq!(chunked("5\r\nhel"), 408);
    assert_eq!(chunked("hello\r\n"), 400);
    assert_eq!(upstream.connections(), 0);
    nothing_is_left(&gateway);
}

#[test]
fn the_time_of_a_buffered_upload_does_not_count_for_its_response() {
    let upstream = describing();
    let gateway = Gateway::start(
        &(buffered(&upstream, "1MiB", "timeouts = { total = '200ms' }")
            + "\n[upstreams.silent]\nservers = ['http://127.0.0.1:9']\n"),
    );
    let mut slow = gateway.connect();
    slow.send(request("POST", "/slow", &["Content-Length: 10"]) + "hello");
    gateway.await_metric("tidegate_buffered_bytes", &[], 5.0);
    // The upload takes longer than the deadline of the response.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(300) {
        assert_eq!(gateway.status("/other"), 200);
    }
    slow.send("world");
    assert_eq!(slow.response().status(), 200);
}

#[test]
fn a_buffered_upload_is_retried_whatever_the_replay_buffer() {
    let upstream = Upstream::start(|mut connection| {
        let Some(request) = connection.request() else {
            return;
        };
        if connection.index == 0 {
            return Connection::break_off(connection);
        }
        connection.send(ok(&request.body.len().to_string()));
    });
    let retry = "retry = { methods = ['POST'], buffer = '1KiB' }";
    let gateway = Gateway::start(&buffered(&upstream, "1MiB", retry));
    let mut client = gateway.connect();
    client.send(request("POST", "/", &["Content-Length: 200000"]));
    client.send(vec![b'x'; 200_000]);
    assert_eq!(client.response().text(), "200000");
    nothing_is_left(&gateway);
}

#[test]
fn a_buffered_upload_goes_to_another_server_when_one_refuses_the_connection() {
    let (upstream, closed) = (describing(), Closed::new());
    let servers = format!(
        "servers = [\"{}\", \"{}\"]\nbalance = 'round-robin'",
        closed.url(),
        upstream.url()
    );
    let text = buffered(&upstream, "1MiB", "")
        .replace(&format!("servers = [\"{}\"]", upstream.url()), &servers);
    let gateway = Gateway::start(&text);
    for _ in 0..4 {
        let mut client = gateway.connect();
        client.send(
            request("POST", "/", &["Transfer-Encoding: chunked"]) + "5\r\nhello\r\n0\r\n\r\n",
        );
        assert_eq!(client.response().text(), "[Some(\"5\"), None, None] 5");
    }
}

#[test]
fn a_client_that_leaves_in_its_upload_leaves_nothing_behind() {
    let upstream = describing();
    let gateway = Gateway::start(&buffered(&upstream, "1MiB", ""));
    let mut client = gateway.connect();
    client.send(request("POST", "/left", &["Content-Length: 10"]) + "hello");
    gateway.await_metric("tidegate_buffered_bytes", &[], 5.0);
    drop(client);
    let line = gateway.line_of("/left");
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&499.into(), &"client_gone".into())
    );
    nothing_is_left(&gateway);
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn bodies_stream_when_the_memory_for_buffers_is_used_up() {
    let upstream = describing();
    let gateway = Gateway::start(
        &("[server]\nmax_buffered = '64KiB'\nworkers = 2\n".to_owned()
            + &buffered(&upstream, "1MiB", "")),
    );
    let mut client = gateway.connect();
    client.send(
        request("POST", "/", &["Transfer-Encoding: chunked"]) + &format!("{:x}\r\n", 200_000),
    );
    client.send(vec![b'x'; 200_000]);
    client.send("\r\n0\r\n\r\n");
    assert_eq!(
        client.response().text(),
        "[None, Some(\"chunked\"), None] 200000"
    );
    nothing_is_left(&gateway);
    // A reload changes the bound.
    gateway.reload_with(
        &("[server]\nmax_buffered = '1MiB'\nworkers = 2\n".to_owned()
            + &buffered(&upstream, "1MiB", "")),
    );
    let mut client = gateway.connect();
    client.send(
        request("POST", "/", &["Transfer-Encoding: chunked"]) + &format!("{:x}\r\n", 200_000),
    );
    client.send(vec![b'x'; 200_000]);
    client.send("\r\n0\r\n\r\n");
    assert_eq!(
        client.response().text(),
        "[Some(\"200000\"), None, None] 200000"
    );
}

/// More bytes than all sockets between client and server hold.
const LARGE: usize = 16 << 20;

/// A service that opens the gate and responds to `/large` with [`LARGE`] bytes,
/// and to other paths with a short body.
fn large(framed: fn(Vec<u8>) -> Vec<u8>) -> (Upstream, Gate) {
    let arrived = Gate::new();
    let arriving = arrived.clone();
    let upstream = Upstream::start(move |mut connection| {
        while let Some(request) = connection.request() {
            if request.target() == "/large" {
                arriving.open();
                let body = (0..LARGE).map(|at| (at % 251) as u8).collect();
                let _ = connection.try_send(framed(body));
            } else {
                connection.send(ok(""));
            }
        }
    });
    (upstream, arrived)
}

fn counted(body: Vec<u8>) -> Vec<u8> {
    [
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes(),
        body,
    ]
    .concat()
}

fn chunked(body: Vec<u8>) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
        body.len()
    );
    [head.into_bytes(), body, b"\r\n0\r\n\r\n".to_vec()].concat()
}

#[test]
fn a_client_that_reads_slowly_holds_neither_a_permit_nor_a_server() {
    for framed in [counted as fn(Vec<u8>) -> Vec<u8>, chunked] {
        let (upstream, arrived) = large(framed);
        let gateway = Gateway::start(&buffered(&upstream, "32MiB", ""));
        let mut slow = Client::connect_narrow(gateway.address());
        slow.send(request("GET", "/large", &[]));
        arrived.pass();
        // The client reads nothing, and yet the permit becomes free.
        let end = Instant::now() + TIMEOUT;
        while gateway.status("/other") != 200 {
            assert!(Instant::now() < end, "{}", gateway.metrics());
        }
        gateway.await_metric("tidegate_upstream_connections", &[("state", "idle")], 1.0);
        gateway.await_metric("tidegate_buffered_bytes", &[], 1.0);
        let response = slow.response();
        assert!(response.is_whole && response.body.len() == LARGE);
        assert!(
            response
                .body
                .iter()
                .enumerate()
                .all(|(at, byte)| *byte == (at % 251) as u8)
        );
        nothing_is_left(&gateway);
    }
}

#[test]
fn an_http2_client_that_reads_slowly_holds_neither_a_permit_nor_a_server() {
    let (upstream, arrived) = large(chunked);
    let gateway = Gateway::start(&buffered(&upstream, "32MiB", ""));
    let mut slow = http2::Http2::connect(gateway.address());
    let asked = slow.open("GET", "/large", &[], true);
    arrived.pass();
    let end = Instant::now() + TIMEOUT;
    while gateway.status("/other") != 200 {
        assert!(Instant::now() < end, "{}", gateway.metrics());
    }
    gateway.await_metric("tidegate_buffered_bytes", &[], 1.0);
    let response = slow.finish(asked.response).unwrap();
    assert_eq!(response.body.len(), LARGE);
    assert!(
        response
            .body
            .iter()
            .enumerate()
            .all(|(at, byte)| *byte == (at % 251) as u8)
    );
    nothing_is_left(&gateway);
}

#[test]
fn without_a_large_enough_buffer_a_slow_client_slows_the_server() {
    for size in ["off", "64KiB"] {
        let (upstream, arrived) = large(counted);
        let gateway = Gateway::start(&buffered(&upstream, size, ""));
        let mut slow = Client::connect_narrow(gateway.address());
        slow.send(request("GET", "/large", &[]));
        arrived.pass();
        slow.head().unwrap();
        for _ in 0..50 {
            assert_eq!(gateway.status("/other"), 503, "{size}");
        }
        slow.bytes(LARGE).unwrap();
    }
}

#[test]
fn a_response_that_is_read_at_once_passes_as_it_comes() {
    for kind in ["text/event-stream", "text/plain"] {
        let (go, ended) = (Gate::new(), Gate::new());
        let (wait, ending) = (go.clone(), ended.clone());
        let upstream = Upstream::start(move |mut connection| {
            connection.expect_request();
            connection.send(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
            ));
            for _ in 0..3 {
                connection.send("5\r\nhello\r\n");
                wait.pass();
            }
            connection.send("0\r\n\r\n");
            ending.open();
        });
        let gateway = Gateway::start(&buffered(&upstream, "1MiB", ""));
        let mut client = gateway.sent("/", &[]);
        client.head().unwrap();
        for _ in 0..3 {
            assert_eq!(client.bytes(10).unwrap(), b"5\r\nhello\r\n");
            go.open();
        }
        assert_eq!(client.bytes(5).unwrap(), b"0\r\n\r\n");
        ended.pass();
    }
}

#[test]
fn a_buffered_response_that_breaks_off_is_cut_for_its_client_too() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
    });
    let gateway = Gateway::start(&buffered(&upstream, "1MiB", ""));
    let response = gateway.get("/");
    assert!(
        !response.is_whole && response.text() == "hello",
        "{response:?}"
    );
    assert_eq!(gateway.line_of("/")["reason"], "upstream_cut");
}

#[test]
fn responses_without_a_body_and_tunnels_are_not_buffered() {
    let upstream = Upstream::start(|mut connection| {
        while let Some(request) = connection.request() {
            match request.target() {
                "/empty" => connection.send("HTTP/1.1 204 No Content\r\n\r\n"),
                "/tunnel" => {
                    connection.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
                    let bytes = connection.bytes(4).unwrap();
                    return connection.send(bytes);
                }
                _ => connection.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
            }
        }
    });
    let gateway = Gateway::start(&buffered(&upstream, "1MiB", ""));
    let mut client = gateway.connect();
    client.send(request("HEAD", "/", &[]));
    assert_eq!(client.response_to_head().get("content-length"), Some("5"));
    assert_eq!(client.exchange(request("GET", "/empty", &[])).status(), 204);
    client.send(request(
        "GET",
        "/tunnel",
        &["Connection: upgrade", "Upgrade: echo"],
    ));
    assert_eq!(client.head().unwrap().status(), 101);
    client.send("ping");
    assert_eq!(client.bytes(4).unwrap(), b"ping");
}

#[test]
fn bodies_of_http2_are_buffered_too() {
    let upstream = describing();
    let gateway = Gateway::start(&buffered(&upstream, "1MiB", ""));
    let mut client = http2::Http2::connect(gateway.address());
    assert_eq!(
        client.post("/", &[], b"hello").text(),
        "[Some(\"5\"), None, None] 5"
    );
    let mut slow = client.open("POST", "/slow", &[], false);
    slow.body
        .send_data(bytes::Bytes::from_static(b"hello"), false)
        .unwrap();
    client.settle();
    gateway.await_metric("tidegate_buffered_bytes", &[], 5.0);
    assert_eq!(gateway.status("/other"), 200);
    slow.body
        .send_data(bytes::Bytes::from_static(b"world"), true)
        .unwrap();
    assert_eq!(
        client.finish(slow.response).unwrap().text(),
        "[Some(\"10\"), None, None] 10"
    );
    nothing_is_left(&gateway);
}
