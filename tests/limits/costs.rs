//! Costs that are known only when a request ends: reserved at first, and
//! settled in every way in which a request can end.

use std::sync::{Mutex, mpsc};

use h2::server::Builder;
use http::{HeaderMap, HeaderValue, Response};
use serde_json::Value;

use super::{
    settle,
    support::{
        Gate, Upstream,
        gateway::{Closed, Gateway, responding, upstream_table},
        http2::{Http2, Server, Stream},
        ok, one_route,
    },
};

/// A limit of 1000 tokens, of which none comes back within a test.
fn limit(cost: &str) -> String {
    format!("[limits.l]\nkey = 'client-ip'\nrate = '1000/d'\ncost = {{ {cost} }}\n")
}

/// The state of this client's bucket once no request is in flight.
#[track_caller]
fn state(gateway: &Gateway) -> Value {
    settle(gateway);
    let state = gateway.call_admin("GET", "/limits/l/keys?key=127.0.0.1", &[]);
    serde_json::from_str(&state.text()).unwrap()
}

/// Tokens of this client that are used.
#[track_caller]
fn used(gateway: &Gateway) -> u64 {
    let state = state(gateway);
    1000 - state["remaining"].as_u64().unwrap() + state["owed"].as_u64().unwrap_or(0)
}

/// A gateway before a service that always responds with this text.
fn before(response: impl Into<String>, cost: &str, route: &str) -> (Upstream, Gateway) {
    let response = response.into();
    let upstream = Upstream::answering(move |_| response.clone());
    let route = one_route(&upstream, &format!("limits = ['l']\n{route}"));
    let gateway = Gateway::start(&format!("{}{route}", limit(cost)));
    (upstream, gateway)
}

/// A response with a body of this type.
fn typed(kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
}

const BY_HEADER: &str = "from = 'response-header:x-cost', reserve = 10, max = 600";
const BY_JSON: &str = "from = 'response-json:usage.total_tokens', reserve = 10, max = 600";
const BY_TRAILER: &str = "from = 'response-trailer:x-cost', reserve = 10, max = 600";

#[test]
fn a_header_of_the_response_is_settled_and_anything_else_counts_as_the_reserve() {
    for (lines, expected) in [
        ("x-cost: 47\r\n", 47),
        ("x-cost: 0\r\n", 0),
        ("x-cost: 99999999999999999999\r\n", 600),
        ("x-cost: -1\r\n", 10),
        ("x-cost: 1e2\r\n", 10),
        ("x-cost: much\r\n", 10),
        ("x-cost:\r\n", 10),
        ("x-cost: 1\r\nx-cost: 2\r\n", 10),
        ("", 10),
    ] {
        let response = format!("HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n");
        let (_upstream, gateway) = before(response, BY_HEADER, "");
        assert_eq!(gateway.status("/"), 200);
        assert_eq!(used(&gateway), expected, "{lines:?}");
        assert_eq!(gateway.access_line()["cost"], expected, "{lines:?}");
        let labels = [("route", "app"), ("reason", "absent")];
        let unknown = gateway.metric("tidegate_limit_costs_unknown_total", &labels);
        assert_eq!(unknown > 0.0, expected == 10, "{lines:?}");
    }
}

#[test]
fn the_response_describes_the_bucket_with_the_cost_that_its_header_states() {
    let response = "HTTP/1.1 200 OK\r\nx-cost: 400\r\ncontent-length: 0\r\n\r\n";
    let (_upstream, gateway) = before(response, BY_HEADER, "");
    let field = |r| format!("\"l\";r={r};t=");
    for left in [600, 200, 0] {
        let response = gateway.get("/");
        assert_eq!(response.status(), 200);
        assert!(response.get("ratelimit").unwrap().starts_with(&field(left)));
    }
    let refused = gateway.get("/");
    assert_eq!(refused.status(), 429);
    assert!(refused.get("ratelimit").unwrap().starts_with(&field(0)));
    // 200 tokens are owed, and the next request reserves ten: at 86.4 s each.
    let wait: u64 = refused.get("retry-after").unwrap().parse().unwrap();
    assert!((18_140..=18_144).contains(&wait), "{wait}");
    let state = state(&gateway);
    assert_eq!(
        (&state["remaining"], &state["owed"]),
        (&0.into(), &200.into())
    );
}

#[test]
fn a_cost_is_read_before_the_route_removes_its_header() {
    let response = "HTTP/1.1 200 OK\r\nx-cost: 47\r\nserver: a\r\ncontent-length: 0\r\n\r\n";
    let changes =
        "response = { remove_headers = ['x-cost', 'server'], set_headers = { 'x-set' = '1' } }";
    let (_upstream, gateway) = before(response, BY_HEADER, changes);
    let response = gateway.get("/");
    assert_eq!(
        (response.get("x-cost"), response.get("server")),
        (None, None)
    );
    assert_eq!(response.get("x-set"), Some("1"));
    assert_eq!(used(&gateway), 47);
}

#[test]
fn a_number_in_the_json_of_a_response_is_settled() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    let nested = "{\"usage\":".repeat(100) + "{\"total_tokens\":47}" + &"}".repeat(100);
    for (body, expected) in [
        (r#"{"usage":{"total_tokens":47}}"#, 47),
        (
            r#"{"text":"\"usage\":{\"total_tokens\":9}","usage":{"total_tokens":47.0}}"#,
            47,
        ),
        (
            r#"{"usage":{"total_tokens":5,"total_tokens":47},"usage":{"total_tokens":6}}"#,
            47,
        ),
        (r#"{"\u0075sage":{"total_tokens":3}}"#, 3),
        (r#"{"usage":{"total_tokens":1e300}}"#, 600),
        (r#"{"usage":{"total_tokens":"47"}}"#, 10),
        (r#"{"usage":{"total_tokens":-47}}"#, 10),
        (r#"{"usage":null}"#, 10),
        ("not JSON", 10),
        ("", 10),
        (
            &*format!("{{\"x\":{deep},\"usage\":{{\"total_tokens\":47}}}}"),
            47,
        ),
        (&*nested, 10),
    ] {
        let (_upstream, gateway) = before(typed("application/json", body), BY_JSON, "");
        assert_eq!(gateway.get("/").text(), body);
        assert_eq!(used(&gateway), expected, "{body:.80}");
    }
}

#[test]
fn the_last_event_that_has_the_number_is_settled() {
    let events = "data: {\"usage\":{\"total_tokens\":3}}\n\ndata: {\"usage\":{\"total_tokens\":47}}\n\n\
                  data: {\"usage\":null}\n\ndata: [DONE]\n\n";
    let (_upstream, gateway) = before(typed("text/event-stream", events), BY_JSON, "");
    assert_eq!(gateway.get("/").text(), events);
    assert_eq!(used(&gateway), 47);
}

#[test]
fn a_compressed_response_counts_as_the_reserve_and_is_told_of_once() {
    let body = r#"{"usage":{"total_tokens":47}}"#;
    let response = typed("application/json\r\ncontent-encoding: gzip", body);
    let (_upstream, gateway) = before(response, BY_JSON, "");
    assert_eq!([gateway.status("/"), gateway.status("/")], [200, 200]);
    assert_eq!(used(&gateway), 20);
    let unknown = |reason| {
        let labels = [("route", "app"), ("reason", reason)];
        gateway.metric("tidegate_limit_costs_unknown_total", &labels)
    };
    assert_eq!((unknown("encoded"), unknown("type")), (2.0, 0.0));
    let told = |line: &&String| line.contains("is compressed");
    assert_eq!(gateway.log_so_far().iter().filter(told).count(), 1);
}

#[test]
fn tokens_are_counted_as_reserved_used_and_owed() {
    let (_upstream, gateway) = before(
        typed("application/json", r#"{"usage":{"total_tokens":47}}"#),
        BY_JSON,
        "",
    );
    assert_eq!([gateway.status("/"), gateway.status("/")], [200, 200]);
    settle(&gateway);
    let tokens = |kind| {
        let labels = [("limit", "l"), ("route", "app"), ("kind", kind)];
        gateway.metric("tidegate_limit_cost_tokens_total", &labels)
    };
    assert_eq!(["reserved", "used", "owed"].map(tokens), [20.0, 94.0, 74.0]);
}

#[test]
fn of_an_absurd_number_only_the_part_counts_that_can_be_owed() {
    let body = typed("application/json", r#"{"usage":{"total_tokens":1e400}}"#);
    let cost = "from = 'response-json:usage.total_tokens', reserve = 10";
    let (_upstream, gateway) = before(body, cost, "");
    assert_eq!(gateway.status("/"), 200);
    let state = state(&gateway);
    assert_eq!(state["owed"], 9000, "ten bursts, of which one is its own");
    let tokens = |kind| {
        let labels = [("limit", "l"), ("route", "app"), ("kind", kind)];
        gateway.metric("tidegate_limit_cost_tokens_total", &labels)
    };
    assert_eq!([tokens("used"), tokens("owed")], [10010.0, 10000.0]);
    assert_eq!(gateway.access_line()["cost"], 10010);
}

#[test]
fn a_trailer_is_settled_also_if_the_client_gets_none() {
    let response =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-cost: 47\r\n\r\n";
    let (_upstream, gateway) = before(
        response,
        BY_TRAILER,
        "response = { remove_headers = ['x-cost'] }",
    );
    assert_eq!(gateway.get("/").text(), "ok");
    assert_eq!(used(&gateway), 47);
    let mut old = gateway.connect();
    old.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(old.response().text(), "ok");
    assert_eq!(used(&gateway), 94);
    assert_eq!(Http2::connect(gateway.address()).get("/").text(), "ok");
    assert_eq!(used(&gateway), 141);
}

#[test]
fn trailers_of_an_http2_server_are_settled_and_lies_in_them_are_cut() {
    let values = Mutex::new(["47", "-5", "5000"].into_iter());
    let server = Server::start(Builder::new(), move |mut stream: Stream| {
        let value = values.lock().unwrap().next().unwrap();
        async move {
            let mut body = stream
                .respond
                .send_response(Response::new(()), false)
                .unwrap();
            body.send_data("ok".into(), false).unwrap();
            let cost = ("x-cost".parse().unwrap(), HeaderValue::from_static(value));
            body.send_trailers(HeaderMap::from_iter([cost])).unwrap();
        }
    });
    let gateway = Gateway::start(&format!(
        "{}[upstreams.app]\nservers = ['{}']\nprotocol = 'http2'\n[[routes]]\nname = 'app'\nupstream = 'app'\nlimits = ['l']\n",
        limit(BY_TRAILER),
        server.url()
    ));
    for expected in [47, 57, 657] {
        assert_eq!(gateway.get("/").text(), "ok");
        assert_eq!(used(&gateway), expected);
    }
}

#[test]
fn a_call_that_ends_with_its_head_has_its_trailers_there() {
    let server = Server::start(Builder::new(), |mut stream: Stream| async move {
        let head = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "0")
            .header("x-cost", "47");
        let head = head.body(()).unwrap();
        drop(stream.respond.send_response(head, true));
    });
    let gateway = Gateway::start(&format!(
        "{}[upstreams.app]\nservers = ['{}']\nprotocol = 'http2'\n[[routes]]\nname = 'app'\nupstream = 'app'\nlimits = ['l']\n",
        limit(BY_TRAILER),
        server.url()
    ));
    let mut client = Http2::connect(gateway.address());
    client.ask("POST", "/", &[("content-type", "application/grpc")]);
    assert_eq!(used(&gateway), 47);
    // Other requests have no such form.
    client.ask("POST", "/", &[]);
    assert_eq!(used(&gateway), 57);
}

#[test]
fn a_response_without_a_body_counts_as_the_reserve() {
    let head = "HTTP/1.1 204 No Content\r\ncontent-type: application/json\r\n\r\n";
    let (_upstream, gateway) = before(head, BY_JSON, "");
    assert_eq!(gateway.status("/"), 204);
    assert_eq!(used(&gateway), 10);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 29\r\n\r\n";
    let (_upstream, gateway) = before(head, BY_JSON, "");
    let mut client = gateway.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_to_head().status(), 200);
    assert_eq!(used(&gateway), 10);
}

#[test]
fn a_request_that_no_server_has_seen_gets_its_reserve_back() {
    let closed = Closed::new();
    let gateway = Gateway::start(&format!(
        "{}[upstreams.app]\nservers = ['{}']\n[[routes]]\nname = 'app'\nupstream = 'app'\nlimits = ['l']\n",
        limit(BY_JSON),
        closed.url()
    ));
    assert_eq!(gateway.status("/"), 502);
    assert_eq!(used(&gateway), 0);
}

#[test]
fn a_server_that_breaks_off_before_its_response_keeps_the_reserve() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        connection.break_off();
    });
    let route = one_route(&upstream, "limits = ['l']\nretry = { attempts = 1 }");
    let gateway = Gateway::start(&format!("{}{route}", limit(BY_JSON)));
    assert_eq!(gateway.status("/"), 502);
    assert_eq!(used(&gateway), 10);
}

#[test]
fn a_request_is_settled_once_over_all_attempts() {
    let upstream = Upstream::answering({
        let responses = Mutex::new(
            [
                "HTTP/1.1 503 Busy\r\nx-cost: 300\r\ncontent-length: 0\r\n\r\n",
                "HTTP/1.1 200 OK\r\nx-cost: 47\r\ncontent-length: 0\r\n\r\n",
            ]
            .into_iter(),
        );
        move |_| responses.lock().unwrap().next().unwrap().to_owned()
    });
    let route = one_route(
        &upstream,
        "limits = ['l']\nretry = { attempts = 2, on = ['503'] }",
    );
    let gateway = Gateway::start(&format!("{}{route}", limit(BY_HEADER)));
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(used(&gateway), 47);
}

/// A service that sends `first`, tells so, and sends `rest` once a gate opens.
fn in_two_parts(first: String, rest: String) -> (Upstream, Gate) {
    let gate = Gate::new();
    let going_on = gate.clone();
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send(&first);
        going_on.pass();
        // The gateway may have gone.
        let _ = connection.try_send(&rest);
    });
    (upstream, gate)
}

#[test]
fn a_client_that_leaves_pays_what_is_known_and_at_least_the_reserve() {
    for (number, expected) in [(47, 47), (3, 10)] {
        let event = format!("data: {{\"usage\":{{\"total_tokens\":{number}}}}}\n\n");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let (upstream, gate) = in_two_parts(format!("{head}{event}"), event.clone());
        let route = one_route(&upstream, "limits = ['l']");
        let gateway = Gateway::start(&format!("{}{route}", limit(BY_JSON)));
        let mut client = gateway.sent("/", &[]).into_wire();
        client.head().unwrap();
        assert_eq!(client.chunk().unwrap(), event.as_bytes());
        assert_eq!(
            used_in_flight(&gateway),
            10,
            "nothing is settled before the end"
        );
        client.reset();
        assert_eq!(used(&gateway), expected);
        gate.open();
    }
}

/// Tokens that are used while a request is in flight.
fn used_in_flight(gateway: &Gateway) -> u64 {
    let state = gateway.call_admin("GET", "/limits/l/keys?key=127.0.0.1", &[]);
    let state: Value = serde_json::from_str(&state.text()).unwrap();
    1000 - state["remaining"].as_u64().unwrap() + state["owed"].as_u64().unwrap_or(0)
}

#[test]
fn a_client_that_leaves_before_the_response_keeps_the_reserve_taken() {
    let (upstream, requests, leave) = Upstream::held();
    let route = one_route(&upstream, "limits = ['l']");
    let gateway = Gateway::start(&format!("{}{route}", limit(BY_JSON)));
    let client = gateway.sent("/", &[]).into_wire();
    requests.recv().unwrap();
    client.reset();
    assert_eq!(used(&gateway), 10);
    leave.open();
}

#[test]
fn statuses_that_do_not_count_return_the_reserve() {
    let response = "HTTP/1.1 500 Oops\r\nx-cost: 47\r\ncontent-length: 0\r\n\r\n";
    let upstream = Upstream::answering(move |_| response.to_owned());
    let route = one_route(&upstream, "limits = ['l']");
    let gateway = Gateway::start(&format!("{}count = ['2xx']\n{route}", limit(BY_HEADER)));
    assert_eq!(gateway.status("/"), 500);
    assert_eq!(used(&gateway), 0);
}

#[test]
fn a_limit_in_shadow_mode_and_a_candidate_settle_their_own_buckets() {
    let response = "HTTP/1.1 200 OK\r\nx-cost: 600\r\ncontent-length: 0\r\n\r\n";
    let upstream = Upstream::answering(move |_| response.to_owned());
    let more = "mode = 'shadow'\ncandidate = { rate = '100/d' }\n";
    let route = one_route(&upstream, "limits = ['l']");
    let gateway = Gateway::start(&format!("{}{more}{route}", limit(BY_HEADER)));
    assert_eq!([0; 4].map(|_| gateway.status("/")), [200; 4]);
    settle(&gateway);
    let refused = |decision| {
        let labels = [("limit", "l"), ("decision", decision)];
        gateway.metric("tidegate_limit_decisions_total", &labels)
    };
    assert_eq!(refused("shadow_refused"), 2.0, "after 1200 of 1000 tokens");
    assert_eq!(refused("candidate_refused"), 3.0, "after 600 of 100 tokens");
}

const BYTES: &str = "[limits.l]\nkey = 'client-ip'\nrate = '1000B/d'\nburst = '1000B'\n";

#[test]
fn bytes_up_and_down_are_charged() {
    for (from, expected) in [("request-bytes", 5), ("response-bytes", 7), ("bytes", 12)] {
        let upstream = Upstream::answering(|_| ok("1234567"));
        let route = one_route(&upstream, "limits = ['l']");
        let gateway = Gateway::start(&format!("{BYTES}cost = {{ from = '{from}' }}\n{route}"));
        let mut client = gateway.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345");
        let response = client.response();
        assert_eq!(response.status(), 200);
        let policy = response.get("ratelimit-policy").unwrap();
        assert_eq!(policy, "\"l\";q=1000;w=86400;qu=\"content-bytes\"");
        assert_eq!(used(&gateway), expected, "{from}");
    }
}

#[test]
fn a_long_upload_in_pieces_is_charged_in_whole() {
    let upstream = Upstream::answering(|_| ok(""));
    let route = one_route(&upstream, "limits = ['l']");
    let gateway = Gateway::start(&format!(
        "{BYTES}cost = {{ from = 'request-bytes' }}\n{route}"
    ));
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let piece = "x".repeat(50);
    (0..8).for_each(|_| client.send(format!("32\r\n{piece}\r\n")));
    client.send("0\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    assert_eq!(used(&gateway), 400);
}

#[test]
fn a_download_without_an_end_is_charged_while_it_passes() {
    let (sender, receiver) = mpsc::channel::<()>();
    let receiver = Mutex::new(receiver);
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\n\r\n");
        let piece = [b'x'; 100_000];
        (0..10).for_each(|_| connection.send(piece));
        let _ = receiver.lock().unwrap().recv();
    });
    let route = one_route(&upstream, "limits = ['l']");
    let gateway = Gateway::start(&format!(
        "[limits.l]\nkey = 'client-ip'\nrate = '1MB/d'\ncost = {{ from = 'response-bytes' }}\n{route}"
    ));
    let mut client = gateway.sent("/", &[]).into_wire();
    client.head().unwrap();
    client.chunked(1_000_000);
    let state = gateway.call_admin("GET", "/limits/l/keys?key=127.0.0.1", &[]);
    let state: Value = serde_json::from_str(&state.text()).unwrap();
    let left = state["remaining"].as_u64().unwrap();
    assert!(left < 70_000, "all but a step is charged: {left}");
    client.reset();
    drop(sender);
}

#[test]
fn bytes_of_a_tunnel_are_charged_when_it_ends() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        connection.send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
        );
        connection.bytes(4).unwrap();
        connection.send("12345678");
    });
    let route = one_route(&upstream, "limits = ['l']");
    let gateway = Gateway::start(&format!("{BYTES}cost = {{ from = 'bytes' }}\n{route}"));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    let mut wire = client.into_wire();
    wire.head().unwrap();
    wire.send("abcd");
    wire.bytes(8).unwrap();
    drop(wire);
    assert_eq!(used(&gateway), 12);
}

#[test]
fn a_hundred_mebibytes_pass_while_the_number_at_their_end_is_read() {
    let upstream = Upstream::start(|mut connection| {
        connection.expect_request();
        let (head, tail) = ("{\"text\":\"", "\",\"usage\":{\"total_tokens\":47}}");
        let length = head.len() + tail.len() + (100 << 20);
        connection.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{head}"
        ));
        let piece = vec![b'x'; 1 << 20];
        (0..100).for_each(|_| connection.send(&piece));
        connection.send(tail);
    });
    let route = one_route(&upstream, "limits = ['l']");
    let gateway = Gateway::start(&format!("{}{route}", limit(BY_JSON)));
    let mut client = gateway.sent("/", &[]).into_wire();
    client.head().unwrap();
    (0..100).for_each(|_| drop(client.bytes(1 << 20).unwrap()));
    client.bytes(39).unwrap();
    assert_eq!(used(&gateway), 47);
    assert!(gateway.resident() < 100 << 20, "the body is not kept");
}

#[test]
fn pieces_of_a_byte_are_read_and_reach_the_client_one_by_one() {
    let gate = Gate::new();
    let next = gate.clone();
    let body = "{\"usage\":{\"total_tokens\":47}}";
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
        for byte in body.chars() {
            connection.send(format!("1\r\n{byte}\r\n"));
            next.pass();
        }
        connection.send("0\r\n\r\n");
    });
    let route = one_route(&upstream, "limits = ['l']");
    let gateway = Gateway::start(&format!("{}{route}", limit(BY_JSON)));
    let mut client = gateway.sent("/", &[]).into_wire();
    client.head().unwrap();
    for byte in body.bytes() {
        assert_eq!(client.chunk().unwrap(), [byte]);
        gate.open();
    }
    assert!(client.chunk().unwrap().is_empty());
    assert_eq!(used(&gateway), 47);
}

#[test]
fn what_a_route_responds_itself_has_no_cost_but_the_reserve() {
    let text = format!("{}{}", limit(BY_JSON), responding("r", "limits = ['l']"));
    let gateway = Gateway::start(&text);
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(used(&gateway), 10);
}

#[test]
fn a_debt_is_kept_over_a_reload() {
    let response = "HTTP/1.1 200 OK\r\nx-cost: 600\r\ncontent-length: 0\r\n\r\n";
    let upstream = Upstream::answering(move |_| response.to_owned());
    let table = upstream_table("u", &[&upstream], "");
    let text = |rate| {
        format!(
            "[limits.l]\nkey = 'client-ip'\nrate = '{rate}/d'\ncost = {{ {BY_HEADER} }}\n{table}\
             [[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n"
        )
    };
    let gateway = Gateway::start(&text(1000));
    assert_eq!([0; 3].map(|_| gateway.status("/")), [200, 200, 429]);
    gateway.reload_with(&text(2000));
    assert_eq!(
        state(&gateway)["owed"],
        400,
        "the same share of twice the burst"
    );
}
