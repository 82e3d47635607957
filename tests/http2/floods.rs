//! Floods: a client that causes work without end gets ENHANCE_YOUR_CALM, and is
//! counted by the kind of its flood.

use h2::Reason;

use crate::support::{
    Gateway, Upstream,
    gateway::responding,
    http2::{END_HEADERS, END_STREAM, Frames, Http2, Reaction, block, frame, get, kind, post},
    ok, one_route,
};

/// Runs `flood` and checks that the gateway ends the connection with
/// ENHANCE_YOUR_CALM, counts it, and serves others.
#[track_caller]
fn assert_calmed(kind: &str, flood: impl FnOnce(&mut Frames)) {
    let gateway = Gateway::start(&responding("self", ""));
    let mut client = Frames::connect(gateway.address());
    flood(&mut client);
    while let reaction = client.reaction()
        && reaction != Reaction::Goaway(Reason::ENHANCE_YOUR_CALM)
    {
        assert!(
            reaction != Reaction::Nothing,
            "{kind}: the connection ended without GOAWAY"
        );
    }
    gateway.await_metric("tidegate_http2_floods_total", &[("kind", kind)], 1.0);
    assert_eq!(gateway.metric("tidegate_http2_floods_total", &[]), 1.0);
    assert_eq!(Http2::connect(gateway.address()).get("/").text(), "self");
}

fn repeated(frames: usize, one: &[u8]) -> Vec<u8> {
    one.repeat(frames)
}

/// CVE-2023-44487: each reset directly follows its request.
#[test]
fn rapid_resets() {
    assert_calmed("rst_stream", |client| {
        for stream in (1..6000).step_by(2) {
            let request = frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &get("/"));
            client.write(&[request, frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat());
        }
    });
}

/// Resets that are slow enough for each request to begin before it is
/// cancelled.
#[test]
fn resets_of_requests_that_have_begun() {
    let upstream = Upstream::start(|mut connection| while connection.request().is_some() {});
    let gateway = Gateway::start(&one_route(
        &upstream,
        "concurrency = { max = 1, queue = 200 }",
    ));
    let mut client = Frames::connect(gateway.address());
    let mut is_refused = false;
    for stream in (1..8000).step_by(2) {
        client.send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &get("/"));
        // The acknowledgement of the PING shows that the request has been read.
        client.send(kind::PING, 0, 0, &[7; 8]);
        let response = loop {
            match client.next() {
                Some(frame) if matches!(frame.kind, kind::PING | kind::GOAWAY) => {
                    break Some(frame.kind);
                }
                Some(_) => {}
                None => break None,
            }
        };
        if response != Some(kind::PING) {
            is_refused = response == Some(kind::GOAWAY);
            break;
        }
        client.send(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    }
    assert!(is_refused);
    gateway.await_metric(
        "tidegate_http2_floods_total",
        &[("kind", "rst_stream")],
        1.0,
    );
}

/// CVE-2025-8671: malformed requests make the gateway send the resets.
#[test]
fn resets_that_the_client_provokes() {
    assert_calmed("broken_streams", |client| {
        for stream in (1..4000).step_by(2) {
            let bad = block(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                ("connection", "close"),
            ]);
            client.send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &bad);
        }
    });
}

#[test]
fn continuations_without_end() {
    assert_calmed("continuation", |client| {
        client.send(kind::HEADERS, 0, 1, &get("/"));
        client.write(&repeated(
            100,
            &frame(kind::CONTINUATION, 0, 1, &block(&[("a", "b")])),
        ));
    });
}

#[test]
fn empty_continuations() {
    assert_calmed("continuation", |client| {
        client.send(kind::HEADERS, 0, 1, &get("/"));
        client.write(&repeated(1000, &frame(kind::CONTINUATION, 0, 1, &[])));
    });
}

#[test]
fn pings() {
    assert_calmed("ping", |client| {
        client.write(&repeated(3000, &frame(kind::PING, 0, 0, &[1; 8])))
    });
}

#[test]
fn settings() {
    assert_calmed("settings", |client| {
        client.write(&repeated(
            3000,
            &frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
        ))
    });
}

#[test]
fn priorities() {
    assert_calmed("priority", |client| {
        client.write(&repeated(
            3000,
            &frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 1]),
        ))
    });
}

#[test]
fn windows() {
    assert_calmed("window_update", |client| {
        client.write(&repeated(
            3000,
            &frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        ))
    });
}

#[test]
fn frames_of_unknown_types() {
    assert_calmed("other_frames", |client| {
        client.write(&repeated(3000, &frame(0xee, 0xff, 9, b"x")))
    });
}

#[test]
fn empty_data() {
    assert_calmed("small_data", |client| {
        client.send(kind::HEADERS, END_HEADERS, 1, &post("/", &[]));
        client.write(&repeated(3000, &frame(kind::DATA, 0, 1, &[])));
    });
}

/// Each byte in a frame of its own costs the gateway about 250 bytes of
/// bookkeeping.
#[test]
fn unread_data_byte_by_byte() {
    let upstream = Upstream::start(|mut connection| while connection.request().is_some() {});
    let gateway = Gateway::start(&one_route(
        &upstream,
        "concurrency = { max = 1, queue = 1, queue_timeout = '10s' }",
    ));
    let mut client = Frames::connect(gateway.address());
    client.send(kind::HEADERS, END_HEADERS | END_STREAM, 1, &get("/"));
    // This request waits in the queue, so its body is not read.
    client.send(kind::HEADERS, END_HEADERS, 3, &post("/", &[]));
    client.write(&repeated(20_000, &frame(kind::DATA, 0, 3, b"x")));
    assert_eq!(client.until(kind::GOAWAY).payload[4..8], [0, 0, 0, 11]);
    gateway.await_metric(
        "tidegate_http2_floods_total",
        &[("kind", "small_data")],
        1.0,
    );
}

/// A field of 4,000 bytes that is sent once and referenced thousands of times
/// (RFC 7541, 7.3).
#[test]
fn header_bombs() {
    assert_calmed("header_list", |client| {
        let long = "x".repeat(4000);
        // A literal with incremental indexing, then the first entry of the
        // dynamic table over and over.
        let remembered = [&[0x40][..], &block(&[("a", &long)])[1..]].concat();
        let bomb = [&get("/")[..], &remembered, &[0xbe; 5000]].concat();
        client.send(kind::HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
    });
}

#[test]
fn frames_of_a_busy_client_are_no_flood() {
    let upstream = Upstream::answering(|_| ok(&"z".repeat(100)));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = Frames::connect(gateway.address());
    for stream in (1..3000).step_by(2) {
        client.send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &get("/"));
        client.until(kind::DATA);
        for stream in [0, stream] {
            client.send(kind::WINDOW_UPDATE, 0, stream, &[0, 0, 0, 100]);
        }
        client.send(kind::PING, 0, 0, &[1; 8]);
        client.until(kind::PING);
    }
    assert_eq!(gateway.metric("tidegate_http2_floods_total", &[]), 0.0);
}
