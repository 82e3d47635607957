//! Stopping: requests in flight finish, nothing new is accepted, and the end is
//! bounded and logged.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixDatagram,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::Signal;
use support::{
    Cut, End, Gate, TIMEOUT, Upstream,
    gateway::{Gateway, Start, request, responding, upstream_table},
    ok,
};
use tokio::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A gateway with this `[shutdown]` and two routes: `/` to an upstream, which
/// opens the first gate when a request arrives and responds once the second
/// gate is opened, and `/own`, which responds by itself.
fn held(shutdown: &str) -> (Upstream, Gateway, Gate, Gate) {
    let (entered, leave) = (Gate::new(), Gate::new());
    let (entering, leaving) = (entered.clone(), leave.clone());
    let upstream = Upstream::start(move |mut connection| {
        while connection.request().is_some() {
            entering.open();
            leaving.pass();
            // The request may have been cut.
            let _ = connection.try_send(ok("finished"));
        }
    });
    let text = upstream_table("app", &[&upstream], "")
        + &format!("[shutdown]\n{shutdown}\n[[routes]]\nname = 'app'\nupstream = 'app'\n")
        + &responding("own", "match = { path = '/own' }");
    let gateway = Gateway::start(&text);
    (upstream, gateway, entered, leave)
}

/// Connects until a connection is refused.
#[track_caller]
fn wait_for_closed(address: SocketAddr) {
    let end = Instant::now() + TIMEOUT;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < end, "the gateway still listens");
    }
}

#[test]
fn the_request_in_flight_finishes_and_nothing_new_is_taken() {
    for signal in [Signal::TERM, Signal::INT] {
        let (_upstream, mut gateway, entered, leave) = held("");
        let mut client = gateway.connect();
        client.send(GET);
        entered.pass();
        assert_eq!(gateway.call_admin("GET", "/readyz", &[]).status(), 200);
        gateway.signal(signal);
        let line = gateway.logged("draining");
        assert_eq!(
            (line["drain"].as_str(), line["delay"].as_str()),
            (Some("30s"), Some("0s")),
            "{line}"
        );
        assert_eq!(gateway.call_admin("GET", "/readyz", &[]).status(), 503);
        assert_eq!(gateway.call_admin("GET", "/livez", &[]).status(), 200);
        wait_for_closed(gateway.address());
        leave.open();
        let response = client.response();
        assert_eq!(
            (response.text().as_str(), response.get("connection")),
            ("finished", Some("close"))
        );
        assert_eq!(client.ended(), End::Closed);
        let (status, said) = gateway.wait();
        assert_eq!(status.code(), Some(0));
        assert!(said.iter().any(|line| line.contains("drained")), "{said:?}");
    }
}

#[test]
fn a_response_that_streams_is_finished() {
    let more = Gate::new();
    let gate = more.clone();
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na");
        gate.pass();
        connection.send("b");
    });
    let mut gateway = Gateway::start(&support::one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.send(GET);
    client.head().unwrap();
    assert_eq!(client.bytes(1).unwrap(), b"a");
    gateway.signal(Signal::TERM);
    gateway.logged("draining");
    more.open();
    assert_eq!(client.bytes(1).unwrap(), b"b");
    assert_eq!(client.ended(), End::Closed);
    assert_eq!(gateway.wait().0.code(), Some(0));
}

#[test]
fn idle_connections_close_soon() {
    let mut gateway = Gateway::start(&responding("own", ""));
    let mut clients: Vec<_> = (0..5).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.exchange(GET).status(), 200);
    }
    let asked = Instant::now();
    gateway.signal(Signal::TERM);
    for client in &mut clients {
        assert_eq!(client.ended(), End::Closed);
    }
    assert_eq!(gateway.wait().0.code(), Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
}

#[test]
fn a_request_on_a_new_connection_that_is_not_accepted_yet_is_served() {
    let mut gateway = Gateway::start(&responding("own", ""));
    let mut client = gateway.connect();
    gateway.signal(Signal::TERM);
    gateway.logged("draining");
    assert_eq!(client.exchange(GET).status(), 200);
    assert_eq!(client.ended(), End::Closed);
    assert_eq!(gateway.wait().0.code(), Some(0));
}

/// Connections in the queue of a closed socket must not be reset.
#[test]
fn connected_clients_are_served_during_a_flood_of_new_connections() {
    let mut gateway = Gateway::start(&responding("own", ""));
    let address = gateway.address();
    let (flood, is_over) = (Gate::new(), Arc::new(AtomicBool::new(false)));
    let (begun, stop) = (flood.clone(), Arc::clone(&is_over));
    let flooding = thread::spawn(move || {
        let mut kept = Vec::new();
        while !stop.load(Ordering::Acquire) && kept.len() < 300 {
            let Ok(connection) = TcpStream::connect(address) else {
                break;
            };
            kept.push(connection);
            begun.open();
        }
    });
    flood.pass();
    let mut clients: Vec<_> = (0..100).map(|_| gateway.connect()).collect();
    gateway.signal(Signal::TERM);
    for client in &mut clients {
        client.send(GET);
    }
    for client in &mut clients {
        assert_eq!(
            (client.response().status(), client.ended()),
            (200, End::Closed)
        );
    }
    is_over.store(true, Ordering::Release);
    flooding.join().unwrap();
    assert_eq!(gateway.wait().0.code(), Some(0));
}

#[test]
fn requests_that_take_longer_than_the_drain_are_cut_and_counted() {
    let (_upstream, mut gateway, entered, leave) = held("drain = '200ms'");
    let mut clients: Vec<_> = (0..2).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send(GET);
        entered.pass();
    }
    let asked = Instant::now();
    gateway.signal(Signal::TERM);
    for client in &mut clients {
        assert_eq!(client.head().map(|head| head.line), Err(Cut(Vec::new())));
    }
    let (status, said) = gateway.wait();
    let took = asked.elapsed();
    assert!(
        took >= Duration::from_millis(200) && took < Duration::from_secs(3),
        "{took:?}"
    );
    assert_eq!(status.code(), Some(0));
    let warning = said
        .iter()
        .find(|line| line.contains("are cut"))
        .expect("a warning");
    assert!(
        warning.contains("WARN") && warning.contains("\"cut\":2"),
        "{warning}"
    );
    let lines = gateway.rest_of_access();
    assert_eq!(
        lines.len(),
        2,
        "a cut request has no access line: {lines:?}"
    );
    let is_drained = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["status"] == 503 && line["reason"] == "draining"
    };
    assert!(
        lines.iter().all(|line| is_drained(line)),
        "a cut request is logged as client_gone: {lines:?}"
    );
    (0..2).for_each(|_| leave.open());
}

#[test]
fn a_cut_response_delimited_by_its_connection_ends_in_a_reset() {
    let leave = Gate::new();
    let leaving = leave.clone();
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
        leaving.pass();
    });
    let mut gateway = Gateway::start(&format!(
        "[shutdown]\ndrain = '100ms'\n{}",
        support::one_route(&upstream, "")
    ));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    client.head().unwrap();
    assert_eq!(client.bytes(5).unwrap(), b"hello");
    gateway.signal(Signal::TERM);
    assert_eq!(client.ended(), End::Reset);
    assert_eq!(gateway.wait().0.code(), Some(0));
    leave.open();
}

#[test]
fn during_the_delay_new_connections_are_served() {
    let (_upstream, mut gateway, ..) = held("delay = '500ms'");
    let asked = Instant::now();
    gateway.signal(Signal::TERM);
    gateway.logged("draining");
    assert_eq!(gateway.call_admin("GET", "/readyz", &[]).status(), 503);
    let mut client = gateway.connect();
    let response = client.exchange(request("GET", "/own", &[]));
    assert_eq!(
        (response.text().as_str(), response.get("connection")),
        ("own", None)
    );
    assert_eq!(client.ended(), End::Closed);
    assert_eq!(gateway.wait().0.code(), Some(0));
    assert!(
        asked.elapsed() >= Duration::from_millis(500) && asked.elapsed() < Duration::from_secs(3)
    );
}

#[test]
fn a_second_signal_stops_at_once_with_status_1() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM)] {
        let (_upstream, mut gateway, entered, leave) = held("delay = '20s'");
        let mut client = gateway.connect();
        client.send(GET);
        entered.pass();
        gateway.signal(first);
        gateway.logged("draining");
        let asked = Instant::now();
        gateway.signal(second);
        assert_eq!(client.head().map(|head| head.line), Err(Cut(Vec::new())));
        let (status, said) = gateway.wait();
        assert_eq!(status.code(), Some(1));
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{:?}",
            asked.elapsed()
        );
        let warning = said
            .iter()
            .find(|line| line.contains("second signal"))
            .expect("a warning");
        assert!(
            warning.contains("\"cut\":1"),
            "not one cut connection: {warning}"
        );
        leave.open();
    }
}

#[test]
fn a_hangup_while_draining_ends_nothing() {
    let (_upstream, mut gateway, entered, leave) = held("");
    let mut client = gateway.connect();
    client.send(GET);
    entered.pass();
    gateway.signal(Signal::TERM);
    gateway.logged("draining");
    gateway.signal(Signal::HUP);
    wait_for_closed(gateway.address());
    leave.open();
    assert_eq!(client.response().text(), "finished");
    assert_eq!(gateway.wait().0.code(), Some(0));
}

#[test]
fn systemd_is_notified_of_readiness_reloads_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let hear = || {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).expect("a notification");
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    let mut gateway = Start::new(&responding("r", ""))
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .go();
    assert_eq!(hear(), "READY=1");
    assert_eq!(gateway.status("/"), 200);
    gateway.signal(Signal::HUP);
    let reloading = hear();
    assert!(
        reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(hear(), "READY=1");
    gateway.signal(Signal::TERM);
    assert_eq!(hear(), "STOPPING=1");
    assert_eq!(gateway.wait().0.code(), Some(0));
}
