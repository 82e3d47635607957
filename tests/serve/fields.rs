//! Fields: those that pass, those that end at the hop, and those that the
//! gateway writes.

use crate::support::{Gateway, Head, Message, Upstream, ok, one_route};

/// The head that arrives upstream for a request, and the address of the
/// upstream.
fn sent_up(top: &str, route: &str, request: &str) -> (Head, String) {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&format!("{top}\n{}", one_route(&upstream, route)));
    let response = gateway.connect().exchange(request);
    assert_eq!(response.status(), 200, "{}", response.text());
    let text = upstream.text();
    let lines: Vec<_> = text
        .split_once("\r\n\r\n")
        .unwrap()
        .0
        .split("\r\n")
        .map(str::to_owned)
        .collect();
    let fields = lines[1..].iter().map(|line| line.split_once(": ").unwrap());
    let fields = fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    (
        Head {
            line: lines[0].clone(),
            fields,
            raw: text.clone().into_bytes(),
        },
        upstream.address().to_string(),
    )
}

fn up(request: &str) -> Head {
    sent_up("", "", request).0
}

/// The response that the client gets for a response of the upstream.
fn down(route: &str, response: &'static str) -> Message {
    let upstream = Upstream::answering(move |_| response.into());
    let gateway = Gateway::start(&one_route(&upstream, route));
    gateway.get("/")
}

const TRUSTING: &str = "[client_ip]\ntrusted_proxies = [\"127.0.0.0/8\"]";

#[test]
fn fields_of_the_clients_hop_are_not_forwarded() {
    let head = up(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine\r\nConnection: x-yours\r\nX-Mine: 1\r\n\
                   X-Yours: 2\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\n\
                   TE: gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nX-Kept: 3\r\n\r\n",
    );
    let gone = [
        "connection",
        "x-mine",
        "x-yours",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "upgrade",
        "http2-settings",
    ];
    for name in gone {
        assert_eq!(head.all(name), [""; 0], "{name}");
    }
    assert_eq!(head.get("x-kept"), Some("3"));
}

#[test]
fn fields_of_the_upstreams_hop_are_not_passed_back() {
    let response = down(
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: x-mine\r\nx-mine: 1\r\nkeep-alive: timeout=5\r\n\
         proxy-authenticate: Basic\r\nproxy-connection: keep-alive\r\nupgrade: h2c\r\nx-kept: 3\r\n\r\n",
    );
    for name in [
        "x-mine",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "upgrade",
    ] {
        assert_eq!(response.head.all(name), [""; 0], "{name}");
    }
    assert_eq!(
        (response.get("x-kept"), response.get("connection")),
        (Some("3"), Some("close"))
    );
}

#[test]
fn naming_a_framing_field_in_connection_does_not_unframe_a_message() {
    let head = up(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length, host, x-forwarded-for\r\n\
                   Content-Length: 2\r\n\r\nhi",
    );
    assert_eq!(
        (head.get("content-length"), head.get("host")),
        (Some("2"), Some("a"))
    );
    assert_eq!(head.get("x-forwarded-for"), Some("127.0.0.1"));
    let response = down(
        "",
        "HTTP/1.1 200 OK\r\nconnection: content-length\r\ncontent-length: 2\r\n\r\nhi",
    );
    assert_eq!(
        (response.get("content-length"), response.text().as_str()),
        (Some("2"), "hi")
    );
}

#[test]
fn a_client_that_takes_trailers_says_so_to_the_upstream() {
    let head = up("GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, trailers\r\nConnection: te\r\n\r\n");
    assert_eq!(
        (head.get("te"), head.get("connection")),
        (Some("trailers"), Some("te"))
    );
}

#[test]
fn repeated_fields_keep_their_values_and_their_order() {
    let head =
        up("GET / HTTP/1.1\r\nHost: a\r\nX-Many: 1\r\nX-Other: 2\r\nX-Many: 3\r\nX-Empty:\r\n\r\n");
    assert_eq!(head.all("x-many"), ["1", "3"]);
    assert_eq!(head.all("x-empty"), [""]);
    let response = down(
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\n",
    );
    assert_eq!(response.head.all("set-cookie"), ["a=1", "b=2"]);
}

/// Some old services compare names with their letter case.
#[test]
fn lines_reach_a_service_as_the_client_wrote_them_but_for_blanks_around_a_value() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.exchange(
        b"GET / HTTP/1.1\r\nX-One: 1\r\nHOST: a\r\nx-TWO:2\r\nX-Three: \t3 \r\nConnection: keep-alive\r\nx-four: 4\r\n\r\n",
    );
    let received = upstream.text();
    assert!(
        received.starts_with(
            "GET / HTTP/1.1\r\nhost: a\r\nX-One: 1\r\nx-TWO: 2\r\nX-Three: 3\r\nx-four: 4\r\nx-forwarded-for: "
        ),
        "{received}"
    );
}

#[test]
fn bytes_beyond_ascii_pass_in_values() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nX-Name: J\xf6rg\r\n\r\n");
    let received = upstream.received().concat();
    assert!(
        received
            .windows(14)
            .any(|window| window == b"X-Name: J\xf6rg\r\n")
    );
}

#[test]
fn claims_of_an_untrusted_peer_are_replaced() {
    let head = up(
        "GET / HTTP/1.1\r\nHost: a:81\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
                   X-Forwarded-Host: evil\r\nForwarded: for=1.2.3.4\r\n\r\n",
    );
    assert_eq!(head.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.get("x-forwarded-proto"), Some("http"));
    assert_eq!(head.get("x-forwarded-host"), Some("a:81"));
    assert_eq!(
        head.get("forwarded"),
        Some("for=127.0.0.1;host=\"a:81\";proto=http")
    );
}

#[test]
fn each_request_of_a_connection_is_told_of_by_its_own_host_and_version() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    let requests = [
        "a:81 1.1", "a:81 1.1", "b 1.1", "a:81 1.0", "A:81 1.1", "a:81 1.1",
    ];
    let mut accounts = Vec::new();
    for (host, version) in requests.iter().filter_map(|one| one.split_once(' ')) {
        let request =
            format!("GET / HTTP/{version}\r\nHost: {host}\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(client.exchange(request).status(), 200);
        accounts.push(format!(
            "x-forwarded-for: 127.0.0.1\r\nforwarded: for=127.0.0.1;host=\"{host}\";proto=http\r\n\
             x-forwarded-proto: http\r\nx-forwarded-host: {host}\r\nvia: {version} tidegate\r\nx-request-id: "
        ));
    }
    let text = upstream.text();
    let heads: Vec<_> = text.split_terminator("\r\n\r\n").collect();
    assert_eq!(heads.len(), accounts.len(), "{text}");
    for (head, account) in heads.iter().zip(&accounts) {
        assert!(head.contains(account), "{head} without {account}");
    }
}

#[test]
fn claims_of_a_trusted_peer_are_extended() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\n\
                   X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop\r\nForwarded: for=1.2.3.4\r\n\r\n";
    let (head, _) = sent_up(TRUSTING, "", request);
    assert_eq!(
        head.get("x-forwarded-for"),
        Some("6.6.6.6, 1.2.3.4, 127.0.0.1")
    );
    assert_eq!(head.get("x-forwarded-proto"), Some("https"));
    assert_eq!(head.get("x-forwarded-host"), Some("shop"));
    let forwarded =
        "for=6.6.6.6, for=1.2.3.4;proto=https;host=shop, for=127.0.0.1;host=\"a\";proto=http";
    assert_eq!(head.get("forwarded"), Some(forwarded));
}

/// The four forwarding fields that arrive upstream: addresses, protocol, host,
/// and `Forwarded` without this hop's own element.
fn forwarding_fields(top: &str, lines: &str) -> [String; 4] {
    let (head, _) = sent_up(
        top,
        "",
        &format!("GET / HTTP/1.1\r\nHost: 10.0.0.5:8080\r\n{lines}\r\n"),
    );
    let all = [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "forwarded",
    ]
    .map(|name| {
        let lines = head.all(name);
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        lines[0].to_owned()
    });
    let [addresses, proto, host, forwarded] = all;
    let own = "for=127.0.0.1;host=\"10.0.0.5:8080\";proto=http";
    let earlier = forwarded
        .strip_suffix(own)
        .unwrap_or_else(|| panic!("{forwarded}"))
        .to_owned();
    [addresses, proto, host, earlier]
}

const TRUSTING_MORE: &str = "[client_ip]\ntrusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\nheader = \"x-forwarded-for\"";
const BY_FORWARDED: &str =
    "[client_ip]\ntrusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\nheader = \"forwarded\"";

#[test]
fn x_forwarded_fields_of_a_trusted_peer_are_copied_to_forwarded() {
    for (lines, expected) in [
        (
            "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: www.example\r\n",
            [
                "203.0.113.9, 127.0.0.1",
                "https",
                "www.example",
                "for=203.0.113.9;proto=https;host=www.example, ",
            ],
        ),
        // Protocol and host are those of the client's own request. Values left
        // of the client's address are unproven claims.
        (
            "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.2\r\nX-Forwarded-Proto: ftp, https, http\r\n",
            [
                "6.6.6.6, 203.0.113.9, 10.0.0.2, 127.0.0.1",
                "https",
                "10.0.0.5:8080",
                "for=6.6.6.6, for=203.0.113.9;proto=https, for=10.0.0.2, ",
            ],
        ),
        (
            "X-Forwarded-For: [2001:db8::1]:80\r\nX-Forwarded-Host: a:81\r\n",
            [
                "[2001:db8::1]:80, 127.0.0.1",
                "http",
                "a:81",
                "for=\"[2001:db8::1]\";host=\"a:81\", ",
            ],
        ),
        (
            "X-Forwarded-For: 203.0.113.9,\r\nX-Forwarded-For: , 10.0.0.2 ,,\r\nX-Forwarded-Proto: https,\r\n",
            [
                "203.0.113.9, 10.0.0.2, 127.0.0.1",
                "https",
                "10.0.0.5:8080",
                "for=203.0.113.9;proto=https, for=10.0.0.2, ",
            ],
        ),
        (
            "X-Forwarded-For: 1.2.3.4, who\", for=6.6.6.6\r\n",
            [
                "1.2.3.4, unknown, unknown, 127.0.0.1",
                "http",
                "10.0.0.5:8080",
                "for=1.2.3.4, for=unknown, for=unknown, ",
            ],
        ),
    ] {
        assert_eq!(forwarding_fields(TRUSTING_MORE, lines), expected, "{lines}");
    }
}

#[test]
fn a_field_with_one_address_is_a_hop_of_its_own_and_no_list_is_believed() {
    let top = "[client_ip]\ntrusted_proxies = [\"127.0.0.0/8\"]\nheader = \"x-edge-client\"";
    let claimed =
        "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=7.7.7.7\r\nX-Forwarded-Proto: ftp, https\r\n";
    assert_eq!(
        forwarding_fields(top, &format!("{claimed}X-Edge-Client: 203.0.113.9\r\n")),
        [
            "203.0.113.9, 127.0.0.1",
            "https",
            "10.0.0.5:8080",
            "for=203.0.113.9;proto=https, ",
        ]
    );
}

#[test]
fn a_field_that_names_the_client_reaches_services_from_trusted_proxies_only() {
    let name = "x-edge-client";
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = |trusted: &str| {
        Gateway::start(&format!(
            "[client_ip]\ntrusted_proxies = ['{trusted}']\nheader = '{name}'\n{}",
            one_route(&upstream, "")
        ))
    };
    for (trusted, passes) in [("127.0.0.0/8", true), ("192.0.2.1", false)] {
        let line = format!("X-Edge-Client: 203.0.113.{}", u8::from(passes));
        assert_eq!(gateway(trusted).ask("GET", "/", &[&line]).status(), 200);
        let text = upstream.text().to_ascii_lowercase();
        assert_eq!(text.contains(&line.to_ascii_lowercase()), passes, "{text}");
    }
}

#[test]
fn forwarded_of_a_trusted_peer_is_copied_to_x_forwarded_fields() {
    for (line, expected) in [
        (
            "for=203.0.113.9;proto=https;host=www.example",
            [
                "203.0.113.9, 127.0.0.1",
                "https",
                "www.example",
                "for=203.0.113.9;proto=https;host=www.example, ",
            ],
        ),
        (
            "for=6.6.6.6;proto=ftp;host=evil, for=203.0.113.9;host=\"a:81\", for=10.0.0.2;proto=https,",
            [
                "6.6.6.6, 203.0.113.9, 10.0.0.2, 127.0.0.1",
                "https",
                "a:81",
                "for=6.6.6.6;proto=ftp;host=evil, for=203.0.113.9;host=\"a:81\", for=10.0.0.2;proto=https, ",
            ],
        ),
        (
            "for=_hidden, for=\"[2001:db8::1]:4711\", for=\"oops",
            [
                "unknown, 2001:db8::1, unknown, 127.0.0.1",
                "http",
                "10.0.0.5:8080",
                "for=_hidden, for=\"[2001:db8::1]:4711\", for=unknown, ",
            ],
        ),
    ] {
        assert_eq!(
            forwarding_fields(BY_FORWARDED, &format!("Forwarded: {line}\r\n")),
            expected,
            "{line}"
        );
    }
}

#[test]
fn the_field_that_is_not_the_configured_one_is_dropped_even_from_a_trusted_peer() {
    let x_forwarded =
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n";
    let forwarded = "Forwarded: for=6.6.6.6;proto=https;host=evil\r\n";
    let nothing = ["127.0.0.1", "http", "10.0.0.5:8080", ""];
    assert_eq!(forwarding_fields(BY_FORWARDED, x_forwarded), nothing);
    assert_eq!(forwarding_fields(TRUSTING_MORE, forwarded), nothing);
    let both = |own: &str, other: &str| format!("{own}{other}");
    let expected = forwarding_fields(
        TRUSTING_MORE,
        &both("X-Forwarded-For: 203.0.113.9\r\n", forwarded),
    );
    assert_eq!(
        expected,
        [
            "203.0.113.9, 127.0.0.1",
            "http",
            "10.0.0.5:8080",
            "for=203.0.113.9, "
        ]
    );
    let expected = forwarding_fields(
        BY_FORWARDED,
        &both(
            "Forwarded: for=203.0.113.9;proto=http;host=shop\r\n",
            x_forwarded,
        ),
    );
    assert_eq!(
        expected,
        [
            "203.0.113.9, 127.0.0.1",
            "http",
            "shop",
            "for=203.0.113.9;proto=http;host=shop, "
        ]
    );
}

#[test]
fn a_trusted_peer_that_names_no_client_still_sets_protocol_and_host() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&format!("{TRUSTING}\n{}", one_route(&upstream, "")));
    gateway.ask(
        "GET",
        "/",
        &["X-Forwarded-Proto: https", "X-Forwarded-Host: shop \"x\""],
    );
    let text = upstream.text();
    assert!(text.contains("\r\nx-forwarded-proto: https\r\n"), "{text}");
    assert!(
        text.contains("\r\nforwarded: for=127.0.0.1;host=\"shop \\\"x\\\"\";proto=https\r\n"),
        "{text}"
    );
}

#[test]
fn the_client_that_a_trusted_peer_names_is_the_client_of_the_access_line() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&format!("{TRUSTING}\n{}", one_route(&upstream, "")));
    gateway
        .connect()
        .exchange("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n\r\n");
    let line = gateway.access_line();
    assert_eq!(line["client"], "1.2.3.4");
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn via_names_every_hop() {
    assert_eq!(
        up("GET / HTTP/1.1\r\nHost: a\r\n\r\n").get("via"),
        Some("1.1 tidegate")
    );
    let head = up("GET / HTTP/1.0\r\nHost: a\r\nVia: 1.1 far\r\nVia: 1.1 near\r\n\r\n");
    assert_eq!(head.get("via"), Some("1.1 far, 1.1 near, 1.0 tidegate"));
}

#[test]
fn max_forwards_is_decremented_for_options_and_trace() {
    let trace = "match = { methods = [\"TRACE\", \"OPTIONS\", \"GET\"] }";
    for method in ["OPTIONS", "TRACE"] {
        for (field, sent) in [
            ("7", Some("6")),
            ("1", Some("0")),
            ("x", Some("x")),
            ("99999999999999999999", Some("18446744073709551614")),
        ] {
            let (head, _) = sent_up(
                "",
                trace,
                &format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {field}\r\n\r\n"),
            );
            assert_eq!(head.get("max-forwards"), sent, "{method} {field}");
        }
    }
    for field in ["0", "7"] {
        let (head, _) = sent_up(
            "",
            trace,
            &format!("GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {field}\r\n\r\n"),
        );
        assert_eq!(
            head.get("max-forwards"),
            Some(field),
            "other methods ignore Max-Forwards"
        );
    }
}

#[test]
fn a_request_with_max_forwards_0_is_answered_by_the_gateway() {
    let upstream = Upstream::answering(|_| ok("from the service"));
    let gateway = Gateway::start(&one_route(
        &upstream,
        "match = { methods = [\"TRACE\", \"OPTIONS\"] }",
    ));
    let ask = |method: &str, path: &str| {
        let lines = "Host: a\r\nMax-Forwards: 0\r\nCookie: a=b\r\nAuthorization: x\r\nX-Api-Key: y\r\nX-Other: z";
        gateway
            .connect()
            .exchange(format!("{method} {path} HTTP/1.1\r\n{lines}\r\n\r\n"))
    };
    for path in ["/x", "*"] {
        let options = ask("OPTIONS", path);
        assert_eq!((options.status(), options.text().as_str()), (200, ""));
        assert!(options.get("allow").unwrap().contains("GET"));
    }
    let trace = ask("TRACE", "/x?y");
    assert_eq!(
        (trace.status(), trace.get("content-type")),
        (200, Some("message/http"))
    );
    assert_eq!(
        trace.text(),
        "TRACE /x?y HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nX-Other: z\r\n\r\n"
    );
    assert!(upstream.text().is_empty(), "{}", upstream.text());
}

#[test]
fn a_forwarding_loop_is_stopped() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let round = |via: &str| {
        gateway
            .connect()
            .exchange(format!("GET / HTTP/1.1\r\nHost: a\r\n{via}\r\n\r\n"))
            .status()
    };
    assert_eq!(
        round("Via: 1.1 tidegate, 2.0 tidegate"),
        200,
        "a chain of several gateways is no loop"
    );
    assert_eq!(
        round(&format!("Via: {}1.1 near", "1.1 far, ".repeat(20))),
        200,
        "other proxies do not count"
    );
    let _ = (gateway.access_line(), gateway.access_line());
    assert_eq!(
        round(&format!("Via: 1.1 near{}", ", 1.1 tidegate".repeat(5))),
        508
    );
    assert_eq!(gateway.access_line()["reason"], "loop");
}

#[test]
fn a_request_has_one_id_upstream_and_in_its_access_line() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.exchange("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: from-client-1\r\n\r\n");
    assert_eq!(gateway.access_line()["request_id"], "from-client-1");
    client.exchange("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: <script>\r\n\r\n");
    let made = gateway.access_line()["request_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        made.len() >= 16
            && made
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
        "{made}"
    );
    let text = upstream.text();
    assert_eq!(text.matches("x-request-id: from-client-1\r\n").count(), 1);
    assert_eq!(
        text.matches(&format!("x-request-id: {made}\r\n")).count(),
        1
    );
    assert_eq!(text.matches("x-request-id:").count(), 2);
}

#[test]
fn the_clients_host_is_kept_unless_the_route_says_otherwise() {
    let request = "GET / HTTP/1.1\r\nHost: Shop.Example:8080\r\n\r\n";
    assert_eq!(up(request).get("host"), Some("Shop.Example:8080"));
    let (head, server) = sent_up("", "request = { preserve_host = false }", request);
    assert_eq!(head.get("host"), Some(&*server));
    assert_eq!(head.get("x-forwarded-host"), Some("Shop.Example:8080"));
}

#[test]
fn a_route_sets_and_removes_fields_of_a_request() {
    let route = "request = { set_headers = { x-from = \"tidegate\", x-new = \"1\" }, remove_headers = [\"cookie\"] }";
    let (head, _) = sent_up(
        "",
        route,
        "GET / HTTP/1.1\r\nHost: a\r\nX-From: me\r\nX-From: you\r\nCookie: a=1\r\n\r\n",
    );
    assert_eq!(
        (head.get("x-from"), head.get("x-new")),
        (Some("tidegate"), Some("1"))
    );
    assert_eq!(head.all("cookie"), [""; 0]);
}

#[test]
fn a_route_may_set_or_remove_what_the_gateway_writes_itself() {
    let route = "request = { set_headers = { x-forwarded-proto = \"https\", via = \"me\", x-request-id = \"fixed\" }, \
                 remove_headers = [\"forwarded\", \"x-forwarded-host\", \"x-forwarded-for\"] }";
    let (head, _) = sent_up("", route, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.get("x-forwarded-proto"), Some("https"));
    assert_eq!(
        (head.get("via"), head.get("x-request-id")),
        (Some("me"), Some("fixed"))
    );
    for name in ["forwarded", "x-forwarded-host", "x-forwarded-for"] {
        assert_eq!(head.get(name), None, "{name}");
    }
}

#[test]
fn a_route_sets_and_removes_fields_of_a_response() {
    let response = down(
        "response = { set_headers = { x-frame-options = \"DENY\" }, remove_headers = [\"server\"] }",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nserver: old\r\nx-frame-options: ALLOW\r\n\r\n",
    );
    assert_eq!(
        (response.get("x-frame-options"), response.get("server")),
        (Some("DENY"), None)
    );
}

#[test]
fn the_date_of_a_response_is_kept_and_a_missing_one_is_added() {
    let dated = down(
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
    );
    assert_eq!(dated.get("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert!(
        down("", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .get("date")
            .unwrap()
            .ends_with(" GMT")
    );
}

#[test]
fn a_reason_phrase_of_the_service_is_kept() {
    for line in [
        "302 FOUND",
        "200 Fine",
        "404 ",
        "799 Whatever",
        "413 Payload Too Large",
        "200 OK",
    ] {
        let upstream =
            Upstream::answering(move |_| format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n"));
        let response = Gateway::start(&one_route(&upstream, "")).get("/");
        assert_eq!(response.head.line, format!("HTTP/1.1 {line}"));
    }
}

#[test]
fn reason_phrases_of_the_gateway_are_standard() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&one_route(&upstream, "request = { max_body = \"1B\" }"));
    let response = gateway
        .connect()
        .exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(response.head.line, "HTTP/1.1 413 Content Too Large");
    assert_eq!(response.problem()["title"], "Content Too Large");
}

#[test]
fn every_status_passes() {
    for status in [200, 201, 299, 302, 418, 451, 500, 599, 799] {
        let upstream = Upstream::answering(move |_| {
            format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n\r\n")
        });
        let gateway = Gateway::start(&one_route(&upstream, ""));
        assert_eq!(gateway.get("/").status(), status);
    }
}
