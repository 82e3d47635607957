//! Keys: which requests share a bucket, and which values count as missing.

use super::{
    TRUST, admitted, one_limit, status_for,
    support::gateway::{Gateway, responding},
};

#[test]
fn by_route_each_route_has_a_bucket() {
    let gateway = Gateway::start(&format!(
        "[limits.l]\nkey = 'route'\nrate = '1/h'\n{}{}",
        responding("a", "match = { path = '/a' }\nlimits = ['l']"),
        responding("b", "match = { path = '/b' }\nlimits = ['l']")
    ));
    let statuses: Vec<_> = ["/a", "/b", "/a", "/b"]
        .iter()
        .map(|path| gateway.status(path))
        .collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[test]
fn each_kind_of_key_separates_requests_by_its_value() {
    // For each key: two requests of one bucket and one of another.
    for (key, same, other) in [
        (
            "'header:x-user'",
            [("GET", "/", "X-User: a"), ("PUT", "/z", "x-user: a")],
            ("GET", "/", "X-User: A"),
        ),
        (
            "'host'",
            [("GET", "/", "Host: h"), ("GET", "/z", "Host: H:81")],
            ("GET", "/", "Host: i"),
        ),
        (
            "'path'",
            [("GET", "/p", "A: 1"), ("PUT", "/x/../%70?q", "A: 2")],
            ("GET", "/q", "A: 1"),
        ),
        (
            "'method'",
            [("GET", "/p", "A: 1"), ("GET", "/q", "A: 2")],
            ("PUT", "/p", "A: 1"),
        ),
        (
            "['header:x-user', 'path']",
            [("GET", "/p", "X-User: a"), ("PUT", "/p", "X-User: a")],
            ("GET", "/q", "X-User: a"),
        ),
    ] {
        let gateway = one_limit(&format!("key = {key}\nrate = '1/h'"), "");
        let ask =
            |(method, path, line): (&str, &str, &str)| gateway.ask(method, path, &[line]).status();
        assert_eq!(
            (ask(same[0]), ask(same[1]), ask(other)),
            (200, 429, 200),
            "{key}"
        );
    }
}

#[test]
fn parts_of_a_composite_key_are_not_concatenated() {
    let gateway = one_limit("key = ['header:x-a', 'header:x-b']\nrate = '1/h'", "");
    assert_eq!(
        gateway.ask("GET", "/", &["X-A: 12", "X-B: 3"]).status(),
        200
    );
    assert_eq!(
        gateway.ask("GET", "/", &["X-A: 1", "X-B: 23"]).status(),
        200
    );
    assert_eq!(
        gateway.ask("GET", "/", &["X-A: 1", "X-B: 23"]).status(),
        429
    );
}

#[test]
fn without_trusted_proxies_no_client_chooses_its_address() {
    let gateway = one_limit("key = 'client-ip'\nrate = '1/h'\nburst = 2", "");
    let lines = [
        "X-Forwarded-For: 1.1.1.1",
        "X-Forwarded-For: 2.2.2.2",
        "Forwarded: for=3.3.3.3",
    ];
    assert_eq!(
        lines.map(|line| gateway.ask("GET", "/", &[line]).status()),
        [200, 200, 429]
    );
}

#[test]
fn behind_trusted_proxies_the_client_is_found_from_the_right() {
    let trust = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8', '10.0.0.0/8']";
    let gateway = one_limit("key = 'client-ip'\nrate = '1/h'", trust);
    let ask = |hops: &str| {
        gateway
            .ask("GET", "/", &[&format!("X-Forwarded-For: {hops}")])
            .status()
    };
    assert_eq!(ask("1.1.1.1"), 200);
    // The result is the same whatever the client puts before its own address
    // and whichever trusted hops follow.
    for hops in [
        "9.9.9.9, 1.1.1.1",
        "1.1.1.1, 10.0.0.1",
        "8.8.8.8,1.1.1.1,10.1.2.3, 127.0.0.1",
        "::ffff:1.1.1.1",
    ] {
        assert_eq!(ask(hops), 429, "{hops}");
    }
    assert_eq!(ask("1.1.1.1, 2.2.2.2"), 200);
    // IPv6 clients share a bucket by /64.
    assert_eq!(
        (
            ask("2001:db8::1"),
            ask("2001:db8::2"),
            ask("2001:db8:0:1::1")
        ),
        (200, 429, 200)
    );
    assert_eq!(
        gateway
            .ask(
                "GET",
                "/reported",
                &["X-Forwarded-For: 9.9.9.9, 3.3.3.3, 10.0.0.1"]
            )
            .status(),
        200
    );
    // Found by its path: the workers write their lines in no fixed order.
    let line = gateway.line_of("/reported");
    assert_eq!(line["client"], "3.3.3.3");
    assert!(
        line["peer"].as_str().unwrap().starts_with("127.0.0.1"),
        "{line}"
    );
}

#[test]
fn forwarded_names_the_client_if_it_is_the_configured_header() {
    let trust = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']\nheader = 'forwarded'";
    let gateway = one_limit("key = 'client-ip'\nrate = '1/h'", trust);
    let ask = |line: &str| gateway.ask("GET", "/", &[line]).status();
    assert_eq!(ask("Forwarded: for=1.1.1.1;proto=https"), 200);
    assert_eq!(ask("Forwarded: for=9.9.9.9, For=\"1.1.1.1:4711\""), 429);
    assert_eq!(ask("Forwarded: for=\"[2001:db8::7]:80\""), 200);
    assert_eq!(
        (
            ask("X-Forwarded-For: 1.1.1.1"),
            ask("X-Forwarded-For: 2.2.2.2")
        ),
        (200, 429),
        "the client is the peer itself"
    );
}

#[test]
fn neighbours_in_the_networks_of_the_key_are_one_client() {
    let gateway = one_limit("key = 'client-ip/24/56'\nrate = '1/h'", TRUST);
    let statuses = [
        "203.0.113.1",
        "203.0.113.200",
        "::ffff:203.0.113.7",
        "203.0.114.1",
        "203.0.113.0",
        "2001:db8::1",
        "2001:db8:0:ff::1",
        "2001:db8:0:100::1",
    ]
    .map(|client| status_for(&gateway, client));
    assert_eq!(statuses, [200, 429, 429, 200, 429, 200, 429, 200]);
}

#[test]
fn a_field_with_one_address_names_the_client_if_a_trusted_proxy_sends_it() {
    for name in ["cf-connecting-ip", "x-edge-client"] {
        let trust = format!("[client_ip]\ntrusted_proxies = ['127.0.0.0/8']\nheader = '{name}'");
        let gateway = one_limit("key = 'client-ip'\nrate = '1/h'", &trust);
        let ask = |value: &str| {
            let line = format!("{name}: {value}");
            gateway.ask("GET", "/", &[&line]).status()
        };
        assert_eq!(
            (ask("1.1.1.1"), ask(" 1.1.1.1 "), ask("2001:db8::7")),
            (200, 429, 200),
            "{name}"
        );
        // All of these are counted as the proxy itself.
        assert_eq!(ask("unknown"), 200);
        let garbage = [
            "2.2.2.2, 3.3.3.3",
            "2.2.2.2:80",
            "[::1]",
            "2.2.2.2 3.3.3.3",
            "",
        ];
        for value in garbage {
            assert_eq!(ask(value), 429, "{name}: {value}");
        }
        let both = [&*format!("{name}: 4.4.4.4"), &format!("{name}: 5.5.5.5")];
        assert_eq!(gateway.ask("GET", "/", &both).status(), 429);
        let other = ["X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6"];
        assert_eq!(gateway.ask("GET", "/", &other).status(), 429);
    }
}

#[test]
fn a_field_with_one_address_from_a_client_is_not_believed() {
    let trust = "[client_ip]\ntrusted_proxies = ['192.0.2.0/24']\nheader = 'x-edge-client'";
    let limits = "key = ['header:x-edge-client', 'client-ip']\nrate = '1/h'";
    let gateway = one_limit(limits, trust);
    let ask = |address: u8| {
        let line = format!("X-Edge-Client: 1.1.1.{address}");
        gateway.ask("GET", "/", &[&line]).status()
    };
    assert_eq!([ask(1), ask(2), ask(3)], [200, 429, 429]);
    let dropped = gateway.metric(
        "tidegate_request_fields_dropped_total",
        &[("route", "r"), ("reason", "untrusted")],
    );
    assert!(dropped >= 3.0, "{dropped}");
}

#[test]
fn a_quoted_string_in_forwarded_names_no_client() {
    let trust = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']\nheader = 'forwarded'";
    let gateway = one_limit("key = 'client-ip'\nrate = '1/h'", trust);
    let ask = |line: &str| {
        gateway
            .ask("GET", "/", &[&format!("Forwarded: {line}")])
            .status()
    };
    assert_eq!(ask("for=1.2.3.4"), 200);
    assert_eq!(ask(r#"host="x;for=6.6.6.6;y=";for=1.2.3.4"#), 429);
    assert_eq!(ask(r#"for=1.2.3.4;host="a\",for=6.6.6.6;x=\"b""#), 429);
    // A value that cannot be parsed as a whole is ignored: the client is the
    // sender.
    assert_eq!(ask(r#"for=1.1.1.1;host="x"y, for=6.6.6.6;z="w""#), 200);
    assert_eq!(ask(r#"for="6.6.6.7"#), 429);
}

#[test]
fn a_missing_part_is_replaced_skipped_or_refused() {
    let gateway = one_limit("key = 'header:x-user'\nrate = '1/h'", "");
    assert_eq!(
        (gateway.status("/"), gateway.status("/")),
        (200, 429),
        "the default replacement is the client's address"
    );
    assert_eq!(
        gateway.ask("GET", "/", &["X-User:"]).status(),
        429,
        "an empty value is missing"
    );
    assert_eq!(
        gateway.ask("GET", "/", &["X-User: 127.0.0.1"]).status(),
        200,
        "a value that looks like an address is not the address"
    );
    let gateway = one_limit("key = 'header:x-user'\nrate = '1/h'\nmissing = 'host'", "");
    assert_eq!((gateway.status("/"), gateway.status("/")), (200, 429));
    assert_eq!(gateway.ask("GET", "/", &["Host: other"]).status(), 200);
    let gateway = one_limit("key = 'header:x-user'\nrate = '1/h'\nmissing = 'skip'", "");
    assert_eq!(admitted(5, || gateway.get("/")), 5);
    let gateway = one_limit(
        "key = 'header:x-user'\nrate = '1/h'\nmissing = 'refuse'\nstatus = 403",
        "",
    );
    let refused = gateway.get("/");
    assert_eq!(
        (refused.status(), &refused.problem()["violated-policies"]),
        (403, &serde_json::json!(["l"]))
    );
    let line = gateway.access_line();
    assert_eq!(
        (&line["reason"], &line["limit"]),
        (&"key_missing".into(), &"l".into())
    );
    assert!(line.get("key").is_none(), "{line:#}");
    assert_eq!(gateway.ask("GET", "/", &["X-User: a"]).status(), 200);
}

#[test]
fn cookies_queries_and_parameters_separate_requests() {
    let with_route = |key: &str, route: &str| {
        Gateway::start(&format!(
            "[limits.l]\nkey = {key}\nrate = '1/h'\n{}",
            responding("r", route)
        ))
    };
    let path = "limits = ['l']\nmatch = { path = '/o/{id}' }";
    for (key, same, other) in [
        (
            "'cookie:sid'",
            [
                ("/o/1", "Cookie: sid=a"),
                ("/o/2?q", "cookie: x=1; sid=\"a\" ; y=2"),
            ],
            ("/o/1", "Cookie: sid=A"),
        ),
        (
            "'query:user'",
            [
                ("/o/1?user=a%20b", "A: 1"),
                ("/o/2?x=1&us%65r=a+b&y", "A: 2"),
            ],
            ("/o/1?user=ab", "A: 1"),
        ),
        (
            "'param:id'",
            [("/o/a%2fb", "A: 1"), ("/x/../o/%61%2Fb?x", "A: 2")],
            ("/o/ab", "A: 1"),
        ),
        (
            "['param:id', 'cookie:sid', 'client-ip']",
            [("/o/1", "Cookie: sid=a"), ("/o/1?x", "Cookie: sid=a")],
            ("/o/2", "Cookie: sid=a"),
        ),
    ] {
        let gateway = with_route(key, path);
        let ask = |(path, line): (&str, &str)| gateway.ask("GET", path, &[line]).status();
        assert_eq!(
            (ask(same[0]), ask(same[1]), ask(other)),
            (200, 429, 200),
            "{key}"
        );
    }
}

#[test]
fn equal_values_of_two_kinds_of_key_have_two_buckets() {
    let gateway = Gateway::start(&format!(
        "[limits.l]\nkey = 'cookie:a'\nmissing = 'query:a'\nrate = '1/h'\n{}",
        responding("r", "limits = ['l']")
    ));
    let ask = |path: &str, line: &str| gateway.ask("GET", path, &[line]).status();
    assert_eq!(
        (
            ask("/", "Cookie: a=1"),
            ask("/?a=1", "A: 1"),
            ask("/?a=1", "A: 1")
        ),
        (200, 200, 429)
    );
}

#[test]
fn a_repeated_part_with_different_values_is_missing() {
    // Otherwise a client could hide one value behind another and get a fresh
    // bucket for each.
    for (key, path, lines) in [
        ("header:x-user", "/", &["X-User: NAME", "X-User: mine"][..]),
        ("header:x-user", "/", &["X-User: mine", "X-User: NAME"]),
        ("cookie:sid", "/", &["Cookie: sid=NAME; sid=mine"]),
        ("cookie:sid", "/", &["Cookie: sid=mine", "Cookie: sid=NAME"]),
        ("query:user", "/?user=NAME&user=mine", &["A: 1"]),
        ("query:user", "/?user=mine&us%65r=NAME", &["A: 1"]),
    ] {
        let gateway = one_limit(&format!("key = '{key}'\nrate = '1/h'"), "");
        let admitted = (0..5).filter(|number| {
            let name = format!("n{number}");
            let lines: Vec<_> = lines
                .iter()
                .map(|line| line.replace("NAME", &name))
                .collect();
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            gateway
                .ask("GET", &path.replace("NAME", &name), &lines)
                .status()
                == 200
        });
        assert_eq!(
            admitted.count(),
            1,
            "{key} {path} {lines:?}: not in the bucket of the address"
        );
    }
    let gateway = one_limit("key = 'header:x-user'\nrate = '1/h'", "");
    let ask = |lines: &[&str]| gateway.ask("GET", "/", lines).status();
    assert_eq!(
        (ask(&["X-User: a"]), ask(&["X-User: a", "X-User: a"])),
        (200, 429),
        "a repeated equal value is one value"
    );
}

#[test]
fn a_missing_part_can_be_replaced_by_every_kind_of_part() {
    for (missing, path, line) in [
        ("cookie:sid", "/o/7", "Cookie: sid=NAME"),
        ("query:q", "/o/7?q=NAME", "A: 1"),
        ("param:id", "/o/NAME", "A: 1"),
        ("header:x-other", "/o/7", "X-Other: NAME"),
    ] {
        let route = responding("r", "limits = ['l']\nmatch = { path = '/o/{id}' }");
        let gateway = Gateway::start(&format!(
            "[limits.l]\nkey = 'header:x-user'\nmissing = '{missing}'\nrate = '1/h'\n{route}"
        ));
        let ask = |name: &str| {
            gateway
                .ask(
                    "GET",
                    &path.replace("NAME", name),
                    &[&line.replace("NAME", name)],
                )
                .status()
        };
        assert_eq!((ask("a"), ask("b"), ask("a")), (200, 200, 429), "{missing}");
    }
    let gateway = one_limit(
        "key = 'header:x-user'\nmissing = 'cookie:sid'\nrate = '1/h'",
        "",
    );
    assert_eq!(gateway.status("/"), 429, "the replacement is missing, too");
}

#[test]
fn long_values_are_distinct_keys() {
    let gateway = one_limit("key = 'header:x-user'\nrate = '1/h'", "");
    let long = "x".repeat(8000);
    let ask = |end: &str| {
        gateway
            .ask("GET", "/", &[&format!("X-User: {long}{end}")])
            .status()
    };
    assert_eq!((ask("a"), ask("b"), ask("a")), (200, 200, 429));
}

#[test]
fn every_spelling_of_one_value_is_one_key() {
    // For each key: spellings of one value, each as a path and a header line,
    // and a request with another value.
    for (key, spellings, other) in [
        (
            "header:authorization",
            &[
                ("/", "Authorization: Bearer tOk"),
                ("/", "Authorization: bearer tOk"),
                ("/", "authorization: BEARER  tOk"),
                ("/", "Authorization: Bearer\ttOk"),
                ("/", "Authorization:   Bearer \t tOk \t"),
                (
                    "/",
                    "Authorization: bearer tOk\r\nAuthorization: Bearer  tOk",
                ),
            ][..],
            ("/", "Authorization: Bearer TOK"),
        ),
        (
            "header:proxy-authorization",
            &[
                ("/", "Proxy-Authorization: Basic QTpi"),
                ("/", "Proxy-Authorization: basic  QTpi"),
            ],
            ("/", "Proxy-Authorization: Basic qtpi"),
        ),
        (
            "header:x-key",
            &[
                ("/", "X-Key: A  b"),
                ("/", "X-Key:\tA\tb "),
                ("/", "x-key: A \t b"),
            ],
            ("/", "X-Key: a b"),
        ),
        (
            "cookie:sid",
            &[
                ("/", "Cookie: sid=a/b c"),
                ("/", "Cookie: sid=a%2Fb%20c"),
                ("/", "Cookie: x=1; sid=\"a%2fb+c\""),
                ("/", "Cookie: sid = \"a\\057b c\" ; x=1"),
                ("/", "Cookie: sid=%61/b+c\r\nCookie: sid=a/b%20c"),
            ],
            ("/", "Cookie: sid=a/b%20C"),
        ),
        (
            "query:q",
            &[
                ("/?q=a%20b", "A: 1"),
                ("/?q=a+b", "A: 1"),
                ("/?%71=%61+b&q=a%20b", "A: 1"),
            ],
            ("/?q=ab", "A: 1"),
        ),
        (
            "host",
            &[
                ("/", "Host: Shop.example"),
                ("/", "Host: shop.EXAMPLE.:80"),
                ("/", "Host: shop.example:8080"),
            ],
            ("/", "Host: example"),
        ),
        (
            "path",
            &[
                ("/o/a@b", "A: 1"),
                ("/o/a%40b", "A: 1"),
                ("//o/./%61@b", "A: 1"),
                ("/o/x/../a%40%62", "A: 1"),
            ],
            ("/o/a%2540b", "A: 1"),
        ),
        (
            "param:id",
            &[
                ("/o/a@b", "A: 1"),
                ("/o/a%40b", "A: 1"),
                ("/o/%61%40b", "A: 1"),
            ],
            ("/o/ab", "A: 1"),
        ),
    ] {
        let matched = if key == "param:id" {
            "match = { path = '/o/{id}' }"
        } else {
            ""
        };
        let route = responding("r", &format!("limits = ['l']\n{matched}"));
        let limit =
            format!("[limits.l]\nkey = '{key}'\nrate = '1/h'\nmissing = 'refuse'\nstatus = 403");
        let gateway = Gateway::start(&format!("{limit}\n{route}"));
        let ask = |(path, line): &(&str, &str)| gateway.ask("GET", path, &[*line]).status();
        let statuses: Vec<_> = spellings.iter().map(ask).collect();
        assert_eq!(statuses[0], 200, "{key}");
        assert!(
            statuses[1..].iter().all(|status| *status == 403),
            "{key}: {statuses:?}"
        );
        assert_eq!(ask(&other), 200, "{key}: another value has another bucket");
        let refused = gateway.metric("tidegate_refusals_total", &[("reason", "key_missing")]);
        assert_eq!(refused, 0.0, "{key}: no spelling counts as missing");
    }
}
