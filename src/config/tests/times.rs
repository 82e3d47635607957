//! Times and numbers of which one never counts cause a warning.

use super::{
    super::Code,
    APP,
    warnings::{fine, fine_route, last_line, route, warned},
};

#[test]
fn a_turn_or_a_retry_without_effect_is_reported() {
    route("priority = \"high\"", Code::NoEffect, "add `concurrency");
    fine(&format!(
        "{APP}concurrency = {{ max = 1, queue = 1 }}\n[[routes]]\nname = \"app\"\nupstream = \"app\"\npriority = \"high\""
    ));
    let response = "[[routes]]\nname = \"a\"\nrespond = {}\n";
    last_line(
        &format!("{response}retry = {{ attempts = 3 }}"),
        Code::NoEffect,
        "leave `retry` out",
    );
    fine(&format!("{response}[defaults]\nretry = {{ attempts = 3 }}"));
}

#[test]
fn a_wait_that_the_total_timeout_cuts_is_reported() {
    let cap = "concurrency = { max = 1, queue = 9, queue_timeout = \"5s\" }";
    route(
        &format!("timeouts = {{ total = \"2s\" }}\n{cap}"),
        Code::NoEffect,
        "`timeouts.total` of the route `app` is 2s",
    );
    fine_route(&format!("timeouts = {{ total = \"6s\" }}\n{cap}"));
    let inherited = format!(
        "[defaults]\n{cap}\n{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\ntimeouts = {{ total = \"2s\" }}"
    );
    fine(&inherited);
    let upstream = format!(
        "{APP}{cap}\n[[routes]]\nname = \"app\"\nupstream = \"app\"\ntimeouts = {{ total = \"2s\" }}"
    );
    let (line, code, said) = warned(&upstream);
    assert_eq!((line, code), (3, Code::NoEffect));
    assert!(
        said.contains("the longest `timeouts.total` of its routes is 2s"),
        "{said}"
    );
}

#[test]
fn times_and_numbers_that_contradict_each_other_are_reported() {
    for (keys, says) in [
        (
            "timeouts = { body = \"5s\", total = \"10s\" }",
            "`body`, the bound on the whole exchange, is 5s",
        ),
        (
            "timeouts = { body = \"5s\", idle = \"10s\" }",
            "lower `idle` below 5s",
        ),
        (
            "timeouts = { total = \"2s\" }\nretry = { on = [\"timeout\"] }",
            "less than half of `total`",
        ),
        (
            "timeouts = { total = \"2s\" }\nretry = { backoff = \"3s\", max_backoff = \"3s\" }",
            "lower `backoff`",
        ),
        (
            "retry = { attempts = 1, on = [\"503\"] }",
            "raise `attempts`",
        ),
        (
            "concurrency = { max = 1, queue_timeout = \"2s\" }",
            "add `queue`",
        ),
        (
            "concurrency = { max = 1, fair_by = \"host\" }",
            "add `queue`",
        ),
    ] {
        route(keys, Code::NoEffect, says);
    }
    for keys in [
        "timeouts = { body = \"5s\" }",
        "timeouts = { total = \"2s\", attempt = \"900ms\" }\nretry = { on = [\"timeout\"] }",
        "retry = { attempts = 1 }",
        "concurrency = { max = 1, queue = 1, fair_by = \"host\" }",
    ] {
        fine_route(keys);
    }
    let upstream = |keys: &str| {
        format!(
            "{APP}{keys}\n[[routes]]\nname = \"app\"\nupstream = \"app\"\ntimeouts = {{ total = \"4s\" }}"
        )
    };
    for (keys, says) in [
        (
            "pool = { connect_timeout = \"5s\" }",
            "`timeouts.attempt` of its routes is 4s",
        ),
        (
            "pool = { wait_timeout = \"5s\" }",
            "`timeouts.attempt` of its routes is 4s",
        ),
        (
            "pool = { max_connections = 5, max_idle = 6 }",
            "`max_connections`, which is 5",
        ),
        (
            "pool = { idle_timeout = \"2m\", max_lifetime = \"1m\" }",
            "`max_lifetime` is 1m",
        ),
        (
            "health_check = { path = \"/\", interval = \"1s\", timeout = \"2s\" }",
            "no more than `interval`",
        ),
        (
            "health_check = { path = \"/\", interval = \"500ms\" }",
            "no more than `interval`",
        ),
        (
            "concurrency = { max = 1, queue_timeout = \"1s\" }",
            "add `queue`",
        ),
    ] {
        let (line, code, said) = warned(&upstream(keys));
        assert_eq!((line, code), (3, Code::NoEffect), "{keys}: {said}");
        assert!(said.contains(says), "{keys}: {said}");
    }
    for keys in [
        "pool = { max_connections = 5 }",
        "pool = { max_lifetime = \"10s\" }",
        "health_check = { path = \"/\" }",
    ] {
        fine(&upstream(keys));
    }
}
