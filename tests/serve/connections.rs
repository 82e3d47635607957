//! Connections: their lifetime on both sides, and the order of responses.

use crate::support::{Client, End, Gateway, Upstream, ok, one_route};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn echo() -> Upstream {
    Upstream::answering(|request| ok(request.target()))
}

#[test]
fn a_request_is_forwarded_and_its_response_comes_back() {
    let upstream = echo();
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let response = gateway.get("/hello");
    assert_eq!(
        (response.status(), response.text().as_str()),
        (200, "/hello")
    );
    let line = gateway.access_line();
    assert_eq!(
        (&line["route"], &line["status"]),
        (&"app".into(), &200.into())
    );
}

#[test]
fn requests_of_one_client_share_one_connection_on_each_side() {
    let upstream = echo();
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    for number in 0..5 {
        let response = client.exchange(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(
            (response.text(), response.get("connection")),
            (format!("/{number}"), None)
        );
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn clients_of_one_worker_share_its_upstream_connections() {
    let upstream = echo();
    let gateway = Gateway::start(&format!(
        "[server]\nworkers = 1\n{}",
        one_route(&upstream, "")
    ));
    for _ in 0..5 {
        assert_eq!(gateway.get("/").status(), 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_client_that_sends_close_is_closed_after_its_response() {
    let upstream = echo();
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    let response = client.exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(response.get("connection"), Some("close"));
    assert_eq!(client.ended(), End::Closed);
}

#[test]
fn an_upstream_that_closes_does_not_close_the_client() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
        assert!(
            connection.request().is_none(),
            "a connection was reused after Connection: close"
        );
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    for _ in 0..3 {
        let response = client.exchange(GET);
        assert_eq!(
            (response.text().as_str(), response.get("connection")),
            ("ok", None)
        );
    }
    assert_eq!(upstream.connections(), 3);
}

#[test]
fn an_http_1_0_client_is_closed_after_its_response() {
    let upstream = echo();
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    let response = client.exchange("GET /old HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(response.text(), "/old");
    assert_eq!(client.ended(), End::Closed);
}

#[test]
fn an_http_1_0_client_with_keep_alive_keeps_its_connection() {
    let upstream = echo();
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    for _ in 0..2 {
        let response =
            client.exchange("GET /old HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(
            (response.text().as_str(), response.get("connection")),
            ("/old", Some("keep-alive"))
        );
    }
}

#[test]
fn an_http_1_0_client_needs_no_host_and_its_upstream_gets_one() {
    let upstream = echo();
    let gateway = Gateway::start(&one_route(&upstream, ""));
    assert_eq!(
        gateway
            .connect()
            .exchange("GET / HTTP/1.0\r\n\r\n")
            .status(),
        200
    );
    let host = format!("\r\nhost: {}\r\n", upstream.address());
    assert!(
        upstream.text().starts_with("GET / HTTP/1.1\r\n") && upstream.text().contains(&host),
        "{}",
        upstream.text()
    );
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let upstream = echo();
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    let all: String = (0..20)
        .map(|n| {
            format!(
                "POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /{n}b HTTP/1.1\r\nHost: a\r\n\r\n"
            )
        })
        .collect();
    client.send(all);
    for number in 0..20 {
        assert_eq!(client.response().text(), format!("/{number}"));
        assert_eq!(client.response().text(), format!("/{number}b"));
    }
}

#[test]
fn a_refusal_among_pipelined_requests_keeps_the_order() {
    let upstream = echo();
    let gateway = Gateway::start(&one_route(&upstream, "match = { path_prefix = \"/a\" }"));
    let mut client = gateway.connect();
    client.send(
        "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\nGET /a/2 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let responses: Vec<_> = (0..3).map(|_| client.response()).collect();
    assert_eq!(
        responses
            .iter()
            .map(|response| response.status())
            .collect::<Vec<_>>(),
        [200, 404, 200]
    );
    assert_eq!(responses[2].text(), "/a/2");
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let upstream = Upstream::answering(|request| ok(&request.text()));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    for byte in
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    {
        client.send([*byte]);
    }
    assert_eq!(client.response().text(), "abc");
}

#[test]
fn a_response_may_come_byte_by_byte() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        for byte in
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n"
        {
            connection.send([*byte]);
        }
        assert!(connection.request().is_none());
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let response = gateway.get("/");
    assert_eq!(response.text(), "abc");
    assert_eq!(response.trailers, [("x-t".into(), "1".into())]);
}

#[test]
fn an_empty_line_before_a_request_is_ignored() {
    let upstream = echo();
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    assert_eq!(client.exchange(format!("\r\n{GET}")).status(), 200);
    assert_eq!(client.exchange(format!("\r\n{GET}")).status(), 200);
}

#[test]
fn an_idle_connection_is_closed_without_a_response() {
    let upstream = echo();
    let listener = "[[listeners]]\nbind = \"127.0.0.1:0\"\ntimeouts = { keep_alive = \"100ms\" }\n";
    let gateway = Gateway::start(&format!("{listener}{}", one_route(&upstream, "")));
    let mut client = gateway.connect();
    assert_eq!(client.exchange(GET).status(), 200);
    assert_eq!(client.ended(), End::Closed);
}

#[test]
fn a_connection_without_a_request_is_closed_without_a_response() {
    let upstream = echo();
    let listener = "[[listeners]]\nbind = \"127.0.0.1:0\"\ntimeouts = { headers = \"100ms\" }\n";
    let gateway = Gateway::start(&format!("{listener}{}", one_route(&upstream, "")));
    assert_eq!(gateway.connect().ended(), End::Closed);
}

#[test]
fn every_listener_serves() {
    let upstream = echo();
    let listeners = "[[listeners]]\nbind = \"127.0.0.1:0\"\n[[listeners]]\nbind = \"[::1]:0\"\n";
    let gateway = Gateway::start(&format!("{listeners}{}", one_route(&upstream, "")));
    assert_eq!(gateway.addresses().len(), 2);
    for address in gateway.addresses() {
        assert_eq!(Client::connect(*address).exchange(GET).status(), 200);
    }
}
