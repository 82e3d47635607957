//! Refunds: which requests return their tokens, and which do not.

use super::{
    admitted, decisions,
    support::{
        Gate, Upstream,
        gateway::{Closed, Gateway},
        ok, one_route,
    },
};

#[test]
fn a_request_refused_by_a_cap_returns_its_tokens() {
    let (entered, leave) = (Gate::new(), Gate::new());
    let (entering, leaving) = (entered.clone(), leave.clone());
    let upstream = Upstream::answering(move |_| {
        entering.open();
        leaving.pass();
        ok("")
    });
    let more = "limits = ['l']\nconcurrency = { max = 1, queue = 1, queue_timeout = '50ms' }";
    let gateway = Gateway::start(&format!(
        "[limits.l]\nrate = '1/h'\nburst = 3\n{}",
        one_route(&upstream, more)
    ));
    let mut first = gateway.connect();
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    entered.pass();
    for _ in 0..5 {
        assert_eq!(
            gateway.get("/").problem()["status"],
            503,
            "refused after the queue's timeout"
        );
    }
    leave.open();
    assert_eq!(first.response().status(), 200);
    leave.open();
    leave.open();
    assert_eq!(
        admitted(4, || gateway.get("/")),
        2,
        "one of three tokens was used"
    );
}

#[test]
fn a_request_that_could_not_be_sent_returns_its_tokens() {
    let closed = Closed::new();
    let upstream = Upstream::answering(|_| ok(""));
    let text = |url: &str| {
        format!(
            "[limits.l]\nrate = '1/h'\nburst = 3\n[upstreams.app]\nservers = ['{url}']\n\
             [[routes]]\nname = 'app'\nupstream = 'app'\nlimits = ['l']\n[routes.retry]\nattempts = 1\n"
        )
    };
    let gateway = Gateway::start(&text(&closed.url()));
    assert_eq!([0; 6].map(|_| gateway.status("/")), [502; 6]);
    gateway.reload_with(&text(&upstream.url()));
    assert_eq!(admitted(5, || gateway.get("/")), 3);
}

#[test]
fn a_request_that_a_server_received_returns_nothing() {
    let upstream =
        Upstream::answering(|_| "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned());
    let more = "limits = ['l']";
    let gateway = Gateway::start(&format!(
        "[limits.l]\nrate = '1/h'\nburst = 2\n{}",
        one_route(&upstream, more)
    ));
    assert_eq!([0; 4].map(|_| gateway.status("/")), [500, 500, 429, 429]);
}

#[test]
fn a_request_that_a_server_received_in_an_earlier_attempt_returns_nothing() {
    let closed = Closed::new();
    let busy = Upstream::answering(|_| "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_owned());
    let gateway = Gateway::start(&format!(
        "[limits.l]\nrate = '1/h'\nburst = 3\n[upstreams.app]\nbalance = 'round-robin'\n\
         servers = [{{ url = '{}', weight = 100 }}, '{}']\nejection = {{ consecutive_failures = 1000 }}\n\
         [[routes]]\nname = 'app'\nupstream = 'app'\nlimits = ['l']\n\
         [routes.retry]\nattempts = 2\non = ['503', 'connect']\nbackoff = '0s'\n",
        busy.url(),
        closed.url()
    ));
    let statuses = [0; 5].map(|_| gateway.status("/"));
    assert_eq!(statuses[3..], [429, 429], "{statuses:?}");
    assert!(
        statuses.contains(&502),
        "no last attempt failed to connect: {statuses:?}"
    );
}

#[test]
fn tokens_of_tiers_costs_shadows_and_candidates_are_returned_too() {
    let closed = Closed::new();
    let upstream = Upstream::answering(|_| ok(""));
    let text = |url: &str| {
        format!(
            "{}\n[limits.l]\nkey = 'client-ip'\nrate = '6/h'\ncost = 2\ntiers = [{{ prefix = 56, rate = '8/h' }}]\n\
             candidate = {{ rate = '4/h' }}\noverrides = [{{ match = '2001:db9::/32', rate = '4/h' }}]\n\
             [limits.shadow]\nrate = '2/h'\nmode = 'shadow'\n[upstreams.app]\nservers = ['{url}']\n\
             [[routes]]\nname = 'r'\nupstream = 'app'\nlimits = ['l', 'shadow']\n[routes.retry]\nattempts = 1\n",
            super::TRUST
        )
    };
    let gateway = Gateway::start(&text(&closed.url()));
    let ask = |client: &str| super::status_for(&gateway, client);
    assert!((0..10).all(|_| ask("2001:db8::1") == 502 && ask("2001:db9::1") == 502));
    super::settle(&gateway);
    for decision in ["refused", "shadow_refused", "candidate_refused"] {
        assert_eq!(
            gateway.metric("tidegate_limit_decisions_total", &[("decision", decision)]),
            0.0,
            "{decision}"
        );
    }
    gateway.reload_with(&text(&upstream.url()));
    assert_eq!((0..5).filter(|_| ask("2001:db8::1") == 200).count(), 3);
    assert_eq!(
        (
            decisions(&gateway, "l", "candidate_refused"),
            ask("2001:db8:0:1::1")
        ),
        (3.0, 200),
        "four of the tier's eight tokens are used"
    );
    assert_eq!(
        (0..5).filter(|_| ask("2001:db9::1") == 200).count(),
        2,
        "the override's four tokens are two requests"
    );
}

#[test]
fn a_request_queued_until_its_deadline_returns_its_tokens() {
    let leave = Gate::new();
    let leaving = leave.clone();
    let upstream = Upstream::start(move |mut connection| {
        while connection.request().is_some() {
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n");
            leaving.pass();
            connection.send("x");
        }
    });
    let more = "limits = ['l']\ntimeouts = { total = '50ms' }\nconcurrency = { max = 1, queue = 1, queue_timeout = '60s' }";
    let gateway = Gateway::start(&format!(
        "[limits.l]\nrate = '1/h'\nburst = 2\n{}",
        one_route(&upstream, more)
    ));
    let mut first = gateway.connect();
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // The head meets the deadline. The request holds the only permit until the
    // end of its body.
    assert_eq!(first.head().unwrap().status(), 200);
    assert!((0..3).all(|_| gateway.status("/") == 504));
    (0..3).for_each(|_| leave.open());
    assert_eq!(first.bytes(1).unwrap(), b"x");
    super::settle(&gateway);
    assert_eq!(
        admitted(3, || gateway.get("/")),
        1,
        "one of two tokens was used"
    );
}
