//! Routes: targets as received or rewritten, and responses without an upstream.

use crate::support::{Gateway, Upstream, ok, one_route};

/// The method and target that the upstream receives.
fn target(route: &str, request_line: &str) -> String {
    let upstream = Upstream::answering(|request| ok(&request.head.line));
    let gateway = Gateway::start(&one_route(&upstream, route));
    let response = gateway
        .connect()
        .exchange(format!("{request_line}\r\nHost: a\r\n\r\n"));
    assert_eq!(response.status(), 200, "{}", response.text());
    response.text().trim_end_matches(" HTTP/1.1").to_owned()
}

#[test]
fn a_target_is_forwarded_byte_for_byte() {
    let upstream = Upstream::answering(|request| ok(request.target()));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    for target in [
        "/a/%2e%2E//b?x=%zz",
        "/?",
        "/a?b?c",
        "//",
        "/a/../b",
        "/%",
        "/a;b=c",
        "/'\"<>\\^`{|}",
        "/a?x=/../&y",
    ] {
        let response = client.exchange(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(response.text(), target);
    }
}

#[test]
fn a_target_that_is_a_url_is_forwarded_as_its_path_and_names_the_host() {
    let upstream = Upstream::answering(|request| {
        ok(&format!("{} {:?}", request.target(), request.get("host")))
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    let mut ask = |target: &str| {
        client
            .exchange(format!("GET {target} HTTP/1.1\r\nHost: other\r\n\r\n"))
            .text()
    };
    assert_eq!(ask("http://Shop:81/a/%2e?b"), "/a/%2e?b Some(\"Shop:81\")");
    assert_eq!(ask("HTTP://shop"), "/ Some(\"shop\")");
    assert_eq!(ask("http://shop?x"), "/?x Some(\"shop\")");
}

#[test]
fn a_url_is_matched_by_its_own_host() {
    let upstream = Upstream::answering(|_| ok("found"));
    let gateway = Gateway::start(&one_route(&upstream, "match = { hosts = [\"shop\"] }"));
    let mut client = gateway.connect();
    assert_eq!(
        client
            .exchange("GET http://shop/ HTTP/1.1\r\nHost: other\r\n\r\n")
            .status(),
        200
    );
    assert_eq!(
        client
            .exchange("GET http://other/ HTTP/1.1\r\nHost: shop\r\n\r\n")
            .status(),
        404
    );
}

#[test]
fn options_asterisk_is_forwarded() {
    assert_eq!(target("", "OPTIONS * HTTP/1.1"), "OPTIONS *");
}

#[test]
fn options_of_a_url_without_a_path_are_those_of_the_server() {
    for (line, sent) in [
        ("OPTIONS http://x HTTP/1.1", "OPTIONS *"),
        ("OPTIONS http://x:80 HTTP/1.1", "OPTIONS *"),
        ("OPTIONS http://x/ HTTP/1.1", "OPTIONS /"),
        ("OPTIONS http://x?y HTTP/1.1", "OPTIONS /?y"),
        ("GET http://x HTTP/1.1", "GET /"),
    ] {
        assert_eq!(target("", line), sent);
    }
    assert_eq!(
        target("request = { add_prefix = \"/v1\" }", "OPTIONS * HTTP/1.1"),
        "OPTIONS *"
    );
}

#[test]
fn a_redirect_has_a_host_and_a_path_of_its_own() {
    let gateway = Gateway::start(
        "[[routes]]\nname = \"to\"\nredirect = { to = \"https://{host}{path}\" }\n\
         [[routes]]\nname = \"path\"\nmatch = { path = \"/old\" }\nredirect = { to = \"/new\" }\n",
    );
    let ask = |request: &str| gateway.connect().exchange(format!("{request}\r\n\r\n"));
    assert_eq!(ask("GET //evil.example/ HTTP/1.0").status(), 400);
    assert_eq!(ask("GET / HTTP/1.0\r\nHost:").status(), 400);
    assert_eq!(ask("GET /old HTTP/1.0").get("location"), Some("/new"));
    let options = ask("OPTIONS * HTTP/1.1\r\nHost: shop.example");
    assert_eq!(options.get("location"), Some("https://shop.example/"));
    assert_eq!(
        ask("OPTIONS http://shop.example HTTP/1.1\r\nHost: a").get("location"),
        Some("https://shop.example/")
    );
    let redirected = ask("GET /a?b HTTP/1.1\r\nHost: shop.example:8080");
    assert_eq!(redirected.get("location"), Some("https://shop.example/a?b"));
}

#[test]
fn trace_is_for_routes_that_list_it() {
    let upstream = Upstream::answering(|request| ok(request.get("x-secret").unwrap_or_default()));
    let secret = "request = { set_headers = { x-secret = \"s\" } }";
    let gateway = Gateway::start(
        &(one_route(&upstream, secret)
            + "[[routes]]\nname = \"traced\"\nmatch = { path = \"/traced\", methods = [\"TRACE\"] }\nupstream = \"app\"\n\
               [[routes]]\nname = \"own\"\nmatch = { path = \"/own\" }\nrespond = { status = 200 }\n"),
    );
    let ask = |path: &str| {
        gateway
            .connect()
            .exchange(format!("TRACE {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
    };
    for path in ["/", "/own", "/traced/x"] {
        let response = ask(path);
        assert_eq!(response.status(), 405, "{path}");
        assert_eq!(gateway.access_line()["reason"], "method_not_allowed");
        assert_eq!(
            response.get("allow"),
            Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
        );
    }
    assert_eq!(ask("/traced").status(), 200);
}

#[test]
fn an_unknown_method_is_forwarded() {
    assert_eq!(target("", "BREW /pot HTTP/1.1"), "BREW /pot");
}

#[test]
fn a_prefix_is_stripped_and_another_added() {
    let route = "match = { path_prefix = \"/orders\" }\nrequest = { strip_prefix = \"/orders\", add_prefix = \"/v1\" }";
    for (received, forwarded) in [
        ("/orders/7?a=b", "/v1/7?a=b"),
        ("/orders", "/v1/"),
        ("/orders/", "/v1/"),
        ("/orders?x", "/v1/?x"),
        ("/a/..//orders/./7", "/v1/7"),
        ("/orders/a%2Fb", "/v1/a%2Fb"),
    ] {
        assert_eq!(
            target(route, &format!("GET {received} HTTP/1.1")),
            format!("GET {forwarded}"),
            "{received}"
        );
    }
}

/// Without whole segments, `/ord` would be stripped from `/orders/7` and leave
/// `/ers/7`.
#[test]
fn a_prefix_is_stripped_in_whole_segments_only() {
    let route = "request = { strip_prefix = \"/ord\" }";
    for (received, forwarded) in [
        ("/orders/7", "/orders/7"),
        ("/ord/7", "/7"),
        ("/ord", "/"),
        ("/x", "/x"),
    ] {
        assert_eq!(
            target(route, &format!("GET {received} HTTP/1.1")),
            format!("GET {forwarded}"),
            "{received}"
        );
    }
}

#[test]
fn a_path_is_rewritten_with_the_parameters_of_its_match() {
    let route = "match = { path = \"/orders/{id}\" }\nrequest = { rewrite = \"/v2/{id}/order\" }";
    assert_eq!(
        target(route, "GET /orders/a%2Fb?x=1 HTTP/1.1"),
        "GET /v2/a%2Fb/order?x=1"
    );
}

#[test]
fn a_route_can_respond_by_itself() {
    let gateway = Gateway::start(
        "[[routes]]\nname = \"hello\"\nrespond = { status = 203, body = \"hi\", headers = { x-a = \"1\" } }",
    );
    let mut client = gateway.connect();
    let response = client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        (
            response.status(),
            response.text().as_str(),
            response.get("x-a")
        ),
        (203, "hi", Some("1"))
    );
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_to_head().status(), 203);
    let response = client.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde");
    assert_eq!(response.text(), "hi");
    assert_eq!(
        client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(),
        "hi"
    );
}

#[test]
fn a_route_that_responds_by_itself_sets_and_removes_fields_like_any_other() {
    let changes = "response = { set_headers = { x-set = '1' }, remove_headers = ['x-gone'] }\n";
    let own = |name: &str, action: &str| {
        format!("[[routes]]\nname = '{name}'\nmatch = {{ path = '/{name}' }}\n{action}\n{changes}")
    };
    let text = own(
        "text",
        "respond = { status = 200, body = 'hi', headers = { x-gone = '1', x-set = '0' } }",
    ) + &own(
        "moved",
        "redirect = { to = 'https://{host}{path}', status = 308 }",
    );
    let gateway = Gateway::start(&text);
    for path in ["/text", "/moved"] {
        let response = gateway.get(path);
        assert_eq!(
            (response.get("x-set"), response.get("x-gone")),
            (Some("1"), None),
            "{path}"
        );
    }
}

#[test]
fn a_route_redirects_with_path_and_query() {
    let gateway = Gateway::start(
        "[[routes]]\nname = \"old\"\nredirect = { to = \"https://{host}{path}\", status = 308 }",
    );
    let response = gateway
        .connect()
        .exchange("GET /a%20b?c=d HTTP/1.1\r\nHost: shop:8080\r\n\r\n");
    assert_eq!(
        (response.status(), response.get("location")),
        (308, Some("https://shop/a%20b?c=d"))
    );
    assert_eq!(response.get("content-length"), Some("0"));
}

#[test]
fn a_redirect_cannot_be_split() {
    let gateway = Gateway::start(
        "[[routes]]\nname = \"old\"\nredirect = { to = \"https://x{path}\", status = 302 }",
    );
    let response = gateway
        .connect()
        .exchange("GET /a%0d%0aset-cookie:x=1 HTTP/1.1\r\nHost: shop\r\n\r\n");
    assert_eq!(
        (response.get("location"), response.get("set-cookie")),
        (Some("https://x/a%0d%0aset-cookie:x=1"), None)
    );
}

#[test]
fn without_a_route_there_is_a_problem() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&one_route(&upstream, "match = { path = \"/here\" }"));
    let response = gateway.get("/there");
    assert_eq!(response.status(), 404);
    let problem = response.problem();
    let line = gateway.access_line();
    assert_eq!(
        (&line["reason"], &line["request_id"]),
        (&"no_route".into(), &problem["request_id"])
    );
    assert_eq!((upstream.connections(), line["route"].is_null()), (0, true));
}

/// Without a length, a cache or a client that asks for the size would assume an
/// empty body.
#[test]
fn a_response_to_head_without_an_upstream_has_the_length_of_get() {
    let upstream = Upstream::answering(|_| "HTTP/1.1 200 OK\r\n\r\n".to_owned());
    let own = |name: &str, action: &str| {
        format!("[[routes]]\nname = '{name}'\nmatch = {{ path = '/{name}' }}\n{action}\n")
    };
    let text = one_route(&upstream, "match = { path = '/app' }")
        + &own("text", "respond = { status = 200, body = 'hello' }")
        + &own("empty", "respond = { status = 200 }")
        + &own("nothing", "respond = { status = 204 }")
        + &own(
            "moved",
            "redirect = { to = 'https://{host}{path}', status = 308 }",
        );
    let gateway = Gateway::start(&text);
    let mut client = gateway.connect();
    for (path, length) in [
        ("/text", Some("5")),
        ("/empty", Some("0")),
        ("/nothing", None),
        ("/moved", Some("0")),
    ] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(
            client.response_to_head().get("content-length"),
            length,
            "{path}"
        );
        let response = client.exchange(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(response.get("content-length"), length, "{path}");
    }
    client.send("HEAD /none HTTP/1.1\r\nHost: a\r\n\r\n");
    let length = client
        .response_to_head()
        .get("content-length")
        .map(|length| length.parse::<usize>());
    assert_eq!(
        length,
        Some(Ok(client
            .exchange("GET /none HTTP/1.1\r\nHost: a\r\n\r\n")
            .body
            .len()))
    );
    client.send("HEAD /app HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        client.response_to_head().get("content-length"),
        None,
        "the length of an upstream's response is unknown"
    );
}
