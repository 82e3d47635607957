//! A corpus of protocol violations, each with the reaction that RFC 9113
//! demands. In the order of the RFC, modelled on the cases of h2spec.

use h2::Reason;

use crate::support::{
    Gateway, Upstream,
    gateway::responding,
    http2::{END_HEADERS, END_STREAM, Frames, Reaction, block, frame, get, kind, post},
    ok, one_route,
};

const BOTH: u8 = END_HEADERS | END_STREAM;

fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, BOTH, 1, &block(fields))
}

/// A valid request with one more field.
fn with(name: &str, value: &str) -> Vec<u8> {
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", "/"),
        (name, value),
    ];
    head(&fields)
}

fn opened(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS, stream, &post("/", &[]))
}

#[track_caller]
fn assert_reactions(cases: Vec<(&str, Vec<u8>, Reaction)>) {
    assert_reactions_of(&Gateway::start(&responding("self", "")), cases);
}

#[track_caller]
fn assert_reactions_of(gateway: &Gateway, cases: Vec<(&str, Vec<u8>, Reaction)>) {
    let mut wrong = Vec::new();
    for (name, bytes, expected) in cases {
        let mut client = Frames::connect(gateway.address());
        client.write(&bytes);
        let reaction = client.reaction();
        if reaction != expected {
            wrong.push(format!("{name}: {reaction:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(gateway.metric("tidegate_panics_total", &[]), 0.0);
}

/// RFC 9113, 8.3.1: an authority may contain the default port of its scheme.
#[test]
fn a_host_may_leave_out_the_port_of_the_scheme() {
    let upstream = Upstream::answering(|request| ok(request.get("host").unwrap_or_default()));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    for (scheme, authority, host, status) in [
        ("http", "svc.test:80", "svc.test", "200"),
        ("http", "svc.test", "svc.test:80", "200"),
        ("https", "svc.test:443", "SVC.test", "200"),
        ("https", "svc.test", "svc.test:443", "200"),
        ("http", "svc.test:443", "svc.test", "400"),
        ("http", "svc.test:80", "other.test", "400"),
        ("http", "svc.test:80", "svc.test:81", "400"),
    ] {
        let fields = [
            (":method", "GET"),
            (":scheme", scheme),
            (":authority", authority),
            (":path", "/"),
            ("host", host),
        ];
        let mut client = Frames::connect(gateway.address());
        client.write(&head(&fields));
        assert_eq!(
            client.reaction(),
            Reaction::Status(status.parse().unwrap()),
            "{scheme} {authority} {host}"
        );
    }
    for authority in [":80", ".", "a..b", ""] {
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", authority),
            (":path", "/"),
        ];
        let mut client = Frames::connect(gateway.address());
        client.write(&head(&fields));
        assert_ne!(client.reaction(), Reaction::Status(200), "{authority}");
    }
}

#[test]
fn frames_and_their_sizes() {
    use Reaction::Goaway;
    let size = Goaway(Reason::FRAME_SIZE_ERROR);
    let protocol = Goaway(Reason::PROTOCOL_ERROR);
    // The RFC demands FRAME_SIZE_ERROR; h2 uses the general PROTOCOL_ERROR.
    let general = protocol;
    assert_reactions(vec![
        (
            "4.2 a frame above 16 KiB",
            frame(kind::DATA, 0, 1, &[0; 16_385]),
            size,
        ),
        (
            "4.2 SETTINGS of no whole entries",
            frame(kind::SETTINGS, 0, 0, &[0; 5]),
            general,
        ),
        (
            "4.3 CONTINUATION without a head",
            frame(kind::CONTINUATION, END_HEADERS, 1, &get("/")),
            protocol,
        ),
        (
            "4.3 a frame within a head",
            [
                frame(kind::HEADERS, 0, 1, &get("/")),
                frame(kind::PING, 0, 0, &[0; 8]),
            ]
            .concat(),
            protocol,
        ),
        (
            "4.3 a head of another stream within a head",
            [
                frame(kind::HEADERS, 0, 1, &get("/")),
                frame(kind::CONTINUATION, 4, 3, &[]),
            ]
            .concat(),
            protocol,
        ),
        (
            "6.1 DATA on stream 0",
            frame(kind::DATA, 0, 0, b"x"),
            protocol,
        ),
        (
            "6.1 more padding than frame",
            [opened(1), frame(kind::DATA, 8, 1, &[9, b'x'])].concat(),
            protocol,
        ),
        (
            "6.2 HEADERS on stream 0",
            frame(kind::HEADERS, BOTH, 0, &get("/")),
            protocol,
        ),
        (
            "6.2 more padding than head",
            frame(kind::HEADERS, BOTH | 8, 1, &[200, 0x82]),
            protocol,
        ),
        (
            "6.3 PRIORITY on stream 0",
            frame(kind::PRIORITY, 0, 0, &[0, 0, 0, 3, 1]),
            protocol,
        ),
        (
            "6.4 RST_STREAM on stream 0",
            frame(kind::RST_STREAM, 0, 0, &[0; 4]),
            protocol,
        ),
        (
            "6.4 RST_STREAM of an idle stream",
            frame(kind::RST_STREAM, 0, 1, &[0; 4]),
            protocol,
        ),
        (
            "6.4 RST_STREAM of three bytes",
            [opened(1), frame(kind::RST_STREAM, 0, 1, &[0; 3])].concat(),
            general,
        ),
        (
            "6.5 SETTINGS on a stream",
            frame(kind::SETTINGS, 0, 1, &[]),
            protocol,
        ),
        (
            "6.5 an acknowledgement with settings",
            frame(kind::SETTINGS, 1, 0, &[0; 6]),
            general,
        ),
        (
            "6.5.2 ENABLE_PUSH of 2",
            frame(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]),
            protocol,
        ),
        (
            "6.5.2 MAX_FRAME_SIZE of 1",
            frame(kind::SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
            protocol,
        ),
        (
            "6.6 PUSH_PROMISE from a client",
            [opened(1), frame(kind::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])].concat(),
            protocol,
        ),
        (
            "6.7 PING on a stream",
            frame(kind::PING, 0, 1, &[0; 8]),
            protocol,
        ),
        (
            "6.7 PING of seven bytes",
            frame(kind::PING, 0, 0, &[0; 7]),
            general,
        ),
        (
            "6.8 GOAWAY on a stream",
            frame(kind::GOAWAY, 0, 1, &[0; 8]),
            protocol,
        ),
        (
            "6.9 WINDOW_UPDATE of 0 on the connection",
            frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]),
            protocol,
        ),
        (
            "6.9 WINDOW_UPDATE of three bytes",
            frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3]),
            general,
        ),
    ]);
}

#[test]
fn states_of_streams() {
    use Reaction::{Goaway, Reset};
    let protocol = Goaway(Reason::PROTOCOL_ERROR);
    assert_reactions(vec![
        (
            "5.1 DATA on an idle stream",
            frame(kind::DATA, 0, 1, b"x"),
            protocol,
        ),
        (
            "5.1 WINDOW_UPDATE of an idle stream",
            frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9]),
            protocol,
        ),
        ("5.1.1 a stream with an even number", opened(2), protocol),
        (
            "5.1.1 a stream below another",
            [opened(5), frame(kind::RST_STREAM, 0, 5, &[0; 4]), opened(3)].concat(),
            protocol,
        ),
        (
            "5.3.1 a stream that depends on itself",
            frame(
                kind::HEADERS,
                BOTH | 0x20,
                1,
                &[&[0, 0, 0, 1, 9][..], &get("/")].concat(),
            ),
            Reset(Reason::PROTOCOL_ERROR),
        ),
        (
            "6.9.1 a window of a stream that overflows",
            [
                opened(1),
                frame(kind::WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
            ]
            .concat(),
            Reset(Reason::FLOW_CONTROL_ERROR),
        ),
        (
            "6.9.1 the window of the connection overflows",
            frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            Goaway(Reason::FLOW_CONTROL_ERROR),
        ),
        // The RFC demands FLOW_CONTROL_ERROR; h2 uses the general
        // PROTOCOL_ERROR.
        (
            "6.9.2 INITIAL_WINDOW_SIZE above 2^31-1",
            frame(kind::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
            protocol,
        ),
    ]);
}

#[test]
fn header_lists() {
    use Reaction::{Goaway, Reset, Status};
    let reset = Reset(Reason::PROTOCOL_ERROR);
    // An endpoint may treat any stream error as a connection error (RFC 9113, 5.4.1).
    let protocol = Goaway(Reason::PROTOCOL_ERROR);
    assert_reactions(vec![
        ("8.2 a name in upper case", with("X-A", "b"), Status(400)),
        (
            "8.2.1 a value with a line end",
            with("a", "b\r\nc: d"),
            Status(400),
        ),
        ("8.2.1 a value with NUL", with("a", "b\0c"), Status(400)),
        (
            "8.2.1 a value with a space before it",
            with("a", " b"),
            Status(400),
        ),
        ("8.2.2 connection", with("connection", "close"), reset),
        (
            "8.2.2 transfer-encoding",
            with("transfer-encoding", "chunked"),
            reset,
        ),
        ("8.2.2 upgrade", with("upgrade", "h2c"), reset),
        ("8.2.2 keep-alive", with("keep-alive", "5"), reset),
        (
            "8.2.2 proxy-connection",
            with("proxy-connection", "close"),
            reset,
        ),
        ("8.2.2 te other than trailers", with("te", "gzip"), reset),
        (
            "8.3 a pseudo-field behind a field",
            head(&[
                (":method", "GET"),
                (":scheme", "http"),
                ("a", "b"),
                (":path", "/"),
            ]),
            reset,
        ),
        ("8.3 an unknown pseudo-field", with(":x", "y"), protocol),
        ("8.3 one of answers", with(":status", "200"), reset),
        ("8.3 the same twice", with(":path", "/"), reset),
        (
            "8.3.1 no :method",
            head(&[(":scheme", "http"), (":path", "/")]),
            reset,
        ),
        (
            "8.3.1 no :scheme",
            head(&[(":method", "GET"), (":path", "/")]),
            reset,
        ),
        (
            "8.3.1 no :path",
            head(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")]),
            reset,
        ),
        (
            "8.3.1 an empty :path",
            head(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a"),
                (":path", ""),
            ]),
            reset,
        ),
        (
            "8.3.1 a :path with a fragment",
            head(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a"),
                (":path", "/a#b"),
            ]),
            Status(400),
        ),
        (
            "8.3.1 a :path that names a host",
            head(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a"),
                (":path", "http://b/"),
            ]),
            reset,
        ),
        (
            "8.3.1 no host",
            head(&[(":method", "GET"), (":scheme", "http"), (":path", "/")]),
            Status(400),
        ),
        (
            "8.3.1 a user in :authority",
            head(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "u@a"),
                (":path", "/"),
            ]),
            Status(400),
        ),
        (
            "8.5 CONNECT",
            head(&[(":method", "CONNECT"), (":authority", "a:80")]),
            Status(400),
        ),
        (
            "RFC 8441 extended CONNECT, not offered",
            head(&[
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "http"),
                (":authority", "a"),
                (":path", "/"),
            ]),
            reset,
        ),
        (
            "8.1.1 a length where no body is",
            with("content-length", "1"),
            reset,
        ),
        (
            "8.1.1 a length that is none",
            with("content-length", "+1"),
            reset,
        ),
        ("8.1.1 two lengths", with("content-length", "0, 1"), reset),
        // The RFC demands COMPRESSION_ERROR; h2 uses the general
        // PROTOCOL_ERROR.
        (
            "4.3 an index that is not there",
            frame(kind::HEADERS, BOTH, 1, &[0xff, 0xff, 0x7f]),
            protocol,
        ),
    ]);
}

/// RFC 9113, 8.1.1: a malformed request is a stream error. A proxy may send
/// many clients' requests on one connection, and one of them must not end the
/// requests of the others.
#[test]
fn a_malformed_field_ends_its_own_request_and_no_other() {
    let upstream = Upstream::answering(|request| ok(request.target()));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    for (name, value) in [
        ("X-A", "b"),
        ("a b", "c"),
        ("a", "b\0c"),
        ("a", "b\nc"),
        ("a", "b\r"),
        (":path", "/#c"),
    ] {
        let sound = [(":method", "GET"), (":scheme", "http"), (":authority", "a")];
        let fields: Vec<_> = match name {
            ":path" => sound.into_iter().chain([(name, value)]).collect(),
            _ => sound
                .into_iter()
                .chain([(":path", "/"), (name, value)])
                .collect(),
        };
        let mut client = Frames::connect(gateway.address());
        client.write(&opened(1));
        client.write(&frame(kind::HEADERS, BOTH, 3, &block(&fields)));
        assert_eq!(
            client.reaction(),
            Reaction::Status(400),
            "{name}: {value:?}"
        );
        client.write(&frame(kind::DATA, END_STREAM, 1, b"x"));
        assert_eq!(
            client.reaction(),
            Reaction::Status(200),
            "{name}: {value:?}"
        );
    }
    assert!(!upstream.text().contains("a: b"));
}

/// Sent to an upstream that responds to every whole request. The RFC calls
/// pseudo-fields in trailers malformed; h2 drops them, and they do not arrive
/// upstream.
#[test]
fn trailers() {
    let trailed = |flags: u8, fields: &[(&str, &str)]| {
        [
            opened(1),
            frame(kind::DATA, 0, 1, b"x"),
            frame(kind::HEADERS, flags, 1, &block(fields)),
        ]
        .concat()
    };
    let whole = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "b.example"),
        (":path", "/b"),
    ];
    let (reset, dropped) = (
        Reaction::Reset(Reason::PROTOCOL_ERROR),
        Reaction::Status(200),
    );
    let upstream = Upstream::answering(|request| {
        assert_eq!(
            (request.target(), request.get("host")),
            ("/", Some("a.example"))
        );
        assert!(
            request.trailers.iter().all(|(name, _)| name == "a"),
            "{:?}",
            request.trailers
        );
        ok("")
    });
    let cases = vec![
        (
            "8.1 trailers",
            trailed(BOTH, &[("a", "b")]),
            Reaction::Status(200),
        ),
        (
            "8.1 trailers that do not end the stream",
            trailed(END_HEADERS, &[("a", "b")]),
            reset,
        ),
        (
            "8.1 :path in trailers",
            trailed(BOTH, &[(":path", "/b")]),
            dropped,
        ),
        (
            "8.1 :authority in trailers",
            trailed(BOTH, &[(":authority", "b.example"), ("a", "b")]),
            dropped,
        ),
        (
            "8.1 :status in trailers",
            trailed(BOTH, &[(":status", "200")]),
            dropped,
        ),
        ("8.1 a head in trailers", trailed(BOTH, &whole), dropped),
        (
            "8.1 a pseudo-field behind a field in trailers",
            trailed(BOTH, &[("a", "b"), (":path", "/b")]),
            reset,
        ),
        (
            "8.1 an unknown one in trailers",
            trailed(BOTH, &[(":x", "y")]),
            Reaction::Goaway(Reason::PROTOCOL_ERROR),
        ),
        (
            "8.2.2 connection in trailers",
            trailed(BOTH, &[("connection", "close")]),
            reset,
        ),
    ];
    assert_reactions_of(&Gateway::start(&one_route(&upstream, "")), cases);
}
