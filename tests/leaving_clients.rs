//! Leaving clients: a client that leaves frees everything that no server works
//! on, and the next queued request is served.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use rustix::process::Signal;
use support::{Client, Gate, Gateway, TIMEOUT, Upstream, http2, ok, one_route};

/// One request in flight and one in the queue, which may wait longer than any
/// test.
const ONE_AT_A_TIME: &str = "concurrency = { max = 1, queue = 1, queue_timeout = \"10s\" }";

/// Bytes that the gateway reads ahead of a client whose request is being
/// served.
const READ_AHEAD: usize = 64 * 1024;

/// Starts a gateway with one worker, which takes requests in the order in which
/// they are sent.
fn start(upstream: &Upstream) -> Gateway {
    Gateway::start(&format!(
        "[server]\nworkers = 1\n{}",
        one_route(upstream, ONE_AT_A_TIME)
    ))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Checks the access line of a client that left before its response.
#[track_caller]
fn is_gone(gateway: &Gateway, path: &str) {
    is_gone_after(gateway, path, 499);
}

/// Checks the access line of a client that left when the response had this
/// status.
#[track_caller]
fn is_gone_after(gateway: &Gateway, path: &str, status: u16) {
    let line = gateway.line_of(path);
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&status.into(), &"client_gone".into()),
        "{line}"
    );
}

/// An upstream that serves `/next`. For any other request it opens the first
/// gate when the request arrives and the second one when the connection has
/// ended; `first` decides what it does in between.
fn upstream(
    first: impl Fn(&mut support::Connection) + Send + Sync + 'static,
) -> (Upstream, Gate, Gate) {
    let (arrived, ended) = (Gate::new(), Gate::new());
    let (tell_arrived, tell_ended) = (arrived.clone(), ended.clone());
    let upstream = Upstream::start(move |mut connection| {
        let head = connection.head().unwrap();
        if head.target() == "/next" {
            return connection.send(ok("next"));
        }
        first(&mut connection);
        tell_arrived.open();
        let mut rest = Vec::new();
        connection.rest(&mut rest);
        tell_ended.open();
    });
    (upstream, arrived, ended)
}

/// Checks that the permit of `first`, whose client leaves now, stays with the
/// server until that ends, and is then that of the next request. `end` ends the
/// server, which passes the `gates` on its way.
#[track_caller]
fn assert_next_waits_for_the_server(
    gateway: &Gateway,
    first: Client,
    end: &Gate,
    gates: [&Gate; 2],
) {
    let mut next = gateway.sent("/next", &[]);
    gateway.await_metric("tidegate_queued", &[("route", "app")], 1.0);
    drop(first);
    is_gone(gateway, "/first");
    abandoned(gateway, 1.0);
    end.open();
    gates.into_iter().for_each(Gate::pass);
    assert_eq!(next.response().text(), "next");
}

#[test]
fn a_client_that_leaves_the_queue_frees_its_slot_for_the_next() {
    let gate = Gate::new();
    let release = gate.clone();
    let upstream = Upstream::answering(move |request| {
        if request.target() == "/first" {
            release.pass();
        }
        ok(request.target())
    });
    let gateway = start(&upstream);
    let mut first = gateway.sent("/first", &[]);
    let second = gateway.sent("/second", &[]);
    assert_eq!(
        gateway.sent("/third", &[]).response().status(),
        503,
        "the queue is full"
    );
    drop(second);
    is_gone(&gateway, "/second");
    let mut fourth = gateway.sent("/fourth", &[]);
    assert_eq!(
        gateway.sent("/fifth", &[]).response().status(),
        503,
        "the queue is full again"
    );
    gate.open();
    assert_eq!(first.response().text(), "/first");
    assert_eq!(fourth.response().text(), "/fourth");
    assert!(
        !upstream.text().contains("/second"),
        "the request of a client that left was served"
    );
}

/// Checks that a client that leaves as `leave` does, while its request is being
/// served, frees its permit for the next one.
#[track_caller]
fn assert_frees_its_permit(leave: impl FnOnce(Client)) -> Upstream {
    let (upstream, arrived, ended) = upstream(|_| {});
    let gateway = start(&upstream);
    let first = gateway.sent("/first", &[]);
    arrived.pass();
    let mut next = gateway.sent("/next", &[]);
    leave(first);
    ended.pass();
    assert_eq!(next.response().text(), "next");
    is_gone(&gateway, "/first");
    upstream
}

#[test]
fn a_client_that_leaves_before_its_response_frees_its_permit() {
    assert_frees_its_permit(drop);
}

#[test]
fn a_client_that_resets_its_connection_frees_its_permit() {
    assert_frees_its_permit(|first| first.into_wire().reset());
}

#[test]
fn a_client_that_leaves_after_pipelining_frees_its_permit() {
    let upstream = assert_frees_its_permit(|mut first| first.send(get("/never")));
    assert!(!upstream.text().contains("/never"));
}

/// The end of the connection has to be noticed even though the buffer is full
/// and nothing more is read.
#[test]
fn a_client_that_leaves_after_pipelining_more_than_is_read_ahead_frees_its_permit() {
    assert_frees_its_permit(|mut first| {
        first.send(get("/never").repeat(READ_AHEAD * 3 / 2 / get("/never").len()))
    });
}

#[test]
fn a_client_that_leaves_the_queue_with_more_sent_than_is_read_ahead_frees_its_slot() {
    let (_upstream, arrived, _ended) = upstream(|_| {});
    let gateway = start(&_upstream);
    let first = gateway.sent("/first", &[]);
    arrived.pass();
    let mut second = gateway.connect();
    second.send(format!(
        "POST /second HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        2 * READ_AHEAD
    ));
    second.send(vec![b'x'; READ_AHEAD * 3 / 2]);
    assert_eq!(
        gateway.sent("/third", &[]).response().status(),
        503,
        "the queue is full"
    );
    drop(second);
    is_gone(&gateway, "/second");
    let mut next = gateway.sent("/next", &[]);
    drop(first);
    assert_eq!(next.response().text(), "next");
}

#[test]
fn a_client_that_leaves_in_its_response_body_frees_its_permit() {
    for start_of_answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhello",
    ] {
        let (_upstream, arrived, ended) =
            upstream(move |connection| connection.send(start_of_answer));
        let gateway = start(&_upstream);
        let mut first = gateway.sent("/first", &[]);
        arrived.pass();
        first.head().unwrap();
        let mut next = gateway.sent("/next", &[]);
        drop(first);
        ended.pass();
        assert_eq!(next.response().text(), "next");
        is_gone_after(&gateway, "/first", 200);
    }
}

#[test]
fn a_client_that_leaves_without_reading_frees_its_permit() {
    let (_upstream, arrived, ended) = upstream(|connection| {
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        connection.flood(&[b'x'; 65536], TIMEOUT / 20, 1_000_000_000);
    });
    let gateway = start(&_upstream);
    let mut first = Client::connect_narrow(gateway.address());
    first.send(get("/first"));
    arrived.pass();
    let mut next = gateway.sent("/next", &[]);
    drop(first);
    ended.pass();
    assert_eq!(next.response().text(), "next");
    // The response may or may not have begun.
    assert_eq!(gateway.line_of("/first")["reason"], "client_gone");
}

#[track_caller]
fn abandoned(gateway: &Gateway, least: f64) {
    gateway.await_metric("tidegate_abandoned", &[("route", "app")], least);
}

/// If each client took its permit with it, a service could have 96 requests to
/// work on under a cap of 2.
#[test]
fn a_service_that_finishes_abandoned_requests_has_no_more_than_the_cap() {
    for (whose, queued) in [
        ("routes", "tidegate_queued"),
        ("upstreams.app", "tidegate_upstream_queued"),
    ] {
        let (upstream, reached, leave) = Upstream::held();
        let cap = format!("[{whose}.concurrency]\nmax = 2\nqueue = 1\nqueue_timeout = '10s'");
        let gateway = Gateway::start(&one_route(&upstream, &cap));
        for path in ["/1", "/2"] {
            let client = gateway.sent(path, &[]);
            assert_eq!(reached.recv_timeout(TIMEOUT).unwrap(), path);
            drop(client);
            is_gone(&gateway, path);
        }
        let mut third = gateway.sent("/3", &[]);
        gateway.await_metric(queued, &[], 1.0);
        for _ in 0..20 {
            assert_eq!(gateway.get("/").status(), 503, "{cap}");
        }
        assert!(reached.try_recv().is_err(), "{cap}");
        leave.open();
        assert_eq!(reached.recv_timeout(TIMEOUT).unwrap(), "/3");
        leave.open();
        leave.open();
        assert_eq!(third.response().status(), 200);
        leave.open();
    }
}

#[test]
fn a_server_notices_at_once_that_its_client_left_and_frees_the_permit_by_closing() {
    let end = Gate::new();
    let gate = end.clone();
    let begun = Gate::new();
    let tell_begun = begun.clone();
    let (upstream, arrived, ended) = upstream(move |connection| {
        tell_begun.open();
        connection.rest(&mut Vec::new());
        gate.pass();
    });
    let gateway = start(&upstream);
    let first = gateway.sent("/first", &[]);
    begun.pass();
    assert_next_waits_for_the_server(&gateway, first, &end, [&arrived, &ended]);
}

#[test]
fn a_server_that_never_closes_holds_a_permit_for_no_longer_than_an_attempt() {
    let (upstream, reached, leave) = Upstream::held();
    let more = format!("{ONE_AT_A_TIME}\ntimeouts = {{ attempt = '200ms' }}");
    let gateway = Gateway::start(&one_route(&upstream, &more));
    let first = gateway.sent("/first", &[]);
    reached.recv_timeout(TIMEOUT).unwrap();
    let _second = gateway.sent("/second", &[]);
    drop(first);
    assert_eq!(reached.recv_timeout(TIMEOUT).unwrap(), "/second");
    [(); 9].iter().for_each(|()| leave.open());
}

#[test]
fn a_client_that_leaves_in_its_upload_leaves_its_permit_to_the_server() {
    for is_pooled in [false, true] {
        let end = Gate::new();
        let gate = end.clone();
        let begun = Gate::new();
        let tell_begun = begun.clone();
        let (upstream, arrived, ended) = upstream(move |connection| {
            if is_pooled {
                connection.send(ok("earlier"));
                connection.head().unwrap();
            }
            assert!(connection.bytes(5).is_ok());
            tell_begun.open();
            connection.rest(&mut Vec::new());
            gate.pass();
        });
        let gateway = start(&upstream);
        if is_pooled {
            assert_eq!(gateway.get("/earlier").text(), "earlier");
        }
        let mut first = gateway.connect();
        first.send("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
        begun.pass();
        assert_next_waits_for_the_server(&gateway, first, &end, [&arrived, &ended]);
    }
}

#[test]
fn a_drain_does_not_wait_for_abandoned_requests() {
    let (upstream, reached, leave) = Upstream::held();
    let mut gateway = Gateway::start(&one_route(&upstream, ONE_AT_A_TIME));
    let first = gateway.sent("/first", &[]);
    reached.recv_timeout(TIMEOUT).unwrap();
    drop(first);
    abandoned(&gateway, 1.0);
    gateway.signal(Signal::TERM);
    assert!(gateway.wait().0.success());
    leave.open();
}

#[test]
fn over_http2_a_server_gets_a_reset_and_the_permit_is_free_at_once() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let server = http2::Server::start(h2::server::Builder::new(), move |stream: http2::Stream| {
        sender
            .lock()
            .unwrap()
            .send(stream.request.uri().path().to_owned())
            .unwrap();
        async move {
            if stream.request.uri().path() == "/next" {
                return stream.answer(200, "next");
            }
            // The server works on without noticing the reset.
            std::future::pending().await
        }
    });
    let text = format!(
        "[upstreams.app]\nservers = ['{}']\nprotocol = 'http2'\n",
        server.url()
    );
    let gateway = Gateway::start(&format!(
        "{text}[[routes]]\nname = 'app'\nupstream = 'app'\n{ONE_AT_A_TIME}\n"
    ));
    let first = gateway.sent("/first", &[]);
    assert_eq!(receiver.recv_timeout(TIMEOUT).unwrap(), "/first");
    let mut next = gateway.sent("/next", &[]);
    drop(first);
    assert_eq!(next.response().text(), "next");
}

#[test]
fn a_client_that_leaves_in_its_upload_breaks_it_off() {
    for body in [
        "Content-Length: 10\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let (_upstream, arrived, ended) = upstream(|connection| {
            assert!(connection.bytes(5).is_ok());
        });
        let gateway = start(&_upstream);
        let mut first = gateway.connect();
        first.send(format!("POST /first HTTP/1.1\r\nHost: a\r\n{body}"));
        arrived.pass();
        let mut next = gateway.sent("/next", &[]);
        drop(first);
        ended.pass();
        assert_eq!(next.response().text(), "next");
        is_gone(&gateway, "/first");
    }
}

#[test]
fn an_upload_that_breaks_off_is_never_a_whole_request() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let upstream = Upstream::start(move |mut connection| {
        let head = connection.head().unwrap();
        sender.send(None).unwrap();
        sender
            .send(Some(connection.message(head, false, false).is_whole))
            .unwrap();
    });
    let gateway = start(&upstream);
    for body in [
        "Content-Length: 10\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let mut client = gateway.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
        assert_eq!(receiver.recv().unwrap(), None);
        drop(client);
        assert_eq!(receiver.recv().unwrap(), Some(false), "{body:?}");
    }
}

#[test]
fn a_client_that_leaves_before_its_request_is_complete_is_not_logged() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = start(&upstream);
    let mut first = gateway.connect();
    first.send("GET /half HTTP/1.1\r\nHo");
    drop(first);
    assert_eq!(gateway.get("/whole").status(), 200);
    assert_eq!(gateway.access_line()["path"], "/whole");
}

#[test]
fn a_client_that_shuts_its_side_in_its_upload_gets_no_499() {
    let (_upstream, arrived, ended) = upstream(|connection| {
        assert!(connection.bytes(5).is_ok());
    });
    let gateway = start(&_upstream);
    let mut client = gateway.connect();
    client.send("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    arrived.pass();
    client.finish();
    ended.pass();
    client.ended();
    is_gone(&gateway, "/first");
}

#[test]
fn a_client_that_shuts_its_side_while_it_waits_has_left() {
    let (upstream, arrived, ended) = upstream(|_| {});
    let gateway = start(&upstream);
    let mut client = gateway.sent("/first", &[]);
    arrived.pass();
    client.finish();
    ended.pass();
    client.ended();
    is_gone(&gateway, "/first");
}

#[test]
fn a_client_that_shuts_its_side_gets_a_response_that_is_ready() {
    let gateway =
        Gateway::start("[[routes]]\nname = 'own'\nrespond = { status = 200, body = 'own' }\n");
    let mut client = gateway.connect();
    client.send(get("/"));
    client.finish();
    assert_eq!(client.response().status(), 200);
    client.ended();
}
