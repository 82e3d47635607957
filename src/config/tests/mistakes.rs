//! Every mistake is reported, once, at its place, with a correction.

use proptest::prelude::*;

use super::{
    super::{Code, Environment, parse},
    config_with, only, places, read,
};

const TEN: &str = r#"
[[listeners]]
bind = ":8080"
max_headers = "100"

[upstreams.app]
servers = ["http://127.0.0.1:9000"]
balance = "hash"

[limits.per-client]
rate = "100"
burst = 0

[[routes]]
name = "app"
upstream = "ap"
limts = ["per-client"]
limits = ["per-cleint"]
[routes.match]
path = "/a//b"
[routes.timeouts]
total = 30
"#;

#[test]
fn ten_mistakes_in_one_file_are_reported_at_once() {
    let expected = [
        (3, Code::BadValue),
        (4, Code::WrongType),
        (8, Code::MissingKey),
        (11, Code::BadValue),
        (12, Code::BadValue),
        (16, Code::UnknownName),
        (17, Code::UnknownKey),
        (18, Code::UnknownName),
        (20, Code::BadValue),
        (22, Code::WrongType),
    ];
    assert_eq!(places(read(TEN)), expected);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_the_refusal_can_be_shown(text: String) {
        if let Err(diagnostics) = parse("test.toml", &text, &Environment::new()) {
            prop_assert!(!diagnostics.render(true).is_empty());
        }
    }

    #[test]
    fn text_that_looks_like_toml_is_read_or_refused(
        lines in proptest::collection::vec(
            "(\\[?\\[?(routes|upstreams|limits|a)(\\.match|\\.x)?\\]?\\]?|(name|servers|rate|a|host) ?= ?(\"[a-z/{}$]{0,5}\"?|[0-9]{1,3}s?|\\[('é',?)*\\]?|\\{a=1\\}?|'''é?|\"\"\")|#é|\r)",
            0..12,
        )
    ) {
        if let Err(diagnostics) = parse("test.toml", &lines.join("\n"), &Environment::new()) {
            prop_assert!(!diagnostics.render(false).is_empty());
            prop_assert!(!diagnostics.list.is_empty());
        }
    }
}

/// Checks that these keys of a route cause one diagnostic, which contains this
/// text.
fn refused(route: &str, code: Code, expected: &str) {
    let (found, text) = only(config_with("limits = { l = { rate = \"1/s\" } }", route));
    assert_eq!(found, code, "{route}: {text}");
    assert!(text.contains(expected), "{route}: {text}");
}

#[test]
fn contradictions_in_a_route_are_reported() {
    refused(
        "respond = {}",
        Code::Conflict,
        "`upstream` and `respond` exclude each other",
    );
    refused(
        "match = { path = \"/a\", path_prefix = \"/b\" }",
        Code::Conflict,
        "exclude each other",
    );
    refused(
        "request = { rewrite = \"/a\", add_prefix = \"/b\" }",
        Code::Conflict,
        "exclude each other",
    );
    refused(
        "timeouts = { total = \"1s\", attempt = \"2s\" }",
        Code::Conflict,
        "never fits into the total of 1s",
    );
    refused(
        "concurrency = { queue = 3 }",
        Code::MissingKey,
        "a queue without a cap",
    );
    refused("concurrency = {}", Code::MissingKey, "add `max = N`");
    refused(
        "concurrency = { max = 9, adaptive = { min = 1, max = 8 } }",
        Code::Conflict,
        "`max` and `adaptive` exclude each other",
    );
    refused(
        "concurrency = { adaptive = { min = 9, max = 8 } }",
        Code::Conflict,
        "`min` is above `max`, which is 8",
    );
    refused(
        "concurrency = { adaptive = { max = 8 } }",
        Code::MissingKey,
        "`min` is missing",
    );
    refused(
        "concurrency = { adaptive = { min = 0, max = 8 } }",
        Code::BadValue,
        "the least is 1",
    );
    refused(
        "concurrency = { adaptive = true }",
        Code::WrongType,
        "`adaptive` is a table",
    );
    refused(
        "concurrency = { max = 1, fair_by = \"ip\" }",
        Code::BadValue,
        "it is not part of a key",
    );
    refused(
        "concurrency = { max = 1, fair_by = [] }",
        Code::BadValue,
        "leave `fair_by` out",
    );
    refused(
        "priority = \"urgent\"",
        Code::BadValue,
        "there is no such choice",
    );
    refused(
        "retry = { backoff = \"2s\", max_backoff = \"1s\" }",
        Code::Conflict,
        "`max_backoff` is below",
    );
    refused(
        "limits = [\"l\", \"l\"]",
        Code::Duplicate,
        "`limits` has this twice",
    );
    refused(
        "request = { set_headers = { x-a = \"1\" }, remove_headers = [\"X-A\"] }",
        Code::Conflict,
        "both set and removed",
    );
    refused(
        "response = { set_headers = { x-a = \"1\", X-A = \"2\" } }",
        Code::Duplicate,
        "x-a is set twice",
    );
}

#[test]
fn bad_values_of_a_route_are_reported_with_good_ones() {
    refused(
        "match = { path_regex = \"/(a\" }",
        Code::BadValue,
        "unclosed group",
    );
    refused(
        "match = { hosts = [\"a.com:80\"] }",
        Code::BadValue,
        "write \"a.com\"",
    );
    refused(
        "match = { hosts = [] }",
        Code::BadValue,
        "leave `hosts` out",
    );
    refused(
        "match = { methods = [\"get\"] }",
        Code::BadValue,
        "write \"GET\"",
    );
    refused(
        "match = { path = \"/{a}/{a}\" }",
        Code::BadValue,
        "stands there twice",
    );
    refused(
        "request = { rewrite = \"/{id}\" }",
        Code::UnknownName,
        "nothing fills in `{id}`",
    );
    refused(
        "request = { keep_headers = [\"X-Forwarded-For\"] }",
        Code::BadValue,
        "trusted_proxies",
    );
    refused(
        "request = { set_headers = { Content-Length = \"1\" } }",
        Code::BadValue,
        "where the message ends",
    );
    refused(
        "retry = { on = [\"5xx\"] }",
        Code::BadValue,
        "from \"400\" to \"599\"",
    );
    refused("retry = { budget = 20 }", Code::WrongType, "`\"20%\"`");
    refused(
        "request = { max_body = 10 }",
        Code::WrongType,
        "a size has a unit",
    );
    refused(
        "timeouts = { total = \"0s\" }",
        Code::BadValue,
        "longer than nothing",
    );
    refused(
        "timeouts = \"1s\"",
        Code::WrongType,
        "`timeouts` is a table, not a string",
    );
    refused("limits = \"l\"", Code::WrongType, "`limits = [\"l\"]`");
}

#[test]
fn unknown_names_are_reported_once_and_only_at_their_use() {
    let broken_upstream = "[upstreams.a]\nservers = []\n[[routes]]\nname = \"a\"\nupstream = \"a\"";
    assert_eq!(places(read(broken_upstream)), [(2, Code::BadValue)]);
    let in_defaults = "[defaults]\nlimits = [\"no\"]\n[[routes]]\nname = \"a\"\nrespond = {}\n[[routes]]\nname = \"b\"\nmatch = { path = \"/b\" }\nrespond = {}";
    assert_eq!(places(read(in_defaults)), [(2, Code::UnknownName)]);
}

#[test]
fn duplicate_names_and_addresses_are_reported() {
    let names = "[[routes]]\nname = \"a\"\nrespond = {}\n[[routes]]\nname = \"a\"\nmatch = { path = \"/b\" }\nrespond = {}";
    assert_eq!(places(read(names)), [(5, Code::Duplicate)]);
    let admin = "admin = { bind = \"0.0.0.0:8080\" }";
    assert_eq!(places(config_with(admin, "")), [(1, Code::Duplicate)]);
    let one_of_all = "admin = { bind = \"127.0.0.1:8080\" }";
    assert_eq!(places(config_with(one_of_all, "")), [(1, Code::Duplicate)]);
    let both = |one, other| {
        config_with(
            &format!("[[listeners]]\nbind = \"{one}\"\n[[listeners]]\nbind = \"{other}\""),
            "",
        )
    };
    for (one, other) in [
        ("0.0.0.0:1", "127.0.0.1:1"),
        ("10.0.0.1:1", "0.0.0.0:1"),
        ("[::]:1", "[::1]:1"),
    ] {
        assert_eq!(
            places(both(one, other)),
            [(4, Code::Duplicate)],
            "{one} {other}"
        );
    }
    for (one, other) in [
        ("0.0.0.0:1", "[::]:1"),
        ("10.0.0.1:1", "10.0.0.2:1"),
        ("0.0.0.0:1", "10.0.0.1:2"),
    ] {
        assert!(both(one, other).is_ok(), "{one} {other}");
    }
    let servers = "[upstreams.b]\nservers = [\"http://a\", \"http://A:80\"]";
    assert_eq!(places(config_with(servers, "")), [(2, Code::Duplicate)]);
    let ports_of_the_system =
        "[[listeners]]\nbind = \"[::1]:0\"\n[[listeners]]\nbind = \"[::1]:0\"";
    assert!(config_with(ports_of_the_system, "").is_ok());
}

/// Whether the first of two routes with these matches hides the second.
fn hides(one: &str, two: &str) -> bool {
    let route = |name, matches| {
        format!("[[routes]]\nname = \"{name}\"\nrespond = {{}}\nmatch = {{ {matches} }}\n")
    };
    match read(&(route("one", one) + &route("two", two))) {
        Ok(_) => false,
        Err(diagnostics) => diagnostics
            .list
            .iter()
            .all(|one| one.code == Code::HiddenRoute),
    }
}

#[test]
fn a_route_hidden_by_an_earlier_one_is_reported() {
    assert!(hides("", ""));
    assert!(hides("path_prefix = \"/a\"", "path_prefix = \"/a/\""));
    assert!(hides("path = \"/a/{x}\"", "path = \"/a/{y}\""));
    assert!(hides("hosts = [\"a\", \"b\"]", "hosts = [\"B\"]"));
    assert!(hides("methods = [\"GET\", \"PUT\"]", "methods = [\"PUT\"]"));
    assert!(!hides("hosts = [\"a\"]", "hosts = [\"a\", \"b\"]"));
    assert!(!hides("methods = [\"GET\"]", ""));
    assert!(!hides("path = \"/a\"", "path_prefix = \"/a\""));
    assert!(!hides("headers = { x = \"1\" }", "headers = { x = \"2\" }"));
}

#[test]
fn a_route_without_a_name_or_an_action_is_reported() {
    assert_eq!(
        places(read("[[routes]]\nrespond = {}")),
        [(1, Code::MissingKey)]
    );
    assert_eq!(
        places(read("[[routes]]\nname = \"a\"")),
        [(2, Code::MissingKey)]
    );
    assert_eq!(
        places(read("[routes]\nname = \"a\"")),
        [(1, Code::WrongType)]
    );
}

#[test]
fn a_bucket_that_would_take_a_lifetime_to_fill_is_reported() {
    assert_eq!(
        places(config_with(
            "[limits.a]\nrate = \"1/d\"\nburst = 4000000000",
            ""
        )),
        [(3, Code::Conflict)]
    );
    let (code, text) = only(config_with("[limits.a]\nrate = \"1/365d\"\nburst = 74", ""));
    assert_eq!(code, Code::Conflict);
    assert!(text.contains("takes more than 73 years"), "{text}");
    assert!(config_with("[limits.a]\nrate = \"1/365d\"\nburst = 73", "").is_ok());
    for more in [
        "candidate = { rate = '1/365d', burst = 74 }",
        "tiers = [{ prefix = 56, rate = '1/365d', burst = 74 }]",
    ] {
        let limit = format!("[limits.a]\nkey = 'client-ip'\nrate = '1/s'\n{more}");
        assert_eq!(only(config_with(&limit, "")).0, Code::Conflict, "{more}");
    }
}
