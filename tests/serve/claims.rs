//! Fields that claim facts only a proxy can know, and names that services
//! mistake for others: which clients may send them.

use http::StatusCode;

use crate::support::{Gateway, Upstream, http2::Http2, ok, one_route};

/// Fields by which a proxy makes claims, one of each kind.
const CLAIMS: [&str; 18] = [
    "x-real-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "fastly-client-ip",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-original-url",
    "x-original-host",
    "x-rewrite-url",
    "x-http-method-override",
    "x-method-override",
    "x-url-scheme",
    "front-end-https",
    "client-cert",
];
const TRUSTING: &str = "[client_ip]\ntrusted_proxies = [\"127.0.0.0/8\"]";
const KEEPING: &str = "[[listeners]]\nbind = '127.0.0.1:0'\nunderscores = 'keep'\n";

/// Sends each of `names` as a field with the value 1, over HTTP/1 and over
/// HTTP/2, and returns the names that reach the service. Both protocols have to
/// agree.
fn passing(top: &str, route: &str, names: &[&str]) -> Vec<String> {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&format!("{top}\n{}", one_route(&upstream, route)));
    let lines: Vec<_> = names.iter().map(|name| format!("{name}: 1")).collect();
    gateway.ask(
        "GET",
        "/",
        &lines.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let names: Vec<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(
        Http2::connect(gateway.address())
            .ask("GET", "/", &fields)
            .status,
        StatusCode::OK
    );
    let text = upstream.text().to_ascii_lowercase();
    let heads: Vec<_> = text
        .split("\r\n\r\n")
        .filter(|head| !head.is_empty())
        .collect();
    let passed = |head: &&str| -> Vec<String> {
        let head = format!("{head}\r\n");
        names
            .iter()
            .filter(|name| head.contains(&format!("\r\n{name}: 1\r\n")))
            .cloned()
            .collect()
    };
    assert_eq!(heads.len(), 2, "{text}");
    assert_eq!(passed(&heads[0]), passed(&heads[1]), "{text}");
    passed(&heads[0])
}

#[test]
fn claims_of_untrusted_clients_are_dropped() {
    assert_eq!(passing("", "", &CLAIMS), [""; 0]);
    assert_eq!(
        passing("", "", &["X-Api-Key", "x-request-with", "forwarded-to"]).len(),
        3
    );
}

#[test]
fn claims_of_a_trusted_proxy_pass() {
    assert_eq!(passing(TRUSTING, "", &CLAIMS), CLAIMS);
}

#[test]
fn a_route_keeps_the_claims_that_it_names_and_no_others() {
    let route = "request = { keep_headers = [\"X-HTTP-Method-Override\", \"x-real-ip\"] }";
    assert_eq!(
        passing("", route, &CLAIMS),
        ["x-real-ip", "x-http-method-override"]
    );
    // A field that the gateway writes is not kept under a name that resembles
    // it.
    let keeping = passing(
        KEEPING,
        route,
        &["x_real_ip", "X_Forwarded_For", "x_forwarded_port"],
    );
    assert_eq!(keeping, ["x_real_ip"]);
}

#[test]
fn names_with_underscores_are_dropped_and_counted() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&one_route(
        &upstream,
        "request = { remove_headers = [\"x-role\"] }",
    ));
    gateway.ask(
        "GET",
        "/",
        &["X_Role: admin", "x_b: 1", "X-Kept: a_b", "Cookie: a_b=c"],
    );
    let fields = [
        ("x_role", "admin"),
        ("x-kept", "a_b"),
        ("x-real-ip", "1.2.3.4"),
    ];
    assert_eq!(
        Http2::connect(gateway.address())
            .ask("GET", "/", &fields)
            .status,
        StatusCode::OK
    );
    let text = upstream.text().to_ascii_lowercase();
    assert!(!text.contains("x_role") && !text.contains("x_b"), "{text}");
    assert_eq!(
        (
            text.matches("x-kept: a_b\r\n").count(),
            text.matches("cookie: a_b=c\r\n").count()
        ),
        (2, 1),
        "{text}"
    );
    let dropped = |reason| {
        gateway.metric(
            "tidegate_request_fields_dropped_total",
            &[("route", "app"), ("reason", reason)],
        )
    };
    assert_eq!((dropped("underscore"), dropped("untrusted")), (3.0, 1.0));
}

#[test]
fn a_listener_that_keeps_underscores_still_applies_the_rules_for_the_name() {
    let names = [
        "X_Mine",
        "X_Role",
        "X_From",
        "x_b",
        "Content_Length",
        "transfer_encoding",
        "x_forwarded_for",
        "X_Real_IP",
    ];
    let route = "request = { remove_headers = [\"x-role\", \"x_b\"], set_headers = { x-from = \"tidegate\" } }";
    assert_eq!(passing(KEEPING, route, &names), ["x_mine"]);
}

#[test]
fn connection_drops_every_spelling_of_a_name() {
    let upstream = Upstream::answering(|_| ok(""));
    let gateway = Gateway::start(&format!("{KEEPING}{}", one_route(&upstream, "")));
    gateway.ask("GET", "/", &["Connection: x-hop", "X_Hop: 1", "X_Kept: 2"]);
    let text = upstream.text().to_ascii_lowercase();
    assert!(
        !text.contains("x_hop") && text.contains("x_kept: 2\r\n"),
        "{text}"
    );
}

#[test]
fn dropped_fields_are_no_key_of_a_limit() {
    for (key, line) in [
        ("x-real-ip", "X-Real-IP: "),
        ("x_user", "X_User: "),
        ("x-forwarded-for", "X-Forwarded-For: "),
    ] {
        let gateway = Gateway::start(&format!(
            "[limits.l]\nkey = 'header:{key}'\nrate = '1/h'\n[[routes]]\nname = 'r'\nrespond = {{}}\nlimits = ['l']\n"
        ));
        let ask = |value: &str| {
            gateway
                .ask("GET", "/", &[&format!("{line}{value}")])
                .status()
        };
        assert_eq!(
            (ask("1.1.1.1"), ask("2.2.2.2")),
            (200, 429),
            "{key}: the key is the client's address"
        );
    }
}
