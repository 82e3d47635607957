//! Access log and metrics: every request is reported once, truthfully, within
//! bounds, and without secrets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "telemetry/chosen.rs"]
mod chosen;
#[path = "tls/pki.rs"]
#[allow(
    dead_code,
    reason = "one test here speaks TLS, and all of another family"
)]
mod pki;
mod support;
#[path = "telemetry/traces.rs"]
mod traces;

use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use support::{
    Client, Upstream,
    gateway::{Gateway, Start, request, responding},
    ok, one_route,
};

/// Every field of an access line except the optional ones.
const ALWAYS: [&str; 13] = [
    "time",
    "request_id",
    "listener",
    "client",
    "peer",
    "protocol",
    "method",
    "host",
    "path",
    "status",
    "duration_ms",
    "bytes_in",
    "bytes_out",
];

#[track_caller]
fn has(line: &Value, fields: &[(&str, Value)]) {
    for (name, value) in fields {
        assert_eq!(
            line.get(name).unwrap_or(&Value::Null),
            value,
            "{name} in {line:#}"
        );
    }
}

#[test]
fn an_untrusted_proxy_is_logged_once_with_advice() {
    let routes = responding("self", "");
    let gateway = Gateway::start(&routes);
    for _ in 0..20 {
        gateway.ask("GET", "/", &["X-Real-IP: 1.2.3.4"]);
        gateway.ask("GET", "/", &["X-Forwarded-For: 1.2.3.4"]);
        gateway.ask("GET", "/", &["Forwarded: for=1.2.3.4"]);
    }
    let warning = gateway.logged("requests from 127.0.0.1 carry X-Forwarded-For");
    assert!(
        warning["message"]
            .as_str()
            .unwrap()
            .contains("trusted_proxies = [\"127.0.0.1\"]"),
        "{warning}"
    );
    assert_eq!(
        warning["level"].as_str().unwrap().to_ascii_lowercase(),
        "warn"
    );
    // No second time after a reload, and the advice works.
    gateway.rewrite(&format!(
        "{routes}{}",
        responding("more", "match = { path = '/more' }")
    ));
    gateway.logged("configuration reloaded");
    gateway.ask("GET", "/", &["X-Forwarded-For: 1.2.3.4"]);
    gateway.rewrite(&format!(
        "[client_ip]\ntrusted_proxies = [\"127.0.0.1\"]\n{routes}"
    ));
    gateway.logged("configuration reloaded");
    assert!(
        !gateway.passed().contains(" carry "),
        "{}",
        gateway.passed()
    );
}

#[test]
fn on_a_terminal_a_request_is_one_short_row_in_color() {
    let text = format!(
        "[limits.l]\nrate = '1/h'\nburst = 1\n{}",
        responding("self", "limits = ['l']")
    );
    let rows = |no_color: &str| {
        let gateway = Start::new(&text)
            .env("NO_COLOR", no_color)
            .on_a_terminal()
            .go();
        ["/a", "/b"].map(|path| {
            gateway.ask("GET", path, &[]);
            gateway.access_text()
        })
    };
    let [admitted, refused] = rows("");
    assert!(
        admitted.starts_with("\x1b[32m200\x1b[0m GET /a "),
        "{admitted:?}"
    );
    assert!(
        refused.starts_with("\x1b[33m429\x1b[0m GET /b "),
        "{refused:?}"
    );
    assert!(
        refused.ends_with(" rate_limited limit=l 127.0.0.1"),
        "{refused:?}"
    );
    let [admitted, refused] = rows("1");
    assert!(
        admitted.starts_with("200 GET /a ") && refused.starts_with("429 GET /b "),
        "{admitted:?} {refused:?}"
    );
}

#[test]
fn a_proxied_request_is_logged_with_its_upstream_and_attempts() {
    let upstream = Upstream::answering(|_| ok("hello"));
    let text = format!(
        "[limits.l]\nrate = '10/h'\n{}",
        one_route(&upstream, "limits = ['l']")
    );
    let gateway = Gateway::start(&text);
    let mut client = gateway.connect();
    let lines = [
        "Content-Length: 3",
        "User-Agent: test/1",
        "X-Request-Id: mine",
    ];
    client.send(request("POST", "/a/b?q=1", &lines) + "abc");
    let response = client.response();
    let line = gateway.access_line();
    assert!(
        ALWAYS.iter().all(|name| line.get(name).is_some()),
        "{line:#}"
    );
    has(
        &line,
        &[
            (
                "request_id",
                response
                    .get("x-request-id")
                    .map_or(line["request_id"].clone(), Into::into),
            ),
            ("listener", gateway.address().to_string().into()),
            ("client", "127.0.0.1".into()),
            ("peer", client.local().to_string().into()),
            ("protocol", "HTTP/1.1".into()),
            ("method", "POST".into()),
            ("host", "a".into()),
            ("path", "/a/b".into()),
            ("query", "q=1".into()),
            ("route", "app".into()),
            ("status", 200.into()),
            ("reason", Value::Null),
            ("limit", "l".into()),
            ("remaining", 9.into()),
            ("upstream", "app".into()),
            ("server", upstream.url().into()),
            ("attempts", 1.into()),
            ("bytes_in", 3.into()),
            ("bytes_out", 5.into()),
            ("user_agent", "test/1".into()),
            ("queue_ms", Value::Null),
            ("not_retried", Value::Null),
        ],
    );
    let (upstream_ms, duration) = (
        line["upstream_ms"].as_f64().unwrap(),
        line["duration_ms"].as_f64().unwrap(),
    );
    assert!(upstream_ms > 0.0 && upstream_ms <= duration, "{line:#}");
}

#[test]
fn a_request_without_an_upstream_is_logged_without_one() {
    let gateway = Gateway::start(&responding("r", "match = { path = '/only' }"));
    gateway.get("/else");
    let line = gateway.access_line();
    has(
        &line,
        &[
            ("status", 404.into()),
            ("reason", "no_route".into()),
            ("path", "/else".into()),
        ],
    );
    for absent in [
        "route",
        "limit",
        "key",
        "upstream",
        "server",
        "attempts",
        "upstream_ms",
        "user_agent",
        "query",
    ] {
        assert!(line.get(absent).is_none(), "{absent} in {line:#}");
    }
}

#[test]
fn malformed_requests_are_logged_too() {
    let gateway = Gateway::start(&responding("r", ""));
    let mut client = gateway.connect();
    client.send("no request at all\r\n\r\n");
    let response = client.response();
    assert_eq!(
        (response.status(), response.problem()["status"].as_u64()),
        (400, Some(400))
    );
    let line = gateway.access_line();
    has(
        &line,
        &[
            ("status", 400.into()),
            ("reason", "malformed".into()),
            ("client", "127.0.0.1".into()),
        ],
    );
    for absent in ["route", "method", "host", "path"] {
        assert!(line.get(absent).is_none(), "{absent} in {line:#}");
    }
    let labels = [("route", "-"), ("method", "other"), ("status", "400")];
    assert_eq!(gateway.metric("tidegate_requests_total", &labels), 1.0);
}

/// Event streams, responses of language models and seeks in a video commonly
/// end this way.
#[test]
fn a_client_that_ends_a_stream_is_logged_with_the_status_of_the_response() {
    for framing in ["transfer-encoding: chunked", "content-length: 1000000"] {
        let upstream = Upstream::start(move |mut connection| {
            connection.expect_request();
            connection.send(format!(
                "HTTP/1.1 206 Partial Content\r\n{framing}\r\n\r\n5\r\nhello\r\n"
            ));
            connection.ended();
        });
        let gateway = Gateway::start(&one_route(&upstream, ""));
        let mut client = gateway.connect();
        client.send(request("GET", "/", &[]));
        assert_eq!(client.head().unwrap().status(), 206);
        drop(client);
        has(
            &gateway.access_line(),
            &[("status", 206.into()), ("reason", "client_gone".into())],
        );
        assert_eq!(
            gateway.metric("tidegate_requests_total", &[("status", "206")]),
            1.0
        );
        assert_eq!(
            gateway.metric("tidegate_requests_total", &[("status", "499")]),
            0.0
        );
    }
}

#[test]
fn a_client_that_left_before_the_response_is_logged_with_499() {
    let (sender, warning) = std::sync::mpsc::channel();
    let upstream = Upstream::start(move |mut connection| {
        connection.expect_request();
        sender.send(()).unwrap();
        connection.ended();
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    let mut client = gateway.connect();
    client.send(request("GET", "/", &[]));
    warning.recv().unwrap();
    drop(client);
    has(
        &gateway.access_line(),
        &[
            ("status", 499.into()),
            ("reason", "client_gone".into()),
            ("route", "app".into()),
        ],
    );
    assert_eq!(
        gateway.metric(
            "tidegate_requests_total",
            &[("route", "app"), ("status", "499")]
        ),
        1.0
    );
}

#[test]
fn a_text_line_has_the_same_fields() {
    let gateway = Gateway::start(&format!("[log]\nformat = 'text'\n{}", responding("r", "")));
    gateway.ask("GET", "/a%20b", &["User-Agent: two words"]);
    let line = gateway.access_text();
    for part in [
        "status=200",
        "method=GET",
        "path=/a%20b",
        "route=r",
        "client=127.0.0.1",
        "user_agent=\"two words\"",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(
        ALWAYS.iter().all(|name| line.contains(&format!("{name}="))),
        "{line}"
    );
}

#[test]
fn without_access_there_are_no_lines() {
    let mut gateway = Gateway::start(&format!("[log]\naccess = false\n{}", responding("r", "")));
    for _ in 0..10 {
        gateway.get("/");
    }
    gateway.signal(Signal::TERM);
    gateway.wait();
    assert_eq!(gateway.rest_of_access(), Vec::<String>::new());
}

#[test]
fn every_access_line_is_written_before_the_end() {
    let mut gateway = Gateway::start(&responding("r", ""));
    let mut client = gateway.connect();
    for number in 0..500 {
        client.exchange(request("GET", &format!("/{number}"), &[]));
    }
    drop(client);
    gateway.signal(Signal::TERM);
    assert!(gateway.wait().0.success());
    assert_eq!(gateway.rest_of_access().len(), 500);
}

#[test]
fn no_client_can_forge_a_line() {
    for format in ["json", "text"] {
        let mut gateway = Gateway::start(&format!(
            "[log]\nformat = '{format}'\n{}",
            responding("r", "")
        ));
        let forged = "\",\"status\":999,\"x\":\"\\\" status=999 \\u000a\u{85}\u{2028}\u{7f}";
        for (path, agent) in [
            ("/%0astatus=999%22".to_owned(), "x\tstatus=999".to_owned()),
            ("/?q=%0d%0a{\"status\":999}".to_owned(), forged.to_owned()),
            (
                format!("/{}", "\"".repeat(50)),
                "\" status=999 \"".to_owned(),
            ),
            (
                "/x%20status=999".to_owned(),
                "\u{1b}[31m status=999".to_owned(),
            ),
        ] {
            gateway.ask("GET", &path, &[&format!("User-Agent: {agent}")]);
        }
        gateway.signal(Signal::TERM);
        gateway.wait();
        let lines = gateway.rest_of_access();
        assert_eq!(lines.len(), 4, "{lines:#?}");
        for line in lines {
            assert!(
                line.chars().all(|c| !c.is_control() && c != '\u{2028}'),
                "{line:?}"
            );
            if format == "json" {
                let line: Value = serde_json::from_str(&line).unwrap();
                assert!(line["status"] == 200 || line["status"] == 400, "{line}");
            } else {
                // Everything that a client sends stays inside the quotes of its
                // field.
                let outside: String = line.replace("\\\"", "").split('"').step_by(2).collect();
                assert_eq!(
                    outside
                        .split(' ')
                        .filter(|pair| pair.starts_with("status="))
                        .count(),
                    1,
                    "{line}"
                );
            }
        }
    }
}

#[test]
fn while_stdout_is_not_read_the_gateway_serves_and_counts_dropped_lines() {
    let gateway = Start::new(&responding("r", "")).unread().go();
    let address = gateway.address();
    let long = "x".repeat(4000);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                for _ in 0..750 {
                    assert_eq!(
                        client
                            .exchange(request("GET", &format!("/?{long}"), &[]))
                            .status(),
                        200
                    );
                }
            });
        }
    });
    gateway.await_metric("tidegate_log_lines_dropped_total", &[], 1.0);
    // A request is counted after its client has read the last byte.
    let labels = [("route", "r"), ("status", "200")];
    gateway.await_metric("tidegate_requests_total", &labels, 3000.0);
    assert_eq!(gateway.metric("tidegate_requests_total", &labels), 3000.0);
    assert!(
        gateway.resident() < 150 * 1024,
        "{} KiB",
        gateway.resident()
    );
}

#[test]
fn each_request_is_counted_once_whatever_its_outcome() {
    let upstream = Upstream::answering(|_| ok(""));
    let text = format!(
        "[limits.l]\nrate = '5/h'\n{}",
        one_route(
            &upstream,
            "match = { path_prefix = '/app' }\nlimits = ['l']"
        )
    );
    let gateway = Gateway::start(&text);
    let mut client = gateway.connect();
    for path in [
        "/app/1", "/app/2", "/app/3", "/app/4", "/app/5", "/app/6", "/app/7", "/none", "/none",
    ] {
        client.exchange(request("GET", path, &[]));
    }
    client.exchange(request("BREW", "/none", &[]));
    client.send("nonsense\r\n\r\n");
    client.response();
    let lines: Vec<_> = (0..11).map(|_| gateway.access_line()).collect();
    let count = |labels: &[(&str, &str)]| gateway.metric("tidegate_requests_total", labels);
    assert_eq!(count(&[]), lines.len() as f64);
    assert_eq!(
        count(&[("route", "app"), ("method", "GET"), ("status", "200")]),
        5.0
    );
    assert_eq!(count(&[("route", "app"), ("status", "429")]), 2.0);
    assert_eq!(count(&[("route", "-"), ("status", "404")]), 3.0);
    assert_eq!(
        count(&[("route", "-"), ("method", "other"), ("status", "404")]),
        1.0
    );
    assert_eq!(count(&[("route", "-"), ("status", "400")]), 1.0);
    assert_eq!(
        gateway.metric(
            "tidegate_request_duration_seconds_count",
            &[("route", "app")]
        ),
        7.0
    );
    assert_eq!(
        gateway.metric(
            "tidegate_upstream_duration_seconds_count",
            &[("upstream", "app")]
        ),
        5.0
    );
}

#[test]
fn after_traffic_every_metric_of_it_is_there_in_both_formats() {
    let upstream = Upstream::answering(|_| ok(""));
    let text = format!(
        "[limits.l]\nrate = '1/h'\n{}",
        one_route(&upstream, "limits = ['l']\nconcurrency = { max = 5 }")
    );
    let gateway = Gateway::start(&text);
    gateway.get("/");
    gateway.get("/");
    gateway.reload();
    gateway.access_line();
    gateway.access_line();
    for (accept, media, counter) in [
        (
            "text/plain",
            "text/plain",
            "counter tidegate_requests_total",
        ),
        (
            "application/openmetrics-text; version=1.0.0",
            "application/openmetrics-text",
            "tidegate_requests counter",
        ),
    ] {
        let response = gateway.call_admin("GET", "/metrics", &[&format!("Accept: {accept}")]);
        let text = response.text();
        assert!(
            response.get("content-type").unwrap().starts_with(media),
            "{:?}",
            response.head
        );
        assert_eq!(text.ends_with("# EOF\n"), media.contains("openmetrics"));
        assert!(
            text.contains(counter) || text.contains("# TYPE tidegate_requests_total counter"),
            "{text}"
        );
        for metric in [
            "tidegate_requests_total{",
            "tidegate_request_duration_seconds_bucket{",
            "tidegate_upstream_duration_seconds_bucket{",
            "tidegate_limit_decisions_total{",
            "tidegate_limit_keys{",
            "tidegate_concurrency_limit{",
            "tidegate_in_flight{",
            "tidegate_queued{",
            "tidegate_refusals_total{",
            "tidegate_upstream_connections{",
            "tidegate_upstream_connects_total{",
            "tidegate_upstream_server_up{",
            "tidegate_log_lines_dropped_total ",
            "tidegate_config_reloads_total{",
            "tidegate_config_reload_duration_seconds ",
            "tidegate_config_last_reload_successful ",
            "tidegate_config_last_reload_success_timestamp_seconds ",
            "tidegate_connections{",
            "tidegate_build_info{",
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_max_fds ",
            "process_start_time_seconds ",
        ] {
            assert!(
                text.lines().any(|line| line.starts_with(metric)),
                "{metric} in\n{text}"
            );
        }
    }
}

#[test]
fn no_value_of_a_key_is_logged_or_shown() {
    let text = format!(
        "[log]\nlevel = 'trace'\n[limits.l]\nkey = 'header:x-api-key'\nrate = '1/h'\n{}",
        responding("r", "limits = ['l']")
    );
    let mut gateway = Gateway::start(&text);
    let secret = "5ecr3t-value";
    let statuses = [0; 2].map(|_| {
        gateway
            .ask("GET", "/", &[&format!("X-Api-Key: {secret}")])
            .status()
    });
    assert_eq!(statuses, [200, 429]);
    let lines = [gateway.access_line(), gateway.access_line()];
    assert!(
        lines
            .iter()
            .all(|line| line["key"].as_str().is_some_and(|key| !key.is_empty())),
        "{lines:?}"
    );
    assert_eq!(lines[0]["key"], lines[1]["key"]);
    for path in ["/metrics", "/limits", "/config", "/routes"] {
        assert!(
            !gateway.call_admin("GET", path, &[]).text().contains(secret),
            "{path}"
        );
    }
    gateway.signal(Signal::TERM);
    let (_, said) = gateway.wait();
    assert!(
        !said.iter().any(|line| line.contains(secret)) && !format!("{lines:?}").contains(secret)
    );
}

#[test]
fn values_of_a_query_that_are_keys_or_secrets_are_masked_in_access_lines() {
    let text = |log: &str| {
        format!(
            "{log}\n[limits.l]\nkey = 'query:user'\nrate = '9/h'\n[limits.m]\nkey = 'host'\nmissing = 'query:id'\nrate = '9/h'\n\
             [[routes]]\nname = 'r'\nmatch = {{ path_prefix = '/r' }}\nrespond = {{}}\nlimits = ['l', 'm']\n{}",
            responding("other", "")
        )
    };
    let gateway = Gateway::start(&text(""));
    let query = |path: &str| {
        gateway.get(path);
        gateway.access_line()["query"].clone()
    };
    assert_eq!(
        query("/r?page=2&user=alice&us%65r=bob&id=7"),
        "page=2&user=***&us%65r=***&id=***"
    );
    assert_eq!(
        query("/o?page=2&user=alice"),
        "page=2&user=alice",
        "the parameter is the key of another route"
    );
    assert_eq!(
        query("/o?access_token=x&API_KEY=y&page=2&sig=z"),
        "access_token=***&API_KEY=***&page=2&sig=z"
    );
    assert_eq!(
        query("/o?next=/c?token=x&page=2"),
        "next=/c?token=***&page=2"
    );
    assert_eq!(query("/o"), serde_json::Value::Null);
    gateway.reload_with(&text("[log]\nquery = 'full'"));
    assert_eq!(query("/r?user=alice&token=x"), "user=alice&token=x");
    gateway.reload_with(&text("[log]\nquery = 'off'"));
    assert_eq!(query("/r?user=alice"), serde_json::Value::Null);
}
