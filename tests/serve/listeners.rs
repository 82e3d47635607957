//! Listeners: their names, redirects to https, and routes that ask for a
//! listener or a client.

use crate::support::{
    Client, Gateway,
    gateway::{request, responding},
    redis::free_port,
};

/// Two listeners on ports of the system's choice.
fn two(first: &str, second: &str) -> String {
    let listener = |keys| format!("[[listeners]]\nbind = '127.0.0.1:0'\n{keys}\n");
    listener(first) + &listener(second) + &responding("r", "")
}

#[test]
fn access_lines_and_metrics_name_the_listener() {
    let gateway = Gateway::start(&two("name = 'web'", "name = 'other'"));
    let [web, other] = gateway.addresses() else {
        panic!("two listeners")
    };
    for (at, name) in [(web, "web"), (other, "other")] {
        let mut client = Client::connect(*at);
        assert_eq!(client.exchange(request("GET", "/", &[])).status(), 200);
        assert_eq!(gateway.access_line()["listener"], name);
        assert_eq!(
            gateway.metric("tidegate_connections", &[("listener", name)]),
            1.0
        );
    }
}

#[test]
fn a_listener_that_a_reload_renames_stays_open() {
    let port = free_port();
    let named = |name: &str| {
        let listener = format!("[[listeners]]\nname = '{name}'\nbind = '127.0.0.1:{port}'\n");
        listener + &responding("r", "")
    };
    let gateway = Gateway::start(&named("web"));
    let mut open = gateway.connect();
    assert_eq!(open.exchange(request("GET", "/", &[])).status(), 200);
    assert_eq!(gateway.access_line()["listener"], "web");
    gateway.reload_with(&named("renamed"));
    let mut new = gateway.connect();
    for (client, name) in [(&mut open, "web"), (&mut new, "renamed")] {
        assert_eq!(client.exchange(request("GET", "/", &[])).status(), 200);
        assert_eq!(gateway.access_line()["listener"], name);
    }
    assert_eq!(
        gateway.metric("tidegate_connections", &[("listener", "renamed")]),
        2.0
    );
    assert_eq!(
        gateway.metric("tidegate_connections", &[("listener", "web")]),
        0.0
    );
}

#[test]
fn a_listener_that_redirects_sends_every_request_to_https() {
    let text = two(
        "name = 'web'\nredirect_https = true",
        "name = 'other'\nredirect_https = 8443",
    ) + "[limits.none]\nrate = '0/s'\n[defaults]\nlimits = ['none']\n";
    let gateway = Gateway::start(&text);
    let mut client = gateway.connect();
    let mut location = |request: String| {
        let response = client.exchange(request);
        assert_eq!(response.status(), 308, "{}", response.text());
        assert!(response.body.is_empty() && response.get("x-request-id").is_some());
        response.get("location").unwrap().to_owned()
    };
    assert_eq!(
        location(request("GET", "/a/%2e?b=1&c", &["Host: Shop.Example:80"])),
        "https://shop.example/a/%2e?b=1&c"
    );
    assert_eq!(
        location(
            "POST / HTTP/1.1\r\nHost: [::0001]:8080\r\nContent-Length: 3\r\n\r\nabc".to_owned()
        ),
        "https://[::1]/"
    );
    assert_eq!(
        location("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        "https://a/"
    );
    assert_eq!(
        location("GET http://b//c HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        "https://b//c"
    );
    let line = gateway.access_line();
    assert_eq!(line["listener"], "web");
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&308.into(), &"redirect_https".into())
    );
    assert_eq!(
        (&line["path"], &line["route"]),
        (&"/a/%2e".into(), &serde_json::Value::Null)
    );
    gateway.await_metric(
        "tidegate_requests_total",
        &[("route", "-"), ("status", "308")],
        4.0,
    );
    gateway.await_metric(
        "tidegate_refusals_total",
        &[("reason", "redirect_https")],
        4.0,
    );
    let mut other = Client::connect(gateway.addresses()[1]);
    let response = other.exchange(request("GET", "/", &["Host: a:8080"]));
    assert_eq!(response.get("location"), Some("https://a:8443/"));
}

#[test]
fn a_request_that_names_no_sound_host_is_not_redirected() {
    let gateway = Gateway::start(&two(
        "name = 'web'\nredirect_https = true",
        "name = 'other'",
    ));
    for request in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
        "GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let response = gateway.connect().exchange(request);
        assert_eq!(response.status(), 400, "{request:?}");
        assert!(response.get("location").is_none());
    }
}

#[test]
fn routes_of_a_listener_come_before_all_others_there() {
    let text = two("name = 'web'", "name = 'internal'")
        + &responding(
            "internal",
            "match = { listeners = ['internal'], path_prefix = '/api' }",
        )
        + &responding("exact", "match = { path = '/api/exact' }");
    let gateway = Gateway::start(&text);
    for (listener, path, route) in [
        (0, "/api/exact", "exact"),
        (1, "/api/exact", "internal"),
        (0, "/api/other", "r"),
        (1, "/other", "r"),
    ] {
        let mut client = Client::connect(gateway.addresses()[listener]);
        assert_eq!(
            client.exchange(request("GET", path, &[])).text(),
            route,
            "{listener} {path}"
        );
    }
}

#[test]
fn routes_by_client_take_the_address_that_a_trusted_proxy_names() {
    let text = "[client_ip]\ntrusted_proxies = ['127.0.0.1']\n".to_owned()
        + &responding("all", "")
        + &responding(
            "inside",
            "match = { clients = ['10.0.0.0/8', 'fd00::/8'], not_clients = ['10.9.0.0/16'] }",
        );
    let gateway = Gateway::start(&text);
    for (client, route) in [
        ("10.1.2.3", "inside"),
        ("::ffff:10.1.2.3", "inside"),
        ("fd00::1", "inside"),
        ("10.9.0.1", "all"),
        ("192.0.2.1", "all"),
    ] {
        let response = gateway.ask("GET", "/", &[&format!("X-Forwarded-For: {client}")]);
        assert_eq!(response.text(), route, "{client}");
    }
    let untrusting = gateway_without_proxies();
    let response = untrusting.ask("GET", "/", &["X-Forwarded-For: 10.1.2.3"]);
    assert_eq!(response.text(), "all", "a client cannot choose its address");
}

fn gateway_without_proxies() -> Gateway {
    Gateway::start(
        &(responding("all", "") + &responding("inside", "match = { clients = ['10.0.0.0/8'] }")),
    )
}

/// The name of the listener by which a request to `address` came.
fn listener_of(gateway: &Gateway, address: (&str, u16)) -> String {
    let address = (address.0.parse::<std::net::IpAddr>().unwrap(), address.1).into();
    let response = Client::connect(address).exchange(request("GET", "/", &[]));
    assert_eq!(response.status(), 200);
    gateway.access_line()["listener"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn all_addresses_of_ipv4_and_of_ipv6_may_be_two_listeners() {
    let port = free_port();
    let six = format!("[[listeners]]\nname = 'six'\nbind = '[::]:{port}'\n");
    let four = format!("[[listeners]]\nname = 'four'\nbind = '0.0.0.0:{port}'\n");
    let route = responding("r", "");
    for both in [four.clone() + &six, six.clone() + &four] {
        let gateway = Gateway::start(&(both + &route));
        assert_eq!(listener_of(&gateway, ("127.0.0.1", port)), "four");
        assert_eq!(listener_of(&gateway, ("::1", port)), "six");
    }
    // Alone it takes both, and a reload may add the other one.
    let gateway = Gateway::start(&(six.clone() + &route));
    assert_eq!(listener_of(&gateway, ("127.0.0.1", port)), "six");
    gateway.reload_with(&(six.clone() + &four + &route));
    assert_eq!(listener_of(&gateway, ("127.0.0.1", port)), "four");
    assert_eq!(listener_of(&gateway, ("::1", port)), "six");
    gateway.reload_with(&(six + &route));
    gateway.logged("it takes connections over IPv6 only until a restart");
    assert_eq!(listener_of(&gateway, ("::1", port)), "six");
}
