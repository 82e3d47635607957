//! Connections that switch protocols: both ends get exactly the bytes of the
//! other, the bounds of the route apply, and the end is logged.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{thread, time::Duration};

use rustix::process::Signal;
use support::{
    Client, Connection, End, Gate, Head, Upstream,
    gateway::{Gateway, request},
    ok, one_route,
};

const ASK: [&str; 4] = [
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: abc",
    "Sec-WebSocket-Version: 13",
];
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: xyz\r\n\r\n";

/// An upstream that switches protocols and then follows the script.
fn switching(script: impl Fn(Connection) + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |mut connection| {
        if connection.request().is_some() {
            connection.send(SWITCH);
            script(connection);
        }
    })
}

/// An upstream that sends everything back and closes after the client has.
fn echo() -> Upstream {
    switching(|mut connection| {
        while let Ok(byte) = connection.bytes(1) {
            connection.send(byte);
        }
    })
}

/// Offers a tunnel and reads the head of the response.
#[track_caller]
fn ask(gateway: &Gateway) -> (Client, Head) {
    let mut client = gateway.connect();
    client.send(request("GET", "/", &ASK));
    let head = client.head().unwrap();
    (client, head)
}

/// Opens a tunnel.
#[track_caller]
fn open_tunnel(gateway: &Gateway) -> Client {
    let (client, head) = ask(gateway);
    assert_eq!(head.status(), 101);
    client
}

#[test]
fn the_offer_and_the_switch_are_passed_on_and_then_bytes_both_ways() {
    let upstream = switching(|mut connection| {
        assert_eq!(connection.bytes(4).unwrap(), b"ping");
        connection.send("pong");
        assert_eq!(connection.ended(), End::Closed);
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let (mut client, head) = ask(&gateway);
    assert_eq!(head.status(), 101);
    assert_eq!(
        (head.get("connection"), head.get("upgrade")),
        (Some("upgrade"), Some("websocket"))
    );
    assert_eq!(head.get("sec-websocket-accept"), Some("xyz"));
    assert_eq!(
        (head.get("content-length"), head.get("transfer-encoding")),
        (None, None)
    );
    client.send("ping");
    assert_eq!(client.bytes(4).unwrap(), b"pong");
    client.finish();
    assert_eq!(client.ended(), End::Closed);
    let sent = upstream.text().to_ascii_lowercase();
    for line in [
        "upgrade: websocket\r\n",
        "connection: upgrade\r\n",
        "sec-websocket-key: abc\r\n",
    ] {
        assert_eq!(sent.matches(line).count(), 1, "{line:?} in {sent}");
    }
    let line = gateway.line_of("/");
    assert_eq!(
        (&line["status"], &line["bytes_in"], &line["bytes_out"]),
        (&101.into(), &4.into(), &4.into()),
        "{line}"
    );
    assert!(line["reason"].is_null(), "{line}");
}

#[test]
fn bytes_that_come_early_on_either_side_are_not_lost() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        connection.send(format!("{SWITCH}hello"));
        assert_eq!(connection.bytes(5).unwrap(), b"early");
        connection.send("done");
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.send(request("GET", "/", &ASK) + "early");
    assert_eq!(client.head().unwrap().status(), 101);
    assert_eq!(client.bytes(9).unwrap(), b"hellodone");
    assert_eq!(client.ended(), End::Closed);
    drop(client);
    let line = gateway.line_of("/");
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&5.into(), &9.into()),
        "{line}"
    );
}

#[test]
fn a_shutdown_of_one_direction_is_passed_on_while_the_other_goes_on() {
    let upstream = switching(|mut connection| {
        let mut all = Vec::new();
        assert_eq!(connection.rest(&mut all), End::Closed);
        assert_eq!(all, b"all of it");
        connection.send("answer");
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = open_tunnel(&gateway);
    client.send("all of it");
    client.finish();
    assert_eq!(client.bytes(6).unwrap(), b"answer");
    assert_eq!(client.ended(), End::Closed);

    let upstream = switching(|mut connection| {
        connection.finish();
        assert_eq!(connection.bytes(4).unwrap(), b"late");
        assert_eq!(connection.ended(), End::Closed);
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = open_tunnel(&gateway);
    assert_eq!(client.ended(), End::Closed);
    client.send("late");
    client.finish();
    assert_eq!(gateway.line_of("/")["bytes_in"], 4);
}

#[test]
fn a_tunnel_that_the_upstream_breaks_does_not_seem_to_end_in_order() {
    let broken = Gate::new();
    let gate = broken.clone();
    let upstream = switching(move |connection| {
        gate.pass();
        connection.break_off();
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = open_tunnel(&gateway);
    broken.open();
    assert_eq!(client.ended(), End::Reset);
    let line = gateway.line_of("/");
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&101.into(), &"upstream_cut".into()),
        "{line}"
    );
}

#[test]
fn megabytes_pass_both_ways_concurrently_and_whole() {
    const SIZE: usize = 4 * 1024 * 1024;
    let content: Vec<u8> = (0..SIZE)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let sent = content.clone();
    let upstream = switching(move |mut connection| {
        let (mut writer, expected) = (connection.try_clone(), sent.clone());
        let writing = thread::spawn(move || writer.send(expected));
        assert!(connection.bytes(SIZE).unwrap() == sent);
        writing.join().unwrap();
    });
    let gateway = Gateway::start(&one_route(&upstream, "[routes.request]\nmax_body = '1KiB'"));
    let mut reader = open_tunnel(&gateway);
    let mut writer = reader.try_clone();
    let expected = content.clone();
    let writing = thread::spawn(move || writer.send(content));
    assert!(reader.bytes(SIZE).unwrap() == expected);
    writing.join().unwrap();
    assert!(gateway.resident() < 64 * 1024, "{} KiB", gateway.resident());
}

#[test]
fn a_reader_that_stops_stops_the_writer() {
    let stuck = Gate::new();
    let gate = stuck.clone();
    let upstream = switching(move |mut connection| {
        let most = 64 * 1024 * 1024;
        assert!(connection.flood(&[b'x'; 64 * 1024], Duration::from_millis(300), most) < most);
        gate.open();
        connection.rest(&mut Vec::new());
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = Client::connect_narrow(gateway.address());
    client.send(request("GET", "/", &ASK));
    assert_eq!(client.head().unwrap().status(), 101);
    stuck.pass();
    assert!(gateway.resident() < 64 * 1024, "{} KiB", gateway.resident());
    drop(client);
}

#[test]
fn a_response_without_a_switch_is_an_ordinary_response() {
    let upstream = Upstream::answering(|request| {
        if request.target() == "/" {
            ok("no thanks")
        } else {
            ok(request.target())
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    // The bytes that follow are the next request rather than the beginning of a
    // tunnel.
    client.send(request("GET", "/", &ASK) + &request("GET", "/next", &[]));
    let response = client.response();
    assert_eq!(
        (
            response.status(),
            response.text().as_str(),
            response.get("upgrade")
        ),
        (200, "no thanks", None)
    );
    assert_eq!(client.response().text(), "/next");
}

#[test]
fn a_426_passes_with_its_upgrade_field() {
    const WANT: &str = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade, x-hop\r\n\
         X-Hop: 1\r\nContent-Length: 2\r\n\r\nno";
    let upstream = Upstream::answering(|_| WANT.to_owned());
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    for (lines, connection) in [
        (&[][..], "upgrade"),
        (&["Connection: close"], "close, upgrade"),
    ] {
        let response = client.exchange(request("GET", "/", lines));
        assert_eq!((response.status(), response.text().as_str()), (426, "no"));
        assert_eq!(
            (response.get("upgrade"), response.get("connection")),
            (Some("websocket"), Some(connection))
        );
        assert_eq!(response.get("x-hop"), None);
    }
}

#[test]
fn only_an_offered_protocol_is_switched_to() {
    for (lines, switch) in [
        (&[][..], "websocket"),
        (&["Upgrade: websocket"], "websocket"),
        (&["Connection: upgrade"], "websocket"),
        (&["Connection: upgrade", "Upgrade: websocket"], "h2c"),
        (&["Connection: upgrade", "Upgrade: websocket"], ""),
        (
            &[
                "Connection: upgrade, http2-settings",
                "Upgrade: h2c",
                "HTTP2-Settings: AAMAAABk",
            ],
            "h2c",
        ),
    ] {
        let upstream = Upstream::start(move |mut connection| {
            connection.request();
            connection
                .send(format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {switch}\r\n\r\n"));
            assert!(matches!(connection.ended(), End::Closed | End::Reset));
        });
        let gateway = Gateway::start(&one_route(&upstream, ""));
        let mut client = gateway.connect();
        client.send(request("GET", "/", lines) + "{}");
        let response = client.response();
        assert_eq!(response.status(), 502, "{lines:?}");
        let line = gateway.line_of("/");
        assert_eq!(line["reason"], "bad_answer", "{line}");
    }
}

#[test]
fn an_offer_that_the_route_disallows_is_not_passed_on() {
    let upstream = Upstream::answering(|request| {
        assert_eq!(
            (request.get("upgrade"), request.get("http2-settings")),
            (None, None)
        );
        ok("plain")
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    for lines in [
        &[
            "Connection: upgrade, http2-settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABk",
        ][..],
        &["Connection: upgrade", "Upgrade: HTTP/2.0"],
        &["Connection: upgrade", "Upgrade: TLS/1.0"],
        &["Upgrade: websocket"],
        &["Connection: upgrade"],
    ] {
        assert_eq!(gateway.ask("GET", "/", lines).text(), "plain", "{lines:?}");
    }
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.response().text(), "plain");
}

const ATTACH: [&str; 3] = [
    "Connection: Upgrade",
    "Upgrade: tcp",
    "Content-Type: application/json",
];

/// Programs attach to the process of a container this way: a POST with
/// parameters, then a stream of bytes.
#[test]
fn a_request_with_a_body_may_switch_and_bytes_after_the_body_are_the_tunnels() {
    let upstream = Upstream::start(|mut connection| {
        let request = connection.expect_request();
        assert_eq!(
            (request.get("upgrade"), request.text().as_str()),
            (Some("tcp"), "{}")
        );
        connection.send("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
        while let Ok(byte) = connection.bytes(1) {
            connection.send(byte);
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    for (framing, body) in [
        ("Content-Length: 2", "{}"),
        ("Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n"),
    ] {
        let mut client = gateway.connect();
        client.send(request("POST", "/", &[&ATTACH[..], &[framing]].concat()) + body + "ping");
        let head = client.head().unwrap();
        assert_eq!(head.line, "HTTP/1.1 101 UPGRADED", "{framing}");
        assert_eq!(client.bytes(4).unwrap(), b"ping", "{framing}");
        client.finish();
        assert_eq!(client.ended(), End::Closed);
        let line = gateway.line_of("/");
        assert_eq!(
            (&line["status"], &line["bytes_in"]),
            (&101.into(), &6.into()),
            "{line}"
        );
    }
}

#[test]
fn a_server_that_switches_early_gets_the_rest_of_the_body_first() {
    let upstream = Upstream::start(|mut connection| {
        let head = connection.head().unwrap();
        connection.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello",
        );
        assert_eq!(connection.message(head, false, false).text(), "{}");
        assert_eq!(connection.bytes(4).unwrap(), b"ping");
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.send(request("POST", "/", &[&ATTACH[..], &["Content-Length: 2"]].concat()) + "{");
    client.send("}ping");
    assert_eq!(client.head().unwrap().status(), 101);
    assert_eq!(client.bytes(5).unwrap(), b"hello");
    assert_eq!(client.ended(), End::Closed);
}

#[test]
fn a_request_with_a_body_that_is_not_switched_is_served_and_the_connection_goes_on() {
    let upstream = Upstream::answering(|request| ok(&request.text()));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    let asked = request("POST", "/", &[&ATTACH[..], &["Content-Length: 2"]].concat()) + "{}";
    client.send(asked.clone() + &asked);
    assert_eq!(
        (
            client.response().text().as_str(),
            client.response().text().as_str()
        ),
        ("{}", "{}")
    );
}

#[test]
fn a_tunnel_holds_its_permit_until_it_closes_and_is_charged_once() {
    let upstream = echo();
    let text = one_route(&upstream, "limits = ['two']\nconcurrency = { max = 1 }")
        + "[limits.two]\nrate = '2/h'\n";
    let gateway = Gateway::start(&text);
    let mut client = open_tunnel(&gateway);
    for _ in 0..10 {
        client.send("x");
        assert_eq!(client.bytes(1).unwrap(), b"x");
    }
    assert_eq!(
        gateway.metric("tidegate_in_flight", &[("route", "app")]),
        1.0
    );
    let labels = [("upstream", "app"), ("state", "active")];
    assert_eq!(
        gateway.metric("tidegate_upstream_connections", &labels),
        1.0
    );
    let response = gateway.get("/");
    assert_eq!(
        (response.status(), gateway.line_of("/")["reason"].as_str()),
        (503, Some("cap"))
    );
    drop(client);
    assert_eq!(gateway.line_of("/")["status"], 101);
    assert_eq!(
        gateway.metric("tidegate_in_flight", &[("route", "app")]),
        0.0
    );
    assert_eq!(
        gateway.metric("tidegate_upstream_connections", &labels),
        0.0
    );
    drop(open_tunnel(&gateway));
    assert_eq!(ask(&gateway).1.status(), 429);
}

#[test]
fn the_bounds_of_requests_do_not_apply_to_a_tunnel() {
    let upstream = echo();
    let more = "timeouts = { total = '200ms', idle = '200ms', body = '200ms', tunnel = '1m' }";
    let gateway = Gateway::start(&one_route(&upstream, more));
    let mut client = open_tunnel(&gateway);
    thread::park_timeout(Duration::from_millis(600));
    client.send("still there");
    assert_eq!(client.bytes(11).unwrap(), b"still there");
}

#[test]
fn silence_in_both_directions_ends_a_tunnel() {
    let upstream = switching(|mut connection| assert_eq!(connection.ended(), End::Closed));
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { tunnel = '200ms' }"));
    let mut client = open_tunnel(&gateway);
    assert_eq!(client.ended(), End::Closed);
    let line = gateway.line_of("/");
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&101.into(), &"idle_timeout".into()),
        "{line}"
    );
    assert!(line["duration_ms"].as_f64().unwrap() >= 200.0, "{line}");
}

#[test]
fn a_half_closed_tunnel_ends_after_a_shorter_silence() {
    const BOUNDS: &str = "timeouts = { idle = '300ms', tunnel = '1h' }";
    // The client closes its side and the server does not notice.
    let leave = Gate::new();
    let gate = leave.clone();
    let upstream = switching(move |mut connection| {
        connection.ended();
        gate.pass();
    });
    let gateway = Gateway::start(&one_route(&upstream, BOUNDS));
    let mut client = open_tunnel(&gateway);
    client.finish();
    assert_eq!(client.ended(), End::Closed);
    assert_eq!(gateway.line_of("/")["reason"], "idle_timeout");
    leave.open();
    // The server closes its side and the client never does.
    let upstream = switching(drop);
    let gateway = Gateway::start(&one_route(&upstream, BOUNDS));
    let _client = open_tunnel(&gateway);
    assert_eq!(gateway.line_of("/")["reason"], "idle_timeout");
}

#[test]
fn bytes_that_still_flow_after_a_half_close_are_not_cut() {
    let upstream = switching(|mut connection| {
        connection.ended();
        for _ in 0..6 {
            thread::park_timeout(Duration::from_millis(100));
            connection.send("x");
        }
    });
    let gateway = Gateway::start(&one_route(
        &upstream,
        "timeouts = { idle = '400ms', tunnel = '1h' }",
    ));
    let mut client = open_tunnel(&gateway);
    // The silence is measured from the end of the first direction.
    thread::park_timeout(Duration::from_millis(600));
    client.finish();
    let mut all = Vec::new();
    assert_eq!((client.rest(&mut all), all.len()), (End::Closed, 6));
    assert!(gateway.line_of("/")["reason"].is_null());
}

#[test]
fn bytes_in_one_direction_keep_a_tunnel_open() {
    let upstream = switching(|mut connection| {
        let mut all = Vec::new();
        assert_eq!(connection.rest(&mut all), End::Closed);
        assert_eq!(all.len(), 8);
    });
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { tunnel = '500ms' }"));
    let mut client = open_tunnel(&gateway);
    for _ in 0..8 {
        thread::park_timeout(Duration::from_millis(125));
        client.send("x");
    }
    client.finish();
    assert_eq!(client.ended(), End::Closed);
    assert!(gateway.line_of("/")["reason"].is_null());
}

#[test]
fn a_tunnel_survives_a_reload_that_removes_its_route_and_upstream() {
    let upstream = echo();
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = open_tunnel(&gateway);
    gateway.reload_with("[[routes]]\nname = 'other'\nrespond = { status = 204 }\n");
    client.send("still there");
    assert_eq!(client.bytes(11).unwrap(), b"still there");
    client.finish();
    assert_eq!(client.ended(), End::Closed);
    let line = gateway.line_of("/");
    assert_eq!(
        (&line["status"], &line["route"]),
        (&101.into(), &"app".into()),
        "{line}"
    );
}

#[test]
fn a_drain_cuts_tunnels_at_its_end_and_counts_them() {
    let upstream = echo();
    let mut gateway = Gateway::start(&one_route(&upstream, "[shutdown]\ndrain = '700ms'"));
    let mut client = open_tunnel(&gateway);
    gateway.signal(Signal::TERM);
    gateway.logged("draining");
    client.send("still there");
    assert_eq!(client.bytes(11).unwrap(), b"still there");
    assert_eq!(client.ended(), End::Closed);
    let (status, said) = gateway.wait();
    assert_eq!(status.code(), Some(0));
    assert!(
        said.iter().any(|line| line.contains("\"cut\":1")),
        "{said:?}"
    );
    let lines = gateway.rest_of_access();
    assert!(
        lines.iter().any(|line| line.contains("\"status\":101")),
        "{lines:?}"
    );
}

#[test]
fn an_offer_that_a_server_may_have_received_is_not_retried() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        connection.break_off();
    });
    let gateway = Gateway::start(&one_route(
        &upstream,
        "retry = { attempts = 3, on = ['connect', 'reset'] }",
    ));
    assert_eq!(ask(&gateway).1.status(), 502);
    let line = gateway.line_of("/");
    assert_eq!(
        (&line["attempts"], &line["not_retried"]),
        (&1.into(), &"upgrade".into()),
        "{line}"
    );
    assert_eq!(upstream.connections(), 1);
}

/// A pooled connection may have been closed by its server, which shows only
/// after the offer is written.
#[test]
fn an_offer_uses_a_new_connection() {
    let upstream = Upstream::start(|mut connection| {
        while let Some(request) = connection.request() {
            let response = if request.get("upgrade").is_some() {
                SWITCH.to_owned()
            } else {
                ok("")
            };
            connection.send(response);
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    assert_eq!(gateway.status("/"), 200);
    drop(open_tunnel(&gateway));
    assert_eq!(upstream.connections(), 2);
}

/// An upstream that responds with this content type and sends one piece each
/// time the gate opens.
fn streaming(content_type: &'static str) -> (Upstream, Gate) {
    let next_piece = Gate::new();
    let gate = next_piece.clone();
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
        ));
        for _ in 0..2 {
            gate.pass();
            // The gateway may have closed the connection.
            let _ = connection.try_send("9\r\ndata: x\n\n\r\n");
        }
        let _ = connection.try_send("0\r\n\r\n");
    });
    (upstream, next_piece)
}

#[test]
fn an_event_arrives_while_its_stream_is_open() {
    let (upstream, next_piece) = streaming("text/event-stream");
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.send(request("GET", "/", &["Accept: text/event-stream"]));
    assert_eq!(client.head().unwrap().status(), 200);
    for _ in 0..2 {
        next_piece.open();
        assert_eq!(client.chunk().unwrap(), b"data: x\n\n");
    }
    assert_eq!(client.chunk().unwrap(), b"");
}

#[test]
fn event_streams_and_calls_may_be_silent_longer_than_other_responses() {
    for (content_type, is_cut) in [
        ("text/event-stream; charset=utf-8", false),
        ("application/grpc+proto", false),
        ("application/x-ndjson", false),
        ("application/grpc-web-text+proto", false),
        ("application/json;stream=watch", false),
        ("text/plain", true),
    ] {
        let (upstream, next_piece) = streaming(content_type);
        let gateway = Gateway::start(&one_route(
            &upstream,
            "timeouts = { idle = '150ms', tunnel = '1m' }",
        ));
        let mut client = gateway.connect();
        client.send(request("GET", "/", &[]));
        client.head().unwrap();
        next_piece.open();
        client.chunk().unwrap();
        thread::park_timeout(Duration::from_millis(500));
        next_piece.open();
        assert_eq!(client.chunk().is_err(), is_cut, "{content_type}");
    }
}

#[test]
fn a_silent_event_stream_ends_after_the_timeout_of_tunnels() {
    let (upstream, next_piece) = streaming("text/event-stream");
    let gateway = Gateway::start(&one_route(
        &upstream,
        "timeouts = { idle = '1m', tunnel = '150ms' }",
    ));
    let mut client = gateway.connect();
    client.send(request("GET", "/", &[]));
    client.head().unwrap();
    assert!(client.chunk().is_err());
    assert_eq!(gateway.line_of("/")["reason"], "idle_timeout");
    next_piece.open();
    next_piece.open();
}
