//! Connections are pooled, bounded and closed as configured, and servers get
//! their share of requests.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    ONE_WORKER,
    support::{
        Client, Gate, TIMEOUT, Upstream,
        gateway::{Closed, Gateway, request, responding, upstream_table},
        ok, one_route,
    },
};

/// One upstream with this `pool`, and a route to it.
fn pooled(upstream: &Upstream, pool: &str) -> String {
    let tables = upstream_table("app", &[upstream], &format!("[upstreams.app.pool]\n{pool}"));
    format!("{tables}[[routes]]\nname = 'app'\nupstream = 'app'\nretry = {{ attempts = 1 }}\n")
}

/// An upstream that reports every request and the end of every connection to
/// the channel, and responds once the gate is opened.
fn held() -> (Upstream, mpsc::Receiver<&'static str>, Gate) {
    let (report, events) = mpsc::channel();
    let leave = Gate::new();
    let gate = leave.clone();
    let upstream = Upstream::start(move |mut connection| {
        while connection.request().is_some() {
            // The receiver is gone after the end of the test.
            let _ = report.send("request");
            gate.pass();
            connection.send(ok(""));
        }
        let _ = report.send("end");
    });
    (upstream, events, leave)
}

/// Number of requests that an upstream received.
fn share(upstream: &Upstream) -> usize {
    upstream.text().matches("GET /").count()
}

#[test]
fn requests_one_after_the_other_use_one_connection() {
    let upstream = Upstream::answering(|_| ok("hello"));
    let gateway = Gateway::start(&(one_route(&upstream, "") + ONE_WORKER));
    for _ in 0..30 {
        assert_eq!(gateway.status("/"), 200);
    }
    assert_eq!(upstream.connections(), 1);
    let labels = [("upstream", "app"), ("outcome", "success")];
    assert_eq!(
        gateway.metric("tidegate_upstream_connects_total", &labels),
        1.0
    );
    assert_eq!(
        gateway.metric(
            "tidegate_upstream_connections",
            &[("upstream", "app"), ("state", "idle")]
        ),
        1.0
    );
    assert_eq!(
        gateway.metric(
            "tidegate_upstream_connections",
            &[("upstream", "app"), ("state", "active")]
        ),
        0.0
    );
}

#[test]
fn a_connection_with_close_is_not_pooled() {
    let upstream = Upstream::answering(|_| {
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned()
    });
    let gateway = Gateway::start(&(one_route(&upstream, "") + ONE_WORKER));
    for _ in 0..3 {
        assert_eq!(gateway.status("/"), 200);
    }
    assert_eq!(upstream.connections(), 3);
}

#[test]
fn unsolicited_bytes_are_never_read_as_a_response() {
    let upstream = Upstream::answering(|_| ok("mine") + &ok("not yours"));
    let gateway = Gateway::start(&(one_route(&upstream, "") + ONE_WORKER));
    for _ in 0..5 {
        assert_eq!(gateway.get("/").text(), "mine");
    }
}

#[test]
fn beyond_max_connections_a_request_waits_a_bounded_time_and_is_refused() {
    let (upstream, events, leave) = held();
    let gateway = Gateway::start(&pooled(
        &upstream,
        "max_connections = 1\nwait_timeout = '150ms'",
    ));
    let mut first = gateway.sent("/first", &[]);
    events.recv_timeout(TIMEOUT).unwrap();
    let asked = Instant::now();
    let refused = gateway.get("/second");
    let took = asked.elapsed();
    assert_eq!(
        (refused.status(), refused.get("retry-after").is_some()),
        (503, true)
    );
    assert!(
        took >= Duration::from_millis(150) && took < Duration::from_secs(1),
        "{took:?}"
    );
    assert_eq!(gateway.line_of("/second")["reason"], "pool_timeout");
    leave.open();
    assert_eq!(first.response().status(), 200);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_waiting_request_gets_a_returned_connection_of_any_worker() {
    let (upstream, events, leave) = held();
    let gateway = Gateway::start(&pooled(
        &upstream,
        "max_connections = 1\nwait_timeout = '10s'",
    ));
    let mut clients: Vec<_> = (0..8)
        .map(|index| gateway.sent(&format!("/{index}"), &[]))
        .collect();
    for _ in 0..8 {
        assert_eq!(events.recv_timeout(TIMEOUT).unwrap(), "request");
        assert!(events.try_recv().is_err(), "one at a time");
        leave.open();
    }
    for client in &mut clients {
        assert_eq!(client.response().status(), 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn no_more_than_max_idle_connections_are_pooled() {
    let (upstream, events, leave) = held();
    let gateway = Gateway::start(&pooled(&upstream, "max_idle = 1"));
    let mut clients: Vec<_> = (0..3).map(|_| gateway.sent("/", &[])).collect();
    for _ in 0..3 {
        assert_eq!(events.recv_timeout(TIMEOUT).unwrap(), "request");
    }
    assert_eq!(upstream.connections(), 3);
    (0..3).for_each(|_| leave.open());
    for client in &mut clients {
        assert_eq!(client.response().status(), 200);
    }
    for _ in 0..2 {
        assert_eq!(events.recv_timeout(TIMEOUT).unwrap(), "end");
    }
    let kept = [("upstream", "app"), ("state", "idle")];
    assert_eq!(gateway.metric("tidegate_upstream_connections", &kept), 1.0);
}

#[test]
fn an_idle_connection_is_closed_after_idle_timeout() {
    let (upstream, events, leave) = held();
    let gateway = Gateway::start(&pooled(&upstream, "idle_timeout = '100ms'"));
    leave.open();
    assert_eq!(gateway.status("/"), 200);
    let answered = Instant::now();
    assert_eq!(events.recv_timeout(TIMEOUT).unwrap(), "request");
    assert_eq!(events.recv_timeout(TIMEOUT).unwrap(), "end");
    assert!(
        answered.elapsed() >= Duration::from_millis(95)
            && answered.elapsed() < Duration::from_secs(6)
    );
}

#[test]
fn a_connection_is_replaced_after_max_lifetime_however_busy_it_is() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&(pooled(&upstream, "max_lifetime = '150ms'") + ONE_WORKER));
    let begun = Instant::now();
    let mut client = gateway.connect();
    while begun.elapsed() < Duration::from_millis(500) {
        assert_eq!(client.exchange(request("GET", "/", &[])).status(), 200);
    }
    assert!(
        (3..=4).contains(&upstream.connections()),
        "{}",
        upstream.connections()
    );
}

#[test]
fn in_turns_each_server_gets_exactly_its_weight() {
    let servers: Vec<_> = (0..3).map(|_| Upstream::answering(|_| ok(""))).collect();
    let text = format!(
        "[upstreams.app]\nbalance = 'round-robin'\nservers = [{{ url = '{}', weight = 3 }}, '{}', {{ url = '{}', weight = 2 }}]\n\
         [[routes]]\nname = 'app'\nupstream = 'app'\n",
        servers[0].url(),
        servers[1].url(),
        servers[2].url()
    );
    let gateway = Gateway::start(&text);
    for _ in 0..60 {
        assert_eq!(gateway.status("/"), 200);
    }
    assert_eq!(servers.iter().map(share).collect::<Vec<_>>(), [30, 10, 20]);
}

#[test]
fn of_two_servers_the_less_busy_one_is_chosen() {
    // One of the two servers holds a request. The choice compares two different
    // servers, so none of the other requests goes there.
    let hold = Gate::new();
    let gate = hold.clone();
    let (report, events) = mpsc::channel();
    let report = Mutex::new(report);
    let busy = Upstream::answering(move |request| {
        if request.target() == "/held" {
            report.lock().unwrap().send(()).unwrap();
            gate.pass();
        }
        ok("")
    });
    let free = Upstream::answering(|_| ok(""));
    let text = upstream_table("app", &[&busy, &free], "balance = 'least-requests'")
        + "[[routes]]\nname = 'app'\nupstream = 'app'\n";
    let gateway = Gateway::start(&text);
    let mut held: Vec<_> = Vec::new();
    while held.is_empty() {
        let mut client = gateway.sent("/held", &[]);
        // The request reached the busy server, or was served by the other one.
        if events.recv_timeout(Duration::from_millis(100)).is_ok() {
            held.push(client);
        } else {
            assert_eq!(client.response().status(), 200);
        }
    }
    let before = share(&busy);
    for _ in 0..200 {
        assert_eq!(gateway.status("/"), 200);
    }
    let share = share(&busy) - before;
    assert_eq!(share, 0, "requests that went to the busy server");
    held.iter().for_each(|_| hold.open());
    held.iter_mut()
        .for_each(|client| assert_eq!(client.response().status(), 200));
}

#[test]
fn an_upstream_that_hangs_stalls_no_other() {
    let (slow, events, leave) = held();
    let quick = Upstream::answering(|_| ok("quick"));
    let closed = Closed::new();
    let text = upstream_table("slow", &[&slow], "")
        + &upstream_table("quick", &[&quick], "")
        + &format!("[upstreams.gone]\nservers = ['{}']\n", closed.url())
        + "[[routes]]\nname = 'slow'\nupstream = 'slow'\nmatch = { path = '/slow' }\n\
           [[routes]]\nname = 'gone'\nupstream = 'gone'\nmatch = { path = '/gone' }\n\
           [[routes]]\nname = 'quick'\nupstream = 'quick'\n"
        + &responding("own", "match = { path = '/own' }");
    let gateway = Gateway::start(&text);
    let mut waiting: Vec<_> = (0..50).map(|_| gateway.sent("/slow", &[])).collect();
    for _ in 0..50 {
        events.recv_timeout(TIMEOUT).unwrap();
    }
    let asked = Instant::now();
    for _ in 0..50 {
        assert_eq!(
            (gateway.status("/gone"), gateway.get("/").text().as_str()),
            (502, "quick")
        );
        assert_eq!(gateway.get("/own").text(), "own");
    }
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
    (0..50).for_each(|_| leave.open());
    for client in &mut waiting {
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn the_name_of_a_server_is_looked_up() {
    let upstream = Upstream::answering(|request| ok(request.get("host").unwrap()));
    let text = one_route(&upstream, "request = { preserve_host = false }")
        .replace("127.0.0.1", "localhost");
    let gateway = Gateway::start(&text);
    let response = gateway.get("/");
    assert_eq!(
        (response.status(), response.text()),
        (200, format!("localhost:{}", upstream.address().port()))
    );
}

#[test]
fn a_name_without_an_address_is_a_502_and_is_logged() {
    let text = "[upstreams.app]\nservers = ['http://nowhere.invalid:80']\n[[routes]]\nname = 'app'\nupstream = 'app'\n";
    let gateway = Gateway::start(text);
    assert_eq!(gateway.status("/"), 502);
    assert_eq!(gateway.line_of("/")["reason"], "connect_failed");
    let labels = [("upstream", "app"), ("outcome", "dns")];
    assert!(gateway.metric("tidegate_upstream_connects_total", &labels) >= 1.0);
}

#[test]
fn a_client_that_leaves_closes_its_connection_to_the_server() {
    let (upstream, ended) = {
        let (report, events) = mpsc::channel();
        let upstream = Upstream::start(move |mut connection| {
            connection.expect_request();
            report.send("request").unwrap();
            connection.ended();
            report.send("end").unwrap();
        });
        (upstream, events)
    };
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let client = gateway.sent("/", &[]);
    ended.recv_timeout(TIMEOUT).unwrap();
    drop(client);
    assert_eq!(ended.recv_timeout(TIMEOUT).unwrap(), "end");
    assert_eq!(gateway.line_of("/")["status"], 499);
}

#[test]
fn parallel_requests_never_get_each_others_responses() {
    let upstream = Upstream::answering(|request| ok(request.target()));
    let gateway = Gateway::start(&pooled(
        &upstream,
        "max_connections = 4\nmax_idle = 2\nwait_timeout = '10s'",
    ));
    let (address, number) = (gateway.address(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                for _ in 0..50 {
                    let path = format!("/{}", number.fetch_add(1, Ordering::SeqCst));
                    assert_eq!(client.exchange(request("GET", &path, &[])).text(), path);
                }
            });
        }
    });
    assert!(share(&upstream) == 400);
}
