//! One scrape: every family the gateway tells, in a fixed order.
//!
//! Lanes are summed first and locked for no longer than that takes; everything is written from the sums.

use std::{sync::Arc, sync::atomic::Ordering::Relaxed};

use super::{
    Metrics,
    exposition::{Exposition, Format, Kind, Seconds},
    observed::Observed,
    process,
    route::{Decision, RouteCells},
};

pub(super) fn all(metrics: &Metrics, format: Format, observed: &Observed) -> String {
    let mut to = Exposition::new(format);
    let routes: Vec<_> = super::entries(&metrics.routes)
        .into_iter()
        .map(|(name, of)| (name, of.total()))
        .collect();
    requests(&routes, &mut to);
    route_gauges(observed, &mut to);
    limits(&routes, observed, &mut to);
    store(metrics, &mut to);
    upstreams(metrics, observed, &mut to);
    upstream_caps(observed, &mut to);
    listeners(metrics, observed, &mut to);
    room(metrics, &mut to);
    http2(metrics, &mut to);
    tls(metrics, observed, &mut to);
    reloads(metrics, &mut to);
    itself(metrics, observed, &mut to);
    process::write(&mut to);
    to.finish()
}

type Routes = [(Arc<str>, RouteCells)];

fn requests(routes: &Routes, to: &mut Exposition) {
    let mut family = to.family(
        Kind::Counter,
        "tidegate_requests",
        "Requests whose exchange ended.",
    );
    for (route, cells) in routes {
        for (key, count) in &cells.requests {
            let status = key
                .status()
                .map_or("other".into(), |status| status.to_string());
            family.count(
                &[
                    ("route", route),
                    ("method", key.method()),
                    ("status", &status),
                ],
                *count,
            );
        }
    }
    let help = "Time from a request's first byte to the end of its exchange.";
    let mut family = to.family(Kind::Histogram, "tidegate_request_duration_seconds", help);
    for (route, cells) in routes {
        family.histogram(&[("route", route)], &cells.durations);
    }
    let mut family = to.family(
        Kind::Counter,
        "tidegate_refusals",
        "Requests the gateway itself answered, by reason.",
    );
    for (route, cells) in routes {
        cells
            .refusals
            .iter()
            .for_each(|(word, count)| family.count(&[("route", route), ("reason", word)], count));
    }
    let mut family = to.family(
        Kind::Counter,
        "tidegate_grpc_calls",
        "gRPC calls that ended, by their status.",
    );
    for (route, cells) in routes {
        cells.calls.iter().for_each(|(word, count)| {
            family.count(&[("route", route), ("grpc_status", word)], count)
        });
    }
    let mut family = to.family(
        Kind::Counter,
        "tidegate_retries",
        "Retries made, and those not made, by outcome.",
    );
    for (route, cells) in routes {
        cells
            .retries
            .iter()
            .for_each(|(word, count)| family.count(&[("route", route), ("outcome", word)], count));
    }
    let mut family = to.family(
        Kind::Counter,
        "tidegate_mirrored",
        "Copies of requests, by outcome.",
    );
    for (route, cells) in routes {
        cells
            .mirrored
            .iter()
            .for_each(|(word, count)| family.count(&[("route", route), ("outcome", word)], count));
    }
    let help = "Fields of requests that were not passed on, by reason.";
    let mut family = to.family(Kind::Counter, "tidegate_request_fields_dropped", help);
    for (route, cells) in routes {
        cells
            .dropped
            .iter()
            .for_each(|(word, count)| family.count(&[("route", route), ("reason", word)], count));
    }
}

fn route_gauges(observed: &Observed, to: &mut Exposition) {
    let help = "Requests that hold a place under the cap; without a cap, those whose exchange has not ended.";
    let mut family = to.family(Kind::Gauge, "tidegate_in_flight", help);
    for of in &observed.routes {
        family.gauge(&[("route", &of.route)], of.in_flight);
    }
    let help = "Requests that hold a place under the cap while a server works on, though their client has left.";
    let mut family = to.family(Kind::Gauge, "tidegate_abandoned", help);
    for of in &observed.routes {
        family.gauge(&[("route", &of.route)], of.abandoned);
    }
    let mut family = to.family(
        Kind::Gauge,
        "tidegate_queued",
        "Requests that wait for a place under the cap.",
    );
    for of in &observed.routes {
        family.gauge(&[("route", &of.route)], of.queued);
    }
    let help = "Requests the cap admits at once, as it is now.";
    let mut family = to.family(Kind::Gauge, "tidegate_concurrency_limit", help);
    for of in &observed.routes {
        family.gauge(&[("route", &of.route)], of.concurrency_limit);
    }
}

fn limits(routes: &Routes, observed: &Observed, to: &mut Exposition) {
    let mut family = to.family(
        Kind::Counter,
        "tidegate_limit_decisions",
        "What limits said of requests.",
    );
    for (route, cells) in routes {
        for (limit, counts) in &cells.decisions {
            for (decision, count) in Decision::LABELS.iter().zip(counts) {
                family.count(
                    &[("limit", limit), ("route", route), ("decision", decision)],
                    *count,
                );
            }
        }
    }
    let mut family = to.family(
        Kind::Gauge,
        "tidegate_limit_keys",
        "Keys a limit holds a bucket for.",
    );
    for of in &observed.limits {
        family.sample(&[("limit", &of.limit)], of.keys);
    }
    let help = "Keys that made room (idle), and keys a full table had none for (overflow).";
    let mut family = to.family(Kind::Counter, "tidegate_limit_evictions", help);
    for of in &observed.limits {
        family.count(&[("limit", &of.limit), ("kind", "idle")], of.evicted_idle);
        family.count(
            &[("limit", &of.limit), ("kind", "overflow")],
            of.evicted_overflow,
        );
    }
}

fn store(metrics: &Metrics, to: &mut Exposition) {
    let cells = metrics.store.total();
    let mut family = to.family(
        Kind::Counter,
        "tidegate_store_requests",
        "Calls of the shared store, by outcome.",
    );
    cells
        .outcomes
        .iter()
        .for_each(|(word, count)| family.count(&[("outcome", word)], count));
    let help = "Decisions of shared limits that needed no call: by tokens held here, or by a refusal known here.";
    let mut family = to.family(Kind::Counter, "tidegate_store_calls_saved", help);
    cells
        .saved
        .iter()
        .for_each(|(word, count)| family.count(&[("by", word)], count));
    let help = "Time the shared store took to answer.";
    to.family(Kind::Histogram, "tidegate_store_duration_seconds", help)
        .histogram(&[], &cells.durations);
    let help = "1 while the shared store, or a node of its cluster, is left alone because it did not answer.";
    to.family(Kind::Gauge, "tidegate_store_circuit_open", help)
        .gauge(&[], metrics.store.open());
    let help =
        "1 while this node of the shared store's cluster is left alone because it did not answer.";
    let mut family = to.family(Kind::Gauge, "tidegate_store_node_circuit_open", help);
    metrics
        .store
        .nodes()
        .iter()
        .for_each(|(node, is_open)| family.gauge(&[("node", node)], Some(*is_open)));
}

fn upstream_caps(observed: &Observed, to: &mut Exposition) {
    let help = "Requests that hold a place under the upstream's cap, over all routes.";
    let mut family = to.family(Kind::Gauge, "tidegate_upstream_in_flight", help);
    for of in &observed.upstreams {
        family.gauge(
            &[("upstream", &of.upstream)],
            of.cap.map(|cap| cap.in_flight),
        );
    }
    let help = "Requests that hold a place under the upstream's cap while a server works on, though their client has left.";
    let mut family = to.family(Kind::Gauge, "tidegate_upstream_abandoned", help);
    for of in &observed.upstreams {
        family.gauge(
            &[("upstream", &of.upstream)],
            of.cap.map(|cap| cap.abandoned),
        );
    }
    let help = "Requests that wait for a place under the upstream's cap.";
    let mut family = to.family(Kind::Gauge, "tidegate_upstream_queued", help);
    for of in &observed.upstreams {
        family.gauge(&[("upstream", &of.upstream)], of.cap.map(|cap| cap.queued));
    }
    let help = "Requests the upstream's cap admits at once, as it is now.";
    let mut family = to.family(Kind::Gauge, "tidegate_upstream_concurrency_limit", help);
    for of in &observed.upstreams {
        family.gauge(&[("upstream", &of.upstream)], of.cap.map(|cap| cap.limit));
    }
}

fn upstreams(metrics: &Metrics, observed: &Observed, to: &mut Exposition) {
    let upstreams: Vec<_> = super::entries(&metrics.upstreams)
        .into_iter()
        .map(|(name, of)| (name, of.total()))
        .collect();
    let help = "Time of one attempt, to the head of its response.";
    let mut family = to.family(Kind::Histogram, "tidegate_upstream_duration_seconds", help);
    for (upstream, cells) in &upstreams {
        family.histogram(&[("upstream", upstream)], &cells.durations);
    }
    let mut family = to.family(
        Kind::Counter,
        "tidegate_upstream_connects",
        "Connections tried, by outcome.",
    );
    for (upstream, cells) in &upstreams {
        let labels = |word| [("upstream", &**upstream), ("outcome", word)];
        cells
            .outcomes
            .iter()
            .for_each(|(word, count)| family.count(&labels(word), count));
    }
    let mut family = to.family(
        Kind::Gauge,
        "tidegate_upstream_connections",
        "Open connections, by state.",
    );
    for of in &observed.upstreams {
        for &(state, count) in &of.connections {
            family.sample(&[("upstream", &of.upstream), ("state", state)], count);
        }
    }
    let mut family = to.family(
        Kind::Gauge,
        "tidegate_upstream_server_up",
        "1 while a server is sent requests.",
    );
    for of in &observed.upstreams {
        for (server, up) in &of.servers {
            family.sample(
                &[("upstream", &of.upstream), ("server", server)],
                u8::from(*up),
            );
        }
    }
    let help = "Times a server was left alone for a while because of its failures.";
    let mut family = to.family(Kind::Counter, "tidegate_upstream_ejections", help);
    for of in &observed.upstreams {
        for (server, count) in &of.ejections {
            family.count(&[("upstream", &of.upstream), ("server", server)], *count);
        }
    }
}

fn listeners(metrics: &Metrics, observed: &Observed, to: &mut Exposition) {
    let mut family = to.family(
        Kind::Gauge,
        "tidegate_connections",
        "Open connections of clients.",
    );
    for of in &observed.listeners {
        family.sample(&[("listener", &of.listener)], of.connections);
    }
    let help = "Times a listener stopped accepting for a while, by reason.";
    let mut family = to.family(Kind::Counter, "tidegate_accept_pauses", help);
    for (listener, of) in super::entries(&metrics.listeners) {
        for (word, count) in of.pauses().iter() {
            family.count(&[("listener", &listener), ("reason", word)], count);
        }
    }
}

fn room(metrics: &Metrics, to: &mut Exposition) {
    let help = "Connections of clients that were closed so that others have room, by reason.";
    let mut family = to.family(Kind::Counter, "tidegate_connections_closed", help);
    for (listener, of) in super::entries(&metrics.listeners) {
        for (word, count) in of.all_closed().iter() {
            family.count(&[("listener", &listener), ("reason", word)], count);
        }
    }
}

fn http2(metrics: &Metrics, to: &mut Exposition) {
    let help = "HTTP/2 connections that were ended because they asked for too much work, by kind of frame.";
    let mut family = to.family(Kind::Counter, "tidegate_http2_floods", help);
    for (listener, of) in super::entries(&metrics.listeners) {
        for (word, count) in of.floods().iter() {
            family.count(&[("listener", &listener), ("kind", word)], count);
        }
    }
}

fn tls(metrics: &Metrics, observed: &Observed, to: &mut Exposition) {
    let listeners: Vec<_> = super::entries(&metrics.listeners);
    let mut family = to.family(
        Kind::Counter,
        "tidegate_tls_handshakes",
        "TLS handshakes with clients, by outcome.",
    );
    for (listener, of) in &listeners {
        let labels = |word| [("listener", &**listener), ("outcome", word)];
        of.handshakes()
            .0
            .iter()
            .for_each(|(word, count)| family.count(&labels(word), count));
    }
    let help = "TLS handshakes that went on with an earlier session.";
    let mut family = to.family(Kind::Counter, "tidegate_tls_resumptions", help);
    for (listener, of) in &listeners {
        if let (_, resumed @ 1..) = of.handshakes() {
            family.count(&[("listener", listener)], resumed);
        }
    }
    let help = "TLS handshakes that are worked on.";
    let mut family = to.family(Kind::Gauge, "tidegate_tls_handshakes_in_progress", help);
    for of in &observed.listeners {
        family.gauge(&[("listener", &of.listener)], of.handshaking);
    }
    let help = "When a certificate ends to be valid, since the Unix epoch.";
    let mut family = to.family(
        Kind::Gauge,
        "tidegate_certificate_expiry_timestamp_seconds",
        help,
    );
    for of in &observed.listeners {
        for (name, at) in &of.certificates {
            family.sample(&[("listener", &of.listener), ("name", name)], Seconds(*at));
        }
    }
    let help = "Connections closed for want of a PROXY protocol header, by reason.";
    let mut family = to.family(Kind::Counter, "tidegate_proxy_protocol_failures", help);
    for (listener, of) in &listeners {
        let labels = |word| [("listener", &**listener), ("reason", word)];
        of.all_not_named()
            .iter()
            .for_each(|(word, count)| family.count(&labels(word), count));
    }
}

fn reloads(metrics: &Metrics, to: &mut Exposition) {
    let reloads = metrics.reloads.lock();
    let mut family = to.family(
        Kind::Counter,
        "tidegate_config_reloads",
        "Reloads of the configuration, by outcome.",
    );
    reloads
        .outcomes
        .iter()
        .for_each(|(word, count)| family.count(&[("outcome", word)], count));
    if let Some(last) = reloads.last {
        let help = "Time the last load or reload of the configuration took.";
        to.family(Kind::Gauge, "tidegate_config_reload_duration_seconds", help)
            .sample(&[], Seconds(last.took));
        let help = "1 if the last load or reload of the configuration was successful.";
        to.family(Kind::Gauge, "tidegate_config_last_reload_successful", help)
            .sample(&[], u8::from(last.successful));
    }
    if let Some(at) = reloads.last_success {
        let help = "When a configuration was last loaded successfully, since the Unix epoch.";
        to.family(
            Kind::Gauge,
            "tidegate_config_last_reload_success_timestamp_seconds",
            help,
        )
        .sample(&[], Seconds(at));
    }
}

fn itself(metrics: &Metrics, observed: &Observed, to: &mut Exposition) {
    let help = "Memory taken by bodies that are buffered.";
    to.family(Kind::Gauge, "tidegate_buffered_bytes", help)
        .sample(&[], observed.buffered);
    let help = "Bytes by which the windows of all HTTP/2 connections have grown, to clients and servers together.";
    to.family(Kind::Gauge, "tidegate_http2_grown_window_bytes", help)
        .sample(&[], observed.grown_windows);
    let mut family = to.family(
        Kind::Counter,
        "tidegate_limit_saves",
        "Writes of buckets that outlive the process.",
    );
    metrics
        .saves
        .lock()
        .iter()
        .for_each(|(word, count)| family.count(&[("outcome", word)], count));
    let help =
        "Lines of the log and the access log that were dropped because nobody took them in time.";
    to.family(Kind::Counter, "tidegate_log_lines_dropped", help)
        .sample(&[], metrics.dropped.total());
    to.family(
        Kind::Counter,
        "tidegate_panics",
        "Requests that ended in a panic.",
    )
    .sample(&[], metrics.panics.load(Relaxed));
    to.family(
        Kind::Gauge,
        "tidegate_build_info",
        "1, labelled with the version that runs.",
    )
    .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}
