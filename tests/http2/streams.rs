//! Streams of one connection are independent: each is served, slowed down and
//! ended by itself.

use bytes::Bytes;
use h2::{Reason, client};

use crate::support::{
    Gate, Gateway, Upstream,
    gateway::{responding, upstream_table},
    http2::{END_HEADERS, END_STREAM, Frames, Http2, get, kind, post},
    ok, one_route,
};

#[test]
fn many_streams_are_served_concurrently() {
    const STREAMS: usize = 50;
    let (all, here) = (Gate::new(), std::sync::Barrier::new(STREAMS));
    let upstream = Upstream::start({
        let all = all.clone();
        move |mut connection| {
            while let Some(_request) = connection.request() {
                if here.wait().is_leader() {
                    all.open();
                }
                connection.send(ok("x"));
            }
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = Http2::connect(gateway.address());
    let pending: Vec<_> = (0..STREAMS)
        .map(|_| client.open("GET", "/", &[], true))
        .collect();
    all.pass();
    for pending in pending {
        assert_eq!(client.finish(pending.response).unwrap().text(), "x");
    }
    assert_eq!(gateway.metric("tidegate_connections", &[]), 1.0);
}

#[test]
fn a_reset_by_the_client_ends_the_request_upstream_at_once() {
    let (begun, ended) = (Gate::new(), Gate::new());
    let upstream = Upstream::start({
        let (begun, ended) = (begun.clone(), ended.clone());
        move |mut connection| {
            connection.expect_request();
            begun.open();
            connection.ended();
            ended.open();
        }
    });
    let text = format!(
        "{}{}",
        one_route(&upstream, ""),
        responding("self", "match = { path = '/self' }")
    );
    let gateway = Gateway::start(&text);
    let mut client = Http2::connect(gateway.address());
    let mut pending = client.open("GET", "/slow", &[], true);
    begun.pass();
    pending.body.send_reset(Reason::CANCEL);
    client.settle();
    ended.pass();
    let line = gateway.line_of("/slow");
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&499.into(), &"client_gone".into())
    );
    assert_eq!(client.get("/self").text(), "self");
}

#[test]
fn a_client_that_leaves_ends_all_of_its_requests() {
    let begun = Gate::new();
    let upstream = Upstream::start({
        let begun = begun.clone();
        move |mut connection| {
            connection.expect_request();
            begun.open();
            connection.ended();
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = Http2::connect(gateway.address());
    let pending: Vec<_> = (0..3)
        .map(|_| client.open("GET", "/slow", &[], true))
        .collect();
    (0..3).for_each(|_| begun.pass());
    drop((pending, client));
    for _ in 0..3 {
        assert_eq!(gateway.access_line()["status"], 499);
    }
    assert_eq!(gateway.metric("tidegate_in_flight", &[]), 0.0);
}

/// The window of the connection is many times that of a stream, so a stuck
/// stream leaves room for others.
#[test]
fn unread_uploads_do_not_stall_other_streams() {
    let over = Gate::new();
    let upstream = Upstream::start({
        let over = over.clone();
        move |mut connection| {
            connection.head().unwrap();
            over.pass();
        }
    });
    let free = Upstream::answering(|request| ok(&request.body.len().to_string()));
    let text = format!(
        "{}{}[[routes]]\nname = 'stuck'\nupstream = 'stuck'\nmatch = {{ path = '/stuck' }}\n\
         [[routes]]\nname = 'free'\nupstream = 'free'\n",
        upstream_table("stuck", &[&upstream], ""),
        upstream_table("free", &[&free], "")
    );
    let gateway = Gateway::start(&text);
    let mut client = Http2::connect(gateway.address());
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let mut pending = client.open("POST", "/stuck", &[], false);
        // Far more bytes than sockets and windows hold.
        pending
            .body
            .send_data(Bytes::from(vec![b'x'; 16 << 20]), true)
            .unwrap();
        stuck.push(pending);
    }
    static LARGE: [u8; 1 << 20] = [b'y'; 1 << 20];
    assert_eq!(
        client.post("/free", &[], &LARGE).text(),
        LARGE.len().to_string()
    );
    drop((stuck, client));
    (0..8).for_each(|_| over.open());
}

#[test]
fn an_unread_response_waits_for_its_window_and_does_not_stall_other_streams() {
    let length = 1 << 20;
    let upstream = Upstream::answering(move |_| ok(&"z".repeat(length)));
    let text = format!(
        "{}{}",
        one_route(&upstream, ""),
        responding("self", "match = { path = '/self' }")
    );
    let gateway = Gateway::start(&text);
    let settings = &mut client::Builder::new();
    let mut client = Http2::with(
        gateway.address(),
        settings
            .initial_window_size(1000)
            .initial_connection_window_size(1 << 20),
    );
    let large = client.open("GET", "/large", &[], true);
    let unread = client.wait(large.response).unwrap().into_body();
    assert_eq!(client.get("/self").text(), "self");
    let mut unread = unread;
    let mut read = 0;
    while let Some(data) = client.wait(unread.data()) {
        let data = data.unwrap();
        read += data.len();
        unread.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!(read, length);
}

#[test]
fn an_unread_response_ends_after_the_idle_timeout_and_its_connection_stays() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        let _ = connection.try_send(ok(&"z".repeat(16 << 20)));
    });
    let route = "timeouts = { idle = '300ms' }";
    let text = format!(
        "{}{}",
        one_route(&upstream, route),
        responding("self", "match = { path = '/self' }")
    );
    let gateway = Gateway::start(&text);
    let settings = &mut client::Builder::new();
    let mut client = Http2::with(gateway.address(), settings.initial_window_size(1000));
    let large = client.open("GET", "/large", &[], true);
    let body = client.wait(large.response).unwrap().into_body();
    let line = gateway.line_of("/large");
    assert_eq!(line["reason"], "idle_timeout");
    drop(body);
    assert_eq!(client.get("/self").text(), "self");
}

#[test]
fn a_body_that_stops_is_a_408_of_its_stream_alone() {
    let upstream = Upstream::start(|mut connection| {
        connection.head().unwrap();
        connection.rest(&mut Vec::new());
    });
    let text = format!(
        "{}{}",
        one_route(&upstream, "timeouts = { idle = '300ms' }"),
        responding("self", "match = { path = '/self' }")
    );
    let gateway = Gateway::start(&text);
    let mut client = Http2::connect(gateway.address());
    let mut pending = client.open("POST", "/", &[], false);
    pending
        .body
        .send_data(Bytes::from_static(b"some"), false)
        .unwrap();
    assert_eq!(client.finish(pending.response).unwrap().status, 408);
    assert_eq!(client.get("/self").text(), "self");
}

#[test]
fn a_response_that_breaks_off_upstream_is_a_reset_of_its_stream_alone() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
    });
    let text = format!(
        "{}{}",
        one_route(&upstream, ""),
        responding("self", "match = { path = '/self' }")
    );
    let gateway = Gateway::start(&text);
    let mut client = Http2::connect(gateway.address());
    let pending = client.open("GET", "/cut", &[], true);
    let error = client.finish(pending.response).unwrap_err();
    assert_eq!(
        (error.is_reset(), error.reason()),
        (true, Some(Reason::INTERNAL_ERROR))
    );
    assert_eq!(gateway.line_of("/cut")["reason"], "upstream_cut");
    assert_eq!(client.get("/self").text(), "self");
}

#[test]
fn streams_beyond_the_bound_are_refused_as_never_begun() {
    let begun = Gate::new();
    let upstream = Upstream::start({
        let begun = begun.clone();
        move |mut connection| {
            connection.expect_request();
            begun.open();
            connection.ended();
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = Frames::connect(gateway.address());
    for stream in 0..128 {
        client.send(
            kind::HEADERS,
            END_HEADERS | END_STREAM,
            2 * stream + 1,
            &get("/"),
        );
    }
    (0..128).for_each(|_| begun.pass());
    client.send(kind::HEADERS, END_HEADERS, 257, &post("/", &[]));
    let reset = client.until(kind::RST_STREAM);
    assert_eq!((reset.stream, &reset.payload[..]), (257, &[0, 0, 0, 7][..]));
}

/// libcurl 7.88 and git treat a reset that comes together with the response as
/// an error of the connection.
#[test]
fn an_early_response_is_no_reset_while_the_client_goes_on_sending() {
    const LONG: usize = 3 << 20;
    let upstream = Upstream::answering(|_| ok("good"));
    let gateway = Gateway::start(&one_route(&upstream, "request = { max_body = '1KiB' }"));
    let mut client = Http2::connect(gateway.address());
    let mut pending = client.open("POST", "/", &[("content-length", &LONG.to_string())], false);
    assert_eq!(client.finish(pending.response).unwrap().status, 413);
    let mut left = LONG;
    while left > 0 {
        pending.body.reserve_capacity(left);
        let granted = client.wait(std::future::poll_fn(|cx| pending.body.poll_capacity(cx)));
        let granted = granted
            .expect("the stream is open")
            .expect("the stream is not reset")
            .min(left);
        left -= granted;
        pending
            .body
            .send_data(Bytes::from(vec![b'x'; granted]), left == 0)
            .unwrap();
    }
    client.settle();
    // The rest of the body is not read as another request, and the connection
    // goes on.
    assert_eq!(client.get("/").text(), "good");
    assert_eq!(gateway.metric("tidegate_in_flight", &[]), 0.0);
}

/// A reset must not overtake the data that was written before it.
#[test]
fn data_before_a_cut_arrives_before_the_reset() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 500 Broken\r\ncontent-length: 123\r\n\r\nseventeen bytes..");
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = Http2::connect(gateway.address());
    for _ in 0..20 {
        assert_cut_after(&mut client, 500, b"seventeen bytes..");
    }
}

/// Sends a request and checks that its response has `status`, carries `bytes`
/// and ends in a reset.
#[track_caller]
fn assert_cut_after(client: &mut Http2, status: u16, bytes: &[u8]) {
    let pending = client.open("GET", "/", &[], true);
    let (head, mut body) = client.wait(pending.response).expect("a head").into_parts();
    assert_eq!(head.status, status);
    let mut seen = Vec::new();
    let cut = client.wait(async {
        loop {
            match body.data().await.expect("a reset") {
                Ok(data) => seen.extend(data),
                Err(cut) => return cut,
            }
        }
    });
    assert_eq!(
        (seen.as_slice(), cut.reason()),
        (bytes, Some(Reason::INTERNAL_ERROR))
    );
}

/// Encodes a frame as a server sends it, with less than 256 bytes of payload
/// and a stream below 256.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
    frame.extend(payload);
    frame
}

#[test]
fn data_before_a_reset_by_a_server_arrives_before_the_reset() {
    let upstream = Upstream::start(|mut connection| {
        connection.bytes(24).unwrap();
        connection.send(frame(kind::SETTINGS, 0, 0, b""));
        while let Ok(head) = connection.bytes(9) {
            connection
                .bytes(usize::from(head[1]) << 8 | usize::from(head[2]))
                .unwrap();
            if head[3] != kind::HEADERS {
                continue;
            }
            // `:status: 500` and `content-length: 123`, then the bytes, then
            // RST_STREAM with INTERNAL_ERROR.
            let fields = [&[0x8e, 0x0f, 0x0d, 3][..], b"123"].concat();
            let stream = head[8];
            let head = frame(kind::HEADERS, END_HEADERS, stream, &fields);
            let data = frame(kind::DATA, 0, stream, b"seventeen bytes..");
            connection.send(
                [
                    head,
                    data,
                    frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 2]),
                ]
                .concat(),
            );
        }
    });
    let gateway = Gateway::start(&format!(
        "[upstreams.app]\nservers = ['{}']\nprotocol = 'http2'\n[[routes]]\nname = 'app'\nupstream = 'app'\n",
        upstream.url()
    ));
    let mut client = Http2::connect(gateway.address());
    for _ in 0..20 {
        assert_cut_after(&mut client, 500, b"seventeen bytes..");
    }
}
