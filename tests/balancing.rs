//! Balancing: by latency, by a key, and over the upstreams of a split.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{collections::BTreeSet, thread, time::Duration};

use support::{
    Client, TIMEOUT, Upstream,
    gateway::{Closed, Gateway, request, upstream_table},
    ok,
};
use tokio::time::Instant;

const ROUTE: &str = "[[routes]]\nname = 'app'\nupstream = 'app'\n";

/// Servers that respond with their number.
fn numbered(count: usize) -> Vec<Upstream> {
    (0..count)
        .map(|number| Upstream::answering(move |_| ok(&number.to_string())))
        .collect()
}

fn hashing(servers: &[Upstream], more: &str) -> String {
    let servers: Vec<_> = servers.iter().collect();
    upstream_table(
        "app",
        &servers,
        &format!("balance = 'hash'\nhash_key = 'header:x-user'\n{more}"),
    ) + ROUTE
}

/// The server that this user's requests go to.
#[track_caller]
fn server_of(client: &mut Client, user: usize) -> String {
    let response = client.exchange(request("GET", "/", &[&format!("X-User: {user}")]));
    assert_eq!(response.status(), 200);
    response.text()
}

#[test]
fn requests_with_one_key_go_to_one_server_and_keys_are_spread() {
    let servers = numbered(4);
    let gateway = Gateway::start(&hashing(&servers, ""));
    let mut client = gateway.connect();
    let first: Vec<_> = (0..100).map(|user| server_of(&mut client, user)).collect();
    let mut other = gateway.connect();
    for (user, server) in first.iter().enumerate() {
        assert_eq!(server_of(&mut other, user), *server);
    }
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 4);
}

#[test]
fn gateways_side_by_side_choose_alike() {
    let servers = numbered(3);
    let (one, two) = (
        Gateway::start(&hashing(&servers, "")),
        Gateway::start(&hashing(&servers, "")),
    );
    let (mut one, mut two) = (one.connect(), two.connect());
    for user in 0..50 {
        assert_eq!(server_of(&mut one, user), server_of(&mut two, user));
    }
}

#[test]
fn the_keys_of_a_server_that_is_ejected_move_and_the_others_stay() {
    let mut servers = numbered(2);
    let failing = Upstream::answering(|request| {
        let is_bad = request.get("x-bad").is_some();
        if is_bad {
            "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n".to_owned()
        } else {
            ok("failing")
        }
    });
    servers.push(failing);
    let more = "ejection = { consecutive_failures = 1, base = '1h', max = '1h' }";
    let gateway = Gateway::start(&hashing(&servers, more));
    let mut client = gateway.connect();
    let before: Vec<_> = (0..60).map(|user| server_of(&mut client, user)).collect();
    let theirs = before
        .iter()
        .position(|server| server == "failing")
        .unwrap();
    client.exchange(request(
        "GET",
        "/",
        &[&format!("X-User: {theirs}"), "X-Bad: 1"],
    ));
    gateway.logged("server ejected");
    for (user, server) in before.iter().enumerate() {
        let now = server_of(&mut client, user);
        assert!(
            now == *server || server == "failing",
            "{user}: {server}, then {now}"
        );
        assert_ne!(now, "failing");
    }
}

#[test]
fn a_retry_leaves_the_server_of_the_key() {
    let good = Upstream::answering(|_| ok("good"));
    let closed = Closed::new();
    let text = format!(
        "[upstreams.app]\nservers = ['{}', '{}']\nbalance = 'hash'\nhash_key = ['host', 'path']\n\
         ejection = {{ max_percent = 0 }}\n{ROUTE}",
        closed.url(),
        good.url()
    );
    let gateway = Gateway::start(&text);
    for path in 0..30 {
        assert_eq!(gateway.get(&format!("/{path}")).text(), "good");
    }
}

/// Sends four concurrent requests of one user to two servers that hold them.
/// Returns the number of requests at each server.
fn held_by_each(bound: &str) -> Vec<usize> {
    let ((one, told_one, leave_one), (two, told_two, leave_two)) =
        (Upstream::held(), Upstream::held());
    let servers = [one, two];
    let gateway = Gateway::start(&hashing(&servers, bound));
    let (mut held, mut clients, end) = (vec![0, 0], Vec::new(), Instant::now() + TIMEOUT);
    for sent in 1..=4 {
        clients.push(gateway.sent("/", &["X-User: 7"]));
        // One after the other, so that the choice for each request sees the one
        // before.
        while held[0] + held[1] < sent {
            held[0] += told_one.try_iter().count();
            held[1] += told_two.try_iter().count();
            assert!(Instant::now() < end, "a request does not arrive");
            thread::yield_now();
        }
    }
    for _ in 0..4 {
        leave_one.open();
        leave_two.open();
    }
    for client in &mut clients {
        assert_eq!(client.response().status(), 200);
    }
    held.sort_unstable();
    held
}

#[test]
fn a_busy_server_keeps_its_keys_unless_a_bound_says_otherwise() {
    assert_eq!(held_by_each(""), [0, 4]);
    assert_eq!(held_by_each("hash_bound = 'off'"), [0, 4]);
    assert_eq!(held_by_each("hash_bound = '100%'"), [2, 2]);
}

#[test]
fn requests_without_the_key_are_spread() {
    let servers = numbered(2);
    let gateway = Gateway::start(&hashing(&servers, ""));
    let mut client = gateway.connect();
    let seen: BTreeSet<_> = (0..100)
        .map(|_| client.exchange(request("GET", "/", &[])).text())
        .collect();
    assert_eq!(seen.len(), 2);
}

#[test]
fn by_latency_a_slow_server_gets_few_requests() {
    let slow = Upstream::answering(|_| {
        thread::park_timeout(Duration::from_millis(50)); // this server is slow by design
        ok("slow")
    });
    let quick = Upstream::answering(|_| ok("quick"));
    let gateway =
        Gateway::start(&(upstream_table("app", &[&slow, &quick], "balance = 'peak-ewma'") + ROUTE));
    let mut client = gateway.connect();
    let slow = (0..200)
        .filter(|_| client.exchange(request("GET", "/", &[])).text() == "slow")
        .count();
    assert!((1..20).contains(&slow), "{slow}");
}

/// Upstreams `a` and `b`, and a route that splits its requests between them.
fn split(a: &str, b: &str, weights: (u32, u32), more: &str) -> String {
    format!(
        "[upstreams.a]\nservers = ['{a}']\n[upstreams.b]\nservers = ['{b}']\n[[routes]]\nname = 'app'\n\
         upstream = [{{ name = 'a', weight = {} }}, {{ name = 'b', weight = {} }}]\n{more}\n",
        weights.0, weights.1
    )
}

#[test]
fn a_split_sends_each_upstream_its_share_and_says_which_it_was() {
    let (a, b) = (
        Upstream::answering(|_| ok("a")),
        Upstream::answering(|_| ok("b")),
    );
    let gateway = Gateway::start(&split(&a.url(), &b.url(), (3, 1), ""));
    let mut client = gateway.connect();
    let responses: Vec<_> = (0..600)
        .map(|_| client.exchange(request("GET", "/", &[])).text())
        .collect();
    let of_b = responses.iter().filter(|response| *response == "b").count();
    // Within five standard deviations of the expected number.
    assert!((97..=203).contains(&of_b), "{of_b}");
    for response in &responses[..50] {
        assert_eq!(gateway.access_line()["upstream"], **response);
    }
    let count = |upstream| {
        gateway.metric(
            "tidegate_upstream_duration_seconds_count",
            &[("upstream", upstream)],
        )
    };
    assert_eq!((count("a") + count("b"), count("b")), (600.0, of_b as f64));
}

#[test]
fn a_reload_changes_the_weights_of_a_split_and_keeps_its_connections() {
    let (a, b) = (
        Upstream::answering(|_| ok("a")),
        Upstream::answering(|_| ok("b")),
    );
    let one_worker = "[server]\nworkers = 1";
    let gateway = Gateway::start(&split(&a.url(), &b.url(), (1, 1), one_worker));
    let mut client = gateway.connect();
    for _ in 0..50 {
        client.exchange(request("GET", "/", &[]));
    }
    for (weights, expected) in [((0, 1), "b"), ((1, 0), "a")] {
        gateway.reload_with(&split(&a.url(), &b.url(), weights, one_worker));
        for _ in 0..20 {
            assert_eq!(client.exchange(request("GET", "/", &[])).text(), expected);
        }
    }
    assert_eq!((a.connections(), b.connections()), (1, 1));
}

#[test]
fn retries_stay_within_the_upstream_that_was_drawn() {
    let closed = Closed::new();
    let b = Upstream::answering(|_| ok("b"));
    let gateway = Gateway::start(&split(
        &closed.url(),
        &b.url(),
        (1, 1),
        "retry = { attempts = 3, backoff = '0s' }",
    ));
    let mut client = gateway.connect();
    let statuses: Vec<_> = (0..40)
        .map(|_| client.exchange(request("GET", "/", &[])).status())
        .collect();
    for status in &statuses {
        let line = gateway.access_line();
        let expected = if *status == 502 { ("a", 3) } else { ("b", 1) };
        assert_eq!(
            (
                line["upstream"].as_str().unwrap(),
                line["attempts"].as_u64().unwrap()
            ),
            expected
        );
    }
    let failed = statuses.iter().filter(|status| **status == 502).count();
    assert!((1..40).contains(&failed), "{failed}");
}
