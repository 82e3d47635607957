//! Traces: W3C Trace Context in and out, and spans as a collector reads them.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use rustix::process::Signal;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::time::Instant;

use crate::pki::Pki;
use crate::support::{
    Gate, Gateway, Message, TIMEOUT, Upstream,
    gateway::{Start, responding, upstream_table},
    ok, one_route,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// A receiver of OTLP over HTTP.
struct Collector {
    server: Upstream,
    batches: Receiver<(Message, ExportTraceServiceRequest)>,
}

impl Collector {
    /// Takes every batch.
    fn start() -> Self {
        Self::answering(|| ok(""))
    }

    fn answering(answer: impl Fn() -> String + Send + Sync + 'static) -> Self {
        let (sender, batches) = mpsc::channel();
        let server = Upstream::answering(move |request| {
            let batch = ExportTraceServiceRequest::decode(&*request.body).unwrap();
            // The test may have seen enough.
            let _ = sender.send((request.clone(), batch));
            answer()
        });
        Self { server, batches }
    }

    /// `[traces]` for this collector. `more` holds further keys.
    fn table(&self, more: &str) -> String {
        format!("[traces]\notlp = \"{}\"\n{more}\n\n", self.server.url())
    }

    /// The next batch: the request, the resource and the spans.
    #[track_caller]
    fn batch(&self) -> (Message, BTreeMap<String, String>, Vec<Span>) {
        let (request, batch) = self.batches.recv_timeout(TIMEOUT).unwrap();
        let [spans] = &batch.resource_spans[..] else {
            panic!("{batch:#?}");
        };
        let [scope] = &spans.scope_spans[..] else {
            panic!("{batch:#?}");
        };
        assert_eq!(scope.scope.as_ref().unwrap().name, "tidegate");
        let resource = texts(&spans.resource.as_ref().unwrap().attributes);
        (request, resource, scope.spans.clone())
    }

    /// The spans of the next batch.
    #[track_caller]
    fn spans(&self) -> Vec<Span> {
        self.batch().2
    }
}

/// Attributes as text.
fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |one: &KeyValue| match one.value.clone().unwrap().value.unwrap() {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::DoubleValue(number) => format!("{number:.0}"),
        other => panic!("{other:?}"),
    };
    attributes
        .iter()
        .map(|one| (one.key.clone(), text(one)))
        .collect()
}

#[track_caller]
fn has(span: &Span, expected: &[(&str, &str)]) {
    let attributes = texts(&span.attributes);
    for (key, value) in expected {
        assert_eq!(
            attributes.get(*key).map(String::as_str),
            Some(*value),
            "{key} in {attributes:#?}"
        );
    }
}

#[track_caller]
fn has_not(span: &Span, keys: &[&str]) {
    let attributes = texts(&span.attributes);
    for key in keys {
        assert!(!attributes.contains_key(*key), "{key} in {attributes:#?}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The `traceparent` that names this span as a parent.
fn naming(span: &Span) -> String {
    format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
}

/// An upstream that answers with the fields of traces that it was sent.
fn telling() -> Upstream {
    Upstream::answering(|request| {
        let field = |name| request.head.all(name).join("|");
        ok(&format!("{} {}", field("traceparent"), field("tracestate")))
    })
}

#[test]
fn a_request_has_a_span_and_one_for_each_attempt() {
    let collector = Collector::start();
    let upstream = Upstream::start(|mut connection| {
        while let Some(request) = connection.request() {
            let parent = request.get("traceparent").unwrap();
            let is_first = connection.index == 0 && !request.text().contains("again");
            connection.send(match is_first {
                true => {
                    "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into()
                }
                false => ok(parent),
            });
            if is_first {
                return;
            }
        }
    });
    let gateway = Gateway::start(&format!(
        "{}{}",
        collector.table("service_name = 'edge'\nheaders = { authorization = 'Bearer hunter2' }"),
        one_route(
            &upstream,
            "match = { path = '/orders/{id}' }\nretry = { on = ['503'], backoff = '1ms' }\n"
        )
    ));
    let field = format!("traceparent: 00-{TRACE}-{SPAN}-00");
    let lines = [
        &*field,
        "tracestate: vendor=1,other=2",
        "User-Agent: curl/8",
    ];
    let response = gateway.ask("GET", "/orders/7?page=2&token=hunter2", &lines);
    assert_eq!(response.status(), 200);
    let (sent, resource, spans) = collector.batch();
    assert_eq!(sent.target(), "/v1/traces");
    assert_eq!(sent.get("content-type"), Some("application/x-protobuf"));
    assert_eq!(sent.get("authorization"), Some("Bearer hunter2"));
    assert_eq!(resource["service.name"], "edge");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(resource["service.instance.id"].len(), 32);
    let [request, first, second] = &spans[..] else {
        panic!("{spans:#?}");
    };
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!(span.trace_state, "vendor=1,other=2");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(request.start_time_unix_nano <= span.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= request.end_time_unix_nano);
        assert!(!format!("{span:?}").contains("hunter2"), "{span:#?}");
    }
    assert_eq!(hex(&request.parent_span_id), SPAN);
    assert_eq!(request.kind, SpanKind::Server as i32);
    assert_eq!(request.name, "GET /orders/{id}");
    assert_eq!(request.status, None);
    has(
        request,
        &[
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("http.route", "/orders/{id}"),
            ("url.path", "/orders/7"),
            ("url.query", "page=2&token=***"),
            ("url.scheme", "http"),
            ("server.address", "a"),
            ("client.address", "127.0.0.1"),
            ("network.peer.address", "127.0.0.1"),
            ("network.protocol.version", "1.1"),
            ("user_agent.original", "curl/8"),
            ("tidegate.route", "app"),
            ("tidegate.upstream", "app"),
            ("tidegate.attempts", "2"),
        ],
    );
    has_not(
        request,
        &["error.type", "tidegate.reason", "tidegate.limit"],
    );
    for attempt in [first, second] {
        assert_eq!(attempt.parent_span_id, request.span_id);
        assert_eq!(attempt.kind, SpanKind::Client as i32);
        assert_eq!(attempt.name, "GET");
        let url = format!("{}/orders/7?page=2&token=***", upstream.url());
        let port = upstream.address().port().to_string();
        has(
            attempt,
            &[
                ("url.full", &url),
                ("server.address", "127.0.0.1"),
                ("server.port", &port),
            ],
        );
    }
    has(
        first,
        &[("http.response.status_code", "503"), ("error.type", "503")],
    );
    assert_eq!(
        first.status.as_ref().unwrap().code,
        StatusCode::Error as i32
    );
    has(
        second,
        &[
            ("http.response.status_code", "200"),
            ("http.request.resend_count", "1"),
        ],
    );
    assert_eq!(response.text(), naming(second), "the attempt is the parent");
    let first_parent = format!("traceparent: {}", naming(first));
    assert!(upstream.text().contains(&first_parent), "{first_parent}");
    assert_eq!(gateway.access_line()["trace_id"], TRACE);
    gateway.await_metric("tidegate_spans_exported_total", &[], 3.0);
    let shown = gateway.call_admin("GET", "/config", &[]).text();
    assert!(shown.contains("/v1/traces") || shown.contains(&collector.server.url()));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_refused_request_has_a_span_with_its_limit_and_no_attempts() {
    let collector = Collector::start();
    let gateway = Gateway::start(&format!(
        "{}[limits.daily]\nrate = '1/d'\nburst = 1\n{}",
        collector.table(""),
        responding("self", "limits = ['daily']")
    ));
    assert_eq!((gateway.status("/"), gateway.status("/")), (200, 429));
    let mut spans = collector.spans();
    if spans.len() < 2 {
        spans.extend(collector.spans());
    }
    // Two workers may serve them, and either may be the first to end.
    spans.sort_by_key(|span| texts(&span.attributes)["http.response.status_code"].clone());
    let [admitted, refused] = &spans[..] else {
        panic!("{spans:#?}");
    };
    assert_ne!(admitted.trace_id, refused.trace_id);
    assert_eq!(
        (admitted.name.as_str(), refused.parent_span_id.len()),
        ("GET /*", 0)
    );
    has(
        refused,
        &[
            ("http.response.status_code", "429"),
            ("tidegate.reason", "rate_limited"),
            ("tidegate.limit", "daily"),
        ],
    );
    // Conventions: a status of 4xx is no error of a server.
    has_not(refused, &["error.type", "tidegate.attempts"]);
    assert_eq!(refused.status, None);
}

#[test]
fn an_attempt_without_a_response_says_why() {
    let collector = Collector::start();
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        connection.break_off();
    });
    let gateway = Gateway::start(&format!(
        "{}{}",
        collector.table(""),
        one_route(&upstream, "retry = { attempts = 1 }\n")
    ));
    assert_eq!(gateway.status("/"), 502);
    let spans = collector.spans();
    let [request, attempt] = &spans[..] else {
        panic!("{spans:#?}");
    };
    let reason = texts(&request.attributes)["tidegate.reason"].clone();
    for span in [request, attempt] {
        has(span, &[("error.type", &reason)]);
        let status = span.status.as_ref().unwrap();
        assert_eq!(
            (status.code, &status.message),
            (StatusCode::Error as i32, &reason)
        );
    }
    has_not(attempt, &["http.response.status_code"]);
}

#[test]
fn servers_are_told_of_the_trace_by_the_caller_or_of_a_new_one() {
    let (collector, upstream) = (Collector::start(), telling());
    let table = |more: &str| format!("{}{}", collector.table(more), one_route(&upstream, ""));
    let gateway = Gateway::start(&table("sample = '0%'"));
    let own = |flags: &str| format!("00-{TRACE}-{SPAN}-{flags}");
    let ask = |lines: &[&str]| gateway.ask("GET", "/", lines).text();
    // Not recorded: the span of the caller stays.
    for flags in ["00", "02"] {
        let field = format!("traceparent: {}", own(flags));
        assert_eq!(
            ask(&[&field, "tracestate: a=1"]),
            format!("{} a=1", own(flags))
        );
        assert_eq!(gateway.access_line()["trace_id"], TRACE);
    }
    // A stranger's flag is cleared, with another span and the same trace.
    let sampled = format!("traceparent: {}", own("03"));
    let told = ask(&[&sampled, "tracestate: a=1"]);
    assert!(told.starts_with(&format!("00-{TRACE}-")), "{told}");
    assert!(told.ends_with("-02 a=1") && !told.contains(SPAN), "{told}");
    // A trace begins here, without the state of another one.
    let malformed = [
        vec!["tracestate: a=1"],
        vec!["traceparent: 00-zz-b7ad6b7169203331-01", "tracestate: a=1"],
        vec![&*sampled, &*sampled, "tracestate: a=1"],
    ];
    for lines in malformed {
        let told = ask(&lines);
        assert!(!told.contains(TRACE) && told.ends_with("-00 "), "{told}");
        assert_eq!(told.len(), 56, "{told}");
    }
    // Callers decide if they are trusted.
    gateway.reload_with(&table("sample = '0%'\ntrust_parent = true"));
    let told = ask(&[&sampled]);
    let spans = collector.spans();
    assert_eq!(told.trim(), naming(&spans[1]).replace("-01", "-03"));
    assert_eq!(hex(&spans[0].parent_span_id), SPAN);
    gateway.reload_with(&format!(
        "[client_ip]\ntrusted_proxies = ['127.0.0.1']\n{}",
        table("sample = '0%'")
    ));
    ask(&[&sampled]);
    assert_eq!(collector.spans().len(), 2);
    gateway.reload_with(&table("trust_parent = false"));
    let told = ask(&[&format!("traceparent: {}", own("00"))]);
    assert!(
        told.starts_with(&format!("00-{TRACE}-")) && told.contains("-01"),
        "{told}"
    );
    assert_eq!(collector.spans().len(), 2);
}

#[test]
fn without_traces_the_fields_pass_untouched_and_the_line_has_the_trace() {
    let upstream = telling();
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let sent = format!("00-{TRACE}-{SPAN}-ff");
    let field = format!("traceparent: {sent}");
    let told = gateway
        .ask("GET", "/", &[&field, "tracestate: A==,"])
        .text();
    assert_eq!(told, format!("{sent} A==,"));
    assert_eq!(gateway.access_line()["trace_id"], TRACE);
    assert_eq!(gateway.ask("GET", "/", &["traceparent: x"]).text(), "x ");
    assert!(gateway.access_line().get("trace_id").is_none());
    assert_eq!(gateway.get("/").text(), " ");
    assert!(!gateway.metrics().contains("tidegate_spans"));
}

#[test]
fn a_route_has_the_last_word_on_the_field() {
    let (collector, upstream) = (Collector::start(), telling());
    let gateway = Gateway::start(&format!(
        "{}{}",
        collector.table(""),
        one_route(
            &upstream,
            "request.remove_headers = ['traceparent', 'tracestate']\n"
        )
    ));
    let field = format!("traceparent: 00-{TRACE}-{SPAN}-01");
    assert_eq!(gateway.ask("GET", "/", &[&field]).text(), " ");
}

#[test]
fn a_collector_that_hangs_delays_nothing_and_its_spans_are_counted_and_told() {
    let open = Gate::new();
    let gate = open.clone();
    let collector = Collector::answering(move || {
        gate.pass();
        ok("")
    });
    let gateway = Gateway::start(&format!(
        "{}{}",
        collector.table("timeout = '100ms'"),
        responding("self", "")
    ));
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(collector.spans().len(), 1);
    // The collector has the spans and does not answer.
    assert_eq!(gateway.status("/"), 200);
    gateway.await_metric(
        "tidegate_spans_dropped_total",
        &[("reason", "collector")],
        1.0,
    );
    let line = gateway.logged("spans cannot be exported: no complete response within 100ms");
    assert_eq!(line["lost"], 1);
    for _ in 0..10 {
        open.open();
    }
    assert_eq!(gateway.status("/"), 200);
    gateway.logged("spans are exported again");
}

#[test]
fn a_collector_that_refuses_is_told_with_its_status() {
    let collector =
        Collector::answering(|| "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n".to_owned());
    let gateway = Gateway::start(&format!(
        "{}{}",
        collector.table(""),
        responding("self", "")
    ));
    assert_eq!(gateway.status("/"), 200);
    gateway.logged("spans cannot be exported: the collector answered with status 401");
    gateway.await_metric(
        "tidegate_spans_dropped_total",
        &[("reason", "collector")],
        1.0,
    );
}

#[test]
fn a_collector_that_is_busy_gets_the_spans_a_second_time() {
    let busy = std::sync::atomic::AtomicBool::new(true);
    let collector =
        Collector::answering(
            move || match busy.swap(false, std::sync::atomic::Ordering::SeqCst) {
                true => "HTTP/1.1 429 Busy\r\ncontent-length: 0\r\n\r\n".to_owned(),
                false => ok(""),
            },
        );
    let gateway = Gateway::start(&format!(
        "{}{}",
        collector.table(""),
        responding("self", "")
    ));
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(collector.spans(), collector.spans());
    gateway.await_metric("tidegate_spans_exported_total", &[], 1.0);
    assert_eq!(gateway.metric("tidegate_spans_dropped_total", &[]), 0.0);
}

#[test]
fn a_collector_that_asks_for_time_gets_it_within_the_timeout() {
    let asked = AtomicUsize::new(0);
    let busy = |after: &str| {
        format!("HTTP/1.1 503 Busy\r\nretry-after: {after}\r\ncontent-length: 0\r\n\r\n")
    };
    let collector = Collector::answering(move || match asked.fetch_add(1, SeqCst) {
        0 => busy("1"),
        1 => ok(""),
        _ => busy("3600"),
    });
    let gateway = Gateway::start(&format!(
        "{}{}",
        collector.table(""),
        responding("self", "")
    ));
    assert_eq!(gateway.status("/"), 200);
    let first = collector.spans();
    let since = Instant::now();
    assert_eq!(collector.spans(), first);
    assert!(since.elapsed() >= Duration::from_millis(900));
    gateway.await_metric("tidegate_spans_exported_total", &[], 1.0);
    // An hour is more than there is: the batch is lost at once, and the next
    // one is sent in its turn.
    for _ in 0..2 {
        assert_eq!(gateway.status("/"), 200);
        assert_ne!(collector.spans(), first);
    }
    let lost = [("reason", "collector")];
    gateway.await_metric("tidegate_spans_dropped_total", &lost, 2.0);
    gateway.logged("spans cannot be exported: the collector answered with status 503");
}

/// Takes batches by TLS, and passes on how many spans each has. It runs until
/// the test process ends.
fn secure_collector(config: Arc<ServerConfig>) -> (u16, Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, batches) = mpsc::channel();
    let serve =
        move |stream: &mut StreamOwned<ServerConnection, TcpStream>| -> std::io::Result<()> {
            loop {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte)?;
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap().to_lowercase();
                let length = head.split("content-length: ").nth(1).unwrap();
                let length = length.split("\r\n").next().unwrap().parse().unwrap();
                let mut body = vec![0; length];
                stream.read_exact(&mut body)?;
                let batch = ExportTraceServiceRequest::decode(&*body).unwrap();
                let scopes = batch.resource_spans.iter().flat_map(|one| &one.scope_spans);
                // The test may have seen enough.
                let _ = sender.send(scopes.map(|scope| scope.spans.len()).sum());
                stream.write_all(ok("").as_bytes())?;
            }
        };
    thread::spawn(move || {
        for socket in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            // A client that does not trust it leaves in the handshake.
            let _ = serve(&mut StreamOwned::new(session, socket.unwrap()));
        }
    });
    (port, batches)
}

#[test]
fn a_collector_by_https_is_verified_and_keeps_its_connection() {
    let pki = Pki::with_site(&["127.0.0.1"]);
    let (port, batches) = secure_collector(pki.server("site", false));
    let text = format!(
        "[traces]\notlp = 'https://127.0.0.1:{port}'\ntimeout = '2s'\n\n{}",
        responding("self", "")
    );
    let trusting = |pki: &Pki| {
        Start::new(&text)
            .env("SSL_CERT_FILE", &pki.shown("ca.pem"))
            .go()
    };
    let gateway = trusting(&pki);
    // The second batch would wait for ever behind another connection: the
    // collector serves one after the other.
    for sent in [1.0, 2.0] {
        assert_eq!(gateway.status("/"), 200);
        assert_eq!(batches.recv_timeout(TIMEOUT).unwrap(), 1);
        gateway.await_metric("tidegate_spans_exported_total", &[], sent);
    }
    drop(gateway);
    let gateway = trusting(&Pki::new());
    assert_eq!(gateway.status("/"), 200);
    let line = gateway.logged("spans cannot be exported: TLS failed");
    assert!(line.to_string().contains("nobody who is trusted"), "{line}");
}

#[test]
fn a_collector_that_says_nothing_by_https_is_left_in_time() {
    let pki = Pki::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = Start::new(&format!(
        "[traces]\notlp = 'https://{}'\ntimeout = '100ms'\n\n{}",
        silent.local_addr().unwrap(),
        responding("self", "")
    ))
    .env("SSL_CERT_FILE", &pki.shown("ca.pem"))
    .go();
    assert_eq!(gateway.status("/"), 200);
    gateway.logged("spans cannot be exported: no complete response within 100ms");
    let lost = [("reason", "collector")];
    gateway.await_metric("tidegate_spans_dropped_total", &lost, 1.0);
}

#[test]
fn the_last_spans_are_sent_at_the_end() {
    let collector = Collector::start();
    let headers = "headers = { authorization = \"Bearer new\" }\n";
    let mut gateway = Start::new(&format!(
        "{}{}",
        collector.table(headers),
        responding("self", "")
    ))
    .env(
        "OTEL_RESOURCE_ATTRIBUTES",
        "deployment.environment.name=test",
    )
    .env(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "Authorization=Bearer%20old,x-tenant=shop",
    )
    .go();
    assert_eq!(gateway.status("/"), 200);
    gateway.signal(Signal::TERM);
    let (sent, resource, spans) = collector.batch();
    assert_eq!(spans.len(), 1);
    assert_eq!(sent.get("authorization"), Some("Bearer new"));
    assert_eq!(sent.get("x-tenant"), Some("shop"));
    assert_eq!(resource["service.name"], "tidegate");
    assert_eq!(resource["deployment.environment.name"], "test");
    assert!(gateway.wait().0.success());
}

#[test]
fn a_reload_changes_the_collector_and_ends_the_traces() {
    let (first, second) = (Collector::start(), Collector::start());
    let routes = responding("self", "");
    let gateway = Gateway::start(&format!("{}{routes}", first.table("")));
    let threads = gateway.threads();
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(first.spans().len(), 1);
    let outcome = gateway.reload_with(&format!("{}{routes}", second.table("")));
    assert!(outcome.to_string().contains("traces"), "{outcome:#}");
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(second.spans().len(), 1);
    gateway.reload_with(&routes);
    assert_eq!(gateway.status("/"), 200);
    assert!(gateway.access_line().get("trace_id").is_some());
    gateway.access_line();
    assert!(gateway.access_line().get("trace_id").is_none());
    while gateway.threads() >= threads {
        std::thread::yield_now();
    }
}

#[test]
fn copies_and_questions_belong_to_the_trace_of_their_request() {
    let (collector, upstream) = (Collector::start(), telling());
    let (sender, seen) = mpsc::channel();
    let beside = Upstream::answering(move |request| {
        let parent = request.get("traceparent").unwrap_or_default().to_owned();
        let _ = sender.send((request.target().to_owned(), parent));
        ok("")
    });
    let gateway = Gateway::start(&format!(
        "{}[identities.sso.forward]\nurl = '{}/verify'\n{}{}",
        collector.table(""),
        beside.url(),
        upstream_table("copy", &[&beside], ""),
        one_route(
            &upstream,
            "identify = ['sso']\nmirror = { upstream = 'copy', percent = 100 }\n"
        )
    ));
    assert_eq!(gateway.status("/a"), 200);
    let request = naming(&collector.spans()[0]);
    let mut told: Vec<_> = (0..2)
        .map(|_| seen.recv_timeout(TIMEOUT).unwrap())
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            ("/a".to_owned(), request.clone()),
            ("/verify".to_owned(), request)
        ]
    );
}
