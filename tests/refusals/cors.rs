//! The CORS protocol: which responses a page of another origin may read.

use super::support::{
    Message, TIMEOUT, Upstream,
    gateway::{Closed, Gateway, responding},
    http2::Http2,
    ok, one_route,
};

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// A section that permits one origin.
const ONE: &str = "[routes.cors]\norigins = ['https://app.example.com']\n";

/// The header lines of a preflight by a page of this origin.
fn asking(origin: &str, method: &str) -> Vec<String> {
    vec![
        format!("Origin: {origin}"),
        format!("Access-Control-Request-Method: {method}"),
    ]
}

#[track_caller]
fn preflight(gateway: &Gateway, path: &str, origin: &str, method: &str) -> Message {
    let lines = asking(origin, method);
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    gateway.ask("OPTIONS", path, &lines)
}

#[track_caller]
fn from(gateway: &Gateway, origin: &str, path: &str) -> Message {
    gateway.ask("GET", path, &[&format!("Origin: {origin}")])
}

#[test]
fn a_preflight_is_answered_with_everything_that_the_route_permits() {
    let upstream = Upstream::answering(|_| ok("never"));
    let more = format!(
        "{ONE}methods = ['GET', 'PUT']\nheaders = ['Content-Type', 'authorization']\n\
         credentials = true\nmax_age = '1h'\n"
    );
    let gateway = Gateway::start(&one_route(&upstream, &more));
    let response = preflight(&gateway, "/a", "https://app.example.com", "DELETE");
    assert_eq!((response.status(), response.text()), (204, String::new()));
    for (name, value) in [
        (ALLOW_ORIGIN, "https://app.example.com"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, PUT"),
        (
            "access-control-allow-headers",
            "content-type, authorization",
        ),
        ("access-control-max-age", "3600"),
        (
            "vary",
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ),
    ] {
        assert_eq!(response.get(name), Some(value), "{name}");
    }
    assert_eq!(response.get("access-control-expose-headers"), None);
    assert_eq!(upstream.connections(), 0);
    let line = gateway.access_line();
    assert_eq!(
        (&line["method"], &line["status"], &line["route"]),
        (&"OPTIONS".into(), &204.into(), &"app".into())
    );
    assert!(line.get("reason").is_none(), "{line}");
}

#[test]
fn a_preflight_takes_no_token_and_no_permit_and_is_never_refused() {
    let (upstream, arrived, leave) = Upstream::held();
    let limit = "[limits.l]\nrate = '1/h'\n";
    let more = format!("limits = ['l']\nconcurrency = {{ max = 1 }}\n{ONE}");
    let gateway = Gateway::start(&format!("{limit}{}", one_route(&upstream, &more)));
    let ask = || preflight(&gateway, "/a", "https://app.example.com", "POST").status();
    assert_eq!([ask(), ask(), ask()], [204; 3]);
    // Neither did they take the only token, nor do they need the only permit.
    let mut client = gateway.sent("/held", &[]);
    assert_eq!(arrived.recv_timeout(TIMEOUT).as_deref(), Ok("/held"));
    assert_eq!(ask(), 204);
    leave.open();
    assert_eq!(client.response().status(), 200);
    assert_eq!(gateway.status("/"), 429);
    assert_eq!(ask(), 204);
}

#[test]
fn a_preflight_is_routed_by_the_method_that_it_asks_about() {
    let routes = [
        responding(
            "post",
            &format!("match = {{ methods = ['POST'], path = '/a' }}\n{ONE}"),
        ),
        responding("options", "match = { methods = ['OPTIONS'] }"),
        responding("get", "match = { methods = ['GET'], path = '/a' }"),
    ];
    let gateway = Gateway::start(&routes.concat());
    let post = preflight(&gateway, "/a", "https://app.example.com", "POST");
    assert_eq!(
        (post.status(), post.get(ALLOW_ORIGIN).is_some()),
        (204, true)
    );
    assert_eq!(gateway.access_line()["route"], "post");
    // No route with the section takes the request that would follow.
    for (path, method) in [
        ("/a", "GET"),
        ("/b", "POST"),
        ("/a", "PUT"),
        ("/a", "TRACE"),
    ] {
        let response = preflight(&gateway, path, "https://app.example.com", method);
        assert_eq!(
            (response.status(), response.text()),
            (200, "options".into())
        );
    }
}

#[test]
fn an_options_request_that_asks_about_nothing_is_an_ordinary_one() {
    let upstream = Upstream::answering(|request| ok(&request.head.line));
    let gateway = Gateway::start(&one_route(&upstream, ONE));
    let origin = "Origin: https://app.example.com";
    let method = "Access-Control-Request-Method: GET";
    for lines in [&[][..], &[origin], &[method], &[origin, method, method]] {
        let response = gateway.ask("OPTIONS", "/a", lines);
        assert_eq!(response.text(), "OPTIONS /a HTTP/1.1", "{lines:?}");
    }
    assert_eq!(gateway.ask("GET", "/a", &[origin, method]).status(), 200);
}

#[test]
fn every_response_on_the_route_can_be_read_by_a_permitted_page() {
    let (upstream, arrived, leave) = Upstream::held();
    let closed = Closed::new();
    let limit = "[limits.l]\nrate = '1/h'\n";
    let gone = format!("[upstreams.gone]\nservers = ['{}']\n", closed.url());
    let route = |name: &str, more: &str| {
        format!("[[routes]]\nname = '{name}'\nmatch = {{ path = '/{name}' }}\n{more}\n{ONE}")
    };
    let text = [
        limit.to_owned(),
        gone,
        one_route(
            &upstream,
            "match = { path = '/app' }\nconcurrency = { max = 1 }\n",
        ),
        ONE.to_owned(),
        route("late", "upstream = 'app'\ntimeouts = { total = '50ms' }"),
        route("limited", "respond = {}\nlimits = ['l']"),
        route("moved", "redirect = { to = '/app' }"),
        route("gone", "upstream = 'gone'"),
        route("small", "upstream = 'app'\nrequest = { max_body = '1B' }"),
    ]
    .concat();
    let gateway = Gateway::start(&text);
    let origin = "Origin: https://app.example.com";
    let mut held = gateway.sent("/app", &[origin]);
    assert_eq!(arrived.recv_timeout(TIMEOUT).as_deref(), Ok("/app"));
    let mut found = Vec::new();
    for path in ["/app", "/late", "/limited", "/limited", "/moved", "/gone"] {
        found.push(from(&gateway, "https://app.example.com", path));
    }
    let mut large = gateway.connect();
    found.push(large.exchange(format!(
        "POST /small HTTP/1.1\r\nHost: a\r\n{origin}\r\nContent-Length: 2\r\n\r\n12"
    )));
    // One is abandoned, the other one is held.
    leave.open();
    leave.open();
    found.push(held.response());
    let statuses: Vec<_> = found.iter().map(Message::status).collect();
    assert_eq!(statuses, [503, 504, 200, 429, 308, 502, 413, 200]);
    for response in found {
        let allowed = response.get(ALLOW_ORIGIN);
        assert_eq!(
            allowed,
            Some("https://app.example.com"),
            "{}",
            response.status()
        );
        assert_eq!(response.get("vary"), Some("Origin"));
        let exposed = response.get("access-control-expose-headers");
        assert_eq!(exposed, Some("ratelimit, ratelimit-policy, retry-after"));
    }
}

#[test]
fn fields_of_the_service_are_replaced_and_its_vary_is_kept() {
    let upstream = Upstream::answering(|_| {
        "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\
         Vary: Accept-Encoding\r\nX-A: 1\r\ncontent-length: 0\r\n\r\n"
            .to_owned()
    });
    let gateway = Gateway::start(&one_route(&upstream, ONE));
    for (origin, allowed) in [
        ("https://app.example.com", vec!["https://app.example.com"]),
        ("https://other.example", vec![]),
    ] {
        let response = from(&gateway, origin, "/");
        assert_eq!(response.head.all(ALLOW_ORIGIN), allowed);
        assert_eq!(response.get("access-control-allow-credentials"), None);
        assert_eq!(response.head.all("vary"), ["Accept-Encoding, Origin"]);
        assert_eq!(response.get("x-a"), Some("1"));
    }
}

#[test]
fn an_origin_that_looks_like_a_permitted_one_gets_no_field() {
    let origins = "[routes.cors]\norigins = ['https://app.example.com', 'https://*.example.org', 'http://localhost:3000']\n";
    let gateway = Gateway::start(&responding("r", origins));
    for origin in ["https://a.b.example.org", "http://localhost:3000"] {
        assert_eq!(from(&gateway, origin, "/").get(ALLOW_ORIGIN), Some(origin));
    }
    let long = format!("https://{}.example.org", "a".repeat(8192));
    for origin in [
        "https://app.example.com.evil.org",
        "https://evilapp.example.com",
        "https://example.org",
        "https://.example.org",
        "https://evilexample.org",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com/",
        "https://app.example.com.",
        "https://APP.example.com",
        "http://localhost:3001",
        "http://localhost",
        "https://app.example.com, https://b.example",
        "https://app.example.com https://b.example",
        "null",
        "*",
        long.as_str(),
    ] {
        for response in [
            from(&gateway, origin, "/"),
            preflight(&gateway, "/", origin, "GET"),
        ] {
            let of_cors = |(name, _): &&(String, String)| name.starts_with("access-control-");
            assert_eq!(response.head.fields.iter().find(of_cors), None, "{origin}");
            assert!(matches!(response.status(), 200 | 204));
        }
    }
    let two = [
        "Origin: https://app.example.com",
        "Origin: https://app.example.com",
    ];
    assert_eq!(gateway.ask("GET", "/", &two).get(ALLOW_ORIGIN), None);
}

#[test]
fn a_route_for_all_origins_says_so_to_everybody() {
    let gateway = Gateway::start(&responding(
        "r",
        "cors = { origins = ['*'], headers = ['*'] }",
    ));
    for lines in [&[][..], &["Origin: null"], &["Origin: https://a.example"]] {
        let response = gateway.ask("GET", "/", lines);
        assert_eq!(response.head.all(ALLOW_ORIGIN), ["*"]);
        assert_eq!(response.get("vary"), None);
    }
    let asked = preflight(&gateway, "/", "null", "PUT");
    assert_eq!(asked.get("access-control-allow-headers"), Some("*"));
    assert_eq!(
        asked.get("access-control-allow-methods"),
        Some("GET, HEAD, POST")
    );
    assert_eq!(asked.get("access-control-max-age"), Some("600"));
}

#[test]
fn null_is_permitted_only_where_it_is_listed() {
    let listed = responding(
        "listed",
        "match = { path = '/listed' }\ncors = { origins = ['null'] }",
    );
    let gateway = Gateway::start(&format!("{listed}{}", responding("r", ONE)));
    assert_eq!(
        from(&gateway, "null", "/listed").get(ALLOW_ORIGIN),
        Some("null")
    );
    assert_eq!(from(&gateway, "null", "/").get(ALLOW_ORIGIN), None);
}

#[test]
fn defaults_hold_for_all_routes_and_fields_of_older_clients_are_exposed() {
    let defaults = "[defaults.cors]\norigins = ['https://app.example.com']\nmax_age = '0s'\n";
    let old = "response = { limit_headers = 'x-ratelimit' }\ncors = { credentials = true }";
    let gateway = Gateway::start(&format!("{defaults}{}", responding("r", old)));
    let response = from(&gateway, "https://app.example.com", "/");
    assert_eq!(
        response.get("access-control-expose-headers"),
        Some(
            "ratelimit, ratelimit-policy, retry-after, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset"
        )
    );
    assert_eq!(
        response.get("access-control-allow-credentials"),
        Some("true")
    );
    let asked = preflight(&gateway, "/", "https://app.example.com", "GET");
    assert_eq!(asked.get("access-control-max-age"), Some("0"));
}

#[test]
fn http2_has_the_same_preflights_and_fields() {
    let gateway = Gateway::start(&responding("r", ONE));
    let mut client = Http2::connect(gateway.address());
    let origin = ("origin", "https://app.example.com");
    let asked = client.ask(
        "OPTIONS",
        "/",
        &[origin, ("access-control-request-method", "PUT")],
    );
    assert_eq!(asked.status, 204);
    assert_eq!(asked.get(ALLOW_ORIGIN), "https://app.example.com");
    let answered = client.ask("GET", "/", &[origin]);
    assert_eq!(
        (answered.get(ALLOW_ORIGIN), answered.get("vary")),
        (origin.1, "Origin")
    );
}
