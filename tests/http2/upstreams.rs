//! HTTP/2 towards servers: streams share connections, and connections that end
//! are replaced.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use h2::{Reason, server::Builder};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::sync::Semaphore;

use crate::support::{
    Gate, Gateway, Upstream,
    http2::{Http2, Server, Stream},
};

fn to(server: &Server, upstream: &str, route: &str) -> String {
    format!(
        "[server]\nworkers = 1\n[upstreams.app]\nservers = ['{}']\nprotocol = 'http2'\n{upstream}\n\
         [[routes]]\nname = 'app'\nupstream = 'app'\n{route}\n",
        server.url()
    )
}

/// A server that responds with a description of the request that it received.
fn describing() -> Server {
    Server::start(Builder::new(), |mut stream| async move {
        let (body, trailers) = stream.body().await;
        let (request, headers) = (&stream.request, stream.request.headers());
        let field = |name| {
            headers
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let description = format!(
            "{} {} host={:?} length={:?} te={:?} connection={:?} via={:?} body={} trailers={:?}",
            request.method(),
            request.uri(),
            field("host"),
            field("content-length"),
            field("te"),
            field("connection"),
            field("via"),
            String::from_utf8_lossy(&body),
            trailers.map(|trailers| trailers["x-up"].to_str().unwrap().to_owned()),
        );
        stream.answer(200, description);
    })
}

#[test]
fn a_request_over_http_1_arrives_over_http_2() {
    let server = describing();
    let gateway = Gateway::start(&to(&server, "", ""));
    let response = gateway.ask(
        "GET",
        "/a%2Fb?q=%zz",
        &[
            "Host: b.example:80",
            "TE: trailers",
            "Connection: te, x-hop",
            "X-Hop: 1",
        ],
    );
    assert_eq!(
        response.text(),
        "GET http://b.example:80/a%2Fb?q=%zz host=None length=None te=Some(\"trailers\") connection=None \
         via=Some(\"1.1 tidegate\") body= trailers=None"
    );
    let mut client = gateway.connect();
    let posted = client.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert!(
        posted.text().contains("length=Some(\"4\")") && posted.text().contains("body=body"),
        "{}",
        posted.text()
    );
    let chunked = client.exchange(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-up\r\n\r\n4\r\nbody\r\n0\r\nx-up: 1\r\n\r\n",
    );
    assert!(
        chunked.text().contains("length=None") && chunked.text().contains("trailers=Some(\"1\")"),
        "{}",
        chunked.text()
    );
    assert_eq!(server.connections(), 1);
}

#[test]
fn trailers_that_are_not_announced_or_that_the_route_sets_do_not_reach_an_http_2_server() {
    let server = Server::start(Builder::new(), |mut stream| async move {
        let (_, trailers) = stream.body().await;
        let names = trailers.map(|trailers| {
            trailers
                .keys()
                .map(|name| name.as_str().to_owned())
                .collect::<Vec<_>>()
        });
        let description = format!("{:?} {names:?}", stream.request.headers().get("trailer"));
        stream.answer(200, description);
    });
    let gateway = Gateway::start(&to(
        &server,
        "",
        "request = { set_headers = { x-role = 'guest' } }",
    ));
    let ask = |announced: &str| {
        gateway
            .connect()
            .exchange(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{announced}\r\n4\r\nbody\r\n0\r\n\
                 x-role: admin\r\nx-forwarded-for: 1.2.3.4\r\nx-up: 1\r\n\r\n"
            ))
            .text()
    };
    assert_eq!(ask(""), "None None");
    assert_eq!(ask("Trailer: x-role, x-forwarded-for\r\n"), "None None");
    assert_eq!(
        ask("Trailer: X-Role,X-Up,x-forwarded-for\r\n"),
        "Some(\"x-up\") Some([\"x-up\"])"
    );
}

/// A client that received 101 over HTTP/1 would continue with bytes that are no
/// request.
#[test]
fn a_101_over_http_2_is_a_bad_response() {
    let server = Server::start(Builder::new(), |mut stream| async move {
        let head = Response::builder()
            .status(101)
            .header("x-up", "websocket")
            .body(())
            .unwrap();
        stream.respond.send_informational(head).unwrap();
        stream.answer(200, "x");
    });
    let gateway = Gateway::start(&to(&server, "", ""));
    let response = gateway.ask("GET", "/1", &["Connection: upgrade", "Upgrade: websocket"]);
    assert_eq!(response.status(), 502);
    assert_eq!(gateway.line_of("/1")["reason"], "bad_answer");
    assert_eq!(Http2::connect(gateway.address()).get("/2").status, 502);
    assert_eq!(gateway.line_of("/2")["reason"], "bad_answer");
}

#[test]
fn the_servers_name_is_sent_if_the_clients_host_is_not_preserved() {
    let server = describing();
    let gateway = Gateway::start(&to(&server, "", "request = { preserve_host = false }"));
    assert!(
        gateway
            .get("/x")
            .text()
            .starts_with(&format!("GET {}/x ", server.url()))
    );
}

#[test]
fn trailers_come_back_and_a_response_without_a_body_stays_one() {
    let server = Server::start(Builder::new(), |mut stream| async move {
        let is_alone = stream.request.uri().path() == "/alone";
        let mut sent = stream
            .respond
            .send_response(Response::new(()), is_alone)
            .unwrap();
        if !is_alone {
            sent.send_data(Bytes::from_static(b"data"), false).unwrap();
            let trailers = [(
                HeaderName::from_static("x-down"),
                HeaderValue::from_static("1"),
            )];
            sent.send_trailers(HeaderMap::from_iter(trailers)).unwrap();
        }
    });
    let gateway = Gateway::start(&to(&server, "", ""));
    let mut client = Http2::connect(gateway.address());
    let response = client.get("/");
    assert_eq!(
        (response.text(), &response.trailers.unwrap()["x-down"]),
        ("data".into(), &"1".parse().unwrap())
    );
    let call = [("content-type", "application/grpc")];
    let response = client.ask("POST", "/alone", &call);
    assert!(
        response.is_head_alone && !response.headers.contains_key("content-length"),
        "{response:?}"
    );
    // A client over HTTP/1 gets the same.
    let response = gateway.get("/");
    assert_eq!(
        (response.text(), &response.trailers[..]),
        ("data".into(), &[("x-down".to_owned(), "1".to_owned())][..])
    );
    assert_eq!(gateway.get("/alone").get("content-length"), Some("0"));
}

/// A server that allows `streams` concurrent streams on a connection. It
/// responds once `all` requests have come.
fn crowded(streams: u32, all: usize) -> Server {
    let mut settings = Builder::new();
    settings.max_concurrent_streams(streams);
    let here = Arc::new((AtomicUsize::new(0), Semaphore::new(0)));
    Server::start(settings, move |stream: Stream| {
        let here = Arc::clone(&here);
        async move {
            if here.0.fetch_add(1, Ordering::SeqCst) + 1 >= all {
                here.1.add_permits(all);
            }
            let _turn = here.1.acquire().await;
            stream.answer(200, "x");
        }
    })
}

#[test]
fn connections_are_shared_up_to_the_servers_bound_and_opened_beyond_it() {
    let server = crowded(10, 30);
    let gateway = Gateway::start(&to(&server, "", ""));
    let mut client = Http2::connect(gateway.address());
    let pending: Vec<_> = (0..30)
        .map(|_| client.open("GET", "/", &[], true))
        .collect();
    for pending in pending {
        assert_eq!(client.finish(pending.response).unwrap().text(), "x");
    }
    assert_eq!(server.connections(), 3);
}

#[test]
fn requests_beyond_the_streams_of_all_allowed_connections_wait() {
    let server = crowded(1, 1);
    let gateway = Gateway::start(&to(
        &server,
        "pool = { max_connections = 2, wait_timeout = '5s' }",
        "",
    ));
    let mut client = Http2::connect(gateway.address());
    let pending: Vec<_> = (0..20)
        .map(|_| client.open("GET", "/", &[], true))
        .collect();
    for pending in pending {
        assert_eq!(client.finish(pending.response).unwrap().text(), "x");
    }
    assert!(server.connections() <= 2, "{}", server.connections());
}

#[test]
fn a_client_that_leaves_resets_the_stream_and_not_the_connection() {
    let (begun, reset) = (Gate::new(), Gate::new());
    let server = Server::start(Builder::new(), {
        let (begun, reset) = (begun.clone(), reset.clone());
        move |mut stream: Stream| {
            let (begun, reset) = (begun.clone(), reset.clone());
            async move {
                if stream.request.uri().path() == "/slow" {
                    begun.open();
                    let reason = std::future::poll_fn(|cx| stream.respond.poll_reset(cx)).await;
                    assert_eq!(reason.unwrap(), Reason::CANCEL);
                    reset.open();
                } else {
                    stream.answer(200, stream_text(0));
                }
            }
        }
    });
    let gateway = Gateway::start(&to(&server, "", ""));
    let mut client = gateway.connect();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    begun.pass();
    drop(client);
    reset.pass();
    assert_eq!(gateway.get("/").text(), stream_text(0));
    assert_eq!(server.connections(), 1);
}

fn stream_text(connection: usize) -> String {
    format!("by {connection}")
}

#[test]
fn a_refused_stream_is_retried_whatever_its_method() {
    let seen = Arc::new(AtomicUsize::new(0));
    let server = Server::start(Builder::new(), {
        let seen = Arc::clone(&seen);
        move |mut stream: Stream| {
            let is_first = seen.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                if is_first {
                    stream.respond.send_reset(Reason::REFUSED_STREAM);
                } else {
                    let (body, _) = stream.body().await;
                    stream.answer(200, body);
                }
            }
        }
    });
    let gateway = Gateway::start(&to(&server, "", ""));
    let response = gateway
        .connect()
        .exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!((response.status(), response.text()), (200, "body".into()));
    gateway.await_metric("tidegate_retries_total", &[("outcome", "success")], 1.0);
}

#[test]
fn a_refusal_that_is_not_retried_is_a_502_and_takes_no_token() {
    let server = Server::start(Builder::new(), |mut stream| async move {
        stream.respond.send_reset(Reason::REFUSED_STREAM);
    });
    let text = format!(
        "[limits.two]\nrate = '2/h'\n{}",
        to(&server, "", "limits = ['two']\nretry = { attempts = 1 }")
    );
    let gateway = Gateway::start(&text);
    for _ in 0..3 {
        assert_eq!(gateway.status("/"), 502);
        assert_eq!(gateway.access_line()["reason"], "refused");
    }
}

#[test]
fn a_connection_that_got_goaway_is_replaced_without_an_error() {
    let server = Server::start(Builder::new(), |stream: Stream| async move {
        let text = stream_text(stream.connection);
        stream.leave.notify_one();
        // The stream has begun before GOAWAY, so the response follows after it.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        stream.answer(200, text);
    });
    let gateway = Gateway::start(&to(&server, "", ""));
    for _ in 0..20 {
        assert_eq!(gateway.status("/"), 200);
    }
    assert!(server.connections() > 1);
}

#[test]
fn a_reset_before_the_response_is_a_502_and_a_reset_after_its_head_cuts_it() {
    let server = Server::start(Builder::new(), |mut stream| async move {
        if stream.request.uri().path() == "/before" {
            return stream.respond.send_reset(Reason::INTERNAL_ERROR);
        }
        let mut sent = stream
            .respond
            .send_response(Response::new(()), false)
            .unwrap();
        sent.send_data(Bytes::from_static(b"begun"), false).unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        sent.send_reset(Reason::INTERNAL_ERROR);
    });
    let gateway = Gateway::start(&to(&server, "", ""));
    assert_eq!(gateway.status("/before"), 502);
    assert_eq!(gateway.line_of("/before")["reason"], "reset");
    let mut client = Http2::connect(gateway.address());
    let pending = client.open("GET", "/behind", &[], true);
    assert_eq!(
        client.finish(pending.response).unwrap_err().reason(),
        Some(Reason::INTERNAL_ERROR)
    );
    assert_eq!(gateway.line_of("/behind")["reason"], "upstream_cut");
}

#[test]
fn an_idle_connection_is_closed_after_idle_timeout() {
    let server = describing();
    let gateway = Gateway::start(&to(&server, "pool = { idle_timeout = '100ms' }", ""));
    assert_eq!(gateway.status("/"), 200);
    let end = tokio::time::Instant::now() + crate::support::TIMEOUT;
    while gateway.metric("tidegate_upstream_connections", &[("upstream", "app")]) > 0.0 {
        assert!(
            tokio::time::Instant::now() < end,
            "the connection stays open"
        );
    }
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_server_that_does_not_speak_http_2_is_a_bad_gateway() {
    let upstream = crate::support::Upstream::start(|mut connection| {
        let _ = connection.try_send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        connection.rest(&mut Vec::new());
    });
    let text = format!(
        "[upstreams.app]\nservers = ['{}']\nprotocol = 'http2'\n[[routes]]\nname = 'app'\nupstream = 'app'\n",
        upstream.url()
    );
    let gateway = Gateway::start(&text);
    assert_eq!(gateway.status("/"), 502);
}

#[test]
fn uploads_wait_for_the_servers_window() {
    let server = Server::start(Builder::new(), |mut stream| async move {
        let (body, _) = stream.body().await;
        stream.answer(200, body.len().to_string());
    });
    let gateway = Gateway::start(&to(&server, "", ""));
    static LARGE: [u8; 3 << 20] = [b'y'; 3 << 20];
    let mut client = Http2::connect(gateway.address());
    assert_eq!(
        client.post("/", &[], &LARGE).text(),
        LARGE.len().to_string()
    );
}

/// A detail such as "connection refused" would not lead an operator to the
/// wrong `protocol`.
#[test]
fn the_problem_names_a_server_that_does_not_speak_http_2() {
    let server = Upstream::start(|mut connection| {
        connection.expect_request();
        let _ = connection
            .try_send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    });
    let gateway = Gateway::start(&format!(
        "[upstreams.app]\nservers = ['{}']\nprotocol = 'http2'\n[[routes]]\nname = 'app'\nupstream = 'app'\n",
        server.url()
    ));
    let response = gateway.get("/");
    assert_eq!(response.status(), 502);
    let detail = response.problem()["detail"].clone();
    assert_eq!(
        detail,
        "upstream \"app\" could not be reached: it does not speak HTTP/2"
    );
    assert_eq!(gateway.access_line()["reason"], "connect_failed");
}
