//! What a request takes.

use super::{admitted, one_limit};

#[test]
fn a_request_takes_what_it_costs() {
    let gateway = one_limit("rate = '10/h'\ncost = 3", "");
    assert_eq!(admitted(6, || gateway.get("/")), 3);
    assert_eq!(
        gateway.get("/").get("retry-after"),
        Some("720"),
        "two tokens are missing, at 360 s each"
    );
}

#[test]
fn what_costs_nothing_always_passes() {
    let gateway = one_limit("rate = '1/h'\ncost = 0", "");
    assert_eq!(admitted(20, || gateway.get("/")), 20);
    assert_eq!(
        gateway.metric("tidegate_limit_keys", &[("limit", "l")]),
        0.0
    );
}

#[test]
fn a_header_tells_the_cost_within_its_bounds() {
    let start = || {
        one_limit(
            "rate = '10/h'\ncost = { header = 'x-cost', default = 2, max = 6 }",
            "",
        )
    };
    for (line, expected) in [
        ("X-Cost: 5", 2),
        ("X-Cost: 1", 10),
        ("X-Cost: 0", 12),
        ("X-Cost: 7", 1),
        ("X-Cost: 99999999999999999999", 1),
        ("X-Cost: -5", 5),
        ("X-Cost: 5.0", 5),
        ("X-Cost:", 5),
        ("A: 1", 5),
    ] {
        let gateway = start();
        assert_eq!(
            admitted(12, || gateway.ask("GET", "/", &[line])),
            expected,
            "{line}"
        );
    }
}

#[test]
fn a_dear_request_is_refused_where_a_cheap_one_passes() {
    let gateway = one_limit("rate = '10/h'\ncost = { header = 'x-cost', max = 10 }", "");
    let ask = |cost: &str| {
        gateway
            .ask("GET", "/", &[&format!("X-Cost: {cost}")])
            .status()
    };
    assert_eq!(
        [ask("7"), ask("4"), ask("3"), ask("1"), ask("0")],
        [200, 429, 200, 429, 200]
    );
}

/// It was told that nothing is left, and so had no reason to ask for less.
#[test]
fn who_asks_for_more_than_there_is_hears_what_there_is() {
    let gateway = one_limit("rate = '10/h'\ncost = { header = 'x-cost', max = 10 }", "");
    let ask = |cost: &str| gateway.ask("GET", "/", &[&format!("X-Cost: {cost}")]);
    assert_eq!(ask("7").get("ratelimit"), Some("\"l\";r=3;t=360"));
    let refused = ask("5");
    assert_eq!(
        (refused.status(), refused.get("retry-after")),
        (429, Some("720"))
    );
    assert_eq!(refused.get("ratelimit"), Some("\"l\";r=3;t=720"));
    gateway.access_line();
    assert_eq!(gateway.access_line()["remaining"], 3);
    assert_eq!(
        ask("3")
            .get("ratelimit")
            .map(|told| told.starts_with("\"l\";r=0")),
        Some(true)
    );
}
