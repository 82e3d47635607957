//! Caps on the requests in flight of each key, counted by several real gateways
//! through a real Redis.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{
    sync::{
        Mutex,
        mpsc::{self, Receiver, Sender},
    },
    time::Duration,
};

use rustix::process::Signal;
use support::{
    Client, TIMEOUT, Upstream,
    gateway::{Gateway, responding, upstream_table},
    ok,
    redis::{Redis, cluster},
};
use tokio::time::Instant;

/// The longest time for which the permits of a gateway that died stay taken, as
/// the documentation says it.
const LEASE: Duration = Duration::from_secs(10);

/// The route `r` to this upstream, under the shared cap `l`, and the route
/// `here`, which responds by itself.
fn text(store: &str, upstream: &Upstream, limits: &str) -> String {
    let here = responding("here", "limits = ['l']\nmatch = { path = '/here' }");
    let table = upstream_table("u", &[upstream], "");
    format!(
        "[store]\n{store}\n[limits.l]\nscope = 'shared'\n{limits}\n{table}[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n{here}"
    )
}

/// A server that tells of each request, and responds when it is told to, however
/// long that takes.
fn slow_server() -> (Upstream, Receiver<()>, Sender<()>) {
    let (tell, reached) = mpsc::channel();
    let (leave, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let upstream = Upstream::answering(move |_| {
        // One of the two may be gone at the end of the test.
        let _ = tell.send(());
        let _ = wait.lock().unwrap().recv();
        ok("")
    });
    (upstream, reached, leave)
}

/// The settings of a store on this server. Its timeout is far more than a local
/// one needs.
fn at(redis: &Redis) -> String {
    format!("url = '{}'\ntimeout = '5s'", redis.url())
}

/// A request that has reached the server.
#[track_caller]
fn held(gateway: &Gateway, reached: &Receiver<()>) -> Client {
    let client = gateway.sent("/", &[]);
    reached.recv_timeout(TIMEOUT).unwrap();
    client
}

/// Asks until a request is admitted, for as long as `most`.
#[track_caller]
fn await_admitted(gateway: &Gateway, most: Duration) {
    let end = Instant::now() + most;
    while gateway.status("/here") != 200 {
        assert!(Instant::now() < end, "no permit comes back");
        std::thread::yield_now();
    }
}

/// Checks that two gateways have no more than three requests of a key in
/// flight, and that permits of one are for the other as soon as they are back.
fn counts_together(store: &str) {
    let (upstream, reached, leave) = slow_server();
    let text = text(store, &upstream, "in_flight = 3");
    let [one, other] = [(); 2].map(|()| Gateway::start(&text));
    let first = held(&one, &reached);
    let second = held(&other, &reached);
    let mut third = held(&one, &reached);
    for gateway in [&one, &other] {
        let refused = gateway.get("/here");
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.get("ratelimit"), Some("\"l\";r=0"));
        assert_eq!(
            refused.get("ratelimit-policy"),
            Some("\"l\";q=3;qu=\"concurrent-requests\"")
        );
        assert_eq!(refused.get("retry-after"), Some("1"));
    }
    (0..3).for_each(|_| leave.send(()).unwrap());
    assert_eq!(third.response().status(), 200);
    await_admitted(&other, TIMEOUT);
    drop((first, second));
    (0..20).for_each(|_| await_admitted(&one, TIMEOUT));
}

#[test]
fn gateways_with_one_store_count_the_requests_in_flight_together() {
    let redis = Redis::start();
    counts_together(&at(&redis));
    let left = redis.run(&["DBSIZE"]);
    assert!(left.starts_with(":0") || left.starts_with(":1"), "{left}");
}

#[test]
fn gateways_with_one_cluster_count_the_requests_in_flight_together() {
    let nodes = cluster(3);
    let urls: Vec<_> = nodes
        .iter()
        .map(|node| format!("'{}'", node.url()))
        .collect();
    counts_together(&format!("url = [{}]\ntimeout = '5s'", urls.join(", ")));
}

#[test]
fn the_permits_of_a_killed_gateway_are_free_within_the_stated_time() {
    let redis = Redis::start();
    let (upstream, reached, leave) = slow_server();
    let text = text(&at(&redis), &upstream, "in_flight = 2");
    let [mut killed, other] = [(); 2].map(|()| Gateway::start(&text));
    let clients = [(); 2].map(|()| held(&killed, &reached));
    assert_eq!(other.status("/here"), 429);
    killed.signal(Signal::KILL);
    killed.wait_alone();
    let dead = Instant::now();
    assert_eq!(other.status("/here"), 429, "nobody knows yet");
    await_admitted(&other, LEASE + Duration::from_secs(2));
    assert!(
        dead.elapsed() > LEASE / 2,
        "its last renewal was just before"
    );
    (0..2).for_each(|_| leave.send(()).unwrap());
    drop(clients);
}

#[test]
fn permits_are_renewed_for_as_long_as_a_request_takes() {
    let redis = Redis::start();
    let (upstream, reached, leave) = slow_server();
    let text = text(&at(&redis), &upstream, "in_flight = 1");
    let [one, other] = [(); 2].map(|()| Gateway::start(&text));
    let client = held(&one, &reached);
    let end = Instant::now() + LEASE * 3 / 2;
    while Instant::now() < end {
        assert_eq!(other.status("/here"), 429);
        std::thread::yield_now();
    }
    leave.send(()).unwrap();
    drop(client);
    await_admitted(&other, TIMEOUT);
}

#[test]
fn a_store_that_does_not_answer_leaves_the_count_to_each_gateway_or_to_nobody() {
    let mut redis = Redis::start();
    let (upstream, reached, leave) = slow_server();
    let store = |on_error: &str| {
        format!(
            "url = '{}'\ntimeout = '100ms'\non_error = '{on_error}'",
            redis.url()
        )
    };
    let local = Gateway::start(&text(&store("local"), &upstream, "in_flight = 2"));
    let deny = Gateway::start(&text(&store("deny"), &upstream, "in_flight = 2"));
    let first = held(&local, &reached);
    redis.kill();
    assert_eq!(deny.status("/here"), 503);
    assert_eq!(deny.line_of("/here")["reason"], "store_unavailable");
    let second = held(&local, &reached);
    assert_eq!(local.status("/here"), 429, "it has two requests in flight");
    // The store is back and has lost everything. It hears of both requests.
    redis.restart();
    let end = Instant::now() + TIMEOUT;
    while deny.status("/here") != 429 {
        assert!(Instant::now() < end, "the requests are never counted");
    }
    (0..2).for_each(|_| leave.send(()).unwrap());
    drop((first, second));
    await_admitted(&deny, TIMEOUT);
}

#[test]
fn a_shared_rate_that_refuses_returns_the_permit() {
    let redis = Redis::start();
    let gateway = Gateway::start(&format!(
        "[store]\n{}\nlease = '0%'\n[limits.rate]\nscope = 'shared'\nrate = '3/h'\n[limits.l]\nscope = 'shared'\nin_flight = 1\n{}",
        at(&redis),
        responding("r", "limits = ['rate', 'l']")
    ));
    let statuses = [(); 6].map(|()| gateway.status("/"));
    assert_eq!(statuses, [200, 200, 200, 429, 429, 429]);
    assert_eq!(
        gateway.get("/").problem()["violated-policies"],
        serde_json::json!(["rate"])
    );
}

#[test]
fn a_shared_cap_in_shadow_mode_counts_together_and_refuses_nothing() {
    let redis = Redis::start();
    let (upstream, reached, leave) = slow_server();
    let text = text(&at(&redis), &upstream, "in_flight = 1\nmode = 'shadow'");
    let [one, other] = [(); 2].map(|()| Gateway::start(&text));
    let first = held(&one, &reached);
    let second = held(&other, &reached);
    (0..2).for_each(|_| leave.send(()).unwrap());
    drop((first, second));
    let refused = [("limit", "l"), ("decision", "shadow_refused")];
    other.await_metric("tidegate_limit_decisions_total", &refused, 1.0);
    assert_eq!(one.metric("tidegate_limit_decisions_total", &refused), 0.0);
}

#[test]
fn a_reload_that_changes_the_store_keeps_the_requests_in_flight() {
    let redis = Redis::start();
    let (upstream, reached, leave) = slow_server();
    let first = text(&at(&redis), &upstream, "in_flight = 1");
    let [one, other] = [(); 2].map(|()| Gateway::start(&first));
    let client = held(&one, &reached);
    one.reload_with(&first.replace("timeout = '5s'", "timeout = '4s'"));
    assert_eq!((one.status("/here"), other.status("/here")), (429, 429));
    leave.send(()).unwrap();
    drop(client);
    await_admitted(&other, TIMEOUT);
    await_admitted(&one, TIMEOUT);
}
