//! The end of a connection: by a drain, by silence, or by a client that is too
//! slow.

use rustix::process::Signal;

use crate::support::{
    Gate, Gateway, Upstream,
    gateway::responding,
    http2::{END_HEADERS, Frames, Http2, Reaction, frame, get, kind},
    ok, one_route,
};

fn with_timeouts(timeouts: &str) -> Gateway {
    let listener = format!("[[listeners]]\nbind = '127.0.0.1:0'\ntimeouts = {{ {timeouts} }}\n");
    Gateway::start(&format!("{listener}{}", responding("self", "")))
}

#[test]
fn a_drain_says_goaway_and_finishes_the_streams_in_flight() {
    let (begun, go_on) = (Gate::new(), Gate::new());
    let upstream = Upstream::start({
        let (begun, go_on) = (begun.clone(), go_on.clone());
        move |mut connection| {
            connection.expect_request();
            begun.open();
            go_on.pass();
            connection.send(ok("late"));
        }
    });
    let mut gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = Http2::connect(gateway.address());
    let pending = client.open("GET", "/", &[], true);
    begun.pass();
    gateway.signal(Signal::TERM);
    gateway.logged("draining");
    go_on.open();
    assert_eq!(client.finish(pending.response).unwrap().text(), "late");
    client.ended().unwrap();
    assert!(gateway.wait().0.success());
}

#[test]
fn a_connection_without_streams_makes_room_for_a_new_one() {
    let (begun, go_on) = (Gate::new(), Gate::new());
    let upstream = Upstream::start({
        let (begun, go_on) = (begun.clone(), go_on.clone());
        move |mut connection| {
            connection.expect_request();
            begun.open();
            go_on.pass();
            connection.send(ok("late"));
        }
    });
    let listener = "[[listeners]]\nbind = '127.0.0.1:0'\nmax_connections = 2\n";
    let gateway = Gateway::start(&format!(
        "{listener}{}{}",
        one_route(&upstream, ""),
        responding("self", "match = { path = '/self' }")
    ));
    let mut busy = Http2::connect(gateway.address());
    let pending = busy.open("GET", "/", &[], true);
    begun.pass();
    // This connection has idled for less time than the busy one is open. It has
    // no stream, so it is the one that is closed, with GOAWAY.
    let mut idle = Frames::connect(gateway.address());
    idle.send(kind::PING, 0, 0, b"01234567");
    idle.until(kind::PING);
    let mut late = Http2::connect(gateway.address());
    assert_eq!(late.get("/self").text(), "self");
    assert_eq!(idle.until(kind::GOAWAY).payload[4..8], [0; 4]);
    go_on.open();
    assert_eq!(busy.finish(pending.response).unwrap().text(), "late");
}

#[test]
fn a_drain_ends_connections_without_streams_even_if_their_clients_are_silent() {
    let mut gateway = Gateway::start(&responding("self", ""));
    let mut client = Frames::connect(gateway.address());
    client.send(kind::PING, 0, 0, b"01234567");
    client.until(kind::PING);
    gateway.signal(Signal::TERM);
    // The client neither acknowledges the gateway's PING nor closes.
    assert_eq!(client.until(kind::GOAWAY).payload[4..8], [0; 4]);
    assert!(gateway.wait().0.success());
}

#[test]
fn a_connection_without_streams_gets_goaway_after_keep_alive() {
    let gateway = with_timeouts("keep_alive = '300ms'");
    let mut client = Http2::connect(gateway.address());
    assert_eq!(client.get("/").text(), "self");
    client.closed().unwrap();
}

#[test]
fn pings_do_not_keep_a_connection_without_streams_open() {
    let gateway = with_timeouts("keep_alive = '300ms'");
    let mut client = Frames::connect(gateway.address());
    client.send(kind::PING, 0, 0, b"01234567");
    assert_eq!(client.reaction(), Reaction::Goaway(h2::Reason::NO_ERROR));
}

#[test]
fn a_head_without_an_end_times_out() {
    let gateway = with_timeouts("headers = '300ms'");
    let mut client = Frames::connect(gateway.address());
    client.send(kind::HEADERS, 0, 1, &get("/"));
    assert_eq!(
        client.reaction(),
        Reaction::Goaway(h2::Reason::ENHANCE_YOUR_CALM)
    );
    gateway.await_metric("tidegate_http2_floods_total", &[("kind", "slow_head")], 1.0);
}

#[test]
fn an_incomplete_frame_of_a_head_times_out() {
    let gateway = with_timeouts("headers = '300ms'");
    let mut client = Frames::connect(gateway.address());
    let bytes = frame(kind::HEADERS, END_HEADERS, 1, &get("/"));
    client.write(&bytes[..bytes.len() - 1]);
    assert_eq!(
        client.reaction(),
        Reaction::Goaway(h2::Reason::ENHANCE_YOUR_CALM)
    );
}

#[test]
fn a_client_that_reads_nothing_times_out() {
    let upstream = Upstream::start(|mut connection| {
        while connection.request().is_some()
            && connection.try_send(ok(&"z".repeat(16 << 20))).is_ok()
        {}
    });
    let listener = "[[listeners]]\nbind = '127.0.0.1:0'\ntimeouts = { keep_alive = '500ms' }\n";
    let gateway = Gateway::start(&format!("{listener}{}", one_route(&upstream, "")));
    let mut client = Frames::connect(gateway.address());
    // Flow-control windows of the maximum size: only the socket limits what the
    // gateway can write.
    client.send(kind::SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    client.send(kind::WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    client.send(kind::HEADERS, 5, 1, &get("/"));
    let line = gateway.access_line();
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&200.into(), &"client_gone".into())
    );
    gateway.await_metric("tidegate_requests_total", &[], 1.0);
}
