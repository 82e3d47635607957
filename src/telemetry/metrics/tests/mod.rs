//! Promises of the metrics, checked with a strict parser of both text formats.

mod scrape;

use std::{collections::HashMap, thread};

use http::Method;
use tracing_appender::non_blocking::NonBlocking;

use self::scrape::Scrape;
use super::*;
use crate::runtime::worker;

#[test]
fn both_formats_can_be_parsed_strictly() {
    let (metrics, observed) = populated();
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let scrape = Scrape::read(format, &metrics.render(format, &observed));
        assert!(scrape.families.len() > 25, "{:?}", scrape.families);
    }
}

#[test]
fn both_formats_have_the_same_values() {
    let (metrics, observed) = populated();
    let plain = Scrape::read(
        Format::Prometheus,
        &metrics.render(Format::Prometheus, &observed),
    );
    let open = Scrape::read(
        Format::OpenMetrics,
        &metrics.render(Format::OpenMetrics, &observed),
    );
    let ours = |scrape: Scrape| -> HashMap<String, f64> {
        let whole = |series: String| series.replace(".0\"", "\"");
        scrape
            .samples
            .into_iter()
            .filter(|(name, _)| name.starts_with("tidegate"))
            .map(|(n, v)| (whole(n), v))
            .collect()
    };
    assert_eq!(ours(plain), ours(open));
}

#[test]
fn counts_of_all_workers_are_one_sum() {
    let metrics = Metrics::new(2);
    let route = metrics.route("orders");
    thread::scope(|scope| {
        for index in 0..2 {
            let route = &route;
            scope.spawn(move || {
                worker::set_current(index);
                (0..10).for_each(|_| {
                    route.record(|cells| cells.request(&Method::GET, 200, Duration::from_millis(3)))
                });
            });
        }
    });
    route.record(|cells| cells.request(&Method::GET, 200, Duration::from_secs(1)));
    let scrape = scrape(&metrics);
    assert_eq!(
        scrape.value(r#"tidegate_requests_total{route="orders",method="GET",status="200"}"#),
        Some(21.0)
    );
    assert_eq!(
        scrape.value(r#"tidegate_request_duration_seconds_count{route="orders"}"#),
        Some(21.0)
    );
    assert_eq!(
        scrape.value(r#"tidegate_request_duration_seconds_sum{route="orders"}"#),
        Some(1.06)
    );
    assert_eq!(
        scrape.value(r#"tidegate_request_duration_seconds_bucket{route="orders",le="0.005"}"#),
        Some(20.0)
    );
}

#[test]
fn one_lock_is_enough_for_all_counts_of_a_request() {
    let metrics = Metrics::new(1);
    let (first, second) = (Arc::<str>::from("per-client"), Arc::<str>::from("daily"));
    metrics.route("orders").record(|cells| {
        cells.request(&Method::POST, 429, Duration::ZERO);
        cells.decisions(&[first, second.clone()], 0b01, Decision::Allowed);
        cells.decisions(&[second], 0b01, Decision::Refused);
        cells.refusal("rate_limited");
    });
    let scrape = scrape(&metrics);
    let decision = |limit, decision| {
        let series = format!(
            r#"tidegate_limit_decisions_total{{limit="{limit}",route="orders",decision="{decision}"}}"#
        );
        scrape.value(&series)
    };
    assert_eq!(decision("per-client", "allowed"), Some(1.0));
    assert_eq!(decision("daily", "refused"), Some(1.0));
    assert_eq!(
        scrape.value(r#"tidegate_refusals_total{route="orders",reason="rate_limited"}"#),
        Some(1.0)
    );
}

#[test]
fn a_series_appears_with_its_first_event() {
    let metrics = Metrics::new(1);
    let (route, limit) = (metrics.route("orders"), Arc::<str>::from("daily"));
    assert!(
        !metrics
            .render(Format::Prometheus, &Observed::default())
            .contains("orders")
    );
    route.record(|cells| cells.decisions(&[limit], 0b01, Decision::ShadowRefused));
    let text = metrics.render(Format::Prometheus, &Observed::default());
    assert_eq!(
        text.lines().filter(|line| line.contains("orders")).count(),
        1,
        "{text}"
    );
}

#[test]
fn invented_methods_and_statuses_share_a_series() {
    let metrics = Metrics::new(1);
    for number in 0..100_u16 {
        let method = Method::from_bytes(format!("BREW{number}").as_bytes()).unwrap();
        metrics
            .unmatched()
            .record(|cells| cells.request(&method, 600 + number, Duration::ZERO));
    }
    let series = r#"tidegate_requests_total{route="-",method="other",status="other"}"#;
    assert_eq!(scrape(&metrics).value(series), Some(100.0));
}

#[test]
fn counters_continue_across_a_reload_that_keeps_their_names() {
    let metrics = Metrics::new(1);
    metrics.route("orders").record(|cells| cells.refusal("cap"));
    metrics.retain(&KeptNames {
        routes: HashSet::from(["orders"]),
        ..KeptNames::default()
    });
    metrics.route("orders").record(|cells| cells.refusal("cap"));
    assert_eq!(
        scrape(&metrics).value(r#"tidegate_refusals_total{route="orders",reason="cap"}"#),
        Some(2.0)
    );
}

#[test]
fn a_reload_drops_the_series_of_removed_names() {
    let (metrics, _) = populated();
    let unmatched = metrics.unmatched();
    metrics.retain(&KeptNames {
        routes: HashSet::from(["kept"]),
        ..KeptNames::default()
    });
    unmatched.record(|cells| cells.refusal("no_route"));
    let scrape = scrape(&metrics);
    for gone in ["orders", "per-client", "backend", "0.0.0.0:8080"] {
        assert!(
            !scrape
                .samples
                .iter()
                .any(|(series, _)| series.contains(gone)),
            "{gone}"
        );
    }
    assert_eq!(
        scrape.value(r#"tidegate_refusals_total{route="-",reason="no_route"}"#),
        Some(2.0)
    );
}

#[test]
fn a_failed_reload_keeps_the_time_of_the_last_good_one() {
    let metrics = Metrics::new(1);
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    metrics.loaded(at(1000), Duration::from_millis(5));
    metrics.reloaded(Reload::Failure, at(2000), Duration::from_millis(7));
    let scrape = scrape(&metrics);
    assert_eq!(
        scrape.value("tidegate_config_last_reload_successful"),
        Some(0.0)
    );
    assert_eq!(
        scrape.value("tidegate_config_last_reload_success_timestamp_seconds"),
        Some(1000.0)
    );
    assert_eq!(
        scrape.value("tidegate_config_reload_duration_seconds"),
        Some(0.007)
    );
    assert_eq!(
        scrape.value(r#"tidegate_config_reloads_total{outcome="failure"}"#),
        Some(1.0)
    );
    assert_eq!(
        scrape.value(r#"tidegate_config_reloads_total{outcome="success"}"#),
        None
    );
}

#[test]
fn lines_dropped_by_both_logs_are_one_count() {
    let metrics = Metrics::new(1);
    let (log, _guard) = NonBlocking::new(std::io::sink());
    metrics.dropped().follow(log.error_counter());
    metrics.dropped().add(3);
    assert_eq!(
        scrape(&metrics).value("tidegate_log_lines_dropped_total"),
        Some(3.0)
    );
}

#[test]
fn a_name_with_quotes_and_newlines_stays_one_label() {
    let metrics = Metrics::new(1);
    metrics
        .route("a\"b\\c\nd\\\\")
        .record(|cells| cells.refusal("cap"));
    let series = r#"tidegate_refusals_total{route="a\"b\\c\nd\\\\",reason="cap"}"#;
    assert_eq!(scrape(&metrics).value(series), Some(1.0));
}

#[test]
fn the_metrics_of_the_process_are_there() {
    let scrape = scrape(&Metrics::new(1));
    for name in [
        "resident_memory_bytes",
        "virtual_memory_bytes",
        "open_fds",
        "max_fds",
        "threads",
    ] {
        assert!(
            scrape
                .value(&format!("process_{name}"))
                .is_some_and(|value| value > 0.0),
            "{name}"
        );
    }
    assert!(scrape.value("process_cpu_seconds_total").is_some());
}

/// Metrics of every kind, each with a value.
fn populated() -> (Arc<Metrics>, Observed) {
    let metrics = Metrics::new(2);
    let (route, upstream) = (metrics.route("orders"), metrics.upstream("backend"));
    route.record(|cells| cells.request(&Method::GET, 200, Duration::from_micros(1500)));
    route.record(|cells| cells.request(&Method::POST, 499, Duration::from_secs(20)));
    route.record(|cells| cells.decisions(&["per-client".into()], 0b01, Decision::CandidateRefused));
    route.retried("budget");
    metrics
        .unmatched()
        .record(|cells| cells.refusal("no_route"));
    upstream.responded(Duration::from_millis(2));
    upstream.connected("success");
    metrics.listener("0.0.0.0:8080").accept_paused("file_limit");
    metrics.loaded(
        SystemTime::UNIX_EPOCH + Duration::from_millis(1500),
        Duration::from_millis(3),
    );
    metrics.reloaded(Reload::Unchanged, SystemTime::UNIX_EPOCH, Duration::ZERO);
    metrics.panicked();
    (metrics, observed())
}

fn observed() -> Observed {
    Observed {
        routes: vec![RouteGauges {
            route: "orders".into(),
            in_flight: Some(2),
            abandoned: Some(1),
            queued: Some(0),
            concurrency_limit: Some(64),
        }],
        limits: vec![LimitGauges {
            bans: None,
            waits: None,
            limit: "per-client".into(),
            keys: 7,
            in_flight: None,
            evicted_idle: 3,
            evicted_overflow: 1,
        }],
        identities: Vec::new(),
        signatures: None,
        upstreams: vec![UpstreamGauges {
            upstream: "backend".into(),
            cap: Some(CapGauges {
                in_flight: 3,
                abandoned: 2,
                queued: 1,
                limit: 8,
            }),
            connections: vec![("idle", 1), ("busy", 2)],
            servers: vec![("http://10.0.0.1:9001".into(), true)],
            ejections: vec![("http://10.0.0.1:9001".into(), 1)],
        }],
        listeners: vec![ListenerGauges {
            listener: "0.0.0.0:8080".into(),
            connections: 12,
            handshaking: Some(3),
            certificates: vec![("a.example".into(), Duration::from_secs(1_900_000_000))],
        }],
        orders: OrderGauges {
            outcomes: vec![("success", 2)],
            domains: vec![DomainGauges {
                domain: "a.example".into(),
                has_certificate: true,
                next_attempt: Duration::from_secs(1_800_000_000),
                failures: 0,
            }],
        },
        buffered: 4096,
        grown_windows: 1 << 22,
    }
}

fn scrape(metrics: &Metrics) -> Scrape {
    Scrape::read(
        Format::Prometheus,
        &metrics.render(Format::Prometheus, &Observed::default()),
    )
}
