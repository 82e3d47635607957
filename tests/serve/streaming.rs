//! Streaming: bytes pass as they come, and no faster than the receiver reads.

use std::{sync::mpsc, time::Duration};

use crate::support::{Client, End, Gate, Gateway, Upstream, ok, one_route};

/// More bytes than the buffers of two pairs of sockets and of the gateway hold
/// together.
const A_LOT: usize = 48 * 1024 * 1024;
/// A write that makes no progress for this long has met a peer that does not
/// read.
const SILENCE: Duration = Duration::from_millis(500);
const PIECE: &[u8] = &[b'x'; 64 * 1024];

#[test]
fn the_first_chunk_of_a_response_arrives_before_the_next_is_sent() {
    let gate = Gate::new();
    let read = gate.clone();
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        read.pass();
        connection.send("4\r\nlast\r\n0\r\n\r\n");
        assert!(connection.request().is_none());
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head().unwrap();
    assert_eq!(client.chunked(5), b"first");
    gate.open();
    assert_eq!(client.chunked(4), b"last");
    assert!(client.chunk().unwrap().is_empty());
}

#[test]
fn the_head_of_a_response_arrives_before_its_body_is_sent() {
    let gate = Gate::new();
    let read = gate.clone();
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n");
        read.pass();
        connection.send("last");
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head().unwrap();
    gate.open();
    assert_eq!(client.message(head, false, false).text(), "last");
}

#[test]
fn the_first_chunk_of_a_request_arrives_before_the_next_is_sent() {
    let gate = Gate::new();
    let read = gate.clone();
    let upstream = Upstream::start(move |mut connection| {
        connection.head().unwrap();
        assert_eq!(connection.chunked(5), b"first");
        read.open();
        assert_eq!(connection.chunked(4), b"last");
        assert!(connection.chunk().unwrap().is_empty());
        connection.send(ok("got it"));
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    gate.pass();
    client.send("4\r\nlast\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "got it");
}

#[test]
fn both_bodies_may_flow_at_once() {
    let upstream = Upstream::start(|mut connection| {
        connection.head().unwrap();
        connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        loop {
            let chunk = connection.chunk().unwrap();
            connection.send(format!("{:x}\r\n", chunk.len()));
            connection.send(&chunk);
            connection.send("\r\n");
            if chunk.is_empty() {
                break;
            }
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    client.head().unwrap();
    for word in ["ping", "pong", "ping"] {
        client.send(format!("4\r\n{word}\r\n"));
        assert_eq!(client.chunked(4), word.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert!(client.chunk().unwrap().is_empty());
}

/// Without `Connection: close` the client would lose its next request, since
/// the connection closes.
#[test]
fn a_response_that_streams_before_the_request_is_read_announces_the_end_of_the_connection() {
    let upstream = Upstream::start(|mut connection| {
        connection.head().unwrap();
        connection
            .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nearly\r\n0\r\n\r\n");
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    for body in [
        "transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        "content-length: 1000000\r\n\r\nfirst",
    ] {
        let mut client = gateway.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
        let response = client.response();
        assert_eq!(
            (response.text().as_str(), response.get("connection")),
            ("early", Some("close")),
            "{body:?}"
        );
        assert_eq!(client.ended(), End::Closed);
    }
}

#[test]
fn a_response_that_streams_after_the_request_is_read_keeps_the_connection() {
    let upstream = Upstream::start(|mut connection| {
        while connection.request().is_some() {
            connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            connection.send("4\r\nlate\r\n0\r\n\r\n");
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    for body in [
        "transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "content-length: 4\r\n\r\nbody",
    ] {
        let response = client.exchange(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
        assert_eq!(
            (response.text().as_str(), response.get("connection")),
            ("late", None),
            "{body:?}"
        );
    }
}

#[test]
fn a_client_that_does_not_read_slows_its_upstream_down() {
    let (report, taken) = mpsc::channel();
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {A_LOT}\r\n\r\n"
        ));
        let mut sent = connection.flood(PIECE, SILENCE, A_LOT);
        report.send(sent).unwrap();
        while sent < A_LOT {
            let piece = &PIECE[..PIECE.len().min(A_LOT - sent)];
            connection.send(piece);
            sent += piece.len();
        }
        assert!(connection.request().is_none());
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = Client::connect_narrow(gateway.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let taken = taken.recv().unwrap();
    assert!(
        taken < A_LOT,
        "everything was accepted although the peer did not read"
    );
    assert_eq!(client.response().body.len(), A_LOT);
}

#[test]
fn an_upstream_that_does_not_read_slows_its_client_down() {
    let gate = Gate::new();
    let go_on = gate.clone();
    let upstream = Upstream::start(move |mut connection| {
        let head = connection.head().unwrap();
        go_on.pass();
        let request = connection.message(head, false, false);
        connection.send(ok(&request.body.len().to_string()));
    });
    let gateway = Gateway::start(&one_route(&upstream, "request = { max_body = \"off\" }"));
    let mut client = gateway.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: {A_LOT}\r\n\r\n"
    ));
    let mut sent = client.flood(PIECE, SILENCE, A_LOT);
    assert!(
        sent < A_LOT,
        "everything was accepted although the peer did not read"
    );
    gate.open();
    while sent < A_LOT {
        let piece = &PIECE[..PIECE.len().min(A_LOT - sent)];
        client.send(piece);
        sent += piece.len();
    }
    assert_eq!(client.response().text(), A_LOT.to_string());
}
