//! Limits shared by several real gateways through a real Redis. Every request
//! gets its response, whatever happens to the store.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{process::Command, time::Duration};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use support::{
    Client, Gate, Upstream,
    gateway::{Gateway, Start, responding, upstream_table},
    ok,
    redis::{Redis, cluster, free_port},
};
use tokio::time::Instant;

/// The shared limit `l` on the route `r`, which responds by itself.
fn shared(store: &str, limit: &str) -> String {
    // Far more time than a local store needs, so that a busy machine does not
    // fail the test.
    let timeout = if store.contains("timeout") {
        ""
    } else {
        "timeout = '5s'\n"
    };
    let route = responding("r", "limits = ['l']");
    format!("[store]\n{store}\n{timeout}[limits.l]\nscope = 'shared'\n{limit}\n{route}")
}

fn gateways<const N: usize>(text: &str) -> [Gateway; N] {
    std::array::from_fn(|_| Gateway::start(text))
}

/// Number of admitted requests among `tries`, sent to the gateways in turn.
fn admitted(gateways: &[Gateway], tries: usize) -> usize {
    (0..tries)
        .filter(|index| gateways[index % gateways.len()].status("/") == 200)
        .count()
}

#[test]
fn two_gateways_without_leases_share_one_limit_to_the_request() {
    let redis = Redis::start();
    let text = shared(
        &format!("url = '{}'\nlease = '0%'", redis.url()),
        "rate = '1/h'\nburst = 10",
    );
    let gateways: [_; 2] = gateways(&text);
    assert_eq!(admitted(&gateways, 30), 10);
    let refused = gateways[0].get("/");
    assert_eq!(
        refused.problem()["violated-policies"],
        serde_json::json!(["l"])
    );
    assert_eq!(refused.get("retry-after"), Some("3600"));
    let by_others = redis.run(&["DBSIZE"]);
    assert!(by_others.starts_with(":1"), "one bucket: {by_others}");
}

#[test]
fn with_leases_gateways_never_exceed_the_burst_and_call_seldom() {
    let redis = Redis::start();
    let text = shared(
        &format!("url = '{}'\nlease = '5%'", redis.url()),
        "rate = '1/h'\nburst = 1000",
    );
    let gateways: [_; 2] = gateways(&text);
    let passed = std::thread::scope(|scope| {
        let ask = |address| {
            let mut client = Client::connect(address);
            let mut status = || {
                client
                    .exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    .status()
            };
            (0..700).filter(|_| status() == 200).count()
        };
        let asking = gateways.each_ref().map(|gateway| {
            let address = gateway.address();
            scope.spawn(move || ask(address))
        });
        asking
            .into_iter()
            .map(|asking| asking.join().unwrap())
            .sum::<usize>()
    });
    assert!((900..=1000).contains(&passed), "{passed} of 1000");
    let calls = redis.calls("evalsha");
    assert!(calls <= 140, "{calls} calls for 1400 requests");
    let saved = |by| -> f64 {
        gateways
            .iter()
            .map(|gateway| gateway.metric("tidegate_store_calls_saved_total", &[("by", by)]))
            .sum()
    };
    assert!(saved("lease") > 800.0);
    assert!(saved("refusal") > 300.0, "cached refusals cost no call");
}

/// Refusals count that the store has made, that are known without a call, and
/// of gateways that count for themselves; each gateway bans alone.
#[test]
fn each_gateway_bans_by_the_refusals_that_it_has_made() {
    let redis = Redis::start();
    let ban = "ban = { refusals = 5, within = '1m', for = '10m' }";
    let text = |lease: &str| {
        shared(
            &format!("url = '{}'\nlease = '{lease}'", redis.url()),
            &format!("rate = '1/h'\nburst = 2\nkey = 'header:x-user'\n{ban}"),
        )
    };
    let begun = |gateway: &Gateway| {
        let labels = [("limit", "l"), ("event", "begun")];
        gateway.metric("tidegate_limit_bans_total", &labels)
    };
    for (lease, user) in [("0%", "a"), ("5%", "b")] {
        let gateways: [_; 2] = gateways(&text(lease));
        let ask = |gateway: &Gateway| {
            let lines = [&*format!("X-User: {user}")];
            gateway.ask("GET", "/", &lines)
        };
        let first = [(); 7].map(|()| ask(&gateways[0]).status());
        assert_eq!(first, [200, 200, 429, 429, 429, 429, 429]);
        assert_eq!([begun(&gateways[0]), begun(&gateways[1])], [1.0, 0.0]);
        let calls = redis.calls("evalsha");
        assert_eq!(ask(&gateways[0]).status(), 429);
        assert_eq!(gateways[0].line_of("/")["limit"], "l");
        assert_eq!(redis.calls("evalsha"), calls, "a ban costs no call");
        assert_eq!(ask(&gateways[1]).status(), 429);
        assert_eq!([begun(&gateways[0]), begun(&gateways[1])], [1.0, 0.0]);
    }
}

#[test]
fn without_a_decision_of_the_store_nobody_is_banned() {
    let mut redis = Redis::start();
    let ban = "ban = { refusals = 1, within = '1m', for = '10m' }";
    let text = shared(
        &format!("url = '{}'\non_error = 'deny'", redis.url()),
        &format!("rate = '100/h'\n{ban}"),
    );
    let gateway = Gateway::start(&text);
    redis.kill();
    assert_eq!([(); 5].map(|()| gateway.status("/")), [503; 5]);
    redis.restart();
    let end = Instant::now() + Duration::from_secs(20);
    while gateway.status("/") != 200 {
        assert!(Instant::now() < end, "the store is back");
    }
}

#[test]
fn a_shared_and_a_local_limit_decide_together() {
    let redis = Redis::start();
    let text = format!(
        "[store]\nurl = '{}'\ntimeout = '5s'\nlease = '0%'\n[limits.wide]\nrate = '1/h'\nburst = 4\n\
         [limits.narrow]\nscope = 'shared'\nkey = 'path'\nrate = '1/h'\nburst = 1\n{}",
        redis.url(),
        responding("r", "limits = ['wide', 'narrow']")
    );
    let gateway = Gateway::start(&text);
    assert_eq!(gateway.status("/a"), 200);
    for _ in 0..10 {
        assert_eq!(
            gateway.get("/a").problem()["violated-policies"],
            serde_json::json!(["narrow"])
        );
    }
    let statuses: Vec<_> = ["/b", "/c", "/d", "/e"]
        .iter()
        .map(|path| gateway.status(path))
        .collect();
    assert_eq!(
        statuses,
        [200, 200, 200, 429],
        "a refusal by the shared one takes nothing from the local one"
    );
    let narrow = gateway.get("/e").problem();
    assert_eq!(narrow["violated-policies"], serde_json::json!(["wide"]));
}

#[test]
fn of_a_shared_and_a_local_limit_with_as_many_tokens_left_the_slower_one_is_stated() {
    let redis = Redis::start();
    for shared in ["quick", "slow"] {
        let scope = |limit| {
            if limit == shared {
                "scope = 'shared'\n"
            } else {
                ""
            }
        };
        let text = format!(
            "[store]\nurl = '{}'\ntimeout = '5s'\nlease = '0%'\n\
             [limits.quick]\n{}rate = '1/m'\nburst = 4\n\
             [limits.slow]\n{}rate = '1/h'\nburst = 4\n{}",
            redis.url(),
            scope("quick"),
            scope("slow"),
            responding("r", "limits = ['quick', 'slow']")
        );
        let response = Gateway::start(&text).get("/");
        assert_eq!(
            response.get("ratelimit"),
            Some("\"slow\";r=3;t=3600"),
            "with `{shared}` in the store"
        );
    }
}

#[test]
fn costs_overrides_tiers_and_counted_responses_are_shared_too() {
    let redis = Redis::start();
    let store = format!("url = '{}'\nlease = '0%'", redis.url());
    let limit = "key = 'header:x-user'\nrate = '1/h'\nburst = 10\ncost = { header = 'x-cost', default = 1, max = 10 }\n\
                 overrides = [{ match = ['big'], rate = '1/h', burst = 20 }, { match = ['free'], rate = 'unlimited' }]";
    let gateways: [_; 2] = gateways(&shared(&store, limit));
    let ask = |index: usize, lines: &[&str]| gateways[index].ask("GET", "/", lines).status();
    assert_eq!(ask(0, &["X-User: a", "X-Cost: 6"]), 200);
    assert_eq!(
        (
            ask(1, &["X-User: a", "X-Cost: 5"]),
            ask(1, &["X-User: a", "X-Cost: 4"])
        ),
        (429, 200)
    );
    assert_eq!(
        (
            ask(0, &["X-User: big", "X-Cost: 10"]),
            ask(1, &["X-User: big", "X-Cost: 10"])
        ),
        (200, 200)
    );
    assert_eq!(ask(0, &["X-User: big"]), 429);
    assert!((0..30).all(|index| ask(index % 2, &["X-User: free", "X-Cost: 10"]) == 200));
}

/// The state of the only bucket of the limit `l` at this gateway, once `holds`
/// holds: settling does not wait for the store.
#[track_caller]
fn await_state(gateway: &Gateway, holds: impl Fn(&serde_json::Value) -> bool) {
    let end = Instant::now() + support::TIMEOUT;
    loop {
        let state = gateway.call_admin("GET", "/limits/l/keys", &[]).text();
        let state = serde_json::from_str(&state).unwrap();
        if holds(&state) {
            return;
        }
        assert!(Instant::now() < end, "{state}");
    }
}

#[test]
fn what_a_request_costs_in_the_end_is_settled_for_all_gateways() {
    let redis = Redis::start();
    let upstream = Upstream::answering(|request| {
        let cost = request.target().trim_start_matches('/');
        format!("HTTP/1.1 200 OK\r\nx-cost: {cost}\r\ncontent-length: 0\r\n\r\n")
    });
    let table = upstream_table("u", &[&upstream], "");
    // With leases, a gateway keeps what comes back for its own next requests.
    for (lease, left, owed, wait) in [("0%", 18, 10, 2700), ("50%", 15, 13, 3240)] {
        redis.run(&["FLUSHALL"]);
        let text = format!(
            "[store]\nurl = '{}'\ntimeout = '5s'\nlease = '{lease}'\n{table}\
             [limits.l]\nscope = 'shared'\nrate = '20/h'\n\
             cost = {{ from = 'response-header:x-cost', reserve = 5 }}\n\
             [[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n",
            redis.url()
        );
        let gateways: [_; 2] = gateways(&text);
        assert_eq!(gateways[0].status("/2"), 200);
        await_state(&gateways[1], |state| state["remaining"] == left);
        assert_eq!(gateways[1].status("/28"), 200);
        await_state(&gateways[0], |state| state["owed"] == owed);
        let refused = gateways[0].get("/1");
        assert_eq!(refused.status(), 429);
        // The wait is for the debt and the five reserved tokens, 180 s for each.
        let told: u64 = refused.get("retry-after").unwrap().parse().unwrap();
        assert!((wait - 10..=wait).contains(&told), "{told}");
        assert_eq!(gateways[1].status("/1"), 429);
    }
}

#[test]
fn parallel_debts_of_one_key_are_all_told_to_the_store() {
    let redis = Redis::start();
    let upstream = Upstream::answering(|_| {
        "HTTP/1.1 200 OK\r\nx-cost: 11\r\ncontent-length: 0\r\n\r\n".to_owned()
    });
    let text = format!(
        "[store]\nurl = '{}'\ntimeout = '5s'\n{}[limits.l]\nscope = 'shared'\nrate = '2000/d'\n\
         cost = {{ from = 'response-header:x-cost' }}\n\
         [[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n",
        redis.url(),
        upstream_table("u", &[&upstream], "")
    );
    let gateways: [_; 2] = gateways(&text);
    std::thread::scope(|scope| {
        for gateway in gateways.iter().cycle().take(8) {
            let mut client = Client::connect(gateway.address());
            let mut ask = move || {
                client
                    .exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    .status()
            };
            scope.spawn(move || assert!((0..10).all(|_| ask() == 200)));
        }
    });
    // 880 were used; those that are held in advance count as used, too.
    await_state(&gateways[0], |state| {
        let left = state["remaining"].as_u64().unwrap();
        (700..=1120).contains(&left)
    });
}

#[test]
fn requests_without_the_key_share_numbers_that_overrides_do_not_change() {
    let redis = Redis::start();
    for (lease, overridden) in [("0%", "'unlimited'"), ("5%", "'1/h'\nburst = 5")] {
        let numbers =
            "rate = '1/h'\nburst = 1\nmissing = { key = 'client-ip', rate = '1/h', burst = 3 }";
        let text = shared(
            &format!("url = '{}'\nlease = '{lease}'", redis.url()),
            &format!("key = 'header:x-key'\n{numbers}"),
        ) + &format!("[[limits.l.overrides]]\nmatch = ['*']\nrate = {overridden}\n");
        let gateways: [_; 2] = gateways(&text);
        assert_eq!(admitted(&gateways, 8), 3, "{overridden}");
        // A key of this round: the store still holds the buckets of the other
        // round.
        let key = format!("X-Key: {lease}");
        let with_key = (0..8)
            .filter(|at| gateways[at % 2].ask("GET", "/", &[&key]).status() == 200)
            .count();
        assert_eq!(
            with_key,
            if overridden.starts_with("'u") { 8 } else { 5 },
            "{overridden}"
        );
        redis.run(&["FLUSHALL"]);
    }
}

/// The gateway's own buckets are unused while the store responds: they are full
/// even for a refused key.
#[test]
fn calls_of_an_operator_view_and_refill_the_shared_bucket() {
    let redis = Redis::start();
    for lease in ["0%", "20%"] {
        let store = format!("url = '{}'\nlease = '{lease}'", redis.url());
        let gateways: [_; 2] = gateways(&shared(
            &store,
            "key = ['header:x-user', 'host']\nrate = '1/h'\nburst = 10",
        ));
        let user = format!("a {lease}");
        let key = format!(
            "/limits/l/keys?key={}&key=a",
            user.replace(' ', "+").replace('%', "%25")
        );
        let asked = |index: usize| {
            gateways[index]
                .ask("GET", "/", &[&format!("X-User: {user}")])
                .status()
        };
        let call = |index: usize, method: &str, path: &str| -> serde_json::Value {
            serde_json::from_slice(&gateways[index].call_admin(method, path, &[]).body).unwrap()
        };
        assert_eq!(asked(0), 200);
        assert_eq!(
            call(1, "GET", &key)["remaining"],
            9,
            "the other gateway sees the refill"
        );
        assert_eq!(call(0, "GET", "/limits/l/top")[0]["remaining"], 9);
        assert_eq!(call(0, "GET", "/limits")[0]["scope"], "shared");
        assert!((0..20).any(|index| asked(index % 2) == 429));
        // Ten hours, less the time that the calls have taken.
        let reset = call(0, "GET", &key)["reset_seconds"].as_u64().unwrap();
        assert!((35_900..=36_000).contains(&reset), "{reset}");
        let filled = call(1, "DELETE", &key);
        assert_eq!(
            (&filled["remaining"], &filled["reset_seconds"]),
            (&10.into(), &0.into())
        );
        assert_eq!(asked(1), 200);
    }
}

#[test]
fn keys_of_shared_limits_are_listed_at_their_gateway() {
    let redis = Redis::start();
    let store = format!("url = '{}'\nlease = '0%'", redis.url());
    let gateway = Gateway::start(&shared(&store, "key = 'path'\nrate = '1/h'\nburst = 2"));
    for path in ["/a", "/b", "/a"] {
        assert_eq!(gateway.status(path), 200);
    }
    assert_eq!(
        gateway.metric("tidegate_limit_keys", &[("limit", "l")]),
        2.0
    );
}

/// A refusal that is cached under the old burst must not refuse the key for
/// another second.
#[test]
fn a_key_of_a_shared_limit_has_other_numbers_at_once() {
    let redis = Redis::start();
    let limit = "key = 'header:x-user'\nrate = '1/h'\nburst = 20";
    let gateway = Gateway::start(&shared(
        &format!("url = '{}'\nlease = '0%'", redis.url()),
        limit,
    ));
    let asked = || gateway.ask("GET", "/", &["X-User: a"]).status();
    assert_eq!([(); 5].map(|()| asked()), [200; 5]);
    let put = r#"{"rate": "1/h", "burst": 4, "ttl": "1h"}"#;
    let mut client = Client::connect(gateway.admin());
    let head = "PUT /limits/l/keys?key=a HTTP/1.1\r\nHost: localhost\r\n";
    let given = client.exchange(format!("{head}Content-Length: {}\r\n\r\n{put}", put.len()));
    let given: serde_json::Value = serde_json::from_slice(&given.body).unwrap();
    assert_eq!(
        (&given["burst"], &given["remaining"]),
        (&4.into(), &3.into()),
        "a quarter of the bucket is used"
    );
    assert_eq!([(); 4].map(|()| asked()), [200, 200, 200, 429]);
}

#[test]
fn refilling_a_bucket_fails_with_a_message_while_the_store_is_unreachable() {
    let mut redis = Redis::start();
    let gateway = Gateway::start(&shared(
        &format!("url = '{}'", redis.url()),
        "rate = '1/h'\nburst = 10",
    ));
    assert_eq!(gateway.status("/"), 200);
    redis.kill();
    assert_eq!(
        gateway.call_admin("DELETE", "/limits/l/keys", &[]).status(),
        503
    );
    assert_eq!(
        gateway.call_admin("GET", "/limits/l/keys", &[]).status(),
        200,
        "the view shows the gateway's own bucket"
    );
}

#[test]
fn only_counted_responses_take_tokens_at_whichever_gateway() {
    let redis = Redis::start();
    let upstream = Upstream::answering(|request| {
        let is_wrong = request.target() == "/wrong";
        if is_wrong {
            "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n".to_owned()
        } else {
            ok("")
        }
    });
    let text = format!(
        "[store]\nurl = '{}'\ntimeout = '5s'\nlease = '0%'\n[limits.l]\nscope = 'shared'\nrate = '1/h'\nburst = 3\n\
         count = ['401']\n{}[[routes]]\nname = 'r'\nupstream = 'app'\nlimits = ['l']\n",
        redis.url(),
        upstream_table("app", &[&upstream], ""),
    );
    let gateways: [_; 2] = gateways(&text);
    for index in 0..10 {
        assert_eq!(gateways[index % 2].status("/right"), 200);
        // Tokens of responses that do not count are returned in the background.
        // Those of a later request that come back first leave an earlier one
        // with less to return, so that each is waited for.
        let end = Instant::now() + support::TIMEOUT;
        while !redis.run(&["DBSIZE"]).starts_with(":0") {
            assert!(Instant::now() < end, "a token does not come back");
        }
    }
    assert!((0..3).all(|index| gateways[index % 2].status("/wrong") == 401));
    assert_eq!(
        (gateways[0].status("/right"), gateways[1].status("/right")),
        (429, 429)
    );
}

#[test]
fn after_a_refund_the_response_states_the_limit_that_is_nearest_wherever_it_is_kept() {
    let redis = Redis::start();
    let upstream = Upstream::answering(|_| ok(""));
    for (counting, plain) in [("", "scope = 'shared'\n"), ("scope = 'shared'\n", "")] {
        let text = format!(
            "[store]\nurl = '{}'\ntimeout = '5s'\nlease = '0%'\n\
             [limits.counting]\n{counting}rate = '1/h'\nburst = 10\ncount = ['401']\n\
             [limits.plain]\n{plain}rate = '1/h'\nburst = 5\n{}\
             [[routes]]\nname = 'r'\nupstream = 'app'\nlimits = ['counting', 'plain']\n",
            redis.url(),
            upstream_table("app", &[&upstream], ""),
        );
        let gateway = Gateway::start(&text);
        let response = gateway.get("/");
        assert_eq!(response.get("ratelimit"), Some("\"plain\";r=4;t=3600"));
    }
}

#[test]
fn concurrent_guesses_at_several_gateways_are_bounded_by_one_burst() {
    let redis = Redis::start();
    let (entered, leave) = (Gate::new(), Gate::new());
    let (entering, leaving) = (entered.clone(), leave.clone());
    let upstream = Upstream::answering(move |_| {
        entering.open();
        leaving.pass();
        "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n".to_owned()
    });
    let text = format!(
        "[store]\nurl = '{}'\ntimeout = '5s'\n[limits.l]\nscope = 'shared'\nrate = '1/h'\nburst = 4\n\
         count = ['401']\n{}[[routes]]\nname = 'r'\nupstream = 'app'\nlimits = ['l']\n",
        redis.url(),
        upstream_table("app", &[&upstream], ""),
    );
    let gateways: [_; 2] = gateways(&text);
    let mut clients: Vec<_> = (0..20)
        .map(|index| gateways[index % 2].sent("/", &[]))
        .collect();
    (0..4).for_each(|_| entered.pass());
    (0..20).for_each(|_| leave.open());
    let statuses: Vec<_> = clients
        .iter_mut()
        .map(|client| client.response().status())
        .collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 401).count(),
        4,
        "{statuses:?}"
    );
}

#[test]
fn an_unreachable_store_is_logged_once_and_on_error_applies() {
    for (on_error, expected) in [("local", 3), ("allow", 9), ("deny", 0)] {
        let mut redis = Redis::start();
        let store = format!(
            "url = '{}'\nlease = '0%'\non_error = '{on_error}'",
            redis.url()
        );
        let gateway = [Gateway::start(&shared(&store, "rate = '1/h'\nburst = 3"))];
        assert_eq!(admitted(&gateway, 1), 1);
        redis.kill();
        assert_eq!(admitted(&gateway, 9), expected, "{on_error}");
        let warning = gateway[0].logged("the store does not answer");
        assert_eq!(warning["on_error"], on_error);
        assert!(
            warning["cause"]
                .as_str()
                .is_some_and(|cause| !cause.is_empty()),
            "{warning}"
        );
        assert_eq!(gateway[0].metric("tidegate_store_circuit_open", &[]), 1.0);
        assert!(gateway[0].metric("tidegate_store_requests_total", &[("outcome", "open")]) >= 4.0);
        if on_error == "deny" {
            let refused = gateway[0].get("/");
            assert_eq!(
                (refused.status(), refused.get("retry-after")),
                (503, Some("1"))
            );
            let refusals = [("route", "r"), ("reason", "store_unavailable")];
            gateway[0].await_metric("tidegate_refusals_total", &refusals, 10.0);
        }
        redis.restart();
        gateway[0].logged("the store answers again");
        assert_eq!(
            admitted(&gateway, 9),
            3,
            "{on_error}: an emptied store begins with full buckets"
        );
        assert_eq!(gateway[0].metric("tidegate_store_circuit_open", &[]), 0.0);
    }
}

#[test]
fn a_flushed_store_gives_full_buckets_and_flushed_scripts_nothing() {
    let redis = Redis::start();
    let store = format!("url = '{}'\nlease = '0%'", redis.url());
    let limit = "key = 'path'\nrate = '1/h'\nburst = 2";
    let gateway = Gateway::start(&shared(&store, limit));
    assert_eq!(gateway.status("/a"), 200);
    redis.run(&["SCRIPT", "FLUSH"]);
    assert_eq!((gateway.status("/a"), gateway.status("/a")), (200, 429));
    redis.run(&["FLUSHALL"]);
    assert_eq!(
        (
            gateway.status("/b"),
            gateway.status("/b"),
            gateway.status("/b")
        ),
        (200, 200, 429)
    );
    // The gateway trusts its cached view of a bucket for at most a second.
    let begun = Instant::now();
    while gateway.status("/a") != 200 {
        assert!(begun.elapsed() < support::TIMEOUT);
    }
}

#[test]
fn a_store_that_hangs_costs_no_request_more_than_its_timeout() {
    let redis = Redis::start();
    let store = format!(
        "url = '{}'\nlease = '0%'\non_error = 'allow'\ntimeout = '200ms'",
        redis.url()
    );
    let gateway = Gateway::start(&shared(&store, "rate = '1/h'\nburst = 1000"));
    gateway.status("/");
    redis.hang();
    let begun = Instant::now();
    for _ in 0..40 {
        assert_eq!(gateway.status("/"), 200);
    }
    let took = begun.elapsed();
    gateway.logged("the store does not answer");
    redis.go_on();
    assert!(
        took < Duration::from_secs(4),
        "more than five timeouts: {took:?}"
    );
    gateway.logged("the store answers again");
}

#[test]
fn a_wrong_password_is_reported_but_not_shown_and_a_new_one_is_used_at_once() {
    let redis = Redis::with(&["--requirepass", "hunter2"]);
    let store = format!(
        "url = '{}'\npassword_file = 'redis.password'\nlease = '0%'\non_error = 'deny'",
        redis.url()
    );
    let text = shared(&store, "rate = '1/h'\nburst = 3");
    let gateway = Start::new(&text).file("redis.password", "hunter2\n").go();
    assert_eq!(gateway.status("/"), 200);
    std::fs::write(gateway.folder().join("redis.password"), "swordfish\n").unwrap();
    let warning = gateway.logged("the store does not answer").to_string();
    assert!(
        warning.contains("WRONGPASS") || warning.contains("assword"),
        "{warning}"
    );
    assert!(!warning.contains("swordfish"), "{warning}");
    assert!(
        !gateway
            .call_admin("GET", "/config", &[])
            .text()
            .contains("swordfish")
    );
    gateway.logged("configuration reloaded");
    assert_eq!(gateway.status("/"), 503);
    std::fs::write(gateway.folder().join("redis.password"), "hunter2\n").unwrap();
    gateway.logged("configuration reloaded");
    assert_eq!(gateway.status("/"), 200);
}

#[test]
fn a_cluster_shares_limits_whose_buckets_are_on_different_nodes() {
    let nodes = cluster(3);
    let urls: Vec<_> = nodes
        .iter()
        .map(|node| format!("'{}'", node.url()))
        .collect();
    let text = format!(
        "[store]\nurl = [{}]\ntimeout = '5s'\nlease = '0%'\n[limits.all]\nscope = 'shared'\nrate = '1/h'\nburst = 12\n\
         [limits.each]\nscope = 'shared'\nkey = 'path'\nrate = '1/h'\nburst = 1\n{}",
        urls.join(", "),
        responding("r", "limits = ['all', 'each']")
    );
    let gateways: [_; 2] = gateways(&text);
    for index in 0..10 {
        let path = format!("/{index}");
        assert_eq!(
            (
                gateways[index % 2].status(&path),
                gateways[(index + 1) % 2].status(&path)
            ),
            (200, 429)
        );
    }
    let more: Vec<_> = (10..14)
        .map(|index| gateways[index % 2].status(&format!("/{index}")))
        .collect();
    assert_eq!(
        more,
        [200, 200, 429, 429],
        "a refusal by one limit took tokens from the other"
    );
}

#[test]
fn one_dead_node_of_a_cluster_takes_only_its_own_keys_with_it() {
    let mut nodes = cluster(3);
    let urls: Vec<_> = nodes
        .iter()
        .map(|node| format!("'{}'", node.url()))
        .collect();
    let text = format!(
        "[store]\nurl = [{}]\ntimeout = '500ms'\nlease = '0%'\non_error = 'deny'\n\
         [limits.each]\nscope = 'shared'\nkey = 'path'\nrate = '1/h'\nburst = 100\n{}",
        urls.join(", "),
        responding("r", "limits = ['each']")
    );
    let statuses = |gateway: &Gateway| {
        (0..30)
            .map(|index| gateway.status(&format!("/{index}")))
            .collect::<Vec<_>>()
    };
    let gateway = Gateway::start(&text);
    assert!(statuses(&gateway).iter().all(|status| *status == 200));
    nodes[1].kill();
    let detected = statuses(&gateway);
    let warning = gateway
        .logged("a node of the store does not answer")
        .to_string();
    assert!(
        warning.contains(&format!("127.0.0.1:{}", nodes[1].port)),
        "{warning}"
    );
    let after = statuses(&gateway);
    assert_eq!(
        detected, after,
        "the same keys fail before and after the node is left alone"
    );
    assert!(after.contains(&200) && after.contains(&503), "{after:?}");
    let metrics = gateway.call_admin("GET", "/metrics", &[]).text().to_owned();
    for (node, is_open) in nodes.iter().zip([0, 1, 0]) {
        let line = format!(
            "tidegate_store_node_circuit_open{{node=\"127.0.0.1:{}\"}} {is_open}",
            node.port
        );
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    assert!(
        metrics.contains("tidegate_store_circuit_open 1"),
        "{metrics}"
    );
    let later = Gateway::start(&text);
    assert_eq!(
        statuses(&later),
        after,
        "a gateway that starts during the outage is no worse off"
    );
    nodes[1].restart();
    gateway.logged("the node of the store answers again");
    while statuses(&gateway).contains(&503) {}
}

#[test]
fn a_store_can_use_tls_with_the_systems_authorities() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (key, cert) = (path("key.pem"), path("cert.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ])
        .args([
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &key,
            "-out",
            &cert,
        ])
        .output();
    assert!(made.unwrap().status.success());
    let port = free_port();
    let redis = Redis::with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ]);
    let text = shared(
        &format!("url = 'rediss://localhost:{port}'\nlease = '0%'\non_error = 'deny'"),
        "rate = '1/h'\nburst = 2",
    );
    let trusting = Start::new(&text).env("SSL_CERT_FILE", &cert).go();
    assert_eq!(
        (
            trusting.status("/"),
            trusting.status("/"),
            trusting.status("/")
        ),
        (200, 200, 429)
    );
    let doubting = Gateway::start(&text);
    assert_eq!(
        doubting.status("/"),
        503,
        "the store's certificate is not trusted"
    );
    assert!(redis.run(&["DBSIZE"]).starts_with(":1"));
}

#[test]
fn calls_of_the_store_do_not_wait_for_tcp_acknowledgements() {
    let redis = Redis::start();
    let gateway = Gateway::start(&shared(
        &format!("url = '{}'", redis.url()),
        "rate = '1/h'\nburst = 3",
    ));
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(
        nodelay(&gateway, redis.port),
        [true; 2],
        "each worker has a connection"
    );
    let node = Redis::with(&["--cluster-enabled", "yes"]);
    node.run(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    while !node.run(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
        std::thread::yield_now();
    }
    // Two addresses of one node, because a list is a cluster.
    let url = format!(
        "url = ['redis://127.0.0.1:{0}', 'redis://localhost:{0}']",
        node.port
    );
    let gateway = Gateway::start(&shared(&url, "rate = '1/h'\nburst = 3"));
    assert_eq!(gateway.status("/"), 200);
    let all = nodelay(&gateway, node.port);
    assert!(
        !all.is_empty() && all.iter().all(|is_set| *is_set),
        "{all:?}"
    );
}

/// Whether TCP_NODELAY is set on each connection of this gateway to `port`.
fn nodelay(gateway: &Gateway, port: u16) -> Vec<bool> {
    let process = Pid::from_raw(gateway.pid() as i32).unwrap();
    let process = pidfd_open(process, PidfdFlags::empty()).unwrap();
    let numbers = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap();
    let numbers = numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let copy = |number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok();
    let is_set = |file: std::os::fd::OwnedFd| {
        let socket = socket2::SockRef::from(&file);
        let peer = socket.peer_addr().ok()?.as_socket()?;
        (peer.port() == port).then(|| socket.tcp_nodelay().unwrap())
    };
    numbers.filter_map(copy).filter_map(is_set).collect()
}

#[test]
fn a_route_with_quota_tells_what_the_store_has_and_takes_nothing() {
    let redis = Redis::start();
    let text = shared(
        &format!("url = '{}'\nlease = '0%'", redis.url()),
        "rate = '5/h'",
    );
    let app = Gateway::start(&text);
    let quota =
        Gateway::start(&text.replace("respond = { status = 200, body = \"r\" }", "quota = true"));
    assert_eq!([app.status("/"), app.status("/")], [200, 200]);
    let told = |gateway: &Gateway| {
        let body = gateway.get("/").body;
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()["limits"][0].clone()
    };
    for _ in 0..2 {
        let row = told(&quota);
        assert_eq!(
            (&row["limit"], &row["remaining"]),
            (&5.into(), &3.into()),
            "{row}"
        );
    }
    drop(redis);
    assert_eq!(told(&quota)["reason"], "store_unavailable");
}
