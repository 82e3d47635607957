//! Promises of the route table, one example each. `oracle` covers the
//! combinations.

mod routes;

use self::routes::{Narrowed, Routes, any, exact, host, parameters, path, prefix, regex};
use crate::policy::{Match, PathPattern};

#[test]
fn an_exact_host_goes_before_wildcards_the_longest_wildcard_before_shorter_ones_and_any_host_comes_last()
 {
    let routes = [
        any(),
        host("*.example.com"),
        host("*.b.example.com"),
        host("a.b.example.com"),
    ];
    assert_eq!(routes.asked("a.b.example.com", "/"), Some(3));
    assert_eq!(routes.asked("x.b.example.com", "/"), Some(2));
    assert_eq!(routes.asked("b.example.com", "/"), Some(1));
    assert_eq!(routes.asked("example.com", "/"), Some(0));
}

#[test]
fn a_wildcard_takes_one_or_more_whole_labels() {
    let routes = [host("*.example.com")];
    assert_eq!(routes.asked("a.example.com", "/"), Some(0));
    assert_eq!(routes.asked("c.b.a.example.com", "/"), Some(0));
    for other in [
        "example.com",
        ".example.com",
        "anexample.com",
        "a.example.com.evil.net",
        "",
        "com",
    ] {
        assert_eq!(routes.asked(other, "/"), None, "{other}");
    }
}

#[test]
fn an_exact_host_goes_before_a_more_specific_path() {
    let routes = [
        host("*.com").path(exact("/a")),
        path(exact("/a")),
        host("x.com"),
    ];
    assert_eq!(routes.asked("x.com", "/a"), Some(2));
    assert_eq!(routes.asked("y.com", "/a"), Some(0));
    assert_eq!(routes.asked("y.net", "/a"), Some(1));
}

#[test]
fn exact_paths_go_before_parameters_those_before_expressions_and_those_before_the_longest_prefix() {
    let routes = [
        path(PathPattern::Any),
        path(prefix("/a")),
        path(prefix("/a/b")),
        path(regex("/a/b|/a/x.*")),
        path(parameters("/a/{id}")),
        path(exact("/a/b")),
    ];
    assert_eq!(routes.asked("h", "/a/b"), Some(5));
    assert_eq!(routes.asked("h", "/a/c"), Some(4));
    assert_eq!(routes.asked("h", "/a/x/y"), Some(3));
    assert_eq!(routes.asked("h", "/a/b/c"), Some(2));
    assert_eq!(routes.asked("h", "/a"), Some(1));
    assert_eq!(routes.asked("h", "/b"), Some(0));
}

#[test]
fn a_route_that_names_the_method_goes_before_headers_headers_before_query_and_query_before_the_file()
 {
    let named = |count: usize| {
        ["x-a", "x-b"][..count]
            .iter()
            .fold(any(), |route, name| route.header(name, "1"))
    };
    let routes = [
        any(),
        any(),
        any().query("q", "1"),
        any().query("q", "1").query("r", "1"),
        named(1),
        named(2),
        any().method("GET"),
    ];
    let asked = |method, headers: &[(&'static str, &str)], query| {
        routes.found("h", "/", method, headers, query)
    };
    let (both, one) = ([("x-a", "1"), ("x-b", "1")], [("x-a", "1")]);
    assert_eq!(asked("GET", &both, "q=1&r=1"), Some(6));
    assert_eq!(asked("PUT", &both, "q=1&r=1"), Some(5));
    assert_eq!(asked("PUT", &one, "q=1&r=1"), Some(4));
    assert_eq!(asked("PUT", &[], "q=1&r=1"), Some(3));
    assert_eq!(asked("PUT", &[], "q=1"), Some(2));
    assert_eq!(asked("PUT", &[], ""), Some(0));
}

#[test]
fn a_specific_route_that_fails_on_a_condition_hides_no_less_specific_one() {
    let specific = host("a.b.c").method("PUT");
    let routes = [
        specific.clone().path(exact("/a/b")),
        specific.clone().path(parameters("/a/{x}")),
        specific.clone().path(parameters("/{x}/b")),
        specific.clone().path(regex("/a/.")),
        specific.clone().path(prefix("/a/b")),
        specific.clone().path(prefix("/a")),
        host("*.b.c").method("POST"),
        host("*.c").method("HEAD"),
        any(),
    ];
    for first in 0..6 {
        let index = routes[first..].found("a.b.c", "/a/b", "PUT", &[], "");
        assert_eq!(index, Some(0), "the best of those from {first} on");
    }
    assert_eq!(routes.found("a.b.c", "/a/b", "POST", &[], ""), Some(6));
    assert_eq!(routes.found("a.b.c", "/a/b", "HEAD", &[], ""), Some(7));
    assert_eq!(routes.found("a.b.c", "/a/b", "GET", &[], ""), Some(8));
    assert_eq!(routes[..8].found("a.b.c", "/a/b", "GET", &[], ""), None);
}

#[test]
fn among_patterns_with_parameters_conditions_decide_and_then_the_file() {
    let routes = [
        path(parameters("/{a}/b")),
        path(parameters("/a/{b}")),
        path(parameters("/{a}/{b}")).header("x", "1"),
        path(parameters("/{a}/{b}")).method("GET"),
    ];
    assert_eq!(routes.found("h", "/a/b", "GET", &[("x", "1")], ""), Some(3));
    assert_eq!(routes.found("h", "/a/b", "PUT", &[("x", "1")], ""), Some(2));
    assert_eq!(routes.found("h", "/a/b", "PUT", &[], ""), Some(0));
    assert_eq!(routes.found("h", "/a/c", "PUT", &[], ""), Some(1));
}

#[test]
fn a_route_answers_under_each_of_its_hosts_and_methods() {
    let routes = [Match {
        hosts: [host("a"), host("*.b")].map(|route| route.hosts).concat(),
        ..any()
    }
    .method("GET")
    .method("PUT")];
    for (host, method, index) in [
        ("a", "GET", Some(0)),
        ("x.b", "PUT", Some(0)),
        ("a", "POST", None),
        ("c", "GET", None),
    ] {
        assert_eq!(
            routes.found(host, "/", method, &[], ""),
            index,
            "{method} {host}"
        );
    }
}

#[test]
fn a_prefix_takes_whole_segments() {
    let routes = [path(prefix("/orders"))];
    for (path, index) in [
        ("/orders", Some(0)),
        ("/orders/", Some(0)),
        ("/orders/7", Some(0)),
        ("/ordersx", None),
        ("/order", None),
        ("/", None),
        ("/x/orders", None),
    ] {
        assert_eq!(routes.asked("h", path), index, "{path}");
    }
}

#[test]
fn an_exact_path_takes_no_additional_trailing_slash() {
    let routes = [path(exact("/a")), path(exact("/a/")), path(exact("/"))];
    assert_eq!(routes.asked("h", "/a"), Some(0));
    assert_eq!(routes.asked("h", "/a/"), Some(1));
    assert_eq!(routes.asked("h", "/"), Some(2));
    assert_eq!(routes.asked("h", "/a/b"), None);
}

#[test]
fn a_parameter_takes_one_segment_that_is_not_empty() {
    let routes = [path(parameters("/orders/{id}"))];
    assert_eq!(routes.asked("h", "/orders/7"), Some(0));
    for other in [
        "/orders",
        "/orders/",
        "/orders/7/",
        "/orders/7/8",
        "/other/7",
    ] {
        assert_eq!(routes.asked("h", other), None, "{other}");
    }
}

#[test]
fn parameters_come_in_the_order_of_the_path_and_keep_their_escapes() {
    let routes = [path(parameters("/{shop}/orders/{id}"))];
    let found = routes
        .look_up("h", b"/caf%C3%A9/orders/a%2Fb\xff", "GET", &[], "")
        .expect("a match");
    let parameters: Vec<(&str, &str)> = found
        .parameters
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(parameters, [("shop", "caf%C3%A9"), ("id", "a%2Fb\u{fffd}")]);
}

#[test]
fn a_route_without_parameters_allocates_none() {
    let found = [path(exact("/a"))]
        .look_up("h", b"/a", "GET", &[], "")
        .expect("a match");
    assert_eq!(found.parameters.capacity(), 0);
}

#[test]
fn an_expression_takes_the_whole_path_whatever_its_flags_and_alternatives() {
    let routes = [
        path(regex("/a|/b/c")),
        path(regex("(?m)/d$|x")),
        path(regex("^/e/[0-9]+$")),
    ];
    for (path, index) in [
        ("/a", Some(0)),
        ("/b/c", Some(0)),
        ("/ab", None),
        ("/x/b/c", None),
        ("/d", Some(1)),
        ("/d\n/d", None),
        ("/x", None),
        ("/e/42", Some(2)),
        ("/e/42/", None),
    ] {
        assert_eq!(routes.asked("h", path), index, "{path:?}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_bypass_no_expression_and_no_prefix() {
    let routes = [
        path(PathPattern::Any),
        path(prefix("/files")),
        path(regex("/admin/.*")),
    ];
    let index = |path| {
        routes
            .look_up("h", path, "GET", &[], "")
            .map(|found| found.index)
    };
    assert_eq!(index(b"/admin/\xff"), Some(2));
    assert_eq!(index(b"/files/\xff"), Some(1));
    assert_eq!(index(b"/\xff"), Some(0));
}

#[test]
fn targets_without_a_path_match_only_routes_for_every_path() {
    let others = [
        path(prefix("/a")),
        path(regex(".*")),
        path(parameters("/{a}")),
        path(exact("/")),
    ];
    for target in ["*", "", "a"] {
        assert_eq!(others.asked("h", target), None, "{target}");
        assert_eq!(
            [&others[..], &[any()]].concat().asked("h", target),
            Some(4),
            "{target}"
        );
    }
}

#[test]
fn any_value_of_a_repeated_header_may_match() {
    let routes = [any().header("x-version", "2")];
    let asked = |headers: &[(&'static str, &str)]| routes.found("h", "/", "GET", headers, "");
    assert_eq!(asked(&[("x-version", "1"), ("x-version", "2")]), Some(0));
    assert_eq!(asked(&[("x-version", "1")]), None);
    assert_eq!(asked(&[("x-version", "2, 1")]), None);
}

#[test]
fn query_parameters_compare_after_decoding_and_any_repeated_one_may_match() {
    let routes = [any().query("na me", "a+b=c")];
    for query in [
        "na+me=a%2bb%3Dc",
        "x=1&na%20me=a%2Bb=c",
        "na me=1&na me=a%2Bb=c&",
        "&&na%20m%65=a%2bb=c",
    ] {
        assert_eq!(
            routes.found("h", "/", "GET", &[], query),
            Some(0),
            "{query}"
        );
    }
    for query in [
        "",
        "na+me=a+b=c",
        "na+me",
        "x=na+me=a%2bb%3Dc",
        "na+me=a%2bb%3Dc;",
    ] {
        assert_eq!(routes.found("h", "/", "GET", &[], query), None, "{query}");
    }
}

#[test]
fn a_query_parameter_without_a_value_is_empty_and_a_broken_escape_stands_for_itself() {
    assert_eq!(
        [any().query("debug", "")].found("h", "/", "GET", &[], "debug"),
        Some(0)
    );
    assert_eq!(
        [any().query("q", "100%")].found("h", "/", "GET", &[], "q=100%"),
        Some(0)
    );
    assert_eq!(
        [any().query("q", "%zz%4")].found("h", "/", "GET", &[], "q=%zz%4"),
        Some(0)
    );
}

#[test]
fn hostile_lengths_are_walked_no_further_than_the_routes_go() {
    let (path_of, host_of) = ("/a".repeat(16 << 10), "a.".repeat(16 << 10) + "example.com");
    let routes = [
        any(),
        host("*.a.a.example.com"),
        host("*.a.example.com").path(exact("/a/a/a")),
        path(prefix("/a/a")),
        path(parameters("/a/{a}/a/{b}")),
        path(regex("(/a)*b")),
    ];
    assert_eq!(routes.asked(&host_of, &path_of), Some(1));
    assert_eq!(routes.asked("h", &path_of), Some(3));
}

#[test]
fn expressions_that_compile_alone_compile_together() {
    // Each expression takes more than a third of the size that a single one may
    // have by default.
    let routes =
        [r"/\w{80}x", r"/\w{80}y", r"/\w{80}z", r"/\w{80}"].map(|pattern| path(regex(pattern)));
    assert_eq!(routes.asked("h", &format!("/{}", "a".repeat(80))), Some(3));
}

#[test]
fn an_empty_table_finds_nothing() {
    assert_eq!(<[Match]>::asked(&[], "h", "/"), None);
}
