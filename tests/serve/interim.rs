//! Interim responses: the upstream's 1xx reach the client, and the gateway adds
//! none.

use crate::support::{Gate, Gateway, Upstream, ok, one_route};

const EXPECTING: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

#[test]
fn continue_reaches_the_client_when_the_upstream_sends_it() {
    let gate = Gate::new();
    let asked = gate.clone();
    let upstream = Upstream::start(move |mut connection| {
        let head = connection.head().unwrap();
        assert_eq!(head.get("expect"), Some("100-continue"));
        asked.pass();
        connection.send("HTTP/1.1 100 Continue\r\n\r\n");
        let request = connection.message(head, false, false);
        connection.send(ok(&request.text()));
        connection.expect_request();
        connection.send(ok("next"));
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.send(EXPECTING);
    gate.open();
    assert_eq!(client.response().status(), 100);
    client.send("hello");
    assert_eq!(client.response().text(), "hello");
    assert_eq!(
        client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(),
        "next"
    );
}

#[test]
fn a_final_response_instead_of_continue_reaches_the_client_without_its_body() {
    let upstream = Upstream::start(move |mut connection| {
        connection.head().unwrap();
        connection.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
        connection.ended();
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    let response = client.exchange(EXPECTING);
    assert_eq!((response.status(), response.text().as_str()), (403, "no"));
    // The gateway cannot know whether the client still sends the body, so the
    // connection cannot be reused.
    client.ended();
}

#[test]
fn a_refusal_of_the_gateway_comes_instead_of_continue() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&one_route(&upstream, "match = { path = \"/other\" }"));
    let mut client = gateway.connect();
    assert_eq!(client.exchange(EXPECTING).status(), 404);
    client.ended();
}

#[test]
fn a_client_that_does_not_wait_for_continue_is_served() {
    let upstream = Upstream::answering(|request| ok(&request.text()));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    for _ in 0..2 {
        assert_eq!(client.exchange(format!("{EXPECTING}hello")).text(), "hello");
    }
}

#[test]
fn early_hints_are_passed_on_before_the_response() {
    let gate = Gate::new();
    let seen = gate.clone();
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nconnection: x-hop\r\n\r\n");
        seen.pass();
        connection
            .send("HTTP/1.1 103 Early Hints\r\nlink: </b.css>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    let first = client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        (first.status(), first.get("link"), first.get("connection")),
        (103, Some("</a.css>"), None)
    );
    gate.open();
    assert_eq!(client.response().get("link"), Some("</b.css>"));
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn an_http_1_0_client_never_sees_an_interim_response() {
    let upstream =
        Upstream::answering(|_| format!("HTTP/1.1 103 Early Hints\r\n\r\n{}", ok("final")));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let response = gateway
        .connect()
        .exchange("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(
        (response.status(), response.text().as_str()),
        (200, "final")
    );
}

#[test]
fn an_interim_response_never_names_a_length() {
    let upstream = Upstream::answering(|_| {
        format!(
            "HTTP/1.1 103 Early Hints\r\ncontent-length: 5\r\n\r\n{}",
            ok("final")
        )
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    let hint = client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((hint.status(), hint.get("content-length")), (103, None));
    assert_eq!(client.response().text(), "final");
}
