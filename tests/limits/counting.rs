//! Limits that count responses.

use super::{
    TRUST, decisions,
    support::{
        Gate, Upstream,
        gateway::{Closed, Gateway, upstream_table},
    },
};

/// Responds with 401 to `/wrong`, with 500 to `/broken`, and with 200 to
/// everything else.
fn login_service() -> Upstream {
    Upstream::answering(|request| {
        let status = match request.target() {
            "/wrong" => "401 Unauthorized",
            "/broken" => "500 Oops",
            _ => "200 OK",
        };
        format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
    })
}

fn text(upstream: &Upstream, limit: &str) -> String {
    let upstream = upstream_table("u", &[upstream], "");
    format!(
        "{TRUST}\n[limits.l]\n{limit}\n{upstream}[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n"
    )
}

const FIVE: &str = "key = 'client-ip'\nrate = '5/h'\ncount = ['401']";

#[test]
fn failed_logins_are_counted_and_successful_ones_never() {
    let login_service = login_service();
    let gateway = Gateway::start(&text(&login_service, FIVE));
    let ask = |path: &str| gateway.status(path);
    assert!((0..20).all(|_| ask("/right") == 200));
    assert!((0..3).all(|_| ask("/wrong") == 401 && ask("/broken") == 500));
    assert_eq!(
        [ask("/wrong"), ask("/right"), ask("/wrong")],
        [401, 200, 401]
    );
    assert_eq!(
        [ask("/wrong"), ask("/right")],
        [429, 429],
        "after five failures every request is refused"
    );
    assert_eq!(
        gateway
            .ask("GET", "/wrong", &["X-Forwarded-For: 192.0.2.1"])
            .status(),
        401,
        "another client"
    );
}

#[test]
fn a_class_of_statuses_is_counted() {
    let login_service = login_service();
    let gateway = Gateway::start(&text(
        &login_service,
        "rate = '3/h'\ncount = ['401', '5xx']",
    ));
    let statuses =
        ["/broken", "/wrong", "/right", "/broken", "/right"].map(|path| gateway.status(path));
    assert_eq!(statuses, [500, 401, 200, 500, 429]);
}

/// A service that responds with this status once the second gate is opened. The
/// first gate is opened for each request that arrives.
fn slow_service(status: &'static str) -> (Upstream, Gate, Gate) {
    let (entered, leave) = (Gate::new(), Gate::new());
    let (entering, leaving) = (entered.clone(), leave.clone());
    let login_service = Upstream::answering(move |_| {
        entering.open();
        leaving.pass();
        format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
    });
    (login_service, entered, leave)
}

#[test]
fn concurrent_guesses_are_bounded_by_the_burst() {
    let (login_service, entered, leave) = slow_service("401 Unauthorized");
    let gateway = Gateway::start(&text(&login_service, FIVE));
    let mut clients: Vec<_> = (0..30).map(|_| gateway.sent("/", &[])).collect();
    (0..5).for_each(|_| entered.pass());
    (0..30).for_each(|_| leave.open());
    let statuses: Vec<_> = clients
        .iter_mut()
        .map(|client| client.response().status())
        .collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 401).count(),
        5,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 429).count(),
        25,
        "{statuses:?}"
    );
    let wait: u64 = gateway
        .get("/")
        .get("retry-after")
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        (720 - 60..=720).contains(&wait),
        "the wait is that of one token: {wait}"
    );
    assert_eq!(
        (
            decisions(&gateway, "l", "allowed"),
            decisions(&gateway, "l", "refused")
        ),
        (5.0, 26.0)
    );
}

#[test]
fn concurrent_successes_are_bounded_by_the_burst_and_return_their_tokens() {
    let (login_service, entered, leave) = slow_service("200 OK");
    let gateway = Gateway::start(&text(&login_service, FIVE));
    let mut clients: Vec<_> = (0..5).map(|_| gateway.sent("/", &[])).collect();
    (0..5).for_each(|_| entered.pass());
    assert_eq!(gateway.status("/"), 429, "the whole burst is in flight");
    (0..25).for_each(|_| leave.open());
    assert!(
        clients
            .iter_mut()
            .all(|client| client.response().status() == 200)
    );
    assert!((0..20).all(|_| gateway.status("/") == 200));
}

#[test]
fn a_client_that_leaves_after_its_request_was_sent_uses_its_token() {
    let (login_service, entered, leave) = slow_service("200 OK");
    let gateway = Gateway::start(&text(&login_service, FIVE));
    for _ in 0..5 {
        let client = gateway.sent("/", &[]);
        entered.pass();
        drop(client);
    }
    super::settle(&gateway);
    assert_eq!(gateway.status("/"), 429);
    (0..5).for_each(|_| leave.open());
}

#[test]
fn a_client_that_leaves_before_its_request_was_sent_gets_its_token_back() {
    let (login_service, entered, leave) = slow_service("401 Unauthorized");
    let cap = "[routes.concurrency]\nmax = 1\nqueue = 9\nqueue_timeout = '1m'\n";
    let gateway = Gateway::start(&format!("{}{cap}", text(&login_service, FIVE)));
    let mut first = gateway.sent("/", &[]);
    entered.pass();
    let waiting: Vec<_> = (0..4).map(|_| gateway.sent("/", &[])).collect();
    gateway.await_metric("tidegate_queued", &[], 4.0);
    assert_eq!(gateway.status("/"), 429, "the whole burst is in flight");
    drop(waiting);
    let end = tokio::time::Instant::now() + super::support::TIMEOUT;
    while gateway.metric("tidegate_queued", &[]) > 0.0 {
        assert!(
            tokio::time::Instant::now() < end,
            "requests of clients that left stay in the queue"
        );
    }
    (0..5).for_each(|_| leave.open());
    assert_eq!(first.response().status(), 401);
    assert_eq!(
        [(); 5].map(|()| gateway.status("/")),
        [401, 401, 401, 401, 429],
        "the first request used one of the five tokens"
    );
}

#[test]
fn a_timeout_returns_the_token() {
    let silent = Upstream::start(|mut connection| {
        let _ = connection.request();
        let _ = connection.request();
    });
    let more = "timeouts = { attempt = '50ms', total = '60ms' }\n";
    let gateway = Gateway::start(&format!(
        "{}{more}",
        text(&silent, "rate = '2/h'\ncount = ['5xx']")
    ));
    assert_eq!([(); 4].map(|()| gateway.status("/")), [504; 4]);
}

#[test]
fn tokens_come_back_to_every_kind_of_limit_that_counts() {
    let login_service = login_service();
    let limit = "key = 'client-ip'\nrate = '2/h'\ncount = ['401']\ntiers = [{ prefix = 56, rate = '2/h' }]\n\
                 overrides = [{ match = '192.0.2.0/24', rate = '1/h' }]\ncandidate = { rate = '1/h' }\n\
                 [limits.shadow]\nrate = '1/h'\ncount = ['401']\nmode = 'shadow'";
    let text = text(&login_service, limit).replace("limits = ['l']", "limits = ['l', 'shadow']");
    let gateway = Gateway::start(&text);
    for client in ["192.0.2.1", "2001:db8::1", "198.51.100.1"] {
        let ask = |path: &str| {
            gateway
                .ask("GET", path, &[&format!("X-Forwarded-For: {client}")])
                .status()
        };
        assert!((0..6).all(|_| ask("/right") == 200), "{client}");
    }
    for decision in ["shadow_refused", "candidate_refused"] {
        assert_eq!(
            gateway.metric("tidegate_limit_decisions_total", &[("decision", decision)]),
            0.0,
            "{decision}"
        );
    }
    let ask = |path: &str| {
        gateway
            .ask("GET", path, &["X-Forwarded-For: 192.0.2.1"])
            .status()
    };
    assert_eq!(
        [ask("/wrong"), ask("/right"), ask("/wrong")],
        [401, 429, 429],
        "the override has one token"
    );
}

#[test]
fn a_response_reports_the_remaining_tokens_after_its_own_is_returned() {
    let login_service = login_service();
    let limits = "rate = '3/h'\ncount = ['401']\n[limits.wide]\nrate = '9/h'";
    let text = text(&login_service, limits).replace("limits = ['l']", "limits = ['l', 'wide']");
    let gateway = Gateway::start(&text);
    for (path, left) in [("/right", "r=3"), ("/wrong", "r=2"), ("/right", "r=2")] {
        let response = gateway.get(path);
        let field = response.get("ratelimit").unwrap();
        assert!(
            field.starts_with("\"l\"") && field.contains(left),
            "{path}: {field}"
        );
    }
    // The field reports the other limit once that one has fewer tokens left.
    (0..5).for_each(|_| drop(gateway.get("/right")));
    let field = gateway.get("/right").get("ratelimit").unwrap().to_owned();
    assert!(field.starts_with("\"wide\";r=0"), "{field}");
}

#[test]
fn errors_of_the_gateway_itself_are_not_counted() {
    let closed = Closed::new();
    let text = format!(
        "[limits.l]\nrate = '2/h'\ncount = ['5xx']\n[upstreams.u]\nservers = ['{}']\n\
         [[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n",
        closed.url()
    );
    let gateway = Gateway::start(&text);
    assert!((0..10).all(|_| gateway.status("/") == 502));
    assert_eq!(decisions(&gateway, "l", "refused"), 0.0);
}

#[test]
fn responses_of_a_route_without_an_upstream_are_counted() {
    let text = "[limits.l]\nrate = '2/h'\ncount = ['403']\n[[routes]]\nname = 'r'\nrespond = { status = 403 }\nlimits = ['l']\n";
    let gateway = Gateway::start(text);
    assert_eq!([(); 3].map(|()| gateway.status("/")), [403, 403, 429]);
}

#[test]
fn an_access_line_reports_the_remaining_tokens_after_the_response_is_counted() {
    let login_service = login_service();
    let gateway = Gateway::start(&text(&login_service, FIVE));
    for (path, remaining) in [("/right", 5), ("/wrong", 4), ("/right", 4)] {
        gateway.get(path);
        let line = gateway.access_line();
        assert_eq!(
            (&line["limit"], &line["remaining"]),
            (&"l".into(), &remaining.into()),
            "{line}"
        );
    }
}

#[test]
fn a_counting_limit_decides_together_with_the_others() {
    let login_service = login_service();
    let limits = "key = 'client-ip'\nrate = '2/h'\ncount = ['401']\n[limits.all]\nrate = '4/h'";
    let text = text(&login_service, limits).replace("limits = ['l']", "limits = ['all', 'l']");
    let gateway = Gateway::start(&text);
    assert_eq!(
        ["/wrong", "/wrong"].map(|path| gateway.status(path)),
        [401, 401]
    );
    for _ in 0..5 {
        let refused = gateway.get("/right").problem();
        assert_eq!(
            refused["violated-policies"],
            serde_json::json!(["l"]),
            "a refusal takes nothing from the other limit"
        );
    }
    let ask = || {
        gateway
            .ask("GET", "/right", &["X-Forwarded-For: 192.0.2.1"])
            .status()
    };
    assert_eq!([ask(), ask(), ask()], [200, 200, 429]);
    let both = gateway.get("/right").problem();
    assert_eq!(both["violated-policies"], serde_json::json!(["all", "l"]));
}

#[test]
fn tiers_count_the_same_responses() {
    let login_service = login_service();
    let limit =
        "key = 'client-ip'\nrate = '3/h'\ncount = ['401']\ntiers = [{ prefix = 56, rate = '5/h' }]";
    let gateway = Gateway::start(&text(&login_service, limit));
    let guess = |network: u8| {
        gateway
            .ask(
                "GET",
                "/wrong",
                &[&format!("X-Forwarded-For: 2001:db8:0:{network:x}::1")],
            )
            .status()
    };
    assert_eq!((0..8).filter(|network| guess(*network) == 401).count(), 5);
}
