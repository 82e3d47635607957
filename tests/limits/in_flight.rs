//! Caps for each key: never one request more in flight than allowed, and the
//! permit comes back in every way in which a request ends.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::time::Instant;

use super::{
    TRUST, decisions,
    support::{
        Client, Gate, TIMEOUT, Upstream,
        gateway::{Gateway, responding, upstream_table},
        http2::{Http2, Server, Stream},
        ok,
    },
};

/// Starts a gateway with the route `r` to this upstream, which has the limit
/// `l`.
fn to(upstream: &Upstream, limit: &str, more: &str) -> Gateway {
    Gateway::start(&text_to(upstream, limit, more))
}

fn text_to(upstream: &Upstream, limit: &str, more: &str) -> String {
    let upstream = upstream_table("u", &[upstream], "");
    format!(
        "[server]\nworkers = 1\n[limits.l]\n{limit}\n{upstream}[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n{more}\n"
    )
}

/// Waits until this number of requests hold a permit of a limit.
#[track_caller]
fn await_held_of(gateway: &Gateway, limit: &str, number: f64) {
    let end = Instant::now() + TIMEOUT;
    loop {
        let held = gateway.metric("tidegate_limit_in_flight", &[("limit", limit)]);
        if held == number {
            return;
        }
        assert!(Instant::now() < end, "{held} requests hold a permit");
    }
}

#[track_caller]
fn await_held(gateway: &Gateway, number: f64) {
    await_held_of(gateway, "l", number);
}

/// A server that sends the head and the beginning of a body, and the rest once
/// the gate is opened.
fn slow_body() -> (Upstream, Gate) {
    let rest = Gate::new();
    let gate = rest.clone();
    let upstream = Upstream::start(move |mut connection| {
        while connection.request().is_some() {
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
            gate.pass();
            connection.send("world");
        }
    });
    (upstream, rest)
}

/// A request whose response has begun.
#[track_caller]
fn begun(gateway: &Gateway, lines: &[&str]) -> Client {
    let mut client = gateway.sent("/slow", lines);
    assert_eq!(client.head().unwrap().status(), 200);
    client
}

#[test]
fn a_permit_is_held_to_the_end_of_the_body_and_a_refusal_tells_the_cap() {
    let (upstream, rest) = slow_body();
    let gateway = to(&upstream, "in_flight = 2", "");
    let clients = [(); 2].map(|()| begun(&gateway, &[]));
    let refused = gateway.get("/");
    assert_eq!(refused.status(), 429);
    assert_eq!(
        refused.get("ratelimit-policy"),
        Some("\"l\";q=2;qu=\"concurrent-requests\"")
    );
    assert_eq!(refused.get("ratelimit"), Some("\"l\";r=0"));
    assert_eq!(refused.get("retry-after"), Some("1"));
    assert_eq!(
        refused.problem()["violated-policies"],
        serde_json::json!(["l"])
    );
    let line = gateway.line_of("/");
    assert_eq!(
        (&line["reason"], &line["limit"]),
        (&"rate_limited".into(), &"l".into())
    );
    rest.open();
    await_held(&gateway, 1.0);
    let third = begun(&gateway, &[]);
    assert_eq!(gateway.status("/"), 429);
    drop((third, clients));
    await_held(&gateway, 0.0);
    assert_eq!(decisions(&gateway, "l", "refused"), 2.0);
    [(); 2].iter().for_each(|()| rest.open());
}

#[test]
fn an_admitted_response_tells_how_many_more_may_be_in_flight() {
    let upstream = Upstream::answering(|_| ok("hello"));
    let gateway = to(
        &upstream,
        "in_flight = 8",
        "response.limit_headers = 'both'",
    );
    let response = gateway.get("/");
    assert_eq!(
        response.get("ratelimit-policy"),
        Some("\"l\";q=8;qu=\"concurrent-requests\"")
    );
    assert_eq!(response.get("ratelimit"), Some("\"l\";r=7"));
    assert_eq!(response.get("x-ratelimit-limit"), None);
}

#[test]
fn a_response_of_the_gateway_itself_takes_a_permit_and_returns_it() {
    let gateway = super::one_limit("in_flight = 1", "");
    assert_eq!([(); 20].map(|()| gateway.status("/")), [200; 20]);
    await_held(&gateway, 0.0);
    assert_eq!(decisions(&gateway, "l", "allowed"), 20.0);
}

#[test]
fn a_client_that_leaves_the_queue_gives_its_permit_back() {
    let (upstream, reached, leave) = Upstream::held();
    let gateway = to(
        &upstream,
        "in_flight = 2",
        "concurrency = { max = 1, queue = 5, queue_timeout = '10s' }",
    );
    let mut first = gateway.sent("/first", &[]);
    assert_eq!(reached.recv_timeout(TIMEOUT).unwrap(), "/first");
    let second = gateway.sent("/second", &[]);
    gateway.await_metric("tidegate_queued", &[], 1.0);
    assert_eq!(gateway.status("/third"), 429, "both permits are held");
    drop(second);
    await_held(&gateway, 1.0);
    leave.open();
    assert_eq!(first.response().status(), 200);
    await_held(&gateway, 0.0);
}

#[test]
fn a_client_that_leaves_in_the_body_gives_its_permit_back() {
    for reset in [false, true] {
        let (upstream, rest) = slow_body();
        let gateway = to(&upstream, "in_flight = 1", "");
        let client = begun(&gateway, &[]);
        match reset {
            true => client.into_wire().reset(),
            false => drop(client),
        }
        await_held(&gateway, 0.0);
        drop(begun(&gateway, &[]));
        [(); 2].iter().for_each(|()| rest.open());
    }
}

#[test]
fn a_server_that_works_on_keeps_the_permit_of_a_client_that_left() {
    let (upstream, reached, leave) = Upstream::held();
    let gateway = to(&upstream, "in_flight = 1", "");
    let client = gateway.sent("/first", &[]);
    reached.recv_timeout(TIMEOUT).unwrap();
    drop(client);
    assert_eq!(gateway.line_of("/first")["status"], 499);
    for _ in 0..20 {
        assert_eq!(gateway.status("/"), 429, "the server works on");
    }
    leave.open();
    await_held(&gateway, 0.0);
    leave.open();
    assert_eq!(gateway.status("/"), 200);
}

#[test]
fn a_tunnel_holds_its_permit_until_it_ends() {
    let upstream = Upstream::start(|mut connection| {
        if connection.request().is_some() {
            connection.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            );
            while let Ok(byte) = connection.bytes(1) {
                connection.send(byte);
            }
        }
    });
    let gateway = to(&upstream, "in_flight = 1", "");
    let upgrade = ["Connection: Upgrade", "Upgrade: websocket"];
    let mut tunnel = gateway.sent("/", &upgrade);
    assert_eq!(tunnel.head().unwrap().status(), 101);
    tunnel.send("ping");
    assert_eq!(tunnel.bytes(4).unwrap(), b"ping");
    assert_eq!(gateway.status("/"), 429);
    drop(tunnel);
    await_held(&gateway, 0.0);
    let mut next = gateway.sent("/", &upgrade);
    assert_eq!(next.head().unwrap().status(), 101);
}

#[test]
fn a_stream_that_is_reset_and_a_lost_connection_give_their_permits_back() {
    let (upstream, rest) = slow_body();
    let gateway = to(&upstream, "in_flight = 1", "");
    let mut client = Http2::connect(gateway.address());
    let asked = client.open("GET", "/slow", &[], true);
    let head = client.wait(asked.response).unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(client.get("/").status, 429);
    // h2 resets a stream whose body is dropped.
    drop((head, asked.body));
    client.settle();
    await_held(&gateway, 0.0);
    let asked = client.open("GET", "/slow", &[], true);
    let head = client.wait(asked.response).unwrap();
    assert_eq!(head.status(), 200);
    await_held(&gateway, 1.0);
    drop((head, asked.body, client));
    await_held(&gateway, 0.0);
    [(); 2].iter().for_each(|()| rest.open());
}

#[test]
fn a_reset_stream_to_an_http2_server_gives_its_permit_back() {
    let server = Server::start(
        h2::server::Builder::new(),
        |mut stream: Stream| async move {
            let _ = std::future::poll_fn(|cx| stream.respond.poll_reset(cx)).await;
        },
    );
    let gateway = Gateway::start(&format!(
        "[limits.l]\nin_flight = 1\n[upstreams.u]\nservers = ['{}']\nprotocol = 'http2'\n[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n",
        server.url()
    ));
    let mut client = Http2::connect(gateway.address());
    let asked = client.open("GET", "/", &[], true);
    await_held(&gateway, 1.0);
    assert_eq!(client.get("/").status, 429);
    drop(asked);
    client.settle();
    await_held(&gateway, 0.0);
}

#[test]
fn all_attempts_at_a_request_share_one_permit() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&attempts);
    let upstream = Upstream::start(move |mut connection| {
        if connection.request().is_none() {
            return;
        }
        match count.fetch_add(1, SeqCst) {
            0 | 1 => connection.break_off(),
            _ => connection.send(ok("third")),
        }
    });
    let gateway = to(
        &upstream,
        "in_flight = 1",
        "retry = { attempts = 3, on = ['reset'], budget = '100%' }",
    );
    assert_eq!(gateway.get("/").text(), "third");
    assert_eq!(attempts.load(SeqCst), 3);
    await_held(&gateway, 0.0);
}

#[test]
fn a_timeout_gives_the_permit_back() {
    for timeouts in ["total = '50ms'", "attempt = '50ms'", "idle = '50ms'"] {
        let (upstream, rest) = slow_body();
        let (silent, _reached, leave) = Upstream::held();
        let upstream = match timeouts.starts_with("idle") {
            true => &upstream,
            false => &silent,
        };
        let more = format!("retry = {{ attempts = 1 }}\ntimeouts = {{ {timeouts} }}");
        let gateway = to(upstream, "in_flight = 1", &more);
        let mut client = gateway.sent("/", &[]);
        client.response();
        await_held(&gateway, 0.0);
        [rest, leave].iter().for_each(Gate::open);
    }
}

#[test]
fn a_reload_keeps_permits_and_applies_new_numbers_to_them() {
    let (upstream, rest) = slow_body();
    let text = |most: u32| text_to(&upstream, &format!("in_flight = {most}"), "");
    let gateway = Gateway::start(&text(3));
    let mut clients: Vec<_> = [(); 3].map(|()| begun(&gateway, &[])).into();
    gateway.reload_with(&text(2));
    assert_eq!(gateway.status("/"), 429);
    drop(clients.pop());
    await_held(&gateway, 2.0);
    assert_eq!(gateway.status("/"), 429, "the key has two");
    drop(clients.pop());
    await_held(&gateway, 1.0);
    clients.push(begun(&gateway, &[]));
    gateway.reload_with(&text(4));
    clients.push(begun(&gateway, &[]));
    clients.push(begun(&gateway, &[]));
    assert_eq!(gateway.status("/"), 429);
    // Removed and added again, it begins anew, and the old permits come back
    // to nobody.
    gateway.reload_with(&text(4).replace("[limits.l]\nin_flight = 4", "[limits.l]\nrate = '9/h'"));
    gateway.reload_with(&text(1));
    await_held(&gateway, 0.0);
    clients.push(begun(&gateway, &[]));
    assert_eq!(gateway.status("/"), 429);
    drop(clients);
    await_held(&gateway, 0.0);
    (0..9).for_each(|_| rest.open());
}

#[test]
fn overrides_and_missing_keys_have_numbers_of_their_own() {
    let (upstream, rest) = slow_body();
    let limit =
        "key = 'header:x-user'\nin_flight = 2\nmissing = { key = 'client-ip', in_flight = 1 }
        overrides = [{ match = 'big', in_flight = 3 }, { match = 'all', in_flight = 'unlimited' }]";
    let gateway = to(&upstream, limit, "");
    let mut clients = Vec::new();
    for (user, most) in [("other", 2), ("big", 3), ("", 1)] {
        let line = format!("X-User: {user}");
        let lines = [&*line];
        clients.extend((0..most).map(|_| begun(&gateway, &lines)));
        assert_eq!(gateway.ask("GET", "/", &lines).status(), 429, "{user}");
    }
    clients.extend((0..5).map(|_| begun(&gateway, &["X-User: all"])));
    await_held(&gateway, 6.0);
    drop(clients);
    await_held(&gateway, 0.0);
    (0..20).for_each(|_| rest.open());
}

#[test]
fn tiers_cap_wider_networks_and_decide_together_with_the_limit() {
    let (upstream, rest) = slow_body();
    let limit = "key = 'client-ip'\nin_flight = 2\ntiers = [{ prefix = 56, in_flight = 3 }]";
    let text = text_to(&upstream, limit, "");
    let gateway = Gateway::start(&format!("{TRUST}\n{text}"));
    let from = |address: &str| format!("X-Forwarded-For: {address}");
    let (one, other, third) = (
        from("2001:db8:0:1::1"),
        from("2001:db8:0:2::1"),
        from("2001:db8:0:3::1"),
    );
    let clients = [&one, &one, &other].map(|client| begun(&gateway, &[client]));
    assert_eq!(gateway.ask("GET", "/own", &[&one]).status(), 429);
    let refused = gateway.ask("GET", "/", &[&third]);
    assert_eq!(
        refused.problem()["violated-policies"],
        serde_json::json!(["l/56"])
    );
    await_held_of(&gateway, "l", 3.0);
    drop(clients);
    await_held_of(&gateway, "l/56", 0.0);
    (0..3).for_each(|_| rest.open());
}

#[test]
fn a_shadow_and_a_candidate_count_for_real_and_refuse_nothing() {
    let (upstream, rest) = slow_body();
    let gateway = to(&upstream, "in_flight = 1\nmode = 'shadow'", "");
    let clients = [(); 3].map(|()| begun(&gateway, &[]));
    await_held(&gateway, 1.0);
    drop(clients);
    assert_eq!(decisions(&gateway, "l", "shadow_refused"), 2.0);
    await_held(&gateway, 0.0);
    let gateway = to(
        &upstream,
        "in_flight = 9\ncandidate = { in_flight = 2 }",
        "",
    );
    let clients = [(); 3].map(|()| begun(&gateway, &[]));
    await_held_of(&gateway, "l/candidate", 2.0);
    drop(clients);
    assert_eq!(decisions(&gateway, "l", "candidate_refused"), 1.0);
    await_held_of(&gateway, "l/candidate", 0.0);
    (0..9).for_each(|_| rest.open());
}

#[test]
fn a_rate_and_a_cap_decide_all_or_nothing() {
    let (upstream, rest) = slow_body();
    let table = upstream_table("u", &[&upstream], "");
    let gateway = Gateway::start(&format!(
        "[limits.rate]\nrate = '3/h'\n[limits.l]\nin_flight = 1\n{table}[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['rate', 'l']\n"
    ));
    let client = begun(&gateway, &[]);
    for _ in 0..5 {
        let refused = gateway.get("/");
        assert_eq!(
            refused.problem()["violated-policies"],
            serde_json::json!(["l"])
        );
    }
    drop(client);
    await_held(&gateway, 0.0);
    // The refusals by the cap have taken no tokens.
    [(); 2].iter().for_each(|()| {
        drop(begun(&gateway, &[]));
        await_held(&gateway, 0.0);
    });
    let refused = gateway.get("/");
    assert_eq!(
        refused.problem()["violated-policies"],
        serde_json::json!(["rate"])
    );
    await_held(&gateway, 0.0);
    (0..3).for_each(|_| rest.open());
}

#[test]
fn copies_of_a_request_take_no_permit() {
    let (upstream, rest) = slow_body();
    let (other, reached, leave) = Upstream::held();
    let tables = upstream_table("u", &[&upstream], "") + &upstream_table("m", &[&other], "");
    let gateway = Gateway::start(&format!(
        "[limits.l]\nin_flight = 1\n{tables}[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\nmirror = {{ upstream = 'm' }}\n"
    ));
    let mut client = begun(&gateway, &[]);
    reached.recv_timeout(TIMEOUT).unwrap();
    await_held(&gateway, 1.0);
    rest.open();
    client.bytes(10).unwrap();
    await_held(&gateway, 0.0);
    leave.open();
}

#[test]
fn keys_beyond_the_room_share_their_permits_and_are_counted() {
    let (upstream, rest) = slow_body();
    let limit = "key = 'header:x-user'\nin_flight = 1\nmax_keys = 1";
    let gateway = to(&upstream, limit, "");
    let _first = begun(&gateway, &["X-User: first"]);
    let mut admitted = 0;
    let clients: Vec<_> = (0..40)
        .map(|user| {
            let mut client = gateway.sent("/slow", &[&format!("X-User: {user}")]);
            admitted += usize::from(client.head().unwrap().status() == 200);
            client
        })
        .collect();
    assert!((1..=16).contains(&admitted), "{admitted} of 40 keys");
    let overflow = [("limit", "l"), ("kind", "overflow")];
    assert_eq!(
        gateway.metric("tidegate_limit_evictions_total", &overflow),
        40.0
    );
    drop(clients);
    await_held(&gateway, 1.0);
    (0..60).for_each(|_| rest.open());
}

#[test]
fn several_routes_share_the_permits_of_a_limit() {
    let (upstream, rest) = slow_body();
    let table = upstream_table("u", &[&upstream], "");
    let other = responding("other", "limits = ['l']\nmatch = { path = '/other' }");
    let gateway = Gateway::start(&format!(
        "[limits.l]\nin_flight = 1\n{table}[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n{other}"
    ));
    let client = begun(&gateway, &[]);
    assert_eq!(gateway.status("/other"), 429);
    drop(client);
    await_held(&gateway, 0.0);
    assert_eq!(gateway.status("/other"), 200);
    rest.open();
}
