//! Bodies: whole and in their framing, in both directions.

use crate::support::{self, End, Gateway, Message, Upstream, ok, one_route};

/// A service that responds with the framing fields of the request, a line feed,
/// and the body.
fn echo() -> Upstream {
    Upstream::answering(|request| {
        let framing = |name| request.get(name).unwrap_or("-").to_owned();
        ok(&format!(
            "{} {}\n{}",
            framing("content-length"),
            framing("transfer-encoding"),
            request.text()
        ))
    })
}

fn ask(request: &str) -> String {
    let upstream = echo();
    let gateway = Gateway::start(&one_route(&upstream, ""));
    gateway.connect().exchange(request).text()
}

/// Sends `request` to a gateway whose upstream sends `response` and closes.
/// Returns the response that the client gets, and the end of the connection if
/// the response announces it.
fn response_to(request: &str, response: &'static str) -> (Message, Option<End>) {
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send(response);
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.send(request);
    if request.starts_with("HEAD") {
        return (client.response_to_head(), None);
    }
    let response = client.response();
    let ends = response.get("connection") == Some("close");
    (response, ends.then(|| client.ended()))
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_body_with_a_length_arrives_with_its_length() {
    assert_eq!(
        ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
        "5 -\nhello"
    );
}

#[test]
fn a_chunked_body_arrives_chunked() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=\"y\"\r\nhe\r\n003\r\nllo\r\n0\r\n\r\n";
    assert_eq!(ask(request), "- chunked\nhello");
}

#[test]
fn an_empty_chunked_body_arrives_chunked() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(ask(request), "- chunked\n");
}

#[test]
fn an_empty_body_is_announced_for_methods_that_expect_one() {
    assert_eq!(ask("POST / HTTP/1.1\r\nHost: a\r\n\r\n"), "0 -\n");
    assert_eq!(ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "- -\n");
    assert_eq!(
        ask("DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
        "0 -\n"
    );
}

#[test]
fn a_get_may_have_a_body() {
    assert_eq!(
        ask("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"),
        "2 -\nhi"
    );
}

#[test]
fn an_http_1_0_client_may_send_a_body() {
    assert_eq!(
        ask("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"),
        "2 -\nhi"
    );
}

#[test]
fn a_body_larger_than_every_buffer_arrives_whole() {
    let upstream = Upstream::answering(|request| ok(&request.text()));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let body: String = (0..200_000).map(|n| format!("{n:07},")).collect();
    let mut client = gateway.connect();
    client.send(format!(
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(client.response().text() == body);
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.as_bytes().chunks(7919) {
        client.send(format!("{:X}\r\n", piece.len()));
        client.send(piece);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    assert!(client.response().text() == body);
}

#[test]
fn a_response_with_a_length_arrives_with_its_length() {
    let (response, _) = response_to(GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(
        (response.text().as_str(), response.get("content-length")),
        ("hello", Some("5"))
    );
}

#[test]
fn a_chunked_response_arrives_chunked() {
    let (response, _) = response_to(
        GET,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    );
    assert_eq!(
        (response.text().as_str(), response.get("transfer-encoding")),
        ("hello", Some("chunked"))
    );
    assert_eq!(response.get("content-length"), None);
}

#[test]
fn a_response_without_a_length_arrives_chunked() {
    let (response, _) = response_to(GET, "HTTP/1.1 200 OK\r\n\r\nhello");
    assert_eq!(
        (response.text().as_str(), response.get("transfer-encoding")),
        ("hello", Some("chunked"))
    );
}

#[test]
fn a_chunked_response_to_an_http_1_0_client_ends_with_its_connection() {
    let (response, end) = response_to(
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n",
    );
    assert_eq!(
        (response.text().as_str(), response.get("transfer-encoding")),
        ("hello", None)
    );
    assert_eq!(
        (response.get("connection"), end),
        (Some("close"), Some(End::Closed))
    );
}

#[test]
fn a_service_may_pad_the_size_of_a_chunk() {
    let (response, _) = response_to(
        GET,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\nX-A : one\r\n\r\n5  \r\nhello\r\n00000001 \t\r\n!\r\n0 \r\n\r\n",
    );
    assert_eq!(
        (
            response.text().as_str(),
            response.get("x-a"),
            response.is_whole
        ),
        ("hello!", Some("one"), true)
    );
}

#[test]
fn trailers_of_a_request_pass_if_the_route_allows_it() {
    let upstream = Upstream::answering(|request| ok(&format!("{:?}", request.trailers)));
    let gateway = Gateway::start(&one_route(&upstream, "request = { trailers = \"pass\" }"));
    let response = gateway.connect().exchange(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    assert_eq!(response.text(), r#"[("x-sum", "7")]"#);
    assert_eq!(upstream.text().matches("trailer: x-sum\r\n").count(), 1);
}

#[test]
fn a_service_of_http_1_gets_no_trailers_by_default() {
    let upstream = Upstream::answering(|request| {
        ok(&format!(
            "{:?} {:?}",
            request.get("trailer"),
            request.trailers
        ))
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let response = gateway.connect().exchange(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    assert_eq!(response.text(), "None []");
}

#[test]
fn trailers_with_reserved_names_are_dropped() {
    const DECIDED: [&str; 16] = [
        "X-Role",
        "X-Secret",
        "X-Forwarded-For",
        "Forwarded",
        "Via",
        "X-Request-Id",
        "X-Real-IP",
        "X-Mine",
        "X_Sum",
        "Content-Type",
        "Content-Length",
        "Host",
        "Cache-Control",
        "If-Match",
        "Authorization",
        "Trailer",
    ];
    let upstream = Upstream::answering(|request| ok(&format!("{:?}", request.trailers)));
    let route = "request = { trailers = \"pass\", set_headers = { x-role = \"guest\" }, remove_headers = [\"x-secret\"] }";
    let gateway = Gateway::start(&one_route(&upstream, route));
    let announced = DECIDED.join(", ");
    let trailers: String = DECIDED
        .iter()
        .map(|name| format!("{name}: 1\r\n"))
        .collect();
    let response = gateway.connect().exchange(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: x-mine\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\
         Trailer: {announced}\r\n\r\n1\r\na\r\n0\r\n{trailers}X-Sum: 7\r\nX-Unsaid: 8\r\n\r\n"
    ));
    assert_eq!(response.text(), r#"[("x-sum", "7")]"#);
    assert_eq!(upstream.text().matches("trailer: x-sum\r\n").count(), 1);
}

#[test]
fn trailers_of_a_response_do_not_undo_the_changes_of_the_route() {
    let upstream = Upstream::answering(|_| {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nServer: old\r\nX-Frame-Options: ALLOW\r\n\
         Set-Cookie: a=1\r\nX-Sum: 7\r\n\r\n"
            .into()
    });
    let route = "response = { remove_headers = [\"server\"], set_headers = { x-frame-options = \"DENY\" } }";
    let response = Gateway::start(&one_route(&upstream, route)).get("/");
    assert_eq!(response.trailers, [("x-sum".into(), "7".into())]);
}

#[test]
fn trailers_of_a_response_pass() {
    let (response, _) = response_to(
        GET,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    assert_eq!(response.trailers, [("x-sum".into(), "7".into())]);
    assert_eq!(response.get("trailer"), Some("x-sum"));
}

#[test]
fn trailers_that_would_frame_route_or_authenticate_are_left_out() {
    let upstream = Upstream::answering(|request| ok(&format!("{:?}", request.trailers)));
    let gateway = Gateway::start(&one_route(&upstream, "request = { trailers = \"pass\" }"));
    let response = gateway.connect().exchange(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
         Trailer: content-length, transfer-encoding, host, authorization, x-sum\r\n\r\n1\r\na\r\n0\r\nContent-Length: 9\r\n\
         Transfer-Encoding: chunked\r\nHost: b\r\nAuthorization: me\r\nx-sum: 7\r\n\r\n",
    );
    assert_eq!(response.text(), r#"[("x-sum", "7")]"#);
}

#[test]
fn the_response_to_head_keeps_its_length_and_has_no_body() {
    let (response, _) = response_to(
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n",
    );
    assert_eq!(
        (response.status(), response.get("content-length")),
        (200, Some("12345"))
    );
}

#[test]
fn after_head_both_connections_are_reused() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
        connection.expect_request();
        connection.send(ok("next"));
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.response_to_head();
    assert_eq!(client.exchange(GET).text(), "next");
}

#[test]
fn responses_that_have_no_body_end_with_their_head() {
    for response in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n",
    ] {
        let upstream = Upstream::answering(move |_| response.into());
        let gateway = Gateway::start(&one_route(&upstream, ""));
        let mut client = gateway.connect();
        for _ in 0..2 {
            let got = client.exchange(GET);
            assert_eq!(got.get("content-length"), None, "{response:?}");
            assert_eq!(got.get("transfer-encoding"), None, "{response:?}");
            assert_eq!(got.head.line, response.split_once("\r\n").unwrap().0);
        }
        assert_eq!(upstream.connections(), 1, "{response:?}");
    }
}

#[test]
fn a_304_may_have_a_length() {
    let (response, _) = response_to(
        GET,
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
    );
    assert_eq!(response.get("content-length"), Some("7"));
}

#[test]
fn a_204_never_has_a_length() {
    let (response, _) = response_to(GET, "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n");
    assert_eq!(response.get("content-length"), None);
}

/// More bytes than sockets hold, so that the gateway has to read them: most
/// clients read a response only after sending the whole request.
const LONG: usize = 16 << 20;

#[test]
fn an_early_response_reaches_a_client_that_first_sends_its_whole_request() {
    let upstream = echo();
    let gateway = Gateway::start(&format!(
        "[limits.none]\nrate = '1/h'\n{}[[routes]]\nname = 'limited'\nupstream = 'app'\nlimits = ['none']\n\
         match = {{ path = '/limited' }}\nrequest = {{ max_body = 'off' }}\n",
        one_route(&upstream, "request = { max_body = '1KiB' }")
    ));
    assert_eq!(gateway.status("/limited"), 200);
    for (path, framing, status) in [
        ("/", format!("Content-Length: {LONG}"), 413),
        ("/", "Transfer-Encoding: chunked".to_owned(), 413),
        ("/limited", format!("Content-Length: {LONG}"), 429),
    ] {
        let mut client = gateway.connect();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"
        ));
        let piece = if framing.starts_with('T') {
            format!("1000\r\n{}\r\n", "x".repeat(4096))
        } else {
            "x".repeat(4096)
        };
        assert!(
            client.flood(piece.as_bytes(), support::TIMEOUT, LONG) >= LONG,
            "{path} {framing}"
        );
        assert_eq!(client.response().status(), status, "{path} {framing}");
        client.finish();
        assert_eq!(client.ended(), End::Closed, "{path} {framing}");
    }
}
