//! A service names its own scheme, host and path, and they come back as its
//! clients know it, and it is told the prefix that it does not see.

use socket2::{Domain, Socket, Type};

use crate::support::{Client, Gateway, Upstream, ok};

/// A service that answers with the header lines that the field `x-say` of the
/// request asks for, separated by `|`. `SELF` is its own address.
fn service() -> Upstream {
    let said = |request: &crate::support::Message, own: &str| {
        let lines = request
            .get("x-say")
            .unwrap_or_default()
            .replace("SELF", own);
        let lines: String = lines
            .split('|')
            .filter(|line| !line.is_empty())
            .map(|line| format!("{line}\r\n"))
            .collect();
        format!("HTTP/1.1 302 Found\r\n{lines}content-length: 0\r\n\r\n")
    };
    Upstream::start(move |mut connection| {
        while let Some(request) = connection.request() {
            let own = request.get("x-own").unwrap_or_default().to_owned();
            connection.send(said(&request, &own));
        }
    })
}

fn text(upstream: &Upstream, request: &str, response: &str) -> String {
    format!(
        "[client_ip]\ntrusted_proxies = ['127.0.0.2/32']\n\
         [upstreams.app]\nservers = ['{}']\n\
         [[routes]]\nname = 'app'\nupstream = 'app'\nmatch = {{ path_prefix = '/shop' }}\n\
         request = {{ {request} }}\nresponse = {{ {response} }}\n",
        upstream.url()
    )
}

/// The response to a request for which the service says these lines.
fn asked(gateway: &Gateway, upstream: &Upstream, say: &str) -> crate::support::Message {
    let own = format!("x-own: {}", upstream.address());
    gateway.ask("GET", "/shop/x", &[&format!("x-say: {say}"), &own])
}

#[test]
fn locations_come_back_under_the_origin_and_the_prefix_of_the_client() {
    let service = service();
    let request = "strip_prefix = '/shop', add_prefix = '/v1'";
    let gateway = Gateway::start(&text(&service, request, "locations = true"));
    for (say, name, expected) in [
        ("location: /v1/7", "location", "/shop/7"),
        (
            "Location: http://SELF/v1/7?a",
            "location",
            "http://a/shop/7?a",
        ),
        ("location: http://a/v1/7", "location", "http://a/shop/7"),
        ("location: //SELF/v1/7", "location", "//a/shop/7"),
        (
            "location: //evil.example/v1",
            "location",
            "//evil.example/v1",
        ),
        ("location: http://u@SELF/v1", "location", "http://u@SELF/v1"),
        ("content-location: /v1/7", "content-location", "/shop/7"),
        ("refresh: 5; url=/v1/7", "refresh", "5; url=/shop/7"),
        (
            "set-cookie: a=1; Path=/v1/c",
            "set-cookie",
            "a=1; Path=/shop/c",
        ),
        ("set-cookie: a=1; Domain=127.0.0.1", "set-cookie", "a=1"),
    ] {
        let response = asked(&gateway, &service, say);
        let expected = expected.replace("SELF", &service.address().to_string());
        assert_eq!(response.get(name), Some(expected.as_str()), "{say}");
    }
}

#[test]
fn a_service_that_gets_its_own_host_is_known_by_it() {
    let service = service();
    let request = "strip_prefix = '/shop', preserve_host = false";
    let gateway = Gateway::start(&text(&service, request, "locations = true"));
    let response = asked(&gateway, &service, "location: http://SELF/7");
    assert_eq!(response.get("location"), Some("http://a/shop/7"));
}

#[test]
fn without_the_key_locations_pass_as_they_are() {
    let service = service();
    let gateway = Gateway::start(&text(&service, "strip_prefix = '/shop'", ""));
    let say = "location: http://SELF/7|set-cookie: a=1; Path=/";
    let response = asked(&gateway, &service, say);
    let own = format!("http://{}/7", service.address());
    assert_eq!(response.get("location"), Some(own.as_str()));
    assert_eq!(response.get("set-cookie"), Some("a=1; Path=/"));
}

#[test]
fn the_fields_of_the_route_have_the_last_word() {
    let service = service();
    let response = "locations = true, set_headers = { location = '/fixed' }";
    let gateway = Gateway::start(&text(&service, "strip_prefix = '/shop'", response));
    let response = asked(&gateway, &service, "location: /7");
    assert_eq!(response.get("location"), Some("/fixed"));
}

#[test]
fn many_cookies_and_a_long_location_are_all_mapped_in_their_order() {
    let (long, count) = ("x".repeat(8000), 100);
    let path = long.clone();
    let service = Upstream::answering(move |_| {
        let cookies: String = (0..count)
            .map(|index| {
                format!("set-cookie: c{index}=1; Path=/p{index}; Path=/\r\nx-{index}: 1\r\n")
            })
            .collect();
        format!("HTTP/1.1 302 Found\r\n{cookies}location: /{path}\r\ncontent-length: 0\r\n\r\n")
    });
    let gateway = Gateway::start(&text(
        &service,
        "strip_prefix = '/shop'",
        "locations = true",
    ));
    let response = gateway.ask("GET", "/shop/x", &[]);
    let location = format!("/shop/{long}");
    assert_eq!(response.get("location"), Some(location.as_str()));
    let head = String::from_utf8_lossy(&response.head.raw).into_owned();
    let cookies: Vec<_> = head
        .lines()
        .filter(|line| line.starts_with("set-cookie"))
        .collect();
    assert_eq!(cookies.len(), count);
    for (index, line) in cookies.iter().enumerate() {
        let expected = format!("set-cookie: c{index}=1; Path=/shop/p{index}; Path=/shop");
        assert_eq!(*line, expected);
    }
}

/// A service that answers with the head that it got.
fn echo() -> Upstream {
    Upstream::answering(|request| ok(&String::from_utf8_lossy(&request.head.raw)))
}

/// The response to a request with these lines from this address.
fn asked_from(from: [u8; 4], gateway: &Gateway, lines: &str) -> crate::support::Message {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&std::net::SocketAddr::from((from, 0)).into())
        .unwrap();
    socket.connect(&gateway.address().into()).unwrap();
    let mut client = Client::over(socket.into());
    let request = format!("GET /shop/x HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    client.exchange(request)
}

/// The prefixes that the service gets of a request from this address.
fn prefix_from(from: [u8; 4], gateway: &Gateway, lines: &str) -> Vec<String> {
    let seen = asked_from(from, gateway, lines).text().to_lowercase();
    let lines = seen
        .lines()
        .filter_map(|line| line.strip_prefix("x-forwarded-prefix: "));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_service_is_told_the_prefix_that_was_stripped() {
    let service = echo();
    let gateway = Gateway::start(&text(&service, "strip_prefix = '/shop'", ""));
    let (stranger, proxy) = ([127, 0, 0, 1], [127, 0, 0, 2]);
    for (from, lines, expected) in [
        (stranger, "", "/shop"),
        (stranger, "X-Forwarded-Prefix: /forged\r\n", "/shop"),
        (proxy, "", "/shop"),
        (proxy, "X-Forwarded-Prefix: /outer\r\n", "/outer/shop"),
        (
            proxy,
            "X-Forwarded-Prefix: /one/, /two\r\nX-Forwarded-Prefix: //evil\r\nX-Forwarded-Prefix: /three\r\n",
            "/one/two/three/shop",
        ),
        (
            proxy,
            "X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Prefix: no\r\n",
            "/shop",
        ),
    ] {
        let seen = prefix_from(from, &gateway, lines);
        assert_eq!(seen, [expected], "{from:?} {lines}");
    }
}

#[test]
fn a_prefix_that_a_trusted_proxy_has_stripped_comes_back_too() {
    let service = service();
    let gateway = Gateway::start(&text(
        &service,
        "strip_prefix = '/shop'",
        "locations = true",
    ));
    let say = "X-Say: location: /7|set-cookie: a=1; Path=/|refresh: 0; url = /7\r\n";
    let lines = format!("X-Forwarded-Prefix: /outer\r\n{say}");
    for (from, prefix) in [([127, 0, 0, 1], ""), ([127, 0, 0, 2], "/outer")] {
        let response = asked_from(from, &gateway, &lines);
        let expected = [
            ("location", format!("{prefix}/shop/7")),
            ("set-cookie", format!("a=1; Path={prefix}/shop")),
            ("refresh", format!("0; url = {prefix}/shop/7")),
        ];
        for (name, expected) in expected {
            assert_eq!(response.get(name), Some(expected.as_str()));
        }
    }
    let odd = asked_from(
        [127, 0, 0, 2],
        &gateway,
        &format!("X-Forwarded-Prefix: /a;b\r\n{say}"),
    );
    assert_eq!(odd.get("location"), Some("/shop/7"));
}

#[test]
fn the_prefix_is_left_to_a_route_that_decides_it() {
    let service = echo();
    let removed = "strip_prefix = '/shop', remove_headers = ['x-forwarded-prefix']";
    let gateway = Gateway::start(&text(&service, removed, ""));
    assert!(prefix_from([127, 0, 0, 2], &gateway, "X-Forwarded-Prefix: /a\r\n").is_empty());
    // Nothing is stripped: the proxy's own account passes.
    let gateway = Gateway::start(&text(&service, "add_prefix = '/v1'", ""));
    let seen = prefix_from([127, 0, 0, 2], &gateway, "X-Forwarded-Prefix: /a\r\n");
    assert_eq!(seen, ["/a"]);
    assert!(prefix_from([127, 0, 0, 1], &gateway, "X-Forwarded-Prefix: /a\r\n").is_empty());
    // A client's own value that a route keeps is still not believed.
    let kept = "strip_prefix = '/shop', keep_headers = ['x-forwarded-prefix']";
    let gateway = Gateway::start(&text(&service, kept, ""));
    let seen = prefix_from([127, 0, 0, 1], &gateway, "X-Forwarded-Prefix: /a\r\n");
    assert_eq!(seen, ["/shop"]);
}
