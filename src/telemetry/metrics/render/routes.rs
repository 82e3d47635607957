//! The families of routes and limits.

use std::sync::Arc;

use super::super::{
    exposition::{Exposition, Kind},
    observed::Observed,
    route::{Decision, RouteCells},
};

/// Routes by name, each with the sum of its cells.
pub(super) type Routes = [(Arc<str>, RouteCells)];

/// Counters of requests by their route.
pub(super) fn requests(routes: &Routes, to: &mut Exposition) {
    let help = "Requests whose exchange ended.";
    let mut family = to.family(Kind::Counter, "tidegate_requests", help);
    for (route, cells) in routes {
        for (key, count) in &cells.requests {
            let status = key
                .status()
                .map_or("other".into(), |status| status.to_string());
            let labels = [
                ("route", &**route),
                ("method", key.method()),
                ("status", &status),
            ];
            family.count(&labels, *count);
        }
    }
    let help = "Time from a request's first byte to the end of its exchange.";
    let mut family = to.family(Kind::Histogram, "tidegate_request_duration_seconds", help);
    for (route, cells) in routes {
        family.histogram(&[("route", route)], &cells.durations);
    }
    let help = "Requests the gateway itself answered, by reason.";
    let mut family = to.family(Kind::Counter, "tidegate_refusals", help);
    for (route, cells) in routes {
        family.tally(("route", route), "reason", &cells.refusals);
    }
    let help = "gRPC calls that ended, by their status.";
    let mut family = to.family(Kind::Counter, "tidegate_grpc_calls", help);
    for (route, cells) in routes {
        family.tally(("route", route), "grpc_status", &cells.calls);
    }
}

/// Counters of retries, copies and dropped fields by their route.
pub(super) fn forwarding(routes: &Routes, to: &mut Exposition) {
    let help = "Retries made, and those not made, by outcome.";
    let mut family = to.family(Kind::Counter, "tidegate_retries", help);
    for (route, cells) in routes {
        family.tally(("route", route), "outcome", &cells.retries);
    }
    let help = "Copies of requests, by outcome.";
    let mut family = to.family(Kind::Counter, "tidegate_mirrored", help);
    for (route, cells) in routes {
        family.tally(("route", route), "outcome", &cells.mirrored);
    }
    let help = "Fields of requests that were not passed on, by reason.";
    let mut family = to.family(Kind::Counter, "tidegate_request_fields_dropped", help);
    for (route, cells) in routes {
        family.tally(("route", route), "reason", &cells.dropped);
    }
}

/// Gauges of the concurrency limit of each route.
pub(super) fn route_gauges(observed: &Observed, to: &mut Exposition) {
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

/// Counters and gauges of limits.
pub(super) fn limits(routes: &Routes, observed: &Observed, to: &mut Exposition) {
    let mut family = to.family(
        Kind::Counter,
        "tidegate_limit_decisions",
        "Decisions of limits about requests.",
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
