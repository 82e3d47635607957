//! One scrape: every family of metrics, in a fixed order.
//!
//! The cells of all workers are summed first and locked for no longer than that
//! takes; the text is written from the sums. A scrape therefore sees each
//! worker at a slightly different moment, and each counter exactly once.
//!
//! The order of the families is fixed and goes from requests to the process:
//! routes, limits, the store, upstreams, listeners, reloads, the gateway as a
//! whole, and the standard metrics of the process. Nothing depends on it but
//! people who read the text.
//!
//! A family is written in one piece, as both formats demand: its header comes
//! with its first sample, and no other family may begin before its last one.
//! For that reason each function loops over all owners once for each family,
//! and not once over all families for each owner.
//!
//! The help texts are part of the interface. They use the words of the
//! configuration language, such as "cap", and not those of the source.

mod peers;
mod routes;

use std::sync::atomic::Ordering::Relaxed;

use super::{
    Metrics, entries,
    exposition::{Exposition, FamilyType, Format, Seconds},
    observed::Observed,
    process,
};

impl Metrics {
    /// All metrics in `format`: the sums over all workers, the gauges that were
    /// `observed` for this scrape, and the process itself.
    ///
    /// The time that it takes grows with the configuration, so it runs on the
    /// control thread and never on a worker. The size of the text is bounded by
    /// the configuration, as no label comes from a request.
    pub fn render(&self, format: Format, observed: &Observed) -> String {
        let mut to = Exposition::new(format);
        let mut routes = Vec::new();
        for (name, route) in entries(&self.routes) {
            routes.push((name, route.total()));
        }
        let mut upstreams = Vec::new();
        for (name, upstream) in entries(&self.upstreams) {
            upstreams.push((name, upstream.total()));
        }
        let listeners = entries(&self.listeners);
        routes::requests(&routes, &mut to);
        routes::forwarding(&routes, &mut to);
        routes::route_gauges(observed, &mut to);
        routes::identities(observed, &mut to);
        routes::tokens(observed, &mut to);
        routes::limits(&routes, observed, &mut to);
        store(self, &mut to);
        peers::upstreams(&upstreams, &mut to);
        peers::servers(observed, &mut to);
        peers::upstream_caps(observed, &mut to);
        peers::connections(&listeners, observed, &mut to);
        peers::tls(&listeners, observed, &mut to);
        peers::orders(&observed.orders, &mut to);
        reloads(self, &mut to);
        spans(self, &mut to);
        itself(self, observed, &mut to);
        process::write(&mut to);
        to.finish()
    }
}

/// The families of the shared store.
///
/// All counters stay absent without a shared store, as nothing calls it. The
/// circuit of the whole store is one gauge; each node of a cluster has another
/// one, labelled `host:port`.
fn store(metrics: &Metrics, to: &mut Exposition) {
    let cells = metrics.store.total();
    let mut family = to.family(
        FamilyType::Counter,
        "tidegate_store_requests",
        "Calls of the shared store, by outcome.",
    );
    for (outcome, count) in cells.outcomes.iter() {
        family.count(&[("outcome", outcome)], count);
    }
    let help = "Decisions of shared limits that needed no call: by tokens held here, or by a refusal known here.";
    let mut family = to.family(FamilyType::Counter, "tidegate_store_calls_saved", help);
    for (by, count) in cells.saved.iter() {
        family.count(&[("by", by)], count);
    }
    let help = "Time the shared store took to answer.";
    to.family(
        FamilyType::Histogram,
        "tidegate_store_duration_seconds",
        help,
    )
    .histogram(&[], &cells.durations);
    let help = "1 while the shared store, or a node of its cluster, is left alone because it did not answer.";
    to.family(FamilyType::Gauge, "tidegate_store_circuit_open", help)
        .gauge(&[], metrics.store.open());
    let help =
        "1 while this node of the shared store's cluster is left alone because it did not answer.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_store_node_circuit_open", help);
    for (node, is_open) in &metrics.store.nodes() {
        family.gauge(&[("node", node)], Some(*is_open));
    }
}

/// The families of reloads.
///
/// The duration and the outcome are those of the last load, which may be the
/// start of the process. Before the first load has ended, and before the first
/// success, the gauges are absent.
fn reloads(metrics: &Metrics, to: &mut Exposition) {
    let reloads = metrics.reloads.lock();
    let mut family = to.family(
        FamilyType::Counter,
        "tidegate_config_reloads",
        "Reloads of the configuration, by outcome.",
    );
    for (outcome, count) in reloads.outcomes.iter() {
        family.count(&[("outcome", outcome)], count);
    }
    if let Some(last) = reloads.last {
        let help = "Time the last load or reload of the configuration took.";
        to.family(
            FamilyType::Gauge,
            "tidegate_config_reload_duration_seconds",
            help,
        )
        .sample(&[], Seconds(last.took));
        let help = "1 if the last load or reload of the configuration was successful.";
        to.family(
            FamilyType::Gauge,
            "tidegate_config_last_reload_successful",
            help,
        )
        .sample(&[], u8::from(last.successful));
    }
    if let Some(at) = reloads.last_success {
        let help = "When a configuration was last loaded successfully, since the Unix epoch.";
        to.family(
            FamilyType::Gauge,
            "tidegate_config_last_reload_success_timestamp_seconds",
            help,
        )
        .sample(&[], Seconds(at));
    }
}

/// The families of spans, which stay absent until there is a first one.
fn spans(metrics: &Metrics, to: &mut Exposition) {
    let help = "Spans that the collector of traces took.";
    let mut family = to.family(FamilyType::Counter, "tidegate_spans_exported", help);
    family.count(&[], metrics.traces.taken());
    let help = "Spans that were lost, by the reason.";
    let mut family = to.family(FamilyType::Counter, "tidegate_spans_dropped", help);
    for (reason, spans) in metrics.traces.losses() {
        family.count(&[("reason", reason)], spans);
    }
}

/// The families of the gateway as a whole.
///
/// These families have no owner, and most have no label. `tidegate_build_info`
/// has the constant value 1: its label carries the version, by which a query
/// can join it with other metrics.
fn itself(metrics: &Metrics, observed: &Observed, to: &mut Exposition) {
    let help = "Memory taken by bodies that are buffered.";
    to.family(FamilyType::Gauge, "tidegate_buffered_bytes", help)
        .sample(&[], observed.buffered);
    let help = "Bytes by which the windows of all HTTP/2 connections have grown, to clients and servers together.";
    to.family(FamilyType::Gauge, "tidegate_http2_grown_window_bytes", help)
        .sample(&[], observed.grown_windows);
    let mut family = to.family(
        FamilyType::Counter,
        "tidegate_limit_saves",
        "Writes of buckets that outlive the process.",
    );
    for (outcome, count) in metrics.saves.lock().iter() {
        family.count(&[("outcome", outcome)], count);
    }
    let help =
        "Lines of the log and the access log that were dropped because nobody took them in time.";
    to.family(FamilyType::Counter, "tidegate_log_lines_dropped", help)
        .sample(&[], metrics.dropped.total());
    to.family(
        FamilyType::Counter,
        "tidegate_panics",
        "Requests that ended in a panic.",
    )
    .sample(&[], metrics.panics.load(Relaxed));
    to.family(
        FamilyType::Gauge,
        "tidegate_build_info",
        "1, labelled with the version that runs.",
    )
    .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}
