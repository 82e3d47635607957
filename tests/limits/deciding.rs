//! Decisions: bursts, several limits together, full tables, and the content of
//! a refusal.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    admitted, one_limit,
    support::{
        Client, Upstream,
        gateway::{Gateway, responding, upstream_table},
        ok,
    },
};

#[test]
fn a_burst_is_admitted_and_requests_beyond_it_are_refused() {
    let gateway = one_limit("rate = '1/h'\nburst = 5", "");
    let statuses: Vec<_> = (0..8).map(|_| gateway.status("/")).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429]);
}

#[test]
fn the_default_burst_is_the_number_of_the_rate() {
    let gateway = one_limit("rate = '3/h'", "");
    assert_eq!(admitted(6, || gateway.get("/")), 3);
}

#[test]
fn a_client_that_waits_for_retry_after_is_admitted() {
    let gateway = one_limit("rate = '1/s'\nburst = 2", "");
    assert_eq!((gateway.status("/"), gateway.status("/")), (200, 200));
    let refused = gateway.get("/");
    let asked = Instant::now();
    assert_eq!(
        (refused.status(), refused.get("retry-after")),
        (429, Some("1"))
    );
    // `Retry-After` promises real time, and the gateway is a process of its
    // own, so the test has to wait for it.
    std::thread::park_timeout(
        Duration::from_secs(1).saturating_sub(asked.elapsed()) + Duration::from_millis(5),
    );
    assert_eq!(gateway.status("/"), 200);
}

#[test]
fn retry_after_is_the_time_until_a_token_is_back_rounded_up() {
    let gateway = one_limit("rate = '1/h'", "");
    gateway.status("/");
    assert_eq!(gateway.get("/").get("retry-after"), Some("3600"));
    let gateway = one_limit("rate = '100/s'\nburst = 1", "");
    gateway.status("/");
    let refused = std::iter::repeat_with(|| gateway.get("/"))
        .take(50)
        .find(|response| response.status() == 429);
    assert!(
        refused.is_none_or(|response| response.get("retry-after") == Some("1")),
        "never 0"
    );
}

#[test]
fn a_refusal_names_the_limit_the_route_and_the_request() {
    let gateway = one_limit("rate = '1/h'", "");
    gateway.status("/");
    let refused = gateway.ask("GET", "/", &["X-Request-Id: mine-1"]);
    let problem = refused.problem();
    assert_eq!(problem["violated-policies"], serde_json::json!(["l"]));
    assert_eq!(
        (&problem["route"], &problem["request_id"]),
        (&"r".into(), &refused.get("x-request-id").unwrap().into())
    );
    let lines = [gateway.access_line(), gateway.access_line()];
    let line = lines.iter().find(|line| line["status"] == 429).unwrap();
    assert_eq!(
        (&line["reason"], &line["limit"], &line["remaining"]),
        (&"rate_limited".into(), &"l".into(), &0.into())
    );
    assert_eq!(line["request_id"], problem["request_id"]);
    let decisions = |decision| {
        gateway.metric(
            "tidegate_limit_decisions_total",
            &[("limit", "l"), ("route", "r"), ("decision", decision)],
        )
    };
    assert_eq!((decisions("allowed"), decisions("refused")), (1.0, 1.0));
    assert_eq!(
        gateway.metric(
            "tidegate_refusals_total",
            &[("route", "r"), ("reason", "rate_limited")]
        ),
        1.0
    );
}

#[test]
fn a_refusal_by_one_limit_takes_tokens_from_none() {
    let gateway = Gateway::start(&format!(
        "[limits.wide]\nrate = '1/h'\nburst = 4\n[limits.narrow]\nkey = 'path'\nrate = '1/h'\nburst = 1\n{}",
        responding("r", "limits = ['wide', 'narrow']")
    ));
    assert_eq!(gateway.status("/a"), 200);
    for _ in 0..10 {
        let refused = gateway.get("/a");
        assert_eq!(
            (refused.status(), &refused.problem()["violated-policies"]),
            (429, &serde_json::json!(["narrow"]))
        );
    }
    // One of four tokens is used, so three are left.
    let statuses: Vec<_> = ["/b", "/c", "/d", "/e"]
        .iter()
        .map(|path| gateway.status(path))
        .collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    let refused = gateway.get("/a").problem();
    assert_eq!(
        refused["violated-policies"],
        serde_json::json!(["wide", "narrow"])
    );
}

#[test]
fn two_routes_that_name_a_limit_share_it() {
    let gateway = Gateway::start(&format!(
        "[limits.l]\nrate = '1/h'\nburst = 3\n{}{}",
        responding("a", "match = { path = '/a' }\nlimits = ['l']"),
        responding("b", "match = { path = '/b' }\nlimits = ['l']")
    ));
    let statuses: Vec<_> = ["/a", "/b", "/a", "/b", "/a"]
        .iter()
        .map(|path| gateway.status(path))
        .collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
}

#[test]
fn a_limit_refuses_with_its_configured_status() {
    let gateway = one_limit("rate = '1/h'\nstatus = 503", "");
    gateway.status("/");
    let refused = gateway.get("/");
    assert_eq!(
        (refused.status(), refused.get("retry-after")),
        (503, Some("3600"))
    );
    assert_eq!(
        refused.problem()["violated-policies"],
        serde_json::json!(["l"])
    );
}

#[test]
fn in_a_full_table_new_keys_share_a_bucket_and_no_debt_is_forgotten() {
    let gateway = one_limit("key = 'header:x-user'\nrate = '1/h'\nmax_keys = 16", "");
    let mut client = gateway.connect();
    let mut ask = |user: &str| {
        client
            .exchange(format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\n\r\n"
            ))
            .status()
    };
    for known in 0..16 {
        assert_eq!(ask(&format!("known-{known}")), 200);
    }
    let admitted = (0..1000)
        .filter(|new| ask(&format!("new-{new}")) == 200)
        .count();
    assert!(
        admitted <= 1,
        "new keys share one bucket of 1, and {admitted} were admitted"
    );
    for known in 0..16 {
        assert_eq!(ask(&format!("known-{known}")), 429, "known-{known}");
    }
    assert!(gateway.metric("tidegate_limit_keys", &[("limit", "l")]) <= 17.0);
    assert!(
        gateway.metric(
            "tidegate_limit_evictions_total",
            &[("limit", "l"), ("kind", "overflow")]
        ) >= 999.0
    );
}

#[test]
fn known_clients_are_served_during_a_flood_of_made_up_keys() {
    const MADE_UP: usize = 20_000;
    let gateway = one_limit(
        "key = 'header:x-user'\nrate = '1/h'\nburst = 400\nmax_keys = 256",
        "",
    );
    let address = gateway.address();
    let ask = |client: &mut Client, user: &str| {
        client
            .exchange(format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\n\r\n"
            ))
            .status()
    };
    let mut known: Vec<_> = (0..4)
        .map(|at| (format!("known-{at}"), Client::connect(address)))
        .collect();
    for (user, client) in &mut known {
        assert_eq!(ask(client, user), 200);
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (ask, is_over) = (&ask, &is_over);
        for flood in 0..2 {
            scope.spawn(move || {
                let mut client = Client::connect(address);
                let mut names = (0..MADE_UP).map(|at| format!("made-up-{flood}-{at}"));
                while let Some(name) = names.next().filter(|_| !is_over.load(Ordering::Acquire)) {
                    assert!(matches!(ask(&mut client, &name), 200 | 429));
                }
            });
        }
        let known = known.into_iter().map(|(user, mut client)| {
            scope.spawn(move || {
                (1..400).all(|_| ask(&mut client, &user) == 200) && ask(&mut client, &user) == 429
            })
        });
        let known: Vec<_> = known.collect();
        let all: Vec<_> = known
            .into_iter()
            .map(|known| known.join().unwrap())
            .collect();
        is_over.store(true, Ordering::Release);
        assert_eq!(
            all, [true; 4],
            "each known key has the whole of its own bucket and no more"
        );
    });
    assert!(gateway.metric("tidegate_limit_keys", &[("limit", "l")]) <= 257.0);
}

#[test]
fn concurrent_requests_are_bounded_by_the_burst() {
    let upstream = Upstream::answering(|_| ok(""));
    let text = format!(
        "[limits.l]\nrate = '1/h'\nburst = 50\n{}[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n",
        upstream_table("u", &[&upstream], "")
    );
    let gateway = Gateway::start(&text);
    let address = gateway.address();
    let admitted: usize = std::thread::scope(|scope| {
        let client = move || {
            let mut client = Client::connect(address);
            (0..25)
                .filter(|_| {
                    client
                        .exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                        .status()
                        == 200
                })
                .count()
        };
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    assert_eq!(admitted, 50);
}
