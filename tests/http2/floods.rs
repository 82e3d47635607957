//! Clients that ask for work without end are told to calm down, and counted by what they flooded with.

use h2::Reason;

use crate::support::{
    Gateway, Upstream,
    gateway::responding,
    http2::{END_HEADERS, END_STREAM, Frames, Http2, Reaction, block, frame, get, kind, post},
    ok, one_route,
};

/// Sends what `flood` makes until the gateway has had enough; then others are served as before.
#[track_caller]
fn is_calmed(kind: &str, flood: impl FnOnce(&mut Frames)) {
    let gateway = Gateway::start(&responding("self", ""));
    let mut client = Frames::connect(gateway.address());
    flood(&mut client);
    while let told = client.reaction()
        && told != Reaction::Goaway(Reason::ENHANCE_YOUR_CALM)
    {
        assert!(told != Reaction::Nothing, "{kind}: it ended without a word");
    }
    gateway.await_metric("tidegate_http2_floods_total", &[("kind", kind)], 1.0);
    assert_eq!(gateway.metric("tidegate_http2_floods_total", &[]), 1.0);
    assert_eq!(Http2::connect(gateway.address()).get("/").text(), "self");
}

fn repeated(frames: usize, one: &[u8]) -> Vec<u8> {
    one.repeat(frames)
}

/// CVE-2023-44487, the resets right behind the requests.
#[test]
fn rapid_resets() {
    is_calmed("rst_stream", |client| {
        for stream in (1..6000).step_by(2) {
            let request = frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &get("/"));
            client.write(&[request, frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat());
        }
    });
}

/// The same, slow enough that each request is begun before it is taken back.
#[test]
fn resets_of_requests_that_were_begun() {
    let upstream = Upstream::start(|mut connection| while connection.request().is_some() {});
    let gateway = Gateway::start(&one_route(
        &upstream,
        "concurrency = { max = 1, queue = 200 }",
    ));
    let mut client = Frames::connect(gateway.address());
    let mut told = false;
    for stream in (1..8000).step_by(2) {
        client.send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &get("/"));
        // An answer to the ping says that the request has been seen.
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
            told = response == Some(kind::GOAWAY);
            break;
        }
        client.send(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    }
    assert!(told);
    gateway.await_metric(
        "tidegate_http2_floods_total",
        &[("kind", "rst_stream")],
        1.0,
    );
}

/// Requests that break the protocol: the gateway is made to send the resets (CVE-2025-8671).
#[test]
fn resets_that_the_client_provokes() {
    is_calmed("broken_streams", |client| {
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
    is_calmed("continuation", |client| {
        client.send(kind::HEADERS, 0, 1, &get("/"));
        client.write(&repeated(
            100,
            &frame(kind::CONTINUATION, 0, 1, &block(&[("a", "b")])),
        ));
    });
}

#[test]
fn empty_continuations() {
    is_calmed("continuation", |client| {
        client.send(kind::HEADERS, 0, 1, &get("/"));
        client.write(&repeated(1000, &frame(kind::CONTINUATION, 0, 1, &[])));
    });
}

#[test]
fn pings() {
    is_calmed("ping", |client| {
        client.write(&repeated(3000, &frame(kind::PING, 0, 0, &[1; 8])))
    });
}

#[test]
fn settings() {
    is_calmed("settings", |client| {
        client.write(&repeated(
            3000,
            &frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
        ))
    });
}

#[test]
fn priorities() {
    is_calmed("priority", |client| {
        client.write(&repeated(
            3000,
            &frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 1]),
        ))
    });
}

#[test]
fn windows() {
    is_calmed("window_update", |client| {
        client.write(&repeated(
            3000,
            &frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        ))
    });
}

#[test]
fn frames_that_nobody_knows() {
    is_calmed("other_frames", |client| {
        client.write(&repeated(3000, &frame(0xee, 0xff, 9, b"x")))
    });
}

#[test]
fn empty_data() {
    is_calmed("small_data", |client| {
        client.send(kind::HEADERS, END_HEADERS, 1, &post("/", &[]));
        client.write(&repeated(3000, &frame(kind::DATA, 0, 1, &[])));
    });
}

/// Each byte costs the gateway two hundred and fifty to remember.
#[test]
fn data_byte_by_byte_that_nobody_reads() {
    let upstream = Upstream::start(|mut connection| while connection.request().is_some() {});
    let gateway = Gateway::start(&one_route(
        &upstream,
        "concurrency = { max = 1, queue = 1, queue_timeout = '10s' }",
    ));
    let mut client = Frames::connect(gateway.address());
    client.send(kind::HEADERS, END_HEADERS | END_STREAM, 1, &get("/"));
    // Waits in the queue, its body unread.
    client.send(kind::HEADERS, END_HEADERS, 3, &post("/", &[]));
    client.write(&repeated(20_000, &frame(kind::DATA, 0, 3, b"x")));
    assert_eq!(client.until(kind::GOAWAY).payload[4..8], [0, 0, 0, 11]);
    gateway.await_metric(
        "tidegate_http2_floods_total",
        &[("kind", "small_data")],
        1.0,
    );
}

/// A field of four thousand bytes that is sent once and named a thousand times (RFC 7541, 7.3).
#[test]
fn header_bombs() {
    is_calmed("header_list", |client| {
        let long = "x".repeat(4000);
        // Literal with incremental indexing, then the first entry of the dynamic table over and over.
        let remembered = [&[0x40][..], &block(&[("a", &long)])[1..]].concat();
        let bomb = [&get("/")[..], &remembered, &[0xbe; 5000]].concat();
        client.send(kind::HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
    });
}

#[test]
fn what_busy_clients_send_is_no_flood() {
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
