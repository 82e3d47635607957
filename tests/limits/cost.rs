//! Costs: the number of tokens that a request takes.

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
fn a_request_that_costs_nothing_always_passes() {
    let gateway = one_limit("rate = '1/h'\ncost = 0", "");
    assert_eq!(admitted(20, || gateway.get("/")), 20);
    assert_eq!(
        gateway.metric("tidegate_limit_keys", &[("limit", "l")]),
        0.0
    );
}

#[test]
fn a_header_sets_the_cost_within_its_bounds() {
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
fn an_expensive_request_is_refused_where_a_cheap_one_passes() {
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

/// A refusal that reported no remaining tokens would give a client no reason to
/// try a cheaper request.
#[test]
fn a_refusal_of_a_high_cost_reports_the_remaining_tokens() {
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
            .map(|field| field.starts_with("\"l\";r=0")),
        Some(true)
    );
}
