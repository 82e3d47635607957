//! Bounds: no client can make the gateway hold more, or wait longer, than its
//! configuration says.

use crate::support::{Client, End, Gateway, TIMEOUT, Upstream, ok, one_route};

/// Far more bytes than a head may have.
const A_LOT: usize = 32 * 1024 * 1024;

fn start(listener: &str, route: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::answering(|_| ok("good"));
    let gateway = Gateway::start(&format!(
        "[[listeners]]\nbind = '127.0.0.1:0'\n{listener}\n{}",
        one_route(&upstream, route)
    ));
    (upstream, gateway)
}

/// Sends `request` and checks the status of the response, its problem details,
/// the reason in the access line, the end of the connection, and that the next
/// client is served.
#[track_caller]
fn assert_refused(listener: &str, request: &str, status: u16, reason: &str) {
    let (upstream, gateway) = start(listener, "");
    let mut client = gateway.connect();
    client.send(request);
    let response = client.response();
    assert_eq!(
        (response.status(), response.get("connection")),
        (status, Some("close")),
        "{}",
        response.text()
    );
    response.problem();
    client.ended();
    let line = gateway.access_line();
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&status.into(), &reason.into())
    );
    assert_eq!(upstream.connections(), 0);
    assert_eq!(gateway.get("/").text(), "good");
}

#[test]
fn too_many_fields_are_refused() {
    let fields = |count| {
        (0..count)
            .map(|number| format!("x-{number}: y\r\n"))
            .collect::<String>()
    };
    let (_upstream, gateway) = start("max_headers = 10", "");
    let most = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(9));
    assert_eq!(gateway.connect().exchange(most).status(), 200);
    let more = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(10));
    assert_refused("max_headers = 10", &more, 431, "head_too_large");
    let more = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(100));
    assert_refused("", &more, 431, "head_too_large");
}

#[test]
fn too_large_a_head_is_refused() {
    let request = |length| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n",
            "y".repeat(length)
        )
    };
    assert_refused(
        "max_header_bytes = \"1KiB\"",
        &request(1024),
        431,
        "head_too_large",
    );
    assert_refused("", &request(32 * 1024), 431, "head_too_large");
}

#[test]
fn a_head_may_fill_its_bound() {
    let (_upstream, gateway) = start("max_header_bytes = \"1KiB\"", "");
    let start = "GET / HTTP/1.1\r\nHost: a\r\nx: ";
    let request = format!("{start}{}\r\n\r\n", "y".repeat(1024 - start.len() - 4));
    assert_eq!(request.len(), 1024);
    assert_eq!(gateway.connect().exchange(request).status(), 200);
}

#[test]
fn too_long_a_request_line_is_refused() {
    let request = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(40 * 1024));
    assert_refused("", &request, 414, "target_too_long");
}

#[test]
fn a_slow_head_is_refused() {
    assert_refused(
        "timeouts = { headers = \"100ms\" }",
        "GET / HTTP/1.1\r\nHost:",
        408,
        "slow_head",
    );
}

#[test]
fn a_slow_head_after_a_response_is_refused() {
    let (_upstream, gateway) = start("timeouts = { headers = \"100ms\" }", "");
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT");
    assert_eq!(client.response().text(), "good");
    assert_eq!(client.response().status(), 408);
    assert_eq!(client.ended(), End::Closed);
}

/// Sends without end and checks that the client is cut off while others are
/// served.
#[track_caller]
fn assert_cut_off(request: &str, piece: &str) {
    let (_upstream, gateway) = start("", "");
    let mut client = gateway.connect();
    client.send(request);
    assert!(client.flood(piece.as_bytes(), TIMEOUT, A_LOT) < A_LOT);
    assert_eq!(gateway.get("/").text(), "good");
}

#[test]
fn an_endless_request_line_is_cut_off() {
    assert_cut_off("GET /", &"y".repeat(4096));
}

#[test]
fn an_endless_field_is_cut_off() {
    assert_cut_off("GET / HTTP/1.1\r\nx: ", &"y".repeat(4096));
}

#[test]
fn endless_fields_are_cut_off() {
    assert_cut_off("GET / HTTP/1.1\r\n", &"x: y\r\n".repeat(700));
}

/// Sends a body without end and checks that the client is cut off. The upstream
/// has the head already and must not see a whole request.
#[track_caller]
fn assert_body_is_cut_off(start: &str, piece: &str) {
    let upstream = Upstream::start(|mut connection| {
        if let Ok(head) = connection.head() {
            assert!(!connection.message(head, false, false).is_whole);
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{start}"
    ));
    assert!(client.flood(piece.as_bytes(), TIMEOUT, A_LOT) < A_LOT);
}

#[test]
fn endless_trailers_are_cut_off() {
    assert_body_is_cut_off("0\r\n", &"x: y\r\n".repeat(700));
}

#[test]
fn an_endless_trailer_is_cut_off() {
    assert_body_is_cut_off("0\r\nx: ", &"y".repeat(4096));
}

#[test]
fn an_endless_chunk_extension_is_cut_off() {
    assert_body_is_cut_off("5;x=", &"y".repeat(4096));
}

#[test]
fn an_endless_chunk_size_is_cut_off() {
    assert_body_is_cut_off("", &"0".repeat(4096));
}

#[test]
fn endless_empty_lines_are_cut_off_in_time() {
    let (_upstream, gateway) = start(
        "timeouts = { headers = \"200ms\", keep_alive = \"200ms\" }",
        "",
    );
    let mut client = gateway.connect();
    assert!(client.flood(b"\r\n\r\n\r\n\r\n", TIMEOUT, usize::MAX) > 0);
    assert_eq!(gateway.get("/").text(), "good");
}

#[test]
fn a_client_that_never_reads_its_refusals_is_cut_off() {
    let (_upstream, gateway) = start(
        "timeouts = { keep_alive = \"300ms\" }",
        "match = { path = \"/other\" }",
    );
    let mut client = Client::connect_narrow(gateway.address());
    // The write ends when the gateway stops reading, because its responses are
    // not read, or when it closes the connection.
    client.flood(
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100).as_bytes(),
        2 * TIMEOUT / 10,
        A_LOT,
    );
    while gateway.access_line()["reason"] == "no_route" {}
}

#[test]
fn connections_beyond_the_bound_wait_until_one_leaves() {
    let (_upstream, gateway) = start("max_connections = 1", "");
    let mut first = gateway.connect();
    first.send("GET / HTTP/1.1\r\n");
    let mut second = gateway.connect();
    second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    gateway.logged("accepting pauses");
    assert_eq!(
        first
            .exchange("Host: a\r\nConnection: close\r\n\r\n")
            .text(),
        "good"
    );
    drop(first);
    assert_eq!(second.response().text(), "good");
}

#[test]
fn every_client_that_waits_to_be_accepted_is_accepted_in_the_end() {
    let (_upstream, gateway) = start("max_connections = 1", "");
    let mut first = gateway.connect();
    assert_eq!(
        first.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(),
        "good"
    );
    let waiting: Vec<_> = (0..16)
        .map(|_| {
            let mut client = gateway.connect();
            client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            client
        })
        .collect();
    drop(first);
    // Each client leaves after its response, since a connection that stays open
    // holds its slot.
    std::thread::scope(|scope| {
        for mut client in waiting {
            scope.spawn(move || assert_eq!(client.response().text(), "good"));
        }
    });
}
