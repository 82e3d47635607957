//! gRPC: calls pass whole, and the gateway's own responses to calls are a
//! grpc-status.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use h2::server::Builder;
use http::Response;
use support::{
    Gateway, Upstream,
    gateway::{Closed, responding},
    http2::{self, Http2, Server, Stream},
    one_route,
};

const CALL: (&str, &str) = ("content-type", "application/grpc");

/// Checks that a response is a grpc-status in a head without a body, and
/// returns the code.
#[track_caller]
fn code(response: &http2::Response) -> u8 {
    assert_eq!(
        (response.status.as_u16(), response.get("content-type")),
        (200, "application/grpc")
    );
    assert!(
        response.is_head_alone && !response.headers.contains_key("content-length"),
        "{response:?}"
    );
    assert!(!response.get("grpc-message").is_empty());
    response.get("grpc-status").parse().unwrap()
}

fn to(url: &str, route: &str) -> String {
    format!(
        "[upstreams.app]\nservers = ['{url}']\nprotocol = 'http2'\n\
         [[routes]]\nname = 'app'\nupstream = 'app'\n{route}\n"
    )
}

/// A server that responds to calls with the result of `response`, which gets
/// the number of earlier calls and the value of grpc-timeout.
fn answering(
    response: impl Fn(usize, Option<&str>) -> Response<()> + 'static + Send + Sync,
) -> Server {
    let (count, response) = (AtomicUsize::new(0), Arc::new(response));
    Server::start(Builder::new(), move |mut stream: Stream| {
        let (index, response) = (count.fetch_add(1, Ordering::SeqCst), Arc::clone(&response));
        async move {
            let left = stream
                .request
                .headers()
                .get("grpc-timeout")
                .map(|left| left.to_str().unwrap().to_owned());
            stream
                .respond
                .send_response(response(index, left.as_deref()), true)
                .unwrap();
        }
    })
}

fn failing(status: &str) -> Response<()> {
    Response::builder()
        .header(CALL.0, CALL.1)
        .header("grpc-status", status)
        .body(())
        .unwrap()
}

#[test]
fn refusals_are_grpc_statuses_in_a_head_alone() {
    let closed = Closed::new();
    let server = answering(|_, _| failing("0"));
    let text = format!(
        "[limits.one]\nrate = '1/h'\n{}[upstreams.up]\nservers = ['{}']\nprotocol = 'http2'\n\
         [[routes]]\nname = 'limited'\nupstream = 'up'\nmatch = {{ path = '/limited' }}\nlimits = ['one']\n",
        to(&closed.url(), "match = { path = '/down' }"),
        server.url()
    );
    let gateway = Gateway::start(&text);
    let mut client = Http2::connect(gateway.address());
    assert_eq!(code(&client.ask("POST", "/nowhere", &[CALL])), 12);
    let line = gateway.line_of("/nowhere");
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&200.into(), &"no_route".into())
    );
    assert_eq!(code(&client.ask("POST", "/down", &[CALL])), 14);
    assert_eq!(client.ask("POST", "/limited", &[CALL]).status, 200);
    let limited = client.ask("POST", "/limited", &[CALL]);
    assert_eq!(code(&limited), 8);
    assert!(
        limited.headers.contains_key("retry-after") && limited.headers.contains_key("ratelimit")
    );
    let pushback: u32 = limited.get("grpc-retry-pushback-ms").parse().unwrap();
    assert!((3_000_000..=3_600_000).contains(&pushback), "{pushback}");
    // A request that is no call gets the plain status.
    assert_eq!(
        client
            .ask(
                "POST",
                "/limited",
                &[("content-type", "application/grpc-web")]
            )
            .status,
        429
    );
}

#[test]
fn grpc_timeout_bounds_the_total_and_the_remaining_time_is_passed_on() {
    let server = answering(|index, left| {
        let left = left
            .unwrap()
            .strip_suffix('u')
            .expect("microseconds")
            .parse::<u64>()
            .unwrap();
        // The first attempt begins at once, the second one after the first and
        // a pause.
        assert!(
            (4_000_000..=5_000_000).contains(&left) && (index == 0 || left < 5_000_000),
            "{index}: {left}"
        );
        failing(if index == 0 { "14" } else { "0" })
    });
    let gateway = Gateway::start(&to(
        &server.url(),
        "retry = { on = ['503'], methods = ['POST'] }",
    ));
    let mut client = Http2::connect(gateway.address());
    let response = client.ask("POST", "/", &[CALL, ("grpc-timeout", "5S")]);
    assert_eq!(response.get("grpc-status"), "0");
    let silent = Server::start(Builder::new(), |stream| async move {
        let _stream = stream;
        std::future::pending().await
    });
    let gateway = Gateway::start(&to(&silent.url(), ""));
    let mut client = Http2::connect(gateway.address());
    let response = client.ask("POST", "/", &[CALL, ("grpc-timeout", "200m")]);
    assert_eq!(code(&response), 4);
    assert_eq!(gateway.access_line()["reason"], "total_timeout");
}

#[test]
fn a_call_is_retried_by_the_equivalent_http_status() {
    let server = answering(|index, _| failing(if index == 0 { "14" } else { "0" }));
    let gateway = Gateway::start(&to(
        &server.url(),
        "retry = { on = ['503'], methods = ['POST'] }",
    ));
    let response = Http2::connect(gateway.address()).ask("POST", "/", &[CALL]);
    assert_eq!(response.get("grpc-status"), "0");
    assert_eq!(gateway.access_line()["attempts"], 2);
}

#[test]
fn a_call_that_fails_otherwise_is_not_retried() {
    let server = answering(|_, _| failing("9"));
    let gateway = Gateway::start(&to(
        &server.url(),
        "retry = { on = ['503'], methods = ['POST'] }",
    ));
    let response = Http2::connect(gateway.address()).ask("POST", "/", &[CALL]);
    assert_eq!(
        (response.get("grpc-status"), response.is_head_alone),
        ("9", true)
    );
    assert_eq!(gateway.access_line()["attempts"], 1);
}

#[test]
fn the_status_of_a_call_is_in_its_access_line_and_in_a_metric() {
    let server = Server::start(Builder::new(), |mut stream| async move {
        let head = Response::builder().header(CALL.0, CALL.1);
        match stream.request.uri().path() {
            "/alone" => drop(
                stream
                    .respond
                    .send_response(head.header("grpc-status", "5").body(()).unwrap(), true),
            ),
            path => {
                let trailer = if path == "/odd" { "99" } else { "9" };
                let mut body = stream
                    .respond
                    .send_response(head.body(()).unwrap(), false)
                    .unwrap();
                body.send_data(bytes::Bytes::from_static(b"message"), false)
                    .unwrap();
                let status = (
                    http::HeaderName::from_static("grpc-status"),
                    trailer.parse().unwrap(),
                );
                body.send_trailers(http::HeaderMap::from_iter([status]))
                    .unwrap();
            }
        }
    });
    let gateway = Gateway::start(&to(&server.url(), ""));
    let mut client = Http2::connect(gateway.address());
    for (path, status, label) in [
        ("/alone", 5, "5"),
        ("/behind", 9, "9"),
        ("/odd", 99, "other"),
    ] {
        client.ask("POST", path, &[CALL]);
        assert_eq!(gateway.line_of(path)["grpc_status"], status, "{path}");
        let labels = [("route", "app"), ("grpc_status", label)];
        assert_eq!(
            gateway.metric("tidegate_grpc_calls_total", &labels),
            1.0,
            "{path}"
        );
    }
    client.ask("GET", "/other", &[]);
    assert!(
        gateway.line_of("/other")["grpc_status"].is_null(),
        "the request is no call"
    );
    assert_eq!(gateway.metric("tidegate_grpc_calls_total", &[]), 3.0);
}

/// A server that responds with the length of the request's body.
fn counting() -> Server {
    Server::start(Builder::new(), |mut stream| async move {
        let (body, _) = stream.body().await;
        stream.answer(200, body.len().to_string());
    })
}

/// Calls are streams without a length, so the default bound of all routes does
/// not apply to them.
#[test]
fn only_a_bound_of_its_own_route_applies_to_a_call() {
    let server = counting();
    let defaults = "[defaults.request]\nmax_body = '4B'\n";
    let gateway = Gateway::start(&format!("{defaults}{}", to(&server.url(), "")));
    let mut client = Http2::connect(gateway.address());
    assert_eq!(client.post("/", &[CALL], b"12345").text(), "5");
    assert_eq!(client.post("/", &[], b"12345").status, 413);
    let gateway = Gateway::start(&to(&server.url(), "request = { max_body = '4B' }"));
    let mut client = Http2::connect(gateway.address());
    assert_eq!(code(&client.post("/", &[CALL], b"12345")), 8);
    assert_eq!(gateway.access_line()["reason"], "body_too_large");
    assert_eq!(client.post("/", &[CALL], b"1234").text(), "4");
}

/// Otherwise a client that sends `application/grpc` would escape bounds and see
/// 200 in place of each refusal.
#[test]
fn a_request_is_no_call_if_the_upstream_does_not_speak_http_2() {
    let upstream = Upstream::answering(|_| support::ok("good"));
    let limited = "match = { path = '/limited' }\nlimits = ['one']";
    let text = format!(
        "[defaults.request]\nmax_body = '4B'\n[limits.one]\nrate = '1/h'\n{}{}",
        responding("limited", limited),
        one_route(&upstream, "")
    );
    let gateway = Gateway::start(&text);
    let mut client = Http2::connect(gateway.address());
    assert_eq!(client.post("/", &[CALL], b"12345").status, 413);
    assert_eq!(client.ask("GET", "/", &[CALL]).text(), "good");
    assert_eq!(client.ask("POST", "/limited", &[CALL]).status, 200);
    assert_eq!(client.ask("POST", "/limited", &[CALL]).status, 429);
}

#[test]
fn a_request_is_no_call_if_the_route_disables_calls() {
    let server = counting();
    let text = format!(
        "[defaults.request]\nmax_body = '4B'\n{}",
        to(&server.url(), "grpc = false")
    );
    let gateway = Gateway::start(&text);
    let mut client = Http2::connect(gateway.address());
    assert_eq!(client.post("/", &[CALL], b"12345").status, 413);
    assert_eq!(
        client
            .ask("POST", "/", &[CALL, ("grpc-timeout", "1n")])
            .text(),
        "0",
        "grpc-timeout is ignored"
    );
}

/// The drawn upstream of a split may be the one that does not speak HTTP/2.
#[test]
fn a_request_is_no_call_if_one_upstream_of_a_split_does_not_speak_http_2() {
    // The head may have been sent before the body turned out to be too long.
    let (server, upstream) = (
        counting(),
        Upstream::start(|mut connection| {
            connection.rest(&mut Vec::new());
        }),
    );
    let text = format!(
        "[defaults.request]\nmax_body = '4B'\n[upstreams.a]\nservers = ['{}']\nprotocol = 'http2'\n\
         [upstreams.b]\nservers = ['{}']\n[[routes]]\nname = 'app'\n\
         upstream = [{{ name = 'a' }}, {{ name = 'b' }}]\n",
        server.url(),
        upstream.url()
    );
    let gateway = Gateway::start(&text);
    let mut client = Http2::connect(gateway.address());
    assert_eq!(client.post("/", &[CALL], b"12345").status, 413);
}

/// Clients choose the content type of their body; it must not allow them to be
/// silent for an hour.
#[test]
fn a_body_that_only_claims_to_be_a_call_or_a_stream_has_the_timeouts_of_others() {
    let upstream = Upstream::start(|mut connection| {
        connection.rest(&mut Vec::new());
    });
    let gateway = Gateway::start(&one_route(&upstream, "timeouts = { idle = '100ms' }"));
    for kind in ["application/grpc", "text/event-stream"] {
        let mut client = Http2::connect(gateway.address());
        let pending = client.open("POST", "/", &[("content-type", kind)], false);
        assert_eq!(
            client.finish(pending.response).unwrap().status,
            408,
            "{kind}"
        );
        let mut client = gateway.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: 9\r\n\r\n"
        ));
        assert_eq!(client.response().status(), 408, "{kind}");
    }
}

struct Python(Child);

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn python(script: &str) -> Command {
    let python = std::env::var("TIDEGATE_TEST_PYTHON")
        .expect("TIDEGATE_TEST_PYTHON is not set: run tests/all");
    let mut command = Command::new(python);
    command.arg(format!(
        "{}/tests/grpc/{script}",
        env!("CARGO_MANIFEST_DIR")
    ));
    command
}

/// A token that is signed with this secret.
fn token(secret: &str, claims: &str) -> String {
    let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!(
        "{}.{}",
        base64(br#"{"alg":"HS256"}"#),
        base64(claims.as_bytes())
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("Bearer {signed}.{}", base64(signature.as_ref()))
}

#[test]
fn a_call_without_a_good_token_ends_with_a_status_of_grpc() {
    let server = answering(|_, _| failing("0"));
    let (folder, closed) = (tempfile::tempdir().unwrap(), Closed::new());
    let (file, secret) = (folder.path().join("secret"), "s".repeat(32));
    std::fs::write(&file, &secret).unwrap();
    let gateway = Gateway::start(&format!(
        "[identities.users.jwt]\nsecret_file = {file:?}\nalgorithms = ['HS256']\n\
         [identities.away.jwt]\nkeys = '{}/keys'\nalgorithms = ['RS256']\n{}\
         [[routes]]\nname = 'away'\nupstream = 'app'\nidentify = ['away']\nmatch = {{ path = '/away' }}\n",
        closed.url(),
        to(
            &server.url(),
            "identify = ['users']\nrequire = { scope = ['write'] }"
        ),
    ));
    let claims =
        |scope: &str| format!("{{\"sub\":\"a\",\"exp\":9999999999,\"scope\":\"{scope}\"}}");
    let (good, weak) = (
        token(&secret, &claims("write")),
        token(&secret, &claims("read")),
    );
    let other = token(&"t".repeat(32), &claims("write"));
    let unsigned = format!(
        "Bearer {}.{}.c2ln",
        "eyJhbGciOiJSUzI1NiJ9",
        good.split('.').nth(1).unwrap()
    );
    let mut client = Http2::connect(gateway.address());
    for (path, token, expected) in [
        ("/call", "", 16),
        ("/call", &*other, 16),
        ("/call", &weak, 7),
        ("/away", &unsigned, 14),
    ] {
        let fields = [CALL, ("authorization", token)];
        let refused = client.ask(
            "POST",
            path,
            &fields[..if token.is_empty() { 1 } else { 2 }],
        );
        assert_eq!(code(&refused), expected, "{path} {token}");
    }
    let served = client.ask("POST", "/call", &[CALL, ("authorization", &good)]);
    assert_eq!(served.get("grpc-status"), "0");
}

/// Waits until the one server of the gateway is in this state, for this cause.
#[track_caller]
fn await_health(gateway: &Gateway, state: &str, cause: &str) {
    let end = tokio::time::Instant::now() + support::TIMEOUT;
    loop {
        let seen = gateway.call_admin("GET", "/upstreams", &[]).text();
        let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
        let server = &seen[0]["servers"][0];
        if server["state"] == state && server["cause"].as_str().unwrap_or_default() == cause {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "{server}");
    }
}

/// A route to one server that is checked by gRPC.
fn checked(url: &str, protocol: &str, service: &str) -> String {
    format!(
        "[upstreams.app]\nservers = ['{url}']\nprotocol = '{protocol}'\n\
         [upstreams.app.health_check]\nkind = 'grpc'\ninterval = '20ms'\ntimeout = '5s'\n{service}\n\
         [[routes]]\nname = 'app'\nupstream = 'app'\n"
    )
}

#[test]
fn the_official_health_service_is_understood() {
    let started = python("health.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut server = Python(started.unwrap());
    let mut port = String::new();
    BufReader::new(server.0.stdout.as_mut().unwrap())
        .read_line(&mut port)
        .unwrap();
    let url = format!("http://127.0.0.1:{}", port.trim());
    let mut statuses = server.0.stdin.take().unwrap();
    let whole = Gateway::start(&checked(&url, "http2", ""));
    let service = Gateway::start(&checked(&url, "http1", "service = 'shop.Orders'"));
    let unknown = "1 check failed, the last: grpc-status 5 (NOT_FOUND: there is no such service)";
    await_health(&service, "down", unknown);
    await_health(&whole, "up", "");
    writeln!(statuses, "shop.Orders SERVING").unwrap();
    await_health(&service, "up", "2 checks passed");
    writeln!(statuses, "shop.Orders NOT_SERVING\n- NOT_SERVING").unwrap();
    let says = "3 checks failed, the last: it says NOT_SERVING";
    await_health(&service, "down", says);
    await_health(&whole, "down", says);
    writeln!(statuses, "- SERVING").unwrap();
    await_health(&whole, "up", "2 checks passed");
}

#[test]
fn a_health_check_tells_why_a_call_failed() {
    let status = |code: &'static str| move |_, _: Option<&str>| failing(code);
    let unimplemented = answering(status("12"));
    let lying = answering(status("0"));
    let plain = answering(|_, _| Response::new(()));
    let absent = answering(|_, _| Response::builder().status(404).body(()).unwrap());
    for (server, why) in [
        (
            &unimplemented,
            "grpc-status 12 (UNIMPLEMENTED: there is no grpc.health.v1.Health)",
        ),
        (&lying, "an answer that is not gRPC"),
        (&plain, "an answer that is not gRPC"),
        (&absent, "status 404"),
    ] {
        let gateway = Gateway::start(&checked(&server.url(), "http2", ""));
        let cause = format!("1 check failed, the last: {why}");
        await_health(&gateway, "down", &cause);
    }
    let http1 = Upstream::start(|mut connection| {
        connection.send("HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n");
        connection.rest(&mut Vec::new());
    });
    let gateway = Gateway::start(&checked(&http1.url(), "http2", ""));
    let cause = "1 check failed, the last: an answer that is not gRPC";
    await_health(&gateway, "down", cause);
}

/// A server that sends without end must not fill the gateway's memory.
#[test]
fn the_answer_to_a_health_check_is_read_up_to_a_bound() {
    let server = Server::start(Builder::new(), |mut stream: Stream| async move {
        let head = Response::builder().header(CALL.0, CALL.1).body(()).unwrap();
        let mut body = stream.respond.send_response(head, false).unwrap();
        let much = vec![0; 60_000];
        body.send_data(much.into(), false).unwrap();
        std::future::pending::<()>().await;
    });
    let gateway = Gateway::start(&checked(&server.url(), "http2", ""));
    let cause = "1 check failed, the last: an answer that is not gRPC";
    await_health(&gateway, "down", cause);
}

#[test]
fn a_health_check_is_a_call_with_the_fields_that_the_policy_names() {
    let (sender, received) = std::sync::mpsc::channel();
    let server = Server::start(Builder::new(), move |mut stream: Stream| {
        let sender = sender.clone();
        async move {
            let (body, _) = stream.body().await;
            let head = stream.request;
            let _ = sender.send((head.uri().to_string(), head.headers().clone(), body));
            stream.respond.send_response(failing("0"), true).unwrap();
        }
    });
    let keys = "service = 'a.B'\nhost = 'orders.internal'\nheaders = { x-check = 'yes' }";
    let _gateway = Gateway::start(&checked(&server.url(), "http2", keys));
    let (uri, fields, body) = received.recv_timeout(support::TIMEOUT).unwrap();
    assert_eq!(uri, "http://orders.internal/grpc.health.v1.Health/Check");
    assert_eq!(body, b"\0\0\0\0\x05\x0a\x03a.B");
    for (name, value) in [
        CALL,
        ("te", "trailers"),
        ("x-check", "yes"),
        ("user-agent", "tidegate health check"),
    ] {
        assert_eq!(fields.get(name).unwrap(), value, "{name}");
    }
}

#[test]
fn grpcio_makes_all_four_kinds_of_call() {
    let started = python("server.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut server = Python(started.unwrap());
    let mut port = String::new();
    BufReader::new(server.0.stdout.as_mut().unwrap())
        .read_line(&mut port)
        .unwrap();
    let closed = Closed::new();
    let text = format!(
        "[limits.one]\nrate = '1/h'\n[upstreams.down]\nservers = ['{}']\nprotocol = 'http2'\n{}\
         [[routes]]\nname = 'limited'\nupstream = 'app'\nlimits = ['one']\nmatch = {{ path_prefix = '/limited' }}\n\
         [[routes]]\nname = 'down'\nupstream = 'down'\nmatch = {{ path_prefix = '/down' }}\n",
        closed.url(),
        to(
            &format!("http://127.0.0.1:{}", port.trim()),
            "match = { path_prefix = '/t.T' }"
        ),
    );
    let gateway = Gateway::start(&text);
    let said = python("client.py")
        .arg(gateway.address().to_string())
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    assert_eq!(gateway.metric("tidegate_http2_floods_total", &[]), 0.0);
}
