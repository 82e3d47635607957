//! Responses tell the state of limits in the fields that the configuration chooses.

use super::*;
use crate::{
    error::LimitOwner,
    limit::Gcra,
    policy::{Allowance, Quota, Rate},
};

const BOTH: LimitHeaders = LimitHeaders::Both;

/// Ten tokens in five seconds.
fn quota() -> Quota {
    let (count, period) = (10, Duration::from_secs(5));
    let rate = Rate { count, period };
    Quota::new(rate, rate.default_burst()).unwrap()
}

/// A bucket that is full in a little more than a second and a half.
fn state(remaining: u32) -> Standing {
    Standing::known(&quota().into(), remaining, 1_501_000_000)
}

fn said<'a>(fields: &'a Fields, name: &HeaderName) -> Vec<&'a str> {
    fields
        .all(name)
        .map(|value| std::str::from_utf8(value).unwrap())
        .collect()
}

fn fields(lines: &[(&HeaderName, &str)]) -> Fields {
    let mut fields = Fields::default();
    lines
        .iter()
        .for_each(|(name, value)| fields.push(name.as_str(), value.as_bytes()));
    fields
}

#[test]
fn quota_window_rest_and_wait_are_told_in_whole_seconds_rounded_up() {
    let mut response = Fields::default();
    describe(&mut response, BOTH, ("per-client", None), &state(6));
    assert_eq!(said(&response, &POLICY), ["\"per-client\";q=10;w=5"]);
    assert_eq!(said(&response, &LIMIT), ["\"per-client\";r=6;t=1"]);
    assert_eq!(
        [&X_LIMIT, &X_REMAINING, &X_RESET].map(|name| said(&response, name)),
        [["10"], ["6"], ["2"]]
    );
}

#[test]
fn a_quota_of_nothing_has_neither_a_window_nor_a_time() {
    let rate = Rate {
        count: 0,
        period: Duration::from_secs(1),
    };
    let gcra = Quota::new(rate, rate.default_burst()).unwrap().into();
    let mut response = fields(&[(&X_RESET, "5")]);
    let state = Standing::refused(&gcra, 1, Duration::MAX);
    describe(&mut response, BOTH, ("blocked", None), &state);
    assert_eq!(said(&response, &POLICY), ["\"blocked\";q=0"]);
    assert_eq!(said(&response, &LIMIT), ["\"blocked\";r=0"]);
    assert_eq!(
        [&X_LIMIT, &X_REMAINING, &X_RESET].map(|name| said(&response, name)),
        [vec!["0"], vec!["0"], vec![]]
    );
}

#[test]
fn a_window_is_that_of_the_rate_though_tokens_take_whole_nanoseconds() {
    // 3/10s and 7/s are intervals that were rounded up.
    for (burst, emission, window) in [
        (3, 3_333_333_334, 10),
        (70, 142_857_143, 10),
        (10, 500_000_000, 5),
    ] {
        let gcra = Gcra::from_parts(emission, burst);
        let mut response = Fields::default();
        let state = Standing::known(&gcra, 1, 0);
        describe(&mut response, BOTH, ("l", None), &state);
        assert_eq!(
            said(&response, &POLICY),
            [format!("\"l\";q={burst};w={window}")]
        );
    }
}

#[test]
fn a_text_that_was_rendered_before_says_what_a_new_one_would() {
    let text = LimitText::new(Allowance::Rate(quota()), false);
    let of_a_key = Gcra::from_parts(1_000_000_000, 20);
    for headers in [BOTH, LimitHeaders::Draft11, LimitHeaders::Off] {
        for state in [
            state(6),
            Standing::known(&quota().into(), 10, 0),
            state(0),
            Standing::known(&of_a_key, 19, 1),
            Standing::refused(&quota().into(), 1, Duration::from_nanos(1)),
            Standing::refused(&quota().into(), 11, Duration::MAX),
        ] {
            for backend in [&[][..], &[(&POLICY, "\"l\";q=1;w=1")]] {
                let [kept, new] = [Some(&text), None].map(|text| {
                    let mut response = fields(backend);
                    describe(&mut response, headers, ("l", text), &state);
                    response
                });
                assert_eq!(kept, new);
            }
        }
    }
}

#[test]
fn what_a_backend_says_stays_beside_it() {
    let mut response = fields(&[
        (&POLICY, "\"daily\";q=9;w=86400"),
        (&LIMIT, "\"daily\";r=2;t=60"),
    ]);
    describe(&mut response, BOTH, ("per-client", None), &state(6));
    assert_eq!(
        said(&response, &POLICY),
        ["\"daily\";q=9;w=86400", "\"per-client\";q=10;w=5"]
    );
    assert_eq!(
        said(&response, &LIMIT),
        ["\"daily\";r=2;t=60", "\"per-client\";r=6;t=1"]
    );
    let mut response = fields(&[(&LIMIT, "\"daily\";r=2")]);
    describe(&mut response, BOTH, ("daily", None), &state(6));
    assert_eq!(
        said(&response, &LIMIT),
        ["\"daily\";r=2", "\"gateway:daily\";r=6;t=1"]
    );
}

#[test]
fn of_two_old_fields_the_tighter_one_is_listed() {
    for (backend, told) in [("5", "5"), ("6", "6"), ("7", "6"), ("many", "many")] {
        let mut response = fields(&[(&X_REMAINING, backend)]);
        describe(&mut response, BOTH, ("l", None), &state(6));
        assert_eq!(said(&response, &X_REMAINING), [told]);
    }
}

#[test]
fn a_cap_tells_its_unit() {
    let mut response = Fields::default();
    assert!(describe_concurrency(
        &mut response,
        BOTH,
        &Error::ConcurrencyLimited {
            owner: LimitOwner::Route("orders".into()),
            max: 64,
            queue: 0
        }
    ));
    assert_eq!(
        said(&response, &POLICY),
        ["\"orders\";q=64;qu=\"concurrent-requests\""]
    );
    assert_eq!(said(&response, &LIMIT), ["\"orders\";r=0"]);
}
