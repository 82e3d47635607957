//! Lying upstreams: a malformed response becomes 502, a response that breaks
//! off is seen to break off, and no client ever gets bytes of another client's
//! response.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::thread;

use support::{Client, Cut, End, Gate, Gateway, TIMEOUT, Upstream, ok, one_route};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const A_LOT: usize = 32 * 1024 * 1024;

/// A gateway with one worker, so that the next client uses the connections that
/// one client leaves behind.
fn alone(upstream: &Upstream, more: &str) -> Gateway {
    Gateway::start(&format!(
        "[server]\nworkers = 1\n{}",
        one_route(upstream, more)
    ))
}

/// Sends each of these instead of a response and checks that it becomes a 502
/// and that the client's connection goes on.
#[track_caller]
fn assert_all_bad(responses: &'static [&'static str]) {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        let response = responses[connection.index];
        connection.send(response);
        assert!(
            connection.request().is_none(),
            "a connection was reused after {response:?}"
        );
    });
    let gateway = alone(&upstream, "");
    let mut client = gateway.connect();
    for response in responses {
        let got = client.exchange(GET);
        assert_eq!(
            (got.status(), got.get("connection")),
            (502, None),
            "{response:?}"
        );
        got.problem();
    }
    for response in responses {
        let line = gateway.access_line();
        assert_eq!(
            (&line["status"], &line["reason"]),
            (&502.into(), &"bad_answer".into()),
            "{response:?}: {line}"
        );
    }
}

/// Checks that the client sees a response break off: this part of the body,
/// then this end of the connection.
#[track_caller]
fn assert_cut(response: &'static str, body: &str) {
    ends_cut(GET, response, body, End::Closed);
}

#[track_caller]
fn ends_cut(request: &str, response: &'static str, body: &str, end: End) {
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send(response);
    });
    let gateway = alone(&upstream, "");
    let mut client = gateway.connect();
    let got = client.exchange(request);
    assert_eq!(
        (got.status(), got.text().as_str(), got.is_whole),
        (200, body, false),
        "{response:?}"
    );
    assert!(end == End::Reset || client.ended() == end, "{response:?}");
    let line = gateway.access_line();
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&200.into(), &"upstream_cut".into()),
        "{response:?}"
    );
}

#[test]
fn a_malformed_status_line_is_a_bad_response() {
    assert_all_bad(&[
        "HTTP/9.1 200 OK\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "200 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
    ]);
}

#[test]
fn a_malformed_field_is_a_bad_response() {
    assert_all_bad(&[
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: y\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\rset-cookie: b\r\n\r\n",
    ]);
}

#[test]
fn a_bare_lf_ends_no_line_of_a_response() {
    assert_all_bad(&[
        "HTTP/1.1 200 OK\ncontent-length: 0\n\n",
        "HTTP/1.1 200 OK\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\n",
        "HTTP/1.1 200 OK\r\nx: y\nset-cookie: a\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ]);
}

#[test]
fn a_response_whose_connection_field_is_a_long_list_is_a_bad_response() {
    let lists = [",".repeat(10_000), "x, ".repeat(32) + "y"];
    for list in lists
        .map(|list| format!("HTTP/1.1 200 OK\r\nconnection: {list}\r\ncontent-length: 0\r\n\r\n"))
    {
        let upstream = Upstream::answering(move |_| list.clone());
        let response = alone(&upstream, "").get("/");
        assert_eq!(response.status(), 502, "{}", response.text());
    }
}

#[test]
fn a_response_with_an_ambiguous_end_is_a_bad_response() {
    assert_all_bad(&[
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ]);
}

#[test]
fn an_unsolicited_101_is_a_bad_response() {
    assert_all_bad(&[
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ]);
}

#[test]
fn an_interim_response_in_chunks_is_a_bad_response() {
    assert_all_bad(&[
        "HTTP/1.1 103 Early Hints\r\ntransfer-encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ]);
}

#[test]
fn an_endless_head_is_cut_off() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\n");
        assert!(connection.flood(&b"x: y\r\n".repeat(700), TIMEOUT, A_LOT) < A_LOT);
    });
    let gateway = alone(&upstream, "");
    assert_eq!(gateway.get("/").status(), 502);
}

#[test]
fn endless_interim_responses_are_cut_off() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        let hint = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(100);
        assert!(connection.flood(&hint, TIMEOUT, A_LOT) < A_LOT);
    });
    let gateway = alone(&upstream, "");
    let mut client = gateway.connect();
    client.send(GET);
    let mut hints = 0;
    let last = loop {
        match client.response() {
            response if response.status() == 103 => hints += 1,
            response => break response,
        }
    };
    assert_eq!(last.status(), 502);
    assert!(hints < 100, "{hints}");
}

#[test]
fn a_body_shorter_than_its_length_is_seen_to_break_off() {
    assert_cut(
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        "hello",
    );
}

#[test]
fn chunks_without_an_end_are_seen_to_break_off() {
    assert_cut(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "hello",
    );
}

#[test]
fn a_malformed_chunk_is_seen_to_break_off() {
    assert_cut(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0x1\r\na\r\n0\r\n\r\n",
        "hello",
    );
    assert_cut(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1 1\r\na\r\n0\r\n\r\n",
        "hello",
    );
    assert_cut(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloo\r\n0\r\n\r\n",
        "hello",
    );
    assert_cut(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
        "hello",
    );
}

/// Only the end of the connection tells an HTTP/1.0 client that the response is
/// over, so it has to be a reset.
#[test]
fn a_cut_body_delimited_by_the_connection_ends_in_a_reset() {
    let get = "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    ends_cut(
        get,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "hello",
        End::Reset,
    );
}

#[test]
fn a_body_that_ends_in_a_reset_is_seen_to_break_off() {
    for head in [
        "content-length: 10\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "\r\nhello",
    ] {
        let gate = Gate::new();
        let read = gate.clone();
        let upstream = Upstream::start(move |mut connection| {
            connection.expect_request();
            connection.send(format!("HTTP/1.1 200 OK\r\n{head}"));
            read.pass();
            connection.break_off();
        });
        let gateway = alone(&upstream, "");
        let mut client = gateway.connect();
        client.send(GET);
        let head = client.head().unwrap();
        let is_chunked = head.get("transfer-encoding").is_some();
        assert_eq!(
            if is_chunked {
                client.chunk()
            } else {
                client.bytes(5)
            }
            .unwrap(),
            b"hello"
        );
        gate.open();
        assert_eq!(client.bytes(1), Err(Cut(Vec::new())));
    }
}

#[test]
fn an_upstream_that_falls_silent_in_its_response_is_cut_off_and_logged() {
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
        connection.ended();
    });
    let gateway = alone(&upstream, "timeouts = { idle = \"100ms\" }");
    let got = gateway.connect().exchange(GET);
    assert_eq!((got.text().as_str(), got.is_whole), ("hello", false));
    let line = gateway.access_line();
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&200.into(), &"idle_timeout".into())
    );
}

#[test]
fn bytes_after_a_response_are_discarded() {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL";
    for (request, first) in [
        (GET, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst"),
        (
            GET,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n",
        ),
        (GET, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        (GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            GET,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
        ),
        (
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
        ),
    ] {
        let upstream = Upstream::start(move |mut connection| {
            connection.expect_request();
            if connection.index > 0 {
                return connection.send(ok("mine"));
            }
            connection.send(format!("{first}{evil}"));
            connection.ended();
        });
        let gateway = alone(&upstream, "");
        let mut client = gateway.connect();
        client.send(request);
        if request == GET {
            client.response()
        } else {
            client.response_to_head()
        };
        assert_eq!(client.exchange(GET).text(), "mine", "{first:?}");
        assert_eq!(gateway.get("/").text(), "mine", "{first:?}");
    }
}

#[test]
fn bytes_between_two_requests_are_discarded() {
    let gate = Gate::new();
    let (answered, sent) = (gate.clone(), Gate::new());
    let reported = sent.clone();
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send(ok("mine"));
        if connection.index == 0 {
            answered.pass();
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL");
            reported.open();
        }
        connection.ended();
    });
    let gateway = alone(&upstream, "");
    let mut client = gateway.connect();
    assert_eq!(client.exchange(GET).text(), "mine");
    gate.open();
    sent.pass();
    assert_eq!(client.exchange(GET).text(), "mine");
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn an_upstream_that_breaks_off_before_its_response_is_a_502() {
    for (part, is_reset) in [
        ("", false),
        ("", true),
        ("HTTP/1.1 200 OK\r\nx: ", false),
        ("HTTP/1.1 20", true),
    ] {
        let upstream = Upstream::start(move |mut connection| {
            connection.expect_request();
            connection.send(part);
            if is_reset {
                connection.break_off();
            }
        });
        let gateway = alone(&upstream, "");
        let response = gateway.get("/");
        assert_eq!(response.status(), 502, "{part:?}");
        response.problem();
        assert_eq!(gateway.access_line()["reason"], "reset", "{part:?}");
        let tries = if part.is_empty() { 2 } else { 1 };
        assert_eq!(
            upstream.connections(),
            tries,
            "{part:?}: only a failure before any byte is retried"
        );
    }
}

#[test]
fn an_http_1_0_response_passes_and_its_connection_is_not_reused() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok");
        connection.ended();
    });
    let gateway = alone(&upstream, "");
    let mut client = gateway.connect();
    for _ in 0..2 {
        let response = client.exchange(GET);
        assert_eq!(
            (response.head.line.as_str(), response.text().as_str()),
            ("HTTP/1.1 200 OK", "ok")
        );
    }
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn an_early_response_reaches_the_client_and_ends_both_connections() {
    let upstream = Upstream::start(|mut connection| {
        connection.head().unwrap();
        connection.bytes(5).unwrap();
        connection.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 8\r\n\r\ntoo much");
        connection.ended();
    });
    let gateway = alone(&upstream, "");
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nhello");
    let response = client.response();
    assert_eq!(
        (response.status(), response.text().as_str()),
        (413, "too much")
    );
    client.ended();
}

#[test]
fn a_pooled_connection_that_its_server_closed_is_replaced_unnoticed() {
    for request in [
        GET,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let gate = Gate::new();
        let closed = gate.clone();
        let upstream = Upstream::start(move |mut connection| {
            connection.expect_request();
            connection.send(ok("fine"));
            drop(connection);
            closed.open();
        });
        let gateway = alone(&upstream, "");
        let mut client = gateway.connect();
        for _ in 0..3 {
            assert_eq!(client.exchange(request).text(), "fine", "{request:?}");
            gate.pass();
        }
        assert_eq!(upstream.connections(), 3);
    }
}

/// A server that reads the second request of its first connection and then
/// closes it.
fn closes_at_the_second() -> Upstream {
    Upstream::start(|mut connection| {
        connection.expect_request();
        connection.send(ok("fine"));
        if connection.request().is_some() && connection.index > 0 {
            connection.send(ok("fine"));
        }
    })
}

#[test]
fn a_pooled_connection_that_closes_at_its_next_request_is_replaced_if_that_is_safe() {
    let upstream = closes_at_the_second();
    let gateway = alone(&upstream, "");
    let mut client = gateway.connect();
    for _ in 0..2 {
        assert_eq!(client.exchange(GET).text(), "fine");
    }
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn a_request_that_may_have_been_served_is_not_repeated_unless_safe() {
    let upstream = closes_at_the_second();
    let gateway = alone(&upstream, "");
    let mut client = gateway.connect();
    assert_eq!(client.exchange(GET).text(), "fine");
    let response = client.exchange("POST /once HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(response.status(), 502);
    assert_eq!(gateway.line_of("/once")["not_retried"], "method");
    assert_eq!(upstream.text().matches("/once").count(), 1);
}

#[test]
fn responses_never_mix_between_clients() {
    let upstream = Upstream::answering(|request| {
        let target = request.target();
        let size = target.len() * 37 % 3000;
        let body = format!(
            "{target} {} {}",
            request.text(),
            target.repeat(size / target.len())
        );
        if size % 2 == 0 {
            return ok(&body);
        }
        let chunks: String = body
            .as_bytes()
            .chunks(100)
            .map(|chunk| chunk_of(&String::from_utf8_lossy(chunk)))
            .collect();
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    });
    let text = one_route(&upstream, "");
    let gateway = Gateway::start(&format!(
        "{text}\n[upstreams.app.pool]\nmax_connections = 3\nwait_timeout = \"10s\"\n"
    ));
    let address = gateway.address();
    thread::scope(|scope| {
        for client in 0..16 {
            scope.spawn(move || {
                let mut connection = Client::connect(address);
                for number in 0..60 {
                    let target = format!("/{client}/{}", "x".repeat(number));
                    let response = connection.exchange(format!(
                        "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n{client:03}-{number:04}"
                    ));
                    assert_eq!(response.status(), 200, "{}", response.text());
                    let start = format!("{target} {client:03}-{number:04} ");
                    assert!(response.text().starts_with(&start), "{start:?} got {:?}", response.text());
                }
            });
        }
    });
    assert!(upstream.connections() <= 3, "{}", upstream.connections());
}

fn chunk_of(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}
