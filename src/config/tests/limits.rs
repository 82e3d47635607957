//! Limits: valid and invalid settings.

use crate::policy::*;
use std::time::Duration;

use super::{super::Code, config_with, only, places};

/// The one limit `a`.
#[track_caller]
pub(super) fn limit(keys: &str) -> Limit {
    Limit::clone(
        &config_with(&format!("[limits.a]\n{keys}"), "")
            .unwrap()
            .limits[0],
    )
}

/// Checks that these keys of a limit cause one diagnostic, which contains this
/// text.
#[track_caller]
pub(super) fn refused(keys: &str, code: Code, expected: &str) {
    let (found, text) = only(config_with(&format!("[limits.a]\n{keys}"), ""));
    assert_eq!(found, code, "{keys}: {text}");
    assert!(text.contains(expected), "{keys}: {text}");
}

pub(super) fn allowance(count: u32, burst: u32) -> Allowance {
    let rate = Rate {
        count,
        period: Duration::from_secs(1),
    };
    Allowance::Rate(Quota::new(rate, burst.try_into().unwrap()).unwrap())
}

#[test]
fn a_limit_has_plain_defaults() {
    let limit = limit("rate = '1/s'");
    assert_eq!(
        (limit.cost, limit.shadow, limit.count),
        (Cost::Fixed(1), false, None)
    );
    assert!(limit.candidate.is_none() && limit.overrides.is_empty() && limit.tiers.is_empty());
}

#[test]
fn a_cost_is_a_number_or_a_header() {
    assert_eq!(limit("rate = '5/s'\ncost = 0").cost, Cost::Fixed(0));
    let name = http::HeaderName::from_static("x-cost");
    let cost = limit("rate = '5/s'\ncost = { header = 'X-Cost', max = 5 }").cost;
    assert_eq!(
        cost,
        Cost::Header {
            name,
            default: 1,
            max: 5
        }
    );
    refused(
        "rate = '5/s'\ncost = 6",
        Code::Conflict,
        "a cost of 6 never fits into a burst of 5",
    );
    refused(
        "rate = '5/s'\ncost = { header = 'x', max = 6 }",
        Code::Conflict,
        "never fits",
    );
    let missing = "rate = '99/s'\nmissing = { key = 'client-ip', rate = '5/s' }";
    refused(
        missing,
        Code::Conflict,
        "without a key there is one bucket for everyone",
    );
    let missing =
        "key = 'host'\nrate = '99/s'\ncost = 6\nmissing = { key = 'client-ip', rate = '5/s' }";
    refused(missing, Code::Conflict, "never fits into a burst of 5");
    let cost = "rate = '99/s'\ncost = { header = 'x', default = 50, max = 10 }";
    refused(
        cost,
        Code::Conflict,
        "a default of 50 is above the most that a request can cost, `max = 10`",
    );
    refused(
        "rate = '5/s'\ncost = { header = 'x' }",
        Code::MissingKey,
        "`max` is missing",
    );
    refused(
        "rate = '5/s'\ncost = { max = 1 }",
        Code::MissingKey,
        "`header` is missing",
    );
    refused("rate = '5/s'\ncost = -1", Code::BadValue, "the least is 0");
    refused(
        "rate = '5/s'\ncost = '1'",
        Code::WrongType,
        "without quotes",
    );
    refused(
        "rate = '9/s'\ncost = 6\ncandidate = { rate = '5/s' }",
        Code::Conflict,
        "never fits into a burst of 5",
    );
    refused(
        "rate = '9/s'\ncost = 6\nkey = 'host'\noverrides = [{ match = 'a', rate = '5/s' }]",
        Code::Conflict,
        "set `burst` to 6",
    );
}

#[test]
fn a_rate_of_zero_has_no_burst_and_any_cost() {
    let none = limit("rate = '0/s'\ncost = 7");
    assert_eq!(none.allowance.rate().unwrap().burst(), 0);
    limit("rate = '5/s'\ncost = 5\nkey = 'host'\noverrides = [{ match = 'a', rate = '0/s' }]");
    refused(
        "rate = '0/s'\nburst = 1",
        Code::Conflict,
        "a rate of 0 admits nothing, so that it has no bucket",
    );
    refused("rate = '0/0s'", Code::BadValue, "its time is nothing");
}

#[test]
fn statuses_are_counted_one_by_one_or_by_class() {
    let count = limit("rate = '5/s'\ncount = ['401', '5xx']").count.unwrap();
    assert_eq!(
        count,
        [
            Statuses {
                first: 401,
                last: 401
            },
            Statuses {
                first: 500,
                last: 599
            }
        ]
    );
    refused("rate = '5/s'\ncount = []", Code::BadValue, "empty list");
    refused(
        "rate = '5/s'\ncount = ['6xx']",
        Code::BadValue,
        "\"5xx\" for all from 500 to 599",
    );
    refused("rate = '5/s'\ncount = [401]", Code::WrongType, "in quotes");
    refused(
        "rate = '5/s'\ncount = ['401', '401']",
        Code::Duplicate,
        "twice",
    );
}

#[test]
fn a_candidate_has_numbers_of_its_own() {
    assert!(limit("rate = '5/s'\nmode = 'shadow'").shadow);
    refused(
        "rate = '5/s'\nmode = 'shadwo'",
        Code::BadValue,
        "did you mean `shadow`?",
    );
    let candidate = limit("rate = '5/s'\ncandidate = { rate = '3/s' }")
        .candidate
        .unwrap();
    assert_eq!(
        (&*candidate.name, candidate.allowance),
        ("a/candidate", allowance(3, 3))
    );
    refused(
        "rate = '5/s'\ncandidate = { burst = 3 }",
        Code::MissingKey,
        "`rate` is missing",
    );
}

#[test]
fn no_limit_has_the_name_of_a_part_of_another() {
    let tier = "[limits.a]\nrate = '1/s'\nkey = 'client-ip'\ntiers = [{ prefix = 56, rate = '9/s' }]\n[limits.'a/56']\nrate = '1/s'";
    assert_eq!(places(config_with(tier, "")), [(5, Code::Duplicate)]);
    let candidate = "[limits.a]\nrate = '1/s'\ncandidate = { rate = '2/s' }\n[limits.'a/candidate']\nrate = '1/s'";
    assert_eq!(places(config_with(candidate, "")), [(4, Code::Duplicate)]);
}

#[test]
fn overrides_match_values_lists_of_values_and_networks() {
    use ValuePattern::{Any, Network, Text};
    let one = limit("rate = '5/s'\nkey = 'client-ip'\noverrides = [{ match = ['192.0.2.1', '2001:db8::/32'], rate = 'unlimited' }, { match = '10.0.0.0/8', rate = '9/s', burst = 4 }]").overrides;
    let network = |text: &str| vec![Network(text.parse().unwrap())];
    assert_eq!(
        (&one[0].matches, one[0].allowance),
        (
            &vec![network("192.0.2.1/32"), network("2001:db8::/32")],
            None
        )
    );
    assert_eq!(
        (&one[1].matches, one[1].allowance),
        (&vec![network("10.0.0.0/8")], Some(allowance(9, 4)))
    );
    let more = limit("rate = '5/s'\nkey = ['header:x', 'host', 'path']\noverrides = [{ match = [['K', '*', '*'], ['*', 'A.com', '/a/%62']], rate = '9/s' }]").overrides;
    assert_eq!(
        more[0].matches,
        [
            vec![Text("K".into()), Any, Any],
            vec![Any, Text("a.com".into()), Text("/a/b".into())]
        ]
    );
}

#[test]
fn overrides_that_fit_no_key_are_reported() {
    let over = |key: &str, matches: &str| {
        format!("rate = '5/s'\n{key}\noverrides = [{{ match = {matches}, rate = '9/s' }}]")
    };
    refused(
        &over("", "'a'"),
        Code::Conflict,
        "without a key there is one bucket for everyone",
    );
    refused(
        &over("key = ['host', 'path']", "['a', 'b']"),
        Code::BadValue,
        "`match` has one value for a key of 2 parts",
    );
}

#[test]
fn overrides_that_contradict_their_key_are_reported_once() {
    let over = |key: &str, matches: &str| {
        format!("rate = '5/s'\n{key}\noverrides = [{{ match = {matches}, rate = '9/s' }}]")
    };
    refused(
        &over("key = ['host', 'path']", "[['a']]"),
        Code::BadValue,
        "`match = [[\"*\", \"*\"]]`",
    );
    refused(
        &over("key = 'host'", "[['a', 'b']]"),
        Code::BadValue,
        "2 values for a key of one part",
    );
    refused(
        &over("key = 'host'", "['']"),
        Code::BadValue,
        "counts as missing",
    );
    refused(&over("key = 'host'", "[]"), Code::BadValue, "empty list");
    refused(
        &over("key = 'host'", "['a', 'a']"),
        Code::Duplicate,
        "twice",
    );
    refused(
        &over("key = 'client-ip'", "'moon'"),
        Code::BadValue,
        "it is not a network",
    );
    refused(
        &over("key = 'client-ip'", "'2001:db8:1:2:3::/80'"),
        Code::BadValue,
        "write \"2001:db8:1:2::/64\"",
    );
    let burst =
        "rate = '5/s'\nkey = 'host'\noverrides = [{ match = 'a', rate = 'unlimited', burst = 3 }]";
    refused(burst, Code::Conflict, "what is unlimited has no bucket");
    refused(
        "rate = '5/s'\nkey = 'host'\noverrides = [{ match = 'a' }]",
        Code::MissingKey,
        "`rate` is missing",
    );
    refused(
        "rate = '5/s'\nkey = 'host'\noverrides = { match = 'a', rate = '9/s' }",
        Code::WrongType,
        "`[[overrides]]`",
    );
}

#[test]
fn a_limit_by_a_parameter_needs_a_route_that_has_it() {
    let limits = "[limits.a]\nkey = 'param:id'\nrate = '1/s'\n[limits.b]\nkey = 'header:x'\nmissing = 'param:id'\nrate = '1/s'";
    assert!(config_with(limits, "limits = ['a', 'b']\nmatch = { path = '/o/{id}' }").is_ok());
    for path in ["", "path = '/o/{other}'", "path_prefix = '/o'"] {
        let found = places(config_with(
            limits,
            &format!("limits = ['a', 'b']\nmatch = {{ {path} }}"),
        ));
        assert_eq!(found, [(13, Code::UnknownName); 2], "{path}");
    }
}

#[test]
fn a_route_has_a_bounded_number_of_limits() {
    let tiers: String = (1..=32)
        .map(|prefix| format!("{{ prefix = {prefix}, rate = '1/s' }},"))
        .collect();
    let limit = |name: &str| {
        format!("[limits.{name}]\nkey = 'client-ip'\nrate = '1/s'\ntiers = [{tiers}]\n")
    };
    let (code, text) = only(config_with(
        &(limit("a") + &limit("b")),
        "limits = ['a', 'b']",
    ));
    assert_eq!(code, Code::Conflict);
    assert!(
        text.contains(
            "at most 64 limits, including tiers and those of its identities; these are 66"
        ),
        "{text}"
    );
}

#[test]
fn the_view_of_a_limit_is_complete_and_hides_possible_credentials() {
    let text = "[limits.a]\nkey = ['header:x-api-key', 'host']\nrate = '1/s'\ntiers = [{ prefix = 56, rate = '9/s' }]
        candidate = { rate = '3/s' }\noverrides = [{ match = [['hunter2', 'a.com'], ['*', 'b.com']], rate = '2/s' }]";
    let shown = config_with(text, "").unwrap().shown();
    let limit = &shown["limits"]["a"];
    assert_eq!(
        limit["overrides"][0]["match"],
        serde_json::json!([["[redacted]", "a.com"], ["*", "b.com"]])
    );
    assert_eq!(
        (
            &limit["overrides"][0]["burst"],
            &limit["tiers"][0]["burst"],
            &limit["candidate"]["burst"]
        ),
        (&2.into(), &9.into(), &3.into())
    );
    assert_eq!(
        (&limit["cost"], &limit["mode"]),
        (&1.into(), &"enforce".into())
    );
    assert!(!shown.to_string().contains("hunter2"));
}

#[test]
fn a_delay_is_a_time_of_up_to_a_minute() {
    let delay = |text: &str| limit(&format!("rate = '1/s'\ndelay = '{text}'")).delay;
    assert_eq!(delay("500ms"), Some(Duration::from_millis(500)));
    assert_eq!(delay("1m"), Some(Duration::from_secs(60)));
    assert_eq!(limit("rate = '1/s'").delay, None);
    refused(
        "rate = '1/s'\ndelay = '61s'",
        Code::BadValue,
        "the most is 1m",
    );
    refused(
        "rate = '1/s'\ndelay = '0s'",
        Code::BadValue,
        "longer than nothing",
    );
}

#[test]
fn requests_wait_for_tokens_of_this_gateway_only() {
    refused(
        "in_flight = 2\ndelay = '1s'",
        Code::Conflict,
        "no time brings a permit back",
    );
    let store = "[store]\nurl = 'redis://127.0.0.1:6379'";
    let text = format!("{store}\n[limits.a]\nrate = '1/s'\nscope = 'shared'\ndelay = '1s'");
    let (code, text) = only(config_with(&text, ""));
    assert_eq!(code, Code::Conflict, "{text}");
    assert!(text.contains("the limit is shared"), "{text}");
}
