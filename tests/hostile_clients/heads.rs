//! Malformed heads, which are refused before anything is forwarded.

use crate::support::{Gateway, Upstream, ok, one_route};

/// A request that an attacker hides behind an attack.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends each attack on a connection of its own and checks that the client gets
/// 400 as problem details and the end of the connection, that no byte arrives
/// upstream, and that other clients are served afterwards.
#[track_caller]
fn assert_all_refused(attacks: &[&[u8]]) {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    for attack in attacks {
        let text = String::from_utf8_lossy(attack).into_owned();
        let mut client = gateway.connect();
        client.send([attack, SMUGGLED.as_bytes()].concat());
        let response = client.response();
        assert_eq!(response.status(), 400, "{text:?}");
        response.problem();
        let mut rest = Vec::new();
        client.rest(&mut rest);
        assert!(
            rest.is_empty(),
            "{text:?} is followed by {:?}",
            String::from_utf8_lossy(&rest)
        );
    }
    for _ in attacks {
        let line = gateway.access_line();
        assert_eq!(
            (&line["status"], &line["reason"]),
            (&400.into(), &"malformed".into()),
            "{line}"
        );
    }
    assert_eq!(upstream.connections(), 0, "{}", upstream.text());
    assert_eq!(gateway.get("/").status(), 200);
}

fn posts(fields: &[&str]) -> Vec<Vec<u8>> {
    fields
        .iter()
        .map(|fields| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").into_bytes())
        .collect()
}

#[track_caller]
fn assert_all_fields_refused(fields: &[&str]) {
    let attacks = posts(fields);
    assert_all_refused(&attacks.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[test]
fn a_message_with_two_ways_to_find_its_end_is_refused() {
    assert_all_fields_refused(&[
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nX: y\r\ncontent-length: 0",
    ]);
}

#[test]
fn a_length_that_is_not_digits_is_refused() {
    assert_all_fields_refused(&[
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length: 1, 1",
        "Content-Length: 1,2",
        "Content-Length: 1 1",
        "Content-Length:",
        "Content-Length: ",
        "Content-Length: 0x5",
        "Content-Length: 5;",
        "Content-Length: 1e3",
        "Content-Length: 5.0",
        "Content-Length: \"5\"",
        "Content-Length: 18446744073709551615",
        "Content-Length: 18446744073709551621",
        "Content-Length: 99999999999999999999999999999999",
        "Content-Length: \u{664}",
    ]);
}

#[test]
fn an_encoding_other_than_chunked_is_refused() {
    assert_all_fields_refused(&[
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: ",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chun\u{a0}ked",
    ]);
}

#[test]
fn http_1_0_has_no_chunks() {
    assert_all_refused(&[
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ]);
}

#[test]
fn a_field_that_can_be_read_in_two_ways_is_refused() {
    assert_all_fields_refused(&[
        "X : y",
        "Content-Length : 5",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "X: a\r\n folded",
        "X: a\r\n\tfolded",
        "X: a\rb",
        "X: a\rTransfer-Encoding: chunked",
        "X: a\0b",
        "X\0: a",
        "X: a\u{1}b",
        "X: a\u{7f}b",
        "no colon",
        ": no name",
        "X(y): z",
        "X\u{e9}: z",
        "\"X\": z",
        " X: leading",
        "X: a\r\r",
    ]);
}

#[test]
fn a_first_field_that_continues_the_request_line_is_refused() {
    assert_all_refused(&[
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n",
    ]);
}

#[test]
fn a_request_names_exactly_one_valid_host() {
    assert_all_refused(&[
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\"b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\xe9\r\n\r\n",
        b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\n\r\n",
    ]);
}

#[test]
fn a_request_line_is_method_target_and_version_with_single_spaces() {
    assert_all_refused(&[
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        b"GET / x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\r\nHost: a\r\n\r\n",
        b"GET / \r\nHost: a\r\n\r\n",
        b"GET\r\nHost: a\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G\xc3T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET\0 / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"hello there\r\n\r\n",
        b"{\"a\": 1}\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ]);
}

#[test]
fn a_version_other_than_1_0_and_1_1_is_refused() {
    assert_all_refused(&[
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
        b"GET / HTTP/11\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1\r\nHost: a\r\n\r\n",
        b"GET / http/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1x\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\t",
    ]);
}

#[test]
fn a_tls_handshake_on_a_plain_listener_is_named_in_the_refusal() {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    assert_all_refused(&[hello]);
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let response = gateway.connect().exchange(hello);
    assert!(
        response.problem()["detail"]
            .as_str()
            .unwrap()
            .contains("TLS")
    );
}

#[test]
fn a_target_is_a_path_or_an_http_url() {
    assert_all_refused(&[
        b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ?x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET @b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET .evil/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ]);
}

#[test]
fn connect_is_refused() {
    assert_all_refused(&[
        b"CONNECT internal:443 HTTP/1.1\r\nHost: internal:443\r\n\r\n",
        b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ]);
}

#[test]
fn an_asterisk_target_is_for_options_only() {
    assert_all_refused(&[
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n",
    ]);
}

#[test]
fn responses_before_a_refusal_are_still_delivered() {
    let upstream = Upstream::answering(|request| ok(request.target()));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.send(
        "GET /good HTTP/1.1\r\nHost: a\r\n\r\nBAD\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.response().text(), "/good");
    assert_eq!(client.response().status(), 400);
    client.ended();
    assert!(!upstream.text().contains("smuggled"));
}
