//! Fields and bodies of a route's own for refusals.

use std::fs;

use super::support::{
    Message, TIMEOUT, Upstream,
    gateway::{Closed, Gateway, Start, replace, request, responding},
    http2::Http2,
    one_route,
};

const BROWSER: &str =
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
const LIMIT: &str = "[limits.per-client]\nrate = '1/h'\n";
const PAGE: &str = "<p>{status} {limit} on {route}: {retry_after} s, {request_id}</p>";

/// A route with a limit of one token, with these keys of its refusals.
fn limited(refusal: &str) -> String {
    let more = format!("limits = ['per-client']\n[routes.refusal]\n{refusal}");
    format!("{LIMIT}{}", responding("orders", &more))
}

/// A gateway whose only token is taken, with these files beside its
/// configuration.
#[track_caller]
fn empty(refusal: &str, files: &[(&'static str, &str)]) -> Gateway {
    let start = Start::new(&limited(refusal));
    let start = files
        .iter()
        .fold(start, |start, (name, text)| start.file(name, *text));
    let gateway = start.go();
    assert_eq!(gateway.status("/"), 200);
    gateway
}

#[track_caller]
fn told(response: &Message) -> (u16, &str, String) {
    let kind = response.get("content-type").unwrap_or_default();
    (response.status(), kind, response.text())
}

#[test]
fn a_browser_gets_the_page_of_the_route_and_a_program_a_problem_body() {
    let gateway = empty(
        "bodies = { 429 = 'errors/429.html' }",
        &[("errors/429.html", PAGE)],
    );
    let page = gateway.ask("GET", "/page", &[BROWSER, "X-Request-Id: id-7"]);
    assert_eq!(
        told(&page),
        (
            429,
            "text/html; charset=utf-8",
            "<p>429 per-client on orders: 3600 s, id-7</p>".to_owned()
        )
    );
    for (name, value) in [
        ("vary", "Accept"),
        ("cache-control", "no-store"),
        ("retry-after", "3600"),
        ("x-request-id", "id-7"),
        ("ratelimit", "\"per-client\";r=0;t=3600"),
        ("content-length", &page.body.len().to_string()),
    ] {
        assert_eq!(page.get(name), Some(value), "{name}");
    }
    for lines in [&[][..], &["Accept: */*"], &["Accept: application/json"]] {
        let problem = gateway.ask("GET", "/", lines);
        assert_eq!(
            problem.get("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(problem.problem()["route"], "orders");
        assert_eq!(problem.get("vary"), Some("Accept"));
    }
    assert_eq!(gateway.line_of("/page")["reason"], "rate_limited");
}

#[test]
fn of_several_bodies_the_client_chooses() {
    let json = r#"{"error":"slow down","in":{retry_after},"id":"{request_id}"}"#;
    let gateway = empty(
        "bodies = { 429 = ['429.html', '429.json', '429.txt'] }",
        &[
            ("429.html", PAGE),
            ("429.json", json),
            ("429.txt", "wait {retry_after} s"),
        ],
    );
    let kind = |accept: &str| {
        let response = gateway.ask("GET", "/", &[accept]);
        response.get("content-type").unwrap().to_owned()
    };
    assert_eq!(kind(BROWSER), "text/html; charset=utf-8");
    assert_eq!(kind("Accept: text/plain"), "text/plain; charset=utf-8");
    assert_eq!(
        kind("Accept: application/problem+json"),
        "application/problem+json"
    );
    assert_eq!(kind("Accept: image/png"), "application/json");
    let plain = gateway.ask("GET", "/", &["X-Request-Id: id-7"]);
    let body: serde_json::Value = serde_json::from_slice(&plain.body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({ "error": "slow down", "in": 3600, "id": "id-7" })
    );
}

#[test]
fn an_exact_status_wins_over_its_class_and_each_kind_of_refusal_has_its_body() {
    let (upstream, arrived, leave) = Upstream::held();
    let closed = Closed::new();
    let gone = format!("[upstreams.gone]\nservers = ['{}']\n", closed.url());
    let defaults = "[defaults.refusal]\nheaders = { x-support = 'help', Cache-Control = 'no-cache' }\n\
        [defaults.refusal.bodies]\n5xx = 'any.txt'\n504 = 'late.txt'\n4xx = 'client.txt'\n";
    let app = one_route(
        &upstream,
        "match = { path = '/app' }\nconcurrency = { max = 1 }\n",
    );
    let route = |name: &str, more: &str| {
        format!("[[routes]]\nname = '{name}'\nmatch = {{ path = '/{name}' }}\n{more}\n")
    };
    let text = [
        defaults.to_owned(),
        gone,
        app,
        route("late", "upstream = 'app'\ntimeouts = { total = '50ms' }"),
        route("gone", "upstream = 'gone'"),
        route("small", "upstream = 'app'\nrequest = { max_body = '1B' }"),
        route("moved", "redirect = { to = '/app' }"),
    ]
    .concat();
    let gateway = Start::new(&text)
        .file(
            "any.txt",
            "{status} on {route}, limit {limit}, again in {retry_after}",
        )
        .file("late.txt", "too late")
        .file("client.txt", "{status} is yours")
        .go();
    let mut held = gateway.sent("/app", &[]);
    assert_eq!(arrived.recv_timeout(TIMEOUT).as_deref(), Ok("/app"));
    let mut large = gateway.connect();
    let large = large.exchange(request("POST", "/small", &["Content-Length: 2"]) + "12");
    let found: Vec<_> = ["/app", "/late", "/gone"]
        .map(|path| gateway.get(path))
        .into();
    // One is abandoned, the other one is held.
    leave.open();
    leave.open();
    for (response, text) in found.iter().chain([&large]).zip([
        "503 on app, limit app, again in 1",
        "too late",
        "502 on gone, limit , again in ",
        "413 is yours",
    ]) {
        assert_eq!(response.text(), text);
        assert_eq!(response.get("x-support"), Some("help"));
        assert_eq!(response.head.all("cache-control"), ["no-cache"]);
    }
    // Neither the service's response, nor a redirect, nor a request without a
    // route has any of it.
    for response in [held.response(), gateway.get("/moved"), gateway.get("/none")] {
        assert_eq!(response.get("x-support"), None);
    }
}

#[test]
fn a_response_to_head_has_the_length_of_the_page_and_no_body() {
    let gateway = empty(
        "bodies = { 429 = '429.html' }",
        &[("429.html", "<p>wait</p>")],
    );
    let mut client = gateway.connect();
    client.send(request("HEAD", "/", &[BROWSER]));
    let response = client.response_to_head();
    assert_eq!(
        (response.status(), response.get("content-length")),
        (429, Some("11"))
    );
    assert_eq!(
        client.exchange(request("GET", "/", &[BROWSER])).text(),
        "<p>wait</p>"
    );
}

#[test]
fn a_changed_file_is_a_reload_and_a_broken_one_keeps_what_serves() {
    let gateway = empty("bodies = { 429 = '429.txt' }", &[("429.txt", "one")]);
    assert_eq!(gateway.get("/").text(), "one");
    let file = gateway.folder().join("429.txt");
    replace(&file, "{retry_aftr}");
    gateway.logged("configuration not reloaded");
    assert_eq!(gateway.get("/").text(), "one");
    replace(&file, "two");
    gateway.logged("configuration reloaded");
    assert_eq!(gateway.get("/").text(), "two");
    let shown = gateway.call_admin("GET", "/config", &[]).text();
    assert!(shown.contains("429.txt"), "{shown}");
}

#[test]
fn a_grpc_call_keeps_its_status_and_gets_the_fields() {
    let upstream = Upstream::answering(|_| String::new());
    let table = format!(
        "{LIMIT}[upstreams.app]\nservers = ['{}']\nprotocol = 'http2'\n[[routes]]\nname = 'app'\nupstream = 'app'\n\
         limits = ['none']\n[limits.none]\nrate = '1/h'\nkey = 'header:x-none'\nmissing = 'refuse'\n",
        upstream.url()
    );
    let refusal =
        "[routes.refusal]\nheaders = { x-support = 'help' }\nbodies = { 4xx = '429.txt' }\n";
    let table = table.replace(
        "limits = ['none']\n",
        &format!("limits = ['none']\n{refusal}"),
    );
    let gateway = Start::new(&table.replace(LIMIT, ""))
        .file("429.txt", "text")
        .go();
    let mut client = Http2::connect(gateway.address());
    let call = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("accept", "text/plain"),
    ];
    let response = client.post("/a.B/C", &call, b"");
    assert_eq!(response.get("content-type"), "application/grpc");
    assert_eq!(response.get("x-support"), "help");
    assert!(response.body.is_empty() && !response.headers.contains_key("vary"));
    let ordinary = client.post("/a.B/C", &[("accept", "text/plain")], b"");
    assert_eq!(
        (ordinary.text(), ordinary.get("vary")),
        ("text".to_owned(), "Accept")
    );
}

#[test]
fn an_accept_of_thousands_of_ranges_chooses_by_the_first_ones() {
    let gateway = empty("bodies = { 429 = '429.html' }", &[("429.html", "page")]);
    let many = ",a/b;q=0.1".repeat(800);
    let page = gateway.ask("GET", "/", &[&format!("Accept: text/html{many}")]);
    assert_eq!(page.text(), "page");
    let late = gateway.ask("GET", "/", &[&format!("Accept: x/y{many},text/html")]);
    assert_eq!(late.get("content-type"), Some("application/problem+json"));
    for accept in ["text/html;q=1e999", ";;;,,,", "\u{e9}/\u{e9}"] {
        let problem = gateway.ask("GET", "/", &[&format!("Accept: {accept}")]);
        assert_eq!(
            problem.get("content-type"),
            Some("application/problem+json")
        );
    }
}

#[test]
fn markup_of_a_client_is_not_repeated() {
    let gateway = empty(
        "bodies = { 429 = '429.html' }",
        &[("429.html", "<p>{request_id}</p>")],
    );
    let markup = "X-Request-Id: <script>alert(1)</script>";
    let page = gateway.ask("GET", "/<script>", &[BROWSER, markup]).text();
    assert!(
        !page.contains("script") && page.starts_with("<p>"),
        "{page}"
    );
}

#[test]
fn pages_of_other_origins_can_read_a_refusal_with_a_body_of_its_own() {
    let refusal = "bodies = { 429 = '429.html' }\n[routes.cors]\norigins = ['https://a.example']";
    let gateway = empty(refusal, &[("429.html", "page")]);
    let lines = ["Origin: https://a.example", "Accept: text/html"];
    let response = gateway.ask("GET", "/", &lines);
    assert_eq!(response.text(), "page");
    assert_eq!(response.head.all("vary"), ["Accept, Origin"]);
    assert_eq!(
        response.get("access-control-allow-origin"),
        Some("https://a.example")
    );
}

#[test]
fn a_page_of_the_largest_size_is_sent_whole_and_a_larger_one_is_refused() {
    let page = "x".repeat(64 * 1024);
    let gateway = empty("bodies = { 429 = '429.txt' }", &[("429.txt", &page)]);
    assert_eq!(gateway.get("/").text(), page);
    fs::write(gateway.folder().join("429.txt"), page + "x").unwrap();
    let (status, outcome) = gateway.reload();
    assert_eq!(status, 422, "{outcome}");
    assert!(
        outcome.to_string().contains("429.txt is longer than 64KiB"),
        "{outcome}"
    );
}
