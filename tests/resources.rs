//! Resources: at the end of file descriptors, places or patience the gateway waits, says so once, and recovers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{thread, time::Duration};

use rustix::process::Signal;
use support::{
    Client,
    policies::{Running, Start, responding},
};
use tokio::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn listener(more: &str, workers: usize) -> String {
    format!("[server]\nworkers = {workers}\n[[listeners]]\nbind = '127.0.0.1:0'\n{more}\n{}", responding("r", ""))
}

/// Lines that say that accepting pauses.
fn pauses(said: &[String]) -> usize {
    said.iter().filter(|line| line.contains("accepting pauses")).count()
}

#[test]
fn without_file_descriptors_accepting_pauses_says_so_once_and_recovers() {
    let mut gateway = Start::new(&listener("max_connections = 1000", 1)).files(64).go();
    let mut served = gateway.connect();
    assert_eq!(served.exchange(GET).status(), 200);
    let others: Vec<_> = (0..100).map(|_| gateway.connect()).collect();
    gateway.logged("accepting pauses");
    let before = gateway.cpu_time();
    // That nothing spins can only be seen over time.
    thread::park_timeout(Duration::from_secs(1));
    let used = gateway.cpu_time() - before;
    let said = gateway.log_so_far();
    assert_eq!(pauses(&said), 0, "it said so already: {said:?}");
    assert!(used < Duration::from_millis(300), "{used:?} of processor time in a second of waiting");
    assert_eq!(served.exchange(GET).status(), 200, "who is in is served");
    drop(others);
    let mut late = gateway.connect();
    assert_eq!(late.exchange(GET).status(), 200);
    gateway.logged("accepting connections again");
    drop((served, late));
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().0.code(), Some(0));
}

#[test]
fn beyond_max_connections_clients_wait_in_the_kernels_queue() {
    let gateway = Running::start(&listener("max_connections = 2", 1));
    let mut inside: Vec<_> = (0..2).map(|_| gateway.connect()).collect();
    for client in &mut inside {
        assert_eq!(client.exchange(GET).status(), 200);
    }
    gateway.logged("accepting pauses");
    let mut waiting = gateway.connect();
    waiting.send(GET);
    for client in &mut inside {
        assert_eq!(client.exchange(GET).status(), 200);
    }
    assert_eq!(gateway.metric("tidegate_connections", &[]), 2.0);
    drop(inside.pop());
    assert_eq!(waiting.response().status(), 200);
}

#[test]
fn a_place_that_is_left_is_free_for_a_client_of_any_worker() {
    let gateway = Running::start(&listener("max_connections = 1", 4));
    let address = gateway.address();
    for _ in 0..40 {
        // More than may be in at once, then nobody: whichever worker's socket the next one comes to must accept it.
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(Client::connect(address).exchange(GET).status(), 200));
            }
        });
    }
}

#[test]
fn a_listener_may_let_more_in_after_a_reload() {
    let gateway = Running::start(&listener("max_connections = 1", 1));
    let mut first = gateway.connect();
    assert_eq!(first.exchange(GET).status(), 200);
    gateway.logged("accepting pauses");
    let mut second = gateway.connect();
    second.send(GET);
    gateway.reload_with(&listener("max_connections = 2", 1));
    assert_eq!((second.response().status(), first.exchange(GET).status()), (200, 200));
}

#[test]
fn a_thousand_idle_connections_cost_little_memory_and_no_time() {
    let gateway = Running::start(&listener("", 2));
    let address = gateway.address();
    let mut warm = gateway.connect();
    assert_eq!(warm.exchange(GET).status(), 200);
    let before = gateway.resident();
    let mut idle: Vec<_> = (0..1000).map(|_| Client::connect(address)).collect();
    for client in &mut idle {
        client.send(GET);
    }
    for client in &mut idle {
        assert_eq!(client.response().status(), 200);
    }
    let grown = gateway.resident().saturating_sub(before);
    assert!(grown < 15 * 1024, "{grown} KiB for 1,000 idle connections");
    let before = gateway.cpu_time();
    thread::park_timeout(Duration::from_secs(1));
    let used = gateway.cpu_time() - before;
    assert!(used < Duration::from_millis(200), "{used:?}");
    assert_eq!(warm.exchange(GET).status(), 200);
}

/// Names are looked up by threads of their own, and a look at the files twice a second must not keep those in turns.
#[test]
fn threads_that_looked_names_up_end_though_files_are_looked_at_all_the_time() {
    let gateway = Start::new(&listener("", 1)).go();
    let before = gateway.threads();
    let upstream = |at: u16| format!("[upstreams.u{at}]\nservers = ['http://localhost:{}']\n", 9000 + at);
    let named: String = (0..16).map(upstream).collect();
    gateway.reload_with(&listener(&named, 1));
    gateway.reload_with(&listener("", 1));
    let end = Instant::now() + Duration::from_secs(25);
    // The one that looks may have come since.
    while gateway.threads() > before + 1 {
        assert!(Instant::now() < end, "{} threads, {before} before", gateway.threads());
        // The process is looked at from outside and not too often: asking it would keep it busy.
        thread::park_timeout(Duration::from_millis(20));
    }
}
