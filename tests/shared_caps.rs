//! Caps that are shared: by the routes to one upstream with priorities, and by
//! tenants who take turns in one queue.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use support::{
    TIMEOUT, Upstream,
    gateway::{Gateway, upstream_table},
    ok,
};

/// Routes by their first path segment, all to one upstream with this cap.
fn routes(upstream: &Upstream, cap: &str, routes: &[(&str, &str)]) -> String {
    let mut text = upstream_table("app", &[upstream], &format!("concurrency = {{ {cap} }}"));
    for (name, more) in routes {
        let route =
            format!("name = '{name}'\nupstream = 'app'\nmatch = {{ path_prefix = '/{name}' }}");
        text += &format!("[[routes]]\n{route}\n{more}\n");
    }
    text
}

#[track_caller]
fn wait_for_queued(gateway: &Gateway, queued: f64) {
    gateway.await_metric("tidegate_upstream_queued", &[("upstream", "app")], queued);
}

#[test]
fn the_cap_of_an_upstream_holds_over_all_its_routes_and_its_refusal_names_it() {
    let (upstream, reached, leave) = Upstream::held();
    let gateway = Gateway::start(&routes(&upstream, "max = 2", &[("a", ""), ("b", "")]));
    let mut inside = [gateway.sent("/a", &[]), gateway.sent("/b", &[])];
    for _ in 0..2 {
        reached.recv_timeout(TIMEOUT).unwrap();
    }
    let refused = gateway.get("/b/more");
    assert_eq!(
        (refused.status(), refused.get("retry-after").is_some()),
        (503, true)
    );
    let detail = "the cap of upstream \"app\" is reached: 2 requests are in flight and 0 may wait";
    assert_eq!(refused.problem()["detail"], detail);
    assert_eq!(gateway.line_of("/b/more")["reason"], "cap");
    let gauge = |name| gateway.metric(name, &[("upstream", "app")]);
    assert_eq!(
        (
            gauge("tidegate_upstream_in_flight"),
            gauge("tidegate_upstream_concurrency_limit")
        ),
        (2.0, 2.0)
    );
    let view: serde_json::Value =
        serde_json::from_slice(&gateway.call_admin("GET", "/upstreams", &[]).body).unwrap();
    let cap = &view[0]["concurrency"];
    assert_eq!(
        (&cap["max"], &cap["limit"], &cap["in_flight"]),
        (&2.into(), &2.into(), &2.into()),
        "{view:#}"
    );
    leave.open();
    leave.open();
    assert_eq!(
        inside.each_mut().map(|client| client.response().status()),
        [200, 200]
    );
    leave.open();
    assert_eq!(gateway.status("/a"), 200, "a released permit is free");
}

#[test]
fn routes_of_a_higher_priority_go_first_and_others_wait_no_longer_than_queue_timeout() {
    let (upstream, reached, leave) = Upstream::held();
    let cap = "max = 1, queue = 8, queue_timeout = '10s'";
    let of = [
        ("low", "priority = 'low'"),
        ("normal", ""),
        ("high", "priority = 'high'"),
    ];
    let gateway = Gateway::start(&routes(&upstream, cap, &of));
    let mut clients = vec![gateway.sent("/low", &[])];
    reached.recv_timeout(TIMEOUT).unwrap();
    for (queued, path) in (1_u8..).zip(["/low/1", "/normal/1", "/high/1", "/high/2", "/normal/2"]) {
        clients.push(gateway.sent(path, &[]));
        wait_for_queued(&gateway, f64::from(queued));
    }
    for expected in ["/high/1", "/high/2", "/normal/1", "/normal/2", "/low/1"] {
        leave.open();
        assert_eq!(reached.recv_timeout(TIMEOUT).unwrap(), expected);
    }
    leave.open();
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(client.response().status(), 200));
}

#[test]
fn in_a_full_queue_a_higher_priority_replaces_the_newest_low_request() {
    let (upstream, reached, leave) = Upstream::held();
    let cap = "max = 1, queue = 1, queue_timeout = '10s'";
    let gateway = Gateway::start(&routes(
        &upstream,
        cap,
        &[("low", "priority = 'low'"), ("high", "priority = 'high'")],
    ));
    let mut first = gateway.sent("/low", &[]);
    reached.recv_timeout(TIMEOUT).unwrap();
    let mut low = gateway.sent("/low/1", &[]);
    wait_for_queued(&gateway, 1.0);
    let mut high = gateway.sent("/high/1", &[]);
    let refused = low.response();
    assert_eq!(
        (refused.status(), refused.get("retry-after").is_some()),
        (503, true)
    );
    leave.open();
    leave.open();
    assert_eq!(
        (first.response().status(), high.response().status()),
        (200, 200)
    );
}

#[test]
fn tenants_take_turns_in_the_queue_over_all_routes_to_an_upstream() {
    let (upstream, reached, leave) = Upstream::held();
    let cap = "max = 1, queue = 8, queue_timeout = '10s', fair_by = 'header:x-tenant'";
    let gateway = Gateway::start(&routes(&upstream, cap, &[("a", ""), ("b", "")]));
    let mut clients = vec![gateway.sent("/a", &["X-Tenant: loud"])];
    reached.recv_timeout(TIMEOUT).unwrap();
    let asked = [
        ("/a/1", "loud"),
        ("/b/2", "loud"),
        ("/a/3", "loud"),
        ("/a/quiet", "quiet"),
        ("/b/none", ""),
    ];
    for (queued, (path, tenant)) in (1_u8..).zip(asked) {
        clients.push(gateway.sent(path, &[&format!("X-Tenant: {tenant}")]));
        wait_for_queued(&gateway, f64::from(queued));
    }
    for expected in ["/a/1", "/a/quiet", "/b/none", "/b/2", "/a/3"] {
        leave.open();
        assert_eq!(reached.recv_timeout(TIMEOUT).unwrap(), expected);
    }
    leave.open();
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(client.response().status(), 200));
}

#[test]
fn in_a_full_queue_the_newest_request_of_the_largest_tenant_is_replaced() {
    let (upstream, reached, leave) = Upstream::held();
    let text = support::one_route(
        &upstream,
        "concurrency = { max = 1, queue = 2, queue_timeout = '10s', fair_by = 'header:x-tenant' }",
    );
    let gateway = Gateway::start(&text);
    let mut first = gateway.sent("/0", &["X-Tenant: loud"]);
    reached.recv_timeout(TIMEOUT).unwrap();
    let mut loud = Vec::new();
    for queued in [1.0, 2.0] {
        loud.push(gateway.sent(&format!("/{queued}"), &["X-Tenant: loud"]));
        gateway.await_metric("tidegate_queued", &[("route", "app")], queued);
    }
    assert_eq!(
        gateway.ask("GET", "/3", &["X-Tenant: loud"]).status(),
        503,
        "the queue is full of the tenant's own requests"
    );
    let mut quiet = gateway.sent("/quiet", &["X-Tenant: quiet"]);
    assert_eq!(loud[1].response().status(), 503);
    let line = gateway.line_of("/2");
    assert_eq!(
        (&line["reason"], line["queue_ms"].is_number()),
        (&"cap".into(), true),
        "{line}"
    );
    for expected in ["/1", "/quiet"] {
        leave.open();
        assert_eq!(reached.recv_timeout(TIMEOUT).unwrap(), expected);
    }
    leave.open();
    assert_eq!(
        [&mut first, &mut loud[0], &mut quiet].map(|client| client.response().status()),
        [200; 3]
    );
}

#[test]
fn a_request_that_waits_for_a_routes_permit_holds_none_of_the_upstream() {
    let (upstream, reached, leave) = Upstream::held();
    let narrow = "concurrency = { max = 1, queue = 4, queue_timeout = '10s' }";
    let gateway = Gateway::start(&routes(
        &upstream,
        "max = 2",
        &[("narrow", narrow), ("wide", "")],
    ));
    let mut clients = vec![gateway.sent("/narrow/1", &[])];
    reached.recv_timeout(TIMEOUT).unwrap();
    clients.push(gateway.sent("/narrow/2", &[]));
    gateway.await_metric("tidegate_queued", &[("route", "narrow")], 1.0);
    clients.push(gateway.sent("/wide", &[]));
    assert_eq!(
        reached.recv_timeout(TIMEOUT).unwrap(),
        "/wide",
        "the upstream's second permit was free"
    );
    (0..3).for_each(|_| leave.open());
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(client.response().status(), 200));
}

#[test]
fn a_retry_keeps_its_permit_and_takes_no_second_one() {
    let responses = std::sync::atomic::AtomicUsize::new(0);
    let upstream = Upstream::answering(move |_| {
        let first = responses.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        if first {
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".into()
        } else {
            ok("")
        }
    });
    let retry = "retry = { on = ['503'], attempts = 2 }";
    let gateway = Gateway::start(&routes(&upstream, "max = 1", &[("a", retry)]));
    assert_eq!(gateway.status("/a"), 200);
    assert_eq!(gateway.line_of("/a")["attempts"], 2);
    assert_eq!(gateway.status("/a"), 200, "the one permit is free again");
}

#[test]
fn a_reload_keeps_requests_in_flight_and_in_the_queue_of_an_upstreams_cap() {
    let (upstream, reached, leave) = Upstream::held();
    let text = |max: u8| {
        routes(
            &upstream,
            &format!("max = {max}, queue = 4, queue_timeout = '10s'"),
            &[("a", "")],
        )
    };
    let gateway = Gateway::start(&text(1));
    let mut clients = vec![gateway.sent("/a/1", &[])];
    reached.recv_timeout(TIMEOUT).unwrap();
    clients.push(gateway.sent("/a/2", &[]));
    wait_for_queued(&gateway, 1.0);
    gateway.reload_with(&text(2));
    assert_eq!(
        reached.recv_timeout(TIMEOUT).unwrap(),
        "/a/2",
        "a higher cap has a permit for the queued request"
    );
    assert_eq!(
        gateway.metric("tidegate_upstream_in_flight", &[("upstream", "app")]),
        2.0
    );
    leave.open();
    leave.open();
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(client.response().status(), 200));
}

#[test]
fn each_upstream_of_a_split_has_its_own_cap_and_a_refusal_names_the_drawn_one() {
    let (full, reached, leave) = Upstream::held();
    let free = Upstream::answering(|_| ok("free"));
    let table = |name, upstream, max: u8| {
        upstream_table(
            name,
            &[upstream],
            &format!("concurrency = {{ max = {max} }}"),
        )
    };
    let split = "upstream = [{ name = 'full', weight = 1 }, { name = 'free', weight = 1 }]";
    let gateway = Gateway::start(&format!(
        "{}{}[[routes]]\nname = 'full'\nupstream = 'full'\nmatch = {{ path = '/full' }}\n\
         [[routes]]\nname = 'split'\n{split}\n",
        table("full", &full, 1),
        table("free", &free, 64)
    ));
    let mut inside = gateway.sent("/full", &[]);
    reached.recv_timeout(TIMEOUT).unwrap();
    let responses: Vec<_> = (0..64).map(|_| gateway.get("/split")).collect();
    let (refused, served): (Vec<_>, Vec<_>) = responses
        .iter()
        .partition(|response| response.status() == 503);
    assert!(
        !refused.is_empty() && !served.is_empty(),
        "64 draws chose the same upstream"
    );
    let detail = "the cap of upstream \"full\" is reached: 1 requests are in flight and 0 may wait";
    assert!(
        refused
            .iter()
            .all(|response| response.problem()["detail"] == detail)
    );
    assert!(served.iter().all(|response| response.text() == "free"));
    assert_eq!(
        gateway.metric("tidegate_upstream_in_flight", &[("upstream", "full")]),
        1.0
    );
    assert_eq!(reached.try_iter().count(), 0);
    leave.open();
    assert_eq!(inside.response().status(), 200);
}
