//! Bodies that turn out to be malformed after their head was forwarded: the
//! upstream sees the connection break instead of a whole request, and the bytes
//! behind are never read as a request.

use std::sync::mpsc;

use crate::support::{Client, Gateway, Upstream, ok, one_route};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";

/// The part of a request that the upstream received, beyond its first three
/// bytes.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    FirstBytes,
    Whole,
    Broken,
}

fn observing() -> (Upstream, mpsc::Receiver<Seen>) {
    let (sender, receiver) = mpsc::channel();
    let upstream = Upstream::start(move |mut connection| {
        let head = connection.head().unwrap();
        if head.target() == "/good" {
            return connection.send(ok("good"));
        }
        assert_eq!(connection.chunk().unwrap(), b"abc");
        sender.send(Seen::FirstBytes).unwrap();
        let whole = connection.message(head, false, false).is_whole;
        sender
            .send(if whole { Seen::Whole } else { Seen::Broken })
            .unwrap();
    });
    (upstream, receiver)
}

/// Connects a client and sends the first part of a request, which arrives
/// upstream.
#[track_caller]
fn begun(gateway: &Gateway, seen: &mpsc::Receiver<Seen>) -> Client {
    let mut client = gateway.connect();
    client.send(HEAD);
    assert_eq!(seen.recv().unwrap(), Seen::FirstBytes);
    client
}

#[track_caller]
fn assert_all_break_off(rests: &[&str]) {
    let (upstream, seen) = observing();
    let gateway = Gateway::start(&one_route(&upstream, ""));
    for rest in rests {
        let mut client = begun(&gateway, &seen);
        client.send(format!("{rest}{SMUGGLED}"));
        assert_eq!(seen.recv().unwrap(), Seen::Broken, "{rest:?}");
        let response = client.response();
        assert_eq!(response.status(), 400, "{rest:?}");
        response.problem();
        let mut after = Vec::new();
        client.rest(&mut after);
        assert!(
            after.is_empty(),
            "{rest:?} is followed by {:?}",
            String::from_utf8_lossy(&after)
        );
    }
    for _ in rests {
        let line = gateway.access_line();
        assert_eq!(
            (&line["status"], &line["reason"]),
            (&400.into(), &"malformed".into()),
            "{line}"
        );
    }
    assert!(!upstream.text().contains("smuggled"));
    assert_eq!(gateway.get("/good").text(), "good");
}

#[test]
fn a_chunk_size_is_hex_digits_and_nothing_else() {
    assert_all_break_off(&[
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n",
        "5 ;a=b\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";a=b\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "\u{665}\r\nhello\r\n0\r\n\r\n",
    ]);
}

#[test]
fn a_chunk_ends_in_cr_lf() {
    assert_all_break_off(&[
        "5\nhello\n0\n\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello\r\r\n0\r\n\r\n",
        "0\n\n",
        "0\r\r\n\r\n",
    ]);
}

#[test]
fn a_chunk_extension_hides_nothing() {
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(400));
    assert_all_break_off(&[
        "5;a=\u{1}\r\nhello\r\n0\r\n\r\n",
        "5;a\0\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
        &long,
    ]);
}

#[test]
fn trailers_are_fields() {
    assert_all_break_off(&[
        "0\r\nno colon\r\n\r\n",
        "0\r\n: no name\r\n\r\n",
        "0\r\nx : y\r\n\r\n",
        "0\r\nx: y\r\n folded\r\n\r\n",
        "0\r\n x: y\r\n\r\n",
        "0\r\nx: a\0b\r\n\r\n",
        "0\r\nx: a\rb\r\n\r\n",
        "0\r\nx: y\n\n",
        "0\r\nx: y\nz: w\r\n\r\n",
        "0\r\nx: y\n\r\n",
        "0\r\n\nGET /smuggled HTTP/1.1\r\n\r\n",
    ]);
}

#[test]
fn a_lone_lf_in_trailers_is_refused_without_waiting_for_their_end() {
    let (upstream, seen) = observing();
    let gateway = Gateway::start(&one_route(&upstream, ""));
    for rest in ["0\r\n\n", "0\r\nx: y\n", "0\r\nx: y\r\n\n"] {
        let mut client = begun(&gateway, &seen);
        client.send(rest);
        assert_eq!(client.response().status(), 400, "{rest:?}");
        assert_eq!(seen.recv().unwrap(), Seen::Broken, "{rest:?}");
    }
}

#[test]
fn trailers_are_bounded() {
    let many: String = (0..200)
        .map(|number| format!("x-{number}: y\r\n"))
        .collect();
    let large = format!("0\r\nx: {}\r\n\r\n", "y".repeat(64 * 1024));
    assert_all_break_off(&[&format!("0\r\n{many}\r\n"), &large]);
}

#[test]
fn a_body_that_passes_its_bound_is_broken_off() {
    let (upstream, seen) = observing();
    let gateway = Gateway::start(&one_route(&upstream, "request = { max_body = \"5B\" }"));
    let mut client = begun(&gateway, &seen);
    client.send("2\r\nde\r\n2000\r\nf");
    assert_eq!(seen.recv().unwrap(), Seen::Broken);
    let response = client.response();
    assert_eq!(response.status(), 413);
    response.problem();
    client.ended();
    let line = gateway.access_line();
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&413.into(), &"body_too_large".into())
    );
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_body_at_its_bound_passes() {
    let (upstream, seen) = observing();
    let gateway = Gateway::start(&one_route(&upstream, "request = { max_body = \"5B\" }"));
    let mut client = begun(&gateway, &seen);
    client.send("2\r\nde\r\n0\r\n\r\n");
    assert_eq!(seen.recv().unwrap(), Seen::Whole);
}

#[test]
fn a_body_whose_announced_length_is_too_large_is_never_forwarded() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&one_route(&upstream, "request = { max_body = \"5B\" }"));
    let mut client = gateway.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n{SMUGGLED}"
    ));
    let response = client.response();
    assert_eq!(
        (response.status(), response.get("connection")),
        (413, Some("close"))
    );
    response.problem();
    client.ended();
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_client_that_falls_silent_in_its_body_gets_408() {
    let (upstream, seen) = observing();
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { idle = \"100ms\" }"));
    let mut client = begun(&gateway, &seen);
    assert_eq!(seen.recv().unwrap(), Seen::Broken);
    let response = client.response();
    assert_eq!(
        (response.status(), response.get("connection")),
        (408, Some("close"))
    );
    response.problem();
    client.ended();
    assert_eq!(gateway.access_line()["reason"], "slow_body");
}
