//! Translation: a request over HTTP/2 arrives upstream over HTTP/1, and the
//! response comes back over HTTP/2.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::support::{
    Client, Gateway, Upstream,
    gateway::responding,
    http2::{Frames, Http2, PREFACE, Reaction},
    ok, one_route,
};

#[test]
fn clients_of_both_versions_are_served_by_one_listener() {
    let gateway = Gateway::start(&responding("self", ""));
    assert_eq!(Http2::connect(gateway.address()).get("/two").text(), "self");
    assert_eq!(gateway.line_of("/two")["protocol"], "HTTP/2");
    assert_eq!(gateway.get("/one").text(), "self");
    assert_eq!(gateway.line_of("/one")["protocol"], "HTTP/1.1");
}

#[test]
fn a_preface_that_comes_byte_by_byte_is_recognised() {
    let gateway = Gateway::start(&responding("self", ""));
    let mut client = Client::connect(gateway.address()).into_wire();
    for byte in PREFACE {
        client.send([*byte]);
    }
    client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    assert_eq!(client.bytes(9).unwrap()[3], 4, "SETTINGS");
}

#[test]
fn with_http2_off_the_preface_is_a_bad_request_of_http_1() {
    let gateway = Gateway::start(&format!(
        "[[listeners]]\nbind = '127.0.0.1:0'\nhttp2 = false\n{}",
        responding("self", "")
    ));
    let mut client = gateway.connect();
    client.send(PREFACE);
    assert_eq!(client.response().status(), 400);
}

#[test]
fn a_broken_preface_is_refused_in_http_1() {
    let gateway = Gateway::start(&responding("self", ""));
    let mut client = gateway.connect();
    client.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert_eq!(client.response().status(), 400);
}

#[test]
fn a_request_arrives_upstream_over_http_1() {
    let upstream = Upstream::answering(|request| {
        assert_eq!(request.head.line, "GET /x%2Fy?q=%zz HTTP/1.1");
        assert_eq!(request.get("host"), Some("a.example"));
        assert_eq!(request.get("cookie"), Some("a=1; b=2"));
        assert_eq!(request.get("via"), Some("2.0 tidegate"));
        assert_eq!(request.get("te"), Some("trailers"));
        assert!(
            request
                .head
                .fields
                .iter()
                .all(|(name, _)| !name.starts_with(':')),
            "{:?}",
            request.head
        );
        "HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Kept: 2\r\nKeep-Alive: 3\r\nContent-Length: 2\r\n\r\nok"
            .into()
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let fields = [("cookie", "a=1"), ("te", "trailers"), ("cookie", "b=2")];
    let response = Http2::connect(gateway.address()).ask("GET", "/x%2Fy?q=%zz", &fields);
    assert_eq!(
        (
            response.status.as_u16(),
            response.get("x-kept"),
            response.text()
        ),
        (200, "2", "ok".into())
    );
    assert_eq!(response.get("content-length"), "2");
    assert!(
        ["x-hop", "connection", "keep-alive"]
            .iter()
            .all(|name| !response.headers.contains_key(*name))
    );
    assert_eq!(response.headers.get_all("date").iter().count(), 1);
}

#[test]
fn a_426_passes_without_fields_that_http2_does_not_have() {
    let upstream = Upstream::answering(|_| {
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nno"
            .into()
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let response = Http2::connect(gateway.address()).get("/");
    assert_eq!(
        (response.status.as_u16(), response.text()),
        (426, "no".into())
    );
    assert!(
        ["upgrade", "connection"]
            .iter()
            .all(|name| !response.headers.contains_key(*name))
    );
}

#[test]
fn bodies_pass_both_ways_with_or_without_a_length() {
    let upstream = Upstream::answering(|request| {
        ok(&format!(
            "{:?} {}",
            request.get("content-length"),
            request.text()
        ))
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = Http2::connect(gateway.address());
    assert_eq!(
        client.post("/", &[("content-length", "4")], b"body").text(),
        "Some(\"4\") body"
    );
    assert_eq!(client.post("/", &[], b"body").text(), "None body");
    assert_eq!(client.ask("POST", "/", &[]).text(), "Some(\"0\") ");
    assert_eq!(client.get("/").text(), "None ");
}

#[test]
fn trailers_pass_both_ways_if_the_route_allows_it() {
    let upstream = Upstream::answering(|request| {
        assert_eq!(request.trailers, [("x-up".to_owned(), "1".to_owned())]);
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-down: 2\r\n\r\n"
            .into()
    });
    let gateway = Gateway::start(&one_route(&upstream, "request = { trailers = \"pass\" }"));
    let mut client = Http2::connect(gateway.address());
    let mut pending = client.open(
        "POST",
        "/",
        &[("te", "trailers"), ("trailer", "x-up")],
        false,
    );
    pending
        .body
        .send_data(Bytes::from_static(b"body"), false)
        .unwrap();
    let trailers = ["x-up", "x-unsaid"]
        .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")));
    pending
        .body
        .send_trailers(HeaderMap::from_iter(trailers))
        .unwrap();
    let response = client.finish(pending.response).unwrap();
    assert_eq!(response.text(), "ok");
    assert_eq!(response.trailers.unwrap()["x-down"], "2");
}

#[test]
fn responses_without_a_body_end_with_their_head_and_keep_their_length() {
    let upstream = Upstream::answering(|request| match request.target() {
        "/head" => "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n".into(),
        "/304" => "HTTP/1.1 304 Not Modified\r\ncontent-length: 8\r\n\r\n".into(),
        _ => "HTTP/1.1 204 No Content\r\n\r\n".into(),
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = Http2::connect(gateway.address());
    for (method, path, status, length) in [
        ("HEAD", "/head", 200, Some("7")),
        ("GET", "/304", 304, Some("8")),
        ("GET", "/204", 204, None),
    ] {
        let response = client.ask(method, path, &[]);
        assert!(response.is_head_alone, "{path}");
        let sent = response
            .headers
            .get("content-length")
            .map(|length| length.to_str().unwrap());
        assert_eq!((response.status.as_u16(), sent), (status, length), "{path}");
    }
}

#[test]
fn interim_responses_precede_the_final_one() {
    let upstream = Upstream::answering(|_| {
        format!(
            "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n{}",
            ok("final")
        )
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = Http2::connect(gateway.address());
    let mut pending = client.open("GET", "/", &[], true);
    let interim = client.wait(std::future::poll_fn(|cx| {
        pending.response.poll_informational(cx)
    }));
    let interim = interim.expect("an interim response").unwrap();
    assert_eq!(
        (interim.status().as_u16(), &interim.headers()["link"]),
        (103, &"</a>; rel=preload".parse().unwrap())
    );
    assert_eq!(client.finish(pending.response).unwrap().text(), "final");
}

#[test]
fn responses_of_the_gateway_itself_are_the_same_as_in_http_1() {
    let gateway = Gateway::start(&responding("self", "match = { path = '/self' }"));
    let mut client = Http2::connect(gateway.address());
    let response = client.get("/nowhere");
    assert_eq!(
        (response.status.as_u16(), response.get("content-type")),
        (404, "application/problem+json")
    );
    assert_eq!(gateway.line_of("/nowhere")["reason"], "no_route");
    // The connection goes on after a refusal.
    assert_eq!(client.get("/self").text(), "self");
}

#[test]
fn a_head_has_the_same_bounds_as_in_http_1() {
    let listener =
        "[[listeners]]\nbind = '127.0.0.1:0'\nmax_header_bytes = '2KiB'\nmax_headers = 5\n";
    let gateway = Gateway::start(&format!("{listener}{}", responding("self", "")));
    let mut client = Http2::connect(gateway.address());
    let long = "x".repeat(2100);
    assert_eq!(client.ask("GET", "/", &[("a", &long)]).status, 431);
    assert_eq!(gateway.access_line()["reason"], "head_too_large");
    assert_eq!(
        client.ask("GET", "/", &[("a", ""); 5]).status,
        431,
        "the host counts as a field, too"
    );
    assert_eq!(client.get(&format!("/{long}")).status, 414);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_request_body_above_the_bound_is_refused_before_or_while_it_arrives() {
    let upstream = Upstream::start(|mut connection| {
        let _ = connection.head();
        connection.rest(&mut Vec::new());
    });
    let gateway = Gateway::start(&one_route(&upstream, "request = { max_body = '4B' }"));
    let mut client = Http2::connect(gateway.address());
    assert_eq!(
        client
            .post("/", &[("content-length", "5")], b"12345")
            .status,
        413
    );
    assert_eq!(client.post("/", &[], b"12345").status, 413);
}

#[test]
fn each_stream_is_limited_by_itself() {
    let limit = "[limits.few]\nrate = '2/h'\n";
    let gateway = Gateway::start(&format!(
        "{limit}{}",
        responding("self", "limits = ['few']")
    ));
    let mut client = Http2::connect(gateway.address());
    let pending: Vec<_> = (0..4).map(|_| client.open("GET", "/", &[], true)).collect();
    let statuses: Vec<_> = pending
        .into_iter()
        .map(|pending| client.finish(pending.response).unwrap().status.as_u16())
        .collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[test]
fn a_listener_does_not_upgrade_to_http2() {
    let gateway = Gateway::start(&responding("self", ""));
    let response = gateway.ask(
        "GET",
        "/",
        &[
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABk",
        ],
    );
    assert_eq!((response.status(), response.get("upgrade")), (200, None));
}

#[test]
fn two_different_hosts_are_refused() {
    let gateway = Gateway::start(&responding("self", ""));
    let mut client = Http2::connect(gateway.address());
    assert_eq!(client.ask("GET", "/", &[("host", "b.example")]).status, 400);
    assert_eq!(client.ask("GET", "/", &[("host", "A.example")]).status, 200);
    let mut frames = Frames::connect(gateway.address());
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        ("host", "a"),
        ("host", "b"),
    ];
    frames.send(1, 5, 1, &crate::support::http2::block(&fields));
    assert_eq!(frames.reaction(), Reaction::Status(400));
}
