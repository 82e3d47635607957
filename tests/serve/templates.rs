//! Fields that are filled in for each request, in requests and in responses.

use crate::support::{Gateway, Upstream, gateway::upstream_table, ok, one_route};

/// A service that answers with the head that it got, and with a field `x-own`.
fn echo() -> Upstream {
    Upstream::answering(|request| {
        let text = String::from_utf8_lossy(&request.head.raw);
        ok(&text).replacen("\r\n", "\r\nx-own: service\r\n", 1)
    })
}

/// A gateway whose route has these changes of requests and of responses.
fn gateway(upstream: &Upstream, request: &str, response: &str) -> Gateway {
    let tables = format!("[routes.request]\n{request}\n[routes.response]\n{response}\n");
    Gateway::start(&one_route(upstream, &tables))
}

#[test]
fn a_response_has_the_values_of_its_request() {
    let service = echo();
    let set = "set_headers = { x-rid = '{request_id}', x-all = '{{{method} {host}{path} {client_ip} {scheme} {route} {header:x-a}}}' }";
    let gateway = gateway(&service, "", set);
    let lines = ["X-Request-Id: id-1", "X-A: 1", "X-A: 2"];
    let response = gateway.ask("GET", "/p?q=1", &lines);
    assert_eq!(response.get("x-rid"), Some("id-1"));
    let all = "{GET a/p?q=1 127.0.0.1 http app 1, 2}";
    assert_eq!(response.get("x-all"), Some(all));
}

#[test]
fn responses_of_the_gateway_itself_are_filled_in() {
    let text = "[limits.a]\nrate = '9/s'\n[defaults.response]\nset_headers = { x-rid = '{request_id}', x-id = '{id}' }\n[defaults.match]\npath = '/{id}'\n";
    let routes = "[[routes]]\nname = 'fixed'\nmatch.methods = ['GET']\nrespond = { body = 'ok' }\n\
         [[routes]]\nname = 'moved'\nmatch.methods = ['POST']\nredirect = { to = 'https://{host}/to/{id}' }\n\
         [[routes]]\nname = 'left'\nmatch.methods = ['PUT']\nlimits = ['a']\nquota = true\n";
    let gateway = Gateway::start(&format!("{text}{routes}"));
    for (method, location) in [
        ("GET", None),
        ("POST", Some("https://a/to/7%20")),
        ("PUT", None),
    ] {
        let response = gateway.ask(method, "/7%20", &["X-Request-Id: id-1"]);
        assert_eq!(response.get("x-rid"), Some("id-1"), "{method}");
        assert_eq!(response.get("x-id"), Some("7%20"), "{method}");
        assert_eq!(response.get("location"), location);
    }
}

#[test]
fn a_response_without_a_value_lacks_the_field_of_the_service_too() {
    let service = echo();
    let set = "set_headers = { x-own = 'by {tls:subject}' }";
    let response = gateway(&service, "", set).get("/");
    assert_eq!((response.status(), response.get("x-own")), (200, None));
}

#[test]
fn an_empty_value_counts_as_missing_as_in_keys_of_limits() {
    let service = echo();
    let set = "set_headers = { x-own = 'v{header:x-a}', x-tab = '{header:x-b}' }";
    let gateway = gateway(&service, set, set);
    let response = gateway.ask("GET", "/", &["X-A:", "X-Own: forged", "X-B: a\tb"]);
    assert_eq!(response.get("x-own"), None);
    let seen = response.text().to_lowercase();
    assert!(!seen.contains("x-own"), "{seen}");
    assert_eq!(response.get("x-tab"), Some("a\tb"));
}

#[test]
fn an_added_field_stands_beside_those_that_are_there() {
    let service = echo();
    let request =
        "set_headers = { x-b = 'set' }\nadd_headers = { x-a = '{method}', x-b = 'added' }";
    let response = "add_headers = { x-own = '{route}', x-new = '1' }";
    let gateway = gateway(&service, request, response);
    let response = gateway.ask("GET", "/", &["X-A: client", "X-B: client"]);
    let got = response.text();
    let at = |line| {
        got.find(&format!("\r\n{line}\r\n"))
            .unwrap_or_else(|| panic!("{line}\n{got}"))
    };
    assert!(at("X-A: client") < at("x-a: GET") && at("x-b: set") < at("x-b: added"));
    assert!(!got.contains("X-B"), "{got}");
    assert_eq!(response.head.all("x-own"), ["service", "app"]);
    assert_eq!(response.head.all("x-new"), ["1"]);
}

#[test]
fn an_added_field_without_a_value_leaves_those_that_are_there() {
    let service = echo();
    let added = "add_headers = { x-a = '{header:x-none}' }";
    let gateway = gateway(
        &service,
        added,
        "add_headers = { x-own = '{header:x-none}' }",
    );
    let response = gateway.ask("GET", "/", &["X-A: client"]);
    assert!(response.text().contains("\r\nX-A: client\r\n"));
    assert_eq!(response.head.all("x-own"), ["service"]);
}

#[test]
fn a_field_of_30_kib_is_left_out_of_what_it_would_fill_in() {
    let service = Upstream::answering(|request| ok(&request.head.raw.len().to_string()));
    let twice = "set_headers = { x-once = '{header:x-a}', x-twice = '{header:x-a}{header:x-a}' }";
    let gateway = gateway(&service, twice, "set_headers = { x-all = '{header:x-a}' }");
    // Once it fits, and twice it does not.
    for (length, most) in [(30 << 10, 31 << 10), (5 << 10, 11 << 10)] {
        let long = format!("X-A: {}", "a".repeat(length));
        let response = gateway.ask("GET", "/", &[&long]);
        assert_eq!(response.status(), 200);
        let sent: usize = response.text().parse().unwrap();
        assert!((most - 1024..most + 1024).contains(&sent), "{sent}");
        let all = response.get("x-all").map(str::len);
        assert_eq!(all, Some(length).filter(|length| *length < 8 << 10));
    }
}

#[test]
fn no_value_of_a_client_ends_its_field() {
    let service = echo();
    let text = format!(
        "{}[[routes]]\nname = 'r'\nupstream = 'u'\nmatch.path = '/{{id}}'\n[routes.request]\nset_headers = {{ x-all = '{{id}}{{path}}{{header:x-a}}' }}\n[routes.response]\nadd_headers = {{ x-all = '{{id}}{{path}}{{header:x-a}}' }}\n",
        upstream_table("u", &[&service], "")
    );
    let gateway = Gateway::start(&text);
    for request in [
        "GET /%0d%0ax-evil:%201 HTTP/1.1\r\nHost: a\r\nX-A: %0d%0ax-evil: 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nX-A: b\r\n x-evil: 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nX-A: b\rx-evil: 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nX-A: b\nx-evil: 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nX-A: b\0x-evil: 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nX-A: b\x01\r\n\r\n",
    ] {
        let response = gateway.connect().exchange(request);
        let sent = response.text().to_lowercase();
        for text in [
            &sent,
            &String::from_utf8_lossy(&response.head.raw).to_lowercase(),
        ] {
            let has = |sign: &str| text.lines().any(|line| line.starts_with(sign));
            assert!(
                !has("x-evil") && !text.contains('\0'),
                "{request:?}\n{text}"
            );
        }
        let all = response.get("x-all").unwrap_or_default();
        assert!(!all.contains(char::is_control), "{all:?}");
    }
}

#[test]
fn braces_of_a_client_are_no_places() {
    let service = echo();
    let set = "set_headers = { x-all = '{header:x-a} {header:x-b}' }";
    let gateway = gateway(&service, set, set);
    let lines = ["X-A: {client_ip}", "X-B: {header:x-a}{{"];
    let response = gateway.ask("GET", "/", &lines);
    let all = "{client_ip} {header:x-a}{{";
    assert_eq!(response.get("x-all"), Some(all));
    assert!(response.text().contains(&format!("\r\nx-all: {all}\r\n")));
}
