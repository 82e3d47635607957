//! Limits: a request is admitted or refused by exactly the buckets it belongs to, and a refusal is honest.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use support::{
    Client, Gate, Message, Upstream, ok, one_route,
    policies::{Closed, Running, responding, upstream_table},
};
use tokio::time::Instant;

/// A gateway with the one route `r`, which answers by itself under the one limit `l`.
#[track_caller]
fn one_limit(limit: &str, more: &str) -> Running {
    Running::start(&format!("{more}\n[limits.l]\n{limit}\n{}", responding("r", "limits = ['l']")))
}

/// How many of `tries` requests are admitted.
#[track_caller]
fn admitted(tries: usize, mut ask: impl FnMut() -> Message) -> usize {
    (0..tries).filter(|_| ask().status() == 200).count()
}

#[test]
fn a_burst_is_admitted_and_what_goes_beyond_it_refused() {
    let gateway = one_limit("rate = '1/h'\nburst = 5", "");
    let statuses: Vec<_> = (0..8).map(|_| gateway.status("/")).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429]);
}

#[test]
fn a_burst_that_is_not_given_is_the_number_of_the_rate() {
    let gateway = one_limit("rate = '3/h'", "");
    assert_eq!(admitted(6, || gateway.get("/")), 3);
}

#[test]
fn who_comes_back_after_retry_after_is_admitted() {
    let gateway = one_limit("rate = '1/s'\nburst = 2", "");
    assert_eq!((gateway.status("/"), gateway.status("/")), (200, 200));
    let refused = gateway.get("/");
    let asked = Instant::now();
    assert_eq!((refused.status(), refused.get("retry-after")), (429, Some("1")));
    // The promise is about time itself, so nothing but time can be waited for.
    std::thread::park_timeout(Duration::from_secs(1).saturating_sub(asked.elapsed()) + Duration::from_millis(5));
    assert_eq!(gateway.status("/"), 200);
}

#[test]
fn retry_after_is_the_time_until_a_token_is_back_rounded_up() {
    let gateway = one_limit("rate = '1/h'", "");
    gateway.status("/");
    assert_eq!(gateway.get("/").get("retry-after"), Some("3600"));
    let gateway = one_limit("rate = '100/s'\nburst = 1", "");
    gateway.status("/");
    let refused = std::iter::repeat_with(|| gateway.get("/")).take(50).find(|answer| answer.status() == 429);
    assert!(refused.is_none_or(|answer| answer.get("retry-after") == Some("1")), "never 0");
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
    assert_eq!((&line["reason"], &line["limit"], &line["remaining"]), (&"rate_limited".into(), &"l".into(), &0.into()));
    assert_eq!(line["request_id"], problem["request_id"]);
    let decisions = |decision| {
        gateway.metric("tidegate_limit_decisions_total", &[("limit", "l"), ("route", "r"), ("decision", decision)])
    };
    assert_eq!((decisions("allowed"), decisions("refused")), (1.0, 1.0));
    assert_eq!(gateway.metric("tidegate_refusals_total", &[("route", "r"), ("reason", "rate_limited")]), 1.0);
}

#[test]
fn a_refusal_by_one_limit_takes_from_no_other() {
    let gateway = Running::start(&format!(
        "[limits.wide]\nrate = '1/h'\nburst = 4\n[limits.narrow]\nkey = 'path'\nrate = '1/h'\nburst = 1\n{}",
        responding("r", "limits = ['wide', 'narrow']")
    ));
    assert_eq!(gateway.status("/a"), 200);
    for _ in 0..10 {
        let refused = gateway.get("/a");
        assert_eq!((refused.status(), &refused.problem()["violated-policies"]), (429, &serde_json::json!(["narrow"])));
    }
    // One of four is used: three are left for others.
    let statuses: Vec<_> = ["/b", "/c", "/d", "/e"].iter().map(|path| gateway.status(path)).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    let refused = gateway.get("/a").problem();
    assert_eq!(refused["violated-policies"], serde_json::json!(["wide", "narrow"]));
}

#[test]
fn a_limit_that_two_routes_name_is_one_limit() {
    let gateway = Running::start(&format!(
        "[limits.l]\nrate = '1/h'\nburst = 3\n{}{}",
        responding("a", "match = { path = '/a' }\nlimits = ['l']"),
        responding("b", "match = { path = '/b' }\nlimits = ['l']")
    ));
    let statuses: Vec<_> = ["/a", "/b", "/a", "/b", "/a"].iter().map(|path| gateway.status(path)).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
}

#[test]
fn by_route_each_route_has_a_bucket() {
    let gateway = Running::start(&format!(
        "[limits.l]\nkey = 'route'\nrate = '1/h'\n{}{}",
        responding("a", "match = { path = '/a' }\nlimits = ['l']"),
        responding("b", "match = { path = '/b' }\nlimits = ['l']")
    ));
    let statuses: Vec<_> = ["/a", "/b", "/a", "/b"].iter().map(|path| gateway.status(path)).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[test]
fn each_kind_of_key_tells_requests_apart_by_what_it_names() {
    // For each: two requests of one bucket, and one of another.
    for (key, same, other) in [
        ("'header:x-user'", [("GET", "/", "X-User: a"), ("PUT", "/z", "x-user: a")], ("GET", "/", "X-User: A")),
        ("'host'", [("GET", "/", "Host: h"), ("GET", "/z", "Host: H:81")], ("GET", "/", "Host: i")),
        ("'path'", [("GET", "/p", "A: 1"), ("PUT", "/x/../%70?q", "A: 2")], ("GET", "/q", "A: 1")),
        ("'method'", [("GET", "/p", "A: 1"), ("GET", "/q", "A: 2")], ("PUT", "/p", "A: 1")),
        (
            "['header:x-user', 'path']",
            [("GET", "/p", "X-User: a"), ("PUT", "/p", "X-User: a")],
            ("GET", "/q", "X-User: a"),
        ),
    ] {
        let gateway = one_limit(&format!("key = {key}\nrate = '1/h'"), "");
        let ask = |(method, path, line): (&str, &str, &str)| gateway.ask(method, path, &[line]).status();
        assert_eq!((ask(same[0]), ask(same[1]), ask(other)), (200, 429, 200), "{key}");
    }
}

#[test]
fn parts_of_a_composite_key_are_not_glued_together() {
    let gateway = one_limit("key = ['header:x-a', 'header:x-b']\nrate = '1/h'", "");
    assert_eq!(gateway.ask("GET", "/", &["X-A: 12", "X-B: 3"]).status(), 200);
    assert_eq!(gateway.ask("GET", "/", &["X-A: 1", "X-B: 23"]).status(), 200);
    assert_eq!(gateway.ask("GET", "/", &["X-A: 1", "X-B: 23"]).status(), 429);
}

#[test]
fn without_trusted_proxies_nobody_chooses_who_they_are() {
    let gateway = one_limit("key = 'client-ip'\nrate = '1/h'\nburst = 2", "");
    let lines = ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2", "Forwarded: for=3.3.3.3"];
    assert_eq!(lines.map(|line| gateway.ask("GET", "/", &[line]).status()), [200, 200, 429]);
}

#[test]
fn behind_trusted_proxies_the_client_is_found_from_the_right() {
    let trust = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8', '10.0.0.0/8']";
    let gateway = one_limit("key = 'client-ip'\nrate = '1/h'", trust);
    let ask = |hops: &str| gateway.ask("GET", "/", &[&format!("X-Forwarded-For: {hops}")]).status();
    assert_eq!(ask("1.1.1.1"), 200);
    // Whatever a client puts before its own address, and whichever trusted hops follow.
    for hops in ["9.9.9.9, 1.1.1.1", "1.1.1.1, 10.0.0.1", "8.8.8.8,1.1.1.1,10.1.2.3, 127.0.0.1", "::ffff:1.1.1.1"] {
        assert_eq!(ask(hops), 429, "{hops}");
    }
    assert_eq!(ask("1.1.1.1, 2.2.2.2"), 200);
    // IPv6 clients share a bucket by /64.
    assert_eq!((ask("2001:db8::1"), ask("2001:db8::2"), ask("2001:db8:0:1::1")), (200, 429, 200));
    let line = gateway.access_line();
    assert_eq!(line["client"], "1.1.1.1");
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1"), "{line}");
}

#[test]
fn forwarded_names_the_client_where_that_is_the_chosen_header() {
    let trust = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']\nheader = 'forwarded'";
    let gateway = one_limit("key = 'client-ip'\nrate = '1/h'", trust);
    let ask = |line: &str| gateway.ask("GET", "/", &[line]).status();
    assert_eq!(ask("Forwarded: for=1.1.1.1;proto=https"), 200);
    assert_eq!(ask("Forwarded: for=9.9.9.9, For=\"1.1.1.1:4711\""), 429);
    assert_eq!(ask("Forwarded: for=\"[2001:db8::7]:80\""), 200);
    assert_eq!((ask("X-Forwarded-For: 1.1.1.1"), ask("X-Forwarded-For: 2.2.2.2")), (200, 429), "the peer itself");
}

#[test]
fn a_missing_part_is_replaced_skipped_or_refused() {
    let gateway = one_limit("key = 'header:x-user'\nrate = '1/h'", "");
    assert_eq!((gateway.status("/"), gateway.status("/")), (200, 429), "the client's address by default");
    assert_eq!(gateway.ask("GET", "/", &["X-User:"]).status(), 429, "empty is missing");
    assert_eq!(gateway.ask("GET", "/", &["X-User: 127.0.0.1"]).status(), 200, "and no name is taken for an address");
    let gateway = one_limit("key = 'header:x-user'\nrate = '1/h'\nmissing = 'host'", "");
    assert_eq!((gateway.status("/"), gateway.status("/")), (200, 429));
    assert_eq!(gateway.ask("GET", "/", &["Host: other"]).status(), 200);
    let gateway = one_limit("key = 'header:x-user'\nrate = '1/h'\nmissing = 'skip'", "");
    assert_eq!(admitted(5, || gateway.get("/")), 5);
    let gateway = one_limit("key = 'header:x-user'\nrate = '1/h'\nmissing = 'refuse'\nstatus = 403", "");
    let refused = gateway.get("/");
    assert_eq!((refused.status(), &refused.problem()["violated-policies"]), (403, &serde_json::json!(["l"])));
    assert_eq!(gateway.ask("GET", "/", &["X-User: a"]).status(), 200);
}

#[test]
fn a_limit_refuses_with_the_status_it_was_given() {
    let gateway = one_limit("rate = '1/h'\nstatus = 503", "");
    gateway.status("/");
    let refused = gateway.get("/");
    assert_eq!((refused.status(), refused.get("retry-after")), (503, Some("3600")));
    assert_eq!(refused.problem()["violated-policies"], serde_json::json!(["l"]));
}

#[test]
fn what_the_cap_turned_away_is_given_back() {
    let (entered, leave) = (Gate::new(), Gate::new());
    let (entering, leaving) = (entered.clone(), leave.clone());
    let upstream = Upstream::answering(move |_| {
        entering.open();
        leaving.pass();
        ok("")
    });
    let more = "limits = ['l']\nconcurrency = { max = 1, queue = 1, queue_timeout = '50ms' }";
    let gateway = Running::start(&format!("[limits.l]\nrate = '1/h'\nburst = 3\n{}", one_route(&upstream, more)));
    let mut first = gateway.connect();
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    entered.pass();
    for _ in 0..5 {
        assert_eq!(gateway.get("/").problem()["status"], 503, "the queue's timeout");
    }
    leave.open();
    assert_eq!(first.response().status(), 200);
    leave.open();
    leave.open();
    assert_eq!(admitted(4, || gateway.get("/")), 2, "one of three was used");
}

#[test]
fn what_could_not_be_sent_is_given_back() {
    let nobody = Closed::new();
    let upstream = Upstream::answering(|_| ok(""));
    let text = |url: &str| {
        format!(
            "[limits.l]\nrate = '1/h'\nburst = 3\n[upstreams.app]\nservers = ['{url}']\n\
             [[routes]]\nname = 'app'\nupstream = 'app'\nlimits = ['l']\n[routes.retry]\nattempts = 1\n"
        )
    };
    let gateway = Running::start(&text(&nobody.url()));
    assert_eq!([0; 6].map(|_| gateway.status("/")), [502; 6]);
    gateway.reload_with(&text(&upstream.url()));
    assert_eq!(admitted(5, || gateway.get("/")), 3);
}

#[test]
fn what_a_server_has_seen_is_not_given_back() {
    let upstream = Upstream::answering(|_| "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned());
    let more = "limits = ['l']";
    let gateway = Running::start(&format!("[limits.l]\nrate = '1/h'\nburst = 2\n{}", one_route(&upstream, more)));
    assert_eq!([0; 4].map(|_| gateway.status("/")), [500, 500, 429, 429]);
}

#[test]
fn in_a_full_table_no_stranger_has_a_bucket_of_its_own_and_no_debt_is_forgotten() {
    let gateway = one_limit("key = 'header:x-user'\nrate = '1/h'\nmax_keys = 16", "");
    let mut client = gateway.connect();
    let mut ask = |user: &str| client.exchange(format!("GET / HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\n\r\n")).status();
    for known in 0..16 {
        assert_eq!(ask(&format!("known-{known}")), 200);
    }
    let admitted = (0..1000).filter(|stranger| ask(&format!("stranger-{stranger}")) == 200).count();
    assert!(admitted <= 1, "strangers share one bucket of 1, and {admitted} were admitted");
    for known in 0..16 {
        assert_eq!(ask(&format!("known-{known}")), 429, "known-{known}");
    }
    assert!(gateway.metric("tidegate_limit_keys", &[("limit", "l")]) <= 17.0);
    assert!(gateway.metric("tidegate_limit_evictions_total", &[("limit", "l"), ("kind", "overflow")]) >= 999.0);
}

#[test]
fn many_at_once_are_admitted_no_more_than_the_burst() {
    let upstream = Upstream::answering(|_| ok(""));
    let text = format!(
        "[limits.l]\nrate = '1/h'\nburst = 50\n{}[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n",
        upstream_table("u", &[&upstream], "")
    );
    let gateway = Running::start(&text);
    let address = gateway.address();
    let admitted: usize = std::thread::scope(|scope| {
        let client = move || {
            let mut client = Client::connect(address);
            (0..25).filter(|_| client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status() == 200).count()
        };
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(admitted, 50);
}

#[test]
fn answers_under_a_limit_tell_how_the_nearest_one_stands() {
    let limits = "[limits.wide]\nrate = '100/h'\n[limits.l]\nrate = '1/m'\nburst = 3\n";
    let gateway = Running::start(&format!("{limits}{}", responding("r", "limits = ['wide', 'l']")));
    let first = gateway.get("/");
    assert_eq!(first.get("ratelimit-policy"), Some("\"l\";q=3;w=180"));
    assert_eq!((first.get("ratelimit"), first.get("x-ratelimit-limit")), (Some("\"l\";r=2;t=60"), None));
    gateway.status("/");
    gateway.status("/");
    let refused = gateway.get("/");
    assert_eq!((refused.status(), refused.get("retry-after")), (429, Some("60")));
    assert_eq!(refused.get("ratelimit"), Some("\"l\";r=0;t=60"));
}

#[test]
fn old_clients_are_told_in_the_fields_they_know_and_others_nothing_if_so_wished() {
    for (style, old, new) in [("x-ratelimit", true, false), ("both", true, true), ("off", false, false)] {
        let response = format!("[routes.response]\nlimit_headers = '{style}'\n");
        let limit = "[limits.l]\nrate = '1/m'\nburst = 3\n";
        let gateway = Running::start(&format!("{limit}{}{response}", responding("r", "limits = ['l']")));
        let answer = gateway.get("/");
        let told = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(|name| answer.get(name));
        assert_eq!(told, if old { [Some("3"), Some("2"), Some("60")] } else { [None; 3] }, "{style}");
        assert_eq!(answer.get("ratelimit").is_some(), new, "{style}");
    }
}
