//! Health: failing servers are ejected, recovered ones get requests again, and
//! clients notice neither.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use rustix::process::Signal;
use serde_json::Value;
use support::{
    Client, RaisedAtEnd, TIMEOUT, Upstream,
    gateway::{Closed, Gateway, request, responding, upstream_table},
    ok,
};
use tokio::time::Instant;

const FAILED: &str = "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n";

/// An upstream `app` with these servers, used in turns, and a route to it
/// without retries.
fn turns(servers: &[&Upstream], more: &str) -> String {
    upstream_table("app", servers, &format!("balance = 'round-robin'\n{more}"))
        + "[[routes]]\nname = 'app'\nupstream = 'app'\nretry = { attempts = 1 }\n"
}

/// An upstream that responds with 200 while the flag is set and with 500
/// otherwise, for every path.
fn moody() -> (Upstream, Arc<AtomicBool>) {
    let is_well = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&is_well);
    let upstream = Upstream::answering(move |_| {
        if flag.load(Ordering::SeqCst) {
            ok("well")
        } else {
            FAILED.to_owned()
        }
    });
    (upstream, is_well)
}

/// Number of requests for this path at an upstream.
fn times(upstream: &Upstream, path: &str) -> usize {
    upstream
        .text()
        .matches(&format!("GET {path} HTTP/1.1"))
        .count()
}

/// Waits for at least so many requests for this path.
#[track_caller]
fn await_times(upstream: &Upstream, path: &str, least: usize) {
    let end = Instant::now() + TIMEOUT;
    while times(upstream, path) < least {
        assert!(
            Instant::now() < end,
            "{path} is not requested {least} times"
        );
        thread::yield_now();
    }
}

/// The entry of a server in `/upstreams`.
#[track_caller]
fn view(gateway: &Gateway, server: &Upstream) -> Value {
    let upstreams: Value =
        serde_json::from_str(&gateway.call_admin("GET", "/upstreams", &[]).text()).unwrap();
    let servers = upstreams[0]["servers"].as_array().unwrap();
    servers
        .iter()
        .find(|view| view["url"] == server.url())
        .unwrap()
        .clone()
}

/// Polls the view of a server until it is in this state.
#[track_caller]
fn await_state(gateway: &Gateway, server: &Upstream, state: &str) -> Value {
    let end = Instant::now() + TIMEOUT;
    loop {
        let view = view(gateway, server);
        if view["state"] == state {
            return view;
        }
        assert!(Instant::now() < end, "never {state}: {view}");
    }
}

fn up(gateway: &Gateway, server: &Upstream) -> f64 {
    gateway.metric("tidegate_upstream_server_up", &[("server", &server.url())])
}

#[test]
fn a_server_that_fails_too_often_in_a_row_is_ejected_for_a_while() {
    let ((bad, is_well), good) = (moody(), Upstream::answering(|_| ok("good")));
    let ejection = "ejection = { consecutive_failures = 3, base = '2s' }";
    let gateway = Gateway::start(&turns(&[&bad, &good], ejection));
    is_well.store(false, Ordering::SeqCst);
    for _ in 0..20 {
        gateway.status("/");
    }
    assert_eq!(times(&bad, "/"), 3);
    let logged = gateway.logged("server ejected");
    assert_eq!(
        (&logged["server"], &logged["cause"]),
        (
            &bad.url().into(),
            &"3 failures in a row, the last: status 500".into()
        )
    );
    let seen = view(&gateway, &bad);
    assert_eq!(
        (&seen["state"], &seen["up"], &seen["ejections"]),
        (&"ejected".into(), &false.into(), &1.into())
    );
    assert_eq!(seen["cause"], logged["cause"]);
    assert_eq!((up(&gateway, &bad), up(&gateway, &good)), (0.0, 1.0));
    assert_eq!(
        gateway.metric(
            "tidegate_upstream_ejections_total",
            &[("server", &bad.url())]
        ),
        1.0
    );

    is_well.store(true, Ordering::SeqCst);
    assert_eq!(
        gateway.logged("server is back")["cause"],
        "its ejection is over"
    );
    for _ in 0..20 {
        assert_eq!(gateway.status("/"), 200);
    }
    assert_eq!(times(&bad, "/"), 13);
    assert_eq!(up(&gateway, &bad), 1.0);
}

#[test]
fn a_recovered_server_begins_with_few_requests() {
    let ((bad, is_well), good) = (moody(), Upstream::answering(|_| ok("good")));
    let more = "slow_start = '1h'\nejection = { consecutive_failures = 1, base = '100ms' }";
    let gateway = Gateway::start(&turns(&[&bad, &good], more));
    is_well.store(false, Ordering::SeqCst);
    assert_eq!((0..2).filter(|_| gateway.status("/") == 500).count(), 1);
    is_well.store(true, Ordering::SeqCst);
    await_state(&gateway, &bad, "slow_start");
    let mut client = gateway.connect();
    for _ in 0..300 {
        assert_eq!(client.exchange(request("GET", "/slow", &[])).status(), 200);
    }
    // A tenth of its half instead of the half.
    assert!(
        (1..60).contains(&times(&bad, "/slow")),
        "{}",
        times(&bad, "/slow")
    );
    assert_eq!(up(&gateway, &bad), 1.0);
}

#[test]
fn the_only_server_is_never_ejected() {
    let (bad, is_well) = moody();
    is_well.store(false, Ordering::SeqCst);
    let gateway = Gateway::start(&turns(&[&bad], "ejection = { consecutive_failures = 1 }"));
    for _ in 0..10 {
        assert_eq!(gateway.status("/"), 500);
    }
    assert_eq!(view(&gateway, &bad)["state"], "up");
}

#[test]
fn of_two_servers_that_both_fail_one_is_always_tried() {
    let (one, two) = (
        Upstream::answering(|_| FAILED.to_owned()),
        Upstream::answering(|_| FAILED.to_owned()),
    );
    let gateway = Gateway::start(&turns(
        &[&one, &two],
        "ejection = { consecutive_failures = 1 }",
    ));
    for _ in 0..20 {
        assert_eq!(gateway.status("/"), 500, "a response of a server");
    }
    let states = [&one, &two].map(|server| view(&gateway, server)["state"].clone());
    assert!(
        states.iter().filter(|state| **state == "ejected").count() <= 1,
        "{states:?}"
    );
    gateway.logged("server ejected");
}

#[test]
fn refused_connections_resets_and_silence_count_as_failures() {
    let closed = Closed::new();
    let good = Upstream::answering(|_| ok(""));
    let text = format!(
        "[upstreams.app]\nservers = ['{}', '{}']\nbalance = 'round-robin'\nejection = {{ consecutive_failures = 2 }}\n\
         [[routes]]\nname = 'app'\nupstream = 'app'\nretry = {{ attempts = 1 }}\n",
        closed.url(),
        good.url()
    );
    let gateway = Gateway::start(&text);
    let refused = (0..20).filter(|_| gateway.status("/") == 502).count();
    assert_eq!(refused, 2);
    assert_eq!(
        gateway.logged("server ejected")["cause"],
        "2 failures in a row, the last: connection refused"
    );

    let breaking = Upstream::start(|mut connection| {
        if connection.request().is_some() {
            connection.break_off();
        }
    });
    let gateway = Gateway::start(&turns(
        &[&breaking, &good],
        "ejection = { consecutive_failures = 2 }",
    ));
    let reset = (0..20).filter(|_| gateway.status("/") == 502).count();
    assert_eq!(reset, 2);

    let silent = Upstream::start(|mut connection| {
        connection.request();
        connection.ended();
    });
    for timeouts in [
        "timeouts = { attempt = '100ms' }",
        "timeouts = { total = '100ms' }",
    ] {
        let text = turns(&[&silent, &good], "ejection = { consecutive_failures = 2 }") + timeouts;
        let gateway = Gateway::start(&text);
        let late = (0..20).filter(|_| gateway.status("/") == 504).count();
        assert_eq!(late, 2, "{timeouts}");
        assert_eq!(
            gateway.logged("server ejected")["cause"],
            "2 failures in a row, the last: timed out"
        );
    }
}

#[test]
fn actions_of_clients_do_not_count_as_failures() {
    let (sender, logged) = mpsc::channel();
    let holding = move || {
        let sender = sender.clone();
        Upstream::start(move |mut connection| {
            if connection.head().is_ok() {
                sender.send(()).unwrap();
                let mut rest = Vec::new();
                connection.rest(&mut rest);
            }
        })
    };
    let (one, two) = (holding(), holding());
    let text = turns(&[&one, &two], "ejection = { consecutive_failures = 1 }")
        + "timeouts = { idle = '100ms' }";
    let gateway = Gateway::start(&text);
    for _ in 0..4 {
        let mut client = gateway.connect();
        client.send(request("GET", "/left", &[]));
        logged.recv_timeout(TIMEOUT).unwrap();
        drop(client);
        assert_eq!(gateway.line_of("/left")["status"], 499);
    }
    for _ in 0..4 {
        let mut client = gateway.connect();
        client.send(request("POST", "/slow", &["Content-Length: 9"]) + "1");
        logged.recv_timeout(TIMEOUT).unwrap();
        assert_eq!(client.response().status(), 408);
    }
    for server in [&one, &two] {
        assert_eq!(view(&gateway, server)["ejections"], 0);
    }
}

const CHECK: &str = "health_check = { path = '/up?deep=1', interval = '50ms', timeout = '5s' }";

#[test]
fn a_server_whose_checks_fail_gets_nothing_until_they_pass_again() {
    let ((bad, is_well), (good, _)) = (moody(), moody());
    let gateway = Gateway::start(&turns(&[&bad, &good], CHECK));
    await_times(&bad, "/up?deep=1", 2);
    is_well.store(false, Ordering::SeqCst);
    assert_eq!(
        gateway.logged("server is down")["cause"],
        "3 checks failed, the last: status 500"
    );
    let before = times(&bad, "/");
    for _ in 0..10 {
        assert_eq!(gateway.status("/"), 200);
    }
    assert_eq!(times(&bad, "/"), before);
    let seen = view(&gateway, &bad);
    assert_eq!(
        (&seen["state"], &seen["up"]),
        (&"down".into(), &false.into())
    );
    assert_eq!(up(&gateway, &bad), 0.0);

    is_well.store(true, Ordering::SeqCst);
    assert_eq!(gateway.logged("server is back")["cause"], "2 checks passed");
    for _ in 0..10 {
        assert_eq!(gateway.status("/"), 200);
    }
    assert!(times(&bad, "/") >= before + 4);
}

#[test]
fn a_check_sends_a_request_like_a_client_of_the_server() {
    let (sender, logged) = mpsc::channel();
    let upstream = Upstream::answering(move |request| {
        let _ = sender.send(request.clone());
        ok("")
    });
    let _gateway = Gateway::start(&turns(&[&upstream], CHECK));
    let check = logged.recv_timeout(TIMEOUT).unwrap();
    assert_eq!(check.head.line, "GET /up?deep=1 HTTP/1.1");
    assert_eq!(check.get("host").unwrap(), upstream.address().to_string());
    assert_eq!(check.get("user-agent").unwrap(), "tidegate health check");
}

#[test]
fn a_check_has_the_method_the_host_and_the_fields_that_the_file_names() {
    let (sender, logged) = mpsc::channel();
    let upstream = Upstream::answering(move |request| {
        let _ = sender.send(request.clone());
        ok("")
    });
    let check = "health_check = { path = '/up', method = 'HEAD', host = 'Orders.internal:81', \
                 headers = { x-check = 'yes', user-agent = 'probe' } }";
    let _gateway = Gateway::start(&turns(&[&upstream], check));
    let check = logged.recv_timeout(TIMEOUT).unwrap();
    assert_eq!(check.head.line, "HEAD /up HTTP/1.1");
    for (name, value) in [
        ("host", "orders.internal:81"),
        ("x-check", "yes"),
        ("user-agent", "probe"),
    ] {
        assert_eq!(check.get(name), Some(value), "{name}");
    }
}

#[test]
fn the_statuses_that_pass_a_check_are_those_of_the_file() {
    let upstream = Upstream::answering(|request| match request.target() {
        "/401" => "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
        _ => ok(""),
    });
    let check = |path, statuses| {
        format!("health_check = {{ path = '{path}', statuses = {statuses}, interval = '20ms' }}")
    };
    let gateway = Gateway::start(&turns(&[&upstream], &check("/401", "['401', '5xx']")));
    await_times(&upstream, "/401", 3);
    assert_eq!(view(&gateway, &upstream)["state"], "up");
    gateway.reload_with(&turns(&[&upstream], &check("/200", "['401', '5xx']")));
    let down = await_state(&gateway, &upstream, "down");
    assert_eq!(down["cause"], "3 checks failed, the last: status 200");
}

#[test]
fn a_check_may_ask_another_port_of_the_same_address() {
    let (health, is_well) = moody();
    let upstream = Upstream::answering(|_| ok(""));
    let port = health.address().port();
    let check = format!("health_check = {{ path = '/up', port = {port}, interval = '20ms' }}");
    let gateway = Gateway::start(&turns(&[&upstream], &check));
    await_times(&health, "/up", 2);
    let host = format!("host: {}\r\n", health.address());
    assert!(health.text().to_lowercase().contains(&host));
    is_well.store(false, Ordering::SeqCst);
    await_state(&gateway, &upstream, "down");
    is_well.store(true, Ordering::SeqCst);
    await_state(&gateway, &upstream, "up");
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(times(&upstream, "/up"), 0);
}

#[test]
fn a_tcp_check_passes_once_a_connection_is_made() {
    let closed = Closed::new();
    let silent = Upstream::start(|mut connection| drop(connection.request()));
    let text = format!(
        "[upstreams.app]\nservers = ['{}', '{}']\n\
         health_check = {{ kind = 'tcp', interval = '20ms' }}\n\
         [[routes]]\nname = 'app'\nupstream = 'app'\n",
        silent.url(),
        closed.url()
    );
    let gateway = Gateway::start(&text);
    assert_eq!(
        gateway.logged("server is down")["cause"],
        "1 check failed, the last: connection refused"
    );
    let end = Instant::now() + TIMEOUT;
    while silent.connections() < 3 {
        assert!(Instant::now() < end);
    }
    assert_eq!(view(&gateway, &silent)["state"], "up");
    assert_eq!(silent.text(), "", "nothing is sent");
}

#[test]
fn when_the_checks_of_all_servers_fail_requests_are_refused_at_once() {
    let ((one, is_one_well), (two, is_two_well)) = (moody(), moody());
    is_one_well.store(false, Ordering::SeqCst);
    is_two_well.store(false, Ordering::SeqCst);
    let gateway = Gateway::start(&turns(&[&one, &two], CHECK));
    await_state(&gateway, &one, "down");
    await_state(&gateway, &two, "down");
    let refused = gateway.get("/");
    assert_eq!(
        (refused.status(), refused.get("retry-after")),
        (503, Some("1"))
    );
    assert!(
        refused.problem()["detail"]
            .as_str()
            .unwrap()
            .contains("no server of upstream \"app\" is healthy")
    );
    let line = gateway.line_of("/");
    assert_eq!(
        (&line["reason"], &line["upstream"]),
        (&"no_healthy_server".into(), &"app".into())
    );
    assert_eq!(
        gateway.metric(
            "tidegate_refusals_total",
            &[("reason", "no_healthy_server")]
        ),
        1.0
    );
    assert_eq!(times(&one, "/") + times(&two, "/"), 0);
    is_one_well.store(true, Ordering::SeqCst);
    await_state(&gateway, &one, "up");
    assert_eq!(gateway.status("/"), 200);
}

#[test]
fn the_only_server_is_down_when_its_checks_fail() {
    let (only, is_well) = moody();
    is_well.store(false, Ordering::SeqCst);
    let gateway = Gateway::start(&turns(&[&only], CHECK));
    await_state(&gateway, &only, "down");
    assert_eq!(gateway.status("/"), 503);
}

#[test]
fn the_state_of_servers_outlives_a_reload_and_checks_follow_it() {
    let ((bad, is_well), (good, _)) = (moody(), moody());
    let gateway = Gateway::start(&turns(&[&bad, &good], CHECK));
    is_well.store(false, Ordering::SeqCst);
    await_state(&gateway, &bad, "down");
    let other_path = CHECK.replace("/up?deep=1", "/other");
    gateway.reload_with(&turns(&[&bad, &good], &other_path));
    assert_eq!(view(&gateway, &bad)["state"], "down");
    await_times(&bad, "/other", 2);
    let old = times(&bad, "/up?deep=1");
    await_times(&bad, "/other", 6);
    assert_eq!(times(&bad, "/up?deep=1"), old, "the old checks have ended");
    gateway.reload_with(&turns(&[&bad, &good], ""));
    assert_eq!(
        view(&gateway, &bad)["state"],
        "up",
        "a server without checks is up"
    );

    gateway.reload_with(&turns(
        &[&bad, &good],
        "ejection = { consecutive_failures = 1, base = '1h', max = '1h' }",
    ));
    for _ in 0..4 {
        gateway.status("/");
    }
    assert_eq!(view(&gateway, &bad)["state"], "ejected");
    gateway.reload_with(&turns(&[&bad, &good], "pool = { max_idle = 3 }"));
    assert_eq!(view(&gateway, &bad)["state"], "ejected");
}

#[test]
fn a_server_that_sends_retry_after_is_left_alone_until_then() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let busy = Upstream::answering(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => "HTTP/1.1 503 Busy\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n".to_owned(),
        _ => ok(""),
    });
    let good = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&turns(&[&busy, &good], ""));
    let refused = (0..20).filter(|_| gateway.status("/") == 503).count();
    assert_eq!((refused, calls.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(
        gateway.logged("server cools down")["cause"],
        "it answered 503 with Retry-After for 2 s"
    );
    assert_eq!(view(&gateway, &busy)["state"], "cooling_down");
    assert_eq!(
        gateway.logged("server is back")["cause"],
        "its cool-down is over"
    );
    for _ in 0..10 {
        assert_eq!(gateway.status("/"), 200);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 6);
}

#[test]
fn the_last_server_gets_requests_even_while_it_cools_down() {
    let busy = || {
        Upstream::answering(|_| {
            "HTTP/1.1 503 Busy\r\nretry-after: 60\r\ncontent-length: 0\r\n\r\n".to_owned()
        })
    };
    let (one, two) = (busy(), busy());
    let gateway = Gateway::start(&turns(&[&one, &two], ""));
    for _ in 0..10 {
        assert_eq!(gateway.status("/"), 503);
    }
    assert_eq!(times(&one, "/") + times(&two, "/"), 10);
}

#[test]
fn a_server_that_limits_its_clients_is_left_alone_and_not_ejected() {
    let limited = Upstream::answering(|request| match request.target() {
        "/" => ok(""),
        _ => "HTTP/1.1 429 No\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n".to_owned(),
    });
    let good = Upstream::answering(|_| ok(""));
    let more = "ejection = { consecutive_failures = 1, base = '1h', max = '1h' }";
    let gateway = Gateway::start(&turns(&[&limited, &good], more));
    let refused = (0..20).filter(|_| gateway.status("/limited") == 429);
    assert_eq!(refused.count(), 1);
    assert_eq!(
        gateway.logged("server cools down")["cause"],
        "it answered 429 with Retry-After for 1 s"
    );
    await_state(&gateway, &limited, "up");
    assert_eq!(gateway.status("/"), 200);

    // The statuses are a list.
    let text = turns(&[&limited, &good], "cool_down = true");
    let gateway = Gateway::start(&text);
    let refused = (0..20).filter(|_| gateway.status("/limited") == 429);
    assert_eq!(refused.count(), 10, "`true` is the 503 alone");
}

#[test]
fn an_ejection_counts_the_failures_that_it_lists_and_no_others() {
    let limited = Upstream::answering(|_| "HTTP/1.1 429 No\r\ncontent-length: 0\r\n\r\n".into());
    let (bad, is_well) = moody();
    is_well.store(false, Ordering::SeqCst);
    let good = Upstream::answering(|_| ok(""));
    let ejection = |on: &str| format!("ejection = {{ on = {on}, consecutive_failures = 2 }}");
    let gateway = Gateway::start(&turns(&[&limited, &good], &ejection("['429']")));
    for _ in 0..20 {
        gateway.status("/");
    }
    assert_eq!(times(&limited, "/"), 2);
    assert_eq!(
        gateway.logged("server ejected")["cause"],
        "2 failures in a row, the last: status 429"
    );
    let gateway = Gateway::start(&turns(&[&bad, &good], &ejection("['connect', '503']")));
    for _ in 0..20 {
        gateway.status("/");
    }
    assert_eq!(times(&bad, "/"), 10, "a 500 is not listed");
}

#[test]
fn a_cool_down_can_be_switched_off() {
    let busy = Upstream::answering(|_| {
        "HTTP/1.1 503 Busy\r\nretry-after: 60\r\ncontent-length: 0\r\n\r\n".to_owned()
    });
    let good = Upstream::answering(|_| ok(""));
    let more = "cool_down = false\nejection = { max_percent = 0 }";
    let gateway = Gateway::start(&turns(&[&busy, &good], more));
    let refused = (0..20).filter(|_| gateway.status("/") == 503).count();
    assert_eq!(refused, 10);
}

#[test]
fn a_server_ejected_for_refused_connections_is_back_once_it_accepts_one() {
    let (restarting, good) = (Closed::new(), Upstream::answering(|_| ok("good")));
    let text = format!(
        "[upstreams.app]\nservers = ['{}', '{}']\nbalance = 'round-robin'\n\
         ejection = {{ consecutive_failures = 1, base = '1h', max = '1h' }}\n\
         [[routes]]\nname = 'app'\nupstream = 'app'\n",
        restarting.url(),
        good.url()
    );
    let gateway = Gateway::start(&text);
    for _ in 0..2 {
        assert_eq!(gateway.get("/").text(), "good");
    }
    gateway.logged("server ejected");
    restarting.listen();
    assert_eq!(
        gateway.logged("server is back")["cause"],
        "it takes connections again"
    );
}

/// An upstream that fails below `/broken` with this response, sends 503 with
/// `Retry-After` below `/busy`, breaks off its responses to `/cut`, and
/// otherwise responds with 200.
fn partly_broken(broken: &'static str) -> Upstream {
    Upstream::start(move |mut connection| {
        while let Some(request) = connection.request() {
            let target = request.target();
            if target.starts_with("/cut") {
                connection.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly a part");
                return;
            }
            connection.send(match target {
                target if target.contains("/broken") => broken.to_owned(),
                target if target.starts_with("/busy") => BUSY.to_owned(),
                _ => ok("well"),
            });
        }
    })
}

const BUSY: &str = "HTTP/1.1 503 Busy\r\nretry-after: 60\r\ncontent-length: 0\r\n\r\n";

/// Number of servers, among these, that are ejected or cool down.
#[track_caller]
fn left_alone(gateway: &Gateway, servers: &[&Upstream]) -> usize {
    servers
        .iter()
        .filter(|server| view(gateway, server)["state"] != "up")
        .count()
}

#[test]
fn a_page_that_is_broken_on_all_servers_ejects_none() {
    let servers = [
        partly_broken(FAILED),
        partly_broken(FAILED),
        partly_broken(FAILED),
        partly_broken(FAILED),
    ];
    let servers: Vec<_> = servers.iter().collect();
    for balance in ["round-robin", "least-requests", "peak-ewma"] {
        let gateway = Gateway::start(&turns(&servers, "").replace("round-robin", balance));
        for path in ["/broken/a?x=1", "/broken/a?x=2", "/x/../broken/%61"]
            .iter()
            .cycle()
            .take(60)
        {
            assert_eq!(gateway.status(path), 500);
        }
        assert_eq!(left_alone(&gateway, &servers), 0, "{balance}");
    }
}

#[test]
fn failures_that_a_request_provokes_eject_no_server() {
    for status in [501, 505, 506, 508, 510, 511, 429, 404] {
        let response: &'static str =
            format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n").leak();
        let servers = [partly_broken(response), partly_broken(response)];
        let servers: Vec<_> = servers.iter().collect();
        let gateway = Gateway::start(&turns(&servers, "ejection = { consecutive_failures = 2 }"));
        for turn in 0..12 {
            assert_eq!(gateway.status(&format!("/broken/{turn}")), status);
        }
        assert_eq!(left_alone(&gateway, &servers), 0, "{status}");
    }
}

#[test]
fn a_client_that_provokes_cool_downs_takes_out_one_server_at_most() {
    let servers = [
        partly_broken(BUSY),
        partly_broken(BUSY),
        partly_broken(BUSY),
        partly_broken(BUSY),
    ];
    let servers: Vec<_> = servers.iter().collect();
    for paths in [
        vec!["/busy"],
        vec![
            "/busy/1", "/busy/2", "/busy/3", "/busy/4", "/busy/5", "/busy/6", "/busy/7",
        ],
    ] {
        let gateway = Gateway::start(&turns(&servers, ""));
        for path in paths.iter().cycle().take(21) {
            gateway.status(path);
            gateway.status("/well");
            assert!(left_alone(&gateway, &servers) <= 1, "{path}");
        }
    }
}

#[test]
fn a_server_that_breaks_off_its_responses_is_ejected() {
    let (cutting, good) = (partly_broken(FAILED), Upstream::answering(|_| ok("good")));
    let gateway = Gateway::start(&turns(
        &[&cutting, &good],
        "ejection = { consecutive_failures = 3 }",
    ));
    for _ in 0..12 {
        let mut client = gateway.connect();
        client.send(request("GET", "/cut", &["Connection: close"]));
        let mut response = Vec::new();
        client.rest(&mut response);
    }
    assert_eq!(times(&cutting, "/cut"), 3);
    assert_eq!(
        gateway.logged("server ejected")["cause"],
        "3 failures in a row, the last: an answer that broke off"
    );
}

/// Sends GETs on keep-alive connections while `meanwhile` runs and for a while
/// after. Returns the statuses other than 200.
fn errors_under_load(gateway: &Gateway, meanwhile: impl FnOnce()) -> Vec<String> {
    let (address, is_over, count) = (
        gateway.address(),
        AtomicBool::new(false),
        AtomicUsize::new(0),
    );
    let (is_over, count) = (&is_over, &count);
    let until = |least: usize| {
        let end = Instant::now() + TIMEOUT;
        while count.load(Ordering::SeqCst) < least && Instant::now() < end {
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(move || {
                    let mut client = Client::connect(address);
                    let mut errors = Vec::new();
                    while !is_over.load(Ordering::SeqCst) {
                        let response = client.exchange(request("GET", "/", &[]));
                        count.fetch_add(1, Ordering::SeqCst);
                        if response.status() != 200 {
                            errors.push(response.text());
                        }
                    }
                    errors
                })
            })
            .collect();
        let over = RaisedAtEnd(is_over);
        until(500);
        meanwhile();
        until(count.load(Ordering::SeqCst) + 1000);
        drop(over);
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    })
}

/// Kills one of two servers under load, with this `[routes.retry]`.
#[track_caller]
fn kill_one_of_two(retry: &str) {
    let (mut one, two) = (
        Gateway::start(&responding("one", "")),
        Gateway::start(&responding("two", "")),
    );
    let text = format!(
        "[upstreams.app]\nservers = ['http://{}', 'http://{}']\n[[routes]]\nname = 'app'\nupstream = 'app'\n{retry}\n",
        one.address(),
        two.address()
    );
    let gateway = Gateway::start(&text);
    let errors = errors_under_load(&gateway, || one.signal(Signal::KILL));
    assert_eq!(errors, Vec::<String>::new());
    one.wait();
    assert_eq!(
        gateway.logged("server ejected")["server"],
        format!("http://{}", one.address())
    );
}

#[test]
fn a_server_that_is_killed_under_load_costs_clients_no_error() {
    kill_one_of_two("retry = { on = ['connect', 'reset'] }");
}
