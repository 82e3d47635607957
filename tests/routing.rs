//! Routing: the most specific route takes a request, whatever the order in the
//! file and the spelling of the path.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use support::{
    Upstream,
    gateway::{Gateway, Start, request, responding},
    ok, one_route,
};

/// A gateway with these routes, each given by its name and the inside of its
/// `match`. They respond with their names.
#[track_caller]
fn routes(routes: &[(&str, &str)]) -> Gateway {
    let text: String = routes
        .iter()
        .map(|(name, matches)| responding(name, &format!("match = {{ {matches} }}")))
        .collect();
    Gateway::start(&text)
}

/// Name of the route that takes a request, or `-` if none does.
#[track_caller]
fn taker(gateway: &Gateway, method: &str, path: &str, lines: &[&str]) -> String {
    let response = gateway.ask(method, path, lines);
    if response.status() == 404 {
        "-".to_owned()
    } else {
        response.text()
    }
}

#[test]
fn an_exact_host_wins_over_wildcards_the_longest_of_these_and_those_over_any_host() {
    let gateway = routes(&[
        ("any", "path = '/exact'"),
        ("wide", "hosts = ['*.example.com'], path = '/exact'"),
        ("long", "hosts = ['*.eu.example.com']"),
        ("exact", "hosts = ['a.eu.example.com']"),
    ]);
    for (host, route) in [
        ("a.eu.example.com", "exact"),
        ("A.EU.Example.Com:8080", "exact"),
        ("b.eu.example.com", "long"),
        ("c.b.eu.example.com", "long"),
        ("us.example.com", "wide"),
        ("example.com", "any"),
        ("elsewhere", "any"),
    ] {
        assert_eq!(
            taker(&gateway, "GET", "/exact", &[&format!("Host: {host}")]),
            route,
            "{host}"
        );
    }
}

#[test]
fn a_route_for_an_ipv6_address_takes_every_spelling_of_it() {
    let gateway = routes(&[("local", "hosts = ['[0:0::1]']"), ("any", "path = '/x'")]);
    for (host, route) in [
        ("[::1]", "local"),
        ("[0:0:0:0:0:0:0:1]:8080", "local"),
        ("[0::0.0.0.1]", "local"),
        ("[::2]", "any"),
    ] {
        assert_eq!(
            taker(&gateway, "GET", "/x", &[&format!("Host: {host}")]),
            route,
            "{host}"
        );
    }
    let absolute = taker(&gateway, "GET", "http://[::0:1]:80/x", &["Host: [::2]"]);
    assert_eq!(absolute, "local");
}

#[test]
fn an_exact_path_wins_over_parameters_those_over_expressions_and_those_over_prefixes() {
    let gateway = routes(&[
        ("prefix", "path_prefix = '/a'"),
        ("longer", "path_prefix = '/a/b'"),
        ("regex", "path_regex = '^/a/[a-z]+$'"),
        ("parameters", "path = '/a/{id}'"),
        ("exact", "path = '/a/me'"),
    ]);
    for (path, route) in [
        ("/a/me", "exact"),
        ("/a/you", "parameters"),
        ("/a/b", "parameters"),
        ("/a/b/c", "longer"),
        ("/a/7/x", "prefix"),
        ("/a", "prefix"),
        ("/b", "-"),
    ] {
        assert_eq!(taker(&gateway, "GET", path, &[]), route, "{path}");
    }
    let gateway = routes(&[
        ("prefix", "path_prefix = '/a'"),
        ("regex", "path_regex = '^/a/[a-z]+$'"),
    ]);
    assert_eq!(taker(&gateway, "GET", "/a/me", &[]), "regex");
    assert_eq!(taker(&gateway, "GET", "/a/7", &[]), "prefix");
}

#[test]
fn for_equal_paths_a_method_wins_then_more_headers_then_more_query_then_the_order_of_the_file() {
    let gateway = routes(&[
        ("plain", "path = '/x'"),
        ("query", "path = '/x', query = { beta = '1' }"),
        ("header", "path = '/x', headers = { x-version = '2' }"),
        (
            "headers",
            "path = '/x', headers = { x-version = '2', x-tenant = 'a' }",
        ),
        ("method", "path = '/x', methods = ['POST']"),
        ("first", "path_prefix = '/y', headers = { x-a = '1' }"),
        ("second", "path_prefix = '/y', headers = { x-b = '1' }"),
    ]);
    let (version, tenant) = ("X-Version: 2", "X-Tenant: a");
    for (method, path, lines, route) in [
        ("GET", "/x", &[][..], "plain"),
        ("GET", "/x?beta=1", &[], "query"),
        ("GET", "/x?other=0&beta=1", &[], "query"),
        ("GET", "/x?beta=2", &[], "plain"),
        ("GET", "/x?beta=1", &[version], "header"),
        ("GET", "/x?beta=1", &[version, tenant], "headers"),
        ("GET", "/x", &[tenant], "plain"),
        ("GET", "/x", &["X-Version: 3"], "plain"),
        ("POST", "/x?beta=1", &[version, tenant], "method"),
        ("GET", "/y", &["X-A: 1", "X-B: 1"], "first"),
        ("GET", "/y", &["X-B: 1"], "second"),
        ("GET", "/y", &[], "-"),
    ] {
        assert_eq!(
            taker(&gateway, method, path, lines),
            route,
            "{method} {path} {lines:?}"
        );
    }
}

#[test]
fn a_request_that_a_more_specific_route_does_not_take_falls_through_to_the_next() {
    let gateway = routes(&[
        ("any", ""),
        ("prefix", "path_prefix = '/a'"),
        ("post", "path = '/a/b', methods = ['POST']"),
        ("host", "hosts = ['h'], path = '/only'"),
    ]);
    for (method, path, lines, route) in [
        ("POST", "/a/b", &[][..], "post"),
        ("GET", "/a/b", &[], "prefix"),
        ("GET", "/c", &[], "any"),
        ("GET", "/only", &["Host: h"], "host"),
        ("GET", "/a/x", &["Host: h"], "prefix"),
    ] {
        assert_eq!(
            taker(&gateway, method, path, lines),
            route,
            "{method} {path} {lines:?}"
        );
    }
}

#[test]
fn a_prefix_ends_with_a_segment() {
    let gateway = routes(&[("orders", "path_prefix = '/orders'")]);
    for (path, route) in [
        ("/orders", "orders"),
        ("/orders/", "orders"),
        ("/orders/7", "orders"),
        ("/orders?x=1", "orders"),
        ("/ordersx", "-"),
        ("/order", "-"),
        ("/Orders", "-"),
    ] {
        assert_eq!(taker(&gateway, "GET", path, &[]), route, "{path}");
    }
}

#[test]
fn without_a_route_the_response_is_a_404_that_names_no_route() {
    let gateway = routes(&[("secret", "path = '/secret'")]);
    let response = gateway.get("/else");
    assert_eq!(response.status(), 404);
    let problem = response.problem();
    assert!(problem.get("route").is_none(), "{problem}");
    assert!(!response.text().contains("secret"), "{problem}");
    assert_eq!(problem["request_id"], response.get("x-request-id").unwrap());
    let line = gateway.access_line();
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&404.into(), &"no_route".into())
    );
    assert!(line.get("route").is_none(), "{line}");
    assert!(
        gateway.metric(
            "tidegate_requests_total",
            &[("route", "-"), ("status", "404")]
        ) == 1.0
    );
}

#[test]
fn every_spelling_of_a_path_reaches_the_route_that_guards_it() {
    let gateway = routes(&[
        ("any", ""),
        ("admin", "path_prefix = '/admin'"),
        ("exact", "path = '/one/two'"),
    ]);
    for path in [
        "/admin",
        "/a/../admin",
        "/%61dmin",
        "/%61%64%6D%69%6e/x",
        "//admin",
        "///admin//x",
        "/./admin",
        "/a/b/../../admin/",
        "/a/%2e%2e/admin",
        "/a/%2E./admin",
        "/../admin",
        "/admin/.",
        "/admin/x/..",
        "//a//..//admin",
        "/admin?x=/..",
        "http://a/admin",
        "http://a//x/../%61dmin",
    ] {
        assert_eq!(taker(&gateway, "GET", path, &[]), "admin", "{path}");
    }
    for path in [
        "/one/two",
        "/one//two",
        "/one/./two",
        "/one/x/../two",
        "/%6Fne/tw%6f",
    ] {
        assert_eq!(taker(&gateway, "GET", path, &[]), "exact", "{path}");
    }
}

#[test]
fn an_escaped_slash_stays_a_character_of_its_segment() {
    let gateway = routes(&[
        ("any", ""),
        ("admin", "path_prefix = '/admin'"),
        ("item", "path = '/items/{id}'"),
    ]);
    for (path, route) in [
        ("/admin%2Fx", "any"),
        ("/x%2f..%2fadmin", "any"),
        ("/%2fadmin", "any"),
        ("/items/a%2Fb", "item"),
        ("/items/a%2fb", "item"),
        ("/items/a/b", "any"),
    ] {
        assert_eq!(taker(&gateway, "GET", path, &[]), route, "{path}");
    }
}

/// The path that a lenient service reads: it decodes `times` times, reads
/// backslashes as slashes, drops everything behind `;` and NUL, accepts
/// overlong UTF-8, collapses slashes and resolves dot segments.
fn leniently(path: &str, times: usize) -> String {
    let mut bytes = path.split(['?', '#']).next().unwrap().as_bytes().to_vec();
    for _ in 0..times {
        let (mut out, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let digits = bytes
                .get(at + 1..at + 3)
                .and_then(|digits| std::str::from_utf8(digits).ok());
            match digits
                .filter(|_| bytes[at] == b'%')
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            {
                Some(byte) => (out.push(byte), at += 3),
                None => (out.push(bytes[at]), at += 1),
            };
        }
        bytes = out;
    }
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let text = text
        .replace("\u{c0}\u{ae}", ".")
        .replace("\u{e0}\u{80}\u{ae}", ".")
        .replace("\u{c0}\u{af}", "/");
    let text = text.replace("\u{e0}\u{80}\u{af}", "/").replace('\\', "/");
    let mut segments = Vec::new();
    for segment in text
        .split('\0')
        .next()
        .unwrap()
        .split('/')
        .map(|segment| segment.split(';').next().unwrap())
    {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

/// A service has two routes, one of them with a limit. For every spelling of a
/// path that the service may read as a path of that route, the request has been
/// counted by the limit, or was refused.
#[test]
fn no_spelling_of_a_path_reaches_a_service_around_the_limits_of_its_route() {
    let upstream = Upstream::answering(|request| ok(request.get("x-route").unwrap_or_default()));
    let route = |name: &str, more: &str| {
        format!(
            "[[routes]]\nname = '{name}'\nupstream = 'app'\nrequest = {{ set_headers = {{ x-route = '{name}' }} }}\n{more}\n"
        )
    };
    let text = support::gateway::upstream_table("app", &[&upstream], "")
        + "[limits.admin]\nrate = '1000000/s'\n"
        + &route("any", "")
        + &route(
            "admin",
            "match = { path_prefix = '/admin' }\nlimits = ['admin']",
        );
    let gateway = Gateway::start(&text);
    let ups = [
        "..",
        "%2e%2e",
        "%2E.",
        ".%2e",
        "%252e%252e",
        "%c0%ae%c0%ae",
        "%e0%80%ae.",
        "..;",
        "..;a=b",
        "..%3b",
        "..%00",
    ];
    let slashes = [
        "/",
        "//",
        "%2f",
        "%2F",
        "%5c",
        "\\",
        "%252f",
        "%c0%af",
        "%e0%80%af",
        "/./",
        "/;/",
        "%2f%2f",
    ];
    let mut spellings = vec![
        "/admin%00.png".to_owned(),
        "/admin%00/x".to_owned(),
        "/x?y=/../admin".to_owned(),
    ];
    for admin in [
        "admin",
        "%61dmin",
        "%2561dmin",
        "admin;x=y",
        "admin%3bx",
        ";/admin",
        "admin/./x",
        "x/../admin",
    ] {
        for slash in slashes {
            spellings.push(format!("/{slash}{admin}"));
            spellings.push(format!("/{admin}{slash}x"));
            spellings.push(format!("{slash}{admin}"));
            spellings.extend(ups.iter().map(|up| format!("/x{slash}{up}{slash}{admin}")));
        }
    }
    let mut client = gateway.connect();
    let mut seen = [0, 0, 0];
    for path in spellings.iter().filter(|path| path.starts_with('/')) {
        client.send(request("GET", path, &[]));
        let response = client.response();
        let (is_admin, outcome) = (response.text() == "admin", response.status());
        assert!(matches!(outcome, 200 | 400), "{path}: {outcome}");
        seen[if outcome == 400 {
            0
        } else {
            1 + usize::from(is_admin)
        }] += 1;
        let may_be_admin = (0..3).any(|times| leniently(path, times).starts_with("/admin"));
        assert!(
            is_admin || outcome == 400 || !may_be_admin,
            "{path} reached the service around the limit"
        );
        if outcome == 400 {
            client = gateway.connect();
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

/// All routes count, including those to one upstream of a split.
#[test]
fn a_split_is_no_way_around_the_limits_of_a_route_to_one_of_its_upstreams() {
    let upstream = Upstream::answering(|request| ok(request.target()));
    let tables = ["app", "next", "other"]
        .map(|name| support::gateway::upstream_table(name, &[&upstream], ""));
    let split = "[{ name = 'app', weight = 1 }, { name = 'next', weight = 1 }]";
    let route = |name: &str, upstream: &str, more: &str| {
        format!(
            "[[routes]]\nname = '{name}'\nupstream = {upstream}\n{more}\nmatch = {{ path_prefix = '/{name}' }}\n"
        )
    };
    let limited = "limits = ['tight']";
    let text = tables.concat()
        + "[limits.tight]\nrate = '1000000/s'\n"
        + &route("split", split, "")
        + &route("plain", "'app'", "")
        + &route("other", "'other'", "")
        + &route("admin", "'app'", limited)
        + &route("both", split, limited);
    let gateway = Gateway::start(&text);
    for (path, status) in [
        ("/split/x%2f..%2f..%2fadmin", 400),
        ("/split/x%2f..%2f..%2fboth", 400),
        ("/plain/x%2f..%2f..%2fboth", 400),
        ("/split/x%2f..%2f..%2fplain", 200),
        // The upstreams have a server in common.
        ("/other/x%2f..%2f..%2fboth", 400),
    ] {
        assert_eq!(gateway.get(path).status(), status, "{path}");
    }
}

/// A gateway with these routes, and the service behind them, which responds
/// with the path that it receives.
fn service(routes: &[(&str, &str)]) -> (Upstream, Gateway) {
    let upstream = Upstream::answering(|request| ok(request.target()));
    let route = |(name, rest): &(&str, &str)| format!("[[routes]]\nname = '{name}'\n{rest}\n");
    let routes: String = routes.iter().map(route).collect();
    let gateway =
        Gateway::start(&(support::gateway::upstream_table("app", &[&upstream], "") + &routes));
    (upstream, gateway)
}

/// Routes for `/admin`, and for `/pub` as `/public`, beside a route for
/// everything else.
const GUARDED: [(&str, &str); 3] = [
    (
        "admin",
        "match = { path_prefix = '/admin' }\nrespond = { status = 403 }",
    ),
    (
        "pub",
        "match = { path_prefix = '/pub' }\nupstream = 'app'\nrequest = { strip_prefix = '/pub', add_prefix = '/public' }",
    ),
    ("rest", "upstream = 'app'"),
];

#[test]
fn a_disguised_path_gets_nothing_that_its_own_route_would_refuse() {
    let (_upstream, gateway) = service(&GUARDED);
    for path in [
        "/a/..%2fadmin/x",
        "/%2fadmin",
        "/pub/..%2fadmin/x",
        "/x/..;/admin",
        "/%2561dmin",
        "/x%5c..%5cadmin",
        "/x\\..\\admin",
        "/admin;a=b/x",
        "/admin%3b/x",
        "/x/%252e%252e/admin",
        "/admin%00",
        "/admin%2f..%2fx",
        "/admin/../x",
        "/admin//../x",
        "/x%u002f..%u002fadmin",
        "/X%2f..%2fADMIN",
    ] {
        assert_eq!(gateway.get(path).status(), 400, "{path}");
        assert_eq!(gateway.access_line()["reason"], "ambiguous_path", "{path}");
    }
    assert!(gateway.metric("tidegate_refusals_total", &[("reason", "ambiguous_path")]) > 0.0);
    let problem = gateway.get("/%2fadmin").problem();
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("another route"),
        "{problem}"
    );
}

#[test]
fn an_ordinary_path_with_escapes_passes() {
    let (_upstream, gateway) = service(&GUARDED);
    for path in [
        "/api/v4/projects/group%2Fname",
        "/@scope%2fname",
        "/proxy/https%3A%2F%2Fexample.com%2Fadmin%3Fx",
        "/caf%C3%A9/%E0%A4%95",
        "/100%25",
        "/what%3F",
        "/a;b=c/d",
        "/a/../b",
        "/%7Euser/my%20file",
        "/Readme/",
        "/administrator%2Fx",
        "/x%2fadmin",
    ] {
        assert_eq!(gateway.get(path).text(), path);
    }
    assert_eq!(gateway.get("/pub/a%2Fb").text(), "/public/a%2Fb");
    let long = format!("/{}", "%C3%A9".repeat(1000));
    assert_eq!(gateway.get(&long).text(), long);
    let disguised = format!("/a%2f{}", "a".repeat(5000));
    assert_eq!(
        gateway.get(&disguised).status(),
        400,
        "the path is too long to check all of its variants"
    );
}

#[test]
fn a_rewritten_path_stays_behind_the_prefix_that_is_added() {
    let (_upstream, gateway) = service(&[
        (
            "tenant",
            "match = { hosts = ['tenant'] }\nupstream = 'app'\nrequest = { add_prefix = '/tenant' }",
        ),
        (
            "item",
            "match = { path = '/{id}' }\nupstream = 'app'\nrequest = { rewrite = '/v2/{id}/x' }",
        ),
    ]);
    let tenant = |path: &str| gateway.ask("GET", path, &["Host: tenant"]);
    for path in [
        "/..%2fother",
        "/a%2f..%2f..%2fother",
        "/..;/other",
        "/..%5cother",
        "/%252e%252e/other",
        "/..\\other",
    ] {
        assert_eq!(tenant(path).status(), 400, "{path}");
        assert_eq!(gateway.access_line()["reason"], "ambiguous_path", "{path}");
    }
    for path in ["/a%2Fb", "/a%2F..%2Fb", "/...%2F"] {
        assert_eq!(tenant(path).text(), format!("/tenant{path}"));
    }
    assert_eq!(tenant("/../x").text(), "/tenant/x");
    for path in [
        "/..%2fother",
        "/a%2f..%2f..",
        "/..;",
        "/..%5cother",
        "/%252e%252e%252fother",
    ] {
        assert_eq!(gateway.get(path).status(), 400, "{path}");
    }
    assert_eq!(gateway.get("/a%2Fb").text(), "/v2/a%2Fb/x");
}

#[test]
fn a_disguise_does_not_leave_the_prefix_that_a_route_opens() {
    let (_upstream, gateway) = service(&[(
        "items",
        "match = { path = '/shop/items/{id}' }\nupstream = 'app'",
    )]);
    for path in [
        "/shop/items/..%2f..%2fprivate",
        "/shop/items/..%2fprivate",
        "/shop/items/x%5c..%5c..%5c..%5cprivate",
    ] {
        assert_eq!(gateway.get(path).status(), 400, "{path}");
    }
    for path in ["/shop/items/a%2Fb", "/shop/items/a;b", "/shop/items/100%25"] {
        assert_eq!(gateway.get(path).text(), path);
    }
}

/// Each is a policy that applies to requests of `/guarded` and not to those of
/// the route for everything else.
#[test]
fn no_policy_of_a_route_is_bypassed_by_a_disguise() {
    for policy in [
        "limits = ['one']",
        "concurrency = { max = 1 }",
        "timeouts = { total = '1s' }",
        "timeouts = { idle = '1s' }",
        "timeouts = { body = '1s' }",
        "priority = 'low'",
        "mirror = { upstream = 'app' }",
        "request = { max_body = '1B' }",
        "request = { set_headers = { x-role = 'guest' } }",
        "request = { remove_headers = ['x-role'] }",
        "request = { preserve_host = false }",
        "request = { strip_prefix = '/guarded' }",
        "request = { rewrite = '/elsewhere' }",
        "response = { remove_headers = ['x-secret'] }",
    ] {
        let guarded = format!("match = {{ path_prefix = '/guarded' }}\nupstream = 'app'\n{policy}");
        let (_upstream, gateway) = service(&[
            ("guarded", &guarded),
            ("rest", "upstream = 'app'\n[limits.one]\nrate = '1000/s'"),
        ]);
        assert_eq!(gateway.get("/x%2f..%2fguarded").status(), 400, "{policy}");
        assert_eq!(
            gateway.get("/x%2Fguarded").text(),
            "/x%2Fguarded",
            "{policy}"
        );
        assert_eq!(gateway.get("/guarded").status(), 200, "{policy}");
    }
    let redirect =
        "match = { path_prefix = '/guarded' }\nredirect = { to = 'https://login.example/' }";
    let (_upstream, gateway) = service(&[("guarded", redirect), ("rest", "upstream = 'app'")]);
    assert_eq!(gateway.get("/x%2f..%2fguarded").status(), 400);
}

/// A route with more policies than the disguised one gives nothing away.
#[test]
fn a_stricter_route_accepts_any_spelling_of_a_path_of_a_looser_one() {
    let (_upstream, gateway) = service(&[
        (
            "strict",
            "match = { path_prefix = '/strict' }\nupstream = 'app'\nlimits = ['one']\ntimeouts = { total = '5s' }",
        ),
        ("rest", "upstream = 'app'\n[limits.one]\nrate = '1000/s'"),
    ]);
    let path = "/strict/x%2f..%2f..%2felse";
    assert_eq!(gateway.get(path).text(), path);
}

/// Another upstream is another service unless they have a server in common, so
/// its own paths stay open.
#[test]
fn an_escaped_slash_below_the_prefix_of_a_route_disguises_no_outer_route() {
    let one = Upstream::answering(|request| ok(request.target()));
    let two = Upstream::answering(|_| ok("two"));
    let text = support::gateway::upstream_table("app", &[&one], "")
        + &support::gateway::upstream_table("web", &[&two], "")
        + "[[routes]]\nname = 'project'\nupstream = 'app'\nmatch = { path = '/api/projects/{id}' }\n\
           [[routes]]\nname = 'hooks'\nupstream = 'web'\nmatch = { path_prefix = '/api/projects/hooks' }\n\
           [[routes]]\nname = 'rest'\nupstream = 'web'\n";
    let gateway = Gateway::start(&text);
    assert_eq!(
        gateway.get("/api/projects/group%2Fname").text(),
        "/api/projects/group%2Fname"
    );
    assert_eq!(gateway.get("/api/projects/hooks%2Fname").status(), 400);
    assert_eq!(gateway.get("/api/projects/..%2fx").status(), 400);
}

/// A guarded route for logins beside a route for everything else.
fn login(guard: &str) -> (Upstream, Gateway) {
    let login =
        format!("upstream = 'app'\nmatch = {{ path = '/login', methods = ['POST'] }}\n{guard}");
    let tight = "[limits.tight]\nrate = '1/h'\nburst = 1\n[limits.by-path]\nkey = 'path'\nrate = '1/h'\nburst = 1";
    service(&[
        ("login", &login),
        ("rest", &format!("upstream = 'app'\n{tight}")),
    ])
}

#[test]
fn another_case_or_a_trailing_slash_does_not_bypass_the_policies_of_a_route() {
    for limit in ["tight", "by-path"] {
        for path in ["/login/", "/LOGIN", "/Login/", "//lOgin"] {
            let (_upstream, gateway) = login(&format!("limits = ['{limit}']"));
            let post = |path: &str| gateway.ask("POST", path, &["Content-Length: 0"]);
            let first = post(path);
            assert_eq!(
                (first.status(), first.text().as_str()),
                (200, path),
                "the path is forwarded as received"
            );
            assert_eq!(gateway.access_line()["route"], "login");
            assert_eq!(post("/login").status(), 429, "{limit} {path}");
            assert_eq!(post(path).status(), 429, "{limit} {path}");
            assert_eq!(
                gateway.get(path).text(),
                path,
                "the route does not take GET"
            );
        }
    }
}

#[test]
fn a_spelling_that_two_routes_with_other_policies_could_take_is_refused() {
    let (_upstream, gateway) = login("request = { set_headers = { x-login = '1' } }");
    for path in ["/login/", "/LOGIN"] {
        assert_eq!(
            gateway.ask("POST", path, &["Content-Length: 0"]).status(),
            400,
            "{path}"
        );
        assert_eq!(gateway.access_line()["reason"], "ambiguous_path", "{path}");
    }
    assert_eq!(
        gateway
            .ask("POST", "/login", &["Content-Length: 0"])
            .status(),
        200
    );
    assert_eq!(
        gateway
            .ask("POST", "/Logins/", &["Content-Length: 0"])
            .text(),
        "/Logins/"
    );
}

#[test]
fn a_route_that_responds_by_itself_takes_other_spellings_too() {
    let (_upstream, gateway) = service(&[
        (
            "admin",
            "match = { path = '/admin' }\nrespond = { status = 403 }",
        ),
        (
            "Exact",
            "match = { path = '/Panel/' }\nrespond = { status = 403 }",
        ),
        (
            "param",
            "match = { path = '/users/{id}/keys' }\nrespond = { status = 403 }",
        ),
        (
            "regex",
            "match = { path_regex = '/internal/[a-z]+' }\nrespond = { status = 403 }",
        ),
        (
            "prefix",
            "match = { path_prefix = '/private' }\nrespond = { status = 403 }",
        ),
        (
            "slash",
            "match = { path_regex = '^/hidden/$' }\nrespond = { status = 403 }",
        ),
        (
            "below",
            "match = { path_regex = '/kept/.*' }\nrespond = { status = 403 }",
        ),
        ("rest", "upstream = 'app'"),
    ]);
    for path in [
        "/admin",
        "/admin/",
        "/ADMIN",
        "/Panel/",
        "/panel",
        "/users/7/KEYS/",
        "/internal/X",
        "/Private/x",
    ] {
        assert_eq!(gateway.get(path).status(), 403, "{path}");
    }
    for path in [
        "/hidden/", "/hidden", "/HIDDEN/", "/Hidden", "/kept/", "/KEPT/", "/Kept/x", "/kept/X/",
    ] {
        assert_eq!(gateway.get(path).status(), 403, "{path}");
    }
    for path in [
        "/hidden%2f",
        "/x/..;/hidden/",
        "/hidden;/",
        "/hidden%5c",
        "/kept%2f",
        "/kept%2Fx",
        "/x%2f..%2fkept/",
    ] {
        assert_eq!(gateway.get(path).status(), 400, "{path}");
    }
    for path in ["/admins/", "/Users/7", "/PRIVATES"] {
        assert_eq!(gateway.get(path).text(), path);
    }
}

/// A redirect that adds a slash must not match its own target, and both
/// spellings can be routes.
#[test]
fn spellings_with_routes_of_their_own_stay_apart() {
    let (_upstream, gateway) = service(&[
        (
            "docs",
            "match = { path = '/docs' }\nredirect = { to = '/docs/' }",
        ),
        (
            "users",
            "match = { path = '/users' }\nupstream = 'app'\nlimits = ['none']",
        ),
        (
            "user list",
            "match = { path = '/users/' }\nupstream = 'app'",
        ),
        (
            "upper",
            "match = { path_prefix = '/API' }\nupstream = 'app'",
        ),
        (
            "lower",
            "match = { path_prefix = '/api' }\nupstream = 'app'\nlimits = ['none']",
        ),
        ("one", "match = { path = '/Orders/{id}' }\nupstream = 'app'"),
        (
            "other",
            "match = { path = '/orders/{id}' }\nupstream = 'app'\nlimits = ['none']",
        ),
        ("rest", "upstream = 'app'\n[limits.none]\nrate = '1/h'"),
    ]);
    let _ = (gateway.get("/users"), gateway.get("/api"));
    assert_eq!(gateway.get("/docs").get("location"), Some("/docs/"));
    for path in ["/docs/", "/users/", "/API/x", "/Orders/7"] {
        assert_eq!(gateway.get(path).text(), path);
    }
}

/// Without a limit to bypass, only the documented rule applies: an escaped
/// slash is a character of its segment.
#[test]
fn a_path_that_bypasses_no_limit_may_have_any_spelling() {
    let upstream = Upstream::answering(|request| ok(request.target()));
    let text = one_route(
        &upstream,
        "limits = ['all']\nmatch = { path = '/items/{id}' }",
    ) + "[limits.all]\nrate = '1000000/s'\n[[routes]]\nname = 'rest'\nupstream = 'app'\nlimits = ['all']\n";
    let gateway = Gateway::start(&text);
    for path in [
        "/items/a%2Fb",
        "/x%2f..%2fitems/a",
        "/a;b=c/d",
        "/100%25",
        "/caf%c3%a9",
        "/a\\b",
    ] {
        assert_eq!(gateway.get(path).text(), path);
    }
}

#[test]
fn a_path_is_forwarded_as_it_was_received() {
    let upstream = Upstream::answering(|request| ok(request.target()));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    for path in [
        "/a/../b",
        "/%61",
        "//x//y",
        "/a%2Fb",
        "/?",
        "/a?b=%20&c",
        "/a/.",
    ] {
        assert_eq!(gateway.get(path).text(), path);
    }
}

#[test]
fn a_route_that_rewrites_works_on_the_normal_form() {
    let upstream = Upstream::answering(|request| ok(request.target()));
    let text = one_route(
        &upstream,
        "match = { path_prefix = '/orders' }\nrequest = { strip_prefix = '/orders', add_prefix = '/v1' }",
    );
    let gateway = Gateway::start(&text);
    for (path, sent) in [
        ("/orders/7", "/v1/7"),
        ("/orders", "/v1/"),
        ("/x/../orders/7?q=1", "/v1/7?q=1"),
        ("//orders//%37", "/v1/7"),
        ("/orders/a%2Fb", "/v1/a%2Fb"),
        ("/orders/../orders/x", "/v1/x"),
    ] {
        assert_eq!(gateway.get(path).text(), sent, "{path}");
    }
}

#[test]
fn parameters_keep_their_escapes_in_rewrites_and_redirects() {
    let upstream = Upstream::answering(|request| ok(request.target()));
    let text = one_route(
        &upstream,
        "match = { path = '/orders/{id}' }\nrequest = { rewrite = '/v2/{id}/x' }",
    ) + "[[routes]]\nname = 'old'\nmatch = { path = '/old/{id}' }\nredirect = { to = 'https://{host}/new/{id}' }\n\
           [[routes]]\nname = 'tls'\nmatch = { path_prefix = '/tls' }\nredirect = { to = 'https://{host}{path}', status = 301 }\n";
    let gateway = Gateway::start(&text);
    assert_eq!(gateway.get("/orders/a%2Fb?q=1").text(), "/v2/a%2Fb/x?q=1");
    let response = gateway.get("/old/a%2fb%20c");
    assert_eq!(response.status(), 308);
    assert!(matches!(
        response.get("location"),
        Some("https://a/new/a%2Fb%20c" | "https://a/new/a%2fb%20c")
    ));
    let response = gateway.get("/tls/x?y=1");
    assert_eq!(
        (response.status(), response.get("location")),
        (301, Some("https://a/tls/x?y=1"))
    );
}

#[test]
fn defaults_hold_for_routes_that_do_not_say_otherwise_key_by_key() {
    let upstream = Upstream::answering(|request| ok(request.get("x-from").unwrap_or("none")));
    let text = one_route(&upstream, "[routes.request]\nmax_body = '4B'")
        + "[[routes]]\nname = 'other'\nupstream = 'app'\nmatch = { path = '/other' }\nrequest = { max_body = '1KiB' }\n\
           [defaults]\nrequest = { max_body = '2B', set_headers = { x-from = 'defaults' } }\n";
    let gateway = Gateway::start(&text);
    assert_eq!(gateway.get("/").text(), "defaults");
    let post = |path, body: &str| {
        let mut client = gateway.connect();
        client.send(request(
            "POST",
            path,
            &[
                "Connection: close",
                &format!("Content-Length: {}", body.len()),
            ],
        ));
        client.send(body);
        client.response().status()
    };
    assert_eq!((post("/", "1234"), post("/", "12345")), (200, 413));
    assert_eq!(post("/other", "12345"), 200);
}

#[test]
fn included_files_are_read_as_if_written_in_the_one_that_names_them() {
    let gateway = Start::new(&format!(
        "include = ['conf.d/*.toml']\n{}",
        responding("main", "")
    ))
    .file(
        "conf.d/20.toml",
        responding("twenty", "match = { path = '/20' }\nlimits = ['one']"),
    )
    .file("conf.d/10.toml", "[limits.one]\nrate = '1/h'\n")
    .file("conf.d/ignored.txt", "not a configuration")
    .go();
    assert_eq!(gateway.get("/").text(), "main");
    assert_eq!(gateway.get("/20").text(), "twenty");
    assert_eq!(gateway.status("/20"), 429);
}
